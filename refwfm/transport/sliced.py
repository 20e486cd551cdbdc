"""Sliced transport: optimal transport on the line, averaged over directions.

A *direction* θ carries clouds of R^d to the line by ``⟨θ, x⟩``. There, sorting gives the optimal plan
(``quantiles``). Its cost is at most that in R^d; the plan, *lifted* back to the points it came from, is a
plan in R^d. Averages over directions give the sliced distance and the sliced plan, at the price of sorting.

Directions are an argument: the same ones serve both clouds, and all pairs of a matrix of costs.
"""

import math
from collections.abc import Iterator

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    machine_eps,
    nonnegative,
    on_device_of,
    sq_distances,
    sq_norm,
    take_along,
    transpose,
)
from refwfm._derivatives import is_differentiated, without_derivative
from refwfm.clouds import all_even, check_cloud_pair, in_order
from refwfm.measures import PointCloud, check_broadcast, check_measure
from refwfm.transport import quantiles
from refwfm.transport.plans import Pairs
from refwfm.transport.quantiles import Sorted

SLICED_BLOCK = 2**22
"""Elements of the largest temporary that a function here makes (or those of one direction and one cloud)."""

# Directions


def random_directions(points: Array, /, *, rng: np.random.Generator, n_proj: int) -> Array:
    """Independent directions, uniform on the sphere, for clouds of points (..., n, d).

    Equation: GWFM-105. ``θ_k = z_k / ‖z_k‖`` with standard normal z_k, drawn on the host in float64.

    Returns
    -------
    array, shape (n_proj, d), in the library, dtype and device of ``points``

    Examples
    --------
    >>> theta = random_directions(np.zeros((1, 3)), rng=np.random.default_rng(0), n_proj=4)
    >>> np.linalg.norm(theta, axis=-1).round(9).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    check_floating(points=points)
    n_proj = check_integer(n_proj, "n_proj", low=1)
    z = rng.standard_normal((n_proj, points.shape[-1]))
    while np.any(zero := ~np.any(z, axis=-1)):
        z[zero] = rng.standard_normal((int(np.sum(zero)), points.shape[-1]))
    return asarray_like(z / np.linalg.norm(z, axis=-1, keepdims=True), points)


# Distance


def sq_sliced_distance(x: PointCloud, y: PointCloud, theta: Array, /, *, validate: bool = True) -> Array:
    """Squared sliced 2-Wasserstein distance along given directions.

    Equation: GWFM-32. ``SW_2² = (1/K) Σ_k W_2²`` of the projections. Parameters as for ``sliced_cost``.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([p]), np.ones(1)) for p in ([0.0, 0.0], [3.0, 4.0]))
    >>> float(sq_sliced_distance(x, y, np.eye(2)))  # (9 + 16) / 2
    12.5
    """
    return sliced_cost(x, y, theta, p=2.0, validate=validate)


@np.errstate(over="ignore", invalid="ignore")
def sliced_cost(
    x: PointCloud, y: PointCloud, theta: Array, /, *, p: float = 2.0, validate: bool = True
) -> Array:
    """Sliced p-Wasserstein distance to the power p, along given directions.

    Equation: GWFM-105. ``(1/K) Σ_k W_p^p`` of the projections on ``theta_k``; in d = 1 it is exact.

    Parameters
    ----------
    x : PointCloud, points (..., n, d), weights (..., n)
    y : PointCloud, points (..., m, d), weights (..., m)
        Leading axes broadcast; sizes and weights are arbitrary, weight 0 is padding.
    theta : array, shape (K, d) or (..., K, d)
        Unit vectors, as from ``random_directions``.
    p : float
        At least 1.
    validate : bool
        Check values too: finite points, weights that sum to 1, directions of norm 1.

    Returns
    -------
    array, shape (...). Units: data to the power p. Not a root: ``SW_p`` itself is ``result ** (1 / p)``.

    Raises
    ------
    TypeError
        If libraries or dtypes differ.
    ValueError
        If shapes disagree, p is below 1, a value check fails, or a cost overflows; without ``validate`` it is
        then infinite or NaN, and with NaN among the points NaN.

    Notes
    -----
    O(K (n + m) log(n + m)) time, through blocks of directions. Differentiable, in weights too.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([p]), np.ones(1)) for p in ([0.0, 0.0], [3.0, 4.0]))
    >>> float(sliced_cost(x, y, np.eye(2), p=1.0))  # (3 + 4) / 2
    3.5
    """
    quantiles.check_power(p)
    x, y = _check(x, y, theta, validate)
    evenly, alike = _shortcuts(x, y)
    total = _zeros(_batch_shape(x, y, theta), x.points)
    xp = array_namespace(total)
    for some in _blocks(theta, math.prod(total.shape) * (x.points.shape[-2] + y.points.shape[-2])):
        costs = quantiles.line_cost(_project(x, some, evenly), _project(y, some, evenly), p=p, alike=alike)
        total = total + xp.sum(costs, axis=-1)
    return quantiles.check_costs(total / theta.shape[-2], x.points, y.points, validate=validate)


@np.errstate(over="ignore", invalid="ignore")
def pairwise_sliced_cost(
    x: PointCloud, y: PointCloud, theta: Array, /, *, p: float = 2.0, validate: bool = True
) -> Array:
    """Sliced p-Wasserstein costs between all members of two families, along the same directions.

    Equation: GWFM-33. Its costs: ``sliced_cost`` of all pairs; squared distances for p = 2.

    Parameters
    ----------
    x : PointCloud, points (B0, n, d), weights (B0, n)
    y : PointCloud, points (B1, m, d), weights (B1, m)
    theta : array, shape (K, d)
    p, validate
        As for ``sliced_cost``.

    Returns
    -------
    array, shape (B0, B1), never negative. Units: data to the power p.

    Notes
    -----
    Each cloud is projected and sorted once. For p = 2, equal sizes and uniform weights the rest is one matrix
    product of the sorted projections, about the mean of all clouds; pairs that are too close for that beside
    their distances to the mean are computed anew, from differences (``sq_distances``).

    Examples
    --------
    >>> x = PointCloud(np.asarray([[[0.0, 0.0]], [[3.0, 4.0]]]), np.ones((2, 1)))
    >>> pairwise_sliced_cost(x, x, np.eye(2)).tolist()
    [[0.0, 12.5], [12.5, 0.0]]
    """
    quantiles.check_power(p)
    for name, family in (("x", x), ("y", y)):
        if check_measure(family, PointCloud, name).points.ndim != 3:
            raise ValueError(
                f"{name} must be a family, points (B, n, d); got points {tuple(family.points.shape)}"
            )
    check_floating(theta=theta)
    if theta.ndim != 2:
        raise ValueError(
            f"theta must have shape (K, d), the same directions for all pairs; got {tuple(theta.shape)}"
        )
    pair = _check(PointCloud(*(part[:, None, ...] for part in x)), y, theta, validate)
    x, y = PointCloud(*(part[:, 0, ...] for part in pair[0])), pair[1]
    evenly, alike = _shortcuts(x, y)
    total = _zeros((x.points.shape[0], y.points.shape[0]), x.points)
    for some in _blocks(theta, math.prod(x.weights.shape) + math.prod(y.weights.shape)):
        lines = _project(x, some, evenly), _project(y, some, evenly)
        total = total + (_product_costs(*lines) if alike and p == 2 else _row_costs(*lines, p, alike))
    return quantiles.check_costs(total / theta.shape[-2], x.points, y.points, validate=validate)


def _product_costs(x: Sorted, y: Sorted) -> Array:
    """Squared distances of all pairs, summed over directions, of clouds as vectors of sorted projections."""
    xp = array_namespace(x.position)
    X, Y = (xp.reshape(p, (p.shape[0], math.prod(p.shape[1:]))) for p in (x.position, y.position))
    return sq_distances(X, Y) / x.position.shape[-1]


def _row_costs(x: Sorted, y: Sorted, p: float, alike: bool) -> Array:
    """Costs of all pairs, summed over directions, through blocks of rows."""
    xp = array_namespace(x.position)
    B0, n_proj, n = x.position.shape
    B1, _, m = y.position.shape
    total = [_zeros((0, B1), x.position)]
    for rows in _slices(B0, B1 * n_proj * (n + m)):
        some = Sorted(*(part[rows, None, ...] for part in x))
        total.append(xp.sum(quantiles.line_cost(some, y, p=p, alike=alike), axis=-1))
    return xp.concat(total, axis=0)


# Plan


def lifted_plan(x: PointCloud, y: PointCloud, theta: Array, /, *, validate: bool = True) -> Array:
    """Sliced plan: the average over directions of the sorted plans, lifted from the line to R^d.

    Equation: GWFM-106. ``(1/K) Σ_k π_k``, with π_k the quantile coupling of the projections: atoms own
    intervals of levels, and two atoms share the mass in which their intervals overlap.

    Parameters
    ----------
    x, y, theta, validate
        As for ``sliced_cost``.

    Returns
    -------
    array, shape (..., n, m)
        Its marginals are the weights; rows and columns of padding are zero.

    Notes
    -----
    O(K n m) time, and memory for one plan and ``SLICED_BLOCK``. Drawing pairs from it does not need it: see
    ``sample_sliced_pairs``, ``sorted_permutations``. Its checks take half as long again on torch.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [5.0, 4.0]))
    >>> lifted_plan(x, y, np.eye(1)).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    x, y = _check(x, y, theta, validate)
    shape = (*_batch_shape(x, y, theta), x.weights.shape[-1], y.weights.shape[-1])
    total = _zeros(shape, x.points)
    xp = array_namespace(total)
    for some in _blocks(theta, math.prod(shape)):
        (low0, high0), (low1, high1) = (
            quantiles.intervals(_ordered_positions(cloud, some), cloud.weights[..., None, :])
            for cloud in (x, y)
        )
        low = xp.maximum(low0[..., :, None], low1[..., None, :])
        overlap = xp.minimum(high0[..., :, None], high1[..., None, :]) - low  # (..., K, n, m)
        total = total + xp.sum(nonnegative(overlap), axis=-3)
    return without_derivative(total / theta.shape[-2], "the sliced plan", *x, *y, theta)


