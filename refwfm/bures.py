"""Bures-Wasserstein geometry: optimal transport between Gaussians in closed form.

Between mu = N(m_mu, A) and nu = N(m_nu, B) the optimal map is affine with a symmetric positive matrix C
(the Gelbrich map), the geodesic is McCann's interpolation, and distance, exponential and velocity have
closed forms. The textbook writes them with roots and inverses of A and loses half of the digits where a
covariance is near-singular. Here everything is built on one pair of factors

    A = L Lᵀ,   B = K Kᵀ,   with K turned so that Lᵀ K is symmetric positive semi-definite,

("Procrustes factors", WFM-8): then ``C L = K``, the geodesic's covariance is ``M Mᵀ`` with
``M = (1 - t) L + t K``, the squared distance of the covariances is ``‖L - K‖²``, and the velocity S
solves ``S M = K - L``. Nothing is inverted before it must be, and singular covariances need no special case.

Tangent vectors at N(m, A) are affine fields ``v(x) = a + S (x - m)`` with S symmetric: a ``Tangent(a, S)``.
The same curve seen in Euclidean coordinates moves with ``EuclideanTangent(dm/dt, dA/dt)``.

References
----------
WFM : Haviv, Pooladian, Pe'er, Amos, "Wasserstein Flow Matching", ICML 2025 (ids: the equation ledger).
Takatsu, "Wasserstein geometry of Gaussian measures", Osaka J. Math. 48 (2011).
Bhatia, Jain, Lim, "On the Bures-Wasserstein distance between positive definite matrices", 2019.
"""

from typing import NamedTuple

from refwfm._array import Array, array_namespace, eps, expand, eye, sq_frobenius, symmetrize, transpose
from refwfm._array import sq_norm as _sq_norm
from refwfm.measures import (
    Gaussian,
    SingularCovarianceError,
    check_broadcast,
    check_families,
    check_pair,
)
from refwfm.psd import factor, nuclear_norm, procrustes_factors, solve_lift, solve_lyapunov

PAIRWISE_BLOCK = 2**22
"""Elements of the largest temporary that ``pairwise_sq_distance`` makes."""


class Tangent(NamedTuple):
    """The affine field ``v(x) = mean + lift (x - m)`` on N(m, cov): (..., d) and (..., d, d) symmetric."""

    mean: Array
    lift: Array


class EuclideanTangent(NamedTuple):
    """Time derivatives of mean (..., d) and covariance (..., d, d) along a curve of Gaussians."""

    mean: Array
    cov: Array


# Maps, geodesics, velocities


def gelbrich_map(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Matrix C of the optimal map ``T(x) = m_nu + C (x - m_mu)`` between Gaussians.

    Equation: WFM-U4. ``C = A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2}``, the symmetric positive
    semi-definite solution of ``C A C = B``. Where A is singular and a map still exists, C is the identity
    on the directions that neither A nor B reaches.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast
    validate : bool
        Check values, and that a map exists.

    Returns
    -------
    array, shape (..., d, d), symmetric

    Raises
    ------
    SingularCovarianceError
        If nu reaches directions that a singular mu does not: no map exists, only plans.
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    C = solve_lift(L, K, unreached=1.0)  # and not log + I, which loses a C that is small
    if validate:
        _check_map_exists(L, K, C @ L - K, "mu")
    return C


