"""Audited metrics between families of point clouds: 1-NN accuracy, coverage, matching, labels."""

from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from refwfm.measures import PointCloud
from refwfm.metrics.distances import compare_families, pairwise_chamfer
from refwfm.metrics.neighbours import Neighbours, one_nn_accuracy_emd
from refwfm.metrics.statistics import (
    FamilyDistances,
    coverage,
    covered,
    k_nearest,
    label_accuracy,
    minimum_matching_distance,
    one_nn_accuracy,
    same_family,
)
from refwfm.validation import copying
from refwfm.validation.check import EXACT, Check, Item, roundings, worst_of
from refwfm.validation.cloud_problems import pot_matrix


def items() -> list[Item]:
    """Return the items in the order in which they build on one another."""
    return [one_nn(), coverage_and_matching(), copying.item()]


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
                many_shapes=True,
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
                    "sample and reference swapped": lambda generated, reference, rng, **_: (
                        one_nn_accuracy_emd(generated=reference, reference=generated, squared=True, rng=rng)
                    ),
                    "by Chamfer": lambda generated, reference, rng, **_: one_nn_accuracy(
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
    return float(worst_of(np.max(np.abs(low)), np.max(np.abs(high - 1.0))))


def emd_accuracy_is_that_of_all(one_nn_accuracy_emd, draw):
    """Six clouds, narrower, and nine, of which neighbours are found, or known from all distances."""
    x = PointCloud(0.7 * draw.normal(6, 7, draw.d), np.full((6, 7), 1 / 7))
    y = PointCloud(draw.normal(9, 5, draw.d), np.full((9, 5), 1 / 5))
    distances = FamilyDistances(*(pot_matrix(p, q, "sqeuclidean") for p, q in ((x, x), (x, y), (y, y))))
    others = np.where(np.eye(9, dtype=bool), np.inf, distances.reference)
    known = Neighbours(np.argmin(others, axis=1), np.min(others, axis=1), n_pairs=36, n_dual=0, n_exact=36)
    found = [
        draw.call(function, generated=x, reference=y, rng=np.random.default_rng(0))
        for function in (one_nn_accuracy_emd, partial(one_nn_accuracy_emd, among_reference=known))
    ]
    return float(np.max(np.abs(np.array(found) - _plain_accuracy(distances))))


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
        functions=(coverage, covered, minimum_matching_distance, k_nearest, label_accuracy),
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
                "set of the nearest, counted",
                covered_is_a_set,
                covered,
                {
                    "of the generated": lambda member, reference, dtype: len(set(member)) / len(member),
                    "with repetitions": lambda member, reference, dtype: len(member) / reference,
                },
                roundings(10, "a share of counts"),
                dimensions=(2,),
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


def covered_is_a_set(covered, draw):
    """Size of the set of ten neighbours, of which there are repetitions, among seven."""
    member = draw.rng.integers(0, 7, 10)
    found = draw.call(
        lambda like, index: covered(index, reference=7, dtype=like.dtype), draw.normal(1), member
    )
    return abs(float(found) - len(set(member.tolist())) / 7)


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
