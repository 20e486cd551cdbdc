"""Meta OT, section 4.2: colour transfer, the potentials of a pair of pictures predicted, then finished."""

from pathlib import Path

from refwfm.paper_figures.meta.colour_data import PHOTOGRAPHS
from refwfm.paper_figures.meta.colour_experiment import ColourOutcome
from refwfm.paper_figures.meta.colour_pictures import draw_clouds, draw_dual_values, draw_transfer

TITLE = "Meta OT: colour transfer by predicted convex potentials"
KIND = "colours"

STARTS = ("gaussian", "identity")
"""What the hypernetwork corrects: ours first, then the paper's."""

PAPER = {
    ("meta", "none"): ("0.0035", "0.90 ± 0.06"),
    ("meta", "half"): ("0.93", "1.00 ± 0.00"),
    ("meta", "all"): ("1.84", "1.00 ± 0.01"),
    ("w2gn", "half"): ("0.90", "0.96 ± 0.03"),
    ("w2gn", "all"): ("1.81", "0.99 ± 0.01"),
}
"""Seconds on one GPU and normalised dual values of the paper, after no, 1000 and 2000 steps of fitting."""


def draw(outcomes: list[ColourOutcome], folder: Path, /) -> list[Path]:
    """Draw dual values against steps, clouds of colours and, with them, photographs; return the files."""
    first = outcomes[0]
    files = [folder / "meta-ot-color-dual.png", folder / "meta-ot-color-clouds.png"]
    draw_dual_values(outcomes, files[0], title=TITLE)
    draw_clouds(first, files[1], title=TITLE)
    if first.task.data == PHOTOGRAPHS:
        files.append(folder / "meta-ot-color-transfer.png")
        draw_transfer(first, files[-1], title=TITLE)
    return files
