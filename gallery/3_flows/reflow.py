"""
Pairs of the flow's own straighten it
=====================================

Pairs of noise and data cross, and where they cross a field can only go their mean way: its paths bend. But
the flow does take each point somewhere. These pairs hardly cross, and a field learned from them is nearly
straight (WFM-REFLOW): one step then does what took many.
"""

# %%
# Points are scattered about eight places, and are to go back. The best field that is not told which place is
# whose is known.

import numpy as np

from refwfm.clouds import uniform
from refwfm.couplings.rectified import rectified_pairs
from refwfm.generation import generate_clouds
from refwfm.metrics.straightness import straightness
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.populations.oracles import denoising_velocity

rng = np.random.default_rng(0)
angle = np.arange(8) * np.pi / 4
places = 3 * np.stack([np.cos(angle), np.sin(angle)], -1)


def first(cloud, t):
    """Mean velocity of the points that are here, each on its way to its own place."""
    return denoising_velocity(cloud.points, t, places, sigma=3.0, tau=0.0)


own = places[rng.integers(8, size=3000)]
noise = uniform((own + 3 * rng.normal(size=(3000, 2)))[None])
pairs = rectified_pairs(first, noise, n_steps=100)
starts, ends = pairs.source.points[0], pairs.target.points[0]

# %%
# Then by the flow's own: the mean velocity of all pairs that come by within a short distance.


def second(cloud, t):
    """Mean velocity of the flow's own pairs, near each point at this time."""
    at = (1 - t[0]) * starts + t[0] * ends
    near = ((cloud.points[0][:, None] - at) ** 2).sum(-1)
    weight = np.exp((near.min(1, keepdims=True) - near) / (2 * 0.1**2))
    return (weight @ (ends - starts) / weight.sum(1, keepdims=True))[None]


fresh = uniform(3 * rng.normal(size=(1, 160, 2)) + places[rng.integers(8, size=160)])
counts, fields = [1, 2, 3, 4, 6, 8], {"given pairs": first, "the flow's own": second}
figure, axes = panels(3, width=3.0, height=3.2)
bend, error = {}, {}
for axis, (name, field), color in zip(axes[:2], fields.items(), (RED, GREEN), strict=True):
    path = {}
    truth = generate_clouds(field, fresh, n_steps=256, observe=path.__setitem__).points
    ways = np.stack([path[k].points[0] for k in range(0, 257, 16)])
    axis.plot(*ways.transpose(2, 0, 1), color=GREY, lw=0.5)
    axis.scatter(*ways[0].T, s=5, color=BLUE, zorder=3)
    axis.scatter(*places.T, s=25, color=RED, zorder=3, marker="s")
    bare(axis)
    bend[name] = float(straightness(field, fresh, n_steps=64).ratio)
    axis.set_title(f"{name}: bend {bend[name]:.3f}", fontsize=10)
    ended = [generate_clouds(field, fresh, n_steps=n).points for n in counts]
    error[name] = [float(np.sqrt(np.mean((points - truth) ** 2))) for points in ended]
    axes[2].plot(counts, error[name], color=color, marker="o", ms=4, label=name)
axes[2].set(xlabel="Euler steps", ylabel="error of the end points")
axes[2].legend(frameon=False)
show(figure, "reflow")

# %%
# Nor do the flow's pairs cost more than those that it was made of: the mean squared way is 18 by the given
# pairs, and 9 by the flow's own.

cost = {"given pairs": own - starts, "the flow's own": ends - starts}
cost = {name: np.mean((way**2).sum(-1)) for name, way in cost.items()}

assert bend["the flow's own"] < 0.3 * bend["given pairs"]
assert error["the flow's own"][0] < 0.5 * error["given pairs"][0]
assert cost["the flow's own"] < cost["given pairs"]
