"""Populations before and after: checks, parts, draws, files."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import datasets
from refwfm.datasets import PopulationFamily
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import load_population_file


def clouds(sizes, first=0.0, d=2):
    total = int(np.sum(sizes))
    points = first + np.arange(total * d, dtype=float).reshape(total, d)
    return CloudFamily(name="p", points=points, offsets=np.concatenate([[0], np.cumsum(sizes)]))


def a_family(before=(3, 5, 1), after=(4, 2, 6), **facts):
    given = {
        "marks": np.arange(sum(before), dtype=float)[:, None],
        "conditions": np.eye(2)[[0, 1, 0]],
        "condition_names": ("a", "b"),
        "parts": np.array([0, 2, 0]),
        "groups": {"patient": ("x", "y", "x"), "culture": ("F", "F", "P")},
        "features": ("u", "v"),
        "members": ("one", "two", "three"),
        "about": "made up",
    }
    given |= {"name": "p", "source": clouds(before), "target": clouds(after, 100.0)} | facts
    return PopulationFamily(**given)


def assert_same(found, expected):
    for key in ("name", "paired", "condition_names", "groups", "features", "members", "about"):
        assert getattr(found, key) == getattr(expected, key)
    for key in ("conditions", "parts", "marks"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key))
    for end in ("source", "target"):
        np.testing.assert_array_equal(getattr(found, end).points, getattr(expected, end).points)
        np.testing.assert_array_equal(getattr(found, end).offsets, getattr(expected, end).offsets)


@pytest.mark.parametrize(
    ("facts", "error", "message"),
    [
        ({"target": clouds((1, 2))}, ValueError, "3 sources in dimension 2, but 2 targets in dimension 2"),
        ({"target": clouds((1, 2, 3), d=3)}, ValueError, "3 targets in dimension 3"),
        (
            {"source": replace(clouds((1, 1, 1)), weights=np.ones(3)), "marks": None},
            ValueError,
            "got weights",
        ),
        ({"paired": True}, ValueError, "population 0 has 3 and 4"),
        ({"conditions": np.eye(3)}, ValueError, r"conditions must have shape \(3, 2\); got \(3, 3\)"),
        ({"conditions": np.full((3, 2), np.nan)}, ValueError, "conditions must be finite.*row 0"),
        ({"conditions": np.full((3, 2), "a")}, TypeError, "conditions must be real numbers"),
        ({"marks": np.ones((8, 1))}, ValueError, r"marks must have shape \(9, q\); got \(8, 1\)"),
        ({"parts": np.array([0, 3, 0])}, ValueError, "3 positions in train, validation, test"),
        ({"parts": np.array([0.0, 1.0, 0.0])}, ValueError, "3 positions in train, validation, test"),
        ({"groups": {"patient": ("x",)}}, ValueError, "patient.*1 member names for 3 populations"),
        ({"members": ("one",)}, ValueError, "1 member names for 3 populations"),
        ({"features": ("u",)}, ValueError, "1 names for 2 features"),
    ],
)
def test_what_does_not_fit_is_refused(facts, error, message):
    with pytest.raises(error, match=message):
        a_family(**facts)


def test_subsets_and_parts():
    family = a_family()
    chosen = family.subset([2, 0])
    assert chosen.members == ("three", "one")
    assert chosen.groups == {"patient": ("x", "x"), "culture": ("P", "F")}
    np.testing.assert_array_equal(chosen.marks[:, 0], [8, 0, 1, 2])
    np.testing.assert_array_equal(chosen.source.points[0], family.source.points[8])
    assert family.part("train").members == ("one", "three")
    assert family.part("test").members == ("two",)
    with pytest.raises(ValueError, match="has no populations for validation"):
        family.part("validation")
    with pytest.raises(ValueError, match="one of train, validation, test; got 'val'"):
        family.part("val")


def test_leaks():
    family = a_family()
    assert family.leaks("patient") == ()
    assert family.leaks("culture") == ("F",)
    with pytest.raises(ValueError, match="no group 'plate'; it has patient, culture"):
        family.leaks("plate")


def test_a_draw_without_replacement_is_of_its_own_population():
    family = a_family()
    drawn = family.draw([1, 0, 1], 2, rng=np.random.default_rng(0))
    assert drawn.x0.shape == drawn.x1.shape == (3, 2, 2)
    assert not drawn.repeated.any()
    np.testing.assert_array_equal(drawn.conditions, np.eye(2)[[1, 0, 1]])
    for row, i in enumerate([1, 0, 1]):
        for end, x in (("source", drawn.x0), ("target", drawn.x1)):
            own = getattr(family, end).cloud(i).points.tolist()
            got = x[row].tolist()
            assert all(point in own for point in got)
            assert got[0] != got[1]
    # Marks are those of the particles: point j of the source is (2 j, 2 j + 1).
    np.testing.assert_array_equal(drawn.marks[..., 0], drawn.x0[..., 0] / 2)


def test_a_population_that_is_too_small_is_drawn_with_replacement_and_says_so():
    family = a_family()
    drawn = family.draw([0, 1, 2], 4, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.repeated, [[True, False], [False, True], [True, False]])
    assert np.ptp(drawn.x0[2], axis=0).tolist() == [0, 0]  # the one particle, four times
    assert len(np.unique(drawn.x1[0], axis=0)) == 4  # all of them, once each


def test_paired_particles_stay_together():
    family = a_family(before=(3, 5, 1), after=(3, 5, 1), paired=True)
    drawn = family.draw([2, 1, 0], 3, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.x1, drawn.x0 + 100.0)
    independent = replace(family, paired=False).draw([1] * 20, 3, rng=np.random.default_rng(0))
    assert (independent.x1 != independent.x0 + 100.0).any()


@given(st.integers(1, 7), st.integers(0, 50))
def test_every_particle_is_as_likely(size, seed):
    family = a_family(before=(3, 5, 1), after=(4, 2, 6))
    drawn = family.draw(np.zeros(2000, int), size, rng=np.random.default_rng(seed))
    counts = np.unique(drawn.x0[..., 0], return_counts=True)[1]
    np.testing.assert_allclose(counts, 2000 * size / 3, rtol=0.2)


def test_draws_are_refused():
    family, rng = a_family(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="size must be an integer of at least 1; got 0"):
        family.draw([0], 0, rng=rng)
    with pytest.raises(ValueError, match="no population to draw from"):
        family.draw([], 2, rng=rng)
    with pytest.raises(IndexError, match=r"members 0 \.\.\. 2"):
        family.draw([3], 2, rng=rng)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"marks": None, "groups": {}, "features": (), "members": (), "conditions": np.zeros((0, 0))},
        {"target": clouds((3, 5, 1)), "paired": True},
    ],
)
def test_files_hold_all_of_it(tmp_path, facts):
    if "groups" in facts:
        facts["condition_names"] = ()
    family = a_family(**facts)
    path = datasets.save_populations(tmp_path / "p.npz", family)
    assert_same(load_population_file(path), family)
    assert_same(datasets.load_populations(path), family)


def test_files_are_refused(tmp_path):
    path = datasets.save_populations(tmp_path / "p.npz", a_family())
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        datasets.save_populations(tmp_path / "p.h5ad", a_family())
    with pytest.raises(ValueError, match="holds populations before and after: read it with load_populations"):
        datasets.load(path)
    other = datasets.save_family(tmp_path / "c.npz", clouds((2, 2)))
    with pytest.raises(ValueError, match="'refwfm-clouds-1'; populations have 'refwfm-populations-1'"):
        datasets.load_populations(other)
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.load_populations(tmp_path / "none.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="truncated"):
        datasets.load_populations(path)
    with np.load(datasets.save_populations(tmp_path / "q.npz", a_family())) as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "r.npz", **(arrays | {"parts": np.array([7, 0, 0])}))
    with pytest.raises(ValueError, match=r"does not hold valid populations.*parts must be"):
        datasets.load_populations(tmp_path / "r.npz")
    del arrays["marks"]
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(ValueError, match="lacks marks"):
        datasets.load_populations(tmp_path / "r.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = datasets.save_populations(tmp_path / "p.npz", a_family())
    before = path.read_bytes()

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(OSError, match="disk full"):
        datasets.save_populations(path, a_family(name="other"))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["p.npz"]


def test_names():
    with pytest.raises(ValueError, match=r"unknown populations 'screens'.*synthetic-screen"):
        datasets.load_populations("screens")
    with pytest.raises(ValueError, match="seed must be non-negative"):
        datasets.load_populations("synthetic-screen", seed=-1)
