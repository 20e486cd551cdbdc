# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 2: Gaussians and Bures."""

# %% [markdown]
# # 2. Gaussians and Bures
#
# In more than one dimension nothing can be sorted, but between Gaussians the optimal plan is still known in
# closed form. That makes them the laboratory of this course: every claim can be checked to the last digit.

# %%
import numpy as np

from refwfm import bures, datasets
from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, ellipse, panels, show
from refwfm.psd import inv_sqrtm, sqrtm

mu = Gaussian(np.array([0.0, 0.0]), np.array([[2.0, 1.4], [1.4, 1.3]]))
nu = Gaussian(np.array([7.0, 1.0]), np.array([[1.2, -1.0], [-1.0, 1.6]]))

# %% [markdown]
# ## Which of the maps?
#
# A linear map $x\mapsto m_1+C(x-m_0)$ sends $\mathcal N(m_0,A)$ to $\mathcal N(m_1,B)$ whenever $CAC^\top=B$.
# There are many: $B^{1/2}A^{-1/2}$ is one, and so is $B^{1/2}RA^{-1/2}$ for every rotation $R$. The optimal
# one is the one that is **symmetric and positive** (WFM-U4), which is what "increasing" has become:
#
# $$C=A^{-1/2}\,(A^{1/2}BA^{1/2})^{1/2}\,A^{-1/2}.$$
#
# The picture shows what these maps cost beyond the shift of the means, by the angle of $R$. At the lowest
# point the cost is that of $W_2^2$ (the red line), and there $C$ is symmetric. The other angle at which the
# map is symmetric is the worst: there it is $-C$, symmetric and negative.

# %%
angles = np.linspace(-np.pi, np.pi, 361)
cosine, sine = np.cos(angles), np.sin(angles)
turned = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
maps = sqrtm(nu.cov) @ turned @ inv_sqrtm(mu.cov)
left = np.eye(2) - maps
costs = np.trace(left @ mu.cov @ left.mT, axis1=-2, axis2=-1)
asymmetry = np.abs(maps[:, 0, 1] - maps[:, 1, 0])
least = float(bures.sq_distance(mu, nu) - np.sum((nu.mean - mu.mean) ** 2))
assert np.all(costs >= least - 1e-12)

figure, axes = panels(2, sharex=True)
axes[0].plot(np.degrees(angles), costs, color=GREY)
axes[0].axhline(least, color=RED, lw=0.8)
axes[0].set(title="cost of the map", ylim=(0, None), xticks=[-180, -90, 0, 90, 180])
axes[1].plot(np.degrees(angles), asymmetry, color=GREY)
axes[1].set(title="its asymmetry", ylim=(0, None))
for axis, values in zip(axes, (costs, asymmetry), strict=True):
    best = np.argmin(costs)
    axis.scatter(np.degrees(angles[best]), values[best], color=RED, zorder=3, clip_on=False)
    axis.set_xlabel("angle of R (degrees)")
show(figure, "2-maps")

# %% [markdown]
# **Exercise 6** is $C$. **Exercise 7** is the squared distance (WFM-24),
#
# $$W_2^2=\|m_0-m_1\|^2+\mathrm{tr}\big(A+B-2(A^{1/2}BA^{1/2})^{1/2}\big).$$
#
# ## The geodesic is not the mixture of the covariances
#
# Move every point straight to its image; at time $t$ the points are at $T_t(x)$ with $T_t=(1-t)I+tC$, and
# their covariance is $T_tAT_t$ (WFM-8). Going straight from $A$ to $B$ instead, $(1-t)A+tB$, gives fatter
# ellipses on the way: that is not how a shape turns into another, but how it is mixed with it.

# %%
figure, axes = panels(2, width=4.6, height=2.6, sharex=True, sharey=True)
areas = {"geodesic": [], "mixture": []}
for t in np.linspace(0, 1, 6):
    between = bures.interpolate(mu, nu, t)
    mixture = Gaussian(between.mean, (1 - t) * mu.cov + t * nu.cov)
    for axis, kind, gaussian in ((axes[0], "geodesic", between), (axes[1], "mixture", mixture)):
        color = BLUE if t == 0 else RED if t == 1 else GREEN if kind == "geodesic" else GREY
        ellipse(axis, gaussian.mean, gaussian.cov, color)
        areas[kind].append(np.sqrt(np.linalg.det(gaussian.cov)))
