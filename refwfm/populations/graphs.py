"""Graphs of nearest neighbours in populations of particles, and averages along them.

A layer of a graph convolution multiplies with ``D̂^(-1/2) (A + I) D̂^(-1/2)``. Where every particle hears k
neighbours, all degrees are k + 1, and that is the average over a particle and its neighbours: no degrees, no
roots. In a population with fewer than k others it stays an average, over those that there are.
"""

import math
from collections.abc import Callable, Iterator

import array_api_extra as xpx
import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    sq_distances,
    take_rows,
    transpose,
)
from refwfm._derivatives import is_known
from refwfm.networks.layers import Pullback

ELEMENTS = 2**20
"""Of the arrays (..., rows, n) that are made at a time: 4 MiB in float32."""

NOBODY = -1
"""Stands in a graph for the neighbours that a small population does not have."""


def knn_graph(x: Array, k: int, mask: Array | None = None, /) -> Array:
    """The k nearest other particles of each particle, by their index.

    Equation: META-FM-1. A particle itself is left out by its index, so that its copy, at distance 0, is a
    neighbour. Of equally near ones the lower indices come first.

    Parameters
    ----------
    x : array, shape (..., n, d)
        Coordinates.
    k : int
        0 gives a graph without edges.
    mask : array of bool, shape (..., n), optional
        Live particles. The others are no neighbours, whatever they hold, and have none.

    Returns
    -------
    array of integers, shape (..., n, min(k, n - 1))
        The nearest first. -1 stands for those that a population with fewer live particles does not have. A
        particle that is not finite is the furthest from all.

    Raises
    ------
    TypeError, ValueError
        If x is no array (..., n, d) with n >= 1, k no integer from 0, or the mask not of booleans (..., n).

    Notes
    -----
    Rows are worked off in blocks of ``ELEMENTS`` numbers. An array that JAX traces, or that is on a device,
    is sorted throughout; elsewhere only the nearest are, unless there is a tie about the last of them.

    Examples
    --------
    >>> knn_graph(np.asarray([[0.0], [1.0], [5.0], [0.0]]), 2).tolist()  # 0 and 3 are copies
    [[3, 1], [0, 3], [1, 0], [0, 1]]
    >>> knn_graph(np.asarray([[0.0], [1.0], [5.0]]), 9, np.asarray([True, True, False])).tolist()
    [[1, -1], [0, -1], [-1, -1]]
    """
    xp, k = check_floating(x=x), check_integer(k, "k", low=0)
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"x must have shape (..., n, d) with n >= 1; got {tuple(x.shape)}")
    check_mask(mask, x)
    *batch, n, _ = x.shape
    k = min(k, n - 1)
    if k == 0 or 0 in batch:
        return xp.zeros((*batch, n, k), dtype=xp.int64, device=device(x))
    x = x if mask is None else xp.where(mask[..., None], x, 0.0)
    return xp.concat([_nearest(x, rows, k, mask) for rows in _blocks(n, math.prod(batch))], axis=-2)


def check_mask(mask: Array | None, x: Array, /) -> None:
    """Raise unless there is no mask, or one of booleans with the shape (..., n) of particles (..., n, d).

    Raises
    ------
    TypeError, ValueError
        If it is of another kind or shape.
    """
    if mask is None:
        return
    kind = getattr(mask, "dtype", type(mask).__name__)
    if isinstance(kind, str) or not array_namespace(x).isdtype(kind, "bool"):
        raise TypeError(f"mask must be an array of booleans, True for live particles; got {kind}")
    if tuple(mask.shape) != tuple(x.shape[:-1]):
        raise ValueError(
            f"mask must have the shape {tuple(x.shape[:-1])} of the particles; got {tuple(mask.shape)}"
        )


