"""Alignment, linearised distances and the free-support barycenter: against SciPy, POT and enumeration."""

from itertools import permutations

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative

from refwfm._array import to_host
from refwfm.clouds import uniform
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport import linearized
from refwfm.transport.linearized import (
    align,
    align_to_reference,
    pairwise_sq_lazy_distance,
    pairwise_sq_linearized_distance,
    reorder,
    sq_lazy_distance,
    sq_linearized_distance,
)
from refwfm.transport.reference import free_support_barycenter

ROUNDINGS = 1e-13


def sq_distance(x, y):
    """Of equal clouds, by enumeration."""
    return min(np.mean(np.sum((x - y[list(q)]) ** 2, axis=-1)) for q in permutations(range(len(x))))


@st.composite
def instances(draw):
    """A reference and two clouds of the same few points, perhaps with ties."""
    rng = np.random.default_rng(draw(strategies.seeds))
    n, d = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    points = rng.standard_normal((3, n, d))
    points = np.round(points) if draw(st.booleans()) else points
    return points[0], uniform(points[1]), uniform(points[2])


# Alignment


@given(instances())
def test_alignment_is_optimal(instance):
    S, x, _ = instance
    perm = align_to_reference(S, x)
    np.testing.assert_array_equal(np.sort(perm), np.arange(len(S)))
    aligned = align(S, x)
    np.testing.assert_array_equal(aligned, x.points[perm])
    assert float(sq_lazy_distance(S, aligned)) == pytest.approx(sq_distance(S, x.points), abs=1e-13)


def test_alignment_is_not_its_inverse(rng):
    """Negative control of the convention: atom i of the reference goes with ``points[perm[i]]``."""
    S, x = rng.standard_normal((12, 2)), uniform(rng.standard_normal((12, 2)))
    perm = align_to_reference(S, x)
    inverse = np.argsort(perm)
    assert np.any(perm != inverse)
    assert sq_lazy_distance(S, x.points[inverse]) > sq_lazy_distance(S, x.points[perm]) + 0.01
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    np.testing.assert_array_equal(perm, linear_sum_assignment(cdist(S, x.points, "sqeuclidean"))[1])


def test_alignment_far_from_the_origin(rng):
    S, x = rng.standard_normal((40, 2)), uniform(rng.standard_normal((40, 2)))
    far = PointCloud(x.points + 1e7, x.weights)
    np.testing.assert_array_equal(align_to_reference(S - 1e7, far), align_to_reference(S, x))


def test_alignment_of_a_translated_and_scaled_reference_is_the_identity(rng):
    S = rng.standard_normal((30, 3))
    order = rng.permutation(30)
    x = uniform((3.0 * S + 5.0)[order])
    np.testing.assert_array_equal(align(S, x), 3.0 * S + 5.0)


@pytest.mark.parametrize("block", [1, 100, 10**9])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_neither_blocks_nor_threads_change_the_permutations(rng, monkeypatch, block, n_jobs):
    S, x = rng.standard_normal((8, 2)), uniform(rng.standard_normal((2, 3, 8, 2)))
    whole = align_to_reference(S, x)
    assert whole.shape == (2, 3, 8)
    monkeypatch.setattr(linearized, "ALIGN_BLOCK", block)
    seen = []
    again = align_to_reference(S, x, n_jobs=n_jobs, progress=lambda *done: seen.append(done))
    np.testing.assert_array_equal(again, whole)
    assert seen[-1] == (6, 6)
    assert len(seen) == {1: 6, 100: 6, 10**9: 1}[block]


def test_a_reference_for_each_cloud(rng):
    S, x = rng.standard_normal((4, 1, 5, 2)), uniform(rng.standard_normal((3, 5, 2)))
    perm = align_to_reference(S, x)
    assert perm.shape == (4, 3, 5)
    for i in range(4):
        np.testing.assert_array_equal(perm[i], align_to_reference(S[i, 0], x))
    np.testing.assert_array_equal(reorder(x.points, perm)[1, 2], x.points[2][perm[1, 2]])


# Distances


@given(instances())
def test_linearised_distance_is_at_least_the_distance(instance):
    """And the distance itself if one of the clouds is the reference; the reference's order is immaterial."""
    S, x, y = instance
    value, truth = float(sq_linearized_distance(S, x, y)), sq_distance(x.points, y.points)
    assert value >= truth - 1e-13
    for one, other in ((uniform(S), x), (y, uniform(S))):
        exact = sq_distance(one.points, other.points)
        assert float(sq_linearized_distance(S, one, other)) == pytest.approx(exact, abs=1e-13)
    assert float(sq_linearized_distance(S, y, x)) == pytest.approx(value, abs=1e-13)
    assert float(sq_linearized_distance(S, x, x)) == 0.0


