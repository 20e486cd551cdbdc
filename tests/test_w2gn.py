"""Wasserstein-2 generative networks: losses, conjugate, dual values, fits, colour transfer."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm import bures, bures_metric, clouds
from refwfm.evidence import ConvergenceError
from refwfm.meta import icnn, w2gn
from refwfm.training import optim
from refwfm.training import w2gn as fitting
from refwfm.training.algorithm import NonFiniteLossError
from refwfm.validation import plain_potentials as plain


def pair_of(seed=0, batch=(), width=6):
    rng = np.random.default_rng(seed)
    pair = w2gn.init_pair(rng, 3, like=np.zeros(0), width=width)
    return optim.tree_map(lambda p: p + 0.3 * rng.standard_normal((*batch, *p.shape)), pair)


def gaussian_pair(x, y):
    """The pair that the moments of two clouds give, which inverts itself exactly."""
    mu, nu = clouds.moments(x), clouds.moments(y)
    ways = {"potential": (mu, nu), "conjugate": (nu, mu)}
    pair = {}
    for name, (first, second) in ways.items():
        A = bures.gelbrich_map(first, second)
        pair[name] = icnn.quadratic_parameters(A, second.mean - A @ first.mean, width=4)
    return pair


def some_clouds(seed=0, n=40):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.8, (n, 3)), 0.3 + 0.4 * rng.uniform(0, 1, (n, 3)) ** 2


def test_gradient_against_autograd():
    """With torch's own stop of the gradient; without it the gradient is another one."""
    torch = pytest.importorskip("torch")
    pair, (x, y) = pair_of(), some_clouds(n=9)

    def torch_loss(tree, stop):
        def both(params, z):
            w = torch.nn.functional.softplus(params["omega"])
            ridges = torch.nn.functional.leaky_relu(z @ params["hidden"].T + params["bias"], 0.01) @ w
            value = ridges + z @ params["linear"] + params["constant"]
            value = value + torch.sum((z @ params["quadratic"].T) ** 2, dim=-1)
            return value, torch.autograd.grad(torch.sum(value), z, create_graph=True)[0]

        a, b = (torch.tensor(z, requires_grad=True) for z in (x, y))
        at_x, y_hat = both(tree["potential"], a)
        _, x_hat = both(tree["conjugate"], b)
        seen = x_hat.detach().requires_grad_() if stop else x_hat
        correlation = torch.mean(at_x) + torch.mean(
            torch.sum(seen * b, dim=-1) - both(tree["potential"], seen)[0]
        )
        cycles = torch.mean((both(tree["potential"], x_hat)[1] - b) ** 2)
        cycles = cycles + torch.mean((both(tree["conjugate"], y_hat)[1] - a) ** 2)
        weights = [torch.cat([p.reshape(-1) for p in part.values()]) for part in tree.values()]
        return correlation + 3.0 * cycles + 1e-6 * sum(torch.mean(p * p) for p in weights)

    loss, grads = w2gn.w2gn_loss_and_grad(pair, x, y)
    flat = optim.flatten(grads)
    for stop in (True, False):
        tree = optim.tree_map(lambda p: torch.tensor(p, requires_grad=True), pair)
        value = torch_loss(tree, stop)
        assert abs(float(value.detach()) - float(loss)) < 1e-12
        leaves = optim.flatten(tree)
        truth = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
        off = max(float(np.max(np.abs(flat[name] - truth[name].numpy()))) for name in flat)
        assert off < 1e-10 if stop else off > 1e-3


def test_problems_do_not_know_of_each_other():
    pair, x, y = pair_of(batch=(3,)), *(np.stack([c[i] for c in map(some_clouds, range(3))]) for i in (0, 1))
    loss, grads = w2gn.w2gn_loss_and_grad(pair, x, y)
    assert loss.shape == (3,)
    for i in range(3):
        alone, grad = w2gn.w2gn_loss_and_grad(plain.member(pair, i), x[i], y[i])
        np.testing.assert_allclose(loss[i], alone, rtol=1e-12)
        for name, leaf in optim.flatten(plain.member(grads, i)).items():
            np.testing.assert_allclose(leaf, optim.flatten(grad)[name], atol=1e-12)


