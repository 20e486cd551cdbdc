"""Chamfer and earth mover's distances of clouds of any sizes, and the statistics made of them."""

import warnings
from functools import partial

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS
from scipy.spatial.distance import cdist

from refwfm.clouds import check_cloud, pad, uniform, unpad
from refwfm.couplings.costs import COSTS, outer_cost
from refwfm.measures import PointCloud, take
from refwfm.metrics.distances import chamfer, compare_families, pairwise_chamfer, pairwise_emd
from refwfm.metrics.statistics import (
    FamilyDistances,
    coverage,
    k_nearest,
    label_accuracy,
    minimum_matching_distance,
    one_nn_accuracy,
)
from refwfm.transport.exact import sq_wasserstein2

SQUARED = pytest.mark.parametrize("squared", [True, False])


def textbook_chamfer(x, y, a=None, b=None, squared=True):
    """One pair, by the matrix of all distances."""
    cost = cdist(x, y, "sqeuclidean" if squared else "euclidean")
    return np.average(cost.min(axis=1), weights=a) + np.average(cost.min(axis=0), weights=b)


def pot_emd(x, y, a=None, b=None, squared=True):
    """One pair, by POT's network simplex on the whole problem."""
    ot = pytest.importorskip("ot")
    cost = cdist(x, y, "sqeuclidean" if squared else "euclidean")
    a, b = ((np.full(len(z), 1 / len(z)) if w is None else w) for z, w in ((x, a), (y, b)))
    return ot.emd2(a, b, cost)


def family(rng, counts, d=3, weighted=False, scale=1.0):
    clouds = [scale * rng.standard_normal((n, d)) for n in counts]
    return pad(clouds, weights=[rng.dirichlet(np.ones(n)) for n in counts] if weighted else None, size=9)


def with_garbage(cloud, fill=np.nan):
    """The same measures; what padding holds is ``fill``."""
    return PointCloud(np.where((cloud.weights > 0)[..., None], cloud.points, fill), cloud.weights)


def shuffled(rng, cloud):
    order = rng.permuted(np.tile(np.arange(cloud.weights.shape[-1]), (len(cloud.weights), 1)), axis=1)
    return PointCloud(
        np.take_along_axis(cloud.points, order[..., None], axis=1),
        np.take_along_axis(cloud.weights, order, axis=1),
    )


# Chamfer of one pair


