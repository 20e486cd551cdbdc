"""The reference of linearised transport: a free-support barycenter of clouds, alignment and mean in turns."""

import math
from typing import NamedTuple

from refwfm._array import Array, array_namespace, check_floating, check_integer, machine_eps
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud, check_measure
from refwfm.transport.linearized import align_to_reference, check_alignable, reorder, sq_lazy_distance


class FreeSupportBarycenter(NamedTuple):
    """A barycenter of M clouds with its evidence.

    Attributes
    ----------
    points : array, shape (n, d). Units: data.
    permutation : array, shape (M, n), integers
        Aligns the clouds to ``points``, as ``align_to_reference`` does.
    objective : tuple of float
        Mean of the squared distances to the clouds, at the start and after each iteration: non-increasing up
        to rounding.
    n_iter : int
    residual : float
        Share of the objective that the last iteration took away; infinite where there was none.
    converged : bool
    """

    points: Array
    permutation: Array
    objective: tuple[float, ...]
    n_iter: int
    residual: float
    converged: bool


def free_support_barycenter(
    clouds: PointCloud,
    /,
    *,
    init: Array | None = None,
    max_iter: int = 100,
    tol: float | None = None,
    n_jobs: int = -1,
    require: bool = True,
    validate: bool = True,
) -> FreeSupportBarycenter:
    """Barycenter of clouds among the clouds of their size, by fixed-point iteration.

    Equation: GWFM-REF. ``S ← (1/M) Σ_k P_k X_k`` with P_k the alignment of X_k to S: each step lowers
    ``(1/M) Σ_k W_2²(S, X_k)`` or leaves S alone. A local minimum, which depends on the start.

    Parameters
    ----------
    clouds : PointCloud, points (M, n, d), weights (M, n), M >= 1
        Without padding and with uniform weights.
    init : array, shape (n, d), optional
        Where to start; the first cloud when left out.
    max_iter : int
    tol : float, optional
        Stop when an iteration lowers the objective by less than this share: 1e-9 in float64, 1e-5 in float32
        when left out. With 0 it goes on until nothing moves.
    n_jobs : int
        As for ``align_to_reference``.
    require : bool
        Raise when the iteration does not converge; otherwise say so in the result.

    Raises
    ------
    ValueError
        If sizes differ or weights are not uniform.
    ConvergenceError
        If the iteration does not converge and ``require`` is set.

    References
    ----------
    Álvarez-Esteban, del Barrio, Cuesta-Albertos, Matrán, "A fixed-point approach to barycenters in
    Wasserstein space", J. Math. Anal. Appl. 441 (2016).

    Examples
    --------
    >>> clouds = PointCloud(np.asarray([[[0.0], [1.0]], [[5.0], [4.0]]]), np.full((2, 2), 0.5))
    >>> free_support_barycenter(clouds).points.tolist()
    [[2.0], [3.0]]
    """
    max_iter = check_integer(max_iter, "max_iter", low=0)
    if check_measure(clouds, PointCloud, "clouds").points.ndim != 3 or clouds.points.shape[0] == 0:
        raise ValueError(
            f"clouds must be a family of at least one, points (M, n, d); got {tuple(clouds.points.shape)}"
        )
    points = clouds.points[0, ...] if init is None else init
    check_floating(clouds=clouds.points, init=points)
    if points.ndim != 2:
        raise ValueError(f"init must have shape (n, d); got {tuple(points.shape)}")
    clouds = check_alignable(points, clouds, validate=validate)
    xp = array_namespace(clouds.points)
    if tol is not None and not tol >= 0:
        raise ValueError(f"tol must not be negative; got {tol}")
    tol = tol if tol is not None else (1e-9 if machine_eps(points) < 1e-10 else 1e-5)
    permutation, aligned, objective = _objective_at(points, clouds, n_jobs)
    history, converged = [objective], False
    while not converged and len(history) <= max_iter:
        points = xp.mean(aligned, axis=0)
        permutation, aligned, objective = _objective_at(points, clouds, n_jobs)
        converged = history[-1] - objective <= tol * history[-1]
        history.append(objective)
    n_iter, residual = len(history) - 1, _last_decrease(history)
    if require and not converged:
        raise ConvergenceError(
            f"the barycenter did not converge in {n_iter} iterations: the objective still falls, to "
            f"{objective:.6g} (residual {residual:.3g}, wanted {tol:.3g}); "
            "raise max_iter or tol, or pass require=False to take it as it is"
        )
    return FreeSupportBarycenter(points, permutation, tuple(history), n_iter, residual, converged)


def _last_decrease(history: list[float]) -> float:
    if len(history) < 2:
        return math.inf
    before, after = history[-2:]
    return (before - after) / before if before != 0 else 0.0


def _objective_at(points: Array, clouds: PointCloud, n_jobs: int) -> tuple[Array, Array, float]:
    """Permutations and aligned clouds at a barycenter, and the mean squared distance."""
    permutation = align_to_reference(points, clouds, n_jobs=n_jobs, validate=False)
    aligned = reorder(clouds.points, permutation)
    return permutation, aligned, float(array_namespace(points).mean(sq_lazy_distance(points, aligned)))
