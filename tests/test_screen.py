"""A drug screen: its table in all forms, pairs, normalisation, splits; the synthetic one, what it proves."""

import itertools
import sys
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

from refwfm import datasets
from refwfm.datasets import _grouping, screen, screen_table, synthetic_screen
from refwfm.datasets.screen import Experiment
from refwfm.datasets.screen_table import read_screen, write_screen
from refwfm.populations import floors

SMALL = {"cells": 30, "replicates": 2}


@pytest.fixture(scope="module")
def table():
    return synthetic_screen.synthetic_table(**SMALL)


@pytest.fixture(scope="module")
def synthetic():
    return synthetic_screen.synthetic_screen(cells=300)


def assert_same_table(found, expected, rtol=0.0):
    assert found.feature_names == expected.feature_names
    np.testing.assert_allclose(found.features, expected.features, rtol=rtol)
    for name in screen_table.NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def a_table(rows, d=2, **facts):
    """Cells of (culture, patient, plate, replicate, treatment, dose), so many of each."""
    columns = [list(column) for column in zip(*[row for row, n in rows for _ in range(n)], strict=True)]
    names = ("culture", "patient", "plate", "replicate", "treatment")
    given = {
        "features": np.random.default_rng(0).standard_normal((len(columns[0]), d)),
        "feature_names": tuple(f"m{i}" for i in range(d)),
        "dose": np.array(columns[5], float),
        **{name: np.array(column) for name, column in zip(names, columns, strict=False)},
    }
    return screen_table.ScreenTable(**(given | facts))


# The table


@pytest.mark.parametrize("name", ["screen.csv", "screen.h5ad"])
def test_a_table_comes_back_from_its_file(tmp_path, table, name):
    assert_same_table(read_screen(write_screen(tmp_path / name, table)), table)


def test_columns_are_found_whatever_their_spelling(tmp_path):
    frame = pd.DataFrame(
        {
            "pPKCa": [np.nan] * 3,
            "pNDRG1": [1, 2, 3],
            "Cyclin_B1": [9.0, 9, 9],
            "batch": [1, 1, 2],
            "Date": ["monday"] * 3,
            "CULTURE": ["PDO", "F", "F"],
            "Patient": [21.0, 27.0, 5.0],
            "plate": [1, 1, 2],
            "Replicate": ["A", "B", "A"],
            "Treatment": ["DMSO", "O", "S"],
            "Concentration": ["0", "1", "2.5"],
            "cell type": ["PDO", "F", "F"],
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = read_screen(tmp_path / "a.csv")
    assert found.feature_names == ("pNDRG1",)
    assert found.patient.tolist() == ["21", "27", "5"]
    assert found.dose.tolist() == [0, 1, 2.5]
    assert found.cell_type.tolist() == ["PDO", "F", "F"]
    assert len(found) == 3
    with pytest.raises(ValueError, match=r"pPKCa.*3 of 3 cells have a value that is not finite"):
        read_screen(tmp_path / "a.csv", drop=())
    kept = read_screen(tmp_path / "a.csv", markers=("Cyclin_B1", "batch"), columns={"cell_type": "Date"})
    assert kept.feature_names == ("Cyclin_B1", "batch")
    assert kept.cell_type.tolist() == ["monday"] * 3


def test_a_folder_of_tables(tmp_path, table):
    half = len(table) // 2
    parts = [slice(None, half), slice(half, None)]
    for i, rows in enumerate(parts):
        facts = {name: getattr(table, name)[rows] for name in (*screen_table.NAMES, "features")}
        write_screen(tmp_path / f"{i}.csv", replace(table, **facts))
    (tmp_path / "readme.txt").write_text("not a table")
    assert_same_table(read_screen(tmp_path), table)
    other = replace(table, feature_names=tuple(f"x{i}" for i in range(10)))
    write_screen(tmp_path / "2.csv", other)
    with pytest.raises(ValueError, match=r"2\.csv and .*0\.csv differ in their markers"):
        read_screen(tmp_path)


def test_what_a_table_lacks_is_said(tmp_path, table, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no table"):
        read_screen(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="no table"):
        read_screen(tmp_path)
    path = write_screen(tmp_path / "a.csv", table)
    frame = pd.read_csv(path)
    frame.drop(columns="Plate").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match=r"no column for the plate.*it has marker_1.*Treatment.*columns="):
        read_screen(tmp_path / "b.csv")
    assert read_screen(tmp_path / "b.csv", columns={"plate": "Replicate"}).plate.tolist() == list(
        table.replicate
    )
    with pytest.raises(ValueError, match="columns: unknown well"):
        read_screen(path, columns={"well": "Plate"})
    frame.assign(Treatment=frame.Treatment.where(frame.index > 3)).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(ValueError, match=r"'treatment': 4 of .* cells have no value .the first in row 0"):
        read_screen(tmp_path / "c.csv")
    frame.assign(Concentration="much").to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(ValueError, match="'Concentration' must hold numbers; got 'much' in row 0"):
        read_screen(tmp_path / "d.csv")
    with pytest.raises(ValueError, match="no markers CD45"):
        read_screen(path, markers=["CD45"])
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(ValueError, match="not a readable CSV file"):
        read_screen(tmp_path / "e.csv")
    (tmp_path / "f.xlsx").write_text("")
    with pytest.raises(ValueError, match="no table that can be read"):
        read_screen(tmp_path / "f.xlsx")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="needs pandas"):
        read_screen(path)


def test_parquet_or_a_hint(tmp_path, table):
    path = tmp_path / "a.parquet"
    frame = pd.read_csv(write_screen(tmp_path / "a.csv", table), float_precision="round_trip")
    try:
        frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ModuleNotFoundError, match=r"needs pyarrow: pip install .refwfm\[tables\]"):
            read_screen(path)
    else:
        assert_same_table(read_screen(path), table, rtol=1e-14)


