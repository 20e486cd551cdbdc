"""Calls of the system that fail: each that a run makes to write, once, with each error, and with SIGKILL."""

import builtins
import errno
import io
import os
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from refwfm.storage.checkpoints import CheckpointWarning
from refwfm.validation.crash.kills import in_child
from refwfm.validation.crash.short_runs import KINDS, difference, train

CALLS = ("mkdir", "open", "write", "fsync", "replace", "unlink")
ERRORS = ("EIO", "ENOSPC", "EINTR")
KILL = "SIGKILL"
"""Beside an error: the process ends there, with half of what it was to write."""


def fail_calls(
    folder: Path, most: int, seed: int, wrong: Callable[[str], None], /
) -> Counter[tuple[str, str]]:
    """Let calls fail, at most so many; each run has to say so or go on, and resumes to the same numbers.

    Returns how often which call failed in which way, beside those that did not go well.
    """
    cases = [
        (kind, call, number, error)
        for kind in KINDS
        for call in CALLS
        for number in range(_count(kind, call, folder / "counted"))
        for error in (*ERRORS, KILL)
    ]
    order = np.random.default_rng(seed).permutation(len(cases))[:most]
    done: Counter[tuple[str, str]] = Counter()
    # Those that are killed first: the threads of a run that was trained here would not outlive a fork.
    for kind, call, number, error in sorted((cases[i] for i in order), key=lambda case: case[3] != KILL):
        run = folder / "failing"
        begin = _killed_at if error == KILL else _fails
        reason = (
            begin(kind, run, call, number, error) or _resumed(kind, run) or difference(run, folder / kind)
        )
        done[call, error] += not reason
        if reason:
            wrong(f"{kind}, {error} at {call} {number}: {reason}")
        shutil.rmtree(run, ignore_errors=True)
    return done


def _fails(kind: str, folder: Path, call: str, number: int, error: str) -> str:
    """Train with one fault; what it did that it must not, or nothing."""
    said = folder.name
    with warnings.catch_warnings(action="ignore", category=CheckpointWarning):  # of old ones that stay
        try:
            with _failing(folder, call, number, error) as calls:
                train(kind, folder)
        except OSError as raised:
            said = str(raised)
    if calls[0] <= number:
        return "the call was not reached"
    return "" if folder.name in said else f"the error names no file: {said}"


def _killed_at(kind: str, folder: Path, call: str, number: int, error: str) -> str:
    """Train in a child that is killed at a call; what is wrong with its end, or nothing."""
    child = os.fork()
    if not child:
        with suppress(BaseException), _failing(folder, call, number, error):
            train(kind, folder)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    return "" if status == signal.SIGKILL else f"not killed, but ended with {status}"


def _resumed(kind: str, folder: Path) -> str:
    """Let a run end, in a child; what went wrong."""
    code = os.waitpid(in_child(kind, folder), 0)[1]
    return f"what resumed it ended with {code}" if code else ""


def _count(kind: str, call: str, folder: Path) -> int:
    """How many such calls a run makes, counted in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException), _failing(folder, call, -1, KILL) as calls:
            train(kind, folder)
            os.write(writing, str(calls[0]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        count = int(told.read())
    os.waitpid(child, 0)
    shutil.rmtree(folder)
    return count


@contextmanager
def _failing(folder: Path, call: str, number: int, error: str) -> Iterator[list[int]]:
    """Let the ``number``-th such call on files of a folder fail; count them."""
    calls = [0]

    def due() -> bool:
        calls[0] += 1
        return calls[0] == number + 1

    def failed(name: object) -> OSError:
        if error == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, error)
        return OSError(code, os.strerror(code), str(name))

    open_file, other = io.open, getattr(os, call, None)

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        ours = str(file).startswith(str(folder)) and mode[0] in "wa"
        if ours and call == "open" and due():
            raise failed(file)
        handle = open_file(file, mode, *arguments, **options)
        return _Failing(handle, due, failed) if ours and call == "write" else handle

    def instead(first: Any, *arguments: Any, **options: Any) -> Any:
        if due():
            raise failed(folder if call == "fsync" else first)
        return other(first, *arguments, **options)

    with mock.patch.object(builtins, "open", opened), mock.patch.object(io, "open", opened):
        if call in ("open", "write"):
            yield calls
        else:
            with mock.patch.object(os, call, instead):
                yield calls


class _Failing:
    """A file whose ``write`` may fail half way."""

    def __init__(self, file: Any, due: Callable[[], bool], failed: Callable[[object], OSError]) -> None:
        self.file, self.due, self.failed = file, due, failed

    def write(self, data: Any) -> int:
        if self.due():
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise self.failed(self.file.name)
        return self.file.write(data)

    def __enter__(self) -> "_Failing":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
