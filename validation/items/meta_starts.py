"""Audited formulas of Meta OT: warm starts of Sinkhorn's iteration."""

import numpy as np

from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import Grid
from refwfm.transport.sinkhorn import plan, sinkhorn
from refwfm.transport.starts import (
    error_curve,
    iterations_to,
    start_potential,
    usable_start,
    warm_sinkhorn,
    zero_potential,
)
from refwfm.validation.check import EXACT, Check, Item, roundings, worst_of
from refwfm.validation.entropic_problems import (
    ITERATED,
    plan_of,
    potential_steps,
    problem,
    scaled_kernel,
)
from refwfm.validation.meta_problems import EXPONENTS, drawn, meta_item
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_ot_5(), meta_ot_6()]


# META-OT-5


def meta_ot_5() -> Item:
    """Warm starts."""
    return meta_item(
        5,
        "section 3.1 and appendix, evaluation",
        "warm start of Sinkhorn's iteration, and its error",
        r"f^{(0)}=\hat f,\quad \mathrm{err}=\|P\mathbf 1-a\|_1+\|P^\top\mathbf 1-b\|_1",
        "Wherever it starts, the iteration ends in the same plan; a start worth less than zeros is not used.",
        (zero_potential, start_potential, usable_start, warm_sinkhorn, error_curve, iterations_to),
        (
            Check(
                "Gibbs kernel scaled, from any start",
                warm_plans,
                _warm_plan,
                {
                    "the prediction believed": lambda cost, a, b, eps, f: plan(
                        cost,
                        a,
                        b,
                        sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=1, f_init=np.nan_to_num(f)),
                    ),
                    "half of eps": lambda cost, a, b, eps, f: _warm_plan(cost, a, b, 0.5 * eps, f),
                    "NaN carried on": lambda cost, a, b, eps, f: plan(
                        cost, a, b, sinkhorn(cost, a, b, eps=eps, f_init=f, validate=False, require=False)
                    ),
                },
                ITERATED,
                dimensions=(2,),
                repeats=1,
            ),
            Check(
                "which starts are worth using",
                uses,
                lambda f, cost, a, b, eps: usable_start(f, cost, a, b, eps=eps)[1],
                {
                    "all of them": lambda f, cost, a, b, eps: np.isfinite(f[..., 0]) | True,
                    "all that are finite": lambda f, cost, a, b, eps: np.isfinite(f).all(axis=-1),
                    "none": lambda f, cost, a, b, eps: f[..., 0] != f[..., 0],
                    "NaN at padding refused": lambda f, cost, a, b, eps: (
                        np.isfinite(f).all(axis=-1) & usable_start(f, cost, a, b, eps=eps)[1]
                    ),
                },
                EXACT,
                dimensions=(2,),
                many_shapes=True,
            ),
            Check(
                "less its mean, or zeros",
                usables,
                lambda f, cost, a, b, eps: usable_start(f, cost, a, b, eps=eps)[0],
                {
                    "as it was given": lambda f, cost, a, b, eps: np.where(
                        usable_start(f, cost, a, b, eps=eps)[1][:, None], np.nan_to_num(f), 0.0
                    ),
                    "whatever it is worth": lambda f, cost, a, b, eps: np.nan_to_num(
                        f - np.nansum(f * a, axis=-1, keepdims=True)
                    ),
                    "less its plain mean": lambda f, cost, a, b, eps: (
                        usable_start(f, cost, a, b, eps=eps)[0]
                        - np.mean(usable_start(f, cost, a, b, eps=eps)[0], axis=-1, keepdims=True)
                    ),
                },
                roundings(100, "a weighted mean of potentials up to ten"),
                dimensions=(2,),
            ),
            Check(
                "on a grid, the solution of its costs, and whose start was used",
                warm_grids,
                _warm_grid,
                {
                    "half of eps": lambda grid, a, b, f, eps: _warm_grid(grid, a, b, f, 0.5 * eps),
                    "not on the grid": lambda grid, a, b, f, eps: _warm_grid(
                        Grid(grid.axes[::-1]), a, b, f, eps
                    ),
                    "no start": lambda grid, a, b, f, eps: _warm_grid(grid, a, b, f + np.nan, eps),
                },
                ITERATED,
                dimensions=(1,),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "errors of plans, by sums",
                curves,
                lambda cost, a, b, eps, f: error_curve(cost, a, b, eps=eps, n_iter=3, f_init=f),
                {
                    "rows alone": lambda cost, a, b, eps, f: np.concatenate(
                        [error_curve(cost, a, b, eps=eps, n_iter=0, f_init=f), np.zeros((3, len(a)))]
                    ),
                    "from zeros": lambda cost, a, b, eps, f: error_curve(cost, a, b, eps=eps, n_iter=3),
                    "one iteration late": lambda cost, a, b, eps, f: error_curve(
                        cost, a, b, eps=eps, n_iter=4, f_init=f
                    )[1:],
                    "half of it, total variation": lambda cost, a, b, eps, f: (
                        0.5 * error_curve(cost, a, b, eps=eps, n_iter=3, f_init=f)
                    ),
                },
                EXPONENTS,
                dimensions=(2,),
            ),
            Check(
                "counting",
                counts,
                lambda errors: iterations_to(errors, 0.25),
                {
                    "from 0": lambda errors: iterations_to(errors, 0.25) - 1,
                    "the start counted": lambda errors: np.argmax(errors <= 0.25, axis=0),
                    "strictly below": lambda errors: iterations_to(errors, 0.2499),
                },
                EXACT,
                dimensions=(1,),
            ),
            Check(
                "starts by name",
                starts,
                lambda x, y: tuple(
                    start_potential(name, x, y, predict=_first) for name in ("zeros", "amortised")
                ),
                {
                    "ones": lambda x, y: (np.ones_like(x.weights), x.points[..., 0]),
                    "interchanged": lambda x, y: (x.points[..., 0], zero_potential(x, y)),
                },
                EXACT,
                dimensions=(2,),
            ),
        ),
    )


