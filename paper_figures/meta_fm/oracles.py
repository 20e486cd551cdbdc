"""Meta FM on letters: the best that can be predicted with and without knowing the population, untrained."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from refwfm.datasets.letter_populations import FONT
from refwfm.paper_figures.meta_fm.oracle_experiment import (
    METRICS,
    NOISE,
    ROWS,
    OracleOutcome,
    OracleScale,
)
from refwfm.paper_figures.saving import save_figure

__all__ = ["FONT", "KIND", "METRICS", "REFERENCE", "ROWS", "SCALES", "TITLE", "draw", "fault"]

TITLE = "Meta FM on letters: what flow matching converges to, with and without the population"
KIND = "oracles"

REFERENCE = {
    "fresh sample": ((0.057, 0.065, 0.01), (0.058, 0.066, 0.01), (0.058, 0.066, 0.01)),
    "population oracle": ((0.078, 0.091, 0.12), (0.074, 0.086, 0.09), (0.080, 0.092, 0.17)),
    "FM oracle": ((0.201, 0.267, 1.89), (0.224, 0.298, 2.22), (0.235, 0.311, 3.25)),
    NOISE: ((0.804, 0.953, 31.8), (0.754, 0.918, 24.5), (1.022, 1.220, 43.9)),
    "no transport": ((0.243, 0.324, 2.63), (0.240, 0.321, 2.65), (0.249, 0.330, 3.78)),
}
"""Row -> train, X, Y -> W1, W2, 1000 MMD², computed the same way with the paper's font, Arial."""

BANDS = (0.10, 0.10, 0.25)
"""How far another font may move W1, W2 and MMD², as a share; and half the last digit of the reference."""

DIGITS = (0.0005, 0.0005, 0.005)

SCALES = {
    "smoke": OracleScale({"letters": "ABCD", "orientations": 2, "points": 80}, 1, 1, 10, 4),
    "laptop": OracleScale({}, 4, 10, 40, 16),
    "paper": OracleScale({}, 10, 10, 200, 32),
}

COLOURS = {
    "source": "#8a8f98",
    "population oracle": "#d1495b",
    "FM oracle": "#4477aa",
    NOISE: "#b08a2e",
    "truth": "#2f3640",
}


def fault(row: str, part: int, values: np.ndarray, errors: np.ndarray, /) -> str:
    """What of a row is outside its band, and its standard error, such as "MMD +31 ± 9 %"; else nothing."""
    found = []
    for name, value, error, wanted, band, digit in zip(
        METRICS, values, errors, REFERENCE[row][part], BANDS, DIGITS, strict=True
    ):
        if not abs(value - wanted) <= band * wanted + digit:
            found.append(f"{name} {100 * (value / wanted - 1):+.0f} ± {100 * error / wanted:.0f} %")
    return ", ".join(found)


def draw(outcomes: list[OracleOutcome], folder: Path, /) -> list[Path]:
    """Draw some letters as they start, as the oracles leave them, and as they are; return the file."""
    path = folder / "meta-fm-oracles.png"
    whole = [o for o in outcomes if o.task.every_row]
    shown = [o for part, count in (("train", 2), ("X", 1), ("Y", 1)) for o in _of(whole, part)[-count:]]
    figure = Figure(figsize=(2.3 * len(COLOURS) + 0.6, 2.3 * len(shown) + 0.9), layout="constrained")
    figure.suptitle(TITLE, fontsize="medium")
    axes = figure.subplots(len(shown), len(COLOURS), squeeze=False)
    for line, o in zip(axes, shown, strict=True):
        for ax, (name, colour) in zip(line, COLOURS.items(), strict=True):
            points = o.clouds[name]
            ax.scatter(*points.T, s=min(8.0, 3000 / len(points)), color=colour, linewidths=0, alpha=0.55)
            ax.set_xlim(-5.1, 5.1)
            ax.set_ylim(-5.1, 5.1)
            ax.set_aspect("equal")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_color("#d8dade")
            if o is shown[0]:
                ax.set_title(HEADINGS.get(name, name), fontsize="small")
            if name in o.rows:
                ax.set_xlabel(f"$W_1$ = {o.rows[name][0]:.3f}", fontsize="small", labelpad=2)
        held = "trained on" if o.task.part == "train" else "held out"
        line[0].set_ylabel(f"{o.member[0]}, {held}", fontsize="small")
        line[0].set_xlabel(f"$W_1$ = {o.rows['no transport'][0]:.3f}", fontsize="small", labelpad=2)
    save_figure(figure, path)
    return [path]


HEADINGS = {
    "source": "source $x_0$",
    "population oracle": "population oracle\n(knows the letter and its angle)",
    "FM oracle": "FM oracle\n(one field for all letters)",
    NOISE: "FM w/N oracle\n(starts from noise)",
    "truth": "truth $x_1$",
}


def _of(outcomes: list[OracleOutcome], part: str) -> list[OracleOutcome]:
    return [o for o in outcomes if o.task.part == part]
