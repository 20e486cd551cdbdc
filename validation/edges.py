"""Checks where arithmetic is at its edge: graded, singular, close, tiny and huge, in units far from 1.

Where integers allow it the truth is exact: the root of a square, a distance to a multiple. Unit changes are
powers of 2, which round nothing.
"""

import math

import numpy as np

from refwfm import bures, psd
from refwfm.evidence import SingularCovarianceError
from refwfm.measures import Gaussian
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.validation import textbook
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.draws import symmetric
from refwfm.validation.textbook import relative

UNITS = {"float64": (-300, 0, 300), "float32": (-40, 0, 40)}
"""Exponents of 2, of units whose squares are numbers."""

BITS = {"float64": 24, "float32": 10}
"""Of the entries of integer matrices whose squares are exact."""


# Roots


def root_checks() -> tuple[Check, ...]:
    """Roots of covariances of any grading, in any units; which have none."""
    return (
        Check(
            "squares of integer matrices, graded or not, in units far from 1",
            root_of_a_square,
            psd.sqrtm,
            {"Cholesky's factor": np.linalg.cholesky, "without the root": lambda cov: cov},
            roundings(100, "d up to 6"),
            dimensions=(2, 3, 6),
            repeats=1,
        ),
        Check(
            "each covariance by itself",
            root_of_each,
            psd.sqrtm,
            {"rounded with the others": lambda cov: psd.sqrtm(cov) * (1.0 + len(cov) * 2.0**-50)},
            EXACT,
            dimensions=(2, 3),
            repeats=1,
            everywhere=False,
        ),
        Check(
            "which covariances are too large",
            variances_are_refused,
            psd.sqrtm,
            {"none": np.sqrt, "half of them": lambda cov: psd.sqrtm(2.0 * cov)},
            EXACT,
            dimensions=(2, 3),
            repeats=1,
            everywhere=False,
        ),
        Check(
            "which covariances are singular",
            inverse_root_is_refused,
            psd.inv_sqrtm,
            {
                "none": lambda cov: cov,
                "the ill-conditioned": lambda cov: _refuse(cov, np.linalg.cond(cov) > 1e8),
            },
            EXACT,
            dimensions=(2,),
            repeats=1,
            everywhere=False,
        ),
    )


def variances_are_refused(sqrtm, draw):
    """How many are refused whose sums are numbers, or not: entries up to ``max / (16 d²)``."""
    most = np.finfo(np.float64).max / (16.0 * draw.d**2)
    wrong = 0
    for share in (0.9, 1.1):
        try:
            draw.call(sqrtm, share * most * np.eye(draw.d))
            wrong += share > 1.0
        except ValueError:
            wrong += share < 1.0
    return wrong


def _squares(draw):
    """Positive definite integer matrices, every other graded, and their squares."""
    bits, d = BITS[draw.dtype], draw.d
    graded = 2.0 ** np.round(np.linspace(bits, 4.0, d))
    roots = symmetric(2.0 * np.tril(draw.rng.integers(-1, 2, (draw.size, d, d)), -1))
    roots += np.where((np.arange(draw.size) % 2 == 0)[:, None], graded, 16.0)[..., None] * np.eye(d)
    return roots, roots @ roots


def root_of_a_square(sqrtm, draw):
    """``R`` from ``R²``, exact in the dtype; relative to the largest entry."""
    roots, squares = _squares(draw)
    units = [2.0 ** (k / 4) for k in UNITS[draw.dtype]]
    return worst_of(*(relative(draw.call(sqrtm, squares * u * u), roots * u) for u in units))


def root_of_each(sqrtm, draw):
    """Difference between the roots of a batch and those of its members, where some are graded."""
    _, squares = _squares(draw)
    apart = np.concatenate([draw.call(sqrtm, one[None]) for one in squares])
    return float(np.max(np.abs(draw.call(sqrtm, squares) - apart)))


def _refuse(value, condition):
    if np.any(condition):
        raise SingularCovarianceError
    return value


def _refuses(function, *arguments):
    try:
        function(*arguments)
    except SingularCovarianceError:
        return True
    return False


def inverse_root_is_refused(inv_sqrtm, draw):
    """How many are refused that have an inverse root up to rounding, or not refused that have none."""
    factors = draw.normal(30, 2)
    singular = [*(factors[:, :, None] * factors[:, None, :]), np.zeros((2, 2)), np.ones((2, 2))]
    singular += [u * np.diag([1.0, 1e-33]) for u in (1.0, 1e20)] + [np.diag([1.0, 1.0, 0.0])]
    regular = [np.diag([1.0, 1e-20]), np.diag([1e20, 1.0]), *(u * _even(2) for u in (1e-20, 1e20))]
    wrong = [not _refuses(draw.call, inv_sqrtm, cov) for cov in singular]
    return sum(wrong) + sum(_refuses(draw.call, inv_sqrtm, cov) for cov in regular)


