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
from refwfm.validation.crash.short_runs import KINDS, difference, train


def kill_runs(folder: Path, runs: int, seed: int, wrong: Callable[[str], None], /) -> int:
    """Kill each of some runs one to three times, let it end, and compare it with one that was never killed.

    Parameters
    ----------
    folder : path
        Holds a whole run of each kind, under its name.
    wrong : callable
        Called with a line for each run that is lost, or ends in other numbers.

    Returns
    -------
    int
        How often a run was killed before it had ended.
    """
    rng, killed = np.random.default_rng(seed), 0
    durations = {kind: _duration(kind, folder / "timed") for kind in KINDS}
    for number in range(runs):
        kind = list(KINDS)[number % len(KINDS)]
        run = folder / f"killed-{number}"
        for _ in range(rng.integers(1, 4)):
            moment = rng.uniform(0, durations[kind])
            killed += _killed(kind, run, moment)
            lost = _lost(run)
            if lost:
                wrong(f"{kind} {number}, killed after {moment:.4f} s: {lost}")
        code = os.waitpid(in_child(kind, run), 0)[1]
        reason = f"ended with {code}" if code else difference(run, folder / kind)
        if reason:
            wrong(f"{kind} {number}: {reason}")
        shutil.rmtree(run)
    return killed


def _duration(kind: str, folder: Path) -> float:
    start = time.perf_counter()
    os.waitpid(in_child(kind, folder), 0)
    shutil.rmtree(folder)
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
    if (folder / "config.toml").exists() and not models.checkpoints_in(folder):
        return "a configuration without checkpoint"
    for path in models.checkpoints_in(folder):
        try:
            models.checkpoints.load(path)
        except ValueError as error:
            return str(error)
    return ""
