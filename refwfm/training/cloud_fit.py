"""What is fitted to a family of clouds before training: units, source, reference; and its alignment."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array
from refwfm.clouds import moments
from refwfm.measures import PointCloud
from refwfm.sources.clouds import CholeskyNormal, fit_cholesky_normal
from refwfm.training.alignment import Clouds, Progress, align_family, fit_reference, thin
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.conditions import fit_conditions
from refwfm.training.config import CloudConfig
from refwfm.training.labels import count_labels
from refwfm.training.noise import FAMILY
from refwfm.training.randomness import random_stream


class Families(NamedTuple):
    """Where the flow goes, and where it starts if that is a family too. On the host, in data units.

    Where a plan needs it, both families are aligned to the reference. ``members`` are what a semidiscrete
    plan compares sources with, by label.
    """

    target: Clouds
    source: Clouds | None
    members: tuple[Any, ...] = ()


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

    Equation: none. Fits the source (WFM-AppD2, GWFM-SRC1, GWFM-SRC2) and the reference (GWFM-REF, GWFM-38).

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
    if (source is not None) != (config.source == FAMILY):
        raise ValueError(
            f"source = {config.source!r} " + ("needs a family" if source is None else "takes no family")
        )
    if source is not None and source.dimension != data.dimension:
        raise ValueError(f"the source family is {source.dimension}-D, the target family {data.dimension}-D")
    if config.outer == "paired" and (source is None or len(source) != len(data)):
        raise ValueError("outer = 'paired' needs a source family with one member for each target")
    shift, unit, cov = _units(data)
    fitted = fit_cholesky_normal(cov)
    counts = count_labels(data.labels, len(data.label_names), conditional=config.conditional)
    most = data.sizes.max() if config.n_points is None else config.n_points
    grid = getattr(data, "grid", ()) if config.grid_features else ()
    if config.grid_features and not any(grid):
        raise ValueError("grid_features needs data on a grid, such as pixels; these coordinates are on none")
    reference, families = _with_reference(config, Families(data, source), int(most), progress)
    setting = CloudSetting(
        shift,
        unit,
        CholeskyNormal(*map(asarray, fitted)),
        np.minimum(data.sizes, most).astype(np.int64),
        counts,
        None if reference is None else asarray((reference - shift) / unit),
        conditions=fit_conditions(data, conditional=config.conditional),
        grid=tuple(spacing / unit for spacing in grid),
    )
    return setting, families


def _with_reference(
    config: CloudConfig, families: Families, n: int, progress: Progress | None
) -> tuple[np.ndarray | None, Families]:
    """Reference of n points, in data units, or None; the families, aligned to it if a plan wants that."""
    if not config.has_reference:
        return None, families
    # The same draws whatever the seed of the run: all of this is a function of the data, and can be kept.
    target = thin(families.target, n, rng=random_stream(0, "alignment"))
    reference = fit_reference(target, members=config.reference_members, rng=random_stream(0, "alignment", 1))
    if not config.aligned:
        return reference, families
    aligned = align_family(families.target, target, reference, progress=progress)
    if families.source is None:
        return reference, Families(aligned, None)
    start = thin(families.source, n, rng=random_stream(0, "alignment"), name="the source family")
    return reference, Families(aligned, align_family(families.source, start, reference, progress=progress))


def _units(family: Clouds) -> tuple[np.ndarray, float, np.ndarray]:
    """Shift and unit in which a family has mean 0 and variance 1, and its covariances (N, d, d) in them.

    Everything is fitted in float64 whatever the run's dtype, and squared only after a division by the largest
    coordinate: data of any scale have their unit.
    """
    some = np.array_split(np.arange(len(family)), 1 + len(family) // 64)
    shift = np.mean(np.concatenate([_means(family.batch(index)) for index in some]), axis=0)
    largest = max(_largest(family.batch(index), shift) for index in some) or 1.0
    parts = []
    for index in some:
        points, weights = family.batch(index)
        parts.append(moments((points - shift) / largest, weights))
    mean, cov = np.concatenate([p.mean for p in parts]), np.concatenate([p.cov for p in parts])
    variance = np.mean(np.sum(mean**2, axis=1) + np.trace(cov, axis1=1, axis2=2)) / family.dimension
    unit = float(np.sqrt(variance)) or 1.0
    return shift, largest * unit, cov / unit**2


def _means(clouds: PointCloud) -> np.ndarray:
    return np.einsum("bn,bnd->bd", clouds.weights, clouds.points)


def _largest(clouds: PointCloud, shift: np.ndarray) -> float:
    """Largest distance from ``shift`` in one coordinate."""
    return float(np.max(np.abs(clouds.points - shift), where=(clouds.weights > 0)[..., None], initial=0.0))


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of clouds.

    Equation: none. Wiring of a run.
    """
    return data.points, data.offsets, data.weights, data.labels, getattr(data, "conditions", None)
