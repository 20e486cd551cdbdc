"""Audited regularisation of entropic maps from the size of a sample, and the Sinkhorn divergence."""

import math
from fractions import Fraction

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport.entropic import epsilon_schedule, sinkhorn_divergence
from refwfm.transport.sinkhorn import sq_euclidean_cost, transport_cost
from refwfm.validation import slopes, stopping
from refwfm.validation.check import EXACT, Check, Item, Misprint, roundings
from refwfm.validation.entropic_problems import (
    ITERATED,
    ITERATIONS,
    ROOT_HALF,
    padded,
    plans_of_pot,
    problem,
    solved,
    unit,
)
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [wfm_14(), wfm_div()]


# WFM-14, Theorem A.2, Corollary A.3


def wfm_14() -> Item:
    """Rate of the entropic map."""
    return Item(
        id="WFM-14",
        paper="WFM",
        place="appendix A.2, eq. 14; Theorem A.2, Corollary A.3",
        title="regularisation from the sample's size",
        latex=(
            r"\mathbb E\|\hat T_\varepsilon-T\|^2\lesssim n^{-1/2}\log(n)\,\varepsilon^{-d/2}+\varepsilon^2"
            r"\asymp\log(n)\,n^{-2/(d+4)}\quad\text{at}\quad\varepsilon\asymp n^{-1/(d+4)}"
        ),
        statement=(
            "The eps at which the bound's variance and bias are equal, up to the logarithm; the geodesics to "
            "the map's images inherit the rate, times t². The theorem itself is not checked here."
        ),
        functions=(epsilon_schedule,),
        checks=(
            Check(
                "exponents of n in variance and bias, as fractions",
                exponents_balance,
                epsilon_schedule,
                {
                    "as printed: balance with eps^(-d/2 - 1)": lambda n, d: n ** (-1.0 / (d + 6)),
                    "n^(-1/(d+2))": lambda n, d: n ** (-1.0 / (d + 2)),
                    "n^(-2/(d+4)), the rate itself": lambda n, d: epsilon_schedule(n, d) ** 2,
                    "the sign of the exponent": lambda n, d: 1.0 / epsilon_schedule(n, d),
                },
                EXACT,
                dimensions=(1, 2, 3, 6, 10),
                repeats=1,
            ),
            Check(
                "the rate: t² log(n) n^(-2/(d+4))",
                variance_has_the_rate,
                _variance,
                {
                    "as printed: variance with eps^(-d/2 - 1)": lambda n, d, t: (
                        _variance(n, d, t) / epsilon_schedule(n, d)
                    ),
                    "as printed: the corollary without log n": lambda n, d, t: (
                        _variance(n, d, t) / math.log(n)
                    ),
                    "t instead of t²": lambda n, d, t: _variance(n, d, t) / t,
                },
                roundings(300, "of powers"),
                dimensions=(1, 2, 3, 6, 10),
            ),
        ),
        misprints=(
            Misprint(
                "E8",
                r"n^{-1/2}\log(n)\,\varepsilon^{-d/2-1}+\varepsilon^2",
                r"n^{-1/2}\log(n)\,\varepsilon^{-d/2}+\varepsilon^2",
                "With the printed exponent the variance at the printed eps is n^(-1/(d+4)), above the rate.",
                "as printed: variance with eps^(-d/2 - 1)",
            ),
            Misprint(
                "E9",
                r"t^2\,n^{-2/(d+4)}",
                r"t^2\log(n)\,n^{-2/(d+4)}",
                "The theorem's logarithm is lost in the corollary.",
                "as printed: the corollary without log n",
            ),
        ),
    )


def exponents_balance(schedule, draw):
    """Exponent of ``n^(-1/2) eps^(-d/2)`` less that of ``eps²``; both must be ``-2 / (d + 4)``."""
    d, n = draw.d, 1000
    e = Fraction(math.log(schedule(n, d)) / math.log(n)).limit_denominator(100)
    variance, bias = Fraction(-1, 2) - Fraction(d, 2) * e, 2 * e
    return float(abs(variance - bias) + abs(bias - Fraction(-2, d + 4)))


def _variance(n, d, t):
    """First term of the bound at the schedule's eps, for the point at time t of the geodesics."""
    return t**2 * n**-0.5 * math.log(n) * epsilon_schedule(n, d) ** (-0.5 * d)


def variance_has_the_rate(variance, draw):
    """For n from 10 to 10 000 at a random time, relative."""
    t = float(draw.rng.uniform(0.1, 0.9))
    sizes = np.array([10, 100, 1000, 10_000])
    found = np.array([variance(int(n), draw.d, t) for n in sizes])
    truth = t**2 * np.log(sizes) * sizes ** (-2.0 / (draw.d + 4))
    return np.max(np.abs(found / truth - 1.0))


# WFM-12, debiased


