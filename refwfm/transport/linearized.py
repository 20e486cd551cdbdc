"""Linearised transport: measures seen from one reference cloud, where they are vectors.

Clouds of n points and uniform weights are vectors of R^(n×d) up to the order of their points, and optimal
transport finds the order. *Aligning* every cloud once to a fixed reference S picks one vector for each cloud;
from then on their distances are Euclidean. That distance is at least the true one, and equal where the
optimal permutation between two clouds passes through the reference (``stability`` says when).

The reference to take is a barycenter of the clouds (``reference``).
"""

from collections.abc import Callable

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    device,
    on_device_of,
    sq_distances,
    take_rows,
)
from refwfm.clouds import all_even, check_cloud
from refwfm.measures import PointCloud, check_broadcast
from refwfm.transport.exact import assignment

ALIGN_BLOCK = 2**22
"""Elements of the cost matrices that are made at once (or those of one pair)."""


# Alignment


def align_to_reference(
    reference: Array,
    clouds: PointCloud,
    /,
    *,
    n_jobs: int = -1,
    progress: Callable[[int, int], None] | None = None,
    validate: bool = True,
) -> Array:
    """Permutation that aligns each cloud to a reference: atom ``perm[i]`` of the cloud goes with atom i.

    Equation: GWFM-35. ``P = argmin_Q ‖S - Q X‖_F``, an exact assignment for each cloud; a function
    of reference and clouds alone, so it needs to be computed only once.

    Parameters
    ----------
    reference : array, shape (n, d), or (..., n, d) broadcasting with the clouds. Units: data.
    clouds : PointCloud, points (..., n, d), weights (..., n)
        Without padding and with uniform weights.
    n_jobs : int
        Threads, or workers of joblib's current backend; -1 for all.
    progress : callable, optional
        Called with (clouds done, clouds in all) after each block of ``ALIGN_BLOCK`` costs.
    validate : bool
        Check values too: finite points, uniform weights.

    Returns
    -------
    array, shape (..., n), integers
        In the library and on the device of the clouds. Assignments are solved on the host.

    Raises
    ------
    ValueError
        If sizes differ or weights are not uniform.

    Examples
    --------
    >>> align_to_reference(np.eye(2), PointCloud(np.eye(2)[::-1], np.full(2, 0.5))).tolist()
    [1, 0]
    """
    clouds = check_alignable(reference, clouds, validate=validate)
    xp = array_namespace(clouds.points)
    batch = np.broadcast_shapes(reference.shape[:-2], clouds.points.shape[:-2])
    S, X = (
        xp.reshape(xp.broadcast_to(points, (*batch, *points.shape[-2:])), (-1, *points.shape[-2:]))
        for points in (reference, clouds.points)
    )
    found = _assign(S, X, n_jobs, progress)
    return on_device_of(X, found.reshape((*batch, found.shape[-1])))


