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
