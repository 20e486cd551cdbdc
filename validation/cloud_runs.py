"""Small runs on clouds: configuration, families, settings and networks, and what is told of them by hand."""

from types import SimpleNamespace

import numpy as np

from refwfm.clouds import pad
from refwfm.sources.clouds import CholeskyNormal
from refwfm.training import cloud_network, optim
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.config import CloudConfig
from refwfm.training.randomness import random_stream
from refwfm.validation.check import roundings, worst_of
from refwfm.validation.plain_transformer import plain
from refwfm.validation.textbook import relative

CARRIED = roundings(300, "factors and points of a step, carried through a dozen operations")
CONFIG = CloudConfig(
    batch=5,
    seed=3,
    inner="exact",
    width=6,
    heads=2,
    depth=2,
    hidden=4,
    n_frequencies=2,
    learning_rate=1e-3,
    label_drop=0.3,
)
SIZES = (3, 5, 2, 4)
LABELS = np.array([0, 1, 1, 0])


class Ragged(SimpleNamespace):
    """A family of clouds (a list of points) as a flow wants it."""

    def __len__(self):
        return len(self.members)

    def batch(self, index, *, n_points=None, rng=None):
        """Clouds at these positions, padded; none is thinned."""
        return pad([self.members[i] for i in index])


def ragged(members, labels=None):
    """Family of these members."""
    sizes = np.array([len(points) for points in members])
    names = () if labels is None else ("a", "b")
    return Ragged(
        members=members, sizes=sizes, dimension=members[0].shape[1], labels=labels, label_names=names
    )


def plain_setting(source, reference=None, sizes=SIZES, label_counts=()):
    """Setting of a run in the data's own units."""
    counts = np.array(label_counts, dtype=np.int64)
    return CloudSetting(np.zeros(source.mean.shape[1]), 1.0, source, np.array(sizes), counts, reference)


def random_source(draw):
    """Stochastic-Cholesky law."""
    d = draw.d
    return CholeskyNormal(
        np.tril(draw.normal(d, d)), np.tril(draw.rounded(draw.rng.uniform(0.2, 0.6, size=(d, d))))
    )


def random_network(draw):
    """Random parameters of a run's network, with nothing at zero."""
    d = draw.d
    setting = plain_setting(CholeskyNormal(np.eye(d), np.eye(d)), label_counts=(2, 2))
    params = cloud_network.init_params(CONFIG, setting)
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)


# By hand


def error_of_batch(batch, starts, images, t):
    """Largest error of points, velocities, weights and times, for clouds of lists of points."""
    n = batch.points.shape[1]
    points, target, weights = (
        np.zeros(batch.points.shape),
        np.zeros(batch.points.shape),
        np.zeros((len(t), n)),
    )
    if n != max(map(len, starts)):
        return np.inf
    for k, (x, y) in enumerate(zip(starts, images, strict=True)):
        points[k, : len(x)] = (1.0 - t[k]) * x + t[k] * y
        target[k, : len(x)] = y - x
        weights[k, : len(x)] = 1.0 / len(x)
    return worst_of(
        relative(batch.points, points, 1.0 + np.max(np.abs(points))),
        relative(batch.target, target, 1.0 + np.max(np.abs(target))),
        relative(batch.weights, weights, 1.0),
        relative(batch.t, t, 1.0),
    )


def path_by_hand(draw, params, source, labels, sizes, guided=0.0):
    """Positions (4, B, n, d) of clouds on three steps of Algorithm 3 with a plain network; and the mask.

    ``guided`` is the weight of the velocity with a label beyond the one without (class 2).
    """
    rng, d, mask = random_stream(5, "generation"), draw.d, np.arange(max(sizes)) < sizes[:, None]
    rng.choice(2, size=len(sizes), p=[0.5, 0.5])  # labels and sizes, had they not been given
    rng.choice(4, size=len(sizes))
    factors = source.mean + source.std * np.tril(rng.standard_normal((len(sizes), d, d)))
    z = np.zeros((*mask.shape, d))
    z[mask] = rng.standard_normal((np.sum(sizes), d))
    path = [z @ factors.mT]
    for k in range(3):
        t = np.full(len(sizes), k / 3.0)
        shown, none = (plain(params, path[-1], mask, t, each) for each in (labels, 0 * labels + 2))
        velocity = shown + guided * (shown - none)
        path.append(path[-1] + velocity / 3.0)
    return np.stack(path), mask
