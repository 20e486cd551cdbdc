"""Right answers of hostile cases once more: exact fractions, or mpmath with many digits. Slow, and plain."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from mpmath import mp

from refwfm.validation.hostile.cases import Given

mp.dps = 80
"""Digits, so many that squares of differences of 1e-8 keep theirs."""


def exact(values):
    """Nested lists of fractions from an array of a case."""
    array = values.values if isinstance(values, Given) else np.asarray(values)
    return _fractions(array.tolist())


def _fractions(values):
    return [_fractions(each) for each in values] if isinstance(values, list) else Fraction(values)


def masses(weights, n):
    """Weights as fractions of small denominator that sum to 1: thirds are meant as thirds."""
    found = [Fraction(1, n)] * n if weights is None else exact(weights)
    found = [weight if weight < Fraction(1, 10**6) else weight.limit_denominator(10**6) for weight in found]
    total = sum(found)
    return [weight / total for weight in found]


def squared(p, q):
    return sum((s - t) ** 2 for s, t in zip(p, q, strict=True))


def costs(x, y):
    return [[squared(p, q) for q in y] for p in x]


# Exact transport


def least_cost(cost, a, b):
    """Least mean cost by shortest augmenting paths (Bellman and Ford), in exact arithmetic."""
    n, m = len(a), len(b)
    a, b, flow = list(a), list(b), [[Fraction(0)] * m for _ in range(n)]
    for i in range(n):
        while a[i] > 0:
            far, come = _shortest(cost, flow, i)
            j = min((k for k in range(m) if b[k] > 0), key=lambda k: far[n + k])
            path, node = [n + j], n + j
            while node != i:
                node = come[node]
                path.append(node)
            steps = list(pairwise(reversed(path)))
            mass = min([a[i], b[j], *(flow[v][u - n] for u, v in steps if u >= n)])
            for u, v in steps:
                if u < n:
                    flow[u][v - n] += mass
                else:
                    flow[v][u - n] -= mass
            a[i] -= mass
            b[j] -= mass
    return sum(cost[i][j] * flow[i][j] for i in range(n) for j in range(m))


def _shortest(cost, flow, start):
    n, m = len(flow), len(flow[0])
    far, come = {start: Fraction(0)}, {}
    for _ in range(n + m):
        changed = False
        for i in range(n):
            for j in range(m):
                edges = [(i, n + j, cost[i][j])] + ([(n + j, i, -cost[i][j])] if flow[i][j] > 0 else [])
                for u, v, length in edges:
                    if u in far and (v not in far or far[u] + length < far[v]):
                        far[v], come[v], changed = far[u] + length, u, True
        if not changed:
            break
    return far, come


def line(x, a, y, b):
    """Cost on the line: equal quantiles meet."""
    left = sorted((p, w) for p, w in zip(x, a, strict=True) if w)
    right = sorted((q, w) for q, w in zip(y, b, strict=True) if w)
    total, i, j, here, there = Fraction(0), 0, 0, left[0][1], right[0][1]
    while True:
        mass = min(here, there)
        total += mass * (left[i][0] - right[j][0]) ** 2
        here, there = here - mass, there - mass
        if here == 0:
            i += 1
            if i == len(left):
                return total
            here = left[i][1]
        if there == 0:
            j += 1
            if j == len(right):
                return total
            there = right[j][1]


def wasserstein(x, y, a, b):
    kept = [[(p, w) for p, w in zip(*cloud, strict=True) if w] for cloud in ((x, a), (y, b))]
    (x, a), (y, b) = (zip(*cloud, strict=True) for cloud in kept)
    if len(x[0]) == 1:
        return line([p[0] for p in x], a, [q[0] for q in y], b)
    return least_cost(costs(x, y), a, b)


def _clouds(given):
    x, y = exact(given["x"]), exact(given["y"])
    return x, y, masses(given.get("a"), len(x)), masses(given.get("b"), len(y))


def _families(given):
    xs, ys = exact(given["xs"]), exact(given["ys"])
    a, b = (given.get(name) for name in "ab")
    a = [masses(None, len(x)) for x in xs] if a is None else [masses(row, len(row)) for row in a.values]
    b = [masses(None, len(y)) for y in ys] if b is None else [masses(row, len(row)) for row in b.values]
    return list(zip(xs, a, strict=True)), list(zip(ys, b, strict=True))


def pairwise_wasserstein(given):
    first, second = _families(given)
    return [[wasserstein(x, y, a, b) for y, b in second] for x, a in first]


def wow(given):
    cost = pairwise_wasserstein(given)
    return least_cost(cost, masses(None, len(cost)), masses(None, len(cost[0])))


def sliced(x, y, a, b, theta):
    def along(points, axis):
        return [sum(s * t for s, t in zip(p, axis, strict=True)) for p in points]

    return sum(line(along(x, axis), a, along(y, axis), b) for axis in theta) / len(theta)


def pairwise_sliced(given):
    (first, second), theta = _families(given), exact(given["theta"])
    return [[sliced(x, y, a, b, theta) for y, b in second] for x, a in first]


def emd(given):
    cost = exact(given["cost"])
    return least_cost(cost, masses(given.get("a"), len(cost)), masses(given.get("b"), len(cost[0])))


# Other distances of clouds


def chamfer(given):
    x, y, a, b = _clouds(given)
    live = [[p for p, w in zip(*cloud, strict=True) if w] for cloud in ((x, a), (y, b))]
    return sum(w * min(squared(p, q) for q in live[1]) for p, w in zip(x, a, strict=True) if w) + sum(
        w * min(squared(p, q) for p in live[0]) for q, w in zip(y, b, strict=True) if w
    )


def lazy(given):
    xs, ys = exact(given["xs"]), exact(given["ys"])
    return [[sum(map(squared, x, y)) / len(x) for y in ys] for x in xs]


def moments(given):
    points = exact(given["points"])
    return _moments(points, masses(given.get("weights"), len(points)))


def _moments(points, weights):
    live = [(p, w) for p, w in zip(points, weights, strict=True) if w]
    d = len(points[0])
    mean = [sum(w * p[k] for p, w in live) for k in range(d)]
    cov = [
        [sum(w * (p[i] - mean[i]) * (p[j] - mean[j]) for p, w in live) for j in range(d)] for i in range(d)
    ]
    return mean, cov


# Matrices


def _matrix(values):
    return mp.matrix([[mp.mpf(v.numerator) / v.denominator for v in row] for row in values])


def root(matrix, power=0.5):
    size = max(abs(v) for v in matrix) or mp.mpf(1)  # mpmath's eigenvalues have an absolute tolerance
    values, vectors = mp.eigsy(matrix / size)
    values = [mp.mpf(0) if abs(v) < mp.mpf(10) ** -60 else v for v in values]
    return vectors * mp.diag([(size * v) ** power if v or power > 0 else v for v in values]) * vectors.T


def trace(matrix):
    return sum(matrix[i, i] for i in range(matrix.rows))


def gaussian_distance(m0, cov0, m1, cov1):
    A, B = _matrix(cov0), _matrix(cov1)
    half = root(A)
    bures = trace(A) + trace(B) - 2 * trace(root(half * B * half))
    mean = squared(m0, m1)
    return mp.mpf(mean.numerator) / mean.denominator + bures


def gaussian_map(given):
    A, B = _matrix(exact(given["cov0"])), _matrix(exact(given["cov1"]))
    half, inverse = root(A), root(A, -0.5)
    return inverse * root(half * B * half) * inverse


def interpolate(given):
    A, C, t = _matrix(exact(given["cov0"])), gaussian_map(given), mp.mpf(given["t"])
    step = (1 - t) * mp.eye(A.rows) + t * C
    return step * A * step


def barycenter(given):
    members = [_matrix(cov) for cov in exact(given["covs"])]
    weights = [mp.mpf(w.numerator) / w.denominator for w in masses(given.get("weights"), len(members))]
    mean = sum((w * cov for w, cov in zip(weights, members, strict=True)), mp.zeros(members[0].rows))
    for _ in range(60):
        half, inverse = root(mean), root(mean, -0.5)
        middle = sum(
            (w * root(half * cov * half) for w, cov in zip(weights, members, strict=True)),
            mp.zeros(mean.rows),
        )
        mean = inverse * middle * middle * inverse
    return mean


def cholesky(given):
    A = _matrix(exact(given["cov"]))
    L = mp.zeros(A.rows)
    for j in range(A.rows):
        pivot = A[j, j] - sum(L[j, k] ** 2 for k in range(j))
        L[j, j] = mp.sqrt(pivot)
        for i in range(j + 1, A.rows):
            rest = A[i, j] - sum(L[i, k] * L[j, k] for k in range(j))
            L[i, j] = rest / L[j, j] if L[j, j] else rest
    return L


# Entropic transport


def _number(fraction):
    return mp.mpf(fraction.numerator) / fraction.denominator


def sinkhorn(cost, a, b, eps):
    """Plan and value by Sinkhorn's iteration, in 80 digits."""
    cost = [[_number(c) for c in row] for row in cost]
    a, b, eps = [_number(w) for w in a], [_number(w) for w in b], mp.mpf(eps)
    rows, columns = range(len(a)), range(len(b))
    f, g = [mp.mpf(0)] * len(a), [mp.mpf(0)] * len(b)
    for _ in range(20_000):
        g = [
            -eps * mp.log(sum(a[i] * mp.exp((f[i] - cost[i][j]) / eps) for i in rows if a[i]))
            for j in columns
        ]
        new = [
            -eps * mp.log(sum(b[j] * mp.exp((g[j] - cost[i][j]) / eps) for j in columns if b[j]))
            for i in rows
        ]
        moved = max(abs(s - t) for s, t in zip(f, new, strict=True))
        f = new
        if moved < eps * mp.mpf(10) ** -25:
            break
    plan = [[a[i] * b[j] * mp.exp((f[i] + g[j] - cost[i][j]) / eps) for j in columns] for i in rows]
    value = sum(map(mp.fmul, f, a)) + sum(map(mp.fmul, g, b))
    return plan, value, sum(cost[i][j] * plan[i][j] for i in rows for j in columns)


