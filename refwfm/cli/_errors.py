"""Errors on the command line: one clear line, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn bad input, files that cannot be used and missing libraries into one line and exit code 2."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        line = " ".join(str(error).split())
        console = Console(stderr=True)
        console.print(Text("error: ", style="bold red").append(line, style="default"), soft_wrap=True)
        raise typer.Exit(2) from error
