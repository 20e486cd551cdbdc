"""Audited random couplings of families of clouds: which they are, and how selections make them."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport.families import (
    RandomCoupling,
    independent_plan,
    membership_error,
    optimal_plan,
    random_coupling,
)
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.families import (
    SOLVER,
    any_plan,
    least_cost,
    random_family,
    rounded_coupling,
    sq_costs,
    two_families,
)


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_15(), gwfm_17(), gwfm_18()]


# GWFM-15


def gwfm_15() -> Item:
    """Random couplings."""
    return Item(
        id="GWFM-15",
        paper="GWFM",
        place="section 2, eq. 15",
        title="random couplings of two families",
        latex=(
            r"R\Gamma(\mathbf M,\mathbf N)"
            r"=\{\mathbf P\in\mathcal P(\mathcal P(\mathbb R^d\times\mathbb R^d)):"
            r"\ (\pi\mapsto(\mathrm{pr}_i)_\sharp\pi)_\sharp\mathbf P=\mathbf M,\mathbf N\}"
        ),
        statement="Laws over plans whose first marginals are distributed as one family, second as the other.",
        functions=(membership_error,),
        checks=(
            Check(
                "NumPy, plan by plan",
                errors_are_those_of_the_marginals,
                membership_error,
                {
                    "outer plan only": lambda P, mu, nu: membership_error(P, mu, nu)._replace(
                        inner_rows=0.0, inner_columns=0.0
                    ),
                    "unused plans counted": lambda P, mu, nu: membership_error(
                        P._replace(outer=np.full(P.outer.shape, 1.0 / P.outer.size)), mu, nu
                    ),
                    "rows for columns": lambda P, mu, nu: _swapped(membership_error(P, mu, nu)),
                    "half of them": lambda P, mu, nu: type(membership_error(P, mu, nu))(
                        *(0.5 * error for error in membership_error(P, mu, nu))
                    ),
                },
                roundings(100, "sums of 72 masses"),
                dimensions=(1, 2),
            ),
        ),
    )


def _swapped(errors):
    return type(errors)(errors[1], errors[0], errors[3], errors[2])


def errors_are_those_of_the_marginals(membership_error, draw):
    """All four errors, of a coupling spoilt at random, against sums over its atoms."""
    mu, nu = two_families(draw)
    coupling = rounded_coupling(draw, mu, nu)
    outer = draw.rounded(coupling.outer * draw.rng.uniform(0.8, 1.2, coupling.outer.shape))
    plans = draw.rounded(coupling.plans * draw.rng.uniform(0.5, 1.5, coupling.plans.shape))
    outer[0, 0] = 0.0
    truth = np.zeros(4)
    truth[0] = sum(abs(sum(outer[i]) - mass) for i, mass in enumerate(mu.weights))
    truth[1] = sum(abs(sum(outer[:, j]) - mass) for j, mass in enumerate(nu.weights))
    for i, j in np.ndindex(outer.shape):
        for k, mass in enumerate(mu.clouds.weights[i]):
            truth[2] += outer[i, j] * abs(sum(plans[i, j, k]) - mass)
        for k, mass in enumerate(nu.clouds.weights[j]):
            truth[3] += outer[i, j] * abs(sum(plans[i, j, :, k]) - mass)
    return np.max(np.abs(np.array(draw.call(membership_error, RandomCoupling(outer, plans), mu, nu)) - truth))


# GWFM-16, 17


def gwfm_17() -> Item:
    """Selections of inner plans."""
    return Item(
        id="GWFM-17",
        paper="GWFM",
        place="section 2, eqs. 16 and 17",
        title="selection of an inner plan for each pair",
        latex=r"\mathsf S:(\mu,\nu)\mapsto\pi_{\mu,\nu}\in\Pi(\mu,\nu)",
        statement="Independent and optimal inner plans have the pair as their marginals.",
        functions=(independent_plan, optimal_plan),
        checks=tuple(
            Check(
                f"marginals, and the cost by {oracle}",
                residual,
                select,
                {
                    "each point to its nearest": _to_the_nearest,
                    "uniform weights": lambda x, y, select=select: select(_even(x), _even(y)),
                    other: wrong,
                },
                SOLVER,
                dimensions=(1, 2, 3),
            )
            for select, residual, oracle, other, wrong in (
                (
                    independent_plan,
                    product_has_its_marginals,
                    "NumPy: independent plan",
                    "the optimal plan",
                    optimal_plan,
                ),
                (
                    optimal_plan,
                    optimum_has_its_marginals,
                    "HiGHS: optimal plan",
                    "the product plan",
                    independent_plan,
                ),
            )
        ),
    )


def _to_the_nearest(x, y):
    costs = np.sum((x.points[..., :, None, :] - y.points[..., None, :, :]) ** 2, axis=-1)
    nearest = costs == costs.min(axis=-1, keepdims=True)
    return nearest * x.weights[..., :, None]


def _even(cloud):
    return cloud._replace(weights=np.full_like(cloud.weights, 1.0 / cloud.weights.shape[-1]))


def _selection_error(select, draw, least):
    x, y = (random_family(draw, draw.size, n).clouds for n in (4, 3))
    plan = draw.call(select, x, y)
    cost = np.stack([sq_costs(*pair) for pair in zip(x.points, y.points, strict=True)])
    truth = np.array([least(*problem) for problem in zip(cost, x.weights, y.weights, strict=True)])
    rows, columns = np.abs(plan.sum(axis=-1) - x.weights), np.abs(plan.sum(axis=-2) - y.weights)
    value = np.sum(plan * cost, axis=(-2, -1))
    return worst_of(
        np.max(np.sum(rows, axis=-1)), np.max(np.sum(columns, axis=-1)), np.max(np.abs(value / truth - 1))
    )


def product_has_its_marginals(select, draw):
    """L1 errors of both marginals, and of the mean squared distance of independent points."""
    return _selection_error(select, draw, lambda cost, a, b: a @ cost @ b)


def optimum_has_its_marginals(select, draw):
    """L1 errors of both marginals, and of the least mean squared distance."""
    return _selection_error(select, draw, least_cost)


# GWFM-18


def gwfm_18() -> Item:
    """Image of an outer plan by a selection."""
    return Item(
        id="GWFM-18",
        paper="GWFM",
        place="Lemma 2.4, eq. 18; proof, eqs. 44-50",
        title="an outer plan and a selection make a random coupling",
        latex=r"\mathsf S_\sharp\boldsymbol\Pi\in R\Gamma(\mathbf M,\mathbf N)",
        statement="Whatever the outer plan and the selection, the marginals are the two families.",
        functions=(random_coupling,),
        checks=(
            Check(
                "the families themselves, as functionals of the measures",
                marginals_are_the_families,
                random_coupling,
                {
                    "pairs the other way round": _transposed_pairs,
                    "one selection for all": lambda mu, nu, outer, select: random_coupling(
                        mu,
                        nu,
                        outer,
                        lambda x, y: select(_first(x), _first(y)) + 0.0 * independent_plan(x, y),
                    ),
                    "uniform outer plan": lambda mu, nu, outer, select: random_coupling(
                        mu, nu, np.full_like(outer, 1.0 / outer.size), select
                    ),
                },
                roundings(300, "sums of 72 masses and squares of them"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _first(cloud):
    return PointCloud(*(part[:1, :1] for part in cloud))


def _transposed_pairs(mu, nu, outer, select):
    coupling = random_coupling(mu, nu, outer, select)
    return coupling._replace(plans=coupling.plans[::-1, ::-1])


def marginals_are_the_families(couple, draw):
    """``∫ (∫ φ dμ)² dM`` of both marginals against that of mu and of nu, φ a square and a sine."""
    mu, nu = two_families(draw)
    outer, worst = draw.rounded(any_plan(draw.rng, mu.weights, nu.weights)), 0.0
    k = draw.normal(draw.d)
    for select in (independent_plan, optimal_plan):
        found = draw.call(lambda mu, nu, outer, select=select: couple(mu, nu, outer, select), mu, nu, outer)
        x, y = (np.stack([(p @ k) ** 2, np.sin(p @ k)]) for p in (mu.clouds.points, nu.clouds.points))
        marginals = (np.sum(found.plans, axis=-1), np.sum(found.plans, axis=-2))
        sides = ((x[:, :, None], marginals[0], x, mu), (y[:, None], marginals[1], y, nu))
        for values, masses, alone, family in sides:
            drawn = np.sum(found.outer * np.sum(values * masses, axis=-1) ** 2, axis=(-2, -1))
            truth = np.sum(family.weights * np.sum(alone * family.clouds.weights, axis=-1) ** 2, axis=-1)
            scale = np.max(alone**2, axis=(-2, -1))
            worst = worst_of(worst, np.max(np.abs(drawn - truth) / scale))
    return worst
