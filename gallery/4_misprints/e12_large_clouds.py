"""
E12: a sum over points lets the large clouds speak alone
========================================================

The loss is printed as a sum over the points of a cloud where (11) has their mean (WFM-U7). For clouds of
one size that is a factor; for clouds of ten and of a thousand points it is another question. Let the
target be 0 for the small cloud and 1 for the large one, and ask for the best constant.
"""

# %%
# The same loss with weights 1 and with weights that sum to 1.

import numpy as np

from refwfm.objectives import cloud_loss
from refwfm.paper_figures.drawing import GREEN, GREY, panels, show

sizes = np.array([10, 1000])
present = (np.arange(1000) < sizes[:, None]).astype(float)
target = np.stack([np.zeros((1000, 1)), np.ones((1000, 1))])
weights = {"mean (meant)": present / sizes[:, None], "sum (printed)": present}
constants = np.linspace(0, 1, 201)

# %%
# Each curve in units of its largest value.

figure, axis = panels(1, width=6.0, height=3.4)
best = {}
for (name, w), color, style in zip(weights.items(), (GREEN, GREY), ("-", "--"), strict=True):
    curve = np.array([float(cloud_loss(np.full_like(target, c), target, w)[0]) for c in constants])
    best[name] = float(constants[np.argmin(curve)])
    axis.plot(
        constants, curve / curve.max(), color=color, ls=style, lw=2, label=f"{name}: best {best[name]:.2f}"
    )
    axis.scatter(best[name], curve.min() / curve.max(), color=color, zorder=3, clip_on=False)
axis.set(xlabel="constant that is predicted", ylabel="loss / its largest", ylim=(0, 1.02), xlim=(0, 1))
axis.legend(frameon=False, loc="lower left")
show(figure, "e12_large_clouds")

assert abs(best["mean (meant)"] - 0.5) < 0.01
assert best["sum (printed)"] > 0.98
