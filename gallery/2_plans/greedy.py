"""
Greedy pairs pay at the end; of a plan with potentials they do not
==================================================================

Take the cheapest pair of all, then the cheapest of what is left, and so on: each choice is the best at
hand, and the last two points must go to each other from end to end. The rounding of this package
(WFM-A.1) is greedy as well, but reads an entropic *plan*: its potentials have raised the price of
partners that others need more.
"""

# %%
# Two kinds of points by turns on a line: gaps of 1 within the right pairs, of 0.9 between them.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.exact import assignment
from refwfm.transport.plans import greedy_rounding
from refwfm.transport.sinkhorn import log_plan, sinkhorn, sq_euclidean_cost

n = 8
x = 1.9 * np.arange(n)
y = x + 1.0
cost, a = sq_euclidean_cost(x[:, None], y[:, None]), np.full(n, 1 / n)
found = sinkhorn(cost, a, a, eps=0.5, tol=1e-3)
partners = {
    "optimal": assignment(cost),
    "greedy by cost": greedy_rounding(-cost),
    "greedy by plan, ε = 0.5": greedy_rounding(log_plan(cost, a, a, found)),
}

# %%
# Arcs from blue to orange, and the mean cost beside that of the optimum.

figure, axis = panels(1, width=7.5, height=3.8)
costs = {}
turn = np.linspace(0, np.pi, 60)
for row, ((name, partner), color) in enumerate(zip(partners.items(), (GREEN, GREY, GREEN), strict=True)):
    costs[name] = float(cost[np.arange(n), partner].mean())
    for start, end in zip(x, y[partner], strict=True):
        middle, half = (start + end) / 2, abs(end - start) / 2
        axis.plot(middle + half * np.cos(turn), -4.2 * row + min(1.6, half) * np.sin(turn), color=color)
    axis.scatter(x, 0 * x - 4.2 * row, color=BLUE, s=30, zorder=3)
    axis.scatter(y, 0 * y - 4.2 * row, color=RED, s=30, zorder=3, marker="s")
    axis.text(-1.0, -4.2 * row, f"{name}:\ncost {costs[name]:.1f}", ha="right", va="center", fontsize=10)
bare(axis)
axis.set_xlim(-9.5, 15.5)
show(figure, "greedy")

assert costs["greedy by cost"] > 20 * costs["optimal"]
assert costs["greedy by plan, ε = 0.5"] < 1.01 * costs["optimal"]
