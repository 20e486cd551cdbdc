"""Chapter 8: cells."""

import numpy as np

from refwfm.metrics.statistics import OneNN
from refwfm.validation.exercises.exercise import Exercise, batched
from refwfm.validation.items import meta_fm_data, meta_fm_graphs, meta_fm_metrics, metrics


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [normalise(), neighbour_mean(), ideal_shift(), sq_mmd(), one_nn_accuracy()]


# ex-36


def _normalised(train, new, centre=np.mean, spread=lambda z: np.mean(np.std(z, axis=0))):
    fitted = np.arcsinh(train / 5.0)
    return (np.arcsinh(new / 5.0) - centre(fitted, axis=0)) / spread(fitted)


def normalise() -> Exercise:
    """Normalisation of intensities."""
    return Exercise(
        id="ex-36",
        title="intensities into numbers a network can read",
        stub='''\
def normalise(train, new):
    """Normalised intensities of new cells, with the statistics of the training cells (META-FM-16).

    First arcsinh(x / 5), which is linear near 0 and a logarithm far away; then each feature less its
    mean; then
    all of them divided by one number, the mean of the features' standard deviations (that divide by n),
    so
    that distances between cells keep their proportions.

    Parameters
    ----------
    train : array, shape (n, d)
    new : array, shape (m, d)

    Returns
    -------
    array, shape (m, d)

    Examples
    --------
    >>> train = 5.0 * np.sinh(np.array([[0.0], [2.0]]))
    >>> normalise(train, train).round(9).tolist()
    [[-1.0], [1.0]]
    """
''',
        item="META-FM-16",
        oracle="one number at a time, in exact fractions",
        residual=meta_fm_data.normalised_is_plain,
        adapt=lambda f: f,
        mistakes={
            "The statistics are those of the new cells. They must be those of the training "
            "cells: what is tested must not be looked at.": lambda train, new: _normalised(new, new),
            "Each feature is divided by its own deviation: features of noise then count as much"
            " as the others.": (
                lambda train, new: _normalised(train, new, spread=lambda z: np.std(z, axis=0))
            ),
            "The deviations divide by n - 1: those that divide by n are asked for.": lambda train, new: (
                _normalised(train, new, spread=lambda z: np.mean(np.std(z, axis=0, ddof=1)))
            ),
            "The cofactor 5 is forgotten.": lambda train, new: _normalised(5.0 * train, 5.0 * new),
            "This is the deviation of all numbers together, not the mean of the features' deviations.": (
                lambda train, new: _normalised(train, new, spread=np.std)
            ),
            "The means are not subtracted.": lambda train, new: _normalised(
                train, new, centre=lambda z, axis: 0.0
            ),
            "arcsinh is left out.": lambda train, new: (
                (new - train.mean(axis=0)) / np.mean(np.std(train, axis=0))
            ),
        },
        hints=(
            "Everything that is fitted is fitted on train, after arcsinh.",
            "mean = z.mean(axis=0), scale = z.std(axis=0).mean().",
            "z = arcsinh(train / 5); (arcsinh(new / 5) - z.mean(0)) / z.std(0).mean().",
        ),
    )


# ex-37


def neighbour_mean() -> Exercise:
    """Average over the graph."""
    return Exercise(
        id="ex-37",
        title="what a cell hears: the mean over its neighbours",
        stub='''\
def neighbour_mean(z, graph):
    """Mean of the features of each cell and of its neighbours (META-FM-1).

    A cell counts once, each of its k neighbours once: all k + 1 have the same weight. This is the
    averaging of a
    graph convolution; the graph need not be symmetric.

    Parameters
    ----------
    z : array, shape (n, c), features
    graph : array of integers, shape (n, k): row i holds the neighbours of cell i, i itself not among them

    Returns
    -------
    array, shape (n, c)

    Examples
    --------
    >>> neighbour_mean(np.array([[0.0], [6.0], [9.0]]), np.array([[1, 2], [0, 2], [1, 0]])).tolist()
    [[5.0], [5.0], [5.0]]
    """
''',
        item="META-FM-1",
        oracle="the textbook's matrix",
        residual=meta_fm_graphs.averages,
        adapt=lambda f: lambda z, graph: batched(f, z, graph),
        mistakes={
            "The cell itself is left out: it is one of the k + 1.": lambda z, graph: z[graph].mean(axis=1),
            "This is the sum: large neighbourhoods would be loud.": lambda z, graph: z + z[graph].sum(axis=1),
            "The cell has half of the weight, its neighbours together the other: all k + 1 are alike.": (
                lambda z, graph: 0.5 * (z + z[graph].mean(axis=1))
            ),
            "This averages over those who have the cell as a neighbour, not over its own neighbours.": (
                lambda z, graph: _matrix(graph).T @ z / (graph.shape[1] + 1)
            ),
            "This is the mean over the whole population.": lambda z, graph: np.broadcast_to(
                z.mean(axis=0), z.shape
            ),
            "Divided by k: there are k + 1, with the cell itself.": lambda z, graph: (
                (z + z[graph].sum(axis=1)) / graph.shape[1]
            ),
        },
        hints=(
            "z[graph] has the shape (n, k, c): the features of all neighbours.",
            "Sum over the k, add the cell's own.",
            "(z + z[graph].sum(axis=1)) / (graph.shape[1] + 1).",
        ),
    )


