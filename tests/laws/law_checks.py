"""The laws: for each, which functions it is about, and the assertion."""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import law_actions as actions
import numpy as np
from law_kinds import Kind, kinds_in, letters, zip_map
from law_record import Record, agree, has, numpy_array, strict_array, unit, values_of

MEMBERS, POINTS, INDEPENDENT = "bqrijk", "nml", "bqr"

EXPONENTS = {"float64": (-498, 493), "float32": (-50, 50)}
"""Powers of two near 1e±150 and 1e±15: squares are far from overflow, but their products are not."""

FAR = {"float64": 2.0**30, "float32": 2.0**13}
"""Beyond the root of one over machine epsilon: in units of its square, one has no digits."""

SHIFT = {"float64": 2.0**20, "float32": 2.0**10}
"""A shift that leaves coordinates all their digits, and squares about the origin hardly any."""


@dataclass
class Run:
    """A function, its arguments, where to compute, and a generator for what a law chooses."""

    entry: Record
    arguments: dict[str, Any]
    dtype: str
    rng: np.random.Generator
    library: str = "numpy"

    @property
    def eps(self) -> float:
        return float(np.finfo(self.dtype).eps)

    @cached_property
    def before(self) -> Any:
        """Results for the arguments as they are."""
        return self.values(self.arguments)

    def numbers(self, arguments: dict[str, Any]) -> np.ndarray:
        """Results that are one array, where an error is none of the possible answers."""
        found = self.values(arguments)
        assert not isinstance(found, type), f"raised {found}"
        return found

    def values(self, arguments: dict[str, Any]) -> Any:
        array = strict_array if self.library == "array_api_strict" else numpy_array
        return values_of(self.entry, arguments, array(self.dtype))

    def act(self, action: actions.Action, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        return zip_map(action, self.entry.inputs, self.arguments if arguments is None else arguments)

    def length(self, letter: str) -> int:
        sizes: list[int] = []

        def look(kind: Kind, value: np.ndarray) -> np.ndarray:
            sizes.extend(value.shape[axis] for axis in actions.along(kind, letter))
            return value

        self.act(look)
        return sizes[0]

    def commutes(
        self,
        inside: actions.Action,
        outside: actions.Action,
        after: actions.Action = lambda kind, value: value,
        *,
        factor: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        """Assert that ``after(f(inside(x)))`` is ``outside(f(x))``, in data ``factor`` as large."""
        output = self.entry.output
        before, changed = self.before, self.values(self.act(inside))
        expected = before if isinstance(before, type) else zip_map(outside, output, before)
        actual = changed if isinstance(changed, type) else zip_map(after, output, changed)
        size = factor * unit(self.entry, self.arguments)
        agree(self.entry, actual, expected, eps=self.eps, size=size, shift=shift)


def scale(run: Run) -> None:
    for exponent in EXPONENTS[run.dtype]:
        action = actions.scaled(2.0**exponent)
        run.commutes(action, action, factor=2.0**exponent)


def shift(run: Run) -> None:
    size = SHIFT[run.dtype]
    action = actions.shifted(size * run.rng.choice([-1.0, 1.0, 0.5], 8))
    run.commutes(action, action, shift=size)


def rotation(run: Run) -> None:
    d = run.length("d")
    action = actions.rotated(np.linalg.qr(run.rng.standard_normal((d, d)))[0])
    run.commutes(action, action)


def permutation(run: Run) -> None:
    moved = sorted(letters(run.entry.inputs) & set(MEMBERS + POINTS))
    action = actions.permuted({letter: run.rng.permutation(run.length(letter)) for letter in moved})
    run.commutes(action, action)


def weighed(entry: Record, *sorts: str) -> list[str]:
    """Axes of points whose weights are an argument."""
    found = {letter for kind in kinds_in(entry.inputs) if kind.sort in sorts for letter in kind.axes[-1:]}
    found |= {letter for kind in kinds_in(entry.inputs) if kind.sort in sorts for letter in kind.adds}
    return sorted(found)


def padding(run: Run) -> None:
    for letter in weighed(run.entry, "weights", "plan", "mask"):
        drop = actions.without_last(letter, run.length(letter))
        run.commutes(actions.padding(letter), lambda kind, value: value, drop)


def splitting(run: Run) -> None:
    for letter in weighed(run.entry, "weights", "plan"):
        run.commutes(actions.split(letter), actions.repeated(letter), actions.merged(letter))


def far(run: Run) -> None:
    for letter in sorted(letters(run.entry.inputs) & set(INDEPENDENT)):
        drop = actions.without_last(letter, run.length(letter))
        run.commutes(actions.far(letter, FAR[run.dtype]), lambda kind, value: value, drop)


def nan(run: Run) -> None:
    """NaN in one member: an error, or NaN for this member and the same as before for the others.

    Where members make one result of a family, it has NaN in it, or is an error.
    """
    for letter in touched(run.entry):
        # Axes of one length grow together.
        group = next((each for each in run.entry.same if letter in each), letter)
        arguments = run.arguments
        for axis in group:
            arguments = run.act(actions.spoiled(axis), arguments)
        found = unless_refused(run, arguments)
        if found is None:
            continue
        if letter not in INDEPENDENT:
            assert any(np.any(np.isnan(value)) for _, value in floats(run.entry, found)), f"a number: {found}"
            continue
        others = zip_map(actions.without_last(letter, run.length(letter)), run.entry.output, found)
        agree(run.entry, others, run.before, eps=run.eps, size=unit(run.entry, run.arguments))
        beside = {axis for kind in kinds_in(run.entry.inputs) if letter in kind.axes for axis in kind.axes}
        last = [
            pair for kind, value in floats(run.entry, found) for pair in last_of(letter, beside, kind, value)
        ]
        assert any(np.all(bad) for _, bad in last), f"a number for a member that is NaN: {found}"
        assert all(np.all(bad) for kind, bad in last if kind.degree), f"a number: {found}"


def unless_refused(run: Run, arguments: dict[str, Any]) -> Any:
    """Results for arguments with NaN, or None where an error speaks of it."""
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            found = run.values(arguments)
    except ValueError as error:
        if not re.search("finite|nan", str(error), re.IGNORECASE):
            raise
        return None
    return None if isinstance(found, type) else found


def touched(entry: Record) -> list[str]:
    """Axes of members that have data."""
    return sorted(
        {a for kind in kinds_in(entry.inputs) if actions.is_data(kind) for a in kind.axes} & set(MEMBERS)
    )


def floats(entry: Record, results: Any) -> list[tuple[Kind, np.ndarray]]:
    """Results of floating point, with their kinds."""
    found: list[tuple[Kind, np.ndarray]] = []

    def look(kind: Kind, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind == "f":
            found.append((kind, value))
        return value

    zip_map(look, entry.output, results)
    return found


def last_of(
    letter: str, beside: set[str], kind: Kind, value: np.ndarray
) -> Iterator[tuple[Kind, np.ndarray]]:
    """Whether NaN is among the last member's numbers, for each member of axes that are not beside it."""
    for axis in actions.along(kind, letter)[:1]:
        bad = np.take(np.isnan(value), -1, axis=axis)
        axes = kind.axes[:axis] + kind.axes[axis + 1 :]
        whole = tuple(k for k, name in enumerate(axes) if name in beside or name not in INDEPENDENT)
        yield kind, np.any(bad, axis=whole)


def outlier(run: Run) -> None:
    """A quarter of the mass of both goes to the same far point: it stays there, the rest as before.

    Weights are multiples of a power of two: if those of the two clouds summed to 1 only up to rounding, that
    much mass would have to go all the way.
    """

    def exact(kind: Kind, value: np.ndarray) -> np.ndarray:
        if kind.sort != "weights":
            return value
        value = np.floor(64 * value) / 64
        value[..., 0] += 1 - np.sum(value, axis=-1)
        return value

    def inside(kind: Kind, value: np.ndarray) -> np.ndarray:
        axis = value.ndim - (1 if kind.sort == "weights" else 2)
        if kind.sort not in ("weights", "points"):
            return value
        shape = [1 if k == axis else length for k, length in enumerate(value.shape)]
        if kind.sort == "weights":
            return np.concatenate([0.75 * value, np.full(shape, 0.25)], axis=axis)
        return np.concatenate([value, np.full(shape, FAR[run.dtype])], axis=axis)

    run = replace(run, arguments=run.act(exact))
    run.commutes(inside, lambda kind, value: 0.75 * value)


def exchanged(run: Run) -> dict[str, Any]:
    first, second = run.entry.swap.split()
    given = dict(run.arguments)
    given[first], given[second] = given[second], given[first]
    return given


def symmetry(run: Run) -> None:
    """With time among the arguments this is its reversal."""
    entry = run.entry
    before, after = run.before, run.values(run.act(actions.reversed_time, exchanged(run)))
    expected = (
        before if isinstance(before, type) else zip_map(actions.mirrored(entry.pair), entry.output, before)
    )
    agree(entry, after, expected, eps=run.eps, size=unit(entry, run.arguments))


def identity(run: Run) -> None:
    """The distance of a thing from itself is zero."""
    first, second = run.entry.swap.split()
    values = run.numbers(run.arguments | {second: run.arguments[first]})
    values = np.einsum("ii->i", values) if values.ndim == 2 else values
    size = unit(run.entry, run.arguments)
    kind = run.entry.output
    agree(run.entry, values, np.zeros_like(values), eps=run.eps, size=size)
    assert kind.degree


def triangle(run: Run) -> None:
    """No way from x to y is shorter by z, an affine image of y."""
    entry = run.entry
    first, second = entry.swap.split()

    def image(kind: Kind, value: np.ndarray) -> np.ndarray:
        return 1 - 0.5 * value if kind.affine else value * 0.5**kind.degree

    y = run.arguments[second]
    z = zip_map(image, entry.inputs[second], y)
    x_y, x_z, z_y = (
        np.maximum(run.numbers(run.arguments | ends), 0.0) ** (1 / entry.metric)
        for ends in ({}, {second: z}, {first: z})
    )
    detour = np.min(x_z[:, :, None] + z_y[None, :, :], axis=1) if x_y.ndim == 2 else x_z + z_y
    size = unit(entry, run.arguments)
    rounding = (entry.ulps * run.eps) ** (1 / entry.metric) * size
    assert np.all(x_y <= detour + rounding), f"{x_y} is longer than {detour}"


class Law(NamedTuple):
    check: Callable[[Run], None]
    applies: Callable[[Record], bool]
    once: bool = False
    """Whether one example in one dtype says it all."""


LAWS = {
    "scale": Law(scale, lambda entry: has(entry, lambda kind: kind.degree != 0)),
    "shift": Law(shift, lambda entry: has(entry, lambda kind: kind.affine)),
    "rotation": Law(rotation, lambda entry: "d" in letters(entry.inputs)),
    "permutation": Law(permutation, lambda entry: bool(letters(entry.inputs) & set(MEMBERS + POINTS))),
    "padding": Law(padding, lambda entry: bool(weighed(entry, "weights", "plan", "mask"))),
    "splitting": Law(splitting, lambda entry: bool(weighed(entry, "weights", "plan"))),
    "far": Law(far, lambda entry: bool(letters(entry.inputs) & set(INDEPENDENT))),
    "nan": Law(nan, lambda entry: bool(touched(entry)), once=True),
    "outlier": Law(outlier, lambda entry: entry.outlier),
    "symmetry": Law(symmetry, lambda entry: bool(entry.swap)),
    "identity": Law(identity, lambda entry: entry.metric > 0),
    "triangle": Law(triangle, lambda entry: entry.metric > 0),
}


def applies(law: str, entry: Record) -> bool:
    return law not in entry.without.split() and LAWS[law].applies(entry)
