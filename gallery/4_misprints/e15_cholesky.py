r"""
E15: a deviation read as a variance makes the source too wild
=============================================================

The source of clouds has Cholesky factors with normal entries of deviations :math:`\sigma_L`. The paper
writes :math:`\mathcal N(\mu_L,\sigma_LI)`, where a reader takes :math:`\sigma_L` for a variance. Its
root is larger as soon as the deviation is below 1.
"""

# %%
# Handwritten fours, and clouds of both sources.

import numpy as np

from refwfm import clouds, datasets
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, bare, panels, show
from refwfm.sources.clouds import CholeskyNormal, fit_cholesky_normal, sample_cholesky_normal

fours = datasets.load("fours")
real = [fours.cloud(i).points for i in range(200)]
real = [points - points.mean(axis=0) for points in real]
source = fit_cholesky_normal(np.stack([clouds.moments(clouds.uniform(points).points).cov for points in real]))
sizes = np.full(200, 100)
read = {"source, meant": source, "source, printed": CholeskyNormal(source.mean, source.std**0.5)}
drawn = {
    name: clouds.unpad(sample_cholesky_normal(law, rng=np.random.default_rng(1), sizes=sizes))
    for name, law in read.items()
}
families = {"fours": real, **drawn}

# %%
# Five of each, and the deviation of the clouds' sizes from cloud to cloud, in units of that of the
# fours.

figure, axis = panels(1, width=7.5, height=4.6)
varies = {name: float(np.std([np.std(points) for points in every])) for name, every in families.items()}
for row, ((name, every), color) in enumerate(zip(families.items(), (BLUE, GREEN, GREY), strict=True)):
    for column, points in enumerate(every[:5]):
        axis.scatter(*(points + [4.0 * column, -4.0 * row]).T, s=4, color=color)
    title = f"{name}:\nsizes vary by {varies[name] / varies['fours']:.1f}"
    axis.text(-2.5, -4.0 * row, title, ha="right", va="center", color=color)
bare(axis)
axis.set(xlim=(-9.0, 18.5), ylim=(-10.2, 2.2))
show(figure, "e15_cholesky")

assert np.all(source.std < 1)
assert varies["source, printed"] > 1.3 * varies["source, meant"]
