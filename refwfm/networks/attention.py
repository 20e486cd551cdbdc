"""Attention: every point of a cloud reads a weighted mean of what all live points of its cloud offer.

No positions enter, so permuted points give permuted values. Padding is masked: it has no influence.

References
----------
Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, check_floating, transpose
from refwfm.networks.layers import Params, Pullback, dense, init_dense

if TYPE_CHECKING:
    from numpy.random import Generator


def attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, /
) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array]]]:
    """Scaled dot-product attention ``softmax(q kᵀ / sqrt(c)) v``, the softmax over the keys.

    Equation: WFM-AppE2-attention.

    Parameters
    ----------
    q : array, shape (..., n, c)
        Queries.
    k, v : arrays, shapes (..., m, c) and (..., m, e)
        Keys and values.
    mask : array of bool, shape (..., m), optional
        Keys that may be read. Where there are none, all are read alike: finite, but meaningless.

    Returns
    -------
    y : array, shape (..., n, e)
    pullback : function
        ``d_y -> (d_q, d_k, d_v)``. It keeps the weights, an array (..., n, m).

    Examples
    --------
    >>> attention(np.zeros((1, 4)), np.zeros((2, 4)), np.asarray([[0.0], [2.0]]))[0].tolist()  # all alike
    [[1.0]]
    """
    xp = check_floating(q=q, k=k, v=v)
    scale = 1.0 / math.sqrt(q.shape[-1])
    q = scale * q
    scores = q @ transpose(k)
    if mask is not None:
        lowest = float(xp.finfo(scores.dtype).min)  # finite, so that a cloud without live points gives no NaN
        scores = xp.where(mask[..., None, :], scores, lowest)
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    y = weights @ v

    def pullback(d_y: Array) -> tuple[Array, Array, Array]:
        # Weights sum to one, so their gradient's own mean Σ_j w_ij dw_ij = ⟨dy_i, y_i⟩ is taken out.
        along = xp.sum(d_y * y, axis=-1, keepdims=True)
        d_scores = weights * (d_y @ transpose(v) - along)
        return scale * (d_scores @ k), transpose(d_scores) @ q, transpose(weights) @ d_y

    return y, pullback


def init_multi_head_attention(rng: "Generator", width: int, *, like: Array) -> Params:
    """Draw parameters of ``multi_head_attention``: ``qkv`` (width, 3 width) and ``out`` (width, width)."""
    return {
        "qkv": init_dense(rng, width, 3 * width, like=like, scale=1.0),
        "out": init_dense(rng, width, width, like=like, scale=1.0),
    }


def multi_head_attention(
    params: Params, x: Array, mask: Array | None = None, /, *, heads: int
) -> tuple[Array, Pullback]:
    """Attention of points to each other, in ``heads`` subspaces at once.

    Equation: WFM-AppE2-network. ``out([attention(q_h, k_h, v_h, mask) for h])`` with ``(q, k, v) = qkv(x)``
    cut into heads of length width / heads.

    Parameters
    ----------
    params : dict
        As ``init_multi_head_attention`` returns them.
    x : array, shape (B, n, width)
    mask : array of bool, shape (B, n), optional
        Live points.
    heads : int
        Divides the width.

    Returns
    -------
    y : array, shape (B, n, width)
    pullback : function
        ``d_y -> (d_params, d_x)``. The weights of all heads are an array (B, heads, n, n).

    Examples
    --------
    >>> params = init_multi_head_attention(np.random.default_rng(0), 6, like=np.zeros(0))
    >>> multi_head_attention(params, np.zeros((1, 5, 6)), heads=2)[0].shape
    (1, 5, 6)
    """
    xp = check_floating(x=x)
    if x.ndim != 3 or heads < 1 or x.shape[-1] % heads:
        raise ValueError(
            f"x must have shape (B, n, width), and heads divide the width; got {tuple(x.shape)}, {heads}"
        )
    batch, n, width = x.shape
    qkv, qkv_pullback = dense(params["qkv"], x)
    by_head = xp.permute_dims(xp.reshape(qkv, (batch, n, 3, heads, width // heads)), (2, 0, 3, 1, 4))
    read, attention_pullback = attention(
        by_head[0, ...], by_head[1, ...], by_head[2, ...], None if mask is None else mask[:, None, :]
    )  # (B, heads, n, width / heads)
    y, out_pullback = dense(params["out"], _merge_heads(read))

    def pullback(d_y: Array) -> tuple[Params, Array]:
        d_out, d_read = out_pullback(d_y)
        d_by_head = attention_pullback(_split_heads(d_read, heads))
        d_qkv = xp.stack([xp.permute_dims(d, (0, 2, 1, 3)) for d in d_by_head], axis=2)
        d_qkv, d_x = qkv_pullback(xp.reshape(d_qkv, (batch, n, 3 * width)))
        return {"qkv": d_qkv, "out": d_out}, d_x

    return y, pullback


def _split_heads(x: Array, heads: int) -> Array:
    """(B, n, width) to (B, heads, n, width / heads)."""
    xp = array_namespace(x)
    batch, n, width = x.shape
    return xp.permute_dims(xp.reshape(x, (batch, n, heads, width // heads)), (0, 2, 1, 3))


def _merge_heads(x: Array) -> Array:
    """(B, heads, n, c) to (B, n, heads c)."""
    xp = array_namespace(x)
    batch, heads, n, c = x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (batch, n, heads * c))
