"""Metrics of populations: SciPy, POT, closed forms; what each of their names could mean and does not."""

import math

import mpmath
import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from refwfm._array import to_host
from refwfm.metrics.populations import GAMMAS, feature_correlation, sq_mmd, wasserstein1, wasserstein2

SEEDS = st.integers(0, 10_000)


def samples(seed=0, n=40, m=40, d=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 0.5 + 1.5 * rng.standard_normal((m, d))


# Wasserstein


@pytest.mark.parametrize("n", [1, 2, 40, 150])  # beyond 100 points potentials help
def test_equal_sizes_are_an_assignment(n):
    x, y = samples(n=n, m=n)
    for p, function in ((1, wasserstein1), (2, wasserstein2)):
        cost = cdist(x, y) ** p
        truth = cost[linear_sum_assignment(cost)].mean() ** (1 / p)
        assert float(function(x, y)) == pytest.approx(truth, rel=1e-13)
        if n > 2:  # neither pairs as they are, nor the other power
            assert abs(np.mean(np.diag(cost)) ** (1 / p) - truth) > 1e-3
    if n > 1:
        assert float(wasserstein2(x, y)) > 1.0001 * float(wasserstein1(x, y))


@pytest.mark.parametrize(("n", "m"), [(40, 25), (1, 7), (7, 1), (3, 5)])
def test_unequal_sizes_are_a_plan(n, m):
    x, y = samples(n=n, m=m)
    for p, function in ((1, wasserstein1), (2, wasserstein2)):
        truth = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cdist(x, y) ** p) ** (1 / p)
        assert float(function(x, y)) == pytest.approx(truth, rel=1e-12)


def test_on_the_line_by_sorting():
    x, y = samples(d=1)
    gap = np.sort(x[:, 0]) - np.sort(y[:, 0])
    assert float(wasserstein1(x, y)) == pytest.approx(np.mean(np.abs(gap)), rel=1e-13)
    assert float(wasserstein2(x, y)) == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-13)
    x, y = samples(n=30, m=17, d=1)
    assert float(wasserstein1(x, y)) == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), rel=1e-12)


@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
def test_identities(seed, n, m, d):
    x, y = samples(seed, n, m, d)
    one, two = float(wasserstein1(x, y)), float(wasserstein2(x, y))
    assert one <= two * (1 + 1e-12)
    assert one >= np.linalg.norm(x.mean(0) - y.mean(0)) * (1 - 1e-12)
    shift = np.random.default_rng(seed).standard_normal(d)
    for function in (wasserstein1, wasserstein2):
        assert float(function(x, x + shift)) == pytest.approx(np.linalg.norm(shift), rel=1e-9)
        assert float(function(x, x[::-1])) == 0.0


def test_batches_broadcast(library):
    x, y = np.random.default_rng(0).standard_normal((3, 1, 5, 2)), np.ones((2, 4, 2))
    for function in (wasserstein1, wasserstein2, sq_mmd):
        found = function(library.array(x), library.array(y))
        assert library.owns(found)
        truth = [[float(function(x[i, 0], y[j])) for j in range(2)] for i in range(3)]
        np.testing.assert_allclose(to_host(found), truth, rtol=100 * library.eps, atol=10 * library.eps)


def test_torch_is_told_that_there_is_no_derivative():
    torch = pytest.importorskip("torch")
    x = torch.ones((3, 2), dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="no derivative"):
        wasserstein2(x, 2.0 * x).backward()


# MMD


def mmd_of(x, y, gamma, *, diagonal=True):
    terms = []
    for a, b in ((x, x), (y, y), (x, y)):
        kernel = np.exp(-gamma * cdist(a, b, "sqeuclidean"))
        n = len(a)
        terms.append((kernel.sum() - n) / (n * (n - 1)) if a is b and not diagonal else kernel.mean())
    return terms[0] + terms[1] - 2 * terms[2]


def test_mmd_is_the_v_statistic_of_six_kernels(library):
    x, y = samples(n=30, m=20)
    truth = np.mean([mmd_of(x, y, gamma) for gamma in (2, 1, 0.5, 0.1, 0.01, 0.005)])
    found = float(sq_mmd(library.array(x), library.array(y)))
    allowed = 50 * library.eps
    assert abs(found - truth) < allowed
    unbiased = np.mean([mmd_of(x, y, gamma, diagonal=False) for gamma in GAMMAS])
    for wrong in (math.sqrt(truth), unbiased, mmd_of(x, y, 1.0), 6 * truth):
        assert abs(wrong - truth) > 100 * allowed


def test_mmd_of_two_points_to_fifty_digits():
    with mpmath.workdps(50):
        truth = sum(2 - 2 * mpmath.exp(-mpmath.mpf(g) * 25) for g in GAMMAS) / 6
    assert float(sq_mmd(np.zeros((1, 2)), np.asarray([[3.0, 4.0]]))) == pytest.approx(float(truth), rel=1e-15)


