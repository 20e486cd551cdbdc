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
The same curve seen in Euclidean coordinates moves with ``EuclideanTangent(dm/dt, dA/dt)``. Their norms, and
the distances, are in ``bures_metric`` and available here under the same names.

References
----------
WFM : Haviv, Pooladian, Pe'er, Amos, "Wasserstein Flow Matching", ICML 2025 (ids: the equation ledger).
Takatsu, "Wasserstein geometry of Gaussian measures", Osaka J. Math. 48 (2011).
Bhatia, Jain, Lim, "On the Bures-Wasserstein distance between positive definite matrices", 2019.
"""

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    expand,
    eye,
    machine_eps,
    shown,
    sq_norm,
    symmetrize,
    transpose,
)
from refwfm.bures_metric import (
    EuclideanTangent,
    Tangent,
    check_tangent,
    factored_sq_distance,
    from_euclidean,
    inner,
    pairwise_sq_distance,
    rows_per_block,
    sq_distance,
    sq_tangent_norm,
    to_euclidean,
)
from refwfm.evidence import svd
from refwfm.measures import (
    Gaussian,
    SingularCovarianceError,
    check_broadcast,
    check_gaussian,
    check_pair,
    check_times,
)
from refwfm.psd import deviations, lift_and_kernel, procrustes_factors, solve_lift

__all__ = [
    "EuclideanTangent",
    "Tangent",
    "euclidean_path",
    "euclidean_velocity",
    "exp",
    "factored_sq_distance",
    "from_euclidean",
    "gelbrich_map",
    "inner",
    "interpolate",
    "log",
    "pairwise_sq_distance",
    "path",
    "push_forward",
    "rows_per_block",
    "sq_distance",
    "sq_tangent_norm",
    "to_euclidean",
    "velocity",
]

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
        If nu reaches directions that a singular mu does not: no map exists, only plans. Directions beyond the
        domain of ``psd`` count as not reached: those in which mu has less than ``d eps`` of the variance that
        their coordinates allow, or ``(d eps)²`` of its largest. Directions in which both have little
        variance, the product of their deviations being ``d eps`` of the largest, are refused too.

    Notes
    -----
    Relative errors in the domain are rounding (some ``d eps``) for covariances of any condition that share
    their axes with the coordinates, and up to some ``d eps κ`` for others, κ the larger condition number.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> gelbrich_map(mu, nu).round(9).tolist()
    [[2.0]]
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    return _lift(L, K, L, K, validate, unreached=1.0)  # not log + I, which loses a small C


def push_forward(x: Array, mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Images ``m_nu + C (x - m_mu)`` of points under the optimal map from mu to nu.

    Equation: WFM-U4.

    Parameters
    ----------
    x : array, shape (..., n, d)
    mu, nu : Gaussian, mean (..., d), cov (..., d, d)

    Returns
    -------
    array, shape (..., n, d)

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> push_forward(np.asarray([[-1.0], [0.0], [1.0]]), mu, nu).round(9).tolist()
    [[1.0], [3.0], [5.0]]
    """
    check_gaussian(mu, validate=False)
    check_floating(x=x, mu=mu.mean)
    if x.ndim < 2 or x.shape[-1] != mu.mean.shape[-1]:
        raise ValueError(f"x must have shape (..., n, {mu.mean.shape[-1]}); got {tuple(x.shape)}")
    C = gelbrich_map(mu, nu, validate=validate)
    return nu.mean[..., None, :] + (x - mu.mean[..., None, :]) @ C


