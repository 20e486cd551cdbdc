"""Where a flow between clouds starts: the laws of source clouds by name, and their options.

A new kind of noise is a function here, its entry in ``SOURCES``, and its options in ``SourceOptions``: the
configuration, the command line and the reader of TOML files know no more of it than that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from refwfm.measures import PointCloud
from refwfm.sources.clouds import (
    PureNoise,
    sample_barycentric_noise,
    sample_cholesky_normal,
    sample_pure_noise,
    sample_standard_normal,
    sample_uniform,
)
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.options import option


def _cholesky(
    options: "SourceOptions", setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    return sample_cholesky_normal(setting.source, rng=rng, sizes=sizes)


def _normal(
    options: "SourceOptions", setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    return sample_standard_normal(rng=rng, sizes=sizes, d=setting.shift.shape[0], like=setting.like)


def _uniform(
    options: "SourceOptions", setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    return sample_uniform(rng=rng, sizes=sizes, d=setting.shift.shape[0], like=setting.like)


def _pure(
    options: "SourceOptions", setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    law = PureNoise(options.noise_mean, options.noise_low, options.noise_high)
    return sample_pure_noise(law, rng=rng, sizes=sizes, d=setting.shift.shape[0], like=setting.like)


def _barycentric(
    options: "SourceOptions", setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    return sample_barycentric_noise(setting.reference, rng=rng, sizes=sizes, sigma=options.sigma)


SOURCES: dict[str, Callable[["SourceOptions", CloudSetting, np.random.Generator, np.ndarray], PointCloud]] = {
    "cholesky": _cholesky,
    "normal": _normal,
    "uniform": _uniform,
    "pure": _pure,
    "barycentric": _barycentric,
}
"""Kinds of noise, each a function ``(options, setting, rng, sizes) -> clouds`` in the model's units.

``cholesky`` is of WFM App. D, ``pure`` and ``barycentric`` of GWFM 4.1; all points of ``normal`` and of
``uniform`` clouds are of one law.
"""

FAMILY = "family"
"""The source that is not noise: members of another family."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Where the flow starts.

    Scales are in the model's units, in which the family has variance 1 per coordinate. (The papers do
    not state their numbers: these are ours.)
    """

    PANEL: ClassVar[str] = "Source of clouds"

    source: str = option(
        "cholesky",
        "Noise that the flow starts from; or 'family', on the command line the name of a family of clouds.",
        choices=(*SOURCES, FAMILY),
    )
    source_size: str = option(
        "partner",
        "Points of a source cloud: as many as its partner has, or as a cloud of the data drawn for itself.",
        choices=("partner", "data"),
    )
    reference_members: int = option(
        256, "Members of the family whose barycenter is the reference of plans and barycentric noise.", low=1
    )
    sigma: float = option(0.1, "Standard deviation of barycentric noise.", low=0)
    noise_mean: float = option(0.4, "Standard deviation of the means of pure noise.", low=0)
    noise_low: float = option(0.5, "Smallest standard deviation of a cloud of pure noise.", above=0)
    noise_high: float = option(1.2, "Largest standard deviation of a cloud of pure noise.", above=0)


def draw_source(
    options: SourceOptions, setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray, /
) -> PointCloud:
    """Source clouds of these sizes, in the model's units.

    Equation: WFM-Alg1-clouds.
    """
    if options.source not in SOURCES:
        raise ValueError(
            f"source = {options.source!r} is no noise to draw from: give the family that the flow starts from"
        )
    return SOURCES[options.source](options, setting, rng, sizes)
