"""Assignments from rough potentials: those of SciPy, whatever the costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from refwfm.transport import duals
from refwfm.transport.exact import assignment

N = duals.WARM + 20


def costs(seed, n=N, d=2):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 1, d)), rng.standard_normal((1, n, d)) + 1.0
    return np.sum((x - y) ** 2, axis=-1)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(
        ["as they are", "some negative", "all negative", "tiny", "huge", "near overflow", "equal", "zero"]
    ),
)
def test_it_is_the_assignment_that_scipy_finds(seed, kind):
    cost = {
        "as they are": lambda c: c,
        "some negative": lambda c: c - np.median(c),
        "all negative": lambda c: c - 2 * np.max(c),
        "tiny": lambda c: 1e-290 * c,
        "huge": lambda c: 1e290 * c,
        "near overflow": lambda c: 1e308 / np.max(c) * c,
        "equal": lambda c: np.full_like(c, 3.0),
        "zero": np.zeros_like,
    }[kind](costs(seed))
    found = duals.quick_assignment(cost, float(np.max(np.abs(cost))))
    assert sorted(found) == list(range(N))
    rows, columns = linear_sum_assignment(cost / np.max(np.abs(cost)) if np.any(cost) else cost)
    scale = np.max(np.abs(cost)) or 1.0
    spent, least = (np.sum(cost[rows, each] / scale) for each in (found, columns))
    np.testing.assert_allclose(spent, least, rtol=1e-12)
    if kind not in ("equal", "zero"):
        np.testing.assert_array_equal(found, columns)


def test_a_far_point_rounds_nobody_off():
    cost = costs(3)
    far = cost.copy()
    far[0] += 1e9  # one source is far from all targets: which it gets is as it was
    found = duals.quick_assignment(far, float(np.max(far)))
    np.testing.assert_array_equal(found, linear_sum_assignment(cost)[1])


def test_large_batches_start_from_potentials_and_small_ones_do_not(monkeypatch):
    calls = []
    real = duals.warm_assignment
    monkeypatch.setattr(duals, "warm_assignment", lambda cost, f: calls.append(len(cost)) or real(cost, f))
    batch = np.stack([costs(seed) for seed in range(3)])
    found = assignment(batch, n_jobs=1)
    np.testing.assert_array_equal(found, [linear_sum_assignment(cost)[1] for cost in batch])
    assert calls == [N, N, N]
    assignment(batch[:, :20, :20], n_jobs=1)
    assignment(batch - 100.0, n_jobs=1)
    assert calls == [N, N, N]


def test_a_potential_that_is_wrong_does_no_harm():
    cost, rng = costs(5), np.random.default_rng(5)
    columns = linear_sum_assignment(cost)[1]
    for f in (
        np.zeros(N),
        10.0 * rng.standard_normal(N),
        -duals.rough_potential(cost, *np.full((2, N), 1 / N)),
    ):
        np.testing.assert_array_equal(duals.warm_assignment(cost, f), columns)
    assert duals.warm_assignment(cost, 1e20 * rng.standard_normal(N)) is None


def test_costs_whose_sum_overflows_are_solved():
    cost = np.full((N, N), 2.0**1020)
    assert sorted(duals.quick_assignment(cost, 2.0**1020)) == list(range(N))
    np.testing.assert_array_equal(duals.rough_potential(cost, *np.full((2, N), 1 / N)), 0.0)


@pytest.mark.parametrize("n", [duals.WARM - 1, duals.WARM])
def test_padding_stays_where_it_is(n):
    rng = np.random.default_rng(n)
    cost, weights = np.zeros((n + 7, n + 7)), np.zeros(n + 7)
    live = np.sort(rng.permutation(n + 7)[:n])
    cost[np.ix_(live, live)], weights[live] = costs(n, n), 1.0 / n
    found = assignment(cost, weights, weights, n_jobs=1)
    np.testing.assert_array_equal(found[live], live[linear_sum_assignment(costs(n, n))[1]])
    rest = np.setdiff1d(np.arange(n + 7), live)
    np.testing.assert_array_equal(found[rest], rest)
