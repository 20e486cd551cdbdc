"""Derivatives that are given, and those that there are none of."""

import numpy as np
import pytest

from refwfm._array import to_host
from refwfm._derivatives import detached, is_differentiated, with_pullback, without_derivative


def cubed(x):
    """The square, with the derivative of the cube: to be told from the library's own."""
    return with_pullback(lambda x: x**2, lambda d, x: (3.0 * d * x**2,), x)


def test_torch_takes_the_given_pullback():
    torch = pytest.importorskip("torch")
    x = torch.asarray([1.0, 2.0], requires_grad=True)
    value = cubed(x)
    np.testing.assert_array_equal(value.detach(), [1.0, 4.0])
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    np.testing.assert_array_equal(gradient.detach(), [3.0, 12.0])
    with pytest.raises(RuntimeError, match="a first derivative has no derivative"):
        gradient.sum().backward()
    with torch.no_grad():
        assert not cubed(x).requires_grad


def test_jax_takes_the_given_pullback():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray([1.0, 2.0])
    np.testing.assert_array_equal(jax.grad(lambda x: cubed(x).sum())(x), [3.0, 12.0])


def test_the_value_is_that_of_the_function(library):
    assert library.owns(cubed(library.array([1.0, 2.0])))
    np.testing.assert_array_equal(to_host(cubed(library.array([1.0, 2.0]))), [1.0, 4.0])


def test_what_has_no_derivative_says_so():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    x = torch.ones(2, requires_grad=True)
    value = without_derivative(torch.ones(2), "the plan", x)
    with pytest.raises(RuntimeError, match="the plan has no derivative"):
        value.sum().backward()
    assert not without_derivative(torch.ones(2), "the plan", x.detach()).requires_grad
    with pytest.raises(TypeError, match="JAX can neither trace nor differentiate"):
        jax.grad(lambda x: to_host(x).sum())(jax.numpy.ones(2))


def test_constants_are_detached():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    x = torch.ones(2, requires_grad=True)
    assert is_differentiated(x)
    assert not is_differentiated(detached(x), np.ones(2))
    with torch.no_grad():
        assert not is_differentiated(x)
    gradient = jax.grad(lambda x: (x * detached(x)).sum())(jax.numpy.full(2, 3.0))
    np.testing.assert_array_equal(gradient, [3.0, 3.0])
