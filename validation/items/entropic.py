"""Audited formulas of entropic maps: extended potentials, the map."""

import math

import numpy as np
from scipy.special import logsumexp

from refwfm.measures import PointCloud
from refwfm.transport.entropic import (
    barycentric_projection,
    debiased_entropic_map,
    entropic_map,
    extend_potential,
)
from refwfm.transport.streamed_plans import streamed_entropic_map
from refwfm.validation import corners, streamed_plan_checks
from refwfm.validation.check import Check, Item, Misprint, Tolerance, differences, roundings, worst_of
from refwfm.validation.entropic_problems import (
    ITERATED,
    ROOT_HALF,
    even,
    gaussians,
    padded,
    problem,
    scaled_kernel,
    solved,
)
from refwfm.validation.textbook import derivative, relative


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [wfm_u9(), wfm_13()]


# By the textbook


def extended(points, y, b, g, eps):
    """``-eps log Σⱼ bⱼ exp((gⱼ - ‖p - yⱼ‖²) / eps)``, one member after the other."""
    return np.stack(
        [
            -e * logsumexp((h - np.sum((p[:, None] - q) ** 2, axis=-1)) / e, b=w, axis=-1)
            for p, q, w, h, e in zip(points, y, b, g, eps, strict=True)
        ]
    )


def gradient(function, points):
    """Gradients of a function of points (n, q, d) with values (n, q), by differences."""
    axes = np.eye(points.shape[-1])
    return np.stack([derivative(lambda h, e=e: function(points + h * e)) for e in axes], axis=-1)


# WFM-U9


def wfm_u9() -> Item:
    """Extended potential."""
    return Item(
        id="WFM-U9",
        paper="WFM",
        place="appendix A.2, unnumbered",
        title="potential at any point",
        latex=r"\hat f(x)=-\varepsilon\log\sum_jb_j\,e^{(g_j-\|x-y_j\|^2)/\varepsilon},\quad\hat f(x_i)=f_i",
        statement="Sinkhorn's update, read at any point, extends a potential from the atoms to the space.",
        functions=(extend_potential,),
        checks=(
            Check(
                "SciPy logsumexp, any points and potentials",
                potentials_anywhere,
                extend_potential,
                {
                    "without the weights": lambda p, y, b, g, *, eps: extend_potential(
                        p, y, even(b), g, eps=eps
                    ),
                    "the sign": lambda p, y, b, g, *, eps: -extend_potential(p, y, b, g, eps=eps),
                    "cost ‖x - y‖² / 2": lambda p, y, b, g, *, eps: extend_potential(
                        ROOT_HALF * p, ROOT_HALF * y, b, g, eps=eps
                    ),
                    "twice eps": lambda p, y, b, g, *, eps: extend_potential(p, y, b, g, eps=2.0 * eps),
                },
                roundings(300, "of the largest cost; exponents up to 30"),
                dimensions=(1, 3),
                many_shapes=True,
            ),
            Check(
                "the kernel scaled until its marginals are right: f on the atoms",
                potentials_on_the_atoms,
                _mismatch,
                {
                    "as printed: Gibbs potentials beside 1/n and 1/m": _printed_mismatch,
                    "Gibbs potentials, no weights": lambda x, y, f, g, eps: (
                        _printed_mismatch(x, y, f, g, eps)
                        - eps[:, None] * math.log(y.weights.shape[-1] / x.weights.shape[-1])
                    ),
                    "without the weights": lambda x, y, f, g, eps: (
                        extend_potential(x.points, y.points, even(y.weights), g, eps=eps) - f
                    ),
                    "from its own potential": lambda x, y, f, g, eps: (
                        extend_potential(x.points, *x, f, eps=eps) - f
                    ),
                },
                ITERATED,
                dimensions=(1, 3),
                many_shapes=True,
            ),
            Check(
                "the misprint's constant, eps log(n m)",
                potentials_of_even_clouds,
                _printed_without_its_constant,
                {
                    "no constant": _printed_mismatch,
                    "eps log m": lambda x, y, f, g, eps: (
                        _printed_mismatch(x, y, f, g, eps) - eps[:, None] * math.log(y.weights.shape[-1])
                    ),
                },
                ITERATED,
                dimensions=(1, 3),
            ),
        ),
        misprints=(
            Misprint(
                "E13",
                r"P_{ij}=e^{f_i/\varepsilon}e^{-K_{ij}/\varepsilon}e^{g_j/\varepsilon},\quad"
                r"\hat f(x)=-\varepsilon\log\tfrac1m\sum_je^{(g_j-\|x-y_j\|^2)/\varepsilon}",
                r"P_{ij}=a_ib_j\,e^{(f_i+g_j-K_{ij})/\varepsilon},\quad"
                r"\hat f(x)=-\varepsilon\log\sum_jb_j\,e^{(g_j-\|x-y_j\|^2)/\varepsilon}",
                "Potentials of the Gibbs form hold the weights; extended with weights they are off by "
                "eps log(n m). The map is not affected, the dual value is.",
                "as printed: Gibbs potentials beside 1/n and 1/m",
            ),
        ),
    )


