"""All cases in all places: this package's own survey, and that of a peer."""

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from joblib import Parallel, cpu_count, delayed, parallel_config

from refwfm.validation.audit import quick_flags
from refwfm.validation.hostile import places
from refwfm.validation.hostile.adapters import Adapter, NotAskedError
from refwfm.validation.hostile.cases import Case, Given
from refwfm.validation.hostile.judge import NOT_ASKED, Verdict, judge
from refwfm.validation.hostile.questions import QUESTIONS

COMPILING = ("jax",)
"""Places that compile every operation for every shape: they take most of the time, and come first."""


class Column(NamedTuple):
    """A place and a dtype in which all cases are asked."""

    where: str
    dtype: str


def columns(backend: str | None, dtype: str | None, /) -> list[Column]:
    """Columns of a survey of this package: those of a backend and dtype, of all installed ones if left out.

    Raises
    ------
    ValueError
        If there is no such backend or dtype.
    """
    found = places.installed() if backend is None else places.find(backend)
    if dtype not in (None, *places.DTYPES):
        raise ValueError(f"unknown dtype {dtype!r}; choose float64 or float32")
    chosen = [Column(p.name, kind) for p in found for kind in p.dtypes if dtype in (None, kind)]
    if not chosen:
        raise ValueError(f"backend {backend!r} has no {dtype}")
    return chosen


def survey(
    cases: list[Case],
    chosen: list[Column],
    /,
    *,
    jobs: int | None = None,
    advance: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Ask this package all cases in all columns, in parallel processes where there are several columns."""
    if jobs is None:
        jobs = cpu_count() if len(cases) * len(chosen) > FEW else 1
    tasks = [
        (column, cases[start : start + BLOCK])
        for column in sorted(chosen, key=lambda column: column.where not in COMPILING)
        for start in range(0, len(cases), BLOCK)
    ]
    verdicts = []
    for part in _in_processes(tasks, jobs) if jobs > 1 else (ask_column(*task) for task in tasks):
        for verdict in part:
            verdicts.append(verdict)
            advance(verdict)
    where = {column: k for k, column in enumerate(chosen)}
    which = {case.id: k for k, case in enumerate(cases)}
    return sorted(verdicts, key=lambda v: (where[Column(v.where, v.dtype)], which[v.case]))


FEW = 300
"""Answers that take no longer than processes take to start."""

BLOCK = 50
"""Cases of one column that a process asks before it reports."""


def _in_processes(tasks: list[tuple[Column, list[Case]]], jobs: int) -> Iterator[list[Verdict]]:
    flags = quick_flags() if any(column.where in COMPILING for column, _ in tasks) else ""
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
            delayed(_in_process)(column, cases, flags) for column, cases in tasks
        )


def _in_process(column: Column, cases: list[Case], flags: str) -> list[Verdict]:
    if flags:
        os.environ.setdefault("XLA_FLAGS", flags)  # read when JAX starts
    return ask_column(column, cases)


def ask_column(column: Column, cases: list[Case], /) -> list[Verdict]:
    """Ask this package all cases in one place and dtype."""
    (place,) = places.find(column.where) if ":" in column.where else places.find(column.where)[:1]
    ours = importlib.import_module("refwfm.validation.hostile.adapters.ours")
    adapter = Adapter("refwfm", "", place.array, ours.QUESTIONS)
    return [ask(adapter, case, column, place.build, strict=True) for case in cases]


def ask_peer(
    adapter: Adapter, cases: list[Case], /, *, advance: Callable[[Verdict], None] = lambda verdict: None
) -> list[Verdict]:
    """Ask another library all cases that are questions to it too."""

    def build(given: Given, dtype: str) -> Any:
        if given.where != "here":
            raise LookupError("other libraries are asked on one device")
        name = given.dtype or dtype
        return adapter.array(given.values.astype(name), name)

    verdicts = []
    for dtype in adapter.dtypes:
        for case in cases:
            column = Column(adapter.name, dtype)
            here = ask(adapter, case, column, build, strict=False) if case.peers else not_asked(case, column)
            verdicts.append(here)
            advance(here)
    return verdicts


def ask(
    adapter: Adapter, case: Case, column: Column, build: Callable[[Given, str], Any], /, *, strict: bool
) -> Verdict:
    """Ask one case of one library in one place and dtype."""
    function = adapter.questions.get(case.asks)
    if function is None or column.dtype not in case.only:
        return not_asked(case, column)
    try:
        given = {
            name: build(value, column.dtype) if isinstance(value, Given) else value
            for name, value in case.given.items()
        }
    except LookupError:
        return not_asked(case, column)

    def answer() -> Any:
        found, judged = places.on_host(function(**given)), QUESTIONS[case.asks].judged
        return found if judged is None else judged(found, case.given)

    try:
        return Verdict(
            case.id, *column, *judge(case, answer, dtype=column.dtype, strict=strict, rtol=adapter.rtol)
        )
    except NotAskedError:
        return not_asked(case, column)


def not_asked(case: Case, column: Column, /) -> Verdict:
    """Verdict on a case that is no question there."""
    return Verdict(case.id, *column, NOT_ASKED)
