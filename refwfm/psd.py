"""Positive semi-definite matrices: roots, factors and the Lyapunov equation, batched over leading axes.

Rounding leaves eigenvalues of about ``d eps`` times the largest where the exact ones are zero. Their
*roots* would be 1e-8 in float64 and spoil every distance between singular covariances, so they are set to
zero. But a small variance is not rounding: the entries of a covariance, a sum of products, are right
relative to ``√(aᵢᵢ aⱼⱼ)``. So what is decomposed is the matrix of *correlations*: ``A = D C D``, and the
floor is on the eigenvalues of C. Coordinates of whatever units keep their digits.

**Domain.** A direction counts as reached when its variance is above ``d eps`` times what its coordinates
allow (an eigenvalue of C), and above ``(d eps)²`` times the largest: d² 5e-32 in float64, d² 1.4e-14 in
float32. Of a covariance with condition κ in arbitrary axes, roots, maps and velocities have relative
errors of about ``eps κ``, for that much do they change when its entries are rounded; in its own axes the
error is rounding. What needs a direction below raises.

**Price.** Beside a decomposition of the covariance itself, ``factor`` of one small matrix takes 1.5 times as
long on NumPy, 2.5 times on torch. With the checks of what comes in, roots, maps, distances and paths of one
small Gaussian take 1.2 to 3 times as long on torch as without; in batches of a hundred 0.9 to 1.2 times.
"""

import array_api_extra as xpx

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    expand,
    eye,
    machine_eps,
    nonnegative,
    off_cpu,
    symmetrize,
    transpose,
    two_by_two,
)
from refwfm._derivatives import is_traced, with_pullback
from refwfm.evidence import decompose, eigh, from_spectrum, svd, without_rounding
from refwfm.measures import SingularCovarianceError, check_cov, check_square


def factor(cov: Array, /) -> Array:
    """Square factor L of a covariance, ``L Lᵀ = cov``, with zero columns where cov is singular.

    Equation: WFM-8. Its factor L_A: ``D V √λ`` of the correlations ``V diag(λ) Vᵀ = D⁻¹ cov D⁻¹``. Shapes
    (..., d, d) to (..., d, d).

    Examples
    --------
    >>> L = factor(np.diag([4.0, 0.0]))
    >>> (L @ L.T).tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """
    check_square(cov, "cov")
    return _factor(cov)


def _factor(cov: Array) -> Array:
    xp = array_namespace(cov)
    if cov.shape[-1] == 2:
        axes, sigma = _axes_in_the_plane(cov)
        return axes * sigma[..., None, :]
    scale = deviations(xp.linalg.diagonal(cov))
    values, vectors = eigh(cov / scale[..., :, None] / scale[..., None, :], "cov")
    values = without_rounding(values, cov.shape[-1] * machine_eps(cov) * values[..., -1:])
    return scale[..., :, None] * vectors * xp.sqrt(values)[..., None, :]


def deviations(variance: Array, /) -> Array:
    """Roots of variances (..., d), not below ``√eps`` times the largest, and not 0.

    Equation: none. Units in which the coordinates of a covariance are of order one.

    The bound is there because a matrix may have errors of eps times its *largest* entry. Blown up, they must
    not reach the other coordinates: an error of eps beside a variance of 0 becomes a correlation of √eps.

    Examples
    --------
    >>> deviations(np.asarray([4.0, 1.0, 0.0])).round(9).tolist()
    [2.0, 1.0, 3e-08]
    """
    xp = array_namespace(variance)
    largest = xp.max(variance, axis=-1, keepdims=True)
    tiny = float(xp.finfo(variance.dtype).smallest_normal)
    return xp.sqrt(xp.maximum(variance, machine_eps(variance) * largest + tiny))


GRADED = 1 / 64
"""Ratio of variances from which a covariance itself is decomposed, which loses six bits at most."""


