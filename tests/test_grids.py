"""Transport on grids: the separable form against the dense one, and the twin by products against both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm.backends import _grids as twin
from refwfm.evidence import ConvergenceError
from refwfm.transport.grids import Grid, check_histograms, grid_points, grid_sinkhorn, grid_softmin, unit_grid
from refwfm.transport.semidual import semidual_value_and_gradient
from refwfm.transport.sinkhorn import plan, sinkhorn, softmin, sq_euclidean_cost

LIKE = np.zeros(0)
SOFTMINS = {"reference": grid_softmin, "twin": twin.grid_softmin}


def dense(grid):
    points = grid_points(grid)
    return sq_euclidean_cost(points, points)


def histograms(rng, grid, *batch):
    weights = rng.dirichlet(np.ones(grid.size), size=batch)
    weights[..., : grid.size // 4] = 0.0
    return weights / weights.sum(axis=-1, keepdims=True)


@given(
    st.integers(0, 99),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from([1e-3, 0.007, 0.02, 0.3, 1e3, 1e12, np.inf]),
    st.sampled_from(list(SOFTMINS)),
)
def test_soft_minimum_is_the_dense_one(seed, shape, eps, name):
    rng = np.random.default_rng(seed)
    grid = Grid(tuple(rng.uniform(size=s) for s in shape))
    w, p = histograms(rng, grid, 3), 0.5 * rng.normal(size=(3, grid.size))
    epsilons = np.asarray([eps, 2 * eps, eps])
    off = {"rtol": 1e-13, "atol": 1e-13 + (1e-15 * eps if eps < 1e12 else 0.0)}  # exponents are rounded
    for given_eps in (epsilons, np.asarray(eps)):
        truth = softmin(dense(grid), p, w, given_eps)
        np.testing.assert_allclose(SOFTMINS[name](grid, p, w, given_eps), truth, **off)
    if grid.size > 1 and eps < 1e3:
        assert (
            np.max(np.abs(softmin(dense(grid) ** 0.5, p, w, epsilons) - softmin(dense(grid), p, w, epsilons)))
            > 1e-6
        )  # control


def test_twin_where_products_would_underflow(rng):
    """eps at which the plain kernel is 0, in either dtype, and a potential far below the others."""
    grid = unit_grid((6, 5), like=LIKE)
    w, p = histograms(rng, grid), rng.normal(size=30)
    p[20] = -1e4
    for eps in (1e-4, 1 / 400, 1 / 160):
        truth = grid_softmin(grid, p, w, np.asarray(eps))
        np.testing.assert_allclose(
            twin.grid_softmin(grid, p, w, np.asarray(eps)), truth, rtol=1e-13, atol=1e-13
        )
    small = Grid(tuple(axis.astype(np.float32) for axis in grid.axes))
    got = twin.grid_softmin(small, p.astype(np.float32), w.astype(np.float32), np.float32(0.01))
    assert got.dtype == np.float32
    truth = grid_softmin(grid, p.astype(np.float32).astype(float), w, np.asarray(0.01))
    np.testing.assert_allclose(got, truth, rtol=1e-6, atol=1e-6)
    with np.errstate(all="ignore"):
        naive = np.log(np.exp(np.float32(-dense(grid) / 0.01)) @ np.exp(p / 0.01).astype(np.float32))
    assert not np.isfinite(naive).all()  # control


@pytest.mark.parametrize("name", SOFTMINS)
@pytest.mark.parametrize("check_every", [1, 10])
def test_solution_is_the_dense_one(rng, name, check_every):
    grid = unit_grid((5, 4), like=LIKE)
    a, b = histograms(rng, grid, 3), histograms(rng, grid, 3)
    options = {"eps": np.asarray([0.03, 0.1, 1.0]), "tol": 1e-6, "check_every": check_every}
    ours = grid_sinkhorn(grid, a, b, minimum=SOFTMINS[name], **options)
    truth = sinkhorn(dense(grid), a, b, **options)
    assert ours.n_iter == truth.n_iter
    assert (ours.n_iter - 1) % check_every == 0
    np.testing.assert_allclose(plan(dense(grid), a, b, ours), plan(dense(grid), a, b, truth), atol=1e-13)
    np.testing.assert_allclose(ours.f[a > 0], truth.f[a > 0], atol=1e-13)
    np.testing.assert_allclose(ours.col_error, truth.col_error, atol=1e-13)
    assert ours.converged.all()
    again = grid_sinkhorn(grid, a[1], b[1], f_init=ours.f[1], eps=0.1, check_every=1)
    assert again.n_iter == 1


@pytest.mark.parametrize("name", SOFTMINS)
def test_value_and_gradient_are_the_dense_ones(rng, name):
    grid = unit_grid((5, 4), like=LIKE)
    a, b = histograms(rng, grid, 3), histograms(rng, grid, 3)
    f = 0.1 * rng.normal(size=(3, 20))
    ours = semidual_value_and_gradient(f, grid, a, b, eps=0.02, minimum=SOFTMINS[name])
    truth = semidual_value_and_gradient(f, dense(grid), a, b, eps=0.02)
    for x, y in zip(ours, truth, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-12)
    assert np.max(np.abs(ours[1])) > 1e-3


def test_errors_at_every_iteration_cost_no_more(rng):
    grid = unit_grid((3, 3), like=LIKE)
    a, b = histograms(rng, grid), histograms(rng, grid)
    calls = []

    def counted(*given):
        calls.append(1)
        return grid_softmin(*given)

    for check_every in (1, 100):
        grid_sinkhorn(
            grid,
            a,
            b,
            eps=0.05,
            tol=1e-9,
            max_iter=7,
            require=False,
            check_every=check_every,
            minimum=counted,
        )
    assert len(calls) == 2 * (1 + 2 * 7)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(()), "at least one axis"),
        (Grid((np.zeros((2, 2)),)), r"shapes \(s,\)"),
        (Grid((np.asarray([0.0, np.nan, 1.0]),)), "finite coordinates"),
        (Grid((np.zeros(4),)), r"must have shapes \(..., 4\)"),
    ],
)
def test_wrong_grids(grid, message):
    with pytest.raises(ValueError, match=message):
        check_histograms(grid, *np.full((2, 3), 1 / 3), eps=1.0)


def test_what_does_not_converge_says_so(rng):
    grid = unit_grid((4, 4), like=LIKE)
    a, b = histograms(rng, grid), histograms(rng, grid)
    with pytest.raises(ConvergenceError, match="no convergence in 2 iterations"):
        grid_sinkhorn(grid, a, b, eps=0.01, tol=1e-9, max_iter=2)
    with pytest.raises(ValueError, match="mass 1"):
        grid_sinkhorn(grid, 2 * a, b, eps=0.01)
    broken = grid_sinkhorn(grid, a * np.nan, b, eps=0.01, validate=False, require=False, max_iter=3)
    assert not broken.converged
    assert np.isnan(broken.row_error)


@pytest.mark.slow
def test_libraries_agree(library, rng):
    for shape in library.batches:
        grid = unit_grid((3, 4), like=LIKE)
        a, b = histograms(rng, grid, *shape), histograms(rng, grid)
        library.check(
            lambda *x: grid_sinkhorn(Grid(x[:2]), *x[2:], eps=0.2, tol=None, max_iter=20)[:2],
            *grid.axes,
            a,
            b,
            ulps=1000,
        )