@given(instances(), strategies.seeds)
def test_linearised_distance_is_a_metric(instance, seed):
    S, x, y = instance
    z = uniform(np.random.default_rng(seed).standard_normal(S.shape))
    xy, xz, zy = (float(sq_linearized_distance(S, *pair)) ** 0.5 for pair in ((x, y), (x, z), (z, y)))
    assert xy <= xz + zy + 1e-12


@given(instances())
def test_lazy_distance_is_at_least_the_distance(instance):
    """Whatever vector the source is."""
    S, x, y = instance
    assert float(sq_lazy_distance(x.points, align(S, y))) >= sq_distance(x.points, y.points) - 1e-13


def test_lazy_distance_is_a_mean_of_squares(rng):
    x, y = rng.standard_normal((2, 7, 3))
    truth = np.linalg.norm(x - y) ** 2 / 7
    assert float(sq_lazy_distance(x, y)) == pytest.approx(truth, rel=ROUNDINGS)
    for wrong in (truth**0.5, 7 * truth, truth / 3, float(np.mean(np.linalg.norm(x - y, axis=-1)))):
        assert abs(wrong / truth - 1) > 1e-2


def test_translations_and_scalings_of_one_cloud_are_flat(rng):
    S = rng.standard_normal((20, 3))
    x, y = uniform(2.0 * S + 1.0), uniform(rng.permutation(0.5 * S - 3.0, axis=0))
    truth = np.mean(np.sum((1.5 * S + 4.0) ** 2, axis=-1))
    assert float(sq_linearized_distance(S, x, y)) == pytest.approx(truth, rel=ROUNDINGS)


def test_matrices_hold_the_distances_of_their_pairs(rng):
    S, x, y = rng.standard_normal((6, 2)), *(uniform(rng.standard_normal((B, 6, 2)) + 50) for B in (3, 4))
    X, Y = align(S, x), align(S, y)
    lazy = pairwise_sq_lazy_distance(X, Y)
    assert lazy.shape == (3, 4)
    assert relative(lazy, sq_lazy_distance(X[:, None], Y)) < ROUNDINGS
    assert relative(pairwise_sq_linearized_distance(S, x, y), lazy) < ROUNDINGS
    assert np.all(pairwise_sq_lazy_distance(X, X) >= 0)
    assert relative(lazy / 6, sq_lazy_distance(X[:, None], Y)) > 0.1  # negative control


# The barycenter


def test_barycenter_is_pots(rng):
    """From the same start, and both at a fixed point."""
    ot = pytest.importorskip("ot")
    clouds, init = uniform(rng.standard_normal((8, 12, 2))), rng.standard_normal((12, 2))
    result = free_support_barycenter(clouds, init=init, tol=0.0)
    peer = ot.lp.free_support_barycenter(
        list(clouds.points), list(clouds.weights), init, numItermax=200, stopThr=1e-24
    )

    def objective(points):
        costs = [ot.dist(points, cloud) for cloud in clouds.points]
        return np.mean([ot.emd2([], [], cost) for cost in costs])

    assert result.objective[-1] == pytest.approx(objective(peer), rel=1e-9)
    assert objective(result.points) == pytest.approx(result.objective[-1], rel=1e-12)
    assert objective(clouds.points.mean(axis=0)) > 1.01 * result.objective[-1]  # mean without alignment


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), strategies.seeds)
def test_objective_does_not_increase_and_ends_at_a_fixed_point(M, n, d, seed):
    clouds = uniform(np.random.default_rng(seed).standard_normal((M, n, d)))
    result = free_support_barycenter(clouds, tol=0.0)
    history = np.array(result.objective)
    assert np.all(np.diff(history) <= 1e-14 * history[0])
    assert result.converged
    assert len(history) == result.n_iter + 1
    aligned = reorder(clouds.points, result.permutation)
    np.testing.assert_allclose(np.mean(aligned, axis=0), result.points, atol=1e-13)
    assert np.mean(sq_lazy_distance(result.points, aligned)) == pytest.approx(history[-1], abs=1e-13)
    if n <= 4:
        truth = np.mean([sq_distance(result.points, cloud) for cloud in clouds.points])
        assert history[-1] == pytest.approx(truth, abs=1e-13)


def test_barycenter_of_copies_is_the_cloud(rng):
    cloud = rng.standard_normal((9, 2))
    clouds = uniform(np.stack([rng.permutation(cloud, axis=0) + shift for shift in (-1.0, 0.0, 4.0)]))
    result = free_support_barycenter(clouds)
    moved = result.points[np.argsort(result.points[:, 0])]
    np.testing.assert_allclose(moved, cloud[np.argsort(cloud[:, 0])] + 1.0, atol=1e-13)


def test_barycenter_says_when_it_did_not_converge(rng):
    clouds = uniform(rng.standard_normal((10, 20, 2)))
    with pytest.raises(ConvergenceError, match="did not converge in 1 iterations"):
        free_support_barycenter(clouds, max_iter=1)
    result = free_support_barycenter(clouds, max_iter=1, require=False)
    assert not result.converged
    assert result.n_iter == 1
    with pytest.raises(ConvergenceError, match="in 0 iterations"):
        free_support_barycenter(clouds, max_iter=0)


