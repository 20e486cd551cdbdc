"""SIGKILL at random moments: of a run, and of what continues it."""

import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refwfm.runs import models
from refwfm.storage import checkpoints
from refwfm.validation.crash.short_runs import KINDS, difference, train


def kill_runs(folder: Path, runs: int, seed: int, wrong: Callable[[str], None], /) -> int:
    """Kill each of some runs one to three times, let it end, and compare it with one that was never killed.

    The latter, one of each kind, stays in the folder under its name. ``wrong`` is called with a line for each
    run that is lost, or ends in other numbers. Returns how often a run was killed before it had ended.
    """
    rng, killed = np.random.default_rng(seed), 0
    # In processes of their own, as all runs: the threads of one that ran here would not outlive a fork.
    durations = {kind: _duration(kind, folder / kind) for kind in KINDS}
    for number in range(runs):
        kind = list(KINDS)[number % len(KINDS)]
        run = folder / f"killed-{number}"
        for _ in range(rng.integers(1, 4)):
            moment = rng.uniform(0, durations[kind])
            killed += _killed(kind, run, moment)
            if _lost(run):
                wrong(f"{kind} {number}, killed after {moment:.4f} s: {_lost(run)}")
        code = os.waitpid(in_child(kind, run), 0)[1]
        reason = f"ended with {code}" if code else difference(run, folder / kind)
        if reason:
            wrong(f"{kind} {number}: {reason}")
        shutil.rmtree(run)
    return killed


def _duration(kind: str, folder: Path) -> float:
    start = time.perf_counter()
    os.waitpid(in_child(kind, folder), 0)
    return time.perf_counter() - start


def _killed(kind: str, folder: Path, moment: float) -> bool:
    """Start or continue a run and kill it; False where it had ended."""
    child = in_child(kind, folder)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def in_child(kind: str, folder: Path, /) -> int:
    """Train in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        train(kind, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _lost(folder: Path) -> str:
    """What a kill must not leave: a configuration without checkpoint, or a file that is not whole."""
    found = models.checkpoints_in(folder)
    try:
        for path in found:
            checkpoints.load(path)
    except checkpoints.CheckpointError as error:
        return str(error)
    return "no checkpoint" if (folder / "config.toml").exists() and not found else ""
