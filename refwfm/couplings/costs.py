"""Costs of outer plans by name: squared distances between all members of two batches of clouds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, check_integer, device, to_host
from refwfm._derivatives import is_differentiated
from refwfm.bures import pairwise_sq_distance
from refwfm.clouds import check_cloud_pair, in_order, moments
from refwfm.measures import PointCloud, check_measure
from refwfm.metrics.distances import chamfer
from refwfm.transport.exact import sq_wasserstein2
from refwfm.transport.linearized import pairwise_sq_lazy_distance
from refwfm.transport.problem import check_range
from refwfm.transport.sliced import pairwise_sliced_cost, random_directions


def pairwise_frechet(
    x: PointCloud, y: PointCloud, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> Array:
    """Squared Fréchet distances of all pairs of clouds: those of the Gaussians with the same moments.

    Equation: WFM-AppC-clouds. The distances WFM-24 of the moments, a lower bound on the clouds' squared
    2-Wasserstein distances.

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)

    Returns
    -------
    array, shape (N, M). Units: data squared.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> pairwise_frechet(x, y).tolist()
    [[64.0, 1.0], [1.0, 64.0]]
    """
    return cost(moments(*x), moments(*y), validate=False)


def pairwise_chamfer_cost(x: PointCloud, y: PointCloud, /) -> Array:
    """Chamfer distances of all pairs of clouds, a row at a time: peak memory (M, n, m).

    Equation: WFM-AppC-clouds.

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)

    Returns
    -------
    array, shape (N, M). Units: data squared.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> pairwise_chamfer_cost(x, y).tolist()  # there and back
    [[128.0, 2.0], [2.0, 128.0]]
    """
    x, y = _checked_families(x, y)
    members = (PointCloud(*(part[i, ...] for part in x)) for i in range(x.points.shape[0]))
    rows = [chamfer(member, y, validate=False) for member in members]
    return array_namespace(x.points).stack(rows) if rows else _no_costs(x, y)


def pairwise_sq_wasserstein2(x: PointCloud, y: PointCloud, /, *, n_jobs: int = -1) -> Array:
    """Squared 2-Wasserstein distances of all pairs of clouds, exactly: N M optimal transport problems.

    Equation: GWFM-30. The costs of the plan, on the host, a row at a time. (``distances.pairwise_emd`` does
    the same for evaluation, in float64 by other assignments that are as good up to rounding.)

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)
        Of any sizes and weights. Differentiable in them, as ``exact.sq_wasserstein2`` is.
    n_jobs : int
        Threads; -1 for all.

    Returns
    -------
    array, shape (N, M). Units: data squared.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> pairwise_sq_wasserstein2(x, y).tolist()
    [[64.0, 1.0], [1.0, 64.0]]
    """
    x, y = _checked_families(x, y)
    like, here = x.points, is_differentiated(*x, *y)
    if not here:  # once to the host, and not again for each row
        x, y = (PointCloud(*map(to_host, family)) for family in (x, y))
    rows = [
        sq_wasserstein2(PointCloud(*(part[i, ...] for part in x)), y, validate=False, n_jobs=n_jobs)
        for i in range(x.points.shape[0])
    ]
    costs = array_namespace(x.points).stack(rows) if rows else _no_costs(x, y)
    return costs if here else asarray_like(costs, like)


class CostOptions(NamedTuple):
    """What costs need besides the clouds; see ``outer_cost``."""

    rng: np.random.Generator | None
    n_proj: int
    cost: Callable[..., Array]


def _frechet(x: PointCloud, y: PointCloud, options: CostOptions) -> Array:
    return pairwise_frechet(x, y, cost=options.cost)


def _chamfer(x: PointCloud, y: PointCloud, options: CostOptions) -> Array:
    return pairwise_chamfer_cost(x, y)


def _wasserstein(x: PointCloud, y: PointCloud, options: CostOptions) -> Array:
    return pairwise_sq_wasserstein2(x, y)


def _sliced(x: PointCloud, y: PointCloud, options: CostOptions) -> Array:
    if options.rng is None:
        raise ValueError("outer = 'sliced' draws directions: it needs rng")
    theta = random_directions(x.points, rng=options.rng, n_proj=options.n_proj)
    return pairwise_sliced_cost(x, y, theta, validate=False)


def _by_index(x: PointCloud, y: PointCloud, options: CostOptions) -> Array:
    if not in_order(x, y):
        raise ValueError(
            "outer = 'linear' and 'lazy' compare clouds as vectors: they need equal sizes, no padding and "
            "uniform weights; use 'sliced' (or 'frechet', 'wasserstein') for others"
        )
    return pairwise_sq_lazy_distance(x.points, y.points)


COSTS: dict[str, Callable[[PointCloud, PointCloud, CostOptions], Array]] = {
    "frechet": _frechet,
    "chamfer": _chamfer,
    "wasserstein": _wasserstein,
    "sliced": _sliced,
    "linear": _by_index,
    "lazy": _by_index,
}
"""Squared distances of clouds, whose mean an outer plan minimises; see ``outer_cost``."""


def outer_cost(
    x: PointCloud,
    y: PointCloud,
    outer: str,
    /,
    *,
    rng: np.random.Generator | None = None,
    n_proj: int = 64,
    cost: Callable[..., Array] = pairwise_sq_distance,
) -> Array:
    """Costs between all members of two batches of clouds, whose mean an outer plan minimises.

    Equation: GWFM-107. Its K, with squared divergences: their roots give other plans (C11). By name:

    ===============  =====================================================================================
    ``frechet``      distance of the Gaussians with the same moments (WFM App. C); any sizes and weights
    ``chamfer``      Chamfer distance; any sizes and weights
    ``wasserstein``  2-Wasserstein distance, exact (GWFM-30); any sizes and weights; B² transport problems
    ``sliced``       sliced distance along ``n_proj`` random directions (GWFM-33); any sizes and weights
    ``linear``       distance of clouds as vectors, sources and targets both aligned to one reference by
                     ``linearized.align`` (GWFM-34); equal sizes, uniform weights
    ``lazy``         distance of clouds as vectors, of targets aligned to a reference and sources that come in
                     its order by themselves (GWFM-41); equal sizes, uniform weights
    ===============  =====================================================================================

    Parameters
    ----------
    x, y : PointCloud, points (N, n, d) and (M, m, d)
    outer : str
        A key of ``COSTS``.
    rng : numpy.random.Generator
        For ``sliced``: the directions, the same for all pairs.
    n_proj : int
    cost : callable
        Squared distances of Gaussians, for ``frechet``.

    Returns
    -------
    array, shape (N, M). Units: data squared.

    Raises
    ------
    ValueError
        If the name is not that of a cost, or it cannot take these clouds; the message names one that can.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> outer_cost(x, y, "wasserstein").tolist()
    [[64.0, 1.0], [1.0, 64.0]]
    """
    n_proj = check_integer(n_proj, "n_proj", low=1)
    if outer not in COSTS:
        raise ValueError(f"outer = {outer!r} is no cost; those are {', '.join(COSTS)}")
    check_range(**{name: check_measure(c, PointCloud, name).points for name, c in (("x", x), ("y", y))})
    return COSTS[outer](x, y, CostOptions(rng, n_proj, cost))


def _checked_families(x: PointCloud, y: PointCloud) -> tuple[PointCloud, PointCloud]:
    for name, family in (("x", x), ("y", y)):
        if check_measure(family, PointCloud, name).points.ndim != 3:
            raise ValueError(
                f"{name} must be a family, points (B, n, d); got points {tuple(family.points.shape)}"
            )
    checked = check_cloud_pair(PointCloud(*(part[:, None, ...] for part in x)), y)
    return PointCloud(*(part[:, 0, ...] for part in checked[0])), checked[1]


def _no_costs(x: PointCloud, y: PointCloud) -> Array:
    shape = (x.points.shape[0], y.points.shape[0])
    return array_namespace(x.points).zeros(shape, dtype=x.points.dtype, device=device(x.points))
