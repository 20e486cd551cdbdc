"""What a plan does on its way: the displaced measure between two histograms, as a histogram on their grid.

Mass on its way from one grid point to another is rarely at a third one. It is split between the corners of
the cell that it is in, in each axis in proportion to nearness, which keeps its mean. As the split is a
product over the axes, so is the sum over all pairs of atoms: one product with a thin matrix for each axis.
"""

from refwfm._array import Array, check_floating
from refwfm.transport.grids import Grid, check_grid


def displaced_histogram(plan: Array, grid: Grid, t: float, /) -> Array:
    """Histogram of ``((1 - t) proj_x + t proj_y)_# P``, split linearly between neighbouring grid points.

    Equation: META-OT-9. At t = 0 and 1 the marginals of the plan; its mean moves on a straight line.

    Parameters
    ----------
    plan : array, shape (..., n, n)
        Between the points of the grid, flat as in ``grid_points``.
    grid : Grid
        Its axes must strictly increase or strictly decrease.
    t : float, from 0 to 1

    Returns
    -------
    array, shape (..., n)

    Raises
    ------
    ValueError
        If shapes disagree, t is out of range or an axis is not monotone.

    Examples
    --------
    >>> grid = Grid((np.asarray([0.0, 1.0, 2.0]),))
    >>> displaced_histogram(np.asarray([[0.0, 0.0, 1.0], [0.0] * 3, [0.0] * 3]), grid, 0.25).tolist()
    [0.5, 0.5, 0.0]
    """
    check_grid(grid)
    xp = check_floating(plan=plan, grid=grid.axes[0])
    n, d = grid.size, len(grid.axes)
    if plan.ndim < 2 or tuple(plan.shape[-2:]) != (n, n):
        raise ValueError(f"plan must have shape (..., {n}, {n}) for this grid; got {tuple(plan.shape)}")
    if not 0.0 <= t <= 1.0:
        raise ValueError(f"t must be from 0 to 1; got {t}")
    mass = xp.reshape(plan, (*plan.shape[:-2], *grid.shape, *grid.shape))
    # What is done: k axes at the end; sources and targets to do before them.
    for k, axis in enumerate(grid.axes):
        source, target = -2 * (d - k) - k, -(d - k) - k
        lines = xp.moveaxis(mass, (source, target), (-2, -1))
        flat = xp.reshape(lines, (*lines.shape[:-2], axis.shape[0] ** 2))
        mass = flat @ axis_shares(axis, t)
    return xp.reshape(mass, (*plan.shape[:-2], n))


def axis_shares(axis: Array, t: float, /) -> Array:
    """Shares (s², s) in which mass between two nodes of an axis falls to its nodes.

    Equation: META-OT-9. A row for each pair of nodes, at ``(1 - t) x_i + t x_j``; each sums to 1.

    Examples
    --------
    >>> axis_shares(np.asarray([0.0, 4.0]), 0.25).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    xp, s = check_floating(axis=axis), axis.shape[0]
    steps = axis[1:] - axis[:-1]
    if not (bool(xp.all(steps > 0)) or bool(xp.all(steps < 0))):
        raise ValueError("the axes of the grid must strictly increase or strictly decrease")
    places = xp.reshape((1.0 - t) * axis[:, None] + t * axis[None, :], (s * s, 1))
    if s == 1:
        return xp.ones_like(places)
    # How far each place is into each cell, from 0 before it to 1 behind it; NaN stays NaN.
    into = (places - axis[:-1]) / steps
    into = xp.where(into < 0, xp.zeros_like(into), xp.where(into > 1, xp.ones_like(into), into))
    first, last = xp.ones_like(places), xp.zeros_like(places)
    return xp.concat([first, into], axis=-1) - xp.concat([into, last], axis=-1)
