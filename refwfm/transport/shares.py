"""What a semidiscrete plan comes with as evidence: the shares of sources that members got, beside chance."""

from typing import NamedTuple

import numpy as np

from refwfm._array import Array, check_floating, check_integer, to_host


class Semidiscrete(NamedTuple):
    """Dual weights and their evidence, measured on fresh draws.

    Attributes
    ----------
    g : array, shape (N,). Units: cost; their mean under b is 0.
    value : float
        Dual objective, below the least cost of all plans but for the error of its mean.
    cost : float
        Mean cost of what was assigned: above it, if the shares were right. Both meet at the optimum.
    error : float
        Total variation between the shares that members got and b.
    expected : float
        The same for as many exact draws from b: what of ``error`` is chance.
    n_iter : int
    converged : bool
        Whether ``error² <= expected² + tol²``.
    """

    g: Array
    value: float
    cost: float
    error: float
    expected: float
    n_iter: int
    converged: bool


def marginal_error(index: Array | np.ndarray, b: Array, /) -> float:
    """Total variation ``½ Σ_j |n_j / n - b_j|`` between the shares of members that were assigned and b.

    Equation: SEMI-3.

    Parameters
    ----------
    index : array of integers, shape (n,)
    b : array, shape (N,)

    Examples
    --------
    >>> marginal_error(np.asarray([0, 0, 0, 1]), np.full(2, 0.5))
    0.25
    """
    check_floating(b=b)
    shares = to_host(b).astype(np.float64)
    counts = np.bincount(to_host(index), minlength=len(shares))
    return float(0.5 * np.sum(np.abs(counts / counts.sum() - shares)))


def chance_error(b: Array, n: int, /) -> float:
    """What ``marginal_error`` of n exact draws from b is in the mean.

    Equation: SEMI-3. Half the sum of the mean deviations of binomial laws, which de Moivre found:
    ``E|X - n b| = 2 k C(n, k) b^k (1 - b)^(n - k + 1)`` with ``k = ⌊n b⌋ + 1``.

    Parameters
    ----------
    b : array, shape (N,)
    n : int

    Examples
    --------
    >>> round(chance_error(np.full(2, 0.5), 2), 9)  # 2 : 0, 1 : 1 and 0 : 2 with 1/4, 1/2 and 1/4
    0.25
    """
    from scipy.special import gammaln, xlog1py, xlogy

    check_floating(b=b)
    n = check_integer(n, "n", low=1)
    shares = to_host(b).astype(np.float64)
    k = np.minimum(np.floor(n * shares) + 1, n + 1)
    logs = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, shares)
    return float(np.sum(k * np.exp(logs + xlog1py(n - k + 1, -shares))) / n)
