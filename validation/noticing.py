"""Who notices a mutant: the checks of the audit, or tests; and which of them call the function at all.

The functions here run in processes of their own (``forks``): they exchange code and never put it back.
"""

import ast
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import refwfm
from refwfm import backends
from refwfm.validation import ledger
from refwfm.validation.audit import exporting
from refwfm.validation.check import run_check
from refwfm.validation.mutants import Mutant

SECONDS = 5.0
"""Processor time beyond ten times as much as before, after which a check is taken for failed."""

HANGS = 600.0
"""Seconds after which it is, whatever it waits for."""

MEMORY = 8 << 30
"""Bytes that a process may have: a broken formula may ask for any number."""

TIMES_UP = (signal.SIGPROF, signal.SIGALRM)
TESTS = Path(refwfm.__file__).parents[1] / "tests"


class Watched(NamedTuple):
    """A check (an item's id and an oracle) or a test (a file and a name in it), and what it calls.

    ``seconds`` are of the processor.
    """

    name: str
    part: str
    seconds: float
    functions: list[str]

    def __str__(self) -> str:
        """Name for people."""
        return f"{self.name}: {self.part}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def order(mutant: Mutant, watched: list[Watched]) -> list[Watched]:
    """Those that call the mutant's function: those of its own items first, then the fastest."""
    name = f"{mutant.module}.{mutant.function}"
    own = {id for id, item in ledger.by_id().items() if mutant.target in item.functions}
    return sorted(
        (each for each in watched if name in each.functions),
        key=lambda each: (each.name not in own, each.seconds),
    )


def death(code: int) -> str:
    """What an exit code says of a process that returned nothing."""
    return "its time" if -code in TIMES_UP else f"the process's end ({code})"


@contextmanager
def calls() -> Iterator[set[str]]:
    """Names of the package's functions that are called meanwhile."""
    found: set[str] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("refwfm."):
                found.add(f"{module.removeprefix('refwfm.')}.{frame.f_code.co_qualname}")

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _limit(seconds: float) -> None:
    """End this process after a time, whatever it does then."""
    for each in TIMES_UP:
        signal.signal(each, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, SECONDS + 10.0 * seconds)
    signal.setitimer(signal.ITIMER_REAL, HANGS)


def _break(mutant: Mutant) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    mutant.target.__code__ = mutant.code


# Checks


def watch_checks(ids: list[str]) -> list[Watched]:
    """Run the checks of items, and return those that pass, with what they call."""
    backend, items, found = backends.load("numpy", dtype="float64"), ledger.by_id(), []
    for id in ids:
        for check in items[id].checks:
            start = time.process_time()
            with calls() as functions:
                result = run_check(check, id, backend, controls=False)
            if result.ok:
                found.append(Watched(id, check.oracle, time.process_time() - start, sorted(functions)))
    return found


def by_checks(task: tuple[Mutant, list[Watched]]) -> tuple[str | None, float]:
    """Return the first check that fails with a mutant in place, None if all pass, and processor seconds."""
    mutant, watched = task
    backend, items = backends.load("numpy", dtype="float64"), ledger.by_id()
    checks = {(id, each.oracle): each for id, item in items.items() for each in item.checks}
    warnings.simplefilter("ignore")
    _break(mutant)
    start = time.process_time()
    for each in watched:
        _limit(each.seconds)
        if not run_check(checks[each.name, each.part], each.name, backend, controls=False).ok:
            return str(each), time.process_time() - start
    return None, time.process_time() - start


# Tests


def files_of(module: str) -> list[Path]:
    """Files of tests that import a module, or its users where none does, and the examples of docstrings.

    The tests of the audit are left out: they run its checks.
    """
    found = _files_with(module)
    if not found:
        root = Path(refwfm.__file__).parent
        users = [path for path in root.rglob("*.py") if f"refwfm.{module}" in _imports(path)]
        names = (".".join(path.relative_to(root).with_suffix("").parts) for path in users)
        found = sorted({file for name in names for file in _files_with(name)})
    return [*found, TESTS / "test_examples.py"]


def _files_with(module: str) -> list[Path]:
    names = {f"refwfm.{name}" for name in (module, exporting(module))}
    files = (path for path in sorted(TESTS.glob("test_*.py")) if path.stem != "test_audit")
    return [path for path in files if names & _imports(path)]


@cache
def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


class Watcher:
    """A plugin of pytest: notes what each test calls, and which failed."""

    def __init__(self) -> None:
        self.found: dict[str, Watched] = {}
        self.failed: list[str] = []

    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Any:
        """Watch a whole test, its fixtures included."""
        from _pytest.runner import runtestprotocol

        start = time.process_time()
        with calls() as functions:
            runtestprotocol(item, nextitem=nextitem)
        file, _, name = item.nodeid.partition("::")
        seconds = time.process_time() - start
        self.found[item.nodeid] = Watched(Path(file).name, name, seconds, sorted(functions))
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure."""
        if report.failed:
            self.failed.append(report.nodeid)


class Failures:
    """A plugin of pytest: notes what failed, collecting included."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test."""
        if report.failed:
            self.names.append(report.nodeid)

    pytest_collectreport = pytest_runtest_logreport


def _pytest(arguments: list[str], plugin: Any) -> int:
    """Run pytest here, on NumPy, in silence, without looking for the smallest example that fails."""
    import pytest
    from hypothesis import Phase, settings

    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", derandomize=True, deadline=None, max_examples=25, phases=phases)
    os.environ["REFWFM_TEST_XP"] = "numpy"
    os.chdir(TESTS.parent)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    early = "ignore::pytest.PytestAssertRewriteWarning"  # of hypothesis, which is here before pytest runs
    return int(pytest.main([*options, "-W", early, *arguments], plugins=[plugin]))


def watch_tests(path: Path) -> list[Watched]:
    """Run the tests of a file, and return those that pass, with what they call."""
    watcher = Watcher()
    code = _pytest([str(path)], watcher)
    if code > 1:  # 1: some fail
        raise RuntimeError(f"pytest cannot run {path}: exit code {code}")
    return [each for name, each in watcher.found.items() if name not in watcher.failed]


def by_tests(task: tuple[Mutant, list[Watched]]) -> tuple[str | None, float]:
    """Return the first test that fails with a mutant in place, None if all pass, and processor seconds."""
    mutant, watched = task
    if not watched:
        return None, 0.0
    _break(mutant)
    failures = Failures()
    start = time.process_time()
    _limit(sum(each.seconds for each in watched))
    code = _pytest(["-x", *(f"{TESTS / each.name}::{each.part}" for each in watched)], failures)
    by = failures.names[0].rpartition("/")[2] if failures.names else f"pytest's exit code {code}"
    return by if code else None, time.process_time() - start
