"""Derivatives of functions whose own operations have none, or a wrong one, where a library differentiates.

On arrays that nobody differentiates, everything here is the value itself. This module alone knows how torch
and JAX differentiate.
"""

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from refwfm._array import Array, array_namespace, off_cpu


def with_pullback(function: Callable[..., Array], pullback: Callable[..., Any], /, *arrays: Array) -> Array:
    """``function(*arrays)``, with the derivative that ``pullback`` gives.

    For a solver on the host, or a root at repeated eigenvalues. Once differentiable: a second derivative
    raises.

    Parameters
    ----------
    function : callable
        ``function(*arrays)``: one array.
    pullback : callable
        ``pullback(d_value, *arrays)``: the gradient for each of the arrays, in a tuple. One that does not
        always exist, or takes long, may be a function without arguments, called if somebody asks.

    Examples
    --------
    >>> float(with_pullback(np.sum, lambda d, x: (d * np.ones_like(x),), np.ones(3)))  # nobody differentiates
    3.0
    """
    if not is_differentiated(*arrays):
        return function(*arrays)
    for differentiated, wrap in ((_needs_gradient, _torch_function), (is_traced, _jax_function)):
        wanted = [i for i, x in enumerate(arrays) if differentiated(x)]
        if wanted:
            return wrap(*_of_some(function, pullback, arrays, wanted))(*(arrays[i] for i in wanted))
    return function(*arrays)


def _of_some(
    function: Callable[..., Array], pullback: Callable[..., Any], arrays: tuple[Array, ...], wanted: list[int]
) -> tuple[Callable[..., Array], Callable[..., Any]]:
    """Function and pullback of the wanted arguments alone, with the other ones as they are."""

    def all_of(some: tuple[Array, ...]) -> list[Array]:
        given = dict(zip(wanted, some, strict=True))
        return [given.get(i, x) for i, x in enumerate(arrays)]

    def pull(d_value: Array, *some: Array) -> Any:
        gradients = pullback(d_value, *all_of(some))
        return tuple(gradients[i]() if callable(gradients[i]) else gradients[i] for i in wanted)

    return lambda *some: function(*all_of(some)), pull


def without_derivative(value: Array, name: str, /, *arrays: Array) -> Array:
    """``value``, computed from ``arrays``, whose derivative raises, instead of being 0 in silence, or NaN.

    ``name`` is what the error calls the value.

    Examples
    --------
    >>> without_derivative(np.ones(2), "the plan", np.ones(3)).tolist()
    [1.0, 1.0]
    """

    def refuse(*_: Array) -> Any:
        raise RuntimeError(f"{name} has no derivative; detach the tensors that it is computed from")

    if any(_needs_gradient(x) for x in arrays):
        return _torch_function(lambda *_: value.detach().clone(), refuse)(*arrays)
    if is_traced(value):
        return _jax_function(lambda value: value, refuse)(value)
    return value


def refuse_gradient(name: str, /, *arrays: Array) -> None:
    """Raise where somebody differentiates one of the arrays that ``name`` copies to the host.

    Examples
    --------
    >>> refuse_gradient("pairwise_emd", np.ones(2))  # nobody does
    """
    if any(_needs_gradient(x) for x in arrays):
        raise TypeError(f"{name} makes a NumPy array, which has no gradient: detach its tensors")


def is_known(condition: Array, /) -> bool:
    """Whether a condition holds everywhere; False where a device would be waited for, or JAX traces.

    Equation: none. Says where work may be left out.

    Examples
    --------
    >>> is_known(np.ones(2) > 0)
    True
    """
    return not (is_traced(condition) or off_cpu(condition)) and bool(
        array_namespace(condition).all(condition)
    )


def detached(x: Array, /) -> Array:
    """``x``, as a constant to whoever differentiates.

    Examples
    --------
    >>> detached(np.ones(2)).tolist()
    [1.0, 1.0]
    """
    if array_api_compat.is_torch_array(x):
        return x.detach()
    if is_traced(x):
        import jax

        return jax.lax.stop_gradient(x)
    return x


def is_differentiated(*arrays: Array) -> bool:
    """Whether somebody will differentiate what is computed from these arrays.

    Examples
    --------
    >>> is_differentiated(np.ones(2))
    False
    """
    return any(_needs_gradient(x) or is_traced(x) for x in arrays)


def _needs_gradient(x: Array) -> bool:
    if isinstance(x, np.ndarray) or not array_api_compat.is_torch_array(x) or not x.requires_grad:
        return False
    import torch

    return torch.is_grad_enabled()


def is_traced(x: Array, /) -> bool:
    """Whether JAX follows the array, in ``jax.grad`` or ``jax.jit``.

    Equation: none. Says where values may not be looked at.

    Examples
    --------
    >>> is_traced(np.ones(2))
    False
    """
    if isinstance(x, np.ndarray) or array_api_compat.is_torch_array(x):  # at once
        return False
    if not array_api_compat.is_jax_array(x):
        return False
    import jax

    return isinstance(x, jax.core.Tracer)


def _torch_function(function: Callable[..., Array], pullback: Callable[..., Any]) -> Callable[..., Array]:
    import torch

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *arrays: Array) -> Array:
            context.save_for_backward(*arrays)
            return function(*(x.detach() for x in arrays))

        @staticmethod
        def backward(context: Any, d_value: Array) -> Any:
            arrays = context.saved_tensors
            gradients = pullback(d_value.detach(), *(x.detach() for x in arrays))
            return tuple(without_derivative(g, "a first derivative", d_value, *arrays) for g in gradients)

    apply: Callable[..., Array] = Function.apply
    return apply


def _jax_function(function: Callable[..., Array], pullback: Callable[..., Any]) -> Callable[..., Array]:
    import jax

    differentiable = jax.custom_vjp(function)
    differentiable.defvjp(
        lambda *arrays: (function(*arrays), arrays), lambda arrays, d_value: tuple(pullback(d_value, *arrays))
    )
    called: Callable[..., Array] = differentiable
    return called