def sorted_permutations(x: PointCloud, y: PointCloud, theta: Array, /, *, validate: bool = True) -> Array:
    """Permutation that sorting gives for each direction: atom i of x goes with atom ``perm[i]`` of y.

    Equation: GWFM-106. For equal sizes and uniform weights. The plan of a direction drawn at random is,
    on average, the sliced plan; each of its draws has every atom of both clouds exactly once.

    Parameters
    ----------
    x, y, theta, validate
        As for ``sliced_cost``.

    Returns
    -------
    array, shape (..., K, n), integers

    Raises
    ------
    ValueError
        If sizes differ or weights are not uniform: ``sample_sliced_pairs`` takes any.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [5.0, 4.0]))
    >>> sorted_permutations(x, y, np.eye(1)).tolist()
    [[1, 0]]
    """
    x, y = _check(x, y, theta, validate)
    if not in_order(x, y):
        raise ValueError(
            "a sorted plan is a permutation only between clouds of equal sizes and uniform weights; got "
            f"points {tuple(x.points.shape)} and {tuple(y.points.shape)}; "
            "use sample_sliced_pairs or lifted_plan"
        )
    xp = array_namespace(x.points)
    order0, order1 = (xp.argsort(_ordered_positions(cloud, theta), axis=-1) for cloud in (x, y))
    shape = (*_batch_shape(x, y, theta), *order0.shape[-2:])
    return take_along(xp.broadcast_to(order1, shape), xp.argsort(order0, axis=-1))


