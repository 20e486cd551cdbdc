"""Exact transport by solvers on the host: the only math module that leaves the device."""

import numpy as np

from refwfm._array import Array, to_host


def assignment(cost: Array, /) -> np.ndarray:
    """Permutation of least total cost: row i goes with column ``perm[i]``.

    Equation: WFM-3 for equal sizes and uniform weights. Solved by SciPy.

    Parameters
    ----------
    cost : array, shape (n, n)

    Returns
    -------
    numpy.ndarray, shape (n,), integers, on the host

    Raises
    ------
    ValueError
        If the cost is not square, or has NaN or infinite entries.
    """
    from scipy.optimize import linear_sum_assignment  # takes a third of a second to import

    host = to_host(cost)
    if host.ndim != 2 or host.shape[0] != host.shape[1]:
        raise ValueError(f"cost must have shape (n, n); got {host.shape}")
    if not np.all(np.isfinite(host)):
        raise ValueError("cost must be finite; got NaN or infinity")
    perm: np.ndarray = linear_sum_assignment(host)[1]
    return perm
