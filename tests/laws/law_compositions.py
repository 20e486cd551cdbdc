"""Laws of composition: two ways that lead to the same thing, as records whose call returns both."""

from collections.abc import Callable
from typing import Any

import numpy as np
from law_kinds import Kind, cloud, even_cloud, gaussian, number, points, tangent, time, vectors, weights
from law_record import UNIQUE, Record

from refwfm import bures, bures_metric, clouds, conditional, interpolation, measures, psd
from refwfm._array import array_namespace, eye, transpose
from refwfm.measures import PointCloud
from refwfm.metrics import distances, statistics
from refwfm.metrics.statistics import FamilyDistances
from refwfm.networks import layers
from refwfm.sources import clouds as sources
from refwfm.training import optim
from refwfm.transport import (
    _parallel,
    emd,
    entropic,
    exact,
    families,
    linearized,
    quantiles,
    sinkhorn,
    sliced,
)
from refwfm.transport.families import RandomCoupling
from refwfm.transport.sinkhorn import Sinkhorn

COMPOSITIONS: list[Record] = []

COVERED: set[str] = set()
"""Functions that appear in them."""


def composition(name: str, inputs: dict[str, Any], output: Any, covers: tuple[Any, ...] = (), **traits: Any):
    """Enter a function of the inputs that returns what must be the same, in two ways."""

    def enter(both: Callable[..., Any]) -> None:
        COMPOSITIONS.append(Record(name, both, inputs, (output, output), **traits))
        COVERED.update(f"{f.__module__.removeprefix('refwfm.')}.{f.__name__}" for f in covers)

    return enter


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

# Clouds
WAY = {"x": points("bnd"), "y": points("bnd")}
composition("a part of a part of a way", WAY | {"s": time, "r": time}, points("bnd"))(
    lambda x, y, s, r: (
        interpolation.displacement(interpolation.displacement(x, y, s), y, r),
        interpolation.displacement(x, y, s + (1 - s) * r),
    )
)
composition("velocity times time", WAY | {"t": time}, points("bnd"))(
    lambda x, y, t: (
        interpolation.displacement(x, y, t),
        x + t[:, None, None] * interpolation.displacement_velocity(x, y),
    )
)


def even_pair(letters):
    return {"x": even_cloud(letters[0]), "y": even_cloud(letters[1])}


@composition(
    "distance along McCann's way", even_pair(["bn", "bm"]) | {"t": time}, number("b", 2), same=("nm",)
)
def mccann(x, y, t):
    xp = array_namespace(t)
    order = exact.assignment(sinkhorn.sq_euclidean_cost(x.points, y.points), n_jobs=1)
    images = linearized.reorder(y.points, xp.asarray(order))
    moved = x._replace(points=interpolation.displacement(x.points, images, t))
    return exact.sq_wasserstein2(x, moved, n_jobs=1), t**2 * exact.sq_wasserstein2(x, y, n_jobs=1)


composition("linearised about one of the two", even_pair(["n", "m"]), number("", 2), same=("nm",))(
    lambda x, y: (
        linearized.sq_linearized_distance(x.points, x, y),
        exact.sq_wasserstein2(x, y, n_jobs=1),
    )
)
composition(
    "aligned twice", {"r": points("nd"), "x": even_cloud("bm")}, points("bnd"), same=("nm",), styles=UNIQUE
)(
    lambda r, x: (
        linearized.align(r, x._replace(points=linearized.align(r, x, n_jobs=1)), n_jobs=1),
        linearized.align(r, x, n_jobs=1),
    )
)
TWO = {"x": cloud("bn"), "y": cloud("bm")}
ON_LINE = {"sizes": {"d": (1,)}}
composition("on the line, slices are all", TWO, number("b", 2), **ON_LINE)(
    lambda x, y: (
        sliced.sq_sliced_distance(x, y, 0.0 * x.points[0, :1, :] + 1.0),
        exact.sq_wasserstein2(x, y, n_jobs=1),
    )
)
composition("on the line, levels meet", TWO, number("b", 2), **ON_LINE)(
    lambda x, y: (
        quantiles.line_cost(*(quantiles.sort_measure(c.points[..., 0], c.weights) for c in (x, y))),
        exact.sq_wasserstein2(x, y, n_jobs=1),
    )
)


@composition("levels belong to atoms", {"weights": weights("n")}, Kind("n"), (quantiles.atom_at_level,))
def levels(weights):
    xp = array_namespace(weights)
    level = xp.cumulative_sum(weights)
    own = xp.arange(weights.shape[0])
    found = quantiles.atom_at_level(level, own[-1:], level - 0.5 * weights, offset=0 * own)
    return found, own


# Entropic transport: potentials, not converged
G = {"g": Kind("m", 2)}


@composition("the map on atoms is the plan's", {"x": cloud("n"), "y": cloud("m")} | G, points("nd"), ulps=1e3)
def projection(x, y, g):
    cost, eps = sinkhorn.sq_euclidean_cost(x.points, y.points), 0.0 * g[0] + 2.0
    f = sinkhorn.softmin(cost, g, y.weights, eps)
    solution = Sinkhorn(f, g, eps, 0.0, 0.0, 0, True)
    plan = sinkhorn.plan(cost, x.weights, y.weights, solution)
    assert sinkhorn.certified(solution._replace(row_error=0 * eps, col_error=0 * eps), tol=1.0, require=True)
    return (
        entropic.entropic_map(x.points, y.points, y.weights, g, eps=eps),
        entropic.barycentric_projection(plan, y.points),
    )


