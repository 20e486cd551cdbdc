"""The cases, read from the TOML files of ``corpus/``: what is asked, with what, and what is right.

A number, a word or a switch in ``given`` is passed as it is. A list is an array of the dtype of the run. A
table is a value that needs more words:

=========================================  ==============================================================
``{array = [[1, 0]], dtype = "int64"}``    an array of another dtype
``{linspace = [0.0, 1.0, 5000]}``          numbers at equal steps
``{normal = [100, 2], seed = 0}``          standard normal numbers of this shape
``{full = [2, 2], value = 1.0}``           one value
``{diag = [1.0, 4.0]}``                    a diagonal matrix
``{list = [[1.0]]}``, ``{none = true}``    a plain list, None: no arrays
``{scalar = 4, dtype = "int64"}``          a number of NumPy's
=========================================  ==============================================================

and an array takes more keys, applied in this order: ``times``, ``plus`` (numbers), ``shape``, ``append``
(rows at the end), ``put`` (a table from an index such as "0,1" to a value), ``where`` (on the "other" device,
or on the "host" as NumPy's).
"""

import math
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

FIELDS = {"id", "asks", "given", "right", "error", "names", "why", "rtol", "atol", "granted", "only", "peers"}
DTYPES = ("float64", "float32")


class Given(NamedTuple):
    """An array of a case, before it has a library.

    Attributes
    ----------
    values : numpy.ndarray
    dtype : str, optional
        None: that of the run.
    where : str
        "here", on the "other" device, or on the "host".
    """

    values: np.ndarray
    dtype: str | None
    where: str


class Case(NamedTuple):
    """One hostile input.

    Attributes
    ----------
    id, kind : str
        ``kind`` is the file that it stands in.
    asks : str
        A key of ``questions.QUESTIONS``.
    given : dict
        The question's arguments; arrays are ``Given``.
    right : numpy.ndarray, optional
        The right answer, if there is one: ``nan`` where NaN is right, ``inf`` where the number is too large.
    error : tuple of str
        Names of the exceptions that are right too, or alone.
    names : tuple of str
        Words that an error of this package must have in its message.
    why : str
    rtol, atol : dict
        Tolerances by dtype, where those of the question do not do: what a correct computation needs.
    granted : dict
        More generous ``rtol`` and ``atol`` that other libraries are granted.
    only : tuple of str
        Dtypes in which there is a question: what float32 cannot hold is not asked in it.
    peers : bool
        Whether it is a question to other libraries too, and not one of a convention of ours.
    """

    id: str
    kind: str
    asks: str
    given: dict[str, Any]
    right: np.ndarray | None
    error: tuple[str, ...]
    names: tuple[str, ...]
    why: str
    rtol: dict[str, float]
    atol: dict[str, float]
    granted: dict[str, float]
    only: tuple[str, ...]
    peers: bool


def load() -> list[Case]:
    """All cases, by kind in alphabetical order.

    Raises
    ------
    ValueError
        If a case has a field that there is not, or lacks one: names the file and the case.
    """
    folder = resources.files("refwfm.validation.hostile") / "corpus"
    files = sorted((each for each in folder.iterdir() if each.name.endswith(".toml")), key=lambda f: f.name)
    return [case for file in files for case in read(file.read_text("utf-8"), file.name.removesuffix(".toml"))]


def read(text: str, kind: str, /) -> list[Case]:
    """Cases of one file."""
    return [_case(table, kind) for table in tomllib.loads(text)["case"]]


def choose(cases: list[Case], only: list[str], /) -> list[Case]:
    """Cases with one of these ids, or of these kinds; without any, all.

    Raises
    ------
    ValueError
        If there is no such case.
    """
    known = {name for case in cases for name in (case.id, case.kind)}
    if unknown := [name for name in only if name not in known]:
        kinds = ", ".join(sorted({case.kind for case in cases}))
        raise ValueError(f"no case and no kind is called {unknown[0]!r}; the kinds are {kinds}")
    return [case for case in cases if not only or case.id in only or case.kind in only]


def _case(table: dict[str, Any], kind: str) -> Case:
    where = f"{kind}.toml, case {table.get('id')!r}"
    if unknown := set(table) - FIELDS:
        raise ValueError(f"{where}: there is no field {', '.join(sorted(unknown))}")
    if missing := {"id", "asks", "why"} - set(table):
        raise ValueError(f"{where}: the field {', '.join(sorted(missing))} is missing")
    if "right" not in table and "error" not in table:
        raise ValueError(f"{where}: neither an answer nor an error is said to be right")
    right = value(table["right"]) if "right" in table else None
    return Case(
        id=table["id"],
        kind=kind,
        asks=table["asks"],
        given={name: value(each) for name, each in table.get("given", {}).items()},
        right=None if right is None else np.asarray(right.values if isinstance(right, Given) else right),
        error=tuple(table.get("error", ())),
        names=tuple(table.get("names", ())),
        why=table["why"],
        rtol=table.get("rtol", {}),
        atol=table.get("atol", {}),
        granted=table.get("granted", {}),
        only=tuple(table.get("only", DTYPES)),
        peers=table.get("peers", True),
    )


def value(written: Any, /) -> Any:
    """What a value of a TOML file means (see the top of this module)."""
    if isinstance(written, list):
        return Given(np.asarray(written, dtype=np.float64), None, "here")
    if not isinstance(written, dict):
        return written
    if "list" in written or "none" in written:
        return written.get("list")
    if "scalar" in written:
        return np.dtype(written["dtype"]).type(written["scalar"])
    (maker,) = set(MAKERS) & set(written)
    array = MAKERS[maker](written[maker], written) * written.get("times", 1) + written.get("plus", 0)
    array = array.reshape(written.get("shape", array.shape))
    if "append" in written:
        array = np.concatenate([array, np.asarray(written["append"], dtype=array.dtype)])
    for index, number in written.get("put", {}).items():
        array[tuple(int(i) for i in index.split(","))] = number
    return Given(array, written.get("dtype"), written.get("where", "here"))


MAKERS: dict[str, Callable[[Any, dict[str, Any]], np.ndarray]] = {
    "array": lambda values, more: np.asarray(values, dtype=more.get("dtype", "float64")),
    "linspace": lambda ends, more: np.linspace(*ends[:2], ends[2]),
    "normal": lambda shape, more: np.random.default_rng(more["seed"]).standard_normal(shape),
    "full": lambda shape, more: np.full(shape, more.get("value", math.nan)),
    "diag": lambda values, more: np.diag(np.asarray(values, dtype=np.float64)),
}
