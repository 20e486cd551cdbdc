# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 1: transport on the line."""

# %% [markdown]
# # 1. Transport on the line
#
# A heap of sand is to become another heap. Which grain goes where, so that the grains travel least? This is
# the problem of *optimal transport*. On the line it has a complete answer in one word: **sort**. All that
# follows in this course, clouds in the plane, Gaussians, families of clouds, is this chapter with the word
# taken away.
#
# Two samples $x_1,\dots,x_n$ and $y_1,\dots,y_n$ have the squared 2-Wasserstein distance (WFM-3)
#
# $$W_2^2(x,y)=\min_{\sigma}\ \frac1n\sum_i (x_i-y_{\sigma(i)})^2 ,$$
#
# the least over all ways $\sigma$ of pairing them one to one.

# %%
import itertools

import numpy as np
from scipy.stats import norm

from refwfm.bures import push_forward
from refwfm.interpolation import displacement
from refwfm.measures import Gaussian, PointCloud
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, panels, show
from refwfm.transport.exact import assignment
from refwfm.transport.quantiles import quantile_coupling
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.transport.sliced import random_directions, sq_sliced_distance

rng = np.random.default_rng(0)

# %% [markdown]
# ## Crossing never pays
#
# Take two pairs. If the left $x$ goes to the right $y$ and the other way round, the lines cross; exchanging
# the partners saves $2\,(x_2-x_1)(y_2-y_1)\ge 0$. So a pairing with a crossing can always be improved, and
# the only one without is the sorted one. Below, all $7!=5040$ pairings of two samples of seven numbers: their
# cost against the number of their crossings. Only one has none, and it is the cheapest.

# %%
x, y = np.sort(rng.normal(size=7)), np.sort(1.0 + 1.5 * rng.normal(size=7))
costs, crossings = [], []
for order in itertools.permutations(range(7)):
    partner = np.array(order)
    costs.append(np.mean((x - y[partner]) ** 2))
    crossings.append(np.sum(np.triu(partner[:, None] > partner, k=1)))

figure, axis = panels(width=5.5)
axis.scatter(crossings, costs, s=4, color=GREY, alpha=0.3, rasterized=True)
axis.scatter(0, costs[0], s=40, color=RED, zorder=3)
axis.text(0, costs[0] - 0.2, "sorted", color=RED, va="top", ha="center")
axis.set(xlabel="crossings", ylabel="mean squared distance", ylim=(0, None))
show(figure, "1-crossings")

assert costs[0] == min(costs)
assert np.array_equal(assignment(sq_euclidean_cost(x[:, None], y[:, None])), np.arange(7))

# %% [markdown]
# **Exercise 1**: `refwfm check ex-01 --start mine.py` writes a file with the function to fill in, and
# `refwfm check ex-01 mine.py` holds it against an assignment solver. If you are stuck: `--hint 1`.
#
# ## Weights: levels meet levels
#
# Points of unequal weight must be split. Lay the weights end to end, in the order of the points: each point
# then holds an interval of *levels* between 0 and 1. Two points exchange as much mass as their intervals
# share (GWFM-106). This is the staircase in the picture: mass goes from each quantile to the same quantile.

# %%
a, b = rng.dirichlet(np.full(6, 3.0)), rng.dirichlet(np.full(8, 3.0))
x, y = np.sort(rng.normal(size=6)), np.sort(2.0 + rng.normal(size=8))
found = quantile_coupling(x, a, y, b)
plan = np.zeros((6, 8))
np.add.at(plan, (found.row, found.column), found.mass)

figure, axes = panels(2)
for axis, matrix, title in ((axes[0], np.outer(a, b), "product plan"), (axes[1], plan, "optimal plan")):
    rows, columns = np.nonzero(matrix > 1e-12)
    axis.scatter(x[rows], y[columns], s=900 * matrix[rows, columns], color=GREEN, alpha=0.7)
    cost = np.sum(matrix * (x[:, None] - y) ** 2)
    axis.set(xlabel="x", ylabel="y", title=f"{title}: cost {cost:.2f}")
show(figure, "1-plans")

assert np.allclose(plan.sum(axis=1), a)
assert np.allclose(plan.sum(axis=0), b)
assert np.count_nonzero(plan > 1e-12) <= 6 + 8 - 1

# %% [markdown]
# Both plans have the same rows and columns, so both turn one heap into the other. The product plan sends
# every point everywhere; the optimal one has at most $n+m-1$ entries. **Exercise 2** is to compute it.
#
# ## Normal laws: a straight map
#
# A measure without atoms needs no splitting: the optimal plan is a *map*, the increasing one. Between normal
# laws it is the straight line that matches deviations (WFM-U4 with $d=1$):
#
# $$T(x)=m_1+\frac{\sigma_1}{\sigma_0}(x-m_0).$$
#
# The decreasing line sends the first law to the second just as well. Being a map with the right image is not
# enough: the optimal one keeps the order.

