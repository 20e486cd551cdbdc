"""Twins for float32 that compute in float64, where shorter formulas have the digits that float32 holds.

Squaring a matrix loses half of its digits: in float32 that ruins an answer, and the references take singular
values instead; of the sixteen digits of float64 eight are left, one more than float32 has. Eigenvalues of
squares take half the time of singular values, and a Cholesky factor a tenth of one from eigenvectors.
"""

from refwfm import bures
from refwfm._array import (
    Array,
    array_namespace,
    expand,
    linalg_error,
    machine_eps,
    nonnegative,
    off_cpu,
    sq_frobenius,
    sq_norm,
    symmetrize,
    transpose,
)
from refwfm.bures_metric import CLOSE, Tangent, rows_per_block
from refwfm.evidence import decompose
from refwfm.measures import Gaussian, check_families, check_pair
from refwfm.psd import factor

SPREAD = 1e-8
"""Ratio of eigenvalues of a product of two covariances up to which their roots are right in float32."""


def path(mu: Gaussian, nu: Gaussian, t: Array, /, *, validate: bool = True) -> tuple[Gaussian, Tangent]:
    """Twin of ``bures.path``, for float32 without checks, where all covariances are well-conditioned.

    With ``A = L Lᵀ`` and ``R = (Lᵀ B L)^{1/2}`` it is ``K = L⁻ᵀ R``, since then ``Lᵀ K = R`` is symmetric.
    """
    if validate or not wants_float64(mu.cov):
        return bures.path(mu, nu, t, validate=validate)
    mu, nu = check_pair(mu, nu, validate=False)
    xp = array_namespace(mu.cov)
    first, second = (xp.astype(measure.cov, xp.float64) for measure in (mu, nu))
    try:
        L, other = xp.linalg.cholesky(first), xp.linalg.cholesky(second)
        values, vectors = xp.linalg.eigh(transpose(L) @ second @ L)
        known = values[..., 0] > SPREAD * values[..., -1]
        for cov, pivots in ((first, L), (second, other)):
            share = xp.linalg.diagonal(pivots) ** 2 / xp.linalg.diagonal(cov)
            known = known & xp.all(share > 8 * cov.shape[-1] * machine_eps(mu.cov), axis=-1)
    except linalg_error(first):
        return bures.path(mu, nu, t, validate=False)
    if not bool(xp.all(known)):
        return bures.path(mu, nu, t, validate=False)
    root = (vectors * xp.sqrt(values)[..., None, :]) @ transpose(vectors)
    K = xp.linalg.solve(transpose(L), root)
    time = expand(xp.astype(t, xp.float64), 2)
    M = (1.0 - time) * L + time * K
    lift = transpose(xp.linalg.solve(transpose(M), transpose(K - L)))  # S M = K - L
    cov, lift = (xp.astype(symmetrize(part), mu.cov.dtype) for part in (M @ transpose(M), lift))
    t = expand(t, 1)
    mean = (1.0 - t) * mu.mean + t * nu.mean
    return Gaussian(mean, cov), Tangent(xp.broadcast_to(nu.mean - mu.mean, mean.shape), lift)


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array:
    """Twin of ``bures.pairwise_sq_distance``, for float32 and d > 2."""
    if mu.cov.shape[-1] <= 2 or not wants_float64(mu.cov):
        return bures.pairwise_sq_distance(mu, nu, validate=validate)
    mu, nu = check_families(mu, nu, validate=validate)
    xp, left, right = array_namespace(mu.cov), *map(in_float64, (mu, nu))
    n, rows = mu.mean.shape[0], rows_per_block(nu)
    blocks = [row_block(left, right, slice(i, min(i + rows, n))) for i in range(0, max(n, 1), rows)]
    return xp.astype(xp.concat(blocks, axis=0), mu.cov.dtype)


def wants_float64(cov: Array, /) -> bool:
    """Whether an array is of float32 and on the CPU: on a GPU float64 may be slow."""
    return bool(cov.dtype == array_namespace(cov).float32) and not off_cpu(cov)


def in_float64(family: Gaussian, /) -> Gaussian:
    """Means, and factors in place of the covariances."""
    xp = array_namespace(family.mean)
    return Gaussian(xp.astype(family.mean, xp.float64), factor(xp.astype(family.cov, xp.float64)))


def row_block(mu: Gaussian, nu: Gaussian, rows: slice, /) -> Array:
    """Rows of the matrix of distances, of families in float64 with factors in place of covariances."""
    mean, left = (part[rows][:, None, ...] for part in mu)
    xp, product = array_namespace(left), transpose(left) @ nu.cov
    squares = decompose(xp.linalg.eigvalsh, product @ transpose(product), "the product of two covariances")
    traces, apart = sq_frobenius(left) + sq_frobenius(nu.cov), sq_norm(mean - nu.mean)
    distances = apart + traces - 2.0 * xp.sum(xp.sqrt(nonnegative(squares)), axis=-1)
    if bool(xp.all(distances >= CLOSE * traces)):
        return distances
    return bures.factored_sq_distance(mean, left, nu.mean, nu.cov)
