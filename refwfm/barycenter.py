"""Barycenters of families of Gaussians in the Bures-Wasserstein geometry."""

import math
from typing import NamedTuple

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    machine_eps,
    sq_frobenius,
    symmetrize,
    to_host,
    transpose,
)
from refwfm.evidence import ConvergenceError
from refwfm.measures import Gaussian, NonFiniteError, check_gaussian
from refwfm.psd import factor, turned


class Barycenter(NamedTuple):
    """A barycenter with its evidence: ``residual`` is ``‖T̄ L - L‖_F / ‖L‖_F``, zero at the exact solution."""

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
    the first-order condition. With factors ``Σ̄ = L Lᵀ`` and ``Σᵢ = Kᵢ Kᵢᵀ``, turned so that ``Lᵀ Kᵢ`` is
    symmetric positive semi-definite, ``T̄ L = Σ wᵢ Kᵢ`` is a factor of the next iterate: nothing is inverted,
    and families that span only a subspace need no special case.

    Parameters
    ----------
    mu : Gaussian, mean (n, d), cov (n, d, d)
        Members may be singular, and so may the barycenter.
    weights : array, shape (n,), optional
        Non-negative, summing to 1; uniform when left out.
    tol : float, optional
        Bound on the residual ``‖T̄ L - L‖_F / ‖L‖_F``: 1e-9 in float64, 1e-5 in float32 when left out. It is
        the Riemannian norm of the gradient of half the mean squared distance, relative to the deviation
        ``√tr Σ̄``; a direction with little variance counts as little.
    require : bool
        Raise when the iteration does not converge; otherwise say so in the result.

    Returns
    -------
    Barycenter
        The Gaussian (mean (d,), cov (d, d)), iterations, residual and whether it converged.

    Raises
    ------
    NonFiniteError
        If a member is not finite.
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
    xp = array_namespace(mu.cov)
    each = weights[:, None, None]
    roots = factor(mu.cov)
    L = factor(symmetrize(xp.sum(each * mu.cov, axis=0)))
    residual, n_iter = math.inf, 0
    while residual > tol and n_iter < max_iter:
        mapped = xp.sum(each * turned(L, roots), axis=0)  # T̄ L
        residual = _relative_size(mapped - L, L)
        L = mapped
        n_iter += 1
    if math.isnan(residual):
        raise NonFiniteError("mu.cov and weights must be finite; got NaN or infinity")
    converged = residual <= tol
    if require and not converged:
        raise ConvergenceError(
            f"the barycenter did not converge in {n_iter} iterations: residual {residual:.3g}, "
            f"wanted {tol:.3g}; raise max_iter or tol, or pass require=False to take it as it is"
        )
    cov = symmetrize(L @ transpose(L))
    return Barycenter(Gaussian(weights @ mu.mean, cov), n_iter, residual, converged)


def _relative_size(change: Array, L: Array) -> float:
    """``‖change‖_F / ‖L‖_F``, 0 where both vanish."""
    change, size = (float(to_host(sq_frobenius(part))) for part in (change, L))
    return math.sqrt(change / size) if size != 0 else 0.0


def _check_members(mu: Gaussian, weights: Array | None) -> Array:
    if mu.mean.ndim != 2 or mu.mean.shape[0] == 0:
        raise ValueError(
            f"mu must be a family of at least one Gaussian, mean (n, d); got {tuple(mu.mean.shape)}"
        )
    xp = array_namespace(mu.mean)
    n = mu.mean.shape[0]
    if weights is None:
        return xp.full_like(mu.mean[:, 0], 1 / n)
    check_floating(**{"mu.mean": mu.mean, "weights": weights})
    if tuple(weights.shape) != (n,):
        raise ValueError(f"weights must have shape ({n},), one for each member; got {tuple(weights.shape)}")
    tolerance = 1e-6 if machine_eps(weights) < 1e-10 else 1e-3
    if not bool(xp.all(weights >= 0)) or not abs(float(xp.sum(weights)) - 1.0) <= tolerance:
        raise ValueError(
            "weights must be non-negative and sum to 1; got a smallest weight of "
            f"{float(xp.min(weights)):.3g} and a sum of {float(xp.sum(weights)):.9g}"
        )
    return weights / xp.sum(weights)
