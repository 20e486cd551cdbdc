"""Oracles: formulas as they are written in the textbook, by SciPy, mpmath and differences, on the host.

They share no code with the package (its named tuples apart). Arrays are float64, batches have one leading
axis; matrix functions are applied to one matrix after the other.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import scipy.linalg

from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.transport.programme import POT_ALONE
from refwfm.validation.check import Misprint

UNDEFINED = Misprint(
    "E18",
    r"A, B stand in (8)-(10) without a definition; T_t is both the map and its matrix",
    r"A = \Sigma_\mu, B = \Sigma_\nu, T_t = (1-t) I + t C",
    "Notation only: with these readings the formula holds as printed.",
)
"""Misprint of the formulas of ``path`` and ``euclidean_rate``, as the paper has them."""


def relative(result: Any, truth: Any, scale: Any = None) -> float:
    """Largest error, each member's relative to its largest true entry or to ``scale``.

    Infinite if the shapes differ.
    """
    result, truth = np.asarray(result), np.asarray(truth)
    if result.shape != truth.shape:
        return float("inf")
    if scale is None:
        scale = _largest(truth)
    return float(np.max(_largest(result - truth) / scale))


def standard_errors(values: np.ndarray, truth: Any) -> float:
    """Largest deviation of the means over the first axis from the truth, in their standard errors."""
    error = np.maximum(np.std(values, axis=0), 1e-12) / np.sqrt(len(values))
    return float(np.max(np.abs(np.mean(values, axis=0) - truth) / error))


def size(*arrays: np.ndarray) -> np.ndarray:
    """Largest entry of each member, over all the arrays."""
    return np.max([_largest(array) for array in arrays], axis=0)


def _largest(values: np.ndarray) -> np.ndarray:
    return np.max(np.abs(values.reshape(len(values), -1)), axis=1)


def each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Stack the values of a function of single matrices."""
    return np.stack([np.asarray(function(*row)) for row in zip(*arrays, strict=True)])


