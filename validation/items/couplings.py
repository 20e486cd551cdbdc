"""Audited costs between clouds, by which outer plans pair them (WFM appendix C, GWFM section 3)."""

import numpy as np
import scipy.optimize

from refwfm.bures import pairwise_sq_distance
from refwfm.couplings.costs import (
    outer_cost,
    pairwise_chamfer_cost,
    pairwise_frechet,
    pairwise_sq_wasserstein2,
)
from refwfm.couplings.outer import match_clouds, outer_plan
from refwfm.measures import Gaussian, PointCloud
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.cloud_problems import (
    N,
    best_matching,
    chamfer,
    family,
    frechet,
    gaussian,
    least_cost,
    live,
    pairwise,
)
from refwfm.validation.textbook import relative

SUMS = roundings(300, "sums of a few dozen squares, in another order")


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [app_c_clouds(), gwfm_30(), gwfm_107()]


# Appendix C


def app_c_clouds() -> Item:
    """Multisample matching of clouds."""
    return Item(
        id="WFM-AppC-clouds",
        paper="WFM",
        place="appendix C, for point clouds",
        title="multisample matching of clouds",
        latex=r"\sigma=\mathop{\mathrm{argmin}}_\sigma\sum_iK_{i\sigma(i)},\qquad "
        r"K_{ij}=W_2^2(\mathcal N(\mu_i),\mathcal N(\nu_j))",
        statement="Clouds of a batch are paired by the distances of the Gaussians with their moments.",
        functions=(pairwise_frechet, pairwise_chamfer_cost, match_clouds),
        checks=(
            Check(
                "textbook distance of NumPy's moments",
                costs_are_of_the_moments,
                pairwise_frechet,
                {
                    "moments divided by n - 1 (caveat C1)": _frechet_unbiased,
                    "means only": lambda x, y: np.sum((_means(x)[:, None] - _means(y)) ** 2, axis=-1),
                    "not squared": lambda x, y: np.sqrt(pairwise_frechet(x, y)),
                    "padding counted": lambda x, y: pairwise_frechet(_unpadded(x), _unpadded(y)),
                },
                roundings(3000, "covariances of few points, of condition up to some hundreds"),
                dimensions=(1, 2),
                many_shapes=True,
            ),
            Check(
                "loops over all pairs of points",
                costs_are_of_the_nearest,
                pairwise_chamfer_cost,
                {
                    "one way": lambda x, y: pairwise(lambda p, q: p[1] @ _nearest(p[0], q[0]), x, y),
                    "half of it": lambda x, y: 0.5 * pairwise_chamfer_cost(x, y),
                    "without the squares": lambda x, y: pairwise(
                        lambda p, q: (
                            p[1] @ np.sqrt(_nearest(p[0], q[0])) + q[1] @ np.sqrt(_nearest(q[0], p[0]))
                        ),
                        x,
                        y,
                    ),
                },
                SUMS,
                many_shapes=True,
            ),
            Check(
                "all permutations",
                matching_is_the_best,
                lambda x, y: match_clouds(x, y, "frechet"),
                {
                    "as drawn": lambda x, y: np.arange(len(x.points)),
                    "the inverse permutation": lambda x, y: np.argsort(match_clouds(x, y, "frechet")),
                    "the worst": lambda x, y: scipy.optimize.linear_sum_assignment(-pairwise_frechet(x, y))[
                        1
                    ],
                },
                roundings(300, "a sum of five distances"),
                dimensions=(2, 3),
                size=5,
                many_shapes=True,
            ),
        ),
    )


def _nearest(x, y):
    return np.min(np.sum((x[:, None] - y) ** 2, axis=-1), axis=1)


def _means(x):
    return np.sum(x.weights[..., None] * x.points, axis=1)


def _unpadded(x):
    return PointCloud(x.points, np.full(x.weights.shape, 1.0 / x.weights.shape[1]))


def _frechet_unbiased(x, y):
    pair = []
    for cloud in (x, y):
        parts = [gaussian(*live(cloud, i)) for i in range(len(cloud.points))]
        factor = [1.0 / (1.0 - np.sum(live(cloud, i)[1] ** 2)) for i in range(len(cloud.points))]
        cov = np.concatenate([f * part.cov for f, part in zip(factor, parts, strict=True)])
        pair.append(Gaussian(np.concatenate([part.mean for part in parts]), cov))
    return pairwise_sq_distance(*pair)


