"""HDF5 files: opened with one clear error when they are something else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("_probe.py")


def check_texts(path: Path, /) -> None:
    """Raise for a file whose texts would end the process that reads them, or take it for ever.

    They are read in another one first (``_probe``), where the system can bound that: a fifth of a second.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if os.name != "posix" or not sys.executable:
        return
    done = subprocess.run(  # noqa: S603  # the own interpreter
        [sys.executable, "-P", PROBE, path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode < 0:
        raise ValueError(
            f"it is damaged: a process that read its texts was ended by signal {-done.returncode}"
        )
    if done.returncode:
        raise ValueError(" ".join(done.stderr.decode(errors="replace").splitlines()[-1:]))


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
        if h5py.is_hdf5(path):
            check_texts(path)
        file = h5py.File(path, "r")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is truncated or not an HDF5 file ({error})") from error
    with file:
        yield file