def _blocks(n: int, members: int) -> Iterator[slice]:
    rows = max(1, ELEMENTS // max(1, n * members))
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _apart(some: Array, x: Array) -> Array:
    """What orders the distances of some particles (..., r, d) from all: their squares, if these are in range.

    No unit of all the data would do: squares of what is near would vanish beside one particle far away.
    """
    xp, limits = array_namespace(x), array_namespace(x).finfo(x.dtype)
    size = xp.abs(x)
    least = float(limits.smallest_normal) ** 0.5 / float(limits.eps)  # so are gaps of such numbers in range
    if is_known((size == 0) | ((size > least) & (size < float(limits.max) ** 0.5 / (2 * x.shape[-1])))):
        return sq_distances(some, x)
    gaps = [xp.abs(some[..., :, None, i] - x[..., None, :, i]) for i in range(x.shape[-1])]
    largest = gaps[0]
    for gap in gaps[1:]:
        largest = xp.maximum(largest, gap)
    unit = xp.where(largest > 0, largest, xp.ones_like(largest))
    total = xp.zeros_like(largest)
    for gap in gaps:
        total = total + (gap / unit) ** 2
    return largest * xp.sqrt(total)


@np.errstate(over="ignore", invalid="ignore")  # of particles that are not finite, or too far
def _nearest(x: Array, rows: slice, k: int, mask: Array | None) -> Array:
    """Neighbours (..., rows, k) of some of the particles."""
    xp, n = array_namespace(x), x.shape[-2]
    every = xp.arange(n, device=device(x))
    furthest = float(xp.finfo(x.dtype).max)
    apart = _apart(x[..., rows, :], x)
    apart = xp.where(apart < furthest, apart, asarray_like(furthest, x))  # NaN, too
    others = every[rows][:, None] != every
    if mask is not None:
        others = others & mask[..., None, :] & mask[..., rows, None]
    apart = xp.where(others, apart, asarray_like(math.inf, x))
    index = _smallest(apart, k)
    if mask is None:
        return index
    return xp.where(xp.isinf(xp.take_along_axis(apart, index, axis=-1)), NOBODY, index)


def _smallest(values: Array, k: int) -> Array:
    """Positions (..., k) of the smallest values, in order, equal ones by their position."""
    xp, n = array_namespace(values), values.shape[-1]
    if k < n // 2:  # sorting all of them takes four times as long
        index = xpx.argpartition(values, k, axis=-1, xp=xp)[..., : k + 1]
        found = xp.take_along_axis(values, index, axis=-1)
        if is_known(xp.max(found[..., :k], axis=-1) < found[..., k]):
            index = xp.sort(index[..., :k], axis=-1)
            order = xp.argsort(xp.take_along_axis(values, index, axis=-1), axis=-1, stable=True)
            return xp.take_along_axis(index, order, axis=-1)
    return xp.argsort(values, axis=-1, stable=True)[..., :k]


def neighbour_mean(z: Array, index: Array, /) -> tuple[Array, Pullback]:
    """Mean of each particle's features and those of its neighbours.

    Equation: META-FM-1. ``D̂^(-1/2) (A + I) D̂^(-1/2) z``, all degrees being k + 1.

    Parameters
    ----------
    z : array, shape (..., n, c)
    index : array of integers, shape (..., n, k)
        As ``knn_graph`` returns it.

    Returns
    -------
    mean : array, shape (..., n, c)
    pullback : function
        ``d_mean -> d_z``.

    Examples
    --------
    >>> z, index = np.asarray([[0.0], [2.0], [6.0]]), np.asarray([[1], [0], [1]])
    >>> mean, pullback = neighbour_mean(z, index)
    >>> mean.tolist(), pullback(np.ones((3, 1))).tolist()
    ([[1.0], [1.0], [4.0]], [[1.0], [1.5], [0.5]])
    """
    return averaging(index)(z)


def averaging(index: Array, /) -> Callable[[Array], tuple[Array, Pullback]]:
    """``neighbour_mean`` along one graph, for the layers of a network: what only the graph says is kept.

    Equation: META-FM-1.

    Parameters
    ----------
    index : array of integers, shape (..., n, k)
        As ``knn_graph`` returns it.

    Returns
    -------
    function
        ``z -> (mean, pullback)``.

    Notes
    -----
    Means are gathered, neighbour by neighbour. The pullback is a matrix product with the graph, which is made
    when it is first asked for, and kept where all populations together have ``ELEMENTS`` entries in it.

    Examples
    --------
    >>> average = averaging(np.zeros((3, 0), dtype=int))  # no edges
    >>> average(np.ones((3, 2)))[0].tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    *batch, n, k = index.shape
    kept: list[Array] = []

    def graph(like: Array) -> Iterator[tuple[slice, Array]]:
        blocks = list(_blocks(n, math.prod(batch)))
        if len(blocks) > 1:
            yield from ((rows, _adjacency(index, rows, like)) for rows in blocks)
            return
        if not kept or kept[0].dtype != like.dtype:
            kept[:] = [_adjacency(index, blocks[0], like)]
        yield blocks[0], kept[0]

    def average(z: Array) -> tuple[Array, Pullback]:
        xp = check_floating(z=z)
        if tuple(z.shape[:-1]) != (*batch, n):
            raise ValueError(f"z must have shape {(*batch, n, 'c')}, as the graph; got {tuple(z.shape)}")
        if k == 0:
            return z, lambda d_mean: d_mean
        there = index >= 0
        share = 1.0 / (1.0 + xp.sum(xp.astype(there, z.dtype), axis=-1, keepdims=True))
        row = xp.where(there, index, n)
        with_nobody = xp.concat([z, xp.zeros_like(z[..., :1, :])], axis=-2)
        total = z
        for j in range(k):
            total = total + take_rows(with_nobody, row[..., j])

        def pullback(d_mean: Array) -> Array:
            d_total = share * d_mean
            d_z = d_total
            for rows, adjacency in graph(d_mean):
                d_z = d_z + transpose(adjacency) @ d_total[..., rows, :]
            return d_z

        return share * total, pullback

    return average


def _adjacency(index: Array, rows: slice, like: Array) -> Array:
    """Some rows of the graph, (..., rows, n): 1 at neighbours."""
    xp, n = array_namespace(index), index.shape[-2]
    every, some = xp.arange(n, dtype=index.dtype, device=device(index)), index[..., rows, :]
    edge = some[..., 0, None] == every
    for j in range(1, index.shape[-1]):
        edge = edge | (some[..., j, None] == every)
    return xp.astype(edge, like.dtype)
