"""Entropic transport against POT, closed forms and quadrature; its edge cases and its properties."""

import math
import warnings

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative

from refwfm._array import to_host
from refwfm.clouds import pad, uniform
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport.sinkhorn import (
    CHECK_EVERY,
    dual_value,
    log_plan,
    plan,
    sinkhorn,
    softmin,
    sq_euclidean_cost,
    transport_cost,
)

TIGHT = {"tol": 1e-12, "max_iter": 100_000}


def cloud(rng, n, d=3, shift=0.0):
    return PointCloud(rng.normal(size=(n, d)) + shift, rng.dirichlet(np.full(n, 5.0)))


def problem(rng, n=12, m=15, d=3):
    x, y = cloud(rng, n, d), cloud(rng, m, d, 0.5)
    return sq_euclidean_cost(x.points, y.points), x.weights, y.weights


def entropic_cost(K, a, b, P, eps):
    """``⟨K, P⟩ + eps KL(P | a ⊗ b)`` as it is written."""
    return np.sum(P * K) + eps * np.sum(P * np.log(P / np.outer(a, b)))


@pytest.fixture
def ot():
    return pytest.importorskip("ot")


# Cost


def test_cost_is_the_squared_distance(rng):
    x, y = rng.normal(size=(2, 1, 5, 3)), rng.normal(size=(4, 7, 3))
    truth = np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1)
    assert relative(sq_euclidean_cost(x, y), truth) < 10 * EPS
    assert relative(0.5 * truth, truth) > 0.1  # negative control


def test_cost_of_far_clouds_keeps_its_digits(rng):
    """Offset 1000 in float32, where the plain expansion has an error of 1, and negative values."""
    x, y = (1000.0 + 0.01 * rng.normal(size=(20, 3)) for _ in range(2))
    x, y = x.astype(np.float32), y.astype(np.float32)
    truth = np.sum((x[:, None].astype(float) - y) ** 2, axis=-1)
    assert relative(sq_euclidean_cost(x, y), truth) < 1e-5
    assert np.min(sq_euclidean_cost(x, x)) >= 0
    expanded = np.sum(x**2, axis=-1)[:, None] + np.sum(y**2, axis=-1) - 2 * x @ y.T
    assert relative(expanded, truth) > 1  # negative control


def test_a_bad_point_spoils_its_own_row_only(rng):
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    truth = sq_euclidean_cost(x, y)
    x[1], bad = np.nan, np.arange(4) == 1
    result = sq_euclidean_cost(x, y)
    assert np.isnan(result[bad]).all()
    np.testing.assert_allclose(result[~bad], truth[~bad], rtol=1e-13)
    with pytest.raises(ValueError, match=r"x and y must have shapes .*; got \(4, 2\) and \(3, 3\)"):
        sq_euclidean_cost(x, np.zeros((3, 3)))


# Plans and values


@pytest.mark.parametrize("eps", [0.02, 0.3, 5.0])
def test_plan_value_and_potentials_are_pots(ot, rng, eps):
    K, a, b = problem(rng)
    ours = sinkhorn(K, a, b, eps=eps, **TIGHT)
    options = {"stopThr": 1e-13, "numItermax": 100_000, "log": True}
    P, log = ot.sinkhorn(a, b, K, eps, method="sinkhorn_log", **options)
    np.testing.assert_allclose(plan(K, a, b, ours), P, atol=1e-9)
    assert transport_cost(K, a, b, ours) == pytest.approx(np.sum(P * K), abs=1e-8)
    # POT's potentials contain eps log of the weights
    for mine, theirs, weights in ((ours.f, log["log_u"], a), (ours.g, log["log_v"], b)):
        gap = mine + eps * np.log(weights) - eps * theirs
        np.testing.assert_allclose(gap, gap[0], atol=1e-6)
        assert np.ptp(mine - eps * theirs) > 1e-3  # negative control: without them


def test_duality(rng):
    K, a, b = problem(rng)
    ours = sinkhorn(K, a, b, eps=0.2, **TIGHT)
    P = plan(K, a, b, ours)
    primal = entropic_cost(K, a, b, P, 0.2)
    assert dual_value(K, a, b, ours) == pytest.approx(primal, rel=1e-10)
    np.testing.assert_allclose(np.exp(log_plan(K, a, b, ours)), P)
    early = sinkhorn(K, a, b, eps=0.2, tol=None, max_iter=2)
    assert dual_value(K, a, b, early) < primal - 1e-6
    moved = ours._replace(f=ours.f + 0.1)  # more mass than there is: still a bound from below
    assert dual_value(K, a, b, moved) < primal
    assert np.sum(moved.f * a) + np.sum(moved.g * b) > primal  # negative control: without Σ P - 1


