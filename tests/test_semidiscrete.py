"""Semidiscrete plans: their functions, their fit, and runs that assign targets by them."""

from dataclasses import replace

import numpy as np
import pytest
from configurations import SMALL_CLOUDS
from hypothesis import given, settings
from hypothesis import strategies as st

from refwfm._array import to_host
from refwfm.clouds import uniform
from refwfm.couplings.costs import pairwise_frechet
from refwfm.couplings.members import lift, lifted_costs, vectors_of
from refwfm.datasets import CloudFamily, Family
from refwfm.evidence import ConvergenceError
from refwfm.measures import Gaussian, NonFiniteError
from refwfm.runs import folders, models
from refwfm.runs.models import Host
from refwfm.training import clouds, gaussians
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.transport import semidiscrete
from refwfm.transport.linearized import pairwise_sq_lazy_distance
from refwfm.transport.semidiscrete import (
    assign,
    fit_semidiscrete,
    semidiscrete_value,
    semidiscrete_value_and_gradient,
)
from refwfm.transport.semidual import kl_dual_value, semidual_gradient
from refwfm.transport.shares import chance_error, marginal_error
from refwfm.transport.sliced import pairwise_sliced_cost, random_directions

RNG = np.random.default_rng(3)
G, COST, B = RNG.standard_normal(7), RNG.random((5, 7)), RNG.dirichlet(np.ones(7))


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_blocks_and_functions_give_the_numbers_of_one_array(library, monkeypatch, eps):
    g, cost, b = (library.array(part) for part in (G, COST, B))
    whole = semidiscrete_value_and_gradient(g, cost, b, eps=eps)
    monkeypatch.setattr(semidiscrete, "BLOCK", 3)
    blocks = semidiscrete_value_and_gradient(g, lambda i, j: cost[:, i:j], b, eps=eps)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(to_host(one), to_host(other), rtol=1e-5, atol=1e-6)
    places = to_host(assign(g, lambda i, j: cost[:, i:j]))
    np.testing.assert_array_equal(places, np.argmin(COST - G, axis=1))


def test_soft_value_is_the_semidual_of_the_sample():
    a = np.full(5, 0.2)
    value, gradient = semidiscrete_value_and_gradient(G, COST, B, eps=0.3)
    np.testing.assert_allclose(value, kl_dual_value(G, COST.T, B, a, eps=0.3), rtol=1e-12)
    np.testing.assert_allclose(gradient, semidual_gradient(G, COST.T, B, a, eps=0.3), atol=1e-14)


@given(st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([0.0, 0.2]))
@settings(max_examples=25, deadline=None)
def test_the_dual_is_concave_and_blind_to_a_constant(seed, shift, eps):
    rng = np.random.default_rng(seed)
    g, h, cost, b = rng.standard_normal(4), rng.standard_normal(4), rng.random((6, 4)), np.full(4, 0.25)
    at, beside = (semidiscrete_value(x, cost, b, eps=eps) for x in (g, h))
    assert semidiscrete_value(0.5 * (g + h), cost, b, eps=eps) >= 0.5 * (at + beside) - 1e-12
    np.testing.assert_allclose(semidiscrete_value(g + shift, cost, b, eps=eps), at, atol=1e-12)
    slope = semidiscrete_value_and_gradient(g, cost, b, eps=eps)[1]
    assert beside <= at + slope @ (h - g) + 1e-12  # a supergradient
    assert abs(slope.sum()) < 1e-12


def test_nan_is_refused_where_it_would_decide():
    cost = np.where(np.arange(35).reshape(5, 7) == 9, np.nan, COST)
    with pytest.raises(NonFiniteError, match="NaN"):
        assign(G, cost)
    assert np.isnan(semidiscrete_value(G, cost, B))
    with pytest.raises(ValueError, match=r"cost \(5, 6\)"):
        assign(G, COST[:, :6])
    with pytest.raises(ValueError, match="eps must be"):
        semidiscrete_value(G, COST, B, eps=-1.0)


def _line(rng, unit=1.0):
    return unit * (rng.standard_normal((64, 1)) - np.array([-1.0, 0.2, 2.0])) ** 2


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_the_unit_of_the_cost_does_not_matter(unit):
    b = np.array([0.2, 0.5, 0.3])
    one, other = (
        fit_semidiscrete(
            lambda rng, u=u: _line(rng, u), b, rng=np.random.default_rng(0), max_iter=400, require=False
        )
        for u in (1.0, unit)
    )
    np.testing.assert_allclose(other.g / unit, one.g, rtol=1e-6)
    assert (one.n_iter, one.error) == (other.n_iter, other.error)