def _matrix(graph):
    found = np.eye(len(graph))
    found[np.arange(len(graph))[:, None], graph] += 1.0
    return found


# ex-38


def ideal_shift() -> Exercise:
    """Ideal shift."""
    return Exercise(
        id="ex-38",
        title="the floor: what a shift alone can do",
        stub='''\
def ideal_shift(x0, x1):
    """Cells x0 moved by the one shift that brings them nearest to x1 in the 2-Wasserstein distance
    (META-FM-18).

    Whatever the pairing, the best shift is the same. A model that is no better than this has learned no
    more than
    a mean; most published numbers should be read beside it.

    Parameters
    ----------
    x0, x1 : arrays, shape (n, d): cells before and after a treatment

    Returns
    -------
    array, shape (n, d)

    Examples
    --------
    >>> ideal_shift(np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])).tolist()
    [[6.0], [8.0]]
    """
''',
        item="META-FM-18",
        oracle="the best shift of the best of all assignments",
        residual=meta_fm_data.ideal_is_nearest,
        adapt=lambda f: lambda x0, x1: batched(f, x0, x1),
        mistakes={
            "All cells are moved to the mean of x1: a shift keeps their differences.": lambda x0, x1: (
                np.broadcast_to(x1.mean(axis=0), x0.shape)
            ),
            "The mean of x0 is not removed.": lambda x0, x1: x0 + x1.mean(axis=0),
            "The shift is that of the medians: squared distances ask for means.": lambda x0, x1: (
                x0 + np.median(x1, axis=0) - np.median(x0, axis=0)
            ),
            "The shift goes the wrong way.": lambda x0, x1: x0 + x0.mean(axis=0) - x1.mean(axis=0),
            "One number is added to all coordinates: take means over cells only (axis 0).": lambda x0, x1: (
                x0 + x1.mean() - x0.mean()
            ),
            "Nothing is moved.": lambda x0, x1: x0 + 0.0,
            "Every cell is moved to its partner: that is no shift.": lambda x0, x1: x1 + 0.0,
        },
        hints=(
            "Expand |x + s - y|^2 for any pairing, and set the derivative in s to zero.",
            "s is the mean of y - x, and a mean does not see the pairing.",
            "x0 + x1.mean(axis=0) - x0.mean(axis=0).",
        ),
    )


# ex-39


def _mmd(x, y, gammas=(2.0, 1.0, 0.5, 0.1, 0.01, 0.005), *, diagonal=True, cross=2.0):
    def kernel(p, q, gamma):
        return np.exp(-gamma * np.sum((p[:, None] - q) ** 2, axis=-1))

    def within(p, gamma):
        k, n = kernel(p, p, gamma), len(p)
        return k.mean() if diagonal else (k.sum() - n) / (n * (n - 1))

    return np.mean([within(x, g) + within(y, g) - cross * kernel(x, y, g).mean() for g in gammas])


