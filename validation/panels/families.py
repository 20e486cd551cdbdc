"""Sliders of families, grids and populations, and of what training takes from them."""

from functools import lru_cache

import numpy as np

from refwfm.measures import Gaussian
from refwfm.transport.grids import Grid
from refwfm.validation.panels.plot import arrows, cells, chart, curve, dots, ellipse, line, plane
from refwfm.validation.panels.slider import Frame, Function, Slider, alone, marked, pair

TIMES = tuple(float(t) for t in np.linspace(0.0, 1.0, 9))
SHIFTS = tuple(float(s) for s in np.linspace(0.0, 2.0, 9))
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
VIEW = {"x": (-3.2, 3.2), "y": (-2.0, 2.0)}
CENTRES = np.array([[-1.5, 0.8], [1.5, 0.8], [0.0, -1.2]])
EVEN = np.full((1, 3), 1 / 3)
BOARD = np.stack(np.meshgrid(np.linspace(-2.8, 2.8, 11), np.linspace(-1.8, 1.8, 8)), axis=-1).reshape(-1, 2)
BINS = np.linspace(0.0, 1.0, 21)
MU = Gaussian(np.array([1.0, 0.4]), np.array([[0.5, 0.3], [0.3, 0.25]]))


def _draw_crossing(mean_displacement: Function, t: float) -> Frame:
    """Two bundles that cross at half time."""
    x = np.array([[-1.0, y] for y in (1.0, 0.5, -0.5, -1.0)])
    y = np.array([[1.0, y] for y in (-1.0, -0.5, 0.5, 1.0)])
    v = alone(mean_displacement, x, y, np.full(4, 0.25), np.asarray(t))
    points = (1 - t) * x + t * y
    paths = [line(np.stack(pair), "g") for pair in zip(x, y, strict=True)]
    svg = plane([*paths, arrows(points, points + 0.3 * v), dots(points, radius=4)], **VIEW)
    return Frame(svg, f"t = {t:g}: mean squared speed {np.mean(np.sum(v**2, axis=-1)):.3f}")


def _draw_between_batches(outer_plan: Function, n: float) -> Frame:
    x = np.linspace(0.0, 1.0, 8)
    y = np.sort(np.random.default_rng(1).uniform(0.0, 1.0, int(n)))
    cost = (x[:, None] - y) ** 2
    matrix = outer_plan(cost)
    svg = chart(
        [cells(matrix, np.arange(n), np.arange(8.0))], x=(-1, n), y=(-1, 8), labels=("target", "source")
    )
    return Frame(
        svg, f"8 sources, {n:g} targets: mean cost {np.sum(matrix * cost):.4f}, mass {np.sum(matrix):.3f}"
    )


def _draw_cells_of_members(assign: Function, weight: float) -> Frame:
    cost = np.sum((BOARD[:, None] - CENTRES) ** 2, axis=-1)
    index = np.asarray(alone(assign, np.array([weight, 0.0, 0.0]), cost), int)
    marks = [dots(BOARD[index == j], kind) for j, kind in enumerate(("a", "b", "g"))]
    marks += [dots(CENTRES[j : j + 1], kind, radius=6) for j, kind in enumerate(("a", "b", "g"))]
    return Frame(
        plane(marks, **VIEW), f"weight of the first member {weight:g}: it gets {np.mean(index == 0):.0%}"
    )


def _draw_by_chance(chance_error: Function, n: float) -> Frame:
    found = [chance_error(np.full(5, 0.2), int(k)) for k in SIZES]
    return marked(SIZES, found, n, labels=("draws", "error by chance"), range=(0.02, 1.0), log="xy")


