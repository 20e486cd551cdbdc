"""Records of optimal transport on the line, in slices, and about a reference."""

import numpy as np
from law_kinds import (
    Kind,
    cloud,
    even_cloud,
    index,
    line,
    number,
    plan,
    points,
    positive,
    weights,
)
from law_record import UNIQUE, record

from refwfm._array import sq_distances, to_host
from refwfm.metrics import copying
from refwfm.transport import (
    linearized,
    quantiles,
    reference,
    sliced,
    stability,
)
from refwfm.transport.plans import Pairs
from refwfm.transport.quantiles import Sorted
from refwfm.transport.reference import FreeSupportBarycenter
from refwfm.transport.stability import Laziness


def seeded():
    return np.random.default_rng(0)


def directions(rng, shape):
    """Unit vectors."""
    vectors = rng.standard_normal(shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def orders(rng, shape):
    """Permutations."""
    return np.argsort(rng.random(shape), axis=-1)


TWO = {"x": cloud("bn"), "y": cloud("bm")}
ONE_SIZE = ("nm",)
SERIAL = {"n_jobs": 1}

VALUE = {"swap": "x y", "metric": 2, "outlier": True}
EVEN = {"x": even_cloud("bn"), "y": even_cloud("bm")}

# On the line
LINES = {"x": line("bn"), "y": line("bm")}


def dense(x, y):
    """The coupling as a plan."""
    row, column, mass = (to_host(part) for part in quantiles.quantile_coupling(*x, *y))
    dense = np.zeros((*mass.shape[:-1], x.points.shape[-1], y.points.shape[-1]), dtype=mass.dtype)
    for member in np.ndindex(*mass.shape[:-1]):
        np.add.at(dense[member], (row[member], column[member]), mass[member])
    return dense


record(quantiles.quantile_coupling, LINES, plan("bnm"), call=dense, swap="x y", styles=UNIQUE)
record(
    quantiles.line_cost,
    LINES,
    number("b", 2),
    call=lambda x, y: quantiles.line_cost(quantiles.sort_measure(*x), quantiles.sort_measure(*y)),
    **VALUE | {"outlier": False},
)
MEASURE = {"position": points("bn"), "weights": weights("bn")}
# In their own order, in which there is no place for more points.
# Levels are sums of weights: it is the positions that become NaN.
IN_ORDER = {"styles": UNIQUE, "without": "padding splitting"}
LEVELS = IN_ORDER | {"without": "padding splitting nan"}
record(quantiles.sort_measure, MEASURE, Sorted(points("bT"), Kind("bT"), None), **IN_ORDER)
record(quantiles.order_and_levels, MEASURE, (index("bT", "n"), Kind("bT")), **LEVELS)
record(quantiles.intervals, MEASURE, (Kind("bn"), Kind("bn")), styles=UNIQUE, without="splitting nan")
record(
    quantiles.meet,
    LINES,
    (Kind("bT"), Kind("bT"), Kind("bT")),
    call=lambda x, y: quantiles.meet(quantiles.sort_measure(*x), quantiles.sort_measure(*y)),
    **LEVELS,
)
record(quantiles.last_atom, {"weights": weights("bn")}, Kind("bT"), without="splitting")

# Sliced
THETA = {"theta": Kind("kd", sort="direction")}
SLICED = {"drawn": {"direction": directions}}
record(sliced.sq_sliced_distance, TWO | THETA, number("b", 2), **VALUE, **SLICED)
record(sliced.sliced_cost, TWO | THETA, number("b", 1), options={"p": 1.0}, **VALUE | {"metric": 1}, **SLICED)
MEMBERS = {"x": cloud("qn"), "y": cloud("rm")} | THETA
PAIRWISE = {"swap": "x y", "pair": "qr", "metric": 2}
record(sliced.pairwise_sliced_cost, MEMBERS, number("qr", 2), **PAIRWISE, **SLICED)
record(
    sliced.pairwise_sliced_cost,
    {"x": even_cloud("qn"), "y": even_cloud("rm")} | THETA,
    number("qr", 2),
    suffix="even",
    same=ONE_SIZE,
    **PAIRWISE,
    **SLICED,
)
record(
    copying.profiles,
    MEMBERS,
    number("qr", 2),
    call=lambda x, y, theta: sq_distances(copying.profiles(x, theta), copying.profiles(y, theta)),
    swap="x y",
    pair="qr",
    metric=2,
    styles=UNIQUE,  # an atom that ends at a level may be taken, or the next
    **SLICED,
)
record(sliced.lifted_plan, TWO | THETA, plan("bnm"), swap="x y", styles=UNIQUE, **SLICED)
record(sliced.sorted_permutations, EVEN | THETA, index("bkn", "m"), same=ONE_SIZE, styles=UNIQUE, **SLICED)
record(
    sliced.sample_sliced_pairs,
    TWO | {"theta": Kind("Td", sort="direction")},
    Pairs(index("bT", "n"), index("bT", "m")),
    call=lambda x, y, theta: sliced.sample_sliced_pairs(x, y, theta, rng=seeded(), size=4),
    without="permutation splitting far",
    styles=UNIQUE,
    **SLICED,
)

# Linearised
ALIGNED = {"reference": points("nd"), "clouds": even_cloud("bm")}
ALIGNMENT = {"same": ONE_SIZE, "styles": UNIQUE}
record(linearized.align_to_reference, ALIGNED, index("bn", "m"), options=SERIAL, **ALIGNMENT)
record(linearized.align, ALIGNED, points("bnd"), options=SERIAL, **ALIGNMENT)
record(
    linearized.reorder,
    {"points": points("bmd"), "permutation": index("bn", "m")},
    points("bnd"),
    same=ONE_SIZE,
    drawn={"index": orders},
)
record(
    linearized.sq_lazy_distance,
    {"x": points("bnd"), "aligned": points("bnd")},
    number("b", 2),
    swap="x aligned",
    metric=2,
)
record(
    linearized.pairwise_sq_lazy_distance,
    {"x": points("qnd"), "aligned": points("rnd")},
    number("qr", 2),
    swap="x aligned",
    pair="qr",
    metric=2,
)
THIRD = {"same": ("nml",), "styles": UNIQUE}
record(
    linearized.sq_linearized_distance,
    {"reference": points("nd"), "x": even_cloud("bm"), "y": even_cloud("bl")},
    number("b", 2),
    swap="x y",
    metric=2,
    **THIRD,
)
record(
    linearized.pairwise_sq_linearized_distance,
    {"reference": points("nd"), "x": even_cloud("qm"), "y": even_cloud("rl")},
    number("qr", 2),
    **PAIRWISE,
    **THIRD,
)
record(stability.stability_radius, ALIGNED, number("b", 1), **ALIGNMENT)
record(stability.stability_radius_bound, ALIGNED, number("b", 1), **ALIGNMENT)
record(stability.assignment_gap, ALIGNED, number("b", 2), **ALIGNMENT)
record(
    stability.laziness_report,
    {"reference": points("Tc"), "clouds": even_cloud("TT", "c"), "sigma": positive("", 1)},
    Laziness(number(), number(), number(), Kind("T"), Kind("T", 1), Kind("T", 1)),
    call=lambda reference, clouds, sigma: stability.laziness_report(
        reference, clouds, sigma=float(sigma), rng=seeded(), size=3, n_jobs=1
    ),
    styles=UNIQUE,
)
record(
    reference.free_support_barycenter,
    {"clouds": even_cloud("km"), "init": points("nd")},
    FreeSupportBarycenter(points("nd"), index("kn", "m"), None, None, None, None),
    call=lambda clouds, init: reference.free_support_barycenter(clouds, init=init, n_jobs=1),
    **ALIGNMENT,
)
