"""Exact transport: problems are copied to the host, where the solvers are, and solutions back to the device.

Equal sizes and weights make an assignment (SciPy), all else is a linear programme (POT's network simplex).
Batches are solved in parallel by joblib, on threads because both solvers release Python's lock; under
``joblib.parallel_config(backend="dask")``, or Ray's, they go to the cluster instead.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, device, machine_eps, to_host
from refwfm.clouds import check_cloud_pair, even
from refwfm.convergence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport._parallel import in_parallel
from refwfm.transport.problem import check_shapes, check_weights, clear_padding
from refwfm.transport.quantiles import line_cost, sort_measure

WORTH_A_POOL = 2**20
"""Entries of all cost matrices together; below, one thread is done before a pool has started."""


class TransportPlan(NamedTuple):
    """Optimal plan, and the evidence that it is one.

    Attributes
    ----------
    plan : array, shape (..., n, m). At most n + m - 1 entries are positive.
    cost : array, shape (...). Units: cost.
        ``⟨K, P⟩``.
    f, g : array, shapes (..., n) and (..., m). Units: cost.
        Kantorovich potentials, ``f_i + g_j <= K_ij``. Zero at padding.
    gap : array, shape (...). Units: cost.
        Duality gap ``⟨K, P⟩ - ⟨f, a⟩ - ⟨g, b⟩``: a bound on how much more the plan costs than the best.
    row_error, col_error : array, shape (...)
        L1 distances of the plan's marginals from a and b.
    converged : array of bool, shape (...)
        Whether gap and errors are mere rounding; never true of NaN. (POT does not count its pivots, so
        there is no ``n_iter``.)
    """

    plan: Array
    cost: Array
    f: Array
    g: Array
    gap: Array
    row_error: Array
    col_error: Array
    converged: Array


# Assignments


def assignment(
    cost: Array, a: Array | None = None, b: Array | None = None, /, *, n_jobs: int = -1
) -> np.ndarray:
    """Permutation of least total cost: row i goes with column ``perm[i]``.

    Equation: WFM-3. For equal sizes and uniform weights. Solved by SciPy.

    Parameters
    ----------
    cost : array, shape (..., n, n)
    a, b : array, shape (..., n), optional
        Weights of the two clouds, for padded batches: equally many positive ones, all the same. Live atoms
        go to live atoms, padding to padding in order; what the cost holds at padding has no effect.
    n_jobs : int
        Threads, or workers of joblib's current backend; -1 for all.

    Returns
    -------
    numpy.ndarray, shape (..., n), integers, on the host

    Raises
    ------
    ValueError
        If the cost is not square, or NaN or infinite between live atoms, or weights make no assignment.

    Examples
    --------
    >>> assignment(np.asarray([[4.0, 1.0], [2.0, 3.0]])).tolist()
    [1, 0]
    """
    host = to_host(cost)
    if host.ndim < 2 or host.shape[-1] != host.shape[-2]:
        raise ValueError(f"cost must have shape (n, n), or (..., n, n) for a batch; got {host.shape}")
    if (a is None) != (b is None):
        raise ValueError("an assignment of padded clouds needs both a and b; got one of them")
    shape = host.shape[:-1]
    live = [np.ones(shape, bool) if w is None else _live(w, name, shape) for w, name in ((a, "a"), (b, "b"))]
    if np.any(np.sum(live[0], axis=-1) != np.sum(live[1], axis=-1)):
        raise ValueError("an assignment needs clouds of equally many atoms; transport_plan takes others")
    if a is not None:
        host = np.where(live[0][..., :, None] & live[1][..., None, :], host, 0.0)
    if not np.all(np.isfinite(host)):
        raise ValueError("cost must be finite; got NaN or infinity")
    perms = _each(_assign, host.size, n_jobs, _members(host, 2), *(_members(part, 1) for part in live))
    return np.asarray(perms, dtype=np.int64).reshape(shape)


def _live(weights: Array, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Which atoms have weight; raise unless all those of a cloud have the same, and mass 1."""
    host = to_host(weights)
    if host.ndim < 1 or host.shape[-1] != shape[-1]:
        raise ValueError(f"{name} must have shape (..., {shape[-1]}) like the cost; got {host.shape}")
    if not np.all(even(host)):
        raise ValueError(f"an assignment needs uniform weights; {name} is not uniform: see transport_plan")
    check_weights(host, name)
    return np.broadcast_to(host > 0, shape)


