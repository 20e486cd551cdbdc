"""WFM Figure S5: flows from one family of shapes to another, and from partial views to whole shapes."""

from pathlib import Path

import numpy as np

from refwfm.paper_figures.cloud_experiment import PARTIAL, CloudOutcome, CloudScale, scale_of
from refwfm.paper_figures.cloud_pictures import draw_transport

TITLE = "Figure S5: transformed and completed shapes"
KIND = "clouds"

BETWEEN, COMPLETED = "from chairs to tables", "completed from partial views"
SOURCES = {BETWEEN: "shapenet-chairs", COMPLETED: PARTIAL}
SHAPES = 6


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Chairs to tables (the paper's are lamps and handbags), and partial chairs to whole ones; one seed."""
    base = scale_of(scale, "chairs")._replace(seeds=1)
    return {
        "shapenet-tables": {BETWEEN: base.of(source="family", outer="frechet", inner="exact")},
        "chairs": {COMPLETED: base.of(source="family", outer="paired", inner="exact")},
    }


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw where each flow starts and ends; return the files."""
    paths = []
    for outcome in outcomes:
        variant = outcome.task.variant
        paths.append(folder / f"figure-s5-{variant.split()[0]}.png")
        rows = {"start": outcome.start[:SHAPES], "end": outcome.generated[:SHAPES]}
        if outcome.task.source == PARTIAL:
            rows["whole shape"] = outcome.held_out[:SHAPES]
        draw_transport(rows, paths[-1], title=f"{TITLE}: {outcome.task.data} {variant}")
    return paths


def chamfer_to_whole(outcome: CloudOutcome, /) -> np.ndarray:
    """Chamfer distance of each completed shape to the whole one that its view was taken from."""
    from refwfm.clouds import pad
    from refwfm.metrics.distances import chamfer

    return np.asarray(chamfer(pad(outcome.generated), pad(outcome.held_out)))
