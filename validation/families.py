"""Families of clouds for audits: random ones, random couplings of them, linear programmes over them."""

import numpy as np
import scipy.optimize

from refwfm.measures import PointCloud
from refwfm.transport.families import Family, RandomCoupling, optimal_plan, random_coupling, sq_wow_distance
from refwfm.validation.check import Tolerance

SOLVER = Tolerance(1e-9, 1e-4, "two solvers of one linear programme, each up to its own tolerance")


def random_family(draw, count, n, shift=0.0):
    """``count`` clouds of n points around centres of their own, with weights of all kinds."""
    points = draw.normal(count, n, draw.d) + draw.normal(count, 1, draw.d) + shift
    weights = np.stack([draw.weights(n) for _ in range(count)])
    return Family(PointCloud(draw.rounded(points), weights), draw.weights(count))


def two_families(draw, shift=0.0):
    """Families of 3 clouds of 4 points and of 2 clouds of 3 points."""
    return random_family(draw, 3, 4), random_family(draw, 2, 3, shift)


def sq_costs(x, y):
    """Squared distances (n, m)."""
    return np.sum((x[:, None] - y) ** 2, axis=-1)


def least_cost(cost, a, b):
    """Least cost of transport, by HiGHS; the weights may sum to 1 up to the rounding of float32."""
    rows, columns = np.kron(np.eye(len(a)), np.ones(len(b))), np.kron(np.ones(len(a)), np.eye(len(b)))
    masses = np.concatenate([a / a.sum(), b / b.sum()])
    found = scipy.optimize.linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=masses)
    return found.fun


def inner_distances(mu, nu):
    """Squared distances of all pairs of clouds, (M, N), by HiGHS."""
    return np.array(
        [
            [least_cost(sq_costs(x, y), a, b) for y, b in zip(*nu.clouds, strict=True)]
            for x, a in zip(*mu.clouds, strict=True)
        ]
    )


def least_cost_of_all_couplings(mu, nu):
    """Least cost over all random couplings, outer and inner plans as unknowns of one programme, by HiGHS.

    Unknown are Π and ``Q_ijkl = Π_ij π_ij,kl``, the mass that atom k of cloud i sends to atom l of cloud j.
    """
    (x, a), (y, b) = (
        (family.clouds.points, family.clouds.weights / family.clouds.weights.sum(axis=1, keepdims=True))
        for family in (mu, nu)
    )
    (M, n), (N, m) = a.shape, b.shape
    cost = np.sum((x[:, None, :, None] - y[None, :, None]) ** 2, axis=-1)
    size = M * N * (1 + n * m)
    outer = np.arange(M * N).reshape(M, N)
    masses = np.arange(M * N, size).reshape(M, N, n, m)
    equations, values = [], []

    def demand(terms, factors, value):
        row = np.zeros(size)
        row[terms] = factors
        equations.append(row)
        values.append(value)

    for i, j in np.ndindex(M, N):
        for k in range(n):
            demand([*masses[i, j, k], outer[i, j]], [1.0] * m + [-a[i, k]], 0.0)
        for k in range(m):
            demand([*masses[i, j, :, k], outer[i, j]], [1.0] * n + [-b[j, k]], 0.0)
    for family, plan in ((mu, outer), (nu, outer.T)):
        for pairs, mass in zip(plan, family.weights / family.weights.sum(), strict=True):
            demand(pairs, 1.0, mass)
    objective = np.concatenate([np.zeros(M * N), cost.ravel()])
    return scipy.optimize.linprog(objective, A_eq=np.array(equations), b_eq=np.array(values)).fun


def any_plan(rng, a, b):
    """A mixture of the product plan and three random vertices of the transport polytope."""
    a, b = a / a.sum(), b / b.sum()
    total = 0.25 * np.outer(a, b)
    for _ in range(3):
        rows, columns = rng.permutation(len(a)), rng.permutation(len(b))
        ends = [np.concatenate([[0.0], np.cumsum(w)]) for w in (a[rows], b[columns])]
        lower = np.maximum(ends[0][:-1, None], ends[1][None, :-1])
        upper = np.minimum(ends[0][1:, None], ends[1][None, 1:])
        total[np.ix_(rows, columns)] += 0.25 * np.maximum(upper - lower, 0.0)
    return total


def any_coupling(rng, mu, nu):
    """A random coupling of two families that has nothing of the optimal one."""
    plans = [[any_plan(rng, a, b) for b in nu.clouds.weights] for a in mu.clouds.weights]
    return RandomCoupling(any_plan(rng, mu.weights, nu.weights), np.array(plans))


def rounded_coupling(draw, mu, nu):
    """``any_coupling`` in numbers of the dtype under audit."""
    return RandomCoupling(*map(draw.rounded, any_coupling(draw.rng, mu, nu)))


def optimal_coupling(mu, nu):
    """Random coupling of optimal outer and inner plans."""
    return random_coupling(mu, nu, sq_wow_distance(mu, nu).outer.plan, optimal_plan)


def product_of_outer(mu, nu):
    """Independent outer plan."""
    return mu.weights[:, None] * nu.weights


def independent_normals_field(mean, std, t):
    """Intercept and slope of ``v_t(z) = m + (t s² - (1-t)) / ((1-t)² + t² s²) (z - t m)``."""
    slope = (t * std**2 - (1.0 - t)) / ((1.0 - t) ** 2 + t**2 * std**2)
    return mean - slope * t * mean, slope
