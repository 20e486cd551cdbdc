"""Sliders of clouds: interpolation, generation, sliced and linearised transport, sources, metrics."""

from functools import lru_cache
from typing import Any

import numpy as np

from refwfm.clouds import uniform
from refwfm.sources.clouds import CholeskyNormal, PureNoise
from refwfm.transport.exact import assignment, sq_wasserstein2
from refwfm.transport.linearized import align as aligned_to
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.validation.panels.plot import Mark, arrows, cells, chart, curve, dots, line, plane
from refwfm.validation.panels.slider import Frame, Function, Slider, alone, marked

TIMES = tuple(float(t) for t in np.linspace(0.0, 1.0, 9))
SHIFTS = tuple(float(s) for s in np.linspace(0.0, 2.0, 9))
ANGLES = tuple(float(a) for a in range(0, 361, 30))
DIRECTIONS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
NOISE = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
VIEW = {"x": (-2.8, 2.8), "y": (-1.75, 1.75)}
ARM = np.stack([np.linspace(0.3, 1.5, 9), 0.15 * np.sin(np.arange(9.0))], axis=-1)
"""A cloud that has no symmetry."""


def _pair(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A blob on the left, and a ring on the right in the order of the blob's points."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    x = [-1.5, 0.0] + 0.35 * rng.standard_normal((n, 2))
    y = [1.5, 0.0] + 0.9 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return x, y[assignment(sq_euclidean_cost(x, y))]


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return points @ np.array([[c, s], [-s, c]])


def _ends(x: np.ndarray, y: np.ndarray) -> list[Mark]:
    return [dots(x, "g"), dots(y, "g")]


def _draw_interpolated(displacement: Function, t: float) -> Frame:
    x, y = _pair()
    points = alone(displacement, x, y, np.asarray(t))
    spread = np.sqrt(np.mean(np.sum((points - points.mean(0)) ** 2, axis=-1)))
    return Frame(plane([*_ends(x, y), dots(points, radius=3)], **VIEW), f"t = {t:g}: spread {spread:.3f}")


def _draw_velocities(displacement_velocity: Function, h: float) -> Frame:
    x, y = _pair()
    v = alone(displacement_velocity, x, y)
    says = f"h = {h:g}: mean squared speed {np.mean(np.sum(v**2, axis=-1)):.3f}"
    return Frame(plane([*_ends(x, y), arrows(x, x + h * v)], **VIEW), says)


def _draw_carried(generate_clouds: Function, n: float) -> Frame:
    """A field that turns and pulls inwards: Euler's steps cut corners."""
    source = uniform(np.stack([np.linspace(0.6, 1.6, 6), np.zeros(6)], axis=-1)[None])
    matrix = np.array([[-0.3, -2.5], [2.5, -0.3]])
    end = generate_clouds(lambda cloud, t: cloud.points @ matrix.T, source, n_steps=int(n)).points[0]
    right = np.exp(-0.3) * _turned(source.points[0], np.rad2deg(2.5))
    error = np.max(np.linalg.norm(end - right, axis=-1))
    marks = [dots(source.points[0], "g"), dots(right, "b", radius=4), arrows(source.points[0], end)]
    return Frame(plane(marks, x=(-3.4, 3.4), y=(-0.2, 4.2)), f"{n:g} steps: error {error:.3g}")


SPEEDS = tuple(float(s) for s in np.linspace(0.25, 3.0, 12))


@lru_cache
def _bends(straightness: Function) -> list[float]:
    """Of paths on arcs of a circle, as long as the speed."""
    source = uniform(np.array([[[1.0, 0.0], [0.0, 1.5]]]))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    found = (
        straightness(lambda cloud, t, s=s: s * cloud.points @ turn, source, n_steps=32, method="rk4")
        for s in SPEEDS
    )
    return [float(np.sum(getattr(each, "ratio", each))) for each in found]


def _draw_bent(straightness: Function, speed: float) -> Frame:
    known = [(s / 2) ** 2 / np.sin(s / 2) ** 2 - 1 for s in SPEEDS]
    beside = (curve(SPEEDS, known, "g"),)
    labels = ("radians", "bend")
    return marked(SPEEDS, _bends(straightness), speed, labels=labels, range=(0, 1.5), beside=beside)


def _draw_both_ways(chamfer: Function, shift: float) -> Frame:
    x, y = _pair()
    found = [alone(chamfer, uniform(x), uniform(y[:12] + np.array([s - 3.0, 0.0]))) for s in SHIFTS]
    return marked(SHIFTS, found, shift, labels=("shift", "Chamfer distance"), range=(0, 6.0))


def _draw_on_the_sphere(random_directions: Function, n: float) -> Frame:
    found = random_directions(np.zeros((1, 2)), rng=np.random.default_rng(1), n_proj=int(n))
    found = np.asarray(found).reshape(-1, 2)
    angle = np.linspace(0, 2 * np.pi, 61)
    circle = line(np.stack([np.cos(angle), np.sin(angle)], axis=-1), "g")
    length = np.linalg.norm(found.mean(0))
    svg = plane([circle, dots(found, radius=3)], x=(-2, 2), y=(-1.4, 1.4))
    return Frame(svg, f"{n:g} directions: their mean has length {length:.3f}")


def _draw_sliced(sq_sliced_distance: Function, n: float) -> Frame:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    theta = rng.standard_normal((128, 3))
    theta /= np.linalg.norm(theta, axis=-1, keepdims=True)
    pair = uniform(x[None]), uniform(x[None] + [1.0, -2.0, 0.5])
    found = [sq_sliced_distance(*pair, theta[: int(k)]) for k in DIRECTIONS]
    beside = (line(np.array([(1.0, 1.75), (128.0, 1.75)]), "g"),)
    labels = ("directions", "squared distance")
    return marked(DIRECTIONS, found, n, labels=labels, range=(0.0, 5.0), log="x", beside=beside)


def _draw_lifted(lifted_plan: Function, n: float) -> Frame:
    x, y = _pair(14)
    order = np.argsort(x[:, 1])
    angle = np.pi * np.arange(int(n)) / n
    theta = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    matrix = lifted_plan(uniform(x[order]), uniform(y[order]), theta)
    places = np.arange(14.0)
    svg = chart([cells(matrix, places, places)], x=(-1, 14), y=(-1, 14), labels=("target", "source"))
    return Frame(
        svg, f"{n:g} directions: {int(np.sum(matrix > 1e-12))} pairs share the mass {np.sum(matrix):.3f}"
    )


def _draw_in_order(align: Function, noise: float) -> Frame:
    rng = np.random.default_rng(7)
    x, _ = _pair(16)
    reference = x + np.array([1.5, 0.0])
    cloud = (reference + noise * rng.standard_normal((16, 2)))[rng.permutation(16)]
    vector = alone(align, reference, uniform(cloud))
    mean = np.mean(np.sum((vector - reference) ** 2, axis=-1))
    marks = [dots(reference, "g"), arrows(reference, vector)]
    return Frame(plane(marks, x=(-3, 0.9), y=(-1.4, 1)), f"noise {noise:g}: mean squared distance {mean:.4f}")


def _draw_linearised(sq_linearized_distance: Function, angle: float) -> Frame:
    reference = _turned(ARM, 60.0)
    found, exact = [], []
    for each in ANGLES:
        x, y = uniform(ARM), uniform(_turned(ARM, each)[::-1].copy())
        found.append(alone(sq_linearized_distance, reference, x, y))
        exact.append(float(sq_wasserstein2(x, y)))
    beside = (curve(ANGLES, exact, "g"),)
    return marked(ANGLES, found, angle, labels=("degrees", "squared distance"), range=(0, 4.5), beside=beside)


def _draw_lazy(sq_lazy_distance: Function, noise: float) -> Frame:
    rng = np.random.default_rng(3)
    reference, target = _pair(16)
    start = rng.standard_normal((16, 2))
    vector, found, exact = aligned_to(reference, uniform(target)), [], []
    for each in NOISE:
        x = reference + each * start
        found.append(alone(sq_lazy_distance, x, vector))
        exact.append(float(sq_wasserstein2(uniform(x), uniform(target))))
    beside = (curve(NOISE, exact, "g"),)
    return marked(NOISE, found, noise, labels=("noise", "squared distance"), range=(0, 16), beside=beside)


def _draw_centre(free_support_barycenter: Function, n: float) -> Frame:
    clouds = np.stack([_turned(ARM, a) for a in (0.0, 50.0, 110.0)])
    start = np.random.default_rng(1).standard_normal((9, 2))
    found = free_support_barycenter(uniform(clouds), init=start, max_iter=int(n), require=False)
    marks = [*(dots(cloud, "g") for cloud in clouds), dots(found.points, radius=3.5)]
    cost = np.mean([float(sq_wasserstein2(uniform(found.points), uniform(cloud))) for cloud in clouds])
    return Frame(
        plane(marks, x=(-2, 2), y=(-0.8, 1.8)), f"at most {n:g} iterations: mean squared distance {cost:.4f}"
    )


def _draw_radius(stability_radius: Function, gap: float) -> Frame:
    reference = np.array([[0.0, 0.0], [gap, 0.0], [0.0, 1.5], [gap, 1.5]])
    r = float(alone(stability_radius, reference, uniform(reference + np.array([0.1, 0.2]))))
    angle = np.linspace(0, 2 * np.pi, 41)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    marks = [dots(reference, "b", radius=4), *(line(point + r / 2 * circle) for point in reference)]
    return Frame(
        plane(marks, x=(-2, 4), y=(-1.2, 2.7)),
        f"points {gap:g} apart: radius {r:.3f}, a half of it for each of four",
    )


def _draw_around(sample_barycentric_noise: Function, sigma: float) -> Frame:
    drawn = sample_barycentric_noise(ARM, rng=np.random.default_rng(2), sizes=np.full(12, 9), sigma=sigma)
    noise = np.std(drawn.points - ARM)
    marks = [dots(drawn.points.reshape(-1, 2)), dots(ARM, "g", radius=4)]
    return Frame(
        plane(marks, x=(-1.2, 3), y=(-2.2, 2.2)), f"sigma = {sigma:g}: deviation of the points {noise:.3f}"
    )


def _draw_places_and_scales(sample_pure_noise: Function, spread: float) -> Frame:
    law = PureNoise(mean=spread, low=0.05, high=0.3)
    sizes = np.full(8, 15)
    points = sample_pure_noise(law, rng=np.random.default_rng(3), sizes=sizes, d=2, like=np.zeros(0)).points
    means = points.mean(axis=1)
    marks = [*(dots(cloud, ("a", "b")[i % 2]) for i, cloud in enumerate(points)), dots(means, "g", radius=4)]
    return Frame(
        plane(marks, x=(-4, 4), y=(-3.1, 3.7)),
        f"deviation of the means {spread:g}: of the eight drawn {np.std(means):.3f}",
    )


def _draw_factors(sample_cholesky_normal: Function, sigma: float) -> Frame:
    law = CholeskyNormal(np.array([[0.8, 0.0], [0.5, 0.3]]), sigma * np.array([[1.0, 0.0], [1.0, 1.0]]))
    drawn = sample_cholesky_normal(law, rng=np.random.default_rng(6), sizes=np.full(200, 20)).points
    marks = [dots(cloud, ("a", "b", "g")[i]) for i, cloud in enumerate(drawn[:3])]
    wanted = 0.8**2 + 0.5**2 + 0.3**2 + 3 * sigma**2
    mean = np.mean(np.sum(drawn**2, axis=-1))
    return Frame(
        plane(marks, x=(-4, 4), y=(-3.7, 3.1)),
        f"deviation {sigma:g}: mean square of 200 clouds {mean:.3f}, of the law {wanted:.3f}",
    )


def _draw_loss(cloud_loss: Function, size: float) -> Frame:
    sizes = (1.0, 3.0, 10.0, 30.0, 100.0)
    rng = np.random.default_rng(0)
    found = []
    for n in sizes:
        error = rng.standard_normal((1, int(n), 2))
        error /= np.sqrt(np.mean(np.sum(error**2, axis=-1)))
        found.append(_value(cloud_loss(error, np.zeros_like(error), np.full((1, int(n)), 1 / n))))
    labels = ("points of a cloud", "loss")
    return marked(sizes, found, size, labels=labels, range=(0.3, 150.0), log="xy")


def _value(found: Any) -> float:
    return float(
        np.asarray(getattr(found, "value", found[0] if isinstance(found, tuple) else found)).reshape(-1)[0]
    )


SLIDERS = [
    Slider(
        *("WFM-4", "displacement", "Time of the interpolation"),
        "Every point moves on a straight line to its image.",
        *("t", TIMES, _draw_interpolated, ("time reversed", "without 1 - t", "time squared"), 4),
    ),
    Slider(
        *("WFM-7", "displacement_velocity", "Along the velocity"),
        "The velocity is constant: a whole step arrives at the image.",
        *(
            "h",
            (0.0, 0.25, 0.5, 0.75, 1.0),
            _draw_velocities,
            ("the sign", "the images themselves", "half of it"),
        ),
    ),
    Slider(
        *("WFM-Alg3", "generate_clouds", "Number of Euler steps"),
        "A field that turns: arrows end where the steps do, large dots are where the flow does.",
        *("number of steps", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), _draw_carried),
        *(("without h", "one step too few", "the first point stands still"), 3),
    ),
    Slider(
        *("GWFM-Straightness", "straightness", "Paths that bend"),
        "On arcs of a circle the bend is known (grey): the longer the arc, the larger.",
        *("radians", SPEEDS, _draw_bent),
        *(("not squared", "energy instead of variance", "relative to the energy"), 7),
    ),
    Slider(
        *("Chamfer", "chamfer", "A ring that moves away"),
        "Both directions count: from the blob to a part of the ring, and back.",
        *("shift", SHIFTS, _draw_both_ways, ("one direction only", "the mean of both", "not squared"), 4),
    ),
    Slider(
        *("GWFM-105", "random_directions", "Number of directions"),
        "They lie on the circle, everywhere alike.",
        *("directions", DIRECTIONS, _draw_on_the_sphere),
        *(("points of a cube, normalised", "not normalised", "half of the sphere"), 6),
    ),
    Slider(
        *("GWFM-32", "sq_sliced_distance", "Number of projections"),
        "Between translates the mean over all directions is ‖v‖² / d (grey).",
        *("directions", DIRECTIONS, _draw_sliced, ("not squared", "summed over directions", "times d"), 4),
    ),
    Slider(
        *("GWFM-106", "lifted_plan", "Projections of a plan"),
        "Each direction gives a permutation; their mean spreads the mass.",
        *("directions", (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0), _draw_lifted),
        *(("the product", "one direction", "sorted against each other"), 3),
    ),
    Slider(
        *("GWFM-38", "align", "Alignment to a reference"),
        "In the order of the reference arrows are short, as long as the noise is small.",
        *("noise", NOISE, _draw_in_order, ("by inverses", "not at all", "sorted by a coordinate"), 2),
    ),
    Slider(
        *("GWFM-34", "sq_linearized_distance", "The linearised distance"),
        "Never below the distance itself (grey).",
        *(
            "degrees",
            ANGLES,
            _draw_linearised,
            ("not squared", "without the reference", "aligned by inverses"),
            4,
        ),
    ),
    Slider(
        *("GWFM-41", "sq_lazy_distance", "The lazy distance"),
        "Equal to the distance itself (grey) while the noise is small, and then above it.",
        *("noise", NOISE, _draw_lazy, ("not squared", "mean over coordinates", "distance of the means")),
    ),
    Slider(
        *("GWFM-REF", "free_support_barycenter", "Iterations of the reference"),
        "From noise to the barycenter of three arms.",
        *("iterations", (1.0, 2.0, 3.0, 5.0, 10.0, 20.0), _draw_centre),
    ),
    Slider(
        *("GWFM-37", "stability_radius", "Radius of stability"),
        "As long as the points of a reference stay in such circles their order is the optimal one.",
        *("distance of the points", (0.25, 0.5, 1.0, 1.5, 2.0), _draw_radius),
        *(("half of it", "twice", "its lower bound"), 2),
    ),
    Slider(
        *("GWFM-SRC2", "sample_barycentric_noise", "Noise around a reference"),
        "Twelve clouds; each point is near its own point of the reference.",
        *("sigma", NOISE, _draw_around, ("around the mean of the reference", "one noise for all points"), 2),
    ),
    Slider(
        *("GWFM-SRC1", "sample_pure_noise", "Places and scales of noise"),
        "Eight clouds, each with a mean and a scale of its own.",
        *("deviation of the means", (0.0, 0.25, 0.5, 1.0), _draw_places_and_scales),
        *(("one mean for all clouds", "one scale for all clouds", "points of their own means"), 2),
    ),
    Slider(
        *("WFM-AppD2", "sample_cholesky_normal", "Deviation of the factors"),
        "Three clouds; with no deviation all are of one normal law.",
        *("deviation", (0.0, 0.1, 0.3, 0.5, 0.8), _draw_factors),
        *(("as printed: σ as a variance", "always the mean factor", "twice the deviation"), 2),
    ),
    Slider(
        *("WFM-U7", "cloud_loss", "Points of a cloud"),
        "The same mean squared error gives the same loss, however many points a cloud has.",
        *("points", (1.0, 3.0, 10.0, 30.0, 100.0), _draw_loss, ("half of it", "sum over the points"), 2),
    ),
]