def test_evidence_is_of_fresh_draws_and_asked_for():
    b = np.full(3, 1 / 3)
    fit = fit_semidiscrete(_line, b, rng=np.random.default_rng(1), tol=0.02)
    assert fit.converged
    assert fit.error <= np.hypot(fit.expected, 0.02)
    assert abs(fit.value - fit.cost) < 0.05 * fit.cost
    cost = np.concatenate([_line(np.random.default_rng([2, k])) for k in range(400)])
    assert marginal_error(assign(fit.g, cost), b) < 0.03
    assert marginal_error(assign(0.0 * fit.g, cost), b) > 0.05  # the nearest member, unlike
    with pytest.raises(ConvergenceError, match="coincide"):
        fit_semidiscrete(lambda rng: _line(rng)[:, [0, 0, 2]], b, rng=np.random.default_rng(1), max_iter=300)


def test_one_member_and_wrong_shares():
    fit = fit_semidiscrete(lambda rng: _line(rng)[:, :1], np.ones(1), rng=np.random.default_rng(0))
    assert (fit.g.tolist(), fit.error, fit.expected, fit.converged) == ([0.0], 0.0, 0.0, True)
    with pytest.raises(ValueError, match="weight 0"):
        fit_semidiscrete(_line, np.array([0.5, 0.5, 0.0]), rng=np.random.default_rng(0))
    with pytest.raises(NonFiniteError):
        fit_semidiscrete(lambda rng: np.nan * _line(rng), np.full(3, 1 / 3), rng=np.random.default_rng(0))


def test_chance_is_what_exact_draws_have():
    b = RNG.dirichlet(np.ones(20))
    errors = [marginal_error(RNG.choice(20, size=50, p=b), b) for _ in range(2000)]
    assert abs(np.mean(errors) - chance_error(b, 50)) < 5 * np.std(errors) / np.sqrt(2000)


def test_costs_with_members_are_those_of_the_outer_plans():
    x, y = uniform(RNG.standard_normal((3, 6, 2))), uniform(RNG.standard_normal((5, 6, 2)))
    theta = random_directions(x.points, rng=RNG, n_proj=4)
    plain = lifted_costs(vectors_of(x), lift(vectors_of(y)))(0, 5)
    np.testing.assert_allclose(plain, pairwise_sq_lazy_distance(x.points, y.points), rtol=1e-12)
    sliced = lifted_costs(vectors_of(x, theta), lift(vectors_of(y, theta)))(1, 4)
    np.testing.assert_allclose(sliced, pairwise_sliced_cost(x, y, theta)[:, 1:4], rtol=1e-12)
    with pytest.raises(ValueError, match="frechet"):
        vectors_of(x._replace(weights=x.weights * np.array([2.0, 0.0, 1.0, 1.0, 1.0, 1.0])))


def test_lifted_costs_find_the_least_up_to_their_rounding():
    rng = np.random.default_rng(5)
    for scale in (1e-3, 1.0, 1e3):
        u, v = (scale * rng.standard_normal((n, 16)).astype(np.float32) + np.float32(50) for n in (200, 3000))
        index = assign(np.zeros(3000, np.float32), lifted_costs(u, lift(v)))
        exact = np.sum((u[:, None].astype(float) - v) ** 2, axis=-1)
        about = np.sum((u - v.mean(axis=0)) ** 2, axis=1) + np.max(np.sum((v - v.mean(axis=0)) ** 2, axis=1))
        lost = exact[np.arange(200), index] - exact.min(axis=1)
        assert np.all(lost <= 16 * np.finfo(np.float32).eps * about)


# Runs


def _family(labels=None):
    rng = np.random.default_rng(0)
    covs = np.eye(2) * rng.uniform(0.1, 1.0, (8, 1, 1))
    names = () if labels is None else ("a", "b")
    members = Gaussian(rng.standard_normal((8, 2)), covs)
    return Family(name="eight", gaussians=members, labels=labels, label_names=names)


SMALL = GaussianConfig(
    steps=4, batch=16, width=8, depth=1, n_frequencies=2, outer="semidiscrete", outer_steps=1000
)


