"""How POT is asked (pythonot.github.io). Its distances that are roots are squared here."""

import numpy as np
import ot

from refwfm.validation.hostile.adapters import Adapter

ITERATIONS, PIVOTS = 5_000, 10_000_000


def _uniform(points, weights):
    return ot.unif(len(points)) if weights is None else weights


def sq_wasserstein2(x, y, a=None, b=None):
    """On the line by POT's own solver for it; in space by the network simplex."""
    a, b = _uniform(x, a), _uniform(y, b)
    if x.shape[-1] == 1 == y.shape[-1]:
        return ot.emd2_1d(x, y, a, b)
    return ot.emd2(a, b, ot.dist(x, y), numItermax=PIVOTS)


def pairwise_sq_wasserstein2(xs, ys, a=None, b=None):
    a, b = ([None] * len(points) if weights is None else weights for points, weights in ((xs, a), (ys, b)))
    return [
        [sq_wasserstein2(x, y, v, w) for y, w in zip(ys, b, strict=True)] for x, v in zip(xs, a, strict=True)
    ]


def sliced(x, y, theta, a=None, b=None):
    return ot.sliced_wasserstein_distance(x, y, a, b, projections=theta.T) ** 2


def pairwise_sliced(xs, ys, theta):
    return [[sliced(x, y, theta) for y in ys] for x in xs]


def _sinkhorn(cost, a, b, eps):
    return ot.sinkhorn(a, b, cost, eps, method="sinkhorn_log", numItermax=ITERATIONS, stopThr=1e-9)


def sinkhorn_cost(cost, a, b, eps):
    return ot.sinkhorn2(a, b, cost, eps, method="sinkhorn_log", numItermax=ITERATIONS, stopThr=1e-9)


def outer_plan(cost, eps=0.0):
    a, b = ot.unif(len(cost)), ot.unif(len(cost[0]))
    return _sinkhorn(cost, a, b, eps) if eps else ot.emd(a, b, cost)


def sq_gaussian(cov0, cov1, m0, m1):
    return ot.gaussian.bures_wasserstein_distance(m0, m1, cov0, cov1) ** 2


def pairwise_sq_gaussian(cov0, cov1, m0, m1):
    return [
        [sq_gaussian(c, e, m, n) for e, n in zip(cov1, m1, strict=True)]
        for c, m in zip(cov0, m0, strict=True)
    ]


def gaussian_map(cov0, cov1, m0, m1):
    return ot.gaussian.bures_wasserstein_mapping(m0, m1, cov0, cov1)[0]


def gaussian_barycenter(covs, means, weights=None):
    return ot.gaussian.bures_wasserstein_barycenter(means, covs, weights, num_iter=1000, eps=1e-12)[1]


ADAPTER = Adapter(
    "POT",
    ot.__version__,
    lambda values, dtype: np.asarray(values, dtype=dtype),
    {
        "sq_euclidean": lambda x, y: ot.dist(x, y),
        "sq_wasserstein2": sq_wasserstein2,
        "pairwise_sq_wasserstein2": pairwise_sq_wasserstein2,
        "sliced": sliced,
        "pairwise_sliced": pairwise_sliced,
        "emd": lambda cost, a, b: ot.emd2(a, b, cost, numItermax=PIVOTS),
        "plan": lambda cost, a, b: ot.emd(a, b, cost, numItermax=PIVOTS),
        "the_plan": lambda cost, a, b: ot.emd(a, b, cost),
        "outer_plan": outer_plan,
        "sinkhorn_plan": lambda cost, a, b, eps: _sinkhorn(cost, a, b, eps),
        "sinkhorn_cost": sinkhorn_cost,
        "sq_gaussian": sq_gaussian,
        "pairwise_sq_gaussian": pairwise_sq_gaussian,
        "gaussian_map": gaussian_map,
        "gaussian_barycenter": gaussian_barycenter,
    },
)
