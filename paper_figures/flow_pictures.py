"""Flows of clouds as pictures: paths of points, densities along them."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from refwfm.paper_figures.cloud_pictures import GENERATED, REAL
from refwfm.paper_figures.saving import save_figure

PATH = "#8a8f98"
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)

KERNEL = 0.6
"""Width of the kernels, as a share of Scott's: digits are thinner than a normal law of their spread."""

CELLS = 96


def draw_paths(
    paths: dict[str, np.ndarray],
    target: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    /,
    *,
    title: str = "",
) -> None:
    """Save one panel for each flow: where its points start, how they go, where they end.

    Parameters
    ----------
    paths : dict
        Panel title -> positions (K + 1, B, n, d), d >= 2; the first two coordinates are drawn.
    target : arrays (n_i, d)
        Real clouds, drawn faintly behind them.
    path : path
        The ending chooses the format.
    """
    columns = 2 if len(paths) == 4 else min(len(paths), 3)
    everything = np.concatenate(
        [np.concatenate(list(target)), *(x.reshape(-1, x.shape[-1]) for x in paths.values())]
    )
    low, high = np.quantile(everything[:, :2], (0.001, 0.999), axis=0)
    margin = 0.04 * (high - low).max()
    wide, tall = high - low + 2 * margin
    rows = -(-len(paths) // columns)
    side = 11.0 / columns
    figure = Figure(figsize=(11, rows * (side * tall / wide + 0.3) + 0.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, (name, positions) in zip(axes, paths.items(), strict=False):
        ax.scatter(*np.concatenate(list(target))[:, :2].T, s=3, color="#d8dade", linewidths=0)
        lines = np.moveaxis(positions[..., :2], 0, 2).reshape(-1, len(positions), 2)
        ax.add_collection(LineCollection(list(lines), colors=PATH, linewidths=0.4, alpha=0.6))
        for k, color in ((0, REAL), (-1, GENERATED)):
            ax.scatter(*positions[k, ..., :2].reshape(-1, 2).T, s=4, color=color, linewidths=0, zorder=3)
        _frame(ax, low - margin, high + margin)
        ax.set_title(name, fontsize="small")
    save_figure(figure, path)


def draw_densities(
    paths: dict[str, np.ndarray],
    path: str | os.PathLike[str],
    /,
    *,
    title: str = "",
) -> None:
    """Save kernel densities of single clouds on their way, one pair of rows for each flow.

    Kernels are normal, ``KERNEL`` times as wide as Scott's rule has them, in one square for all.

    Parameters
    ----------
    paths : dict
        Name -> positions (K + 1, 2, n, 2): two clouds on their way; drawn at ``TIMES``.
    path : path
        The ending chooses the format.
    """
    low, high = _square(np.concatenate([positions.reshape(-1, 2) for positions in paths.values()]))
    rows = sum(positions.shape[1] for positions in paths.values())
    figure = Figure(figsize=(1.5 * len(TIMES) + 1.2, 1.55 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(rows, len(TIMES), squeeze=False)
    at = np.stack(np.meshgrid(*np.linspace(low, high, CELLS).T)).reshape(2, -1)
    row = 0
    for name, positions in paths.items():
        for i in range(positions.shape[1]):
            for ax, t in zip(axes[row], TIMES, strict=True):
                points = positions[round(t * (len(positions) - 1)), i]
                density = _density(points, at).reshape(CELLS, CELLS)
                ax.imshow(density, origin="lower", extent=(low[0], high[0], low[1], high[1]), cmap="magma")
                ax.set_xticks([])
                ax.set_yticks([])
                if row == 0:
                    ax.set_title(f"t = {t:g}", fontsize="small")
            axes[row, 0].set_ylabel(name, fontsize="x-small")
            row += 1
    save_figure(figure, path)


def _square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the square around points (n, 2), with a margin for their kernels."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.65 * np.max(high - low)
    return 0.5 * (low + high) - half, 0.5 * (low + high) + half


def _density(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Density of points (n, 2) at places (2, m)."""
    from scipy.stats import gaussian_kde

    kde = gaussian_kde(points.T, bw_method=lambda kde: KERNEL * kde.scotts_factor())
    return np.asarray(kde(at))


def _frame(ax: Axes, low: np.ndarray, high: np.ndarray) -> None:
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.set_aspect("equal")
