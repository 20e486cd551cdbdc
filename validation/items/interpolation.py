"""Audited formulas of moving clouds: displacement interpolation, its velocity, their continuity equation."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import Gaussian
from refwfm.validation import refusals, textbook
from refwfm.validation.check import Check, Item, differences, roundings, worst_of
from refwfm.validation.textbook import block, derivative, gelbrich_map, relative

POINTS = 9


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [wfm_4(), wfm_5(), wfm_7(), prop_a1()]


# WFM-4


def wfm_4() -> Item:
    """McCann interpolation of clouds."""
    return Item(
        id="WFM-4",
        paper="WFM",
        place="section 2.2, eq. 4",
        title="displacement interpolation of clouds",
        latex=r"\mu_t=((1-t)\,\mathrm{id}+tT)_\sharp\mu,\qquad X_t=(1-t)X+tT(X)",
        statement="McCann's interpolation: points move straight to their images; under the optimal map, at "
        "constant speed.",
        functions=(displacement,),
        checks=(
            Check(
                "SciPy assignment: constant speed",
                speed_is_constant,
                displacement,
                {
                    "time reversed": lambda x, images, t: displacement(images, x, t),
                    "without 1 - t": lambda x, images, t: x + block(t) * images,
                    "time squared": lambda x, images, t: displacement(x, images, t * t),
                },
                roundings(300, "squared distances of 9 points"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "textbook: moments of the Gaussian geodesic (WFM-8)",
                moments_are_those_of_the_gaussian_geodesic,
                displacement,
                {
                    "time reversed": lambda x, images, t: displacement(images, x, t),
                    "mixture of the two clouds' moments": _mixture,
                },
                roundings(1000, "condition number 30, SciPy's root"),
                dimensions=(1, 2, 3, 6),
            ),
            refusals.time_check(),
        ),
    )


def speed_is_constant(displacement, draw):
    """``W_2²(μ_s, μ_t) - (t - s)² W_2²(μ, ν)`` for s = 0 and another, relative to W_2²(μ, ν)."""
    x, images = _optimally_paired(draw)
    s, t = draw.times(), draw.times()
    at_s, at_t = (draw.call(displacement, x, images, time) for time in (s, t))
    if at_s.shape != x.shape:
        return np.inf
    whole = _sq_distances(x, images)
    parts = np.stack(
        [_sq_distances(at_s, at_t) - (t - s) ** 2 * whole, _sq_distances(x, at_t) - t**2 * whole]
    )
    return np.max(np.abs(parts) / whole)


def moments_are_those_of_the_gaussian_geodesic(displacement, draw):
    """Clouds with the moments of two Gaussians, moved by the map between these."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    x = textbook.cloud(mu)
    images = nu.mean[:, None, :] + (x - mu.mean[:, None, :]) @ gelbrich_map(mu.cov, nu.cov)
    found, truth = _moments(draw.call(displacement, x, images, t)), textbook.path(mu, nu, t)[0]
    scale = 10.0 + textbook.size(mu.cov, nu.cov, mu.mean**2, nu.mean**2)
    return worst_of(*(relative(*pair, scale) for pair in zip(found, truth, strict=True)))


def _mixture(x, images, t):
    chosen = np.arange(x.shape[1])[None, :] < block(t)[..., 0] * x.shape[1]
    return np.where(chosen[..., None], images, x)


# WFM-5


def wfm_5() -> Item:
    """Continuity equation of clouds."""
    return Item(
        id="WFM-5-clouds",
        paper="WFM",
        place="section 2.2, eqs. 1 and 5",
        title="continuity equation of clouds, in weak form",
        latex=(
            r"\partial_t\mu_t+\nabla\cdot(\mu_tv_t)=0,"
            r"\qquad\frac d{dt}\int\varphi\,d\mu_t=\int\langle\nabla\varphi,v_t\rangle\,d\mu_t"
        ),
        statement="Straight moving points and their velocities carry every smooth function along.",
        functions=(displacement, displacement_velocity),
        checks=(
            Check(
                "finite differences of polynomials and waves",
                smooth_functions_are_carried,
                displacement_velocity,
                {
                    "the sign": lambda x, images: x - images,
                    "half of it": lambda x, images: 0.5 * (images - x),
                    "velocities of other points": lambda x, images: np.roll(images - x, 1, axis=-2),
                    "mean velocity for all": lambda x, images: np.broadcast_to(
                        np.mean(images - x, axis=-2, keepdims=True), x.shape
                    ),
                },
                differences(300),
                dimensions=(1, 2, 3, 6),
            ),
        ),
    )


def smooth_functions_are_carried(velocity, draw):
    """``d/dt E φ(X_t) - E ⟨∇φ(X_t), v⟩`` for a cubic and a wave φ, any map, relative to ``E |∇φ| |v|``."""
    x, images, t = (
        draw.normal(draw.size, POINTS, draw.d),
        draw.normal(draw.size, POINTS, draw.d),
        draw.times(),
    )
    k = draw.normal(draw.size, draw.d, 1) / np.sqrt(draw.d)
    v = draw.call(velocity, x, images)

    def along(s):
        return ((1.0 - block(s)) * x + block(s) * images) @ k

    rates = derivative(lambda s: np.stack([along(s) ** 3, np.sin(along(s))]).mean(axis=(-2, -1)), t)
    slopes = np.stack([3.0 * along(t) ** 2, np.cos(along(t))])
    scale = np.mean(np.abs(slopes * (v @ k)), axis=(-2, -1)).T
    return relative(np.mean(slopes * (v @ k), axis=(-2, -1)).T, rates.T, np.max(scale, axis=1))


