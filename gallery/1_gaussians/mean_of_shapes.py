"""
The mean of covariances is fatter than the mean shape
=====================================================

A hundred US cities, each the Gaussian of the area within its limits, laid on one centre. The mean of their
covariances is the covariance of a point of a city drawn at random: long cities that point in different
directions add up to a large round one. The Bures-Wasserstein barycenter is the mean of the *shapes*: it has the
least mean squared distance to them.
"""

# %%
# Both means, and how far each is from the cities.

import numpy as np

from refwfm import bures, datasets
from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import GREEN, GREY, RED, bare, ellipse, panels, show

covs = datasets.load("cities").gaussians.cov
cities = Gaussian(np.zeros((len(covs), 2)), covs)
means = {"barycenter": barycenter(cities).gaussian.cov, "mean of the covariances": covs.mean(axis=0)}
spread = {
    name: float(bures.sq_distance(cities, Gaussian(np.zeros(2), cov)).mean()) for name, cov in means.items()
}
areas = np.linalg.det(covs) ** 0.5
smaller = {name: float(np.mean(areas < np.linalg.det(cov) ** 0.5)) for name, cov in means.items()}

# %%
# The share of the cities that are smaller than it: the mean of the covariances is larger than nearly all.

figure, axis = panels(1, width=6.0, height=4.6)
for cov in covs:
    ellipse(axis, np.zeros(2), cov, GREY, width=0.5, alpha=0.6)
for (name, cov), color, style in zip(means.items(), (GREEN, RED), ("-", "--"), strict=True):
    label = f"{name}:\n{100 * smaller[name]:.0f} % of the cities are smaller"
    ellipse(axis, np.zeros(2), cov, color, width=3, ls=style, label=label)
limit = 2.4 * np.sqrt(means["mean of the covariances"].diagonal().max())
bare(axis)
axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
ratio = spread["mean of the covariances"] / spread["barycenter"]
axis.set_title(f"mean squared distance to the cities: {ratio:.2f} times that of the barycenter")
show(figure, "mean_of_shapes")

assert ratio > 1.0
assert smaller["mean of the covariances"] > smaller["barycenter"]
