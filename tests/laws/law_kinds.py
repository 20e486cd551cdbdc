"""How the inputs and outputs of functions are made of measures, and how they change when the data do.

A ``Kind`` says of one array what its axes are and how it transforms; trees of kinds, in the shape of the
arguments and results of a function, say all that the laws need to know about it. The letters of axes:

=========  ==========================================================================================
``b q r``  members that do not know of each other: batches, queries, rows and columns of all pairs
``i j k``  members of a family, which do
``n m l``  points of clouds
``d``      coordinates that a rotation mixes; ``c`` coordinates that have their own meaning
``T``      an order that means something: times, Fourier features, a triangular factor's columns
=========  ==========================================================================================
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from refwfm.bures_metric import EuclideanTangent, Tangent
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport.families import Family


class Kind(NamedTuple):
    """An array that is measured in the data's unit to the power ``degree``.

    ``affine`` values move with the data, ``odd`` ones change their sign when time runs backwards, and those
    of a split point add up along the axes ``adds``. Integers may be positions along the axis ``points_at``.
    """

    axes: str = ""
    degree: int = 0
    sort: str = "values"
    affine: bool = False
    odd: bool = False
    adds: str = ""
    points_at: str = ""


def points(axes: str) -> Kind:
    return Kind(axes, 1, "points", affine=True)


def cleared(axes: str) -> Kind:
    """Points whose function wants zeros at padding."""
    return Kind(axes, 1, "cleared", affine=True)


def line(axes: str) -> PointCloud:
    """Points on the line, without an axis of coordinates."""
    return PointCloud(points(axes), weights(axes))


def vectors(axes: str, *, degree: int = 1, odd: bool = False, adds: str = "") -> Kind:
    return Kind(axes, degree, odd=odd, adds=adds)


def number(axes: str = "", degree: int = 0) -> Kind:
    return Kind(axes, degree)


def positive(axes: str, degree: int = 0) -> Kind:
    return Kind(axes, degree, "positive")


def weights(axes: str) -> Kind:
    return Kind(axes, sort="weights", adds=axes[-1])


def even(axes: str) -> Kind:
    """Weights of points that all weigh the same: laws that change weights are not for them."""
    return Kind(axes, sort="even")


def plan(axes: str) -> Kind:
    return Kind(axes, sort="plan", adds=axes[-2:])


def index(axes: str, points_at: str) -> Kind:
    return Kind(axes, sort="index", points_at=points_at)


def cloud(axes: str, coordinate: str = "d") -> PointCloud:
    return PointCloud(points(axes + coordinate), weights(axes))


def even_cloud(axes: str, coordinate: str = "d") -> PointCloud:
    return PointCloud(points(axes + coordinate), even(axes))


def family(axes: str) -> Family:
    return Family(cloud(axes), weights(axes[0]))


def gaussian(axes: str = "b", coordinate: str = "d", sort: str = "covariance") -> Gaussian:
    return Gaussian(points(axes + coordinate), Kind(axes + 2 * coordinate, 2, sort))


def tangent(axes: str = "b", *, odd: bool = False, coordinate: str = "d") -> Tangent:
    lift = Kind(axes + 2 * coordinate, 0, "symmetric", odd=odd)
    return Tangent(vectors(axes + coordinate, odd=odd), lift)


def euclidean_tangent(axes: str = "b", *, odd: bool = False, coordinate: str = "d") -> EuclideanTangent:
    rate = Kind(axes + 2 * coordinate, 2, "symmetric", odd=odd)
    return EuclideanTangent(vectors(axes + coordinate, odd=odd), rate)


time = Kind("b", sort="time")


def zip_map(function: Callable[[Kind, Any], Any], kinds: Any, values: Any) -> Any:
    """Apply a function to each kind of a tree and the value at its place; what has no kind stays."""
    if isinstance(kinds, Kind):
        return function(kinds, values)
    if isinstance(kinds, dict):
        return {name: zip_map(function, kind, values[name]) for name, kind in kinds.items()}
    if isinstance(kinds, tuple):
        parts = [zip_map(function, kind, value) for kind, value in zip(kinds, values, strict=True)]
        return type(kinds)(*parts) if hasattr(kinds, "_fields") else tuple(parts)
    return values


def kinds_in(tree: Any) -> list[Kind]:
    if isinstance(tree, Kind):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else ()
    return [kind for part in parts for kind in kinds_in(part)]


def letters(tree: Any) -> set[str]:
    return {letter for kind in kinds_in(tree) for letter in kind.axes}


# Drawing: sizes and a style by hypothesis, so that they shrink; the numbers from a seed. Everything lies on a
# grid of 2^-10, so that shifts and scales by powers of two are exact: what differs is a function's doing.

STYLES = ("spread", "ties", "flat", "near")
"""No two alike; small integers with many alike; degenerate directions; all members nearly the same."""

SIZES = {
    "b": (2, 1),
    "q": (2, 3, 1),
    "r": (3, 2, 1),
    "n": (3, 2, 4, 1),
    "m": (4, 3, 1, 2),
    "l": (2, 3, 1),
    "i": (2, 3, 1),
    "j": (3, 2, 1),
    "k": (3, 2, 1),
    "d": (2, 3, 6, 1),
    "c": (2, 4, 1),
    "T": (3,),
}
"""Lengths of axes, the first ones first: one example should already be a good one."""


@st.composite
def inputs(draw: Any, record: Any) -> dict[str, Any]:
    """Arguments of a record's function: NumPy arrays of float64, integers or booleans."""
    sizes = {}
    for letter in sorted(letters(record.inputs)):
        sizes[letter] = draw(st.sampled_from(record.sizes.get(letter, SIZES[letter])))
    for first, *others in record.same:
        sizes |= dict.fromkeys(others, sizes[first])
    style = draw(st.sampled_from(record.styles))
    seed = draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)

    def value(kind: Kind, _: Any) -> Any:
        if kind.sort in record.drawn:
            return record.drawn[kind.sort](rng, tuple(sizes[letter] for letter in kind.axes))
        shape = tuple(sizes[letter] for letter in kind.axes)
        if style != "near":
            return MAKERS[kind.sort](rng, shape, style, record)
        same = MAKERS[kind.sort](np.random.default_rng(seed), shape, style, record)
        moves = kind.sort in ("points", "cleared", "values") and kind.degree == 1
        return same + rng.integers(-2, 3, shape) / 1024 if moves else same

    return zip_map(value, record.inputs, record.inputs)