def _first(x, y):
    return x.points[..., 0]


def starts(named, draw):
    """Zeros, and what was predicted; the first atoms weigh nothing."""
    x, y, _, _ = problem(draw)
    x, y = (c._replace(weights=np.where(np.arange(c.weights.shape[-1]) > 0, c.weights, 0.0)) for c in (x, y))
    zeros, predicted = draw.call(named, x, y)
    return worst_of(float(np.max(np.abs(zeros))), float(np.max(np.abs(predicted - x.points[..., 0]))))


def _warm_plan(cost, a, b, eps, f):
    found = warm_sinkhorn(cost, a, b, f, eps=eps, tol=None, max_iter=80)
    return plan(cost, a, b, found.solution)


def _bad_starts(draw, f):
    """Of three members: NaN, infinite noise, and a good start."""
    f = f.copy()
    f[0, 1], f[1] = np.nan, 1e3 * f[1]
    return f


def warm_plans(warm, draw):
    """Plans of three pairs, relative to the largest entry."""
    cost, a, b, eps, f = drawn(draw)
    truth = scaled_kernel(cost, a, b, eps)[0]
    return relative(draw.call(warm, cost, a, b, eps, _bad_starts(draw, f)), truth)


def uses(used, draw):
    """NaN, noise, the solution, the solution with NaN at padding."""
    cost, a, b, eps, f = (part[:1] for part in drawn(draw))
    solution = draw.rounded(scaled_kernel(cost, a, b, eps)[1])
    good = np.pad(solution, [(0, 0), (0, 1)], constant_values=np.nan)
    given = np.concatenate(
        [np.pad(f + np.nan, [(0, 0), (0, 1)]), np.pad(-9.0 * solution, [(0, 0), (0, 1)]), good]
    )
    cost = np.pad(cost, [(0, 0), (0, 1), (0, 0)])
    given = np.concatenate([given, np.nan_to_num(given[2:])])
    found = draw.call(used, given, cost, np.pad(a, [(0, 0), (0, 1)]), b, eps)
    return float(np.sum(found != np.array([False, False, True, True])))


