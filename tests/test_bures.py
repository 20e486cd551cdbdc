"""Bures-Wasserstein geometry against closed forms, SciPy, POT, mpmath and differences; and its properties."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, derivative, relative
from thirds import THOROUGH

from refwfm import bures, bures_metric
from refwfm._array import to_host
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian, NonFiniteError, SingularCovarianceError

ALG = 1e-11  # an algebraic identity in float64 at condition numbers up to 1e3
ROUNDINGS = 1000  # condition number 30 times d² = 9 roundings, with a margin of four
FD = 1e-6  # a central difference with step 1e-5
TIMES = [0.0, 0.2, 0.5, 0.9, 1.0]


def condition(*covs):
    return max(float(np.linalg.cond(cov)) for cov in covs)


def cond_tolerance(*covs):
    """Of the factor formulas: u √κ, with a factor of 5 that leaves the measured worst case a margin of 8."""
    return max(100 * EPS, 5 * EPS * condition(*covs) ** 0.5)


@pytest.fixture
def pair(rng):
    return oracles.random_gaussian(rng, 4), oracles.random_gaussian(rng, 4)


def trace(*measures):
    return sum(float(np.trace(mu.cov)) + float(mu.mean @ mu.mean) for mu in measures)


# The optimal map


def test_map_is_the_textbooks(pair):
    mu, nu = pair
    truth = oracles.gelbrich_map(mu.cov, nu.cov)
    assert relative(bures.gelbrich_map(mu, nu), truth) < ALG
    wrong = {
        "the map back": bures.gelbrich_map(nu, mu),
        "without the outer roots": oracles.sqrtm(mu.cov) @ nu.cov @ oracles.sqrtm(mu.cov),
        "as if the covariances commuted": np.linalg.inv(oracles.sqrtm(mu.cov)) @ oracles.sqrtm(nu.cov),
        "a missing root": np.linalg.inv(mu.cov) @ nu.cov,
    }
    for name, variant in wrong.items():
        assert relative(variant, truth) > 0.01, name


def test_map_is_pots(pair):
    gaussian = pytest.importorskip("ot.gaussian")
    mu, nu = pair
    matrix, offset = gaussian.bures_wasserstein_mapping(mu.mean, nu.mean, mu.cov, nu.cov)
    x = np.eye(4)
    assert relative(bures.gelbrich_map(mu, nu), matrix) < 1e-9
    assert relative(bures.push_forward(x, mu, nu), x @ matrix + offset) < 1e-9


@pytest.mark.parametrize("exponent", [4, 8, 12])
def test_map_of_ill_conditioned_covariances(rng, exponent):
    """The error grows as u √κ, not as the textbook's u κ."""
    spread = 10.0**exponent
    basis = [oracles.rotation(rng, 3) for _ in range(2)]
    A, B = (oracles.from_spectrum(q, np.array([1.0, spread**-0.5, 1 / spread])) for q in basis)
    truth = oracles.exact_gelbrich_map(A, B)
    mean = np.zeros(3)
    C = bures.gelbrich_map(Gaussian(mean, A), Gaussian(mean, B))
    # The stored A has itself an error of u ‖A‖: relative to its smallest eigenvalue u κ.
    backward = np.linalg.norm(C @ A @ C - B) / np.linalg.norm(B)
    assert backward < cond_tolerance(A, B)
    assert relative(C, truth) < 10 * EPS * spread


@given(strategies.pairs)
def test_map_solves_its_equation(pair):
    mu, nu = pair
    C = bures.gelbrich_map(mu, nu)
    np.testing.assert_array_equal(C, C.T)
    assert relative(C @ mu.cov @ C, nu.cov) < 20 * cond_tolerance(mu.cov, nu.cov)
    assert np.linalg.eigvalsh(C)[0] > 0


@given(strategies.pairs)
def test_map_there_and_back_is_the_identity(pair):
    mu, nu = pair
    product = bures.gelbrich_map(mu, nu) @ bures.gelbrich_map(nu, mu)
    assert relative(product, np.eye(len(mu.mean))) < 100 * EPS * condition(mu.cov, nu.cov)


@given(strategies.pairs, strategies.seeds)
def test_map_turns_with_the_space(pair, seed):
    mu, nu = pair
    Q = oracles.rotation(np.random.default_rng(seed), len(mu.mean))
    turned = [Gaussian(Q @ m.mean, symmetric(Q @ m.cov @ Q.T)) for m in pair]
    C = bures.gelbrich_map(mu, nu)
    assert relative(bures.gelbrich_map(*turned), Q @ C @ Q.T) < 100 * EPS * condition(mu.cov, nu.cov)


@given(st.integers(0, 999))
def test_map_under_contragredient_congruence(seed):
    """``C^{M⁻ᵀAM⁻¹ → MBMᵀ} = M C Mᵀ``; that a linear map M simply conjugates C is false."""
    rng = np.random.default_rng(seed)
    mu, nu = oracles.random_gaussian(rng, 3), oracles.random_gaussian(rng, 3)
    M = oracles.rotation(rng, 3) @ np.diag([0.5, 1.0, 2.0]) @ oracles.rotation(rng, 3)
    inverse = np.linalg.inv(M)
    C = bures.gelbrich_map(mu, nu)
    moved = Gaussian(mu.mean, symmetric(inverse.T @ mu.cov @ inverse))
    target = Gaussian(nu.mean, symmetric(M @ nu.cov @ M.T))
    assert relative(bures.gelbrich_map(moved, target), M @ C @ M.T) < ALG
    both = Gaussian(mu.mean, symmetric(M @ mu.cov @ M.T))
    assert relative(bures.gelbrich_map(both, target), M @ C @ inverse) > 1e-3


@given(strategies.pairs, strategies.scales, strategies.scales)
def test_map_scales(pair, s, r):
    mu, nu = pair
    scaled = bures.gelbrich_map(Gaussian(s * mu.mean, s * s * mu.cov), Gaussian(r * nu.mean, r * r * nu.cov))
    expected = r / s * bures.gelbrich_map(mu, nu)
    assert relative(scaled, expected) < 100 * EPS * condition(mu.cov, nu.cov)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_map_between_sizes_keeps_its_digits(pair, size):
    """To the point where ``(C - I) + I`` would be zero, or wrong in every digit."""
    mu, nu = pair
    C = bures.gelbrich_map(mu, Gaussian(nu.mean, size * nu.cov))
    assert relative(C / size**0.5, oracles.gelbrich_map(mu.cov, nu.cov)) < ALG


