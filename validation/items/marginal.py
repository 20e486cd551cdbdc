"""Audited conditional and marginal flows over measures (appendix B), where they have densities.

Gaussians on the line are the half-plane of their means and standard deviations, and it is flat: a law over
them has a density in the plane, and geodesics are straight lines there.
"""

import numpy as np

from refwfm.bures import Tangent
from refwfm.conditional import conditional_velocity, marginal_velocity
from refwfm.measures import Gaussian
from refwfm.validation import textbook
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, Tolerance, roundings, worst_of

CENTRE, SPREAD = np.array([0.0, 5.0]), np.array([1.0, 0.5])
"""The source law: independent normal mean and standard deviation."""

FLUX = Tolerance(1e-8, 1e-4, "fourth-order differences, steps 1e-3; float32: rounding over steps of 1e-2")


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [wfm_18(), wfm_19()]


def _to_the_only_one(mu, targets, weights, log_density, t):
    return conditional_velocity(mu, Gaussian(targets.mean[0, ...], targets.cov[0, ...]), t)


def _to_the_likeliest(mu, targets, weights, log_density, t):
    """Control: the velocity to the likeliest target alone."""
    joint = np.log(weights) + log_density
    likeliest = (joint == np.max(joint, axis=1, keepdims=True)).astype(float)
    return marginal_velocity(mu, targets, likeliest, log_density, t)


def _wherever(mu, targets, weights, log_density, t):
    """Control: without what the place says about the target."""
    return marginal_velocity(mu, targets, weights, 0.0 * log_density, t)


def _scaled(factor, field):
    return lambda *args: Tangent(*(factor * part for part in field(*args)))


# WFM-18


def wfm_18() -> Item:
    """Conditional continuity equation."""
    return Item(
        id="WFM-18",
        paper="WFM",
        place="appendix B, eq. 18",
        title="continuity equation of the conditional flow",
        latex=r"\partial_t\mathfrak p_t(\cdot|\nu)+\mathrm{div}\bigl(\mathfrak p_t(\cdot|\nu)\,"
        r"\mathfrak u_t(\cdot|\nu)\bigr)=0,\qquad\mathfrak p_t(\cdot|\nu)=(\mu\mapsto\exp_\mu(t\log_\mu\nu))"
        r"_\sharp\mathfrak p_0",
        statement="The velocities of geodesics to one target drive the law of the measures that move there.",
        functions=(conditional_velocity,),
        checks=(
            Check(
                "finite differences of the density, one target",
                one_target,
                _to_the_only_one,
                {
                    "the sign": _scaled(-1.0, _to_the_only_one),
                    "half of it": _scaled(0.5, _to_the_only_one),
                    "at the other time": lambda mu, targets, weights, log_density, t: _to_the_only_one(
                        mu, targets, weights, log_density, 1.0 - t
                    ),
                },
                FLUX,
                dimensions=(1,),
                many_shapes=True,
            ),
        ),
    )


def one_target(field, draw):
    """``∂p/∂t + div(p u)`` in the plane of mean and standard deviation, relative to its terms."""
    return _continuity(field, draw, _targets(draw, 1), np.ones(1))


# WFM-19, WFM-20


def wfm_19() -> Item:
    """Marginal field."""
    return Item(
        id="WFM-19",
        paper="WFM",
        place="appendix B, eqs. 19 and 20",
        title="marginal field and marginal path",
        latex=r"\mathfrak u_t(\mu)=\int\mathfrak u_t(\mu|\nu)\,"
        r"\frac{\mathfrak p_t(\mu|\nu)}{\mathfrak p_t(\mu)}\,d\mathfrak p_1(\nu),"
        r"\qquad\mathfrak p_t=\int\mathfrak p_t(\cdot|\nu)\,d\mathfrak p_1(\nu)",
        statement="The mean of the velocities to all targets, given where the measure is now, drives the "
        "whole law: this field is what the network learns.",
        functions=(marginal_velocity,),
        checks=(
            Check(
                "finite differences of the density, three targets",
                three_targets,
                marginal_velocity,
                {
                    "mean over targets, wherever the measure is": _wherever,
                    "weights of the targets left out": lambda mu, targets, weights, log_density, t: (
                        marginal_velocity(mu, targets, np.ones_like(weights), log_density, t)
                    ),
                    "the likeliest target alone": _to_the_likeliest,
                    "half of it": _scaled(0.5, marginal_velocity),
                },
                FLUX,
                dimensions=(1,),
                many_shapes=True,
            ),
            Check(
                "textbook velocities and Bayes' rule, densities out of range",
                posterior_mean,
                marginal_velocity,
                {
                    "mean over targets, wherever the measure is": _wherever,
                    "weights of the targets left out": lambda mu, targets, weights, log_density, t: (
                        marginal_velocity(mu, targets, np.ones_like(weights), log_density, t)
                    ),
                    "not normalised": lambda mu, targets, weights, log_density, t: textbook.scaled(
                        np.sum(weights * np.exp(log_density - np.max(log_density)), axis=-1),
                        marginal_velocity(mu, targets, weights, log_density, t),
                    ),
                },
                roundings(500, "condition number 30, d up to 16"),
            ),
            Check(
                "integrating the field: shares of the targets",
                shares_at_the_end,
                marginal_velocity,
                {
                    "mean over targets, wherever the measure is": _wherever,
                    "the sign": _scaled(-1.0, marginal_velocity),
                },
                STANDARD_ERRORS,
                dimensions=(1,),
                repeats=1,
            ),
        ),
    )


