"""Audited formulas of Meta OT: the semi-dual, its gradient, its gap."""

import numpy as np
from scipy.optimize import linprog
from scipy.special import logsumexp

from refwfm.transport.grids import (
    check_histograms,
    half_steps,
    marginal,
)
from refwfm.transport.semidual import (
    kl_dual_value,
    semidual_gradient,
    semidual_value,
    semidual_value_and_gradient,
    to_product_convention,
)
from refwfm.transport.sinkhorn import sinkhorn
from refwfm.validation import slopes as torch_slopes
from refwfm.validation.check import Check, Item, Misprint, Tolerance, roundings, worst_of
from refwfm.validation.entropic_problems import (
    even,
    problem,
    scaled_kernel,
    two_atom_plans,
    unit,
)
from refwfm.validation.meta_problems import EXPONENTS, at_eps, drawn, meta_item, semidual_of
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_ot_1(), meta_ot_2(), meta_ot_3()]


# META-OT-1


def meta_ot_1() -> Item:
    """Dual and semi-dual value."""
    value, kl = at_eps(semidual_value), at_eps(kl_dual_value)
    return meta_item(
        1,
        "section 2, the dual and its half-step",
        "semi-dual of entropic transport",
        r"S(f)=\langle f,a\rangle+\langle g(f),b\rangle-\varepsilon,\quad "
        r"g(f)=\varepsilon\log b-\varepsilon\log(K^\top e^{f/\varepsilon})",
        "One potential decides: the other is its half-step, with which the plan's mass is 1.",
        (semidual_value, kl_dual_value, to_product_convention),
        (
            Check(
                "the dual objective by sums",
                semiduals,
                value,
                {
                    "without the entropy of the weights": kl,
                    "without eps, the mass of the plan": lambda f, c, a, b, e: value(f, c, a, b, e) + e,
                    "half of eps": lambda f, c, a, b, e: value(f, c, a, b, 0.5 * e),
                    "half of the cost": lambda f, c, a, b, e: value(f, 0.5 * c, a, b, e),
                    "weights dropped": lambda f, c, a, b, e: value(f, c, even(a), even(b), e),
                    "f as in the paper's convention": lambda f, c, a, b, e: value(
                        f - e[:, None] * np.log(a), c, a, b, e
                    ),
                },
                EXPONENTS,
                dimensions=(1, 3),
            ),
            Check(
                "the KL dual objective by sums",
                kl_duals,
                kl,
                {
                    "with the entropy of the weights": value,
                    "the sign of f": lambda f, c, a, b, e: kl(-f, c, a, b, e),
                    "half of eps": lambda f, c, a, b, e: kl(f, c, a, b, 0.5 * e),
                },
                EXPONENTS,
                dimensions=(1, 3),
            ),
            Check(
                "the same plan in both conventions",
                conventions,
                lambda f, a, eps: to_product_convention(f, a, eps=eps),
                {
                    "the sign of the logarithm": lambda f, a, eps: (
                        2.0 * f - to_product_convention(f, a, eps=eps)
                    ),
                    "eps forgotten": lambda f, a, eps: to_product_convention(f, a, eps=0.0 * eps + 1.0),
                    "unchanged": lambda f, a, eps: np.where(a > 0, f, 0.0),
                },
                roundings(100, "logarithms up to 5"),
                dimensions=(1,),
            ),
        ),
        (
            Misprint(
                "META-constant",
                r"\langle f-\varepsilon\log a,a\rangle+\langle g-\varepsilon\log b,b\rangle"
                r"+\varepsilon(1-\sum P)",
                r"\langle f,a\rangle+\langle g,b\rangle-\varepsilon\sum P",
                "The public code trains with the KL-regularised value; it differs by a constant of the pair.",
                "without the entropy of the weights",
            ),
        ),
    )


