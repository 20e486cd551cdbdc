"""What is done to data, on arrays of every kind: the same on arguments and on results is a law.

An action takes a kind and a value (arguments), or also what came out (results), where points were added.
"""

from collections.abc import Callable

import numpy as np
from law_kinds import Kind

Action = Callable[[Kind, np.ndarray], np.ndarray]


def along(kind: Kind, letter: str) -> list[int]:
    return [axis for axis, name in enumerate(kind.axes) if name == letter]


def scaled(factor: float) -> Action:
    """Data in another unit. A power of two, so that nothing is rounded."""
    return lambda kind, value: value * factor**kind.degree if kind.degree else value


def shifted(shift: np.ndarray) -> Action:
    """Data seen from another origin; ``shift`` (d,) has more entries than are needed."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        if not kind.affine:
            return value
        return value + (shift[: value.shape[-1]] if kind.axes[-1] in "dc" else shift[0])

    return act


def permuted(orders: dict[str, np.ndarray]) -> Action:
    """Points or members in another order."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for letter, order in orders.items():
            for axis in along(kind, letter):
                value = np.take(value, order, axis=axis)
            if kind.points_at == letter:
                value = np.argsort(order)[value]
        return value

    return act


def rotated(rotation: np.ndarray) -> Action:
    """Data in other orthonormal coordinates."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, "d"):
            value = np.moveaxis(np.tensordot(rotation, value, axes=(1, axis)), 0, axis)
        return value

    return act


def appended(letter: str, new: Callable[[Kind, np.ndarray], np.ndarray]) -> Action:
    """One more element, ``new(kind, first one)``, along an axis."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, letter):
            extra = new(kind, np.take(value, [0], axis=axis))
            value = np.concatenate([value, extra.astype(value.dtype)], axis=axis)
        return value

    return act


def padding(letter: str) -> Action:
    """One more point that weighs nothing; what it is has no meaning."""

    def new(kind: Kind, first: np.ndarray) -> np.ndarray:
        if letter in kind.adds or kind.sort in ("mask", "cleared"):
            return np.zeros_like(first)
        return first + 50 if kind.sort in ("points", "cost", "values") else first

    return appended(letter, new)


def far(letter: str, distance: float) -> Action:
    """One more member, far away or large."""

    def new(kind: Kind, first: np.ndarray) -> np.ndarray:
        if kind.affine:
            return first + distance
        return first * distance ** (kind.degree or kind.sort in ("values", "symmetric"))

    return appended(letter, new)


def is_data(kind: Kind) -> bool:
    """Whether values are measured, rather than how much they count, when, or where they stand."""
    return kind.degree != 0 or kind.sort in ("values", "symmetric", "cost", "points", "cleared")


def spoiled(letter: str) -> Action:
    """One more member, whose first number is NaN in each array of data."""

    def new(kind: Kind, first: np.ndarray) -> np.ndarray:
        if is_data(kind):
            first = first.copy()
            first[(0,) * first.ndim] = np.nan
        return first

    return appended(letter, new)


def without_last(letter: str, length: int) -> Action:
    """What is left when results for added elements are dropped."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, letter):
            value = np.take(value, np.arange(length), axis=axis)
        return value

    return act


def split(letter: str) -> Action:
    """The first point in two at the same place, with a quarter and three quarters of its weight."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, letter):
            first = np.take(value, [0], axis=axis)
            rest = np.take(value, np.arange(1, value.shape[axis]), axis=axis)
            share = 0.25 if letter in kind.adds else 1
            value = np.concatenate([share * first, rest, (1 - share or 1) * first], axis=axis)
        return value.astype(bool) if kind.sort == "mask" else value

    return act


def repeated(letter: str) -> Action:
    """What a function of split points must return, once halves are merged: the same for both halves."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, letter):
            if letter not in kind.adds:
                value = np.concatenate([value, np.take(value, [0], axis=axis)], axis=axis)
        return value

    return act


def merged(letter: str) -> Action:
    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        for axis in along(kind, letter):
            if letter in kind.adds:
                first, last = np.take(value, [0], axis=axis), np.take(value, [-1], axis=axis)
                middle = np.take(value, np.arange(1, value.shape[axis] - 1), axis=axis)
                value = np.concatenate([first + last, middle], axis=axis)
        return value

    return act


def reversed_time(kind: Kind, value: np.ndarray) -> np.ndarray:
    return 1 - value if kind.sort == "time" else value


def mirrored(pair: str) -> Action:
    """Results with the roles of two axes exchanged, as time runs backwards."""

    def act(kind: Kind, value: np.ndarray) -> np.ndarray:
        if set(pair) <= set(kind.axes):
            value = np.swapaxes(value, kind.axes.index(pair[0]), kind.axes.index(pair[1]))
        return -value if kind.odd else value

    return act
