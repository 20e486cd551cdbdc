"""Earth mover's distance between two clouds, exactly, and rigorous lower bounds at a fraction of its price.

The earth mover's distance is the least mean cost of moving one cloud onto the other,
``min_P Σ P_ij K_ij`` over the plans P with the clouds' weights as marginals. Two costs go by that name:
``K_ij = ‖x_i - y_j‖²`` (the squared 2-Wasserstein distance) and ``K_ij = ‖x_i - y_j‖`` (1-Wasserstein).
The functions that make a cost ask which (``squared``); the others take it as it is.

*Duality* bounds it from below: ``f_i + g_j <= K_ij`` for all i, j implies ``Σ a_i f_i + Σ b_j g_j <= EMD``.
Any f becomes such a pair by ``g_j = min_i (K_ij - f_i)``, so potentials may come from a rough method, here a
few sweeps of entropic transport in float32: the bound they give is rigorous all the same, and a few percent
below the truth. They serve twice: an assignment with the cost ``K_ij - f_i - g_j`` has the same solution, and
takes a solver that augments shortest paths a fraction of the time, because most of its work is done.

*Projections* bound it too, for all pairs at once (``frame_bounds``).

All of this is on the host: a cloud here is one ``PointCloud`` of NumPy arrays, float64, without padding.
"""

import numpy as np

from refwfm.bures import pairwise_sq_distance
from refwfm.clouds import alike, moments
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport.duals import WARM, rough_potential, warm_assignment
from refwfm.transport.exact import MAX_ITER, transport_plan
from refwfm.transport.problem import check_weights
from refwfm.transport.programme import best_assignment, mean_cost, solve

FRAMES, CELLS = 8, 64
"""Default number of frames that clouds are projected on, and number of cells of a quantile function."""

GELBRICH = 32
"""Largest dimension in which Gelbrich's bound is worth its matrix roots. It is the better one for d >= 5."""


def cost_matrix(x: PointCloud, y: PointCloud, /, *, squared: bool) -> np.ndarray:
    """Costs (n, m): squared Euclidean distances of the points, or the distances themselves.

    Equation: EMD.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([p]), np.ones(1)) for p in ([0.0, 0.0], [3.0, 4.0]))
    >>> cost_matrix(x, y, squared=False).tolist(), cost_matrix(x, y, squared=True).tolist()
    ([[5.0]], [[25.0]])
    """
    from scipy.spatial.distance import cdist

    cost: np.ndarray = cdist(x.points, y.points, "sqeuclidean" if squared else "euclidean")
    return cost


def emd(x: PointCloud, y: PointCloud, /, *, squared: bool) -> float:
    """Exact earth mover's distance between two clouds of any sizes and weights.

    Equation: EMD. ``squared``: mean squared distance, the squared 2-Wasserstein distance; otherwise mean
    Euclidean distance, the 1-Wasserstein distance.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p), np.full(2, 0.5)) for p in ([[0.0], [1.0]], [[4.0], [2.0]]))
    >>> emd(x, y, squared=False), emd(x, y, squared=True)
    (2.5, 6.5)
    """
    cost = cost_matrix(x, y, squared=squared)
    f = None
    if len(cost) >= WARM and alike(x, y):
        f = rough_potential(cost, x.weights, y.weights)
    return exact_cost(cost, x, y, f)


def exact_cost(cost: np.ndarray, x: PointCloud, y: PointCloud, f: np.ndarray | None, /) -> float:
    """Least mean cost; a potential f (n,) of any quality saves time where the problem is an assignment.

    Equation: EMD. Subtracting potentials leaves the best assignment what it is. A potential that is large
    beside the mean cost would round it off, as beside a far point: it is not used.

    Examples
    --------
    >>> x = PointCloud(np.asarray([[0.0], [1.0]]), np.full(2, 0.5))
    >>> exact_cost(np.asarray([[4.0, 1.0], [2.0, 3.0]]), x, x, None)  # (1 + 2) / 2
    1.5
    """
    largest = float(np.max(cost))
    if not largest < np.inf:
        raise ValueError("distances overflow float64, or points are NaN; rescale the points")
    if not alike(x, y):
        a, b = check_weights(x.weights, "x.weights"), check_weights(y.weights, "y.weights")
        solved = solve(cost, a, b, max_iter=MAX_ITER)
        if solved.proof.holds:
            return solved.proof.cost
        return float(transport_plan(cost, a, b, n_jobs=1).cost)  # raises, in words
    columns = None if f is None else warm_assignment(cost, f)
    if columns is None:
        columns = best_assignment(cost, largest)
    return mean_cost(cost[np.arange(len(cost)), columns])


