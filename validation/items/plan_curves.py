"""Audited curves of plans between two measures: the field that drives them, and its energy."""

import numpy as np
import scipy.integrate

from refwfm._array import array_namespace
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud
from refwfm.objectives import cloud_loss
from refwfm.transport.exact import transport_plan
from refwfm.transport.families import Family, RandomCoupling, curve
from refwfm.transport.fields import mean_displacement
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.families import (
    any_plan,
    independent_normals_field,
    least_cost,
    random_family,
    sq_costs,
)
from refwfm.validation.textbook import relative

NODES = 6


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_8(), gwfm_9(), gwfm_10()]


# GWFM-8


def gwfm_8() -> Item:
    """Curve of a plan."""
    return Item(
        id="GWFM-8",
        paper="GWFM",
        place="Theorem 2.2, eq. 8",
        title="curve of measures of a plan",
        latex=r"\mu_t=(e_t)_\sharp\pi,\qquad\pi\in\Pi(\mu_0,\mu_1),\quad e_t(x,y)=(1-t)x+ty",
        statement="Any plan, optimal or not, makes a curve between its marginals.",
        functions=(displacement, curve),
        checks=(
            Check(
                "moments: covariance from those of x, y and their cross-covariance",
                moments_of_the_curve,
                _curve_of_plan,
                {
                    "time reversed": lambda x, y, plan, t: _curve_of_plan(x, y, plan, 1.0 - t),
                    "independent plan": lambda x, y, plan, t: _curve_of_plan(
                        x, y, np.outer(plan.sum(axis=1), plan.sum(axis=0)), t
                    ),
                    "every point to the mean of its targets": lambda x, y, plan, t: PointCloud(
                        (1.0 - t) * x + t * (plan @ y) / plan.sum(axis=1, keepdims=True), plan.sum(axis=1)
                    ),
                    "mixture of the marginals": lambda x, y, plan, t: PointCloud(
                        np.concatenate([x, y]),
                        np.concatenate([(1.0 - t) * plan.sum(axis=1), t * plan.sum(axis=0)]),
                    ),
                },
                roundings(300, "sums of 12 products"),
            ),
        ),
    )


def _curve_of_plan(x, y, plan, t):
    """The curve of families of one cloud each."""
    xp = array_namespace(plan)
    one = xp.ones_like(plan[:1, 0])
    mu = Family(PointCloud(x[None, ...], xp.sum(plan, axis=1)[None, ...]), one)
    nu = Family(PointCloud(y[None, ...], xp.sum(plan, axis=0)[None, ...]), one)
    at = curve(RandomCoupling(one[:, None], plan[None, None, ...]), mu, nu, t)
    return PointCloud(*(part[0, ...] for part in at.clouds))


def _pair_with_plan(draw):
    """Points x (4, d), y (3, d) and a plan that is neither optimal nor independent."""
    (x, a), (y, b) = (PointCloud(*(part[0] for part in random_family(draw, 1, n).clouds)) for n in (4, 3))
    return x, y, draw.rounded(any_plan(draw.rng, a, b))


def moments_of_the_curve(curve, draw):
    """Mean ``(1-t) a + t b``, covariance ``(1-t)² A + t² B + t (1-t) (C + Cᵀ)``, relative to their sizes."""
    x, y, plan = _pair_with_plan(draw)
    a, b = plan.sum(axis=1), plan.sum(axis=0)
    worst = 0.0
    for t in (0.0, 0.25, 0.625, 1.0):
        found = draw.call(lambda x, y, plan, t=t: curve(x, y, plan, t), x, y, plan)
        mean = (1.0 - t) * a @ x + t * b @ y
        dx, dy = x - a @ x, y - b @ y
        cross = dx.T @ plan @ dy
        cov = (1.0 - t) ** 2 * dx.T @ (a[:, None] * dx) + t**2 * dy.T @ (b[:, None] * dy)
        cov += t * (1.0 - t) * (cross + cross.T)
        seen = found.weights @ found.points
        centred = found.points - seen
        size = max(np.max(np.abs(x)), np.max(np.abs(y)))
        worst = worst_of(
            worst,
            np.max(np.abs(seen - mean)) / size,
            np.max(np.abs(centred.T @ (found.weights[:, None] * centred) - cov)) / size**2,
        )
    return worst


