"""Chapter 7: measures over measures."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from refwfm.validation.exercises.exercise import Exercise, batched
from refwfm.validation.families import least_cost
from refwfm.validation.families import sq_costs as _costs
from refwfm.validation.items import families, linearized, outer_plans


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [outer_plan(), distance(), coupling_cost(), lazy(), linearised()]


# ex-31


def _permutation(cost):
    plan = np.zeros_like(cost)
    plan[linear_sum_assignment(cost)] = 1.0 / len(cost)
    return plan


def outer_plan() -> Exercise:
    """Outer plan."""
    return Exercise(
        id="ex-31",
        title="which cloud with which: the outer plan",
        stub='''\
def outer_plan(cost):
    """Optimal plan between two batches of n measures, from the matrix of their distances (GWFM-108).

    Measures are points now, and the squared distances between them a cost. Each measure has the mass
    1/n, and
    so some optimal plan is a permutation, divided by n.

    Parameters
    ----------
    cost : array, shape (n, n): from each source (row) to each target (column)

    Returns
    -------
    array, shape (n, n): sums to 1

    Examples
    --------
    >>> outer_plan(np.array([[4.0, 1.0], [1.0, 0.0]]))
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
''',
        item="GWFM-108",
        oracle="all permutations",
        residual=outer_plans.plan_is_a_permutation,
        adapt=lambda f: f,
        mistakes={
            "The plan has the mass n: each row must have 1/n.": lambda cost: len(cost) * _permutation(cost),
            "Each source goes to its nearest target, and some targets to nobody.": lambda cost: (
                np.eye(len(cost))[np.argmin(cost, axis=1)] / len(cost)
            ),
            "This is the transpose: rows are sources.": lambda cost: _permutation(cost).T,
            "This is the dearest plan.": lambda cost: _permutation(-cost),
            "This is the product plan: nothing of the cost is left in it.": lambda cost: np.full_like(
                cost, 1.0 / cost.size
            ),
            "The sources are matched as they come.": lambda cost: np.eye(len(cost)) / len(cost),
        },
        hints=(
            "This is exercise 16, with measures for points: which function of SciPy?",
            "rows, columns = linear_sum_assignment(cost).",
            "plan = np.zeros_like(cost); plan[linear_sum_assignment(cost)] = 1 / len(cost).",
        ),
        dimensions=(3, 4),
    )


# ex-32


def _inner(x, y):
    return np.array([[_least(p, q) for q in y] for p in x])


def _least(p, q):
    cost = _costs(p, q)
    return cost[linear_sum_assignment(cost)].mean()


def _best(cost):
    return cost[linear_sum_assignment(cost)].mean()


def distance() -> Exercise:
    """Wasserstein on Wasserstein."""
    return Exercise(
        id="ex-32",
        title="Wasserstein on Wasserstein",
        stub='''\
def sq_wow_distance(x, y):
    """Squared distance between two families of clouds, each family a measure on the space of measures
    (GWFM-3).

    The least mean, over all pairings of the clouds, of the squared 2-Wasserstein distances of the
    pairs: transport
    whose cost is transport.

    Parameters
    ----------
    x, y : arrays, shape (k, n, d): k clouds of n points, all of equal weight

    Returns
    -------
    float

    Examples
    --------
    >>> x = np.array([[[0.0], [1.0]], [[10.0], [11.0]]])
    >>> float(sq_wow_distance(x, x[::-1, ::-1] + 2.0))
    4.0
    """
