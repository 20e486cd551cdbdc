"""NumPy twin of the transformer where only its value is wanted: generation.

No pullback comes after, so nothing is kept for one: all groups of clouds write into the same memory, which
stays in the cache, and softmax weights are divided by their sums when the values have been weighted, which
are fewer.
"""

import math
from itertools import pairwise

import numpy as np

from refwfm.backends._numpy_transformer import Group, _on_all_cores, similar_sizes
from refwfm.networks import Params
from refwfm.networks._order import in_order
from refwfm.networks.conditioning import embed_condition
from refwfm.networks.features import with_features
from refwfm.networks.transformer import check_inputs
from refwfm.training import regression


def cloud_velocity(
    params: Params,
    points: np.ndarray,
    mask: np.ndarray | None,
    t: np.ndarray,
    labels: np.ndarray | None = None,
    /,
    *,
    heads: int,
) -> np.ndarray:
    """Twin of ``training.regression.cloud_velocity``."""
    shape = points.shape
    if 0 in shape:
        return regression.cloud_velocity(params, points, mask, t, labels, heads=heads)
    points, mask, t, labels = check_inputs(params, points, mask, t, labels, heads=heads)
    live = np.ones(points.shape[:2], dtype=bool) if mask is None else mask
    velocity = np.zeros_like(points)

    def move(group: Group) -> None:
        some = None if labels is None else labels[group.index]
        at, (rows, sizes) = group.at(live), group.of(points, live)
        velocity[at] = _tokens(params, rows, sizes, t[group.index], some, heads)

    _on_all_cores(move, similar_sizes(mask, *points.shape[:2]))
    return velocity.reshape(shape)


def _tokens(
    params: Params,
    points: np.ndarray,
    sizes: np.ndarray,
    t: np.ndarray,
    labels: np.ndarray | None,
    heads: int,
) -> np.ndarray:
    """``networks.transformer`` of clouds of these sizes end to end, points (n, d)."""
    condition, _ = embed_condition(params, t, labels)
    clouds = [slice(i, j) for i, j in pairwise([0, *np.cumsum(sizes).tolist()]) if i < j]
    h = _dense(params["in"], with_features(params, points, points))
    scores = np.empty(heads * int(sizes.max()) ** 2, dtype=h.dtype)
    for _, block in in_order(params["blocks"]):
        h += np.repeat(_dense(block["condition"], condition), sizes, axis=0)
        unit = _layer_norm(block["attention_norm"], h)
        h += _attention(block["attention"], unit, clouds, heads, scores)
        z = _dense(block["feed"]["in"], _layer_norm(block["feed_norm"], h))
        h += _dense(block["feed"]["out"], np.maximum(z, 0.0, out=z))
    return _dense(params["out"], _layer_norm(params["norm"], h))


def _dense(params: Params, x: np.ndarray) -> np.ndarray:
    y: np.ndarray = x @ params["weight"]
    y += params["bias"]
    return y


def _layer_norm(params: Params, x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    n = x.shape[-1]
    unit: np.ndarray = x - np.add.reduce(x, axis=-1, keepdims=True) / n
    variance = np.einsum("ij,ij->i", unit, unit)[:, None] / n
    unit *= 1.0 / np.sqrt(variance + eps)
    unit *= params["scale"]
    unit += params["shift"]
    return unit


def _attention(
    params: Params, x: np.ndarray, clouds: list[slice], heads: int, memory: np.ndarray
) -> np.ndarray:
    """``networks.multi_head_attention`` of clouds end to end, x (n, width), cloud by cloud."""
    width = x.shape[-1]
    qkv = _dense(params["qkv"], x)
    qkv[:, :width] *= 1.0 / math.sqrt(width // heads)
    read = np.empty_like(x)
    for rows in clouds:
        n = rows.stop - rows.start
        q, k, v = qkv[rows].reshape(n, 3, heads, -1).transpose(1, 2, 0, 3)
        weights = np.matmul(q, k.mT, out=memory[: heads * n * n].reshape(heads, n, n))
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        value = weights @ v
        value /= np.add.reduce(weights, axis=-1, keepdims=True)
        read[rows].reshape(n, heads, -1).swapaxes(0, 1)[...] = value
    return _dense(params["out"], read)
