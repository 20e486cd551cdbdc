"""Records of transport between families of clouds, and of their fields."""

from law_kinds import (
    Kind,
    cloud,
    family,
    number,
    plan,
    points,
    time,
    vectors,
    weights,
)
from law_record import UNIQUE, record

from refwfm._array import array_namespace
from refwfm.transport import (
    families,
    fields,
)
from refwfm.transport.exact import TransportPlan
from refwfm.transport.families import MembershipError, RandomCoupling, Wow

TWO = {"x": cloud("bn"), "y": cloud("bm")}
SERIAL = {"n_jobs": 1}

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
record(families.independent_plan, TWO, plan("bnm"), swap="x y", without="nan")  # of weights
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
# One member more, and they are not coupled by what couples the others.
SAME = {"without": "nan"}
record(families.membership_error, COUPLED, MembershipError(*4 * [number()]), **SAME)
record(families.sq_coupling_cost, COUPLED, number("", 2), **SAME)


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
    **SAME,
)


def loss(field, coupling, mu, nu):
    i, j, n, m, d = field.shape
    field = array_namespace(field).reshape(field, (i * j, n * m, d))
    return fields.coupling_loss(field, coupling, mu, nu)


record(fields.coupling_loss, {"field": vectors("ijnmd")} | COUPLED, number("", 2), call=loss, **SAME)
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
