"""Closed forms and textbook formulas, without code of the package: what its results are held against."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import scipy.linalg

from refwfm.measures import Gaussian

EPS = float(np.finfo(np.float64).eps)


# Random instances


def rotation(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Orthogonal matrices of shape (..., d, d)."""
    return np.linalg.qr(rng.standard_normal((*shape, shape[-1])))[0]


def from_spectrum(basis: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Exactly symmetric matrices with these eigenvectors and eigenvalues."""
    matrix = (basis * values[..., None, :]) @ basis.mT
    return 0.5 * (matrix + matrix.mT)


def random_cov(rng: np.random.Generator, *shape: int, spread: float = 30.0) -> np.ndarray:
    """Covariances (..., d, d) with eigenvalues log-uniform in [1 / sqrt(spread), sqrt(spread)]."""
    exponents = rng.uniform(-0.5, 0.5, shape)
    return from_spectrum(rotation(rng, *shape), spread**exponents)


def random_gaussian(rng: np.random.Generator, *shape: int, spread: float = 30.0) -> Gaussian:
    return Gaussian(rng.standard_normal(shape), random_cov(rng, *shape, spread=spread))


# Textbook formulas, one matrix at a time


def sqrtm(cov: np.ndarray) -> np.ndarray:
    """SciPy's Schur method."""
    return np.real(scipy.linalg.sqrtm(cov))


def psd_root(cov: np.ndarray) -> np.ndarray:
    """Root of a covariance that may be singular; below 1e-12 of the largest, an eigenvalue is rounding."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(np.where(values > 1e-12 * values[-1], values, 0.0))) @ vectors.T


def gelbrich_map(cov0: np.ndarray, cov1: np.ndarray) -> np.ndarray:
    """``A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2}`` as it is written."""
    root = sqrtm(cov0)
    inverse = np.linalg.inv(root)
    return inverse @ sqrtm(root @ cov1 @ root) @ inverse


def sq_distance(mu: Gaussian, nu: Gaussian) -> float:
    """``‖Δm‖² + tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})`` as it is written."""
    root = sqrtm(mu.cov)
    cross = sqrtm(root @ nu.cov @ root)
    return float(np.sum((mu.mean - nu.mean) ** 2) + np.trace(mu.cov + nu.cov - 2.0 * cross))


def lyapunov(cov: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """S with ``S cov + cov S = matrix``, by SciPy."""
    return scipy.linalg.solve_continuous_lyapunov(cov, matrix)


def commuting_barycenter(basis: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``(Σ wᵢ Aᵢ^{1/2})²`` for covariances with common eigenvectors (d, d) and eigenvalues (n, d)."""
    return from_spectrum(basis, (weights @ np.sqrt(values)) ** 2)


def factored_sq_distance(factor0: np.ndarray, factor1: np.ndarray) -> float:
    """Squared Bures distance of ``F Fᵀ`` and ``G Gᵀ``, thin factors (d, r), with 50 digits."""
    with mpmath.workdps(50):
        f, g = mpmath.matrix(factor0.tolist()), mpmath.matrix(factor1.tolist())
        singular = mpmath.svd_r(f.T * g, compute_uv=False)
        total = sum(x**2 for x in f) + sum(x**2 for x in g)
        return float(total - 2 * sum(singular))


def exact_gelbrich_map(cov0: np.ndarray, cov1: np.ndarray) -> np.ndarray:
    """The textbook map with 60 digits: the truth for ill-conditioned covariances."""
    with mpmath.workdps(60):
        root, inverse = _mp_roots(mpmath.matrix(cov0.tolist()))
        middle, _ = _mp_roots(root * mpmath.matrix(cov1.tolist()) * root)
        return np.array((inverse * middle * inverse).tolist(), dtype=float)


def exact_sq_distance(cov0: np.ndarray, cov1: np.ndarray) -> float:
    """The textbook trace formula with 60 digits."""
    with mpmath.workdps(60):
        A, B = mpmath.matrix(cov0.tolist()), mpmath.matrix(cov1.tolist())
        root, _ = _mp_roots(A)
        middle, _ = _mp_roots(root * B * root)
        return float(sum(A[i, i] + B[i, i] - 2 * middle[i, i] for i in range(A.rows)))


def _mp_roots(cov: Any) -> tuple[Any, Any]:
    """Root and inverse root of a positive definite mpmath matrix."""
    cov = (cov + cov.T) / 2
    values, vectors = mpmath.eigsy(cov)
    roots = [mpmath.sqrt(value) for value in values]
    return (
        vectors * mpmath.diag(roots) * vectors.T,
        vectors * mpmath.diag([1 / root for root in roots]) * vectors.T,
    )


# Differences


def derivative(function: Callable[[float], Any], x: float = 0.0, step: float = 1e-5) -> Any:
    """Central difference: error step² plus rounding / step, about 1e-10."""
    return (function(x + step) - function(x - step)) / (2.0 * step)


def relative(result: Any, truth: Any, scale: float | None = None) -> float:
    """Largest error relative to the largest entry of the truth, or to ``scale``."""
    scale = float(np.max(np.abs(truth))) if scale is None else scale
    return float(np.max(np.abs(np.asarray(result) - truth))) / scale
