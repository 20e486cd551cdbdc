"""The nearest neighbours in earth mover's distance, exactly, without computing most distances.

A nearest neighbour needs one exact distance for each cloud, its own, and a proof that all others are larger.
So every pair carries a lower bound, cheap at first (``transport.emd.frame_bounds``), and the pair with the
smallest bound of its row is refined: to the bound of a dual potential, then to the distance itself. When the
smallest entry of a row is a distance, it is the nearest neighbour's: no entry exceeds its true distance, so
none can be smaller. Nothing is approximated, and no pair is refined whose bound exceeds the distance
sought.

Pairs of a symmetric family are refined once, and those of one round in parallel.
"""

from typing import NamedTuple

import numpy as np

from refwfm.clouds import alike
from refwfm.measures import PointCloud
from refwfm.metrics.distances import Progress, host_families
from refwfm.metrics.statistics import OneNN, same_family
from refwfm.transport._parallel import as_they_come
from refwfm.transport.duals import WARM, dual, rough_potential
from refwfm.transport.emd import cost_matrix, exact_cost, frame_bounds, random_frames

BOUNDED = 32
"""Number of points from which a bound is cheaper than a plan; than an assignment it is from ``WARM`` on."""


class Neighbours(NamedTuple):
    """Nearest members and how they were found.

    Attributes
    ----------
    member : numpy.ndarray, shape (n,), integers
    distance : numpy.ndarray, shape (n,)
        Exact EMD to it.
    n_pairs, n_dual, n_exact : int
        Pairs in all, and how many of them were bounded by a dual potential, and solved.
    """

    member: np.ndarray
    distance: np.ndarray
    n_pairs: int
    n_dual: int
    n_exact: int