def _problem(given):
    cost = exact(given["cost"])
    return cost, masses(given.get("a"), len(cost)), masses(given.get("b"), len(cost[0])), given["eps"]


def divergence(given):
    x, y, a, b = _clouds(given)
    eps = given["eps"]
    xy, xx, yy = (
        sinkhorn(costs(p, q), v, w, eps)[1] for p, v, q, w in ((x, a, y, b), (x, a, x, a), (y, b, y, b))
    )
    return xy - xx / 2 - yy / 2


def entropic_map(given):
    points, y, g = (exact(given[name]) for name in ("points", "y", "g"))
    b, eps, images = masses(given["b"], len(y)), mp.mpf(given["eps"]), []
    for p in points:
        exponents = [_number(t - squared(p, q)) / eps for t, q in zip(g, y, strict=True)]
        top = max(e for e, w in zip(exponents, b, strict=True) if w)
        shares = [_number(w) * mp.exp(e - top) for e, w in zip(exponents, b, strict=True)]
        images.append(
            [
                sum(s * _number(q[k]) for s, q in zip(shares, y, strict=True)) / sum(shares)
                for k in range(len(p))
            ]
        )
    return images


# Families


def one_nn(given):
    gg, gr, rr = (exact(given[name]) for name in ("gg", "gr", "rr"))
    G, R = len(gr), len(gr[0])
    rows = [gg[i] + gr[i] for i in range(G)] + [[gr[i][j] for i in range(G)] + rr[j] for j in range(R)]
    told = 0
    for i, row in enumerate(rows):
        nearest = min((j for j in range(G + R) if j != i), key=lambda j: row[j])
        told += (nearest < G) == (i < G)
    return Fraction(told, G + R)


