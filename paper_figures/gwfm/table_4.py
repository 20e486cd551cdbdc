"""GWFM Table 4: MNIST as clouds of 64 points, from pure noise."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, pairs_of
from refwfm.paper_figures.gwfm.tables import digits, draw_generated

TITLE = "GWFM Table 4: MNIST, 64 points, pure noise; couplings (outer/inner)"
KIND = "couplings"

PAIRS = (("independent", "independent"), ("wasserstein", "exact"), ("sliced", "sliced"), ("linear", "linear"))
"""Pure noise has no order: lazy plans refuse it, linear ones align it in each step."""

SHAPE = (
    "the text: equal to barycentric noise (Table 1) or worse; lazy linear transport suffers most.",
    "ours: linear in place of lazy, which takes no source without the order of the reference.",
)


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Four couplings at equal training."""
    return {"mnist-64": pairs_of(digits(scale, source="pure"), PAIRS)}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw clouds of each coupling after few and after many steps; return the file."""
    return draw_generated(outcomes, folder, "gwfm-table-4", TITLE)