@SQUARED
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), strategies.seeds)
def test_chamfer_is_the_textbooks(squared, n, m, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    result = chamfer(PointCloud(x, a), PointCloud(y, b), squared=squared)
    np.testing.assert_allclose(result, textbook_chamfer(x, y, a, b, squared), rtol=1e-13)


def test_chamfer_by_hand():
    """From {0, 3} to {1}: (1 + 4) / 2; back: 1."""
    x, y = uniform(np.array([[0.0], [3.0]])), uniform(np.array([[1.0]]))
    assert chamfer(x, y) == 3.5
    assert chamfer(x, y, squared=False) == 2.5
    one_direction, sums = 2.5, 5.0 + 1.0
    assert chamfer(x, y) not in (one_direction, sums, 3.5 / 2)


def test_chamfer_of_a_copy_is_zero_far_from_the_origin(rng):
    for dtype, far in (("float64", 1e6), ("float32", 1e3)):
        x = (far + rng.standard_normal((20, 3))).astype(dtype)
        assert chamfer(uniform(x), uniform(x[::-1])) == 0.0
        moved = x + np.asarray(0.0625, dtype)  # exactly representable
        truth = textbook_chamfer(x.astype(float), moved.astype(float))
        np.testing.assert_allclose(chamfer(uniform(x), uniform(moved)), truth, rtol=1e-4)


def test_padding_never_leaks(rng):
    x, y = family(rng, [2, 5, 9]), family(rng, [4, 1, 7], weighted=True)
    plain = chamfer(x, y)
    for fill in (np.nan, np.inf, 0.0, x.points[0, 0, 0]):
        np.testing.assert_array_equal(chamfer(with_garbage(x, fill), with_garbage(y, fill)), plain)
    for i, (p, q) in enumerate(zip(unpad(x), unpad(y), strict=True)):
        weights = y.weights[i][y.weights[i] > 0]
        np.testing.assert_allclose(plain[i], textbook_chamfer(p, q, None, weights), rtol=1e-13)


def test_chamfer_broadcasts(rng):
    x, y = rng.standard_normal((3, 1, 5, 2)), rng.standard_normal((4, 6, 2))
    result = chamfer(uniform(x), uniform(y))
    assert result.shape == (3, 4)
    np.testing.assert_allclose(result[2, 1], textbook_chamfer(x[2, 0], y[1]), rtol=1e-13)


def test_chamfer_on_every_library(library, rng):
    for shape in library.batches:
        x = PointCloud(rng.normal(size=(*shape, 5, 2)), np.broadcast_to([0.25] * 4 + [0.0], (*shape, 5)))
        y = uniform(rng.normal(size=(*shape, 3, 2)))
        library.check(chamfer, x, y, ulps=100)
        library.check(partial(chamfer, squared=False), x, y, ulps=100)


# Matrices


@SQUARED
@pytest.mark.parametrize("weighted", [False, True])
def test_matrices_are_those_of_single_pairs(squared, weighted, rng):
    xs, ys = family(rng, [3, 1, 6], weighted=weighted), family(rng, [3, 5], weighted=weighted)
    for distance, truth in ((pairwise_chamfer, textbook_chamfer), (pairwise_emd, pot_emd)):
        expected = [
            [truth(x, y, a[a > 0], b[b > 0], squared) for y, b in zip(unpad(ys), ys.weights, strict=True)]
            for x, a in zip(unpad(xs), xs.weights, strict=True)
        ]
        result = distance(xs, ys, squared=squared)
        np.testing.assert_allclose(result, expected, rtol=1e-9)
        np.testing.assert_array_equal(distance(with_garbage(xs), with_garbage(ys), squared=squared), result)


@SQUARED
def test_assignments_of_many_points(squared, rng):
    """Large enough for potentials and blocks."""
    xs = uniform(rng.uniform(size=(3, 130, 2)))
    matrix = pairwise_emd(xs, squared=squared)
    for i, j in ((1, 0), (2, 0), (2, 1)):
        np.testing.assert_allclose(
            matrix[i, j], pot_emd(xs.points[i], xs.points[j], squared=squared), rtol=1e-12
        )


@pytest.mark.parametrize("distance", [pairwise_chamfer, partial(pairwise_emd, squared=True)])
def test_one_family_is_two_equal_ones(distance, rng):
    xs = family(rng, [3, 1, 6, 6, 2])
    whole = distance(xs, xs)
    half = distance(xs)
    np.testing.assert_allclose(half, whole, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(half, half.T)
    np.testing.assert_array_equal(np.diag(half), 0.0)
    np.testing.assert_array_equal(distance(xs, n_jobs=1), half)


def test_blocks_and_tasks_do_not_change_the_result(rng, monkeypatch):
    from refwfm.metrics import distances

    xs = family(rng, [3, 1, 6, 6, 2])
    whole = pairwise_chamfer(xs)
    monkeypatch.setattr(distances, "CHAMFER_BLOCK", 7)
    monkeypatch.setattr(distances, "PAIRS_PER_TASK", 2)
    np.testing.assert_array_equal(pairwise_chamfer(xs), whole)


def test_progress_counts_pairs(rng):
    xs, reports = family(rng, [3] * 7), []
    pairwise_chamfer(xs, progress=lambda *report: reports.append(report))
    assert reports[-1] == (21, 21)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    pairwise_emd(take(xs, np.arange(2)), xs, squared=True, progress=lambda *r: reports.append(r))
    assert reports[-1] == (14, 14)


def test_processes_give_the_same(rng):
    joblib = pytest.importorskip("joblib")
    xs = family(rng, [3, 4, 5])
    with joblib.parallel_config("loky", n_jobs=2):
        result = pairwise_emd(xs, squared=True, n_jobs=2)
    np.testing.assert_array_equal(result, pairwise_emd(xs, squared=True))


@SQUARED
@given(st.integers(2, 7), st.integers(1, 3), strategies.seeds)
def test_they_are_distances(squared, n, d, seed):
    """Not negative, zero between copies, the same for any order of the points; and the triangle for EMD."""
    rng = np.random.default_rng(seed)
    xs = family(rng, [n, n + 2, 1], d, weighted=bool(seed % 2))
    copies = shuffled(rng, xs)
    matrix = pairwise_emd(xs, squared=squared)
    root = np.sqrt(matrix) if squared else matrix
    assert np.all(root[:, :, None] <= root[:, None, :] + root.T[None, :, :] + 1e-7)
    for distance in (partial(pairwise_emd, squared=squared), partial(pairwise_chamfer, squared=squared)):
        between = distance(xs, copies)
        assert np.all(between >= 0)
        np.testing.assert_allclose(between, distance(xs), rtol=0, atol=1e-12)


@given(st.integers(1, 8), st.integers(1, 3), strategies.seeds)
def test_chamfer_is_at_most_twice_the_emd(n, d, seed):
    """Each direction takes the nearest where a plan takes whom it must."""
    rng = np.random.default_rng(seed)
    for xs in (uniform(rng.standard_normal((4, n, d))), family(rng, [n, 1, 3], d, weighted=True)):
        for squared in (True, False):
            c, e = pairwise_chamfer(xs, squared=squared), pairwise_emd(xs, squared=squared)
            assert np.all(c <= 2 * e * (1 + 1e-12) + 1e-15)


@given(st.integers(1, 6), strategies.seeds)
def test_splitting_a_point_changes_nothing(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 2)), uniform(rng.standard_normal((1, 4, 2)))
    split = pad([np.repeat(x, 3, axis=0)])
    for squared in (True, False):
        for distance in (pairwise_chamfer, pairwise_emd):
            whole = distance(pad([x]), y, squared=squared)
            np.testing.assert_allclose(distance(split, y, squared=squared), whole, rtol=1e-9)


def test_the_two_costs_are_two_distances(rng):
    xs = family(rng, [5, 5])
    assert pairwise_emd(xs, squared=True)[0, 1] > pairwise_emd(xs, squared=False)[0, 1] ** 2
    with pytest.raises(TypeError, match="squared"):
        pairwise_emd(xs)


NAN = uniform(np.array([[[0.0, np.nan]], [[0.0, 0.0]]]))


@pytest.mark.parametrize("distance", [pairwise_chamfer, partial(pairwise_emd, squared=True)])
@pytest.mark.parametrize(
    ("xs", "ys", "message"),
    [
        (NAN, None, "xs: points must be finite"),
        (uniform(np.zeros((2, 3, 2))), NAN, "ys: points must be finite"),
        (uniform(np.zeros((3, 2))), None, r"xs must be a family of at least one cloud.*\(3, 2\)"),
        (uniform(np.zeros((0, 3, 2))), None, "xs must be a family of at least one cloud"),
        (PointCloud(np.zeros((1, 0, 2)), np.zeros((1, 0))), None, "xs must have at least one point"),
        (PointCloud(np.zeros((1, 2, 2)), np.zeros((1, 2))), None, "sum to 1"),
        (PointCloud(np.zeros((1, 2, 2)), np.ones((1, 2))), None, "sum to 1"),
        (uniform(np.zeros((2, 3, 2))), uniform(np.zeros((2, 3, 3))), "same dimension; got d = 2 and 3"),
        (uniform(np.array([[[1e200]], [[-1e200]]])), None, "xs: coordinates must be below 1e\\+150"),
    ],
)
def test_bad_families_are_refused(distance, xs, ys, message):
    with pytest.raises(ValueError, match=message):
        distance(xs, ys)


def test_chamfer_refuses_nan_and_other_dimensions():
    good = uniform(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="y: points must be finite"):
        chamfer(good, uniform(np.full((3, 2), np.nan)))
    with pytest.raises(ValueError, match="same dimension"):
        chamfer(good, uniform(np.zeros((3, 3))))


# Statistics


def plain_one_nn(gg, gr, rr):
    """As the public evaluation code goes about it, one cloud after the other."""
    G, R = gr.shape
    hits = []
    for i in range(G + R):
        row = np.concatenate([gg[i], gr[i]]) if i < G else np.concatenate([gr[:, i - G], rr[i - G]])
        row[i] = np.inf
        hits.append((int(np.argmin(row)) < G) == (i < G))
    return np.mean(hits), np.mean(hits[:G]), np.mean(hits[G:])


def distances_of(x, y):
    """Of points, as families of clouds of one point each."""
    return FamilyDistances(*(cdist(p, q, "sqeuclidean") for p, q in ((x, x), (x, y), (y, y))))


@given(st.integers(1, 9), st.integers(1, 9), strategies.seeds)
def test_one_nn_accuracy_is_the_public_codes(n, m, seed):
    rng = np.random.default_rng(seed)
    d = distances_of(*(rng.integers(0, 4, (k, 2)).astype(float) for k in (n, m)))  # with ties
    np.testing.assert_allclose(one_nn_accuracy(d), plain_one_nn(*d), rtol=1e-15)


def test_one_nn_accuracy_of_copies_and_of_strangers(rng):
    x = rng.standard_normal((20, 3))
    np.testing.assert_array_equal(one_nn_accuracy(distances_of(x, x + 1e-9)), [0, 0, 0])
    np.testing.assert_array_equal(one_nn_accuracy(distances_of(x, x + 100.0)), [1, 1, 1])


def test_one_nn_accuracy_of_exchangeable_families_is_about_one_half(rng):
    shares = [one_nn_accuracy(distances_of(*rng.standard_normal((2, 50, 3)))).accuracy for _ in range(40)]
    standard_error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 49 / 99) < 5 * standard_error  # 49 others of 99 are of the same family
    assert standard_error < 0.02


