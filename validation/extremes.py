"""Checks of exact transport where numbers are extreme: near the end of their range, far apart, or of mass 0.

What is refused, and what must not be lost beside a far point, hangs on comparisons that no ordinary cloud
decides. Costs here are so chosen that it does.
"""

from fractions import Fraction
from functools import partial
from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.measures import PointCloud
from refwfm.transport import emd, exact
from refwfm.validation.check import EXACT, Check, Tolerance, roundings
from refwfm.validation.textbook import relative

LARGEST = 1.7e308
"""Costs near the end of float64, of which sums of two overflow."""

ORDERS = np.array(list(permutations(range(5))))
SMALL = roundings(100, "sums of five costs")


def _sums(cost):
    """Costs of all assignments of five points."""
    return np.sum(cost[np.arange(5), ORDERS], axis=-1)


def _even(points):
    return PointCloud(points, np.full(len(points), 1.0 / len(points)))


def refused(function, *arguments):
    """Whether a ``ValueError`` is raised."""
    try:
        function(*arguments)
    except ValueError:
        return True
    return False


# Assignments and distances


def assignment_checks():
    """Assignments whose costs nearly overflow."""
    return (
        Check(
            "enumeration, costs near the end of float64",
            large_costs_are_assigned,
            exact.assignment,
            {
                "dearest": lambda cost: exact.assignment(-cost),
                "as they come": lambda cost: np.arange(len(cost)),
            },
            SMALL,
            dimensions=(1,),
            repeats=5,
            everywhere=False,
        ),
        Check(
            "enumeration, distances near the end of float64",
            large_distances_are_right,
            exact.sq_wasserstein2,
            {
                "points as they come": lambda x, y: np.mean(np.sum((x.points - y.points) ** 2, axis=-1)),
                "half of it": lambda x, y: 0.5 * exact.sq_wasserstein2(x, y),
            },
            SMALL,
            dimensions=(2, 3),
            repeats=3,
            everywhere=False,
        ),
        Check(
            "SciPy, atoms split into equal ones: equal and unequal weights beside one another",
            distances_of_all_kinds,
            exact.sq_wasserstein2,
            {
                "equal all": lambda x, y: exact.sq_wasserstein2(
                    *(PointCloud(p, (a > 0) / np.sum(a > 0, axis=-1, keepdims=True)) for p, a in (x, y))
                ),
                "padding counts": lambda x, y: exact.sq_wasserstein2(
                    *(PointCloud(p, np.full_like(a, 1.0 / a.shape[-1])) for p, a in (x, y))
                ),
                "masses as they are": lambda x, y: (
                    exact.sq_wasserstein2(x, y) * np.sum(x.weights, axis=-1) ** 2
                ),
            },
            Tolerance(1e-9, 1e-4, "two direct solvers, relative; weights in float32 are off by 1e-7 each"),
            dimensions=(1, 2),
            repeats=2,
        ),
    )


