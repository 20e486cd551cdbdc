"""GWFM Figure 5: circles, sliced transport with different numbers of directions."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.circles import FAMILY, SHAPE, SOURCES, circles_of, draw_circles
from refwfm.paper_figures.gwfm.experiment import FlowOutcome

__all__ = ["KIND", "SHAPE", "SOURCES", "TITLE", "draw", "variants"]

TITLE = "GWFM Figure 5: circles, learned paths for numbers of directions K (sliced/sliced)"
KIND = "couplings"

DIRECTIONS = {"smoke": (1, 4), "laptop": (1, 8, 64), "paper": (1, 4, 16, 64, 256)}


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Sliced plans on both levels."""
    base = circles_of(scale, outer="sliced", inner="sliced")
    return {FAMILY: {f"K = {n}": base.of(n_proj=n) for n in DIRECTIONS[scale]}}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw the paths; return the file."""
    return draw_circles(outcomes, folder, "gwfm-figure-5", TITLE)