def test_anndata_with_missing_values(tmp_path, table):
    data = anndata.read_h5ad(write_screen(tmp_path / "a.h5ad", table))
    data.obs["Patient"] = (
        data.obs["Patient"].astype(object).where(np.arange(len(table)) > 1).astype("category")
    )
    data.write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(ValueError, match="'patient': 2 of"):
        read_screen(tmp_path / "b.h5ad")


def test_rows_by_many_columns():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 3, 200).astype(str) for _ in range(3)]
    found = _grouping.rows_by(*columns)
    assert list(found) == sorted(found)
    for key, rows in found.items():
        same = [i for i in range(200) if tuple(c[i] for c in columns) == key]
        assert rows.tolist() == same
    # Products of the numbers of values far beyond 2^63.
    many = [np.arange(5000) for _ in range(8)]
    assert len(_grouping.rows_by(*many)) == 5000


# Pairs


PLACE = ("PDO", "21", "1", "A")


def test_pairs_are_control_and_highest_dose():
    table = a_table(
        [
            ((*PLACE, "DMSO", 0), 3),
            ((*PLACE, "H2O", 0), 2),
            ((*PLACE, "DMSO", 1), 9),
            ((*PLACE, "O", 0), 9),
            ((*PLACE, "O", 1), 4),
            ((*PLACE, "O", 2), 5),
            ((*PLACE, "O", 3), 1),
            (("PDO", "21", "1", "B", "O", 3), 5),  # no control
            (("PDO", "21", "1", "C", "DMSO", 0), 5),  # no treatment
        ]
    )
    (pair,) = screen.make_pairs(table, min_cells=2)
    assert (pair.experiment, pair.treatment, pair.dose) == (Experiment(*PLACE), "O", 2.0)
    assert pair.control.tolist() == [0, 1, 2, 3, 4]
    assert pair.treated.tolist() == list(range(27, 32))
    (pair,) = screen.make_pairs(table, min_cells=1)
    assert pair.dose == 3.0
    assert pair.treated.tolist() == [32]
    (pair,) = screen.make_pairs(table, min_cells=3)
    assert pair.control.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="of 9 populations 2 have at least min_cells = 9 cells, of which 0"):
        screen.make_pairs(table, min_cells=9)
    with pytest.raises(ValueError, match=r"no experiment has a control .EtOH at dose 0"):
        screen.make_pairs(table, min_cells=1, controls=("EtOH",))