def sample_sliced_pairs(
    x: PointCloud,
    y: PointCloud,
    theta: Array,
    /,
    *,
    rng: np.random.Generator,
    size: int,
    validate: bool = True,
) -> Pairs:
    """Draw pairs of atoms from the sliced plan, independently, without forming it.

    Equation: GWFM-106. Each pair takes a direction and a level, and is the two atoms there. For
    any sizes and weights; padding is never drawn.

    Parameters
    ----------
    x, y, theta, validate
        As for ``sliced_cost``.
    rng : numpy.random.Generator
    size : int
        Pairs for each pair of clouds.

    Returns
    -------
    Pairs, each (..., size), integers
        Atoms ``source`` of x and ``target`` of y.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [5.0, 4.0]))
    >>> pairs = sample_sliced_pairs(x, y, np.eye(1), rng=np.random.default_rng(0), size=20)
    >>> sorted(set(zip(pairs.source.tolist(), pairs.target.tolist())))
    [(0, 1), (1, 0)]
    """
    x, y = _check(x, y, theta, validate)
    batch, size = _batch_shape(x, y, theta), check_integer(size, "size", low=0)
    direction = on_device_of(x.points, rng.integers(theta.shape[-2], size=(*batch, size)))
    level = asarray_like(rng.random((*batch, size)), x.points)
    return Pairs(*(_atoms_at(cloud, theta, direction, level) for cloud in (x, y)))


