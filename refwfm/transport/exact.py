"""Exact transport: problems are copied to the host, where the solvers are, and solutions back to the device.

Equal sizes and weights make an assignment (SciPy), all else is a linear programme (POT's network simplex).
Batches are solved in parallel by joblib, on threads because both solvers release Python's lock; under
``joblib.parallel_config(backend="dask")``, or Ray's, they go to the cluster instead.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    on_device_of,
    sq_distances,
    take_along,
    to_host,
    transpose,
)
from refwfm._derivatives import is_differentiated, with_pullback, without_derivative
from refwfm.clouds import check_cloud_pair, even
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport._parallel import each, members
from refwfm.transport.duals import quick_assignment
from refwfm.transport.problem import check_range, check_shapes, check_weights, clear_padding
from refwfm.transport.programme import Solved, mean_cost, solve
from refwfm.transport.quantiles import line_cost, quantile_coupling, sort_measure

MAX_ITER = 10_000_000
"""Pivots of the network simplex at most."""


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
        ``Σ P_ij (K_ij - f_i - g_j)``, and what infeasible pairs can take off: a bound on how much more the
        plan costs than the best.
    row_error, col_error : array, shape (...)
        L1 distances of the plan's marginals from a and b.
    converged : array of bool, shape (...)
        Whether the plan is proved (``programme``): each pair slack, or tight where the plan has mass, and
        marginals right, up to 32 machine epsilons of their own size. Never true of NaN. (POT does not count
        its pivots, so there is no ``n_iter``.)
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

    Equation: WFM-3. For equal sizes and uniform weights. Solved by SciPy; where some costs are more than 2^16
    times what the whole assignment costs, once more without them, so that they round nothing off.

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
    check_floating(cost=cost, **{name: w for name, w in (("a", a), ("b", b)) if w is not None})
    host = to_host(cost).astype(np.float64, copy=False)
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
    size = np.max(np.abs(host), axis=(-2, -1), initial=0.0)
    stacks = members(host, 2), *(members(part, 1) for part in live), members(size, 0)
    perms = each(_assign, host.size, n_jobs, *stacks)
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


def _assign(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: float) -> np.ndarray:
    if rows.all():  # then so are the columns, as many
        return quick_assignment(cost, size)
    perm = np.empty(len(cost), dtype=np.int64)
    live = np.flatnonzero(columns)
    perm[~rows] = np.flatnonzero(~columns)
    perm[rows] = live[quick_assignment(cost[np.ix_(rows, columns)], size)]
    return perm


# Plans


def transport_plan(
    cost: Array, a: Array, b: Array, /, *, require: bool = True, max_iter: int = MAX_ITER, n_jobs: int = -1
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
        If the plan is not proved optimal, as where the solver stopped early, and ``require`` is set.

    Notes
    -----
    The cost has a derivative on torch: the plan, and the potentials up to a constant. Nothing else has one.
    The proof takes 3 % of the time for n = m = 512 and 2048, and accurate potentials 4 %; for n < 100 both
    together up to as much as POT itself. A call then takes 1.3 times as long as without for n = 64, 1.5 times
    for a batch of n = 16 (in float32, where plans are judged twice, 2 times), and 1.3 to 2.5 times for
    64 x 80 atoms of equal weights, whose plans are no trees.

    Examples
    --------
    >>> found = transport_plan(np.asarray([[0.0, 4.0]]), np.ones(1), np.asarray([0.25, 0.75]))
    >>> found.plan.tolist(), float(found.cost), bool(found.converged)
    ([[0.25, 0.75]], 3.0, True)
    """
    check_shapes(cost, a, b)
    arrays = cost, a, b
    a, b = (_exactly_one(to_host(check_weights(part, name))) for part, name in ((a, "a"), (b, "b")))
    host = clear_padding(to_host(cost).astype(np.float64), a, b)
    if not np.all(np.isfinite(host)):
        raise ValueError("cost must be finite where both weights are positive; got NaN or infinity")
    *batch, n, m = host.shape
    a, b = np.broadcast_to(a, (*batch, n)), np.broadcast_to(b, (*batch, m))
    one = partial(_solve_live, max_iter=max_iter, dtype=to_host(cost).dtype)
    solved = each(one, host.size, n_jobs, members(host, 2), members(a, 1), members(b, 1))
    if require:
        _require(solved)
    plan, f, g = (
        asarray_like(np.asarray([one[k] for one in solved]).reshape(*batch, *shape), cost)
        for k, shape in enumerate(((n, m), (n,), (m,)))
    )
    total, gap, row_error, col_error = (
        asarray_like(np.asarray([one.proof[k] for one in solved]).reshape(batch), cost) for k in range(4)
    )
    xp = array_namespace(cost)
    holds = on_device_of(cost, np.asarray([one.proof.holds for one in solved], dtype=bool).reshape(batch))
    if not is_differentiated(*arrays):
        return TransportPlan(plan, total, f, g, gap, row_error, col_error, holds)

    def pullback(d_total: Array, *_: Array) -> tuple[Array, Array, Array]:
        return d_total[..., None, None] * plan, d_total[..., None] * f, d_total[..., None] * g

    cores = ((n, m), (n,), (m,))
    whole = [xp.broadcast_to(x, (*batch, *core)) for x, core in zip(arrays, cores, strict=True)]
    return TransportPlan(
        without_derivative(plan, "the optimal plan", *arrays),
        with_pullback(lambda *_: total, pullback, *whole),
        without_derivative(f, "a potential", *arrays),
        without_derivative(g, "a potential", *arrays),
        without_derivative(gap, "a proof", *arrays),
        without_derivative(row_error, "a proof", *arrays),
        without_derivative(col_error, "a proof", *arrays),
        holds,
    )