def test_cells_are_kept_at_random():
    rows = np.arange(100, 200)
    kept = screen.thin(rows, 20, 0, 0)
    assert len(kept) == len(set(kept)) == 20
    assert set(kept) <= set(rows)
    assert kept.max() > 150  # not the first ones
    np.testing.assert_array_equal(kept, screen.thin(rows, 20, 0, 0))
    assert (kept != screen.thin(rows, 20, 1, 0)).any()
    assert screen.thin(rows, None, 0, 0) is screen.thin(rows, 100, 0, 0) is rows


# Normalisation


def test_normalised_training_cells_have_mean_zero_and_mean_deviation_one():
    raw = np.random.default_rng(0).lognormal(3, 2, (500, 4)) * [1, 10, 100, 0.1]
    fitted = screen.fit_normalisation(screen.arcsinh(raw))
    values = screen.normalise(raw, fitted)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(values.std(axis=0).mean(), 1, rtol=1e-13)
    assert np.ptp(values.std(axis=0)) > 0.1  # relative variances are kept
    np.testing.assert_allclose(screen.arcsinh([5.0, -5.0]), np.log(1 + np.sqrt(2)) * np.array([1, -1]))
    with pytest.raises(ValueError, match="cofactor must be positive"):
        screen.arcsinh(raw, cofactor=0.0)


def test_normalisation_of_what_cannot_be():
    with pytest.raises(ValueError, match="all 3 training cells are the same"):
        screen.fit_normalisation(np.full((3, 2), 0.1))
    with pytest.raises(ValueError, match="all 1 training cells"):
        screen.fit_normalisation(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"got \(0, 2\)"):
        screen.fit_normalisation(np.ones((0, 2)))


def test_held_out_cells_do_not_enter_the_normalisation(table):
    """The leak test: whatever the held-out cells hold, what is trained on does not change."""
    options = {"split": "whole-patient", "test": "3", "validation": "6", "min_cells": 1}
    held = (table.patient == "3") | (table.patient == "6")
    moved = replace(table, features=np.where(held[:, None], table.features * 1e3 + 7, table.features))
    one, other = (screen.prepare_screen(each, **options) for each in (table, moved))
    assert one.normalisation.scale == other.normalisation.scale
    np.testing.assert_array_equal(one.normalisation.mean, other.normalisation.mean)
    for part, same in (("train", True), ("validation", False), ("test", False)):
        a, b = one.family.part(part), other.family.part(part)
        assert np.array_equal(a.source.points, b.source.points) == same
        assert np.array_equal(a.target.points, b.target.points) == same
    training = one.family.part("train")
    experiment = np.unique(training.groups["experiment"], return_index=True)[1]
    cells = [training.source.cloud(i).points for i in experiment] + [training.target.points]
    np.testing.assert_allclose(np.concatenate(cells).mean(axis=0), 0, atol=1e-13)  # each cell once
    assert one.family.leaks("patient") == one.family.leaks("experiment") == ()


# Splits


def experiments(patients=("5", "21", "27"), plates="12", replicates="abc"):
    return [
        Experiment(*each) for each in itertools.product(("F", "PDO", "PDOF"), patients, plates, replicates)
    ]


def counts(parts):
    return [sum(part == each for part in parts.values()) for each in range(3)]


def test_replica_split():
    given = experiments([str(i) for i in range(10)], plates="123", replicates="abc")
    parts = screen.replica_split(given, groups=10, seed=3)
    assert counts(parts) == [270 - 60, 30, 30]
    held = [each for each, part in parts.items() if part]
    assert len({each[:3] for each in held}) == 60  # one replicate of each group
    for culture in ("F", "PDO", "PDOF"):
        assert [sum(parts[e] == p for e in given if e.culture == culture) for p in (1, 2)] == [10, 10]
    assert {each[:3] for each in given if parts[each] == 0} == {each[:3] for each in given}
    assert parts == screen.replica_split(given[::-1], groups=10, seed=3)  # whatever their order
    assert parts != screen.replica_split(given, groups=10, seed=4)
    with pytest.raises(ValueError, match="need 20 with at least two replicates; there are 6"):
        screen.replica_split(experiments())
    with pytest.raises(ValueError, match="there are 0"):
        screen.replica_split(experiments(replicates="a"), groups=1)