# GWFM-9


def gwfm_9() -> Item:
    """Field of a plan."""
    return Item(
        id="GWFM-9",
        paper="GWFM",
        place="Theorem 2.2, eq. 9; WFM eq. 15",
        title="field that drives the curve of a plan",
        latex=(
            r"v=\arg\min_v\int_0^1\!\int\|v_t(e_t(x,y))-(y-x)\|^2d\pi\,dt,"
            r"\qquad v_t(z)=\mathbb E[Y-X\mid X_t=z]"
        ),
        statement="Least squares on the displacements: plain flow matching, between two measures.",
        functions=(mean_displacement, cloud_loss),
        checks=(
            Check(
                "NumPy, pair after pair: plans whose points meet at t = 1/2",
                mean_of_those_that_meet,
                mean_displacement,
                {
                    "displacement reversed": lambda x, y, weights, t: mean_displacement(y, x, weights, t),
                    "nobody meets": lambda x, y, weights, t: y - x,
                    "all meet": lambda x, y, weights, t: mean_displacement(x, y, weights, t, radius=99.0),
                    "weights left out": lambda x, y, weights, t: mean_displacement(x, y, np.sign(weights), t),
                    "at the other time": lambda x, y, weights, t: mean_displacement(x, y, weights, 0.75 * t),
                },
                roundings(100, "means of at most 6 numbers"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "closed form for independent normal ends, exact by Gauss-Hermite quadrature",
                fitted_field_is_the_closed_form,
                _fitted_field,
                {
                    "time reversed": lambda x, y, weights, t: _fitted_field(x, y, weights, 1.0 - t),
                    "targets y instead of y - x": lambda x, y, weights, t: _fitted_field(
                        0.0 * x, y, weights, t, at=x
                    ),
                    "weights left out": lambda x, y, weights, t: _fitted_field(
                        x, y, np.full_like(weights, 1.0 / weights.size), t
                    ),
                    "the mean displacement": lambda x, y, weights, t: np.concatenate(
                        [np.sum(weights[..., None] * (y - x), axis=1), np.zeros((3, 1))]
                    ),
                },
                Tolerance(1e-10, 1e-3, "normal equations of cubics on 36 nodes, condition about 1e4"),
                dimensions=(1,),
                repeats=4,
            ),
            Check(
                "random test functions: the residual is orthogonal to them",
                residual_is_orthogonal,
                _derivative_at,
                {
                    "half of the field": lambda x, y, weights, t, field: _derivative_at(
                        x, y, weights, t, 0.5 * field
                    ),
                    "points at the wrong time": lambda x, y, weights, t, field: (
                        _derivative_at(x, y, weights, 1.0 - t, field) + 0.1 * weights[..., None]
                    ),
                    "a sum over the atoms": lambda x, y, weights, t, field: (
                        field - displacement_velocity(x, y)
                    ),
                },
                roundings(300, "sums of 36 products"),
                dimensions=(1,),
                repeats=4,
            ),
        ),
    )


def mean_of_those_that_meet(field, draw):
    """Twelve pairs that meet in four places, one of them without mass, against sums over the places."""
    place = np.repeat(draw.rng.integers(-64, 64, (draw.size, 4, draw.d)), 3, axis=1)
    velocity = draw.rng.integers(-64, 64, (draw.size, 12, draw.d))
    order = draw.rng.permutation(12)
    x, y = (place - velocity)[:, order] / 32.0, (place + velocity)[:, order] / 32.0
    weights = np.stack([draw.weights(12) for _ in range(draw.size)])
    weights[:, 0] = 0.0
    found = draw.call(field, x, y, weights, np.full(draw.size, 0.5))
    truth = np.zeros_like(x)
    for k in range(draw.size):
        for i in range(1, 12):
            here = [j for j in range(1, 12) if np.array_equal(x[k, i] + y[k, i], x[k, j] + y[k, j])]
            truth[k, i] = np.average([y[k, j] - x[k, j] for j in here], axis=0, weights=weights[k, here])
    return relative(found, truth, np.max(np.abs(y - x)))


def _fitted_field(x, y, weights, t, at=None):
    """Coefficients (4, 1) of the cubic in z that minimises ``cloud_loss`` at time t, from its derivatives.

    The loss is quadratic in the coefficients: one Newton step from 0 finds the minimum.
    """
    xp = array_namespace(x, y)
    z = displacement(x if at is None else at, y, t)
    target = displacement_velocity(x, y)
    powers = [xp.ones_like(z), z, z**2, z**3]
    at_zero = cloud_loss(0.0 * target, target, weights)[1]
    slopes = [cloud_loss(power, target, weights)[1] - at_zero for power in powers]
    hessian = xp.stack([xp.stack([xp.sum(p * slope) for slope in slopes]) for p in powers])
    right = xp.stack([-xp.sum(p * at_zero) for p in powers])
    return xp.linalg.solve(hessian, right[:, None])


def _product_of_normals(draw):
    """Atoms x, y (1, 36, 1) and weights of N(0, 1) ⊗ N(m, s²), exact up to degree 11; m and s."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(NODES)
    masses = masses / masses.sum()
    mean, std = float(draw.normal()), float(draw.rounded(draw.rng.uniform(0.5, 2.0)))
    x, y = np.repeat(nodes, NODES), mean + std * np.tile(nodes, NODES)
    weights = np.outer(masses, masses).ravel()
    return (
        draw.rounded(x[None, :, None]),
        draw.rounded(y[None, :, None]),
        draw.rounded(weights[None]),
        mean,
        std,
    )


def fitted_field_is_the_closed_form(fit, draw):
    """Coefficients of the best cubic, against those of the linear closed form."""
    x, y, weights, mean, std = _product_of_normals(draw)
    worst = 0.0
    for t in (0.25, 0.625):
        found = draw.call(lambda x, y, weights, t=t: fit(x, y, weights, t), x, y, weights)
        truth = np.array([*independent_normals_field(mean, std, t), 0.0, 0.0])
        worst = worst_of(worst, np.max(np.abs(found.ravel() - truth)) / np.max(np.abs(truth)))
    return worst


def _derivative_at(x, y, weights, t, field):
    """Derivative of the loss at a field's values, divided by 2."""
    return 0.5 * cloud_loss(field, displacement_velocity(x, y), weights)[1]


def residual_is_orthogonal(derivative_at, draw):
    """Derivative at the closed form's values, in the directions of random cubics of the place."""
    x, y, weights, mean, std = _product_of_normals(draw)
    worst = 0.0
    for t in (0.25, 0.625):
        z = (1.0 - t) * x + t * y
        intercept, slope = independent_normals_field(mean, std, t)
        field = draw.rounded(intercept + slope * z)
        found = draw.call(
            lambda x, y, weights, field, t=t: derivative_at(x, y, weights, t, field), x, y, weights, field
        )
        test = np.polynomial.Polynomial(draw.normal(4))(z)
        scale = np.sum(weights * np.abs(test[..., 0])) * np.max(np.abs(y - x))
        worst = worst_of(worst, abs(np.sum(found * test)) / scale)
    return worst


# GWFM-10


def gwfm_10() -> Item:
    """Energy of an optimal plan's curve."""
    return Item(
        id="GWFM-10",
        paper="GWFM",
        place="Theorem 2.2, eq. 10",
        title="energy of the curve of an optimal plan",
        latex=r"W_2^2(\mu_0,\mu_1)=\int_0^1\!\int\|v_t\|^2\,d\mu_t\,dt\quad\text{if }\pi\text{ is optimal}",
        statement="The points of an optimal plan never meet on the way: none of their energy is lost.",
        functions=(transport_plan,),
        checks=(
            Check(
                "SciPy linprog (HiGHS), and the distance of points on the way",
                energy_is_the_squared_distance,
                _optimal_plan,
                {
                    "independent plan": lambda x, y, a, b: np.outer(a, b),
                    "half of the mass independent": lambda x, y, a, b: (
                        0.5 * _optimal_plan(x, y, a, b) + 0.5 * np.outer(a, b)
                    ),
                    "dearest plan": lambda x, y, a, b: transport_plan(100.0 - sq_costs(x, y), a, b).plan,
                },
                Tolerance(1e-9, 1e-4, "two solvers of one linear programme, each up to its own tolerance"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "SciPy quad of the closed form for independent normal ends, and bounds",
                energy_of_independent_normals,
                _fitted_field,
                {
                    "field of twice the size": lambda *args: 2.0 * _fitted_field(*args),
                    "time reversed": lambda x, y, weights, t: _fitted_field(x, y, weights, 1.0 - t),
                    "field of the end": lambda x, y, weights, t: _fitted_field(x, y, weights, 0.9),
                },
                Tolerance(1e-9, 1e-3, "24 Gauss-Legendre nodes in time; normal equations of cubics"),
                dimensions=(1,),
                repeats=1,
            ),
        ),
    )


def _optimal_plan(x, y, a, b):
    return transport_plan(sq_euclidean_cost(x, y), a, b).plan


def energy_is_the_squared_distance(plan_of, draw):
    """``Σ mass ‖E[y - x | place]‖²`` at two times against the least cost; infinite if points meet."""
    (x, a), (y, b) = (PointCloud(*(part[0] for part in random_family(draw, 1, n).clouds)) for n in (5, 4))
    plan = draw.call(plan_of, x, y, a, b)
    truth, worst = least_cost(sq_costs(x, y), a, b), 0.0
    rows, columns = np.nonzero(plan > 1e-9)
    for t in (0.25, 0.5):
        place = (1.0 - t) * x[rows] + t * y[columns]
        gaps = sq_costs(place, place) + np.eye(len(place))
        if np.min(gaps) < 1e-12:
            return np.inf
        energy = plan[rows, columns] @ np.sum((y[columns] - x[rows]) ** 2, axis=1)
        worst = worst_of(worst, abs(energy / truth - 1.0))
    return worst


def energy_of_independent_normals(fit, draw):
    """Energy of the fitted field for m² = 9/4, s = 2 against the integral of the closed form, relative.

    Infinite out of the bounds ``W_2² <= energy <= E ‖Y - X‖²``, 3.25 <= 4.11 <= 7.25.
    """
    mean, std = 1.5, 2.0
    nodes, masses = np.polynomial.hermite_e.hermegauss(NODES)
    masses = masses / masses.sum()
    x, y = np.repeat(nodes, NODES)[None, :, None], mean + std * np.tile(nodes, NODES)[None, :, None]
    weights = np.outer(masses, masses).ravel()[None]
    energy = 0.0
    for node, share in zip(*np.polynomial.legendre.leggauss(24), strict=True):
        t = 0.5 + 0.5 * float(node)
        found = draw.call(
            lambda x, y, weights, t=t: fit(x, y, weights, t), *map(draw.rounded, (x, y, weights))
        )
        v = np.polynomial.Polynomial(found.ravel())((1.0 - t) * x + t * y)
        energy += 0.5 * share * np.sum(weights * v[..., 0] ** 2)
    rate = scipy.integrate.quad(
        lambda t: independent_normals_field(mean, std, t)[1] ** 2 * ((1.0 - t) ** 2 + (t * std) ** 2),
        0.0,
        1.0,
    )[0]
    if not 3.25 <= energy <= 7.25:
        return np.inf
    return abs(energy / (mean**2 + rate) - 1.0)