def _draw_displaced(displaced_histogram: Function, t: float) -> Frame:
    a = np.exp(-200.0 * (BINS - 0.2) ** 2)
    b = np.exp(-60.0 * (BINS - 0.75) ** 2)
    levels = np.minimum(np.cumsum(a / a.sum())[:, None], np.cumsum(b / b.sum()))
    corners = np.pad(levels, ((1, 0), (1, 0)))
    plan = np.maximum(np.diff(np.diff(corners, axis=0), axis=1), 0.0)  # the monotone plan: equal levels meet
    found = displaced_histogram(plan[None], Grid((BINS,)), t)[0]
    marks = [curve(BINS, a / a.sum(), "g"), curve(BINS, b / b.sum(), "g"), curve(BINS, found)]
    svg = chart(marks, x=(0, 1), y=(0, 0.45), labels=("x", "mass"))
    return Frame(svg, f"t = {t:g}: mean {float(np.sum(found * BINS)):.4f}, mass {np.sum(found):.3f}")


def _draw_angles(spherical_cost: Function, degrees: float) -> Frame:
    turns = tuple(float(a) for a in range(0, 181, 15))
    x = np.array([[1.0, 0.0]])
    y = np.stack([np.cos(np.deg2rad(turns)), np.sin(np.deg2rad(turns))], axis=-1)
    found = list(alone(spherical_cost, x, y)[0])
    return marked(turns, found, degrees, labels=("degrees", "cost"), range=(-0.1, 3.3))


def _draw_towards_the_data(denoising_velocity: Function, t: float) -> Frame:
    v = alone(denoising_velocity, BOARD, np.asarray(t), CENTRES, sigma=1.0, tau=0.3, weights=EVEN)
    svg = plane([arrows(BOARD, BOARD + 0.15 * v), dots(CENTRES, "b", radius=5)], **VIEW)
    return Frame(svg, f"t = {t:g}: mean speed {np.mean(np.linalg.norm(v, axis=-1)):.3f}")


def _draw_flow_to_a_gaussian(gaussian_denoising_map: Function, t: float) -> Frame:
    x = (
        MU.mean
        + np.random.default_rng(0).standard_normal((40, 2)) @ np.linalg.cholesky(MU.cov + 0.64 * np.eye(2)).T
    )
    points = alone(gaussian_denoising_map, x, MU, sigma=0.8, t=np.asarray([t]))
    svg = plane([ellipse(MU, "b"), dots(x, "g", radius=1.5), dots(points)], x=(-3, 5), y=(-2.2, 3))
    return Frame(
        svg, f"t = {t:g}: variances of the points {np.var(points[:, 0]):.3f} and {np.var(points[:, 1]):.3f}"
    )


def _draw_what_is_left(denoising_variance: Function, t: float) -> Frame:
    grid = np.linspace(-3.0, 3.0, 61)
    x = np.stack([grid, np.full(61, 0.8)], axis=-1)
    found = alone(denoising_variance, x, np.asarray(t), CENTRES, sigma=1.0, tau=0.3, weights=EVEN)
    svg = chart([curve(grid, found)], x=(-3, 3), y=(0, 8), labels=("place", "variance of the velocity"))
    return Frame(svg, f"t = {t:g}: at most {np.max(found):.3f}")


def _draw_particles(linear_path: Function, t: float) -> Frame:
    rng = np.random.default_rng(0)
    x0 = [-1.5, 0.0] + 0.5 * rng.standard_normal((16, 2))
    x1 = [1.5, 0.0] + 0.5 * rng.standard_normal((16, 2))
    x, u = alone(linear_path, x0, x1, np.full(16, t))
    marks = [dots(x0, "g"), dots(x1, "g"), arrows(x, x + 0.25 * u), dots(x, radius=3)]
    return Frame(
        plane(marks, x=(-3, 3.8), y=(-2, 2)),
        f"t = {t:g}: mean {x.mean(0)[0]:.3f}, mean velocity {u.mean(0)[0]:.3f}",
    )


@lru_cache
def _populations() -> tuple[np.ndarray, list[np.ndarray]]:
    x = np.random.default_rng(1).standard_normal((12, 2))
    return x, [x + np.array([s, 0.0]) for s in SHIFTS]


def _draw_discrepancy(sq_mmd: Function, shift: float) -> Frame:
    x, moved = _populations()
    found = [alone(sq_mmd, x, y) for y in moved]
    return marked(SHIFTS, found, shift, labels=("shift", "squared MMD"), range=(-0.05, 0.8))