def _even(d):
    return np.eye(d) + 0.5


# Factors, maps


def factor_checks() -> tuple[Check, ...]:
    """Any factors, turned; and the units of their rows."""
    return (
        Check(
            "defining equations, of any factors",
            factor_is_turned,
            psd.turned,
            {
                "not turned": lambda F, G: G,
                "the first factor": lambda F, G: psd.turned(G, F),
                "half a turn too far": lambda F, G: -psd.turned(F, G),
            },
            roundings(100, "relative to the product of the factors"),
            dimensions=(1, 2, 3),
            size=12,
            repeats=1,
        ),
        Check(
            "one number after the other",
            deviations_are_bounded,
            psd.deviations,
            {"roots, as they are": np.sqrt, "by the least": lambda v: np.sqrt(v + np.min(v, -1)[:, None])},
            roundings(10, "two roundings"),
            dimensions=(3,),
        ),
    )


def factor_is_turned(turned, draw):
    """``K Kᵀ = G Gᵀ``, and ``Fᵀ K`` symmetric without negative eigenvalues, where det FG may be negative."""
    F, G = (draw.normal(draw.size, draw.d, draw.d) for _ in range(2))
    K = draw.call(turned, F, G)
    cross = F.mT @ K
    size = np.linalg.norm(F, axis=(-2, -1)) * np.linalg.norm(G, axis=(-2, -1))
    lowest = np.linalg.eigvalsh(symmetric(cross))[:, 0]
    return worst_of(relative(cross, cross.mT, size), relative(K @ K.mT, G @ G.mT), np.max(-lowest / size))


def deviations_are_bounded(deviations, draw):
    """Roots of variances and of zeros, not below ``√eps`` times the largest."""
    variances = draw.rounded(draw.normal(draw.size, 3) ** 2 * np.array([1.0, 1e-12, 0.0]))
    truth = [[math.sqrt(max(v, draw.eps * max(row))) for v in row] for row in variances.tolist()]
    return float(np.max(np.abs(draw.call(deviations, variances) / np.array(truth) - 1.0)))


def lift_checks() -> tuple[Check, ...]:
    """Lifts in any units, and what a factor does not reach."""
    return (
        Check(
            "SciPy solve_continuous_lyapunov, in units far from 1",
            lift_has_no_units,
            psd.solve_lift,
            {
                "half of it": lambda M, rates: 0.5 * psd.solve_lift(M, rates),
                "of the rate alone": lambda M, rates: symmetric(rates),
            },
            roundings(1000, "condition number 30"),
            dimensions=(2, 3),
            repeats=1,
        ),
        Check(
            "defining equations of the kernel",
            kernel_is_orthonormal,
            psd.lift_and_kernel,
            {
                "of the other side": lambda M, rates: psd.lift_and_kernel(M.mT, rates),
                "twice": lambda M, rates: (None, 2.0 * psd.lift_and_kernel(M, rates)[1]),
                "the range": lambda M, rates: (None, np.eye(M.shape[-1]) - psd.lift_and_kernel(M, rates)[1]),
            },
            roundings(100, "small integers"),
            dimensions=(2, 3, 6),
            repeats=1,
        ),
    )


def lift_has_no_units(solve_lift, draw):
    """``S M Mᵀ + M Mᵀ S = Ṁ Mᵀ + M Ṁᵀ``, the same S for all multiples of both."""
    M = draw.rounded(draw.rotations(draw.size) @ textbook.sqrtm(draw.covariances()))
    rates = draw.normal(draw.size, draw.d, draw.d)
    truth = textbook.lyapunov(M @ M.mT, rates @ M.mT + M @ rates.mT)
    units = [2.0 ** (k / 2) for k in UNITS[draw.dtype]]
    return worst_of(*(relative(draw.call(solve_lift, u * M, u * rates), truth) for u in units))


