"""Positive semi-definite matrices: roots, factors and the Lyapunov equation, batched over leading axes.

Rounding leaves eigenvalues of about ``d eps`` times the largest where the exact ones are zero. Their
*roots* would be 1e-8 in float64 and spoil every distance between singular covariances, so all
functions here set such eigenvalues to zero.
"""

from collections.abc import Callable
from typing import Any

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    eye,
    linalg_error,
    machine_eps,
    symmetrize,
    transpose,
)
from refwfm.measures import NonFiniteError, SingularCovarianceError, check_psd


def decompose(function: Callable[[Array], Any], matrix: Array, name: str, /) -> Any:
    """``function(matrix)``, a decomposition of ``xp.linalg``, with an error that says what was wrong.

    Equation: none. Says what was wrong with a matrix that could not be decomposed.

    Libraries refuse NaN with errors of their own, or not at all. Values are looked at after a failure only,
    so that no device is waited for.

    Raises
    ------
    NonFiniteError
        If the decomposition failed because of NaN or infinity.
    SingularCovarianceError
        If it failed for finite matrices.

    Examples
    --------
    >>> decompose(np.linalg.cholesky, np.diag([4.0, 9.0]), "cov").tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    try:
        return function(matrix)
    except linalg_error(matrix) as error:
        if not all_finite(matrix):
            raise NonFiniteError(f"{name} must be finite; got NaN or infinity") from error
        raise SingularCovarianceError(
            f"{name} is singular, or too near it to be decomposed; add a multiple of the identity"
        ) from error


def from_spectrum(vectors: Array, values: Array, /) -> Array:
    """Symmetric matrices ``V diag(λ) Vᵀ`` of eigenvectors V (..., d, d) and eigenvalues λ (..., d).

    Equation: none. Puts a decomposition together again.

    Examples
    --------
    >>> from_spectrum(np.eye(2), np.asarray([2.0, 3.0])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    return (vectors * values[..., None, :]) @ transpose(vectors)


def _spectrum(cov: Array) -> tuple[Array, Array]:
    """Eigenvalues, those below ``d eps`` of the largest set to zero, and eigenvectors."""
    xp = array_namespace(cov)
    values, vectors = decompose(xp.linalg.eigh, cov, "cov")
    floor = cov.shape[-1] * machine_eps(cov) * values[..., -1:]
    return xp.where(values > floor, values, xp.zeros_like(values)), vectors


def factor(cov: Array, /) -> Array:
    """Square factor L of a covariance, ``L Lᵀ = cov``, with zero columns where cov is singular.

    Equation: WFM-8. Its factor L_A. Shapes (..., d, d) to (..., d, d).

    Examples
    --------
    >>> L = factor(np.diag([4.0, 0.0]))
    >>> (L @ L.T).tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = _spectrum(cov)
    return vectors * array_namespace(cov).sqrt(values)[..., None, :]


def sqrtm(cov: Array, /, *, validate: bool = True) -> Array:
    """Symmetric positive semi-definite square root of covariances, shape (..., d, d).

    Equation: WFM-U4. Its root A^{1/2}.

    Raises
    ------
    ValueError
        If ``cov`` is not symmetric, finite and positive semi-definite (``validate``).

    Examples
    --------
    >>> sqrtm(np.diag([4.0, 9.0])).round(9).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    cov = _check_matrix(cov, validate)
    values, vectors = _spectrum(cov)
    return from_spectrum(vectors, array_namespace(cov).sqrt(values))


def inv_sqrtm(cov: Array, /, *, validate: bool = True) -> Array:
    """Inverse of the symmetric square root of positive definite covariances, shape (..., d, d).

    Equation: WFM-U4. Its inverse root A^{-1/2}.

    Raises
    ------
    SingularCovarianceError
        If a covariance has an eigenvalue below ``d eps`` of its largest (``validate``).

    Examples
    --------
    >>> inv_sqrtm(np.diag([4.0, 16.0])).round(9).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    cov = _check_matrix(cov, validate)
    xp = array_namespace(cov)
    values, vectors = _spectrum(cov)
    if validate and bool(xp.any(values == 0)):
        raise SingularCovarianceError(
            "cov is singular, so it has no inverse root; add a multiple of the identity, "
            "or use the functions that take singular covariances (interpolate, velocity, sq_distance)"
        )
    return (vectors / xp.sqrt(values)[..., None, :]) @ transpose(vectors)  # rounded once, not 1 / root too


def project_psd(matrix: Array, /) -> Array:
    """Nearest positive semi-definite matrix in Frobenius norm: negative eigenvalues become zero.

    Equation: WFM-Table2. The projection in the baselines' generation. Shapes (..., d, d) to (..., d, d).

    Examples
    --------
    >>> project_psd(np.diag([1.0, -1.0])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    xp = array_namespace(matrix)
    values, vectors = decompose(xp.linalg.eigh, symmetrize(matrix), "matrix")
    values = xp.where(values > 0, values, xp.zeros_like(values))
    return symmetrize(from_spectrum(vectors, values))


def procrustes_factors(cov0: Array, cov1: Array, /) -> tuple[Array, Array]:
    """Factors L, K of two covariances with ``Lᵀ K`` symmetric positive semi-definite.

    Equation: WFM-8. With the singular value decomposition ``L_Aᵀ L_B = P diag(s) Qᵀ``:
    ``L = L_A`` and ``K = L_B Q Pᵀ``. For any positive semi-definite pair.

    Parameters
    ----------
    cov0, cov1 : array, shape (..., d, d)

    Returns
    -------
    tuple of array, shape (..., d, d) each

    Examples
    --------
    >>> L, K = procrustes_factors(np.diag([1.0, 4.0]), np.diag([9.0, 4.0]))
    >>> round(float(np.sum((L - K) ** 2)), 9)  # (1 - 3)² + (2 - 2)²
    4.0
    """
    xp = array_namespace(cov0, cov1)
    root0, root1 = factor(cov0), factor(cov1)
    left, _, right = decompose(xp.linalg.svd, transpose(root0) @ root1, "the product of two covariances")
    return root0, root1 @ transpose(left @ right)


def solve_lift(factors: Array, rates: Array, /, *, unreached: float = 0.0) -> Array:
    """Symmetric S of least norm with ``S M = Ṁ`` on the range of M; WFM-9 in the singular basis of M.

    Equation: WFM-9.

    With ``M = W diag(σ) Zᵀ``, ``S̃ = Wᵀ S W``, ``G = Wᵀ Ṁ Z`` the Lyapunov equation
    ``S M Mᵀ + M Mᵀ S = Ṁ Mᵀ + M Ṁᵀ`` reads ``S̃ᵢⱼ (σᵢ² + σⱼ²) = Gᵢⱼ σⱼ + σᵢ Gⱼᵢ``: symmetric by
    construction, zero where both σ vanish, and with an error of eps √κ(cov) where cov itself has eps κ.
    On the directions that M does not reach, S is ``unreached`` times the identity.

    Examples
    --------
    >>> solve_lift(2.0 * np.eye(1), np.eye(1)).round(9).tolist()
    [[0.5]]
    """
    xp = array_namespace(factors)
    left, sigma, right = decompose(xp.linalg.svd, factors, "the factor of a covariance")
    largest = sigma[..., :1]
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    sigma = sigma / largest
    floor = factors.shape[-1] * machine_eps(factors)
    sigma = xp.where(sigma > floor, sigma, xp.zeros_like(sigma))
    rate = transpose(left) @ rates @ transpose(right) / largest[..., None]
    weighted = rate * sigma[..., None, :]
    scale = sigma[..., :, None] ** 2 + sigma[..., None, :] ** 2
    lift = (weighted + transpose(weighted)) / xp.where(scale > 0, scale, xp.ones_like(scale))
    lift = xp.where(scale > 0, lift, unreached * eye(factors.shape[-1], factors))
    return symmetrize(left @ lift @ transpose(left))


def solve_lyapunov(cov: Array, matrix: Array, /) -> Array:
    """Symmetric S with ``S cov + cov S = matrix``; least norm where cov is singular.

    Equation: WFM-9. Shapes (..., d, d), ``matrix`` symmetric.

    Examples
    --------
    >>> solve_lyapunov(2.0 * np.eye(2), 4.0 * np.eye(2)).round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    xp = array_namespace(cov, matrix)
    values, vectors = _spectrum(cov)
    scale = values[..., :, None] + values[..., None, :]
    rotated = transpose(vectors) @ matrix @ vectors / xp.where(scale > 0, scale, xp.ones_like(scale))
    rotated = xp.where(scale > 0, rotated, xp.zeros_like(rotated))
    return symmetrize(vectors @ rotated @ transpose(vectors))


def nuclear_norm(matrix: Array, /) -> Array:
    """Sum of the singular values of matrices (..., d, d), in closed form for d = 1 and 2. Shape (...).

    Equation: WFM-24.

    For d = 2 and ``M = [[a, b], [c, e]]`` the numbers ``hypot(a + e, b - c)`` and ``hypot(a - e, b + c)`` are
    ``σ₁ + σ₂`` and ``σ₁ - σ₂``, in an order that depends on the sign of det M. Nothing is squared, so that
    nothing overflows.

    Examples
    --------
    >>> float(nuclear_norm(np.diag([3.0, -4.0])))
    7.0
    """
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.abs(matrix[..., 0, 0])
    if matrix.shape[-1] == 2:
        a, b, c, e = (matrix[..., i, j] for i in (0, 1) for j in (0, 1))
        return xp.maximum(xp.hypot(a + e, b - c), xp.hypot(a - e, b + c))
    return xp.sum(decompose(xp.linalg.svdvals, matrix, "matrix"), axis=-1)


def _check_matrix(cov: Array, validate: bool) -> Array:
    if cov.ndim < 2 or cov.shape[-1] != cov.shape[-2] or cov.shape[-1] == 0:
        raise ValueError(f"cov must have shape (..., d, d) with d >= 1; got {tuple(cov.shape)}")
    if not validate or 0 in cov.shape:
        return cov
    if not all_finite(cov):
        raise ValueError("cov must be finite; got NaN or infinity")
    return check_psd(cov)
