"""Families written a block at a time: the files are those of all members together."""

import anndata
import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import datasets
from refwfm.cli import generate
from refwfm.datasets import Family, clouds_from_arrays
from refwfm.datasets._blocks import save_anndata_blocks, save_blocks
from refwfm.measures import Gaussian

CLOUD = ("--heads", 2, "--hidden", 8, "--n-frequencies", 2)
TINY = ("--steps", 2, "--batch", 3, "--width", 8, "--depth", 1, "--quiet")


def clouds(rng):
    sizes = rng.integers(1, 5, size=11)
    return clouds_from_arrays([rng.standard_normal((n, 2)) for n in sizes], labels=["a", "b"] * 5 + ["a"])


def gaussians(rng):
    root = rng.standard_normal((11, 2, 2))
    return Family(
        name="g",
        gaussians=Gaussian(rng.standard_normal((11, 2)), root @ root.mT),
        conditions=rng.standard_normal((11, 1)),
        condition_names=("age",),
    )


@pytest.mark.parametrize("make", [clouds, gaussians])
@pytest.mark.parametrize("parts", [1, 4, 11])
def test_the_file_is_that_of_all_members(rng, tmp_path, make, parts):
    family = make(rng)
    whole = datasets.save_family(tmp_path / "whole.npz", family)
    blocks = (family.subset(index) for index in np.array_split(np.arange(11), parts))
    assert save_blocks(tmp_path / "blocks.npz", blocks).read_bytes() == whole.read_bytes()


def test_what_goes_wrong_leaves_the_file_and_nothing_else(rng, tmp_path):
    path = datasets.save_family(tmp_path / "a.npz", clouds(rng))
    before = path.read_bytes()

    def blocks():
        yield clouds(rng)
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        save_blocks(path, blocks())
    with pytest.raises(OSError, match="there is no folder"):
        save_blocks(tmp_path / "no" / "a.npz", blocks())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def table(rng, n, kinds, first):
    import pandas as pd

    obs = pd.DataFrame(
        {"kind": kinds, "age": rng.standard_normal(n)}, index=[str(first + i) for i in range(n)]
    )
    data = anndata.AnnData(
        rng.standard_normal((n, 3)).astype(np.float32), obs=obs.astype({"kind": "category"})
    )
    data.obsm["X_pca"], data.uns["refwfm"] = rng.standard_normal((n, 2)), {"zeros": 0.5 if first else 0.0}
    return data


def test_anndata_of_blocks_is_that_of_all_cells(rng, tmp_path):
    blocks = [table(rng, 3, ["b", "c", "b"], 0), table(rng, 2, ["a", "c"], 3), table(rng, 1, ["é"], 5)]
    found = anndata.read_h5ad(save_anndata_blocks(tmp_path / "a.h5ad", iter(blocks)))
    whole = anndata.concat(blocks)
    np.testing.assert_array_equal(found.X, whole.X)
    np.testing.assert_array_equal(found.obsm["X_pca"], whole.obsm["X_pca"])
    assert found.obs["kind"].tolist() == ["b", "c", "b", "a", "c", "é"]
    assert found.obs["kind"].dtype == "category"
    np.testing.assert_array_equal(found.obs["age"], whole.obs["age"])
    assert found.obs_names.tolist() == list("012345")
    assert found.uns["refwfm"]["zeros"] == 0.25
    found.write_h5ad(tmp_path / "again.h5ad")  # and can be written


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    rng, place = np.random.default_rng(0), tmp_path_factory.mktemp("runs")
    for name, family, more in (("clouds", clouds(rng), CLOUD), ("gaussians", gaussians(rng), ())):
        datasets.save_family(place / f"{name}.npz", family)
        succeed(
            "train", "--data", place / f"{name}.npz", *TINY, *more, "--conditional", "--out", place / name
        )
    return place


@pytest.mark.parametrize("kind", ["clouds", "gaussians"])
def test_more_begins_with_the_same_blocks_and_memory_is_that_of_one(place, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(generate, "BLOCK", 4)
    found = {}
    for size in (4, 9, 12):
        out = tmp_path / f"{size}.npz"
        said = succeed("generate", place / kind, "--size", size, "--steps", 2, "--out", out)
        assert ("in blocks of 4: about" in said) == (size > 4)
        assert ("a block takes" in said) == (size > 4)
        found[size] = datasets.load(out)
        assert len(found[size]) == size
    for size, same in ((4, 4), (9, 8)):
        for member in range(same):
            if kind == "clouds":
                want, got = found[12].cloud(member), found[size].cloud(member)
            else:
                want, got = (
                    Gaussian(f.gaussians.mean[member], f.gaussians.cov[member])
                    for f in (found[12], found[size])
                )
            for ours, theirs in zip(got, want, strict=True):
                np.testing.assert_array_equal(ours, theirs)
        if kind == "clouds":
            np.testing.assert_array_equal(found[size].labels[:same], found[12].labels[:same])
        else:
            np.testing.assert_array_equal(found[size].conditions[:same], found[12].conditions[:same])
    first, second = (found[12].subset(np.arange(4) + 4 * k) for k in (0, 1))  # no block is another
    ours, theirs = (f.points if kind == "clouds" else f.gaussians.mean for f in (first, second))
    assert not np.isin(ours, theirs).any()


def test_cells_are_numbered_through(place, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "BLOCK", 2)
    out = tmp_path / "a.h5ad"
    succeed("generate", place / "gaussians", "--size", 5, "--steps", 1, "--points", 2, "--out", out)
    data = anndata.read_h5ad(out)
    assert data.obs_names.tolist() == [str(i) for i in range(10)]
    assert data.obs["member"].tolist() == np.repeat(list("01234"), 2).tolist()
    assert len(np.unique(data.obsm["X_pca"])) == 20  # each block draws others


def test_large_members_make_small_blocks(place, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "ENTRIES", 20)
    said = succeed(
        *("generate", place / "clouds", "--points", 5, "--size", 3, "--steps", 1, "--out", tmp_path / "a.npz")
    )
    assert "in blocks of 2" in said


def test_what_the_machine_has_not_is_refused_before(place, tmp_path, monkeypatch):
    out = tmp_path / "a.npz"
    asked = ("generate", place / "clouds", "--steps", 1, "--out", out)
    assert_error(refwfm(*asked, "--size", 1, "--points", 10**9), "TB of memory", "--points", "--force")
    assert_error(refwfm(*asked, "--size", 10**15), "a.npz would take up to", "left", "--size", "--force")
    monkeypatch.setattr(generate.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 0}))
    assert_error(refwfm(*asked, "--size", 1), "0 MB left")
    succeed(*asked, "--size", 1, "--force")