def matching(given):
    gr = exact(given["gr"])
    return sum(min(row[j] for row in gr) for j in range(len(gr[0]))) / len(gr[0])


def coverage(given):
    gr = exact(given["gr"])
    return Fraction(len({min(range(len(row)), key=lambda j: row[j]) for row in gr}), len(gr[0]))


def projection(given):
    plan, y = exact(given["plan"]), exact(given["y"])
    return [
        [sum(p * q[k] for p, q in zip(row, y, strict=True)) / sum(row) for k in range(len(y[0]))]
        for row in plan
    ]


def displacement(given):
    x, images, t = exact(given["x"]), exact(given["images"]), Fraction(given["t"])
    return [[(1 - t) * s + t * e for s, e in zip(p, q, strict=True)] for p, q in zip(x, images, strict=True)]


def frechet(given):
    first, second = ([_moments(*cloud) for cloud in family] for family in _families(given))
    return [[gaussian_distance(m0, c0, m1, c1) for m1, c1 in second] for m0, c0 in first]


def gaussians(given):
    names = ("m0", "cov0", "m1", "cov1")
    return gaussian_distance(*(exact(given[name]) for name in names))


def pairwise_gaussians(given):
    m0, cov0, m1, cov1 = (exact(given[name]) for name in ("m0", "cov0", "m1", "cov1"))
    return [
        [gaussian_distance(m, c, n, e) for n, e in zip(m1, cov1, strict=True)]
        for m, c in zip(m0, cov0, strict=True)
    ]


