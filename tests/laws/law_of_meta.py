"""Records of Meta OT: the semi-dual, starts, grids, the sphere, networks of potentials."""

import numpy as np
from law_kinds import Kind, cloud, number, positive, vectors, weights
from law_of_networks import gradients, trained
from law_of_plans import ENTROPIC, EPS, PROBLEM, SOLUTION, STEPS, TWO
from law_record import record

from refwfm.measures import PointCloud
from refwfm.meta import cloud_potentials, potentials
from refwfm.transport import grid_displacement, grids, semidual, sphere, starts
from refwfm.transport.grids import Grid
from refwfm.transport.starts import WarmSinkhorn

POTENTIAL = {"f": Kind("bn", 2)}
SEMIDUAL = POTENTIAL | PROBLEM | EPS


def with_eps(function):
    return lambda f, cost, a, b, eps: function(f, cost, a, b, eps=eps)


# The entropy of weights changes when a point is split.
record(
    semidual.semidual_value,
    SEMIDUAL,
    number("b", 2),
    call=with_eps(semidual.semidual_value),
    without="splitting",
    **ENTROPIC,
)
record(semidual.kl_dual_value, SEMIDUAL, number("b", 2), call=with_eps(semidual.kl_dual_value), **ENTROPIC)
ROWS = Kind("bn", adds="n")
record(semidual.semidual_gradient, SEMIDUAL, ROWS, call=with_eps(semidual.semidual_gradient), ulps=1e4)
record(
    semidual.semidual_value_and_gradient,
    SEMIDUAL,
    (number("b", 2), ROWS),
    call=with_eps(semidual.semidual_value_and_gradient),
    ulps=1e4,
)
record(
    semidual.to_product_convention,
    POTENTIAL | {"a": weights("bn")} | EPS,
    Kind("bn", 2),
    call=lambda f, a, eps: semidual.to_product_convention(f, a, eps=eps),
    without="splitting",
)

# Half-steps
record(
    grids.half_steps,
    SEMIDUAL | {"g": Kind("bm", 2)},
    (Kind("bm", 2), Kind("bn", 2)),
    call=lambda f, cost, a, b, eps, g: tuple(
        half(p)
        for half, p in zip(grids.half_steps(grids.check_histograms(cost, a, b, eps=eps)), (f, g), strict=True)
    ),
    **ENTROPIC,
)
record(
    grids.marginal,
    {"weights": weights("bn"), "old": Kind("bn", 2), "new": Kind("bn", 2)} | EPS,
    ROWS,
    ulps=1e4,
)

# Grids: axes have no mass that could be split, nor an origin. Coordinates do not mix.
AXES = {"rows": Kind("c", 1), "columns": Kind("T", 1)}
record(
    grids.grid_points,
    AXES,
    Kind("lT", 1),
    call=lambda rows, columns: grids.grid_points(Grid((rows, columns))),
)
record(
    grids.axis_costs,
    {"rows": Kind("q", 1)},
    (Kind("qq", 2),),
    call=lambda rows: grids.axis_costs(Grid((rows,))),
)
LINE = {"axis": Kind("n", 1)}
ON_LINE = {"without": "padding splitting"}  # atoms are the same for all members of a batch
record(
    grids.grid_softmin,
    LINE | {"potential": Kind("bn", 2), "weights": weights("bn")} | EPS,
    Kind("bn", 2),
    call=lambda axis, potential, weights, eps: grids.grid_softmin(Grid((axis,)), potential, weights, eps),
    **ON_LINE,
    **ENTROPIC,
)
record(
    grids.is_flat,
    LINE | {"potential": Kind("bn", 2)} | EPS,
    Kind("b"),
    call=lambda axis, potential, eps: grids.is_flat(grids.axis_costs(Grid((axis,))), potential, eps),
    **{**ON_LINE, "without": f"{ON_LINE.get('without', '')} nan"},  # an answer yes or no
)
record(
    grids.grid_sinkhorn,
    LINE | {"a": weights("bn"), "b": weights("bn")} | EPS,
    SOLUTION._replace(f=Kind("bn", 2), g=Kind("bn", 2)),
    call=lambda axis, a, b, eps: grids.grid_sinkhorn(Grid((axis,)), a, b, eps=eps, **STEPS),
    **ON_LINE,
    **ENTROPIC,
)


def sorted_axis(rng, shape):
    return np.cumsum(rng.integers(1, 100, shape), axis=-1) / 64


record(
    grid_displacement.axis_shares,
    {"axis": Kind("T", 1, "sorted", affine=True)},
    Kind("TT"),
    call=lambda axis: grid_displacement.axis_shares(axis, 0.25),
    drawn={"sorted": sorted_axis},
)
record(
    grid_displacement.displaced_histogram,
    {"plan": Kind("bTT", sort="plan"), "axis": Kind("T", 1, "sorted", affine=True)},
    Kind("bT"),
    call=lambda plan, axis: grid_displacement.displaced_histogram(plan, Grid((axis,)), 0.25),
    drawn={"sorted": sorted_axis},
    without="padding splitting",  # nodes are where they are
)


