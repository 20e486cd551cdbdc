"""
Ninety cities are few enough to be learned by heart
===================================================

A flow that was trained on the areas of 90 US cities carries noise onto the map. Most of what arrives lies on
one of the cities that it was shown. The ten that it was *not* shown are much farther from them: a city that
is new to the flow would be, too. Small distances to the training data are no praise.
"""

# %%
# The model ships, and so does the family; a tenth was held out in training, the same one here.

import numpy as np

from refwfm import datasets
from refwfm.measures import Gaussian
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, panels, show
from refwfm.paper_figures.ellipses import draw_ellipses
from refwfm.runs import evaluate_gaussians, models, shipped
from refwfm.runs.estimator import WassersteinFlow

model = WassersteinFlow.load(shipped.folder("cities")).model_
shown, unseen = datasets.hold_out(datasets.load("cities"), "0.1")
way = evaluate_gaussians.trajectory(model, models.Host(), size=90, n_steps=50, stages=50, seed=0)


def gap(gaussians):
    """Median distance W2 to the nearest city that the flow was shown, in degrees."""
    return float(np.sqrt(np.median(nearest(gaussians, shown.gaussians).sq_distance)))


# %%
# Lines follow the centres. Areas are drawn twelve times larger; the ten that were not shown are vermilion.

figure, axes = panels(4, width=2.5, height=1.6, sharex=True, sharey=True)
gaps = {"not shown": gap(unseen.gaussians)}
for axis, k, color in zip(axes, (0, 35, 50), (BLUE, GREEN, GREEN), strict=False):
    here = Gaussian(way.mean[k], way.cov[k])
    gaps[k] = gap(here)
    axis.plot(*way.mean[: k + 1].transpose(2, 0, 1), color=GREY, lw=0.4)
    draw_ellipses(axis, here, color=color, n_std=24.0, fill=0.3)
    axis.set_title(f"t = {k / 50:g}: {gaps[k]:.2g}° to the nearest", fontsize=10)
draw_ellipses(axes[3], shown.gaussians, color=GREY, n_std=24.0, fill=0.3)
draw_ellipses(axes[3], unseen.gaussians, color=RED, n_std=24.0, fill=0.3)
axes[3].set_title(f"data; not shown: {gaps['not shown']:.2g}°", fontsize=10)
for axis in axes:
    axis.set(xlim=(-130, -57), ylim=(22.5, 50.5), xticks=[], yticks=[], aspect=1.25)
    axis.spines[:].set_visible(False)
show(figure, "flow_of_cities")

assert gaps[50] < gaps[35] < gaps[0]
assert gaps[50] < gaps["not shown"] / 3
