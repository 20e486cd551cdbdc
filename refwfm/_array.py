"""Helpers on top of the Python array API: everything here works on any array library.

The namespace, the device and the dtype of a result are those of the inputs. The only place
of the package that talks to ``array_api_compat``.
"""

from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
"""An array of any library with the array API (NumPy, torch, CuPy, JAX, array-api-strict)."""

array_namespace = array_api_compat.array_namespace
device = array_api_compat.device


def eps(x: Array, /) -> float:
    """Machine epsilon of the dtype of ``x``, as a Python float."""
    return float(array_namespace(x).finfo(x.dtype).eps)


def like(values: Any, x: Array, /) -> Array:
    """Bring host values (a NumPy array, a number) to the library, dtype and device of ``x``."""
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))


def eye(d: int, x: Array, /) -> Array:
    """Identity matrix, shape (d, d), in the library, dtype and device of ``x``."""
    return array_namespace(x).eye(d, dtype=x.dtype, device=device(x))


def expand(t: Array, ndim: int, /) -> Array:
    """Append ``ndim`` axes of length one: a batch of scalars to multiply vectors (1) or matrices (2).

    A number is returned as a Python float, which changes no dtype (a ``numpy.float64`` would).
    """
    return float(t) if isinstance(t, (int, float)) else t[(..., *(None,) * ndim)]


def transpose(x: Array, /) -> Array:
    """Swap the last two axes."""
    return array_namespace(x).matrix_transpose(x)


def symmetrize(x: Array, /) -> Array:
    """Symmetric part ``(x + xᵀ) / 2`` of matrices, shape (..., d, d)."""
    return 0.5 * (x + transpose(x))


def matvec(matrix: Array, vector: Array, /) -> Array:
    """Product of matrices (..., n, d) with vectors (..., d), shape (..., n)."""
    return (matrix @ vector[..., None])[..., 0]


def sq_norm(x: Array, /) -> Array:
    """Squared Euclidean norm over the last axis."""
    xp = array_namespace(x)
    return xp.sum(x * x, axis=-1)


def sq_frobenius(x: Array, /) -> Array:
    """Squared Frobenius norm over the last two axes."""
    xp = array_namespace(x)
    return xp.sum(x * x, axis=(-2, -1))


def all_finite(x: Array, /) -> bool:
    """Whether no element is NaN or infinite (one device synchronisation)."""
    xp = array_namespace(x)
    return bool(xp.all(xp.isfinite(x)))


def to_host(x: Array, /) -> np.ndarray:
    """NumPy copy of an array of any library (a copy from the device where there is one)."""
    if isinstance(x, np.ndarray):
        return x
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    if array_api_compat.is_cupy_array(x):
        return x.get()
    return np.asarray(x)
