"""Entropic optimal transport between clouds too large for their costs: Sinkhorn's iteration, block by block.

The costs of 100,000 points from 100,000 others take 40 GB in float32, and Sinkhorn's iteration needs them
only to form soft minima along rows and columns. Here each block of squared distances is made from its points,
added to what is known of the rows, a *running* maximum and sum, and forgotten: memory grows with ``n + m``
and the block, time as that of the dense iteration does. Iterates, evidence and errors are those of
``transport.sinkhorn``, up to rounding.

References
----------
Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", 2019.
Peyré and Cuturi, "Computational Optimal Transport", 2019, chapter 4.
"""

from typing import Protocol

import numpy as np

from refwfm._array import Array, array_namespace, machine_eps, matvec, sq_distances
from refwfm._derivatives import is_known
from refwfm.transport.point_problem import (
    PointProblem,
    block_side,
    check_point_problem,
    check_points,
    cut,
    live,
)
from refwfm.transport.problem import clear_points, log_weights
from refwfm.transport.sinkhorn import CHECK_EVERY, TOLERANCE, Sinkhorn, certified, check_iterations


class StreamedSoftmin(Protocol):
    """``streamed_softmin``, or a twin of it."""

    def __call__(  # noqa: D102
        self, x: Array, y: Array, potential: Array, weights: Array, eps: Array, /, *, block: int | None = None
    ) -> Array: ...


def streamed_softmin(
    x: Array, y: Array, potential: Array, weights: Array, eps: Array, /, *, block: int | None = None
) -> Array:
    """Soft minimum ``-eps log Σⱼ wⱼ exp((pⱼ - ‖xᵢ - yⱼ‖²) / eps)``, without the costs of all pairs.

    Equation: WFM-12. ``softmin`` of the squared distances, its limit for large eps included, by a running
    maximum M and sum S of the exponents e of one block of columns after the other:
    ``M⁺ = max(M, max e)``, ``S⁺ = S exp(M - M⁺) + Σ exp(e - M⁺)``, and at the end ``-eps (M + log S)``.

    Parameters
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d); leading axes broadcast
    potential, weights : array, shape (..., m)
        Columns of weight 0 are padding, whatever point and potential they hold.
    eps : array, shape (...)
    block : int, optional
        Rows and columns of a block. By default, as many as fit a cache, or on a GPU as keep it busy.

    Returns
    -------
    array, shape (..., n)

    Notes
    -----
    Differentiated on torch, every block is kept: then the dense ``softmin`` takes no more memory.

    Examples
    --------
    >>> x, y = np.asarray([[0.0]]), np.asarray([[1.0], [3.0 ** 0.5]])
    >>> streamed_softmin(x, y, np.zeros(2), np.full(2, 0.5), np.asarray(np.inf)).round(9).tolist()
    [2.0]
    """
    check_points(x, y, y=weights, potential=potential, eps=eps)
    xp = array_namespace(x)
    y, potential = clear_points(y, weights), xp.where(weights > 0, potential, xp.zeros_like(potential))
    side = block_side(x, y, block)
    given = (y, potential, weights, log_weights(weights), eps)
    return xp.concat([_soft_rows(x[..., rows, :], *given, side) for rows in cut(x.shape[-2], side)], axis=-1)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by who takes it, in words
def _soft_rows(
    x: Array, y: Array, potential: Array, weights: Array, logs: Array, eps: Array, side: int
) -> Array:
    """Soft minima of some rows, over all blocks of columns."""
    xp, eps = array_namespace(x), eps[..., None]
    temperature = xp.where(xp.isinf(eps), xp.ones_like(eps), eps)[
        ..., None
    ]  # any number, where it is not used
    threshold = eps * machine_eps(x) ** 0.5
    top = total = largest = mean = None
    flat = True  # whether there may be a row whose soft minimum is the mean
    for columns in cut(y.shape[-2], side):
        cost, w = sq_distances(x, y[..., columns, :]), weights[..., columns]
        gaps = potential[..., None, columns] - cost
        exponents = gaps / temperature + logs[..., None, columns]
        here = xp.max(exponents, axis=-1)
        if top is None:  # a number so low that nothing is below it but -inf, whose exponential is then 0
            top = total = largest = mean = xp.zeros_like(here)
            top = top + xp.finfo(x.dtype).min
        higher = xp.maximum(top, here)
        total = total * xp.exp(top - higher) + xp.sum(xp.exp(exponents - higher[..., None]), axis=-1)
        top = higher
        if flat:  # as a rule not beyond the first block, whose costs are large beside the threshold
            live = xp.where((w > 0)[..., None, :], xp.abs(gaps), xp.zeros_like(gaps))
            largest = xp.maximum(largest, xp.max(live, axis=-1))
            mean = mean + matvec(cost, w) - xp.sum(w * potential[..., columns], axis=-1)[..., None]
            flat = not is_known(largest >= threshold)
    soft = -temperature[..., 0] * (top + xp.log(total))
    return xp.where(threshold > largest, mean, soft) if flat else soft


