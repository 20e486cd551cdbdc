"""How far a predicted population is from the right one: two samples, all of whose points weigh the same.

The literature of perturbations calls three of these by names that fit something else: its "MMD" is the
*square* of one, averaged over six kernels (``sq_mmd``); its "r²" is a correlation that nobody squared
(``feature_correlation``); its "W2" is the root (``wasserstein2``).
"""

import math
from collections.abc import Sequence

import numpy as np

from refwfm._array import Array, asarray_like, check_floating, machine_eps, nonnegative, sq_distances, to_host
from refwfm._derivatives import without_derivative
from refwfm.clouds import uniform
from refwfm.transport._parallel import each, members
from refwfm.transport.emd import emd

GAMMAS = (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)
"""Kernels of ``sq_mmd``, ``exp(-γ ‖x - y‖²)``: γ is in units of 1 / data squared."""

BLOCK = 2**14
"""Distances in the largest temporary: what stays in the cache, and is had from the system once for all."""


# Wasserstein distances


def wasserstein1(x: Array, y: Array, /, *, n_jobs: int = -1) -> Array:
    """1-Wasserstein distance between samples: least mean distance of moving one onto the other.

    Equation: META-FM-9. ``min_P Σ P_ij ‖x_i - y_j‖``, exact: an assignment where sizes agree, else a plan,
    proved. On the host, in float64.

    Parameters
    ----------
    x : array, shape (..., n, d)
    y : array, shape (..., m, d); leading axes broadcast
        All points weigh the same; a cloud with padding is for ``transport.emd.emd``.
    n_jobs : int
        Threads for the members of a batch; -1 for all.

    Returns
    -------
    array, shape (...). Units: data. It has no derivative.

    Raises
    ------
    TypeError, ValueError
        If they are no points of one dimension, or not finite, or a distance overflows.
    ConvergenceError
        If a plan could not be proved optimal.

    Examples
    --------
    >>> x, y = np.asarray([[0.0, 0.0], [1.0, 0.0]]), np.asarray([[1.0, 4.0], [0.0, 2.0]])
    >>> float(wasserstein1(x, y)), float(wasserstein1(x, y[:1]))
    (3.0, 4.061552812808831)
    """
    return _wasserstein(x, y, squared=False, n_jobs=n_jobs)


def wasserstein2(x: Array, y: Array, /, *, n_jobs: int = -1) -> Array:
    """2-Wasserstein distance between samples: root of the least mean squared distance of moving one.

    Equation: META-FM-9. ``(min_P Σ P_ij ‖x_i - y_j‖²)^½``, the root; ``transport.exact.sq_wasserstein2`` is
    the square, for weights and with a derivative. Parameters and errors as for ``wasserstein1``, which is
    never larger.

    Examples
    --------
    >>> x, y = np.asarray([[0.0, 0.0], [1.0, 0.0]]), np.asarray([[3.0, 4.0], [4.0, 4.0]])
    >>> float(wasserstein2(x, y))
    5.0
    """
    return _wasserstein(x, y, squared=True, n_jobs=n_jobs)


def _wasserstein(x: Array, y: Array, *, squared: bool, n_jobs: int) -> Array:
    batch = _check_samples(x, y, least=1)
    host = [to_host(points).astype(np.float64) for points in (x, y)]
    if not all(np.all(np.isfinite(points)) for points in host):
        raise ValueError("x and y must be finite; got NaN or infinity")
    pairs = [members(np.broadcast_to(p, (*batch, *p.shape[-2:])), 2) for p in host]

    def one(first: np.ndarray, second: np.ndarray) -> float:
        found = emd(uniform(first), uniform(second), squared=squared)
        return math.sqrt(found) if squared else found

    size = math.prod(batch) * x.shape[-2] * y.shape[-2]
    values = np.asarray(each(one, size, n_jobs, *pairs), dtype=np.float64).reshape(batch)
    return without_derivative(asarray_like(values, x), "an exact distance of samples", x, y)


# Kernels


def sq_mmd(x: Array, y: Array, /, *, gammas: Sequence[float] = GAMMAS) -> Array:
    """*Squared* maximum mean discrepancy between samples, averaged over Gaussian kernels.

    Equation: META-FM-10. The V-statistic: means of ``k(x, x')``, and of ``k(y, y')``, less twice that of
    ``k(x, y)``, over *all* pairs, those of a point with itself included, which makes it biased upwards by
    about ``(1 - mean k) (1/n + 1/m)``, and never negative. ``k = exp(-γ ‖x - y‖²)``.

    Parameters
    ----------
    x : array, shape (..., n, d)
    y : array, shape (..., m, d); leading axes broadcast
    gammas : sequence of positive floats
        The kernels. They are not fitted to the data: in other units the result is another one.

    Returns
    -------
    array, shape (...), from 0 to 2, and 0 between copies, exactly

    Raises
    ------
    TypeError, ValueError
        If they are no points of one dimension, or a gamma is not positive.

    Notes
    -----
    A difference of means of order one: it is known to some machine epsilons, not to some of itself. In
    float32 values below 1e-5 have two digits. No (n, m) array is made. Differentiable by the library.

    Examples
    --------
    >>> x, y = np.asarray([[0.0]]), np.asarray([[1.0]])
    >>> round(float(sq_mmd(x, y, gammas=[1.0])), 12) == round(2.0 * (1.0 - math.exp(-1.0)), 12)
    True
    """
    _check_samples(x, y, least=1)
    if not gammas or not all(0 < gamma < math.inf for gamma in gammas):
        raise ValueError(f"gammas must be positive numbers, one at least; got {gammas!r}")
    within = _mean_kernel(x, x, gammas) + _mean_kernel(y, y, gammas)
    return nonnegative(within - 2.0 * _mean_kernel(x, y, gammas))