def usables(usable, draw):
    """Of the solution and a constant, with NaN at padding; of noise; of NaN."""
    cost, a, b, eps, _ = (part[:1] for part in drawn(draw))
    solution = scaled_kernel(cost, a, b, eps)[1] + 3.0
    a, cost = np.pad(a, [(0, 0), (0, 1)]), np.pad(cost, [(0, 0), (0, 1), (0, 0)])
    good = np.pad(draw.rounded(solution), [(0, 0), (0, 1)], constant_values=np.nan)
    bad, broken = np.where(np.isnan(good), 0.0, 3.0 - good), good.copy()
    broken[:, 1] = np.nan
    mean = np.sum(good[0, :-1] * a[0, :-1]) / np.sum(a)
    truth = np.zeros((3, a.shape[-1]))
    truth[0, :-1] = good[0, :-1] - mean
    return relative(
        draw.call(usable, np.concatenate([good, -9.0 * bad, broken]), cost, a, b, eps), truth, 1.0
    )


def _warm_grid(grid, a, b, f, eps):
    found = warm_sinkhorn(grid, a, b, f, eps=eps, tol=None, max_iter=80)
    return found.solution.f, found.solution.g, found.start_used


def warm_grids(warm, draw):
    """Plans of three pairs of histograms on 12 points; starts: zeros, noise, NaN."""
    grid = Grid(tuple(draw.rounded(np.sort(draw.rng.uniform(0.0, 1.0, s))) for s in (3, 4)))
    a, b = (np.stack([draw.weights(12) for _ in range(3)]) for _ in range(2))
    points = np.array([[y, x] for y in grid.axes[0] for x in grid.axes[1]])
    cost, eps = np.sum((points[:, None] - points) ** 2, axis=-1)[None], draw.rounded(np.full(3, 0.5))
    start = np.stack([np.zeros(12), 9.0 * draw.normal(12), np.full(12, np.nan)])
    f, g, used = draw.call(warm, grid, a, b, start, eps)
    plans = plan_of(cost, a, b, eps, f, g)
    return relative(plans, scaled_kernel(cost, a, b, eps)[0]) + np.sum(used != [True, False, False])


def curves(curve, draw):
    """Of the plan at the start, and after each of three iterations."""
    cost, a, b, eps, f = drawn(draw)
    found = draw.call(curve, cost, a, b, eps, f)
    truth = np.zeros((4, draw.size))
    for k in range(draw.size):
        u, K = np.exp(f[k] / eps[k]), np.exp(-cost[k] / eps[k])
        v = 1.0 / (K.T @ (a[k] * u))
        for step in range(4):
            P = (a[k] * u)[:, None] * K * (b[k] * v)
            truth[step, k] = np.abs(P.sum(1) - a[k]).sum() + np.abs(P.sum(0) - b[k]).sum()
            v = 1.0 / (K.T @ (a[k] * u))
            u = 1.0 / (K @ (b[k] * v))
    return relative(found, truth, 1.0)


def counts(count, draw):
    """Of falling errors; the start does not count."""
    errors = np.array([[0.2, 0.9, 0.9], [0.25, 0.5, 0.8], [0.1, 0.25, 0.7], [0.0, 0.1, 0.6]])
    return float(np.sum(draw.call(count, errors) != np.array([1, 2, -1])))


# META-OT-6


def meta_ot_6() -> Item:
    """Gaussian start."""
    return meta_item(
        6,
        "section 4.1, the Gaussian initialisation (Thornton and Cuturi)",
        "Gaussian start",
        r"f(x)=\|x\|^2-(x-m_a)^\top A(x-m_a)-2\langle x,m_b\rangle",
        "The potential of the optimal map between the Gaussians with the same moments, up to a constant.",
        (gaussian_potential, start_potential),
        (
            Check(
                "the quadratic of the textbook map",
                gaussian_starts,
                lambda x, y: start_potential("gaussian", x, y),
                {
                    "the sign": lambda x, y: -gaussian_potential(x, y),
                    "half of it": lambda x, y: 0.5 * gaussian_potential(x, y),
                    "zeros": zero_potential,
                    "of the opposite shift": lambda x, y: gaussian_potential(
                        x, y._replace(points=2.0 * np.mean(x.points, axis=1, keepdims=True) - y.points)
                    ),
                },
                roundings(3000, "of the largest cost; moments of 12 points"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def gaussian_starts(start, draw):
    """Differences from point to point, relative to the largest cost."""
    x, y, cost, _ = problem(draw, 12, 13)
    gap = np.max(np.abs(np.diff(draw.call(start, x, y)) - potential_steps(x, y)), axis=1)
    return np.max(gap / np.max(cost, axis=(1, 2)))