def grid(rng: np.random.Generator, shape: tuple[int, ...], style: str) -> np.ndarray:
    if style == "ties":
        return rng.integers(-2, 3, shape).astype(float)
    return np.round(1024 * 2 * rng.standard_normal(shape)) / 1024


def some_points(rng: np.random.Generator, shape: tuple[int, ...], style: str, _: Any) -> np.ndarray:
    values = grid(rng, shape, style)
    return (
        np.concatenate([values[..., :-1], 0 * values[..., -1:] + 1], axis=-1) if style == "flat" else values
    )


def some_covariance(rng: np.random.Generator, shape: tuple[int, ...], style: str, record: Any) -> np.ndarray:
    """Singular with ties, graded over many orders of magnitude where flat."""
    root = np.round(16 * rng.standard_normal(shape)) / 16
    if style == "ties":
        root = np.round(root)
        root[..., :, -1] *= 0.0
    if style == "flat":
        root *= 0.125 ** np.arange(shape[-1])
    cov = root @ np.swapaxes(root, -1, -2)
    return cov + np.eye(shape[-1]) if record.definite else cov


def definite_covariance(
    rng: np.random.Generator, shape: tuple[int, ...], style: str, record: Any
) -> np.ndarray:
    return some_covariance(rng, shape, style, record) + np.eye(shape[-1])


def some_symmetric(rng: np.random.Generator, shape: tuple[int, ...], style: str, _: Any) -> np.ndarray:
    half = grid(rng, shape, style) / 8
    return half + np.swapaxes(half, -1, -2)


def some_weights(rng: np.random.Generator, shape: tuple[int, ...], style: str, _: Any) -> np.ndarray:
    shares = np.ones(shape) if style == "near" else rng.integers(1, 5, shape).astype(float)
    return shares / shares.sum(axis=-1, keepdims=True)


def some_plan(rng: np.random.Generator, shape: tuple[int, ...], style: str, _: Any) -> np.ndarray:
    shares = rng.integers(1, 1000, shape).astype(float)
    return shares / shares.sum(axis=(-2, -1), keepdims=True)


def some_time(rng: np.random.Generator, shape: tuple[int, ...], _: str, record: Any) -> np.ndarray:
    return rng.integers(1, 8, shape) / 8 if record.open_time else rng.integers(0, 9, shape) / 8


def some_distances(rng: np.random.Generator, shape: tuple[int, ...], style: str, _: Any) -> np.ndarray:
    values = np.abs(grid(rng, shape, style))
    total = values + np.swapaxes(values, -1, -2)
    return total * (1 - np.eye(shape[-1]))


MAKERS: dict[str, Callable[..., np.ndarray]] = {
    "points": some_points,
    "cleared": some_points,
    "values": lambda rng, shape, style, _: grid(rng, shape, style),
    "positive": lambda rng, shape, style, _: rng.integers(256, 2048, shape) / 1024,
    "cost": lambda rng, shape, style, _: np.abs(grid(rng, shape, style)),
    "distances": some_distances,
    "covariance": some_covariance,
    "definite": definite_covariance,
    "symmetric": some_symmetric,
    "weights": some_weights,
    "plan": some_plan,
    "even": lambda rng, shape, style, _: np.full(shape, 1 / shape[-1]),
    "mask": lambda rng, shape, style, _: np.ones(shape, dtype=bool),
    "time": some_time,
}