def semiduals(value, draw):
    """At random potentials."""
    cost, a, b, eps, f = drawn(draw)
    truth = [
        semidual_of(f[k] + eps[k] * np.log(a[k]), cost[k], a[k], b[k], eps[k])[0] for k in range(draw.size)
    ]
    found = draw.call(value, f, cost, a, b, eps)
    return relative(found, np.array(truth), np.max(cost, axis=(1, 2)))


def kl_duals(value, draw):
    """``⟨f - eps log a, a⟩ + ⟨g - eps log b, b⟩ + eps (1 - Σ P)``, in the paper's convention."""
    cost, a, b, eps, f = drawn(draw)
    truth = []
    for k in range(draw.size):
        paper = f[k] + eps[k] * np.log(a[k])
        _, g, P = semidual_of(paper, cost[k], a[k], b[k], eps[k])
        shifted = (paper - eps[k] * np.log(a[k])) @ a[k] + (g - eps[k] * np.log(b[k])) @ b[k]
        truth.append(shifted + eps[k] * (1.0 - P.sum()))
    return relative(draw.call(value, f, cost, a, b, eps), np.array(truth), np.max(cost, axis=(1, 2)))


def conventions(convert, draw):
    """``a exp(f / eps)`` of the result is ``exp(f / eps)`` of the argument; 0 where there is no weight."""
    a = np.pad(np.stack([draw.weights(5) for _ in range(draw.size)]), [(0, 0), (0, 1)])
    eps = draw.rounded(draw.rng.uniform(0.2, 2.0, draw.size))
    f = draw.rounded(eps[:, None] * draw.rng.standard_normal(a.shape))
    found = draw.call(convert, f, a, eps)
    truth = np.where(a > 0, np.exp(f / eps[:, None]), 0.0)
    return worst_of(relative(a * np.exp(found / eps[:, None]), truth), float(np.max(np.abs(found[:, -1]))))


# META-OT-2


def meta_ot_2() -> Item:
    """Gradient of the semi-dual."""
    gradient = at_eps(semidual_gradient)
    return meta_item(
        2,
        "section 2, derived by the envelope theorem",
        "gradient of the semi-dual",
        r"\nabla_f S(f)=a-P(f,g(f))\,\mathbf 1",
        "What the rows of the plan lack. The columns are exact, so that its L1 norm is the error of a start.",
        (semidual_gradient, semidual_value_and_gradient, half_steps, marginal),
        (
            Check(
                "differences of the value",
                slopes,
                gradient,
                {
                    "the sign": lambda *given: -gradient(*given),
                    "P 1 alone": lambda f, c, a, b, e: a - gradient(f, c, a, b, e),
                    "half of eps": lambda f, c, a, b, e: gradient(f, c, a, b, 0.5 * e),
                    "relative to the weights": lambda f, c, a, b, e: gradient(f, c, a, b, e) / a,
                    "the rows' mean": lambda f, c, a, b, e: np.mean(gradient(f, c, a, b, e)) + 0.0 * f,
                },
                Tolerance(1e-8, 2e-4, "fourth-order differences; float32: exponents up to ten"),
                dimensions=(1, 3),
            ),
            Check(
                "both at once",
                both_at_once,
                at_eps(semidual_value_and_gradient),
                {
                    "with the constants": lambda f, c, a, b, e: (
                        semidual_value(f, c, a, b, eps=e),
                        gradient(f, c, a, b, e),
                    ),
                    "the gradient's sign": lambda f, c, a, b, e: (
                        kl_dual_value(f, c, a, b, eps=e),
                        -gradient(f, c, a, b, e),
                    ),
                },
                EXPONENTS,
                dimensions=(2,),
            ),
            Check(
                "half-steps and their marginals, by sums",
                halves,
                _halves,
                {
                    "f itself for the next one": lambda f, c, a, b, e: (
                        _halves(f, c, a, b, e)[0],
                        f,
                        _halves(f, c, a, b, e)[2],
                    ),
                    "twice the step": lambda f, c, a, b, e: (
                        *_halves(f, c, a, b, e)[:2],
                        _halves(f, c, a, b, e)[2] ** 2 / a,
                    ),
                    "half of eps": lambda f, c, a, b, e: _halves(f, c, a, b, 0.5 * e),
                },
                EXPONENTS,
                dimensions=(2,),
            ),
            *torch_slopes.semidual_checks(),
            torch_slopes.masked_check(),
        ),
    )


