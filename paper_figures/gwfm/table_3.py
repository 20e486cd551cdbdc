"""GWFM Table 3 and Figure 3: flows from MNIST to USPS, and kernel densities along them."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.flow_pictures import draw_densities
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, pairs_of
from refwfm.paper_figures.gwfm.tables import digits, draw_generated

TITLE = "GWFM Table 3 and Figure 3: from MNIST to USPS; couplings (outer/inner)"
KIND = "couplings"

SIZES = {"smoke": (64,), "laptop": (64,), "paper": (64, 128, 256)}
SOURCES = {f"usps-{n}": f"mnist-{n}" for n in SIZES["paper"]}

PAIRS = (("independent", "independent"), ("sliced", "sliced"), ("linear", "exact"))

SHAPE = (
    "the text: at 5 steps the approximation of WoW transport is clearly best, sliced transport is better "
    "than independent pairs at no extra cost; at 125 steps all are equal.",
    "ours: the approximation is a linear outer and an exact inner plan.",
)

FLOWS = 2
"""Digits whose densities are drawn."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Three couplings for each number of points."""
    return {f"usps-{n}": pairs_of(digits(scale), PAIRS) for n in SIZES[scale]}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw clouds of each coupling, and the same digits on their way with each; return the files."""
    files = draw_generated(outcomes, folder, "gwfm-table-3", TITLE)
    for data in dict.fromkeys(o.task.data for o in outcomes):
        found = [o for o in outcomes if o.task.data == data and o.task.seed == 0]
        files.append(folder / f"gwfm-figure-3-{data}.png")
        paths = {o.task.variant: o.path[:, :FLOWS] for o in found}
        draw_densities(paths, files[-1], title=f"from {SOURCES[data]} to {data}, kernel densities")
    return files
