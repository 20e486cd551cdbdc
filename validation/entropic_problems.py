"""Random problems of entropic transport, our solutions of them, and oracles of their plans."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from refwfm.measures import PointCloud
from refwfm.transport.sinkhorn import (
    dual_value,
    log_plan,
    plan,
    sinkhorn,
    sq_euclidean_cost,
    transport_cost,
)
from refwfm.validation import textbook
from refwfm.validation.check import Tolerance

ITERATIONS = 80
ITERATED = Tolerance(
    1e-10,
    2e-5,
    "the error of 80 iterations, each of which leaves 0.6 of it or less, is below rounding; POT stops at "
    "1e-13; float32: exponents round by 6e-8 of cost / eps",
)
ROOT_HALF = math.sqrt(0.5)


# Problems


def problem(draw, n=5, m=6):
    """Two batches of clouds with unequal weights, their cost, and eps, half of the largest cost."""
    x, y = (
        PointCloud(
            draw.normal(draw.size, k, draw.d) + shift,
            np.stack([draw.weights(k) for _ in range(draw.size)]),
        )
        for k, shift in ((n, 0.0), (m, 0.5))
    )
    x, y = (c._replace(points=draw.rounded(c.points)) for c in (x, y))
    cost = np.sum((x.points[:, :, None] - y.points[:, None]) ** 2, axis=-1)
    return x, y, cost, draw.rounded(0.5 * np.max(cost, axis=(1, 2)))


def with_potentials(draw):
    """A problem, and random potentials of the size of eps; costs are at most 2 eps."""
    x, y, cost, eps = problem(draw)
    f, g = (draw.rounded(0.5 * eps[:, None] * draw.rng.standard_normal((draw.size, n))) for n in (5, 6))
    return draw.rounded(cost), x.weights, y.weights, eps, f, g


def gaussians(draw):
    """Quadratures of two normal laws on one grid, their means and variances, and eps."""
    nodes = np.linspace(-8.0, 8.0, 65)
    m0, m1 = draw.rng.uniform(-0.5, 0.5, 2)
    v0, v1 = draw.rng.uniform(0.5, 1.0, 2)
    x, y = (
        PointCloud(nodes[None, :, None], draw.rounded(unit(np.exp(-((nodes - m) ** 2) / (2.0 * v)))[None]))
        for m, v in ((m0, v0), (m1, v1))
    )
    return x, y, (m0, v0, m1, v1), float(draw.rounded(draw.rng.uniform(1.0, 1.5)))


def padded(cloud, count):
    """Clouds with ``count`` more atoms of weight 0, at NaN."""
    points, weights = (
        np.pad(part, [(0, 0), (0, count)] + [(0, 0)] * (part.ndim - 2), constant_values=value)
        for part, value in zip(cloud, (np.nan, 0.0), strict=True)
    )
    return PointCloud(points, weights)


def unit(weights):
    """Weights with sum 1: those drawn have it up to the rounding of the dtype."""
    return weights / weights.sum(axis=-1, keepdims=True)


def even(weights):
    """Equal weights on the atoms that have any."""
    return (weights > 0) / np.sum(weights > 0, axis=-1, keepdims=True)


def means(cloud):
    """Means (n, 1, d) of clouds that may have padding."""
    return np.sum(cloud.weights[..., None] * np.nan_to_num(cloud.points), axis=1, keepdims=True)


# Our solutions


class Solved(NamedTuple):
    """What is audited of a solved problem."""

    log_plan: Any
    plan: Any
    cost: Any
    dual: Any
    errors: tuple[Any, Any]


def solve(x, y, eps):
    """Solve the problem between two clouds, eps absolute."""
    return solve_cost(sq_euclidean_cost(x.points, y.points), x.weights, y.weights, eps)


def solve_cost(cost, a, b, eps, iterations=ITERATIONS):
    """Solve a problem with a given cost matrix."""
    found = sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=iterations)
    given = (cost, a, b, found)
    values = (log_plan(*given), plan(*given), transport_cost(*given), dual_value(*given))
    return Solved(*values, (found.row_error, found.col_error))


def solved(x, y, eps):
    """Sinkhorn's solution between two clouds, iterated so often that it is exact."""
    cost = sq_euclidean_cost(x.points, y.points)
    return sinkhorn(cost, x.weights, y.weights, eps=eps, tol=None, max_iter=ITERATIONS)


# Oracles


def plans_of_pot(x, y, eps):
    """Entropic plans (n, k, m), POT's."""
    textbook.pot_gaussian()  # imports POT without other libraries
    from ot.bregman import sinkhorn_log

    members = zip(*x, *y, eps, strict=True)
    return np.stack(
        [
            sinkhorn_log(unit(a), unit(b), cdist(p, q, "sqeuclidean"), e, numItermax=10_000, stopThr=1e-13)
            for p, a, q, b, e in members
        ]
    )


def scaled_kernel(cost, a, b, eps):
    """Entropic plans by scaling rows and columns of the Gibbs kernel, with f and g of the product form."""
    a, b, e = unit(a), unit(b), eps[:, None, None]
    kernel = np.exp(-cost / e)
    u, v = np.ones_like(a), np.ones_like(b)
    for _ in range(ITERATIONS):
        v = b / np.einsum("kij,ki->kj", kernel, u)
        u = a / np.einsum("kij,kj->ki", kernel, v)
    P = u[:, :, None] * kernel * v[:, None, :]
    return P, eps[:, None] * np.log(u / a), eps[:, None] * np.log(v / b)


def plan_of(cost, a, b, eps, f, g):
    """``a_i b_j exp((f_i + g_j - K_ij) / eps)``."""
    exponents = (f[..., :, None] + g[..., None, :] - cost) / eps[..., None, None]
    return a[..., :, None] * b[..., None, :] * np.exp(exponents)


def two_atom_plans(cost, eps):
    """``P₁₁ = 1 / (2 (1 + exp(Δ / (2 eps))))``, ``Δ = K₁₁ + K₂₂ - K₁₂ - K₂₁``, for weights of a half."""
    delta = cost[:, 0, 0] + cost[:, 1, 1] - cost[:, 0, 1] - cost[:, 1, 0]
    corner = 0.5 / (1.0 + np.exp(delta / (2.0 * eps)))
    row = np.stack([corner, 0.5 - corner], axis=-1)
    return np.stack([row, row[:, ::-1]], axis=1)


def gaussian_plan(m0, v0, m1, v1, eps):
    """Covariance, cost and Kullback-Leibler divergence of the plan of two normal laws on the line."""
    covariance = 0.5 * (np.sqrt(4.0 * v0 * v1 + 0.25 * eps**2) - 0.5 * eps)
    cost = (m0 - m1) ** 2 + v0 + v1 - 2.0 * covariance
    return covariance, cost, -0.5 * np.log1p(-(covariance**2) / (v0 * v1))


def potential_steps(x, y):
    """Quadratic potential, from point to point: its gradient ``2 (p - T(p))`` halfway, T of the moments."""
    steps = []
    for p, a, q, b in zip(*x, *y, strict=True):
        (m, A), (n, B) = _moments(p, a), _moments(q, b)
        C = textbook.gelbrich_map(A[None], B[None])[0]
        start, end = p[:-1], p[1:]
        middle = 0.5 * (start + end)
        gradient = 2.0 * (middle - n - (middle - m) @ C)
        steps.append(np.sum(gradient * (end - start), axis=-1))
    return np.stack(steps)


def _moments(points, weights):
    d = points.shape[-1]
    mean = np.average(points, axis=0, weights=weights)
    return mean, np.cov(points.T, aweights=weights, ddof=0).reshape(d, d)
