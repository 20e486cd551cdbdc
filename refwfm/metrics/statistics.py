"""How good a generated family is, from its distances to a reference family.

What is reported is a statistic of distance matrices: 1-NN accuracy, coverage, minimum matching distance, the
label of the nearest. They take a ``FamilyDistances``, whose fields say which family is which: coverage and
minimum matching distance change when the two are swapped, and nothing would show it.
"""

from typing import Any, NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    to_host,
    transpose,
)


class FamilyDistances(NamedTuple):
    """Distances within and between a generated family of G members and a reference family of R.

    Attributes
    ----------
    generated : array, shape (..., G, G)
    cross : array, shape (..., G, R)
        From every generated member (row) to every reference member (column).
    reference : array, shape (..., R, R)
    """

    generated: Array
    cross: Array
    reference: Array


class OneNN(NamedTuple):
    """Shares (...) of members whose nearest other member comes from the same family.

    ``accuracy`` is over both families, the others over the members of one.
    """

    accuracy: Array
    of_generated: Array
    of_reference: Array


def one_nn_accuracy(distances: FamilyDistances, /) -> OneNN:
    """Leave-one-out accuracy of telling generated from reference by the nearest neighbour.

    Equation: 1-NNA. Over the G + R members, the share whose nearest other member, in the matrix
    ``[[D_gg, D_gr], [D_grᵀ, D_rr]]`` with infinity on its diagonal, is of the same family.

    One half is best. One says that the families are apart, zero that each generated member is a near copy of
    a reference one: report the distance from one half, not how low it is.

    Parameters
    ----------
    distances : FamilyDistances
        Any G, R >= 1. Squared or not gives the same answer.

    Returns
    -------
    OneNN

    Raises
    ------
    ValueError
        If the shapes do not fit, or a distance is negative, NaN or infinite.

    Notes
    -----
    Of equally near members the one with the smallest index counts, generated before reference.

    Examples
    --------
    >>> near, far = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.full((2, 2), 5.0)
    >>> float(one_nn_accuracy(FamilyDistances(near, far, near)).accuracy)  # apart: told every time
    1.0
    """
    xp, (gg, gr, rr) = array_namespace(*distances), _check_distances(distances)
    above, below = xp.concat([gg, gr], axis=-1), xp.concat([transpose(gr), rr], axis=-1)
    both = xp.concat([above, below], axis=-2)
    index = xp.arange(both.shape[-1], device=device(both))
    others = xp.where(index[:, None] == index, asarray_like(np.inf, both), both)
    return same_family(xp.argmin(others, axis=-1), generated=gg.shape[-1], dtype=both.dtype)


def same_family(neighbour: Array, /, *, generated: int, dtype: Any) -> OneNN:
    """1-NN accuracy, of a floating dtype, from the nearest neighbours (..., G + R), generated first.

    Equation: 1-NNA.

    Examples
    --------
    >>> [float(share) for share in same_family(np.asarray([1, 2, 3, 2]), generated=2, dtype=np.float64)]
    [0.75, 0.5, 1.0]
    """
    xp = array_namespace(neighbour)
    is_generated = xp.arange(neighbour.shape[-1], device=device(neighbour)) < generated
    same = xp.astype((neighbour < generated) == is_generated, dtype)
    return OneNN(
        xp.mean(same, axis=-1),
        xp.mean(same[..., :generated], axis=-1),
        xp.mean(same[..., generated:], axis=-1),
    )


def coverage(distances: FamilyDistances, /) -> Array:
    """Share of reference members that are the nearest reference member of at least one generated one.

    Equation: COV-MMD. One is best; copies of the reference reach it, and so can very bad samples.

    Parameters
    ----------
    distances : FamilyDistances

    Returns
    -------
    array, shape (...), in [1 / R, min(1, G / R)]. Of equally near members the smallest index counts.

    Examples
    --------
    >>> zero, cross = np.zeros((2, 2)), np.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> float(coverage(FamilyDistances(zero, cross, zero)))  # both are nearest to the first
    0.5
    """
    cross = _check_distances(distances).cross
    nearest_reference = array_namespace(cross).argmin(cross, axis=-1)  # (..., G)
    return covered(nearest_reference, reference=cross.shape[-1], dtype=cross.dtype)


def covered(neighbour: Array, /, *, reference: int, dtype: Any) -> Array:
    """Coverage, of a floating dtype, of so many reference members by those nearest to the generated (..., G).

    Equation: COV-MMD.

    Examples
    --------
    >>> float(covered(np.asarray([0, 2, 2]), reference=4, dtype=np.float64))
    0.5
    """
    xp = array_namespace(neighbour)
    member = xp.arange(reference, device=device(neighbour))
    met = xp.any(neighbour[..., :, None] == member, axis=-2)  # (..., R)
    return xp.mean(xp.astype(met, dtype), axis=-1)


