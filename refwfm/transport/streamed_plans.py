"""What an entropic plan is used for, without the plan: values, the map, one target for each point.

Everything here takes the potentials that ``streaming.sinkhorn_points`` has found (or ``sinkhorn``) and makes
the plan ``Pᵢⱼ = aᵢ bⱼ exp((fᵢ + gⱼ - ‖xᵢ - yⱼ‖²) / eps)`` block by block, forgetting each block at once. The
dense functions of the same meaning are in ``sinkhorn``, ``entropic`` and ``plans``.
"""

from functools import partial
from typing import Any

import numpy as np

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    expand,
    machine_eps,
    matvec,
    running_sum,
    sq_distances,
    summed_to,
    transpose,
)
from refwfm._derivatives import refuse_gradient, with_pullback
from refwfm.transport.point_problem import block_side, check_points, cut, live
from refwfm.transport.problem import (
    check_eps,
    check_solution,
    check_weights,
    clear_points,
    log_weights,
)
from refwfm.transport.sinkhorn import Sinkhorn


def streamed_transport_cost(
    x: Array, y: Array, a: Array, b: Array, solution: Sinkhorn, /, *, block: int | None = None
) -> Array:
    """Cost ``⟨K, P⟩`` of the entropic plan between points, without its entropy; shape (...).

    Equation: WFM-12. ``transport_cost``, over blocks.

    Parameters
    ----------
    x, y : array, shapes (..., n, d) and (..., m, d)
    a, b : array, shapes (..., n) and (..., m)
        Points of weight 0 are padding.
    solution : Sinkhorn
    block : int, optional
        Rows and columns of a block, as for ``streaming.streamed_softmin``.

    Examples
    --------
    >>> from refwfm.transport.streaming import sinkhorn_points
    >>> x, half = np.asarray([[0.0], [1.0]]), np.full(2, 0.5)
    >>> solution = sinkhorn_points(x, x, half, half, eps=np.inf)
    >>> round(float(streamed_transport_cost(x, x, half, half, solution)), 9)
    0.5
    """
    x, y, total = *_cleared(x, y, a, b), 0.0
    xp, side = array_namespace(x), block_side(x, y, block)
    logs_a, logs_b = log_weights(a), log_weights(b)
    f, g, eps = _potentials(solution, a, b)
    for rows in cut(x.shape[-2], side):
        for columns in cut(y.shape[-2], side):
            cost = sq_distances(x[..., rows, :], y[..., columns, :])
            exponents = (f[..., rows, None] + g[..., None, columns] - cost) / eps[..., None, None]
            P = xp.exp(exponents + logs_a[..., rows, None] + logs_b[..., None, columns])
            total = total + xp.sum(cost * P, axis=(-2, -1))
    return total


def streamed_dual_value(
    x: Array, y: Array, a: Array, b: Array, solution: Sinkhorn, /, *, block: int | None = None
) -> Array:
    """Dual objective ``⟨f, a⟩ + ⟨g, b⟩ - eps (Σ P - 1)`` of points; shape (...).

    Equation: WFM-12. ``dual_value``, over blocks. Parameters as for ``streamed_transport_cost``.

    Notes
    -----
    Its derivatives are those of ``dual_value``: at fixed potentials ``2 Σⱼ Pᵢⱼ (xᵢ - yⱼ)`` in a point, f and
    g in the weights. They take one more pass over blocks, and none of them is kept: with a solution of
    detached arrays, a loss between clouds of any size.

    Examples
    --------
    >>> from refwfm.transport.streaming import sinkhorn_points
    >>> x, half = np.asarray([[0.0], [1.0]]), np.full(2, 0.5)
    >>> solution = sinkhorn_points(x, x, half, half, eps=np.inf)
    >>> round(float(streamed_dual_value(x, x, half, half, solution)), 9)
    0.5
    """
    points = _cleared(x, y, a, b)
    f, g, eps = _potentials(solution, a, b)
    side = block_side(*points, block)
    return with_pullback(partial(_dual_value, side), partial(_dual_pullback, side), *points, a, b, f, g, eps)


def _dual_value(side: int, x: Array, y: Array, a: Array, b: Array, f: Array, g: Array, eps: Array) -> Array:
    xp, excess = array_namespace(x), 0.0
    for rows in cut(x.shape[-2], side):
        for columns in cut(y.shape[-2], side):
            exponents = _exponents(x, y, a, b, f, g, eps, rows, columns)
            surplus = a[..., rows, None] * b[..., None, columns] * xp.expm1(exponents)  # Σ P - 1
            excess = excess + xp.sum(surplus, axis=(-2, -1))
    excess = _finite(eps) * excess
    return xp.sum(f * a, axis=-1) + xp.sum(g * b, axis=-1) - excess


