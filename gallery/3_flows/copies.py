"""
Copies score zero where one half is best
========================================

To judge a generator, pool its members with real ones and ask each for its nearest neighbour (1-NNA). If
nobody can tell them apart, half of the neighbours are of the same kind. Below one half is *not* better:
a copy has its original for a neighbour, always, and scores zero.
"""

# %%
# "Generated": real ellipses of a spiral, moved by noise.

import numpy as np

from refwfm import bures, datasets
from refwfm.measures import Gaussian
from refwfm.metrics.statistics import FamilyDistances, one_nn_accuracy
from refwfm.paper_figures.drawing import GREEN, GREY, panels, show

rng = np.random.default_rng(0)
real = datasets.load("spiral-128").gaussians
scale = np.sqrt(np.mean(np.var(real.mean, axis=0)))
levels, found = np.geomspace(0.001, 1.0, 10), []
for level in levels:
    made = Gaussian(real.mean + level * scale * rng.normal(size=real.mean.shape), real.cov)
    distances = FamilyDistances(
        bures.pairwise_sq_distance(made, made),
        bures.pairwise_sq_distance(made, real),
        bures.pairwise_sq_distance(real, real),
    )
    found.append(float(one_nn_accuracy(distances).accuracy))

# %%
# Report the distance from one half.

figure, axis = panels(1, width=6.0, height=3.4)
axis.semilogx(levels, found, color=GREEN, marker="o", ms=5)
axis.axhline(0.5, color=GREY, ls="--")
axis.text(levels[0], 0.53, "nobody can tell", color=GREY)
axis.text(levels[0], found[0] + 0.04, f"copies: {found[0]:.2f}", color=GREEN)
axis.text(levels[-1], found[-1] + 0.05, f"strangers: {found[-1]:.2f}", color=GREEN, ha="right")
axis.set(xlabel="noise, in deviations of the family", ylabel="1-NN accuracy", ylim=(-0.03, 1.03))
show(figure, "copies")

assert found[0] < 0.1
assert found[-1] > 0.8
