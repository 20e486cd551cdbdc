"""The demo of point clouds: variable-sized handwritten fours, with and without optimal transport."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import DRAWN, LAPTOP, SMOKE, CloudOutcome, CloudScale
from refwfm.paper_figures.cloud_pictures import draw_clouds_comparison

TITLE = "Demo: handwritten fours as point clouds of their own sizes (MNIST), against held-out fours"
KIND = "clouds"

STEPS = 1800
OPTIMAL, RANDOM = "optimal transport", "random pairing"


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Optimal transport between clouds and between points, and flow matching with random pairs of both."""
    base = (
        SMOKE
        if scale == "smoke"
        else LAPTOP._replace(seeds=1, size=100, evaluations=3).of(steps=STEPS, decay_every=STEPS // 100)
    )
    optimal = base.of(inner="exact", outer="frechet")
    return {"fours": {OPTIMAL: optimal, RANDOM: base.of(inner="independent", outer="independent")}}


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw generated beside real fours, one picture for each variant; return the files."""
    paths = []
    for outcome in outcomes:
        if outcome.task.seed == 0:
            paths.append(folder / f"fours-{outcome.task.variant.replace(' ', '-')}.png")
            title = f"fours, {outcome.task.variant}, {outcome.task.scale.config['steps']} steps"
            draw_clouds_comparison(
                outcome.held_out[:DRAWN], outcome.generated[:DRAWN], paths[-1], title=title
            )
    return paths
