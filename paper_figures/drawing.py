"""How the course and the gallery draw: one look, every picture in a file and on the page."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from refwfm.paper_figures.saving import save_figure

BLUE, RED, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#808080"
"""Source, target, what lies between them, and what is only there to compare with.

The colours of Okabe and Ito, which colour-blind readers tell apart; the red is a vermilion.
"""


def panels(count=1, *, width=3.4, height=3.0, **options):
    """Return a figure and its axes in a row, without frames on top and right."""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained", **options)
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bare(axis):
    """Take ticks away and make both axes equally long a unit: for pictures of the plane."""
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)


def ellipse(axis, mean, cov, color, *, width=1.8, **options):
    """Draw the ellipse of one standard deviation of a Gaussian in the plane."""
    angle = np.linspace(0.0, 2.0 * np.pi, 100)
    points = mean + np.stack([np.cos(angle), np.sin(angle)], axis=-1) @ np.linalg.cholesky(cov).T
    axis.plot(*points.T, color=color, lw=width, **options)


def show(figure: Figure, name: str) -> None:
    """Save a picture as ``NAME.png`` in the folder ``pictures``, and show it where there is a screen."""
    folder = Path(os.environ.get("REFWFM_PICTURES", "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    save_figure(figure, folder / f"{name}.png")
    if plt.get_backend().casefold() != "agg":
        plt.show()
    else:
        plt.close(figure)
