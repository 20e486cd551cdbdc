"""Fields of plans and of random couplings, in their textbook form: what drives a curve, its rate, its loss.

A training step draws pairs of points and regresses their displacements ``y - x``; these functions sum over
all pairs of a plan instead. They are for plans of a few hundred pairs of points.
"""

from refwfm._array import Array, check_floating
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.transport.families import Family, RandomCoupling, check_family, curve


def mean_displacement(
    x: Array, y: Array, weights: Array, t: Array, /, *, radius: float = 0.0, validate: bool = True
) -> Array:
    """Field that drives the curve of a plan, at the curve's points: the mean of ``y - x`` where points meet.

    Equation: GWFM-9, WFM-15. ``v_t(z) = E[Y - X | X_t = z]`` with ``X_t = (1 - t) X + t Y``: of all fields it
    has the least ``E ‖v_t(X_t) - (Y - X)‖²`` (``objectives.cloud_loss``), the loss of flow matching.

    Parameters
    ----------
    x, y : array, shape (..., n, d)
        The plan's pairs of points.
    weights : array, shape (..., n)
        Mass of each pair, non-negative; a pair without mass is padding.
    t : float or array, shape (...)
        Times in [0, 1].
    radius : float
        Points meet if they differ by no more than this in any coordinate: the rounding of the points.
    validate : bool
        Check the times.

    Returns
    -------
    array, shape (..., n, d), 0 at padding. Units: data per unit of time.

    Examples
    --------
    >>> x, y = np.asarray([[0.0], [2.0]]), np.asarray([[2.0], [0.0]])
    >>> mean_displacement(x, y, np.full(2, 0.5), 0.25).tolist()
    [[2.0], [-2.0]]
    >>> mean_displacement(x, y, np.full(2, 0.5), 0.5).tolist()  # the two points cross
    [[0.0], [0.0]]
    """
    xp = check_floating(x=x, y=y, weights=weights)
    z = displacement(x, y, t, validate=validate)
    v = xp.where((weights > 0)[..., None], displacement_velocity(x, y), 0.0)
    gaps = xp.max(xp.abs(z[..., :, None, :] - z[..., None, :, :]), axis=-1)
    met = xp.where(gaps <= radius, weights[..., None, :], 0.0)
    mass = xp.sum(met, axis=-1, keepdims=True)
    live = (weights > 0)[..., None]  # a point meets itself, unless it is NaN: then so is its mean
    return xp.where(live, met @ v / xp.where(live, mass, 1.0), 0.0)


def inner(family: Family, u: Array, v: Array, /) -> Array:
    """Inner product of two fields on a family of measures, ``∬ ⟨u(x, μ), v(x, μ)⟩ dμ(x) dM(μ)``. Shape ().

    Equation: GWFM-11, GWFM-42, GWFM-43, GWFM-23, GWFM-95, GWFM-96, GWFM-97. With the gradient
    ``∇F[μ] = Σ_i ∂_i Ψ ∇φ_i`` of a function ``F(μ) = Ψ(∫ φ_1 dμ, ..., ∫ φ_k dμ)`` and the field v that drives
    a curve of families, it is the rate ``d/dt ∫ F dM_t``: the continuity equation. With ``u = v`` it is the
    kinetic energy, and on the curve of an optimal coupling the squared distance of the ends, at all times.

    Parameters
    ----------
    family : Family, points (N, n, d), weights (N,)
        The measures at some time.
    u, v : array, shape (N, n, d)
        Values of the fields at the points; those at padding are not read.

    Examples
    --------
    >>> from refwfm.clouds import uniform
    >>> family = Family(uniform(np.zeros((1, 2, 1))), np.ones(1))
    >>> float(inner(family, np.full((1, 2, 1), 3.0), np.full((1, 2, 1), 2.0)))
    6.0
    """
    points, masses = check_family(family, "family").clouds
    xp = check_floating(points=points, u=u, v=v)
    if tuple(u.shape) != tuple(points.shape) or tuple(v.shape) != tuple(points.shape):
        raise ValueError(
            f"u and v must have the shape of the points, {tuple(points.shape)}; "
            f"got {tuple(u.shape)} and {tuple(v.shape)}"
        )
    products = xp.where(masses > 0, xp.sum(u * v, axis=-1), 0.0)
    return xp.sum(family.weights * xp.sum(masses * products, axis=-1))


def coupling_loss(field: Array, coupling: RandomCoupling, mu: Family, nu: Family, /) -> Array:
    """Objective of generalised flow matching at one time, a sum over all pairs of clouds and points.

    Equation: GWFM-22, GWFM-72, GWFM-73, GWFM-74, GWFM-75, GWFM-76, GWFM-77, GWFM-78, GWFM-79, GWFM-80.
    Equation: GWFM-81, GWFM-82, GWFM-83, GWFM-84, GWFM-85, GWFM-86, GWFM-87, GWFM-88, GWFM-89, GWFM-90.
    Equation: GWFM-91, GWFM-92, GWFM-93, GWFM-94. ``∬ ‖w_t(e_t(x, y), (e_t)♯π) - (y - x)‖² dπ dP``, which
    is ``‖w - v‖² + const`` with the mean v of ``y - x`` given time, place and measure: v is the minimiser.

    Parameters
    ----------
    field : array, shape (M N, n m, d)
        Values w of the field at the points of ``curve(coupling, mu, nu, t)``.
    coupling : RandomCoupling, outer (M, N), plans (M, N, n, m)
    mu, nu : Family, points (M, n, d) and (N, m, d)

    Returns
    -------
    array, shape (). Units: data per unit of time, squared.

    Examples
    --------
    >>> from refwfm.clouds import uniform
    >>> mu, nu = (Family(uniform(np.full((1, 1, 1), place)), np.ones(1)) for place in (0.0, 3.0))
    >>> coupling = RandomCoupling(np.ones((1, 1)), np.ones((1, 1, 1, 1)))
    >>> [float(coupling_loss(np.full((1, 1, 1), v), coupling, mu, nu)) for v in (3.0, 1.0)]
    [0.0, 4.0]
    """
    start, end = curve(coupling, mu, nu, 0.0), curve(coupling, mu, nu, 1.0)
    error = field - displacement_velocity(start.clouds.points, end.clouds.points)
    return inner(start, error, error)
