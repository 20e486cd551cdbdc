"""Matching within a batch, and the exact assignment behind it."""

import itertools

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.bures import pairwise_sq_distance
from refwfm.couplings.outer import match_minibatch, outer_pairs, outer_plan
from refwfm.measures import Gaussian
from refwfm.transport.exact import assignment


@given(st.integers(1, 6), strategies.seeds)
def test_assignment_is_the_best_of_all_permutations(n, seed):
    cost = np.random.default_rng(seed).standard_normal((n, n))
    perm = assignment(cost)
    assert sorted(perm) == list(range(n))
    totals = [sum(cost[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(n))]
    assert sum(cost[range(n), perm]) == pytest.approx(min(totals), abs=1e-13)
    greedy = cost.argmin(axis=1)
    if len(set(greedy)) == n:
        np.testing.assert_array_equal(perm, greedy)


@given(st.integers(2, 5), strategies.seeds)
def test_matching_has_the_least_cost(n, seed):
    """Costs from the textbook's distance, over all permutations."""
    rng = np.random.default_rng(seed)
    mu, nu = oracles.random_gaussian(rng, n, 2), oracles.random_gaussian(rng, n, 2)
    cost = np.array([[oracles.sq_distance(member(mu, i), member(nu, j)) for j in range(n)] for i in range(n)])
    totals = [sum(cost[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(n))]
    assert sum(cost[range(n), match_minibatch(mu, nu)]) == pytest.approx(min(totals), rel=1e-10)
    assert min(totals) <= np.mean(totals)


def member(family, i):
    return Gaussian(family.mean[i], family.cov[i])


def test_matching_recovers_a_permutation(rng):
    mu = oracles.random_gaussian(rng, 6, 3)
    order = rng.permutation(6)
    perm = match_minibatch(mu, Gaussian(mu.mean[order], mu.cov[order]))
    np.testing.assert_array_equal(order[perm], np.arange(6))


def test_matching_sees_covariances_and_not_only_means(rng):
    mu = Gaussian(np.zeros((2, 1)), np.array([[[1.0]], [[9.0]]]))
    nu = Gaussian(np.zeros((2, 1)), np.array([[[10.0]], [[2.0]]]))
    np.testing.assert_array_equal(match_minibatch(mu, nu), [1, 0])


def test_matching_on_every_library(library, rng):
    mu, nu = oracles.random_gaussian(rng, 3, 3), oracles.random_gaussian(rng, 3, 3)
    perm = match_minibatch(*library.arrays((mu, nu)))
    assert type(perm) is np.ndarray
    np.testing.assert_array_equal(perm, match_minibatch(mu, nu))


def test_another_cost(rng):
    mu, nu = oracles.random_gaussian(rng, 2, 2), oracles.random_gaussian(rng, 2, 2)
    swap = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(match_minibatch(mu, nu, cost=lambda mu, nu, validate: swap), [1, 0])


def test_unequal_batches_are_refused(rng):
    with pytest.raises(ValueError, match="batches of equal size; got 2 and 3"):
        match_minibatch(oracles.random_gaussian(rng, 2, 2), oracles.random_gaussian(rng, 3, 2))


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (np.zeros((2, 3)), r"shape \(n, n\)"),
        (np.zeros(3), r"shape \(n, n\)"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "finite"),
        (np.array([[0.0, np.inf], [0.0, 0.0]]), "finite"),
    ],
)
def test_bad_costs_are_refused(cost, message):
    with pytest.raises(ValueError, match=message):
        assignment(cost)


def test_no_members():
    assert assignment(np.zeros((0, 0))).shape == (0,)


@pytest.mark.parametrize("make", [outer_plan, outer_pairs])
@pytest.mark.parametrize("bad", [None, [[1.0]], np.eye(2, dtype=int), np.eye(2, dtype=np.float16)])
def test_costs_are_arrays_of_floats(make, bad):
    """Of integers, plans were all zeros."""
    with pytest.raises(TypeError, match="cost must"):
        make(bad)


def test_groups_are_one_for_each_member(rng):
    with pytest.raises(ValueError, match=r"groups must have shape \(3,\).*got \(2,\)"):
        outer_pairs(rng.random((3, 3)), groups=np.array([0, 1]))


@pytest.mark.parametrize("shape", [(3, 3), (2, 3)])
@pytest.mark.parametrize("power", [-150, 0, 150])
def test_plans_do_not_depend_on_the_unit_of_the_cost(rng, shape, power):
    cost = rng.random(shape)
    np.testing.assert_array_equal(outer_plan(2.0**power * cost), outer_plan(cost))


def test_costs_between_groups_are_not_asked_for(rng):
    mu, nu = (oracles.random_gaussian(rng, 12, 3) for _ in range(2))
    groups, asked = np.arange(12) % 3, []

    def cost(some, others, validate):
        asked.append(len(some.mean) * len(others.mean))
        return pairwise_sq_distance(some, others, validate=validate)

    found = match_minibatch(mu, nu, cost=cost, groups=groups)
    assert sum(asked) == 12 * 4
    np.testing.assert_array_equal(found, outer_pairs(pairwise_sq_distance(mu, nu), groups=groups).target)
    assert np.any(found != match_minibatch(mu, nu))  # across groups
    with pytest.raises(ValueError, match=r"groups must have shape \(12,\)"):
        match_minibatch(mu, nu, groups=groups[:3])
