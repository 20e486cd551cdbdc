"""The evidence that solvers give for their results, and the error that they raise without it.

A solver returns its evidence beside its result. The same names mean the same in every result:

``converged``             whether the evidence is good enough; never true of NaN
``n_iter``                iterations done (the network simplex does not report its pivots: it has none)
``row_error, col_error``  of a plan: L1 distances of its marginals from the weights
``residual``              of a fixed point: how far it is from being one, to compare with the tolerance

With ``require`` (the default wherever a person calls) bad evidence raises a ``ConvergenceError``, which says
what to try next; without, it is in the result.

Decompositions of matrices are had from here too: batched over leading axes, with errors that name the matrix,
with a check of what a device returned, and without a derivative that would be NaN where two values meet.
"""

from collections.abc import Callable
from typing import Any

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    device,
    eye,
    linalg_error,
    machine_eps,
    off_cpu,
    transpose,
)
from refwfm._derivatives import is_differentiated, is_traced, without_derivative
from refwfm.measures import NonFiniteError, SingularCovarianceError


class ConvergenceError(RuntimeError):
    """A solver stopped before its result was as good as asked for."""


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


def eigh(matrix: Array, name: str, /) -> tuple[Array, Array]:
    """Eigenvalues (..., d) in ascending order and eigenvectors (..., d, d) of symmetric matrices.

    Equation: none. A decomposition with its certificate.

    Away from the CPU, where solvers for batches are known to have failed without a word, orthogonality and
    residual are checked; the device is waited for. No derivative: that of an eigenvector is infinite where
    eigenvalues repeat. Looking for NaN takes a tenth of the time in d = 16, a sixth in d = 2.

    Raises
    ------
    ConvergenceError
        If what a device returned is no decomposition of the matrix.
    NonFiniteError
        If the matrix has NaN or infinity in it and the library refuses; otherwise the eigenvalues are NaN.

    Examples
    --------
    >>> eigh(np.diag([4.0, 9.0]), "cov")[0].tolist()
    [4.0, 9.0]
    """
    values, vectors = decompose(array_namespace(matrix).linalg.eigh, matrix, name)
    if off_cpu(matrix):
        _certify(matrix, from_spectrum(vectors, values), vectors, name=name)
    return _underivable(matrix, _nan_where(matrix, values), vectors)


def svd(matrix: Array, name: str, /) -> tuple[Array, Array, Array]:
    """Singular value decomposition ``U diag(σ) Vᵀ`` of matrices (..., d, d): U, σ in descending order, Vᵀ.

    Equation: none. A decomposition with its certificate. Checks and errors as for ``eigh``.

    Examples
    --------
    >>> svd(np.diag([4.0, 9.0]), "cov")[1].tolist()
    [9.0, 4.0]
    """
    left, sigma, right = decompose(array_namespace(matrix).linalg.svd, matrix, name)
    if off_cpu(matrix):
        product = (left * sigma[..., None, :]) @ right
        _certify(matrix, product, left, transpose(right), name=name)
    return _underivable(matrix, left, _nan_where(matrix, sigma), right)


def _underivable(matrix: Array, *parts: Array) -> Any:
    if not is_differentiated(matrix):
        return parts
    name = "a decomposition of a matrix, whose vectors turn without bound where two values meet,"
    return tuple(without_derivative(part, name, matrix) for part in parts)


def _nan_where(matrix: Array, values: Array) -> Array:
    """``values``, NaN where the matrix is not finite: LAPACK may return numbers for it."""
    xp = array_namespace(matrix)
    return values + (0.0 * xp.max(xp.abs(matrix), axis=(-2, -1)))[..., None]


def _certify(matrix: Array, product: Array, *bases: Array, name: str) -> None:
    """Raise unless product and bases are the matrix's."""
    if is_traced(matrix):
        return
    xp = array_namespace(matrix)
    size = xp.max(xp.abs(matrix), axis=(-2, -1))
    allowed = 100 * matrix.shape[-1] * machine_eps(matrix)
    right = xp.max(xp.abs(product - matrix), axis=(-2, -1)) <= allowed * size
    for basis in bases:
        gap = transpose(basis) @ basis - eye(basis.shape[-1], basis)
        right = right & (xp.max(xp.abs(gap), axis=(-2, -1)) <= allowed)
    if not bool(xp.all(right | ~xp.isfinite(size))):
        raise ConvergenceError(
            f"the decomposition of {name} on {device(matrix)} failed: what came back is not orthogonal, "
            "or not this matrix; move the arrays to the CPU"
        )


def without_rounding(values: Array, floor: Array, /) -> Array:
    """``values``, with 0 in place of those up to ``floor``. NaN stays NaN.

    Equation: none. Tells rounding from directions.

    Examples
    --------
    >>> without_rounding(np.asarray([1.0, 1e-20]), np.asarray(1e-15)).tolist()
    [1.0, 0.0]
    """
    return array_namespace(values).where(values <= floor, 0.0, values)
