"""Audited formulas of Meta OT: histograms on grids, costs on the sphere."""

import numpy as np
from scipy.special import logsumexp

from refwfm.transport.grid_displacement import axis_shares, displaced_histogram
from refwfm.transport.grids import (
    Grid,
    axis_costs,
    grid_points,
    grid_sinkhorn,
    grid_softmin,
    unit_grid,
)
from refwfm.transport.sinkhorn import TOLERANCE
from refwfm.transport.sphere import spherical_cost
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.entropic_problems import (
    ITERATED,
    even,
    scaled_kernel,
)
from refwfm.validation.meta_problems import meta_item
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_ot_7(), meta_ot_8(), meta_ot_9()]


# META-OT-7


def meta_ot_7() -> Item:
    """Separable kernel."""
    return meta_item(
        7,
        "section 4.1, squared distances on a grid",
        "separable Gibbs kernel of a grid",
        r"e^{-\|x_i-x_j\|^2/\varepsilon}=\prod_k e^{-(x_{k,i}-x_{k,j})^2/\varepsilon},\quad K=K_1\otimes K_2",
        "On a product grid the kernel is a Kronecker product: one small sum along each axis after the other.",
        (unit_grid, grid_points, axis_costs, grid_softmin, grid_sinkhorn),
        (
            Check(
                "NumPy's Kronecker product",
                kronecker,
                grid_softmin,
                {
                    "the first axis alone": lambda grid, p, w, e: grid_softmin(
                        Grid((grid.axes[0], 0.0 * grid.axes[1])), p, w, e
                    ),
                    "half of eps": lambda grid, p, w, e: grid_softmin(grid, p, w, 0.5 * e),
                    "distances not squared": lambda grid, p, w, e: grid_softmin(
                        Grid(tuple(np.sqrt(np.abs(axis)) for axis in grid.axes)), p, w, e
                    ),
                    "weights dropped": lambda grid, p, w, e: grid_softmin(
                        grid, p, np.full_like(w, 1 / 12), e
                    ),
                    "the sign": lambda grid, p, w, e: -grid_softmin(grid, p, w, e),
                },
                roundings(300, "exponents up to 20"),
                dimensions=(2,),
            ),
            Check(
                "sums over all atoms (SciPy), in the limits",
                limits,
                grid_softmin,
                {
                    "half of eps": lambda grid, p, w, e: grid_softmin(grid, p, w, 0.5 * e),
                    "the mean, whatever eps": lambda grid, p, w, e: grid_softmin(grid, p, w, np.inf * e),
                    "the sign of the potential": lambda grid, p, w, e: grid_softmin(grid, -p, w, e),
                },
                roundings(1000, "exponents up to 3e4, relative to the largest cost or potential"),
                dimensions=(2,),
            ),
            Check(
                "points by loops, and their distances",
                points_of_the_grid,
                lambda grid: (grid_points(grid), axis_costs(grid)[0]),
                {
                    "the first axis fastest": lambda grid: (
                        grid_points(Grid(grid.axes[::-1]))[:, ::-1],
                        axis_costs(grid)[0],
                    ),
                    "not squared": lambda grid: (grid_points(grid), np.sqrt(axis_costs(grid)[0])),
                },
                roundings(10, "one square"),
                dimensions=(2,),
            ),
            Check(
                "the unit square, row 0 at the top",
                square,
                lambda like: unit_grid((3, 5), like=like),
                {
                    "row 0 at the bottom": lambda like: Grid(
                        (unit_grid((3, 5), like=like).axes[0][::-1], unit_grid((3, 5), like=like).axes[1])
                    ),
                    "pixel centres": lambda like: Grid(
                        tuple(0.8 * axis + 0.1 for axis in unit_grid((3, 5), like=like).axes)
                    ),
                },
                roundings(4, "a division"),
                dimensions=(1,),
            ),
            Check(
                "Gibbs kernel scaled",
                grid_plans,
                _grid_solution,
                {
                    "half of eps": lambda grid, a, b, e: _grid_solution(grid, a, b, 0.5 * e),
                    "one iteration": lambda grid, a, b, e: grid_sinkhorn(
                        grid, a, b, eps=e, tol=None, max_iter=1
                    )[:2],
                    "interchanged": lambda grid, a, b, e: _grid_solution(grid, a, b, e)[::-1],
                    "without the weights": lambda grid, a, b, e: _grid_solution(grid, even(a), even(b), e),
                },
                ITERATED,
                dimensions=(2,),
                repeats=1,
            ),
            Check(
                "scaling by hand: when it stops, and with what errors",
                stops,
                grid_sinkhorn,
                {
                    "one iteration more": _one_more,
                    "looked at each time": lambda *given, **options: grid_sinkhorn(
                        *given, **options | {"check_every": 1}
                    ),
                    "a tolerance ten times as large": lambda *given, tol, **options: grid_sinkhorn(
                        *given, tol=None if tol is None else 10.0 * tol, **options
                    ),
                },
                ITERATED,
                dimensions=(2,),
                everywhere=False,
            ),
        ),
    )


