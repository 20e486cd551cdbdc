"""What entropic transport is used for: maps defined everywhere, and a divergence between clouds.

The potentials of ``sinkhorn`` live on the atoms. Sinkhorn's own update, read at any point, extends them, and
the gradient of the extension is a map: the mean of the target under the plan's conditional law. It is smooth,
and pulled towards the centre by eps; the *debiased* versions subtract what a cloud does to itself.

References
----------
WFM : Haviv, Pooladian, Pe'er, Amos, "Wasserstein Flow Matching", ICML 2025, appendix A.
Pooladian and Niles-Weed, "Entropic estimation of optimal transport maps", 2021.
Pooladian, Cuturi, Niles-Weed, "Debiaser Beware: Pitfalls of Centering Regularized Transport Maps", 2022.
Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", 2019.
"""

import math
from typing import Any, NamedTuple

from refwfm._array import Array, array_namespace, check_floating, check_integer
from refwfm._derivatives import detached, without_derivative
from refwfm.clouds import check_cloud_pair
from refwfm.measures import PointCloud, check_broadcast, check_measure
from refwfm.transport.problem import check_eps, check_problem, check_weights, clear_points, log_weights
from refwfm.transport.sinkhorn import TOLERANCE, Sinkhorn, dual_value, sinkhorn, softmin, sq_euclidean_cost

SELF_UPDATES = 40
"""Averaged updates that start the transport of a cloud to itself: they leave 2^-40 of the first error."""


class SinkhornDivergence(NamedTuple):
    """Value (...) of a Sinkhorn divergence, and the three solutions it is made of."""

    value: Array
    xy: Sinkhorn
    xx: Sinkhorn
    yy: Sinkhorn


# Maps


def extend_potential(points: Array, y: Array, b: Array, g: Array, /, *, eps: float | Array) -> Array:
    """Potential f at any points, from the potential g on the atoms y of weights b.

    Equation: WFM-U9. ``f(x) = -eps log Σⱼ bⱼ exp((gⱼ - ‖x - yⱼ‖²) / eps)``, which on the source's atoms is f
    itself. (For the other potential, give the source's points, weights and f.)

    Parameters
    ----------
    points : array, shape (..., q, d)
    y : array, shape (..., m, d)
    b, g : array, shape (..., m)
        Weights are non-negative and sum to 1; those of 0 are padding.
    eps : float, or array of shape (...). Absolute, as in ``Sinkhorn.eps``.

    Returns
    -------
    array, shape (..., q). Units: data squared. Each is that of its own point, whatever the others are.

    Examples
    --------
    >>> y, b = np.asarray([[0.0]]), np.ones(1)
    >>> extend_potential(np.asarray([[3.0]]), y, b, np.zeros(1), eps=1.0).tolist()
    [9.0]
    """
    y, b = _check_target(points, y, b, g)
    return softmin(sq_euclidean_cost(points, y), g, b, check_eps(eps, points))


def entropic_map(points: Array, y: Array, b: Array, g: Array, /, *, eps: float | Array) -> Array:
    """Entropic map at any points: the mean of the target under the plan's conditional law.

    Equation: WFM-13. ``T(x) = x - ∇f(x) / 2 = Σⱼ bⱼ yⱼ exp((gⱼ - ‖x - yⱼ‖²) / eps) / Σⱼ bⱼ exp(...)``. On the
    source's atoms it is ``barycentric_projection`` of the plan. Parameters as for ``extend_potential``.

    Returns
    -------
    array, shape (..., q, d)

    Examples
    --------
    >>> y, b = np.asarray([[0.0], [2.0]]), np.full(2, 0.5)
    >>> entropic_map(np.asarray([[1.0]]), y, b, np.zeros(2), eps=1.0).tolist()
    [[1.0]]
    """
    y, b = _check_target(points, y, b, g)
    xp = array_namespace(points)
    exponents = (g[..., None, :] - sq_euclidean_cost(points, y)) / check_eps(eps, points)[..., None, None]
    exponents = exponents + log_weights(b)[..., None, :]
    shares = xp.exp(exponents - xp.max(exponents, axis=-1, keepdims=True))
    return (shares @ y) / xp.sum(shares, axis=-1, keepdims=True)


