"""Checks of plans on what ordinary inputs leave out: padding, NaN, large exponents, mixed batches."""

from contextlib import contextmanager

import numpy as np
from scipy.special import softmax

from refwfm.measures import PointCloud
from refwfm.transport import plans, quantiles, sliced, stability
from refwfm.transport.entropic import entropic_map
from refwfm.transport.linearized import align_to_reference
from refwfm.transport.problem import cost_scale
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.extremes import refused
from refwfm.validation.sliced_problems import directions, pot_cost
from refwfm.validation.textbook import relative

# Quantiles


def levels_check():
    """Levels of several measures of different kinds."""
    ours = quantiles.order_and_levels
    return Check(
        "fractions: equal and unequal weights beside one another",
        levels_of_all_kinds,
        ours,
        {
            "sums": lambda position, weights: (
                np.argsort(position),
                np.cumsum(np.take_along_axis(weights, np.argsort(position), axis=-1), axis=-1),
            ),
            "equal all": lambda position, weights: ours(position, np.full_like(weights, 1.0 / 7.0)),
        },
        roundings(2, "sums of seven weights; of equal ones and of the whole no digit is lost"),
        dimensions=(1,),
        repeats=8,
        everywhere=False,  # compiled divisions have a last digit of their own
    )


def levels_of_all_kinds(levels, draw):
    """Largest error; infinite if equal weights or the last level are not exact."""
    position = draw.normal(3, 7)
    weights = np.stack([draw.weights(7), np.full(7, draw.rounded(1.0 / 7.0)), draw.weights(7)])
    weights[2] = draw.rounded(weights[2] * (1.0 + 2e-7))
    order, found = draw.call(levels, position, weights)
    sums = np.cumsum(np.take_along_axis(weights, np.argsort(position), axis=-1), axis=-1)
    exact = np.array_equal(found[1], draw.rounded(np.arange(1, 8) / 7.0)) and np.all(found[:, -1] == 1.0)
    same = np.array_equal(order, np.argsort(position))
    return float(np.max(np.abs(found - sums / sums[:, -1:]))) if exact and same else np.inf


def nan_check():
    """Measures on the line of which one has NaN."""
    return Check(
        "NaN in one member",
        nan_stays_where_it_is,
        lambda position, weights: quantiles.sort_measure(position, weights).position,
        {
            "sorted to the end": lambda position, weights: np.sort(position, axis=-1),
            "NaN in all": lambda position, weights: np.sort(position, axis=-1) * np.nan,
        },
        EXACT,
        dimensions=(1,),
        everywhere=False,
    )


def nan_stays_where_it_is(positions, draw):
    """Number of wrong positions: all NaN in the second member, sorted in the others."""
    position, weights = draw.normal(3, 5), np.full((3, 5), 0.2)
    truth = np.sort(position, axis=-1)
    position[1, 2] = truth[1] = np.nan
    found = np.asarray(positions(position, weights))
    return float(np.sum(~((found == truth) | (np.isnan(found) & np.isnan(truth)))))


# Sliced


def pairwise_powers_check():
    """Sliced costs of all pairs, other powers."""
    costs = sliced.pairwise_sliced_cost
    return Check(
        "POT, pair after pair, powers 1 and 3",
        powers_of_pairs_are_pots,
        costs,
        {
            "always squared": lambda x, y, theta, *, p: costs(x, y, theta, p=2.0),
            "families exchanged": lambda x, y, theta, *, p: costs(y, x, theta, p=p),
        },
        roundings(1000, "sums over two directions, relative to the largest cost"),
        dimensions=(2,),
        repeats=1,
        needs="ot",
        many_shapes=True,
    )


def powers_of_pairs_are_pots(costs, draw):
    """Nine clouds of one point and one such cloud, and 2 × 3 clouds of three points."""
    worst = 0.0
    for count, other, n, n_proj in ((9, 1, 1, 1), (2, 3, 3, 2)):
        x, y = (
            PointCloud(draw.normal(k, n, draw.d), draw.rounded(np.full((k, n), 1.0 / n)))
            for k in (count, other)
        )
        theta = directions(draw, n_proj)
        one = np.full(n, 1.0 / n)
        for p in (1, 3):
            truth = [
                [pot_cost(PointCloud(u, one), PointCloud(v, one), theta, p) for v in y.points]
                for u in x.points
            ]
            found = draw.call(costs, x, y, theta, p=float(p))
            worst = worst_of(worst, relative(found[None], np.asarray(truth)[None]))
    return worst


