"""What is fitted to a family of Gaussians before training: units, source, scaling of the network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, sq_norm, to_host
from refwfm.couplings.members import gaussian_costs
from refwfm.measures import Gaussian, check_gaussian, rescale, take
from refwfm.networks import init_frequencies, vech
from refwfm.sources.gaussians import (
    GaussianWishart,
    fit_gaussian_wishart,
    sample_empirical,
    sample_gaussian_wishart,
)
from refwfm.training.conditions import (
    Conditions,
)
from refwfm.training.config import GaussianConfig
from refwfm.training.labels import count_labels
from refwfm.training.methods import METHODS
from refwfm.training.randomness import random_stream
from refwfm.training.semidiscrete import (
    BATCH,
    SEMIDISCRETE,
    OuterPlan,
    fit_outer,
    parts_of,
)
from refwfm.transport.semidiscrete import Columns

SCALING_DRAWS = 4096
"""Number of points of random geodesics from which the network's scaling is computed."""


class GaussianSetting(NamedTuple):
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
    conditions : Conditions, or None
        Numbers that the model is conditioned on.
    outer : OuterPlan, or None
        Weights of a semidiscrete outer plan.
    """

    shift: Array
    unit: float
    source: GaussianWishart
    scaling: dict[str, Array]
    label_counts: np.ndarray
    conditions: Conditions | None = None
    outer: OuterPlan | None = None


def fit_setting(
    config: GaussianConfig,
    family: Gaussian,
    /,
    *,
    labels: np.ndarray | None = None,
    n_labels: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[GaussianSetting, Gaussian]:
    """Fit units, source and network scaling to a family; also return the family in these units.

    Equation: none. Fits the source, WFM-AppD1. In float64 on the host, whatever the dtype and device of the
    family, to which the results are rounded: a covariance that is nearly singular, or means far from the
    origin, have few digits left in float32.

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d), in data units
    labels : numpy.ndarray, shape (n,), optional
    n_labels : int
        Number of classes; 0 makes the model unconditional.
    progress : callable, optional
        Called with (steps done, in all) while a semidiscrete outer plan is fitted.
    """
    family = check_gaussian(family, "family")
    if family.mean.ndim != 2 or family.mean.shape[0] == 0:
        raise ValueError(f"family must have at least one member, mean (n, d); got {tuple(family.mean.shape)}")
    like, family = family.mean, Gaussian(*(to_host(part).astype(np.float64) for part in family))
    shift = np.mean(family.mean, axis=0)
    traces = np.trace(family.cov, axis1=1, axis2=2)
    unit = float(np.sqrt(np.mean(sq_norm(family.mean - shift) + traces) / shift.shape[0])) or 1.0
    family = rescale(Gaussian(family.mean - shift, family.cov), 1.0 / unit)
    source = fit_gaussian_wishart(family, df=config.df, validate=False)
    counts = count_labels(labels, n_labels, conditional=config.conditional)
    rng = random_stream(config.seed, "scaling")
    mu = sample_gaussian_wishart(source, rng=rng, size=SCALING_DRAWS)
    nu, _ = sample_empirical(family, rng=rng, size=SCALING_DRAWS)
    mu_t, target = METHODS[config.method].path(mu, nu, rng.random(SCALING_DRAWS), validate=False)
    scaling = {**fit_scaling(mu_t, target), **_frequencies(config, shift)}
    setting = GaussianSetting(shift, unit, source, scaling, counts)
    if config.outer == SEMIDISCRETE:
        parts = parts_of(labels, counts, len(family.mean))

        def costs(k: int, rng: np.random.Generator) -> Columns:
            return gaussian_costs(
                sample_gaussian_wishart(source, rng=rng, size=BATCH), take(family, parts[k])
            )

        key = (*source[:3], *family, np.asarray(source.df))
        plan = fit_outer(config, parts, costs, shift, seed=config.seed, key=key, progress=progress)
        setting = setting._replace(outer=plan)
    return rounded(setting, family, lambda values: asarray_like(values, like))


def _frequencies(config: GaussianConfig, like: np.ndarray) -> dict[str, np.ndarray]:
    """Those of the features of the state, drawn from the seed; constants, which no step changes."""
    if not config.state_features:
        return {}
    d = len(like)
    scales = [config.mean_scale] * d + [config.cov_scale] * (d * (d + 1) // 2)
    rng = random_stream(config.seed, "frequencies")
    return {"frequencies": init_frequencies(rng, scales, config.state_features, like=like)}


def rounded(
    setting: GaussianSetting, family: Gaussian, asarray: Callable[[Any], Array], /
) -> tuple[GaussianSetting, Gaussian]:
    """Setting and family with the arrays that ``asarray`` makes of theirs.

    Equation: none. Wiring of a run.
    """
    source = setting.source
    rounded = setting._replace(
        shift=asarray(setting.shift),
        source=source._replace(mean=asarray(source.mean), std=asarray(source.std), root=asarray(source.root)),
        scaling={name: asarray(part) for name, part in setting.scaling.items()},
        outer=None if setting.outer is None else setting.outer._replace(g=asarray(setting.outer.g)),
    )
    return rounded, Gaussian(*map(asarray, family))


def fit_scaling(mu_t: Gaussian, target: Any, /) -> dict[str, Array]:
    """Constants that bring the network's inputs to mean 0 and deviation 1, and its outputs to their size.

    Equation: none. Wiring of a run.

    Parameters
    ----------
    mu_t : Gaussian, mean (n, d), cov (n, d, d)
    target : Tangent or EuclideanTangent, (n, d) and (n, d, d)
    """
    xp = array_namespace(mu_t.mean)
    features = xp.concat([mu_t.mean, vech(mu_t.cov)[0]], axis=-1)
    deviation = xp.std(features, axis=0)
    # A constant feature carries nothing but rounding, which must not be blown up: rounding of 1, the unit, in
    # the means, and of the largest entry (a variance) in the covariances, which may all be tiny.
    d = mu_t.mean.shape[-1]
    units = xp.concat([xp.ones_like(deviation[:d]), xp.full_like(deviation[d:], float(xp.max(mu_t.cov)))])
    constant = deviation <= 1e-6 * units
    return {
        "input_shift": xp.mean(features, axis=0),
        "input_scale": xp.where(constant, xp.ones_like(deviation), deviation),
        "mean_scale": _root_mean_square(target[0]),
        "matrix_scale": _root_mean_square(vech(target[1])[0]),
    }


def _root_mean_square(values: Array) -> Array:
    xp = array_namespace(values)
    scale = xp.sqrt(xp.mean(values * values, axis=0))
    return xp.where(scale <= 0, xp.ones_like(scale), scale)


def to_data_units(mu: Gaussian, setting: GaussianSetting, /) -> Gaussian:
    """Undo the setting's shift and unit: law of ``unit x + shift`` for x ~ mu.

    Equation: none. Wiring of a run.
    """
    moved = rescale(mu, setting.unit)
    return Gaussian(moved.mean + setting.shift, moved.cov)
