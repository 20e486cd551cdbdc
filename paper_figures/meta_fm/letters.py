"""Meta FM on letters: what a flow gains from reading the population that it moves."""

from pathlib import Path
from typing import Any

from refwfm.datasets.letter_populations import TRAIN_METRICS
from refwfm.paper_figures.meta_fm import population_pictures as pictures
from refwfm.paper_figures.meta_fm.population_experiment import (
    PopulationOutcome,
    PopulationScale,
    Protocol,
    clearly_less,
    over_seeds,
    some,
)

TITLE = "Meta FM on letters: the same noise is taken off letters never seen"
KIND = "populations"

PARTS = {"train": "trained on", "validation": "X", "test": "Y"}
"""Parts that are measured, and what they are called."""

METRICS = ("w1", "w2", "sq_mmd")
DATA = ("letter-populations",)

OURS = {k: f"MFM + kernels, k = {k}" for k in (0, 10)}
"""Ours: kernels, particles that are read and do not move, and rotations."""
METHODS: dict[str, dict[str, Any]] = {
    "FM": {"variant": "fm"},
    "CGFM": {"variant": "cgfm"},
    "MFM, k = 0": {"neighbours": 0},
    "MFM, k = 1": {"neighbours": 1},
    "MFM, k = 10": {"neighbours": 10},
    "MFM, k = 50": {"neighbours": 50},
    **{name: {"neighbours": k, "rotate": True, "kernels": 4, "reads": 256} for k, name in OURS.items()},
    "FM w/N": {"variant": "fm", "start": "noise"},
    "CGFM w/N": {"variant": "cgfm", "start": "noise"},
    "MFM w/N, k = 0": {"neighbours": 0, "start": "noise"},
    "MFM w/N, k = 1": {"neighbours": 1, "start": "noise"},
    "MFM w/N, k = 10": {"neighbours": 10, "start": "noise"},
    "MFM w/N, k = 50": {"neighbours": 50, "start": "noise"},
}
NEIGHBOURS = {k: f"MFM, k = {k}" for k in (0, 1, 10, 50)}

SLIDES = {
    "letter-populations": {
        "FM": ((0.209, 0.277, 2.54), (0.234, 0.309, 2.45), (0.238, 0.316, 3.32)),
        "FM w/N": ((0.806, 0.960, 31.68), (0.764, 0.931, 25.04), (1.030, 1.228, 45.36)),
        "CGFM": ((0.090, 0.113, 0.25), (0.334, 0.407, 5.55), (0.327, 0.405, 6.85)),
        "CGFM w/N": ((0.156, 0.201, 1.02), (0.849, 0.993, 35.08), (1.062, 1.229, 55.66)),
        "MFM w/N, k = 0": ((0.148, 0.195, 0.94), (0.347, 0.431, 6.47), (0.402, 0.485, 10.92)),
        "MFM w/N, k = 1": ((0.154, 0.208, 0.91), (0.349, 0.433, 6.53), (0.391, 0.477, 10.71)),
        "MFM w/N, k = 10": ((0.151, 0.197, 0.94), (0.343, 0.427, 6.38), (0.413, 0.502, 11.93)),
        "MFM w/N, k = 50": ((0.174, 0.232, 1.40), (0.363, 0.449, 7.46), (0.446, 0.536, 13.40)),
        "MFM, k = 0": ((0.081, 0.100, 0.16), (0.202, 0.249, 2.29), (0.218, 0.262, 3.79)),
        "MFM, k = 1": ((0.082, 0.101, 0.16), (0.205, 0.251, 2.38), (0.215, 0.258, 3.78)),
        "MFM, k = 10": ((0.088, 0.109, 0.21), (0.201, 0.248, 2.20), (0.208, 0.252, 3.55)),
        "MFM, k = 50": ((0.092, 0.116, 0.25), (0.206, 0.257, 2.18), (0.204, 0.249, 3.14)),
    }
}
"""Row -> train, X, Y -> W1, W2, 1000 MMD² of the authors' slides: 288,000 or 576,000 steps, Arial."""


SMALL = {"letters": "ABCD", "orientations": 2, "points": 80}
LAPTOP = {
    "steps": 3000,
    "batch": 60,
    "particles": 20,
    "width": 128,
    "learning_rate": 3e-3,
    "decay": 0.85,
    "decay_every": 150,
    "ema": 0.99,
    "n_time": 32,
    "n_space": 32,
    "space_scale": 0.2,
}
MEMORY = {
    "steps": 5000,
    "batch": 240,
    "particles": 8,
    "width": 256,
    "decay_every": 250,
}
"""Of CGFM, which has to learn each of its populations by heart: all of them are in every step."""

