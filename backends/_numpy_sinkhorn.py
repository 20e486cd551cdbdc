"""Twin of Sinkhorn for NumPy: over-relaxed iterations on a kernel that is already there.

The reference computes ``n m`` exponentials in each half of an iteration. Here a log-domain iteration leaves
the kernel ``exp((f + g - cost) / eps)`` behind, and the iterations after it are products of it with the
scalings u and v that make ``f + eps log u`` and ``g + eps log v`` of f and g. When these leave the range in
which the kernel has digits, the next log-domain iteration makes another one.

When a tolerance is asked for, each update is over-relaxed by a factor ω. It grows towards 2 as in Nesterov's
momentum, but only while the error falls more slowly than by a factor ω - 1 in an iteration, which is the rate
at the best ω and beyond it. The additional step is bounded (``MOST``), so that far from the solution, where
steps are large, the updates are nearly Sinkhorn's own. With a fixed number of iterations nothing is relaxed:
the iterates are those of the reference.

References
----------
Thibault, Chizat, Dossal, Papadakis, "Overrelaxed Sinkhorn-Knopp Algorithm for Regularized
Optimal Transport", 2021.
Schmitzer, "Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport Problems", 2019.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm.backends._numpy_ops import _n_threads, _pool
from refwfm.backends._numpy_transformer import _LOCK, _controller, _on_all_cores
from refwfm.transport import sinkhorn as reference
from refwfm.transport.problem import check_problem
from refwfm.transport.sinkhorn import CHECK_EVERY, TOLERANCE, Sinkhorn, certified

BLOCK = 1 << 16
"""Elements of a block of rows: its temporaries stay in the cache of a core."""
SMALL = 1 << 11
"""Elements of a cost matrix below which the reference, which works on a whole batch at once, is as quick."""
PARALLEL = 1 << 21
"""Elements of a kernel above which a product with it is worth more than one core."""
MOST = 1.0
"""Largest additional step of an over-relaxed update, in units of eps."""
WINDOW = 8
"""Iterations over which the rate of the error is measured."""


def sinkhorn(
    cost: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    /,
    *,
    eps: float | np.ndarray,
    scale_cost: str | float | None = None,
    tol: float | None = TOLERANCE,
    max_iter: int = 10_000,
    f_init: np.ndarray | None = None,
    require: bool = True,
    validate: bool = True,
    check_every: int = CHECK_EVERY,
) -> Sinkhorn:
    """Twin of ``refwfm.transport.sinkhorn.sinkhorn``; ``n_iter`` counts those of the slowest pair.

    The errors are there at every iteration, so that ``check_every`` only matters where the reference solves.
    """
    reference.check_iterations(tol, max_iter, check_every)
    problem = check_problem(cost, a, b, eps=eps, scale_cost=scale_cost, f_init=f_init, validate=validate)
    cost, a, b, epsilons, start = problem
    n, m = cost.shape[-2:]
    largest = np.max(np.abs(cost), axis=(-2, -1)) + np.max(np.abs(start), axis=-1)  # of each pair
    if n * m < SMALL or np.any(np.sqrt(np.finfo(cost.dtype).eps) * epsilons > 2.0 * largest):
        return reference.iterate(
            problem, tol=tol, max_iter=max_iter, require=require, check_every=check_every
        )
    batch = epsilons.shape
    costs, a, b = (
        np.broadcast_to(x, (*batch, *x.shape[x.ndim - k :])) for x, k in ((cost, 2), (a, 1), (b, 1))
    )
    cores = _n_threads() if epsilons.size == 1 else 1
    pairs = [_Pair(costs[i], a[i], b[i], epsilons[i], start[i], cores) for i in np.ndindex(batch)]

    def solve(pair: _Pair) -> _Solution:
        return _solve_live(pair, tol, max_iter)

    if len(pairs) == 1:
        with np.errstate(all="ignore"), _LOCK, _controller().limit(limits=1, user_api="blas"):
            solutions = [solve(pairs[0])]
    else:
        solutions = _on_all_cores(solve, pairs)
    f, g, rows, columns = (
        np.asarray([x[k] for x in solutions], cost.dtype).reshape((*batch, *size))
        for k, size in enumerate(((n,), (m,), (), ()))
    )
    n_iter = max((x.n_iter for x in solutions), default=0)
    return certified(
        Sinkhorn(f, g, epsilons, rows, columns, n_iter, np.zeros(batch, bool)), tol=tol, require=require
    )


class _Solution(NamedTuple):
    """Potentials of a pair, their errors, and the number of iterations."""

    f: np.ndarray
    g: np.ndarray
    row_error: float
    col_error: float
    n_iter: int


class _Pair(NamedTuple):
    cost: np.ndarray
    a: np.ndarray
    b: np.ndarray
    eps: np.floating
    start: np.ndarray
    cores: int


def _solve_live(pair: _Pair, tol: float | None, max_iter: int) -> _Solution:
    """Solve between the atoms that weigh something; potentials at padding are 0.

    Left in the kernel, padding, whose cost is 0, would be the largest entry in the row of an atom far from
    all others, and everything beside it underflow.
    """
    live = [weights != 0 for weights in (pair.a, pair.b)]  # so is NaN
    if all(np.all(part) or not np.any(part) for part in live):
        return _solve(pair, tol, max_iter)
    rows, columns = live
    part = pair._replace(
        cost=pair.cost[np.ix_(rows, columns)], a=pair.a[rows], b=pair.b[columns], start=pair.start[rows]
    )
    found = _solve(part, tol, max_iter)
    f, g = np.zeros_like(pair.a), np.zeros_like(pair.b)
    f[rows], g[columns] = found.f, found.g
    return found._replace(f=f, g=g)


def _solve(pair: _Pair, tol: float | None, max_iter: int) -> _Solution:
    _, a, b, eps, f, cores = pair
    limit = -_bottom(a) / 3.0  # of the scalings' logarithms: what the kernel lacks is then negligible
    target = 0.0 if tol is None else tol
    relaxation = _Relaxation()
    g = _column_update(pair, f)
    f, kernel = _row_update(pair, g)
    log_u, log_v = np.zeros_like(a), np.zeros_like(b)
    row_error, n_iter = 0.0, 1
    while True:
        new = -np.log(_left_product(a * np.exp(log_u), kernel, cores))
        step = new - log_v
        if tol is not None:
            error = max(row_error, _error(b, -step))
            if not error > target:
                now = f + eps * log_u, g + eps * log_v
                errors = _errors(pair, *now)
                if not max(errors) > tol:
                    return _Solution(*now, *errors, n_iter)
                target *= 0.5  # the rounding of the potentials has added to the errors
            relaxation.update(error)
        if n_iter == max_iter:
            now = f + eps * log_u, g + eps * log_v
            return _Solution(*now, *_errors(pair, *now), n_iter)
        n_iter += 1
        if _largest(new) < limit:
            log_v = new + relaxation.extra(step)
            new = -np.log(_right_product(kernel, b * np.exp(log_v), cores))
            if _largest(new) < limit:
                extra = relaxation.extra(new - log_u)
                log_u, row_error = new + extra, _error(a, extra)
                continue
            g = g + eps * log_v
        else:
            g = _column_update(pair, f + eps * log_u)
        f, kernel = _row_update(pair, g)
        log_u, log_v, row_error = np.zeros_like(a), np.zeros_like(b), 0.0


def _error(weights: np.ndarray, logs: np.ndarray) -> float:
    """L1 error of a marginal that is ``weights exp(logs)``."""
    return float(weights @ np.abs(np.exp(logs) - 1.0))


def _largest(x: np.ndarray) -> float:
    return float(np.abs(x).max())  # NaN is below no limit


def _bottom(x: np.ndarray) -> float:
    """Least exponent in use: far enough from underflow for products with weights and scalings."""
    return -60.0 if x.dtype == np.float32 else -600.0


class _Relaxation:
    """The factor ω, and the errors from which it is found."""

    def __init__(self) -> None:
        self.excess, self.growth = 0.0, 0  # ω - 1, and how often it has grown
        self.errors: list[float] = []

    def update(self, error: float) -> None:
        self.errors.append(error)
        before = self.errors[-1 - WINDOW] if len(self.errors) > WINDOW else 0.0
        if error > self.excess**WINDOW * before:
            self.growth += 1
        self.excess = 1.0 - 6.0 / (self.growth + 6.0)

    def extra(self, step: np.ndarray) -> np.ndarray:
        """What is added to one of Sinkhorn's steps: ``(ω - 1)`` times it, within bounds."""
        if self.excess == 0.0:
            return 0.0 * step
        return np.minimum(np.maximum(self.excess * step, -MOST), MOST)


