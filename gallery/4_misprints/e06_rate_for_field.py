"""
E6: the rate of the covariance is not the field of the points
=============================================================

Algorithm 1 sends the reader to (9), which has the rate of the covariance, where (10), the field of the
points, is meant. Both are symmetric matrices and a network learns either; only generation tells. Steps
with the field arrive, exactly. Steps with the rate in its place end anywhere.
"""

# %%
# Four steps with either, from blue to the dashed target.

import numpy as np

from refwfm import bures
from refwfm.generation import generate
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, ellipse, panels, show

mu = Gaussian(np.zeros((1, 2)), np.array([[[1.0, 0.3], [0.3, 1.8]]]))
nu = Gaussian(np.array([[11.0, 0.0]]), np.array([[[1.4, 0.8], [0.8, 0.7]]]))
fields = {
    "field of the points (meant)": lambda here, t: bures.velocity(mu, nu, t),
    "rate of the covariance (printed)": lambda here, t: bures.Tangent(*bures.euclidean_velocity(mu, nu, t)),
}

# %%
# The distance to the target at the end.

figure, axis = panels(1, width=7.5, height=4.2)
off = {}
for row, ((name, field), color) in enumerate(zip(fields.items(), (GREEN, GREY), strict=True)):
    path, below = {}, np.array([0.0, -4.6 * row])
    end, _ = generate(field, mu, n_steps=4, observe=path.__setitem__)
    for k, here in enumerate([*(path[k] for k in range(4)), end]):
        ellipse(axis, here.mean[0] + below, here.cov[0], BLUE if k == 0 else color)
    ellipse(axis, nu.mean[0] + below, nu.cov[0], RED, width=1.4, ls="--")
    off[name] = float(bures.sq_distance(end, nu)[0] ** 0.5)
    axis.text(-1.2, 1.7 - 4.6 * row, f"{name}: off by {off[name]:.1g}", fontsize=10)
bare(axis)
show(figure, "e06_rate_for_field")

assert off["field of the points (meant)"] < 1e-6
assert off["rate of the covariance (printed)"] > 0.3