class _Scripted:
    """Generator whose normal numbers are given."""

    def __init__(self, *parts):
        self.parts = list(parts)

    def standard_normal(self, shape):
        """Return the next of the given numbers, which must have this shape."""
        part = self.parts.pop(0)
        if part.shape != tuple(shape):
            raise ValueError(f"drew {shape}, not {part.shape}")
        return part


def scripted_directions_check():
    """Directions from numbers that are known, some of them zeros."""
    ours = sliced.random_directions
    return Check(
        "numbers drawn that are known, some of them zeros",
        directions_are_of_the_numbers,
        ours,
        {
            "the sign": lambda points, *, rng, n_proj: -ours(points, rng=rng, n_proj=n_proj),
            "zeros taken": lambda points, *, rng, n_proj: rng.standard_normal((n_proj, points.shape[-1])),
        },
        roundings(10, "one quotient"),
        dimensions=(2, 3),
        everywhere=False,
    )


def directions_are_of_the_numbers(random_directions, draw):
    """Difference from the numbers over their norm; what is all zeros is drawn anew, one zero is not."""
    z = draw.normal(4, draw.d)
    z[1], z[2, 0] = 0.0, 0.0
    again = draw.normal(1, draw.d)
    found = random_directions(np.zeros((1, draw.d)), rng=_Scripted(z.copy(), again), n_proj=4)
    z[1] = again[0]
    return relative(np.asarray(found), z / np.linalg.norm(z, axis=-1, keepdims=True))


# Plans


@contextmanager
def _without_the_sequential_algorithm():
    """Make the algorithm that takes over where proposals take too long raise."""
    kept = plans.greedy_rounding_sequential

    def refuse(log_plan):
        raise RuntimeError("proposals did not find the matching")

    plans.greedy_rounding_sequential = refuse
    try:
        yield
    finally:
        plans.greedy_rounding_sequential = kept


def proposals_check():
    """Rounding by proposals alone."""
    return Check(
        "entry after entry, by proposals alone",
        proposals_find_the_matching,
        plans.greedy_rounding,
        {
            "likeliest partner of each row": plans.argmax_matching,
            "smallest first": lambda log_plan: plans.greedy_rounding(-log_plan),
        },
        EXACT,
        dimensions=(6, 12),
        repeats=3,
        everywhere=False,
    )


def proposals_find_the_matching(rounding, draw):
    """Rows matched differently, of random plans, some entries of which are equal."""
    log_plan = np.round(3.0 * draw.normal(draw.size, draw.d, draw.d), 1)
    truth = np.zeros(log_plan.shape[:-1], dtype=int)
    for member, entries in enumerate(log_plan):
        free = [set(range(draw.d)), set(range(draw.d))]
        for k in np.argsort(-entries.ravel(), kind="stable"):
            i, j = divmod(int(k), draw.d)
            if i in free[0] and j in free[1]:
                truth[member, i] = j
                free[0].remove(i)
                free[1].remove(j)
    with _without_the_sequential_algorithm():
        return float(np.count_nonzero(np.asarray(rounding(log_plan)) != truth))


def permutation_check():
    """Pairs drawn once each, from a permutation of some atoms."""
    sample = plans.sample_pairs
    return Check(
        "counted: atoms without mass, and plans that are no permutations",
        pairs_of_some_atoms,
        lambda plan, n, *, rng: sample(plan, n, rng=rng, replace=False),
        {
            "with replacement": lambda plan, n, *, rng: sample(plan, n, rng=rng),
            "any rows": lambda plan, n, *, rng: plans.Pairs(*rng.integers(plan.shape[-1], size=(2, n))),
        },
        EXACT,
        dimensions=(4, 9),
        everywhere=False,
    )


def pairs_of_some_atoms(sample, draw):
    """Number of atoms drawn that are none, or twice, and of plans that are not refused."""
    live = np.sort(draw.rng.permutation(draw.d + 4)[: draw.d])
    plan = np.zeros((draw.d + 4, draw.d + 4))
    plan[live, draw.rng.permutation(live)] = 1.0 / draw.d
    source, target = (np.asarray(part) for part in sample(plan, draw.d, rng=draw.rng))
    wrong = np.sum(np.sort(source) != live) + np.sum(plan[source, target] == 0)
    uneven = np.diag([0.4, 0.6])
    twice = np.asarray([[0.5, 0.0], [0.5, 0.0]])
    for bad in (uneven, twice, twice.T):
        wrong += not refused(lambda bad=bad: sample(bad, 1, rng=draw.rng))
    return float(wrong)


