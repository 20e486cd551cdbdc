"""Twins for NumPy: the same functions as in ``training.optim``, without a trip through memory per operation.

The reference writes one array the size of the model for each of its dozen operations. Here they are done on
pieces that stay in a core's cache, one thread per core, and *in place*: parameters, moments, averages, and
gradients that are clipped are consumed (overwritten and returned). Models of small arrays are copied once,
into one vector, of which all later trees are views.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from refwfm.backends._packed import Packed, matching_arrays, packed
from refwfm.training.optim import AdamState, Tree, check_max_norm, check_same_shapes, tree_map

_BLOCK = 1 << 16  # elements: the five float32 arrays take a megabyte, the second-level cache of one core


def adam(
    params: Tree,
    grads: Tree,
    state: AdamState,
    /,
    *,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Tree, AdamState]:
    """Twin of ``training.optim.adam``; ``params`` and ``state`` are consumed."""
    steps = state.steps + 1
    # rate m̂ / (sqrt(v̂) + eps) with the corrections of both moments moved into two numbers
    unbias = math.sqrt(1.0 - b2**steps)
    rate, floor = learning_rate * unbias / (1.0 - b1**steps), eps * unbias

    def move(p: np.ndarray, m: np.ndarray, v: np.ndarray, g: np.ndarray, work: np.ndarray) -> None:
        np.subtract(g, m, out=work)
        work *= 1.0 - b1
        m += work
        np.multiply(g, g, out=work)
        work -= v
        work *= 1.0 - b2
        v += work
        np.sqrt(v, out=work)
        work += floor
        np.divide(m, work, out=work)
        work *= rate
        p -= work

    params, first, second = _owned(params), _owned(state.first), _owned(state.second)
    _by_blocks(move, matching_arrays(params, first, second, grads))
    return params, AdamState(first, second, steps)


def ema(average: Tree, params: Tree, /, *, decay: float) -> Tree:
    """Twin of ``training.optim.ema``; ``average`` is consumed and must not share memory with ``params``."""

    def move(a: np.ndarray, p: np.ndarray, work: np.ndarray) -> None:
        np.subtract(p, a, out=work)
        work *= 1.0 - decay
        a += work

    average = _owned(average)
    _by_blocks(move, matching_arrays(average, params))
    return average


def clip_by_global_norm(grads: Tree, /, max_norm: float) -> tuple[Tree, np.ndarray]:
    """Twin of ``training.optim.clip_by_global_norm``; ``grads`` is consumed."""
    check_max_norm(max_norm)
    grads = _writable(grads)
    leaves = check_same_shapes(grads)
    dtype = leaves[0][0].dtype
    total = sum(_by_blocks(lambda g, work: float(np.vdot(g, g)), leaves))
    norm = np.asarray(math.sqrt(total), dtype=dtype)
    if not 1e-30 < total < math.inf:  # squares that may have vanished or overflowed
        norm = np.asarray(_scaled_norm(leaves), dtype=dtype)
    if not norm <= max_norm:  # NaN is passed on, as in the reference
        factor = norm.dtype.type(max_norm / norm)
        _by_blocks(lambda g, work: np.multiply(g, factor, out=g), leaves)
    return grads, norm


def _scaled_norm(leaves: list[tuple[np.ndarray, ...]]) -> float:
    """Norm of all entries, in units of the largest."""
    largest = float(np.max(_by_blocks(lambda g, work: np.max(np.abs(g, out=work)), leaves)))  # NaN stays
    if not 0.0 < largest < math.inf:
        return largest
    unit = leaves[0][0].dtype.type(largest)

    def square(g: np.ndarray, work: np.ndarray) -> float:
        np.divide(g, unit, out=work)
        return float(np.vdot(work, work))

    return largest * math.sqrt(sum(_by_blocks(square, leaves)))


def _owned(tree: Tree) -> Tree:
    """Return the tree, packed, or with arrays that can be written to."""
    tree = packed(tree)
    return tree if isinstance(tree, Packed) else _writable(tree)


def _writable(tree: Tree) -> Tree:
    return tree_map(lambda a: np.require(a, requirements=("C", "W")), tree)


def _by_blocks(f: Callable[..., Any], rows: list[tuple[np.ndarray, ...]], /) -> list[Any]:
    """Call ``f`` on matching pieces of arrays, and scratch of the same length, in one thread per core.

    Returns what ``f`` returned, in no particular order.
    """
    blocks: list[list[np.ndarray]] = []
    for arrays in rows:
        flat = [array.reshape(-1) for array in arrays]
        blocks += [[a[i : i + _BLOCK] for a in flat] for i in range(0, flat[0].size, _BLOCK)]

    def run(share: list[list[np.ndarray]]) -> list[Any]:
        scratch = np.empty(max(pieces[0].size for pieces in share), dtype=share[0][0].dtype)
        # NaN and infinity are passed on to whoever tests for them, without warnings from another thread.
        with np.errstate(all="ignore"):
            return [f(*pieces, scratch[: pieces[0].size]) for pieces in share]

    n = _n_threads()
    if n == 1 or sum(pieces[0].size for pieces in blocks) <= 4 * _BLOCK:  # sooner done than handed over
        return run(blocks) if blocks else []
    shares = filter(None, (blocks[i::n] for i in range(n)))
    return [value for values in _pool().map(run, shares) for value in values]


@cache
def _n_threads() -> int:
    """Cores this process may use, or fewer if OMP_NUM_THREADS says so, as for NumPy's matrix products."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else cores


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_n_threads(), thread_name_prefix="refwfm-optim")
