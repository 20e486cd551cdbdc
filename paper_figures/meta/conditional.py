"""Conditional Monge maps, a relative of Meta OT: two starts, on a family whose maps are known."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from refwfm.paper_figures.meta.conditional_experiment import (
    SCALES,
    ConditionalOutcome,
    ConditionalTask,
)
from refwfm.paper_figures.saving import save_figure

TITLE = "Meta OT's relative: conditional Monge maps, two starts"
KIND = "conditional"

STARTS = ("identity", "gaussian")
COLOURS = {"identity": "#33506b", "gaussian": "#c4392f"}
SOURCE = "#d99a00"
POINTS = 400


def tasks(scale: str, steps: int | None, seeds: int | None, backend: str | None, /) -> list[ConditionalTask]:
    """One run from each start with each seed."""
    size = SCALES[scale]
    size = size._replace(steps=steps or size.steps, seeds=seeds or size.seeds)
    return [ConditionalTask(start, seed, size, backend) for start in STARTS for seed in range(size.seeds)]


def draw(outcomes: list[ConditionalOutcome], folder: Path, /) -> list[Path]:
    """Draw errors against steps, and the images under some held-out conditions; return the file."""
    path = folder / "meta-ot-conditional.png"
    last = {o.task.start: o for o in reversed(outcomes)}
    some = np.linspace(0, len(outcomes[0].conditions) - 1, 3).round().astype(int)
    figure = Figure(figsize=(13.5, 3.4 * len(last) + 0.4), layout="constrained")
    figure.suptitle(TITLE, fontsize="medium")
    grid = figure.add_gridspec(len(last), 5)
    _draw_errors(figure.add_subplot(grid[:, :2]), outcomes)
    for row, (start, o) in enumerate((start, last[start]) for start in STARTS if start in last):
        for column, h in enumerate(some):
            ax = figure.add_subplot(grid[row, 2 + column])
            # Rings, for a map close to the identity puts its dots upon them.
            rings = {"facecolors": "none", "edgecolors": SOURCE, "linewidths": 0.6, "label": "source"}
            ax.scatter(*o.x[h, :POINTS].T, s=14, **rings)
            for points, colour, name in (
                (o.truth[h], "#8a8f98", "right image"),
                (o.moved[h], COLOURS[start], "learned"),
            ):
                ax.scatter(*points[:POINTS].T, s=5, color=colour, linewidths=0, label=name, alpha=0.8)
            ax.set_title(
                f"{start} start, c = {o.conditions[h]:.3g}: {o.errors[-1, h]:.1f} %", fontsize="small"
            )
            ax.set_aspect("equal", adjustable="datalim")
            ax.set_xticks([])
            ax.set_yticks([])
            if column == 0:
                ax.legend(fontsize="x-small", frameon=False, loc="upper left", markerscale=2)
    save_figure(figure, path)
    return [path]


def _draw_errors(ax: Axes, outcomes: list[ConditionalOutcome]) -> None:
    for start in STARTS:
        found = [o for o in outcomes if o.task.start == start]
        if not found:
            continue
        errors = np.concatenate([o.errors for o in found], axis=1)
        steps = found[0].steps
        ax.plot(steps, errors.mean(axis=1), color=COLOURS[start], marker="o", markersize=3, label=start)
        low, high = errors.min(axis=1), errors.max(axis=1)
        ax.fill_between(steps, low, high, color=COLOURS[start], alpha=0.18, lw=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_yscale("log")
    ax.set_xlabel("steps of the potential")
    ax.set_ylabel("error in % of the target's variance")
    ax.set_title("held-out conditions: mean, least and largest", fontsize="small")
    ax.grid(alpha=0.25, which="both")
    ax.legend(title="start", fontsize="small", frameon=False)
