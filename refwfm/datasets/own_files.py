"""The user's own clouds, or Gaussians, in a NumPy file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._files import load_family, read_npy, read_npz
from refwfm.datasets.own_arrays import clouds_from_arrays, encode_labels, gaussians_of
from refwfm.measures import Gaussian

ENDINGS = (".npy", ".npz")
CONDITIONS = ("conditions", "condition_names")
"""Arrays of numbers that a model is conditioned on."""


def read_clouds(path: str | os.PathLike[str], /) -> CloudFamily:
    """Family of the clouds in a ``.npy`` or ``.npz`` file that ``numpy.save`` or ``numpy.savez`` wrote.

    Parameters
    ----------
    path : path
        One of

        - ``.npy``: an array (N, n, d), N clouds of n points;
        - ``.npz`` with ``points`` (N, n, d), and ``weights`` (N, n) if there is padding;
        - ``.npz`` with ``points`` (total, d), all clouds end to end, ``offsets`` (N + 1,), where each
          begins and the last one ends, and ``weights`` (total,) if they are not uniform;
        - ``.npz`` of one array (n_i, d) for each cloud, whose names become the members' names.

        - a family of clouds that ``save_family`` wrote.

        With ``points`` there may also be ``labels`` (N,), whole numbers or text; ``conditions`` (N, c),
        numbers that a model is conditioned on, with their ``condition_names`` (c,); and nothing else.

    Returns
    -------
    CloudFamily
        Named after the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated or holds something else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if suffix not in ENDINGS:
        raise ValueError(f"clouds are read from .npy and .npz files; got {path}")
    arrays = {"points": read_npy(path)} if suffix == ".npy" else read_npz(path)
    if "format" in arrays:
        family = load_family(path)
        if isinstance(family, CloudFamily):
            return family
        raise ValueError(f"{path} is a family of Gaussians, and holds no clouds")
    try:
        family = _clouds(arrays, path.stem)
        if "points" in arrays:
            family = replace(family, **_conditions_in(arrays))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold clouds: {error}") from error
    return replace(family, about=f"{len(family)} clouds of {path.name}.")


def read_gaussians(path: str | os.PathLike[str], /) -> Family:
    """Family of Gaussians in a NumPy file: their means and covariances, or those of clouds.

    Parameters
    ----------
    path : path
        ``.npz`` with ``means`` (N, d) and ``covs`` (N, d, d), and perhaps ``labels`` (N,), and
        ``conditions`` (N, c) with ``condition_names`` (c,); or clouds in any form that ``read_clouds``
        reads, whose means and covariances are taken.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated or holds something else, or a covariance is not symmetric positive semi-definite.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        return gaussians_of(read_clouds(path))
    arrays = read_npz(path)
    if not {"means", "covs"} & set(arrays):
        return gaussians_of(read_clouds(path))
    try:
        _refuse_others(arrays, ("means", "covs", "labels", *CONDITIONS), "means and covs")
        missing = [name for name in ("means", "covs") if name not in arrays]
        if missing:
            raise ValueError(f"it lacks {missing[0]}: Gaussians are means (N, d) and covs (N, d, d)")
        labels, label_names = encode_labels(arrays.get("labels"))
        return Family(
            name=path.stem,
            gaussians=Gaussian(arrays["means"], arrays["covs"]),
            labels=labels,
            label_names=label_names,
            **_conditions_in(arrays),
            about=f"{len(arrays['means'])} Gaussians of {path.name}.",
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold Gaussians: {error}") from error


def _clouds(arrays: dict[str, NDArray[Any]], name: str) -> CloudFamily:
    points, labels = arrays.get("points"), arrays.get("labels")
    if points is None:
        family = clouds_from_arrays(list(arrays.values()), name=name)
        return replace(family, members=tuple(arrays))
    _refuse_others(arrays, ("points", "offsets", "weights", "labels", *CONDITIONS), "points")
    if "offsets" not in arrays:
        if points.ndim != 3:
            raise ValueError(f"points without offsets must have shape (N, n, d); got {points.shape}")
        return clouds_from_arrays(points, weights=arrays.get("weights"), labels=labels, name=name)
    whole = CloudFamily(name=name, points=points, offsets=arrays["offsets"], weights=arrays.get("weights"))
    if labels is None:
        return whole
    positions, names = encode_labels(labels)
    return replace(whole, labels=positions, label_names=names)


def _refuse_others(arrays: dict[str, NDArray[Any]], known: tuple[str, ...], beside: str) -> None:
    others = [name for name in arrays if name not in known]
    if others:
        more = (
            ". Of a mask make weights, 0 for padding"
            if any("mask" in name.lower() for name in others)
            else ""
        )
        raise ValueError(
            f"beside {beside} it holds {', '.join(others)}, which would be ignored; what is read is "
            f"{', '.join(known)}: rename what is meant, leave out the rest{more}"
        )


def _conditions_in(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Conditions and their names, as arguments of a family; nothing where there are none."""
    given = [name for name in CONDITIONS if name in arrays]
    if len(given) == 1:
        raise ValueError(f"{CONDITIONS[0]} (N, c) and {CONDITIONS[1]} (c,) go together; got {given[0]} alone")
    if not given:
        return {}
    names = tuple(str(name) for name in np.ravel(arrays["condition_names"]))
    return {"conditions": arrays["conditions"], "condition_names": names}