def test_transport_pushes_moments_forward(pair, rng):
    """A cloud with exactly the moments of mu is carried to one with exactly those of nu."""
    mu, nu = pair
    corners = np.concatenate([np.eye(4), -np.eye(4)]) * 2.0  # mean 0, covariance the identity
    image = bures.push_forward(mu.mean + corners @ oracles.sqrtm(mu.cov), mu, nu)
    assert relative(image.mean(axis=0), nu.mean) < ALG
    assert relative(np.cov(image.T, ddof=0), nu.cov) < ALG


def symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


# Distance


def test_distance_is_the_textbooks(pair):
    mu, nu = pair
    truth = oracles.sq_distance(mu, nu)
    assert relative(bures.sq_distance(mu, nu), truth, trace(mu, nu)) < ALG
    A, B = mu.cov, nu.cov
    dm = float(np.sum((mu.mean - nu.mean) ** 2))
    wrong = {
        "not squared": truth**0.5,
        "half": truth / 2,
        "a missing root": dm + np.trace(A + B - 2 * oracles.sqrtm(A) @ B @ oracles.sqrtm(A)),
        "as if the covariances commuted": dm + np.sum((oracles.sqrtm(A) - oracles.sqrtm(B)) ** 2),
        "one cross term": dm + np.trace(A + B) - (np.trace(A + B) + dm - truth) / 2,
    }
    for name, variant in wrong.items():
        assert relative(bures.sq_distance(mu, nu), variant, trace(mu, nu)) > 1e-4, name


def test_distances_are_pots(rng):
    gaussian = pytest.importorskip("ot.gaussian")
    mu, nu = oracles.random_gaussian(rng, 5, 3), oracles.random_gaussian(rng, 4, 3)
    roots = gaussian.bures_wasserstein_distance(mu.mean, nu.mean, mu.cov, nu.cov)  # POT returns the root
    result = bures.pairwise_sq_distance(mu, nu)
    assert relative(result, roots**2) < 1e-9
    assert relative(result, roots) > 1e-2


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 10), st.floats(0, 10))
def test_gaussians_on_the_line_are_a_flat_half_plane(m0, m1, s0, s1):
    mu, nu = (Gaussian(np.array([m]), np.array([[s * s]])) for m, s in ((m0, s0), (m1, s1)))
    truth = (m0 - m1) ** 2 + (s0 - s1) ** 2
    assert abs(bures.sq_distance(mu, nu) - truth) <= 10 * EPS * (m0**2 + m1**2 + s0**2 + s1**2)
    if s0 > 1e-6:
        assert relative(bures.gelbrich_map(mu, nu)[0, 0], s1 / s0, 1.0 + s1 / s0) < 10 * EPS


@given(strategies.covariances(4), strategies.covariances(4), strategies.seeds)
def test_commuting_covariances_are_flat_too(A, B, seed):
    """Common eigenvectors: the roots are points of Euclidean space."""
    basis = oracles.rotation(np.random.default_rng(seed), 4)
    a, b = np.linalg.eigvalsh(A), np.linalg.eigvalsh(B)[::-1].copy()
    mu, nu = (Gaussian(np.zeros(4), oracles.from_spectrum(basis, values)) for values in (a, b))
    truth = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert relative(bures.sq_distance(mu, nu), truth, trace(mu, nu)) < 1e-13
    middle = (0.7 * np.sqrt(a) + 0.3 * np.sqrt(b)) ** 2
    assert relative(bures.interpolate(mu, nu, 0.3).cov, oracles.from_spectrum(basis, middle)) < 1e-12


@given(strategies.singular_triples)
def test_distance_is_a_metric(triple):
    mu, nu, rho = triple
    there, back = bures.sq_distance(mu, nu), bures.sq_distance(nu, mu)
    scale = trace(mu, nu, rho)
    assert there >= 0
    assert abs(there - back) <= 100 * EPS * scale
    assert 0 <= bures.sq_distance(mu, mu) <= 1e-28 * scale
    over = np.sqrt(bures.sq_distance(mu, rho)) + np.sqrt(bures.sq_distance(rho, nu))
    assert np.sqrt(there) <= over + 100 * EPS * scale**0.5


@given(strategies.singular_pairs)
def test_distance_between_its_bounds(pair):
    """``(√tr A - √tr B)² ≤ W² ≤ min(‖A^{1/2} - B^{1/2}‖_F², ‖A - B‖_1)`` for equal means."""
    mu, nu = (Gaussian(0.0 * m.mean, m.cov) for m in pair)
    scale = trace(mu, nu)
    value = bures.sq_distance(mu, nu)
    assert value >= (np.trace(mu.cov) ** 0.5 - np.trace(nu.cov) ** 0.5) ** 2 - 100 * EPS * scale
    hellinger = np.sum((oracles.psd_root(mu.cov) - oracles.psd_root(nu.cov)) ** 2)
    assert value <= hellinger + 100 * EPS * scale
    assert value <= np.sum(np.abs(np.linalg.eigvalsh(mu.cov - nu.cov))) + 100 * EPS * scale
    assert value >= 0.5 * hellinger - 100 * EPS * scale  # the bound that metrics.nearest lives on


@given(strategies.singular_pairs, strategies.seeds)
def test_distance_shrinks_under_projection_and_common_noise(pair, seed):
    mu, nu = pair
    d = len(mu.mean)
    P = oracles.rotation(np.random.default_rng(seed), d)[:, : max(1, d - 1)]
    value, slack = bures.sq_distance(mu, nu), 100 * EPS * trace(mu, nu)
    seen = [Gaussian(P.T @ m.mean, symmetric(P.T @ m.cov @ P)) for m in pair]
    noisy = [Gaussian(m.mean, m.cov + np.eye(d)) for m in pair]
    # The projected covariances have their own rounding, worth √u in a direction they should not reach.
    # (so small that it need not be positive: not validated)
    assert bures.sq_distance(*seen, validate=False) <= value + np.sqrt(EPS) * trace(mu, nu)
    assert bures.sq_distance(*noisy) <= value + slack + 100 * EPS * d


@given(strategies.singular_pairs, strategies.scales)
def test_distance_scales(pair, s):
    scaled = [Gaussian(s * m.mean, s * s * m.cov) for m in pair]
    error = abs(bures.sq_distance(*scaled) - s * s * bures.sq_distance(*pair))
    assert error <= 1e-13 * s * s * trace(*pair)


