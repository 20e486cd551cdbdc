"""GWFM Figure 6: circles, entropic plans on either level, from nearly exact to nearly independent."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.circles import FAMILY, SHAPE, SOURCES, circles_of, draw_circles
from refwfm.paper_figures.gwfm.experiment import FlowOutcome

__all__ = ["KIND", "SHAPE", "SOURCES", "TITLE", "draw", "variants"]

TITLE = "GWFM Figure 6: circles, learned paths for Sinkhorn's eps, the other plan exact"
KIND = "couplings"

EPS = {"smoke": (0.01,), "laptop": (0.001, 0.01, 0.1), "paper": (0.001, 0.003, 0.01, 0.1, 1.0)}
"""In units of the largest cost: of the points of a pair of clouds, of the clouds of a batch."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Pairs of clouds drawn from the entropic plan of a batch, or points from those of optimal pairs."""
    outer = circles_of(scale, outer="linear", inner="linear")
    inner = circles_of(scale, outer="linear", inner="sampled")
    levels = {f"outer eps = {eps:g}": outer.of(outer_eps=eps) for eps in EPS[scale]}
    return {FAMILY: levels | {f"inner eps = {eps:g}": inner.of(eps=eps) for eps in EPS[scale]}}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw the paths; return the file."""
    return draw_circles(outcomes, folder, "gwfm-figure-6", TITLE)
