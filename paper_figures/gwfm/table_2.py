"""GWFM Table 2: shapes in space, three outer plans. Chairs: there are too few airplanes to train on."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, pairs_of, scale_of
from refwfm.paper_figures.gwfm.tables import draw_generated

TITLE = "GWFM Table 2: chairs, 512 points, barycentric noise; outer plans, inner plan exact"
KIND = "couplings"

PAIRS = (("independent", "exact"), ("sliced", "exact"), ("lazy", "exact"))

SHAPE = (
    "the text, on airplanes: sliced and linear outer plans are both better than the independent one.",
    "ours: chairs, and the inner plan, which is not known to us.",
)


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Outer plans at equal training."""
    base = scale_of(
        scale,
        laptop={"steps": 800, "batch": 8, "heads": 2, "reference_members": 32},
        paper={"steps": 100_000},
        source="barycentric",
        n_points=64 if scale == "smoke" else 512,
    )
    return {"chairs": pairs_of(base._replace(size=min(base.size, 100)), PAIRS)}


def draw(outcomes: list[FlowOutcome], folder: Path, /) -> list[Path]:
    """Draw clouds of each outer plan after few and after many steps; return the file."""
    return draw_generated(outcomes, folder, "gwfm-table-2", TITLE)