@pytest.mark.parametrize("form", ["pairs", "matrix"])
def test_distance_of_rank_three_in_twenty_dimensions(rng, form):
    """Where the textbook trace formula has 1e-8: relative to the traces under 1e-12."""
    factors = rng.standard_normal((2, 5, 20, 3)) / 20**0.5
    mu, nu = (Gaussian(np.zeros((5, 20)), f @ f.mT) for f in factors)
    truth = np.array([[oracles.factored_sq_distance(f, g) for g in factors[1]] for f in factors[0]])
    traces = np.trace(mu.cov, axis1=1, axis2=2)[:, None] + np.trace(nu.cov, axis1=1, axis2=2)
    if form == "pairs":
        result = bures.sq_distance(
            *(Gaussian(m.mean[a], m.cov[a]) for m, a in ((mu, np.s_[:, None]), (nu, np.s_[:])))
        )
    else:
        result = bures.pairwise_sq_distance(mu, nu)
    assert np.max(np.abs(result - truth) / traces) < 1e-12
    root = np.stack([oracles.psd_root(cov) for cov in mu.cov])[:, None]
    values = np.linalg.eigvalsh(root @ nu.cov @ root)
    textbook = traces - 2.0 * np.sum(np.sqrt(np.maximum(values, 0.0)), axis=-1)
    assert np.max(np.abs(textbook - truth) / traces) > 1e-10


def test_distance_of_nearly_singular_covariances(rng):
    basis = [oracles.rotation(rng, 3) for _ in range(2)]
    A, B = (oracles.from_spectrum(q, np.array([1.0, 1e-6, 1e-12])) for q in basis)
    mu, nu = Gaussian(np.zeros(3), A), Gaussian(np.zeros(3), B)
    truth = oracles.exact_sq_distance(A, B)
    assert relative(bures.sq_distance(mu, nu), truth, 2.0) < 1e-13
    assert relative(bures.pairwise_sq_distance(*batch(mu, nu))[0, 0], truth, 2.0) < 1e-13


def batch(*measures):
    return tuple(Gaussian(m.mean[None], m.cov[None]) for m in measures)


def test_distance_of_equal_measures_is_zero(library, rng):
    for d in (1, 2, 3, 16, 64) if library.name != "jax" else (3,):
        mu = library.arrays(oracles.random_gaussian(rng, 3, d))
        values = to_host(bures.sq_distance(mu, mu))
        assert np.all(values >= 0)
        assert np.max(values) <= (1e3 * d * library.eps) ** 2  # rounding, squared
        matrix = to_host(bures.pairwise_sq_distance(mu, mu))
        assert np.all(matrix >= 0)
        assert np.max(np.diagonal(matrix)) <= 20 * d * library.eps * 30**0.5 * d  # rounding of the traces


@pytest.mark.parametrize("block", [1, 50, 10**9])
def test_blocks_do_not_change_the_matrix(rng, monkeypatch, block):
    mu, nu = oracles.random_gaussian(rng, 7, 3), oracles.random_gaussian(rng, 5, 3)
    whole = bures.pairwise_sq_distance(mu, nu)
    monkeypatch.setattr(bures_metric, "PAIRWISE_BLOCK", block)
    np.testing.assert_allclose(bures.pairwise_sq_distance(mu, nu), whole, rtol=1e-13)


def test_matrix_holds_the_distances_of_its_pairs(rng):
    mu, nu = oracles.random_gaussian(rng, 3, 4), oracles.random_gaussian(rng, 2, 4)
    spread = Gaussian(mu.mean[:, None], mu.cov[:, None])
    assert relative(bures.pairwise_sq_distance(mu, nu), bures.sq_distance(spread, nu)) < ALG
    assert bures.pairwise_sq_distance(mu, nu).shape == (3, 2)


# Geodesics


@pytest.mark.parametrize("t", TIMES)
def test_geodesic_is_the_textbooks(pair, t):
    mu, nu = pair
    C = oracles.gelbrich_map(mu.cov, nu.cov)
    T = (1 - t) * np.eye(4) + t * C
    point = bures.interpolate(mu, nu, t)
    assert relative(point.mean, (1 - t) * mu.mean + t * nu.mean) < ALG
    assert relative(point.cov, T @ mu.cov @ T) < ALG
    np.testing.assert_array_equal(point.cov, point.cov.T)
    if 0 < t < 1:  # negative controls
        assert relative((1 - t) * mu.cov + t * nu.cov, T @ mu.cov @ T) > 1e-3  # the mixture of covariances
        assert relative(T @ mu.cov, T @ mu.cov @ T) > 1e-3  # a missing factor


def test_geodesic_starts_at_the_source(pair):
    """The papers print ``exp((1 - t) log)``, which is at the target for t = 0."""
    mu, nu = pair
    tangent = bures.log(mu, nu)

    def distance_from_truth(curve):
        return max(
            bures.sq_distance(bures.exp(mu, scaled(curve(t), tangent)), bures.interpolate(mu, nu, t))
            for t in TIMES
        )

    assert distance_from_truth(lambda t: t) < 1e-24 * 1e4
    assert distance_from_truth(lambda t: 1 - t) > 0.1


def scaled(s, v):
    return Tangent(s * v.mean, s * v.lift)


@given(strategies.singular_pairs)
def test_geodesic_ends_are_the_measures(pair):
    for t, end in ((0.0, pair[0]), (1.0, pair[1])):
        point = bures.interpolate(*pair, t)
        np.testing.assert_array_equal(point.mean, end.mean)
        np.testing.assert_allclose(point.cov, end.cov, rtol=0, atol=100 * EPS * np.max(np.abs(end.cov)))


@given(strategies.singular_pairs, strategies.times, strategies.times)
def test_geodesic_has_constant_speed(pair, s, t):
    mu, nu = pair
    whole = bures.sq_distance(mu, nu)
    part = bures.sq_distance(bures.interpolate(mu, nu, s), bures.interpolate(mu, nu, t))
    # Roots: an error of u in the square is one of √u in a distance near zero, where directions vanish.
    assert abs(part**0.5 - abs(t - s) * whole**0.5) <= 4 * EPS**0.5 * trace(mu, nu) ** 0.5


