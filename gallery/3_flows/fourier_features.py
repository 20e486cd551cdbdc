"""
Random Fourier features see stripes that coordinates do not
===========================================================

What a network is told of a place decides what it can say of it. From the bare coordinates a linear map
sees a slope; from sines and cosines of random frequencies (WFM-RFF) it sees detail as fine as the
frequencies, no finer. Too high frequencies see nothing but the points they were fitted to.
"""

# %%
# Stripes, seen at 400 random places; ridge regression from 200 features.

import numpy as np

from refwfm.networks.features import init_frequencies, space_features
from refwfm.paper_figures.drawing import GREEN, RED, bare, panels, show


def stripes(x):
    """Three and a half waves along a diagonal."""
    return np.sin(2 * np.pi * 3.5 * (x[..., 0] + 0.5 * x[..., 1]))


def fitted(scale):
    """Values on the grid of a fit at random places, and its share of unexplained variance there."""
    frequencies = init_frequencies(np.random.default_rng(1), [scale, scale], 100, like=seen)
    known, asked = (np.concatenate([space_features(frequencies, x), x], axis=-1) for x in (seen, grid))
    solved = np.linalg.solve(known.T @ known + 1e-3 * np.eye(known.shape[1]), known.T @ stripes(seen))
    values = asked @ solved
    return values, float(np.mean((values - stripes(grid)) ** 2) / np.var(stripes(grid)))


seen = np.random.default_rng(0).random((400, 2))
grid = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 60)]), -1).reshape(-1, 2)
scales = np.geomspace(0.1, 100, 16)
errors = [fitted(scale)[1] for scale in scales]
best = scales[np.argmin(errors)]

# %%
# The scale is the standard deviation of the frequencies, in radians per unit.

figure, axes = panels(5, width=2.1, height=2.5)
pictures = {"truth": stripes(grid)}
for scale, name in ((scales[0], "too low"), (best, "right"), (scales[-1], "too high")):
    pictures[f"{name}: {scale:.0f}" if scale > 1 else f"{name}: {scale:.1f}"] = fitted(scale)[0]
for axis, (name, values) in zip(axes, pictures.items(), strict=False):
    axis.imshow(values.reshape(60, 60), origin="lower", vmin=-1.2, vmax=1.2, cmap="cividis")
    bare(axis)
    axis.set_title(name, fontsize=10)
axes[4].loglog(scales, errors, color=GREEN, marker="o", ms=4)
axes[4].axhline(1.0, color=RED, lw=0.8, ls="--")
axes[4].text(scales[0], 1.15, "the mean", color=RED, fontsize=8)
axes[4].set(xlabel="scale of the frequencies", ylabel="unexplained variance")
axes[4].set_title(f"least: {min(errors):.1g}", fontsize=10)
show(figure, "fourier_features")

assert errors[0] > 0.5
assert min(errors) < 0.05
assert errors[-1] > 0.5
