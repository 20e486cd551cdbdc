"""Families in folders: one array a file, as NumPy or Zarr keeps it, read as they are needed.

A folder holds what a family's ``.npz`` file does, each array in a file of its own: ``points.npy`` and
``offsets.npy`` of clouds, or ``mean.npy`` and ``cov.npy``, and, if wanted, ``weights.npy``, ``labels.npy``
and the others. Points and weights of clouds stay in their files; a batch reads those of its members. A Zarr
group has arrays of the same names, and texts among its attributes.
"""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._chunks import check_group
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._files import BASIS, CONDITIONS, FORMATS, GROUPS, family_arrays, family_of, read_npy
from refwfm.datasets._stored import AT_ONCE, StoredRows
from refwfm.datasets.own_arrays import encode_labels
from refwfm.storage.arrays import map_npy

MEASURES = {"refwfm-clouds-1": ("points", "offsets"), "refwfm-family-1": ("mean", "cov")}
"""Format -> the arrays that a folder cannot do without."""

KNOWN = {"format", *(name for names in FORMATS.values() for name in names)}
"""Names of files that are read, besides those that begin as groups, basis and conditions do."""

ZARR = ("zarr.json", ".zgroup")
"""Files that tell a Zarr group of the third or second format."""


def is_folder_of_arrays(path: str | os.PathLike[str], /) -> bool:
    """Whether a path is a folder with the arrays of a family, or a Zarr group of them."""
    path = Path(path)
    needed = [name for names in MEASURES.values() for name in names]
    if any((path / each).is_file() for each in ZARR):
        return any((path / name).is_dir() for name in needed)
    return any((path / f"{name}.npy").is_file() for name in needed)


def is_own(name: str, /) -> bool:
    """Whether the name of a family is that of one's own: a file, or a folder of arrays."""
    return name.lower().endswith(".npz") or is_folder_of_arrays(name)


def holds_gaussians(name: str, /) -> bool:
    """Whether a folder of arrays is one of Gaussians: told by its files, none of which is read."""
    return not any((Path(name) / each).exists() for each in ("points", "points.npy"))


def save_folder(path: str | os.PathLike[str], family: Family | CloudFamily, /) -> Path:
    """Write a family to a new folder of ``.npy`` files, completely or not at all; return its path.

    Points of clouds are written in blocks: those of a family in a folder are never in memory together.

    Raises
    ------
    OSError
        If the folder exists already, or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already; name a folder that does not")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for name, array in family_arrays(family).items():
            if array.size if isinstance(array, np.ndarray) else len(array):
                _save(part / f"{name}.npy", array)
        part.rename(path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


def _save(file: Path, array: Any) -> None:
    if not isinstance(array, StoredRows):
        np.save(file, array, allow_pickle=False)
        return
    written = np.lib.format.open_memmap(file, mode="w+", dtype=array.source.dtype, shape=array.shape)
    for start in range(0, len(array), AT_ONCE):
        written[start : start + AT_ONCE] = array[start : start + AT_ONCE]
    written.flush()


def load_folder(path: str | os.PathLike[str], /) -> Family | CloudFamily:
    """Read a family from a folder of ``.npy`` files, or a Zarr group; points of clouds stay where they are.

    Labels without ``label_names`` may be any values: each is a class.

    Raises
    ------
    FileNotFoundError
        If a file is missing that the family cannot do without.
    ValueError
        If a file is truncated or is no array, has an unknown name, or the arrays do not fit each other.
    ModuleNotFoundError
        If it is a Zarr group, and Zarr is not installed.
    """
    path = Path(path)
    zarr = any((path / each).is_file() for each in ZARR)
    readers = _zarr_readers(path) if zarr else _npy_readers(path)
    kind = next(kind for kind, names in MEASURES.items() if any(name in readers for name in names))
    if {"points", "mean"} <= set(readers):
        raise ValueError(f"{path} holds points and mean: a family is of clouds or of Gaussians")
    if "format" in readers and str(readers["format"](False)) != kind:
        raise ValueError(f"{path}: format is {readers['format'](False)}, and the arrays are those of {kind}")
    missing = [name for name in MEASURES[kind] if name not in readers]
    if missing:
        raise FileNotFoundError(f"{path} lacks {missing[0]}{'' if zarr else '.npy'}, beside what it has")
    stored = ("points", "weights") if kind == "refwfm-clouds-1" else ()
    arrays = {name: read(name in stored) for name, read in readers.items()}
    try:
        return family_of(kind, _completed(path, arrays))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a valid family: {error}") from error


def _completed(path: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as a family's ``.npz`` file has them: with those that may be left out, and stored rows."""
    none: dict[str, Any] = {
        "name": np.array(path.resolve().name),
        "about": np.array(""),
        "weights": np.empty(0),
    }
    texts = {"members": np.empty(0, np.str_), "label_names": np.empty(0, np.str_)}
    found = {**none, **texts, "labels": None, **arrays}
    if "labels" in arrays and "label_names" not in arrays:
        labels, names = encode_labels(arrays["labels"])
        found |= {"labels": labels, "label_names": np.array(names, dtype=np.str_)}
    if "points" in found:
        offsets = np.asarray(found["offsets"])
        for name, axes in (("points", 2), ("weights", 1)):
            array = found[name]
            if name not in arrays:
                continue
            if array.dtype.kind not in "fiu":
                raise TypeError(f"{name} must be real numbers; got {array.dtype}")
            if len(array.shape) != axes or 0 in array.shape:
                wanted = "(total, d)" if axes == 2 else "(total,)"
                raise ValueError(f"{name} must have shape {wanted}, not empty; got {tuple(array.shape)}")
            if offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1:
                if offsets[-1] != array.shape[0]:
                    raise ValueError(
                        f"offsets must run from 0 to the number of rows of {name}, {array.shape[0]}; got "
                        f"{offsets[0]} ... {offsets[-1]}"
                    )
                found[name] = StoredRows(array, offsets.astype(np.int64))
    return found


