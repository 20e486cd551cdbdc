"""Transport on the line: against POT, brute force, and its own marginals."""

from itertools import permutations

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from thirds import THOROUGH

from refwfm.transport import quantiles

ROUNDINGS = 1e-14  # sums of about ten numbers of size one


def random_measure(rng, *shape, ties=False, padding=0):
    """Positions and weights; with ties many of the positions are equal."""
    position = rng.integers(0, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    weights = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    position = np.concatenate([position, np.full((*shape[:-1], padding), np.nan)], axis=-1)
    return position, np.concatenate([weights, np.zeros((*shape[:-1], padding))], axis=-1)


def dense(coupling, n, m):
    plan = np.zeros((n, m))
    np.add.at(plan, (coupling.row, coupling.column), coupling.mass)
    return plan


@given(st.integers(1, 6), st.integers(1, 6), strategies.seeds, st.booleans(), st.integers(0, 2))
def test_coupling_has_its_marginals_and_pots_cost(n, m, seed, ties, padding):
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(seed)
    (x, a), (y, b) = random_measure(rng, n, ties=ties, padding=padding), random_measure(rng, m, ties=ties)
    coupling = quantiles.quantile_coupling(x, a, y, b)
    plan = dense(coupling, n + padding, m)
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=ROUNDINGS)
    np.testing.assert_allclose(plan.sum(axis=0), b, atol=ROUNDINGS)
    assert np.all(plan[n:] == 0)
    assert np.all(coupling.mass >= 0)
    for p in (1.0, 2.0, 3.5):
        cost = float(
            quantiles.line_cost(*(quantiles.sort_measure(*measure) for measure in ((x, a), (y, b))), p=p)
        )
        costs = np.abs(x[:n, None] - y) ** p
        assert cost == pytest.approx(ot.emd2(a[:n], b, costs), abs=1e-12)
        assert cost == pytest.approx(np.sum(plan[:n] * costs), abs=1e-12)


def test_coupling_of_a_reflected_measure_is_not_optimal(rng):
    """Negative control: the same marginals, but high levels meet low ones."""
    (x, a), (y, b) = random_measure(rng, 5), random_measure(rng, 4)
    sq_gaps = (x[:, None] - y) ** 2
    best, worst = (np.sum(dense(quantiles.quantile_coupling(x, a, v, b), 5, 4) * sq_gaps) for v in (y, -y))
    assert worst > best + 0.1


@given(st.integers(1, 5), strategies.seeds)
def test_equal_sizes_are_sorted_alike(n, seed):
    """Every convex cost: no permutation is better than the sorted one."""
    x, y = np.random.default_rng(seed).standard_normal((2, n))
    uniform = np.full(n, 1 / n)
    for p in (1.0, 1.5, 2.0, 4.0):
        best = min(np.mean(np.abs(x - y[list(q)]) ** p) for q in permutations(range(n)))
        plain, merged = (
            float(
                quantiles.line_cost(*(quantiles.sort_measure(v, uniform) for v in (x, y)), p=p, alike=alike)
            )
            for alike in (True, False)
        )
        assert plain == pytest.approx(best, rel=1e-12, abs=1e-15)
        assert merged == pytest.approx(best, rel=1e-12, abs=1e-15)


@given(st.integers(1, 6), st.integers(0, 3), strategies.seeds, st.booleans())
def test_intervals_tile_the_levels(n, padding, seed, ties):
    rng = np.random.default_rng(seed)
    x, a = random_measure(rng, n, ties=ties, padding=padding)
    low, high = quantiles.intervals(x, a)
    np.testing.assert_allclose(high - low, a, atol=ROUNDINGS)
    order = np.lexsort((np.arange(n), x[:n]))
    np.testing.assert_array_equal(low[order][1:], high[order][:-1])
    assert low[order[0]] == 0.0


@pytest.mark.parametrize("even", [True, False])
def test_levels_of_uniform_weights_need_no_sorting(rng, even):
    x, a = rng.standard_normal((4, 3, 7)), np.zeros((4, 1, 7))
    for cloud, size in zip(a, (1, 3, 7, 5), strict=True):
        cloud[0, rng.permutation(7)[:size]] = 1 / size
    found = quantiles.sort_measure(x, a, even=even)
    assert found.level.shape == ((4, 1, 7) if even else (4, 3, 7))
    np.testing.assert_array_equal(found.last[:, 0, 0], [0, 2, 6, 4])
    for i, size in enumerate((1, 3, 7, 5)):
        truth = np.sort(x[i][:, a[i, 0] > 0], axis=-1)
        np.testing.assert_array_equal(found.position[i, :, :size], truth)
        np.testing.assert_allclose(found.level[i, :, :size] + 0 * truth, [np.arange(1, size + 1) / size] * 3)


