"""The parts of the proof, each for a process of its own: ``python -m refwfm.validation.gpu.parts``.

A part returns ``(ok, words, figures)``; what it raises is the outcome of its process.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from refwfm.backends import DTYPES, BackendError, load, machine
from refwfm.storage import atomic

Outcome = tuple[bool, str, dict[str, Any]]

BENCHES = {"full": ("sinkhorn", "train-bw", "train-clouds"), "smoke": ("train-bw",)}
SMOKE_TESTS = ("test_array.py",)
SMOKE_FORMULAS = ("WFM-10", "WFM-12", "WFM-24")


def doctor(device: str, size: str, folder: Path) -> Outcome:
    """What is installed and seen, and whether the small computations are right."""
    from refwfm.backends import diagnosis, probes

    found = {
        dtype: [each._asdict() for each in probes.probe(_load(device, dtype))] for dtype in _dtypes(device)
    }
    seen = machine.look()
    findings = [each._asdict() for rule in diagnosis.RULES for each in rule(seen)]
    wrong = [
        f"{each['name']} in {dtype}"
        for dtype, parts in found.items()
        for each in parts
        if not (each["epsilons"] is not None and each["epsilons"] <= probes.ROUNDING)
    ]
    words = f"wrong: {', '.join(wrong)}" if wrong else f"{sum(map(len, found.values()))} computations right"
    return not wrong, words, {"computed": found, "findings": findings}


def tests(device: str, size: str, folder: Path) -> Outcome:
    """The tests that take a library, asked of this one."""
    where = Path(os.environ["REFWFM_GPU_TESTS"])
    files = [
        path
        for path in sorted(where.glob("test_*.py"))
        if (path.name in SMOKE_TESTS if size == "smoke" else "library" in path.read_text(encoding="utf-8"))
    ]
    name, report = _library(device), folder / f"tests-{device.replace(':', '-')}.xml"
    workers = _workers()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "--maxfail=30"]
    command += ["-p", "xdist.plugin"] if find_spec("xdist") else []
    command += ["-n", str(workers)] if find_spec("xdist") and size == "full" and workers > 2 else []
    command += ["-k", name, "-m", "not slow", f"--junitxml={report}", *map(str, files)]
    # A machine's own packages may bring plugins whose warnings would be errors here.
    environment = {**os.environ, "REFWFM_TEST_XP": name, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("REFWFM_BACKEND", None)
    result = subprocess.run(
        command, cwd=where.parent, env=environment, capture_output=True, text=True, check=False
    )
    if not report.exists():
        return False, f"pytest did not run: {_last(result.stdout + result.stderr)}", {"files": len(files)}
    suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 (pytest's own)
    counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    failed = [
        {"test": f"{case.get('classname')}::{case.get('name')}", "message": found.get("message", "")[:300]}
        for case in suite.iter("testcase")
        for found in (*case.findall("failure"), *case.findall("error"))
    ]
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    words = f"{passed} of {counts['tests'] - counts['skipped']} tests pass"
    return passed > 0 and not failed and result.returncode == 0, words, {**counts, "failed": failed}


def verify(device: str, size: str, folder: Path) -> Outcome:
    """Every formula against its oracles, in each dtype."""
    from refwfm.validation import audit

    figures: dict[str, Any] = {}
    for dtype in _dtypes(device):
        parts = audit.prepare(device, dtype, [] if size == "full" else [*SMOKE_FORMULAS])
        audit.perform(parts, jobs=_workers() if size == "full" else 1)
        failed = [
            f"{result.id}: {each.oracle}"
            for part in parts
            for result in part.results.values()
            for each in result.checks
            if each.ok is False
        ]
        figures[dtype] = {**audit.count(parts)._asdict(), "failures": failed}
    bad = sum(each["failed"] for each in figures.values())
    checks = sum(each["checks"] for each in figures.values())
    return checks > 0 and not bad, f"{checks} checks in {', '.join(figures)}: {bad} failed", figures


def train(device: str, size: str, folder: Path) -> Outcome:
    """Loss curves beside NumPy's."""
    from refwfm.validation.gpu import training

    figures = {dtype: training.compare(device, dtype, size, folder) for dtype in _dtypes(device)}
    bad = [
        f"{case} in {dtype}"
        for dtype, cases in figures.items()
        for case, each in cases.items()
        if not each["ok"]
    ]
    steps = max(each["steps"] for cases in figures.values() for each in cases.values())
    words = (
        f"{len(training.CASES)} trainings of {steps} steps in {', '.join(figures)} are NumPy's to rounding"
    )
    return not bad, f"not NumPy's: {', '.join(bad)}" if bad else words, figures


