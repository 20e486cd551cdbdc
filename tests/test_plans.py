"""Plans: their errors, their rounding to permutations, pairs drawn from them."""

import itertools
import math

import numpy as np
import pytest
import strategies
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from thirds import THOROUGH

from refwfm._array import to_host
from refwfm.transport import plans
from refwfm.transport.plans import (
    Pairs,
    argmax_matching,
    greedy_rounding,
    greedy_rounding_sequential,
    marginal_error,
    sample_pairs,
    sample_targets,
)


def random_plan(rng, n, m, *batch):
    plan = rng.random((*batch, n, m)) ** 3
    return plan / plan.sum(axis=(-2, -1), keepdims=True)


def by_hand(log_plan):
    """All entries, best first; each takes its row and column if both are free."""
    n = len(log_plan)
    order = sorted(itertools.product(range(n), range(n)), key=lambda ij: (-log_plan[ij], ij))
    perm = {}
    for i, j in order:
        if i not in perm and j not in perm.values():
            perm[i] = j
    return [perm[i] for i in range(n)]


@st.composite
def log_plans(draw):
    """Continuous, with ties, constant in rows or columns, chains, entropic, and with underflow."""
    n, rng = draw(st.integers(1, 12)), np.random.default_rng(draw(strategies.seeds))
    rows, columns = rng.integers(0, 4, n), rng.integers(0, 4, n)
    kind = draw(st.sampled_from(["normal", "levels", "constant", "rows", "columns", "chain", "entropic"]))
    values = {
        "normal": rng.standard_normal((n, n)),
        "levels": rng.integers(0, draw(st.integers(1, 4)), (n, n)).astype(float),
        "constant": np.full((n, n), -3.0),
        "rows": np.tile(rows[:, None], n) * 1.0,
        "columns": np.tile(columns, (n, 1)) * 1.0,
        "chain": -np.add.outer(np.arange(n), np.arange(n)) * 1.0,
        "entropic": -((rng.standard_normal((n, 1)) - rng.standard_normal(n)) ** 2) / 0.01,
    }[kind]
    underflow = rng.random((n, n)) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    return np.where(underflow, -np.inf, values)


# Marginal errors


def test_marginal_error_of_a_plan_is_zero_and_of_a_moved_mass_twice_that(library, rng):
    for batch in library.batches:
        plan = random_plan(rng, 3, 4, *batch)
        a, b = plan.sum(axis=-1), plan.sum(axis=-2)
        plan[..., 0, 0] += 0.25
        plan[..., 2, 3] -= 0.25
        found = marginal_error(*library.arrays((plan, a, b)))
        for error in found:
            assert library.owns(error)
            np.testing.assert_allclose(to_host(error), np.full(batch, 0.5), atol=20 * library.eps)


def test_marginal_errors_are_told_apart(rng):
    plan = random_plan(rng, 3, 4)
    a, b = plan.sum(axis=1), plan.sum(axis=0)
    off = marginal_error(plan, a[::-1], b)
    assert off.row_error > 1e-3
    assert off.col_error < 1e-14
    with pytest.raises(ValueError, match=r"a \(4,\) and b \(3,\)"):
        marginal_error(plan, b, a)  # as the print has it


# Rounding


@given(log_plans())
def test_rounding_is_the_sequential_one(log_plan):
    perm = greedy_rounding(log_plan)
    np.testing.assert_array_equal(perm, by_hand(log_plan))
    np.testing.assert_array_equal(perm, greedy_rounding_sequential(log_plan))


@given(st.lists(log_plans(), min_size=2, max_size=4))
def test_members_of_a_batch_do_not_touch(members):
    n = max(map(len, members))
    batch = np.stack([np.pad(m, (0, n - len(m)), constant_values=-np.inf) for m in members])
    perms = greedy_rounding(batch)
    np.testing.assert_array_equal(greedy_rounding_sequential(batch), perms)
    for member, perm in zip(batch, perms, strict=True):
        np.testing.assert_array_equal(greedy_rounding(member), perm)


@given(st.integers(1, 8), strategies.seeds)
def test_rounded_mass_is_at_least_half_of_the_best(n, seed):
    plan = random_plan(np.random.default_rng(seed), n, n)
    best = plan[linear_sum_assignment(-plan)].sum()
    assert plan[np.arange(n), greedy_rounding(np.log(plan))].sum() >= 0.5 * best


def test_a_permutation_is_its_own_rounding(rng):
    perm = rng.permutation(9)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(greedy_rounding(np.log(np.eye(9)[perm] / 9)), perm)
    np.testing.assert_array_equal(greedy_rounding(np.eye(9)[perm] / 9), perm)


