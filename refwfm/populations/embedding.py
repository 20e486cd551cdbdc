"""Embedding of a population: a graph network over its particles, a summary of them, divided by its norm.

The order of the particles has no influence, padding none, and graphs with fewer edges than k are no special
case. Without edges this is a perceptron for each particle and their mean: Deep Sets.

The paper summarises by the mean. The other summaries are ours, and so are the norm of an embedding that is 0,
and of one that overflows.

References
----------
Atanackovic et al., "Meta Flow Matching", 2024. Kipf and Welling, "Semi-supervised classification with graph
convolutional networks", 2017. Zaheer et al., "Deep Sets", 2017.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from refwfm._array import Array, array_namespace, asarray_like, check_floating, check_integer, sq_norm
from refwfm.networks._order import in_order
from refwfm.networks.layers import Params, Pullback, dense, init_dense, relu
from refwfm.populations.graphs import averaging, check_mask

if TYPE_CHECKING:
    from numpy.random import Generator

Pooled = tuple[Array, Pullback]


class Told(NamedTuple):
    """What an embedding says of populations.

    Attributes
    ----------
    h : array, shape (B, e)
        The embeddings.
    x, z : array, shapes (B, m, d) and (B, m, width)
        Their particles and the encodings of these, which a readout attends to.
    mask : array of bool, shape (B, m), or None
        Live particles; None if all are.
    """

    h: Array
    x: Array
    z: Array
    mask: Array | None = None


def check_record(value: Any, kind: Any, name: str, /) -> None:
    """Raise unless an argument is a record, a named tuple, of this kind.

    Raises
    ------
    TypeError
        If it is another tuple, or anything else.
    """
    if not isinstance(value, kind):
        got = type(value).__name__
        raise TypeError(f"{name} must be a {kind.__name__}({', '.join(kind._fields)}); got a {got}")


def init_population_embedding(
    rng: "Generator", d: int, *, like: Array, width: int = 64, depth: int = 3, marks: int = 0
) -> Params:
    """Draw the parameters of ``population_embedding``: ``depth`` dense layers, "0", "1", ...

    Parameters
    ----------
    rng : numpy.random.Generator
    d, marks : int
        Coordinates of a particle, and what else is known of it.
    like : array
        Fixes library, dtype and device.
    width, depth : int
        The paper's: 64 and 3 for letters, 128 and 2 for cells.
    """
    for name, value in (("d", d), ("width", width), ("depth", depth)):
        check_integer(value, name, low=1)
    sizes = [d + check_integer(marks, "marks", low=0), *[width] * depth]
    return {
        str(i): init_dense(rng, sizes[i], sizes[i + 1], like=like, scale=2**0.5 if i < depth - 1 else 1.0)
        for i in range(depth)
    }


def population_embedding(
    params: Params,
    x: Array,
    index: Array,
    /,
    marks: Array | None = None,
    *,
    mask: Array | None = None,
    pooling: str = "mean",
    activations: Sequence[bool] | None = None,
) -> tuple[Array, Callable[[Array], Params]]:
    """Embedding of populations: the graph network, its summary, divided by the norm.

    Equation: META-FM-3.

    Parameters
    ----------
    params, x, index, marks, mask, activations
        As for ``encode_particles``.
    pooling : str
        As for ``pool``.

    Returns
    -------
    h : array, shape (..., width), or (..., 2 width)
        Of norm 1, or 0 where there is nothing to divide by.
    pullback : function
        ``d_h -> d_params``.

    Examples
    --------
    >>> from refwfm.populations.graphs import knn_graph
    >>> params, x = init_population_embedding(np.random.default_rng(0), 2, like=np.zeros(0)), np.eye(2)
    >>> h, pullback = population_embedding(params, x, knn_graph(x, 10))
    >>> h.shape, round(float(h @ h), 12), sorted(pullback(h))
    ((64,), 1.0, ['0', '1', '2'])
    """
    told, pullback = tell(params, x, index, marks, mask=mask, pooling=pooling, activations=activations)
    return told.h, lambda d_h: pullback(d_h, None)


def tell(
    params: Params,
    x: Array,
    index: Array,
    /,
    marks: Array | None = None,
    *,
    mask: Array | None = None,
    pooling: str = "mean",
    activations: Sequence[bool] | None = None,
) -> tuple[Told, Callable[[Array, Array | None], Params]]:
    """Embeddings of populations together with the encodings of their particles, in one pass.

    Equation: META-FM-3.

    Parameters
    ----------
    params, x, index, marks, mask, pooling, activations
        As for ``population_embedding``.

    Returns
    -------
    told : Told
    pullback : function
        ``d_h, d_z -> d_params``; None stands for zeros.

    Examples
    --------
    >>> params = init_population_embedding(np.random.default_rng(0), 2, like=np.zeros(0))
    >>> told, _ = tell(params, np.ones((3, 5, 2)), np.zeros((3, 5, 0), dtype=int))
    >>> told.h.shape, told.z.shape
    ((3, 64), (3, 5, 64))
    """
    z, pull_encoder = encode_particles(params, x, index, marks, mask=mask, activations=activations)
    pooled, pull_pool = pool(z, mask, pooling=pooling)
    h, pull_norm = unit_norm(pooled)

    def pullback(d_h: Array, d_z: Array | None) -> Params:
        through_h = pull_pool(pull_norm(d_h))
        return pull_encoder(through_h if d_z is None else through_h + d_z)

    return Told(h, x, z, mask), pullback


def encode_particles(
    params: Params,
    x: Array,
    index: Array,
    /,
    marks: Array | None = None,
    *,
    mask: Array | None = None,
    activations: Sequence[bool] | None = None,
) -> tuple[Array, Callable[[Array], Params]]:
    """Graph convolutions: in each layer the average over a particle and its neighbours, then an affine map.

    Equation: META-FM-2. ``Z' = relu(D̂^(-1/2) (A + I) D̂^(-1/2) Z W + b)``, the last layer not rectified.

    Parameters
    ----------
    params : dict
        As ``init_population_embedding`` returns them.
    x : array, shape (..., n, d)
        Coordinates.
    index : array of integers, shape (..., n, k)
        The graph, on coordinates alone: ``knn_graph``.
    marks : array, shape (..., n, q), optional
        What else is known of each particle, such as a one-hot kind of cell; stands behind the coordinates.
    mask : array of bool, shape (..., n), optional
        Live particles. The others have no influence, whatever they hold; what they get means nothing.
    activations : sequence of bool, optional
        Whether the value of each layer is rectified; all but the last when left out. (The public code for
        cells forgets the first of two: ``(False, False)``.)

    Returns
    -------
    z : array, shape (..., n, width)
    pullback : function
        ``d_z -> d_params``; d_z is taken as 0 at padding.

    Raises
    ------
    TypeError, ValueError
        If shapes disagree.

    Examples
    --------
    >>> params = {"0": {"weight": np.ones((1, 1)), "bias": np.zeros(1)}}
    >>> encode_particles(params, np.asarray([[1.0], [3.0]]), np.asarray([[1], [0]]))[0].tolist()
    [[2.0], [2.0]]
    """
    first = params["0"]["weight"]
    check_floating(params=first, x=x)
    xp = check_floating(x=x) if marks is None else check_floating(x=x, marks=marks)
    check_mask(mask, x)
    if marks is not None and tuple(marks.shape[:-1]) != tuple(x.shape[:-1]):
        raise ValueError(
            f"marks must have shape {(*x.shape[:-1], 'q')}, as the particles; got {tuple(marks.shape)}"
        )
    z = x if marks is None else xp.concat([x, marks], axis=-1)
    if z.shape[-1] != first.shape[0]:
        raise ValueError(
            f"the parameters are for {first.shape[0]} coordinates and marks; got x {tuple(x.shape)} and "
            f"marks {None if marks is None else tuple(marks.shape)}"
        )
    z = z if mask is None else xp.where(mask[..., None], z, 0.0)
    rectified = [True] * (len(params) - 1) + [False] if activations is None else list(activations)
    if len(rectified) != len(params):
        raise ValueError(f"activations must be {len(params)} booleans, one per layer; got {rectified}")
    average, pullbacks = averaging(index), {}
    for (name, layer), is_rectified in zip(in_order(params), rectified, strict=True):
        z, pull_average = average(z)
        z, pull_dense = dense(layer, z)
        z, pull_activation = relu(z) if is_rectified else (z, _same)
        pullbacks[name] = pull_average, pull_dense, pull_activation

    def pullback(d_z: Array) -> Params:
        d_params, d_z = {}, d_z if mask is None else xp.where(mask[..., None], d_z, 0.0)
        for name in reversed(pullbacks):
            pull_average, pull_dense, pull_activation = pullbacks[name]
            d_params[name], d_z = pull_dense(pull_activation(d_z))
            d_z = pull_average(d_z)
        return {name: d_params[name] for name in params}

    return z, pullback


def _same(d_y: Array) -> Array:
    return d_y


# Summaries


def pool(z: Array, mask: Array | None = None, /, *, pooling: str = "mean") -> Pooled:
    """What is kept of the particles of a population, in no order.

    Equation: META-FM-3. The paper's is the mean; the others are ours:

    ============  =====================================================
    ``mean``      of each feature
    ``moments``   means of the features, and of their squares
    ``mean-max``  means of the features, and the largest of each
    ============  =====================================================

    Parameters
    ----------
    z : array, shape (..., n, width)
    mask : array of bool, shape (..., n), optional
        Live particles. A population without any has 0.
    pooling : str
        A key of ``POOLING``.

    Returns
    -------
    pooled : array, shape (..., width), or (..., 2 width)
    pullback : function
        ``d_pooled -> d_z``. Equal largest ones share their gradient.

    Examples
    --------
    >>> pool(np.asarray([[1.0], [3.0]]), pooling="moments")[0].tolist()
    [2.0, 5.0]
    """
    xp = check_floating(z=z)
    check_mask(mask, z)
    if pooling not in POOLING:
        raise ValueError(f"pooling must be one of {', '.join(POOLING)}; got {pooling!r}")
    functions, width = POOLING[pooling], z.shape[-1]
    parts = [function(z, mask) for function in functions]

    def pullback(d_pooled: Array) -> Array:
        d_z = None
        for i, (_, pull) in enumerate(parts):
            part = pull(d_pooled[..., i * width : (i + 1) * width])
            d_z = part if d_z is None else d_z + part
        return d_z

    return xp.concat([value for value, _ in parts], axis=-1) if len(parts) > 1 else parts[0][0], pullback


def _mean(z: Array, mask: Array | None) -> Pooled:
    xp = array_namespace(z)
    if mask is None:
        share = asarray_like(1.0 / z.shape[-2], z)
        return xp.mean(z, axis=-2), lambda d: xp.broadcast_to((share * d)[..., None, :], z.shape)
    live = xp.astype(mask, z.dtype)
    weights = live / xp.clip(xp.sum(live, axis=-1, keepdims=True), min=1.0)
    z = xp.where(mask[..., None], z, 0.0)
    return xp.sum(weights[..., None] * z, axis=-2), lambda d: weights[..., None] * d[..., None, :]


def _mean_square(z: Array, mask: Array | None) -> Pooled:
    value, pull_mean = _mean(z * z, mask)
    return value, lambda d: 2.0 * z * pull_mean(d)


def _largest(z: Array, mask: Array | None) -> Pooled:
    xp = array_namespace(z)
    if mask is not None:
        z = xp.where(mask[..., None], z, asarray_like(-math.inf, z))
    largest = xp.max(z, axis=-2, keepdims=True)
    nobody = largest == -math.inf
    at = xp.astype((z == largest) & ~nobody, z.dtype)
    shares = at / xp.clip(xp.sum(at, axis=-2, keepdims=True), min=1.0)
    return xp.where(nobody, 0.0, largest)[..., 0, :], lambda d: shares * d[..., None, :]


POOLING = {"mean": (_mean,), "moments": (_mean, _mean_square), "mean-max": (_mean, _largest)}
"""Parts of the summaries by their names."""


def unit_norm(z: Array, /) -> tuple[Array, Pullback]:
    """Vectors divided by their Euclidean norms; 0 stays 0, with gradient 0.

    Equation: META-FM-3. ``pullback: d_y -> d_z = (I - ẑ ẑᵀ) d_y / ‖z‖``.

    Examples
    --------
    >>> y, pullback = unit_norm(np.asarray([3.0, 4.0]))
    >>> y.tolist(), pullback(np.asarray([5.0, 0.0])).round(9).tolist()
    ([0.6, 0.8], [0.64, -0.48])
    >>> unit_norm(np.zeros(2))[0].tolist()
    [0.0, 0.0]
    """
    xp = check_floating(z=z)
    size = xp.max(xp.abs(z), axis=-1, keepdims=True)  # squares of the vector itself may overflow, or vanish
    size = xp.where(size == 0, xp.ones_like(size), size)
    scaled = z / size
    norm = xp.sqrt(sq_norm(scaled))[..., None]
    norm = xp.where(norm == 0, xp.ones_like(norm), norm)
    unit = scaled / norm
    zero = xp.all(z == 0, axis=-1, keepdims=True)

    def pullback(d_y: Array) -> Array:
        across = d_y - unit * xp.sum(unit * d_y, axis=-1, keepdims=True)
        return xp.where(zero, 0.0, across / norm / size)

    return unit, pullback