def _dual_pullback(
    side: int, d_value: Array, x: Array, y: Array, a: Array, b: Array, f: Array, g: Array, eps: Array
) -> tuple[Array, ...]:
    """Derivatives of ``_dual_value`` in each of its arrays, of their shapes."""
    xp, given = array_namespace(x), (x, y, a, b, f, g, eps)
    middle = xp.mean(y, axis=-2, keepdims=True)  # far from the origin, sums of yⱼ and of xᵢ would cancel
    x, y = x - middle, y - middle
    blocks, by_rows, d_eps = cut(y.shape[-2], side), [], 0.0
    by_columns: list[Any] = [(0.0, 0.0, 0.0)] * len(blocks)
    for rows in cut(x.shape[-2], side):
        row: Any = (0.0, 0.0, 0.0)
        for k, columns in enumerate(blocks):
            exponents = _exponents(x, y, a, b, f, g, eps, rows, columns)
            more, product = xp.expm1(exponents), a[..., rows, None] * b[..., None, columns]
            P = product * (1.0 + more)
            of_rows = (xp.sum(P, axis=-1), matvec(more, b[..., columns]), P @ y[..., columns, :])
            of_columns = (
                xp.sum(P, axis=-2),
                matvec(transpose(more), a[..., rows]),
                transpose(P) @ x[..., rows, :],
            )
            row = tuple(old + new for old, new in zip(row, of_rows, strict=True))
            by_columns[k] = tuple(old + new for old, new in zip(by_columns[k], of_columns, strict=True))
            d_eps = d_eps + xp.sum(P * exponents - product * more, axis=(-2, -1))
        by_rows.append(row)

    def gradients(points: Array, weights: Array, potential: Array, parts: list[Any]) -> tuple[Array, ...]:
        mass, excess = (xp.concat([part[i] for part in parts], axis=-1) for i in (0, 1))
        moved = xp.concat([part[2] for part in parts], axis=-2)
        d_points = 2.0 * (mass[..., None] * points - moved)
        return d_points, potential - _finite(eps)[..., None] * excess, weights - mass

    (d_x, d_a, d_f), (d_y, d_b, d_g) = gradients(x, a, f, by_rows), gradients(y, b, g, by_columns)
    found = (d_x, d_y, d_a, d_b, d_f, d_g, d_eps)
    d_value = d_value + xp.zeros_like(d_eps)
    return tuple(
        summed_to(gradient * expand(d_value, gradient.ndim - d_value.ndim), tuple(of.shape))
        for gradient, of in zip(found, given, strict=True)
    )


def _exponents(
    x: Array, y: Array, a: Array, b: Array, f: Array, g: Array, eps: Array, rows: slice, columns: slice
) -> Array:
    """``(fᵢ + gⱼ - Kᵢⱼ) / eps`` of a block, zeros at padding."""
    xp, cost = array_namespace(x), sq_distances(x[..., rows, :], y[..., columns, :])
    exponents = (f[..., rows, None] + g[..., None, columns] - cost) / eps[..., None, None]
    return xp.where(live(a, b, rows, columns), exponents, xp.zeros_like(exponents))


def _finite(eps: Array) -> Array:
    """Eps, and 0 where it is infinite: what it multiplies is then 0."""
    xp = array_namespace(eps)
    return xp.where(xp.isinf(eps), xp.zeros_like(eps), eps)


def streamed_entropic_map(
    points: Array, y: Array, b: Array, g: Array, /, *, eps: float | Array, block: int | None = None
) -> Array:
    """Entropic map at any points: the mean of the target under the plan's conditional law.

    Equation: WFM-13. ``entropic.entropic_map``, over blocks of the target: a running maximum of the
    exponents, and sums of shares and of shares times ``yⱼ`` relative to it. On the source's atoms it is the
    *barycentric projection* ``Σⱼ Pᵢⱼ yⱼ / Σⱼ Pᵢⱼ`` of the plan.

    Parameters
    ----------
    points : array, shape (..., q, d)
    y : array, shape (..., m, d)
    b, g : array, shape (..., m)
        Weights are non-negative and sum to 1; those of 0 are padding.
    eps : float, or array of shape (...). Absolute, as in ``Sinkhorn.eps``.
    block : int, optional
        Rows and columns of a block, as for ``streaming.streamed_softmin``.

    Returns
    -------
    array, shape (..., q, d)

    Examples
    --------
    >>> y, b = np.asarray([[0.0], [2.0]]), np.full(2, 0.5)
    >>> streamed_entropic_map(np.asarray([[1.0]]), y, b, np.zeros(2), eps=1.0).tolist()
    [[1.0]]
    """
    check_points(points, y, y=b, g=g)
    xp, y, b = array_namespace(points), clear_points(y, b), check_weights(b, "b")
    side, eps, logs = block_side(points, y, block), check_eps(eps, points)[..., None, None], log_weights(b)
    g = xp.where(b > 0, g, xp.zeros_like(g))
    images = []
    for rows in cut(points.shape[-2], side):
        top: Any = None
        for columns in cut(y.shape[-2], side):
            cost = sq_distances(points[..., rows, :], y[..., columns, :])
            exponents = (g[..., None, columns] - cost) / eps + logs[..., None, columns]
            here = xp.max(exponents, axis=-1, keepdims=True)
            if top is None:  # so low that nothing is below it but -inf, whose exponential is then 0
                top, total, moved = xp.zeros_like(here) + xp.finfo(cost.dtype).min, 0.0, 0.0
            higher = xp.maximum(top, here)
            shares, kept = xp.exp(exponents - higher), xp.exp(top - higher)
            total = kept * total + xp.sum(shares, axis=-1, keepdims=True)
            moved = kept * moved + shares @ y[..., columns, :]
            top = higher
        images.append(moved / total)
    return xp.concat(images, axis=-2)


