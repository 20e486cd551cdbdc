"""What is fitted to a family once, before training: units, source, scaling of the network."""

from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, like, sq_norm
from refwfm.config import Config
from refwfm.measures import Gaussian, check_gaussian, rescale
from refwfm.methods import METHODS
from refwfm.networks import vech
from refwfm.randomness import random_stream
from refwfm.sources import GaussianWishart, fit_gaussian_wishart, sample_empirical, sample_gaussian_wishart

SCALING_DRAWS = 4096
"""Points of random geodesics from which the scaling of the network is read off."""


class Setting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : array, shape (d,); unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate. A
        similarity changes the geometry by nothing but the factor ``unit²`` of squared distances.
    source : GaussianWishart, in these units
    scaling : dict of arrays
        Constants of the network's input and output layers (``networks.bures_mlp``).
    label_counts : numpy.ndarray, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    """

    shift: Array
    unit: float
    source: GaussianWishart
    scaling: dict[str, Array]
    label_counts: np.ndarray


def fit_setting(
    config: Config, family: Gaussian, /, *, labels: np.ndarray | None = None, n_labels: int = 0
) -> tuple[Setting, Gaussian]:
    """Fit units, source and network scaling to a family; also return the family in these units.

    Equation: WFM App. D for the source.

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d), in data units
    labels : numpy.ndarray, shape (n,), optional
    n_labels : int
        Number of classes; 0 makes the model unconditional.
    """
    family = check_gaussian(family, "family")
    if family.mean.ndim != 2 or family.mean.shape[0] == 0:
        raise ValueError(f"family must have at least one member, mean (n, d); got {tuple(family.mean.shape)}")
    xp = array_namespace(family.mean)
    shift = xp.mean(family.mean, axis=0)
    variance = xp.mean(sq_norm(family.mean - shift) + xp.linalg.trace(family.cov)) / family.mean.shape[1]
    unit = float(xp.sqrt(variance)) or 1.0
    family = rescale(Gaussian(family.mean - shift, family.cov), 1.0 / unit)
    source = fit_gaussian_wishart(family, df=config.df, validate=False)
    counts = np.zeros(0, dtype=np.int64)
    if config.conditional and labels is not None:
        counts = np.bincount(labels, minlength=n_labels)
    rng = random_stream(config.seed, "scaling")
    mu = sample_gaussian_wishart(source, rng=rng, size=SCALING_DRAWS)
    nu, _ = sample_empirical(family, rng=rng, size=SCALING_DRAWS)
    t = like(rng.random(SCALING_DRAWS), family.mean)
    mu_t, target = METHODS[config.method].path(mu, nu, t, validate=False)
    return Setting(shift, unit, source, fit_scaling(mu_t, target), counts), family


def fit_scaling(mu_t: Gaussian, target: Any, /) -> dict[str, Array]:
    """Constants that bring the network's inputs to mean 0 and deviation 1, and its outputs to their size.

    Parameters
    ----------
    mu_t : Gaussian, mean (n, d), cov (n, d, d)
    target : Tangent or EuclideanTangent, (n, d) and (n, d, d)
    """
    xp = array_namespace(mu_t.mean)
    features = xp.concat([mu_t.mean, vech(mu_t.cov)[0]], axis=-1)
    deviation = xp.std(features, axis=0)
    size = xp.sqrt(xp.mean(features * features, axis=0))
    # A constant feature carries nothing but rounding, which must not be blown up: rounding of 1, the unit, in
    # the means, and of the largest entry in the covariances, which may all be tiny.
    d = mu_t.mean.shape[-1]
    entry = xp.max(size[d:])
    constant = deviation <= 1e-6 * xp.concat([xp.ones_like(size[:d]), entry * xp.ones_like(size[d:])])
    return {
        "input_shift": xp.mean(features, axis=0),
        "input_scale": xp.where(constant, xp.ones_like(deviation), deviation),
        "mean_scale": _root_mean_square(target[0]),
        "matrix_scale": _root_mean_square(vech(target[1])[0]),
    }


def _root_mean_square(values: Array) -> Array:
    xp = array_namespace(values)
    scale = xp.sqrt(xp.mean(values * values, axis=0))
    return xp.where(scale > 0, scale, xp.ones_like(scale))


def to_data_units(mu: Gaussian, setting: Setting, /) -> Gaussian:
    """Undo the setting's shift and unit: law of ``unit x + shift`` for x ~ mu."""
    moved = rescale(mu, setting.unit)
    return Gaussian(moved.mean + setting.shift, moved.cov)
