"""Random batches of clouds, and oracles of what lies between them: distances, matchings, plans."""

from itertools import permutations

import numpy as np
import scipy.optimize
from scipy.spatial.distance import cdist

from refwfm.clouds import unpad
from refwfm.couplings.inner import couple
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport.sinkhorn import sinkhorn
from refwfm.validation import textbook
from refwfm.validation.families import sq_costs

N = 4
"""Points of a cloud, so that all permutations can be tried."""

EPS = 0.3
SUMS = "sums of at most 12 terms, coordinates of order one"


def family(draw, count, sizes=(N,), weighted=False):
    """Clouds of these sizes in turns, padded, around centres of their own."""
    n = max(sizes)
    points = draw.normal(count, n, draw.d) + draw.normal(count, 1, draw.d)
    weights = np.zeros((count, n))
    for i in range(count):
        k = sizes[i % len(sizes)]
        weights[i, :k] = draw.weights(k) if weighted else draw.rounded(np.full(k, 1.0 / k))
    return PointCloud(draw.rounded(np.where((weights > 0)[..., None], points, 0.0)), weights)


def live(cloud, i):
    """Points (k, d) and weights (k,) of cloud i, whose sum is 1 in float64."""
    chosen = cloud.weights[i] > 0
    return cloud.points[i][chosen], cloud.weights[i][chosen] / np.sum(cloud.weights[i])


def normalised(family):
    """Weights whose sum is 1 in float64."""
    return family._replace(weights=family.weights / family.weights.sum(axis=-1, keepdims=True))


def pairwise(distance, x, y):
    """Matrix of a function of two clouds, each points and weights."""
    return np.array(
        [[distance(live(x, i), live(y, j)) for j in range(len(y.points))] for i in range(len(x.points))]
    )


# Distances


def gaussian(x, a):
    """The Gaussian with the same moments, in a batch of one."""
    mean = a @ x
    return Gaussian(mean[None], ((x - mean).T @ (a[:, None] * (x - mean)))[None])


def frechet(one, two):
    """Squared distance of the Gaussians with the same moments, textbook."""
    mu, nu = gaussian(*one), gaussian(*two)
    return textbook.sq_distance(mu, nu)[0]


def chamfer(one, two):
    """Mean squared distances to the nearest point of the other cloud, both ways."""
    gaps = [[np.sum((x - y) ** 2) for y in two[0]] for x in one[0]]
    return one[1] @ np.min(gaps, axis=1) + two[1] @ np.min(gaps, axis=0)


def pot_matrix(x, y, metric):
    """Earth mover's distances of all pairs, one linear programme after the other."""
    import ot

    x, y = normalised(x), normalised(y)
    return np.array(
        [
            [
                ot.emd2(a[a > 0], b[b > 0], cdist(p, q, metric))
                for q, b in zip(unpad(y), y.weights, strict=True)
            ]
            for p, a in zip(unpad(x), x.weights, strict=True)
        ]
    )


# Plans


def best_matching(cost):
    """Least total of a square matrix over all permutations, and that permutation."""
    orders = np.array(list(permutations(range(len(cost)))))
    totals = np.sum(cost[np.arange(len(cost)), orders], axis=-1)
    return np.min(totals), orders[np.argmin(totals)]


def least_cost(cost, a, b):
    """Least cost of transport, by HiGHS."""
    return np.sum(cost * optimal_plan(cost, a, b))


def optimal_plan(cost, a, b):
    """Plan of least cost, by HiGHS."""
    rows = np.kron(np.eye(len(a)), np.ones(len(b)))
    columns = np.kron(np.ones(len(a)), np.eye(len(b)))
    found = scipy.optimize.linprog(
        cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.concatenate([a, b]), method="highs"
    )
    return found.x.reshape(cost.shape)


def textbook_plan(p, q, a, b):
    """Entropic plan of two clouds by scaling its kernel, 100 times."""
    cost = sq_costs(p, q)
    kernel, u = np.exp(-cost / (EPS * np.max(cost))), np.ones(len(p))
    for _ in range(100):
        v = b / (kernel.T @ u)
        u = a / (kernel @ v)
    return u[:, None] * kernel * v


def solve(cost, a, b):
    """Sinkhorn with an eps at which 100 iterations are exact."""
    options = {"tol": None, "max_iter": 100, "require": False, "validate": False}
    return sinkhorn(cost, a, b, eps=EPS, scale_cost="max", **options)


def paired(x, y, inner, rng=None, **options):
    """``couple`` with everything else decided."""
    return couple(x, y, inner, rng=rng, solve=solve, **options)
