r"""
E2: as printed, the path begins at its target
=============================================

Printed is :math:`x_t=\exp_x((1-t)\log_xy)`, which is at :math:`y` when time begins and at :math:`x` when
it ends. Meant is :math:`\exp_x(t\log_xy)` (WFM-2). A model trained on the printed path learns to turn
data into noise.
"""

# %%
# Both readings of one geodesic.

import numpy as np

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, ellipse, panels, show

x = Gaussian(np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]))
y = Gaussian(np.array([8.0, 0.0]), np.array([[1.0, 0.8], [0.8, 0.9]]))
way = bures.log(x, y)
times = np.linspace(0, 1, 5)


def along(share):
    """Point of the geodesic after a share of the way."""
    return bures.exp(x, bures.Tangent(share * way.mean, share * way.lift))


# %%
# One row for each reading, one column for each time.

figure, axis = panels(1, width=7.5, height=3.0)
at_start = {}
for row, (name, shares, color) in enumerate((("meant", times, GREEN), ("printed", 1 - times, GREY))):
    at_start[name] = float(bures.sq_distance(along(shares[0]), y) ** 0.5)
    for column, share in enumerate(shares):
        here = along(share)
        place = np.array([3.2 * column, -3.2 * row])
        color_here = BLUE if share == 0 else RED if share == 1 else color
        ellipse(axis, place, here.cov, color_here)
        axis.text(*(place - [0, 1.5]), f"m = {here.mean[0]:.0f}", ha="center", va="center", fontsize=9)
        if row == 0:
            axis.text(place[0], 1.6, f"t = {times[column]:g}", ha="center", fontsize=10)
    axis.text(
        -1.6,
        -3.2 * row,
        f"{name}:\nat t = 0 the target\nis {at_start[name]:.1f} away",
        ha="right",
        va="center",
    )
bare(axis)
axis.set(xlim=(-7.0, 14.4), ylim=(-5.0, 2.3))
show(figure, "e02_backwards")

assert at_start["meant"] > 8
assert at_start["printed"] < 1e-6
