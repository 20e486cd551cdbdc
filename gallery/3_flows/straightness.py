"""
Straight paths need one step, bent ones several
===============================================

To make a sample one follows a field in steps. On straight paths at constant speed a single Euler step is
exact. How much the paths bend can be measured (GWFM-Straightness), and it tells how many steps are
needed.
"""

# %%
# From noisy places to one place, and to eight: the best fields of all, without any training.

import numpy as np

from refwfm.clouds import uniform
from refwfm.generation import generate_clouds
from refwfm.metrics.straightness import straightness
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.populations.oracles import denoising_velocity

rng = np.random.default_rng(0)
angle = np.arange(8) * np.pi / 4
targets = {
    "one place": np.array([[3.0, 0.0]]),
    "eight places": 3 * np.stack([np.cos(angle), np.sin(angle)], -1),
}
spread = 3 * rng.normal(size=(160, 2))
counts = [1, 2, 3, 4, 6, 8, 12, 16]

# %%
# The error is the distance to where 512 steps lead.

figure, axes = panels(3, width=3.0, height=3.2)
bends, errors = {}, {}
for axis, (name, centres), color in zip(axes[:2], targets.items(), (GREEN, RED), strict=True):

    def field(cloud, t, centres=centres):
        """Velocity of the best field."""
        return denoising_velocity(cloud.points, t, centres, sigma=3.0, tau=0.0)

    noise = uniform((centres[np.arange(160) % len(centres)] + spread)[None])
    path = {}
    truth = generate_clouds(field, noise, n_steps=512, observe=path.__setitem__).points[0]
    bends[name] = float(straightness(field, noise, n_steps=128).ratio)
    ways = np.stack([path[k].points[0] for k in range(0, 512, 16)] + [truth])
    axis.plot(*ways.transpose(2, 0, 1), color=GREY, lw=0.5)
    axis.scatter(*ways[0].T, s=5, color=BLUE, zorder=3)
    axis.scatter(*centres.T, s=25, color=RED, zorder=3, marker="s")
    bare(axis)
    axis.set_title(f"{name}: bend {bends[name]:.2f}", fontsize=10)
    errors[name] = [
        float(np.sqrt(np.mean((generate_clouds(field, noise, n_steps=n).points[0] - truth) ** 2)))
        for n in counts
    ]
    axes[2].plot(counts, errors[name], color=color, marker="o", ms=4, label=name)
axes[2].set(xlabel="Euler steps", ylabel="error of the end points")
axes[2].legend(frameon=False, loc="upper right")
show(figure, "straightness")

assert errors["one place"][0] < 1e-12
assert errors["eight places"][0] > 0.5
assert bends["one place"] < 1e-9 < bends["eight places"]
