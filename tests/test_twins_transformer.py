"""The fast twins of the transformer give what the reference gives."""

import importlib

import numpy as np
import pytest

from refwfm import networks as nets
from refwfm._array import array_namespace, asarray_like
from refwfm.training.optim import flatten, tree_map
from refwfm.training.regression import cloud_velocity

DTYPES = {"float32": 2e-5, "float64": 1e-13}  # some hundred roundings
D, N, HEADS = 3, 9, 2
SIZES = np.asarray([9, 1, 4, 4, 7, 0])  # one point, no point
KINDS = {"none": {}, "labels": {"n_labels": 2}, "features": {"n_features": 2}}


@pytest.fixture(params=["numpy", "torch"])
def lib(request):
    return pytest.importorskip(request.param)


@pytest.fixture
def twin(lib):
    return importlib.import_module(f"refwfm.backends._{lib.__name__}_transformer").transformer


@pytest.fixture
def velocity(lib):
    name = "_numpy_velocity" if lib is np else "_torch_transformer"
    return importlib.import_module(f"refwfm.backends.{name}").cloud_velocity


@pytest.fixture
def split(monkeypatch):
    """Make the NumPy twin cut even small batches, for two cores."""
    module = importlib.import_module("refwfm.backends._numpy_transformer")
    monkeypatch.setattr(module, "_ROWS", 4)
    monkeypatch.setattr(module, "_n_threads", lambda: 2)
    return module


def empty(lib, dtype):
    return lib.zeros(0, dtype=getattr(lib, dtype))


def inputs(to, kind, *, masked, batch=(6,)):
    """Parameters and what follows them, with NaN where there is no point."""
    rng = np.random.default_rng(0)
    params = nets.init_transformer(
        rng, D, like=np.zeros(0), width=8, depth=2, heads=HEADS, hidden=6, label_dim=3, **KINDS[kind]
    )
    params = tree_map(lambda p: asarray_like(p + 0.3 * rng.standard_normal(p.shape), to), params)
    points, t, g = rng.standard_normal((6, N, D)), rng.uniform(size=6), rng.standard_normal((6, N, D))
    mask = np.arange(N) < SIZES[:, None]
    mask[4, 2] = False  # padding may stand between points
    if masked:
        points[~mask] = g[~mask] = np.nan
    features = rng.standard_normal((6, 2))
    features[3] = np.nan
    labels = {"none": None, "labels": np.asarray([2, 0, 1, 1, 2, 0]), "features": features}[kind]

    def convert(x):
        if x is None:
            return None
        x = x[: int(np.prod(batch))].reshape((*batch, *x.shape[1:]))
        return asarray_like(x, to) if x.dtype.kind == "f" else array_namespace(to).asarray(x)

    return params, *map(convert, (points, mask if masked else None, t, labels, g))


