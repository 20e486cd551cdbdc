"""The user's own data: read right, or refused in one clear line."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from refwfm import datasets
from refwfm.datasets import cells

# --- arrays: neighbours, sections, labels


@given(
    seed=st.integers(0, 9999),
    k=st.integers(1, 9),
    sites=st.integers(1, 9),
    sections=st.booleans(),
    unit=st.sampled_from([1.0, 2.0**600, 2.0**-600]),
)
@settings(max_examples=60, deadline=None)
def test_nearest_is_oneself_and_then_others_by_distance_and_row(seed, k, sites, sections, unit):
    rng = np.random.default_rng(seed)
    # On a small grid most distances are shared by several cells, and are computed without rounding.
    positions = rng.integers(0, 4, (sites, 2))[rng.integers(0, sites, 24)].astype(float) * unit
    section = rng.permutation(np.repeat([0, 1], 12)) if sections else np.zeros(24)
    found = cells.nearest(positions, k, section, rows=24)
    assert found.shape == (24, k)
    for i in range(24):
        others = [j for j in range(24) if j != i and section[j] == section[i]]
        squares = ((positions / unit - positions[i] / unit) ** 2).sum(axis=1)
        want = [i, *sorted(others, key=lambda j: (squares[j], j))[: k - 1]]
        assert found[i].tolist() == want
    # The control: what a tree returns for cells at one place need not have the cell itself.
    if sites == 1 and not sections and k < 24:
        plain = KDTree(positions / unit).query(positions / unit, k=k)[1].reshape(24, k)
        assert not (plain == np.arange(24)[:, None]).any(axis=1).all()


def test_each_niche_at_a_spot_of_ten_cells_has_its_own_cell():
    positions = np.repeat(np.random.default_rng(0).uniform(size=(12, 2)), 10, axis=0)
    found = cells.nearest(positions, 4, rows=120)
    np.testing.assert_array_equal(found[:, 0], np.arange(120))
    np.testing.assert_array_equal(found // 10, np.arange(120)[:, None] // 10 * np.ones((1, 4), int))
    clouds = datasets.niche_clouds(np.arange(120.0)[:, None], positions, k=4)
    np.testing.assert_array_equal(clouds.points.reshape(120, 4)[:, 0], np.arange(120))


def test_many_cells_at_one_place_are_no_quadratic_work():
    start = time.perf_counter()
    found = cells.nearest(np.zeros((20_000, 2)), 3, rows=20_000)
    assert time.perf_counter() - start < 5  # all pairs, 4e8 of them, would take minutes
    np.testing.assert_array_equal(found[:3], [[0, 1, 2], [1, 0, 2], [2, 0, 1]])
    np.testing.assert_array_equal(found[7:9], [[7, 0, 1], [8, 0, 1]])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_cells_without_a_section_are_refused_with_their_number(missing):
    x = np.arange(10.0).reshape(5, 2)
    match = "2 of 5 cells have no section .the first in row 1"
    for sections in (["a", missing, "b", missing, "b"], np.array([1, missing, 2, missing, 2], dtype=object)):
        with pytest.raises(ValueError, match=match):
            datasets.neighbourhoods(x, x, k=1, sections=sections)
        with pytest.raises(ValueError, match=match):
            datasets.niche_clouds(x, x, radius=1.0, sections=sections)
    assert len(datasets.niche_clouds(x, x, k=1, sections=["a", "nan", "None", "", "a"])) == 5


@pytest.mark.parametrize(
    ("labels", "positions", "names"),
    [
        ([b"dog", b"cat", b"dog"], [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"caf\xc3\xa9", b"dog"]), [1, 0, 1], ("café", "dog")),
        ([10.0, 9.0, np.nan], [1, 0, 2], ("9", "10", "unlabelled")),
        (np.array([10, 9, 10], dtype=np.float32), [1, 0, 1], ("9", "10")),
        (["b", np.nan, None], [0, 1, 1], ("b", "unlabelled")),
        (["unlabelled", None, "z"], [0, 0, 1], ("unlabelled", "z")),
        (["nan", "0.5", "nan"], [1, 0, 1], ("0.5", "nan")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
        ([None, None, None], [0, 0, 0], ("unlabelled",)),
    ],
)
def test_labels_become_classes(labels, positions, names):
    family = datasets.clouds_from_arrays(np.zeros((3, 2, 1)), labels=labels)
    assert (family.labels.tolist(), family.label_names) == (positions, names)


def test_continuous_labels_are_refused():
    x = np.random.default_rng(0).standard_normal((64, 3, 2))
    for labels in (x[:, 0, 0], x[:, 0, 0].tolist(), [1.0, np.inf] * 32, [1, 0.5] * 32):
        with pytest.raises(
            ValueError, match=r"different numbers, such as .* are conditions, not classes: sort"
        ):
            datasets.clouds_from_arrays(x, labels=labels)
    with pytest.raises(ValueError, match="64 different numbers"):
        datasets.niche_clouds(x[:, 0], x[:, 1], k=2, labels=x[:, 0, 0])
    with pytest.raises(ValueError, match="labels 7 are not among label_names a"):
        datasets.clouds_from_arrays(x[:1], labels=["7"], label_names=["a"])
