"""Generation of point clouds: exact on straight lines, of the right order on curves, blind to order."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative
from scipy.integrate import solve_ivp
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm._array import array_namespace
from refwfm.clouds import moments, pad, uniform
from refwfm.generation import RUNGE_KUTTA, generate_clouds
from refwfm.measures import PointCloud

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
B, N, D = 2, 6, 3


@pytest.fixture
def source(rng):
    return uniform(rng.normal(size=(B, N, D)))


def images(x, y):
    """The targets of points x (B, n, d) under the best assignment to y (B, n, d)."""
    perms = [linear_sum_assignment(cdist(a, b, "sqeuclidean"))[1] for a, b in zip(x, y, strict=True)]
    return np.stack([b[perm] for b, perm in zip(y, perms, strict=True)])


def toward(y):
    """The conditional field: to the assigned target in the time that is left."""
    return lambda cloud, t: (images(cloud.points, y) - cloud.points) / (1.0 - t)[:, None, None]


def curved(cloud, t):
    """A smooth field that every point's neighbours and the time have a part in."""
    xp = array_namespace(cloud.points, t)
    mean = xp.sum(cloud.weights[..., None] * cloud.points, axis=-2, keepdims=True)
    return xp.sin(cloud.points + 3.0 * t[:, None, None]) - 0.5 * mean


def integrated(field, source):
    """SciPy's DOP853 at its tightest tolerance."""
    shape = source.points.shape

    def slope(t, y):
        return field(PointCloud(y.reshape(shape), source.weights), np.full(len(source.points), t)).ravel()

    found = solve_ivp(slope, (0.0, 1.0), source.points.ravel(), method="DOP853", rtol=1e-13, atol=1e-13)
    return found.y[:, -1].reshape(shape)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 10])
def test_conditional_field_lands_on_its_target(source, rng, n_steps, method):
    """In any number of steps, and on straight lines all the way; other speeds miss."""
    y = rng.normal(size=(B, N, D))
    target, seen = images(source.points, y), []
    end = generate_clouds(
        toward(y), source, n_steps=n_steps, method=method, observe=lambda k, c: seen.append((k, c))
    )
    assert [k for k, _ in seen] == list(range(n_steps + 1))
    for k, cloud in seen:
        t = k / n_steps
        assert relative(cloud.points, (1 - t) * source.points + t * target) < 1e-13
    np.testing.assert_array_equal(end.points, seen[-1][1].points)
    if n_steps > 1:
        wrong = {
            "half the speed": lambda cloud, t: 0.5 * toward(y)(cloud, t),
            "without the time that is left": lambda cloud, t: toward(y)(cloud, 0.0 * t),
        }
        for name, field in wrong.items():
            result = generate_clouds(field, source, n_steps=n_steps, method=method)
            assert relative(result.points, target) > 0.01, name


@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_order(source, method):
    """Twice the steps, an error smaller by the power of two that is the order, down to SciPy's answer."""
    truth = integrated(curved, source)
    few, many = (
        np.max(np.abs(generate_clouds(curved, source, n_steps=k, method=method).points - truth))
        for k in (20, 40)
    )
    assert ORDERS[method] == pytest.approx(np.log2(few / many), abs=0.25)
    assert many < {1: 0.1, 2: 2e-3, 4: 1e-6}[ORDERS[method]]


def test_the_right_stage_times_matter(source, monkeypatch):
    """With a stage at the wrong time, or wrong weights, a method falls back to order one."""
    truth = integrated(curved, source)
    wrong = {
        "midpoint, at the start": ((0.0, 0.0), (0.0, 1.0)),
        "heun, first slope twice": ((0.0, 1.0), (1.0, 0.0)),
        "rk4, equal weights": ((0.0, 0.5, 0.5, 1.0), (0.1, 0.4, 0.3, 0.2)),
    }
    for name, table in wrong.items():
        monkeypatch.setitem(RUNGE_KUTTA, name, table)
        few, many = (
            np.max(np.abs(generate_clouds(curved, source, n_steps=k, method=name).points - truth))
            for k in (20, 40)
        )
        assert np.log2(few / many) < 1.3, name


@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_constant_fields_are_exact(source, method):
    velocity = np.arange(D) - 1.0
    end = generate_clouds(
        lambda cloud, t: np.broadcast_to(velocity, cloud.points.shape), source, n_steps=7, method=method
    )
    np.testing.assert_allclose(end.points, source.points + velocity, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(end.weights, source.weights)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("euler", [0, 0.5]), ("midpoint", [0, 0.25, 0.5, 0.75]), ("heun", [0, 0.5, 0.5, 1])],
)
def test_times_of_the_field(source, method, expected):
    times = []

    def field(cloud, t):
        times.append(t)
        return np.zeros_like(cloud.points)

    generate_clouds(field, source, n_steps=2, method=method)
    np.testing.assert_array_equal(times, np.repeat(np.reshape(expected, (-1, 1)), B, axis=1))