def _exactly_one(weights: np.ndarray) -> np.ndarray:
    weights = weights.astype(np.float64)
    return weights / np.sum(weights, axis=-1, keepdims=True)


def _solve_live(cost: np.ndarray, a: np.ndarray, b: np.ndarray, **options: Any) -> Solved:
    """Plan and potentials of one problem, zeros at padding."""
    rows, columns = a > 0, b > 0
    if np.all(rows) and np.all(columns):
        return solve(cost, a, b, **options)
    live = np.ix_(rows, columns)
    solved = solve(cost[live], a[rows], b[columns], **options)
    plan, f, g = (np.zeros(like.shape, solved.plan.dtype) for like in (cost, a, b))
    plan[live], f[rows], g[columns] = solved.plan, solved.f, solved.g
    return solved._replace(plan=plan, f=f, g=g)


def _require(solved: Sequence[Solved]) -> None:
    """Raise unless all plans are proved."""
    for one in solved:
        if not one.proof.holds:
            why = (
                "the network simplex stopped before the optimum"
                if one.stopped
                else "no plan was proved optimal, as costs or weights span too many orders of magnitude"
            )
            raise ConvergenceError(
                f"{why}: {one.proof.fault}; "
                f"{'raise max_iter, or ' if one.stopped else ''}pass require=False to take what there is"
            )


# Distance


def sq_wasserstein2(x: PointCloud, y: PointCloud, /, *, validate: bool = True, n_jobs: int = -1) -> Array:
    """Squared 2-Wasserstein distance between clouds of any sizes and weights.

    Equation: WFM-3. On the host, in float64: on the line by sorting; in space by assignment, right to
    rounding of its own cost, where sizes agree and weights are uniform, else by the optimal plan, proved.
    On the line, with uneven weights, one pair takes twice as long as without checks, 0.4 to 1 ms more.
    Differentiable by that plan (the envelope theorem), which solves once more: in points
    ``2 Σ_j P_ij (x_i - y_j)``, in weights the potentials, up to a constant.

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

    Raises
    ------
    ValueError
        If a check fails, or a squared distance overflows float64, or the result the dtype.
    ConvergenceError
        If a plan could not be proved optimal.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p), np.full(2, 0.5)) for p in ([[0.0, 0], [1, 0]], [[1, 2], [0, 2.0]]))
    >>> float(sq_wasserstein2(x, y))
    4.0
    """
    x, y = check_cloud_pair(x, y, validate=validate)
    if validate:
        check_range(x=x.points, y=y.points)
    xp = array_namespace(x.points, y.points)
    batch = np.broadcast_shapes(x.points.shape[:-2], y.points.shape[:-2])
    parts = []
    for points, weights in (x, y):
        parts.append(xp.broadcast_to(points, (*batch, *points.shape[-2:])))
        parts.append(xp.broadcast_to(weights, (*batch, weights.shape[-1])))
    distance = _line_distances if x.points.shape[-1] == 1 else partial(_sq_distances, n_jobs=n_jobs)
    return with_pullback(distance, partial(_pullback, n_jobs=n_jobs), *parts)


