"""What ``train`` and ``evaluate`` do with models of Meta Flow Matching: tables of distances to the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.progress import Progress
from rich.table import Table

from refwfm.cli._common import console, mean_and_spread, say
from refwfm.cli.population_data import are_populations
from refwfm.datasets import POPULATIONS, PopulationFamily, load_populations
from refwfm.datasets._population_family import PARTS
from refwfm.runs.evaluate_populations import ROWS, TRAINED_ON, PartMeasured, evaluate
from refwfm.runs.models import Model

WHAT = (
    f"populations before and after ({', '.join(POPULATIONS)}, or an .npz file of one's own, which "
    "refwfm data populations makes of AnnData)"
)
"""What Meta Flow Matching is learned from."""

PARTICLES = 1000
"""Particles of a population that are compared."""

STEPS = 20
"""Steps of Heun's method in prediction."""

TITLES = {"w1": "W1", "w2": "W2", "sq_mmd": "MMD² × 1000", "correlation": "correlation"}

NOTE = "mean ± standard deviation over populations"


def load_own(name: str, /) -> PopulationFamily:
    """Populations by name or from a file; an error that says what else could be given."""
    if not are_populations(name):
        if name.lower().endswith(".npz") and not Path(name).exists():
            raise FileNotFoundError(f"no such file: {name}")
        raise ValueError(f"{name} is no family of populations; Meta Flow Matching takes {WHAT}")
    return load_populations(name)


def after_training(model: Model[Any], family: PopulationFamily, /) -> None:
    """Measure what was learned on some held-out populations, or on training ones where none are held out."""
    part = next(part for part in ("test", "validation", "train") if (family.parts == PARTS.index(part)).any())
    say(f"measuring at most {TRAINED_ON} populations of {family.name}, {part}")
    found = evaluate(model, family, part=part, particles=200, most=TRAINED_ON)
    console.print(table(model, family, part, found))
    say(f"{NOTE}, of 200 particles each; refwfm evaluate measures more of them")


def evaluate_run(
    model: Model[Any], family: PopulationFamily, /, *, particles: int, n_steps: int, as_json: bool
) -> None:
    """Print how far predictions are from the truth, in all parts that a family has."""
    parts = [part for part in PARTS if (family.parts == PARTS.index(part)).any()]
    counts = {part: int((family.parts == PARTS.index(part)).sum()) for part in parts}
    counts["train"] = min(TRAINED_ON, counts.get("train", 0))
    found = {}
    with Progress(console=console, disable=not console.is_terminal or as_json) as bar:
        task = bar.add_task("evaluating", total=sum(counts.values()))
        for part in parts:
            found[part] = evaluate(
                *(model, family),
                part=part,
                particles=particles,
                n_steps=n_steps,
                progress=lambda: bar.advance(task),
            )
    if as_json:
        about = {"data": family.name, "step": model.state.step, "variant": model.config.variant}
        say(json.dumps({**about, "particles": particles, "parts": as_numbers(found)}))
        return
    for part, each in found.items():
        console.print(table(model, family, part, each))
        if each.unseen:
            say(f"{part}: {each.unseen} populations are under a condition that the model has never seen")
    capped = any(each.capped for each in found.values())
    say(f"{NOTE}{f'; of {particles} particles each, drawn at random' if capped else ''}")


def as_numbers(found: dict[str, PartMeasured], /) -> dict[str, Any]:
    """Values of each population, for JSON; what is not defined is null."""
    return {
        part: {
            "populations": each.positions.tolist(),
            "under_unseen_conditions": each.unseen,
            "rows": {
                row: {
                    name: [value if np.isfinite(value) else None for value in values.tolist()]
                    for name, values in metrics.items()
                }
                for row, metrics in each.numbers.items()
            },
        }
        for part, each in found.items()
    }


def table(model: Model[Any], family: PopulationFamily, part: str, found: PartMeasured, /) -> Table:
    """A row for each prediction, a column for each metric."""
    step = f"{model.config.variant}, step {model.state.step}"
    made = Table(
        title=f"{step}: {len(found.positions)} populations of {family.name}, {part}",
        box=box.SIMPLE,
        pad_edge=False,
    )
    made.add_column("prediction", no_wrap=True)
    for name in found.numbers["model"]:
        made.add_column(TITLES[name], justify="right", no_wrap=True)
    for row, metrics in found.numbers.items():
        cells = [
            mean_and_spread(1000 * values if name == "sq_mmd" else values) for name, values in metrics.items()
        ]
        made.add_row(ROWS[row], *cells)
    return made
