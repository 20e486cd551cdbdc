"""The cost of transport on the sphere: angles between unit vectors.

References
----------
META-OT : Amos, Luise, Cohen, Redko, "Meta Optimal Transport", ICML 2023.
"""

import numpy as np

from refwfm._array import Array, array_namespace, check_floating, sq_norm, transpose
from refwfm._derivatives import detached, is_traced

GUARD = 1e-4
"""By how much inner products are shrunk: the arc cosine has no derivative at 1."""


@np.errstate(invalid="ignore")
def spherical_cost(x: Array, y: Array, /) -> Array:
    """Angles ``arccos(⟨x, y⟩ / (1 + 1e-4))`` between unit vectors, as the paper guards them.

    Equation: META-OT-8. The cost of two points that coincide is 0.01414 and not 0.

    Parameters
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d); leading axes broadcast
        Unit vectors.

    Returns
    -------
    array, shape (..., n, m), from 0.014 to 3.128. Units: radians. NaN for a point that has NaN.

    Raises
    ------
    ValueError
        If shapes disagree, or a vector's length is not 1 up to 1e-5.

    Examples
    --------
    >>> spherical_cost(np.eye(2), np.eye(2)).round(4).tolist()
    [[0.0141, 1.5708], [1.5708, 0.0141]]
    """
    xp = check_floating(x=x, y=y)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or x.shape[-1] == 0:
        raise ValueError(
            "x and y must have shapes (..., n, d) and (..., m, d) with d >= 1; "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, points in (("x", x), ("y", y)):
        _check_length(name, points)
    return xp.acos((x @ transpose(y)) / (1.0 + GUARD))


def _check_length(name: str, points: Array) -> None:
    if is_traced(points) or 0 in points.shape:
        return
    xp, lengths = array_namespace(points), detached(sq_norm(points)) ** 0.5
    off = xp.abs(lengths - 1.0)
    worst = float(xp.max(xp.where(xp.isnan(off), xp.zeros_like(off), off)))
    if not worst <= 1e-5:
        raise ValueError(
            f"{name} must hold unit vectors; got a length that is off by {worst:.3g}: divide by it"
        )