def transport(x: Array, mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Images ``m_nu + C (x - m_mu)`` of points under the optimal map from mu to nu.

    Equation: WFM-U4.

    Parameters
    ----------
    x : array, shape (..., n, d)
    mu, nu : Gaussian, mean (..., d), cov (..., d, d)

    Returns
    -------
    array, shape (..., n, d)
    """
    if x.ndim < 2 or x.shape[-1] != mu.mean.shape[-1]:
        raise ValueError(f"x must have shape (..., n, {mu.mean.shape[-1]}); got {tuple(x.shape)}")
    C = gelbrich_map(mu, nu, validate=validate)
    return nu.mean[..., None, :] + (x - mu.mean[..., None, :]) @ C


def log(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Tangent:
    """Logarithm map: the velocity at mu of the geodesic to nu, ``T - id = (m_nu - m_mu, C - I)``.

    Equation: WFM-U2. Raises as ``gelbrich_map`` does.
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    return Tangent(nu.mean - mu.mean, _lift_at_source(L, K, "mu", validate))


def exp(mu: Gaussian, v: Tangent, /) -> Gaussian:
    """Exponential map: mu pushed forward by ``id + v``, i.e. ``N(m + a, (I + S) A (I + S))``.

    Equation: WFM-U2. The covariance is positive semi-definite whatever the symmetric S; the curve is a
    shortest path only while I + S is positive semi-definite.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
    v : Tangent, mean (..., d), lift (..., d, d)
    """
    _check_tangent(mu, v)
    push = eye(mu.mean.shape[-1], mu.cov) + v.lift
    return Gaussian(mu.mean + v.mean, symmetrize(push @ mu.cov @ transpose(push)))


def path(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> tuple[Gaussian, Tangent]:
    """Point and Riemannian velocity at time t of the geodesic from mu to nu.

    Equation: WFM-8 and WFM-10. ``m_t = (1-t) m_mu + t m_nu``, ``Σ_t = M Mᵀ``, ``M = (1-t) L + t K``;
    velocity ``(m_nu - m_mu, S_t)`` with ``S_t M = K - L``, which is ``(C - I) ((1-t) I + t C)⁻¹``
    where C exists. (One call, because a training step needs both and they share the factors.)

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast
    t : float or array, shape (...)
        Times in [0, 1]; 0 is mu.
    validate : bool
        Check values and that the velocity exists.

    Returns
    -------
    Gaussian, Tangent
        At t = 0 and t = 1 the end points themselves; velocities ``C - I`` and ``I - C⁻¹``.

    Raises
    ------
    SingularCovarianceError
        If t is 0 (or 1) and no velocity exists because nu reaches directions that mu does not (or the
        other way round). For 0 < t < 1 it always exists.
    ValueError
        If shapes or values are wrong, or t is outside [0, 1].
    """
    mu, nu, L, K = _geodesic(mu, nu, t, validate)
    if validate:
        _check_velocity_exists(L, K, t)
    M = _factor_at(L, K, t)
    point = _point(mu, nu, M, t)
    return point, Tangent(_mean_velocity(mu, nu, point), solve_lift(M, K - L))


def euclidean_path(
    mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True
) -> tuple[Gaussian, EuclideanTangent]:
    """Point of the geodesic from mu to nu at time t, and the derivative of its mean and covariance.

    Equation: WFM-8 and WFM-9. ``dΣ/dt = Ṁ Mᵀ + M Ṁᵀ`` with ``Ṁ = K - L``; exists for every t and every
    pair. Parameters as for ``path``.
    """
    mu, nu, L, K = _geodesic(mu, nu, t, validate)
    M = _factor_at(L, K, t)
    half = (K - L) @ transpose(M)
    point = _point(mu, nu, M, t)
    return point, EuclideanTangent(_mean_velocity(mu, nu, point), half + transpose(half))


def interpolate(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> Gaussian:
    """Geodesic (McCann interpolation) from mu to nu at time t.

    Equation: WFM-8. ``N((1-t) m_mu + t m_nu, T_t A T_t)``, ``T_t = (1-t) I + t C``; for any
    positive semi-definite pair. Parameters as for ``path``.
    """
    mu, nu, L, K = _geodesic(mu, nu, t, validate)
    return _point(mu, nu, _factor_at(L, K, t), t)


def velocity(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> Tangent:
    """Riemannian velocity at time t of the geodesic from mu to nu, a tangent vector at its point mu_t.

    Equation: WFM-10. ``(m_nu - m_mu, (C - I) ((1-t) I + t C)⁻¹)``. Parameters and errors as for ``path``.
    """
    return path(mu, nu, t, validate=validate)[1]


def euclidean_velocity(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> EuclideanTangent:
    """Derivative of mean and covariance along the geodesic from mu to nu at time t.

    Equation: WFM-9. Parameters as for ``path``.
    """
    return euclidean_path(mu, nu, t, validate=validate)[1]


def to_euclidean(cov: Array, v: Tangent, /) -> EuclideanTangent:
    """Derivative of mean and covariance of N(m, cov) when it moves with the affine field v.

    Equation: WFM-9. ``dΣ/dt = S Σ + Σ S``. ``from_euclidean`` undoes it where cov is positive definite.
    """
    half = v.lift @ cov
    return EuclideanTangent(v.mean, half + transpose(half))


def from_euclidean(cov: Array, v: EuclideanTangent, /) -> Tangent:
    """Affine field that moves N(m, cov) with the given derivatives: solves ``S Σ + Σ S = dΣ/dt``.

    Equation: WFM-9 (a Lyapunov equation). In the eigenbasis ``S̃ᵢⱼ = D̃ᵢⱼ / (λᵢ + λⱼ)``, zero where
    both eigenvalues vanish.

    Parameters
    ----------
    cov : array, shape (..., d, d)
    v : EuclideanTangent, mean (..., d), cov (..., d, d) symmetric
    """
    return Tangent(v.mean, solve_lyapunov(cov, v.cov))


def _geodesic(
    mu: Gaussian, nu: Gaussian, t: Array, validate: bool
) -> tuple[Gaussian, Gaussian, Array, Array]:
    """Checked arguments and the two factors between which the geodesic is a straight line."""
    mu, nu = check_pair(mu, nu, validate=validate)
    _check_time(t, mu, nu, validate)
    return mu, nu, *procrustes_factors(mu.cov, nu.cov)


def _factor_at(L: Array, K: Array, t: Array) -> Array:
    t = expand(t, 2)
    return (1.0 - t) * L + t * K


def _point(mu: Gaussian, nu: Gaussian, M: Array, t: Array) -> Gaussian:
    t = expand(t, 1)
    return Gaussian((1.0 - t) * mu.mean + t * nu.mean, symmetrize(M @ transpose(M)))


def _mean_velocity(mu: Gaussian, nu: Gaussian, point: Gaussian) -> Array:
    """``m_nu - m_mu``, the same for all times: with the batch axes of the point."""
    return array_namespace(point.mean).broadcast_to(nu.mean - mu.mean, point.mean.shape)


def _lift_at_source(L: Array, K: Array, name: str, validate: bool) -> Array:
    """``C - I``: solves ``S L = K - L``."""
    lift = solve_lift(L, K - L)
    if validate:
        _check_map_exists(L, K, lift @ L - (K - L), name)
    return lift


def _check_map_exists(L: Array, K: Array, missed: Array, name: str) -> None:
    """Raise where an equation ``S L = ...`` has no solution, because K reaches more than L does."""
    total = sq_frobenius(K) + sq_frobenius(L)
    if bool(array_namespace(L).any(sq_frobenius(missed) > 10 * L.shape[-1] * eps(L) * total)):
        raise SingularCovarianceError(
            f"no transport map from {name} exists: its covariance is singular and the other measure "
            "reaches directions that it does not; interpolate, velocity at 0 < t < 1, sq_distance exist"
        )


def _check_velocity_exists(L: Array, K: Array, t: Array) -> None:
    xp = array_namespace(L)
    times = xp.asarray(t, dtype=L.dtype)
    if bool(xp.any(times == 0.0)):
        _lift_at_source(L, K, "mu", True)
    if bool(xp.any(times == 1.0)):
        _lift_at_source(K, L, "nu", True)


# Metric


def inner(mu: Gaussian, u: Tangent, v: Tangent, /) -> Array:
    """Riemannian inner product of two tangent vectors at mu: ``⟨a, a'⟩ + tr(S Σ S'ᵀ)``.

    Equation: WFM-U5. It is ``E⟨u(X), v(X)⟩`` for X ~ mu. Shape (...).
    """
    for tangent in (u, v):
        _check_tangent(mu, tangent)
    xp = array_namespace(mu.cov)
    return xp.sum(u.mean * v.mean, axis=-1) + xp.sum((u.lift @ mu.cov) * v.lift, axis=(-2, -1))


def sq_norm(mu: Gaussian, v: Tangent, /) -> Array:
    """Squared Riemannian norm ``‖a‖² + tr(S Σ Sᵀ)`` of a tangent vector at mu. Shape (...).

    Equation: WFM-U5.
    """
    return inner(mu, v, v)


def sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Squared 2-Wasserstein distance between Gaussians.

    Equation: WFM-24. ``‖m_mu - m_nu‖² + ‖L - K‖_F²`` with the Procrustes factors: the textbook's
    ``tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})`` without its cancellation, so never negative, and zero to
    rounding *squared* for equal measures.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast

    Returns
    -------
    array, shape (...). Units: data squared.
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    return _sq_norm(mu.mean - nu.mean) + sq_frobenius(L - K)


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Squared 2-Wasserstein distances between all members of two families.

    Equation: WFM-24. ``‖m_i - m_j‖² + tr Aᵢ + tr Bⱼ - 2 ‖Lᵢᵀ Lⱼ‖_*`` with the nuclear norm (sum of
    singular values), which needs no rotation and keeps all digits when a covariance is singular.

    Parameters
    ----------
    mu : Gaussian, mean (n, d), cov (n, d, d)
    nu : Gaussian, mean (m, d), cov (m, d, d)

    Returns
    -------
    array, shape (n, m), never negative. Units: data squared.

    Notes
    -----
    Works through row blocks, so that no temporary has more than ``PAIRWISE_BLOCK`` elements (or one row).
    """
    mu, nu = check_families(mu, nu, validate=validate)
    left, right = factor(mu.cov), factor(nu.cov)
    n, rows = mu.mean.shape[0], rows_per_block(nu)
    blocks = [
        factored_sq_distance(
            mu.mean[block, None, :], left[block, None, :, :], nu.mean[None, :, :], right[None, :, :, :]
        )
        for block in (slice(i, min(i + rows, n)) for i in range(0, max(n, 1), rows))
    ]
    return array_namespace(left).concat(blocks, axis=0)


def rows_per_block(nu: Gaussian, /) -> int:
    """How many rows of the distance matrix to nu (m members) fit a block of ``PAIRWISE_BLOCK`` elements."""
    m, d = nu.mean.shape
    return max(1, PAIRWISE_BLOCK // max(1, m * d * d))


def factored_sq_distance(mean0: Array, factor0: Array, mean1: Array, factor1: Array, /) -> Array:
    """Squared 2-Wasserstein distances from means (..., d) and covariance factors (..., d, d).

    Equation: WFM-24, nuclear form. Leading axes broadcast; shape (...), never negative.
    """
    xp = array_namespace(factor0)
    overlap = nuclear_norm(transpose(factor0) @ factor1)
    bures = sq_frobenius(factor0) + sq_frobenius(factor1) - 2.0 * overlap
    bures = xp.where(bures > 0, bures, xp.zeros_like(bures))  # rounding can push it below 0
    return _sq_norm(mean0 - mean1) + bures


# Checks at the public boundary


def _check_tangent(mu: Gaussian, v: Tangent) -> None:
    d = mu.mean.shape[-1]
    if tuple(v.mean.shape[-1:]) != (d,) or tuple(v.lift.shape[-2:]) != (d, d):
        raise ValueError(
            f"a tangent vector at mu needs mean (..., {d}) and lift (..., {d}, {d}); "
            f"got {tuple(v.mean.shape)} and {tuple(v.lift.shape)}"
        )


def _check_time(t: Array, mu: Gaussian, nu: Gaussian, validate: bool) -> None:
    if not isinstance(t, (int, float)):
        array_namespace(mu.mean, t)  # raises TypeError on mixed libraries
        if t.dtype != mu.mean.dtype:
            raise TypeError(f"t must be a number or have the dtype of mu, {mu.mean.dtype}; got {t.dtype}")
        check_broadcast(mu=mu.mean.shape[:-1], nu=nu.mean.shape[:-1], t=t.shape)
    if not validate:
        return
    xp = array_namespace(mu.mean)
    times = xp.asarray(t, dtype=mu.mean.dtype)
    if not bool(xp.all((times >= 0) & (times <= 1))):
        raise ValueError("t must lie in [0, 1] (0 is the source, 1 the target); got a value outside, or NaN")
