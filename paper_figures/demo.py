"""The demo: the three methods on two real families that ship with the package, in two minutes."""

from pathlib import Path

from refwfm.datasets import load
from refwfm.paper_figures.comparison import draw_comparison
from refwfm.paper_figures.experiment import Outcome, Scale, first_seed

TITLE = "Demo: the 100 US cities (2-D) and cell niches of a mouse brain (16-D)"
KIND = "gaussians"
FAMILIES = ("cities", "niches")

SHARE = {"cities": 2 / 3, "niches": 1 / 4}
"""Of the scale's steps of training."""


def scale_of(name: str, scale: Scale, /) -> Scale:
    """How long each family is trained."""
    return scale._replace(steps=round(SHARE[name] * scale.steps))


def draw(outcomes: list[Outcome], folder: Path, /) -> list[Path]:
    """Draw the first seed of each method on each family; return the files."""
    paths = []
    for name in FAMILIES:
        paths.append(folder / f"{name}.png")
        draw_comparison(load(name), first_seed(outcomes, name), paths[-1])
    return paths
