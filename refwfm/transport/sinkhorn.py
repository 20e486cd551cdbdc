"""Entropic optimal transport between weighted point clouds: Sinkhorn's iteration in the log domain.

Between ``μ = Σ aᵢ δ(xᵢ)`` and ``ν = Σ bⱼ δ(yⱼ)``, with the squared distances ``Kᵢⱼ = ‖xᵢ - yⱼ‖²`` as cost,

    min over plans P of  ⟨K, P⟩ + eps KL(P | a ⊗ b),    solved by    Pᵢⱼ = aᵢ bⱼ exp((fᵢ + gⱼ - Kᵢⱼ) / eps)

(the *product convention*). The potentials f and g are in units of the cost and unique up to a constant that
moves from one to the other. This eps is the ``eps`` of ``⟨K, P⟩ + eps Σ P (log P - 1)``, POT's ``reg``
and OTT's ``epsilon``; with the cost ``‖x - y‖² / 2`` one would halve it.

Atoms of weight 0 are padding. Nothing they hold, NaN included, has an influence; their rows and columns of
the plan are exactly 0 and their potentials finite.

References
----------
WFM : Haviv, Pooladian, Pe'er, Amos, "Wasserstein Flow Matching", ICML 2025, appendix A.
Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", 2013.
Peyré and Cuturi, "Computational Optimal Transport", 2019, chapter 4.
"""

from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    check_integer,
    machine_eps,
    matvec,
    sq_distances,
    to_host,
    transpose,
)
from refwfm.evidence import ConvergenceError
from refwfm.transport.problem import Problem, check_problem, check_solution, clear_padding, log_weights

TOLERANCE = 1e-3
"""Marginal error (of a total mass of 1) at which a solution counts as converged by default."""

CHECK_EVERY = 10
"""Iterations from one evaluation of the marginal errors to the next, by default."""


class Sinkhorn(NamedTuple):
    """Potentials of an entropic transport problem, and the evidence for them.

    Attributes
    ----------
    f, g : array, shapes (..., n) and (..., m). Units: cost.
        ``plan = a b exp((f + g - cost) / eps)``; finite, also where a weight is 0.
    eps : array, shape (...). Units: cost.
        Absolute: times what ``scale_cost`` says.
    row_error, col_error : array, shape (...)
        ``Σ |P 1 - a|`` and ``Σ |Pᵀ 1 - b|`` of this plan: what share of the mass is not where it should be.
    n_iter : int
    converged : array of bool, shape (...)
        Whether both errors are at most the tolerance; never true of NaN.
    """

    f: Array
    g: Array
    eps: Array
    row_error: Array
    col_error: Array
    n_iter: int
    converged: Array


# Cost


