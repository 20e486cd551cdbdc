"""What the tests share: array libraries in both float types, and modest settings for property tests.

``REFWFM_TEST_XP`` chooses the libraries (a comma-separated list), ``REFWFM_TEST_DEVICE`` the device of torch.
A library may name its device: ``torch:cuda``, ``jax:cuda``; ``cupy`` has the current one. Two devices of
array-api-strict are libraries of their own: ``array_api_strict:device1`` stands for a GPU, whose arrays NumPy
cannot read, and ``array_api_strict:no_float64`` for one without float64.

``REFWFM_TEST_THOROUGH=1`` asks everything of everything. Without it the slowest products of tests and cases
are asked in a third of the cases (``thirds``), on JAX without optimisation (``pytest_configure``).
"""

import gc
import os
from collections import defaultdict
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace, device
from hypothesis import settings
from thirds import THOROUGH, in_third

from refwfm._array import to_host
from refwfm.validation.audit import quick_flags

JAXS_OWN = ("test_array", "test_backends", "test_derivatives", "test_networks", "test_psd", "test_training")
"""Files of tests of what knows the libraries, or that all else is made of: formulas are made of these."""


def pytest_configure(config: pytest.Config) -> None:
    """What JAX compiles is kept in pytest's cache: for other workers, other processes and the next run.

    It is not optimised, which halves the time that JAX takes.
    """
    if not THOROUGH and "XLA_FLAGS" not in os.environ and find_spec("jaxlib"):
        key = f"refwfm/flags-of-jaxlib-{metadata.version('jaxlib')}"
        cache = getattr(config, "cache", None)
        flags = cache.get(key, None) if cache else None
        if flags is None:
            flags = quick_flags()
            if cache:
                cache.set(key, flags)
        os.environ["XLA_FLAGS"] = flags  # workers of xdist inherit them
    if hasattr(config, "cache"):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On JAX a third of the cases are asked, which is compiled anew for each.

    None is of ``slow`` tests that the fixture ``library`` asks of all, on other libraries all the same; at
    least one is of each test that names JAX, or compares libraries in a file of ``JAXS_OWN``.
    """
    if THOROUGH or JAX_ALONE:
        return
    cases = defaultdict(list)
    left_out = set()
    for item in items:
        if isinstance(item, pytest.Function) and on_jax(item):
            if item.get_closest_marker("slow") and "library" in item.fixturenames:
                left_out.add(item)
            else:
                cases[item.nodeid.partition("[")[0]].append(item)
    for name, every in cases.items():
        of_all = {"library", "library_name"} & set(every[0].fixturenames)
        its_own = not of_all or ("librar" in name and every[0].path.stem in JAXS_OWN)
        left_out |= {item for item in every[its_own:] if not in_third(item.nodeid)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """What the tests are made of stays: the garbage collector need not look through it each time."""
    gc.freeze()


def on_jax(item: pytest.Function) -> bool:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = [value[0] if isinstance(value, tuple) and value else value for value in values]
    return any(isinstance(name, str) and name.partition(":")[0] == "jax" for name in names)


# The same examples in every run; the machine may be slow.
settings.register_profile("refwfm", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("refwfm")

LIBRARIES = os.environ.get(
    "REFWFM_TEST_XP",
    "numpy,array_api_strict,array_api_strict:device1,array_api_strict:no_float64,torch,jax",
).split(",")
DEVICE = os.environ.get("REFWFM_TEST_DEVICE", "cpu")
JAX_ALONE = {name.partition(":")[0] for name in LIBRARIES} == {"jax"}


def map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to the arrays in nested tuples, named tuples, lists and dictionaries."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [map_arrays(function, value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return function(tree) if hasattr(tree, "dtype") else tree


def arrays_in(tree: Any) -> list[Any]:
    found: list[Any] = []
    map_arrays(found.append, tree)
    return found


class Library(NamedTuple):
    """An array library in one floating dtype, on one device ("" is the library's CPU)."""

    name: str
    dtype: str
    device: str = ""

    @property
    def batches(self) -> list[tuple[int, ...]]:
        """Leading axes to test. JAX compiles every operation for every shape, devices differ in none: one.

        So does the dtype of array-api-strict, the slowest of the others: NumPy and torch take all in both.
        """
        one = self.name == "jax" or self.device or (self.name, self.dtype) == ("array_api_strict", "float32")
        return [(3,)] if one else [(), (3,), (2, 1), (0,)]

    @property
    def eps(self) -> float:
        return float(np.finfo(self.dtype).eps)

    def array(self, values: Any) -> Any:
        """Host values in this library; floating ones in this dtype. NumPy's cannot be written to."""
        host = np.array(values)
        host = host.astype(self.dtype) if host.dtype.kind == "f" else host
        if self.name == "torch":
            torch = pytest.importorskip("torch")
            return torch.asarray(host, device=self.device or DEVICE)
        if self.name == "cupy":
            return pytest.importorskip("cupy").asarray(host)
        if self.name == "jax":
            jax = pytest.importorskip("jax")
            if not self.device:
                return jax.numpy.asarray(host)
            return jax.device_put(host, jax.devices({"cuda": "gpu"}.get(self.device, self.device))[0])
        if self.name == "array_api_strict":
            strict = pytest.importorskip("array_api_strict")
            return strict.asarray(host, device=strict.Device(self.device or "CPU_DEVICE"))
        host.flags.writeable = False
        return host

    def arrays(self, tree: Any) -> Any:
        return map_arrays(self.array, tree)

    def owns(self, array: Any) -> bool:
        """Whether an array is of this library, dtype and device."""
        xp, own = array_namespace(array), self.array(0.0)
        return xp is array_namespace(own) and (array.dtype, device(array)) == (own.dtype, device(own))

    def check(self, function: Callable[..., Any], *arguments: Any, ulps: float, scale: float = 0.0) -> None:
        """Assert that a function does here what it does on NumPy in float64.

        Library, dtype and shape must be right, the arguments untouched, and the values equal up to ``ulps``
        machine epsilons of the largest number in the result, or of ``scale`` where that is larger.
        """
        rounded = map_arrays(
            lambda x: x.astype(self.dtype).astype(x.dtype) if x.dtype.kind == "f" else x, arguments
        )
        given = self.arrays(arguments)
        results, truths = function(*given), function(*rounded)
        for array, before in zip(arrays_in(given), arrays_in(self.arrays(arguments)), strict=True):
            np.testing.assert_array_equal(to_host(array), to_host(before), err_msg="an argument was changed")
        for result, truth in zip(arrays_in(results), arrays_in(truths), strict=True):
            assert self.owns(result), f"got {type(result)} of {result.dtype}, wanted {self}"
            assert tuple(result.shape) == truth.shape
            allowed = ulps * self.eps * max(scale, float(np.max(np.abs(truth), initial=0.0)))
            np.testing.assert_allclose(to_host(result).astype(np.float64), truth, rtol=0.0, atol=allowed)


def library_of(name: str, dtype: str) -> Library:
    """Library of an entry of ``REFWFM_TEST_XP``, set up; skips where it is not installed."""
    name, _, place = name.partition(":")
    pytest.importorskip(name)
    if name == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        if place:  # a GPU would take ten bits of a factor
            jax.config.update("jax_default_matmul_precision", "highest")
    if name == "array_api_strict":
        import array_api_strict

        array_api_strict.set_array_api_strict_flags(api_version="2024.12")
    return Library(name, dtype, place)


@pytest.fixture(scope="session", params=LIBRARIES)
def library_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


COLUMNS = [
    (name, dtype)
    for dtype in ("float32", "float64")
    for name in LIBRARIES
    if not (name.endswith(":no_float64") and dtype == "float64")
    if not (name.endswith(":device1") and dtype == "float32" and "array_api_strict" in LIBRARIES)
    if not (name == "jax" and dtype == "float64" and not JAX_ALONE)
]
"""What the fixture ``library`` goes through.

JAX compiles every operation for every shape, which takes longer than all other libraries together: beside
them it is tried in its own default, float32; alone (``REFWFM_TEST_XP=jax``) in both. An array on the wrong
device is seen in float64, one of the wrong dtype on the CPU: ``device1`` has one dtype beside the CPU.
"""


@pytest.fixture(scope="session", params=COLUMNS, ids="-".join)
def library(request: pytest.FixtureRequest) -> Library:
    return library_of(*request.param)


@pytest.fixture(scope="session")
def xp_like(library_name: str) -> Callable[[str], Any]:
    """``xp_like(dtype)``: an empty array that stands for a library, as the argument of ``like``."""

    def like(dtype: str) -> Any:
        if library_name.endswith("no_float64") and dtype == "float64":
            pytest.skip("this device has no float64")
        return library_of(library_name, dtype).array(np.zeros(0))

    return like


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are composed and not drawn, which takes longer than small trainings: for other tests."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda self, file, **options: file.write(b"picture")
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2025)
