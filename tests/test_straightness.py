"""Straightness of paths: zero for straight lines, closed forms for circles and exponentials."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.clouds import pad, uniform
from refwfm.generation import generate_clouds
from refwfm.measures import PointCloud
from refwfm.metrics.straightness import path_straightness, relative_bend, straightness


def clouds_of(counts=(4, 2, 3), d=2, seed=0):
    rng = np.random.default_rng(seed)
    return pad([rng.standard_normal((n, d)) for n in counts])


def rotation(omega):
    """Field of the rotation about the origin by the angle omega in unit time."""
    turn = omega * np.array([[0.0, 1.0], [-1.0, 0.0]])
    return lambda cloud, t: cloud.points @ turn


def growth(rate):
    return lambda cloud, t: rate * cloud.points


def circle_bend(omega):
    """Arc length squared over chord squared, less 1."""
    return omega**2 / (4.0 * np.sin(omega / 2.0) ** 2) - 1.0


def growth_bend(rate):
    """``∫ ẋ² dt / (x_1 - x_0)² - 1`` of ``x_t = exp(rate t)``."""
    return rate / 2.0 / np.tanh(rate / 2.0) - 1.0


@pytest.mark.parametrize(
    ("field", "truth"),
    [
        (rotation(1.0), circle_bend(1.0)),
        (rotation(3.0), circle_bend(3.0)),
        (growth(1.5), growth_bend(1.5)),
        (growth(-2.0), growth_bend(-2.0)),
    ],
)
def test_closed_forms(field, truth):
    found = straightness(field, clouds_of(), n_steps=200, method="rk4")
    assert float(found.ratio) == pytest.approx(truth, rel=2e-4)
    # What else one might have meant is something else.
    for wrong in (np.sqrt(truth), truth + 1.0, 0.5 * truth, truth / (1.0 + truth)):
        assert abs(wrong - truth) > 0.01 * truth


def test_the_error_falls_with_the_square_of_the_step():
    errors = [
        abs(float(straightness(rotation(2.0), clouds_of(), n_steps=n, method="rk4").ratio) - circle_bend(2.0))
        for n in (20, 40)
    ]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


@given(strategies.seeds, st.integers(2, 9))
def test_straight_paths_have_no_bend(seed, n_steps):
    source = clouds_of(seed=seed)
    velocity = np.random.default_rng(seed + 1).standard_normal(source.points.shape)
    found = straightness(lambda cloud, t: velocity, source, n_steps=n_steps)
    assert np.max(np.abs(found.bend)) < 1e-25
    sq = np.sum(source.weights * np.sum(velocity**2, axis=-1), axis=-1)
    np.testing.assert_allclose(found.sq_displacement, sq, rtol=1e-12)


def test_straight_paths_at_another_speed_bend():
    """``x_t = t² v``: the velocity ``2 t v`` has the variance ``v² / 3``."""
    source = clouds_of()
    found = straightness(
        lambda cloud, t: 2.0 * t[:, None, None] * (0.0 * cloud.points + 1.0),
        source,
        n_steps=300,
        method="midpoint",
    )
    assert float(found.ratio) == pytest.approx(1 / 3, rel=1e-4)


@given(strategies.seeds)
def test_it_is_what_its_formula_says(seed):
    rng = np.random.default_rng(seed)
    path, source = rng.standard_normal((4, 3, 4, 2)), clouds_of()
    found = path_straightness(path, source.weights)
    bend, moved = np.zeros(3), np.zeros(3)
    for b in range(3):
        for i in range(4):
            line = path[:, b, i]
            way = line[-1] - line[0]
            moved[b] += source.weights[b, i] * way @ way
            for k in range(3):
                gap = 3.0 * (line[k + 1] - line[k]) - way
                bend[b] += source.weights[b, i] * gap @ gap / 3.0
    np.testing.assert_allclose(found.bend, bend, rtol=1e-12)
    np.testing.assert_allclose(found.sq_displacement, moved, rtol=1e-12)
    assert float(found.ratio) == pytest.approx(bend.sum() / moved.sum(), rel=1e-12)


def test_unit_place_and_order_do_not_matter():
    source = clouds_of((4, 4))
    path = []
    generate_clouds(rotation(2.0), source, n_steps=5, observe=lambda k, cloud: path.append(cloud.points))
    path = np.stack(path)
    plain = path_straightness(path, source.weights)
    moved = path_straightness(3.0 * path[:, :, ::-1] + 7.0, source.weights[:, ::-1])
    assert float(moved.ratio) == pytest.approx(float(plain.ratio), rel=1e-12)
    np.testing.assert_allclose(moved.bend, 9.0 * plain.bend, rtol=1e-12)
    slow = path_straightness(path[::-1], source.weights)
    assert float(slow.ratio) == pytest.approx(float(plain.ratio), rel=1e-12)


def test_padding_does_not_count():
    source = clouds_of()
    wide = PointCloud(
        np.pad(source.points, [(0, 0), (0, 3), (0, 0)]), np.pad(source.weights, [(0, 0), (0, 3)])
    )
    path = np.stack([wide.points, 2.0 * wide.points, 5.0 * wide.points])
    path[:, wide.weights == 0] = np.nan
    found = path_straightness(path, wide.weights)
    narrow = path_straightness(
        np.stack([source.points, 2.0 * source.points, 5.0 * source.points]), source.weights
    )
    for a, b in zip(found, narrow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_points_at_rest_and_closed_paths():
    source = clouds_of()
    at_rest = straightness(lambda cloud, t: 0.0 * cloud.points, source, n_steps=3)
    assert float(at_rest.ratio) == 0.0
    there_and_back = np.stack([source.points, source.points + 1.0, source.points])
    assert float(path_straightness(there_and_back, source.weights).ratio) == np.inf
    assert np.isnan(relative_bend(np.array([np.nan]), np.array([1.0])))


@pytest.mark.parametrize(
    ("path", "weights"),
    [((2, 3, 4, 2), (3, 4)), ((5, 3, 4), (3, 4)), ((5, 3, 4, 2), (3, 5)), ((5, 3, 4, 2), (4,))],
)
def test_shapes_are_checked(path, weights):
    with pytest.raises(ValueError, match=r"\(K \+ 1, B, n, d\) and \(B, n\) with K >= 2"):
        path_straightness(np.zeros(path), np.zeros(weights))


def test_on_every_library(library):
    path, weights = np.random.default_rng(0).standard_normal((5, 3, 4, 2)), clouds_of().weights
    library.check(path_straightness, path, weights, ulps=50)
    source = uniform(np.random.default_rng(1).standard_normal((2, 3, 2)))
    library.check(
        lambda points, masses: straightness(growth(1.0), PointCloud(points, masses), n_steps=4),
        *source,
        ulps=1000,
    )


# What may not vanish


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
def test_the_ratio_does_not_mind_the_scale(rng, scale):
    """Beyond 1e±150 the squares themselves overflow or vanish; the ratio is that of any other scale."""
    path, weights = rng.standard_normal((4, 2, 3, 2)), np.full((2, 3), 1 / 3)
    with np.errstate(all="ignore"):
        there = path_straightness(scale * path, weights)
    here = path_straightness(path, weights)
    assert float(there.ratio) == pytest.approx(float(here.ratio), rel=1e-12)
    if 1e-160 < scale < 1e160:
        np.testing.assert_allclose(there.bend / scale / scale, here.bend, rtol=1e-12)


def test_a_fast_cloud_hides_no_slow_one(rng):
    path, weights = rng.standard_normal((4, 2, 3, 2)), np.full((2, 3), 1 / 3)
    alone = path_straightness(path[:, :1], weights[:1])
    beside = path_straightness(path * np.asarray([1.0, 1e100])[:, None, None], weights)
    np.testing.assert_allclose(beside.bend[0], alone.bend[0], rtol=1e-12)


@pytest.mark.parametrize(("bend", "moved"), [([np.nan], [np.nan]), ([np.nan], [0.0]), ([1.0], [np.nan])])
def test_nan_is_not_straight(library, bend, moved):
    assert np.isnan(float(relative_bend(library.array(bend), library.array(moved))))


def test_a_field_that_gives_nan_is_not_straight():
    source = PointCloud(np.ones((1, 2, 1)), np.full((1, 2), 0.5))
    assert np.isnan(float(straightness(lambda x, t: np.nan * x.points, source, n_steps=2).ratio))