def slopes(gradient, draw):
    """Components of the gradient relative to 1, the mass."""
    cost, a, b, eps, f = drawn(draw)
    found = draw.call(gradient, f, cost, a, b, eps)
    truth = np.zeros_like(f)
    for k in range(draw.size):
        paper, e = f[k] + eps[k] * np.log(a[k]), eps[k]
        for i in range(f.shape[1]):
            h = 1e-3 * e * np.eye(f.shape[1])[i]
            steps = [semidual_of(paper + s * h, cost[k], a[k], b[k], e)[0] for s in (-2, -1, 1, 2)]
            truth[k, i] = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12e-3 * e)
    return relative(found, truth, 1.0)


def both_at_once(both, draw):
    """Value relative to the largest cost, gradient to 1."""
    cost, a, b, eps, f = drawn(draw)
    value, gradient = draw.call(both, f, cost, a, b, eps)
    truths = [
        semidual_of(f[k] + eps[k] * np.log(a[k]), cost[k], a[k], b[k], eps[k]) for k in range(draw.size)
    ]
    constant = eps * (np.sum(a * np.log(a), -1) + np.sum(b * np.log(b), -1) - 1.0)
    values = np.array([t[0] for t in truths]) - constant
    lack = a - np.stack([t[2].sum(axis=1) for t in truths])
    return worst_of(relative(value, values, np.max(cost, axis=(1, 2))), relative(gradient, lack, 1.0))


def _halves(f, cost, a, b, eps):
    columns, rows = half_steps(check_histograms(cost, a, b, eps=eps, validate=False))
    g = columns(f)
    return g, rows(g), marginal(a, f, rows(g), eps)


def halves(halves, draw):
    """g, the next f, and the rows' marginal."""
    cost, a, b, eps, f = drawn(draw)
    found = draw.call(halves, f, cost, a, b, eps)
    worst = 0.0
    for k in range(draw.size):
        _, paper, P = semidual_of(f[k] + eps[k] * np.log(a[k]), cost[k], a[k], b[k], eps[k])
        g = paper - eps[k] * np.log(b[k])
        following = -eps[k] * logsumexp((g - cost[k]) / eps[k], b=b[k], axis=1)
        pairs = zip(
            (part[k] for part in found),
            (g, following, P.sum(axis=1)),
            (cost[k].max(),) * 2 + (1.0,),
            strict=True,
        )
        worst = worst_of(worst, *(float(np.max(np.abs(x - y))) / size for x, y, size in pairs))
    return worst


# META-OT-3


