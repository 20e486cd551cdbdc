"""Sliders of Gaussians: geodesics, maps, distances, barycenters, generation, sources."""

from typing import Any

import numpy as np

from refwfm import bures
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.sources.gaussians import GaussianWishart
from refwfm.validation.panels.plot import arrows, chart, dots, ellipse, plane, words
from refwfm.validation.panels.slider import Frame, Function, Slider, alone, marked, number, pair

MU = Gaussian(np.array([0.0, 0.0]), np.array([[1.2, 1.1], [1.1, 1.1]]))
NU = Gaussian(np.array([7.0, 0.5]), np.array([[1.2, -1.0], [-1.0, 1.0]]))
VIEW = {"x": (-2.4, 9.4), "y": (-3.2, 3.9)}
BEYOND = {"x": (-2.4, 13.4), "y": (-3.6, 4.6)}
"""With room for what goes half as far again as to ν."""
TIMES = tuple(float(t) for t in np.linspace(0.0, 1.0, 9))
ANGLES = tuple(float(a) for a in range(0, 181, 20))


def _turned(
    angle: float, spectrum: tuple[float, float] = (2.0, 0.15), mean: tuple[float, float] = (0.0, 0.0)
):
    """Gaussian whose long axis stands at an angle in degrees."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[c, -s], [s, c]])
    return Gaussian(np.array(mean), turn @ np.diag(spectrum) @ turn.T)


def _ends() -> list[Any]:
    return [
        ellipse(MU, "g"),
        ellipse(NU, "g"),
        words((0.0, 2.6), "μ", anchor="middle"),
        words((7.0, 2.6), "ν"),
    ]


def _batch(mu: Gaussian) -> Gaussian:
    return Gaussian(mu.mean[None], mu.cov[None])


def _first(mu: Gaussian) -> Gaussian:
    return Gaussian(mu.mean[0], mu.cov[0])


def _draw_geodesic(interpolate: Function, t: float) -> Frame:
    mu = alone(interpolate, MU, NU, np.asarray(t))
    svg = plane([*_ends(), ellipse(mu), dots(mu.mean[None])], **VIEW)
    return Frame(
        svg, f"t = {t:g}: variances {mu.cov[0, 0]:.3f} and {mu.cov[1, 1]:.3f}, covariance {mu.cov[0, 1]:.3f}"
    )


def _draw_exponential(exp: Function, s: float) -> Frame:
    v = bures.log(MU, NU)
    mu = alone(exp, MU, Tangent(s * v.mean, s * v.lift))
    svg = plane([*_ends(), ellipse(mu), dots(mu.mean[None])], **BEYOND)
    return Frame(
        svg, f"s = {s:g}: variances {mu.cov[0, 0]:.3f} and {mu.cov[1, 1]:.3f}, covariance {mu.cov[0, 1]:.3f}"
    )


def _draw_velocity(function: Function, t: float) -> Frame:
    mu, v = bures.interpolate(MU, NU, t), alone(function, MU, NU, np.asarray(t))
    around = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=-1)
    points = mu.mean + 1.5 * around @ np.linalg.cholesky(mu.cov).T
    images = points + 0.25 * (v.mean + (points - mu.mean) @ v.lift.T)
    later = ellipse(bures.interpolate(MU, NU, min(t + 0.25, 1.0)), "b")
    svg = plane([*_ends(), later, ellipse(mu, "g"), arrows(points, images)], **VIEW)
    return Frame(
        svg, f"t = {t:g}: kinetic energy {number(bures.sq_tangent_norm(mu, v))}; a quarter of the velocity"
    )


def _draw_optimal_map(gelbrich_map: Function, angle: float) -> Frame:
    mu, nu = _turned(0.0), _turned(angle)
    matrix = alone(gelbrich_map, mu, nu)
    around = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], axis=-1)
    points = 1.5 * around @ np.linalg.cholesky(mu.cov).T
    svg = plane(
        [ellipse(mu, "g"), ellipse(nu, "b"), arrows(points, points @ matrix.T)], x=(-3, 3), y=(-2.4, 2.4)
    )
    return Frame(svg, f"ν turned by {angle:g}°: trace of the map {np.trace(matrix):.3f}")


def _draw_pushed_points(push_forward: Function, angle: float) -> Frame:
    rng = np.random.default_rng(2)
    mu, nu = _turned(0.0, mean=(-2.5, 0.0)), _turned(angle, mean=(2.5, 0.0))
    x = mu.mean + rng.standard_normal((40, 2)) @ np.linalg.cholesky(mu.cov).T
    y = alone(push_forward, x, mu, nu)
    marks = [ellipse(mu, "g"), ellipse(nu, "g"), dots(x, "g"), dots(y)]
    return Frame(
        plane(marks, x=(-6, 6), y=(-4, 4)),
        f"ν turned by {angle:g}°: mean of the images {pair(y.mean(0))}",
    )


def _draw_distance(sq_distance: Function, angle: float) -> Frame:
    found = [alone(sq_distance, _turned(0.0), _turned(a)) for a in ANGLES]
    return marked(ANGLES, found, angle, labels=("angle in degrees", "squared distance"), range=(0.0, 4.5))


def _draw_straight_step(euclidean_velocity: Function, h: float) -> Frame:
    rate = alone(euclidean_velocity, MU, NU, np.asarray(0.25))
    mu = bures.interpolate(MU, NU, 0.25)
    moved = Gaussian(mu.mean + h * rate.mean, mu.cov + h * rate.cov)
    marks = [*_ends(), ellipse(mu, "g"), ellipse(bures.interpolate(MU, NU, 0.25 + h), "b"), ellipse(moved)]
    return Frame(
        plane(marks, **VIEW), f"h = {h:g}: smallest eigenvalue {np.linalg.eigvalsh(moved.cov)[0]:.3f}"
    )


def _draw_generated(generate: Function, n: float) -> Frame:
    path: list[Gaussian] = []

    def field(mu: Gaussian, t: Any) -> Any:
        path.append(_first(mu))
        return bures.velocity(_batch(MU), _batch(NU), t)

    end = _first(generate(field, _batch(MU), n_steps=int(n))[0])
    error = float(np.max(np.abs(end.cov - NU.cov)))
    marks = [*_ends(), *(ellipse(mu, "b") for mu in path[:: max(1, int(n) // 8)]), ellipse(end)]
    return Frame(plane(marks, **VIEW), f"{n:g} Euler steps: error of the covariance {error:.2g}")


def _draw_one_step(exponential_step: Function, h: float) -> Frame:
    v = bures.velocity(MU, NU, 0.0)
    mu = alone(exponential_step, MU, v, h)[0]
    marks = [*_ends(), ellipse(bures.interpolate(MU, NU, h), "b"), ellipse(mu)]
    smallest = np.linalg.eigvalsh(mu.cov)[0]
    return Frame(
        plane(marks, **VIEW), f"h = {h:g}: smallest eigenvalue {smallest:.3f}; the geodesic is beside it"
    )


def _draw_projected(project_psd: Function, lowest: float) -> Frame:
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    matrix = alone(project_psd, turn @ np.diag([2.0, lowest]) @ turn.T)
    values = np.linalg.eigvalsh(matrix)
    marks = [ellipse(Gaussian(np.zeros(2), matrix)), dots(np.zeros((1, 2)), "g")]
    svg = plane(marks, x=(-3, 3), y=(-2.5, 2.5))
    return Frame(svg, f"eigenvalues 2 and {lowest:g} become {values[1]:.3f} and {values[0]:.3f}")


def _draw_center(barycenter: Function, weight: float) -> Frame:
    pair = [_turned(20.0, (3.0, 0.1)), _turned(120.0, (3.0, 0.1))]
    both = Gaussian(np.stack([mu.mean for mu in pair]), np.stack([mu.cov for mu in pair]))
    found = barycenter(both, np.array([1.0 - weight, weight]))
    mu = getattr(found, "gaussian", found)
    marks = [*(ellipse(each, "g") for each in pair), ellipse(mu)]
    return Frame(
        plane(marks, x=(-4, 4), y=(-3, 3)), f"weight {weight:g}: area {np.sqrt(np.linalg.det(mu.cov)):.3f}"
    )


def _draw_descent(gradient_half_sq_distance: Function, s: float) -> Frame:
    v = alone(gradient_half_sq_distance, MU, NU)
    mu = bures.exp(MU, Tangent(-s * v.mean, -s * v.lift))
    marks = [*_ends(), ellipse(mu), dots(mu.mean[None])]
    return Frame(
        plane(marks, **BEYOND), f"step {s:g} down: squared distance to ν {number(bures.sq_distance(mu, NU))}"
    )


def _draw_matched(match_minibatch: Function, n: float) -> Frame:
    rng, n = np.random.default_rng(3), int(n)
    covs = np.stack(
        [np.stack([_turned(a, (0.16, 0.02)).cov for a in rng.uniform(0, 180, n)]) for _ in range(2)]
    )
    mu = Gaussian(rng.uniform(-3, 0, (n, 2)), covs[0])
    nu = Gaussian(rng.uniform(0, 3, (n, 2)), covs[1])
    chosen = np.asarray(match_minibatch(mu, nu))
    lines = arrows(mu.mean, nu.mean[chosen])
    sets = [
        ellipse(Gaussian(m.mean[i], m.cov[i]), kind) for m, kind in ((mu, "g"), (nu, "b")) for i in range(n)
    ]
    cost = bures.sq_distance(mu, Gaussian(nu.mean[chosen], nu.cov[chosen]))
    return Frame(
        plane([*sets, lines], x=(-4, 4), y=(-3.7, 3.7)),
        f"{n} pairs: mean squared distance {np.mean(cost):.3f}",
    )


def _draw_schedule(time_steps: Function, n: float) -> Frame:
    marks, first = [], 0.0
    for level, times in enumerate(("uniform", "early", "late")):
        steps = time_steps(int(n), times)
        ends = np.array([(float(t) + float(h), level) for t, h in steps])
        marks += [dots(np.array([(0.0, level), *ends]), radius=3), words((0.02, level + 0.18), times)]
        first = float(steps[0][1])
    return Frame(
        chart(marks, x=(0, 1), y=(-0.4, 2.6), labels=("time", "")),
        f"{n:g} steps; the first late one is {first:.3g} long",
    )


def _draw_wishart(sample_gaussian_wishart: Function, df: float) -> Frame:
    source = GaussianWishart(np.zeros(2), np.ones(2), _turned(30.0, (1.0, 0.2**0.5)).cov, int(df))
    scale = Gaussian(np.zeros(2), source.root @ source.root)
    drawn = sample_gaussian_wishart(source, rng=np.random.default_rng(4), size=300)
    mean = Gaussian(np.zeros(2), np.mean(drawn.cov, axis=0))
    marks = [*(ellipse(Gaussian(np.zeros(2), cov), "g") for cov in drawn.cov[:12])]
    marks += [ellipse(scale, "b"), ellipse(mean)]
    trace = float(np.trace(mean.cov))
    says = f"{df:g} degrees of freedom: trace of the mean of 300 draws {trace:.3f}, of the scale {1.2:g}"
    return Frame(plane(marks, x=(-4, 4), y=(-2.5, 2.5)), says)


def _draw_nearest_member(nearest: Function, x: float) -> Frame:
    shapes = ((0.0, (-2.0, 0.0)), (90.0, (1.0, 0.0)), (45.0, (3.0, 1.0)))
    family = [_turned(angle, (3.0, 0.05), place) for angle, place in shapes]
    both = Gaussian(np.stack([mu.mean for mu in family]), np.stack([mu.cov for mu in family]))
    mu = _turned(0.0, (3.0, 0.05), (x, 0.0))
    found = nearest(_batch(mu), both)
    index = int(found.member[0])
    marks = [
        *(ellipse(each, "g") for each in family),
        ellipse(mu),
        arrows(mu.mean[None], family[index].mean[None]),
    ]
    return Frame(
        plane(marks, x=(-6, 6), y=(-2.9, 3.2)),
        f"mean at {x:g}: the nearest is the {('left', 'upright', 'oblique')[index]} one",
    )


SLIDERS = [
    Slider(
        *("WFM-8", "interpolate", "Time on the geodesic"),
        "The geodesic turns; it does not swell as the mixture of the covariances does.",
        *("t", TIMES, _draw_geodesic, ("the mixture of covariances", "T_t once", "backwards in time"), 4),
    ),
    Slider(
        *("WFM-U2", "exp", "Along the exponential map"),
        "log gives the direction, exp goes there: a whole step arrives at ν.",
        *("s", (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5), _draw_exponential),
        *(("without the term S A S", "one factor only", "backwards"), 4),
    ),
    Slider(
        *("WFM-10", "velocity", "Velocity of the geodesic"),
        "A quarter of the velocity, beside the geodesic a quarter later.",
        *(
            "t",
            TIMES[:7],
            _draw_velocity,
            ("the sign", "twice", "C - I, the velocity at t = 0", "1 - t instead of t"),
            2,
        ),
    ),
    Slider(
        *("WFM-U4", "gelbrich_map", "Optimal map"),
        "Where the optimal map sends the points of the grey ellipse: onto the other one, without turning.",
        *("angle of ν in degrees", ANGLES, _draw_optimal_map),
        *(("the map from nu to mu", "as if the covariances commuted", "without the root"), 3),
    ),
    Slider(
        *("WFM-U4", "push_forward", "Points pushed forward"),
        "Points of the left Gaussian become points of the right one.",
        *("angle of ν in degrees", ANGLES, _draw_pushed_points),
        *(("without the source's mean", "the map from nu to mu"), 4),
    ),
    Slider(
        *("WFM-24", "sq_distance", "Distance of covariances that turn"),
        "One covariance is the other one turned. At 90 degrees they commute, and are farthest.",
        *("angle in degrees", ANGLES, _draw_distance),
        *(("not squared", "half of it", "as if the covariances commuted", "cross term once"), 2),
    ),
    Slider(
        *("WFM-9", "euclidean_velocity", "A straight step of the covariance"),
        "Σ + h dΣ/dt is tangent to the geodesic, and soon no covariance.",
        *("h", tuple(float(h) for h in np.linspace(0.0, 0.7, 8)), _draw_straight_step),
        *(("one of the two terms", "at the other time"), 2),
    ),
    Slider(
        *("WFM-Alg2", "generate", "Number of Euler steps"),
        "With the true field Algorithm 2 arrives after any number of steps.",
        *("number of steps", (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0), _draw_generated),
        *(("additive steps Σ + h (S Σ + Σ S)", "one factor U", "the mean without h"), 2),
    ),
    Slider(
        *("WFM-Alg2", "exponential_step", "Length of a step"),
        "One step from the start, and the geodesic at the same time, which it covers.",
        *("h", TIMES, _draw_one_step, ("backwards", "additive step"), 4),
    ),
    Slider(
        *("WFM-Alg2", "time_steps", "Where the steps begin and end"),
        "The same number of steps, uniform, early and late.",
        *("number of steps", (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0), _draw_schedule),
        *(("numbered from 1", "early and late exchanged", "uniform for all", "ends instead of lengths"), 3),
    ),
    Slider(
        *("WFM-Table2", "project_psd", "Projection of a matrix"),
        "An eigenvalue below 0 becomes 0: the ellipse collapses to a line and stays one.",
        *("lowest eigenvalue", (1.0, 0.5, 0.2, 0.0, -0.2, -0.5, -1.0), _draw_projected),
        *(("absolute eigenvalues", "no projection", "entries clipped"), 5),
    ),
    Slider(
        *("WFM-Barycenter", "barycenter", "Weights of a barycenter"),
        "From one ellipse to the other, always smaller than the mean of the covariances.",
        *("weight", TIMES, _draw_center, ("mean of the covariances", "without the weights"), 4),
    ),
    Slider(
        *("WFM-21", "gradient_half_sq_distance", "Down the gradient"),
        "A whole step down the gradient of half the squared distance arrives.",
        *("length of the step", (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5), _draw_descent),
        *(("as printed: twice", "the sign", "C instead of C - I"), 4),
    ),
    Slider(
        *("WFM-AppC", "match_minibatch", "Matching of a minibatch"),
        "Grey Gaussians and their partners: of all matchings the one of the least sum of squared distances.",
        *("number of pairs", (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0), _draw_matched),
        *(("as they come", "the inverse permutation", "by distances of the means"), 4),
    ),
    Slider(
        *("WFM-Eval", "nearest", "The nearest real Gaussian"),
        "Its shape counts as its place does: the upright one is near, and yet not the nearest.",
        *("place of its mean", tuple(float(x) for x in np.linspace(-3.0, 2.0, 11)), _draw_nearest_member),
        *(("by distance of the means",), 4),
    ),
    Slider(
        *("WFM-AppD1", "sample_gaussian_wishart", "Degrees of freedom"),
        "Twelve draws in grey. Their mean is the scale, whatever the degrees of freedom are.",
        *("degrees of freedom", (3.0, 5.0, 10.0, 20.0, 50.0, 200.0), _draw_wishart),
        *(("as printed: scale Σ̄ instead of Σ̄ / df", "twice the degrees of freedom"), 2),
    ),
]
