"""What can be asked of any library: each question in words, with the arguments that cases give it.

Clouds are points x (n, d) and y (m, d) with weights a (n,) and b (m,), which are uniform where they are left
out; families of clouds have a leading axis. Costs are squared Euclidean distances, without a factor of a
half, unless a matrix is given. An answer is a host array, or what ``numpy.asarray`` takes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm.validation.hostile.cases import DTYPES, Given

ROUNDING = {"float64": 1e-12, "float32": 1e-5}
SPECTRAL = {"float64": 1e-10, "float32": 1e-3}
"""For matrix roots, whose arguments are products of matrices."""
ITERATED = {"float64": 1e-5, "float32": 2e-3}
"""For what is iterated until marginal errors are 1e-7 (float32: 1e-4) or less."""
NONE = dict.fromkeys(DTYPES, 0.0)
MASSES = {"float64": 1e-12, "float32": 1e-6}
"""Absolute, for entries of plans, which are of order one."""


class Question(NamedTuple):
    """One question.

    Attributes
    ----------
    words : str
        What is asked; the arguments are named.
    rtol, atol : dict
        How far from the right answer an answer may be, by dtype.
    judged : callable, optional
        ``judged(answer, given)``: the number that is compared, of an answer that is not unique.
    """

    words: str
    rtol: dict[str, float] = ROUNDING
    atol: dict[str, float] = NONE
    judged: Callable[[np.ndarray, dict[str, Any]], np.ndarray] | None = None


def cost_of_plan(plan: np.ndarray, given: dict[str, Any], /) -> np.ndarray:
    """What a plan really costs; NaN if it is none: negative, or with other marginals than those asked for."""
    cost = np.asarray(_values(given["cost"]), dtype=np.float64)
    n, m = cost.shape
    wanted = (_values(given.get("a", np.full(n, 1 / n))), _values(given.get("b", np.full(m, 1 / m))))
    plan = np.asarray(plan, dtype=np.float64)
    errors = [np.sum(np.abs(plan.sum(axis=1 - k) - w)) for k, w in enumerate(wanted)]
    if plan.shape != (n, m) or np.any(plan < 0) or not max(errors) < 1e-5:
        return np.asarray(np.nan)
    return np.asarray(np.sum(np.where(plan > 0, plan * cost, 0.0)))


def cost_of_permutation(perm: np.ndarray, given: dict[str, Any], /) -> np.ndarray:
    """Mean cost of a permutation; NaN if it is none."""
    cost = np.asarray(_values(given["cost"]), dtype=np.float64)
    perm = np.asarray(perm)
    if sorted(perm.tolist()) != list(range(len(cost))):
        return np.asarray(np.nan)
    return np.asarray(np.mean(cost[np.arange(len(cost)), perm]))


def _values(given: Any) -> Any:
    return given.values if isinstance(given, Given) else given


QUESTIONS: dict[str, Question] = {
    # distances of points and clouds
    "sq_euclidean": Question("matrix (n, m) of the squared distances of x and y"),
    "sq_wasserstein2": Question("squared 2-Wasserstein distance of two clouds x, y with weights a, b"),
    "pairwise_sq_wasserstein2": Question("that of all pairs of two families xs, ys with weights a, b"),
    "sq_wow": Question(
        "squared Wasserstein distance of two families whose members are compared by the above"
    ),
    "sliced": Question("squared sliced distance of x, y along the directions theta, a mean over them"),
    "pairwise_sliced": Question("that of all pairs of two families xs, ys"),
    "sliced_plan": Question("plan (n, m) of sliced transport along theta", atol=MASSES),
    "chamfer": Question("sum of both weighted means of squared distances to the nearest point of the other"),
    "pairwise_lazy": Question("mean over i of the squared distance of x_i and y_i, for all pairs of xs, ys"),
    "linearized": Question("squared distance of x and y after both are put into the order of a reference"),
    "frechet": Question(
        "squared 2-Wasserstein distances of the Gaussians with the moments of xs, ys", SPECTRAL
    ),
    # exact transport
    "emd": Question("least mean cost of transport for a cost matrix and weights a, b"),
    "plan": Question("a plan of least cost, judged by what it costs", judged=cost_of_plan),
    "the_plan": Question("the plan of least cost, where there is one only", atol=MASSES),
    "assignment": Question(
        "a permutation of least cost, judged by its mean cost", judged=cost_of_permutation
    ),
    "outer_plan": Question("the optimal plan of a cost between equal weights", atol=MASSES),
    "couple": Question("images, in y, of the points of x under the plan of the name inner"),
    # entropic transport, K the cost and P the plan: <K, P> + eps KL(P | a b)
    "sinkhorn_plan": Question(
        "entropic plan of cost, a, b for eps", ITERATED, {"float64": 1e-7, "float32": 1e-4}
    ),
    "sinkhorn_value": Question("<K, P> + eps KL(P | a b) of that plan", ITERATED),
    "sinkhorn_cost": Question("<K, P> of that plan", ITERATED),
    "sinkhorn_divergence": Question("debiased value of that kind between clouds x, y", ITERATED),
    "entropic_map": Question("images of points, given the target y, b and its potential g, for eps"),
    "projection": Question("mean target of the rows of a plan, with targets y"),
    "rounding": Question("permutation that takes the largest entries of a matrix first"),
    # Gaussians
    "sq_gaussian": Question("squared 2-Wasserstein distance of N(m0, cov0) and N(m1, cov1)", SPECTRAL),
    "pairwise_sq_gaussian": Question("that of all pairs of two families", SPECTRAL),
    "gaussian_map": Question("matrix C of the optimal map m1 + C (x - m0)", SPECTRAL, SPECTRAL),
    "gaussian_interpolate": Question("covariance of the geodesic at t", SPECTRAL, SPECTRAL),
    "gaussian_barycenter": Question("covariance of the barycenter of covs, weights", SPECTRAL, SPECTRAL),
    "sqrtm": Question("symmetric root of a covariance", SPECTRAL),
    "inv_sqrtm": Question("its inverse", SPECTRAL),
    "cholesky": Question("lower triangular factor of a covariance, for singular ones too", SPECTRAL),
    # clouds and families
    "moments_mean": Question("mean of points with weights"),
    "moments_cov": Question("covariance of points with weights, of the measure itself", atol=NONE),
    "uniform": Question("weights of a cloud of points that all weigh the same"),
    "displacement": Question("points at time t on their way from x to their images"),
    "one_nn": Question("1-NN accuracy from the distances gg, gr, rr within and between two families"),
    "coverage": Question("share of reference members that are nearest to a generated one, from gg, gr, rr"),
    "matching_distance": Question("mean distance of a reference member to the nearest generated one"),
    "sample_pairs": Question("n pairs of atoms drawn from a plan, sorted: rows and columns"),
    # devices and options
    "outer_cost": Question("costs between the clouds of two families, by the name outer"),
}
