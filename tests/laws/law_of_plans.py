"""Records of optimal transport: exact and entropic plans and what is done with them."""

import numpy as np
from law_kinds import (
    Kind,
    cloud,
    even_cloud,
    gaussian,
    index,
    number,
    plan,
    points,
    positive,
    weights,
)
from law_record import HOST, UNIQUE, record

from refwfm._array import array_namespace
from refwfm.couplings import members
from refwfm.transport import (
    duals,
    emd,
    entropic,
    exact,
    gaussian_start,
    plans,
    problem,
    programme,
    semidiscrete,
    shares,
    sinkhorn,
)
from refwfm.transport.duals import Dual
from refwfm.transport.entropic import SinkhornDivergence
from refwfm.transport.exact import TransportPlan
from refwfm.transport.plans import MarginalError, Pairs
from refwfm.transport.problem import Problem
from refwfm.transport.programme import Proof, Solved
from refwfm.transport.sinkhorn import Sinkhorn


def seeded():
    return np.random.default_rng(0)


def frames(rng, shape):
    """Orthonormal axes in columns."""
    return np.linalg.qr(rng.standard_normal((*shape[:-1], shape[-2])))[0]


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
        dtypes=HOST,
        without="padding nan",  # about the middle of all, which have been checked
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
    duals.dual,
    HOST_PROBLEM | {"f": Kind("n", 2)},
    Dual(Kind("n", 2), Kind("m", 2), number("", 2)),
    **UNPADDED,
)
# One programme at a time, of atoms that all have weight
record(
    programme.solve,
    HOST_PROBLEM,
    Solved(plan("nm"), None, None, Proof(number("", 2), None, None, None, number()), number()),
    options={"max_iter": 1000},
    styles=UNIQUE,
    **UNPADDED,
)
record(
    programme.prove,
    HOST_PROBLEM | {"plan": plan("nm"), "f": Kind("n", 2), "g": Kind("m", 2)},
    Proof(number("", 2), number("", 2), number(), number(), number()),
    **UNPADDED,
)
record(programme.least_entries, HOST_COST, (Kind("n", 2), Kind("m", 2), Kind("nm", 2)), dtypes=HOST)
SQUARE = {"same": ONE_SIZE, "styles": UNIQUE, "dtypes": HOST}
record(
    programme.assign, HOST_COST, index("n", "m"), call=lambda cost: programme.assign(cost.copy()), **SQUARE
)
record(
    programme.best_assignment,
    HOST_COST,
    index("n", "m"),
    call=lambda cost: programme.best_assignment(cost, float(np.max(cost))),
    **SQUARE,
)
record(
    duals.warm_assignment,
    HOST_COST | {"f": Kind("n", 2)},
    index("n", "m"),
    **SQUARE,
)
record(
    duals.quick_assignment,
    HOST_COST,
    index("n", "m"),
    call=lambda cost: duals.quick_assignment(cost, float(np.max(cost))),
    **SQUARE,
)
record(
    programme.power_of_two,
    {"size": positive("b", 2)},
    number("b", 2),
    call=lambda size: np.asarray([programme.power_of_two(float(each)) for each in size]),
    dtypes=HOST,
    without="nan",  # a unit to compute in
)
# In float32 inside, to whose rounding it is known; any potential serves, so it is not that of a limit.
record(
    duals.rough_potential,
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

# Semidiscrete plans: sources n are a sample, members m have shares. A hard minimum does not look at them.
MEMBERS = {"g": Kind("bm", 2), "cost": COST}
record(semidiscrete.assign, MEMBERS, index("bn", "m"), styles=UNIQUE)
SHARES = MEMBERS | {"b": weights("bm")} | EPS
SLOPE = Kind("bm", adds="m")


def with_temperature(function):
    """One batch after the other: the temperature is a number."""

    def call(g, cost, b, eps):
        xp = array_namespace(g)
        found = [function(g[i, ...], cost[i, ...], b[i, ...], eps=float(eps[i])) for i in range(g.shape[0])]
        if isinstance(found[0], tuple):
            return tuple(xp.stack(parts) for parts in zip(*found, strict=True))
        return xp.stack(found)

    return call


for function, output in (
    (semidiscrete.semidiscrete_value, number("b", 2)),
    (semidiscrete.semidiscrete_gradient, SLOPE),
    (semidiscrete.semidiscrete_value_and_gradient, (number("b", 2), SLOPE)),
):
    record(function, SHARES, output, call=with_temperature(function), ulps=1e4)
record(
    shares.marginal_error,
    {"index": index("n", "m"), "b": weights("m")},
    number(),
    dtypes=HOST,
    sizes={"m": (4, 3, 2)},
    drawn={"index": lambda rng, shape: rng.integers(0, 2, shape)},
    without="splitting",  # sources that go to a member go to one of its halves
)
record(
    shares.chance_error,
    {"b": weights("m")},
    number(),
    call=lambda b: shares.chance_error(b, 5),
    dtypes=HOST,
    without="splitting",  # shares that are split are known less well
)

# Costs of sources with members
record(
    members.lifted_costs,
    {"u": points("qd"), "v": points("rd")},
    number("qr", 2),
    call=lambda u, v: members.lifted_costs(u, members.lift(v))(0, v.shape[0]),
)
record(
    members.gaussian_costs,
    {"mu": gaussian("q"), "nu": gaussian("r")},
    number("qr", 2),
    call=lambda mu, nu: members.gaussian_costs(mu, nu)(0, nu.mean.shape[0]),
    swap="mu nu",
    pair="qr",
)