def test_ties_go_to_the_smallest_index():
    """All at distance 0: every neighbour is the first generated one, whose own is the second."""
    d = distances_of(np.zeros((3, 1)), np.zeros((2, 1)))
    np.testing.assert_array_equal(one_nn_accuracy(d), [3 / 5, 1, 0])


def test_collapse_shows_in_the_halves(rng):
    """Generated ones all alike: theirs is the same family, the reference's is not always."""
    x, y = 1e-6 * rng.standard_normal((30, 2)), rng.standard_normal((30, 2))
    result = one_nn_accuracy(distances_of(x, y))
    assert result.of_generated == 1.0
    assert result.accuracy == (result.of_generated + result.of_reference) / 2


def test_coverage_and_matching_by_hand():
    """Two generated, three reference: swapped, both numbers are others."""
    d = distances_of(np.array([[0.0], [0.5]]), np.array([[0.0], [10.0], [20.0]]))
    assert coverage(d) == pytest.approx(1 / 3)
    assert minimum_matching_distance(d) == pytest.approx((0 + 9.5**2 + 19.5**2) / 3)
    swapped = FamilyDistances(d.reference, d.cross.T, d.generated)
    assert coverage(swapped) == 1.0
    assert minimum_matching_distance(swapped) == pytest.approx(0.125)
    with pytest.raises(ValueError, match="with generated in rows"):
        coverage(d._replace(cross=d.cross.T))


