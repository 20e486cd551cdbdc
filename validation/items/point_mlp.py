"""Audited constructions of GWFM appendix C.7: what a point is told of its cloud, and the baseline network."""

import numpy as np

from refwfm.networks import nearest_neighbours, point_mlp, surroundings
from refwfm.sources.clouds import CholeskyNormal
from refwfm.training import cloud_network, optim
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.config import CloudConfig
from refwfm.training.ops import REFERENCE
from refwfm.training.regression import CloudBatch
from refwfm.validation import network_corners
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.plain_network import drifted
from refwfm.validation.plain_point_mlp import (
    DEPTH,
    FREQUENCIES,
    HEADS,
    WIDTH,
    K,
    N,
    plain,
    plain_cloud,
    plain_surroundings,
    random_clouds,
    random_parameters,
    run,
)
from refwfm.validation.textbook import complex_step, relative

RUN = CloudConfig(
    network="baseline",
    heads=HEADS,
    width=WIDTH,
    depth=DEPTH,
    hidden=4,
    n_frequencies=FREQUENCIES,
    neighbours=K,
    seed=3,
)
WELL = roundings(1000, "two layers and a block of width 6; distances of clouds of six points")


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [gwfm_24(), gwfm_c7()]


# GWFM-24


def gwfm_24() -> Item:
    """Fields of clouds are permutation equivariant."""
    return Item(
        id="GWFM-24",
        paper="GWFM",
        place="section 3, eqs. 24, 25",
        title="fields of clouds, whatever the order of their points",
        latex=r"v_t^\theta(PX)=P\,v_t^\theta(X)",
        statement="Row i of the network's value is the velocity of atom i: permuted points, permuted rows.",
        functions=(point_mlp,),
        checks=(
            Check(
                "NumPy's permutations, points and padding mixed",
                order_of_points_does_not_matter,
                run,
                {
                    "the first point told apart": lambda params, points, mask, t: _first_apart(
                        run(params, points, mask, t)
                    ),
                    "position encoded": lambda params, points, mask, t: run(
                        params, points + 0.1 * np.arange(N)[:, None] * mask[..., None], mask, t
                    ),
                    "padding read": lambda params, points, mask, t: (
                        run(params, points, mask, t)
                        + np.mean(points, axis=1, keepdims=True) * mask[..., None] * np.arange(N)[:, None]
                    ),
                },
                WELL,
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
        ),
    )


def _first_apart(v):
    return v * (1.0 + (np.arange(N) == 0))[:, None]


def order_of_points_does_not_matter(run, draw):
    """Velocities of permuted clouds, brought back, against those of the clouds."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    order = draw.rng.permutation(N)
    while order[0] == 0:
        order = draw.rng.permutation(N)
    v = draw.call(run, params, points, mask, t)
    moved = draw.call(run, params, points[:, order], mask[:, order], t)
    return relative(moved, v[:, order], 1.0)


# C.7


def gwfm_c7() -> Item:
    """Baseline network."""
    return Item(
        id="GWFM-C7",
        paper="GWFM",
        place="appendix C.7",
        title="baseline network",
        latex=r"v_i=\mathrm{out}\,\mathrm{attention}\,\mathrm{MLP}"
        r"(x_i,\,\|x_{j}-x_i\|,\,x_{j}-x_i,\,\bar x,\,\mathrm{vech}\,\Sigma)",
        statement="A perceptron reads each point with its neighbours and the cloud's moments; one attention.",
        functions=(point_mlp, surroundings, nearest_neighbours),
        checks=(
            Check(
                "sorting by hand, one point at a time",
                surroundings_are_plain,
                lambda points, mask: surroundings(points, mask, neighbours=K),
                {
                    "the point its own neighbour": _with_itself,
                    "the farthest neighbours": _farthest,
                    "squared distances": _squared,
                    "padding in the mean": lambda points, mask: surroundings(
                        points, np.ones_like(mask), neighbours=K
                    ),
                },
                roundings(100, "differences and squares of six points"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "plain NumPy, one cloud and one point at a time",
                network_is_plain,
                run,
                {
                    "time reversed": lambda params, points, mask, t: run(params, points, mask, 1.0 - t),
                    "without the attention": lambda params, points, mask, t: run(
                        _without_attention(params), points, mask, t
                    ),
                    "one layer less": lambda params, points, mask, t: run(
                        {**params, "mlp": {"0": params["mlp"]["0"]}}, points, mask, t
                    ),
                    "without the mask": lambda params, points, mask, t: run(params, points, None, t),
                },
                WELL,
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_is_adjoint,
                _pulled_back,
                {
                    "half of it": lambda *args: optim.tree_map(lambda g: 0.5 * g, _pulled_back(*args)),
                    "without the perceptron": lambda *args: {
                        **_pulled_back(*args),
                        "mlp": optim.tree_map(lambda g: 0.0 * g, _pulled_back(*args)["mlp"]),
                    },
                    "padding pulled back too": lambda params, points, mask, t, g: _pulled_back(
                        params, points, np.ones_like(mask), t, g
                    ),
                },
                WELL,
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "loss of a run with this network, by plain NumPy",
                loss_is_plain,
                cloud_network.loss_and_grad,
                {
                    "half of it": _halved,
                    "padding counted": lambda config, setting, params, batch, *, ops: (
                        cloud_network.loss_and_grad(
                            config, setting, params, batch._replace(weights=np.full((3, N), 1.0 / N)), ops=ops
                        )
                    ),
                },
                WELL,
                dimensions=(1, 2),
            ),
            network_corners.neighbours_in_any_units_check(),
        ),
    )


def _pulled_back(params, points, mask, t, g):
    return point_mlp(params, points, mask, t, heads=HEADS, neighbours=K)[1](g)


def _without_attention(params):
    block = params["blocks"]["0"]
    out = optim.tree_map(lambda p: 0.0 * p, block["attention"]["out"])
    return {**params, "blocks": {"0": {**block, "attention": {**block["attention"], "out": out}}}}


def _with_itself(points, mask):
    d, told = points.shape[-1], surroundings(points, mask, neighbours=K)
    return np.concatenate(
        [told[..., :d], 0.0 * told[..., :1], told[..., d : d + K - 1], told[..., d + K :]], axis=-1
    )


def _farthest(points, mask):
    d, told = points.shape[-1], surroundings(points, mask, neighbours=N - 1)
    rest = told[..., d + (N - 1) * (1 + d) :]
    offsets = told[..., d + N - 1 : d + (N - 1) * (1 + d)]
    return np.concatenate(
        [told[..., :d], told[..., d + N - 1 - K : d + N - 1], offsets[..., : K * d], rest], -1
    )


def _squared(points, mask):
    d, told = points.shape[-1], surroundings(points, mask, neighbours=K)
    return np.concatenate([told[..., :d], told[..., d : d + K] ** 2, told[..., d + K :]], axis=-1)


def _halved(*args, ops):
    value, grads = cloud_network.loss_and_grad(*args, ops=ops)
    return 0.5 * value, grads


def loss_is_plain(loss_and_grad, draw):
    """Mean squared error of the velocities of a new network, whose last layer is moved from zero.

    The gradient is that of the last layer's bias: twice the mean error.
    """
    points, mask, t = random_clouds(draw)
    target = np.where(mask[..., None], draw.normal(*points.shape), 0.0)
    weights = draw.rounded(mask / np.sum(mask, axis=1, keepdims=True))

    def init(like):
        source = CholeskyNormal(like, like)
        setting = CloudSetting(np.zeros(draw.d), 1.0, source, np.array([N]), np.zeros(0, dtype=np.int64))
        return cloud_network.init_params(RUN, setting)

    params = draw.call(init, np.zeros((draw.d, draw.d)))
    params["out"] = optim.tree_map(lambda p: draw.normal(*p.shape), params["out"])
    params = optim.tree_map(draw.rounded, params)

    def run(params, points, weights, target, t):
        batch = CloudBatch(points, weights, target, t, None)
        return loss_and_grad(RUN, None, params, batch, ops=REFERENCE)

    value, grads = draw.call(run, params, points, weights, target, t)
    error = plain(lambda x, time: plain_cloud(params, x, time), points, mask, t) - target
    truth = np.sum(weights[..., None] * error**2) / len(points)
    slope = 2.0 * np.sum(weights[..., None] * error, axis=(0, 1)) / len(points)
    scale = np.max(np.abs(error))
    return worst_of(abs(value - truth) / truth, relative(grads["out"]["bias"][None], slope[None], scale))


def surroundings_are_plain(told, draw):
    """Everything that the points of clouds of 6, 1 and 4 points are told; of too few; of 40."""
    points, mask, _ = random_clouds(draw)
    many = np.zeros((1, 40, draw.d))
    many[0, :, 0] = draw.rounded(1.1 ** draw.rng.permutation(40))  # no two are as far from a third
    worst = 0.0
    for x, live in (
        (points, mask),
        (points[:, : K - 1], mask[:, : K - 1]),
        (many, np.ones((1, 40), dtype=bool)),
    ):
        truth = plain(plain_surroundings, x, live)
        worst = worst_of(worst, relative(draw.call(told, x, live), truth, max(1.0, np.max(np.abs(truth)))))
    return worst


def network_is_plain(run, draw):
    """Velocities of clouds of 6, 1 and 4 points, relative to the largest."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    truth = plain(lambda x, time: plain_cloud(params, x, time), points, mask, t)
    return relative(draw.call(run, params, points, mask, t), truth, np.max(np.abs(truth)))


def pullback_is_adjoint(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` for three random directions of the parameters."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    g = draw.normal(*points.shape)
    grads = optim.flatten(draw.call(pullback, params, points, mask, t, g))
    size, worst = np.sqrt(sum(np.sum(part**2) for part in grads.values())), 0.0
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)

        def value(h, way=way):
            moved = drifted(params, way, h)
            return np.sum(plain(lambda x, time: plain_cloud(moved, x, time), points, mask, t) * g)

        parts = [np.sum(grads[path] * w) for path, w in optim.flatten(way).items()]
        worst = worst_of(worst, abs(sum(parts) - complex_step(value)) / size)
    return worst
