"""Does the audit notice a broken formula? Break each one in many small ways and see.

``python -m refwfm.validation.mutations`` changes one thing at a time in the functions of the mathematics (a
sign, a factor 2, an operation, a comparison, a root that is left out, two arguments exchanged) and runs the
checks of ``refwfm verify`` that call the changed function, those of its own formulas first, until one fails.
What none notices has survived and is printed; with ``--tests``, unless a test of its module notices it.

``mutations bures psd`` breaks these modules only. Outcomes are kept in a file as they come, and are not
asked for again: a stopped run resumes, and after an edit only changed functions are tried, and survivors
where the checks (or the tests) changed. Survivors that were looked at and change nothing are in
``equivalent.toml``, with the reason, and count apart; they are tried as well, for what is noticed is not
equivalent.

Each mutant lives in a forked process, which neither leaves anything behind nor holds up the others.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import refwfm
from refwfm.validation import ledger, noticing
from refwfm.validation.forks import in_forks
from refwfm.validation.mutants import Mutant, mutants

JUDGED = Path(__file__).with_name("equivalent.toml")
TOOL = ("mutations", "mutants", "noticing", "forks")


# What is known


class Results:
    """Outcomes in a file of JSON lines: the last one of a mutant counts."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # the line at which a run was stopped
                    self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        self.known[record["key"]] = record

    def add(self, **record: Any) -> dict[str, Any]:
        """Keep an outcome."""
        self._take(record)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        return record

    def of(self, key: str, **expected: Any) -> dict[str, Any] | None:
        """Return the outcome of a mutant if what it rests on has not changed."""
        record = self.known.get(key, {})
        return record if record and all(record.get(name) == each for name, each in expected.items()) else None


def judged() -> dict[str, tuple[str, str]]:
    """Mutants that are equivalent: of each key the hash of the function it was judged in, and the reason."""
    tables = tomllib.loads(JUDGED.read_text())
    return {
        f"{name}: {what}": (table["source"], reason)
        for name, table in tables.items()
        for what, reason in table["equivalent"].items()
    }


def _sources(*folders: Path) -> str:
    """Hash of the Python files of folders, those of this tool apart."""
    files = sorted(path for folder in folders for path in folder.rglob("*.py") if path.stem not in TOOL)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


# Trying


def calls_of_checks(results: Results, jobs: int) -> list[noticing.Watched]:
    """Which functions each check calls: measured, or known of these sources."""
    state = _sources(Path(refwfm.__file__).parent, Path(__file__).parent)
    record = results.of("calls of checks", state=state)
    if record is None:
        ids = list(ledger.by_id())
        shares = [ids[start::jobs] for start in range(jobs)]
        found = [each for _, part, _ in in_forks(noticing.watch_checks, shares, jobs) for each in part]
        record = results.add(key="calls of checks", state=state, checks=found)
    return [noticing.Watched(*each) for each in record["checks"]]


def calls_of_tests(results: Results, files: Iterable[Path], jobs: int) -> dict[Path, list[noticing.Watched]]:
    """Which functions each test of these files calls."""
    state = _sources(Path(refwfm.__file__).parent)
    records = {}
    for path in files:
        expected = {"state": state, "file": hashlib.sha256(path.read_bytes()).hexdigest()[:8]}
        record = results.of(f"calls of {path.name}", **expected)
        records[path] = record or {"key": f"calls of {path.name}", **expected}
    unknown = [path for path, record in records.items() if "tests" not in record]
    for path, watched, _ in in_forks(noticing.watch_tests, unknown, jobs):
        if watched is None:
            raise SystemExit(f"the tests of {path} do not run here")
        records[path] = results.add(**records[path], tests=watched)
    return {path: [noticing.Watched(*each) for each in record["tests"]] for path, record in records.items()}


def try_checks(found: list[Mutant], results: Results, jobs: int) -> Iterator[dict[str, Any]]:
    """Outcome of each mutant under ``verify``."""
    audit = _sources(Path(__file__).parent)
    records = [results.of(each.key, source=each.source) for each in found]
    todo = []
    for each, record in zip(found, records, strict=True):
        if record is not None and (record["by"] is not None or record["audit"] == audit):
            yield record
        else:
            todo.append(each)
    watched = calls_of_checks(results, jobs) if todo else []
    tasks = [(each, noticing.order(each, watched)) for each in todo]
    for count, ((each, _), outcome, code) in enumerate(in_forks(noticing.by_checks, tasks, jobs), 1):
        _progress(f"{count} of {len(tasks)} mutants")
        by, seconds = outcome or (noticing.death(code), 0.0)
        yield results.add(
            key=each.key,
            module=each.module,
            function=each.function,
            line=each.line,
            what=each.what,
            source=each.source,
            audit=audit,
            by=by,
            seconds=round(seconds, 3),
        )


