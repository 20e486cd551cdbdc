"""NumPy twin of the pairwise Bures distances: the row blocks on all cores."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from refwfm import bures
from refwfm.backends._float64 import in_float64, row_block, wants_float64
from refwfm.measures import Gaussian, check_families
from refwfm.psd import factor


def pairwise_sq_distance(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> np.ndarray:
    """Twin of ``bures.pairwise_sq_distance``.

    LAPACK's small singular value problems run outside the interpreter's lock, so threads do run at once.
    """
    mu, nu = check_families(mu, nu, validate=validate)
    if mu.mean.shape[1] <= 2:  # closed forms, faster than threads start
        return bures.pairwise_sq_distance(mu, nu, validate=False)
    if wants_float64(mu.cov):
        left, right = in_float64(mu), in_float64(nu)
    else:
        left, right = (Gaussian(family.mean, factor(family.cov)) for family in (mu, nu))
    n, cores = mu.mean.shape[0], os.cpu_count() or 1
    rows = max(1, min(bures.rows_per_block(nu), -(-n // (4 * cores))))
    result = np.empty((n, nu.mean.shape[0]), dtype=mu.cov.dtype)

    distances = row_block if wants_float64(mu.cov) else _row_block

    def fill(start: int) -> None:
        block = slice(start, start + rows)
        result[block] = distances(left, right, block)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(fill, range(0, n, rows)))
    return result


def _row_block(mu: Gaussian, nu: Gaussian, rows: slice) -> np.ndarray:
    return bures.factored_sq_distance(mu.mean[rows, None], mu.cov[rows, None], nu.mean[None], nu.cov[None])
