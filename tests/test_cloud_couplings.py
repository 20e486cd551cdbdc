"""Couplings of clouds by name: which goes with which, and where each point goes."""

from functools import partial

import numpy as np
import pytest
import strategies
from conftest import map_arrays
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm._array import to_host
from refwfm.clouds import moments, pad, uniform
from refwfm.couplings import (
    INNER,
    alike,
    couple,
    match_clouds,
    pairwise_chamfer,
    pairwise_frechet,
)
from refwfm.measures import PointCloud
from refwfm.sinkhorn import sinkhorn

SOLVE = partial(sinkhorn, eps=0.05, scale_cost="max", tol=None, max_iter=200, require=False, validate=False)


def seeded(seed=0):
    return np.random.default_rng(seed)


def batch_of(counts, d=2, seed=0, size=0):
    rng = seeded(seed)
    return pad([rng.standard_normal((n, d)) for n in counts], size=size)


def live(cloud, i):
    return cloud.points[i][cloud.weights[i] > 0]


def images(x, y, inner, **options):
    pairs = couple(x, y, inner, rng=seeded(1), solve=SOLVE, **options)
    np.testing.assert_array_equal(pairs.x, x.points)
    np.testing.assert_array_equal(pairs.weights, x.weights)
    np.testing.assert_array_equal(pairs.y[x.weights == 0], 0.0)
    return pairs.y


# Inner plans


def test_exact_is_the_optimal_assignment():
    x, y = batch_of((3, 5, 1)), batch_of((3, 5, 1), seed=1)
    found = images(x, y, "exact")
    for i in range(3):
        cost = cdist(live(x, i), live(y, i), "sqeuclidean")
        best = live(y, i)[linear_sum_assignment(cost)[1]]
        np.testing.assert_array_equal(found[i][x.weights[i] > 0], best)
        if i < 2:
            worst = live(y, i)[linear_sum_assignment(-cost)[1]]
            assert np.any(found[i][x.weights[i] > 0] != worst)


def test_exact_between_different_sizes_is_the_mean_target_of_the_optimal_plan():
    ot = pytest.importorskip("ot")
    x, y = batch_of((3, 5)), batch_of((4, 2), seed=1)
    found = images(x, y, "exact")
    for i in range(2):
        a, b = x.weights[i][x.weights[i] > 0], y.weights[i][y.weights[i] > 0]
        plan = ot.emd(a, b, cdist(live(x, i), live(y, i), "sqeuclidean"))
        np.testing.assert_allclose(found[i][x.weights[i] > 0], plan @ live(y, i) / a[:, None], atol=1e-9)


def textbook_plan(x, y, a, b):
    """Sinkhorn in the kernel domain, 200 iterations of the same eps."""
    cost = cdist(x, y, "sqeuclidean")
    kernel = np.exp(-cost / (0.05 * cost.max()))
    u = np.ones(len(x))
    for _ in range(200):
        v = b / (kernel.T @ u)
        u = a / (kernel @ v)
    return u[:, None] * kernel * v


@pytest.mark.parametrize("inner", ["entropic", "argmax", "rounded"])
def test_entropic_kinds_against_a_textbook_loop(inner):
    counts = (4, 6)
    x, y = batch_of(counts), batch_of(counts if inner == "rounded" else (5, 3), seed=1)
    found = images(x, y, inner)
    for i in range(2):
        a, b = x.weights[i][x.weights[i] > 0], y.weights[i][y.weights[i] > 0]
        P = textbook_plan(live(x, i), live(y, i), a, b)
        if inner == "entropic":
            truth = P @ live(y, i) / P.sum(axis=1, keepdims=True)
        elif inner == "argmax":
            truth = live(y, i)[P.argmax(axis=1)]
        else:
            rest, order = P.copy(), np.zeros(len(P), int)
            for _ in range(len(P)):
                r, c = np.unravel_index(rest.argmax(), rest.shape)
                order[r] = c
                rest[r], rest[:, c] = -1.0, -1.0
            truth = live(y, i)[order]
        np.testing.assert_allclose(found[i][x.weights[i] > 0], truth, atol=1e-8)
        swapped = textbook_plan(live(y, i), live(x, i), b, a).T
        if inner == "entropic":  # the normalisation of the rows is seen
            assert np.max(np.abs(swapped @ live(y, i) - truth)) > 1e-3


def test_sampled_targets_have_the_plans_frequencies():
    x, y = batch_of((2,)), batch_of((3,), seed=1)
    a, b = x.weights[0], y.weights[0]
    P = textbook_plan(x.points[0], y.points[0], a, b)
    rows = P / P.sum(axis=1, keepdims=True)
    n = 4000
    many = [PointCloud(*(np.repeat(part, n, axis=0) for part in cloud)) for cloud in (x, y)]
    found = couple(*many, "sampled", rng=seeded(2), solve=SOLVE).y
    hit = np.all(found[:, :, None, :] == y.points[0], axis=-1)  # (n, 2, 3)
    assert np.all(hit.sum(axis=-1) == 1)
    z = (hit.mean(axis=0) - rows) / np.sqrt(np.maximum(rows * (1 - rows), 1e-12) / n)
    assert np.max(np.abs(np.where(rows > 1e-6, z, 0.0))) < 5
    assert np.all(hit.mean(axis=0)[rows < 1e-12] == 0)
    assert np.max(np.abs(hit.mean(axis=0) - b)) > 0.1  # not the product plan


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), strategies.seeds)
def test_independent_is_a_random_permutation(counts, seed):
    x, y = batch_of(counts, seed=seed), batch_of(counts, seed=seed + 1)
    found = couple(x, y, "independent", rng=seeded(seed), solve=SOLVE).y
    for i in range(len(counts)):
        order = [np.lexsort(points.T) for points in (found[i][x.weights[i] > 0], live(y, i))]
        np.testing.assert_array_equal(found[i][x.weights[i] > 0][order[0]], live(y, i)[order[1]])


