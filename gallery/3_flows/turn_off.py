"""
Lines cross; the flow that learns from them turns off
=====================================================

Flow matching shows a network points on straight lines and asks for the velocity. Where two lines cross
the same place has two answers, and least squares gives their mean (GWFM-9). So the paths of the learned
flow never cross, though the lines do: whoever starts above ends above.
"""

# %%
# Two places on the line under much noise. The best field of all is known (META-FM-12); the lines lead
# from the noisy points to the places that they came from.

import numpy as np

from refwfm.clouds import uniform
from refwfm.generation import generate_clouds
from refwfm.paper_figures.drawing import GREEN, GREY, panels, show
from refwfm.populations.oracles import denoising_velocity

rng = np.random.default_rng(0)
ends = np.array([[-2.0], [2.0]])
partner = ends[rng.integers(0, 2, 60)]
noise = partner + 4 * rng.normal(size=(60, 1))
path = {}
end = generate_clouds(
    lambda cloud, t: denoising_velocity(cloud.points, t, ends, sigma=4.0, tau=0.0),
    uniform(noise[None]),
    n_steps=100,
    observe=path.__setitem__,
)
flow = np.stack([path[k].points[0, :, 0] for k in range(100)] + [end.points[0, :, 0]])


def exchanges(start, end):
    """Pairs of points that have another order at the end."""
    return int(np.sum((start[:, None] < start) & (end[:, None] > end)))


# %%
# Left, what is shown; right, where the best field leads.

figure, axes = panels(2, width=3.8, height=3.2, sharey=True)
counts = {"lines": exchanges(noise[:, 0], partner[:, 0]), "flow": exchanges(flow[0], flow[-1])}
for k in range(60):
    axes[0].plot([0, 1], [noise[k, 0], partner[k, 0]], color=GREY, lw=0.7)
axes[1].plot(np.linspace(0, 1, 101), flow, color=GREEN, lw=0.7)
for axis, (name, count) in zip(axes, counts.items(), strict=True):
    axis.set(xlabel="time", title=f"{name}: {count} crossings")
axes[0].set_ylabel("place")
show(figure, "turn_off")

assert counts["flow"] == 0
assert counts["lines"] > 100
