"""
Pairs must not be matched across labels
=======================================

Matching a batch of sources with a batch of targets shortens the paths (WFM-AppC). If labels are matched
along, each label takes the sources that lie near it, and a conditional model is trained on a part of the
source. But when it is asked for that label it starts from all of it: half of the starts were never seen.
Matching *within* labels leaves every label the whole source.
"""

# %%
# Round Gaussians from a normal law, and two labels left and right.

import numpy as np

from refwfm.couplings.outer import match_minibatch
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import BLUE, GREY, RED, panels, show

rng = np.random.default_rng(0)
n = 300
label = np.repeat([0, 1], n // 2)
shape = np.broadcast_to(0.01 * np.eye(2), (n, 2, 2))
mu = Gaussian(rng.normal(size=(n, 2)), shape)
nu = Gaussian(0.3 * rng.normal(size=(n, 2)) + np.where(label == 0, -4.0, 4.0)[:, None] * [1.0, 0.0], shape)
drawn = rng.permutation(label)  # which label a source is to become, drawn before matching
order = np.argsort(drawn, kind="stable")
sources = Gaussian(mu.mean[order], shape)
pairs = {
    "across labels": match_minibatch(sources, nu),
    "within labels": match_minibatch(sources, nu, groups=label),
}

# %%
# Every source has the colour of its target's label.

figure, axes = panels(2, width=4.2, height=3.5, sharex=True, sharey=True)
one_side = {}
for axis, (name, partner) in zip(axes, pairs.items(), strict=True):
    for which, color, marker in ((0, BLUE, "o"), (1, RED, "s")):
        chosen = label[partner] == which
        axis.scatter(*nu.mean[label == which].T, s=6, color=color, alpha=0.25, marker=marker, linewidths=0)
        axis.scatter(*sources.mean[chosen].T, s=9, color=color, marker=marker, linewidths=0)
    one_side[name] = float(np.mean(sources.mean[label[partner] == 0, 0] < 0))
    axis.plot([0, 0], [-3, 3], color=GREY, lw=0.6, ls=":")
    axis.set(xlabel="mean, first coordinate", aspect="equal", ylim=(-3.2, 3.2))
    axis.set_title(
        f"{name}: {100 * one_side[name]:.0f} % of the left\nlabel's sources are on the left", fontsize=10
    )
axes[0].set_ylabel("second coordinate")
show(figure, "labels")

assert one_side["across labels"] > 0.95
assert abs(one_side["within labels"] - 0.5) < 0.1