''',
        item="GWFM-3",
        oracle="linear programmes on both levels (SciPy, HiGHS)",
        residual=both_levels_are_highs,
        adapt=lambda f: f,
        mistakes={
            "The clouds are paired as they come: the outer pairing must be chosen.": lambda x, y: np.mean(
                [_least(p, q) for p, q in zip(x, y, strict=True)]
            ),
            "The points are paired as they come: the inner pairings must be chosen, for each "
            "pair of clouds.": (lambda x, y: _best(np.mean(np.sum((x[:, None] - y) ** 2, axis=-1), axis=-1))),
            "The outer cost is of distances, not of squared ones.": lambda x, y: _best(np.sqrt(_inner(x, y))),
            "Only the means of the clouds are compared.": lambda x, y: _best(
                _costs(x.mean(axis=1), y.mean(axis=1))
            ),
            "This is the mean over all pairs of clouds, an independent outer plan.": lambda x, y: np.mean(
                _inner(x, y)
            ),
            "All points are thrown into one cloud: that is the distance of the mean measures. It forgets "
            "which points belong together.": lambda x, y: _least(
                x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
            ),
            "Each cloud goes to its nearest.": lambda x, y: np.mean(np.min(_inner(x, y), axis=1)),
        },
        hints=(
            "Two levels: first a k x k matrix, then a pairing.",
            "The matrix holds exercise 16 of all pairs of clouds.",
            "cost[i, j] = sq_wasserstein2(x[i], y[j]); cost[linear_sum_assignment(cost)].mean().",
        ),
    )


def both_levels_are_highs(distance, draw):
    """Families of four clouds of five points, in any order; relative."""
    x = draw.normal(4, 5, draw.d) + 2.0 * draw.normal(4, 1, draw.d)
    y = draw.normal(4, 5, draw.d) + 2.0 * draw.normal(4, 1, draw.d)
    inner = [[least_cost(_costs(p, q), np.ones(5), np.ones(5)) for q in y] for p in x]
    return abs(float(distance(x, y)) / least_cost(np.array(inner), np.ones(4), np.ones(4)) - 1.0)


# ex-33


def _pairs(x, y):
    return np.sum((x[:, None, :, None] - y[None, :, None]) ** 2, axis=-1)


def coupling_cost() -> Exercise:
    """Cost of a random coupling."""
    return Exercise(
        id="ex-33",
        title="what a coupling of families costs",
        stub='''\
def coupling_cost(outer, plans, x, y):
    """Mean squared distance of the pairs of points of a random coupling (GWFM-19).

    First a pair of clouds is drawn from the outer plan, then a pair of points from the plan between
    these two.
    The least such cost, over all outer and inner plans, is the distance of exercise 32.

    Parameters
    ----------
    outer : array, shape (k, l): masses of pairs of clouds, sums to 1
    plans : array, shape (k, l, n, m): for each pair of clouds a plan, sums to 1
    x, y : arrays, shapes (k, n, d) and (l, m, d)

    Returns
    -------
    float

    Examples
    --------
    >>> x, y = np.zeros((1, 1, 2)), np.array([[[3.0, 4.0]]])
    >>> float(coupling_cost(np.ones((1, 1)), np.ones((1, 1, 1, 1)), x, y))
    25.0
    """
''',
        item="GWFM-19",
        oracle="NumPy, atom by atom",
        residual=families.cost_is_the_mean_squared_distance,
        adapt=lambda f: lambda coupling, mu, nu: f(*coupling, mu.clouds.points, nu.clouds.points),
        mistakes={
            "The outer plan is not used: all pairs of clouds count alike.": lambda o, P, x, y: (
                np.sum(P * _pairs(x, y)) / o.size
            ),
            "The outer plan is forgotten: pairs of clouds are summed.": lambda o, P, x, y: np.sum(
                P * _pairs(x, y)
            ),
            "The inner plans are not used: this is for independent points.": lambda o, P, x, y: np.sum(
                o * _pairs(x, y).mean(axis=(2, 3))
            ),
            "The distances are not squared.": lambda o, P, x, y: np.sum(
                o[..., None, None] * P * np.sqrt(_pairs(x, y))
            ),
            "This compares the means of the clouds.": lambda o, P, x, y: np.sum(
                o * _costs(x.mean(axis=1), y.mean(axis=1))
            ),
            "The mean is over coordinates: they are summed in a squared distance.": lambda o, P, x, y: (
                np.sum(o[..., None, None] * P * _pairs(x, y)) / x.shape[-1]
            ),
        },
        hints=(
            "Squared distances of all points of all clouds: shape (k, l, n, m).",
            "x[:, None, :, None] - y[None, :, None] broadcasts to (k, l, n, m, d).",
            "np.sum(outer[:, :, None, None] * plans * sq).",
        ),
    )


# ex-34


def lazy() -> Exercise:
    """Lazy distance."""
    return Exercise(
        id="ex-34",
        title="the lazy distance",
        stub='''\
