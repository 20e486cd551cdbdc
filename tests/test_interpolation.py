"""Displacement interpolation of clouds: a constant-speed geodesic under the optimal map."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.clouds import uniform
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.transport.exact import assignment, sq_wasserstein2


def sq_distance(x, y):
    return float(sq_wasserstein2(uniform(x), uniform(y)))


def optimal_images(x, y):
    return y[assignment(np.sum((x[:, None] - y) ** 2, axis=-1))]


@given(st.integers(1, 7), st.integers(1, 3), strategies.times, strategies.times, strategies.seeds)
def test_the_optimal_map_moves_at_constant_speed(n, d, s, t, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, d))
    images = optimal_images(x, y)
    whole = sq_distance(x, y)
    part = sq_distance(displacement(x, images, s), displacement(x, images, t))
    assert part == pytest.approx((t - s) ** 2 * whole, abs=1e-13 * (1 + whole))
    energy = np.mean(np.sum(displacement_velocity(x, images) ** 2, axis=-1))
    assert energy == pytest.approx(whole, rel=1e-12)


def test_other_maps_do_not(rng):
    """The control: under a map that is not optimal the curve is longer than the distance."""
    x, y = rng.standard_normal((2, 20, 2))
    worst = y[assignment(-np.sum((x[:, None] - y) ** 2, axis=-1))]
    assert sq_distance(x, displacement(x, worst, 0.9)) < 0.9 * 0.81 * np.mean(np.sum((x - worst) ** 2, -1))
    assert np.mean(np.sum(displacement_velocity(x, worst) ** 2, -1)) > 1.5 * sq_distance(x, y)


@given(strategies.times, strategies.times, strategies.times, strategies.seeds)
def test_parts_of_the_way_are_ways(s, t, r, seed):
    """Semigroup and time reversal, for any map."""
    x, images = np.random.default_rng(seed).standard_normal((2, 4, 3))
    at_s, at_t = displacement(x, images, s), displacement(x, images, t)
    between = displacement(x, images, (1 - r) * s + r * t)
    np.testing.assert_allclose(displacement(at_s, at_t, r), between, atol=1e-14)
    np.testing.assert_allclose(displacement(images, x, 1.0 - t), at_t, atol=1e-14)


def test_ends_are_exact(rng):
    x, images = 1e8 * rng.standard_normal((2, 5, 2))
    np.testing.assert_array_equal(displacement(x, images, 0.0), x)
    np.testing.assert_array_equal(displacement(x, images, 1.0), images)
    np.testing.assert_array_equal(
        displacement(np.stack([x, x]), np.stack([images, images]), np.array([0.0, 1.0]))[1], images
    )


def test_velocity_is_the_derivative(rng):
    x, images = rng.standard_normal((2, 5, 2))
    for t in (0.1, 0.9):
        rate = (displacement(x, images, t + 1e-3) - displacement(x, images, t - 1e-3)) / 2e-3
        np.testing.assert_allclose(displacement_velocity(x, images), rate, atol=1e-12)


def test_on_every_library(library, rng):
    for batch in library.batches:
        x, images = rng.standard_normal((2, *batch, 4, 3))
        library.check(displacement, x, images, rng.random(batch), ulps=4)
        library.check(lambda x, y: displacement(x, y, 0.25), x, images, ulps=4)
        library.check(displacement_velocity, x, images, ulps=2)


@pytest.mark.parametrize("t", [-0.1, 1.5, float("nan"), np.array([0.5, 2.0]), np.array([np.nan, 0.5])])
def test_times_outside_are_refused(t):
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\]"):
        displacement(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), t)
    displacement(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), t, validate=False)


def test_shapes_and_dtypes_are_checked():
    for function in (displacement_velocity, lambda x, y: displacement(x, y, 0.5)):
        with pytest.raises(ValueError, match=r"same shape .* \(3, 2\) and \(1, 2\)"):
            function(np.zeros((3, 2)), np.zeros((1, 2)))
    with pytest.raises(TypeError, match="float64; got float32"):
        displacement(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((), np.float32))


def test_numbers_may_be_numpys_and_lists_are_refused():
    x, y = np.zeros((2, 1)), np.ones((2, 1))
    for t in (np.int64(1), np.float32(1.0), 1):
        np.testing.assert_array_equal(displacement(x, y, t), y)
    for arguments, name in ((([[0.0]], y, 0.5), "x"), ((x, None, 0.5), "images"), ((x, y, [0.5]), "t")):
        with pytest.raises(TypeError, match=f"{name} must be an array"):
            displacement(*arguments)
    with pytest.raises(ValueError, match="must broadcast"):
        displacement(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), np.zeros(3))
