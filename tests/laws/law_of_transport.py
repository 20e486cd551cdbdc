"""Records of optimal transport: plans, exact and entropic, on the line, sliced, linearised, of families."""

import numpy as np
from law_kinds import (
    Kind,
    cloud,
    even_cloud,
    family,
    index,
    line,
    number,
    plan,
    points,
    positive,
    time,
    vectors,
    weights,
)
from law_record import HOST, UNIQUE, record

from refwfm._array import array_namespace, to_host
from refwfm.transport import (
    emd,
    entropic,
    exact,
    families,
    fields,
    gaussian_start,
    linearized,
    plans,
    problem,
    quantiles,
    reference,
    sinkhorn,
    sliced,
    stability,
)
from refwfm.transport.emd import Dual
from refwfm.transport.entropic import SinkhornDivergence
from refwfm.transport.exact import TransportPlan
from refwfm.transport.families import MembershipError, RandomCoupling, Wow
from refwfm.transport.plans import MarginalError, Pairs
from refwfm.transport.problem import Problem
from refwfm.transport.quantiles import Sorted
from refwfm.transport.reference import FreeSupportBarycenter
from refwfm.transport.sinkhorn import Sinkhorn
from refwfm.transport.stability import Laziness


def seeded():
    return np.random.default_rng(0)


