"""IDX files, the format of MNIST and its relatives."""

import gzip
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
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged or truncated gzip file ({error})") from error
    if content[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(
            f"{path} is not an IDX file of bytes with {ndim} axes: it must begin with "
            f"{bytes([0, 0, 8, ndim]).hex()}; got {content[:4].hex() or 'an empty file'}"
        )
    start = 4 + 4 * ndim
    shape = tuple(int(n) for n in np.frombuffer(content[4:start].ljust(4 * ndim, b"\0"), ">u4"))
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise ValueError(
            f"{path} is damaged: an IDX file of shape {shape} has {expected} bytes; got {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
