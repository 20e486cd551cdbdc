"""Exact transport: against the linear programme, POT's own value, closed forms and enumeration."""

import itertools
import warnings

import numpy as np
import oracles
import pytest
import scipy.optimize
import strategies
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st

from refwfm import bures
from refwfm._array import to_host
from refwfm.clouds import moments, pad, uniform
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport import _parallel
from refwfm.transport.exact import assignment, sq_wasserstein2, transport_plan


def linear_programme(cost, a, b):
    """Least total cost, by HiGHS."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    found = scipy.optimize.linprog(
        cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.concatenate([a, b])
    )
    return found.fun


def sq_costs(x, y):
    return np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1)


def random_cloud(rng, n, d):
    return PointCloud(rng.standard_normal((n, d)), rng.dirichlet(np.full(n, 2.0)))


def with_padding(cloud, size, value=np.nan):
    more = size - len(cloud.weights)
    return PointCloud(
        np.pad(cloud.points, ((0, more), (0, 0)), constant_values=value), np.pad(cloud.weights, (0, more))
    )


# Assignments in batches


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), strategies.seeds)
def test_padding_is_never_assigned_to_live_points(counts, seed):
    rng, n = np.random.default_rng(seed), 5
    weights = np.stack([np.where(np.arange(n) < k, 1.0 / k, 0.0) for k in counts])
    cost = rng.standard_normal((len(counts), n, n))
    for i, k in enumerate(counts):
        cost[i, k:], cost[i, :, k:] = np.nan, -np.inf
    perms = assignment(cost, weights, weights)
    for i, k in enumerate(counts):
        best = min(
            sum(cost[i, r, c] for r, c in enumerate(perm)) for perm in itertools.permutations(range(k))
        )
        assert cost[i, np.arange(k), perms[i, :k]].sum() == pytest.approx(best, abs=1e-12)
        np.testing.assert_array_equal(perms[i, k:], np.arange(k, n))


def test_without_weights_padding_would_be_assigned():
    """The control: at the padding's zero cost, live points prefer it."""
    cost, weights = np.array([[5.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0])
    np.testing.assert_array_equal(assignment(cost), [1, 0])
    np.testing.assert_array_equal(assignment(cost, weights, weights), [0, 1])


def test_padding_may_stand_anywhere():
    a, b = np.array([0.0, 0.5, 0.5]), np.array([0.5, 0.5, 0.0])
    np.testing.assert_array_equal(assignment(np.arange(9.0).reshape(3, 3) % 4, a, b)[0], 2)


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_a_pool_changes_nothing(rng, monkeypatch, n_jobs):
    monkeypatch.setattr(_parallel, "WORTH_A_POOL", 0)
    x, y = rng.standard_normal((2, 8, 20, 2))
    cost = sq_costs(x, y).reshape(2, 4, 20, 20)
    perms = assignment(cost, n_jobs=n_jobs)
    assert perms.shape == (2, 4, 20)
    for index in np.ndindex(2, 4):
        np.testing.assert_array_equal(perms[index], scipy.optimize.linear_sum_assignment(cost[index])[1])


def test_the_pool_of_the_caller_is_used(rng, monkeypatch):
    import joblib

    monkeypatch.setattr(_parallel, "WORTH_A_POOL", 0)
    used = []
    real = joblib.Parallel.__call__
    monkeypatch.setattr(
        joblib.Parallel,
        "__call__",
        lambda self, tasks: used.append(type(self._backend).__name__) or real(self, tasks),
    )
    cost = rng.random((4, 20, 20))
    expected = assignment(cost)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        np.testing.assert_array_equal(assignment(cost, n_jobs=2), expected)
    assert used == ["ThreadingBackend", "LokyBackend"]


def test_assignments_on_every_library(library, rng):
    for batch in library.batches:
        cost = rng.standard_normal((*batch, 4, 4))
        perm = assignment(library.array(cost))
        assert type(perm) is np.ndarray
        assert perm.shape == (*batch, 4)
        np.testing.assert_array_equal(perm, assignment(cost))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], "equally many"),
        ([0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], "a is not uniform"),
        ([1 / 3, 1 / 3, 1 / 3], [0.3, 0.3, 0.3], "b must be non-negative with mass 1"),
        ([0.5, 0.5, np.nan], [0.5, 0.5, 0.0], "a is not uniform"),
        ([0.5, -0.5, 1.0], [0.5, 0.5, 0.0], "a is not uniform"),
        ([1.0], [1.0], r"a must have shape \(..., 3\)"),
        (None, [1 / 3, 1 / 3, 1 / 3], "both a and b"),
    ],
)
def test_assignments_refuse_weights(a, b, message):
    with pytest.raises(ValueError, match=message):
        assignment(np.zeros((3, 3)), a if a is None else np.array(a), np.array(b))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_costs_must_be_finite_between_live_points(value):
    """POT's solver returns a plausible plan, or 0, for these."""
    cost, half = np.zeros((2, 3, 3)), np.array([0.5, 0.5, 0.0])
    cost[1, 0, 1] = value
    for solve in (assignment, lambda c: assignment(c, half, half), lambda c: transport_plan(c, half, half)):
        with pytest.raises(ValueError, match="finite"):
            solve(cost)