def sinkhorn_points(
    x: Array,
    y: Array,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    scale_cost: str | float | None = None,
    tol: float | None = TOLERANCE,
    max_iter: int = 10_000,
    f_init: Array | None = None,
    require: bool = True,
    validate: bool = True,
    check_every: int = CHECK_EVERY,
    block: int | None = None,
    minimum: StreamedSoftmin = streamed_softmin,
) -> Sinkhorn:
    """Entropic transport between weighted points by Sinkhorn's iteration, in memory of O(n + m + block²).

    Equation: WFM-12. ``sinkhorn`` of ``sq_euclidean_cost``: the same iterates, errors and stopping rule.

    Parameters
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d)
        Finite where they weigh something.
    a, b : array, shapes (..., n) and (..., m); leading axes broadcast
        Non-negative, each summing to 1.
    scale_cost : None, "max", "mean" or a positive number
        What eps is relative to, as for ``sinkhorn``; a statistic takes one more pass.
    eps, tol, max_iter, f_init, require, validate, check_every
        As for ``sinkhorn``. A look at the errors takes half as long as an iteration.
    block : int, optional
        Rows and columns of a block, as for ``streamed_softmin``.
    minimum : function
        ``streamed_softmin``, or a twin of it.

    Returns
    -------
    Sinkhorn
        Its potentials are 0 at padding. What is made of it without a plan is in ``transport.streamed_plans``.

    Raises
    ------
    ConvergenceError, ValueError
        As ``sinkhorn`` does; also for the median as a scale.

    Notes
    -----
    On torch the iterations are differentiated one by one, in memory for all their blocks. Solve on detached
    arrays and give the solution to ``streamed_dual_value``.

    Examples
    --------
    >>> x, half = np.asarray([[0.0], [1.0]]), np.full(2, 0.5)
    >>> found = sinkhorn_points(x, x, half, half, eps=1.0, check_every=1)
    >>> found.n_iter, found.g.round(4).tolist()  # log(2 / (1 + 1 / e)): symmetric at once
    (1, [0.3799, 0.3799])
    """
    check_iterations(tol, max_iter, check_every)
    problem = check_point_problem(
        x, y, a, b, eps=eps, scale_cost=scale_cost, f_init=f_init, validate=validate, block=block
    )
    return _iterate(problem, tol, max_iter, require, check_every, block, minimum)


@np.errstate(all="ignore")  # what is not finite is in the errors
def _iterate(
    problem: PointProblem,
    tol: float | None,
    max_iter: int,
    require: bool,
    check_every: int,
    block: int | None,
    minimum: StreamedSoftmin,
) -> Sinkhorn:
    x, y, a, b, eps, f = problem
    xp = array_namespace(x)
    for n_iter in range(1, max_iter + 1):
        g = xp.where(b > 0, minimum(y, x, f, a, eps, block=block), 0.0)
        f = xp.where(a > 0, minimum(x, y, g, b, eps, block=block), 0.0)
        if n_iter == max_iter or (tol is not None and (n_iter - 1) % check_every == 0):
            row, column = streamed_marginal_errors(problem, f, g, block=block)
            if tol is not None and bool(xp.all((row <= tol) & (column <= tol))):
                break
    return certified(Sinkhorn(f, g, eps, row, column, n_iter, row <= 0), tol=tol, require=require)


def streamed_marginal_errors(
    problem: PointProblem, f: Array, g: Array, /, *, block: int | None = None
) -> tuple[Array, Array]:
    """L1 distances of the plan's two marginals from a and b, shapes (...), in one pass over blocks.

    Equation: WFM-12. ``marginal_errors``, without the plan.

    Examples
    --------
    >>> one, two = np.zeros((1, 1)), np.zeros((2, 1))
    >>> problem = check_point_problem(one, two, np.ones(1), np.full(2, 0.5), eps=1.0)
    >>> errors = streamed_marginal_errors(problem, np.full(1, np.log(2.0)), np.zeros(2))
    >>> [round(float(error), 9) for error in errors]
    [1.0, 1.0]
    """
    x, y, a, b, eps, _ = problem
    xp, side = array_namespace(x), block_side(x, y, block)
    below = [0.0 for _ in cut(y.shape[-2], side)]  # what the columns of each block have got
    row_error = 0.0
    for rows in cut(x.shape[-2], side):
        mass = 0.0
        for k, columns in enumerate(cut(y.shape[-2], side)):
            cost = sq_distances(x[..., rows, :], y[..., columns, :])
            exponents = (f[..., rows, None] + g[..., None, columns] - cost) / eps[..., None, None]
            P = a[..., rows, None] * b[..., None, columns] * xp.exp(exponents)
            P = xp.where(live(a, b, rows, columns), P, xp.zeros_like(P))
            mass, below[k] = mass + xp.sum(P, axis=-1), below[k] + xp.sum(P, axis=-2)
        row_error = row_error + xp.sum(xp.abs(mass - a[..., rows]), axis=-1)
    column_error = 0.0
    for columns, mass in zip(cut(y.shape[-2], side), below, strict=True):
        column_error = column_error + xp.sum(xp.abs(mass - b[..., columns]), axis=-1)
    return row_error, column_error
