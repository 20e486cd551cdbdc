"""Records of convex potentials and of what predicts them. Their parameters are constants."""

import numpy as np
from law_kinds import Kind, gaussian, number
from law_of_networks import UNITLESS, gradients, trained
from law_record import record

from refwfm._array import array_namespace
from refwfm.meta import hypernetwork, icnn, monge, picnn, w2gn
from refwfm.networks import activations
from refwfm.training import optim

CLOUD, TARGET, VALUES = Kind("bnc"), Kind("bmc"), Kind("bn")
ROUGH = {"ulps": 1e4}

record(
    activations.leaky_relu, {"x": Kind("bT", 1)}, Kind("bT", 1), call=lambda x: activations.leaky_relu(x)[0]
)
record(activations.leaky_slope, {"x": Kind("bT", 1)}, Kind("bT"))
record(activations.softplus, {"x": Kind("bT")}, Kind("bT"), call=lambda x: activations.softplus(x)[0])


def network(x):
    return trained(icnn.init_icnn, x.shape[-1], like=x, width=5)


def pair(x):
    """One pair of networks for each member, all alike."""
    own = trained(w2gn.init_pair, x.shape[-1], like=x, width=5)
    xp = array_namespace(x)
    return optim.tree_map(lambda p: xp.stack([p] * x.shape[0]), own)


def of_each(loss, *points):
    """Loss and gradient of each member."""
    value, grads = loss(pair(points[0]), *points)
    xp = array_namespace(value)
    return value, xp.concat([icnn.ravel(grads[name]) for name in ("potential", "conjugate")], axis=-1)


record(icnn.potential, {"x": CLOUD}, VALUES, call=lambda x: icnn.potential(network(x), x)[0], **ROUGH)
record(icnn.gradient_map, {"x": CLOUD}, CLOUD, call=lambda x: icnn.gradient_map(network(x), x)[0], **ROUGH)
record(
    icnn.potential_and_map,
    {"x": CLOUD},
    (VALUES, CLOUD),
    call=lambda x: icnn.potential_and_map(network(x), x)[:2],
    **ROUGH,
)
record(
    icnn.hessian_product,
    {"e": Kind("bnc", 1)},
    Kind("bnc", 1),
    call=lambda e: icnn.hessian_product(network(e), e),
    **ROUGH,
)
FLAT = {"vector": Kind("bT", 1)}
PARTS = {"linear": Kind("bT", 1), "constant": Kind("b", 1), "quadratic": Kind("bTT", 1)}


def parts(params):
    return {name: params[name] for name in PARTS}


record(
    icnn.unravel,
    FLAT,
    PARTS,
    call=lambda vector: parts(icnn.unravel(vector, d=2, width=1)),
    sizes={"T": (11,)},
    without="nan",  # each parameter is in one part of the result
)
record(
    icnn.ravel,
    FLAT,
    Kind("bT", 1),
    call=lambda vector: icnn.ravel(icnn.unravel(vector, d=2, width=1)),
    sizes={"T": (11,)},
)
record(
    icnn.quadratic_parameters,
    {"A": Kind("bdd", 2, "definite"), "q": Kind("bd", 1)},
    {"linear": Kind("bd", 1), "quadratic": Kind("bdd", 1)},
    call=lambda A, q: {
        name: value
        for name, value in icnn.quadratic_parameters(A, q, width=1).items()
        if name in ("linear", "quadratic")
    },
    **ROUGH,
)
record(
    w2gn.w2gn_loss_and_grad,
    {"x": CLOUD, "y": TARGET},
    (number("b"), Kind("bT")),
    call=lambda x, y: of_each(w2gn.w2gn_loss_and_grad, x, y),
    **ROUGH,
)
record(
    w2gn.identity_loss_and_grad,
    {"x": CLOUD},
    (number("b"), Kind("bT")),
    call=lambda x: of_each(w2gn.identity_loss_and_grad, x),
    **ROUGH,
)
record(w2gn.conjugate, {"y": CLOUD}, CLOUD, call=lambda y: w2gn.conjugate(network(y), y), **ROUGH)
record(
    w2gn.dual_value,
    {"x": CLOUD, "y": TARGET},
    number("b"),
    call=lambda x, y: w2gn.dual_value(network(x), x, y),
    **ROUGH,
)
LOGGED = Kind("bT", 1, affine=True)
record(w2gn.normalised_dual_values, {"first": LOGGED, "second": LOGGED}, (Kind("bT"), Kind("bT")))
record(
    w2gn.transfer_colours,
    {"picture": Kind("nc")},
    Kind("nc"),
    call=lambda picture: w2gn.transfer_colours(network(picture), picture, rows=2),
    **ROUGH,
)

