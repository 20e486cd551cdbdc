"""Input-convex networks: value, map and pullback, convexity, the Gaussian closed form."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm import bures, clouds
from refwfm._array import to_host
from refwfm.meta import icnn
from refwfm.training import optim
from refwfm.validation import plain_potentials as plain


def network(d=3, seed=0, width=16, batch=()):
    rng = np.random.default_rng(seed)
    params = icnn.init_icnn(rng, d, like=np.zeros(0), width=width)
    return optim.tree_map(lambda p: p + 0.5 * rng.standard_normal((*batch, *p.shape)), params)


def points(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def test_number_and_order_of_the_parameters():
    params = icnn.init_icnn(np.random.default_rng(0), like=np.zeros(0))
    flat = icnn.ravel(params)
    assert flat.shape == (653,) == (icnn.n_parameters(),)
    back = icnn.unravel(flat)
    assert list(back) == list(params)
    for name, value in params.items():
        np.testing.assert_array_equal(back[name], value)
    assert not np.array_equal(icnn.unravel(flat[::-1])["hidden"], params["hidden"])


@given(st.integers(1, 4), strategies.seeds)
def test_a_batch_of_networks_is_each_network(d, seed):
    params, x = network(d, seed, batch=(3,)), points(3, 5, d, seed=seed)
    np.testing.assert_array_equal(
        icnn.ravel(icnn.unravel(icnn.ravel(params), d=d, width=16)), icnn.ravel(params)
    )
    value, gradient, _ = icnn.potential_and_map(params, x)
    for i in range(3):
        alone = icnn.potential_and_map(plain.member(params, i), x[i])
        np.testing.assert_allclose(value[i], alone[0], atol=1e-12)
        np.testing.assert_allclose(gradient[i], alone[1], atol=1e-12)


@given(st.integers(1, 4), strategies.seeds)
def test_convex_and_monotone(d, seed):
    params, x, y = network(d, seed), points(50, d, seed=seed), points(50, d, seed=seed + 1)
    psi = [icnn.potential(params, z)[0] for z in (x, y, 0.5 * (x + y))]
    assert np.all(psi[2] <= 0.5 * (psi[0] + psi[1]) + 1e-12)
    gap = icnn.gradient_map(params, x)[0] - icnn.gradient_map(params, y)[0]
    assert np.all(np.sum(gap * (x - y), axis=-1) >= -1e-12)


def test_a_negative_weight_is_noticed_as_not_convex():
    params, x = network(), points(500, 3)
    y = points(500, 3, seed=2)

    def concave(z):
        ridges = plain.leaky(z @ params["hidden"].T + params["bias"])
        return -np.sum(ridges, axis=-1)

    assert np.any(concave(0.5 * (x + y)) > 0.5 * (concave(x) + concave(y)) + 1e-12)


@given(st.integers(1, 3), strategies.seeds)
def test_pullback_against_differences(d, seed):
    params, x = network(d, seed, width=4), points(2, 3, d, seed=seed)
    g, e = points(2, 3, seed=seed), points(2, 3, d, seed=seed + 2)
    d_params, d_x = icnn.potential_and_map(params, x)[2](g, e)

    def value(params, x):
        psi, gradient, _ = icnn.potential_and_map(params, x)
        return np.sum(g * psi) + np.sum(e * gradient)

    rng, h = np.random.default_rng(seed), 1e-6
    for name, leaf in (*params.items(), ("x", x)):
        way = rng.standard_normal(leaf.shape)
        ends = [
            value(params, x + s * way) if name == "x" else value({**params, name: leaf + s * way}, x)
            for s in (h, -h)
        ]
        found = np.sum((d_x if name == "x" else d_params[name]) * way)
        assert abs((ends[0] - ends[1]) / (2 * h) - found) < 1e-5 * (1.0 + abs(found)), name


def test_pullback_against_autograd():
    torch = pytest.importorskip("torch")
    params, x, g = network(), points(2, 7, 3), points(2, 7)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    at = torch.tensor(x, requires_grad=True)
    w = torch.nn.functional.softplus(tensors["omega"])
    ridges = torch.nn.functional.leaky_relu(at @ tensors["hidden"].T + tensors["bias"], 0.01)
    value = ridges @ w + at @ tensors["linear"] + tensors["constant"]
    value = value + torch.sum((at @ tensors["quadratic"].T) ** 2, dim=-1)
    (gradient,) = torch.autograd.grad(torch.sum(value), at, create_graph=True)
    ours = icnn.potential_and_map(params, x)
    np.testing.assert_allclose(ours[0], value.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(ours[1], gradient.detach().numpy(), atol=1e-12)
    e = points(2, 7, 3, seed=9)
    loss = torch.sum(value * torch.tensor(g)) + torch.sum(gradient * torch.tensor(e))
    truth = torch.autograd.grad(loss, [*tensors.values(), at])
    d_params, d_x = ours[2](g, e)
    for found, expected in zip([*d_params.values(), d_x], truth, strict=True):
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-10)


@given(strategies.pairs)
def test_holds_the_map_between_gaussians(pair):
    mu, nu = pair
    d = mu.mean.shape[-1]
    A = bures.gelbrich_map(mu, nu)
    params = icnn.quadratic_parameters(A, nu.mean - A @ mu.mean, width=5)
    x = mu.mean + points(9, d)
    truth = bures.push_forward(x, mu, nu)
    assert np.allclose(icnn.gradient_map(params, x)[0], truth, atol=1e-9 * (1 + np.max(np.abs(A))) ** 2)


def test_nan_stays_where_it_is():
    params, x = network(batch=(2,)), points(2, 5, 3)
    for name in params:
        broken = {**params, name: params[name].copy()}
        broken[name][0] = np.nan
        value, gradient, _ = icnn.potential_and_map(broken, x)
        assert np.all(np.isnan(value[0])), name
        assert np.all(np.isfinite(value[1])), name
        assert name == "constant" or np.all(np.isnan(gradient[0])), name
    x[0, 0, 0] = np.nan
    value, gradient, _ = icnn.potential_and_map(params, x)
    assert np.isnan(value[0, 0])
    assert np.all(np.isnan(gradient[0, 0]))
    assert np.all(np.isfinite(value[0, 1:]))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [(), (3,)])
def test_libraries(library, batch):
    if batch not in library.batches:
        pytest.skip("these axes are tried on other libraries")
    params, x = network(batch=batch), points(3, 4, 3)

    def everything(params, x):
        value, gradient, pullback = icnn.potential_and_map(params, x)
        return value, gradient, pullback(value, gradient)

    library.check(everything, params, x, ulps=1e3)


def test_arguments_are_checked():
    params, x = network(), points(4, 3)
    with pytest.raises(TypeError, match="an input-convex network"):
        icnn.potential({"hidden": params["hidden"]}, x)
    with pytest.raises(ValueError, match=r"x must have shape \(..., n, 3\)"):
        icnn.potential(params, points(4, 2))
    with pytest.raises(ValueError, match="x must have shape"):
        icnn.potential(network(batch=(3,)), points(2, 4, 3))
    with pytest.raises(ValueError, match="bias must have shape"):
        icnn.potential({**params, "bias": np.zeros(3)}, x)
    with pytest.raises(ValueError, match="length 653"):
        icnn.unravel(np.zeros(652))
    with pytest.raises(TypeError, match="float32 or float64"):
        icnn.potential(params, np.ones((4, 3), dtype=np.int64))


def test_moments_push_forward():
    """The quadratic network takes a cloud to one with the other's moments."""
    x, y = points(200, 3), 0.5 * points(100, 3, seed=4) + 1.0
    mu, nu = clouds.moments(x), clouds.moments(y)
    A = bures.gelbrich_map(mu, nu)
    params = icnn.quadratic_parameters(A, nu.mean - A @ mu.mean, width=2)
    found = clouds.moments(icnn.gradient_map(params, x)[0])
    np.testing.assert_allclose(to_host(found.mean), nu.mean, atol=1e-12)
    np.testing.assert_allclose(to_host(found.cov), nu.cov, atol=1e-12)
