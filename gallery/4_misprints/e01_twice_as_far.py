r"""
E1: as printed, the entropic map goes twice as far
==================================================

Printed is :math:`\hat T(x)=x-\nabla\hat f(x)`, which belongs to half of the squared distance. The cost
of the paper is all of it, and the map is :math:`x-\tfrac12\nabla\hat f(x)` (WFM-13). Read literally,
every point flies past its target to the other side.
"""

# %%
# The gradient of the potential is twice the way to the image.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.entropic import entropic_map
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost

rng = np.random.default_rng(0)
n, eps = 60, 0.05
angle = np.linspace(0, np.pi, n)
x = np.stack([np.cos(angle), np.sin(angle)], -1) + 0.05 * rng.normal(size=(n, 2))
y = np.stack([2.5 + np.cos(angle), 0.7 - np.sin(angle)], -1) + 0.05 * rng.normal(size=(n, 2))
cost, a = sq_euclidean_cost(x, y), np.full(n, 1 / n)
meant = entropic_map(x, y, a, sinkhorn(cost, a, a, eps=eps, tol=1e-4).g, eps=eps)
gradient = 2 * (x - meant)
images = {"meant": meant, "printed": x - gradient}

# %%
# Where the points land (crosses), and how far from the nearest target.

figure, axes = panels(2, width=4.2, height=2.2, sharex=True, sharey=True)
off = {}
for axis, (name, image), color in zip(axes, images.items(), (GREEN, GREY), strict=True):
    off[name] = float(np.mean(np.sqrt(sq_euclidean_cost(image, y).min(axis=1))))
    axis.plot(*np.stack([x, image]).transpose(2, 0, 1), color=color, lw=0.4)
    axis.scatter(*y.T, s=14, color=RED, marker="s")
    axis.scatter(*x.T, s=8, color=BLUE)
    axis.scatter(*image.T, s=14, color=color, marker="x", zorder=3)
    bare(axis)
    axis.set_title(f"{name}: {off[name]:.2f} off the target", fontsize=10)
show(figure, "e01_twice_as_far")

assert off["meant"] < 0.1
assert off["printed"] > 1.0
