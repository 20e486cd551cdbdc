"""Audited metrics between families of point clouds: Chamfer, earth mover's distance, what is made of them."""

from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm import earthmover
from refwfm.cloud_metrics import chamfer, compare_families, pairwise_chamfer, pairwise_emd
from refwfm.cloud_neighbours import nearest_clouds, one_nn_accuracy_emd
from refwfm.clouds import moments, pad, unpad
from refwfm.measures import PointCloud
from refwfm.metrics import (
    FamilyDistances,
    coverage,
    k_nearest,
    label_accuracy,
    minimum_matching_distance,
    one_nn_accuracy,
    same_family,
)
from refwfm.validation import textbook
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings
from refwfm.validation.textbook import relative

SUMS = "sums of at most 12 terms, coordinates of order one"


def items() -> list[Item]:
    """Return the items in the order in which they build on one another."""
    return [chamfer_distance(), earth_movers_distance(), one_nn(), coverage_and_matching()]


# Chamfer


def chamfer_distance() -> Item:
    """Mean squared distance to the nearest, both ways."""
    return Item(
        id="Chamfer",
        paper="WFM",
        place="section 4, tables 3 and 4",
        title="Chamfer distance",
        latex=r"\sum_ia_i\min_j\|x_i-y_j\|^2+\sum_jb_j\min_i\|x_i-y_j\|^2",
        statement="Sum of both directed weighted means of squared nearest distances.",
        functions=(chamfer, pairwise_chamfer),
        checks=(
            Check(
                "matrix of all distances, SciPy cdist",
                chamfer_is_the_textbooks,
                chamfer,
                {
                    "one direction only": lambda x, y: _plain_chamfer(x, y, ways=(1, 0)),
                    "the mean of both": lambda x, y: 0.5 * chamfer(x, y),
                    "sums instead of means": lambda x, y: _plain_chamfer(x, y, ways=(x.points.shape[1],) * 2),
                    "not squared": partial(chamfer, squared=False),
                    "without the weights": lambda x, y: chamfer(*map(_unweighted, (x, y))),
                    "padding as a point": lambda x, y: chamfer(*map(_live_padding, (x, y))),
                },
                roundings(100, SUMS),
            ),
            Check(
                "matrix of all distances, SciPy cdist, Euclidean",
                euclidean_chamfer_is_the_textbooks,
                partial(chamfer, squared=False),
                {
                    "squared": chamfer,
                    "root of the squared": lambda x, y: np.sqrt(chamfer(x, y)),
                    "one direction only": lambda x, y: _plain_chamfer(x, y, (1, 0), metric="euclidean"),
                },
                roundings(100, SUMS),
            ),
            Check(
                "single pairs",
                matrix_is_of_single_pairs,
                pairwise_chamfer,
                {
                    "not squared": partial(pairwise_chamfer, squared=False),
                    "rows and columns exchanged": lambda x, y: pairwise_chamfer(y, x).T[::-1],
                },
                roundings(100, SUMS),
                dimensions=(1, 3, 16),
            ),
        ),
    )


def _clouds(draw, count):
    """Clouds of 5 to 12 points with weights, in rows of 12; padding holds NaN."""
    sizes = draw.rng.integers(5, 13, count)
    clouds = [draw.normal(n, draw.d) for n in sizes]
    weights = [draw.rng.dirichlet(np.full(n, 5.0)) for n in sizes]
    family = pad(clouds, weights=weights, size=12)
    return PointCloud(
        np.where((family.weights > 0)[..., None], family.points, np.nan), draw.rounded(family.weights)
    )


def _normalised(family):
    return family._replace(weights=family.weights / family.weights.sum(axis=-1, keepdims=True))


def _unweighted(cloud):
    live = (cloud.weights > 0).astype(float)
    return PointCloud(cloud.points, live / live.sum(axis=-1, keepdims=True))


def _live_padding(cloud):
    live = np.maximum(cloud.weights, 1e-7)
    return PointCloud(np.nan_to_num(cloud.points), live / live.sum(axis=-1, keepdims=True))