def test_plan_minimises(rng):
    """A direct minimisation over the two free entries of a 2 × 3 plan."""
    K, a, b, eps = rng.uniform(size=(2, 3)), np.array([0.4, 0.6]), np.array([0.2, 0.3, 0.5]), 0.1

    def full(free):
        row = np.array([*free, a[0] - np.sum(free)])
        return np.stack([row, b - row])

    def value(free):
        P = full(free)
        return np.sum(P * K) + eps * np.sum(P * (np.log(P) - 1)) if np.all(P > 0) else np.inf

    options = {"xatol": 1e-10, "fatol": 1e-16, "maxiter": 2000}
    found = scipy.optimize.minimize(value, (a[0] * b)[:2], method="Nelder-Mead", options=options)
    P = plan(K, a, b, sinkhorn(K, a, b, eps=eps, **TIGHT))
    np.testing.assert_allclose(P, full(found.x), atol=1e-6)
    other = plan(K, a, b, sinkhorn(K, a, b, eps=0.5 * eps, **TIGHT))
    assert np.max(np.abs(other - full(found.x))) > 1e-4  # negative control


@pytest.mark.parametrize("eps", [0.05, 0.5, math.inf])
def test_two_atoms_each(eps):
    """``P₁₁ = 1 / (2 (1 + exp(Δ / (2 eps))))``, ``Δ = K₁₁ + K₂₂ - K₁₂ - K₂₁``."""
    K, half = np.array([[0.3, 0.5], [0.1, 0.25]]), np.full(2, 0.5)
    P = plan(K, half, half, sinkhorn(K, half, half, eps=eps, **TIGHT))
    truth = 0.5 / (1 + np.exp((K[0, 0] + K[1, 1] - K[0, 1] - K[1, 0]) / (2 * eps)))
    assert P[0, 0] == pytest.approx(truth, abs=1e-12)


def test_gaussians_in_closed_form():
    """A quadrature of two normal laws in one dimension: plan, cost and dual value of the entropic problem."""
    m0, v0, m1, v1, eps = 0.3, 0.5, -0.4, 1.4, 0.6
    grid = np.linspace(-11, 11, 401)
    a, b = (np.exp(-((grid - m) ** 2) / (2 * v)) for m, v in ((m0, v0), (m1, v1)))
    a, b = a / a.sum(), b / b.sum()
    K = sq_euclidean_cost(grid[:, None], grid[:, None])
    ours = sinkhorn(K, a, b, eps=eps, **TIGHT)
    P, s = plan(K, a, b, ours), eps / 2
    D = math.sqrt(4 * v0 * v1 + s * s)
    covariance = (D - s) / 2
    assert (grid - m0) @ P @ (grid - m1) == pytest.approx(covariance, rel=1e-9)
    cost = (m0 - m1) ** 2 + v0 + v1 - 2 * covariance
    assert transport_cost(K, a, b, ours) == pytest.approx(cost, rel=1e-9)
    kl = -0.5 * math.log(1 - covariance**2 / (v0 * v1))
    assert dual_value(K, a, b, ours) == pytest.approx(cost + eps * kl, rel=1e-9)
    unregularised = (m0 - m1) ** 2 + (v0**0.5 - v1**0.5) ** 2
    assert abs(cost - unregularised) > 0.1  # negative control


def test_small_eps_tends_to_the_exact_plan(rng):
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 2))
    K, u = sq_euclidean_cost(x, y), np.full(8, 0.125)
    rows, perm = scipy.optimize.linear_sum_assignment(K)
    exact, errors = K[rows, perm].mean(), []
    f = None
    for eps in (1.0, 0.1, 0.02, 0.005):  # annealed: each starts where the last one ended
        ours = sinkhorn(K, u, u, eps=eps, tol=1e-6, max_iter=100_000, f_init=f)
        f = ours.f
        errors.append(float(transport_cost(K, u, u, ours)) - exact)
    assert errors == sorted(errors, reverse=True)
    assert abs(errors[-1]) < 1e-5
    assert errors[0] > 1e-2
    assert plan(K, u, u, ours)[rows, perm] == pytest.approx(u, abs=1e-4)


def test_infinite_eps_gives_the_product(rng):
    K, a, b = problem(rng)
    for eps in (math.inf, 1e9):
        ours = sinkhorn(K, a, b, eps=eps)
        np.testing.assert_allclose(plan(K, a, b, ours), np.outer(a, b), rtol=1e-7)
        assert dual_value(K, a, b, ours) == pytest.approx(a @ K @ b, rel=1e-7)
        assert ours.n_iter == 1


