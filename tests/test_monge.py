"""Conditional Monge maps: convexity, gradients against torch, penalties, starts, and that they learn."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from thirds import THOROUGH

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.meta import monge, picnn
from refwfm.training import optim

D, K = 2, 3


def network(seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    params = picnn.init_picnn(rng, D, K, like=np.zeros(0), width=5, depth=2)
    return optim.tree_map(lambda p: p + noise * rng.standard_normal(p.shape), params)


def data(seed=1, n=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, n, D)), rng.standard_normal((2, n + 1, D)), rng.standard_normal((2, K))


@given(strategies.seeds)
def test_convex_while_no_kernel_is_negative(seed):
    params = monge.clamp_kernels(network(seed))
    assert float(monge.negative_kernels(params)[0]) == 0.0
    x, y, c = data(seed, 40)
    y = y[:, :40]
    g = [picnn.picnn(params, z, c)[0] for z in (x, y, 0.5 * (x + y))]
    assert np.all(g[2] <= 0.5 * (g[0] + g[1]) + 1e-10)
    gap = picnn.monge_map(params, x, c)[0] - picnn.monge_map(params, y, c)[0]
    assert np.all(np.sum(gap * (x - y), axis=-1) >= -1e-10)


def test_negative_kernels_are_noticed():
    params = network()
    flipped = optim.tree_map(lambda p: p, params)
    last = flipped["layers"]["2"]
    last["wz"] = -np.abs(last["wz"]) - 1.0
    flipped["layers"]["1"]["wz"] = np.abs(flipped["layers"]["1"]["wz"])
    assert float(monge.negative_kernels(flipped)[0]) > 1.0
    x, y, c = data(n=300)
    y, none = y[:, :300], picnn.Quadratic(np.zeros((D, D)), np.zeros(D))
    g = [picnn.picnn(flipped, z, c, none)[0] for z in (x, y, 0.5 * (x + y))]
    assert np.any(g[2] > 0.5 * (g[0] + g[1]) + 1e-10)


def test_gradients_against_autograd():
    """Also of the map: torch differentiates its own gradient."""
    torch = pytest.importorskip("torch")
    g, f, (x, y, c) = network(), network(5), data()

    def value(params, z, condition):
        u, out = condition, None
        names = sorted(params["layers"], key=int)
        for name in names:
            layer = params["layers"][name]

            def read(key, layer=layer, u=u):
                return (u @ layer[key]["weight"] + layer[key]["bias"])[..., None, :]

            a = (z * read("xu")) @ layer["wx"] + read("wu")
            if out is not None:
                a = a + (out * torch.nn.functional.softplus(read("zu"))) @ layer["wz"]
            s = a if name == names[-1] else torch.nn.functional.leaky_relu(a, 0.2)
            out = s**2 if name == "0" else s
            if name in params["condition"]:
                dense = params["condition"][name]
                u = torch.nn.functional.leaky_relu(u @ dense["weight"] + dense["bias"], 0.2)
        return out[..., 0] + 0.5 * torch.sum(z * z, dim=-1)

    def transport(params, z, condition):
        z = z.requires_grad_()
        return torch.autograd.grad(torch.sum(value(params, z, condition)), z, create_graph=True)[0]

    tg, tf = (optim.tree_map(lambda p: torch.tensor(p, requires_grad=True), p) for p in (g, f))
    tx, ty, tc = (torch.tensor(z) for z in (x, y, c))
    moved = transport(tg, tx, tc)
    np.testing.assert_allclose(picnn.monge_map(g, x, c)[0], moved.detach().numpy(), atol=1e-10)
    kernels = [layer["wz"] for layer in tg["layers"].values() if "wz" in layer]
    penalty = sum(torch.sqrt(torch.sum(torch.relu(-k) ** 2)) for k in kernels)
    of_map = torch.mean(value(tf, moved, tc) - torch.sum(tx * moved, dim=-1)) + 0.7 * penalty
    of_f = torch.mean(value(tf, ty, tc)) - torch.mean(value(tf, moved.detach(), tc))
    ours = (
        (monge.map_loss_and_grad(g, f, x, c, penalty=0.7), of_map, tg),
        (monge.potential_loss_and_grad(g, f, x, y, c), of_f, tf),
    )
    for (loss, grads), truth, tree in ours:
        assert abs(float(loss) - float(truth.detach())) < 1e-10
        leaves = optim.flatten(tree)
        expected = torch.autograd.grad(truth, list(leaves.values()), retain_graph=True, allow_unused=True)
        for (name, _), value_of in zip(leaves.items(), expected, strict=True):
            found = optim.flatten(grads)[name]
            np.testing.assert_allclose(found, 0.0 if value_of is None else value_of.numpy(), atol=1e-9)


def test_conditions_are_seen_and_stay_apart():
    params, (x, _, c) = network(), data()
    both = picnn.monge_map(params, x, c)[0]
    np.testing.assert_allclose(both[0], picnn.monge_map(params, x[0], c[0])[0], atol=1e-12)
    assert np.max(np.abs(picnn.monge_map(params, x, c[::-1])[0] - both)) > 1e-2


def test_starts():
    params = picnn.init_picnn(np.random.default_rng(0), D, K, like=np.zeros(0), width=5)
    x, _, c = data()
    np.testing.assert_array_equal(picnn.monge_map(params, x, c)[0], x)
    mu = Gaussian(np.zeros((2, D)), np.stack([np.eye(D), np.diag([4.0, 1.0])]))
    nu = Gaussian(np.ones((2, D)), np.stack([np.diag([1.0, 9.0]), np.eye(D)]))
    start = monge.gaussian_quadratic(mu, nu, ridge=0.0)
    np.testing.assert_allclose(
        picnn.monge_map(params, x, c, start)[0], bures.push_forward(x, mu, nu), atol=1e-9
    )
    inverse = monge.gaussian_quadratic(nu, mu, ridge=0.0)
    there = picnn.monge_map(params, x, c, start)[0]
    np.testing.assert_allclose(picnn.monge_map(params, there, c, inverse)[0], x, atol=1e-9)


def test_the_game_is_at_rest_between_gaussians():
    """With the quadratics of both maps the loss of g is least among shifts of the map."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 200, D))
    mu = Gaussian(np.mean(x, axis=1), np.stack([np.cov(x[0].T, bias=True)]))
    nu = Gaussian(np.ones((1, D)), np.diag([4.0, 0.25])[None])
    params = picnn.init_picnn(rng, D, K, like=np.zeros(0), width=4)
    c = np.zeros((1, K))
    there, back = (monge.gaussian_quadratic(*pair, ridge=0.0) for pair in ((mu, nu), (nu, mu)))

    def loss(start):
        return float(monge.map_loss_and_grad(params, params, x, c, g_start=start, f_start=back)[0])

    best = loss(there)
    for shift in (-0.1, 0.1):
        assert loss(there._replace(q=there.q + shift)) > best + 1e-4