def _draw_earth_mover(wasserstein1: Function, shift: float) -> Frame:
    x, moved = _populations()
    found = [alone(wasserstein1, x, (1.5 * y)[::-1].copy()) for y in moved]
    return marked(SHIFTS, found, shift, labels=("shift", "distance"), range=(0, 4.5))


def _draw_unread(unread_floor: Function, curvature: float) -> Frame:
    values = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
    share = np.linspace(0.0, 1.0, 9)
    fractions = np.stack([share, 1 - share], axis=-1)
    found = [unread_floor(fractions, (share + c * share**2)[:, None]) for c in values]
    return marked(values, found, curvature, labels=("curvature", "floor"), range=(-0.05, 1.2))


def _draw_shifted(ideal_shift: Function, length: float) -> Frame:
    x = [-1.0, 0.0] + np.array([0.4, 0.9]) * np.random.default_rng(1).standard_normal((20, 2))
    y = [-1.0 + length, 0.0] + np.array([0.9, 0.4]) * np.random.default_rng(2).standard_normal((20, 2))
    found = alone(ideal_shift, x, y)
    gap = np.linalg.norm(found.mean(0) - y.mean(0))
    marks = [dots(x, "g"), dots(y, "b"), dots(found, radius=3)]
    return Frame(plane(marks, **VIEW), f"true shift {length:g}: the means differ by {gap:.2g}")


def _draw_guided(guidance: Function, weight: float) -> Frame:
    with_label, without = np.array([[1.0, 0.8]]), np.array([[1.0, -0.3]])
    v = guidance(with_label, without, weight)
    start = np.zeros((1, 2))
    marks = [arrows(start, without, "g"), arrows(start, with_label, "b"), arrows(start, v)]
    return Frame(plane(marks, x=(-2, 3), y=(-1.2, 4)), f"w = {weight:g}: velocity {pair(v[0])}")


def _draw_falling(exponential_decay: Function, step: float) -> Frame:
    steps = tuple(float(k) for k in range(0, 100_001, 10_000))
    found = [exponential_decay(int(k), base=1e-3) for k in steps]
    return marked(steps, found, step, labels=("step", "learning rate"), range=(0, 1.1e-3))


def _draw_transported(grid_softmin: Function, eps: float) -> Frame:
    grid, potential = Grid((BINS,)), 0.1 * np.sin(9.0 * BINS)
    weights = np.full(21, 1 / 21)
    found = grid_softmin(grid, potential[None], weights[None], np.array([eps]))[0]
    hard = np.min((BINS[:, None] - BINS) ** 2 - potential, axis=1)
    svg = chart(
        [curve(BINS, hard, "g"), curve(BINS, found)], x=(0, 1), y=(-0.2, 0.6), labels=("x", "soft minimum")
    )
    return Frame(svg, f"eps = {eps:g}: {np.mean(found - hard):.4f} above the minimum, in the mean")


