"""The velocity of particles: sizes, features, units, skips, the readout, pullbacks, what is refused."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc

from refwfm.networks.activations import SELU_ALPHA, SELU_SCALE, selu
from refwfm.networks.features import space_features
from refwfm.populations.embedding import Told
from refwfm.populations.readout import attention_readout, init_attention_readout
from refwfm.populations.velocity import init_velocity, time_features, velocity
from refwfm.training import optim

LIKE = np.zeros(0)
SMALL = {"width": 6, "depth": 3, "n_time": 6, "n_space": 4, "space_scale": 0.1}


def network(rng, d=2, **options):
    params = init_velocity(rng, d, like=LIKE, **(SMALL | options))
    frequencies = params["frequencies"]
    return optim.tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params) | {
        "frequencies": frequencies
    }


def told(rng, size=2, m=7, width=4):
    mask = np.arange(m) < rng.integers(1, m + 1, (size, 1))
    return Told(
        rng.standard_normal((size, 3)),
        rng.standard_normal((size, m, 2)),
        rng.standard_normal((size, m, width)),
        mask,
    )


@pytest.mark.parametrize(
    ("d", "n_embedding", "n_condition", "inputs"),
    [
        (2, 0, 0, 386),
        (2, 260, 0, 646),
        (2, 64, 0, 450),
        (43, 0, 11, 438),
        (43, 927, 11, 1365),
        (43, 128, 11, 566),
    ],
)
def test_the_papers_inputs(d, n_embedding, n_condition, inputs):
    rng = np.random.default_rng(0)
    params = init_velocity(rng, d, like=LIKE, n_embedding=n_embedding, n_condition=n_condition)
    assert params["in"]["weight"].shape == (inputs, 512)
    assert params["frequencies"].std() == pytest.approx(0.01, rel=0.15)
    assert [*params["hidden"]] == ["0", "1", "2"]  # with skips, L - 1 behind the first
    assert [*init_velocity(rng, 2, like=LIKE, skip=False)["hidden"]] == ["0", "1"]  # L - 1 hidden, and out


def test_constants_of_selu():
    """The equations of Klambauer et al. for mean 0 and variance 1."""
    root = np.sqrt(np.e)
    alpha = -np.sqrt(2 / np.pi) / (erfc(1 / np.sqrt(2)) * root - 1)
    scale = (1 - erfc(1 / np.sqrt(2)) * root) * np.sqrt(2 * np.pi)
    scale /= np.sqrt(
        2 * erfc(np.sqrt(2)) * np.e**2
        + np.pi * erfc(1 / np.sqrt(2)) ** 2 * np.e
        - 2 * (2 + np.pi) * erfc(1 / np.sqrt(2)) * root
        + np.pi
        + 2
    )
    assert pytest.approx(alpha, rel=1e-12) == SELU_ALPHA
    assert pytest.approx(scale, rel=1e-12) == SELU_SCALE


@given(st.floats(-50.0, 50.0))
def test_selu(x):
    y, pullback = selu(np.array([x]))
    truth = SELU_SCALE * (x if x > 0 else SELU_ALPHA * np.expm1(x))
    assert y[0] == pytest.approx(truth, rel=1e-14, abs=1e-300)
    slope = SELU_SCALE * (1.0 if x > 0 else SELU_ALPHA * np.exp(x))
    assert pullback(np.ones(1))[0] == pytest.approx(slope, abs=1e-14)


def test_selu_against_torch(rng):
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.append(4.0 * rng.standard_normal(50), [0.0, -800.0, 800.0]), requires_grad=True)
    y = torch.nn.functional.selu(x)
    y.sum().backward()
    ours, pullback = selu(x.detach())
    torch.testing.assert_close(ours, y.detach(), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(pullback(torch.ones_like(ours)), x.grad, rtol=1e-14, atol=1e-14)
    assert np.isnan(selu(np.array([np.nan]))[0]).all()


def test_features(rng):
    t = rng.uniform(0.0, 1.0, (3, 4))
    features = time_features(t)
    assert features.shape == (3, 4, 128)
    np.testing.assert_allclose(features[..., 0], np.sin(t), atol=1e-15)
    np.testing.assert_allclose(features[..., 63], np.sin(1e-4 * t), atol=1e-15)
    np.testing.assert_allclose(features[..., :64] ** 2 + features[..., 64:] ** 2, 1.0, rtol=1e-14)
    B, x = rng.standard_normal((2, 5)), rng.standard_normal((4, 2))
    whole = np.linalg.solve(B[:, :2].T, [1.0, -2.0])  # a step after which two features are where they were
    features = space_features(B, x)
    again = space_features(B, x + whole)
    np.testing.assert_allclose(again[:, [0, 1, 5, 6]], features[:, [0, 1, 5, 6]], atol=1e-11)
    assert np.abs(again - features).max() > 1e-2
    for n in (2, 5):
        with pytest.raises(ValueError, match="n must be"):
            time_features(t, n)


@pytest.mark.parametrize("skip", [True, False])
def test_against_plain_torch(rng, skip):
    torch = pytest.importorskip("torch")
    params = network(rng, n_embedding=3, n_condition=2, skip=skip)
    x, t = rng.standard_normal((2, 5, 2)), rng.uniform(0.0, 1.0, (2, 5))
    h, c, d = rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), rng.standard_normal((2, 5, 2))
    leaves = optim.tree_map(lambda p: torch.tensor(p, requires_grad=True), params)
    told_h = torch.tensor(h, requires_grad=True)
    rates = torch.tensor([1.0, 1e-2, 1e-4], dtype=torch.float64)
    angle = 2.0 * torch.pi * torch.tensor(x) @ leaves["frequencies"].detach()
    by_time = torch.tensor(t)[..., None] * rates
    inputs = [told_h[:, None].expand(2, 5, 3), by_time.sin(), by_time.cos(), angle.cos(), angle.sin()]
    inputs += [torch.tensor(x), torch.tensor(c)[:, None].expand(2, 5, 2)]

    def layer(part, z):
        return torch.nn.functional.linear(z, part["weight"].T, part["bias"])

    o = torch.selu(layer(leaves["in"], torch.cat(inputs, dim=-1)))
    for part in leaves["hidden"].values():
        o = torch.selu(layer(part, o) + (o if skip else 0.0))
    truth = layer(leaves["out"], o)
    torch.sum(torch.tensor(d) * truth).backward()
    v, pullback = velocity(params, x, t, h, c, skip=skip, n_time=6)
    np.testing.assert_allclose(v, truth.detach().numpy(), atol=1e-12)
    d_params, d_h, d_z = pullback(d)
    np.testing.assert_allclose(d_h, told_h.grad.numpy(), atol=1e-12)
    assert d_z is None
    found = optim.flatten(d_params)
    assert not found.pop("frequencies").any()  # not trained
    for path, gradient in found.items():
        np.testing.assert_allclose(gradient, optim.flatten(leaves)[path].grad.numpy(), atol=1e-11)
    assert [*optim.flatten(d_params)] == [*optim.flatten(params)]


def test_one_time_for_a_population_is_that_of_all_its_particles(rng):
    params = network(rng, n_embedding=3, attention=4, heads=2, n_particle=4)
    x, t, population = rng.standard_normal((2, 5, 2)), rng.uniform(0.0, 1.0, 2), told(rng)
    d = rng.standard_normal(x.shape)
    results = []
    for times in (t, np.repeat(t[:, None], 5, axis=1)):
        v, pullback = velocity(params, x, times, population.h, n_time=6, heads=2, population=population)
        results.append((v, *optim.tree_leaves(pullback(d)[0]), *pullback(d)[1:]))
    for one, each in zip(*results, strict=True):
        np.testing.assert_allclose(one, each, atol=1e-12)


@given(strategies.seeds)
def test_particles_do_not_see_each_other(seed):
    rng = np.random.default_rng(seed)
    params, population = network(rng, n_embedding=3, attention=4, heads=2, n_particle=4), told(rng)
    x, t = rng.standard_normal((2, 5, 2)), rng.uniform(0.0, 1.0, (2, 5))
    options = {"n_time": 6, "heads": 2, "population": population}
    whole = velocity(params, x, t, population.h, **options)[0]
    parts = [velocity(params, x[:, i], t[:, i], population.h, **options)[0] for i in (slice(2), slice(2, 5))]
    np.testing.assert_allclose(whole, np.concatenate(parts, axis=1), atol=1e-12)
    order = rng.permutation(7)
    moved = Told(population.h, *(part[:, order] for part in population[1:]))
    other = velocity(params, x, t, population.h, **(options | {"population": moved}))[0]
    np.testing.assert_allclose(other, whole, atol=1e-12)  # nor in which order the population is


def test_padding_is_not_read(rng):
    params = network(rng, n_embedding=3, attention=4, heads=2, n_particle=4)
    population, x, t = told(rng), rng.standard_normal((2, 5, 2)), np.array([0.2, 0.7])
    options = {"n_time": 6, "heads": 2}
    v, pullback = velocity(params, x, t, population.h, population=population, **options)
    d_z = pullback(v)[2]
    assert not d_z[~population.mask].any()
    spoiled = population._replace(
        x=np.where(population.mask[..., None], population.x, np.nan),
        z=np.where(population.mask[..., None], population.z, np.inf),
    )
    np.testing.assert_array_equal(velocity(params, x, t, population.h, population=spoiled, **options)[0], v)
    for i in range(2):
        live = population.mask[i]
        alone = Told(population.h[i : i + 1], population.x[i : i + 1, live], population.z[i : i + 1, live])
        one = velocity(params, x[i : i + 1], t[i : i + 1], alone.h, population=alone, **options)[0]
        np.testing.assert_allclose(one[0], v[i], atol=1e-12)


def test_the_readout_can_be_a_kernel_estimate(rng):
    """With these parameters it is Σ exp(-‖x - x_j‖² / 2 s²) x_j / Σ exp(...): what it was made for."""
    s, params = 0.7, init_attention_readout(rng, 2, 2, 1, like=LIKE, width=4, heads=1)
    zeros = optim.tree_map(np.zeros_like, params)
    # selu is linear where positive: shifted there and back.
    place = {"weight": np.eye(2, 4), "bias": np.full(4, 10.0)}
    query = {"weight": np.eye(4) * 2.0 / s**2 / SELU_SCALE, "bias": np.zeros(4)}
    query["bias"][:2] = -10.0 * 2.0 / s**2
    query["bias"][2], query["weight"][2, 2] = 2.0, 0.0
    key = {"weight": np.zeros((4, 4)), "bias": np.zeros(4)}
    key["weight"][1, 0] = key["weight"][2, 1] = 1.0
    key["weight"][3, 2] = -0.5 / s**2
    value = {"weight": np.zeros((4, 4)), "bias": np.zeros(4)}
    value["weight"][1, 0] = value["weight"][2, 1] = 1.0
    out = {"weight": np.eye(4), "bias": np.zeros(4)}
    params = {**zeros, "place": place, "query": query, "key": key, "value": value, "out": out}
    x, points = rng.standard_normal((1, 5, 2)), rng.standard_normal((1, 9, 2))
    read = attention_readout(params, x, points, np.zeros((1, 9, 1)), heads=1)[0]
    kernel = np.exp(-np.sum((x[0][:, None] - points[0]) ** 2, axis=-1) / (2 * s**2))
    np.testing.assert_allclose(read[0, :, :2], kernel @ points[0] / kernel.sum(1, keepdims=True), atol=1e-10)


def test_before_training_nothing_moves(rng):
    params = init_velocity(rng, 2, like=LIKE, **SMALL)
    assert not velocity(params, rng.standard_normal((2, 3, 2)), np.zeros(2), n_time=6)[0].any()


def test_what_is_refused(rng):
    params, x, t = network(rng, n_embedding=3), rng.standard_normal((2, 5, 2)), np.zeros(2)
    h = rng.standard_normal((2, 3))
    with pytest.raises(ValueError, match="first layer of these parameters reads"):
        velocity(params, x, t, n_time=6)
    with pytest.raises(ValueError, match="n_time 8"):
        velocity(params, x, t, h, n_time=8)
    with pytest.raises(ValueError, match=r"x must have shape \(B, n, d\)"):
        velocity(params, x[0], t, h, n_time=6)
    with pytest.raises(ValueError, match="a time per population"):
        velocity(params, x, np.zeros(3), h, n_time=6)
    with pytest.raises(ValueError, match="a row per population"):
        velocity(params, x, t, h[:1], n_time=6)
    with pytest.raises(ValueError, match="without a readout"):
        velocity(params, x, t, h, n_time=6, population=told(rng))
    with pytest.raises(ValueError, match="give population"):
        velocity(network(rng, n_embedding=3, attention=4, heads=2), x, t, h, n_time=6)
    with pytest.raises(ValueError, match="heads must divide the width 4; got 3"):
        init_velocity(rng, 2, like=LIKE, attention=4, heads=3)
    with pytest.raises(ValueError, match="depth must be an integer of at least 2"):
        init_velocity(rng, 2, like=LIKE, depth=1, skip=False)
    reads = init_attention_readout(rng, 2, 2, 1, like=LIKE, width=4)
    with pytest.raises(ValueError, match="heads must divide"):
        attention_readout(reads, x, x, x[..., :1], heads=3)
    with pytest.raises(ValueError, match="place, coordinates and encodings"):
        attention_readout(reads, x, x[:1], x[..., :1])
