# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

"""Chapter 3: entropic transport."""

# %% [markdown]
# # 3. Entropic transport
#
# An exact plan of $n$ points with $n$ points is found by a solver that takes some $n^3$ steps and has no
# useful derivative. *Entropic* transport blurs the plan a little, on purpose, and gets three things for it:
# an iteration of two lines, derivatives, and a map that is defined between the points.
#
# For a cost $K$, weights $a$, $b$ and a temperature $\varepsilon$, in units of the cost, it is (WFM-12)
#
# $$\min_P\ \langle K,P\rangle+\varepsilon\,\mathrm{KL}(P\,|\,a\otimes b),\qquad
# P_{ij}=a_ib_j\,e^{(f_i+g_j-K_{ij})/\varepsilon}.$$

# %%
import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.entropic import entropic_map
from refwfm.transport.exact import assignment
from refwfm.transport.sinkhorn import dual_value, plan, sinkhorn, softmin, sq_euclidean_cost, transport_cost

rng = np.random.default_rng(1)
n = 40
angle = np.linspace(0, np.pi, n)
x = np.stack([np.cos(angle), np.sin(angle)], -1) + 0.08 * rng.normal(size=(n, 2))
y = np.stack([1 - np.cos(angle), -0.3 - np.sin(angle)], -1) + 0.08 * rng.normal(size=(n, 2))
y = y[rng.permutation(n)]
a = np.full(n, 1 / n)
cost = sq_euclidean_cost(x, y)

# %% [markdown]
# ## How much blur?
#
# With a small $\varepsilon$ the plan is nearly a pairing; with a large one it is the product plan, in which
# everybody goes everywhere. In between, mass goes to a neighbourhood of the right place.

# %%
figure, axes = panels(3, width=3.2)
for axis, eps in zip(axes, (0.01, 0.2, 10.0), strict=True):
    found = sinkhorn(cost, a, a, eps=eps, tol=1e-6, max_iter=100_000)
    P = plan(cost, a, a, found)
    for i, j in zip(*np.nonzero(0.02 / n < P), strict=True):
        axis.plot(*zip(x[i], y[j], strict=True), color=GREEN, alpha=float(min(1.0, n * P[i, j])), lw=0.8)
    axis.scatter(*x.T, s=12, color=BLUE, zorder=3)
    axis.scatter(*y.T, s=12, color=RED, zorder=3)
    bare(axis)
    axis.set_title(f"ε = {eps:g}: cost {float(transport_cost(cost, a, a, found)):.2f}")
show(figure, "3-blur")
least = cost[np.arange(n), assignment(cost)].mean()

# %% [markdown]
# ## Two lines, and a proof
#
# If $g$ is known, rows get their sums $a$ when $f$ is the *soft minimum* of $K_{ij}-g_j$ over $j$ (**exercise
# 11**), and the other way round. Sinkhorn's iteration takes turns (**exercise 12**). How good is it after $k$
# turns? Two numbers tell, and both need no truth: how far the marginals are from $a$ and $b$ (**exercise
# 13**), and the dual value (**exercise 14**), which is never above the optimum. The picture has both against
# the number of turns: the colder, the slower. A plan that was stopped early has wrong marginals and looks
# fine otherwise, so always ask.

# %%
figure, axes = panels(2)
for eps, color in ((1.0, RED), (0.2, GREEN), (0.05, BLUE)):
    g = np.zeros(n)
    errors, values = [], []
    for _ in range(60):
        f = softmin(cost, g, a, np.asarray(eps))
        P = a[:, None] * a * np.exp((f[:, None] + g - cost) / eps)
        errors.append(np.abs(P.sum(axis=0) - a).sum())
        state = sinkhorn(cost, a, a, eps=eps, tol=None, max_iter=1)._replace(f=f, g=g)
        values.append(float(dual_value(cost, a, a, state)))
        g = softmin(cost.T, f, a, np.asarray(eps))
    best = sinkhorn(cost, a, a, eps=eps, tol=1e-9, max_iter=100_000)
    optimum = float(dual_value(cost, a, a, best))
    assert max(values) <= optimum + 1e-9
    axes[0].semilogy(errors, color=color, label=f"ε = {eps:g}")
    axes[1].semilogy(np.maximum(optimum - np.array(values), 1e-16), color=color)
axes[0].set(xlabel="iterations", title="error of the column sums", ylim=(1e-12, 2))
axes[1].set(xlabel="iterations", title="optimum less dual value", ylim=(1e-14, 2))
axes[0].legend(frameon=False)
show(figure, "3-iterations")

# %% [markdown]
# ## A map between the points
#
# The mean target of a point, $\hat T(x)=\sum_j b_jy_j\,e^{(g_j-\|x-y_j\|^2)/\varepsilon}\big/\sum_j\cdots$,
# needs only the target and its potential $g$, so it can be asked anywhere (WFM-13, **exercise 15**). It is
# the gradient of a convex function: it neither tears nor folds. But it is a mean, so it pulls images inwards,
# the more the larger $\varepsilon$ is: the picture sends points that were in no sample.

# %%
dense = np.linspace(0, np.pi, 200)
new = np.stack([np.cos(dense), np.sin(dense)], -1)
figure, axes = panels(3, width=3.2)
for axis, eps in zip(axes, (0.02, 0.2, 2.0), strict=True):
    found = sinkhorn(cost, a, a, eps=eps, tol=1e-6, max_iter=100_000)
    image = entropic_map(new, y, a, found.g, eps=eps)
    axis.scatter(*y.T, s=12, color=RED)
    axis.plot(*new.T, color=BLUE)
    axis.plot(*image.T, color=GREEN, lw=2.5)
    for k in range(0, 200, 20):
        axis.plot(*zip(new[k], image[k], strict=True), color=GREY, lw=0.5)
    bare(axis)
    axis.set_title(f"ε = {eps:g}")
show(figure, "3-map")

# %% [markdown]
# Go on: `refwfm explain WFM-12`, `WFM-13`, and `WFM-Div` for the Sinkhorn divergence, which takes the blur
# out again.