def _one_more(*given, max_iter, **options):
    return grid_sinkhorn(*given, max_iter=max_iter + 1, **options)


def _grid(draw):
    """Axes of 3 and 4 points in no order, on the unit square."""
    return Grid(tuple(draw.rounded(draw.rng.uniform(0.0, 1.0, s)) for s in (3, 4)))


def kronecker(softmin, draw):
    """Soft minima at 12 points for eps 0.1, 0.3, 1; a weight is 0."""
    grid, eps = _grid(draw), draw.rounded(np.array([0.1, 0.3, 1.0]))
    w = np.pad(np.stack([draw.weights(11) for _ in range(3)]), [(0, 0), (0, 1)])
    p = draw.rounded(0.3 * draw.rng.standard_normal((3, 12)))
    truth = []
    for k in range(3):
        K = np.kron(*(np.exp(-((x[:, None] - x) ** 2) / eps[k]) for x in grid.axes))
        truth.append(-eps[k] * np.log(K @ (w[k] * np.exp(p[k] / eps[k]))))
    return relative(draw.call(softmin, grid, p, w, eps), np.stack(truth))


def limits(softmin, draw):
    """Infinite, moderate and small eps; and on a grid so small that its costs do not count.

    Potentials are 0 or less, and a column of the grid weighs nothing.
    """
    grid, eps = _grid(draw), draw.rounded(np.array([np.inf, 1.0, 1e-4, 1.0]))
    w = np.pad(np.stack([draw.weights(9).reshape(3, 3) for _ in range(4)]), [(0, 0), (0, 0), (1, 0)])
    w = w.reshape(4, 12)
    p = draw.rounded(-draw.rng.random((4, 12)))
    p[1], p[3, 4] = 0.0, 0.0
    tiny = Grid(tuple(1e-8 * axis for axis in grid.axes))
    worst = 0.0
    for part, members in ((grid, [0, 1, 2]), (tiny, [3])):
        found = draw.call(softmin, part, p[members], w[members], eps[members])
        points = np.array([[y, x] for y in part.axes[0] for x in part.axes[1]])
        cost = np.sum((points[:, None] - points) ** 2, axis=-1)
        truth = [
            -e * logsumexp((q - cost) / e, b=v, axis=-1) if e < np.inf else (cost - q) @ v
            for q, v, e in zip(p[members], w[members], eps[members], strict=True)
        ]
        worst = worst_of(worst, relative(found, np.stack(truth), 1.0))
    return worst