def _plain_chamfer(x, y, ways=(1.0, 1.0), metric="sqeuclidean"):
    """Pair by pair; ``ways`` are factors of the two directions."""
    values = []
    for p, q, a, b in zip(unpad(x), unpad(y), x.weights, y.weights, strict=True):
        cost = cdist(p, q, metric)
        there, back = a[a > 0] @ cost.min(axis=1), b[b > 0] @ cost.min(axis=0)
        values.append(ways[0] * there + ways[1] * back)
    return np.array(values)


def chamfer_is_the_textbooks(chamfer, draw):
    """Clouds of unequal sizes and weights, NaN in their padding."""
    x, y = _clouds(draw, 4), _clouds(draw, 4)
    return relative(draw.call(chamfer, x, y), _plain_chamfer(_normalised(x), _normalised(y)))


def euclidean_chamfer_is_the_textbooks(chamfer, draw):
    """The same, of distances that are not squared."""
    x, y = _clouds(draw, 4), _clouds(draw, 4)
    truth = _plain_chamfer(_normalised(x), _normalised(y), metric="euclidean")
    return relative(draw.call(chamfer, x, y), truth)


def matrix_is_of_single_pairs(pairwise_chamfer, draw):
    """Three clouds to four, each pair by the textbook."""
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    rows, columns = np.indices((3, 4)).reshape(2, -1)
    one, other = (
        PointCloud(*(part[index] for part in _normalised(family)))
        for family, index in ((x, rows), (y, columns))
    )
    return relative(draw.call(pairwise_chamfer, x, y), _plain_chamfer(one, other).reshape(3, 4))


# EMD


