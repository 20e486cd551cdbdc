"""``refwfm demo`` and ``refwfm reproduce``."""

import time
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.table import Table

from refwfm.cli import cloud_figures, gwfm_figures
from refwfm.cli._common import console, mean_and_spread, runs_progress, say, write_numbers
from refwfm.cli._errors import clear_errors
from refwfm.training.methods import METHODS


class ScaleName(StrEnum):
    """Sizes of an experiment."""

    smoke = "smoke"
    laptop = "laptop"
    paper = "paper"


Jobs = Annotated[int | None, typer.Option(min=1, help="Processes [one per core].")]
Backend = Annotated[str | None, typer.Option(help="As for train.")]


class DemoName(StrEnum):
    """What a demo shows."""

    gaussians = "gaussians"
    clouds = "clouds"


def demo(
    what: Annotated[DemoName, typer.Argument(help="gaussians or clouds.")] = DemoName.gaussians,
    out: Annotated[Path, typer.Option(help="Folder for picture and numbers.")] = Path("refwfm-demo"),
    scale: Annotated[ScaleName, typer.Option(help="smoke: seconds; laptop: minutes.")] = ScaleName.laptop,
    backend: Backend = None,
    jobs: Jobs = None,
) -> None:
    """Gaussians: cities and cell niches, three methods. Clouds: handwritten fours, two couplings."""
    with clear_errors():
        _need_matplotlib()
        if what is DemoName.gaussians:
            _experiment("demo", "refwfm.paper_figures.demo", scale.value, out, backend, jobs, None)
        else:
            module = "refwfm.paper_figures.demo_clouds"
            cloud_figures.experiment("demo-clouds", module, scale.value, out, backend, jobs, None)


def reproduce(
    name: Annotated[str, typer.Argument(help="table-2, figure-2, ...: an unknown name lists them all.")],
    scale: Annotated[ScaleName, typer.Option(help="How much of the paper's effort.")] = ScaleName.laptop,
    data: Annotated[list[str] | None, typer.Option(help="Only these families (may be repeated).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training [the scale's].")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds [the scale's].")] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures and numbers.")] = Path("reproduced"),
    backend: Backend = None,
    jobs: Jobs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished runs in --out.")] = False,
) -> None:
    """Reproduce a table or figure of the paper: our numbers beside the paper's."""
    with clear_errors(stopped="stopped; the same command with --resume goes on after the finished runs"):
        from refwfm.paper_figures import CLOUD_FIGURES, FIGURES, GWFM_FIGURES

        kinds: tuple[tuple[dict[str, str], Callable[..., None]], ...] = (
            (FIGURES, _experiment),
            (CLOUD_FIGURES, cloud_figures.experiment),
            (GWFM_FIGURES, gwfm_figures.experiment),
        )
        if not any(name in figures for figures, _ in kinds):
            known = ", ".join(figure for figures, _ in kinds for figure in figures)
            raise ValueError(f"unknown figure or table {name!r}; choose one of {known}")
        _need_matplotlib()
        given = (("steps", steps), ("seeds", seeds), ("resume", resume or None))
        changes: dict[str, Any] = {key: value for key, value in given if value is not None}
        for figures, experiment in kinds:
            if name in figures:
                experiment(name, figures[name], scale.value, out, backend, jobs, data, **changes)


def _experiment(
    name: str,
    module_name: str,
    scale: str,
    out: Path,
    backend: str | None,
    jobs: int | None,
    only: list[str] | None,
    *,
    resume: bool = False,
    **changes: Any,
) -> None:
    """Run a module of ``paper_figures`` that compares the methods for Gaussians on ``FAMILIES``."""
    from refwfm.datasets import load
    from refwfm.paper_figures import experiment

    figure = import_module(module_name)
    if only and hasattr(figure, "draw"):
        raise ValueError(f"--data is for tables: {name} is a picture of {', '.join(figure.FAMILIES)}")
    families = tuple(dict.fromkeys(only or figure.FAMILIES))
    for family in families:
        load(family)  # what cannot be loaded is better known before an hour of training than after
    size = experiment.SCALES[scale]._replace(**changes)
    scales = {family: getattr(figure, "scale_of", _same)(family, size) for family in families}
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    total = len(families) * len(METHODS) * size.seeds
    steps = ", ".join(f"{family} {each.steps}" for family, each in scales.items())
    say(f"{figure.TITLE}\n{total} runs, two networks {size.depth} x {size.width}; steps: {steps}")
    with runs_progress(total) as progress:
        task = progress.add_task("training", total=total)

        def done(outcome: Any) -> None:
            progress.advance(task)
            if progress.disable:
                each = outcome.task
                took = f"{outcome.train_s:.0f} s of training"
                say(f"{each.data} {each.method} seed {each.seed}: {outcome.min_w2_sq:.4g}, {took}")

        outcomes = experiment.compare(
            scales, backend=backend, jobs=jobs, done=done, folder=out / f"{name}-runs", resume=resume
        )
    console.print(_table(families, outcomes))
    say(
        f"ours: mean ± spread over {size.seeds} seeds, each the mean of {size.size} generated Gaussians, "
        "in squared units of the data; covariances: their share of it; ratio: to Riemannian"
    )
    numbers = out / f"{name}.json"
    write_numbers(numbers, scale, experiment.as_rows(outcomes))
    paths = [numbers]
    if hasattr(figure, "draw"):
        paths = [*figure.draw(outcomes, out), numbers]
    say(f"wrote {', '.join(map(str, paths))} after {time.perf_counter() - start:.0f} s")


def _table(families: tuple[str, ...], outcomes: list[Any]) -> Table:
    from refwfm.paper_figures.experiment import by_method, seed_means
    from refwfm.paper_figures.table_2 import paper_value

    table = Table(title="min W2² to the data", box=box.SIMPLE, pad_edge=False)
    for heading in ("data", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ours", "± over generated", "ratio", "covariances", "paper", "ratio"):
        table.add_column(heading, justify="right", overflow="fold")
    for family in families:
        found = by_method(outcomes, family)
        base, paper_base = seed_means(found["riemannian"]), paper_value(family, "riemannian")
        for method, each in found.items():
            ours, paper = seed_means(each), paper_value(family, method)
            table.add_row(
                family if method == "riemannian" else "",
                method,
                mean_and_spread(ours),
                f"{np.mean(seed_means(each, 'deviation')):.2g}",
                f"{np.mean(ours) / np.mean(base):.2f}",
                f"{np.mean(seed_means(each, 'bures_part')):.3g}",
                "" if paper is None else f"{paper:.3g}",
                "" if paper is None or paper_base is None else f"{paper / paper_base:.2f}",
            )
        table.add_section()
    return table


def _same(name: str, scale: Any) -> Any:
    return scale


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "refwfm[figures]"') from None
