"""Source meta-measures over point clouds: where their flow starts.

Points drawn from one fixed law would look more and more alike as clouds grow: the source would collapse to
that law, and nothing of the family's variety could start there. So the law itself is drawn first, one for
every cloud (`sample_cholesky_normal`); the fixed laws are there for comparison.

Points are drawn on the host in float64, so that every library and device starts from the same numbers.
"""

import math
from typing import NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, like, transpose
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

    Raises
    ------
    ValueError
        If there is none, or one is not symmetric positive semi-definite.
    """
    if cov.ndim != 3 or cov.shape[0] == 0:
        raise ValueError(f"cov must have shape (N, d, d) with N >= 1; got {tuple(cov.shape)}")
    xp = array_namespace(cov)
    factors = cholesky(check_psd(cov) if validate else cov)
    return CholeskyNormal(xp.mean(factors, axis=0), xp.std(factors, axis=0))


def cholesky(cov: Array, /) -> Array:
    """Lower-triangular L with ``L Lᵀ = cov`` and a diagonal that is not negative, for singular cov too.

    Equation: WFM App. D. With the symmetric root ``R = Q U`` (a QR decomposition), ``cov = Uᵀ U``.

    Parameters
    ----------
    cov : array, shape (..., d, d), symmetric positive semi-definite
    """
    xp = array_namespace(cov)
    upper = xp.linalg.qr(sqrtm(cov, validate=False))[1]
    diagonal = xp.linalg.diagonal(upper)
    signs = xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))
    return xp.tril(transpose(signs[..., None] * upper))


def sample_cholesky_normal(
    source: CholeskyNormal, /, *, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    """Draw clouds ``x_k = L z_k``, each with a factor L of its own.

    Equation: WFM App. D. ``E[L Lᵀ] = μ μᵀ + diag(Σⱼ σ_ij²)``; the law of a cloud's points is centred.

    Parameters
    ----------
    sizes : numpy.ndarray, shape (B,)
        Points of each cloud, at least 1.

    Returns
    -------
    PointCloud, points (B, max(sizes), d); the rows after the first ``sizes[i]`` of cloud i are padding
    """
    d = source.mean.shape[0]
    noise = like(np.tril(rng.standard_normal((len(sizes), d, d))), source.mean)
    factors = source.mean + source.std * noise
    z, weights = _draw(sizes, d, rng.standard_normal, like=source.mean)
    return PointCloud(z @ transpose(factors), weights)


def sample_standard_normal(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of independent standard normal points. Returns as ``sample_cholesky_normal``."""
    return PointCloud(*_draw(sizes, d, rng.standard_normal, like=like))


def sample_uniform(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of points uniform in the cube ``[-√3, √3]^d``: mean 0 and variance 1 per coordinate."""

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape)

    return PointCloud(*_draw(sizes, d, draw, like=like))


def prefix_weights(sizes: np.ndarray, n: int, /) -> np.ndarray:
    """Uniform weights (B, n) of clouds whose first ``sizes[i]`` of n rows are points."""
    sizes = np.asarray(sizes)
    if (
        sizes.ndim != 1
        or sizes.dtype.kind not in "iu"
        or (sizes.size and (sizes.min() < 1 or sizes.max() > n))
    ):
        raise ValueError(f"sizes must be integers from 1 to {n}, one for each cloud; got {sizes!r}")
    return np.where(np.arange(n) < sizes[:, None], 1.0 / sizes[:, None], 0.0)


def _draw(sizes: np.ndarray, d: int, draw: object, *, like: Array) -> tuple[Array, Array]:
    """Independent points of all clouds, cleared at padding, and their weights."""
    from refwfm._array import like as bring

    n = int(np.max(sizes, initial=1))
    weights = prefix_weights(sizes, n)
    points = np.where(weights[..., None] > 0, draw((len(sizes), n, d)), 0.0)  # type: ignore[operator]
    return bring(points, like), bring(weights, like)