def random_frames(d: int, /, *, rng: np.random.Generator, count: int = FRAMES) -> np.ndarray:
    """Orthonormal frames to project clouds on, shape (count, d, d): axes in columns. Any frames give bounds.

    Equation: EMD-bounds.

    Examples
    --------
    >>> frames = random_frames(2, rng=np.random.default_rng(0), count=1)
    >>> bool(np.allclose(frames[0].T @ frames[0], np.eye(2)))
    True
    """
    return np.stack([np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(count)])


def frame_bounds(
    xs: list[PointCloud], ys: list[PointCloud], frames: np.ndarray, /, *, squared: bool
) -> np.ndarray:
    """Lower bounds (n, m) on the EMD between all members of two families, from their projections.

    Equation: EMD-bounds. Along each axis of an orthonormal frame the clouds are distributions on a line,
    with quantile functions F and G, and ``∫ |F - G|^p`` is their distance, p = 2 or 1. For any plan, the mean
    of ``‖x - y‖²`` is the sum over the axes of the mean of ``(x_k - y_k)²``, and the mean of ``‖x - y‖`` at
    least the norm of the vector of means of ``|x_k - y_k|`` (Jensen). So::

        W_2² >= Σ_k ∫ (F_k - G_k)²    and    W_1 >= (Σ_k (∫ |F_k - G_k|)²)^{1/2} .

    The result is the largest over the ``frames`` (k, d, d), which ``random_frames`` draws, and, for squared
    distances and d <= ``GELBRICH``, over Gelbrich's bound, the distance of the Gaussians with the clouds'
    moments. Quantile functions are replaced by their means over ``CELLS`` equal cells, which lowers the
    integrals (Jensen again) and makes clouds of all sizes and weights comparable: each becomes one vector,
    and the bounds distances of vectors. They are lowered by what rounding can have added, relative to the
    farthest point of the two clouds from the middle (medians) of all: a very far point makes the bounds of
    its own cloud useless, but none wrong.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray([p]), np.ones(1)) for p in ([0.0, 0.0], [3.0, 4.0]))
    >>> frame_bounds([x], [y], np.eye(2)[None], squared=True).round(6).tolist()
    [[25.0]]
    """
    from scipy.spatial.distance import cdist

    centre, same = np.median(np.concatenate([cloud.points for cloud in xs + ys]), axis=0), ys is xs
    xs, ys = ([PointCloud(points - centre, weights) for points, weights in family] for family in (xs, ys))
    d = len(centre)
    bounds = _moment_bounds(xs, ys) if squared and d <= GELBRICH else np.zeros((len(xs), len(ys)))
    for axes in frames:
        left = np.stack([quantile_cells(*cloud, axes) for cloud in xs])
        right = left if same else np.stack([quantile_cells(*cloud, axes) for cloud in ys])
        if squared:
            frame = cdist(*(cells.reshape(len(cells), -1) for cells in (left, right)), "sqeuclidean") / CELLS
        else:
            means = (cdist(left[:, k], right[:, k], "cityblock") / CELLS for k in range(d))
            frame = np.sqrt(sum(mean**2 for mean in means))
        np.maximum(bounds, frame, out=bounds)
    radii = ([np.max(np.linalg.norm(cloud.points, axis=1)) for cloud in family] for family in (xs, ys))
    radius = np.maximum.outer(*radii)
    slack = 1e-11 * (radius**2 if squared else radius)  # rounding is below 100 (d + CELLS) machine epsilons
    lowered: np.ndarray = np.maximum(bounds - slack, 0.0)
    return lowered


def quantile_cells(points: np.ndarray, weights: np.ndarray, axes: np.ndarray, /) -> np.ndarray:
    """Means over ``CELLS`` equal cells of the quantile functions along the columns of ``axes`` (d, k).

    Equation: EMD-bounds. A quantile function (GWFM-106), in cells. Shape (k, CELLS).

    Examples
    --------
    >>> cells = quantile_cells(np.asarray([[5.0], [1.0]]), np.full(2, 0.5), np.eye(1))
    >>> cells.shape, float(cells[0, 0]), float(cells[0, -1])
    ((1, 64), 1.0, 5.0)
    """
    levels = np.linspace(0.0, 1.0, CELLS + 1)
    cells = []
    for values in (points @ axes).T:
        order = np.argsort(values, kind="stable")
        mass = np.concatenate([[0.0], np.cumsum(weights[order])])
        integral = np.concatenate([[0.0], np.cumsum(weights[order] * values[order])])
        cells.append(CELLS * np.diff(np.interp(levels, mass / mass[-1], integral / mass[-1])))
    return np.stack(cells)


def _moment_bounds(xs: list[PointCloud], ys: list[PointCloud]) -> np.ndarray:
    """Squared distances (n, m) of the Gaussians with the clouds' moments: never more than the clouds'."""
    mus, nus = (
        Gaussian(*(np.stack(parts) for parts in zip(*(moments(*cloud) for cloud in family), strict=True)))
        for family in (xs, ys)
    )
    distances: np.ndarray = pairwise_sq_distance(mus, nus)
    return distances
