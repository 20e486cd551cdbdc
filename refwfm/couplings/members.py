"""Costs of a batch of sources with all members of a family, block by block (``transport.semidiscrete``).

Clouds of equal sizes and weights are vectors, in the order of a reference (``lazy``, ``linear``) or of their
sorted projections (``sliced``), and their costs are squared distances of these: one matrix product with the
*lifted* members, ``‖u - v‖² = ⟨(-2u, 1, ‖u‖²), (v, ‖v‖², 1)⟩``, about the members' median. Its error is
rounding relative to the squared norms about it, not to the distance: the least is found up to that.
"""

from collections.abc import Callable
from typing import NamedTuple

from refwfm._array import Array, array_namespace, check_floating, sq_norm, transpose
from refwfm.bures import pairwise_sq_distance
from refwfm.clouds import in_order
from refwfm.measures import Gaussian, PointCloud, check_measure
from refwfm.transport.semidiscrete import Columns


class Lifted(NamedTuple):
    """Vectors of members as a matrix product wants them.

    Attributes
    ----------
    rows : array, shape (N, k + 2)
        ``(v, ‖v‖², 1)``, v about the centre.
    centre : array, shape (k,)
    """

    rows: Array
    centre: Array


def lift(vectors: Array, /) -> Lifted:
    """Members' vectors (N, k) about the median of each coordinate, with the squared norm and 1 behind.

    Equation: SEMI-4.

    Examples
    --------
    >>> [part.tolist() for part in lift(np.asarray([[1.0], [5.0]]))]
    [[[0.0, 0.0, 1.0], [4.0, 16.0, 1.0]], [1.0]]
    """
    xp = check_floating(vectors=vectors)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"vectors must have shape (N, k) with N, k >= 1; got {tuple(vectors.shape)}")
    centre = xp.sort(vectors, axis=0)[(vectors.shape[0] - 1) // 2, :]  # no far member moves it
    v = vectors - centre
    return Lifted(xp.concat([v, sq_norm(v)[:, None], xp.ones_like(v[:, :1])], axis=-1), centre)


def lifted_costs(u: Array, members: Lifted, /) -> Columns:
    """Squared distances of vectors u (B, k) and the members': a function of blocks.

    Equation: SEMI-4. Off by a few roundings of ``‖u‖² + ‖v‖²`` about the members' median, and below 0 by no
    more.

    Examples
    --------
    >>> lifted_costs(np.asarray([[2.0]]), lift(np.asarray([[1.0], [5.0]])))(0, 2).tolist()
    [[1.0, 9.0]]
    """
    xp = check_floating(u=u, rows=members.rows)
    u = u - members.centre
    rows = xp.concat([-2.0 * u, xp.ones_like(u[:, :1]), sq_norm(u)[:, None]], axis=-1)
    return lambda start, stop: rows @ transpose(members.rows[start:stop, :])


def gaussian_costs(
    mu: Gaussian, family: Gaussian, /, *, cost: Callable[..., Array] = pairwise_sq_distance
) -> Columns:
    """Squared 2-Wasserstein distances of Gaussians and the members of a family: a function of blocks.

    Equation: SEMI-4. WFM-24; of the moments of clouds, the ``frechet`` cost.

    Parameters
    ----------
    mu, family : Gaussian, mean (B, d) and (N, d)
    cost : callable
        A twin of ``bures.pairwise_sq_distance``.

    Examples
    --------
    >>> family = Gaussian(np.asarray([[0.0], [3.0]]), np.asarray([[[1.0]], [[4.0]]]))
    >>> gaussian_costs(family, family)(1, 2).round(9).tolist()
    [[10.0], [0.0]]
    """
    return lambda start, stop: cost(
        mu, Gaussian(family.mean[start:stop, ...], family.cov[start:stop, ...]), validate=False
    )


def vectors_of(x: PointCloud, theta: Array | None = None, /) -> Array:
    """Clouds as vectors (B, k) whose squared distances are their costs.

    Equation: SEMI-4. In the order of their points (GWFM-34, GWFM-41), or with directions the sorted
    projections on them, whose squared distances are the sliced ones (GWFM-33).

    Parameters
    ----------
    x : PointCloud, points (B, n, d), all of n points, of equal weights
    theta : array, shape (K, d), optional

    Raises
    ------
    ValueError
        If clouds have padding or unequal weights.

    Examples
    --------
    >>> x = PointCloud(np.asarray([[[3.0], [1.0]]]), np.full((1, 2), 0.5))
    >>> [(vectors_of(x, *more) * np.sqrt(2.0)).round(9).tolist() for more in ((), (np.eye(1),))]
    [[[3.0, 1.0]], [[1.0, 3.0]]]
    """
    points = check_measure(x, PointCloud, "x").points
    xp = array_namespace(points)
    if points.ndim != 3 or not in_order(x, x):
        raise ValueError(
            "x must be clouds (B, n, d) of equal sizes and uniform weights to be vectors; "
            f"got points {tuple(points.shape)}; use 'frechet' for others"
        )
    if theta is not None:
        points = xp.sort(points @ transpose(theta), axis=-2)
    size, k = points.shape[0], points.shape[1] * points.shape[2]
    scale = points.shape[1] * (1 if theta is None else theta.shape[0])
    return xp.reshape(points, (size, k)) / scale**0.5