def sq_euclidean_cost(x: Array, y: Array, /) -> Array:
    """Squared Euclidean distances ``‖xᵢ - yⱼ‖²`` of all pairs of points.

    Equation: WFM-12. Its K. The error of each is rounding of itself, whatever the other points are.

    Parameters
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d); leading axes broadcast
        A point that is not finite spoils only its own row or column.

    Returns
    -------
    array, shape (..., n, m), which is also the largest temporary. Units: data squared. Infinite beyond the
    largest number of the dtype, without a warning: those who take costs refuse it.

    Notes
    -----
    In up to 4 dimensions differences are squared and added up. Beyond, ``‖x‖² + ‖y‖² - 2 ⟨x, y⟩`` about the
    clouds' middle, as one matrix product, is taken where it keeps its digits, and differences elsewhere; for
    2048 x 2048 points in 16 dimensions that costs a third more than the product alone, and several times more
    if one point is so far away that all expansions have to be mended.

    Examples
    --------
    >>> sq_euclidean_cost(np.asarray([[0.0], [1.0]]), np.asarray([[3.0]])).tolist()
    [[9.0], [4.0]]
    """
    check_floating(x=x, y=y)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or x.shape[-1] == 0:
        raise ValueError(
            "x and y must have shapes (..., n, d) and (..., m, d) with d >= 1; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    return sq_distances(x, y)


def sinkhorn(
    cost: Array,
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
) -> Sinkhorn:
    """Entropic transport between weights a and b for any cost, by Sinkhorn's iteration in the log domain.

    Equation: WFM-12. ``gⱼ ← -eps log Σᵢ aᵢ exp((fᵢ - Kᵢⱼ) / eps)``, then the same for f with b and g: after
    an iteration the rows are exact up to rounding, and the error is in the columns.

    Parameters
    ----------
    cost : array, shape (..., n, m). Finite where both atoms weigh something.
    a, b : array, shapes (..., n) and (..., m); leading axes broadcast
        Non-negative, each summing to 1.
    eps : float, or array of shape (...)
        Regularisation, positive; infinity gives the product plan ``a ⊗ b``. In units of the cost, or of the
        scale that ``scale_cost`` names.
    scale_cost : None, "max", "mean", "median" or a positive number
        What eps is relative to: nothing, a statistic of the cost over pairs of live atoms, or a number. The
        paper does not say so, but its results need "max" (with eps 0.002 and 200 iterations).
    tol : float, optional
        Iterate until both marginal errors are at most this. None: exactly ``max_iter`` iterations.
    max_iter : int
    f_init : array, shape (..., n), optional
        Where to start, in units of the cost: zero when left out. See ``gaussian_start``.
    require : bool
        Raise when ``tol`` was not reached; otherwise say so in the result.
    validate : bool
        Check the values of cost and weights.
    check_every : int
        Look at the errors after iteration 1 and then after every so many. With 1, ``n_iter`` is the first at
        which they were at most ``tol``. Each look makes the plan once.

    Returns
    -------
    Sinkhorn
        With ``tol=None``, ``converged`` says whether the errors are at most 1e-3.

    Raises
    ------
    ConvergenceError
        If ``require`` and an error is above ``tol``, or the result is not finite.
    ValueError
        If shapes or values are wrong: a cost that is not finite, masses that differ, eps not positive.

    Notes
    -----
    In float32 no marginal can be better than about ``6e-8 max(cost) / eps``, the rounding of the exponents;
    potentials of an eps much larger than the cost have half of the digits. Peak memory: three arrays of the
    cost's size.

    The members of a batch share nothing but the number of iterations: all go on until the slowest is done.
    Their errors are their own.

    On torch the iterations are differentiated one by one, in memory for all of them. Where only a value of
    the problem is differentiated, solve on detached arrays and give the solution to ``dual_value``.

    Examples
    --------
    >>> cost, half = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.full(2, 0.5)
    >>> round(float(plan(cost, half, half, sinkhorn(cost, half, half, eps=1.0))[0, 0]), 4)  # 1 / (2 + 2 / e)
    0.3655
    """
    check_iterations(tol, max_iter, check_every)
    problem = check_problem(cost, a, b, eps=eps, scale_cost=scale_cost, f_init=f_init, validate=validate)
    return iterate(problem, tol=tol, max_iter=max_iter, require=require, check_every=check_every)


@np.errstate(all="ignore")  # what is not finite is in the errors
def iterate(
    problem: Problem, /, *, tol: float | None, max_iter: int, require: bool, check_every: int = CHECK_EVERY
) -> Sinkhorn:
    """Solve a checked problem by Sinkhorn's iteration.

    Equation: WFM-12. Options as for ``sinkhorn``.

    Examples
    --------
    >>> iterate(check_problem(np.eye(1), *np.ones((2, 1)), eps=1.0), tol=0.1, max_iter=9, require=True).n_iter
    1
    """
    cost, a, b, eps, f = problem
    for n_iter in range(1, max_iter + 1):
        g = softmin(transpose(cost), f, a, eps)
        f = softmin(cost, g, b, eps)
        if n_iter == max_iter or (tol is not None and (n_iter - 1) % check_every == 0):
            errors = marginal_errors(problem, f, g)
            if tol is not None and _all_below(errors, tol):
                break
    return certified(Sinkhorn(f, g, eps, *errors, n_iter, errors[0] <= 0), tol=tol, require=require)


def check_iterations(tol: float | None, max_iter: int, check_every: int = CHECK_EVERY, /) -> None:
    """Raise unless ``tol`` is None or positive, and ``max_iter`` and ``check_every`` are at least 1."""
    check_integer(max_iter, "max_iter", low=1)
    check_integer(check_every, "check_every", low=1)
    if tol is not None and not tol > 0:
        raise ValueError(f"tol must be positive, or None for exactly max_iter iterations; got tol = {tol}")


def softmin(cost: Array, potential: Array, weights: Array, eps: Array, /) -> Array:
    """Soft minimum ``-eps log Σⱼ wⱼ exp((pⱼ - Kᵢⱼ) / eps)`` of ``Kᵢⱼ - pⱼ`` along each row.

    Equation: WFM-12. Its update, and the potential WFM-U9. For eps beyond the cost over the root of machine
    epsilon, infinity included, its limit, the mean ``Σⱼ wⱼ (Kᵢⱼ - pⱼ)``: the logarithm would have no digits
    left.

    Parameters
    ----------
    cost : array, shape (..., n, m)
    potential, weights : array, shape (..., m)
    eps : array, shape (...)

    Returns
    -------
    array, shape (..., n)

    Examples
    --------
    >>> softmin(np.asarray([[1.0, 3.0]]), np.zeros(2), np.full(2, 0.5), np.asarray(np.inf)).tolist()
    [2.0]
    """
    xp = array_namespace(cost)
    eps = eps[..., None]
    exponents = potential[..., None, :] - cost
    flat = eps * machine_eps(cost) ** 0.5 > xp.max(xp.abs(exponents), axis=-1)
    eps = xp.where(flat, xp.ones_like(eps), eps)  # any number, where it is not used
    exponents = exponents / eps[..., None] + log_weights(weights)[..., None, :]
    mean = matvec(cost, weights) - xp.sum(weights * potential, axis=-1)[..., None]
    return xp.where(flat, mean, -eps * _logsumexp(exponents))


def marginal_errors(problem: Problem, f: Array, g: Array, /) -> tuple[Array, Array]:
    """L1 distances of the plan's two marginals from a and b, shapes (...).

    Equation: WFM-12.

    Examples
    --------
    >>> problem = check_problem(np.zeros((1, 2)), np.ones(1), np.full(2, 0.5), eps=1.0)
    >>> [round(float(error), 9) for error in marginal_errors(problem, np.full(1, np.log(2.0)), np.zeros(2))]
    [1.0, 1.0]
    """
    xp = array_namespace(f)
    P = xp.exp(_log_plan(problem, f, g))
    row = xp.sum(xp.abs(xp.sum(P, axis=-1) - problem.a), axis=-1)
    return row, xp.sum(xp.abs(xp.sum(P, axis=-2) - problem.b), axis=-1)


def certified(solution: Sinkhorn, /, *, tol: float | None, require: bool) -> Sinkhorn:
    """Judge a solution by its errors: fill in ``converged``, or raise ``ConvergenceError``.

    Equation: none. Raises where the evidence is bad.

    Examples
    --------
    >>> solution = sinkhorn(np.eye(1), np.ones(1), np.ones(1), eps=1.0)
    >>> bool(certified(solution._replace(col_error=np.asarray(0.5)), tol=0.1, require=False).converged)
    False
    """
    xp = array_namespace(solution.f)
    bound = TOLERANCE if tol is None else tol
    converged = (solution.row_error <= bound) & (solution.col_error <= bound)
    for potential in (solution.f, solution.g):
        converged = converged & xp.all(xp.isfinite(potential), axis=-1)
    if require:
        if not (all_finite(solution.f) and all_finite(solution.g) and all_finite(solution.col_error)):
            raise ConvergenceError(
                f"the potentials are not finite: cost / eps is too large for {solution.f.dtype}; "
                "try a larger eps, scale_cost or float64"
            )
        if tol is not None and not bool(xp.all(converged)):
            row, col = (np.max(to_host(e)) for e in (solution.row_error, solution.col_error))
            raise ConvergenceError(
                f"no convergence in {solution.n_iter} iterations: marginal errors {row:.3g} (rows) "
                f"and {col:.3g} (columns), wanted {tol:.3g}; try more max_iter, a larger eps or scale_cost, "
                "f_init=gaussian_potential(x, y), or float64; require=False returns what there is"
            )
    return solution._replace(converged=converged)


def _all_below(errors: tuple[Array, Array], tol: float) -> bool:
    return bool(array_namespace(*errors).all((errors[0] <= tol) & (errors[1] <= tol)))


def _logsumexp(x: Array) -> Array:
    """``log Σ exp`` over the last axis, of which one element at least is finite."""
    xp = array_namespace(x)
    largest = xp.max(x, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - largest), axis=-1)) + largest[..., 0]


