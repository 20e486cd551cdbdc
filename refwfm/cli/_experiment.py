"""What the kinds of experiments share: what is asked for, and the record of how a kind runs and looks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table


class Request(NamedTuple):
    """A figure or table that the command is asked for.

    Attributes
    ----------
    name, module : str
        Names of the figure and of its module in ``paper_figures``.
    scale : str
    out : path
        Folder for pictures and numbers.
    backend, jobs
        Where it runs; None for what the machine has.
    data : list of str, or None
        Families to restrict it to; None for all.
    steps, seeds : int, or None
        Override those of the scale.
    resume : bool
        Keep the finished runs in ``out``.
    executor : str
        Where the runs are, as for ``refwfm.backends.cluster.connected``.
    """

    name: str
    module: str
    scale: str
    out: Path
    backend: str | None = None
    jobs: int | None = None
    data: list[str] | None = None
    steps: int | None = None
    seeds: int | None = None
    resume: bool = False
    executor: str = "loky"


class Kind(NamedTuple):
    """How the runs of an experiment are planned and done, and how they are shown.

    Attributes
    ----------
    plan : callable
        ``(figure, request) -> (tasks, words)``, with ``figure`` the module: loads what it needs, so that
        what is missing is known before an hour of training and not after; the words say how much work it is.
    run : callable
        ``task -> outcome``; called in other processes.
    records : tuple of types
        Types that an outcome is made of.
    line : callable
        ``outcome -> str``, where there is no progress bar.
    show : callable
        ``(figure, outcomes) -> tables and lines``.
    as_rows : callable
        ``outcomes -> rows`` of the file of numbers.
    """

    plan: Callable[[Any, Request], tuple[list[Any], str]]
    run: Callable[[Any], Any]
    records: tuple[type, ...]
    line: Callable[[Any], str]
    show: Callable[[Any, list[Any]], list[Table | str]]
    as_rows: Callable[[list[Any]], list[dict[str, Any]]]
