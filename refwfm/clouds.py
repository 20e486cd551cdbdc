"""Point clouds of any sizes: padding, checks, moments.

Clouds of different sizes live in one array, ``PointCloud(points (B, n, d), weights (B, n))``, with n the
size of the largest; the rows that a smaller cloud does not fill have weight 0. Such *padding* is cleared to
zeros wherever a cloud enters (``check_cloud``), so that nothing it held, NaN included, can leak.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    check_integer,
    device,
    machine_eps,
    matvec,
    symmetrize,
    to_host,
    transpose,
)
from refwfm._derivatives import is_known, refuse_gradient
from refwfm.measures import Gaussian, PointCloud, check_broadcast, check_measure

EVEN = 1e3
"""Machine epsilons by which weights that are called equal may differ, as after a division by their sum.

With more, marginals would be visibly wrong: an assignment between weights that differ by a share r has an
error of r in its marginals, and of up to r in its cost.
"""


def check_cloud(cloud: PointCloud, /, name: str = "cloud", *, validate: bool = True) -> PointCloud:
    """Check shapes (always) and values (``validate``) of clouds; return them with padding cleared.

    Parameters
    ----------
    cloud : PointCloud, points (..., n, d), weights (..., n)
    name : str
        What the error calls the argument.
    validate : bool
        Also check values: points finite where their weight is positive, weights non-negative with sum 1 up
        to 1e-6 (float32: 1e-3). On a GPU this waits for the device.

    Returns
    -------
    PointCloud
        The same measures: rows of weight 0 are zeros and, with ``validate``, weights sum to 1 up to rounding.

    Raises
    ------
    TypeError
        If it is no ``PointCloud``, or its parts are no arrays of one floating dtype (``check_floating``).
    ValueError
        If shapes disagree, a cloud is empty, or a value check fails.
    """
    points, weights = check_measure(cloud, PointCloud, name)
    xp = array_namespace(points, weights)
    if points.ndim < 2 or tuple(weights.shape) != tuple(points.shape[:-1]):
        raise ValueError(
            f"{name}: points must have shape (..., n, d) and weights (..., n) with the same leading axes; "
            f"got points {tuple(points.shape)} and weights {tuple(weights.shape)}"
        )
    if 0 in points.shape[-2:]:
        raise ValueError(f"{name} must have at least one point and one dimension; got {tuple(points.shape)}")
    live = weights > 0
    if not is_known(live):
        points = xp.where(live[..., None], points, xp.zeros_like(points))
    if not validate or 0 in points.shape:
        return PointCloud(points, weights)
    if not all_finite(points):
        raise ValueError(f"{name}: points must be finite where their weight is positive; got NaN or infinity")
    total = xp.sum(weights, axis=-1)
    tolerance = 1e-6 if machine_eps(weights) < 1e-10 else 1e-3
    if not bool(xp.all(weights >= 0)) or not bool(xp.all(xp.abs(total - 1.0) <= tolerance)):
        raise ValueError(
            f"{name}: weights must be non-negative and sum to 1 along their last axis; got a smallest weight "
            f"of {float(xp.min(weights)):.3g} and sums from {float(xp.min(total)):.9g} to "
            f"{float(xp.max(total)):.9g}"
        )
    return PointCloud(points, weights / total[..., None])


def check_cloud_pair(
    x: PointCloud, y: PointCloud, /, *, validate: bool = True
) -> tuple[PointCloud, PointCloud]:
    """Check two clouds, or batches that broadcast, as ``check_cloud`` does; sizes may differ."""
    x, y = check_cloud(x, "x", validate=validate), check_cloud(y, "y", validate=validate)
    check_floating(x=x.points, y=y.points)
    if x.points.shape[-1] != y.points.shape[-1]:
        raise ValueError(
            f"x and y must live in the same dimension; got d = {x.points.shape[-1]} and {y.points.shape[-1]}"
        )
    check_broadcast(x=x.points.shape[:-2], y=y.points.shape[:-2])
    return x, y


def even(weights: Array, /) -> Array:
    """Whether all atoms of each measure, except padding (weight 0), weigh the same. Shape (...), bool.

    Equal means up to ``EVEN`` machine epsilons of the heaviest atom. Weights are compared with each other and
    not with ``1 / n``, from which rounded sums can be further away. Never true of NaN.

    Equation: none. Says whether weights are equal.

    Parameters
    ----------
    weights : array, shape (..., n)

    Examples
    --------
    >>> even(np.asarray([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])).tolist()
    [True, False]
    """
    xp = check_floating(weights=weights)
    heaviest = xp.max(weights, axis=-1, keepdims=True)
    same = weights >= heaviest - EVEN * machine_eps(weights) * heaviest
    return xp.all((weights == 0) | same, axis=-1)


def alike(x: PointCloud, y: PointCloud, /) -> bool:
    """Whether each cloud has as many points as its partner, all of one weight, so that permutations are maps.

    Equation: none. Says whether rounding to a permutation is possible. Padding has to be in the same rows of
    both.

    Examples
    --------
    >>> x, y = (PointCloud(np.zeros((1, n, 2)), np.full((1, n), 1.0 / n)) for n in (2, 3))
    >>> alike(x, x), alike(x, y)
    (True, False)
    """
    if check_measure(x, PointCloud, "x").weights.shape != check_measure(y, PointCloud, "y").weights.shape:
        return False
    xp = array_namespace(x.weights, y.weights)
    return all_even(x, y) and bool(xp.all((x.weights > 0) == (y.weights > 0)))


def in_order(x: PointCloud, y: PointCloud, /) -> bool:
    """Whether clouds can be vectors in the order of a reference: equal sizes, uniform weights, no padding.

    Equation: GWFM-27, GWFM-C5.

    Examples
    --------
    >>> x, y = (PointCloud(np.zeros((1, 2, 2)), np.asarray([w])) for w in ([0.5, 0.5], [1.0, 0.0]))
    >>> in_order(x, x), in_order(x, y)
    (True, False)
    """
    for name, cloud in (("x", x), ("y", y)):
        check_measure(cloud, PointCloud, name)
    if x.weights.shape[-1] != y.weights.shape[-1]:
        return False
    xp = array_namespace(x.weights, y.weights)
    return all(bool(xp.all(even(part)[..., None] & (part > 0))) for part in (x.weights, y.weights))


def all_even(*clouds: PointCloud) -> bool:
    """Whether in every cloud of these batches all points except padding weigh the same.

    Equation: none. Says whether weights are equal.

    Examples
    --------
    >>> all_even(uniform(np.zeros((2, 3, 1))), uniform(np.zeros((5, 1))))
    True
    """
    checked = [check_measure(cloud, PointCloud, f"cloud {i}").weights for i, cloud in enumerate(clouds)]
    return all(bool(array_namespace(weights).all(even(weights))) for weights in checked)


def uniform(points: Array, /) -> PointCloud:
    """Cloud of points (..., n, d) that all weigh the same, ``1 / n``.

    Equation: none. Equal weights.

    Examples
    --------
    >>> uniform(np.zeros((4, 2))).weights.tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    xp = check_floating(points=points)
    if points.ndim < 2 or points.shape[-2] == 0:
        raise ValueError(f"points must have shape (..., n, d) with n >= 1; got {tuple(points.shape)}")
    mass = 1.0 / points.shape[-2]
    return PointCloud(points, xp.full(points.shape[:-1], mass, dtype=points.dtype, device=device(points)))


