"""
The mean of covariances is larger than the mean shape
=====================================================

A hundred US cities, each the Gaussian of the area within its limits, laid on one centre. The mean of
their covariances is the covariance of a point of a city drawn at random: long cities that point in
different directions add up to a large round one. The Bures-Wasserstein barycenter is the mean of the
*shapes*: it has the least mean squared distance to them.
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
larger = np.linalg.det(means["mean of the covariances"] @ np.linalg.inv(means["barycenter"])) ** 0.5

# %%
# The mean squared distance to the cities, in units of the least there is.

figure, axis = panels(1, width=6.6, height=4.0)
for cov in covs:
    ellipse(axis, np.zeros(2), cov, GREY, width=0.5, alpha=0.6)
for (name, cov), color, style in zip(means.items(), (GREEN, RED), ("-", "--"), strict=True):
    label = f"{name}:\nmean squared distance {spread[name] / spread['barycenter']:.2f}"
    ellipse(axis, np.zeros(2), cov, color, width=3, ls=style, label=label)
limit = 2.4 * np.sqrt(means["mean of the covariances"].diagonal().max())
bare(axis)
axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
figure.legend(frameon=False, loc="outside right center")
figure.suptitle(f"the mean of the covariances has {larger:.2f} times the area", fontsize=11)
show(figure, "mean_of_shapes")

assert spread["barycenter"] < spread["mean of the covariances"]
assert larger > 1.2