def _atoms_at(cloud: PointCloud, theta: Array, direction: Array, level: Array) -> Array:
    """Atoms at the given levels along the given ones of the directions, all shapes (..., size)."""
    xp = array_namespace(theta)
    order, ends = quantiles.order_and_levels(_ordered_positions(cloud, theta), cloud.weights[..., None, :])
    n_proj, n = order.shape[-2:]
    table = (*direction.shape[:-1], n_proj, n)
    order, ends = (
        xp.reshape(xp.broadcast_to(part, table), (*table[:-2], n_proj * n)) for part in (order, ends)
    )
    offset = direction * n
    place = quantiles.atom_at_level(ends, quantiles.last_atom(cloud.weights), level, offset=offset)
    return take_along(order, offset + place)


def _ordered_positions(cloud: PointCloud, theta: Array) -> Array:
    """Projections (..., K, n), all of them finite: an order of NaN would not show it."""
    positions = theta @ transpose(cloud.points)
    if not all_finite(positions):
        raise ValueError("the projections of a cloud must be finite to be put in order; got NaN or infinity")
    return positions


def _project(cloud: PointCloud, theta: Array, evenly: bool) -> Sorted:
    """Clouds on the line, sorted: positions (..., K, n)."""
    return quantiles.sort_measure(theta @ transpose(cloud.points), cloud.weights[..., None, :], even=evenly)


def _shortcuts(x: PointCloud, y: PointCloud) -> tuple[bool, bool]:
    """Whether weights are uniform, and clouds alike in size too: then weights are not differentiated."""
    if is_differentiated(x.weights, y.weights):
        return False, False
    return all_even(x, y), in_order(x, y)


# Sizes and checks


def _blocks(theta: Array, elements: int) -> Iterator[Array]:
    """Cut directions so that ``elements`` for each of them fit a block."""
    return (theta[..., block, :] for block in _slices(theta.shape[-2], elements))


def _slices(count: int, elements: int) -> Iterator[slice]:
    step = max(1, SLICED_BLOCK // max(1, elements))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _batch_shape(x: PointCloud, y: PointCloud, theta: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(x.points.shape[:-2], y.points.shape[:-2], theta.shape[:-2])


def _zeros(shape: tuple[int, ...], x: Array) -> Array:
    return array_namespace(x).zeros(shape, dtype=x.dtype, device=device(x))


def _check(x: PointCloud, y: PointCloud, theta: Array, validate: bool) -> tuple[PointCloud, PointCloud]:
    x, y = check_cloud_pair(x, y, validate=validate)
    xp = check_floating(x=x.points, theta=theta)
    d = x.points.shape[-1]
    if theta.ndim < 2 or theta.shape[-1] != d or theta.shape[-2] == 0:
        raise ValueError(f"theta must have shape (..., K, {d}) with K >= 1; got {tuple(theta.shape)}")
    check_broadcast(x=x.points.shape[:-2], y=y.points.shape[:-2], theta=theta.shape[:-2])
    tolerance = 1e-6 if machine_eps(theta) < 1e-10 else 1e-3
    if validate and not bool(xp.all(xp.abs(sq_norm(theta) - 1.0) <= tolerance)):
        raise ValueError("theta must hold unit vectors along its last axis; divide each by its norm")
    return x, y
