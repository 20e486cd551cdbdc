"""What an exercise is, and how a student's function is judged.

A student writes one function of NumPy arrays. It is called by the residual of a check of the ledger, on
random inputs, as the package's own function is. Where it fails it is compared, on the very inputs that it was
given, with functions that make known mistakes: the one that it agrees with tells what is wrong.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from refwfm import backends
from refwfm.backends import Backend
from refwfm.validation.draws import Draw

Function = Callable[..., Any]

ALIKE = 1e-6
"""Relative difference up to which results count as equal: formulas are asked for, not the last digits."""

REPAIRS: dict[str, Function] = {
    "The sign is wrong; all else is right.": np.negative,
    "It is half of what it should be.": lambda result: 2.0 * result,
    "It is twice what it should be.": lambda result: 0.5 * result,
    "It is the square of what is asked for.": np.sqrt,
    "It is the root of what is asked for: the squared quantity is wanted.": np.square,
    "It is the transpose of what is asked for.": np.transpose,
}
"""Changes of a result that make it right, by what was wrong with it."""


class Exercise(NamedTuple):
    """A function to write, and what it is held against.

    Attributes
    ----------
    id, title : str
    stub : str
        Source of the function without its body. The docstring says what is asked for; its example is the
        smallest case.
    item, oracle : str
        Formula of the ledger, and what the function is held against.
    residual : callable
        ``residual(implementation, draw)``, as in a ``Check``: zero for the truth.
    adapt : callable
        Makes the implementation that the residual calls of the student's function.
    mistakes : dict
        Functions with the signature of the student's, by what is to be said of them.
    hints : tuple of str
        Three, from a nudge to nearly everything.
    dimensions : tuple of int
        Of the random instances.
    tolerance : float
        Largest residual that passes.
    """

    id: str
    title: str
    stub: str
    item: str
    oracle: str
    residual: Callable[[Function, Draw], float]
    adapt: Callable[[Function], Function]
    mistakes: dict[str, Function]
    hints: tuple[str, str, str]
    dimensions: tuple[int, ...] = (2, 3)
    tolerance: float = ALIKE

    @property
    def name(self) -> str:
        """Name of the function."""
        found = re.search(r"^def (\w+)", self.stub, re.MULTILINE)
        assert found
        return found[1]


class Verdict(NamedTuple):
    """Whether the function passes, and what there is to say."""

    passed: bool
    note: str


class AnswerError(Exception):
    """What a student's function returned cannot be judged: the message says why."""


class RaisedError(Exception):
    """A student's function raised an error: its cause."""


def judge(exercise: Exercise, function: Function, /) -> Verdict:
    """Hold a student's function against the oracle of the exercise.

    Raises
    ------
    RaisedError
        If the function raises an error.
    """
    watched = Watched(exercise, function)
    try:
        residual = _largest_residual(exercise, watched)
    except AnswerError as error:
        return Verdict(False, str(error))
    if residual <= exercise.tolerance:
        return Verdict(True, f"held against {exercise.oracle}: residual {residual:.1e}")
    for note, mistake in exercise.mistakes.items():
        if watched.agrees_with(mistake):
            return Verdict(False, note)
    for note, repair in REPAIRS.items():
        if _passes_repaired(exercise, function, repair):
            return Verdict(False, note)
    return Verdict(
        False,
        f"{exercise.name} is not right, and makes none of the known mistakes: residual {residual:.1e} "
        f"against {exercise.oracle}; at most {exercise.tolerance:g} passes. Try the example of its "
        "docstring by hand.",
    )


