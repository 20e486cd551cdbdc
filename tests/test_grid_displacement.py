"""Displacement of a plan on a grid, and the cost on the sphere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm.transport.grid_displacement import axis_shares, displaced_histogram
from refwfm.transport.grids import Grid, grid_points, unit_grid
from refwfm.transport.sphere import spherical_cost


@given(st.integers(0, 99), st.floats(0, 1), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_mass_and_mean_move_straight(seed, t, shape):
    rng = np.random.default_rng(seed)
    axes = tuple(np.cumsum(rng.uniform(0.1, 1.0, s)) * (-1) ** k for k, s in enumerate(shape))
    grid = Grid(axes)
    n = grid.size
    plan = rng.dirichlet(np.ones(n * n), 2).reshape(2, n, n)
    found, points = displaced_histogram(plan, grid, t), grid_points(grid)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0)
    assert np.all(found >= -1e-15)
    ends = [plan.sum(axis=-1), plan.sum(axis=-2)]
    np.testing.assert_allclose(found @ points, (1 - t) * ends[0] @ points + t * ends[1] @ points, atol=1e-12)
    for end, truth in zip((0.0, 1.0), ends, strict=True):
        np.testing.assert_allclose(displaced_histogram(plan, grid, end), truth, atol=1e-14)


def test_mass_moves_and_does_not_fade():
    """From one corner to the opposite one: at half time all is in the middle, where a mixture has none."""
    grid = unit_grid((3, 3), like=np.zeros(0))
    plan = np.zeros((9, 9))
    plan[0, 8] = 1.0
    np.testing.assert_array_equal(displaced_histogram(plan, grid, 0.5), np.eye(9)[4])
    assert 0.5 * (plan.sum(0) + plan.sum(1))[4] == 0.0  # control


def test_wrong_arguments():
    grid = unit_grid((2, 2), like=np.zeros(0))
    with pytest.raises(ValueError, match=r"plan must have shape \(..., 4, 4\)"):
        displaced_histogram(np.ones((3, 3)), grid, 0.5)
    with pytest.raises(ValueError, match=r"t must be from 0 to 1; got 1\.5"):
        displaced_histogram(np.ones((4, 4)), grid, 1.5)
    with pytest.raises(ValueError, match="strictly increase or strictly decrease"):
        axis_shares(np.asarray([0.0, 1.0, 0.5]), 0.5)


def test_coincident_points_are_not_at_distance_zero(rng):
    x = rng.normal(size=(5, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    cost = spherical_cost(x, x)
    np.testing.assert_allclose(np.diagonal(cost), 0.01414, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(spherical_cost(x, -x)), np.pi - 0.01414, atol=1e-5)
    with pytest.raises(ValueError, match="y must hold unit vectors; got a length that is off by 1"):
        spherical_cost(x, 2 * x)
    x[1] = np.nan
    assert np.isnan(spherical_cost(x, x)[1]).all()
    assert np.isfinite(spherical_cost(x, x)[0, 2:]).all()


def test_libraries_agree(library, rng):
    plan = rng.dirichlet(np.ones(36), 3).reshape(3, 6, 6)
    grid = unit_grid((2, 3), like=np.zeros(0))
    library.check(lambda p, *axes: displaced_histogram(p, Grid(axes), 0.3), plan, *grid.axes, ulps=100)