# %%
mu, nu = (Gaussian(np.array([m]), np.array([[s**2]])) for m, s in ((0.0, 1.0), (4.0, 0.5)))
sample = rng.normal(size=(20000, 1))
image = push_forward(sample, mu, nu)
reversed_image = 2.0 * nu.mean - image

figure, axes = panels(2)
grid = np.linspace(-3, 6, 300)
axes[0].plot(grid, norm.pdf(grid, 0, 1), color=BLUE)
axes[0].plot(grid, norm.pdf(grid, 4, 0.5), color=RED)
axes[0].hist(reversed_image[:, 0], bins=50, density=True, color=GREY, alpha=0.4)
axes[0].text(0, 0.44, "source", color=BLUE, ha="center")
axes[0].text(4, 0.84, "target", color=RED, ha="center")
axes[0].set(xlabel="x", ylabel="density", title="both images are the target", ylim=(0, 0.95))
line = np.linspace(-2.5, 2.5, 2)[:, None]
increasing = push_forward(line, mu, nu)
axes[1].plot(line, increasing, color=GREEN)
axes[1].plot(line, 2.0 * nu.mean - increasing, color=GREY)
for values, color, height in ((image, GREEN, 4.95), (reversed_image, GREY, 3.05)):
    cost = np.mean((sample - values) ** 2)
    axes[1].text(1.3, height, f"cost {cost:.1f}", color=color, ha="right", va="center")
axes[1].set(xlabel="x", ylabel="T(x)", title="one costs less")
show(figure, "1-maps")

# %% [markdown]
# **Exercise 3** is this map.
#
# ## On the way
#
# Let each grain go straight to its partner, at constant speed (WFM-4):
#
# $$x_t=(1-t)\,x+t\,T(x).$$
#
# At every time this is a measure, $\mu_t$: the *displacement interpolation*, the geodesic of optimal
# transport. It is not the mixture $(1-t)\mu+t\nu$, which moves nothing: there, mass fades out here and in
# there.

# %%
start = np.sort(np.concatenate([rng.normal(-3, 0.3, 400), rng.normal(-1.5, 0.3, 400)]))
end = np.sort(rng.normal(4, 0.8, 800))
figure, axes = panels(2, sharex=True, sharey=True)
for level, t in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
    moved = displacement(start[:, None], end[:, None], t)[:, 0]
    mixed = np.where(rng.random(800) < t, end, start)
    for axis, values in ((axes[0], moved), (axes[1], mixed)):
        heights, edges = np.histogram(values, bins=np.linspace(-5, 8, 80), density=True)
        axis.fill_between(
            edges[:-1],
            level,
            level + heights,
            step="post",
            lw=0,
            alpha=0.8,
            color=BLUE if t == 0 else RED if t == 1 else GREEN,
        )
axes[0].set(
    title="displacement", ylabel="time", yticks=range(5), yticklabels=[0, "¼", "½", "¾", 1], xlabel="x"
)
axes[1].set(title="mixture", xlabel="x")
show(figure, "1-interpolation")

# %% [markdown]
# **Exercise 4** asks for the sample at time $t$; it is judged by its speed, $W_2(x,x_t)=t\,W_2(x,y)$.
#
# ## The plane, line by line
#
# In the plane nothing can be sorted. But its shadows can: project both clouds on a direction $\theta$, sort,
# and average over directions. This is the *sliced* distance (GWFM-32), $SW_2^2=\mathbb
# E_\theta\,W_2^2(\theta\cdot x,\theta\cdot y)$. A shift by $v$ is $\|v\|^2/d$ to it: a shadow sees one of $d$
# coordinates.

# %%
shift = np.array([3.0, 1.0])
cloud = PointCloud(rng.normal(size=(60, 2)), np.full(60, 1 / 60))
moved = PointCloud(cloud.points + shift, cloud.weights)
theta = random_directions(cloud.points, rng=rng, n_proj=2000)
along = np.array([sq_sliced_distance(cloud, moved, theta[k : k + 1]) for k in range(300)])
counts = np.arange(1, 301)

figure, axis = panels(width=5.5)
axis.plot(counts, np.cumsum(along) / counts, color=GREEN)
axis.axhline(shift @ shift / 2, color=GREY, ls="--")
axis.text(300, shift @ shift / 2 + 0.15, "half of the squared shift", color=GREY, ha="right")
axis.set(xlabel="directions", ylabel="mean over directions", ylim=(0, 10))
show(figure, "1-sliced")

# %% [markdown]
# **Exercise 5** is the sliced distance. Then go on to chapter 2; or read how the package does each of these:
# `refwfm explain WFM-3`, `WFM-4`, `GWFM-32`, `GWFM-106`.
