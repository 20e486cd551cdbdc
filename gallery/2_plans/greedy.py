"""
Greedy rounding pays at the end for what it saved first
=======================================================

To train on pairs one rounds a blurred plan to a permutation: the largest entry of all, then the largest of what
is left, and so on (WFM-A.1). Each choice is the best at hand, and the last points get partners that nobody
wanted. A cold plan leaves it nothing to choose and costs the optimum.
"""

# %%
# Eighty points on both sides; pairs of the warm plan, and the extra cost by temperature.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.exact import assignment
from refwfm.transport.plans import greedy_rounding
from refwfm.transport.sinkhorn import log_plan, sinkhorn, sq_euclidean_cost

n = 80
rng = np.random.default_rng(5)
x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
a, cost = np.full(n, 1 / n), sq_euclidean_cost(x, y)
optimal = assignment(cost)
epsilons, extra, rounded = np.geomspace(0.01, 10, 10), [], None
least = cost[np.arange(n), optimal].mean()
for eps in epsilons:
    found = sinkhorn(cost, a, a, eps=float(eps), tol=1e-3, max_iter=5000, require=False)
    rounded = greedy_rounding(log_plan(cost, a, a, found))
    extra.append(float(cost[np.arange(n), rounded].mean() / least - 1))

# %%
# Left, the pairs; the line of a pair is as thick as it is long.

figure, axes = panels(3, width=3.0, height=3.0)
for axis, partner, color, name in (
    (axes[0], optimal, GREEN, "optimal"),
    (axes[1], rounded, GREY, "greedy, ε = 10"),
):
    long = np.linalg.norm(x - y[partner], axis=-1)
    for i in range(n):
        axis.plot(*zip(x[i], y[partner[i]], strict=True), color=color, lw=0.4 + 0.6 * long[i])
    axis.scatter(*x.T, s=8, color=BLUE, zorder=3)
    axis.scatter(*y.T, s=8, color=RED, zorder=3, marker="s")
    bare(axis)
    axis.set_title(f"{name}: longest {long.max():.1f}", fontsize=10)
axes[2].semilogx(epsilons, 100 * np.array(extra), color=GREY, marker="o", ms=4)
axes[2].set(xlabel="ε", ylabel="cost of the rounding, % above the optimum", ylim=(-2, None))
axes[2].set_title(f"up to {100 * max(extra):.0f} % more", fontsize=10)
show(figure, "greedy")

assert extra[0] < 0.05
assert max(extra) > 0.1
