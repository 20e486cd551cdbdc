"""The picture all ellipse figures share: the data beside what each method generated from it."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refwfm.datasets import Family
from refwfm.measures import Gaussian, take
from refwfm.paper_figures.ellipses import draw_ellipses, magnification
from refwfm.paper_figures.saving import save_figure

REAL, GENERATED = "#555555", "#d1495b"
N_STD = 2.0
MOST_DRAWN = 400
MOST_COVER = 6
"""Ellipses drawn have together at most so many times the area of the picture; the others are left out."""


def draw_comparison(
    family: Family,
    generated: dict[str, Gaussian],
    path: str | os.PathLike[str],
    /,
    *,
    title: str | None = None,
) -> None:
    """Save one panel for the data and one for each method, generated ellipses over the real ones.

    Parameters
    ----------
    family : Family, d >= 2
        The first two coordinates are drawn.
    generated : dict
        Panel title -> Gaussian, mean (n, d), cov (n, d, d), in data units.
    path : path
        The ending chooses the format.
    title : str, optional
    """
    times = magnification(family.gaussians, N_STD)
    panels = 1 + len(generated)
    low, high = limits(family.gaussians)
    width, height = high - low
    columns = 2 if width > 1.3 * height else min(panels, 4)
    rows = -(-panels // columns)
    side = 11 / columns if columns == 2 else 3.6
    tall = side * float(np.clip(height / width, 0.1, 2.5))
    figure = Figure(figsize=(side * columns, (tall + 0.4) * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    area = width * height / times**2
    real = some_of(family.gaussians, area, MOST_DRAWN)
    generated = {name: some_of(mu, area, max(len(real.mean), 64)) for name, mu in generated.items()}
    for ax, (name, members) in zip(axes, [("data", None), *generated.items()], strict=False):
        _panel(ax, real, members, times, filled=len(real.mean) == len(family))
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal", adjustable="box")
    for ax in axes[panels:]:
        ax.set_axis_off()
    axes[0].set_xlim(low[0], high[0])
    axes[0].set_ylim(low[1], high[1])
    notes = [f"{N_STD:g} standard deviations"]
    notes += [f"drawn {times:g} times larger"] * (times > 1)
    notes += [f"{len(real.mean)} of {len(family)} members"] * (len(real.mean) < len(family))
    figure.supxlabel("coordinate 1", fontsize="small")
    figure.supylabel("coordinate 2", fontsize="small")
    figure.suptitle(f"{title or family.name}   ({', '.join(notes)})", fontsize="medium")
    save_figure(figure, path)


def _panel(ax: Axes, real: Gaussian, members: Gaussian | None, times: float, *, filled: bool) -> None:
    opacity = float(np.clip(60 / len(real.mean), 0.25, 0.9))
    fill = 0.1 * opacity * filled  # many faint fills on top of each other hide everything
    alone = members is None
    draw_ellipses(
        ax,
        real,
        color=REAL,
        n_std=N_STD * times,
        alpha=opacity if alone else 0.5 * opacity,
        fill=fill,
    )
    if members is not None:
        draw_ellipses(ax, members, color=GENERATED, n_std=N_STD * times, alpha=0.8 * opacity, fill=fill)


def some_of(mu: Gaussian, area: float, most: int, /) -> Gaussian:
    """At most so many members, evenly spaced, and no more than the picture's area has room for."""
    roots = np.linalg.det(mu.cov[:, :2, :2]).clip(0) ** 0.5
    room = MOST_COVER * area / max(np.pi * N_STD**2 * float(np.median(roots)), 1e-300)
    n, drawn = len(mu.mean), int(min(most, max(room, 8)))
    return mu if n <= drawn else take(mu, np.linspace(0, n - 1, drawn).round().astype(int))


def limits(mu: Gaussian, /) -> tuple[np.ndarray, np.ndarray]:
    """Lower left and upper right corner of the data: a stray generated Gaussian must not shrink the rest."""
    reach = N_STD * np.sqrt(np.median(np.diagonal(mu.cov, axis1=-2, axis2=-1), axis=0))[:2]
    low, high = mu.mean[:, :2].min(axis=0) - reach, mu.mean[:, :2].max(axis=0) + reach
    extent = high - low
    margin = np.maximum(0.05 * extent, 1e-3 * extent.max() or 1.0)
    return low - margin, high + margin
