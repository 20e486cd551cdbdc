"""The loss of point clouds: what it is the mean of, its derivative, and what it does not see."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, derivative, relative

from refwfm.clouds import pad
from refwfm.objectives import cloud_loss


def random_instance(rng, counts=(3, 1, 5, 4), d=2):
    """Predictions and targets (B, n, d) with anything at padding, and unequal weights (B, n)."""
    weights = pad([np.zeros((k, 1)) for k in counts], weights=[rng.dirichlet(np.ones(k)) for k in counts])[1]
    pred, target = rng.normal(size=(2, *weights.shape, d))
    return pred, target, weights


def textbook(pred, target, weights):
    clouds = zip(pred, target, weights, strict=True)
    return np.mean([sum(w * np.linalg.norm(p - q) ** 2 for p, q, w in zip(*c, strict=True)) for c in clouds])


def test_loss_is_the_textbooks(rng):
    pred, target, weights = random_instance(rng)
    truth = textbook(pred, target, weights)
    assert relative(cloud_loss(pred, target, weights)[0], truth) < 100 * EPS
    squares = (pred - target) ** 2
    live = weights > 0
    wrong = {
        "a sum over points": np.sum(squares * live[..., None]) / len(pred),
        "uniform weights": np.mean(np.sum(squares.sum(-1) * live, 1) / np.sum(live, 1)),
        "a mean over coordinates": truth / 2,
        "a sum over clouds": truth * len(pred),
        "padding counted": np.mean(np.sum(squares, axis=-1)),
    }
    for name, variant in wrong.items():
        assert relative(variant, truth) > 0.01, name


def test_large_clouds_do_not_count_for_more():
    """Targets 0 of 10 points and 1 of 1000: the best constant is ½; that of the printed sum is 0.99."""
    weights = pad([np.zeros((10, 1)), np.zeros((1000, 1))]).weights
    target = np.stack([np.zeros((1000, 1)), np.ones((1000, 1))])

    def best(slope):
        """Root of a slope that is affine in the constant."""
        at_0, at_1 = slope(0.0), slope(1.0)
        return at_0 / (at_0 - at_1)

    def loss_slope(c):
        return cloud_loss(np.full(target.shape, c), target, weights)[1].sum()

    def printed_slope(c):
        return np.sum(2 * (c - target) * (weights > 0)[..., None])

    assert best(loss_slope) == pytest.approx(0.5, abs=1e-12)
    assert best(printed_slope) == pytest.approx(1000 / 1010, abs=1e-12)


def test_derivative_is_the_slope(rng):
    pred, target, weights = random_instance(rng)
    direction = rng.normal(size=pred.shape)
    slope = derivative(lambda h: textbook(pred + h * direction, target, weights))
    gradient = cloud_loss(pred, target, weights)[1]
    assert relative(np.sum(gradient * direction), slope) < 1e-6
    wrong = {"half": gradient / 2, "minus": -gradient, "unweighted": 2 * (pred - target) / len(pred)}
    for name, variant in wrong.items():
        assert relative(np.sum(variant * direction), slope) > 1e-3, name


@given(strategies.seeds, st.floats(0.05, 0.95))
def test_splitting_an_atom_changes_nothing(seed, share):
    pred, target, weights = random_instance(np.random.default_rng(seed))
    twice = [np.concatenate([x, x], axis=1) for x in (pred, target)]
    split = np.concatenate([share * weights, (1 - share) * weights], axis=1)
    once = cloud_loss(pred, target, weights)[0]
    assert relative(cloud_loss(*twice, split)[0], once) < 100 * EPS


@given(strategies.seeds, st.sampled_from([np.nan, np.inf, 1e300]))
def test_padding_has_no_influence(seed, rubbish):
    pred, target, weights = random_instance(np.random.default_rng(seed))
    padding = (weights == 0)[..., None]
    value, gradient = cloud_loss(pred, target, weights)
    filled = np.where(padding, rubbish, pred)
    with np.errstate(invalid="ignore", over="ignore"):
        again = cloud_loss(filled, np.where(padding, -rubbish, target), weights)
    assert again[0] == value
    np.testing.assert_array_equal(again[1], gradient)
    np.testing.assert_array_equal(np.where(padding, gradient, 0.0), np.zeros_like(gradient))


@given(strategies.seeds)
def test_order_of_points_and_clouds_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    pred, target, weights = random_instance(rng)
    clouds, points = rng.permutation(len(pred)), rng.permutation(pred.shape[1])
    moved = [x[clouds][:, points] for x in (pred, target, weights)]
    value, gradient = cloud_loss(pred, target, weights)
    again = cloud_loss(*moved)
    assert relative(again[0], value) < 100 * EPS
    np.testing.assert_array_equal(again[1], gradient[clouds][:, points])


@given(strategies.seeds)
def test_loss_is_positive_and_zero_at_the_target(seed):
    pred, target, weights = random_instance(np.random.default_rng(seed))
    assert cloud_loss(pred, target, weights)[0] > 0
    value, gradient = cloud_loss(target, target, weights)
    assert value == 0.0
    assert np.all(gradient == 0.0)


def test_libraries_agree(library, rng):
    # Sums of B n d = 40 squares.
    library.check(cloud_loss, *random_instance(rng), ulps=100)
    value, _ = cloud_loss(*library.arrays(random_instance(rng)))
    assert tuple(value.shape) == ()


@pytest.mark.parametrize(
    ("pred", "target", "weights"),
    [((2, 3, 1), (2, 1, 1), (2, 3)), ((2, 3, 1), (2, 3, 1), (3,)), ((3, 1), (3, 1), (3,))],
)
def test_shapes_that_would_broadcast_are_refused(pred, target, weights):
    with pytest.raises(ValueError, match=r"same shape \(B, n, d\) and weights \(B, n\)"):
        cloud_loss(np.zeros(pred), np.zeros(target), np.ones(weights))
