"""Calls of the system that fail: each that a run makes to write, once, with each error."""

import builtins
import errno
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from refwfm.storage.checkpoints import CheckpointWarning
from refwfm.validation.crash.short_runs import KINDS, difference, train

CALLS = ("open", "write", "fsync", "replace", "unlink")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR)


def fail_calls(folder: Path, most: int, seed: int, wrong: Callable[[str], None], /) -> int:
    """Let calls fail, at most so many; each run has to say so or go on, and resumes to the same numbers."""
    cases = [
        (kind, call, number, error)
        for kind in KINDS
        for call in CALLS
        for number in range(_count(kind, call, folder / "counted"))
        for error in ERRORS
    ]
    order = np.random.default_rng(seed).permutation(len(cases))[:most]
    for kind, call, number, error in (cases[i] for i in order):
        run = folder / "failing"
        reason = _fails(kind, run, call, number, error) or difference(run, folder / kind)
        if reason:
            wrong(f"{kind}, {errno.errorcode[error]} at {call} {number}: {reason}")
        shutil.rmtree(run, ignore_errors=True)
    return len(order)


def _fails(kind: str, folder: Path, call: str, number: int, error: int) -> str:
    """Train with one fault, then without; what the fault did that it must not, or nothing."""
    said = folder.name
    with warnings.catch_warnings(action="ignore", category=CheckpointWarning):  # of old ones that stay
        try:
            with _failing(folder, call, number, error):
                train(kind, folder)
        except OSError as raised:
            said = str(raised)
        train(kind, folder)
    return "" if folder.name in said else f"the error names no file: {said}"


def _count(kind: str, call: str, folder: Path) -> int:
    with _failing(folder, call, -1, errno.EIO) as calls:
        train(kind, folder)
    shutil.rmtree(folder)
    return calls[0]


@contextmanager
def _failing(folder: Path, call: str, number: int, error: int) -> Iterator[list[int]]:
    """Let the ``number``-th such call on files of a folder fail; count them."""
    calls = [0]

    def due() -> bool:
        calls[0] += 1
        return calls[0] == number + 1

    def failed(name: object) -> OSError:
        return OSError(error, os.strerror(error), str(name))

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
