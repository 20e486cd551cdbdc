"""Potentials from a rough method: lower bounds that are rigorous, and assignments that start near their end.

``f_i + g_j <= K_ij`` for all i, j implies ``Σ a_i f_i + Σ b_j g_j <= Σ P_ij K_ij`` for every plan P. Any f
becomes such a pair, and an assignment with the cost ``K_ij - f_i - g_j`` has the same solution: a solver that
augments shortest paths has most of its work done. All of this is on the host.
"""

from typing import NamedTuple

import numpy as np

from refwfm.transport.programme import OVERFLOWS, RANGE, assign, best_assignment

SWEEPS = {0.3: 3, 0.1: 5, 0.03: 10, 0.01: 20}
"""Entropic transport that gives the potentials: sweeps at each temperature, in units of the mean cost."""

WARM = 100
"""Number of points from which the potentials save the assignment more time than they take."""


class Dual(NamedTuple):
    """Feasible potentials, ``f_i + g_j <= K_ij`` up to rounding, and the lower bound that follows."""

    f: np.ndarray
    g: np.ndarray
    bound: float


def dual(cost: np.ndarray, a: np.ndarray, b: np.ndarray, f: np.ndarray, /) -> Dual:
    """Feasible potentials from any f (n,), and the lower bound on the least mean cost that they prove.

    Equation: EMD-bounds. The dual problem's value. The bound is lowered by what rounding can have added to
    it.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> round(dual(np.asarray([[4.0, 1.0], [2.0, 3.0]]), half, half, np.zeros(2)).bound, 9)  # of 1.5
    1.5
    """
    g = np.min(cost - f[:, None], axis=0)
    f = np.min(cost - g, axis=1)
    size = a @ np.abs(f) + b @ np.abs(g)
    slack = 4.0 * (len(f) + len(g)) * np.finfo(np.float64).eps * size
    return Dual(f, g, float(a @ f + b @ g - slack))


def rough_potential(cost: np.ndarray, a: np.ndarray, b: np.ndarray, /) -> np.ndarray:
    """Potential f (n,) of entropic transport, by a few sweeps at falling temperatures in float32.

    Equation: EMD-bounds.

    Not converged and not accurate: ``dual`` makes a rigorous bound from it.

    Examples
    --------
    >>> cost, half = np.asarray([[4.0, 16.0], [1.0, 9.0]]), np.full(2, 0.5)
    >>> round(dual(cost, half, half, rough_potential(cost, half, half)).bound, 6)  # (4 + 9) / 2 is the truth
    6.5
    """
    with np.errstate(over="ignore"):
        mean = float(np.mean(cost))
    if not 0.0 < mean < np.inf:
        return np.zeros(len(cost))
    a, b, scaled = a.astype(np.float32), b.astype(np.float32), (cost / mean).astype(np.float32)
    f, g, u, v = np.zeros_like(a), np.zeros_like(b), np.empty_like(a), np.empty_like(b)
    kernel = np.empty_like(scaled)  # small clouds' arrays take as long to allocate as to compute
    with np.errstate(all="ignore"):  # where the scalings overflow, the potential is 0 instead
        for eps, sweeps in SWEEPS.items():
            np.subtract(np.add(f[:, None], g, out=kernel), scaled, out=kernel)
            kernel /= np.float32(eps)
            np.exp(np.maximum(kernel, -50.0, out=kernel), out=kernel)  # not into slow denormal numbers
            u.fill(1.0)
            for _ in range(sweeps):
                np.divide(b, u.dot(kernel, out=v), out=v)
                np.divide(a, kernel.dot(v, out=u), out=u)
            f += np.float32(eps) * np.log(u)
            g += np.float32(eps) * np.log(v)
    potential: np.ndarray = mean * np.where(np.isfinite(f), f, 0.0).astype(np.float64)
    return potential


def warm_assignment(cost: np.ndarray, f: np.ndarray, /) -> np.ndarray | None:
    """Columns of least total cost of a square matrix that is not negative, from a potential f (n,).

    Equation: none. The solver of WFM-3, whose public form is ``exact.assignment``. None where f is so large
    beside the mean cost, as beside a far point, that it would round it off.

    Examples
    --------
    >>> warm_assignment(np.asarray([[4.0, 1.0], [2.0, 3.0]]), np.asarray([1.0, 2.0])).tolist()
    [1, 0]
    """
    share = np.full(len(cost), 1.0 / len(cost))
    f, g, _ = dual(cost, share, share, f)
    reduced = cost - f[:, None]
    reduced -= g
    columns = assign(reduced)
    mean = np.mean(cost[np.arange(len(cost)), columns])
    return None if np.max(np.abs(f)) > RANGE * mean else columns  # g is as large where f is


def quick_assignment(cost: np.ndarray, size: float, /) -> np.ndarray:
    """Columns of least total cost of a finite square matrix of absolute values up to ``size``.

    Equation: none. The solver of WFM-3, whose public form is ``exact.assignment``. It starts from rough
    potentials where they save time and round nothing off.

    Examples
    --------
    >>> quick_assignment(np.asarray([[4.0, 1.0], [2.0, 3.0]]), 4.0).tolist()
    [1, 0]
    """
    columns = None
    if len(cost) >= WARM and size <= OVERFLOWS / cost.size and np.min(cost) >= 0.0:
        share = np.full(len(cost), 1.0 / len(cost))
        columns = warm_assignment(cost, rough_potential(cost, share, share))
    return best_assignment(cost, size) if columns is None else columns
