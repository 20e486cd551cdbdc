"""Audited flows over measures: the continuity equation of families, and what integrating a field does."""

import numpy as np

from refwfm.clouds import moments
from refwfm.generation import generate_clouds
from refwfm.interpolation import displacement_velocity
from refwfm.measures import PointCloud
from refwfm.transport.families import Family, curve
from refwfm.transport.fields import inner
from refwfm.validation import textbook
from refwfm.validation.check import Check, Item, Tolerance, differences, roundings, worst_of
from refwfm.validation.families import independent_normals_field, rounded_coupling, two_families
from refwfm.validation.textbook import derivative, relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_11(), gwfm_12()]


# GWFM-11


def gwfm_11() -> Item:
    """Continuity equation over measures."""
    return Item(
        id="GWFM-11",
        paper="GWFM",
        place="Theorem 2.3, eq. 11; appendix A.1, eqs. 42 and 43",
        title="continuity equation of families, on cylinder functions",
        latex=(
            r"\frac d{dt}\int F\,d\mathbf M_t"
            r"=\iint\langle\nabla F[\mu](x),v_t(x,\mu)\rangle\,d\mu\,d\mathbf M_t,"
            r"\qquad\nabla F[\mu]=\textstyle\sum_i\partial_i\Psi\,\nabla\varphi_i"
        ),
        statement="Smooth functions of finitely many integrals of a measure are carried by the field.",
        functions=(inner,),
        checks=(
            Check(
                "finite differences in time",
                cylinder_functions_are_carried,
                _points_and_velocities,
                {
                    "the sign": _flawed(lambda points, masses, weights, v: (points, masses, weights, -v)),
                    "mean velocity for all points": _flawed(
                        lambda points, masses, weights, v: (
                            points,
                            masses,
                            weights,
                            np.broadcast_to(np.sum(masses[..., None] * v, axis=1, keepdims=True), v.shape),
                        )
                    ),
                    "points at the start": lambda P, mu, nu, t: (
                        *_points_and_velocities(P, mu, nu, 0.0)[:3],
                        _points_and_velocities(P, mu, nu, t)[3],
                    ),
                    "one measure, the mean of the family": _flawed(_mean_measure),
                },
                differences(3000, "a derivative of a cubic in sums of 72 terms"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "finite differences in time of the functional, its gradient by hand",
                rate_is_an_inner_product,
                inner,
                {
                    "the sign": lambda family, u, v: -inner(family, u, v),
                    "half of it": lambda family, u, v: 0.5 * inner(family, u, v),
                    "weights of the measures left out": lambda family, u, v: inner(
                        family._replace(weights=0.0 * family.weights + 1.0 / len(family.weights)), u, v
                    ),
                    "product of the means": lambda family, u, v: np.sum(
                        family.weights * np.sum(_mean_of(family, u) * _mean_of(family, v), axis=-1)
                    ),
                },
                differences(3000, "a derivative of a cubic in sums of 72 terms"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _points_and_velocities(coupling, mu, nu, t):
    """The family at time t, points (K, m, d), masses (K, m), weights (K,), and velocities (K, m, d)."""
    starts, at, ends = (curve(coupling, mu, nu, time) for time in (0.0, t, 1.0))
    return *at.clouds, at.weights, displacement_velocity(starts.clouds.points, ends.clouds.points)


def _flawed(change):
    return lambda *args: change(*_points_and_velocities(*args))


def _mean_measure(points, masses, weights, v):
    flat = (weights[:, None] * masses).reshape(1, -1)
    d = points.shape[-1]
    return points.reshape(1, -1, d), flat, np.ones(1), v.reshape(1, -1, d)


def _mean_of(family, field):
    return np.sum(family.clouds.weights[..., None] * field, axis=1)


def cylinder_functions_are_carried(carried, draw):
    """Rate of ``∫ Ψ dM_t``, ``Ψ = u₁² u₂ + sin u₂``, with u integrals of ``(k·x)² / 2`` and ``sin k·x``."""
    return _rate_error(draw, lambda family, u, v: _product(*family.clouds, family.weights, u, v), carried)


def rate_is_an_inner_product(inner, draw):
    """The same rate, from the gradient of the functional and the velocities."""
    return _rate_error(draw, lambda *args: draw.call(inner, *args), _points_and_velocities)


def _product(points, masses, weights, u, v):
    return np.sum(weights[:, None] * masses * np.sum(u * v, axis=-1))


def _rate_error(draw, product, carried):
    mu, nu = two_families(draw)
    coupling, t = rounded_coupling(draw, mu, nu), float(draw.times(0.2, 0.8)[0])
    k = draw.normal(draw.d) / np.sqrt(draw.d)

    def integrals(points, masses):
        along = points @ k
        return np.sum(masses * along**2, axis=-1) / 2.0, np.sum(masses * np.sin(along), axis=-1)

    def functional(time):
        x, y = mu.clouds.points[:, None, :, None], nu.clouds.points[None, :, None]
        points = (1.0 - time) * x + time * y
        u1, u2 = (np.sum(part, axis=-1) for part in integrals(points, coupling.plans))
        return np.sum(coupling.outer * (u1**2 * u2 + np.sin(u2)))

    points, masses, weights, v = draw.call(lambda *args: carried(*args, t), coupling, mu, nu)
    u1, u2 = integrals(points, masses)
    along, speed = points @ k, v @ k
    slope = (2.0 * u1 * u2)[:, None] * along + (u1**2 + np.cos(u2))[:, None] * np.cos(along)
    rate = product(Family(PointCloud(points, masses), weights), slope[..., None] * k, v)
    scale = np.sum(weights[:, None] * masses * np.abs(slope * speed))
    return abs(rate - derivative(functional, t)) / scale


# GWFM-12


def gwfm_12() -> Item:
    """Flow of a field."""
    rk4 = {"n_steps": 100, "method": "rk4"}
    return Item(
        id="GWFM-12",
        paper="GWFM",
        place="Theorems 2.1 and 2.3, eqs. 5-7 and 12-14",
        title="flow of a field, of the place alone and of the measure too",
        latex=r"\dot\varphi_t(x)=v_t(\varphi_t(x),\mu_t),\quad\varphi_0=\mathrm{id},\quad\mu_t=(\varphi_t)_\sharp\mu_0",
        statement="Integrating the field carries the source to the target, and every point along its path.",
        functions=(generate_clouds,),
        checks=(
            Check(
                "closed form: the flow of (9) for independent normal ends",
                flow_is_the_closed_form,
                generate_clouds,
                {
                    "Euler steps": lambda field, source, **_: generate_clouds(field, source, n_steps=100),
                    "field backwards": lambda field, source, **_: generate_clouds(
                        lambda cloud, t: field(cloud, 1.0 - t), source, **rk4
                    ),
                    "half of the field": lambda field, source, **_: generate_clouds(
                        lambda cloud, t: 0.5 * field(cloud, t), source, **rk4
                    ),
                },
                Tolerance(1e-6, 1e-4, "100 steps of order 4; in float32 400 roundings"),
                dimensions=(1, 3),
            ),
            Check(
                "moments of the target, textbook map",
                flow_of_the_measure_reaches_its_moments,
                generate_clouds,
                {
                    "the measure of the start": _frozen,
                    "half of the field": lambda field, source, **options: generate_clouds(
                        lambda cloud, t: 0.5 * field(cloud, t), source, **options
                    ),
                    "mean only": lambda field, source, **options: generate_clouds(
                        lambda cloud, t: np.broadcast_to(
                            np.mean(field(cloud, t), axis=1, keepdims=True), cloud.points.shape
                        ),
                        source,
                        **options,
                    ),
                },
                roundings(3000, "condition number 30, SciPy's root at each of 5 steps"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _frozen(field, source, **options):
    return generate_clouds(
        lambda cloud, t: field(PointCloud(source.points, cloud.weights), t), source, **options
    )


def flow_is_the_closed_form(generate, draw):
    """Ends of all points against ``m + s x``; the standard deviation at t is ``((1-t)² + t² s²)^½``."""
    x = draw.normal(draw.size, 6, draw.d)
    mean, std = draw.normal(draw.d), draw.rounded(draw.rng.uniform(0.5, 2.0, draw.d))
    source = PointCloud(x, np.full((draw.size, 6), 1.0 / 6.0))

    def field(cloud, t):
        points, time = draw.to_host(cloud.points), draw.to_host(t)[:, None, None]
        intercept, slope = independent_normals_field(mean, std, time)
        return draw.to_backend(intercept + slope * points)

    end = draw.call(generate, field, source, n_steps=100, method="rk4")
    return relative(end.points, mean + std * x)


def flow_of_the_measure_reaches_its_moments(generate, draw):
    """Moments at the end of ``(T(x) - x) / (1 - t)``, T the Gelbrich map from the cloud's moments to nu's."""
    mu, nu = draw.gaussians(), draw.gaussians()
    points = draw.rounded(textbook.cloud(mu))
    source = PointCloud(points, np.full(points.shape[:2], 1.0 / points.shape[1]))

    def field(cloud, t):
        mean, cov = draw.to_host(moments(*cloud))
        x, time = draw.to_host(cloud.points), draw.to_host(t)[:, None, None]
        image = nu.mean[:, None] + (x - mean[:, None]) @ textbook.gelbrich_map(cov, nu.cov)
        return draw.to_backend((image - x) / (1.0 - time))

    end = draw.call(lambda field, source: moments(*generate(field, source, n_steps=5)), field, source)
    scale = 1.0 + np.max(np.abs(mu.mean), axis=-1) + np.max(np.abs(nu.mean), axis=-1)
    return worst_of(relative(end.mean, nu.mean, scale), relative(end.cov, nu.cov))
