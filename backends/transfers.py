"""What crosses between host and device, counted: ``refwfm train --count-transfers``.

Arrays cross in ``_array.to_host``, ``asarray_like`` and ``on_device_of``, which tell ``_array.CROSSING``.
Single numbers cross where Python asks an array for one, ``float(x)``, ``bool(x)``, ``x[mask]`` (its length):
while something is counted the class of the arrays tells that, too. Nothing is changed outside of ``counted``.

What a library waits for on its own account, an error code of a decomposition, the length of ``nonzero``, it
does not tell.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from refwfm._array import CROSSING, array_namespace, is_array

TO_HOST, TO_DEVICE = "to host", "to device"

PLACES = {
    "runs.models.save_model": "checkpoint",
    "runs.recorder": "pace of the first steps",
    "training.algorithm.train": "loss, gradient norm and plan error, for the log",
    "training.clouds._pair": "outer plan",
    "training.clouds": "batch",
    "training.gaussians": "batch",
    "training.meta_fm": "batch",
    "training.meta_ot": "batch",
    "training.meta_icnn": "batch",
    "training.conditions": "batch",
    "sources": "batch",
    "couplings.outer": "outer plan",
    "couplings.costs": "outer plan",
    "couplings.inner._exact": "exact inner plan: costs, plan",
    "couplings.inner._assigned": "exact inner plan: costs, permutation",
    "couplings.inner._mean_targets": "exact inner plan: costs, plan",
    "couplings.inner": "draws of the inner plan",
    "transport.linearized": "alignment to the reference: costs, permutation",
    "transport.sliced.random_directions": "directions of the sliced plan",
    "transport.sinkhorn._all_below": "convergence of Sinkhorn",
    "transport.problem": "checks and constants of Sinkhorn",
    "transport.plans.greedy_rounding": "rounding: how many points still propose",
    "transport.plans._best_accepting": "rounding: how many points still propose",
    "transport.plans": "checks of a plan",
    "clouds": "checks of clouds: equal in size, in order",
    "_array": "checks of distances: whether they keep their digits",
    "backends._float64": "checks of covariances: whether float64 is right",
    "networks": "constants of the network",
    "interpolation": "batch",
}
"""Modules and functions of the package (the name's end may be left out) where something crosses, and why."""

SCALARS = ("__bool__", "__float__", "__int__", "__index__", "item")
"""Methods that bring one number to the host."""


class Crossed(NamedTuple):
    """How often something crossed in a direction at a place, and how many bytes in all."""

    direction: str
    why: str
    count: int
    size: int


class Counter:
    """What crossed since it was made, or since ``reset``."""

    def __init__(self, like: Any) -> None:
        self.possible = not isinstance(like, np.ndarray)
        self.crossed: dict[tuple[str, str], list[int]] = {}

    def reset(self, *_: Any) -> None:
        """Begin anew; arguments are those of whoever calls it back."""
        self.crossed = {}

    def __call__(self, direction: str, values: Any) -> None:
        """Add one crossing of these values."""
        entry = self.crossed.setdefault((direction, _why(sys._getframe(1))), [0, 0])
        entry[0] += 1
        entry[1] += _bytes(values)

    def rows(self) -> list[Crossed]:
        """All that crossed, most bytes first."""
        found = [Crossed(*key, *entry) for key, entry in self.crossed.items()]
        return sorted(found, key=lambda each: (-each.size, each.why))


@contextmanager
def counted(like: Any, /) -> Iterator[Counter]:
    """Count what crosses between the host and the device of an array, until the block ends.

    Parameters
    ----------
    like : array
        One of the library whose arrays are counted. What NumPy's arrays are asked never crosses.
    """
    counter = Counter(like)
    token = CROSSING.set(counter)
    try:
        with _telling(type(like), counter) if counter.possible else _nothing():
            yield counter
    finally:
        CROSSING.reset(token)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _telling(kind: type, counter: Counter) -> Iterator[None]:
    """Let a class of arrays tell when it is asked for a number, or for elements under a mask."""
    own = {name: vars(kind).get(name) for name in (*SCALARS, "__getitem__") if hasattr(kind, name)}
    for name in own:
        method = getattr(kind, name)
        setattr(kind, name, _masked(method, counter) if name == "__getitem__" else _asked(method, counter))
    try:
        yield
    finally:
        for name, method in own.items():
            if method is None:  # inherited
                delattr(kind, name)
            else:
                setattr(kind, name, method)


def _asked(method: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    nested = [False]  # torch's float() asks for item()

    def tells(self: Any, *arguments: Any) -> Any:
        if nested[0]:
            return method(self, *arguments)
        counter(TO_HOST, self)
        nested[0] = True
        try:
            return method(self, *arguments)
        finally:
            nested[0] = False

    return tells


def _masked(method: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    def tells(self: Any, key: Any) -> Any:
        if is_array(key) and key.ndim and array_namespace(key).isdtype(key.dtype, "bool"):
            counter(TO_HOST, np.int64(0))  # how many elements there are
        return method(self, key)

    return tells


def _why(frame: FrameType | None) -> str:
    """Why something crosses: the entry of ``PLACES`` for the innermost function that has one."""
    inner = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("refwfm.") and module != __name__:
            name = f"{module.removeprefix('refwfm.')}.{frame.f_code.co_name}"
            inner = inner or (name if not name.startswith("_array.") else "")
            while name:
                if name in PLACES and not (name == "_array" and frame.f_code.co_name in _CARRIERS):
                    return PLACES[name]
                name = name.rpartition(".")[0]
        frame = frame.f_back
    return inner or "elsewhere"


_CARRIERS = ("to_host", "asarray_like", "on_device_of", "_tell_upload", "take_rows", "all_finite")
"""Functions of ``_array`` through which things cross on behalf of others."""


def _bytes(values: Any) -> int:
    if is_array(values):
        array = values
        host = isinstance(array, np.ndarray | np.generic)
        size = int(np.prod(array.shape, dtype=np.int64))
        return size * (array.dtype.itemsize if host else _itemsize(array))
    return int(np.asarray(values).nbytes)


def _itemsize(array: Any) -> int:
    itemsize = getattr(array.dtype, "itemsize", None)
    if itemsize is not None:
        return int(itemsize)
    xp = array_namespace(array)
    if xp.isdtype(array.dtype, "bool"):
        return 1
    info = xp.iinfo if xp.isdtype(array.dtype, "integral") else xp.finfo
    return int(info(array.dtype).bits) // 8


def table(counter: Counter, steps: int, where: str, /) -> Table:
    """What crossed per step, laid out for the terminal.

    Parameters
    ----------
    counter : Counter
    steps : int
        Taken while it counted.
    where : str
        The backend.
    """
    result = Table(title=f"between host and {where}, a step (of {steps})")
    for heading in ("direction", "why", "times", "bytes"):
        result.add_column(heading, justify="right" if heading in ("times", "bytes") else "left")
    for row in counter.rows():
        per_step = row.count / max(1, steps), row.size / max(1, steps)
        result.add_row(row.direction, row.why, f"{per_step[0]:.3g}", f"{per_step[1]:,.0f}")
    return result


def to_json(counter: Counter, steps: int, /) -> dict[str, Any]:
    """A line of the log: the steps, and all that crossed in them."""
    return {"steps": steps, "crossed": [row._asdict() for row in counter.rows()]}
