"""The user's own clouds in a NumPy file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz
from refwfm.datasets.own_arrays import clouds_from_arrays, encode_labels


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

        With ``points`` there may also be ``labels`` (N,), numbers or text; and ``conditions`` (N, c), numbers
        that a model is conditioned on, with their ``condition_names`` (c,).

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
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"clouds are read from .npy and .npz files; got {path}")
    arrays = {"points": _read_npy(path)} if path.suffix == ".npy" else read_npz(path)
    try:
        family = _with_conditions(_family(arrays, path.stem), arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold clouds: {error}") from error
    return replace(family, about=f"{len(family)} clouds of {path.name}.")


def _family(arrays: dict[str, NDArray[Any]], name: str) -> CloudFamily:
    points, labels = arrays.get("points"), arrays.get("labels")
    if points is None:
        family = clouds_from_arrays(list(arrays.values()), name=name)
        return replace(family, members=tuple(arrays))
    if "offsets" not in arrays:
        if points.ndim != 3:
            raise ValueError(f"points without offsets must have shape (N, n, d); got {points.shape}")
        return clouds_from_arrays(points, weights=arrays.get("weights"), labels=labels, name=name)
    whole = CloudFamily(name=name, points=points, offsets=arrays["offsets"], weights=arrays.get("weights"))
    if labels is None:
        return whole
    positions, names = encode_labels(labels)
    return replace(whole, labels=positions, label_names=names)


def _with_conditions(family: CloudFamily, arrays: dict[str, NDArray[Any]]) -> CloudFamily:
    """The family with the conditions of a file that has them beside its points."""
    if "points" not in arrays or "conditions" not in arrays:
        return family
    if "condition_names" not in arrays:
        raise ValueError("conditions need condition_names, one for each column")
    names = tuple(str(name) for name in np.ravel(arrays["condition_names"]))
    return replace(family, conditions=arrays["conditions"], condition_names=names)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is truncated or not a .npy file ({error})") from error
