"""Roots, factors, projection and the Lyapunov equation."""

import contextlib

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative

from refwfm import psd
from refwfm._array import array_namespace
from refwfm.measures import NonFiniteError, SingularCovarianceError

ROUNDINGS = 1000  # condition number 30 times d² = 9 roundings, with a margin of four

square = strategies.dimensions.flatmap(lambda d: st.tuples(*[strategies.covariances(d, singular=True)] * 2))


@given(square)
def test_factor_and_root_give_back_the_matrix(pair):
    cov = pair[0]
    allowed = 50 * EPS * np.max(np.abs(cov))
    L, root = psd.factor(cov), psd.sqrtm(cov)
    assert np.max(np.abs(L @ L.T - cov)) <= allowed
    assert np.max(np.abs(root @ root - cov)) <= allowed
    assert np.max(np.abs(root - root.T)) <= allowed
    assert np.linalg.eigvalsh(root)[0] >= -50 * EPS * np.max(np.abs(root), initial=0.0)


def test_roots_are_scipys(rng):
    cov = oracles.random_cov(rng, 5)
    truth = oracles.sqrtm(cov)
    assert relative(psd.sqrtm(cov), truth) < 1e-13
    assert relative(psd.inv_sqrtm(cov), np.linalg.inv(truth)) < 1e-12
    for wrong in (cov, np.linalg.cholesky(cov), psd.factor(cov)):  # not the root, or not the symmetric one
        assert relative(wrong, truth) > 0.01


def test_inverse_root_of_the_nearly_singular(rng):
    """Against 60 digits: the error is the matrix's own, u κ."""
    cov = oracles.from_spectrum(oracles.rotation(rng, 3), np.array([1.0, 1e-4, 1e-8]))
    truth = oracles.exact_gelbrich_map(cov, np.eye(3))  # the map to the standard normal law
    assert relative(psd.inv_sqrtm(cov), truth) < 10 * EPS * 1e8


def test_zero_eigenvalues_stay_zero(rng):
    """Rounding leaves 1e-17 where the exact eigenvalue is 0; its root would be 1e-8."""
    half = rng.standard_normal((20, 3))
    L = psd.factor(half @ half.T)
    assert np.linalg.matrix_rank(L, tol=1e-12) == 3
    assert np.sum(np.any(L != 0, axis=0)) == 3
    values = np.linalg.eigvalsh(half @ half.T)
    assert np.max(np.sqrt(np.abs(values[:-3]))) > 1e-9


@given(square)
def test_procrustes_factors(pair):
    A, B = pair
    L, K = psd.procrustes_factors(A, B)
    scale = np.max(np.abs(A)) + np.max(np.abs(B))
    assert np.max(np.abs(L @ L.T - A)) <= 50 * EPS * scale
    assert np.max(np.abs(K @ K.T - B)) <= 50 * EPS * scale
    overlap = L.T @ K
    assert np.max(np.abs(overlap - overlap.T)) <= 100 * EPS * scale
    assert np.linalg.eigvalsh(overlap + overlap.T)[0] >= -100 * EPS * scale


def test_unturned_factors_have_no_symmetric_overlap(rng):
    A, B = oracles.random_cov(rng, 4), oracles.random_cov(rng, 4)
    overlap = psd.factor(A).T @ psd.factor(B)
    assert np.max(np.abs(overlap - overlap.T)) > 0.1


@given(strategies.covariances(4), strategies.covariances(4))
def test_lyapunov_solution_is_scipys(cov, matrix):
    truth = oracles.lyapunov(cov, matrix)
    condition = np.linalg.cond(cov)
    solution = psd.solve_lyapunov(cov, matrix)
    assert relative(solution, truth) < 1e3 * EPS * condition
    assert relative(2 * solution, truth) > 0.1
    np.testing.assert_array_equal(solution, solution.T)


