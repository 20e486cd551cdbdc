"""Conditional and marginal fields of flow matching between Gaussians, in their textbook form.

A training step never evaluates these fields: it draws a target, and takes the velocity of the geodesic to it
at once (``bures.path``). Here is what that velocity is an instance of. A *conditional* field knows the target
nu and sees only where the measure is now; a *marginal* field does not know the target, and is the mean of the
conditional ones over the targets that the measure may be on its way to. The latter is what a network learns.

All times are in [0, 1): at t = 1 a conditional field divides by zero.
"""

from refwfm._array import Array, array_namespace, check_floating, expand, shown
from refwfm.bures import Tangent, log, sq_tangent_norm
from refwfm.measures import Gaussian, check_gaussian, check_record, check_times


def gradient_half_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Tangent:
    """Riemannian gradient of ``½ W_2²(·, nu)`` at mu, ``-log_mu nu = -(T - id)``.

    Equation: WFM-21, WFM-U10, WFM-B.1. Its norm is the distance, so that the gradient of ``W_2`` has norm 1:
    it vanishes nowhere off the diagonal, which makes ``W_2`` a premetric.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast
    validate : bool
        Check values, and that a map from mu to nu exists.

    Returns
    -------
    Tangent, mean (..., d), lift (..., d, d)

    Raises
    ------
    SingularCovarianceError
        If nu reaches directions that a singular mu does not.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> slope = gradient_half_sq_distance(mu, nu)  # of ½ (3² + (2 - 1)²)
    >>> slope.mean.tolist(), slope.lift.tolist()
    ([-3.0], [[-1.0]])
    """
    return _scaled(-1.0, log(mu, nu, validate=validate))


def premetric_velocity(
    mu: Gaussian, distance: Array, gradient: Tangent, t: Array, /, *, validate: bool = True
) -> Tangent:
    """Velocity of steepest descent at mu along which a premetric d to the target falls like ``1 - t``.

    Equation: WFM-22. ``u_t = d ln(1 - t)/dt · d ∇d / ‖∇d‖²``, with ``d ln(1 - t)/dt = -1 / (1 - t)`` and the
    Riemannian norm at mu. For ``d = W_2`` it is ``conditional_velocity``.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
        Where the flow is at time t.
    distance : array, shape (...)
        Value of the premetric between mu and the target; the velocity is 0 where it is 0.
    gradient : Tangent, mean (..., d), lift (..., d, d)
        Riemannian gradient of the premetric at mu.
    t : float or array, shape (...)
        Times in [0, 1).
    validate : bool
        Check the times. On a GPU this waits for the device.

    Returns
    -------
    Tangent, mean (..., d), lift (..., d, d). Units: data per unit of time.

    Examples
    --------
    >>> mu, gradient = Gaussian(np.zeros(1), np.eye(1)), Tangent(np.full(1, -1.0), np.zeros((1, 1)))
    >>> premetric_velocity(mu, np.asarray(3.0), gradient, 0.5).mean.tolist()  # 3 in half of the time
    [6.0]
    """
    check_gaussian(mu, validate=False)
    _check_time(t, mu, validate)
    xp = check_floating(distance=distance, mu=mu.mean)
    check_record(gradient, Tangent, "gradient")
    square = sq_tangent_norm(mu, gradient)
    ratio = distance / xp.where(distance == 0, xp.ones_like(square), square)
    return _scaled(-ratio / (1.0 - t), gradient)


def conditional_velocity(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> Tangent:
    """Velocity of a flow at mu at time t that ends at nu: the rest of the way over the rest of the time.

    Equation: WFM-23, WFM-B.2, WFM-18, WFM-Prop3.1, WFM-B.3. ``log_mu(nu) / (1 - t)``. At a point ``mu_t`` of
    the geodesic to nu it is ``bures.velocity``, ``(T - id) ∘ T_t⁻¹``, because ``T^{mu_t → nu} = T ∘ T_t⁻¹``.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast
        Where the flow is at time t, and its target.
    t : float or array, shape (...)
        Times in [0, 1).
    validate : bool
        Check values and times, and that a map from mu to nu exists.

    Returns
    -------
    Tangent, mean (..., d), lift (..., d, d). Units: data per unit of time.

    Raises
    ------
    SingularCovarianceError
        If nu reaches directions that a singular mu does not.
    ValueError
        If a time is outside [0, 1).

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> conditional_velocity(mu, nu, 0.5).mean.tolist()
    [6.0]
    """
    check_gaussian(mu, validate=False)
    _check_time(t, mu, validate)
    return _scaled(1.0 / (1.0 - t), log(mu, nu, validate=validate))


def marginal_velocity(
    mu: Gaussian,
    targets: Gaussian,
    weights: Array,
    log_density: Array,
    t: Array,
    /,
    *,
    validate: bool = True,
) -> Tangent:
    """Velocity at mu of the flow to finitely many targets: conditional velocities, weighted by the posterior.

    Equation: WFM-19, WFM-20, WFM-U1. ``u_t(μ) = Σ_k u_t(μ|ν_k) w_k p_t(μ|ν_k) / p_t(μ)`` with
    ``p_t(μ) = Σ_k w_k p_t(μ|ν_k)``: the mean ``E[u_t(μ_t|ν) | μ_t = μ]``, and so the field that minimises the
    marginal loss and drives ``p_t``.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
        Where the flow is at time t.
    targets : Gaussian, mean (..., K, d), cov (..., K, d, d)
        Leading axes broadcast with those of mu: (K, d) are the same targets for all.
    weights : array, shape (..., K)
        Weights of the targets, non-negative.
    log_density : array, shape (..., K)
        ``log p_t(μ|ν_k)``, in any coordinates of the space of measures: constants cancel.
    t : float or array, shape (...)
        Times in [0, 1).
    validate : bool
        As for ``conditional_velocity``, whose errors it raises.

    Returns
    -------
    Tangent, mean (..., d), lift (..., d, d). Units: data per unit of time.

    Examples
    --------
    >>> mu = Gaussian(np.zeros(1), np.eye(1))
    >>> targets = Gaussian(np.asarray([[3.0], [-1.0]]), np.ones((2, 1, 1)))  # equally likely
    >>> marginal_velocity(mu, targets, np.full(2, 0.5), np.zeros(2), 0.0).mean.tolist()
    [1.0]
    """
    check_gaussian(mu, validate=False)
    xp = check_floating(weights=weights, log_density=log_density, mu=mu.mean)
    _check_time(t, mu, validate)
    here = Gaussian(mu.mean[..., None, :], mu.cov[..., None, :, :])
    each = conditional_velocity(here, targets, expand(t, 1), validate=validate)
    possible = xp.where(weights > 0, log_density, -xp.inf)
    likelihood = xp.exp(possible - xp.max(possible, axis=-1, keepdims=True))
    density = xp.sum(weights * likelihood, axis=-1, keepdims=True)
    weighted = _scaled(weights * likelihood / density, each)
    return Tangent(xp.sum(weighted.mean, axis=-2), xp.sum(weighted.lift, axis=-3))


def _scaled(factor: Array, v: Tangent) -> Tangent:
    return Tangent(expand(factor, 1) * v.mean, expand(factor, 2) * v.lift)


def _check_time(t: Array, mu: Gaussian, validate: bool) -> None:
    times = check_times(t, mu.mean)
    if validate and not bool(array_namespace(times).all((times >= 0) & (times < 1))):
        raise ValueError(f"t must lie in [0, 1) (a conditional field ends at 1); got {shown(t)}")
