"""A network that predicts the parameters of a pair of convex potentials from two clouds of colours.

Fitting a pair of networks (``w2gn``) takes thousands of steps for each problem. A *hypernetwork* reads the
two clouds and writes the 2 x 653 parameters down at once; it is trained on the same loss, over many pairs of
clouds, and its prediction can be fitted further. It must not depend on the order of the points, so what it
reads is a summary: mean, covariance and a histogram of each cloud. (The paper embeds the *images* with a
residual network.)

What it predicts is a correction to a *start*, and its last layer is zero before training:

- ``gaussian_start``, the optimal map between the Gaussians with the clouds' moments, a closed form: what is
  left to learn is how the clouds are no Gaussians. Our choice, and the default of what trains.
- the identity, a pair that was trained to be it by ``training.w2gn.pretrain_identity``, the same for all
  problems: the paper's, whose hypernetwork is pre-trained to predict one. Here that holds exactly.

References
----------
Amos et al., "Meta optimal transport", 2023, section 4.2.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from refwfm import bures, psd
from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    device,
    eye,
    symmetrize,
)
from refwfm.clouds import moments
from refwfm.measures import Gaussian, check_measure
from refwfm.meta.icnn import CORE_AXES, gradient_map, ravel, unravel
from refwfm.meta.w2gn import CYCLE, PENALTY, check_pair, w2gn_loss_and_grad
from refwfm.networks.layers import Params, Pullback, dense, init_dense, relu, vech

if TYPE_CHECKING:
    from numpy.random import Generator

BINS = 4
"""Bins of the histogram along each colour."""

RIDGE = 1e-3
"""Variance that ``gaussian_start`` adds in all directions of the cube of side 1: (8 of 256 shades)²."""


def summary(points: Array, /) -> Array:
    """What the hypernetwork reads of a cloud in the cube ``[0, 1]ᵈ``: mean, covariance, histogram.

    Equation: META-OT-13. The order of the points has no influence. Each part is scaled to numbers of about
    size 1: the mean less 1/2, times 4; the principal root of the covariance, times 4; the root of the shares
    of ``BINSᵈ`` boxes.

    Parameters
    ----------
    points : array, shape (..., n, d)
        Those outside the cube are counted in the box nearest to them.

    Returns
    -------
    array, shape (..., d + d (d + 1) / 2 + BINSᵈ): 73 numbers for d = 3

    Examples
    --------
    >>> summary(np.full((5, 3), 0.5)).shape
    (73,)
    >>> float(summary(np.full((5, 3), 0.5)).max())  # all in one box
    1.0
    """
    xp = check_floating(points=points)
    n, d = points.shape[-2:]
    mu = moments(points)
    edges = asarray_like(np.arange(1, BINS) / BINS, points)
    box = xp.sum(xp.astype(points[..., None] >= edges, points.dtype), axis=-1)  # (..., n, d)
    live = xp.astype(box[..., None] == asarray_like(np.arange(BINS), points), points.dtype)
    shares = live[..., 0, :]
    for k in range(1, d):
        shares = xp.reshape(shares[..., :, None] * live[..., k, None, :], (*shares.shape[:-1], -1))
    parts = [4.0 * (mu.mean - 0.5), 4.0 * vech(psd.sqrtm(mu.cov))[0], xp.sqrt(xp.sum(shares, axis=-2) / n)]
    return xp.concat(parts, axis=-1)


def init_hypernetwork(
    rng: "Generator", n_features: int = 73, n_parameters: int = 653, /, *, like: Array, width: int = 512
) -> Params:
    """Draw the parameters of ``hypernetwork``: ``in`` (2 F, width), ``out`` (width, 2 P), zero."""
    return {
        "in": init_dense(rng, 2 * n_features, width, like=like),
        "out": init_dense(rng, width, 2 * n_parameters, like=like, scale=0.0),
    }


def hypernetwork(params: Params, of_x: Array, of_y: Array, /) -> tuple[Array, Pullback]:
    """Corrections to the flat parameters of both potentials, from the summaries of two clouds.

    Equation: META-OT-13. ``out(relu(in([s_α, s_β])))``.

    Parameters
    ----------
    params : dict
        As ``init_hypernetwork`` returns them.
    of_x, of_y : array, shape (..., F)
        Summaries of the two clouds.

    Returns
    -------
    corrections : array, shape (..., 2, P)
        Of the potential and of its conjugate.
    pullback : function
        ``d_corrections -> d_params``.

    Examples
    --------
    >>> params = init_hypernetwork(np.random.default_rng(0), 73, 653, like=np.zeros(0), width=8)
    >>> hypernetwork(params, np.ones((5, 73)), np.ones((5, 73)))[0].shape
    (5, 2, 653)
    """
    xp = check_floating(of_x=of_x, of_y=of_y)
    h, in_pullback = dense(params["in"], xp.concat([of_x, of_y], axis=-1))
    h, relu_pullback = relu(h)
    flat, out_pullback = dense(params["out"], h)

    def pullback(d_corrections: Array) -> Params:
        d_out, d_h = out_pullback(xp.reshape(d_corrections, flat.shape))
        d_in, _ = in_pullback(relu_pullback(d_h))
        return {"in": d_in, "out": d_out}

    return xp.reshape(flat, (*flat.shape[:-1], 2, -1)), pullback


def predict(params: Params, of_x: Array, of_y: Array, start: Params, /) -> tuple[Params, Pullback]:
    """Pairs of potentials: a start, and the corrections of the hypernetwork.

    Equation: META-OT-13.

    Parameters
    ----------
    params : dict
        As ``init_hypernetwork`` returns them.
    of_x, of_y : array, shape (..., F)
        As ``summary`` returns them.
    start : dict
        A pair of networks, for each problem (``gaussian_start``) or for all (the identity).

    Returns
    -------
    pair : dict
        ``potential`` and ``conjugate``; leading axes are problems.
    pullback : function
        ``d_pair -> d_params``.

    Examples
    --------
    >>> from refwfm.meta.w2gn import init_pair
    >>> rng, like = np.random.default_rng(0), np.zeros(0)
    >>> start = init_pair(rng, like=like)
    >>> params, of_x = init_hypernetwork(rng, like=like, width=8), np.ones((5, 73))
    >>> U = predict(params, of_x, of_x, start)[0]["potential"]["hidden"]
    >>> U.shape, bool(np.all(U == start["potential"]["hidden"]))
    ((5, 128, 3), True)
    """
    corrections, pull_corrections = hypernetwork(params, of_x, of_y)
    width, d = start["potential"]["hidden"].shape[-2:]
    names = ("potential", "conjugate")
    flat = {name: ravel(start[name]) + corrections[..., i, :] for i, name in enumerate(names)}
    pair = {name: unravel(vector, d=d, width=width) for name, vector in flat.items()}

    def pullback(d_pair: Params) -> Params:
        xp = array_namespace(corrections)
        return pull_corrections(xp.stack([ravel(d_pair[name]) for name in names], axis=-2))

    return pair, pullback


def loss_and_grad(
    params: Params,
    of_x: Array,
    of_y: Array,
    start: Params,
    x: Array,
    y: Array,
    /,
    *,
    cycle: float = CYCLE,
    penalty: float = PENALTY,
) -> tuple[Array, Params]:
    """Mean loss of the predicted pairs of potentials over a batch of problems, and its gradient.

    Equation: META-OT-13. ``E L(φ_θ(α, β); α, β)`` with the loss L of META-OT-11.

    Parameters
    ----------
    params : dict
        As ``init_hypernetwork`` returns them.
    of_x, of_y : array, shape (B, F)
        Summaries of the clouds; they may be of more points than x and y, which are drawn anew in each step.
    start : dict
        As ``predict`` takes it.
    x, y : array, shape (B, n, d) and (B, m, d)
    cycle, penalty : float
        As for ``w2gn_loss_and_grad``.

    Returns
    -------
    loss : array, shape ()
    grads : dict like ``params``

    Examples
    --------
    >>> from refwfm.meta.w2gn import init_pair
    >>> rng, like, x = np.random.default_rng(0), np.zeros(0), np.full((5, 7, 3), 0.5)
    >>> params, of_x = init_hypernetwork(rng, like=like, width=8), summary(x)
    >>> loss, grads = loss_and_grad(params, of_x, of_x, init_pair(rng, like=like), x, x)
    >>> loss.shape, sorted(grads)
    ((), ['in', 'out'])
    """
    pair, pullback = predict(params, of_x, of_y, start)
    check_pair(pair, x, y)
    losses, d_pair = w2gn_loss_and_grad(pair, x, y, cycle=cycle, penalty=penalty)
    size = math.prod(losses.shape)
    xp = array_namespace(losses)
    mean = {name: {key: grad / size for key, grad in d_params.items()} for name, d_params in d_pair.items()}
    return xp.sum(losses) / size, pullback(mean)


def gaussian_start(mu: Gaussian, nu: Gaussian, ridges: Params, /, *, ridge: float = RIDGE) -> Params:
    """Pairs of potentials whose quadratic parts are the optimal map between Gaussians, and its inverse.

    Equation: META-OT-13. ``∇ψ(x) = m_β + A (x - m_α)``, ``A`` the map of META-OT-6 between the covariances
    plus ``ridge`` times the identity: in a cloud of one colour a map has no slope that could be told, and
    gets a moderate one. The ridges ``wᵀ σ(U x + c)`` are those of the networks given, for all problems
    alike; at the mean the map is right.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d)
        Moments of the clouds: ``clouds.moments``.
    ridges : dict
        A pair of networks, without a batch, whose ``hidden``, ``bias`` and ``omega`` are taken:
        ``init_ridges``.
    ridge : float
        Variance, in squared units of the data.

    Returns
    -------
    dict
        A pair of networks with the batch axes of the Gaussians.

    Examples
    --------
    >>> from refwfm.meta.icnn import gradient_map
    >>> mu, nu = Gaussian(np.zeros(3), np.eye(3)), Gaussian(np.ones(3), 4.0 * np.eye(3))
    >>> start = gaussian_start(mu, nu, init_ridges(np.random.default_rng(0), like=np.zeros(0)))
    >>> gradient_map(start["potential"], np.zeros((1, 3)))[0].round(6).tolist()
    [[1.0, 1.0, 1.0]]
    """
    mu, nu = check_measure(mu, Gaussian, "mu"), check_measure(nu, Gaussian, "nu")
    wide = [Gaussian(each.mean, each.cov + ridge * eye(each.cov.shape[-1], each.cov)) for each in (mu, nu)]
    return {
        "potential": _quadratic_on(ridges["potential"], *wide),
        "conjugate": _quadratic_on(ridges["conjugate"], *wide[::-1]),
    }


def _quadratic_on(ridges: Params, mu: Gaussian, nu: Gaussian) -> Params:
    """Parameters whose map is the affine one from mu to nu, and right at the mean whatever the ridges."""
    xp, batch = array_namespace(mu.mean), mu.mean.shape[:-1]
    A = bures.gelbrich_map(mu, nu, validate=False)
    params = {
        name: xp.broadcast_to(ridges[name], (*batch, *ridges[name].shape))
        for name in ("hidden", "bias", "omega")
    }
    params["constant"] = xp.zeros(batch, dtype=mu.mean.dtype, device=device(mu.mean))
    params["quadratic"] = psd.sqrtm(0.5 * symmetrize(A), validate=False)
    params["linear"] = xp.zeros_like(mu.mean)
    params = {name: params[name] for name in CORE_AXES}
    there = gradient_map(params, mu.mean[..., None, :])[0][..., 0, :]
    return params | {"linear": nu.mean - there}


def init_ridges(
    rng: "Generator", d: int = 3, /, *, like: Array, width: int = 128, weight: float = 0.01
) -> Params:
    """Draw the ridges that a hypernetwork starts from: unit directions, kinks in the cube.

    ``U`` are unit vectors, ``c = -⟨U, p⟩`` with p uniform in ``[0, 1]ᵈ``, and ``softplus(ω) = weight``: so
    small that the quadratic part is nearly the whole map, and where the data are, so that each weight can
    make a difference.
    """
    omega = float(np.log(np.expm1(weight)))
    pair = {}
    for name in ("potential", "conjugate"):
        directions = rng.standard_normal((width, d))
        directions /= np.sqrt(np.sum(directions**2, axis=-1, keepdims=True))
        bias = -np.sum(directions * rng.uniform(0.0, 1.0, (width, d)), axis=-1)
        values = {"hidden": directions, "bias": bias, "omega": np.full(width, omega)}
        values |= {"linear": np.zeros(d), "constant": np.zeros(()), "quadratic": np.zeros((d, d))}
        pair[name] = {key: asarray_like(value, like) for key, value in values.items()}
    return pair
