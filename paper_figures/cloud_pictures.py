"""Point clouds as small pictures: a grid of panels, real ones beside generated ones."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from refwfm.clouds import unpad
from refwfm.datasets import CloudFamily
from refwfm.measures import PointCloud
from refwfm.paper_figures.saving import save_figure

REAL, GENERATED = "#33506b", "#c4392f"
FAR = 0.6
"""How much of a colour's way to white the point farthest from the eye has gone."""

VIEW = (20.0, -60.0)
"""Height of the eye above the first two axes and its direction around the third, in degrees."""

AXES = (f"coordinates 1 and 2, from {-VIEW[1]:g}°", f"coordinate 3, from {VIEW[0]:g}° above")
"""Names of the axes of what is seen of three coordinates."""

MOST_POINTS = 4096
PANELS = 24


def draw_clouds(
    clouds: Sequence[Any],
    path: str | os.PathLike[str],
    /,
    *,
    titles: Sequence[str] | None = None,
    title: str = "",
    columns: int = 6,
    color: str = REAL,
) -> None:
    """Save a grid of small panels, one for each cloud, with its number of points n on it.

    Parameters
    ----------
    clouds : sequence of N arrays (n_i, d), d >= 2
        Two coordinates are drawn as they are; three as seen from ``VIEW`` without perspective, the third
        pointing up, nearer points darker; of more than three the first two. All panels have one scale.
    path : path
        The ending chooses the format.
    titles : sequence of N str, optional
        A line on each panel, before its n.
    title : str
    columns : int
    color : colour
    """
    arrays = _arrays(clouds, "clouds")
    if titles is not None and len(titles) != len(arrays):
        raise ValueError(f"titles must be one for each of the {len(arrays)} clouds; got {len(titles)}")
    columns = min(columns, len(arrays))
    figure, axes = _grid(-(-len(arrays) // columns), columns, title)
    views = [_seen(points) for points in arrays]
    for i, (ax, (flat, depth)) in enumerate(zip(axes.ravel(), views, strict=False)):
        _scatter(ax, flat, depth, color, _limits(views))
        size = f"n = {len(arrays[i])}"
        ax.set_title(size if titles is None else f"{titles[i]}, {size}", fontsize=7, pad=2)
    save_figure(figure, path)


def draw_clouds_comparison(
    real: Sequence[Any],
    generated: Sequence[Any],
    path: str | os.PathLike[str],
    /,
    *,
    title: str = "",
    columns: int = 5,
) -> None:
    """Save two grids side by side: real clouds on the left, generated ones on the right.

    Parameters
    ----------
    real, generated : sequences of arrays (n_i, d), d >= 2
        Drawn as ``draw_clouds`` does, on one scale, that of the real clouds.
    path, title
        See ``draw_clouds``.
    columns : int
        Of each grid.
    """
    sides = [_arrays(real, "real"), _arrays(generated, "generated")]
    columns = min(columns, max(map(len, sides)))
    rows = -(-max(map(len, sides)) // columns)
    figure = Figure(
        figsize=(2.3 * columns + 0.2, 1.25 * rows + 0.5 + 0.25 * bool(title)), layout="constrained"
    )
    figure.suptitle(title, fontsize="medium")
    views = [[_seen(points) for points in arrays] for arrays in sides]
    names = (("real", REAL), ("generated", GENERATED))
    for part, arrays, seen, (name, color) in zip(
        figure.subfigures(1, 2, wspace=0.04), sides, views, names, strict=True
    ):
        part.suptitle(name, fontsize="medium", color=color)
        across, up = AXES if arrays[0].shape[1] == 3 else ("coordinate 1", "coordinate 2")
        part.supxlabel(across, fontsize="x-small")
        part.supylabel(up, fontsize="x-small")
        axes = part.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes:
            ax.set_axis_off()
        for ax, points, (flat, depth) in zip(axes, arrays, seen, strict=False):
            _scatter(ax, flat, depth, color, _limits(views[0]))
            ax.set_title(f"n = {len(points)}", fontsize=6, pad=1)
    save_figure(figure, path)


def draw_transport(
    rows: dict[str, Sequence[Any]], path: str | os.PathLike[str], /, *, title: str = ""
) -> None:
    """Save one row of panels for each stage of a flow, the same cloud in the same column.

    Parameters
    ----------
    rows : dict
        Name of the row -> arrays (n_i, d), d >= 2; all panels have the scale of the last row.
    path, title
        See ``draw_clouds``.
    """
    arrays = {name: _arrays(clouds, name) for name, clouds in rows.items()}
    columns = max(map(len, arrays.values()))
    figure, axes = _grid(len(arrays), columns, title)
    views = {name: [_seen(points) for points in clouds] for name, clouds in arrays.items()}
    limits = _limits(list(views.values())[-1])
    for row, (name, seen) in enumerate(views.items()):
        color = REAL if row != 1 else GENERATED
        for column, (flat, depth) in enumerate(seen):
            _scatter(axes[row, column], flat, depth, color, limits)
            size = f"n = {len(arrays[name][column])}"
            axes[row, column].set_title(f"{name}, {size}" if column == 0 else size, fontsize=7, pad=2)
    save_figure(figure, path)


def draw_rows(rows: dict[str, Sequence[Any]], path: str | os.PathLike[str], /, *, title: str = "") -> None:
    """Save a row of small panels for each name, all on one scale, that of the first row: real clouds.

    Parameters
    ----------
    rows : dict
        Name -> arrays (n_i, d), d >= 2. Drawn as ``draw_clouds`` does.
    path : path
        The ending chooses the format.
    """
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.1 * columns + 1.2, 1.15 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    views = {name: [_seen(points) for points in _arrays(clouds, name)] for name, clouds in rows.items()}
    limits = _limits(next(iter(views.values())))
    for k, (name, clouds) in enumerate(views.items()):
        for ax in axes[k]:
            ax.set_axis_off()
        for ax, (flat, depth) in zip(axes[k], clouds, strict=False):
            _scatter(ax, flat, depth, REAL if k == 0 else GENERATED, limits)
        axes[k, 0].set_title(name, fontsize="x-small", loc="left", pad=2)
    save_figure(figure, path)


def draw_cloud_family(family: CloudFamily, path: str | os.PathLike[str], /, *, panels: int = PANELS) -> None:
    """Save pictures of some members of a family, evenly spaced in its order, with class and size."""
    if family.dimension < 2:
        raise ValueError(f"a picture needs at least two coordinates; family {family.name!r} has one")
    drawn = np.unique(np.linspace(0, len(family) - 1, min(panels, len(family))).round().astype(int))
    titles = None
    if family.members:
        titles = [family.members[i] for i in drawn]
    elif family.labels is not None:
        titles = [family.label_names[label] for label in family.labels[drawn]]
    some = f", {len(drawn)} drawn" if len(drawn) < len(family) else ""
    first = ", first two coordinates" if family.dimension > 3 else ""
    draw_clouds(
        [family.cloud(i).points for i in drawn],
        path,
        titles=titles,
        title=f"{family.name}: {len(family)} clouds, d = {family.dimension}{some}{first}",
    )


def _arrays(clouds: Any, name: str) -> list[np.ndarray]:
    """The clouds as host arrays; a ``PointCloud`` batch loses its padding."""
    arrays = unpad(clouds) if isinstance(clouds, PointCloud) else [np.asarray(points) for points in clouds]
    if not arrays:
        raise ValueError(f"{name} is empty: there is nothing to draw")
    for i, points in enumerate(arrays):
        if points.ndim != 2 or len(points) == 0 or points.shape[1] < 2:
            raise ValueError(
                f"{name}: cloud {i} must have shape (n, d) with n >= 1, d >= 2; got {points.shape}"
            )
    return arrays


def _seen(points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What is drawn, (n, 2), and the distance from the eye, (n,), which two coordinates do not have."""
    points = points[:: -(-len(points) // MOST_POINTS)]
    if points.shape[1] != 3:
        return points[:, :2], None
    height, turn = np.radians(VIEW)
    # Towards the eye, to the right of the picture, and up in it.
    eye = np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])
    right = np.array([-np.sin(turn), np.cos(turn), 0.0])
    seen = points @ np.stack([right, np.cross(eye, right), eye], axis=1)
    seen = seen[np.argsort(seen[:, 2])]  # the nearest last, on top
    return seen[:, :2], -seen[:, 2]


def _limits(views: list[tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """Lowest and highest corner of a square around all clouds, but for stray points: (2, 2)."""
    low = np.median([flat.min(axis=0) for flat, _ in views], axis=0)
    high = np.median([flat.max(axis=0) for flat, _ in views], axis=0)
    away = [np.abs(flat - (low + high) / 2).max(axis=1) for flat, _ in views]
    typical = float((high - low).max()) / 2
    bulk = float(np.quantile([np.quantile(each, 0.9) for each in away], 0.95))  # where clouds lie apart
    half = 1.05 * (min(max(map(np.max, away)), max(2 * typical, 1.1 * bulk)) or 1.0)
    return (low + high) / 2 + half * np.array([[-1.0], [1.0]])


def _scatter(ax: Axes, flat: np.ndarray, depth: np.ndarray | None, color: str, limits: np.ndarray) -> None:
    shade: Any = color
    if depth is not None:
        far = (depth - depth.min()) / (np.ptp(depth) or 1.0)
        shade = 1 - (1 - np.array(to_rgb(color))) * (1 - FAR * far[:, None])
    size = float(np.clip((400 if depth is None else 1600) / len(flat), 0.5, 6.0))
    ax.scatter(*flat.T, s=size, c=shade, linewidths=0)
    ax.set_xlim(*limits[:, 0])
    ax.set_ylim(*limits[:, 1])
    ax.set_aspect("equal")
    ax.set_axis_off()


def _grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(1.5 * columns, 1.6 * rows + 0.3 * bool(title)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure, axes
