"""Options of a run, each declared once: type, default, help and bounds stand with the field of its class.

The constructor of a configuration checks them, and the command line and the reader of TOML files are made
from them, so that a new option is one line::

    sigma: float = option(0.1, "Standard deviation of barycentric noise.", low=0)
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, field
from types import NoneType
from typing import Any, NamedTuple

import numpy as np


class Option(NamedTuple):
    """What is known of one option.

    Attributes
    ----------
    name : str
    kind : type
        bool, int, float or str.
    optional : bool
        Whether it may be None.
    default : object
        ``dataclasses.MISSING`` where there is none.
    help : str
    panel : str
        Heading that it stands under in the help of the command: the ``PANEL`` of its class.
    choices : tuple of str
        Values it may have; any when empty.
    low, high, above, below : float
        Bounds: ``low <= value <= high`` and ``above < value < below``.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    help: str
    panel: str
    choices: tuple[str, ...]
    low: float
    high: float
    above: float
    below: float


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: Iterable[str] | Mapping[str, Any] = (),
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Any:
    """Field of a dataclass that is an option; see ``Option``.

    Equation: none. What a run is asked for.

    Parameters
    ----------
    default : object, optional
        An option without one has to be given.
    choices : iterable of str
        Usually the dictionary of functions that the names stand for.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return field(default=default, metadata={"help": help, "choices": tuple(choices), **bounds})


def options_of(kind: type, /) -> dict[str, Option]:
    """All options of a class, by name, in the order of its fields.

    Equation: none. What a run is asked for.

    A class that only changes a default keeps help and bounds of the class that declared the option.
    """
    hints = typing.get_type_hints(kind)
    return {each.name: _described(each, hints[each.name], kind) for each in dataclasses.fields(kind)}


def _described(given: dataclasses.Field[Any], hint: Any, kind: type) -> Option:
    declared = [base for base in kind.__mro__ if _declares(base, given.name)]
    if not declared:
        raise TypeError(f"{kind.__name__}.{given.name} is no option: declare it with option(...)")
    kinds = typing.get_args(hint) or (hint,)
    return Option(
        name=given.name,
        kind=next(each for each in kinds if each is not NoneType),
        optional=NoneType in kinds,
        default=given.default,
        panel=getattr(declared[0], "PANEL", ""),
        **declared[0].__dataclass_fields__[given.name].metadata,  # type: ignore[attr-defined]
    )


def _declares(kind: type, name: str) -> bool:
    """Whether a class says itself what an option is, more than a new default."""
    fields = getattr(kind, "__dataclass_fields__", {})
    return name in vars(kind).get("__annotations__", {}) and bool(name in fields and fields[name].metadata)


def nearest(name: str, known: Iterable[str], /, *, listed: str) -> str:
    """What to say of a name that is none of many: those that look like it, and what lists them all.

    Equation: none. What a run is asked for.

    Examples
    --------
    >>> nearest("citys", ["cities", "fours"], listed="refwfm data list")
    'did you mean cities? refwfm data list lists all 2'
    """
    known = list(known)
    alike = difflib.get_close_matches(name, known)
    question = f"did you mean {' or '.join(alike)}? " if alike else ""
    return f"{question}{listed} lists all {len(known)}"


def check_options(values: Any, /) -> None:
    """Raise ``ValueError`` unless each option of an instance has its type, is a choice and within bounds.

    Numbers of NumPy are replaced by Python's.
    """
    for each in options_of(type(values)).values():
        object.__setattr__(values, each.name, check_option(each, getattr(values, each.name)))


def check_option(each: Option, value: Any, /) -> Any:
    """Raise ``ValueError`` unless an option can have this value: names it, what came, what was expected.

    Returns the value, as Python's number if it is one of NumPy.
    """
    if value is None and each.optional:
        return None
    value = check_type(each, value)
    if each.choices and value not in each.choices:
        raise ValueError(f"{each.name} must be one of {', '.join(each.choices)}; got {value!r}")
    if each.kind in (int, float) and not _within(each, value):
        raise ValueError(f"{each.name} must be {_bounds_in_words(each)}; got {value!r}")
    return value


def check_type(each: Option, value: Any, /) -> Any:
    """Raise ``ValueError`` unless a value is of an option's type; integers are numbers, too.

    Returns the value, as Python's number if it is one of NumPy.
    """
    value = value.item() if isinstance(value, np.generic) else value
    allowed: Any = int | float if each.kind is float else each.kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and each.kind is not bool):
        raise ValueError(f"{each.name} must be of type {each.kind.__name__}; got {value!r}")
    return value


def _within(each: Option, value: float) -> bool:
    return each.low <= value <= each.high and each.above < value < each.below


def _bounds_in_words(each: Option) -> str:
    words = ["finite"] if each.kind is float else []
    if each.low > -math.inf:
        words.append("not negative" if each.low == 0 else f"at least {each.low:g}")
    if each.above > -math.inf:
        words.append("positive" if each.above == 0 else f"greater than {each.above:g}")
    if each.high < math.inf:
        words.append(f"at most {each.high:g}")
    if each.below < math.inf:
        words.append(f"less than {each.below:g}")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
