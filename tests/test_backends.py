"""Backends: conversions, twins against their references, and one clear line for whatever is missing."""

import sys
import types

import numpy as np
import oracles
import pytest
from array_api_compat import array_namespace, is_cupy_array
from conftest import LIBRARIES

from refwfm import _array, backends, bures
from refwfm.backends import BackendError, available, load
from refwfm.measures import Gaussian
from refwfm.training.ops import REFERENCE

NAMES = ["strict" if name == "array_api_strict" else name for name in LIBRARIES if ":" not in name]


@pytest.fixture(params=NAMES)
def name(request):
    pytest.importorskip("array_api_strict" if request.param == "strict" else request.param)
    return request.param


@pytest.fixture(params=["float32", "float64"])
def backend(name, request):
    return load(name, dtype=request.param)


# Conversions


def test_values_go_there_and_back(backend, rng):
    values = rng.standard_normal((2, 3))
    there = backend.asarray(values)
    assert there.dtype == getattr(array_namespace(there), backend.dtype)
    back = backend.to_numpy(there)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, values.astype(backend.dtype))
    backend.synchronize()


def test_integers_stay_integers_and_lists_are_welcome(backend):
    labels = backend.asarray(np.array([2, 0, 1]))
    assert array_namespace(labels).isdtype(labels.dtype, "integral")
    np.testing.assert_array_equal(backend.to_numpy(labels), [2, 0, 1])
    assert backend.asarray([0.5, 1.5]).dtype == backend.asarray(np.float32([0.5])).dtype


def test_what_goes_there_is_a_copy(backend):
    values = np.ones(3, backend.dtype)
    there = backend.asarray(values)
    values[:] = 7.0
    np.testing.assert_array_equal(backend.to_numpy(there), np.ones(3))


def test_record_describes_itself(backend, name):
    assert backend.name.partition(":")[0] == name
    assert backend.device in ("cpu", "cuda")
    assert backend.version
    assert load(name, dtype=backend.dtype, reference=True).ops is REFERENCE
    assert load(name).dtype == "float32"


# Choice


def test_environment_chooses(monkeypatch):
    monkeypatch.delenv(backends.ENVIRONMENT, raising=False)
    assert load().name == "numpy"
    pytest.importorskip("array_api_strict")
    monkeypatch.setenv(backends.ENVIRONMENT, "strict")
    assert load().name == "strict"
    assert load("numpy").name == "numpy"


def test_unknown_names_are_refused(monkeypatch):
    with pytest.raises(
        BackendError, match="unknown backend 'tensorflow'; choose one of numpy, torch, cupy, jax"
    ):
        load("tensorflow")
    with pytest.raises(BackendError, match="unknown dtype 'float16'; choose float32 or float64"):
        load("numpy", dtype="float16")
    monkeypatch.setenv(backends.ENVIRONMENT, "nonsense")
    with pytest.raises(BackendError, match="unknown backend 'nonsense'"):
        load()


def test_unknown_devices_are_refused(name):
    with pytest.raises(BackendError, match="has no device 'tpu'; it knows"):
        load(f"{name}:tpu")


@pytest.mark.parametrize("library", ["torch", "cupy", "jax", "strict"])
def test_libraries_that_are_not_installed(library, monkeypatch):
    module = "array_api_strict" if library == "strict" else library
    monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    monkeypatch.delitem(sys.modules, f"refwfm.backends._{library}", raising=False)
    with pytest.raises(BackendError, match=f"backend '{library}' is not installed .*; pip install") as caught:
        load(library)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "not installed" in available()[library]


def test_torch_without_a_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load("torch").device == "cpu"
    with pytest.raises(BackendError, match="torch sees no CUDA device; use torch:cpu"):
        load("torch:cuda")


def test_jax_without_a_gpu(monkeypatch):
    jax = pytest.importorskip("jax")

    def devices(kind):
        raise RuntimeError("Unknown backend")

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(BackendError, match="jax sees no CUDA device; use jax:cpu"):
        load("jax:cuda")


def test_available_lists_all():
    found = available()
    assert list(found) == list(backends.INSTALL)
    assert found["numpy"] == f"{np.__version__} on cpu"


