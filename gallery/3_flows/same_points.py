"""
The same points can be another family
=====================================

A model of *points* learns where points are. A family of clouds says more: which points go together.
Below are two families whose points, thrown together, have the same law; their distance as families
(GWFM-3) is large.
"""

# %%
# In the first family a cloud lies on one side, in the second each is half here, half there.

import numpy as np

from refwfm import clouds
from refwfm.paper_figures.drawing import BLUE, GREEN, RED, bare, panels, show
from refwfm.transport.exact import sq_wasserstein2
from refwfm.transport.families import even_family, sq_wow_distance

rng = np.random.default_rng(5)
sides = np.repeat([-1.0, 1.0], 10)
first = 0.15 * rng.normal(size=(20, 20, 2)) + np.stack([sides, 0 * sides], -1)[:, None]
mixed = np.tile(np.repeat([-1.0, 1.0], 10), (20, 1))
second = 0.15 * rng.normal(size=(20, 20, 2)) + np.stack([mixed, 0 * mixed], -1)
of_families = float(
    sq_wow_distance(even_family(clouds.uniform(first)), even_family(clouds.uniform(second))).sq_distance
)
of_points = float(sq_wasserstein2(*(clouds.uniform(each.reshape(-1, 2)) for each in (first, second))))

# %%
# Three clouds of each family, in three colours and marks.

figure, axes = panels(2, width=4.0, height=2.2)
for axis, family, title in ((axes[0], first, "first family"), (axes[1], second, "second family")):
    for k, color, marker in zip((0, 12, 13), (BLUE, RED, GREEN), "os^", strict=True):
        axis.scatter(*family[k].T, s=14, color=color, marker=marker)
    bare(axis)
    axis.set(xlim=(-1.6, 1.6), ylim=(-0.6, 0.6), title=f"{title}: three of its clouds")
figure.supxlabel(
    f"squared distance of all points {of_points:.3f}, of the families {of_families:.2f}", fontsize=10
)
show(figure, "same_points")

assert of_points < 0.05 < of_families
