"""
A straight line of covariances swells; the geodesic stays a needle
==================================================================

Between two thin ellipses one can go straight in the entries of the covariance, :math:`(1-t)A+tB`.
Halfway stands a fat ellipse that resembles neither. On the geodesic of optimal transport, McCann's
interpolation (WFM-8), points move straight, and halfway stands a needle. The straight line is the larger
at all times: the difference of the two covariances has no negative eigenvalue.
"""

# %%
# Two needles of the same size, a sixth of a turn apart.

import numpy as np

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, ellipse, panels, show


def needle(degrees, place):
    """Gaussian of deviations 1.5 and 0.1."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s], [s, c]])
    return Gaussian(np.array([place, 0.0]), turn @ np.diag([1.5**2, 0.1**2]) @ turn.T)


mu, nu = needle(0.0, 0.0), needle(60.0, 14.0)
times = np.linspace(0, 1, 6)
geodesic = [bures.interpolate(mu, nu, float(t)) for t in times]
straight = [Gaussian(g.mean, (1 - t) * mu.cov + t * nu.cov) for g, t in zip(geodesic, times, strict=True)]

# %%
# The area of an ellipse is the root of the determinant, up to a factor.

figure, axis = panels(1, width=7.5, height=3.0)
largest = {}
for name, way, height, color in (("geodesic", geodesic, 0.0, GREEN), ("straight line", straight, -4.0, GREY)):
    areas = np.array([np.linalg.det(g.cov) ** 0.5 for g in way]) / np.linalg.det(mu.cov) ** 0.5
    largest[name] = areas.max()
    for k, g in enumerate(way):
        ellipse(axis, g.mean + [0, height], g.cov, BLUE if k == 0 else RED if k == 5 else color)
        axis.text(g.mean[0], height - 1.9, f"{areas[k]:.1f}", ha="center", va="center", fontsize=9)
    axis.text(-2.0, height, name, ha="right", va="center", color=color)
    axis.text(-2.0, height - 1.9, "area", ha="right", va="center", fontsize=9)
bare(axis)
axis.set_xlim(-7.5, 15.5)
show(figure, "swelling")

lowest = min(np.linalg.eigvalsh(s.cov - g.cov)[0] for s, g in zip(straight, geodesic, strict=True))
assert lowest > -1e-9
assert largest["geodesic"] < 2.0
assert largest["straight line"] > 5.0
