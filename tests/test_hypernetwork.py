"""The hypernetwork: what it reads, where it starts, its gradient, and that it learns."""

import numpy as np
import pytest
import strategies
from hypothesis import given

from refwfm import bures, clouds
from refwfm.datasets import palettes
from refwfm.meta import hypernetwork as hyper
from refwfm.meta import icnn, w2gn
from refwfm.training import optim
from refwfm.validation import plain_potentials as plain

WIDTH = 6


def setting(seed=0, count=3, n=64):
    rng = np.random.default_rng(seed)
    x, y = palettes.synthetic_palettes(2 * count, n, rng=rng).reshape(2, count, n, 3)
    ridges = hyper.init_ridges(rng, like=np.zeros(0), width=WIDTH, weight=0.02)
    start = hyper.gaussian_start(clouds.moments(x), clouds.moments(y), ridges)
    params = hyper.init_hypernetwork(rng, 73, icnn.n_parameters(3, WIDTH), like=np.zeros(0), width=16)
    return params, hyper.summary(x), hyper.summary(y), start, x, y


@given(strategies.seeds)
def test_order_has_no_influence_on_the_summary(seed):
    rng = np.random.default_rng(seed)
    x = palettes.synthetic_palettes(1, 30, rng=rng)
    np.testing.assert_allclose(hyper.summary(x[:, rng.permutation(30)]), hyper.summary(x), atol=1e-9)
    assert np.max(np.abs(hyper.summary(1.0 - x) - hyper.summary(x))) > 1e-3


def test_before_training_the_start_is_predicted():
    params, of_x, of_y, start, *_ = setting()
    pair, _ = hyper.predict(params, of_x, of_y, start)
    for name, leaf in optim.flatten(pair).items():
        np.testing.assert_array_equal(leaf, optim.flatten(start)[name])
    one = w2gn.init_pair(np.random.default_rng(0), like=np.zeros(0), width=WIDTH)
    same, _ = hyper.predict(params, of_x, of_y, one)
    for i in range(3):
        np.testing.assert_array_equal(
            plain.member(same, i)["potential"]["hidden"], one["potential"]["hidden"]
        )


def test_gradient_against_differences():
    params, of_x, of_y, start, x, y = setting(count=2, n=7)
    rng = np.random.default_rng(1)
    params = optim.tree_map(lambda p: p + 0.02 * rng.standard_normal(p.shape), params)
    _, grads = hyper.loss_and_grad(params, of_x, of_y, start, x, y)
    way = optim.tree_map(lambda p: rng.standard_normal(p.shape), params["in"])

    def pieces(h):
        moved = {**params, "in": optim.tree_map(lambda p, w: p + h * w, params["in"], way)}
        pair, _ = hyper.predict(moved, of_x, of_y, start)
        # What the correlation sees of the conjugate comes from the parameters that do not move.
        fixed, _ = hyper.predict(params, of_x, of_y, start)
        return np.mean(
            [
                plain.w2gn_loss(
                    plain.member(pair, i),
                    x[i],
                    y[i],
                    cycle=3.0,
                    penalty=1e-6,
                    frozen=plain.member(fixed, i),
                )
                for i in range(2)
            ]
        )

    slope = (pieces(1e-6) - pieces(-1e-6)) / 2e-6
    found = sum(np.sum(grads["in"][name] * w) for name, w in way.items())
    assert abs(slope - found) < 1e-5 * (1.0 + abs(found))


def test_the_gaussian_start_has_the_moments_of_the_target():
    *_, x, y = setting(n=500)
    ridges = hyper.init_ridges(np.random.default_rng(0), like=np.zeros(0), width=WIDTH, weight=1e-4)
    start = hyper.gaussian_start(clouds.moments(x), clouds.moments(y), ridges)
    for name, (source, target) in {"potential": (x, y), "conjugate": (y, x)}.items():
        pushed = clouds.moments(icnn.gradient_map(start[name], source)[0])
        np.testing.assert_allclose(pushed.mean, clouds.moments(target).mean, atol=0.02)


@pytest.mark.parametrize("grey", [False, True])
def test_clouds_of_one_colour(grey):
    """Singular covariances: every number is finite, and one colour goes to the other."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(0, 1, (1, 20, 1)), 3, axis=-1) if grey else np.full((1, 20, 3), 0.25)
    y = np.full((1, 20, 3), 0.75)
    ridges = hyper.init_ridges(rng, like=np.zeros(0), width=WIDTH)
    start = hyper.gaussian_start(clouds.moments(x), clouds.moments(y), ridges)
    assert all(np.all(np.isfinite(leaf)) for leaf in optim.tree_leaves(start))
    assert np.all(np.isfinite(hyper.summary(x)))
    moved = icnn.gradient_map(start["potential"], x)[0]
    np.testing.assert_allclose(np.mean(moved, axis=-2), 0.75, atol=1e-9 if not grey else 0.05)
    none = [bures.Gaussian(m, c) for m, c in (clouds.moments(x), clouds.moments(y))]
    assert np.all(np.isfinite(optim.tree_leaves(hyper.gaussian_start(*none, ridges))[0]))


def test_it_learns():
    params, of_x, of_y, start, x, y = setting(count=4)
    state, first = optim.init_adam(params), None
    for _ in range(100):
        loss, grads = hyper.loss_and_grad(params, of_x, of_y, start, x, y)
        first = float(loss) if first is None else first
        params, state = optim.adam(params, grads, state, learning_rate=5e-3)
    assert float(loss) < first
    before = w2gn.dual_value(start["potential"], x, y)
    after = w2gn.dual_value(hyper.predict(params, of_x, of_y, start)[0]["potential"], x, y)
    assert np.mean(after) > np.mean(before)


@pytest.mark.slow
def test_libraries(library):
    params, of_x, of_y, start, x, y = setting(count=2, n=16)
    library.check(hyper.summary, x, ulps=1e4)
    library.check(hyper.loss_and_grad, params, of_x, of_y, start, x, y, ulps=1e4)
