"""Conditional and marginal fields: descent of a premetric, posterior means, and where they end."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_gaussian

from refwfm import bures
from refwfm.bures import Tangent
from refwfm.conditional import (
    conditional_velocity,
    gradient_half_sq_distance,
    marginal_velocity,
    premetric_velocity,
)
from refwfm.measures import Gaussian, SingularCovarianceError


def scaled(factor, v):
    return Tangent(factor * v.mean, factor * v.lift)


def assert_close(v, w, rtol=1e-9):
    scale = 1.0 + max(np.max(np.abs(part)) for part in w)
    for a, b in zip(v, w, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=rtol * scale)


@given(st.integers(1, 4), st.floats(0.0, 0.95), strategies.seeds)
def test_at_the_geodesic_the_conditional_field_is_its_velocity(d, t, seed):
    rng = np.random.default_rng(seed)
    mu, nu = random_gaussian(rng, d), random_gaussian(rng, d)
    point, velocity = bures.path(mu, nu, t)
    assert_close(conditional_velocity(point, nu, t), velocity)


@given(st.integers(1, 4), st.floats(0.0, 0.95), st.floats(0.25, 3.0), strategies.seeds)
def test_a_premetric_falls_like_the_time_left(d, t, power, seed):
    """For ``W_2^p``: its rate along the field is ``-W_2^p / (1 - t)``; p = 1 is the conditional field."""
    rng = np.random.default_rng(seed)
    mu, nu = random_gaussian(rng, d), random_gaussian(rng, d)
    root = np.sqrt(bures.sq_distance(mu, nu))
    gradient = scaled(power * root ** (power - 2.0), gradient_half_sq_distance(mu, nu))
    v = premetric_velocity(mu, root**power, gradient, t)
    rate = bures.inner(mu, gradient, v)
    assert rate == pytest.approx(-(root**power) / (1.0 - t), rel=1e-9)
    assert_close(v, scaled(1.0 / power, conditional_velocity(mu, nu, t)))


def test_at_the_target_nothing_moves(rng):
    nu = random_gaussian(rng, 3)
    zero = Tangent(0.0 * nu.mean, 0.0 * nu.cov)
    for part in premetric_velocity(nu, np.asarray(0.0), zero, 0.5):
        np.testing.assert_array_equal(part, 0.0)


@given(st.integers(1, 3), st.floats(0.0, 0.9), st.floats(-900.0, 900.0), strategies.seeds)
def test_the_marginal_field_is_a_posterior_mean(d, t, shift, seed):
    """Against Bayes' rule by hand; constants in the log density cancel, also where densities underflow."""
    rng = np.random.default_rng(seed)
    mu, targets = random_gaussian(rng, d), random_gaussian(rng, 4, d)
    weights, log_density = rng.dirichlet(np.ones(4)), rng.standard_normal(4)
    v = marginal_velocity(mu, targets, weights, log_density + shift, t)
    joint = weights * np.exp(log_density)
    each = [conditional_velocity(mu, Gaussian(mean, cov), t) for mean, cov in zip(*targets, strict=True)]
    truth = Tangent(
        *(np.average([part[i] for part in each], axis=0, weights=joint / joint.sum()) for i in (0, 1))
    )
    assert_close(v, truth)


def test_targets_without_weight_or_without_density_do_not_count(rng):
    mu, targets = random_gaussian(rng, 2), random_gaussian(rng, 3, 2)
    only = conditional_velocity(mu, Gaussian(targets.mean[1], targets.cov[1]), 0.5)
    weights, log_density = np.array([0.0, 1.0, 0.0]), np.array([1e6, 0.0, -1e6])
    assert_close(marginal_velocity(mu, targets, weights, log_density, 0.5), only)
    log_density = np.array([-1e6, 0.0, -np.inf])
    assert_close(marginal_velocity(mu, targets, np.full(3, 1 / 3), log_density, 0.5), only)


@pytest.mark.slow
def test_on_every_library(library, rng):
    for batch in library.batches:
        mu, nu = random_gaussian(rng, *batch, 3), random_gaussian(rng, *batch, 3)
        n = 3 if library.name == "jax" else 4  # it compiles for every shape: those of the pairs
        targets = random_gaussian(rng, n, 3)
        t, distance = 0.9 * rng.random(batch), rng.random(batch) + 0.5
        gradient = Tangent(mu.mean + 1.0, mu.cov)
        weights, log_density = np.full((*batch, n), 1 / n), rng.standard_normal((*batch, n))
        library.check(gradient_half_sq_distance, mu, nu, ulps=1000)
        library.check(conditional_velocity, mu, nu, t, ulps=2000)
        library.check(lambda x, y: conditional_velocity(x, y, 0.5), mu, nu, ulps=2000)
        library.check(premetric_velocity, mu, distance, gradient, t, ulps=200)
        library.check(marginal_velocity, mu, targets, weights, log_density, t, ulps=2000)


@pytest.mark.parametrize("t", [-0.1, 1.0, float("nan"), np.array([0.5, 1.0]), np.array([np.nan, 0.5])])
def test_times_outside_are_refused(t, rng):
    mu = random_gaussian(rng, 2, 2)
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\)"):
        conditional_velocity(mu, mu, t)


def test_errors_name_what_is_wrong(rng):
    mu = random_gaussian(rng, 2)
    with pytest.raises(TypeError, match="t must be a number or have the dtype of mu"):
        premetric_velocity(mu, np.asarray(1.0), Tangent(*mu), np.asarray(0.5, dtype=np.float32))
    dirac = Gaussian(mu.mean, 0.0 * mu.cov)
    for function in (gradient_half_sq_distance, lambda x, y: conditional_velocity(x, y, 0.5)):
        with pytest.raises(SingularCovarianceError):
            function(dirac, mu)
