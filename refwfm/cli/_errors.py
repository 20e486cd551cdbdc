"""Errors on the command line: one clear line, never a traceback."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from refwfm.backends import BackendError
from refwfm.evidence import ConvergenceError
from refwfm.runs.folders import RunError
from refwfm.training.algorithm import NonFiniteLossError

EXPECTED = (ValueError, OSError, ImportError, MemoryError, BackendError, ConvergenceError, NonFiniteLossError)
"""What a user can cause; anything else is a bug, and its traceback is wanted."""

FLAGS = " (on the command line: --resume continues a run, --out names its folder)"
"""How the command does what the library's errors about run folders advise."""


@contextmanager
def clear_errors(*, stopped: str | Callable[[], str] = "stopped") -> Iterator[None]:
    """Turn what a user can cause into one line and exit code 2, and Ctrl-C into ``stopped`` and code 130."""
    try:
        yield
    except KeyboardInterrupt:
        _print(Text(stopped if isinstance(stopped, str) else stopped()))
        raise typer.Exit(130) from None
    except EXPECTED as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader of a pipe has seen enough (`| head`); typer ends quietly
        line = " ".join(str(error).split()) or "out of memory"
        if isinstance(error, RunError):
            line += FLAGS
        _print(Text("error: ", style="bold red").append(line, style="default"))
        raise typer.Exit(2) from error


def _print(line: Text) -> None:
    Console(stderr=True).print(line, soft_wrap=True)
