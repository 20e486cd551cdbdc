"""The fast twins of optimiser and network give what their references give."""

import importlib

import numpy as np
import pytest

from refwfm import networks as nets
from refwfm._array import array_namespace, asarray_like
from refwfm.backends import _numpy_ops as numpy_ops
from refwfm.measures import Gaussian
from refwfm.training import optim
from refwfm.training.methods import METHODS
from refwfm.training.regression import GaussianBatch, gaussian_loss_and_grad

DTYPES = {"float32": 2e-6, "float64": 1e-14}  # some ten roundings


@pytest.fixture(params=["numpy", "torch"])
def lib(request):
    return pytest.importorskip(request.param)


@pytest.fixture
def ops(lib):
    return importlib.import_module(f"refwfm.backends._{lib.__name__}_ops")


def random_tree(rng):
    """One array longer than a block of the NumPy twins, and odd ones."""
    return {
        "long": rng.standard_normal((7, 30_001)),
        "deep": {
            "short": rng.standard_normal(3),
            "scalar": rng.standard_normal(()),
            "none": np.zeros((0, 4)),
        },
    }


def empty(lib, dtype):
    return lib.zeros(0, dtype=getattr(lib, dtype))


def converted(tree, to):
    return optim.tree_map(lambda x: asarray_like(x.copy(), to), tree)


