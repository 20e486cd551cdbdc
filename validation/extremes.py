"""Checks of exact transport where numbers are extreme: near the end of their range, far apart, or of mass 0.

What is refused, and what must not be lost beside a far point, hangs on comparisons that no ordinary cloud
decides. Costs here are so chosen that it does.
"""

from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.measures import PointCloud
from refwfm.transport import duals, emd, exact
from refwfm.validation.check import EXACT, Check, Tolerance, roundings, worst_of
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
            "enumeration of the live atoms",
            padding_goes_to_padding,
            exact.assignment,
            {
                "as they come": lambda cost, a, b: np.arange(len(cost)),
                "padding by its cost": lambda cost, a, b: exact.assignment(np.where(np.isnan(cost), 0, cost)),
            },
            EXACT,
            dimensions=(1,),
            repeats=5,
        ),
        Check(
            "enumeration, distances near the end of float64",
            large_distances_are_right,
            exact.sq_wasserstein2,
            {
                "twice": lambda x, y, *, validate: 2.0 * exact.sq_wasserstein2(x, y, validate=validate),
                "half of it": lambda x, y, *, validate: 0.5 * exact.sq_wasserstein2(x, y, validate=validate),
            },
            SMALL,
            dimensions=(10,),
            repeats=5,
            everywhere=False,
        ),
        Check(
            "SciPy, atoms split into equal ones: equal and unequal weights beside one another",
            distances_of_all_kinds,
            _plain,
            {
                "equal all": lambda x, y: _plain(
                    *(PointCloud(p, (a > 0) / np.sum(a > 0, axis=-1, keepdims=True)) for p, a in (x, y))
                ),
                "padding counts": lambda x, y: _plain(
                    *(PointCloud(p, np.full_like(a, 1.0 / a.shape[-1])) for p, a in (x, y))
                ),
                "masses as they are": lambda x, y: _plain(x, y) * np.sum(x.weights, axis=-1),
            },
            Tolerance(1e-9, 1e-4, "two direct solvers, relative; weights in float32 are off by 1e-7 each"),
            dimensions=(1, 2),
            repeats=2,
        ),
    )


def _plain(x, y):
    return exact.sq_wasserstein2(x, y, validate=False)


def distances_of_all_kinds(distance, draw):
    """Relative, of clouds whose weights are multiples of 1 / 60: points repeated make assignments of them.

    Weights are equal in some members of a batch, or in both clouds, of unequal sizes; there is padding.
    """
    mixed = [np.asarray([[1, 1, 1, 1, 1], [2, 1, 1, 1, 1]]), np.asarray([[1, 1, 1, 1, 2], [1, 1, 1, 1, 1]])]
    some = [np.asarray([[1, 1, 1, 1, 1], [3, 1, 1, 0, 0]]), np.asarray([[2, 1, 1, 1, 0], [1, 1, 1, 1, 1]])]
    even = [np.asarray([[1, 1, 0]]), np.asarray([[1, 1, 1, 1]])]
    padded = [np.asarray([[1, 1, 1, 1, 0]]), np.asarray([[1, 1, 1, 1, 1]])]
    worst, share = 0.0, 4e-4 if draw.dtype == "float32" else 4e-7  # by which masses may be off
    for pair in (mixed, some, even, padded):
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
                    np.repeat(c.points[k], part[k] * 60 // part[k].sum(), axis=0)
                    for c, part in zip(clouds, pair, strict=True)
                )
            )
            for k in range(len(pair[0]))
        ]
        worst = worst_of(worst, relative(draw.call(distance, *clouds), truth, truth))
    return worst


def _least(x, y):
    cost = cdist(x, y, "sqeuclidean")
    return np.mean(cost[linear_sum_assignment(cost)])


def large_costs_are_assigned(assignment, draw):
    """Excess over the least, in units of the largest: all large but one; of both signs; none positive."""
    large, signed = draw.rng.uniform(0.9, 1.0, (5, 5)), draw.rng.uniform(-1.0, 1.0, (5, 5))
    large[1, 1] = 0.0
    worst = 0.0
    for unit in (large, signed, -np.abs(signed)):
        found = draw.call(assignment, LARGEST * unit)
        worst = worst_of(worst, np.sum(unit[np.arange(5), found]) - np.min(_sums(unit)))
    return worst


def padding_goes_to_padding(assignment, draw):
    """Rows that go elsewhere than the best of five live atoms do, or padding in order; NaN at padding."""
    cost = draw.rounded(1.0 + draw.rng.random((5, 5)))
    best = ORDERS[np.argmin(_sums(cost))]
    rows, columns = (np.sort(draw.rng.permutation(7)[:5]) for _ in range(2))
    given, truth = np.full((7, 7), np.nan), np.zeros(7, dtype=int)
    given[np.ix_(rows, columns)] = cost
    truth[rows] = columns[best]
    truth[np.setdiff1d(range(7), rows)] = np.setdiff1d(range(7), columns)
    a, b = (draw.rounded(np.where(np.isin(range(7), live), 0.2, 0.0)) for live in (rows, columns))
    return float(np.count_nonzero(np.asarray(draw.call(assignment, given, a, b)) != truth))


def large_distances_are_right(distance, draw):
    """Relative error of the distance of five points each, two of which coincide."""
    return _error_at_the_end(lambda x, y: distance(x, y, validate=False), draw)


def _error_at_the_end(distance, draw):
    """Points in ten corners, so that all are far apart, but for two that coincide."""
    x, y = np.split(np.eye(10) + 0.03 * draw.rng.standard_normal((10, 10)), 2)
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
    return worst_of(*(float(np.max(np.abs(found - truth))) for found, truth in wanted))


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
            dimensions=(10,),
            repeats=5,
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
    f, g, _ = duals.dual(cost, x.weights, y.weights, f)
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
        worst = worst_of(worst, _error(exact_cost, cost, f))
    cost = draw.rng.random((5, 5))
    f, g, _ = duals.dual(cost, np.full(5, 0.2), np.full(5, 0.2), np.zeros(5))
    shift = (np.min(_sums(cost)) + np.sum(f) - np.sum(g)) / 10.0  # K + f - g then costs hardly anything
    return worst_of(worst, _error(exact_cost, cost, f - shift + 1e-9))


def _error(exact_cost, cost, f):
    cloud = _even(np.zeros((5, 1)))
    return abs(exact_cost(cost, cloud, cloud, f) / (np.min(_sums(cost)) / 5.0) - 1.0)
