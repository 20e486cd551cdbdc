"""Sources of point clouds: Cholesky factors and the law fitted to them, clouds of any sizes."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from refwfm._array import to_host
from refwfm.clouds import check_cloud, moments, pad, sizes, unpad
from refwfm.sources.clouds import (
    CholeskyNormal,
    cholesky,
    fit_cholesky_normal,
    prefix_weights,
    sample_cholesky_normal,
    sample_standard_normal,
    sample_uniform,
)

LIKE = np.zeros(1)


def source(d=3, seed=0):
    """Means and deviations of entries of lower-triangular factors."""
    rng = np.random.default_rng(seed)
    return CholeskyNormal(np.tril(rng.normal(size=(d, d))), np.tril(rng.uniform(0.2, 1.5, (d, d))))


SAMPLERS = {
    "cholesky": lambda rng, sizes: sample_cholesky_normal(source(), rng=rng, sizes=sizes),
    "normal": lambda rng, sizes: sample_standard_normal(rng=rng, sizes=sizes, d=3, like=LIKE),
    "uniform": lambda rng, sizes: sample_uniform(rng=rng, sizes=sizes, d=3, like=LIKE),
}


# Factors


@pytest.mark.parametrize("d", [1, 2, 3, 16])
def test_factor_is_lapacks(rng, d):
    cov = oracles.random_cov(rng, 5, d)
    truth = np.linalg.cholesky(cov)
    assert relative(cholesky(cov), truth) < 1e-12
    if d > 1:
        wrong = {"root": oracles.psd_root(cov[0])[None], "upper": truth.mT, "from below": _from_below(cov)}
        for name, variant in wrong.items():
            assert relative(variant, truth[: len(variant)]) > 1e-3, name


def _from_below(cov):
    """``cov = L Lᵀ`` of an *upper*-triangular L: coordinates in the opposite order."""
    return np.linalg.cholesky(cov[:, ::-1, ::-1])[:, ::-1, ::-1]


@given(st.data(), st.integers(1, 6))
def test_factor_of_any_semidefinite_matrix(data, d):
    cov = data.draw(strategies.covariances(d, singular=True))
    factor = cholesky(cov)
    size = np.max(np.abs(cov))
    np.testing.assert_array_equal(factor, np.tril(factor))
    assert np.all(np.diagonal(factor) >= 0)
    assert np.max(np.abs(factor @ factor.T - cov)) <= 100 * d * EPS * size


@pytest.mark.slow
def test_factor_of_a_coordinate_that_does_not_vary_is_zero(library, rng):
    """Not a direction made of rounding, which would be another one in every library."""
    x = rng.normal(size=(4, 9, 5))
    x[..., [0, 3]] = 0.1
    cov = library.arrays(moments(x).cov)
    factor = cholesky(cov)
    assert library.owns(factor)
    host = to_host(factor)
    np.testing.assert_array_equal(host[:, :, [0, 3]], 0.0)
    varying = np.ix_(range(4), [1, 2, 4], [1, 2, 4])
    truth = np.zeros((4, 5, 5))
    truth[varying] = np.linalg.cholesky(moments(x).cov[varying])
    np.testing.assert_allclose(host, truth, atol=1000 * library.eps)


def test_factor_of_few_points_has_their_rank(rng):
    x = rng.normal(size=(3, 5))  # three points span two directions
    factor = cholesky(moments(x).cov)
    assert np.max(np.abs(factor[:, 2:])) < 100 * EPS
    assert np.min(np.abs(np.diagonal(factor)[:2])) > 0.1
    np.testing.assert_array_equal(cholesky(np.zeros((2, 2))), np.zeros((2, 2)))


# The fitted law


def test_fit_is_the_mean_and_deviation_of_lapacks_factors(rng):
    cov = oracles.random_cov(rng, 7, 3)
    fitted, factors = fit_cholesky_normal(cov), np.linalg.cholesky(cov)
    assert relative(fitted.mean, factors.mean(axis=0)) < 1e-12
    assert relative(fitted.std, factors.std(axis=0)) < 1e-11
    assert relative(factors.std(axis=0, ddof=1), fitted.std) > 0.01
    assert relative(np.linalg.cholesky(cov.mean(axis=0)), fitted.mean) > 0.01  # not the mean covariance's
    np.testing.assert_array_equal(np.triu(fitted.mean, 1), 0.0)
    np.testing.assert_array_equal(np.triu(fitted.std, 1), 0.0)


def test_fit_of_one_covariance_draws_from_its_normal_law(rng):
    cov = oracles.random_cov(rng, 1, 3)
    x = sample_cholesky_normal(fit_cholesky_normal(cov), rng=rng, sizes=np.array([40_000])).points[0]
    # Var of an empirical covariance's entries: (C_ij² + C_ii C_jj) / n.
    allowed = 5 * np.sqrt((cov[0] ** 2 + np.outer(np.diag(cov[0]), np.diag(cov[0]))) / len(x))
    assert np.all(np.abs(x.T @ x / len(x) - cov[0]) < allowed)


def second_moment(draws, rng, n=20_000):
    """Mean of ``x xᵀ`` over single points of n clouds and its standard error."""
    x = draws(rng, np.ones(n, int)).points[:, 0]
    products = x[:, :, None] * x[:, None, :]
    return products.mean(axis=0), products.std(axis=0) / np.sqrt(n), x


def test_second_moment_of_the_draws(rng):
    """``μ μᵀ + diag(Σⱼ σ_ij²)``; with the printed ``σ_L I`` as a covariance it would be ``diag(Σⱼ σ_ij)``."""
    law = source()
    truth = law.mean @ law.mean.T + np.diag(np.sum(law.std**2, axis=1))
    moment, error, x = second_moment(SAMPLERS["cholesky"], rng)
    assert np.max(np.abs(moment - truth) / error) < 5
    assert np.max(np.abs(x.mean(axis=0)) / (x.std(axis=0) / np.sqrt(len(x)))) < 5
    printed = CholeskyNormal(law.mean, np.sqrt(law.std))
    wrong = {
        "σ read as a variance": lambda rng, n: sample_cholesky_normal(printed, rng=rng, sizes=n),
        "Lᵀ": lambda rng, n: sample_cholesky_normal(CholeskyNormal(*(p.T for p in law)), rng=rng, sizes=n),
        "no deviation": lambda rng, n: sample_cholesky_normal(
            law._replace(std=0 * law.std), rng=rng, sizes=n
        ),
    }
    for name, draws in wrong.items():
        moment, error, _ = second_moment(draws, rng)
        assert np.max(np.abs(moment - truth) / error) > 10, name


def test_points_of_a_cloud_share_their_factor(rng):
    """The covariances of large clouds vary as ``L Lᵀ`` does, and have full rank."""
    law = CholeskyNormal(np.eye(2), np.tril(np.full((2, 2), 0.5)))
    cov = moments(*sample_cholesky_normal(law, rng=rng, sizes=np.full(400, 500))).cov
    # Var L₁₁² = 4 μ² σ² + 2 σ⁴ = 1.125 with μ = 1, σ = ½; one factor for each point would leave about 2/500.
    assert 0.7 < cov[:, 0, 0].var() < 1.7
    assert np.linalg.matrix_rank(cov).min() == 2


def test_clouds_of_one_fixed_law_collapse_and_those_of_drawn_laws_do_not():
    def mean_distance(draw, n):
        x = draw(np.random.default_rng(0), np.full(24, n)).points
        costs = [cdist(a, b, "sqeuclidean") for a, b in zip(x[::2], x[1::2], strict=True)]
        return np.mean([cost[linear_sum_assignment(cost)].mean() for cost in costs])

    fixed = [mean_distance(SAMPLERS["normal"], n) for n in (16, 64, 256)]
    drawn = [mean_distance(SAMPLERS["cholesky"], n) for n in (16, 64, 256)]
    assert fixed[0] > 1.5 * fixed[1] > 2.2 * fixed[2]
    assert drawn[2] > 0.6 * drawn[0]
    assert drawn[2] > 4 * fixed[2]


# Fixed laws


@pytest.mark.parametrize(("name", "fourth"), [("normal", 3.0), ("uniform", 1.8)])
def test_fixed_laws_have_mean_0_and_variance_1(rng, name, fourth):
    x = SAMPLERS[name](rng, np.array([50_000])).points[0]
    for power, truth in ((1, 0.0), (2, 1.0), (4, fourth)):
        values = x**power
        assert np.max(np.abs(values.mean(axis=0) - truth) / (values.std(axis=0) / np.sqrt(len(x)))) < 5
    assert np.max(np.abs(np.corrcoef(x.T) - np.eye(3))) < 5 / np.sqrt(len(x))
    assert (np.max(np.abs(x)) <= 3**0.5) == (name == "uniform")


# Sizes, padding, seeds


@pytest.mark.parametrize("name", SAMPLERS)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_clouds_have_their_sizes(name, counts):
    cloud = SAMPLERS[name](np.random.default_rng(0), np.array(counts))
    assert cloud.points.shape == (len(counts), max(counts), 3)
    np.testing.assert_array_equal(sizes(cloud), counts)
    checked = check_cloud(cloud)  # weights sum to 1
    np.testing.assert_array_equal(checked.points, cloud.points)  # padding is zero already
    again = pad(unpad(cloud))
    np.testing.assert_array_equal(again.points, cloud.points)
    np.testing.assert_allclose(again.weights, cloud.weights, rtol=1e-15)


@pytest.mark.parametrize("name", SAMPLERS)
def test_padding_takes_no_random_numbers(name):
    """A cloud is the same whatever the sizes of those after it; another seed gives another."""
    one = SAMPLERS[name](np.random.default_rng(0), np.array([3, 2, 4]))
    two = SAMPLERS[name](np.random.default_rng(0), np.array([3, 2, 9]))
    np.testing.assert_array_equal(one.points[:2, :3], two.points[:2, :3])
    other = SAMPLERS[name](np.random.default_rng(1), np.array([3, 2, 4]))
    assert np.min(np.abs(one.points - other.points)[one.weights > 0]) > 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_clouds(name, rng):
    cloud = SAMPLERS[name](rng, np.zeros(0, int))
    assert (cloud.points.shape, cloud.weights.shape) == ((0, 1, 3), (0, 1))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 3))
def test_prefix_weights(counts, more):
    n = max(counts) + more
    expected = [[1 / k] * k + [0.0] * (n - k) for k in counts]
    np.testing.assert_array_equal(prefix_weights(np.array(counts), n), expected)


# Every library


def test_libraries_agree(library, rng):
    for shape in library.batches:
        library.check(cholesky, oracles.random_cov(rng, *shape, 3), ulps=1000)
    library.check(fit_cholesky_normal, oracles.random_cov(rng, 5, 3), ulps=1000)
    counts = np.array([2, 5, 1])
    library.check(
        lambda law: sample_cholesky_normal(law, rng=np.random.default_rng(0), sizes=counts), source(), ulps=20
    )
    for sampler in (sample_standard_normal, sample_uniform):
        library.check(
            lambda like, sampler=sampler: sampler(rng=np.random.default_rng(0), sizes=counts, d=2, like=like),
            LIKE,
            ulps=1,
        )


def test_draws_live_on_the_sources_device():
    xp = pytest.importorskip("array_api_strict")
    place = xp.Device("device1")
    law = CholeskyNormal(*(xp.asarray(part, device=place) for part in source()))
    like = xp.zeros(1, device=place)
    rng, counts = np.random.default_rng(0), np.array([1, 2])
    for cloud in (
        sample_cholesky_normal(law, rng=rng, sizes=counts),
        sample_uniform(rng=rng, sizes=counts, d=2, like=like),
    ):
        assert {part.device for part in cloud} == {place}
    assert cholesky(xp.asarray(np.eye(2)[None], device=place)).device == place


# Bad input


@pytest.mark.parametrize(
    ("cov", "message"),
    [
        (np.zeros((0, 2, 2)), r"\(N, d, d\) with N, d >= 1; got \(0, 2, 2\)"),
        (np.eye(2), r"got \(2, 2\)"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.full((1, 2, 2), np.nan), "must be finite"),
        (-np.eye(2)[None], "positive semi-definite"),
        (np.array([[[1.0, 0.5], [0.0, 1.0]]]), "symmetric"),
    ],
)
def test_bad_covariances_are_refused(cov, message):
    with pytest.raises(ValueError, match=message):
        fit_cholesky_normal(cov)


def test_values_are_not_checked_when_asked_not_to():
    assert np.isfinite(fit_cholesky_normal(np.diag([1.0, -1e-3])[None], validate=False).mean).all()


@pytest.mark.parametrize("bad", [[0], [3, -1], [1.0], [np.nan], 3, [[1]], [True]], ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_bad_sizes_are_refused(name, bad, rng):
    with pytest.raises(ValueError, match="sizes must be integers of at least 1, one for each cloud"):
        SAMPLERS[name](rng, np.array(bad))


def test_sizes_beyond_the_rows_are_refused():
    with pytest.raises(ValueError, match="sizes must be integers from 1 to 4"):
        prefix_weights(np.array([5]), 4)


# What may not vanish


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
def test_factors_scale_with_the_covariance(scale):
    cov = np.asarray([[4.0, 2.0], [2.0, 2.0]])
    np.testing.assert_allclose(cholesky(scale * cov) / scale**0.5, [[2.0, 0.0], [1.0, 1.0]], atol=1e-14)


def test_each_coordinate_has_its_own_unit(library):
    """A deviation of 1e-10 beside one of 1 is a direction, not rounding."""
    small = 1e-10 if library.dtype == "float64" else 1e-5
    unit = np.asarray([1.0, small])
    cov = library.array(unit[:, None] * np.asarray([[4.0, 2.0], [2.0, 2.0]]) * unit)
    factor = to_host(cholesky(cov)).astype(np.float64) / unit[:, None]
    np.testing.assert_allclose(factor, [[2.0, 0.0], [1.0, 1.0]], atol=50 * library.eps)


def test_nan_is_no_coordinate_that_stands_still():
    factor = cholesky(np.asarray([[np.nan, 0.0], [0.0, 1.0]]))
    assert np.isnan(factor).any()
