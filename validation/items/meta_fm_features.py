"""Audited formulas of Meta Flow Matching: features of time and space, the unit of its network."""

import numpy as np
from scipy.integrate import quad

from refwfm.networks import activations, layers
from refwfm.networks.features import space_features
from refwfm.populations.velocity import time_features
from refwfm.validation import plain_population as plain
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.textbook import complex_step, relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_fm_4(), meta_fm_5()]


# META-FM-4, META-FM-5


def meta_fm_4() -> Item:
    """Features of time and space."""
    return plain.population_item(
        4,
        "appendix, architecture; public code",
        "features of time and space",
        r"\sin(t\nu_l),\cos(t\nu_l),\ \nu_l=10000^{-l/63};\qquad \cos(2\pi xB),\sin(2\pi xB)",
        "Sines and cosines of time at rates from 1 to 1/10000, and of random projections of space.",
        (time_features, space_features),
        (
            Check(
                "powers of 10000",
                times,
                lambda t: time_features(t, 128),
                {
                    "cosines first": lambda t: np.roll(time_features(t, 128), 64, axis=-1),
                    "64 instead of 63": lambda t: _rates(t, 10000.0 ** (-np.arange(64) / 64)),
                    "1000 instead of 10000": lambda t: _rates(t, 1000.0 ** (-np.arange(64) / 63)),
                    "turns instead of radians": lambda t: time_features(2 * np.pi * t, 128),
                    "slowest first": lambda t: _rates(t, 10000.0 ** (-np.arange(63, -1, -1) / 63)),
                },
                roundings(20, "angles up to 1"),
                dimensions=(1,),
                size=7,
            ),
            Check(
                "angles by loops",
                spaces,
                space_features,
                {
                    "sines first": lambda B, x: np.roll(space_features(B, x), B.shape[1], axis=-1),
                    "without 2 pi": lambda B, x: space_features(B / (2 * np.pi), x),
                    "pi": lambda B, x: space_features(B / 2, x),
                    "other way round": lambda B, x: space_features(B, -x),
                },
                roundings(300, "angles up to about ten"),
                dimensions=(1, 3),
            ),
        ),
    )


def _rates(t, rates):
    return np.concatenate([np.sin(t[..., None] * rates), np.cos(t[..., None] * rates)], axis=-1)


def times(function, draw):
    """The 128 features of some times."""
    t = draw.times()
    return relative(draw.call(function, t), np.stack([plain.time_of(s, 128) for s in t]), 1.0)


def spaces(function, draw):
    """Features of points, at frequencies of a scale at which they turn."""
    x, B = draw.normal(draw.size, draw.d), draw.rounded(0.3 * draw.rng.standard_normal((draw.d, 5)))
    return relative(draw.call(function, B, x), np.stack([plain.space_of(B, row) for row in x]), 1.0)


def meta_fm_5() -> Item:
    """Self-normalising unit."""
    return plain.population_item(
        5,
        "appendix, architecture",
        "self-normalising unit",
        r"\mathrm{selu}(x)=\lambda\,x\ (x>0),\quad \lambda\alpha(e^x-1)\ (x\le0)",
        "λ and α are such that standard normal numbers keep mean 0 and variance 1.",
        (activations.selu,),
        (
            Check(
                "number by number, and complex steps",
                units,
                _value_and_slope(activations.selu),
                {
                    "ELU": lambda x: _selu(x, 1.0, 1.0),
                    "constants exchanged": lambda x: _selu(x, plain.ALPHA, plain.SCALE),
                    "lambda on one side": lambda x: _selu(x, np.where(x > 0, 1.0, plain.SCALE), plain.ALPHA),
                    "SiLU": _value_and_slope(layers.silu),
                    "the slope of a rectifier": lambda x: (
                        activations.selu(x)[0],
                        layers.relu(x)[1](plain.SCALE * np.ones_like(x)),
                    ),
                },
                roundings(10, "an exponential"),
                dimensions=(1, 4),
            ),
            Check(
                "moments under the normal law, by quadrature",
                normal_moments,
                lambda x: activations.selu(x)[0],
                {
                    "ELU": lambda x: _selu(x, 1.0, 1.0)[0],
                    "constants exchanged": lambda x: _selu(x, plain.ALPHA, plain.SCALE)[0],
                    "rectifier": lambda x: np.maximum(x, 0.0),
                },
                roundings(
                    1e7, "quadrature to 1e-9 in float64; float32's are its roundings times this"
                )._replace(float32=2e-6),
                dimensions=(1,),
                everywhere=False,
            ),
        ),
    )


def _value_and_slope(function):
    def both(x):
        value, pullback = function(x)
        return value, pullback(x)

    return both


def _selu(x, scale, alpha):
    negative = scale * alpha * np.expm1(np.minimum(x, 0.0))
    slope = np.where(x > 0, scale, scale * alpha * np.exp(np.minimum(x, 0.0)))
    return np.where(x > 0, scale * x, negative), slope * x


def units(function, draw):
    """Values, and slopes times the argument."""
    x = draw.rounded(3.0 * draw.rng.standard_normal((draw.size, draw.d)))
    value, slope = draw.call(function, x)
    flat = x.ravel()
    slopes = [complex_step(lambda h, a=a: plain.selu(np.array([a + h]))[0]) * a for a in flat]
    return worst_of(
        relative(value.ravel(), plain.selu(flat), 1.0 + np.abs(flat).max()),
        relative(slope.ravel(), np.array(slopes), 1.0 + np.abs(flat).max()),
    )


def normal_moments(function, draw):
    """Mean, and second moment less 1."""

    def integral(power):
        def density(z):
            value = float(draw.call(function, np.array([z]))[0])
            return value**power * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)

        options = {"epsabs": 1e-11, "limit": 200}
        return sum(quad(density, *ends, **options)[0] for ends in ((-12, 0), (0, 12)))

    return worst_of(abs(integral(1)), abs(integral(2) - 1.0))
