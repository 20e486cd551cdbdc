"""Palettes: synthetic ones, photographs of other packages, pictures of every kind."""

import numpy as np
import pytest
import strategies
from hypothesis import given

from refwfm.datasets import palettes


@given(strategies.seeds)
def test_synthetic_palettes_lie_in_the_cube(seed):
    found = palettes.synthetic_palettes(3, 50, rng=np.random.default_rng(seed))
    assert found.shape == (3, 50, 3)
    assert np.all((found >= 0.0) & (found <= 1.0))
    again = palettes.synthetic_palettes(3, 50, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(found, again)
    assert np.max(np.abs(found[0] - found[1])) > 1e-3


def test_pictures_of_every_kind():
    grey = np.asarray([[0, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(palettes.as_colours(grey), [[[0.0] * 3, [1.0] * 3]])
    np.testing.assert_array_equal(palettes.as_colours(grey[..., None]), palettes.as_colours(grey))
    colour = np.asarray([[[255, 0, 51]]], dtype=np.uint8)
    np.testing.assert_allclose(palettes.as_colours(colour), [[[1.0, 0.0, 0.2]]])
    half = np.asarray([[[1.0, 0.0, 0.0, 0.5]]])
    np.testing.assert_allclose(palettes.as_colours(half), [[[1.0, 0.5, 0.5]]])  # red, half of it, on white
    veiled = np.asarray([[[0.0, 0.25]]])
    np.testing.assert_allclose(palettes.as_colours(veiled), [[[0.75] * 3]])
    for wrong, error in (
        (np.zeros((2, 2, 5)), ValueError),
        (np.full((2, 2), 255.0), ValueError),
        (np.full((2, 2), np.nan), ValueError),
        (np.zeros((0, 2)), ValueError),
        (np.zeros((2, 2), dtype=np.int64), TypeError),
    ):
        with pytest.raises(error, match="picture"):
            palettes.as_colours(wrong)


def test_palettes_and_crops_are_of_the_picture():
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 1, (6, 5, 3))
    pixels = {tuple(row) for row in picture.reshape(-1, 3)}
    drawn = palettes.palette(picture, 30, rng=rng)
    assert {tuple(row) for row in drawn} == pixels  # without replacement: each once
    assert {tuple(row) for row in palettes.palette(picture, 100, rng=rng)} <= pixels
    regions = palettes.crops(picture, 4, rng=rng, size=0.5)
    assert [region.shape for region in regions] == [(3, 2, 3)] * 4
    assert all({tuple(row) for row in region.reshape(-1, 3)} <= pixels for region in regions)
    with pytest.raises(ValueError, match="size"):
        palettes.crops(picture, 1, rng=rng, size=0.0)
    with pytest.raises(ValueError, match="n must be"):
        palettes.palette(picture, 0, rng=rng)


@pytest.mark.parametrize("name", palettes.PHOTOGRAPHS)
def test_photographs(name):
    pytest.importorskip(palettes.PHOTOGRAPHS[name].package)
    pytest.importorskip("PIL")
    if name not in palettes.available_photographs():
        pytest.skip("the installed release ships it no longer")
    picture = palettes.photograph(name)
    assert picture.ndim == 3
    assert picture.shape[-1] == 3
    assert np.std(picture) > 0.01
    assert palettes.PHOTOGRAPHS[name].licence in ("CC0", "CC BY 2.0", "public domain")


def test_photographs_that_are_not_there(monkeypatch):
    with pytest.raises(ValueError, match="unknown photograph 'moon'; there are china"):
        palettes.photograph("moon")
    monkeypatch.setattr(palettes, "find_spec", lambda name: None)
    assert palettes.available_photographs() == []
    with pytest.raises(
        ModuleNotFoundError, match=r"ships with scikit-learn: pip install \"refwfm\[photographs\]\""
    ):
        palettes.photograph("china")


def test_files_with_palettes_and_transparency(tmp_path):
    image = pytest.importorskip("PIL.Image")
    red = image.new("RGB", (4, 3), (255, 0, 0))
    for name, picture in {"rgb.png": red, "p.png": red.convert("P"), "l.png": red.convert("L")}.items():
        picture.save(tmp_path / name)
        found = palettes.read_picture(tmp_path / name)
        assert found.shape == (3, 4, 3)
        assert found[0, 0, 0] == (1.0 if name != "l.png" else found[0, 0, 1])