PAPER = {"batch": 10, "particles": 700, "width": 512, "learning_rate": 1e-4, "ema": 0.0, "steps": 288_000}

GRAPHS = {"batch": 30, "particles": 40, "reads": 128, "proportional": True}
"""Of graph networks, whose time grows with what they read."""

PICTURED = {"train": TRAIN_METRICS[1:3], "validation": (3,), "test": (3,)}
SHOWN = ("MFM, k = 0", "MFM, k = 10", OURS[0])

SCALES = {
    "smoke": PopulationScale(
        Protocol(
            "letter-populations",
            SMALL,
            measured={"train": (0, 3), "validation": (0,), "test": (1,)},
            pictured={"train": (0,), "validation": (0,), "test": (1,)},
            particles=80,
            n_steps=4,
            pool=10,
        ),
        {"steps": 4, "batch": 2, "particles": 20, "width": 16, "n_time": 8, "n_space": 4, "graph_width": 8},
        some(METHODS, ("FM", "CGFM", "MFM, k = 0", OURS[0]), {OURS[0]: {"reads": 20}}),
        seeds=1,
    ),
    "laptop": PopulationScale(
        Protocol(
            "letter-populations",
            {},
            measured={"train": TRAIN_METRICS[:4], "validation": (0, 1, 2, 3), "test": (0, 1, 2, 3)},
            pictured=PICTURED,
            particles=3000,
            n_steps=16,
            pool=40,
        ),
        LAPTOP,
        some(
            METHODS,
            ("FM", "CGFM", "MFM, k = 0", "MFM, k = 10", *OURS.values()),
            {"CGFM": MEMORY, "MFM, k = 0": {"reads": 128}, "MFM, k = 10": GRAPHS, OURS[10]: GRAPHS},
        ),
        seeds=3,
    ),
    "paper": PopulationScale(
        Protocol(
            "letter-populations",
            {},
            measured={"train": TRAIN_METRICS, "validation": tuple(range(10)), "test": tuple(range(10))},
            pictured=PICTURED,
            particles=3000,
            n_steps=32,
            pool=200,
        ),
        PAPER,
        METHODS,
        seeds=3,
    ),
}


def claims(outcomes: list[PopulationOutcome], /) -> list[tuple[str, bool]]:
    """What the slides show, and whether it is so here; nothing where populations are too small to say."""
    if outcomes[0].task.protocol.recipe:
        return []
    found, held_out = [], ("validation", "test")
    both = [over_seeds(outcomes, metric) for metric in ("w1", "w2")]
    methods = both[0]["train"]

    def over(part: str, row: str, other: str) -> list[float]:
        return [float(w[part][row].mean() / w[part][other].mean()) for w in both]

    if "FM" in methods:
        gap = max(abs(ratio - 1) for part in PARTS for ratio in over(part, "FM", "FM oracle"))
        found.append((f"FM is within 10 % of its oracle in W1 and W2: {100 * gap:.1f} %", gap <= 0.1))
    if "CGFM" in methods:
        gap = max(over("train", "CGFM", "population oracle")) - 1
        found.append(
            (f"CGFM is within 30 % of the population oracle on its letters: {100 * gap:+.0f} %", gap <= 0.3)
        )
        least = min(ratio for part in held_out for ratio in over(part, "CGFM", "identity"))
        found.append((f"CGFM is worse than no transport on X and Y: {least:.2f} times at least", least > 1))
    for method in methods:
        if method.startswith(("MFM, ", "MFM + ")) and {"FM", "CGFM"} <= set(methods):
            better = all(
                clearly_less(w[part][method], w[part][other])
                for w in both
                for part in held_out
                for other in ("FM", "CGFM")
            )
            found.append(
                (f"{method} is better than FM and CGFM on X and Y beyond the spread of seeds", better)
            )
    return found


def draw(outcomes: list[PopulationOutcome], folder: Path, /) -> list[Path]:
    """Draw letters as each method leaves them, and errors against neighbours; return the files."""
    return [
        pictures.draw_predictions(
            outcomes,
            folder / "meta-fm-letters.png",
            title=TITLE,
            columns=["identity", "FM", "CGFM", *SHOWN, "population oracle"],
            parts=PARTS,
            half_side=5.1,
        ),
        pictures.draw_neighbours(
            outcomes,
            folder / "meta-fm-letters-neighbours.png",
            title="Meta FM on letters: distance to the right letter against the size of neighbourhoods",
            curves={"MFM": NEIGHBOURS, "MFM + kernels": OURS},
            lines=["FM", "population oracle", "identity"],
            parts=PARTS,
            slides=SLIDES["letter-populations"],
        ),
    ]