# Passes over the cost, in blocks of rows


def _row_update(pair: _Pair, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``f = -eps log Σ b exp((g - cost) / eps)`` and the kernel ``exp((f + g - cost) / eps)``."""
    cost, _, b, eps, _, cores = pair
    f, kernel, bottom = np.empty_like(cost[:, 0]), np.empty_like(cost), _bottom(cost)

    def work(rows: slice) -> None:
        E = kernel[rows]
        np.subtract(g, cost[rows], out=E)
        largest = E.max(axis=1)
        E -= largest[:, None]
        _exp(E, eps, bottom)
        sums = np.einsum("ij,j->i", E, b)
        E -= E.dtype.type(np.exp(bottom))  # exactly 0 at the bottom
        E *= (1.0 / sums)[:, None]
        f[rows] = -largest - eps * np.log(sums)

    _in_blocks(work, *cost.shape, cores)
    return f, kernel


def _column_update(pair: _Pair, f: np.ndarray) -> np.ndarray:
    """``g = -eps log Σ a exp((f - cost) / eps)``, where the sum is over the rows."""
    cost, a, _, eps, _, cores = pair
    bottom = _bottom(cost)

    def largest(rows: slice) -> np.ndarray:
        return np.max(f[rows, None] - cost[rows], axis=0)

    top = np.max(_in_blocks(largest, *cost.shape, cores), axis=0)

    def work(rows: slice) -> np.ndarray:
        E = f[rows, None] - cost[rows]
        E -= top
        _exp(E, eps, bottom)
        return np.einsum("i,ij->j", a[rows], E)

    return -top - eps * np.log(np.sum(_in_blocks(work, *cost.shape, cores), axis=0))


def _errors(pair: _Pair, f: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """L1 errors of both marginals of the plan that the potentials give."""
    cost, a, b, eps, _, cores = pair
    sums, bottom = np.empty_like(a), _bottom(cost)

    def work(rows: slice) -> np.ndarray:
        E = f[rows, None] + g
        E -= cost[rows]
        _exp(E, eps, bottom)
        sums[rows] = np.einsum("ij,j->i", E, b)
        return np.einsum("i,ij->j", a[rows], E)

    columns = np.sum(_in_blocks(work, *cost.shape, cores), axis=0)
    return float(a @ np.abs(sums - 1.0)), float(b @ np.abs(columns - 1.0))


def _exp(E: np.ndarray, eps: np.floating, bottom: float) -> None:
    """``exp(max(E / eps, bottom))`` in place: numbers close to underflow are a hundred times slower."""
    E *= E.dtype.type(1.0) / eps
    np.maximum(E, E.dtype.type(bottom), out=E)
    np.exp(E, out=E)


def _in_blocks(work: Callable[[slice], Any], n: int, m: int, cores: int) -> list[Any]:
    """Call ``work`` on blocks of rows, on ``cores`` cores."""
    rows = max(1, BLOCK // m)
    blocks = [slice(i, i + rows) for i in range(0, n, rows)]
    if cores == 1 or len(blocks) == 1:
        return [work(block) for block in blocks]

    def run(share: list[slice]) -> list[Any]:
        with np.errstate(all="ignore"):
            return [work(block) for block in share]

    shares = filter(None, (blocks[i::cores] for i in range(cores)))
    return [value for values in _pool().map(run, shares) for value in values]


# Products with the kernel


def _right_product(kernel: np.ndarray, x: np.ndarray, cores: int) -> np.ndarray:
    """``kernel @ x``."""
    if cores == 1 or kernel.size < PARALLEL:
        return kernel @ x
    return np.concatenate(list(_pool().map(lambda rows: kernel[rows] @ x, _shares(len(kernel), cores))))


def _left_product(x: np.ndarray, kernel: np.ndarray, cores: int) -> np.ndarray:
    """``x @ kernel``."""
    if cores == 1 or kernel.size < PARALLEL:
        return x @ kernel
    return np.sum(list(_pool().map(lambda rows: x[rows] @ kernel[rows], _shares(len(kernel), cores))), axis=0)


def _shares(n: int, cores: int) -> list[slice]:
    return [slice(i * n // cores, (i + 1) * n // cores) for i in range(cores)]
