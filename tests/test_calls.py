"""Every public function of the mathematics, on every library, dtype and device: the numbers of NumPy.

JAX compiles each call, which takes minutes for all: it is only looked at with ``REFWFM_TEST_XP=jax``.
"""

import importlib
import inspect
import re
import warnings

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
    "bures.exp",
    "bures.push_forward",
    "bures_metric.factored_sq_distance",
    "bures_metric.from_euclidean",
    "bures_metric.inner",
    "bures_metric.rows_per_block",
    "bures_metric.sq_tangent_norm",
    "bures_metric.to_euclidean",
    "conditional.conditional_velocity",
    "conditional.marginal_velocity",
    "conditional.premetric_velocity",
    "couplings.costs.outer_cost, chamfer",
    "couplings.costs.outer_cost, sliced",
    "couplings.costs.outer_cost, wasserstein",
    "couplings.costs.pairwise_chamfer_cost",
    "couplings.costs.pairwise_sq_wasserstein2",
    "couplings.inner.couple, sliced",
    "couplings.outer.match_clouds",
    "couplings.outer.match_minibatch",
    "couplings.outer.outer_pairs",
    "couplings.outer.outer_plan",
    "couplings.outer.outer_plan, eps",
    "interpolation.displacement",
    "interpolation.displacement_velocity",
    "measures.rescale",
    "measures.take",
    "metrics.distances.compare_families",
    "metrics.distances.host_families",
    "metrics.distances.pairwise_chamfer",
    "metrics.distances.pairwise_emd",
    "metrics.nearest_gaussians.nearest",
    "metrics.neighbours.nearest_clouds",
    "metrics.neighbours.one_nn_accuracy_emd",
    "metrics.statistics.coverage",
    "metrics.statistics.k_nearest",
    "metrics.statistics.minimum_matching_distance",
    "metrics.statistics.one_nn_accuracy",
    "psd.decompose",
    "psd.factor",
    "psd.from_spectrum",
    "psd.inv_sqrtm",
    "psd.nuclear_norm",
    "psd.nuclear_norm, d = 2",
    "psd.procrustes_factors",
    "psd.project_psd",
    "psd.solve_lift",
    "psd.solve_lyapunov",
    "psd.sqrtm",
    "sources.gaussians.sample_empirical",
    "sources.gaussians.sample_gaussian_wishart",
    "transport.emd.cost_matrix",
    "transport.emd.dual",
    "transport.emd.emd",
    "transport.emd.frame_bounds",
    "transport.emd.quantile_cells",
    "transport.emd.rough_potential",
    "transport.entropic.barycentric_projection",
    "transport.entropic.debiased_entropic_map",
    "transport.entropic.entropic_map",
    "transport.entropic.extend_potential",
    "transport.exact.assignment",
    "transport.families.curve",
    "transport.families.even_family",
    "transport.families.independent_plan",
    "transport.families.membership_error",
    "transport.families.random_coupling",
    "transport.families.sq_coupling_cost",
    "transport.families.sq_wow_distance",
    "transport.fields.coupling_loss",
    "transport.fields.inner",
    "transport.fields.mean_displacement",
    "transport.linearized.align",
    "transport.linearized.align_to_reference",
    "transport.linearized.pairwise_sq_lazy_distance",
    "transport.linearized.pairwise_sq_linearized_distance",
    "transport.linearized.reorder",
    "transport.linearized.sq_lazy_distance",
    "transport.linearized.sq_linearized_distance",
    "transport.plans.argmax_matching",
    "transport.plans.greedy_rounding",
    "transport.plans.greedy_rounding_sequential",
    "transport.plans.marginal_error",
    "transport.plans.sample_pairs",
    "transport.plans.sample_pairs, no replacement",
    "transport.plans.sample_targets",
    "transport.problem.clear_padding",
    "transport.problem.clear_points",
    "transport.problem.cost_scale",
    "transport.problem.log_weights",
    "transport.quantiles.atom_at_level",
    "transport.quantiles.intervals",
    "transport.quantiles.last_atom",
    "transport.quantiles.line_cost",
    "transport.quantiles.meet",
    "transport.quantiles.order_and_levels",
    "transport.quantiles.quantile_coupling",
    "transport.quantiles.sort_measure",
    "transport.reference.free_support_barycenter",
    "transport.sinkhorn.softmin",
    "transport.sliced.pairwise_sliced_cost",
    "transport.sliced.random_directions",
    "transport.stability.assignment_gap",
    "transport.stability.laziness_report",
    "transport.stability.stability_radius",
    "transport.stability.stability_radius_bound",
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


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", [name for name in calls.CALLS if name not in (*FREE, *UNCHECKED)])
def test_what_is_no_floating_array_gets_one_clear_error(name, wrong):
    function, *data = calls.CALLS[name]
    floating = [x for x in arrays_in(data) if x.dtype.kind == "f"]
    if len(floating) >= (2 if wrong == "mixed" else 1):
        spoiled, _ = first_changed(data, WRONG[wrong], lambda x: hasattr(x, "dtype") and x.dtype.kind == "f")
        refused(function, spoiled, CLEAR)


