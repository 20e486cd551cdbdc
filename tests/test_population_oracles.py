"""Oracles of flow matching: the score by complex steps, edge cases, and the floor of the loss."""

import math

import mpmath
import numpy as np
import oracles as closed
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from refwfm._array import to_host
from refwfm.measures import Gaussian
from refwfm.metrics.populations import wasserstein2
from refwfm.populations import oracles
from refwfm.populations.flow import integrate, integrate_adaptively
from refwfm.populations.oracles import (
    denoising_variance,
    denoising_velocity,
    gaussian_denoising_map,
    gaussian_denoising_velocity,
    sample_mixture,
)

SEEDS = st.integers(0, 10_000)


def plain(x, t, centres, sigma, tau, weights=None):
    """By SciPy's log-sum-exp, row by row."""
    s2 = tau**2 + (1 - t) ** 2 * sigma**2
    logits = -((x[:, None] - centres) ** 2).sum(-1) / (2 * s2)
    logits = logits if weights is None else logits + np.log(weights)
    shares = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return -(1 - t) * sigma**2 / s2 * (x - shares @ centres)


def problem(seed=0, n=7, m=9, d=2):
    rng = np.random.default_rng(seed)
    return 2.0 * rng.standard_normal((n, d)), rng.standard_normal((m, d)), rng.dirichlet(np.full(m, 5.0))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.95, 1.0])
def test_velocity(library, t):
    x, centres, weights = (z.astype(library.dtype).astype(float) for z in problem())
    weights /= weights.sum()
    given = [library.array(z) for z in (x, centres, weights)]
    found = denoising_velocity(given[0], t, given[1], sigma=0.5, tau=0.25, weights=given[2])
    assert library.owns(found)
    truth = plain(x, t, centres, 0.5, 0.25, weights)
    scale = max(1.0, np.abs(truth).max())
    np.testing.assert_allclose(to_host(found), truth, atol=1e3 * library.eps * scale)
    if t not in (0.0, 1.0):
        for wrong in (truth / (1 - t), truth / 0.5, plain(x, t, centres, 0.5, 0.0), -truth):
            assert np.abs(wrong - truth).max() > 1e4 * library.eps


def test_velocity_is_the_gradient_that_torch_has():
    """``(1 - t) σ² ∇ log p_t`` by automatic differentiation."""
    torch = pytest.importorskip("torch")
    x, centres, weights = (torch.asarray(z) for z in problem())
    x.requires_grad_(True)
    s2 = 0.25**2 + 0.49 * 0.25
    log_p = torch.logsumexp(torch.log(weights) - torch.cdist(x, centres) ** 2 / (2 * s2), dim=1).sum()
    (score,) = torch.autograd.grad(log_p, x)
    found = denoising_velocity(x, 0.3, centres, sigma=0.5, tau=0.25, weights=weights)
    torch.testing.assert_close(found.detach(), 0.7 * 0.25 * score, rtol=1e-12, atol=1e-12)
    found.sum().backward()  # and it has a derivative itself
    assert bool(torch.all(torch.isfinite(x.grad)))


