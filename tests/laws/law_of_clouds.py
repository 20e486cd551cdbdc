"""Records of the functions of clouds: distances, costs, couplings, metrics, flows, sources."""

import numpy as np
from law_kinds import (
    Kind,
    cloud,
    even,
    even_cloud,
    gaussian,
    index,
    number,
    plan,
    points,
    positive,
    time,
    vectors,
    weights,
)
from law_record import UNIQUE, record

from refwfm import clouds, generation, interpolation, objectives
from refwfm.couplings import costs, inner, outer
from refwfm.couplings.inner import Coupled
from refwfm.couplings.rectified import RectifiedPairs, rectified_pairs
from refwfm.measures import PointCloud
from refwfm.metrics import copying, distances, neighbours, statistics, straightness
from refwfm.metrics.copying import CopyRate
from refwfm.metrics.neighbours import Neighbours
from refwfm.metrics.statistics import FamilyDistances, OneNN
from refwfm.metrics.straightness import Straightness
from refwfm.sources import clouds as sources
from refwfm.sources.clouds import CholeskyNormal, PureNoise
from refwfm.transport.plans import Pairs
from refwfm.transport.sinkhorn import sinkhorn

TWO = {"x": cloud("bn"), "y": cloud("bm")}
FAMILIES = {"x": cloud("qn"), "y": cloud("rm")}
ALIKE = {"x": even_cloud("bn"), "y": even_cloud("bm")}
SQUARED = number("qr", 2)
ONE_SIZE = ("nm",)


def seeded():
    return np.random.default_rng(0)


# Clouds
record(clouds.even, {"weights": weights("bn")}, number("b"), without="splitting")
# Questions about weights and sizes, which points do not answer.
record(clouds.alike, ALIKE, number(), same=ONE_SIZE, without="nan")
record(clouds.in_order, ALIKE, number(), same=ONE_SIZE, without="nan")
record(clouds.all_even, ALIKE, number(), without="nan")
record(clouds.uniform, {"points": points("bnd")}, even_cloud("bn"))
record(clouds.sizes, {"cloud": cloud("bn")}, number("b"), without="splitting nan")
record(clouds.moments, {"points": points("bnd"), "weights": weights("bn")}, gaussian())

# Distances
record(distances.chamfer, TWO, number("b", 2), swap="x y", outlier=True)
record(
    distances.chamfer,
    TWO,
    number("b", 1),
    suffix="not squared",
    options={"squared": False},
    swap="x y",
    outlier=True,
)
SERIAL = {"n_jobs": 1}
SWAPPED = {"swap": "x y", "pair": "qr"}
record(distances.pairwise_chamfer, FAMILIES, SQUARED, options=SERIAL, **SWAPPED)
for squared in (True, False):
    record(
        distances.pairwise_emd,
        FAMILIES,
        number("qr", 1 + squared),
        suffix="squared" if squared else "not squared",
        options=SERIAL | {"squared": squared},
        metric=1 + squared,
        **SWAPPED,
    )
GENERATED = {"generated": cloud("in"), "reference": cloud("jm")}
WITHIN = FamilyDistances(number("ii", 1), number("ij", 1), number("jj", 1))
record(
    distances.compare_families,
    GENERATED,
    WITHIN,
    call=lambda generated, reference: distances.compare_families(
        distances.pairwise_emd, generated=generated, reference=reference, squared=False, n_jobs=1
    ),
)

# Costs between all members
METRIC = SWAPPED | {"metric": 2}
record(costs.pairwise_frechet, FAMILIES, SQUARED, **METRIC)
record(costs.pairwise_chamfer_cost, FAMILIES, SQUARED, **SWAPPED)
record(costs.pairwise_sq_wasserstein2, FAMILIES, SQUARED, options=SERIAL, **METRIC)
for name in ("frechet", "chamfer", "wasserstein"):
    record(
        costs.outer_cost,
        FAMILIES,
        SQUARED,
        suffix=name,
        call=lambda x, y, name=name: costs.outer_cost(x, y, name),
        **SWAPPED,
    )
