"""WFM Figure 4: generated fours and letters a, the number of points written on each."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import DRAWN, CloudOutcome, CloudScale, scale_of
from refwfm.paper_figures.clouds import draw_clouds_comparison

TITLE = "Figure 4: fours and letters a"
FAMILIES = ("fours", "letters-a")


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Our recipe for both families at this scale, one seed."""
    return {family: {"WFM": scale_of(scale, family)._replace(seeds=1)} for family in FAMILIES}


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw generated beside real clouds; return the files."""
    paths = []
    for outcome in outcomes:
        name = outcome.task.data
        for ending in ("png", "pdf"):
            paths.append(folder / f"figure-4-{name}.{ending}")
            real, generated = outcome.held_out[:DRAWN], outcome.generated[:DRAWN]
            draw_clouds_comparison(real, generated, paths[-1], title=f"{TITLE}: {name}")
    return paths