def test_patient_split():
    given = experiments()
    parts = screen.patient_split(given, validation="27", test="21", seed=1)
    assert counts(parts) == [54 - 12, 6, 6]  # one of each of 2 plates in 3 cultures
    for patient, part in (("27", 1), ("21", 2)):
        held = [each for each in given if parts[each] == part]
        assert {each.patient for each in held} == {patient}
        assert len({each[:3] for each in held}) == 6
    whole = screen.patient_split(given, test="21", whole=True)
    assert counts(whole) == [36, 0, 18]
    assert {each.patient for each, part in whole.items() if part == 2} == {"21"}
    with pytest.raises(ValueError, match="no patient '99' to hold out for test; there are 21, 27, 5"):
        screen.patient_split(given, test="99")
    with pytest.raises(ValueError, match="must be two patients"):
        screen.patient_split(given, test="21", validation="21")
    with pytest.raises(ValueError, match="no plate with two replicates"):
        screen.patient_split(experiments(replicates="a"), test="21")


# All of it


def test_a_prepared_screen(table):
    one = screen.prepare_screen(table, split="replica", groups=2, min_cells=1, max_cells=20, seed=5)
    family = one.family
    assert len(family) == 8 * 3 * 2 * 3
    assert family.source.sizes.tolist() == family.target.sizes.tolist() == [20] * len(family)
    assert np.bincount(family.parts).tolist() == [108, 18, 18]
    assert family.leaks("experiment") == ()
    assert len(family.leaks("patient")) > 0  # other replicates of these patients are trained on
    assert family.condition_names == ("C", "O", "S")
    np.testing.assert_array_equal(family.conditions.argmax(axis=1), [0, 1, 2] * 48)
    assert set(family.groups["dose"]) == {"2"}
    # One control of each experiment, whatever the treatment; particles and marks go together.
    np.testing.assert_array_equal(family.source.cloud(0).points, family.source.cloud(1).points)
    np.testing.assert_array_equal(
        family.marks[:, 0] == 1, family.source.points[:, 0] > family.source.points[:, 0].mean()
    )
    again = screen.prepare_screen(table, split="replica", groups=2, min_cells=1, max_cells=20, seed=5).family
    np.testing.assert_array_equal(again.source.points, family.source.points)
    bare = screen.prepare_screen(replace(table, cell_type=None), split="replica", groups=2, min_cells=1)
    assert bare.family.marks is None
    with pytest.raises(ValueError, match="split must be one of replica, patient, whole-patient; got 'cell'"):
        screen.prepare_screen(table, split="cell")


def test_a_screen_in_which_everything_is_held_out():
    table = a_table([((*PLACE, "DMSO", 0), 3), ((*PLACE, "O", 1), 3)])
    with pytest.raises(ValueError, match="all 1 pairs are held out"):
        screen.prepare_screen(table, split="whole-patient", test="21", min_cells=1)


def test_the_screen_by_name_is_read_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="organoid drug screen"):
        datasets.load_populations("screen")
    (tmp_path / "organoid_screen").mkdir()
    names = np.array(["21", "27"])
    table = synthetic_screen.synthetic_table(patients=2, replicates=2, cells=1000)
    renamed = replace(table, patient=names[table.patient.astype(int) - 1])
    write_screen(tmp_path / "organoid_screen" / "cells.h5ad", renamed)
    family = datasets.load_populations("screen-patients", seed=1)
    assert np.bincount(family.parts).tolist() == [18, 9, 9]
    assert set(family.part("test").groups["patient"]) == {"21"}
    with pytest.raises(ValueError, match="need 20 with at least two replicates; there are 2"):
        datasets.load_populations("screen")