def three_targets(field, draw):
    """``∂p/∂t + div(p u)`` in the plane of mean and standard deviation, relative to its terms."""
    return _continuity(field, draw, _targets(draw, 3), np.array([0.5, 0.3, 0.2]))


def posterior_mean(field, draw):
    """``Σ P(ν_k | μ) log_μ(ν_k) / (1 - t)``, log densities about ±800 and a target without weight."""
    mu, targets, t = draw.gaussians(), draw.gaussians(size=4), draw.times(high=0.9)
    weights = np.append(draw.weights(3), 0.0)
    log_density = draw.rounded(np.append(-draw.rng.uniform(0, 2, (draw.size, 3)), [[900.0]] * 3, 1))
    shift = np.array([-800.0, 0.0, 800.0])[:, None]
    found = draw.call(field, mu, targets, np.tile(weights, (3, 1)), draw.rounded(log_density + shift), t)
    likelihood = np.exp((draw.rounded(log_density + shift) - shift)[:, :3])
    posterior = weights[:3] * likelihood / np.sum(weights[:3] * likelihood, axis=1, keepdims=True)
    mean, lift = 0.0, 0.0
    for k in range(3):
        end = textbook.take(targets, np.full(draw.size, k))
        C = textbook.gelbrich_map(mu.cov, end.cov)
        mean = mean + posterior[:, k, None] * (end.mean - mu.mean)
        lift = lift + posterior[:, k, None, None] * (C - textbook.identity(C))
    truth = textbook.scaled(1.0 / (1.0 - t), Tangent(mean, lift))
    return worst_of(
        *(textbook.relative(*pair, 1.0 + textbook.size(pair[1])) for pair in zip(found, truth, strict=True))
    )


def shares_at_the_end(field, draw):
    """Sources integrated to t = 0.96 (midpoint rule): how many are nearest to each target."""
    targets, weights = np.array([[-4.0, 3.0], [0.0, 5.0], [4.0, 7.0]]), np.array([0.5, 0.3, 0.2])
    z, steps = CENTRE + SPREAD * draw.rng.standard_normal((600, 2)), 24
    h = 0.96 / steps
    for k in range(steps):
        half = z + 0.5 * h * _velocity(field, draw, z, k * h, targets, weights)
        z = z + h * _velocity(field, draw, half, (k + 0.5) * h, targets, weights)
    nearest = np.argmin(np.sum((z[:, None] - targets) ** 2, axis=-1), axis=1)
    found = np.bincount(nearest, minlength=3) / len(z)
    return np.max(np.abs(found - weights) / np.sqrt(weights * (1.0 - weights) / len(z)))


# The plane


def _targets(draw, n):
    return draw.rounded(np.stack([draw.rng.uniform(-2, 2, n), draw.rng.uniform(4, 6, n)], axis=-1))


def _log_conditional(z, t, targets):
    """Log densities ``log p_t(z | ν_k)``, shape (n, K): that of the sources which are at z at time t."""
    start = (z[:, None] - t * targets) / (1.0 - t)
    squares = np.sum(((start - CENTRE) / SPREAD) ** 2, axis=-1)
    return -0.5 * squares - np.log(2.0 * np.pi * np.prod(SPREAD) * (1.0 - t) ** 2)


def _density(z, t, targets, weights):
    return np.exp(_log_conditional(z, t, targets)) @ weights


def _velocity(field, draw, z, t, targets, weights):
    """The field at points z (n, 2) of the plane, as a velocity there: dm/dt = a, dσ/dt = S σ."""
    v = draw.call(
        field,
        _gaussian(draw, z),
        _gaussian(draw, targets),
        np.tile(weights, (len(z), 1)),
        _log_conditional(z, t, targets),
        np.full(len(z), t),
    )
    return np.stack([v[0][:, 0], v[1][:, 0, 0] * z[:, 1]], axis=-1)


def _gaussian(draw, z):
    """Gaussians of points (mean, standard deviation) of the plane."""
    return Gaussian(draw.rounded(z[..., :1]), draw.rounded(z[..., 1:, None] ** 2))


def _continuity(field, draw, targets, weights):
    t, n = float(draw.rng.uniform(0.1, 0.5)), 6
    h = 1e-3 if draw.dtype == "float64" else 1e-2
    start = CENTRE + SPREAD * draw.rng.standard_normal((n, 2))
    z = (1.0 - t) * start + t * targets[draw.rng.integers(len(targets), size=n)]
    rate = _difference(lambda s: _density(z, t + s, targets, weights), h)
    terms = [rate]
    for axis in np.eye(2):
        terms.append(
            _difference(lambda s, axis=axis: _flux(field, draw, z + s * axis, t, targets, weights) @ axis, h)
        )
    return float(np.max(np.abs(sum(terms)) / (np.max(np.abs(terms), axis=0) + np.max(np.abs(rate)))))


def _flux(field, draw, z, t, targets, weights):
    return _density(z, t, targets, weights)[:, None] * _velocity(field, draw, z, t, targets, weights)


def _difference(function, h):
    """Central difference of fourth order at 0."""
    return (8.0 * (function(h) - function(-h)) - (function(2.0 * h) - function(-2.0 * h))) / (12.0 * h)
