"""Audited inner plans that points are drawn from, and the Monte Carlo of the objective (GWFM 3, C.4)."""

import numpy as np

from refwfm._array import array_namespace, sq_norm
from refwfm.couplings.inner import Coupled, couple
from refwfm.couplings.outer import outer_plan
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud, take
from refwfm.transport.plans import sample_pairs
from refwfm.validation import network_corners
from refwfm.validation.check import STANDARD_ERRORS, Check, Item
from refwfm.validation.cloud_problems import best_matching, family, optimal_plan, paired, textbook_plan
from refwfm.validation.families import sq_costs

DRAWS, N_PROJ = 2000, 5


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [gwfm_28(), gwfm_c4()]


# GWFM-28


def gwfm_28() -> Item:
    """Monte Carlo of the objective."""
    return Item(
        id="GWFM-28",
        paper="GWFM",
        place="section 3, eqs. 22, 25 to 29",
        title="Monte Carlo of the objective",
        latex=r"\mathbb E\,\tfrac1{Bn}\sum\|v_t(X_t)-(Y-X)\|_F^2="
        r"\int_0^1\!\sum_{kl}\boldsymbol\Pi_{kl}\!\int\|v_t(e_t(x,y))-(y-x)\|^2d\pi_{kl}\,dt",
        statement="The loss of random pairs of random pairs has the objective as its mean.",
        functions=(couple, displacement, displacement_velocity),
        checks=(
            Check(
                "the whole sum, and quadrature in time",
                estimate_is_unbiased,
                _estimates,
                {
                    "outer plan transposed": lambda x, y, cost, t, rng: _estimates(x, y, cost.T, t, rng),
                    "independent outer plan": lambda x, y, cost, t, rng: _estimates(
                        x, y, cost, t, rng, plan=lambda k: np.full(k.shape, 1.0 / k.size)
                    ),
                    "independent inner plan": lambda x, y, cost, t, rng: _estimates(
                        x, y, cost, t, rng, inner="independent"
                    ),
                    "sum over the points": lambda x, y, cost, t, rng: 4.0 * _estimates(x, y, cost, t, rng),
                    "time reversed in the path only": lambda x, y, cost, t, rng: _estimates(
                        x, y, cost, t, rng, path=lambda p, q, t: displacement(q, p, t)
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(2,),
                repeats=1,
                many_shapes=True,
            ),
            network_corners.drawn_check(),
        ),
    )


def _field(points, t):
    """A fixed field to take the loss of: ``3 + t x / 2``."""
    return 3.0 + 0.5 * t[:, None, None] * points


def _estimates(x, y, cost, t, rng, *, inner="exact", plan=outer_plan, path=displacement):
    """Losses of single pairs of clouds, shape (DRAWS,); ``objectives.cloud_loss`` is their mean."""
    pairs = sample_pairs(plan(cost), DRAWS, rng=rng)
    moved = paired(take(x, pairs.source), take(y, pairs.target), inner, rng, replace=True)
    error = _field(path(moved.x, moved.y, t), t) - displacement_velocity(moved.x, moved.y)
    return array_namespace(error).sum(moved.weights * sq_norm(error), axis=-1)


def estimate_is_unbiased(estimates, draw):
    """Mean of the losses of random pairs against the objective, in standard errors."""
    B = 5
    x = family(draw, B)
    order = (np.arange(B) + 1) % B
    moved = np.roll(x.points, 1, axis=0) + 3.0 + 0.3 * draw.normal(*x.points.shape)
    y = PointCloud(draw.rounded(moved), x.weights)
    cost = draw.rounded(2.0 - np.eye(B)[order] + 0.5 * draw.rng.random((B, B)))
    t = draw.rounded(draw.rng.random(DRAWS))
    found = draw.call(lambda x, y, cost, t: estimates(x, y, cost, t, draw.rng), x, y, cost, t)
    nodes, masses = np.polynomial.legendre.leggauss(8)
    total = 0.0
    for k in range(B):
        p, q = x.points[k], y.points[order[k]]
        image = q[best_matching(sq_costs(p, q))[1]]
        for node, mass in zip(0.5 * (nodes + 1.0), 0.5 * masses, strict=True):
            error = 3.0 + 0.5 * node * ((1.0 - node) * p + node * image) - (image - p)
            total += mass * np.mean(np.sum(error**2, axis=-1)) / B
    return abs(np.mean(found) - total) / (np.std(found) / np.sqrt(DRAWS))


# C.4


def gwfm_c4() -> Item:
    """Pairs drawn from the sliced and other plans."""
    random_pairs = {"product plan": _graph("independent", replace=True)}
    return Item(
        id="GWFM-C4",
        paper="GWFM",
        place="appendix C.2 and C.4",
        title="points drawn from the sliced plan, and from others",
        latex=r"j_i\sim\frac{\hat\pi_{i\cdot}}{a_i}\quad\text{or}\quad(i_k,j_k)\sim\hat\pi",
        statement="A target for every source point from its row of the plan, or independent pairs.",
        functions=(couple,),
        checks=tuple(
            Check(
                f"frequencies of the pairs: {words}",
                residual,
                _graph(inner, **options),
                wrong,
                STANDARD_ERRORS,
                dimensions=(2,),
                repeats=1,
                everywhere=False,  # all is drawn on the host
            )
            for words, residual, inner, options, wrong in (
                (
                    "sliced plan, each source point once",
                    rows_are_of_the_sliced_plan,
                    "sliced",
                    {"n_proj": N_PROJ},
                    {"one direction only": _graph("sliced", n_proj=1), **random_pairs},
                ),
                (
                    "sliced plan between as many points, each source point once",
                    rows_are_of_the_sliced_plan_of_as_many,
                    "sliced",
                    {"n_proj": N_PROJ},
                    {"one direction only": _graph("sliced", n_proj=1), **random_pairs},
                ),
                (
                    "sliced plan, with replacement",
                    pairs_are_of_the_sliced_plan,
                    "sliced",
                    {"n_proj": N_PROJ, "replace": True},
                    {"one direction only": _graph("sliced", n_proj=1, replace=True), **random_pairs},
                ),
                (
                    "entropic plan, each source point once",
                    rows_are_of_the_entropic_plan,
                    "sampled",
                    {},
                    {"likeliest target": _graph("argmax"), **random_pairs},
                ),
                (
                    "entropic plan, with replacement",
                    pairs_are_of_the_entropic_plan,
                    "sampled",
                    {"replace": True},
                    {"likeliest target": _graph("argmax", replace=True), **random_pairs},
                ),
                (
                    "optimal plan between unequal sizes, with replacement",
                    pairs_are_of_the_optimal_plan,
                    "exact",
                    {"replace": True},
                    {"of the entropic plan": _graph("sampled", replace=True), **random_pairs},
                ),
                (
                    "product plan, each source point once",
                    rows_are_independent,
                    "independent",
                    {},
                    {
                        "of the entropic plan": _graph("sampled"),
                        "with replacement": random_pairs["product plan"],
                    },
                ),
                (
                    "product plan, with replacement",
                    pairs_are_independent,
                    "independent",
                    {"replace": True},
                    {"of the entropic plan": _graph("sampled", replace=True)},
                ),
                (
                    "random permutations",
                    permutations_are_random,
                    "independent",
                    {},
                    {"with replacement": random_pairs["product plan"], "the optimal one": _graph("exact")},
                ),
            )
        ),
    )


def _graph(inner, **options):
    """Pairs of points of many copies of two clouds, by the generator of a seed."""

    def pairs(x, y, seed):
        return paired(x, y, inner, np.random.default_rng(seed), **options)

    return pairs


def _frequencies(pairs, draw, plan_of, targets=5):
    """Deviation of counts of pairs from a plan of 4 points, in standard errors; infinite if impossible."""
    one, two = family(draw, 1), family(draw, 1, sizes=(targets,))
    x, y = (PointCloud(*(np.repeat(part, DRAWS, axis=0) for part in cloud)) for cloud in (one, two))
    seed = int(draw.rng.integers(2**31))
    moved = Coupled(*draw.call(lambda x, y: pairs(x, y, seed), x, y))
    rows, columns = (
        np.argmin(np.sum((points[:, :, None] - cloud.points[:, None]) ** 2, axis=-1), axis=-1)
        for points, cloud in ((moved.x, one), (moved.y, two))
    )
    apart = [
        np.max(np.abs(cloud.points[0][chosen] - points))
        for cloud, chosen, points in ((one, rows, moved.x), (two, columns, moved.y))
    ]
    plan, total = plan_of(one.points[0], two.points[0], seed), rows.size
    counts = np.zeros(plan.shape)
    np.add.at(counts, (rows, columns), 1.0)
    if max(apart) > 1e-5 or np.any(counts[plan <= 0]):
        return np.inf
    possible = plan > 1e-4
    expected = total * plan[possible]
    return float(np.max(np.abs(counts[possible] - expected) / np.sqrt(expected)))


def _sliced_plan(p, q, seed):
    """Average over the directions of the seed, each cut into levels that both clouds' points share."""
    z = np.random.default_rng(seed).standard_normal((N_PROJ, p.shape[1]))
    plan = np.zeros((len(p), len(q)))
    for way in z:
        rows = np.argsort(p @ way).repeat(len(q))
        columns = np.argsort(q @ way).repeat(len(p))
        np.add.at(plan, (rows, columns), 1.0 / (N_PROJ * len(rows)))
    return plan


def _entropic_plan(p, q, seed):
    plan = textbook_plan(p, q, np.full(len(p), 1.0 / len(p)), np.full(len(q), 1.0 / len(q)))
    return plan / np.sum(plan)


def _optimal_plan(p, q, seed):
    return optimal_plan(sq_costs(p, q), *(np.full(len(cloud), 1.0 / len(cloud)) for cloud in (p, q)))


def _product_plan(p, q, seed):
    return np.full((len(p), len(q)), 1.0 / (len(p) * len(q)))


def rows_are_of_the_sliced_plan(pairs, draw):
    """Counts of 8000 pairs; infinite if a source point is missing."""
    return _frequencies(_each_once(pairs), draw, _sliced_plan)


def pairs_are_of_the_sliced_plan(pairs, draw):
    """Counts of 8000 pairs."""
    return _frequencies(pairs, draw, _sliced_plan)


def rows_are_of_the_entropic_plan(pairs, draw):
    """Counts of 8000 pairs; infinite if a source point is missing."""
    return _frequencies(_each_once(pairs), draw, _entropic_plan)


def pairs_are_of_the_entropic_plan(pairs, draw):
    """Counts of 8000 pairs."""
    return _frequencies(pairs, draw, _entropic_plan)


def rows_are_of_the_sliced_plan_of_as_many(pairs, draw):
    """Counts of 8000 pairs between 4 points and 4; infinite if a source point is missing."""
    return _frequencies(_each_once(pairs), draw, _sliced_plan, targets=4)


def pairs_are_of_the_optimal_plan(pairs, draw):
    """Counts of 8000 pairs."""
    return _frequencies(pairs, draw, _optimal_plan)


def rows_are_independent(pairs, draw):
    """Counts of 8000 pairs; infinite if a source point is missing."""
    return _frequencies(_each_once(pairs), draw, _product_plan)


def pairs_are_independent(pairs, draw):
    """Counts of 8000 pairs."""
    return _frequencies(pairs, draw, _product_plan)


def permutations_are_random(pairs, draw):
    """Counts of 8000 pairs between 4 points and 4; infinite if a point of either cloud is missing.

    Both clouds are padded, which the pairs must not see.
    """

    def checked(x, y, seed):
        xp = array_namespace(x.points)
        more = [
            PointCloud(*(xp.concat([part, 0.0 * part[:, :2, ...]], axis=1) for part in cloud))
            for cloud in (x, y)
        ]
        padded = pairs(*more, seed)
        moved = Coupled(*(part[:, :4, ...] for part in padded[:3]), padded[3])
        moved = _each_once(lambda *_: moved)(x, y, seed)
        missing = not bool(xp.all(xp.sort(moved.y, axis=1) == xp.sort(y.points, axis=1)))
        return moved._replace(x=moved.x + 1e3) if missing else moved

    return _frequencies(checked, draw, _product_plan, targets=4)


def _each_once(pairs):
    """The same pairs, moved away unless their sources are the points of x as they are."""

    def checked(x, y, seed):
        moved = pairs(x, y, seed)
        missing = not bool(array_namespace(x.points).all(moved.x == x.points))
        return moved._replace(x=moved.x + 1e3) if missing else moved

    return checked
