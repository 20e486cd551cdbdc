"""A discrete transport problem: cost matrix, two weight vectors, regularisation; and the checks of its parts.

Weight 0 marks padding: its rows and columns of the cost are cleared to zeros wherever a problem enters, so
that nothing they held, NaN included, can leak.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    device,
    machine_eps,
)
from refwfm._derivatives import detached
from refwfm.measures import check_broadcast


class Problem(NamedTuple):
    """Checked arguments of an entropic solver.

    Attributes
    ----------
    cost : array, shape (..., n, m), zeros at padding
    a, b : array, shapes (..., n) and (..., m), each summing to 1
    eps : array, shape (...). Absolute, in units of the cost.
    f : array, shape (..., n). The potential to start at.
    """

    cost: Array
    a: Array
    b: Array
    eps: Array
    f: Array


def check_problem(
    cost: Array,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    scale_cost: str | float | None = None,
    f_init: Array | None = None,
    validate: bool = True,
) -> Problem:
    """Check the arguments of ``sinkhorn.sinkhorn``; clear padding, normalise weights, make eps absolute."""
    check_shapes(cost, a, b)
    xp = array_namespace(cost, a, b)
    if validate:
        a, b = check_weights(a, "a"), check_weights(b, "b")
    if not (validate and bool(xp.all(a > 0)) and bool(xp.all(b > 0))):
        cost = clear_padding(cost, a, b)
    if validate and not all_finite(cost):
        raise ValueError(
            "cost must be finite where both weights are positive; got NaN or infinity (which squared "
            "distances of points beyond 1e154, in float32 1e19, are)"
        )
    eps = check_eps(eps, cost, validate=validate) * cost_scale(cost, a, b, scale_cost)
    f = xp.zeros((*eps.shape, cost.shape[-2]), dtype=cost.dtype, device=device(cost))
    if f_init is not None:
        f = f + check_start(f_init, a, f, validate)
    return Problem(cost, a, b, eps, f)


def check_shapes(cost: Array, a: Array, b: Array, /) -> None:
    """Raise unless cost (..., n, m), a (..., n) and b (..., m) fit and have one floating dtype."""
    check_floating(cost=cost, a=a, b=b)
    n, m = cost.shape[-2:] if cost.ndim >= 2 else (0, 0)
    if 0 in (n, m) or a.ndim < 1 or b.ndim < 1 or (a.shape[-1], b.shape[-1]) != (n, m):
        raise ValueError(
            "cost, a and b must have shapes (..., n, m), (..., n) and (..., m) with n, m >= 1; "
            f"got {tuple(cost.shape)}, {tuple(a.shape)} and {tuple(b.shape)}"
        )
    check_broadcast(cost=cost.shape[:-2], a=a.shape[:-1], b=b.shape[:-1])


def check_weights(weights: Array, name: str, /) -> Array:
    """Raise unless weights (..., n) are non-negative with sum 1; return them with that sum up to rounding."""
    xp = array_namespace(weights)
    total = xp.sum(weights, axis=-1)
    tolerance = 1e-6 if machine_eps(weights) < 1e-10 else 1e-3
    if not bool(xp.all(weights >= 0)) or not bool(xp.all(xp.abs(total - 1.0) <= tolerance)):
        weights, total = detached(weights), detached(total)
        raise ValueError(
            f"{name} must be non-negative with mass 1 (unequal masses cannot be transported); got a smallest "
            f"weight of {float(xp.min(weights)):.3g} and masses from {float(xp.min(total)):.9g} to "
            f"{float(xp.max(total)):.9g}; divide the weights by their sum if that is meant"
        )
    return weights / total[..., None]


def check_range(**points: Array) -> None:
    """Raise where squared distances between points (..., n, d) could overflow their dtype."""
    for name, x in points.items():
        xp = array_namespace(x)
        largest = float(detached(xp.max(xp.abs(x)))) if 0 not in x.shape else 0.0
        limit = 0.5 * math.sqrt(float(xp.finfo(x.dtype).max) / x.shape[-1])
        if largest > limit:  # NaN is not for here
            raise ValueError(
                f"{name}: squared distances overflow {x.dtype} for coordinates above {limit:.3g}; got "
                f"{largest:.3g}: take other units"
            )


def check_eps(eps: float | Array, like: Array, /, *, validate: bool = True) -> Array:
    """Raise unless eps is positive; return it as an array in the library, dtype and device of ``like``."""
    xp = array_namespace(like)
    if isinstance(eps, float | Real):  # NumPy's numbers too
        given = float(eps)
        eps = asarray_like(given, like)
        # What rounds to 0 is known without asking the device for it.
        info, smallest = xp.finfo(like.dtype), given
        if 0 < given <= 0.5 * float(info.smallest_normal) * float(info.eps):
            raise ValueError(
                f"eps = {given:.3g} is 0 in {like.dtype}; give it in larger units, or use float64"
            )
    else:
        check_floating(eps=eps)
        array_namespace(eps, like)  # raises TypeError on mixed libraries
        if eps.dtype != like.dtype:
            raise TypeError(f"eps must be a number or have the dtype {like.dtype}; got {eps.dtype}")
        smallest = float(detached(xp.min(eps))) if validate and 0 not in eps.shape else math.inf
    if not smallest > 0:
        raise ValueError(
            f"eps must be positive; got {smallest:.3g} (for eps = 0, transport without regularisation, "
            "use an exact solver: module exact)"
        )
    return eps


def cost_scale(cost: Array, a: Array, b: Array, scale_cost: str | float | None, /) -> Array:
    """What eps is relative to, shape (...): 1, a number, or the cost's "max", "mean" or "median".

    Equation: WFM-12.

    Statistics are over the pairs of live atoms, all counted once; 1 where they are not positive, as for a
    cost of zeros, for which any eps gives the same plan. At padding, cost must hold zeros.

    Examples
    --------
    >>> float(cost_scale(np.asarray([[1.0, 3.0]]), np.ones(1), np.full(2, 0.5), "mean"))
    2.0
    """
    xp = array_namespace(cost)
    if isinstance(scale_cost, str):
        if scale_cost not in COST_SCALES:
            names = ", ".join(f"{name!r}" for name in COST_SCALES)
            raise ValueError(f"scale_cost must be None, {names} or a number; got {scale_cost!r}")
        scale = COST_SCALES[scale_cost](cost, a, b)
        return xp.where(scale <= 0, xp.ones_like(scale), scale)  # NaN stays NaN
    number = 1.0 if scale_cost is None else float(scale_cost)
    if not 0 < number < math.inf:
        raise ValueError(f"scale_cost must be positive and finite; got {scale_cost}")
    return xp.full(_batch(cost, a, b), number, dtype=cost.dtype, device=device(cost))


def _largest(cost: Array, a: Array, b: Array) -> Array:
    xp = array_namespace(cost)
    return xp.broadcast_to(xp.max(cost, axis=(-2, -1)), _batch(cost, a, b))


def _batch(cost: Array, a: Array, b: Array) -> tuple[int, ...]:
    """Leading axes of a problem, which broadcast."""
    return np.broadcast_shapes(cost.shape[:-2], a.shape[:-1], b.shape[:-1])


def _mean(cost: Array, a: Array, b: Array) -> Array:
    xp = array_namespace(cost)
    return xp.sum(cost, axis=(-2, -1)) / xp.astype(_pairs(a, b), cost.dtype)


def _median(cost: Array, a: Array, b: Array) -> Array:
    xp, count = array_namespace(cost), _pairs(a, b)
    values = xp.where(_live(a, b), cost, xp.full_like(cost, math.inf))
    values = xp.sort(xp.reshape(values, (*values.shape[:-2], cost.shape[-2] * cost.shape[-1])), axis=-1)
    count = xp.broadcast_to(count, _batch(cost, a, b))
    middle = xp.stack([(count - 1) // 2, count // 2], axis=-1)
    median = 0.5 * xp.sum(xp.take_along_axis(values, middle, axis=-1), axis=-1)
    return xp.where(xp.any(xp.isnan(values), axis=-1), math.nan, median)  # sorting puts NaN last


def _pairs(a: Array, b: Array) -> Array:
    """How many pairs of live atoms there are, shape (...)."""
    xp = array_namespace(a, b)
    return xp.sum(xp.astype(_live(a, b), xp.int64), axis=(-2, -1))


COST_SCALES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "max": _largest,
    "mean": _mean,
    "median": _median,
}
"""Statistics of a cost over the pairs of live atoms, by name."""


def check_start(f_init: Array, a: Array, f: Array, validate: bool, /) -> Array:
    """Raise unless a start fits potentials f of a problem; return it with zeros where a is 0."""
    check_floating(f_init=f_init)
    xp = array_namespace(f, f_init)
    if f_init.dtype != f.dtype or f_init.ndim < 1 or f_init.shape[-1] != f.shape[-1]:
        raise ValueError(
            f"f_init must have shape (..., {f.shape[-1]}) and dtype {f.dtype}; "
            f"got {tuple(f_init.shape)} and {f_init.dtype}"
        )
    check_broadcast(problem=f.shape[:-1], f_init=f_init.shape[:-1])
    f_init = xp.where(a > 0, f_init, xp.zeros_like(f_init))
    if validate and not all_finite(f_init):
        raise ValueError("f_init must be finite where a is positive; got NaN or infinity")
    return f_init


def check_solution(solution: Any, a: Array, b: Array, /) -> tuple[Array, Array, Array]:
    """Raise unless a ``Sinkhorn`` has one potential for each weight, in their dtype; return f, g and eps.

    Potentials of another problem would broadcast where that had one point, and answer another question.
    """
    if not hasattr(solution, "eps"):  # its class is of the solver, which imports this module
        raise TypeError(f"solution must be a Sinkhorn, as sinkhorn returns; got {type(solution).__name__}")
    f, g, eps = solution[:3]
    check_floating(**{"solution.f": f, "solution.g": g, "solution.eps": eps, "a": a, "b": b})
    for name, potential, weights in (("f", f, a), ("g", g, b)):
        count = weights.shape[-1] if weights.ndim else 0
        if potential.ndim < 1 or potential.shape[-1] != count:
            raise ValueError(
                f"solution.{name} must have shape (..., {count}), one potential for each weight of "
                f"{'a' if name == 'f' else 'b'}; got {tuple(potential.shape)}"
            )
    return f, g, eps


# Padding


def clear_padding(cost: Array, a: Array, b: Array, /) -> Array:
    """Cost (..., n, m) with zeros where an atom weighs nothing.

    Equation: none. Zeros where a weight is zero.

    Examples
    --------
    >>> clear_padding(np.asarray([[1.0, np.nan]]), np.ones(1), np.asarray([1.0, 0.0])).tolist()
    [[1.0, 0.0]]
    """
    xp = array_namespace(cost)
    return xp.where(_live(a, b), cost, xp.zeros_like(cost))


def clear_points(points: Array, weights: Array, /) -> Array:
    """Points (..., n, d) with zeros where they weigh nothing.

    Equation: none. Zeros where a weight is zero.

    Examples
    --------
    >>> clear_points(np.asarray([[1.0], [np.nan]]), np.asarray([1.0, 0.0])).tolist()
    [[1.0], [0.0]]
    """
    xp = array_namespace(points)
    return xp.where((weights > 0)[..., None], points, xp.zeros_like(points))


def log_weights(weights: Array, /) -> Array:
    """Logarithm of weights (..., n): ``-inf`` for 0, and no warning.

    Equation: WFM-12.

    Examples
    --------
    >>> log_weights(np.asarray([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    xp = array_namespace(weights)
    dead = weights <= 0  # not so NaN, which stays NaN
    logs = xp.log(xp.where(dead, xp.ones_like(weights), weights))
    return xp.where(dead, xp.full_like(weights, -math.inf), logs)


def _live(a: Array, b: Array) -> Array:
    return (a > 0)[..., :, None] & (b > 0)[..., None, :]
