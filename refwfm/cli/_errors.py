"""Errors on the command line: one clear line, never a traceback."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from refwfm.backends import BackendError
from refwfm.cli import _signals
from refwfm.cli._memory import advice, is_out_of_memory
from refwfm.evidence import ConvergenceError
from refwfm.runs.folders import RunError
from refwfm.storage.checkpoints import CheckpointWarning
from refwfm.training.algorithm import NonFiniteLossError
from refwfm.training.team import TeamError

EXPECTED = (
    *(ValueError, OSError, ImportError, MemoryError),
    *(BackendError, ConvergenceError, NonFiniteLossError, TeamError),
)
"""What a user can cause; anything else is a bug, and its traceback is wanted."""

FLAGS = " (on the command line: --resume continues a run, --out names its folder)"
"""How the command does what the library's errors about run folders advise."""


@contextmanager
def clear_errors(*, stopped: str | Callable[[], str] = "stopped") -> Iterator[None]:
    """Turn what a user can cause into one line and exit code 2, and Ctrl-C into ``stopped`` and code 130.

    SIGTERM has the code 143. A ``CheckpointWarning`` is one line, too.
    """
    try:
        with _signals.handled(_signals.interrupt), _warnings_as_lines():
            yield
    except KeyboardInterrupt as signal:
        _print(Text(stopped if isinstance(stopped, str) else stopped()))
        raise typer.Exit(_signals.exit_code(signal)) from None
    except Exception as error:
        if not is_expected(error):
            raise
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader of a pipe has seen enough (`| head`); typer ends quietly
        line = " ".join(in_words(error).split())
        if isinstance(error, RunError):
            line += FLAGS
        _print(Text("error: ", style="bold red").append(line, style="default"))
        raise typer.Exit(2) from error


def is_expected(error: BaseException, /) -> bool:
    """Whether a user can cause an error; memory runs out by each library's own kind of error."""
    return isinstance(error, EXPECTED) or is_out_of_memory(error)


def in_words(error: BaseException, /) -> str:
    """What an error says; one of the system without its number, which tells nobody anything."""
    if is_out_of_memory(error):
        return advice(error)
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        # All files are named: without a name it is standard output, on a full disk or one that fails.
        plain = error.errno in (errno.ENOSPC, errno.EIO) and error.strerror == os.strerror(error.errno)
        return f"cannot write the output: {error.strerror}" if plain else error.strerror
    return str(error)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        show = warnings.showwarning

        def line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, CheckpointWarning):
                _print(Text("warning: ", style="bold yellow").append(str(message), style="default"))
            else:
                show(message, category, *where, **more)

        warnings.showwarning = line
        yield


def _print(line: Text) -> None:
    Console(stderr=True).print(line, soft_wrap=True)
