"""Tables and figures that compare families of point clouds by 1-NN accuracy."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
from refwfm.cli._experiment import Kind, Request


def clouds() -> Kind:
    """Experiments that compare families of clouds by 1-NN accuracy."""
    from refwfm.paper_figures import cloud_experiment

    return Kind(plan, cloud_experiment.run, cloud_experiment.RECORDS, _line, _show, cloud_experiment.as_rows)


def plan(figure: Any, asked: Request, /) -> tuple[list[Any], str]:
    """Runs of the variants of a figure on the families that are asked for; see ``Kind``."""
    from refwfm.paper_figures import cloud_experiment

    variants = figure.variants(asked.scale)
    unknown = [family for family in asked.data or () if family not in variants]
    if unknown:
        raise ValueError(f"--data must be among {', '.join(variants)}; got {', '.join(unknown)}")
    variants = {
        family: {variant: _changed(each, asked.steps, asked.seeds) for variant, each in scales.items()}
        for family, scales in variants.items()
        if not asked.data or family in asked.data
    }
    for family in variants:
        cloud_experiment.load_pair(family)
    sources = getattr(figure, "SOURCES", None)
    tasks = cloud_experiment.tasks_of(variants, sources=sources, backend=asked.backend)
    return tasks, f" at {asked.scale} scale: {_in_words(variants)}"


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


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    return [
        _table(outcomes, getattr(figure, "PAPER", {})),
        "1-NN accuracy in %, 50 is best: mean ± spread over seeds and evaluations; EMD: exact, Euclidean.\n"
        "source: its own draws, untrained. real: clouds of the training family. All against held-out clouds.",
    ]


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
