"""Audited constructions of appendix E.2: attention, and the network for point clouds."""

import numpy as np

from refwfm import networks
from refwfm.training import optim
from refwfm.validation.check import EXACT, Check, Item, roundings
from refwfm.validation.plain_network import affine, drifted, normalised, positive
from refwfm.validation.textbook import complex_step, relative

HEADS, HEAD, DEPTH, FREQUENCIES, N_LABELS, N_FEATURES = 2, 3, 2, 2, 2, 2
WIDTH = HEADS * HEAD
N = 5  # points of a padded cloud


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [attention(), network(), labels(), guidance()]


# The network, one cloud and one point at a time


def plain_attention(q, k, v):
    """``Σ_j exp(⟨q_i, k_j⟩ / sqrt(c)) v_j / Σ_j exp(⟨q_i, k_j⟩ / sqrt(c))``; q (n, c), k (m, c), v (m, e)."""
    rows = []
    for query in q:
        scores = np.asarray([np.sum(query * key) for key in k]) / np.sqrt(len(query))
        shares = np.exp(scores - np.max(scores.real))
        rows.append(sum(share * value for share, value in zip(shares, v, strict=True)) / np.sum(shares))
    return np.stack(rows)


def plain_heads(params, x):
    """Attention of the rows of x (n, width) to each other, head by head."""
    q, k, v = np.split(np.stack([affine(params["qkv"], row) for row in x]), 3, axis=1)
    parts = [slice(head * HEAD, (head + 1) * HEAD) for head in range(HEADS)]
    read = np.concatenate([plain_attention(q[:, part], k[:, part], v[:, part]) for part in parts], axis=1)
    return np.stack([affine(params["out"], row) for row in read])


def plain_label(params, label):
    """Learned vector of a number or of a vector of features."""
    if "table" in params:
        return params["table"][label]
    return params["none"] if np.all(np.isnan(label)) else affine(params, label)


def plain_cloud(params, x, t, label):
    """Appendix E.2 for one cloud x (n, d) without padding; label None when there are none."""
    k = np.pi * np.arange(1, FREQUENCIES + 1)
    condition = np.concatenate([np.cos(k * t), np.sin(k * t)])
    if label is not None:
        condition = np.concatenate([condition, plain_label(params["labels"], label)])
    h = np.stack([affine(params["in"], row) for row in x])
    for name in sorted(params["blocks"], key=int):
        block = params["blocks"][name]
        h = h + affine(block["condition"], condition)
        h = h + plain_heads(block["attention"], np.stack([normalised(block["attention_norm"], r) for r in h]))
        feed = block["feed"]
        h = np.stack(
            [
                r + affine(feed["out"], positive(affine(feed["in"], normalised(block["feed_norm"], r))))
                for r in h
            ]
        )
    return np.stack([affine(params["out"], normalised(params["norm"], row)) for row in h])


def plain(params, points, mask, t, labels=None):
    """Velocities of padded clouds, zero at padding."""
    rows = []
    for i, live in enumerate(mask):
        v = plain_cloud(params, points[i][live], t[i], None if labels is None else labels[i])
        rows.append(np.zeros(points[i].shape, dtype=v.dtype))
        rows[-1][live] = v
    return np.stack(rows)


# Random instances


def random_parameters(draw, **options):
    """Parameters with nothing at zero, as a run has them after some steps."""
    params = networks.init_transformer(
        draw.rng,
        draw.d,
        like=np.zeros(0),
        width=WIDTH,
        depth=DEPTH,
        heads=HEADS,
        hidden=4,
        n_frequencies=FREQUENCIES,
        label_dim=3,
        **options,
    )
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)


def random_clouds(draw):
    """Points with numbers at the padding too, the mask (all points, one, some), and times."""
    mask = np.arange(N) < np.asarray([N, 1, N - 2])[:, None]
    mask = np.stack([draw.rng.permutation(row) for row in mask])
    return draw.normal(3, N, draw.d), mask, draw.times()


def run(params, points, mask, t, labels=None):
    """Velocities of the network."""
    return networks.transformer(params, points, mask, t, labels, heads=HEADS)[0]


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

        worst = max(worst, abs(np.sum(grads[i] * way) - complex_step(value)) / size)
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
    return _slope_error(grads, params, lambda there: np.sum(g * plain(there, points, mask, t)), draw)


def _slope_error(grads, params, value, draw):
    """Largest error of a gradient against complex steps of the value along random directions."""
    flat = optim.flatten(grads)
    size, worst = np.sqrt(sum(np.sum(grad**2) for grad in flat.values())), 0.0
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        slope = complex_step(lambda h, way=way: value(drifted(params, way, h)))
        result = sum(np.sum(flat[path] * w) for path, w in optim.flatten(way).items())
        worst = max(worst, abs(result - slope) / size)
    return worst


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
        worst = max(worst, relative(result[i][live], truth, np.max(np.abs(truth))))
    return worst


def starts_at_zero(network, draw):
    """Largest velocity of a network as it is drawn."""
    params = networks.init_transformer(
        draw.rng, draw.d, like=np.zeros(0), width=WIDTH, depth=DEPTH, heads=HEADS, hidden=4
    )
    return np.max(np.abs(draw.call(network, params, *random_clouds(draw))))


# Labels


