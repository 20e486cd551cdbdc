"""Audited inner plans that are maps: where each point goes (GWFM section 3, C.5)."""

import numpy as np

from refwfm.clouds import in_order
from refwfm.couplings.inner import couple
from refwfm.measures import PointCloud
from refwfm.transport.linearized import align
from refwfm.validation import far, network_corners, refusals
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.cloud_problems import best_matching, family, optimal_plan, paired, solve, textbook_plan
from refwfm.validation.enumeration import best_order, instance
from refwfm.validation.families import sq_costs
from refwfm.validation.textbook import each, relative


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [gwfm_27(), gwfm_c5()]


def _images(inner):
    return lambda x, y: paired(x, y, inner).y


# GWFM-27


def gwfm_27() -> Item:
    """Inner plans that are maps."""
    return Item(
        id="GWFM-27",
        paper="GWFM",
        place="section 3, eq. 27; WFM Algorithm 1",
        title="inner plans that are maps",
        latex=r"Y_i=\hat T(X_i),\qquad X_t=(1-t)\,X+t\,Y",
        statement="Every source point once, with its image: the best assignment, or the entropic map.",
        functions=(couple, in_order),
        checks=(
            Check(
                "all permutations",
                images_are_of_the_best_assignment,
                _images("exact"),
                {
                    "as they come": lambda x, y: y.points,
                    "the inverse permutation": _inverse_images,
                    "each to its nearest": lambda x, y: each(
                        lambda p, q: q[np.argmin(sq_costs(p, q), axis=1)], x.points, y.points
                    ),
                    "entropic map": _images("entropic"),
                },
                roundings(30, "points are carried over as they are"),
                dimensions=(2, 3),
            ),
            far.alike_check(),
            refusals.gradient_check(),
            Check(
                "Sinkhorn in the kernel domain",
                images_are_of_the_entropic_map,
                _images("entropic"),
                {
                    "exact assignment": lambda x, y: paired(x, _cut(y), "exact").y,
                    "half of eps": lambda x, y: (
                        couple(
                            x,
                            y,
                            "entropic",
                            rng=None,
                            solve=lambda cost, a, b: solve(cost, a, b)._replace(
                                eps=0.5 * solve(cost, a, b).eps
                            ),
                        ).y
                    ),
                    "mean of the targets": lambda x, y: np.broadcast_to(
                        np.sum(y.weights[..., None] * y.points, axis=1, keepdims=True), x.points.shape
                    ),
                },
                roundings(1e4, "100 iterations"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "Sinkhorn in the kernel domain, largest entries one after the other",
                images_are_of_the_greedy_rounding,
                _images("rounded"),
                {
                    "likeliest targets": _images("argmax"),
                    "the inverse permutation": _inverse_rounding,
                    "entropic map": _images("entropic"),
                },
                roundings(30, "points are carried over as they are"),
                dimensions=(1, 2),
                repeats=4,
                many_shapes=True,
            ),
            Check(
                "Sinkhorn in the kernel domain, largest entries of the rows",
                images_are_the_likeliest,
                _images("argmax"),
                {
                    "each to its nearest": lambda x, y: each(
                        lambda p, q: q[np.argmin(sq_costs(p, q), axis=1)], x.points, y.points
                    ),
                    "entropic map": _images("entropic"),
                },
                roundings(30, "points are carried over as they are"),
                dimensions=(1, 2),
                repeats=4,
            ),
            Check(
                "HiGHS, clouds of unequal sizes",
                images_are_the_means_of_the_optimal_plan,
                _images("exact"),
                {
                    "entropic map": _images("entropic"),
                    "likeliest targets": _images("argmax"),
                    "without the weights": lambda x, y: paired(x, _evened(y), "exact").y,
                },
                roundings(1e4, "the solver's tolerance beside rounding"),
                dimensions=(1, 2, 3),
            ),
            network_corners.evidence_check(),
        ),
    )


def _cut(y):
    return PointCloud(y.points[:, :4], np.full((len(y.points), 4), 0.25))


def _evened(y):
    return PointCloud(y.points, np.full(y.weights.shape, 1.0 / y.weights.shape[1]))


def _inverse_images(x, y):
    return each(lambda p, q: q[np.argsort(best_matching(sq_costs(p, q))[1])], x.points, y.points)


def images_are_of_the_best_assignment(images, draw):
    """Images of clouds of 4 points."""
    x, y = family(draw, draw.size), family(draw, draw.size)
    truth = each(lambda p, q: q[best_matching(sq_costs(p, q))[1]], x.points, y.points)
    return relative(draw.call(images, x, y), truth)


def images_are_of_the_entropic_map(images, draw):
    """Images of clouds of 4 points in clouds of 5 with weights."""
    x, y = family(draw, draw.size), family(draw, draw.size, sizes=(5,), weighted=True)

    def mean_target(p, q, a, b):
        plan = textbook_plan(p, q, a, b / b.sum())
        return plan @ q / np.sum(plan, axis=1, keepdims=True)

    truth = each(mean_target, x.points, y.points, x.weights, y.weights)
    return relative(draw.call(images, x, y), truth)


def _greedy_order(p, q):
    """Row by row the column of the largest entries of the plan, each taken out with its row and column."""
    rest = textbook_plan(p, q, *(np.full(len(cloud), 1.0 / len(cloud)) for cloud in (p, q)))
    order = np.zeros(len(p), dtype=int)
    for _ in p:
        i, j = np.unravel_index(np.argmax(rest), rest.shape)
        order[i] = j
        rest[i], rest[:, j] = -1.0, -1.0
    return order


def _inverse_rounding(x, y):
    return each(lambda p, q: q[np.argsort(_greedy_order(p, q))], x.points, y.points)


def images_are_of_the_greedy_rounding(images, draw):
    """Images of clouds of 4 points."""
    x, y = family(draw, draw.size), family(draw, draw.size)
    truth = each(lambda p, q: q[_greedy_order(p, q)], x.points, y.points)
    return relative(draw.call(images, x, y), truth)


def images_are_the_likeliest(images, draw):
    """Images of clouds of 4 points in clouds of 5 with weights."""
    x, y = family(draw, draw.size), family(draw, draw.size, sizes=(5,), weighted=True)

    def likeliest(p, q, a, b):
        return q[np.argmax(textbook_plan(p, q, a, b / b.sum()), axis=1)]

    truth = each(likeliest, x.points, y.points, x.weights, y.weights)
    return relative(draw.call(images, x, y), truth)


def images_are_the_means_of_the_optimal_plan(images, draw):
    """Images of clouds of 4 points in clouds of 5 with weights."""
    x, y = family(draw, draw.size), family(draw, draw.size, sizes=(5,), weighted=True)

    def mean_target(p, q, a, b):
        return optimal_plan(sq_costs(p, q), a, b / b.sum()) @ q / a[:, None]

    truth = each(mean_target, x.points, y.points, x.weights, y.weights)
    return relative(draw.call(images, x, y), truth)


# C.5


def gwfm_c5() -> Item:
    """Lazy and linear inner plans."""
    return Item(
        id="GWFM-C5",
        paper="GWFM",
        place="section 3, eqs. 34, 41; appendix C.5",
        title="linear and lazy inner plans",
        latex=r"X_i\mapsto(P_YY)_i,\qquad (P_XX)_i\mapsto(P_YY)_i",
        statement="Points of clouds that are in the order of one reference go by their index.",
        functions=(couple, in_order),
        checks=(
            Check(
                "all permutations",
                images_are_by_the_reference,
                lambda s, x, y: _by_reference(s, x, y, "linear"),
                {
                    "sources as they come": lambda s, x, y: _by_reference(s, x, y, "linear", first=False),
                    "targets as they come": lambda s, x, y: _by_reference(s, x, y, "linear", second=False),
                    "optimal plan": lambda s, x, y: _by_reference(s, x, y, "exact"),
                    "shifted by one": lambda s, x, y: (x.points, np.roll(y.points, 1, axis=1)),
                },
                roundings(30, "points are carried over as they are"),
                dimensions=(2, 3),
                size=6,
            ),
        ),
    )


def _by_reference(s, x, y, inner, first=True, second=True):
    x, y = (
        PointCloud(align(s, cloud), cloud.weights) if aligned else cloud
        for cloud, aligned in ((x, first), (y, second))
    )
    moved = couple(x, y, inner, rng=None, solve=solve)
    return moved.x, moved.y


def images_are_by_the_reference(pairs, draw):
    """Sources and targets in the order that the best of all permutations gives them."""
    s, clouds = instance(draw, draw.size)
    half = draw.size // 2
    weights = np.full(clouds.shape[:2], 1.0 / len(s))
    x, y = PointCloud(clouds[:half], weights[:half]), PointCloud(clouds[half:], weights[half:])
    found = draw.call(pairs, s, x, y)
    truth = [np.stack([best_order(s, cloud) for cloud in part.points]) for part in (x, y)]
    return worst_of(relative(found[0], truth[0]), relative(found[1], truth[1]))
