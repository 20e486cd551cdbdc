"""Entropic transport between histograms on one product grid, with the squared Euclidean cost.

There ``K_ij = Σ_k (x_k,i - x_k,j)²`` is a sum over the axes, so that the Gibbs kernel ``exp(-K / eps)`` is a
Kronecker product of one small kernel for each axis: a soft minimum over all atoms is one along each axis
after the other. For images of 28 x 28 pixels that is 44 thousand exponentials instead of 615 thousand, and no
array of 784 x 784. Everything here is in the log domain; ``backends`` has a twin made of matrix products.

Weights and potentials are flat, (..., n), in the order of ``grid_points``: a solution is the one that
``sinkhorn`` finds for the dense cost, and all functions of ``Sinkhorn`` take it.

References
----------
Solomon et al., "Convolutional Wasserstein Distances", 2015.
Peyré and Cuturi, "Computational Optimal Transport", 2019, section 4.3.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from refwfm._array import Array, array_namespace, check_floating, device, expand, machine_eps, transpose
from refwfm.measures import check_broadcast
from refwfm.transport.problem import (
    Problem,
    check_eps,
    check_problem,
    check_start,
    check_weights,
    log_weights,
)
from refwfm.transport.sinkhorn import (
    CHECK_EVERY,
    TOLERANCE,
    Sinkhorn,
    certified,
    check_iterations,
    softmin,
)


class Grid(NamedTuple):
    """All points whose k-th coordinate is one of ``axes[k]``; the last axis is the fastest.

    Attributes
    ----------
    axes : tuple of arrays, shapes (s_k,). Units: those of the data. In any order; values may repeat.
    """

    axes: tuple[Array, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return tuple(axis.shape[0] for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)


Cost: TypeAlias = Array | Grid
"""A cost matrix (..., n, m), or the grid whose squared distances are the cost."""

Softmin: TypeAlias = Callable[[Cost, Array, Array, Array], Array]
"""See ``sinkhorn.softmin`` and ``grid_softmin``."""


def unit_grid(shape: tuple[int, ...], /, *, like: Array) -> Grid:
    """Grid on the unit cube for images: the first axis, of rows, from 1 down to 0, the others from 0 to 1.

    Equation: META-OT-7. The grid of the images; row 0 is the top. ``like`` fixes library, dtype and device.

    Examples
    --------
    >>> [axis.tolist() for axis in unit_grid((3, 2), like=np.zeros(0)).axes]
    [[1.0, 0.5, 0.0], [0.0, 1.0]]
    """
    xp = check_floating(like=like)
    ends = [(1.0, 0.0)] + [(0.0, 1.0)] * (len(shape) - 1)
    options = {"dtype": like.dtype, "device": device(like)}
    axes = (xp.linspace(*end, n, **options) for end, n in zip(ends, shape, strict=True))
    return Grid(tuple(axes))


def grid_points(grid: Grid, /) -> Array:
    """Points of a grid, shape (n, d), in the order of flat weights.

    Equation: META-OT-7.

    Examples
    --------
    >>> grid_points(Grid((np.asarray([1.0, 0.0]), np.asarray([5.0])))).tolist()
    [[1.0, 5.0], [0.0, 5.0]]
    """
    xp = check_grid(grid)
    return xp.stack([xp.reshape(part, (-1,)) for part in xp.meshgrid(*grid.axes, indexing="ij")], axis=-1)


def axis_costs(grid: Grid, /) -> tuple[Array, ...]:
    """Squared distances (s_k, s_k) along each axis: the cost of two atoms is the sum over the axes.

    Equation: META-OT-7.

    Examples
    --------
    >>> axis_costs(Grid((np.asarray([0.0, 3.0]),)))[0].tolist()
    [[0.0, 9.0], [9.0, 0.0]]
    """
    check_grid(grid)
    return tuple((axis[:, None] - axis[None, :]) ** 2 for axis in grid.axes)


@np.errstate(divide="ignore")  # the logarithm of 0, in a row without weight, is -inf
def grid_softmin(grid: Grid, potential: Array, weights: Array, eps: Array, /) -> Array:
    """Soft minimum ``-eps log Σⱼ wⱼ exp((pⱼ - Kᵢⱼ) / eps)`` at every point of a grid, axis by axis.

    Equation: META-OT-7. ``sinkhorn.softmin`` of the dense cost, and its limit where that takes it.

    Parameters
    ----------
    grid : Grid
    potential, weights : array, shape (..., n)
    eps : array, shape (...)

    Returns
    -------
    array, shape (..., n)

    Notes
    -----
    The largest temporary has the size of the weights times the longest axis.

    Examples
    --------
    >>> grid = Grid((np.asarray([0.0, 1.0]),))
    >>> grid_softmin(grid, np.asarray([-1.0, 5.0]), np.asarray([1.0, 0.0]), np.asarray(0.5)).tolist()
    [1.0, 2.0]
    """
    costs, d = axis_costs(grid), len(grid.axes)
    xp = check_floating(grid=grid.axes[0], potential=potential, weights=weights, eps=eps)
    flat = is_flat(costs, potential, eps)
    mean = _mean_cost(costs, weights, grid.shape) - xp.sum(weights * potential, axis=-1)[..., None]
    eps = xp.where(flat, xp.ones_like(eps), eps)  # any number, where it is not used
    logs = potential / eps[..., None] + log_weights(weights)
    logs = xp.reshape(logs, (*logs.shape[:-1], *grid.shape))
    for k, cost in enumerate(costs):
        lines = xp.moveaxis(logs, k - d, -1)
        lines = _logsumexp(lines[..., None, :] - cost / expand(eps, d + 1))
        logs = xp.moveaxis(lines, -1, k - d)
    logs = xp.reshape(logs, (*logs.shape[:-d], grid.size))
    return xp.where(flat[..., None], mean, -eps[..., None] * logs)


def is_flat(costs: tuple[Array, ...], potential: Array, eps: Array, /) -> Array:
    """Whether eps is so large that the soft minimum is the mean, shape (...).

    Equation: none. A threshold of rounding.

    Examples
    --------
    >>> bool(is_flat((np.eye(2),), np.zeros(2), np.asarray(np.inf)))
    True
    """
    xp = check_floating(potential=potential, eps=eps)
    largest = sum(xp.max(cost) for cost in costs) + xp.max(xp.abs(potential), axis=-1)
    return eps * machine_eps(potential) ** 0.5 > largest


def _mean_cost(costs: tuple[Array, ...], weights: Array, shape: tuple[int, ...]) -> Array:
    """``Σⱼ wⱼ Kᵢⱼ``, shape (..., n)."""
    xp, d = array_namespace(weights), len(shape)
    weights = xp.reshape(weights, (*weights.shape[:-1], *shape))
    total = xp.zeros_like(weights)
    for k, cost in enumerate(costs):
        others = tuple(j - d for j in range(d) if j != k)
        marginal = xp.sum(weights, axis=others) if others else weights
        mean = (cost @ marginal[..., None])[..., 0]
        total = total + xp.reshape(mean, (*mean.shape[:-1], *(1,) * k, shape[k], *(1,) * (d - 1 - k)))
    return xp.reshape(total, (*total.shape[:-d], math.prod(shape)))


def _logsumexp(x: Array) -> Array:
    """``log Σ exp`` over the last axis, ``-inf`` where all elements are."""
    xp = array_namespace(x)
    largest = xp.max(x, axis=-1, keepdims=True)
    largest = xp.where(largest == -math.inf, xp.zeros_like(largest), largest)
    return xp.log(xp.sum(xp.exp(x - largest), axis=-1)) + largest[..., 0]


# Problems on a grid or with any cost


def check_grid(grid: Grid, /) -> Any:
    """Raise unless a grid has axes of at least one point, of one library and dtype; return the namespace."""
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a Grid(axes); got a {type(grid).__name__}")
    if not isinstance(grid.axes, tuple) or not grid.axes:
        raise ValueError(f"grid must have a tuple of at least one axis; got {type(grid.axes).__name__}")
    xp = check_floating(**{f"grid.axes[{k}]": axis for k, axis in enumerate(grid.axes)})
    if any(axis.ndim != 1 or axis.shape[0] < 1 for axis in grid.axes):
        shapes = ", ".join(str(tuple(axis.shape)) for axis in grid.axes)
        raise ValueError(f"the axes of a grid must have shapes (s,) with s >= 1; got {shapes}")
    return xp


def check_histograms(
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    f_init: Array | None = None,
    validate: bool = True,
) -> Problem:
    """Check a problem with any cost (``check_problem``) or on a grid; ``Problem.cost`` is what was given."""
    if not isinstance(cost, Grid):
        return check_problem(cost, a, b, eps=eps, f_init=f_init, validate=validate)
    check_grid(cost)
    xp = check_floating(grid=cost.axes[0], a=a, b=b)
    if a.ndim < 1 or b.ndim < 1 or {a.shape[-1], b.shape[-1]} != {cost.size}:
        raise ValueError(
            f"a and b must have shapes (..., {cost.size}), one weight for each point of the grid; "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    check_broadcast(a=a.shape[:-1], b=b.shape[:-1])
    if validate:
        a, b = check_weights(a, "a"), check_weights(b, "b")
        if not all(bool(xp.all(xp.isfinite(part))) for part in axis_costs(cost)):
            raise ValueError("grid must have finite coordinates whose squared distances are finite too")
    batch = np.broadcast_shapes(tuple(a.shape[:-1]), tuple(b.shape[:-1]))
    # Made of shapes alone: eps has no derivative, and must not be computed from weights, which have one.
    eps = check_eps(eps, a, validate=validate) + xp.zeros(batch, dtype=a.dtype, device=device(a))
    f = xp.zeros((*eps.shape, cost.size), dtype=a.dtype, device=device(a))
    if f_init is not None:
        f = f + check_start(f_init, a, f, validate)
    return Problem(cost, a, b, eps, f)


def half_steps(
    problem: Problem, minimum: Softmin | None = None, /
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The two halves of Sinkhorn's iteration: ``g = columns(f)`` and ``f = rows(g)``.

    Equation: META-OT-2. ``minimum`` is a twin of the soft minimum, if there is one.

    Examples
    --------
    >>> grid = Grid((np.asarray([0.0, 1.0]),))
    >>> columns, rows = half_steps(check_histograms(grid, *np.eye(2), eps=1.0))
    >>> columns(-np.ones(2)).tolist(), rows(-np.ones(2)).tolist()
    ([1.0, 2.0], [2.0, 1.0])
    """
    cost, a, b, eps, _ = problem
    if isinstance(cost, Grid):
        minimum, across = minimum or grid_softmin, cost
    else:
        minimum, across = minimum or softmin, transpose(cost)
    return lambda f: minimum(across, f, a, eps), lambda g: minimum(cost, g, b, eps)