# Plans and values


def log_plan(cost: Array, a: Array, b: Array, solution: Sinkhorn, /) -> Array:
    """Logarithm of the entropic plan, ``-inf`` at padding.

    Equation: WFM-12. ``log aᵢ + log bⱼ + (fᵢ + gⱼ - Kᵢⱼ) / eps``.

    Parameters
    ----------
    cost : array, shape (..., n, m)
    a, b : array, shapes (..., n) and (..., m)
    solution : Sinkhorn

    Returns
    -------
    array, shape (..., n, m)

    Examples
    --------
    >>> one = np.ones(1)
    >>> float(log_plan(np.eye(1), one, one, sinkhorn(np.eye(1), one, one, eps=1.0))[0, 0])
    0.0
    """
    f, g, eps = check_solution(solution, a, b)
    return _log_plan(Problem(clear_padding(cost, a, b), a, b, eps, f), f, g)


def plan(cost: Array, a: Array, b: Array, solution: Sinkhorn, /) -> Array:
    """Entropic plan ``aᵢ bⱼ exp((fᵢ + gⱼ - Kᵢⱼ) / eps)``, 0 at padding. Parameters as for ``log_plan``.

    Equation: WFM-12.

    Examples
    --------
    >>> cost, half = np.zeros((2, 2)), np.full(2, 0.5)
    >>> plan(cost, half, half, sinkhorn(cost, half, half, eps=1.0)).round(9).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    return array_namespace(cost).exp(log_plan(cost, a, b, solution))


def transport_cost(cost: Array, a: Array, b: Array, solution: Sinkhorn, /) -> Array:
    """Cost ``⟨K, P⟩`` of the entropic plan, without its entropy. Shape (...); parameters as for ``log_plan``.

    Equation: WFM-12.

    Examples
    --------
    >>> cost, half = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.full(2, 0.5)
    >>> round(float(transport_cost(cost, half, half, sinkhorn(cost, half, half, eps=np.inf))), 9)
    0.5
    """
    return array_namespace(cost).sum(clear_padding(cost, a, b) * plan(cost, a, b, solution), axis=(-2, -1))


def dual_value(cost: Array, a: Array, b: Array, solution: Sinkhorn, /) -> Array:
    """Dual objective ``⟨f, a⟩ + ⟨g, b⟩ - eps (Σ P - 1)``. Shape (...); parameters as for ``log_plan``.

    Equation: WFM-12. Never above the entropic cost ``min ⟨K, P⟩ + eps KL(P | a ⊗ b)``, and equal to it at
    convergence. Its derivatives at fixed potentials, P for the cost, f and g for the weights, are then those
    of the entropic cost (envelope theorem), up to the marginal errors: the solution may be one of detached
    arrays.

    Examples
    --------
    >>> cost, half = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.full(2, 0.5)
    >>> round(float(dual_value(cost, half, half, sinkhorn(cost, half, half, eps=np.inf))), 9)
    0.5
    """
    f, g, eps = check_solution(solution, a, b)
    xp = array_namespace(cost)
    infinite = xp.isinf(eps)  # where eps (Σ P - 1) is its limit, Σ aᵢ bⱼ (fᵢ + gⱼ - Kᵢⱼ)
    unit, limit = xp.where(infinite, 1.0, eps), infinite[..., None, None]
    exponents = clear_padding(_exponents(clear_padding(cost, a, b), f, g, unit), a, b)
    excess = xp.where(limit, exponents, xp.expm1(xp.where(limit, 0.0, exponents)))
    surplus = unit * xp.sum(a[..., :, None] * b[..., None, :] * excess, axis=(-2, -1))
    return xp.sum(f * a, axis=-1) + xp.sum(g * b, axis=-1) - surplus


def _log_plan(problem: Problem, f: Array, g: Array) -> Array:
    cost, a, b, eps, _ = problem
    return _exponents(cost, f, g, eps) + log_weights(a)[..., :, None] + log_weights(b)[..., None, :]


def _exponents(cost: Array, f: Array, g: Array, eps: Array) -> Array:
    return (f[..., :, None] + g[..., None, :] - cost) / eps[..., None, None]