def distances_of_all_kinds(distance, draw):
    """Relative, of pairs whose weights are fifths, so that points repeated make assignments of them.

    Of five and four atoms and padding, all weights equal in some members; and of two and five.
    """
    counts = (([1, 1, 1, 1, 1], [2, 1, 1, 1, 0]), ([3, 1, 1, 0, 0], [1, 1, 1, 1, 1]))
    alike = [np.asarray(part) for part in zip(*counts, strict=True)]
    even = [np.asarray([[1, 1, 0]]), np.asarray([[1, 1, 1, 1]])]
    padded = [np.asarray([[1, 1, 1, 1, 0]]), np.asarray([[1, 1, 1, 1, 1]])]
    worst, share = 0.0, 4e-4 if draw.dtype == "float32" else 4e-7  # by which masses may be off
    for pair in (alike, even, padded):
        clouds = [
            PointCloud(
                draw.normal(*part.shape, draw.d),
                draw.rounded(part / part.sum(axis=-1, keepdims=True) * (1.0 + share)),
            )
            for part in pair
        ]
        truth = [
            _least(
                *(
                    np.repeat(c.points[k], part[k] * 20 // part[k].sum(), axis=0)
                    for c, part in zip(clouds, pair, strict=True)
                )
            )
            for k in range(len(pair[0]))
        ]
        worst = max(worst, relative(draw.call(distance, *clouds), truth, truth))
    return worst


def _least(x, y):
    cost = cdist(x, y, "sqeuclidean")
    return np.mean(cost[linear_sum_assignment(cost)])


def large_costs_are_assigned(assignment, draw):
    """Excess over the least, in units of the largest: costs of both signs, some 0; none positive."""
    signed = draw.rng.uniform(-1.0, 1.0, (5, 5))
    signed[draw.rng.random((5, 5)) < 0.2] = 0.0
    worst = 0.0
    for unit in (signed, -np.abs(signed)):
        found = draw.call(assignment, LARGEST * unit)
        worst = max(worst, np.sum(unit[np.arange(5), found]) - np.min(_sums(unit)))
    return worst


def large_distances_are_right(distance, draw):
    """Relative error of the distance of five points each, two of which coincide."""
    return _error_at_the_end(lambda x, y: draw.call(distance, x, y), draw)


def _error_at_the_end(distance, draw):
    x, y = draw.rng.uniform(-0.5, 0.5, (2, 5, draw.d))
    y[3] = x[1]
    truth = np.min(_sums(cdist(x, y, "sqeuclidean"))) / 5.0
    scale = 2.0**511
    return abs(float(distance(_even(scale * x), _even(scale * y))) / scale / scale / truth - 1.0)


# Plans


def padded_plan_check():
    """Plans between clouds of which one has padding."""
    return Check(
        "padding on one side",
        plan_of_padding,
        exact.transport_plan,
        {
            "potentials at padding": lambda cost, a, b: _moved(cost, a, b, f=1.0),
            "other potentials at padding": lambda cost, a, b: _moved(cost, a, b, g=1.0),
            "mass at padding": lambda cost, a, b: _moved(cost, a, b, plan=1.0),
        },
        roundings(100, "another path through the plan"),
        dimensions=(2, 3),
    )


def _moved(cost, a, b, **change):
    found = exact.transport_plan(cost, a, b)
    return found._replace(**{name: getattr(found, name) + value for name, value in change.items()})


def plan_of_padding(transport_plan, draw):
    """Difference from the plan of the live atoms alone; zeros at padding, in both potentials too."""
    n, m = draw.d + 1, draw.d + 2
    cost = draw.rounded(1.0 + draw.normal(n, m) ** 2)
    a, b = draw.weights(n), draw.weights(m)
    plain = draw.call(transport_plan, cost, a, b)
    rows = draw.call(transport_plan, np.insert(cost, 1, 7.0, axis=0), np.insert(a, 1, 0.0), b)
    columns = draw.call(transport_plan, np.insert(cost, 1, 7.0, axis=1), a, np.insert(b, 1, 0.0))
    wanted = (
        (rows.plan, np.insert(plain.plan, 1, 0.0, axis=0)),
        (columns.plan, np.insert(plain.plan, 1, 0.0, axis=1)),
        (rows.f, np.insert(plain.f, 1, 0.0)),
        (columns.g, np.insert(plain.g, 1, 0.0)),
        (rows.f[1], 0.0),
        (columns.g[1], 0.0),
    )
    return max(float(np.max(np.abs(found - truth))) for found, truth in wanted)


# Earth mover's distance


def emd_checks():
    """Distances whose costs nearly overflow, or whose potentials are large beside them."""
    return (
        Check(
            "enumeration, distances near the end of float64, and beyond",
            large_emd_is_right,
            emd.exact_cost,
            {
                "points as they come": lambda cost, x, y, f: np.mean(np.diagonal(cost)),
                "half of it": lambda cost, x, y, f: 0.5 * emd.exact_cost(cost, x, y, f),
                "nothing refused": lambda cost, x, y, f: np.min(cost[np.isfinite(cost)]),
            },
            SMALL,
            dimensions=(2, 3),
            repeats=3,
            everywhere=False,
        ),
        Check(
            "enumeration, potentials that are large beside the distance",
            large_potentials_are_not_used,
            emd.exact_cost,
            {
                "they are": _with_any_potential,
                "twice": lambda cost, x, y, f: 2.0 * emd.exact_cost(cost, x, y, f),
            },
            SMALL,
            dimensions=(2, 3),
            everywhere=False,
        ),
    )


def large_emd_is_right(exact_cost, draw):
    """Relative error of the distance of five points each; infinite if an infinite cost is not refused."""

    def distance(x, y):
        return exact_cost(cdist(x.points, y.points, "sqeuclidean"), x, y, None)

    cost, cloud = draw.rng.random((5, 5)), _even(np.zeros((5, 1)))
    cost[2, 3] = np.inf
    return _error_at_the_end(distance, draw) if refused(exact_cost, cost, cloud, cloud, None) else np.inf


def _with_any_potential(cost, x, y, f):
    f, g, _ = emd.dual(cost, x.weights, y.weights, f)
    rest = cost - f[:, None] - g
    return np.min(np.mean(cost[np.arange(5), ORDERS[np.argmin(_sums(rest))]]))


def large_potentials_are_not_used(exact_cost, draw):
    """Relative error for two groups of points far apart, whose potentials may differ by any number."""
    worst = 0.0
    for spread, change in ((1e-10, 0.3), (1e-10, -0.3), (1e-3, 3e20)):
        x, y = spread * draw.rng.standard_normal((2, 5, draw.d))
        x[2:, 0] += 1.0
        y[2:, 0] += 1.0
        cost = cdist(x, y, "sqeuclidean")
        f = np.where(np.arange(5) < 2, 0.0, change)
        worst = max(worst, _error(exact_cost, cost, f))
    cost = draw.rng.random((5, 5))
    f, g, _ = emd.dual(cost, np.full(5, 0.2), np.full(5, 0.2), np.zeros(5))
    shift = (np.min(_sums(cost)) + np.sum(f) - np.sum(g)) / 10.0  # K + f - g then costs hardly anything
    return max(worst, _error(exact_cost, cost, f - shift + 1e-9))


def _error(exact_cost, cost, f):
    cloud = _even(np.zeros((5, 1)))
    return abs(exact_cost(cost, cloud, cloud, f) / (np.min(_sums(cost)) / 5.0) - 1.0)


# Its bounds


def bound_checks():
    """Bounds that must be below the distance by as little as rounding asks."""
    return (
        Check(
            "rational numbers: below the least cost by rounding only",
            dual_is_below_by_rounding,
            emd.dual,
            {
                "not lowered": lambda cost, a, b, f: _bound(cost, a, b, f, 0.0),
                "lowered far too much": lambda cost, a, b, f: _bound(cost, a, b, f, 1e-9),
            },
            EXACT,
            dimensions=(1,),
            repeats=2,
            everywhere=False,
        ),
        Check(
            "quantile functions, by a fine rule",
            cells_are_means_of_the_quantiles,
            emd.quantile_cells,
            {
                "the sign": lambda points, weights, axes: -emd.quantile_cells(points, weights, axes),
                "without the weights": lambda points, weights, axes: emd.quantile_cells(
                    points, np.ones_like(weights), axes
                ),
                "along the axes themselves": lambda points, weights, axes: emd.quantile_cells(
                    points, weights, np.eye(len(axes))[:, :2]
                ),
            },
            roundings(1000, "sums over eight points, times the number of cells"),
            dimensions=(2, 3),
            everywhere=False,
        ),
        Check(
            "moved, in other units, and beside rational numbers",
            bounds_move_with_the_clouds,
            emd.frame_bounds,
            {
                "not about the middle": _bounds_about_the_origin,
                "too large by rounding": lambda *given, squared: (
                    (1.0 + 1e-9) * emd.frame_bounds(*given, squared=squared)
                ),
            },
            Tolerance(1e-3, 1e-3, "1e6 away, points keep ten digits, and squares of small distances eight"),
            dimensions=(1, 3),
            repeats=1,
            everywhere=False,
        ),
    )


def _bound(cost, a, b, f, share):
    found = emd.dual(cost, a, b, f)
    return found._replace(bound=float(a @ found.f + b @ found.g) - share * np.max(np.abs(found.f)))


def dual_is_below_by_rounding(dual, draw):
    """How often bounds are above, or too far below, the least cost in rational numbers: on the diagonal."""
    wrong = 0
    for power in np.tile([20.0, -20.0], 10):
        f, g = draw.rng.random((2, 5))
        cost = f[:, None] + g + draw.rng.random((5, 5)) * (1.0 - np.eye(5))
        a = np.full(5, 0.2)
        shift = np.copysign(2.0 ** abs(power), power)
        bound = dual(cost, a, a, f + shift).bound
        least = sum(map(Fraction, np.diagonal(cost))) * Fraction(0.2)
        below = least - Fraction(bound)
        wrong += not 0 <= below <= Fraction(abs(shift)) * 200 * Fraction(np.finfo(float).eps)
    return float(wrong)


def cells_are_means_of_the_quantiles(quantile_cells, draw):
    """Along two axes, for weights of any mass: the quantile function is integrated atom by atom."""
    points, axes = draw.rng.standard_normal((8, draw.d)), draw.rotations(1)[0][:, :2]
    weights = draw.rng.dirichlet(np.ones(8))
    found = quantile_cells(points, 3.0 * weights, axes)
    truth = np.zeros((2, emd.CELLS))
    for k in range(2):
        values = points @ axes[:, k]
        start = 0.0
        for i in np.argsort(values):
            for cell in range(emd.CELLS):
                shared = min(start + weights[i], (cell + 1) / emd.CELLS) - max(start, cell / emd.CELLS)
                truth[k, cell] += emd.CELLS * values[i] * max(shared, 0.0)
            start += weights[i]
    return float(np.max(np.abs(found - truth)))


def _bounds_about_the_origin(xs, ys, frames, *, squared):
    radius = max(np.max(np.linalg.norm(cloud.points, axis=1)) for cloud in (*xs, *ys))
    slack = 1e-11 * (radius**2 if squared else radius)
    return np.maximum(emd.frame_bounds(xs, ys, frames, squared=squared) - slack, 0.0)


def bounds_move_with_the_clouds(frame_bounds, draw):
    """Relative changes where clouds are moved by 1e6, or in units of 1e6 and 1e-6; infinite if too large.

    Two points each, moved by their distance: there the bound is the distance, and may not exceed it.
    """
    frames = emd.random_frames(draw.d, rng=np.random.default_rng(0), count=1)
    x, y = draw.rng.standard_normal((2, 6, draw.d))
    y[:, 0] += 9.0
    worst = 0.0
    for squared in (True, False):
        bounds = partial(frame_bounds, squared=squared)
        plain = bounds([_even(x)], [_even(y)], frames)[0, 0]
        moved = bounds([_even(x + 1e6)], [_even(y + 1e6)], frames)[0, 0]
        worst = max(worst, abs(moved / plain - 1.0))
        for unit in (1e6, 1e-6):
            scaled = bounds([_even(unit * x)], [_even(unit * y)], frames)[0, 0]
            worst = max(worst, abs(scaled / (unit**2 if squared else unit) / plain - 1.0))
    for step in draw.rng.standard_normal((10, draw.d)):
        pair = [_even(np.stack([first, second])) for first, second in ((-step, 0 * step), (0 * step, step))]
        exact = sum(Fraction(v) ** 2 for v in step)
        bound = float(frame_bounds([pair[0]], [pair[1]], frames, squared=True)[0, 0])
        worst = np.inf if Fraction(bound) > exact else worst
    return worst