def earth_movers_distance() -> Item:
    """Least mean cost of a plan."""
    return Item(
        id="EMD",
        paper="WFM",
        place="section 4, tables 3 and 4",
        title="earth mover's distance, squared and Euclidean cost",
        latex=r"\min_{P\mathbf 1=a,\ P^\top\mathbf 1=b}\ \sum_{ij}P_{ij}\|x_i-y_j\|^p,\quad p\in\{1,2\}",
        statement="Exact transport cost between clouds, for two costs that share the name; and lower bounds.",
        functions=(
            pairwise_emd,
            compare_families,
            earthmover.emd,
            earthmover.exact_cost,
            earthmover.cost_matrix,
            earthmover.dual,
            earthmover.rough_potential,
            earthmover.frame_bounds,
            earthmover.quantile_cells,
            nearest_clouds,
        ),
        checks=(
            Check(
                "linear programme, POT",
                squared_emd_is_pots,
                partial(pairwise_emd, squared=True),
                {
                    "Euclidean cost": partial(pairwise_emd, squared=False),
                    "its square": lambda x, y: pairwise_emd(x, y, squared=False) ** 2,
                    "half of it": lambda x, y: 0.5 * pairwise_emd(x, y, squared=True),
                    "Chamfer": pairwise_chamfer,
                },
                roundings(300, "POT's potentials and ours are sums along paths of the plan"),
                dimensions=(1, 2, 3, 16),
                needs="ot",
            ),
            Check(
                "linear programme, POT, Euclidean cost",
                euclidean_emd_is_pots,
                partial(pairwise_emd, squared=False),
                {
                    "squared cost": partial(pairwise_emd, squared=True),
                    "root of the squared cost's": lambda x, y: np.sqrt(pairwise_emd(x, y, squared=True)),
                },
                roundings(300, "POT's potentials and ours are sums along paths of the plan"),
                dimensions=(1, 2, 3, 16),
                needs="ot",
            ),
            Check(
                "linear programme, POT, within and between families",
                comparison_is_pots,
                partial(compare_families, partial(pairwise_emd, squared=True)),
                {
                    "families exchanged": lambda generated, reference: _compare(reference, generated),
                    "between them only": lambda generated, reference: _compare(generated, reference)._replace(
                        reference=_compare(generated, reference).cross
                    ),
                    "half of the matrices within": lambda generated, reference: FamilyDistances(
                        *(np.tril(part) for part in _compare(generated, reference))
                    ),
                },
                roundings(300, "POT's potentials and ours are sums along paths of the plan"),
                dimensions=(2, 3),
                needs="ot",
            ),
            Check(
                "best assignment of 110 points, SciPy",
                emd_is_the_best_assignments,
                partial(earthmover.emd, squared=True),
                {
                    "points as they come": lambda x, y: np.mean(np.sum((x.points - y.points) ** 2, axis=-1)),
                    "each to its nearest": lambda x, y: np.mean(
                        np.min(cdist(x.points, y.points, "sqeuclidean"), axis=1)
                    ),
                    "the bound": lambda x, y: _rough_bound(cdist(x.points, y.points, "sqeuclidean")),
                },
                roundings(1000, "another assignment may be as good up to rounding"),
                dimensions=(2, 3),
                repeats=1,
            ),
            Check(
                "optimal potentials of a linear programme, POT",
                rough_potential_is_nearly_optimal,
                earthmover.rough_potential,
                {
                    "no potential": lambda cost, a, b: np.zeros(len(cost)),
                    "its sign": lambda cost, a, b: -earthmover.rough_potential(cost, a, b),
                    "of the other cloud": lambda cost, a, b: np.min(cost, axis=1),
                    "half of it": lambda cost, a, b: 0.5 * earthmover.rough_potential(cost, a, b),
                },
                Tolerance(0.06, 0.06, "a few sweeps of entropic transport leave a few percent of the cost"),
                dimensions=(2, 3, 6),
                needs="ot",
            ),
            Check(
                "linear programme, POT: far clouds, both costs",
                bounds_of_far_clouds_are_tight,
                earthmover.frame_bounds,
                {
                    "of the other cost": lambda x, y, *, squared: earthmover.frame_bounds(
                        x, y, squared=not squared
                    ),
                    "along one axis": lambda x, y, *, squared: earthmover.frame_bounds(
                        *([PointCloud(p[:, :1], a) for p, a in family] for family in (x, y)), squared=squared
                    ),
                    "a hundredth more": lambda x, y, *, squared: (
                        1.01 * earthmover.frame_bounds(x, y, squared=squared)
                    ),
                },
                Tolerance(1e-9, 1e-9, "the slack left for rounding; the clouds are nearly points"),
                dimensions=(1, 2, 40),
                needs="ot",
            ),
            Check(
                "all assignments, SciPy",
                bounds_are_below,
                partial(earthmover.frame_bounds, squared=True),
                {
                    "moments with n - 1": _biased_moment_bounds,
                    "sum of two frames": lambda x, y: 2.0 * earthmover.frame_bounds(x, y, squared=True),
                },
                EXACT,
                dimensions=(2, 3, 6),
            ),
            Check(
                "optimal potentials, POT",
                dual_is_below,
                earthmover.dual,
                {
                    "potentials that violate a constraint": _infeasible_dual,
                    "sign of the potential": lambda cost, a, b, f: earthmover.dual(cost, a, b, -f),
                },
                roundings(1e4, "the slack that the bound leaves for rounding, at 60 points"),
                dimensions=(2, 3, 6),
                needs="ot",
            ),
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
                    "the families exchanged": lambda xs, ys: nearest_clouds(ys, xs, squared=True),
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
            ),
        ),
    )


def _pot_matrix(x, y, metric):
    import ot

    x, y = _normalised(x), _normalised(y)
    return np.array(
        [
            [
                ot.emd2(a[a > 0], b[b > 0], cdist(p, q, metric))
                for q, b in zip(unpad(y), y.weights, strict=True)
            ]
            for p, a in zip(unpad(x), x.weights, strict=True)
        ]
    )


def squared_emd_is_pots(pairwise_emd, draw):
    """Clouds of unequal sizes and weights, NaN in their padding."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    return relative(draw.call(pairwise_emd, x, y), _pot_matrix(x, y, "sqeuclidean"))


def euclidean_emd_is_pots(pairwise_emd, draw):
    """As for the squared cost."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    return relative(draw.call(pairwise_emd, x, y), _pot_matrix(x, y, "euclidean"))


