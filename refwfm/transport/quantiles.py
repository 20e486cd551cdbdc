"""Optimal transport on the line, batched: sort, and let equal levels meet.

A measure ``Σ a_i δ(x_i)`` on the line gives each atom an interval of *levels* in [0, 1]: in the order of
positions, one interval after the other, as long as the atom's weight. For every convex cost of the
displacement it is optimal to send each level of one measure to the same level of the other. Two atoms then
share the mass in which their intervals overlap, and the plan has at most n + m - 1 pieces.

Weight 0 is padding: it is sorted last, and its positions have no effect.

Levels have the rounding of their dtype, however many there are: an error of one part in 1e7 of the spread's
power in float32. Mass below a machine epsilon (of a total of 1) may be lost.
"""

from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    device,
    running_sum,
    take_along,
)
from refwfm._derivatives import detached, is_known
from refwfm.clouds import even as all_equal
from refwfm.measures import check_broadcast
from refwfm.transport.problem import check_weights


class QuantileCoupling(NamedTuple):
    """Optimal plan between measures on the line: piece k takes ``mass`` from atom ``row`` to ``column``.

    Attributes
    ----------
    row, column : array, shape (..., n + m), integers
    mass : array, shape (..., n + m), non-negative, summing to 1. Some pieces are empty.
    """

    row: Array
    column: Array
    mass: Array


class Sorted(NamedTuple):
    """Measures on the line, sorted.

    Attributes
    ----------
    position : array, shape (..., n)
    level : array, shape (..., n)
        Where each atom's interval of levels ends. Leading axes may be 1 where position has more.
    last : array, shape (..., 1), integers
        Index of the last atom that is not padding.
    """

    position: Array
    level: Array
    last: Array


def quantile_coupling(x: Array, a: Array, y: Array, b: Array, /) -> QuantileCoupling:
    """Optimal plan between measures on the line, for every convex cost: equal levels meet.

    Equation: GWFM-106. In one dimension.

    Parameters
    ----------
    x, a : array, shape (..., n)
        Positions, and weights that sum to 1. Leading axes broadcast with those of y.
    y, b : array, shape (..., m)

    Returns
    -------
    QuantileCoupling, each (..., n + m)
        Its pieces in the order of levels. Among equal positions the lower index comes first.

    Raises
    ------
    ValueError
        If shapes disagree, a measure has no atom, a position is not finite, or weights do not sum to 1.

    Examples
    --------
    >>> x, a = np.asarray([1.0, 0.0]), np.asarray([0.25, 0.75])
    >>> found = quantile_coupling(x, a, np.asarray([5.0]), np.ones(1))
    >>> found.row.tolist(), found.column.tolist(), found.mass.tolist()
    ([1, 0, 0], [0, 0, 0], [0.75, 0.25, 0.0])
    """
    xp = check_floating(x=x, a=a, y=y, b=b)
    for names, position, weights in (("x and a", x, a), ("y and b", y, b)):
        if position.ndim < 1 or position.shape[-1] == 0 or position.shape != weights.shape:
            raise ValueError(
                f"{names} must have the same shape (..., n) with n >= 1; "
                f"got {tuple(position.shape)} and {tuple(weights.shape)}"
            )
    for name, position, weights in (("x", x, check_weights(a, "a")), ("y", y, check_weights(b, "b"))):
        if not all_finite(xp.where(weights > 0, position, 0.0)):
            raise ValueError(f"{name} must be finite where its weights are positive; got NaN or infinity")
    check_broadcast(x=x.shape[:-1], y=y.shape[:-1])
    order0, level0 = order_and_levels(x, a)
    order1, level1 = order_and_levels(y, b)
    row, column, mass = meet(Sorted(x, level0, last_atom(a)), Sorted(y, level1, last_atom(b)))
    return QuantileCoupling(take_along(order0, row), take_along(order1, column), mass)


