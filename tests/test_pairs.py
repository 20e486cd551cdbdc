"""Pairs of histograms: what is drawn, that it can be drawn again, and what is refused."""

import numpy as np
import pytest

from refwfm.datasets.pairs import (
    image_histograms,
    image_pairs,
    mnist_histograms,
    resize,
    sphere_pairs,
    sphere_points,
    stroke_images,
    usps_histograms,
    von_mises_fisher,
)
from refwfm.transport.sphere import spherical_cost


def test_histograms_have_mass_one_and_row_by_row(rng):
    images = rng.integers(0, 256, (5, 3, 4)).astype(np.uint8)
    histograms = image_histograms(images)
    np.testing.assert_allclose(histograms.sum(axis=1), 1.0)
    np.testing.assert_allclose(histograms[2, 4:8] * images[2].sum(), images[2, 1])
    images[3] = 0
    with pytest.raises(ValueError, match="image 3 must be non-negative and finite, with at least one pixel"):
        image_histograms(images)


def test_pairs_are_drawn_again_by_seed_and_step(rng):
    histograms = image_histograms(rng.integers(1, 9, (50, 2, 2)))
    pairs = image_pairs(histograms, 400, seed=1, step=7)
    for again, same in (
        (image_pairs(histograms, 400, seed=1, step=7), True),
        (image_pairs(histograms, 400, seed=1, step=8), False),
    ):
        assert all(np.array_equal(x, y) for x, y in zip(pairs, again, strict=True)) == same
    assert not np.array_equal(*pairs)
    seen = {tuple(row) for row in np.round(pairs[0], 12)}
    assert len(seen) > 40  # of 50: uniformly
    assert all(part.shape == (400, 4) for part in pairs)


def test_strokes():
    images = stroke_images(20, seed=0, step=3)
    assert images.shape == (20, 14, 14)
    np.testing.assert_array_equal(images, stroke_images(20, seed=0, step=3))
    share = np.mean(images > 0, axis=(1, 2))
    assert np.all((share > 0.02) & (share < 0.6))
    assert np.max(images) <= 1.0
    image_histograms(images)


def test_resizing_keeps_constants_and_straight_lines(rng):
    assert resize(np.full((1, 16, 16), 0.3), (28, 28)) == pytest.approx(0.3)
    line = np.broadcast_to(np.arange(16.0), (1, 16, 16))
    inside = resize(line, (28, 28))[0, :, 2:-2]
    centres = (np.arange(28) + 0.5) * 16 / 28 - 0.5
    np.testing.assert_allclose(inside, np.broadcast_to(centres[2:-2], inside.shape))
    np.testing.assert_allclose(resize(line.swapaxes(1, 2), (28, 28)), resize(line, (28, 28)).swapaxes(1, 2))
    image = rng.uniform(size=(2, 5, 7))
    np.testing.assert_allclose(resize(image, (5, 7)), image)
    assert resize(np.ones((1, 1, 1)), (3, 2)).shape == (1, 3, 2)


def test_supply_and_demand():
    a, b = sphere_pairs(6, 50, 300, seed=0, step=1)
    for part in (a, b):
        np.testing.assert_allclose(part.sum(axis=1), 1.0)
    assert np.all(b > 0)
    assert 0.4 < np.mean(a > 0) < 0.6
    np.testing.assert_array_equal(a, sphere_pairs(6, 50, 300, seed=0, step=1)[0])
    one, _ = sphere_pairs(1, 2, 100, seed=0, step=0)  # half of the coins are thrown again
    assert np.all(one == 1.0)


def test_places_on_the_sphere(rng):
    places = sphere_points(40, 300)
    for part, count in zip(places, (40, 300), strict=True):
        assert part.shape == (count, 3)
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1.0)
    assert np.all(np.isfinite(spherical_cost(*places)))
    north = np.tile([0.0, 0.0, 1.0], (20_000, 1))
    for kappa in (1.0, 30.0):
        found = von_mises_fisher(north, kappa, rng=rng).mean(axis=0)
        mean = 1 / np.tanh(kappa) - 1 / kappa  # Langevin's function
        np.testing.assert_allclose(found, [0.0, 0.0, mean], atol=0.02)


@pytest.mark.parametrize("read", [mnist_histograms, usps_histograms])
def test_real_digits(read):
    try:
        histograms = read("test")
    except (FileNotFoundError, ModuleNotFoundError, OSError):
        pytest.skip("needs REFWFM_DATA")
    assert histograms.shape[1] == 784
    np.testing.assert_allclose(histograms.sum(axis=1), 1.0)