def minimum_matching_distance(distances: FamilyDistances, /) -> Array:
    """Mean over the *reference* of the distance to the nearest generated member.

    Equation: COV-MMD. Not the kernel discrepancy, also called MMD. The lower the better; in the units
    of the distances, so say which they are. Over the generated members instead it would be the mean of
    ``nearest_gaussians.nearest``.

    Parameters
    ----------
    distances : FamilyDistances

    Returns
    -------
    array, shape (...)

    Examples
    --------
    >>> zero, cross = np.zeros((2, 2)), np.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> float(minimum_matching_distance(FamilyDistances(zero, cross, zero)))  # (1 + 2) / 2
    1.5
    """
    cross = _check_distances(distances).cross
    xp = array_namespace(cross)
    return xp.mean(xp.min(cross, axis=-2), axis=-1)


def _check_distances(distances: FamilyDistances) -> FamilyDistances:
    if not isinstance(distances, FamilyDistances):
        raise TypeError(f"distances must be FamilyDistances; got a {type(distances).__name__}")
    gg, gr, rr = distances
    xp = check_floating(
        **{f"distances.{name}": part for name, part in zip(distances._fields, distances, strict=True)}
    )
    G, R = gr.shape[-2:] if gr.ndim >= 2 else (0, 0)
    batch = tuple(gr.shape[:-2])
    if 0 in (G, R) or tuple(gg.shape) != (*batch, G, G) or tuple(rr.shape) != (*batch, R, R):
        raise ValueError(
            "distances must be generated (..., G, G), cross (..., G, R) with generated in rows, and "
            "reference (..., R, R), with G, R >= 1; "
            f"got {tuple(gg.shape)}, {tuple(gr.shape)} and {tuple(rr.shape)}"
        )
    for name, part in zip(distances._fields, distances, strict=True):
        if not all_finite(part) or not bool(xp.all(part >= 0)):
            raise ValueError(
                f"distances.{name} must be finite and not negative; got NaN, infinity or less than 0"
            )
    return distances


# Labels


def k_nearest(distance: Array, /, *, k: int) -> np.ndarray:
    """Columns of the k smallest entries of each row, nearest first.

    Equation: COV-MMD.

    Parameters
    ----------
    distance : array, shape (n, m)
        From what is judged (rows) to the reference (columns).
    k : int

    Returns
    -------
    numpy.ndarray, shape (n, k), integers, on the host. Of equal distances the smaller index comes first.

    Examples
    --------
    >>> k_nearest(np.asarray([[3.0, 1.0, 2.0]]), k=2).tolist()
    [[1, 2]]
    """
    check_floating(distance=distance)
    k, host = check_integer(k, "k", low=1), to_host(distance)
    if host.ndim != 2 or not 1 <= k <= host.shape[1]:
        raise ValueError(f"distance must have shape (n, m) with m >= k >= 1; got {host.shape} and k = {k}")
    if not np.all(np.isfinite(host)):
        raise ValueError("distance must be finite; got NaN or infinity")
    order: np.ndarray = np.argsort(host, axis=1, kind="stable")[:, :k]
    return order


def label_accuracy(member: np.ndarray, labels: np.ndarray, wanted: np.ndarray, /) -> float:
    """Share of measures whose nearest reference members have the label that is wanted.

    Equation: WFM-Eval, COV-MMD. The label is the commonest among the k nearest, and in a tie the nearest of
    those. A share is to be judged beside that of held-out real measures, with their own labels as
    ``wanted``: call the function for both.

    Parameters
    ----------
    member : numpy.ndarray, shape (n,) or (n, k) with k odd
        Nearest members, nearest first: from ``nearest_gaussians.nearest`` or ``k_nearest``.
    labels : numpy.ndarray, shape (m,)
        Labels of the reference.
    wanted : numpy.ndarray, shape (n,)
        Labels that the generated ones were conditioned on, or that the held-out ones have.

    Examples
    --------
    >>> labels = np.asarray([0, 1, 1])
    >>> label_accuracy(np.asarray([2, 0]), labels, np.asarray([1, 1]))  # the second is told 0
    0.5
    """
    if member.shape[:1] != wanted.shape:
        raise ValueError(
            "member must have the same shape as wanted, (n,), or (n, k); "
            f"got {member.shape} and {wanted.shape}"
        )
    votes = labels[member].reshape(len(member), -1)  # (n, k)
    if votes.shape[1] % 2 == 0:
        raise ValueError(f"member must have an odd number of neighbours in each row; got {member.shape}")
    supporters = np.sum(votes[:, :, None] == votes[:, None, :], axis=-1)
    elected = np.take_along_axis(votes, np.argmax(supporters, axis=1)[:, None], axis=1)[:, 0]
    return float(np.mean(elected == wanted))
