"""The velocities that flow matching converges to where they are known: particles blurred by normal noise.

A particle at ``x₁`` starts at ``x₀ = x₁ + σ ε`` and moves along ``x_t = x₁ + (1 - t) σ ε`` with the velocity
``u = x₁ - x₀ = -σ ε``. The best regression on ``x_t`` is ``E[u | x_t] = (1 - t) σ² ∇ log p_t(x_t)``, with p_t
the law of ``x₁`` blurred by ``(1 - t) σ``. Its loss is the mean of ``tr Var(u | x_t)``, which nothing beats.

With the centres of one population this is what a model that knows the population can reach; with those of
all populations pooled, what one model for all of them converges to.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    expand,
    nonnegative,
    sq_distances,
    take_rows,
    to_host,
    transpose,
)
from refwfm.evidence import eigh
from refwfm.measures import Gaussian, check_measure
from refwfm.transport.problem import check_weights, log_weights

BLOCK = 2**14
"""Distances in the largest temporary: what stays in the cache, and is had from the system once for all."""


# Mixtures of isotropic Gaussians


def denoising_velocity(
    x: Array,
    t: Array | float,
    centres: Array,
    /,
    *,
    sigma: float,
    tau: float = 0.0,
    weights: Array | None = None,
) -> Array:
    """Mean velocity at x, at time t, of particles that come from isotropic Gaussians about centres.

    Equation: META-FM-12. ``-(1 - t) σ² / s_t² (x - Σ_j w_j c_j)`` with ``s_t² = τ² + (1 - t)² σ²`` and
    ``w_j`` the posterior weights, the softmax over j of ``log p_j - ‖x - c_j‖² / 2 s_t²``.

    Parameters
    ----------
    x : array, shape (..., n, d)
    t : number, or array of shape (...), from 0 to 1
    centres : array, shape (..., m, d); leading axes broadcast with those of x and t
    sigma : float, not negative. Units: data.
        Standard deviation of the noise at t = 0; nothing moves where it is 0.
    tau : float, not negative. Units: data.
        That of the Gaussians; 0 for points.
    weights : array, shape (..., m), optional
        Their masses p_j; all the same when left out. A centre of weight 0 has no effect.

    Returns
    -------
    array, shape (..., n, d). Units: data for each unit of time. 0 where ``s_t`` is: at t = 1 without τ, where
    the velocity exists at the centres only.

    Raises
    ------
    TypeError, ValueError
        If arrays, shapes, widths or weights are not as above.

    Notes
    -----
    Rows come in blocks, so that no (n, m) array is made. Far from all centres weights are relative to the
    nearest. Differentiable by the library.

    Examples
    --------
    >>> x, centres = np.asarray([[0.0], [8.0]]), np.asarray([[-1.0], [1.0]])
    >>> denoising_velocity(x, 0.5, centres, sigma=2.0).tolist()  # -2 (x - mean of the centres)
    [[-0.0], [-14.000000450140648]]
    """
    t, s2, logs = _given(x, t, centres, sigma, tau, weights)
    xp = array_namespace(x)
    zero = s2 == 0
    factor = xp.where(zero, 0.0, (1.0 - t) * sigma**2 / xp.where(zero, 1.0, s2))

    def velocity(rows: Array) -> Array:
        kernel, total = _kernel(rows, centres, s2, logs)
        return -factor * (rows - kernel @ centres / total)

    return _by_rows(velocity, x, centres, s2)


def denoising_variance(
    x: Array,
    t: Array | float,
    centres: Array,
    /,
    *,
    sigma: float,
    tau: float = 0.0,
    weights: Array | None = None,
) -> Array:
    """Trace of the variance of the velocities of all particles that are at x at time t.

    Equation: META-FM-15. ``d σ² τ² / s_t² + ((1 - t) σ² / s_t²)² Σ_j w_j ‖c_j - Σ_k w_k c_k‖²``. Its mean
    over ``x_t`` is the least loss of flow matching; that of any other field is larger by the mean square of
    what it differs by from ``denoising_velocity``.

    Parameters and errors are those of ``denoising_velocity``.

    Returns
    -------
    array, shape (..., n), not negative. Units: data squared. ``d σ²`` at t = 1, where the particle does not
    tell its noise.

    Examples
    --------
    >>> x, centres = np.asarray([[0.0]]), np.asarray([[-1.0], [1.0]])
    >>> denoising_variance(x, 0.5, centres, sigma=2.0).tolist()  # it comes from either, at -2 or 2
    [4.0]
    """
    t, s2, logs = _given(x, t, centres, sigma, tau, weights)
    xp, d = array_namespace(x), x.shape[-1]
    zero = s2 == 0
    safe = xp.where(zero, 1.0, s2)
    factor = xp.where(zero, 0.0, (1.0 - t) * sigma**2 / safe)
    inside = d * sigma**2 * xp.where(zero, 1.0, tau**2 / safe)

    def variance(rows: Array) -> Array:
        kernel, total = _kernel(rows, centres, s2, logs)
        far = sq_distances(kernel @ centres / total, centres)
        spread = xp.sum(kernel * far, axis=-1, keepdims=True) / total
        return inside + factor * factor * spread

    return _by_rows(variance, x, centres, s2)[..., 0]


def sample_mixture(
    centres: Array,
    /,
    *,
    rng: np.random.Generator,
    size: int,
    tau: float = 0.0,
    weights: Array | None = None,
) -> Array:
    """Points drawn from isotropic Gaussians about centres.

    Equation: META-FM-12. With the centres of all populations this is what a flow from noise that reads no
    population converges to.

    Parameters
    ----------
    centres : array, shape (..., m, d)
    rng : numpy.random.Generator
    size : int
    tau : float, not negative
    weights : array, shape (..., m), optional

    Returns
    -------
    array, shape (..., size, d)

    Examples
    --------
    >>> sample_mixture(np.asarray([[3.0]]), rng=np.random.default_rng(0), size=2).tolist()
    [[3.0], [3.0]]
    """
    check_floating(centres=centres)
    _check_points(centres, "centres")
    tau, size = _check_width(tau, "tau"), check_integer(size, "size", low=1)
    *batch, m, d = centres.shape
    if weights is None:
        index = rng.integers(0, m, (*batch, size))
    else:
        index = _drawn(to_host(_checked(weights, centres)), rng.random((*batch, size)))
    noise = rng.standard_normal((*batch, size, d))
    return take_rows(centres, index) + tau * asarray_like(noise, centres)


def _drawn(weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """First index at which the running sum of the weights (..., m) exceeds each level (..., size)."""
    m = weights.shape[-1]
    sums = np.cumsum(weights.reshape(-1, m).astype(np.float64), axis=-1)
    sums /= sums[:, -1:]
    member = np.arange(len(sums))[:, None]
    found = np.searchsorted(
        (sums + member).ravel(), (levels.reshape(len(sums), -1) + member).ravel(), "right"
    )
    return (found.reshape(len(sums), -1) - m * member).clip(max=m - 1).reshape(levels.shape)


@np.errstate(over="ignore", invalid="ignore")  # a distance beyond the dtype gives NaN, as an overflow does
def _kernel(x: Array, centres: Array, s2: Array, logs: Array | None) -> tuple[Array, Array]:
    """Posterior weights (..., n, m) of the centres, times their sums (..., n, 1): relative to the nearest."""
    xp = array_namespace(x)
    far = sq_distances(x, centres)
    if logs is not None:
        far = xp.where(logs == -math.inf, math.inf, far)
    logits = (xp.min(far, axis=-1, keepdims=True) - far) / (2.0 * xp.where(s2 == 0, 1.0, s2))
    if logs is not None:
        logits = logits + logs
        logits = logits - xp.max(logits, axis=-1, keepdims=True)
    kernel = xp.exp(logits)
    return kernel, xp.sum(kernel, axis=-1, keepdims=True)


def _by_rows(function: Callable[[Array], Array], x: Array, centres: Array, s2: Array) -> Array:
    """``function`` of the rows of x (..., n, d), some at a time."""
    xp, n = array_namespace(x), x.shape[-2]
    batch = np.broadcast_shapes(x.shape[:-2], centres.shape[:-2], s2.shape[:-2])
    rows = max(1, BLOCK // max(1, centres.shape[-2] * math.prod(batch)))
    if rows >= n:
        return function(x)
    return xp.concat([function(x[..., i : min(i + rows, n), :]) for i in range(0, n, rows)], axis=-2)


def _given(
    x: Array, t: Array | float, centres: Array, sigma: float, tau: float, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Checked: times (..., 1, 1), the blur ``s_t²`` then, and log weights (..., 1, m)."""
    xp = check_floating(x=x, centres=centres)
    _check_points(x, "x")
    _check_points(centres, "centres")
    if x.shape[-1] != centres.shape[-1]:
        raise ValueError(f"x is in dimension {x.shape[-1]}, but centres in dimension {centres.shape[-1]}")
    _check_width(sigma, "sigma")
    _check_width(tau, "tau")
    t = _times(t, x)
    blur = (1.0 - t) * sigma
    logs = None if weights is None else log_weights(_checked(weights, centres))[..., None, :]
    return t, xp.asarray(tau**2 + blur * blur, dtype=x.dtype), logs


