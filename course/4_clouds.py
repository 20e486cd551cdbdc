# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

"""Chapter 4: clouds and plans."""

# %% [markdown]
# # 4. Clouds and plans
#
# From here on a *sample* is a whole cloud of points: a handwritten digit, a shape, a piece of tissue. This
# chapter is about what can be said of two of them.

# %%
import numpy as np

from refwfm import bures, clouds, datasets
from refwfm.interpolation import displacement
from refwfm.measures import PointCloud
from refwfm.metrics.distances import chamfer
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.exact import assignment, sq_wasserstein2
from refwfm.transport.plans import argmax_matching, greedy_rounding
from refwfm.transport.sinkhorn import log_plan, sinkhorn, sq_euclidean_cost

rng = np.random.default_rng(3)
fours = datasets.load("fours")


def resampled(cloud, n):
    """N points of a cloud, each of the same weight."""
    return cloud.points[rng.choice(len(cloud.points), n, replace=False)]


large = np.flatnonzero(fours.sizes >= 90)[:40]
x, y = resampled(fours.cloud(large[0]), 90), resampled(fours.cloud(large[7]), 90)

# %% [markdown]
# ## The straight way from one four to another
#
# Pair the points at least squared distance (**exercise 16**) and move each to its partner. Half-way stands a
# four. Move them to partners that they happen to have, and half-way stands a smear. That is what transport is
# for: the *curve* is made of plausible shapes.

# %%
partner = assignment(sq_euclidean_cost(x, y))
figure, axes = panels(5, width=1.7, height=1.9)
rows = {"optimal": y[partner], "as they come": y}
for column, t in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
    for (name, images), shift in zip(rows.items(), (0.0, -2.4), strict=True):
        points = displacement(x, images, t) + np.array([0.0, shift])
        color = BLUE if t == 0 else RED if t == 1 else GREEN if name == "optimal" else GREY
        axes[column].scatter(*points.T, s=3, color=color)
    bare(axes[column])
    axes[column].set_title(f"t = {t:g}", fontsize=9)
axes[0].text(
    -0.05, 0.75, "optimal", transform=axes[0].transAxes, rotation=90, ha="right", va="center", fontsize=8
)
axes[0].text(
    -0.05, 0.25, "as they come", transform=axes[0].transAxes, rotation=90, ha="right", va="center", fontsize=8
)
show(figure, "4-fours")

# %% [markdown]
# ## From a blurred plan to partners
#
# An entropic plan gives everybody a bit of everybody. To train on it one rounds it. The likeliest partner of
# each point is not a permutation: some targets are taken twice, and others not at all. The greedy rounding
# (WFM-A.1, **exercise 17**) takes the largest entry of all, strikes its row and column, and goes on. The mean
# of each row (**exercise 18**) is a third way: it lands between the targets.

# %%
n = len(x)
a = np.full(n, 1 / n)
cost = sq_euclidean_cost(x, y)
unmet, extra = [], []
epsilons = np.geomspace(1e-3, 1.0, 10)
for eps in epsilons:
    found = sinkhorn(cost, a, a, eps=float(eps), tol=1e-3, max_iter=3000, require=False)
    logs = log_plan(cost, a, a, found)
    likeliest, rounded = argmax_matching(logs), greedy_rounding(logs)
    assert np.unique(rounded).size == n
    unmet.append(1 - np.unique(likeliest).size / n)
    extra.append(cost[np.arange(n), rounded].mean() / cost[np.arange(n), partner].mean() - 1)

figure, axes = panels(2)
axes[0].semilogx(epsilons, 100 * np.array(unmet), color=RED, marker="o", ms=3)
axes[0].set(xlabel="ε", ylabel="% of the targets", title="likeliest partner: unmet targets", ylim=(0, None))
axes[1].semilogx(epsilons, 100 * np.array(extra), color=GREEN, marker="o", ms=3)
axes[1].set(xlabel="ε", ylabel="% above the optimum", title="greedy rounding: extra cost", ylim=(0, None))
show(figure, "4-rounding")

# %% [markdown]
# ## Three numbers for two clouds
#
# The distance costs an assignment. The Gaussians of both clouds, by their moments (**exercise 19**), have a
# distance in closed form, and it is *never more* than that of the clouds: a bound for nothing (WFM-24).
# Chamfer (**exercise 20**) is cheap as well, but bounds nothing, and has a blind spot: it asks only for the
# nearest point. Below, one four is compared with itself, with more and more of its points drawn from its left
# half. Every point is still there, so Chamfer sees nothing.

# %%
members = [resampled(fours.cloud(i), 90) for i in large[:16]]
exact, bound = [], []
for i in range(16):
    for j in range(i):
        u, v = (clouds.uniform(members[k]) for k in (i, j))
        exact.append(float(sq_wasserstein2(u, v)))
        bound.append(float(bures.sq_distance(clouds.moments(u.points), clouds.moments(v.points))))
assert np.all(np.array(bound) <= np.array(exact) + 1e-12)

whole = fours.cloud(large[0]).points
left = whole[:, 0] < np.median(whole[:, 0])
shares = np.linspace(0.5, 0.95, 10)
curves = {"squared Wasserstein": [], "Chamfer": []}
for share in shares:
    weights = np.where(left, share / left.sum(), (1 - share) / (~left).sum())
    heavier = PointCloud(whole, weights / weights.sum())
    curves["squared Wasserstein"].append(float(sq_wasserstein2(clouds.uniform(whole), heavier)))
    curves["Chamfer"].append(float(chamfer(clouds.uniform(whole), heavier)))

figure, axes = panels(2)
axes[0].scatter(exact, bound, s=8, color=GREEN)
limit = max(exact) * 1.05
axes[0].plot([0, limit], [0, limit], color=GREY, lw=0.8)
axes[0].set(
    xlabel="squared distance of the clouds", ylabel="of their Gaussians", xlim=(0, limit), ylim=(0, limit)
)
for (name, values), color in zip(curves.items(), (GREEN, RED), strict=True):
    axes[1].plot(100 * shares, values, color=color, label=name)
axes[1].set(xlabel="% of the mass in the left half")
axes[1].legend(frameon=False)
show(figure, "4-distances")

# %% [markdown]
# Go on: `refwfm explain WFM-3`, `WFM-A.1`, `Chamfer`, `EMD`.
