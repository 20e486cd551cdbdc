"""Audited transport between families of clouds: its distance, and that no random coupling is cheaper."""

import numpy as np
import scipy.optimize

from refwfm.measures import PointCloud
from refwfm.transport.exact import transport_plan
from refwfm.transport.families import (
    even_family,
    independent_plan,
    optimal_plan,
    random_coupling,
    sq_coupling_cost,
    sq_wow_distance,
)
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.families import (
    SOLVER,
    any_coupling,
    any_plan,
    inner_distances,
    least_cost,
    least_cost_of_all_couplings,
    optimal_coupling,
    product_of_outer,
    rounded_coupling,
    sq_costs,
    two_families,
)

COUPLINGS = 60


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_3(), gwfm_19()]


# GWFM-3, 4


def gwfm_3() -> Item:
    """Wasserstein-on-Wasserstein distance."""
    return Item(
        id="GWFM-3",
        paper="GWFM",
        place="section 2, eqs. 3 and 4",
        title="Wasserstein-on-Wasserstein distance",
        latex=(
            r"\mathbf W_2^2(\mathbf M,\mathbf N)"
            r"=\min_{\boldsymbol\Pi}\int W_2^2(\mu,\nu)\,d\boldsymbol\Pi(\mu,\nu)"
        ),
        statement="Transport between families of measures, at the squared distances of their members.",
        functions=(sq_wow_distance, even_family),
        checks=(
            Check(
                "SciPy linprog (HiGHS) for both levels",
                distance_is_highs,
                sq_wow_distance,
                {
                    "unsquared distances of the members": _changed(
                        lambda found, mu, nu: least_cost(np.sqrt(found.inner), mu.weights, nu.weights) ** 2
                    ),
                    "independent outer plan": _changed(
                        lambda found, mu, nu: mu.weights @ found.inner @ nu.weights
                    ),
                    "nearest clouds": _changed(
                        lambda found, mu, nu: mu.weights @ np.min(found.inner, axis=1)
                    ),
                    "independent inner plans": _changed(
                        lambda found, mu, nu: least_cost(_product_costs(mu, nu), mu.weights, nu.weights)
                    ),
                },
                SOLVER,
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "SciPy assignment, families of single points",
                points_are_embedded,
                lambda mu, nu: sq_wow_distance(even_family(mu), even_family(nu)),
                {
                    "not squared": lambda mu, nu: _root(sq_wow_distance(even_family(mu), even_family(nu))),
                    "distance of the mean measures' means": lambda mu, nu: sq_wow_distance(
                        even_family(mu), even_family(nu)
                    )._replace(sq_distance=np.sum((mu.points.mean(axis=0) - nu.points.mean(axis=0)) ** 2)),
                },
                SOLVER,
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _changed(change):
    def distance(mu, nu):
        found = sq_wow_distance(mu, nu)
        return found._replace(sq_distance=change(found, mu, nu))

    return distance


def _root(found):
    return found._replace(sq_distance=np.sqrt(found.sq_distance))


def _product_costs(mu, nu):
    """Mean squared distances under the product plans, (M, N)."""
    return np.array(
        [
            [a @ sq_costs(x, y) @ b for y, b in zip(*nu.clouds, strict=True)]
            for x, a in zip(*mu.clouds, strict=True)
        ]
    )


def distance_is_highs(distance, draw):
    """Distance and all inner distances, relative; the outer plan's cost on them as well."""
    mu, nu = two_families(draw)
    found, inner = draw.call(distance, mu, nu), inner_distances(mu, nu)
    truth = least_cost(inner, mu.weights, nu.weights)
    return worst_of(
        np.max(np.abs(found.inner / inner - 1.0)),
        abs(found.sq_distance / truth - 1.0),
        abs(np.sum(found.outer.plan * inner) / truth - 1.0),
    )


def points_are_embedded(distance, draw):
    """Distance of families of 6 clouds of one point, against the squared distance of the 6 points."""
    x, y = draw.normal(6, 1, draw.d), draw.normal(6, 1, draw.d)
    cost = sq_costs(x[:, 0], y[:, 0])
    truth = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
    ones = np.ones((6, 1))
    return abs(draw.call(distance, PointCloud(x, ones), PointCloud(y, ones)).sq_distance / truth - 1.0)


# GWFM-19


def gwfm_19() -> Item:
    """The distance is the least cost of a random coupling."""

    def cost_of(couple):
        return lambda mu, nu: sq_coupling_cost(couple(mu, nu), mu, nu)

    independent_outer = cost_of(
        lambda mu, nu: random_coupling(mu, nu, product_of_outer(mu, nu), optimal_plan)
    )
    independent_inner = cost_of(
        lambda mu, nu: random_coupling(mu, nu, sq_wow_distance(mu, nu).outer.plan, independent_plan)
    )
    return Item(
        id="GWFM-19",
        paper="GWFM",
        place="Lemma 2.4, eq. 19; proof, eqs. 51-56",
        title="the distance is the least cost of a random coupling",
        latex=(
            r"\mathbf W_2^2(\mathbf M,\mathbf N)=\min_{\mathbf P\in R\Gamma(\mathbf M,\mathbf N)}"
            r"\iint\|x-y\|^2\,d\pi\,d\mathbf P"
        ),
        statement="Optimal outer and inner plans together are optimal among all random couplings.",
        functions=(sq_coupling_cost, random_coupling, sq_wow_distance),
        checks=(
            Check(
                "one linear programme over outer and inner plans together (HiGHS)",
                cost_is_the_least,
                cost_of(optimal_coupling),
                {
                    "independent outer plan": independent_outer,
                    "independent inner plans": independent_inner,
                    "any outer plan": cost_of(_with_any_outer_plan),
                },
                SOLVER,
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                f"{COUPLINGS} random couplings: none cheaper",
                no_coupling_is_cheaper,
                cost_of(optimal_coupling),
                {
                    "independent outer and inner plans": cost_of(
                        lambda mu, nu: random_coupling(mu, nu, product_of_outer(mu, nu), independent_plan)
                    ),
                    "dearest outer plan": cost_of(_dearest),
                },
                SOLVER,
                dimensions=(1, 2),
            ),
            Check(
                "NumPy, atom by atom",
                cost_is_the_mean_squared_distance,
                sq_coupling_cost,
                {
                    "not squared": lambda P, mu, nu: np.sqrt(sq_coupling_cost(P, mu, nu)),
                    "half of it": lambda P, mu, nu: 0.5 * sq_coupling_cost(P, mu, nu),
                    "uniform outer plan": lambda P, mu, nu: sq_coupling_cost(
                        P._replace(outer=np.full_like(P.outer, 1.0 / P.outer.size)), mu, nu
                    ),
                },
                roundings(100, "sums of 72 squares"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _with_any_outer_plan(mu, nu):
    return random_coupling(mu, nu, any_plan(np.random.default_rng(0), mu.weights, nu.weights), optimal_plan)


def _dearest(mu, nu):
    inner = sq_wow_distance(mu, nu).inner
    dearest = transport_plan(np.max(inner) - inner, mu.weights, nu.weights)
    return random_coupling(mu, nu, dearest.plan, optimal_plan)


def cost_is_the_least(cost, draw):
    """Cost of the coupling against the least of all, relative."""
    mu, nu = two_families(draw)
    return abs(draw.call(cost, mu, nu) / least_cost_of_all_couplings(mu, nu) - 1.0)


def no_coupling_is_cheaper(cost, draw):
    """How much of the coupling's cost the cheapest of 200 random couplings saves."""
    mu, nu = two_families(draw)
    costs = np.sum((mu.clouds.points[:, None, :, None] - nu.clouds.points[:, None]) ** 2, axis=-1)
    cheapest = np.inf
    for _ in range(COUPLINGS):
        other = any_coupling(draw.rng, mu, nu)
        cheapest = min(cheapest, np.sum(other.outer * np.sum(other.plans * costs, axis=(-2, -1))))
    return worst_of(0.0, 1.0 - cheapest / draw.call(cost, mu, nu))


def cost_is_the_mean_squared_distance(cost, draw):
    """Cost of any coupling against the sum over all pairs of points, relative."""
    mu, nu = two_families(draw)
    coupling = rounded_coupling(draw, mu, nu)
    truth = 0.0
    for (i, j, k, m), mass in np.ndenumerate(coupling.plans):
        gap = mu.clouds.points[i, k] - nu.clouds.points[j, m]
        truth += coupling.outer[i, j] * mass * (gap @ gap)
    return abs(draw.call(cost, coupling, mu, nu) / truth - 1.0)
