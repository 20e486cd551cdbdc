"""Pictures of the report: what a formula does, drawn by the functions that implement it.

Each is a function of the axes it draws on, listed in ``PICTURES`` with its formula and its caption. They need
matplotlib, which comes with the ``figures`` extra.
"""

import base64
import io
import math
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from refwfm import bures, generation
from refwfm.barycenter import barycenter
from refwfm.bures import Tangent
from refwfm.clouds import uniform
from refwfm.interpolation import displacement
from refwfm.measures import Gaussian
from refwfm.transport.entropic import entropic_map, epsilon_schedule
from refwfm.transport.exact import assignment
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost
from refwfm.transport.sliced import random_directions, sq_sliced_distance

RIGHT, WRONG, THIRD, GREY = "#33608c", "#c4392f", "#2f8f5b", "#8a8f96"
EAST = np.array([1.0, 0.0])
MU = Gaussian(np.array([0.0, 0.0]), np.array([[1.2, 1.1], [1.1, 1.1]]))
NU = Gaussian(np.array([9.0, 0.5]), np.array([[1.2, -1.0], [-1.0, 1.0]]))


class Picture(NamedTuple):
    """A drawing, its caption in plain words, and its size in inches."""

    draw: Callable[[Any], None]
    caption: str
    size: tuple[float, float] = (5.2, 2.5)


# Gaussians


def _ellipse(ax: Any, mu: Gaussian, color: Any, **options: Any) -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    x, y = mu.mean[:, None] + 1.5 * np.linalg.cholesky(mu.cov) @ circle
    ax.plot(x, y, color=color, **options)


def geodesic(ax: Any) -> None:
    """WFM-8, and the straight line between covariances below it."""
    times = np.linspace(0.0, 1.0, 7)
    for t in times:
        _ellipse(ax, bures.interpolate(MU, NU, t), RIGHT, lw=1.6)
        straight = Gaussian((1 - t) * MU.mean + t * NU.mean - [0, 5.0], (1 - t) * MU.cov + t * NU.cov)
        _ellipse(ax, straight, GREY, lw=1.2)
    ax.text(-2.0, 2.2, "geodesic", color=RIGHT)
    ax.text(-2.0, -2.6, "straight line between the covariances", color=GREY)
    ax.set_aspect("equal")
    ax.set_axis_off()


def printed_path(ax: Any) -> None:
    """WFM-2: distance from the source along both curves."""
    times = np.linspace(0.0, 1.0, 41)
    log = bures.log(MU, NU)
    for sign, color, label in (
        (1, RIGHT, "exp(t log), as meant"),
        (-1, WRONG, "exp((1 - t) log), as printed"),
    ):
        scale = times if sign > 0 else 1.0 - times
        distances = [bures.sq_distance(MU, bures.exp(MU, Tangent(s * log.mean, s * log.lift))) for s in scale]
        ax.plot(times, distances, color=color, label=label)
    ax.set(xlabel="t", ylabel="distance² from the source")
    ax.legend(frameon=False)


def energy(ax: Any) -> None:
    """WFM-6: energy along the geodesic and along the straight line between covariances."""
    times = np.linspace(0.0, 1.0, 60)
    middle = [Gaussian((1 - t) * MU.mean + t * NU.mean, (1 - t) * MU.cov + t * NU.cov) for t in times]
    rate = bures.EuclideanTangent(NU.mean - MU.mean, NU.cov - MU.cov)
    other = [bures.sq_tangent_norm(mu, bures.from_euclidean(mu.cov, rate)) for mu in middle]
    optimal = [bures.sq_tangent_norm(*bures.path(MU, NU, t)) for t in times]
    offset = float(bures.sq_distance(MU, NU))
    ax.plot(times, other, color=GREY, label=f"straight line between covariances: {np.mean(other):.2f}")
    ax.plot(times, optimal, color=RIGHT, label=f"geodesic: {np.mean(optimal):.2f} = squared distance")
    ax.set(xlabel="t", ylabel="kinetic energy", ylim=(0.98 * offset, None))
    ax.legend(frameon=False)


def steps_to_the_target(ax: Any) -> None:
    """WFM-Alg2 with the true field: error of the multiplicative and of the additive step."""

    def additive(mu: Gaussian, v: Tangent, h: float) -> tuple[Gaussian, Any]:
        rate = v.lift @ mu.cov
        return Gaussian(mu.mean + h * v.mean, mu.cov + h * (rate + rate.mT)), 0.0

    numbers = [1, 2, 4, 8, 16, 32, 64]
    for step, color, label in (
        (generation.exponential_step, RIGHT, "Algorithm 2"),
        (additive, WRONG, "Euler step of the covariance"),
    ):
        errors = []
        for n in numbers:
            mu = MU
            for k in range(n):
                mu = step(mu, bures.velocity(MU, NU, k / n), 1.0 / n)[0]
            errors.append(max(float(np.max(np.abs(mu.cov - NU.cov))), 1e-17))
        ax.loglog(numbers, errors, "o-", color=color, label=label, ms=4)
    ax.set(xlabel="number of steps N", ylabel="error of the covariance", ylim=(1e-17, None))
    ax.legend(frameon=False)