def test_lyapunov_solution_of_least_norm():
    """Where two eigenvalues vanish the equation says nothing: zero."""
    cov = np.diag([4.0, 0.0, 0.0])
    matrix = np.array([[8.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        psd.solve_lyapunov(cov, matrix), [[1.0, 0.5, 0.0], [0.5, 0, 0], [0, 0, 0]], atol=1e-15
    )
    np.testing.assert_array_equal(psd.solve_lyapunov(np.zeros((2, 2)), np.zeros((2, 2))), np.zeros((2, 2)))


@given(st.integers(1, 6), strategies.seeds, st.floats(1e-3, 1e3))
def test_projection_is_the_nearest(d, seed, scale):
    """Optimality of a projection on a cone: the residual is orthogonal to it, and its negative dual."""
    rng = np.random.default_rng(seed)
    matrix = scale * rng.standard_normal((d, d))
    symmetric = (matrix + matrix.T) / 2
    nearest = psd.project_psd(matrix)
    residual = nearest - symmetric
    allowed = 100 * EPS * scale * d
    np.testing.assert_array_equal(nearest, nearest.T)
    assert np.linalg.eigvalsh(nearest)[0] >= -allowed
    assert np.linalg.eigvalsh(residual)[0] >= -allowed
    assert abs(np.sum(nearest * residual)) <= allowed * scale * d
    assert np.max(np.abs(psd.project_psd(nearest) - nearest)) <= allowed


def test_the_absolute_value_is_no_projection():
    matrix = np.diag([1.0, -1.0])
    np.testing.assert_array_equal(psd.project_psd(matrix), np.diag([1.0, 0.0]))


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_nuclear_norm_is_the_sum_of_singular_values(d, rng):
    matrix = rng.standard_normal((40, d, d))
    matrix[20:, :, 0] *= -1  # both signs of the determinant
    truth = np.linalg.svd(matrix, compute_uv=False).sum(axis=-1)
    np.testing.assert_allclose(psd.nuclear_norm(matrix), truth, rtol=1e-14)
    if d > 1:
        assert np.max(np.abs(np.linalg.norm(matrix, axis=(-2, -1)) - truth)) > 0.1
        assert np.max(np.abs(np.abs(np.trace(matrix, axis1=1, axis2=2)) - truth)) > 0.1


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_nuclear_norm_of_any_size_in_float32(d, size, rng):
    matrix = rng.standard_normal((10, d, d))
    scaled = psd.nuclear_norm((size * matrix).astype(np.float32))
    np.testing.assert_allclose(scaled / size, psd.nuclear_norm(matrix), rtol=1e-5)


def test_nuclear_norm_of_singular_matrices():
    rank_one = np.outer([3.0, 4.0], [0.6, 0.8])
    assert psd.nuclear_norm(rank_one) == pytest.approx(5.0, rel=1e-15)
    assert psd.nuclear_norm(np.zeros((2, 2))) == 0.0


def test_lift_of_least_norm(rng):
    """``S M = Ṁ`` for a full factor; for a thin one S is symmetric and right on the range of M."""
    M, S = oracles.random_cov(rng, 4), oracles.random_cov(rng, 4)
    assert relative(psd.solve_lift(M, S @ M), S) < 1e-12
    thin = np.concatenate([M[:, :2], np.zeros((4, 2))], axis=1)
    lift = psd.solve_lift(thin, S @ thin)
    assert relative(lift @ thin, S @ thin) < 1e-12
    assert np.linalg.norm(lift) < np.linalg.norm(S)
    np.testing.assert_array_equal(lift, lift.T)


CALLS = {
    "sqrtm": lambda A, B: psd.sqrtm(A),
    "inv_sqrtm": lambda A, B: psd.inv_sqrtm(A),
    "project_psd": lambda A, B: psd.project_psd(A - B),
    "solve_lyapunov": psd.solve_lyapunov,
    "solve_lift": psd.solve_lift,
    "nuclear_norm": lambda A, B: psd.nuclear_norm(A),
    # factors are unique only up to a rotation
    "factor": lambda A, B: psd.factor(A) @ psd.factor(A).mT,
}


@pytest.mark.parametrize("name", CALLS)
def test_libraries_agree(library, name, rng):
    for shape in library.batches:
        A, B = (oracles.random_cov(rng, *shape, 3) for _ in range(2))
        library.check(CALLS[name], A, B, ulps=ROUNDINGS)


@pytest.mark.parametrize("function", [psd.sqrtm, psd.inv_sqrtm])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 3)), r"shape \(..., d, d\)"),
        (np.zeros(3), r"shape \(..., d, d\)"),
        (np.zeros((0, 0)), "d >= 1"),
        (np.diag([1.0, np.nan]), "finite"),
        (np.array([[1.0, 1.0], [0.0, 1.0]]), "symmetric"),
        (np.diag([1.0, -1.0]), "project_psd"),
    ],
)
def test_bad_matrices_are_refused(function, bad, message):
    with pytest.raises(ValueError, match=message):
        function(bad)


def test_no_inverse_root_of_a_singular_matrix():
    with pytest.raises(SingularCovarianceError, match="add a multiple of the identity"):
        psd.inv_sqrtm(np.diag([1.0, 0.0]))


DECOMPOSED = {
    "factor": psd.factor,
    "project_psd": psd.project_psd,
    "sqrtm": lambda cov: psd.sqrtm(cov, validate=False),
    "procrustes_factors": lambda cov: psd.procrustes_factors(cov, cov)[1],
    "solve_lift": lambda cov: psd.solve_lift(cov, cov),
    "nuclear_norm": psd.nuclear_norm,
}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", DECOMPOSED)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_error_of_a_library_reaches_the_user(name, value, library):
    """Unless values are looked at first, a library returns what it likes, or refuses: then for NaN's sake."""
    cov = np.stack([np.eye(40), np.eye(40)])
    cov[1, 3, 4] = cov[1, 4, 3] = value
    with contextlib.suppress(NonFiniteError):
        DECOMPOSED[name](library.array(cov))


def test_a_singular_matrix_is_called_singular(library):
    matrix = library.array(np.zeros((2, 2)))
    inverse = array_namespace(matrix).linalg.inv
    if library.name != "jax":  # which returns infinities
        with pytest.raises(SingularCovarianceError, match="the cov is singular"):
            psd.decompose(inverse, matrix, "the cov")


def test_nan_is_called_so(library):
    if library.name != "jax":  # which returns NaN
        with pytest.raises(NonFiniteError, match="matrix must be finite; got NaN or infinity"):
            psd.nuclear_norm(library.array(np.full((3, 3), np.nan)))


@pytest.mark.parametrize("d", [2, 3])
def test_the_root_of_a_covariance_does_not_depend_on_its_company(d):
    correlation = np.full((d, d), 0.5) + 0.5 * np.eye(d)
    sizes = np.logspace(0, -6, d)
    graded = sizes[:, None] * correlation * sizes  # takes two decompositions, the others one
    together = psd.sqrtm(np.stack([correlation, graded, np.eye(d)]))
    for cov, root in zip((correlation, graded, np.eye(d)), together, strict=True):
        np.testing.assert_array_equal(psd.sqrtm(cov), root)
        assert relative(root, oracles.sqrtm(cov)) < 1e-13
    assert relative(together[0], oracles.sqrtm(graded)) > 0.1