def debiased_entropic_map(
    points: Array, x: PointCloud, y: PointCloud, g_xy: Array, g_xx: Array, /, *, eps: float | Array
) -> Array:
    """Entropic map without the pull of eps towards the centre: ``x - ∇(f_xy - f_xx)(x) / 2``.

    Equation: WFM-13. Debiased: ``x + T_xy(x) - T_xx(x)``, with the entropic maps to y and to x itself.

    Parameters
    ----------
    points : array, shape (..., q, d)
    x, y : PointCloud
    g_xy, g_xx : array, shapes (..., m) and (..., n)
        Second potentials of the problems (x, y) and (x, x): ``xy.g`` and ``xx.g`` of ``sinkhorn_divergence``.
    eps : float, or array of shape (...)

    Returns
    -------
    array, shape (..., q, d)

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([[0.0], [1.0]]) + m, np.full(2, 0.5)) for m in (0.0, 5.0))
    >>> found = sinkhorn_divergence(x, y, eps=1.0, tol=1e-9)
    >>> debiased_entropic_map(x.points, x, y, found.xy.g, found.xx.g, eps=1.0).round(6).tolist()
    [[5.0], [6.0]]
    """
    check_measure(x, PointCloud, "x"), check_measure(y, PointCloud, "y")
    there = entropic_map(points, y.points, y.weights, g_xy, eps=eps)
    return points + there - entropic_map(points, x.points, x.weights, g_xx, eps=eps)


def barycentric_projection(plan: Array, y: Array, /) -> Array:
    """Mean target ``Σⱼ Pᵢⱼ yⱼ / Σⱼ Pᵢⱼ`` of each row of a plan; 0 for rows without mass.

    Equation: WFM-13. On the sample.

    Parameters
    ----------
    plan : array, shape (..., n, m), non-negative
    y : array, shape (..., m, d)
        Points that no row reaches have no influence, NaN included.

    Returns
    -------
    array, shape (..., n, d)

    Examples
    --------
    >>> barycentric_projection(np.asarray([[0.25, 0.25], [0.5, 0.0]]), np.asarray([[0.0], [2.0]])).tolist()
    [[1.0], [0.0]]
    """
    xp = check_floating(plan=plan, y=y)
    if plan.ndim < 2 or y.ndim < 2 or plan.shape[-1] != y.shape[-2]:
        raise ValueError(
            "plan and y must have shapes (..., n, m) and (..., m, d); "
            f"got {tuple(plan.shape)} and {tuple(y.shape)}"
        )
    y = clear_points(y, xp.sum(plan, axis=-2))
    mass = xp.sum(plan, axis=-1, keepdims=True)
    return (plan @ y) / xp.where(mass == 0, xp.ones_like(mass), mass)


def epsilon_schedule(n: int, d: int, /, scale: float = 1.0) -> float:
    """Regularisation that balances variance and bias of the entropic map from n samples in d dimensions.

    Equation: WFM-14. ``scale n^(-1/(d+4))``, for which the error bound
    ``n^(-1/2) log(n) eps^(-d/2) + eps²`` is ``log(n) n^(-2/(d+4))``.

    Examples
    --------
    >>> epsilon_schedule(32, 1)
    0.5
    """
    n, d = check_integer(n, "n", low=1), check_integer(d, "d", low=1)
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite; got {scale}")
    return scale * n ** (-1.0 / (d + 4))


