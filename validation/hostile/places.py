"""Where the arrays of this package live: one record for each array library and device."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import to_host
from refwfm.validation.hostile.cases import DTYPES, Given


class Place(NamedTuple):
    """An array library on one device.

    Attributes
    ----------
    name : str
    array : callable
        ``array(values, dtype, device)``: host values there; the device is "here" or "other".
    dtypes : tuple of str
        Floating ones that there are.
    devices : tuple of str
        "here", and "other" where there is a second one.
    """

    name: str
    array: Callable[[np.ndarray, str, str], Any]
    dtypes: tuple[str, ...] = DTYPES
    devices: tuple[str, ...] = ("here",)

    def build(self, given: Given, dtype: str, /) -> Any:
        """An array of a case; raise ``LookupError`` where this place cannot have it."""
        name = given.dtype or (dtype if given.values.dtype.kind == "f" else str(given.values.dtype))
        values = given.values.astype(name)
        if given.where == "host":
            if self.name == "numpy":
                raise LookupError("NumPy's arrays are on the host")
            return values
        if given.where not in self.devices:
            raise LookupError("there is one device")
        try:
            return self.array(values, name, given.where)
        except (AttributeError, TypeError, ValueError) as error:
            raise LookupError(f"there is no dtype {name} here") from error


def _numpy() -> list[Place]:
    return [Place("numpy", lambda values, dtype, where: values)]


def _torch() -> list[Place]:
    import torch

    return [Place("torch", lambda values, dtype, where: torch.asarray(values))]


def _jax() -> list[Place]:
    import jax

    jax.config.update("jax_enable_x64", True)
    return [Place("jax", lambda values, dtype, where: jax.numpy.asarray(values))]


def _strict() -> list[Place]:
    import array_api_strict as xp

    def there(name: str, other: str) -> Callable[[np.ndarray, str, str], Any]:
        devices = {"here": xp.Device(name), "other": xp.Device(other)}
        return lambda values, dtype, where: xp.asarray(
            values.tolist() if values.size else values, dtype=getattr(xp, dtype), device=devices[where]
        )

    both = ("here", "other")
    return [
        Place("strict", there("CPU_DEVICE", "device1"), devices=both),
        Place("strict:device1", there("device1", "CPU_DEVICE"), devices=both),
        Place("strict:no_float64", there("no_float64", "CPU_DEVICE"), ("float32",), devices=both),
    ]


LIBRARIES: dict[str, Callable[[], list[Place]]] = {
    "numpy": _numpy,
    "torch": _torch,
    "jax": _jax,
    "strict": _strict,
}


def installed() -> list[Place]:
    """All places whose library is installed."""
    found: list[Place] = []
    for load in LIBRARIES.values():
        with contextlib.suppress(ImportError):
            found += load()
    return found


def find(name: str, /) -> list[Place]:
    """Places of this name, or of this library.

    Raises
    ------
    ValueError
        If there is none, or its library is not installed.
    """
    library = name.partition(":")[0]
    if library not in LIBRARIES:
        raise ValueError(f"unknown backend {name!r}; choose one of {', '.join(LIBRARIES)}")
    try:
        places = LIBRARIES[library]()
    except ImportError as error:
        raise ValueError(f"backend {library!r} is not installed ({error})") from error
    chosen = places if name == library else [place for place in places if place.name == name]
    if not chosen:
        raise ValueError(f"unknown backend {name!r}; there are {', '.join(p.name for p in places)}")
    return chosen


def on_host(tree: Any, /) -> Any:
    """An answer as host values: one array, or several of one shape stacked."""
    if isinstance(tree, tuple | list):
        return np.stack([on_host(part) for part in tree])
    return to_host(tree) if hasattr(tree, "dtype") and not isinstance(tree, np.generic) else np.asarray(tree)
