"""One problem of exact transport: right at any scale, beside any far point, or refused; never wrong."""

import itertools
import warnings
from fractions import Fraction

import hostile_oracles
import numpy as np
import pytest
import scipy.optimize
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.clouds import uniform
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport import programme
from refwfm.transport.emd import emd
from refwfm.transport.exact import assignment, sq_wasserstein2, transport_plan
from refwfm.transport.programme import best_assignment, least_entries, prove, solve


def wild_costs(kind, n, rng):
    """Costs whose entries span twelve orders of magnitude or more."""
    signs = rng.choice([-1.0, 1.0], (n, n))
    x, y = rng.standard_normal((2, n, 2))
    far, some = np.zeros((n, 1)), np.zeros((n, 1))
    far[: n // 2 + 1], some[:1] = 1e9, 1e9
    return {
        "orders": lambda: 10.0 ** rng.uniform(-6, 6, (n, n)),
        "signs": lambda: signs * 10.0 ** rng.uniform(-6, 6, (n, n)),
        "two clusters": lambda: sq_costs(x + far, y + far),
        "one outlier": lambda: sq_costs(x + some, y),
        "shifts": lambda: (
            rng.random((n, n)) + 10.0 ** rng.uniform(-12, 12, (n, 1)) + 10.0 ** rng.uniform(-6, 6, n)
        ),
        "tiny": lambda: rng.random((n, n)) * 10.0 ** rng.uniform(-300, -100),
        "huge": lambda: rng.random((n, n)) * 10.0 ** rng.uniform(100, 300),
        "ties": lambda: rng.integers(0, 3, (n, n)).astype(np.float64),
    }[kind]()


KINDS = ["orders", "signs", "two clusters", "one outlier", "shifts", "tiny", "huge", "ties"]


def sq_costs(x, y):
    return np.sum((x[:, None] - y) ** 2, axis=-1)


def least(cost):
    """Least total cost of all permutations, in rational numbers: without any rounding."""
    exact = [[Fraction(float(value)) for value in row] for row in cost]
    return min(
        sum(row[j] for row, j in zip(exact, perm, strict=True))
        for perm in itertools.permutations(range(len(cost)))
    )


def total(cost, perm):
    return sum(Fraction(float(cost[i, j])) for i, j in enumerate(perm))


@given(st.sampled_from(KINDS), st.integers(1, 6), strategies.seeds)
def test_plans_and_assignments_are_the_best_of_all_permutations(kind, n, seed):
    """What they cost too much is nothing beside their own cost, without least entries."""
    cost = wild_costs(kind, n, np.random.default_rng(seed))
    even = np.full(n, 1.0 / n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = transport_plan(cost, even, even)
    best, reduced = least(cost), least_entries(cost)[2]
    for perm in (np.argmax(found.plan, axis=1), assignment(cost)):
        own = np.sum(reduced[np.arange(n), perm])
        assert sorted(perm) == list(range(n))
        assert 0 <= total(cost, perm) - best <= 1e-9 * own
    assert found.converged
    assert abs(float(found.cost) * n - float(best)) <= 1e-13 * np.sum(np.abs(cost[np.arange(n), perm]))


@given(st.sampled_from(KINDS), st.integers(2, 5), st.integers(2, 5), strategies.seeds)
def test_plans_of_any_weights_are_the_linear_programmes_or_refused(kind, n, m, seed):
    rng = np.random.default_rng(seed)
    cost = wild_costs(kind, max(n, m), rng)[:n, :m]
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    found = transport_plan(cost, a, b, require=False)
    unit = np.max(np.abs(cost))
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    truth = scipy.optimize.linprog(
        cost.ravel() / unit, A_eq=np.concatenate([rows, columns]), b_eq=np.concatenate([a, b])
    )
    assert found.converged
    assert float(found.cost) / unit <= truth.fun + 1e-9  # HiGHS stops at 1e-7 of its own, above the best
    assert float(found.cost) >= found.f @ a + found.g @ b - 1e-12 * (
        np.abs(found.f) @ a + np.abs(found.g) @ b
    )
    assert np.all(
        found.f[:, None] + found.g - cost
        <= 1e-14 * (np.abs(cost) + np.abs(found.f)[:, None] + np.abs(found.g))
    )


def test_the_cases_that_were_wrong():
    """Entries of 1e-7 were refused; of [0, 1, 2, far] and [2, 0, 1, far] a plan of cost 1.5 was proved."""
    cost = 1e-7 * np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]])
    found = transport_plan(cost, np.full(2, 0.5), np.full(3, 1 / 3))
    assert float(found.cost) == pytest.approx(5e-8, rel=1e-13)  # 1/6 and 1/3 go one step
    x, y = np.array([[0.0], [1.0], [2.0], [1e9]]), np.array([[2.0], [0.0], [1.0], [1e9]])
    quarter = np.full(4, 0.25)
    found = transport_plan(sq_costs(x, y), quarter, quarter)
    assert float(found.cost) == 0.0
    np.testing.assert_array_equal(np.argmax(found.plan, axis=1), [1, 2, 0, 3])
    np.testing.assert_array_equal(assignment(sq_costs(x, y)), [1, 2, 0, 3])