def _mean_kernel(x: Array, y: Array, gammas: Sequence[float]) -> Array:
    """Mean over all pairs and all kernels, shape (...)."""
    xp = check_floating(x=x, y=y)
    n, m = x.shape[-2], y.shape[-2]
    batch = math.prod(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
    rows = max(1, BLOCK // max(1, m * batch))
    means = []
    for start in range(0, n, rows):
        distances = sq_distances(x[..., start : min(start + rows, n), :], y)
        kernel = xp.exp(-gammas[0] * distances)
        for gamma in gammas[1:]:
            kernel = kernel + xp.exp(-gamma * distances)
        means.append(xp.mean(kernel, axis=-1))
    return xp.mean(xp.concat(means, axis=-1), axis=-1) / len(gammas)


# Correlations of features


def feature_correlation(x: Array, y: Array, /) -> Array:
    """Pearson correlation of the features' correlations in two samples.

    Equation: META-FM-11. Of the entries above the diagonal of the two matrices of correlations. It is *not
    squared*, though it is published as r². Features that are constant in either sample have no correlations
    and are left out.

    Parameters
    ----------
    x : array, shape (..., n, d), n >= 2
    y : array, shape (..., m, d), m >= 2; leading axes broadcast

    Returns
    -------
    array, shape (...), from -1 to 1. NaN where it does not exist: where fewer than three features vary in
    both samples (two have one correlation), or where all correlations of a sample are the same.

    Raises
    ------
    TypeError, ValueError
        If they are no samples of two points at least in one dimension.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0, 1], [1, 2, 0], [2, 3, 0], [3, 1, 4]])
    >>> round(float(feature_correlation(x, 5.0 * x + 1.0)), 12)
    1.0
    """
    _check_samples(x, y, least=2)
    xp = check_floating(x=x, y=y)
    first, second = _correlations(x), _correlations(y)
    varies = _varies(x) & _varies(y)
    d = x.shape[-1]
    above = asarray_like(np.triu(np.ones((d, d)), 1), x) > 0
    pair = xp.astype(varies[..., :, None] & varies[..., None, :] & above, x.dtype)
    count = xp.sum(pair, axis=(-2, -1))
    enough = count >= 3  # of three features
    parts, exists = [], enough
    for matrix in (first, second):
        mean = xp.sum(pair * matrix, axis=(-2, -1)) / xp.where(enough, count, 1.0)
        gap = pair * (matrix - mean[..., None, None])
        norm = xp.sqrt(xp.sum(gap * gap, axis=(-2, -1)))
        exists = exists & ~(norm <= 32.0 * machine_eps(x) * xp.sqrt(count))  # rounding; NaN stays NaN
        parts.append((gap, norm))
    (a, a_norm), (b, b_norm) = parts
    product = xp.where(exists, a_norm * b_norm, 1.0)
    return xp.where(exists, xp.sum(a * b, axis=(-2, -1)) / product, math.nan)


def _varies(x: Array) -> Array:
    """Whether a feature has two values, shape (..., d); so says NaN, which is for the result."""
    xp = check_floating(x=x)
    return ~(xp.max(x, axis=-2) == xp.min(x, axis=-2))


def _correlations(x: Array) -> Array:
    """Correlations (..., d, d) of the columns; numbers without meaning for those that are constant."""
    xp = check_floating(x=x)
    gap = x - xp.mean(x, axis=-2, keepdims=True)
    largest = xp.max(xp.abs(gap), axis=-2, keepdims=True)
    gap = gap / xp.where(largest == 0, 1.0, largest)  # so that no unit overflows
    norm = xp.sqrt(xp.sum(gap * gap, axis=-2, keepdims=True))
    gap = gap / xp.where(norm == 0, 1.0, norm)
    return xp.matrix_transpose(gap) @ gap


def _check_samples(x: Array, y: Array, *, least: int) -> tuple[int, ...]:
    check_floating(x=x, y=y)
    for name, points in (("x", x), ("y", y)):
        if points.ndim < 2 or points.shape[-2] < least or points.shape[-1] == 0:
            raise ValueError(
                f"{name} must have shape (..., n, d) with n >= {least} and d >= 1; got {tuple(points.shape)}"
            )
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"x is in dimension {x.shape[-1]}, but y in dimension {y.shape[-1]}")
    return np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
