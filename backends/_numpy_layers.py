"""NumPy twins of the layers: the same operations in the same order, in memory that is there already.

At widths of 64 to 256 a layer is a dozen small operations, and what they take is memory and calls: results
go into the arrays of intermediate values, and sums are taken without the way through ``mean``. Nothing that
comes in is written to, neither arguments nor gradients.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from refwfm.networks import Params
from refwfm.networks._order import in_order

Pulled = tuple[Params, np.ndarray]
Pullback = Callable[[np.ndarray], Pulled]


def dense(params: Params, x: np.ndarray, /) -> tuple[np.ndarray, Pullback]:
    """Twin of ``networks.dense``, for rows (n, n_in)."""
    weight = params["weight"]
    y = x @ weight
    y += params["bias"]

    def pullback(d_y: np.ndarray) -> Pulled:
        return {"weight": x.T @ d_y, "bias": np.add.reduce(d_y, axis=0)}, d_y @ weight.T

    return y, pullback


def layer_norm(params: Params, x: np.ndarray, /, *, eps: float = 1e-5) -> tuple[np.ndarray, Pullback]:
    """Twin of ``networks.layer_norm``, for rows (n, c)."""
    scale = params["scale"]
    unit = x - _row_mean(x)
    y = unit * unit
    inverse_std = _row_mean(y)
    inverse_std += eps
    np.divide(1.0, np.sqrt(inverse_std, out=inverse_std), out=inverse_std)
    unit *= inverse_std
    np.multiply(unit, scale, out=y)
    y += params["shift"]

    def pullback(d_y: np.ndarray) -> Pulled:
        work = d_y * unit
        d_params = {"scale": np.add.reduce(work, axis=0), "shift": np.add.reduce(d_y, axis=0)}
        d_unit = d_y * scale
        along = _row_mean(np.multiply(d_unit, unit, out=work))
        d_unit -= _row_mean(d_unit)
        d_unit -= np.multiply(unit, along, out=work)
        d_unit *= inverse_std
        return d_params, d_unit

    return y, pullback


def _row_mean(x: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.add.reduce(x, axis=-1, keepdims=True)
    total /= x.shape[-1]
    return total


def rectified_dense(params: Params, x: np.ndarray, /) -> tuple[np.ndarray, Pullback]:
    """``relu(dense(x))``, of ``networks.dense`` and ``networks.relu``."""
    y, dense_pullback = dense(params, x)
    np.maximum(y, 0.0, out=y)

    def pullback(d_y: np.ndarray) -> Pulled:
        d_z = (y > 0).astype(y.dtype)
        d_z *= d_y
        return dense_pullback(d_z)

    return y, pullback


def attention(
    params: Params, x: np.ndarray, ends: list[int], /, *, heads: int
) -> tuple[np.ndarray, Pullback]:
    """Twin of ``networks.multi_head_attention`` for clouds end to end, x (n, width), cloud by cloud.

    The weights of one cloud stay in a core's cache; there is no padding to be masked.
    """
    width = x.shape[-1]
    scale = 1.0 / math.sqrt(width // heads)
    qkv, qkv_pullback = dense(params["qkv"], x)
    qkv[:, :width] *= scale
    read = np.empty_like(x)
    clouds = [slice(i, j) for i, j in pairwise([0, *ends]) if i < j]
    kept = []
    for rows in clouds:
        q, k, v = _by_head(qkv[rows], heads)
        weights = q @ k.mT
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= np.add.reduce(weights, axis=-1, keepdims=True)
        kept.append(weights)
        _heads(read[rows], heads)[...] = weights @ v
    y, out_pullback = dense(params["out"], read)

    def pullback(d_y: np.ndarray) -> Pulled:
        d_out, d_read = out_pullback(d_y)
        d_qkv = np.empty_like(qkv)
        for rows, weights in zip(clouds, kept, strict=True):
            q, k, v = _by_head(qkv[rows], heads)
            d_q, d_k, d_v = _by_head(d_qkv[rows], heads)
            d_here = _heads(d_read[rows], heads)
            d_v[...] = weights.mT @ d_here
            d_scores = d_here @ v.mT
            d_scores -= np.add.reduce(d_here * _heads(read[rows], heads), axis=-1, keepdims=True)
            d_scores *= weights
            d_q[...] = d_scores @ k
            d_k[...] = d_scores.mT @ q
        d_qkv[:, :width] *= scale
        d_params, d_x = qkv_pullback(d_qkv)
        return {"qkv": d_params, "out": d_out}, d_x

    return y, pullback


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """View (heads, n, c) of (n, heads c)."""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


def _by_head(qkv: np.ndarray, heads: int) -> np.ndarray:
    """View (3, heads, n, c) of (n, 3 heads c)."""
    return qkv.reshape(len(qkv), 3, heads, -1).transpose(1, 2, 0, 3)


def mlp(params: Params, x: np.ndarray, /) -> tuple[np.ndarray, Pullback]:
    """Twin of ``networks.mlp``, for rows (n, n_in)."""
    h, in_pullback = dense(params["in"], x)
    pullbacks = {}
    for name, block in in_order(params["blocks"]):
        unit, norm_pullback = layer_norm(block["norm"], h)
        z, dense_pullback = rectified_dense(block["dense"], unit)
        h += z  # no pullback reads it
        pullbacks[name] = norm_pullback, dense_pullback
    unit, last_pullback = layer_norm(params["norm"], h)
    y, out_pullback = dense(params["out"], unit)

    def pullback(d_y: np.ndarray) -> Pulled:
        d_out, d_unit = out_pullback(d_y)
        d_last, d_h = last_pullback(d_unit)
        d_blocks = {}
        for name, (norm_pullback, dense_pullback) in reversed(pullbacks.items()):
            d_dense, d_unit = dense_pullback(d_h)
            d_norm, d_x = norm_pullback(d_unit)
            d_h += d_x
            d_blocks[name] = {"norm": d_norm, "dense": d_dense}
        d_in, d_x = in_pullback(d_h)
        return {"in": d_in, "blocks": d_blocks, "norm": d_last, "out": d_out}, d_x

    return y, pullback