def test_huge_eps_is_continuous(rng):
    """Where the logarithm gives way to its limit the potentials have half of their digits at least."""
    K, a, b = problem(rng)
    for dtype in (np.float32, np.float64):
        arrays = [v.astype(dtype) for v in (K, a, b)]
        for eps in np.logspace(1, 12, 23):
            ours = sinkhorn(*arrays, eps=float(eps), tol=None, max_iter=5)
            truth = a @ K @ b - np.var(K) / eps  # an upper bound of the entropic term's size
            allowed = np.var(K) / eps + 10 * np.finfo(dtype).eps ** 0.5 * np.max(K)
            assert abs(float(dual_value(*arrays, ours)) - truth) < 2 * allowed


# What eps is relative to


@pytest.mark.parametrize("scale", ["max", "mean", "median", 3.0])
def test_eps_is_relative_to_the_cost(rng, scale):
    K, a, b = problem(rng, 5, 6)
    truth = {"max": np.max(K), "mean": np.mean(K), "median": np.median(K), 3.0: 3.0}[scale]
    ours = sinkhorn(K, a, b, eps=0.1, scale_cost=scale)
    assert ours.eps == pytest.approx(0.1 * truth, rel=1e-14)
    by_hand = sinkhorn(K / truth, a, b, eps=0.1)
    np.testing.assert_allclose(plan(K, a, b, ours), plan(K / truth, a, b, by_hand), atol=1e-9)
    assert relative(plan(K, a, b, sinkhorn(K, a, b, eps=0.1)), plan(K, a, b, ours)) > 0.01


@pytest.mark.parametrize("scale", ["max", "mean", "median"])
def test_padding_does_not_count_in_the_scale(rng, scale):
    K, a, b = problem(rng, 5, 6)
    wide = np.full((9, 7), 1e6)
    wide[:5, :6] = K
    more = sinkhorn(wide, np.append(a, np.zeros(4)), np.append(b, 0.0), eps=0.1, scale_cost=scale)
    assert more.eps == pytest.approx(float(sinkhorn(K, a, b, eps=0.1, scale_cost=scale).eps), rel=1e-14)


def test_any_eps_will_do_for_a_cost_of_zeros():
    for scale in ("max", "mean", "median"):
        ours = sinkhorn(np.zeros((2, 3)), np.full(2, 0.5), np.full(3, 1 / 3), eps=0.1, scale_cost=scale)
        assert ours.eps == 0.1
        assert ours.converged


def test_eps_for_each_pair(rng):
    K, a, b = problem(rng)
    both = sinkhorn(np.stack([K, K]), a, b, eps=np.array([0.3, 3.0]))
    for i, eps in enumerate((0.3, 3.0)):
        alone = sinkhorn(K, a, b, eps=eps, tol=None, max_iter=both.n_iter)
        np.testing.assert_allclose(both.f[i], alone.f, rtol=1e-12)


# Hard cases


@pytest.mark.parametrize("eps", [1e-4, 1e-3, 1e-2, 1.0, 1e4, 1e30, math.inf])
def test_float32_neither_overflows_nor_underflows(rng, eps):
    K, a, b = (v.astype(np.float32) for v in problem(rng, 40, 50))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        ours = sinkhorn(K, a, b, eps=eps, scale_cost="max", tol=None, max_iter=200)
        P = plan(K, a, b, ours)
    assert P.dtype == ours.f.dtype == np.float32
    assert np.isfinite(P).all()
    assert ours.row_error < 1e-3
    assert np.isfinite([transport_cost(K, a, b, ours), dual_value(K, a, b, ours)]).all()
    wide = sinkhorn(*(v.astype(float) for v in (K, a, b)), eps=eps, scale_cost="max", tol=None, max_iter=200)
    assert np.abs(P - plan(*(v.astype(float) for v in (K, a, b)), wide)).sum() < 1e-3


def test_single_atoms(rng):
    K, a, _ = problem(rng, 12, 1)
    for arrays in ((K, a, np.ones(1)), (K.T, np.ones(1), a), (K[:1], np.ones(1), np.ones(1))):
        ours = sinkhorn(*arrays, eps=1e-3)
        assert ours.n_iter == 1
        assert ours.converged
        np.testing.assert_allclose(plan(*arrays, ours), np.outer(arrays[1], arrays[2]), rtol=1e-10)
        assert transport_cost(*arrays, ours) == pytest.approx(arrays[1] @ arrays[0] @ arrays[2])


