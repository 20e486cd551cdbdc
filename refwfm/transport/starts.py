"""Warm starts of Sinkhorn's iteration: where from, whether they are any good, what they save.

A predicted potential may be wrong in any way: noise, infinite, NaN. The semi-dual judges it before it is
used, in two half-steps: it is a certificate, higher is closer to the optimum. A start that is not finite, or
worth less than zeros, is replaced by zeros, for each member of a batch by itself, and the result says so.

References
----------
META-OT : Amos, Luise, Cohen, Redko, "Meta Optimal Transport", ICML 2023.
Thornton and Cuturi, "Rethinking Initialization of the Sinkhorn Algorithm", 2022.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, check_floating, check_integer, device
from refwfm.measures import PointCloud, check_measure
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import Cost, Grid, Softmin, check_histograms, grid_sinkhorn, half_steps, marginal
from refwfm.transport.problem import check_start
from refwfm.transport.sinkhorn import Sinkhorn, sinkhorn


class WarmSinkhorn(NamedTuple):
    """A solution, and for which members (...) the start was used; the others started from zeros."""

    solution: Sinkhorn
    start_used: Array


ROUNDING = 16.0
"""Machine epsilons, of what its sums are made of, to which the worth of a start is known."""

Start = Callable[[PointCloud, PointCloud], Array]
"""From two clouds to a potential at the points of the first, in units of the squared distance."""


def zero_potential(x: PointCloud, y: PointCloud, /) -> Array:
    """Potential 0 at the points of x: where Sinkhorn's iteration starts by itself. Shape (..., n).

    Equation: META-OT-5. The start "zeros".

    Examples
    --------
    >>> zero_potential(*(PointCloud(np.ones((n, 1)), np.full(n, 1 / n)) for n in (2, 1))).tolist()
    [0.0, 0.0]
    """
    x, y = check_measure(x, PointCloud, "x"), check_measure(y, PointCloud, "y")
    check_floating(x=x.weights, y=y.weights)
    return 0.0 * (x.weights + y.weights[..., :1])


STARTS: dict[str, Start | None] = {"zeros": zero_potential, "gaussian": gaussian_potential, "amortised": None}
"""Starts by name; the amortised one is what a network predicts, and has to be given."""


def start_potential(name: str, x: PointCloud, y: PointCloud, /, *, predict: Start | None = None) -> Array:
    """Potential to start at, by the name of its method: a key of ``STARTS``. Shape (..., n).

    Equation: META-OT-5, META-OT-6.

    Parameters
    ----------
    name : str
        "zeros", "gaussian" (the closed form for the clouds' moments) or "amortised" (``predict(x, y)``).
    x, y : PointCloud
    predict : function, optional
        Needed for "amortised".

    Raises
    ------
    ValueError
        If the name is unknown, or ``predict`` missing.

    Examples
    --------
    >>> x = PointCloud(np.asarray([[0.0], [1.0]]), np.full(2, 0.5))
    >>> start_potential("amortised", x, x, predict=lambda x, y: x.points[:, 0]).tolist()
    [0.0, 1.0]
    """
    if name not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}; got {name!r}")
    start = STARTS[name] or predict
    if start is None:
        raise ValueError(f"the start {name!r} needs predict, a function of the two clouds")
    return start(x, y)


@np.errstate(all="ignore")  # what is not finite is not used
def usable_start(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> tuple[Array, Array]:
    """The start, less its mean under a, where it is worth as much as zeros; zeros elsewhere; and where.

    Equation: META-OT-5. Judged by the semi-dual: used if finite where a is positive and ``S(f) ≥ S(0)``,
    up to rounding.

    Parameters
    ----------
    f : array, shape (..., n), in the dtype of a and b. Units: cost. May hold NaN, infinity, anything.
    cost : array (..., n, m), or Grid
    a, b : array, shapes (..., n) and (..., m)
    eps, validate, minimum
        As for ``semidual_value``.

    Returns
    -------
    f : array, shape (..., n)
    start_used : array of bool, shape (...)

    Notes
    -----
    It costs two half-steps, as one iteration does. A start that is worth more than zeros can in principle
    still need more iterations; it never ends in another plan.

    Examples
    --------
    >>> start = np.asarray([[0.0, np.nan], [np.nan, 1.0]])
    >>> f, used = usable_start(start, np.ones((2, 2)), *np.eye(2), eps=1.0)
    >>> f.tolist(), used.tolist()  # only in the second is the NaN at an atom that weighs something
    ([[0.0, 0.0], [0.0, 0.0]], [True, False])
    """
    xp = check_floating(f=f, a=a, b=b)
    problem = check_histograms(cost, a, b, eps=eps, validate=validate)
    cost, a, b, epsilon, zeros = problem
    f = check_start(f, a, zeros, False) + zeros
    sound = xp.all(xp.isfinite(f), axis=-1)
    f = xp.where(sound[..., None], f, zeros)
    # A constant is worth nothing, and a large one would cost digits: first one of the values, which leaves
    # exactly 0 of a constant, and then the mean.
    top = xp.max(xp.where(a > 0, f, -math.inf + zeros), axis=-1, keepdims=True)
    f = xp.where(a > 0, f - top, zeros)
    f = xp.where(a > 0, f - xp.sum(f * a, axis=-1, keepdims=True), zeros)
    columns, _ = half_steps(problem, minimum)

    def worth(f: Array) -> tuple[Array, Array]:
        g = columns(f)
        value = xp.sum(f * a, axis=-1) + xp.sum(g * b, axis=-1)
        return value, xp.sum(xp.abs(f) * a, axis=-1) + xp.sum(xp.abs(g) * b, axis=-1)

    (value, size), (of_zeros, size_of_zeros) = worth(f), worth(zeros)
    rounding = ROUNDING * xp.finfo(f.dtype).eps * (size + size_of_zeros + epsilon)
    # Never true of NaN or infinity, in which what overflows ends.
    used = sound & xp.isfinite(value - rounding) & (value >= of_zeros - rounding)
    return xp.where(used[..., None], f, zeros), used


def warm_sinkhorn(
    cost: Cost,
    a: Array,
    b: Array,
    f_init: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
    solver: Callable[..., Sinkhorn] = sinkhorn,
    **options: Any,
) -> WarmSinkhorn:
    """Entropic transport from a start that may be useless: ``usable_start``, then Sinkhorn's iteration.

    Equation: META-OT-5. Whatever the start, the plan is the same, to the tolerance.

    Parameters
    ----------
    cost : array (..., n, m), or Grid
    a, b : array, shapes (..., n) and (..., m)
    f_init : array, shape (..., n). Units: cost.
    eps, validate, minimum
        As for ``usable_start``.
    solver : function
        ``sinkhorn`` or a twin of it; on a grid it is ``grid_sinkhorn``.
    **options
        Of the solver: ``tol``, ``max_iter``, ``require``, ``check_every``.

    Returns
    -------
    WarmSinkhorn

    Raises
    ------
    ConvergenceError, ValueError
        As ``sinkhorn`` does; but of ``f_init`` only for its shape and dtype, never for what is in it.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> found = warm_sinkhorn(np.eye(2), half, half, np.asarray([np.inf, 0.0]), eps=1.0)
    >>> bool(found.start_used), bool(found.solution.converged)
    (False, True)
    """
    f, used = usable_start(f_init, cost, a, b, eps=eps, validate=validate, minimum=minimum)
    options |= {"eps": eps, "validate": validate, "f_init": f}
    if isinstance(cost, Grid):
        if minimum is not None:
            options["minimum"] = minimum
        return WarmSinkhorn(grid_sinkhorn(cost, a, b, **options), used)
    return WarmSinkhorn(solver(cost, a, b, **options), used)


@np.errstate(all="ignore")  # what is not finite is in the errors
def error_curve(
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    n_iter: int,
    f_init: Array | None = None,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> Array:
    """Marginal errors of a start and after each of ``n_iter`` iterations, shape (n_iter + 1, ...).

    Equation: META-OT-5. ``‖P 1 - a‖₁ + ‖Pᵀ 1 - b‖₁``. Of the start (with g by the half-step) the rows alone
    are wrong, after an iteration the columns alone. No plan is made: the next half-step has the marginal.

    Parameters as for ``usable_start``, without replacement of what is useless; ``f_init`` is 0 when left out.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> error_curve(np.eye(2), half, half, eps=1.0, n_iter=2).tolist()  # zeros are right here
    [0.0, 0.0, 0.0]
    """
    n_iter = check_integer(n_iter, "n_iter", low=0)
    problem = check_histograms(cost, a, b, eps=eps, f_init=f_init, validate=validate)
    columns, rows = half_steps(problem, minimum)
    _, a, b, epsilon, f = problem
    xp, g = array_namespace(f), columns(f)
    following = rows(g)
    errors = [xp.sum(xp.abs(marginal(a, f, following, epsilon) - a), axis=-1)]
    for _ in range(n_iter):
        f, before = following, g
        g = columns(f)
        errors.append(xp.sum(xp.abs(marginal(b, before, g, epsilon) - b), axis=-1))
        following = rows(g)
    return xp.stack(errors)


def iterations_to(errors: Array, threshold: float, /) -> Array:
    """First iteration after which an error is at most a threshold, shape (...); -1 where none is.

    Equation: META-OT-5. As ``sinkhorn`` counts with ``check_every=1``: at least 1, the start does not count.

    Parameters
    ----------
    errors : array, shape (n_iter + 1, ...), of ``error_curve``
    threshold : float

    Examples
    --------
    >>> iterations_to(np.asarray([[0.5, 0.5], [0.2, 0.5], [0.1, 0.5]]), 0.2).tolist()
    [1, -1]
    """
    xp = check_floating(errors=errors)
    below = errors[1:, ...] <= threshold
    if below.shape[0] == 0:  # nothing but the start
        return -xp.ones(below.shape[1:], dtype=xp.int64, device=device(errors))
    first = xp.argmax(xp.astype(below, xp.int64), axis=0) + 1
    return xp.where(xp.any(below, axis=0), first, -xp.ones_like(first))
