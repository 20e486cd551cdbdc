"""GWFM Figure 6: circles, entropic inner plans from nearly exact to nearly independent."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm_circles import FAMILY, SHAPE, SOURCES, circles_of, draw_circles
from refwfm.paper_figures.gwfm_experiment import FlowOutcome

__all__ = ["SHAPE", "SOURCES", "TITLE", "draw", "variants"]

TITLE = "GWFM Figure 6: circles, learned paths for Sinkhorn's eps (linear/sampled)"

EPS = {"smoke": (0.01, 1.0), "laptop": (0.001, 0.01, 0.1), "paper": (0.0003, 0.001, 0.01, 0.1, 1.0)}
"""In units of the largest squared distance of each pair of clouds. That of the outer plan is 0 throughout."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Targets drawn from the entropic plans of optimally paired clouds."""
    base = circles_of(scale, outer="linear", inner="sampled")
    return {FAMILY: {f"eps = {eps:g}": base.of(eps=eps) for eps in EPS[scale]}}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw the paths; return the file."""
    return draw_circles(outcomes, folder, "gwfm-figure-6", TITLE)
