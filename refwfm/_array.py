"""Helpers on top of the Python array API: everything here works on any array library.

The namespace, the device and the dtype of a result are those of the inputs. Nothing else in the
package talks to ``array_api_compat``.
"""

import math
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
"""An array of any library with the array API (NumPy, torch, CuPy, JAX, array-api-strict)."""

array_namespace = array_api_compat.array_namespace
device = array_api_compat.device


def machine_eps(x: Array, /) -> float:
    """Machine epsilon of the dtype of ``x``, as a Python float."""
    return float(array_namespace(x).finfo(x.dtype).eps)


def asarray_like(values: Any, x: Array, /) -> Array:
    """Bring host values (a NumPy array, a number) to the library, dtype and device of ``x``."""
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))


def eye(d: int, x: Array, /) -> Array:
    """Identity matrix, shape (d, d), in the library, dtype and device of ``x``."""
    return array_namespace(x).eye(d, dtype=x.dtype, device=device(x))


def expand(t: Array, ndim: int, /) -> Array:
    """Append ``ndim`` axes of length one, so that a batch of scalars multiplies vectors (1) or matrices (2).

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


def take_along(table: Array, index: Array, /) -> Array:
    """``table[..., index]``: along the last axis, with leading axes that broadcast."""
    ndim = max(table.ndim, index.ndim)
    table, index = (part[(*(None,) * (ndim - part.ndim), ...)] for part in (table, index))
    return array_namespace(table).take_along_axis(table, index, axis=-1)


def take_rows(rows: Array, index: Array | np.ndarray, /) -> Array:
    """``rows[..., index, :]``: vectors (..., k, d) of (..., n, d), with leading axes that broadcast.

    ``index`` (..., k) may live on the host; its entries, from 0 to n - 1, are not checked.
    """
    xp = array_namespace(rows)
    index = xp.asarray(index, device=device(rows))
    batch = np.broadcast_shapes(tuple(rows.shape[:-2]), tuple(index.shape[:-1]))
    (n, d), k, members = rows.shape[-2:], index.shape[-1], math.prod(batch)
    flat = xp.reshape(xp.broadcast_to(rows, (*batch, n, d)), (members * n, d))
    first = n * xp.arange(members, dtype=index.dtype, device=device(rows))
    index = xp.reshape(xp.broadcast_to(index, (*batch, k)), (members, k)) + first[:, None]
    return xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), (*batch, k, d))


def expanded_sq_distance(x: Array, y: Array, /) -> Array:
    """Squared distances ``‖xᵢ‖² + ‖yⱼ‖² - 2 ⟨xᵢ, yⱼ⟩`` of vectors (..., n, d) and (..., m, d): (..., n, m).

    One matrix product. The error is rounding relative to the norms, so that far from the origin digits are
    lost, and small distances may come out negative: centre before, clip after.
    """
    return sq_norm(x)[..., :, None] + sq_norm(y)[..., None, :] - 2.0 * (x @ transpose(y))


def linalg_error(x: Array, /) -> type[Exception]:
    """Class of the errors that decompositions raise in the library of ``x``; torch has one of its own."""
    error: type[Exception] = getattr(array_namespace(x).linalg, "LinAlgError", np.linalg.LinAlgError)
    return error


def to_host(x: Array, /) -> np.ndarray:
    """NumPy copy of an array of any library (a copy from the device where there is one)."""
    if isinstance(x, np.ndarray):
        return x
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    if array_api_compat.is_cupy_array(x):
        return x.get()
    return np.asarray(x)
