"""Pictures of predicted populations: as they start, as each method leaves them, as they are; and errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refwfm.paper_figures.meta_fm.population_experiment import PopulationOutcome, over_seeds
from refwfm.paper_figures.saving import save_figure

SOURCE, TRUTH = "#8a8f98", "#2f3640"
COLOURS = {
    "FM": "#4477aa",
    "CGFM": "#b08a2e",
    "mean_shift_by_condition": "#b08a2e",
    "population oracle": "#6a4c93",
    "ideal_shift": "#6a4c93",
}
READS = "#d1495b"
"""Of methods that read the population."""

NAMES = {
    "identity": "source $x_0$",
    "population oracle": "population oracle\n(knows the letter and its angle)",
    "mean_shift_by_condition": "mean shift of\nthe treatment",
    "ideal_shift": "ideal shift\n(knows the answer)",
    "truth": "truth $x_1$",
}
PART_COLOURS = {"train": "#2f3640", "validation": "#d1495b", "test": "#4477aa"}


def draw_predictions(
    outcomes: list[PopulationOutcome],
    path: Path,
    /,
    *,
    title: str,
    columns: Sequence[str],
    parts: dict[str, str],
    half_side: float | None = None,
) -> Path:
    """A line for each pictured population, a column for each row of the table, and the truth behind.

    ``half_side`` bounds both axes of populations in the plane; others are drawn along the two directions in
    which their truth and source vary most.
    """
    first = [o for o in outcomes if o.task.seed == 0]
    shown = [name for name in first[0].clouds if name.split("/")[0] in parts]
    clouds = {name: {row: x for o in first for row, x in o.clouds.get(name, {}).items()} for name in shown}
    columns = [c for c in columns if all(c in clouds[name] for name in shown)]
    figure = Figure(figsize=(2.1 * (len(columns) + 1) + 0.6, 2.15 * len(shown) + 1.0), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(len(shown), len(columns) + 1, squeeze=False)
    for line, name in zip(axes, shown, strict=True):
        part, position = name.split("/")
        frame = _frame(clouds[name], half_side)
        for ax, row in zip(line, [*columns, "truth"], strict=True):
            colour = {"identity": SOURCE, "truth": TRUTH}.get(row) or COLOURS.get(row, READS)
            _dots(ax, clouds[name][row], colour, frame)
            if name == shown[0]:
                ax.set_title(NAMES.get(row, row), fontsize="small")
            if row != "truth":
                ax.set_xlabel(f"$W_1$ = {_w1(first, part, int(position), row)}", fontsize="small", labelpad=2)
        line[0].set_ylabel(parts[part], fontsize="small")
    save_figure(figure, path)
    return path


def _w1(outcomes: list[PopulationOutcome], part: str, position: int, row: str) -> str:
    for o in outcomes:
        if row in o.numbers[part]:
            asked: Any = o.task.protocol.measured[part]
            values = o.numbers[part][row]["w1"]
            at = position if isinstance(asked, int) else tuple(asked).index(position)
            return f"{values[at]:.3f}"
    raise KeyError(row)


def _frame(clouds: dict[str, np.ndarray], half_side: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Origin, two directions (d, 2), and half the side of a picture of a population."""
    both = np.concatenate([clouds["source"], clouds["truth"]])
    if half_side is not None:
        return np.zeros(2), np.eye(2), half_side
    origin = both.mean(axis=0)
    directions = np.linalg.svd(both - origin, full_matrices=False)[2][:2].T
    return origin, directions, 1.1 * float(np.abs((both - origin) @ directions).max())


def _dots(ax: Axes, points: np.ndarray, colour: str, frame: tuple[np.ndarray, np.ndarray, float]) -> None:
    origin, directions, half_side = frame
    x, y = ((points - origin) @ directions).T
    ax.scatter(x, y, s=min(8.0, 2500 / len(points)), color=colour, linewidths=0, alpha=0.55)
    ax.set_xlim(-half_side, half_side)
    ax.set_ylim(-half_side, half_side)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color("#d8dade")


def draw_neighbours(
    outcomes: list[PopulationOutcome],
    path: Path,
    /,
    *,
    title: str,
    curves: dict[str, dict[int, str]],
    lines: Sequence[str],
    parts: dict[str, str],
    slides: dict[str, Any] | None = None,
) -> Path:
    """W1 and W2 of methods against their number of neighbours, beside rows that have none.

    ``curves``: name -> neighbours -> method. The slides' numbers are those of the first curve.
    """
    figure = Figure(figsize=(3.4 * len(parts) + 2.4, 6.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(2, len(parts), sharex=True, sharey="row", squeeze=False)
    ks = sorted({k for curve in curves.values() for k in curve})
    for line, metric in zip(axes, ("w1", "w2"), strict=True):
        found = over_seeds(outcomes, metric)
        for number, (ax, part) in enumerate(zip(line, parts, strict=True)):
            for (name, curve), marker in zip(curves.items(), "oD", strict=False):
                shown = [k for k in curve if curve[k] in found[part]]
                seeds = np.stack([found[part][curve[k]] for k in shown])
                means, spreads = seeds.mean(axis=1), seeds.std(axis=1, ddof=min(1, seeds.shape[1] - 1))
                style = {"color": READS, "marker": marker, "capsize": 3, "label": name}
                ax.errorbar([ks.index(k) for k in shown], means, spreads, **style)
            if slides:
                first = next(iter(curves.values()))
                theirs = [slides[method][number][("w1", "w2").index(metric)] for method in first.values()]
                at = [ks.index(k) for k in first]
                ax.plot(at, theirs, color=SOURCE, marker="s", ls=":", mfc="white", label="MFM, slides")
            for row, style in zip(lines, ("--", "-.", ":"), strict=False):
                if row in found[part]:
                    name = NAMES.get(row, row).split("\n")[0] if row != "identity" else "nothing happens"
                    height = float(found[part][row].mean())
                    ax.axhline(height, color=COLOURS.get(row, SOURCE), ls=style, lw=1.2, label=name)
            ax.set_xticks(range(len(ks)), [str(k) for k in ks])
            ax.grid(alpha=0.25)
            if metric == "w1":
                ax.set_title(parts[part], fontsize="small")
            else:
                ax.set_xlabel("neighbours k")
        line[0].set_ylim(bottom=0)
        line[0].set_ylabel({"w1": "$W_1$", "w2": "$W_2$"}[metric])
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    save_figure(figure, path)
    return path
