"""Tables and figures that compare the three methods on families of Gaussians."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
from refwfm.cli._experiment import Kind, Request


def gaussians() -> Kind:
    """Experiments that compare the methods for Gaussians by the distance to the data."""
    from refwfm.paper_figures import experiment

    return Kind(_plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.datasets import Family, load
    from refwfm.paper_figures import experiment

    if asked.data and hasattr(figure, "draw"):
        raise ValueError(f"--data is for tables: {asked.name} is a picture of {', '.join(figure.FAMILIES)}")
    families = tuple(dict.fromkeys(asked.data or figure.FAMILIES))
    for family in families:
        if not isinstance(load(family), Family):
            raise ValueError(
                f"--data: {asked.name} is of families of Gaussians; {family} is one of point clouds"
            )
    size = experiment.SCALES[asked.scale]
    size = size._replace(steps=asked.steps or size.steps, seeds=asked.seeds or size.seeds)
    scales = {family: getattr(figure, "scale_of", _same)(family, size) for family in families}
    configs = {family: each.config("riemannian", 0, load(family)) for family, each in scales.items()}
    steps = ", ".join(
        f"{family} {each.steps} ({each.depth} x {each.width})" for family, each in configs.items()
    )
    tasks = experiment.tasks_of(scales, backend=asked.backend)
    return tasks, f"; steps of training (two networks each): {steps}"


def _same(name: str, scale: Any) -> Any:
    return scale


def _line(outcome: Any) -> str:
    each = outcome.task
    took = f"{outcome.train_s:.0f} s of training"
    return f"{each.data} {each.method} seed {each.seed}: {outcome.min_w2_sq:.4g}, {took}"


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    size = outcomes[0].task.scale
    seeds = "of one seed" if size.seeds == 1 else f"mean ± spread over {size.seeds} seeds, each"
    return [
        _table(outcomes),
        f"ours: {seeds} the mean of {size.size} generated Gaussians, "
        "in squared units of the data; covariances: their share of it; ratio: to Riemannian",
    ]


def _table(outcomes: list[Any]) -> Table:
    from refwfm.paper_figures.experiment import by_method, seed_means
    from refwfm.paper_figures.table_2 import paper_value

    table = Table(title="min W2² to the data", box=box.SIMPLE, pad_edge=False)
    for heading in ("data", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ours", "± over generated", "ratio", "covariances", "paper", "ratio"):
        table.add_column(heading, justify="right", overflow="fold")
    for family in dict.fromkeys(o.task.data for o in outcomes):
        found = by_method(outcomes, family)
        base, paper_base = seed_means(found["riemannian"]), paper_value(family, "riemannian")
        for method, each in found.items():
            ours, paper = seed_means(each), paper_value(family, method)
            table.add_row(
                family if method == "riemannian" else "",
                method,
                mean_and_spread(ours),
                f"{np.mean(seed_means(each, 'deviation')):.2g}",
                f"{np.mean(ours) / np.mean(base):.2f}",
                f"{np.mean(seed_means(each, 'bures_part')):.3g}",
                "" if paper is None else f"{paper:.3g}",
                "" if paper is None or paper_base is None else f"{paper / paper_base:.2f}",
            )
        table.add_section()
    return table