def _case(draw):
    """Points, a target with a row of NaN of weight 0, potentials of the size of eps; the largest costs."""
    x, y, cost, eps = problem(draw)
    y = padded(y, 1)
    g = draw.rounded(0.5 * eps[:, None] * draw.rng.standard_normal((draw.size, 7)))
    return x.points, y, g, eps, np.max(cost, axis=(1, 2))


def potentials_anywhere(extend_potential, draw):
    """At five points, from random potentials, relative to the largest cost."""
    points, y, g, eps, largest = _case(draw)
    truth = extended(points, *(part[:, :-1] for part in (*y, g)), eps)
    return relative(draw.call(extend_potential, points, *y, g, eps=eps), truth, largest)


def _mismatch(x, y, f, g, eps):
    return extend_potential(x.points, *y, g, eps=eps) - f


def _printed_mismatch(x, y, f, g, eps):
    """Control: both potentials in the Gibbs form, extended with equal weights."""
    f, g = (p + eps[:, None] * np.log(c.weights) for p, c in ((f, x), (g, y)))
    return extend_potential(x.points, y.points, even(y.weights), g, eps=eps) - f


def _printed_without_its_constant(x, y, f, g, eps):
    """The same for equal weights, on any library, and without the constant that it should be off by."""
    n, m = x.weights.shape[-1], y.weights.shape[-1]
    e = eps[:, None]
    extension = extend_potential(x.points, *y, g - e * math.log(m), eps=eps)
    return extension - (f - e * math.log(n)) - e * math.log(n * m)


def _largest_mismatch(mismatch, draw, x, y, cost, eps):
    _, f, g = scaled_kernel(cost, x.weights, y.weights, eps)
    worst = 0.0
    for first, second, p, q in ((x, y, f, g), (y, x, g, f)):
        found = draw.call(mismatch, first, second, draw.rounded(p), draw.rounded(q), eps)
        worst = worst_of(worst, relative(found, np.zeros_like(p), np.max(cost, axis=(1, 2))))
    return worst


def potentials_on_the_atoms(mismatch, draw):
    """Extended f and g less f and g, on the atoms of unequal weights, relative to the largest cost."""
    return _largest_mismatch(mismatch, draw, *problem(draw))


def potentials_of_even_clouds(mismatch, draw):
    """The same for 5 and 6 atoms of equal weights."""
    x, y, cost, eps = problem(draw)
    x, y = (PointCloud(c.points, draw.rounded(even(c.weights))) for c in (x, y))
    return _largest_mismatch(mismatch, draw, x, y, cost, eps)


# WFM-13


