"""What a cloud's velocity is conditioned on: the time, and a label, a vector, or the absence of one.

For classifier-free guidance one network learns the field with and without labels: "no label" is one of them.

References
----------
Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, asarray_like, check_floating
from refwfm.networks.layers import (
    Params,
    Pullback,
    dense,
    fourier_features,
    init_dense,
    init_label_embedding,
    label_embedding,
)

if TYPE_CHECKING:
    from numpy.random import Generator


def init_conditioning(rng: "Generator", n_labels: int, n_features: int, dim: int, *, like: Array) -> Params:
    """Draw the parameters of labels: a table, last row "no label", or those of ``feature_embedding``.

    Raises
    ------
    ValueError
        Unless exactly one of the two numbers is positive.
    """
    if (n_labels > 0) == (n_features > 0):
        raise ValueError(f"choose n_labels or n_features, not both; got {n_labels} and {n_features}")
    if n_labels:
        return init_label_embedding(rng, n_labels + 1, dim, like=like)
    none = asarray_like(rng.standard_normal(dim), like)
    return {**init_dense(rng, n_features, dim, like=like, scale=1.0), "none": none}


def embed_condition(
    params: Params, t: Array, labels: Array | None, /
) -> tuple[Array, Callable[[Array], Params]]:
    """Fourier features of time, followed by the learned vector of the label if there are labels.

    Equation: none. Part of the networks of WFM-AppE2-network and GWFM-C7, which are audited whole.

    Parameters
    ----------
    params : dict
        Those of the whole ``transformer``.
    t : array, shape (B,)
    labels : array, shape (B,) of integers, or (B, n_features) of floats, or None

    Returns
    -------
    condition : array, shape (B, c)
    pullback : function
        ``d_condition -> d_params``, a dictionary that is empty or has the key ``labels``.

    Examples
    --------
    >>> params = {"blocks": {"0": {"condition": {"weight": np.zeros((4, 8))}}}}
    >>> embed_condition(params, np.zeros(1), None)[0].tolist()  # two cosines, two sines
    [[1.0, 1.0, 0.0, 0.0]]
    """
    n_time = next(iter(params["blocks"].values()))["condition"]["weight"].shape[0]
    if labels is None:
        return fourier_features(t, n_time // 2)[0], lambda d_condition: {}

    xp = array_namespace(t)
    embed = label_embedding if "table" in params["labels"] else feature_embedding
    embedded, embedding_pullback = embed(params["labels"], labels)
    n_time -= embedded.shape[-1]
    condition = xp.concat([fourier_features(t, n_time // 2)[0], embedded], axis=-1)
    return condition, lambda d_condition: {"labels": embedding_pullback(d_condition[:, n_time:])[0]}


def feature_embedding(params: Params, features: Array, /) -> tuple[Array, Pullback]:
    """Dense embedding of vectors, and a learned vector where there is none: where all features are NaN.

    Equation: WFM-AppE2-labels.

    Parameters
    ----------
    params : dict
        ``weight`` (n_features, dim), ``bias`` (dim,) and ``none`` (dim,).
    features : array, shape (..., n_features)
        A vector with some NaN, but not all, gives NaN.

    Returns
    -------
    y : array, shape (..., dim)
    pullback : function
        ``d_y -> (d_params, None)``.

    Examples
    --------
    >>> params = {"weight": np.eye(2), "bias": np.ones(2), "none": np.full(2, 7.0)}
    >>> feature_embedding(params, np.asarray([[1.0, 2.0], [np.nan, np.nan]]))[0].tolist()
    [[2.0, 3.0], [7.0, 7.0]]
    """
    xp = check_floating(features=features, **params)
    absent = xp.all(xp.isnan(features), axis=-1)[..., None]
    y, dense_pullback = dense(params, xp.where(absent, 0.0, features))

    def pullback(d_y: Array) -> tuple[Params, None]:
        d_dense, _ = dense_pullback(xp.where(absent, 0.0, d_y))
        d_none = xp.sum(xp.where(absent, d_y, 0.0), axis=tuple(range(d_y.ndim - 1)))
        return {"weight": d_dense["weight"], "bias": d_dense["bias"], "none": d_none}, None

    return xp.where(absent, params["none"], y), pullback


def unlabelled(params: Params, labels: Array, /) -> Array:
    """Labels of the same shape that all say "no label", for training without and for guidance.

    Equation: WFM-AppE2-labels.

    Examples
    --------
    >>> unlabelled({"labels": {"table": np.zeros((3, 8))}}, np.asarray([0, 1])).tolist()
    [2, 2]
    """
    xp = array_namespace(labels)
    none = params["labels"]["table"].shape[0] - 1 if "table" in params["labels"] else math.nan
    return xp.full_like(labels, none)


def guidance(v_label: Array, v_none: Array, weight: float, /) -> Array:
    """Guided velocity ``(1 + w) v_label - w v_none``: further from the unconditional one for w > 0.

    Equation: WFM-AppE2-guidance. Ho and Salimans, equation 6. Arrays of the same shape.

    Examples
    --------
    >>> guidance(np.asarray([2.0]), np.asarray([1.0]), 0.5).tolist()  # 1.5 · 2 - 0.5 · 1
    [2.5]
    """
    check_floating(v_label=v_label, v_none=v_none)
    if v_label.shape != v_none.shape:
        raise ValueError(
            f"v_label and v_none must have the same shape; got {tuple(v_label.shape)} and "
            f"{tuple(v_none.shape)}"
        )
    return (1.0 + weight) * v_label - weight * v_none


def check_cloud_labels(params: Params, labels: Array | None, batch: tuple[int, ...], /) -> Array | None:
    """Check the labels that ``transformer`` is given for clouds of shape ``batch``; return one batch axis.

    Raises
    ------
    TypeError, ValueError
        As ``transformer`` does.
    """
    if ("labels" in params) != (labels is not None):
        raise ValueError(
            "these parameters expect labels, one per cloud (unlabelled(...) says none); got none"
            if labels is None
            else "these parameters expect no labels; got some"
        )
    if labels is None:
        return None
    xp = array_namespace(labels)
    discrete = "table" in params["labels"]
    shape = batch if discrete else (*batch, params["labels"]["weight"].shape[0])
    if not xp.isdtype(labels.dtype, "integral" if discrete else "real floating"):
        kind = "integers" if discrete else "real vectors"
        raise TypeError(f"labels must be {kind} for these parameters; got dtype {labels.dtype}")
    if tuple(labels.shape) != shape:
        raise ValueError(f"labels must have shape {shape}, one per cloud; got {tuple(labels.shape)}")
    return xp.reshape(labels, (math.prod(batch), *shape[len(batch) :]))
