"""One's own populations: from arrays, from an AnnData file, on the command line."""

import os
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from test_cli_data import assert_error, run

from refwfm import datasets
from refwfm.datasets import populations_from_anndata, populations_from_arrays
from refwfm.datasets.own_populations import held_of

PBMC = os.path.join(os.environ.get("REFWFM_DATA", "none"), "pbmc68k_reduced", "10x_pbmc68k_reduced.h5ad")
PLENTY = {"min_cells": 1}


def cells(groups, d=2):
    """Features, populations and conditions of (population, condition): so many cells."""
    where, what = zip(*[key for key, n in groups.items() for _ in range(n)], strict=True)
    features = np.arange(len(where) * d, dtype=float).reshape(-1, d)
    return features, {"population": np.array(where), "condition": np.array(what), "control": "DMSO"}


TWO = {("s2", "drug"): 4, ("s1", "DMSO"): 3, ("s1", "drug"): 2, ("s2", "DMSO"): 5, ("s2", "other"): 1}


def test_each_condition_of_a_population_is_a_target_of_its_control():
    features, facts = cells(TWO)
    family = populations_from_arrays(
        features, **facts, **PLENTY, marks=np.where(features[:, 0] < 10, "T", "B")
    )
    assert family.members == ("s1: drug", "s2: drug", "s2: other")
    assert family.condition_names == ("drug", "other")
    np.testing.assert_array_equal(family.conditions, np.eye(2)[[0, 0, 1]])
    assert family.groups == {"population": ("s1", "s2", "s2"), "condition": ("drug", "drug", "other")}
    assert family.source.sizes.tolist() == [3, 5, 5]
    for i in range(3):
        where, what = family.groups["population"][i], family.groups["condition"][i]
        for end, which in (("source", "DMSO"), ("target", what)):
            rows = (facts["population"] == where) & (facts["condition"] == which)
            np.testing.assert_array_equal(getattr(family, end).cloud(i).points, features[rows])
    np.testing.assert_array_equal(family.marks[:, 1], family.source.points[:, 0] < 10)
    assert not family.paired
    assert (family.parts == 0).all()


def test_doses_are_a_column_and_targets_of_their_own():
    features, facts = cells(TWO)
    dose = np.array([1.0, 1, 10, 10, np.nan, 0, 7, 3, 3, 0, 0, 0, 0, 0, 5])  # of the control: not read
    family = populations_from_arrays(features, **facts, dose=dose, **PLENTY)
    assert family.members == ("s1: drug 3", "s2: drug 1", "s2: drug 10", "s2: other 5")
    assert family.condition_names == ("drug", "other", "dose")
    np.testing.assert_array_equal(family.conditions[:, 2], [3, 1, 10, 5])
    assert family.groups["dose"] == ("3", "1", "10", "5")
    with pytest.raises(ValueError, match=r"column dose: 1 of 15 cells have no value .the first in row 2"):
        populations_from_arrays(features, **facts, dose=np.where(np.arange(15) == 2, np.nan, dose), **PLENTY)
    with pytest.raises(TypeError, match="dose must hold numbers"):
        populations_from_arrays(features, **facts, dose=["low"] * 15, **PLENTY)


def test_what_has_no_partner_is_dropped_with_a_warning():
    features, facts = cells(
        TWO | {("s3", "drug"): 4, ("s4", "DMSO"): 4, ("s4", "drug"): 1, ("s5", "DMSO"): 1}
    )
    with pytest.warns(UserWarning, match="dropped") as told:
        family = populations_from_arrays(features, **facts, min_cells=2)
    assert family.members == ("s1: drug", "s2: drug")
    (message,) = (str(each.message) for each in told)
    assert "3 of 9 groups of cells have fewer than 2 cells: s2: other, s4: drug, s5: DMSO" in message
    assert "populations without the control 'DMSO': s3, s5" in message
    assert "populations without a condition beside the control: s4" in message
    with pytest.raises(ValueError, match="no population has enough cells of 'DMSO'"):
        populations_from_arrays(features, **facts, min_cells=10)