# Plans


@given(st.integers(1, 6), st.integers(1, 6), strategies.seeds)
def test_plan_solves_the_linear_programme(n, m, seed):
    rng = np.random.default_rng(seed)
    cost, a, b = rng.standard_normal((n, m)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    found = transport_plan(cost, a, b)
    assert found.cost == pytest.approx(linear_programme(cost, a, b), abs=1e-9)
    assert found.cost == pytest.approx(np.sum(found.plan * cost), abs=1e-15)
    np.testing.assert_allclose(found.plan.sum(axis=1), a, atol=1e-15)
    np.testing.assert_allclose(found.plan.sum(axis=0), b, atol=1e-15)
    assert np.all(found.plan >= 0)
    assert np.count_nonzero(found.plan) <= n + m - 1
    assert np.all(found.f[:, None] + found.g <= cost + 1e-12)
    assert abs(found.gap) < 1e-12
    assert found.converged


@given(st.integers(2, 5), strategies.seeds)
def test_the_control_of_the_linear_programme(n, seed):
    """The product plan, and the largest cost, are told from the optimum."""
    rng = np.random.default_rng(seed)
    cost, a, b = rng.standard_normal((n, n)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))
    best = linear_programme(cost, a, b)
    assert a @ cost @ b > best + 1e-9
    assert -transport_plan(-cost, a, b).cost > best + 1e-9


@given(st.integers(1, 5), st.integers(1, 5), strategies.seeds)
def test_padding_and_split_atoms_do_not_matter(n, m, seed):
    rng = np.random.default_rng(seed)
    cost, a, b = rng.random((n, m)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    plain = transport_plan(cost, a, b)
    wide = np.full((n + 2, m + 1), np.nan)
    wide[:n, :m] = cost
    wide[n, 0] = -np.inf
    padded = transport_plan(wide, np.pad(a, (0, 2)), np.pad(b, (0, 1)))
    np.testing.assert_array_equal(padded.plan, np.pad(plain.plan, ((0, 2), (0, 1))))
    assert padded.cost == pytest.approx(plain.cost, abs=1e-15)
    assert np.all(np.isfinite(padded.f))
    assert np.all(np.isfinite(padded.g))
    split = transport_plan(np.concatenate([cost, cost[:1]]), np.r_[0.25 * a[0], a[1:], 0.75 * a[0]], b)
    assert split.cost == pytest.approx(plain.cost, abs=1e-14)


def test_plans_on_every_library(library, rng):
    for batch in library.batches:
        cost = rng.random((*batch, 3, 4))
        a, b = rng.dirichlet(np.ones(3), batch), rng.dirichlet(np.ones(4), batch)
        library.check(lambda *args: transport_plan(*args)[:2], cost, a, b, ulps=4)
        found = transport_plan(*library.arrays((cost, a, b)))
        for part, shape in zip(found[:-1], ((3, 4), (), (3,), (4,), (), (), ()), strict=True):
            assert library.owns(part)
            assert tuple(part.shape) == (*batch, *shape)
        assert array_namespace(found.converged) is array_namespace(found.plan)
        assert np.all(to_host(found.converged))


def test_leading_axes_of_plans_broadcast(rng):
    cost, a, b = rng.random((2, 1, 3, 4)), rng.dirichlet(np.ones(3), 5), rng.dirichlet(np.ones(4))
    found = transport_plan(cost, a, b)
    assert found.plan.shape == (2, 5, 3, 4)
    assert found.cost[1, 3] == transport_plan(cost[1, 0], a[3], b).cost


@pytest.mark.filterwarnings("ignore:numItermax reached")
def test_a_solver_that_stopped_early_is_found_out(rng):
    cost, a = rng.random((40, 40)), np.full(40, 1 / 40)
    with pytest.raises(ConvergenceError, match="stopped before the optimum"):
        transport_plan(cost, a, a, max_iter=3)
    found = transport_plan(cost, a, a, max_iter=3, require=False)
    assert not found.converged
    assert found.gap > 1e-3 or found.row_error > 1e-3


@pytest.mark.parametrize(
    ("cost", "a", "b", "error", "message"),
    [
        (np.zeros((2, 2)), [0.5, 0.4], [0.5, 0.5], ValueError, "a must be non-negative with mass 1"),
        (np.zeros((2, 2)), [0.5, 0.5], [1.0, 1.0], ValueError, "b must be non-negative with mass 1"),
        (np.zeros((2, 2)), [1.5, -0.5], [0.5, 0.5], ValueError, "a must be non-negative"),
        (np.zeros((2, 2)), [0.5, 0.5], [np.nan, 0.5], ValueError, "b must be non-negative"),
        (np.zeros((2, 2)), [1.0], [0.5, 0.5], ValueError, r"\(2, 2\), \(1,\) and \(2,\)"),
        (np.zeros((2, 0)), [0.5, 0.5], [], ValueError, "n, m >= 1"),
        (np.zeros(2), [0.5, 0.5], [1.0], ValueError, "must have shapes"),
        (
            np.zeros((2, 2), np.float32),
            [0.5, 0.5],
            [0.5, 0.5],
            TypeError,
            "cost float32, a float64, b float64",
        ),
        (np.zeros((3, 2, 2)), [[0.5, 0.5]] * 2, [0.5, 0.5], ValueError, "must broadcast"),
    ],
)
def test_plans_refuse(cost, a, b, error, message):
    with pytest.raises(error, match=message):
        transport_plan(cost, np.array(a), np.array(b))


# Distance


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), strategies.seeds)
def test_distance_is_the_linear_programmes(n, m, d, seed):
    rng = np.random.default_rng(seed)
    x, y = random_cloud(rng, n, d), random_cloud(rng, m, d)
    truth = linear_programme(sq_costs(x.points, y.points), x.weights, y.weights)
    assert float(sq_wasserstein2(x, y)) == pytest.approx(truth, abs=1e-9)
    assert float(sq_wasserstein2(with_padding(x, 6), with_padding(y, 7))) == pytest.approx(truth, abs=1e-9)


