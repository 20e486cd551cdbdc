"""Transport between families of measures: the Wasserstein-on-Wasserstein distance, and random couplings.

A family of clouds with a weight each is itself a measure, on the space of measures, and squared 2-Wasserstein
distances are the cost of transporting one family onto another. So there are two plans, an *outer* one, which
cloud goes to which, and for each such pair an *inner* one, which point goes to which. Together they are a
``RandomCoupling``: draw a pair by the outer plan, and its inner plan is drawn. Moving all inner plans along
straight lines moves one family to the other (``curve``). For the optimal plans that is a geodesic.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from refwfm._array import Array, array_namespace, check_floating, device
from refwfm.clouds import check_cloud
from refwfm.interpolation import displacement
from refwfm.measures import PointCloud, check_measure
from refwfm.transport.exact import TransportPlan, sq_wasserstein2, transport_plan
from refwfm.transport.plans import marginal_error
from refwfm.transport.problem import check_weights
from refwfm.transport.sinkhorn import sq_euclidean_cost


class Family(NamedTuple):
    """The measure ``Σ weights_i δ(clouds_i)`` over measures.

    Attributes
    ----------
    clouds : PointCloud, points (N, n, d), weights (N, n)
    weights : array, shape (N,), non-negative, summing to 1
    """

    clouds: PointCloud
    weights: Array


class Wow(NamedTuple):
    """Squared Wasserstein-on-Wasserstein distance, and what it is made of.

    Attributes
    ----------
    sq_distance : array, shape (). Units: data squared.
    outer : TransportPlan, plan (M, N)
        Optimal, with the evidence that it is.
    inner : array, shape (M, N). Units: data squared.
        Squared 2-Wasserstein distances of all pairs of clouds.
    """

    sq_distance: Array
    outer: TransportPlan
    inner: Array


class RandomCoupling(NamedTuple):
    """A law over plans, ``P = Σ outer_ij δ(plans_ij)``.

    Attributes
    ----------
    outer : array, shape (M, N)
        Which cloud goes to which.
    plans : array, shape (M, N, n, m)
        Which point goes to which, for each pair of clouds. Where ``outer`` is 0 they are not used.
    """

    outer: Array
    plans: Array


class MembershipError(NamedTuple):
    """How far a random coupling is from having two families as its marginals, in L1; shapes ().

    Attributes
    ----------
    outer_rows, outer_columns : array
        Errors of the outer plan's marginals.
    inner_rows, inner_columns : array
        Errors of the inner plans' marginals, averaged over the outer plan.
    """

    outer_rows: Array
    outer_columns: Array
    inner_rows: Array
    inner_columns: Array


def even_family(clouds: PointCloud, /) -> Family:
    """Family of clouds (N, n, d) that all weigh the same, ``1 / N``.

    Equation: GWFM-3.

    Examples
    --------
    >>> even_family(PointCloud(np.zeros((4, 1, 2)), np.ones((4, 1)))).weights.tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    xp = array_namespace(*check_measure(clouds, PointCloud, "clouds"))
    count = clouds.points.shape[0] if clouds.points.ndim == 3 else 0
    if count == 0:
        raise ValueError(f"clouds must be points (N, n, d) with N >= 1; got {tuple(clouds.points.shape)}")
    mass = xp.full((count,), 1.0 / count, dtype=clouds.points.dtype, device=device(clouds.points))
    return Family(clouds, mass)


def sq_wow_distance(mu: Family, nu: Family, /, *, validate: bool = True, n_jobs: int = -1) -> Wow:
    """Squared 2-Wasserstein distance of two families, in the 2-Wasserstein metric of their members.

    Equation: GWFM-3, GWFM-4, GWFM-19, GWFM-23, GWFM-71. ``W_2² = min_Π Σ Π_ij W_2²(μ_i, ν_j)`` over plans
    with the families' weights as marginals. All M N inner problems are solved exactly, so this is for
    families of a few hundred clouds; their points are laid out in an array (M, N, n, d). Differentiable in
    points and weights, by the optimal plans of both levels (``exact.sq_wasserstein2``).

    Parameters
    ----------
    mu, nu : Family, points (M, n, d) and (N, m, d), weights (M,) and (N,)
    validate : bool
        Also check the clouds' values, as ``check_cloud`` does. The families' weights are always checked.
    n_jobs : int
        Threads, or workers of joblib's current backend; -1 for all.

    Raises
    ------
    ValueError
        If shapes disagree or a value check fails.
    ConvergenceError
        If a plan could not be proved optimal.

    Examples
    --------
    >>> two = lambda p: even_family(PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))))
    >>> mu, nu = two([0.0, 9.0]), two([8.0, 1.0])
    >>> float(sq_wow_distance(mu, nu).sq_distance)  # 0 goes to 1, 9 to 8
    1.0
    """
    mu, nu = _check_families(mu, nu, validate)
    inner = sq_wasserstein2(*_all_pairs(mu, nu), validate=False, n_jobs=n_jobs)
    outer = transport_plan(inner, mu.weights, nu.weights, n_jobs=n_jobs)
    return Wow(outer.cost, outer, inner)