@given(strategies.pairs, strategies.times, strategies.times, strategies.times)
def test_geodesic_of_a_geodesic(pair, s, t, r):
    mu, nu = pair
    inner = bures.interpolate(bures.interpolate(mu, nu, s), bures.interpolate(mu, nu, t), r)
    direct = bures.interpolate(mu, nu, (1 - r) * s + r * t)
    assert relative(inner.mean, direct.mean, 1 + np.max(np.abs([mu.mean, nu.mean]))) < ALG
    assert relative(inner.cov, direct.cov) < 1e3 * EPS * condition(mu.cov, nu.cov) ** 0.5


@given(strategies.pairs, strategies.times)
def test_geodesic_backwards(pair, t):
    mu, nu = pair
    forward, backward = bures.interpolate(mu, nu, t), bures.interpolate(nu, mu, 1.0 - t)
    assert relative(backward.cov, forward.cov, np.trace(mu.cov + nu.cov)) < 1e-12
    if 0 < t < 1:
        v, w = bures.velocity(mu, nu, t), bures.velocity(nu, mu, 1.0 - t)
        assert relative(w.lift, -v.lift, 1.0 + np.max(np.abs(v.lift))) < 100 * EPS * condition(mu.cov, nu.cov)


@given(strategies.triples, strategies.times)
def test_space_is_non_negatively_curved(triple, t):
    mu, nu, rho = triple
    point = bures.interpolate(mu, nu, t)
    chord = (1 - t) * bures.sq_distance(mu, rho) + t * bures.sq_distance(nu, rho)
    chord -= t * (1 - t) * bures.sq_distance(mu, nu)
    slack = 1e-12 * trace(mu, nu, rho)
    assert bures.sq_distance(point, rho) >= chord - slack
    if len(mu.mean) == 1:
        assert abs(bures.sq_distance(point, rho) - chord) < slack


# Tangent vectors, exp and log


@given(strategies.pairs)
def test_exp_undoes_log(pair):
    mu, nu = pair
    reached = bures.exp(mu, bures.log(mu, nu))
    assert relative(reached.mean, nu.mean, 1 + np.max(np.abs([mu.mean, nu.mean]))) < ALG
    assert relative(reached.cov, nu.cov) < 20 * cond_tolerance(mu.cov, nu.cov)


@given(strategies.pairs, st.floats(0.0, 0.9), strategies.seeds)
def test_log_undoes_exp_while_the_step_is_a_shortest_path(pair, size, seed):
    mu, _ = pair
    d = len(mu.mean)
    values = size * np.random.default_rng(seed).uniform(-1, 1, d)
    v = Tangent(
        mu.mean[::-1].copy(), oracles.from_spectrum(oracles.rotation(np.random.default_rng(seed), d), values)
    )
    back = bures.log(mu, bures.exp(mu, v))
    assert relative(back.mean, v.mean, 1 + 2 * np.max(np.abs(mu.mean))) < ALG
    assert relative(back.lift, v.lift, 1.0) < 1e3 * EPS * condition(mu.cov)


def test_a_longer_step_is_no_shortest_path():
    mu = Gaussian(np.zeros(2), np.eye(2))
    v = Tangent(np.zeros(2), -3.0 * np.eye(2))
    assert bures.sq_tangent_norm(mu, v) == pytest.approx(18.0, rel=1e-15)
    assert bures.sq_distance(mu, bures.exp(mu, v)) == pytest.approx(2.0, rel=1e-14)


