"""Gaussians, families and moments."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import measures
from refwfm.clouds import moments
from refwfm.measures import Gaussian, check_gaussian, rescale, take

# Moments


def test_moments_are_numpys(rng):
    x = rng.standard_normal((7, 3))
    w = rng.uniform(size=7)
    w /= w.sum()
    mu = moments(x, w)
    np.testing.assert_allclose(mu.mean, w @ x, rtol=1e-13)
    np.testing.assert_allclose(mu.cov, np.cov(x.T, aweights=w, ddof=0), rtol=1e-12)
    uniform = moments(x)
    np.testing.assert_allclose(uniform.cov, np.cov(x.T, ddof=0), rtol=1e-12)
    # The covariance of the measure itself, not the estimate of another: nothing divides by n - 1.
    assert np.max(np.abs(uniform.cov - np.cov(x.T, ddof=1))) > 0.01


@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_moments_do_not_see_padding_or_split_atoms(n, d, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, d)), rng.uniform(0.1, 1.0, n)
    w /= w.sum()
    mu = moments(x, w)
    padded = moments(np.concatenate([x, np.full((2, d), np.nan)]), np.concatenate([w, [0.0, 0.0]]))
    split = moments(np.concatenate([x, x]), np.concatenate([w, w]) / 2)
    for other in (padded, split):
        np.testing.assert_allclose(other.mean, mu.mean, atol=1e-14)
        np.testing.assert_allclose(other.cov, mu.cov, atol=1e-13)


def test_moments_far_from_the_origin(rng):
    """Centred before it is squared: the offset costs its own digits, not their square."""
    x = rng.standard_normal((50, 2)).astype(np.float32)
    shifted = moments(x + np.float32(1000.0))
    assert np.max(np.abs(shifted.cov - moments(x).cov)) < 1000 * np.finfo(np.float32).eps * 10


def test_moments_of_one_atom_and_of_equal_atoms():
    mu = moments(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(mu.mean, [1.0, 2.0])
    np.testing.assert_array_equal(mu.cov, np.zeros((2, 2)))
    np.testing.assert_array_equal(moments(np.ones((4, 2))).cov, np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        (np.zeros(3), None, "points must have shape"),
        (np.zeros((0, 2)), None, "n >= 1"),
        (np.array([[np.nan]]), None, "finite where their weight is positive"),
        (np.array([[np.nan]]), np.ones(1), "finite where their weight is positive"),
        (np.zeros((3, 2)), np.ones(2) / 2, r"points \(3, 2\) and weights \(2,\)"),
        (np.zeros((3, 2)), np.ones(3), "sum to 1"),
        (np.zeros((2, 2)), np.array([1.5, -0.5]), "non-negative"),
        (np.zeros((2, 2)), np.array([np.nan, 1.0]), "non-negative"),
    ],
)
def test_moments_refuse(points, weights, message):
    with pytest.raises(ValueError, match=message):
        moments(points, weights)


# Families


def test_take_and_rescale(rng):
    family = oracles.random_gaussian(rng, 5, 2)
    chosen = take(family, np.array([3, 0, 3]))
    np.testing.assert_array_equal(chosen.mean, family.mean[[3, 0, 3]])
    np.testing.assert_array_equal(chosen.cov, family.cov[[3, 0, 3]])
    # The law of 2 x has four times the covariance.
    np.testing.assert_allclose(rescale(family, 2.0).cov, 4.0 * family.cov, rtol=1e-15)
    np.testing.assert_allclose(rescale(family, 2.0).mean, 2.0 * family.mean, rtol=1e-15)
    huge = rescale(Gaussian(np.ones(1, np.float32), np.full((1, 1), 1e-30, np.float32)), 1e25)
    assert huge.cov == pytest.approx(1e20)  # 1e25² alone would overflow


def test_libraries_agree(library, rng):
    for shape in library.batches:
        x = rng.standard_normal((*shape, 6, 3))
        w = rng.dirichlet(np.ones(6), size=shape)
        library.check(moments, x, ulps=50)  # a dozen roundings each
        library.check(moments, x, w, ulps=50)
        library.check(lambda mu: rescale(mu, 3.0), oracles.random_gaussian(rng, *shape, 3), ulps=4)
        library.check(check_gaussian, oracles.random_gaussian(rng, *shape, 3), ulps=2)
    library.check(lambda mu: take(mu, np.array([1, 0])), oracles.random_gaussian(rng, 3, 3), ulps=0)


# Checks


def test_check_symmetrises_rounding():
    cov = np.array([[1.0, 0.5 + 1e-10], [0.5, 1.0]])
    result = check_gaussian(Gaussian(np.zeros(2), cov)).cov
    np.testing.assert_array_equal(result, result.T)
    assert cov[0, 1] == 0.5 + 1e-10


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-8), ("float32", 1e-4)])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_asymmetry_is_relative(dtype, allowed, size):
    for factor, fine in ((0.5, True), (2.0, False)):
        cov = (size * np.array([[1.0, factor * allowed], [0.0, 1.0]])).astype(dtype)
        mu = Gaussian(np.zeros(2, dtype), cov)
        if fine:
            check_gaussian(mu)
        else:
            with pytest.raises(ValueError, match="must be symmetric"):
                check_gaussian(mu)


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_eigenvalues_below_zero_are_relative(size):
    eps = np.finfo(float).eps
    check_gaussian(Gaussian(np.zeros(2), size * np.diag([1.0, -100 * eps])))
    with pytest.raises(ValueError, match="positive semi-definite"):
        check_gaussian(Gaussian(np.zeros(2), size * np.diag([1.0, -1000 * eps])))


def test_check_names_the_argument_and_its_shape():
    with pytest.raises(ValueError, match=r"family: mean must have shape .* mean \(3, 2\) and cov \(2, 2\)"):
        check_gaussian(Gaussian(np.zeros((3, 2)), np.eye(2)), "family")
    with pytest.raises(ValueError, match="mean must have shape"):
        check_gaussian(Gaussian(np.asarray(0.0), np.eye(1)))
    with pytest.raises(ValueError, match="d must be at least 1"):
        check_gaussian(Gaussian(np.zeros(0), np.zeros((0, 0))))
    with pytest.raises(TypeError, match=r"same dtype; got mu\.mean float64, mu\.cov float32"):
        check_gaussian(Gaussian(np.zeros(1), np.eye(1, dtype=np.float32)))
    with pytest.raises(TypeError, match="int64"):
        check_gaussian(Gaussian(np.zeros(1, int), np.eye(1, dtype=int)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_member_of_a_family_is_found(bad, rng):
    family = oracles.random_gaussian(rng, 4, 2)
    cov = family.cov.copy()
    cov[2, 0, 0] = bad
    with pytest.raises(ValueError, match=r"family\.cov must be finite"):
        check_gaussian(Gaussian(family.mean, cov), "family")
    assert check_gaussian(Gaussian(family.mean, cov), validate=False).cov is cov
    cov[2] = -family.cov[2]
    with pytest.raises(ValueError, match="positive semi-definite"):
        check_gaussian(Gaussian(family.mean, cov))


def test_check_of_an_empty_batch():
    empty = Gaussian(np.zeros((0, 3)), np.zeros((0, 3, 3)))
    assert check_gaussian(empty) is empty
    assert issubclass(measures.SingularCovarianceError, ValueError)
