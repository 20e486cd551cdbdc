"""Audited formulas of linearised transport (GWFM section 3)."""

import numpy as np

from refwfm.clouds import uniform
from refwfm.transport import linearized
from refwfm.transport.linearized import align, align_to_reference, sq_lazy_distance
from refwfm.transport.reference import FreeSupportBarycenter, free_support_barycenter
from refwfm.validation import corners, stopping
from refwfm.validation.check import EXACT, FIXED_POINT, Check, Item, roundings, worst_of
from refwfm.validation.enumeration import (
    MEANS,
    NEVER_LESS,
    N,
    best_order,
    instance,
    inverse_order,
    sq_distance,
)
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_34(), gwfm_35(), gwfm_36(), gwfm_38(), gwfm_41(), reference()]


# GWFM-34, 35, 36


def gwfm_34() -> Item:
    """Linearised divergence."""
    sq = linearized.sq_linearized_distance
    wrong = {
        "not squared": lambda s, x, y: sq(s, x, y) ** 0.5,
        "summed over points": lambda s, x, y: N * sq(s, x, y),
        "without the reference": lambda s, x, y: sq_lazy_distance(x.points, align(x.points, y)),
        "one side aligned": lambda s, x, y: sq_lazy_distance(x.points, align(s, y)),
        "aligned by inverses": lambda s, x, y: sq_lazy_distance(inverse_order(s, x), inverse_order(s, y)),
    }
    return Item(
        id="GWFM-34",
        paper="GWFM",
        place="section 3, eq. 34",
        title="linearised distance",
        latex=r"LW_2^2(\mu,\nu)=\|T_\sigma^\mu-T_\sigma^\nu\|^2_{L^2(\sigma)}=\tfrac1n\|P_XX-P_YY\|_F^2",
        statement="Both clouds are aligned to a reference; then they are vectors.",
        functions=(sq, linearized.pairwise_sq_linearized_distance),
        checks=(
            Check("both alignments by enumeration", linearised_distance, sq, wrong, MEANS, repeats=1),
            Check(
                "pair after pair",
                linearised_matrix,
                linearized.pairwise_sq_linearized_distance,
                {
                    "not squared": lambda s, x, y: linearized.pairwise_sq_linearized_distance(s, x, y) ** 0.5,
                    "summed over points": lambda s, x, y: (
                        N * linearized.pairwise_sq_linearized_distance(s, x, y)
                    ),
                    "not aligned": lambda s, x, y: linearized.pairwise_sq_lazy_distance(x.points, y.points),
                },
                roundings(1000, "of a difference of squares"),
                dimensions=(1, 3, 6),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "never less than the distance",
                not_less_than_the_distance,
                sq,
                {
                    "half of it": lambda s, x, y: 0.5 * sq(s, x, y),
                    "divided by d + 1": lambda s, x, y: sq(s, x, y) / (s.shape[-1] + 1),
                },
                NEVER_LESS,
            ),
        ),
    )


def linearised_distance(sq_distance, draw):
    """Three pairs in a batch."""
    s, clouds = instance(draw, 6)
    x, y = clouds[:3], clouds[3:]
    truth = [np.sum((best_order(s, a) - best_order(s, b)) ** 2) / N for a, b in zip(x, y, strict=True)]
    return relative(draw.call(sq_distance, s, uniform(x), uniform(y)), np.array(truth))


def linearised_matrix(pairwise, draw):
    """3 × 4 clouds."""
    s, clouds = instance(draw, 7)
    ordered = [best_order(s, x) for x in clouds]
    truth = [[np.sum((a - b) ** 2) / N for b in ordered[3:]] for a in ordered[:3]]
    return relative(draw.call(pairwise, s, uniform(clouds[:3]), uniform(clouds[3:])), np.array(truth))


def not_less_than_the_distance(linearised, draw):
    """Shortfall, relative; the reference is one of the clouds in every other draw, where both are equal."""
    s, (x, y) = instance(draw, 2)
    worst = 0.0
    for reference in (s, x):
        value = float(draw.call(linearised, reference, uniform(x), uniform(y)))
        worst = worst_of(worst, 1.0 - value / sq_distance(x, y))
    return worst


def gwfm_35() -> Item:
    """Distance from the reference, by its alignment."""
    return Item(
        id="GWFM-35",
        paper="GWFM",
        place="section 3, eq. 35",
        title="alignment to the reference",
        latex=r"W_2^2(\sigma,\mu)=\tfrac1n\|S-P_XX\|_F^2",
        statement="The permutation of a cloud that is nearest to the reference is an optimal plan.",
        functions=(align_to_reference,),
        checks=(
            Check(
                "SciPy linear_sum_assignment",
                permutations_are_scipys,
                align_to_reference,
                {
                    "its inverse": lambda s, x: np.argsort(align_to_reference(s, x), axis=-1),
                    "farthest": lambda s, x: align_to_reference(-s, x),
                    "nearest of each atom": lambda s, x: np.argmin(
                        np.sum((s[:, None, :] - x.points[:, None, :, :]) ** 2, axis=-1), axis=-1
                    ),
                },
                roundings(100, "of the cost of the permutation"),
            ),
        ),
    )


