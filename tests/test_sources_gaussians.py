"""Sources: the fitted Gaussian-Wishart law, and draws from a family."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from oracles import relative

from refwfm._array import to_host
from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian
from refwfm.sources.gaussians import fit_gaussian_wishart, sample_empirical, sample_gaussian_wishart

DRAWS = 20_000


@pytest.fixture(scope="module")
def family():
    return oracles.random_gaussian(np.random.default_rng(0), 6, 3)


def test_fit(family):
    source = fit_gaussian_wishart(family, df=7)
    np.testing.assert_allclose(source.mean, family.mean.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        source.std, family.mean.std(axis=0), rtol=1e-13
    )  # ddof 0: of the family itself
    assert np.max(np.abs(source.std - family.mean.std(axis=0, ddof=1))) > 0.01
    assert relative(source.root @ source.root.T, barycenter(family).gaussian.cov) < 1e-13
    assert source.df == 7
    assert fit_gaussian_wishart(family).df == 6


def test_moments_of_the_draws(family):
    """``E Σ = Σ̄``: with the scale that the paper prints it would be df Σ̄."""
    df = 5
    source = fit_gaussian_wishart(family, df=df)
    mu = sample_gaussian_wishart(source, rng=np.random.default_rng(1), size=DRAWS)
    bar = source.root @ source.root.T
    # Var Σ_ij = (Σ̄_ij² + Σ̄_ii Σ̄_jj) / df for a Wishart law of mean Σ̄.
    variance = (bar**2 + np.outer(np.diag(bar), np.diag(bar))) / df

    def z_score(draws, expected):
        return np.max(np.abs(draws.mean(axis=0) - expected) / np.sqrt(variance / DRAWS))

    assert z_score(mu.cov, bar) < 5
    assert z_score(df * mu.cov, bar) > 100
    assert np.max(np.abs(mu.cov.var(axis=0) / variance - 1)) < 0.2  # fourth moments: wide tails
    assert np.max(np.abs(mu.mean.mean(axis=0) - source.mean) / source.std) < 5 / DRAWS**0.5
    np.testing.assert_allclose(mu.mean.std(axis=0), source.std, rtol=0.05)
    correlation = np.corrcoef(mu.mean.T, mu.cov[:, 0, 0])[-1, :-1]
    assert np.max(np.abs(correlation)) < 5 / DRAWS**0.5  # means and covariances are independent


@given(strategies.seeds)
def test_draws_are_positive_definite(seed):
    family = oracles.random_gaussian(np.random.default_rng(0), 6, 3)
    source = fit_gaussian_wishart(family, df=3)  # the least that is allowed
    mu = sample_gaussian_wishart(source, rng=np.random.default_rng(seed), size=20)
    np.testing.assert_array_equal(mu.cov, mu.cov.mT)
    assert np.linalg.eigvalsh(mu.cov).min() > 0


def test_many_degrees_of_freedom_concentrate(family):
    source = fit_gaussian_wishart(family, df=100_000)
    mu = sample_gaussian_wishart(source, rng=np.random.default_rng(2), size=3)
    assert relative(mu.cov, source.root @ source.root.T) < 5 * 2 * (2 / 100_000) ** 0.5


def test_same_generator_same_draws(family):
    source = fit_gaussian_wishart(family)
    one, two, other = (
        sample_gaussian_wishart(source, rng=np.random.default_rng(s), size=4) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.cov, two.cov)
    assert np.max(np.abs(one.cov - other.cov)) > 0.01


def test_draws_from_a_family(family):
    drawn, index = sample_empirical(family, rng=np.random.default_rng(5), size=6000)
    np.testing.assert_array_equal(drawn.mean, family.mean[index])
    np.testing.assert_array_equal(drawn.cov, family.cov[index])
    frequency = np.bincount(index, minlength=6) / 6000
    assert np.max(np.abs(frequency - 1 / 6)) < 5 * (1 / 6 / 6000) ** 0.5


def test_libraries_agree(library, family):
    """The draws too: the root of the mean covariance must be the unique symmetric one."""

    def draw(family):
        source = fit_gaussian_wishart(family, df=4)
        mu = sample_gaussian_wishart(source, rng=np.random.default_rng(7), size=3)
        return source[:3], mu, sample_empirical(family, rng=np.random.default_rng(8), size=3)[0]

    # The barycenter is converged to 1e-9 or 1e-5 and not to rounding.
    library.check(draw, family, ulps=1e-8 / 2.2e-16)
    repeated = Gaussian(
        family.mean, np.broadcast_to(np.eye(3), (6, 3, 3))
    )  # any basis is one of eigenvectors
    library.check(draw, repeated, ulps=1e-8 / 2.2e-16)


@pytest.mark.parametrize(
    ("df", "error"),
    [
        (2, ValueError),
        (0, ValueError),
        (-1, ValueError),
        (True, ValueError),
        (3.5, TypeError),
        ("4", TypeError),
    ],
)
def test_too_few_or_broken_degrees_of_freedom(family, df, error):
    with pytest.raises(error, match="df must be an integer"):
        fit_gaussian_wishart(family, df=df)


def test_degrees_of_freedom_may_be_numpys(family):
    assert fit_gaussian_wishart(family, df=np.int64(4)).df == 4


def leads(rng, n=20):
    """Fifteen leads, four of them sums of others up to noise: four eigenvalues near 1e-8 beside 0.5."""
    mixing = rng.standard_normal((n, 11, 11)) * np.geomspace(0.2, 0.02, 11)
    sums = np.zeros((4, 11))
    sums[[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 1, 4, 0, 5]] = [1, -1, 1, 1, 1, 1, -0.5, -0.5]
    half = np.concatenate([np.eye(11), sums]) @ mixing
    return Gaussian(rng.standard_normal((n, 15)), half @ half.mT + 1e-8 * np.eye(15))


def test_a_family_that_spans_almost_nothing_in_some_directions(library, rng):
    """Fitted in float64 whatever the dtype: the float32 source is the rounded one."""
    family = leads(rng)
    assert np.max(np.linalg.eigvalsh(family.cov)[:, 3]) < 2e-8
    rounded = Gaussian(*(part.astype(library.dtype).astype(np.float64) for part in family))
    truth = fit_gaussian_wishart(rounded, validate=False)  # rounding to float32 leaves eigenvalues below 0
    source = fit_gaussian_wishart(Gaussian(*library.arrays(rounded)))
    for part, expected in zip(source[:3], truth[:3], strict=True):
        assert library.owns(part)
        np.testing.assert_array_equal(to_host(part), expected.astype(to_host(part).dtype))


def test_empty_and_bad_families():
    empty = Gaussian(np.zeros((0, 2)), np.zeros((0, 2, 2)))
    with pytest.raises(ValueError, match="at least one"):
        fit_gaussian_wishart(empty)
    with pytest.raises(ValueError, match="at least one member"):
        sample_empirical(empty, rng=np.random.default_rng(0), size=2)
    with pytest.raises(ValueError, match=r"family\.cov must be positive semi-definite"):
        fit_gaussian_wishart(Gaussian(np.zeros((1, 2)), -np.eye(2)[None]))
