"""Helpers on top of the Python array API: everything here works on any array library.

The namespace, the device and the dtype of a result are those of the inputs. Beside ``_derivatives``, nothing
else in the package talks to ``array_api_compat``.
"""

import math
import operator
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

import array_api_compat
import array_api_extra as xpx
import numpy as np

Array: TypeAlias = Any
"""An array of any library with the array API (NumPy, torch, CuPy, JAX, array-api-strict)."""

device = array_api_compat.device
is_array = array_api_compat.is_array_api_obj

_NAMESPACES: dict[type, Any] = {np.ndarray: array_api_compat.array_namespace(np.zeros(0))}


def array_namespace(*arrays: Array) -> Any:
    """Namespace of the arrays' library; a ``TypeError`` where they are of several, or no arrays.

    Looked up once for each type: every function asks, and asking took longer than adding small matrices.
    """
    kinds = {*map(type, arrays)}
    if len(kinds) != 1:
        return array_api_compat.array_namespace(*arrays)
    kind = kinds.pop()
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_api_compat.array_namespace(*arrays)
    return _NAMESPACES[kind]


def machine_eps(x: Array, /) -> float:
    """Machine epsilon of the dtype of ``x``, as a Python float."""
    return float(array_namespace(x).finfo(x.dtype).eps)


CROSSING: ContextVar[Callable[[str, Any], None] | None] = ContextVar("CROSSING", default=None)
"""Called with "to device" or "to host" and the values where those of another library than NumPy cross."""


def asarray_like(values: Any, x: Array, /) -> Array:
    """Bring host values (a NumPy array, a number) to the library, dtype and device of ``x``."""
    if CROSSING.get() is not None:
        _tell_upload(values, x)
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))


def on_device_of(x: Array, values: Any, /) -> Array:
    """Bring host values to the library and device of ``x``, in their own dtype: positions, labels, flags."""
    if CROSSING.get() is not None:
        _tell_upload(values, x)
    return array_namespace(x).asarray(values, device=device(x))


def _tell_upload(values: Any, x: Array) -> None:
    observe = CROSSING.get()
    host = isinstance(values, np.ndarray | np.generic) or not is_array(values)
    if observe is not None and host and not isinstance(x, np.ndarray):
        observe("to device", values)


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


def two_by_two(*entries: Array) -> Array:
    """Matrices (..., 2, 2) of their four entries (...), row by row."""
    xp = array_namespace(*entries)
    return xp.reshape(xp.stack(entries, axis=-1), (*entries[0].shape, 2, 2))


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
    index = on_device_of(rows, index)
    batch = np.broadcast_shapes(tuple(rows.shape[:-2]), tuple(index.shape[:-1]))
    (n, d), k, members = rows.shape[-2:], index.shape[-1], math.prod(batch)
    flat = xp.reshape(xp.broadcast_to(rows, (*batch, n, d)), (members * n, d))
    first = n * xp.arange(members, dtype=index.dtype, device=device(rows))
    index = xp.reshape(xp.broadcast_to(index, (*batch, k)), (members, k)) + first[:, None]
    return xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), (*batch, k, d))


RUN = 64
"""Numbers that ``running_sum`` adds up one after the other."""


