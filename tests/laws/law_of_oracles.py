"""Records of the oracles, flows and metrics of populations."""

import numpy as np
from law_kinds import Kind, gaussian, number, points, positive, time, vectors, weights
from law_record import HOST, record

from refwfm.metrics import populations as metrics
from refwfm.populations import flow, oracles

SAMPLES = {"x": points("bnd"), "y": points("bmd")}
for distance in (metrics.wasserstein1, metrics.wasserstein2):
    record(distance, SAMPLES, number("b", 1), swap="x y", metric=1)
# The kernels have widths of their own, so that the data have no unit. Its own scale is the kernels', one.
record(
    metrics.sq_mmd,
    {"x": Kind("bnd", 0, "points", affine=True), "y": Kind("bmd", 0, "points", affine=True)},
    number("b"),
    swap="x y",
    ulps=1e4,
)
# Features are numbers of different units, and there are three at least.
record(
    metrics.feature_correlation,
    {"x": points("bnc"), "y": points("bmc")},
    number("b"),
    swap="x y",
    sizes={"c": (4, 5), "n": (12, 9), "m": (10, 8)},
    styles=("spread",),
    ulps=1e5,
)

WIDTHS = {"sigma": positive("", 1), "tau": positive("", 1)}
MIXTURE = {"x": points("bnd"), "t": time, "centres": points("bmd"), "weights": weights("bm")}


def mixed(function):
    def call(x, t, centres, weights, sigma, tau):
        return function(x, t, centres, sigma=float(sigma), tau=float(tau), weights=weights)

    return call


ROUGH = {"ulps": 1e4}
record(
    *(oracles.denoising_velocity, MIXTURE | WIDTHS, vectors("bnd")),
    call=mixed(oracles.denoising_velocity),
    **ROUGH,
)
record(
    *(oracles.denoising_variance, MIXTURE | WIDTHS, number("bn", 2)),
    call=mixed(oracles.denoising_variance),
    **ROUGH,
)
record(
    oracles.sample_mixture,
    {"centres": points("nc"), "tau": positive("", 1)},
    points("Tc"),
    call=lambda centres, tau: oracles.sample_mixture(
        centres, rng=np.random.default_rng(0), size=3, tau=float(tau)
    ),
    without="permutation",  # the draws are of positions
)
NORMAL = {"mu": gaussian(sort="definite"), "sigma": positive("", 1)}
record(
    oracles.gaussian_denoising_velocity,
    {"x": points("bnd"), "t": time} | NORMAL,
    vectors("bnd"),
    call=lambda x, t, mu, sigma: oracles.gaussian_denoising_velocity(x, t, mu, sigma=float(sigma)),
    **ROUGH,
)
record(
    oracles.gaussian_denoising_map,
    {"x": points("bnd"), "t": time} | NORMAL,
    points("bnd"),
    call=lambda x, t, mu, sigma: oracles.gaussian_denoising_map(x, mu, sigma=float(sigma), t=t),
    **ROUGH,
)


def towards(target):
    return lambda x, t: 0.5 * (target - x)


FLOWED = {"x": points("bnd"), "target": points("bnd")}
record(
    flow.integrate,
    FLOWED,
    points("bnd"),
    call=lambda x, target: flow.integrate(towards(target), x, n_steps=2),
)
record(
    flow.integrate_adaptively,
    FLOWED | {"atol": positive("", 1)},
    points("bnd"),
    call=lambda x, target, atol: (
        flow.integrate_adaptively(towards(target), x, rtol=1e-9, atol=1e-9 * float(atol)).points
    ),
    without="nan",  # refused
    dtypes=HOST,
    ulps=1e8,  # populations share their steps, whose errors are 1e-9
)