# Directions are drawn for coordinates as they are.
record(
    costs.outer_cost,
    {"x": cloud("qn", "c"), "y": cloud("rm", "c")},
    SQUARED,
    suffix="sliced",
    call=lambda x, y: costs.outer_cost(x, y, "sliced", rng=seeded(), n_proj=3),
    **METRIC,
)
for name in ("lazy", "linear"):
    record(
        costs.outer_cost,
        {"x": even_cloud("qn"), "y": even_cloud("rn")},
        SQUARED,
        suffix=name,
        call=lambda x, y, name=name: costs.outer_cost(x, y, name),
        **METRIC,
    )

# Outer couplings
SQUARE = {"cost": Kind("ij", 2, "cost")}
record(outer.outer_plan, SQUARE, plan("ij"), styles=UNIQUE)
record(outer.outer_plan, SQUARE, plan("ij"), suffix="square", same=("ij",), styles=UNIQUE)
record(outer.outer_plan, SQUARE, plan("ij"), suffix="entropic", options={"eps": 0.5}, ulps=1e4)
record(outer.outer_pairs, SQUARE, Pairs(index("i", "i"), index("i", "j")), same=("ij",), styles=UNIQUE)
record(
    outer.match_clouds,
    {"x": cloud("in"), "y": cloud("jm")},
    index("i", "j"),
    call=lambda x, y: outer.match_clouds(x, y, "wasserstein"),
    same=("ij",),
    styles=UNIQUE,
)

# Inner couplings. What is drawn depends on the order in which it is drawn.
COUPLED = Coupled(points("bnd"), points("bnd"), weights("bn"), number(), None)
DRAWN = "permutation padding splitting far rotation"


def solve(cost, a, b):
    return sinkhorn(cost, a, b, eps=0.25, scale_cost="max", tol=None, max_iter=8)


def coupling(name):
    return lambda x, y: inner.couple(x, y, name, rng=seeded(), solve=solve, n_proj=3)


def couple(name, given, suffix="", **traits):
    record(inner.couple, given, COUPLED, suffix=suffix or name, call=coupling(name), ulps=1e3, **traits)


couple("exact", ALIKE, same=ONE_SIZE, styles=UNIQUE)
# Two halves of a point may go to different targets.
couple("exact", TWO, "exact, any sizes", styles=UNIQUE, without="splitting")
couple("rounded", ALIKE, same=ONE_SIZE, styles=UNIQUE)
couple("entropic", TWO)
# The only point of a cloud has targets that are as likely as they are heavy, many alike.
couple("argmax", TWO, styles=UNIQUE, without="splitting", sizes={"n": (3, 2, 4)})
for name in ("sampled", "sliced"):
    couple(name, TWO, styles=UNIQUE, without=DRAWN)
couple("independent", TWO, styles=UNIQUE, without=f"{DRAWN} nan")  # the point that is NaN may not be drawn
for name in ("lazy", "linear"):
    couple(name, {"x": even_cloud("bn"), "y": even_cloud("bn")})

