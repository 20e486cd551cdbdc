"""What the laws need to know of a function, and how its results are compared."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from law_kinds import STYLES, Kind, kinds_in, letters, zip_map

from refwfm._array import to_host
from refwfm.evidence import ConvergenceError
from refwfm.measures import SingularCovarianceError


class Record(NamedTuple):
    """How to call a function, and how its results transform.

    What follows from the kinds is not said again: laws apply where they have something to act on.
    """

    name: str
    call: Callable[..., Any]
    inputs: dict[str, Any]
    output: Any
    swap: str = ""
    """The two arguments that may change places, one letter each or names in order, as in ``"x y"``."""
    pair: str = "nm"
    """The axes of results that change places with them."""
    metric: float = 0.0
    """The result to the power ``1 / metric`` is a distance; 0 where it is none."""
    outlier: bool = False
    """A mean cost of moving mass: what all share stays where it is."""
    without: str = ""
    """Laws that do not apply, though the kinds would allow them, or ``strict`` arrays; comments say why."""
    definite: bool = False
    """Covariances are positive definite."""
    open_time: bool = False
    """Times are in the open interval (0, 1)."""
    styles: tuple[str, ...] = STYLES
    sizes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    """Lengths of axes to choose from, where they are not those of ``law_kinds.SIZES``."""
    same: tuple[str, ...] = ()
    """Axes of one length, as in ``("nm",)``."""
    dtypes: tuple[str, ...] = ("float64", "float32")
    drawn: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType({})
    """Makers ``(rng, shape)`` of kinds of its own."""
    ulps: float = 64.0
    """Machine epsilons of the answer's own scale that two ways of computing it may differ by."""

    def __str__(self) -> str:
        return self.name


HOST = ("float64",)
"""Dtypes of what is computed with NumPy in float64 only."""

REGISTRY: list[Record] = []

UNIQUE = ("spread",)
"""Styles for functions that choose: among equally good choices any is right, and laws hold for none."""


def record(function: Callable[..., Any], inputs: dict[str, Any], output: Any, /, **traits: Any) -> None:
    """Enter a function; ``options`` are its keyword arguments, ``call`` how to call it otherwise."""
    options, call, suffix = (traits.pop(key, None) for key in ("options", "call", "suffix"))
    name = f"{function.__module__.removeprefix('refwfm.')}.{function.__name__}"

    def plainly(**arguments: Any) -> Any:
        return function(*arguments.values(), **(options or {}))

    REGISTRY.append(
        Record(f"{name}[{suffix}]" if suffix else name, call or plainly, inputs, output, **traits)
    )


def function_of(entry: Record) -> str:
    return entry.name.partition("[")[0]


RAISED = (SingularCovarianceError, ConvergenceError)
"""What a function may say instead of an answer; if it does, it must say so of the transformed data too."""


def values_of(entry: Record, arguments: dict[str, Any], array: Callable[[Any], Any]) -> Any:
    """Results on the host, in a tree like ``entry.output``, or the class of the error."""
    given = zip_map(lambda _, value: array(value), entry.inputs, arguments)
    try:
        result = entry.call(**given)
    except RAISED as error:
        return type(error)
    return zip_map(lambda _, value: on_host(value), entry.output, result)


def on_host(value: Any) -> np.ndarray:
    return np.asarray(to_host(value) if hasattr(value, "dtype") else value)


def numpy_array(dtype: str) -> Callable[[Any], Any]:
    def array(value: np.ndarray) -> np.ndarray:
        return value.astype(dtype) if value.dtype.kind == "f" else value

    return array


def strict_array(dtype: str) -> Callable[[Any], Any]:
    import array_api_strict

    return lambda value: array_api_strict.asarray(numpy_array(dtype)(value))


def unit(entry: Record, arguments: dict[str, Any]) -> float:
    """Size of the data, in their own unit: the largest argument, or 1, in the power of one."""
    sizes = [1.0]

    def measure(kind: Kind, value: np.ndarray) -> np.ndarray:
        if kind.degree and value.size:
            sizes.append(float(np.max(np.abs(value))) ** (1 / kind.degree))
        return value

    zip_map(measure, entry.inputs, arguments)
    return max(sizes)


def agree(entry: Record, actual: Any, expected: Any, *, eps: float, size: float, shift: float = 0.0) -> None:
    """Assert that results agree up to rounding, or that both are the same error.

    Rounding is relative to the largest value of an array, or to the data's size to the power of its degree
    where that is larger: the differences of numbers of that size are what is computed. Behind a shift,
    coordinates are only known to ``eps`` times the shift; a square of theirs, to that times the data's size.
    """
    if isinstance(expected, type) or isinstance(actual, type):
        assert actual is expected, f"{actual} is not {expected}"
        return

    def compare(kind: Kind, expected: np.ndarray, actual: np.ndarray) -> None:
        assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
        if expected.dtype.kind != "f":
            np.testing.assert_array_equal(actual, expected)
            return
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(actual[~finite], expected[~finite])
        largest = float(np.max(np.abs(expected[finite]), initial=0.0))
        scale = max(largest, size**kind.degree)
        scale *= 1.0 if kind.affine else 1.0 + shift / size
        error = np.abs(actual[finite].astype(float) - expected[finite])
        worst, allowed = float(np.max(error, initial=0.0)), entry.ulps * eps * scale
        assert worst <= allowed, f"off by {worst:.3g}, allowed {allowed:.3g}:\n{actual}\nis not\n{expected}"

    _compare_trees(compare, entry.output, expected, actual)


def _compare_trees(compare: Callable[..., None], kinds: Any, expected: Any, actual: Any) -> None:
    if isinstance(kinds, Kind):
        compare(kinds, expected, actual)
    elif isinstance(kinds, dict | tuple):
        keys = kinds if isinstance(kinds, dict) else range(len(kinds))
        for key in keys:
            _compare_trees(compare, kinds[key], expected[key], actual[key])


def has(entry: Record, test: Callable[[Kind], bool]) -> bool:
    return any(test(kind) for kind in kinds_in(entry.inputs))


def letters_of(entry: Record) -> set[str]:
    return letters(entry.inputs)
