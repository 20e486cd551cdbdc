"""The nearest reference member, exactly, without computing most of the distances."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative

from refwfm.measures import Gaussian
from refwfm.metrics import nearest_gaussians
from refwfm.metrics.nearest_gaussians import nearest


def textbook_matrix(mu, nu):
    return np.array(
        [
            [oracles.sq_distance(Gaussian(*a), Gaussian(*b)) for b in zip(*nu, strict=True)]
            for a in zip(*mu, strict=True)
        ]
    )


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 3), strategies.seeds, st.floats(0.0, 3.0))
def test_it_is_the_least_of_all_distances(n, m, d, seed, offset):
    rng = np.random.default_rng(seed)
    mu, nu = oracles.random_gaussian(rng, n, d), oracles.random_gaussian(rng, m, d)
    mu = Gaussian(mu.mean + offset, mu.cov)
    matrix = textbook_matrix(mu, nu)
    result = nearest(mu, nu)
    scale = np.max(np.sum(mu.mean**2, axis=1)) + 30 * d
    np.testing.assert_allclose(result.sq_distance, matrix.min(axis=1), rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        matrix[np.arange(n), result.member], matrix.min(axis=1), rtol=0, atol=1e-12 * scale
    )
    assert type(result.member) is np.ndarray


@given(strategies.tuples_of_gaussians(2, singular=True))
def test_the_bounds_hold(pair):
    """``h / 2 <= bures² <= h`` with ``h = ‖A^{1/2} - B^{1/2}‖_F²``."""
    A, B = (m.cov for m in pair)
    d = len(A)
    root_a, root_b = oracles.psd_root(A), oracles.psd_root(B)
    h = np.sum((root_a - root_b) ** 2)
    overlap = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    bures = np.trace(A) + np.trace(B) - 2 * overlap
    slack = 100 * d * EPS * (np.trace(A) + np.trace(B))
    assert h / 2 - slack <= bures <= h + slack


def test_the_bounds_are_sharp():
    """Pure states at an angle come near the lower one, commuting covariances meet the upper one."""
    x = np.array([np.cos(1.5), np.sin(1.5)])
    A, B = np.diag([1.0, 0.0]), np.outer(x, x)
    h = np.sum((A - B) ** 2)  # projections are their own roots
    bures = 2 - 2 * np.cos(1.5)
    assert h / 2 < bures < h
    near = np.array([np.cos(1e-3), np.sin(1e-3)])
    tight = 2 - 2 * near[0]
    assert tight / np.sum((A - np.outer(near, near)) ** 2) == pytest.approx(0.5, rel=1e-5)


def test_most_pairs_are_excluded_and_none_that_matters(rng):
    mu, nu = oracles.random_gaussian(rng, 30, 3), oracles.random_gaussian(rng, 200, 3)
    mask = nearest_gaussians._may_be_nearest(mu, nu)
    matrix = textbook_matrix(mu, nu)
    assert np.all(mask[np.arange(30), matrix.argmin(axis=1)])
    assert mask.mean() < 0.5


@pytest.mark.parametrize("block", [1, 7])
def test_blocks_do_not_change_the_result(rng, monkeypatch, block):
    mu, nu = oracles.random_gaussian(rng, 6, 2), oracles.random_gaussian(rng, 9, 2)
    whole = nearest(mu, nu)
    monkeypatch.setattr(nearest_gaussians, "PAIR_BLOCK", block)
    parts = nearest(mu, nu)
    np.testing.assert_allclose(parts.sq_distance, whole.sq_distance, rtol=1e-12)
    np.testing.assert_array_equal(parts.member, whole.member)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("d", [1, 2, 3, 16])
def test_a_member_is_its_own_nearest_at_any_size(d, size, dtype, rng):
    family = oracles.random_gaussian(rng, 20, d)
    family = Gaussian(np.zeros((20, d), dtype), (size * family.cov).astype(dtype))
    with np.errstate(over="raise", invalid="raise"):
        result = nearest(family, family)
    np.testing.assert_array_equal(result.member, np.arange(20))
    assert np.all(result.sq_distance >= 0)
    assert np.max(result.sq_distance) <= 100 * d * np.finfo(dtype).eps * size


def test_far_from_the_origin_in_float32(rng):
    """The expansion of squared distances is centred."""
    mu, nu = oracles.random_gaussian(rng, 5, 2), oracles.random_gaussian(rng, 40, 2)
    truth = textbook_matrix(mu, nu)
    moved = [Gaussian((m.mean + 1000).astype(np.float32), m.cov.astype(np.float32)) for m in (mu, nu)]
    result = nearest(*moved)
    # What rounding the means to float32 at 1000 costs: 1000 eps in each distance.
    np.testing.assert_allclose(result.sq_distance**0.5, truth.min(axis=1) ** 0.5, atol=4e-4)


def test_ties_and_copies(rng):
    one = oracles.random_gaussian(rng, 1, 2)
    copies = Gaussian(np.repeat(one.mean, 5, axis=0), np.repeat(one.cov, 5, axis=0))
    result = nearest(copies, copies)
    assert np.max(result.sq_distance) < 100 * EPS
    assert set(result.member) <= set(range(5))
    points = Gaussian(np.zeros((3, 2)), np.zeros((3, 2, 2)))
    np.testing.assert_array_equal(nearest(points, points).sq_distance, np.zeros(3))


def test_libraries_agree(library, rng):
    mu, nu = oracles.random_gaussian(rng, 3, 3), oracles.random_gaussian(rng, 3, 3)
    library.check(lambda mu, nu: nearest(mu, nu).sq_distance, mu, nu, ulps=1000)
    np.testing.assert_array_equal(nearest(*library.arrays((mu, nu))).member, nearest(mu, nu).member)


def test_bad_input_is_refused(rng):
    good, empty = oracles.random_gaussian(rng, 2, 2), Gaussian(np.zeros((0, 2)), np.zeros((0, 2, 2)))
    for generated, reference, message in [
        (empty, good, "generated must have at least one member"),
        (good, empty, "reference must have at least one member"),
        (good, Gaussian(np.zeros(2), np.eye(2)), "reference must have at least one member"),
        (good, oracles.random_gaussian(rng, 2, 3), "same dimension; got 2 and 3"),
        (good, Gaussian(good.mean, -good.cov), "reference.cov must be positive semi-definite"),
        (Gaussian(good.mean, np.full((2, 2, 2), np.nan)), good, "generated.cov must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            nearest(generated, reference)


def test_relative_control(rng):
    """The root of the distance, or the distance of the means alone, would not pass."""
    mu, nu = oracles.random_gaussian(rng, 5, 2), oracles.random_gaussian(rng, 5, 2)
    least = textbook_matrix(mu, nu).min(axis=1)
    means = np.sum((mu.mean[:, None] - nu.mean) ** 2, axis=-1).min(axis=1)
    assert relative(nearest(mu, nu).sq_distance, least) < 1e-12
    assert relative(least**0.5, least) > 0.01
    assert relative(means, least) > 0.01


@pytest.mark.parametrize("xp", ["numpy", "torch"])
def test_excluded_members_are_not_found(rng, xp):
    """Each member's nearest other one, by the textbook's table; far and thin ones too."""
    mu = oracles.random_gaussian(rng, 30, 3)
    truth = textbook_matrix(mu, mu)
    np.fill_diagonal(truth, np.inf)
    if xp == "torch":
        torch = pytest.importorskip("torch")
        mu = Gaussian(*map(torch.asarray, mu))
    found = nearest(mu, mu, exclude=np.arange(30))
    np.testing.assert_array_equal(found.member, truth.argmin(axis=1))
    np.testing.assert_allclose(np.asarray(found.sq_distance), truth.min(axis=1), rtol=1e-9)


@pytest.mark.parametrize("exclude", [[0], [0, 5], [-1, 0], [0.0, 1.0]])
def test_what_cannot_be_excluded(rng, exclude):
    mu = oracles.random_gaussian(rng, 2, 2)
    with pytest.raises(ValueError, match="exclude must be 2 integers from 0 to 1"):
        nearest(mu, mu, exclude=np.asarray(exclude))
    one = Gaussian(mu.mean[:1], mu.cov[:1])
    with pytest.raises(ValueError, match="of at least two members"):
        nearest(one, one, exclude=np.asarray([0]))