def costs_are_of_the_moments(function, draw):
    """Costs of all pairs of 3 and 2 clouds of unequal sizes and weights, relative to the largest."""
    return _costs_agree(function, draw, frechet)


def costs_are_of_the_nearest(function, draw):
    """Costs of all pairs of 3 and 2 clouds of unequal sizes and weights, relative to the largest."""
    return _costs_agree(function, draw, chamfer)


def costs_are_the_least(function, draw):
    """Costs of all pairs of 3 and 2 clouds of unequal sizes and weights, relative to the largest."""
    return _costs_agree(function, draw, _least_cost)


def _costs_agree(function, draw, distance):
    x, y = family(draw, 3, (5, 3), weighted=True), family(draw, 2, (4, 6), weighted=True)
    truth = pairwise(distance, x, y)
    return relative(draw.call(function, x, y)[None], truth[None])


def matching_is_the_best(match, draw):
    """Total cost of the matching of a batch against the least of all; infinite if it is no permutation."""
    x = family(draw, draw.size)
    moved = draw.rng.permutation(draw.size)
    y = PointCloud(draw.rounded(x.points[moved] + 0.3 * draw.normal(*x.points.shape)), x.weights)
    perm, cost = np.asarray(draw.call(match, x, y)), pairwise(frechet, x, y)
    if sorted(perm) != list(range(draw.size)):
        return np.inf
    return (np.sum(cost[np.arange(draw.size), perm]) - best_matching(cost)[0]) / np.sum(np.min(cost, axis=1))


# GWFM-30


