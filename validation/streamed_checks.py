"""Checks of transport that never stores its costs: against the dense solver, POT, and sums written out.

Clouds have 5 and 6 points, and one of padding at NaN; blocks have 4 rows and columns, so that every sum goes
over a full block and a last one that is not.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from refwfm.transport.point_problem import PointProblem, streamed_scale
from refwfm.transport.sinkhorn import dual_value, sinkhorn, sq_euclidean_cost, transport_cost
from refwfm.transport.streamed_plans import (
    streamed_dual_value,
    streamed_transport_cost,
)
from refwfm.transport.streaming import sinkhorn_points, streamed_marginal_errors, streamed_softmin
from refwfm.validation.check import Check, roundings, worst_of
from refwfm.validation.entropic_problems import ITERATED, even, padded, plan_of, plans_of_pot, problem
from refwfm.validation.streamed_plan_checks import BLOCK, STEPS, dual_check, given
from refwfm.validation.textbook import relative

FUNCTIONS = (
    sinkhorn_points,
    streamed_softmin,
    streamed_marginal_errors,
    streamed_scale,
    streamed_transport_cost,
    streamed_dual_value,
)
"""Those of WFM-12."""


# Wrong soft minima


def _blockwise(x, y, p, w, eps, *, block, carried=True, last=True, weighted=True):
    """A soft minimum over blocks of columns with a fault, as one is easily written."""
    cost, w = sq_euclidean_cost(x, y), w if weighted else even(w)
    with np.errstate(divide="ignore"):
        e = (p[..., None, :] - cost) / eps[..., None, None] + np.log(w)[..., None, :]
    m = e.shape[-1]
    top, total = np.full(e.shape[:-1], -np.inf), np.zeros(e.shape[:-1])
    for start in range(0, m if last else max(block, m - m % block), block):
        part = e[..., start : start + block]
        here = np.maximum(top, part.max(axis=-1))
        if carried:
            total = total * np.exp(top - here)
        total, top = total + np.exp(part - here[..., None]).sum(axis=-1), here
    return -eps[..., None] * (top + np.log(total))


FAULTS = {
    "the maximum not carried over between blocks": partial(_blockwise, carried=False),
    "the last block, which is not full, dropped": partial(_blockwise, last=False),
    "weights forgotten": partial(_blockwise, weighted=False),
}


# WFM-12


class Found(NamedTuple):
    """What is audited of a solution: of the dense one or ours."""

    f: Any
    g: Any
    errors: tuple[Any, Any]
    cost: Any
    dual: Any


def solve(x, y, eps, *, minimum=streamed_softmin, steps=STEPS):
    """Solve, and value, without a plan."""
    found = sinkhorn_points(*given(x, y), eps=eps, tol=None, max_iter=steps, block=BLOCK, minimum=minimum)
    values = (f(*given(x, y), found, block=BLOCK) for f in (streamed_transport_cost, streamed_dual_value))
    return Found(found.f, found.g, (found.row_error, found.col_error), *values)


def checks():
    """Checks of WFM-12."""
    wrong = {name: partial(solve, minimum=fault) for name, fault in FAULTS.items()}
    return (
        Check(
            "the dense solver, step by step, of clouds in blocks",
            iterates_are_the_dense_ones,
            solve,
            wrong
            | {
                "one iteration more": lambda x, y, eps, *, steps: solve(x, y, eps, steps=steps + 1),
                "twice eps": lambda x, y, eps, *, steps: solve(x, y, 2.0 * eps, steps=steps),
            },
            roundings(300, "potentials relative to the largest cost, errors absolute; exponents up to ten"),
            dimensions=(1, 3, 6),
            repeats=1,
            many_shapes=True,
        ),
        Check(
            "POT, Sinkhorn in the log domain, of clouds in blocks",
            values_are_pots,
            solve,
            wrong,
            ITERATED,
            dimensions=(3,),
            repeats=1,
            needs="ot",
            many_shapes=True,
        ),
        Check(
            "SciPy logsumexp, of clouds in blocks",
            soft_minima,
            partial(streamed_softmin, block=BLOCK),
            {name: partial(fault, block=BLOCK) for name, fault in FAULTS.items()}
            | {"half of eps": lambda x, y, p, w, eps: streamed_softmin(x, y, p, w, 0.5 * eps, block=BLOCK)},
            roundings(300, "exponents of the size of the cost, a sum of 6 terms"),
            dimensions=(1, 3, 6),
        ),
        Check(
            "for infinite eps the mean, of clouds in blocks",
            means_of_the_gaps,
            partial(streamed_softmin, block=BLOCK),
            {
                "without the potential": lambda x, y, p, w, eps: streamed_softmin(
                    x, y, 0 * p, w, eps, block=BLOCK
                ),
                "weights forgotten": lambda x, y, p, w, eps: streamed_softmin(
                    x, y, p, even(w), eps, block=BLOCK
                ),
                "the least gap": lambda x, y, p, w, eps: streamed_softmin(
                    x, y, p, w, np.full_like(eps, 1e-3), block=BLOCK
                ),
            },
            roundings(100, "a sum of 6 terms"),
            dimensions=(1, 3, 6),
        ),
        Check(
            "the dense solver, when it stops, of clouds in blocks",
            stops_where_the_dense_one_does,
            _until,
            {
                "one iteration more": lambda *given, tol, every: _until(*given, tol=tol, every=every, more=1),
                "when one marginal is right": lambda *given, tol, every: _until(*given, tol=1.0, every=every),
                "looking each time": lambda *given, tol, every: _until(*given, tol=tol, every=1),
            },
            roundings(300, "marginal errors, absolute; exponents up to ten"),
            dimensions=(2,),
            repeats=1,
            many_shapes=True,
        ),
        dual_check(),
        Check(
            "marginal errors of clouds in blocks, by sums",
            errors_of_the_marginals,
            _errors,
            {
                "interchanged": lambda *given: _errors(*given)[::-1],
                "the last point left out": lambda x, y, a, b, *rest: _errors(
                    x, y, a, np.where(np.arange(6) == 5, 0.0, b), *rest
                ),
                "weights forgotten": lambda x, y, a, b, *rest: _errors(x, y, even(a), even(b), *rest),
            },
            roundings(300, "sums of 11 terms; exponents up to ten"),
            dimensions=(1, 3),
        ),
        Check(
            "statistics of the live pairs in blocks, by NumPy",
            scales_of_the_cost,
            _scales,
            {
                "padding counted": lambda x, y, a, b: _scales(
                    *(np.nan_to_num(p) for p in (x, y)), np.ones_like(a), np.ones_like(b)
                ),
                "mean under the weights": lambda x, y, a, b: (
                    _scales(x, y, a, b)[0],
                    np.einsum("ki,kij,kj->k", a, np.nan_to_num(sq_euclidean_cost(x, y)), b),
                ),
                "the root": lambda x, y, a, b: tuple(map(np.sqrt, _scales(x, y, a, b))),
            },
            roundings(30, "a mean of 30 numbers"),
            dimensions=(1, 3),
        ),
    )


def iterates_are_the_dense_ones(solve, draw):
    """Potentials, errors, cost and dual value after two steps, with padding at NaN."""
    x, y, cost, eps = problem(draw)
    found = draw.call(partial(solve, steps=2), *(padded(cloud, 1) for cloud in (x, y)), eps)
    cost, largest = draw.rounded(cost), np.max(cost, axis=(1, 2))
    truth = sinkhorn(cost, x.weights, y.weights, eps=eps, tol=None, max_iter=2)
    given = (cost, x.weights, y.weights, truth)
    return worst_of(
        relative(found.f[:, :5], truth.f, largest[:, None]),
        relative(found.g[:, :6], truth.g, largest[:, None]),
        float(np.max(np.abs(found.f[:, 5:])) + np.max(np.abs(found.g[:, 6:]))),
        *(
            relative(*pair, 1.0)
            for pair in zip(found.errors, (truth.row_error, truth.col_error), strict=True)
        ),
        relative(found.cost, transport_cost(*given), largest),
        relative(found.dual, dual_value(*given), largest),
    )


def values_are_pots(solve, draw):
    """Cost and entropic cost, relative to the largest cost."""
    x, y, cost, eps = problem(draw)
    found = draw.call(solve, padded(x, 1), y, eps)
    P, largest = plans_of_pot(x, y, eps), np.max(cost, axis=(1, 2))
    priced = np.sum(P * cost, axis=(1, 2))
    product = x.weights[:, :, None] * y.weights[:, None, :]
    entropic = priced + eps * np.sum(P * np.log(P / product), axis=(1, 2))
    return worst_of(relative(found.cost, priced, largest), relative(found.dual, entropic, largest))


def soft_minima(softmin, draw):
    """Soft minima at 5 points, one weight of 7 zero, for eps of a thousandth of the cost, and as much as it.

    The columns come by their potential, the largest last: a maximum has to be carried over.
    """
    x, y, cost, _ = problem(draw)
    largest = np.max(cost, axis=(1, 2))
    eps = draw.rounded(largest * [0.001, 0.2, 1.0])
    p = draw.rounded(np.sort(draw.rng.random((3, 6)), axis=-1) * largest[:, None])
    gaps, far = p[:, None] - cost, padded(y, 1)
    truth = -eps[:, None] * logsumexp(gaps / eps[:, None, None], b=y.weights[:, None], axis=-1)
    p = np.pad(p, [(0, 0), (0, 1)])
    found = draw.call(softmin, x.points, np.nan_to_num(far.points), p, far.weights, eps)
    return relative(found, truth, largest[:, None])


def means_of_the_gaps(softmin, draw):
    """``Σⱼ wⱼ (Kᵢⱼ - pⱼ)`` at 5 points, one weight of 7 zero."""
    x, y, cost, _ = problem(draw)
    p, far = draw.normal(draw.size, 6), padded(y, 1)
    truth = np.einsum("kij,kj->ki", cost - p[:, None], y.weights)
    given = (np.nan_to_num(far.points), np.pad(p, [(0, 0), (0, 1)]), far.weights)
    found = draw.call(softmin, x.points, *given, np.full(draw.size, np.inf))
    return relative(found, truth, np.max(cost, axis=(1, 2))[:, None])


def _until(x, y, eps, *, tol, every, more=0):
    options = {"eps": eps, "tol": tol, "max_iter": 60, "check_every": every, "require": False}
    found = sinkhorn_points(*given(x, y), **options, block=BLOCK)
    return found._replace(n_iter=found.n_iter + more)


def stops_where_the_dense_one_does(until, draw):
    """Difference of the errors, and one where iterations or the verdict differ; a fast and a slow problem."""
    x, y, cost, eps = problem(draw)
    eps, cost, worst = draw.rounded(eps * [1.0, 0.2, 0.1]), draw.rounded(cost), 0.0
    for tol, every in ((1e-2, 4), (1e-3, 3), (1e-12, 1)):
        found = draw.call(partial(until, tol=tol, every=every), x, y, eps)
        options = {"eps": eps, "tol": tol, "max_iter": 60, "check_every": every, "require": False}
        truth = sinkhorn(cost, x.weights, y.weights, **options)
        same = found.n_iter == truth.n_iter and np.array_equal(found.converged, truth.converged)
        same = same or (draw.dtype == "float32" and tol < 1e-6 and found.n_iter == 60)
        worst = worst_of(worst, relative(found.col_error, truth.col_error, 1.0), float(not same))
    return worst


def _errors(x, y, a, b, eps, f, g):
    return streamed_marginal_errors(PointProblem(x, y, a, b, eps, f), f, g, block=BLOCK)


def errors_of_the_marginals(errors, draw):
    """Both errors of the plan of random potentials."""
    x, y, cost, eps = problem(draw)
    f, g = (draw.rounded(0.5 * eps[:, None] * draw.rng.standard_normal((draw.size, n))) for n in (5, 6))
    P = plan_of(cost, x.weights, y.weights, eps, f, g)
    found = draw.call(errors, *given(x, y), eps, f, g)
    truth = (np.abs(P.sum(axis=-1) - x.weights), np.abs(P.sum(axis=-2) - y.weights))
    return worst_of(*(relative(e, t.sum(axis=-1), 1.0) for e, t in zip(found, truth, strict=True)))


def _scales(x, y, a, b):
    return tuple(streamed_scale(x, y, a, b, name, block=BLOCK) for name in ("max", "mean"))


def scales_of_the_cost(scales, draw):
    """Largest and mean cost of 5 x 6 live pairs, and of points that are all the same."""
    x, y, cost, _ = problem(draw)
    flat = cost.reshape(draw.size, -1)
    found = draw.call(scales, *given(*(padded(cloud, 1) for cloud in (x, y))))
    one = np.zeros((draw.size, 2, draw.d))  # for costs of zeros, any scale will do: 1
    ones = draw.call(_scales, one, one, *np.full((2, draw.size, 2), 0.5))
    truths = zip((*found, *ones), (flat.max(1), flat.mean(1), *np.ones((2, draw.size))), strict=True)
    return worst_of(*(relative(*pair) for pair in truths))


def twin_check(twin):
    """Check of a twin of the soft minimum."""
    return Check(
        "the reference on the same arrays",
        soft_minima_agree,
        twin,
        {
            "half of eps": lambda x, y, p, w, eps: streamed_softmin(x, y, p, w, 0.5 * eps),
            "weights forgotten": lambda x, y, p, w, eps: streamed_softmin(x, y, p, even(w), eps),
            "the last point left out": lambda x, y, p, w, eps: streamed_softmin(
                x, y, p, np.where(np.arange(w.shape[-1]) == w.shape[-1] - 2, 0.0, w), eps
            ),
        },
        roundings(1000, "exponents up to 20; of the largest cost"),
        dimensions=(1, 3, 16),
    )


def soft_minima_agree(twin, draw):
    """Soft minima at 5 points for eps of a twentieth of the cost, as much as it, and infinite."""
    x, y, cost, _ = problem(draw)
    largest, y = np.max(cost, axis=(1, 2)), padded(y, 1)
    eps = draw.rounded(np.array([0.05, 1.0, np.inf]) * largest)
    p = draw.rounded(0.2 * largest[:, None] * draw.rng.standard_normal((3, 7)))
    given = (x.points, np.nan_to_num(y.points), p, y.weights, eps)
    return relative(draw.call(twin, *given), draw.call(streamed_softmin, *given), largest[:, None])