def _compare(generated, reference):
    return compare_families(pairwise_emd, generated=generated, reference=reference, squared=True)


def comparison_is_pots(compare, draw):
    """Three generated and four others, all matrices."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    found = draw.call(lambda x, y: tuple(compare(generated=x, reference=y)), x, y)
    pairs = ((x, x), (x, y), (y, y))
    truths = [_pot_matrix(*pair, "sqeuclidean") for pair in pairs]
    if [part.shape for part in found] != [truth.shape for truth in truths]:
        return np.inf
    return max(relative(part[None], truth[None]) for part, truth in zip(found, truths, strict=True))


def emd_is_the_best_assignments(emd, draw):
    """Two clouds of 110 points, on the host."""
    x, y = draw.rng.standard_normal((2, 110, draw.d))
    mass = np.full(110, 1.0 / 110)
    cost = cdist(x, y, "sqeuclidean")
    truth = np.mean(cost[linear_sum_assignment(cost)])
    return abs(emd(PointCloud(x, mass), PointCloud(y, mass)) - truth) / truth


def _rough_bound(cost):
    a, b = (np.full(n, 1.0 / n) for n in cost.shape)
    return earthmover.dual(cost, a, b, earthmover.rough_potential(cost, a, b)).bound


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
        found = frame_bounds(near, moved, squared=squared)
        worst = max(worst, np.max(np.abs(found - exact) / exact))
    return worst


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
        bound = float(frame_bounds([x], [y])[0, 0])
        if bound < 0.9 * exact:  # nearly an equality here: a bound that says nothing is wrong too
            return np.inf
        worst = max(worst, (bound - exact) / exact)
    return worst


def _biased_moment_bounds(xs, ys):
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
    return earthmover.Dual(f, g, float(a @ f + b @ g))


def neighbours_are_those_of_all(nearest_clouds, draw):
    """Excess of the named member's distance over the least, and error of the distance; thin clouds."""
    return _excess_among(nearest_clouds, draw, members=24, size=10)


def neighbours_of_large_clouds_are_those_of_all(nearest_clouds, draw):
    """The same for clouds so large that bounds of single pairs are found before their distances."""
    return _excess_among(nearest_clouds, draw, members=8, size=100)


def neighbours_in_another_family_are_those_of_all(nearest_clouds, draw):
    """The same of 12 clouds, in a family of 24."""
    x, y = (_thin_clouds(draw, members, 10) for members in (12, 24))
    found = draw.call(nearest_clouds, *(PointCloud(f.points, draw.rounded(f.weights)) for f in (x, y)))
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
    found = draw.call(nearest_clouds, PointCloud(family.points, draw.rounded(family.weights)))
    return np.inf if found.n_pairs != members * (members - 1) // 2 else _excess(found, matrix)


def _excess(found, matrix):
    if found.member.shape != (len(matrix),):
        return np.inf
    least = matrix.min(axis=1)
    named = matrix[np.arange(len(matrix)), found.member]
    return max(relative(found.distance, least), relative(named, least))


def _nearest_by_moments(family):
    mu = moments(*family)
    return _neighbours_by(family, textbook.pairwise_sq_distance(mu, mu))


def _nearest_by_mean(family):
    mean = moments(*family).mean
    return _neighbours_by(family, cdist(mean, mean))


def _neighbours_by(family, matrix):
    np.fill_diagonal(matrix, np.inf)
    member = np.argmin(matrix, axis=1)
    distances = pairwise_emd(family, squared=True)[np.arange(len(member)), member]
    return nearest_clouds(family, squared=True)._replace(member=member, distance=distances)


# 1-NN accuracy


