# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 5: flow matching."""

# %% [markdown]
# # 5. Flow matching
#
# To make new points of a law one learns a *velocity field* that carries noise to data. Flow matching learns
# it from lines: draw a start $x_0$, an end $x_1$, a time $t$; show the network the place $x_t=(1-t)x_0+tx_1$
# and ask for the velocity $x_1-x_0$ (**exercise 21**). The loss is a mean square (WFM-U7, **exercise 22**).
# No simulation is needed.

# %%
import numpy as np

from refwfm.clouds import uniform
from refwfm.generation import generate_clouds
from refwfm.paper_figures.drawing import GREEN, GREY, RED, bare, panels, show
from refwfm.populations.oracles import denoising_velocity
from refwfm.transport.exact import assignment
from refwfm.transport.fields import mean_displacement
from refwfm.transport.sinkhorn import sq_euclidean_cost

rng = np.random.default_rng(0)

# %% [markdown]
# ## Where lines cross
#
# Two particles cross in the middle, one on its way up, the other down. A field has one value in one place.
# Least squares gives it the mean of the two (GWFM-9, **exercise 23**): straight on. So the particles do not
# cross but turn off, and change places: the *law* at each time is right, the lines are not kept.

# %%
start = np.array([[-1.0, -1.0], [-1.0, 1.0]])
end = np.array([[1.0, 1.0], [1.0, -1.0]])
field = mean_displacement(start, end, np.full(2, 0.5), np.asarray(0.5))
figure, axes = panels(2)
for x, y in zip(start, end, strict=True):
    axes[0].annotate("", y, x, arrowprops={"arrowstyle": "->", "color": GREY})
axes[0].annotate("", 0.5 * field[0], (0.0, 0.0), arrowprops={"arrowstyle": "->", "color": GREEN, "lw": 2.5})
axes[0].text(0.25, -0.3, "mean", color=GREEN, ha="center")

points = rng.choice([-1.0, 1.0], size=(400, 1))  # the end: two places on the line
noise = rng.normal(size=(400, 1))
for x0, x1 in zip(noise[:25], points[:25], strict=True):
    axes[1].plot([0, 1], [x0[0], x1[0]], color=GREY, lw=0.5)


def two_places(cloud, t):
    """Field between standard normal noise and two places: E[x1 - x0 | x_t]."""
    time = t[..., None, None]
    x, rest = cloud.points, np.maximum(1.0 - time, 1e-3)
    mean = np.tanh(time * x / rest**2)  # posterior mean of x1
    return (mean - x) / rest


paths = {}
final = generate_clouds(two_places, uniform(noise[None, :25]), n_steps=100, observe=paths.__setitem__)
curves = np.stack([paths[k].points[0, :, 0] for k in range(100)] + [final.points[0, :, 0]])
axes[1].plot(np.linspace(0, 1, 101), curves, color=GREEN, lw=1.2)
axes[0].set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), title="two lines, one field")
axes[0].axis("off")
axes[1].set(xlabel="time", ylabel="x", title="lines (grey) and flow (green)")
show(figure, "5-crossing")

# %% [markdown]
# On the right the same for noise that goes to two places: all lines together, and the flow of the field that
# is learned from them. Flow lines never cross.
#
# ## The perfect network
#
# When the data are known the field that training converges to can be written down (META-FM-12, **exercise
# 24**): the velocity towards a mean of the data, weighted by how likely each is from here. Far from all,
# early on, it leads to the middle; later it decides. A network is good when it comes near this field, and no
# better is possible.

# %%
angle = np.linspace(0, 2 * np.pi, 9)[:-1]
centres = 2.0 * np.stack([np.cos(angle), np.sin(angle)], -1)
grid = np.stack(np.meshgrid(np.linspace(-3.2, 3.2, 15), np.linspace(-3.2, 3.2, 15)), -1).reshape(-1, 2)
figure, axes = panels(3, width=3.1)
for axis, t in zip(axes, (0.0, 0.5, 0.8), strict=True):
    v = denoising_velocity(grid, t, centres, sigma=2.0, tau=0.15)
    axis.quiver(*grid.T, *v.T, color=GREEN, angles="xy", width=0.005)
    axis.scatter(*centres.T, color=RED, s=20)
    bare(axis)
    axis.set_title(f"t = {t:g}")
show(figure, "5-field")

# %% [markdown]
# ## Following it, and pairing first
#
# To make a point one follows the field in steps: Euler's method, or Heun's, which looks ahead (META-FM-14,
# **exercise 25**). The straighter the flow lines, the fewer steps. Lines that do not cross from the start
# make them straight: pair noise with data by an optimal assignment before drawing the lines. Below, the error
# of both methods, and the length of the lines between 256 points of noise and 256 data.


# %%
def carry(method, n_steps):
    """End points of noise about the centres, by the field above."""
    cloud = uniform((centres[rng_index] + 2.0 * fixed)[None])
    return generate_clouds(
        lambda c, t: denoising_velocity(c.points, t, centres, sigma=2.0, tau=0.15),
        cloud,
        n_steps=n_steps,
        method=method,
    ).points[0]


rng_index, fixed = rng.integers(0, 8, 256), rng.normal(size=(256, 2))
truth = carry("rk4", 400)
counts = np.array([4, 8, 16, 32, 64])
figure, axes = panels(2)
for method, color in (("euler", RED), ("heun", GREEN)):
    errors = [np.sqrt(np.mean(np.sum((carry(method, n) - truth) ** 2, axis=-1))) for n in counts]
    axes[0].loglog(counts, errors, color=color, marker="o", ms=3, label=method.capitalize())
axes[0].set(xlabel="steps", ylabel="error of the end points", xticks=counts, xticklabels=counts)
axes[0].minorticks_off()
axes[0].legend(frameon=False)
data = centres[rng.integers(0, 8, 256)] + 0.15 * rng.normal(size=(256, 2))
noise = 2.0 * rng.normal(size=(256, 2))
partner = assignment(sq_euclidean_cost(noise, data))
lengths = {"as drawn": data - noise, "paired": data[partner] - noise}
for (name, way), color in zip(lengths.items(), (GREY, GREEN), strict=True):
    axes[1].hist(np.linalg.norm(way, axis=-1), bins=np.linspace(0, 8, 33), color=color, alpha=0.7, label=name)
axes[1].set(xlabel="length of a line", ylabel="lines")
axes[1].legend(frameon=False)
show(figure, "5-steps")

# %% [markdown]
# Go on: `refwfm explain GWFM-9`, `META-FM-12`, `WFM-Alg3`. Chapter 6 replaces the points by distributions.