def sq_lazy(x, y):
    """Mean squared distance of points that have the same number: no pairing is sought (GWFM-41).

    If clouds are put into a good order once, against a reference, this is nearly the Wasserstein
    distance and
    costs nothing. It is never less.

    Parameters
    ----------
    x, y : arrays, shape (n, d)

    Returns
    -------
    float

    Examples
    --------
    >>> float(sq_lazy(np.zeros((2, 2)), np.array([[1.0, 1.0], [2.0, 0.0]])))
    3.0
    """
''',
        item="GWFM-41",
        oracle="a sum over points, one after the other",
        residual=linearized.lazy_distance_as_written,
        adapt=lambda f: lambda x, y: batched(f, x, y),
        mistakes={
            "This is the sum over the points: take the mean.": lambda x, y: np.sum((x - y) ** 2),
            "The mean is over points and coordinates: coordinates are summed.": lambda x, y: np.mean(
                (x - y) ** 2
            ),
            "This is the squared mean distance: square first, then take the mean.": lambda x, y: (
                np.mean(np.linalg.norm(x - y, axis=-1)) ** 2
            ),
            "This seeks the best pairing: it is not lazy.": _least,
            "The distances are not squared.": lambda x, y: np.mean(np.linalg.norm(x - y, axis=-1)),
        },
        hints=(
            "x - y pairs points by their numbers.",
            "The squared length of each row, then a mean.",
            "np.mean(np.sum((x - y) ** 2, axis=-1)).",
        ),
    )


# ex-35


def _aligned(s, x):
    return x[linear_sum_assignment(_costs(s, x))[1]]


def _mean_square(x, y):
    return np.mean(np.sum((x - y) ** 2, axis=-1))


def linearised() -> Exercise:
    """Linearised distance."""
    return Exercise(
        id="ex-35",
        title="aligned to a reference: the linearised distance",
        stub='''\
def sq_linearised(s, x, y):
    """Squared distance of two clouds, both aligned to a reference s (GWFM-34).

    Each cloud is put into the order in which the reference's points go to it, by the optimal
    assignment; then
    the lazy distance of exercise 34. N clouds need N assignments instead of N^2.

    Parameters
    ----------
    s, x, y : arrays, shape (n, d)

    Returns
    -------
    float

    Examples
    --------
    >>> s = np.array([[0.0], [1.0]])
    >>> float(sq_linearised(s, np.array([[3.0], [2.0]]), np.array([[4.0], [5.0]])))
    4.0
    """
''',
        item="GWFM-34",
        oracle="both alignments by enumeration",
        residual=linearized.linearised_distance,
        adapt=lambda f: lambda s, x, y: batched(lambda p, q: f(s, p, q), x.points, y.points),
        mistakes={
            "The reference is not used: this is the distance itself (exercise 16).": lambda s, x, y: _least(
                x, y
            ),
            "Nothing is aligned: the points are compared as they come.": lambda s, x, y: _mean_square(x, y),
            "Only x is aligned.": lambda s, x, y: _mean_square(_aligned(s, x), y),
            "Only y is aligned.": lambda s, x, y: _mean_square(x, _aligned(s, y)),
            "Aligned by the inverse permutations: linear_sum_assignment(cost of s to x)[1][i] "
            "is the point of x that s_i goes to, so index x with it.": lambda s, x, y: _mean_square(
                x[np.argsort(linear_sum_assignment(_costs(s, x))[1])],
                y[np.argsort(linear_sum_assignment(_costs(s, y))[1])],
            ),
            "This is the way over the reference, the sum of both distances from it.": lambda s, x, y: (
                _least(s, x) + _least(s, y)
            ),
        },
        hints=(
            "s_i goes to one point of x and one of y: compare these two.",
            "x in the order of s: x[linear_sum_assignment(cost of s to x)[1]].",
            "Align both, then np.mean(np.sum((x - y) ** 2, axis=-1)).",
        ),
    )
