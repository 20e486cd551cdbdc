"""Source meta-measures over point clouds: where their flow starts.

Points drawn from one fixed law would look more and more alike as clouds grow: the source would collapse to
that law, and could hold nothing of the family's variety. So the law itself is drawn first, one for every
cloud (``sample_cholesky_normal``, ``sample_pure_noise``); the fixed laws are there for comparison. Noise
around a reference cloud (``sample_barycentric_noise``) keeps its points in the order of the reference.

Points are drawn on the host in float64, so that every library and device starts from the same numbers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    nonnegative,
    on_device_of,
    transpose,
)
from refwfm.evidence import decompose
from refwfm.measures import PointCloud, check_psd
from refwfm.psd import sqrtm


class CholeskyNormal(NamedTuple):
    """Centred normal laws whose Cholesky factors have independent normal entries.

    Attributes
    ----------
    mean, std : array, shape (d, d), lower-triangular
        Mean and deviation of each entry of the factor. Units: data.
    """

    mean: Array
    std: Array


def fit_cholesky_normal(cov: Array, /, *, validate: bool = True) -> CholeskyNormal:
    """Source fitted to covariances: mean and deviation of every entry of their Cholesky factors.

    Equation: WFM-AppD2. (The paper writes ``N(μ_L, σ_L I)`` with σ_L a standard deviation: here
    ``L_ij = μ_ij + σ_ij z_ij``, which is what the authors' published code draws.)

    Parameters
    ----------
    cov : array, shape (N, d, d), symmetric positive semi-definite
        Covariances of the targets; singular ones (clouds of few points) have factors too.

    validate : bool
        Also check values. On a GPU this waits for the device.

    Raises
    ------
    ValueError
        If there is no covariance, or one is not finite, symmetric and positive semi-definite.

    Examples
    --------
    >>> [part.tolist() for part in fit_cholesky_normal(np.asarray([[[1.0]], [[9.0]]]))]
    [[[2.0]], [[1.0]]]
    """
    xp = check_floating(cov=cov)
    if cov.ndim != 3 or 0 in cov.shape or cov.shape[1] != cov.shape[2]:
        raise ValueError(f"cov must have shape (N, d, d) with N, d >= 1; got {tuple(cov.shape)}")
    if validate:
        if not all_finite(cov):
            raise ValueError("cov must be finite; got NaN or infinity")
        cov = check_psd(cov)
    factors = cholesky(cov)
    return CholeskyNormal(xp.mean(factors, axis=0), xp.std(factors, axis=0))


def cholesky(cov: Array, /) -> Array:
    """Lower-triangular L with ``L Lᵀ = cov`` and a diagonal that is not negative, for singular cov too.

    Equation: WFM-AppD2. With ``cov = D C D``, D the deviations, and the symmetric root ``R = Q U`` of the
    correlations C (a QR decomposition), ``C = Uᵀ U`` and ``L = D Uᵀ``: each coordinate has the digits that it
    would have in units of its own.

    Unique for positive definite cov. For a singular one, the factor returned has columns that vanish at
    coordinates that do not vary and, when the first r coordinates determine the rest, after the r-th.

    Parameters
    ----------
    cov : array, shape (..., d, d), symmetric positive semi-definite

    Examples
    --------
    >>> cholesky(np.asarray([[4.0, 2.0], [2.0, 2.0]])).round(9).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    xp = check_floating(cov=cov)
    if cov.ndim < 2 or cov.shape[-1] != cov.shape[-2] or cov.shape[-1] == 0:
        raise ValueError(f"cov must have shape (..., d, d) with d >= 1; got {tuple(cov.shape)}")
    variance = nonnegative(xp.linalg.diagonal(cov))
    deviation = xp.sqrt(variance)
    still = deviation == 0
    unit = xp.where(still, xp.ones_like(deviation), deviation)
    correlation = cov / unit[..., :, None] / unit[..., None, :]
    # What the root holds at coordinates without variance is rounding, which QR would turn into any direction.
    root = xp.where(still[..., :, None] | still[..., None, :], 0.0, sqrtm(correlation, validate=False))
    upper = decompose(xp.linalg.qr, root, "cov")[1]
    signs = xp.where(xp.linalg.diagonal(upper) < 0, -xp.ones_like(variance), xp.ones_like(variance))
    return deviation[..., :, None] * xp.tril(transpose(signs[..., None] * upper))


def sample_cholesky_normal(
    source: CholeskyNormal, /, *, rng: np.random.Generator, sizes: np.ndarray
) -> PointCloud:
    """Draw clouds ``x_k = L z_k``, each with a factor L of its own.

    Equation: WFM-AppD2. ``E[L Lᵀ] = μ μᵀ + diag(Σⱼ σ_ij²)``; the law of a cloud's points is centred.

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

    Examples
    --------
    >>> rng, sizes = np.random.default_rng(0), np.asarray([1, 3])
    >>> source = CholeskyNormal(np.eye(2), np.zeros((2, 2)))
    >>> sample_cholesky_normal(source, rng=rng, sizes=sizes).points.shape
    (2, 3, 2)
    """
    if not isinstance(source, CholeskyNormal):
        raise TypeError(f"source must be a CholeskyNormal(mean, std); got a {type(source).__name__}")
    check_floating(**{"source.mean": source.mean, "source.std": source.std})
    if (
        source.mean.ndim != 2
        or not tuple(source.std.shape) == tuple(source.mean.shape) == source.mean.shape[:1] * 2
    ):
        raise ValueError(
            "source.mean and source.std must have shape (d, d); "
            f"got {tuple(source.mean.shape)} and {tuple(source.std.shape)}"
        )
    sizes = _check_sizes(sizes)
    d = source.mean.shape[0]
    noise = asarray_like(np.tril(rng.standard_normal((len(sizes), d, d))), source.mean)
    factors = source.mean + source.std * noise
    z, weights = _draw(rng.standard_normal, sizes, d, source.mean)
    return PointCloud(z @ transpose(factors), weights)


def sample_standard_normal(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of independent standard normal points. Returns and raises as ``sample_cholesky_normal``.

    Equation: WFM-AppD2.

    The clouds have the library, dtype and device of the array ``like``.

    Examples
    --------
    >>> rng, sizes = np.random.default_rng(0), np.asarray([1, 3])
    >>> sample_standard_normal(rng=rng, sizes=sizes, d=2, like=np.zeros(0)).points.shape
    (2, 3, 2)
    """
    return _draw(rng.standard_normal, _check_sizes(sizes), d, like)


def sample_uniform(*, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array) -> PointCloud:
    """Draw clouds of points uniform in the cube ``[-√3, √3]^d``: mean 0 and variance 1 per coordinate.

    Equation: WFM-AppD2.

    Arguments and results are those of ``sample_standard_normal``.

    Examples
    --------
    >>> rng, sizes = np.random.default_rng(0), np.asarray([1, 3])
    >>> cloud = sample_uniform(rng=rng, sizes=sizes, d=2, like=np.zeros(0))
    >>> bool(np.max(np.abs(cloud.points)) < 3.0**0.5)
    True
    """
    side = math.sqrt(3.0)
    return _draw(lambda shape: rng.uniform(-side, side, shape), _check_sizes(sizes), d, like)


class PureNoise(NamedTuple):
    """Law of isotropic normal laws.

    Attributes
    ----------
    mean : float
        Standard deviation of each coordinate of their means. Units: data.
    low, high : float
        Their standard deviation is uniform between these. Units: data.
    """

    mean: float
    low: float
    high: float


def sample_pure_noise(
    law: PureNoise, /, *, rng: np.random.Generator, sizes: np.ndarray, d: int, like: Array
) -> PointCloud:
    """Draw clouds ``x_k = m + s z_k``, each with a mean m and a scale s of its own.

    Equation: GWFM-SRC1. Drawing location and scale for each cloud keeps large clouds from all being alike.
    (The paper does not state the laws of location and scale: normal and uniform are our choice.)

    Other arguments and results are those of ``sample_standard_normal``.

    Examples
    --------
    >>> rng, sizes = np.random.default_rng(0), np.asarray([1, 3])
    >>> law = PureNoise(mean=1.0, low=0.0, high=0.0)  # all points of a cloud at its mean
    >>> points = sample_pure_noise(law, rng=rng, sizes=sizes, d=2, like=np.zeros(0)).points
    >>> points.shape, bool(np.all(points[1] == points[1, 0]))
    ((2, 3, 2), True)
    """
    if not isinstance(law, PureNoise):
        raise TypeError(f"law must be a PureNoise(mean, low, high); got a {type(law).__name__}")
    if not 0 <= law.low <= law.high < math.inf or not 0 <= law.mean < math.inf:
        raise ValueError(f"a law needs mean >= 0 and 0 <= low <= high, all finite; got {law}")
    sizes = _check_sizes(sizes)
    mean = law.mean * rng.standard_normal((len(sizes), 1, d))
    scale = rng.uniform(law.low, law.high, (len(sizes), 1, 1))
    z, weights = _draw(rng.standard_normal, sizes, d, like)
    xp = array_namespace(z)
    mean, scale = (asarray_like(part, z) for part in (mean, scale))
    return PointCloud(xp.where((weights > 0)[..., None], mean + scale * z, 0.0), weights)


def sample_barycentric_noise(
    reference: Array, /, *, rng: np.random.Generator, sizes: np.ndarray, sigma: float
) -> PointCloud:
    """Draw clouds of normal noise around a reference.

    Equation: GWFM-SRC2. ``x_k = s_k + σ z_k``: point k of a cloud is near point k of the reference, so that
    where the noise is small the cloud is already aligned to it (GWFM-39, C8).

    Parameters
    ----------
    reference : array, shape (n, d). Units: data.
    sizes : numpy.ndarray of integers, shape (B,)
        Points of each cloud, at least 1. Where that is not n, all points of the reference are taken in their
        order, as often as they fit, and then some at random, none of them twice.
    sigma : float
        Standard deviation of the noise. Units: data.

    Returns
    -------
    PointCloud, points (B, max(sizes), d)

    Examples
    --------
    >>> options = {"rng": np.random.default_rng(0), "sizes": np.asarray([2, 2]), "sigma": 0.0}
    >>> sample_barycentric_noise(np.asarray([[0.0], [9.0]]), **options).points.tolist()
    [[[0.0], [9.0]], [[0.0], [9.0]]]
    """
    check_floating(reference=reference)
    if reference.ndim != 2 or 0 in reference.shape:
        raise ValueError(f"reference must have shape (n, d) with n, d >= 1; got {tuple(reference.shape)}")
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be finite and at least 0; got {sigma}")
    sizes = _check_sizes(sizes)
    n, d = reference.shape
    z, weights = _draw(rng.standard_normal, sizes, d, reference)
    rows = np.zeros(weights.shape, dtype=np.int64)
    for row, size in zip(rows, sizes, strict=True):
        whole, rest = divmod(int(size), n)
        some = rng.permutation(n)[:rest] if rest else np.zeros(0, dtype=np.int64)
        row[:size] = np.concatenate([np.tile(np.arange(n), whole), some])
    xp = array_namespace(reference)
    index = on_device_of(reference, rows.reshape(-1))
    centres = xp.reshape(xp.take(reference, index, axis=0), z.shape)
    return PointCloud(xp.where((weights > 0)[..., None], centres + sigma * z, 0.0), weights)


def prefix_weights(sizes: np.ndarray, n: int, /) -> np.ndarray:
    """Uniform weights (B, n) of clouds whose first ``sizes[i]`` of n rows are points.

    Equation: WFM-AppD2.

    Examples
    --------
    >>> prefix_weights(np.asarray([1, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    sizes = _check_sizes(sizes, n)
    return np.where(np.arange(n) < sizes[:, None], 1.0 / sizes[:, None], 0.0)


def _check_sizes(sizes: np.ndarray, largest: int | None = None) -> np.ndarray:
    sizes = np.asarray(sizes)
    whole = sizes.ndim == 1 and sizes.dtype.kind in "iu"
    if not whole or np.any(sizes < 1) or (largest is not None and np.any(sizes > largest)):
        wanted = "of at least 1" if largest is None else f"from 1 to {largest}" if largest > 1 else "all 1"
        raise ValueError(f"sizes must be integers {wanted}, one for each cloud; got {sizes!r}")
    return sizes


def _draw(
    noise: Callable[[tuple[int, int]], np.ndarray], sizes: np.ndarray, d: int, template: Array
) -> PointCloud:
    """Clouds of independent points, in the library, dtype and device of ``template``.

    Points are drawn one cloud after the other, so that padding takes no random numbers.
    """
    check_floating(like=template)
    d = check_integer(d, "d", low=1)
    weights = prefix_weights(sizes, int(np.max(sizes, initial=1)))
    points = np.zeros((*weights.shape, d))
    points[weights > 0] = noise((int(np.sum(sizes)), d))
    return PointCloud(asarray_like(points, template), asarray_like(weights, template))