def test_padding_has_no_influence(rng):
    K, a, b = problem(rng)
    alone = sinkhorn(K, a, b, eps=0.1, scale_cost="max")
    for content in (0.0, 1e3, np.nan, np.inf):
        wide = np.full((15, 17), content)
        wide[:12, :15] = K
        arrays = wide, np.append(a, np.zeros(3)), np.append(b, np.zeros(2))
        start = np.append(np.zeros(12), [content] * 3)
        padded = sinkhorn(*arrays, eps=0.1, scale_cost="max", f_init=start)
        np.testing.assert_allclose(padded.f[:12], alone.f, rtol=1e-11)
        np.testing.assert_allclose(padded.g[:15], alone.g, rtol=1e-11)
        assert np.isfinite(padded.f).all()
        assert np.isfinite(padded.g).all()
        P = plan(*arrays, padded)
        np.testing.assert_allclose(P[:12, :15], plan(K, a, b, alone), rtol=1e-10)
        assert not P[12:].any()
        assert not P[:, 15:].any()
        for value in (transport_cost, dual_value):
            assert value(*arrays, padded) == pytest.approx(value(K, a, b, alone), rel=1e-11)


def test_clouds_of_unequal_sizes_in_one_batch(rng):
    xs, ys = ([rng.normal(size=(n, 2)) for n in counts] for counts in ((1, 4, 9), (7, 2, 3)))
    x, y = pad(xs), pad(ys)
    fixed = {"eps": 0.3, "tol": None, "max_iter": 20}
    batch = sinkhorn(sq_euclidean_cost(*(c.points for c in (x, y))), x.weights, y.weights, **fixed)
    for i, pair in enumerate(zip(xs, ys, strict=True)):
        K, a, b = sq_euclidean_cost(*pair), *(uniform(p).weights for p in pair)
        alone = sinkhorn(K, a, b, **fixed)
        np.testing.assert_allclose(batch.f[i, : len(a)], alone.f, atol=1e-12)


# Evidence


def test_evidence_is_the_truth(rng):
    K, a, b = problem(rng)
    ours = sinkhorn(K, a, b, eps=0.02, tol=1e-4)
    P = plan(K, a, b, ours)
    assert ours.row_error == pytest.approx(np.sum(np.abs(P.sum(1) - a)), abs=1e-12)
    assert ours.col_error == pytest.approx(np.sum(np.abs(P.sum(0) - b)), abs=1e-12)
    assert ours.converged
    assert ours.n_iter % CHECK_EVERY == 1
    fewer = sinkhorn(K, a, b, eps=0.02, tol=1e-4, max_iter=ours.n_iter - CHECK_EVERY, require=False)
    assert not fewer.converged
    assert fewer.col_error > 1e-4


