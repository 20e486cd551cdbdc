"""Oracles of Meta FM on letters, beside what they are with the paper's font."""

from typing import Any

from rich import box
from rich.table import Table

from refwfm.cli._experiment import Kind, Request

PARTS = {"train": "Train", "X": "X", "Y": "Y"}


def oracles() -> Kind:
    """Experiments with oracles, which train nothing."""
    from refwfm.paper_figures.meta_fm import oracle_experiment as experiment

    return Kind(_plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.paper_figures.meta_fm import oracle_experiment as experiment

    if asked.data or asked.steps is not None or asked.seeds is not None:
        raise ValueError(f"{asked.name} trains nothing: --data, --steps and --seeds have no meaning there")
    scale = figure.SCALES[asked.scale]
    words = (
        f" at {asked.scale} scale: {scale.populations} populations of each part, Heun with {scale.n_steps} "
        f"steps, {scale.pool} centres of each training population pooled; font {figure.FONT}"
    )
    return experiment.tasks_of(scale), words


def _line(outcome: Any) -> str:
    found = ", ".join(f"{row} {values[0]:.3f}" for row, values in outcome.rows.items())
    return f"{outcome.member}: W1 of {found}"


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    from refwfm.paper_figures.meta_fm import oracle_experiment as experiment

    table = Table(title="distance to the right population", box=box.SIMPLE, pad_edge=False)
    for heading in ("letters", "row"):
        table.add_column(heading, no_wrap=True)
    for heading in ("W1", "Arial", "W2", "Arial", "MMD² x 1000", "Arial"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("within")
    scale = outcomes[0].task.scale
    whole = "points" not in scale.recipe

    def judged(row: str, number: int, values: Any, errors: Any) -> str:
        return (figure.fault(row, number, values, errors) or "yes") if whole else "-"

    for number, (part, rows) in enumerate(experiment.means(outcomes).items()):
        for row, (values, errors) in rows.items():
            cells = []
            for value, reference, digits in zip(
                values, figure.REFERENCE[row][number], (3, 3, 2), strict=True
            ):
                cells += [f"{value:.{digits}f}", f"{reference:.{digits}f}"]
            first = PARTS[part] if row == figure.ROWS[0] else ""
            table.add_row(first, row, *cells, judged(row, number, values, errors))
        table.add_section()
    return [
        table,
        f"ours: {figure.FONT}, means over {scale.populations} populations of each part "
        f"({scale.noise_populations} for the row w/N); Arial: the same with the paper's font",
        "within: W1 and W2 within 10 %, MMD² within 25 %, and half the last digit of the reference, "
        "which is a mean of as few populations; ±: standard error of ours"
        if whole
        else f"not judged: populations of {scale.recipe['points']} points are further from each other",
        "population oracle: what a model that knows the population can reach; FM oracle: what one field for "
        "all populations converges to; w/N: from noise, without the population",
    ]
