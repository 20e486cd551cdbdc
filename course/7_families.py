# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 7: measures over measures."""

# %% [markdown]
# # 7. Measures over measures
#
# A family of clouds is a measure *on the space of measures*: each cloud is one of its points. Its geometry is
# chapter 4 twice: a cost between clouds, which is transport, and transport with that cost (GWFM-3),
#
# $$\mathbb W_2^2(\mathfrak p,\mathfrak q)=\min_{\Pi}\int W_2^2(\mu,\nu)\,d\Pi(\mu,\nu).$$

# %%
import time

import numpy as np

from refwfm import clouds, datasets
from refwfm.couplings.costs import pairwise_sq_wasserstein2
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.exact import assignment, sq_wasserstein2
from refwfm.transport.families import even_family, sq_wow_distance
from refwfm.transport.linearized import align, pairwise_sq_lazy_distance

rng = np.random.default_rng(5)

# %% [markdown]
# ## The same points, another family
#
# In the first family each cloud lies on the left or on the right; in the second each is half here, half
# there. Throw all points together and both are the same: the distance of the mean measures is what sampling
# leaves. The distance of the families is large (**exercise 32**). A model that learns points alone cannot
# tell them apart.

# %%
sides = np.repeat([-1.0, 1.0], 12)
first = 0.15 * rng.normal(size=(24, 20, 2)) + np.stack([sides, 0 * sides], -1)[:, None]
mixed = np.tile(np.repeat([-1.0, 1.0], 10), (24, 1))
second = 0.15 * rng.normal(size=(24, 20, 2)) + np.stack([mixed, 0 * mixed], -1)
of_families = float(
    sq_wow_distance(even_family(clouds.uniform(first)), even_family(clouds.uniform(second))).sq_distance
)
of_points = float(
    sq_wasserstein2(clouds.uniform(first.reshape(-1, 2)), clouds.uniform(second.reshape(-1, 2)))
)

figure, axes = panels(2, width=4.0, height=2.6)
for axis, family, title in ((axes[0], first, "first family"), (axes[1], second, "second family")):
    for k, color in zip((0, 12, 13), (BLUE, RED, GREEN), strict=True):
        axis.scatter(*family[k].T, s=14, color=color)
    axis.set(xlim=(-1.7, 1.7), ylim=(-0.8, 0.8), title=f"{title}: three of its clouds")
    bare(axis)
figure.supxlabel(
    f"squared distance of all points {of_points:.3f}, of the families {of_families:.2f}", fontsize=10
)
show(figure, "7-families")
assert of_points < 0.05 < of_families

# %% [markdown]
# ## Which four with which four?
#
# Training draws a batch of sources and one of targets. The outer plan (GWFM-108, **exercise 31**) pairs them,
# and the inner plans pair their points; together they are a random coupling, whose cost (**exercise 33**) is
# no less than the squared distance of the families. Left, the cost of a pair as drawn, and as paired.
#
# The costs of all pairs are many assignments. Align every cloud *once* to a reference instead, and compare
# points by their number (GWFM-34, GWFM-41; **exercises 34 and 35**). That is never less than the distance;
# for fours, which are alike, it is not much more.

# %%
fours = datasets.load("fours")
large = np.flatnonzero(fours.sizes >= 60)


def some(index):
    """Clouds of 60 points."""
    members = (fours.cloud(i).points for i in index)
    return np.stack([points[rng.choice(len(points), 60, replace=False)] for points in members])


chosen = rng.choice(large, 65, replace=False)
x, y, reference = some(chosen[:32]), some(chosen[32:64]), some(chosen[64:])[0]
seconds = []
begin = time.process_time()
exact = pairwise_sq_wasserstein2(clouds.uniform(x), clouds.uniform(y))
seconds.append(time.process_time() - begin)
begin = time.process_time()
lazy = pairwise_sq_lazy_distance(align(reference, clouds.uniform(x)), align(reference, clouds.uniform(y)))
seconds.append(time.process_time() - begin)
assert np.all(lazy >= exact - 1e-9)
partner = assignment(exact)

figure, axes = panels(2)
bins = np.linspace(0, exact.max(), 30)
axes[0].hist(exact.ravel(), bins=bins, density=True, color=GREY, alpha=0.7, label="all pairs")
axes[0].hist(
    exact[np.arange(32), partner], bins=bins, density=True, color=GREEN, alpha=0.7, label="outer plan"
)
axes[0].set(xlabel="squared distance of a pair", ylabel="density")
axes[0].legend(frameon=False)
axes[1].scatter(exact.ravel(), lazy.ravel(), s=3, color=GREEN, alpha=0.5)
limit = 1.05 * lazy.max()
axes[1].plot([0, limit], [0, limit], color=GREY, lw=0.8)
axes[1].set(xlabel="squared distance", ylabel="aligned to one reference", xlim=(0, limit), ylim=(0, limit))
axes[1].set_title(f"{1024} pairs: {seconds[0]:.2f} s of CPU against {seconds[1]:.2f} s", fontsize=9)
show(figure, "7-fours")

# %% [markdown]
# Go on: `refwfm explain GWFM-3`, `GWFM-19`, `GWFM-34`. The last chapter takes all this to tissue.
