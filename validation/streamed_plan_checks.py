"""Checks of what is made of an entropic plan without the plan: dual objective, map, targets.

Clouds have 5 and 6 points, and one of padding at NaN; blocks have 4 rows and columns, so that every sum goes
over a full block and a last one that is not.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import softmax

from refwfm.transport.sinkhorn import Sinkhorn, sinkhorn
from refwfm.transport.streamed_plans import (
    _dual_pullback,
    sample_streamed_targets,
    streamed_dual_value,
    streamed_entropic_map,
)
from refwfm.transport.streaming import sinkhorn_points
from refwfm.validation.check import STANDARD_ERRORS, Check, roundings, worst_of
from refwfm.validation.entropic_problems import ITERATED, even, padded, plan_of, plans_of_pot, problem
from refwfm.validation.textbook import relative

BLOCK, STEPS, DRAWS = 4, 80, 4000


def given(x, y):
    """Points and weights of two clouds, in the order of the solver's arguments."""
    return x.points, y.points, x.weights, y.weights


# WFM-12


def dual_check():
    """Check of the dual objective and of its derivatives, for WFM-12."""
    return Check(
        "the dual objective of clouds in blocks and its derivatives, by sums over the plan",
        dual_objective,
        _dual,
        {
            "the plan's mass forgotten": lambda *given: _dual(*given)._replace(
                value=np.sum(given[2] * given[5], axis=-1) + np.sum(given[3] * given[6], axis=-1)
            ),
            "the last point left out": lambda x, y, a, b, *rest: _dual(
                x, y, a, np.where(np.arange(6) == 5, 0.0, b), *rest
            ),
            "half of the derivative": lambda *given: _dual(*given)._replace(x=0.5 * _dual(*given).x),
            "the sign of the derivative": lambda *given: _dual(*given)._replace(y=-_dual(*given).y),
            "mass without the weights": lambda *given: _dual(*given)._replace(f=_dual(*given).f - given[2]),
        },
        roundings(1000, "of differences of sums, relative to the largest cost; exponents up to ten"),
        dimensions=(1, 3, 6),
    )


class Dual(NamedTuple):
    """Value of the dual objective, and its derivatives."""

    value: Any
    x: Any
    y: Any
    a: Any
    b: Any
    f: Any
    g: Any
    eps: Any


def _dual(x, y, a, b, eps, f, g):
    arrays = (x, y, a, b, f, g, eps)
    zero = 0.0 * eps
    value = streamed_dual_value(x, y, a, b, Sinkhorn(f, g, eps, zero, zero, 1, zero == 0), block=BLOCK)
    derivatives = _dual_pullback(BLOCK, zero + 2.0, *arrays)  # along 2
    return Dual(value, *(0.5 * part for part in derivatives))


def dual_objective(dual, draw):
    """At random potentials, where the plan's mass is not 1."""
    x, y, cost, eps = problem(draw)
    (p, a), (q, b) = x, y
    f, g = (draw.rounded(0.5 * eps[:, None] * draw.rng.standard_normal((draw.size, n))) for n in (5, 6))
    found = draw.call(dual, p, q, a, b, eps, f, g)
    P, product = plan_of(cost, a, b, eps, f, g), a[:, :, None] * b[:, None, :]
    e, more = (f[:, :, None] + g[:, None] - cost) / eps[:, None, None], P - product
    gaps = p[:, :, None] - q[:, None]
    truth = Dual(
        np.sum(f * a, axis=1) + np.sum(g * b, axis=1) - eps * np.sum(more, axis=(1, 2)),
        2.0 * np.einsum("kij,kijd->kid", P, gaps),
        -2.0 * np.einsum("kij,kijd->kjd", P, gaps),
        f - eps[:, None] * np.sum(more, axis=2) / a,
        g - eps[:, None] * np.sum(more, axis=1) / b,
        a - np.sum(P, axis=2),
        b - np.sum(P, axis=1),
        np.sum(P * e - more, axis=(1, 2)),
    )
    sizes = np.max(cost, axis=(1, 2))
    scales = (
        sizes,
        sizes[:, None, None] ** 0.5,
        sizes[:, None, None] ** 0.5,
        *[sizes[:, None]] * 2,
        1.0,
        1.0,
        1.0,
    )
    return worst_of(*(relative(*part) for part in zip(found, truth, scales, strict=True)))


# WFM-13


def map_check():
    """Check of the map on the sample."""
    return Check(
        "POT's plan: mean of each row, of clouds in blocks",
        means_of_rows,
        _images,
        {
            "weights forgotten": lambda x, y, eps: _images(x, y._replace(weights=even(y.weights)), eps),
            "twice eps": lambda x, y, eps: _images(x, y, 2.0 * eps),
            "the last block dropped": lambda x, y, eps: _images(
                x, y._replace(weights=_unit(y.weights * (np.arange(y.weights.shape[-1]) < BLOCK))), eps
            ),
        },
        ITERATED,
        dimensions=(1, 3),
        repeats=1,
        needs="ot",
        many_shapes=True,
    )