for axis, kind in zip(axes, areas, strict=True):
    bare(axis)
    axis.set_title(
        f"{kind}: area in the middle {np.mean(areas[kind][2:4]) / areas[kind][0]:.2f} of the first"
    )
show(figure, "2-geodesic")

# %% [markdown]
# **Exercise 8** is the geodesic.
#
# ## Which field carries the ellipse?
#
# A flow is given by velocities at *places*. A point that is at $z$ at time $t$ started at $T_t^{-1}(z)$ and
# keeps the velocity it started with; measured from the moving mean, that is $S_t(z-m_t)$ with (WFM-10)
#
# $$S_t=(C-I)\,T_t^{-1}.$$
#
# Forgetting $T_t^{-1}$ is the commonest mistake. Below we integrate both fields from the same ellipse with
# hundreds of small steps: the right one arrives, the other overshoots.

# %%
wrong_field = bures.log(mu, nu)  # (m1 - m0, C - I): the velocity at t = 0, kept for all times
steps = 400
paths = {"with the inverse": [mu], "without it": [mu]}
for k in range(steps):
    for kind, path in paths.items():
        v = bures.velocity(mu, nu, k / steps) if kind == "with the inverse" else wrong_field
        here = bures.Tangent(v.mean / steps, v.lift / steps)
        path.append(bures.exp(path[-1], here))

figure, axes = panels(2, width=4.6, height=2.8, sharex=True, sharey=True)
for axis, (kind, path) in zip(axes, paths.items(), strict=True):
    for k in range(0, steps + 1, steps // 5):
        ellipse(axis, path[k].mean, path[k].cov, BLUE if k == 0 else GREEN)
    ellipse(axis, nu.mean, nu.cov, RED, width=1.2, ls="--")
    bare(axis)
    axis.set_title(f"{kind}: distance to the target {bures.sq_distance(path[-1], nu) ** 0.5:.2g}")
show(figure, "2-velocity")

# %% [markdown]
# **Exercise 9** is $S_t$. **Exercise 10** is one of the small steps, the exponential map (WFM-U2): points
# move by $a+S(x-m)$, so the covariance becomes $(I+S)A(I+S)$. It is a covariance however long the step is;
# $A+SA+AS$, its first two terms, is not.
#
# ## A mean of shapes
#
# With a distance there are means. The *barycenter* has the least mean squared distance to a family. Here for
# a hundred US cities: each the Gaussian of the area within its limits, moved to one place, since we are after
# the mean *shape*. The mean of the covariances is the fatter of the two: it is the covariance of a point of a
# city drawn at random, and shapes that point in different directions add up to a round one.

# %%
family = datasets.load("cities")
covs = family.gaussians.cov
centred = Gaussian(np.zeros((len(covs), 2)), covs)
found = barycenter(centred).gaussian
mean_cov = covs.mean(axis=0)

figure, axis = panels(width=4.2, height=4.2)
for cov in covs:
    ellipse(axis, np.zeros(2), cov, GREY, width=0.4, alpha=0.7)
ellipse(axis, np.zeros(2), found.cov, GREEN, width=3)
ellipse(axis, np.zeros(2), mean_cov, RED, width=3, ls="--")
axis.plot([], [], color=GREEN, lw=3, label="barycenter")
axis.plot([], [], color=RED, lw=3, ls="--", label="mean of the covariances")
axis.legend(frameon=False, loc="upper right")
limit = 2.2 * np.sqrt(mean_cov.diagonal().max())
bare(axis)
axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
show(figure, "2-barycenter")

spread = [
    float(np.mean(bures.sq_distance(centred, Gaussian(np.zeros(2), cov)))) for cov in (found.cov, mean_cov)
]
assert spread[0] < spread[1]

# %% [markdown]
# Go on: `refwfm explain WFM-10`, `WFM-24`, `WFM-Barycenter`. Chapter 3 leaves Gaussians: clouds, and a way of
# computing that is blurred on purpose.
