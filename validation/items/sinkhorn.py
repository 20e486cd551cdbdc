"""Audited formulas of entropic plans: Sinkhorn's iteration, its cost, its values, where it starts."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.problem import Problem, cost_scale, log_weights
from refwfm.transport.sinkhorn import (
    Sinkhorn,
    dual_value,
    iterate,
    log_plan,
    marginal_errors,
    plan,
    sinkhorn,
    softmin,
    sq_euclidean_cost,
    transport_cost,
)
from refwfm.validation import corners, stopping, streamed_checks
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.entropic_problems import (
    ITERATED,
    even,
    gaussian_plan,
    gaussians,
    means,
    padded,
    plan_of,
    plans_of_pot,
    potential_steps,
    problem,
    solve,
    solve_cost,
    two_atom_plans,
    unit,
    with_potentials,
)
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_12()]


def _with_cost(change):
    """Control: another cost than the squared distance."""
    return lambda x, y, eps: solve_cost(
        change(sq_euclidean_cost(x.points, y.points)), x.weights, y.weights, eps
    )


def _transposed(x, y, eps):
    found = solve(x, y, eps)
    return found._replace(log_plan=found.log_plan.mT, plan=found.plan.mT)


def _gibbs(x, y, eps):
    """Control: ``exp((f + g - K) / eps)`` with the potentials of the product convention."""
    found = solve(x, y, eps)
    weights = x.weights[..., :, None] * y.weights[..., None, :]
    live = weights > 0
    return found._replace(plan=np.where(live, found.plan / np.where(live, weights, 1.0), 0.0))


WRONG = {
    "cost ‖x - y‖² / 2": _with_cost(lambda cost: 0.5 * cost),
    "distance not squared": _with_cost(np.sqrt),
    "twice eps": lambda x, y, eps: solve(x, y, 2.0 * eps),
    "weights dropped": lambda x, y, eps: solve(
        x._replace(weights=even(x.weights)), y._replace(weights=even(y.weights)), eps
    ),
    "sign of the cost": _with_cost(lambda cost: -cost),
    "transposed": _transposed,
    "Gibbs form, the weights forgotten": _gibbs,
    "one iteration": lambda x, y, eps: solve_cost(
        sq_euclidean_cost(x.points, y.points), x.weights, y.weights, eps, iterations=1
    ),
}


# WFM-12


def wfm_12() -> Item:
    """Entropic plan."""
    return Item(
        id="WFM-12",
        paper="WFM",
        place="appendix A, eq. 12",
        title="entropic transport plan",
        latex=(
            r"P^*=\arg\min_{P\in U(a,b)}\langle K,P\rangle+\varepsilon\sum_{ij}P_{ij}(\log P_{ij}-1),"
            r"\quad P^*_{ij}=a_ib_j\,e^{(f_i+g_j-K_{ij})/\varepsilon},\quad K_{ij}=\|x_i-y_j\|^2"
        ),
        statement=(
            "Transport that pays for certainty: its plan has two potentials, each the soft minimum of the "
            "other. The cost is the squared distance, not half of it, and the weights stand outside."
        ),
        functions=(
            sinkhorn,
            iterate,
            plan,
            log_plan,
            transport_cost,
            dual_value,
            softmin,
            sq_euclidean_cost,
            gaussian_potential,
            marginal_errors,
            cost_scale,
            log_weights,
            *streamed_checks.FUNCTIONS,
        ),
        checks=_plans() + _values() + _parts() + stopping.sinkhorn_checks() + streamed_checks.checks(),
    )


def _plans():
    return (
        Check(
            "POT, Sinkhorn in the log domain",
            plans_are_pots,
            solve,
            WRONG,
            ITERATED,
            dimensions=(3,),
            repeats=1,
            needs="ot",
            many_shapes=True,
        ),
        Check(
            "closed form for two atoms each",
            two_atoms,
            lambda cost, a, b, eps: solve_cost(cost, a, b, eps).plan,
            {
                "half of the cost": lambda cost, a, b, eps: solve_cost(0.5 * cost, a, b, eps).plan,
                "twice eps": lambda cost, a, b, eps: solve_cost(cost, a, b, 2.0 * eps).plan,
                "sign of the cost": lambda cost, a, b, eps: solve_cost(-cost, a, b, eps).plan,
                "product plan": lambda cost, a, b, eps: a[..., :, None] * b[..., None, :],
            },
            ITERATED,
            dimensions=(2,),
            repeats=3,
            many_shapes=True,
        ),
        Check(
            "closed form for Gaussians, by quadrature",
            gaussians_on_a_grid,
            solve,
            {
                name: WRONG[name]
                for name in ("cost ‖x - y‖² / 2", "twice eps", "weights dropped", "one iteration")
            }
            | {
                "without the entropy": lambda x, y, eps: solve(x, y, eps)._replace(dual=solve(x, y, eps).cost)
            },
            Tolerance(1e-9, 1e-3, "65 nodes, eight standard deviations; float32: cost / eps up to 256"),
            dimensions=(1,),
            size=1,
            repeats=1,
        ),
    )


def plans_are_pots(solve, draw):
    """Plan, its logarithm, cost, dual value and errors; 5 and 6 atoms of unequal weights, and NaN as padding.

    Plans relative to their largest entry, values to the largest cost, marginal errors absolute.
    """
    x, y, cost, eps = problem(draw)
    given = [padded(cloud, n) for cloud, n in ((x, 1), (y, 0))]
    found = draw.call(solve, *given, eps)
    truth = plans_of_pot(x, y, eps)
    P = np.concatenate([truth, np.zeros((draw.size, 1, 6))], axis=1)
    product = unit(x.weights)[:, :, None] * unit(y.weights)[:, None, :]
    priced = np.sum(truth * cost, axis=(1, 2))
    entropic = priced + eps * np.sum(truth * np.log(truth / product), axis=(1, 2))
    largest = np.max(cost, axis=(1, 2))
    return worst_of(
        relative(found.plan, P),
        relative(np.exp(found.log_plan), P),
        relative(found.cost, priced, largest),
        relative(found.dual, entropic, largest),
        float(np.max(found.errors)),
    )


def two_atoms(couple, draw):
    """``P₁₁ = 1 / (2 (1 + exp(Δ / (2 eps))))``, ``Δ = K₁₁ + K₂₂ - K₁₂ - K₂₁``; eps 0.3, 1 and infinity."""
    cost = draw.rounded(draw.rng.uniform(0.0, 0.5, (3, 2, 2)))
    half, eps = np.full((3, 2), 0.5), draw.rounded(np.array([0.3, 1.0, np.inf]))
    return relative(draw.call(couple, cost, half, half, eps), two_atom_plans(cost, eps))


def gaussians_on_a_grid(solve, draw):
    """Mean product, cost and entropic cost of two normal laws on the line, relative to the cost."""
    x, y, (m0, v0, m1, v1), eps = gaussians(draw)
    found = draw.call(solve, x, y, np.array([eps]))
    covariance, cost, kl = gaussian_plan(m0, v0, m1, v1, eps)
    nodes = x.points[0, :, 0]
    mixed = (nodes - m0) @ found.plan[0] @ (nodes - m1)
    truth = np.array([covariance, cost, cost + eps * kl])
    return relative(np.array([[mixed, found.cost[0], found.dual[0]]]), truth[None])


# Values at any potentials


def _values():
    return (
        Check(
            "the dual objective, by sums",
            dual_objective,
            dual_value,
            {
                "without the mass of the plan": lambda cost, a, b, s: (
                    np.sum(s.f * a, axis=-1) + np.sum(s.g * b, axis=-1)
                ),
                "eps Σ P instead of eps (Σ P - 1)": lambda cost, a, b, s: dual_value(cost, a, b, s) - s.eps,
                "sign of the mass": lambda cost, a, b, s: (
                    2.0 * (np.sum(s.f * a, axis=-1) + np.sum(s.g * b, axis=-1)) - dual_value(cost, a, b, s)
                ),
                "f and g not weighted": lambda cost, a, b, s: dual_value(cost, even(a), even(b), s),
            },
            roundings(300, "of a difference of sums, relative to the largest cost; exponents up to ten"),
            dimensions=(1, 3),
        ),
        Check(
            "marginal errors, by sums",
            errors_of_the_marginals,
            _errors,
            {
                "largest instead of the sum": _largest_error,
                "interchanged": lambda *given: _errors(*given)[::-1],
                "total mass": lambda *given: tuple(
                    np.abs(plan_of(*given).sum(axis=(-2, -1)) - 1.0) for _ in range(2)
                ),
            },
            roundings(300, "sums of 11 terms; exponents up to ten"),
            dimensions=(1, 3),
        ),
    )


def _errors(cost, a, b, eps, f, g):
    return marginal_errors(Problem(cost, a, b, eps, f), f, g)


def _largest_error(cost, a, b, eps, f, g):
    P = plan_of(cost, a, b, eps, f, g)
    return np.max(np.abs(P.sum(axis=-1) - a), axis=-1), np.max(np.abs(P.sum(axis=-2) - b), axis=-1)


def dual_objective(dual_value, draw):
    """At random potentials, where the plan's mass is not 1."""
    cost, a, b, eps, f, g = with_potentials(draw)
    mass = plan_of(cost, a, b, eps, f, g).sum(axis=(1, 2))
    excess = mass - a.sum(axis=1) * b.sum(axis=1)
    truth = np.sum(f * a, axis=1) + np.sum(g * b, axis=1) - eps * excess
    zero = np.zeros(draw.size)
    found = draw.call(dual_value, cost, a, b, Sinkhorn(f, g, eps, zero, zero, 1, zero == 0))
    return relative(found, truth, np.max(cost, axis=(1, 2)))