def _checked(weights: Array, centres: Array) -> Array:
    check_floating(weights=weights, centres=centres)
    if weights.ndim < 1 or weights.shape[-1] != centres.shape[-2]:
        raise ValueError(
            f"weights must have shape (..., {centres.shape[-2]}), one for each centre; "
            f"got {tuple(weights.shape)}"
        )
    return check_weights(weights, "weights")


def _times(t: Any, x: Array) -> Array:
    """Times (..., 1, 1), as arrays like x."""
    if isinstance(t, int | float):
        t = asarray_like(float(t), x)
    check_floating(t=t, x=x)
    return expand(t, 2)


def _check_points(points: Array, name: str) -> None:
    if points.ndim < 2 or 0 in points.shape[-2:]:
        raise ValueError(f"{name} must have shape (..., n, d) with n, d >= 1; got {tuple(points.shape)}")


def _check_width(value: float, name: str) -> float:
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a finite number, not negative; got {value!r}")
    return float(value)


# Gaussians


def gaussian_denoising_velocity(x: Array, t: Array | float, mu: Gaussian, /, *, sigma: float) -> Array:
    """Mean velocity at x, at time t, of particles that come from a Gaussian.

    Equation: META-FM-13. ``-(1 - t) σ² (Σ + (1 - t)² σ² I)⁻¹ (x - m)``.

    Parameters
    ----------
    x : array, shape (..., n, d)
    t : number, or array of shape (...), from 0 to 1
    mu : Gaussian, mean (..., d), cov (..., d, d), which may be singular
    sigma : float, not negative. Units: data.

    Returns
    -------
    array, shape (..., n, d). Units: data for each unit of time. 0 along directions without variance at t = 1.
    Differentiable in x and the mean; in the covariance it has no derivative, as its eigenvectors are used.

    Examples
    --------
    >>> gaussian_denoising_velocity(np.asarray([[3.0]]), 0.0, Gaussian(np.ones(1), np.eye(1)), sigma=1.0)
    array([[-1.]])
    """
    values, vectors, gap, t = _in_axes(x, t, mu, sigma)
    xp = array_namespace(x)
    blurred = values + ((1.0 - t) * sigma) ** 2
    zero = blurred == 0
    rate = xp.where(zero, 0.0, (1.0 - t) * sigma**2 / xp.where(zero, 1.0, blurred))
    return -(gap * rate) @ transpose(vectors)


