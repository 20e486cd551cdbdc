"""A transport problem between points whose costs are never stored: its checks, and its costs block by block.

Weight 0 marks padding: its points are cleared to zeros wherever a problem enters, and its pairs do not count,
so that nothing they held, NaN included, can leak.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    check_integer,
    device,
    off_cpu,
    sq_distances,
)
from refwfm.measures import check_broadcast
from refwfm.transport.problem import check_eps, check_range, check_start, check_weights, clear_points

CACHED, ON_DEVICE = 2**18, 2**24
"""Costs of all members that are made at a time, by default: on a CPU they stay in its cache."""


class PointProblem(NamedTuple):
    """Checked arguments of a solver that makes its costs from points.

    Attributes
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d), zeros at padding
    a, b : array, shapes (..., n) and (..., m), each summing to 1
    eps : array, shape (...). Absolute, in units of the cost.
    f : array, shape (..., n). The potential to start at.
    """

    x: Array
    y: Array
    a: Array
    b: Array
    eps: Array
    f: Array


# Blocks


def cut(n: int, side: int, /) -> list[slice]:
    """Slices of at most ``side`` rows that make up n: the last one is what is left.

    Equation: none. Says where blocks begin.

    Examples
    --------
    >>> cut(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + side, n)) for start in range(0, n, side)]