def errors_of_the_marginals(errors, draw):
    """Both errors of the plan of random potentials."""
    given = with_potentials(draw)
    P, (a, b) = plan_of(*given), given[1:3]
    row = [sum(abs(sum(P[k, i]) - a[k, i]) for i in range(5)) for k in range(draw.size)]
    column = [sum(abs(sum(P[k, :, j]) - b[k, j]) for j in range(6)) for k in range(draw.size)]
    found = draw.call(errors, *given)
    return worst_of(relative(found[0], row, 1.0), relative(found[1], column, 1.0))


# Parts


def _parts():
    return (
        Check(
            "SciPy logsumexp",
            soft_minima,
            softmin,
            {
                "without the weights": lambda cost, p, w, eps: softmin(cost, p, even(w), eps),
                "padding counted": lambda cost, p, w, eps: softmin(cost, p, np.maximum(w, 0.1), eps),
                "the sign": lambda cost, p, w, eps: -softmin(cost, p, w, eps),
                "half of eps": lambda cost, p, w, eps: softmin(cost, p, w, 0.5 * eps),
                "hard minimum": lambda cost, p, w, eps: np.min(
                    np.where(w[:, None] > 0, cost - p[:, None], np.inf), axis=-1
                ),
            },
            roundings(100, "exponents up to 20, a sum of 6 terms"),
            dimensions=(1, 3),
        ),
        Check(
            "SciPy cdist",
            squared_distances,
            sq_euclidean_cost,
            {
                "half of it": lambda x, y: 0.5 * sq_euclidean_cost(x, y),
                "not squared": lambda x, y: np.sqrt(sq_euclidean_cost(x, y)),
                "transposed": lambda x, y: sq_euclidean_cost(y, x),
                "the sign of the product": lambda x, y: sq_euclidean_cost(x, -y),
                "cut to float32's digits far from the origin": _expanded,
            },
            roundings(30, "of the largest cost, 100 away from the origin"),
        ),
        Check(
            "textbook map of the moments",
            differences_of_the_potential,
            gaussian_potential,
            {
                "the sign": lambda x, y: -gaussian_potential(x, y),
                "half of it (cost ‖x - y‖² / 2)": lambda x, y: 0.5 * gaussian_potential(x, y),
                "of the opposite map": lambda x, y: gaussian_potential(
                    x, y._replace(points=2.0 * means(x) - y.points)
                ),
                "weights dropped": lambda x, y: gaussian_potential(
                    *(c._replace(weights=even(c.weights)) for c in (x, y))
                ),
                "means only": lambda x, y: 2.0 * np.sum(x.points * (means(x) - means(y)), axis=-1),
            },
            roundings(3000, "of the largest cost; moments of 12 points, in up to 6 dimensions"),
            dimensions=(1, 2, 3),
            many_shapes=True,
        ),
        Check(
            "statistics of the live pairs, by NumPy",
            scales_of_the_cost,
            _scales,
            {
                "padding counted": lambda cost, a, b: _scales(cost, np.ones_like(a), np.ones_like(b)),
                "mean for the median": lambda cost, a, b: (*_scales(cost, a, b)[:2], _scales(cost, a, b)[1]),
                "mean under the weights": lambda cost, a, b: (
                    _scales(cost, a, b)[0],
                    np.einsum("ki,kij,kj->k", a, cost, b),
                    _scales(cost, a, b)[2],
                ),
                "the root": lambda cost, a, b: tuple(map(np.sqrt, _scales(cost, a, b))),
            },
            roundings(30, "a mean of 30 numbers"),
            dimensions=(1, 3),
        ),
        corners.nan_scale_check(),
    )


