"""Audited conditional and marginal flows over measures (appendix B), where they have densities.

Gaussians on the line are the half-plane of their means and standard deviations, and it is flat: a law over
them has a density in the plane, and geodesics are straight lines there.
"""

import numpy as np

from refwfm import bures
from refwfm._array import array_namespace
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, Tolerance

CENTRE, SPREAD = np.array([0.0, 5.0]), np.array([1.0, 0.5])
"""The source law: independent normal mean and standard deviation."""

FLUX = Tolerance(1e-8, 1e-4, "fourth-order differences, steps 1e-3; float32: rounding over steps of 1e-2")


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [wfm_18(), wfm_19()]


def averaged(mu, nu, t, shares):
    """Mean velocity of geodesics that meet at time t; mu and nu (n, K, ...), shares (n, K) of the targets."""
    v = bures.velocity(mu, nu, t)
    xp = array_namespace(shares)
    mean, lift = shares[..., None] * v.mean, shares[..., None, None] * v.lift
    return Tangent(xp.sum(mean, axis=1), xp.sum(lift, axis=1))


def _of_the_target_with(mu, nu, t, shares):
    """Control: the velocity to the likeliest target alone."""
    return averaged(mu, nu, t, (shares == np.max(shares, axis=1, keepdims=True)).astype(float))


def _scaled(factor):
    return lambda *args: Tangent(*(factor * part for part in averaged(*args)))


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
        functions=(bures.velocity,),
        checks=(
            Check(
                "finite differences of the density, one target",
                one_target,
                averaged,
                {
                    "the sign": _scaled(-1.0),
                    "half of it": _scaled(0.5),
                    "at the other time": lambda mu, nu, t, shares: averaged(mu, nu, 1.0 - t, shares),
                },
                FLUX,
                dimensions=(1,),
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
        functions=(bures.velocity,),
        checks=(
            Check(
                "finite differences of the density, three targets",
                three_targets,
                averaged,
                {
                    "mean over targets, wherever the measure is": lambda mu, nu, t, shares: averaged(
                        mu, nu, t, np.full_like(shares, 1.0 / shares.shape[1])
                    ),
                    "the likeliest target alone": _of_the_target_with,
                    "half of it": _scaled(0.5),
                },
                FLUX,
                dimensions=(1,),
            ),
            Check(
                "integrating the field: shares of the targets",
                shares_at_the_end,
                averaged,
                {
                    "mean over targets, wherever the measure is": lambda mu, nu, t, shares: averaged(
                        mu, nu, t, np.full_like(shares, 1.0 / shares.shape[1])
                    ),
                    "the sign": _scaled(-1.0),
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


def _conditional(z, t, targets):
    """Densities p_t(z | ν_k), shape (n, K), and the sources that are at z at time t, shape (n, K, 2)."""
    start = (z[:, None] - t * targets) / (1.0 - t)
    squares = np.sum(((start - CENTRE) / SPREAD) ** 2, axis=-1)
    return np.exp(-0.5 * squares) / (2.0 * np.pi * np.prod(SPREAD) * (1.0 - t) ** 2), start


def _density(z, t, targets, weights):
    return _conditional(z, t, targets)[0] @ weights


def _velocity(field, draw, z, t, targets, weights):
    """The field at points z (n, 2) of the plane, as a velocity there: dm/dt = a, dσ/dt = S σ."""
    each, start = _conditional(z, t, targets)
    shares = weights * each + 1e-300
    ends = np.broadcast_to(targets, start.shape)
    v = draw.call(
        field,
        _gaussian(draw, start),
        _gaussian(draw, ends),
        np.full(each.shape, t),
        shares / np.sum(shares, axis=1, keepdims=True),
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
