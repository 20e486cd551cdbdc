"""What is fitted to a family of clouds before training, and kept: units, source, sizes, reference."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, like, to_host
from refwfm.clouds import moments
from refwfm.measures import PointCloud
from refwfm.sources.clouds import (
    CholeskyNormal,
    PureNoise,
    fit_cholesky_normal,
    sample_barycentric_noise,
    sample_cholesky_normal,
    sample_pure_noise,
    sample_standard_normal,
    sample_uniform,
)
from refwfm.training.alignment import Clouds, Progress, align_family, fit_reference, thin
from refwfm.training.config import CloudConfig


class CloudSetting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : array, shape (d,); unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate.
    source : CholeskyNormal, in these units
    sizes : numpy.ndarray of integers, shape (N,)
        Points of the family's clouds, as a step sees them: what sizes of new clouds are drawn from.
    label_counts : numpy.ndarray of integers, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    reference : array, shape (n, d), or None; in these units
        Of linear and lazy plans, and of barycentric noise.
    """

    shift: Array
    unit: float
    source: CholeskyNormal
    sizes: np.ndarray
    label_counts: np.ndarray
    reference: Array | None = None


class Families(NamedTuple):
    """Where the flow goes, and where it starts if that is a family too. On the host, in data units.

    Where a plan needs it both are the families that were aligned to the reference.
    """

    target: Clouds
    source: Clouds | None


def prepare(
    config: CloudConfig,
    data: Clouds,
    source: Clouds | None,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Progress | None = None,
) -> tuple[CloudSetting, Families]:
    """Fit units, source and reference to a family of clouds; align it where a plan needs that.

    Equation: WFM App. D for the source, REF and GWFM-38 for the reference.

    Parameters
    ----------
    progress : callable, optional
        Called with (clouds aligned, clouds in all).

    Raises
    ------
    ValueError
        If a source family is missing, not expected, of another dimension, or (paired) of another size,
        or if a family cannot be aligned (see ``alignment.thin``).
    """
    if (source is not None) != (config.source == "family"):
        raise ValueError(
            f"source = {config.source!r} " + ("needs a family" if source is None else "takes no family")
        )
    if source is not None and source.dimension != data.dimension:
        raise ValueError(f"the source family is {source.dimension}-D, the target family {data.dimension}-D")
    if config.outer == "paired" and (source is None or len(source) != len(data)):
        raise ValueError("outer = 'paired' needs a source family with one member for each target")
    mean, cov = _all_moments(data)
    shift = np.mean(mean, axis=0)
    variance = np.mean(np.sum((mean - shift) ** 2, axis=1) + np.trace(cov, axis1=1, axis2=2)) / data.dimension
    unit = float(np.sqrt(variance)) or 1.0
    fitted = fit_cholesky_normal(cov / unit**2)
    counts = np.zeros(0, dtype=np.int64)
    if config.conditional and data.labels is not None:
        counts = np.bincount(data.labels, minlength=len(data.label_names))
    most = data.sizes.max() if config.n_points is None else config.n_points
    reference, families = _with_reference(config, Families(data, source), int(most), progress)
    setting = CloudSetting(
        asarray(shift),
        unit,
        CholeskyNormal(*map(asarray, fitted)),
        np.minimum(data.sizes, most).astype(np.int64),
        counts.astype(np.int64),
        None if reference is None else asarray((reference - shift) / unit),
    )
    return setting, families


def _with_reference(
    config: CloudConfig, families: Families, n: int, progress: Progress | None
) -> tuple[np.ndarray | None, Families]:
    """Reference of n points, in data units, or None; the families, aligned to it if a plan wants that."""
    if not config.has_reference:
        return None, families
    target = thin(families.target, n)
    reference = fit_reference(target, members=config.reference_members)
    if not config.aligned:
        return reference, families
    aligned = align_family(families.target, target, reference, progress=progress)
    if families.source is None:
        return reference, Families(aligned, None)
    start = thin(families.source, n, name="the source family")
    return reference, Families(aligned, align_family(families.source, start, reference, progress=progress))


def _all_moments(family: Clouds) -> tuple[np.ndarray, np.ndarray]:
    """Means (N, d) and covariances (N, d, d) of all members, some at a time."""
    parts = [
        moments(*family.batch(index))
        for index in np.array_split(np.arange(len(family)), 1 + len(family) // 64)
    ]
    return np.concatenate([p.mean for p in parts]), np.concatenate([p.cov for p in parts])


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of clouds."""
    return data.points, data.offsets, data.weights, data.labels


def to_model_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Host clouds in data units, in the model's units, library, device and dtype; padding stays zero."""
    points, weights = like(cloud.points, setting.shift), like(cloud.weights, setting.shift)
    xp = array_namespace(points)
    return PointCloud(
        xp.where((weights > 0)[..., None], (points - setting.shift) / setting.unit, 0.0), weights
    )


def draw_source(
    config: CloudConfig, setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray, /
) -> PointCloud:
    """Source clouds of these sizes, in the model's units. Equation: WFM App. D, GWFM-SRC1, SRC2."""
    if config.source == "cholesky":
        return sample_cholesky_normal(setting.source, rng=rng, sizes=sizes)
    if config.source == "barycentric":
        return sample_barycentric_noise(setting.reference, rng=rng, sizes=sizes, sigma=config.sigma)
    options: dict[str, Any] = {"rng": rng, "sizes": sizes, "d": setting.shift.shape[0], "like": setting.shift}
    if config.source == "pure":
        law = PureNoise(config.noise_mean, config.noise_low, config.noise_high)
        return sample_pure_noise(law, **options)
    return (sample_standard_normal if config.source == "normal" else sample_uniform)(**options)


def to_data_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Clouds in data units, on the host in float64; padding stays zero."""
    points, weights, shift = (to_host(x).astype(np.float64) for x in (*cloud, setting.shift))
    return PointCloud(np.where((weights > 0)[..., None], setting.unit * points + shift, 0.0), weights)


# Files


def pack(setting: CloudSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers."""
    arrays = {
        "shift": setting.shift,
        "source": {"mean": setting.source.mean, "std": setting.source.std},
        "sizes": setting.sizes,
        "label_counts": setting.label_counts,
    }
    if setting.reference is not None:
        arrays["reference"] = setting.reference
    return arrays, {"unit": setting.unit}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> CloudSetting:
    """Put a setting together again: the inverse of ``pack``."""
    return CloudSetting(
        arrays["shift"],
        numbers["unit"],
        CholeskyNormal(**arrays["source"]),
        arrays["sizes"],
        arrays["label_counts"],
        arrays.get("reference"),
    )
