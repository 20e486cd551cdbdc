"""Exact nearest neighbours in EMD: the same as by all distances, from a few of them."""

from functools import partial

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.clouds import pad, uniform
from refwfm.measures import PointCloud, take
from refwfm.metrics import neighbours
from refwfm.metrics.distances import compare_families, pairwise_emd
from refwfm.metrics.neighbours import nearest_clouds, one_nn_accuracy_emd
from refwfm.metrics.statistics import one_nn_accuracy
from refwfm.transport import emd

SQUARED = pytest.mark.parametrize("squared", [True, False])


def frames():
    return np.random.default_rng(0)


def surfaces(rng, count, n):
    """Points on ellipsoids of random axes."""
    points = rng.standard_normal((count, n, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return uniform(points * rng.uniform(0.3, 1.0, (count, 1, 3)) + 0.05 * rng.standard_normal((count, 1, 3)))


def assert_nearest_of_all(found, matrix):
    """The distances are the least of their rows, and the named members have them."""
    rows = np.arange(len(matrix))
    np.testing.assert_allclose(found.distance, matrix.min(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix[rows, found.member], matrix.min(axis=1), rtol=1e-12, atol=1e-12)


def without_diagonal(matrix):
    return np.where(np.eye(len(matrix), dtype=bool), np.inf, matrix)


@SQUARED
@given(st.integers(2, 8), st.integers(1, 5), st.integers(1, 4), strategies.seeds)
def test_it_is_the_least_of_all_distances(squared, n, m, d, seed):
    """Clouds of any sizes and weights."""
    rng = np.random.default_rng(seed)
    xs, ys = (
        pad(clouds := [rng.standard_normal((rng.integers(1, 6), d)) for _ in range(count)],
            weights=[rng.dirichlet(np.ones(len(points))) for points in clouds] if seed % 2 else None)
        for count in (n, m)
    )  # fmt: skip
    found = nearest_clouds(xs, squared=squared, rng=frames(), n_jobs=1)
    assert_nearest_of_all(found, without_diagonal(pairwise_emd(xs, squared=squared, n_jobs=1)))
    assert found.n_pairs == n * (n - 1) // 2
    assert_nearest_of_all(
        nearest_clouds(xs, ys, squared=squared, rng=frames(), n_jobs=1),
        pairwise_emd(xs, ys, squared=squared, n_jobs=1),
    )


@SQUARED
def test_clouds_large_enough_for_potentials(squared, rng):
    xs = surfaces(rng, 24, 128)
    found = nearest_clouds(xs, squared=squared, rng=frames())
    assert_nearest_of_all(found, without_diagonal(pairwise_emd(xs, squared=squared)))
    assert found.n_exact < found.n_pairs / 4  # and each of the 24 needs one, or half when mutual
    assert found.n_exact <= found.n_dual <= found.n_pairs
    for seed in (0, 1):  # of the frames: nothing that comes out depends on them
        again = nearest_clouds(xs, squared=squared, rng=np.random.default_rng(seed), n_jobs=1)
        np.testing.assert_array_equal(again.member, found.member)


@SQUARED
def test_one_nn_accuracy_without_most_distances(squared, rng):
    generated, reference = surfaces(rng, 9, 40), surfaces(rng, 12, 50)
    result = one_nn_accuracy_emd(generated=generated, reference=reference, squared=squared, rng=frames())
    d = compare_families(pairwise_emd, generated=generated, reference=reference, squared=squared)
    np.testing.assert_array_equal(result, one_nn_accuracy(d))


@SQUARED
@pytest.mark.parametrize("n", [20, 110])
def test_neighbours_within_the_reference_are_not_sought_again(squared, n, rng, monkeypatch):
    """The same accuracy, without one pair of reference members."""
    generated, reference = surfaces(rng, 7, n), surfaces(rng, 9, n)
    near = PointCloud(
        *(np.concatenate(parts) for parts in zip(generated, take(reference, np.arange(3)), strict=True))
    )
    among = nearest_clouds(reference, squared=squared, rng=frames(), n_jobs=1)
    accuracy = partial(one_nn_accuracy_emd, reference=reference, squared=squared, n_jobs=1)
    truth = [accuracy(generated=each, rng=frames()) for each in (generated, near)]
    members = {cloud.tobytes() for cloud in reference.points}
    refine, refined = neighbours._refine, []

    def watched(x, y, *rest):
        refined.append(sum(cloud.points.tobytes() in members for cloud in (x, y)))
        return refine(x, y, *rest)

    monkeypatch.setattr(neighbours, "_refine", watched)
    assert truth[0] == accuracy(generated=generated, among_reference=among, rng=frames())
    assert refined
    assert 2 not in refined
    assert truth[1] == accuracy(generated=near, among_reference=among, rng=frames())
    far = among._replace(distance=among.distance + 1e3)  # it is believed: all are nearer to the generated
    assert accuracy(generated=generated, among_reference=far, rng=frames()).of_reference == 0.0
    with pytest.raises(ValueError, match="among_reference must have a neighbour for each of the 9"):
        accuracy(generated=generated, among_reference=among._replace(member=np.zeros(3, int)), rng=frames())


def test_one_nn_accuracy_of_copies_and_of_strangers(rng):
    x = surfaces(rng, 6, 20)
    order = rng.permutation(20)
    copies = uniform(x.points[:, order] + 1e-9)
    far = uniform(x.points + 10.0)
    accuracy = partial(one_nn_accuracy_emd, squared=True, rng=frames())
    np.testing.assert_array_equal(accuracy(generated=copies, reference=x), [0, 0, 0])
    np.testing.assert_array_equal(accuracy(generated=far, reference=x), [1, 1, 1])
    with pytest.raises(TypeError, match="positional"):
        accuracy(x, copies)


def test_equal_distances_go_to_the_smallest_index():
    points = np.array([0.0, 1.0, 0.0, 1.0, 0.5])[:, None, None] * np.ones((5, 3, 2))
    found = nearest_clouds(uniform(points), squared=True, rng=frames())
    np.testing.assert_array_equal(found.member, [2, 3, 0, 1, 0])


def test_a_bound_that_is_none_is_noticed(rng, monkeypatch):
    """Negative control: with bounds that are too high, the neighbours found are wrong."""
    xs = surfaces(rng, 20, 30)
    truth = without_diagonal(pairwise_emd(xs, squared=True))
    clouds = [PointCloud(*each) for each in zip(*xs, strict=True)]
    honest = emd.frame_bounds(clouds, clouds, emd.random_frames(3, rng=frames()), squared=True)
    noise = rng.uniform(1.0, 3.0, honest.shape)
    monkeypatch.setattr(neighbours, "frame_bounds", lambda *_, **__: honest * (noise + noise.T))
    found = nearest_clouds(xs, squared=True, rng=frames())
    with pytest.raises(AssertionError):
        assert_nearest_of_all(found, truth)


def test_progress_ends_with_all(rng):
    reports = []
    progress = lambda *report: reports.append(report)  # noqa: E731
    nearest_clouds(surfaces(rng, 7, 5), squared=True, rng=frames(), progress=progress)
    assert reports[-1] == (7, 7)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_bad_input_is_refused(rng):
    xs, accuracy = surfaces(rng, 3, 4), partial(one_nn_accuracy_emd, squared=True, rng=frames())
    with pytest.raises(ValueError, match="at least two members"):
        nearest_clouds(take(xs, np.array([0])), squared=True, rng=frames())
    with pytest.raises(ValueError, match="generated: points must be finite"):
        accuracy(generated=uniform(np.full((2, 3, 3), np.nan)), reference=xs)
    with pytest.raises(ValueError, match="generated and reference must live in the same dimension"):
        accuracy(generated=xs, reference=uniform(np.zeros((2, 3, 2))))
    with pytest.raises(TypeError, match="squared"):
        nearest_clouds(xs)
