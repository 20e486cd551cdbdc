"""Laws of composition: ways, plans, levels, distances of clouds."""

from law_composing import COVERED, composition
from law_kinds import Kind, cloud, even_cloud, number, points, time, weights
from law_record import UNIQUE

from refwfm import interpolation
from refwfm._array import array_namespace, eye, transpose
from refwfm.metrics import statistics
from refwfm.metrics.statistics import FamilyDistances
from refwfm.transport import (
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


@composition("the nearest cover", {"all": DISTANCES}, number(), (statistics.covered,), styles=UNIQUE)
def covering(all):
    xp = array_namespace(all.cross)
    nearest = xp.argmin(all.cross, axis=1)
    reference, dtype = all.cross.shape[1], all.cross.dtype
    return statistics.covered(nearest, reference=reference, dtype=dtype), statistics.coverage(all)
