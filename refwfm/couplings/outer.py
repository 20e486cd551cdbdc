"""Outer plans of two families of measures: which source goes with which target.

The *outer* plan pairs the members of two batches (by ``costs``), the *inner* plan the points of two clouds
(``inner``). Both are chosen by name, ``OUTER`` and ``inner.INNER``, and any goes with any. Wasserstein flow
matching is the case of an independent outer plan, or of multisample matching (``frechet``), with an
inner plan that is optimal or close to it; its generalisation takes all of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, check_floating, device, on_device_of, to_host
from refwfm._derivatives import without_derivative
from refwfm.bures import pairwise_sq_distance
from refwfm.couplings.costs import COSTS, outer_cost
from refwfm.evidence import ConvergenceError
from refwfm.measures import Gaussian, PointCloud, check_measure, take
from refwfm.transport.exact import assignment, transport_plan
from refwfm.transport.plans import Pairs, sample_pairs, sample_targets
from refwfm.transport.sinkhorn import plan, sinkhorn

OUTER = ("independent", "paired", "semidiscrete", *COSTS)
"""``independent``: as drawn. ``paired``: member i of the source family with member i of the target family.
``semidiscrete``: each source goes to a member by itself, by weights fitted once (``transport.semidiscrete``).
The others are plans of least cost of a batch."""


def match_minibatch(
    mu: Gaussian,
    nu: Gaussian,
    /,
    *,
    cost: Callable[..., Array] = pairwise_sq_distance,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Optimal pairing of two batches of equal size: ``mu[i]`` goes with ``nu[perm[i]]``.

    Equation: WFM-AppC. Multisample matching, with the exact assignment on the matrix of squared
    2-Wasserstein distances, WFM-24. Whatever belongs to nu (labels) must be permuted with it.

    Parameters
    ----------
    mu, nu : Gaussian, mean (n, d), cov (n, d, d)
    cost : callable
        ``cost(mu, nu, validate=False)``, shape (n, n).
    groups : numpy.ndarray, shape (n,), optional
        As for ``outer_pairs``.

    Returns
    -------
    numpy.ndarray, shape (n,), integers, on the host

    Raises
    ------
    ValueError
        If the batches differ in size.

    Examples
    --------
    >>> mu, nu = (Gaussian(np.asarray(m)[:, None], np.ones((2, 1, 1))) for m in ([0.0, 9.0], [8.0, 1.0]))
    >>> match_minibatch(mu, nu).tolist()
    [1, 0]
    """
    for name, family in (("mu", mu), ("nu", nu)):
        if check_measure(family, Gaussian, name).mean.ndim != 2:
            raise ValueError(f"{name} must be a batch, mean (n, d); got mean {tuple(family.mean.shape)}")
    if mu.mean.shape[0] != nu.mean.shape[0]:
        raise ValueError(
            f"mu and nu must be batches of equal size; got {mu.mean.shape[0]} and {nu.mean.shape[0]}"
        )
    if groups is None:
        return outer_pairs(cost(mu, nu, validate=False)).target
    # Costs between groups are never looked at, and most pairs of a batch are of two groups.
    target = np.arange(mu.mean.shape[0])
    for members in _members_of(groups, len(target)):
        index = on_device_of(mu.mean, members)
        pairs = outer_pairs(cost(take(mu, index), take(nu, index), validate=False))
        target[members] = members[pairs.target]
    return target


