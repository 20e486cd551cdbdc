"""Meta FM on a drug screen: what a treatment does to a patient who was not in the training."""

from pathlib import Path
from typing import Any

from refwfm.paper_figures.meta_fm import population_pictures as pictures
from refwfm.paper_figures.meta_fm.population_experiment import (
    PopulationOutcome,
    PopulationScale,
    Protocol,
    clearly_less,
    over_seeds,
    some,
)

TITLE = "Meta FM on a drug screen: patients who were held out"
KIND = "populations"

PARTS = {"train": "trained on", "validation": "validation", "test": "test"}
"""Parts that are measured, and what they are called."""

METRICS = ("w1", "w2", "sq_mmd", "correlation")
DATA = ("synthetic-screen", "screen-patients", "screen")
NEIGHBOURS = {k: f"MFM, k = {k}" for k in (0, 10, 50, 100)}
METHODS: dict[str, dict[str, Any]] = {
    "FM": {"variant": "fm"},
    "CGFM": {"variant": "cgfm"},
    **{name: {"neighbours": k} for k, name in NEIGHBOURS.items()},
    "FM w/N": {"variant": "fm", "start": "noise"},
    "CGFM w/N": {"variant": "cgfm", "start": "noise"},
    **{name.replace("MFM", "MFM w/N"): {"neighbours": k, "start": "noise"} for k, name in NEIGHBOURS.items()},
}

SLIDES = {
    "screen-patients": {
        "FM": ((3.985, 4.115, 4.64, 0.938), None, (4.340, 4.564, 13.00, 0.865)),
        "FM w/N": ((6.892, 7.164, 57.03, 0.655), None, (7.114, 7.404, 64.97, 0.613)),
        "CGFM": ((3.882, 3.999, 3.16, 0.952), None, (4.443, 4.621, 17.00, 0.899)),
        "CGFM w/N": ((4.313, 4.480, 11.51, 0.918), None, (7.135, 7.390, 79.78, 0.637)),
        "MFM w/N, k = 0": ((3.982, 4.095, 5.04, 0.951), None, (4.177, 4.355, 10.53, 0.911)),
        "MFM w/N, k = 10": ((4.006, 4.119, 5.13, 0.948), None, (4.156, 4.324, 9.58, 0.912)),
        "MFM w/N, k = 50": ((3.982, 4.095, 4.74, 0.951), None, (4.153, 4.324, 9.63, 0.912)),
        "MFM w/N, k = 100": ((4.004, 4.119, 5.19, 0.949), None, (4.166, 4.341, 9.52, 0.915)),
        "MFM, k = 0": ((3.905, 4.012, 4.18, 0.958), None, (4.209, 4.380, 12.34, 0.918)),
        "MFM, k = 10": ((3.896, 4.005, 3.89, 0.957), None, (4.216, 4.395, 11.99, 0.917)),
        "MFM, k = 50": ((3.902, 4.008, 4.20, 0.958), None, (4.214, 4.396, 12.09, 0.916)),
        "MFM, k = 100": ((3.884, 3.986, 3.77, 0.955), None, (4.100, 4.269, 8.96, 0.917)),
    },
    "screen": {
        "FM": ((3.925, 4.041, 3.76, 0.952), None, (3.961, 4.089, 5.90, 0.941)),
        "FM w/N": ((6.908, 7.181, 57.70, 0.639), None, (6.972, 7.244, 60.39, 0.642)),
        "CGFM": ((3.864, 3.975, 3.16, 0.964), None, (4.087, 4.211, 8.84, 0.938)),
        "CGFM w/N": ((4.187, 4.340, 8.69, 0.936), None, (6.852, 7.114, 71.24, 0.666)),
        "MFM w/N, k = 0": ((3.940, 4.047, 3.91, 0.959), None, (3.896, 4.002, 4.35, 0.950)),
        "MFM w/N, k = 10": ((3.976, 4.086, 4.52, 0.961), None, (3.943, 4.051, 5.28, 0.952)),
        "MFM w/N, k = 50": ((3.968, 4.075, 4.36, 0.961), None, (3.934, 4.041, 4.99, 0.954)),
        "MFM w/N, k = 100": ((3.937, 4.040, 3.94, 0.963), None, (3.908, 4.011, 4.68, 0.953)),
        "MFM, k = 0": ((3.874, 3.973, 3.37, 0.967), None, (3.880, 3.990, 4.68, 0.955)),
        "MFM, k = 10": ((3.896, 4.000, 3.82, 0.964), None, (3.899, 4.012, 5.13, 0.955)),
        "MFM, k = 50": ((3.888, 3.991, 3.59, 0.963), None, (3.900, 4.013, 5.06, 0.954)),
        "MFM, k = 100": ((3.906, 4.008, 4.05, 0.964), None, (3.898, 4.009, 5.19, 0.957)),
    },
}
"""Split -> row -> train, validation (not reported), test -> W1, W2, 1000 MMD², correlation of the authors'
slides: 43 markers of 10 patients, in other units than the synthetic screen's."""


