"""
An entropic map of a cloud to itself shrinks it
===============================================

Transport of a cloud to itself should leave it alone. The entropic map (WFM-13) sends each point to a
*mean* of its neighbours, and the cloud shrinks, the more the larger the temperature. The debiased map
takes the potential of the self-transport off again.
"""

# %%
# A ring of 120 points and its images. The debiased map of a cloud to itself is the identity.

import numpy as np

from refwfm.clouds import uniform
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.entropic import debiased_entropic_map, entropic_map
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost

n = 120
rng = np.random.default_rng(2)
angle = 2 * np.pi * np.arange(n) / n
x = (1 + 0.1 * rng.normal(size=(n, 1))) * np.stack([np.cos(angle), np.sin(angle)], -1)
cloud, cost = uniform(x), sq_euclidean_cost(x, x)
a = cloud.weights
epsilons = np.geomspace(0.01, 10, 13)
images = {"entropic": [], "debiased": []}
for eps in epsilons:
    g = sinkhorn(cost, a, a, eps=float(eps), tol=1e-6, max_iter=100_000).g
    images["entropic"].append(entropic_map(x, x, a, g, eps=float(eps)))
    images["debiased"].append(debiased_entropic_map(x, cloud, cloud, g, g, eps=float(eps)))

# %%
# The size of an image is its root mean square, beside that of the cloud.

figure, axes = panels(2, width=4.0, height=3.4)
axes[0].scatter(*x.T, s=8, color=BLUE, label="cloud")
for k, color, marker in ((6, GREY, "^"), (9, RED, "s")):
    axes[0].scatter(*images["entropic"][k].T, s=8, color=color, marker=marker, label=f"ε = {epsilons[k]:.2g}")
bare(axes[0])
axes[0].legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=8)
size = {name: np.array([np.std(each) for each in every]) / np.std(x) for name, every in images.items()}
for (name, values), color, marker in zip(size.items(), (RED, GREEN), "so", strict=True):
    axes[1].semilogx(epsilons, values, color=color, marker=marker, ms=4, label=name)
axes[1].set(xlabel="ε", ylabel="size of the image / size of the cloud", ylim=(0, 1.1))
axes[1].set_title(f"at ε = 1 it has {100 * size['entropic'][8]:.0f} % of its size", fontsize=10)
axes[1].legend(frameon=False, loc="lower left")
show(figure, "shrinkage")

assert np.all(np.diff(size["entropic"]) < 0)
assert np.allclose(size["debiased"], 1.0)
