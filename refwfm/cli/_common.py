"""What several commands share: progress bars, number formats, the choice of a backend."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from refwfm.datasets import CloudFamily, Family, PairFamily, PopulationFamily
from refwfm.metrics.copying import NEAR
from refwfm.runs.config_file import TABLES
from refwfm.runs.recorder import Progress as Report
from refwfm.storage import atomic
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import GaussianConfig
from refwfm.training.flows import kind_of

Backend = Annotated[str | None, typer.Option(help=TABLES["run"]["backend"].help)]
"""Option ``--backend`` of every command that has one."""

Executor = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where runs and pools are: loky (processes of this machine), dask (a cluster made here), or "
        "dask://HOST:PORT.",
    ),
]
"""Option ``--executor`` of every command that has one."""

EVERY = 30.0
"""Seconds between lines that say how far something is, where there is no terminal for a bar."""

console = Console()
if not console.is_terminal:  # a file or a pipe has no width of its own
    console = Console(width=120)


def say(line: str, /) -> None:
    """Print one line, unwrapped and without markup."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def only_json(wanted: bool, /) -> Iterator[None]:
    """Print nothing within the block where JSON is wanted; ``typer.echo`` still does."""
    before, console.quiet = console.quiet, wanted or console.quiet
    try:
        yield
    finally:
        console.quiet = before


def named_path(text: str | Path, /) -> Path:
    """Path of an option; not the empty one, which would be the current folder."""
    if not str(text):
        raise typer.BadParameter("the path is empty; name a file or folder")
    return Path(text)


def duration(seconds: float, /) -> str:
    """Seconds in words, two digits of them."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s"


def gigabytes(size: float, /) -> str:
    """Bytes in words, two digits of them."""
    for unit, each in (("TB", 1e12), ("GB", 1e9)):
        if size >= each:
            return f"{size / each:.2g} {unit}"
    return f"{size / 1e6:.2g} MB"


def title_of(config: TrainingConfig, /) -> str:
    """What a configuration trains, in a word."""
    return config.method if isinstance(config, GaussianConfig) else kind_of(config)


def read_numbers(option: str, text: str, /) -> dict[str, float]:
    """Numbers by name from an option such as ``age=30,dose=1``."""
    found: dict[str, float] = {}
    for each in text.split(","):
        name, _, value = (part.strip() for part in each.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{option} is NAME=NUMBER, more of them behind commas; got {each!r}") from None
        if not name or name in found:
            raise ValueError(f"{option}: {name!r} must be given once; got {text!r}")
        found[name] = number
    return found


def named_conditions(model: Any, conditions: Any, /) -> dict[str, Any]:
    """Conditions of a model's members, as arguments of a family."""
    known = model.setting.conditions
    return {} if known is None else {"conditions": conditions, "condition_names": known.names}


def family_in_words(family: Family | CloudFamily | PairFamily | PopulationFamily, /) -> str:
    """How many measures, and of what size."""
    if isinstance(family, PopulationFamily):
        trained = int((family.parts == 0).sum())
        low, high = family.source.sizes.min(), family.source.sizes.max()
        return (
            f"{len(family)} populations ({trained} to train on) of {low} to {high} particles "
            f"in {family.dimension}-D"
        )
    if isinstance(family, PairFamily):
        n, m = family.sizes
        return f"pairs of histograms with {n} and {m} atoms, {family.about}"
    sizes = np.zeros(1) if isinstance(family, Family) else family.sizes
    return measures_in_words(len(family), sizes.min(), sizes.max(), family.dimension)


def measures_in_words(n: int, low: int, high: int, d: int, /) -> str:
    """So many clouds of these sizes, or Gaussians where they are 0."""
    points = f"{low} to {high}" if low < high else f"{high}"
    return f"{n} clouds of {points} points in {d}-D" if high else f"{n} Gaussians in {d}-D"