def derivative(function: Callable[[float], Any], x: Any = 0.0, step: float = 3e-4) -> Any:
    """Central difference of fourth order: error about step⁴, and rounding / step."""
    near = function(x + step) - function(x - step)
    far = function(x + 2.0 * step) - function(x - 2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def complex_step(function: Callable[[complex], Any]) -> Any:
    """Derivative at 0 of a function made of analytic ones, to rounding: no difference is taken."""
    return np.imag(function(1e-30j)) / 1e-30


# Matrix functions


def identity(cov: np.ndarray) -> np.ndarray:
    """Identity matrices like ``cov``."""
    return np.broadcast_to(np.eye(cov.shape[-1]), cov.shape)


def sqrtm(cov: np.ndarray) -> np.ndarray:
    """SciPy's square root (Schur method)."""
    return each(lambda matrix: np.real(scipy.linalg.sqrtm(matrix)), cov)


def lyapunov(cov: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """S with ``S cov + cov S = matrix``, by SciPy (Bartels-Stewart)."""
    return each(scipy.linalg.solve_continuous_lyapunov, cov, matrix)


def trace(matrix: np.ndarray) -> np.ndarray:
    """Traces, shape (n,)."""
    return np.trace(matrix, axis1=-2, axis2=-1)


def column(t: np.ndarray) -> np.ndarray:
    """Times as factors of vectors."""
    return t[:, None]


def block(t: np.ndarray) -> np.ndarray:
    """Times as factors of matrices."""
    return t[:, None, None]


# Gaussians


def gelbrich_map(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """``A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2}``."""
    root = sqrtm(A)
    inverse = np.linalg.inv(root)
    return inverse @ sqrtm(root @ B @ root) @ inverse


def sq_distance(mu: Gaussian, nu: Gaussian) -> np.ndarray:
    """``‖Δm‖² + tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})``."""
    root = sqrtm(mu.cov)
    cross = sqrtm(root @ nu.cov @ root)
    return np.sum((mu.mean - nu.mean) ** 2, axis=-1) + trace(mu.cov + nu.cov - 2.0 * cross)


def distance(mu: Gaussian, nu: Gaussian) -> np.ndarray:
    """Root of the squared distance; of less than nothing, which rounding can leave, zero."""
    return np.sqrt(np.maximum(sq_distance(mu, nu), 0.0))


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian) -> np.ndarray:
    """Distances of all pairs, shape (n, m)."""
    rows, columns = np.indices((len(mu.mean), len(nu.mean))).reshape(2, -1)
    pairs = sq_distance(take(mu, rows), take(nu, columns))
    return pairs.reshape(len(mu.mean), len(nu.mean))


def take(mu: Gaussian, index: np.ndarray) -> Gaussian:
    """Members of a batch."""
    return Gaussian(mu.mean[index], mu.cov[index])


def mover(mu: Gaussian, nu: Gaussian, t: np.ndarray) -> np.ndarray:
    """``T_t = (1-t) I + t C``."""
    return (1.0 - block(t)) * identity(mu.cov) + block(t) * gelbrich_map(mu.cov, nu.cov)


def path(mu: Gaussian, nu: Gaussian, t: np.ndarray) -> tuple[Gaussian, Tangent]:
    """``Σ_t = T_t A T_t`` and ``S_t = (C - I) T_t⁻¹`` with ``T_t = (1-t) I + t C``."""
    C, one = gelbrich_map(mu.cov, nu.cov), identity(mu.cov)
    T = (1.0 - block(t)) * one + block(t) * C
    mean = (1.0 - column(t)) * mu.mean + column(t) * nu.mean
    return Gaussian(mean, T @ mu.cov @ T), Tangent(nu.mean - mu.mean, (C - one) @ np.linalg.inv(T))


def euclidean_rate(mu: Gaussian, nu: Gaussian, t: np.ndarray) -> EuclideanTangent:
    """``(C - I) A T_t + T_t A (C - I)``, and the difference of the means."""
    C, one = gelbrich_map(mu.cov, nu.cov), identity(mu.cov)
    T = (1.0 - block(t)) * one + block(t) * C
    return EuclideanTangent(nu.mean - mu.mean, (C - one) @ mu.cov @ T + T @ mu.cov @ (C - one))


def exp(mu: Gaussian, v: Tangent) -> Gaussian:
    """``N(m + a, (I + S) A (I + S)ᵀ)``."""
    push = identity(mu.cov) + v.lift
    return Gaussian(mu.mean + v.mean, push @ mu.cov @ push.mT)


def scaled(s: Any, v: Any) -> Any:
    """Multiple of a tangent vector; ``s`` a number or one for each member."""
    s = np.asarray(s)
    return type(v)(s[..., None] * v[0], s[..., None, None] * v[1])


def inner(mu: Gaussian, u: Tangent, v: Tangent) -> np.ndarray:
    """``⟨a, a'⟩ + tr(S Σ S'ᵀ)``."""
    return np.sum(u.mean * v.mean, axis=-1) + trace(u.lift @ mu.cov @ v.lift.mT)


def cloud(mu: Gaussian) -> np.ndarray:
    """Points (n, 2 d, d) of equal weight with exactly the mean and covariance of mu."""
    d = mu.mean.shape[-1]
    corners = np.sqrt(d) * np.concatenate([np.eye(d), -np.eye(d)])
    return mu.mean[:, None, :] + corners @ sqrtm(mu.cov)


def field(v: Tangent, mu: Gaussian, x: np.ndarray) -> np.ndarray:
    """``a + S (x - m)`` at points x (n, k, d)."""
    return v.mean[:, None, :] + (x - mu.mean[:, None, :]) @ v.lift.mT


def thin_path(F: np.ndarray, G: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``Σ_t`` and ``dΣ_t/dt`` between ``F Fᵀ`` and ``G Gᵀ`` of equal rank, thin factors (n, d, r)."""
    cross = F.mT @ G
    left, _, right = zip(*map(scipy.linalg.svd, cross), strict=True)
    rate = G @ (np.stack(left) @ np.stack(right)).mT - F
    M = F + block(t) * rate
    return M @ M.mT, rate @ M.mT + M @ rate.mT


# Other software


def pot_gaussian() -> Any:
    """POT's module ``ot.gaussian``, without the other array libraries that its import would pull in."""
    kept = {name: os.environ.get(name) for name in POT_ALONE}
    os.environ.update(POT_ALONE)
    try:
        return import_module("ot.gaussian")
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# With 50 digits, for single matrices


def exact_gelbrich_map(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The textbook map, by mpmath."""
    import mpmath

    with mpmath.workdps(50):
        root, inverse = _exact_roots(mpmath.matrix(A.tolist()))
        middle, _ = _exact_roots(root * mpmath.matrix(B.tolist()) * root)
        return np.array((inverse * middle * inverse).tolist(), dtype=float)


def exact_sq_bures(F: np.ndarray, G: np.ndarray) -> float:
    """Squared Bures distance of ``F Fᵀ`` and ``G Gᵀ``, thin factors (d, r), by mpmath."""
    import mpmath

    with mpmath.workdps(50):
        f, g = mpmath.matrix(F.tolist()), mpmath.matrix(G.tolist())
        singular = mpmath.svd_r(f.T * g, compute_uv=False)
        return float(sum(x**2 for x in f) + sum(x**2 for x in g) - 2 * sum(singular))


def _exact_roots(cov: Any) -> tuple[Any, Any]:
    import mpmath

    values, vectors = mpmath.eigsy((cov + cov.T) / 2)
    roots = [mpmath.sqrt(value) for value in values]
    inverse = [1 / root for root in roots]
    return vectors * mpmath.diag(roots) * vectors.T, vectors * mpmath.diag(inverse) * vectors.T
