"""
A lazy alignment costs little until the noise fills the gaps
============================================================

Align every cloud once to a reference, and noise around the reference needs no assignment of its own: its
points keep their numbers (GWFM-37). Not always the best partners: at a tenth of the spacing most
alignments could be bettered. But hardly by anything; only when the noise is as large as the spacing does
laziness cost the double.
"""

# %%
# A reference on a grid of spacing 1, ten clouds, and noise of growing size.

import numpy as np

from refwfm.clouds import uniform
from refwfm.paper_figures.drawing import GREEN, RED, panels, show
from refwfm.transport.stability import laziness_report

rng = np.random.default_rng(0)
grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
clouds = uniform(2.0 + 1.5 * rng.normal(size=(10, 25, 2)))
sizes = np.geomspace(0.01, 1.0, 9)
reports = [
    laziness_report(grid, clouds, sigma=float(sigma), rng=np.random.default_rng(1), size=60, n_jobs=1)
    for sigma in sizes
]
right = np.array([float(report.optimal) for report in reports])
ratio = np.array([float(report.mean_ratio) for report in reports])

# %%
# How often the old partners are still the best, and what they cost beside those.

figure, axes = panels(2, width=3.8, height=3.2)
axes[0].semilogx(sizes, 100 * right, color=GREEN, marker="o", ms=4)
axes[0].set(xlabel="noise / spacing", ylabel="% aligned optimally", ylim=(-3, 103))
axes[1].semilogx(sizes, ratio, color=RED, marker="s", ms=4)
axes[1].set(xlabel="noise / spacing", ylabel="cost of the alignment / optimum", ylim=(0.95, None))
axes[0].set_title(f"{100 * right[4]:.0f} % at {sizes[4]:.1f} of the spacing", fontsize=10)
axes[1].set_title(f"{ratio[4]:.3f} at {sizes[4]:.1f} of the spacing, {ratio[-1]:.2f} at 1", fontsize=10)
show(figure, "laziness")

assert right[0] > right[4] > right[-1]
assert ratio[-1] > 1.05