def test_to_fifty_digits_far_away():
    """Where a plain softmax would divide 0 by 0."""
    x, centres = np.asarray([[1000.0, 3.0]]), np.asarray([[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    with mpmath.workdps(50):
        s2 = mpmath.mpf(0.5) ** 2 * mpmath.mpf(0.125) ** 2
        masses = [
            mpmath.exp(-sum((mpmath.mpf(a) - b) ** 2 for a, b in zip(x[0], c, strict=True)) / (2 * s2))
            for c in centres
        ]
        mean = [sum(w * c[k] for w, c in zip(masses, centres, strict=True)) / sum(masses) for k in range(2)]
        truth = [float(-mpmath.mpf(0.125) * mpmath.mpf(0.25) / s2 * (x[0][k] - mean[k])) for k in range(2)]
    found = denoising_velocity(x, 0.875, centres, sigma=0.5)
    np.testing.assert_allclose(found[0], truth, rtol=1e-12)


def test_blocks_and_batches(monkeypatch):
    rng = np.random.default_rng(0)
    x, centres, t = rng.standard_normal((3, 1, 50, 2)), rng.standard_normal((2, 9, 2)), np.full((3, 2), 0.5)
    t[1] = 0.25
    whole = denoising_velocity(x, t, centres, sigma=0.5, tau=0.1)
    assert whole.shape == (3, 2, 50, 2)
    np.testing.assert_allclose(whole[1, 0], plain(x[1, 0], 0.25, centres[0], 0.5, 0.1), atol=1e-12)
    spread = denoising_variance(x, t, centres, sigma=0.5, tau=0.1)
    monkeypatch.setattr(oracles, "BLOCK", 100)
    np.testing.assert_allclose(denoising_velocity(x, t, centres, sigma=0.5, tau=0.1), whole, atol=1e-14)
    np.testing.assert_allclose(denoising_variance(x, t, centres, sigma=0.5, tau=0.1), spread, atol=1e-14)


# Edge cases


def test_limits(library):
    x, centres, _ = (library.array(z) for z in problem())
    for t, sigma, tau in (
        (1.0, 0.5, 0.0),
        (1.0, 0.5, 0.1),
        (0.5, 0.0, 0.1),
        (0.5, 0.0, 0.0),
        (1.0, 0.0, 0.0),
    ):
        found = to_host(denoising_velocity(x, t, centres, sigma=sigma, tau=tau))
        np.testing.assert_array_equal(found, 0.0)
        variance = to_host(denoising_variance(x, t, centres, sigma=sigma, tau=tau))
        np.testing.assert_allclose(variance, 2 * sigma**2, rtol=1e-6)
    flat = Gaussian(library.array(np.zeros(2)), library.array(np.diag([1.0, 0.0])))
    assert np.all(to_host(gaussian_denoising_velocity(x, 1.0, flat, sigma=0.5)) == 0)
    assert np.all(to_host(gaussian_denoising_velocity(x, 0.5, flat, sigma=0.0)) == 0)
    np.testing.assert_allclose(
        to_host(gaussian_denoising_map(x, flat, sigma=0.0)), to_host(x), atol=10 * library.eps
    )


def test_one_particle_about_one_centre():
    """A straight line to the centre, for a point: (x - c) / (1 - t)."""
    found = denoising_velocity(np.asarray([[3.0]]), 0.5, np.asarray([[1.0]]), sigma=0.7)
    assert found.tolist() == [[pytest.approx(-4.0)]]
    assert denoising_variance(np.asarray([[3.0]]), 0.5, np.asarray([[1.0]]), sigma=0.7).tolist() == [0.0]


def test_a_centre_without_weight_has_no_effect():
    x, centres, _ = problem()
    weights = np.full(9, 1 / 8)
    weights[4] = 0.0
    for function in (denoising_velocity, denoising_variance):
        other = centres.copy()
        other[4] = x[0]  # the nearest one
        found = function(x, 0.9, other, sigma=0.5, weights=weights)
        np.testing.assert_allclose(found, function(x, 0.9, np.delete(centres, 4, 0), sigma=0.5), rtol=1e-12)
    drawn = sample_mixture(centres, rng=np.random.default_rng(0), size=500, weights=weights)
    assert not np.any(np.all(drawn == centres[4], axis=1))
    assert len(np.unique(drawn, axis=0)) == 8


def test_nan_stays():
    x, centres, _ = problem()
    x[2, 0] = np.nan
    found = denoising_velocity(x, 0.5, centres, sigma=0.5, tau=0.1)
    assert np.isnan(found).any(axis=1).tolist() == [k == 2 for k in range(7)]
    centres[0, 0] = np.nan
    assert np.isnan(denoising_velocity(x, 0.5, centres, sigma=0.5, tau=0.1)).any(axis=1).all()


def test_arguments():
    x, centres, weights = problem()
    for name, value in (("sigma", -1.0), ("sigma", math.nan), ("tau", math.inf), ("tau", "1")):
        with pytest.raises(ValueError, match=f"{name} must be a finite number"):
            denoising_velocity(x, 0.5, centres, **({"sigma": 0.5} | {name: value}))
    with pytest.raises(ValueError, match="dimension 2, but centres in dimension 1"):
        denoising_velocity(x, 0.5, centres[:, :1], sigma=0.5)
    with pytest.raises(ValueError, match="weights must have shape"):
        denoising_velocity(x, 0.5, centres, sigma=0.5, weights=weights[1:])
    with pytest.raises(ValueError, match="weights must be non-negative"):
        sample_mixture(centres, rng=np.random.default_rng(0), size=2, weights=2.0 * weights)
    with pytest.raises(ValueError, match="centres must have shape"):
        denoising_velocity(x, 0.5, centres[:0], sigma=0.5)
    with pytest.raises(ValueError, match="but mu in dimension 3"):
        gaussian_denoising_velocity(x, 0.5, Gaussian(np.zeros(3), np.eye(3)), sigma=0.5)
    with pytest.raises(TypeError, match="t must"):
        denoising_velocity(x, "0.5", centres, sigma=0.5)


# The Gaussian case


def test_gaussian_flow_by_every_integrator(library):
    mu = closed.random_gaussian(np.random.default_rng(0), 2, 3, spread=10.0)
    mu = Gaussian(*(z.astype(library.dtype) for z in mu))
    x = np.random.default_rng(1).standard_normal((2, 6, 3)).astype(library.dtype)
    given, start = library.arrays(mu), library.array(x)
    target = to_host(gaussian_denoising_map(start, given, sigma=0.8))
    truth = np.stack(
        [
            mean + (points - mean) @ closed.sqrtm(cov) @ np.linalg.inv(closed.sqrtm(cov + 0.64 * np.eye(3)))
            for mean, cov, points in zip(*(z.astype(float) for z in (*mu, x)), strict=True)
        ]
    )
    np.testing.assert_allclose(target, truth, atol=1e3 * library.eps)

    def field(x, t):
        return gaussian_denoising_velocity(x, t, given, sigma=0.8)

    errors = {
        (method, n): np.abs(to_host(integrate(field, start, n_steps=n, method=method)) - target).max()
        for method in ("euler", "heun", "rk4")
        for n in (10, 20)
    }
    if library.dtype == "float64":
        for method, order in (("euler", 1), ("heun", 2), ("rk4", 4)):
            assert 0.7 * 2**order < errors[method, 10] / errors[method, 20] < 1.4 * 2**order
    found = integrate_adaptively(field, start)
    assert np.abs(to_host(found.points) - target).max() < 1e-3
    assert 10 < found.evaluations < 200
    assert library.owns(found.points)


def test_the_flow_carries_the_law():
    """In law: N(m, Σ + σ²I) to N(m, Σ); a Gaussian is a mixture of one, too."""
    rng = np.random.default_rng(0)
    mu = Gaussian(np.asarray([1.0, -1.0]), np.asarray([[2.0, 0.5], [0.5, 1.0]]))
    start = rng.multivariate_normal(mu.mean, mu.cov + 0.25 * np.eye(2), 20_000)
    end = gaussian_denoising_map(start, mu, sigma=0.5)
    np.testing.assert_allclose(np.cov(end.T), mu.cov, atol=0.05)
    assert np.abs(np.cov(start.T) - mu.cov).max() > 0.2
    round_one = Gaussian(mu.mean, 0.09 * np.eye(2))
    np.testing.assert_allclose(
        denoising_velocity(start[:5], 0.4, mu.mean[None], sigma=0.5, tau=0.3),
        gaussian_denoising_velocity(start[:5], 0.4, round_one, sigma=0.5),
        rtol=1e-12,
    )


# Populations


@given(SEEDS)
def test_no_field_has_a_smaller_loss(seed):
    """The loss of a field is that of the best one and their distance, up to sampling."""
    rng = np.random.default_rng(seed)
    centres, n, sigma, tau, t = rng.standard_normal((4, 2)), 3000, 0.6, 0.2, rng.uniform(0.0, 0.95)
    goal = sample_mixture(centres, rng=rng, size=n, tau=tau)
    eps = rng.standard_normal((n, 2))
    x, u = goal + (1 - t) * sigma * eps, -sigma * eps
    best = denoising_velocity(x, t, centres, sigma=sigma, tau=tau)
    floor = denoising_variance(x, t, centres, sigma=sigma, tau=tau)
    gap = ((best - u) ** 2).sum(1) - floor
    assert abs(gap.mean()) < 5 * gap.std() / math.sqrt(n)
    other = best + 0.2 * np.cos(x)
    excess = ((other - u) ** 2).sum(1) - ((best - u) ** 2).sum(1) - ((other - best) ** 2).sum(1)
    assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(n) + 1e-12


def test_knowing_the_population_helps():
    """Two populations that overlap at the start: the pooled field cannot tell them apart."""
    rng = np.random.default_rng(0)
    centres = np.stack([rng.uniform(-1, 1, (60, 2)) * [1.0, 0.02], rng.uniform(-1, 1, (60, 2)) * [0.02, 1.0]])
    truth = centres + 0.02 * rng.standard_normal(centres.shape)
    source = truth + 0.5 * rng.standard_normal(truth.shape)
    pool = centres.reshape(-1, 2)

    def flowed(about):
        return integrate(
            lambda x, t: denoising_velocity(x, t, about, sigma=0.5, tau=0.02), source, n_steps=16
        )

    own, pooled = (wasserstein2(flowed(about), truth) for about in (centres, pool))
    assert np.all(own < 0.7 * pooled)
    same = np.stack([source[0], source[0]])  # the pooled field gives both the same
    moved = integrate(lambda x, t: denoising_velocity(x, t, pool, sigma=0.5, tau=0.02), same, n_steps=4)
    np.testing.assert_array_equal(moved[0], moved[1])
