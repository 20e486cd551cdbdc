"""Generation: carry source Gaussians, or the points of source clouds, along a learned field in N steps."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    check_integer,
    eye,
    shown,
    symmetrize,
)
from refwfm.bures import EuclideanTangent, Tangent, exp
from refwfm.evidence import decompose, from_spectrum
from refwfm.measures import Gaussian, PointCloud, check_broadcast, check_measure, check_record, check_times
from refwfm.psd import project_psd

Field = Callable[[Gaussian, Array], Any]
"""``field(mu, t)``: the velocity (Tangent or EuclideanTangent) at mu (B, ...) and times t (B,)."""

Step = Callable[[Gaussian, Any, float], tuple[Gaussian, Array]]


RUNGE_KUTTA = {
    "euler": ((0.0,), (1.0,)),
    "midpoint": ((0.0, 0.5), (0.0, 1.0)),
    "heun": ((0.0, 1.0), (0.5, 0.5)),
    "rk4": ((0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
"""Times of the stages (each is carried there by the slope of the one before) and weights of their slopes.

A stage is one call of the field: a step of ``midpoint`` costs two, one of ``rk4`` four."""

TIMES: dict[str, Callable[[float], float]] = {
    "uniform": lambda s: s,
    "early": lambda s: s * s,
    "late": lambda s: s * (2.0 - s),
    "ends": lambda s: s * s * (3.0 - 2.0 * s),
}
"""Time after a share s of the steps: steps of one length, or the shortest first, last, or at both ends."""


def time_steps(n_steps: int, times: str = "uniform", /) -> list[tuple[float, float]]:
    """Begin and length of each step from t = 0 to t = 1.

    Equation: WFM-Alg2, WFM-Alg3. The paper's steps are ``uniform``: step k begins at ``k h``, ``h = 1/N``.

    Parameters
    ----------
    n_steps : int
    times : str
        A key of ``TIMES``.

    Raises
    ------
    TypeError, ValueError
        If n_steps is no integer of at least 1, or times unknown.

    Examples
    --------
    >>> time_steps(2), time_steps(2, "late")
    ([(0.0, 0.5), (0.5, 0.5)], [(0.0, 0.75), (0.75, 0.25)])
    """
    n_steps = check_integer(n_steps, "n_steps", low=1)
    if times not in TIMES:
        raise ValueError(f"times must be one of {', '.join(TIMES)}; got {times!r}")
    h = 1.0 / n_steps
    if times == "uniform":
        return [(k * h, h) for k in range(n_steps)]
    ends = [TIMES[times](k / n_steps) for k in range(n_steps + 1)]
    return [(begin, end - begin) for begin, end in pairwise(ends)]


class Generated(NamedTuple):
    """Generated Gaussians and the evidence of their steps.

    Attributes
    ----------
    gaussian : Gaussian, mean (B, d), cov (B, d, d)
    lowest : array, shape (B,)
        Smallest over all steps, and the stages within them, of the lowest eigenvalue of (the symmetric part
        of) ``I + h S`` (exponential steps: below 0 a step was no shortest path, so take more steps) or of
        ``Σ + h dΣ/dt`` before its projection (Euler steps: below 0 the projection had to repair it).
    """

    gaussian: Gaussian
    lowest: Array


def exponential_step(mu: Gaussian, v: Tangent, h: float, /) -> tuple[Gaussian, Array]:
    """One step by the exponential map: ``m + h a``, ``(I + h S) Σ (I + h S)ᵀ``.

    Equation: WFM-Alg2, WFM-Prop3.1. Positive semi-definite for every S, which is symmetric in the paper's
    steps; in those of higher order it is a mean of slopes, and need not be.

    Examples
    --------
    >>> mu, lowest = exponential_step(Gaussian(np.zeros(1), np.eye(1)), Tangent(np.ones(1), np.eye(1)), 0.5)
    >>> mu.mean.tolist(), mu.cov.tolist(), float(lowest)
    ([0.5], [[2.25]], 1.5)
    """
    _check_velocity(mu, v, Tangent)
    v = Tangent(h * v.mean, h * v.lift)
    push = eye(mu.mean.shape[-1], mu.cov) + v.lift
    return exp(mu, v), _lowest_eigenvalue(symmetrize(push))


def projected_euler_step(mu: Gaussian, v: EuclideanTangent, h: float, /) -> tuple[Gaussian, Array]:
    """One Euler step in mean and covariance, ``Σ + h dΣ/dt`` projected onto the positive semi-definite cone.

    Equation: WFM-Table2. The step of the Euclidean baselines.

    Examples
    --------
    >>> v = EuclideanTangent(np.zeros(1), -4.0 * np.eye(1))
    >>> mu, lowest = projected_euler_step(Gaussian(np.zeros(1), np.eye(1)), v, 0.5)
    >>> mu.cov.tolist(), float(lowest)
    ([[0.0]], -1.0)
    """
    _check_velocity(mu, v, EuclideanTangent)
    cov = mu.cov + h * v.cov
    return Gaussian(mu.mean + h * v.mean, project_psd(cov)), _lowest_eigenvalue(cov)


def bound_velocity(v: Tangent, t: Array, /) -> Tangent:
    """Nearest velocity whose lift lies between those of geodesics: ``-I / (1 - t) <= S <= I / t``.

    Equation: WFM-BOUNDS. Along a geodesic with the map T, eigenvalues of the lift are
    ``(λ - 1) / (1 - t + t λ)`` for eigenvalues λ >= 0 of T, and so never outside; nor are means of lifts,
    which a network learns. Its errors may be: where lifts grow with the covariance, as those of a network
    far from all it was shown, the covariance reaches infinity before t = 1.

    Parameters
    ----------
    v : Tangent, mean (..., d), lift (..., d, d)
        The lift symmetric.
    t : array, shape (...)
        In [0, 1]; at 0 there is no upper bound, at 1 no lower one.

    Returns
    -------
    Tangent
        The mean as it is, and the lift, too, where it keeps to the bounds.

    Raises
    ------
    TypeError, ValueError
        If v is no velocity, or t lies outside [0, 1] or has another shape.

    Examples
    --------
    >>> v = Tangent(np.zeros((1, 2)), np.diag([5.0, -5.0])[None])
    >>> bound_velocity(v, np.asarray([0.25])).lift.round(3).tolist()
    [[[4.0, 0.0], [0.0, -1.333]]]
    """
    check_record(v, Tangent, "v")
    mean, lift = v
    if lift.shape != (*mean.shape, *mean.shape[-1:]):
        raise ValueError(
            f"v must have mean (..., d) and lift (..., d, d); got {tuple(mean.shape)} and {tuple(lift.shape)}"
        )
    t = check_times(t, mean)
    check_broadcast(v=mean.shape[:-1], t=t.shape)
    xp = array_namespace(lift)
    if not bool(xp.all((t >= 0) & (t <= 1))):
        raise ValueError(f"t must lie in [0, 1] (0 is the source, 1 the target); got {shown(t)}")
    values, vectors = decompose(xp.linalg.eigh, lift, "v.lift")
    finite = xp.isfinite(_largest(lift))[..., None]
    values = xp.where(finite, values, float("nan"))  # LAPACK may return numbers for NaN
    bounded = xp.minimum(xp.maximum(values, -_inverse(1.0 - t)[..., None]), _inverse(t)[..., None])
    outside = xp.any(bounded != values, axis=-1)[..., None, None]
    return Tangent(mean, xp.where(outside, from_spectrum(vectors, bounded), lift))


def _inverse(share: Array) -> Array:
    """``1 / share``, infinite at zero without a warning."""
    xp = array_namespace(share)
    none = share == 0
    return xp.where(none, float("inf"), 1.0 / xp.where(none, 1.0, share))


def generate(
    field: Field,
    source: Gaussian,
    /,
    *,
    n_steps: int,
    step: Step = exponential_step,
    method: str = "euler",
    times: str = "uniform",
    observe: Callable[[int, Gaussian], None] | None = None,
) -> Generated:
    """Flow source Gaussians along a field from t = 0 to t = 1 in ``n_steps`` steps.

    Equation: WFM-Alg2, WFM-Prop3.1. Algorithm 2 takes ``euler`` steps at ``uniform`` times.

    Parameters
    ----------
    field : callable
        ``field(mu, t)`` with mu (B, ...) and t (B,).
    source : Gaussian, mean (B, d), cov (B, d, d)
    step : callable
        ``exponential_step`` for a Riemannian field, ``projected_euler_step`` for a Euclidean one.
    method : str
        A key of ``RUNGE_KUTTA``, of order 1, 2, 2, 4 at 1, 2, 2, 4 calls of the field a step.
    times : str
        A key of ``TIMES``.
    observe : callable, optional
        Called with (k, mu) before the first step (k = 0) and after each: progress bars, trajectories.

    Raises
    ------
    TypeError, ValueError
        If n_steps is no integer of at least 1, method or times unknown, the source no batch of Gaussians, or
        the field gives something else than a velocity for each.

    Notes
    -----
    A Riemannian velocity (a, S) moves each point x of mu by ``a + S (x - m)``, and methods of higher order
    are those of the points: a stage that M has carried to its place has the slope ``S M``. So Gaussians move
    as clouds of their points would (``generate_clouds``), remain Gaussians, and have the same order.

    Examples
    --------
    >>> source = Gaussian(np.zeros((1, 1)), np.ones((1, 1, 1)))
    >>> grow = lambda mu, t: Tangent(mu.mean, np.ones_like(mu.cov))
    >>> generate(grow, source, n_steps=2).gaussian.cov.tolist()  # (1 + 1/2)⁴
    [[[5.0625]]]
    >>> generate(grow, source, n_steps=1, method="midpoint").gaussian.cov.tolist()  # (1 + 1 + 1/2)²
    [[[6.25]]]
    """
    steps = time_steps(n_steps, times)
    stages, final = _check_method(method)
    mean = check_measure(source, Gaussian, "source").mean
    if mean.ndim != 2:
        raise ValueError(f"source must be a batch of Gaussians, mean (B, d); got {tuple(mean.shape)}")
    xp, mu = array_namespace(mean), source
    lowest = xp.full_like(source.mean[:, 0], float("inf"))
    if observe is not None:
        observe(0, mu)
    for k, (begin, h) in enumerate(steps):
        slopes: list[Any] = []
        for shift in stages:
            point = mu
            if slopes:
                point, value = step(mu, slopes[-1], shift * h)
                lowest = xp.minimum(lowest, value)
            v = field(point, xp.full_like(source.mean[:, 0], begin + shift * h))
            slopes.append(_by_origin(point, v, slopes[-1], shift * h) if slopes else v)
        mu, value = step(mu, _mean_slope(slopes, final), h)
        lowest = xp.minimum(lowest, value)
        if observe is not None:
            observe(k + 1, mu)
    return Generated(mu, lowest)


def _check_method(method: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if method not in RUNGE_KUTTA:
        raise ValueError(f"method must be one of {', '.join(RUNGE_KUTTA)}; got {method!r}")
    return RUNGE_KUTTA[method]


def _by_origin(point: Gaussian, v: Any, slope: Any, h: float) -> Any:
    """Velocity at a stage, of the points by where they stood before ``slope`` carried them there."""
    _check_velocity(point, v, type(slope))
    if isinstance(v, EuclideanTangent):
        return v
    return Tangent(v.mean, v.lift + h * (v.lift @ slope.lift))


def _mean_slope(slopes: list[Any], weights: tuple[float, ...]) -> Any:
    if len(slopes) == 1:
        return slopes[0]
    parts = (
        sum(w * part for w, part in zip(weights, each, strict=True)) for each in zip(*slopes, strict=True)
    )
    return type(slopes[0])(*parts)


def _check_velocity(mu: Gaussian, v: Any, kind: type[Tangent] | type[EuclideanTangent]) -> None:
    """Raise unless ``v`` is a velocity of this kind at ``mu``: broadcasting would move others than meant."""
    check_measure(mu, Gaussian, "mu")
    if not isinstance(v, kind):
        raise TypeError(f"v must be a {kind.__name__}({', '.join(kind._fields)}); got a {type(v).__name__}")
    check_floating(**{"mu.mean": mu.mean, "v.mean": v[0], f"v.{kind._fields[1]}": v[1]})
    if v[0].shape != mu.mean.shape or v[1].shape != mu.cov.shape:
        raise ValueError(
            f"v must have the shapes of mu, {tuple(mu.mean.shape)} and {tuple(mu.cov.shape)}; "
            f"got {tuple(v[0].shape)} and {tuple(v[1].shape)}"
        )


def _lowest_eigenvalue(matrix: Array) -> Array:
    xp = array_namespace(matrix)
    lowest = decompose(xp.linalg.eigvalsh, matrix, "cov")[..., 0]
    return lowest + 0.0 * _largest(matrix)  # LAPACK may return a number for NaN


def _largest(matrix: Array) -> Array:
    xp = array_namespace(matrix)
    return xp.max(xp.abs(matrix), axis=(-2, -1))


# Point clouds

CloudField = Callable[[PointCloud, Array], Array]
"""``field(cloud, t)``: the velocity (B, n, d) of every point of the clouds (B, n, d) at times t (B,)."""


def generate_clouds(
    field: CloudField,
    source: PointCloud,
    /,
    *,
    n_steps: int,
    method: str = "euler",
    times: str = "uniform",
    observe: Callable[[int, PointCloud], None] | None = None,
) -> PointCloud:
    """Flow the points of source clouds along a field from t = 0 to t = 1 in ``n_steps`` steps.

    Equation: WFM-Alg3, WFM-Prop3.1-clouds, GWFM-12, GWFM-5, GWFM-6, GWFM-7, GWFM-13, GWFM-14. Algorithm 3
    takes the steps of ``euler`` at ``uniform`` times. Weights and padding do not change.

    Parameters
    ----------
    field : callable
        ``field(cloud, t)`` with points (B, n, d) and t (B,): velocities (B, n, d).
    source : PointCloud, points (B, n, d), weights (B, n)
    method : str
        A key of ``RUNGE_KUTTA``: ``euler``, ``midpoint``, ``heun`` or ``rk4``, of order 1, 2, 2, 4. The last
        two ask for the field at t = 1 as well, where a conditional field does not exist.
    times : str
        A key of ``TIMES``.
    observe : callable, optional
        Called with (k, cloud) before the first step (k = 0) and after each.

    Raises
    ------
    TypeError, ValueError
        If n_steps is no integer of at least 1, method or times unknown, the source no batch of clouds, or
        the field gives something else than a velocity for each point.

    Examples
    --------
    >>> source = PointCloud(np.ones((1, 1, 1)), np.ones((1, 1)))
    >>> generate_clouds(lambda cloud, t: cloud.points, source, n_steps=2).points.tolist()  # (1 + 1/2)²
    [[[2.25]]]
    """
    steps = time_steps(n_steps, times)
    stages, final = _check_method(method)
    points, weights = check_measure(source, PointCloud, "source")
    if points.ndim != 3 or 0 in points.shape[1:] or weights.shape != points.shape[:-1]:
        raise ValueError(
            f"source must be a batch of clouds, points (B, n, d) and weights (B, n) with n, d >= 1; "
            f"got {tuple(points.shape)} and {tuple(weights.shape)}"
        )
    cloud = source
    xp = array_namespace(*source)
    is_point = (weights != 0)[..., None]
    if observe is not None:
        observe(0, cloud)
    for k, (begin, h) in enumerate(steps):
        slopes: list[Array] = []
        for shift in stages:
            points = cloud.points + (h * shift) * slopes[-1] if slopes else cloud.points
            t = xp.full_like(points[:, 0, 0], begin + shift * h)
            velocity = field(PointCloud(points, weights), t)
            check_floating(points=points, **{"the field's velocity": velocity})
            if velocity.shape != points.shape:
                raise ValueError(
                    f"the field must give a velocity for each point, {tuple(points.shape)}; "
                    f"got {tuple(velocity.shape)}"
                )
            slopes.append(xp.where(is_point, velocity, 0.0))
        move = sum(weight * slope for weight, slope in zip(final, slopes, strict=True))
        cloud = PointCloud(cloud.points + h * move, weights)
        if observe is not None:
            observe(k + 1, cloud)
    return cloud
