"""Audited curves of families of clouds: the one of a random coupling, its velocity, its length."""

import numpy as np

from refwfm._array import array_namespace
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.objectives import cloud_loss
from refwfm.transport.families import (
    curve,
    independent_plan,
    optimal_plan,
    random_coupling,
    sq_coupling_cost,
    sq_wow_distance,
)
from refwfm.transport.fields import coupling_loss, inner
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.families import (
    SOLVER,
    inner_distances,
    least_cost,
    optimal_coupling,
    product_of_outer,
    rounded_coupling,
    two_families,
)

POINTS = 5


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_20(), gwfm_22(), gwfm_23(), gwfm_71()]


# GWFM-20


def gwfm_20() -> Item:
    """Curve of a random coupling."""
    return Item(
        id="GWFM-20",
        paper="GWFM",
        place="Theorem 2.5, eq. 20",
        title="curve of families of a random coupling",
        latex=r"\mathbf M_t=(\pi\mapsto(e_t)_\sharp\pi)_\sharp\mathbf P,\qquad e_t(x,y)=(1-t)x+ty",
        statement="Each drawn plan moves its pairs of points on straight lines: a curve of measures.",
        functions=(curve,),
        checks=(
            Check(
                "NumPy, functionals of the measures, pair by pair",
                functionals_are_those_of_the_plans,
                curve,
                {
                    "time reversed": lambda P, mu, nu, t: curve(P, mu, nu, 1.0 - t),
                    "plans averaged to maps": _averaged,
                    "plans independent": lambda P, mu, nu, t: curve(
                        random_coupling(mu, nu, P.outer, independent_plan), mu, nu, t
                    ),
                    "outer plan independent": lambda P, mu, nu, t: curve(
                        P._replace(outer=product_of_outer(mu, nu)), mu, nu, t
                    ),
                },
                roundings(300, "sums of 72 squares"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _averaged(P, mu, nu, t):
    """Every point goes to the mean of its targets."""
    share = P.plans / np.sum(P.plans, axis=-1, keepdims=True)
    images = share @ nu.clouds.points[None]
    right = curve(P, mu, nu, t)
    shape = (*P.plans.shape, mu.clouds.points.shape[-1])
    points = (1.0 - t) * mu.clouds.points[:, None, :, None] + t * images[:, :, :, None]
    return right._replace(
        clouds=right.clouds._replace(points=np.broadcast_to(points, shape).reshape(right.clouds.points.shape))
    )


def functionals_are_those_of_the_plans(curve, draw):
    """``∫ (∫ φ dμ)² dM_t`` with φ a square and a sine, relative to the largest φ²."""
    mu, nu = two_families(draw)
    coupling, t, k = rounded_coupling(draw, mu, nu), float(draw.times()[0]), draw.normal(draw.d)
    found = draw.call(lambda *args: curve(*args, t), coupling, mu, nu)
    worst = 0.0
    for phi in (np.square, np.sin):
        truth, largest = 0.0, 0.0
        for i, j in np.ndindex(coupling.outer.shape):
            inside = 0.0
            for (m, n), mass in np.ndenumerate(coupling.plans[i, j]):
                value = phi(((1.0 - t) * mu.clouds.points[i, m] + t * nu.clouds.points[j, n]) @ k)
                inside, largest = inside + mass * value, max(largest, value**2)
            truth += coupling.outer[i, j] * inside**2
        value = np.sum(
            found.weights * np.sum(found.clouds.weights * phi(found.clouds.points @ k), axis=1) ** 2
        )
        worst = worst_of(worst, abs(value - truth) / largest)
    return worst


# GWFM-22


def gwfm_22() -> Item:
    """Objective of a random coupling."""
    return Item(
        id="GWFM-22",
        paper="GWFM",
        place="Theorem 2.5, eq. 22; proof, eqs. 72-94",
        title="objective of a random coupling, and its minimiser",
        latex=(
            r"\mathcal L(w)=\int_0^1\!\iint\|w_t(e_t(x,y),(e_t)_\sharp\pi)-(y-x)\|^2d\pi\,d\mathbf P\,dt"
            r"=\|w-v\|^2+\mathrm{const}"
        ),
        statement="The minimiser v is the mean of y - x given time, place and measure.",
        functions=(coupling_loss, cloud_loss),
        checks=(
            Check(
                "NumPy, pair after pair",
                loss_of_all_pairs,
                coupling_loss,
                {
                    "displacement reversed": lambda w, P, mu, nu: coupling_loss(-w, P, mu, nu),
                    "half of it": lambda w, P, mu, nu: 0.5 * coupling_loss(w, P, mu, nu),
                    "plans independent": lambda w, P, mu, nu: coupling_loss(
                        w, random_coupling(mu, nu, P.outer, independent_plan), mu, nu
                    ),
                    "outer plan independent": lambda w, P, mu, nu: coupling_loss(
                        w, P._replace(outer=product_of_outer(mu, nu)), mu, nu
                    ),
                },
                roundings(100, "a sum of 72 squares"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "two plans whose clouds meet at t = 1/2: least squares by hand",
                minimiser_is_the_conditional_mean,
                _minimiser,
                {
                    "of the first plan only": lambda x, y, weights: _minimiser(x[:1], y[:1], weights[:1]),
                    "velocity over what time is left": lambda x, y, weights: 2.0 * _minimiser(x, y, weights),
                    "displacement reversed": lambda x, y, weights: _minimiser(y, x, weights),
                    "weights left out": lambda x, y, weights: weights[0, :, None] * _minimiser(x, y, weights),
                },
                roundings(300, "a division by weights of about 1/5"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "decomposition on two plans whose clouds meet at t = 1/2",
                loss_is_a_distance_and_a_constant,
                cloud_loss,
                {
                    "sum over the points": lambda pred, target, weights: (
                        np.sum((pred - target) ** 2) / len(pred),
                        None,
                    ),
                    "without the constant": lambda pred, target, weights: (
                        np.sum(weights[0] * np.sum((pred[0] - target.mean(axis=0)) ** 2, axis=-1)),
                        None,
                    ),
                    "norm of the mean error": lambda pred, target, weights: (
                        np.mean(np.sum(np.sum(weights[..., None] * (pred - target), axis=1) ** 2, axis=-1)),
                        None,
                    ),
                },
                roundings(100, "a sum of at most 30 squares"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def loss_of_all_pairs(loss, draw):
    """``Σ Π_ij π_ij,pq ‖w_ij,pq - (y_jq - x_ip)‖²`` for random values w, relative."""
    mu, nu = two_families(draw)
    coupling = rounded_coupling(draw, mu, nu)
    M, N, n, m = coupling.plans.shape
    field = draw.normal(M * N, n * m, draw.d)
    values, truth = field.reshape(M, N, n, m, draw.d), 0.0
    for i, j in np.ndindex(M, N):
        for p, q in np.ndindex(n, m):
            error = values[i, j, p, q] - (nu.clouds.points[j, q] - mu.clouds.points[i, p])
            truth += coupling.outer[i, j] * coupling.plans[i, j, p, q] * error @ error
    return abs(draw.call(loss, field, coupling, mu, nu) / truth - 1.0)


def _minimiser(x, y, weights):
    """Velocities (n, d), one for all clouds of the batch, where the derivative of the loss vanishes.

    The loss is quadratic: ``2 aᵢ wᵢ`` plus its derivative at w = 0, summed over the clouds, is 0.
    """
    target = displacement_velocity(x, y)
    derivative = cloud_loss(0.0 * target, target, weights)[1]
    return -array_namespace(x).sum(derivative, axis=0) / (2.0 * weights[0, ...][:, None])


def _colliding(draw):
    """Two pairs of clouds x, y (2, n, d) with ``(x + y) / 2`` the same, and their weights (2, n).

    Small multiples of a power of 2, so that they meet exactly in float32 too.
    """
    place, velocity = (
        draw.rng.integers(-64, 64, (POINTS, draw.d)),
        draw.rng.integers(-64, 64, (2, POINTS, draw.d)),
    )
    weights = draw.weights(POINTS)
    return (place - velocity) / 32.0, (place + velocity) / 32.0, np.stack([weights, weights])


def minimiser_is_the_conditional_mean(minimiser, draw):
    """Minimiser against the mean of the two displacements; infinite if the clouds do not meet."""
    x, y, weights = _colliding(draw)
    middle = draw.call(lambda x, y: displacement(x, y, 0.5), x, y)
    if not np.array_equal(middle[0], middle[1]):
        return np.inf
    truth = np.mean(y - x, axis=0)
    return np.max(np.abs(draw.call(minimiser, x, y, weights) - truth)) / np.max(np.abs(y - x))


def loss_is_a_distance_and_a_constant(loss, draw):
    """``L(w) - ‖w - v‖²`` of a random field w against ``‖(y - x) - v‖²``, relative to ``L(w)``."""
    x, y, weights = _colliding(draw)
    target, field = y - x, draw.normal(POINTS, draw.d)
    mean = np.mean(target, axis=0)
    distance, constant = (
        np.sum(weights[0] * np.mean(np.sum((part - mean) ** 2, axis=-1), axis=0))
        for part in (field[None], target)
    )
    value = draw.call(loss, np.stack([field, field]), target, weights)[0]
    return abs(value - distance - constant) / (distance + constant)


# GWFM-23


def gwfm_23() -> Item:
    """Energy of the optimal curve."""

    def energy_of(couple, energy=_energy):
        return lambda mu, nu, t: energy(couple(mu, nu), mu, nu, t)

    return Item(
        id="GWFM-23",
        paper="GWFM",
        place="Theorem 2.5, eq. 23; proof, eqs. 95-97",
        title="energy of the optimal curve",
        latex=r"\mathbf W_2^2(\mathbf M,\mathbf N)=\int_0^1\!\iint\|v_t(x,\mu)\|^2\,d\mu\,d\mathbf M_t\,dt",
        statement="With optimal outer and inner plans the kinetic energy is the squared distance.",
        functions=(inner, sq_wow_distance),
        checks=(
            Check(
                "SciPy linprog (HiGHS) for both levels",
                energy_is_the_squared_distance,
                energy_of(optimal_coupling),
                {
                    "independent outer plan": energy_of(
                        lambda mu, nu: random_coupling(mu, nu, product_of_outer(mu, nu), optimal_plan)
                    ),
                    "independent inner plans": energy_of(
                        lambda mu, nu: random_coupling(
                            mu, nu, sq_wow_distance(mu, nu).outer.plan, independent_plan
                        )
                    ),
                    "speed of the mean": energy_of(optimal_coupling, _mean_energy),
                    "half of it": energy_of(optimal_coupling, lambda *args: 0.5 * _energy(*args)),
                },
                SOLVER,
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _velocities(coupling, mu, nu):
    """``y - x`` of all pairs of points, (M N, n m, d), in the order of ``curve``."""
    starts, ends = (curve(coupling, mu, nu, t).clouds.points for t in (0.0, 1.0))
    return displacement_velocity(starts, ends)


def _energy(coupling, mu, nu, t):
    """Inner product of the velocity with itself; on the curve of optimal plans no points meet."""
    v = _velocities(coupling, mu, nu)
    return inner(curve(coupling, mu, nu, t), v, v)


def _mean_energy(coupling, mu, nu, t):
    at, v = curve(coupling, mu, nu, t), _velocities(coupling, mu, nu)
    masses = at.weights[:, None] * at.clouds.weights
    mean = np.broadcast_to(np.sum(masses[..., None] * v, axis=(0, 1)), v.shape)
    return inner(at, mean, mean)


def energy_is_the_squared_distance(energy, draw):
    """``∬ ‖v‖² dμ dM_t`` at a random time against the distance, relative."""
    mu, nu = two_families(draw)
    t = float(draw.times(0.2, 0.8)[0])
    found = draw.call(lambda mu, nu: energy(mu, nu, t), mu, nu)
    return abs(found / least_cost(inner_distances(mu, nu), mu.weights, nu.weights) - 1.0)


# GWFM-71


def gwfm_71() -> Item:
    """Speed of the curve."""
    return Item(
        id="GWFM-71",
        paper="GWFM",
        place="Theorem 2.5, proof, eq. 71",
        title="the curve is Lipschitz, and a geodesic for optimal plans",
        latex=(
            r"\mathbf W_2(\mathbf M_s,\mathbf M_t)\le|t-s|\Bigl(\iint\|x-y\|^2\,d\pi\,d\mathbf P\Bigr)^{1/2}"
        ),
        statement="No curve is faster than the root of its coupling's cost; the optimal one is as fast.",
        functions=(curve, sq_wow_distance, sq_coupling_cost),
        checks=(
            Check(
                "HiGHS for both levels: constant speed of the optimal curve",
                optimal_curve_has_constant_speed,
                lambda mu, nu, s, t: _sq_length(optimal_coupling(mu, nu), mu, nu, s, t),
                {
                    "independent inner plans": lambda mu, nu, s, t: _sq_length(
                        random_coupling(mu, nu, sq_wow_distance(mu, nu).outer.plan, independent_plan),
                        mu,
                        nu,
                        s,
                        t,
                    ),
                    "time squared": lambda mu, nu, s, t: _sq_length(
                        optimal_coupling(mu, nu), mu, nu, s * s, t * t
                    ),
                    "not squared": lambda mu, nu, s, t: np.sqrt(
                        _sq_length(optimal_coupling(mu, nu), mu, nu, s, t)
                    ),
                },
                SOLVER,
                dimensions=(1, 2),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "the bound, for random couplings",
                any_curve_is_lipschitz,
                _sq_length,
                {
                    "time squared": lambda P, mu, nu, s, t: _sq_length(P, mu, nu, s * s, t * t),
                    "points twice as fast": lambda P, mu, nu, s, t: 4.0 * _sq_length(P, mu, nu, s, t),
                },
                SOLVER,
                dimensions=(1, 2),
                repeats=1,
            ),
        ),
    )


def _sq_length(coupling, mu, nu, s, t):
    """Squared distance of the curve's families at two times."""
    ends = (curve(coupling, mu, nu, time) for time in (s, t))
    return sq_wow_distance(*ends).sq_distance


def optimal_curve_has_constant_speed(sq_length, draw):
    """``W_2²(M_s, M_t)`` against ``(t - s)² W_2²(M, N)``, relative to it."""
    mu, nu = two_families(draw)
    whole = least_cost(inner_distances(mu, nu), mu.weights, nu.weights)
    worst = 0.0
    for s, t in ((0.0, 0.5), (0.25, 0.875)):
        found = draw.call(lambda mu, nu, s=s, t=t: sq_length(mu, nu, s, t), mu, nu)
        worst = worst_of(worst, abs(found / ((t - s) ** 2 * whole) - 1.0))
    return worst


def any_curve_is_lipschitz(sq_length, draw):
    """How much ``W_2²(M_s, M_t)`` exceeds ``(t - s)²`` times the cost, for families far from each other."""
    mu, nu = two_families(draw, shift=8.0)
    coupling = rounded_coupling(draw, mu, nu)
    costs = np.sum((mu.clouds.points[:, None, :, None] - nu.clouds.points[:, None]) ** 2, axis=-1)
    bound = np.sum(coupling.outer * np.sum(coupling.plans * costs, axis=(-2, -1)))
    s, t = 0.5625, 0.9375
    found = draw.call(lambda *args: sq_length(*args, s, t), coupling, mu, nu)
    return worst_of(0.0, found / ((t - s) ** 2 * bound) - 1.0)