def outer_plan(cost: Array, /, *, eps: float = 0.0, n_jobs: int = 1) -> Array:
    """Optimal or entropic plan between two batches, all members of a batch weighing the same.

    Equation: GWFM-108, GWFM-B4. ``argmin ⟨K, Π⟩ + eps max(K) KL(Π | 1/NM)`` over ``U(1/N, 1/M)``. Without
    eps and for N = M an optimal vertex is a permutation, divided by N: the assignment; otherwise it is
    found by linear programming. A large eps tends to independent pairs.

    Parameters
    ----------
    cost : array, shape (N, M)
        Squared divergences; see ``outer_cost``.
    eps : float
        Entropic regularisation, in units of the largest cost; 0 for the optimal plan.
    n_jobs : int
        Threads of the exact solver; -1 for all.

    Returns
    -------
    array, shape (N, M)

    Raises
    ------
    ValueError
        If the cost is not a matrix or not finite, or eps is negative.
    ConvergenceError
        If Sinkhorn's iteration does not converge, because eps is too small.

    Examples
    --------
    >>> outer_plan(np.asarray([[64.0, 1.0], [1.0, 64.0]])).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    xp = check_floating(cost=cost)
    if cost.ndim != 2 or 0 in cost.shape:
        raise ValueError(f"cost must have shape (N, M) with N, M >= 1; got {tuple(cost.shape)}")
    if not eps >= 0:
        raise ValueError(f"eps must not be negative; got {eps}")
    n, m = cost.shape
    a, b = (xp.full((k,), 1.0 / k, dtype=cost.dtype, device=device(cost)) for k in (n, m))
    if eps > 0:
        try:
            return plan(cost, a, b, sinkhorn(cost, a, b, eps=eps, scale_cost="max"))
        except ConvergenceError as error:
            raise ConvergenceError(
                f"no entropic outer plan with eps = {eps:g} was found; take a larger eps, or 0 for the "
                "optimal plan"
            ) from error
    if n == m:
        best = asarray_like(np.eye(n)[assignment(cost, n_jobs=n_jobs)] / n, cost)
        return without_derivative(best, "the optimal plan", cost)
    return transport_plan(cost, a, b, n_jobs=n_jobs).plan


def outer_pairs(
    cost: Array,
    /,
    *,
    rng: np.random.Generator | None = None,
    replace: bool = False,
    eps: float = 0.0,
    groups: np.ndarray | None = None,
) -> Pairs:
    """Pairs of a step: as many as a batch has members, from the outer plan of a square matrix of costs.

    Equation: GWFM-26. The optimal plan is a permutation, and each of its pairs comes once; from an entropic
    one every source comes once, with a target drawn from its row. With ``replace`` pairs are drawn from the
    plan independently: about a third of the members of a permutation are left out (C9).

    Parameters
    ----------
    cost : array, shape (B, B)
    rng : numpy.random.Generator
        Needed with ``replace`` or ``eps``.
    replace : bool
    eps : float
        As for ``outer_plan``, whose errors are raised.
    groups : numpy.ndarray, shape (B,), optional
        Pairs are made only within a group: of sources and targets with the same entry here. With the labels
        of the targets, sources stay independent of labels. A conditional model needs that: it is asked for a
        label with a source of its own, and learns nothing from labels that the source gives away.

    Returns
    -------
    Pairs of NumPy integers, shape (B,): member ``source[k]`` goes with member ``target[k]``

    Examples
    --------
    >>> [part.tolist() for part in outer_pairs(np.asarray([[64.0, 1.0], [1.0, 64.0]]))]
    [[0, 1], [1, 0]]
    """
    check_floating(cost=cost)
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1]:
        raise ValueError(f"cost must be of batches of equal size, (B, B); got {tuple(cost.shape)}")
    if groups is not None:
        return _pairs_within(groups, cost, rng=rng, replace=replace, eps=eps)
    if not replace and eps == 0:
        return Pairs(np.arange(cost.shape[0]), assignment(cost))
    if rng is None:
        raise ValueError("replace = True and eps > 0 draw pairs, which needs rng")
    drawn_from = outer_plan(cost, eps=eps)
    if replace:
        return Pairs(*map(to_host, sample_pairs(drawn_from, cost.shape[0], rng=rng)))
    return Pairs(np.arange(cost.shape[0]), to_host(sample_targets(drawn_from, rng=rng)))


def _members_of(groups: np.ndarray, n: int) -> list[np.ndarray]:
    """Members of each group, of n in all."""
    if np.shape(groups) != (n,):
        raise ValueError(f"groups must have shape ({n},), an entry a member; got {np.shape(groups)}")
    return [np.flatnonzero(np.asarray(groups) == group) for group in np.unique(groups)]


def _pairs_within(groups: np.ndarray, cost: Array, **options: Any) -> Pairs:
    xp = array_namespace(cost)
    source, target = np.arange(cost.shape[0]), np.arange(cost.shape[0])
    for members in _members_of(groups, cost.shape[0]):
        index = on_device_of(cost, members)
        pairs = outer_pairs(xp.take(xp.take(cost, index, axis=0), index, axis=1), **options)
        source[members], target[members] = members[pairs.source], members[pairs.target]
    return Pairs(source, target)


def match_clouds(x: PointCloud, y: PointCloud, outer: str, /, **options: Any) -> np.ndarray:
    """Optimal pairing of two batches of clouds of equal size: ``x[i]`` goes with ``y[perm[i]]``.

    Equation: WFM-AppC-clouds. By the optimal outer plan, GWFM-108. Whatever belongs to y (labels) must be
    permuted with it. Parameters as for ``outer_cost``.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> match_clouds(x, y, "wasserstein").tolist()
    [1, 0]
    """
    for name, family in (("x", x), ("y", y)):
        if check_measure(family, PointCloud, name).points.ndim != 3:
            raise ValueError(f"{name} must be a batch, points (n, k, d); got {tuple(family.points.shape)}")
    if x.points.shape[0] != y.points.shape[0]:
        raise ValueError(
            f"x and y must be batches of equal size; got {x.points.shape[0]} and {y.points.shape[0]}"
        )
    return assignment(outer_cost(x, y, outer, **options))