def test_inner_product_is_that_of_the_fields(rng):
    """Over a cloud with exactly the measure's moments; ``tr(S S' Σ)`` is wrong unless S is symmetric."""
    mu = oracles.random_gaussian(rng, 3)
    u, v = (Tangent(rng.standard_normal(3), rng.standard_normal((3, 3))) for _ in range(2))
    x = np.concatenate([np.eye(3), -np.eye(3)]) * 3**0.5 @ oracles.sqrtm(mu.cov)
    truth = np.mean(np.sum((u.mean + x @ u.lift.T) * (v.mean + x @ v.lift.T), axis=1))
    assert bures.inner(mu, u, v) == pytest.approx(truth, rel=ALG)
    assert abs(u.mean @ v.mean + np.trace(u.lift @ v.lift @ mu.cov) - truth) > 0.01
    generator = Tangent(np.zeros(2), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    assert bures.sq_tangent_norm(Gaussian(np.zeros(2), np.eye(2)), generator) == 2.0  # and not -2


def test_log_is_the_gradient_of_half_the_squared_distance(pair, rng):
    """``∇ ½W²(·, nu)(mu) = -log``; the paper prints twice that."""
    mu, nu = pair
    xi = Tangent(rng.standard_normal(4), oracles.random_cov(rng, 4))
    slope = derivative(lambda h: 0.5 * bures.sq_distance(bures.exp(mu, scaled(h, xi)), nu))
    truth = -bures.inner(mu, bures.log(mu, nu), xi)
    assert relative(slope, truth) < FD
    assert relative(slope, 2 * truth) > 0.1
    assert relative(slope, -truth) > 0.1


def test_norm_of_log_is_the_distance(pair):
    mu, nu = pair
    assert relative(bures.sq_tangent_norm(mu, bures.log(mu, nu)), bures.sq_distance(mu, nu)) < ALG


# Velocities


@pytest.mark.parametrize("t", TIMES)
def test_velocity_is_the_textbooks(pair, t):
    mu, nu = pair
    C = oracles.gelbrich_map(mu.cov, nu.cov)
    T = (1 - t) * np.eye(4) + t * C
    truth = (C - np.eye(4)) @ np.linalg.inv(T)
    v = bures.velocity(mu, nu, t)
    np.testing.assert_array_equal(v.mean, nu.mean - mu.mean)
    np.testing.assert_array_equal(v.lift, v.lift.T)
    assert relative(v.lift, truth) < ALG
    wrong = {
        "the other end's inverse": (C - np.eye(4)) @ np.linalg.inv(t * np.eye(4) + (1 - t) * C),
        "the stray minus": -truth,
        "the Euclidean derivative": bures.euclidean_velocity(mu, nu, t).cov,
        "without the inverse": C - np.eye(4),
    }
    for name, variant in wrong.items():
        if not (name == "without the inverse" and t == 0) and not (
            name == "the other end's inverse" and t == 0.5
        ):
            assert relative(variant, truth) > 0.01, name


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_euclidean_velocity_is_the_derivative(pair, t):
    mu, nu = pair
    slope = derivative(lambda s: bures.interpolate(mu, nu, s).cov, t)
    v = bures.euclidean_velocity(mu, nu, t)
    assert relative(v.cov, slope) < FD
    assert relative(v.cov / 2, slope) > 0.1
    if t != 0.5:  # where the derivative of the mixture of covariances happens to be right
        assert relative(nu.cov - mu.cov, slope) > 0.01
    assert relative(bures.velocity(mu, nu, t).lift, slope) > 0.1
    np.testing.assert_array_equal(v.mean, nu.mean - mu.mean)


@given(strategies.pairs, strategies.times)
def test_velocity_solves_the_lyapunov_equation(pair, t):
    mu, nu = pair
    point, v = bures.path(mu, nu, t)
    _, rate = bures.euclidean_path(mu, nu, t)
    tolerance = 100 * EPS * condition(mu.cov, nu.cov)
    size = np.max(np.abs(rate.cov)) + np.max(np.abs(v.lift)) * np.max(np.abs(point.cov))
    assert np.max(np.abs(v.lift @ point.cov + point.cov @ v.lift - rate.cov)) <= tolerance * size
    truth = oracles.lyapunov(point.cov, rate.cov)
    assert relative(v.lift, truth, 1.0 + np.max(np.abs(truth))) < 10 * tolerance


def test_lyapunov_solution_undoes_the_euclidean_derivative(pair, rng):
    mu, nu = pair
    v = Tangent(rng.standard_normal(4), nu.cov)
    back = bures.from_euclidean(mu.cov, bures.to_euclidean(mu.cov, v))
    assert relative(back.lift, v.lift) < ALG
    np.testing.assert_array_equal(back.mean, v.mean)
    truth = oracles.lyapunov(mu.cov, nu.cov)
    solution = bures.from_euclidean(mu.cov, EuclideanTangent(mu.mean, nu.cov)).lift
    assert relative(solution, truth) < 1e-11
    assert relative(2 * solution, truth) > 0.1


def test_particles_move_straight(pair, rng):
    """``v_t(T_t x) = T x - x``: each particle has constant velocity."""
    mu, nu = pair
    x = rng.standard_normal((6, 4))
    truth = bures.push_forward(x, mu, nu) - x
    for t in TIMES:
        point, v = bures.path(mu, nu, t)
        at = x + t * truth
        assert relative(v.mean + (at - point.mean) @ v.lift, truth) < ALG
        if t > 0:
            assert relative(v.mean + (x - point.mean) @ v.lift, truth) > 1e-3  # evaluated at the wrong place


@given(strategies.pairs, strategies.times)
def test_kinetic_energy_is_the_squared_distance_at_all_times(pair, t):
    mu, nu = pair
    point, v = bures.path(mu, nu, t)
    assert relative(bures.sq_tangent_norm(point, v), bures.sq_distance(mu, nu), trace(mu, nu)) < 1e-11


def test_the_mixture_of_covariances_takes_more_energy(pair):
    """Of all curves between the two, the geodesic has the least (Benamou-Brenier)."""
    mu, nu = pair
    nodes, weights = np.polynomial.legendre.leggauss(20)
    energy = 0.0
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        cov = (1 - t) * mu.cov + t * nu.cov
        v = bures.from_euclidean(cov, EuclideanTangent(nu.mean - mu.mean, nu.cov - mu.cov))
        energy += w * bures.sq_tangent_norm(Gaussian(mu.mean, cov), v)
    assert energy > 1.001 * bures.sq_distance(mu, nu)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_velocity_is_the_rest_of_the_way_over_the_rest_of_the_time(pair, t):
    """``v_t = log_{mu_t}(nu) / (1 - t)``: a conditional field sees only the target."""
    mu, nu = pair
    point, v = bures.path(mu, nu, t)
    rest = bures.log(point, nu)
    assert relative(rest.lift / (1 - t), v.lift) < ALG
    assert relative(rest.mean / (1 - t), v.mean) < ALG
    assert relative(-rest.lift / (1 - t), v.lift) > 0.1
    C, T = oracles.gelbrich_map(mu.cov, nu.cov), np.eye(4) + t * (bures.gelbrich_map(mu, nu) - np.eye(4))
    assert relative(bures.gelbrich_map(point, nu), C @ np.linalg.inv(T)) < ALG


def test_velocity_at_the_ends_is_exact(pair):
    mu, nu = pair
    start, end = bures.velocity(mu, nu, 0.0), bures.velocity(mu, nu, 1.0)
    assert relative(start.lift, oracles.gelbrich_map(mu.cov, nu.cov) - np.eye(4)) < ALG
    assert relative(end.lift, np.eye(4) - oracles.gelbrich_map(nu.cov, mu.cov)) < ALG
    assert relative(start.lift, bures.log(mu, nu).lift) < 10 * EPS


# Singular covariances


def test_dirac_source():
    """``W² = ‖Δm‖² + tr B``, ``Σ_t = t² B``, ``S_t = I / t`` where B reaches."""
    B = np.array([[2.0, 0.5], [0.5, 1.0]])
    dirac, nu = Gaussian(np.zeros(2), np.zeros((2, 2))), Gaussian(np.ones(2), B)
    assert bures.sq_distance(dirac, nu) == pytest.approx(2.0 + 3.0, rel=1e-14)
    for t in (0.1, 0.5, 1.0):
        point, v = bures.path(dirac, nu, t, validate=t < 1)
        assert relative(point.cov, t * t * B) < 1e-14
        assert relative(v.lift, np.eye(2) / t) < 1e-13
        assert bures.sq_tangent_norm(point, v) == pytest.approx(5.0, rel=1e-13)
    assert relative(bures.velocity(nu, dirac, 0.5).lift, -2.0 * np.eye(2)) < 1e-13
    assert bures.sq_distance(dirac, dirac) == 0.0
    np.testing.assert_array_equal(bures.gelbrich_map(dirac, dirac), np.eye(2))
    assert np.max(np.abs(bures.gelbrich_map(nu, dirac))) < 10 * EPS


@given(strategies.singular_pairs, st.floats(0.05, 0.95))
def test_velocity_on_singular_covariances(pair, t):
    """Symmetric, with the derivative it must have, and the energy of the whole distance."""
    mu, nu = pair
    point, v = bures.path(mu, nu, t)
    _, rate = bures.euclidean_path(mu, nu, t)
    np.testing.assert_array_equal(v.lift, v.lift.T)
    size = np.max(np.abs(rate.cov)) + np.max(np.abs(v.lift)) * np.max(np.abs(point.cov))
    assert np.max(np.abs(v.lift @ point.cov + point.cov @ v.lift - rate.cov)) <= 1e-9 * size
    assert abs(bures.sq_tangent_norm(point, v) - bures.sq_distance(mu, nu)) <= 1e-9 * trace(mu, nu)


def test_map_exists_where_the_singular_source_covers_the_target(rng):
    """And is the identity on the directions that neither reaches."""
    Q = oracles.rotation(rng, 4)
    A, B = (Q @ np.diag([*values, 0.0, 0.0]) @ Q.T for values in ((1.0, 4.0), (9.0, 1.0)))
    mu, nu = (Gaussian(np.zeros(4), symmetric(cov)) for cov in (A, B))
    assert relative(bures.gelbrich_map(mu, nu), Q @ np.diag([3.0, 0.5, 1.0, 1.0]) @ Q.T) < 1e-13


@pytest.mark.parametrize("function", [bures.gelbrich_map, bures.log])
def test_no_map_from_a_singular_source_to_more_directions(function):
    flat, full = (Gaussian(np.zeros(2), np.diag(v)) for v in ([1.0, 0.0], [1.0, 1.0]))
    with pytest.raises(SingularCovarianceError, match="no transport map from mu"):
        function(flat, full)
    with pytest.raises(SingularCovarianceError, match="from mu"):
        bures.velocity(flat, full, 0.0)
    with pytest.raises(SingularCovarianceError, match="from nu"):
        bures.velocity(full, flat, np.array([0.5, 1.0]))
    assert bures.velocity(flat, full, 0.5).lift == pytest.approx(np.diag([0.0, 2.0]), abs=1e-14)
    assert function(full, flat) is not None
    assert bures.euclidean_velocity(flat, full, 0.0).cov == pytest.approx(np.zeros((2, 2)), abs=1e-15)


@pytest.mark.parametrize(
    ("angle", "variance", "reached"), [(0, 1e-10, 1), (0, 1e-16, 1), (1, 1e-10, 1), (1, 1e-16, 0)]
)
def test_only_rounding_counts_as_not_reached(angle, variance, reached):
    """1e-16 is rounding beside 1 in mixed coordinates, and a variance in one of its own."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flat, nearly = (
        Gaussian(np.zeros(2), oracles.from_spectrum(turn, np.array(v))) for v in ([1.0, 0.0], [1.0, variance])
    )
    if reached:
        with pytest.raises(SingularCovarianceError):
            bures.log(flat, nearly)
    else:
        np.testing.assert_allclose(bures.log(flat, nearly).lift, np.zeros((2, 2)), atol=10 * EPS)


def test_a_small_variance_is_a_direction():
    """Where a floor on the eigenvalues of the whole would drop it, and return 1."""
    for dtype, small, large in ((np.float32, 1.5e-6, 5e-4), (np.float64, 3e-15, 1e-12)):
        ends = [
            Gaussian(np.zeros(16, dtype), np.diag([1.0] * 15 + [v]).astype(dtype)) for v in (small, large)
        ]
        eps, ratio = float(np.finfo(dtype).eps), (large / small) ** 0.5
        assert bures.gelbrich_map(*ends)[-1, -1] == pytest.approx(ratio, rel=10 * eps)
        assert bures.log(*ends).lift[-1, -1] == pytest.approx(ratio - 1, rel=10 * eps)
        assert bures.gelbrich_map(*ends[::-1])[-1, -1] == pytest.approx(1 / ratio, rel=10 * eps)
        gap = (large**0.5 - small**0.5) ** 2
        assert bures.sq_distance(*ends) == pytest.approx(gap, rel=10 * eps)
        assert bures.pairwise_sq_distance(*batch(*ends))[0, 0] == pytest.approx(gap, rel=10 * eps)
        for t in (0.0, 0.25, 1.0):
            point, v = bures.path(*ends, t)
            deviation = (1 - t) * small**0.5 + t * large**0.5
            assert point.cov[-1, -1] == pytest.approx(deviation**2, rel=10 * eps)
            assert v.lift[-1, -1] == pytest.approx((large**0.5 - small**0.5) / deviation, rel=10 * eps)


def graded(rng, d, condition, axes):
    """Two covariances that share a direction of little variance: a coordinate, or one of all."""
    values = [np.ones(d), np.ones(d)]
    values[0][-1], values[1][-1] = 1 / condition, rng.uniform(2, 50) / condition
    if axes == "coordinates":
        return [np.diag(v) for v in values]
    if axes == "turned":
        basis = oracles.rotation(rng, d)
        return [oracles.from_spectrum(basis, v) for v in values]
    return [oracles.random_cov(rng, d, spread=4.0) * np.sqrt(np.outer(v, v)) for v in values]  # correlated


@pytest.mark.parametrize("axes", ["coordinates", "correlated", "turned"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [2, 16])
def test_a_map_is_right_or_refused_at_every_condition(d, dtype, axes, rng):
    """Against 60 digits: rounding in the coordinates' own axes, u κ in others, or an error."""
    eps = float(np.finfo(dtype).eps)
    last = -2 * np.log10(d * eps)  # beyond, what both reach counts as rounding
    refused = []
    for exponent in np.linspace(0, last, 17 if d == 2 else 7 if THOROUGH else 3):
        condition = 10.0**exponent
        A, B = (cov.astype(dtype) for cov in graded(rng, d, condition, axes))
        if axes == "turned" and condition * d * eps > 0.1:
            continue  # what is stored has no digits of it
        mu, nu = Gaussian(np.zeros(d, dtype), A), Gaussian(np.zeros(d, dtype), B)
        try:
            C = bures.gelbrich_map(mu, nu)
        except SingularCovarianceError:
            refused.append(condition)
            continue
        truth = oracles.exact_gelbrich_map(A.astype(float), B.astype(float))
        allowed = {"coordinates": 1.0, "correlated": condition, "turned": condition}[axes]
        assert relative(C, truth) < 20 * d * eps * min(allowed, 1 / (100 * d * eps)), condition
        lift = bures.velocity(mu, nu, 0.0).lift
        assert relative(lift, truth - np.eye(d)) < 20 * d * eps * min(allowed, 1 / (100 * d * eps))
    assert not refused or min(refused) > 0.1 / (d * eps)  # the domain
    assert axes == "turned" or refused


def test_signs_that_rounding_would_choose_are_refused():
    """Two covariances with a direction of variance 1e-24, correlated with another: its way is lost."""
    A = np.array([[1.0, 0.5e-12], [0.5e-12, 1e-24]])
    B = np.array([[1.0, 4.5e-12], [4.5e-12, 25e-24]])
    mu, nu = Gaussian(np.zeros(2), A), Gaussian(np.zeros(2), B)
    for call in (bures.gelbrich_map, bures.log, lambda mu, nu: bures.path(mu, nu, 0.5)):
        with pytest.raises(SingularCovarianceError, match="its sign is rounding"):
            call(mu, nu)
    assert bures.sq_distance(mu, nu) < 1e-20


def test_close_pairs_of_the_matrix_keep_their_digits(rng):
    """Where the difference of traces has none left."""
    mu = Gaussian(np.zeros((3, 4)), oracles.random_cov(rng, 3, 4))
    nu = Gaussian(mu.mean, mu.cov * (1 + 1e-9) ** 2)
    truth = 1e-18 * np.trace(mu.cov, axis1=1, axis2=2)
    result = np.diagonal(bures.pairwise_sq_distance(mu, nu))
    np.testing.assert_allclose(result, truth, rtol=1e-5)
    assert np.all(bures.pairwise_sq_distance(mu, mu).diagonal() < 1e-28)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_is_no_distance(library, d):
    """Not 0, and nobody else's."""
    other = np.stack([np.eye(d)] * 3)  # three, as elsewhere: JAX compiles for every shape
    cov = other.copy()
    cov[1, 0, 0] = np.nan
    mu, nu = (Gaussian(*library.arrays(Gaussian(np.zeros((3, d)), c))) for c in (cov, other))
    for call in (
        lambda: bures.pairwise_sq_distance(mu, nu, validate=False),
        lambda: bures.sq_distance(mu, nu, validate=False)[:, None],
        lambda: bures.gelbrich_map(mu, nu, validate=False)[:, 0],
        lambda: bures.velocity(mu, nu, 0.5, validate=False).lift[:, 0],
    ):
        try:
            values = to_host(call())
        except NonFiniteError:
            continue
        assert np.all(np.isnan(values[1]))
        assert np.all(np.isfinite(values[[0, 2]]))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("d", [1, 2, 3, 16, 64])
def test_any_size_in_float32(rng, d, size):
    """Squares of these covariances would underflow or overflow: nothing may square them."""
    mu, nu = (Gaussian(np.zeros((3, d)), oracles.random_cov(rng, 3, d)) for _ in range(2))
    small, large = (Gaussian(m.mean.astype(np.float32), (m.cov * size).astype(np.float32)) for m in (mu, nu))
    truth = bures.sq_distance(mu, nu)
    allowed = 20 * d * np.finfo(np.float32).eps  # each of d² roundings adds at random
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        distance = bures.sq_distance(small, large)
        matrix = bures.pairwise_sq_distance(small, large)
        C = bures.gelbrich_map(small, large)
        v = bures.velocity(small, large, 0.4)
        point = bures.interpolate(small, large, 0.4)
    traces = np.trace(mu.cov + nu.cov, axis1=1, axis2=2)
    assert np.all(np.abs(distance / size - truth) < allowed * traces)
    assert np.all(np.abs(np.diagonal(matrix) / size - truth) < allowed * traces)
    # κ = 30: the map and the velocity lose √κ digits more
    assert relative(C, bures.gelbrich_map(mu, nu)) < 10 * allowed
    assert relative(v.lift, bures.velocity(mu, nu, 0.4).lift) < 10 * allowed
    assert relative(point.cov / size, bures.interpolate(mu, nu, 0.4).cov) < allowed


# Every library, both float types


def tangent(mu):
    return Tangent(mu.mean, mu.cov)


CALLS = {
    "gelbrich_map": lambda mu, nu, t: bures.gelbrich_map(mu, nu),
    "push_forward": lambda mu, nu, t: bures.push_forward(mu.cov, mu, nu),
    "log": lambda mu, nu, t: bures.log(mu, nu),
    "exp": lambda mu, nu, t: bures.exp(mu, tangent(nu)),
    "path": bures.path,
    "euclidean_path": bures.euclidean_path,
    "interpolate": bures.interpolate,
    "velocity": bures.velocity,
    "euclidean_velocity": bures.euclidean_velocity,
    "to_euclidean": lambda mu, nu, t: bures.to_euclidean(mu.cov, tangent(nu)),
    "from_euclidean": lambda mu, nu, t: bures.from_euclidean(mu.cov, EuclideanTangent(*nu)),
    "inner": lambda mu, nu, t: bures.inner(mu, tangent(mu), tangent(nu)),
    "sq_tangent_norm": lambda mu, nu, t: bures.sq_tangent_norm(mu, tangent(nu)),
    "sq_distance": lambda mu, nu, t: bures.sq_distance(mu, nu),
}


@pytest.mark.parametrize("name", CALLS)
def test_libraries_agree(library, name, rng):
    for shape in library.batches:
        mu, nu = oracles.random_gaussian(rng, *shape, 3), oracles.random_gaussian(rng, *shape, 3)
        library.check(CALLS[name], mu, nu, rng.uniform(size=shape), ulps=ROUNDINGS)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_libraries_agree_on_the_matrix(library, d, rng):
    mu, nu = oracles.random_gaussian(rng, 3, d), oracles.random_gaussian(rng, 3, d)
    library.check(bures.pairwise_sq_distance, mu, nu, ulps=ROUNDINGS)


def test_matrix_of_empty_families(library):
    for n, m in [(0, 3), (3, 0), (0, 0)] if library.name != "jax" else [(0, 3)]:
        mu, nu = (Gaussian(np.zeros((k, 3)), np.zeros((k, 3, 3))) for k in (n, m))
        library.check(bures.pairwise_sq_distance, mu, nu, ulps=0)


def test_batches_broadcast(rng):
    mu, nu = oracles.random_gaussian(rng, 2, 1, 3), oracles.random_gaussian(rng, 4, 3)
    t = rng.uniform(size=(5, 1, 1))
    point, v = bures.path(mu, nu, t)
    assert point.mean.shape == v.mean.shape == (5, 2, 4, 3)
    assert point.cov.shape == v.lift.shape == (5, 2, 4, 3, 3)
    alone = bures.path(Gaussian(*(x[1, 0] for x in mu)), Gaussian(*(x[2] for x in nu)), float(t[3, 0, 0]))
    np.testing.assert_allclose(point.cov[3, 1, 2], alone[0].cov, rtol=1e-12)
    np.testing.assert_allclose(v.lift[3, 1, 2], alone[1].lift, rtol=1e-10, atol=1e-12)
    assert bures.sq_distance(mu, nu).shape == (2, 4)


@pytest.mark.parametrize("t", [0, 1, 0.5, np.float64(0.5), np.float32(0.5)], ids=repr)
def test_a_number_as_time_changes_no_dtype(t, rng):
    mu, nu = (Gaussian(*(x.astype(np.float32) for x in oracles.random_gaussian(rng, 2))) for _ in range(2))
    point, v = bures.path(mu, nu, t)
    assert {x.dtype for x in (*point, *v)} == {np.dtype(np.float32)}


def test_new_arrays_live_on_the_arguments_device(rng):
    xp = pytest.importorskip("array_api_strict")
    place = xp.Device("device1")

    def there(values):
        return xp.asarray(values, device=place)

    mu, nu = (Gaussian(*map(there, oracles.random_gaussian(rng, 3, 2))) for _ in range(2))
    t = there(np.array([0.0, 0.5, 1.0]))
    for name, call in CALLS.items():
        for array in map_leaves(call(mu, nu, t)):
            assert array.device == place, name
    assert bures.pairwise_sq_distance(mu, nu).device == place


def map_leaves(tree):
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in map_leaves(branch)]
    return [tree]


