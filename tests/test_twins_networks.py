"""The fast twins of optimiser and network give what their references give."""

import importlib

import numpy as np
import pytest

from refwfm import bures
from refwfm import networks as nets
from refwfm._array import array_namespace, asarray_like
from refwfm.backends import _float64, load
from refwfm.backends import _numpy_ops as numpy_ops
from refwfm.backends._packed import Packed
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


def small_tree(rng):
    return {
        "b": {"10": rng.standard_normal((2, 3)), "2": rng.standard_normal(3)},
        "a": rng.standard_normal(2),
    }


def test_small_models_are_packed_and_give_the_same(lib, ops):
    to, rng = empty(lib, "float64"), np.random.default_rng(0)
    start, gradients = small_tree(rng), [small_tree(rng) for _ in range(3)]
    kept, results = converted(start, to), []
    for module in (ops, optim):
        params, average = kept, kept
        state = optim.init_adam(params)
        for grads in gradients:
            turned = dict(reversed(converted(grads, to).items()))  # keys in another order
            params, state = module.adam(params, turned, state, learning_rate=0.1)
            average = module.ema(average, params, decay=0.5)
        results.append({"params": params, "average": average, "first": state.first, "second": state.second})
    assert_trees_close(*results, 1e-14)
    assert all(isinstance(tree, Packed) for tree in results[0].values())
    assert_trees_close(kept, converted(start, to), 0.0)  # the first call copies
    again, _ = ops.adam(params := results[0]["params"], turned, state, learning_rate=0.1)
    assert again is params
    with pytest.raises(ValueError, match="same"):
        ops.ema(again, {"a": turned["a"]}, decay=0.5)
    with pytest.raises(TypeError, match="dtype"):
        ops.ema(again, converted(start, empty(lib, "float32")), decay=0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labelled", [False, True])
def test_numpys_network_is_the_reference_bit_by_bit(method, labelled):
    params, scaling, batch = network_batch(np.zeros(0, np.float32), labelled=labelled)
    batch = batch._replace(target=METHODS[method].velocity(*batch.target))
    twin = load("numpy").ops.gaussian_loss_and_grad
    value, grads = twin(params, scaling, batch, method=method)
    truth, wanted = gaussian_loss_and_grad(params, scaling, batch, method=method)
    assert value == truth
    assert_trees_close(grads, wanted, 0.0)


def random_gaussians(rng, to, d, n=6):
    factor = rng.standard_normal((n, d, 2 * d))
    return Gaussian(asarray_like(rng.standard_normal((n, d)), to), asarray_like(factor @ factor.mT / d, to))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_geodesics_in_float64_are_nearer_to_the_truth(lib, d, monkeypatch):
    rng, to = np.random.default_rng(d), empty(lib, "float32")
    mu, nu, t = random_gaussians(rng, to, d), random_gaussians(rng, to, d), asarray_like(rng.random(6), to)
    exact = [Gaussian(*(np.asarray(part, np.float64) for part in m)) for m in (mu, nu)]
    truth = bures.path(*exact, np.asarray(t, np.float64))
    reference = bures.path
    monkeypatch.setattr(_float64.bures, "path", None)  # not asked
    found = _float64.path(mu, nu, t, validate=False)
    for one, right in zip(found, truth, strict=True):
        for x, y in zip(one, right, strict=True):
            assert x.dtype == to.dtype
            np.testing.assert_allclose(np.asarray(x), y, rtol=0, atol=3e-7 * np.max(np.abs(y)))
    half = _float64.path(mu, nu, 0.5 * t, validate=False)[1].lift
    assert np.max(np.abs(np.asarray(half) - truth[1].lift)) > 1e-3  # the check sees another time
    monkeypatch.setattr(_float64.bures, "path", reference)


@pytest.mark.parametrize("fault", ["singular", "nan", "checked", "float64"])
def test_geodesics_beyond_float32_are_the_references(fault):
    rng, to = np.random.default_rng(0), np.zeros(0, np.float64 if fault == "float64" else np.float32)
    mu, nu, t = random_gaussians(rng, to, 3), random_gaussians(rng, to, 3), asarray_like(rng.random(6), to)
    if fault == "singular":
        mu.cov[2] = np.diag([1.0, 0.0, 1.0])
    if fault == "nan":
        mu.cov[2, 0, 0] = np.nan
    results = []
    for function in (_float64.path, bures.path):
        try:
            results.append(function(mu, nu, t, validate=fault == "checked"))
        except ValueError as error:
            results.append(str(error))
    if isinstance(results[1], str):
        assert results[0] == results[1]
    else:
        for one, other in zip(*results, strict=True):
            for x, y in zip(one, other, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["numpy", "torch:cpu"])
def test_distances_in_float64_keep_their_digits(name):
    pytest.importorskip(name.partition(":")[0])
    backend, rng = load(name), np.random.default_rng(0)
    mu = random_gaussians(rng, backend.asarray(np.zeros(0)), 4)
    result = backend.ops.pairwise_sq_distance(mu, mu)
    exact = Gaussian(*(np.asarray(part, np.float64) for part in mu))
    truth = bures.pairwise_sq_distance(exact, exact)
    np.testing.assert_allclose(np.asarray(result), truth, rtol=1e-6, atol=1e-6)  # 0 of a Gaussian from itself
    assert np.min(np.asarray(result)) >= 0