def soft_minima(softmin, draw):
    """Soft minima of 4 rows of 6 entries, one weight 0, for eps 0.2, 1 and infinity (the mean)."""
    cost, p = draw.rounded(4.0 * draw.rng.random((3, 4, 6))), 0.1 * draw.normal(3, 6)
    w = np.stack([draw.weights(5) for _ in range(3)])
    p, w = draw.rounded(p), np.pad(w, [(0, 0), (0, 1)])
    eps = draw.rounded(np.array([0.2, 1.0, np.inf]))
    gap = cost - p[:, None]
    soft = [-e * logsumexp(-k / e, b=v, axis=-1) for e, k, v in zip(eps[:2], gap, w[:2], strict=False)]
    truth = np.stack([*soft, gap[2] @ w[2]])
    return relative(draw.call(softmin, cost, p, w, eps), truth)


def squared_distances(cost, draw):
    """All pairs of 4 and 5 points, 100 away from the origin."""
    x, y = (draw.rounded(100.0 + draw.normal(draw.size, n, draw.d)) for n in (4, 5))
    truth = np.stack([cdist(p, q, "sqeuclidean") for p, q in zip(x, y, strict=True)])
    return relative(draw.call(cost, x, y), truth)


def _expanded(x, y):
    x, y = (z.astype(np.float32) for z in (x, y))
    cost = np.sum(x**2, axis=-1)[..., :, None] + np.sum(y**2, axis=-1)[..., None, :] - 2.0 * (x @ y.mT)
    return cost.astype(np.float64)


def differences_of_the_potential(potential, draw):
    """Differences between points: a quadratic changes by its gradient ``2 (p - T(p))`` halfway."""
    x, y, cost, _ = problem(draw, 12, 13)
    found = draw.call(potential, x, padded(y, 1))
    gap = np.max(np.abs(np.diff(found) - potential_steps(x, y)), axis=1)
    return np.max(gap / np.max(cost, axis=(1, 2)))


def _scales(cost, a, b):
    return tuple(cost_scale(cost, a, b, name) for name in ("max", "mean", "median"))


def scales_of_the_cost(scales, draw):
    """Largest, mean and median cost of 5 × 6 live pairs; zeros at padding."""
    x, y, cost, _ = problem(draw)
    cost = draw.rounded(cost)
    given = np.pad(cost, [(0, 0), (0, 2), (0, 1)])
    a, b = np.pad(x.weights, [(0, 0), (0, 2)]), np.pad(y.weights, [(0, 0), (0, 1)])
    flat = cost.reshape(draw.size, -1)
    truth = (flat.max(axis=1), flat.mean(axis=1), np.median(flat, axis=1))
    found = draw.call(scales, given, a, b)
    return worst_of(*(relative(*pair) for pair in zip(found, truth, strict=True)))
