"""Trivial floors, and what a map that does not read the population cannot do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from refwfm.populations import floors


def w2(x, y):
    cost = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
    return np.sqrt(cost[linear_sum_assignment(cost)].mean())


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_shifts_on_every_library(library):
    for batch in (shape for shape in library.batches if 0 not in shape):
        x0, x1, means = some(*batch, 5, 2), some(*batch, 4, 2, seed=1) + 3, some(6, 2, seed=2)
        w = np.random.default_rng(3).dirichlet(np.ones(5), size=batch or None)
        library.check(lambda x, m, w: floors.mean_shift(x, m, weights=w), x0, means, w, ulps=20)
        library.check(floors.ideal_shift, x0, x1, ulps=20)
        library.check(floors.identity, x0, ulps=0)
        fractions = np.random.default_rng(4).dirichlet(np.ones(2), size=(*batch, 6))
        library.check(floors.unread_floor, fractions, some(*batch, 6, 3), ulps=100)
        conditions = np.eye(3)[[0, 1, 2, 0, 1, 2]]
        one = np.broadcast_to(np.eye(3)[1], (*batch, 3)).copy()
        library.check(floors.mean_shift_by_condition, x0, one, means, conditions, ulps=20)


def test_means_are_where_they_should_be():
    x0, x1, means = some(7, 3), some(4, 3, seed=1), some(5, 3, seed=2)
    np.testing.assert_allclose(floors.mean_shift(x0, means).mean(axis=0), means.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(floors.ideal_shift(x0, x1).mean(axis=0), x1.mean(axis=0), atol=1e-15)
    conditions = np.array([[0.0, 5], [0, 2], [0, 5], [1, 5], [0, 5]])
    found = floors.mean_shift_by_condition(x0, np.array([0.0, 5]), means, conditions)
    np.testing.assert_allclose(found.mean(axis=0), means[[0, 2, 4]].mean(axis=0), atol=1e-15)
    # Without conditions all populations are under the same.
    none = floors.mean_shift_by_condition(x0, np.zeros(0), means, np.zeros((5, 0)))
    np.testing.assert_allclose(none, floors.mean_shift(x0, means), atol=1e-15)


def test_one_particle_and_identical_particles():
    one = np.array([[2.0, 3.0]])
    assert floors.ideal_shift(one, np.array([[5.0, 5.0], [7.0, 7.0]])).tolist() == [[6, 6]]
    same = np.repeat(one, 3, axis=0)
    assert floors.mean_shift(same, one).tolist() == same.tolist()
    for function in (floors.mean_shift, floors.ideal_shift):
        with pytest.raises(ValueError, match=r"x0 must have shape .* got \(0, 2\)"):
            function(np.zeros((0, 2)), one)


def test_padding_and_nan():
    x0 = np.array([[0.0], [2.0], [np.nan]])
    found = floors.mean_shift(x0, np.array([[4.0]]), weights=np.array([0.5, 0.5, 0.0]))
    assert found[:2].tolist() == [[3], [5]]
    assert np.isnan(floors.mean_shift(x0, np.array([[4.0]]))).all()
    # NaN under one condition is not NaN under another.
    means, conditions = np.array([[np.nan], [1.0]]), np.eye(2)
    found = floors.mean_shift_by_condition(np.zeros((2, 1, 1)), np.eye(2), means, conditions)
    np.testing.assert_array_equal(found[:, 0, 0], [np.nan, 1])


def test_a_condition_never_seen_is_an_error():
    x0, means = np.zeros((3, 2, 1)), np.ones((2, 1))
    condition = np.array([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match="under that of 2 of the populations"):
        floors.mean_shift_by_condition(x0, condition, means, np.eye(3)[:2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: floors.identity([[1.0]]), TypeError, "x0"),
        (lambda: floors.identity(np.zeros(3)), ValueError, r"x0 must have shape \(\.\.\., n, d\)"),
        (lambda: floors.mean_shift(np.zeros((2, 3)), np.zeros((2, 1))), ValueError, "got 3 and 1"),
        (lambda: floors.mean_shift(np.zeros((2, 3)), np.zeros((0, 3))), ValueError, "treated_means"),
        (lambda: floors.ideal_shift(np.zeros((2, 3)), np.zeros((2, 1))), ValueError, "got 3 and 1"),
        (
            lambda: floors.ideal_shift(np.zeros((2, 3)), np.zeros((2, 3)), weights=np.ones(3)),
            ValueError,
            r"weights of x0 must have shape \(2,\); got \(3,\)",
        ),
        (
            lambda: floors.mean_shift_by_condition(
                np.zeros((2, 3)), np.zeros(2), np.zeros((4, 3)), np.zeros((3, 2))
            ),
            ValueError,
            r"\(N, d\) and \(N, c\); got \(4, 3\) and \(3, 2\)",
        ),
        (
            lambda: floors.mean_shift_by_condition(
                np.zeros((2, 3)), np.zeros(1), np.zeros((4, 3)), np.zeros((4, 2))
            ),
            ValueError,
            r"condition must have shape \(2,\).* got \(1,\)",
        ),
        (
            lambda: floors.unread_floor(np.ones((4, 2)), np.ones((3, 2))),
            ValueError,
            r"got \(4, 2\) and \(3, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@given(st.integers(0, 10**6))
def test_the_ideal_shift_is_the_nearest(seed):
    rng = np.random.default_rng(seed)
    x0, x1 = rng.standard_normal((6, 2)), rng.standard_normal((6, 2)) ** 2
    ideal = floors.ideal_shift(x0, x1)
    best = w2(ideal, x1)
    assert best <= w2(floors.identity(x0), x1) + 1e-12
    assert best <= w2(ideal + 0.1 * rng.standard_normal(2), x1)


@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(-150, 150))
def test_the_floor_is_below_every_map(seed, components, power):
    """Any map of a finite set of places, populations that are mixtures of measures on it."""
    rng = np.random.default_rng(seed)
    fractions = rng.dirichlet(np.ones(components), size=7)
    kinds = rng.dirichlet(np.ones(9), size=components)
    places, moved, shifts = (
        rng.standard_normal((9, 2)),
        rng.standard_normal((9, 2)),
        rng.standard_normal((7, 2)),
    )
    found = fractions @ kinds @ (moved - places)
    error = np.sqrt(np.mean(np.sum((shifts - found) ** 2, axis=1)))
    floor = floors.unread_floor(fractions, shifts)
    assert floor <= error * (1 + 1e-12)
    # ... and W2 is no less than the distance of the means.
    unit = 10.0**power
    np.testing.assert_allclose(floors.unread_floor(fractions, unit * shifts), unit * floor, rtol=1e-12)


def test_the_floor_where_it_is_known():
    w = np.linspace(0, 1, 11)[:, None]
    two = np.concatenate([w, 1 - w], axis=1)
    assert floors.unread_floor(two, 5 * w - 2) < 1e-14
    # All populations with the same fractions: a mean is all that can be met.
    shifts = some(11, 3)
    same = np.tile([[1 / 3, 2 / 3]], (11, 1))
    np.testing.assert_allclose(
        floors.unread_floor(same, shifts), np.sqrt(shifts.var(axis=0).sum()), rtol=1e-14
    )
    assert np.isnan(floors.unread_floor(two, np.full((11, 1), np.nan)))
    found = floors.unread_floor(np.stack([two, two * np.nan]), np.stack([shifts, shifts]))
    np.testing.assert_array_equal(found, [floors.unread_floor(two, shifts), np.nan])