def stops(solve, draw):
    """Two pairs of histograms, the second the easier; iterations, errors, potentials, verdict."""
    grid = _grid(draw)
    a, b = (np.stack([draw.weights(12) for _ in range(2)]) for _ in range(2))
    eps = draw.rounded(np.array([0.1, 2.0]))
    points = np.array([[y, x] for y in grid.axes[0] for x in grid.axes[1]])
    K = np.exp(-np.sum((points[:, None] - points) ** 2, axis=-1) / eps[:, None, None])
    worst = 0.0
    for options in (
        {"tol": 1e-3, "check_every": 3, "max_iter": 500},
        {"tol": 1e-14, "check_every": 5, "max_iter": 8},
        {"tol": None, "check_every": 1, "max_iter": 4},
    ):
        u, count = np.ones_like(a), 0
        v = 1.0 / np.einsum("kij,ki->kj", K, a * u)
        while True:
            count += 1
            u = 1.0 / np.einsum("kij,kj->ki", K, b * v)
            following = 1.0 / np.einsum("kij,ki->kj", K, a * u)
            errors = np.sum(np.abs(b * v / following - b), axis=-1)
            looked = options["tol"] is not None and (count - 1) % options["check_every"] == 0
            if count == options["max_iter"] or (looked and np.all(errors <= options["tol"])):
                break
            v = following
        found = draw.call(solve, grid, a, b, eps=eps, require=False, **options)
        if found.n_iter != count or not np.array_equal(
            found.converged, errors <= (options["tol"] or TOLERANCE)
        ):
            return np.inf
        pairs = (found.f, eps[:, None] * np.log(u)), (found.g, eps[:, None] * np.log(v))
        worst = worst_of(
            worst, relative(found.col_error, errors, 1.0), relative(found.row_error, 0.0 * errors, 1.0)
        )
        worst = worst_of(worst, *(relative(part, truth, 1.0) for part, truth in pairs))
    return worst


def points_of_the_grid(points, draw):
    """All points, the last coordinate the fastest."""
    grid = _grid(draw)
    truth = np.array([[y, x] for y in grid.axes[0] for x in grid.axes[1]])
    found, cost = draw.call(points, grid)
    gaps = np.array([[(p - q) ** 2 for q in grid.axes[0]] for p in grid.axes[0]])
    return worst_of(relative(found, truth), relative(cost, gaps, 1.0))


def square(square, draw):
    """Three rows, five columns."""
    rows, columns = draw.call(square, np.zeros(1)).axes
    return float(
        np.max(np.abs(rows - [1.0, 0.5, 0.0])) + np.max(np.abs(columns - [0.0, 0.25, 0.5, 0.75, 1.0]))
    )


def _grid_solution(grid, a, b, eps):
    return grid_sinkhorn(grid, a, b, eps=eps, tol=None, max_iter=80)[:2]


def grid_plans(solve, draw):
    """Plans of two histograms on 12 points."""
    grid = _grid(draw)
    a, b = (np.stack([draw.weights(12) for _ in range(draw.size)]) for _ in range(2))
    points = np.array([[y, x] for y in grid.axes[0] for x in grid.axes[1]])
    cost = np.sum((points[:, None] - points) ** 2, axis=-1)[None]
    eps = draw.rounded(np.full(draw.size, 0.5))
    f, g = draw.call(solve, grid, a, b, eps)
    P = a[:, :, None] * b[:, None] * np.exp((f[:, :, None] + g[:, None] - cost) / eps[:, None, None])
    return relative(P, scaled_kernel(cost, a, b, eps)[0])


# META-OT-8


def meta_ot_8() -> Item:
    """Cost on the sphere."""
    return meta_item(
        8,
        "section 4.2, supply and demand",
        "cost on the sphere",
        r"c(x,y)=\arccos\big(\langle x,y\rangle/(1+10^{-4})\big)",
        "The angle, guarded where it has no derivative: points that coincide are 0.01414 apart.",
        (spherical_cost,),
        (
            Check(
                "mpmath",
                angles,
                spherical_cost,
                {
                    "without the guard": lambda x, y: np.arccos(np.clip(x @ y.mT, -1.0, 1.0)),
                    "the chord": lambda x, y: np.sqrt(np.sum((x[:, :, None] - y[:, None]) ** 2, -1)),
                    "squared": lambda x, y: spherical_cost(x, y) ** 2,
                    "a guard of 1e-3": lambda x, y: np.arccos((x @ y.mT) / 1.001),
                    "of the opposite point": lambda x, y: spherical_cost(x, -y),
                },
                roundings(300, "the arc cosine magnifies rounding by 1 / sin, up to 70"),
                dimensions=(3,),
                needs="mpmath",
            ),
        ),
    )