def meta_ot_3() -> Item:
    """Dual gap."""
    value, kl = at_eps(semidual_value), at_eps(kl_dual_value)
    return meta_item(
        3,
        "derived: the gap is a divergence",
        "dual gap of a predicted potential",
        r"D^\star-S(f)=\varepsilon\,\mathrm{KL}(P^\star\,\|\,P(f,g(f)))\ge 0",
        "The semi-dual is a certificate: never above the optimum, and the gap says how wrong the plan is.",
        (semidual_value, kl_dual_value),
        (
            Check(
                "the divergence of the plans",
                gaps,
                value,
                {
                    "half of eps": lambda f, c, a, b, e: value(f, c, a, b, 0.5 * e),
                    "weights dropped": lambda f, c, a, b, e: value(f, c, even(a), even(b), e),
                    "the sign": lambda *given: -value(*given),
                    "f counted twice": lambda f, c, a, b, e: value(f, c, a, b, e) + np.sum(f * a, axis=-1),
                    "g of the cost alone": lambda f, c, a, b, e: (
                        value(0.0 * f, c, a, b, e) + np.sum(f * a, axis=-1)
                    ),
                },
                Tolerance(1e-12, 2e-5, "an identity; float32: exponents up to ten"),
                dimensions=(1, 3),
            ),
            Check(
                "closed form for two atoms each",
                two_atoms,
                kl,
                {
                    "half of the cost": lambda f, c, a, b, e: kl(f, 0.5 * c, a, b, e),
                    "half of eps": lambda f, c, a, b, e: kl(f, c, a, b, 0.5 * e),
                    "with the entropy of the weights": value,
                },
                roundings(30, "three exponentials"),
                dimensions=(1,),
                many_shapes=True,
            ),
            Check(
                "SciPy's linear programme, as eps tends to 0",
                limits,
                lambda cost, a, b, eps: kl_dual_value(
                    sinkhorn(cost, a, b, eps=eps, require=False).f, cost, a, b, eps=eps
                ),
                {
                    "zeros instead of the solution": lambda cost, a, b, eps: kl_dual_value(
                        0.0 * a, cost, a, b, eps=eps
                    ),
                    "the product plan": lambda cost, a, b, eps: np.einsum("ki,kij,kj->k", a, cost, b),
                    "half of the cost": lambda cost, a, b, eps: kl_dual_value(
                        sinkhorn(0.5 * cost, a, b, eps=eps, require=False).f, 0.5 * cost, a, b, eps=eps
                    ),
                },
                Tolerance(1e-2, 1e-2, "eps is 1/500 of the largest cost, and KL at most log 6"),
                dimensions=(2,),
                repeats=1,
                many_shapes=True,
            ),
        ),
    )


def gaps(value, draw):
    """Gap of random potentials against ``eps KL(P* | P)``, relative to the largest cost."""
    cost, a, b, eps, f = drawn(draw)
    a, b = unit(a), unit(b)
    best, f_star, _ = scaled_kernel(cost, a, b, eps)
    top, found = (draw.call(value, potential, cost, a, b, eps) for potential in (f_star, f))
    truth = []
    for k in range(draw.size):
        P = semidual_of(f[k] + eps[k] * np.log(a[k]), cost[k], a[k], b[k], eps[k])[2]
        truth.append(eps[k] * (np.sum(best[k] * np.log(best[k] / P)) - best[k].sum() + P.sum()))
    return relative(top - found, np.array(truth), np.max(cost, axis=(1, 2)))


def two_atoms(value, draw):
    """``-eps log((1 + exp(-1 / eps)) / 2)`` at f = 0, the solution; and the plan's corner."""
    eps = draw.rounded(np.array([0.1, 0.5, 3.0]))
    cost, half = np.tile(1.0 - np.eye(2), (3, 1, 1)), np.full((3, 2), 0.5)
    corner = 0.5 / (1.0 + np.exp(-1.0 / eps))
    assert np.allclose(two_atom_plans(cost, eps)[:, 0, 0], corner)
    P = np.stack([corner, 0.5 - corner], axis=-1)
    truth = 2.0 * P[:, 1] + eps * 2.0 * np.sum(P * np.log(P / 0.25), axis=-1)
    return relative(draw.call(value, np.zeros((3, 2)), cost, half, half, eps), truth)


def limits(value, draw):
    """Distance from the optimum of the linear programme, relative to the largest cost."""
    _, a, b, _, _ = drawn(draw)
    _, _, cost, _ = problem(draw)
    a, b, cost = draw.rounded(unit(a)), draw.rounded(unit(b)), draw.rounded(cost)
    eps = draw.rounded(np.max(cost, axis=(1, 2)) / 500.0)
    (n, m), truth = cost.shape[1:], []
    for k in range(draw.size):
        sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
        solved = linprog(cost[k].ravel(), A_eq=sums[:-1], b_eq=np.concatenate([unit(a[k]), unit(b[k])])[:-1])
        truth.append(solved.fun)
    return relative(draw.call(value, cost, a, b, eps), np.array(truth), np.max(cost, axis=(1, 2)))
