"""Chapter 4: clouds and plans."""

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.measures import Gaussian
from refwfm.validation.exercises.exercise import Exercise, Function, batched
from refwfm.validation.items import cloud_distances, distances, entropic, exact


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [distance(), rounding(), projection(), moments(), chamfer()]


# ex-16


def _costs(x, y):
    return cdist(x, y, "sqeuclidean")


def distance() -> Exercise:
    """Assignment."""
    return Exercise(
        id="ex-16",
        title="the squared distance of two clouds",
        stub='''\
def sq_wasserstein2(x, y):
    """Squared 2-Wasserstein distance of two clouds of n points, each of weight 1/n (WFM-3).

    The least mean of |x_i - y_s(i)|^2 over all permutations s. scipy.optimize.linear_sum_assignment
    finds it
    without trying all n! of them.

    Parameters
    ----------
    x, y : arrays, shape (n, d)

    Returns
    -------
    float

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [2.0, 0.0]])
    >>> float(sq_wasserstein2(x, x[::-1] + np.array([0.0, 3.0])))
    9.0
    """
''',
        item="WFM-3",
        oracle="the closed form for images under symmetric positive maps",
        residual=exact.affine_images_keep_their_order,
        adapt=lambda f: lambda x, y: batched(f, x.points, y.points),
        mistakes={
            "The points are paired as they come.": lambda x, y: np.mean(np.sum((x - y) ** 2, axis=-1)),
            "Each point goes to its nearest: targets are used twice, others not at all.": lambda x, y: (
                np.mean(np.min(_costs(x, y), axis=1))
            ),
            "This is the sum over the points: each has weight 1/n.": lambda x, y: _assigned(
                _costs(x, y)
            ).sum(),
            "The assignment is that of distances, not of squared distances: it can be another "
            "one, and is dearer by this measure. Give the solver the squared ones.": lambda x, y: np.mean(
                _costs(x, y)[linear_sum_assignment(cdist(x, y))]
            ),
            "This is the mean over all pairs: what the product plan costs.": lambda x, y: np.mean(
                _costs(x, y)
            ),
            "Each coordinate is sorted by itself: this forgets which coordinates belong together.": (
                lambda x, y: np.mean(np.sum((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2, axis=-1))
            ),
            "This is the root: the squared distance is asked for.": lambda x, y: np.sqrt(
                _assigned(_costs(x, y)).mean()
            ),
        },
        hints=(
            "First the matrix of all squared distances, shape (n, n).",
            "rows, columns = linear_sum_assignment(cost) tells who goes to whom.",
            "cost = ((x[:, None] - y) ** 2).sum(-1); cost[linear_sum_assignment(cost)].mean().",
        ),
    )


def _assigned(cost):
    return cost[linear_sum_assignment(cost)]


# ex-17


def _greedy(plan):
    order = np.argsort(-plan, axis=None, kind="stable")
    partner = np.full(len(plan), -1)
    for i, j in zip(*np.unravel_index(order, plan.shape), strict=True):
        if partner[i] < 0 and j not in partner:
            partner[i] = j
    return partner


def rounding() -> Exercise:
    """Greedy rounding."""
    return Exercise(
        id="ex-17",
        title="from a plan to a permutation",
        stub='''\
def round_plan(plan):
    """Permutation made of a plan: take the largest entry, match its row and column, strike both, go on.

    An entropic plan sends each point everywhere, a bit; training wants one target for each (WFM-A.1).

    Parameters
    ----------
    plan : array, shape (n, n); no two entries are equal, some may be negligibly small

    Returns
    -------
    array of integers, shape (n,): entry i is the column of row i

    Examples
    --------
    >>> round_plan(np.array([[0.4, 0.35], [0.3, 0.0]])).tolist()
    [0, 1]
    """
''',
        item="WFM-A.1",
        oracle="all sequences of n entries in rows and columns that differ, the largest first",
        residual=takes_the_largest,
        adapt=lambda f: f,
        mistakes={
            "This is the largest entry of each row: two rows may want the same column, so it is"
            " no permutation.": (lambda plan: np.argmax(plan, axis=1)),
            "This is the permutation of the most mass (an assignment solver's). It is as good "
            "as it gets, but not what is asked for: the largest entry must be matched first, "
            "whatever it costs the others.": (lambda plan: linear_sum_assignment(-plan)[1]),
            "The rows choose in turn, the first row first: the largest entry of all must come first.": (
                _in_turn
            ),
            "This is the inverse permutation: entry i must be the column of row i.": lambda plan: np.argsort(
                _greedy(plan)
            ),
            "The smallest entries are taken first.": lambda plan: _greedy(-plan),
        },
        hints=(
            "np.argmax of the whole matrix, then np.unravel_index for row and column.",
            "Strike a row and a column by -inf, not by 0: with zeros a struck entry can win "
            "against a tiny one that is still free. That is a misprint of the paper.",
            "left = plan.copy(); n times: i, j = unravel_index(argmax(left), left.shape); partner[i] = j; "
            "left[i] = left[:, j] = -inf.",
        ),
    )


def _in_turn(plan):
    left, partner = plan.copy(), []
    for i in range(len(plan)):
        partner.append(np.argmax(left[i]))
        left[:, partner[-1]] = -np.inf
    return np.array(partner)


def takes_the_largest(rounding, draw):
    """Points matched otherwise, in two plans of 4 + d points, one with tiny entries."""
    n = 4 + draw.d
    plans = [draw.rng.random((n, n)) ** 8, np.exp(-40.0 * draw.rng.random((n, n)))]
    return sum(int(np.sum(np.asarray(draw.call(rounding, P)) != _by_all_permutations(P))) for P in plans)


def _by_all_permutations(plan):
    """Permutation whose entries, sorted from large to small, are the first of all in the order of words."""
    n = len(plan)
    return np.array(
        max(itertools.permutations(range(n)), key=lambda p: sorted(plan[range(n), p], reverse=True))
    )


# ex-18


def projection() -> Exercise:
    """Barycentric projection."""
    return Exercise(
        id="ex-18",
        title="from a plan to a map",
        stub='''\
def barycentric_projection(plan, y):
    """Mean target of each row of a plan: where its mass goes on average (WFM-13, on the sample).

    Parameters
    ----------
    plan : array, shape (n, m), non-negative; every row has mass
    y : array, shape (m, d)

    Returns
    -------
    array, shape (n, d)

    Examples
    --------
    >>> barycentric_projection(np.array([[0.3, 0.1], [0.0, 0.6]]), np.array([[0.0], [4.0]]))
    array([[1.],
           [4.]])
    """
''',
        item="WFM-13",
        oracle="NumPy's average of each row",
        residual=entropic.means_of_rows,
        adapt=_with_mass,
        mistakes={
            "Not divided by the mass of the row: entries of a row sum to a_i, and a mean needs "
            "weights that sum to 1.": (lambda P, y: P @ y),
            "Multiplied by n: that is the mean only if all rows have the mass 1/n.": lambda P, y: (
                len(P) * P @ y
            ),
            "Divided by the masses of the columns: it is the row whose mean is taken.": lambda P, y: (
                (P / P.sum(axis=0)) @ y
            ),
            "This is the likeliest target of each row.": lambda P, y: y[np.argmax(P, axis=1)],
            "The weights of the plan are not used: this is the plain mean of the targets.": lambda P, y: (
                np.broadcast_to(y.mean(axis=0), (len(P), y.shape[1]))
            ),
        },
        hints=(
            "A mean with weights: what must they sum to?",
            "P @ y sums; the mass of row i is P[i].sum().",
            "(P @ y) / P.sum(axis=1, keepdims=True).",
        ),
    )


def _with_mass(f: Function) -> Function:
    """Rows without mass and columns that are not reached are left out."""

    def means(plans, targets):
        found = np.zeros((*plans.shape[:2], targets.shape[-1]))
        for k, (P, y) in enumerate(zip(plans, targets, strict=True)):
            rows, columns = P.sum(axis=1) > 0, P.sum(axis=0) > 0
            found[k, rows] = f(P[np.ix_(rows, columns)], y[columns])
        return found

    return means


# ex-19


def moments() -> Exercise:
    """Moments of a cloud."""
    return Exercise(
        id="ex-19",
        title="the Gaussian of a cloud",
        stub='''\
def moments(x, a):
    """Mean and covariance of a cloud as a measure: the Gaussian that stands for it (WFM-24).

    The distance of two such Gaussians is never more than the distance of the clouds.

    Parameters
    ----------
    x : array, shape (n, d)
    a : array, shape (n,), weights that sum to 1

    Returns
    -------
    mean, cov : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> mean, cov = moments(np.array([[0.0], [4.0]]), np.array([0.75, 0.25]))
    >>> float(mean[0]), float(cov[0, 0])
    (1.0, 3.0)
    """
''',
        item="WFM-24",
        oracle="clouds made to have given moments",
        residual=distances.moments_of_a_cloud,
        adapt=_of_weighted,
        mistakes={
            "The covariance is divided by n - 1. That estimates the covariance of a law that "
            "the points are drawn from; the cloud is the law here, and its own covariance has "
            "the weights a.": lambda x, a: (
                a @ x,
                _covariance(x, a) * len(x) / (len(x) - 1),
            ),
            "The weights are forgotten, in the covariance at least.": lambda x, a: (
                x.mean(axis=0),
                np.cov(x.T, ddof=0),
            ),
            "These are second moments: the mean must be subtracted first.": lambda x, a: (
                a @ x,
                x.T @ (a[:, None] * x),
            ),
            "These are variances alone, without covariances.": lambda x, a: (
                a @ x,
                np.diag(_covariance(x, a).diagonal()),
            ),
            "np.cov(..., aweights=a) divides by 1 - sum(a^2) unless ddof=0 is given.": lambda x, a: (
                a @ x,
                np.cov(x.T, aweights=a),
            ),
        },
        hints=(
            "mean = sum a_i x_i; the covariance is the mean of (x_i - mean)(x_i - mean)^T.",
            "Centre first, then multiply the transposed centred points by the weighted ones.",
            "mean = a @ x; z = x - mean; cov = z.T @ (a[:, None] * z).",
        ),
    )


def _covariance(x, a):
    z = x - a @ x
    return z.T @ (a[:, None] * z)


def _of_weighted(f: Function) -> Function:
    def found(x, weights=None):
        a = np.full(x.shape[:2], 1.0 / x.shape[1]) if weights is None else weights
        return Gaussian(*batched(f, x, a))

    return found


# ex-20


def chamfer() -> Exercise:
    """Chamfer distance."""
    return Exercise(
        id="ex-20",
        title="Chamfer: cheap, and blind to mass",
        stub='''\
def chamfer(x, a, y, b):
    """Chamfer distance: mean squared distance to the nearest point of the other cloud, both ways added.

    Nobody has to share: all points may go to one. So it is cheap, no distance, and never sees whether a
    region
    has too much mass or too little.

    Parameters
    ----------
    x, y : arrays, shapes (n, d) and (m, d)
    a, b : arrays, shapes (n,) and (m,), weights that sum to 1

    Returns
    -------
    float

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[0.0]])  # Chamfer
    >>> float(chamfer(x, np.array([0.5, 0.5]), y, np.array([1.0])))
    0.5
    """
''',
        item="Chamfer",
        oracle="the matrix of all distances, SciPy's cdist",
        residual=cloud_distances.chamfer_is_the_textbooks,
        adapt=_of_live,
        mistakes={
            "One way only: from x to y. Then a cloud of one point of y has distance 0.": lambda x, a, y, b: (
                _ways(x, a, y, b)[0]
            ),
            "One way only: from y to x.": lambda x, a, y, b: _ways(x, a, y, b)[1],
            "Distances are not squared.": lambda x, a, y, b: (
                a @ cdist(x, y).min(axis=1) + b @ cdist(x, y).min(axis=0)
            ),
            "This is the mean of both ways: add them.": lambda x, a, y, b: 0.5 * sum(_ways(x, a, y, b)),
            "The weights are forgotten.": lambda x, a, y, b: (
                _costs(x, y).min(axis=1).mean() + _costs(x, y).min(axis=0).mean()
            ),
            "This is the larger of both ways, as in Hausdorff's distance: add them.": lambda x, a, y, b: max(
                _ways(x, a, y, b)
            ),
        },
        hints=(
            "All squared distances, shape (n, m): the nearest y of each x is a minimum along which axis?",
            "a @ cost.min(axis=1) is one way.",
            "a @ cost.min(axis=1) + b @ cost.min(axis=0).",
        ),
    )


def _ways(x, a, y, b):
    return a @ _costs(x, y).min(axis=1), b @ _costs(x, y).min(axis=0)


def _of_live(f: Function) -> Function:
    def values(x, y):
        members = zip(*x, *y, strict=True)
        return np.stack([f(p[a > 0], _unit(a), q[b > 0], _unit(b)) for p, a, q, b in members])

    return values


def _unit(weights):
    return weights[weights > 0] / weights.sum()
