"""What several commands share: progress bars, number formats, the choice of a backend."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from refwfm.runs.folders import Progress as Report
from refwfm.storage import atomic

console = Console()
if not console.is_terminal:  # a file or a pipe has no width of its own
    console = Console(width=120)


def say(line: str, /) -> None:
    """Print one line, unwrapped and without markup."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def training_progress(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """Progress bar with loss and rate on a terminal; elsewhere, or with ``quiet``, plain lines."""
    if quiet or not console.is_terminal:
        next_line = 0

        def line(report: Report) -> None:
            nonlocal next_line
            if report.step >= next_line or report.step == report.steps:
                next_line = report.step + max(1, report.steps // (1 if quiet else 10))
                say(f"{title}: step {report.step}/{report.steps}  {_numbers(report)}")

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[numbers]}"), TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=total, numbers="")
        yield lambda report: bar.update(task, completed=report.step, numbers=_numbers(report))


def runs_progress(total: int, /) -> Progress:
    """Progress bar over the runs of an experiment; off where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal or total == 0)


def _numbers(report: Report) -> str:
    return f"loss {report.loss:.4g}  {report.rate:.1f} steps/s"


def write_numbers(path: Path, scale: str, rows: list[dict[str, Any]], /) -> None:
    """Raw numbers of an experiment, as JSON."""
    atomic.write_text(path, json.dumps({"scale": scale, "rows": rows}, indent=1) + "\n")


def mean_and_spread(values: np.ndarray | list[float], /) -> str:
    """``mean ± standard deviation``; without a spread where there is one value."""
    array = np.asarray(values, dtype=float)
    return f"{array.mean():.3g} ± {array.std(ddof=1):.2g}" if array.size > 1 else f"{array.mean():.3g}"
