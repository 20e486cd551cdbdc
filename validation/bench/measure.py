"""Timing of our functions against another implementation of the same, taken in turns."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table


class Row(NamedTuple):
    """One comparison: median seconds of both sides, and their errors where there is a truth to compare with.

    ``speedup`` is ``peer_s / ours_s``: above one when ours is faster. Where memory was measured, it is in
    megabytes beyond what the process had before.
    """

    case: str
    ours_s: float
    peer: str
    peer_s: float
    speedup: float
    ours_error: float | None
    peer_error: float | None
    ours_mb: float | None = None
    peer_mb: float | None = None


def compare(
    case: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    peer_name: str,
    *,
    repeats: int = 7,
    error: Callable[[Any, Any], tuple[float | None, float | None]] | None = None,
) -> Row:
    """Time two functions in turns (ours, peer, ours, peer, ...) and return the medians.

    Parameters
    ----------
    case, peer_name : str
    ours, peer : functions without arguments
        They return only when their work is done (on a GPU: they wait for it).
    repeats : int
        Timed calls of each.
    error : function, optional
        ``(ours_value, peer_value) -> (ours_error, peer_error)`` of the last values returned.

    Notes
    -----
    Every timed call follows an untimed one of the same function: it warms the caches, and it gives the
    worker threads of the other side's library, which spin for some milliseconds before they sleep, the time
    to do so. Both functions are called ``2 repeats`` times.
    """
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    value: dict[str, object] = {}
    for _ in range(repeats):
        for side, function in (("ours", ours), ("peer", peer)):
            function()
            start = time.perf_counter()
            value[side] = function()
            seconds[side].append(time.perf_counter() - start)
    ours_s, peer_s = statistics.median(seconds["ours"]), statistics.median(seconds["peer"])
    errors = (None, None) if error is None else error(value["ours"], value["peer"])
    return Row(case, ours_s, peer_name, peer_s, peer_s / ours_s, *errors)


def peer_device(backend: Any, /) -> str:
    """Where torch as a peer runs: on a GPU if it sees one and the backend is on a device, else on the CPU."""
    import torch

    return "cuda" if backend.device not in ("cpu", "device1") and torch.cuda.is_available() else "cpu"


def table(name: str, rows: list[Row]) -> Table:
    """Lay the rows out for the terminal."""
    result = Table(title=f"bench {name}")
    headings = ["case", "ours", "peer", "peer's time", "speedup", "our error", "peer's error"]
    memory = any(row.ours_mb is not None for row in rows)
    for heading in (*headings, *(("our MB", "peer's MB") if memory else ())):
        result.add_column(heading, justify="left" if heading in ("case", "peer") else "right")
    for row in rows:
        errors = ("" if e is None else f"{e:.1e}" for e in (row.ours_error, row.peer_error))
        sizes = ("" if mb is None else f"{mb:.0f}" for mb in (row.ours_mb, row.peer_mb)) if memory else ()
        seconds = _seconds(row.ours_s), row.peer, _seconds(row.peer_s)
        result.add_row(row.case, *seconds, f"{row.speedup:.2f}", *errors, *sizes)
    return result


def to_json(name: str, rows: list[Row]) -> dict[str, Any]:
    """Return ``{"name", "machine", "rows"}`` for `json.dump`; a row's keys are the fields of `Row`."""
    return {"name": name, "machine": machine(), "rows": [row._asdict() for row in rows]}


def machine() -> dict[str, str | int | None]:
    """Say what a measurement was made on; None stands for a library that is not installed."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{library: _version(library) for library in ("numpy", "scipy", "torch")},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _seconds(s: float) -> str:
    return f"{s:.2f} s" if s >= 1 else f"{1e3 * s:.2f} ms"
