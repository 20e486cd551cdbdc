"""The field of point-cloud flow matching: a transformer that reads a cloud and a time.

Every point is a token. There is no positional encoding, so a permuted cloud gets the permuted velocity, and
clouds of any size are read by the same parameters.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, check_floating
from refwfm.networks._order import in_order
from refwfm.networks.attention import init_multi_head_attention, multi_head_attention
from refwfm.networks.conditioning import check_cloud_labels, embed_condition, init_conditioning
from refwfm.networks.features import init_space, with_features, without_gradient
from refwfm.networks.layers import Params, Pullback, dense, init_dense, init_layer_norm, layer_norm, relu

if TYPE_CHECKING:
    from numpy.random import Generator


def init_transformer(
    rng: "Generator",
    d: int,
    *,
    like: Array,
    width: int = 512,
    depth: int = 6,
    heads: int = 4,
    hidden: int = 512,
    n_frequencies: int = 16,
    n_space: int = 0,
    space_scale: float = 2.0,
    grid: Sequence[float] = (),
    n_labels: int = 0,
    n_features: int = 0,
    label_dim: int = 32,
) -> Params:
    """Draw the parameters of ``transformer``.

    The paper's sizes (WFM-AppE2-network): 6 blocks, width 512, 4 heads.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the points.
    like : array
        Fixes library, dtype and device.
    width, depth, heads, hidden : int
        Length of a token, number of blocks, heads of the attention (must divide the width), length inside
        the feed-forward layers.
    n_frequencies : int
        Frequencies of the Fourier features of time.
    n_space : int
        Random frequencies of space (ours, not the paper's).
    space_scale : float
        Their standard deviation, in radians / unit of the points.
    grid : sequence of float
        Spacing of the grid that the data lie on, coordinate by coordinate, 0 where there is none (ours): its
        frequencies are read beside those. None when empty.
    n_labels, n_features : int
        Number of classes, or length of the vectors that clouds are conditioned on; at most one is positive.
    label_dim : int
        Length of a label's learned vector.

    Returns
    -------
    dict
        ``in``, ``blocks`` ("0", "1", ...), ``norm``, ``out``, and ``labels`` if there are some, and
        ``frequencies`` (d, those of space and of the grid), which are not trained. The weights of ``out`` are
        zero, so that training starts from the zero field.

    Raises
    ------
    ValueError
        If ``heads`` does not divide ``width``, ``depth`` is below 1, or both kinds of labels are asked for.
    """
    _check_heads(width, heads)
    if depth < 1:
        raise ValueError(f"depth must be at least 1; got {depth}")
    labelled = bool(n_labels or n_features)
    n_condition = 2 * n_frequencies + (label_dim if labelled else 0)
    params: Params = {
        "in": init_dense(rng, d + 2 * (n_space + sum(map(bool, grid))), width, like=like, scale=1.0),
        "blocks": {
            str(layer): {
                "condition": init_dense(rng, n_condition, width, like=like, scale=1.0),
                "attention_norm": init_layer_norm(width, like=like),
                "attention": init_multi_head_attention(rng, width, like=like),
                "feed_norm": init_layer_norm(width, like=like),
                "feed": {
                    "in": init_dense(rng, width, hidden, like=like),
                    "out": init_dense(rng, hidden, width, like=like, scale=1.0),
                },
            }
            for layer in range(depth)
        },
        "norm": init_layer_norm(width, like=like),
        "out": init_dense(rng, width, d, like=like, scale=0.0),
    }
    if labelled:
        params["labels"] = init_conditioning(rng, n_labels, n_features, label_dim, like=like)
    return params | init_space(rng, d, n_space, space_scale, grid, like=like)


def transformer(
    params: Params,
    points: Array,
    mask: Array | None,
    t: Array,
    /,
    labels: Array | None = None,
    *,
    heads: int,
) -> tuple[Array, Callable[[Array], Params]]:
    """Velocity of every point of clouds, as the network predicts it at times ``t``.

    Equation: WFM-AppE2-network, WFM-RFF. ``h = in(x)``; in every block
    ``h ← h + condition(features of t, label)``, ``h ← h + attention(norm(h))``, ``h ← h + feed(norm(h))``;
    ``velocity = out(norm(h))``. With ``frequencies``, x stands for the points and their Fourier features.

    Parameters
    ----------
    params : dict
        As ``init_transformer`` returns them.
    points : array, shape (..., n, d)
    mask : array of bool, shape (..., n), or None
        Live points; None if all are. Padding has no influence, whatever it holds; its velocity is 0.
    t : array, shape (...)
    labels : array, shape (...) of integers, or (..., n_features) of floats, optional
        Required exactly when the parameters have labels. The number ``n_labels``, or a vector that is NaN
        throughout, stands for "no label" and has its own learned vector (see ``unlabelled``). Integers in
        range: ``check_labels(labels, n_labels + 1)``.
    heads : int
        As in ``init_transformer``.

    Returns
    -------
    velocity : array, shape (..., n, d)
    pullback : function
        ``d_velocity -> d_params``; frequencies get zeros.

    Raises
    ------
    TypeError
        If the mask is not of booleans, or labels are of the wrong kind.
    ValueError
        If labels are missing or not expected, or shapes disagree.

    Notes
    -----
    The paper normalises after each skip connection; here the norm stands at the entrance of each branch, as
    in ``mlp``: a path without norms leads from every block to the output, and so training needs no warm-up
    (Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020).

    The largest array has shape (B, heads, n, n). The pullback keeps one for each block.

    Examples
    --------
    >>> options = {"like": np.zeros(0), "width": 8, "depth": 1, "heads": 2, "hidden": 4}
    >>> params = init_transformer(np.random.default_rng(0), 3, **options)
    >>> velocity, pullback = transformer(params, np.ones((2, 5, 3)), None, np.zeros(2), heads=2)
    >>> velocity.shape, float(np.max(np.abs(velocity)))  # the zero field before training
    ((2, 5, 3), 0.0)
    """
    shape, d = points.shape, points.shape[-1]
    points, mask, t, labels = check_inputs(params, points, mask, t, labels, heads=heads)
    xp = array_namespace(points)
    condition, condition_pullback = embed_condition(params, t, labels)
    h, in_pullback = dense(params["in"], with_features(params, points, points))  # (B, n, width)
    block_pullbacks = {}
    for name, block_params in in_order(params["blocks"]):
        h, block_pullbacks[name] = transformer_block(block_params, h, condition, mask, heads=heads)
    unit, norm_pullback = layer_norm(params["norm"], h)
    velocity, out_pullback = dense(params["out"], unit)

    def pullback(d_velocity: Array) -> Params:
        d_out, d_unit = out_pullback(_clear(xp.reshape(d_velocity, (-1, *points.shape[1:])), mask))
        d_norm, d_h = norm_pullback(d_unit)
        d_blocks, d_condition = {}, xp.zeros_like(condition)
        for name in reversed(block_pullbacks):
            d_blocks[name], d_h, d_here = block_pullbacks[name](d_h)
            d_condition = d_condition + d_here
        d_params = {"in": in_pullback(d_h)[0], "blocks": d_blocks, "norm": d_norm, "out": d_out}
        return {**d_params, **condition_pullback(d_condition), **without_gradient(params)}

    return xp.reshape(_clear(velocity, mask), (*shape[:-1], d)), pullback


def transformer_block(
    params: Params, h: Array, condition: Array, mask: Array | None, /, *, heads: int
) -> tuple[Array, Callable[[Array], tuple[Params, Array, Array]]]:
    """One block of ``transformer``, with its three skip connections.

    Equation: WFM-AppE2-network.

    Parameters
    ----------
    params : dict
        ``condition``, ``attention_norm``, ``attention``, ``feed_norm``, ``feed``.
    h : array, shape (B, n, width)
    condition : array, shape (B, c)
        What time and label say, the same for all points of a cloud.
    mask : array of bool, shape (B, n), or None
    heads : int

    Returns
    -------
    h : array, shape (B, n, width)
    pullback : function
        ``d_h -> (d_params, d_h, d_condition)``.

    Examples
    --------
    >>> options = {"like": np.zeros(0), "width": 8, "depth": 1, "heads": 2, "hidden": 4}
    >>> block = init_transformer(np.random.default_rng(0), 3, n_frequencies=2, **options)["blocks"]["0"]
    >>> transformer_block(block, np.zeros((2, 5, 8)), np.zeros((2, 4)), None, heads=2)[0].shape
    (2, 5, 8)
    """
    xp = array_namespace(h)
    shift, condition_pullback = dense(params["condition"], condition)
    h = h + shift[:, None, :]
    unit, attention_norm_pullback = layer_norm(params["attention_norm"], h)
    read, attention_pullback = multi_head_attention(params["attention"], unit, mask, heads=heads)
    h = h + read
    unit, feed_norm_pullback = layer_norm(params["feed_norm"], h)
    fed, feed_pullback = feed_forward(params["feed"], unit)

    def pullback(d_h: Array) -> tuple[Params, Array, Array]:
        d_feed, d_unit = feed_pullback(d_h)
        d_feed_norm, d_branch = feed_norm_pullback(d_unit)
        d_h = d_h + d_branch
        d_attention, d_unit = attention_pullback(d_h)
        d_attention_norm, d_branch = attention_norm_pullback(d_unit)
        d_h = d_h + d_branch
        d_dense, d_condition = condition_pullback(xp.sum(d_h, axis=-2))
        d_params = {
            "condition": d_dense,
            "attention_norm": d_attention_norm,
            "attention": d_attention,
            "feed_norm": d_feed_norm,
            "feed": d_feed,
        }
        return d_params, d_h, d_condition

    return h + fed, pullback


def feed_forward(params: Params, x: Array, /) -> tuple[Array, Pullback]:
    """Two dense layers with a rectifier between them, ``out(relu(in(x)))``, point by point.

    Equation: WFM-AppE2-network. ``pullback: d_y -> (d_params, d_x)``.

    Examples
    --------
    >>> params = {"in": {"weight": np.asarray([[-1.0, 2.0]]), "bias": np.zeros(2)}}
    >>> params["out"] = {"weight": np.ones((2, 1)), "bias": np.zeros(1)}
    >>> feed_forward(params, np.asarray([3.0]))[0].tolist()  # -3 is cut off, 6 is left
    [6.0]
    """
    z, in_pullback = dense(params["in"], x)
    z, relu_pullback = relu(z)
    y, out_pullback = dense(params["out"], z)

    def pullback(d_y: Array) -> tuple[Params, Array]:
        d_out, d_z = out_pullback(d_y)
        d_in, d_x = in_pullback(relu_pullback(d_z))
        return {"in": d_in, "out": d_out}, d_x

    return y, pullback


def check_inputs(
    params: Params, points: Array, mask: Array | None, t: Array, labels: Array | None, /, *, heads: int
) -> tuple[Array, Array | None, Array, Array | None]:
    """Check what ``transformer`` is given; return it with one batch axis and padding cleared.

    Returns
    -------
    points (B, n, d), mask (B, n) or None, t (B,), labels (B,) or (B, n_features) or None

    Raises
    ------
    TypeError, ValueError
        As ``transformer`` does.
    """
    xp = check_floating(points=points, t=t, params=params["in"]["weight"])
    width, d = params["out"]["weight"].shape
    _check_heads(width, heads)
    if points.ndim < 2 or points.shape[-1] != d or points.shape[-2] == 0:
        raise ValueError(
            f"points must have shape (..., n, d) with n >= 1 and the parameters' d = {d}; "
            f"got {tuple(points.shape)}"
        )
    batch, n = tuple(points.shape[:-2]), points.shape[-2]
    if mask is not None and tuple(mask.shape) != (*batch, n):
        raise ValueError(f"mask must have the shape {(*batch, n)} of the points; got {tuple(mask.shape)}")
    if mask is not None and not xp.isdtype(mask.dtype, "bool"):
        raise TypeError(f"mask must be of booleans, True for live points; got dtype {mask.dtype}")
    if tuple(t.shape) != batch:
        raise ValueError(f"t must have the shape {batch} of the batch of clouds; got {tuple(t.shape)}")
    size = math.prod(batch)
    mask = None if mask is None else xp.reshape(mask, (size, n))
    labels = check_cloud_labels(params, labels, batch)
    return _clear(xp.reshape(points, (size, n, d)), mask), mask, xp.reshape(t, (size,)), labels


def _check_heads(width: int, heads: int) -> None:
    if heads < 1 or width % heads:
        raise ValueError(f"heads must divide the width {width}; got {heads}")


def _clear(x: Array, mask: Array | None) -> Array:
    """Zeros at padding, whatever stood there; x (B, n, ...), mask (B, n)."""
    return x if mask is None else array_namespace(x).where(mask[..., None], x, 0.0)
