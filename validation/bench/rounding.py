"""Rounding of plans against the algorithm as the paper states it, one entry after the other.

The peer is the plain loop in its fastest form: one argmax over the whole matrix for each match, rows and
columns masked in place. Both must return the same permutation. The plans are entropic, of 20 iterations with
the cost over its maximum: at the paper's eps, and smoother, where many rows want the same columns. Then there
are a random matrix, and one in which all entries are equal.
"""

from functools import partial

import numpy as np

from refwfm.backends import Backend, load
from refwfm.transport.plans import greedy_rounding
from refwfm.validation.bench.measure import Row, compare

N, ITERATIONS = 2048, 20
BATCH = 8, 512


def rows(repeats: int = 3) -> list[Row]:
    """Time ours and the loop in turns; raise unless they return the same matching."""
    rng = np.random.default_rng(0)
    single, double = (load("numpy", dtype=dtype) for dtype in ("float32", "float64"))
    sharp, smooth = (_entropic(rng, eps, N) for eps in (0.002, 0.05))
    batch = [_entropic(rng, 0.002, BATCH[1]) for _ in range(BATCH[0])]
    size = f"{N} × {N}"
    return [
        _row(f"{size}, eps 0.002, float32", single, sharp, repeats),
        _row(f"{size}, eps 0.002, float64", double, sharp, repeats),
        _row(f"{size}, eps 0.05, float32", single, smooth, 1),
        _row(f"{size}, random, float32", single, rng.standard_normal((N, N)), 1),
        _row(f"{size}, all equal, float32", single, np.zeros((N, N)), 1),
        _row(
            f"{BATCH[0]} × {BATCH[1]} × {BATCH[1]}, eps 0.002, float32",
            single,
            np.stack(batch),
            repeats,
        ),
    ]


def _row(case: str, backend: Backend, log_plan: np.ndarray, repeats: int) -> Row:
    log_plan = backend.asarray(log_plan)
    return compare(
        case,
        partial(greedy_rounding, log_plan),
        partial(sequential, log_plan),
        "argmax after argmax, in place",
        repeats=repeats,
        error=_agree,
    )


def sequential(log_plan: np.ndarray) -> np.ndarray:
    """Greedy rounding of finite log-plans (..., n, n), one entry after the other."""
    n = log_plan.shape[-1]
    perms = np.empty(log_plan.shape[:-1], dtype=np.int64)
    for rest, perm in zip(log_plan.reshape(-1, n, n).copy(), perms.reshape(-1, n), strict=True):
        for _ in range(n):
            i, j = divmod(int(np.argmax(rest)), n)
            perm[i] = j
            rest[i], rest[:, j] = -np.inf, -np.inf
    return perms


def _agree(ours: np.ndarray, peer: np.ndarray) -> tuple[None, None]:
    if not np.array_equal(ours, peer):
        raise RuntimeError(f"the two matchings differ in {np.count_nonzero(ours != peer)} rows")
    return None, None


def _entropic(rng: np.random.Generator, eps: float, n: int) -> np.ndarray:
    """Log-plan of two normal clouds in three dimensions."""
    x, y = rng.standard_normal((2, n, 3)).astype(np.float32)
    cost = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1) - 2.0 * x @ y.T
    cost /= np.max(cost)
    f, g = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for _ in range(ITERATIONS):
        f = _softmin((cost - g) / eps, 1) * eps
        g = _softmin((cost - f[:, None]) / eps, 0) * eps
    log_plan: np.ndarray = (f[:, None] + g - cost) / np.float32(eps)
    return log_plan


def _softmin(values: np.ndarray, axis: int) -> np.ndarray:
    least = np.min(values, axis=axis, keepdims=True)
    total = np.sum(np.exp(least - values), axis=axis)
    result: np.ndarray = np.squeeze(least, axis=axis) - np.log(total)
    return result