def _assign(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment  # takes a third of a second to import

    perm = np.empty(len(cost), dtype=np.int64)
    live = np.flatnonzero(columns)
    perm[~rows] = np.flatnonzero(~columns)
    perm[rows] = live[linear_sum_assignment(cost[np.ix_(rows, columns)])[1]]
    return perm


# Plans


def transport_plan(
    cost: Array, a: Array, b: Array, /, *, require: bool = True, max_iter: int = 10_000_000, n_jobs: int = -1
) -> TransportPlan:
    """Plan of least total cost between clouds of any sizes and weights.

    Equation: GWFM-1, GWFM-2, GWFM-31, GWFM-10. ``min ⟨K, P⟩`` over ``P >= 0`` with marginals a and b. By POT,
    in float64. For squared distances it is the energy of the plan's curve, on which no points meet.

    Parameters
    ----------
    cost : array, shape (..., n, m)
    a, b : array, shapes (..., n) and (..., m), non-negative, summing to 1; leading axes broadcast
        Weight 0 is padding: there the plan is 0, and what the cost holds has no effect.
    require : bool
        Raise when the evidence is bad; otherwise say so in the result.
    max_iter : int
        Pivots of the network simplex.
    n_jobs : int
        Threads, or workers of joblib's current backend; -1 for all.

    Returns
    -------
    TransportPlan, in the library, dtype and device of the cost

    Raises
    ------
    ValueError
        If shapes disagree, a weight is negative, weights do not sum to 1, or the cost is not finite between
        live atoms. (The solver itself would return plausible plans.)
    ConvergenceError
        If the solver stopped early and ``require`` is set.

    Examples
    --------
    >>> found = transport_plan(np.asarray([[0.0, 4.0]]), np.ones(1), np.asarray([0.25, 0.75]))
    >>> found.plan.tolist(), float(found.cost), bool(found.converged)
    ([[0.25, 0.75]], 3.0, True)
    """
    check_shapes(cost, a, b)
    a, b = (_exactly_one(to_host(check_weights(part, name))) for part, name in ((a, "a"), (b, "b")))
    host = clear_padding(to_host(cost).astype(np.float64), a, b)
    if not np.all(np.isfinite(host)):
        raise ValueError("cost must be finite where both weights are positive; got NaN or infinity")
    *batch, n, m = host.shape
    a, b = np.broadcast_to(a, (*batch, n)), np.broadcast_to(b, (*batch, m))
    simplex = partial(_simplex, max_iter=max_iter)
    solved = _each(simplex, host.size, n_jobs, _members(host, 2), _members(a, 1), _members(b, 1))
    shapes = ((n, m), (n,), (m,))
    plan, f, g = (
        np.asarray([part[k] for part in solved]).reshape(*batch, *shape) for k, shape in enumerate(shapes)
    )
    return _certified(
        host, a, b, (asarray_like(plan, cost), asarray_like(f, cost), asarray_like(g, cost)), require
    )


def _exactly_one(weights: np.ndarray) -> np.ndarray:
    weights = weights.astype(np.float64)
    return weights / np.sum(weights, axis=-1, keepdims=True)


def _simplex(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, *, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plan and potentials of one problem; padding is left out, because POT has no potentials for it."""
    import ot  # takes seconds to import

    live = np.ix_(a > 0, b > 0)
    plan, f, g = np.zeros_like(cost), np.zeros_like(a), np.zeros_like(b)
    least = np.min(cost[live])  # the simplex may fail where all costs are negative
    plan[live], log = ot.emd(a[a > 0], b[b > 0], cost[live] - least, numItermax=max_iter, log=True)
    f[a > 0], g[b > 0] = log["u"] + least, log["v"]
    return plan, f, g


def _certified(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, found: tuple[Array, Array, Array], require: bool
) -> TransportPlan:
    """Judge plan and potentials (found) as they are returned, in their dtype; cost is zero at padding."""
    plan, f, g = (to_host(part).astype(np.float64) for part in found)
    live = (a > 0)[..., :, None] & (b > 0)[..., None, :]
    excess = np.max(np.where(live, f[..., :, None] + g[..., None, :] - cost, 0.0), axis=(-2, -1), initial=0.0)
    total = np.sum(plan * cost, axis=(-2, -1))
    gap = total - (np.sum(f * a, axis=-1) + np.sum(g * b, axis=-1) - excess)  # f - excess is feasible
    row_error = np.sum(np.abs(np.sum(plan, axis=-1) - a), axis=-1)
    col_error = np.sum(np.abs(np.sum(plan, axis=-2) - b), axis=-1)
    tolerance = 1e-9 if machine_eps(found[0]) < 1e-10 else 1e-5
    scale = np.max(np.abs(cost), axis=(-2, -1), initial=0.0)
    converged = (np.abs(gap) <= tolerance * scale) & (row_error <= tolerance) & (col_error <= tolerance)
    if require and not np.all(converged):
        raise ConvergenceError(
            f"the network simplex stopped before the optimum: duality gap {np.max(gap):.3g}, marginal errors "
            f"{np.max(row_error):.3g} (rows) and {np.max(col_error):.3g} (columns); raise max_iter, or pass "
            "require=False to take what there is"
        )
    total, gap, row_error, col_error = (
        asarray_like(part, found[0]) for part in (total, gap, row_error, col_error)
    )
    ok = array_namespace(found[0]).asarray(converged, device=device(found[0]))
    return TransportPlan(found[0], total, found[1], found[2], gap, row_error, col_error, ok)


# Distance


def sq_wasserstein2(x: PointCloud, y: PointCloud, /, *, validate: bool = True, n_jobs: int = -1) -> Array:
    """Squared 2-Wasserstein distance between clouds of any sizes and weights.

    Equation: WFM-3. On the line by sorting; in space by assignment where sizes agree and weights are
    uniform, else by the optimal plan.

    Parameters
    ----------
    x, y : PointCloud, points (..., n, d) and (..., m, d); leading axes broadcast
    validate : bool
        Also check values, as ``check_cloud`` does.
    n_jobs : int
        Threads, or workers of joblib's current backend; -1 for all.

    Returns
    -------
    array, shape (...), never negative. Units: data squared.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p), np.full(2, 0.5)) for p in ([[0.0, 0], [1, 0]], [[1, 2], [0, 2.0]]))
    >>> float(sq_wasserstein2(x, y))
    4.0
    """
    x, y = check_cloud_pair(x, y, validate=validate)
    if x.points.shape[-1] == 1:
        return line_cost(*(sort_measure(cloud.points[..., 0], cloud.weights) for cloud in (x, y)))
    batch = np.broadcast_shapes(x.points.shape[:-2], y.points.shape[:-2])
    parts = []
    for points, weights in (x, y):
        parts.append(np.broadcast_to(to_host(points), (*batch, *points.shape[-2:])).astype(np.float64))
        parts.append(_exactly_one(np.broadcast_to(to_host(weights), (*batch, weights.shape[-1]))))
    size = math.prod(batch) * x.points.shape[-2] * y.points.shape[-2]
    members = (_members(part, core) for part, core in zip(parts, (2, 1, 2, 1), strict=True))
    both_even = np.broadcast_to(to_host(even(x.weights)) & to_host(even(y.weights)), batch)
    values = _each(_sq_distance, size, n_jobs, *members, _members(both_even, 0))
    return asarray_like(np.asarray(values).reshape(batch), x.points)


def _sq_distance(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, evenly: bool) -> float:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x, a, y, b = x[a > 0], a[a > 0], y[b > 0], b[b > 0]
    cost = cdist(x, y, "sqeuclidean")
    if evenly and len(a) == len(b):
        return float(np.mean(cost[linear_sum_assignment(cost)]))
    return float(transport_plan(cost, a, b, n_jobs=1).cost)


# Batches


def _members(array: np.ndarray, core: int) -> np.ndarray:
    """One leading axis instead of all but the last ``core`` ones."""
    shape = array.shape[array.ndim - core :]
    return array.reshape(math.prod(array.shape[: array.ndim - core]), *shape)


def _each(function: Callable[..., Any], size: int, n_jobs: int, *stacks: np.ndarray) -> list[Any]:
    """Values of a function of the members of the stacks, in parallel where it pays."""
    count = len(stacks[0])
    if count < 2 or size < WORTH_A_POOL or n_jobs == 1:
        return [function(*members) for members in zip(*stacks, strict=True)]
    return in_parallel(function, zip(*stacks, strict=True), n_jobs=n_jobs)
