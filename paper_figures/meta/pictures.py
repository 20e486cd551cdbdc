"""Pictures of Meta OT: errors by iteration, digits on their way, supply and demand on the globe."""

import os
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from refwfm.paper_figures.saving import save_figure
from refwfm.runs.evaluate_meta import STARTS, THRESHOLDS

COLORS = {"zeros": "#8a8f98", "gaussian": "#4477aa", "meta": "#d1495b"}
SUPPLY, DEMAND = "#d1495b", "#4477aa"
LEAST = 1e-16
"""Errors below this are drawn as this: the logarithm of 0 has no place."""


def draw_curves(
    panels: dict[str, dict[str, np.ndarray]], path: str | os.PathLike[str], /, *, title: str = ""
) -> None:
    """Save one panel for each family of pairs: the error of each start by iteration, on a logarithmic axis.

    The band is one standard deviation of the errors' logarithms over pairs, about their mean.

    Parameters
    ----------
    panels : dict
        Panel title -> start -> errors (K + 1, size).
    path : path
        The ending chooses the format.
    """
    figure = Figure(figsize=(max(5.2 * len(panels), 6.2) + 0.4, 3.8), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for ax, (name, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        last = 1
        for start, errors in curves.items():
            mean, spread = logarithms(errors)
            k, color = np.arange(len(mean)), COLORS[start]
            ax.plot(k, 10**mean, color=color, lw=1.6, label=STARTS[start])
            ax.fill_between(k, 10 ** (mean - spread), 10 ** (mean + spread), color=color, alpha=0.18, lw=0)
            low = np.flatnonzero(mean < np.log10(0.3 * min(THRESHOLDS)))
            last = max(last, int(low[0]) if low.size else len(mean) - 1)
        for threshold in THRESHOLDS:
            ax.axhline(threshold, color="#c9ccd1", lw=0.7, ls=(0, (4, 3)), zorder=0)
        ax.set_yscale("log")
        ax.set_xlim(0, last)
        ax.set_ylim(0.3 * min(THRESHOLDS), 3.0)
        ax.set_title(name, fontsize="medium")
        ax.set_xlabel("iterations of Sinkhorn")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, loc="upper right")
    figure.axes[0].set_ylabel("marginal error, ± one standard deviation")
    save_figure(figure, path)


def logarithms(errors: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over pairs of log10 of errors (K + 1, size)."""
    logs = np.log10(np.maximum(errors, LEAST))
    return logs.mean(axis=1), logs.std(axis=1, ddof=1) if logs.shape[1] > 1 else np.zeros(len(logs))


def draw_interpolations(
    rows: list[tuple[str, np.ndarray]],
    times: np.ndarray,
    path: str | os.PathLike[str],
    /,
    *,
    title: str = "",
) -> None:
    """Save images on their way: a row for each plan, a column for each time.

    Parameters
    ----------
    rows : list of (label, images (T, h, w))
    times : array (T,)
    """
    figure = Figure(figsize=(0.85 * len(times) + 1.3, 0.87 * len(rows) + 0.7), layout="tight")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(len(rows), len(times), squeeze=False)
    for number, (line, (label, images)) in enumerate(zip(axes, rows, strict=True)):
        for ax, image, t in zip(line, images, times, strict=True):
            ax.imshow(image / np.max(image) if np.max(image) > 0 else image, cmap="gray_r", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_color("#d8dade")
            if number == 0:
                ax.set_title(f"t = {t:g}", fontsize="small")
        line[0].set_ylabel(label, fontsize="small", rotation=0, ha="right", va="center")
    save_figure(figure, path)


def draw_globes(
    panels: dict[str, np.ndarray],
    supply: tuple[np.ndarray, np.ndarray],
    demand: tuple[np.ndarray, np.ndarray],
    path: str | os.PathLike[str],
    /,
    *,
    title: str = "",
    entries: int = 400,
) -> None:
    """Save supply, demand and a plan's largest entries on the globe: a column for each plan, both sides.

    Parameters
    ----------
    panels : dict
        Title -> plan (n, m).
    supply, demand : points (n, 3) and weights (n,); points (m, 3) and weights (m,)
    entries : int
        Number of entries drawn at most, the largest, as arcs of great circles.
    """
    figure = Figure(figsize=(4.2 * len(panels), 8.6), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    axes = figure.subplots(2, len(panels), squeeze=False)
    front = view_of(np.concatenate([supply[0], demand[0]]))
    for column, (name, plan) in enumerate(panels.items()):
        for row, side in enumerate((front, front * np.array([[-1.0], [1.0], [-1.0]]))):
            ax = axes[row, column]
            _draw_sphere(ax, side)
            _draw_arcs(ax, side, supply[0], demand[0], plan, entries)
            for points, weights, color, unit in ((*demand, DEMAND, 2500.0), (*supply, SUPPLY, 1200.0)):
                seen = (points @ side.T)[:, 2] > 0
                at = (points @ side.T)[seen & (weights > 0)]
                area = unit * weights[seen & (weights > 0)]
                ax.scatter(*at[:, :2].T, s=area, color=color, alpha=0.75, lw=0, zorder=3)
            if row == 0:
                ax.set_title(name, fontsize="medium")
    save_figure(figure, path)


def view_of(points: np.ndarray, /) -> np.ndarray:
    """Orthonormal rows, right, up, towards the viewer, of an orthographic view on most of the points."""
    towards = points.mean(axis=0)
    towards = np.array([1.0, 0.0, 0.0]) if np.linalg.norm(towards) < 1e-6 else towards
    towards = towards / np.linalg.norm(towards)
    north = np.array([0.0, 0.0, 1.0]) if abs(towards[2]) < 0.95 else np.array([1.0, 0.0, 0.0])
    right = np.cross(north, towards)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def _draw_sphere(ax: Axes, view: np.ndarray) -> None:
    """Outline, parallels and meridians of the side that is seen."""
    angle = np.linspace(0, 2 * np.pi, 181)
    ax.fill(np.cos(angle), np.sin(angle), color="#f4f5f7", zorder=0)
    ax.plot(np.cos(angle), np.sin(angle), color="#b8bcc4", lw=0.8, zorder=1)
    lines = [_parallel(np.radians(latitude), angle) for latitude in (-60, -30, 0, 30, 60)]
    lines += [_meridian(np.radians(longitude), angle) for longitude in range(0, 180, 30)]
    for line in lines:
        at = line @ view.T
        at[at[:, 2] < 0] = np.nan
        ax.plot(*at[:, :2].T, color="#dde0e4", lw=0.5, zorder=1)
    ax.set_aspect("equal")
    ax.set_axis_off()


def _parallel(latitude: float, angle: np.ndarray) -> np.ndarray:
    height = np.full_like(angle, np.sin(latitude))
    return np.stack([np.cos(latitude) * np.cos(angle), np.cos(latitude) * np.sin(angle), height], axis=-1)


def _meridian(longitude: float, angle: np.ndarray) -> np.ndarray:
    flat = np.cos(angle)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(angle)], axis=-1)


def _draw_arcs(
    ax: Axes, view: np.ndarray, x: np.ndarray, y: np.ndarray, plan: np.ndarray, entries: int
) -> None:
    largest = np.argsort(plan, axis=None)[::-1][:entries]
    largest = largest[plan.ravel()[largest] > 1e-3 * np.max(plan)]
    if not largest.size:
        return
    i, j = np.unravel_index(largest, plan.shape)
    arcs = great_circles(x[i], y[j]) @ view.T
    width = 0.2 + 0.9 * np.sqrt(plan[i, j] / plan.max())
    segments: list[Any] = []
    widths: list[float] = []
    for arc, each in zip(arcs, width, strict=True):
        both = (arc[:-1, 2] > 0) & (arc[1:, 2] > 0)
        segments += list(np.stack([arc[:-1, :2], arc[1:, :2]], axis=1)[both])
        widths += [float(each)] * int(both.sum())
    ax.add_collection(LineCollection(segments, colors="#3d434d", linewidths=widths, alpha=0.6, zorder=2))


def great_circles(x: np.ndarray, y: np.ndarray, /, *, steps: int = 24) -> np.ndarray:
    """Points (n, steps + 1, 3) on the shortest arcs between unit vectors (n, 3)."""
    t = np.linspace(0, 1, steps + 1)[:, None]
    angle = np.arccos(np.clip(np.sum(x * y, axis=-1), -1, 1))[:, None, None]
    safe = np.where(angle > 1e-9, angle, 1.0)
    weights = np.sin((1 - t) * safe) / np.sin(safe), np.sin(t * safe) / np.sin(safe)
    flat = (1 - t, t)
    first, second = (np.where(angle > 1e-9, w, u) for w, u in zip(weights, flat, strict=True))
    return first * x[:, None] + second * y[:, None]
