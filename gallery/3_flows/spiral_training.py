"""
Seven hundred steps of a small network find the spiral
======================================================

128 ellipses along a spiral, and 100 new ones from a network after 30, 200 and 700 steps of training:
seconds of one core. Number: the median distance of a new ellipse to the nearest of the data, in units of
an ellipse's size. More steps bring it further down; this is where it is after these.
"""

# %%
# The estimator does the training; everything else is drawing.

import numpy as np

from refwfm import datasets
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.paper_figures.drawing import BLUE, GREEN, bare, panels, show
from refwfm.paper_figures.ellipses import draw_ellipses
from refwfm.runs.estimator import WassersteinFlow

family = datasets.load("spiral-128")
size = float(np.sqrt(np.mean(np.trace(family.gaussians.cov, axis1=-2, axis2=-1))))
figure, axes = panels(4, width=2.5, height=2.9, sharex=True, sharey=True)
draw_ellipses(axes[0], family.gaussians, color=BLUE, n_std=1.0, fill=0.0)
axes[0].set_title("data", fontsize=10)
errors = []
for axis, steps in zip(axes[1:], (30, 200, 700), strict=True):
    flow = WassersteinFlow(measure="gaussians", steps=steps, batch=64, width=64, depth=3, seed=0).fit(family)
    made = flow.sample(100, n_steps=20)
    errors.append(float(np.sqrt(np.median(nearest(made, family.gaussians).sq_distance))) / size)
    draw_ellipses(axis, made, color=GREEN, n_std=1.0, fill=0.0)
    axis.set_title(f"{steps} steps: {errors[-1]:.2f}", fontsize=10)
limit = 1.2 * np.abs(family.gaussians.mean).max()
for axis in axes:
    bare(axis)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
show(figure, "spiral_training")

assert errors[2] < errors[1] < errors[0]