def test_gaussians_are_assigned_within_their_labels():
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 1])
    family = _family(labels)
    setting, members = gaussians.prepare(SMALL, family, None, lambda v: np.asarray(v, dtype=np.float32))
    assert setting.outer.g.dtype == np.float32
    assert setting.outer.evidence.shape == (2, 6)
    batch = gaussians.draw_batch(SMALL, setting, members, labels, 3)
    assert batch.t.shape == batch.labels.shape == (16,)
    rng = np.random.default_rng(0)
    mu = gaussians.sample_gaussian_wishart(setting.source, rng=rng, size=8000)
    drawn = rng.integers(8, size=8000)
    index = gaussians._assigned(setting, members, labels, mu, drawn, gaussians.REFERENCE)
    assert np.array_equal(labels[index], labels[drawn])
    counts = np.bincount(index, minlength=8)
    assert 0.5 * np.abs(counts / 8000 - 1 / 8).sum() < 0.12


@pytest.mark.parametrize("stopped", [2, 3])
def test_a_resumed_run_is_the_same(tmp_path, stopped):
    family, host = _family(), Host()
    run = {"data": "eight"}
    whole = folders.train(SMALL, family, host, tmp_path / "whole", run=run, log_every=1)
    folders.train(replace(SMALL, steps=stopped), family, host, tmp_path / "part", run=run, log_every=1)
    again = folders.train(SMALL, family, host, tmp_path / "part", run=run, log_every=1, resume=True)
    files = [tmp_path / name / "checkpoints" / "00000004.safetensors" for name in ("whole", "part")]
    assert files[0].read_bytes() == files[1].read_bytes()
    np.testing.assert_array_equal(whole.setting.outer.g, again.setting.outer.g)
    loaded = models.load_model(tmp_path / "part", host)
    np.testing.assert_array_equal(loaded.setting.outer.evidence, whole.setting.outer.evidence)
    assert '"outer_error": ' in (tmp_path / "part" / "log.jsonl").read_text()


def _clouds():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((6 * 5, 2)) + np.repeat(rng.standard_normal((6, 2)), 5, axis=0)
    return CloudFamily(name="six", points=points, offsets=np.arange(0, 31, 5))


@pytest.mark.parametrize("cost", ["lazy", "linear", "sliced", "frechet"])
def test_clouds_go_to_the_member_that_the_weights_say(cost):
    config = replace(
        SMALL_CLOUDS,
        outer="semidiscrete",
        outer_cost=cost,
        outer_steps=400,
        outer_tol=0.5,
        source="barycentric",
        sigma=1.0,
        n_proj=3,
    )
    family = _clouds()
    setting, families = clouds.prepare(config, family, None, lambda v: np.asarray(v, dtype=np.float64))
    rng = np.random.default_rng(0)
    mu, nu, _ = clouds._draw_pairs(config, setting, families, None, rng, clouds.REFERENCE)
    everyone = clouds.to_model_units(families.target.batch(np.arange(6)), setting)
    to_all = {
        "lazy": lambda: pairwise_sq_lazy_distance(mu.points, everyone.points),
        "linear": lambda: pairwise_sq_lazy_distance(mu.points, everyone.points),
        "sliced": lambda: pairwise_sliced_cost(mu, everyone, families.members[0].theta),
        "frechet": lambda: pairwise_frechet(mu, everyone),
    }[cost]()
    right = np.argmin(to_all - setting.outer.g, axis=1)
    np.testing.assert_array_equal(nu.points, everyone.points[right])
    assert np.isfinite(clouds.draw_batch(config, setting, families, None, 0).target).all()


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="finite"):
        CloudConfig(outer="semidiscrete", source="family")
    with pytest.raises(ValueError, match="lazy"):
        CloudConfig(outer="semidiscrete", outer_cost="lazy", source="normal")
    with pytest.raises(ValueError, match="for clouds"):
        GaussianConfig(outer="frechet")
    with pytest.raises(ValueError, match="one of them"):
        GaussianConfig(outer="semidiscrete", matching=True)
    assert GaussianConfig(**{"matching": True}).outer == "independent"  # as old files have it
    config = replace(SMALL, outer_tol=1e-9, outer_steps=100)
    with pytest.raises(ConvergenceError, match="outer_tol"):
        gaussians.prepare(config, _family(), None, np.asarray)
