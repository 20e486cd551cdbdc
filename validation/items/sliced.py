"""Audited sliced distances, and the outer plans by them (GWFM section 3 and appendix C.4)."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport import quantiles, sliced
from refwfm.transport.exact import assignment
from refwfm.validation import corners
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, roundings, worst_of
from refwfm.validation.sliced_problems import (
    N_PROJ,
    cloud,
    directions,
    even,
    instances,
    normalised,
    pot_cost,
    unit,
)

SUMS = roundings(300, "sums over a dozen directions and points, in another order")


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [gwfm_32(), gwfm_33(), gwfm_105()]


# GWFM-32


def gwfm_32() -> Item:
    """Sliced distance."""
    sq = sliced.sq_sliced_distance

    def along(x, y, theta):
        return sq(x, y, theta[:, None, :])

    return Item(
        id="GWFM-32",
        paper="GWFM",
        place="section 3, eq. 32",
        title="sliced Wasserstein distance",
        latex=r"SW_2^2(\mu,\nu)=\int_{S^{d-1}}W_2^2(\langle\theta,\cdot\rangle_\sharp\mu,"
        r"\langle\theta,\cdot\rangle_\sharp\nu)\,d\theta",
        statement="Squared distances of the projections on a line, averaged over all directions.",
        functions=(sq, quantiles.line_cost, quantiles.sort_measure),
        checks=(
            Check(
                "POT, the same directions",
                distance_is_pots,
                sq,
                {
                    "not squared": lambda x, y, theta: sq(x, y, theta) ** 0.5,
                    "summed over directions": lambda x, y, theta: len(theta) * sq(x, y, theta),
                    "squared after averaging": lambda x, y, theta: (
                        np.mean([sq(x, y, one[None]) ** 0.5 for one in theta]) ** 2
                    ),
                    "without the weights": lambda x, y, theta: sq(even(x), even(y), theta),
                    "times d": lambda x, y, theta: theta.shape[-1] * sq(x, y, theta),
                },
                SUMS,
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "translations: ‖v‖² / d",
                distance_of_translations,
                along,
                {
                    "without 1 / d": lambda x, y, theta: theta.shape[-1] * along(x, y, theta),
                    "half of it": lambda x, y, theta: 0.5 * along(x, y, theta),
                    "not squared": lambda x, y, theta: along(x, y, theta) ** 0.5,
                },
                STANDARD_ERRORS,
                dimensions=(3, 6),
                many_shapes=True,
            ),
        ),
    )


def distance_is_pots(sq_distance, draw):
    """Clouds alike, of unequal sizes, of unequal weights."""
    return worst_of(
        *(
            abs(float(draw.call(sq_distance, x, y, theta)) / pot_cost(x, y, theta) - 1.0)
            for x, y, theta in instances(draw)
        )
    )


def distance_of_translations(sq_distances, draw):
    """Standard errors between the mean over 400 directions and its expectation."""
    x = normalised(cloud(draw, 6, weighted=True))
    v = draw.rounded(draw.rng.standard_normal(draw.d) * 3.0)
    y = PointCloud(draw.rounded(x.points + v), x.weights)
    along = draw.call(sq_distances, x, y, directions(draw, 400))
    return abs(np.mean(along) - v @ v / draw.d) / (np.std(along) / 20.0)


# GWFM-33


def gwfm_33() -> Item:
    """Sliced outer plan."""
    costs = sliced.pairwise_sliced_cost
    return Item(
        id="GWFM-33",
        paper="GWFM",
        place="section 3, eq. 33",
        title="sliced outer plan",
        latex=r"\Pi^{SW}\in\arg\min_\Pi\sum_{ij}\Pi_{ij}\,SW_2^2(\mu_i,\nu_j)",
        statement="Members of two batches are paired at least total squared sliced distance.",
        functions=(costs,),
        checks=(
            Check(
                "POT, pair after pair",
                costs_are_pots,
                costs,
                {
                    "not squared": lambda x, y, theta: costs(x, y, theta) ** 0.5,
                    "summed over directions": lambda x, y, theta: len(theta) * costs(x, y, theta),
                    "without the weights": lambda x, y, theta: costs(even(x), even(y), theta),
                    "distance of the means": lambda x, y, theta: np.sum(
                        (np.mean(x.points, axis=1)[:, None] - np.mean(y.points, axis=1)) ** 2, axis=-1
                    ),
                },
                roundings(3000, "of a difference of squares, relative to the least cost of a row"),
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "two Diracs each: C11's example",
                outer_plan_of_diracs,
                lambda x, y, theta: assignment(costs(x, y, theta)),
                {
                    "not squared": lambda x, y, theta: assignment(costs(x, y, theta) ** 0.5),
                    "most expensive": lambda x, y, theta: assignment(-costs(x, y, theta)),
                },
                roundings(10, "the plan either is the right one, or costs a third more"),
                dimensions=(2, 3),
                many_shapes=True,
            ),
            corners.pairwise_powers_check(),
        ),
    )


def costs_are_pots(pairwise, draw):
    """3 × 4 clouds: alike, of unequal sizes, of unequal weights."""
    worst = 0.0
    for n, m, weighted in ((5, 5, False), (4, 6, False), (5, 7, True)):
        families = [
            [normalised(cloud(draw, size, weighted=weighted)) for _ in range(count)]
            for count, size in ((3, n), (4, m))
        ]
        theta = directions(draw, N_PROJ)
        truth = np.array([[pot_cost(a, b, theta) for b in families[1]] for a in families[0]])
        x, y = (PointCloud(*map(np.stack, zip(*family, strict=True))) for family in families)
        error = np.abs(draw.call(pairwise, x, y, theta) - truth)
        worst = worst_of(worst, float(np.max(error / np.min(truth, axis=1, keepdims=True))))
    return worst


def outer_plan_of_diracs(permutation, draw):
    """Excess of its squared cost; sums of unsquared distances prefer the other pairing."""
    x, y = (np.zeros((2, 1, draw.d)) for _ in range(2))
    x[1, 0, :2] = y[0, 0, :2] = 1.0, 0.5
    y[1, 0, 0] = 2.0
    x, y = (PointCloud(points, np.ones((2, 1))) for points in (x, y))
    perm = draw.call(permutation, x, y, directions(draw, 400))
    sq = np.sum((x.points[:, None, 0] - y.points[:, 0]) ** 2, axis=-1)
    chosen, least = sq[[0, 1], perm].sum(), min(sq[0, 0] + sq[1, 1], sq[0, 1] + sq[1, 0])
    return chosen / least - 1.0


# GWFM-105


def gwfm_105() -> Item:
    """Monte Carlo over directions."""
    cube = "points of a cube, normalised"
    return Item(
        id="GWFM-105",
        paper="GWFM",
        place="appendix C.4, eq. 105",
        title="random directions",
        latex=r"\frac1K\sum_kW_p^p(\langle\theta_k,\cdot\rangle_\sharp\mu,"
        r"\langle\theta_k,\cdot\rangle_\sharp\nu),\ \theta_k=z_k/\|z_k\|",
        statement="Directions uniform on the sphere, and the mean of any power of the distances along them.",
        functions=(sliced.random_directions, sliced.sliced_cost),
        checks=(
            Check(
                "moments of the uniform law",
                moments_of_directions,
                sliced.random_directions,
                {
                    cube: lambda points, *, rng, n_proj: unit(rng.uniform(-1, 1, (n_proj, points.shape[-1]))),
                    "not normalised": lambda points, *, rng, n_proj: rng.standard_normal(
                        (n_proj, points.shape[-1])
                    ),
                    "half of the sphere": lambda points, *, rng, n_proj: np.abs(
                        sliced.random_directions(points, rng=rng, n_proj=n_proj)
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(2, 3, 6),
                repeats=1,
            ),
            Check(
                "POT, powers 1 and 3",
                powers_are_pots,
                sliced.sliced_cost,
                {
                    "the root of it": lambda x, y, theta, *, p: (
                        sliced.sliced_cost(x, y, theta, p=p) ** (1 / 3)
                    ),
                    "always squared": lambda x, y, theta, *, p: sliced.sliced_cost(x, y, theta, p=2.0),
                    "one direction": lambda x, y, theta, *, p: sliced.sliced_cost(x, y, theta[:1], p=p),
                },
                SUMS,
                needs="ot",
                many_shapes=True,
            ),
            corners.scripted_directions_check(),
        ),
    )


def moments_of_directions(random_directions, draw):
    """Means of θ, θθᵀ and θ⁴, 20000 draws, in standard errors; norms must be 1 to rounding."""
    d, size = draw.d, 20_000
    theta = draw.call(random_directions, np.zeros((1, d)), rng=draw.rng, n_proj=size)
    if np.max(np.abs(np.sum(theta**2, axis=-1) - 1.0)) > 10 * draw.eps:
        return np.inf
    second = (theta[:, :, None] * theta[:, None, :] - np.eye(d) / d).reshape(size, -1)
    values = np.concatenate([theta, second, theta**4 - 3.0 / (d * (d + 2))], axis=-1)
    return np.max(np.abs(values.mean(axis=0)) / values.std(axis=0)) * size**0.5


def powers_are_pots(sliced_cost, draw):
    """Clouds alike, of unequal sizes, of unequal weights."""
    return worst_of(
        *(
            abs(float(draw.call(sliced_cost, x, y, theta, p=float(p))) / pot_cost(x, y, theta, p) - 1.0)
            for x, y, theta in instances(draw)
            for p in (1, 3)
        )
    )
