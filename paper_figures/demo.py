"""The demo: the three methods on two real families that ship with the package, in a minute or two."""

from pathlib import Path

from refwfm.datasets import load
from refwfm.paper_figures.comparison import draw_comparison
from refwfm.paper_figures.experiment import Outcome, Scale, first_seed
from refwfm.paper_figures.gaussian_flow import draw_gaussian_flow

TITLE = "Demo: the 100 US cities (2-D) and cell niches of a mouse brain (16-D)"
KIND = "gaussians"
FAMILIES = ("cities", "niches")

SHARE = {"cities": 1 / 4, "niches": 1 / 8}
"""Of the scale's steps of training."""


def scale_of(name: str, scale: Scale, /) -> Scale:
    """How long each family is trained, once by each method, with the options for laptops."""
    steps = round(SHARE[name] * scale.steps)
    return scale._replace(steps=steps, width=scale.width or 128, preset="laptop", seeds=1)


def draw_one(outcome: Outcome, folder: Path, /) -> list[Path]:
    """Draw the flow of a run as soon as it is done, if it is the first of the method that leads."""
    task = outcome.task
    if (task.method, task.seed) != ("riemannian", 0):
        return []
    path = folder / f"{task.data}.png"
    title = (
        f"{task.data}: W2² to the nearest real one {outcome.min_w2_sq:.3g} on average "
        f"after {outcome.train_s:.0f} s of training"
    )
    draw_gaussian_flow(outcome.path, load(task.data), path, title=title)
    return [path]


def draw(outcomes: list[Outcome], folder: Path, /) -> list[Path]:
    """Draw what the three methods made of each family, first seeds; return the files."""
    paths = []
    for name in FAMILIES:
        paths.append(folder / f"{name}-methods.png")
        draw_comparison(load(name), first_seed(outcomes, name), paths[-1])
    return paths
