r"""
From any start, the distance to the target falls on a straight line
===================================================================

The conditional velocity is the rest of the way over the rest of the time (WFM-23). Whoever follows it
keeps a constant speed and arrives at time 1, from wherever it starts:
:math:`W_2(\mu_t,\nu)=(1-t)\,W_2(\mu_0,\nu)` (WFM-Prop3.1). Even coarse steps keep to the line, since
each is an exponential map.
"""

# %%
# Six Gaussians, ten steps.

import numpy as np

from refwfm import bures
from refwfm.conditional import conditional_velocity
from refwfm.generation import generate
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, RED, bare, ellipse, panels, show

rng = np.random.default_rng(4)
factors = rng.normal(size=(6, 2, 2))
angle = np.linspace(0, 2 * np.pi, 7)[:-1]
places = (5 + 2 * rng.random(6))[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
starts = Gaussian(places, 0.4 * factors @ factors.mT + 0.1 * np.eye(2))
nu = Gaussian(np.zeros((1, 2)), np.array([[[1.0, 0.5], [0.5, 0.6]]]))
path = {}
end, _ = generate(
    lambda here, t: conditional_velocity(here, nu, t), starts, n_steps=10, observe=path.__setitem__
)
way = [path[k] for k in range(10)] + [end]
distances = np.stack([bures.sq_distance(here, nu) ** 0.5 for here in way])
line = np.linspace(1, 0, 11)[:, None] * distances[0]
deviation = np.abs(distances - line).max()

# %%
# The deviation from the lines is rounding.

figure, axes = panels(2, width=4.2, height=3.8)
for k, here in enumerate(way[:-1:3]):
    for mean, cov in zip(*here, strict=True):
        ellipse(axes[0], mean, cov, BLUE if k == 0 else GREEN, width=1.2)
ellipse(axes[0], nu.mean[0], nu.cov[0], RED, width=2.5)
bare(axes[0])
axes[0].set_title("starts (blue), target (red)")
axes[1].plot(np.linspace(0, 1, 11), distances, color=GREEN, marker="o", ms=3, lw=1)
axes[1].set(xlabel="time", ylabel="distance to the target", ylim=(0, None), xlim=(0, 1))
axes[1].set_title(f"off the straight lines by at most {deviation:.0e}")
show(figure, "arrival")

assert deviation < 1e-6