# Entropic transport


def cold_map_check():
    """Entropic map where all exponents are large."""
    return Check(
        "SciPy softmax, exponents of thousands",
        cold_map_is_the_softmax,
        entropic_map,
        {
            "moved points": lambda p, y, b, g, *, eps: entropic_map(p + 1.0, y, b, g, eps=eps),
            "without the potential": lambda p, y, b, g, *, eps: entropic_map(p, y, b, 0.0 * g, eps=eps),
            "mean of all": lambda p, y, b, g, *, eps: np.zeros_like(p) + b @ y,
        },
        roundings(1e5, "exponents round by a machine epsilon of their size"),
        dimensions=(1, 3),
    )


def cold_map_is_the_softmax(entropic_map, draw):
    """Relative to the largest coordinate."""
    points, y, b, g = draw.normal(4, draw.d), draw.normal(5, draw.d), draw.weights(5), draw.normal(5)
    eps = float(draw.rounded(1e-3))
    sq = np.sum((points[:, None] - y) ** 2, axis=-1)
    truth = softmax((g - 9.0 - sq) / eps + np.log(b), axis=-1) @ y
    return relative(draw.call(entropic_map, points, y, b, g - 9.0, eps=eps)[None], truth[None])


def nan_scale_check():
    """Scale of a cost with NaN."""

    def scales(cost, a, b):
        return np.stack([cost_scale(cost, a, b, name) for name in ("max", "mean", "median")])

    return Check(
        "NaN in one member",
        nan_scale_stays,
        scales,
        {
            "NaN left out": lambda cost, a, b: scales(np.nan_to_num(cost), a, b),
            "NaN in all": lambda cost, a, b: np.nan * scales(cost, a, b),
        },
        EXACT,
        dimensions=(1,),
        everywhere=False,
    )


def nan_scale_stays(scales, draw):
    """Number of scales that are NaN and should not be, or the reverse."""
    cost, a = draw.rng.random((3, 4, 4)), np.full(4, 0.25)
    cost[1, 2, 2] = np.nan
    return float(np.sum(np.isnan(scales(cost, a, a)) != np.asarray([False, True, False])))


# Alignment


def far_alignment_check():
    """Alignment of clouds far from their reference."""
    return Check(
        "moved by 2²⁴ in float32's units, and back",
        alignment_stays,
        align_to_reference,
        {
            "as they come": lambda s, x: np.tile(np.arange(s.shape[-2]), (*x.weights.shape[:-1], 1)),
            "of sums": lambda s, x: align_to_reference(-s, x),
        },
        EXACT,
        dimensions=(2, 3),
        many_shapes=True,
    )


def alignment_stays(align, draw):
    """Atoms whose place changes when a cloud of numbers that stay exact is moved far away."""
    s, x = (np.round(64.0 * draw.normal(*shape, 7, draw.d)) / 64.0 for shape in ((), (2,)))
    far = 2.0 ** (16 if draw.dtype == "float32" else 40)
    weights = draw.rounded(np.full((2, 7), 1.0 / 7.0))
    near = draw.call(align_to_reference, s, PointCloud(x, weights))
    moved = draw.call(align, s - far, PointCloud(x + far, weights))
    return float(np.count_nonzero(np.asarray(near) != np.asarray(moved)))


def radius_check():
    """Radii that the report of a reference compares the noise with."""
    report = stability.laziness_report
    return Check(
        "radii as they are, and beyond what is enumerated their bounds",
        radii_of_the_report,
        report,
        {
            "always the bound": lambda s, clouds, **options: report(s, clouds, **options)._replace(
                radius=np.zeros(3)
            ),
            "twice": lambda s, clouds, **options: report(s, clouds, **options)._replace(
                radius=2.0 * report(s, clouds, **options).radius
            ),
        },
        roundings(1000, "differences of costs"),
        dimensions=(2,),
        everywhere=False,
    )


def radii_of_the_report(report, draw):
    """Relative error for 4 points; infinite where 8 have another radius than their bound."""
    worst = 0.0
    for n, radius in ((4, stability.stability_radius), (8, stability.stability_radius_bound)):
        s, x = draw.rng.standard_normal((2, n, draw.d))
        cloud = PointCloud(x, np.full(n, 1.0 / n))
        clouds = PointCloud(x[None], cloud.weights[None])
        found = report(s, clouds, sigma=0.1, rng=np.random.default_rng(0), size=3)
        worst = worst_of(worst, float(np.max(np.abs(found.radius / radius(s, cloud) - 1.0))))
    return worst
