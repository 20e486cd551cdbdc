r"""
A matrix step of any length stays a covariance; a step in its entries does not
==============================================================================

Generation goes in steps. A step along the field of the *points*, :math:`(I+hS)\Sigma(I+hS)^\top`, is a
covariance however long it is (WFM-U2). A step along the derivative of the *covariance*,
:math:`\Sigma+h\dot \Sigma`, leaves the cone of covariances when the shape must shrink, and has to be
projected back.
"""

# %%
# From a round Gaussian to a flat one, in 1, 2, 4, ... steps.

import numpy as np

from refwfm import bures
from refwfm.conditional import conditional_velocity
from refwfm.generation import generate, projected_euler_step
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import GREEN, RED, panels, show

mu = Gaussian(np.zeros((1, 2)), 4 * np.eye(2)[None])
nu = Gaussian(np.zeros((1, 2)), np.array([[[4.0, 0.0], [0.0, 0.25]]]))
counts = [1, 2, 4, 8, 16, 32, 64]
errors, lowest = {"points": [], "entries": []}, []
for n_steps in counts:
    end, _ = generate(lambda here, t: conditional_velocity(here, nu, t), mu, n_steps=n_steps)
    errors["points"].append(float(bures.sq_distance(end, nu)[0]) ** 0.5)
    end, low = generate(
        lambda here, t: bures.euclidean_velocity(mu, nu, t), mu, n_steps=n_steps, step=projected_euler_step
    )
    errors["entries"].append(float(bures.sq_distance(end, nu)[0]) ** 0.5)
    lowest.append(float(np.min(low)))

# %%
# The error at the end, by the number of steps.

figure, axis = panels(1, width=6.0, height=3.6)
axis.loglog(counts, errors["entries"], color=RED, marker="s", ms=5, label="steps in the entries, projected")
axis.loglog(
    counts,
    np.maximum(errors["points"], 1e-10),
    color=GREEN,
    marker="o",
    ms=5,
    label="exponential steps: rounding",
)
axis.set(xlabel="steps", ylabel="distance to the target", xticks=counts, xticklabels=counts)
axis.minorticks_off()
axis.set_title(f"lowest eigenvalue after one step in the entries: {lowest[0]:.0f}")
axis.legend(frameon=False, loc="center right")
show(figure, "step_in_the_cone")

assert max(errors["points"]) < 1e-6
assert lowest[0] < 0
