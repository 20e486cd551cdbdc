"""``refwfm train --dry-run``: what a run takes, before it takes it; nothing is written."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from refwfm.cli._common import console, duration, gigabytes, say
from refwfm.runs import models
from refwfm.runs.recorder import Pace
from refwfm.training import algorithm, memory
from refwfm.training.base_config import TrainingConfig
from refwfm.training.memory import Part
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import tree_leaves

STEPS = 2
"""Steps that are timed, after one that may compile."""


def tell(
    config: TrainingConfig, family: Any, place: Any, /, *, source: Any, teacher: Any, done: int, as_json: bool
) -> None:
    """Print the sizes of a run's arrays, its predicted peak of memory, and how long its steps take.

    A run that is resumed has ``done`` some of them.
    """
    if teacher is not None:
        raise ValueError("--dry-run: a rectified run first makes its pairs, which takes as long as it takes")
    own = resident()
    start = time.perf_counter()
    with no_more_than_free():
        model, members = models.prepare(config, family, place, source=source)
    prepared = time.perf_counter() - start
    parameters = sum(math.prod(leaf.shape) for leaf in tree_leaves(model.state.params))
    on_host = place.device == "cpu"
    parts = [
        *_data(family, members, model.setting),
        *memory.predicted(
            config,
            model.setting,
            family,
            parameters=parameters,
            itemsize=np.dtype(place.dtype).itemsize,
            padded=place.name != "numpy" or place.ops.cloud_velocity is REFERENCE.cloud_velocity,
            cores=_threads(),
        ),
    ]
    total, free = memory.peak(parts) + own, available()
    fits = not on_host or free is None or total - own <= free
    pace = _pace(model, members, family, place, parameters, done) if fits else None
    measured = most_resident()
    if as_json:
        found = {
            "parts": [part._asdict() for part in parts],
            "process_bytes": own,
            "peak_bytes": total,
            "measured_bytes": measured if fits and measured else None,
            "free_bytes": free,
            "parameters": parameters,
            "prepared_s": prepared,
            "step_s": None if pace is None else pace.seconds,
            "total_s": None if pace is None else pace.seconds * pace.left,
            "steps": config.steps,
            "steps_left": max(config.steps - done, 0),
        }
        typer.echo(json.dumps(found))
        return
    _print(parts, own, total)
    if not fits:
        assert free is not None
        say(
            f"no step was tried: {gigabytes(total)} is more than the {gigabytes(free)} that are free; a "
            f"smaller {_smaller(config)} takes less"
        )
        return
    assert pace is not None
    seconds = pace.seconds * pace.left
    say(
        f"{parameters:,} parameters, batch {config.batch}: {pace.seconds:.2g} s a step ({STEPS} tried), "
        f"about {duration(seconds)} for {pace.left:,} steps; prepared in {duration(prepared)}"
    )
    if free is not None and on_host:
        say(f"{gigabytes(free)} of memory are free; nothing was written")
    if measured:
        say(f"this process has taken {_in_words(measured)} at most, with the steps that it tried")


def resident() -> float:
    """Bytes that this process holds now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def most_resident() -> float:
    """Most bytes that this process has held; 0 where the system does not say.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    return _kilobytes("/proc/self/status", "VmHWM") or 0.0


def available() -> float | None:
    """Bytes that can be had without swapping, None where the system does not say."""
    return _kilobytes("/proc/meminfo", "MemAvailable")


@contextmanager
def no_more_than_free() -> Iterator[None]:
    """Let what takes more memory than is free fail with ``MemoryError``.

    A network too wide is made before its parameters are counted; the system would end a process for it.
    """
    held, free = _kilobytes("/proc/self/status", "VmData"), available()
    if held is None or free is None:
        yield
        return
    import resource  # not on Windows, which has no /proc either

    before = resource.getrlimit(resource.RLIMIT_DATA)
    soft = min([int(held + free), *(each for each in before if each != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _kilobytes(file: str, name: str) -> float | None:
    """Bytes of a line such as ``MemAvailable: 12 kB``."""
    try:
        lines = Path(file).read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, ValueError, StopIteration):
        return None


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdigit() and int(wanted) else cores


def _data(family: Any, members: Any, setting: Any) -> Iterator[Part]:
    """Arrays of the family and of the setting, each once."""
    seen: set[int] = set()
    for name, what in (("data", family), ("data, in the model's units", members), ("setting", setting)):
        size = sum(_bytes(each, seen) for each in _arrays(what))
        if size:
            yield Part("held", name, "", float(size))


def _arrays(what: Any) -> Iterator[Any]:
    if hasattr(what, "shape") and hasattr(what, "dtype"):
        yield what
    elif isinstance(what, dict):
        yield from (found for each in what.values() for found in _arrays(each))
    elif isinstance(what, list | tuple):
        yield from (found for each in what for found in _arrays(each))
    elif is_dataclass(what):
        yield from (found for field in fields(what) for found in _arrays(getattr(what, field.name)))


def _bytes(array: Any, seen: set[int]) -> int:
    """Bytes of an array; 0 for one whose memory was counted before, as that of a view."""
    owner = array
    while getattr(owner, "base", None) is not None and hasattr(owner.base, "nbytes"):
        owner = owner.base
    if id(owner) in seen:
        return 0
    seen.add(id(owner))
    size = getattr(array, "nbytes", None)
    return int(size) if isinstance(size, int) else 8 * int(np.prod(array.shape))


def _pace(
    model: models.Model[Any], members: Any, family: Any, place: Any, parameters: int, before: int
) -> Pace:
    """Seconds a step, from real ones; the first is left out, as it may compile."""
    config, state = model.config, model.state
    start = 0.0
    for done in range(STEPS + 1):
        if done == 1:
            start = time.perf_counter()
        state, metrics = algorithm.step(config, model.setting, members, family.labels, state, ops=place.ops)
        float(metrics.loss)  # waits for the device
    return Pace(parameters, (time.perf_counter() - start) / STEPS, max(config.steps - before, 0))


def _smaller(config: TrainingConfig) -> str:
    names = [name for name in ("batch", "n_points", "particles", "width") if hasattr(config, name)]
    return ", ".join(f"--{name.replace('_', '-')} (now {getattr(config, name)})" for name in names)


def _in_words(size: float) -> str:
    """Megabytes, three digits of them, so that rows can be compared."""
    return f"{float(f'{size / 1e6:.3g}'):,g} MB"


def _print(parts: list[Part], own: float, total: float) -> None:
    table = Table(title="memory, predicted", header_style="default")
    for title in ("when", "what", "shape"):
        table.add_column(title)
    table.add_column("size", justify="right")
    table.add_row("held", "Python and its libraries", "", _in_words(own))
    before = "held"
    for part in parts:
        table.add_row("" if part.phase == before else part.phase, part.name, part.shape, _in_words(part.size))
        before = part.phase
    table.add_section()
    table.add_row("", "peak: what is held, and the largest phase", "", _in_words(total))
    console.print(table)
