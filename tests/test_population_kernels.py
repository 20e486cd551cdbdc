"""What particles see of their population through kernels: limits, bounds, padding, what is refused."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.populations.embedding import Told
from refwfm.populations.kernels import kernel_readout
from refwfm.populations.velocity import init_velocity, velocity
from refwfm.training import optim


def looking(seed, n=4, m=6, d=2):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((1, n, d)), rng.standard_normal((1, m, d))


@given(strategies.seeds, st.integers(1, 5), st.integers(1, 7), st.floats(0.05, 20.0))
def test_means_are_among_the_particles_and_distances_between_least_and_largest(seed, d, m, s):
    x, particles = looking(seed, m=m, d=d)
    steps, distances = kernel_readout(x, particles, bandwidths=(s,))
    means = x + s * steps[:, :, 0]
    assert np.all(means >= particles.min(axis=1, keepdims=True) - 1e-9)
    assert np.all(means <= particles.max(axis=1, keepdims=True) + 1e-9)
    there = np.linalg.norm(x[0][:, None] - particles[0], axis=-1)
    assert np.all(distances[0, :, 0] >= there.min(axis=1) - 1e-9)
    assert np.all(distances[0, :, 0] <= there.max(axis=1) + 1e-9)


def test_narrow_kernels_see_the_nearest_and_wide_ones_the_mean():
    x, particles = looking(0)
    steps, distances = kernel_readout(x, particles, bandwidths=(1e-3, 1e4))
    there = np.linalg.norm(x[0][:, None] - particles[0], axis=-1)
    nearest = particles[0][there.argmin(axis=1)]
    np.testing.assert_allclose(x[0] + 1e-3 * steps[0, :, 0], nearest, atol=1e-12)
    np.testing.assert_allclose(distances[0, :, 0], there.min(axis=1), atol=1e-5)
    np.testing.assert_allclose(x[0] + 1e4 * steps[0, :, 1], np.tile(particles[0].mean(0), (4, 1)), atol=1e-7)
    np.testing.assert_allclose(distances[0, :, 1], np.sqrt(np.mean(there**2, axis=1)), rtol=1e-6)


def test_nobody_has_no_influence_and_nan_stays_with_its_population():
    x, particles = (np.concatenate([each] * 3) for each in looking(1))
    particles[0, 0], particles[1, 0] = np.nan, np.inf
    live = np.array([[True] * 6, [False] + [True] * 5, [False] * 6])
    steps, distances = kernel_readout(x, particles, live, bandwidths=(0.5, 2.0))
    assert np.isnan(steps[0]).all()
    assert np.isnan(distances[0]).all()
    alone = kernel_readout(x[1:2], particles[1:2, 1:], bandwidths=(0.5, 2.0))
    np.testing.assert_allclose(steps[1], alone[0][0], atol=1e-12)
    np.testing.assert_allclose(distances[1], alone[1][0], atol=1e-12)
    assert not steps[2].any()
    assert not distances[2].any()


def test_a_velocity_reads_them_behind_the_condition(rng):
    """One particle of each population: what it sees may as well be told as a condition."""
    bandwidths, sizes = (0.5, 2.0), {"width": 6, "depth": 2, "n_time": 4, "n_space": 3}
    params = init_velocity(rng, 2, like=np.zeros(0), n_condition=1, kernels=2, **sizes)
    params = optim.tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)
    x, c, t = rng.standard_normal((5, 1, 2)), rng.standard_normal((5, 1)), rng.uniform(size=5)
    told = Told(np.zeros((5, 0)), rng.standard_normal((5, 7, 2)), np.zeros((5, 7, 0)))
    steps, distances = kernel_readout(x, told.x, bandwidths=bandwidths)
    seen = np.concatenate([c, steps.reshape(5, 4), distances[:, 0]], axis=1)
    v, pullback = velocity(params, x, t, None, c, n_time=4, population=told, bandwidths=bandwidths)
    as_told, pull_told = velocity(params, x, t, None, seen, n_time=4)
    np.testing.assert_allclose(v, as_told, atol=1e-12)
    d_v = rng.standard_normal(v.shape)
    grads, wanted = (optim.flatten(pull(d_v)[0]) for pull in (pullback, pull_told))
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, wanted[name], atol=1e-12)
    with pytest.raises(ValueError, match="give population"):
        velocity(params, x, t, None, c, n_time=4, bandwidths=bandwidths)
    with pytest.raises(ValueError, match="1 bandwidths"):
        velocity(params, x, t, None, c, n_time=4, population=told, bandwidths=(0.5,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bandwidths": ()}, "bandwidths must be positive numbers, at least one"),
        ({"bandwidths": (1.0, 0.0)}, "bandwidths must be positive"),
        ({"bandwidths": (float("nan"),)}, "bandwidths must be positive"),
        ({"particles": np.zeros((2, 3, 2))}, r"x and particles must have shapes \(B, n, d\) and \(B, m, d\)"),
        ({"particles": np.zeros((1, 3, 1))}, "x and particles must have shapes"),
        ({"mask": np.ones((1, 2), dtype=bool)}, "mask must have the shape"),
    ],
)
def test_what_is_refused(change, words):
    given = {"x": np.zeros((1, 4, 2)), "particles": np.ones((1, 3, 2)), "mask": None, "bandwidths": (1.0,)}
    given |= change
    with pytest.raises(ValueError, match=words):
        kernel_readout(given["x"], given["particles"], given["mask"], bandwidths=given["bandwidths"])
