"""Records of networks and of what trains them. Their parameters are constants; coordinates do not mix."""

import numpy as np
from law_kinds import Kind, cleared, gaussian, number, tangent, time, vectors, weights
from law_record import UNIQUE, record

from refwfm._array import array_namespace, asarray_like
from refwfm.networks import conditioning, features, layers
from refwfm.networks.attention import attention, init_multi_head_attention, multi_head_attention
from refwfm.networks.bures_mlp import bures_mlp, identity_scaling, init_bures_mlp, input_features
from refwfm.networks.mlp import block, init_mlp, mlp
from refwfm.networks.point_mlp import init_point_mlp, nearest_neighbours, point_mlp, surroundings
from refwfm.networks.transformer import feed_forward, init_transformer, transformer, transformer_block
from refwfm.training import optim, regression
from refwfm.training.regression import CloudBatch, GaussianBatch

WIDTH = 8
SIZES = {"T": (WIDTH,)}
SMALL = {"width": WIDTH, "depth": 1, "n_frequencies": 2}
BLOCK = SMALL | {"heads": 2, "hidden": 4}
HIDDEN, TOKENS, ROWS = Kind("bT"), Kind("bnT"), Kind("bc")
MASK = Kind("bn", sort="mask")


def trained(init, *sizes, like, **options):
    """Parameters away from the zero field."""
    rng = np.random.default_rng(0)
    params = init(rng, *sizes, like=like, **options)
    return optim.tree_map(lambda p: p + asarray_like(0.3 * rng.standard_normal(p.shape), p), params)


def layer(init, function, *sizes, **options):
    """The value of a layer, without its pullback."""
    return lambda x, *rest: function(trained(init, *sizes, like=x), x, *rest, **options)[0]


def rows(function, init, *sizes, given=HIDDEN, result=HIDDEN, **traits):
    call = layer(init, function, *sizes)
    record(function, {"x": given}, result, call=call, sizes=SIZES, ulps=1e3, **traits)


# Layers work on each row
rows(layers.dense, layers.init_dense, WIDTH, WIDTH)
rows(
    layers.layer_norm,
    lambda rng, n, *, like: layers.init_layer_norm(n, like=like),
    WIDTH,
)
rows(mlp, lambda *given, **options: init_mlp(*given, width=4, depth=1, **options), WIDTH, WIDTH)


def init_block(rng, *, like):
    return {
        "norm": layers.init_layer_norm(WIDTH, like=like),
        "dense": layers.init_dense(rng, WIDTH, WIDTH, like=like),
    }


def init_feed(rng, *, like):
    return {
        "in": layers.init_dense(rng, WIDTH, 4, like=like),
        "out": layers.init_dense(rng, 4, WIDTH, like=like),
    }


rows(block, init_block)
rows(feed_forward, init_feed)
record(
    layers.residual,
    {"x": HIDDEN},
    HIDDEN,
    call=lambda x: layers.residual(layers.dense)(trained(layers.init_dense, WIDTH, WIDTH, like=x), x)[0],
    sizes=SIZES,
    ulps=1e3,
)
# Rectified values have the unit of their arguments; half of the line is half of the line in any unit.
record(layers.relu, {"x": Kind("bT", 1)}, Kind("bT", 1), call=lambda x: layers.relu(x)[0])
record(layers.silu, {"x": HIDDEN}, HIDDEN, call=lambda x: layers.silu(x)[0])
record(layers.fourier_features, {"t": time}, Kind("bT"), call=lambda t: layers.fourier_features(t, 3)[0])
record(
    layers.vech,
    {"matrix": Kind("bcc", 2, "covariance")},
    Kind("bT", 2),
    call=lambda matrix: layers.vech(matrix)[0],
)
record(
    layers.unvech,
    {"vector": Kind("bT", 2)},
    Kind("bcc", 2),
    call=lambda vector: layers.unvech(vector, 2)[0],
    sizes={"T": (3,)},
)
LABELS = {"labels": Kind("b", sort="label")}
NUMBERED = {"drawn": {"label": lambda rng, shape: rng.integers(0, 3, shape)}}


record(
    layers.label_embedding,
    LABELS | {"table": Kind("TT")},
    Kind("bT"),
    call=lambda labels, table: layers.label_embedding({"table": table}, labels)[0],
    **NUMBERED,
)
record(
    conditioning.unlabelled,
    LABELS | {"table": Kind("TT")},
    Kind("b"),
    call=lambda labels, table: conditioning.unlabelled({"labels": {"table": table}}, labels),
    **NUMBERED,
)
record(
    conditioning.feature_embedding,
    {"x": HIDDEN, "weight": Kind("TT"), "bias": Kind("T"), "none": Kind("T")},
    HIDDEN,
    call=lambda x, **params: conditioning.feature_embedding(params, x)[0],
    ulps=1e3,
)

record(
    features.space_features,
    {"frequencies": Kind("cT"), "x": Kind("bc")},
    Kind("bT"),
    ulps=1e3,
)
record(
    features.with_features,
    {"frequencies": Kind("cT"), "read": Kind("bT"), "x": Kind("bc")},
    Kind("bT"),
    call=lambda frequencies, read, x: features.with_features({"frequencies": frequencies}, read, x),
    ulps=1e3,
)


def init_clouds(rng, *, like, d):
    return init_transformer(rng, d, like=like, **BLOCK)