# Random couplings

Selection = Callable[[PointCloud, PointCloud], Array]
"""``select(x, y)``: a plan (..., n, m) for each pair of clouds; leading axes broadcast."""


def independent_plan(x: PointCloud, y: PointCloud, /) -> Array:
    """Product plan ``a ⊗ b`` of clouds (..., n, d) and (..., m, d), shape (..., n, m).

    Equation: GWFM-17, GWFM-16. The independent selection.

    Examples
    --------
    >>> x = PointCloud(np.zeros((2, 3)), np.asarray([0.25, 0.75]))
    >>> independent_plan(x, x).tolist()
    [[0.0625, 0.1875], [0.1875, 0.5625]]
    """
    return x.weights[..., :, None] * y.weights[..., None, :]


def optimal_plan(x: PointCloud, y: PointCloud, /) -> Array:
    """Optimal plan of clouds (..., n, d) and (..., m, d), shape (..., n, m).

    Equation: GWFM-17, GWFM-16. The optimal selection.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [5.0, 4.0]))
    >>> optimal_plan(x, y).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    return transport_plan(sq_euclidean_cost(x.points, y.points), x.weights, y.weights).plan


def random_coupling(
    mu: Family, nu: Family, outer: Array, select: Selection, /, *, validate: bool = True
) -> RandomCoupling:
    """Random coupling of two families: an inner plan for each pair of the outer plan.

    Equation: GWFM-18, GWFM-44, GWFM-45, GWFM-46, GWFM-47, GWFM-48, GWFM-49, GWFM-50, GWFM-19. The image
    ``S♯Π`` of an outer plan Π by a selection S; it has the families as its marginals (``membership_error``)
    when Π has.

    Parameters
    ----------
    mu, nu : Family, points (M, n, d) and (N, m, d)
    outer : array, shape (M, N)
    select : callable
        ``independent_plan``, ``optimal_plan`` or another.

    Examples
    --------
    >>> two = lambda p: even_family(PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))))
    >>> mu, nu = two([0.0, 9.0]), two([8.0, 1.0])
    >>> random_coupling(mu, nu, np.full((2, 2), 0.25), independent_plan).plans.shape
    (2, 2, 1, 1)
    """
    mu, nu = _check_families(mu, nu, validate)
    check_floating(outer=outer, mu=mu.weights)
    expected = (mu.weights.shape[0], nu.weights.shape[0])
    if tuple(outer.shape) != expected:
        raise ValueError(f"outer must have shape (M, N) = {expected}; got {tuple(outer.shape)}")
    return RandomCoupling(outer, select(*_all_pairs(mu, nu)))


def membership_error(coupling: RandomCoupling, mu: Family, nu: Family, /) -> MembershipError:
    """How far a random coupling is from ``RΓ(mu, nu)``, the set of those with marginals mu and nu.

    Equation: GWFM-15. ``(π ↦ (pr₁)♯π)♯P = mu`` and the same for pr₂ and nu: the first marginal of plan (i, j)
    must be the cloud i of mu wherever ``outer_ij > 0``, and these must have the family's weights.

    Examples
    --------
    >>> two = lambda p: even_family(PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))))
    >>> mu, nu = two([0.0, 9.0]), two([8.0, 1.0])
    >>> coupling = random_coupling(mu, nu, np.asarray([[0.5, 0.0], [0.5, 0.0]]), independent_plan)
    >>> [float(error) for error in membership_error(coupling, mu, nu)]
    [0.0, 1.0, 0.0, 0.0]
    """
    xp = array_namespace(*coupling)
    x, y = _all_pairs(mu, nu)
    outer = marginal_error(coupling.outer, mu.weights, nu.weights)
    inner = marginal_error(coupling.plans, x.weights, y.weights)
    return MembershipError(*outer, *(xp.sum(coupling.outer * error) for error in inner))


def sq_coupling_cost(coupling: RandomCoupling, mu: Family, nu: Family, /) -> Array:
    """Mean squared distance that a random coupling moves points, ``∬ ‖x - y‖² dπ dP``. Shape ().

    Equation: GWFM-19, GWFM-51, GWFM-52, GWFM-53, GWFM-54, GWFM-55, GWFM-56, GWFM-71. Over all random
    couplings of two families its least value is their squared Wasserstein-on-Wasserstein distance, reached by
    optimal outer and inner plans. Units: data squared.

    Examples
    --------
    >>> two = lambda p: even_family(PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))))
    >>> mu, nu = two([0.0, 9.0]), two([8.0, 1.0])
    >>> coupling = random_coupling(mu, nu, np.full((2, 2), 0.25), independent_plan)
    >>> float(sq_coupling_cost(coupling, mu, nu))  # (8² + 1² + 1² + 8²) / 4
    32.5
    """
    xp = array_namespace(*coupling)
    x, y = _all_pairs(*_check_families(mu, nu, False))
    inner = xp.sum(coupling.plans * sq_euclidean_cost(x.points, y.points), axis=(-2, -1))
    return xp.sum(coupling.outer * inner)


def curve(coupling: RandomCoupling, mu: Family, nu: Family, t: float, /) -> Family:
    """Family at time t as a random coupling moves mu to nu.

    Equation: GWFM-20, GWFM-21, GWFM-57, GWFM-58, GWFM-59, GWFM-60, GWFM-61, GWFM-62, GWFM-63.
    Equation: GWFM-64, GWFM-65, GWFM-66, GWFM-67, GWFM-68, GWFM-69, GWFM-70, GWFM-8, GWFM-71.
    ``M_t = (π ↦ (e_t)♯π)♯P`` with ``e_t(x, y) = (1 - t) x + t y``: for each pair of clouds one cloud, with an
    atom for each pair of their points.

    Returns
    -------
    Family of M N clouds (i, j) of n m atoms (k, l), in the order of the indices; those without mass are
    padding

    Examples
    --------
    >>> two = lambda p: even_family(PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))))
    >>> mu, nu = two([0.0, 9.0]), two([8.0, 1.0])
    >>> coupling = random_coupling(mu, nu, np.full((2, 2), 0.25), independent_plan)
    >>> curve(coupling, mu, nu, 0.5).clouds.points[:, 0, 0].tolist()
    [4.0, 0.5, 8.5, 5.0]
    """
    xp = array_namespace(*coupling)
    x, y = _all_pairs(*_check_families(mu, nu, False))
    shape = (*coupling.plans.shape, x.points.shape[-1])
    starts = xp.broadcast_to(x.points[..., :, None, :], shape)
    ends = xp.broadcast_to(y.points[..., None, :, :], shape)
    pairs, atoms = shape[0] * shape[1], shape[2] * shape[3]
    points = xp.reshape(displacement(starts, ends, t), (pairs, atoms, shape[-1]))
    masses = xp.reshape(coupling.plans, (pairs, atoms))
    return Family(PointCloud(points, masses), xp.reshape(coupling.outer, (pairs,)))


def check_family(family: Any, name: str, /) -> Family:
    """Raise unless it is a ``Family``, made of arrays of one library, device and dtype; return it."""
    if not isinstance(family, Family):
        raise TypeError(f"{name} must be a Family(clouds, weights); got a {type(family).__name__}")
    check_measure(family.clouds, PointCloud, f"{name}.clouds")
    check_floating(**{f"{name}.clouds.points": family.clouds.points, f"{name}.weights": family.weights})
    return family


def _all_pairs(mu: Family, nu: Family) -> tuple[PointCloud, PointCloud]:
    """Clouds (M, 1, n, d) and (1, N, m, d), which broadcast to all pairs."""
    return PointCloud(*(part[:, None, ...] for part in mu.clouds)), PointCloud(
        *(part[None, ...] for part in nu.clouds)
    )


def _check_families(mu: Family, nu: Family, validate: bool) -> tuple[Family, Family]:
    checked = []
    for family, name in ((mu, "mu"), (nu, "nu")):
        points, weights = check_family(family, name).clouds.points, family.weights
        if points.ndim != 3 or tuple(weights.shape) != tuple(points.shape[:1]) or 0 in weights.shape:
            raise ValueError(
                f"{name} must be a family of clouds, points (N, n, d) and weights (N,) with N >= 1; "
                f"got points {tuple(points.shape)} and weights {tuple(weights.shape)}"
            )
        clouds = check_cloud(family.clouds, f"{name}.clouds", validate=validate)
        checked.append(Family(clouds, check_weights(weights, f"{name}.weights")))
    mu, nu = checked
    check_floating(mu=mu.weights, nu=nu.weights)
    if mu.clouds.points.shape[-1] != nu.clouds.points.shape[-1]:
        raise ValueError(
            "mu and nu must live in the same dimension; "
            f"got d = {mu.clouds.points.shape[-1]} and {nu.clouds.points.shape[-1]}"
        )
    return mu, nu