def running_sum(x: Array, /, run: int = RUN) -> Array:
    """Cumulative sum over the last axis, of runs first and then of their sums.

    The error grows with the logarithm of the length and not with the length, as that of float32 does where
    one sum goes through all: 5000 equal weights end at 1 - 6e-5.
    """
    xp, n = array_namespace(x), x.shape[-1]
    if n <= run:
        return xp.cumulative_sum(x, axis=-1)
    fill = xp.zeros((*x.shape[:-1], -n % run), dtype=x.dtype, device=device(x))
    runs = xp.reshape(xp.concat([x, fill], axis=-1), (*x.shape[:-1], -(-n // run), run))
    runs = xp.cumulative_sum(runs, axis=-1)
    before = running_sum(runs[..., -1], run)[..., :-1]
    before = xp.concat([xp.zeros_like(runs[..., :1, 0]), before], axis=-1)
    return xp.reshape(runs + before[..., None], (*x.shape[:-1], n + fill.shape[-1]))[..., :n]


def expanded_sq_distance(x: Array, y: Array, /) -> Array:
    """Squared distances ``‖xᵢ‖² + ‖yⱼ‖² - 2 ⟨xᵢ, yⱼ⟩`` of vectors (..., n, d) and (..., m, d): (..., n, m).

    One matrix product, for bounds with a slack. The error is rounding relative to the *norms*: far from the
    origin small distances have no digits, and may come out negative. ``sq_distances`` has none of this.
    """
    return sq_norm(x)[..., :, None] + sq_norm(y)[..., None, :] - 2.0 * (x @ transpose(y))


COORDINATES = 4
"""Dimension up to which ``sq_distances`` adds up differences: there, no slower than a matrix product."""

CACHED = 2**16
"""Elements of its temporaries, which then stay in the cache."""

HARMLESS = 1 / 16
"""Share of ``‖xᵢ‖² + ‖yⱼ‖²`` from which an expanded square loses four bits at most, and is taken."""


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by who takes it, in words
def sq_distances(x: Array, y: Array, /) -> Array:
    """Squared distances of all pairs of vectors (..., n, d) and (..., m, d): (..., n, m), never negative.

    The error of each is rounding of *itself*, whatever the other vectors are: a far one spoils no other's
    distance, one that is not finite only its own, and NaN stays NaN. In up to ``COORDINATES`` dimensions
    differences come first; beyond, a matrix product about the middle, and differences for those pairs only
    whose distance is small beside their norms. (To know whether there are any, a device is waited for.)
    """
    if x.shape[-1] > COORDINATES:
        return _centred_sq_distances(x, y)
    xp, n = array_namespace(x, y), x.shape[-2]
    rows = max(1, CACHED // max(1, y.shape[-2] * math.prod(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))))
    if rows >= n:
        return _summed_sq_distances(x, y)
    starts = range(0, n, rows)
    return xp.concat([_summed_sq_distances(x[..., i : min(i + rows, n), :], y) for i in starts], axis=-2)


def _summed_sq_distances(x: Array, y: Array) -> Array:
    gap = x[..., :, None, 0] - y[..., None, :, 0]
    total = gap * gap
    for k in range(1, x.shape[-1]):
        gap = x[..., :, None, k] - y[..., None, :, k]
        total += gap * gap
    return total


def _centred_sq_distances(x: Array, y: Array) -> Array:
    xp = array_namespace(x, y)
    centre = 0.5 * (_centre(x) + _centre(y))
    from_x, from_y = x - centre, y - centre
    norms = sq_norm(from_x)[..., :, None] + sq_norm(from_y)[..., None, :]
    expanded = norms - 2.0 * (from_x @ transpose(from_y))
    harmed = ~((expanded >= HARMLESS * norms) & (expanded < math.inf))  # so is NaN
    return _anew(expanded, harmed, x, y) if bool(xp.any(harmed)) else expanded


def _centre(x: Array) -> Array:
    """Mean of the vectors, with 0 for coordinates that are not finite, shape (..., 1, d)."""
    xp = array_namespace(x)
    total = xp.sum(x, axis=-2, keepdims=True)
    if all_finite(total):
        return total / max(1, x.shape[-2])
    return xp.sum(xp.where(xp.isfinite(x), x, xp.zeros_like(x)), axis=-2, keepdims=True) / max(1, x.shape[-2])


def _anew(distances: Array, chosen: Array, x: Array, y: Array) -> Array:
    """Squared distances (..., n, m), those of the chosen pairs computed from differences."""
    xp = array_namespace(x, y)
    (*batch, n, m), d = distances.shape, x.shape[-1]
    x, y = (xp.reshape(xp.broadcast_to(v, (*batch, *v.shape[-2:])), (-1, d)) for v in (x, y))
    (pair,) = xp.nonzero(xp.reshape(chosen, (-1,)))
    row, column, count = pair // m, pair // (n * m) * m + pair % m, pair.shape[0]
    step = max(1, CACHED // d)
    squares = []
    for start in range(0, count, step):
        some = slice(start, min(start + step, count))
        squares.append(sq_norm(xp.take(x, row[some], axis=0) - xp.take(y, column[some], axis=0)))
    return xpx.at(distances, chosen).set(xp.concat(squares), xp=xp)


def summed_to(gradient: Array, shape: tuple[int, ...], /) -> Array:
    """Gradient of a broadcast argument of this shape: summed over the axes that it did not have."""
    xp, extra = array_namespace(gradient), gradient.ndim - len(shape)
    axes = [
        i for i in range(gradient.ndim) if i < extra or (shape[i - extra] == 1 and gradient.shape[i] != 1)
    ]
    return xp.reshape(xp.sum(gradient, axis=tuple(axes)), shape) if axes else gradient


def nonnegative(x: Array, /) -> Array:
    """``x``, with 0 in place of numbers below 0: rounding of a quantity that has none. NaN stays NaN."""
    return array_namespace(x).where(x < 0, 0.0, x)


def linalg_error(x: Array, /) -> type[Exception]:
    """Class of the errors that decompositions raise in the library of ``x``; torch has one of its own."""
    error: type[Exception] = getattr(array_namespace(x).linalg, "LinAlgError", np.linalg.LinAlgError)
    return error


def to_host(x: Array, /) -> np.ndarray:
    """NumPy copy of an array of any library, from whatever device it is on, without its gradient.

    Raises
    ------
    TypeError
        If the array is one that JAX only traces, in ``jax.grad`` or ``jax.jit``: it has no values.
    """
    if isinstance(x, np.ndarray):
        return x
    observe = CROSSING.get()
    if observe is not None:
        observe("to host", x)
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    if array_api_compat.is_cupy_array(x):
        return x.get()
    xp = array_namespace(x)
    if array_api_compat.is_array_api_strict_namespace(xp):
        x = array_api_compat.to_device(x, xp.Device("CPU_DEVICE"))
    try:
        return np.asarray(x)
    except TypeError as error:
        raise TypeError("JAX can neither trace nor differentiate what is solved on the host") from error


def off_cpu(x: Array, /) -> bool:
    """Whether the array is on another device than the CPU."""
    if isinstance(x, np.ndarray | np.generic):
        return False
    if array_api_compat.is_torch_array(x):
        return bool(x.device.type != "cpu")
    if array_api_compat.is_jax_array(x):
        return getattr(device(x), "platform", "cpu") != "cpu"
    return array_api_compat.is_cupy_array(x) or "CPU" not in str(device(x))


# Checks of arguments


def check_floating(**arrays: Any) -> Any:
    """Raise unless the arguments are arrays of one library, device and dtype, float32 or float64.

    Returns their namespace. Errors name the keywords.

    Raises
    ------
    TypeError
        If one is no array, or libraries or dtypes differ, or the dtype is another one. (Integers do not say
        in which precision to compute; half precision has too few digits for transport.)
    ValueError
        If devices differ.
    """
    values = [*arrays.values()]
    first = values[0]
    if type(first) is np.ndarray and first.dtype.char in "fd":  # the rule, at once
        dtype = first.dtype
        for x in values:
            if type(x) is not np.ndarray or x.dtype is not dtype:
                break
        else:
            return _NAMESPACES[np.ndarray]
    if all(array_api_compat.is_torch_array(x) for x in values):  # networks ask at each layer
        dtype, place = first.dtype, first.device
        floating = dtype.is_floating_point and dtype.itemsize >= 4  # torch has no longer ones than float64
        if floating and all(x.dtype == dtype and x.device == place for x in values):
            return array_namespace(first)
    for name, x in arrays.items():
        if not array_api_compat.is_array_api_obj(x):
            raise TypeError(
                f"{name} must be an array, of NumPy, torch, CuPy or JAX; got {_article(type(x).__name__)}"
            )
    names = " and ".join(arrays)
    spaces = {array_namespace(x) for x in arrays.values()}
    if len(spaces) > 1:
        libraries = ", ".join(f"{name} of {_library(x)}" for name, x in arrays.items())
        raise TypeError(f"{names} must be arrays of one library; got {libraries}")
    xp = spaces.pop()
    for name, x in arrays.items():
        if x.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"{name} must have the dtype float32 or float64; got {x.dtype}")
    if len({x.dtype for x in arrays.values()}) > 1:
        dtypes = ", ".join(f"{name} {x.dtype}" for name, x in arrays.items())
        raise TypeError(f"{names} must have the same dtype; got {dtypes}")
    if len({str(device(x)) for x in arrays.values()} - {"None"}) > 1:  # what JAX traces is nowhere
        devices = ", ".join(f"{name} on {device(x)}" for name, x in arrays.items())
        raise ValueError(f"{names} must be on one device; got {devices}")
    return xp


def check_integer(value: Any, name: str, /, *, low: int) -> int:
    """Raise unless a value is an integer, NumPy's included, of at least ``low``; return it as Python's."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r}") from None
    if isinstance(value, bool | np.bool_) or number < low:
        raise ValueError(f"{name} must be an integer of at least {low}; got {value!r}")
    return number


def shown(x: Array | float, /) -> str:
    """How an error shows the values of an array, with digits that show the fault: "from 0.25 to 1.000002"."""
    values = to_host(x) if is_array(x) else np.asarray(x)
    lowest, largest = (f"{float(function(values)):.9g}" for function in (np.min, np.max))
    return lowest if lowest == largest else f"from {lowest} to {largest}"


def _article(noun: str) -> str:
    return "None" if noun == "NoneType" else f"a {noun}"


def _library(x: Array) -> str:
    return str(array_namespace(x).__name__).removeprefix("array_api_compat.")
