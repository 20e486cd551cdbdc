"""Functions in processes of their own, which may change anything, hang, or die."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from threadpoolctl import threadpool_limits


def in_forks(
    function: Callable[[Any], Any], arguments: Iterable[Any], jobs: int, /
) -> Iterator[tuple[Any, Any, int]]:
    """Call a function on each argument in a forked process, ``jobs`` at once, of one thread each.

    Yields
    ------
    tuple
        An argument, as it comes, what the function returned (None where the process died before), and
        the exit code.

    Examples
    --------
    >>> sorted(value for _, value, _ in in_forks(abs, [-1, -2, -3], 2))
    [1, 2, 3]
    """
    context = multiprocessing.get_context("fork")
    left = iter(arguments)
    running: dict[Any, tuple[Any, Any]] = {}
    try:
        while True:
            for argument in islice(left, jobs - len(running)):
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(target=_send, args=(function, argument, writer))
                process.start()
                writer.close()  # the only other end is the child's, so that its death ends the reading
                running[reader] = process, argument
            if not running:
                return
            for ready in wait(list(running)):
                process, argument = running.pop(ready)
                value = None
                with contextlib.suppress(EOFError):
                    value = ready.recv()
                process.join()
                ready.close()
                yield argument, value, process.exitcode
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()


def _send(function: Callable[[Any], Any], argument: Any, writer: Connection) -> None:
    with threadpool_limits(1):
        writer.send(function(argument))
