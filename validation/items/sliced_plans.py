"""Audited plans of sliced transport (GWFM appendix C.4)."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport import quantiles, sliced
from refwfm.transport.plans import Pairs
from refwfm.validation import corners
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, roundings, worst_of
from refwfm.validation.sliced_problems import even, instance, instances, pot_plan


def items() -> list[Item]:
    """Return the only item."""
    return [gwfm_106()]


def gwfm_106() -> Item:
    """Sliced plan."""
    plan = sliced.lifted_plan
    return Item(
        id="GWFM-106",
        paper="GWFM",
        place="appendix C.4, eq. 106",
        title="sliced plan",
        latex=r"\hat\pi^{SW}=\frac1K\sum_k\pi_{\theta_k}",
        statement="The sorted couplings of the projections, lifted to the points and averaged.",
        functions=(
            plan,
            sliced.sorted_permutations,
            sliced.sample_sliced_pairs,
            quantiles.quantile_coupling,
            quantiles.intervals,
            quantiles.meet,
            quantiles.order_and_levels,
            quantiles.atom_at_level,
            quantiles.last_atom,
        ),
        checks=(
            Check(
                "POT, the same directions",
                plan_is_pots,
                plan,
                {
                    "the product": lambda x, y, theta: x.weights[:, None] * y.weights,
                    "one direction": lambda x, y, theta: plan(x, y, theta[:1]),
                    "sorted against each other": lambda x, y, theta: plan(
                        x, PointCloud(-y.points, y.weights), theta
                    ),
                    "summed over directions": lambda x, y, theta: len(theta) * plan(x, y, theta),
                },
                roundings(100, "of masses of at most 1"),
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "padded clouds",
                plan_of_padded_clouds,
                plan,
                {
                    "padding counts": lambda x, y, theta: plan(
                        *(even(PointCloud(np.nan_to_num(c.points), c.weights)) for c in (x, y)), theta
                    ),
                },
                roundings(100, "of masses of at most 1"),
            ),
            Check(
                "permutations, averaged",
                permutations_average_to_the_plan,
                sliced.sorted_permutations,
                {
                    "their inverses": lambda x, y, theta: np.argsort(
                        sliced.sorted_permutations(x, y, theta), axis=-1
                    ),
                    "the order of y": lambda x, y, theta: np.argsort(theta @ y.points.T, axis=-1),
                },
                roundings(100, "of masses of at most 1"),
                needs="ot",
            ),
            Check(
                "frequencies of drawn pairs",
                frequencies_of_pairs,
                sliced.sample_sliced_pairs,
                {
                    "levels drawn for each cloud": _independent_levels,
                    "one direction": lambda x, y, theta, *, rng, size: sliced.sample_sliced_pairs(
                        x, y, theta[:1], rng=rng, size=size
                    ),
                    "without the weights": lambda x, y, theta, *, rng, size: sliced.sample_sliced_pairs(
                        even(x), even(y), theta, rng=rng, size=size
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(2, 3),
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "POT, on the line",
                coupling_on_the_line,
                quantiles.quantile_coupling,
                {
                    "high levels meet low ones": lambda x, a, y, b: quantiles.quantile_coupling(x, a, -y, b),
                    "without the weights": lambda x, a, y, b: quantiles.quantile_coupling(
                        x, np.full(a.shape, 1 / a.shape[-1]), y, b
                    ),
                },
                roundings(100, "of masses of at most 1"),
                dimensions=(1,),
                repeats=4,
                needs="ot",
                many_shapes=True,
            ),
            corners.levels_check(),
            corners.nan_check(),
        ),
    )


def _independent_levels(x, y, theta, *, rng, size):
    first, second = (sliced.sample_sliced_pairs(x, y, theta, rng=rng, size=size) for _ in range(2))
    return Pairs(first.source, second.target)


def plan_is_pots(lifted_plan, draw):
    """Clouds alike, of unequal sizes, of unequal weights."""
    return worst_of(
        *(
            _difference(draw.call(lifted_plan, x, y, theta), pot_plan(x, y, theta))
            for x, y, theta in instances(draw)
        )
    )


def plan_of_padded_clouds(lifted_plan, draw):
    """The plan of the clouds with rows of NaN between: zeros there, the same elsewhere; and its marginals."""
    x, y, theta = instance(draw, 4, 6, weighted=True)
    padded = [
        PointCloud(np.insert(c.points, 2, np.nan, axis=0), np.insert(c.weights, 2, 0.0)) for c in (x, y)
    ]
    result = draw.call(lifted_plan, *padded, theta)
    truth = draw.call(sliced.lifted_plan, x, y, theta)
    marginals = [
        np.max(np.abs(result.sum(axis=axis) - c.weights)) for axis, c in ((1, padded[0]), (0, padded[1]))
    ]
    return worst_of(
        _difference(result, np.insert(np.insert(truth, 2, 0.0, axis=0), 2, 0.0, axis=1)), *marginals
    )


def permutations_average_to_the_plan(sorted_permutations, draw):
    """Clouds alike."""
    x, y, theta = instance(draw, 5, 5, weighted=False)
    perm = draw.call(sorted_permutations, x, y, theta)
    return _difference(np.mean(np.eye(5)[perm], axis=0) / 5, pot_plan(x, y, theta))


def frequencies_of_pairs(sample_pairs, draw):
    """In standard errors of 20000 draws; infinite if a pair is drawn that the plan excludes."""
    x, y, theta = instance(draw, 4, 5, weighted=True, n_proj=3)
    size = 20_000
    pairs = draw.call(sample_pairs, x, y, theta, rng=draw.rng, size=size)
    counts = np.zeros((4, 5))
    np.add.at(counts, (np.asarray(pairs.source), np.asarray(pairs.target)), 1.0)
    plan = pot_plan(x, y, theta)
    if np.any(counts[plan < 1e-6] > 2):
        return np.inf
    spread = np.sqrt(np.maximum(plan * (1.0 - plan), 1e-3) / size)
    return float(np.max(np.abs(counts / size - plan) / spread))


def coupling_on_the_line(quantile_coupling, draw):
    """Its masses, as a matrix."""
    import ot

    x, y, _ = instance(draw, 5, 7, weighted=True)
    truth = ot.emd_1d(x.points[:, 0], y.points[:, 0], x.weights, y.weights, metric="sqeuclidean")
    found = draw.call(quantile_coupling, x.points[:, 0], x.weights, y.points[:, 0], y.weights)
    plan = np.zeros((5, 7))
    np.add.at(plan, (np.asarray(found.row), np.asarray(found.column)), found.mass)
    return _difference(plan, truth)


def _difference(plan, truth):
    """Largest difference of masses."""
    return np.inf if plan.shape != truth.shape else float(np.max(np.abs(plan - truth)))