def angles(cost, draw):
    """Of six points: some coincide, some are opposite."""
    import mpmath

    x = draw.rng.standard_normal((1, 6, 3))
    x = draw.rounded(x / np.linalg.norm(x, axis=-1, keepdims=True))
    y = np.concatenate([x[:, :2], -x[:, 2:4], x[:, 4:][:, ::-1]], axis=1)
    with mpmath.workdps(40):
        guard = 1 + mpmath.mpf(10) ** -4
        truth = [
            [
                float(
                    mpmath.acos(
                        mpmath.fsum(mpmath.mpf(s) * mpmath.mpf(t) for s, t in zip(p, q, strict=True)) / guard
                    )
                )
                for q in y[0]
            ]
            for p in x[0]
        ]
    return relative(draw.call(cost, x, y), np.array([truth]), 1.0)


# META-OT-9


def meta_ot_9() -> Item:
    """Displacement on a grid."""
    return meta_item(
        9,
        "figure 4, interpolation",
        "displacement of a plan on a grid",
        r"\alpha_t=((1-t)\,\mathrm{proj}_x+t\,\mathrm{proj}_y)_\#P",
        "Mass on its way is split linearly between neighbouring grid points: total and mean are kept.",
        (displaced_histogram, axis_shares),
        (
            Check(
                "splitting pair by pair",
                splats,
                displaced_histogram,
                {
                    "time reversed": lambda P, grid, t: displaced_histogram(P, grid, 1.0 - t),
                    "transposed": lambda P, grid, t: displaced_histogram(P.mT, grid, t),
                    "mixture of the marginals": lambda P, grid, t: (1 - t) * P.sum(-1) + t * P.sum(-2),
                    "the first axis alone": _one_axis,
                },
                roundings(100, "sums of 144 terms"),
                dimensions=(2,),
                many_shapes=True,
            ),
            Check(
                "shares of an axis, by NumPy's interpolation",
                shares,
                lambda axis: axis_shares(axis, 0.375),
                {
                    "the nearest node": lambda axis: np.round(axis_shares(axis, 0.375)),
                    "of time 1 - t": lambda axis: axis_shares(axis, 0.625),
                },
                roundings(30, "one division"),
                dimensions=(1,),
            ),
        ),
    )


def _one_axis(P, grid, t):
    """Control: columns stay where they were; on an axis, rows."""
    s = grid.shape
    if len(s) == 1:
        return P.sum(axis=-1)
    mass = P.reshape(-1, *s, *s).sum(axis=-1)  # by target row
    moved = np.einsum("kijl,iln->knj", mass, axis_shares(grid.axes[0], t).reshape(s[0], s[0], -1))
    return moved.reshape(len(P), -1)


def splats(displace, draw):
    """Plans of 12 points, bilinear by loops, and of three on a line."""
    rows, columns = (np.sort(draw.rounded(draw.rng.uniform(0.0, 1.0, s))) for s in (3, 4))
    grid, t = Grid((rows[::-1].copy(), columns)), 0.375
    P = draw.rounded(draw.rng.dirichlet(np.ones(144), draw.size)).reshape(-1, 12, 12)
    points = np.array([[y, x] for y in grid.axes[0] for x in columns])
    truth = np.zeros((draw.size, 12))
    for i in range(12):
        for j in range(12):
            y, x = (1 - t) * points[i] + t * points[j]
            weights = [_hats(axis, place) for axis, place in zip(grid.axes, (y, x), strict=True)]
            truth += P[:, i, j, None] * np.outer(*weights).ravel()
    line = draw.rounded(draw.rng.dirichlet(np.ones(9), draw.size)).reshape(-1, 3, 3)
    along = np.array([[_hats(grid.axes[0], (1 - t) * p + t * q) for q in grid.axes[0]] for p in grid.axes[0]])
    return worst_of(
        relative(draw.call(displace, P, grid, t), truth),
        relative(draw.call(displace, line, Grid(grid.axes[:1]), t), np.einsum("kij,ijn->kn", line, along)),
    )


def _hats(axis, place):
    """Values at a place of the functions that are 1 at one node, 0 at the others, and linear between."""
    order = np.argsort(axis)
    return np.array([np.interp(place, axis[order], np.eye(len(axis))[k][order]) for k in range(len(axis))])


def shares(shares, draw):
    """Rows for all pairs of four nodes that decrease."""
    axis = draw.rounded(np.array([3.0, 1.5, 1.0, -2.0]))
    truth = np.array([_hats(axis, 0.625 * p + 0.375 * q) for p in axis for q in axis])
    return relative(draw.call(shares, axis)[None], truth[None])
