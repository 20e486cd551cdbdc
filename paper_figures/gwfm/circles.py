"""What the figures of circles share: their scales, and the picture of learned paths."""

from pathlib import Path
from typing import Any

import numpy as np

from refwfm.datasets import load
from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.flow_pictures import draw_paths
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, scale_of

FAMILY = "circles"
SOURCES = {FAMILY: "small-circles"}

SHAPE = (
    "the text: transport on both levels gives the straightest paths; random pairs bend most.",
    "ours: radii, heights and the numbers of the ablations, which are not known from the paper.",
)


def circles_of(scale: str, /, **changes: Any) -> CloudScale:
    """Scale of a flow from small circles to large ones."""
    laptop = {"steps": 1000, "depth": 2, "n_proj": 64}
    return scale_of(scale, laptop=laptop, paper={"steps": 20_000, "width": 256}, **changes)


def draw_circles(outcomes: list[FlowOutcome], folder: Path, name: str, title: str, /) -> list[Path]:
    """Draw the learned paths of each variant's first seed; return the file."""
    paths = {}
    for o in outcomes:
        if o.task.seed == 0:
            bend = f"{np.mean(o.straightness):.2g}"
            paths[f"{o.task.variant}: relative bend {bend}"] = o.path
    target = load(FAMILY)
    file = folder / f"{name}.png"
    draw_paths(paths, [target.cloud(i).points for i in range(24)], file, title=title)
    return [file]
