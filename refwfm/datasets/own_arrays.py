"""The user's own data: arrays of points to a family of clouds, and clouds to Gaussians."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.clouds import moments
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._grouping import classes_of
from refwfm.measures import Gaussian

UNLABELLED = "unlabelled"
"""The class of what has no label."""


def clouds_from_arrays(
    clouds: Any,
    /,
    *,
    weights: Any | None = None,
    labels: Any | None = None,
    label_names: Sequence[str] = (),
    name: str = "clouds",
    about: str = "",
) -> CloudFamily:
    """Family of the user's own point clouds.

    Parameters
    ----------
    clouds : sequence of N arrays (n_i, d), or one array (N, n, d)
        Sizes n_i >= 1 may differ, d may not.
    weights : sequence of N arrays (n_i,), or one array (N, n), optional
        Non-negative, summing to 1 in each cloud; uniform when left out. A point of weight 0 (padding) is
        left out, whatever it holds.
    labels : (N,), optional
        Integers with ``label_names``: positions in them. Otherwise every distinct value is a class,
        and its text the name, in sorted order or that of ``label_names``; what is missing (None, NaN) is
        "unlabelled". Numbers that are not whole are refused: they are conditions, not classes.
    label_names : sequence of str
    name, about : str

    Returns
    -------
    CloudFamily
        Units: those of the points.

    Raises
    ------
    ValueError
        If there is no cloud, one is empty or not finite, dimensions differ, or weights or labels do not
        fit. The message names the cloud.
    """
    arrays = [_cloud(cloud, i) for i, cloud in enumerate(clouds)]
    if not arrays:
        raise ValueError("clouds is empty: a family needs at least one cloud")
    dimensions = sorted({array.shape[1] for array in arrays})
    if len(dimensions) > 1:
        raise ValueError(f"all clouds must have the same dimension; got {', '.join(map(str, dimensions))}")
    masses = None
    if weights is not None:
        if len(weights) != len(arrays):
            raise ValueError(
                f"weights must have one entry for each of the {len(arrays)} clouds; got {len(weights)}"
            )
        masses = [_weights(mass, arrays[i], i) for i, mass in enumerate(weights)]
        arrays = [array[mass > 0] for array, mass in zip(arrays, masses, strict=True)]
        masses = [mass[mass > 0] for mass in masses]
    for i, array in enumerate(arrays):
        if not np.isfinite(array).all():
            raise ValueError(f"cloud {i}: points must be finite; got NaN or infinity")
    positions, names = encode_labels(labels, tuple(label_names))
    return CloudFamily(
        name=name,
        points=np.concatenate(arrays),
        offsets=np.concatenate([[0], np.cumsum([len(array) for array in arrays])]),
        weights=None if masses is None else np.concatenate(masses),
        labels=positions,
        label_names=names,
        about=about or f"{len(arrays)} point clouds.",
    )


def gaussians_of(family: CloudFamily, /) -> Family:
    """Family of the Gaussians with the mean and covariance of each cloud; see ``clouds.moments``."""
    mean = np.empty((len(family), family.dimension))
    cov = np.empty((len(family), family.dimension, family.dimension))
    for size in np.unique(family.sizes):  # clouds of one size are one array
        (same,) = np.nonzero(family.sizes == size)
        mean[same], cov[same] = moments(*family.batch(same))
    return Family(
        name=family.name,
        gaussians=Gaussian(mean, cov),
        labels=family.labels,
        label_names=family.label_names,
        members=family.members,
        groups=family.groups,
        basis=family.basis,
        conditions=family.conditions,
        condition_names=family.condition_names,
        about=f"Mean and covariance of {family.about[:1].lower()}{family.about[1:]}",
    )


def gaussians_from_clouds(
    clouds: Any,
    /,
    *,
    weights: Any | None = None,
    labels: Any | None = None,
    label_names: Sequence[str] = (),
    name: str = "clouds",
    shrinkage: float = 0.0,
) -> Family:
    """Family of the Gaussians with the mean and covariance of each of the user's point clouds.

    Covariances are those of the clouds as measures: nothing is divided by n - 1. A cloud of fewer than
    d + 1 points has a singular covariance, one of a single point a zero one; both are members like any
    other. ``shrinkage`` s replaces ``S`` by ``(1 - s) S + s (tr S / d) I`` for full rank.

    Parameters
    ----------
    clouds, weights, labels, label_names, name
        See ``clouds_from_arrays``.
    shrinkage : float in [0, 1]

    Returns
    -------
    Family
        Units: those of the points.

    Raises
    ------
    ValueError
        As ``clouds_from_arrays`` does, or if the shrinkage lies outside [0, 1].
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in [0, 1]; got {shrinkage}")
    family = gaussians_of(
        clouds_from_arrays(clouds, weights=weights, labels=labels, label_names=label_names, name=name)
    )
    if shrinkage == 0:
        return family
    mean, cov = family.gaussians
    return replace(
        family,
        gaussians=Gaussian(mean, _shrink(cov, shrinkage)),
        about=f"{family.about} Covariances shrunk by {shrinkage:g} towards a multiple of the identity.",
    )


def encode_labels(
    labels: Any | None, names: tuple[str, ...] = (), *, what: str = "labels"
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels as positions in a tuple of names: integers as they are, anything else looked up by name.

    Without ``names``, they are those of ``classes_of``, and ``UNLABELLED`` where there is no label. Errors
    call the labels ``what``.
    """
    if labels is None:
        return None, names
    positions, found = classes_of(labels, what)
    if names and np.asarray(labels).dtype.kind in "iu":
        return np.asarray(labels, dtype=np.int64), names
    if (positions < 0).any():
        found = found if UNLABELLED in found else (*found, UNLABELLED)
        positions = np.where(positions < 0, found.index(UNLABELLED), positions)
    if not names:
        return positions, found
    unknown = [name for name in found if name not in names]
    if unknown:
        raise ValueError(f"labels {', '.join(unknown)} are not among label_names {', '.join(names)}")
    return np.array([names.index(name) for name in found])[positions], names


def _cloud(cloud: Any, i: int) -> NDArray[np.float64]:
    points = np.asarray(cloud)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"cloud {i} must have shape (n, d) with n, d >= 1; got {points.shape}")
    if points.dtype.kind not in "fiu":
        raise ValueError(f"cloud {i} must hold real numbers; got {points.dtype}")
    return points.astype(np.float64)


def _weights(weights: Any, points: NDArray[np.float64], i: int) -> NDArray[np.float64]:
    mass = np.asarray(weights, dtype=np.float64)
    if mass.shape != (len(points),):
        raise ValueError(f"cloud {i}: weights must have shape ({len(points)},); got {mass.shape}")
    if not (mass >= 0).all() or not abs(mass.sum() - 1) <= 1e-6:
        raise ValueError(
            f"cloud {i}: weights must be non-negative and sum to 1; got a smallest weight of "
            f"{mass.min():.3g} and the sum {mass.sum():.9g}"
        )
    return mass


def _shrink(cov: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    d = cov.shape[-1]
    scale = np.trace(cov, axis1=-2, axis2=-1)[:, None, None] / d
    return (1 - shrinkage) * cov + shrinkage * scale * np.eye(d)
