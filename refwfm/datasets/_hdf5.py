"""HDF5 files: opened with one clear error when they are something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def opened_hdf5(path: Path, /) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file, or h5py is not installed.
    ValueError
        If it is truncated or not an HDF5 file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'reading {path} needs h5py: pip install "refwfm[data]"') from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is truncated or not an HDF5 file ({error})") from error
    with file:
        yield file
