"""Couplings of two families of measures: which source goes with which target, and which point goes where.

The *outer* plan pairs the members of two batches, the *inner* plan pairs the points of two clouds. Both are
chosen by name, ``OUTER`` and ``INNER``; the paper's method is an independent outer plan, or the multisample
matching of its appendix C (``frechet``), with a rounded or entropic inner plan.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, device, like
from refwfm.bures import pairwise_sq_distance
from refwfm.cloud_metrics import chamfer
from refwfm.clouds import moments
from refwfm.entropic import barycentric_projection
from refwfm.exact import assignment, transport_plan
from refwfm.measures import Gaussian, PointCloud
from refwfm.plans import argmax_matching, greedy_rounding
from refwfm.sinkhorn import Sinkhorn, log_plan, plan, sq_euclidean_cost

# Outer plans


def match_minibatch(
    mu: Gaussian, nu: Gaussian, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> np.ndarray:
    """Optimal pairing of two batches of equal size: ``mu[i]`` goes with ``nu[perm[i]]``.

    Equation: WFM App. C (multisample matching), with the exact assignment on the matrix of squared
    2-Wasserstein distances, WFM-24. Whatever belongs to nu (labels) must be permuted with it.

    Parameters
    ----------
    mu, nu : Gaussian, mean (n, d), cov (n, d, d)
    cost : callable
        ``cost(mu, nu, validate=False)``, shape (n, n).

    Returns
    -------
    numpy.ndarray, shape (n,), integers, on the host

    Raises
    ------
    ValueError
        If the batches differ in size.
    """
    if mu.mean.shape[0] != nu.mean.shape[0]:
        raise ValueError(
            f"mu and nu must be batches of equal size; got {mu.mean.shape[0]} and {nu.mean.shape[0]}"
        )
    return assignment(cost(mu, nu, validate=False))


def pairwise_frechet(
    x: PointCloud, y: PointCloud, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> Array:
    """Squared Fréchet distances of all pairs of clouds: those of the Gaussians with the same moments.

    Equation: WFM App. C with WFM-24, a lower bound of the clouds' squared 2-Wasserstein distances.

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)

    Returns
    -------
    array, shape (N, M). Units: data squared.
    """
    return cost(moments(*x), moments(*y), validate=False)


def pairwise_chamfer(x: PointCloud, y: PointCloud, /) -> Array:
    """Chamfer distances of all pairs of clouds, a row at a time: peak memory (M, n, m).

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)

    Returns
    -------
    array, shape (N, M). Units: data squared.
    """
    xp = array_namespace(x.points, y.points)
    rows = [chamfer(PointCloud(*(part[i, ...] for part in x)), y) for i in range(x.points.shape[0])]
    return xp.stack(rows)


OUTER = ("independent", "paired", "frechet", "chamfer")
"""``independent``: as drawn. ``paired``: member i of the source family with member i of the target family."""


def match_clouds(
    x: PointCloud, y: PointCloud, outer: str, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> np.ndarray:
    """Optimal pairing of two batches of clouds of equal size: ``x[i]`` goes with ``y[perm[i]]``.

    Equation: WFM App. C. Whatever belongs to y (labels) must be permuted with it.

    Parameters
    ----------
    x, y : PointCloud, points (B, n, d) and (B, m, d)
    outer : str
        ``frechet`` or ``chamfer``: the cost.
    cost : callable
        Squared distances of Gaussians, for ``frechet``.
    """
    if x.points.shape[0] != y.points.shape[0]:
        raise ValueError(
            f"x and y must be batches of equal size; got {x.points.shape[0]} and {y.points.shape[0]}"
        )
    return assignment(pairwise_frechet(x, y, cost=cost) if outer == "frechet" else pairwise_chamfer(x, y))


# Inner plans

Solver = Callable[[Array, Array, Array], Sinkhorn]
"""``solve(cost, a, b)``: Sinkhorn with everything else decided."""


class Coupled(NamedTuple):
    """Points in pairs: ``x[k]`` goes to ``y[k]`` with mass ``weights[k]``.

    Attributes
    ----------
    x, y : array, shape (B, n, d), zeros at padding
    weights : array, shape (B, n)
    error : array, shape ()
        L1 marginal error of the worst plan behind them; 0 for exact ones.
    """

    x: Array
    y: Array
    weights: Array
    error: Array


def couple(
    x: PointCloud, y: PointCloud, inner: str, /, *, rng: np.random.Generator, solve: Solver
) -> Coupled:
    """Send every point of each cloud of x somewhere in the cloud of y that it is paired with.

    Equation: WFM Algorithm 1 (its map T̂). By the name of ``inner``:

    ===============  ==================================================================================
    ``exact``        optimal assignment; clouds of different sizes: mean target of the optimal plan
    ``rounded``      entropic plan rounded to a permutation (WFM-A.1); needs clouds alike in size
    ``entropic``     entropic map, the mean target of the entropic plan (WFM-13)
    ``argmax``       likeliest target of the entropic plan
    ``sampled``      a target drawn from the point's row of the entropic plan
    ``independent``  at random: a permutation for clouds alike in size, else targets drawn by weight
    ===============  ==================================================================================

    Parameters
    ----------
    x, y : PointCloud, points (B, n, d) and (B, m, d); padding is zeros
    inner : str
        A key of ``INNER``.
    rng : numpy.random.Generator
        For ``sampled`` and ``independent``.
    solve : callable
        For the entropic plans.

    Raises
    ------
    ValueError
        If ``rounded`` gets clouds of different sizes or weights.
    """
    images, error = INNER[inner](x, y, rng, solve)
    xp = array_namespace(images)
    live = (x.weights > 0)[..., None]
    return Coupled(x.points, xp.where(live, images, 0.0), x.weights, error)


def alike(x: PointCloud, y: PointCloud, /) -> bool:
    """Whether each cloud has as many points as its partner, all of one weight, so that permutations are maps.

    Both are padded at the end, so this is whether they have the same weights, and each its own only one.
    """
    xp = array_namespace(x.weights, y.weights)
    a, b = x.weights, y.weights
    if a.shape != b.shape:
        return False
    heaviest = xp.max(a, axis=-1, keepdims=True)
    close = 1e-3 * heaviest
    even = (a == 0) | (xp.abs(a - heaviest) <= close)
    return bool(xp.all(even & (xp.abs(a - b) <= close)))


def _exact(x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver) -> tuple[Array, Array]:
    cost = sq_euclidean_cost(x.points, y.points)
    none = array_namespace(cost).zeros((), dtype=cost.dtype, device=device(cost))
    if alike(x, y):
        return _at(y.points, assignment(cost, x.weights, y.weights)), none

    optimal = transport_plan(cost, x.weights, y.weights).plan
    return barycentric_projection(optimal, y.points), none


def _rounded(x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver) -> tuple[Array, Array]:
    if not alike(x, y):
        raise ValueError(
            "inner = 'rounded' needs pairs of clouds of equal size and uniform weights; "
            "use 'entropic' or 'exact' for others"
        )
    cost, solution = _solve(x, y, solve)
    logs = log_plan(cost, x.weights, y.weights, solution)
    return _at(y.points, greedy_rounding(logs, x.weights, y.weights)), _worst(solution)


def _entropic(x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver) -> tuple[Array, Array]:
    cost, solution = _solve(x, y, solve)
    return barycentric_projection(plan(cost, x.weights, y.weights, solution), y.points), _worst(solution)


def _argmax(x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver) -> tuple[Array, Array]:
    cost, solution = _solve(x, y, solve)
    logs = log_plan(cost, x.weights, y.weights, solution)
    return _at(y.points, argmax_matching(logs)), _worst(solution)


def _sampled(x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver) -> tuple[Array, Array]:
    cost, solution = _solve(x, y, solve)
    drawn = _draw(plan(cost, x.weights, y.weights, solution), rng)
    return _at(y.points, drawn), _worst(solution)


def _independent(
    x: PointCloud, y: PointCloud, rng: np.random.Generator, solve: Solver
) -> tuple[Array, Array]:
    xp = array_namespace(x.points)
    none = xp.zeros((), dtype=x.points.dtype, device=device(x.points))
    if not alike(x, y):
        rows = xp.broadcast_to(y.weights[:, None, :], (*x.weights.shape, y.weights.shape[-1]))
        return _at(y.points, _draw(rows, rng)), none
    # Live points get a random order, and stay before the padding.
    order = like(rng.random(y.weights.shape), y.weights) + xp.astype(y.weights == 0, y.weights.dtype)
    return _at(y.points, xp.argsort(order, axis=-1)), none


INNER = {
    "independent": _independent,
    "exact": _exact,
    "rounded": _rounded,
    "entropic": _entropic,
    "argmax": _argmax,
    "sampled": _sampled,
}


def _solve(x: PointCloud, y: PointCloud, solve: Solver) -> tuple[Array, Sinkhorn]:
    cost = sq_euclidean_cost(x.points, y.points)
    return cost, solve(cost, x.weights, y.weights)


def _worst(solution: Sinkhorn) -> Array:
    xp = array_namespace(solution.row_error)
    return xp.max(xp.maximum(solution.row_error, solution.col_error))


def _at(points: Array, index: Array | np.ndarray) -> Array:
    """``points[b, index[b, k]]``, shape (B, k, d)."""
    xp = array_namespace(points)
    index = xp.asarray(index, device=device(points))
    batch, k = index.shape
    rows = xp.reshape(index + points.shape[1] * xp.arange(batch, device=device(points))[:, None], (-1,))
    flat = xp.reshape(points, (-1, points.shape[-1]))
    return xp.reshape(xp.take(flat, rows, axis=0), (batch, k, points.shape[-1]))


def _draw(masses: Array, rng: np.random.Generator) -> Array:
    """A column for each row (..., n, m), as likely as its share of the row; never one without mass."""
    xp = array_namespace(masses)
    levels = xp.cumulative_sum(masses, axis=-1)
    # In (0, total]: the first level that reaches it belongs to a column that has added mass.
    uniform = like(1.0 - rng.random(masses.shape[:-1]), masses) * levels[..., -1]
    return xp.sum(xp.astype(levels < uniform[..., None], xp.int64), axis=-1)