def line_cost(x: Sorted, y: Sorted, /, *, p: float = 2.0, alike: bool = False) -> Array:
    """Transport cost W_p^p between sorted measures on the line, shape (...).

    Equation: GWFM-32. In one dimension ``∫ |F⁻¹(u) - G⁻¹(u)|^p du`` with quantile functions F⁻¹, G⁻¹. With
    ``alike`` (equal sizes, uniform weights, no padding) the mean of ``|x_i - y_i|^p``, without any levels.

    Examples
    --------
    >>> x, y = (sort_measure(np.asarray(p), np.full(2, 0.5)) for p in ([0.0, 1.0], [4.0, 2.0]))
    >>> float(line_cost(x, y)), float(line_cost(x, y, p=1.0))
    (6.5, 2.5)
    """
    check_power(p)
    xp = array_namespace(x.position)
    if alike:
        return xp.mean(_power(x.position - y.position, p), axis=-1)
    row, column, mass = meet(x, y)
    return xp.sum(mass * _power(take_along(x.position, row) - take_along(y.position, column), p), axis=-1)


def check_power(p: float, /) -> None:
    """Raise unless ``|x - y|^p`` is convex: for p below 1 equal levels are not optimal."""
    if not 1.0 <= p < float("inf"):
        raise ValueError(f"p must be finite and at least 1; got {p}")


def check_costs(costs: Array, /, *positions: Array, validate: bool) -> Array:
    """Costs between finite positions; raise, if ``validate``, unless they are finite too."""
    if validate and not all_finite(costs):
        xp = array_namespace(costs)
        largest = max(float(detached(xp.max(xp.abs(position)))) for position in positions)
        raise ValueError(
            f"the costs are beyond the largest number of {costs.dtype}: coordinates are up to {largest:.3g}; "
            "give both measures in a larger unit"
        )
    return costs


def _power(gap: Array, p: float) -> Array:
    return gap * gap if p == 2 else array_namespace(gap).abs(gap) ** p


def sort_measure(position: Array, weights: Array, /, *, even: bool = False) -> Sorted:
    """Sort measures on the line: positions (..., n), weights broadcasting to them.

    Equation: GWFM-32.

    ``even`` says that all atoms of a measure except padding weigh the same: then sorting leaves the weights
    alone, and levels have no more axes than the weights had.

    Examples
    --------
    >>> [part.tolist() for part in sort_measure(np.asarray([3.0, 1.0]), np.asarray([0.25, 0.75]))]
    [[1.0, 3.0], [0.75, 1.0], [1]]
    """
    xp = check_floating(position=position, weights=weights)
    position = _padding_last(position, weights)
    if even:
        ordered, level = xp.sort(position, axis=-1, stable=False), _even_levels(weights)
    else:
        order, level = _order_and_levels(position, weights)
        ordered = take_along(position, order)
    return Sorted(_nan_throughout(ordered), level, last_atom(weights))


def order_and_levels(position: Array, weights: Array, /) -> tuple[Array, Array]:
    """Order of positions (..., n), padding last, and the levels at which the atoms' intervals end.

    Equation: GWFM-106.

    Examples
    --------
    >>> order, level = order_and_levels(np.asarray([3.0, 1.0]), np.asarray([0.25, 0.75]))
    >>> order.tolist(), level.tolist()
    ([1, 0], [0.75, 1.0])
    """
    check_floating(position=position, weights=weights)
    return _order_and_levels(_padding_last(position, weights), weights)


def _order_and_levels(position: Array, weights: Array) -> tuple[Array, Array]:
    """Order and levels of atoms whose padding has been sent to infinity."""
    xp = array_namespace(position)
    order = xp.argsort(position, axis=-1)
    level = running_sum(take_along(weights, order))
    level = level / level[..., -1:]
    # Of equal weights levels are known to the last digit; their derivative is that of the sums.
    equal = all_equal(weights)
    if is_known(~equal):
        return order, level
    rounding = xp.where(equal[..., None], _even_levels(weights) - level, 0.0)
    return order, level + detached(rounding)


def _even_levels(weights: Array) -> Array:
    """Levels of atoms that all weigh the same, padding last: ``k / n``."""
    xp, last = array_namespace(weights), last_atom(weights)
    index = xp.arange(weights.shape[-1], dtype=last.dtype, device=device(last))
    return xp.astype(xp.minimum(index, last) + 1, weights.dtype) / xp.astype(last + 1, weights.dtype)


