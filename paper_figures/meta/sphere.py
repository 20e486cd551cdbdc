"""Meta OT between supply and demand on the sphere (its Table 1), with a synthetic population."""

from pathlib import Path

from refwfm.paper_figures.meta.experiment import MetaOutcome, MetaScale
from refwfm.paper_figures.meta.pictures import draw_curves, draw_globes

__all__ = ["KIND", "PAPER", "TITLE", "draw", "scale"]

TITLE = "Meta OT between supply and demand on the sphere: Sinkhorn from three starts"
KIND = "meta-ot"

PAPER = {
    1e-2: {"zeros": (0.88, 0.13), "gaussian": (0.56, 9.9e-2), "meta": (7.8e-2, 3.4e-2)},
    1e-3: {"zeros": (1.4, 0.19), "gaussian": (1.1, 0.20), "meta": (0.44, 0.15)},
    1e-4: {"zeros": (2.1, 0.36), "gaussian": (1.7, 0.35), "meta": (0.97, 0.32)},
}
"""Threshold -> start -> mean and standard deviation of the paper's seconds on a GPU, with 10,000 demands."""

LAPTOP = {
    **{"steps": 5000, "batch": 32, "width": 512, "depth": 2},
    **{"learning_rate": 3e-3, "decay": 0.97, "decay_every": 50},
}
SMOKE = {"steps": 4, "batch": 4, "width": 8, "depth": 1, "eps": 0.05}


def scale(name: str, /) -> MetaScale:
    """Sizes, and how the network is trained; paper is the paper's network and training."""
    if name == "smoke":
        return MetaScale(SMOKE, ("sphere-pairs",), (8, 30), 3, 200, 1, 1)
    if name == "laptop":
        return MetaScale(LAPTOP, ("sphere-pairs",), (100, 1000), 20, 4000, 1, 1)
    return MetaScale(
        {"baseline": "none", "out_scale": 1.0}, ("sphere-pairs",), (100, 10_000), 20, 20_000, 3, 1
    )


def draw(outcomes: list[MetaOutcome], folder: Path, /) -> list[Path]:
    """Draw errors by iteration, and supply and demand with their plans on the globe; return the files."""
    files = [folder / f"meta-ot-sphere-{what}.png" for what in ("errors", "globe")]
    first = outcomes[0]
    n, m = (len(places) for places in first.places)
    curves = {
        f"{n} places of supply, {m} of demand": {
            start: each.errors for start, each in first.starts["sphere-pairs"].items()
        }
    }
    draw_curves(curves, files[0], title=TITLE)
    supply, demand = zip(first.places, (first.a[0], first.b[0]), strict=True)
    panels = dict(zip(("predicted plan", "converged plan"), first.plans[0], strict=True))
    title = (
        "supply (red), demand (blue), area by weight; largest entries of the plan; both sides of the globe"
    )
    draw_globes(panels, supply, demand, files[1], title=title)
    return files
