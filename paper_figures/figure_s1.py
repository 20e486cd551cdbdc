"""WFM Figure S1: spiral of 16 Gaussians, data and the three methods."""

from pathlib import Path

from refwfm.datasets import load
from refwfm.paper_figures.comparison import draw_comparison
from refwfm.paper_figures.experiment import Outcome, first_seed

TITLE = "Figure S1: spiral of 16 Gaussians"
KIND = "gaussians"
FAMILIES = ("spiral-16",)


def draw(outcomes: list[Outcome], folder: Path, /) -> list[Path]:
    """Draw the first seed of each method; return the files."""
    paths = [folder / f"figure-s1.{ending}" for ending in ("png", "pdf")]
    for path in paths:
        draw_comparison(load(FAMILIES[0]), first_seed(outcomes, FAMILIES[0]), path, title=TITLE)
    return paths
