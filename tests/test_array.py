"""Helpers on the array API."""

import numpy as np
import pytest

from refwfm import _array
from refwfm._array import to_host


def test_symmetrize_is_the_symmetric_part(rng):
    x = rng.standard_normal((2, 3, 3))
    result = _array.symmetrize(x)
    np.testing.assert_array_equal(result, result.mT)
    np.testing.assert_allclose(result + (x - x.mT) / 2, x, atol=1e-15)


def test_norms_against_numpy(rng):
    x = rng.standard_normal((4, 3, 2))
    np.testing.assert_allclose(_array.sq_norm(x), np.linalg.norm(x, axis=-1) ** 2, rtol=1e-14)
    np.testing.assert_allclose(_array.sq_frobenius(x), np.linalg.norm(x, axis=(-2, -1)) ** 2, rtol=1e-14)
    v = rng.standard_normal((4, 2))
    np.testing.assert_allclose(_array.matvec(x, v), np.einsum("bij,bj->bi", x, v), rtol=1e-13)


def test_expand_appends_axes():
    t = np.arange(6.0).reshape(2, 3)
    assert _array.expand(t, 2).shape == (2, 3, 1, 1)
    assert _array.expand(np.asarray(0.5), 1).shape == (1,)
    for number in (1, 0.5, np.float64(0.5)):
        assert type(_array.expand(number, 2)) is float


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_all_finite(library, bad):
    assert _array.all_finite(library.array([1.0, 2.0]))
    assert not _array.all_finite(library.array([1.0, bad]))


def test_new_arrays_are_like_the_given(library, rng):
    x = library.array(rng.standard_normal(2))
    assert library.owns(_array.eye(3, x))
    assert library.owns(_array.asarray_like(np.arange(3), x))
    assert _array.machine_eps(x) == library.eps
    assert type(_array.machine_eps(x)) is float


def test_to_host_keeps_values_and_dtype(library, rng):
    values = rng.standard_normal((2, 3)).astype(library.dtype)
    host = _array.to_host(library.array(values))
    assert type(host) is np.ndarray
    assert host.dtype == values.dtype
    np.testing.assert_array_equal(host, values)


def test_to_host_of_a_tensor_with_a_gradient():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(_array.to_host(torch.ones(2, requires_grad=True)), [1.0, 1.0])


def test_libraries_agree(library, rng):
    for shape in library.batches:
        x, v = rng.standard_normal((*shape, 3, 3)), rng.standard_normal((*shape, 3))
        for function in (_array.transpose, _array.symmetrize, _array.sq_norm, _array.sq_frobenius):
            library.check(function, x, ulps=20)  # sums of nine squares
        library.check(_array.matvec, x, v, ulps=20)


def test_gathers_are_indexing_with_axes_that_broadcast(library, rng):
    table, rows = rng.standard_normal((2, 1, 5)), rng.standard_normal((2, 1, 5, 3))
    index = rng.integers(5, size=(4, 7))
    found = to_host(_array.take_along(library.array(table), library.array(index)))
    assert found.shape == (2, 4, 7)
    np.testing.assert_array_equal(found[1, 2], to_host(library.array(table))[1, 0, index[2]])
    for where in (index, library.array(index)):  # on the host, or where the vectors are
        found = to_host(_array.take_rows(library.array(rows), where))
        assert found.shape == (2, 4, 7, 3)
        np.testing.assert_array_equal(found[1, 2], to_host(library.array(rows))[1, 0, index[2]])
    assert _array.take_rows(library.array(rows[:0]), index).shape == (0, 4, 7, 3)
    assert _array.take_rows(library.array(rows[0, 0]), index[0]).shape == (7, 3)


def test_expanded_squares_are_squared_distances(library, rng):
    x, y = rng.standard_normal((2, 1, 4, 3)), rng.standard_normal((5, 6, 3))
    library.check(_array.expanded_sq_distance, x, y, ulps=100)
    truth = np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1)
    np.testing.assert_allclose(_array.expanded_sq_distance(x, y), truth, atol=1e-13)


@pytest.mark.parametrize("n", [0, 1, 64, 65, 1000])
def test_running_sums_are_cumulative_sums(library, rng, n):
    library.check(_array.running_sum, rng.standard_normal((2, 3, n)), ulps=50)
    x = rng.standard_normal((2, n))
    np.testing.assert_allclose(_array.running_sum(x, 3), np.cumsum(x, axis=-1), atol=1e-12)  # runs of runs