def wfm_13() -> Item:
    """Entropic map."""
    return Item(
        id="WFM-13",
        paper="WFM",
        place="appendix A.2, eq. 13",
        title="entropic map",
        latex=(
            r"\hat T_\varepsilon(x)=x-\tfrac12\nabla\hat f(x)="
            r"\frac{\sum_jb_jy_j\,e^{(g_j-\|x-y_j\|^2)/\varepsilon}}"
            r"{\sum_jb_j\,e^{(g_j-\|x-y_j\|^2)/\varepsilon}}"
        ),
        statement=(
            "The mean of the target under the plan's conditional law, at any point; on the sample the plan's "
            "barycentric projection. Debiased, it leaves a cloud that is its own target where it is."
        ),
        functions=(entropic_map, barycentric_projection, debiased_entropic_map, streamed_entropic_map),
        checks=(
            streamed_plan_checks.map_check(),
            streamed_plan_checks.softmax_check(),
            Check(
                "finite differences of the extended potential",
                map_is_the_gradient,
                entropic_map,
                {
                    "as printed: x - ∇f": lambda p, y, b, g, *, eps: (
                        2.0 * entropic_map(p, y, b, g, eps=eps) - p
                    ),
                    "without b": lambda p, y, b, g, *, eps: entropic_map(p, y, even(b), g, eps=eps),
                    "x + ∇f / 2": lambda p, y, b, g, *, eps: 2.0 * p - entropic_map(p, y, b, g, eps=eps),
                    "cost ‖x - y‖² / 2": lambda p, y, b, g, *, eps: (
                        entropic_map(ROOT_HALF * p, ROOT_HALF * y, b, g, eps=eps) / ROOT_HALF
                    ),
                    "the likeliest atom": lambda p, y, b, g, *, eps: entropic_map(
                        p, y, b, 1e-3 * g, eps=1e-3 * eps
                    ),
                },
                differences(300, "exponents up to 30"),
                dimensions=(1, 3),
            ),
            Check(
                "the kernel scaled until its marginals are right: mean of each row",
                map_on_the_sample,
                _on_the_sample,
                {
                    "as printed: x - ∇f": lambda x, y, eps: 2.0 * _on_the_sample(x, y, eps) - x.points,
                    "without b": lambda x, y, eps: entropic_map(
                        x.points, y.points, even(y.weights), solved(x, y, eps).g, eps=eps
                    ),
                    "twice eps": lambda x, y, eps: _on_the_sample(x, y, 2.0 * eps),
                    "the target's mean": lambda x, y, eps: np.broadcast_to(
                        np.sum(y.weights[..., None] * y.points, axis=1, keepdims=True), x.points.shape
                    ),
                },
                ITERATED,
                dimensions=(1, 3),
                repeats=1,
            ),
            Check(
                "NumPy average of each row",
                means_of_rows,
                barycentric_projection,
                {
                    "not divided by the row's mass": lambda P, y: P @ np.nan_to_num(y),
                    "divided by the columns' masses": lambda P, y: (
                        (P / np.maximum(P.sum(axis=1, keepdims=True), 1e-300)) @ np.nan_to_num(y)
                    ),
                    "the likeliest atom": lambda P, y: np.stack(
                        [q[np.argmax(p, axis=1)] for p, q in zip(P, y, strict=True)]
                    ),
                },
                roundings(30, "sums of 6 terms"),
                dimensions=(1, 3),
            ),
            Check(
                "closed form for Gaussians, by quadrature",
                maps_of_gaussians,
                _gaussian_maps,
                {
                    "twice eps": lambda p, x, y, eps: _gaussian_maps(p, x, y, 2.0 * eps),
                    "as printed: x - ∇f": lambda p, x, y, eps: tuple(
                        2.0 * image - p for image in _gaussian_maps(p, x, y, eps)
                    ),
                    "debiased by the target": lambda p, x, y, eps: (
                        _gaussian_maps(p, x, y, eps)[0],
                        p + _gaussian_maps(p, x, y, eps)[0] - _gaussian_maps(p, y, y, eps)[0],
                    ),
                    "not debiased": lambda p, x, y, eps: (_gaussian_maps(p, x, y, eps)[0],) * 2,
                },
                Tolerance(1e-9, 1e-4, "65 nodes, eight standard deviations; float32: cost / eps up to 256"),
                dimensions=(1,),
                size=1,
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "finite differences, debiased",
                debiased_map_is_the_gradient,
                debiased_entropic_map,
                {
                    "as printed, without the halves": lambda p, x, y, g, h, *, eps: (
                        2.0 * debiased_entropic_map(p, x, y, g, h, eps=eps) - p
                    ),
                    "not debiased": lambda p, x, y, g, h, *, eps: entropic_map(p, *y, g, eps=eps),
                    "bias added": lambda p, x, y, g, h, *, eps: (
                        entropic_map(p, *y, g, eps=eps) - p + entropic_map(p, *x, h, eps=eps)
                    ),
                    "without the weights": lambda p, x, y, g, h, *, eps: debiased_entropic_map(
                        p, *(c._replace(weights=even(c.weights)) for c in (x, y)), g, h, eps=eps
                    ),
                },
                differences(300, "exponents up to 30"),
                dimensions=(1, 3),
            ),
            corners.cold_map_check(),
        ),
        misprints=(
            Misprint(
                "E1",
                r"\hat T_\varepsilon(x)=x-\nabla\hat f(x)",
                r"\hat T_\varepsilon(x)=x-\tfrac12\nabla\hat f(x)",
                "The cost is the squared distance, not half of it: as printed, points go twice as far.",
                "as printed: x - ∇f",
            ),
        ),
    )


