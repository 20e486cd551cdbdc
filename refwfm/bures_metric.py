"""The Bures-Wasserstein metric: tangent vectors at a Gaussian and their norms, distances between Gaussians.

All of it is part of ``bures``: it is explained there, and used under that name.
"""

from typing import NamedTuple

from refwfm._array import Array, array_namespace, sq_frobenius, sq_norm, transpose
from refwfm.measures import Gaussian, check_families, check_pair
from refwfm.psd import factor, nuclear_norm, procrustes_factors, solve_lyapunov

PAIRWISE_BLOCK = 2**22
"""Elements of the largest temporary that ``pairwise_sq_distance`` makes."""


# Tangent vectors


class Tangent(NamedTuple):
    """The affine field ``v(x) = mean + lift (x - m)`` on N(m, cov): (..., d) and (..., d, d) symmetric."""

    mean: Array
    lift: Array


class EuclideanTangent(NamedTuple):
    """Time derivatives of mean (..., d) and covariance (..., d, d) along a curve of Gaussians."""

    mean: Array
    cov: Array


def to_euclidean(cov: Array, v: Tangent, /) -> EuclideanTangent:
    """Derivative of mean and covariance of N(m, cov) when it moves with the affine field v.

    Equation: WFM-9. ``dΣ/dt = S Σ + Σ S``. ``from_euclidean`` undoes it where cov is positive definite.

    Examples
    --------
    >>> to_euclidean(2.0 * np.eye(2), Tangent(np.zeros(2), np.eye(2))).cov.tolist()
    [[4.0, 0.0], [0.0, 4.0]]
    """
    half = v.lift @ cov
    return EuclideanTangent(v.mean, half + transpose(half))


