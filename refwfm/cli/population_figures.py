"""Figures of Meta FM: oracles beside the paper's font, and what its methods learn beside the slides."""

from typing import Any

from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
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


TITLES = {"w1": "W1", "w2": "W2", "sq_mmd": "MMD² x 1000", "correlation": "r"}
UNTRAINED = {
    "identity": "nothing happens",
    "mean_shift": "mean shift",
    "mean_shift_by_condition": "mean shift, treatment",
    "ideal_shift": "ideal shift",
}


def populations() -> Kind:
    """Experiments that train the methods of Meta FM."""
    from refwfm.paper_figures.meta_fm import population_experiment as experiment

    return Kind(
        _plan_methods, experiment.run, experiment.RECORDS, _line_method, _show_methods, experiment.as_rows
    )


def _plan_methods(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.paper_figures.meta_fm import population_experiment as experiment

    scale = figure.SCALES[asked.scale]
    if asked.data:
        if len(asked.data) > 1 or asked.data[0] not in figure.DATA:
            raise ValueError(f"--data of {asked.name} is one of {', '.join(figure.DATA)}; got {asked.data}")
        scale = scale._replace(protocol=scale.protocol._replace(data=asked.data[0], recipe={}))
    config = scale.config | ({} if asked.steps is None else {"steps": asked.steps})
    scale = scale._replace(config=config, seeds=asked.seeds or scale.seeds)
    family = experiment.family_of(scale.protocol)
    words = (
        f" at {asked.scale} scale: {len(family)} populations of {scale.protocol.data}; "
        f"{len(scale.methods)} methods, {scale.seeds} seeds, {config['steps']} steps of "
        f"{config['batch']} x {config['particles']} particles, where a method has no other"
    )
    return experiment.tasks_of(scale, backend=asked.backend), words


def _line_method(outcome: Any) -> str:
    parts = [
        f"{part} " + ", ".join(f"{row} {metrics['w1'].mean():.3f}" for row, metrics in rows.items())
        for part, rows in outcome.numbers.items()
    ]
    training = f", seed {outcome.task.seed}, {outcome.train_s:.0f} s of training" if outcome.train_s else ""
    return f"{outcome.task.method}{training}: W1 on {'; '.join(parts)}"


def _show_methods(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    from refwfm.paper_figures.meta_fm import population_experiment as experiment

    slides, shown = figure.SLIDES.get(outcomes[0].task.protocol.data, {}), []
    found = {metric: experiment.over_seeds(outcomes, metric) for metric in figure.METRICS}
    for number, (part, name) in enumerate(figure.PARTS.items()):
        if part not in outcomes[0].numbers:
            continue
        count = len(next(iter(outcomes[0].numbers[part].values()))["w1"])
        table = Table(title=f"{name}: {count} populations", box=box.SIMPLE, pad_edge=False)
        table.add_column("method", no_wrap=True)
        for metric in figure.METRICS:
            table.add_column(TITLES[metric], justify="right", no_wrap=True)
            if slides:
                table.add_column("slides", justify="right", no_wrap=True)
        for row in found["w1"][part]:
            theirs = (slides.get(row) or [None] * len(figure.PARTS))[number]
            cells = []
            for i, metric in enumerate(figure.METRICS):
                cells.append(mean_and_spread(found[metric][part][row] * (1000 if metric == "sq_mmd" else 1)))
                cells += [f"{theirs[i]:g}" if theirs else ""] if slides else []
            table.add_row(UNTRAINED.get(row, row), *cells)
        shown.append(table)
    trained = [o.train_s for o in outcomes if o.task.method != experiment.FLOORS]
    seeds = len({o.task.seed for o in outcomes})
    return [
        *shown,
        "distance to the right population: means over populations, then mean ± standard deviation over "
        f"{seeds} seeds" + ("; slides: the authors', 288,000 steps and more" if slides else ""),
        *(f"{'yes' if holds else 'NO'}: {claim}" for claim, holds in figure.claims(outcomes)),
        f"training took {sum(trained) / 60:.0f} minutes in all, the longest {max(trained, default=0):.0f} s",
    ]
