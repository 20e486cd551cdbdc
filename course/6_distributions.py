# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 6: flow matching of distributions."""

# %% [markdown]
# # 6. Flow matching of distributions
#
# Now every *sample* is a distribution: here, a Gaussian. The recipe of chapter 5 stays, word for word, with
# the geodesics of chapter 2 for lines:
#
# - draw a source $\mu_0$, a target $\mu_1$, a time $t$; go to $\mu_t$ on the geodesic (WFM-8);
# - show the network $\mu_t$ and $t$; ask for the velocity $(\dot m,S_t)$ there (WFM-10);
# - compare in the norm of $\mu_t$ (WFM-11, **exercise 27**):
#   $\|a-\dot m\|^2+\mathrm{tr}\,(S-S_t)\Sigma_t(S-S_t)^\top$.

# %%
import numpy as np

from refwfm import bures, datasets
from refwfm.conditional import conditional_velocity
from refwfm.generation import generate
from refwfm.measures import Gaussian
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.paper_figures.drawing import BLUE, GREEN, RED, bare, ellipse, panels, show
from refwfm.runs.estimator import WassersteinFlow

mu = Gaussian(np.array([[0.0, 0.0]]), np.array([[[2.0, 1.4], [1.4, 1.3]]]))  # batches of one
nu = Gaussian(np.array([[7.0, 1.0]]), np.array([[[1.2, -1.0], [-1.0, 1.6]]]))

# %% [markdown]
# ## Two velocities of one curve
#
# The covariance has a rate, $\dot\Sigma$ (**exercise 26**), and the points have a field, $S$;
# $\dot\Sigma=S\Sigma+\Sigma S$ (WFM-9). The paper's algorithm prints the one where the other is meant. Both
# are symmetric matrices, nothing raises an error, and a network learns either. Only generation tells: below,
# steps with the field itself, and with the rate in its place (**exercise 28** is the loop).


# %%
def field(point, t):
    """Velocity of the geodesic from mu to nu."""
    return bures.velocity(mu, nu, t)


def rate(point, t):
    """Rate of the covariance where a field of points is expected."""
    return bures.Tangent(*bures.euclidean_velocity(mu, nu, t))


figure, axes = panels(2, width=4.4, height=2.8)
for axis, velocity, name in (
    (axes[0], field, "the field of the points"),
    (axes[1], rate, "the rate of the covariance"),
):
    path = {}
    end, _ = generate(velocity, mu, n_steps=5, observe=path.__setitem__)
    for k in range(5):
        ellipse(axis, path[k].mean[0], path[k].cov[0], BLUE if k == 0 else GREEN)
    ellipse(axis, end.mean[0], end.cov[0], GREEN)
    ellipse(axis, nu.mean[0], nu.cov[0], RED, width=1.2, ls="--")
    bare(axis)
    axis.set_title(f"{name}: off by {bures.sq_distance(end, nu)[0] ** 0.5:.2g}", fontsize=10)
show(figure, "6-rate")

# %% [markdown]
# On the left five steps are *exact*, and so is one: each is an exponential map, and their product telescopes
# (WFM-Alg2). Straight lines are exact for Euler's method; geodesics are the straight lines here.
#
# ## The rest of the way over the rest of the time
#
# The velocity can be had without knowing the start: it is what is left, divided by the time that is left
# (WFM-23, **exercise 29**), $\log_{\mu_t}(\nu)/(1-t)$, and minus the gradient of half the squared distance
# (WFM-21, **exercise 30**) over $1-t$. Whoever follows it from anywhere arrives on time, and the distance
# shrinks like $1-t$ (WFM-Prop3.1).

# %%
rng = np.random.default_rng(0)
factors = rng.normal(size=(6, 2, 2))
starts = Gaussian(3.0 * rng.normal(size=(6, 2)), factors @ factors.mT + 0.1 * np.eye(2))
path = {}
end, _ = generate(
    lambda point, t: conditional_velocity(point, nu, t), starts, n_steps=20, observe=path.__setitem__
)
way = [path[k] for k in range(20)] + [end]
distances = np.stack([bures.sq_distance(point, nu) ** 0.5 for point in way])
assert np.max(distances[-1]) < 1e-6

figure, axis = panels(width=5.0)
axis.plot(np.linspace(0, 1, 21), distances, color=GREEN, lw=1.2)
axis.set(xlabel="time", ylabel="distance to the target", ylim=(0, None), xlim=(0, 1))
show(figure, "6-arrival")

# %% [markdown]
# ## A trained model
#
# Ellipses along a spiral: 128 Gaussians. `WassersteinFlow` does all of the above, a small network for a few
# seconds; then it makes 64 new ones. They are not yet on the spiral, which takes longer, but near it, and
# turned along it: place and shape are learned together.

# %%
family = datasets.load("spiral-128")
flow = WassersteinFlow(measure="gaussians", steps=600, batch=64, width=64, depth=3, seed=0).fit(family)
made = flow.sample(64, n_steps=30)
real = family.gaussians
error = float(np.sqrt(np.median(nearest(made, real).sq_distance)))
size = float(np.sqrt(np.mean(np.trace(real.cov, axis1=-2, axis2=-1))))

figure, axes = panels(2, width=3.6, height=3.6, sharex=True, sharey=True)
for axis, gaussians, color, title in ((axes[0], real, BLUE, "data"), (axes[1], made, GREEN, "generated")):
    for mean, cov in zip(*gaussians, strict=True):
        ellipse(axis, mean, cov, color, width=0.7)
    bare(axis)
    axis.set_title(title)
figure.supxlabel(
    f"median distance to the nearest of the data {error:.2f}, size of an ellipse {size:.2f}", fontsize=10
)
show(figure, "6-spiral")

# %% [markdown]
# Go on: `refwfm explain WFM-Alg1`, `WFM-Alg2`, `WFM-23`; `refwfm demo` trains a larger one.