def directions(rng, shape):
    """Unit vectors."""
    vectors = rng.standard_normal(shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def frames(rng, shape):
    """Orthonormal axes in columns."""
    return np.linalg.qr(rng.standard_normal((*shape[:-1], shape[-2])))[0]


def orders(rng, shape):
    """Permutations."""
    return np.argsort(rng.random(shape), axis=-1)


TWO = {"x": cloud("bn"), "y": cloud("bm")}
COST = Kind("bnm", 2, "cost")
PROBLEM = {"cost": COST, "a": weights("bn"), "b": weights("bm")}
ONE_SIZE = ("nm",)
SERIAL = {"n_jobs": 1}

# Exact plans. The potentials are not unique.
record(exact.assignment, {"cost": COST}, index("bn", "m"), options=SERIAL, same=ONE_SIZE, styles=UNIQUE)
TRANSPORT = TransportPlan(plan("bnm"), number("b", 2), *6 * [None])
record(exact.transport_plan, PROBLEM, TRANSPORT, options=SERIAL, styles=UNIQUE)
VALUE = {"swap": "x y", "metric": 2, "outlier": True}
record(exact.sq_wasserstein2, TWO, number("b", 2), options=SERIAL, **VALUE)
EVEN = {"x": even_cloud("bn"), "y": even_cloud("bm")}
record(exact.sq_wasserstein2, EVEN, number("b", 2), suffix="even", options=SERIAL, swap="x y", same=ONE_SIZE)

# Earth mover's distances, on the host, where clouds have no padding
UNPADDED = {"dtypes": HOST, "without": "padding"}
ON_HOST = {"x": cloud("n"), "y": cloud("m")}
for squared in (True, False):
    of = {"suffix": "squared" if squared else "not squared", "options": {"squared": squared}}
    degree = 1 + squared
    record(emd.cost_matrix, ON_HOST, number("nm", degree), swap="x y", **of, **UNPADDED)
    value = VALUE | {"metric": degree}
    record(emd.emd, ON_HOST, number("", degree), **of, **value, **UNPADDED)
    record(
        emd.frame_bounds,
        {"x": cloud("qn"), "y": cloud("rm"), "frames": Kind("kdT", sort="frame")},
        number("qr", degree),
        call=lambda x, y, frames, squared=squared: emd.frame_bounds(
            *([type(c)(*members) for members in zip(*c, strict=True)] for c in (x, y)),
            frames,
            squared=squared,
        ),
        suffix=of["suffix"],
        same=("dT",),
        sizes={"d": (2, 3, 1, 4)},
        drawn={"frame": frames},
        swap="x y",
        pair="qr",
        ulps=1e6,  # of levels, at which cells may end one atom earlier; a bound has a slack for it
        **UNPADDED,
    )
HOST_COST = {"cost": Kind("nm", 2, "cost")}
HOST_PROBLEM = HOST_COST | {"a": weights("n"), "b": weights("m")}
record(
    emd.exact_cost,
    HOST_COST | ON_HOST,
    number("", 2),
    call=lambda cost, x, y: emd.exact_cost(cost, x, y, None),
    **UNPADDED,
)
record(
    emd.dual,
    HOST_PROBLEM | {"f": Kind("n", 2)},
    Dual(Kind("n", 2), Kind("m", 2), number("", 2)),
    **UNPADDED,
)
# In float32 inside, to whose rounding it is known; any potential serves, so it is not that of a limit.
record(
    emd.rough_potential,
    HOST_PROBLEM,
    Kind("n", 2),
    dtypes=HOST,
    ulps=2.0**36,
    without="padding splitting",
)
record(
    emd.quantile_cells,
    {"points": points("nd"), "weights": weights("n"), "axes": Kind("dT")},
    Kind("TT", 1),
    without="padding shift",  # it is shifted by the shift's coordinates along these axes
    dtypes=HOST,
    ulps=1e6,  # as frame_bounds
)

# Entropic transport
SOLUTION = Sinkhorn(Kind("bn", 2), Kind("bm", 2), positive("b", 2), number("b"), number("b"), None, None)
EPS = {"eps": positive("b", 2)}
STEPS = {"tol": None, "max_iter": 8}
# eps is down to a twentieth of the cost, by which exponents magnify rounding.
ENTROPIC = {"ulps": 1e3}
record(
    sinkhorn.sinkhorn,
    PROBLEM | EPS,
    SOLUTION,
    call=lambda cost, a, b, eps: sinkhorn.sinkhorn(cost, a, b, eps=eps, **STEPS),
    **ENTROPIC,
)
CHECKED = Problem(COST, weights("bn"), weights("bm"), positive("b", 2), Kind("bn", 2))
record(
    sinkhorn.iterate,
    {"problem": CHECKED},
    SOLUTION,
    options=STEPS | {"require": False},
    **ENTROPIC,
)
SOFT = {"cost": Kind("bqm", 2, "cost"), "potential": Kind("bm", 2), "weights": weights("bm")} | EPS
record(sinkhorn.softmin, SOFT, Kind("bq", 2), **ENTROPIC)
POTENTIALS = {"f": Kind("bn", 2), "g": Kind("bm", 2)}
record(
    sinkhorn.marginal_errors,
    {"problem": CHECKED} | POTENTIALS,
    (number("b"), number("b")),
    ulps=1e4,
)
SOLVED = PROBLEM | {"solution": SOLUTION._replace(row_error=None, col_error=None)}
record(sinkhorn.log_plan, SOLVED, Kind("bnm"), without="splitting")
record(sinkhorn.plan, SOLVED, plan("bnm"), **ENTROPIC)
record(sinkhorn.transport_cost, SOLVED, number("b", 2), **ENTROPIC)
record(sinkhorn.dual_value, SOLVED, number("b", 2), **ENTROPIC)
record(
    sinkhorn.sq_euclidean_cost,
    {"x": points("qd"), "y": points("rd")},
    number("qr", 2),
    swap="x y",
    pair="qr",
    metric=2,
)
QUERY = {"points": points("bqd"), "y": points("bmd"), "b": weights("bm"), "g": Kind("bm", 2)}


def with_eps(function):
    return lambda eps, **given: function(*given.values(), eps=eps)


record(
    entropic.extend_potential,
    QUERY | EPS,
    Kind("bq", 2),
    call=with_eps(entropic.extend_potential),
    **ENTROPIC,
)
record(entropic.entropic_map, QUERY | EPS, points("bqd"), call=with_eps(entropic.entropic_map), **ENTROPIC)
record(
    entropic.debiased_entropic_map,
    {"points": points("bqd")} | TWO | {"g_xy": Kind("bm", 2), "g_xx": Kind("bn", 2)} | EPS,
    points("bqd"),
    call=with_eps(entropic.debiased_entropic_map),
    **ENTROPIC,
)
record(entropic.barycentric_projection, {"plan": plan("bnm"), "y": points("bmd")}, points("bnd"))
record(
    entropic.epsilon_schedule,
    {"scale": positive("", 1)},
    number("", 1),
    call=lambda scale: entropic.epsilon_schedule(5, 2, float(scale)),
)
record(
    entropic.sinkhorn_divergence,
    TWO | EPS,
    SinkhornDivergence(number("b", 2), SOLUTION, None, None),
    call=lambda x, y, eps: entropic.sinkhorn_divergence(x, y, eps=eps, **STEPS),
    **ENTROPIC,
)
record(gaussian_start.gaussian_potential, TWO, Kind("bn", 2), sizes={"n": (7, 8), "m": (7, 8)}, ulps=1e4)

# Arguments of a problem
for name in ("max", "mean", "median"):
    record(
        problem.cost_scale,
        PROBLEM,
        number("b", 2),
        suffix=name,
        call=lambda cost, a, b, name=name: problem.cost_scale(problem.clear_padding(cost, a, b), a, b, name),
        without="" if name == "max" else "splitting",  # every pair counts once, whatever it weighs
    )
record(problem.clear_padding, PROBLEM, Kind("bnm", 2))
record(problem.clear_points, {"points": points("bnd"), "weights": weights("bn")}, points("bnd"))
record(problem.log_weights, {"weights": weights("bn")}, Kind("bn"), without="splitting")

# Plans
record(
    plans.marginal_error,
    {"plan": plan("bnm"), "a": weights("bn"), "b": weights("bm")},
    MarginalError(number("b"), number("b")),
)
LOG_PLAN = {"log_plan": Kind("bnm")}
record(plans.argmax_matching, LOG_PLAN, index("bn", "m"), styles=UNIQUE)
for rounding in (plans.greedy_rounding, plans.greedy_rounding_sequential):
    record(rounding, LOG_PLAN, index("bn", "m"), same=ONE_SIZE, styles=UNIQUE)
# What is drawn depends on the order in which it is drawn, but not on padding.
record(
    plans.sample_pairs,
    {"plan": plan("nm")},
    Pairs(index("T", "n"), index("T", "m")),
    call=lambda plan: plans.sample_pairs(plan, 5, rng=seeded()),
    without="permutation splitting",
)
record(
    plans.sample_targets,
    {"plan": plan("nm")},
    index("n", "m"),
    call=lambda plan: plans.sample_targets(plan, rng=seeded()),
    without="permutation splitting",
)

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
IN_ORDER = {"styles": UNIQUE, "without": "padding splitting"}
record(quantiles.sort_measure, MEASURE, Sorted(points("bT"), Kind("bT"), None), **IN_ORDER)
record(quantiles.order_and_levels, MEASURE, (index("bT", "n"), Kind("bT")), **IN_ORDER)
record(quantiles.intervals, MEASURE, (Kind("bn"), Kind("bn")), styles=UNIQUE, without="splitting")
record(
    quantiles.meet,
    LINES,
    (Kind("bT"), Kind("bT"), Kind("bT")),
    call=lambda x, y: quantiles.meet(quantiles.sort_measure(*x), quantiles.sort_measure(*y)),
    **IN_ORDER,
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

# Families
MU_NU = {"mu": family("in"), "nu": family("jm")}
record(
    families.sq_wow_distance,
    MU_NU,
    Wow(number("", 2), TransportPlan(plan("ij"), number("", 2), *6 * [None]), number("ij", 2)),
    options=SERIAL,
    swap="mu nu",
    pair="ij",
    styles=UNIQUE,
)
record(families.even_family, {"clouds": cloud("kn")}, family("kn")._replace(weights=Kind("k")))
record(families.independent_plan, TWO, plan("bnm"), swap="x y")
record(families.optimal_plan, TWO, plan("bnm"), swap="x y", styles=UNIQUE)
PLANS = Kind("ijnm", sort="plan", adds="nm")
COUPLING = RandomCoupling(plan("ij"), PLANS)
record(
    families.random_coupling,
    MU_NU | {"outer": plan("ij")},
    COUPLING,
    call=lambda mu, nu, outer: families.random_coupling(mu, nu, outer, families.independent_plan),
)
COUPLED = {"coupling": COUPLING} | MU_NU
record(families.membership_error, COUPLED, MembershipError(*4 * [number()]))
record(families.sq_coupling_cost, COUPLED, number("", 2))


def curve(coupling, mu, nu, t):
    """The family with its axes apart."""
    found = families.curve(coupling, mu, nu, float(t))
    xp, shape = array_namespace(found.weights), coupling.plans.shape
    return (
        xp.reshape(found.clouds.points, (*shape, found.clouds.points.shape[-1])),
        xp.reshape(found.clouds.weights, shape),
        xp.reshape(found.weights, shape[:2]),
    )


record(
    families.curve,
    COUPLED | {"t": time._replace(axes="")},
    (points("ijnmd"), Kind("ijnm", adds="nm"), plan("ij")),
    call=curve,
)


def loss(field, coupling, mu, nu):
    i, j, n, m, d = field.shape
    field = array_namespace(field).reshape(field, (i * j, n * m, d))
    return fields.coupling_loss(field, coupling, mu, nu)


record(fields.coupling_loss, {"field": vectors("ijnmd")} | COUPLED, number("", 2), call=loss)
record(
    fields.inner,
    {"family": family("kn"), "u": vectors("knd"), "v": vectors("knd")},
    number("", 2),
    swap="u v",
)
MEETING = {"x": points("bnd"), "y": points("bnd"), "weights": weights("bn"), "t": time}
record(fields.mean_displacement, MEETING, vectors("bnd", odd=True), swap="x y", styles=UNIQUE)
# Where points meet to the bit, as they do on a grid.
record(
    fields.mean_displacement,
    MEETING,
    vectors("bnd", odd=True),
    suffix="ties",
    swap="x y",
    styles=("ties",),
    without="rotation shift",
)