def map_is_the_gradient(entropic_map, draw):
    """``x - ∇f(x) / 2`` with SciPy's f of random potentials, relative to the largest distance."""
    points, y, g, eps, largest = _case(draw)
    live = [part[:, :-1] for part in (*y, g)]
    truth = points - 0.5 * gradient(lambda p: extended(p, *live, eps), points)
    return relative(draw.call(entropic_map, points, *y, g, eps=eps), truth, np.sqrt(largest))


def _on_the_sample(x, y, eps):
    return entropic_map(x.points, *y, solved(x, y, eps).g, eps=eps)


def map_on_the_sample(on_the_sample, draw):
    """Images of the source's atoms, weights unequal, relative to the largest image."""
    x, y, cost, eps = problem(draw)
    P, _, _ = scaled_kernel(cost, x.weights, y.weights, eps)
    truth = (P @ y.points) / P.sum(axis=-1, keepdims=True)
    return relative(draw.call(on_the_sample, x, y, eps), truth)


def means_of_rows(projection, draw):
    """Of random plans with a row without mass, which goes to 0, and a column that is not reached, at NaN."""
    P = draw.rng.random((draw.size, 5, 6))
    P[:, 2], P[:, :, -1] = 0.0, 0.0
    P, y = draw.rounded(P / P.sum(axis=(1, 2), keepdims=True)), draw.normal(draw.size, 6, draw.d)
    truth = np.zeros((draw.size, 5, draw.d))
    for k in range(draw.size):
        for i in (0, 1, 3, 4):
            truth[k, i] = np.average(y[k], axis=0, weights=P[k, i])
    y[:, -1] = np.nan
    return relative(draw.call(projection, P, y), truth)


def _gaussian_maps(points, x, y, eps):
    xy, xx = (solved(x, target, eps) for target in (y, x))
    plain = entropic_map(points, *y, xy.g, eps=eps)
    return plain, debiased_entropic_map(points, x, y, xy.g, xx.g, eps=eps)


def maps_of_gaussians(maps, draw):
    """Both maps of two normal laws on the line: linear, of slopes in closed form."""
    x, y, (m0, v0, m1, v1), eps = gaussians(draw)
    points = draw.rounded(np.linspace(-1.0, 1.0, 5))[None, :, None]
    there = m1 + _slope(v0, v1, eps) * (points - m0)
    truth = there, points + there - m0 - _slope(v0, v0, eps) * (points - m0)
    found = draw.call(maps, points, x, y, np.array([eps]))
    return worst_of(*(relative(*pair, 1.0) for pair in zip(found, truth, strict=True)))


def _slope(v0, v1, eps):
    return (math.sqrt(4.0 * v0 * v1 + 0.25 * eps**2) - 0.5 * eps) / (2.0 * v0)


def debiased_map_is_the_gradient(debiased, draw):
    """``p - ∇(f_xy - f_xx)(p) / 2`` with SciPy's potentials, relative to the largest distance."""
    points, y, g, eps, largest = _case(draw)
    x = PointCloud(draw.normal(*points.shape), np.stack([draw.weights(5) for _ in range(draw.size)]))
    h = draw.rounded(0.5 * eps[:, None] * draw.rng.standard_normal((draw.size, 5)))
    live = [part[:, :-1] for part in (*y, g)]

    def difference(p):
        return extended(p, *live, eps) - extended(p, *x, h, eps)

    truth = points - 0.5 * gradient(difference, points)
    return relative(draw.call(debiased, points, x, y, g, h, eps=eps), truth, np.sqrt(largest))
