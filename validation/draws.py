"""Random inputs of a check: drawn on the host in float64, rounded to the dtype under audit.

The implementation gets them on its backend; oracles get the same rounded numbers on the host, in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm.backends import Backend
from refwfm.bures import Tangent
from refwfm.measures import Gaussian


class NotANumberError(ArithmeticError):
    """A result with NaN: wrong, whatever a residual would make of it (``max(0.0, nan)`` is 0)."""


class Draw(NamedTuple):
    """One random instance of dimension ``d``, in batches of ``size``.

    Attributes
    ----------
    rng : numpy.random.Generator
    d, size : int
    dtype : str
        That all inputs are rounded to.
    backend : Backend
        Where ``call`` runs: the one under audit, or NumPy in float64 for a negative control.
    """

    rng: np.random.Generator
    d: int
    size: int
    dtype: str
    backend: Backend

    @property
    def eps(self) -> float:
        """Machine epsilon of the dtype under audit."""
        return float(np.finfo(self.dtype).eps)

    def call(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Call a function on the backend with host arguments; its result comes back to the host.

        Raises
        ------
        NotANumberError
            If there is NaN in the result.
        """
        given = {name: self.to_backend(value) for name, value in options.items()}
        result = self.to_host(function(*map(self.to_backend, arguments), **given))
        _map_arrays(_refuse_nan, result)
        return result

    def to_backend(self, tree: Any, /) -> Any:
        """Copy host arrays, in nested tuples and dictionaries, to the backend."""
        return _map_arrays(self.backend.asarray, tree)

    def to_host(self, tree: Any, /) -> Any:
        """Copy a backend's arrays to the host; floating ones become float64."""
        return _map_arrays(lambda array: _widen(self.backend.to_numpy(array)), tree)

    def rounded(self, values: np.ndarray, /) -> np.ndarray:
        """Float64 values that the dtype under audit can represent."""
        return np.asarray(values).astype(self.dtype).astype(np.float64)

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers."""
        return self.rounded(self.rng.standard_normal(shape))

    def times(self, low: float = 0.02, high: float = 0.98) -> np.ndarray:
        """Times, shape (size,)."""
        return self.rounded(self.rng.uniform(low, high, self.size))

    def weights(self, n: int) -> np.ndarray:
        """Positive weights that sum to one, shape (n,)."""
        return self.rounded(self.rng.dirichlet(np.full(n, 5.0)))

    def spectrum(self, condition: float, *shape: int) -> np.ndarray:
        """Eigenvalues, log-uniform with geometric mean about one, spread over a factor ``condition``."""
        return condition ** self.rng.uniform(-0.5, 0.5, shape)

    def covariances(self, condition: float = 30.0, size: int | None = None) -> np.ndarray:
        """Positive definite matrices, shape (size, d, d), condition number at most ``condition``."""
        values = self.spectrum(condition, self.size if size is None else size, self.d)
        return self.from_spectrum(self.rotations(len(values)), values)

    def ill_conditioned(self) -> tuple[Gaussian, Gaussian, float]:
        """Two batches of Gaussians, and the condition number of all their covariances."""
        condition = 1.0 if self.d == 1 else {"float64": 1e10, "float32": 1e4}[self.dtype]
        exponents = np.linspace(0.0, 1.0, self.d)
        values = np.tile(condition**-exponents, (self.size, 1))
        pair = (self.from_spectrum(self.rotations(self.size), values) for _ in range(2))
        mu, nu = (Gaussian(self.normal(self.size, self.d), cov) for cov in pair)
        return mu, nu, condition

    def gaussians(self, condition: float = 30.0, size: int | None = None) -> Gaussian:
        """Gaussians with positive definite covariances, mean (size, d)."""
        cov = self.covariances(condition, size)
        return Gaussian(self.normal(len(cov), self.d), cov)

    def singular(self, rank: int | None = None) -> tuple[Gaussian, np.ndarray]:
        """Gaussians of a rank, d / 2 when left out, and the thin factors F (size, d, r) with ``cov = F Fᵀ``.

        The factors are small integers times a random power of 2, so that ``F Fᵀ`` is exact in float32 too.
        Those of two draws overlap: between orthogonal ones the geodesic would not be unique.
        """
        rank = max(1, self.d // 2) if rank is None else rank
        factors = self.rng.integers(-3, 4, (self.size, self.d, rank)).astype(np.float64)
        factors[:, :rank] += 16.0 * np.eye(rank)
        unit = 2.0 ** self.rng.integers(-8, 5)
        mean = unit * self.normal(self.size, self.d)
        return Gaussian(mean, unit**2 * (factors @ factors.mT)), unit * factors

    def commuting(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariances (n, d, d) with common eigenvectors, and their roots."""
        basis, values = self.rotations(1), self.spectrum(30.0, n, self.d)
        roots = self.from_spectrum(np.repeat(basis, n, axis=0), np.sqrt(values))
        return self.rounded(symmetric(roots @ roots)), roots

    def tangents(self, size: int = 1) -> Tangent:
        """Tangent vectors with random symmetric lifts of norm about ``size``."""
        matrices = symmetric(self.rng.standard_normal((self.size, self.d, self.d)))
        return Tangent(self.normal(self.size, self.d), self.rounded(size * matrices / np.sqrt(self.d)))

    def rotations(self, size: int) -> np.ndarray:
        """Random orthogonal matrices, shape (size, d, d)."""
        return np.linalg.qr(self.rng.standard_normal((size, self.d, self.d)))[0]

    def from_spectrum(self, basis: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Symmetric matrices with these eigenvectors (n, d, d) and eigenvalues (n, d), rounded."""
        return self.rounded(symmetric((basis * values[..., None, :]) @ basis.mT))


def symmetric(matrix: np.ndarray, /) -> np.ndarray:
    """Symmetric part of matrices (..., d, d)."""
    return 0.5 * (matrix + matrix.mT)


def _refuse_nan(array: np.ndarray) -> np.ndarray:
    if np.any(np.isnan(array)):
        raise NotANumberError("the result has NaN")
    return array


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [_map_arrays(function, value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return function(tree) if hasattr(tree, "dtype") else tree