ORACLES = {
    "sq_euclidean": lambda given: costs(exact(given["x"]), exact(given["y"])),
    "sq_wasserstein2": lambda given: wasserstein(*_clouds(given)),
    "pairwise_sq_wasserstein2": pairwise_wasserstein,
    "sq_wow": wow,
    "sliced": lambda given: sliced(*_clouds(given), exact(given["theta"])),
    "pairwise_sliced": pairwise_sliced,
    "chamfer": chamfer,
    "pairwise_lazy": lazy,
    "frechet": frechet,
    "emd": emd,
    "plan": emd,
    "assignment": emd,
    "sinkhorn_plan": lambda given: sinkhorn(*_problem(given))[0],
    "sinkhorn_value": lambda given: sinkhorn(*_problem(given))[1],
    "sinkhorn_cost": lambda given: sinkhorn(*_problem(given))[2],
    "sinkhorn_divergence": divergence,
    "entropic_map": entropic_map,
    "projection": projection,
    "sq_gaussian": gaussians,
    "pairwise_sq_gaussian": pairwise_gaussians,
    "gaussian_map": gaussian_map,
    "gaussian_interpolate": interpolate,
    "gaussian_barycenter": barycenter,
    "sqrtm": lambda given: root(_matrix(exact(given["cov"]))),
    "inv_sqrtm": lambda given: root(_matrix(exact(given["cov"])), -0.5),
    "cholesky": cholesky,
    "moments_mean": lambda given: moments(given)[0],
    "moments_cov": lambda given: moments(given)[1],
    "displacement": displacement,
    "one_nn": one_nn,
    "coverage": coverage,
    "matching_distance": matching,
}


def answer(asks, given):
    """Right answer as a float64 array."""
    found = ORACLES[asks](given)
    rows = found.tolist() if isinstance(found, mp.matrix) else found
    return np.asarray(_floats(rows), dtype=np.float64)


def _floats(values):
    return [_floats(each) for each in values] if isinstance(values, list) else float(values)