class Watched:
    """A student's function that keeps what it was given and what it returned, and says what cannot be used.

    A result must have the shape that the mistakes of the exercise have, and no NaN. Arguments are copies that
    cannot be written to.
    """

    def __init__(self, exercise: Exercise, function: Function, /) -> None:
        self.name = exercise.name
        self.function = function
        self.model = next(iter(exercise.mistakes.values()))
        self.calls: list[tuple[tuple[Any, ...], list[np.ndarray]]] = []

    def __call__(self, *arguments: Any) -> Any:
        """Call the function; its result as float64 arrays."""
        given = tuple(map(_read_only, arguments))
        with np.errstate(all="ignore"):
            model = _parts(self.model(*given))
            try:
                result = self.function(*given)
            except Exception as error:
                raise RaisedError from error  # so that it is not taken for one of the oracle's
        if result is None:
            raise AnswerError(f"{self.name} returns None: is there a return at its end?")
        try:
            found = _parts(result)
        except (TypeError, ValueError):
            raise AnswerError(f"{self.name} returns what is no array of numbers: {result!r:.60}") from None
        if len(found) != len(model):
            raise AnswerError(f"{self.name} returns {_counted(found)}, expected {_counted(model)}")
        for part, wanted in zip(found, model, strict=True):
            if part.shape != wanted.shape:
                shapes = ", ".join(str(np.shape(argument)) for argument in given)
                raise AnswerError(
                    f"{self.name} returns an array of shape {part.shape}, expected {wanted.shape} "
                    f"(for arguments of shapes {shapes})"
                )
        if not all(np.all(np.isfinite(part)) for part in found):
            raise AnswerError(f"{self.name} returns NaN or infinity, expected numbers")
        self.calls.append((given, found))
        return tuple(found) if isinstance(result, tuple) else found[0]

    def agrees_with(self, mistake: Function, /) -> bool:
        """Whether another function has the same results wherever this one was called."""
        with np.errstate(all="ignore"):
            return all(_equal(found, _parts(mistake(*given))) for given, found in self.calls)


def batched(function: Function, /, *arrays: np.ndarray) -> Any:
    """Values of a function of single instances along the first axis; of several results, a tuple."""
    results = [function(*row) for row in zip(*arrays, strict=True)]
    if isinstance(results[0], tuple):
        return tuple(map(np.stack, zip(*results, strict=True)))
    return np.stack(results)


def draws(exercise: Exercise, /) -> Iterator[Draw]:
    """Random instances, the same each time."""
    host: Backend = backends.load("numpy", dtype="float64", reference=True)
    for d in exercise.dimensions:
        for repeat in range(2):
            rng = np.random.default_rng([crc32(exercise.id.encode()), d, repeat])
            yield Draw(rng, d, 3, "float64", host)


def _largest_residual(exercise: Exercise, function: Function) -> float:
    worst = 0.0
    for draw in draws(exercise):
        try:
            residual = float(exercise.residual(exercise.adapt(function), draw))
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):
            residual = np.inf  # the oracle itself breaks on what the function returns
        worst = max(worst, np.inf if np.isnan(residual) else residual)
    return worst


def _passes_repaired(exercise: Exercise, function: Function, repair: Function) -> bool:
    def repaired(*arguments: Any) -> Any:
        result = function(*map(_read_only, arguments))
        if isinstance(result, tuple):
            raise ArithmeticError("several results")
        return repair(np.asarray(result, dtype=np.float64))

    with np.errstate(all="ignore"):
        return _largest_residual(exercise, repaired) <= exercise.tolerance


def _parts(result: Any) -> list[np.ndarray]:
    """Result as a list of float64 arrays; roots with a vanishing imaginary part are real."""
    arrays = map(np.asarray, result if isinstance(result, tuple) else (result,))
    return [_real(array).astype(np.float64) for array in arrays]


def _real(array: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(array) and np.max(np.abs(array.imag), initial=0.0) <= ALIKE:
        return array.real
    if np.iscomplexobj(array):
        raise TypeError("complex")
    return array


def _equal(found: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(
        a.shape == b.shape and bool(np.all(np.abs(a - b) <= ALIKE * np.max(np.abs(b), initial=0.0)))
        for a, b in zip(found, other, strict=True)
    )


def _read_only(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    copy = argument.copy()
    copy.flags.writeable = False
    return copy


def _counted(parts: list[np.ndarray]) -> str:
    return "one array" if len(parts) == 1 else f"a tuple of {len(parts)} arrays"
