"""Records of flows of populations: graphs, embeddings, velocities, the objective."""

import numpy as np
from law_kinds import Kind, cleared, number, points, positive, time, vectors
from law_of_networks import MASK, gradients, trained
from law_record import UNIQUE, record

from refwfm.networks import activations
from refwfm.populations import embedding, graphs, kernels, objective, pairs, readout, velocity

ENOUGH = {"n": (4, 3, 5)}
record(
    graphs.knn_graph,
    {"x": cleared("bnd"), "mask": MASK},
    Kind("bnT", sort="index", points_at="n"),
    call=lambda x, mask: graphs.knn_graph(x, 2, mask),
    styles=UNIQUE,  # which of two equally near ones, their order decides
    sizes=ENOUGH,
    without="nan",  # a particle that is NaN is far from all
)
GRAPH = {"index": Kind("bnT", sort="index", points_at="n")}
EDGES = {
    "sizes": ENOUGH | {"T": (2,)},
    "drawn": {
        "index": lambda rng, shape: np.broadcast_to(
            (np.arange(shape[1])[:, None] + np.arange(1, 1 + shape[2])) % shape[1], shape
        )
    },
}
for function, call in (
    (graphs.neighbour_mean, lambda z, index: graphs.neighbour_mean(z, index)[0]),
    (graphs.averaging, lambda z, index: graphs.averaging(index)(z)[0]),
):
    record(function, {"z": points("bnd")} | GRAPH, points("bnd"), call=call, **EDGES)

record(embedding.unit_norm, {"z": Kind("bT", 1)}, Kind("bT"), call=lambda z: embedding.unit_norm(z)[0])
record(
    embedding.pool,
    {"z": points("bnd"), "mask": MASK},
    points("bd"),
    call=lambda z, mask: embedding.pool(z, mask)[0],
)
for name in ("moments", "mean-max"):
    record(
        embedding.pool,
        {"z": Kind("bnT"), "mask": MASK},
        Kind("bT"),
        call=lambda z, mask, name=name: embedding.pool(z, mask, pooling=name)[0],
        suffix=name,
    )


def init_embedding(rng, *, like):
    return embedding.init_population_embedding(rng, 2, like=like, width=4, depth=2)


def embedded(function):
    def call(x, index, mask):
        return function(trained(init_embedding, like=x), x, index, mask=mask)[0]

    return call


READ = {"x": Kind("bnc", sort="cleared")} | GRAPH | {"mask": MASK}
OF_PARTICLES = {"drawn": EDGES["drawn"], "sizes": EDGES["sizes"] | {"c": (2,)}, "ulps": 1e3}
record(
    embedding.encode_particles,
    READ,
    Kind("bnT"),
    call=embedded(embedding.encode_particles),
    **OF_PARTICLES,
)
record(
    embedding.population_embedding,
    READ,
    Kind("bT"),
    call=embedded(embedding.population_embedding),
    **OF_PARTICLES,
)
record(
    embedding.tell,
    READ,
    (Kind("bT"), Kind("bnT")),
    call=lambda x, index, mask: embedded(embedding.tell)(x, index, mask)[0:3:2],
    **OF_PARTICLES,
)

# Velocities
record(activations.selu, {"x": Kind("bT")}, Kind("bT"), call=lambda x: activations.selu(x)[0])
record(velocity.time_features, {"t": time}, Kind("bT"), call=lambda t: velocity.time_features(t, 6))


def init_field(rng, *, like):
    sizes = {"n_embedding": 3, "width": 5, "depth": 2, "n_time": 4, "n_space": 3, "space_scale": 0.1}
    return velocity.init_velocity(rng, 2, like=like, **sizes)


record(
    velocity.velocity,
    {"x": Kind("bnc"), "t": time, "h": Kind("bT")},
    Kind("bnc"),
    call=lambda x, t, h: velocity.velocity(trained(init_field, like=x), x, t, h, n_time=4)[0],
    sizes={"c": (2,)},
    ulps=1e4,
)


def init_readout(rng, *, like):
    return readout.init_attention_readout(rng, 3, 2, 3, like=like, width=4, heads=2)


record(
    readout.attention_readout,
    {"place": Kind("bqT"), "x": Kind("bnc"), "z": Kind("bnT"), "mask": MASK},
    Kind("bqT"),
    call=lambda place, x, z, mask: readout.attention_readout(
        trained(init_readout, like=x), place, x, z, mask, heads=2
    )[0],
    sizes={"c": (2,)},
    ulps=1e4,
)

record(
    kernels.kernel_readout,
    {"x": points("bqd"), "y": points("bnd"), "mask": MASK, "s": positive("", 1)},
    (vectors("bqTd", degree=0), number("bqT", 1)),
    call=lambda x, y, mask, s: kernels.kernel_readout(x, y, mask, bandwidths=(float(s), 2.0 * float(s))),
)

# The objective
PATHS = {"x0": points("bnd"), "x1": points("bnd")}
record(
    pairs.linear_path,
    PATHS | {"t": Kind("bn", sort="time")},
    (points("bnd"), vectors("bnd", odd=True)),
    swap="x0 x1",
)
record(
    pairs.start_points,
    {"x0": points("bnd")},
    points("bnd"),
    call=lambda x0: pairs.start_points(x0, "data", rng=np.random.default_rng(0)),
)
record(
    pairs.optimal_pairs,
    {"x0": points("bnd"), "x1": points("bmd")},
    (points("bTd"), points("bTd")),
    call=lambda x0, x1: pairs.optimal_pairs(x0, x1, 5, rng=np.random.default_rng(0)),
    styles=UNIQUE,
    without="permutation far",  # the same numbers draw other pairs
)
VELOCITIES = {"v": vectors("knd"), "u": vectors("knd"), "mask": Kind("kn", sort="mask")}
for function in (objective.flow_matching_loss, objective.flow_matching_loss_without_constant):
    record(function, VELOCITIES, (number("", 2), vectors("knd")))


def loss(x0, x1, t, mask):
    params = {"velocity": init_all(x0)[0], "embedding": init_all(x0)[1]}
    population = objective.Population(x0, graphs.knn_graph(x0, 2, mask), None, mask)
    batch = objective.ParticleBatch(x0, x1, t, mask, population=population)
    value, grads = objective.loss_and_grad(params, batch, n_time=4)
    return value, gradients(grads)


def init_all(like):
    def init(rng, *, like):
        sizes = {"n_embedding": 4, "width": 5, "depth": 2, "n_time": 4, "n_space": 3, "space_scale": 0.1}
        return velocity.init_velocity(rng, 2, like=like, **sizes)

    return trained(init, like=like), trained(init_embedding, like=like)


record(
    objective.loss_and_grad,
    {
        "x0": Kind("knc", sort="cleared"),
        "x1": Kind("knc", sort="cleared"),
        "t": Kind("kn", sort="time"),
        "mask": Kind("kn", sort="mask"),
    },
    (number(), Kind("T")),
    call=loss,
    styles=UNIQUE,
    sizes=ENOUGH | {"c": (2,)},
    ulps=1e4,
)