def align(
    reference: Array,
    clouds: PointCloud,
    /,
    *,
    n_jobs: int = -1,
    progress: Callable[[int, int], None] | None = None,
    validate: bool = True,
) -> Array:
    """Clouds as vectors: their points in the order that the reference gives them.

    Equation: GWFM-38. ``al_S(X) = P X``. Parameters as for ``align_to_reference``; shape (..., n, d).

    Examples
    --------
    >>> align(np.eye(2), PointCloud(np.eye(2)[::-1], np.full(2, 0.5))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    permutation = align_to_reference(reference, clouds, n_jobs=n_jobs, progress=progress, validate=validate)
    return reorder(clouds.points, permutation)


def reorder(points: Array, permutation: Array, /) -> Array:
    """Points (..., n, d) in the order of a permutation (..., n): row i is ``points[permutation[i]]``.

    Equation: GWFM-38. The product ``P X``. Leading axes broadcast.

    Examples
    --------
    >>> reorder(np.asarray([[5.0], [7.0]]), np.asarray([1, 0])).tolist()
    [[7.0], [5.0]]
    """
    return take_rows(points, permutation)


def _assign(S: Array, X: Array, n_jobs: int, progress: Callable[[int, int], None] | None) -> np.ndarray:
    """Optimal permutations (B, n) of X (B, n, d) to S (B, n, d), on the host."""
    count, n = X.shape[:2]
    step = max(1, ALIGN_BLOCK // (n * n))
    found = np.empty((count, n), dtype=np.int64)
    for start in range(0, count, step):
        block = slice(start, min(start + step, count))
        cost = sq_distances(_about_median(S[block, ...]), _about_median(X[block, ...]))
        found[block] = assignment(cost, n_jobs=n_jobs)
        if progress is not None:
            progress(block.stop, count)
    return found


def _about_median(points: Array) -> Array:
    """Points less their median in each coordinate, which no far point moves: permutations do not see it."""
    xp = array_namespace(points)
    middle = points.shape[-2] // 2
    return points - xp.sort(points, axis=-2)[..., middle : middle + 1, :]


# Distances


def sq_lazy_distance(x: Array, aligned: Array, /) -> Array:
    """Squared distance of clouds that are vectors: the mean of ``‖x_i - y_i‖²``.

    Equation: GWFM-41, GWFM-40. ``(1/n) ‖X - P_Y Y‖_F²`` for a source X that comes in the order of the
    reference (noise around it) and a target aligned to it once. Never below the squared 2-Wasserstein
    distance; equal inside the stability radius (GWFM-39).

    Parameters
    ----------
    x, aligned : array, shape (..., n, d). Leading axes broadcast. Units: data.

    Returns
    -------
    array, shape (...). Units: data squared.

    Examples
    --------
    >>> float(sq_lazy_distance(np.zeros((4, 3)), np.ones((4, 3))))
    3.0
    """
    xp = check_floating(x=x, aligned=aligned)
    if x.ndim < 2 or aligned.ndim < 2 or x.shape[-2:] != aligned.shape[-2:]:
        raise ValueError(
            "x and aligned must have shapes (..., n, d) with the same n and d, clouds of equal size in the "
            f"order of one reference; got {tuple(x.shape)} and {tuple(aligned.shape)}"
        )
    check_broadcast(x=x.shape[:-2], aligned=aligned.shape[:-2])
    return xp.sum(xp.mean((x - aligned) ** 2, axis=-2), axis=-1)


def pairwise_sq_lazy_distance(x: Array, aligned: Array, /) -> Array:
    """Squared distances between all members of two families of vectors.

    Equation: GWFM-41. The costs of its outer plan. ``sq_lazy_distance`` of all pairs. With both families
    aligned to one reference these are the linearised distances, GWFM-34.

    Parameters
    ----------
    x : array, shape (B0, n, d)
    aligned : array, shape (B1, n, d)

    Returns
    -------
    array, shape (B0, B1), never negative. The error of each is rounding of itself (``_array.sq_distances``);
    values are not checked: what is not finite makes its own distances so.

    Examples
    --------
    >>> pairwise_sq_lazy_distance(np.zeros((1, 4, 3)), np.ones((2, 4, 3))).tolist()
    [[3.0, 3.0]]
    """
    xp = check_floating(x=x, aligned=aligned)
    if x.ndim != 3 or aligned.ndim != 3 or x.shape[1:] != aligned.shape[1:]:
        raise ValueError(
            "x and aligned must have shapes (B0, n, d) and (B1, n, d); "
            f"got {tuple(x.shape)} and {tuple(aligned.shape)}"
        )
    B0, n, d = x.shape
    B1 = aligned.shape[0]
    if 0 in (B0, B1):
        return xp.zeros((B0, B1), dtype=x.dtype, device=device(x))
    return sq_distances(xp.reshape(x, (B0, n * d)), xp.reshape(aligned, (B1, n * d))) / n


def sq_linearized_distance(
    reference: Array, x: PointCloud, y: PointCloud, /, *, validate: bool = True
) -> Array:
    """Squared linearised 2-Wasserstein distance: both clouds aligned to a reference, then Euclidean.

    Equation: GWFM-34, GWFM-36. ``LW_2² = (1/n) ‖P_X X - P_Y Y‖_F²``. At least the squared 2-Wasserstein
    distance, and equal to it when one of the clouds is the reference (GWFM-35, GWFM-36).

    Parameters
    ----------
    reference : array, shape (n, d), or (..., n, d)
    x, y : PointCloud, points (..., n, d), weights (..., n)
        Without padding and with uniform weights. Leading axes broadcast.

    Returns
    -------
    array, shape (...). Units: data squared.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None], np.full(2, 0.5)) for p in ([0.0, 1.0], [5.0, 4.0]))
    >>> float(sq_linearized_distance(np.asarray([[0.0], [1.0]]), x, y))
    16.0
    """
    return sq_lazy_distance(*(align(reference, cloud, validate=validate) for cloud in (x, y)))


def pairwise_sq_linearized_distance(
    reference: Array, x: PointCloud, y: PointCloud, /, *, validate: bool = True
) -> Array:
    """Squared linearised distances between all members of two families: B0 + B1 assignments, not B0 B1.

    Equation: GWFM-34. Parameters as for ``sq_linearized_distance``, with reference (n, d), points (B0, n, d)
    and (B1, n, d); shape (B0, B1). Where a family is used again, ``align`` it once and take
    ``pairwise_sq_lazy_distance``.

    Examples
    --------
    >>> x = PointCloud(np.asarray([[[0.0], [1.0]], [[5.0], [4.0]]]), np.full((2, 2), 0.5))
    >>> pairwise_sq_linearized_distance(np.asarray([[0.0], [1.0]]), x, x).tolist()
    [[0.0, 16.0], [16.0, 0.0]]
    """
    return pairwise_sq_lazy_distance(*(align(reference, family, validate=validate) for family in (x, y)))


# Checks


def check_alignable(reference: Array, clouds: PointCloud, /, *, validate: bool = True) -> PointCloud:
    """Raise unless clouds can be aligned to a reference by permutations; return them checked.

    Shapes are checked always, values (finite points, uniform weights) with ``validate``.
    """
    clouds = check_cloud(clouds, "clouds", validate=validate)
    xp = check_floating(reference=reference, clouds=clouds.points)
    if reference.ndim < 2 or reference.shape[-2:] != clouds.points.shape[-2:]:
        raise ValueError(
            f"reference must have shape (..., {clouds.points.shape[-2]}, {clouds.points.shape[-1]}), as many "
            f"points as each cloud; got {tuple(reference.shape)}; for other sizes use sliced transport, or a "
            "plan of exact or sinkhorn"
        )
    check_broadcast(reference=reference.shape[:-2], clouds=clouds.points.shape[:-2])
    if not validate or 0 in clouds.weights.shape:
        return clouds
    if not all_finite(reference):
        raise ValueError("reference must be finite; got NaN or infinity")
    if not all_even(clouds) or not bool(xp.all(clouds.weights > 0)):
        raise ValueError(
            f"clouds must have uniform weights, 1 / {clouds.weights.shape[-1]} for each point, no padding, "
            f"to be aligned by permutations; got weights from {float(xp.min(clouds.weights)):.3g} to "
            f"{float(xp.max(clouds.weights)):.3g}; use sliced transport, or a plan of exact or sinkhorn"
        )
    return clouds
