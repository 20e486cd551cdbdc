"""``refwfm demo`` and ``refwfm reproduce``."""

import time
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from refwfm.backends.cluster import Cluster, connected
from refwfm.cli import (
    ablation_figures,
    cloud_figures,
    colour_figures,
    conditional_figures,
    coupling_figures,
    few_figures,
    gaussian_figures,
    meta_figures,
    population_figures,
)
from refwfm.cli._common import Backend, Executor, console, named_path, runs_progress, say, write_numbers
from refwfm.cli._errors import clear_errors
from refwfm.cli._experiment import Kind, Request
from refwfm.storage import atomic
from refwfm.training.options import nearest

KINDS: dict[str, Callable[[], Kind]] = {
    "gaussians": gaussian_figures.gaussians,
    "clouds": cloud_figures.clouds,
    "couplings": coupling_figures.couplings,
    "few-steps": few_figures.few_steps,
    "meta-ot": meta_figures.meta_ot,
    "colours": colour_figures.colours,
    "conditional": conditional_figures.conditional,
    "oracles": population_figures.oracles,
    "populations": population_figures.populations,
    "ablation": ablation_figures.ablations,
}
"""Kinds of experiments, as the modules of ``paper_figures`` name theirs."""


class ScaleName(StrEnum):
    """Sizes of an experiment."""

    smoke = "smoke"
    laptop = "laptop"
    paper = "paper"


Jobs = Annotated[int | None, typer.Option(min=1, help="Number of processes (default one for each core).")]


class DemoName(StrEnum):
    """What a demo shows."""

    gaussians = "gaussians"
    clouds = "clouds"


def demo(
    what: Annotated[
        DemoName, typer.Argument(help="Kind of measure to show: gaussians or clouds.")
    ] = DemoName.gaussians,
    out: Annotated[
        Path, typer.Option(parser=named_path, metavar="PATH", help="Folder for the pictures and numbers.")
    ] = Path("refwfm-demo"),
    scale: Annotated[
        ScaleName, typer.Option(help="Size of the experiment; smoke takes seconds, laptop minutes.")
    ] = ScaleName.laptop,
    backend: Backend = None,
    jobs: Jobs = None,
) -> None:
    """Train on the shipped data and draw the result.

    Gaussians: cities and cell niches, by three methods. Clouds: handwritten fours, with two couplings.
    """
    with clear_errors():
        _need_matplotlib()
        gaussians = what is DemoName.gaussians
        name, module = ("demo", "demo") if gaussians else ("demo-clouds", "demo_clouds")
        perform(Request(name, f"refwfm.paper_figures.{module}", scale.value, out, backend, jobs))


def reproduce(
    name: Annotated[
        str, typer.Argument(help="Figure or table, such as table-2; an unknown name lists them all.")
    ],
    scale: Annotated[
        ScaleName, typer.Option(help="Size of the experiment; paper has the paper's own settings.")
    ] = ScaleName.laptop,
    data: Annotated[
        list[str] | None, typer.Option(help="Family to restrict a table to (may be repeated).")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of training (default that of the scale).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds (default that of the scale).")
    ] = None,
    out: Annotated[
        Path, typer.Option(parser=named_path, metavar="PATH", help="Folder for the pictures and numbers.")
    ] = Path("reproduced"),
    backend: Backend = None,
    jobs: Jobs = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the finished runs that --out holds.")
    ] = False,
    executor: Executor = "loky",
) -> None:
    """Reproduce a table or figure of the paper: our numbers beside the paper's."""

    def stopped() -> str:
        if any((out / f"{name}-runs").glob("*.npz")):
            return "stopped; the same command with --resume goes on after the finished runs"
        return "stopped before the first run was finished"

    with clear_errors(stopped=stopped):
        from refwfm.paper_figures import FIGURES

        if name not in FIGURES:
            near = nearest(name, FIGURES, listed="this line")
            raise ValueError(f"unknown figure or table {name!r}; {near}: {', '.join(FIGURES)}")
        _need_matplotlib()
        named = Request(name, FIGURES[name], scale.value, out, backend, jobs, data, steps, seeds, resume)
        perform(named._replace(executor=executor))


def perform(asked: Request, /) -> None:
    """Run the experiment of a figure or table; print its tables, save pictures and numbers."""
    figure = import_module(asked.module)
    if figure.KIND == "times":
        _measure(figure, asked)
        return
    kind = KINDS[figure.KIND]()
    with connected(asked.executor, jobs=asked.jobs) as cluster, atomic.made_folder(asked.out):
        tasks, words = kind.plan(figure, asked)
        start = time.perf_counter()
        atomic.sweep(asked.out)
        where = "" if cluster is None else f"; {cluster.workers} workers of {asked.executor}"
        say(f"{figure.TITLE}\n{len(tasks)} runs{words}{where}")
        early: list[Path] = []
        outcomes = _outcomes(
            kind, tasks, asked, cluster, lambda outcome: early.extend(_drawn(figure, outcome, asked, start))
        )
        for part in kind.show(figure, outcomes):
            _print(part)
        pictures = figure.draw(outcomes, asked.out) if hasattr(figure, "draw") else []
        _finish(asked, kind.as_rows(outcomes), [*early, *pictures], start)


def _drawn(figure: Any, outcome: Any, asked: Request, start: float) -> list[Path]:
    """Pictures of one run, for those who do not want to wait for all."""
    paths: list[Path] = figure.draw_one(outcome, asked.out) if hasattr(figure, "draw_one") else []
    for path in paths:
        say(f"{path} after {time.perf_counter() - start:.0f} s")
    return paths


def _outcomes(
    kind: Kind, tasks: list[Any], asked: Request, cluster: Cluster | None, each: Callable[[Any], None]
) -> list[Any]:
    from refwfm.paper_figures.processes import in_processes

    with runs_progress(len(tasks)) as progress:
        bar = progress.add_task("training", total=len(tasks))

        def done(outcome: Any) -> None:
            progress.advance(bar)
            if progress.disable:
                say(kind.line(outcome))
            each(outcome)

        return in_processes(
            kind.run,
            tasks,
            backend=asked.backend,
            jobs=asked.jobs,
            cluster=cluster,
            done=done,
            folder=asked.out / f"{asked.name}-runs",
            resume=asked.resume,
            kinds=kind.records,
            unreadable=lambda reason: say(f"{reason}: that run is done again"),
        )


def _measure(figure: Any, asked: Request) -> None:
    """Time a module that trains nothing."""
    if asked.data or asked.steps or asked.seeds or asked.resume or asked.executor != "loky":
        raise ValueError(
            f"{asked.name} trains nothing: --data, --steps, --seeds, --resume and --executor have no meaning "
            "there"
        )
    with atomic.made_folder(asked.out):
        start = time.perf_counter()
        say(figure.TITLE)
        rows = figure.measure(asked.scale, asked.backend)
        for part in (coupling_figures.times(rows), *figure.SHAPE):
            _print(part)
        _finish(asked, rows, [], start)


def _finish(asked: Request, rows: list[dict[str, Any]], pictures: list[Path], start: float) -> None:
    numbers = asked.out / f"{asked.name}.json"
    write_numbers(numbers, asked.scale, rows)
    paths = ", ".join(map(str, [*pictures, numbers]))
    say(f"wrote {paths} after {time.perf_counter() - start:.0f} s")


def _print(part: Table | str) -> None:
    if isinstance(part, str):
        say(part)
    else:
        console.print(part)


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "refwfm[figures]"') from None