@given(strategies.seeds)
def test_the_pair_between_gaussians_is_the_optimum(seed):
    """Both cycles vanish, the correlation is the closed form, and other quadratics have less."""
    x, y = some_clouds(seed % 1000)
    pair = gaussian_pair(x, y)
    mu, nu = clouds.moments(x), clouds.moments(y)
    loss = float(w2gn.w2gn_loss_and_grad(pair, x, y, penalty=0.0)[0])
    squares = np.mean(np.sum(x * x, axis=-1)) + np.mean(np.sum(y * y, axis=-1))
    optimum = 0.5 * (squares - float(bures_metric.sq_distance(mu, nu)))
    assert abs(loss - optimum) < 1e-10
    no_box = {"low": -np.inf, "high": np.inf, "tol": 1e-20, "max_iter": 2000}
    assert abs(float(w2gn.dual_value(pair["potential"], x, y, **no_box)) + optimum) < 1e-9
    # The clouds are no Gaussians, and the Gaussians' distance is a lower bound on theirs: other potentials of
    # quadratic kind are worse, for they see the moments alone.
    worse = optim.tree_map(lambda p: 1.1 * p, pair["potential"])
    assert float(w2gn.dual_value(worse, x, y, **no_box)) < -optimum - 1e-4


@given(strategies.seeds)
def test_fenchel_young(seed):
    """``ψ(x) + ψ̄(y) ≥ ⟨x, y⟩`` for x in the box, and equal at the point found, whatever the network."""
    params = pair_of(seed % 1000)["potential"]
    params = {**params, "quadratic": params["quadratic"] + 0.7 * np.eye(3)}
    x, y = some_clouds(seed % 1000)
    x_hat = w2gn.conjugate(params, y, tol=1e-16, max_iter=500)
    assert np.all((x_hat >= 0) & (x_hat <= 1))
    conjugate = np.sum(x_hat * y, axis=-1) - icnn.potential(params, x_hat)[0]
    slack = icnn.potential(params, x)[0][:, None] + conjugate[None, :] - x @ y.T
    assert np.min(slack) > -1e-3  # kinks leave projected gradient a little short of the maximum
    early = w2gn.conjugate(params, y, max_iter=1)
    short = np.sum(early * y, axis=-1) - icnn.potential(params, early)[0]
    assert np.all(short <= conjugate + 1e-9)  # inexact points only lower the value


def test_conjugate_without_curvature_is_in_the_box():
    params = pair_of()["potential"] | {"quadratic": np.zeros((3, 3))}
    y = 10.0 * np.random.default_rng(0).standard_normal((20, 3))
    x = w2gn.conjugate(params, y)
    assert np.all(np.isfinite(x))
    assert np.all((x >= 0.0) & (x <= 1.0))


def test_no_point_waits_for_another():
    params, y = pair_of()["potential"], some_clouds()[1]
    alone = w2gn.conjugate(params, y[:1])
    np.testing.assert_allclose(w2gn.conjugate(params, y)[:1], alone, atol=1e-12)
    y[1] = np.nan
    found = w2gn.conjugate(params, y)
    assert np.all(np.isnan(found[1]))
    np.testing.assert_allclose(found[:1], alone, atol=1e-12)


def test_identity_loss():
    x = some_clouds()[0]
    half = icnn.quadratic_parameters(np.eye(3), np.zeros(3), width=4)
    exact = {"potential": half, "conjugate": half}
    assert abs(float(w2gn.identity_loss_and_grad(exact, x, penalty=0.0)[0])) < 1e-28
    assert float(w2gn.identity_loss_and_grad(pair_of(), x)[0]) > 0.1


def test_pretraining_moves_points_by_less_than_a_hundredth():
    rng = np.random.default_rng(0)
    pair = w2gn.init_pair(rng, like=np.zeros(0), width=16)
    pair, loss, steps = fitting.pretrain_identity(
        pair, rng=rng, n_steps=4000, below=2e-5, batch_size=64, learning_rate=3e-3
    )
    assert loss < 2e-5
    assert steps < 4000
    x = rng.uniform(0.0, 1.0, (500, 3))
    for params in pair.values():
        moved = icnn.gradient_map(params, x)[0] - x
        assert np.sqrt(np.mean(moved**2)) < 1e-2


def test_pretraining_that_stops_too_early_or_breaks_says_so():
    rng = np.random.default_rng(0)
    pair = w2gn.init_pair(rng, like=np.zeros(0), width=4)
    with pytest.raises(ConvergenceError, match=r"not the identity after 2 steps: loss .*, wanted 0.0001"):
        fitting.pretrain_identity(pair, rng=rng, n_steps=2, batch_size=8)
    assert fitting.pretrain_identity(pair, rng=rng, n_steps=2, batch_size=8, require=False)[2] == 2
    broken = {**pair, "conjugate": {**pair["conjugate"], "linear": np.full(3, np.nan)}}
    with pytest.raises(NonFiniteLossError, match="became nan at step 1"):
        fitting.pretrain_identity(broken, rng=rng, n_steps=2, batch_size=8)