def labels() -> Item:
    """Conditioning on labels and vectors."""
    return Item(
        id="WFM-AppE2-labels",
        paper="WFM",
        place="appendix E.2",
        title="labels of clouds, and none",
        latex=r"v(X,t,y),\quad v(X,t,\varnothing)",
        statement="A label, a vector, or their absence enters with the time in every block.",
        functions=(networks.feature_embedding, networks.unlabelled),
        checks=(
            Check(
                "plain NumPy, one cloud at a time",
                labels_are_plain,
                run,
                {
                    "labels of the neighbours": lambda params, points, mask, t, labels: run(
                        params, points, mask, t, np.roll(labels, 1, axis=0)
                    ),
                    "labels left out": lambda params, points, mask, t, labels: run(
                        params, points, mask, t, networks.unlabelled(params, labels)
                    ),
                    "no label as zeros": lambda params, points, mask, t, labels: (
                        run(
                            params,
                            points,
                            mask,
                            t,
                            np.where(np.isnan(labels), 0.0, labels).astype(labels.dtype),
                        )
                        if labels.dtype.kind == "f"
                        else run(params, points, mask, t, labels % N_LABELS)
                    ),
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(2,),
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_of_labels,
                lambda params, points, mask, t, labels, g: networks.transformer(
                    params, points, mask, t, labels, heads=HEADS
                )[1](g),
                {
                    "no label has no gradient": _no_label_forgotten,
                    "labels of the neighbours": lambda params, points, mask, t, labels, g: (
                        networks.transformer(
                            params, points, mask, t, np.roll(labels, 1, axis=0), heads=HEADS
                        )[1](g)
                    ),
                },
                roundings(300, "eight layers of width 6"),
                dimensions=(2,),
                repeats=1,
            ),
        ),
    )


def _labelled(draw):
    """Parameters and labels of both kinds; the last cloud has none."""
    features = draw.normal(3, N_FEATURES)
    features[2] = np.nan
    for options, given in (
        ({"n_labels": N_LABELS}, np.asarray([1, 0, N_LABELS])),
        ({"n_features": N_FEATURES}, features),
    ):
        yield random_parameters(draw, **options), given


def _no_label_forgotten(params, points, mask, t, labels, g):
    grads = networks.transformer(params, points, mask, t, labels, heads=HEADS)[1](g)
    if "none" in grads["labels"]:
        kept = {**grads["labels"], "none": np.zeros_like(grads["labels"]["none"])}
    else:
        table = grads["labels"]["table"]
        kept = {"table": table * (np.arange(len(table)) < N_LABELS)[:, None]}
    return {**grads, "labels": kept}


def labels_are_plain(network, draw):
    """Velocities of clouds with a label each, and of one without."""
    worst, (points, mask, t) = 0.0, random_clouds(draw)
    for params, given in _labelled(draw):
        truth = plain(params, points, mask, t, given)
        result = draw.call(network, params, points, mask, t, given)
        worst = max(worst, relative(result, truth, np.max(np.abs(truth))))
    return worst


def pullback_of_labels(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩``, for the parameters of labels too."""
    worst, (points, mask, t) = 0.0, random_clouds(draw)
    g = draw.normal(*points.shape)
    for params, given in _labelled(draw):
        grads = draw.call(pullback, params, points, mask, t, given, g)

        def value(there, given=given):
            return np.sum(g * plain(there, points, mask, t, given))

        worst = max(worst, _slope_error(grads, params, value, draw))
    return worst


# Guidance


def guidance() -> Item:
    """Classifier-free guidance."""
    return Item(
        id="WFM-AppE2-guidance",
        paper="WFM",
        place="appendix E.2",
        title="classifier-free guidance",
        latex=r"v_w=(1+w)\,v(X,t,y)-w\,v(X,t,\varnothing)",
        statement="The velocity moves on from the one without a label beyond the one with it.",
        functions=(networks.guidance,),
        checks=(
            Check(
                "the scores of two Gaussians",
                guidance_of_scores,
                networks.guidance,
                {
                    "the sign": lambda v_label, v_none, weight: networks.guidance(v_label, v_none, -weight),
                    "labels exchanged": lambda v_label, v_none, weight: networks.guidance(
                        v_none, v_label, weight
                    ),
                    "w for 1 + w": lambda v_label, v_none, weight: networks.guidance(
                        v_label, v_none, weight - 1.0
                    ),
                },
                roundings(30, "a difference of numbers up to 10"),
                dimensions=(1, 3, 16),
            ),
        ),
    )


def guidance_of_scores(guidance, draw):
    """Score of the density ``p(x | y)^(1 + w) / p(x)^w`` of two isotropic Gaussians, again a Gaussian.

    Precisions a and b give the precision ``(1 + w) a - w b`` and the mean that completes the square.
    """
    weight, a, b = 1.5, 2.0, 1.0
    x, mean, other = (draw.normal(draw.size, draw.d) for _ in range(3))
    precision = (1.0 + weight) * a - weight * b
    centre = ((1.0 + weight) * a * mean - weight * b * other) / precision
    truth = -precision * (x - centre)
    scores = draw.rounded(-a * (x - mean)), draw.rounded(-b * (x - other))
    return relative(draw.call(guidance, *scores, weight), truth, 10.0 + np.max(np.abs(truth)))
