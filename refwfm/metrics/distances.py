"""Distances between point clouds, and between all members of families of clouds of any sizes.

The *Chamfer distance* is the mean squared distance from the points of one cloud to the nearest of the other,
plus the same the other way. The *earth mover's distance* is the mean cost of the best plan between the
clouds; it needs an exact solver, and here has one. (What the literature calls EMD is often an approximation,
of one of two different costs: see ``pairwise_emd``.)

``chamfer`` runs wherever its arrays live. The matrices are made on the host, in float64, by joblib: threads
by default, processes or a cluster with ``joblib.parallel_config``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refwfm._array import Array, array_namespace, sq_distances, sq_norm, take_rows, to_host, transpose
from refwfm._derivatives import refuse_gradient
from refwfm.clouds import check_cloud, check_cloud_pair
from refwfm.measures import PointCloud, check_measure
from refwfm.metrics.statistics import FamilyDistances
from refwfm.transport._parallel import as_they_come
from refwfm.transport.emd import cost_matrix, emd
from refwfm.transport.problem import check_range

Progress = Callable[[int, int], None]
"""Called with the number of pairs done and their total."""

PAIRS_PER_TASK = 16
"""Pairs that one job computes before it reports."""

LARGEST = 1e150
"""Coordinates above it overflow float64 when squared."""

CHAMFER_BLOCK = 2**18
"""Distances in the largest temporary of ``pairwise_chamfer``: 2 MB, to stay in the cache."""


# One pair, or a batch of pairs


def chamfer(x: PointCloud, y: PointCloud, /, *, squared: bool = True, validate: bool = True) -> Array:
    """Chamfer distance: the *sum* of both directional *weighted means* of *squared* nearest distances.

    Equation: Chamfer. ``Σᵢ aᵢ minⱼ ‖xᵢ - yⱼ‖² + Σⱼ bⱼ minᵢ ‖xᵢ - yⱼ‖²``.

    Parameters
    ----------
    x : PointCloud, points (..., n, d), weights (..., n)
    y : PointCloud, points (..., m, d), weights (..., m); leading axes broadcast
        Points of weight 0 are padding: they are never the nearest.
    squared : bool
        False: the distances are not squared before their means are taken.
    validate : bool
        Check values, as ``check_cloud`` does.

    Returns
    -------
    array, shape (...). Units: data squared (``squared=False``: data). Zero between copies, exactly.

    Raises
    ------
    ValueError, TypeError
        As ``check_cloud_pair`` does.

    Notes
    -----
    The largest temporaries are (..., n, m): squared distances that are each right to rounding of themselves,
    so that a far point changes nobody's nearest. Differentiable, by the nearest points; without squares the
    gradient at a point that the other cloud has too is 0.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([p]), np.ones(1)) for p in ([0.0, 0.0], [3.0, 4.0]))
    >>> float(chamfer(x, y)), float(chamfer(x, y, squared=False))  # there and back
    (50.0, 10.0)
    """
    x, y = check_cloud_pair(x, y, validate=validate)
    if validate:
        check_range(x=x.points, y=y.points)
    distances = sq_distances(x.points, y.points)
    return _directed(distances, x, y, squared) + _directed(transpose(distances), y, x, squared)


def _directed(rank: Array, x: PointCloud, y: PointCloud, squared: bool) -> Array:
    """Weighted mean over the points of x of their distance to the nearest of y."""
    xp = array_namespace(x.points)
    rank = xp.where((y.weights > 0)[..., None, :], rank, xp.full_like(rank, np.inf))
    nearest = take_rows(y.points, xp.argmin(rank, axis=-1))  # (..., n, d)
    distance = sq_norm(x.points - nearest)
    if not squared:
        zero = distance == 0  # where the root has no derivative
        distance = xp.where(zero, distance, xp.sqrt(xp.where(zero, xp.ones_like(distance), distance)))
    return xp.sum(x.weights * distance, axis=-1)


# Matrices between families


def pairwise_chamfer(
    xs: PointCloud,
    ys: PointCloud | None = None,
    /,
    *,
    squared: bool = True,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> np.ndarray:
    """Chamfer distances between all members of two families of clouds, or of one with itself.

    Equation: Chamfer. Of each pair, as in ``chamfer``.

    Parameters
    ----------
    xs : PointCloud, points (n, k, d), weights (n, k)
        ``clouds.pad`` makes one of arrays of different sizes.
    ys : PointCloud, points (m, l, d), weights (m, l), optional
        When left out, xs again, each pair computed once, and zeros on the diagonal.
    squared : bool
    n_jobs : int
        Workers of joblib; -1 for all cores.
    progress : function, optional

    Returns
    -------
    numpy.ndarray, shape (n, m), float64, on the host

    Raises
    ------
    ValueError
        If a family has no member, a cloud no point or one that is not finite, or dimensions differ.
    TypeError
        If a family is none, or a tensor that requires a gradient: the result is NumPy's, and has none.

    Examples
    --------
    >>> xs, ys = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> pairwise_chamfer(xs, ys).tolist()
    [[128.0, 2.0], [2.0, 128.0]]
    """
    clouds, others = _one_or_two(xs, ys)
    return _matrix(partial(_chamfer_row, squared=squared), clouds, others, n_jobs=n_jobs, progress=progress)


def pairwise_emd(
    xs: PointCloud,
    ys: PointCloud | None = None,
    /,
    *,
    squared: bool,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> np.ndarray:
    """Exact earth mover's distances between all members of two families, or of one with itself.

    Equation: EMD. Parameters, result and errors as for ``pairwise_chamfer``, but ``squared`` has no
    default: True is the mean *squared* distance under the best plan (the squared 2-Wasserstein distance),
    False the mean *Euclidean* distance under the plan that is best for it (the 1-Wasserstein distance). Both
    are called EMD; accuracies differ by several points, so say which. Assignments are right to rounding of
    their own cost, plans are proved optimal, or a ``ConvergenceError`` is raised.

    Examples
    --------
    >>> xs, ys = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> pairwise_emd(xs, ys, squared=False).tolist()
    [[8.0, 1.0], [1.0, 8.0]]
    """
    clouds, others = _one_or_two(xs, ys)
    return _matrix(partial(_emd_row, squared=squared), clouds, others, n_jobs=n_jobs, progress=progress)


def compare_families(
    distance: Callable[..., np.ndarray],
    /,
    *,
    generated: PointCloud,
    reference: PointCloud,
    among_reference: np.ndarray | None = None,
    **options: Any,
) -> FamilyDistances:
    """All distances within and between two families: what 1-NN accuracy, coverage and MMD need.

    Equation: EMD.

    Parameters
    ----------
    distance : function
        ``pairwise_chamfer`` or ``pairwise_emd``: ``distance(xs, ys, **options)`` and ``distance(xs)``.
    generated, reference : PointCloud, points (G, k, d) and (R, l, d)
    among_reference : numpy.ndarray, shape (R, R), optional
        ``distance(reference, **options)``, where it is known already, from another comparison with it.
    **options
        Passed on to it, such as ``squared=True``.

    Returns
    -------
    FamilyDistances

    Examples
    --------
    >>> xs, ys = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> compare_families(pairwise_emd, generated=xs, reference=ys, squared=True).reference.tolist()
    [[0.0, 49.0], [49.0, 0.0]]
    """
    if among_reference is None:
        among_reference = distance(reference, **options)
    cross = distance(generated, reference, **options)
    size = cross.shape[1]
    if among_reference.shape != (size, size):
        raise ValueError(
            f"among_reference must have the shape {(size, size)} of the distances within reference; "
            f"got {among_reference.shape}"
        )
    return FamilyDistances(distance(generated, **options), cross, among_reference)


def _chamfer_row(x: PointCloud, ys: list[PointCloud], *, squared: bool) -> list[float]:
    """Distances of one cloud to some; without matrix products, whose own threads are in joblib's way."""
    largest = max(len(y.points) for y in ys)
    at_once = max(1, CHAMFER_BLOCK // (len(x.points) * largest))
    parts = (ys[start : start + at_once] for start in range(0, len(ys), at_once))
    return [value for part in parts for value in _host_chamfers(x, part, squared)]


def _host_chamfers(x: PointCloud, ys: list[PointCloud], squared: bool) -> list[float]:
    """Distances of one cloud to clouds whose points stand end to end: one call for all of them."""
    ends = np.cumsum([len(y.points) for y in ys])
    begins = ends - [len(y.points) for y in ys]
    every = PointCloud(*(np.concatenate(parts) for parts in zip(*ys, strict=True)))
    rows = max(1, CHAMFER_BLOCK // len(every.points))
    there, back = np.empty((len(ys), len(x.points))), np.full(len(every.points), np.inf)
    for start in range(0, len(x.points), rows):
        block = slice(start, start + rows)
        cost = cost_matrix(PointCloud(x.points[block], x.weights[block]), every, squared=squared)
        there[:, block] = np.minimum.reduceat(cost, begins, axis=1).T
        np.minimum(back, np.min(cost, axis=0), out=back)
    cuts = zip(there, ys, begins, ends, strict=True)
    return [float(x.weights @ near + y.weights @ back[i:j]) for near, y, i, j in cuts]


def _emd_row(x: PointCloud, ys: list[PointCloud], *, squared: bool) -> list[float]:
    return [emd(x, y, squared=squared) for y in ys]


def _matrix(
    row: Callable[[PointCloud, list[PointCloud]], list[float]],
    xs: list[PointCloud],
    ys: list[PointCloud] | None,
    *,
    n_jobs: int,
    progress: Progress | None,
) -> np.ndarray:
    """Matrix of distances, a few pairs of one row at a time; without ys the lower half, mirrored."""
    columns = [range(i) if ys is None else range(len(ys)) for i in range(len(xs))]
    pieces = [
        (i, part[start : start + PAIRS_PER_TASK])
        for i, part in enumerate(columns)
        for start in range(0, len(part), PAIRS_PER_TASK)
    ]
    others = xs if ys is None else ys
    matrix = np.zeros((len(xs), len(others)))
    done, total = 0, sum(map(len, columns))
    arguments = ((xs[i], [others[j] for j in part]) for i, part in pieces)
    for (i, part), values in zip(pieces, as_they_come(row, arguments, n_jobs=n_jobs), strict=True):
        matrix[i, part] = values
        done += len(part)
        if progress is not None:
            progress(done, total)
    return matrix + matrix.T if ys is None else matrix


# Families on the host


def _one_or_two(xs: PointCloud, ys: PointCloud | None) -> tuple[list[PointCloud], list[PointCloud] | None]:
    if ys is None:
        return host_families(xs=xs)[0], None
    clouds, others = host_families(xs=xs, ys=ys)
    return clouds, others


def host_families(**families: PointCloud) -> list[list[PointCloud]]:
    """Check families and copy them to the host, float64, without padding. Errors name the keywords.

    Equation: none. Brings clouds to the host.

    Examples
    --------
    >>> xs = PointCloud(np.zeros((2, 3, 1)), np.asarray([[1.0, 0.0, 0.0], [0.25, 0.25, 0.5]]))
    >>> [cloud.weights.tolist() for cloud in host_families(xs=xs)[0]]
    [[1.0], [0.25, 0.25, 0.5]]
    """
    result = [_host_family(family, name) for name, family in families.items()]
    dimensions = [family.points.shape[-1] for family in families.values()]
    if len(set(dimensions)) > 1:
        raise ValueError(
            f"{' and '.join(families)} must live in the same dimension; "
            f"got d = {' and '.join(map(str, dimensions))}"
        )
    return result


def _host_family(family: PointCloud, name: str) -> list[PointCloud]:
    check_measure(family, PointCloud, name)
    refuse_gradient("a matrix of distances", *family)
    if family.points.ndim != 3 or family.points.shape[0] == 0:
        raise ValueError(
            f"{name} must be a family of at least one cloud, points (n, k, d); "
            f"got {tuple(family.points.shape)}"
        )
    points, weights = (to_host(part).astype(np.float64) for part in check_cloud(family, name))
    if np.max(np.abs(points)) > LARGEST:
        raise ValueError(f"{name}: coordinates must be below {LARGEST:g}, so that squares do not overflow")
    weights /= np.sum(weights, axis=-1, keepdims=True)  # once more: float32's sum was rounded
    return [PointCloud(rows[mass > 0], mass[mass > 0]) for rows, mass in zip(points, weights, strict=True)]