def barycenter_of_ellipses(ax: Any) -> None:
    """WFM-Barycenter: three covariances, their barycenter and their average."""
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in (0.1, 0.9, 2.2)]
    covs = np.stack([turn @ np.diag([3.0, 0.1]) @ turn.T for turn in turns])
    centre = np.zeros(2)
    for cov in covs:
        _ellipse(ax, Gaussian(centre, cov), GREY, lw=1.0)
    _ellipse(ax, barycenter(Gaussian(np.zeros((3, 2)), covs)).gaussian, RIGHT, lw=2.0)
    _ellipse(ax, Gaussian(centre, covs.mean(axis=0)), WRONG, lw=1.2, ls="--")
    ax.text(3.2, 1.2, "three Gaussians", color=GREY)
    ax.text(3.2, 0.4, "their barycenter", color=RIGHT)
    ax.text(3.2, -0.4, "average of the covariances", color=WRONG)
    ax.set_xlim(-3.0, 7.5)
    ax.set_aspect("equal")
    ax.set_axis_off()


# Point clouds


def _clouds(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A blob and a ring."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    ring = 1.6 * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + 0.08 * rng.standard_normal((n, 2))
    return 0.45 * rng.standard_normal((n, 2)), ring


def displaced_clouds(ax: Any) -> None:
    """WFM-4: five times of the interpolation, side by side."""
    x, y = _clouds()
    images = y[assignment(sq_euclidean_cost(x, y))]
    for i, t in enumerate(np.linspace(0.0, 1.0, 5)):
        points = displacement(x + 4.0 * i * EAST, images + 4.0 * i * EAST, t)
        ax.scatter(*points.T, s=9, color=RIGHT, lw=0)
        ax.text(4.0 * i, -2.4, f"t = {t:g}", ha="center", color=GREY)
    ax.set_aspect("equal")
    ax.set_axis_off()


def convergence(ax: Any) -> None:
    """WFM-12: error of the marginals against the number of iterations."""
    x, y = _clouds()
    cost, weights = sq_euclidean_cost(x, y), np.full(len(x), 1.0 / len(x))
    counts = np.unique(np.geomspace(1, 500, 14).astype(int))
    for eps, color in ((1.0, THIRD), (0.1, RIGHT), (0.01, WRONG)):
        errors = [_marginal_error(cost, weights, eps, int(n)) for n in counts]
        ax.loglog(counts, np.maximum(errors, 1e-17), "o-", ms=3, color=color, label=f"eps = {eps:g}")
    ax.set(xlabel="iterations", ylabel="error of the marginals", ylim=(1e-17, 3.0))
    ax.legend(frameon=False)


def _marginal_error(cost: np.ndarray, weights: np.ndarray, eps: float, n: int) -> float:
    result = sinkhorn(cost, weights, weights, eps=eps, tol=None, max_iter=n, require=False)
    return float(result.row_error + result.col_error)


def entropic_arrows(ax: Any) -> None:
    """WFM-13: where the map sends the points, as meant and as printed."""
    x, y = _clouds(24)
    weights, eps = np.full(len(x), 1.0 / len(x)), 0.2
    g = sinkhorn(sq_euclidean_cost(x, y), weights, weights, eps=eps, tol=1e-9).g
    meant = entropic_map(x, y, weights, g, eps=eps)
    for shift, images, color, label in (
        (0.0, meant, RIGHT, "x - ½∇f, as meant"),
        (6.5, 2.0 * meant - x, WRONG, "x - ∇f, as printed"),
    ):
        ax.scatter(*(y + shift * EAST).T, s=14, color=GREY, lw=0)
        for start, end in zip(x + shift * EAST, images + shift * EAST, strict=True):
            ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": color, "lw": 0.9})
        ax.text(shift, -3.6, label, ha="center", color=color)
    ax.set(xlim=(-3.6, 10.1), ylim=(-3.9, 3.4))
    ax.set_aspect("equal")
    ax.set_axis_off()


def rate_of_the_map(ax: Any) -> None:
    """WFM-14: error of the entropic map along the schedule, with its spread."""
    rng = np.random.default_rng(0)
    sizes = [16, 32, 64, 128, 256]
    for d, color in ((1, RIGHT), (2, THIRD)):
        matrix = np.diag(np.linspace(1.5, 0.7, d))
        errors = [[_map_error(rng, n, d, matrix) for _ in range(4)] for n in sizes]
        mean, spread = np.mean(errors, axis=1), np.std(errors, axis=1)
        ax.errorbar(sizes, mean, spread, fmt="o-", ms=4, color=color, capsize=2, label=f"d = {d}")
        bound = np.array([math.log(n) * n ** (-2.0 / (d + 4)) for n in sizes])
        ax.plot(sizes, bound * mean[0] / bound[0], "--", lw=1, color=color)
    ax.set(xscale="log", yscale="log", xlabel="number of points n", ylabel="mean squared error")
    ax.set_xticks(sizes, [f"{n}" for n in sizes])
    ax.minorticks_off()
    ax.legend(frameon=False)


def _map_error(rng: np.random.Generator, n: int, d: int, matrix: np.ndarray) -> float:
    x, y = rng.uniform(-1, 1, (n, d)), rng.uniform(-1, 1, (n, d)) @ matrix
    weights, eps = np.full(n, 1.0 / n), epsilon_schedule(n, d, 0.3)
    g = sinkhorn(sq_euclidean_cost(x, y), weights, weights, eps=eps, tol=1e-3).g
    return float(np.mean(np.sum((entropic_map(x, y, weights, g, eps=eps) - x @ matrix) ** 2, axis=-1)))


def directions(ax: Any) -> None:
    """GWFM-105: error of the sliced distance against the number of directions."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    shift = np.array([1.0, -2.0, 0.5])
    truth = float(shift @ shift) / 3.0
    numbers = [2**k for k in range(1, 11)]
    errors = []
    for n in numbers:
        found = [
            float(sq_sliced_distance(uniform(x), uniform(x + shift), random_directions(x, rng=rng, n_proj=n)))
            for _ in range(40)
        ]
        errors.append(np.sqrt(np.mean((np.array(found) - truth) ** 2)))
    ax.loglog(numbers, errors, "o-", ms=4, color=RIGHT, label="root mean squared error, 40 draws")
    ax.loglog(numbers, errors[0] * np.sqrt(numbers[0] / np.array(numbers)), "--", color=GREY, label="1 / √K")
    ax.set(xlabel="number of directions K", ylabel="error")
    ax.legend(frameon=False)


PICTURES = {
    "WFM-2": Picture(
        printed_path, "The printed curve starts at the target: its distance from the source falls to zero."
    ),
    "WFM-4": Picture(displaced_clouds, "Every point moves on a straight line to its image.", (5.2, 1.5)),
    "WFM-6": Picture(energy, "The energy of the geodesic is constant, and on average the least."),
    "WFM-8": Picture(geodesic, "Seven times between two Gaussians.", (5.2, 3.2)),
    "WFM-12": Picture(convergence, "The smaller eps is, the more iterations the plan needs."),
    "WFM-13": Picture(
        entropic_arrows, "For the cost ‖x - y‖² the printed map goes twice as far.", (5.2, 2.9)
    ),
    "WFM-14": Picture(
        rate_of_the_map,
        "From the uniform law to an affine image of it. The dashed lines fall with the rate of the theorem, "
        "which is an upper bound.",
    ),
    "WFM-Alg2": Picture(
        steps_to_the_target,
        "With the true field the multiplicative step is exact for every N, an additive one is not.",
    ),
    "WFM-Barycenter": Picture(
        barycenter_of_ellipses, "The barycenter is smaller than the average of the covariances.", (5.2, 2.0)
    ),
    "GWFM-105": Picture(directions, "Between translates the distance is known: ‖v‖² / d."),
}
"""Pictures by the id of their formula."""


def figure(id: str, /) -> str:
    """HTML of the picture of a formula; a note where matplotlib is missing; nothing where there is none."""
    if id not in PICTURES:
        return ""
    if find_spec("matplotlib") is None:
        return '<p class="soft">The picture needs matplotlib: <code>pip install "refwfm[figures]"</code>.</p>'
    picture = PICTURES[id]
    source = base64.b64encode(svg(picture).encode()).decode()
    caption = escape(picture.caption)
    return (
        f'<figure><img src="data:image/svg+xml;base64,{source}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def svg(picture: Picture, /) -> str:
    """Draw a picture; the same text in every run."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "refwfm", "font.size": 9, "axes.spines.top": False}):
        canvas = Figure(figsize=picture.size, layout="constrained")
        ax = canvas.add_subplot()
        ax.spines["right"].set_visible(False)
        picture.draw(ax)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
