"""Checkpoints: named arrays with a description in one safetensors file, written whole or not at all."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.storage import atomic

VERSION = 1
"""Version of the file's layout; a newer one is refused."""

_KEY = "refwfm"

_DTYPES = {f"{letter}{8 * size}": f"{letter.lower()}{size}" for letter in "IU" for size in (1, 2, 4, 8)}
_DTYPES |= {"BOOL": "?", "F16": "f2", "F32": "f4", "F64": "f8"}
"""NumPy's names of the types of safetensors, as far as it has them."""


class CheckpointError(ValueError):
    """A file is not a readable checkpoint."""


class NewerCheckpointError(CheckpointError):
    """A file is whole, but of a later version."""


class CheckpointWarning(UserWarning):
    """A damaged checkpoint was passed over, or an old one could not be deleted."""


def save(path: Path | str, arrays: dict[str, np.ndarray], about: dict[str, Any], /) -> None:
    """Write arrays and a description atomically: after a crash the old file or the new one is there.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    arrays : dict of numpy.ndarray
    about : dict
        Anything JSON can hold.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; the file is then as it was before.
    """
    from safetensors.numpy import save as to_bytes

    path = Path(path)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    sums = {name: _checksum(arrays[name]) for name in sorted(arrays)}
    metadata = {_KEY: json.dumps({"version": VERSION, "crc32": sums, **about})}
    data = to_bytes(arrays, metadata)
    atomic.write(path, lambda file: file.write(data))


def load(path: Path | str, /) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and description; nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is truncated, foreign, or of a newer version, or a tensor is not what was written; it names file
        and tensor. The file is left untouched.
    OSError
        If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with path.open("rb") as opened:
            content = np.empty(os.fstat(opened.fileno()).st_size, dtype=np.uint8)
            content = content[: opened.readinto(content.data)]
    except OSError as error:
        raise OSError(error.errno, f"cannot read {path}: {error.strerror or error}") from error
    try:
        with safe_open(path, framework="numpy") as file:  # checks the header, and that all data are there
            about = _about(path, file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or is no safetensors file: {error}") from None
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(content[8:start].tobytes())
    tensors = {name: each for name, each in header.items() if name != "__metadata__"}
    arrays = {name: _array(path, name, each, content[start:]) for name, each in tensors.items()}
    sums = about.pop("crc32", None)  # older files have none
    for name in () if sums is None else sorted(sums.keys() | arrays.keys()):
        if name not in arrays:
            raise CheckpointError(f"{path} lacks the tensor {name}")
        if _checksum(arrays[name]) != sums.get(name):
            raise CheckpointError(f"{path} is damaged: the tensor {name} is not what was written")
    return arrays, about


def _array(path: Path, name: str, tensor: dict[str, Any], data: np.ndarray) -> np.ndarray:
    dtype = _DTYPES.get(tensor["dtype"])
    if dtype is None:
        raise CheckpointError(f"{path}: the tensor {name} has the dtype {tensor['dtype']}, which NumPy lacks")
    return data[slice(*tensor["data_offsets"])].view(f"<{dtype}").reshape(tensor["shape"])


def _checksum(array: np.ndarray) -> int:
    """CRC-32 of an array's dtype, shape and bytes."""
    return zlib.crc32(
        np.ascontiguousarray(array).reshape(-1).data, zlib.crc32(f"{array.dtype.str} {array.shape}".encode())
    )


def _about(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        about: dict[str, Any] = dict(json.loads(metadata[_KEY]))
        version = int(about.pop("version"))
        if not isinstance(about.get("crc32", {}), dict):
            raise TypeError
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # an infinite one; brackets
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of refwfm") from None
    if version > VERSION:
        raise NewerCheckpointError(
            f"{path} has version {version}, this refwfm reads up to {VERSION}: it was written by a newer "
            "refwfm; upgrade to read it"
        )
    return about