def test_fit_raises_the_dual_value():
    x, y = some_clouds()
    rng = np.random.default_rng(1)
    half = icnn.quadratic_parameters(np.eye(3), np.zeros(3), width=16)
    start = w2gn.init_pair(rng, like=np.zeros(0), width=16)
    start = {
        name: {**half, "hidden": part["hidden"], "omega": part["omega"] - 5.0} for name, part in start.items()
    }
    losses = []
    result = fitting.fit(
        start,
        x,
        y,
        rng=rng,
        n_steps=150,
        batch_size=40,
        learning_rate=3e-3,
        every=50,
        report=lambda step, loss: losses.append((step, float(loss))),
    )
    assert result.steps.tolist() == [0, 50, 100, 150]
    assert result.values[-1] > result.values[0] + 1e-3
    assert losses[-1][0] == 150
    assert losses[-1][1] < losses[0][1]
    scaled = w2gn.normalised_dual_values(result.values)[0]
    assert scaled.min() == 0.0
    assert scaled.max() == 1.0
    again = fitting.fit(start, x, y, rng=np.random.default_rng(5), n_steps=3, batch_size=8)
    assert again.values.shape == (0,)
    assert start["potential"]["constant"] == 0.0  # the start is not changed


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.lists(st.floats(-10, 10), min_size=1, max_size=5)
)
def test_normalised_values_lie_between_0_and_1(first, second):
    found = w2gn.normalised_dual_values(np.asarray(first), np.asarray(second))
    both = np.concatenate(found)
    assert np.all((both >= 0.0) & (both <= 1.0))
    assert np.max(both) == 1.0
    assert np.min(both) == (1.0 if len({*first, *second}) == 1 else 0.0)


def test_normalised_values_of_nothing_and_of_nan():
    with pytest.raises(ValueError, match="at least one run"):
        w2gn.normalised_dual_values()
    with pytest.raises(ValueError, match="at least one value"):
        w2gn.normalised_dual_values(np.zeros(0))
    assert np.all(np.isnan(w2gn.normalised_dual_values(np.asarray([0.0, np.nan]))[0]))


def test_colours_go_both_ways():
    rng = np.random.default_rng(0)
    picture, other = rng.uniform(0.3, 0.7, (6, 5, 3)), 0.2 + 0.5 * rng.uniform(0, 1, (4, 7, 3))
    pair = gaussian_pair(picture.reshape(-1, 3), other.reshape(-1, 3))
    there = w2gn.transfer_colours(pair["potential"], picture, rows=7)
    assert there.shape == picture.shape
    np.testing.assert_array_equal(there, w2gn.transfer_colours(pair["potential"], picture))
    assert np.all((there >= 0) & (there <= 1))
    np.testing.assert_allclose(np.mean(there, axis=(0, 1)), np.mean(other, axis=(0, 1)), atol=0.05)
    back = w2gn.transfer_colours(pair["conjugate"], there)
    inside = np.all((there > 0) & (there < 1), axis=-1)
    np.testing.assert_allclose(back[inside], picture[inside], atol=1e-9)


def test_arguments_are_checked():
    pair, (x, y) = pair_of(), some_clouds()
    with pytest.raises(TypeError, match="'potential' and 'conjugate'"):
        w2gn.w2gn_loss_and_grad(pair["potential"], x, y)
    with pytest.raises(ValueError, match="the same batch axes"):
        w2gn.w2gn_loss_and_grad(pair, x, np.stack([y, y]))
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 0"):
        fitting.fit(pair, x, y, rng=np.random.default_rng(0), n_steps=-1)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_libraries(library, batch):
    if batch not in library.batches:
        pytest.skip("these axes are tried on other libraries")
    pair = pair_of(batch=batch)
    x, y = (np.broadcast_to(c, (*batch, *c.shape)).copy() for c in some_clouds(n=8))
    library.check(w2gn.w2gn_loss_and_grad, pair, x, y, ulps=2e3)
    library.check(w2gn.identity_loss_and_grad, pair, x, ulps=2e3)
    library.check(lambda p, x, y: w2gn.dual_value(p, x, y, max_iter=3), pair["potential"], x, y, ulps=2e3)
