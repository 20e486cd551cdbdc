"""Audited plans: their errors, and their rounding to a permutation (WFM appendix A)."""

import itertools

import numpy as np
from scipy.special import logsumexp

from refwfm.transport.plans import (
    argmax_matching,
    greedy_rounding,
    greedy_rounding_sequential,
    marginal_error,
)
from refwfm.validation import corners
from refwfm.validation.check import EXACT, Check, Item, Misprint, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

HALF = Tolerance(0.5, 0.5, "the guarantee: at least half of the largest mass that a permutation carries")


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [wfm_u8(), wfm_a1()]


# WFM-U8


def wfm_u8() -> Item:
    """Coupling polytope."""
    return Item(
        id="WFM-U8",
        paper="WFM",
        place="appendix A, unnumbered",
        title="coupling polytope",
        latex=r"U(a,b)=\{P\in\mathbb R_+^{m\times n}:P\mathbf 1_n=a,\ P^\top\mathbf 1_m=b\}",
        statement="How far the marginals of a plan are from what they should be, in L1.",
        functions=(marginal_error,),
        checks=(
            Check(
                "sums over loops",
                errors_are_sums_over_loops,
                marginal_error,
                {
                    "as printed: ones interchanged, cut to fit": _interchanged,
                    "largest error instead of the sum": lambda plan, a, b: (
                        np.max(np.abs(plan.sum(axis=-1) - a), axis=-1),
                        np.max(np.abs(plan.sum(axis=-2) - b), axis=-1),
                    ),
                    "rows only": lambda plan, a, b: (marginal_error(plan, a, b)[0],) * 2,
                },
                roundings(30, "sums of at most 18 positive numbers"),
                dimensions=(1, 2, 6, 16),
            ),
        ),
        misprints=(
            Misprint(
                "E7",
                r"P\mathbf 1_m=\tfrac1m\mathbf 1_m,\quad P^\top\mathbf 1_n=\tfrac1n\mathbf 1_n",
                r"P\mathbf 1_n=\tfrac1m\mathbf 1_m,\quad P^\top\mathbf 1_m=\tfrac1n\mathbf 1_n",
                "For P with m rows and n columns the printed products do not exist unless m = n.",
                "as printed: ones interchanged, cut to fit",
            ),
        ),
    )


def errors_are_sums_over_loops(marginal_error, draw):
    """Both errors of random matrices, d + 1 by d + 2, entry after entry; relative to the total mass."""
    m, n = draw.d + 1, draw.d + 2
    plan = draw.rounded(draw.rng.random((draw.size, m, n)) / (m * n))
    a, b = (np.tile(draw.weights(k), (draw.size, 1)) for k in (m, n))
    row, column = np.zeros(draw.size), np.zeros(draw.size)
    for k in range(draw.size):
        row[k] = sum(abs(sum(plan[k, i, j] for j in range(n)) - a[k, i]) for i in range(m))
        column[k] = sum(abs(sum(plan[k, i, j] for i in range(m)) - b[k, j]) for j in range(n))
    found = draw.call(marginal_error, plan, a, b)
    return worst_of(relative(found[0], row, 1.0), relative(found[1], column, 1.0))


def _interchanged(plan, a, b):
    m = plan.shape[-2]
    cut = plan[..., :m]  # the product with m ones needs m columns
    return np.abs(cut.sum(axis=-1) - a).sum(axis=-1), np.abs(cut.sum(axis=-2) - b[..., :m]).sum(axis=-1)


# WFM-A.1


