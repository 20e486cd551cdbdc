"""How straight the paths of points are: what few steps of generation lose.

A point on a straight path at constant speed has the velocity ``X_1 - X_0`` at all times, and one Euler step
takes it to its end. How far it is from that is the variance of its velocity over time, the *bend*, which is
taken relative to the squared distance travelled. It does not say where the paths end.
"""

from typing import NamedTuple

from refwfm._array import Array, array_namespace, check_floating, check_integer, sq_norm
from refwfm.generation import CloudField, generate_clouds
from refwfm.measures import PointCloud


class Straightness(NamedTuple):
    """How much the paths of clouds bend.

    Attributes
    ----------
    ratio : array, shape ()
        ``Σ bend / Σ sq_displacement``: 0 for straight paths at constant speed.
    bend : array, shape (B,). Units: data squared.
        ``∫ Σ_i w_i ‖v_t(X_t)_i - (X_1 - X_0)_i‖² dt`` of each cloud.
    sq_displacement : array, shape (B,). Units: data squared.
        ``Σ_i w_i ‖(X_1 - X_0)_i‖²``.
    """

    ratio: Array
    bend: Array
    sq_displacement: Array


def path_straightness(path: Array, weights: Array, /) -> Straightness:
    """Straightness of paths that are given at equal steps of time.

    Equation: GWFM-Straightness. The integral of its definition, for the polygons through these points.

    Parameters
    ----------
    path : array, shape (K + 1, B, n, d), K >= 2
    weights : array, shape (B, n), non-negative, summing to 1
        Weight 0 is padding; what the path holds there has no effect.

    Raises
    ------
    ValueError
        If shapes disagree, or the path has a single step: then every path is straight.

    Examples
    --------
    >>> path = np.asarray([0.0, 1.0, 1.0])[:, None, None, None]  # at full speed, then at rest
    >>> float(path_straightness(path, np.ones((1, 1))).ratio)
    1.0
    """
    xp = check_floating(path=path, weights=weights)
    if path.ndim != 4 or path.shape[0] < 3 or tuple(weights.shape) != tuple(path.shape[1:3]):
        raise ValueError(
            "path and weights must have shapes (K + 1, B, n, d) and (B, n) with K >= 2 steps; "
            f"got {tuple(path.shape)} and {tuple(weights.shape)}"
        )
    path = xp.where((weights != 0)[..., None], path, 0.0)
    velocity = (path.shape[0] - 1) * (path[1:, ...] - path[:-1, ...])  # (K, B, n, d)
    displacement = path[-1, ...] - path[0, ...]
    if 0 in path.shape:
        nothing = xp.sum(displacement, axis=(-2, -1))
        return Straightness(xp.sum(nothing), nothing, nothing)
    # Squares are taken in units of each cloud's largest velocity: the ratio exists where they would overflow.
    unit = xp.max(xp.abs(velocity), axis=(0, 2, 3))
    unit = xp.where(unit == 0, xp.ones_like(unit), unit)
    velocity, displacement = velocity / unit[:, None, None], displacement / unit[:, None, None]
    bend = xp.sum(weights * xp.mean(sq_norm(velocity - displacement), axis=0), axis=-1)
    moved = xp.sum(weights * sq_norm(displacement), axis=-1)
    share = (unit / xp.max(unit)) ** 2
    ratio = relative_bend(share * bend, share * moved)
    return Straightness(ratio, unit * (unit * bend), unit * (unit * moved))


def relative_bend(bend: Array, sq_displacement: Array, /) -> Array:
    """Bend of several clouds (B,) relative to how far they moved, shape (): 0 where nothing bends at all.

    Equation: GWFM-Straightness. A ratio of sums, to which clouds that hardly move add little; infinite where
    all paths are closed.

    Examples
    --------
    >>> float(relative_bend(np.asarray([1.0, 0.0]), np.asarray([1.0, 3.0])))
    0.25
    """
    xp = check_floating(bend=bend, sq_displacement=sq_displacement)
    total, moved = xp.sum(bend), xp.sum(sq_displacement)
    closed = xp.where(total > 0, xp.full_like(total, float("inf")), total)
    return xp.where(moved == 0, closed, total / xp.where(moved == 0, xp.ones_like(moved), moved))


def straightness(
    field: CloudField, source: PointCloud, /, *, n_steps: int, method: str = "euler"
) -> Straightness:
    """Straightness of the paths on which a field carries clouds.

    Equation: GWFM-Straightness. ``Σ ∫ ‖v_t(X_t) - (X_1 - X_0)‖² dt / Σ ‖X_1 - X_0‖²``, over all points by
    weight.

    Parameters
    ----------
    field, source, n_steps, method
        As for ``generation.generate_clouds``; at least 2 steps. All positions are kept, an array
        (n_steps + 1, B, n, d).

    Examples
    --------
    >>> source = PointCloud(np.zeros((1, 1, 1)), np.ones((1, 1)))
    >>> round(float(straightness(lambda x, t: x.points + 1.0, source, n_steps=2).ratio), 9)  # speeds 1, 1.5
    0.04
    """
    check_integer(n_steps, "n_steps", low=2)
    path: list[Array] = []
    generate_clouds(
        field, source, n_steps=n_steps, method=method, observe=lambda k, cloud: path.append(cloud.points)
    )
    return path_straightness(array_namespace(source.points).stack(path), source.weights)
