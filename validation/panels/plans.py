"""Sliders of transport plans between clouds: exact, entropic, rounded, their potentials and maps."""

from functools import lru_cache
from typing import Any

import numpy as np

from refwfm.clouds import uniform
from refwfm.transport.entropic import sinkhorn_divergence
from refwfm.transport.sinkhorn import log_plan, plan, sinkhorn, sq_euclidean_cost
from refwfm.validation.panels.plot import arrows, cells, chart, curve, dots, plane
from refwfm.validation.panels.slider import Frame, Function, Slider, alone, marked

EPS = (2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
SIZES = (3.0, 5.0, 8.0, 12.0, 16.0, 24.0)
VIEW = {"x": (-2.6, 2.6), "y": (-1.75, 1.75)}
POINTS = np.linspace(0.0, 1.0, 14)
A = np.exp(-20.0 * (POINTS - 0.25) ** 2) + 0.05
A = A / A.sum()
B = np.exp(-40.0 * (POINTS - 0.45) ** 2) + np.exp(-60.0 * (POINTS - 0.9) ** 2) + 0.02
B = B / B.sum()
COST = (POINTS[:, None] - POINTS) ** 2
AXES = {"x": (-0.05, 1.05), "y": (-0.05, 1.05), "labels": ("target y", "source x")}


def _clouds(n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A blob and a ring."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return 0.4 * rng.standard_normal((n, 2)), 1.4 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@lru_cache
def _solved(eps: float) -> Any:
    """Entropic plan between them."""
    x, y = _clouds()
    a = np.full(len(x), 1.0 / len(x))
    return sinkhorn(sq_euclidean_cost(x, y), a, a, eps=eps, tol=1e-4)


@lru_cache
def _on_the_line(eps: float, n: int | None = None) -> Any:
    """Entropic plan between the humps, after n iterations."""
    options: dict[str, Any] = {"tol": 1e-6} if n is None else {"tol": None, "max_iter": n, "require": False}
    return sinkhorn(COST, A, B, eps=eps, **options)


def _moved(x: np.ndarray, images: np.ndarray, y: np.ndarray, says: str) -> Frame:
    return Frame(plane([dots(y, "g"), arrows(x, images)], **VIEW), says)


def _draw_matched(assignment: Function, n: float) -> Frame:
    x, y = _clouds(int(n))
    found = np.asarray(alone(assignment, sq_euclidean_cost(x, y)), int)
    return _moved(
        x, y[found], y, f"{n:g} points: mean squared distance {np.mean(np.sum((x - y[found]) ** 2, -1)):.3f}"
    )


def _draw_distance(sq_wasserstein2: Function, shift: float) -> Frame:
    x, y = _clouds()
    shifts = tuple(float(s) for s in np.linspace(0.0, 2.0, 9))
    found = [alone(sq_wasserstein2, uniform(x), uniform(y + np.array([s, 0.0]))) for s in shifts]
    return marked(shifts, found, shift, labels=("shift", "squared distance"), range=(0.0, 6.0))


def _draw_optimal(transport_plan: Function, power: float) -> Frame:
    found = alone(transport_plan, np.abs(POINTS[:, None] - POINTS) ** power, A, B)
    matrix = np.asarray(getattr(found, "plan", found))
    cost = np.sum(np.abs(POINTS[:, None] - POINTS) ** power * matrix)
    errors = np.abs(matrix.sum(0) - B).sum() + np.abs(matrix.sum(1) - A).sum()
    svg = chart([cells(matrix, POINTS, POINTS)], **AXES)
    return Frame(svg, f"cost |x - y|^{power:g}: {cost:.4f}; error of the marginals {errors:.2g}")


def _draw_entropic(sinkhorn: Function, eps: float) -> Frame:
    found = sinkhorn(COST, A, B, eps=eps / 10, tol=1e-6)
    matrix = plan(COST, A, B, found)
    svg = chart([cells(matrix, POINTS, POINTS)], **AXES)
    return Frame(svg, f"eps = {eps / 10:g}: {int(found.n_iter)} iterations, cost {np.sum(COST * matrix):.4f}")


def _draw_soft(softmin: Function, eps: float) -> Frame:
    grid = np.linspace(0.0, 1.0, 41)
    cost, potential = (grid[:, None] - POINTS) ** 2, 0.2 * np.sin(9.0 * POINTS)
    found = alone(softmin, cost, potential, B, np.asarray(eps / 10))
    hard = np.min(cost - potential, axis=1)
    marks = [curve(grid, hard, "g"), curve(grid, np.asarray(found))]
    says = f"eps = {eps / 10:g}: {np.mean(found - hard):.3f} above the minimum, in the mean"
    return Frame(chart(marks, x=(0, 1), y=(-0.4, 0.8), labels=("x", "soft minimum")), says)


def _draw_dual(dual_value: Function, n: float) -> Frame:
    counts = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    solved = [_on_the_line(0.01, int(k)) for k in counts]
    found = [alone(dual_value, COST, A, B, each) for each in solved]
    labels = ("iterations", "dual value")
    return marked(counts, found, n, labels=labels, range=(0.0, 0.16), log="x")


def _draw_potential(extend_potential: Function, eps: float) -> Frame:
    grid = np.linspace(-0.2, 1.2, 41)
    found = _on_the_line(eps / 10)
    f = alone(extend_potential, grid[:, None], POINTS[:, None], B, found.g, eps=np.array([eps / 10]))
    atoms = np.stack([POINTS, found.f], axis=-1)
    svg = chart(
        [curve(grid, f), dots(atoms, "b", radius=3)], x=(-0.2, 1.2), y=(-0.5, 0.9), labels=("x", "f(x)")
    )
    error = np.max(np.abs(np.interp(POINTS, grid, f) - found.f))
    return Frame(
        svg, f"eps = {eps / 10:g}: the curve and the potential on the atoms differ by {error:.3f} at most"
    )


def _draw_arrows_of_the_map(entropic_map: Function, eps: float) -> Frame:
    x, y = _clouds()
    b = np.full(len(y), 1.0 / len(y))
    images = alone(entropic_map, x, y, b, _solved(eps).g, eps=np.array([eps]))
    return _moved(
        x, images, y, f"eps = {eps:g}: mean length {np.mean(np.linalg.norm(images - x, axis=-1)):.3f}"
    )


def _draw_means_of_rows(barycentric_projection: Function, eps: float) -> Frame:
    x, y = _clouds()
    a = np.full(len(x), 1.0 / len(x))
    matrix = plan(sq_euclidean_cost(x, y), a, a, _solved(eps))
    images = alone(barycentric_projection, matrix, y)
    return _moved(
        x, images, y, f"eps = {eps:g}: mean length {np.mean(np.linalg.norm(images - x, axis=-1)):.3f}"
    )


@lru_cache
def _divergence(eps: float) -> Any:
    x, y = _clouds()
    return sinkhorn_divergence(uniform(x), uniform(y), eps=eps, tol=1e-4)


def _draw_without_bias(debiased_entropic_map: Function, eps: float) -> Frame:
    x, y = _clouds()
    both = _divergence(eps)
    images = alone(
        debiased_entropic_map, x, uniform(x), uniform(y), both.xy.g, both.xx.g, eps=np.array([eps])
    )
    radius = np.mean(np.linalg.norm(images, axis=-1))
    return _moved(x, images, y, f"eps = {eps:g}: mean distance from the centre {radius:.3f}, of the ring 1.4")


def _draw_regularisation(epsilon_schedule: Function, d: float) -> Frame:
    sizes = [10, 100, 1000, 10_000, 100_000]
    values = [float(epsilon_schedule(n, int(d))) for n in sizes]
    marks = [curve(sizes, values), dots(np.stack([sizes, values], -1), radius=3.5)]
    svg = chart(marks, x=(10, 1e5), y=(0.01, 1.0), labels=("number of points n", "eps"), log="xy")
    return Frame(svg, f"d = {d:g}: eps {values[2]:.3g} for 1000 points")


def _draw_rounded(greedy_rounding: Function, eps: float) -> Frame:
    x, y = _clouds()
    a = np.full(len(x), 1.0 / len(x))
    chosen = np.asarray(alone(greedy_rounding, log_plan(sq_euclidean_cost(x, y), a, a, _solved(eps))), int)
    says = f"eps = {eps:g}: {len(set(chosen.tolist()))} of {len(y)} targets are reached"
    return _moved(x, y[chosen], y, says)


def _draw_errors(marginal_error: Function, n: float) -> Frame:
    counts = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    solved = [_on_the_line(0.01, int(k)) for k in counts]
    found = [sum(alone(marginal_error, plan(COST, A, B, each), A, B)) for each in solved]
    labels = ("iterations", "error of both")
    return marked(counts, found, n, labels=labels, range=(1e-3, 2.0), log="xy")


def _draw_divergence(sinkhorn_divergence: Function, eps: float) -> Frame:
    x, _ = _clouds()
    shifts = np.linspace(0.0, 1.0, 6)
    found = [
        float(sinkhorn_divergence(uniform(x), uniform(x + np.array([s, 0.0])), eps=eps, tol=1e-4).value)
        for s in shifts
    ]
    marks = [
        curve(shifts, shifts**2, "g"),
        curve(shifts, found),
        dots(np.stack([shifts, found], -1), radius=3),
    ]
    svg = chart(marks, x=(0, 1), y=(0, 1.05), labels=("shift", "divergence"))
    return Frame(svg, f"eps = {eps:g}: divergence {found[-1]:.4f} of a cloud and itself, moved by 1")


def _draw_on_the_line(quantile_coupling: Function, shape: float) -> Frame:
    weights = np.linspace(1.0, shape, 8)
    weights, b = weights / weights.sum(), np.full(5, 0.2)
    x, y = np.linspace(0.1, 0.9, 8), np.linspace(0.2, 1.0, 5)
    found = alone(quantile_coupling, x, weights, y, b)
    matrix = np.zeros((8, 5))
    np.add.at(matrix, (np.asarray(found.row, int), np.asarray(found.column, int)), found.mass)
    svg = chart([cells(matrix, y, x)], x=(0, 1.15), y=(0, 1), labels=("target y", "source x"))
    return Frame(
        svg, f"last weight {shape:g} times the first: mean cost {np.sum(matrix * (x[:, None] - y) ** 2):.4f}"
    )


SLIDERS = [
    Slider(
        *("WFM-3", "assignment", "Number of points"),
        "The matching of least squared distance: lines never cross.",
        *("number of points", SIZES, _draw_matched, ("dearest",)),
    ),
    Slider(
        *("WFM-3", "sq_wasserstein2", "A ring that moves away"),
        "A blob and a ring, the ring shifted: the squared distance grows by the square of the shift.",
        *("shift", tuple(float(s) for s in np.linspace(0.0, 2.0, 9)), _draw_distance),
        *(("nearest point of each", "mean over all pairs", "not squared"), 4),
    ),
    Slider(
        *("GWFM-1", "transport_plan", "Power of the cost"),
        "Squares are the mass of a pair. For convex costs the plan is monotone, for concave ones mass stays.",
        *(
            "power",
            (0.3, 0.6, 1.0, 1.5, 2.0, 4.0),
            _draw_optimal,
            ("product plan", "filled from a corner", "dearest plan"),
            4,
        ),
    ),
    Slider(
        *("WFM-12", "sinkhorn", "Regularisation of a plan"),
        "The smaller eps is, the nearer the plan is to a line, and the more iterations it takes.",
        *("ten times eps", (*EPS, 0.01), _draw_entropic),
    ),
    Slider(
        *("WFM-12", "softmin", "Soft minimum"),
        "Above the minimum (grey), the nearer the smaller eps is.",
        *(
            "ten times eps",
            EPS,
            _draw_soft,
            ("without the weights", "the sign", "half of eps", "hard minimum"),
            2,
        ),
    ),
    Slider(
        *("WFM-12", "dual_value", "Iterations"),
        "The dual value rises with each iteration, up to the entropic cost.",
        *("iterations", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), _draw_dual),
        *(("f and g not weighted",), 3),
    ),
    Slider(
        *("WFM-U8", "marginal_error", "Iterations, and what is left"),
        "What the marginals of the entropic plan are wrong by.",
        *("iterations", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), _draw_errors),
        best=3,
    ),
    Slider(
        *("WFM-U9", "extend_potential", "A potential at any point"),
        "The curve passes through the potential on the atoms.",
        *(
            "ten times eps",
            EPS,
            _draw_potential,
            ("without the weights", "the sign", "cost ‖x - y‖² / 2", "twice eps"),
        ),
    ),
    Slider(
        *("WFM-13", "entropic_map", "The entropic map"),
        "From a blob to a ring: for large eps all points go to the centre.",
        *("eps", EPS, _draw_arrows_of_the_map),
        *(("as printed: x - ∇f", "x + ∇f / 2", "the likeliest atom", "mean of all"), 3),
    ),
    Slider(
        *("WFM-13", "barycentric_projection", "Means of the rows"),
        "The same map, as the mean of each row of the plan.",
        *("eps", EPS, _draw_means_of_rows, ("not divided by the row's mass", "the likeliest atom")),
    ),
    Slider(
        *("WFM-13", "debiased_entropic_map", "Without the pull to the centre"),
        "What eps pulls inwards is given back.",
        *(
            "eps",
            EPS,
            _draw_without_bias,
            ("not debiased", "bias added", "as printed, without the halves"),
            1,
        ),
    ),
    Slider(
        *("WFM-14", "epsilon_schedule", "Dimension"),
        "The schedule: the higher the dimension, the slower eps may fall.",
        *("dimension d", (1.0, 2.0, 4.0, 8.0, 16.0), _draw_regularisation),
        *(
            (
                "as printed: balance with eps^(-d/2 - 1)",
                "n^(-2/(d+4)), the rate itself",
                "the sign of the exponent",
            ),
            1,
        ),
    ),
    Slider(
        *("WFM-A.1", "greedy_rounding", "From a plan to a permutation"),
        "Largest entries first; every target is reached once.",
        *("eps", EPS, _draw_rounded),
        *(("likeliest partner of each row", "row after row", "smallest first"), 3),
    ),
    Slider(
        *("WFM-Div", "sinkhorn_divergence", "Divergence of a cloud and its shift"),
        "Between translates it is the squared shift (grey) for every eps, and 0 for none.",
        *("eps", (5.0, 2.0, 1.0, 0.5, 0.2), _draw_divergence),
    ),
    Slider(
        *("GWFM-106", "quantile_coupling", "Weights on the line"),
        "Equal levels meet, whatever the weights are.",
        *(
            "last weight over the first",
            (0.1, 0.3, 1.0, 3.0, 10.0),
            _draw_on_the_line,
            ("high levels meet low ones",),
            3,
        ),
    ),
]
