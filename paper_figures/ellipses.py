"""Gaussians as ellipses: the way every figure of the papers draws them."""

import os
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refwfm.datasets import Family
from refwfm.measures import Gaussian, take
from refwfm.paper_figures.saving import save_figure

PALETTE = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#332288"),
    *("#ee7733", "#009988", "#882255", "#999933", "#ddaa33", "#44aa99", "#cc6677", "#000000"),
)
"""Sixteen colours, most of them told apart by colour-blind readers as well."""

MOST_DRAWN = 400


def draw_ellipses(
    ax: Axes,
    gaussians: Gaussian,
    /,
    *,
    color: Any = PALETTE[0],
    n_std: float = 2.0,
    alpha: float = 0.8,
    fill: float = 0.15,
    lw: float = 0.8,
    axes: tuple[int, int] = (0, 1),
    label: str | None = None,
) -> EllipseCollection:
    """Draw the level set at ``n_std`` standard deviations of each Gaussian, and make room for it.

    Parameters
    ----------
    ax : matplotlib Axes
        Linear scales; its aspect is left alone.
    gaussians : Gaussian, mean (N, d), cov (N, d, d), d >= 2, on the host
    color : one colour, or N of them
    n_std : float
        Half axes of the ellipse, in standard deviations.
    alpha, fill : float in [0, 1]
        Opacity of the outline and of the inside.
    lw : float
        Width of the outline, in points.
    axes : (int, int)
        The two coordinates to draw; for d > 2 this is the marginal on them, not a section.
    label : str, optional
        For the legend.

    Returns
    -------
    EllipseCollection
    """
    pair = list(axes)
    mean = np.asarray(gaussians.mean)[:, pair]
    cov = np.asarray(gaussians.cov)[:, pair][:, :, pair]
    values, vectors = np.linalg.eigh(cov)  # ascending
    diameters = 2 * n_std * np.sqrt(np.clip(values, 0, None))
    ellipses = EllipseCollection(
        diameters[:, 1],
        diameters[:, 0],
        np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1])),
        units="xy",
        offsets=mean,
        offset_transform=ax.transData,
        edgecolors=to_rgba_array(color, alpha),
        facecolors=to_rgba_array(color, fill),
        linewidths=lw,
        label=label,
    )
    ax.add_collection(ellipses, autolim=False)  # matplotlib would make room for the centres only
    reach = n_std * np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    ax.update_datalim(np.concatenate([mean - reach, mean + reach]))
    ax.autoscale_view()
    return ellipses


def draw_family(family: Family, path: str | os.PathLike[str], /, *, n_std: float = 2.0) -> None:
    """Save a picture of a family in its first two coordinates, coloured by label.

    Of a large family ``MOST_DRAWN`` members are drawn, evenly spaced in its order. Where the ellipses
    are too small to be seen beside the distances between them (cities on a map), they are drawn
    larger. The title says so.

    Parameters
    ----------
    family : Family
        d >= 2.
    path : path
        The ending chooses the format.
    n_std : float
        See ``draw_ellipses``.
    """
    if family.dimension < 2:
        raise ValueError(f"a picture needs at least two coordinates; family {family.name!r} has one")
    n = len(family)
    drawn = np.arange(n) if n <= MOST_DRAWN else np.linspace(0, n - 1, MOST_DRAWN).round().astype(int)
    gaussians, times = take(family.gaussians, drawn), magnification(family.gaussians, n_std)
    figure = Figure(figsize=(7.5, 6), layout="constrained")  # no pyplot: no window, no global state
    ax = figure.add_subplot()
    opacity = float(np.clip(60 / len(drawn), 0.15, 0.8))
    # Many faint fills on top of each other add up to grey; then outlines alone say more.
    style: dict[str, Any] = {"n_std": n_std * times, "alpha": opacity, "fill": 0.15 * (n <= 128)}
    if family.labels is None:
        draw_ellipses(ax, gaussians, **style)
    else:
        _draw_classes(figure, ax, gaussians, family.labels[drawn], family.label_names, style)
    ax.set_aspect("equal", adjustable="box")
    parts = f"{n} Gaussians, d = {family.dimension}", f"{n_std:g} standard deviations"
    notes = [f"{len(drawn)} drawn"] * (len(drawn) < n) + [f"drawn {times:g} times larger"] * (times > 1)
    ax.set_title(f"{family.name}: {', '.join([*parts, *notes])}", fontsize="medium")
    ax.set_xlabel("coordinate 1")
    ax.set_ylabel("coordinate 2")
    save_figure(figure, path)


def _draw_classes(
    figure: Figure,
    ax: Axes,
    gaussians: Gaussian,
    labels: Any,
    names: tuple[str, ...],
    style: dict[str, Any],
) -> None:
    counts = np.bincount(labels, minlength=len(names))
    handles = []
    for i in np.argsort(-counts, kind="stable"):  # the commonest first, so that it does not hide the others
        if counts[i]:
            color = PALETTE[i % len(PALETTE)]
            draw_ellipses(ax, take(gaussians, np.flatnonzero(labels == i)), color=color, **style)
            handles.append(Line2D([], [], color=color, label=f"{names[i]} ({counts[i]})"))
    if len(handles) <= len(PALETTE):
        figure.legend(handles=handles, loc="outside right center", fontsize="small", frameon=False)


def magnification(gaussians: Gaussian, n_std: float) -> float:
    """1, or the round number that makes the median ellipse about a fiftieth of the picture."""
    mean, cov = np.asarray(gaussians.mean)[:, :2], np.asarray(gaussians.cov)[:, :2, :2]
    extent = float(np.ptp(mean, axis=0).max())
    size = 2 * n_std * float(np.sqrt(np.median(np.trace(cov, axis1=-2, axis2=-1))))
    return float(round(extent / 50 / size)) if 0 < size < extent / 100 else 1.0