def _principal_axes(cov: Array) -> tuple[Array, Array]:
    """Orthonormal U and deviations σ with ``U diag(σ²) Uᵀ = cov``; σ is 0 where cov is singular.

    By one decomposition where all variances are of one order; graded covariances need two. Which one a
    covariance gets does not depend on the others.
    """
    xp = array_namespace(cov)
    if cov.shape[-1] == 2:
        return _axes_in_the_plane(cov)
    variance = xp.linalg.diagonal(cov)
    graded = ~(xp.min(variance, axis=-1) >= GRADED * xp.max(variance, axis=-1))  # so is NaN
    if not is_traced(cov):
        if not bool(xp.any(graded)):
            return _even_axes(cov)
        if not bool(xp.all(graded)):
            axes, sigma = xp.empty_like(cov), xp.empty_like(variance)
            for part, function in ((graded, _graded_axes), (~graded, _even_axes)):
                few = function(cov[part])
                axes, sigma = xpx.at(axes, part).set(few[0]), xpx.at(sigma, part).set(few[1])
            return axes, sigma
    return _graded_axes(cov)


def _even_axes(cov: Array) -> tuple[Array, Array]:
    values, axes = eigh(cov, "cov")
    floor = cov.shape[-1] * machine_eps(cov) * values[..., -1:]
    return axes, array_namespace(cov).sqrt(without_rounding(values, floor))


def _axes_in_the_plane(cov: Array) -> tuple[Array, Array]:
    """The same for d = 2, by Jacobi's rotation, which keeps the digits of both variances."""
    xp, eps = array_namespace(cov), machine_eps(cov)
    a, b, c = (cov[..., i, j] for i, j in ((0, 0), (1, 0), (1, 1)))
    half = 0.5 * (c - a)
    size = xp.hypot(half, b)
    base = half + xp.copysign(size, half)
    tangent = b / xp.where(base == 0, 1.0, base)  # of an angle of at most 45°
    values = xp.stack([a - tangent * b, c + tangent * b], axis=-1)
    floor = xp.maximum(8 * eps * xp.minimum(a, c), (2 * eps) ** 2 * xp.maximum(a, c))
    cosine = 1.0 / xp.sqrt(1.0 + tangent * tangent)
    sine = tangent * cosine
    return two_by_two(cosine, sine, -sine, cosine), xp.sqrt(without_rounding(values, floor[..., None]))


def _graded_axes(cov: Array) -> tuple[Array, Array]:
    axes, sigma, _ = svd(_factor(cov), "cov")
    return axes, without_rounding(sigma, cov.shape[-1] * machine_eps(cov) * sigma[..., :1])


def sqrtm(cov: Array, /, *, validate: bool = True) -> Array:
    """Symmetric positive semi-definite square root of covariances, shape (..., d, d).

    Equation: WFM-U4. Its root A^{1/2}: of the factor ``L = U diag(σ) Vᵀ`` it is ``U diag(σ) Uᵀ``, which has
    all digits where the roots of eigenvalues have half of them. (Beyond ``GRADED`` it takes twice as long.)

    Differentiable where cov is positive definite, at repeated eigenvalues too.

    Raises
    ------
    ValueError
        If ``cov`` is not symmetric, finite and positive semi-definite (``validate``).

    Examples
    --------
    >>> sqrtm(np.diag([4.0, 9.0])).round(9).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    cov = check_cov(cov, validate)
    return with_pullback(lambda cov: from_spectrum(*_principal_axes(cov)), _pull_root, cov)


def _pull_root(d_root: Array, cov: Array) -> tuple[Array]:
    """``R X + X R`` is what the root R loses when cov loses X."""
    return (solve_lyapunov(sqrtm(_derivable(cov)), d_root),)


def inv_sqrtm(cov: Array, /, *, validate: bool = True) -> Array:
    """Inverse of the symmetric square root of positive definite covariances, shape (..., d, d).

    Equation: WFM-U4. Its inverse root A^{-1/2}. Differentiable.

    Raises
    ------
    SingularCovarianceError
        If a covariance has a direction without variance, up to rounding (``validate``; see the module).

    Examples
    --------
    >>> inv_sqrtm(np.diag([4.0, 16.0])).round(9).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return with_pullback(
        lambda cov: _inverse_root(cov, validate), _pull_inverse_root, check_cov(cov, validate)
    )


