"""Layers as pure functions that return their value and their pullback.

``y, pullback = layer(params, x)`` computes the value; ``d_params, d_x = pullback(d_y)`` multiplies the
transposed Jacobian with the gradient ``d_y`` of a loss with respect to ``y``. A layer without parameters
is ``y, pullback = layer(x)`` with ``d_x = pullback(d_y)``. Chained in reverse, pullbacks are the whole of
backpropagation: no tape, no library behind it, and every step can be checked by finite differences.

Parameters are dictionaries of arrays; gradients have the same keys and shapes. Leading axes are batch
axes, over which the gradients of parameters are summed.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    on_device_of,
    transpose,
)

if TYPE_CHECKING:
    from numpy.random import Generator

Params: TypeAlias = dict[str, Any]
"""Arrays by name, possibly nested: ``{"weight": array, "bias": array}``."""
Pullback: TypeAlias = Callable[[Array], Any]
Layer: TypeAlias = Callable[[Params, Array], tuple[Array, Pullback]]


def init_dense(
    rng: "Generator", n_in: int, n_out: int, *, like: Array, scale: float = math.sqrt(2.0)
) -> Params:
    """Draw the parameters of ``dense``: weights N(0, scale² / n_in), biases zero.

    Equation: WFM-AppE1-layers.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drawn from in float64 on the host, so that every library starts from the same numbers.
    n_in, n_out : int
    like : array
        Fixes library, dtype and device.
    scale : float
        ``sqrt(2)`` keeps the variance through a ReLU; 0 makes the layer zero and draws nothing.

    Returns
    -------
    dict
        ``weight`` (n_in, n_out) and ``bias`` (n_out,).
    """
    xp = array_namespace(like)
    shape = (n_in, n_out)
    if scale == 0.0:
        weight = xp.zeros(shape, dtype=like.dtype, device=device(like))
    else:
        weight = asarray_like(rng.standard_normal(shape) * (scale / math.sqrt(n_in)), like)
    return {"weight": weight, "bias": xp.zeros(n_out, dtype=like.dtype, device=device(like))}


def dense(params: Params, x: Array, /) -> tuple[Array, Pullback]:
    """Affine map ``y = x W + b``.

    Equation: WFM-AppE1-layers.

    Parameters
    ----------
    params : dict
        ``weight`` (n_in, n_out) and ``bias`` (n_out,).
    x : array, shape (..., n_in)

    Returns
    -------
    y : array, shape (..., n_out)
    pullback : function
        ``d_y -> (d_params, d_x)``.

    Examples
    --------
    >>> y, pullback = dense({"weight": np.asarray([[2.0]]), "bias": np.ones(1)}, np.full(1, 3.0))
    >>> d_params, d_x = pullback(np.ones(1))
    >>> y.tolist(), d_params["weight"].tolist(), d_x.tolist()
    ([7.0], [[3.0]], [2.0])
    """
    check_floating(x=x, **params)
    weight = params["weight"]  # stored (n_in, n_out): none of the three products needs a transposed copy
    n_in, n_out = weight.shape

    def pullback(d_y: Array) -> tuple[Params, Array]:
        xp = array_namespace(d_y)
        rows_x, rows_y = xp.reshape(x, (-1, n_in)), xp.reshape(d_y, (-1, n_out))
        d_params = {"weight": transpose(rows_x) @ rows_y, "bias": xp.sum(rows_y, axis=0)}
        return d_params, d_y @ transpose(weight)

    return x @ weight + params["bias"], pullback


def init_layer_norm(n: int, *, like: Array) -> Params:
    """Return the parameters of ``layer_norm`` before training: ``scale`` ones (n,), ``shift`` zeros (n,)."""
    xp = array_namespace(like)
    options = {"dtype": like.dtype, "device": device(like)}
    return {"scale": xp.ones(n, **options), "shift": xp.zeros(n, **options)}


def layer_norm(params: Params, x: Array, /, *, eps: float = 1e-5) -> tuple[Array, Pullback]:
    """Layer normalisation ``y = scale (x - mean) / sqrt(var + eps) + shift`` over the last axis.

    Equation: WFM-AppE1-layers.

    Parameters
    ----------
    params : dict
        ``scale`` (n,) and ``shift`` (n,).
    x : array, shape (..., n)
    eps : float
        Keeps a constant row finite; in the units of ``x`` squared.

    Returns
    -------
    y : array, shape (..., n)
    pullback : function
        ``d_y -> (d_params, d_x)``.

    Examples
    --------
    >>> params = init_layer_norm(2, like=np.zeros(0))
    >>> layer_norm(params, np.asarray([10.0, 30.0]))[0].round(4).tolist()
    [-1.0, 1.0]
    """
    xp = check_floating(x=x, **params)
    scale = params["scale"]
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    inverse_std = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    unit = centred * inverse_std

    def pullback(d_y: Array) -> tuple[Params, Array]:
        batch = tuple(range(d_y.ndim - 1))
        d_params = {"scale": xp.sum(d_y * unit, axis=batch), "shift": xp.sum(d_y, axis=batch)}
        # The normalised row cannot move along the constants nor along itself: both parts are taken out.
        d_unit = d_y * scale
        along = xp.mean(d_unit * unit, axis=-1, keepdims=True)
        return d_params, inverse_std * (d_unit - xp.mean(d_unit, axis=-1, keepdims=True) - unit * along)

    return unit * scale + params["shift"], pullback


def relu(x: Array, /) -> tuple[Array, Pullback]:
    """Rectifier ``max(x, 0)``, elementwise, with slope 0 at 0; ``pullback: d_y -> d_x``.

    Equation: WFM-AppE1-layers.

    Examples
    --------
    >>> y, pullback = relu(np.asarray([-2.0, 3.0]))
    >>> y.tolist(), pullback(np.ones(2)).tolist()
    ([0.0, 3.0], [0.0, 1.0])
    """
    xp = check_floating(x=x)
    y = xp.clip(x, min=0.0)
    # Testing the value, not x, lets x be freed; NaN in x stays NaN in y.
    return y, lambda d_y: d_y * xp.astype(y > 0, y.dtype)


def silu(x: Array, /) -> tuple[Array, Pullback]:
    """Sigmoid-weighted unit ``x σ(x)``, elementwise; ``pullback: d_y -> d_x``.

    Equation: WFM-AppE1-layers.

    Examples
    --------
    >>> silu(np.asarray([0.0, 100.0]))[0].tolist()
    [0.0, 100.0]
    """
    xp = check_floating(x=x)
    sigmoid = 0.5 * (1.0 + xp.tanh(0.5 * x))  # 1 / (1 + exp(-x)) overflows for large -x
    y = x * sigmoid
    return y, lambda d_y: d_y * (sigmoid + y * (1.0 - sigmoid))


def residual(block: Layer, /) -> Layer:
    """Skip connection: the layer ``(params, x) -> x + block(params, x)``, with its pullback.

    Equation: WFM-AppE1-layers.

    Examples
    --------
    >>> params = {"weight": np.asarray([[2.0]]), "bias": np.ones(1)}
    >>> residual(dense)(params, np.full(1, 3.0))[0].tolist()  # 3 + 7
    [10.0]
    """

    def layer(params: Params, x: Array, /) -> tuple[Array, Pullback]:
        y, block_pullback = block(params, x)

        def pullback(d_y: Array) -> tuple[Params, Array]:
            d_params, d_x = block_pullback(d_y)
            return d_params, d_y + d_x

        return x + y, pullback

    return layer


def fourier_features(t: Array, n_frequencies: int, /) -> tuple[Array, Pullback]:
    """Fourier features of time ``cos(π k t), sin(π k t)``, k = 1 ... F.

    Equation: WFM-AppE1-layers. The paper leaves the frequencies open. Half periods are among them, because
    with whole periods only t = 0 and t = 1 would be the same point.

    Parameters
    ----------
    t : array, shape (...)
    n_frequencies : int
        F; 0 gives no features.

    Returns
    -------
    y : array, shape (..., 2 F), the cosines first
    pullback : function
        ``d_y -> d_t``, shape (...).

    Examples
    --------
    >>> fourier_features(np.asarray([0.5]), 2)[0].round(9).tolist()  # cos π/2, cos π, sin π/2, sin π
    [[0.0, -1.0, 1.0, 0.0]]
    """
    xp = check_floating(t=t)
    n_frequencies = check_integer(n_frequencies, "n_frequencies", low=0)
    frequencies = math.pi * xp.arange(1, n_frequencies + 1, dtype=t.dtype, device=device(t))
    angle = t[..., None] * frequencies
    cos, sin = xp.cos(angle), xp.sin(angle)

    def pullback(d_y: Array) -> Array:
        d_cos, d_sin = d_y[..., :n_frequencies], d_y[..., n_frequencies:]
        return xp.sum((d_sin * cos - d_cos * sin) * frequencies, axis=-1)

    return xp.concat([cos, sin], axis=-1), pullback


def init_label_embedding(rng: "Generator", n_labels: int, dim: int, *, like: Array) -> Params:
    """Draw the parameters of ``label_embedding``: ``table`` (n_labels, dim), standard normal."""
    return {"table": asarray_like(rng.standard_normal((n_labels, dim)), like)}


def check_labels(labels: Array, n_labels: int, /) -> None:
    """Raise unless ``labels`` are integers in 0 ... n_labels - 1 (waits for the device).

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If one is out of range: some libraries wrap negative indices, and some crash the device.
    """
    xp = array_namespace(labels)
    if not xp.isdtype(labels.dtype, "integral"):
        raise TypeError(f"labels must be integers; got dtype {labels.dtype}")
    if bool(xp.any((labels < 0) | (labels >= n_labels))):
        raise ValueError(
            f"labels must lie in 0 ... {n_labels - 1}; got {int(xp.min(labels))} ... {int(xp.max(labels))}"
        )


def label_embedding(params: Params, labels: Array, /) -> tuple[Array, Pullback]:
    """Look up one learned vector per label.

    Equation: WFM-AppE1-layers.

    Parameters
    ----------
    params : dict
        ``table`` (n_labels, dim).
    labels : array of integers, shape (...)
        In range: see ``check_labels``.

    Returns
    -------
    y : array, shape (..., dim)
    pullback : function
        ``d_y -> (d_params, None)``: labels have no gradient. Examples that share a label add up.

    Examples
    --------
    >>> params = {"table": np.asarray([[1.0, 2.0], [3.0, 4.0]])}
    >>> label_embedding(params, np.asarray([1, 1]))[0].tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    """
    table = params["table"]
    xp = check_floating(table=table)
    n_labels, dim = table.shape
    flat = xp.reshape(labels, (-1,))

    def pullback(d_y: Array) -> tuple[Params, None]:
        one_hot = flat[:, None] == xp.arange(n_labels, dtype=flat.dtype, device=device(flat))
        return {"table": transpose(xp.astype(one_hot, d_y.dtype)) @ xp.reshape(d_y, (-1, dim))}, None

    return xp.reshape(xp.take(table, flat, axis=0), (*labels.shape, dim)), pullback


def vech(matrix: Array, /) -> tuple[Array, Pullback]:
    """Lower-triangular entries of matrices, row by row: (1,1), (2,1), (2,2), (3,1), ...

    Equation: WFM-AppE1-vech.

    Parameters
    ----------
    matrix : array, shape (..., d, d)
        The entries above the diagonal are not read.

    Returns
    -------
    y : array, shape (..., d (d + 1) / 2)
    pullback : function
        ``d_y -> d_matrix``, lower triangular.

    Examples
    --------
    >>> import numpy as np
    >>> vech(np.asarray([[1.0, 2.0], [2.0, 5.0]]))[0].tolist()
    [1.0, 2.0, 5.0]
    """
    xp = check_floating(matrix=matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix must have shape (..., d, d); got {tuple(matrix.shape)}")
    d = matrix.shape[-1]
    lower = on_device_of(matrix, [i * d + j for i in range(d) for j in range(i + 1)])
    y = xp.take(xp.reshape(matrix, (*matrix.shape[:-2], d * d)), lower, axis=-1)
    return y, lambda d_y: xp.tril(unvech(d_y, d)[0])


def unvech(vector: Array, d: int, /) -> tuple[Array, Pullback]:
    """Symmetric matrices from their lower-triangular entries: the inverse of ``vech``.

    Equation: WFM-AppE1-vech.

    Parameters
    ----------
    vector : array, shape (..., d (d + 1) / 2)
    d : int

    Returns
    -------
    y : array, shape (..., d, d), exactly symmetric
    pullback : function
        ``d_y -> d_vector``. An entry off the diagonal stands twice in the matrix and collects both.

    Raises
    ------
    ValueError
        If the vector's length is not d (d + 1) / 2.

    Examples
    --------
    >>> unvech(np.asarray([1.0, 2.0, 5.0]), 2)[0].tolist()
    [[1.0, 2.0], [2.0, 5.0]]
    """
    check_floating(vector=vector)
    if vector.ndim < 1 or vector.shape[-1] != d * (d + 1) // 2:
        raise ValueError(
            f"vector must have a last axis of length d (d + 1) / 2 = {d * (d + 1) // 2} for d = {d}; "
            f"got shape {tuple(vector.shape)}"
        )
    xp = array_namespace(vector)
    entry = [max(i, j) * (max(i, j) + 1) // 2 + min(i, j) for i in range(d) for j in range(d)]
    flat = xp.take(vector, on_device_of(vector, entry), axis=-1)

    def pullback(d_y: Array) -> Array:
        return vech(d_y + xp.tril(transpose(d_y), k=-1))[0]

    return xp.reshape(flat, (*vector.shape[:-1], d, d)), pullback
