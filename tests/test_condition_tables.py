"""Conditions from the columns of a table of their own."""

import anndata
import numpy as np
import pandas as pd
import pytest
from command import assert_error, refwfm, succeed

from refwfm import datasets

READ = ("--by", "neighbourhood", "--k", 3, "--pcs", 2, "--condition", "age,dose", "--condition-table")
PATIENTS = pd.DataFrame({"patient": ["p2", "p1"], "age": [20, 10], "dose": [0.5, 1.5], "note": ["a", "b"]})


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    obs = pd.DataFrame(
        {"patient": ["p1", "p2"] * 6, "section": [1, 2] * 6}, index=[f"c{i}" for i in range(12)]
    )
    anndata.AnnData(rng.standard_normal((12, 4)), obs=obs).write_h5ad("CELLS.H5AD")
    PATIENTS.to_csv("Patients.CSV", index=False)


@pytest.mark.parametrize("kind", ["gaussians", "clouds"])
def test_cells_have_the_conditions_of_their_patient(kind):
    succeed("data", kind, "CELLS.H5AD", *READ, "Patients.CSV", "--out", "A.NPZ")
    family = datasets.load("A.NPZ")
    assert family.condition_names == ("age", "dose")
    np.testing.assert_array_equal(family.conditions, [[10, 1.5], [20, 0.5]] * 6)


def test_keys_may_be_numbers_and_names_of_members():
    pd.DataFrame({"section": [2.0, 1.0], "age": [2, 1]}).to_csv("s.csv", index=False)
    read = ("--by", "neighbourhood", "--k", 3, "--pcs", 2, "--condition", "age", "--condition-table")
    succeed("data", "gaussians", "CELLS.H5AD", *read, "s.csv", "--out", "a.npz")
    np.testing.assert_array_equal(datasets.load("a.npz").conditions, [[1], [2]] * 6)
    pd.DataFrame({"who": list("bab"), "x": [1, 2, 3], "y": [1, 2, 4]}).to_csv("points.csv", index=False)
    pd.DataFrame({"cloud": ["a", "b"], "age": [7, 8]}).to_csv("ages.csv", index=False)
    made = ("--cloud", "who", "--condition", "age", "--condition-table", "ages.csv", "--out", "b.npz")
    succeed("data", "clouds", "points.csv", *made)
    np.testing.assert_array_equal(datasets.load("b.npz").conditions, [[7], [8]])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (PATIENTS[:1], ("no row for 1 of 2 values of patient: p1", "'patient', names p2")),
        (pd.concat([PATIENTS, PATIENTS]), ("more than one row for patient p1",)),
        (PATIENTS.drop(columns="dose"), ("'dose' is no column of p.csv; there are patient, age, note",)),
        (PATIENTS.assign(dose=["1", "high"]), ("'dose' must be a column of numbers; got 'high'",)),
        (PATIENTS.assign(age=[1, None]), ("'age' has no finite value for 1 of 2 rows of p.csv",)),
        (PATIENTS.assign(patient=[None, "p1"]), ("patient", "1 of 2")),
        (PATIENTS.rename(columns={"patient": "who"}), ("no row for 12 of 12 values of member: c0, c1",)),
        (PATIENTS[:0], ("no row for 2 of 2 values",)),
    ],
)
def test_what_is_missing_is_one_clear_line(table, words):
    table.to_csv("p.csv", index=False)
    assert_error(refwfm("data", "gaussians", "CELLS.H5AD", *READ, "p.csv", "--out", "a.npz"), *words)


def test_options_that_belong_together():
    alone = refwfm("data", "gaussians", "CELLS.H5AD", "--by", "cluster", "--condition-table", "Patients.CSV")
    assert_error(alone, "--condition-table needs --condition")
    np.save("a.npy", np.ones((3, 2, 2)))
    nameless = ("--condition", "age", "--condition-table", "Patients.CSV", "--out", "a.npz")
    assert_error(refwfm("data", "clouds", "a.npy", *nameless), "keyed by 'patient'", "no names of members")
