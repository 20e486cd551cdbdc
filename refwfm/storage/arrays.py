"""Arrays in files of NumPy's formats: a header is believed only where as many bytes follow it."""

import math
import os
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

DEFLATED = 1032
"""Bytes that one byte of a deflated file can stand for."""

HEADER = 10_000
"""Bytes of the longest header, as NumPy has it; what reads one takes time and memory by its length."""


def load_npy(path: Path, /) -> np.ndarray:
    """Read the array in a ``.npy`` file; never unpickles.

    Raises
    ------
    ValueError
        If its header does not fit the file. NumPy can raise anything else on a file of anything.
    """
    with path.open("rb") as file:
        _check_header(file, path.stat().st_size)
        file.seek(0)
        return _checked(np.asarray(np.load(file, allow_pickle=False)))


def map_npy(path: Path, /) -> np.ndarray:
    """Map the array in a ``.npy`` file, parts of which are read when used; errors as for ``load_npy``."""
    with path.open("rb") as file:
        _check_header(file, path.stat().st_size)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def member(archive: Any, key: str, /) -> np.ndarray:
    """Read an array of an open ``.npz`` file; errors as for ``load_npy``."""
    info = archive.zip.getinfo(key if key in archive.zip.namelist() else f"{key}.npy")
    if info.file_size > DEFLATED * os.fstat(archive.zip.fp.fileno()).st_size:
        raise ValueError(f"{info.filename} cannot have {info.file_size} bytes")
    with archive.zip.open(info) as file:
        _check_header(file, info.file_size)
    return _checked(np.asarray(archive[key]))


def _checked(array: np.ndarray) -> np.ndarray:
    """An array whose text is text: of other numbers Python makes no string, but an error of its own."""
    if array.dtype.kind == "U" and array.dtype.itemsize and array.size:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise ValueError("a text of what is no character")
    return array


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise unless header and array fill a file of so many bytes: NumPy would make room for them first."""
    version = np.lib.format.read_magic(file)
    width = {(1, 0): 2, (2, 0): 4}.get(version)
    if width is None:  # the third is for names of fields, which no array here has
        raise ValueError(f"an array in version {version[0]}.{version[1]} of NumPy's format")
    start = file.tell()
    length = int.from_bytes(file.read(width), "little")
    if start + width + length > size:
        raise ValueError(f"a header of {length} bytes does not fit {size}")
    if length > HEADER:  # NumPy's words for it advise to unpickle
        raise ValueError(f"a header of {length} bytes, more than {HEADER}")
    file.seek(start)
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array of objects, which only unpickling would read, and here nothing does")
    if file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array {dtype} of shape {shape} does not fit {size} bytes")
