"""
A sliced plan has the right marginals and too many partners
===========================================================

On a line transport is sorting. Sort along many directions and average the plans (GWFM-106): cheap, with
the right marginals, but a point goes to a different partner in each direction. Between clouds that
differ by a shift the sliced plan is right; between two crescents it sends mass across, and it costs more
than the optimal plan.
"""

# %%
# The plan of 200 directions between two crescents.

import numpy as np

from refwfm.clouds import uniform
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.exact import transport_plan
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.transport.sliced import lifted_plan, random_directions

n = 30
rng = np.random.default_rng(0)
angle = np.linspace(0, np.pi, n)
x = np.stack([np.cos(angle), np.sin(angle)], -1) + 0.05 * rng.normal(size=(n, 2))
y = np.stack([1.0 + np.cos(angle), 0.4 - np.sin(angle)], -1) + 0.05 * rng.normal(size=(n, 2))
cost, a = sq_euclidean_cost(x, y), np.full(n, 1 / n)
plans = {
    "optimal": transport_plan(cost, a, a).plan,
    "sliced": lifted_plan(uniform(x), uniform(y), random_directions(x, rng=rng, n_proj=200)),
}

# %%
# Lines are as dark as the mass they carry; beside the cost, the number of partners.

figure, axes = panels(2, width=4.0, height=3.2)
costs = {}
for axis, (name, plan), color in zip(axes, plans.items(), (GREEN, GREY), strict=True):
    costs[name] = float(np.sum(plan * cost))
    for i, j in zip(*np.nonzero(n * plan > 0.02), strict=True):
        axis.plot(
            *zip(x[i], y[j], strict=True), color=color, lw=1.0, alpha=float(min(1.0, 2 * n * plan[i, j]))
        )
    axis.scatter(*x.T, s=12, color=BLUE, zorder=3)
    axis.scatter(*y.T, s=12, color=RED, zorder=3, marker="s")
    bare(axis)
    partners = np.mean(np.sum(plan > 1e-9, axis=1))
    axis.set_title(f"{name}: cost {costs[name]:.2f}, {partners:.0f} for a point", fontsize=10)
show(figure, "sliced_plan")

assert costs["sliced"] > 1.1 * costs["optimal"]
assert np.allclose(plans["sliced"].sum(axis=0), a)