record(
    conditioning.embed_condition,
    {"t": time},
    Kind("bT"),
    call=lambda t: conditioning.embed_condition(trained(init_clouds, like=t, d=2), t, None)[0],
)
BOTH = {"v_label": vectors("bnd"), "v_none": vectors("bnd")}
record(
    conditioning.guidance,
    BOTH,
    vectors("bnd"),
    call=lambda v_label, v_none: conditioning.guidance(v_label, v_none, 0.5),
)

# Networks of Gaussians
GAUSSIANS = {"mu": gaussian("b", "c"), "t": time}
UNITLESS = {"without": "scale shift", "sizes": {"c": (2,)}, "ulps": 1e3}


def init_bures(rng, *, like):
    return init_bures_mlp(rng, 2, like=like, **SMALL)


def of_gaussians(function):
    def call(mu, t):
        scaling = identity_scaling(2, like=t)
        return function(trained(init_bures, like=t), scaling, mu, t)

    return call


record(
    bures_mlp,
    GAUSSIANS,
    (Kind("bc"), Kind("bcc")),
    call=lambda mu, t: of_gaussians(bures_mlp)(mu, t)[0],
    **UNITLESS,
)
record(
    input_features,
    GAUSSIANS,
    Kind("bT"),
    call=of_gaussians(input_features),
    **UNITLESS,
)


def gradients(gradient):
    """All entries of a gradient, one after the other."""
    leaves = optim.tree_leaves(gradient)
    xp = array_namespace(*leaves)
    return xp.concat([xp.reshape(leaf, (-1,)) for leaf in leaves])


def gaussian_loss(mu, target, t):
    params, scaling = trained(init_bures, like=t), identity_scaling(2, like=t)
    batch = GaussianBatch(mu, target, t, None)
    value, gradient = regression.gaussian_loss_and_grad(params, scaling, batch, method="riemannian")
    return value, gradients(gradient)


record(
    regression.gaussian_loss_and_grad,
    {"mu": gaussian("k", "c"), "target": tangent("k", coordinate="c"), "t": time._replace(axes="k")},
    (number(), Kind("T")),
    call=gaussian_loss,
    **UNITLESS,
)

# Networks of clouds: points have no order, padding no influence
POINTS = {"points": Kind("bnc", sort="cleared"), "mask": MASK}
CLOUDS = UNITLESS | {"styles": UNIQUE}
record(
    transformer,
    POINTS | {"t": time},
    Kind("bnc"),
    call=lambda points, mask, t: transformer(trained(init_clouds, like=t, d=2), points, mask, t, heads=2)[0],
    **CLOUDS,
)
record(
    regression.cloud_velocity,
    POINTS | {"t": time},
    Kind("bnc"),
    call=lambda points, mask, t: regression.cloud_velocity(
        trained(init_clouds, like=t, d=2), points, mask, t, heads=2
    ),
    **CLOUDS,
)
record(
    transformer_block,
    {"h": TOKENS, "condition": Kind("bc"), "mask": MASK},
    TOKENS,
    call=lambda h, condition, mask: transformer_block(
        trained(init_clouds, like=h, d=2)["blocks"]["0"], h, condition, mask, heads=2
    )[0],
    sizes=SIZES | {"c": (4,)},
    ulps=1e3,
)
record(
    attention,
    {"q": Kind("bqc"), "k": Kind("bnc"), "v": Kind("bnc"), "mask": MASK},
    Kind("bqc"),
    call=lambda q, k, v, mask: attention(q, k, v, mask)[0],
    ulps=1e3,
)
record(
    multi_head_attention,
    {"x": TOKENS, "mask": MASK},
    TOKENS,
    call=lambda x, mask: multi_head_attention(
        trained(init_multi_head_attention, WIDTH, like=x), x, mask, heads=2
    )[0],
    sizes=SIZES,
    ulps=1e3,
)


def init_points(rng, *, like):
    options = {"width": WIDTH, "depth": 1, "n_frequencies": 2, "heads": 2, "hidden": 4}
    return init_point_mlp(rng, 2, like=like, neighbours=2, **options)


record(
    point_mlp,
    POINTS | {"t": time},
    Kind("bnc"),
    call=lambda points, mask, t: point_mlp(
        trained(init_points, like=t), points, mask, t, heads=2, neighbours=2
    )[0],
    **CLOUDS,
)
record(
    surroundings,
    POINTS,
    Kind("bnT"),
    call=lambda points, mask: surroundings(points, mask, neighbours=2),
    **CLOUDS,
)
record(
    nearest_neighbours,
    {"points": cleared("bnd"), "mask": MASK},
    (vectors("bnTd"), Kind("bnT", 1)),
    call=lambda points, mask: nearest_neighbours(points, mask, neighbours=2),
    styles=UNIQUE,
    sizes={"n": (4, 3, 5)},
)


def cloud_loss(points, weights, target, t):
    params = trained(init_clouds, like=t, d=2)
    batch = CloudBatch(points, weights, target, t, None)
    value, gradient = regression.cloud_loss_and_grad(params, batch, heads=2)
    return value, gradients(gradient)


# Attention counts points: halves of a point get twice the attention.
record(
    regression.cloud_loss_and_grad,
    {
        "points": Kind("knc", sort="cleared"),
        "weights": weights("kn"),
        "target": Kind("knc"),
        "t": time._replace(axes="k"),
    },
    (number(), Kind("T")),
    call=cloud_loss,
    **CLOUDS | {"without": "scale splitting"},
)