# What is refused, and every library

S0, X0 = np.zeros((3, 2)), uniform(np.zeros((4, 3, 2)))
HALF = PointCloud(X0.points, np.broadcast_to([0.5, 0.25, 0.25], (4, 3)))
PADDED = PointCloud(X0.points, np.broadcast_to([0.5, 0.5, 0.0], (4, 3)))


@pytest.mark.parametrize(
    ("reference", "clouds", "error", "message"),
    [
        (np.zeros((4, 2)), X0, ValueError, r"reference must have shape \(..., 3, 2\).*use sliced transport"),
        (np.zeros(3), X0, ValueError, "reference must have shape"),
        (
            S0,
            HALF,
            ValueError,
            r"uniform weights.* from 0.25 to 0.5; use sliced transport, or a plan of exact",
        ),
        (S0, PADDED, ValueError, r"uniform weights.*no padding"),
        (S0.astype(np.float32), X0, TypeError, "the same dtype"),
        (np.full((3, 2), np.nan), X0, ValueError, "reference must be finite"),
        (S0, uniform(np.full((3, 2), np.inf)), ValueError, "clouds: points must be finite"),
        (np.zeros((3, 3, 2)), X0, ValueError, "broadcast"),
    ],
)
def test_what_cannot_be_aligned(reference, clouds, error, message):
    with pytest.raises(error, match=message):
        align_to_reference(reference, clouds)


def test_other_refusals():
    with pytest.raises(ValueError, match=r"same n and d.*\(3, 2\) and \(4, 2\)"):
        sq_lazy_distance(S0, np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"shapes \(B0, n, d\) and \(B1, n, d\)"):
        pairwise_sq_lazy_distance(S0, X0.points)
    with pytest.raises(ValueError, match="family of at least one"):
        free_support_barycenter(uniform(S0))
    with pytest.raises(ValueError, match="family of at least one"):
        free_support_barycenter(uniform(np.zeros((0, 3, 2))))
    with pytest.raises(ValueError, match=r"init must have shape \(n, d\)"):
        free_support_barycenter(X0, init=X0.points)
    with pytest.raises(ValueError, match="uniform weights"):
        free_support_barycenter(HALF)


@pytest.mark.slow
def test_every_library(library, rng):
    S = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])  # far apart: no library sees ties
    noise = 0.1 * rng.standard_normal((7, 3))
    for shape in library.batches:
        x, y = (uniform(S[rng.permutation(7)] + 0.1 * rng.standard_normal((*shape, 7, 3))) for _ in range(2))
        library.check(align, S, x, ulps=2)
        library.check(sq_linearized_distance, S, x, y, ulps=50)
        library.check(lambda S, x: sq_lazy_distance(S, align(S, x)), S + noise, x, ulps=50)
        perm = align_to_reference(*library.arrays((S, x)))
        assert tuple(perm.shape) == (*shape, 7)
    for B in (2, 0) if library.name != "jax" else (2,):
        x, y = (uniform(S + 0.1 * rng.standard_normal((k, 7, 3))) for k in (B, 3))
        library.check(pairwise_sq_linearized_distance, S, x, y, ulps=100)
    library.check(lambda x: free_support_barycenter(x).points, y, ulps=20)


def test_a_far_cloud_or_point_spoils_no_lazy_distance(library):
    """About the mean of the family, distances near 1 beside a cloud at 1e6 have no digits in float32."""
    x = np.array([[[0.0, 0.0]], [[1.0, 0.0]], [[1e6, 0.0]]])
    found = to_host(pairwise_sq_lazy_distance(*library.arrays((x, x))))
    np.testing.assert_allclose(found[:2, :2], [[0.0, 1.0], [1.0, 0.0]], rtol=0, atol=library.eps)
    wide = np.concatenate([x, np.zeros((3, 1, 6))], axis=-1)
    np.testing.assert_allclose(to_host(pairwise_sq_lazy_distance(*library.arrays((wide, wide)))), found)


def test_what_is_not_finite_makes_its_own_lazy_distances_so(library):
    x, y = np.array([[[np.nan]], [[0.0]]]), np.array([[[7.0]], [[9.0]]])
    found = to_host(pairwise_sq_lazy_distance(*library.arrays((x, y))))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [49.0, 81.0]])


def test_a_far_pair_changes_no_alignment(library, rng):
    S, x = rng.standard_normal((2, 12, 2)).astype(np.float32).astype(np.float64)
    alone = align_to_reference(library.array(S), PointCloud(*library.arrays((x, np.full(12, 1 / 12)))))
    S, x = (np.concatenate([z, [[2.0**17, 0.0]]]) for z in (S, x))
    beside = align_to_reference(library.array(S), PointCloud(*library.arrays((x, np.full(13, 1 / 13)))))
    np.testing.assert_array_equal(to_host(beside), [*to_host(alone), 12])