def sample_streamed_targets(
    x: Array,
    y: Array,
    a: Array,
    b: Array,
    solution: Sinkhorn,
    /,
    *,
    rng: np.random.Generator,
    block: int | None = None,
) -> Array:
    """Draw a target for every point, as likely as its share of the row's mass in the entropic plan.

    Equation: GWFM-29. ``plans.sample_targets`` of the plan, over blocks, with every source atom once. One
    pass finds the mass of each row; in a second one the target is where the running mass passes the number
    drawn.

    Parameters
    ----------
    x, y, a, b, solution, block
        As for ``streamed_transport_cost``.
    rng : numpy.random.Generator
        Draws on the host, one number for each point: the same targets on every library, and those of
        ``sample_targets``, but where the number drawn is within rounding of a border.

    Returns
    -------
    array, shape (..., n), integers; 0 at padding, never a target of weight 0

    Raises
    ------
    ValueError
        If a potential is not finite, or a row of the plan that weighs something has no finite mass.

    Examples
    --------
    >>> from refwfm.transport.streaming import sinkhorn_points
    >>> x, half = np.asarray([[0.0], [9.0]]), np.full(2, 0.5)
    >>> solution = sinkhorn_points(x, x, half, half, eps=1.0)
    >>> sample_streamed_targets(x, x, half, half, solution, rng=np.random.default_rng(0)).tolist()
    [0, 1]
    """
    x, y = _cleared(x, y, a, b)
    f, g, eps = _potentials(solution, a, b)
    refuse_gradient("sample_streamed_targets", x, y, a, b, f, g, eps)
    xp, side, logs = array_namespace(x), block_side(x, y, block), log_weights(b)
    if not bool(xp.all(xp.isfinite(f))) or not bool(xp.all(xp.isfinite(g))):
        raise ValueError("solution must have finite potentials, to draw targets from; got NaN or infinity")
    batch = (*eps.shape, x.shape[-2])
    draws, targets, masses = asarray_like(rng.random(batch), x), [], []

    def shares(rows: slice, columns: slice) -> Array:
        """Masses of a block's columns, relative to that of the row's atom."""
        cost = sq_distances(x[..., rows, :], y[..., columns, :])
        exponents = (f[..., rows, None] + g[..., None, columns] - cost) / eps[..., None, None]
        return xp.exp(exponents + logs[..., None, columns])

    for rows in cut(x.shape[-2], side):
        blocks = cut(y.shape[-2], side)
        total = sum(xp.sum(shares(rows, columns), axis=-1) for columns in blocks)
        masses.append(total)
        below = xp.minimum(draws[..., rows] * total, total * (1.0 - 4.0 * machine_eps(x)))
        before = xp.zeros_like(total)
        chosen = xp.full_like(total, -1.0, dtype=xp.int64)
        last = xp.zeros_like(chosen)
        for columns in blocks:
            P = shares(rows, columns)
            mass, positive = running_sum(P, 1024), P > 0  # in long runs, as in sample_targets
            passed = positive & (before[..., None] + mass > below[..., None])
            first = columns.start + xp.argmax(xp.astype(passed, xp.int8), axis=-1)
            chosen = xp.where((chosen < 0) & xp.any(passed, axis=-1), first, chosen)
            final = columns.stop - 1 - xp.argmax(xp.flip(xp.astype(positive, xp.int8), axis=-1), axis=-1)
            last = xp.where(xp.any(positive, axis=-1), final, last)
            before = before + mass[..., -1]
        targets.append(xp.where(chosen < 0, last, chosen))  # a sum in another order may end a little lower
    found, mass = xp.concat(targets, axis=-1), xp.concat(masses, axis=-1)
    drawn = (mass > 0) & xp.isfinite(mass)  # an integer cannot be NaN, as what the others return would be
    if not bool(xp.all(xp.where(a > 0, drawn, a == 0))):
        raise ValueError(
            "rows of the plan must have a finite mass above 0, to draw targets from; got NaN, infinity or 0: "
            "is the solution of these points and weights?"
        )
    return xp.where(a > 0, found, xp.zeros_like(found))


def _cleared(x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    check_points(x, y, x=a, y=b)
    return clear_points(x, a), clear_points(y, b)


def _potentials(solution: Sinkhorn, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Potentials with zeros at padding, and eps."""
    f, g, eps = check_solution(solution, a, b)
    xp = array_namespace(f)
    return xp.where(a > 0, f, xp.zeros_like(f)), xp.where(b > 0, g, xp.zeros_like(g)), eps
