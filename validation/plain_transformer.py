"""Oracle for the network of point clouds: appendix E.2 in plain NumPy, one cloud and one point at a time.

It also takes complex parameters, for derivatives by a complex step.
"""

import numpy as np

from refwfm import networks
from refwfm.training import optim
from refwfm.validation.check import worst_of
from refwfm.validation.plain_network import affine, drifted, normalised, positive, space_of
from refwfm.validation.textbook import complex_step

HEADS, HEAD, DEPTH, FREQUENCIES, N_LABELS, N_FEATURES = 2, 3, 2, 2, 2, 2
WIDTH = HEADS * HEAD
N = 5  # points of a padded cloud


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


def with_turns(params, read, x):
    """What is read of points x (n, d), beside the features of where they are if there are frequencies."""
    if "frequencies" not in params:
        return read
    turns = np.stack([space_of(params["frequencies"], row) for row in x])
    return np.concatenate([read, turns], axis=1)


def plain_cloud(params, x, t, label):
    """Appendix E.2 for one cloud x (n, d) without padding; label None when there are none."""
    k = np.pi * np.arange(1, FREQUENCIES + 1)
    condition = np.concatenate([np.cos(k * t), np.sin(k * t)])
    if label is not None:
        condition = np.concatenate([condition, plain_label(params["labels"], label)])
    h = np.stack([affine(params["in"], row) for row in with_turns(params, x, x)])
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


def slope_error(grads, params, value, draw):
    """Largest error of a gradient against complex steps of the value along random directions."""
    flat = optim.flatten(grads)
    size, worst = np.sqrt(sum(np.sum(grad**2) for grad in flat.values())), 0.0
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        slope = complex_step(lambda h, way=way: value(drifted(params, way, h)))
        result = sum(np.sum(flat[path] * w) for path, w in optim.flatten(way).items())
        worst = worst_of(worst, abs(result - slope) / size)
    return worst


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
