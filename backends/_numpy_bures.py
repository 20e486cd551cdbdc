"""NumPy twin of the pairwise Bures distances: the row blocks on all cores."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from refwfm import bures
from refwfm.measures import Gaussian, check_families
from refwfm.psd import factor


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> np.ndarray:
    """Twin of ``bures.pairwise_sq_distance``.

    LAPACK's small singular value problems run outside the interpreter's lock, so threads do run at once.
    """
    mu, nu = check_families(mu, nu, validate=validate)
    if mu.mean.shape[1] <= 2:  # closed forms, faster than threads start
        return bures.pairwise_sq_distance(mu, nu, validate=False)
    left, right = factor(mu.cov), factor(nu.cov)
    n, cores = mu.mean.shape[0], os.cpu_count() or 1
    rows = max(1, min(bures.rows_per_block(nu), -(-n // (4 * cores))))
    result = np.empty((n, nu.mean.shape[0]), dtype=mu.cov.dtype)

    def fill(start: int) -> None:
        block = slice(start, start + rows)
        result[block] = bures.factored_sq_distance(
            mu.mean[block, None], left[block, None], nu.mean[None], right[None]
        )

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(fill, range(0, n, rows)))
    return result
