"""Twin of the semi-dual for NumPy and a cost matrix: one exponential for each pair of atoms with weight.

The reference makes two half-steps of ``n m`` exponentials each. But the second one is only to know the rows
of the plan, and the first has its exponentials at hand: they are the plan's columns before these are
normalised. Members of a batch go one after the other, so that what they make stays in the cache, without the
atoms of weight 0.
"""

import numpy as np

from refwfm.transport import semidual as reference
from refwfm.transport.grids import Cost, Grid, Softmin, check_histograms


@np.errstate(all="ignore")  # what is not finite is in the value
def semidual_value_and_gradient(
    f: np.ndarray,
    cost: Cost,
    a: np.ndarray,
    b: np.ndarray,
    /,
    *,
    eps: float | np.ndarray,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Twin of ``refwfm.transport.semidual.semidual_value_and_gradient``; grids are left to the reference."""
    options = {"eps": eps, "validate": validate}
    if isinstance(cost, Grid) or minimum is not None:
        return reference.semidual_value_and_gradient(f, cost, a, b, minimum=minimum, **options)
    problem = check_histograms(cost, a, b, f_init=f, **options)
    matrix, a, b, epsilon, f = problem
    reach = float(np.max(np.abs(matrix), initial=0.0)) + float(np.max(np.abs(f), initial=0.0))
    if not np.all(epsilon * np.finfo(f.dtype).eps ** 0.5 < reach):  # where the reference takes means
        return reference.semidual_value_and_gradient(f, cost, a, b, **options)
    batch, (n, m) = epsilon.shape, matrix.shape[-2:]
    matrix, a, b, f = (
        np.broadcast_to(part, (*batch, *shape)).reshape(-1, *shape)
        for part, shape in ((matrix, (n, m)), (a, (n,)), (b, (m,)), (f, (n,)))
    )
    value, gradient = np.empty(len(f), f.dtype), np.zeros_like(f)
    for i, each in enumerate(epsilon.reshape(-1)):
        rows, columns = a[i] > 0, b[i] > 0
        live = matrix[i][rows] if np.all(columns) else matrix[i][np.ix_(rows, columns)]
        value[i], gradient[i, rows] = _member(f[i, rows], live, a[i, rows], b[i, columns], each)
    return value.reshape(batch), gradient.reshape(*batch, n)


def _member(
    f: np.ndarray, cost: np.ndarray, a: np.ndarray, b: np.ndarray, eps: np.floating
) -> tuple[np.floating, np.ndarray]:
    """Value and gradient where all weights are positive; ``cost`` is overwritten."""
    np.subtract(f[:, None], cost, out=cost)
    cost /= eps
    cost += np.log(a)[:, None]
    top = np.max(cost, axis=0)
    cost -= top
    plan = np.exp(cost, out=cost)
    mass = np.sum(plan, axis=0)
    g = -eps * (np.log(mass) + top)
    return f @ a + g @ b, a - plan @ (b / mass)
