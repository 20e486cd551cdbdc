"""Meta OT on pairs of digits: MNIST, and digits of USPS that it has not seen (its Table 1)."""

from pathlib import Path

from refwfm.paper_figures.meta.experiment import TIMES, MetaOutcome, MetaScale
from refwfm.paper_figures.meta.pictures import draw_curves, draw_interpolations

__all__ = ["KIND", "PAPER", "TITLE", "draw", "scale"]

TITLE = "Meta OT between digits: Sinkhorn from three starts"
KIND = "meta-ot"

PAPER = {
    1e-2: {"zeros": (4.5e-3, 1.5e-3), "gaussian": (4.1e-3, 1.2e-3), "meta": (2.3e-3, 9.2e-6)},
    1e-3: {"zeros": (7.7e-3, 1.2e-3), "gaussian": (7.7e-3, 1.4e-3), "meta": (3.9e-3, 1.6e-3)},
    1e-4: {"zeros": (1.1e-2, 1.8e-3), "gaussian": (1.1e-2, 1.7e-3), "meta": (6.7e-3, 1.4e-3)},
}
"""Threshold -> start -> mean and standard deviation of the paper's seconds on a GPU."""

LAPTOP = {"steps": 1500, "batch": 64, "width": 512, "decay": 0.97, "decay_every": 15}
SMOKE = {"steps": 4, "batch": 4, "width": 8, "depth": 1}


def scale(name: str, /) -> MetaScale:
    """Smoke trains on drawn strokes: no data are needed. Paper is the paper's network and training."""
    if name == "smoke":
        return MetaScale(SMOKE, ("strokes",), (), 3, 200, 1, 2)
    config = LAPTOP if name == "laptop" else {"baseline": "none", "out_scale": 1.0}
    return MetaScale(config, ("mnist-pairs", "usps-pairs"), (), 20, 2000, 1 if name == "laptop" else 3, 4)


def draw(outcomes: list[MetaOutcome], folder: Path, /) -> list[Path]:
    """Draw errors by iteration, and digits on their way; return the files."""
    files = [folder / f"meta-ot-mnist-{what}.png" for what in ("errors", "interpolation")]
    first = outcomes[0]
    curves = {
        family: {start: each.errors for start, each in starts.items()}
        for family, starts in first.starts.items()
    }
    draw_curves(curves, files[0], title=TITLE)
    side = round(first.ways.shape[-1] ** 0.5)
    rows = [
        (label, way.reshape(-1, side, side))
        for pair in first.ways
        for label, way in zip(("predicted", "converged"), pair, strict=True)
    ]
    title = "mass on its way along the predicted plan, and along the converged one"
    draw_interpolations(rows, TIMES, files[1], title=title)
    return files
