"""Tables and figures of discrete Meta OT: iterations from three starts, beside the paper's seconds."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._experiment import Kind, Request
from refwfm.cli.meta_runs import NOTE, in_words, ratio, together, unused
from refwfm.runs.evaluate_meta import STARTS, THRESHOLDS


def meta_ot() -> Kind:
    """Experiments that compare starts of Sinkhorn's iteration."""
    from refwfm.paper_figures.meta import experiment

    return Kind(_plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.paper_figures.meta import experiment
    from refwfm.training.config import MetaOTConfig

    if asked.data:
        raise ValueError(
            f"--data: {asked.name} has its own pairs; refwfm train --kind meta-ot --data takes others"
        )
    scale = figure.scale(asked.scale)
    if asked.steps is not None:
        changes = {"steps": asked.steps, "decay_every": max(1, asked.steps // 100)}
        scale = scale._replace(config={**scale.config, **changes})
    scale = scale._replace(seeds=asked.seeds or scale.seeds)
    for name in scale.families:
        experiment.family_of(scale, name)
    config = MetaOTConfig(**scale.config)
    words = (
        f" at {asked.scale} scale: {config.steps} steps of batch {config.batch}, network {config.depth} x "
        f"{config.width}, {scale.pairs} held-out pairs"
    )
    return experiment.tasks_of(scale, backend=asked.backend), words


def _line(outcome: Any) -> str:
    first = next(iter(outcome.starts.values()))
    found = ", ".join(f"{STARTS[name]} {in_words(each, THRESHOLDS[0])}" for name, each in first.items())
    return (
        f"seed {outcome.task.seed}: iterations to {THRESHOLDS[0]:g}: {found}; "
        f"{outcome.train_s:.0f} s of training"
    )


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    parts: list[Table | str] = []
    for family in outcomes[0].starts:
        starts = {
            name: together([o.starts[family][name] for o in outcomes]) for name in outcomes[0].starts[family]
        }
        parts += [_table(family, starts, figure.PAPER), *unused(starts)]
    train_s, predict_ms = (
        np.mean([getattr(o, name) for o in outcomes]) for name in ("train_s", "predict_ms")
    )
    return [
        *parts,
        f"{outcomes[0].task.scale.pairs} held-out pairs, {len(outcomes)} trainings; {NOTE}; ratio: of zeros' "
        "mean to this start's",
        "paper: seconds on a GPU, with a look at the error every ten iterations, mean ± standard deviation",
        f"training took {train_s:.0f} s, predicting takes {predict_ms:.2g} ms for each pair",
    ]


def _table(family: str, starts: dict[str, Any], paper: dict[float, dict[str, tuple[float, float]]]) -> Table:
    table = Table(title=family, box=box.SIMPLE, pad_edge=False)
    for heading in ("error to", "start"):
        table.add_column(heading, no_wrap=True)
    for heading in ("iterations", "ratio", "paper s", "paper ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for threshold in THRESHOLDS:
        published = paper[threshold]
        for name, each in starts.items():
            mean, spread = published[name]
            table.add_row(
                f"{threshold:g}" if name == "zeros" else "",
                STARTS[name],
                in_words(each, threshold),
                f"{ratio(starts, name, threshold):.2f}",
                f"{mean:.2g} ± {spread:.2g}",
                f"{published['zeros'][0] / mean:.2f}",
            )
        table.add_section()
    return table