@given(strategies.seeds, st.sampled_from(list(RUNGE_KUTTA)))
def test_permuted_points_stay_permuted(seed, method):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(B, N, D))
    order = rng.permutation(N)
    end = generate_clouds(curved, uniform(x), n_steps=3, method=method)
    moved = generate_clouds(curved, uniform(x[:, order]), n_steps=3, method=method)
    np.testing.assert_allclose(moved.points, end.points[:, order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_padding_stays_what_it_is(rng, method):
    """Whatever the field says there; and the points do not see it."""
    clouds = [rng.normal(size=(k, D)) for k in (4, 2)]
    source = pad(clouds, size=6)

    def field(cloud, t):
        velocity = curved(cloud, t)
        return np.where((cloud.weights > 0)[..., None], velocity, np.nan)

    end = generate_clouds(field, source, n_steps=3, method=method)
    np.testing.assert_array_equal(end.points[source.weights == 0], 0.0)
    for i, x in enumerate(clouds):
        alone = generate_clouds(curved, uniform(x[None]), n_steps=3, method=method)
        np.testing.assert_allclose(end.points[i, : len(x)], alone.points[0], rtol=0, atol=1e-13)


def test_affine_fields_move_the_moments_as_gaussians(rng):
    """A field ``x`` for all x multiplies by e: the covariance by e²."""
    source = uniform(rng.normal(size=(B, 50, D)))
    end = generate_clouds(lambda cloud, t: cloud.points, source, n_steps=100, method="rk4")
    before, after = moments(*source), moments(*end)
    assert relative(after.mean, np.e * before.mean) < 1e-8
    assert relative(after.cov, np.e**2 * before.cov) < 1e-8


@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_libraries_agree(library, method, rng):
    source = pad([rng.normal(size=(k, D)) for k in (4, 2, 1)])
    library.check(lambda source: generate_clouds(curved, source, n_steps=3, method=method), source, ulps=100)


def test_no_clouds():
    empty = PointCloud(np.zeros((0, 4, 2)), np.zeros((0, 4)))
    assert generate_clouds(curved, empty, n_steps=2).points.shape == (0, 4, 2)


@pytest.mark.parametrize("n_steps", [0, -1])
def test_no_steps_are_refused(source, n_steps):
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 1"):
        generate_clouds(curved, source, n_steps=n_steps)


def test_unknown_methods_are_refused(source):
    with pytest.raises(ValueError, match="euler, midpoint, heun, rk4; got 'rk45'"):
        generate_clouds(curved, source, n_steps=1, method="rk45")


# What may not vanish


def test_nan_of_the_field_stays():
    source = PointCloud(np.ones((1, 2, 1)), np.asarray([[1.0, 0.0]]))
    end = generate_clouds(lambda cloud, t: np.nan * cloud.points, source, n_steps=2)
    assert np.isnan(end.points[0, 0, 0])
    assert end.points[0, 1, 0] == 1.0  # padding
    lost = PointCloud(source.points, np.asarray([[np.nan, 0.0]]))  # whose points once stood still
    assert generate_clouds(lambda cloud, t: cloud.points, lost, n_steps=1).points[0, 0, 0] == 2.0


@pytest.mark.parametrize("shape", [(2, 1), (1, 2, 1), (2, 2, 2)])
def test_a_velocity_of_another_shape_is_refused(shape):
    source = PointCloud(np.ones((2, 2, 1)), np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="velocity for each point"):
        generate_clouds(lambda cloud, t: np.ones(shape), source, n_steps=1)


@pytest.mark.parametrize("times", ["early", "late", "ends"])
def test_other_times(source, rng, times):
    """Straight lines stay exact; on others the order is the method's."""
    y = rng.normal(size=(B, N, D))
    end = generate_clouds(toward(y), source, n_steps=4, times=times)
    assert relative(end.points, images(source.points, y)) < 1e-13
    truth = integrated(curved, source)
    few, many = (
        np.max(
            np.abs(generate_clouds(curved, source, n_steps=k, method="midpoint", times=times).points - truth)
        )
        for k in (40, 80)
    )
    assert np.log2(few / many) == pytest.approx(2, abs=0.25)


def test_unknown_times_are_refused(source):
    with pytest.raises(ValueError, match="times must be one of uniform, early, late, ends; got 'now'"):
        generate_clouds(curved, source, n_steps=1, times="now")