def _is_known(name: str) -> bool:
    return name in KNOWN or name.startswith((GROUPS, BASIS, CONDITIONS))


def _npy_readers(path: Path) -> dict[str, Callable[[bool], Any]]:
    """Name -> what reads the array, or maps it."""

    def reader(file: Path) -> Callable[[bool], Any]:
        def read(mapped: bool) -> Any:
            if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
                raise ValueError(f"{file} is no file of an array")
            if not mapped:
                return read_npy(file)
            try:
                return map_npy(file)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # NumPy can raise anything on a file of anything
                raise ValueError(f"{file} is truncated or not a .npy file ({error})") from error

        return read

    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    unknown = [file.name for name, file in files.items() if not _is_known(name)]
    if unknown:
        raise ValueError(
            f"{path} has {', '.join(unknown)}, which no family has; known are {', '.join(sorted(KNOWN))}"
        )
    return {name: reader(file) for name, file in files.items()}


def _zarr_readers(path: Path) -> dict[str, Callable[[bool], Any]]:
    """Name -> what reads the array, or leaves it where it is; attributes are texts and lists of texts."""
    try:
        import zarr
    except ImportError as error:
        raise ModuleNotFoundError(f'{path} is a Zarr group: pip install "refwfm[zarr]" ({error})') from None
    try:
        group: Any = zarr.open_group(str(path), mode="r")
        check_group(group, path)
        names = sorted(name for name in group.array_keys() if _is_known(name))
        arrays = {name: group[name] for name in names}
        about = {name: np.array(value, dtype=np.str_) for name, value in dict(group.attrs).items()}
    except (OSError, MemoryError):
        raise
    except Exception as error:  # Zarr can raise anything on a folder of anything
        raise ValueError(f"{path} is no Zarr group that can be read ({error})") from error

    def reader(array: Any) -> Callable[[bool], Any]:
        def read(mapped: bool) -> Any:
            return array if mapped else np.asarray(array[...])

        return read

    def text(values: NDArray[np.str_]) -> Callable[[bool], Any]:
        return lambda mapped: values

    found = {name: reader(array) for name, array in arrays.items()}
    return found | {name: text(each) for name, each in about.items() if _is_known(name) and name not in found}
