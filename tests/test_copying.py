"""Copies are told from new members: by counts, by families whose law is known, on all libraries."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.clouds import pad
from refwfm.measures import PointCloud
from refwfm.metrics.copying import copy_rate, profiles
from refwfm.transport.sliced import pairwise_sliced_cost, random_directions


def nearest(x, training):
    return np.min(np.sum((x[:, None] - training) ** 2, axis=-1), axis=1)


@pytest.fixture
def known(rng):
    """Training members, held-out ones, and a source of more from the same law."""
    return rng.normal(size=(200, 2)), rng.normal(size=(500, 2)), lambda n: rng.normal(size=(n, 2))


def test_copies_are_told_from_draws_of_the_truth(known, rng):
    """And so are mixtures, of which the median distance says nothing."""
    training, held_out, law = known
    unseen = nearest(held_out, training)
    copies = training[rng.integers(200, size=400)]
    models = {
        "truth": law(400),
        "copies": copies,
        "half copies, half failures": np.concatenate([copies[:200], 50.0 + law(200)]),
        "a fifth copies": np.concatenate([copies[:80], law(320)]),
        "failures": 50.0 + law(400),
    }
    rates = {name: copy_rate(nearest(x, training), unseen) for name, x in models.items()}
    assert all(rate.held_out == 0.1 for rate in rates.values())
    assert rates["truth"].generated == pytest.approx(0.1, abs=0.06)  # four standard errors
    assert rates["copies"].generated == 1.0
    assert rates["half copies, half failures"].generated == 0.5
    assert rates["a fifth copies"].generated == pytest.approx(0.28, abs=0.06)
    assert rates["failures"].generated == 0.0
    # What copies win instead: the paper's number, and the share below the median, which cannot tell.
    assert np.mean(nearest(copies, training)) == 0.0
    median = np.median(unseen)
    assert np.mean(nearest(models["half copies, half failures"], training) <= median) == 0.5


@given(st.integers(1, 30), st.integers(1, 30), strategies.seeds, st.floats(0.01, 0.99))
def test_real_members_have_the_rate_that_is_known(n, size, seed, quantile):
    rng = np.random.default_rng(seed)
    unseen, found = rng.random(n), rng.random(size)
    rate = copy_rate(found, unseen, quantile=quantile)
    assert rate.held_out == pytest.approx(np.ceil(quantile * n) / n, abs=1e-12)
    assert rate.generated == np.mean(found <= np.sort(unseen)[int(np.ceil(quantile * n)) - 1])
    # Squared or not, in any unit.
    assert copy_rate(1e-9 * found**2, 1e-9 * unseen**2, quantile=quantile) == rate


def test_a_fresh_member_is_near_with_its_probability():
    """``k / (n + 1)`` for n held-out ones: the place of one more among them is uniform."""
    rng = np.random.default_rng(1)
    found = [float(copy_rate(*np.split(rng.random(10), [1])).generated) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(1 / 10, abs=0.02)


def test_batches(rng):
    found, unseen = rng.random((3, 7)), rng.random((3, 11))
    rates = copy_rate(found, unseen, quantile=0.3)
    for k in range(3):
        alone = copy_rate(found[k], unseen[k], quantile=0.3)
        assert (rates.generated[k], rates.held_out[k]) == tuple(alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_what_is_no_distance_is_refused(value):
    for arguments in (([value], [1.0]), ([1.0], [value])):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            copy_rate(*map(np.asarray, arguments))


def test_other_mistakes():
    one = np.ones(1)
    with pytest.raises(ValueError, match=r"quantile must be between 0 and 1; got 1\.0"):
        copy_rate(one, one, quantile=1.0)
    with pytest.raises(ValueError, match=r"got \(0,\) and \(1,\)"):
        copy_rate(one[:0], one)
    with pytest.raises(ValueError, match=r"got \(2, 1\) and \(3, 1\)"):
        copy_rate(np.ones((2, 1)), np.ones((3, 1)))


def test_rates_agree_between_libraries(library, rng):
    library.check(lambda x, y: tuple(copy_rate(x, y)), rng.random(20), rng.random(30), ulps=4)


# Profiles


def test_profiles_of_as_many_points_have_sliced_distances(rng):
    clouds = PointCloud(rng.normal(size=(5, 16, 3)), np.full((5, 16), 1 / 16))
    theta = random_directions(clouds.points, rng=rng, n_proj=7)
    found = profiles(clouds, theta, levels=16)
    assert found.shape == (5, 7 * 16)
    distance = np.sum((found[:, None] - found) ** 2, axis=-1)
    np.testing.assert_allclose(distance, pairwise_sliced_cost(clouds, clouds, theta), rtol=1e-12, atol=1e-14)


def test_profiles_are_quantiles_whatever_the_sizes_and_weights(rng):
    """NumPy's inverted distribution function; and with more levels the sliced distance."""
    sizes = (1, 4, 9)
    padded = pad([rng.normal(size=(n, 2)) for n in sizes])
    weights = padded.weights * rng.uniform(0.5, 1.5, padded.weights.shape)
    clouds = PointCloud(padded.points, weights / weights.sum(axis=1, keepdims=True))
    theta = random_directions(clouds.points, rng=rng, n_proj=3)
    found = profiles(clouds, theta, levels=8).reshape(3, 3, 8) * np.sqrt(3 * 8)
    for i, n in enumerate(sizes):
        for k in range(3):
            truth = np.quantile(
                clouds.points[i, :n] @ theta[k],
                (np.arange(8) + 0.5) / 8,
                weights=clouds.weights[i, :n],
                method="inverted_cdf",
            )
            np.testing.assert_allclose(found[i, k], truth, rtol=1e-12)
    many = profiles(clouds, theta, levels=4096)
    distance = np.sum((many[:, None] - many) ** 2, axis=-1)
    np.testing.assert_allclose(distance, pairwise_sliced_cost(clouds, clouds, theta), rtol=0.01)


def test_copies_have_the_same_profile_in_another_order_and_padded(rng):
    x = rng.normal(size=(6, 2))
    both = pad([x, x[::-1], rng.normal(size=(9, 2))])
    found = profiles(both, random_directions(x, rng=rng, n_proj=4))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-15)
    assert np.max(np.abs(found[0] - found[2])) > 0.01


def test_directions_of_another_dimension_are_refused(rng):
    cloud = PointCloud(rng.normal(size=(2, 3, 2)), np.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"got \(2, 3, 2\) and \(4, 3\)"):
        profiles(cloud, np.ones((4, 3)))


def test_profiles_agree_between_libraries(library, rng):
    clouds = pad([rng.normal(size=(n, 2)) for n in (3, 5)])
    theta = random_directions(clouds.points, rng=rng, n_proj=3)
    library.check(lambda clouds, theta: profiles(clouds, theta, levels=4), clouds, theta, ulps=20)
