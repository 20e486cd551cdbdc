"""Barycenters of families of Gaussians in the Bures-Wasserstein geometry."""

import math
from typing import NamedTuple

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    eye,
    machine_eps,
    matvec,
    sq_frobenius,
    symmetrize,
    transpose,
)
from refwfm.convergence import ConvergenceError
from refwfm.measures import Gaussian, NonFiniteError, SingularCovarianceError, check_gaussian
from refwfm.psd import decompose, factor, from_spectrum


class Barycenter(NamedTuple):
    """A barycenter with its evidence: ``residual`` is ``‖T̄ - I‖_F / √d``, zero at the exact solution."""

    gaussian: Gaussian
    n_iter: int
    residual: float
    converged: bool


def barycenter(
    mu: Gaussian,
    /,
    weights: Array | None = None,
    *,
    tol: float | None = None,
    max_iter: int = 200,
    require: bool = True,
    validate: bool = True,
) -> Barycenter:
    """Bures-Wasserstein barycenter of a family of Gaussians, by fixed-point iteration.

    Equation: WFM-Barycenter. ``T̄ = Σ wᵢ C^{Σ̄→Σᵢ}``, ``Σ̄ ← T̄ Σ̄ T̄`` until ``T̄ = I``,
    the first-order condition.

    Parameters
    ----------
    mu : Gaussian, mean (n, d), cov (n, d, d)
        Singular members are allowed as long as the iterate stays positive definite.
    weights : array, shape (n,), optional
        Non-negative, summing to 1; uniform when left out.
    tol : float, optional
        Bound on the residual ``‖T̄ - I‖_F / √d``: 1e-9 in float64, 1e-5 in float32 when left out.
    require : bool
        Raise when the iteration does not converge; otherwise say so in the result.

    Returns
    -------
    Barycenter
        The Gaussian (mean (d,), cov (d, d)), iterations, residual and whether it converged.

    Raises
    ------
    SingularCovarianceError
        If the mean of the members' covariances is singular: the map from the barycenter does not exist.
    ConvergenceError
        If the iteration does not converge and ``require`` is set.

    References
    ----------
    Álvarez-Esteban, del Barrio, Cuesta-Albertos, Matrán, "A fixed-point approach to barycenters in
    Wasserstein space", J. Math. Anal. Appl. 441 (2016).

    Examples
    --------
    >>> family = Gaussian(np.zeros((2, 1)), np.asarray([[[1.0]], [[9.0]]]))
    >>> barycenter(family).gaussian.cov.round(9).tolist()  # the mean of the deviations 1 and 3, squared
    [[4.0]]
    """
    mu = check_gaussian(mu, validate=validate)
    weights = _check_members(mu, weights)
    tol = tol if tol is not None else (1e-9 if machine_eps(mu.cov) < 1e-10 else 1e-5)
    d = mu.mean.shape[-1]
    xp = array_namespace(mu.cov)
    identity = eye(d, mu.cov)
    roots = factor(mu.cov)
    cov = symmetrize(xp.sum(weights[:, None, None] * mu.cov, axis=0))
    residual, n_iter = math.inf, 0
    while residual > tol and n_iter < max_iter:
        L = _definite_factor(cov)
        left, sigma, _ = decompose(xp.linalg.svd, transpose(L) @ roots, "mu.cov")
        middle = from_spectrum(left, sigma)  # (Lᵀ Σᵢ L)^{1/2}
        mapped = xp.sum(weights[:, None, None] * middle, axis=0)  # Lᵀ T̄ L
        inverse = decompose(xp.linalg.inv, L, "the barycenter's covariance")
        T = transpose(inverse) @ mapped @ inverse
        residual = float(xp.sqrt(sq_frobenius(T - identity) / d))
        cov = symmetrize(T @ cov @ T)
        n_iter += 1
    converged = residual <= tol
    if require and not converged:
        raise ConvergenceError(
            f"the barycenter did not converge in {n_iter} iterations: residual {residual:.3g}, "
            f"wanted {tol:.3g}; raise max_iter or tol, or pass require=False to take it as it is"
        )
    return Barycenter(Gaussian(matvec(transpose(mu.mean), weights), cov), n_iter, residual, converged)


def _definite_factor(cov: Array) -> Array:
    L = factor(cov)
    if not bool(array_namespace(cov).all(sq_frobenius(L[..., None, :]) > 0)):
        if not all_finite(cov):
            raise NonFiniteError("mu.cov and weights must be finite; got NaN or infinity")
        raise SingularCovarianceError(
            "the barycenter's covariance is singular: together the members must reach every direction; "
            "drop the constant coordinates or add a multiple of the identity to the covariances"
        )
    return L


def _check_members(mu: Gaussian, weights: Array | None) -> Array:
    if mu.mean.ndim != 2 or mu.mean.shape[0] == 0:
        raise ValueError(
            f"mu must be a family of at least one Gaussian, mean (n, d); got {tuple(mu.mean.shape)}"
        )
    xp = array_namespace(mu.mean)
    n = mu.mean.shape[0]
    if weights is None:
        return xp.full_like(mu.mean[:, 0], 1 / n)
    if tuple(weights.shape) != (n,):
        raise ValueError(f"weights must have shape ({n},), one for each member; got {tuple(weights.shape)}")
    if not bool(xp.all(weights >= 0)) or abs(float(xp.sum(weights)) - 1.0) > 1e-3:
        raise ValueError("weights must be non-negative and sum to 1")
    return weights / xp.sum(weights)