def try_tests(survivors: list[Mutant], results: Results, jobs: int) -> Iterator[dict[str, Any]]:
    """Outcome of survivors under the tests of their modules."""
    import_module("hypothesis.extra.numpy")  # once, not in each process
    import_module("pytest")
    files = {module: noticing.files_of(module) for module in {each.module for each in survivors}}
    state = _sources(*{path.parent for paths in files.values() for path in paths})
    todo = []
    for each in survivors:
        key = f"tests of {each.key}"
        record = results.of(key, source=each.source)
        if record is not None and (record["by"] is not None or record["tests"] == state):
            yield record
        else:
            todo.append(each)
    needed = sorted({path for each in todo for path in files[each.module]})
    watched = calls_of_tests(results, needed, jobs) if todo else {}
    tasks = []
    for each in todo:
        chosen = [test for path in files[each.module] for test in watched[path]]
        tasks.append((each, noticing.order(each, chosen)))
    for count, ((each, _), outcome, code) in enumerate(in_forks(noticing.by_tests, tasks, jobs), 1):
        _progress(f"{count} of {len(tasks)} survivors, by tests")
        by, seconds = outcome or (noticing.death(code), 0.0)
        yield results.add(
            key=f"tests of {each.key}",
            mutant=each.key,
            source=each.source,
            tests=state,
            by=by,
            seconds=round(seconds, 3),
        )


# Reporting


class Row(NamedTuple):
    """How many mutants a module has, how many are equivalent, and how many of the others were noticed."""

    name: str
    all: int
    equivalent: int
    verify: int
    tests: int

    def __str__(self) -> str:
        """One line of the table, with the score of ``verify`` among all mutants, and among the true ones."""
        true = self.all - self.equivalent
        shares = [self.verify / max(self.all, 1), self.verify / max(true, 1), self.tests / max(true, 1)]
        counts = f"{self.all:7d}{self.equivalent:12d}{self.verify:9d}{self.tests:9d}"
        return f"{self.name:28}{counts}" + "".join(f"{share:9.1%}" for share in shares)


HEAD = "".join(
    f"{title:>{width}}"
    for title, width in (
        ("mutants", 35),
        ("equivalent", 12),
        ("verify", 9),
        ("+ tests", 9),
        ("of all", 9),
        ("verify", 9),
        ("+ tests", 9),
    )
)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line} ")
        sys.stderr.flush()


def survey(found: list[Mutant], results: Results, *, jobs: int, tests: bool) -> list[Row]:
    """Try mutants, print what survives and what was judged wrongly, and return the counts by module."""
    known = judged()
    same = {each.key for each in found if known.get(each.key, ("",))[0] == each.source}
    by_key = {each.key: each for each in found}
    verify = {record["key"] for record in try_checks(found, results, jobs) if record["by"] is not None}
    for key in sorted(same & verify):
        _say(f"  judged equivalent, but noticed by {results.known[key]['by']}: {key}")
    same -= verify
    left = [each for key, each in by_key.items() if key not in verify | same]
    noticed = set(verify)
    if tests:
        noticed |= {rec["mutant"] for rec in try_tests(left, results, jobs) if rec["by"] is not None}
    for each in left:
        if each.key not in noticed:
            before = f" (equivalent before an edit: {known[each.key][1]})" if each.key in known else ""
            _say(f"  survived: line {each.line}, {each.key}{before}")
    rows = []
    for name in dict.fromkeys(each.module for each in found):
        keys = {each.key for each in found if each.module == name}
        rows.append(Row(name, len(keys), len(keys & same), len(keys & verify), len(keys & noticed)))
    return rows


def modules() -> list[str]:
    """Modules that hold the functions of the ledger's items."""
    names = {function.__module__ for item in ledger.by_id().values() for function in item.functions}
    return sorted(name.removeprefix("refwfm.") for name in names)


def main(arguments: list[str] | None = None) -> None:
    """Print the survivors and the score of each module."""
    parser = argparse.ArgumentParser(
        "python -m refwfm.validation.mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="as bures, or networks.layers; none: all of formulas"
    )
    parser.add_argument("--jobs", type=int, default=noticing.cores(), help="processes at once")
    parser.add_argument("--results", type=Path, default=Path("mutations.jsonl"), help="file of the outcomes")
    parser.add_argument("--tests", action="store_true", help="try the tests on what survives")
    given = parser.parse_args(arguments)
    for short in given.modules:
        if not short.replace(".", "").isidentifier() or not _exists(f"refwfm.{short}"):
            parser.error(f"there is no module {short!r}; modules of formulas are {', '.join(modules())}")
    if given.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {given.jobs}")
    names = given.modules or modules()
    found = [each for short in names for each in mutants(import_module(f"refwfm.{short}"))]
    results = Results(given.results)
    rows = survey(found, results, jobs=given.jobs, tests=given.tests)
    total = Row("in all", *(sum(row[place] for row in rows) for place in range(1, 5)))
    _say("\n".join([HEAD, *map(str, rows), str(total)]))


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a folder above it
        return False


if __name__ == "__main__":
    main()