def gwfm_30() -> Item:
    """Wasserstein outer plan."""
    return Item(
        id="GWFM-30",
        paper="GWFM",
        place="section 3, eq. 30",
        title="Wasserstein outer plan",
        latex=r"\boldsymbol\Pi^W\in\mathop{\mathrm{argmin}}_{\boldsymbol\Pi}"
        r"\sum_{ij}\boldsymbol\Pi_{ij}\,W_2^2(\mu_i,\nu_j)",
        statement="Measures are paired by their exact squared Wasserstein distances.",
        functions=(pairwise_sq_wasserstein2,),
        checks=(
            Check(
                "HiGHS, unequal sizes and weights",
                costs_are_the_least,
                pairwise_sq_wasserstein2,
                {
                    "not squared (caveat C11)": lambda x, y: np.sqrt(pairwise_sq_wasserstein2(x, y)),
                    "half of it": lambda x, y: 0.5 * pairwise_sq_wasserstein2(x, y),
                    "of the moments": pairwise_frechet,
                    "without the weights": lambda x, y: pairwise_sq_wasserstein2(_evened(x), _evened(y)),
                },
                roundings(1e4, "the solver's tolerance beside rounding"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "all permutations, inner and outer",
                wasserstein_plan_is_the_best,
                lambda x, y: outer_plan(outer_cost(x, y, "wasserstein")),
                {
                    "transposed": lambda x, y: outer_plan(outer_cost(x, y, "wasserstein")).T,
                    "product plan": lambda x, y: np.full((len(x.points),) * 2, 1.0 / len(x.points) ** 2),
                    "the dearest": lambda x, y: outer_plan(-outer_cost(x, y, "wasserstein")),
                },
                roundings(300, "a sum of four distances"),
                dimensions=(2, 3),
                size=4,
                many_shapes=True,
            ),
        ),
    )


def _least_cost(one, two):
    cost = np.sum((one[0][:, None] - two[0]) ** 2, axis=-1)
    return least_cost(cost, one[1], two[1])


def _evened(x):
    count = np.sum(x.weights > 0, axis=1, keepdims=True)
    return PointCloud(x.points, np.where(x.weights > 0, 1.0 / count, 0.0))


def wasserstein_plan_is_the_best(plan, draw):
    """Cost of the plan of a batch against the least of all, and its marginals."""
    x = family(draw, draw.size)
    moved = np.roll(np.arange(draw.size), 1)
    y = PointCloud(draw.rounded(x.points[moved] + 0.3 * draw.normal(*x.points.shape)), x.weights)
    cost = pairwise(
        lambda p, q: best_matching(np.sum((p[0][:, None] - q[0]) ** 2, axis=-1))[0] / len(p[0]), x, y
    )
    found = draw.call(plan, x, y)
    marginals = np.abs(np.concatenate([found.sum(axis=0), found.sum(axis=1)]) * draw.size - 1.0)
    least = best_matching(cost)[0] / draw.size
    return worst_of(np.max(marginals), abs(np.sum(found * cost) - least) / np.mean(cost))


# GWFM-107


def gwfm_107() -> Item:
    """Costs of the outer plans."""

    def sliced(x, y, *, rng, n_proj):
        return outer_cost(x, y, "sliced", rng=rng, n_proj=n_proj)

    def lazy(x, y):
        return outer_cost(x, y, "lazy")

    return Item(
        id="GWFM-107",
        paper="GWFM",
        place="appendix C, eq. 107",
        title="costs of the outer plans",
        latex=r"K_{ij}=D(\mu_i,\nu_j),\qquad D\in\{W_2^2,\ SW_2^2,\ LW_2^2,\dots\}",
        statement="Squared divergences between all members of two batches, by the plan's name.",
        functions=(outer_cost,),
        checks=(
            Check(
                "sorted projections on the same random directions",
                sliced_costs_are_of_their_directions,
                sliced,
                {
                    "not squared (caveat C11)": lambda *pair, **options: np.sqrt(sliced(*pair, **options)),
                    "one direction only": lambda x, y, *, rng, n_proj: sliced(x, y, rng=rng, n_proj=1),
                    "times d": lambda *pair, **options: 2.0 * sliced(*pair, **options),
                    "transposed": lambda x, y, **options: sliced(y, x, **options),
                },
                SUMS,
                dimensions=(2, 3),
                size=3,
                many_shapes=True,
            ),
            Check(
                "loops over pairs of clouds, by the name",
                costs_are_by_name,
                outer_cost,
                {
                    "other names": lambda x, y, name: outer_cost(
                        x, y, "chamfer" if name != "chamfer" else "frechet"
                    ),
                    "transposed": lambda x, y, name: np.reshape(outer_cost(x, y, name).T, (3, 2)),
                    "not squared (caveat C11)": lambda x, y, name: np.sqrt(outer_cost(x, y, name)),
                },
                roundings(1e4, "moments of few points, and the tolerance of an exact solver"),
                dimensions=(1, 2),
            ),
            Check(
                "loops over points that have the same index",
                lazy_costs_are_by_index,
                lazy,
                {
                    "not squared (caveat C11)": lambda x, y: np.sqrt(lazy(x, y)),
                    "sum over the points": lambda x, y: N * lazy(x, y),
                    "the order forgotten": lambda x, y: lazy(
                        x, PointCloud(np.sort(y.points, axis=1), y.weights)
                    ),
                },
                roundings(1000, "a difference of squares of numbers of the spread of the families"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
        ),
    )


def sliced_costs_are_of_their_directions(costs, draw):
    """Costs of 3 x 3 pairs along 7 directions, which are drawn again by hand."""
    x, y = family(draw, draw.size), family(draw, draw.size)
    seed = int(draw.rng.integers(2**31))
    found = draw.call(lambda x, y: costs(x, y, rng=np.random.default_rng(seed), n_proj=7), x, y)
    z = np.random.default_rng(seed).standard_normal((7, draw.d))
    theta = draw.rounded(z / np.linalg.norm(z, axis=-1, keepdims=True))
    truth = pairwise(
        lambda p, q: np.mean([(np.sort(p[0] @ way) - np.sort(q[0] @ way)) ** 2 for way in theta]), x, y
    )
    return relative(found[None], truth[None])


def costs_are_by_name(costs, draw):
    """Costs of 3 x 2 pairs of clouds of unequal sizes and weights by three names, relative to the largest."""
    return worst_of(
        *(
            _costs_agree(lambda x, y, name=name: costs(x, y, name), draw, distance)
            for name, distance in (("frechet", frechet), ("chamfer", chamfer), ("wasserstein", _least_cost))
        )
    )


def lazy_costs_are_by_index(costs, draw):
    """Costs of 3 x 2 pairs, relative to the largest."""
    x, y = family(draw, 3), family(draw, 2)
    truth = pairwise(
        lambda p, q: sum(np.sum((a - b) ** 2) for a, b in zip(p[0], q[0], strict=True)) / N, x, y
    )
    return relative(draw.call(costs, x, y)[None], truth[None])