@given(st.integers(2, 6), st.integers(2, 6), st.integers(-140, 140), strategies.seeds)
def test_scale(n, m, power, seed):
    """Powers of two change nothing but the unit; others, and those of the points, no more than rounding."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    found = transport_plan(sq_costs(x, y), a, b)
    twice = transport_plan(2.0 ** (6 * power) * sq_costs(x, y), a, b)
    np.testing.assert_array_equal(twice.plan, found.plan)
    assert twice.cost == 2.0 ** (6 * power) * found.cost
    factor = 10.0**power
    for one, other in ((a, b), (np.full(n, 1 / n), np.full(m, 1 / m))):
        small = [PointCloud(p, w) for p, w in ((x, one), (y, other))]
        large = [PointCloud(factor * p, w) for p, w in small]
        expected = factor**2 * float(sq_wasserstein2(*small))
        assert float(sq_wasserstein2(*large)) == pytest.approx(expected, rel=1e-12)
        assert emd(*large, squared=False) == pytest.approx(factor * emd(*small, squared=False), rel=1e-12)


@given(st.integers(2, 6), st.booleans(), strategies.seeds)
def test_a_far_pair_changes_no_other_row(n, evenly, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, 2))
    a, b = (np.full(n, 1 / n) if evenly else rng.dirichlet(np.ones(n)) for _ in range(2))
    plan = transport_plan(sq_costs(x, y), a, b).plan
    more_x, more_y = (np.concatenate([z, 1e9 + rng.standard_normal((1, 2))]) for z in (x, y))
    with_a, with_b = (np.append(0.5 * w, 0.5) for w in (a, b))
    beside = transport_plan(sq_costs(more_x, more_y), with_a, with_b).plan
    np.testing.assert_allclose(2.0 * beside[:n, :n], plan, rtol=0, atol=1e-14)
    assert beside[n, n] == pytest.approx(0.5, abs=1e-14)
    if evenly:
        np.testing.assert_array_equal(assignment(sq_costs(more_x, more_y))[:n], assignment(sq_costs(x, y)))


@given(st.integers(2, 6), st.integers(2, 6), strategies.seeds)
def test_permutation_and_constants_of_rows_and_columns(n, m, seed):
    rng = np.random.default_rng(seed)
    cost, a, b = rng.random((n, m)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    plan = transport_plan(cost, a, b).plan
    rows, columns = rng.permutation(n), rng.permutation(m)
    permuted = transport_plan(cost[np.ix_(rows, columns)], a[rows], b[columns]).plan
    np.testing.assert_allclose(permuted, plan[np.ix_(rows, columns)], atol=1e-14)
    moved = transport_plan(cost + 8.0 * rng.integers(-9, 9, (n, 1)) + rng.integers(-9, 9, m), a, b).plan
    np.testing.assert_allclose(moved, plan, atol=1e-14)


@given(st.integers(2, 6), st.sampled_from([1e-7, 1e-10, 1e-13]), strategies.seeds)
def test_clouds_that_agree_but_for_the_rounding_of_weights(n, size, seed):
    """What little moves goes far beside its cost: proved, though potentials of floats are too coarse."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    a = rng.dirichlet(np.full(n, 4.0))
    b = a + size * np.append(1.0, np.append(np.zeros(n - 2), -1.0)) * min(a[0], a[-1])
    found = transport_plan(sq_costs(x, x), a, b)
    assert found.converged
    # The straight way, or in many steps.
    assert 0.0 < float(found.cost) <= size * min(a[0], a[-1]) * np.sum((x[0] - x[-1]) ** 2) + 1e-15


