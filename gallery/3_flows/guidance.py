r"""
Guidance buys typical samples and pays with variety
===================================================

A conditional model can be pushed further from its own unconditional one,
:math:`(1+w)\,v_{label}-w\,v_{none}`. Samples move away from the other class, where nobody could mistake
them, and the law that was asked for is no longer the one that is drawn.
"""

# %%
# Two classes of three places each; their best fields are known (META-FM-12).

import numpy as np

from refwfm.clouds import uniform
from refwfm.generation import generate_clouds
from refwfm.networks.conditioning import guidance
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, bare, panels, show
from refwfm.populations.oracles import denoising_velocity

rng = np.random.default_rng(0)
wanted = np.array([[0.4, 0.0], [1.5, 1.2], [1.5, -1.2]])
places = np.concatenate([wanted, wanted * [-1.0, 1.0]])
noise = uniform((wanted[np.arange(400) % 3] + 6 * rng.normal(size=(400, 2)))[None])


def field(weight):
    """Guided field."""

    def velocity(cloud, t):
        of_label = denoising_velocity(cloud.points, t, wanted, sigma=6.0, tau=0.25)
        of_none = denoising_velocity(cloud.points, t, places, sigma=6.0, tau=0.25)
        return guidance(of_label, of_none, weight)

    return velocity


# %%
# The share of samples at the place beside the other class, a third of the law that was asked for.

figure, axes = panels(3, width=3.0, height=3.2, sharex=True, sharey=True)
shares = []
for axis, weight in zip(axes, (0.0, 1.0, 3.0), strict=True):
    made = generate_clouds(field(weight), noise, n_steps=100).points[0]
    nearest = np.argmin(np.linalg.norm(made[:, None] - wanted, axis=-1), axis=1)
    shares.append(float(np.mean(nearest == 0)))
    axis.scatter(*made.T, s=4, color=GREEN)
    axis.scatter(*wanted.T, s=60, facecolors="none", edgecolors=BLUE, zorder=3)
    axis.scatter(*places[3:].T, s=40, color=GREY, marker="x")
    bare(axis)
    axis.set_title(f"w = {weight:g}: {100 * shares[-1]:.0f} % at the near place", fontsize=10)
figure.supxlabel("circles: the class that is asked for; crosses: the other", fontsize=9)
show(figure, "guidance")

assert abs(shares[0] - 1 / 3) < 0.08
assert shares[2] < 0.6 * shares[0]
