"""Tables and figures of point clouds: run the experiment, print the table, save pictures and numbers."""

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._common import console, mean_and_spread, runs_progress, say, write_numbers


class Kind(NamedTuple):
    """What an experiment does with each variant and seed, and how that is shown.

    Attributes
    ----------
    run : callable
        ``task -> outcome``; in other processes.
    as_rows : callable
        ``outcomes -> rows`` of the file of numbers.
    line : callable
        ``outcome -> str``, where there is no progress bar.
    show : callable
        ``(figure, outcomes)``: print the table, with ``figure`` the module.
    """

    run: Callable[[Any], Any]
    as_rows: Callable[[list[Any]], list[dict[str, Any]]]
    line: Callable[[Any], str]
    show: Callable[[Any, list[Any]], None]


def one_nn() -> Kind:
    """Experiments that compare families of clouds by 1-NN accuracy."""
    from refwfm.paper_figures import cloud_experiment

    return Kind(cloud_experiment.run, cloud_experiment.as_rows, _line, _show)


def experiment(
    name: str,
    module_name: str,
    scale: str,
    out: Path,
    backend: str | None,
    jobs: int | None,
    only: list[str] | None,
    *,
    kind: Callable[[], Kind] = one_nn,
    steps: int | None = None,
    seeds: int | None = None,
    resume: bool = False,
) -> None:
    """Run a module of ``paper_figures`` that has ``variants(scale)``."""
    from refwfm.paper_figures import cloud_experiment

    figure, what = import_module(module_name), kind()
    variants = figure.variants(scale)
    unknown = [family for family in only or () if family not in variants]
    if unknown:
        raise ValueError(f"--data must be among {', '.join(variants)}; got {', '.join(unknown)}")
    variants = {
        family: {variant: _changed(each, steps, seeds) for variant, each in scales.items()}
        for family, scales in variants.items()
        if not only or family in only
    }
    for family in variants:
        cloud_experiment.load_pair(family)  # better known before an hour of training than after
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    total = sum(each.seeds for scales in variants.values() for each in scales.values())
    say(f"{figure.TITLE}\n{total} runs at {scale} scale: {_in_words(variants)}")
    with runs_progress(total) as progress:
        task = progress.add_task("training", total=total)

        def done(outcome: Any) -> None:
            progress.advance(task)
            if progress.disable:
                say(what.line(outcome))

        outcomes = cloud_experiment.run_all(
            variants,
            sources=getattr(figure, "SOURCES", None),
            backend=backend,
            run=what.run,
            jobs=jobs,
            done=done,
            folder=out / f"{name}-runs",
            resume=resume,
        )
    what.show(figure, outcomes)
    numbers = out / f"{name}.json"
    write_numbers(numbers, scale, what.as_rows(outcomes))
    paths = [*(figure.draw(outcomes, out) if hasattr(figure, "draw") else ()), numbers]
    say(f"wrote {', '.join(map(str, paths))} after {time.perf_counter() - start:.0f} s")


def _changed(scale: Any, steps: int | None, seeds: int | None) -> Any:
    if steps is not None:
        scale = scale.of(steps=steps, decay_every=max(1, steps // 100))
    return scale if seeds is None else scale._replace(seeds=seeds)


def _in_words(variants: dict[str, dict[str, Any]]) -> str:
    def all_of(name: str, scales: dict[str, Any]) -> str:
        return " or ".join(dict.fromkeys(str(each.config.get(name, "default")) for each in scales.values()))

    return ", ".join(
        f"{family} {all_of('steps', scales)} steps of batch {all_of('batch', scales)}"
        for family, scales in variants.items()
    )


def _line(outcome: Any) -> str:
    each, result = outcome.task, outcome.trained[0]
    return (
        f"{each.data}, {each.variant}, seed {each.seed}: 1-NN accuracy Chamfer "
        f"{100 * result.chamfer.accuracy:.1f} %, EMD {100 * result.emd.accuracy:.1f} %, "
        f"{outcome.train_s:.0f} s of training"
    )


def _show(figure: Any, outcomes: list[Any]) -> None:
    console.print(_table(outcomes, getattr(figure, "PAPER", {})))
    say(
        "1-NN accuracy in %, 50 is best: mean ± spread over seeds and evaluations; EMD: exact, Euclidean.\n"
        "source: its own draws, untrained. real: clouds of the training family. All against held-out clouds."
    )


def _table(outcomes: list[Any], paper: dict[str, tuple[float, float]]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("data", "variant"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Chamfer", "EMD", "source", "real", "paper", "ms/step", "train s"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str], list[Any]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.task.data, outcome.task.variant), []).append(outcome)
    for (data, variant), found in groups.items():
        published = paper.get(data)
        table.add_row(
            data,
            variant,
            mean_and_spread(_percent(found, "trained", "chamfer")),
            mean_and_spread(_percent(found, "trained", "emd")),
            _both(found, "source"),
            _both(found, "real"),
            "" if published is None else " / ".join(f"{value:g}" for value in published),
            f"{np.mean([o.step_ms for o in found]):.0f}",
            f"{np.mean([o.train_s for o in found]):.0f}",
        )
    return table


def _percent(outcomes: list[Any], which: str, distance: str) -> list[float]:
    return [100 * float(getattr(each, distance).accuracy) for o in outcomes for each in getattr(o, which)]


def _both(outcomes: list[Any], which: str) -> str:
    """Mean accuracies in Chamfer distance and EMD."""
    return " / ".join(
        f"{np.mean(_percent(outcomes, which, distance)):.1f}" for distance in ("chamfer", "emd")
    )
