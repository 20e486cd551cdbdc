"""Colour transfer by predicted potentials: dual values and times, beside the paper's."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._common import mean_and_spread
from refwfm.cli._experiment import Kind, Request

LEGEND = (
    "dual value: of fixed colours of a held-out pair, from 0 to 1 over what both runs logged for it; mean ± "
    "spread over pairs. start alone: what the hypernetwork corrects, without its correction.",
    "s: seconds for one pair, from its colours to its potentials, and for that many steps of W2GN; the "
    "paper's are of one GPU, its pictures paintings.",
)


def colours() -> Kind:
    """Experiments on colour transfer."""
    from refwfm.paper_figures.meta import colour_experiment

    return Kind(
        _plan, colour_experiment.run, colour_experiment.RECORDS, _line, _show, colour_experiment.as_rows
    )


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.paper_figures.meta import colour_data, colour_experiment

    scale = colour_experiment.SCALES[asked.scale]
    scale = scale._replace(steps=asked.steps or scale.steps, seeds=asked.seeds or scale.seeds)
    known = (colour_data.PALETTES, colour_data.PHOTOGRAPHS)
    if asked.data and (len(asked.data) > 1 or asked.data[0] not in known):
        raise ValueError(f"--data must be one of {', '.join(known)}; got {', '.join(asked.data)}")
    note = ""
    if asked.data:
        (data,) = asked.data
    elif colour_data.available():
        data = colour_data.PHOTOGRAPHS
    else:
        data = colour_data.PALETTES
        note = '\nphotographs are missing (pip install "refwfm[photographs]"): synthetic palettes only'
    colour_data.check(data)
    words = (
        f" at {asked.scale} scale: {scale.steps} steps of {scale.meta_batch} pairs out of {scale.clouds} "
        f"clouds, then {scale.fit_steps} steps of W2GN for each held-out pair"
    )
    tasks = colour_experiment.tasks_of(figure.STARTS, data, scale, asked.backend)
    return tasks, "".join([words, note, *("\nphotograph " + line for line in colour_data.licences(data))])


def _line(outcome: Any) -> str:
    from refwfm.paper_figures.meta.colour_experiment import normalised

    meta, _, _ = normalised(outcome)
    return (
        f"{outcome.task.start} start, seed {outcome.task.seed}: dual value predicted "
        f"{meta[:, 0].mean():.3f}, fine-tuned {meta[:, -1].mean():.3f}; {outcome.train_s:.0f} s of training"
    )


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    """A table for each start, how much faster predicting is, and what the words mean."""
    parts: list[Table | str] = []
    for start in dict.fromkeys(o.task.start for o in outcomes):
        found = [o for o in outcomes if o.task.start == start]
        parts += [_table(start, found, figure.PAPER), _faster(found)]
    return [*parts, *LEGEND]


def _table(start: str, outcomes: list[Any], paper: dict[tuple[str, str], tuple[str, str]]) -> Table:
    from refwfm.paper_figures.meta.colour_experiment import normalised

    table = Table(title=f"the hypernetwork corrects: {start}", box=box.SIMPLE, pad_edge=False)
    table.add_column("", no_wrap=True)
    kinds = list(dict.fromkeys(outcomes[0].kinds))
    of_each = kinds if len(kinds) > 1 else []
    for heading in ("steps", "s", "dual value", *of_each, "paper's s", "paper's"):
        table.add_column(heading, justify="right", no_wrap=True)
    meta, w2gn, alone = (np.concatenate(each) for each in zip(*map(normalised, outcomes), strict=True))
    of_kind = np.concatenate([o.kinds for o in outcomes])
    predict, step = (np.concatenate([getattr(o, name) for o in outcomes]) for name in ("predict_s", "step_s"))
    steps = outcomes[0].steps
    half = int(np.searchsorted(steps, steps[-1] / 2))

    def row(name: str, count: Any, seconds: Any, values: Any, published: tuple[str, str]) -> None:
        by_kind = [_dual(values[of_kind == kind]) for kind in of_each]
        table.add_row(name, str(count), seconds, _dual(values), *by_kind, *published)

    row("start alone", "none", "", alone, ("", ""))
    row("predicted", "none", mean_and_spread(predict), meta[:, 0], paper["meta", "none"])
    for name, values, key in (("then fitted", meta, "meta"), ("W2GN", w2gn, "w2gn")):
        for column, which in ((half, "half"), (len(steps) - 1, "all")):
            count = int(steps[column])
            row(name, count, mean_and_spread(count * step), values[:, column], paper[key, which])
    return table


def _dual(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def _faster(outcomes: list[Any]) -> str:
    ratios = np.concatenate([o.caught_up * o.step_s / o.predict_s for o in outcomes])
    needed = np.concatenate([o.caught_up for o in outcomes])
    mean = np.concatenate([o.caught_up * o.step_s for o in outcomes]).mean()
    mean /= np.concatenate([o.predict_s for o in outcomes]).mean()
    trained = np.mean([o.train_s for o in outcomes])
    return (
        f"W2GN needs more than {needed.mean():.0f} steps to reach the predicted value (mean over pairs, from "
        f"{needed.min()} to {needed.max()}): at least {mean:.0f} times as long as predicting it (least of "
        f"all pairs {ratios.min():.0f}). Training took {trained:.0f} s."
    )
