"""The Bures-Wasserstein barycenter: closed form, first-order condition, POT, and that it is the minimum."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative

from refwfm import bures
from refwfm.barycenter import barycenter
from refwfm.evidence import ConvergenceError
from refwfm.measures import Gaussian, NonFiniteError

ITER = 1e-9  # a converged iteration, float64


def objective(mean, cov, family, weights):
    return float(weights @ bures.sq_distance(Gaussian(mean, cov), family))


@given(st.integers(1, 5), st.integers(1, 5), strategies.seeds)
def test_commuting_members(n, d, seed):
    """Common eigenvectors: the roots average."""
    rng = np.random.default_rng(seed)
    basis, values = oracles.rotation(rng, d), 10.0 ** rng.uniform(-1, 1, (n, d))
    weights = rng.dirichlet(np.ones(n))
    family = Gaussian(rng.standard_normal((n, d)), oracles.from_spectrum(basis[None], values))
    result = barycenter(family, weights)
    truth = oracles.commuting_barycenter(basis, values, weights)
    assert relative(result.gaussian.cov, truth) < ITER
    np.testing.assert_allclose(result.gaussian.mean, weights @ family.mean, atol=1e-13)
    assert result.converged
    assert result.residual <= ITER
    if n > 1:
        assert (
            relative(oracles.from_spectrum(basis, weights @ values), truth) > 1e-6
        )  # the mean of covariances


@given(st.integers(2, 5), st.integers(1, 4), strategies.seeds)
def test_first_order_condition(n, d, seed):
    """The maps from the barycenter to the members average to the identity (textbook maps, not ours)."""
    rng = np.random.default_rng(seed)
    family, weights = oracles.random_gaussian(rng, n, d), rng.dirichlet(np.ones(n))
    cov = barycenter(family, weights).gaussian.cov
    np.testing.assert_array_equal(cov, cov.T)
    average = sum(
        w * oracles.gelbrich_map(cov, member) for w, member in zip(weights, family.cov, strict=True)
    )
    assert relative(average, np.eye(d)) < 10 * ITER


def test_it_is_pots(rng):
    gaussian = pytest.importorskip("ot.gaussian")
    family = oracles.random_gaussian(rng, 4, 3)
    mean, cov = gaussian.bures_wasserstein_barycenter(family.mean, family.cov, num_iter=1000, eps=1e-12)
    result = barycenter(family).gaussian
    assert relative(result.cov, cov) < 1e-8
    assert relative(result.mean, np.squeeze(mean)) < 1e-12


def test_it_is_the_minimum_and_its_look_alikes_are_not(rng):
    """In all directions; the look-alike fixed point is the power mean of order one half."""
    family, weights = oracles.random_gaussian(rng, 5, 3, spread=1e3), np.full(5, 0.2)
    result = barycenter(family).gaussian
    least = objective(result.mean, result.cov, family, weights)
    for _ in range(20):
        step = 1e-3 * oracles.random_cov(rng, 3) * rng.choice([-1, 1])
        step = step @ result.cov
        assert objective(result.mean, result.cov + (step + step.T) / 2, family, weights) > least
    wrong = {"look-alike": look_alike(family.cov), "mean": family.cov.mean(axis=0)}
    for name, cov in wrong.items():
        assert objective(result.mean, cov, family, weights) > least * (1 + 1e-4), name


def look_alike(covs):
    """Fixed point of the mean of ``S^{1/2} (S^{-1/2} Σᵢ S^{-1/2})^{1/2} S^{1/2}``."""
    S = covs.mean(axis=0)
    for _ in range(300):
        root = oracles.sqrtm(S)
        inverse = np.linalg.inv(root)
        S = np.mean([root @ oracles.sqrtm(inverse @ cov @ inverse) @ root for cov in covs], axis=0)
        S = (S + S.T) / 2
    return S


def test_of_two_is_the_middle_of_the_geodesic(rng):
    family = oracles.random_gaussian(rng, 2, 4)
    ends = [Gaussian(family.mean[i], family.cov[i]) for i in (0, 1)]
    result = barycenter(family, np.array([0.3, 0.7])).gaussian
    point = bures.interpolate(*ends, 0.7)
    assert relative(result.cov, point.cov) < ITER
    assert relative(result.mean, point.mean) < ITER


def test_of_one_or_of_copies_is_itself(rng):
    one = oracles.random_gaussian(rng, 1, 3)
    copies = Gaussian(np.repeat(one.mean, 4, axis=0), np.repeat(one.cov, 4, axis=0))
    for family in (one, copies):
        assert relative(barycenter(family).gaussian.cov, one.cov[0]) < 1e-13


def test_members_of_weight_zero_are_ignored(rng):
    family = oracles.random_gaussian(rng, 3, 2)
    some = Gaussian(family.mean[:2], family.cov[:2])
    result = barycenter(family, np.array([0.25, 0.75, 0.0])).gaussian
    assert relative(result.cov, barycenter(some, np.array([0.25, 0.75])).gaussian.cov) < ITER


def test_singular_members(rng):
    family = oracles.random_gaussian(rng, 3, 3)
    half = rng.standard_normal((3, 1))
    family.cov[1] = half @ half.T
    family.cov[2] = 0.0
    result = barycenter(family)
    least = objective(result.gaussian.mean, result.gaussian.cov, family, np.full(3, 1 / 3))
    for factor in (0.99, 1.01):
        cov = factor * result.gaussian.cov
        assert objective(result.gaussian.mean, cov, family, np.full(3, 1 / 3)) > least


@given(st.integers(1, 4), st.integers(1, 3), strategies.seeds)
def test_family_in_a_subspace(n, r, seed):
    """What it is in the subspace, carried over: nothing is inverted that is singular."""
    rng = np.random.default_rng(seed)
    family, weights = oracles.random_gaussian(rng, n, r), rng.dirichlet(np.ones(n))
    basis = oracles.rotation(rng, 5)[:, :r]
    flat = basis @ family.cov @ basis.T
    result = barycenter(Gaussian(family.mean @ basis.T, 0.5 * (flat + flat.mT)), weights)
    truth = barycenter(family, weights).gaussian
    assert result.converged
    assert relative(result.gaussian.cov, basis @ truth.cov @ basis.T) < 10 * ITER
    assert relative(result.gaussian.mean, truth.mean @ basis.T, 1.0) < 1e-13


def test_points():
    """Without any variance, the mean."""
    result = barycenter(Gaussian(np.asarray([[0.0, 0.0], [2.0, 4.0]]), np.zeros((2, 2, 2))))
    assert result == (result.gaussian, 1, 0.0, True)
    np.testing.assert_array_equal(result.gaussian.mean, [1.0, 2.0])
    np.testing.assert_array_equal(result.gaussian.cov, np.zeros((2, 2)))


def test_near_singular_in_float32_is_as_in_float64(rng):
    """Fifteen coordinates, four of them sums of others: eigenvalues near 1e-8 beside 0.2."""
    mixing = rng.standard_normal((10, 11, 11)) * np.geomspace(0.2, 0.02, 11)
    half = np.concatenate([np.eye(11), rng.choice([-1.0, 0.0, 1.0], (4, 11))]) @ mixing
    cov = half @ half.mT + 1e-8 * np.eye(15)
    single = barycenter(Gaussian(np.zeros((10, 15), np.float32), cov.astype(np.float32)))
    double = barycenter(Gaussian(np.zeros((10, 15)), cov)).gaussian.cov
    assert single.converged
    assert np.min(np.linalg.eigvalsh(double)) < 2e-8
    assert relative(single.gaussian.cov, double) < 1e-4  # converged to 1e-5
    inverse = np.linalg.inv(np.linalg.cholesky(cov.mean(axis=0)).astype(np.float32))  # what used to be needed
    assert relative(inverse @ np.linalg.cholesky(cov.mean(axis=0)), np.eye(15)) > 1e-4


def test_residual_is_the_norm_of_the_gradient(rng):
    """``‖T̄ - I‖`` in the metric at the last iterate but one, relative to its deviation."""
    family = oracles.random_gaussian(rng, 4, 3)
    before, after = (barycenter(family, max_iter=k, require=False) for k in (2, 3))
    cov = before.gaussian.cov
    step = np.mean([oracles.gelbrich_map(cov, member) for member in family.cov], axis=0) - np.eye(3)
    truth = np.sqrt(np.trace(step @ cov @ step) / np.trace(cov))
    assert after.residual == pytest.approx(truth, rel=1e-9)
    assert after.residual != pytest.approx(np.linalg.norm(step) / 3**0.5, rel=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("d", [1, 3, 32])
def test_any_size_in_float32(d, size, rng):
    family = oracles.random_gaussian(rng, 3, d)
    scaled = Gaussian(family.mean.astype(np.float32), (size * family.cov).astype(np.float32))
    result = barycenter(scaled)
    assert result.converged
    assert relative(result.gaussian.cov / size, barycenter(family).gaussian.cov) < 1e-5 * d


def test_certificate(rng):
    family = oracles.random_gaussian(rng, 4, 3, spread=1e4)
    with pytest.raises(
        ConvergenceError, match=r"did not converge in 2 iterations: residual .*raise max_iter"
    ):
        barycenter(family, max_iter=2)
    early = barycenter(family, max_iter=2, require=False)
    assert not early.converged
    assert early.n_iter == 2
    late = barycenter(family)
    assert late.converged
    assert early.residual > late.residual
    assert barycenter(family, tol=1e-3).n_iter < late.n_iter


@pytest.mark.parametrize("d", [1, 3])
def test_libraries_agree(library, d, rng):
    family, weights = oracles.random_gaussian(rng, 3, d), np.array([0.2, 0.3, 0.5])
    # Converged to 1e-9 or 1e-5 and not to rounding.
    library.check(lambda *a: barycenter(*a).gaussian, family, weights, ulps=1e-8 / 2.2e-16)


@pytest.mark.parametrize(
    ("family", "weights", "message"),
    [
        (Gaussian(np.zeros(2), np.eye(2)), None, "family of at least one"),
        (Gaussian(np.zeros((0, 2)), np.zeros((0, 2, 2))), None, "family of at least one"),
        (Gaussian(np.zeros((1, 2)), -np.eye(2)[None]), None, "positive semi-definite"),
        (Gaussian(np.zeros((1, 2)), np.full((1, 2, 2), np.nan)), None, "finite"),
        (Gaussian(np.zeros((1, 2)), np.eye(2)[None]), np.ones(2) / 2, r"weights must have shape \(1,\)"),
        (Gaussian(np.zeros((1, 2)), np.eye(2)[None]), np.full(1, 0.5), "sum to 1"),
        (Gaussian(np.zeros((1, 2)), np.eye(2)[None]), np.full(1, 1.0009), "a sum of 1.0009"),
        (Gaussian(np.zeros((2, 1)), np.ones((2, 1, 1))), np.array([1.5, -0.5]), "non-negative"),
        (Gaussian(np.zeros((1, 2)), np.eye(2)[None]), np.array([np.nan]), "non-negative"),
    ],
)
def test_bad_input_is_refused(family, weights, message):
    with pytest.raises(ValueError, match=message):
        barycenter(family, weights)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_members_that_are_not_finite_are_called_so_without_validation(value, library):
    family = Gaussian(np.zeros((2, 3)), np.stack([np.eye(3), np.eye(3)]))
    family.cov[1, 0, 0] = value
    with pytest.raises(NonFiniteError, match="must be finite; got NaN or infinity"):
        barycenter(Gaussian(*library.arrays(family)), validate=False)