@pytest.mark.parametrize("value", [0.0, -1e30, -np.inf])
def test_what_is_constant_or_has_underflowed_is_matched_in_order(value):
    np.testing.assert_array_equal(greedy_rounding(np.full((2, 7, 7), value)), np.tile(np.arange(7), (2, 1)))


def test_zeroing_as_printed_would_repeat_columns(rng):
    """Misprint E16: with underflow, argmax after zeroing finds used cells; ours stays a permutation."""
    log_plan = -((rng.standard_normal((30, 1)) - rng.standard_normal(30)) ** 2) / 0.002
    plan = np.exp(log_plan)
    work, perm = plan.copy(), np.zeros(30, int)
    for _ in range(30):
        i, j = divmod(int(work.argmax()), 30)
        perm[i] = j
        work[i], work[:, j] = 0.0, 0.0
    assert len(set(perm)) < 30
    assert sorted(greedy_rounding(log_plan)) == list(range(30))
    assert sorted(greedy_rounding(plan)) == list(range(30))


def test_not_all_variants_of_rounding_are_alike(rng):
    """The control of the comparisons above: nearest of each row, and the best assignment, differ."""
    log_plan = rng.standard_normal((8, 8))
    perm = by_hand(log_plan)
    assert list(argmax_matching(log_plan)) != perm
    assert list(linear_sum_assignment(-log_plan)[1]) != perm
    tied = np.zeros((3, 3))
    tied[0, 0] = -1.0
    np.testing.assert_array_equal(
        greedy_rounding(tied), [1, 0, 2]
    )  # the last of equal ones would be [2, 1, 0]


@pytest.mark.slow
def test_rounding_on_every_library(library, rng):
    for batch in library.batches:
        for values in (rng.standard_normal((*batch, 4, 4)), rng.integers(0, 2, (*batch, 4, 4)) * 1.0):
            perm = greedy_rounding(library.array(values))
            assert array_namespace(perm) is array_namespace(library.array(values))
            assert tuple(perm.shape) == (*batch, 4)
            np.testing.assert_array_equal(to_host(perm), greedy_rounding(values))
    if library.name == "jax" and not THOROUGH:
        return  # the next compiles for every entry
    values = library.array(rng.standard_normal((3, 4, 4)))
    np.testing.assert_array_equal(
        to_host(greedy_rounding(values)), to_host(greedy_rounding_sequential(values))
    )


def test_no_atoms():
    assert greedy_rounding(np.zeros((2, 0, 0))).shape == (2, 0)
    assert greedy_rounding_sequential(np.zeros((2, 0, 0))).shape == (2, 0)


def padded(rng, counts, n):
    weights = np.stack([np.where(np.arange(n) < k, 1.0 / k, 0.0) for k in counts])
    return rng.standard_normal((len(counts), n, n)), weights


@pytest.mark.slow
def test_padding_is_matched_with_padding(library, rng):
    counts, n = [5, 2, 1], 5
    log_plan, weights = padded(rng, counts, n)
    for i, k in enumerate(counts):
        log_plan[i, k:], log_plan[i, :, k:] = np.nan, np.nan
    perms = to_host(greedy_rounding(*library.arrays((log_plan, weights, weights))))
    for i, k in enumerate(counts):
        np.testing.assert_array_equal(
            perms[i, :k], greedy_rounding(log_plan[i, :k, :k].astype(library.dtype))
        )
        np.testing.assert_array_equal(perms[i, k:], np.arange(k, n))


def test_padding_is_matched_with_padding_when_live_entries_underflow():
    weights = np.array([0.5, 0.5, 0.0])
    log_plan = np.array([[-np.inf, -1.0, 0.0], [-np.inf, -2.0, 5.0], [9.0, 9.0, 9.0]])
    np.testing.assert_array_equal(greedy_rounding(log_plan, weights, weights), [1, 0, 2])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], "equally many"),
        ([0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], "a is different"),
        ([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], "b is different"),
        ([1.0], [1.0], r"a must have shape \(..., 3\)"),
        ([0.5, np.nan, 0.5], [0.5, 0.5, 0.0], "a is different"),
    ],
)
def test_rounding_refuses_weights(a, b, message):
    with pytest.raises(ValueError, match=message):
        greedy_rounding(np.zeros((3, 3)), np.array(a), np.array(b))