@given(st.integers(1, 9), st.integers(1, 9), strategies.seeds)
def test_statistics_do_not_know_the_order_of_members(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
    d, e = distances_of(x, y), distances_of(rng.permutation(x), rng.permutation(y))
    for statistic in (one_nn_accuracy, coverage, minimum_matching_distance):
        np.testing.assert_allclose(statistic(d), statistic(e), rtol=1e-12)
    squared = FamilyDistances(*(part**2 for part in d))
    np.testing.assert_array_equal(one_nn_accuracy(d), one_nn_accuracy(squared))
    assert 1 / m <= coverage(d) <= min(1.0, n / m)


def test_statistics_on_every_library(library, rng):
    for shape in library.batches:
        d = FamilyDistances(*(rng.uniform(size=(*shape, *core)) for core in ((4, 4), (4, 5), (5, 5))))
        for statistic in (one_nn_accuracy, coverage, minimum_matching_distance):
            library.check(statistic, d, ulps=10)


@pytest.mark.parametrize("statistic", [one_nn_accuracy, coverage, minimum_matching_distance])
def test_bad_distances_are_refused(statistic):
    good = distances_of(np.zeros((2, 1)), np.zeros((3, 1)))
    for bad, error, message in [
        (good._replace(cross=np.full((2, 3), np.nan)), ValueError, "distances.cross must be finite"),
        (good._replace(generated=np.full((2, 2), np.inf)), ValueError, "distances.generated must be finite"),
        (good._replace(reference=-np.ones((3, 3))), ValueError, "distances.reference .* less than 0"),
        (good._replace(reference=np.zeros((2, 2))), ValueError, "with generated in rows"),
        (FamilyDistances(*(np.zeros((0, 0)),) * 3), ValueError, "with G, R >= 1"),
        (good._replace(cross=np.zeros((2, 3), int)), TypeError, "must have the dtype float32 or float64"),
    ]:
        with pytest.raises(error, match=message):
            statistic(bad)


def test_families_are_compared_by_name(rng):
    x, y = family(rng, [3, 4]), family(rng, [2, 5, 6])
    d = compare_families(pairwise_emd, generated=x, reference=y, squared=True)
    assert (d.generated.shape, d.cross.shape, d.reference.shape) == ((2, 2), (2, 3), (3, 3))
    np.testing.assert_array_equal(d.cross, pairwise_emd(x, y, squared=True))
    known = compare_families(
        pairwise_emd, generated=x, reference=y, squared=True, among_reference=d.reference
    )
    assert known.reference is d.reference
    np.testing.assert_array_equal(known.cross, d.cross)
    with pytest.raises(ValueError, match=r"among_reference must have the shape \(3, 3\)"):
        compare_families(pairwise_chamfer, generated=x, reference=y, among_reference=d.cross)
    with pytest.raises(TypeError, match="positional"):
        compare_families(pairwise_chamfer, x, y)


# Labels


def test_k_nearest(rng):
    distance = np.array([[3.0, 1.0, 2.0, 1.0]])
    np.testing.assert_array_equal(k_nearest(distance, k=3), [[1, 3, 2]])
    for bad, k, message in [
        (distance, 5, "m >= k >= 1"),
        (distance[0], 1, "shape"),
        (distance, 0, "k must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            k_nearest(bad, k=k)
    with pytest.raises(ValueError, match="finite"):
        k_nearest(np.array([[np.nan]]), k=1)


def test_labels_by_majority():
    labels, wanted = np.array([0, 1, 1, 2, 2]), np.array([1])
    assert label_accuracy(np.array([0]), labels, wanted) == 0.0
    assert label_accuracy(np.array([[0, 1, 2]]), labels, wanted) == 1.0
    # Two labels have two votes each: the nearer of them.
    assert label_accuracy(np.array([[0, 4, 1, 3, 2]]), labels, wanted) == 0.0
    assert label_accuracy(np.array([[0, 1, 4, 3, 2]]), labels, wanted) == 1.0
    with pytest.raises(ValueError, match="odd number"):
        label_accuracy(np.array([[0, 1]]), labels, wanted)


def test_generated_beside_held_out(rng):
    """The same score for real clouds that were held out: what the one of the generated is worth."""
    labels = np.repeat([0, 1], 10)
    reference, held_out = (labels[:, None] * 5.0 + rng.standard_normal((20, 2)) for _ in range(2))
    generated = held_out[::-1]  # wrong labels
    scores = [
        label_accuracy(k_nearest(cdist(x, reference), k=5), labels, labels) for x in (generated, held_out)
    ]
    assert scores == [0.0, 1.0]


def test_rounding_of_float32_clouds(rng):
    """On the host, in float64: what is lost is in the points alone."""
    x = check_cloud(uniform(rng.standard_normal((2, 6, 3)).astype(np.float32)))
    wide = uniform(x.points.astype(float))
    np.testing.assert_allclose(
        pairwise_emd(x, squared=True), pairwise_emd(wide, squared=True), rtol=100 * EPS
    )


def test_a_far_point_changes_nobodys_nearest(library):
    """About the mean of y, in float32, the nearest of (.4, 0) beside (1e4, 0) would be any."""
    x = PointCloud(*library.arrays((np.array([[0.4, 0.0]]), np.ones(1))))
    y = PointCloud(
        *library.arrays((np.array([[1.0, 0.0], [0.0, 0.0], [1e6, 1e6]]), np.array([0.5, 0.5, 0.0])))
    )
    far = y._replace(weights=library.array(np.array([0.5, 0.25, 0.25])))
    there = 0.4**2
    alone = float(chamfer(x, y)) - 0.5 * (0.4**2 + 0.6**2)
    assert alone == pytest.approx(there, rel=10 * library.eps)
    back = 0.5 * 0.6**2 + 0.25 * 0.4**2 + 0.25 * ((1e6 - 0.4) ** 2 + 1e12)
    assert float(chamfer(x, far)) == pytest.approx(there + back, rel=10 * library.eps)
    if library.name == "jax":
        return  # which compiles for every shape; squared distances in 7-D are in test_array
    wide = np.concatenate([np.eye(6), [np.full(6, 1e8)]])
    same = PointCloud(*library.arrays((wide, np.full(7, 1 / 7))))
    assert float(chamfer(same, same)) == 0.0


def test_what_is_out_of_range_is_refused_first(library):
    place = 1e30 if library.dtype == "float32" else 1e200
    far = PointCloud(*library.arrays((np.full((2, 1, 2), place), np.ones((2, 1)))))
    line = far._replace(points=far.points[..., :1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calls = [(f, c) for f in (chamfer, sq_wasserstein2) for c in (far, line)]
        calls += [(partial(outer_cost_of, name), far) for name in COSTS if name != "sliced"]
        for function, clouds in calls:
            with pytest.raises(ValueError, match=r"squared distances overflow .*take other units"):
                function(clouds, clouds)


def outer_cost_of(name, x, y):
    return outer_cost(x, y, name)


@pytest.mark.parametrize("matrix", [pairwise_chamfer, partial(pairwise_emd, squared=True)])
@pytest.mark.parametrize("bad", [None, [[0.0]], (np.zeros((1, 1, 1)), np.ones((1, 1)))])
def test_what_is_no_family_is_said_to_be_none(matrix, bad):
    with pytest.raises(TypeError, match="xs must be a PointCloud"):
        matrix(bad)


def test_numpy_integers_are_integers():
    assert k_nearest(np.array([[2.0, 1.0]]), k=np.int64(1)).tolist() == [[1]]
    with pytest.raises(TypeError, match="distance must be an array"):
        k_nearest([[2.0, 1.0]], k=1)


def test_a_backend_that_gives_all_at_once_gives_the_same(rng):
    """As Ray's backend of joblib does."""
    joblib = pytest.importorskip("joblib")

    class AtOnce(joblib.parallel.SequentialBackend):
        supports_return_generator = False

    xs = family(rng, [3, 4, 5])
    joblib.register_parallel_backend("at-once", AtOnce)
    with joblib.parallel_config("at-once"):
        assert isinstance(joblib.parallel.get_active_backend()[0], AtOnce)
        result = pairwise_emd(xs, squared=True)
    np.testing.assert_array_equal(result, pairwise_emd(xs, squared=True))
