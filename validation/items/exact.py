"""Audited formulas of exact transport: the distance between clouds, and the optimal plan."""

import numpy as np
import scipy.optimize
from scipy.spatial.distance import cdist

from refwfm.measures import Gaussian, PointCloud
from refwfm.transport.exact import TransportPlan, assignment, sq_wasserstein2, transport_plan
from refwfm.validation import extremes, slopes, textbook
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of

SOLVER = Tolerance(1e-9, 1e-4, "two direct solvers, relative: 1e-9; inputs in float32: 1e-4")


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [wfm_3(), gwfm_1()]


# WFM-3


def wfm_3() -> Item:
    """Monge problem between clouds."""
    return Item(
        id="WFM-3",
        paper="WFM",
        place="section 2.2, eq. 3",
        title="squared 2-Wasserstein distance between clouds",
        latex=(
            r"W_2^2(\mu,\nu)=\min_{T_\sharp\mu=\nu}\|\mathrm{id}-T\|^2_{L^2(\mu)}"
            r"=\min_{\sigma\in S_n}\frac1n\sum_i\|x_i-y_{\sigma(i)}\|^2"
        ),
        statement="The least mean squared displacement; for equal sizes and weights an assignment.",
        functions=(sq_wasserstein2, assignment),
        checks=(
            Check(
                "SciPy linprog (HiGHS), unequal sizes and weights",
                distance_solves_the_linear_programme,
                sq_wasserstein2,
                {
                    "nearest point of each": _to_the_nearest,
                    "mean over all pairs": lambda x, y: np.asarray(
                        [a @ c @ b for a, b, c in zip(x.weights, y.weights, _costs(x, y), strict=True)]
                    ),
                    "weights ignored": lambda x, y: sq_wasserstein2(_even(x), _even(y)),
                    "half of it": lambda x, y: 0.5 * sq_wasserstein2(x, y),
                },
                SOLVER,
                dimensions=(1, 2, 3),
            ),
            Check(
                "closed form of affine images (WFM-24, moments divided by n)",
                affine_images_keep_their_order,
                sq_wasserstein2,
                {
                    "not squared": lambda x, y: np.sqrt(sq_wasserstein2(x, y)),
                    "sum over the points": lambda x, y: x.weights.shape[-1] * sq_wasserstein2(x, y),
                    "moments divided by n - 1 (caveat C1)": _from_moments,
                },
                roundings(300, "condition number 30, sums over 12 points"),
                dimensions=(1, 2, 3, 6),
            ),
            *extremes.assignment_checks(),
            slopes.exact_distance_check(),
        ),
    )


def distance_solves_the_linear_programme(sq_wasserstein2, draw):
    """Against the least cost over all plans; 4 and 6 atoms with weights, and a row of padding."""
    x, y = _random_cloud(draw, 4), _random_cloud(draw, 6)
    given = [PointCloud(*(_with_row(part, 7.0 * (part.ndim == 3)) for part in cloud)) for cloud in (x, y)]
    truth = [_linear_programme(*problem) for problem in zip(_costs(x, y), x.weights, y.weights, strict=True)]
    return textbook.relative(draw.call(sq_wasserstein2, *given), np.asarray(truth))


def affine_images_keep_their_order(sq_wasserstein2, draw):
    """Images under positive definite affine maps, in another order, against the distance of the moments."""
    n = 12
    x = draw.normal(draw.size, n, draw.d)
    maps = draw.covariances()
    images = draw.rounded(1.0 + x @ maps)
    moments = [
        Gaussian(c.mean(axis=1), np.stack([np.cov(m.T, ddof=0).reshape(draw.d, draw.d) for m in c]))
        for c in (x, images)
    ]
    weights = np.full((draw.size, n), 1.0 / n)
    order = draw.rng.permutation(n)
    found = draw.call(sq_wasserstein2, PointCloud(x, weights), PointCloud(images[:, order], weights))
    return textbook.relative(found, textbook.sq_distance(*moments))


def _random_cloud(draw, n):
    weights = np.stack([draw.weights(n) for _ in range(draw.size)])
    return PointCloud(draw.normal(draw.size, n, draw.d), weights)


def _with_row(array, value):
    return np.concatenate([array, np.full_like(array[:, :1], value)], axis=1)


def _costs(x, y):
    return np.stack([cdist(p, q, "sqeuclidean") for p, q in zip(x.points, y.points, strict=True)])


def _to_the_nearest(x, y):
    costs = np.where((y.weights > 0)[:, None, :], _costs(x, y), np.inf)
    return np.sum(x.weights * costs.min(axis=-1), axis=-1)


def _even(cloud):
    live = cloud.weights > 0
    return PointCloud(cloud.points, live / live.sum(axis=-1, keepdims=True))


def _from_moments(x, y):
    means = [c.points.mean(axis=1) for c in (x, y)]
    covs = [np.stack([np.atleast_2d(np.cov(m.T)) for m in c.points]) for c in (x, y)]
    return textbook.sq_distance(*map(Gaussian, means, covs))


# GWFM-1, 2


