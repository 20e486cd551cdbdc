"""
The temperature turns a permutation into a blur
===============================================

Entropic transport (WFM-12) spreads the mass of each point over some partners. How many? The exponential
of the entropy of a row of the plan counts them: one for a permutation, all sixteen for the product plan.
"""

# %%
# Two arcs of sixteen points, at three temperatures in units of the cost.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, RED, bare, panels, show
from refwfm.transport.sinkhorn import log_plan, sinkhorn, sq_euclidean_cost

n = 16
angle = np.linspace(0, np.pi, n)
rng = np.random.default_rng(1)
x = np.stack([np.cos(angle), np.sin(angle)], -1) + 0.06 * rng.normal(size=(n, 2))
y = np.stack([1.0 - np.cos(angle), -0.6 - np.sin(angle)], -1) + 0.06 * rng.normal(size=(n, 2))
cost, a = sq_euclidean_cost(x, y), np.full(n, 1 / n)

# %%
# Lines are as dark as the mass they carry.

figure, axes = panels(3, width=3.1, height=3.1)
partners = []
for axis, eps in zip(axes, (0.003, 0.2, 20.0), strict=True):
    logs = log_plan(cost, a, a, sinkhorn(cost, a, a, eps=eps, tol=1e-3, max_iter=50_000))
    mass = n * np.exp(logs)
    partners.append(float(np.mean(np.exp(-np.sum(mass * np.log(np.maximum(mass, 1e-300)), axis=1)))))
    for i, j in zip(*np.nonzero(mass > 0.02), strict=True):
        axis.plot(
            *zip(x[i], y[j], strict=True), color=GREEN, alpha=float((mass[i, j] / mass.max()) ** 0.5), lw=0.8
        )
    axis.scatter(*x.T, s=9, color=BLUE, zorder=3)
    axis.scatter(*y.T, s=9, color=RED, zorder=3, marker="s")
    bare(axis)
    axis.set_title(f"ε = {eps:g}: {partners[-1]:.1f} partners each", fontsize=10)
show(figure, "blur")

assert partners[0] < 1.5
assert partners[2] > 15.5