@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_mmd_is_a_squared_metric(seed, n, m):
    x, y = samples(seed, n, m)
    z = np.random.default_rng(seed).uniform(-2, 2, (5, 3))
    assert float(sq_mmd(x, x.copy())) == 0.0
    roots = [math.sqrt(float(sq_mmd(*pair))) for pair in ((x, y), (x, z), (z, y))]
    assert roots[0] <= roots[1] + roots[2] + 1e-12
    assert 0.0 <= roots[0] <= math.sqrt(2.0)


def test_blocks_change_nothing(monkeypatch):
    from refwfm.metrics import populations

    x, y = samples(n=70, m=60)
    whole = float(sq_mmd(x, y))
    monkeypatch.setattr(populations, "BLOCK", 200)
    assert float(sq_mmd(x, y)) == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize("gammas", [(), (1.0, 0.0), (-1.0,), (math.nan,), (math.inf,)])
def test_kernels_are_checked(gammas):
    with pytest.raises(ValueError, match="gammas must be positive"):
        sq_mmd(*samples(), gammas=gammas)


# Correlations


def correlation_of(x, y, live):
    above = np.triu_indices(len(live), 1)
    first, second = (np.corrcoef(z[:, live].T)[above] for z in (x, y))
    return np.corrcoef(first, second)[0, 1]


@pytest.mark.parametrize("constant", [(), (1,), (0, 4)])
def test_correlation_leaves_out_what_is_constant(library, constant):
    x, y = samples(d=6)
    x, y = x @ np.triu(np.ones((6, 6))), y @ np.triu(np.ones((6, 6)))
    for k, value in zip(constant, (0.1, -3.0), strict=False):
        (x, y)[k % 2][:, k] = value
    x, y = (z.astype(library.dtype) for z in (x, y))
    found = float(feature_correlation(library.array(x), library.array(y)))
    live = [k for k in range(6) if k not in constant]
    truth = correlation_of(x.astype(float), y.astype(float), live)
    assert found == pytest.approx(truth, abs=1e3 * library.eps)
    assert abs(found - truth**2) > 1e-3  # the published name


def test_correlation_may_be_negative():
    """Which a square is not."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((400, 4))
    x = base @ np.asarray([[1, 0.9, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    y = base @ np.asarray([[1, -0.9, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    assert float(feature_correlation(x, y)) < -0.9


@given(SEEDS)
def test_correlation_has_no_unit(seed):
    x, y = samples(seed, 20, 15, 5)
    found = float(feature_correlation(x, y))
    assert -1 - 1e-12 <= found <= 1 + 1e-12
    scale, shift = np.asarray([1e-150, 1e150, 2.0, 1e-3, 7.0]), np.asarray([0.0, 0.0, 5.0, 1.0, -2.0])
    assert float(feature_correlation(x * scale + shift * scale, y * scale)) == pytest.approx(found, abs=1e-9)
    assert float(feature_correlation(x, x.copy())) == pytest.approx(1.0, abs=1e-12)


def test_where_there_is_no_correlation_it_is_nan(library):
    x, y = samples(d=3)
    for few in (x[:, :2], x[:, :1], x * np.asarray([1.0, 1.0, 0.0])):
        assert math.isnan(
            float(feature_correlation(*(library.array(z) for z in (few, y[:, : few.shape[1]]))))
        )
    alike = x[:, :1] * np.asarray([1.0, 2.0, 3.0])  # all correlations are 1
    assert math.isnan(float(feature_correlation(library.array(alike), library.array(y))))
    batch = np.stack([x, alike])  # the other member has its own
    found = to_host(feature_correlation(library.array(batch), library.array(y)))
    assert np.isnan(found).tolist() == [False, True]
    x[3, 1] = np.nan
    assert math.isnan(float(feature_correlation(library.array(x), library.array(y))))


# Arguments


@pytest.mark.parametrize("function", [wasserstein1, wasserstein2, sq_mmd, feature_correlation])
def test_arguments(function):
    x, y = samples()
    with pytest.raises(ValueError, match="x is in dimension 3, but y in dimension 2"):
        function(x, y[:, :2])
    for bad in (x[0], x[:0], x[:, :0]):
        with pytest.raises(ValueError, match="x must have shape"):
            function(bad, y)
    with pytest.raises(TypeError, match="y must be an array"):
        function(x, y.tolist())
    with pytest.raises(TypeError, match="float32 or float64"):
        function(x.astype(int), y.astype(int))


def test_what_is_not_finite_is_refused_or_stays():
    x, y = samples()
    x[0, 0] = np.nan
    for function in (wasserstein1, wasserstein2):
        with pytest.raises(ValueError, match="finite"):
            function(x, y)
    assert math.isnan(float(sq_mmd(x, y)))
