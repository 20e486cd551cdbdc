"""Every public function of the mathematics, on every library, dtype and device: the numbers of NumPy.

JAX compiles each call, which takes minutes for all: it is only looked at with ``REFWFM_TEST_XP=jax``.
"""

import importlib
import inspect
import re
import warnings
from importlib.util import find_spec

import calls
import numpy as np
import pytest
from conftest import COLUMNS, LIBRARIES, arrays_in, library_of, map_arrays
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


@pytest.fixture(scope="module")
def libraries():
    """JAX only where it is the only one."""
    return [
        library_of(*column)
        for column in COLUMNS
        if find_spec(column[0].partition(":")[0]) and (column[0] != "jax" or LIBRARIES == ["jax"])
    ]


@pytest.mark.parametrize("name", calls.CALLS)
def test_every_call_on_every_library(name, libraries, truths):
    for library in libraries:
        expected = arrays_in(truths[library.dtype][name])
        found = arrays_in(result_of(library, name))
        largest = max((float(np.max(np.abs(part), initial=1.0)) for part in expected), default=1.0)
        for array, truth in zip(found, expected, strict=True):
            assert array.shape == truth.shape, library
            off = ULPS * library.eps * largest if truth.dtype.kind == "f" else 0.0
            same = array.astype(truth.dtype)
            np.testing.assert_allclose(same, truth, rtol=0.0, atol=off, err_msg=str(library))


# Arguments that are no arrays of one floating dtype

WRONG = {
    "half precision": lambda x: x.astype(np.float16),
    "integers": lambda x: np.ones(x.shape, dtype=np.int64),
    "a list": lambda x: x.tolist(),
    "None": lambda x: None,
    "mixed": lambda x: x.astype(np.float32),
}
CLEAR = r"must be an array|must have the dtype|must have the same dtype|must have one real floating dtype"
FREE = (
    "clouds.pad",  # takes whatever NumPy makes float64 arrays of
    "metrics.statistics.covered",  # takes a dtype
    "metrics.statistics.same_family",  # takes a dtype
    "networks.conditioning.embed_condition",  # reads a part of the parameters
    "networks.conditioning.unlabelled",
    "networks.layers.label_embedding",
    "training.optim.tree_map",  # trees of anything
    "training.optim.tree_leaves",
    "training.optim.flatten",
    "training.optim.unflatten",
)
UNCHECKED = (
    "evidence.decompose",
    "evidence.eigh",
    "evidence.from_spectrum",
    "evidence.svd",
    "evidence.without_rounding",
    "metrics.statistics.one_nn_accuracy",
    "psd.deviations",
    "transport.duals.dual",
    "transport.duals.quick_assignment",
    "transport.duals.rough_potential",
    "transport.duals.warm_assignment",
    "transport.emd.cost_matrix",
    "transport.emd.emd",
    "transport.emd.exact_cost",
    "transport.emd.frame_bounds",
    "transport.emd.quantile_cells",
    "transport.families.curve",
    "transport.families.independent_plan",
    "transport.families.membership_error",
    "transport.families.sq_coupling_cost",
    "transport.fields.coupling_loss",
    "transport.linearized.reorder",
    "transport.problem.clear_padding",
    "transport.problem.clear_points",
    "transport.problem.cost_scale",
    "transport.problem.log_weights",
    "transport.programme.assign",
    "transport.programme.best_assignment",
    "transport.programme.blocks",
    "transport.programme.least_entries",
    "transport.programme.mean_cost",
    "transport.programme.prove",
    "transport.programme.solve",
    "transport.quantiles.atom_at_level",
    "transport.quantiles.intervals",
    "transport.quantiles.last_atom",
    "transport.sinkhorn.softmin",
)
"""Functions that do not check what they get."""


def first_changed(data, change, wanted):
    """The arguments with the first part that is wanted changed, and whether there was one."""
    changed = []

    def walk(part):
        if not changed and wanted(part):
            changed.append(True)
            return change(part)
        if isinstance(part, dict):
            return {key: walk(value) for key, value in part.items()}
        if isinstance(part, tuple):
            values = [walk(value) for value in part]
            return type(part)(*values) if hasattr(part, "_fields") else tuple(values)
        return part

    return walk(tuple(data)), bool(changed)


def refused(function, data, match):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError), match=match):
            function(*data)


@pytest.mark.parametrize("name", [name for name in calls.CALLS if name not in (*FREE, *UNCHECKED)])
def test_what_is_no_floating_array_gets_one_clear_error(name):
    function, *data = calls.CALLS[name]
    floating = [x for x in arrays_in(data) if x.dtype.kind == "f"]
    for wrong, change in WRONG.items():
        if len(floating) >= (2 if wrong == "mixed" else 1):
            spoiled, _ = first_changed(data, change, lambda x: hasattr(x, "dtype") and x.dtype.kind == "f")
            refused(function, spoiled, CLEAR)


UNNAMED = (
    "bures_metric.from_euclidean",
    "couplings.costs.pairwise_frechet",
    "metrics.statistics.coverage",
    "metrics.statistics.minimum_matching_distance",
    "metrics.statistics.one_nn_accuracy",
    "transport.duals.dual",
    "transport.duals.quick_assignment",
    "transport.duals.rough_potential",
    "transport.duals.warm_assignment",
    "transport.emd.cost_matrix",
    "transport.emd.emd",
    "transport.emd.exact_cost",
    "transport.emd.frame_bounds",
    "transport.families.curve",
    "transport.families.independent_plan",
    "transport.families.membership_error",
    "transport.families.optimal_plan",
    "transport.families.sq_coupling_cost",
    "transport.fields.coupling_loss",
)
"""Functions that take a plain tuple where a measure or a tangent vector is meant, or fail in another way."""


@pytest.mark.parametrize("name", [name for name in calls.CALLS if name not in (*FREE, *UNNAMED)])
def test_a_plain_tuple_is_no_measure(name):
    function, *data = calls.CALLS[name]
    spoiled, changed = first_changed(data, tuple, lambda part: hasattr(part, "_fields"))
    if changed:
        refused(function, spoiled, r"must be a [A-Z]\w+\(.*\); got a tuple")
