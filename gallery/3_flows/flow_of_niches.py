"""
The flow learns the shapes of niches, not only their places
===========================================================

A niche of a mouse brain is a Gaussian in 16 components: where its cells are, and how they vary together.
The noise is the mean niche, scattered: all in one place, and too round, with too little in its long
directions and too much in its short ones. The flow parts it into groups and stretches it: all 16 eigenvalues
end where those of the data are.
"""

# %%
# The model ships, and so does the family; 300 niches on their way.

import numpy as np

from refwfm import datasets
from refwfm.measures import Gaussian, take
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, bare, panels, show
from refwfm.paper_figures.ellipses import draw_ellipses
from refwfm.runs import evaluate_gaussians, models, shipped
from refwfm.runs.estimator import WassersteinFlow

model = WassersteinFlow.load(shipped.folder("niches")).model_
real = datasets.load("niches").gaussians
way = evaluate_gaussians.trajectory(model, models.Host(), size=300, n_steps=50, stages=2, seed=0)


def spectra(gaussians):
    """Quartiles of the eigenvalues, largest first: (3, 16)."""
    return np.quantile(np.linalg.eigvalsh(gaussians.cov)[:, ::-1], (0.25, 0.5, 0.75), axis=0)


def error(gaussians):
    """Mean of the logarithmic errors of the median eigenvalues: 0.1 is ten per cent."""
    return float(np.mean(np.abs(np.log(spectra(gaussians)[1] / spectra(real)[1]))))


# %%
# Left, the first two components; right, quartiles of all eigenvalues.

stages = {"noise": (0, BLUE, "o"), "generated": (2, GREEN, "s")}
figure, axes = panels(3, width=3.5, height=3.3)
errors, some = {}, np.arange(0, len(real.mean), 80)
axes[2].fill_between(range(1, 17), *spectra(real)[::2], color=GREY, alpha=0.35, lw=0, label="data, quartiles")
for axis, (name, (k, color, marker)) in zip(axes, stages.items(), strict=False):
    here = Gaussian(way.mean[k], way.cov[k])
    errors[name] = error(here)
    draw_ellipses(axis, take(real, some), color=GREY, n_std=1.0, fill=0.0, alpha=0.5)
    draw_ellipses(axis, take(here, np.arange(30)), color=color, n_std=1.0, fill=0.0)
    axis.set_title(f"{name}, over data", fontsize=10)
    bare(axis)
    axes[2].plot(range(1, 17), spectra(here)[1], color=color, marker=marker, ms=4, label=name)
for axis in axes[:2]:
    axis.set(xlim=(-9.0, 9.0), ylim=(-6.5, 7.5))
axes[2].set(xticks=range(1, 17, 3), yscale="log", xlabel="component", ylabel="eigenvalue")
axes[2].legend(frameon=False)
axes[2].set_title(
    f"off by {100 * errors['noise']:.0f} %, then {100 * errors['generated']:.0f} %", fontsize=10
)
show(figure, "flow_of_niches")

assert errors["generated"] < 0.5 * errors["noise"]