def _inverse_root(cov: Array, validate: bool) -> Array:
    axes, sigma = _principal_axes(cov)
    if validate and bool(array_namespace(cov).any(sigma == 0)):
        raise SingularCovarianceError(
            "cov is singular, so it has no inverse root; add a multiple of the identity, "
            "or use the functions that take singular covariances (interpolate, velocity, sq_distance)"
        )
    return (axes / sigma[..., None, :]) @ transpose(axes)  # rounded once, not 1 / root too


def _pull_inverse_root(d_inverse: Array, cov: Array) -> tuple[Array]:
    inverse = inv_sqrtm(cov)
    return (solve_lyapunov(sqrtm(cov), -inverse @ d_inverse @ inverse),)


def _derivable(cov: Array) -> Array:
    if bool(array_namespace(cov).any(_principal_axes(cov)[1] == 0)):
        raise SingularCovarianceError(
            "the root of a singular covariance has no derivative; add a multiple of the identity"
        )
    return cov


def project_psd(matrix: Array, /) -> Array:
    """Nearest positive semi-definite matrix in Frobenius norm: negative eigenvalues become zero.

    Equation: WFM-Table2. The projection in the baselines' generation. Shapes (..., d, d) to (..., d, d).

    Examples
    --------
    >>> project_psd(np.diag([1.0, -1.0])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    check_square(matrix, "matrix")
    values, vectors = eigh(symmetrize(matrix), "matrix")
    return symmetrize(from_spectrum(vectors, nonnegative(values)))


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
    check_floating(cov0=cov0, cov1=cov1)
    root0, root1 = factor(cov0), factor(cov1)
    return root0, turned(root0, root1)


def turned(factor0: Array, factor1: Array, /) -> Array:
    """Factor ``K = L_B Q Pᵀ`` of the second covariance with ``L_Aᵀ K`` symmetric positive semi-definite.

    Equation: WFM-8. Of all factors of the second covariance the nearest to the first factor.

    Examples
    --------
    >>> turned(np.eye(1), np.asarray([[-2.0]])).tolist()
    [[2.0]]
    """
    check_floating(factor0=factor0, factor1=factor1)
    return factor1 @ transpose(_orthogonal_part(transpose(factor0) @ factor1))


def _orthogonal_part(matrix: Array) -> Array:
    """``P Qᵀ`` of matrices ``P diag(σ) Qᵀ``, in closed form for d = 1 and 2."""
    if matrix.shape[-1] > 2:
        left, _, right = svd(matrix, "the product of two covariances")
        return left @ right
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.where(matrix < 0, -xp.ones_like(matrix), xp.ones_like(matrix))
    a, b, c, e = (matrix[..., i, j] for i in (0, 1) for j in (0, 1))
    turn, mirror = (a + e, b - c), (a - e, b + c)  # first rows of a multiple of a rotation, of a reflection
    sizes = xp.hypot(*turn), xp.hypot(*mirror)  # σ₁ ± σ₂
    turns = sizes[0] >= sizes[1]
    size = xp.where(turns, *sizes)
    some = xp.where(size == 0, 1.0, size)
    x, y = (xp.where(turns, *entries) / some for entries in zip(turn, mirror, strict=True))
    x = xp.where(size == 0, 1.0, x)
    return two_by_two(x, y, xp.where(turns, -y, y), xp.where(turns, x, -x))


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
    return _lift(factors, rates, unreached)[0]


def lift_and_kernel(factors: Array, rates: Array, /, *, unreached: float = 0.0) -> tuple[Array, Array]:
    """Return what ``solve_lift`` does, and the kernel of M: ``S M`` can be no more than 0 there.

    Equation: WFM-9.

    Returns
    -------
    lift, kernel : array, shape (..., d, d)
        Columns of the kernel are unit vectors z with ``M z = 0``, or σ up to ``d eps`` of the largest, and
        zeros. The lift is a solution where ``Ṁ z = 0`` for them too.

    Examples
    --------
    >>> lift_and_kernel(np.diag([2.0, 0.0]), np.diag([2.0, 0.0]))[1].tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    lift, sigma, right = _lift(factors, rates, unreached)
    return lift, transpose(right) * array_namespace(right).astype(sigma == 0, right.dtype)[..., None, :]