# The hypernetwork
FEATURES = {"of_x": Kind("bT"), "of_y": Kind("bT")}
record(hypernetwork.summary, {"points": Kind("bnc")}, Kind("bT"), **ROUGH)


def hyper(like):
    return trained(hypernetwork.init_hypernetwork, 3, icnn.n_parameters(2, 5), like=like, width=4)


def two_dimensional(like):
    return trained(w2gn.init_pair, 2, like=like, width=5)


record(
    hypernetwork.hypernetwork,
    FEATURES,
    Kind("bTT"),
    call=lambda of_x, of_y: hypernetwork.hypernetwork(hyper(of_x), of_x, of_y)[0],
    **ROUGH,
)
record(
    hypernetwork.predict,
    FEATURES,
    {"potential": Kind("bT"), "conjugate": Kind("bT")},
    call=lambda of_x, of_y: {
        name: icnn.ravel(params)
        for name, params in hypernetwork.predict(hyper(of_x), of_x, of_y, two_dimensional(of_x))[0].items()
    },
    **ROUGH,
)


def mean_loss(of_x, of_y, x, y):
    loss, grads = hypernetwork.loss_and_grad(hyper(of_x), of_x, of_y, two_dimensional(of_x), x, y)
    return loss, gradients(grads)


record(
    hypernetwork.loss_and_grad,
    {"of_x": Kind("kT"), "of_y": Kind("kT"), "x": Kind("knc"), "y": Kind("kmc")},
    (number(), Kind("T")),
    call=mean_loss,
    sizes={"c": (2,)},
    **ROUGH,
)


def start(mu, nu):
    ridges = hypernetwork.init_ridges(np.random.default_rng(0), 2, like=mu.mean, width=3)
    params = hypernetwork.gaussian_start(mu, nu, ridges)["potential"]
    return params["linear"], params["quadratic"]


record(
    hypernetwork.gaussian_start,
    {"mu": gaussian("b", "c"), "nu": gaussian("b", "c")},
    (Kind("bc"), Kind("bcc")),
    call=start,
    definite=True,
    **{**UNITLESS, **ROUGH},
)

# Conditional maps
CONDITION = {"c": Kind("bT")}
POINTS = {"x": CLOUD} | CONDITION


def conditional(x):
    return trained(picnn.init_picnn, x.shape[-1], 3, like=x, width=4, depth=2)


record(picnn.picnn, POINTS, VALUES, call=lambda x, c: picnn.picnn(conditional(x), x, c)[0], **ROUGH)
record(picnn.monge_map, POINTS, CLOUD, call=lambda x, c: picnn.monge_map(conditional(x), x, c)[0], **ROUGH)
record(
    picnn.along,
    POINTS | {"e": CLOUD},
    (VALUES, VALUES),
    call=lambda x, c, e: picnn.along(conditional(x), x, c, e)[:2],
    **ROUGH,
)
SHARED = {"x": Kind("knc"), "c": Kind("kT")}


def loss_of_all(function, *given):
    networks = conditional(given[0])
    loss, grads = function(networks, networks, *given)
    return loss, gradients(grads)


record(
    monge.map_loss_and_grad,
    SHARED,
    (number(), Kind("T")),
    call=lambda x, c: loss_of_all(monge.map_loss_and_grad, x, c),
    **ROUGH,
)
record(
    monge.potential_loss_and_grad,
    SHARED | {"y": Kind("kmc")},
    (number(), Kind("T")),
    call=lambda x, c, y: loss_of_all(monge.potential_loss_and_grad, x, y, c),
    **ROUGH,
)
KERNELS = {"wz": Kind("TT", 1)}
record(
    monge.clamp_kernels,
    KERNELS,
    Kind("TT", 1),
    call=lambda wz: monge.clamp_kernels({"layers": {"1": {"wz": wz}}})["layers"]["1"]["wz"],
)
record(
    monge.gaussian_quadratic,
    {"mu": gaussian("b"), "nu": gaussian("b")},
    (Kind("bdd"), Kind("bd", 1)),
    call=lambda mu, nu: tuple(monge.gaussian_quadratic(mu, nu, ridge=0.0)),
    definite=True,
    without="shift",  # the map is affine, and its value at 0 another one from another origin
    **ROUGH,
)