def unit_vectors(rng, shape):
    vectors = rng.standard_normal(shape) + 1e-3
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


record(
    sphere.spherical_cost,
    {"x": Kind("qd", sort="unit"), "y": Kind("rd", sort="unit")},
    Kind("qr"),
    swap="x y",
    pair="qr",
    drawn={"unit": unit_vectors},
    ulps=1e4,  # the arc cosine magnifies rounding near 1
)

# Starts
record(starts.zero_potential, TWO, Kind("bn", 2), without="nan")  # zero whatever the points
record(
    starts.start_potential,
    TWO,
    Kind("bn", 2),
    call=lambda x, y: starts.start_potential("gaussian", x, y),
    sizes={"n": (7, 8), "m": (7, 8)},
    ulps=1e4,
)
record(
    starts.usable_start,
    SEMIDUAL,
    (Kind("bn", 2), None),
    call=with_eps(starts.usable_start),
    styles=("spread",),  # with ties a start may be worth exactly as much as zeros
    **ENTROPIC,
)
record(
    starts.warm_sinkhorn,
    SEMIDUAL,
    WarmSinkhorn(SOLUTION, None),
    call=lambda f, cost, a, b, eps: starts.warm_sinkhorn(cost, a, b, f, eps=eps, **STEPS),
    styles=("spread",),
    **ENTROPIC,
)
record(
    starts.error_curve,
    SEMIDUAL,
    Kind("Tb"),
    call=lambda f, cost, a, b, eps: starts.error_curve(cost, a, b, eps=eps, n_iter=3, f_init=f),
    ulps=1e4,
)
record(
    starts.iterations_to,
    {"errors": Kind("Tb")},
    Kind("b"),
    call=lambda errors: starts.iterations_to(errors, 0.5),
    without="nan",  # NaN is no iteration
)

# Networks: a unit, or an order, of atoms that the parameters do not know
ATOMS = {"a": weights("bT"), "b": weights("bT")}
FIXED = {"sizes": {"T": (3,)}, "without": "padding splitting", "ulps": 1e3}


def init(rng, *, like):
    return potentials.init_potential_mlp(rng, 3, 3, like=like, width=4, depth=1)


record(
    potentials.potential_mlp,
    ATOMS,
    Kind("bT"),
    call=lambda a, b: potentials.potential_mlp(trained(init, like=a), a, b)[0],
    **FIXED,
)
FAMILY = {"a": weights("kT"), "b": weights("kT"), "cost": Kind("TT", sort="cost")}


def loss(function):
    def call(a, b, cost):
        return function(trained(init, like=a), a, b, cost, eps=0.5)

    return call


def loss_and_gradients(a, b, cost):
    value, gradient = potentials.loss_and_grad(trained(init, like=a), a, b, cost, eps=0.5)
    return value, gradients(gradient)


record(potentials.amortisation_loss, FAMILY, number(), call=loss(potentials.amortisation_loss), **FIXED)
record(potentials.loss_and_grad, FAMILY, (number(), Kind("T")), call=loss_and_gradients, **FIXED)
# Atoms of weight 0 take part, and halves of an atom count as two.
record(
    potentials.unmasked_value_and_gradient,
    SEMIDUAL,
    (number("b", 2), Kind("bn")),
    call=with_eps(potentials.unmasked_value_and_gradient),
    without="padding splitting",
    ulps=1e4,
)


def init_clouds(rng, *, like):
    return cloud_potentials.init_cloud_potential(rng, 2, like=like, width=4)


PAIR = {"x": cloud("bn", "c"), "y": cloud("bm", "c")} | EPS
CLOUDS = {"sizes": {"c": (2,), "n": (7, 8), "m": (7, 8)}, "ulps": 1e5, "styles": ("spread",)}
record(
    cloud_potentials.cloud_potential,
    PAIR,
    Kind("bn", 2),
    call=lambda x, y, eps: cloud_potentials.cloud_potential(
        trained(init_clouds, like=x.points), x, y, eps=eps
    )[0],
    **CLOUDS,
)
MEMBERS = {"x": cloud("kn", "c"), "y": cloud("km", "c"), "eps": positive("k", 2)}


def cloud_loss(x, y, eps):
    params = trained(init_clouds, like=x.points)
    value, gradient = cloud_potentials.cloud_loss_and_grad(params, x, y, eps=eps)
    return value, gradients(gradient)


record(cloud_potentials.cloud_loss_and_grad, MEMBERS, (number(), Kind("T")), call=cloud_loss, **CLOUDS)
record(
    cloud_potentials.standardized,
    TWO,
    (
        PointCloud(vectors("bnd", degree=0), weights("bn")),
        PointCloud(vectors("bmd", degree=0), weights("bm")),
        number("b", 2),
    ),
    sizes={"n": (3, 4), "m": (3, 4)},
    ulps=1e3,
)