def _unit(weights):
    return weights / np.sum(weights, axis=-1, keepdims=True)


def _images(x, y, eps):
    g = sinkhorn_points(*given(x, y), eps=eps, tol=None, max_iter=STEPS, block=BLOCK).g
    return streamed_entropic_map(x.points, y.points, y.weights, g, eps=eps, block=BLOCK)


def softmax_check():
    """Check of the map where the exponents are so large that their maximum has to be taken off."""
    return Check(
        "SciPy softmax, of clouds in blocks",
        means_by_softmax,
        _map,
        {
            "weights forgotten": lambda p, y, b, g, eps: _map(p, y, even(b), g, eps),
            "twice eps": lambda p, y, b, g, eps: _map(p, y, b, g, 2.0 * eps),
        },
        roundings(3000, "exponents up to a thousand, of which the dtype keeps the rounding"),
        dimensions=(1, 3),
    )


def _map(points, y, b, g, eps):
    return streamed_entropic_map(points, y, b, g, eps=eps, block=BLOCK)


def means_by_softmax(images, draw):
    """Images of 5 points at random potentials, eps a thousandth of the cost and a fifth of it."""
    x, y, cost, _ = problem(draw)
    largest = np.max(cost, axis=(1, 2))
    eps = draw.rounded(largest * [0.001, 0.2, 0.2])
    g = draw.rounded(np.sort(draw.rng.random((3, 6)), axis=-1) * largest[:, None])
    logs = (g[:, None] - cost) / eps[:, None, None] + np.log(y.weights)[:, None]
    found = draw.call(images, x.points, y.points, y.weights, g, eps)
    return relative(found, softmax(logs, axis=-1) @ y.points)


def means_of_rows(images, draw):
    """Images of the source's atoms, relative to the largest coordinate."""
    x, y, _, eps = problem(draw)
    P = plans_of_pot(x, y, eps)
    return relative(draw.call(images, x, padded(y, 1), eps), (P @ y.points) / P.sum(axis=2, keepdims=True))


# GWFM-29


def sampling_check():
    """Check of targets that are drawn without a plan."""
    return Check(
        "frequencies of each point's targets without a plan, Monte Carlo",
        frequencies_are_the_rows,
        _targets,
        {
            "weights forgotten": lambda x, y, a, b, s, *, rng: _targets(x, y, a, even(b), s, rng=rng),
            "uniform": lambda x, y, a, b, s, *, rng: rng.integers(6, size=a.shape),
            "from one block only": lambda x, y, a, b, s, *, rng: np.minimum(
                _targets(x, y, a, b, s, rng=rng), BLOCK - 1
            ),
            "one uniform number for all": lambda x, y, a, b, s, *, rng: np.broadcast_to(
                _targets(x, y, a, b, s, rng=rng)[:1], a.shape
            ),
        },
        STANDARD_ERRORS,
        dimensions=(1, 3),
        repeats=1,
    )


def _targets(x, y, a, b, solution, *, rng):
    return sample_streamed_targets(x, y, a, b, solution, rng=rng, block=BLOCK)


def frequencies_are_the_rows(targets, draw):
    """Largest deviation of a target's count in its row, in standard deviations; infinite if impossible."""
    x, y, _, eps = (part[:1] if isinstance(part, np.ndarray) else part for part in problem(draw))
    x, y = (type(c)(*(part[0] for part in c)) for c in (x, y))
    solution = sinkhorn(
        cdist(x.points, y.points, "sqeuclidean"), x.weights, y.weights, eps=0.4 * float(eps[0]), tol=1e-9
    )
    rows = plan_of(cdist(x.points, y.points, "sqeuclidean"), x.weights, y.weights, *_named(solution))
    y = padded(y._replace(points=y.points[None], weights=y.weights[None]), 1)
    y, solution = type(y)(y.points[0], y.weights[0]), solution._replace(g=np.pad(solution.g, (0, 1)))
    many = [np.broadcast_to(part, (DRAWS, *part.shape)) for part in (*x, *y)]
    given = (many[0], np.nan_to_num(many[2]), many[1], many[3])
    fixed = solution._replace(  # with more mass in each row: only shares count
        f=np.broadcast_to(solution.f + 0.7 * solution.eps, (DRAWS, 5)),
        g=np.broadcast_to(solution.g, (DRAWS, 7)),
        eps=np.broadcast_to(solution.eps, DRAWS),
    )
    found = np.asarray(draw.call(lambda *v: targets(*v, rng=draw.rng), *given, fixed))
    counts = np.stack([np.bincount(found[:, i], minlength=7) for i in range(5)])
    if np.any(counts[:, 6:]):
        return np.inf
    shares = rows / rows.sum(axis=-1, keepdims=True)
    return np.max(np.abs(counts[:, :6] - DRAWS * shares) / np.sqrt(DRAWS * shares * (1.0 - shares)))


def _named(solution):
    return solution.eps, solution.f, solution.g
