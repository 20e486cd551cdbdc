"""Generation in few steps: quality against calls of the network, for solvers, times and couplings. Ours."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from refwfm.paper_figures.few_experiment import RECTIFIED, SOLVERS, FewOutcome, FewScale, calls_of
from refwfm.paper_figures.gwfm.circles import FAMILY, SOURCES, circles_of
from refwfm.paper_figures.gwfm.table_1 import PAIRS
from refwfm.paper_figures.saving import save_figure

TITLE = "Few steps: how many calls of the network does generation need?"
KIND = "few-steps"

GAUSSIANS = ("two-moons", "niches")
COUPLINGS = dict.fromkeys(("/".join(pair) for pair in PAIRS), SOURCES[FAMILY])
COUPLINGS[f"independent/independent{RECTIFIED}"] = SOURCES[FAMILY]
"""Outer and inner plan -> the family that its flow to ``FAMILY`` starts from."""

SMOKE = {"steps": 20, "width": 16, "depth": 2, "learning_rate": 1e-2, "conditional": False}
LAPTOP = {**SMOKE, "steps": 1000, "batch": 32, "width": 64, "decay_every": 10}
SMALL = {"steps": 500, "batch": 16, "width": 32, "hidden": 64, "heads": 2}
SCALES = {
    "smoke": FewScale(SMOKE, circles_of("smoke"), 12, (1, 2, 5), 1, 1, 32),
    "laptop": FewScale(LAPTOP, circles_of("laptop").of(**SMALL), 48, (1, 2, 5, 10, 25, 50), 1, 3, 1024),
    "paper": FewScale({}, circles_of("paper"), 256, (1, 2, 5, 10, 25, 50), 3, 5, 32_768),
}

COLOURS = {"Euler": "#4477aa", "Euler, late": "#66ccee", "midpoint": "#d1495b"}
"""Solvers that are drawn."""

PLANS = dict(zip(COUPLINGS, ("#8a8f98", "#228833", "#aa3377", "#ee7733", "#4477aa"), strict=True))
REAL = "#2f3640"


def draw(outcomes: list[FewOutcome], folder: Path, /) -> list[Path]:
    """Draw distance to held-out measures against calls: solvers on each family, then couplings; the file."""
    path = folder / "few-steps.png"
    groups: dict[tuple[str, str], list[FewOutcome]] = {}
    for o in outcomes:
        groups.setdefault((o.task.data, o.task.coupling), []).append(o)
    first = {data: group for (data, _), group in reversed(groups.items())}
    plans = {coupling: group for (_, coupling), group in groups.items() if coupling}
    panels = [
        (title, {s: (COLOURS[s], s, group) for s in COLOURS}) for title, group in _titles(first).items()
    ]
    if len(plans) > 1:
        panels.append((f"{FAMILY}, Euler: couplings", {c: (PLANS[c], "Euler", g) for c, g in plans.items()}))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.5 * columns, 3.6 * rows + 0.4), layout="constrained")
    figure.suptitle(TITLE, fontsize="medium")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (title, lines) in zip(axes, panels, strict=False):
        _panel(ax, title, lines)
    save_figure(figure, path)
    return [path]


def _titles(first: dict[str, list[FewOutcome]]) -> dict[str, list[FewOutcome]]:
    return {
        f"{data}" + (f", coupling {group[0].task.coupling}" if group[0].task.coupling else ""): group
        for data, group in reversed(first.items())
    }


def _panel(ax: Axes, title: str, lines: dict[str, tuple[str, str, list[FewOutcome]]]) -> None:
    """Lines with their names at their right ends, apart from each other, and what real members have."""
    ends = {}
    for name, (colour, solver, group) in lines.items():
        x = [calls_of(solver, calls) for calls in group[0].quality[solver]]
        values = np.array(
            [[v for o in group for v in o.quality[solver][c]] for c in group[0].quality[solver]]
        )
        y = values.mean(axis=1)
        ax.plot(x, y, color=colour, lw=1.6, marker="o", ms=3.5)
        ends[name] = (x[-1], y[-1], colour)
    real = float(np.mean([v for _, _, group in lines.values() for o in group for v in o.real]))
    ax.axhline(real, color=REAL, lw=1, ls=(0, (4, 3)))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted(
        {calls_of("Euler", c) for _, _, group in lines.values() for c in group[0].quality["Euler"]}
    )
    ax.set_xticks(ticks, map(str, ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    for kind in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        kind(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else ""))
    ax.tick_params(axis="y", which="both", labelsize=7)
    ax.set_xlim(0.9 * ticks[0], 4.0 * ticks[-1])
    ax.set_title(title, fontsize="medium", loc="left")
    ax.set_xlabel("calls of the network for each measure", fontsize="small")
    ax.set_ylabel("squared distance to held-out measures", fontsize="small")
    ax.annotate("real members", (ticks[0], real), (0, 3), textcoords="offset points", fontsize=7, color=REAL)
    low, high = np.log(ax.get_ylim())
    apart, order = 0.055 * (high - low), sorted(ends.items(), key=lambda item: item[1][1])
    places = np.log([y for _, (_, y, _) in order])
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + apart)
    places -= max(0.0, places[-1] - high)  # within the panel
    for (name, (x, _, colour)), place in zip(order, places, strict=True):
        ax.text(1.08 * max(x, ticks[-1]), np.exp(place), name, color=colour, fontsize=7, va="center")
    ax.spines[["top", "right"]].set_visible(False)


__all__ = ["COUPLINGS", "FAMILY", "GAUSSIANS", "KIND", "SCALES", "SOLVERS", "TITLE", "draw"]