def wfm_div() -> Item:
    """Sinkhorn divergence."""
    return Item(
        id="WFM-Div",
        paper="WFM",
        place="beside appendix A, eq. 12; Feydy et al. 2019",
        title="Sinkhorn divergence",
        latex=(
            r"S_\varepsilon(\mu,\nu)=\mathrm{OT}_\varepsilon(\mu,\nu)-\tfrac12\mathrm{OT}_\varepsilon(\mu,\mu)"
            r"-\tfrac12\mathrm{OT}_\varepsilon(\nu,\nu),\quad\mathrm{OT}_\varepsilon=\min_P\langle K,P\rangle"
            r"+\varepsilon\,\mathrm{KL}(P|a\otimes b)"
        ),
        statement="The entropic cost less what each cloud costs itself: not negative, zero for equal clouds.",
        functions=(sinkhorn_divergence,),
        checks=(
            Check(
                "POT's plans, cost and entropy by sums",
                divergence_by_sums,
                _divergence,
                WRONG_DIVERGENCES,
                ITERATED,
                dimensions=(2,),
                repeats=1,
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "zero for equal clouds, in another order",
                equal_clouds_have_none,
                _divergence,
                {
                    name: WRONG_DIVERGENCES[name]
                    for name in ("not debiased", "one cloud debiased", "terms added")
                },
                ITERATED,
                dimensions=(1, 3),
                repeats=1,
            ),
            Check(
                "never negative",
                divergence_is_not_negative,
                _divergence,
                {
                    "the sign": lambda x, y, eps: -_divergence(x, y, eps),
                    "own costs whole": lambda x, y, eps: 2.0 * _divergence(x, y, eps) - _entropic(x, y, eps),
                },
                ITERATED,
                dimensions=(1, 3),
                repeats=1,
            ),
            slopes.divergence_check(),
            stopping.self_transport_check(),
        ),
    )


def _divergence(x, y, eps):
    return sinkhorn_divergence(x, y, eps=eps, tol=None, max_iter=ITERATIONS).value


def _entropic(x, y, eps):
    """Entropic cost, from the divergence's own three solutions by duality."""
    xy = solved(x, y, eps)
    return np.sum(xy.f * x.weights, axis=-1) + np.sum(xy.g * y.weights, axis=-1)


def _priced(x, y, eps):
    cost = sq_euclidean_cost(x.points, y.points)
    return transport_cost(cost, x.weights, y.weights, solved(x, y, eps))


WRONG_DIVERGENCES = {
    "the second cloud's term from the first": lambda x, y, eps: (
        _entropic(x, y, eps) - 0.5 * _entropic(x, x, eps) - 0.5 * _entropic(x, x, eps)
    ),
    "not debiased": _entropic,
    "one cloud debiased": lambda x, y, eps: _entropic(x, y, eps) - 0.5 * _entropic(x, x, eps),
    "terms added": lambda x, y, eps: 2.0 * _entropic(x, y, eps) - _divergence(x, y, eps),
    "costs without the entropy": lambda x, y, eps: (
        _priced(x, y, eps) - 0.5 * _priced(x, x, eps) - 0.5 * _priced(y, y, eps)
    ),
    "cost ‖x - y‖² / 2": lambda x, y, eps: _divergence(
        *(c._replace(points=ROOT_HALF * c.points) for c in (x, y)), eps
    ),
    "twice eps": lambda x, y, eps: _divergence(x, y, 2.0 * eps),
    "twice": lambda x, y, eps: 2.0 * _divergence(x, y, eps),
}


def divergence_by_sums(divergence, draw):
    """Of clouds of 5 and 6 atoms with unequal weights, relative to the largest cost."""
    x, y, cost, eps = problem(draw)

    def entropic(u, v):
        K, P = (np.sum((u.points[:, :, None] - v.points[:, None]) ** 2, axis=-1), plans_of_pot(u, v, eps))
        product = unit(u.weights)[:, :, None] * unit(v.weights)[:, None, :]
        return np.sum(P * K + eps[:, None, None] * P * np.log(P / product), axis=(1, 2))

    truth = entropic(x, y) - 0.5 * entropic(x, x) - 0.5 * entropic(y, y)
    return relative(draw.call(divergence, x, y, eps), truth, np.max(cost, axis=(1, 2)))


def equal_clouds_have_none(divergence, draw):
    """Of a cloud and itself in another order, with an atom of padding, relative to the largest cost."""
    x, _, cost, eps = problem(draw)
    order = draw.rng.permutation(5)
    same = PointCloud(x.points[:, order], x.weights[:, order])
    found = draw.call(divergence, padded(x, 1), same, eps)
    return relative(found, np.zeros(draw.size), np.max(cost, axis=(1, 2)))


def divergence_is_not_negative(divergence, draw):
    """How far below zero the value is for two clouds, relative to the largest cost."""
    x, y, cost, eps = problem(draw)
    return np.max(-draw.call(divergence, x, y, eps) / np.max(cost, axis=(1, 2)))