@pytest.mark.parametrize("function", [greedy_rounding, greedy_rounding_sequential])
def test_rounding_refuses(function):
    with pytest.raises(ValueError, match="must not be NaN"):
        function(np.array([[0.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"\(..., n, n\); got \(2, 3\)"):
        function(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="log_plan must have the dtype float32 or float64"):
        function(np.zeros((2, 2), int))


def test_rounding_refuses_weights_of_one_cloud_only():
    with pytest.raises(ValueError, match="both a and b"):
        greedy_rounding(np.zeros((2, 2)), np.array([0.5, 0.5]))


# Likeliest partners


def test_argmax_matching(library):
    table = np.log(np.array([[0.1, 0.4, 0.1], [0.1, 0.1, 0.1]]))
    found = argmax_matching(library.array(np.stack([table, table[::-1]])))
    np.testing.assert_array_equal(to_host(found), [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="NaN"):
        argmax_matching(library.array(table * np.nan))


# Pairs


@pytest.mark.slow
def test_frequencies_are_the_plan(library):
    """Binomial counts of all cells, in standard deviations; zero cells are never drawn."""
    rng, draws = np.random.default_rng(0), 20000
    plan = random_plan(rng, 4, 5, 2)
    plan[:, 1], plan[:, :, 2], plan[0, 3, 4] = 0.0, 0.0, 0.0
    plan = (plan / plan.sum(axis=(-2, -1), keepdims=True)).astype(library.dtype)
    pairs = sample_pairs(library.array(plan), draws, rng=np.random.default_rng(1))
    assert all(tuple(index.shape) == (2, draws) for index in pairs)
    source, target = map(to_host, pairs)
    for k in range(2):
        p = plan[k].astype(np.float64)
        counts = np.zeros((4, 5))
        np.add.at(counts, (source[k], target[k]), 1)
        assert np.all(counts[p == 0] == 0)
        z = (counts - draws * p) / np.sqrt(draws * p * (1 - p) + (p == 0))
        assert np.max(np.abs(z)) < 5
        wrong = np.outer(p.sum(axis=1), p.sum(axis=0))  # the product of the marginals
        assert np.max(np.abs(counts - draws * wrong) / np.sqrt(draws * wrong + (wrong == 0))) > 5


@pytest.mark.slow
def test_pairs_are_the_same_on_every_library(library, rng):
    plan = random_plan(rng, 3, 4, 3)
    drawn = [
        sample_pairs(values, 50, rng=np.random.default_rng(3))
        for values in (library.array(plan), plan.astype(library.dtype))
    ]
    for mine, numpys in zip(*drawn, strict=True):
        assert np.mean(to_host(mine) != numpys) < 0.02


@pytest.mark.parametrize("fraction", [0.0, np.nextafter(1.0, 0.0)])
def test_extreme_fractions_stay_inside_the_plan(library, fraction):
    class Constant:
        def random(self, shape):
            return np.full(shape, fraction)

    plan = np.zeros((4, 4))
    plan[1:3, 1:3] = [[0.1, 0.2], [0.3, 0.4]]
    source, target = map(to_host, sample_pairs(library.array(plan), 2, rng=Constant()))
    wanted = 1 if fraction == 0.0 else 2
    np.testing.assert_array_equal(source, wanted)
    np.testing.assert_array_equal(target, wanted)


@given(st.integers(1, 5), st.integers(1, 6), strategies.seeds)
def test_targets_have_mass_and_rows_may_have_any(n, m, seed):
    rng = np.random.default_rng(seed)
    plan = rng.random((3, n, m)) * (rng.random((3, n, m)) < 0.6)
    targets = sample_targets(plan, rng=np.random.default_rng(seed))
    assert targets.shape == (3, n)
    mass = np.take_along_axis(plan, targets[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(mass > 0, plan.sum(axis=-1) > 0)
    assert np.all(targets[plan.sum(axis=-1) == 0] == 0)
    scaled = sample_targets(plan * 2.0 ** rng.integers(-20, 20, (3, n, 1)), rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(scaled, targets)


def test_targets_have_the_frequencies_of_their_rows(library):
    rows, draws = np.array([[0.1, 0.0, 0.3], [0.2, 0.2, 0.1]]), 20000
    many = library.array(np.broadcast_to(rows, (draws, 2, 3)).copy())
    targets = to_host(sample_targets(many, rng=np.random.default_rng(0)))
    shares = rows / rows.sum(axis=1, keepdims=True)
    counts = np.stack([np.bincount(targets[:, i], minlength=3) for i in range(2)])
    assert counts[0, 1] == 0
    spread = np.sqrt(draws * shares * (1 - shares) + (shares == 0))
    assert np.max(np.abs(counts - draws * shares) / spread) < 5
    assert np.max(np.abs(counts[::-1] - draws * shares) / spread) > 5  # of the other row


def test_permutations_are_drawn_without_replacement(library, rng):
    for batch in library.batches:
        order = np.argsort(rng.random((*batch, 6)), axis=-1)
        plan = np.zeros((*batch, 7, 7))
        plan[..., :6, :6] = np.eye(6)[order] / 6
        given_plan = library.array(plan)
        source, target = map(to_host, sample_pairs(given_plan, 6, rng=rng, replace=False))
        assert source.shape == (*batch, 6)
        np.testing.assert_array_equal(np.sort(source, axis=-1), np.broadcast_to(np.arange(6), source.shape))
        np.testing.assert_array_equal(target, np.take_along_axis(order, source, axis=-1))
        few = to_host(sample_pairs(given_plan, 4, rng=rng, replace=False).source)
        assert all(len(set(row)) == 4 for row in few.reshape(-1, 4))


def test_with_replacement_a_share_of_one_over_e_is_missed(rng):
    """Caveat C9."""
    n = 2000
    pairs = sample_pairs(np.eye(n) / n, n, rng=rng)
    np.testing.assert_array_equal(pairs.source, pairs.target)
    assert len(set(pairs.source)) / n == pytest.approx(1 - 1 / math.e, abs=0.03)


@pytest.mark.parametrize(
    ("plan", "n", "replace", "message"),
    [
        (np.full((2, 2), 0.3), 1, True, "total mass 1; .* masses from 1.2"),
        (np.array([[1.5, -0.5]]), 1, True, "smallest entry of -0.5"),
        (np.array([[np.nan, 1.0]]), 1, True, "finite"),
        (np.zeros((2, 2)), 1, True, "total mass 1"),
        (np.zeros(2), 1, True, r"shape \(..., k, m\)"),
        (np.full((2, 2), 0.25), 1, False, "permutations"),
        (np.array([[0.5, 0.0], [0.5, 0.0]]), 1, False, "permutations"),
        (np.array([[0.75, 0.0], [0.0, 0.25]]), 1, False, "permutations"),
        (np.eye(3) / 3, 4, False, "4 different pairs from 3 atoms"),
    ],
)
def test_sampling_refuses(rng, plan, n, replace, message):
    with pytest.raises(ValueError, match=message):
        sample_pairs(plan, n, rng=rng, replace=replace)


def test_nothing_is_drawn_from_nan(library):
    for bad in (np.nan, np.inf, -0.1):
        for place in (0, 2):  # where no level comes after it, too
            plan = np.full((1, 3), 0.5)
            plan[0, place] = bad
            with pytest.raises(ValueError, match="plan must be finite and non-negative"):
                sample_targets(library.array(plan), rng=np.random.default_rng(0))


def test_targets_of_many_equal_weights_are_all_as_likely():
    """In float32 one running sum of 1e6 weights ends at 0.99: the last atoms would be drawn too often."""
    n = 2_000_000
    row = np.full((1, n), 1 / n, np.float32)

    class Last:
        def random(self, shape):
            return np.full(shape, 0.75)

    assert int(sample_targets(row, rng=Last())[0]) / n == pytest.approx(0.75, abs=1e-4)
    drifted = np.cumsum(row[0])
    assert abs(np.searchsorted(drifted, 0.75 * drifted[-1]) / n - 0.75) > 1e-3  # negative control


def test_masses_are_said_in_digits_that_show_the_fault():
    plan = np.full((2, 2), 0.25 * 1.000002)
    with pytest.raises(ValueError, match=r"masses from 1\.000002 to 1\.000002"):
        sample_pairs(plan, 3, rng=np.random.default_rng(0))


def test_arguments_of_the_wrong_kind_are_named(rng):
    half = np.full(2, 0.5)
    for call, name in (
        (lambda: marginal_error([[1.0]], half, half), "plan"),
        (lambda: argmax_matching(np.ones((2, 2), int)), "log_plan"),
        (lambda: greedy_rounding(np.ones((2, 2)), [0.5, 0.5], half), "a"),
        (lambda: sample_targets(None, rng=rng), "plan"),
        (lambda: sample_pairs(np.ones((2, 2), np.float16), 2, rng=rng), "plan"),
        (lambda: sample_pairs(np.eye(2) / 2, 2.0, rng=rng), "n"),
    ):
        with pytest.raises(TypeError, match=f"{name} must"):
            call()
    assert sample_pairs(np.eye(2) / 2, np.int64(3), rng=rng).source.shape == (3,)


def test_pairs_are_a_named_tuple(rng):
    assert type(sample_pairs(np.ones((1, 1)), 3, rng=rng)) is Pairs


@pytest.mark.parametrize("kind", ["chain", "rows", "levels"])
def test_when_all_rows_want_the_same_columns_the_sequential_algorithm_takes_over(rng, monkeypatch, kind):
    called = []
    real = plans.greedy_rounding_sequential
    monkeypatch.setattr(plans, "greedy_rounding_sequential", lambda p: called.append(True) or real(p))
    n = 80
    log_plan = {
        "chain": -np.add.outer(np.arange(n), np.arange(n)) * 1.0,
        "rows": np.tile(rng.standard_normal(n)[:, None], n),
        "levels": rng.integers(0, 2, (n, n)) * 1.0,
    }[kind]
    np.testing.assert_array_equal(greedy_rounding(log_plan), by_hand(log_plan))
    assert called == ([] if kind == "levels" else [True])