def bench(device: str, size: str, folder: Path) -> Outcome:
    """Times of solvers and of training steps; their results must be right."""
    figures, wrong = {}, []
    for name in BENCHES[size]:
        module = import_module(f"refwfm.validation.bench.{name.replace('-', '_')}")
        rows = module.rows(3, device) if size == "full" else module.laptop_rows(1, device)
        figures[name] = [row._asdict() for row in rows]
        limit = 2e-3 if name == "sinkhorn" else 1e-4  # marginal errors; losses after some steps in float32
        wrong += [row.case for row in rows if not row.ours_error <= limit]
    ours = ", ".join(f"{rows[0]['case']} {1e3 * rows[0]['ours_s']:.3g} ms" for rows in figures.values())
    return not wrong, f"wrong: {', '.join(wrong)}" if wrong else ours, figures


KINDS: dict[str, Callable[[str, str, Path], Outcome]] = {
    "doctor": doctor,
    "tests": tests,
    "verify": verify,
    "train": train,
    "bench": bench,
}


def _workers() -> int:
    """Processes of a part: an equal share of the cores, where several parts run at the same time."""
    return max(1, min(8, machine.usable_cores() // int(os.environ.get("REFWFM_GPU_AT_ONCE", "1"))))


def _load(device: str, dtype: str) -> Any:
    return load(device, dtype=dtype)


def _dtypes(device: str) -> list[str]:
    """Dtypes that a device has; an error where the device is not there at all."""
    found, why = [], None
    for dtype in DTYPES:
        try:
            load(device, dtype=dtype)
        except BackendError as error:
            why = error
        else:
            found.append(dtype)
    if not found and why is not None:
        raise why
    return found


def _library(device: str) -> str:
    """How the tests name a backend."""
    return device.replace("strict", "array_api_strict", 1)


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def memory(device: str) -> dict[str, float]:
    """Peaks in MiB: of this process, of its children, and of the device where the library tells."""
    own, children = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    found = {"process_mib": own, "children_mib": children}
    with contextlib.suppress(Exception):  # a library that does not tell spoils no part
        peak = _device_peak(device)
        if peak is not None:
            found["device_mib"] = peak / 2**20
    return found


def _device_peak(device: str) -> int | None:
    """Bytes that a library has held on a device, at most, None where there is none."""
    library, _, place = device.partition(":")
    module = sys.modules.get(library)
    if module is None or place == "cpu":
        return None
    if library == "torch":
        return int(module.cuda.max_memory_allocated())
    if library == "cupy":
        return int(module.get_default_memory_pool().total_bytes())
    if library == "jax":
        return int(module.devices("gpu")[0].memory_stats()["peak_bytes_in_use"])
    return None


def main(kind: str, device: str, size: str, folder: str, out: str) -> None:
    """Run one part and write what it came to."""
    began = time.perf_counter()
    ok, words, figures = KINDS[kind](device, size, Path(folder))
    seconds = time.perf_counter() - began
    record = {"ok": ok, "words": words, "seconds": seconds, "memory": memory(device), "figures": figures}
    atomic.write_text(Path(out), json.dumps(record, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