@given(st.integers(1, 40), strategies.seeds)
def test_bisection_is_searchsorted(n, seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(n)) * (rng.random(n) < 0.7)
    weights[rng.integers(n)] += 0.1
    _, level = quantiles.order_and_levels(rng.standard_normal(n), weights / weights.sum())
    live = int(np.sum(weights > 0))
    wanted = np.concatenate([rng.random(20), level[:live], [0.0, 1.0]])
    last, offset = quantiles.last_atom(weights), np.zeros(wanted.shape, np.int64)
    truth = np.minimum(np.searchsorted(level[:live], wanted, side="right"), live - 1)
    np.testing.assert_array_equal(quantiles.atom_at_level(level, last, wanted, offset=offset), truth)


def test_leading_axes_broadcast(rng):
    (x, a), (y, b) = random_measure(rng, 2, 1, 4), random_measure(rng, 3, 5)
    whole = quantiles.quantile_coupling(x, a, y, b)
    assert whole.mass.shape == (2, 3, 9)
    for i in range(2):
        for j in range(3):
            single = quantiles.quantile_coupling(x[i, 0], a[i, 0], y[j], b[j])
            for part, truth in zip(whole, single, strict=True):
                np.testing.assert_array_equal(part[i, j], truth)


@pytest.mark.slow
@pytest.mark.parametrize("even", [True, False])
def test_thousands_of_levels_keep_their_digits(library, even):
    """5000 against 4999 atoms of one law, and of two: in float32 one running sum is 0.7 % off."""
    rng = np.random.default_rng(0)
    sizes = 5000, 4999
    for shift in (0.0, 1.0) if library.name != "jax" or THOROUGH else (0.0,):
        x, y = (rng.standard_normal(n) for n in sizes)
        a, b = (np.full(n, 1 / n) if even else rng.dirichlet(np.ones(n)) for n in sizes)
        single = [v.astype(np.float32) for v in (x, a, y + shift, b)]
        x, a, y, b = (v.astype(np.float64) for v in single)
        a, b = a / a.sum(), b / b.sum()
        truth = float(quantiles.line_cost(*(quantiles.sort_measure(*v) for v in ((x, a), (y, b)))))
        for fast in {False, even}:
            x_, a_, y_, b_ = map(library.array, single if library.dtype == "float32" else (x, a, y, b))
            lines = (quantiles.sort_measure(*v, even=fast) for v in ((x_, a_), (y_, b_)))
            found = float(quantiles.line_cost(*lines))
            # Levels in float32 have an error of 3e-8; the cost is 1e-3 of the spread's square, or all of it.
            assert found == pytest.approx(truth, rel=1e-5, abs=0.0 if even else 1e-7)
        naive = np.cumsum(single[1])[-1]
        assert not even or abs(naive - 1.0) > 1e-5  # negative control


def test_positions_and_weights_are_checked():
    x, a = np.asarray([0.0, np.nan]), np.full(2, 0.5)
    with pytest.raises(ValueError, match="x must be finite where its weights are positive"):
        quantiles.quantile_coupling(x, a, x[:1], a[:1] * 2)
    with pytest.raises(ValueError, match="b must be non-negative with mass 1"):
        quantiles.quantile_coupling(x[:1], a[:1] * 2, x[:1], a[:1])
    with pytest.raises(TypeError, match=r"x must be an array.* got a list"):
        quantiles.quantile_coupling([0.0], a[:1], x[:1], a[:1])
    with pytest.raises(TypeError, match=r"position must be an array.* got a list"):
        quantiles.sort_measure([0.0], a[:1])
    one = quantiles.sort_measure(x[:1], a[:1] * 2)
    with pytest.raises(ValueError, match="p must be finite and at least 1"):
        quantiles.line_cost(one, one, p=0.5)


def test_measures_must_have_atoms():
    with pytest.raises(ValueError, match=r"x and a must have the same shape .* got \(3,\) and \(2,\)"):
        quantiles.quantile_coupling(np.zeros(3), np.ones(2) / 2, np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match=r"y and b .* n >= 1"):
        quantiles.quantile_coupling(np.zeros(1), np.ones(1), np.zeros(0), np.zeros(0))


@pytest.mark.slow
def test_every_library(library, rng):
    for shape in library.batches:
        x, a, y = (
            rng.standard_normal((*shape, 4)),
            np.full((*shape, 4), 0.25),
            rng.standard_normal((*shape, 6)),
        )
        b = np.broadcast_to([0.25, 0.125, 0.0, 0.125, 0.25, 0.25], (*shape, 6))  # exact in float32
        library.check(lambda x, a, y, b: quantiles.quantile_coupling(x, a, y, b).mass, x, a, y, b, ulps=4)
        for p in (1.0, 2.0, 3.0):
            library.check(
                lambda x, a, y, b, p=p: quantiles.line_cost(
                    quantiles.sort_measure(x, a), quantiles.sort_measure(y, b), p=p
                ),
                x,
                a,
                y,
                b,
                ulps=200,
            )
        library.check(quantiles.intervals, y, b, ulps=4)
