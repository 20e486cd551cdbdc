"""The three losses: what they are integrals of, their derivatives, and where they vanish."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, derivative, relative

from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.objectives import euclidean_loss, frobenius_loss, riemannian_loss
from refwfm.training.methods import METHODS

LOSSES = {"riemannian": riemannian_loss, "euclidean": euclidean_loss, "frobenius": frobenius_loss}
B, D = 4, 3


@pytest.fixture
def instance(rng):
    return random_instance(rng)


def random_instance(rng):
    mu_t = oracles.random_gaussian(rng, B, D)
    pred, target = (
        (rng.standard_normal((B, D)), oracles.random_cov(rng, B, D) - oracles.random_cov(rng, B, D))
        for _ in range(2)
    )
    return pred, target, mu_t


def call(name, pred, target, mu_t):
    kind = METHODS[name].velocity
    return LOSSES[name](kind(*pred), kind(*target), mu_t)


def test_riemannian_loss_is_the_mean_over_the_measure(rng):
    """``E‖(f - v)(X)‖²`` on clouds with exactly the measures' moments; also for S that is not symmetric."""
    pred, target, mu_t = random_instance(rng)
    pred = (pred[0], rng.standard_normal((B, D, D)))
    truth = 0.0
    for i in range(B):
        x = np.concatenate([np.eye(D), -np.eye(D)]) * D**0.5 @ oracles.sqrtm(mu_t.cov[i])
        field = (pred[0] - target[0])[i] + x @ (pred[1] - target[1])[i].T
        truth += np.mean(np.sum(field**2, axis=1)) / B
    value = call("riemannian", pred, target, mu_t)[0]
    assert relative(value, truth) < 1e-11
    E = pred[1] - target[1]
    means = np.mean(np.sum((pred[0] - target[0]) ** 2, axis=-1))
    wrong = {
        "the Frobenius norm": means + np.mean(np.sum(E**2, axis=(1, 2))),
        "tr(S² Σ)": means + np.mean(np.trace(E @ E @ mu_t.cov, axis1=1, axis2=2)),
        "without the mean": truth - means,
        "a sum over the batch": B * truth,
        "the wrong side": means + np.mean(np.trace(E.mT @ mu_t.cov @ E, axis1=1, axis2=2)),
    }
    for name, variant in wrong.items():
        assert relative(variant, truth) > 1e-3, name


def test_euclidean_loss_is_the_riemannian_one_of_the_lyapunov_solution(instance):
    pred, target, mu_t = instance
    lifts = [
        np.stack([oracles.lyapunov(c, m) for c, m in zip(mu_t.cov, part[1], strict=True)])
        for part in (pred, target)
    ]
    truth = call("riemannian", (pred[0], lifts[0]), (target[0], lifts[1]), mu_t)[0]
    value = call("euclidean", pred, target, mu_t)[0]
    assert relative(value, truth) < 1e-11
    means = np.mean(np.sum((pred[0] - target[0]) ** 2, axis=-1))
    assert relative(means + 2 * (value - means), truth) > 0.01  # without the half
    assert relative(call("frobenius", pred, target, mu_t)[0], truth) > 0.01


def test_frobenius_loss_is_the_distance_of_the_numbers(instance):
    pred, target, mu_t = instance
    truth = sum(np.linalg.norm(p - q) ** 2 for p, q in zip(pred, target, strict=True)) / B
    assert relative(call("frobenius", pred, target, mu_t)[0], truth) < 1e-13


@pytest.mark.parametrize("name", LOSSES)
def test_derivative_is_the_slope(name, instance, rng):
    pred, target, mu_t = instance
    direction = (rng.standard_normal((B, D)), oracles.random_cov(rng, B, D) - np.eye(D))
    if name == "riemannian":  # derivative of a matrix with free entries
        direction = (direction[0], rng.standard_normal((B, D, D)))

    def value(h):
        return call(name, tuple(p + h * x for p, x in zip(pred, direction, strict=True)), target, mu_t)[0]

    slope = derivative(value)
    _, gradient = call(name, pred, target, mu_t)
    truth = sum(np.sum(g * x) for g, x in zip(gradient, direction, strict=True))
    assert relative(truth, slope) < 1e-6
    swapped = np.sum(gradient[0] * direction[0]) + np.sum(gradient[1].mT * direction[1])
    wrong = {"half": truth / 2, "minus": -truth, "a sum over the batch": B * truth}
    if name == "riemannian":
        wrong["Σ on the other side"] = swapped
    for reason, variant in wrong.items():
        assert relative(variant, slope) > 1e-3, reason


@pytest.mark.parametrize("name", LOSSES)
@given(seed=strategies.seeds)
def test_loss_is_positive_and_zero_at_the_target(name, seed):
    pred, target, mu_t = random_instance(np.random.default_rng(seed))
    assert call(name, pred, target, mu_t)[0] > 0
    value, gradient = call(name, target, target, mu_t)
    assert value == 0.0
    assert all(np.all(part == 0.0) for part in gradient)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=strategies.seeds, copies=st.integers(2, 4))
def test_loss_does_not_see_copies_or_order(name, seed, copies):
    rng = np.random.default_rng(seed)
    pred, target, mu_t = random_instance(rng)
    order = rng.permutation(np.tile(np.arange(B), copies))
    many = [tuple(x[order] for x in part) for part in (pred, target, mu_t)]
    once = call(name, pred, target, mu_t)[0]
    again = call(name, *many[:2], Gaussian(*many[2]))[0]
    assert relative(again, once) < 100 * EPS


@pytest.mark.parametrize("name", LOSSES)
def test_singular_points_have_finite_losses(name, instance):
    pred, target, mu_t = instance
    flat = mu_t._replace(cov=np.broadcast_to(np.diag([1.0, 0.0, 0.0]), (B, D, D)))
    value, gradient = call(name, pred, target, flat)
    assert np.isfinite(value)
    assert all(np.isfinite(part).all() for part in gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_libraries_agree(library, name, instance):
    kind = METHODS[name].velocity
    pred, target, mu_t = instance
    # Condition number 30 and sums of B (d + d²) = 48 squares.
    library.check(LOSSES[name], kind(*pred), kind(*target), mu_t, ulps=1000)
    value, gradient = LOSSES[name](*library.arrays((kind(*pred), kind(*target), mu_t)))
    assert tuple(value.shape) == ()
    assert type(gradient) is kind


def test_methods_pair_a_velocity_with_its_own_loss_and_step():
    assert {name: method.velocity for name, method in METHODS.items()} == {
        "riemannian": Tangent,
        "euclidean": EuclideanTangent,
        "frobenius": EuclideanTangent,
    }
    assert {name: method.loss for name, method in METHODS.items()} == LOSSES
