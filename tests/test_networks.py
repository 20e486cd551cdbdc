"""Layers and networks: every pullback against finite differences and against torch's autograd."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import networks as nets
from refwfm._array import array_namespace, asarray_like, device, to_host
from refwfm.measures import Gaussian
from refwfm.training.methods import METHODS
from refwfm.training.optim import flatten, tree_map, unflatten
from refwfm.training.regression import GaussianBatch, gaussian_loss_and_grad

D, BATCH, WIDTH, N_LABELS = 3, 5, 8, 3
LABELS = np.asarray([2, 0, 2, 2, 1])  # repeated: their gradients add up
VECTORS = np.asarray([[0.5, -1.0], [2.0, 0.0], [np.nan, np.nan], [0.1, 0.2], [-3.0, 1.0]])  # one is none


def small_network(rng, *, n_labels=0, n_features=0, d=D):
    params = nets.init_bures_mlp(
        rng,
        d,
        like=np.zeros(0),
        width=WIDTH,
        depth=2,
        n_frequencies=2,
        n_labels=n_labels,
        n_features=n_features,
        label_dim=2,
    )
    # Away from the initial values, at which half of all derivatives are zero.
    return tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)


def small_batch(rng, d=D, labels=None):
    factor = rng.standard_normal((BATCH, d, d))
    mu = Gaussian(rng.standard_normal((BATCH, d)), factor @ factor.mT + 0.1 * np.eye(d))
    return mu, rng.uniform(size=BATCH), labels


def small_scaling(rng, d=D):
    return tree_map(lambda c: c + rng.uniform(0.1, 0.5, c.shape), nets.identity_scaling(d, like=np.zeros(0)))


def with_params(layer):
    """Give a layer with parameters the form of the checker: inputs by name to value and gradients by name."""

    def call(inputs):
        y, pullback = layer(inputs["params"], inputs["x"])
        return y, lambda d_y: dict(zip(("params", "x"), pullback(d_y), strict=True))

    return call


def without_params(layer):
    def call(inputs):
        y, pullback = layer(inputs["x"])
        return y, lambda d_y: {"x": pullback(d_y)}

    return call


def embedding(inputs):
    xp = array_namespace(inputs["table"])
    labels = xp.asarray(LABELS, device=device(inputs["table"]))
    y, pullback = nets.label_embedding(inputs, labels)
    return y, lambda d_y: pullback(d_y)[0]


def whole_loss(method, labels):
    """Loss of the whole network as a function of its parameters, for one method of the paper."""
    rng = np.random.default_rng(5)
    (mu, t, _), scaling = small_batch(rng), small_scaling(rng)
    symmetric = rng.standard_normal((BATCH, D, D))
    target = (rng.standard_normal((BATCH, D)), symmetric + symmetric.mT)

    def call(params):
        to = params["mean"]["mlp"]["in"]["bias"]
        batch = GaussianBatch(
            Gaussian(*(asarray_like(x, to) for x in mu)),
            METHODS[method].velocity(*(asarray_like(x, to) for x in target)),
            asarray_like(t, to),
            _on_device(labels, to),
        )
        value, grads = gaussian_loss_and_grad(
            params, tree_map(lambda c: asarray_like(c, to), scaling), batch, method=method
        )
        return value, lambda d_value: tree_map(lambda g: d_value * g, grads)

    return call


def _on_device(labels, to):
    if labels is None or labels.dtype.kind == "f":
        return None if labels is None else asarray_like(labels, to)
    return array_namespace(to).asarray(labels, device=device(to))


def cases():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal
    dense = {"weight": normal((4, 6)), "bias": normal(6)}
    norm = {"scale": normal(6), "shift": normal(6)}
    block = {"norm": norm, "dense": {"weight": normal((6, 6)), "bias": normal(6)}}
    mlp = nets.init_mlp(rng, 4, 3, like=np.zeros(0), width=WIDTH, depth=3)
    mlp = tree_map(lambda p: p + 0.3 * normal(p.shape), mlp)
    x = normal((2, 3, 4))
    wide = normal((2, 3, 6))
    found = {
        "dense": (with_params(nets.dense), {"params": dense, "x": x}),
        "dense, one vector": (with_params(nets.dense), {"params": dense, "x": x[0, 0]}),
        "layer_norm": (with_params(nets.layer_norm), {"params": norm, "x": wide}),
        "layer_norm, one vector": (with_params(nets.layer_norm), {"params": norm, "x": wide[0, 0]}),
        "relu": (without_params(nets.relu), {"x": wide}),
        "silu": (without_params(nets.silu), {"x": 3.0 * wide}),
        "residual block": (with_params(nets.residual(nets.block)), {"params": block, "x": wide}),
        "fourier_features": (
            without_params(lambda t: nets.fourier_features(t, 5)),
            {"x": rng.uniform(size=(2, 3))},
        ),
        "label_embedding": (embedding, {"table": normal((N_LABELS, 4))}),
        "vech": (without_params(nets.vech), {"x": normal((2, 4, 4))}),
        "unvech": (without_params(lambda v: nets.unvech(v, 4)), {"x": normal((2, 10))}),
        "mlp": (with_params(nets.mlp), {"params": mlp, "x": x}),
    }
    for method in METHODS:
        found[f"{method} loss"] = (whole_loss(method, None), small_network(rng))
    found["riemannian loss, labels"] = (
        whole_loss("riemannian", LABELS),
        small_network(rng, n_labels=N_LABELS),
    )
    found["riemannian loss, vectors"] = (
        whole_loss("riemannian", VECTORS),
        small_network(rng, n_features=VECTORS.shape[1]),
    )
    return found


CASES = cases()


def check_pullback(call, inputs, *, h=1e-5, rtol=1e-6):
    """Compare a pullback with central differences: along random directions, and entry by entry if few.

    The differences have an error of about h² (of third derivatives of order one) and 1e-16 / h: some 1e-10.
    """
    rng = np.random.default_rng(1)
    y, pullback = call(inputs)
    d_y = rng.standard_normal(y.shape)
    grads, flat = flatten(pullback(d_y)), flatten(inputs)
    assert grads.keys() == flat.keys()
    for path, value in flat.items():
        assert grads[path].shape == value.shape, path

    def difference(direction):
        up, down = (
            call(unflatten({path: value + sign * direction[path] for path, value in flat.items()}))[0]
            for sign in (h, -h)
        )
        return np.sum(d_y * (up - down)) / (2 * h)

    zero = {path: np.zeros(value.shape) for path, value in flat.items()}
    size = np.sqrt(sum(np.sum(g * g) for g in grads.values()))
    for _ in range(5):
        direction = {path: rng.standard_normal(value.shape) for path, value in flat.items()}
        slope = sum(np.sum(grads[path] * direction[path]) for path in flat)
        assert abs(difference(direction) - slope) <= rtol * size
    for path, value in flat.items():
        if value.size <= 64:
            for index in np.ndindex(value.shape):
                unit = np.zeros(value.shape)
                unit[index] = 1.0
                assert abs(difference({**zero, path: unit}) - grads[path][index]) <= rtol * size, (
                    path,
                    index,
                )


@pytest.mark.parametrize("name", CASES)
def test_pullback_agrees_with_finite_differences(name):
    check_pullback(*CASES[name])


def wrong_layer_norm(params, x):
    y, pullback = nets.layer_norm(params, x)

    def wrong(d_y):
        d_params, _ = pullback(d_y)
        return d_params, d_y * params["scale"] / np.std(x, axis=-1, keepdims=True)  # statistics held fixed

    return y, wrong


def wrong_unvech(vector):
    return nets.unvech(vector, 4)[0], lambda d_y: nets.vech(d_y)[0]  # half of the entries off the diagonal


def wrong_embedding(inputs):
    y, _ = embedding(inputs)

    def wrong(d_y):
        table = np.zeros_like(inputs["table"])
        table[LABELS] = d_y  # the last of the repeated labels overwrites the others
        return {"table": table}

    return y, wrong


def wrong_residual(params, x):
    y, pullback = nets.residual(nets.block)(params, x)

    def wrong(d_y):
        d_params, d_x = pullback(d_y)
        return d_params, d_x - d_y  # forgets the skip connection

    return y, wrong


def wrong_dense(params, x):
    y, pullback = nets.dense(params, x)

    def wrong(d_y):
        d_params, d_x = pullback(d_y)
        return {**d_params, "bias": d_params["bias"] / x.shape[0]}, d_x  # a mean over the batch

    return y, wrong


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("layer_norm", with_params(wrong_layer_norm)),
        ("unvech", without_params(wrong_unvech)),
        ("label_embedding", wrong_embedding),
        ("residual block", with_params(wrong_residual)),
        ("dense", with_params(wrong_dense)),
        ("silu", without_params(lambda x: (nets.silu(x)[0], lambda d_y: d_y / (1.0 + np.exp(-x))))),
    ],
)
def test_the_checker_rejects_a_wrong_pullback(name, call):
    with pytest.raises(AssertionError):
        check_pullback(call, CASES[name][1])


@pytest.mark.parametrize("name", CASES)
def test_pullback_agrees_with_torch_autograd(name):
    torch = pytest.importorskip("torch")
    call, inputs = CASES[name]
    flat = {path: torch.tensor(x, requires_grad=True) for path, x in flatten(inputs).items()}
    y, pullback = call(unflatten(flat))
    d_y = torch.tensor(np.random.default_rng(1).standard_normal(tuple(y.shape)))
    expected = dict(zip(flat, torch.autograd.grad(y, list(flat.values()), d_y), strict=True))
    actual = {path: grad.detach() for path, grad in flatten(pullback(d_y)).items()}
    size = max(float(g.abs().max()) for g in expected.values())
    for path, grad in expected.items():
        assert float((actual[path] - grad).abs().max()) <= 1e-12 * size, path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_all_libraries_give_the_same(name, dtype, xp_like):
    call, inputs = CASES[name]
    to = xp_like(dtype)
    y, pullback = call(tree_map(lambda x: asarray_like(x, to), inputs))
    expected_y, expected_pullback = call(inputs)
    d_y = np.random.default_rng(1).standard_normal(expected_y.shape)
    actual = {"y": y, **flatten(pullback(asarray_like(d_y, to)))}
    expected = {"y": expected_y, **flatten(expected_pullback(d_y))}
    # Some hundred roundings, and covariances of condition 100 in the Euclidean loss.
    rtol = 1e-12 if dtype == "float64" else 1e-4
    for path, value in expected.items():
        assert array_namespace(actual[path]) is array_namespace(to)
        assert actual[path].dtype == to.dtype, path
        error = np.max(np.abs(to_host(actual[path]).astype(np.float64) - value))
        assert error <= rtol * np.max(np.abs(value)), path


SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, d=st.integers(1, 9), batch=st.sampled_from([(), (3,), (2, 1)]))
def test_vech_and_unvech_undo_each_other(seed, d, batch):
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal((*batch, d * (d + 1) // 2))
    matrix, _ = nets.unvech(vector, d)
    assert matrix.shape == (*batch, d, d)
    np.testing.assert_array_equal(matrix, matrix.mT)
    np.testing.assert_array_equal(nets.vech(matrix)[0], vector)
    np.testing.assert_array_equal(vector, matrix[..., *np.tril_indices(d)])


@given(seed=SEEDS, d=st.integers(1, 5), labelled=st.booleans())
def test_matrix_is_symmetric_and_batch_order_does_not_matter(seed, d, labelled):
    rng = np.random.default_rng(seed)
    params = small_network(rng, d=d, n_labels=N_LABELS if labelled else 0)
    scaling = small_scaling(rng, d)
    mu, t, labels = small_batch(rng, d, LABELS if labelled else None)
    (mean, matrix), _ = nets.bures_mlp(params, scaling, mu, t, labels)
    assert mean.shape == (BATCH, d)
    np.testing.assert_array_equal(matrix, matrix.mT)
    order = rng.permutation(BATCH)
    (moved_mean, moved_matrix), _ = nets.bures_mlp(
        params,
        scaling,
        Gaussian(mu.mean[order], mu.cov[order]),
        t[order],
        labels[order] if labelled else None,
    )
    np.testing.assert_allclose(moved_mean, mean[order], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moved_matrix, matrix[order], rtol=1e-12, atol=1e-12)


@given(seed=SEEDS, d=st.integers(1, 5))
def test_untrained_field_is_zero(seed, d):
    rng = np.random.default_rng(seed)
    params = nets.init_bures_mlp(rng, d, like=np.zeros(0), width=WIDTH, depth=2, n_frequencies=2)
    mu, t, _ = small_batch(rng, d)
    (mean, matrix), _ = nets.bures_mlp(params, nets.identity_scaling(d, like=np.zeros(0)), mu, t)
    assert not np.any(mean)
    assert not np.any(matrix)


def test_default_networks_are_six_blocks_of_1024():
    params = nets.init_bures_mlp(np.random.default_rng(0), 16, like=np.zeros(0, np.float32))
    for net, n_out in (("mean", 16), ("matrix", 136)):
        mlp = params[net]["mlp"]
        assert mlp["in"]["weight"].shape == (16 + 136 + 2 * 16, 1024)
        assert [block["dense"]["weight"].shape for block in mlp["blocks"].values()] == 6 * [(1024, 1024)]
        assert mlp["out"]["weight"].shape == (1024, n_out)
        assert mlp["in"]["weight"].dtype == np.float32


def test_initial_weights_are_the_same_numbers_in_every_library(xp_like):
    def draw(to):
        return nets.init_bures_mlp(
            np.random.default_rng(3), 2, like=to, width=4, depth=1, n_frequencies=1, n_labels=2, label_dim=2
        )

    expected = flatten(draw(np.zeros(0, np.float32)))
    for path, value in flatten(draw(xp_like("float32"))).items():
        np.testing.assert_array_equal(to_host(value), expected[path])


def test_initial_weights_keep_the_variance():
    rng = np.random.default_rng(0)
    params = nets.init_dense(rng, 500, 400, like=np.zeros(0))
    y, _ = nets.relu(nets.dense(params, rng.standard_normal((300, 500)))[0])
    assert np.mean(y * y) == pytest.approx(1.0, rel=0.05)  # 120 000 values, dependent in rows and columns


def test_fourier_features_tell_the_ends_of_time_apart():
    y, _ = nets.fourier_features(np.asarray([0.0, 0.5, 1.0]), 3)
    np.testing.assert_allclose(y[0], [1, 1, 1, 0, 0, 0], atol=1e-15)
    np.testing.assert_allclose(y[1], [0, -1, 0, 1, 0, -1], atol=1e-15)
    np.testing.assert_allclose(y[2], [-1, 1, -1, 0, 0, 0], atol=1e-15)


def test_activations_at_extremes():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(nets.relu(np.asarray([-np.inf, -2.0, 0.0, 3.0]))[0], [0, 0, 0, 3])
        np.testing.assert_array_equal(nets.silu(np.asarray([-1e4, 0.0, 1e4]))[0], [0, 0, 1e4])
    assert np.isnan(nets.relu(np.asarray([np.nan]))[0][0])
    np.testing.assert_array_equal(nets.relu(np.asarray([-1.0, 0.0, 1.0]))[1](np.ones(3)), [0, 0, 1])


def test_layer_norm_of_a_constant_row_is_finite():
    params = nets.init_layer_norm(4, like=np.zeros(0))
    y, pullback = nets.layer_norm(params, np.full((1, 4), 7.0))
    np.testing.assert_array_equal(y, np.zeros((1, 4)))
    assert np.all(np.isfinite(pullback(np.ones((1, 4)))[1]))


def test_scaling_acts_on_inputs_and_outputs():
    rng = np.random.default_rng(0)
    params, (mu, t, _) = small_network(rng), small_batch(rng)
    plain = nets.identity_scaling(D, like=np.zeros(0))
    (mean, matrix), _ = nets.bures_mlp(params, plain, mu, t)
    outputs = {**plain, "mean_scale": np.asarray([1.0, 2.0, 3.0]), "matrix_scale": np.arange(6.0)}
    (scaled_mean, scaled_matrix), _ = nets.bures_mlp(params, outputs, mu, t)
    np.testing.assert_allclose(scaled_mean, mean * np.asarray([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(scaled_matrix, matrix * np.asarray([[0, 1, 3], [1, 2, 4], [3, 4, 5]]))
    inputs = {**plain, "input_scale": np.full(9, 2.0), "input_shift": np.full(9, -1.0)}
    moved = Gaussian(2.0 * mu.mean - 1.0, 2.0 * mu.cov - 1.0)
    np.testing.assert_allclose(nets.bures_mlp(params, inputs, moved, t)[0][0], mean)


@pytest.mark.parametrize("shape", [(), (2, 1)])
@pytest.mark.parametrize(("kind", "labels"), [({"n_labels": N_LABELS}, LABELS), ({"n_features": 2}, VECTORS)])
def test_leading_axes_are_batch_axes(shape, kind, labels):
    rng = np.random.default_rng(0)
    params, scaling = small_network(rng, **kind), small_scaling(rng)
    mu, t, labels = small_batch(rng, labels=labels)
    n = int(np.prod(shape))
    part = Gaussian(mu.mean[:n], mu.cov[:n]), t[:n], labels[:n]
    (mean, matrix), pullback = nets.bures_mlp(params, scaling, *part)
    shaped = Gaussian(mu.mean[:n].reshape(*shape, D), mu.cov[:n].reshape(*shape, D, D))
    (shaped_mean, shaped_matrix), shaped_pullback = nets.bures_mlp(
        params, scaling, shaped, t[:n].reshape(shape), labels[:n].reshape((*shape, *labels.shape[1:]))
    )
    np.testing.assert_allclose(shaped_mean, mean.reshape(*shape, D), rtol=1e-12)
    np.testing.assert_allclose(shaped_matrix, matrix.reshape(*shape, D, D), rtol=1e-12)
    expected = flatten(pullback((mean, matrix)))
    for path, grad in flatten(shaped_pullback((shaped_mean, shaped_matrix))).items():
        np.testing.assert_allclose(grad, expected[path], rtol=1e-11, atol=1e-11)


def test_the_two_networks_are_separate():
    rng = np.random.default_rng(0)
    params, scaling, (mu, t, _) = small_network(rng), small_scaling(rng), small_batch(rng)
    _, pullback = nets.bures_mlp(params, scaling, mu, t)
    grads = pullback((np.ones((BATCH, D)), np.zeros((BATCH, D, D))))
    assert any(np.any(g) for g in flatten(grads["mean"]).values())
    assert not any(np.any(g) for g in flatten(grads["matrix"]).values())


def test_clear_errors():
    rng = np.random.default_rng(0)
    params, scaling, (mu, t, _) = small_network(rng), small_scaling(rng), small_batch(rng)
    labelled = small_network(rng, n_labels=N_LABELS)
    with pytest.raises(ValueError, match="expect no labels; got some"):
        nets.bures_mlp(params, scaling, mu, t, LABELS)
    with pytest.raises(ValueError, match="expect labels, one per Gaussian; got none"):
        nets.bures_mlp(labelled, scaling, mu, t)
    with pytest.raises(ValueError, match=r"the shape \(5,\) of the batch"):
        nets.bures_mlp(params, scaling, mu, t[:-1])
    with pytest.raises(ValueError, match=r"labels \(4,\)"):
        nets.bures_mlp(labelled, scaling, mu, t, LABELS[:-1])
    with pytest.raises(ValueError, match=r"labels \(5,\); labels, vectors here, \(5, 2\)"):
        nets.bures_mlp(small_network(rng, n_features=2), scaling, mu, t, LABELS)
    with pytest.raises(ValueError, match=r"got \(3,\) and \(5, 3, 3\)"):
        nets.bures_mlp(params, scaling, Gaussian(mu.mean[0], mu.cov), t)
    for d in (D - 1, D + 1):
        with pytest.raises(ValueError, match=f"d = {d}"):
            nets.bures_mlp(params, scaling, small_batch(rng, d)[0], t)
    with pytest.raises(ValueError, match="last axis of length"):
        nets.unvech(np.zeros(5), 3)
    nets.check_labels(LABELS, N_LABELS)
    with pytest.raises(ValueError, match=r"0 \.\.\. 1; got 0 \.\.\. 2"):
        nets.check_labels(LABELS, 2)
    with pytest.raises(ValueError, match="got -1"):
        nets.check_labels(np.asarray([-1, 0]), 2)
    with pytest.raises(TypeError, match="integers; got dtype float64"):
        nets.check_labels(np.zeros(2), 2)
