"""When is the alignment to a reference S still optimal for a source near S? Proposition 3.1, and in practice.

A cloud X is aligned to S once, by its optimal permutation P. For a vector Z near S the same P stays optimal:
the *stability radius* is the largest r for which this holds wherever ``‖Z - S‖_F < r``. Another permutation Q
is better at Z exactly if ``⟨Z, P X - Q X⟩ < 0``: a half space, at the distance
``⟨S, P X - Q X⟩ / ‖P X - Q X‖_F`` from S. The radius is the least of these. Noise is rarely that small;
``laziness_report`` says how often the alignment is optimal all the same, and what it costs where it is not.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_integer,
    device,
    machine_eps,
    nonnegative,
    on_device_of,
    sq_distances,
    sq_frobenius,
    to_host,
)
from refwfm.measures import PointCloud
from refwfm.transport.linearized import align, check_alignable, sq_lazy_distance

ENUMERATED = 7
"""Largest clouds whose permutations are enumerated: 5040."""


class Laziness(NamedTuple):
    """How well laziness holds for noise of one size, on pairs of a noisy reference and a cloud.

    Attributes
    ----------
    optimal : float
        Share of the pairs for which the aligned permutation is optimal.
    mean_ratio : float
        Mean of lazy cost / exact cost; 1 is best.
    inside : float
        Share of the pairs whose noise is smaller than the stability radius, or than its lower bound.
    ratio : numpy.ndarray, shape (size,)
        Lazy cost / exact cost of each pair.
    radius : numpy.ndarray, shape (size,). Units: data.
        Stability radius of each pair's cloud; for more than ``ENUMERATED`` points its lower bound.
    noise : numpy.ndarray, shape (size,). Units: data.
        Frobenius norms of the noise, to compare with ``radius``.
    """

    optimal: float
    mean_ratio: float
    inside: float
    ratio: np.ndarray
    radius: np.ndarray
    noise: np.ndarray


def stability_radius(reference: Array, clouds: PointCloud, /, *, validate: bool = True) -> Array:
    """Largest radius around a reference within which the alignment of a cloud is optimal: sharp, for small n.

    Equation: GWFM-37, GWFM-98, GWFM-99, GWFM-100, GWFM-101, GWFM-102, GWFM-103, GWFM-104, GWFM-39.
    Proposition 3.1: ``r = min_Q (‖S - Q X‖² - ‖S - P X‖²) / (2 ‖(P - Q) X‖_F)`` over the permutations Q with
    ``Q X ≠ P X``, by enumeration.

    Parameters
    ----------
    reference : array, shape (n, d), or (..., n, d), n <= 7
    clouds : PointCloud, points (..., n, d), weights (..., n)
        Without padding and with uniform weights.

    Returns
    -------
    array, shape (...). Units: data.
        0 if the reference has a point twice; infinite if all points of the cloud coincide.

    Raises
    ------
    ValueError
        If n is larger: ``stability_radius_bound`` takes any.

    Examples
    --------
    >>> S = np.asarray([[0.0], [1.0]])
    >>> round(float(stability_radius(S, PointCloud(S, np.full(2, 0.5)))), 4)  # up to where both meet: 1 / √2
    0.7071
    """
    clouds = check_alignable(reference, clouds, validate=validate)
    xp = array_namespace(reference)
    n, d = reference.shape[-2:]
    if n > ENUMERATED:
        raise ValueError(
            f"the permutations of {n} points are too many to enumerate (at most {ENUMERATED} points); "
            "stability_radius_bound gives a lower bound"
        )
    orders = np.array(list(permutations(range(n))), dtype=np.int64)
    index = on_device_of(reference, orders.reshape(-1))
    X = align(reference, clouds, validate=False)  # P X
    images = xp.reshape(xp.take(X, index, axis=-2), (*X.shape[:-2], len(orders), n, d))  # all Q X
    cost = sq_distances(reference, X)
    flat = on_device_of(reference, (n * np.arange(n) + orders).reshape(-1))
    costs = xp.take(xp.reshape(cost, (*cost.shape[:-2], n * n)), flat, axis=-1)
    costs = xp.reshape(costs, (*cost.shape[:-2], len(orders), n)) - xp.linalg.diagonal(cost)[..., None, :]
    gap = 0.5 * xp.sum(costs, axis=-1)  # (‖S - Q X‖² - ‖S - P X‖²) / 2
    apart = xp.sqrt(sq_frobenius(X[..., None, :, :] - images))
    same = apart == 0
    ratio = gap / xp.where(same, xp.ones_like(apart), apart)
    radius = xp.min(xp.where(same, xp.full_like(ratio, float("inf")), ratio), axis=-1)
    return nonnegative(radius)


def stability_radius_bound(reference: Array, clouds: PointCloud, /, *, validate: bool = True) -> Array:
    """Lower bound on the stability radius, for clouds of any size.

    Equation: GWFM-37. ``δ / (4 ‖X - x̄‖_F)`` with δ the ``assignment_gap``. (The mean x̄ may be taken off,
    because ``(P - Q) X`` does not see it: the bound is larger.)

    Parameters
    ----------
    reference : array, shape (n, d), or (..., n, d)
    clouds : PointCloud, points (..., n, d), weights (..., n)

    Returns
    -------
    array, shape (...). Units: data. 0 if there are several best assignments. One far point makes it small,
    because all permutations are bounded by the spread of the whole cloud.

    Examples
    --------
    >>> S = np.asarray([[0.0], [1.0]])
    >>> round(float(stability_radius_bound(S, PointCloud(S, np.full(2, 0.5)))), 4)
    0.7071
    """
    clouds = check_alignable(reference, clouds, validate=validate)
    xp = array_namespace(reference)
    gap = assignment_gap(reference, clouds, validate=False)
    centred = clouds.points - xp.mean(clouds.points, axis=-2, keepdims=True)
    spread = xp.sqrt(sq_frobenius(centred)) + xp.zeros_like(gap)
    ratio = gap / (4.0 * xp.where(spread == 0, xp.ones_like(spread), spread))
    return xp.where(spread == 0, xp.full_like(ratio, float("inf")), ratio)


def assignment_gap(reference: Array, clouds: PointCloud, /, *, validate: bool = True) -> Array:
    """How much worse the second-best assignment to a reference is than the best, in ``‖S - Q X‖_F²``.

    Equation: GWFM-37. The δ of its bound.

    Parameters
    ----------
    reference : array, shape (n, d), or (..., n, d)
    clouds : PointCloud, points (..., n, d), weights (..., n)

    Returns
    -------
    array, shape (...). Units: data squared. Infinite for n = 1.

    Notes
    -----
    Two assignments differ by cycles: on each, atoms pass their partners on. When the first assignment is
    best no cycle has a negative cost, so the second-best differs from it by a single cycle, the
    cheapest. Floyd and Warshall's algorithm finds it: O(n³) time, O(n²) memory for each cloud.

    Examples
    --------
    >>> S = np.asarray([[0.0], [1.0]])
    >>> float(assignment_gap(S, PointCloud(S, np.full(2, 0.5))))  # exchanged, each is 1 away
    2.0
    """
    aligned = align(reference, clouds, validate=validate)
    xp = array_namespace(aligned)
    n = aligned.shape[-2]
    cost = sq_distances(reference, aligned)
    # What it costs when atom i takes the partner of atom j instead of its own; a cycle takes at least two.
    path = cost - xp.linalg.diagonal(cost)[..., :, None]
    itself = xp.eye(n, dtype=path.dtype, device=device(path)) > 0
    path = xp.where(itself, xp.full_like(path, float("inf")), path)
    for k in range(n):
        path = xp.minimum(path, path[..., :, k : k + 1] + path[..., k : k + 1, :])
    gap = xp.min(xp.linalg.diagonal(path), axis=-1)
    return nonnegative(gap)


def laziness_report(
    reference: Array,
    clouds: PointCloud,
    /,
    *,
    sigma: float,
    rng: np.random.Generator,
    size: int = 200,
    n_jobs: int = -1,
    validate: bool = True,
) -> Laziness:
    """Measure on pairs of a noisy reference and a cloud how well the alignment to the reference does.

    Equation: GWFM-39. Sources ``Z = S + σ N`` with standard normal N, clouds drawn at random: the
    lazy cost ``(1/n) ‖Z - P X‖_F²`` beside the exact ``W_2²(Z, X)``, the noise ``‖Z - S‖_F`` beside the
    radius.

    Parameters
    ----------
    reference : array, shape (n, d)
    clouds : PointCloud, points (M, n, d), weights (M, n)
        Without padding and with uniform weights.
    sigma : float
        Standard deviation of the noise, at least 0. Units: data.
    rng : numpy.random.Generator
    size : int
        Pairs to draw.
    n_jobs : int
        As for ``transport.linearized.align_to_reference``.

    Returns
    -------
    Laziness, on the host

    Examples
    --------
    >>> S, clouds = np.asarray([[0.0], [9.0]]), PointCloud(np.asarray([[[8.0], [1.0]]]), np.full((1, 2), 0.5))
    >>> laziness_report(S, clouds, sigma=0.1, rng=np.random.default_rng(0), size=50).optimal
    1.0
    """
    clouds = check_alignable(reference, clouds, validate=validate)
    if reference.ndim != 2 or clouds.points.ndim != 3 or clouds.points.shape[0] == 0:
        raise ValueError(
            "reference must have shape (n, d) and clouds points (M, n, d) with M >= 1; "
            f"got {tuple(reference.shape)} and {tuple(clouds.points.shape)}"
        )
    if not 0.0 <= sigma < float("inf"):
        raise ValueError(f"sigma must be finite and at least 0; got {sigma}")
    size = check_integer(size, "size", low=1)
    xp = array_namespace(reference)
    index = on_device_of(reference, rng.integers(clouds.points.shape[0], size=size))
    drawn = PointCloud(*(xp.take(part, index, axis=0) for part in clouds))
    noise = sigma * asarray_like(rng.standard_normal((size, *reference.shape)), reference)
    Z = reference + noise
    lazy = sq_lazy_distance(Z, align(reference, drawn, n_jobs=n_jobs, validate=False))
    exact = sq_lazy_distance(Z, align(Z, drawn, n_jobs=n_jobs, validate=False))
    bound = stability_radius if reference.shape[0] <= ENUMERATED else stability_radius_bound
    radius, norm = bound(reference, drawn, validate=False), xp.sqrt(sq_frobenius(noise))
    lazy, exact, radius, norm = map(to_host, (lazy, exact, radius, norm))
    ratio = np.divide(lazy, exact, out=np.where(lazy > 0, np.inf, 1.0), where=~(exact <= 0))
    return Laziness(
        optimal=float(np.mean(ratio <= 1.0 + 100 * machine_eps(reference))),
        mean_ratio=float(np.mean(ratio)),
        inside=float(np.mean(norm < radius)),
        ratio=ratio,
        radius=radius,
        noise=norm,
    )
