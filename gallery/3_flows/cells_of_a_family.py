"""
Weights move the cells until every member gets its share
========================================================

Each source goes to a member of the family. To the *nearest*, most sources would go to the members in the
middle, and those outside would hardly be learned. Semidiscrete transport (SEMI-1) subtracts a weight
from each member's cost, and moves the weights until all get the same share of the source.
"""

# %%
# Twelve members in the plane, and a source that is normal.

import numpy as np

from refwfm.paper_figures.drawing import bare, panels, show
from refwfm.paper_figures.ellipses import PALETTE
from refwfm.transport.semidiscrete import assign, fit_semidiscrete

rng = np.random.default_rng(3)
members = 1.3 * rng.normal(size=(12, 2))
share = np.full(12, 1 / 12)


def costs(x):
    """Squared distances of sources and members."""
    return np.sum((x[:, None] - members) ** 2, axis=-1)


found = fit_semidiscrete(lambda rng: costs(rng.normal(size=(512, 2))), share, rng=rng, tol=0.02)
sample = rng.normal(size=(4000, 2))
weights = {"nearest member": np.zeros(12), "with weights": found.g}

# %%
# A dot is a source, in the colour of its member; all dots are the same in both pictures.

figure, axes = panels(2, width=3.8, height=3.9, sharex=True, sharey=True)
shares = {}
for axis, (name, g) in zip(axes, weights.items(), strict=True):
    goes = assign(g, costs(sample))
    shares[name] = np.bincount(goes, minlength=12) / len(goes)
    axis.scatter(*sample.T, s=2, c=np.array(PALETTE)[goes], linewidths=0)
    axis.scatter(*members.T, s=36, color="white", edgecolors="black", zorder=3)
    bare(axis)
    least, most = 100 * shares[name].min(), 100 * shares[name].max()
    axis.set_title(f"{name}: shares\nfrom {least:.1f} to {most:.1f} %", fontsize=10)
show(figure, "cells_of_a_family")

assert shares["nearest member"].max() > 2 / 12
assert abs(shares["with weights"] - share).max() < 0.02
