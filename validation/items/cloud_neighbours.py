"""Audited bounds of the earth mover's distance, and the nearest clouds that are found with them."""

from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.clouds import moments
from refwfm.measures import PointCloud
from refwfm.metrics.distances import pairwise_emd
from refwfm.metrics.neighbours import nearest_clouds
from refwfm.transport import duals, emd
from refwfm.validation import refusals, textbook, tight_bounds
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.cloud_problems import SUMS
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order in which they build on one another."""
    return [bounds_and_neighbours()]


def bounds_and_neighbours() -> Item:
    """Lower bounds of the earth mover's distance, and the search that they make cheap."""
    return Item(
        id="EMD-bounds",
        paper="WFM",
        place="section 4, tables 3 and 4",
        title="lower bounds of the earth mover's distance, nearest clouds",
        latex=r"f_i+g_j\le K_{ij}\ \Rightarrow\ \sum_ia_if_i+\sum_jb_jg_j\le\mathrm{EMD}",
        statement="Bounds by duality and by projections; the nearest cloud needs few exact distances.",
        functions=(
            duals.dual,
            duals.rough_potential,
            emd.frame_bounds,
            emd.random_frames,
            emd.quantile_cells,
            nearest_clouds,
        ),
        checks=(
            Check(
                "optimal potentials of a linear programme, POT",
                rough_potential_is_nearly_optimal,
                duals.rough_potential,
                {
                    "no potential": lambda cost, a, b: np.zeros(len(cost)),
                    "its sign": lambda cost, a, b: -duals.rough_potential(cost, a, b),
                    "of the other cloud": lambda cost, a, b: np.min(cost, axis=1),
                    "half of it": lambda cost, a, b: 0.5 * duals.rough_potential(cost, a, b),
                },
                Tolerance(0.06, 0.06, "a few sweeps of entropic transport leave a few percent of the cost"),
                dimensions=(2, 3, 6),
                needs="ot",
            ),
            Check(
                "linear programme, POT: far clouds, both costs",
                bounds_of_far_clouds_are_tight,
                emd.frame_bounds,
                {
                    "of the other cost": lambda x, y, frames, *, squared: emd.frame_bounds(
                        x, y, frames, squared=not squared
                    ),
                    "along one axis": lambda x, y, frames, *, squared: emd.frame_bounds(
                        *([PointCloud(p[:, :1], a) for p, a in family] for family in (x, y)),
                        np.ones((1, 1, 1)),
                        squared=squared,
                    ),
                    "a hundredth more": lambda x, y, frames, *, squared: (
                        1.01 * emd.frame_bounds(x, y, frames, squared=squared)
                    ),
                },
                Tolerance(1e-9, 1e-9, "the slack left for rounding; the clouds are nearly points"),
                dimensions=(1, 2, 40),
                needs="ot",
                repeats=1,
            ),
            Check(
                "all assignments, SciPy",
                bounds_are_below,
                partial(emd.frame_bounds, squared=True),
                {
                    "moments with n - 1": _biased_moment_bounds,
                    "sum of two frames": lambda *given: 2.0 * emd.frame_bounds(*given, squared=True),
                },
                EXACT,
                dimensions=(2, 3, 6),
            ),
            Check(
                "optimal potentials, POT",
                dual_is_below,
                duals.dual,
                {
                    "potentials that violate a constraint": _infeasible_dual,
                    "sign of the potential": lambda cost, a, b, f: duals.dual(cost, a, b, -f),
                },
                roundings(1e4, "the slack that the bound leaves for rounding, at 60 points"),
                dimensions=(2, 3, 6),
                needs="ot",
            ),
            *tight_bounds.bound_checks(),
            Check(
                "all distances, clouds of 100 points",
                neighbours_of_large_clouds_are_those_of_all,
                partial(nearest_clouds, squared=True),
                {
                    "of the Euclidean cost": partial(nearest_clouds, squared=False),
                    "by the nearest mean": _nearest_by_mean,
                },
                roundings(1000, "another assignment may be as good up to rounding"),
                dimensions=(2,),
                repeats=1,
            ),
            Check(
                "all distances to another family",
                neighbours_in_another_family_are_those_of_all,
                partial(nearest_clouds, squared=True),
                {
                    "of the Euclidean cost": partial(nearest_clouds, squared=False),
                    "the families exchanged": lambda xs, ys, *, rng: nearest_clouds(
                        ys, xs, squared=True, rng=rng
                    ),
                },
                roundings(100, SUMS),
                dimensions=(2, 3),
            ),
            Check(
                "all distances",
                neighbours_are_those_of_all,
                partial(nearest_clouds, squared=True),
                {
                    "of the Euclidean cost": partial(nearest_clouds, squared=False),
                    "by Gelbrich's bound": _nearest_by_moments,
                    "by the nearest mean": _nearest_by_mean,
                },
                roundings(100, SUMS),
                dimensions=(2, 3),
                repeats=1,
            ),
            refusals.search_check(),
        ),
    )


def rough_potential_is_nearly_optimal(potential, draw):
    """How far the bound that a potential proves is below the least cost, relative to it."""
    import ot

    x, y = (draw.rng.standard_normal((n, draw.d)) for n in (60, 50))
    a, b = (draw.rng.dirichlet(np.full(n, 5.0)) for n in (60, 50))
    cost = cdist(x, y, "sqeuclidean")
    exact = ot.emd2(a, b, cost)
    f = potential(cost, a, b)
    g = np.min(cost - f[:, None], axis=0)
    return (exact - a @ f - b @ g) / exact