def permutations_are_scipys(align_to_reference, draw):
    """Excess of their cost over the least, for 3 clouds of 12 points."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    s, clouds = draw.normal(12, draw.d), draw.normal(3, 12, draw.d)
    worst = 0.0
    for x, perm in zip(clouds, draw.call(align_to_reference, s, uniform(clouds)), strict=True):
        costs = cdist(s, x, "sqeuclidean")
        least = costs[linear_sum_assignment(costs)].sum()
        if sorted(perm) != list(range(12)):
            return np.inf
        worst = worst_of(worst, abs(costs[np.arange(12), perm].sum() / least - 1.0))
    return worst


def gwfm_36() -> Item:
    """The linearised distance from the reference is the distance."""
    sq = linearized.sq_linearized_distance
    return Item(
        id="GWFM-36",
        paper="GWFM",
        place="section 3, eq. 36",
        title="linearised distance from the reference",
        latex=r"W_2^2(\sigma,\nu)=\tfrac1n\|S-P_YY\|_F^2=LW_2^2(\sigma,\nu)",
        statement="Seen from the reference, the linearised distance is the distance.",
        functions=(sq,),
        checks=(
            Check(
                "enumeration",
                distance_from_the_reference,
                sq,
                {
                    "half of it": lambda s, x, y: 0.5 * sq(s, x, y),
                    "summed over points": lambda s, x, y: N * sq(s, x, y),
                    "not aligned": lambda s, x, y: sq_lazy_distance(x.points, y.points),
                    "of another reference": lambda s, x, y: sq(s[::-1] ** 2, x, y),
                },
                MEANS,
            ),
        ),
    )


def distance_from_the_reference(linearised, draw):
    """The reference comes as a cloud whose points are in another order."""
    s, (y, _) = instance(draw, 2)
    shuffled = draw.rng.permutation(s, axis=0)
    value = float(draw.call(linearised, s, uniform(shuffled), uniform(y)))
    return abs(value / sq_distance(s, y) - 1.0)


def gwfm_38() -> Item:
    """Alignment map."""
    return Item(
        id="GWFM-38",
        paper="GWFM",
        place="Corollary 3.2, eq. 38",
        title="alignment map",
        latex=r"\mathrm{al}_S(\nu)=P_YY",
        statement="A cloud as a vector: its points in the order of the reference.",
        functions=(align, linearized.reorder),
        checks=(
            Check(
                "enumeration",
                aligned_points,
                align,
                {
                    "by inverses": inverse_order,
                    "not at all": lambda s, x: x.points,
                    "sorted by a coordinate": lambda s, x: np.take_along_axis(
                        x.points, np.argsort(x.points[..., :1], axis=-2), axis=-2
                    ),
                },
                EXACT,
            ),
            corners.far_alignment_check(),
        ),
    )


def aligned_points(align, draw):
    """Largest difference of the points of 4 clouds: they are copied."""
    s, clouds = instance(draw, 4)
    truth = np.stack([best_order(s, x) for x in clouds])
    result = draw.call(align, s, uniform(clouds))
    return np.inf if result.shape != truth.shape else float(np.max(np.abs(result - truth)))


def gwfm_41() -> Item:
    """Lazy linear divergence."""
    matrix = linearized.pairwise_sq_lazy_distance
    return Item(
        id="GWFM-41",
        paper="GWFM",
        place="section 3, eq. 41",
        title="lazy linear distance",
        latex=r"\tfrac1n\|X-P_YY\|_F^2",
        statement="A source in the order of the reference, targets aligned once: no transport to solve.",
        functions=(sq_lazy_distance, matrix),
        checks=(
            Check(
                "sum over points, one after the other",
                lazy_distance_as_written,
                sq_lazy_distance,
                {
                    "not squared": lambda x, y: sq_lazy_distance(x, y) ** 0.5,
                    "summed over points": lambda x, y: N * sq_lazy_distance(x, y),
                    "mean over coordinates": lambda x, y: sq_lazy_distance(x, y) / x.shape[-1],
                    "squared mean of the distances": lambda x, y: (
                        np.mean(np.linalg.norm(x - y, axis=-1), axis=-1) ** 2
                    ),
                },
                MEANS,
            ),
            Check(
                "never less than the distance",
                lazy_not_less_than_the_distance,
                sq_lazy_distance,
                {
                    "half of it": lambda x, y: 0.5 * sq_lazy_distance(x, y),
                    "distance of the means": lambda x, y: np.sum(
                        (np.mean(x, axis=-2) - np.mean(y, axis=-2)) ** 2, axis=-1
                    ),
                },
                NEVER_LESS,
            ),
            Check(
                "pair after pair",
                lazy_matrix,
                matrix,
                {
                    "not squared": lambda x, y: matrix(x, y) ** 0.5,
                    "summed over points": lambda x, y: N * matrix(x, y),
                    "cross term once": lambda x, y: 0.5 * (matrix(x, y) + matrix(x, -y)),
                    "the other way round": lambda x, y: matrix(y, x),
                },
                roundings(1000, "of a difference of squares"),
            ),
        ),
    )


def _mean_of_squares(x, y):
    return sum(float(np.dot(a - b, a - b)) for a, b in zip(x, y, strict=True)) / len(x)


def lazy_distance_as_written(lazy, draw):
    """Three pairs in a batch."""
    x, y = draw.normal(3, N, draw.d), draw.normal(3, N, draw.d)
    return relative(draw.call(lazy, x, y), np.array(list(map(_mean_of_squares, x, y))))


def lazy_not_less_than_the_distance(lazy, draw):
    """Shortfall, relative: for a random source, and for one whose alignment is the best."""
    s, (x, y) = instance(draw, 2)
    return worst_of(*(1.0 - float(draw.call(lazy, z, best_order(s, y))) / sq_distance(z, y) for z in (s, x)))


def lazy_matrix(pairwise, draw):
    """3 × 4 vectors."""
    x, y = draw.normal(3, N, draw.d), draw.normal(4, N, draw.d)
    return relative(draw.call(pairwise, x, y), np.array([[_mean_of_squares(a, b) for b in y] for a in x]))


# The reference


def reference() -> Item:
    """Free-support barycenter."""
    solve = free_support_barycenter
    mean = "mean without alignment"
    wrong = {
        mean: lambda clouds, init: _at(clouds, np.mean(clouds.points, axis=0)),
        "the start": _at,
        "one step": lambda clouds, init: solve(clouds, init=init, max_iter=1, require=False),
        "sum of the members": lambda clouds, init: _at(clouds, 4.0 * solve(clouds, init=init).points),
    }

    def ours(clouds, init):
        return solve(clouds, init=init, tol=0.0)

    return Item(
        id="GWFM-REF",
        paper="GWFM",
        place="section 3",
        title="reference: free-support barycenter",
        latex=r"S\leftarrow\frac1M\sum_kP_{X_k}X_k",
        statement="Alignment and mean in turns; the mean squared distance to the members never grows.",
        functions=(solve,),
        checks=(
            Check(
                "POT from the same start",
                barycenter_is_pots,
                ours,
                wrong,
                FIXED_POINT,
                dimensions=(2, 3, 6),
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "fixed point, by enumeration",
                barycenter_is_a_fixed_point,
                ours,
                wrong,
                roundings(100, "means of a few squares"),
                dimensions=(2, 3),
            ),
            Check(
                "evidence, from the objectives",
                evidence_is_of_the_objectives,
                _one_step,
                {"share of the last": _share_of_the_last},
                roundings(10, "one quotient"),
            ),
            stopping.barycenter_check(),
        ),
    )


def _one_step(clouds, init):
    return free_support_barycenter(clouds, init=init, max_iter=1, require=False)


def _share_of_the_last(clouds, init):
    found = _one_step(clouds, init)
    return found._replace(residual=found.objective[0] / found.objective[1] - 1.0)


def evidence_is_of_the_objectives(step, draw):
    """Of one iteration: the share by which it lowered the objective, and its number."""
    found = draw.call(step, uniform(draw.normal(4, N, draw.d)), 3.0 * draw.normal(N, draw.d))
    share = 1.0 - found.objective[1] / found.objective[0]
    return worst_of(abs(found.residual - share) / share, abs(found.n_iter - 1.0))


def _at(clouds, points):
    permutation = align_to_reference(points, clouds)
    value = float(np.mean(sq_lazy_distance(points, align(points, clouds))))
    return FreeSupportBarycenter(points, permutation, (value,), 0, 0.0, True)


def barycenter_is_pots(free_support_barycenter, draw):
    """Objectives at both barycenters of 6 clouds of 10 points, evaluated by POT, relative."""
    import ot

    clouds, init = draw.normal(6, 10, draw.d), draw.normal(10, draw.d)
    weights = [np.full(10, 0.1)] * 6
    peer = ot.lp.free_support_barycenter(list(clouds), weights, init, numItermax=300, stopThr=1e-24)
    found = draw.call(free_support_barycenter, uniform(clouds), init)
    value, truth = (
        np.mean([ot.emd2([], [], ot.dist(points, x)) for x in clouds]) for points in (found.points, peer)
    )
    return worst_of(abs(value / truth - 1.0), abs(found.objective[-1] / truth - 1.0))


def barycenter_is_a_fixed_point(free_support_barycenter, draw):
    """Distance from the mean of the members aligned to it; the objective at it, and that it never grew."""
    clouds, init = draw.normal(4, N, draw.d), 3.0 * draw.normal(N, draw.d)
    found = draw.call(free_support_barycenter, uniform(clouds), init)
    again = np.mean([best_order(found.points, x) for x in clouds], axis=0)
    value = np.mean([sq_distance(found.points, x) for x in clouds])
    growth = float(np.max(np.diff(found.objective), initial=0.0)) / found.objective[0]
    moved = float(np.max(np.abs(again - found.points)))
    return worst_of(moved, abs(found.objective[-1] / value - 1.0), growth)
