"""How OTT-JAX is asked (ott-jax.readthedocs.io), in float64. Its results say whether it has converged."""

import warnings
from importlib import metadata

import jax
import jax.numpy as jnp
from ott.geometry import costs, geometry, pointcloud
from ott.problems.linear import linear_problem, potentials
from ott.solvers import linear
from ott.tools import sinkhorn_divergence as divergence
from ott.tools import sliced, unreg
from ott.tools.gaussian_mixture.gaussian import Gaussian

from refwfm.validation.hostile.adapters import Adapter, NotAskedError

OPTIONS = {"threshold": 1e-9, "max_iterations": 5_000}


def _say(converged):
    if not bool(jnp.all(jnp.asarray(converged))):
        warnings.warn("OTT-JAX: converged is False", stacklevel=3)


def _solve(cost, a, b, eps):
    out = linear.solve(geometry.Geometry(cost_matrix=cost, epsilon=eps), a=a, b=b, **OPTIONS)
    _say(out.converged)
    return out


def sq_wasserstein2(x, y, a=None, b=None):
    """On the line for any weights; in space OTT-JAX solves assignments only."""
    if x.shape[-1] == 1:
        return linear.solve_univariate(pointcloud.PointCloud(x, y), a, b).ot_costs[0]
    if a is not None or b is not None or len(x) != len(y):
        raise NotAskedError("OTT-JAX has no exact solver for these clouds")
    return unreg.hungarian(pointcloud.PointCloud(x, y))[0]


def assignment(cost):
    paired = unreg.hungarian(geometry.Geometry(cost_matrix=cost))[1].paired_indices
    return paired[1][jnp.argsort(paired[0])]


def sliced_distance(x, y, theta, a=None, b=None):
    return sliced.sliced_wasserstein(x, y, a, b, proj_fn=lambda points: points @ theta.T)[0]


def sinkhorn_divergence(x, y, eps, a=None, b=None):
    value, out = divergence.sinkhorn_divergence(
        pointcloud.PointCloud, x, y, a=a, b=b, epsilon=eps, solve_kwargs=OPTIONS
    )
    _say(jnp.asarray(out.converged))
    return value


FAR = 1e5
"""Queries that the map is asked about: beyond, its derivative of a cost of squares loses its digits."""


def entropic_map(points, y, b, g, eps):
    if bool(jnp.any(jnp.abs(points) > FAR)):
        raise NotAskedError("OTT-JAX promises no map that far away")
    problem = linear_problem.LinearProblem(pointcloud.PointCloud(y, y, epsilon=eps), a=b, b=b)
    f = problem.potential_fn_from_dual_vec(g, epsilon=eps, axis=1)
    return potentials.DualPotentials(f=f, g=None, cost_fn=costs.SqEuclidean()).transport(points)


WORST = 1e3
"""Condition number of covariances: roots are iterated to 1e-3 of the matrix, without small directions."""


def _need_condition(cov):
    if bool(jnp.any(jnp.linalg.cond(cov) >= WORST)):
        raise NotAskedError("OTT-JAX promises no digits there")


def _gaussian(mean, cov):
    _need_condition(cov)
    return Gaussian.from_mean_and_cov(mean, cov)


def sq_gaussian(cov0, cov1, m0, m1):
    return _gaussian(m0, cov0).w2_dist(_gaussian(m1, cov1))


def pairwise_sq_gaussian(cov0, cov1, m0, m1):
    return jnp.stack(
        [
            jnp.stack([sq_gaussian(c, e, m, n) for e, n in zip(cov1, m1, strict=True)])
            for c, m in zip(cov0, m0, strict=True)
        ]
    )


def gaussian_map(cov0, cov1, m0, m1):
    zero = jnp.zeros_like(m0)
    return _gaussian(zero, cov0).transport(_gaussian(zero, cov1), jnp.eye(len(m0))).T


def gaussian_barycenter(covs, means, weights=None):
    _need_condition(covs)
    count, d = means.shape
    weights = jnp.full((count,), 1.0 / count) if weights is None else weights
    members = jnp.concatenate([means, covs.reshape(count, d * d)], axis=1)
    mean_and_cov = costs.Bures(d).barycenter(weights, members, tolerance=1e-12, max_iterations=1000)[0]
    return mean_and_cov[d:].reshape(d, d)


def _array(values, dtype):
    jax.config.update("jax_enable_x64", True)
    return jnp.asarray(values, dtype=dtype)


ADAPTER = Adapter(
    "OTT-JAX",
    metadata.version("ott-jax"),
    _array,
    {
        "sq_euclidean": lambda x, y: pointcloud.PointCloud(x, y).cost_matrix,
        "sq_wasserstein2": sq_wasserstein2,
        "assignment": assignment,
        "sliced": sliced_distance,
        "sinkhorn_plan": lambda cost, a, b, eps: _solve(cost, a, b, eps).matrix,
        "sinkhorn_value": lambda cost, a, b, eps: _solve(cost, a, b, eps).kl_reg_cost,
        "sinkhorn_cost": lambda cost, a, b, eps: _solve(cost, a, b, eps).primal_cost,
        "sinkhorn_divergence": sinkhorn_divergence,
        "entropic_map": entropic_map,
        "sq_gaussian": sq_gaussian,
        "pairwise_sq_gaussian": pairwise_sq_gaussian,
        "gaussian_map": gaussian_map,
        "gaussian_barycenter": gaussian_barycenter,
    },
)