# Bad input


def good(d=2, *, dtype=np.float64, shape=()):
    return Gaussian(np.zeros((*shape, d), dtype), np.broadcast_to(np.eye(d, dtype=dtype), (*shape, d, d)))


PAIRED = {
    "gelbrich_map": bures.gelbrich_map,
    "log": bures.log,
    "sq_distance": bures.sq_distance,
    "path": lambda mu, nu: bures.path(mu, nu, 0.5),
    "euclidean_velocity": lambda mu, nu: bures.euclidean_velocity(mu, nu, 0.5),
}


@pytest.mark.parametrize("function", PAIRED.values(), ids=PAIRED)
def test_bad_measures_are_refused(function):
    bad = {
        "nu: mean must have shape": Gaussian(np.zeros(2), np.eye(3)),
        "dimension d must be at least 1": Gaussian(np.zeros(0), np.zeros((0, 0))),
        "nu.cov must be symmetric": Gaussian(np.zeros(2), np.array([[1.0, 0.1], [0.0, 1.0]])),
        "nu.cov must be positive semi-definite": Gaussian(np.zeros(2), np.diag([1.0, -0.1])),
        "nu.cov must be finite": Gaussian(np.zeros(2), np.diag([1.0, np.nan])),
        "nu.mean must be finite": Gaussian(np.array([0.0, np.inf]), np.eye(2)),
        "same dimension": good(3),
    }
    for message, nu in bad.items():
        with pytest.raises(ValueError, match=message):
            function(good(), nu)
    with pytest.raises(ValueError, match=r"mu\.cov must be symmetric"):
        function(bad["nu.cov must be symmetric"], good())
    with pytest.raises(ValueError, match=r"batches of mu, nu must broadcast; got mu \(2,\), nu \(3,\)"):
        function(good(shape=(2,)), good(shape=(3,)))
    with pytest.raises(TypeError, match="same dtype; got mu float64, nu float32"):
        function(good(), good(dtype=np.float32))
    with pytest.raises(TypeError, match="dtype float32 or float64; got int64"):
        function(good(), good(dtype=np.int64))


