"""Twin of the errors of a start, for NumPy and a cost matrix: products with a kernel that is kept.

The reference computes ``n m`` exponentials in each half of an iteration. Here one iteration leaves its plan
``M = a b exp((f + g - K) / eps)`` behind, and those after it are products of it with the scalings u and v
that make ``f + eps log u`` and ``g + eps log v`` of f and g. Where a scaling leaves the range in which M has
digits, the half-step is done in the log domain, and M made anew. The iterates are those of the reference, up
to rounding.
"""

from typing import NamedTuple

import numpy as np

from refwfm._array import check_integer
from refwfm.transport import starts as reference
from refwfm.transport.grids import Cost, Grid, Softmin, check_histograms
from refwfm.transport.sinkhorn import softmin

REACH = 100.0
"""Largest logarithm of a scaling; entries of M that are 0 would then still be below 1e-200."""


class _Kept(NamedTuple):
    """Potentials f (n,) and g (m,), and their plan (n, m)."""

    f: np.ndarray
    g: np.ndarray
    plan: np.ndarray


def error_curve(
    cost: Cost,
    a: np.ndarray,
    b: np.ndarray,
    /,
    *,
    eps: float | np.ndarray,
    n_iter: int,
    f_init: np.ndarray | None = None,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> np.ndarray:
    """Twin of ``refwfm.transport.starts.error_curve``; grids are left to the reference."""
    options = {"eps": eps, "f_init": f_init, "validate": validate}
    if isinstance(cost, Grid) or minimum is not None or a.dtype != np.float64:
        return reference.error_curve(cost, a, b, n_iter=n_iter, minimum=minimum, **options)
    n_iter = check_integer(n_iter, "n_iter", low=0)
    matrix, a, b, epsilon, f = check_histograms(cost, a, b, **options)
    batch, (n, m) = epsilon.shape, matrix.shape[-2:]
    parts = (
        np.broadcast_to(part, (*batch, *shape)).reshape(-1, *shape)
        for part, shape in ((matrix, (n, m)), (a, (n,)), (b, (m,)), (f, (n,)))
    )
    members = zip(*parts, epsilon.reshape(-1), strict=True)
    curves = [_curve(*member, n_iter) for member in members]
    return np.stack(curves, axis=-1).reshape(n_iter + 1, *batch) if curves else np.empty((n_iter + 1, *batch))


@np.errstate(all="ignore")  # what is not finite is in the errors
def _curve(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, f: np.ndarray, eps: np.float64, n_iter: int
) -> np.ndarray:
    rows, columns = a != 0, b != 0  # so is NaN
    a, b, f = a[rows], b[columns], f[rows]
    cost = np.ascontiguousarray(cost[np.ix_(rows, columns)])
    eps = np.asarray(eps)

    def kept(f: np.ndarray, g: np.ndarray) -> _Kept:
        plan = np.exp((f[:, None] + g - cost) / eps)
        return _Kept(f, g, a[:, None] * plan * b)

    def columns_of(f: np.ndarray) -> _Kept:
        return kept(f, softmin(cost.T, f, a, eps))

    def rows_of(g: np.ndarray) -> _Kept:
        return kept(softmin(cost, g, b, eps), g)

    now = columns_of(f)
    u, v = np.ones_like(a), np.ones_like(b)
    errors = [np.sum(np.abs(np.sum(now.plan, axis=1) - a))]
    for _ in range(n_iter):
        u = a / (now.plan @ v)
        if _too_far(u):
            now = rows_of(now.g + eps * np.log(v))
            u, v = np.ones_like(a), np.ones_like(b)
        marginal = v * (u @ now.plan)
        errors.append(np.sum(np.abs(marginal - b)))
        v = b / (u @ now.plan)
        if _too_far(v):
            now = columns_of(now.f + eps * np.log(u))
            u, v = np.ones_like(a), np.ones_like(b)
    return np.stack(errors)


def _too_far(scaling: np.ndarray) -> bool:
    return not bool(np.max(np.abs(np.log(scaling))) < REACH)  # also true of NaN