# Neighbours and statistics
record(
    neighbours.nearest_clouds,
    {"xs": cloud("qn"), "ys": cloud("km")},
    Neighbours(index("q", "k"), number("q", 2), None, None, None),
    call=lambda xs, ys: neighbours.nearest_clouds(xs, ys, squared=True, rng=seeded(), n_jobs=1),
    styles=UNIQUE,
)
SHARES = OneNN(number(), number(), number())
record(
    neighbours.one_nn_accuracy_emd,
    GENERATED,
    SHARES,
    call=lambda generated, reference: neighbours.one_nn_accuracy_emd(
        generated=generated, reference=reference, squared=True, rng=seeded(), n_jobs=1
    ),
    styles=UNIQUE,
)
DISTANCES = FamilyDistances(Kind("ii", 1, "distances"), Kind("ij", 1, "cost"), Kind("jj", 1, "distances"))
record(statistics.one_nn_accuracy, {"distances": DISTANCES}, SHARES, styles=UNIQUE)
record(statistics.coverage, {"distances": DISTANCES}, number(), styles=UNIQUE)
record(statistics.minimum_matching_distance, {"distances": DISTANCES}, number("", 1))
record(
    statistics.k_nearest,
    {"distance": Kind("qk", 1, "cost")},
    index("qT", "k"),
    options={"k": 2},
    sizes={"k": (3, 2, 4)},
    styles=UNIQUE,
)
record(
    statistics.label_accuracy,
    {"member": index("i", "k"), "labels": Kind("k", sort="label"), "wanted": Kind("i", sort="label")},
    number(),
    without="strict",  # NumPy's arrays
    sizes={"k": (4, 3)},
    drawn={
        "index": lambda rng, shape: rng.integers(0, 3, shape),
        "label": lambda rng, shape: rng.integers(0, 2, shape),
    },
)

UNSEEN = {"generated": positive("i", 2), "held_out": positive("j", 2)}
record(copying.copy_rate, UNSEEN, CopyRate(number(), number()), options={"quantile": 0.3}, styles=UNIQUE)

# Straightness. The ratio is over all clouds.
STRAIGHT = Straightness(number(), number("k", 2), number("k", 2))
record(
    straightness.path_straightness,
    {"path": points("Tknd"), "weights": weights("kn")},
    STRAIGHT,
    styles=UNIQUE,
)
record(straightness.relative_bend, {"bend": positive("k", 2), "sq_displacement": positive("k", 2)}, number())


def towards(target):
    return lambda x, t: target - x.points


record(
    straightness.straightness,
    {"source": cloud("kn"), "target": points("knd")},
    STRAIGHT,
    call=lambda source, target: straightness.straightness(towards(target), source, n_steps=3),
    styles=UNIQUE,
)
record(
    generation.generate_clouds,
    {"source": cloud("bn"), "target": points("bnd")},
    cloud("bn"),
    call=lambda source, target: generation.generate_clouds(towards(target), source, n_steps=2, method="rk4"),
)

record(
    rectified_pairs,
    {"source": cloud("bn"), "target": points("bnd")},
    RectifiedPairs(cloud("bn"), cloud("bn"), None),
    call=lambda source, target: rectified_pairs(towards(target), source, n_steps=2),
)

# Interpolation and loss
IMAGES = {"x": points("bnd"), "images": points("bnd")}
record(interpolation.displacement, IMAGES | {"t": time}, points("bnd"), swap="x images")
record(interpolation.displacement_velocity, IMAGES, vectors("bnd", odd=True), swap="x images")
record(
    objectives.cloud_loss,
    {"pred": vectors("knd"), "target": vectors("knd"), "weights": weights("kn")},
    (number("", 2), vectors("knd", adds="n")),
)

# Sources: each draw from the same generator
SIZES = np.asarray([3, 2, 3])
DRAW = PointCloud(Kind("TTc", 1), None)
record(
    sources.sample_cholesky_normal,
    {"source": CholeskyNormal(Kind("cc", 1), Kind("cc", 1))},
    DRAW,
    call=lambda source: sources.sample_cholesky_normal(source, rng=seeded(), sizes=SIZES),
)
record(
    sources.sample_pure_noise,
    {"law": PureNoise(positive("", 1), positive("", 1), positive("", 1))},
    DRAW,
    call=lambda law: sources.sample_pure_noise(
        PureNoise(float(law.mean), float(law.low), float(law.low + law.high)),
        rng=seeded(),
        sizes=SIZES,
        d=2,
        like=law.mean[None],
    ),
)
record(
    sources.sample_barycentric_noise,
    {"reference": points("Tc"), "sigma": positive("", 1)},
    PointCloud(points("TTc"), even("TT")),
    call=lambda reference, sigma: sources.sample_barycentric_noise(
        reference, rng=seeded(), sizes=np.asarray([3, 3, 3]), sigma=float(sigma)
    ),
)