COVERED.add("transport.sinkhorn.certified")
FAMILIES = {
    "mu": families.Family(cloud("in"), weights("i")),
    "nu": families.Family(cloud("jm"), weights("j")),
}


@composition("the best coupling costs the distance", FAMILIES, number("", 2), ulps=1e3)
def wow(mu, nu):
    found = families.sq_wow_distance(mu, nu, n_jobs=1)
    coupling = families.random_coupling(mu, nu, found.outer.plan, families.optimal_plan)
    assert isinstance(coupling, RandomCoupling)
    return families.sq_coupling_cost(coupling, mu, nu), found.sq_distance


# Distances of families, and statistics of them
DISTANCES = FamilyDistances(Kind("ii", 1, "distances"), Kind("ij", 1, "cost"), Kind("jj", 1, "distances"))


@composition("neighbours in all", {"all": DISTANCES}, number(), (statistics.same_family,), styles=UNIQUE)
def accuracy(all):
    xp = array_namespace(all.cross)
    top = xp.concat([all.generated, all.cross], axis=1)
    matrix = xp.concat([top, xp.concat([transpose(all.cross), all.reference], axis=1)], axis=0)
    neighbour = xp.argmin(matrix + 1e9 * eye(matrix.shape[0], matrix), axis=1)
    generated = all.generated.shape[0]
    shares = statistics.same_family(neighbour, generated=generated, dtype=matrix.dtype)
    return shares.accuracy, statistics.one_nn_accuracy(all).accuracy


# Storage
@composition(
    "packed and unpacked",
    {"x": points("nd"), "y": points("md")},
    (Kind("nd"), Kind("md"), Kind("nd"), Kind("md")),
    (clouds.pad, clouds.unpad, distances.host_families),
    dtypes=("float64",),
    without="strict",
)
def packed(x, y):
    batch = clouds.pad([x, y], size=9)
    (family,) = distances.host_families(batch=batch)
    return (*clouds.unpad(batch), *(member.points for member in family)), (x, y, x, y)


@composition(
    "sizes of prefixes",
    {"x": points("nd")},
    Kind("T"),
    (sources.prefix_weights,),
    dtypes=("float64",),
    without="strict",
)
def prefixes(x):
    sizes = np.asarray([x.shape[0], 1, 2])
    filled = PointCloud(np.zeros((3, 5, 1)), sources.prefix_weights(sizes, 5))
    return clouds.sizes(filled), sizes


TREE = {"a": {"b": vectors("n"), "c": vectors("m")}, "d": vectors("n")}


@composition(
    "flat and unfolded",
    {"tree": TREE},
    TREE,
    (optim.flatten, optim.unflatten, optim.tree_map, optim.tree_leaves),
)
def unfolded(tree):
    flat = optim.flatten(tree)
    assert [id(leaf) for leaf in flat.values()] == [id(leaf) for leaf in optim.tree_leaves(tree)]
    return optim.tree_map(lambda x: 2 * x, optim.unflatten(flat)), optim.tree_map(lambda x: x + x, tree)


composition("half of a matrix", {"matrix": Kind("bcc", 2, "symmetric")}, Kind("bcc", 2))(
    lambda matrix: (layers.unvech(layers.vech(matrix)[0], matrix.shape[-1])[0], matrix)
)
composition("orders and their inverses", {"x": points("nd")}, points("nd"))(
    lambda x: (linearized.reorder(linearized.reorder(x, *one_order(x)), *one_order(x, inverse=True)), x)
)


def one_order(x, *, inverse=False):
    order = np.random.default_rng(0).permutation(x.shape[-2])
    return (array_namespace(x).asarray(np.argsort(order) if inverse else order),)


@composition(
    "in parallel as one by one",
    {"x": vectors("n")},
    vectors("n"),
    (_parallel.in_parallel, _parallel.as_they_come),
)
def parallel(x):
    arguments = [(x[k],) for k in range(x.shape[0])]
    found = _parallel.in_parallel(np_square, arguments, n_jobs=2)
    later = list(_parallel.as_they_come(np_square, arguments, n_jobs=1))
    xp = array_namespace(x)
    assert [float(v) for v in found] == [float(v) for v in later]
    return xp.stack(found), x * x


def np_square(x):
    return x * x


@composition(
    "drawn axes are orthonormal",
    {"x": points("nd")},
    Kind("nn"),
    (emd.random_frames, sliced.random_directions),
    dtypes=("float64",),
    without="strict",
)
def orthonormal(x):
    d, rng = x.shape[-1], np.random.default_rng(0)
    frames = emd.random_frames(d, rng=rng, count=2)
    theta = sliced.random_directions(x, rng=rng, n_proj=3)
    return (
        np.concatenate([(transpose(frames) @ frames).ravel(), np.sum(theta**2, axis=-1)]),
        np.concatenate([np.stack(2 * [np.eye(d)]).ravel(), np.ones(3)]),
    )