def test_it_learns():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 64, D))
    y = 0.5 * x[:, ::-1] + np.asarray([[[1.0, 0.0]], [[0.0, -1.0]]])
    c = np.eye(2, K)
    g, f = (picnn.init_picnn(rng, D, K, like=np.zeros(0), width=16, depth=2) for _ in range(2))
    of_g, of_f = optim.init_adam(g), optim.init_adam(f)

    def gap():
        return float(np.max(np.abs(np.mean(picnn.monge_map(g, x, c)[0] - y, axis=1))))

    first = gap()
    for _ in range(150 if THOROUGH else 60):
        for _ in range(3):
            _, grads = monge.map_loss_and_grad(g, f, x, c)
            g, of_g = optim.adam(g, grads, of_g, learning_rate=1e-2, b1=0.5, b2=0.9)
        _, grads = monge.potential_loss_and_grad(g, f, x, y, c)
        f, of_f = optim.adam(f, grads, of_f, learning_rate=1e-2, b1=0.5, b2=0.9)
        f = monge.clamp_kernels(f)
    assert gap() < 0.5 * first


@pytest.mark.slow
def test_libraries(library):
    g, f, (x, y, c) = network(), network(5), data()
    library.check(monge.map_loss_and_grad, g, f, x, c, ulps=1e4, scale=1.0)
    if library.name != "jax" or THOROUGH:  # compiles both networks again
        library.check(monge.potential_loss_and_grad, g, f, x, y, c, ulps=1e4, scale=1.0)


def test_arguments_are_checked():
    params, (x, _, c) = network(), data()
    with pytest.raises(TypeError, match="init_picnn"):
        picnn.picnn({}, x, c)
    with pytest.raises(ValueError, match="x must have shape"):
        picnn.picnn(params, x[..., :1], c)
    with pytest.raises(ValueError, match="a condition for each cloud"):
        picnn.picnn(params, x, c[0])
