"""Pairwise Bures-Wasserstein distances against POT's batched function, in time and in accuracy.

128 × 128 Gaussians in float64. POT evaluates the textbook's trace formula with matrix roots; here it is the
nuclear norm of covariance factors. The errors are relative to the traces, on a sample of the pairs, against
mpmath with 50 digits. On covariances of rank 3 in d = 20 the trace formula has half of the digits.
"""

from collections.abc import Callable
from functools import partial

import mpmath
import numpy as np
import ot.gaussian

from refwfm.backends import Backend, load
from refwfm.measures import Gaussian
from refwfm.validation.bench.measure import Row, compare

N, CHECKED = 128, 3
DIMENSIONS = {2: 9, 16: 3, 32: 2}
"""Dimensions, and how often POT's seconds are worth repeating at most."""


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and POT's in turns; raise if the two disagree by more than 1e-8."""
    rng, backend = np.random.default_rng(0), load("numpy", dtype="float64")
    result = []
    for d, most in DIMENSIONS.items():
        half = rng.standard_normal((2, N, d, d)) / d**0.5
        pair = [Gaussian(rng.standard_normal((N, d)), f @ f.mT + 0.1 * np.eye(d)) for f in half]
        roots = [np.linalg.cholesky(family.cov[:CHECKED]) for family in pair]
        row = compare(
            f"{N} × {N}, d = {d}",
            ours(backend, *pair),
            partial(pot, *pair),
            "POT gaussian.bures_wasserstein_distance",
            repeats=min(repeats, most),
            error=partial(errors, pair, roots, agree=True),
        )
        result.append(row)
    thin = rng.standard_normal((2, N, 20, 3)) / 20**0.5
    pair = [Gaussian(np.zeros((N, 20)), f @ f.mT) for f in thin]
    row = compare(
        f"{N} × {N}, rank 3 in d = 20",
        ours(backend, *pair),
        partial(trace_formula, *pair),
        "trace formula (POT's stops at singular covariances)",
        repeats=repeats,
        error=partial(errors, pair, list(thin), agree=False),
    )
    return [*result, row]


def ours(backend: Backend, mu: Gaussian, nu: Gaussian) -> Callable[[], np.ndarray]:
    """Return the backend's pairwise distances of two families, as a function without arguments."""
    mu, nu = (Gaussian(*map(backend.asarray, family)) for family in (mu, nu))

    def distances() -> np.ndarray:
        return backend.to_numpy(backend.ops.pairwise_sq_distance(mu, nu))

    return distances


def pot(mu: Gaussian, nu: Gaussian) -> np.ndarray:
    """Squares of the distances that POT returns."""
    roots: np.ndarray = ot.gaussian.bures_wasserstein_distance(mu.mean, nu.mean, mu.cov, nu.cov)
    return roots**2


def trace_formula(mu: Gaussian, nu: Gaussian) -> np.ndarray:
    """Textbook: ``‖Δm‖² + tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})``; POT's fails on singular covariances."""
    values, vectors = np.linalg.eigh(mu.cov)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.mT
    middle = np.linalg.eigvalsh(root[:, None] @ nu.cov @ root[:, None])
    cross = np.sum(np.sqrt(np.maximum(middle, 0.0)), axis=-1)
    means = np.sum((mu.mean[:, None] - nu.mean) ** 2, axis=-1)
    traces = np.trace(mu.cov, axis1=1, axis2=2)[:, None] + np.trace(nu.cov, axis1=1, axis2=2)
    result: np.ndarray = means + traces - 2.0 * cross
    return result


def errors(
    pair: list[Gaussian], factors: list[np.ndarray], ours: np.ndarray, peer: np.ndarray, *, agree: bool
) -> tuple[float, float]:
    """Return the largest errors on the first pairs (i, i), relative to the traces; the factors are exact."""
    difference = float(np.max(np.abs(ours - peer)))
    if agree and not difference < 1e-8:
        raise RuntimeError(f"our distances and POT's differ by {difference:.3g}")
    off = []
    for i in range(CHECKED):
        means = np.sum((pair[0].mean[i] - pair[1].mean[i]) ** 2)
        truth = means + exact_sq_distance(factors[0][i], factors[1][i])
        traces = np.trace(pair[0].cov[i]) + np.trace(pair[1].cov[i])
        off.append([float(abs(values[i, i] - truth) / traces) for values in (ours, peer)])
    largest = np.max(off, axis=0)
    return float(largest[0]), float(largest[1])


def exact_sq_distance(factor0: np.ndarray, factor1: np.ndarray) -> float:
    """Squared Bures distance of ``F Fᵀ`` and ``G Gᵀ``, with 50 digits."""
    with mpmath.workdps(50):
        f, g = mpmath.matrix(factor0.tolist()), mpmath.matrix(factor1.tolist())
        singular = mpmath.svd_r(f.T * g, compute_uv=False)
        return float(sum(x**2 for x in f) + sum(x**2 for x in g) - 2 * sum(singular))
