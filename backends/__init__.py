"""Where a run lives: one record per array library, with its conversions and its fast twins.

``load("numpy" | "torch" | "torch:cuda" | "cupy" | "jax" | "strict")`` imports the library only then. The
functions of ``refwfm`` never see a backend: they look at the arrays they are given.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from refwfm.training.ops import REFERENCE, Ops

ENVIRONMENT = "REFWFM_BACKEND"
DTYPES = ("float32", "float64")
INSTALL = {
    "numpy": "pip install numpy",
    "torch": 'pip install "refwfm[torch]"',
    "cupy": 'pip install "refwfm[cupy12]"  # cupy13 where the driver is for CUDA 13',
    "jax": 'pip install "refwfm[jax]"',
    "strict": "pip install array-api-strict",
}


class BackendError(RuntimeError):
    """A backend that is unknown, not installed, or without the device asked for."""


class Backend(NamedTuple):
    """Everything a run needs to know about its array library.

    Attributes
    ----------
    name : str
        As asked for, with the device: ``"torch:cuda"``.
    device : str
    dtype : str
        "float32" or "float64".
    asarray : callable
        From host values to this library, device and dtype (of floating values; integers keep theirs).
    to_numpy : callable
        From this library to NumPy.
    synchronize : callable
        Wait until the device has done all its work (for timing).
    ops : Ops
        Twins where there are any, references elsewhere.
    version : str
        Version of the library.
    """

    name: str
    device: str
    dtype: str
    asarray: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]
    synchronize: Callable[[], None]
    ops: Ops
    version: str


def load(name: str | None = None, /, *, dtype: str = "float32", reference: bool = False) -> Backend:
    """Load a backend by name.

    Parameters
    ----------
    name : str, optional
        ``library`` or ``library:device``. By default the variable REFWFM_BACKEND, else numpy.
    dtype : str
        "float32" or "float64".
    reference : bool
        Use no twin at all: every operation is the function of ``refwfm`` itself.

    Raises
    ------
    BackendError
        If the backend is unknown, its library not installed, or its device absent.
    """
    name = name or os.environ.get(ENVIRONMENT) or "numpy"
    library, _, device = name.partition(":")
    if library not in INSTALL:
        raise BackendError(
            f"unknown backend {name!r}; choose one of {', '.join(INSTALL)} (or torch:cuda, torch:cpu)"
        )
    if dtype not in DTYPES:
        raise BackendError(f"unknown dtype {dtype!r}; choose float32 or float64")
    try:
        module = import_module(f"refwfm.backends._{library}")
    except ImportError as error:
        raise BackendError(f"backend {library!r} is not installed ({error}); {INSTALL[library]}") from None
    except (
        OSError,
        RuntimeError,
        AttributeError,
    ) as error:  # a missing .so, a driver, halves of two versions
        words = " ".join(str(error).split())
        raise BackendError(
            f"backend {library!r} is installed and does not load ({words}); refwfm doctor says what helps"
        ) from None
    backend: Backend = module.load(device, dtype)
    return backend._replace(ops=REFERENCE) if reference else backend


def host_array(values: Any, dtype: str, /) -> np.ndarray:
    """Values as a NumPy array: floating ones copied to ``dtype``, others as they are.

    Raises
    ------
    ValueError
        If finite values are beyond the range of ``dtype``.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    if not np.all(np.isfinite(found)) and np.any(np.isfinite(array) & ~np.isfinite(found)):
        largest = np.max(np.abs(array[np.isfinite(array)]))
        raise ValueError(
            f"values up to {largest:.3g} are beyond the range of {dtype}, {np.finfo(dtype).max:.2g}: use "
            "float64, or another unit"
        )
    return found


def check_device(library: str, device: str, known: tuple[str, ...], /) -> str:
    """The device asked for, or the first known one if none was; raise if the library does not have it."""
    device = device or known[0]
    if device.partition(":")[0] not in known:
        raise BackendError(f"backend {library!r} has no device {device!r}; it knows {', '.join(known)}")
    return device


def available() -> dict[str, str]:
    """Each backend's name with "version on device", or why it cannot be used: for ``refwfm info``."""
    found = {}
    for name in INSTALL:
        try:
            backend = load(name)
            found[name] = f"{backend.version} on {backend.device}"
        except BackendError as error:
            found[name] = str(error)
    return found
