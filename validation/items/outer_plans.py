"""Audited outer plans: which source goes with which target of a batch (GWFM sections 3, B.4 and C)."""

import numpy as np

from refwfm.couplings.outer import outer_pairs, outer_plan
from refwfm.validation.check import EXACT, STANDARD_ERRORS, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.cloud_problems import best_matching, least_cost

STOPS = Tolerance(3e-3, 3e-3, "three times the marginal error at which Sinkhorn's iteration stops")


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [gwfm_26(), gwfm_108(), gwfm_b4()]


# GWFM-26


def gwfm_26() -> Item:
    """Outer pairs of a step."""
    return Item(
        id="GWFM-26",
        paper="GWFM",
        place="section 3, eq. 26; appendix C.2",
        title="pairs of measures drawn from the outer plan",
        latex=r"(k,l)\sim\hat{\boldsymbol\Pi}",
        statement="Independent pairs with the plan's probabilities; a permutation by default is used whole.",
        functions=(outer_pairs,),
        checks=(
            Check(
                "frequencies of all pairs, Monte Carlo",
                pairs_have_the_frequencies,
                lambda cost, rng: outer_pairs(cost, rng=rng, replace=True),
                {
                    "each pair once": lambda cost, rng: outer_pairs(cost),
                    "targets interchanged": lambda cost, rng: outer_pairs(cost, rng=rng, replace=True)[::-1],
                    "sources and targets independently": lambda cost, rng: rng.integers(
                        len(cost), size=(2, len(cost))
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(5,),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "all permutations",
                every_member_comes_once,
                lambda cost, rng: outer_pairs(cost),
                {
                    "with replacement (caveat C9)": lambda cost, rng: outer_pairs(
                        cost, rng=rng, replace=True
                    ),
                    "as drawn": lambda cost, rng: np.tile(np.arange(len(cost)), (2, 1)),
                },
                EXACT,
                dimensions=(3, 6),
            ),
            Check(
                "closed form of the entropic plan of two and two, Monte Carlo",
                entropic_pairs_have_the_frequencies,
                lambda cost, rng, eps: outer_pairs(cost, rng=rng, eps=eps),
                {
                    "of the optimal plan": lambda cost, rng, eps: outer_pairs(cost),
                    "of half of eps": lambda cost, rng, eps: outer_pairs(cost, rng=rng, eps=0.5 * eps),
                    "sources drawn too": lambda cost, rng, eps: outer_pairs(
                        cost, rng=rng, replace=True, eps=eps
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(1,),
                repeats=1,
                many_shapes=True,
            ),
        ),
    )


def entropic_pairs_have_the_frequencies(pairs, draw):
    """Share of batches where the first goes with the first, in standard errors; infinite for other sources.

    Of two atoms each, weighing 1/2, the entropic plan is ``P₁₁ = 1 / (2 + 2 exp(Δ / (2 eps)))``, with
    ``Δ = K₁₁ + K₂₂ - K₁₂ - K₂₁``.
    """
    eps, far, blocks, batches = 0.5, 30.0, 100, 12
    cost = np.array([[0.2, 1.0], [0.7, 0.4]])
    share = 1.0 / (1.0 + np.exp((cost[0, 0] + cost[1, 1] - cost[0, 1] - cost[1, 0]) / (2.0 * eps)))
    # Many such batches are one, with costs between them that nothing pays.
    whole = draw.rounded(np.kron(np.eye(blocks), cost - far) + far)
    together = 0
    for _ in range(batches):
        source, target = map(np.asarray, draw.call(lambda c: pairs(c, draw.rng, eps / far), whole))
        if not np.array_equal(source, np.arange(2 * blocks)):
            return np.inf
        together += np.count_nonzero(target[::2] == source[::2])
    return abs(together - batches * blocks * share) / np.sqrt(batches * blocks * share * (1.0 - share))


def _cyclic_cost(draw, n):
    """Costs whose best permutation is i -> i + 1, not its inverse, and all of whose rows are least at 0."""
    cost = draw.rng.random((n, n)) + 4.0
    cost[np.arange(n), (np.arange(n) + 1) % n] -= 1.0
    cost[:, 0] -= 2.5  # the same for all permutations
    return draw.rounded(cost)


def pairs_have_the_frequencies(pairs, draw):
    """Means and variances of the counts of 300 batches, in standard errors; infinite for a wrong pair.

    Counts of independent draws are multinomial; those of a permutation taken whole do not vary at all.
    """
    n, batches = draw.d, 300
    cost = _cyclic_cost(draw, n)
    counts = np.zeros((batches, n))
    for k in range(batches):
        source, target = map(np.asarray, draw.call(lambda c: pairs(c, draw.rng), cost))
        if not np.array_equal(target, (source + 1) % n):
            return np.inf
        counts[k] = np.bincount(source, minlength=n)
    variance = 1.0 - 1.0 / n
    z_mean = np.abs(counts.mean(axis=0) - 1.0) / np.sqrt(variance / batches)
    squares = (counts - 1.0) ** 2
    error = worst_of(float(np.std(squares)), 1e-3) / np.sqrt(squares.size)
    return worst_of(np.max(z_mean), abs(np.mean(squares) - variance) / error)


def every_member_comes_once(pairs, draw):
    """Members that are paired otherwise than by the best of all permutations."""
    cost = _cyclic_cost(draw, draw.d)
    source, target = map(np.asarray, draw.call(lambda c: pairs(c, draw.rng), cost))
    wrong = np.count_nonzero(np.sort(source) != np.arange(draw.d))
    return wrong + np.count_nonzero(best_matching(cost)[1][source] != target)


# GWFM-108


def gwfm_108() -> Item:
    """Optimal outer plan."""
    return Item(
        id="GWFM-108",
        paper="GWFM",
        place="appendix C, eq. 108",
        title="optimal outer plan",
        latex=r"\hat{\boldsymbol\Pi}=\mathop{\mathrm{argmin}}_{\boldsymbol\Pi\in U(1/B_0,1/B_1)}"
        r"\langle K,\boldsymbol\Pi\rangle",
        statement="Between batches of equal size a permutation, by their size; else a linear programme.",
        functions=(outer_plan,),
        checks=(
            Check(
                "all permutations",
                plan_is_a_permutation,
                outer_plan,
                {
                    "transposed": lambda cost: outer_plan(cost).T,
                    "of mass n": lambda cost: len(cost) * outer_plan(cost),
                    "each to its nearest": _to_the_nearest,
                    "the dearest": lambda cost: outer_plan(-cost),
                },
                EXACT,
                dimensions=(3, 5, 6),
            ),
            Check(
                "HiGHS, batches of unequal sizes",
                plan_solves_the_programme,
                outer_plan,
                {
                    "product plan": lambda cost: np.full(cost.shape, 1.0 / cost.size),
                    "rows only": lambda cost: np.eye(cost.shape[1])[np.argmin(cost, axis=1)] / len(cost),
                    "of the roots (caveat C11)": lambda cost: outer_plan(np.sqrt(cost)),
                },
                roundings(1e4, "the solver's tolerance beside rounding"),
                dimensions=(3, 6),
                repeats=4,
            ),
        ),
    )


def _to_the_nearest(cost):
    return np.eye(len(cost))[np.argmin(cost, axis=1)] / len(cost)


def plan_is_a_permutation(plan, draw):
    """Entries that differ from those of the best of all permutations, each with the mass 1 / n."""
    cost = _cyclic_cost(draw, draw.d)
    truth = draw.rounded(np.eye(draw.d)[best_matching(cost)[1]] / draw.d)
    return np.max(np.abs(draw.call(plan, cost) - truth))


def plan_solves_the_programme(plan, draw):
    """Cost of the plan between d and d + 2 members against the least, and its marginals."""
    n, m = draw.d, draw.d + 2
    cost = draw.rounded(draw.rng.random((n, m)) ** 4)
    found = draw.call(plan, cost)
    least = least_cost(cost, np.full(n, 1.0 / n), np.full(m, 1.0 / m))
    marginals = max(np.max(np.abs(n * found.sum(axis=1) - 1.0)), np.max(np.abs(m * found.sum(axis=0) - 1.0)))
    return worst_of(marginals, abs(np.sum(found * cost) - least) / np.mean(cost))


# GWFM B.4


def gwfm_b4() -> Item:
    """Entropic outer plan."""
    return Item(
        id="GWFM-B4",
        paper="GWFM",
        place="appendix B.4",
        title="entropic outer plan",
        latex=r"\mathop{\mathrm{argmin}}_{\boldsymbol\Pi\in U(1/B_0,1/B_1)}\langle K,\boldsymbol\Pi\rangle"
        r"+\varepsilon\max K\;\mathrm{KL}(\boldsymbol\Pi\,|\,1/B_0B_1)",
        statement="From the optimal outer plan, for small regularisation, to independent pairs.",
        functions=(outer_plan,),
        checks=(
            Check(
                "double ratios of the plan's entries",
                entries_have_their_ratios,
                lambda cost, eps: outer_plan(cost, eps=eps),
                {
                    "eps in units of the cost": lambda cost, eps: outer_plan(cost, eps=eps / np.max(cost)),
                    "half of the cost": lambda cost, eps: outer_plan(cost, eps=2.0 * eps),
                    "of the roots (caveat C11)": lambda cost, eps: outer_plan(np.sqrt(cost), eps=eps),
                    "the dearest": lambda cost, eps: outer_plan(np.max(cost) - cost, eps=eps),
                },
                roundings(1e4, "differences of logarithms of numbers down to exp(-1 / eps)"),
                dimensions=(2, 3, 5),
                many_shapes=True,
            ),
            Check(
                "all permutations, and the product plan",
                limits_are_optimal_and_independent,
                lambda cost, eps: outer_plan(cost, eps=eps),
                {
                    "eps inverted": lambda cost, eps: outer_plan(cost, eps=1.0 / eps),
                    "the optimal plan throughout": lambda cost, eps: outer_plan(cost),
                    "the product plan throughout": lambda cost, eps: np.full(cost.shape, 1.0 / cost.size),
                },
                STOPS,
                dimensions=(3, 5),
            ),
            Check(
                "uniform marginals, of batches of unequal sizes",
                marginals_are_uniform,
                lambda cost, eps: outer_plan(cost, eps=eps),
                {
                    "softmax of the rows": lambda cost, eps: _softmax(cost, eps) / len(cost),
                    "softmax of the whole": lambda cost, eps: _softmax(cost.reshape(1, -1), eps).reshape(
                        cost.shape
                    ),
                    "of mass n": lambda cost, eps: len(cost) * outer_plan(cost, eps=eps),
                },
                STOPS,
                dimensions=(3, 5),
                many_shapes=True,
            ),
        ),
    )


def _softmax(cost, eps):
    logits = -cost / (eps * np.max(cost))
    shares = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return shares / np.sum(shares, axis=-1, keepdims=True)


def entries_have_their_ratios(plan, draw):
    """``log (Π₁₁ Πᵢⱼ / (Πᵢ₁ Π₁ⱼ)) = (Kᵢ₁ + K₁ⱼ - K₁₁ - Kᵢⱼ) / (eps max K)``: marginals apart, all of it."""
    eps = 0.1
    cost = draw.rounded(3.0 * draw.rng.random((draw.d, draw.d + 1)) + 1.0)
    logs = np.log(draw.call(lambda c: plan(c, eps), cost))
    ratios = logs[:1, :1] + logs[1:, 1:] - logs[1:, :1] - logs[:1, 1:]
    truth = -(cost[:1, :1] + cost[1:, 1:] - cost[1:, :1] - cost[:1, 1:]) / (eps * np.max(cost))
    return np.max(np.abs(ratios - truth))


def limits_are_optimal_and_independent(plan, draw):
    """L1 distances from the best permutation at a small eps, and from the product plan at a large one."""
    n = draw.d
    cost = _cyclic_cost(draw, n)
    optimal = np.eye(n)[best_matching(cost)[1]] / n
    sharp, blurred = (draw.call(lambda c, eps=eps: plan(c, eps), cost) for eps in (1e-3, 1e4))
    return worst_of(np.sum(np.abs(sharp - optimal)), np.sum(np.abs(blurred - 1.0 / n**2)))


def marginals_are_uniform(plan, draw):
    """L1 distances of both marginals of a plan between d and d + 2 members."""
    n, m = draw.d, draw.d + 2
    found = draw.call(lambda c: plan(c, 0.05), draw.rounded(draw.rng.random((n, m))))
    return worst_of(np.sum(np.abs(found.sum(axis=1) - 1.0 / n)), np.sum(np.abs(found.sum(axis=0) - 1.0 / m)))
