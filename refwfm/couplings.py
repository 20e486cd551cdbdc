"""Couplings of two families: which source goes with which target."""

from collections.abc import Callable

import numpy as np

from refwfm._array import Array
from refwfm.bures import pairwise_sq_distance
from refwfm.exact import assignment
from refwfm.measures import Gaussian


def match_minibatch(
    mu: Gaussian, nu: Gaussian, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> np.ndarray:
    """Optimal pairing of two batches of equal size: ``mu[i]`` goes with ``nu[perm[i]]``.

    Equation: WFM App. C (multisample matching), with the exact assignment on the matrix of squared
    2-Wasserstein distances, WFM-24. Whatever belongs to nu (labels) must be permuted with it.

    Parameters
    ----------
    mu, nu : Gaussian, mean (n, d), cov (n, d, d)
    cost : callable
        ``cost(mu, nu, validate=False)``, shape (n, n).

    Returns
    -------
    numpy.ndarray, shape (n,), integers, on the host

    Raises
    ------
    ValueError
        If the batches differ in size.
    """
    if mu.mean.shape[0] != nu.mean.shape[0]:
        raise ValueError(
            f"mu and nu must be batches of equal size; got {mu.mean.shape[0]} and {nu.mean.shape[0]}"
        )
    return assignment(cost(mu, nu, validate=False))