# The synthetic screen


def means(clouds):
    return np.add.reduceat(clouds.points, clouds.offsets[:-1]) / clouds.sizes[:, None]


def shares(family):
    return np.add.reduceat(family.marks, family.source.offsets[:-1]) / family.source.sizes[:, None]


def test_no_map_fits_the_synthetic_screen_but_the_share_of_a_kind_does(synthetic):
    family, scale = synthetic.family, synthetic.normalisation.scale
    shift = means(family.target) - means(family.source)
    w = shares(family)
    truth = np.stack(
        [
            synthetic_screen.treatment_shift(t, 2.0, f)
            for t, f in zip(family.groups["treatment"], w[:, 0], strict=True)
        ]
    )
    np.testing.assert_allclose(shift, truth / scale, atol=0.35 / scale)
    for treatment in family.condition_names:
        same = np.array(family.groups["treatment"]) == treatment
        floor = floors.unread_floor(w[same], truth[same])
        size = np.sqrt(np.mean(np.sum(truth[same] ** 2, axis=1)))
        assert floor > 0.5 * size
        # Exactly so much is left of the best line through a parabola.
        line = np.polyval(np.polyfit(w[same, 0], truth[same].sum(axis=1), 1), w[same, 0])
        np.testing.assert_allclose(floor, np.sqrt(np.mean((truth[same].sum(axis=1) - line) ** 2)), rtol=1e-9)
        # The best a map can do on these very cells is no better.
        assert floors.unread_floor(w[same], shift[same]) > 0.45 * size / scale


def test_a_parabola_of_the_mean_fits_all_patients_and_the_held_out_one(synthetic):
    """What an embedding that averages over the population can do, fitted on training populations only."""
    family = synthetic.family
    train, test = family.part("train"), family.part("test")
    for treatment in family.condition_names:
        fitted = []
        for part in (train, test):
            same = part.subset(np.array(part.groups["treatment"]) == treatment)
            fitted.append((means(same.source)[:, 0], means(same.target) - means(same.source)))
        (m, s), (m_new, s_new) = fitted
        basis, new = (np.stack([np.ones_like(x), x, x * x], axis=1) for x in (m, m_new))
        coefficients = np.linalg.lstsq(basis, s, rcond=None)[0]
        error = np.sqrt(np.mean(np.sum((s_new - new @ coefficients) ** 2, axis=1)))
        line = np.linalg.lstsq(basis[:, :2], s, rcond=None)[0]
        worse = np.sqrt(np.mean(np.sum((s_new - new[:, :2] @ line) ** 2, axis=1)))
        assert error < 0.5 * worse


def test_the_synthetic_screen_is_a_screen(synthetic):
    family = synthetic.family
    assert (len(family), family.dimension) == (216, 10)
    assert np.bincount(family.parts).tolist() == [162, 27, 27]
    assert set(family.part("test").groups["patient"]) == {"3"}
    assert family.leaks("patient") == ()
    # Kinds are the same in all populations: their cells, relative to their shift, have the same two means.
    w = shares(family)
    kind_means = np.linalg.lstsq(w, means(family.source), rcond=None)[0]
    apart = kind_means[0, 0] - kind_means[1, 0]
    np.testing.assert_allclose(apart, 6.0 / synthetic.normalisation.scale, rtol=0.02)
    with pytest.raises(ValueError, match="patients must be an integer of at least 1; got 0"):
        synthetic_screen.synthetic_table(patients=0)


def test_the_synthetic_screen_goes_through_a_file(tmp_path, table):
    options = {"split": "replica", "groups": 2, "min_cells": 1}
    direct = screen.prepare_screen(table, **options).family
    read = screen.prepare_screen(read_screen(write_screen(tmp_path / "a.h5ad", table)), **options).family
    np.testing.assert_array_equal(read.source.points, direct.source.points)
    np.testing.assert_array_equal(read.target.points, direct.target.points)
    assert read.members == direct.members