def nearest_clouds(
    xs: PointCloud,
    ys: PointCloud | None = None,
    /,
    *,
    squared: bool,
    rng: np.random.Generator,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> Neighbours:
    """Nearest member of ys for each cloud of xs, or nearest *other* member of xs, in exact EMD.

    Equation: EMD-bounds.

    Parameters
    ----------
    xs : PointCloud, points (n, k, d), weights (n, k)
    ys : PointCloud, points (m, l, d), weights (m, l), optional
        When left out, the other members of xs.
    squared : bool
        Mean squared distance (the squared 2-Wasserstein distance), or mean Euclidean distance (the
        1-Wasserstein distance). Their neighbours differ.
    rng : numpy.random.Generator
        Draws the frames of the lower bounds, which decide how many distances are computed but not the
        result.
    n_jobs : int
        Workers of joblib; -1 for all cores.
    progress : function, optional
        Called with the number of rows done and the number of rows after every round.

    Returns
    -------
    Neighbours
        The same as the smallest entries of ``pairwise_emd``; among distances that agree up to rounding any
        may be the smallest, among equal ones it is the first.

    Examples
    --------
    >>> xs, ys = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> found = nearest_clouds(xs, ys, rng=np.random.default_rng(0), squared=False)
    >>> found.member.tolist(), found.distance.tolist()
    ([1, 0], [1.0, 1.0])
    """
    if ys is None:
        (clouds,) = host_families(xs=xs)
        return _search(clouds, None, squared, rng, n_jobs, progress)
    clouds, others = host_families(xs=xs, ys=ys)
    return _search(clouds, others, squared, rng, n_jobs, progress)


def one_nn_accuracy_emd(
    *,
    generated: PointCloud,
    reference: PointCloud,
    squared: bool,
    rng: np.random.Generator,
    among_reference: Neighbours | None = None,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> OneNN:
    """1-NN accuracy in exact EMD: ``statistics.one_nn_accuracy`` of all distances, without most of them.

    Equation: 1-NNA.

    Parameters
    ----------
    generated, reference : PointCloud, points (G, k, d) and (R, l, d)
    squared, rng, n_jobs, progress
        As for ``nearest_clouds``.
    among_reference : Neighbours, optional
        ``nearest_clouds(reference, squared=squared, rng=rng)``, where it is known already, from another
        comparison with it: no pair of reference members is then looked at again.

    Returns
    -------
    OneNN
        NumPy float64 numbers.

    Examples
    --------
    >>> xs, ys = (PointCloud(np.asarray(p)[:, None, None], np.ones((2, 1))) for p in ([0.0, 9.0], [8.0, 1.0]))
    >>> rng = np.random.default_rng(0)
    >>> float(one_nn_accuracy_emd(generated=xs, reference=ys, rng=rng, squared=True).accuracy)
    0.0
    """
    families = host_families(generated=generated, reference=reference)
    if among_reference is not None and len(among_reference.member) != len(families[1]):
        raise ValueError(
            f"among_reference must have a neighbour for each of the {len(families[1])} reference members; "
            f"got {len(among_reference.member)}"
        )
    found = _search([*families[0], *families[1]], None, squared, rng, n_jobs, progress, among_reference)
    return same_family(found.member, generated=len(families[0]), dtype=np.float64)


def _search(
    clouds: list[PointCloud],
    others: list[PointCloud] | None,
    squared: bool,
    rng: np.random.Generator,
    n_jobs: int,
    progress: Progress | None,
    among_last: Neighbours | None = None,
) -> Neighbours:
    """For each cloud the nearest of ``others``, or of the other clouds when that is None.

    ``among_last``: the nearest to each other of the last of these clouds, where they are known.
    """
    symmetric = others is None
    if others is None:
        if len(clouds) < 2:
            raise ValueError("xs must have at least two members, or ys be given; got one")
        others = clouds
    frames = random_frames(clouds[0].points.shape[1], rng=rng)
    bound = frame_bounds(clouds, others, frames, squared=squared)
    exact = np.zeros(bound.shape, dtype=bool)
    if symmetric:
        np.fill_diagonal(bound, np.inf)
    if among_last is not None:
        first = len(clouds) - len(among_last.member)
        rows = np.arange(first, len(clouds))
        bound[first:, first:] = np.inf  # farther than the nearest, or it
        bound[rows, first + among_last.member] = among_last.distance
        exact[rows, first + among_last.member] = True
    potentials: dict[tuple[int, int], np.ndarray] = {}
    rows, n_dual, n_exact = np.arange(len(clouds)), 0, 0
    while True:
        columns = np.argmin(bound[rows], axis=1)
        undecided = ~exact[rows, columns]
        rows, columns = rows[undecided], columns[undecided]
        if progress is not None:
            progress(len(clouds) - len(rows), len(clouds))
        if not len(rows):
            break
        # Both members of a symmetric family may have asked for the same pair.
        ends = zip(rows.tolist(), columns.tolist(), strict=True)
        pairs = sorted({(max(i, j), min(i, j)) if symmetric else (i, j) for i, j in ends})
        arguments = [(clouds[i], others[j], squared, potentials.pop((i, j), None)) for i, j in pairs]
        for (i, j), (value, f) in zip(pairs, as_they_come(_refine, arguments, n_jobs=n_jobs), strict=True):
            if f is None:
                n_exact += 1
                exact[i, j], bound[i, j] = True, value
            else:
                n_dual += 1
                potentials[i, j], bound[i, j] = f, max(value, bound[i, j])
            if symmetric:
                exact[j, i], bound[j, i] = exact[i, j], bound[i, j]
    member = np.argmin(bound, axis=1)
    distance = bound[np.arange(len(clouds)), member]
    n_pairs = len(clouds) * (len(clouds) - 1) // 2 if symmetric else bound.size
    return Neighbours(member, distance, n_pairs, n_dual, n_exact)


def _refine(
    x: PointCloud, y: PointCloud, squared: bool, f: np.ndarray | None
) -> tuple[float, np.ndarray | None]:
    """Lower bound of a pair and the potential that proves it; given that potential, the distance and None.

    Small clouds get the distance at once: there the bound is not cheaper.
    """
    cost = cost_matrix(x, y, squared=squared)
    if f is None and max(cost.shape) >= (WARM if alike(x, y) else BOUNDED):
        f, _, bound = dual(cost, x.weights, y.weights, rough_potential(cost, x.weights, y.weights))
        return bound, f
    return exact_cost(cost, x, y, f), None
