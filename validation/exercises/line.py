"""Chapter 1: transport on the line."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from refwfm.transport.quantiles import QuantileCoupling
from refwfm.validation.exercises.exercise import Exercise, Function, batched
from refwfm.validation.items import geometry, sliced_plans
from refwfm.validation.sliced_problems import instance, pot_cost
from refwfm.validation.textbook import relative


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [distance(), plan(), normal_map(), interpolation(), sliced()]


# ex-01


def distance() -> Exercise:
    """Sorted samples."""
    return Exercise(
        id="ex-01",
        title="the squared distance of two samples on the line",
        stub='''\
def sq_distance(x, y):
    """Squared 2-Wasserstein distance between two samples of n numbers, each of weight 1/n.

    It is the least mean of (x_i - y_j)^2 over all ways of pairing the x with the y, one to one (WFM-3).

    Parameters
    ----------
    x, y : arrays, shape (n,), in any order

    Returns
    -------
    float

    Examples
    --------
    >>> float(sq_distance(np.array([0.0, 3.0]), np.array([4.0, 1.0])))
    1.0
    """
''',
        item="WFM-3",
        oracle="SciPy's linear_sum_assignment",
        residual=sorted_is_assigned,
        adapt=lambda f: lambda x, y: batched(f, x, y),
        mistakes={
            "These are the numbers paired as they come. The pairs must be chosen: which order of the two "
            "makes the cheapest pairs?": lambda x, y: np.mean((x - y) ** 2),
            "This is the sum over the pairs: each has the weight 1/n, so the mean is wanted.": lambda x, y: (
                np.sum((np.sort(x) - np.sort(y)) ** 2)
            ),
            "This is the distance, the root: the squared one is asked for.": lambda x, y: np.sqrt(
                np.mean((np.sort(x) - np.sort(y)) ** 2)
            ),
            "This is W1 (the mean of |x - y|), not the mean of the squares.": lambda x, y: np.mean(
                np.abs(np.sort(x) - np.sort(y))
            ),
            "Each x goes to the y nearest to it, so that some y are used twice and others not at all. That "
            "is no pairing one to one.": lambda x, y: np.mean(np.min((x[:, None] - y) ** 2, axis=1)),
            "The smallest is paired with the largest: this is the dearest pairing.": lambda x, y: np.mean(
                (np.sort(x) - np.sort(y)[::-1]) ** 2
            ),
        },
        hints=(
            "Take two x and two y. Crossing the pairs costs more than not crossing them: by how much?",
            "So the optimal pairing has no crossing: it keeps the order. Which NumPy function puts numbers "
            "in order?",
            "Sort both samples, subtract, square, take the mean.",
        ),
        dimensions=(1,),
    )


def sorted_is_assigned(sq_distance, draw):
    """Against the least cost over all pairings."""
    x, y = draw.normal(draw.size, 7), 1.0 + 2.0 * draw.normal(draw.size, 7)
    return relative(draw.call(sq_distance, x, y), _sq_distances(x, y))


def _sq_distances(x, y):
    costs = [(p[:, None] - q) ** 2 for p, q in zip(x, y, strict=True)]
    return np.asarray([np.mean(cost[linear_sum_assignment(cost)]) for cost in costs])


# ex-02


def plan() -> Exercise:
    """Quantile coupling."""
    return Exercise(
        id="ex-02",
        title="the optimal plan of weighted samples on the line",
        stub='''\
def quantile_plan(x, a, y, b):
    """Optimal plan between weighted samples on the line: entry (i, j) is the mass that goes from x_i to
    y_j.

    At level u in [0, 1] mass goes from the u-quantile of one measure to the u-quantile of the other. With
    sorted points the i-th x holds the levels between two sums of a, the j-th y those between two sums
    of b:
    the entry is the length that the two intervals share (GWFM-106, with one direction).

    Parameters
    ----------
    x, y : arrays, shapes (n,) and (m,), in any order
    a, b : arrays, shapes (n,) and (m,); each sums to 1

    Returns
    -------
    array, shape (n, m), in the order of the arguments: rows sum to a, columns to b

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> quantile_plan(np.array([0.0, 1.0]), half, np.array([5.0, 2.0]), np.array([0.75, 0.25]))
    array([[0.25, 0.25],
           [0.5 , 0.  ]])
    """
''',
        item="GWFM-106",
        oracle="POT's emd_1d",
        residual=sliced_plans.coupling_on_the_line,
        adapt=lambda f: lambda x, a, y, b: _as_coupling(f(x, a, y, b)),
        mistakes={
            "This is the product plan a_i b_j: it has the right sums, and mass goes from everywhere to "
            "everywhere. The optimal plan keeps the order.": lambda x, a, y, b: a[:, None] * b,
            "The levels are those of the points as they come: the points must be sorted before the weights "
            "are summed.": lambda x, a, y, b: _overlaps(a, b),
            "The plan is that of the sorted points, in their sorted order: entry (i, j) must belong to the "
            "x_i and y_j that were given. Put the rows and columns back.": lambda x, a, y, b: _overlaps(
                a[np.argsort(x)], b[np.argsort(y)]
            ),
            "Rows and columns are put back by the wrong permutation: if order = argsort(x), then sorted row"
            " k belongs to x[order[k]], so assign plan[order] = sorted (or index with argsort(order)).": (
                lambda x, a, y, b: _overlaps(a[np.argsort(x)], b[np.argsort(y)])[np.argsort(x)][
                    :, np.argsort(y)
                ]
            ),
            "High quantiles of x meet low quantiles of y: this is the dearest plan.": lambda x, a, y, b: (
                _sorted_plan(x, a, -y, b)
            ),
        },
        hints=(
            "Draw [0, 1] twice, and cut one into pieces of lengths a (x in sorted order), the other into "
            "lengths b.",
            "With upper ends U = cumsum(a), V = cumsum(b) and lower ends U - a, V - b, two pieces share "
            "max(0, min(U_i, V_j) - max(U_i - a_i, V_j - b_j)).",
            "i, j = argsort(x), argsort(y); compute the overlaps of a[i] and b[j] as a matrix S by "
            "broadcasting; then plan = zeros((n, m)); plan[np.ix_(i, j)] = S.",
        ),
        dimensions=(1,),
    )


def _as_coupling(plan):
    row, column = np.indices(plan.shape).reshape(2, -1)
    return QuantileCoupling(row, column, plan.ravel())


def _overlaps(a, b):
    upper, other = np.cumsum(a), np.cumsum(b)
    shared = np.minimum(upper[:, None], other) - np.maximum((upper - a)[:, None], other - b)
    return np.maximum(shared, 0.0)


def _sorted_plan(x, a, y, b):
    i, j = np.argsort(x), np.argsort(y)
    found = np.zeros((len(x), len(y)))
    found[np.ix_(i, j)] = _overlaps(a[i], b[j])
    return found


# ex-03


def normal_map() -> Exercise:
    """Map between normal laws on the line."""
    return Exercise(
        id="ex-03",
        title="the optimal map between two normal laws",
        stub='''\
def normal_map(x, mean0, var0, mean1, var1):
    """Images of points x under the optimal map from N(mean0, var0) to N(mean1, var1) on the line.

    The map keeps quantiles, and a normal law's quantiles are mean + deviation * z (WFM-U4 with d = 1).

    Parameters
    ----------
    x : array, shape (n,)
    mean0, var0, mean1, var1 : floats; the variances are positive

    Returns
    -------
    array, shape (n,)

    Examples
    --------
    >>> normal_map(np.array([1.0, 2.0]), 1.0, 1.0, 5.0, 4.0)
    array([5., 7.])
    """
''',
        item="WFM-U4",
        oracle="POT's bures_wasserstein_mapping",
        residual=geometry.transport_is_pots,
        adapt=_on_the_line,
        mistakes={
            "The point is not measured from its own mean: subtract mean0 before you stretch.": (
                lambda x, m, v, n, w: n + np.sqrt(w / v) * x
            ),
            "The stretch is the ratio of the variances: a map that multiplies by c multiplies the variance "
            "by c^2.": (lambda x, m, v, n, w: n + w / v * (x - m)),
            "This is the map back, from the second law to the first.": lambda x, m, v, n, w: (
                m + np.sqrt(v / w) * (x - n)
            ),
            "The stretch is upside down: it is sqrt(var1 / var0).": lambda x, m, v, n, w: (
                n + np.sqrt(v / w) * (x - m)
            ),
            "The points are moved and not stretched: the variance stays var0.": lambda x, m, v, n, w: (
                x + n - m
            ),
            "This map decreases. It has the right image, N(mean1, var1), but is the dearest of all: "
            "quantiles must keep their order.": lambda x, m, v, n, w: n - np.sqrt(w / v) * (x - m),
        },
        hints=(
            "Where must mean0 go? And mean0 + sqrt(var0)?",
            "Write x as mean0 + sqrt(var0) z. Its image has the same z.",
            "mean1 + sqrt(var1 / var0) * (x - mean0).",
        ),
        dimensions=(1,),
    )


def _on_the_line(f: Function) -> Function:
    def images(x, mu, nu):
        moments = (mu.mean[:, 0], mu.cov[:, 0, 0], nu.mean[:, 0], nu.cov[:, 0, 0])
        return batched(f, x[..., 0], *moments)[..., None]

    return images


# ex-04


def interpolation() -> Exercise:
    """Displacement interpolation on the line."""
    return Exercise(
        id="ex-04",
        title="half-way between two samples",
        stub='''\
def interpolate(x, y, t):
    """Sample at time t on the geodesic between two samples of n numbers: x at t = 0, y at t = 1.

    Each point goes straight, at constant speed, to its partner in the optimal pairing (WFM-4); then the
    distance
    from x grows like t, and the distance to y shrinks like 1 - t.

    Parameters
    ----------
    x, y : arrays, shape (n,), in any order
    t : float in [0, 1]

    Returns
    -------
    array, shape (n,), in any order

    Examples
    --------
    >>> np.sort(interpolate(np.array([0.0, 1.0]), np.array([11.0, 10.0]), 0.5))
    array([5., 6.])
    """
''',
        item="WFM-4",
        oracle="SciPy's linear_sum_assignment: constant speed",
        residual=speed_on_the_line,
        adapt=lambda f: lambda x, y, t: batched(f, x, y, t),
        mistakes={
            "Points go to the partner that they come with, not to the optimal one: these lines cross.": (
                lambda x, y, t: (1.0 - t) * x + t * y
            ),
            "Time runs backwards: at t = 0 it must be x.": lambda x, y, t: (
                t * np.sort(x) + (1.0 - t) * np.sort(y)
            ),
            "At time t a share t of the points is y and the rest still x. That is a mixture: mass vanishes "
            "here and appears there, and nothing moves.": lambda x, y, t: np.where(
                np.arange(len(x)) < t * len(x), np.sort(y), np.sort(x)
            ),
            "Only x is sorted: the partners are then those of a shuffled x.": lambda x, y, t: (
                (1.0 - t) * np.sort(x) + t * y
            ),
            "x + t y: the share of x must shrink as 1 - t.": lambda x, y, t: np.sort(x) + t * np.sort(y),
        },
        hints=(
            "First find who goes where (exercise 1), then move everybody.",
            "After sorting both, x[i] goes to y[i]. Where is it at time t?",
            "(1 - t) * np.sort(x) + t * np.sort(y).",
        ),
        dimensions=(1,),
    )


def speed_on_the_line(interpolate, draw):
    """``W_2(x, x_t) - t W_2(x, y)`` and ``W_2(x_t, y) - (1 - t) W_2(x, y)``, relative to W_2(x, y)."""
    x, y, t = draw.normal(draw.size, 7), 1.0 + 2.0 * draw.normal(draw.size, 7), draw.times()
    at_t, whole = draw.call(interpolate, x, y, t), np.sqrt(_sq_distances(x, y))
    first = np.sqrt(_sq_distances(x, at_t)) - t * whole
    second = np.sqrt(_sq_distances(at_t, y)) - (1.0 - t) * whole
    return np.max(np.abs([first, second]) / whole)


# ex-05


def sliced() -> Exercise:
    """Sliced distance."""
    return Exercise(
        id="ex-05",
        title="the sliced distance: the plane, line by line",
        stub='''\
def sq_sliced(x, y, theta):
    """Squared sliced 2-Wasserstein distance of two clouds of n points, each of weight 1/n.

    The mean, over the directions, of the squared distance of the clouds' projections on them (GWFM-32).

    Parameters
    ----------
    x, y : arrays, shape (n, d)
    theta : array, shape (k, d), unit vectors

    Returns
    -------
    float

    Examples
    --------
    >>> x, y = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [0.0, 2.0]])
    >>> float(sq_sliced(x, y, np.eye(2)))
    2.0
    """
''',
        item="GWFM-32",
        oracle="POT's sliced_wasserstein_distance",
        residual=sliced_is_pots,
        adapt=lambda f: f,
        mistakes={
            "This is the sum over the directions: take the mean.": lambda x, y, theta: (
                len(theta) * _sliced(x, y, theta)
            ),
            "The distances are averaged first and squared after: the mean of the squares is wanted.": (
                lambda x, y, theta: np.mean(np.sqrt(_along(x, y, theta))) ** 2
            ),
            "The projections are paired as they come: on every direction they must be sorted anew.": (
                lambda x, y, theta: np.mean((theta @ x.T - theta @ y.T) ** 2)
            ),
            "Multiplied by d: that makes it equal the squared distance for translations, but is not the "
            "definition (32).": lambda x, y, theta: x.shape[1] * _sliced(x, y, theta),
            "Sorted along the wrong axis: each direction's n projections are to be put in order.": (
                lambda x, y, theta: np.mean(
                    (np.sort(theta @ x.T, axis=0) - np.sort(theta @ y.T, axis=0)) ** 2
                )
            ),
            "Only the first direction counts.": lambda x, y, theta: _sliced(x, y, theta[:1]),
            "This is the root: the squared distance is asked for.": lambda x, y, theta: np.sqrt(
                _sliced(x, y, theta)
            ),
        },
        hints=(
            "theta @ x.T has shape (k, n): a sample on the line for each direction.",
            "Exercise 1, for all directions at once: sort along the last axis.",
            "np.mean((np.sort(theta @ x.T, axis=-1) - np.sort(theta @ y.T, axis=-1)) ** 2).",
        ),
    )


def sliced_is_pots(sq_sliced, draw):
    """Clouds of five points, twelve directions."""
    x, y, theta = instance(draw, 5, 5, weighted=False)
    return abs(float(draw.call(sq_sliced, x.points, y.points, theta)) / pot_cost(x, y, theta) - 1.0)


def _along(x, y, theta):
    return np.mean((np.sort(theta @ x.T, axis=-1) - np.sort(theta @ y.T, axis=-1)) ** 2, axis=-1)


def _sliced(x, y, theta):
    return np.mean(_along(x, y, theta))
