"""
Shortest paths never cross
==========================

Fifty points are to go to fifty places, on straight lines. Where two lines cross, exchanging the partners
shortens both, so the plan of least *length* has no crossing. The plan of least *squared* length (WFM-3),
which is the one of this package, may have some; but there nobody is at a crossing at the same time.
"""

# %%
# Two segments cross where each has the ends of the other on both sides.

import numpy as np

from refwfm.clouds import uniform
from refwfm.interpolation import displacement
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.emd import cost_matrix
from refwfm.transport.exact import assignment

rng = np.random.default_rng(0)
x, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + [3.0, 0.0]
plans = {
    "as they come": y,
    "least squared length": y[assignment(cost_matrix(uniform(x), uniform(y), squared=True))],
    "least length": y[assignment(cost_matrix(uniform(x), uniform(y), squared=False))],
}


def side(p, q, r):
    """On which side of the line from p to q the point r lies."""
    return np.sign((q - p)[..., 0] * (r - p)[..., 1] - (q - p)[..., 1] * (r - p)[..., 0])


def crossings(start, end):
    """How many pairs of segments cross."""
    p, q, r, s = start[:, None], end[:, None], start[None], end[None]
    return int(np.sum((side(p, q, r) * side(p, q, s) < 0) & (side(r, s, p) * side(r, s, q) < 0))) // 2


# %%
# The same points three times.

figure, axes = panels(3, width=3.4, height=2.8)
found = {}
for axis, (name, images), color in zip(axes, plans.items(), (GREY, GREEN, GREEN), strict=True):
    found[name] = crossings(x, images)
    axis.plot(*np.stack([x, images]).transpose(2, 0, 1), color=color, lw=0.8)
    axis.scatter(*x.T, color=BLUE, s=8, zorder=3)
    axis.scatter(*y.T, color=RED, s=8, zorder=3, marker="s")
    bare(axis)
    axis.set_title(f"{name}:\n{found[name]} crossings", fontsize=10)
show(figure, "crossing")

assert found["as they come"] > 100
assert 0 < found["least squared length"] < 100
assert found["least length"] == 0

# %%
# On the way of least squared length points keep apart at each time: the nearest two at half the time are
# nearer than at the start, but not in one place.

halfway = displacement(x, plans["least squared length"], 0.5)
apart = np.linalg.norm(halfway[:, None] - halfway, axis=-1)[~np.eye(50, dtype=bool)].min()
assert apart > 1e-3
