"""IDX files, the format of MNIST and its relatives."""

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_idx(path: str | os.PathLike[str], /, *, ndim: int) -> NDArray[np.uint8]:
    """Read the array of bytes in an IDX file, gzipped or not.

    The file begins with two zero bytes, the code of the type (8: unsigned bytes, the only one read
    here), the number of axes and their lengths (32-bit, big-endian); the rest is the array, row by row.

    Parameters
    ----------
    path : path
    ndim : int
        Number of axes the array must have: 3 for images, 1 for labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, or not an IDX file of bytes with that many axes, or its size does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    content = path.read_bytes()
    packed = content[:2] == b"\x1f\x8b"
    if packed:
        try:
            content = _unpacked(content, ndim)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged or truncated gzip file ({error})") from error
    if content[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(
            f"{path} is not an IDX file of bytes with {ndim} axes: it must begin with "
            f"{bytes([0, 0, 8, ndim]).hex()}; got {content[:4].hex() or 'an empty file'}"
        )
    shape, expected = _shape(content, ndim), _announced(content, ndim)
    if len(content) != expected:
        more = " or more" if packed and len(content) > expected else ""
        raise ValueError(
            f"{path} is damaged: an IDX file of shape {shape} has {expected} bytes; got {len(content)}{more}"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()


def _unpacked(content: bytes, ndim: int) -> bytes:
    """A gzip file's content, as far as it was announced and a byte more: 1 MB can hold 1 GB of zeros."""
    with gzip.open(io.BytesIO(content)) as file:
        begin = file.read(4 + 4 * ndim)
        if begin[:4] != bytes([0, 0, 8, ndim]):
            return begin
        # No byte of a deflated file stands for more than 1032.
        return begin + file.read(min(_announced(begin, ndim) - len(begin), 1032 * len(content)) + 1)


def _shape(content: bytes, ndim: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.frombuffer(content[4 : 4 + 4 * ndim].ljust(4 * ndim, b"\0"), ">u4"))


def _announced(content: bytes, ndim: int) -> int:
    """The bytes that a file is to have by its first ones."""
    return 4 + 4 * ndim + math.prod(_shape(content, ndim))
