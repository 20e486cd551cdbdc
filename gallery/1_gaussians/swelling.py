"""
A straight line of covariances swells; the geodesic does not
============================================================

Between two thin ellipses one can go straight in the entries of the covariance, :math:`(1-t)A+tB`. Halfway
stands a fat ellipse that resembles neither. On the geodesic of optimal transport points move straight, and the
area stays what it was.
"""

# %%
# Two ellipses of the same area, a quarter turn apart.

import numpy as np

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, ellipse, panels, show

mu = Gaussian(np.zeros(2), np.array([[1.0, 0.9], [0.9, 1.0]]))
nu = Gaussian(np.array([10.0, 0.0]), np.array([[1.0, -0.9], [-0.9, 1.0]]))
times = np.linspace(0, 1, 6)
geodesic = [bures.interpolate(mu, nu, float(t)) for t in times]
straight = [Gaussian(g.mean, (1 - t) * mu.cov + t * nu.cov) for g, t in zip(geodesic, times, strict=True)]

# %%
# The area of an ellipse is the root of the determinant, up to a factor.

figure, axes = panels(1, width=7.5, height=3.6)
largest = {}
for name, way, height, color in (("geodesic", geodesic, 0.0, GREEN), ("straight line", straight, -3.2, GREY)):
    areas = np.array([np.linalg.det(g.cov) ** 0.5 for g in way]) / np.linalg.det(mu.cov) ** 0.5
    largest[name] = areas.max()
    for k, g in enumerate(way):
        ellipse(axes, g.mean + [0, height], g.cov, BLUE if k == 0 else RED if k == 5 else color)
        axes.text(g.mean[0], height - 1.45, f"{areas[k]:.2f}", ha="center", color=GREY)
    axes.text(-1.8, height, name, ha="right", va="center", color=color)
axes.text(-1.8, -1.45, "area", ha="right", color=GREY)
bare(axes)
show(figure, "swelling")

assert largest["geodesic"] < 1.0 + 1e-9
assert largest["straight line"] > 2.0
