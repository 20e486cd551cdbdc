"""Run all parts on all devices within a time, and write one record of them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import refwfm
from refwfm.backends import machine
from refwfm.storage import atomic
from refwfm.validation.gpu.parts import KINDS

BUDGET = 460.0
"""Seconds for everything."""

WEIGHTS = {"doctor": 6.0, "train": 8.0, "bench": 3.0, "verify": 10.0, "tests": 10.0}
"""Shares of the time that parts may take, in their order; what one leaves goes to the others."""

COMPILES = 2.0
"""How much longer JAX may take, which compiles each operation for each shape."""

GRACE = 5.0
"""Seconds between the request to end and the end."""


class Part(NamedTuple):
    """A kind of part on a device."""

    kind: str
    device: str

    @property
    def weight(self) -> float:
        """Share of the time."""
        return WEIGHTS[self.kind] * (COMPILES if self.device.startswith("jax") else 1.0)


def stages(devices: list[str], kinds: list[str], at_once: int = 1, /) -> list[list[Part]]:
    """Parts that run at the same time, one stage after the other, the quick kinds first on every device.

    What is timed runs alone.
    """
    found = []
    for kind in (kind for kind in WEIGHTS if kind in kinds):
        size = 1 if kind == "bench" else at_once
        every = [Part(kind, device) for device in devices]
        found += [every[k : k + size] for k in range(0, len(every), size)]
    return found


def limits(waiting: list[list[Part]], left: float, /) -> float:
    """Seconds that the first of the waiting stages may take of those that are left."""
    weights = [max(each.weight for each in stage) for stage in waiting]
    return left * weights[0] / sum(weights)


def prove(
    devices: list[str],
    *,
    size: str = "full",
    kinds: list[str] | None = None,
    budget: float = BUDGET,
    at_once: int = 1,
    tests: Path,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every part in a process of its own; one that fails or takes too long is recorded, and others go on.

    Parameters
    ----------
    devices : list of str
        Names of backends.
    size : str
        "full" or "smoke".
    kinds : list of str, optional
        Keys of ``parts.KINDS``; all when left out.
    budget : float
        Seconds for all parts.
    at_once : int
        Parts that run at the same time, each on another device; benchmarks run alone.
    tests : path
        Folder of the tests.
    say : callable
        Called with a line for each part.

    Returns
    -------
    dict
        The record: machine, date, parts, verdict, ok.
    """
    began, done = time.monotonic(), []
    waiting = stages(devices, [*KINDS] if kinds is None else kinds, at_once)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        while waiting:
            limit = limits(waiting, budget - (time.monotonic() - began))
            stage = waiting.pop(0)
            run = partial(
                perform, size=size, limit=limit, folder=Path(folder), tests=tests, at_once=len(stage)
            )
            for record in pool.map(run, stage):
                done.append(record)
                told = f"{record['outcome']:9} {record['kind']:7} {record['device']:18}"
                say(f"{told} {record['seconds']:5.0f} s  {record['words']}")
    seconds = time.monotonic() - began
    good = sum(each["outcome"] == "ok" for each in done)
    failed = [f"{each['kind']} {each['device']}" for each in done if each["outcome"] != "ok"]
    words = f"{'green' if not failed else 'red'}, {good} of {len(done)} parts in {seconds:.0f} s"
    verdict = f"GPU: {words}" + (f"; not: {', '.join(failed)}" if failed else "")
    return {
        "refwfm": refwfm.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": size,
        "machine": _machine(),
        "devices": devices,
        "budget": budget,
        "at_once": at_once,
        "seconds": round(seconds, 1),
        "parts": done,
        "ok": bool(done) and not failed,
        "verdict": verdict,
    }


def perform(
    part: Part, *, size: str, limit: float, folder: Path, tests: Path, at_once: int = 1
) -> dict[str, Any]:
    """Run one part in a process of its own, for at most so many seconds."""
    out = folder / f"{part.kind}-{part.device.replace(':', '-')}.json"
    command = [sys.executable, "-m", "refwfm.validation.gpu.parts", *part, size, str(folder), str(out)]
    environment = {
        **os.environ,
        "REFWFM_GPU_TESTS": str(tests),
        "REFWFM_GPU_AT_ONCE": str(at_once),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share the card
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),  # and what they compile
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if not part.device.endswith(":cpu"):
        environment.setdefault("XLA_FLAGS", "")  # the flags with which tests compile faster are for CPUs
    began, outcome, words = time.monotonic(), "ok", ""
    log = out.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(max(limit, 1.0))
        except subprocess.TimeoutExpired:
            outcome, words = "timed out", f"not done in {limit:.0f} s"
            _end(process)
        except BaseException:  # Ctrl-C
            _end(process)
            raise
    record: dict[str, Any] = {"memory": {}, "figures": {}}
    if outcome == "ok" and out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))
        outcome, words = "ok" if found.pop("ok") else "failed", found.pop("words")
        record = found
    elif outcome == "ok":
        outcome = "failed"
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        words = f"exit code {process.returncode}: {lines[-1][:300] if lines else 'no output'}"
    record |= {"kind": part.kind, "device": part.device, "outcome": outcome, "words": words}
    return {**record, "seconds": round(time.monotonic() - began, 1), "limit": round(limit, 1)}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.poll()


def _machine() -> dict[str, Any]:
    seen = machine.look()
    return {
        "python": seen.python,
        "cores": seen.cores,
        "memory": seen.memory,
        "cards": [card._asdict() for card in seen.cards],
        "driver_cuda": seen.driver_cuda,
        "torch_cuda": seen.torch_cuda,
        "packages": {
            name: version
            for name, version in sorted(seen.packages.items())
            if name in machine.SHOWN or machine.OF_DEVICES.fullmatch(name)
        },
    }


def write(path: Path, record: dict[str, Any], /) -> None:
    """Write a record, whole or not at all."""
    atomic.write_text(path, json.dumps(record, indent=1) + "\n")
