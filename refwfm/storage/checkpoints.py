"""Checkpoints: named arrays with a description in one safetensors file, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.storage import atomic

VERSION = 1
"""Version of the file's layout; a newer one is refused."""

_KEY = "refwfm"


class CheckpointError(ValueError):
    """A file is not a readable checkpoint."""


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
    metadata = {_KEY: json.dumps({"version": VERSION, **about})}
    data = to_bytes({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata)
    atomic.write(path, lambda file: file.write(data))


def load(path: Path | str, /) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and description; nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is truncated, foreign, or of a newer version. The file is left untouched.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            about = _about(path, file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or is no safetensors file: {error}") from None
    return arrays, about


def _about(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        about: dict[str, Any] = dict(json.loads(metadata[_KEY]))
        version = int(about.pop("version"))
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of refwfm") from None
    if version > VERSION:
        raise CheckpointError(
            f"{path} has version {version}, this refwfm reads up to {VERSION}: it was written by a newer "
            "refwfm; upgrade to read it"
        )
    return about