def one_nn() -> Item:
    """Telling families apart by the nearest neighbour."""
    return Item(
        id="1-NNA",
        paper="WFM",
        place="section 4, tables 3 and 4",
        title="1-nearest-neighbour accuracy",
        latex=r"\frac1{G+R}\sum_{z}\mathbf 1\bigl[\mathrm{family}(\mathrm{nn}(z))=\mathrm{family}(z)\bigr],"
        r"\quad \mathrm{nn}(z)=\arg\min_{w\neq z}D(z,w)",
        statement="Share of members whose nearest other member is of the same family. One half is best, zero "
        "means copies: report the distance from one half.",
        functions=(one_nn_accuracy, one_nn_accuracy_emd, same_family),
        checks=(
            Check(
                "one member after the other",
                accuracy_is_the_count,
                one_nn_accuracy,
                {
                    "diagonal not excluded": _with_diagonal,
                    "across the families only": _across_only,
                    "families counted in the other order": lambda d: one_nn_accuracy(
                        FamilyDistances(d.reference, d.cross.T, d.generated)
                    ),
                    "one less": lambda d: tuple(1.0 - share for share in one_nn_accuracy(d)),
                },
                roundings(10, "a share of counts"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "copies, strangers",
                extremes_of_accuracy,
                one_nn_accuracy,
                {"diagonal not excluded": _with_diagonal, "across the families only": _across_only},
                EXACT,
                dimensions=(2,),
            ),
            Check(
                "all distances",
                emd_accuracy_is_that_of_all,
                partial(one_nn_accuracy_emd, squared=True),
                {
                    "sample and reference swapped": lambda generated, reference: one_nn_accuracy_emd(
                        generated=reference, reference=generated, squared=True
                    ),
                    "by Chamfer": lambda generated, reference: one_nn_accuracy(
                        compare_families(pairwise_chamfer, generated=generated, reference=reference)
                    ),
                },
                roundings(10, "a share of counts"),
                dimensions=(2,),
                repeats=1,
            ),
        ),
    )


def _point_distances(x, y):
    return FamilyDistances(*(cdist(p, q, "sqeuclidean") for p, q in ((x, x), (x, y), (y, y))))


def _plain_accuracy(d):
    """All three shares, by a loop."""
    G, R = d.cross.shape
    hits = []
    for i in range(G + R):
        row = [*d.generated[i], *d.cross[i]] if i < G else [*d.cross[:, i - G], *d.reference[i - G]]
        others = [j for j in range(G + R) if j != i]
        nearest = min(others, key=lambda j, row=row: row[j])
        hits.append((nearest < G) == (i < G))
    return np.array([np.mean(hits), np.mean(hits[:G]), np.mean(hits[G:])])


def _with_diagonal(d):
    both = np.block([[d.generated, d.cross], [d.cross.T, d.reference]])
    return same_family(np.argmin(both, axis=1), generated=len(d.generated), dtype=np.float64)


def _across_only(d):
    shares = [float(np.mean(np.diag(part) == part.min(axis=1))) for part in (d.generated, d.reference)]
    return np.array([0.0, *[1.0 - share for share in shares]])


def accuracy_is_the_count(one_nn_accuracy, draw):
    """Families of 12 and 17 that overlap, one of them narrower."""
    x, y = draw.normal(12, draw.d), draw.normal(17, draw.d)
    d = FamilyDistances(*map(draw.rounded, _point_distances(0.5 * x, y)))
    return float(np.max(np.abs(np.array(draw.call(one_nn_accuracy, d)) - _plain_accuracy(d))))


def extremes_of_accuracy(one_nn_accuracy, draw):
    """Zero for near copies, one for families far apart."""
    x = draw.normal(15, draw.d)
    copies, strangers = (_point_distances(x, y) for y in (x + 2.0**-20, x + 64.0))
    low, high = (np.array(draw.call(one_nn_accuracy, d)) for d in (copies, strangers))
    return float(max(np.max(np.abs(low)), np.max(np.abs(high - 1.0))))


def emd_accuracy_is_that_of_all(one_nn_accuracy_emd, draw):
    """Six clouds, narrower, and nine."""
    x = PointCloud(0.7 * draw.normal(6, 7, draw.d), np.full((6, 7), 1 / 7))
    y = PointCloud(draw.normal(9, 5, draw.d), np.full((9, 5), 1 / 5))
    matrices = (_pot_matrix(p, q, "sqeuclidean") for p, q in ((x, x), (x, y), (y, y)))
    found = draw.call(one_nn_accuracy_emd, generated=x, reference=y)
    return float(np.max(np.abs(np.array(found) - _plain_accuracy(FamilyDistances(*matrices)))))


# Coverage, matching, labels


def coverage_and_matching() -> Item:
    """What of the reference is met, and how closely."""
    return Item(
        id="COV-MMD",
        paper="WFM",
        place="section 4 and appendix E",
        title="coverage, minimum matching distance, label accuracy",
        latex=r"\mathrm{COV}=\frac1R\bigl|\{\arg\min_rD(g,r)\}_g\bigr|,\quad"
        r"\mathrm{MMD}=\frac1R\sum_r\min_gD(g,r)",
        statement="Share of the reference that is the nearest of a generated member; mean over the reference "
        "of the distance to the nearest generated; label by the majority of the k nearest.",
        functions=(coverage, minimum_matching_distance, k_nearest, label_accuracy),
        checks=(
            Check(
                "set of the nearest",
                coverage_is_a_set,
                coverage,
                {
                    "sample and reference swapped": lambda d: coverage(_swapped(d)),
                    "share of the generated": lambda d: coverage(d) * d.cross.shape[1] / d.cross.shape[0],
                },
                roundings(10, "a share of counts"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "loop over the reference",
                matching_is_over_the_reference,
                minimum_matching_distance,
                {
                    "sample and reference swapped": lambda d: minimum_matching_distance(_swapped(d)),
                    "largest instead of mean": lambda d: np.max(np.min(d.cross, axis=0)),
                },
                roundings(30, "a mean of 13 numbers"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "sorted lists",
                k_nearest_are_the_first,
                k_nearest,
                {
                    "the farthest": lambda distance, k: k_nearest(-distance, k=k),
                    "of the columns": lambda distance, k: k_nearest(distance.T, k=k),
                },
                EXACT,
                dimensions=(2,),
            ),
            Check(
                "votes counted by hand",
                label_is_the_majoritys,
                label_accuracy,
                {
                    "the nearest's label": lambda member, labels, wanted: label_accuracy(
                        member[:, 0], labels, wanted
                    ),
                    "any of the k": lambda member, labels, wanted: float(
                        np.mean(np.any(labels[member] == wanted[:, None], axis=1))
                    ),
                },
                EXACT,
                dimensions=(2,),
            ),
        ),
    )


def _swapped(d):
    return FamilyDistances(d.reference, d.cross.T, d.generated)


def _families(draw):
    """Distances of 8 generated points, a half as wide, to 13."""
    return FamilyDistances(
        *map(draw.rounded, _point_distances(0.5 * draw.normal(8, draw.d), draw.normal(13, draw.d)))
    )


def coverage_is_a_set(coverage, draw):
    """Size of the set of nearest reference members."""
    d = _families(draw)
    truth = len({int(np.argmin(row)) for row in d.cross}) / 13
    return abs(float(draw.call(coverage, d)) - truth)


def matching_is_over_the_reference(minimum_matching_distance, draw):
    """Least of each column, then the mean."""
    d = _families(draw)
    truth = sum(min(column) for column in d.cross.T) / 13
    return abs(float(draw.call(minimum_matching_distance, d)) - truth) / truth


def k_nearest_are_the_first(k_nearest, draw):
    """Places whose members differ from those of a sorted list."""
    distance = draw.normal(6, 6) ** 2
    truth = [sorted(range(6), key=lambda j, row=row: row[j])[:3] for row in distance]
    return float(np.sum(k_nearest(draw.to_backend(distance), k=3) != np.array(truth)))


def label_is_the_majoritys(label_accuracy, draw):
    """Of four: two majorities against the nearest, a tie that goes to the nearest, one miss."""
    labels = np.array([0, 1, 1, 2, 2])
    member = np.array([[0, 1, 2], [1, 3, 4], [3, 1, 0], [3, 1, 0]])
    return abs(float(label_accuracy(member, labels, np.array([1, 2, 2, 1]))) - 0.75)