def wfm_a1() -> Item:
    """Rounded matching."""
    return Item(
        id="WFM-A.1",
        paper="WFM",
        place="appendix A.1",
        title="rounding of a plan to a permutation",
        latex=(
            r"(i,\sigma(i))=\mathop{\mathrm{argmax}}_{i',j'\ \mathrm{unmatched}}\log P_{i'j'},"
            r"\qquad\hat T(x_i)=y_{\sigma(i)}"
        ),
        statement=(
            "Largest entries first, the first of equal ones. The plan's rows choose all at once (stable "
            "matching): the same permutation in few rounds. A heuristic, not the best assignment (C4)."
        ),
        functions=(greedy_rounding, greedy_rounding_sequential, argmax_matching),
        checks=(
            Check(
                "all entries sorted, entry after entry",
                rounding_takes_the_largest_first,
                greedy_rounding,
                {
                    "as printed: rows and columns zeroed": _zeroing,
                    "likeliest partner of each row": argmax_matching,
                    "row after row": _row_after_row,
                    "the last of equal entries": lambda log_plan: _reversed(greedy_rounding, log_plan),
                },
                EXACT,
                dimensions=(1, 2, 16),
                repeats=8,
                many_shapes=True,
            ),
            Check(
                "the sequential algorithm, entry after entry",
                rounding_takes_the_largest_first,
                greedy_rounding_sequential,
                {
                    "as printed: rows and columns zeroed": _zeroing,
                    "the last of equal entries": lambda log_plan: _reversed(
                        greedy_rounding_sequential, log_plan
                    ),
                },
                EXACT,
                dimensions=(1, 2, 6, 16),
            ),
            Check(
                "counted: results that are no permutation, of 20 (eps = 0.002, n = 30)",
                results_are_permutations,
                greedy_rounding,
                {
                    "as printed: rows and columns zeroed": _zeroing,
                    "likeliest partner of each row": argmax_matching,
                },
                EXACT,
                dimensions=(2,),
                repeats=1,
            ),
            Check(
                "exhaustive search: mass carried",
                mass_is_at_least_half_of_the_best,
                greedy_rounding,
                {
                    "smallest first": lambda log_plan: greedy_rounding(-log_plan),
                    "likeliest partner of each row": argmax_matching,
                },
                HALF,
                dimensions=(5,),
                repeats=30,
            ),
            Check(
                "loops over sorted entries, with padding",
                padding_is_matched_with_padding,
                greedy_rounding,
                {
                    "padding as atoms": lambda log_plan, a, b: greedy_rounding(log_plan),
                    "inverse permutation": lambda log_plan, a, b: np.argsort(greedy_rounding(log_plan, a, b)),
                    "the columns' padding only": lambda log_plan, a, b: greedy_rounding(
                        np.where(b[:, None, :] > 0, log_plan, -np.inf)
                    ),
                },
                EXACT,
                dimensions=(2, 4, 16),
            ),
            Check(
                "loops: the likeliest partner",
                partners_are_the_likeliest,
                argmax_matching,
                {
                    "of each column": lambda log_plan: np.argmax(log_plan, axis=-2),
                    "rounded to a permutation": greedy_rounding,
                },
                EXACT,
                dimensions=(6, 16),
            ),
            corners.proposals_check(),
        ),
        misprints=(
            Misprint(
                "E16",
                r"P_{i,:}\leftarrow 0,\quad P_{:,j}\leftarrow 0",
                r"\log P_{i,:}\leftarrow-\infty,\quad\log P_{:,j}\leftarrow-\infty",
                "Where the rest of the plan has underflowed, zeroed cells are chosen again: no permutation. "
                "The authors' released code masks.",
                "as printed: rows and columns zeroed",
            ),
        ),
    )


def rounding_takes_the_largest_first(rounding, draw):
    """Atoms matched otherwise, in plans of eight kinds: random, tied, constant, entropic, underflowed, ..."""
    n = draw.d + 1
    scores = draw.normal(n)
    squares = (draw.normal(n, 1) - draw.normal(n)) ** 2
    members = np.stack(
        [
            draw.normal(n, n),
            draw.rng.integers(0, 3, (n, n)).astype(float),
            np.zeros((n, n)),
            -draw.rounded(squares / 0.002),
            np.where(draw.rng.random((n, n)) < 0.5, -np.inf, draw.normal(n, n)),
            np.full((n, n), -np.inf),
            np.tile(scores, (n, 1)),
            -draw.rounded(np.add.outer(np.arange(n), np.arange(n)) / 8.0),
        ]
    )
    found = np.asarray(draw.call(rounding, members))
    truth = np.stack([_entry_after_entry(member) for member in members])
    return np.count_nonzero(found != truth) if found.shape == truth.shape else np.inf