def _lift(factors: Array, rates: Array, unreached: float) -> tuple[Array, Array, Array]:
    """The lift; singular values of the factor, 0 where they are rounding, and its right vectors."""
    xp = check_floating(factors=factors, rates=rates)
    left, sigma, right = svd(factors, "the factor of a covariance")
    largest = sigma[..., :1]
    largest = xp.where(largest == 0, 1.0, largest)
    sigma = without_rounding(sigma / largest, factors.shape[-1] * machine_eps(factors))
    rate = transpose(left) @ rates @ transpose(right) / largest[..., None]
    weighted = rate * sigma[..., None, :]
    square = sigma * sigma
    scale = square[..., :, None] + square[..., None, :]
    lift = _quotient(weighted + transpose(weighted), scale, unreached)
    return symmetrize(left @ lift @ transpose(left)), sigma, right


def _quotient(matrix: Array, scale: Array, unreached: float = 0.0) -> Array:
    """``matrix / scale``, and ``unreached`` times the identity where the scale is 0."""
    xp = array_namespace(matrix, scale)
    empty = scale == 0
    ratio = matrix / xp.where(empty, 1.0, scale)
    return xp.where(empty, unreached * eye(matrix.shape[-1], matrix) if unreached else 0.0, ratio)


def solve_lyapunov(cov: Array, matrix: Array, /) -> Array:
    """Symmetric S with ``S cov + cov S = matrix``; least norm where cov is singular.

    Equation: WFM-9. Shapes (..., d, d), ``matrix`` symmetric; of any other its symmetric part counts.

    Examples
    --------
    >>> solve_lyapunov(2.0 * np.eye(2), 4.0 * np.eye(2)).round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    check_floating(cov=cov, matrix=matrix)
    axes, sigma = _principal_axes(cov)
    square, back = sigma * sigma, transpose(axes)
    rotated = _quotient(back @ matrix @ axes, square[..., :, None] + square[..., None, :])
    return symmetrize(axes @ rotated @ back)


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
    check_square(matrix, "matrix")
    return with_pullback(_sum_of_singular_values, _pull_nuclear_norm, matrix)


def _sum_of_singular_values(matrix: Array) -> Array:
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.abs(matrix[..., 0, 0])
    if matrix.shape[-1] == 2:
        a, b, c, e = (matrix[..., i, j] for i in (0, 1) for j in (0, 1))
        return xp.maximum(xp.hypot(a + e, b - c), xp.hypot(a - e, b + c))
    if off_cpu(matrix):  # where the vectors are the certificate
        return xp.sum(svd(matrix, "matrix")[1], axis=-1)
    return xp.sum(decompose(xp.linalg.svdvals, matrix, "matrix"), axis=-1)


def _pull_nuclear_norm(d_norm: Array, matrix: Array) -> tuple[Array]:
    """The gradient is the orthogonal factor ``P Qᵀ`` of ``P diag(σ) Qᵀ``."""
    check_invertible(matrix, "the matrix")
    return (expand(d_norm, 2) * _orthogonal_part(matrix),)


def check_invertible(matrix: Array, name: str, /) -> None:
    """Raise where the nuclear norm of matrices (..., d, d) has no derivative."""
    sigma = svd(matrix, name)[1]
    if bool(array_namespace(matrix).any(sigma <= matrix.shape[-1] * machine_eps(matrix) * sigma[..., :1])):
        raise SingularCovarianceError(f"{name} is singular, where the nuclear norm has no derivative")