def far_and_near(seed, crumb):
    """Half of the mass, and a crumb more of the one cloud, is far away; weights without rounding."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 4, 2))
    x[0] += 2.0**27
    y[0] += 2.0**27
    shares = rng.integers(1, 2**38, 2)
    a, b = (
        np.array([2**39 + more, 2**38, share, 2**38 - share - more]) / 2**40
        for more, share in zip((crumb, 0), shares, strict=True)
    )
    cost = sq_costs(x, y)
    truth = hostile_oracles.least_cost(*(hostile_oracles.exact(part) for part in (cost, a, b)))
    return transport_plan(cost, a, b, require=False), pytest.approx(float(truth), rel=1e-9)


@pytest.mark.parametrize("crumb", [0, 1, 2**10, 2**20])
def test_little_mass_that_goes_far_is_right_or_refused(crumb):
    """Beside it the near ones are still moved best; by exact fractions."""
    found = [far_and_near(seed, crumb) for seed in range(20)]
    proved = [(plan, truth) for plan, truth in found if plan.converged]
    assert len(proved) >= 10
    assert all(float(plan.cost) == truth for plan, truth in proved)


def test_the_control_of_little_mass(monkeypatch):
    """Proofs by floats alone would take plans that are wrong by 1e-5."""
    monkeypatch.setattr(programme, "_missed", lambda *_: 0.0)
    found = [far_and_near(seed, 1) for seed in range(10)]
    assert any(plan.converged and float(plan.cost) != truth for plan, truth in found)


def test_weights_of_many_orders(rng):
    a = 10.0 ** -np.arange(18.0)
    a, b = a / np.sum(a), np.full(5, 0.2)
    found = transport_plan(rng.random((18, 5)), a, b)
    np.testing.assert_allclose(found.plan.sum(axis=1), a, rtol=1e-12)
    assert found.converged


def test_a_proof_rejects(rng):
    """Another plan, another potential, a marginal that is not there, and NaN."""
    cost, a, b = rng.random((5, 6)), np.full(5, 0.2), np.full(6, 1 / 6)
    solved = solve(cost, a, b, max_iter=1000)
    assert solved.proof.holds
    right = (solved.plan, solved.f, solved.g)
    assert prove(cost, a, b, *right).holds
    product = a[:, None] * b
    wrongs = [(0, product), (1, solved.f + 1e-12), (1, np.full(5, np.nan)), (0, solved.plan * (1 + 1e-13))]
    for k, wrong in wrongs:
        assert not prove(cost, a, b, *right[:k], wrong, *right[k + 1 :]).holds
    gap = prove(cost, a, b, product, *right[1:]).gap
    assert gap == pytest.approx(np.sum(product * cost) - solved.proof.cost, rel=1e-12)
    assert prove(cost, a, b, solved.plan, solved.f + 0.1, solved.g).gap >= 0.0


def test_what_cannot_be_proved_is_refused(monkeypatch, rng):
    """A solver that returns any plan at all is found out."""
    cost, half = rng.random((2, 2)), np.full(2, 0.5)
    monkeypatch.setattr(
        programme, "_simplex", lambda cost, a, b, max_iter: (a[:, None] * b, np.zeros(2), np.zeros(2), False)
    )
    with pytest.raises(ConvergenceError, match="no plan was proved optimal"):
        transport_plan(cost, half, half)
    assert not transport_plan(cost, half, half, require=False).converged
    with pytest.raises(ConvergenceError, match="no plan was proved optimal"):
        sq_wasserstein2(uniform(rng.random((2, 2))), PointCloud(rng.random((2, 2)), np.array([0.3, 0.7])))


def test_what_failed_is_said(monkeypatch):
    """Marginals, potentials, certainty: each by its own name and digits, and not by those that are right."""
    cost, half = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.full(2, 0.5)
    zero = np.zeros(2)

    def said(plan):
        monkeypatch.setattr(programme, "_simplex", lambda cost, a, b, max_iter: (plan, zero, zero, False))
        with pytest.raises(ConvergenceError) as raised:
            transport_plan(cost, half, half)
        return str(raised.value)

    assert "duality gap of 1 of a cost of 1;" in said(np.eye(2) / 2)
    assert "marginal" not in said(np.eye(2) / 2)
    assert "marginal errors 0.5 (rows) and 0.5 (columns), wanted 7.11e-15;" in said(
        np.asarray([[0.0, 0.25], [0.25, 0.0]])
    )
    monkeypatch.setattr(programme, "ROUNDING", 1.0)  # potentials are not trusted
    monkeypatch.setattr(programme, "_missed", lambda *_: 0.125)
    assert "may cost 0.125 too much, wanted 5e-10" in str(
        programme._judged(
            cost + 1.0, half, half, np.eye(2)[::-1] / 2, zero + 1, zero, (zero, zero, cost + 0.5), False
        ).proof.fault
    )


def test_an_assignment_beside_dear_entries_is_anew(rng):
    """The control: by SciPy alone, at once, some of these are not the best of their cheap entries."""
    cost = rng.random((30, 30))
    shift = np.where(np.arange(30) < 15, 0.0, 1e17)
    dear = cost + np.abs(shift[:, None] - shift)
    perm = best_assignment(dear, float(np.max(dear)))
    for half in (slice(0, 15), slice(15, 30)):
        truth = scipy.optimize.linear_sum_assignment(cost[half, half])[1]
        np.testing.assert_array_equal(perm[half] - half.start, truth)


def test_stopping_early_does_not_warn_first(rng):
    even = np.full(40, 1 / 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceError, match="raise max_iter"):
            transport_plan(rng.random((40, 40)), even, even, max_iter=3)