class Bars(NamedTuple):
    """What training reports to: while data are aligned or a start fitted, and then after some steps."""

    trained: Callable[[Report], None]
    aligned: Callable[[int, int], None]


@contextmanager
def training_progress(title: str, total: int, *, quiet: bool) -> Iterator[Bars]:
    """Progress bars with loss and rate on a terminal; elsewhere, or with ``quiet``, plain lines."""
    if quiet or not console.is_terminal:
        next_line = 0

        def line(report: Report) -> None:
            nonlocal next_line
            if report.step >= next_line or report.step == report.steps:
                next_line = report.step + max(1, report.steps // (1 if quiet else 10))
                say(f"{title}: step {report.step}/{report.steps}  {_numbers(report)}")

        yield Bars(line, lambda done, total: None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[numbers]}"), TimeRemainingColumn()) as bar:
        aligning = bar.add_task("preparing", total=None, numbers="", visible=False)
        training = bar.add_task(title, total=total, numbers="")
        yield Bars(
            lambda report: bar.update(training, completed=report.step, numbers=_numbers(report)),
            lambda done, total: bar.update(aligning, completed=done, total=total, visible=done < total),
        )


@contextmanager
def progress(title: str, total: int, /) -> Iterator[Callable[[int], None]]:
    """Progress bar, to be called with what is done; without a terminal a line every ``EVERY`` seconds."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    began = said = time.monotonic()

    def line(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if 0 < done < total and now - said >= EVERY:
            said = now
            left = (now - began) * (total / done - 1)
            say(f"{title}: {done:,} of {total:,}, about {duration(left)} to come")

    yield line


def runs_progress(total: int, /) -> Progress:
    """Progress bar over the runs of an experiment; off where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal or total == 0)


def _numbers(report: Report) -> str:
    return f"loss {report.loss:.4g}  {report.rate:.1f} steps/s"


def write_numbers(path: Path, scale: str, rows: list[dict[str, Any]], /) -> None:
    """Raw numbers of an experiment, as JSON."""
    atomic.write_text(path, json.dumps({"scale": scale, "rows": rows}, indent=1) + "\n")


def save_picture(path: Path, family: Family | CloudFamily, /) -> None:
    """Draw a family into a file and say so."""

    def draw() -> None:
        from refwfm.paper_figures.cloud_pictures import draw_cloud_family
        from refwfm.paper_figures.ellipses import draw_family

        if isinstance(family, CloudFamily):
            draw_cloud_family(family, path)
        else:
            draw_family(family, path)

    with_matplotlib(draw)
    say(f"wrote {path}")


def same_classes(real: Any, generated: Any, /) -> Any:
    """Members of a family of the classes that were generated; all where there are none of them."""
    if real.labels is None or generated.labels is None:
        return real
    among = np.isin(real.labels, generated.labels)
    return real.subset(among) if among.any() else real


def with_matplotlib(draw: Callable[[], None], /) -> None:
    """Draw; where matplotlib is missing, say how to install it."""
    try:
        draw()
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        raise ModuleNotFoundError('pictures need matplotlib: pip install "refwfm[figures]"') from error


def explained(training: int, unseen: str | None, /) -> list[str]:
    """What copy rate and coverage are of, a line each; ``unseen``: real members that were not trained on."""
    of = f"the {training} training members (none held out)" if unseen is None else unseen
    nearest = f"the nearest tenth of {of if unseen is None else unseen} is"
    return [
        f"copy rate: share as near to one of the {training} training members as {nearest}"
        f"{' to the others' if unseen is None else ''}; {NEAR:g} in truth, 1 for copies",
        f"coverage: share of {of} that are the nearest to one of at most as many generated; copies reach 1",
    ]


def mean_and_spread(values: np.ndarray | list[float], /) -> str:
    """``mean ± standard deviation``; without a spread where there is one value."""
    array = np.asarray(values, dtype=float)
    return f"{array.mean():.3g} ± {array.std(ddof=1):.2g}" if array.size > 1 else f"{array.mean():.3g}"
