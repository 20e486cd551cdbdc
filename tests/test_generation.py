"""Generation: exact on known fields for every number of steps, and always positive semi-definite."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative

from refwfm import bures
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.generation import (
    RUNGE_KUTTA,
    TIMES,
    bound_velocity,
    exponential_step,
    generate,
    generate_clouds,
    projected_euler_step,
    time_steps,
)
from refwfm.measures import Gaussian, PointCloud
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import fit_setting
from refwfm.training.gaussians import init_params, sample
from refwfm.training.optim import tree_map

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


# Methods and times


def turning(mu, t):
    """A lift that turns with time and depends on the covariance."""
    d = mu.mean.shape[-1]
    pattern = np.cos(np.add.outer(np.arange(d), np.arange(d)) + 3.0 * t[:, None, None])
    lift = pattern - mu.cov / np.trace(mu.cov, axis1=-2, axis2=-1)[:, None, None]
    return Tangent(np.sin(mu.mean + 3.0 * t[:, None]), lift)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_gaussians_move_as_clouds_of_their_points(rng, method, times):
    """Points with these moments, carried by the same affine field as a cloud, have the Gaussian's moments."""
    mu = oracles.random_gaussian(rng, 4, 2)
    x = rng.normal(size=(4, 9, 2))
    x -= x.mean(axis=1, keepdims=True)
    white = x @ np.linalg.inv(np.linalg.cholesky(x.mT @ x / 9)).mT
    cloud = PointCloud(mu.mean[:, None] + white @ np.linalg.cholesky(mu.cov).mT, np.full((4, 9), 1 / 9))

    def moments(points):
        mean = points.mean(axis=1)
        centred = points - mean[:, None]
        return Gaussian(mean, centred.mT @ centred / 9)

    def affine(cloud, t):
        at = moments(cloud.points)
        v = turning(at, t)
        return v.mean[:, None] + (cloud.points - at.mean[:, None]) @ v.lift

    how = {"n_steps": 3, "method": method, "times": times}
    truth = moments(generate_clouds(affine, cloud, **how).points)
    assert error(generate(turning, mu, **how), truth) < 1e-13
    if method != "euler":
        assert error(generate(turning, mu, **how | {"method": "euler"}), truth) > 1e-3


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_geodesics_are_exact_by_every_method_and_at_all_times(ends, method, times):
    mu, nu = ends
    result = generate(lambda _, t: bures.velocity(mu, nu, t), mu, n_steps=3, method=method, times=times)
    assert error(result, nu) < 1e-12


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_methods_have_their_order(ends, method, order):
    """In both kinds of coordinates; slopes that are not carried back leave order one."""
    mu, _ = ends
    truth = generate(turning, mu, n_steps=400, method="rk4").gaussian

    def rates(mu, t):
        v = turning(mu, t)
        return EuclideanTangent(v.mean, v.lift @ mu.cov + mu.cov @ v.lift)

    for field, step in ((turning, exponential_step), (rates, projected_euler_step)):
        few, many = (error(generate(field, mu, n_steps=k, step=step, method=method), truth) for k in (20, 40))
        assert np.log2(few / many) == pytest.approx(order, abs=0.35)


def test_stages_beyond_a_shortest_path_are_counted():
    mu = Gaussian(np.zeros((1, 1)), np.ones((1, 1, 1)))
    result = generate(
        lambda mu, t: Tangent(mu.mean, np.full((1, 1, 1), -3.0 if t[0] == 0 else 0.0)),
        mu,
        n_steps=1,
        method="midpoint",
    )
    assert result.lowest.item() == -0.5  # 1 - 3/2 on the way to the midpoint; the step itself stays


@given(st.integers(1, 40), st.sampled_from(list(TIMES)))
def test_steps_fill_the_time(n_steps, times):
    begin, length = np.array(time_steps(n_steps, times)).T
    assert begin[0] == 0.0
    assert np.all(length > 0)
    np.testing.assert_allclose(begin[1:], np.cumsum(length)[:-1], rtol=0, atol=1e-14)
    assert np.sum(length) == pytest.approx(1.0, abs=1e-14)
    order = np.diff(length)
    if times == "uniform":
        np.testing.assert_allclose(length, 1 / n_steps, rtol=1e-15)
    elif n_steps > 2:
        assert {"early": order.min() > 0, "late": order.max() < 0, "ends": length[0] < length[1]}[times]


def test_a_uniform_step_begins_at_k_h_to_the_last_bit():
    assert time_steps(49) == [(k * (1.0 / 49), 1.0 / 49) for k in range(49)]


@pytest.mark.parametrize("name", ["method", "times"])
def test_unknown_methods_and_times_are_refused(ends, name):
    with pytest.raises(ValueError, match=f"{name} must be one of .*; got 'fast'"):
        generate(turning, ends[0], n_steps=2, **{name: "fast"})


def test_a_later_slope_of_another_kind_is_refused(ends):
    def field(mu, t):
        v = turning(mu, t)
        return v if t[0] == 0 else EuclideanTangent(*v)

    with pytest.raises(TypeError, match="v must be a Tangent"):
        generate(field, ends[0], n_steps=1, method="midpoint")


