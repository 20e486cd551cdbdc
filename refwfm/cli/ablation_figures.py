"""The table of what each part of a preset is worth."""

from typing import Any

from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
from refwfm.cli._experiment import Kind, Request


def ablations() -> Kind:
    """Experiments that leave out one part after the other."""
    from refwfm.paper_figures import ablation

    return Kind(_plan, ablation.run, ablation.RECORDS, _line, _show, ablation.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.datasets import CloudFamily, Family, load

    families = tuple(dict.fromkeys(asked.data or figure.FAMILIES))
    for family in families:
        if not isinstance(load(family), Family | CloudFamily):
            raise ValueError(f"--data: {family} is neither a family of Gaussians nor one of clouds")
    scale = figure.SCALES[asked.scale]
    options = {**scale.options, "steps": asked.steps} if asked.steps else scale.options
    scale = scale._replace(options=options, seeds=asked.seeds or scale.seeds)
    changed = ", ".join(f"{name} {value}" for name, value in options.items())
    return figure.tasks_of(families, scale, backend=asked.backend), f"; {changed or 'the preset as it is'}"


def _line(outcome: Any) -> str:
    each = outcome.task
    return (
        f"{each.data} without {each.without}, seed {each.seed}: {outcome.score:.4g}, "
        f"{outcome.train_s:.0f} CPU s of training"
    )


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    table = Table(title="score", box=box.SIMPLE, pad_edge=False)
    table.add_column("laptop without", no_wrap=True)
    families = list(dict.fromkeys(o.task.data for o in outcomes))
    for family in families:
        table.add_column(family, justify="right")
    for part in dict.fromkeys(o.task.without for o in outcomes):
        cells = [
            [o.score for o in outcomes if (o.task.data, o.task.without) == (family, part)]
            for family in families
        ]
        table.add_row(part, *(mean_and_spread(scores) if scores else "" for scores in cells))
    return [
        table,
        f"mean ± spread over {outcomes[0].task.scale.seeds} seeds, larger is better. Gaussians: minus the "
        "mean of min W2² to the data; clouds: likeness by 1-NN accuracy, 1 is best",
    ]