def _check_target(points: Array, y: Array, b: Array, g: Array) -> tuple[Array, Array]:
    """Raise unless the arrays fit and weights are weights; return target and weights, padding cleared."""
    check_floating(points=points, y=y, b=b, g=g)
    if min(points.ndim, y.ndim) < 2 or points.shape[-1] != y.shape[-1]:
        raise ValueError(
            "points and y must have shapes (..., q, d) and (..., m, d); "
            f"got {tuple(points.shape)} and {tuple(y.shape)}"
        )
    if not b.ndim or not g.ndim or not y.shape[-2] == b.shape[-1] == g.shape[-1]:
        raise ValueError(
            f"b and g must have shape (..., {y.shape[-2]}), one number for each point of y; "
            f"got {tuple(b.shape)} and {tuple(g.shape)}"
        )
    check_broadcast(points=points.shape[:-2], y=y.shape[:-2], b=b.shape[:-1], g=g.shape[:-1])
    return clear_points(y, b), check_weights(b, "b")


# Divergence


def sinkhorn_divergence(
    x: PointCloud,
    y: PointCloud,
    /,
    *,
    eps: float | Array,
    scale_cost: str | float | None = None,
    tol: float | None = TOLERANCE,
    max_iter: int = 10_000,
    require: bool = True,
    validate: bool = True,
) -> SinkhornDivergence:
    """Sinkhorn divergence ``OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2`` of clouds, with the entropic cost as OT.

    Equation: WFM-Div. Non-negative, zero for equal measures only; between the squared
    2-Wasserstein distance (eps → 0) and that of the means (eps → ∞). The absolute eps of the pair (x, y) is
    used for all three.

    Parameters
    ----------
    x, y : PointCloud, points (..., n, d) and (..., m, d); leading axes broadcast
    eps, scale_cost, tol, max_iter, require, validate
        As for ``sinkhorn``.

    Returns
    -------
    SinkhornDivergence
        Value of shape (...), units data squared, and three solutions.

    Notes
    -----
    The value is differentiable in points, weights and eps, by the envelope theorem: from the plans and
    potentials, not through the iterations, and exact up to the marginal errors. The solutions have no
    derivative.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([[0.0], [1.0]]) + m, np.full(2, 0.5)) for m in (0.0, 5.0))
    >>> round(float(sinkhorn_divergence(x, y, eps=1.0, tol=1e-9).value), 6)
    25.0
    """
    x, y = check_cloud_pair(x, y, validate=validate)

    options: dict[str, Any] = {"tol": tol, "max_iter": max_iter, "require": require, "validate": validate}
    cost = sq_euclidean_cost(x.points, y.points)
    eps = check_problem(
        cost, *(c.weights for c in (x, y)), eps=eps, scale_cost=scale_cost, validate=validate
    ).eps
    values, solutions = zip(
        *(_transport(*pair, eps, options) for pair in ((x, y), (x, x), (y, y))), strict=True
    )
    return SinkhornDivergence(values[0] - 0.5 * values[1] - 0.5 * values[2], *solutions)


def _transport(x: PointCloud, y: PointCloud, eps: Array, options: dict[str, Any]) -> tuple[Array, Sinkhorn]:
    """Entropic cost from one cloud to another, or to itself."""
    cost, a, b = sq_euclidean_cost(x.points, y.points), x.weights, y.weights
    fixed, fixed_eps = [detached(array) for array in (cost, a, b)], detached(eps)
    start = _self_potential(fixed[0], fixed[1], fixed_eps) if x is y else None
    solution = sinkhorn(*fixed, eps=fixed_eps, f_init=start, **options)
    value = dual_value(cost, a, b, solution._replace(eps=eps))
    f, g = (without_derivative(v, "a potential", *x, *y, eps) for v in (solution.f, solution.g))
    return value, solution._replace(f=f, g=g)


def _self_potential(cost: Array, a: Array, eps: Array) -> Array:
    """Potential of a cloud's transport to itself, nearly: where to start.

    Sinkhorn's own updates are slow where atoms are far apart for this eps. The potentials are equal here, and
    the *mean* of old and new f halves the error or better, as the kernel is positive definite.
    """
    f = 0.0 * a + array_namespace(a).zeros_like(eps)[..., None]
    for _ in range(SELF_UPDATES):
        f = 0.5 * (f + softmin(cost, f, a, eps))
    return f