def test_one_cell_and_identical_cells():
    family = populations_from_arrays(
        np.ones((2, 1)), population=["a", "a"], condition=["DMSO", "x"], control="DMSO", **PLENTY
    )
    assert family.source.sizes.tolist() == family.target.sizes.tolist() == [1]
    drawn = family.draw([0], 3, rng=np.random.default_rng(0))
    assert drawn.repeated.tolist() == [[True, True]]
    assert drawn.x0.tolist() == [[[1]] * 3]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"control": "PBS"},
            ValueError,
            "control 'PBS' is no condition of any cell; there are DMSO, drug, oth",
        ),
        ({"population": ["s1"]}, ValueError, r"population must have one value for each of 15 cells; got .*1"),
        ({"population": [None, *["s1"] * 14]}, ValueError, "column population: 1 of 15 cells have no value"),
        ({"condition": [*["DMSO"] * 13, np.nan, ""]}, ValueError, "condition: 2 of 15 .*first in row 13"),
        ({"marks": ["T"] * 14 + [None]}, ValueError, "column marks: 1 of 15"),
        ({"features": np.full((15, 2), np.inf)}, ValueError, "15 of 15 cells have NaN or infinity"),
        ({"features": np.full((15, 2), "a")}, TypeError, "features must be real numbers"),
        ({"features": np.zeros((15, 0))}, ValueError, r"got \(15, 0\)"),
        ({"feature_names": ["u"]}, ValueError, "1 names for 2 features"),
        ({"min_cells": 0}, ValueError, "min_cells must be an integer of at least 1"),
        ({"held_out": 1.5}, ValueError, "test: a share must lie strictly between 0 and 1; got 1.5"),
        ({"held_out": 0.1}, ValueError, "a share of 0.1 holds out 0 of 2 populations"),
        (
            {"validation": 0.5, "held_out": 0.5},
            ValueError,
            "test: .* holds out 1 of 2 populations, 1 of which",
        ),
        ({"held_out": ("sex", ["f"])}, ValueError, "no column 'sex'; there are population, condition"),
        ({"held_out": ("condition", ["y"])}, ValueError, "no pair has condition y; there are drug, other"),
        ({"held_out": ("population", ["s1", "s2"])}, ValueError, "all 3 pairs are held out"),
        (
            {"held_out": ("population", ["s1"]), "validation": ("condition", ["drug"])},
            ValueError,
            "held_out and validation overlap",
        ),
        (
            {"columns": {"day": [f"d{i}" for i in range(15)]}},
            ValueError,
            "column 'day' must be the same for all cells.*s1: drug has",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    features, facts = cells(TWO)
    given = facts | PLENTY | {"features": features} | change
    with pytest.raises(error, match=message):
        populations_from_arrays(given.pop("features"), **given)


def test_shares_and_values_are_held_out():
    groups = {(f"s{i}", what): 3 for i in range(10) for what in ("DMSO", "x", "y")}
    features, facts = cells(groups)
    sex = np.array(["f" if where in ("s1", "s4") else "m" for where in facts["population"]])
    family = populations_from_arrays(features, **facts, **PLENTY, held_out=0.2, validation=0.3, seed=1)
    assert np.bincount(family.parts).tolist() == [10, 6, 4]
    assert family.leaks("population") == ()  # whole populations: pairs share their control
    other = populations_from_arrays(features, **facts, **PLENTY, held_out=0.2, validation=0.3, seed=2)
    assert (family.parts != other.parts).any()
    by_sex = populations_from_arrays(
        features, **facts, **PLENTY, columns={"sex": sex}, held_out=("sex", ["f"]), validation=0.25
    )
    assert {by_sex.groups["population"][i] for i in np.flatnonzero(by_sex.parts == 2)} == {"s1", "s4"}
    assert by_sex.groups["sex"].count("f") == 4
    assert (by_sex.parts == 1).sum() == 2 * 2
    never = populations_from_arrays(features, **facts, **PLENTY, held_out=("condition", ["y"]))
    assert not never.part("train").conditions[:, 1].any()


def test_what_the_option_says():
    assert held_of(None, "--held-out") is None
    assert held_of("0.2", "--held-out") == 0.2
    assert held_of("patient=p3,p4", "--held-out") == ("patient", ("p3", "p4"))
    for text in ("patient", "patient=", "=p3"):
        with pytest.raises(ValueError, match=r"--held-out must be a share such as 0.2, or COLUMN=VALUE"):
            held_of(text, "--held-out")


# AnnData


def annotated(tmp_path, data, seed=0):
    """Samples of two patients each, one of them without a control."""
    rng = np.random.default_rng(seed)
    n = data.n_obs
    data.obs["sample"] = pd.Categorical(rng.choice(["s1", "s2", "s3", "s4"], n))
    data.obs["drug"] = pd.Categorical(rng.choice(["DMSO", "A", "B"], n))
    data.obs.loc[data.obs["sample"] == "s4", "drug"] = "A"
    data.obs["dose"] = np.where(data.obs["drug"] == "DMSO", 0.0, 2.5)
    data.obs["patient"] = data.obs["sample"].map({"s1": "p1", "s2": "p1", "s3": "p2", "s4": "p2"})
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    return path


@pytest.fixture
def h5ad(tmp_path):
    data = anndata.AnnData(np.random.default_rng(0).uniform(size=(200, 6)).astype(np.float32))
    data.obsm["X_pca"] = np.random.default_rng(1).standard_normal((200, 5))
    return annotated(tmp_path, data)


COLUMNS = {"population": "sample", "condition": "drug", "control": "DMSO"}


def check_file(path, pcs):
    with pytest.warns(UserWarning, match="without the control 'DMSO': s4"):
        family = populations_from_anndata(
            path, **COLUMNS, pcs=pcs, min_cells=2, held_out=("patient", ("p2",))
        )
    data = anndata.read_h5ad(path)
    assert family.members == ("s1: A", "s1: B", "s2: A", "s2: B", "s3: A", "s3: B")
    assert family.parts.tolist() == [0, 0, 0, 0, 2, 2]
    assert family.groups["patient"] == ("p1", "p1", "p1", "p1", "p2", "p2")
    for i, (where, what) in enumerate(
        zip(family.groups["population"], family.groups["condition"], strict=True)
    ):
        for end, which in (("source", "DMSO"), ("target", what)):
            rows = ((data.obs["sample"] == where) & (data.obs["drug"] == which)).to_numpy()
            want = np.asarray(data.obsm["X_pca"][rows, :pcs], np.float64)
            np.testing.assert_array_equal(getattr(family, end).cloud(i).points, want)
    return family


def test_a_file(h5ad):
    check_file(h5ad, 3)


@pytest.mark.skipif(not os.path.isfile(PBMC), reason="REFWFM_DATA has no PBMC cells")
def test_cells_of_blood(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's, of a file of an older version
        data = anndata.read_h5ad(PBMC)
        path = annotated(tmp_path, data)
    family = check_file(path, 16)
    assert family.dimension == 16


def test_a_file_lacks_something(tmp_path, h5ad):
    with pytest.raises(ValueError, match="no column 'donor' in obs; it has sample, drug, dose, patient"):
        populations_from_anndata(h5ad, **(COLUMNS | {"population": "donor"}), pcs=2)
    with pytest.raises(ValueError, match="no column 'day' in obs"):
        populations_from_anndata(h5ad, **COLUMNS, pcs=2, held_out=("day", ("1",)))
    with pytest.raises(ValueError, match=r"no obsm\['X_umap'\]; it has X_pca"):
        populations_from_anndata(h5ad, **COLUMNS, pcs=2, basis="X_umap")
    with pytest.raises(ValueError, match=r"pcs = 9, but .* has only 5"):
        populations_from_anndata(h5ad, **COLUMNS, pcs=9)
    data = anndata.read_h5ad(h5ad)
    data.obs["drug"] = data.obs["drug"].where(np.arange(200) != 7)
    data.write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(ValueError, match=r"column drug .condition.: 1 of 200 cells .* row 7"):
        populations_from_anndata(tmp_path / "b.h5ad", **COLUMNS, pcs=2)
    with pytest.raises(FileNotFoundError, match="no such file"):
        populations_from_anndata(tmp_path / "none.h5ad", **COLUMNS)


# The command


OPTIONS = ("--population", "sample", "--condition", "drug", "--control", "DMSO", "--pcs", 3)


def test_the_command_writes_and_shows_them(tmp_path, h5ad):
    out = tmp_path / "pops.npz"
    arguments = ("populations", h5ad, *OPTIONS, "--held-out", "sample=s1", "--dose", "dose", "--out", out)
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    for words in ("dropped: populations without the control 'DMSO': s4", "A, B, dose", f"wrote {out}"):
        assert words in result.stdout
    family = datasets.load_populations(out)
    assert np.bincount(family.parts).tolist() == [4, 0, 2]
    assert set(family.conditions[:, 2]) == {2.5}
    shown = run("show", out)
    assert "train 4, validation 0, test 2" in shown.stdout
    assert "A, B (2 both trained on and held out)" in shown.stdout
    assert_error(run(*arguments), "exists", "--force")
    assert run(*arguments, "--force", "--validation", 0.4).exit_code == 0
    assert np.bincount(datasets.load_populations(out).parts).tolist() == [2, 2, 2]
    assert_error(run("show", out, "--figure", tmp_path / "a.png"), "--figure draws Gaussians and clouds")


def test_the_command_says_what_is_wrong(tmp_path, h5ad):
    out = ("--out", tmp_path / "a.npz")
    assert_error(run("populations", h5ad, *OPTIONS, *out, "--held-out", "half"), "--held-out must be a share")
    assert_error(run("populations", h5ad, *OPTIONS, *out, "--dose", "mg"), "no column 'mg'")
    assert_error(
        run("populations", h5ad, *OPTIONS[:4], "--control", "PBS", *out, "--pcs", 2), "'PBS'", "A, B"
    )
    assert_error(run("populations", h5ad, *OPTIONS, *out, "--min-cells", 500), "no population has enough")
    assert not (tmp_path / "a.npz").exists()


def test_populations_are_listed_and_shown():
    listed = run("list").stdout
    for name, entry in datasets.POPULATIONS.items():
        assert name in listed
        assert entry.size in listed
    assert "train 162, validation 27, test 27" in run("show", "synthetic-screen").stdout