def intervals(position: Array, weights: Array, /) -> tuple[Array, Array]:
    """Levels at which each atom's interval begins and ends, in the order of the atoms.

    Equation: GWFM-106. In one dimension. Padding has an empty interval.

    Examples
    --------
    >>> low, high = intervals(np.asarray([3.0, 1.0]), np.asarray([0.25, 0.75]))
    >>> low.tolist(), high.tolist()
    ([0.75, 0.0], [1.0, 0.75])
    """
    xp = array_namespace(position)
    order, level = order_and_levels(position, weights)
    place = xp.argsort(order, axis=-1)
    low, high = take_along(_before(level), place), take_along(level, place)
    return low, xp.where(weights > 0, high, low)


def atom_at_level(level: Array, last: Array, wanted: Array, /, *, offset: Array) -> Array:
    """Index of the sorted atom whose interval holds a wanted level, by bisection.

    Equation: GWFM-106.

    Parameters
    ----------
    level : array, shape (..., K n)
        Levels of K sorted measures, one after the other.
    last : array, shape (..., 1) or (..., size), integers
        Index of the last atom that is not padding.
    wanted : array, shape (..., size)
    offset : array, shape (..., size), integers
        Where in ``level`` the measure to search begins.

    Returns
    -------
    array, shape (..., size), integers, from 0 to ``last``

    Examples
    --------
    >>> level, last, zero = np.asarray([0.25, 0.5, 1.0]), np.asarray([2]), np.asarray([0])
    >>> atom_at_level(level, last, np.asarray([0.3]), offset=zero).tolist()
    [1]
    """
    xp = array_namespace(level)
    high = xp.broadcast_to(last, wanted.shape)
    low = xp.zeros_like(high)
    for _ in range(level.shape[-1].bit_length()):
        middle = (low + high) // 2
        beyond = take_along(level, offset + middle) > wanted
        low, high = xp.where(beyond, low, middle + 1), xp.where(beyond, middle, high)
    return high


def meet(x: Sorted, y: Sorted, /) -> tuple[Array, Array, Array]:
    """Sorted atoms of x and y that share mass, piece after piece: row, column, mass, each (..., n + m).

    Equation: GWFM-106. In one dimension. A piece lies between one level at which an atom of either ends
    and the next.

    Examples
    --------
    >>> x, y = (sort_measure(np.zeros(len(w)), np.asarray(w)) for w in ([0.25, 0.75], [1.0]))
    >>> [part.tolist() for part in meet(x, y)]
    [[0, 1, 1], [0, 0, 0], [0.25, 0.75, 0.0]]
    """
    xp = array_namespace(x.level)
    batch = np.broadcast_shapes(x.level.shape[:-1], y.level.shape[:-1])
    n, m = x.level.shape[-1], y.level.shape[-1]
    ends = xp.concat([xp.broadcast_to(x.level, (*batch, n)), xp.broadcast_to(y.level, (*batch, m))], axis=-1)
    order = xp.argsort(ends, axis=-1)
    ends = take_along(ends, order)
    of_x = xp.astype(order < n, order.dtype)
    row = xp.cumulative_sum(of_x, axis=-1) - of_x  # how many atoms of x end before this piece does
    column = xp.arange(n + m, dtype=row.dtype, device=device(row)) - row
    # Past the last level of a measure, by rounding or in its padding, its last atom continues.
    return xp.minimum(row, x.last), xp.minimum(column, y.last), ends - _before(ends)


def last_atom(weights: Array, /) -> Array:
    """Index of the last atom once padding is sorted to the end: shape (..., 1).

    Equation: GWFM-106.

    Examples
    --------
    >>> last_atom(np.asarray([0.5, 0.5, 0.0])).tolist()
    [1]
    """
    xp = array_namespace(weights)
    return xp.count_nonzero(weights > 0, axis=-1, keepdims=True) - 1


def _padding_last(position: Array, weights: Array) -> Array:
    xp, live = array_namespace(position), weights > 0
    return position if is_known(live) else xp.where(live, position, xp.full_like(position, float("inf")))


def _nan_throughout(position: Array) -> Array:
    """Sorted positions, all NaN if one is: a NaN that is sorted behind the padding would not be seen."""
    xp = array_namespace(position)
    spoilt = xp.isnan(position[..., -1:])
    return position if is_known(~spoilt) else xp.where(spoilt, xp.full_like(position, float("nan")), position)


def _before(level: Array) -> Array:
    """The level before each, 0 before the first."""
    xp = array_namespace(level)
    return xp.concat([xp.zeros_like(level[..., :1]), level[..., :-1]], axis=-1)
