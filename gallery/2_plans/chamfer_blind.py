"""
Chamfer does not see where the mass is
======================================

Chamfer asks each point for the nearest one of the other cloud, and never counts. Move the weight of a
four to its left half, with every point in its place: Chamfer says nothing has changed. Transport has to
carry the mass.
"""

# %%
# A handwritten four, and itself with more and more of its mass on the left.

import numpy as np

from refwfm import clouds, datasets
from refwfm.measures import PointCloud
from refwfm.metrics.distances import chamfer
from refwfm.paper_figures.drawing import BLUE, GREEN, RED, bare, panels, show
from refwfm.transport.exact import sq_wasserstein2

points = datasets.load("fours").cloud(7).points
left = points[:, 0] < np.median(points[:, 0])
shares = np.linspace(left.mean(), 0.95, 12)
curves = {"squared Wasserstein": [], "Chamfer": []}
for share in shares:
    weights = np.where(left, share / left.sum(), (1 - share) / (~left).sum())
    heavier = PointCloud(points, weights / weights.sum())
    curves["squared Wasserstein"].append(float(sq_wasserstein2(clouds.uniform(points), heavier)))
    curves["Chamfer"].append(float(chamfer(clouds.uniform(points), heavier)))

# %%
# Size of a dot: its mass at the end.

figure, axes = panels(2, width=3.8, height=3.2)
axes[0].scatter(*points.T, s=12 * len(points) * weights, color=BLUE, linewidths=0)
bare(axes[0])
axes[0].set_title("95 % of the mass on the left", fontsize=10)
for (name, values), color, marker in zip(curves.items(), (GREEN, RED), "os", strict=True):
    axes[1].plot(100 * shares, values, color=color, marker=marker, ms=4, label=f"{name}: {values[-1]:.2g}")
axes[1].set(xlabel="% of the mass in the left half", ylabel="to the even four")
axes[1].legend(frameon=False, title="at the end")
show(figure, "chamfer_blind")

assert max(curves["Chamfer"]) < 1e-12
assert curves["squared Wasserstein"][-1] > 0.01
