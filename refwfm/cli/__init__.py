"""The ``refwfm`` command: ``_app`` has all commands; it is imported only when Ctrl-C is taken care of."""

from typing import Any

from refwfm.cli import _signals


def main() -> None:
    """Entry point of the command."""
    _signals.install(_signals.at_once)
    from refwfm.cli._app import app

    app()


def __getattr__(name: str) -> Any:
    if name == "app":
        from refwfm.cli._app import app

        return app
    raise AttributeError(f"module 'refwfm.cli' has no attribute {name!r}")