def gwfm_1() -> Item:
    """Optimal plan."""
    return Item(
        id="GWFM-1",
        paper="GWFM",
        place="section 2, eqs. 1 and 2; eq. 31",
        title="optimal transport plan",
        latex=(
            r"W_2^2(\mu,\nu)=\min_{\pi\in\Pi(\mu,\nu)}\int\mathsf d(x,y)^2\,d\pi,"
            r"\qquad\Pi(\mu,\nu)=\{\pi:(\mathrm{pr}_1)_\sharp\pi=\mu,(\mathrm{pr}_2)_\sharp\pi=\nu\}"
        ),
        statement="The cheapest way to split and move mass, with potentials that prove it.",
        functions=(transport_plan,),
        checks=(
            Check(
                "SciPy linprog (HiGHS)",
                plan_solves_the_linear_programme,
                transport_plan,
                {
                    "product plan": _product,
                    "filled from a corner": _north_west,
                    "dearest plan": lambda cost, a, b: _valued(transport_plan(-cost, a, b).plan, cost),
                    "uniform weights": lambda cost, a, b: transport_plan(
                        cost, np.full_like(a, 1 / a.shape[-1]), np.full_like(b, 1 / b.shape[-1])
                    ),
                },
                SOLVER,
                dimensions=(2, 5),
            ),
            Check(
                "Kantorovich duality",
                potentials_prove_the_plan,
                transport_plan,
                {
                    "half of the potentials": lambda cost, a, b: _with_potentials(cost, a, b, 0.5, 0.5),
                    "the signs of the potentials": lambda cost, a, b: _with_potentials(
                        cost, a, b, -1.0, -1.0
                    ),
                    "f alone": lambda cost, a, b: _with_potentials(cost, a, b, 1.0, 0.0),
                },
                SOLVER,
                dimensions=(2, 5),
            ),
            extremes.padded_plan_check(),
            slopes.plan_check(),
        ),
    )


def plan_solves_the_linear_programme(transport_plan, draw):
    """Cost of the plan against the least, both marginals in L1, and no more than n + m - 1 atoms."""
    cost, a, b = _problem(draw)
    found = draw.call(transport_plan, cost, a, b)
    if found.plan.shape != cost.shape or np.min(found.plan) < 0:
        return np.inf
    truth = np.asarray([_linear_programme(*problem) for problem in zip(cost, a, b, strict=True)])
    priced = np.sum(found.plan * cost, axis=(-2, -1))
    marginals = np.abs(found.plan.sum(axis=-1) - a).sum(-1) + np.abs(found.plan.sum(axis=-2) - b).sum(-1)
    values = max(textbook.relative(priced, truth), textbook.relative(found.cost, truth), np.max(marginals))
    sparse = np.max(np.count_nonzero(found.plan, axis=(-2, -1))) < a.shape[-1] + b.shape[-1]
    return values if sparse else np.inf


def potentials_prove_the_plan(transport_plan, draw):
    """``f_i + g_j - K_ij`` above zero, and ``⟨f, a⟩ + ⟨g, b⟩ - ⟨K, P⟩``, relative to the largest cost."""
    cost, a, b = _problem(draw)
    found = draw.call(transport_plan, cost, a, b)
    excess = np.max(found.f[..., :, None] + found.g[..., None, :] - cost)
    dual = np.sum(found.f * a, axis=-1) + np.sum(found.g * b, axis=-1)
    gap = np.abs(np.sum(found.plan * cost, axis=(-2, -1)) - dual)
    return worst_of(excess, np.max(gap)) / np.max(np.abs(cost))


def _problem(draw):
    n, m = draw.d + 1, draw.d + 2
    weights = [np.stack([draw.rng.dirichlet(np.full(k, 5.0)) for _ in range(draw.size)]) for k in (n, m)]
    a, b = (w / w.sum(axis=-1, keepdims=True) for w in map(draw.rounded, weights))
    return 1.0 + draw.normal(draw.size, n, m) ** 2, a, b


def _linear_programme(cost, a, b):
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    a, b = a / a.sum(), b / b.sum()
    equal = np.concatenate([rows, columns]), np.concatenate([a, b])
    return scipy.optimize.linprog(cost.ravel(), A_eq=equal[0], b_eq=equal[1]).fun


def _valued(plan, cost):
    value, zero = np.sum(plan * cost, axis=(-2, -1)), np.zeros(len(cost))
    return TransportPlan(plan, value, plan[..., 0], plan[..., 0, :], zero, zero, zero, zero == 0)


def _product(cost, a, b):
    return _valued(a[..., :, None] * b[..., None, :], cost)


def _north_west(cost, a, b):
    low0, low1 = np.cumsum(a, axis=-1) - a, np.cumsum(b, axis=-1) - b
    start = np.maximum(low0[..., :, None], low1[..., None, :])
    end = np.minimum((low0 + a)[..., :, None], (low1 + b)[..., None, :])
    return _valued(np.maximum(end - start, 0.0), cost)


def _with_potentials(cost, a, b, s, t):
    found = transport_plan(cost, a, b)
    return found._replace(f=s * found.f, g=t * found.g)
