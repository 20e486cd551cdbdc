"""The earth mover's distance of one pair, and that its lower bounds are bounds."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from refwfm import bures
from refwfm.clouds import moments
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport import emd as emd_module
from refwfm.transport.duals import dual, rough_potential
from refwfm.transport.emd import (
    cost_matrix,
    emd,
    exact_cost,
    frame_bounds,
    quantile_cells,
    random_frames,
)

SQUARED = pytest.mark.parametrize("squared", [True, False])


def cloud(rng, n, d=3, weighted=False):
    return PointCloud(
        rng.standard_normal((n, d)), rng.dirichlet(np.ones(n)) if weighted else np.full(n, 1 / n)
    )


def linear_programme(cost, a, b):
    """HiGHS on all n m entries of the plan."""
    n, m = cost.shape
    marginals = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    return linprog(cost.ravel(), A_eq=marginals, b_eq=np.concatenate([a, b]), method="highs").fun


@SQUARED
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.booleans(), strategies.seeds)
def test_it_is_the_linear_programme(squared, n, m, d, weighted, seed):
    rng = np.random.default_rng(seed)
    x, y = cloud(rng, n, d, weighted), cloud(rng, m, d, weighted)
    truth = linear_programme(cost_matrix(x, y, squared=squared), x.weights, y.weights)
    np.testing.assert_allclose(emd(x, y, squared=squared), truth, rtol=1e-7)


def test_two_points_by_hand():
    """{0, 1} to {1, 3}: shifting both costs 1 and 4 squared, 1 and 2 not."""
    x, y = (PointCloud(np.array(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [1.0, 3.0]))
    assert emd(x, y, squared=True) == 2.5
    assert emd(x, y, squared=False) == 1.5


@SQUARED
@pytest.mark.parametrize("kind", ["spread", "voxels", "coincident", "far", "tiny"])
def test_potentials_do_not_change_the_assignment(squared, kind, rng):
    """Ties, duplicates, offsets; any start at all leaves the distance what it is."""
    x, y = cloud(rng, 140), cloud(rng, 140)
    change = {
        "spread": lambda p: p,
        "voxels": np.round,
        "coincident": np.zeros_like,
        "far": lambda p: p + 1e6,
        "tiny": lambda p: 1e-160 * p,
    }[kind]
    x, y = x._replace(points=change(x.points)), y._replace(points=change(y.points))
    cost = cost_matrix(x, y, squared=squared)
    truth = np.mean(cost[linear_sum_assignment(cost)])
    size = np.max(cost)
    assert abs(emd(x, y, squared=squared) - truth) <= 1e-14 * size
    for f in (np.zeros(140), size * rng.standard_normal(140), None):
        assert abs(exact_cost(cost, x, y, f) - truth) <= 1e-13 * size


# The dual bound


@SQUARED
@given(st.integers(1, 30), st.integers(1, 30), st.booleans(), strategies.seeds)
def test_a_dual_is_feasible_and_its_value_a_bound(squared, n, m, weighted, seed):
    """From good potentials and from any."""
    rng = np.random.default_rng(seed)
    x, y = cloud(rng, n, 2, weighted), cloud(rng, m, 2, weighted)
    cost = cost_matrix(x, y, squared=squared)
    truth = emd(x, y, squared=squared)
    for f in (rough_potential(cost, x.weights, y.weights), 10 * rng.standard_normal(n), np.zeros(n)):
        found = dual(cost, x.weights, y.weights, f)
        assert np.all(found.f[:, None] + found.g <= cost + 1e-14 * np.max(cost))
        assert found.bound <= truth


@SQUARED
def test_the_dual_bound_is_tight(squared, rng):
    """A few percent, which neither no potentials nor those of the wrong sign or size reach."""
    x, y = cloud(rng, 200), cloud(rng, 200)
    cost = cost_matrix(x, y, squared=squared)
    truth = emd(x, y, squared=squared)
    f = rough_potential(cost, x.weights, y.weights)
    assert 0.97 * truth < dual(cost, x.weights, y.weights, f).bound <= truth
    for wrong in (-f, f / 2, 2 * f, 0 * f):
        assert dual(cost, x.weights, y.weights, wrong).bound < 0.96 * truth


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1.0, 1e30, 1e150])
def test_potentials_at_any_scale(scale, rng):
    x, y = cloud(rng, 50), cloud(rng, 50)
    cost = scale * cost_matrix(x, y, squared=True)
    f = rough_potential(cost, x.weights, y.weights)
    assert np.all(np.isfinite(f))
    truth = np.mean(cost[linear_sum_assignment(cost)])
    assert 0.9 * truth < dual(cost, x.weights, y.weights, f).bound <= truth


def test_a_wild_cost_still_gives_a_bound(rng):
    """Entries over twenty orders of magnitude, weights over sixty: float32 overflows, the bound stays one."""
    cost = 10.0 ** rng.uniform(-10, 10, (40, 40))
    a, b = (w / w.sum() for w in 10.0 ** rng.uniform(-60, 0, (2, 40)))
    found = dual(cost, a, b, rough_potential(cost, a, b))
    assert np.all(found.f[:, None] + found.g <= cost + 1e-14 * np.max(cost))
    assert found.bound <= a @ cost @ b  # the product of the marginals is a plan


# Bounds from projections


def bounds_of(xs, ys, *, squared):
    frames = random_frames(xs[0].points.shape[1], rng=np.random.default_rng(0))
    return frame_bounds(xs, ys, frames, squared=squared)


def test_random_frames_are_orthonormal(rng):
    frames = random_frames(4, rng=rng, count=3)
    assert frames.shape == (3, 4, 4)
    np.testing.assert_allclose(frames.mT @ frames, np.broadcast_to(np.eye(4), frames.shape), atol=1e-14)
    assert not np.allclose(frames[0], frames[1])


@SQUARED
@given(st.integers(1, 5), st.integers(1, 4), strategies.seeds)
def test_frame_bounds_are_bounds(squared, count, d, seed):
    rng = np.random.default_rng(seed)
    xs, ys = ([cloud(rng, rng.integers(1, 9), d, rng.random() < 0.5) for _ in range(count)] for _ in range(2))
    bounds = bounds_of(xs, ys, squared=squared)
    truth = np.array([[emd(x, y, squared=squared) for y in ys] for x in xs])
    assert np.all(bounds <= truth)
    assert np.all(bounds >= 0)


@SQUARED
def test_frame_bounds_are_exact_for_translations(squared, rng):
    """And for points on a line, whose quantile functions are constant on the cells."""
    x = cloud(rng, 30)
    y = x._replace(points=x.points + np.array([3.0, -1.0, 2.0]))
    exact = emd(x, y, squared=squared)
    np.testing.assert_allclose(bounds_of([x], [y], squared=squared), [[exact]], rtol=1e-9)
    x, y = cloud(rng, emd_module.CELLS, 1), cloud(rng, emd_module.CELLS // 2, 1)
    exact = emd(x, y, squared=squared)
    np.testing.assert_allclose(bounds_of([x], [y], squared=squared), [[exact]], rtol=1e-9)


def test_quantile_cells_are_means_of_the_quantile_function(rng):
    x = cloud(rng, 7, 2, weighted=True)
    cells = quantile_cells(x.points, x.weights, np.eye(2))
    order = np.argsort(x.points[:, 1])
    fine = (np.arange(64_000) + 0.5) / 64_000
    at = np.minimum(np.searchsorted(np.cumsum(x.weights[order]), fine), 6)
    truth = x.points[order, 1][at].reshape(emd_module.CELLS, -1).mean(axis=1)
    np.testing.assert_allclose(cells[1], truth, atol=5e-3)
    np.testing.assert_allclose(cells.mean(axis=1), x.weights @ x.points, rtol=1e-13)


def test_line_distances_agree_with_scipy(rng):
    """Euclidean cost on the line, by another route."""
    x, y = cloud(rng, 8, 1, weighted=True), cloud(rng, 5, 1, weighted=True)
    truth = wasserstein_distance(x.points[:, 0], y.points[:, 0], x.weights, y.weights)
    np.testing.assert_allclose(emd(x, y, squared=False), truth, rtol=1e-9)


def test_moments_divided_by_n_minus_one_are_no_bound(rng):
    """Gelbrich's bound holds for the covariance of the cloud itself; the unbiased estimate exceeds it."""
    x = cloud(rng, 6, 2)
    mean, C = x.points.mean(axis=0), np.array([[2.0, 0.5], [0.5, 1.0]])
    y = PointCloud(mean + (x.points - mean) @ C, x.weights)  # an optimal map
    exact = emd(x, y, squared=True)
    mu, nu = (moments(*z) for z in (x, y))
    np.testing.assert_allclose(bures.sq_distance(mu, nu), exact, rtol=1e-12)
    assert bounds_of([x], [y], squared=True)[0, 0] <= exact
    wrong = bures.sq_distance(*(Gaussian(z.mean, z.cov * 6 / 5) for z in (mu, nu)))
    assert wrong > 1.05 * exact


def test_the_mean_over_axes_instead_of_the_sum_is_weak(rng):
    """And the sum of Euclidean costs over the axes is no bound: control of the Jensen step."""
    x, y = cloud(rng, 40), cloud(rng, 40)
    y = y._replace(points=y.points + 5.0)
    axis = [emd(*(PointCloud(z.points[:, [k]], z.weights) for z in (x, y)), squared=False) for k in range(3)]
    exact = emd(x, y, squared=False)
    assert sum(axis) > exact
    assert np.linalg.norm(axis) <= exact
    assert bounds_of([x], [y], squared=False)[0, 0] <= exact
    assert cdist([axis], [[0.0] * 3])[0, 0] > 0.9 * exact