def log(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Tangent:
    """Logarithm map: the velocity at mu of the geodesic to nu, ``T - id = (m_nu - m_mu, C - I)``.

    Equation: WFM-U2, WFM-2. Raises as ``gelbrich_map`` does.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> [part.round(9).tolist() for part in log(mu, nu)]
    [[3.0], [[1.0]]]
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    return Tangent(nu.mean - mu.mean, _lift(L, K - L, L, K, validate))


def exp(mu: Gaussian, v: Tangent, /) -> Gaussian:
    """Exponential map: mu pushed forward by ``id + v``, i.e. ``N(m + a, (I + S) A (I + S))``.

    Equation: WFM-U2, WFM-2. The covariance is positive semi-definite whatever the symmetric S; the curve
    ``exp_mu(t v)`` is a shortest path only while I + S is, too. Flow matching takes ``exp_mu(t log_mu nu)``.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
    v : Tangent, mean (..., d), lift (..., d, d)

    Examples
    --------
    >>> exp(Gaussian(np.zeros(1), np.eye(1)), Tangent(np.full(1, 3.0), np.eye(1))).cov.tolist()
    [[4.0]]
    """
    check_tangent(mu, v)
    push = eye(mu.mean.shape[-1], mu.cov) + v.lift
    return Gaussian(mu.mean + v.mean, symmetrize(push @ mu.cov @ transpose(push)))


def path(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> tuple[Gaussian, Tangent]:
    """Point and Riemannian velocity at time t of the geodesic from mu to nu.

    Equation: WFM-10, WFM-1, WFM-5, WFM-6. ``m_t = (1-t) m_mu + t m_nu``, ``Σ_t = M Mᵀ``,
    ``M = (1-t) L + t K``; velocity ``(m_nu - m_mu, S_t)`` with ``S_t M = K - L``, which is
    ``(C - I) ((1-t) I + t C)⁻¹`` where C exists. They solve ``∂_t μ_t + ∇·(μ_t v_t) = 0``, and the
    energy ``‖v_t‖²`` is ``W_2²`` for every t. (One call, because a training step needs both.)

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
        other way round), up to rounding (``gelbrich_map``). For 0 < t < 1 it always exists.
    ValueError
        If shapes or values are wrong, or t is outside [0, 1].

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> point, v = path(mu, nu, 0.5)
    >>> float(point.cov[0, 0]), round(float(v.lift[0, 0]), 3)
    (2.25, 0.667)
    """
    mu, nu, L, K, M = _geodesic(mu, nu, t, validate)
    lift = _lift(M, K - L, L, K, validate)
    point = _point(mu, nu, M, t)
    return point, Tangent(_mean_velocity(mu, nu, point), lift)


def euclidean_path(
    mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True
) -> tuple[Gaussian, EuclideanTangent]:
    """Point of the geodesic from mu to nu at time t, and the derivative of its mean and covariance.

    Equation: WFM-9. ``dΣ/dt = Ṁ Mᵀ + M Ṁᵀ`` with ``Ṁ = K - L``; exists for every t and every
    pair. Parameters as for ``path``.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> point, v = euclidean_path(mu, nu, 0.5)
    >>> point.cov.round(9).tolist(), v.cov.round(9).tolist()
    ([[2.25]], [[3.0]])
    """
    mu, nu, L, K, M = _geodesic(mu, nu, t, validate)
    half = (K - L) @ transpose(M)
    point = _point(mu, nu, M, t)
    return point, EuclideanTangent(_mean_velocity(mu, nu, point), half + transpose(half))


def interpolate(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> Gaussian:
    """Geodesic (McCann interpolation) from mu to nu at time t.

    Equation: WFM-8. ``N((1-t) m_mu + t m_nu, T_t A T_t)``, ``T_t = (1-t) I + t C``; for any
    positive semi-definite pair. Parameters as for ``path``.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> [part.round(9).tolist() for part in interpolate(mu, nu, 0.5)]
    [[1.5], [[2.25]]]
    """
    mu, nu, _, _, M = _geodesic(mu, nu, t, validate)
    return _point(mu, nu, M, t)


def velocity(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> Tangent:
    """Riemannian velocity at time t of the geodesic from mu to nu, a tangent vector at its point mu_t.

    Equation: WFM-10, WFM-23. ``(m_nu - m_mu, (C - I) ((1-t) I + t C)⁻¹)``. Parameters and errors: ``path``.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> [part.round(3).tolist() for part in velocity(mu, nu, 0.5)]
    [[3.0], [[0.667]]]
    """
    return path(mu, nu, t, validate=validate)[1]


def euclidean_velocity(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> EuclideanTangent:
    """Derivative of mean and covariance along the geodesic from mu to nu at time t.

    Equation: WFM-9. Parameters as for ``path``.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> [part.round(9).tolist() for part in euclidean_velocity(mu, nu, 0.5)]
    [[3.0], [[3.0]]]
    """
    return euclidean_path(mu, nu, t, validate=validate)[1]


def _geodesic(
    mu: Gaussian, nu: Gaussian, t: Array, validate: bool
) -> tuple[Gaussian, Gaussian, Array, Array, Array]:
    """Checked arguments, the factors between which the geodesic is a straight line, and its factor at t."""
    mu, nu = check_pair(mu, nu, validate=validate)
    _check_time(t, mu, nu, validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    t = expand(t, 2)
    return mu, nu, L, K, (1.0 - t) * L + t * K


def _point(mu: Gaussian, nu: Gaussian, M: Array, t: Array) -> Gaussian:
    t = expand(t, 1)
    return Gaussian((1.0 - t) * mu.mean + t * nu.mean, symmetrize(M @ transpose(M)))


def _mean_velocity(mu: Gaussian, nu: Gaussian, point: Gaussian) -> Array:
    """``m_nu - m_mu``, the same for all times: with the batch axes of the point."""
    return array_namespace(point.mean).broadcast_to(nu.mean - mu.mean, point.mean.shape)


def _lift(M: Array, rates: Array, L: Array, K: Array, validate: bool, *, unreached: float = 0.0) -> Array:
    """Solution of ``S M = rates``, for M a mixture of the factors L and K; checked to exist if asked to."""
    if not validate:
        return solve_lift(M, rates, unreached=unreached)
    lift, kernel = lift_and_kernel(M, rates, unreached=unreached)
    _check_map_exists(kernel, L, K)
    return lift


def _check_map_exists(kernel: Array, L: Array, K: Array) -> None:
    """Raise where ``S M = K - L`` has no solution, or none that is known: K or L reach what M does not.

    ``K z`` and ``L z`` must vanish up to rounding for z in the kernel of M (``psd.lift_and_kernel``).
    """
    xp = array_namespace(kernel)
    singular = bool(xp.any(kernel != 0))
    for factor, name in ((K, "mu"), (L, "nu")) if singular else ():
        if bool(xp.any(_reaches(factor, kernel))):
            raise SingularCovarianceError(
                f"no transport map from {name} exists: its covariance is singular, or too near it for its "
                "dtype (see refwfm.psd), and the other measure reaches directions that it does not; "
                "interpolate, velocity at 0 < t < 1, sq_distance exist"
            )
    _check_turn(L, K)


def _check_turn(L: Array, K: Array) -> None:
    """Raise where rounding decides how K is turned: directions of little variance in *both* covariances.

    ``Lᵀ K`` has rounding of ``d eps`` times its size: below it, the sign of a singular value is not known.
    """
    xp = array_namespace(L, K)
    floor = L.shape[-1] * machine_eps(L)
    # Bounds that are cheap, in units of the largest: ‖L z‖² for any z, and ‖K z‖² where it is no rounding.
    least = _least_share(sq_norm(L)) * _least_share(sq_norm(K))
    least = least * _least_share(sq_norm(transpose(L)))  # columns, orthogonal in units of the rows
    if bool(xp.all(least > L.shape[-1] ** 4 * floor)):
        return
    left, sigma, right = svd(transpose(L) @ K, "the product of two covariances")
    images = [L @ left, K @ transpose(right)]
    lengths = [xp.sqrt(xp.sum(image * image, axis=-2)) for image in images]
    unknown = (sigma <= floor * sigma[..., :1]) & (lengths[0] * lengths[1] <= floor * sigma[..., :1])
    if bool(xp.any(unknown & _reaches(L, left) & _reaches(K, transpose(right)))):
        raise SingularCovarianceError(
            "the map between mu and nu is not known: in some direction both covariances have so little "
            "variance that its sign is rounding (see refwfm.psd); choose other units, or float64"
        )


def _least_share(sizes: Array) -> Array:
    """Smallest number of the last axis, in units of the largest."""
    xp = array_namespace(sizes)
    largest = xp.max(sizes, axis=-1)
    return xp.min(sizes, axis=-1) / xp.where(largest == 0, 1.0, largest)


def _reaches(factor: Array, vectors: Array) -> Array:
    """Whether ``L z`` is more than rounding of its covariance, for columns z (..., d, k): shape (..., k).

    Rounding is ``d eps`` in units where coordinates have variance 1, times the largest eigenvalue there.
    """
    xp = array_namespace(factor)
    unit = factor / deviations(sq_norm(factor))[..., None]
    rounding = vectors.shape[-1] * machine_eps(vectors) * xp.linalg.svdvals(unit)[..., :1] ** 2
    return xp.sum((unit @ vectors) ** 2, axis=-2) > rounding


# Checks at the public boundary


def _check_time(t: Array, mu: Gaussian, nu: Gaussian, validate: bool) -> None:
    times = check_times(t, mu.mean)
    check_broadcast(mu=mu.mean.shape[:-1], nu=nu.mean.shape[:-1], t=times.shape)
    if not validate:
        return
    xp = array_namespace(mu.mean)
    if not bool(xp.all((times >= 0) & (times <= 1))):
        raise ValueError(f"t must lie in [0, 1] (0 is the source, 1 the target); got {shown(t)}")
