"""WFM Figure 3: generated shapes."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudOutcome, CloudScale, scale_of
from refwfm.paper_figures.clouds import draw_clouds_comparison

TITLE = "Figure 3: generated shapes"
FAMILIES = ("chairs", "monitors")
SHAPES = 12


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Our recipe for both families at this scale, one seed."""
    return {family: {"WFM": scale_of(scale, family)._replace(seeds=1)} for family in FAMILIES}


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw generated beside real shapes; return the files."""
    paths = []
    for outcome in outcomes:
        name = outcome.task.data
        for ending in ("png", "pdf"):
            paths.append(folder / f"figure-3-{name}.{ending}")
            real, generated = outcome.held_out[:SHAPES], outcome.generated[:SHAPES]
            draw_clouds_comparison(real, generated, paths[-1], title=f"{TITLE}: {name}", columns=4)
    return paths
