"""Checks of the bounds of the earth mover's distance: by rounding, by units, by where the clouds are."""

from fractions import Fraction
from functools import partial

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport import duals, emd
from refwfm.validation.check import EXACT, Check, Tolerance, roundings, worst_of


def _even(points):
    return PointCloud(points, np.full(len(points), 1.0 / len(points)))


def bound_checks():
    """Bounds that must be below the distance by as little as rounding asks."""
    return (
        Check(
            "rational numbers: below the least cost by rounding only",
            dual_is_below_by_rounding,
            duals.dual,
            {
                "not lowered": lambda cost, a, b, f: _bound(cost, a, b, f, 0.0),
                "lowered far too much": lambda cost, a, b, f: _bound(cost, a, b, f, 1e-9),
            },
            EXACT,
            dimensions=(1,),
            repeats=2,
            everywhere=False,
        ),
        Check(
            "quantile functions, by a fine rule",
            cells_are_means_of_the_quantiles,
            emd.quantile_cells,
            {
                "the sign": lambda points, weights, axes: -emd.quantile_cells(points, weights, axes),
                "without the weights": lambda points, weights, axes: emd.quantile_cells(
                    points, np.ones_like(weights), axes
                ),
                "along the axes themselves": lambda points, weights, axes: emd.quantile_cells(
                    points, weights, np.eye(len(axes))[:, :2]
                ),
            },
            roundings(1000, "sums over eight points, times the number of cells"),
            dimensions=(2, 3),
            everywhere=False,
        ),
        Check(
            "moved, in other units, and beside rational numbers",
            bounds_move_with_the_clouds,
            emd.frame_bounds,
            {
                "not about the middle": _bounds_about_the_origin,
                "too large by rounding": lambda *given, squared: (
                    (1.0 + 1e-9) * emd.frame_bounds(*given, squared=squared)
                ),
            },
            Tolerance(1e-3, 1e-3, "1e6 away, points keep ten digits, and squares of small distances eight"),
            dimensions=(1, 3),
            repeats=1,
            everywhere=False,
        ),
    )


def _bound(cost, a, b, f, share):
    found = duals.dual(cost, a, b, f)
    return found._replace(bound=float(a @ found.f + b @ found.g) - share * np.max(np.abs(found.f)))


def dual_is_below_by_rounding(dual, draw):
    """How often bounds are above, or too far below, the least cost in rational numbers: on the diagonal."""
    wrong = 0
    for power in np.tile([20.0, -20.0], 10):
        f, g = draw.rng.random((2, 5))
        cost = f[:, None] + g + draw.rng.random((5, 5)) * (1.0 - np.eye(5))
        a = np.full(5, 0.2)
        shift = np.copysign(2.0 ** abs(power), power)
        bound = dual(cost, a, a, f + shift).bound
        least = sum(map(Fraction, np.diagonal(cost))) * Fraction(0.2)
        below = least - Fraction(bound)
        wrong += not 0 <= below <= Fraction(abs(shift)) * 200 * Fraction(np.finfo(float).eps)
    return float(wrong)


def cells_are_means_of_the_quantiles(quantile_cells, draw):
    """Along two axes, for weights of any mass: the quantile function is integrated atom by atom."""
    points, axes = draw.rng.standard_normal((8, draw.d)), draw.rotations(1)[0][:, :2]
    weights = draw.rng.dirichlet(np.ones(8))
    found = quantile_cells(points, 3.0 * weights, axes)
    truth = np.zeros((2, emd.CELLS))
    for k in range(2):
        values = points @ axes[:, k]
        start = 0.0
        for i in np.argsort(values):
            for cell in range(emd.CELLS):
                shared = min(start + weights[i], (cell + 1) / emd.CELLS) - max(start, cell / emd.CELLS)
                truth[k, cell] += emd.CELLS * values[i] * max(shared, 0.0)
            start += weights[i]
    return float(np.max(np.abs(found - truth)))


def _bounds_about_the_origin(xs, ys, frames, *, squared):
    radius = max(np.max(np.linalg.norm(cloud.points, axis=1)) for cloud in (*xs, *ys))
    slack = 1e-11 * (radius**2 if squared else radius)
    return np.maximum(emd.frame_bounds(xs, ys, frames, squared=squared) - slack, 0.0)


def bounds_move_with_the_clouds(frame_bounds, draw):
    """Relative changes where clouds are moved by 1e6, or in units of 1e6 and 1e-6; infinite if too large.

    Two points each, moved by their distance: there the bound is the distance, and may not exceed it.
    """
    frames = emd.random_frames(draw.d, rng=np.random.default_rng(0), count=1)
    x, y = draw.rng.standard_normal((2, 6, draw.d))
    y[:, 0] += 9.0
    worst = 0.0
    for squared in (True, False):
        bounds = partial(frame_bounds, squared=squared)
        plain = bounds([_even(x)], [_even(y)], frames)[0, 0]
        moved = bounds([_even(x + 1e6)], [_even(y + 1e6)], frames)[0, 0]
        worst = worst_of(worst, abs(moved / plain - 1.0))
        for unit in (1e6, 1e-6):
            scaled = bounds([_even(unit * x)], [_even(unit * y)], frames)[0, 0]
            worst = worst_of(worst, abs(scaled / (unit**2 if squared else unit) / plain - 1.0))
    for step in draw.rng.standard_normal((10, draw.d)):
        pair = [_even(np.stack([first, second])) for first, second in ((-step, 0 * step), (0 * step, step))]
        exact = sum(Fraction(v) ** 2 for v in step)
        bound = float(frame_bounds([pair[0]], [pair[1]], frames, squared=True)[0, 0])
        worst = np.inf if Fraction(bound) > exact else worst
    return worst
