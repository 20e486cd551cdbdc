"""GWFM Table 1: MNIST as clouds of 64 points, from barycentric noise, couplings on both levels."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, pairs_of, rectified
from refwfm.paper_figures.gwfm.tables import digits, draw_generated

TITLE = "GWFM Table 1: MNIST, 64 points, barycentric noise; couplings (outer/inner)"
KIND = "couplings"

PAIRS = (("independent", "independent"), ("wasserstein", "exact"), ("sliced", "sliced"), ("lazy", "lazy"))
MORE_PAIRS = (("independent", "exact"), ("independent", "lazy"), ("sliced", "exact"))
"""At paper scale only. The paper has seven pairs; which, beyond those that its text names, is ours."""

RECTIFIED = {"smoke": 32, "laptop": 4096, "paper": 32_768}
"""Pairs of a rectified flow, which is not the paper's."""

SHAPE = (
    "the text: transport on both levels helps most; independent pairs are worst and catch up with many "
    "steps; lazy linear is as good as exact transport or better.",
    "training took 9-10 h with exact transport, 3-4 h with independent pairs, 4-5 h with lazy linear; sliced "
    "transport was in between.",
)


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Couplings at equal training."""
    pairs = PAIRS + MORE_PAIRS if scale == "paper" else PAIRS
    own = digits(scale, source="barycentric")
    lazy = pairs_of(own, (("lazy", "lazy"),))["lazy/lazy"]
    return {
        "mnist-64": {**pairs_of(own, pairs), "lazy/lazy, rectified": rectified(lazy, pairs=RECTIFIED[scale])}
    }


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw clouds of each coupling after few and after many steps; return the file."""
    return draw_generated(outcomes, folder, "gwfm-table-1", TITLE)
