"""Point clouds: padding, checks."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm._array import array_namespace, to_host
from refwfm.clouds import (
    EVEN,
    alike,
    check_cloud,
    check_cloud_pair,
    even,
    grid_spacing,
    in_order,
    moments,
    pad,
    sizes,
    uniform,
    unpad,
)
from refwfm.measures import PointCloud, take
from refwfm.transport.exact import assignment
from refwfm.transport.linearized import align_to_reference
from refwfm.transport.plans import greedy_rounding
from refwfm.transport.sliced import sorted_permutations


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 9))
def test_unpad_undoes_pad(counts, d, more):
    clouds = [np.random.default_rng(n).standard_normal((n, d)) for n in counts]
    batch = pad(clouds, size=more)
    assert batch.points.shape == (len(counts), max([more, *counts]), d)
    np.testing.assert_array_equal(sizes(batch), counts)
    np.testing.assert_allclose(np.sum(batch.weights, axis=-1), 1.0)
    for before, after in zip(clouds, unpad(batch), strict=True):
        np.testing.assert_array_equal(after, before)


def test_pad_keeps_weights(rng):
    clouds, weights = [rng.normal(size=(n, 2)) for n in (2, 4)], [rng.dirichlet(np.ones(n)) for n in (2, 4)]
    batch = pad(clouds, weights=weights)
    np.testing.assert_array_equal(batch.weights[0], [*weights[0], 0.0, 0.0])
    np.testing.assert_array_equal(batch.weights[1], weights[1])


@pytest.mark.parametrize(
    ("clouds", "message"),
    [
        ([], "needs at least one cloud"),
        ([np.zeros((0, 2))], "cloud 0 must have shape"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], "cloud 1 .* the d of cloud 0"),
        ([np.zeros(3)], "cloud 0 must have shape"),
    ],
)
def test_pad_refuses(clouds, message):
    with pytest.raises(ValueError, match=message):
        pad(clouds)


def test_padding_is_cleared_whatever_it_held():
    cloud = PointCloud(np.array([[1.0], [np.nan], [np.inf]]), np.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(check_cloud(cloud).points, [[1.0], [0.0], [0.0]])
    np.testing.assert_array_equal(check_cloud(cloud, validate=False).points, [[1.0], [0.0], [0.0]])


def test_weights_are_renormalised_within_the_tolerance_only():
    cloud = PointCloud(np.zeros((2, 1)), np.array([0.5, 0.5 + 1e-7]))
    assert abs(check_cloud(cloud).weights.sum() - 1.0) < 1e-15
    with pytest.raises(ValueError, match=r"mine: weights .* sums from 1.00001 to 1.00001"):
        check_cloud(PointCloud(np.zeros((2, 1)), np.array([0.5, 0.5 + 1e-5])), "mine")


@pytest.mark.parametrize(
    ("points", "weights", "error", "message"),
    [
        (np.zeros((3, 2)), np.ones(2) / 2, ValueError, r"points \(3, 2\) and weights \(2,\)"),
        (np.zeros((0, 2)), np.zeros(0), ValueError, "at least one point"),
        (np.zeros((1, 0)), np.ones(1), ValueError, "one dimension"),
        (np.zeros((2, 1), int), np.ones(2, int), TypeError, "dtype float32 or float64; got int64"),
        (np.zeros((1, 1), np.float32), np.ones(1), TypeError, "points float32, .*weights float64"),
        (np.full((1, 1), np.nan), np.ones(1), ValueError, "finite where their weight is positive"),
        (np.zeros((2, 1)), np.array([1.5, -0.5]), ValueError, "non-negative"),
        (np.zeros((2, 1)), np.array([np.nan, 1.0]), ValueError, "non-negative"),
    ],
)
def test_check_refuses(points, weights, error, message):
    with pytest.raises(error, match=message):
        check_cloud(PointCloud(points, weights))


def test_pairs_must_live_in_one_space():
    x = uniform(np.zeros((2, 4, 3)))
    assert check_cloud_pair(x, uniform(np.zeros((5, 3))))[1].points.shape == (5, 3)
    with pytest.raises(ValueError, match="d = 3 and 2"):
        check_cloud_pair(x, uniform(np.zeros((5, 2))))
    with pytest.raises(ValueError, match="must broadcast"):
        check_cloud_pair(x, uniform(np.zeros((3, 5, 3))))
    with pytest.raises(TypeError, match="same dtype"):
        check_cloud_pair(x, uniform(np.zeros((5, 3), np.float32)))


def test_every_library(library, rng):
    for shape in library.batches:
        x = PointCloud(rng.normal(size=(*shape, 5, 2)), np.broadcast_to([0.25] * 4 + [0.0], (*shape, 5)))
        library.check(check_cloud, x, ulps=4)
        library.check(lambda x: moments(*x), x, ulps=50)
        library.check(lambda x: uniform(x.points), x, ulps=1)
    family = pad([rng.normal(size=(n, 2)) for n in (1, 3, 2)])
    library.check(lambda x: take(x, np.array([2, 0])), family, ulps=0)


# Equal weights


@pytest.mark.parametrize("n", [1, 3, 7, 1000, 4099])
def test_shares_of_any_number_of_points_are_even(n, library):
    if library.name == "jax" and n != 4099:
        pytest.skip("compiles for every shape: tried on the sum that rounds most")
    share = np.full(n, 1.0 / n)
    for weights in (share, share / np.sum(share), np.concatenate([share, np.zeros(3)])):
        given = library.array(weights)
        assert bool(even(given))
        assert in_order(*(check_cloud(uniform(library.array(np.zeros((n, 1))))),) * 2)
        assert bool(even(given / array_namespace(given).sum(given)))  # in its own precision


def test_even_is_decided_for_each_cloud_and_near_the_tolerance(library):
    tolerance = EVEN * library.eps
    apart = np.array([[1, 1], [1, 1 - 0.5 * tolerance], [1, 1 - 2 * tolerance], [0, 1], [0, 0]])
    np.testing.assert_array_equal(to_host(even(library.array(apart))), [True, True, False, True, True])


def test_even_is_never_true_of_nan_or_of_negative_weights(library):
    bad = np.array([[0.5, np.nan], [0.5, -0.5], [-0.5, -0.5]])
    np.testing.assert_array_equal(to_host(even(library.array(bad))), [False, False, False])


def test_all_parts_of_a_step_agree_on_what_is_even(library):
    """On either side of the tolerance: assignment, rounding, alignment, sliced plans, inner plans."""
    points = library.array(np.arange(8.0).reshape(4, 2))
    logs = library.array(np.zeros((4, 4)))
    theta = library.array(np.eye(2))
    for apart, wanted in ((0.5, True), (2.0, False)):
        weights = np.full(4, 0.25)
        weights[1:3] *= 1.0 + np.array([1, -1]) * 0.5 * apart * EVEN * library.eps
        x = PointCloud(points, library.array(weights))
        needs_even = (
            lambda x=x: assignment(logs, x.weights, x.weights),
            lambda x=x: greedy_rounding(logs, x.weights, x.weights),
            lambda x=x: align_to_reference(points, x),
            lambda x=x: sorted_permutations(x, x, theta),
        )
        assert alike(x, x) == in_order(x, x) == wanted
        for function in needs_even:
            with (
                contextlib.nullcontext()
                if wanted
                else pytest.raises(ValueError, match=r"uniform|equal weights")
            ):
                function()


def test_alike_needs_padding_in_the_same_rows():
    x = PointCloud(np.zeros((1, 3, 2)), np.array([[0.5, 0.5, 0.0]]))
    y = PointCloud(np.zeros((1, 3, 2)), np.array([[0.5, 0.0, 0.5]]))
    assert alike(x, x)
    assert not alike(x, y)
    assert not in_order(x, x)


# What may not vanish


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_covariances_do_not_mind_where_a_cloud_is(library, rng, offset):
    """The mean of points far from the origin is rounded by more than they are apart."""
    offset = min(offset, 1e6) if library.dtype == "float32" else offset
    points = (rng.standard_normal((50, 2)) + offset).astype(library.dtype)
    exact = np.cov(points.astype(np.longdouble).astype(np.float64).T - offset, bias=True)
    found = to_host(moments(library.array(points)).cov).astype(np.float64)
    np.testing.assert_allclose(found, exact, atol=50 * library.eps)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_moments_scale_with_the_points(rng, scale):
    points = rng.standard_normal((6, 2))
    there, here = moments(scale * points), moments(points)
    np.testing.assert_allclose(there.mean / scale, here.mean, rtol=1e-14)
    np.testing.assert_allclose(there.cov / scale / scale, here.cov, rtol=1e-13)


def test_a_row_of_weight_nan_is_no_padding():
    cloud = PointCloud(np.ones((1, 2, 1)), np.asarray([[np.nan, 0.0]]))
    assert sizes(cloud).tolist() == [1]
    assert [rows.shape for rows in unpad(cloud)] == [(1, 1)]


@pytest.mark.parametrize("weights", [[[0.5]], [[0.5, 0.5], [1.0]], [[0.5, 0.5, 0.0]]])
def test_weights_to_pad_fit_their_clouds(weights):
    with pytest.raises(ValueError, match="weights must hold one array"):
        pad([np.zeros((2, 1))], weights=weights)


# Grids


@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-3, 1e3),
    st.floats(-1e3, 1e3),
    st.sampled_from([1.0, 1e-150, 1e150]),
)
def test_the_grid_of_points_is_found_in_any_unit_and_at_any_place(seed, spacing, origin, unit):
    rng = np.random.default_rng(seed)
    nodes = np.concatenate([[0, 1, 3], rng.integers(-9, 9, 12)])
    values = rng.permutation(unit * spacing * (nodes + origin))
    assert grid_spacing(values) == pytest.approx(unit * spacing, rel=1e-9)
    assert grid_spacing(np.concatenate([values, unit * spacing * (origin + rng.uniform(0.1, 0.4, 3))])) == 0.0


def test_what_is_on_no_grid():
    rng = np.random.default_rng(0)
    for values in (
        [],
        [1.0],
        [1.0, 2.0, 2.0],
        np.full(9, 3.0),
        rng.standard_normal(50),
        [-1e308, 1e307, 1e308],
    ):
        assert grid_spacing(np.asarray(values)) == 0.0
    assert grid_spacing(np.asarray([0.0, 0.1 + 0.2, 0.3, 0.6, 0.9])) == pytest.approx(0.3)  # 0.1 + 0.2 > 0.3
    assert grid_spacing(np.asarray([7, 8, 10])) == pytest.approx(1.0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="values must be finite; got NaN or infinity"):
            grid_spacing(np.asarray([0.0, 1.0, bad]))