@given(st.integers(1, 6), st.integers(1, 3), strategies.seeds)
def test_distance_of_clouds_alike_is_the_best_of_all_permutations(n, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, d))
    cost = sq_costs(x, y)
    best = min(np.mean(cost[range(n), perm]) for perm in itertools.permutations(range(n)))
    assert float(sq_wasserstein2(uniform(x), uniform(y))) == pytest.approx(best, abs=1e-12)


def test_distance_of_an_affine_image_is_that_of_the_moments(rng):
    """The matching is the identity; with ddof = 1 the moments would give more (caveat C1)."""
    x, a = rng.standard_normal((40, 3)), rng.standard_normal(3)
    y = 1.0 + (x - a) @ oracles.random_cov(rng, 3)
    truth = float(sq_wasserstein2(uniform(x), uniform(y)))
    assert truth == pytest.approx(np.mean(np.sum((x - y) ** 2, axis=1)), rel=1e-12)
    assert truth == pytest.approx(float(bures.sq_distance(moments(x), moments(y))), rel=1e-11)
    larger = [moments(cloud)._replace(cov=np.cov(cloud.T)) for cloud in (x, y)]
    assert float(bures.sq_distance(*larger)) > truth * (1 + 1e-3)


@given(strategies.seeds)
def test_distance_is_a_metric_and_splits_off_the_means(seed):
    rng = np.random.default_rng(seed)
    x, y, z = (random_cloud(rng, n, 2) for n in (3, 4, 5))
    root = {
        names: float(sq_wasserstein2(*pair)) ** 0.5
        for names, pair in {"xy": (x, y), "yx": (y, x), "yz": (y, z), "xz": (x, z)}.items()
    }
    assert root["xy"] == pytest.approx(root["yx"], rel=1e-10)
    assert root["xz"] <= root["xy"] + root["yz"] + 1e-12
    assert float(sq_wasserstein2(x, x)) <= 1e-28
    centred = [c._replace(points=c.points - c.weights @ c.points) for c in (x, y)]
    gap = np.sum((x.weights @ x.points - y.weights @ y.points) ** 2)
    assert root["xy"] ** 2 == pytest.approx(gap + float(sq_wasserstein2(*centred)), rel=1e-10)
    assert root["xy"] ** 2 >= float(bures.sq_distance(moments(*x), moments(*y))) - 1e-12


def test_distances_on_every_library(library, rng):
    for batch in library.batches:
        for d, m in ((1, 4), (2, 4), (2, 3)):
            x, y = (uniform(rng.standard_normal((*batch, n, d))) for n in (4, m))
            library.check(sq_wasserstein2, x, y, ulps=30)


def test_batches_of_any_sizes(rng):
    clouds = [rng.standard_normal((n, 2)) for n in (1, 4, 3)]
    x, y = pad(clouds), pad(clouds[::-1], size=6)
    found = sq_wasserstein2(x, y)
    for i, (p, q) in enumerate(zip(clouds, clouds[::-1], strict=True)):
        assert found[i] == pytest.approx(float(sq_wasserstein2(uniform(p), uniform(q))), rel=1e-12)
    assert sq_wasserstein2(x, PointCloud(y.points[0], y.weights[0])).shape == (3,)


def test_nothing_warns_and_bad_clouds_are_refused(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sq_wasserstein2(random_cloud(rng, 3, 2), random_cloud(rng, 5, 2))
    with pytest.raises(ValueError, match="finite"):
        sq_wasserstein2(uniform(np.full((2, 2), np.nan)), uniform(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="d = 2 and 3"):
        sq_wasserstein2(uniform(np.zeros((2, 2))), uniform(np.zeros((2, 3))))


@given(strategies.seeds)
def test_negative_costs_are_solved_too(seed):
    """The plan for costs moved by a constant is the same; POT's simplex alone fails for many."""
    rng = np.random.default_rng(seed)
    cost, a, b = rng.standard_normal((3, 2)), rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(2))
    negative = transport_plan(cost - 10.0, a, b)
    assert bool(negative.converged)
    np.testing.assert_allclose(negative.cost, transport_plan(cost, a, b).cost - 10.0, atol=1e-12)
