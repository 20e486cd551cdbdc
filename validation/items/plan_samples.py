"""Audited pairs and targets drawn from a plan (GWFM section 3, appendix C.2)."""

import numpy as np

from refwfm.transport.plans import sample_pairs, sample_targets
from refwfm.transport.streamed_plans import sample_streamed_targets
from refwfm.validation import corners, streamed_plan_checks
from refwfm.validation.check import EXACT, STANDARD_ERRORS, Check, Item

DRAWS = 20000


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [gwfm_29()]


def gwfm_29() -> Item:
    """Pairs of atoms drawn from a plan."""
    return Item(
        id="GWFM-29",
        paper="GWFM",
        place="section 3, eqs. 26 to 29; appendix C.2",
        title="pairs of atoms drawn from a plan",
        latex=r"(i_k,j_k)\sim\hat\pi,\quad k=1,\dots,n,\qquad X_t=(1-t)\,(x_{i_k})_k+t\,(y_{j_k})_k",
        statement="Independent pairs with the plan's probabilities; never a pair of probability zero.",
        functions=(sample_pairs, sample_targets, sample_streamed_targets),
        checks=(
            Check(
                "frequencies of all pairs, Monte Carlo",
                frequencies_are_the_plan,
                sample_pairs,
                {
                    "rows and columns independently": _from_marginals,
                    "rows uniformly": _rows_uniformly,
                    "pairs interchanged": lambda plan, n, *, rng: sample_pairs(plan, n, rng=rng)[::-1],
                    "columns one off": lambda plan, n, *, rng: _shifted(
                        *sample_pairs(plan, n, rng=rng), plan
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(2, 5),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "frequencies of each row's targets, Monte Carlo",
                frequencies_are_the_rows,
                sample_targets,
                {
                    "uniform": lambda plan, *, rng: rng.integers(plan.shape[-1], size=plan.shape[:-1]),
                    "one uniform number for all rows": lambda plan, *, rng: _same_for_all(plan, rng),
                    "as in the columns": lambda plan, *, rng: sample_targets(
                        np.broadcast_to(plan.mean(axis=-2, keepdims=True), plan.shape), rng=rng
                    ),
                    "the likeliest": lambda plan, *, rng: np.argmax(plan, axis=-1),
                },
                STANDARD_ERRORS,
                dimensions=(2, 5),
                repeats=1,
            ),
            Check(
                "enumeration: permutations without replacement",
                every_atom_appears_once,
                _without_replacement,
                {
                    "with replacement (caveat C9)": lambda plan, n, *, rng: sample_pairs(plan, n, rng=rng),
                    "in another order": lambda plan, n, *, rng: (
                        rng.permuted(np.tile(np.arange(n), (len(plan), 1)), axis=-1),
                        rng.permuted(np.tile(np.arange(n), (len(plan), 1)), axis=-1),
                    ),
                },
                EXACT,
                dimensions=(6, 16),
            ),
            corners.permutation_check(),
            streamed_plan_checks.sampling_check(),
        ),
    )


def _same_for_all(plan, rng):
    levels = np.cumsum(plan, axis=-1)
    return np.argmax(levels > rng.random() * levels[..., -1:], axis=-1)


def frequencies_are_the_rows(sample_targets, draw):
    """Largest deviation of a target's count in its row, in standard deviations; infinite if impossible."""
    k, m = draw.d + 1, draw.d + 2
    rows = draw.rng.random((k, m)) ** 3
    rows[0, 0], rows[:, -1] = 0.0, 0.0
    rows = draw.rounded(rows)
    many = np.broadcast_to(rows, (DRAWS, k, m))
    targets = np.asarray(draw.call(lambda p: sample_targets(p, rng=draw.rng), many))
    counts = np.stack([np.bincount(targets[:, i], minlength=m) for i in range(k)])
    shares = rows / rows.sum(axis=-1, keepdims=True)
    if np.any(counts[rows == 0]):
        return np.inf
    deviation = np.sqrt(DRAWS * shares * (1.0 - shares))[rows > 0]
    return np.max(np.abs(counts - DRAWS * shares)[rows > 0] / deviation)


def frequencies_are_the_plan(sample_pairs, draw):
    """Largest deviation of a pair's count, in standard deviations; infinite if it was impossible."""
    k, m = draw.d + 1, draw.d + 2
    plan = draw.rng.random((draw.size, k, m)) ** 3
    plan[:, 0, :2], plan[:, :, -1] = 0.0, 0.0
    plan = draw.rounded(plan / plan.sum(axis=(-2, -1), keepdims=True))
    source, target = (
        np.asarray(part) for part in draw.call(lambda p: sample_pairs(p, DRAWS, rng=draw.rng), plan)
    )
    counts = np.zeros(plan.shape)
    members = np.arange(draw.size)[:, None]
    if source.max() >= k or target.max() >= m:
        return np.inf
    np.add.at(counts, (np.broadcast_to(members, source.shape), source, target), 1)
    possible = plan > 0
    if np.any(counts[~possible]):
        return np.inf
    expected, p = DRAWS * plan[possible], plan[possible]
    return np.max(np.abs(counts[possible] - expected) / np.sqrt(expected * (1.0 - p)))


def every_atom_appears_once(sample, draw):
    """Pairs that are not those of the permutation, each once."""
    order = draw.rng.permuted(np.tile(np.arange(draw.d), (draw.size, 1)), axis=-1)
    plan = draw.rounded(np.eye(draw.d)[order] / draw.d)
    source, target = (np.asarray(part) for part in draw.call(lambda p: sample(p, draw.d, rng=draw.rng), plan))
    wrong = np.count_nonzero(np.sort(source, axis=-1) != np.arange(draw.d))
    return wrong + np.count_nonzero(target != np.take_along_axis(order, source, axis=-1))


def _without_replacement(plan, n, *, rng):
    return sample_pairs(plan, n, rng=rng, replace=False)


def _from_marginals(plan, n, *, rng):
    product = plan.sum(axis=-1)[..., :, None] * plan.sum(axis=-2)[..., None, :]
    return sample_pairs(product / product.sum(axis=(-2, -1), keepdims=True), n, rng=rng)


def _rows_uniformly(plan, n, *, rng):
    rows = plan / np.maximum(plan.sum(axis=-1, keepdims=True), 1e-300)
    return sample_pairs(rows / rows.sum(axis=(-2, -1), keepdims=True), n, rng=rng)


def _shifted(source, target, plan):
    return source, (target + 1) % plan.shape[-1]
