"""Warm starts: good ones save iterations, bad ones are not used and change nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm._array import to_host
from refwfm.measures import PointCloud
from refwfm.transport.grids import Grid, grid_points, unit_grid
from refwfm.transport.semidual import semidual_gradient, semidual_value
from refwfm.transport.sinkhorn import plan, sinkhorn, sq_euclidean_cost
from refwfm.transport.starts import (
    error_curve,
    iterations_to,
    start_potential,
    usable_start,
    warm_sinkhorn,
    zero_potential,
)

EPS = 0.1
GRID = unit_grid((4, 5), like=np.zeros(0))
POINTS = grid_points(GRID)
COST = sq_euclidean_cost(POINTS, POINTS)


def pair(rng, *batch):
    return rng.dirichlet(np.ones(20), size=batch), rng.dirichlet(np.ones(20), size=batch)


BAD = {
    "NaN": lambda f: f * np.nan,
    "one NaN": lambda f: np.where(np.arange(20) == 3, np.nan, f),
    "infinite": lambda f: f + np.where(np.arange(20) == 3, np.inf, 0.0),
    "minus infinite": lambda f: f - np.where(np.arange(20) == 3, np.inf, 0.0),
    "huge": lambda f: 1e300 * f,
    "overflowing": lambda f: 1e308 * np.sign(f),
    "a huge constant": lambda f: 0.0 * f + 1e300,
    "noise": lambda f: 5.0 * np.random.default_rng(0).normal(size=f.shape),
    "the sign": lambda f: -20.0 * f,
}


@pytest.mark.parametrize("cost", [COST, GRID], ids=["dense", "grid"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_start_ends_in_the_right_plan_and_is_reported(rng, name, cost):
    a, b = pair(rng)
    cold = sinkhorn(COST, a, b, eps=EPS, tol=1e-11)
    found, used = warm_sinkhorn(cost, a, b, BAD[name](cold.f), eps=EPS, tol=1e-11)
    np.testing.assert_allclose(plan(COST, a, b, found), plan(COST, a, b, cold), atol=1e-9)
    assert found.converged
    assert not used or name == "a huge constant"  # which, less itself, is zeros


@given(st.integers(0, 99))
def test_warm_cold_and_gaussian_starts_agree(seed):
    """The same plan, and the same f up to a constant: compared without its mean."""
    rng = np.random.default_rng(seed)
    a, b = pair(rng)
    clouds = PointCloud(POINTS, a), PointCloud(POINTS, b)
    cold = sinkhorn(COST, a, b, eps=EPS, tol=1e-11)
    for start in (start_potential("gaussian", *clouds), cold.f + 3.0, zero_potential(*clouds)):
        warm = warm_sinkhorn(COST, a, b, start, eps=EPS, tol=1e-11).solution
        np.testing.assert_allclose(plan(COST, a, b, warm), plan(COST, a, b, cold), atol=1e-9)
        np.testing.assert_allclose(warm.f - warm.f @ a, cold.f - cold.f @ a, atol=1e-7)


def test_a_solution_takes_one_iteration(rng):
    a, b = pair(rng)
    done = sinkhorn(COST, a, b, eps=EPS, tol=1e-9)
    again = warm_sinkhorn(COST, a, b, done.f, eps=EPS, check_every=1)
    assert again.start_used
    assert again.solution.n_iter == 1
    assert sinkhorn(COST, a, b, eps=EPS, check_every=1).n_iter > 3  # control


@given(
    st.integers(0, 99), st.floats(-10.0, 10.0), st.sampled_from([1e-100, 1.0, 1e100]), st.sampled_from([0, 1])
)
def test_a_constant_is_worth_as_much_as_zeros(seed, constant, size, noise):
    """Exactly, and with the rounding of its values; what is truly worse, by little, is not used."""
    rng = np.random.default_rng(seed)
    a, b = pair(rng)
    a[:3], a[3] = 0.0, a[:4].sum()
    f = size * constant * (1.0 + noise * 1e-16 * rng.normal(size=20))
    for cost in (COST * size, Grid(tuple(axis * size**0.5 for axis in GRID.axes))):
        assert usable_start(f, cost, a, b, eps=EPS * size)[1]
    worse = 1e-4 * rng.normal(size=20)
    lower = semidual_value(worse, COST, a, b, eps=EPS) < semidual_value(0.0 * worse, COST, a, b, eps=EPS)
    assert usable_start(worse, COST, a, b, eps=EPS)[1] == (not lower)


def test_only_the_shape_of_a_start_is_an_error(rng):
    a, b = pair(rng)
    for cost in (COST, GRID):
        with pytest.raises(ValueError, match=r"f_init must have shape \(\.\.\., 20\).*got \(19,\)"):
            warm_sinkhorn(cost, a, b, np.zeros(19), eps=EPS)
        with pytest.raises(TypeError, match="float32"):
            warm_sinkhorn(cost, a, b, np.zeros(20, np.float32), eps=EPS)
        assert warm_sinkhorn(cost, a, b, np.zeros(20), eps=EPS).start_used


def test_a_curve_of_the_start_alone_reaches_nothing(library):
    errors = library.array(np.zeros((1, 3)))
    assert to_host(iterations_to(errors, 1.0)).tolist() == [-1, -1, -1]
    assert to_host(iterations_to(errors[:, 0], 1.0)).tolist() == -1


def test_each_member_is_judged_by_itself(rng):
    a, b = pair(rng, 3)
    best = sinkhorn(COST, a, b, eps=EPS, tol=1e-9).f
    best[1] = np.nan
    f, used = usable_start(best, COST, a, b, eps=EPS)
    assert used.tolist() == [True, False, True]
    assert np.all(f[1] == 0.0)
    np.testing.assert_allclose(np.sum(f * a, axis=-1), 0.0, atol=1e-12)


def test_padding_may_hold_anything(rng):
    a, b = pair(rng)
    a[0], a[1] = 0.0, a[0] + a[1]
    f = sinkhorn(COST, a, b, eps=EPS, tol=1e-9).f
    f[0] = np.nan
    assert usable_start(f, COST, a, b, eps=EPS)[1]
    assert np.isfinite(usable_start(f, COST, a, b, eps=EPS)[0]).all()


def test_curve_is_what_sinkhorn_reports(rng):
    a, b = pair(rng)
    f = 0.05 * rng.normal(size=20)
    curve = error_curve(GRID, a, b, eps=EPS, n_iter=30, f_init=f)
    assert curve[0] == pytest.approx(np.sum(np.abs(semidual_gradient(f, COST, a, b, eps=EPS))))
    for k in (1, 2, 7):
        found = sinkhorn(COST, a, b, eps=EPS, tol=None, max_iter=k, f_init=f, require=False)
        assert curve[k] == pytest.approx(float(found.row_error + found.col_error), abs=1e-12)
    for tol in (1e-1, 1e-2, 1e-3):
        found = sinkhorn(COST, a, b, eps=EPS, tol=tol, f_init=f, check_every=1)
        assert iterations_to(curve, tol) == found.n_iter
    assert iterations_to(curve, 1e-300) == -1


def test_starts_by_name(rng):
    clouds = [PointCloud(POINTS, weights) for weights in pair(rng)]
    assert (
        start_potential("amortised", *clouds, predict=lambda x, y: x.weights).tolist()
        == clouds[0].weights.tolist()
    )
    with pytest.raises(ValueError, match="needs predict"):
        start_potential("amortised", *clouds)
    with pytest.raises(ValueError, match="'zeros', 'gaussian', 'amortised'; got 'warm'"):
        start_potential("warm", *clouds)


@pytest.mark.slow
def test_libraries_agree(library, rng):
    a, b = pair(rng)
    f = 0.05 * rng.normal(size=20)
    library.check(
        lambda *x: error_curve(*x[:3], eps=EPS, n_iter=3, f_init=x[3]), COST, a, b, f, ulps=1000, scale=1.0
    )