def test_mixed_libraries_are_refused():
    strict = pytest.importorskip("array_api_strict")
    other = Gaussian(strict.zeros(2), strict.eye(2))
    for function in (*PAIRED.values(), lambda mu, nu: bures.pairwise_sq_distance(good(shape=(1,)), nu[None])):
        with pytest.raises(TypeError):
            function(good(), other)
    with pytest.raises(TypeError, match="array"):
        bures.interpolate(good(), good(), strict.asarray(0.5))


@pytest.mark.parametrize("t", [-0.1, 1.1, np.nan, np.array([0.5, 2.0]), np.array([0.5, np.nan])], ids=str)
@pytest.mark.parametrize("function", [bures.path, bures.euclidean_path, bures.interpolate, bures.velocity])
def test_times_outside_are_refused(function, t):
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\]"):
        function(good(), good(), t)


def test_times_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match=r"batches of mu, nu, t must broadcast; got .* t \(4,\)"):
        bures.path(good(shape=(3,)), good(), np.zeros(4))
    with pytest.raises(TypeError, match="t must be a number or have the dtype of mu, float64; got float32"):
        bures.path(good(), good(), np.zeros(4, np.float32))


def test_matrix_wants_families():
    with pytest.raises(ValueError, match="nu must be a family"):
        bures.pairwise_sq_distance(good(shape=(2,)), good())
    with pytest.raises(ValueError, match="same dimension; got d = 2 and 3"):
        bures.pairwise_sq_distance(good(shape=(2,)), good(3, shape=(2,)))
    with pytest.raises(ValueError, match="positive semi-definite"):
        bures.pairwise_sq_distance(good(shape=(1,)), Gaussian(np.zeros((1, 1, 2))[0], -np.eye(2)[None]))
    with pytest.raises(TypeError, match="same dtype"):
        bures.pairwise_sq_distance(good(shape=(2,)), good(shape=(2,), dtype=np.float32))


def test_vectors_of_the_wrong_dimension_are_refused():
    v = Tangent(np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match=r"tangent vector at mu needs mean \(..., 2\)"):
        bures.exp(good(), v)
    with pytest.raises(ValueError, match="tangent vector at mu"):
        bures.sq_tangent_norm(good(), v)
    for x in (np.zeros(2), np.zeros((4, 3))):
        with pytest.raises(ValueError, match=r"x must have shape \(..., n, 2\)"):
            bures.push_forward(x, good(), good())


def test_values_are_not_checked_when_asked_not_to():
    indefinite = Gaussian(np.zeros(2), np.diag([1.0, -1.0]))
    assert np.isfinite(bures.sq_distance(good(), indefinite, validate=False))
    assert np.isfinite(bures.interpolate(good(), good(), 2.0, validate=False).cov).all()
