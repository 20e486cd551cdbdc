"""The field of Bures-Wasserstein flow matching: two perceptrons that read a Gaussian and a time.

A tangent vector at N(m, Σ) is the affine map ``x -> a + S (x - m)`` with S symmetric: one network returns the
mean's velocity a, the other the matrix S.
"""

from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, check_floating, device
from refwfm.measures import Gaussian, check_measure
from refwfm.networks.conditioning import feature_embedding, init_conditioning
from refwfm.networks.features import space_features
from refwfm.networks.layers import (
    Layer,
    Params,
    Pullback,
    fourier_features,
    init_label_embedding,
    label_embedding,
    unvech,
    vech,
)
from refwfm.networks.mlp import init_mlp, mlp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator


def init_bures_mlp(
    rng: "Generator",
    d: int,
    *,
    like: Array,
    width: int = 1024,
    depth: int = 6,
    n_frequencies: int = 16,
    n_state: int = 0,
    n_labels: int = 0,
    n_features: int = 0,
    label_dim: int = 32,
) -> Params:
    """Draw the parameters of ``bures_mlp``.

    The network is that of WFM-AppE1-network.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the Gaussians.
    like : array
        Fixes library, dtype and device.
    width, depth : int
        Sizes of each of the two networks.
    n_frequencies : int
        Frequencies of the Fourier features of time.
    n_state : int
        Frequencies of the Fourier features of the state, ``scaling["frequencies"]`` (ours, not the paper's).
    n_labels, n_features : int
        Number of classes, or length of the vectors that Gaussians are conditioned on; one of them is 0.
    label_dim : int
        Length of the learned vectors of either.

    Returns
    -------
    dict
        ``mean`` and ``matrix``: for each network ``mlp``, and ``labels`` when there are some.
    """
    n_in = d + d * (d + 1) // 2 + 2 * n_frequencies + 2 * n_state
    n_in += label_dim if n_labels or n_features else 0
    params: Params = {}
    for name, n_out in (("mean", d), ("matrix", d * (d + 1) // 2)):
        params[name] = {"mlp": init_mlp(rng, n_in, n_out, like=like, width=width, depth=depth)}
        if n_labels:
            params[name]["labels"] = init_label_embedding(rng, n_labels, label_dim, like=like)
        elif n_features:
            params[name]["labels"] = init_conditioning(rng, 0, n_features, label_dim, like=like)
    return params


def identity_scaling(d: int, /, *, like: Array) -> Params:
    """Return the scaling of ``bures_mlp`` that changes nothing (shifts 0, scales 1).

    Equation: none. Constants that change nothing.

    Returns
    -------
    dict
        ``input_shift`` and ``input_scale``, shape (d + d (d + 1) / 2,), for the mean and vech(cov);
        ``mean_scale`` (d,) and ``matrix_scale`` (d (d + 1) / 2,) for the outputs.

    Examples
    --------
    >>> {name: part.shape for name, part in identity_scaling(2, like=np.zeros(0)).items()}
    {'input_shift': (5,), 'input_scale': (5,), 'mean_scale': (2,), 'matrix_scale': (3,)}
    """
    xp = check_floating(like=like)
    options = {"dtype": like.dtype, "device": device(like)}
    n = d * (d + 1) // 2
    return {
        "input_shift": xp.zeros(d + n, **options),
        "input_scale": xp.ones(d + n, **options),
        "mean_scale": xp.ones(d, **options),
        "matrix_scale": xp.ones(n, **options),
    }


def bures_mlp(
    params: Params,
    scaling: Params,
    mu: Gaussian,
    t: Array,
    /,
    labels: Array | None = None,
    *,
    perceptron: Layer = mlp,
) -> tuple[tuple[Array, Array], "Callable[[tuple[Array, Array]], Params]"]:
    """Tangent vector ``(a, S)`` that the two networks predict at the Gaussians ``mu`` and times ``t``.

    Equation: WFM-AppE1-network, WFM-RFF. Both networks read the mean and the lower-triangular entries of the
    covariance (standardised by ``scaling``), the Fourier features of time and, when there are labels, a
    learned vector. With ``scaling["frequencies"]`` also random Fourier features of the state.

    Parameters
    ----------
    params : dict
        As ``init_bures_mlp`` returns them.
    scaling : dict
        Constants of the data, as in ``identity_scaling``; they get no gradient. ``frequencies``, shape
        (d + d (d + 1) / 2, m), of the features of the standardised state, if the parameters are for them.
    mu : Gaussian, mean (..., d), cov (..., d, d)
    t : array, shape (...)
    labels : array of integers, shape (...), or of floats, shape (..., n_features), optional
        Classes, in range (``check_labels``), or vectors (``feature_embedding``); required exactly when the
        parameters are for them.
    perceptron : callable
        ``mlp``, or a twin of it.

    Returns
    -------
    (mean_velocity, matrix) : arrays, shapes (..., d) and (..., d, d), the second symmetric
    pullback : function
        ``(d_mean_velocity, d_matrix) -> d_params``.

    Raises
    ------
    ValueError
        If labels are missing or not expected, or shapes disagree.

    Examples
    --------
    >>> params = init_bures_mlp(np.random.default_rng(0), 2, like=np.zeros(0), width=8, depth=1)
    >>> mu, scaling = Gaussian(np.zeros((3, 2)), np.zeros((3, 2, 2))), identity_scaling(2, like=np.zeros(0))
    >>> (a, S), pullback = bures_mlp(params, scaling, mu, np.zeros(3))
    >>> a.shape, S.shape, float(np.max(np.abs(S)))  # the zero field before training
    ((3, 2), (3, 2, 2), 0.0)
    """
    x = input_features(params, scaling, mu, t, labels)
    mean, mean_pullback = _labelled_mlp(params["mean"], x, labels, perceptron)
    entries, matrix_pullback = _labelled_mlp(params["matrix"], x, labels, perceptron)
    matrix, unvech_pullback = unvech(entries * scaling["matrix_scale"], mu.mean.shape[-1])

    def pullback(d_output: tuple[Array, Array]) -> Params:
        d_mean, d_matrix = d_output
        return {
            "mean": mean_pullback(d_mean * scaling["mean_scale"]),
            "matrix": matrix_pullback(unvech_pullback(d_matrix) * scaling["matrix_scale"]),
        }

    return (mean * scaling["mean_scale"], matrix), pullback


def input_features(
    params: Params, scaling: Params, mu: Gaussian, t: Array, labels: Array | None = None, /
) -> Array:
    """Return what both networks of ``bures_mlp`` read: standardised mean and vech(cov), and time (no labels).

    Equation: WFM-AppE1-network, WFM-RFF.

    Returns
    -------
    array, shape (..., d + d (d + 1) / 2 + 2 n_frequencies + 2 n_state), features of the state last

    Raises
    ------
    ValueError
        As ``bures_mlp`` does.

    Examples
    --------
    >>> params = init_bures_mlp(np.random.default_rng(0), 2, like=np.zeros(0), n_frequencies=4)
    >>> mu, scaling = Gaussian(np.zeros((3, 2)), np.zeros((3, 2, 2))), identity_scaling(2, like=np.zeros(0))
    >>> input_features(params, scaling, mu, np.zeros(3)).shape  # 2 + 3 + 2 · 4
    (3, 13)
    """
    check_measure(mu, Gaussian, "mu")
    weight = params["mean"]["mlp"]["in"]["weight"]
    check_floating(mu=mu.mean, t=t, scaling=scaling["input_shift"], params=weight)
    batch, d = tuple(mu.mean.shape[:-1]), mu.mean.shape[-1]
    if tuple(mu.cov.shape) != (*batch, d, d):
        raise ValueError(
            "mu must have a mean of shape (..., d) and a cov of shape (..., d, d); "
            f"got {tuple(mu.mean.shape)} and {tuple(mu.cov.shape)}"
        )
    n_state = d + d * (d + 1) // 2
    embedding = params["mean"].get("labels")
    if (embedding is None) != (labels is None):
        raise ValueError(
            "these parameters expect no labels; got some"
            if embedding is None
            else "these parameters expect labels, one per Gaussian; got none"
        )
    vectors = embedding is not None and "table" not in embedding
    wanted = (*batch, embedding["weight"].shape[0]) if vectors else batch
    if tuple(t.shape) != batch or (labels is not None and tuple(labels.shape) != wanted):
        raise ValueError(
            f"t and labels must have the shape {batch} of the batch of Gaussians; got t {tuple(t.shape)}"
            + ("" if labels is None else f" and labels {tuple(labels.shape)}")
            + (f"; labels, vectors here, {wanted}" if vectors else "")
        )
    frequencies = scaling.get("frequencies")
    n_time = weight.shape[0] - n_state - (0 if frequencies is None else 2 * frequencies.shape[1])
    n_time -= 0 if embedding is None else embedding["none" if vectors else "table"].shape[-1]
    if tuple(scaling["mean_scale"].shape) != (d,) or n_time < 0:
        raise ValueError(f"mu has dimension d = {d}, but the parameters or the scaling are for another one")
    xp = array_namespace(mu.mean, t)
    state = xp.concat([mu.mean, vech(mu.cov)[0]], axis=-1)
    state = (state - scaling["input_shift"]) / scaling["input_scale"]
    features = [] if frequencies is None else [space_features(frequencies, state)]
    return xp.concat([state, fourier_features(t, n_time // 2)[0], *features], axis=-1)


def _labelled_mlp(
    params: Params, x: Array, labels: Array | None, perceptron: Layer
) -> tuple[Array, Pullback]:
    """One of the two networks; its pullback returns only the parameters' gradient."""
    if labels is None:
        y, mlp_pullback = perceptron(params["mlp"], x)
        return y, lambda d_y: {"mlp": mlp_pullback(d_y)[0]}

    xp = array_namespace(x)
    n = x.shape[-1]
    embed = label_embedding if "table" in params["labels"] else feature_embedding
    embedded, embedding_pullback = embed(params["labels"], labels)
    y, mlp_pullback = perceptron(params["mlp"], xp.concat([x, embedded], axis=-1))

    def pullback(d_y: Array) -> Params:
        d_mlp, d_x = mlp_pullback(d_y)
        return {"mlp": d_mlp, "labels": embedding_pullback(d_x[..., n:])[0]}

    return y, pullback
