"""Results that take minutes, kept in files under the SHA-256 of what they were computed from.

The folder is ``$REFWFM_CACHE``, or ``refwfm`` in the system's folder for caches.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refwfm.storage import checkpoints


def cached(
    compute: Callable[[], np.ndarray], /, *inputs: np.ndarray, shape: tuple[int, ...], kind: str
) -> np.ndarray:
    """Result of a computation on these arrays: from its file where there is a whole one, else computed.

    Parameters
    ----------
    compute : callable
        A function of ``inputs`` alone.
    shape : tuple of int
        Shape of the result; a file that holds another is not used.
    kind : str
        Name of the folder in the cache.
    """
    digest = hashlib.sha256()
    for array in inputs:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    file = cache_folder() / kind / f"{digest.hexdigest()}.safetensors"
    with contextlib.suppress(OSError, checkpoints.CheckpointError):  # absent, not readable, or damaged
        result = checkpoints.load(file)[0].get("result")
        if result is not None and result.shape == shape:
            return result
    result = compute()
    with contextlib.suppress(OSError):  # without a place to keep it, it is computed again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.save(file, {"result": result}, {"kind": kind})
    return result


def cache_folder() -> Path:
    """Folder of the files."""
    chosen = os.environ.get("REFWFM_CACHE")
    if chosen:  # an empty variable is one that is not set
        return Path(chosen)
    home = Path.home()
    folders = {"win32": os.environ.get("LOCALAPPDATA") or home, "darwin": home / "Library" / "Caches"}
    return Path(folders.get(sys.platform, os.environ.get("XDG_CACHE_HOME") or home / ".cache")) / "refwfm"
