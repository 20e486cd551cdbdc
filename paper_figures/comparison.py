"""The picture all ellipse figures share: the data beside what each method generated from it."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refwfm.datasets import Family
from refwfm.measures import Gaussian, take
from refwfm.paper_figures.ellipses import draw_ellipses, magnification

REAL, GENERATED = "#555555", "#d1495b"
N_STD = 2.0
MOST_DRAWN = 400


def draw_comparison(
    family: Family,
    generated: dict[str, Gaussian],
    path: str | os.PathLike[str],
    /,
    *,
    title: str | None = None,
    outline: np.ndarray | None = None,
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
    outline : array, shape (k, 2), optional
        A line to draw underneath (a coast), NaN between its pieces.
    """
    times = magnification(family.gaussians, N_STD)
    panels = 1 + len(generated)
    columns = panels if panels <= 4 and outline is None else 2
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.2 * columns, (4.4 if outline is None else 2.9) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    real = _spread(family.gaussians)
    for ax, (name, members) in zip(axes, [("data", None), *generated.items()], strict=False):
        if outline is not None:
            ax.plot(*outline.T, color="0.8", lw=0.8, zorder=0)
        _panel(ax, real, members, times)
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal", adjustable="box")
    for ax in axes[panels:]:
        ax.set_axis_off()
    _show_the_data(axes[0], family.gaussians)
    notes = f"{N_STD:g} standard deviations" + (f", drawn {times:g} times larger" if times > 1 else "")
    figure.suptitle(f"{title or family.name}   ({notes})", fontsize="medium")
    figure.savefig(path, dpi=150)


def _panel(ax: Axes, real: Gaussian, members: Gaussian | None, times: float) -> None:
    opacity = float(np.clip(60 / len(real.mean), 0.25, 0.9))
    alone = members is None
    draw_ellipses(
        ax,
        real,
        color=REAL,
        n_std=N_STD * times,
        alpha=opacity if alone else 0.5 * opacity,
        fill=0.1 * opacity,
    )
    if members is not None:
        shown = take(members, np.arange(min(len(members.mean), max(len(real.mean), 64))))
        draw_ellipses(
            ax, shown, color=GENERATED, n_std=N_STD * times, alpha=0.8 * opacity, fill=0.1 * opacity
        )


def _spread(mu: Gaussian) -> Gaussian:
    n = len(mu.mean)
    return mu if n <= MOST_DRAWN else take(mu, np.linspace(0, n - 1, MOST_DRAWN).round().astype(int))


def _show_the_data(ax: Axes, mu: Gaussian) -> None:
    """Limits from the data, so that one stray generated Gaussian does not make everything small."""
    deviation = 2 * N_STD * np.sqrt(np.median(np.diagonal(mu.cov, axis1=-2, axis2=-1), axis=0))[:2]
    low, high = mu.mean[:, :2].min(axis=0) - deviation, mu.mean[:, :2].max(axis=0) + deviation
    margin = 0.05 * (high - low)
    ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
    ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
