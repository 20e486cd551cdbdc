"""Laws of composition: maps, paths, factors of Gaussians."""

from law_composing import composition
from law_kinds import Kind, gaussian, number, points, tangent, time
from law_record import UNIQUE

from refwfm import bures, bures_metric, clouds, conditional, measures, psd
from refwfm._array import eye, transpose
from refwfm.sources import clouds as sources


def identity_like(matrix):
    return eye(matrix.shape[-1], matrix) + 0.0 * matrix


PAIR = {"mu": gaussian(), "nu": gaussian()}
COV = {"cov": gaussian().cov}
SAME = {"definite": True, "ulps": 1e4}  # condition numbers are up to about 1e3

# Gaussians
composition("exp after log", PAIR, gaussian(), **SAME)(lambda mu, nu: (bures.exp(mu, bures.log(mu, nu)), nu))
composition("a part of a part of a geodesic", PAIR | {"s": time, "r": time}, gaussian(), **SAME)(
    lambda mu, nu, s, r: (
        bures.interpolate(bures.interpolate(mu, nu, s), nu, r),
        bures.interpolate(mu, nu, s + (1 - s) * r),
    )
)
composition("the rest of a geodesic", PAIR | {"t": time}, tangent(), open_time=True, **SAME)(
    lambda mu, nu, t: (
        conditional.conditional_velocity(bures.interpolate(mu, nu, t), nu, t),
        bures.velocity(mu, nu, t),
    )
)
composition("distance along a geodesic", PAIR | {"t": time}, number("b", 2), **SAME)(
    lambda mu, nu, t: (
        bures_metric.sq_distance(mu, bures.interpolate(mu, nu, t)),
        t**2 * bures_metric.sq_distance(mu, nu),
    )
)
composition("length of the logarithm", PAIR, number("b", 2), **SAME)(
    lambda mu, nu: (bures_metric.sq_tangent_norm(mu, bures.log(mu, nu)), bures_metric.sq_distance(mu, nu))
)
composition("map there and back", PAIR, Kind("bdd"), **SAME)(
    lambda mu, nu: (
        bures.gelbrich_map(nu, mu) @ bures.gelbrich_map(mu, nu),
        identity_like(mu.cov),
    )
)
ONE = {"x": points("nd"), "mu": gaussian(""), "nu": gaussian("")}
composition("points there and back", ONE, points("nd"), **SAME)(
    lambda x, mu, nu: (bures.push_forward(bures.push_forward(x, mu, nu), nu, mu), x)
)
composition(
    "moments of images",
    {"x": points("nd"), "nu": gaussian("")},
    gaussian(""),
    definite=True,
    ulps=1e6,
    sizes={"n": (16,), "d": (2, 1)},
    styles=UNIQUE,
)(lambda x, nu: (clouds.moments(bures.push_forward(x, clouds.moments(x), nu)), nu))
composition("rates of fields", {"mu": gaussian(), "v": tangent()}, tangent(), **SAME)(
    lambda mu, v: (bures_metric.from_euclidean(mu.cov, bures_metric.to_euclidean(mu.cov, v)), v)
)
composition("root times root", COV, Kind("bdd", 2))(lambda cov: (psd.sqrtm(cov) @ psd.sqrtm(cov), cov))
composition("factor times factor", COV, Kind("bdd", 2))(
    lambda cov: (psd.factor(cov) @ transpose(psd.factor(cov)), cov)
)
composition("Cholesky factor times itself", COV, Kind("bdd", 2))(
    lambda cov: (sources.cholesky(cov) @ transpose(sources.cholesky(cov)), cov)
)
composition("inverse root times root", COV, Kind("bdd"), **SAME)(
    lambda cov: (psd.inv_sqrtm(cov) @ psd.sqrtm(cov), identity_like(cov))
)
composition("Procrustes factors", PAIR, (Kind("bdd", 2), Kind("bdd", 2)))(
    lambda mu, nu: (
        tuple(factor @ transpose(factor) for factor in psd.procrustes_factors(mu.cov, nu.cov)),
        (mu.cov, nu.cov),
    )
)


@composition("Lyapunov", COV | {"matrix": Kind("bdd", 2, "symmetric")}, Kind("bdd", 2), **SAME)
def lyapunov(cov, matrix):
    solution = psd.solve_lyapunov(cov, matrix)
    return solution @ cov + cov @ solution, matrix


composition("two changes of unit", {"mu": gaussian()}, gaussian())(
    lambda mu: (measures.rescale(measures.rescale(mu, 3.0), 0.25), measures.rescale(mu, 0.75))
)
