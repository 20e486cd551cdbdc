"""Oracle for the baseline network: GWFM appendix C.7 in plain NumPy, one cloud and one point at a time."""

import numpy as np

from refwfm.networks import init_point_mlp, point_mlp
from refwfm.training import optim
from refwfm.validation.plain_network import affine, normalised, positive
from refwfm.validation.plain_transformer import plain_heads, with_turns

HEADS, WIDTH, DEPTH, FREQUENCIES, K, N = 2, 6, 2, 2, 3, 6


def plain_surroundings(x):
    """What each point of a cloud (n, d) is told, shape (n, d + K + K d + d + d (d + 1) / 2)."""
    n, d = x.shape
    mean = np.sum(x, axis=0) / n
    cov = sum(np.outer(row - mean, row - mean) for row in x) / n
    rows = []
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j, i=i: np.sum((x[j] - x[i]) ** 2))[:K]
        offsets = np.zeros((K, d))
        for place, j in enumerate(others):
            offsets[place] = x[j] - x[i]
        distances = np.sqrt(np.sum(offsets**2, axis=1))
        rows.append(np.concatenate([x[i], distances, offsets.ravel(), mean, cov[np.tril_indices(d)]]))
    return np.stack(rows)


def plain_cloud(params, x, t):
    """Appendix C.7 for one cloud x (n, d) without padding."""
    k = np.pi * np.arange(1, FREQUENCIES + 1)
    condition = np.concatenate([np.cos(k * t), np.sin(k * t)])
    h = np.stack([affine(params["in"], row) for row in with_turns(params, plain_surroundings(x), x)])
    for name in sorted(params["mlp"], key=int):
        layer = params["mlp"][name]
        h = np.stack([row + positive(affine(layer["dense"], normalised(layer["norm"], row))) for row in h])
    block = params["blocks"]["0"]
    h = h + affine(block["condition"], condition)
    h = h + plain_heads(block["attention"], np.stack([normalised(block["attention_norm"], r) for r in h]))
    feed = block["feed"]
    h = np.stack(
        [r + affine(feed["out"], positive(affine(feed["in"], normalised(block["feed_norm"], r)))) for r in h]
    )
    return np.stack([affine(params["out"], normalised(params["norm"], row)) for row in h])


def plain(function, points, mask, *rest):
    """Values of a function of single clouds without padding, zero at padding."""
    clouds = enumerate(zip(points, mask, strict=True))
    found = [function(x[live], *(part[i] for part in rest)) for i, (x, live) in clouds]
    result = np.zeros((*mask.shape, found[0].shape[-1]), dtype=found[0].dtype)
    for row, live, value in zip(result, mask, found, strict=True):
        row[live] = value
    return result


# Random instances


def random_parameters(draw, **options):
    """Parameters with nothing at zero, as a run has them after some steps."""
    params = init_point_mlp(
        draw.rng,
        draw.d,
        like=np.zeros(0),
        neighbours=K,
        width=WIDTH,
        depth=DEPTH,
        heads=HEADS,
        hidden=4,
        n_frequencies=FREQUENCIES,
        **options,
    )
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)


def random_clouds(draw):
    """Points whose distances differ, the mask (all points, one, some), and times."""
    mask = np.arange(N) < np.asarray([N, 1, N - 2])[:, None]
    while True:
        points = draw.normal(3, N, draw.d)
        gaps = np.sqrt(np.sum((points[:, :, None] - points[:, None]) ** 2, axis=-1)) + 99.0 * np.eye(N)
        if np.min(np.diff(np.sort(gaps, axis=-1), axis=-1)) > 1e-3:
            return np.where(mask[..., None], points, 0.0), mask, draw.times()


def run(params, points, mask, t):
    """Velocities of the network."""
    return point_mlp(params, points, mask, t, heads=HEADS, neighbours=K)[0]
