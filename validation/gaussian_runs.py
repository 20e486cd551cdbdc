"""Small runs on Gaussians: configuration, setting and source, and what is told of a batch by hand."""

import numpy as np

from refwfm.sources.gaussians import GaussianWishart
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import GaussianSetting
from refwfm.validation import textbook
from refwfm.validation.check import worst_of
from refwfm.validation.textbook import relative

CONFIG = GaussianConfig(batch=6, steps=5000, learning_rate=0.1, clip_norm=0.5, ema=0.999, seed=3)


def plain_setting(source, scaling, label_counts=()):
    """Setting of a run in the data's own units."""
    counts = np.array(label_counts, dtype=np.int64)
    return GaussianSetting(0.0 * source.mean, 1.0, source, scaling, counts)


def random_source(draw):
    """Law of Gaussians with random parameters."""
    d = draw.d
    root = draw.rounded(np.linalg.cholesky(draw.covariances(10.0, size=1)[0]))
    return GaussianWishart(draw.normal(d), draw.rounded(np.sqrt(draw.spectrum(10.0, d))), root, 4 * d)


def error_of_batch(batch, mu, nu, t):
    """Largest error of times, points and velocities."""
    point, v = textbook.path(mu, nu, t)
    scale = np.max(np.abs(mu.mean), axis=-1) + np.max(np.abs(nu.mean), axis=-1)
    return worst_of(
        relative(batch.t, t, 1.0),
        relative(batch.mu_t.mean, point.mean, scale),
        relative(batch.mu_t.cov, point.cov),
        relative(batch.target[0], v.mean, scale),
        relative(batch.target[1], v.lift, 1.0 + np.max(np.abs(v.lift), axis=(-2, -1))),
    )
