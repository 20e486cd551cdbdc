"""Pictures of colour transfer: dual values against steps, clouds of colours, photographs both ways."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from refwfm.datasets import palettes
from refwfm.meta.icnn import gradient_map
from refwfm.meta.w2gn import transfer_colours
from refwfm.networks.layers import Params
from refwfm.paper_figures.meta.colour_data import PALETTES, PHOTOGRAPHS
from refwfm.paper_figures.meta.colour_experiment import ColourOutcome, normalised
from refwfm.paper_figures.saving import save_figure
from refwfm.training.optim import tree_map

META, W2GN, START = "#c4392f", "#33506b", "#8a8f98"
NAMES = {"gaussian": "Gaussian map", "identity": "identity", "random": "random pair"}

WIDE = 320
"""Pixels that a photograph is reduced to, at least."""

MOST_CLOUDS = 4
POINTS = 600


def draw_dual_values(outcomes: list[ColourOutcome], path: str | os.PathLike[str], /, *, title: str) -> None:
    """Save normalised dual values against steps of fitting, one panel for each start of the hypernetwork.

    Lines are means over pairs (and seeds), bands reach a standard deviation up and down, or to 1.
    """
    starts = list(dict.fromkeys(o.task.start for o in outcomes))
    figure = Figure(figsize=(5.2 * len(starts), 3.9), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for ax, start in zip(figure.subplots(1, len(starts), sharey=True, squeeze=False)[0], starts, strict=True):
        found = [o for o in outcomes if o.task.start == start]
        steps = found[0].steps
        meta, w2gn, alone = (np.concatenate(each) for each in zip(*map(normalised, found), strict=True))
        for values, colour, name in (
            (meta, META, "from the prediction"),
            (w2gn, W2GN, "W2GN, from the identity"),
        ):
            mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
            ax.plot(steps, mean, color=colour, marker="o", markersize=3.5, label=name)
            ax.fill_between(
                steps, mean - spread, np.minimum(mean + spread, 1.0), color=colour, alpha=0.18, lw=0
            )
        if start != "identity":  # that is where W2GN begins
            text = f"the {NAMES[start]} alone"
            ax.axhline(alone.mean(), color=START, linestyle="--", linewidth=1, label=text)
        seconds = np.mean([o.step_s.mean() for o in found])
        ax.set_title(
            f"hypernetwork corrects the {NAMES[start]}\n{len(meta)} held-out pairs, "
            f"{1e3 * seconds:.1f} ms a step",
            fontsize="small",
        )
        ax.set_xlabel("steps of fitting")
        ax.grid(alpha=0.25)
        ax.legend(fontsize="small", loc="lower right", frameon=False)
        ax.set_ylim(-0.03, 1.03)
    figure.axes[0].set_ylabel("dual value, normalised per pair")
    save_figure(figure, path)


def draw_clouds(outcome: ColourOutcome, path: str | os.PathLike[str], /, *, title: str) -> None:
    """Save clouds of colours in the cube, each point in its colour: source, images under the maps, target."""
    rows = _spread([PALETTES, PHOTOGRAPHS], outcome)
    heads = ("source", "predicted map", "fine-tuned map", "target")
    figure = Figure(figsize=(11, 2.6 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(f"{title}: clouds of colours", fontsize="medium")
    for r, k in enumerate(rows):
        x, y = outcome.x[k][:POINTS], outcome.y[k][:POINTS]
        maps = [_member(pair["potential"], k) for pair in (outcome.predicted, outcome.tuned)]
        moved = [np.clip(gradient_map(params, x)[0], 0, 1) for params in maps]
        names = outcome.names[outcome.drawn[k]]
        for c, points in enumerate((x, *moved, y)):
            ax: Any = figure.add_subplot(len(rows), 4, 4 * r + c + 1, projection="3d")
            ax.scatter(*points.T, c=np.clip(points, 0, 1), s=7, linewidths=0, depthshade=False)
            for axis, name in zip("xyz", ("red", "green", "blue"), strict=True):
                getattr(ax, f"set_{axis}lim")(0, 1)
                getattr(ax, f"set_{axis}ticks")([])
                getattr(ax, f"set_{axis}label")(name, fontsize="x-small", labelpad=-15)
            ax.view_init(22, -55)
            ax.set_box_aspect((1, 1, 0.85), zoom=0.92)
            label = {0: f": {names[0]}", 3: f": {names[1]}"}.get(c, "")
            ax.set_title(heads[c] + label, fontsize="small", pad=0)
    save_figure(figure, path)


def draw_transfer(outcome: ColourOutcome, path: str | os.PathLike[str], /, *, title: str) -> None:
    """Save photographs with each other's colours: as they are, by the predicted and by the fine-tuned map."""
    rows = [k for k, i in enumerate(outcome.drawn) if outcome.kinds[i] == PHOTOGRAPHS]
    heads = ("photograph", "predicted", "fine-tuned")
    figure = Figure(figsize=(13, 1.85 * len(rows) + 0.75), layout="constrained")
    figure.suptitle(f"{title}, both ways", fontsize="medium")
    axes = figure.subplots(len(rows), 6, squeeze=False)
    for row, k in zip(axes, rows, strict=True):
        names = outcome.names[outcome.drawn[k]]
        for side, potential in enumerate(("potential", "conjugate")):
            picture = _smaller(palettes.photograph(names[side]))
            shown = [picture]
            for pair in (outcome.predicted, outcome.tuned):
                params = tree_map(lambda leaf: leaf.astype(float), _member(pair[potential], k))
                shown.append(transfer_colours(params, picture))
            for c, (head, image) in enumerate(zip(heads, shown, strict=True)):
                ax = row[3 * side + c]
                ax.imshow(image, interpolation="bilinear")
                ax.set_axis_off()
                said = names[side] if c == 0 else f"{head}: colours of {names[1 - side]}"
                ax.set_title(said, fontsize="small")
    credit = dict.fromkeys(name for k in rows for name in outcome.names[outcome.drawn[k]])
    said = "; ".join(
        f"{name}: {palettes.PHOTOGRAPHS[name].author}, {palettes.PHOTOGRAPHS[name].licence}"
        for name in credit
    )
    figure.supxlabel(said, fontsize="xx-small")
    save_figure(figure, path)


def _spread(kinds: list[str], outcome: ColourOutcome) -> list[int]:
    """Some of the drawn pairs, of each kind as many."""
    by_kind = [[k for k, i in enumerate(outcome.drawn) if outcome.kinds[i] == kind] for kind in kinds]
    there = [found for found in by_kind if found]
    each = max(1, MOST_CLOUDS // len(there))
    return [k for found in there for k in found[:each]]


def _member(params: Params, k: int) -> Params:
    take: Callable[[np.ndarray], np.ndarray] = lambda leaf: leaf[k]  # noqa: E731
    return tree_map(take, params)


def _smaller(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, three high and four wide; each pixel the mean over a block of its."""
    unit = min(picture.shape[0] // 3, picture.shape[1] // 4)
    times = max(1, 4 * unit // WIDE)
    height, width = (side * unit // times for side in (3, 4))
    top, left = (
        (whole - times * part) // 2 for whole, part in zip(picture.shape[:2], (height, width), strict=True)
    )
    middle = picture[top : top + times * height, left : left + times * width]
    return middle.reshape(height, times, width, times, 3).mean(axis=(1, 3))
