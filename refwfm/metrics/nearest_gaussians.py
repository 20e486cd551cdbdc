"""The nearest Gaussian of a family in 2-Wasserstein distance, exactly, without computing most distances."""

from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    check_floating,
    expanded_sq_distance,
    machine_eps,
    on_device_of,
    sq_norm,
    to_host,
)
from refwfm.bures import factored_sq_distance
from refwfm.measures import Gaussian, check_gaussian, check_measure
from refwfm.psd import factor, sqrtm

PAIR_BLOCK = 2**16
"""Pairs whose exact distance is computed at once."""


class Nearest(NamedTuple):
    """Nearest reference members: squared distances (n,) in the data's library, indices (n,) on the host."""

    sq_distance: Array
    member: np.ndarray


def nearest(
    generated: Gaussian, reference: Gaussian, /, *, exclude: np.ndarray | None = None, validate: bool = True
) -> Nearest:
    """Squared 2-Wasserstein distance from every generated Gaussian to the nearest reference member.

    Equation: WFM-Eval. With the distances WFM-24; an entry of the paper's table 2 is their mean over the
    generated ones.

    Parameters
    ----------
    generated : Gaussian, mean (n, d), cov (n, d, d)
    reference : Gaussian, mean (m, d), cov (m, d, d)
    exclude : numpy.ndarray of integers, shape (n,), optional
        The reference member that each must not find, such as itself.

    Returns
    -------
    Nearest
        Exact. Units: data squared.

    Raises
    ------
    ValueError
        If a family is empty or the dimensions differ, or exclude is no index of a member for each, or leaves
        none.

    Notes
    -----
    Most pairs need no singular values. With ``h = ‖A^{1/2} - B^{1/2}‖_F²``, the Bures distance satisfies
    ``h / 2 <= bures² <= h``; h is the Euclidean distance of the roots, a matrix product. A member can only be
    the nearest where its lower bound is below the smallest upper bound of the row. (The left inequality:
    ``‖A^{1/2} B^{1/2}‖_* <= (tr A tr B)^{1/4} (tr A^{1/2} B^{1/2})^{1/2}`` by Hölder, then AM-GM.)

    Examples
    --------
    >>> mu, nu = (Gaussian(np.asarray(m)[:, None], np.ones((2, 1, 1))) for m in ([0.0, 9.0], [8.0, 1.0]))
    >>> found = nearest(mu, nu)
    >>> found.sq_distance.tolist(), found.member.tolist()
    ([1.0, 1.0], [1, 0])
    """
    for name, family in (("generated", generated), ("reference", reference)):
        if check_measure(family, Gaussian, name).mean.ndim != 2 or family.mean.shape[0] == 0:
            raise ValueError(
                f"{name} must have at least one member, mean (n, d); got {tuple(family.mean.shape)}"
            )
    check_floating(generated=generated.mean, reference=reference.mean)
    if generated.mean.shape[1] != reference.mean.shape[1]:
        raise ValueError(
            "generated and reference must live in the same dimension; "
            f"got {generated.mean.shape[1]} and {reference.mean.shape[1]}"
        )
    generated = check_gaussian(generated, "generated", validate=validate)
    reference = check_gaussian(reference, "reference", validate=validate)
    xp = array_namespace(generated.mean, reference.mean)
    rows, columns = np.nonzero(
        to_host(_may_be_nearest(generated, reference, _own(exclude, generated, reference)))
    )
    left, right = factor(generated.cov), factor(reference.cov)
    distances = []
    for start in range(0, len(rows), PAIR_BLOCK):
        i, j = (on_device_of(left, part[start : start + PAIR_BLOCK]) for part in (rows, columns))
        distances.append(
            factored_sq_distance(
                xp.take(generated.mean, i, axis=0),
                xp.take(left, i, axis=0),
                xp.take(reference.mean, j, axis=0),
                xp.take(right, j, axis=0),
            )
        )
    exact = xp.concat(distances)
    # Pairs come row by row: sorted within a row by distance, the first of each row is the nearest.
    order = np.lexsort((to_host(exact), rows))
    first = order[np.searchsorted(rows, np.arange(generated.mean.shape[0]))]
    return Nearest(xp.take(exact, on_device_of(exact, first), axis=0), columns[first])


def _own(exclude: np.ndarray | None, generated: Gaussian, reference: Gaussian) -> Array | None:
    """Mask (n, m) of the pairs that are excluded beforehand."""
    if exclude is None:
        return None
    (n, _), (m, _) = generated.mean.shape, reference.mean.shape
    index = np.asarray(exclude)
    if index.shape != (n,) or index.dtype.kind not in "iu" or m < 2 or np.any((index < 0) | (index >= m)):
        raise ValueError(
            f"exclude must be {n} integers from 0 to {m - 1}, of at least two members; "
            f"got {index.dtype} of shape {index.shape}, and {m} members"
        )
    return on_device_of(generated.mean, index[:, None] == np.arange(m))


def _may_be_nearest(generated: Gaussian, reference: Gaussian, own: Array | None = None) -> Array:
    """Mask (n, m) of the pairs that neither ``own`` nor the bounds exclude."""
    xp = array_namespace(generated.mean)
    centre = xp.mean(reference.mean, axis=0)
    means = expanded_sq_distance(generated.mean - centre, reference.mean - centre)
    left, right = (_flat(sqrtm(mu.cov, validate=False)) for mu in (generated, reference))
    roots = expanded_sq_distance(left, right)
    upper = means + roots
    if own is not None:
        upper = xp.where(own, xp.full_like(upper, float("inf")), upper)
    upper = xp.min(upper, axis=1, keepdims=True)
    scale = sum(xp.max(sq_norm(x)) for x in (generated.mean - centre, reference.mean - centre, left, right))
    slack = 100.0 * generated.mean.shape[1] * machine_eps(generated.mean) * scale  # the expansions' rounding
    possible = means + 0.5 * roots <= upper + slack
    return possible if own is None else possible & ~own


def _flat(matrix: Array) -> Array:
    return array_namespace(matrix).reshape(matrix, (matrix.shape[0], -1))
