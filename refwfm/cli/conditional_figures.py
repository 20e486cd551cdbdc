"""Conditional Monge maps under conditions that were held out: errors from either start."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
from refwfm.cli._experiment import Kind, Request

LEGEND = (
    "error: mean squared distance to the right image, in % of its variance, under conditions between those "
    "trained on; mean ± spread over conditions and seeds. The right map is known in closed form.",
    "before: of the start alone; the Gaussian one is the mean of those of the neighbouring conditions.",
)


def conditional() -> Kind:
    """Experiments with conditional Monge maps."""
    from refwfm.paper_figures.meta import conditional_experiment as experiment

    return Kind(_plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    if asked.data:
        raise ValueError(f"--data has no meaning for {asked.name}: its family is one of its own")
    tasks = figure.tasks(asked.scale, asked.steps, asked.seeds, asked.backend)
    scale = tasks[0].scale
    words = f"{scale.steps} steps of the potential, {scale.inner} of the map for each"
    return tasks, f" at {asked.scale} scale: {words}"


def _line(outcome: Any) -> str:
    before, after = outcome.errors[0].mean(), outcome.errors[-1].mean()
    return (
        f"{outcome.task.start} start, seed {outcome.task.seed}: error {before:.3g} % before, "
        f"{after:.3g} % after; {outcome.train_s:.0f} s of training"
    )


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    table = Table(title="held-out conditions", box=box.SIMPLE, pad_edge=False)
    table.add_column("start", no_wrap=True)
    for heading in ("error before, %", "half way", "after", "largest after", "train s"):
        table.add_column(heading, justify="right")
    for start in dict.fromkeys(o.task.start for o in outcomes):
        found = [o for o in outcomes if o.task.start == start]
        errors = np.concatenate([o.errors for o in found], axis=1)
        table.add_row(
            start,
            *(mean_and_spread(errors[row]) for row in (0, len(errors) // 2, -1)),
            f"{errors[-1].max():.3g}",
            f"{np.mean([o.train_s for o in found]):.0f}",
        )
    return [table, *LEGEND]