def block_side(x: Array, y: Array, block: int | None, /) -> int:
    """Rows and columns of a block: those asked for, else what suits the device and the size of the batch.

    Equation: none. A size of temporaries.

    Examples
    --------
    >>> block_side(np.zeros((2, 9, 3)), np.zeros((9, 3)), None)
    362
    """
    check_floating(x=x, y=y)
    if block is not None:
        return check_integer(block, "block", low=1)
    members = math.prod(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
    return max(16, math.isqrt((ON_DEVICE if off_cpu(x) else CACHED) // max(1, members)))


def live(a: Array, b: Array, rows: slice, columns: slice, /) -> Array:
    """Which pairs of a block weigh something, shape (..., rows, columns).

    Equation: none. Padding.

    Examples
    --------
    >>> live(np.ones(2), np.asarray([1.0, 0.0]), slice(0, 1), slice(0, 2)).tolist()
    [[True, False]]
    """
    check_floating(a=a, b=b)
    return (a[..., rows, None] > 0) & (b[..., None, columns] > 0)


# Checks


def check_points(x: Array, y: Array, /, *, eps: Array | None = None, **others: Array) -> None:
    """Raise unless points (..., n, d) and (..., m, d), and one number for each, fit and have one dtype.

    Keywords: ``x`` or ``y`` for the weights of those points, or other names for numbers at the points of y.
    """
    names = {"x": "a", "y": "weights" if "x" not in others else "b"}
    weights = {names.get(name, name): value for name, value in others.items()}
    check_floating(**{"x": x, "y": y}, **weights, **({} if eps is None else {"eps": eps}))
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or 0 in (*x.shape[-2:], *y.shape[-2:]):
        raise ValueError(
            "x and y must have shapes (..., n, d) and (..., m, d) with n, m, d >= 1; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, value in weights.items():
        count = (x if name == "a" else y).shape[-2]
        if value.ndim < 1 or value.shape[-1] != count:
            raise ValueError(
                f"{name} must have shape (..., {count}), one number for each point of "
                f"{'x' if name == 'a' else 'y'}; got {tuple(value.shape)}"
            )
    batch = {name: value.shape[:-1] for name, value in weights.items()}
    check_broadcast(x=x.shape[:-2], y=y.shape[:-2], **batch, **({} if eps is None else {"eps": eps.shape}))


def check_point_problem(
    x: Array,
    y: Array,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    scale_cost: str | float | None = None,
    f_init: Array | None = None,
    validate: bool = True,
    block: int | None = None,
) -> PointProblem:
    """Check the arguments of ``sinkhorn_points``; clear padding, normalise weights, make eps absolute."""
    check_points(x, y, x=a, y=b)
    if validate:
        a, b = check_weights(a, "a"), check_weights(b, "b")
    x, y = clear_points(x, a), clear_points(y, b)
    if validate:
        for name, part in (("x", x), ("y", y)):
            if not all_finite(part):
                raise ValueError(
                    f"{name}: points must be finite where their weight is positive; got NaN or infinity"
                )
        check_range(x=x, y=y)
    xp = array_namespace(x)
    batch = np.broadcast_shapes(*(tuple(v.shape[:-k]) for v, k in ((x, 2), (y, 2), (a, 1), (b, 1))))
    eps = check_eps(eps, x, validate=validate) * streamed_scale(x, y, a, b, scale_cost, block=block)
    eps = eps + xp.zeros(batch, dtype=x.dtype, device=device(x))
    f = xp.zeros((*eps.shape, x.shape[-2]), dtype=x.dtype, device=device(x))
    if f_init is not None:
        f = f + check_start(f_init, a, f, validate)
    return PointProblem(x, y, a, b, eps, f)


def streamed_scale(
    x: Array, y: Array, a: Array, b: Array, scale_cost: str | float | None, /, *, block: int | None = None
) -> Array:
    """What eps is relative to, shape (...): 1, a number, or the "max" or "mean" of the squared distances.

    Equation: WFM-12. ``cost_scale``, over blocks: 1 where the statistic is not positive.

    Examples
    --------
    >>> x, y = np.asarray([[0.0]]), np.asarray([[1.0], [3.0 ** 0.5]])
    >>> round(float(streamed_scale(x, y, np.ones(1), np.full(2, 0.5), "mean")), 9)
    2.0
    """
    check_points(x, y, x=a, y=b)
    xp = array_namespace(x)
    if isinstance(scale_cost, str):
        if scale_cost not in _STATISTICS:  # those that a pass over blocks can find
            why = " (a median needs all costs at once: sinkhorn has it)" if scale_cost == "median" else ""
            raise ValueError(f"scale_cost must be None, 'max', 'mean' or a number; got {scale_cost!r}{why}")
        scale = _STATISTICS[scale_cost](x, y, a, b, block_side(x, y, block))
        return xp.where(scale <= 0, xp.ones_like(scale), scale)  # NaN stays NaN
    number = 1.0 if scale_cost is None else float(scale_cost)
    if not 0 < number < math.inf:
        raise ValueError(f"scale_cost must be positive and finite; got {scale_cost}")
    return xp.asarray(number, dtype=x.dtype, device=device(x))


def _largest(x: Array, y: Array, a: Array, b: Array, side: int) -> Array:
    xp = array_namespace(x)
    return xp.max(_of_blocks(lambda cost: xp.max(cost, axis=(-2, -1)), x, y, a, b, side), axis=-1)


def _mean(x: Array, y: Array, a: Array, b: Array, side: int) -> Array:
    xp = array_namespace(x)
    total = xp.sum(_of_blocks(lambda cost: xp.sum(cost, axis=(-2, -1)), x, y, a, b, side), axis=-1)
    rows, columns = (xp.sum(xp.astype(weights > 0, x.dtype), axis=-1) for weights in (a, b))
    return total / (rows * columns)


def _of_blocks(number: Callable[[Array], Array], x: Array, y: Array, a: Array, b: Array, side: int) -> Array:
    """One number for each block of costs, zeros at padding; shape (..., blocks)."""
    xp, found = array_namespace(x), []
    for rows in cut(x.shape[-2], side):
        for columns in cut(y.shape[-2], side):
            cost = sq_distances(x[..., rows, :], y[..., columns, :])
            found.append(number(xp.where(live(a, b, rows, columns), cost, xp.zeros_like(cost))))
    return xp.stack(found, axis=-1)


_STATISTICS: dict[str, Callable[..., Array]] = {"max": _largest, "mean": _mean}