@pytest.mark.parametrize("kind", ["exponential", "euler"])
def test_libraries_agree_on_midpoints(library, kind, rng):
    mu, nu = oracles.random_gaussian(rng, 3, 3), oracles.random_gaussian(rng, 3, 3)
    step, path = {
        "exponential": (exponential_step, bures.path),
        "euler": (projected_euler_step, bures.euclidean_path),
    }[kind]

    def run(mu, nu):
        field = lambda _, t: path(mu, nu, t)[1]  # noqa: E731
        result = generate(field, mu, n_steps=2, step=step, method="midpoint", times="late")
        return result.gaussian, result.lowest

    library.check(run, mu, nu, ulps=3000)


# Bounds of velocities


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0), st.floats(-3.0, 3.0))
def test_bounded_lifts_are_symmetric_within_the_bounds_and_stay_there(d, seed, t, exponent):
    rng = np.random.default_rng(seed)
    half = 10.0**exponent * rng.standard_normal((4, d, d))
    v, times = Tangent(rng.standard_normal((4, d)), half + half.mT), np.full(4, t)
    found = bound_velocity(v, times)
    values = np.linalg.eigvalsh(found.lift)
    slack = 1e-13 * np.max(np.abs(v.lift))
    assert np.array_equal(found.mean, v.mean)
    assert t == 0 or np.max(values) <= 1 / t + slack
    assert t == 1 or np.min(values) >= -1 / (1 - t) - slack
    np.testing.assert_allclose(bound_velocity(found, times).lift, found.lift, atol=slack)


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_bounded_lifts_do_not_know_how_large_a_network_was_wrong(size):
    v = Tangent(np.zeros((1, 2)), size * np.array([[[1.0, 0.25], [0.25, -1.0]]]))
    found = bound_velocity(v, np.array([0.5])).lift
    if size <= 1:
        assert np.array_equal(found, v.lift)
    else:
        np.testing.assert_allclose(np.linalg.eigvalsh(found), [[-2.0, 2.0]], rtol=1e-14)


def test_a_member_that_is_no_number_stays_none_and_spoils_no_other():
    lift = np.stack([np.eye(2), np.full((2, 2), np.nan), 9.0 * np.eye(2)])
    found = bound_velocity(Tangent(np.zeros((3, 2)), lift), np.full(3, 0.5)).lift
    assert np.array_equal(found[0], np.eye(2))
    assert np.all(np.isnan(found[1]))
    np.testing.assert_allclose(found[2], 2.0 * np.eye(2))
    assert np.all(np.isnan(bound_velocity(Tangent(np.zeros((1, 1)), np.array([[[np.inf]]])), 0.5).lift))


def test_a_covariance_that_grows_with_itself_reaches_infinity_unless_it_is_bounded():
    """``dΣ/dt = 2 Σ²`` from 2 is infinite at t = 1/4; with bounds, at most by ``(1 + 1/k)²`` in step k."""
    source = Gaussian(np.zeros((1, 1)), np.full((1, 1, 1), 2.0))

    def field(mu, t):
        return Tangent(mu.mean, mu.cov)

    with np.errstate(all="ignore"):
        assert not np.isfinite(generate(field, source, n_steps=40).gaussian.cov)
    end = generate(lambda mu, t: bound_velocity(field(mu, t), t), source, n_steps=40).gaussian.cov
    first = 2.0 * (1 + 2.0 / 40) ** 2
    assert first < end < first * 40**2


@pytest.mark.parametrize("t", [-0.1, 1.5, np.nan])
def test_bounds_are_those_of_a_time_between_0_and_1(t):
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\]"):
        bound_velocity(Tangent(np.zeros((1, 2)), np.zeros((1, 2, 2))), np.array([t]))


def test_the_bounds_are_asked_for_by_the_configuration_and_are_of_lifts_alone():
    family = Gaussian(np.array([[0.0, 1.0], [2.0, 0.0]]), np.stack([np.eye(2), np.diag([2.0, 0.5])]))
    for method in ("riemannian", "euclidean"):
        plain = GaussianConfig(method=method, batch=4, width=8, depth=1, steps=1)
        asked = replace(plain, bounded_lifts=True)
        setting, _ = fit_setting(plain, family, labels=None, n_labels=0)
        params = init_params(plain, setting)
        params = tree_map(lambda leaf: leaf + 1.0, params)  # a network that is far off
        ends = [
            sample(config, setting, params, size=3, n_steps=4, seed=0)[0].gaussian.cov
            for config in (plain, asked)
        ]
        assert np.array_equal(*ends) == (method == "euclidean")


def test_a_velocity_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"lift \(..., d, d\); got \(1, 2\) and \(1, 3, 3\)"):
        bound_velocity(Tangent(np.zeros((1, 2)), np.zeros((1, 3, 3))), 0.5)
    with pytest.raises(TypeError, match="v must be a Tangent"):
        bound_velocity(EuclideanTangent(np.zeros((1, 2)), np.zeros((1, 2, 2))), 0.5)