def test_independent_permutations_are_all_equally_likely():
    x, y = (uniform(np.tile(np.arange(3.0)[None, :, None], (6000, 1, 1))) for _ in range(2))
    found = couple(x, y, "independent", rng=seeded(0), solve=SOLVE).y[..., 0]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.max(np.abs(counts - 1000)) < 5 * np.sqrt(1000 * 5 / 6)


def test_independent_between_different_sizes_draws_by_weight():
    x = uniform(np.zeros((1, 8000, 1)))
    y = PointCloud(np.array([[[0.0], [1.0], [7.0]]]), np.array([[0.25, 0.75, 0.0]]))
    found = couple(x, y, "independent", rng=seeded(0), solve=SOLVE).y
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 8000)


@pytest.mark.parametrize("inner", INNER)
def test_padding_changes_nothing(inner):
    """Neither its width nor what it holds."""
    if inner in ("linear", "lazy"):
        pytest.skip("takes no padding: see the test of what is refused")
    counts, others = (3, 5), (3, 5) if inner == "rounded" else (4, 2)
    narrow = couple(batch_of(counts), batch_of(others, seed=1), inner, rng=seeded(), solve=SOLVE)
    x, y = batch_of(counts, size=9), batch_of(others, seed=1, size=9)
    wide = couple(x, y, inner, rng=seeded(), solve=SOLVE)
    random = inner in ("sampled", "sliced", "independent")
    for i in range(2):
        mine, theirs = (p.y[i][p.weights[i] > 0] for p in (narrow, wide))
        if not random:  # the random numbers are drawn for rows, padded ones too
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
        gaps = np.abs(theirs[:, None] - live(y, i)).max(axis=-1).min(axis=1)
        assert inner in ("entropic", "exact") or np.max(gaps) < 1e-12
    np.testing.assert_array_equal(wide.y[x.weights == 0], 0.0)


def test_errors_are_reported():
    x, y = batch_of((30,)), batch_of((30,), seed=1)
    solve = partial(SOLVE.func, **{**SOLVE.keywords, "eps": 0.002, "max_iter": 5})
    for inner, low, high in (("exact", -1.0, 1e-300), ("entropic", 1e-3, 2.0)):
        error = float(couple(x, y, inner, rng=seeded(), solve=solve).error)
        assert low < error < high


def test_rounding_says_what_to_use_instead():
    with pytest.raises(ValueError, match=r"equal size and uniform weights; use 'entropic' or 'exact'"):
        couple(batch_of((3,)), batch_of((4,)), "rounded", rng=seeded(), solve=SOLVE)


def test_alike():
    x = batch_of((3, 5))
    assert alike(x, batch_of((3, 5), seed=1))
    assert not alike(x, batch_of((5, 3)))
    assert not alike(x, batch_of((3, 6)))
    weighted = PointCloud(np.zeros((1, 2, 1)), np.array([[0.3, 0.7]]))
    assert not alike(weighted, weighted)
    assert not alike(uniform(np.zeros((1, 2, 1))), weighted)


@pytest.mark.parametrize("inner", INNER)
def test_on_every_library(library, inner):
    sizes = (4, 4) if inner in ("linear", "lazy") else (4, 3)
    x, y = batch_of(sizes), batch_of(sizes, seed=5)
    solve = SOLVE
    truth = couple(
        *(map_arrays(lambda p: p.astype(library.dtype), c) for c in (x, y)), inner, rng=seeded(), solve=solve
    )
    result = couple(*library.arrays((x, y)), inner, rng=seeded(), solve=solve)
    for array, expected in zip(result, truth, strict=True):
        assert library.owns(array)
        scale = 1.0 + np.max(np.abs(expected))
        np.testing.assert_allclose(to_host(array), expected, rtol=0, atol=3e3 * library.eps * scale)


# Outer plans


def test_frechet_costs_are_those_of_the_moments():
    x, y = batch_of((6, 9, 4)), batch_of((5, 7), seed=1)
    cost = pairwise_frechet(x, y)
    for i in range(3):
        for j in range(2):
            mu, nu = moments(live(x, i)), moments(live(y, j))
            means = np.sum((mu.mean - nu.mean) ** 2)
            values = np.linalg.eigvals(mu.cov @ nu.cov)
            truth = means + np.trace(mu.cov + nu.cov) - 2 * np.sum(np.sqrt(np.abs(values)))
            assert cost[i, j] == pytest.approx(truth, rel=1e-9)


def test_chamfer_costs_are_both_directions():
    x, y = batch_of((6, 2)), batch_of((5, 7, 1), seed=1)
    cost = pairwise_chamfer(x, y)
    for i in range(2):
        for j in range(3):
            gaps = cdist(live(x, i), live(y, j), "sqeuclidean")
            assert cost[i, j] == pytest.approx(gaps.min(axis=0).mean() + gaps.min(axis=1).mean(), rel=1e-9)


@pytest.mark.parametrize("outer", ["frechet", "chamfer"])
@given(strategies.seeds)
def test_matching_recovers_a_permutation(outer, seed):
    x = batch_of((5, 4, 6, 5), seed=seed)
    order = seeded(seed).permutation(4)
    perm = match_clouds(x, PointCloud(x.points[order], x.weights[order]), outer)
    np.testing.assert_array_equal(order[perm], np.arange(4))


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="batches of equal size; got 2 and 3"):
        match_clouds(batch_of((2, 2)), batch_of((2, 2, 2)), "frechet")
