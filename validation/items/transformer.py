"""Audited constructions of appendix E.2: attention, and the network for point clouds."""

import numpy as np

from refwfm import networks
from refwfm.training import optim
from refwfm.validation.check import EXACT, Check, Item, roundings, worst_of
from refwfm.validation.plain_transformer import (
    DEPTH,
    FREQUENCIES,
    HEAD,
    HEADS,
    WIDTH,
    N,
    plain,
    plain_attention,
    random_clouds,
    random_parameters,
    run,
    slope_error,
)
from refwfm.validation.textbook import complex_step, relative


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [attention(), network()]


# Attention


def attention() -> Item:
    """Scaled dot-product attention."""
    function = networks.attention
    return Item(
        id="WFM-AppE2-attention",
        paper="WFM",
        place="appendix E.2",
        title="attention",
        latex=r"y_i=\sum_j\frac{e^{\langle q_i,k_j\rangle/\sqrt c}}"
        r"{\sum_l e^{\langle q_i,k_l\rangle/\sqrt c}}\,v_j",
        statement="Every point reads the mean of what the live points offer, weighted by a softmax.",
        functions=(function,),
        checks=(
            Check(
                "plain NumPy, one query at a time",
                attention_is_plain,
                lambda q, k, v, mask: function(q, k, v, mask)[0],
                {
                    "without 1 / sqrt(c)": lambda q, k, v, mask: function(
                        np.sqrt(q.shape[-1]) * q, k, v, mask
                    )[0],
                    "without the mask": lambda q, k, v, mask: function(q, k, v)[0],
                    "softmax over the queries": _softmax_over(-2),
                    "not normalised": _softmax_over(None),
                },
                roundings(100, "sums over five keys, exponentials of numbers up to about 10"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "the value of the best key, for scores of millions",
                best_key_is_read,
                lambda q, k, v, mask: function(q, k, v, mask)[0],
                {
                    "exponentials of the scores themselves": _without_shift,
                    "the worst key": lambda q, k, v, mask: function(-q, k, v, mask)[0],
                },
                roundings(30, "all weights but one are 0"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_of_attention,
                lambda q, k, v, mask, g: function(q, k, v, mask)[1](g),
                {
                    "normalisation held fixed": _fixed_normalisation,
                    "queries and keys exchanged": _exchanged,
                    "without 1 / sqrt(c)": lambda q, k, v, mask, g: tuple(
                        np.sqrt(q.shape[-1]) ** (i < 2) * x
                        for i, x in enumerate(function(q, k, v, mask)[1](g))
                    ),
                },
                roundings(100, "sums over five keys"),
                dimensions=(2, 3, 6),
            ),
        ),
    )


def _queries(draw):
    """As many queries as keys, so that a softmax over the wrong axis goes through; the mask of the keys."""
    q, k, v = (draw.normal(3, N, draw.d) for _ in range(3))
    return q, k, v, random_clouds(draw)[1]


def _softmax_over(axis):
    def wrong(q, k, v, mask):
        weights = np.exp(q @ k.mT / np.sqrt(q.shape[-1]))
        total = 1.0 if axis is None else np.sum(weights, axis=axis, keepdims=True)
        return weights * mask[:, None, :] / total @ v

    return wrong


def _fixed_normalisation(q, k, v, mask, g):
    """The derivative of exp alone, without the one of the sum it is divided by."""
    one = np.broadcast_to(np.eye(N), (3, N, N))
    weights = networks.attention(q, k, one, mask)[0]
    d_scores = weights * (g @ v.mT) / np.sqrt(q.shape[-1])
    return d_scores @ k, d_scores.mT @ q, networks.attention(q, k, v, mask)[1](g)[2]


def _exchanged(q, k, v, mask, g):
    d_q, d_k, d_v = networks.attention(q, k, v, mask)[1](g)
    return d_k, d_q, d_v


def _plain_masked(q, k, v, mask):
    return np.stack([plain_attention(q[i], k[i][live], v[i][live]) for i, live in enumerate(mask)])


def attention_is_plain(attention, draw):
    """Values that three batches of queries read."""
    q, k, v, mask = _queries(draw)
    truth = _plain_masked(q, k, v, mask)
    return relative(draw.call(attention, q, k, v, mask), truth, np.max(np.abs(truth)))


def best_key_is_read(attention, draw):
    """The same where scores are millions: exponentials that overflow unless the largest is taken off."""
    q, k, v, mask = _queries(draw)
    scores = np.where(mask[:, None], q @ k.mT, -np.inf)
    best = np.take_along_axis(v, np.argmax(scores, axis=-1)[..., None], axis=1)
    large = draw.call(attention, draw.rounded(1e7 * q), k, v, mask)
    return relative(large, best, np.max(np.abs(best)))


def _without_shift(q, k, v, mask):
    with np.errstate(all="ignore"):
        return _softmax_over(-1)(q, k, v, mask)


def pullback_of_attention(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` for queries, keys and values."""
    q, k, v, mask = _queries(draw)
    g = draw.normal(*q.shape)
    grads = draw.call(pullback, q, k, v, mask, g)
    size, worst = np.sqrt(sum(np.sum(grad**2) for grad in grads)), 0.0
    for i in range(3):
        way = draw.rng.standard_normal(q.shape)

        def value(h, i=i, way=way):
            moved = [x + h * way if j == i else x for j, x in enumerate((q, k, v))]
            return np.sum(g * _plain_masked(*moved, mask))

        worst = worst_of(worst, abs(np.sum(grads[i] * way) - complex_step(value)) / size)
    return worst


# Network


def network() -> Item:
    """Network of flow matching for point clouds."""
    return Item(
        id="WFM-AppE2-network",
        paper="WFM",
        place="appendix E.2",
        title="network for point clouds",
        latex=r"(X_t,t)\mapsto v,\quad v(\Pi X,t)=\Pi\,v(X,t)",
        statement="A transformer without positions reads a cloud of any size and a time.",
        functions=(
            networks.transformer,
            networks.transformer_block,
            networks.multi_head_attention,
            networks.feed_forward,
        ),
        checks=(
            Check(
                "plain NumPy, one cloud, head and point at a time",
                network_is_plain,
                run,
                {
                    "without the mask": lambda params, points, mask, t: (
                        mask[..., None] * run(params, points, None, t)
                    ),
                    "without 1 / sqrt(c)": _moved(_unscaled),
                    "weights of the heads transposed": _moved(_transposed),
                    "keys and values exchanged": _moved(_keys_for_values),
                    "without the skip connections": _without_skip,
                    "one head": lambda params, points, mask, t: networks.transformer(
                        params, points, mask, t, heads=1
                    )[0],
                    "time reversed": lambda params, points, mask, t: run(params, points, mask, 1.0 - t),
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(1, 2, 3, 6),
                many_shapes=True,
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_is_adjoint,
                lambda params, points, mask, t, g: networks.transformer(params, points, mask, t, heads=HEADS)[
                    1
                ](g),
                {
                    "gradient of the padding let in": lambda params, points, mask, t, g: networks.transformer(
                        params, points, None, t, heads=HEADS
                    )[1](g),
                    "condition of one point only": _last_condition,
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(1, 2, 3),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "permuted clouds",
                network_is_equivariant,
                run,
                {
                    "with positions": lambda params, points, mask, t: run(
                        params, points + np.arange(N)[:, None], mask, t
                    ),
                    "points summed up in their order": lambda params, points, mask, t: run(
                        params, np.cumsum(points, axis=1), mask, t
                    ),
                },
                roundings(300, "sums in another order"),
                dimensions=(1, 3, 16),
            ),
            Check(
                "each cloud by itself, without padding",
                padding_is_nothing,
                run,
                {
                    "without the mask": lambda params, points, mask, t: (
                        mask[..., None] * run(params, points, None, t)
                    ),
                    "padding as zeros that are read": lambda params, points, mask, t: (
                        mask[..., None] * run(params, np.where(mask[..., None], points, 0.0), None, t)
                    ),
                },
                roundings(300, "products of other sizes"),
                dimensions=(1, 3, 16),
            ),
            Check(
                "zero before training",
                starts_at_zero,
                run,
                {"an output layer as random as the others": lambda params, *rest: run(_awake(params), *rest)},
                EXACT,
                dimensions=(1, 3, 16),
            ),
        ),
    )


def _moved(change):
    """The network with changed attention weights in every block."""

    def wrong(params, points, mask, t):
        blocks = {
            name: {**block, "attention": change(block["attention"])}
            for name, block in params["blocks"].items()
        }
        return run({**params, "blocks": blocks}, points, mask, t)

    return wrong


def _unscaled(attention):
    """Queries longer by sqrt(c): the scores are not divided by it."""
    factor = np.where(np.arange(3 * WIDTH) < WIDTH, np.sqrt(HEAD), 1.0)
    return {**attention, "qkv": {name: factor * p for name, p in attention["qkv"].items()}}


def _transposed(attention):
    return {**attention, "out": {**attention["out"], "weight": attention["out"]["weight"].T}}


def _keys_for_values(attention):
    order = np.concatenate([np.arange(WIDTH), np.arange(2 * WIDTH, 3 * WIDTH), np.arange(WIDTH, 2 * WIDTH)])
    return {**attention, "qkv": {name: p[..., order] for name, p in attention["qkv"].items()}}


def _without_skip(params, points, mask, t):
    condition = networks.fourier_features(t, FREQUENCIES)[0]
    h = networks.dense(params["in"], points)[0]
    for block in params["blocks"].values():
        h = networks.transformer_block(block, h, condition, mask, heads=HEADS)[0] - h
    unit = networks.layer_norm(params["norm"], h)[0]
    return mask[..., None] * networks.dense(params["out"], unit)[0]


def _last_condition(params, points, mask, t, g):
    """Gradients of the time's dense layer from one point instead of the sum over all."""
    grads = networks.transformer(params, points, mask, t, heads=HEADS)[1](g)
    blocks = {
        name: {**block, "condition": optim.tree_map(lambda p: p / N, block["condition"])}
        for name, block in grads["blocks"].items()
    }
    return {**grads, "blocks": blocks}


def _awake(params):
    like = params["out"]["weight"]
    return {**params, "out": networks.init_dense(np.random.default_rng(0), *like.shape, like=like)}


def network_is_plain(network, draw):
    """Velocities of three clouds of different sizes."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    truth = plain(params, points, mask, t)
    return relative(draw.call(network, params, points, mask, t), truth, np.max(np.abs(truth)))


def pullback_is_adjoint(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` for three random directions of the parameters."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    g = draw.normal(*points.shape)
    grads = draw.call(pullback, params, points, mask, t, g)
    return slope_error(grads, params, lambda there: np.sum(g * plain(there, points, mask, t)), draw)


def network_is_equivariant(network, draw):
    """Velocities of permuted clouds, and permuted velocities."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    order = draw.rng.permutation(N - 1) + 1
    order = np.concatenate([order, [0]])  # the first point always moves
    result = draw.call(network, params, points[:, order], mask[:, order], t)
    truth = draw.call(network, params, points, mask, t)[:, order]
    return relative(result, truth, np.max(np.abs(truth)))


def padding_is_nothing(network, draw):
    """Velocities of padded clouds, huge numbers at the padding, and of their live points alone."""
    params, (points, mask, t) = random_parameters(draw), random_clouds(draw)
    junk = np.where(mask[..., None], points, draw.rounded(np.asarray(1e6)))
    result = draw.call(network, params, junk, mask, t)
    worst = np.max(np.abs(result[~mask]))
    for i, live in enumerate(mask):
        alone, all_live = points[i][live][None], np.ones((1, np.sum(live)), dtype=bool)
        truth = draw.call(run, params, alone, all_live, t[i : i + 1])[0]
        worst = worst_of(worst, relative(result[i][live], truth, np.max(np.abs(truth))))
    return worst


def starts_at_zero(network, draw):
    """Largest velocity of a network as it is drawn."""
    params = networks.init_transformer(
        draw.rng, draw.d, like=np.zeros(0), width=WIDTH, depth=DEPTH, heads=HEADS, hidden=4
    )
    return np.max(np.abs(draw.call(network, params, *random_clouds(draw))))