def test_small_eps_with_few_iterations_does_not_pass(ot, rng):
    """POT returns a plan with a wrong marginal and a cost far off; here it raises, or says so."""
    K, a, b = problem(rng, 50, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        P = ot.sinkhorn(a, b, K, 1e-3, method="sinkhorn_log", numItermax=10)
    assert np.sum(np.abs(P.sum(1) - a)) + np.sum(np.abs(P.sum(0) - b)) > 0.1
    with pytest.raises(ConvergenceError, match=r"no convergence in 10 iterations: .* try more max_iter"):
        sinkhorn(K, a, b, eps=1e-3, max_iter=10)
    told = sinkhorn(K, a, b, eps=1e-3, max_iter=10, require=False)
    assert not told.converged
    assert told.col_error > 0.1


def test_a_fixed_number_of_iterations_asks_for_nothing_and_hides_nothing(rng):
    K, a, b = problem(rng)
    for n_iter in (1, 5, 40):
        ours = sinkhorn(K, a, b, eps=0.01, tol=None, max_iter=n_iter)
        assert ours.n_iter == n_iter
        assert ours.converged == (ours.col_error <= 1e-3)
    f, g = np.zeros(12), None
    for _ in range(5):  # the update as it is written
        g = -0.01 * np.log(np.sum(a[:, None] * np.exp((f[:, None] - K) / 0.01), axis=0))
        f = -0.01 * np.log(np.sum(b * np.exp((g - K) / 0.01), axis=1))
    ours = sinkhorn(K, a, b, eps=0.01, tol=None, max_iter=5)
    np.testing.assert_allclose(ours.f, f, rtol=1e-10)
    np.testing.assert_allclose(ours.g, g, rtol=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_cost_that_is_not_finite_is_refused(rng, bad):
    """POT's exact solver returns a perfect-looking plan or 0.0 here."""
    K, a, b = problem(rng)
    K[3, 4] = bad
    with pytest.raises(ValueError, match="cost must be finite where both weights are positive"):
        sinkhorn(K, a, b, eps=0.1)
    with np.errstate(all="ignore"):
        told = sinkhorn(K, a, b, eps=0.1, validate=False, require=False, max_iter=20)
        if bad != np.inf:  # an infinite cost is a cell that may not be used, when nobody checks
            assert not told.converged
            with pytest.raises(ConvergenceError, match="not finite"):
                sinkhorn(K, a, b, eps=0.1, validate=False, max_iter=20)


def test_masses_that_differ_are_refused(rng):
    K, a, b = problem(rng)
    with pytest.raises(ValueError, match=r"b must be non-negative with mass 1 \(unequal masses"):
        sinkhorn(K, a, 0.9 * b, eps=0.1)
    with pytest.raises(ValueError, match="a must be non-negative with mass 1"):
        sinkhorn(K, 1.00001 * a, b, eps=0.1)
    near = sinkhorn(K, (1 + 1e-8) * a, b, eps=0.1)
    np.testing.assert_allclose(near.f, sinkhorn(K, a, b, eps=0.1).f, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": 0.0}, ValueError, r"eps must be positive; got 0 \(for eps = 0, .* exact solver"),
        ({"eps": -1.0}, ValueError, "eps must be positive; got -1"),
        ({"eps": np.nan}, ValueError, "eps must be positive; got nan"),
        ({"eps": np.array([0.1, 0.0])}, ValueError, "eps must be positive; got 0"),
        ({"eps": np.ones(2, np.float32)}, TypeError, "eps must be a number or have the dtype float64"),
        ({"scale_cost": "maximum"}, ValueError, "scale_cost must be None, 'max', .* got 'maximum'"),
        ({"scale_cost": 0.0}, ValueError, "scale_cost must be positive"),
        ({"tol": 0.0}, ValueError, "tol must be positive, or None"),
        ({"tol": np.nan}, ValueError, "tol must be positive, or None"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
        ({"f_init": np.zeros(3)}, ValueError, r"f_init must have shape \(..., 12\)"),
        ({"f_init": np.zeros(12, np.float32)}, ValueError, "dtype float64"),
        ({"f_init": np.full(12, np.nan)}, ValueError, "f_init must be finite"),
    ],
)
def test_bad_options_are_refused(rng, change, error, message):
    with pytest.raises(error, match=message):
        sinkhorn(*problem(rng), **{"eps": 0.1, **change})


def test_bad_arrays_are_refused(rng):
    K, a, b = problem(rng)
    for arrays in ((K, b, a), (K[0], a, b), (K[:0], a[:0], b), (K, a[None, :3], b)):
        with pytest.raises(ValueError, match="cost, a and b must have shapes"):
            sinkhorn(*arrays, eps=0.1)
    with pytest.raises(ValueError, match="must broadcast"):
        sinkhorn(np.stack([K, K]), np.stack([a, a, a]), b, eps=0.1)
    with pytest.raises(TypeError, match="same dtype; got cost float64, a float32, b float64"):
        sinkhorn(K, a.astype(np.float32), b, eps=0.1)
    with pytest.raises(TypeError, match="dtype float32 or float64; got"):
        sinkhorn(*(v.astype(int) for v in (K, a, b)), eps=0.1)
    with pytest.raises(ValueError, match="a must be non-negative"):
        sinkhorn(K, np.append(a[:-2], [a[-1] + 2 * a[-2], -a[-2]]), b, eps=0.1)
    with pytest.raises(ValueError, match="a must be non-negative"):
        sinkhorn(K, np.full(12, np.nan), b, eps=0.1)
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError):
        sinkhorn(K, strict.asarray(a), b, eps=0.1)


def test_what_is_out_of_range_is_said_before_any_warning(rng):
    """Warnings are errors in these tests: none comes before the message."""
    K, a, b = problem(rng)
    x = rng.normal(size=(12, 3))
    for dtype, s, eps in ((np.float64, 1e200, 1e-300), (np.float32, 1e30, 1e-30)):
        points, u = (s * x).astype(dtype), np.full(12, 1 / 12, dtype)
        with pytest.raises(ValueError, match=r"cost must be finite .* points beyond 1e154, in float32 1e19"):
            sinkhorn(sq_euclidean_cost(points, points), u, u, eps=eps)
    single = [v.astype(np.float32) for v in (K, a, b)]
    with pytest.raises(
        ValueError, match=r"eps = 1e-300 is 0 in float32; give it in larger units, or use float64"
    ):
        sinkhorn(*single, eps=1e-300)
    for arrays, eps in (
        ((K, a, b), 1e-300),
        ((K, a, b), 1e-20),
        (single, 1e-30),
    ):  # below the cost's resolution
        with pytest.raises(ConvergenceError, match="try"):
            sinkhorn(*arrays, eps=eps, max_iter=50)
    for number in (np.float32(0.5), np.int64(1), 1):
        assert float(sinkhorn(K, a, b, eps=number).eps) == number
    for bad in ("0.1", None, [0.1], np.ones(1, int)):
        with pytest.raises(TypeError, match="eps must"):
            sinkhorn(K, a, b, eps=bad)
    with pytest.raises(TypeError, match="max_iter must be an integer"):
        sinkhorn(K, a, b, eps=0.1, max_iter=2.0)


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float64", 1e-300), ("float64", 1e300), ("float32", 1e30), ("float32", 1e-30)]
)
def test_a_scaled_cost_has_the_scaled_answer(rng, dtype, scale):
    K, a, b = (v.astype(dtype) for v in problem(rng))
    scaled = K * K.dtype.type(scale)
    rtol = 1e4 * float(np.finfo(dtype).eps)
    for eps, scale_cost in ((0.5, None), (0.1, "max"), (0.1, "mean"), (0.1, "median"), (math.inf, None)):
        large = eps if scale_cost else eps * scale
        ours = sinkhorn(K, a, b, eps=eps, scale_cost=scale_cost, tol=None, max_iter=50)
        found = sinkhorn(scaled, a, b, eps=large, scale_cost=scale_cost, tol=None, max_iter=50)
        np.testing.assert_allclose(plan(scaled, a, b, found), plan(K, a, b, ours), rtol=rtol)
        for value in (transport_cost, dual_value):
            np.testing.assert_allclose(
                value(scaled, a, b, found) / K.dtype.type(scale), value(K, a, b, ours), rtol=rtol
            )


def test_a_far_pair_of_points_spoils_no_other(library, rng):
    """Both clouds have an atom 1e9 away (float32: 1e4): the others' part of the plan is what it was."""
    near = [rng.normal(size=(n, 2)) for n in (5, 5)]
    far = 1e4 if library.dtype == "float32" else 1e9
    both = [np.concatenate([p, [[far, 0.0]]]) for p in near]
    plans = []
    for points in (near, both):
        x, y = (library.array(p) for p in points)
        cost = sq_euclidean_cost(x, y)
        u = library.array(np.full(x.shape[0], 1 / x.shape[0]))
        found = sinkhorn(cost, u, u, eps=1.0, tol=None, max_iter=200)
        assert bool(found.converged)
        plans.append(to_host(plan(cost, u, u, found)) * x.shape[0])
    np.testing.assert_allclose(plans[1][:5, :5], plans[0], atol=1e3 * library.eps)
    np.testing.assert_allclose(plans[1][5], [0, 0, 0, 0, 0, 1], atol=1e3 * library.eps)


def test_members_of_a_batch_share_only_the_number_of_iterations(library, rng):
    K, a, b = problem(rng)
    options = {"tol": None, "max_iter": 30, "require": False, "validate": False}
    copies = 2 if library.name == "jax" else 1  # compiled for one shape; one member goes the same way there
    given = library.arrays((np.stack([K] * copies), a, b))
    alone = [to_host(v)[:1] for v in sinkhorn(*given, eps=0.1, **options)[:5]]
    for other in (1e9 * K, np.full_like(K, np.nan), 1e-9 * K):
        both = sinkhorn(*library.arrays((np.stack([K, other]), a, b)), eps=0.1, **options)
        for mine, truth in zip(both[:5], alone, strict=True):
            np.testing.assert_allclose(to_host(mine)[:1], truth, atol=20 * library.eps)
        assert to_host(both.converged)[1] == bool(np.all(other < 1))


def test_nan_weights_stay_nan(rng):
    K, a, b = problem(rng)
    a[3] = np.nan
    found = sinkhorn(K, a, b, eps=0.1, tol=None, max_iter=3, require=False, validate=False)
    assert np.isnan(found.row_error)
    assert not found.converged


# Gradients


def test_gradients_are_finite_differences(rng):
    """Through the iterations, of all that is made of a solution; and of the value, at fixed potentials."""
    torch = pytest.importorskip("torch")
    K, a, b = problem(rng, 4, 5)
    wide = np.full((5, 5), np.nan)  # with padding
    wide[:4] = K
    inputs = [torch.asarray(v, requires_grad=True) for v in (wide, np.append(a, 0.0), b, np.asarray(0.6))]
    fixed = {"tol": None, "max_iter": 300}

    def made(cost, a, b, eps):
        a, b = a / a.sum(), b / b.sum()
        arrays = (
            torch.cat([cost, torch.full((1, 5), torch.nan, dtype=cost.dtype)]),
            torch.cat([a, a.new_zeros(1)]),
            b,
        )
        found = sinkhorn(*arrays, eps=eps, **fixed)
        gauge = found.f[:4] - found.f[0], found.g + found.f[0]
        return *gauge, plan(*arrays, found), transport_cost(*arrays, found), dual_value(*arrays, found)

    assert torch.autograd.gradcheck(
        made,
        [torch.asarray(v, requires_grad=True) for v in (K, a, b, np.asarray(0.6))],
        fast_mode=True,  # in random directions
    )
    with torch.no_grad():
        found = sinkhorn(*inputs[:3], eps=inputs[3], **fixed)
    value = dual_value(*inputs[:3], found._replace(eps=inputs[3]))
    for gradient, truth in zip(
        torch.autograd.grad(value, inputs),
        torch.autograd.grad(dual_value(*inputs[:3], sinkhorn(*inputs[:3], eps=inputs[3], **fixed)), inputs),
        strict=True,
    ):
        np.testing.assert_allclose(gradient, truth, atol=1e-10)
        assert not torch.isnan(gradient).any()
    assert not torch.autograd.grad(dual_value(*inputs[:3], found), inputs[0])[0][4].any()


def test_the_value_of_infinite_eps_has_the_product_plan_as_derivative(rng):
    torch = pytest.importorskip("torch")
    K, a, b = (torch.asarray(v) for v in problem(rng, 4, 5))
    for scale in (1.0, 1e8):
        cost = (scale * K).requires_grad_()
        value = dual_value(cost, a, b, sinkhorn(scale * K, a, b, eps=math.inf))
        (gradient,) = torch.autograd.grad(value, cost)
        np.testing.assert_allclose(gradient, a[:, None] * b, rtol=1e-14)
        np.testing.assert_allclose(value.detach(), scale * torch.sum(a[:, None] * b * K), rtol=1e-13)


# Properties


counts = st.integers(1, 12)
regularisations = st.floats(-2.0, 2.0).map(lambda e: 10.0**e)


@st.composite
def problems(draw):
    """Clouds with repeated points, single atoms and very different weights."""
    n, m, d = draw(counts), draw(counts), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    if draw(st.booleans()):
        x[n // 2 :] = x[0]
    return x, y, rng.dirichlet(np.full(n, 0.7)) + 0.0, rng.dirichlet(np.full(m, 0.7)) + 0.0


@given(problems(), regularisations)
def test_marginals_and_bounds(pair, eps):
    x, y, a, b = pair
    K = sq_euclidean_cost(x, y)
    ours = sinkhorn(K, a, b, eps=eps, tol=1e-7, max_iter=100_000)
    P = plan(K, a, b, ours)
    np.testing.assert_allclose(P.sum(axis=1), a, atol=1e-12)  # exact after an update of f
    np.testing.assert_allclose(P.sum(axis=0), b, atol=1e-7)
    assert np.all(P >= 0)
    value = dual_value(K, a, b, ours)
    assert transport_cost(K, a, b, ours) <= value + 1e-6 * (1 + value)  # KL is not negative
    assert value <= a @ K @ b + 1e-9  # the product plan is one of the plans


@given(problems(), regularisations)
def test_errors_never_grow(pair, eps):
    x, y, a, b = pair
    K = sq_euclidean_cost(x, y)
    errors, duals, f = [], [], None
    for _ in range(8):
        ours = sinkhorn(K, a, b, eps=eps, tol=None, max_iter=1, f_init=f)
        f = ours.f
        errors.append(float(ours.col_error))
        duals.append(float(dual_value(K, a, b, ours)))
    assert np.all(np.diff(errors) <= 1e-12)
    assert np.all(np.diff(duals) >= -1e-12 * (1 + abs(duals[-1])))


@given(problems(), regularisations, st.floats(0.1, 10.0))
def test_symmetries(pair, eps, s):
    """Scaling with ``eps → s² eps``, translations of either cloud, and exchange of the two."""
    x, y, a, b = pair
    options = {"tol": 1e-10, "max_iter": 100_000, "require": False}

    def solve(x, y, a, b, eps):
        K = sq_euclidean_cost(x, y)
        return plan(K, a, b, sinkhorn(K, a, b, eps=eps, **options))

    P = solve(x, y, a, b, eps)
    for other in (
        solve(s * x, s * y, a, b, s * s * eps),
        solve(x + s, y - s, a, b, eps),
        solve(y, x, b, a, eps).T,
    ):
        assert np.sum(np.abs(other - P)) < 1e-5


@given(problems())
def test_cost_grows_with_eps_and_entropy_falls(pair):
    x, y, a, b = pair
    K = sq_euclidean_cost(x, y)
    costs, values = [], []
    for eps in (0.1, 1.0, 10.0, math.inf):
        ours = sinkhorn(K, a, b, eps=eps, tol=1e-10, max_iter=100_000)
        costs.append(float(transport_cost(K, a, b, ours)))
        values.append(float(dual_value(K, a, b, ours)))
    assert np.all(np.diff(costs) >= -1e-8)
    assert np.all(np.diff(values) >= -1e-8)


# Every library, both float types


@pytest.mark.slow
def test_libraries_agree(library, rng):
    """Costs up to 30 and eps 1: exponents of 30 roundings, thirty iterations long."""
    for shape in library.batches:
        K = rng.uniform(0.0, 30.0, size=(*shape, 5, 4))
        a, b = rng.dirichlet(np.ones(5), size=shape), rng.dirichlet(np.ones(3), size=shape)
        b = np.concatenate([b, np.zeros((*shape, 1))], axis=-1)
        f = rng.normal(size=(*shape, 5))

        def solve(K, a, b, f, **options):
            ours = sinkhorn(K, a, b, tol=None, max_iter=30, f_init=f, **{"eps": 1.0, **options})
            return (
                ours.f,
                ours.g,
                ours.eps,
                plan(K, a, b, ours),
                transport_cost(K, a, b, ours),
                dual_value(K, a, b, ours),
            )

        library.check(solve, K, a, b, f, ulps=1000)
        for scale in ("max", "mean", "median"):
            library.check(lambda *v, s=scale: solve(*v, scale_cost=s), K, a, b, f, ulps=1000)
        library.check(lambda *v: solve(*v, eps=math.inf), K, a, b, f, ulps=1000)
        result = sinkhorn(*library.arrays((K, a, b)), eps=1.0, tol=1e-3)
        assert bool(np.all(to_host(result.converged)))
        assert tuple(result.row_error.shape) == tuple(result.converged.shape) == shape


def test_libraries_agree_on_costs(library, rng):
    for shape in library.batches:
        x, y = rng.normal(size=(*shape, 5, 2)) + 10.0, rng.normal(size=(4, 2)) + 10.0
        library.check(sq_euclidean_cost, x, y, ulps=100)


def test_soft_minimum_broadcasts(rng):
    K, p, w = rng.uniform(size=(2, 1, 4, 3)), rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3))
    result = softmin(K, p, w, np.array(0.1))
    assert result.shape == (2, 5, 4)
    truth = -0.1 * np.log(np.sum(w * np.exp((p[3] - K[1, 0]) / 0.1), axis=-1))
    np.testing.assert_allclose(result[1, 3], truth, rtol=1e-13)


