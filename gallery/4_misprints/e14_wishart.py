"""
E14: with the barycenter as its scale, a Wishart source is too large
====================================================================

A Wishart law W(V, df) has the mean df V. Printed is W with the barycenter as its scale; meant is the
barycenter over df (WFM-AppD1), and so it stands in the authors' released code. As printed the source is
df times the covariance of the data.
"""

# %%
# Shapes of US cities, and draws of both laws.

import numpy as np

from refwfm import datasets
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, bare, panels, show
from refwfm.paper_figures.ellipses import draw_ellipses
from refwfm.sources.gaussians import fit_gaussian_wishart, sample_gaussian_wishart

cities = datasets.load("cities").gaussians
source = fit_gaussian_wishart(cities, df=10)
drawn = sample_gaussian_wishart(source, rng=np.random.default_rng(0), size=100).cov
shapes = {"cities": cities.cov, "source, meant": drawn, "source, printed": source.df * drawn}

# %%
# All on one centre and one scale; the mean trace in units of that of the cities.

figure, axes = panels(3, width=2.9, height=3.2, sharex=True, sharey=True)
size = {name: float(np.mean(np.trace(cov, axis1=-2, axis2=-1))) for name, cov in shapes.items()}
limit = 1.5 * np.sqrt(size["source, printed"])
for axis, (name, cov), color in zip(axes, shapes.items(), (BLUE, GREEN, GREY), strict=True):
    draw_ellipses(axis, Gaussian(np.zeros((100, 2)), cov), color=color, n_std=1.0, fill=0.0, alpha=0.5)
    bare(axis)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axis.set_title(f"{name}: {size[name] / size['cities']:.1f}", fontsize=10)
show(figure, "e14_wishart")

assert 0.5 < size["source, meant"] / size["cities"] < 1.5
assert size["source, printed"] > 8 * size["source, meant"]
