"""Ctrl-C and SIGTERM: one line and the exit code that shells expect, at any moment.

A command's own work is interrupted by an exception, so that it can put away what it holds. Outside of it,
while modules are imported and when the process ends, there is nothing to put away: the process ends at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def exit_code(stopped: KeyboardInterrupt, /) -> int:
    """128 and the signal's number."""
    return 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)


def at_once(number: int, frame: FrameType | None) -> None:
    """End the process."""
    os.write(2, b"stopped\n")
    os._exit(128 + number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt``; the next signal does not wait for what is put away then."""
    install(at_once)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def install(handler: Handler, /) -> dict[int, Any]:
    """Handle both signals, where they are not ignored (as by nohup); return the handlers from before."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    return before


@contextmanager
def handled(handler: Handler, /) -> Iterator[None]:
    """Handle both signals within a block."""
    before = install(handler)
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)


class Stopping:
    """A signal that waits for the end of a training step: ``stopping()`` says whether one came.

    Before the first step, a signal interrupts at once, and so does the second one.
    """

    def __init__(self) -> None:
        self.training = False
        self.number: int | None = None

    def __call__(self) -> bool:
        """Whether to stop, asked after each step."""
        self.training = True
        return self.number is not None

    def handler(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, or interrupt."""
        again, self.number = self.number is not None, number
        if again or not self.training:
            interrupt(number, frame)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal that came."""
        return 128 + (self.number or signal.SIGINT)
