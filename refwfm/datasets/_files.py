"""The files of families: Gaussians and clouds in ``.npz``, written whole or not at all, never unpickled."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._basis import Basis
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._population_family import PopulationFamily
from refwfm.measures import Gaussian
from refwfm.storage import atomic
from refwfm.storage.arrays import load_npy, member

FACTS = ("name", "about", "labels", "label_names", "members")
FORMATS = {
    "refwfm-family-1": (*FACTS, "mean", "cov"),
    "refwfm-clouds-1": (*FACTS, "points", "offsets", "weights"),
}
"""Format -> the arrays in its file, besides ``format`` and those of groups, basis and conditions."""

GROUPS, BASIS, CONDITIONS = "group_", "basis_", "condition"
"""What the names of the latter begin with."""

POPULATIONS_FORMAT = "refwfm-populations-1"
POPULATIONS_ARRAYS = (
    *("name", "about", "members", "features", "paired", "marks", "parts", "conditions", "condition_names"),
    *("source_points", "source_offsets", "target_points", "target_offsets", "group_names", "group_values"),
)


def save_family(path: str | os.PathLike[str], family: Family | CloudFamily, /) -> Path:
    """Write a family to a ``.npz`` file, completely or not at all; return the file's path.

    Raises
    ------
    ValueError
        If the name does not end in ``.npz`` (``load`` tells files from names by that).
    OSError
        If the folder is missing or not writable.
    """
    path = npz_path(path)
    arrays = family_arrays(family)
    atomic.write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return path


def family_arrays(family: Family | CloudFamily, /) -> dict[str, NDArray[Any]]:
    """The arrays of a family's file, by name."""
    arrays: dict[str, NDArray[Any]] = {
        "name": np.array(family.name),
        "about": np.array(family.about),
        "labels": np.empty(0, np.int64) if family.labels is None else family.labels,
        "label_names": np.array(family.label_names, dtype=np.str_),
        "members": np.array(family.members, dtype=np.str_),
    }
    for column, values in family.groups.items():
        arrays[GROUPS + column] = np.asarray(values, dtype=np.str_)
    if family.condition_names:
        arrays["conditions"] = family.conditions
        arrays["condition_names"] = np.array(family.condition_names, dtype=np.str_)
    if family.basis is not None:
        arrays |= {BASIS + part: np.asarray(value) for part, value in family.basis._asdict().items()}
    if isinstance(family, CloudFamily):
        weights = np.empty(0) if family.weights is None else family.weights
        arrays |= {"points": family.points, "offsets": family.offsets, "weights": weights}
        arrays["format"] = np.array("refwfm-clouds-1")
    else:
        arrays |= {"mean": family.gaussians.mean, "cov": family.gaussians.cov}
        arrays["format"] = np.array("refwfm-family-1")
    return arrays


def load_family(path: str | os.PathLike[str], /) -> Family | CloudFamily:
    """Read a family written by ``save_family``. Nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, or is not a family.
    """
    path = npz_path(path)
    found = file_format(path)
    if found == POPULATIONS_FORMAT:
        raise ValueError(f"{path} holds populations before and after: read it with load_populations")
    if found not in FORMATS:
        raise ValueError(f"{path} has the format {found!r}; this version reads {', '.join(FORMATS)}")
    arrays = read_npz(path, FORMATS[found], more=(GROUPS, BASIS, CONDITIONS))
    try:
        return family_of(found, arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a valid family: {error}") from error


def family_of(kind: str, arrays: dict[str, Any], /) -> Family | CloudFamily:
    """Family of a format's arrays, by name; errors as those of the families."""
    label_names = tuple(str(name) for name in arrays["label_names"])
    facts: dict[str, Any] = {
        "name": str(arrays["name"]),
        "about": str(arrays["about"]),
        "labels": arrays["labels"] if label_names else None,
        "label_names": label_names,
        "members": tuple(str(name) for name in arrays["members"]),
        "groups": {key.removeprefix(GROUPS): arrays[key] for key in arrays if key.startswith(GROUPS)},
    }
    if "conditions" in arrays:
        facts["conditions"] = arrays["conditions"]
        facts["condition_names"] = tuple(str(name) for name in arrays["condition_names"])
    basis: dict[str, Any] = {key.removeprefix(BASIS): arrays[key] for key in arrays if key.startswith(BASIS)}
    if basis:  # numbers and texts are arrays without axes
        facts["basis"] = Basis(**{key: each if each.ndim else each.item() for key, each in basis.items()})
    if kind == "refwfm-family-1":
        return Family(gaussians=Gaussian(arrays["mean"], arrays["cov"]), **facts)
    weights = arrays["weights"] if len(arrays["weights"]) else None
    return CloudFamily(points=arrays["points"], offsets=arrays["offsets"], weights=weights, **facts)


def save_populations(path: str | os.PathLike[str], family: PopulationFamily, /) -> Path:
    """Write populations to a ``.npz`` file, completely or not at all; return the file's path.

    Raises
    ------
    ValueError
        If the name does not end in ``.npz``.
    OSError
        If the folder is missing or not writable.
    """
    path = npz_path(path)
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array(POPULATIONS_FORMAT),
        "name": np.array(family.name),
        "about": np.array(family.about),
        "members": np.array(family.members, dtype=np.str_),
        "features": np.array(family.features, dtype=np.str_),
        "paired": np.array(family.paired),
        "marks": np.empty((0, 0)) if family.marks is None else family.marks,
        "parts": family.parts,
        "conditions": family.conditions,
        "condition_names": np.array(family.condition_names, dtype=np.str_),
        "source_points": family.source.points,
        "source_offsets": family.source.offsets,
        "target_points": family.target.points,
        "target_offsets": family.target.offsets,
        "group_names": np.array(list(family.groups), dtype=np.str_),
        "group_values": np.array(list(family.groups.values()), dtype=np.str_).reshape(-1, len(family)),
    }
    atomic.write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return path