# WFM-7


def wfm_7() -> Item:
    """Optimal velocity of clouds."""
    return Item(
        id="WFM-7",
        paper="WFM",
        place="section 2.2, eq. 7 and the line below",
        title="velocity of displacement interpolation",
        latex=r"v_t=(T-\mathrm{id})\circ T_t^{-1},\qquad\dot X_t=T(X_0)-X_0",
        statement="A point keeps the velocity with which it starts.",
        functions=(displacement_velocity,),
        checks=(
            Check(
                "textbook: the field of WFM-10 where the points are",
                velocity_is_the_field_at_the_points,
                displacement_velocity,
                {
                    "the sign": lambda x, images: x - images,
                    "the images themselves": lambda x, images: images,
                    "half of it": lambda x, images: 0.5 * (images - x),
                },
                roundings(3000, "condition number 30; the field divides by T_t"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "SciPy assignment: energy is the distance (WFM-6)",
                energy_is_the_distance,
                displacement_velocity,
                {
                    "twice it": lambda x, images: 2.0 * (images - x),
                    "velocities of other points": lambda x, images: np.roll(images, 1, axis=-2) - x,
                },
                roundings(100, "squared distances of 9 points"),
                dimensions=(1, 2, 3, 6),
            ),
        ),
    )


def velocity_is_the_field_at_the_points(velocity, draw):
    """``T(x) - x`` against ``(T - id) ∘ T_t⁻¹`` at ``T_t(x)``, for the map between two Gaussians."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    x = draw.rounded(textbook.cloud(mu))
    C = gelbrich_map(mu.cov, nu.cov)
    images = nu.mean[:, None, :] + (x - mu.mean[:, None, :]) @ C
    point, v = textbook.path(mu, nu, t)
    truth = textbook.field(v, point, (1.0 - block(t)) * x + block(t) * images)
    return relative(draw.call(velocity, x, images), truth, textbook.size(x, images))


def energy_is_the_distance(velocity, draw):
    """Mean of ``‖v‖²`` against W_2², for optimally paired clouds."""
    x, images = _optimally_paired(draw)
    energy = np.mean(np.sum(draw.call(velocity, x, images) ** 2, axis=-1), axis=-1)
    return relative(energy, _sq_distances(x, images))


# Proposition A.1


def prop_a1() -> Item:
    """Interpolations under two maps stay together."""
    return Item(
        id="WFM-PropA1",
        paper="WFM",
        place="appendix A, proposition A.1",
        title="a map that is nearly optimal gives nearly the geodesic",
        latex=(
            r"W_2^2\bigl(((1-t)\mathrm{id}+tT)_\sharp\mu,((1-t)\mathrm{id}+t\hat T)_\sharp\mu\bigr)"
            r"\le t^2\|\hat T-T\|^2_{L^2(\mu)}"
        ),
        statement="An error of the map enters the interpolation with the factor t; the bound is attained.",
        functions=(displacement,),
        checks=(
            Check(
                "SciPy assignment: any two maps",
                maps_bound_the_distance,
                displacement,
                {
                    "without t": lambda x, images, t: displacement(x, images, np.ones_like(t)),
                    "root of the time": lambda x, images, t: displacement(x, images, np.sqrt(t)),
                    "time reversed, before the middle": lambda x, images, t: displacement(
                        images, x, np.minimum(t, 1.0 - t)
                    ),
                },
                roundings(1000, "differences of about a tenth of points of size about ten"),
                dimensions=(1, 2, 3),
                repeats=3,
            ),
        ),
    )


def maps_bound_the_distance(displacement, draw):
    """How far ``W_2² / (t² ‖T̂ - T‖²)`` is above 1 for any maps, and from 1 for two that hardly differ."""
    far = [draw.normal(draw.size, POINTS, draw.d) for _ in range(3)]
    line = np.zeros((draw.size, POINTS, draw.d))
    line[..., 0] = np.arange(POINTS)
    near = [draw.rounded(part + 0.05 * draw.normal(*line.shape)) for part in (line, 2.0 * line, 2.0 * line)]
    above, apart = (_ratio(displacement, draw, *clouds, draw.times(0.1)) - 1.0 for clouds in (far, near))
    return worst_of(0.0, np.max(above), np.max(np.abs(apart)))


def _ratio(displacement, draw, x, images, others, t):
    moved = [draw.call(displacement, x, part, t) for part in (images, others)]
    bound = t**2 * np.mean(np.sum((images - others) ** 2, axis=-1), axis=-1)
    return _sq_distances(*moved) / bound


# Shared


def _optimally_paired(draw):
    """Points and their images under the optimal assignment, by SciPy: shapes (size, POINTS, d)."""
    x, y = draw.normal(draw.size, POINTS, draw.d), draw.normal(draw.size, POINTS, draw.d)
    return x, np.stack(
        [q[linear_sum_assignment(cdist(p, q, "sqeuclidean"))[1]] for p, q in zip(x, y, strict=True)]
    )


def _sq_distances(x, y):
    """Squared 2-Wasserstein distances of clouds of equal size, by SciPy."""
    costs = [cdist(p, q, "sqeuclidean") for p, q in zip(x, y, strict=True)]
    return np.asarray([np.mean(cost[linear_sum_assignment(cost)]) for cost in costs])


def _moments(x):
    mean = np.mean(x, axis=1)
    centred = x - mean[:, None, :]
    return Gaussian(mean, centred.mT @ centred / x.shape[1])