UNNAMED = (
    "bures.exp",
    "bures.push_forward",
    "bures_metric.from_euclidean",
    "bures_metric.inner",
    "bures_metric.rows_per_block",
    "bures_metric.sq_tangent_norm",
    "bures_metric.to_euclidean",
    "conditional.conditional_velocity",
    "conditional.marginal_velocity",
    "conditional.premetric_velocity",
    "couplings.costs.outer_cost, chamfer",
    "couplings.costs.outer_cost, frechet",
    "couplings.costs.outer_cost, sliced",
    "couplings.costs.outer_cost, wasserstein",
    "couplings.costs.pairwise_chamfer_cost",
    "couplings.costs.pairwise_frechet",
    "couplings.costs.pairwise_sq_wasserstein2",
    "couplings.inner.couple, entropic",
    "couplings.inner.couple, exact",
    "couplings.inner.couple, sliced",
    "couplings.outer.match_clouds",
    "couplings.outer.match_minibatch",
    "measures.rescale",
    "measures.take",
    "metrics.distances.compare_families",
    "metrics.distances.host_families",
    "metrics.distances.pairwise_chamfer",
    "metrics.distances.pairwise_emd",
    "metrics.nearest_gaussians.nearest",
    "metrics.neighbours.nearest_clouds",
    "metrics.neighbours.one_nn_accuracy_emd",
    "metrics.statistics.coverage",
    "metrics.statistics.minimum_matching_distance",
    "metrics.statistics.one_nn_accuracy",
    "sources.gaussians.sample_empirical",
    "transport.emd.cost_matrix",
    "transport.emd.emd",
    "transport.emd.exact_cost",
    "transport.emd.frame_bounds",
    "transport.entropic.debiased_entropic_map",
    "transport.families.curve",
    "transport.families.even_family",
    "transport.families.independent_plan",
    "transport.families.membership_error",
    "transport.families.optimal_plan",
    "transport.families.random_coupling",
    "transport.families.sq_coupling_cost",
    "transport.families.sq_wow_distance",
    "transport.fields.coupling_loss",
    "transport.fields.inner",
    "transport.reference.free_support_barycenter",
    "transport.sliced.pairwise_sliced_cost",
)
"""Functions that take a plain tuple where a measure or a tangent vector is meant, or fail in another way."""


@pytest.mark.parametrize("name", [name for name in calls.CALLS if name not in (*FREE, *UNNAMED)])
def test_a_plain_tuple_is_no_measure(name):
    function, *data = calls.CALLS[name]
    spoiled, changed = first_changed(data, tuple, lambda part: hasattr(part, "_fields"))
    if changed:
        refused(function, spoiled, r"must be a [A-Z]\w+\(.*\); got a tuple")
