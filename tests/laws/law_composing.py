"""Two ways that lead to the same thing, as records whose call returns both."""

from collections.abc import Callable
from typing import Any

from law_record import Record

COMPOSITIONS: list[Record] = []

COVERED: set[str] = set()
"""Functions that appear in them."""


def composition(name: str, inputs: dict[str, Any], output: Any, covers: tuple[Any, ...] = (), **traits: Any):
    """Enter a function of the inputs that returns what must be the same, in two ways."""

    def enter(both: Callable[..., Any]) -> None:
        COMPOSITIONS.append(Record(name, both, inputs, (output, output), **traits))
        COVERED.update(f"{f.__module__.removeprefix('refwfm.')}.{f.__name__}" for f in covers)

    return enter