def kernel_is_orthonormal(lift_and_kernel, draw):
    """``M Z = 0`` and ``Zᵀ Z`` of the trace d - r, for factors of rank r, which may be 0."""
    worst, d = 0.0, draw.d
    for rank in (0, d // 2):
        left, right = (draw.rng.integers(-3, 4, (draw.size, d, rank)) + 8.0 * np.eye(d, rank) for _ in "lr")
        M = left @ right.mT
        kernel = draw.call(lift_and_kernel, M, draw.normal(draw.size, d, d))[1]
        overlap = np.max(np.abs(M @ kernel)) / max(1.0, np.max(np.abs(M)))
        lengths = np.sort(np.linalg.norm(kernel, axis=-2))
        worst = worst_of(worst, overlap, np.max(np.abs(lengths - (np.arange(d) >= rank))))
    return worst


def map_check() -> Check:
    """Between which covariances there is a map that is known."""
    return Check(
        "which maps exist and are known",
        log_is_refused,
        bures.log,
        {
            "all": lambda mu, nu: mu,
            "of regular covariances": lambda mu, nu: _refuse(mu, np.min(np.linalg.eigvalsh(mu.cov)) <= 0),
        },
        EXACT,
        dimensions=(2, 3),
        repeats=1,
        everywhere=False,
    )


def log_is_refused(log, draw):
    """How many logarithms are refused that are known, or not refused that are none, in units far from 1."""
    d, wrong = draw.d, 0
    mixed = np.linalg.cholesky(_even(d) / 1.5)

    def of(least):
        """Covariance with variances 1 and, of the last coordinate, this."""
        root = np.diag([*np.ones(d - 1), math.sqrt(least)]) @ mixed
        return Gaussian(np.zeros(d), root @ root.T)

    cases = [
        (of(0.0), of(1.0), True),
        (of(0.0), of(1e-17), True),
        (of(1e-17), of(1e-17), True),
        (of(1e-17), of(1.0), False),
        (of(1.0), of(0.0), False),
        (of(0.0), of(0.0), False),
        (of(1e-8), of(1e-8), False),
        (of(1.0), of(1.0), False),
    ]
    for mu, nu, refused in cases:
        for unit in (1e-150, 1e-20, 1.0, 1e20, 1e150):
            pair = (Gaussian(m, unit * unit * cov) for m, cov in (mu, nu))
            wrong += _refuses(draw.call, log, *pair) != refused
    return wrong


# Distances


def close_check() -> Check:
    """Distances far below the traces."""
    return Check(
        "closed form, of covariances and multiples close to them",
        distance_to_a_multiple,
        bures.pairwise_sq_distance,
        {
            "half of it": lambda mu, nu: 0.5 * bures.pairwise_sq_distance(mu, nu),
            "difference of traces": lambda mu, nu: (
                textbook.trace(mu.cov)[:, None] - textbook.trace(nu.cov) + 0.0 * mu.mean[:, :1]
            ),
        },
        roundings(100, "after multiplication with the relative difference of the roots"),
        dimensions=(1, 2, 3),
        repeats=1,
    )


def distance_to_a_multiple(distances, draw):
    """``δ² tr A`` between A and (1 + δ)² A for δ = 2⁻⁹, times δ, in units far from 1."""
    delta, cov, worst = 2.0**-9, draw.covariances(), 0.0
    zero = np.zeros((draw.size, draw.d))
    for k in UNITS[draw.dtype]:
        first = cov * 2.0**k
        second = draw.rounded(first * (1.0 + delta) ** 2)
        found = np.diag(draw.call(distances, Gaussian(zero, first), Gaussian(zero, second)))
        worst = worst_of(worst, delta * np.max(np.abs(found / (delta**2 * textbook.trace(first)) - 1.0)))
    return worst


def nearest_check() -> Check:
    """The nearest of a family, where one of its members is far from the others."""
    return Check(
        "the next of a row of points, beside one far away",
        next_is_nearest,
        nearest,
        {
            "by the expanded square": _by_expanded_squares,
            "the second nearest": lambda x, y: nearest(x, y)._replace(member=nearest(x, y).member + 1),
        },
        EXACT,
        dimensions=(1, 2),
        repeats=4,
        everywhere=False,
    )


def next_is_nearest(nearest, draw):
    """How many of 40 points far from the centre of a family, and it, get another than the nearest."""
    n, places = 40, 1e3 + 1e-7 * draw.rng.random((2, 40))
    x, y = np.zeros((n + 1, draw.d)), np.zeros((2 * n + 1, draw.d))
    x[1:, 0], y[1 : n + 1, 0], y[n + 1 :, 0] = places[0], places[1], -places[1]
    cov = 1e-30 * np.eye(draw.d)
    pair = (Gaussian(z, np.broadcast_to(cov, (len(z), *cov.shape))) for z in (x, y))
    truth = np.argmin(np.abs(x[:, None, 0] - y[:, 0]), axis=1)
    return int(np.sum(draw.call(nearest, *pair).member != truth))


def _by_expanded_squares(x, y):
    cross = np.sum(x.mean**2, axis=1)[:, None] + np.sum(y.mean**2, axis=1) - 2.0 * x.mean @ y.mean.T
    return nearest(x, y)._replace(member=np.argmin(cross, axis=1))
