"""A flow of Gaussians as one picture: the source, the way, what comes out, and the data beside it."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from refwfm.datasets import Family
from refwfm.measures import Gaussian
from refwfm.paper_figures.comparison import GENERATED, MOST_DRAWN, N_STD, REAL, limits, some_of
from refwfm.paper_figures.ellipses import draw_ellipses, magnification
from refwfm.paper_figures.saving import save_figure

SOURCE = "#3d6fa5"


def draw_gaussian_flow(
    path: Gaussian, family: Family, file: str | os.PathLike[str], /, *, title: str = ""
) -> None:
    """Save four panels: source, half the way, the end over the data, and the data alone.

    Parameters
    ----------
    path : Gaussian, mean (K + 1, n, d), cov (K + 1, n, d, d), d >= 2
        The same Gaussians at K + 1 >= 2 equidistant times from 0 to 1, in data units. The first two
        coordinates are drawn. A line follows each mean.
    family : Family
        The data.
    file : path
        The ending chooses the format.
    """
    times = magnification(family.gaussians, N_STD)
    n_std, last = N_STD * times, len(path.mean) - 1
    low, high = _room(path, family.gaussians)
    wide, tall = high - low
    real = some_of(family.gaussians, wide * tall / times**2, MOST_DRAWN)
    fill = 0.15 * (len(real.mean) == len(family))  # many faint fills on top of each other hide everything
    shown = slice(0, max(24, len(real.mean)))
    columns = 2 if wide > 1.3 * tall else 4
    side = 11 / columns
    rows = 4 // columns
    figure = Figure(
        figsize=(11, rows * (side * float(np.clip(tall / wide, 0.1, 1.5)) + 0.3) + 0.5), layout="constrained"
    )
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    names = ("noise, t = 0", f"on the way, t = {(last // 2) / last:.2g}", "generated, t = 1", "data")
    colors = (SOURCE, "#8a5a8c", GENERATED)
    for ax, k, color in zip(axes, (0, last // 2, last), colors, strict=False):
        if k == last:
            draw_ellipses(ax, real, color=REAL, n_std=n_std, alpha=0.35, fill=0.3 * fill)
        _lines(ax, path.mean[: k + 1, shown, :2])
        members = Gaussian(path.mean[k, shown], path.cov[k, shown])
        draw_ellipses(ax, members, color=color, n_std=n_std, alpha=0.9, fill=fill)
    draw_ellipses(axes[3], real, color=REAL, n_std=n_std, alpha=0.8, fill=fill)
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(low[1], high[1])
    figure.supxlabel("coordinate 1", fontsize="small")
    figure.supylabel("coordinate 2", fontsize="small")
    note = f"   (ellipses of {N_STD:g} standard deviations{f', drawn {times:g} times larger' * (times > 1)})"
    figure.suptitle((title or family.name) + note, fontsize="medium")
    save_figure(figure, file)


def _lines(ax: Axes, means: np.ndarray) -> None:
    """Ways of the means (K + 1, n, 2) up to here."""
    ax.add_collection(LineCollection(list(np.swapaxes(means, 0, 1)), colors="#9aa0a6", linewidths=0.5))


def _room(path: Gaussian, data: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """Corners that hold the data and nearly all of the way: a stray one must not shrink the rest."""
    low, high = limits(data)
    means = path.mean[..., :2].reshape(-1, 2)
    return np.minimum(low, np.quantile(means, 0.01, axis=0)), np.maximum(
        high, np.quantile(means, 0.99, axis=0)
    )
