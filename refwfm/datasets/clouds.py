"""The user's own data: point clouds to Gaussians."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.clouds import moments
from refwfm.datasets._family import Family
from refwfm.measures import Gaussian


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
    """Family of the Gaussians with the mean and covariance of each point cloud.

    Covariances are those of the clouds as measures: nothing is divided by n - 1. A cloud of fewer than
    d + 1 points has a singular covariance, one of a single point a zero one; both are members like any
    other. ``shrinkage`` s replaces ``S`` by ``(1 - s) S + s (tr S / d) I`` for those who want them full.

    Parameters
    ----------
    clouds : sequence of N arrays (n_i, d), or one array (N, n, d)
        Sizes n_i >= 1 may differ, d may not.
    weights : sequence of N arrays (n_i,), or one array (N, n), optional
        Non-negative, summing to 1 in each cloud; uniform when left out.
    labels : (N,), optional
        Integers with ``label_names``: positions in them. Otherwise every distinct value is a class,
        and its text the name, in sorted order or that of ``label_names``.
    label_names : sequence of str
    name : str
    shrinkage : float in [0, 1]

    Returns
    -------
    Family
        Units: those of the points.

    Raises
    ------
    ValueError
        If there is no cloud, one is empty or not finite, dimensions differ, or weights or labels do not
        fit. The message names the cloud.
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in [0, 1]; got {shrinkage}")
    arrays = [_cloud(cloud, i) for i, cloud in enumerate(clouds)]
    if not arrays:
        raise ValueError("clouds is empty: a family needs at least one cloud")
    dimensions = sorted({array.shape[1] for array in arrays})
    if len(dimensions) > 1:
        raise ValueError(f"all clouds must have the same dimension; got {', '.join(map(str, dimensions))}")
    if weights is not None and len(weights) != len(arrays):
        raise ValueError(
            f"weights must have one entry for each of the {len(arrays)} clouds; got {len(weights)}"
        )
    parts = [_moments(array, None if weights is None else weights[i], i) for i, array in enumerate(arrays)]
    mean, cov = (np.stack([part[j] for part in parts]) for j in (0, 1))
    positions, names = encode_labels(labels, tuple(label_names))
    return Family(
        name=name,
        gaussians=Gaussian(mean, _shrink(cov, shrinkage)),
        labels=positions,
        label_names=names,
        about=f"Mean and covariance of {len(arrays)} point clouds."
        + (f" Covariances shrunk by {shrinkage:g} towards a multiple of the identity." if shrinkage else ""),
    )


def encode_labels(
    labels: Any | None, names: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels as positions in a tuple of names: integers as they are, anything else looked up by name.

    Without ``names``, they are the distinct labels, sorted.
    """
    if labels is None:
        return None, names
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels must have shape (N,); got {values.shape}")
    if names and values.dtype.kind in "iu":
        return values.astype(np.int64), names
    text = np.array([str(value) for value in values], dtype=np.str_)
    found = names or tuple(str(value) for value in np.unique(values if values.dtype.kind in "iu" else text))
    unknown = sorted(set(text.tolist()) - set(found))
    if unknown:
        raise ValueError(f"labels {', '.join(unknown)} are not among label_names {', '.join(found)}")
    position = {label: i for i, label in enumerate(found)}
    return np.array([position[value] for value in text.tolist()], dtype=np.int64), found


def _cloud(cloud: Any, i: int) -> NDArray[np.float64]:
    points = np.asarray(cloud)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"cloud {i} must have shape (n, d) with n, d >= 1; got {points.shape}")
    if points.dtype.kind not in "fiu":
        raise ValueError(f"cloud {i} must hold real numbers; got {points.dtype}")
    return points.astype(np.float64)


def _moments(points: NDArray[np.float64], weights: Any | None, i: int) -> Gaussian:
    try:
        return moments(points, None if weights is None else np.asarray(weights[:], dtype=np.float64))
    except ValueError as error:
        raise ValueError(f"cloud {i}: {error}") from error


def _shrink(cov: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    d = cov.shape[-1]
    scale = np.trace(cov, axis1=-2, axis2=-1)[:, None, None] / d
    return (1 - shrinkage) * cov + shrinkage * scale * np.eye(d)
