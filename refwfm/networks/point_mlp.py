"""The baseline network of the generalised flow: a perceptron that sees each point's surroundings.

What a point is told about its cloud is computed, not learned: where its nearest neighbours are, and the
cloud's mean and covariance. One perceptron reads that for every point alike, and then one block of attention
lets the points look at each other. As all of it is the same in any order of the points, so is the velocity.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import array_api_extra as xpx

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    check_integer,
    device,
    sq_distances,
    sq_norm,
    symmetrize,
    take_rows,
    transpose,
)
from refwfm.networks._order import in_order
from refwfm.networks.conditioning import embed_condition
from refwfm.networks.features import init_space, with_features, without_gradient
from refwfm.networks.layers import Params, dense, init_dense, init_layer_norm, layer_norm, residual, vech
from refwfm.networks.mlp import block
from refwfm.networks.transformer import check_inputs, init_transformer, transformer_block

if TYPE_CHECKING:
    from numpy.random import Generator


def init_point_mlp(
    rng: "Generator",
    d: int,
    *,
    like: Array,
    neighbours: int = 8,
    width: int = 512,
    depth: int = 6,
    n_space: int = 0,
    space_scale: float = 2.0,
    grid: Sequence[float] = (),
    **options: Any,
) -> Params:
    """Draw the parameters of ``point_mlp``.

    The paper (GWFM-C7) states neither sizes nor the number of neighbours.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the points.
    like : array
        Fixes library, dtype and device.
    neighbours : int
        Nearest neighbours that a point sees.
    width, depth : int
        Sizes of the perceptron: ``depth`` residual blocks.
    n_space, space_scale, grid
        Frequencies of space, as for ``init_transformer``.
    **options
        Those of the block of attention, time and labels, as for ``init_transformer``.

    Returns
    -------
    dict
        ``in``, ``mlp`` ("0", "1", ...), ``blocks`` (of attention: "0"), ``norm``, ``out``, and ``labels`` if
        there are some, and ``frequencies``, which are not trained. The weights of ``out`` are zero, so that
        training starts from the zero field.
    """
    if neighbours < 1 or depth < 1:
        raise ValueError(f"neighbours and depth must be at least 1; got {neighbours} and {depth}")
    n_in = 2 * d + d * (d + 1) // 2 + neighbours * (1 + d) + 2 * (n_space + sum(map(bool, grid)))
    params = init_transformer(rng, n_in, like=like, width=width, depth=1, **options)
    layers = {
        str(layer): {
            "norm": init_layer_norm(width, like=like),
            "dense": init_dense(rng, width, width, like=like),
        }
        for layer in range(depth)
    }
    params |= {"mlp": layers, "out": init_dense(rng, width, d, like=like, scale=0.0)}
    return params | init_space(rng, d, n_space, space_scale, grid, like=like)


def point_mlp(
    params: Params,
    points: Array,
    mask: Array | None,
    t: Array,
    /,
    labels: Array | None = None,
    *,
    heads: int,
    neighbours: int,
) -> tuple[Array, Callable[[Array], Params]]:
    """Velocity of every point of clouds, as the baseline network predicts it at times ``t``.

    Equation: GWFM-C7, GWFM-24, WFM-RFF. ``h = in(surroundings)``; for every layer
    ``h ← h + relu(dense(norm(h)))``; one block of the transformer, into which time and label enter;
    ``velocity = out(norm(h))``.

    Parameters
    ----------
    params : dict
        As ``init_point_mlp`` returns them.
    points, mask, t, labels, heads
        As for ``transformer``.
    neighbours : int
        As for ``init_point_mlp``.

    Returns
    -------
    velocity : array, shape (..., n, d)
    pullback : function
        ``d_velocity -> d_params``; frequencies get zeros.

    Raises
    ------
    TypeError, ValueError
        As ``transformer`` does.

    Examples
    --------
    >>> options = {"like": np.zeros(0), "neighbours": 2, "width": 8, "depth": 1, "heads": 2}
    >>> params = init_point_mlp(np.random.default_rng(0), 3, **options)
    >>> point_mlp(params, np.ones((1, 5, 3)), None, np.zeros(1), heads=2, neighbours=2)[0].shape
    (1, 5, 3)
    """
    shape = points.shape
    points, mask, t, labels = check_inputs(params, points, mask, t, labels, heads=heads)
    xp = array_namespace(points)
    live = xp.ones(points.shape[:-1], dtype=xp.bool, device=device(points)) if mask is None else mask
    condition, condition_pullback = embed_condition(params, t, labels)
    told = surroundings(points, live, neighbours=neighbours)
    h, in_pullback = dense(params["in"], with_features(params, told, points))
    layer_pullbacks = {}
    for name, layer in in_order(params["mlp"]):
        h, layer_pullbacks[name] = residual(block)(layer, h)
    h, block_pullback = transformer_block(params["blocks"]["0"], h, condition, mask, heads=heads)
    unit, norm_pullback = layer_norm(params["norm"], h)
    velocity, out_pullback = dense(params["out"], unit)

    def pullback(d_velocity: Array) -> Params:
        d_velocity = xp.reshape(d_velocity, points.shape)
        d_out, d_unit = out_pullback(xp.where(live[..., None], d_velocity, 0.0))
        d_norm, d_h = norm_pullback(d_unit)
        d_block, d_h, d_condition = block_pullback(d_h)
        d_layers = {}
        for name in reversed(layer_pullbacks):
            d_layers[name], d_h = layer_pullbacks[name](d_h)
        d_params = {"in": in_pullback(d_h)[0], "mlp": d_layers, "blocks": {"0": d_block}, "norm": d_norm}
        d_params |= {"out": d_out, **condition_pullback(d_condition)}
        return {**d_params, **without_gradient(params)}

    return xp.reshape(xp.where(live[..., None], velocity, 0.0), shape), pullback


def surroundings(points: Array, mask: Array, /, *, neighbours: int) -> Array:
    """What each point is told: where it is, its nearest neighbours, the cloud's mean and covariance.

    Equation: GWFM-C7.

    Parameters
    ----------
    points : array, shape (B, n, d), zeros at padding
    mask : array of bool, shape (B, n)
        Live points.
    neighbours : int
        How many nearest neighbours k; zeros stand for those that a small cloud does not have.

    Returns
    -------
    array, shape (B, n, d + k + k d + d + d (d + 1) / 2)
        Coordinates; distances to the neighbours, the nearest first; their positions relative to the point;
        the mean of the cloud; the lower triangle of its covariance.

    Notes
    -----
    The order of neighbours at the very same distance is not defined. An array (B, n, n) is made.

    Examples
    --------
    >>> points, mask = np.asarray([[[0.0], [1.0], [5.0]]]), np.ones((1, 3), dtype=bool)
    >>> surroundings(points, mask, neighbours=1)[0, 2].round(4).tolist()  # 5, 4 away, at -4; moments
    [5.0, 4.0, -4.0, 2.0, 4.6667]
    """
    offset, distance = nearest_neighbours(points, mask, neighbours=neighbours)
    xp, (batch, n, d) = array_namespace(points), points.shape
    points = xp.where(mask[..., None], points, 0.0)
    weights = xp.astype(mask, points.dtype)
    weights = weights / xp.clip(xp.sum(weights, axis=-1, keepdims=True), min=1.0)
    mean = transpose(weights[..., None]) @ points  # (B, 1, d)
    centred = points - mean
    cov = vech(symmetrize(transpose(centred) @ (weights[..., None] * centred)))[0]
    parts = (
        points,
        distance,
        xp.reshape(offset, (batch, n, neighbours * d)),
        xp.broadcast_to(mean, points.shape),
        xp.broadcast_to(cov[:, None, :], (batch, n, cov.shape[-1])),
    )
    return xp.where(mask[..., None], xp.concat(parts, axis=-1), 0.0)


def nearest_neighbours(points: Array, mask: Array, /, *, neighbours: int) -> tuple[Array, Array]:
    """Positions relative to each point (B, n, k, d) of its nearest neighbours, and distances (B, n, k).

    Equation: GWFM-C7. Parameters as for ``surroundings``.

    Examples
    --------
    >>> points, mask = np.asarray([[[0.0], [1.0], [5.0]]]), np.ones((1, 3), dtype=bool)
    >>> offset, distance = nearest_neighbours(points, mask, neighbours=1)
    >>> offset[0, :, 0, 0].tolist(), distance[0, :, 0].tolist()
    ([1.0, -1.0, -4.0], [1.0, 1.0, 4.0])
    """
    xp = check_floating(points=points)
    neighbours = check_integer(neighbours, "neighbours", low=1)
    if points.ndim != 3 or tuple(mask.shape) != tuple(points.shape[:-1]):
        raise ValueError(
            f"points and mask must have shapes (B, n, d) and (B, n); got {tuple(points.shape)} and "
            f"{tuple(mask.shape)}"
        )
    if not xp.isdtype(mask.dtype, "bool"):
        raise TypeError(f"mask must be of booleans, True for live points; got dtype {mask.dtype}")
    batch, n, d = points.shape
    k = min(neighbours, n - 1)
    offset = xp.zeros((batch, n, neighbours, d), dtype=points.dtype, device=device(points))
    if k == 0 or batch == 0:
        return offset, offset[..., 0]
    itself = xp.eye(n, dtype=points.dtype, device=device(points)) > 0
    others = mask[:, None, :] & ~itself
    # A distance that is not finite is that of a neighbour all the same, unlike padding's: NaN is the nearest
    # to all, so that it shows, and what overflows is the furthest.
    apart = sq_distances(points, points)
    apart = xp.where(xp.isnan(apart), -1.0, xp.minimum(apart, xp.full_like(apart, xp.finfo(apart.dtype).max)))
    apart = xp.where(others, apart, float("inf"))
    index = xpx.argpartition(apart, k - 1, axis=-1, xp=xp)[..., :k]
    found = take_rows(points, xp.reshape(index, (batch, n * k)))
    found = xp.reshape(found, (batch, n, k, d)) - points[:, :, None, :]
    there = xp.take_along_axis(apart, index, axis=-1) < float("inf")
    found = xp.where(there[..., None], found, 0.0)
    distance = xp.where(there, _norm(found), float("inf"))
    order = xp.argsort(distance, axis=-1)
    distance, there = (xp.take_along_axis(part, order, axis=-1) for part in (distance, there))
    found = take_rows(found, order)
    distance = xp.where(there, distance, 0.0)
    more = neighbours - k
    return (
        xp.concat([found, offset[:, :, :more, :]], axis=-2),
        xp.concat([distance, offset[:, :, :more, 0]], axis=-1),
    )


def _norm(x: Array) -> Array:
    """Euclidean norms over the last axis, also where their squares would overflow or vanish."""
    xp = array_namespace(x)
    largest = xp.max(xp.abs(x), axis=-1)
    unit = xp.where((largest > 0) & (largest < float("inf")), largest, xp.ones_like(largest))
    return unit * xp.sqrt(sq_norm(x / unit[..., None]))
