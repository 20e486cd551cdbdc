"""GWFM Figure 1: circles of 30 points, paths learned with three couplings, and with a fourth, fast one."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.circles import FAMILY, SHAPE, SOURCES, circles_of, draw_circles
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, pairs_of

__all__ = ["KIND", "SHAPE", "SOURCES", "TITLE", "draw", "variants"]

TITLE = "GWFM Figure 1: circles, learned paths for couplings (outer/inner)"
KIND = "couplings"

PAIRS = (("independent", "independent"), ("wasserstein", "exact"), ("sliced", "sliced"), ("lazy", "lazy"))


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Four couplings of the same families."""
    return {FAMILY: pairs_of(circles_of(scale), PAIRS)}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw the paths; return the file."""
    return draw_circles(outcomes, folder, "gwfm-figure-1", TITLE)
