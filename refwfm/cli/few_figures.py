"""The table of few steps: quality against calls of the network."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli._experiment import Kind, Request


def few_steps() -> Kind:
    """Experiments that count calls of the network."""
    from refwfm.paper_figures import few_experiment as experiment

    return Kind(_plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def _plan(figure: Any, asked: Request) -> tuple[list[Any], str]:
    from refwfm.datasets import load
    from refwfm.paper_figures.few_experiment import FewTask

    known = (*figure.GAUSSIANS, figure.FAMILY)
    unknown = [name for name in asked.data or () if name not in known]
    if unknown:
        raise ValueError(f"--data must be among {', '.join(known)}; got {', '.join(unknown)}")
    scale = figure.SCALES[asked.scale]
    if asked.steps is not None:
        changes = {"steps": asked.steps, "decay_every": max(1, asked.steps // 100)}
        scale = scale._replace(gaussians=scale.gaussians | changes, clouds=scale.clouds.of(**changes))
    scale = scale._replace(seeds=asked.seeds or scale.seeds)
    wanted = [name for name in known if not asked.data or name in asked.data]
    for name in wanted:
        load(name)
    runs: list[tuple[str, str, str | None]] = [(name, "", None) for name in wanted if name != figure.FAMILY]
    if figure.FAMILY in wanted:
        runs += [(figure.FAMILY, coupling, source) for coupling, source in figure.COUPLINGS.items()]
    tasks = [FewTask(*each, seed, scale, asked.backend) for each in runs for seed in range(scale.seeds)]
    return tasks, f" at {asked.scale} scale, of {', '.join(wanted)}"


def _line(outcome: Any) -> str:
    each, euler = outcome.task, outcome.quality["Euler"]
    found = ", ".join(f"{calls} calls {np.mean(values):.3g}" for calls, values in euler.items())
    return f"{_name(outcome)} seed {each.seed}: Euler {found}; {outcome.train_s:.0f} s of training"


def _name(outcome: Any) -> str:
    return " ".join(part for part in (outcome.task.data, outcome.task.coupling) if part)


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    scale, parts = outcomes[0].task.scale, []
    for name in dict.fromkeys(_name(o) for o in outcomes):
        group = [o for o in outcomes if _name(o) == name]
        real = np.array([value for o in group for value in o.real])
        parts.append(_table(f"{name}; real members: {real.mean():.3g}", group, scale.calls))
    return [
        *parts,
        "squared distance of generated to as many held-out members (the best pairs);",
        f"means over {scale.evaluations} draws of {scale.seeds} trainings. *: the least of a column, and",
        "what is within one standard error of its difference to it. Columns: calls of the",
        "network at most; a step of midpoint takes two. early, late: short steps there.",
        "Below real members: generated ones that are less spread are nearer to all.",
    ]


def _table(title: str, group: list[Any], calls: tuple[int, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    table.add_column("solver", no_wrap=True)
    for each in calls:
        table.add_column(str(each), justify="right", no_wrap=True)
    found = {
        (solver, each): np.array([value for o in group for value in o.quality[solver][each]])
        for solver in group[0].quality
        for each in group[0].quality[solver]
    }
    for solver in group[0].quality:
        cells = []
        for each in calls:
            if (solver, each) not in found:
                cells.append("-")
                continue
            column = [values for (_, number), values in found.items() if number == each]
            best = min(column, key=np.mean)
            values = found[solver, each]
            gap = values - best  # of the same sources and held-out members
            error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
            cells.append(f"{values.mean():.3g}{'*' if gap.mean() <= error else ' '}")
        table.add_row(solver, *cells)
    return table
