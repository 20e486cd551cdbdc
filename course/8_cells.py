# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
"""Chapter 8: cells."""

# %% [markdown]
# # 8. Cells
#
# Two kinds of data made the methods of this course: *tissue*, in which each cell has a neighbourhood, a small
# cloud in the space of genes; and *screens*, in which a population of cells is measured before and after a
# treatment. In both a sample is a distribution. This chapter is about what can be claimed, and beside what.

# %%
import numpy as np

from refwfm import bures, datasets
from refwfm.measures import Gaussian
from refwfm.metrics.populations import wasserstein2
from refwfm.metrics.statistics import FamilyDistances, k_nearest, label_accuracy, one_nn_accuracy
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, panels, show
from refwfm.populations import floors
from refwfm.populations.graphs import knn_graph, neighbour_mean

rng = np.random.default_rng(0)

# %% [markdown]
# ## Is the shape of a neighbourhood worth anything?
#
# 2500 cells of the mouse hypothalamus; for each, the Gaussian of its 40 nearest cells in 16 principal
# components of expression. Does the covariance tell more of a cell than the mean? Take 150 cells, look for
# the nearest neighbour among the others, and ask whether it is of the same type: by the means alone, by the
# covariances alone, by both (the distance WFM-24 of chapter 2).

# %%
niches = datasets.load("niches")
chosen = rng.permutation(len(niches))[:550]
judged, known = chosen[:150], chosen[150:]
gaussians, labels = niches.gaussians, niches.labels
one, two = (Gaussian(gaussians.mean[index], gaussians.cov[index]) for index in (judged, known))
both = bures.pairwise_sq_distance(one, two)
means = np.sum((one.mean[:, None] - two.mean) ** 2, axis=-1)
shares = {
    name: label_accuracy(k_nearest(distance, k=5), labels[known], labels[judged])
    for name, distance in (("means", means), ("covariances", np.maximum(both - means, 0.0)), ("both", both))
}
commonest = np.mean(labels[judged] == np.bincount(labels[known]).argmax())

figure, axis = panels(width=4.5)
axis.barh(list(shares), [100 * share for share in shares.values()], color=[GREY, BLUE, GREEN])
axis.axvline(100 * commonest, color=RED, ls="--")
axis.text(100 * commonest + 0.5, 2.42, "the commonest type, always", color=RED, va="bottom", fontsize=8)
axis.set(xlabel="% of cells whose type the 5 nearest niches tell", xlim=(0, 60))
show(figure, "8-niches")

# %% [markdown]
# The red line is what one gets for no work at all, and with so few cells none of the three is far above it.
# Numbers of models belong beside it, and the rest of this chapter is about lines of this kind.
#
# ## A screen, and its floors
#
# The synthetic screen has two kinds of cells in every population; how far they shift depends on their shares.
# Its intensities are normalised with the statistics of the training populations (META-FM-16, **exercise
# 36**). A model predicts the treated population; its error is a Wasserstein distance, or MMD (META-FM-10,
# **exercise 39**). But how small is small? Do nothing; add the mean shift of the treatment; add the best
# shift of all, which looks at the answer (META-FM-18, **exercise 38**). A model that is worse than the second
# has not learned the treatment; one that is no better than the third has learned a mean.

# %%
screen = datasets.load_populations("synthetic-screen")
train, test = screen.part("train"), screen.part("test")
after = np.stack([train.target.cloud(i).points.mean(axis=0) for i in range(len(train))])
batch = test.draw(np.arange(len(test)), 128, rng=rng)
split = test.draw(np.arange(len(test)), 128, rng=rng)
moved = {
    "nothing": batch.x0,
    "mean shift": floors.mean_shift_by_condition(batch.x0, batch.conditions, after, train.conditions),
    "best shift": floors.ideal_shift(batch.x0, batch.x1),
    "another draw": split.x1,
}
errors = {name: wasserstein2(cells, batch.x1) for name, cells in moved.items()}

figure, axis = panels(width=5.0)
axis.boxplot(list(errors.values()), tick_labels=list(errors), showfliers=False, medianprops={"color": RED})
axis.set(ylabel="2-Wasserstein distance to the treated", ylim=(0, None))
show(figure, "8-floors")

# %% [markdown]
# The mean shift is no better than nothing here: how far cells move depends on their population, as the screen
# was made. "Another draw" is the distance of two samples of the *same* treated population: no model can be
# asked to do better. The room for learning lies between it and the shifts.
#
# ## What a population tells of a cell
#
# To do better than a shift one must read the population. Meta flow matching does so by a graph: each cell
# averages over its neighbours (META-FM-1, **exercise 37**), and the mean over all becomes an embedding.
# Averages take noise away and leave what neighbours share: below, one population, the first coordinates raw
# and after two averagings. The two kinds are narrower and stand out.

# %%
cells = batch.x0[:1]
graph = knn_graph(cells, 10)
once, _ = neighbour_mean(cells, graph)
smooth, _ = neighbour_mean(once, graph)
centred = cells[0] - cells[0].mean(axis=0)
axis_of_most = np.linalg.svd(centred)[2][0]
figure, axes = panels(2)
for axis, values, title in ((axes[0], cells, "cells"), (axes[1], smooth, "after two averagings")):
    along = (values[0] - cells[0].mean(axis=0)) @ axis_of_most
    axis.hist(along, bins=30, color=GREEN)
    axis.set(title=title, xlabel="coordinate of most variance", ylabel="cells")
show(figure, "8-graph")

# %% [markdown]
# ## Can they be told apart?
#
# A last check on a whole family: pool real and generated members, and look for each one's nearest neighbour
# (1-NNA, **exercise 40**). One half is best, *not* zero: below, "generated" niches that are real ones with
# noise. With very little noise they are copies, and the accuracy falls to zero; with much they are strangers.
# Report the distance from one half.

# %%
base = Gaussian(gaussians.mean[known[:60]], gaussians.cov[known[:60]])
scale = np.sqrt(np.mean(np.var(gaussians.mean, axis=0)))
levels, found = np.geomspace(0.01, 3.0, 6), []
for level in levels:
    noisy = Gaussian(base.mean + level * scale * rng.normal(size=base.mean.shape), base.cov)
    distances = FamilyDistances(
        bures.pairwise_sq_distance(noisy, noisy),
        bures.pairwise_sq_distance(noisy, base),
        bures.pairwise_sq_distance(base, base),
    )
    found.append(float(one_nn_accuracy(distances).accuracy))

figure, axis = panels(width=4.5)
axis.semilogx(levels, found, color=GREEN, marker="o", ms=4)
axis.axhline(0.5, color=GREY, ls="--")
axis.text(levels[0], 0.52, "nobody can tell", color=GREY)
axis.set(xlabel="noise, in standard deviations of the means", ylabel="1-NN accuracy", ylim=(-0.03, 1.03))
show(figure, "8-copies")

# %% [markdown]
# That was the course. `refwfm check` lists what you have passed; `refwfm train --help` and `refwfm explain
# META-FM-8` are ways on.
