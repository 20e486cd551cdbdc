"""How this package is asked. Its arrays are those of a ``Place``."""

from typing import Any

import numpy as np

from refwfm import barycenter, bures, clouds, interpolation, psd
from refwfm.couplings import costs, inner, outer
from refwfm.measures import Gaussian, PointCloud
from refwfm.metrics import distances, statistics
from refwfm.metrics.statistics import FamilyDistances
from refwfm.sources.clouds import cholesky
from refwfm.transport import entropic, exact, families, linearized, plans, sinkhorn, sliced

Array = Any


def _cloud(points: Array, weights: Array | None) -> Any:
    return clouds.uniform(points) if weights is None else PointCloud(points, weights)


def _pair(x: Array, y: Array, a: Array | None, b: Array | None) -> tuple[Any, Any]:
    return _cloud(x, a), _cloud(y, b)


def _options(array: Array) -> dict[str, Any]:
    """Options of the entropic solver: iterate until nothing moves, and no longer than a case is worth."""
    double = "float32" not in str(getattr(array, "dtype", ""))
    return {"tol": 1e-9 if double else 1e-5, "max_iter": 1000}


# Clouds


def sq_wasserstein2(x, y, a=None, b=None):
    return exact.sq_wasserstein2(*_pair(x, y, a, b))


def pairwise_sq_wasserstein2(xs, ys, a=None, b=None):
    return distances.pairwise_emd(*_pair(xs, ys, a, b), squared=True, n_jobs=1)


def sq_wow(xs, ys, a=None, b=None):
    mu, nu = (families.even_family(cloud) for cloud in _pair(xs, ys, a, b))
    return families.sq_wow_distance(mu, nu).sq_distance


def sliced_distance(x, y, theta, a=None, b=None):
    return sliced.sq_sliced_distance(*_pair(x, y, a, b), theta)


def pairwise_sliced(xs, ys, theta, a=None, b=None, validate=True):
    return sliced.pairwise_sliced_cost(*_pair(xs, ys, a, b), theta, validate=validate)


def sliced_plan(x, y, theta, a=None, b=None):
    return sliced.lifted_plan(*_pair(x, y, a, b), theta)


def chamfer(x, y, a=None, b=None):
    return distances.chamfer(*_pair(x, y, a, b))


def linearized_distance(reference, x, y):
    return linearized.sq_linearized_distance(reference, *_pair(x, y, None, None))


def outer_cost(xs, ys, outer, a=None, b=None):
    return costs.outer_cost(*_pair(xs, ys, a, b), outer, rng=np.random.default_rng(0), n_proj=8)


def frechet(xs, ys, a=None, b=None):
    return outer_cost(xs, ys, "frechet", a, b)


# Plans


def emd(cost, a, b):
    return exact.transport_plan(cost, a, b).cost


def plan(cost, a, b):
    return exact.transport_plan(cost, a, b).plan


def assignment(cost):
    return exact.assignment(cost)


def couple(x, y, inner, a=None, b=None):
    x, y = (PointCloud(*(part[None, ...] for part in cloud)) for cloud in _pair(x, y, a, b))
    return couple_batch(x, y, inner).y[0, ...]


def couple_batch(x: PointCloud, y: PointCloud, name: str):
    def solve(cost, a, b):
        return sinkhorn.sinkhorn(cost, a, b, eps=0.05, scale_cost="max", **_options(cost))

    return inner.couple(x, y, name, rng=np.random.default_rng(0), solve=solve)


def sinkhorn_plan(cost, a, b, eps, **options):
    solution = sinkhorn.sinkhorn(cost, a, b, eps=eps, **{**_options(cost), **options})
    return sinkhorn.plan(cost, a, b, solution)


def sinkhorn_value(cost, a, b, eps, **options):
    solution = sinkhorn.sinkhorn(cost, a, b, eps=eps, **{**_options(cost), **options})
    return sinkhorn.dual_value(cost, a, b, solution)


def sinkhorn_cost(cost, a, b, eps, **options):
    solution = sinkhorn.sinkhorn(cost, a, b, eps=eps, **{**_options(cost), **options})
    return sinkhorn.transport_cost(cost, a, b, solution)