# CuPy, whose own code needs a GPU: ours must do the right things with whatever it is given


class DeviceArray:
    """A stand-in for ``cupy.ndarray``: holds its values where NumPy cannot see them."""

    def __init__(self, values):
        self.values = values
        self.dtype = values.dtype

    def get(self):
        return self.values.copy()

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")  # as CuPy does


@pytest.fixture
def cupy(monkeypatch):
    def asarray(values, dtype=None):
        return DeviceArray(np.array(values, dtype=dtype))

    calls = []
    stream = types.SimpleNamespace(synchronize=lambda: calls.append("synchronize"))
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=OSError)
    module = types.ModuleType("cupy")
    module.ndarray, module.asarray, module.__version__, module.calls = DeviceArray, asarray, "13.0", calls
    module.cuda = types.SimpleNamespace(runtime=runtime, get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.delitem(sys.modules, "refwfm.backends._cupy", raising=False)
    yield module
    sys.modules.pop("refwfm.backends._cupy", None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cupy_conversions(cupy, dtype, rng):
    backend = load("cupy", dtype=dtype)
    assert (backend.name, backend.device, backend.version) == ("cupy", "cuda", "13.0")
    values = rng.standard_normal((2, 3))
    there = backend.asarray(values)
    assert type(there) is DeviceArray
    assert is_cupy_array(there)
    assert there.dtype == dtype
    np.testing.assert_array_equal(backend.to_numpy(there), values.astype(dtype))
    np.testing.assert_array_equal(_array.to_host(there), values.astype(dtype))
    assert backend.asarray(np.array([1, 2])).dtype.kind == "i"
    backend.synchronize()
    assert cupy.calls == ["synchronize"]
    assert load("cupy:cuda").device == "cuda"
    with pytest.raises(BackendError, match="has no device 'cpu'"):
        load("cupy:cpu")


def test_cupy_without_a_gpu(cupy):
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    with pytest.raises(BackendError, match="cupy sees no CUDA device"):
        load("cupy")

    def broken():
        raise OSError("driver too old")

    cupy.cuda.runtime.getDeviceCount = broken
    with pytest.raises(BackendError, match=r"no CUDA device \(driver too old\); use numpy"):
        load("cupy")


# Twins


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 5), (40, 3), (0, 3), (3, 0)])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_pairwise_twin(dtype, n, m, d, rng):
    backend = load("numpy", dtype=dtype)
    mu, nu = oracles.random_gaussian(rng, n, d), oracles.random_gaussian(rng, m, d)
    result = backend.ops.pairwise_sq_distance(*(Gaussian(*map(backend.asarray, g)) for g in (mu, nu)))
    truth = bures.pairwise_sq_distance(mu, nu)
    assert backend.ops.pairwise_sq_distance is not bures.pairwise_sq_distance
    assert result.dtype == dtype
    assert result.shape == (n, m)
    # Some d² roundings of traces up to 100.
    np.testing.assert_allclose(result, truth, rtol=0, atol=100 * 100 * float(np.finfo(dtype).eps))


def test_pairwise_twin_checks_its_input(rng):
    mu = oracles.random_gaussian(rng, 2, 2)
    twin = load("numpy", dtype="float64").ops.pairwise_sq_distance
    with pytest.raises(ValueError, match="positive semi-definite"):
        twin(mu, Gaussian(mu.mean, -mu.cov))
    with pytest.raises(ValueError, match="same dimension"):
        twin(mu, oracles.random_gaussian(rng, 2, 3))
    assert np.all(twin(mu, Gaussian(mu.mean, -mu.cov), validate=False) >= 0)


def test_values_beyond_the_range_are_refused_without_a_warning(backend):
    values = np.asarray([1.0, -1e39])
    if backend.dtype == "float64":
        assert backend.to_numpy(backend.asarray(values)).tolist() == values.tolist()
        return
    with pytest.raises(ValueError, match=r"up to 1e\+39 are beyond the range of float32.*use float64"):
        backend.asarray(values)
    kept = np.asarray([np.inf, np.nan, 3.4e38])
    np.testing.assert_array_equal(backend.to_numpy(backend.asarray(kept)), kept.astype(np.float32))