SLIDERS = [
    Slider(
        *("GWFM-9", "mean_displacement", "Paths that cross"),
        "Points that meet share a velocity: at half time nobody goes up or down.",
        *("t", TIMES, _draw_crossing, ("displacement reversed", "nobody meets", "all meet"), 4),
    ),
    Slider(
        *("GWFM-108", "outer_plan", "Batches of unequal sizes"),
        "Between as many it is a permutation, otherwise members are divided.",
        *("number of targets", (4.0, 6.0, 8.0, 10.0, 12.0, 16.0), _draw_between_batches),
        *(("the dearest", "product plan", "rows only"), 3),
    ),
    Slider(
        *("SEMI-1", "assign", "Weight of a member"),
        "Which source goes to which member: the larger a weight, the larger the cell.",
        *("weight", (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0), _draw_cells_of_members),
        *(("weights added", "without weights", "the dearest"), 3),
    ),
    Slider(
        *("SEMI-3", "chance_error", "Number of draws"),
        "How wrong the shares of five members are by chance alone.",
        *("draws", SIZES, _draw_by_chance, ("normal limit", "L1", "of one draw more")),
    ),
    Slider(
        *("META-OT-9", "displaced_histogram", "Displacement on a grid"),
        "One hump moves and widens; a mixture would have two.",
        *("t", TIMES, _draw_displaced, ("time reversed", "mixture of the marginals"), 4),
    ),
    Slider(
        *("META-OT-7", "grid_softmin", "Soft minimum on a grid"),
        "Axis by axis, and the same numbers.",
        *(
            "eps",
            (1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
            _draw_transported,
            ("half of eps", "distances not squared", "the sign"),
            2,
        ),
    ),
    Slider(
        *("META-OT-8", "spherical_cost", "Angle on the sphere"),
        "The cost is the angle, but for the guard at both ends.",
        *("degrees", tuple(float(a) for a in range(0, 181, 15)), _draw_angles),
        *(("the chord", "squared", "of the opposite point"), 4),
    ),
    Slider(
        *("META-FM-12", "denoising_velocity", "From noise to three clouds"),
        "Where particles go, on average, from each place.",
        *("t", TIMES[:8], _draw_towards_the_data),
        *(("without 1 - t", "away from the centres", "to the mean of the centres"), 5),
    ),
    Slider(
        *("META-FM-13", "gaussian_denoising_map", "The flow between Gaussians"),
        "At the end the points have the covariance of the ellipse.",
        *("t", TIMES, _draw_flow_to_a_gaussian, ("to the end", "without the root", "σ² for σ"), 8),
    ),
    Slider(
        *("META-FM-15", "denoising_variance", "The floor of the loss"),
        "No field can do better: velocities of particles at one place differ.",
        *(
            "t",
            TIMES[:8],
            _draw_what_is_left,
            ("of one coordinate", "of one centre", "at the other time", "all the noise"),
        ),
    ),
    Slider(
        *("META-FM-8", "linear_path", "Particles on straight lines"),
        "From noise to a target, with a quarter of the velocity.",
        *("t", TIMES, _draw_particles, ("reversed", "the velocity's sign"), 3),
    ),
    Slider(
        *("META-FM-10", "sq_mmd", "Kernels see a shift"),
        "0 for copies, and it saturates.",
        *(
            "shift",
            SHIFTS,
            _draw_discrepancy,
            ("the root", "one kernel", "the sum over kernels", "cross term once"),
            4,
        ),
    ),
    Slider(
        *("META-FM-9", "wasserstein1", "A shift, and particles that spread"),
        "The mean length of the ways, in whatever order the particles come.",
        *("shift", SHIFTS, _draw_earth_mover),
        *(("the root of the mean square", "the sum of distances", "rows as they are paired"), 4),
    ),
    Slider(
        *("META-FM-18", "ideal_shift", "The best shift"),
        "The mean is right, the shape is not.",
        *("true shift", SHIFTS, _draw_shifted, ("μ0 not removed", "half of the way"), 6),
    ),
    Slider(
        *("META-FM-19", "unread_floor", "What a map cannot know"),
        "If shifts are not linear in the fractions, no map of particles alone meets them.",
        *(
            "curvature",
            (0.0, 0.25, 0.5, 1.0, 1.5, 2.0),
            _draw_unread,
            ("one shift for all", "sum for mean"),
            3,
        ),
    ),
    Slider(
        *("WFM-AppE2-guidance", "guidance", "Weight of the guidance"),
        "Further from the velocity without a label (grey) than the one with it.",
        *("w", (-0.5, 0.0, 0.5, 1.0, 2.0), _draw_guided, ("the sign", "labels exchanged", "w for 1 + w")),
    ),
    Slider(
        *("WFM-AppE1-adam", "exponential_decay", "Decay of the learning rate"),
        "Three per cent less every thousand steps.",
        *("step", tuple(float(k) for k in range(0, 100_001, 10_000)), _draw_falling),
        *(("natural exponential", "0.97 every step", "constant"),),
    ),
]