def marginal(weights: Array, old: Array, new: Array, eps: Array, /) -> Array:
    """Marginal of the plan, given potentials and their next half-step: ``w exp((old - new) / eps)``.

    Equation: META-OT-2. ``Σⱼ Pᵢⱼ = aᵢ exp((fᵢ - f⁺ᵢ) / eps)`` where ``f⁺`` is the half-step of g. No sum, no
    plan.

    Examples
    --------
    >>> marginal(np.asarray([1.0, 0.0]), np.zeros(2), np.zeros(2), np.asarray(1.0)).tolist()
    [1.0, 0.0]
    """
    xp = check_floating(weights=weights, old=old, new=new, eps=eps)
    step = xp.where(weights > 0, old - new, xp.zeros_like(old))
    return xp.exp(log_weights(weights) + step / eps[..., None])


@np.errstate(all="ignore")  # what is not finite is in the errors
def grid_sinkhorn(
    grid: Grid,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    tol: float | None = TOLERANCE,
    max_iter: int = 10_000,
    f_init: Array | None = None,
    require: bool = True,
    validate: bool = True,
    check_every: int = CHECK_EVERY,
    minimum: Softmin = grid_softmin,
) -> Sinkhorn:
    """Entropic transport between histograms on a grid: ``sinkhorn`` of its squared distances, axis by axis.

    Equation: META-OT-7. The same iterates, errors and stopping rule, up to rounding.

    Parameters
    ----------
    grid : Grid
    a, b : array, shape (..., n); leading axes broadcast
        Non-negative, each summing to 1.
    eps, tol, max_iter, f_init, require, validate, check_every
        As for ``sinkhorn``; eps is absolute. Looking at the errors costs nothing: the next half-step has
        them.
    minimum : function
        ``grid_softmin``, or a twin of it.

    Returns
    -------
    Sinkhorn
        Where a weight is 0 potentials are those of the grid's cost, while ``sinkhorn`` clears that cost. The
        errors are those of the half-steps, without the rounding of f and g themselves.

    Raises
    ------
    ConvergenceError, ValueError
        As ``sinkhorn`` does.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> found = grid_sinkhorn(Grid((np.asarray([0.0, 1.0]),)), half, half, eps=1.0, check_every=1)
    >>> found.n_iter, found.g.round(4).tolist()  # log(2 / (1 + 1 / e)): symmetric at once
    (1, [0.3799, 0.3799])
    """
    check_iterations(tol, max_iter, check_every)
    check_grid(grid)
    problem = check_histograms(grid, a, b, eps=eps, f_init=f_init, validate=validate)
    columns, rows = half_steps(problem, minimum)
    _, a, b, epsilon, f = problem
    xp, g = array_namespace(f), columns(f)
    for n_iter in range(1, max_iter + 1):
        f = rows(g)
        following = columns(f)
        if n_iter == max_iter or (tol is not None and (n_iter - 1) % check_every == 0):
            column = xp.sum(xp.abs(marginal(b, g, following, epsilon) - b), axis=-1)
            if n_iter == max_iter or (tol is not None and bool(xp.all(column <= tol))):
                break
        g = following
    row = xp.sum(xp.abs(marginal(a, f, f, epsilon) - a), axis=-1)  # exact, unless f is not finite
    solution = Sinkhorn(f, g, epsilon, row, column, n_iter, column <= 0)
    return certified(solution, tol=tol, require=require)
