"""The ``refwfm`` command: ``_app`` has all commands; it is imported only when Ctrl-C is taken care of."""

import sys
from typing import Any

from refwfm.cli import _signals


def main() -> None:
    """Entry point of the command."""
    _signals.install(_signals.at_once)
    from refwfm.cli._app import app

    try:
        app()
    except OSError as error:  # of what a command or Typer prints itself: its own work has its own errors
        from refwfm.cli._errors import in_words

        sys.stderr.write(f"error: {in_words(error)}\n")
        sys.exit(2)


def __getattr__(name: str) -> Any:
    if name == "app":
        from refwfm.cli._app import app

        return app
    raise AttributeError(f"module 'refwfm.cli' has no attribute {name!r}")