def bounds_of_far_clouds_are_tight(frame_bounds, draw):
    """Relative difference to the exact costs of three small clouds and four far away, where it is none."""
    import ot

    near, far = (
        [PointCloud(1e-6 * draw.rng.standard_normal((n, draw.d)), np.full(n, 1.0 / n)) for n in sizes]
        for sizes in ((5, 8, 3), (4, 5, 6, 9))
    )
    moved = [PointCloud(y + draw.rng.uniform(1.0, 2.0, draw.d), b) for y, b in far]
    worst = 0.0
    for squared, metric in ((True, "sqeuclidean"), (False, "euclidean")):
        exact = np.array([[ot.emd2(a, b, cdist(x, y, metric)) for y, b in moved] for x, a in near])
        found = frame_bounds(near, moved, _frames(draw), squared=squared)
        worst = worst_of(worst, np.max(np.abs(found - exact) / exact))
    return worst


def _frames(draw):
    return emd.random_frames(draw.d, rng=np.random.default_rng(0))


def _affine_pairs(draw):
    """Clouds and their images under optimal linear maps, for which Gelbrich's bound is an equality."""
    pairs = []
    for C in draw.covariances(30.0, size=4):
        points = draw.rng.standard_normal((8, draw.d))
        mass = np.full(8, 1 / 8)
        pairs.append((PointCloud(points, mass), PointCloud(points @ C, mass)))
    return pairs


def bounds_are_below(frame_bounds, draw):
    """How far a bound exceeds the distance, relative to it; on the host."""
    worst = 0.0
    for x, y in _affine_pairs(draw):
        cost = cdist(x.points, y.points, "sqeuclidean")
        exact = np.mean(cost[linear_sum_assignment(cost)])
        bound = float(frame_bounds([x], [y], _frames(draw))[0, 0])
        if bound < 0.9 * exact:  # nearly an equality here: a bound that says nothing is wrong too
            return np.inf
        worst = worst_of(worst, (bound - exact) / exact)
    return worst


def _biased_moment_bounds(xs, ys, _):
    mu, nu = (moments(*clouds[0]) for clouds in (xs, ys))
    factor = len(xs[0].weights) / (len(xs[0].weights) - 1)
    mu, nu = (g._replace(mean=g.mean[None], cov=factor * g.cov[None]) for g in (mu, nu))
    return textbook.pairwise_sq_distance(mu, nu)


def dual_is_below(dual, draw):
    """Value of the dual at potentials of the optimum, below the least cost; infinite if it is above."""
    import ot

    x, y = (draw.rng.standard_normal((n, draw.d)) for n in (60, 50))
    a, b = (draw.rng.dirichlet(np.full(n, 5.0)) for n in (60, 50))
    cost = cdist(x, y, "sqeuclidean")
    exact, log = ot.emd2(a, b, cost, log=True)
    bound = dual(cost, a, b, log["u"]).bound
    return np.inf if bound > exact else (exact - bound) / np.max(cost)


def _infeasible_dual(cost, a, b, f):
    g = np.mean(cost - f[:, None], axis=0)
    return duals.Dual(f, g, float(a @ f + b @ g))


def neighbours_are_those_of_all(nearest_clouds, draw):
    """Excess of the named member's distance over the least, and error of the distance; thin clouds."""
    return _excess_among(nearest_clouds, draw, members=12, size=10)


def neighbours_of_large_clouds_are_those_of_all(nearest_clouds, draw):
    """The same for clouds so large that bounds of single pairs are found before their distances."""
    return _excess_among(nearest_clouds, draw, members=8, size=100)


def neighbours_in_another_family_are_those_of_all(nearest_clouds, draw):
    """The same of 6 clouds, in a family of 12."""
    x, y = (_thin_clouds(draw, members, 10) for members in (6, 12))
    families = (PointCloud(f.points, draw.rounded(f.weights)) for f in (x, y))
    found = draw.call(nearest_clouds, *families, rng=np.random.default_rng(0))
    return _excess(found, _assignment_costs(x.points, y.points))


def _thin_clouds(draw, members, size):
    spread = np.exp(draw.rng.uniform(-2.0, 0.5, (members, 1, draw.d)))
    points = draw.rounded(spread * draw.rng.standard_normal((members, size, draw.d)))
    return PointCloud(points, np.full((members, size), 1.0 / size))


def _assignment_costs(xs, ys):
    costs = [[cdist(x, y, "sqeuclidean") for y in ys] for x in xs]
    return np.array([[np.mean(cost[linear_sum_assignment(cost)]) for cost in row] for row in costs])


def _excess_among(nearest_clouds, draw, *, members, size):
    family = _thin_clouds(draw, members, size)
    matrix = _assignment_costs(family.points, family.points)
    np.fill_diagonal(matrix, np.inf)
    rounded = PointCloud(family.points, draw.rounded(family.weights))
    found = draw.call(nearest_clouds, rounded, rng=np.random.default_rng(0))
    return np.inf if found.n_pairs != members * (members - 1) // 2 else _excess(found, matrix)


def _excess(found, matrix):
    if found.member.shape != (len(matrix),):
        return np.inf
    least = matrix.min(axis=1)
    named = matrix[np.arange(len(matrix)), found.member]
    return worst_of(relative(found.distance, least), relative(named, least))


def _nearest_by_moments(family, *, rng):
    mu = moments(*family)
    return _neighbours_by(family, rng, textbook.pairwise_sq_distance(mu, mu))


def _nearest_by_mean(family, *, rng):
    mean = moments(*family).mean
    return _neighbours_by(family, rng, cdist(mean, mean))


def _neighbours_by(family, rng, matrix):
    np.fill_diagonal(matrix, np.inf)
    member = np.argmin(matrix, axis=1)
    distances = pairwise_emd(family, squared=True)[np.arange(len(member)), member]
    return nearest_clouds(family, squared=True, rng=rng)._replace(member=member, distance=distances)
