"""
Every cloud keeps its points from noise to a four
=================================================

A handwritten four is a cloud of as many points as it has ink, mostly 50 to 170. One network moves clouds of
all sizes: it sees the points as a set. Each begins as noise of its own size; no point is lost, none is made.
The network that ships learned for two minutes, and its fours can be told from real ones.
"""

# %%
# Eight clouds of noise on their way.

import numpy as np

from refwfm import clouds, datasets
from refwfm.metrics.distances import pairwise_chamfer
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, bare, plt, show
from refwfm.runs import evaluate_clouds, shipped
from refwfm.runs.estimator import WassersteinFlow

model = WassersteinFlow.load(shipped.folder("fours")).model_
real = datasets.load("fours").batch(range(300))
way = evaluate_clouds.trajectory(model, size=8, n_steps=40, seed=1)
to_real = [pairwise_chamfer(way[k], real, n_jobs=1) for k in (0, 20, 30, 40)]
between_real = pairwise_chamfer(real, n_jobs=1)
np.fill_diagonal(between_real, np.inf)
typical = float(np.median(between_real.min(axis=1)))

# %%
# Below each the nearest of 300 real fours. Numbers: the Chamfer distance to it, in units of that of a real
# four to the nearest of the others.

figure, axes = plt.subplots(5, 8, figsize=(8.4, 5.8), layout="constrained", sharex=True, sharey=True)
sizes, gaps = [], []
for row, (k, distance) in enumerate(zip((0, 20, 30, 40), to_real, strict=True)):
    stage = clouds.unpad(way[k])
    sizes.append([len(points) for points in stage])
    gaps.append(float(np.median(distance.min(axis=1))) / typical)
    for axis, points in zip(axes[row], stage, strict=True):
        axis.scatter(*points.T, s=2.5, color=BLUE if k == 0 else GREEN, linewidths=0)
    axes[row, 0].set_ylabel(f"t = {k / 40:g}\n{gaps[-1]:.1f}", rotation=0, ha="right", va="center")
members = clouds.unpad(real)
for column, nearest, size in zip(axes.T, to_real[-1].argmin(axis=1), sizes[0], strict=True):
    column[4].scatter(*members[nearest].T, s=2.5, color=GREY, linewidths=0)
    column[0].set_title(f"n = {size}", fontsize=9)
axes[4, 0].set_ylabel("nearest\nreal: 1", rotation=0, ha="right", va="center")
for axis in axes.ravel():
    bare(axis)
show(figure, "flow_of_digits")

assert all(each == sizes[0] for each in sizes)
assert len(set(sizes[0])) > 4
assert gaps[-1] < 0.5 * gaps[0]
