"""Audited distances between point clouds: Chamfer and earth mover's."""

from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm.clouds import pad, unpad
from refwfm.measures import PointCloud
from refwfm.metrics.distances import chamfer, compare_families, pairwise_chamfer, pairwise_emd
from refwfm.metrics.statistics import FamilyDistances
from refwfm.transport import emd
from refwfm.validation import extremes, textbook
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.cloud_problems import SUMS, normalised, pot_matrix
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order in which they build on one another."""
    return [chamfer_distance(), earth_movers_distance()]


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
                many_shapes=True,
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
    return relative(draw.call(chamfer, x, y), _plain_chamfer(normalised(x), normalised(y)))


def euclidean_chamfer_is_the_textbooks(chamfer, draw):
    """The same, of distances that are not squared."""
    x, y = _clouds(draw, 4), _clouds(draw, 4)
    truth = _plain_chamfer(normalised(x), normalised(y), metric="euclidean")
    return relative(draw.call(chamfer, x, y), truth)


def matrix_is_of_single_pairs(pairwise_chamfer, draw):
    """Three clouds to four, each pair by the textbook."""
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    rows, columns = np.indices((3, 4)).reshape(2, -1)
    one, other = (
        PointCloud(*(part[index] for part in normalised(family)))
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
        statement="Exact transport cost between clouds, for two costs that share the name.",
        functions=(
            pairwise_emd,
            compare_families,
            emd.emd,
            emd.exact_cost,
            emd.cost_matrix,
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
                partial(emd.emd, squared=True),
                {
                    "points as they come": lambda x, y: np.mean(np.sum((x.points - y.points) ** 2, axis=-1)),
                    "each to its nearest": lambda x, y: np.mean(
                        np.min(cdist(x.points, y.points, "sqeuclidean"), axis=1)
                    ),
                    "a lower bound": _frame_bound,
                },
                roundings(1000, "another assignment may be as good up to rounding"),
                dimensions=(2, 3),
                repeats=1,
            ),
            *extremes.emd_checks(),
        ),
    )


def squared_emd_is_pots(pairwise_emd, draw):
    """Clouds of unequal sizes and weights, NaN in their padding."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    return relative(draw.call(pairwise_emd, x, y), pot_matrix(x, y, "sqeuclidean"))


def euclidean_emd_is_pots(pairwise_emd, draw):
    """As for the squared cost."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    return relative(draw.call(pairwise_emd, x, y), pot_matrix(x, y, "euclidean"))


def _compare(generated, reference):
    return compare_families(pairwise_emd, generated=generated, reference=reference, squared=True)


def comparison_is_pots(compare, draw):
    """Three generated and four others, all matrices."""
    textbook.pot_gaussian()
    x, y = _clouds(draw, 3), _clouds(draw, 4)
    found = draw.call(lambda x, y: tuple(compare(generated=x, reference=y)), x, y)
    pairs = ((x, x), (x, y), (y, y))
    truths = [pot_matrix(*pair, "sqeuclidean") for pair in pairs]
    if [part.shape for part in found] != [truth.shape for truth in truths]:
        return np.inf
    return worst_of(*(relative(part[None], truth[None]) for part, truth in zip(found, truths, strict=True)))


def emd_is_the_best_assignments(emd, draw):
    """Two clouds of 110 points, on the host."""
    x, y = draw.rng.standard_normal((2, 110, draw.d))
    mass = np.full(110, 1.0 / 110)
    cost = cdist(x, y, "sqeuclidean")
    truth = np.mean(cost[linear_sum_assignment(cost)])
    return abs(emd(PointCloud(x, mass), PointCloud(y, mass)) - truth) / truth


def _frame_bound(x, y):
    frames = emd.random_frames(x.points.shape[1], rng=np.random.default_rng(0))
    return emd.frame_bounds([x], [y], frames, squared=True)[0, 0]