def load_population_file(path: str | os.PathLike[str], /) -> PopulationFamily:
    """Read populations written by ``save_populations``. Nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, or holds no populations.
    """
    path = npz_path(path)
    found = file_format(path)
    if found != POPULATIONS_FORMAT:
        raise ValueError(f"{path} has the format {found!r}; populations have {POPULATIONS_FORMAT!r}")
    arrays = read_npz(path, POPULATIONS_ARRAYS)
    name = str(arrays["name"])

    def texts(values: NDArray[Any]) -> tuple[str, ...]:
        return tuple(str(value) for value in values)

    try:
        source, target = (
            CloudFamily(name=name, points=arrays[f"{end}_points"], offsets=arrays[f"{end}_offsets"])
            for end in ("source", "target")
        )
        return PopulationFamily(
            name=name,
            source=source,
            target=target,
            paired=bool(arrays["paired"]),
            marks=arrays["marks"] if arrays["marks"].size else None,
            conditions=arrays["conditions"],
            condition_names=texts(arrays["condition_names"]),
            parts=arrays["parts"],
            groups={
                str(key): texts(values)
                for key, values in zip(arrays["group_names"], arrays["group_values"], strict=True)
            },
            features=texts(arrays["features"]),
            members=texts(arrays["members"]),
            about=str(arrays["about"]),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold valid populations: {error}") from error


def file_format(path: str | os.PathLike[str], /) -> str:
    """The format that a family's ``.npz`` file names; errors as for ``read_npz``."""
    path = npz_path(path)
    try:
        return str(read_npz(path, ("format",))["format"])
    except ValueError as error:
        if not str(error).endswith("it lacks format"):
            raise
        raise ValueError(
            f"{error}, which all families have; refwfm data clouds {path} makes one of one's own arrays, or "
            "refwfm data gaussians"
        ) from error


def read_npz(
    path: Path, keys: tuple[str, ...] | None = None, /, *, more: tuple[str, ...] = ()
) -> dict[str, NDArray[Any]]:
    """Read arrays of a ``.npz`` file: ``keys`` and those that begin with ``more``, or all; never unpickles.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, not a .npz file, or lacks one of the arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            keys = tuple(archive) if keys is None else keys
            missing = [key for key in keys if key not in archive]
            if not missing:
                found = (*keys, *(key for key in archive if key.startswith(more))) if more else keys
                return {key: member(archive, key) for key in found}
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy and zipfile can raise anything on a file of anything
        raise ValueError(f"{path} is truncated or not a .npz file of arrays ({error})") from error
    raise ValueError(f"{path} is a .npz file of another kind: it lacks {', '.join(missing)}")


def read_npy(path: Path, /) -> NDArray[Any]:
    """Read the array in a ``.npy`` file; never unpickles.

    Raises
    ------
    ValueError
        If it is truncated or not a .npy file.
    """
    try:
        return load_npy(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy can raise anything on a file of anything
        raise ValueError(f"{path} is truncated or not a .npy file ({error})") from error


def npz_path(path: str | os.PathLike[str], /) -> Path:
    """A path that ends in ``.npz``, or ``ValueError``."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"a family's file must end in .npz; got {path}")
    return path