def gaussian_denoising_map(x: Array, mu: Gaussian, /, *, sigma: float, t: Array | float = 1.0) -> Array:
    """Where the flow of ``gaussian_denoising_velocity`` has carried the points x at time t.

    Equation: META-FM-13. ``x - m ↦ (Σ + (1 - t)² σ² I)^½ (Σ + σ² I)^-½ (x - m)``: at t = 1 it carries
    ``N(m, Σ + σ² I)`` to ``N(m, Σ)``.

    Parameters
    ----------
    x : array, shape (..., n, d)
        Points at time 0.
    mu : Gaussian, mean (..., d), cov (..., d, d), which may be singular
    sigma : float, not negative
    t : number, or array of shape (...), from 0 to 1

    Returns
    -------
    array, shape (..., n, d)

    Examples
    --------
    >>> mu = Gaussian(np.ones(1), 9.0 * np.eye(1))
    >>> gaussian_denoising_map(np.asarray([[6.0]]), mu, sigma=4.0)  # 1 + 3 / 5 * 5
    array([[4.]])
    """
    values, vectors, gap, t = _in_axes(x, t, mu, sigma)
    xp = array_namespace(x)
    start = values + sigma**2
    zero = start == 0  # without noise nothing moves
    shrunk = xp.sqrt(xp.where(zero, 1.0, (values + ((1.0 - t) * sigma) ** 2) / xp.where(zero, 1.0, start)))
    return mu.mean[..., None, :] + (gap * shrunk) @ transpose(vectors)


def _in_axes(x: Array, t: Array | float, mu: Gaussian, sigma: float) -> tuple[Array, Array, Array, Array]:
    """Variances (..., 1, d) along the principal axes (..., d, d), the points there, and times (..., 1, 1)."""
    mean, cov = check_measure(mu, Gaussian, "mu")
    check_floating(x=x, **{"mu.mean": mean})
    _check_points(x, "x")
    if x.shape[-1] != mean.shape[-1]:
        raise ValueError(f"x is in dimension {x.shape[-1]}, but mu in dimension {mean.shape[-1]}")
    _check_width(sigma, "sigma")
    values, vectors = eigh(cov, "mu.cov")
    return nonnegative(values)[..., None, :], vectors, (x - mean[..., None, :]) @ vectors, _times(t, x)