def padding_is_matched_with_padding(rounding, draw):
    """Atoms matched otherwise than without the padding, where the plan is largest; padding in order."""
    n, live = draw.d + 2, draw.d
    members = draw.normal(draw.size, n, n)
    members[:, live:], members[:, :, live:] = 50.0, 50.0
    weights = np.where(np.arange(n) < live, draw.rounded(np.full(n, 1.0 / live)), 0.0)
    weights = np.tile(weights, (draw.size, 1))
    found = np.asarray(draw.call(rounding, members, weights, weights))
    truth = [[*_entry_after_entry(member[:live, :live]), *range(live, n)] for member in members]
    return np.count_nonzero(found != np.array(truth)) if found.shape == (draw.size, n) else np.inf


def results_are_permutations(rounding, draw):
    """How many of 20 entropic plans are not rounded to a permutation."""
    n, eps = 30, 0.002
    x, y = draw.rng.uniform(-1.0, 1.0, (2, 20, n, draw.d))
    cost = np.sum((x[:, :, None] - y[:, None]) ** 2, axis=-1)
    f, g = np.zeros((20, n, 1)), np.zeros((20, 1, n))
    for _ in range(200):
        g = -eps * logsumexp((f - cost) / eps, axis=1, keepdims=True)
        f = -eps * logsumexp((g - cost) / eps, axis=2, keepdims=True)
    perms = np.asarray(draw.call(rounding, draw.rounded((f + g - cost) / eps)))
    return sum(sorted(perm) != list(range(n)) for perm in perms.tolist())


def mass_is_at_least_half_of_the_best(rounding, draw):
    """Share of the best permutation's mass that ours does not carry; infinite for no permutation."""
    n = draw.d
    plan = draw.rounded(draw.rng.random((n, n)) ** 6 + 1e-6)
    perm = np.asarray(draw.call(rounding, np.log(plan)))
    if sorted(perm.tolist()) != list(range(n)):
        return np.inf
    orders = np.array(list(itertools.permutations(range(n))))
    best = plan[np.arange(n), orders].sum(axis=1).max()
    return 1.0 - plan[np.arange(n), perm].sum() / best


def partners_are_the_likeliest(argmax_matching, draw):
    """Atoms with another partner than the first largest of their row."""
    log_plan = np.stack([draw.normal(draw.d, draw.d), draw.rng.integers(0, 3, (draw.d, draw.d)) * 1.0])
    truth = np.array([[max(range(draw.d), key=row.__getitem__) for row in member] for member in log_plan])
    return np.count_nonzero(np.asarray(draw.call(argmax_matching, log_plan)) != truth)


def _entry_after_entry(log_plan):
    n = len(log_plan)
    perm, used = np.full(n, -1), set()
    for i, j in sorted(np.ndindex(n, n), key=lambda cell: (-log_plan[cell], cell)):
        if perm[i] < 0 and j not in used:
            perm[i] = j
            used.add(j)
    return perm


def _zeroing(log_plan):
    """Round as printed, and every row that was never chosen stays with column 0."""
    plans = np.exp(np.atleast_3d(log_plan) if log_plan.ndim == 3 else log_plan[None])
    perms = np.zeros(plans.shape[:-1], dtype=np.int64)
    for plan, perm in zip(plans, perms, strict=True):
        for _ in range(len(plan)):
            i, j = divmod(int(np.argmax(plan)), len(plan))
            perm[i] = j
            plan[i], plan[:, j] = 0.0, 0.0
    return perms.reshape(log_plan.shape[:-1])


def _row_after_row(log_plan):
    perms = np.zeros(log_plan.shape[:-1], dtype=np.int64)
    for member, perm in zip(log_plan, perms, strict=True):
        free = list(range(len(member)))
        for i, row in enumerate(member):
            perm[i] = max(free, key=row.__getitem__)
            free.remove(perm[i])
    return perms


def _reversed(rounding, log_plan):
    n = log_plan.shape[-1]
    return n - 1 - rounding(log_plan[..., ::-1, ::-1])[..., ::-1]
