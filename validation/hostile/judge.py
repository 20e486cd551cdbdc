"""The verdict on one answer."""

import builtins
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from refwfm import evidence, measures
from refwfm.validation.hostile.adapters import NotAskedError
from refwfm.validation.hostile.cases import Case
from refwfm.validation.hostile.questions import QUESTIONS

RIGHT, ERROR, WARNED, WRONG, NOT_ASKED = "right", "clear error", "warned", "silently wrong", "not asked"
UNCHECKED = "unchecked"
"""A number of another library, without a message, for arguments that have no right answer, such as an eps
below 0: its documentation says what it takes, and does not promise to look."""
GOOD = (RIGHT, ERROR, NOT_ASKED)
"""What keeps the promise that no wrong number comes without a message, of a library that wants to keep it."""


NOTHING: Mapping[str, float] = MappingProxyType({})


class Verdict(NamedTuple):
    """What came of a case in one place, in one dtype.

    Attributes
    ----------
    case : str
    where, dtype : str
    verdict : str
        "right", "clear error", "warned", "silently wrong", "unchecked", or "not asked": there is no such
        question here.
    came : str
        The answer or the error, in short, where it is not good.
    """

    case: str
    where: str
    dtype: str
    verdict: str
    came: str = ""


def judge(
    case: Case, answer: Callable[[], Any], /, *, dtype: str, strict: bool, rtol: float = 0.0
) -> tuple[str, str]:
    """Ask, and say what the answer is worth and what came.

    Parameters
    ----------
    case : Case
    answer : callable
        ``answer()``: host values, or an exception.
    dtype : str
    strict : bool
        For this package: an error counts only if it is of a kind that the case allows and its message has the
        words that it must name. Elsewhere every exception is a message that nobody overlooks.
    rtol : float
        Granted to a library that promises no more than that.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            came = answer()
        except NotAskedError:
            raise
        except Exception as error:  # whatever a library raises is the result
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if not strict or _clear(error, case):
                return ERROR, said
            return WRONG, f"raised {said}"
    granted = {} if strict else {**case.granted, "rtol": max(rtol, case.granted.get("rtol", 0.0))}
    if case.right is not None and matches(case, came, dtype, granted):
        return RIGHT, short(came)
    if not strict and _is_nan(came):
        return ERROR, short(came)  # NaN is no number, and says so
    if caught and not strict:
        return WARNED, f"{short(came)} ({' '.join(str(caught[0].message).split())})"
    return WRONG if strict or case.right is not None else UNCHECKED, short(came)


def matches(case: Case, came: Any, dtype: str, granted: Mapping[str, float] = NOTHING, /) -> bool:
    """Whether an answer is the right one: NaN where NaN is, infinities alike, numbers within tolerance.

    ``granted`` may hold an ``rtol`` and an ``atol`` that are accepted too.
    """
    question = QUESTIONS[case.asks]
    wanted = np.asarray(case.right, dtype=np.float64)
    try:
        found = np.asarray(came, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    if found.shape != wanted.shape:
        return False
    rtol = max(granted.get("rtol", 0.0), case.rtol.get(dtype, question.rtol[dtype]))
    atol = max(granted.get("atol", 0.0), case.atol.get(dtype, question.atol[dtype]))
    return bool(np.all(np.isclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True)))


def short(came: Any, /) -> str:
    """An answer in one line."""
    text = " ".join(np.array2string(np.asarray(came), precision=9, threshold=12, edgeitems=3).split())
    return text if len(text) <= 160 else f"{text[:160]}..."


def _is_nan(came: Any) -> bool:
    try:
        return bool(np.all(np.isnan(np.asarray(came, dtype=np.float64))))
    except (TypeError, ValueError):
        return False


def _clear(error: Exception, case: Case) -> bool:
    kinds = tuple(_kind(name) for name in case.error)
    return isinstance(error, kinds) and all(word in str(error) for word in case.names)


def _kind(name: str) -> type[Exception]:
    for module in (builtins, evidence, measures):
        if hasattr(module, name):
            return getattr(module, name)
    raise ValueError(f"there is no error {name!r}")
