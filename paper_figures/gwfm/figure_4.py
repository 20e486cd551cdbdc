"""GWFM Figure 4: circles, optimal transport within batches of different sizes."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.circles import FAMILY, SHAPE, SOURCES, circles_of, draw_circles
from refwfm.paper_figures.gwfm.experiment import FlowOutcome

__all__ = ["KIND", "SHAPE", "SOURCES", "TITLE", "draw", "variants"]

TITLE = "GWFM Figure 4: circles, learned paths for batch sizes (linear/linear)"
KIND = "couplings"

BATCHES = {"smoke": (2, 4), "laptop": (2, 8, 32), "paper": (4, 16, 64, 256)}
"""The smaller the batch, the worse the best partner in it: with a batch of one the outer plan is random."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """One coupling, batches of different sizes, equally many steps."""
    base = circles_of(scale, outer="linear", inner="linear")
    return {FAMILY: {f"batch {batch}": base.of(batch=batch) for batch in BATCHES[scale]}}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw the paths; return the file."""
    return draw_circles(outcomes, folder, "gwfm-figure-4", TITLE)
