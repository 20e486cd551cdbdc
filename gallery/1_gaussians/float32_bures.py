r"""
In float32 the textbook distance of near Gaussians is noise
===========================================================

The textbook computes :math:`\mathrm{tr}(A+B-2(A^{1/2}BA^{1/2})^{1/2})`: two large numbers, nearly equal,
whose difference is asked for. ``bures.sq_distance`` computes the same number from the factors of both
covariances and keeps its digits.
"""

# %%
# A covariance and itself with standard deviations larger by a share ``s``: the distance is known.

import numpy as np

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import GREEN, RED, panels, show
from refwfm.psd import sqrtm

rng = np.random.default_rng(0)
factor = rng.normal(size=(8, 8))
cov = (factor @ factor.T + np.eye(8)).astype(np.float32)
shares = np.geomspace(1e-4, 0.7, 60).astype(np.float32)
others = (1 + shares[:, None, None]) ** 2 * cov
truth = shares.astype(float) ** 2 * np.trace(cov.astype(float))

root = sqrtm(cov)
textbook = np.trace(cov + others - 2 * sqrtm(root @ others @ root), axis1=-2, axis2=-1)
zeros = np.zeros(8, dtype=np.float32)
ours = bures.sq_distance(Gaussian(zeros, cov), Gaussian(np.broadcast_to(zeros, (60, 8)), others))
errors = {"textbook": np.abs(textbook / truth - 1), "bures.sq_distance": np.abs(ours / truth - 1)}

# %%
# An error of 1 means that no digit is right.

figure, axis = panels(1, width=6.0, height=3.6)
for (name, values), color, marker in zip(errors.items(), (RED, GREEN), "so", strict=True):
    axis.loglog(shares, values + 1e-9, color=color, marker=marker, ms=3, lw=0.8, label=name)
axis.axhline(1.0, color="black", lw=0.6, ls=":")
axis.text(0.7, 1.5, "no digit right", ha="right", fontsize=8)
axis.set(xlabel="how much larger, as a share", ylabel="relative error, float32")
axis.set_title(f"largest errors: {errors['textbook'].max():.2g} and {errors['bures.sq_distance'].max():.1g}")
axis.legend(frameon=False, loc="lower left")
show(figure, "float32_bures")

assert errors["textbook"].max() > 1.0
assert errors["bures.sq_distance"].max() < 0.02
