"""WFM Figure 3: generated shapes."""

from pathlib import Path

from refwfm.paper_figures.cloud_experiment import CloudOutcome, CloudScale, draw_beside_real, scale_of

TITLE = "Figure 3: generated shapes"
KIND = "clouds"
FAMILIES = ("chairs", "monitors")


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Our recipe for both families at this scale, one seed."""
    return {family: {"WFM": scale_of(scale, family)._replace(seeds=1)} for family in FAMILIES}


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw generated beside real ones; return the files."""
    return draw_beside_real(outcomes, folder, "figure-3", TITLE, most=12, columns=4)