LAPTOP = {
    "steps": 1500,
    "batch": 30,
    "particles": 32,
    "width": 64,
    "depth": 3,
    "graph_width": 32,
    "graph_layers": 2,
    "n_time": 32,
    "n_space": 16,
    "learning_rate": 2e-3,
    "decay_every": 15,
    "decay": 0.97,
    "ema": 0.99,
}

READS = {"reads": 128, "proportional": True}
PICTURED = {"validation": (0,), "test": (0,)}

SCALES = {
    "smoke": PopulationScale(
        Protocol(
            "synthetic-screen",
            {"patients": 6, "replicates": 1, "cells": 40},
            measured={"train": 2, "test": 2},
            pictured={"test": (0,)},
            particles=40,
            n_steps=4,
        ),
        LAPTOP | {"steps": 4, "particles": 20, "width": 16, "graph_width": 8, "n_time": 8, "n_space": 4},
        some(METHODS, ("FM", "CGFM", "MFM, k = 0", "MFM, k = 10"), {}),
        seeds=1,
    ),
    "laptop": PopulationScale(
        Protocol(
            "synthetic-screen",
            {},
            measured={"train": 10, "validation": 9, "test": 27},
            pictured=PICTURED,
            particles=400,
            n_steps=20,
        ),
        LAPTOP,
        some(
            METHODS,
            ("FM", "CGFM", "MFM, k = 0", "MFM, k = 10", "FM w/N", "MFM w/N, k = 0"),
            dict.fromkeys(("MFM, k = 0", "MFM, k = 10", "MFM w/N, k = 0"), READS),
        ),
        seeds=3,
    ),
    "paper": PopulationScale(
        Protocol(
            "screen-patients",
            {},
            measured={"train": 100, "validation": 100, "test": 100},
            pictured=PICTURED,
            particles=5000,
            n_steps=50,
        ),
        {
            "batch": 1,
            "particles": 1024,
            "width": 512,
            "depth": 7,
            "graph_width": 128,
            "graph_layers": 2,
            "learning_rate": 1e-4,
            "ema": 0.0,
            "steps": 646_000,
        },
        METHODS,
        seeds=3,
    ),
}


def claims(outcomes: list[PopulationOutcome], /) -> list[tuple[str, bool]]:
    """Whether reading the population pays on held-out patients."""
    if outcomes[0].task.protocol.recipe:  # too small to say
        return []
    both = [over_seeds(outcomes, metric)["test"] for metric in ("w1", "w2")]
    found = []
    for method in NEIGHBOURS.values():
        if method in both[0]:
            better = all(
                clearly_less(rows[method], rows[other])
                for rows in both
                for other in ("FM", "mean_shift", "mean_shift_by_condition")
                if other in rows
            )
            found.append((f"{method} is better than FM and the mean shifts on test patients", better))
    return found


def draw(outcomes: list[PopulationOutcome], folder: Path, /) -> list[Path]:
    """Draw populations of held-out patients, and errors against neighbours; return the files."""
    return [
        pictures.draw_predictions(
            outcomes,
            folder / "meta-fm-organoid.png",
            title=TITLE,
            columns=["identity", "mean_shift_by_condition", "FM", "CGFM", "MFM, k = 0", "ideal_shift"],
            parts=PARTS,
        ),
        pictures.draw_neighbours(
            outcomes,
            folder / "meta-fm-organoid-neighbours.png",
            title="Meta FM on a drug screen: distance to the truth against the size of neighbourhoods",
            curves={"MFM": NEIGHBOURS},
            lines=["FM", "mean_shift_by_condition", "ideal_shift"],
            parts={part: name for part, name in PARTS.items() if part in outcomes[0].numbers},
        ),
    ]