def from_euclidean(cov: Array, v: EuclideanTangent, /) -> Tangent:
    """Affine field that moves N(m, cov) with the given derivatives: solves ``S Σ + Σ S = dΣ/dt``.

    Equation: WFM-9. A Lyapunov equation. In the eigenbasis ``S̃ᵢⱼ = D̃ᵢⱼ / (λᵢ + λⱼ)``, zero where
    both eigenvalues vanish.

    Parameters
    ----------
    cov : array, shape (..., d, d)
    v : EuclideanTangent, mean (..., d), cov (..., d, d) symmetric

    Examples
    --------
    >>> from_euclidean(2.0 * np.eye(2), EuclideanTangent(np.zeros(2), 4.0 * np.eye(2))).lift.round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return Tangent(v.mean, solve_lyapunov(cov, v.cov))


def inner(mu: Gaussian, u: Tangent, v: Tangent, /) -> Array:
    """Riemannian inner product of two tangent vectors at mu: ``⟨a, a'⟩ + tr(S Σ S'ᵀ)``.

    Equation: WFM-U5. It is ``E⟨u(X), v(X)⟩`` for X ~ mu. Shape (...).

    Examples
    --------
    >>> u, v = Tangent(np.ones(2), np.eye(2)), Tangent(np.ones(2), np.zeros((2, 2)))
    >>> float(inner(Gaussian(np.zeros(2), np.eye(2)), u, v))
    2.0
    """
    for tangent in (u, v):
        check_tangent(mu, tangent)
    xp = array_namespace(mu.cov)
    return xp.sum(u.mean * v.mean, axis=-1) + xp.sum((u.lift @ mu.cov) * v.lift, axis=(-2, -1))


def sq_tangent_norm(mu: Gaussian, v: Tangent, /) -> Array:
    """Squared Riemannian norm ``‖a‖² + tr(S Σ Sᵀ)`` of a tangent vector at mu. Shape (...).

    Equation: WFM-U5, WFM-6. Over all curves from mu to nu the least energy ``∫ ‖v_t‖² dt`` is ``W_2²``.

    Examples
    --------
    >>> float(sq_tangent_norm(Gaussian(np.zeros(2), 3.0 * np.eye(2)), Tangent(np.ones(2), np.eye(2))))
    8.0
    """
    return inner(mu, v, v)


def check_tangent(mu: Gaussian, v: Tangent) -> None:
    """Raise unless v has the shapes of a tangent vector at mu."""
    d = mu.mean.shape[-1]
    if tuple(v.mean.shape[-1:]) != (d,) or tuple(v.lift.shape[-2:]) != (d, d):
        raise ValueError(
            f"a tangent vector at mu needs mean (..., {d}) and lift (..., {d}, {d}); "
            f"got {tuple(v.mean.shape)} and {tuple(v.lift.shape)}"
        )


# Distances


def sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Squared 2-Wasserstein distance between Gaussians.

    Equation: WFM-24. ``‖m_mu - m_nu‖² + ‖L - K‖_F²`` with the Procrustes factors: the textbook's
    ``tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})`` without its cancellation, so never negative, and zero to
    rounding *squared* for equal measures.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d); leading axes broadcast

    Returns
    -------
    array, shape (...). Units: data squared.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.full(1, 3.0), 4.0 * np.eye(1))
    >>> round(float(sq_distance(mu, nu)), 9)  # (0 - 3)² + (1 - 2)²
    10.0
    """
    mu, nu = check_pair(mu, nu, validate=validate)
    L, K = procrustes_factors(mu.cov, nu.cov)
    return sq_norm(mu.mean - nu.mean) + sq_frobenius(L - K)


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Squared 2-Wasserstein distances between all members of two families.

    Equation: WFM-24. ``‖m_i - m_j‖² + tr Aᵢ + tr Bⱼ - 2 ‖Lᵢᵀ Lⱼ‖_*`` with the nuclear norm (sum of
    singular values), which needs no rotation and keeps all digits when a covariance is singular.

    Parameters
    ----------
    mu : Gaussian, mean (n, d), cov (n, d, d)
    nu : Gaussian, mean (m, d), cov (m, d, d)

    Returns
    -------
    array, shape (n, m), never negative. Units: data squared.

    Notes
    -----
    Works through row blocks, so that no temporary has more than ``PAIRWISE_BLOCK`` elements (or one row).

    Examples
    --------
    >>> family = Gaussian(np.asarray([[0.0], [3.0]]), np.asarray([[[1.0]], [[4.0]]]))
    >>> pairwise_sq_distance(family, family).round(9).tolist()
    [[0.0, 10.0], [10.0, 0.0]]
    """
    mu, nu = check_families(mu, nu, validate=validate)
    left, right = factor(mu.cov), factor(nu.cov)
    n, rows = mu.mean.shape[0], rows_per_block(nu)
    blocks = [
        factored_sq_distance(
            mu.mean[block, None, :], left[block, None, :, :], nu.mean[None, :, :], right[None, :, :, :]
        )
        for block in (slice(i, min(i + rows, n)) for i in range(0, max(n, 1), rows))
    ]
    return array_namespace(left).concat(blocks, axis=0)


def rows_per_block(nu: Gaussian, /) -> int:
    """How many rows of the distance matrix to nu (m members) fit a block of ``PAIRWISE_BLOCK`` elements.

    Equation: none. Cuts a matrix of distances into blocks that fit into memory.

    Examples
    --------
    >>> rows_per_block(Gaussian(np.zeros((1024, 2)), np.zeros((1024, 2, 2))))
    1024
    """
    m, d = nu.mean.shape
    return max(1, PAIRWISE_BLOCK // max(1, m * d * d))


def factored_sq_distance(mean0: Array, factor0: Array, mean1: Array, factor1: Array, /) -> Array:
    """Squared 2-Wasserstein distances from means (..., d) and covariance factors (..., d, d).

    Equation: WFM-24. Its nuclear form. Leading axes broadcast; shape (...), never negative.

    Examples
    --------
    >>> float(factored_sq_distance(np.zeros(1), np.eye(1), np.full(1, 3.0), 2.0 * np.eye(1)))
    10.0
    """
    xp = array_namespace(factor0)
    overlap = nuclear_norm(transpose(factor0) @ factor1)
    bures = sq_frobenius(factor0) + sq_frobenius(factor1) - 2.0 * overlap
    bures = xp.where(bures > 0, bures, xp.zeros_like(bures))  # rounding can push it below 0
    return sq_norm(mean0 - mean1) + bures