def assert_same(twin, to, kind, rtol, **options):
    params, points, mask, t, labels, g = inputs(to, kind, **options)
    results = []
    for network in (twin, nets.transformer):
        v, pullback = network(params, points, mask, t, labels, heads=HEADS)
        assert not getattr(v, "requires_grad", False)
        results.append(flatten({"velocity": v, "params": pullback(g)}))
    ours, reference = results
    assert ours.keys() == reference.keys()
    for path, truth in reference.items():
        assert ours[path].dtype == truth.dtype
        assert array_namespace(ours[path]) is array_namespace(truth)
        assert ours[path].shape == truth.shape
        scale = np.max(np.abs(np.asarray(truth)), initial=1e-30)
        np.testing.assert_allclose(
            np.asarray(ours[path]), np.asarray(truth), rtol=0, atol=rtol * scale, err_msg=path
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("split")
def test_same_as_reference(lib, twin, dtype, kind, masked):
    assert_same(twin, empty(lib, dtype), kind, DTYPES[dtype], masked=masked)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("split")
def test_batch_shapes(lib, twin, batch, masked):
    assert_same(twin, empty(lib, "float64"), "labels", 1e-13, masked=masked, batch=batch)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("split")
def test_velocity_is_that_of_the_reference(lib, velocity, dtype, kind, masked):
    for batch in ((6,), (), (2, 3), (0,)):
        params, points, mask, t, labels, _ = inputs(empty(lib, dtype), kind, masked=masked, batch=batch)
        truth = cloud_velocity(params, points, mask, t, labels, heads=HEADS)
        before = np.asarray(points).copy()
        ours = velocity(params, points, mask, t, labels, heads=HEADS)
        assert (ours.dtype, ours.shape) == (truth.dtype, truth.shape)
        assert not getattr(ours, "requires_grad", False)
        np.testing.assert_array_equal(np.asarray(points), before)  # what comes in is not written to
        scale = np.max(np.abs(np.asarray(truth)), initial=1e-30)
        np.testing.assert_allclose(np.asarray(ours), np.asarray(truth), rtol=0, atol=DTYPES[dtype] * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_velocity_where_scores_are_large(lib, velocity, dtype):
    """Softmax of scores that would overflow if they were not shifted, of a thousand roundings."""
    params, points, mask, t, labels, _ = inputs(empty(lib, dtype), "none", masked=True)
    params["blocks"]["0"]["attention"]["qkv"]["weight"] *= 30.0
    truth = cloud_velocity(params, points, mask, t, labels, heads=HEADS)
    ours = velocity(params, points, mask, t, labels, heads=HEADS)
    assert np.all(np.isfinite(np.asarray(truth)))
    atol = 100 * DTYPES[dtype] * np.max(np.abs(np.asarray(truth)))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(truth), rtol=0, atol=atol)


def test_velocity_of_a_field_that_is_not_finite(lib, velocity):
    params, points, mask, t, labels, _ = inputs(empty(lib, "float64"), "none", masked=True)
    points[0, 3] = float("nan")
    ours, truth = (f(params, points, mask, t, labels, heads=HEADS) for f in (velocity, cloud_velocity))
    np.testing.assert_array_equal(np.isnan(np.asarray(ours)), np.isnan(np.asarray(truth)))


def test_on_one_core(monkeypatch):
    module = importlib.import_module("refwfm.backends._numpy_transformer")
    monkeypatch.setattr(module, "_n_threads", lambda: 1)
    assert_same(module.transformer, np.zeros(0), "labels", 1e-13, masked=True)


@pytest.mark.usefixtures("split")
def test_torch_twin_under_no_grad():
    torch = pytest.importorskip("torch")
    twin = importlib.import_module("refwfm.backends._torch_transformer").transformer
    with torch.no_grad():  # the twin turns autograd on for itself
        assert_same(twin, empty(torch, "float64"), "features", 1e-13, masked=True)


def test_same_errors(lib, twin, velocity):
    params, points, mask, t, labels, _ = inputs(empty(lib, "float64"), "labels", masked=True)
    with pytest.raises(ValueError, match="expect labels"):
        twin(params, points, mask, t, heads=HEADS)
    with pytest.raises(ValueError, match="mask must have the shape"):
        twin(params, points, mask[:, 1:], t, labels, heads=HEADS)
    with pytest.raises(ValueError, match="heads must divide"):
        twin(params, points, mask, t, labels, heads=3)
    with pytest.raises(ValueError, match="expect labels"):
        velocity(params, points, mask, t, heads=HEADS)
    with pytest.raises(ValueError, match="mask must have the shape"):
        velocity(params, points, mask[:, 1:], t, labels, heads=HEADS)


@pytest.mark.usefixtures("split")
def test_numpy_twin_gives_the_threads_back(monkeypatch):
    module = importlib.import_module("refwfm.backends._numpy_transformer")
    info = [pool["num_threads"] for pool in module._controller().info()]
    params, points, mask, t, _, _ = inputs(np.zeros(0), "none", masked=True)
    module.transformer(params, points, mask, t, heads=HEADS)

    def fail(*arguments, **options):
        raise RuntimeError("inside")

    monkeypatch.setattr(module, "_tokens", fail)
    with pytest.raises(RuntimeError, match="inside"):
        module.transformer(params, points, mask, t, heads=HEADS)
    assert [pool["num_threads"] for pool in module._controller().info()] == info


def test_groups_hold_every_cloud_once_and_little_padding(split):
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 30, size=50)
    groups = split.similar_sizes(np.arange(32) < sizes[:, None], 50, 32)
    np.testing.assert_array_equal(np.sort(np.concatenate([g.index for g in groups])), np.arange(50))
    for index, n in groups:
        assert n == max(1, sizes[index].max())
    assert sum(len(index) * n for index, n in groups) < 1.1 * np.sum(np.maximum(sizes, 1))
    equal = split.similar_sizes(None, 8, 2)
    assert [len(index) for index, _ in equal] == 4 * [2]
    assert {n for _, n in equal} == {2}