def sq_mmd() -> Exercise:
    """Maximum mean discrepancy."""
    return Exercise(
        id="ex-39",
        title="a second opinion: MMD",
        stub='''\
def sq_mmd(x, y):
    """Squared maximum mean discrepancy of two samples, the mean over six kernels (META-FM-10).

    For the kernel k(p, q) = exp(-gamma |p - q|^2): mean k(x, x') + mean k(y, y') - 2 mean k(x, y), the
    means over
    all pairs, those of points with themselves too; gamma = 2, 1, 0.5, 0.1, 0.01, 0.005.

    Parameters
    ----------
    x, y : arrays, shapes (n, d) and (m, d)

    Returns
    -------
    float

    Examples
    --------
    >>> float(sq_mmd(np.array([[0.0]]), np.array([[1e9]])))
    2.0
    """
''',
        item="META-FM-10",
        oracle="plain NumPy, all pairs at once",
        residual=meta_fm_metrics.mmd_is_plain,
        adapt=lambda f: lambda x, y: batched(f, x, y),
        mistakes={
            "This is the U-statistic, without the pairs of points with themselves. It may be "
            "negative, and other numbers are published.": lambda x, y: _mmd(x, y, diagonal=False),
            "The cross term must count twice.": lambda x, y: _mmd(x, y, cross=1.0),
            "This is the sum over the six kernels: take their mean.": lambda x, y: 6.0 * _mmd(x, y),
            "The numbers are taken for widths, exp(-|p - q|^2 / (2 gamma^2)): they are rates.": lambda x, y: (
                _mmd(x, y, 0.5 / np.array([2.0, 1.0, 0.5, 0.1, 0.01, 0.005]) ** 2)
            ),
            "Only one kernel, gamma = 1.": lambda x, y: _mmd(x, y, (1.0,)),
            "There is a 1/2 in the exponent that should not be there.": lambda x, y: _mmd(
                x, y, (1.0, 0.5, 0.25, 0.05, 0.005, 0.0025)
            ),
        },
        hints=(
            "Three matrices of squared distances: x with x, y with y, x with y.",
            "For each gamma: exp(-gamma sq) and its mean over the whole matrix.",
            "np.mean([K(xx).mean() + K(yy).mean() - 2 K(xy).mean() for gamma in ...]).",
        ),
    )


# ex-40


def _one_nn(g, c, r, *, own=False, across=False):
    both = np.block([[g, c], [c.T, r]])
    n = len(g)
    if not own:
        np.fill_diagonal(both, np.inf)
    is_generated = np.arange(len(both)) < n
    if across:
        both = np.where(is_generated[:, None] == is_generated, np.inf, both)
    hits = is_generated[np.argmin(both, axis=1)] == is_generated
    return np.mean(hits), np.mean(hits[:n]), np.mean(hits[n:])


def one_nn_accuracy() -> Exercise:
    """1-NN accuracy."""
    return Exercise(
        id="ex-40",
        title="can they be told apart? 1-nearest-neighbour accuracy",
        stub='''\
def one_nn_accuracy(generated, cross, reference):
    """Share of members whose nearest other member is of their own family (1-NNA).

    One half is best: nobody can tell the families apart. 1 means that they are far from each other, 0
    that
    every generated member is a near copy of a real one.

    Parameters
    ----------
    generated, cross, reference : arrays, shapes (g, g), (g, r) and (r, r)
        Distances among the generated members, from these to the real ones, and among the real ones.

    Returns
    -------
    accuracy, of_generated, of_reference : tuple of floats
        Over all g + r members, over the generated ones, over the real ones.

    Examples
    --------
    >>> near, far = np.array([[0.0, 1.0], [1.0, 0.0]]), np.full((2, 2), 9.0)
    >>> [float(share) for share in one_nn_accuracy(near, far, near)]
    [1.0, 1.0, 1.0]
    """
''',
        item="1-NNA",
        oracle="one member after the other",
        residual=metrics.accuracy_is_the_count,
        adapt=lambda f: lambda d: OneNN(*f(*d)),
        mistakes={
            "The diagonal is not excluded: each member is then its own nearest, and all shares are 1.": (
                lambda g, c, r: _one_nn(g, c, r, own=True)
            ),
            "Only members of the other family are looked at: all shares are then 0.": lambda g, c, r: _one_nn(
                g, c, r, across=True
            ),
            "This is the error, the share of those whose nearest is of the other family.": lambda g, c, r: (
                tuple(1.0 - share for share in _one_nn(g, c, r))
            ),
            "The shares of generated and reference are exchanged.": lambda g, c, r: (
                _one_nn(g, c, r)[0],
                *_one_nn(g, c, r)[:0:-1],
            ),
            "The first number is the mean of the two shares: over all members it weighs them by g and r.": (
                lambda g, c, r: (np.mean(_one_nn(g, c, r)[1:]), *_one_nn(g, c, r)[1:])
            ),
        },
        hints=(
            "One matrix of g + r rows: np.block([[generated, cross], [cross.T, reference]]).",
            "Infinity on its diagonal, then argmin along the rows. Which indices are generated?",
            "own = arange(g + r) < g; hits = own[argmin] == own; the means of hits, hits[:g], hits[g:].",
        ),
    )
