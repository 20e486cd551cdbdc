"""Source meta-measures over point clouds: where their flow starts.

Points drawn from one fixed law would look more and more alike as clouds grow: the source would collapse to
that law, and nothing of the family's variety could start there. So the law itself is drawn first, one for
every cloud (`sample_cholesky_normal`); the fixed laws are there for comparison.

Points are drawn on the host in float64, so that every library and device starts from the same numbers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import Array, all_finite, array_namespace, eps, like, transpose
from refwfm.measures import PointCloud, check_psd
from refwfm.psd import sqrtm


class CholeskyNormal(NamedTuple):
    """Centred normal laws whose Cholesky factors have independent normal entries.

    Attributes
    ----------
    mean, std : array, shape (d, d), lower-triangular
        Of each entry of the factor. Units: data.
    """

    mean: Array
    std: Array


def fit_cholesky_normal(cov: Array, /, *, validate: bool = True) -> CholeskyNormal:
    """Source fitted to covariances: mean and deviation of every entry of their Cholesky factors.

    Equation: WFM App. D. (The paper writes ``N(μ_L, σ_L I)`` with σ_L a standard deviation: here
    ``L_ij = μ_ij + σ_ij z_ij``, which is what the authors' published code draws.)

    Parameters
    ----------
    cov : array, shape (N, d, d), symmetric positive semi-definite
        Of the targets; singular ones (clouds of few points) have factors too.

    validate : bool
        Also check values. On a GPU this waits for the device.

    Raises
    ------
    ValueError
        If there is none, or one is not finite, symmetric and positive semi-definite.
    """
    if cov.ndim != 3 or 0 in cov.shape or cov.shape[1] != cov.shape[2]:
        raise ValueError(f"cov must have shape (N, d, d) with N, d >= 1; got {tuple(cov.shape)}")
    if validate:
        if not all_finite(cov):
            raise ValueError("cov must be finite; got NaN or infinity")
        cov = check_psd(cov)
    xp = array_namespace(cov)
    factors = cholesky(cov)
    return CholeskyNormal(xp.mean(factors, axis=0), xp.std(factors, axis=0))


def cholesky(cov: Array, /) -> Array:
    """Lower-triangular L with ``L Lᵀ = cov`` and a diagonal that is not negative, for singular cov too.

    Equation: WFM App. D. With the symmetric root ``R = Q U`` (a QR decomposition), ``cov = Uᵀ U``.

    Unique for positive definite cov. Of a singular one the factor is returned whose columns vanish at
    coordinates that do not vary and, when the first r coordinates determine the rest, after the r-th.

    Parameters
    ----------
    cov : array, shape (..., d, d), symmetric positive semi-definite
    """
    xp = array_namespace(cov)
    # What the root holds at coordinates without variance is rounding, which QR would turn into any direction.
    variance = xp.linalg.diagonal(cov)
    varies = variance > cov.shape[-1] * eps(cov) * xp.max(variance, axis=-1, keepdims=True)
    root = xp.where(varies[..., :, None] & varies[..., None, :], sqrtm(cov, validate=False), 0.0)
    upper = xp.linalg.qr(root)[1]
    signs = xp.where(xp.linalg.diagonal(upper) < 0, -xp.ones_like(variance), xp.ones_like(variance))
    return xp.tril(transpose(signs[..., None] * upper))


def sample_cholesky_normal(
    source: CholeskyNormal, /, *, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    """Draw clouds ``x_k = L z_k``, each with a factor L of its own.

    Equation: WFM App. D. ``E[L Lᵀ] = μ μᵀ + diag(Σⱼ σ_ij²)``; the law of a cloud's points is centred.

    Parameters
    ----------
    sizes : numpy.ndarray of integers, shape (B,)
        Points of each cloud, at least 1.

    Returns
    -------
    PointCloud, points (B, max(sizes), d); the rows after the first ``sizes[i]`` of cloud i are padding

    Raises
    ------
    ValueError
        If sizes are not integers of at least 1.
    """
    sizes = _check_sizes(sizes)
    d = source.mean.shape[0]
    noise = like(np.tril(rng.standard_normal((len(sizes), d, d))), source.mean)
    factors = source.mean + source.std * noise
    z, weights = _draw(rng.standard_normal, sizes, d, source.mean)
    return PointCloud(z @ transpose(factors), weights)


def sample_standard_normal(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of independent standard normal points. Returns and raises as ``sample_cholesky_normal``.

    ``like`` is an array in whose library, dtype and device they are wanted.
    """
    return _draw(rng.standard_normal, _check_sizes(sizes), d, like)


def sample_uniform(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of points uniform in the cube ``[-√3, √3]^d``: mean 0 and variance 1 per coordinate.

    Arguments and results are those of ``sample_standard_normal``.
    """
    side = math.sqrt(3.0)
    return _draw(lambda shape: rng.uniform(-side, side, shape), _check_sizes(sizes), d, like)


def prefix_weights(sizes: np.ndarray, n: int, /) -> np.ndarray:
    """Uniform weights (B, n) of clouds whose first ``sizes[i]`` of n rows are points."""
    sizes = _check_sizes(sizes, n)
    return np.where(np.arange(n) < sizes[:, None], 1.0 / sizes[:, None], 0.0)


def _check_sizes(sizes: np.ndarray, largest: int | None = None) -> np.ndarray:
    sizes = np.asarray(sizes)
    whole = sizes.ndim == 1 and sizes.dtype.kind in "iu"
    if not whole or np.any(sizes < 1) or (largest is not None and np.any(sizes > largest)):
        wanted = "of at least 1" if largest is None else f"from 1 to {largest}"
        raise ValueError(f"sizes must be integers {wanted}, one for each cloud; got {sizes!r}")
    return sizes


def _draw(
    noise: Callable[[tuple[int, int]], np.ndarray], sizes: np.ndarray, d: int, template: Array
) -> PointCloud:
    """Clouds of independent points, in the library, dtype and device of ``template``.

    One cloud's points are drawn after the other's, so that padding takes no random numbers.
    """
    weights = prefix_weights(sizes, int(np.max(sizes, initial=1)))
    points = np.zeros((*weights.shape, d))
    points[weights > 0] = noise((int(np.sum(sizes)), d))
    return PointCloud(like(points, template), like(weights, template))