def assert_trees_close(actual, expected, rtol):
    assert optim.flatten(actual).keys() == optim.flatten(expected).keys()
    for path, value in optim.flatten(expected).items():
        got = optim.flatten(actual)[path]
        assert got.dtype == value.dtype
        assert array_namespace(got) is array_namespace(value)
        scale = np.max(np.abs(np.asarray(value)), initial=1e-30)
        np.testing.assert_allclose(np.asarray(got), np.asarray(value), rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_optimiser(lib, ops, dtype):
    to, rng = empty(lib, dtype), np.random.default_rng(0)
    start = random_tree(rng)
    results = []
    gradients = [random_tree(rng) for _ in range(5)]
    for module in (ops, optim):
        params, average = converted(start, to), converted(start, to)
        state = optim.init_adam(params)
        for step, values in enumerate(gradients):
            bound = 1e9 if step == 2 else 100.0  # the norm is about 460
            grads, norm = module.clip_by_global_norm(converted(values, to), bound)
            params, state = module.adam(params, grads, state, learning_rate=0.01, b1=0.8, b2=0.99)
            average = module.ema(average, params, decay=0.9)
        assert state.steps == 5
        results.append(
            {
                "params": params,
                "average": average,
                "first": state.first,
                "second": state.second,
                "grads": grads,
                "norm": lib.asarray(norm),
            }
        )
    assert_trees_close(*results, 5 * DTYPES[dtype])


def test_memory_is_used_again(lib, ops):
    to, rng = empty(lib, "float32"), np.random.default_rng(0)
    params, grads = converted(random_tree(rng), to), converted(random_tree(rng), to)
    kept = converted(grads, to) if lib is np else optim.tree_map(lambda g: g.clone(), grads)
    moved, state = ops.adam(params, grads, optim.init_adam(params), learning_rate=0.01)
    assert moved["long"] is params["long"]
    assert_trees_close(grads, kept, 0.0)
    assert ops.adam(moved, grads, state, learning_rate=0.01)[1].first["long"] is state.first["long"]


def test_trees_that_differ_are_refused(lib, ops):
    to = empty(lib, "float32")
    params = converted({"a": np.ones(3), "b": np.ones(1)}, to)
    state = optim.init_adam(params)
    for grads in ({"a": np.ones(3)}, {"a": np.ones(1), "b": np.ones(1)}):
        with pytest.raises(ValueError, match="same"):
            ops.adam(params, converted(grads, to), state, learning_rate=0.01)
        with pytest.raises(ValueError, match="same"):
            ops.ema(params, converted(grads, to), decay=0.5)
    with pytest.raises(ValueError, match="max_norm"):
        ops.clip_by_global_norm(params, 0.0)


def test_clipping_does_not_hide_a_bad_gradient(lib, ops):
    to = empty(lib, "float32")
    for bad in (np.nan, np.inf):
        grads, norm = ops.clip_by_global_norm(converted({"g": np.asarray([bad, 1.0])}, to), 1.0)
        assert not np.isfinite(float(norm))
        assert np.isnan(float(grads["g"][0]))


def test_numpy_twin_copies_what_it_cannot_write_to():
    ops = importlib.import_module("refwfm.backends._numpy_ops")
    values = np.arange(12.0).reshape(3, 4)
    frozen = values.copy()
    frozen.flags.writeable = False
    for params in (frozen, values.T):
        tree, before = {"p": params}, params.copy()
        expected, _ = optim.adam(tree, {"p": params}, optim.init_adam(tree), learning_rate=0.1)
        moved, _ = ops.adam(tree, {"p": params}, optim.init_adam(tree), learning_rate=0.1)
        np.testing.assert_allclose(moved["p"], expected["p"])
        np.testing.assert_array_equal(params, before)


def network_batch(to, *, labelled, n_features=0):
    rng = np.random.default_rng(0)
    d, n = 3, 6
    params = nets.init_bures_mlp(
        *(rng, d),
        like=np.zeros(0),
        width=8,
        depth=2,
        n_labels=3 if labelled and not n_features else 0,
        n_features=n_features,
        label_dim=2,
    )
    params = optim.tree_map(lambda p: asarray_like(p + 0.3 * rng.standard_normal(p.shape), to), params)
    factor = rng.standard_normal((n, d, d))
    scaling = optim.tree_map(lambda c: 1.5 * c + 0.25, nets.identity_scaling(d, like=to))
    mu = Gaussian(
        asarray_like(rng.standard_normal((n, d)), to), asarray_like(factor @ factor.mT + 0.1 * np.eye(d), to)
    )
    labels = None
    if labelled:
        labels = np.asarray([2, 0, 2, 2, 1, 0])
        labels = labels if isinstance(to, np.ndarray) else asarray_like(labels, to).long()
    if n_features:
        vectors = rng.standard_normal((n, n_features))
        vectors[2] = np.nan  # none
        labels = asarray_like(vectors, to)
    target = (asarray_like(rng.standard_normal((n, d)), to), asarray_like(factor + factor.mT, to))
    return params, scaling, GaussianBatch(mu, target, asarray_like(rng.uniform(size=n), to), labels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("labelled", "n_features"), [(False, 0), (True, 0), (True, 2)])
def test_torch_network(dtype, labelled, n_features):
    torch = pytest.importorskip("torch")
    ops = importlib.import_module("refwfm.backends._torch_ops")
    params, scaling, batch = network_batch(empty(torch, dtype), labelled=labelled, n_features=n_features)
    results = []
    with torch.no_grad():  # the twin turns autograd on for itself
        for network in (ops.bures_mlp, nets.bures_mlp):
            (mean, matrix), pullback = network(params, scaling, batch.mu_t, batch.t, batch.labels)
            assert not mean.requires_grad
            assert not matrix.requires_grad
            results.append({"mean": mean, "matrix": matrix, **pullback((mean, 2.0 * matrix))})
    assert_trees_close(*results, 50 * DTYPES[dtype])
    with pytest.raises(ValueError, match="expect"):
        ops.bures_mlp(params, scaling, batch.mu_t, batch.t, None if labelled else batch.t)


@pytest.mark.parametrize("method", METHODS)
def test_torch_loss_and_grad(method):
    torch = pytest.importorskip("torch")
    ops = importlib.import_module("refwfm.backends._torch_ops")
    params, scaling, batch = network_batch(empty(torch, "float64"), labelled=False)
    batch = batch._replace(target=METHODS[method].velocity(*batch.target))
    results = [
        {"value": value, **grads}
        for value, grads in (
            function(params, scaling, batch, method=method)
            for function in (ops.gaussian_loss_and_grad, gaussian_loss_and_grad)
        )
    ]
    assert_trees_close(*results, 1e-11)


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch):
    memory = importlib.import_module("refwfm.backends._memory")
    assert memory.keep_freed_memory() in (True, False)

    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert memory.keep_freed_memory.__wrapped__() is False


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_the_norm_of_numpys_twin_does_not_mind_the_scale(scale):
    """In float32 these squares vanish or overflow."""
    grads = {"a": np.float32([3.0 * scale]), "b": np.float32([4.0 * scale])}
    clipped, norm = numpy_ops.clip_by_global_norm(grads, scale)
    assert float(norm) == pytest.approx(5.0 * scale, rel=1e-6)
    assert float(clipped["b"][0]) == pytest.approx(0.8 * scale, rel=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numpys_twin_passes_on_what_is_not_finite(wrong):
    grads = {"a": np.float32([wrong, 1.0]), "b": np.ones(2, np.float32)}
    clipped, norm = numpy_ops.clip_by_global_norm(grads, 1.0)
    assert not np.isfinite(norm)
    assert np.isnan(clipped["a"][0])
