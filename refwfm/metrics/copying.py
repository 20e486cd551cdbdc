"""Does a model return the members it was trained on? Scores that copying cannot win.

The smallest distance to the data, and coverage, are best for copies. What copies cannot be is as far from the
training members as other real members are: those held out, whose value is known beforehand.
"""

import math
from typing import NamedTuple

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    take_along,
)
from refwfm.clouds import check_cloud
from refwfm.measures import PointCloud
from refwfm.transport.quantiles import atom_at_level, sort_measure

NEAR = 0.1
"""Share of held-out members that count as near to the training members."""

LEVELS = 16
"""Quantiles of each projection of a cloud in its profile."""


class CopyRate(NamedTuple):
    """Shares (...) of generated, and of held-out real members, that are near to a training member.

    ``held_out`` is known beforehand, ``⌈q n⌉ / n`` for n of them; a fresh real member is as near with the
    probability ``⌈q n⌉ / (n + 1)``. Copies have ``generated`` 1.
    """

    generated: Array
    held_out: Array


def copy_rate(generated: Array, held_out: Array, /, *, quantile: float = NEAR) -> CopyRate:
    """Share of generated members nearer to a training member than all but the nearest held-out ones are.

    Equation: Copy-rate. With d the distance to the nearest training member, and D the ``⌈q n⌉``-th smallest d
    of the n held-out members, the share with ``d <= D``. A model that draws from the truth has about q, one
    that copies 1; far below q, members are further from the data than real ones are. A small q is harder
    to win by mixing copies with failures than the median is.

    Parameters
    ----------
    generated : array, shape (..., G)
        Distance of each generated member to the nearest training member; squared or not gives the same.
    held_out : array, shape (..., n)
        The same of real members that are not among the training members.
    quantile : float in (0, 1)

    Returns
    -------
    CopyRate, shapes (...)
        Where held-out members are equally near, ``held_out`` may be more than ``⌈q n⌉ / n``.

    Raises
    ------
    ValueError
        If there are no members, shapes disagree, a distance is negative or not finite, or quantile is not
        between 0 and 1.

    Examples
    --------
    >>> far = np.arange(1.0, 11.0)
    >>> [float(rate) for rate in copy_rate(np.asarray([0.0, 0.0, 9.0, 5.0]), far)]  # two copies
    [0.5, 0.1]
    """
    xp = check_floating(generated=generated, held_out=held_out)
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile must be between 0 and 1; got {quantile}")
    for name, distance in (("generated", generated), ("held_out", held_out)):
        if distance.ndim == 0 or 0 in distance.shape or distance.shape[:-1] != generated.shape[:-1]:
            raise ValueError(
                "generated and held_out must be distances (..., G) and (..., n) of at least one member each; "
                f"got {tuple(generated.shape)} and {tuple(held_out.shape)}"
            )
        if not all_finite(distance) or not bool(xp.all(distance >= 0)):
            raise ValueError(f"{name} must be finite and not negative; got NaN, infinity or less than 0")
    last = math.ceil(quantile * held_out.shape[-1]) - 1
    bound = xp.sort(held_out, axis=-1)[..., last : last + 1]
    return CopyRate(*(xp.mean(xp.astype(d <= bound, d.dtype), axis=-1) for d in (generated, held_out)))


def profiles(clouds: PointCloud, theta: Array, /, *, levels: int = LEVELS) -> Array:
    """Quantiles of the projections of clouds: vectors whose squared distances are sliced ones, nearly.

    Equation: Copy-rate. Entry (k, l) is the quantile of ``⟨θ_k, x⟩`` at ``(l + ½) / levels``, over
    ``√(K levels)``. Of clouds of ``levels`` points that weigh the same, the squared distance of two profiles
    is the squared sliced distance along theta; copies are at 0, whatever their sizes.

    Parameters
    ----------
    clouds : PointCloud, points (B, n, d), weights (B, n)
        Weight 0 is padding.
    theta : array, shape (K, d)
        Directions, as from ``transport.sliced.random_directions``.
    levels : int

    Returns
    -------
    array, shape (B, K levels). Units: data.

    Raises
    ------
    ValueError
        If a cloud is not as ``check_cloud`` wants it, or theta has another dimension.

    Examples
    --------
    >>> pair = PointCloud(np.asarray([[[4.0], [0.0]]]), np.asarray([[0.5, 0.5]]))
    >>> profiles(pair, np.ones((1, 1)), levels=4).tolist()
    [[0.0, 0.0, 2.0, 2.0]]
    """
    points, weights = check_cloud(clouds, "clouds")
    levels = check_integer(levels, "levels", low=1)
    check_floating(points=points, theta=theta)
    if points.ndim != 3 or theta.ndim != 2 or theta.shape[1] != points.shape[-1]:
        raise ValueError(
            "clouds and theta must be points (B, n, d) and directions (K, d); "
            f"got {tuple(points.shape)} and {tuple(theta.shape)}"
        )
    xp = array_namespace(points)
    line = sort_measure(theta @ xp.matrix_transpose(points), weights[:, None, :])  # (B, K, n)
    middle = [(level + 0.5) / levels for level in range(levels)]
    shape = (*line.position.shape[:-1], levels)
    wanted = xp.broadcast_to(asarray_like(middle, points), shape)
    ends = xp.broadcast_to(line.level, line.position.shape)
    last = xp.broadcast_to(line.last, shape)
    index = atom_at_level(ends, last, wanted, offset=xp.zeros_like(last))
    values = take_along(line.position, index)
    return xp.reshape(values, (shape[0], shape[1] * levels)) / math.sqrt(shape[1] * levels)