def sinkhorn_divergence(x, y, eps, a=None, b=None):
    x, y = _pair(x, y, a, b)
    return entropic.sinkhorn_divergence(x, y, eps=eps, **_options(x.points)).value


def entropic_map(points, y, b, g, eps):
    return entropic.entropic_map(points, y, b, g, eps=eps)


def sample_pairs(plan, n, replace=True):
    pairs = plans.sample_pairs(plan, n, rng=np.random.default_rng(0), replace=replace)
    return pairs.source, pairs.target


# Gaussians


def sq_gaussian(cov0, cov1, m0, m1, **options):
    return bures.sq_distance(Gaussian(m0, cov0), Gaussian(m1, cov1), **options)


def pairwise_sq_gaussian(cov0, cov1, m0, m1, **options):
    return bures.pairwise_sq_distance(Gaussian(m0, cov0), Gaussian(m1, cov1), **options)


def gaussian_map(cov0, cov1, m0, m1):
    return bures.gelbrich_map(Gaussian(m0, cov0), Gaussian(m1, cov1))


def gaussian_interpolate(cov0, cov1, m0, m1, t):
    return bures.interpolate(Gaussian(m0, cov0), Gaussian(m1, cov1), t).cov


def gaussian_barycenter(covs, means, weights=None):
    return barycenter.barycenter(Gaussian(means, covs), weights).gaussian.cov


# Families


def one_nn(gg, gr, rr):
    return statistics.one_nn_accuracy(FamilyDistances(gg, gr, rr)).accuracy


def coverage(gg, gr, rr):
    return statistics.coverage(FamilyDistances(gg, gr, rr))


def matching_distance(gg, gr, rr):
    return statistics.minimum_matching_distance(FamilyDistances(gg, gr, rr))


QUESTIONS = {
    "sq_euclidean": lambda x, y: sinkhorn.sq_euclidean_cost(x, y),
    "sq_wasserstein2": sq_wasserstein2,
    "pairwise_sq_wasserstein2": pairwise_sq_wasserstein2,
    "sq_wow": sq_wow,
    "sliced": sliced_distance,
    "pairwise_sliced": pairwise_sliced,
    "sliced_plan": sliced_plan,
    "chamfer": chamfer,
    "pairwise_lazy": lambda xs, ys: linearized.pairwise_sq_lazy_distance(xs, ys),
    "linearized": linearized_distance,
    "frechet": frechet,
    "emd": emd,
    "plan": plan,
    "the_plan": plan,
    "assignment": assignment,
    "outer_plan": lambda cost, eps=0.0: outer.outer_plan(cost, eps=eps),
    "couple": couple,
    "sinkhorn_plan": sinkhorn_plan,
    "sinkhorn_value": sinkhorn_value,
    "sinkhorn_cost": sinkhorn_cost,
    "sinkhorn_divergence": sinkhorn_divergence,
    "entropic_map": entropic_map,
    "projection": lambda plan, y: entropic.barycentric_projection(plan, y),
    "rounding": lambda log_plan: plans.greedy_rounding(log_plan),
    "sq_gaussian": sq_gaussian,
    "pairwise_sq_gaussian": pairwise_sq_gaussian,
    "gaussian_map": gaussian_map,
    "gaussian_interpolate": gaussian_interpolate,
    "gaussian_barycenter": gaussian_barycenter,
    "sqrtm": lambda cov: psd.sqrtm(cov),
    "inv_sqrtm": lambda cov: psd.inv_sqrtm(cov),
    "cholesky": lambda cov: cholesky(cov),
    "moments_mean": lambda points, weights=None: clouds.moments(points, weights).mean,
    "moments_cov": lambda points, weights=None: clouds.moments(points, weights).cov,
    "uniform": lambda points: clouds.uniform(points).weights,
    "displacement": lambda x, images, t: interpolation.displacement(x, images, t),
    "one_nn": one_nn,
    "coverage": coverage,
    "matching_distance": matching_distance,
    "sample_pairs": sample_pairs,
    "outer_cost": outer_cost,
}
