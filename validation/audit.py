"""The whole audit: on which backends, which formulas, in how many processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from joblib import Parallel, cpu_count, delayed, parallel_config

import refwfm
from refwfm import backends
from refwfm.backends import Backend, BackendError
from refwfm.backends.cluster import Cluster
from refwfm.validation import check, ledger
from refwfm.validation.check import Item, ItemResult

LIBRARIES = (
    "refwfm",
    "numpy",
    "scipy",
    "POT",
    "mpmath",
    "array-api-compat",
    "array-api-extra",
    "array-api-strict",
    "torch",
    "jax",
    "cupy",
)


class Part(NamedTuple):
    """The audit on one backend in one dtype: its items by section, and their results by id."""

    backend: str
    dtype: str
    sections: dict[str, list[Item]]
    results: dict[str, ItemResult]

    @property
    def items(self) -> list[Item]:
        """All items in order."""
        return [item for items in self.sections.values() for item in items]


QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
"""Flags with which JAX compiles twice as fast, and slower code: each of ours runs once."""

FEW = 10
"""Formulas that take no longer than processes take to start."""

ONE_DTYPE = {"jax": "float64", "strict": "float32"}
"""The dtype in which a library is asked beside all others: JAX compiles everything again for another one, and
array-api-strict is NumPy, which refuses to mix."""

Task = tuple[Part, str, dict[str, Any]]
"""A section of a part, and options of ``check.run``."""


# Choosing


def prepare(backend: str | None, dtype: str | None, only: list[str]) -> list[Part]:
    """Return the parts of an audit, without results.

    Parameters
    ----------
    backend : str, optional
        As for ``backends.load``, or "all": every one that is installed, torch on the CPU and on a GPU.
    dtype : str, optional
        "float64", "float32" or "all". Left out: float64; for all backends both, or what ``ONE_DTYPE``
        says.
    only : list of str
        Ids or aliases; empty: all.

    Raises
    ------
    ValueError
        If an id is unknown on every backend: names those there are.
    """
    asked = dtype or ("all" if backend == "all" else "float64")
    dtypes = ("float64", "float32") if asked == "all" else (asked,)
    chosen = [each for kind in dtypes for each in _load(backend, kind)]
    if dtype is None and backend == "all":
        chosen = [each for each in chosen if ONE_DTYPE.get(_library(each), each.dtype) == each.dtype]
    everything = [(each, ledger.sections(each)) for each in chosen]
    wanted = _ids(only, everything)
    parts = []
    for each, sections in everything:
        kept = {title: [item for item in items if item.id in wanted] for title, items in sections.items()}
        parts.append(
            Part(each.name, each.dtype, {title: items for title, items in kept.items() if items}, {})
        )
    return [part for part in parts if part.sections]


def _library(backend: Backend) -> str:
    return backend.name.partition(":")[0]


def _load(name: str | None, dtype: str) -> list[Backend]:
    if name != "all":
        return [backends.load(name, dtype=dtype)]
    found = []
    for library in backends.INSTALL:
        try:
            found.append(backends.load(library, dtype=dtype))
        except BackendError:
            continue  # not installed
        if library == "torch" and found[-1].device != "cpu":
            found.append(backends.load("torch:cpu", dtype=dtype))
    return found


def _ids(only: list[str], everything: list[tuple[Backend, dict[str, list[Item]]]]) -> set[str]:
    known = {item.id: item for _, sections in everything for items in sections.values() for item in items}
    return {ledger.find(id, known).id for id in only} if only else set(known)


# Running


def perform(
    parts: list[Part],
    *,
    seed: int = 0,
    every_draw: bool = False,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    advance: Callable[[ItemResult], None] = lambda result: None,
) -> None:
    """Run all checks and put the outcomes into the parts' results.

    Sections run in parallel processes of one thread each, ``jobs`` of them (left out: as many as there are
    cores; for few formulas, all here, unless a library compiles), or on a cluster. ``advance`` is called
    after each formula.
    Wrong variants run once in each dtype, with its first part: they live on the host.
    """
    if jobs is None:
        many = sum(len(part.items) for part in parts) > FEW or any(map(_compiles, parts))
        jobs = cpu_count() if many else 1
    firsts = {part.dtype: part for part in reversed(parts)}
    options = {"seed": seed, "every_draw": every_draw}
    tasks = [
        (part, title, {**options, "controls": part is firsts[part.dtype] or title == ledger.TWINS})
        for part in sorted(parts, key=lambda part: not _compiles(part))
        for title in sorted(part.sections, key=lambda title: -_size(part.sections[title]))  # long ones first
    ]
    by_name = {(part.backend, part.dtype): part for part in parts}
    if cluster is not None:
        outcomes: Iterator[Any] = cluster.outcomes(_told_section, [_by_names(*task, "") for task in tasks])
    else:
        outcomes = _in_processes(tasks, jobs) if jobs > 1 else _here(tasks)
    for results in outcomes:
        for result in results:
            by_name[result.backend, result.dtype].results[result.id] = result
            advance(result)
    for part in parts:
        _complete(part, firsts[part.dtype])


def _here(tasks: list[Task]) -> Iterator[Iterator[ItemResult]]:
    for part, title, options in tasks:
        backend = backends.load(part.backend, dtype=part.dtype)
        yield check.run(part.sections[title], backend, **options)


def _in_processes(tasks: list[Task], jobs: int) -> Iterator[list[ItemResult]]:
    flags = quick_flags() if any(_compiles(part) for part, _, _ in tasks) else ""
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
            delayed(_told_section)(_by_names(*task, flags)) for task in tasks
        )


def _size(items: list[Item]) -> int:
    """Number of checks and of wrong variants."""
    return sum(1 + len(each.controls) for item in items for each in item.checks)


def _compiles(part: Part) -> bool:
    return check.compiles(part.backend)


def quick_flags() -> str:
    """Return ``QUICK`` if the installed JAX knows these flags: a process with an unknown one ends at once."""
    flags = " ".join(QUICK)
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = {**os.environ, "XLA_FLAGS": flags}
    return (
        "" if subprocess.run(trial, env=environment, capture_output=True, check=False).returncode else flags
    )


def _by_names(part: Part, title: str, options: dict[str, Any], flags: str) -> tuple[Any, ...]:
    """Arguments of ``_section``: items cannot travel to another process, names can."""
    return part.backend, part.dtype, title, [item.id for item in part.sections[title]], options, flags


def _told_section(arguments: tuple[Any, ...]) -> list[ItemResult]:
    return _section(*arguments)


def _section(
    backend: str, dtype: str, title: str, ids: list[str], options: dict[str, Any], flags: str
) -> list[ItemResult]:
    """Results of some items of a section, in a process of its own."""
    if flags:
        os.environ.setdefault("XLA_FLAGS", flags)  # read when JAX starts
    loaded, sections = _everything(backend, dtype)
    return list(check.run([item for item in sections[title] if item.id in ids], loaded, **options))


@lru_cache
def _everything(backend: str, dtype: str) -> tuple[Backend, dict[str, list[Item]]]:
    loaded = backends.load(backend, dtype=dtype)
    return loaded, ledger.sections(loaded)


def _complete(part: Part, first: Part) -> None:
    """Put results in the order of the items; the wrong variants of the first part count here too."""
    for item in part.items:
        result = part.results.pop(item.id)
        if part is not first and item not in part.sections.get(ledger.TWINS, []):
            checks = (
                each if each.ok is None else check.with_controls(each, other.controls)
                for each, other in zip(result.checks, first.results[item.id].checks, strict=True)
            )
            result = result._replace(checks=tuple(checks))
        part.results[item.id] = result


# Reporting


class Count(NamedTuple):
    """How many formulas, checks and wrong variants there are, and how many checks failed or were skipped."""

    formulas: int
    checks: int
    controls: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        """One line."""
        numbers = [
            _plural(self.formulas, "formula"),
            _plural(self.checks, "check"),
            _plural(self.controls, "wrong variant"),
        ]
        return f"{', '.join(numbers)}: {self.failed} failed" + (
            f", {self.skipped} skipped" if self.skipped else ""
        )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def count(parts: list[Part]) -> Count:
    """Count over all parts."""
    checks = [each for part in parts for result in part.results.values() for each in result.checks]
    return Count(
        formulas=sum(len(part.results) for part in parts),
        checks=len(checks),
        controls=sum(len(each.controls) for each in checks),
        failed=sum(each.ok is False for each in checks),
        skipped=sum(each.ok is None for each in checks),
    )


def function_name(function: Callable[..., Any]) -> str:
    """``bures.velocity``: the name inside the package, where readers find it."""
    return f"{exporting(function.__module__.removeprefix('refwfm.'))}.{function.__name__}"


def exporting(module: str) -> str:
    """Where readers import the functions of a module from."""
    return "networks" if module.startswith("networks.") else {"bures_metric": "bures"}.get(module, module)


def package() -> str:
    """Version of the package that is audited, and where its files are."""
    return f"refwfm {refwfm.__version__} in {Path(refwfm.__file__).parent}"


def versions() -> dict[str, str]:
    """Installed versions of the libraries that take part."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
