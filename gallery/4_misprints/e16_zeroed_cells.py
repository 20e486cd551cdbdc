"""
E16: zeroed cells are chosen again
==================================

The rounding takes the largest entry of a plan and sets its row and its column to 0 (WFM-A.1, as
printed). A cold plan has *underflowed*: it is 0 already outside a few entries. Once these are used up
all cells are equal, the struck ones, too, and points get partners that are taken. Meant is to strike:
minus infinity in logarithms.
"""

# %%
# A cold plan of 30 points, rounded as printed and as meant.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.plans import greedy_rounding
from refwfm.transport.sinkhorn import log_plan, sinkhorn, sq_euclidean_cost

n = 30
rng = np.random.default_rng(1)
x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + [4.5, 0.0]
cost, a = sq_euclidean_cost(x, y).astype(np.float32), np.full(n, 1 / n, dtype=np.float32)
logs = log_plan(cost, a, a, sinkhorn(cost, a, a, eps=0.02, tol=None, max_iter=5, require=False))


def as_printed(plan):
    """Round by setting rows and columns to 0."""
    plan, partner = plan.copy(), np.full(len(plan), -1)
    for _ in range(len(plan)):
        i, j = np.unravel_index(np.argmax(plan), plan.shape)
        partner[i] = j
        plan[i, :], plan[:, j] = 0.0, 0.0
    return partner


partners = {"meant": greedy_rounding(logs), "printed": as_printed(np.exp(logs))}

# %%
# Points without a partner are crossed out.

figure, axes = panels(2, width=4.2, height=3.0)
met = {}
for axis, (name, partner), color in zip(axes, partners.items(), (GREEN, GREY), strict=True):
    paired = np.flatnonzero(partner >= 0)
    met[name] = np.unique(partner[paired]).size
    axis.plot(*np.stack([x[paired], y[partner[paired]]]).transpose(2, 0, 1), color=color, lw=0.8)
    axis.scatter(*x.T, s=10, color=BLUE, zorder=3)
    axis.scatter(*y.T, s=10, color=RED, zorder=3, marker="s")
    lonely = [x[partner < 0], np.delete(y, partner[paired], axis=0)]
    axis.scatter(*np.concatenate(lonely).T, s=45, color="black", marker="x", lw=1.2, zorder=4)
    bare(axis)
    axis.set_title(f"{name}: {met[name]} of {n} targets met", fontsize=10)
show(figure, "e16_zeroed_cells")

assert met["meant"] == n
assert met["printed"] < n
