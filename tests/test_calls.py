"""Every public function of the mathematics, on every library, dtype and device: the numbers of NumPy.

JAX compiles each call, which takes minutes for all: it is only looked at with ``REFWFM_TEST_XP=jax``.
"""

import importlib
import inspect
import re

import calls
import numpy as np
import pytest
from conftest import COLUMNS, LIBRARIES, arrays_in, map_arrays
from test_examples import MATHEMATICS, NEEDS_NONE, name_of

from refwfm._array import array_namespace, device, to_host

ULPS = 4e3
"""Roundings of the largest number, at least of 1, that a result may be off: covariances have condition 30."""


def public_functions():
    found = set()
    for path in MATHEMATICS:
        module = importlib.import_module(name_of(path))
        if module.__name__ != "refwfm._derivatives":  # which take functions
            found |= {
                f"{module.__name__.removeprefix('refwfm.')}.{name}"
                for name, function in vars(module).items()
                if inspect.isfunction(function)
                and function.__module__ == module.__name__
                and not re.fullmatch(NEEDS_NONE, name)
            }
    return found


def test_the_table_has_every_public_function():
    assert {name.partition(",")[0] for name in calls.CALLS} == public_functions()


def result_of(library, name):
    """What a call gives in a library, as host arrays; library, dtype and device are checked."""
    function, *data = calls.CALLS[name]
    given = data if name in calls.HOST else [library.arrays(part) for part in data]
    result = function(*given)
    home = array_namespace(library.array(0.0))
    for array in arrays_in(result):
        index = name in calls.INDEX_ON_HOST and isinstance(array, np.ndarray) and array.dtype.kind == "i"
        if name in calls.HOST + calls.ON_HOST or not arrays_in(data) or index:
            assert isinstance(array, np.ndarray | np.generic), f"got {type(array)}, wanted NumPy's"
        elif not isinstance(array, np.generic):  # of NumPy, for which they are numbers
            assert array_namespace(array) is home, f"got {type(array)}, wanted one of {library}"
            assert device(array) == device(library.array(0.0))
            if home.isdtype(array.dtype, "real floating"):
                assert library.owns(array), f"got {array.dtype}, wanted {library.dtype}"
    return map_arrays(to_host, result)


@pytest.fixture(scope="module")
def truths():
    """What every call gives on NumPy in float64, with inputs rounded as they are in float32."""
    rounded = {
        "float64": lambda x: x,
        "float32": lambda x: x.astype(np.float32).astype(x.dtype) if x.dtype.kind == "f" else x,
    }
    return {
        dtype: {name: f(*map_arrays(to, data)) for name, (f, *data) in calls.CALLS.items()}
        for dtype, to in rounded.items()
    }


@pytest.mark.parametrize("name", calls.CALLS)
@pytest.mark.parametrize(
    "library",
    [column for column in COLUMNS if column[0] != "jax" or LIBRARIES == ["jax"]],
    ids="-".join,
    indirect=True,
)
def test_every_call_on_every_library(library, name, truths):
    expected = arrays_in(truths[library.dtype][name])
    found = arrays_in(result_of(library, name))
    largest = max((float(np.max(np.abs(part), initial=1.0)) for part in expected), default=1.0)
    for array, truth in zip(found, expected, strict=True):
        assert array.shape == truth.shape
        if truth.dtype.kind == "f":
            off = ULPS * library.eps * largest
            np.testing.assert_allclose(array.astype(np.float64), truth, rtol=0.0, atol=off)
        else:
            np.testing.assert_array_equal(array, truth)