def _line_distances(x: Array, a: Array, y: Array, b: Array) -> Array:
    from_x, mass, to_y, other = _on_host(x, a, y, b)
    with np.errstate(over="ignore", invalid="ignore"):  # refused, or returned
        evenly = [bool(np.all(even(w)) and np.all(w > 0)) for w in (mass, other)]
        lines = zip((from_x, to_y), (mass, other), evenly, strict=True)
        x_sorted, y_sorted = (sort_measure(points[..., 0], w, even=same) for points, w, same in lines)
        values = line_cost(x_sorted, y_sorted, alike=all(evenly) and mass.shape[-1] == other.shape[-1])
    return _in_range(values, x)


def _sq_distances(x: Array, a: Array, y: Array, b: Array, *, n_jobs: int) -> Array:
    batch, size = x.shape[:-2], math.prod(x.shape[:-1]) * y.shape[-2]
    evenly = to_host(even(a)) & to_host(even(b))
    host = _on_host(x, a, y, b)
    batches = (members(part, core) for part, core in zip(host, (2, 1, 2, 1), strict=True))
    values = np.asarray(each(_sq_distance, size, n_jobs, *batches, members(evenly, 0)), dtype=np.float64)
    return _in_range(values.reshape(batch), x)


def _in_range(values: np.ndarray, like: Array) -> Array:
    """Distances as an array of the library, dtype and device of ``like``, where that can hold them."""
    if np.any(values > float(array_namespace(like).finfo(like.dtype).max)):
        raise ValueError(f"a squared distance exceeds {like.dtype}: rescale the points")
    return asarray_like(values, like)


def _on_host(x: Array, a: Array, y: Array, b: Array) -> tuple[np.ndarray, ...]:
    x, y = (to_host(points).astype(np.float64) for points in (x, y))
    return x, _exactly_one(to_host(a)), y, _exactly_one(to_host(b))


def _sq_distance(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, evenly: bool) -> float:
    from scipy.spatial.distance import cdist

    x, a, y, b = x[a > 0], a[a > 0], y[b > 0], b[b > 0]
    cost = cdist(x, y, "sqeuclidean")
    largest = float(cost.max())
    if not largest < math.inf:
        raise ValueError("squared distances overflow float64, or points are NaN; rescale the points")
    if evenly and len(a) == len(b):
        return mean_cost(cost[np.arange(len(a)), quick_assignment(cost, largest)])
    solved = solve(cost, a, b, max_iter=MAX_ITER)
    _require([solved])
    return solved.proof.cost


def _pullback(d_value: Array, x: Array, a: Array, y: Array, b: Array, *, n_jobs: int) -> tuple[Array, ...]:
    """Gradients for points and weights: twice what a plan moves, and its potentials, up to a constant."""
    host = _on_host(x, a, y, b)
    d_value = to_host(d_value)[..., None]
    if x.shape[-1] == 1:
        from_x, from_y, f, g = _on_the_line(*host)
    else:
        found = transport_plan(sq_distances(host[0], host[2]), host[1], host[3], n_jobs=n_jobs)
        f, g, plan = found.f, found.g, found.plan
        from_x = host[1][..., None] * host[0] - plan @ host[2]
        from_y = host[3][..., None] * host[2] - transpose(plan) @ host[0]
    gradients = 2.0 * d_value[..., None] * from_x, d_value * f, 2.0 * d_value[..., None] * from_y, d_value * g
    return tuple(asarray_like(part, x) for part in gradients)


def _on_the_line(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """What the plan of equal levels moves from each atom (..., n, 1) and (..., m, 1), and its potentials.

    Its pieces are a staircase, each step to the next row or the next column, along which the potentials add
    up the differences of costs: feasible, because the costs are Monge's.
    """
    row, column, mass = quantile_coupling(x[..., 0], a, y[..., 0], b)
    gap = take_along(x[..., 0], row) - take_along(y[..., 0], column)
    same_row = np.diff(row, axis=-1) == 0
    rise = np.cumsum(np.where(same_row, 0.0, np.diff(gap * gap, axis=-1)), axis=-1)
    f_at = np.concatenate([np.zeros_like(gap[..., :1]), rise], axis=-1)
    result = []
    for index, moved, potential, weights in ((row, gap, f_at, a), (column, -gap, gap * gap - f_at, b)):
        total, values = np.zeros_like(weights), np.zeros_like(weights)
        for k in np.ndindex(weights.shape[:-1]):
            np.add.at(total[k], index[k], (mass * moved)[k])
        np.put_along_axis(values, index, potential, axis=-1)
        result += [total[..., None], values]
    return [result[0], result[2], result[1], result[3]]
