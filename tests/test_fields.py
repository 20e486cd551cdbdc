"""Fields of plans and couplings: means where points meet, rates, energies, the least value of the loss."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.measures import PointCloud
from refwfm.objectives import cloud_loss
from refwfm.transport.families import (
    Family,
    RandomCoupling,
    curve,
    optimal_plan,
    random_coupling,
    sq_coupling_cost,
    sq_wow_distance,
)
from refwfm.transport.fields import coupling_loss, inner, mean_displacement
from refwfm.validation.families import any_coupling


def random_family(rng, count, n, d):
    points = rng.standard_normal((count, n, d)) + rng.standard_normal((count, 1, d))
    return Family(PointCloud(points, rng.dirichlet(np.ones(n), count)), rng.dirichlet(np.ones(count)))


def meeting_pairs(rng, n, d):
    """Pairs of points of which some meet, exactly, at t = 1/2."""
    place, velocity = rng.integers(-2, 3, (n, d)), rng.integers(-9, 10, (n, d))
    return (place - velocity) / 2.0, (place + velocity) / 2.0, rng.dirichlet(np.ones(n))


@given(st.integers(1, 12), st.integers(1, 2), strategies.seeds)
def test_the_mean_displacement_has_the_least_loss(n, d, seed):
    """Residuals are orthogonal to every field of the place, here a cubic; other fields lose more."""
    rng = np.random.default_rng(seed)
    x, y, weights = meeting_pairs(rng, n, d)
    v = mean_displacement(x, y, weights, 0.5)
    z = 0.5 * (x + y)
    other = np.sum(z, axis=-1, keepdims=True) ** 3 + z
    residual = weights[:, None] * (y - x - v)
    assert np.sum(residual * other) == pytest.approx(0.0, abs=1e-10 * np.max(np.abs(other) + 1))
    loss, more = (cloud_loss(w[None], (y - x)[None], weights[None])[0] for w in (v, v + 0.1 * other))
    assert loss <= more + 1e-12


def test_points_that_do_not_meet_keep_their_displacement(rng):
    x, y = rng.standard_normal((2, 3, 5, 2))
    weights = rng.dirichlet(np.ones(5), 3)
    np.testing.assert_allclose(mean_displacement(x, y, weights, 0.3), y - x, atol=1e-14)
    mean = np.sum(weights[..., None] * (y - x), axis=1, keepdims=True)
    at_once = mean_displacement(x, y, weights, np.array([0.0, 0.5, 1.0]), radius=99.0)
    np.testing.assert_allclose(at_once, np.broadcast_to(mean, x.shape), atol=1e-13)


def test_padding_has_no_influence(rng):
    x, y, weights = meeting_pairs(rng, 6, 2)
    x[-1], y[-1], weights[-1] = np.nan, np.inf, 0.0
    found = mean_displacement(x, y, weights, 0.5)
    np.testing.assert_array_equal(found[:-1], mean_displacement(x[:-1], y[:-1], weights[:-1], 0.5))
    np.testing.assert_array_equal(found[-1], 0.0)
    family = Family(PointCloud(x[None], weights[None]), np.ones(1))
    short = Family(PointCloud(x[None, :-1], weights[None, :-1]), np.ones(1))
    assert inner(family, x[None], y[None]) == inner(short, x[None, :-1], y[None, :-1])


@given(st.integers(1, 3), st.integers(1, 3), strategies.seeds)
def test_the_zero_field_loses_the_cost_and_the_displacement_nothing(count, d, seed):
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng, count, 3, d), random_family(rng, 2, 4, d)
    coupling = any_coupling(rng, mu, nu)
    v = curve(coupling, mu, nu, 1.0).clouds.points - curve(coupling, mu, nu, 0.0).clouds.points
    cost = sq_coupling_cost(coupling, mu, nu)
    assert coupling_loss(0.0 * v, coupling, mu, nu) == pytest.approx(cost, rel=1e-11)
    assert coupling_loss(v, coupling, mu, nu) == 0.0
    assert coupling_loss(3.0 * v, coupling, mu, nu) == pytest.approx(4.0 * cost, rel=1e-11)


@given(st.floats(0.0, 1.0), strategies.seeds)
def test_energy_of_the_optimal_coupling_is_the_squared_distance(t, seed):
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng, 3, 3, 2), random_family(rng, 2, 3, 2)
    wow = sq_wow_distance(mu, nu)
    coupling = random_coupling(mu, nu, wow.outer.plan, optimal_plan)
    v = curve(coupling, mu, nu, 1.0).clouds.points - curve(coupling, mu, nu, 0.0).clouds.points
    assert inner(curve(coupling, mu, nu, t), v, v) == pytest.approx(wow.sq_distance, rel=1e-9)


def test_on_every_library(library, rng):
    for batch in library.batches:
        x, y = rng.standard_normal((2, *batch, 5, 2))
        weights = np.full((*batch, 5), 0.2)
        library.check(mean_displacement, x, y, weights, rng.random(batch), ulps=50, scale=1.0)
        library.check(lambda *args: mean_displacement(*args, 0.5, radius=99.0), x, y, weights, ulps=50)
    mu, nu = random_family(rng, 2, 3, 2), random_family(rng, 2, 3, 2)
    coupling = RandomCoupling(*any_coupling(rng, mu, nu))
    field = rng.standard_normal((4, 9, 2))
    library.check(coupling_loss, field, coupling, mu, nu, ulps=200)
    u, v = rng.standard_normal((2, 2, 3, 2))
    library.check(inner, mu, u, v, ulps=50, scale=1.0)


def test_fields_must_fit_the_points(rng):
    family = random_family(rng, 2, 3, 2)
    with pytest.raises(ValueError, match="u and v must have the shape of the points"):
        inner(family, family.clouds.points, family.clouds.points[:1])


def test_a_point_that_is_not_finite_has_no_displacement_that_is():
    """Its own mean was 0."""
    x, y = np.array([[np.nan], [2.0]]), np.array([[2.0], [0.0]])
    assert np.isnan(mean_displacement(x, y, np.full(2, 0.5), 0.25)[0, 0])
