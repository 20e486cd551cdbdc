"""The demo of point clouds: variable-sized handwritten fours, with and without optimal transport."""

from pathlib import Path

import numpy as np

from refwfm.paper_figures.cloud_experiment import FOLLOWED, SMOKE, CloudOutcome, CloudScale, scale_of
from refwfm.paper_figures.cloud_pictures import draw_rows

TITLE = "Demo: handwritten fours as point clouds of their own sizes (MNIST), against held-out fours"
KIND = "clouds"

STEPS, LOOK = 1500, 200
OPTIMAL, RANDOM, FIRST = "optimal transport", "random pairing", f"a first look, {LOOK} steps"


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Optimal transport between clouds and between points, and flow matching with random pairs of both.

    The first look is a short run of the former, for those who do not want to wait.
    """
    base = SMOKE if scale == "smoke" else scale_of(scale, "fours")._replace(seeds=1, size=100, evaluations=2)
    optimal = base.of(inner="exact", outer="frechet")
    random = base.of(inner="independent", outer="independent")
    if scale == "smoke":
        return {"fours": {OPTIMAL: optimal, RANDOM: random}}
    first = optimal._replace(size=50, evaluations=1).of(steps=LOOK)
    long = {"steps": STEPS}
    return {"fours": {FIRST: first, OPTIMAL: optimal.of(**long), RANDOM: random.of(**long)}}


def draw_one(outcome: CloudOutcome, folder: Path, /) -> list[Path]:
    """Draw the first look as soon as there is one."""
    if outcome.task.variant != FIRST:
        return []
    path = folder / "fours-first-look.png"
    rows = {"real, held out": outcome.held_out[:FOLLOWED], **_rows(outcome)}
    draw_rows(rows, path, title=f"fours after {outcome.train_s:.0f} s of training")
    return [path]


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw one picture of real fours and of both flows, from noise to fours; return the file."""
    chosen = [o for o in outcomes if o.task.seed == 0 and o.task.variant != FIRST]
    rows = {"real, held out": chosen[0].held_out[:FOLLOWED]}
    for outcome in chosen:
        rows |= _rows(outcome)
    path = folder / "fours.png"
    draw_rows(rows, path, title=f"fours from noise, {chosen[0].task.scale.config['steps']} steps of training")
    return [path]


def _rows(outcome: CloudOutcome) -> dict[str, list[np.ndarray]]:
    accuracy = 100 * np.mean([each.emd.accuracy for each in outcome.trained])
    ends = (
        "t = 0, noise",
        "t = 1/2",
        f"t = 1; told from real ones in {accuracy:.0f} % (50 is best)",
    )
    return {f"{outcome.task.variant}, {end}": way for end, way in zip(ends, outcome.way, strict=True)}
