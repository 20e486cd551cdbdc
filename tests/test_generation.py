"""Generation: exact on known fields for every number of steps, and always positive semi-definite."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative

from refwfm import bures
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.generation import exponential_step, generate, projected_euler_step
from refwfm.measures import Gaussian

STEPS = [1, 3, 10]


@pytest.fixture
def ends(rng):
    return oracles.random_gaussian(rng, 4, 3), oracles.random_gaussian(rng, 4, 3)


def error(result, truth):
    return max(relative(result.gaussian.mean, truth.mean), relative(result.gaussian.cov, truth.cov))


def toward(nu):
    """The conditional field: the rest of the way over the rest of the time."""

    def field(mu, t):
        v = bures.log(mu, nu)
        return Tangent(v.mean / (1 - t)[:, None], v.lift / (1 - t)[:, None, None])

    return field


@pytest.mark.parametrize("n_steps", STEPS)
def test_conditional_field_lands_on_its_target(ends, n_steps):
    """From every source, in any number of steps."""
    mu, nu = ends
    assert error(generate(toward(nu), mu, n_steps=n_steps), nu) < 1e-11
    one = Gaussian(nu.mean[:1], nu.cov[:1])
    target = Gaussian(*(np.broadcast_to(x, (4, *x.shape[1:])) for x in one))
    assert error(generate(toward(one), mu, n_steps=n_steps), target) < 1e-11


@pytest.mark.parametrize("n_steps", STEPS)
def test_exponential_steps_telescope_along_a_geodesic(ends, n_steps):
    """Every point on the way is exact, not only the last; Euler steps in the numbers are not exact."""
    mu, nu = ends
    seen = []
    result = generate(
        lambda _, t: bures.velocity(mu, nu, t),
        mu,
        n_steps=n_steps,
        observe=lambda k, point: seen.append((k, point)),
    )
    assert [k for k, _ in seen] == list(range(n_steps + 1))
    for k, point in seen:
        truth = bures.interpolate(mu, nu, k / n_steps)
        assert relative(point.mean, truth.mean) < 1e-12
        assert relative(point.cov, truth.cov) < 1e-12
    assert error(result, nu) < 1e-12
    wrong = {
        "Euler steps": generate(
            lambda _, t: bures.euclidean_velocity(mu, nu, t), mu, n_steps=n_steps, step=projected_euler_step
        ),
        "the Euclidean derivative (the paper's eq. 9) in exponential steps": generate(
            lambda _, t: Tangent(*bures.euclidean_velocity(mu, nu, t)), mu, n_steps=n_steps
        ),
        "the velocity of the start": generate(
            lambda _, t: bures.velocity(mu, nu, 0.0 * t), mu, n_steps=n_steps
        ),
    }
    if n_steps == 1:
        del wrong["the velocity of the start"]
    for name, result in wrong.items():
        assert error(result, nu) > 0.01, name


def test_euler_steps_converge_to_the_geodesic(ends):
    """With order one: twice the steps, half the error."""
    mu, nu = ends

    def off(n_steps):
        field = lambda _, t: bures.euclidean_velocity(mu, nu, t)  # noqa: E731
        return error(generate(field, mu, n_steps=n_steps, step=projected_euler_step), nu)

    assert 1.8 < off(50) / off(100) < 2.2
    assert off(100) < 0.05


@given(st.integers(1, 5), st.integers(1, 6), strategies.seeds, st.floats(0.1, 1e3))
def test_exponential_steps_stay_positive_semi_definite(d, n_steps, seed, size):
    """For symmetric fields of any size, where adding ``h dΣ/dt`` does not."""
    rng = np.random.default_rng(seed)
    mu = oracles.random_gaussian(rng, 3, d)
    lifts = size * rng.standard_normal((n_steps, 3, d, d))
    lifts = (lifts + lifts.mT) / 2

    def field(mu, t):
        k = round(float(t[0]) * n_steps)
        return Tangent(np.zeros((3, d)), lifts[k])

    result = generate(field, mu, n_steps=n_steps)
    cov = result.gaussian.cov
    np.testing.assert_array_equal(cov, cov.mT)
    values = np.linalg.eigvalsh(cov)
    assert np.all(values[:, 0] >= -100 * d * EPS * values[:, -1])
    shortest = np.linalg.eigvalsh(np.eye(d) + lifts / n_steps)[..., 0].min(axis=0)
    np.testing.assert_allclose(result.lowest, shortest, rtol=1e-10, atol=1e-12 * size)


@given(st.integers(1, 5), st.integers(1, 6), strategies.seeds, st.floats(0.1, 1e3))
def test_euler_steps_are_repaired_and_say_so(d, n_steps, seed, size):
    rng = np.random.default_rng(seed)
    mu = oracles.random_gaussian(rng, 3, d)
    rates = size * rng.standard_normal((3, d, d))
    rates = (rates + rates.mT) / 2
    result = generate(
        lambda mu, t: EuclideanTangent(np.zeros((3, d)), rates),
        mu,
        n_steps=n_steps,
        step=projected_euler_step,
    )
    values = np.linalg.eigvalsh(result.gaussian.cov)
    assert np.all(values[:, 0] >= -100 * d * EPS * np.maximum(values[:, -1], size))
    if n_steps == 1:
        np.testing.assert_allclose(result.lowest, np.linalg.eigvalsh(mu.cov + rates)[:, 0], rtol=1e-9)


def test_lowest_names_the_steps_that_were_no_shortest_path():
    mu = Gaussian(np.zeros((2, 1)), np.ones((2, 1, 1)))
    lifts = np.array([[[0.5]], [[-3.0]]])
    result = generate(lambda mu, t: Tangent(np.zeros((2, 1)), lifts), mu, n_steps=2)
    np.testing.assert_allclose(result.lowest, [1.25, -0.5], rtol=1e-15)


def test_one_step_by_hand():
    mu = Gaussian(np.array([[1.0]]), np.array([[[4.0]]]))
    point, lowest = exponential_step(mu, Tangent(np.array([[2.0]]), np.array([[[1.0]]])), 0.5)
    assert (point.mean.item(), point.cov.item(), lowest.item()) == (2.0, 9.0, 1.5)
    point, lowest = projected_euler_step(mu, EuclideanTangent(np.array([[2.0]]), np.array([[[-10.0]]])), 0.5)
    assert (point.mean.item(), point.cov.item(), lowest.item()) == (2.0, 0.0, -1.0)


def test_times_start_at_zero_and_stay_below_one(ends):
    times = []

    def field(mu, t):
        times.append(t)
        return Tangent(0.0 * mu.mean, 0.0 * mu.cov)

    result = generate(field, ends[0], n_steps=4)
    np.testing.assert_array_equal(times, np.repeat([[0.0], [0.25], [0.5], [0.75]], 4, axis=1))
    np.testing.assert_array_equal(result.gaussian.cov, ends[0].cov)


def test_singular_sources_stay_singular():
    """The exponential map keeps the rank: a flow that must widen cannot start from less."""
    mu = Gaussian(np.zeros((1, 2)), np.diag([1.0, 0.0])[None])
    result = generate(lambda mu, t: Tangent(mu.mean, np.ones((1, 2, 2))), mu, n_steps=3)
    assert np.linalg.matrix_rank(result.gaussian.cov[0], tol=1e-12) == 1


@pytest.mark.parametrize("kind", ["exponential", "euler"])
def test_libraries_agree(library, kind, rng):
    mu, nu = oracles.random_gaussian(rng, 3, 3), oracles.random_gaussian(rng, 3, 3)
    step, path = {
        "exponential": (exponential_step, bures.path),
        "euler": (projected_euler_step, bures.euclidean_path),
    }[kind]

    def run(mu, nu):
        result = generate(lambda _, t: path(mu, nu, t)[1], mu, n_steps=3, step=step)
        return result.gaussian, result.lowest

    # Three steps of condition 30 and nine roundings each.
    library.check(run, mu, nu, ulps=3000)


def test_no_members():
    empty = Gaussian(np.zeros((0, 2)), np.zeros((0, 2, 2)))
    result = generate(lambda mu, t: Tangent(mu.mean, mu.cov), empty, n_steps=2)
    assert result.gaussian.cov.shape == (0, 2, 2)
    assert result.lowest.shape == (0,)


@pytest.mark.parametrize("n_steps", [0, -1])
def test_no_steps_are_refused(ends, n_steps):
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 1"):
        generate(toward(ends[1]), ends[0], n_steps=n_steps)
