"""Tables and figures of couplings: few and many Euler steps side by side, with straightness and times."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from refwfm.cli import cloud_figures
from refwfm.cli._experiment import Kind

LEGEND = (
    "1-NN accuracy in %, 50 is best, by the number of Euler steps. Ch: Chamfer, OT: exact, of squared "
    "distances; mean ± spread over evaluations and seeds.",
    "real: clouds of the training family. bend: of the learned paths, relative to their length, 0 is "
    "straight; cost: mean squared distance of paired points; coupling ms: the part of a step that the "
    "coupling takes, measured against random pairs.",
    "rectified: trained again on pairs of the model's own (ours), and generated with the short steps first.",
    "The cells of the paper's table are not available.",
)


def couplings() -> Kind:
    """Experiments that compare couplings."""
    from refwfm.paper_figures.gwfm import experiment

    return Kind(cloud_figures.plan, experiment.run, experiment.RECORDS, _line, _show, experiment.as_rows)


def times(rows: list[dict[str, Any]], /) -> Table:
    """Milliseconds: a row for each coupling, a column for each size of clouds and batch."""
    cells = {(row["coupling"], row["n"], row["batch"]): row["ms"] for row in rows}
    table = Table(title="ms of a step's coupling", box=box.SIMPLE, pad_edge=False)
    table.add_column("coupling (outer/inner)", no_wrap=True)
    columns = list(dict.fromkeys((n, batch) for _, n, batch in cells))
    for n, batch in columns:
        table.add_column(f"n {n}\nB {batch}", justify="right")
    for coupling in dict.fromkeys(coupling for coupling, _, _ in cells):
        found = [cells.get((coupling, *column)) for column in columns]
        table.add_row(coupling, *("-" if ms is None else f"{ms:.3g}" for ms in found))
    return table


def _line(outcome: Any) -> str:
    each = outcome.task
    scores = "; ".join(f"{steps} steps {_both(found)}" for steps, found in outcome.scores.items())
    return (
        f"{each.data}, {each.variant}, seed {each.seed}: 1-NN accuracy Chamfer / OT in %: {scores}; bend "
        f"{np.mean(outcome.straightness):.2g}; {outcome.train_s:.0f} s of training"
    )


def _both(found: list[Any]) -> str:
    means = (np.mean([100 * float(get(each)) for each in found]) for get in (_chamfer, _ot))
    return " / ".join(f"{mean:.1f}" for mean in means)


def _chamfer(comparison: Any) -> float:
    return float(comparison.chamfer.accuracy)


def _ot(comparison: Any) -> float:
    return float(comparison.emd.accuracy)


def _show(figure: Any, outcomes: list[Any]) -> list[Table | str]:
    """Two tables for each family, the report on laziness, and what the paper says."""
    parts: list[Table | str] = []
    for data in dict.fromkeys(o.task.data for o in outcomes):
        found = [o for o in outcomes if o.task.data == data]
        parts += [_scores(data, found), _paths(data, found)]
    lazy = [_lazy_line(o) for o in outcomes if o.laziness is not None and o.task.seed == 0]
    return [*parts, *LEGEND, *figure.SHAPE, *lazy]


def _scores(data: str, outcomes: list[Any]) -> Table:
    real = np.mean([[_chamfer(o.real), _ot(o.real)] for o in outcomes], axis=0)
    steps = list(outcomes[0].scores)
    table = _table(
        f"{data}; real: Chamfer {100 * real[0]:.1f}, OT {100 * real[1]:.1f}",
        [f"{k} {which}" for k in steps for which in ("Ch", "OT")],
    )
    for variant, found in _variants(outcomes).items():
        table.add_row(variant, *(_percent(found, k, get) for k in steps for get in (_chamfer, _ot)))
    return table


def _paths(data: str, outcomes: list[Any]) -> Table:
    headings = ["bend", "cost", "coupling ms", "ms/step", "train s"]
    table = _table(f"{data}; paths and times", headings)
    for variant, found in _variants(outcomes).items():
        numbers = (
            np.mean([o.straightness for o in found]),
            *(
                np.mean([getattr(o, name) for o in found])
                for name in ("cost", "coupling_ms", "step_ms", "train_s")
            ),
        )
        table.add_row(variant, *(f"{number:.3g}" for number in numbers))
    return table


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    table.add_column("coupling", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _variants(outcomes: list[Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys(o.task.variant for o in outcomes)
    return {name: [o for o in outcomes if o.task.variant == name] for name in names}


def _percent(outcomes: list[Any], steps: int, get: Callable[[Any], float]) -> str:
    values = [100 * get(each) for o in outcomes for each in o.scores[steps]]
    spread = f"±{np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def _lazy_line(outcome: Any) -> str:
    lazy = outcome.laziness
    return (
        f"laziness on {outcome.task.data} ({outcome.task.variant}), {len(lazy.ratio)} pairs of noise and "
        f"cloud: the alignment is optimal for {100 * lazy.optimal:.1f} %; lazy cost / exact cost "
        f"{lazy.mean_ratio:.4f} on average, {float(np.max(lazy.ratio)):.3f} at most; "
        f"noise {float(np.median(lazy.noise)):.3g}, lower bound of the stability radius "
        f"{float(np.median(lazy.radius)):.2g} (medians, units of the model)"
    )