def pad(clouds: Sequence[Any], /, *, weights: Sequence[Any] | None = None, size: int = 0) -> PointCloud:
    """Put clouds of different sizes into one batch, on the host.

    Equation: none. Storage of clouds of different sizes.

    Parameters
    ----------
    clouds : sequence of B host arrays, shapes (n_i, d), n_i >= 1
    weights : sequence of B host arrays, shapes (n_i,), optional
        Uniform when left out.
    size : int
        Rows of the batch; the largest cloud's size where that is larger.

    Returns
    -------
    PointCloud of NumPy float64, points (B, n, d), weights (B, n)

    Raises
    ------
    ValueError
        If there is no cloud, one is empty, dimensions differ, or weights do not fit.

    Examples
    --------
    >>> pad([np.zeros((1, 3)), np.zeros((2, 3))]).weights.tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    arrays = [np.asarray(points, dtype=np.float64) for points in clouds]
    if not arrays:
        raise ValueError("clouds is empty: a batch needs at least one cloud")
    for i, points in enumerate(arrays):
        if points.ndim != 2 or 0 in points.shape or points.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"cloud {i} must have shape (n, d) with n, d >= 1 and the d of cloud 0; got {points.shape}"
            )
    masses = [np.full(len(points), 1.0 / len(points)) for points in arrays]
    if weights is not None:
        masses = [np.asarray(mass, dtype=np.float64) for mass in weights]
    got = [mass.shape for mass in masses]
    if got != [points.shape[:1] for points in arrays]:
        raise ValueError(
            f"weights must hold one array (n_i,) for each of the {len(arrays)} clouds; got {got}"
        )
    n = max([check_integer(size, "size", low=0), *map(len, arrays)])
    batch = PointCloud(np.zeros((len(arrays), n, arrays[0].shape[1])), np.zeros((len(arrays), n)))
    for i, points in enumerate(arrays):
        batch.points[i, : len(points)] = points
        batch.weights[i, : len(points)] = masses[i]
    return batch


def unpad(cloud: PointCloud, /) -> list[np.ndarray]:
    """Point arrays (n_i, d) of a batch (B, n, d), on the host, without the rows of weight 0.

    Equation: none. Storage of clouds of different sizes.

    Examples
    --------
    >>> [points.shape for points in unpad(pad([np.zeros((1, 3)), np.zeros((2, 3))]))]
    [(1, 3), (2, 3)]
    """
    refuse_gradient("unpad", *check_measure(cloud, PointCloud, "cloud"))
    points, weights = (to_host(part) for part in cloud)
    if points.ndim != 3:
        raise ValueError(f"cloud must be a batch, points (B, n, d); got {tuple(points.shape)}")
    return [rows[mass != 0] for rows, mass in zip(points, weights, strict=True)]


def sizes(cloud: PointCloud, /) -> Array:
    """Number of points that are not padding, shape (...), integers.

    Equation: none. Storage of clouds of different sizes.

    Examples
    --------
    >>> sizes(pad([np.zeros((1, 3)), np.zeros((2, 3))])).tolist()
    [1, 2]
    """
    weights = check_measure(cloud, PointCloud, "cloud").weights
    xp = array_namespace(weights)
    return xp.sum(xp.astype(weights != 0, xp.int64), axis=-1)


def moments(points: Array, weights: Array | None = None, /) -> Gaussian:
    """Mean and covariance of point clouds: the Gaussian with the same first two moments.

    Equation: WFM-24. Its arguments. ``mean = Σ wᵢ xᵢ``, ``cov = Σ wᵢ (xᵢ - mean)(xᵢ - mean)ᵀ``: the
    covariance *of the measure itself*, so nothing is divided by n - 1.

    Parameters
    ----------
    points : array, shape (..., n, d)
    weights : array, shape (..., n), optional
        Non-negative, summing to 1 along the last axis. Uniform when left out. Rows of weight zero are
        padding: whatever they hold, NaN included, has no effect.

    Returns
    -------
    Gaussian, mean (..., d), cov (..., d, d)

    Raises
    ------
    ValueError
        If a cloud is empty, the weights' shape differs, or the weights are negative or do not sum to 1.

    Examples
    --------
    >>> [part.tolist() for part in moments(np.asarray([[-1.0], [1.0]]))]
    [[0.0], [[1.0]]]
    """
    if weights is None:
        weights = uniform(points).weights
    points, weights = check_cloud(PointCloud(points, weights))
    mean = matvec(transpose(points), weights)
    # Far from the origin the mean is rounded by more than the points are apart: what it misses is taken off.
    centred = points - mean[..., None, :]
    missed = matvec(transpose(centred), weights)
    mean, centred = mean + missed, centred - missed[..., None, :]
    return Gaussian(mean, symmetrize(transpose(centred) @ (weights[..., None] * centred)))


def grid_spacing(values: np.ndarray, /) -> float:
    """Spacing of the grid on which all numbers lie, as pixels' centres do; 0 where there is none.

    Equation: WFM-GRID. The smallest gap between different numbers, if all others are multiples of it to
    within a thousandth of it.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        One coordinate of all points. Differences below a millionth of their range are rounding.

    Raises
    ------
    ValueError
        If the values are not finite.

    Notes
    -----
    Three different numbers are needed: any two lie on a grid.

    Examples
    --------
    >>> grid_spacing(np.asarray([0.25, -0.5, 1.0, 0.25])), grid_spacing(np.asarray([0.1, 0.5, 0.75, 0.77]))
    (0.75, 0.0)
    """
    nodes = np.unique(np.asarray(values, dtype=np.float64))
    if not np.all(np.isfinite(nodes)):
        raise ValueError("values must be finite; got NaN or infinity")
    if len(nodes) < 3:
        return 0.0
    largest = max(abs(nodes[0]), abs(nodes[-1]))
    place = nodes / largest - nodes[0] / largest
    gaps = np.diff(place)
    step = np.min(gaps, where=gaps > 1e-6 * place[-1], initial=place[-1])
    step = place[-1] / np.round(place[-1] / step)  # one gap has more rounding than all of them together
    turns = place / step
    return float(largest * step) if np.max(np.abs(turns - np.round(turns))) < 1e-3 else 0.0