def test_running_sums_of_many_numbers_keep_their_digits():
    many = np.full(5000, 1 / 5000, np.float32)
    truth = np.cumsum(many.astype(np.float64))
    assert np.max(np.abs(_array.running_sum(many) - truth)) < 2e-6
    assert np.max(np.abs(np.cumsum(many) - truth)) > 5e-5  # negative control


# Distances that no other pair spoils


@pytest.mark.parametrize("d", [1, 3, 7])
def test_squared_distances_are_right_to_rounding_of_themselves(library, rng, d):
    x, y = rng.standard_normal((2, 1, 5, d)), rng.standard_normal((3, 6, d))
    y[:, 4:] += 1e6
    y[0, 5] = x[0, 0, 3]  # a distance of 0
    x, y = (to_host(library.array(v)).astype(np.float64) for v in (x, y))
    truth = np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1)
    found = _array.sq_distances(library.array(x), library.array(y))
    assert library.owns(found)
    np.testing.assert_allclose(
        to_host(found), truth, rtol=50 * library.eps
    )  # 1 / HARMLESS roundings of norms
    if library.dtype == "float32":
        far_x, far_y = (library.array(v + 1e3) for v in (x, y))
        assert np.any(np.abs(to_host(_array.expanded_sq_distance(far_x, far_y)) - truth) > 0.1 * truth)


@pytest.mark.parametrize("d", [2, 9])
def test_squared_distances_keep_what_is_not_finite_to_itself(d):
    x, y = np.zeros((3, d)), np.ones((2, d))
    x[1, 0] = np.nan
    found = _array.sq_distances(x, y)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], float(d))


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("d", [2, 9])
def test_squared_distances_scale(rng, scale, d):
    x, y = rng.standard_normal((40, d)), rng.standard_normal((30, d))
    scaled = _array.sq_distances(scale * x, scale * y)
    np.testing.assert_allclose(scaled / scale**2, _array.sq_distances(x, y), rtol=1e-13)


def test_squared_distances_of_blocks_are_those_of_the_whole(rng, monkeypatch):
    for d in (3, 6):
        x, y = rng.standard_normal((2, 9, d)), rng.standard_normal((7, d))
        y[3] = 1e9
        whole = _array.sq_distances(x, y)
        monkeypatch.setattr(_array, "CACHED", 20)
        np.testing.assert_array_equal(_array.sq_distances(x, y), whole)


def test_nonnegative_keeps_nan(library):
    found = to_host(_array.nonnegative(library.array([-1e-9, np.nan, 2.0])))
    np.testing.assert_array_equal(found, to_host(library.array([0.0, np.nan, 2.0])))


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": [1.0]}, TypeError, "x must be an array, of NumPy, torch, CuPy or JAX; got a list"),
        ({"x": np.ones(1), "y": None}, TypeError, "y must be an array.* got None"),
        ({"x": np.ones(1, int)}, TypeError, "x must have the dtype float32 or float64; got int64"),
        ({"x": np.ones(1, np.float16)}, TypeError, "got float16"),
        ({"x": np.ones(1, complex)}, TypeError, "got complex128"),
        ({"x": np.ones(1), "y": np.ones(1, np.float32)}, TypeError, "same dtype; got x float64, y float32"),
    ],
)
def test_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        _array.check_floating(**arguments)


def test_arguments_of_two_libraries_or_devices_are_refused():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="one library; got x of numpy, y of array_api"):
        _array.check_floating(x=np.ones(1), y=strict.ones(1))
    there = strict.ones(1, device=strict.Device("device1"))
    with pytest.raises(ValueError, match=r"one device; got x on .*CPU_DEVICE.*, y on .*device1"):
        _array.check_floating(x=strict.ones(1), y=there)
    np.testing.assert_array_equal(to_host(there), [1.0])


def test_integers_may_be_numpys():
    assert type(_array.check_integer(np.int64(4), "n", low=1)) is int
    for bad, error in ((0, ValueError), (True, ValueError), (2.0, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="n must be an integer"):
            _array.check_integer(bad, "n", low=1)


def test_traced_arrays_have_no_device_of_their_own():
    jax = pytest.importorskip("jax")
    one = jax.numpy.ones(2)
    gradient = jax.grad(lambda x: _array.check_floating(x=x, y=one).sum(x * one))(one)
    assert gradient.tolist() == [1.0, 1.0]