def test_new_arrays_live_on_the_arguments_device(rng):
    xp = pytest.importorskip("array_api_strict")
    place = xp.Device("device1")
    K, a, b = (xp.asarray(v, device=place) for v in problem(rng))
    ours = sinkhorn(K, a, b, eps=0.3, scale_cost="median")
    values = plan(K, a, b, ours), transport_cost(K, a, b, ours), dual_value(K, a, b, ours)
    assert {v.device for v in (*ours, *values) if hasattr(v, "device")} == {place}


def test_arguments_are_not_changed(rng):
    arrays = problem(rng)
    arrays[0][2, 3] = 100.0
    before = [v.copy() for v in arrays]
    start = np.zeros(12)
    sinkhorn(*arrays, eps=0.3, f_init=start)
    for now, then in zip((*arrays, start), (*before, np.zeros(12)), strict=True):
        np.testing.assert_array_equal(now, then)


def test_statistics_of_costs_whose_weights_have_no_batch_axes(rng):
    cost, half = rng.random((3, 4, 4)), np.full(4, 0.25)
    for name, statistic in (("max", np.max), ("mean", np.mean), ("median", np.median)):
        found = sinkhorn(cost, half, half, eps=0.5, scale_cost=name).eps
        np.testing.assert_allclose(found, 0.5 * statistic(cost.reshape(3, -1), axis=1), rtol=1e-15)
