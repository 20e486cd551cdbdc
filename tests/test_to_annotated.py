"""AnnData in and out: the basis of components, families that keep it, and what is written."""

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from command import assert_error, refwfm, succeed
from scipy.sparse import csc_matrix, csr_matrix

from refwfm import datasets
from refwfm.datasets import _basis
from refwfm.datasets._basis import expression_of, fit_basis
from refwfm.storage import records

TOLD = {"expression": "X", "key": "X_pca", "group": "niche", "label": ""}
TINY = ("--steps", 2, "--batch", 3, "--width", 8, "--depth", 1)
CLOUD = ("--heads", 2, "--hidden", 8, "--n-frequencies", 2)


def pca(matrix, d):
    """Scores, loadings (d, G) and the share of the variance, by an eigendecomposition of the covariance."""
    centred = matrix - matrix.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, ::-1][:, :d], vectors[:, ::-1][:, :d].T, values[::-1][:d].sum() / values.sum()


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """Forty cells of two sections with counts of twelve genes, their components by scanpy's convention."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0 + 2.0 * rng.uniform(size=(40, 12))).astype(np.float32)
    logged = np.log1p(counts)
    scores, loadings, _ = pca(logged.astype(np.float64), 5)
    data = anndata.AnnData(csr_matrix(logged), layers={"counts": counts})
    data.var_names = [f"gene{i}" for i in range(12)]
    data.obs_names = [f"cell{i}" for i in range(40)]
    data.obsm["X_pca"], data.varm["PCs"] = scores.astype(np.float32), loadings.T
    data.obsm["spatial"] = rng.uniform(size=(40, 2))
    data.obs["kind"] = pd.Categorical(np.tile(["x", "y"], 20))
    data.obs["section"] = np.repeat([1, 2], 20)
    data.obs["depth"] = counts.sum(axis=1)
    data.obs["donor"] = np.repeat(["d1", "d1", "d2", "d3"], 10)
    data.raw = data
    data.X = (data.X.toarray() - logged.mean(axis=0)) / logged.std(axis=0)
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    data.write_h5ad(path)
    return path


# --- the basis


def test_loadings_of_principal_components(rng):
    matrix = 3.0 + rng.standard_normal((30, 6)) @ rng.standard_normal((6, 6))
    scores, loadings, share = pca(matrix, 4)
    basis = fit_basis(matrix, scores, "abcdef", **TOLD)
    np.testing.assert_allclose(basis.loadings, loadings, atol=1e-12)
    np.testing.assert_allclose(basis.mean, matrix.mean(axis=0), atol=1e-12)
    assert basis.explained == pytest.approx(share, rel=1e-12)
    assert not np.allclose(basis.loadings, loadings[::-1], atol=1e-2)  # the check can see


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix, csc_matrix])
@pytest.mark.parametrize("entries", [1, 50, 10**6])
def test_any_matrix_and_components_have_the_best_linear_map(rng, monkeypatch, kind, entries):
    monkeypatch.setattr(_basis, "ENTRIES", entries)
    matrix = rng.poisson(0.7, size=(25, 7)).astype(np.float32)
    components = 5.0 + rng.standard_normal((25, 3)) * [1.0, 10.0, 0.1]
    basis = fit_basis(kind(matrix), components, range(7), **TOLD)
    want = np.linalg.lstsq(np.c_[np.ones(25), components], matrix.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(np.c_[basis.mean, basis.loadings.T], want.T, atol=1e-10)
    residual = matrix - np.c_[np.ones(25), components] @ want
    assert basis.explained == pytest.approx(1 - (residual**2).sum() / (25 * matrix.var(axis=0).sum()))
    assert (basis.nonnegative, basis.zeros) == (True, np.mean(matrix == 0))
    assert basis.genes.tolist() == list("0123456")


def test_a_far_origin_costs_no_variance(rng):
    matrix = rng.standard_normal((30, 4))
    scores, _, share = pca(matrix, 2)
    assert fit_basis(matrix + 1e7, scores, "abcd", **TOLD).explained == pytest.approx(share, rel=1e-6)


def test_an_empty_direction_and_constant_genes(rng):
    scores = np.c_[rng.standard_normal(9), np.full(9, 2.0), 1e-9 * rng.standard_normal(9)]
    basis = fit_basis(np.full((9, 2), 3.0), scores, "ab", **TOLD)
    np.testing.assert_allclose(expression_of(basis, scores), 3.0)
    assert basis.explained == 1.0
    noisy = fit_basis(rng.standard_normal((9, 2)), scores, "ab", **TOLD)
    assert np.abs(noisy.loadings[1:]).max() < 1e-6  # rounding of float32 is not blown up to expression


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_expression_that_is_not_finite_has_no_basis(bad):
    assert fit_basis(np.array([[1.0], [bad]]), np.array([[0.0], [1.0]]), "a", **TOLD) is None


def test_only_what_was_never_negative_stays_so():
    cells = np.array([[0.0], [2.0]])
    basis = fit_basis(cells, np.array([[0.0], [1.0]]), "a", **TOLD)
    far = np.array([[-1.0], [np.nan], [0.5]])
    np.testing.assert_array_equal(expression_of(basis, far), [[0.0], [np.nan], [1.0]])
    signed = fit_basis(cells - 1.0, np.array([[0.0], [1.0]]), "a", **TOLD)
    np.testing.assert_allclose(expression_of(signed, far), [[-3.0], [np.nan], [0.0]])


# --- families that have one


@pytest.mark.parametrize(
    ("expression", "name", "nonnegative"),
    [("X", "X", False), ("raw", "raw.X", True), ("counts", "layers['counts']", True)],
)
def test_a_family_keeps_what_the_file_says(h5ad, tmp_path, expression, name, nonnegative):
    options = {"pcs": 4, "k": 6, "label": "kind", "section_key": "section", "expression": expression}
    data = anndata.read_h5ad(h5ad)
    for make in (datasets.clouds_from_anndata, datasets.from_anndata):
        family = make(h5ad, **options)
        read = datasets.load(datasets.save_family(tmp_path / f"{make.__name__}-{expression}.npz", family))
        for each in (family, read):
            assert each.members == tuple(data.obs_names)
            assert {key: values.tolist() for key, values in each.groups.items()} == {
                key: data.obs[key].astype(str).tolist() for key in ("kind", "section", "donor")
            }  # and no column of numbers
            basis = each.basis
            assert (basis.expression, basis.key, basis.group, basis.label) == (name, "X_pca", "niche", "kind")
            assert (basis.nonnegative, type(basis.nonnegative)) == (nonnegative, bool)
            assert basis.genes.tolist() == data.var_names.tolist()
        np.testing.assert_array_equal(read.basis.loadings, family.basis.loadings)
        if expression == "raw":  # what the components are of
            np.testing.assert_allclose(family.basis.loadings, data.varm["PCs"].T[:4], atol=1e-6)
        some = family.subset([3, 0])
        assert some.groups["donor"].tolist() == ["d1", "d1"]
        assert some.basis is family.basis


def test_clusters_keep_the_columns_that_they_are_one_in(h5ad):
    family = datasets.from_anndata(h5ad, by="cluster", cluster_key="donor", pcs=3)
    assert {key: values.tolist() for key, values in family.groups.items()} == {
        "section": ["1", "2", "2"],
        "donor": ["d1", "d2", "d3"],
    }
    assert (family.basis.group, family.members) == ("cluster", ("d1", "d2", "d3"))


def test_components_that_are_computed_have_a_basis(h5ad, tmp_path):
    data = anndata.read_h5ad(h5ad)
    data.X = data.layers["counts"].copy()
    del data.obsm["X_pca"], data.raw
    data.write_h5ad(tmp_path / "counts.h5ad")
    family = datasets.clouds_from_anndata(tmp_path / "counts.h5ad", pcs=12, k=3)
    own = family.points[family.offsets[:-1]]  # each cell is the first of its niche
    some = expression_of(family.basis, own)
    found = {tuple(row) for row in np.abs(some).round(4).tolist()}
    assert found <= {tuple(row) for row in data.X.round(4).tolist()} | {tuple(row) for row in found}
    assert family.basis.explained == pytest.approx(1.0)
    np.testing.assert_allclose(sorted(some.sum(axis=1)), sorted(_firsts(family, data)), atol=1e-4)


def _firsts(family, data):
    """Sums of the counts of the cell that each cloud has first."""
    tree = datasets.cells.nearest(data.obsm["spatial"], 3, rows=40)
    assert tree[:, 0].tolist() == list(range(40))
    return data.X.sum(axis=1)


def test_no_expression_no_basis(h5ad, tmp_path):
    data = anndata.read_h5ad(h5ad)
    bare = anndata.AnnData(obs=data.obs, obsm=dict(data.obsm))
    bare.write_h5ad(tmp_path / "bare.h5ad")
    family = datasets.clouds_from_anndata(tmp_path / "bare.h5ad", k=4, pcs=3)
    assert family.basis is None
    del bare.obsm["X_pca"]
    bare.write_h5ad(tmp_path / "barer.h5ad")
    with pytest.raises(ValueError, match=r"neither obsm\['X_pca'\] nor an expression matrix X"):
        datasets.clouds_from_anndata(tmp_path / "barer.h5ad", k=4, pcs=3)
    path = datasets.save_family(tmp_path / "bare.npz", replace(family, groups={}))
    with np.load(path) as file:
        assert not [key for key in file if key.startswith(("group_", "basis_"))]
    assert (datasets.load(path).groups, datasets.load(path).basis) == ({}, None)


def test_bad_groups_and_bases(h5ad):
    family = datasets.clouds_from_anndata(h5ad, k=4, pcs=3)
    with pytest.raises(ValueError, match=r"groups\['a'\] must have shape \(40,\); got \(2,\)"):
        replace(family, groups={"a": np.array(["x", "y"])})
    short = family.basis._replace(loadings=family.basis.loadings[:2])
    with pytest.raises(ValueError, match="has dimension 3, and its basis has 2 components"):
        replace(family, basis=short)
    with pytest.raises(ValueError, match=r"expression must be X, raw or a layer .* 'tpm', .* counts"):
        datasets.clouds_from_anndata(h5ad, k=4, pcs=3, expression="tpm")


# --- AnnData out


def test_clouds_become_cells(h5ad):
    family = datasets.clouds_from_anndata(h5ad, k=6, pcs=4, label="kind", expression="raw")
    data = datasets.to_anndata(family, about={"run": "runs/a", "options": {"seed": 1}})
    assert data.shape == (240, 12)
    np.testing.assert_array_equal(data.obsm["X_pca"], family.points)
    np.testing.assert_allclose(data.varm["PCs"], family.basis.loadings.T)
    assert data.obs["niche"].tolist() == np.repeat(family.members, 6).tolist()
    assert data.obs["niche_kind"].tolist() == np.repeat(np.tile(["x", "y"], 20), 6).tolist()
    want = family.basis.mean + family.points @ family.basis.loadings
    assert want.min() < 0
    np.testing.assert_allclose(data.X, np.maximum(want, 0), rtol=1e-6)
    told = data.uns["refwfm"]
    assert told["zeros"] == np.mean(data.X == 0) > 0
    assert told["real_zeros"] == np.mean(anndata.read_h5ad(h5ad).raw.X.toarray() == 0)
    assert (told["run"], json.loads(told["options"])) == ("runs/a", {"seed": 1})
    with pytest.raises(ValueError, match="clouds have their own number of cells; got 3"):
        datasets.to_anndata(family, cells=3)


def test_gaussians_become_means_or_cells(h5ad):
    family = datasets.from_anndata(h5ad, k=30, pcs=3, label="kind", expression="raw")
    means = datasets.to_anndata(family)
    assert means.shape == (40, 12)
    np.testing.assert_array_equal(means.obsm["X_pca"], family.gaussians.mean)
    cells = datasets.to_anndata(family, cells=4000, seed=1)
    points = cells.obsm["X_pca"].reshape(40, 4000, 3)
    assert cells.obs["niche"].tolist() == np.repeat(family.members, 4000).tolist()
    for i in (0, 39):
        spread = np.sqrt(np.trace(family.gaussians.cov[i]))
        assert np.abs(points[i].mean(axis=0) - family.gaussians.mean[i]).max() < 0.1 * spread
        np.testing.assert_allclose(np.cov(points[i].T), family.gaussians.cov[i], atol=0.1 * spread**2)


def test_without_a_basis_coordinates_alone():
    family = datasets.clouds_from_arrays(
        [np.eye(2), np.ones((1, 2))], weights=[[0.25, 0.75], [1.0]], labels=["a", "b"]
    )
    data = datasets.to_anndata(family)
    assert (data.X, list(data.obsm), data.shape) == (None, ["X_pca"], (3, 0))
    assert data.obs["member"].tolist() == ["0", "0", "1"]
    assert data.obs["member_class"].tolist() == ["a", "a", "b"]
    assert data.obs["weight"].tolist() == [0.25, 0.75, 1.0]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, h5ad):
    class Fails:
        def write_h5ad(self, path):
            path.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        datasets.save_anndata(tmp_path / "a.h5ad", Fails())
    assert list(tmp_path.iterdir()) == []


# --- the command


@pytest.fixture(scope="module")
def place(h5ad, tmp_path_factory):
    """Runs over clouds and Gaussians of the file, and one over clouds that know no genes."""
    place = tmp_path_factory.mktemp("runs")
    made = ("--k", 5, "--pcs", 3, "--label", "kind", "--expression", "raw", "--out")
    for kind, more in (("clouds", CLOUD), ("gaussians", ())):
        succeed("data", kind, h5ad, *made, place / f"{kind}.npz")
        succeed("train", "--data", place / f"{kind}.npz", *TINY, *more, "--out", place / kind)
    bare = replace(datasets.load(place / "clouds.npz"), basis=None)
    datasets.save_family(place / "bare.npz", bare)
    succeed("train", "--data", place / "bare.npz", *TINY, *CLOUD, "--out", place / "bare")
    return place


def test_generated_clouds_are_cells_with_genes(place, tmp_path):
    (place / "clouds.npz").unlink()  # the run itself knows
    out = tmp_path / "new.h5ad"
    said = succeed("generate", place / "clouds", "--size", 4, "--steps", 2, "--out", out)
    data = anndata.read_h5ad(out)
    assert f"{data.n_obs} cells x 12 genes, raw.X by way of 3 components" in said
    assert (
        f"zeros: {data.uns['refwfm']['zeros']:.1%} of the entries, {data.uns['refwfm']['real_zeros']:.1%}"
        in said
    )
    assert data.shape == (20, 12)
    assert data.obs["niche"].tolist() == np.repeat(["0", "1", "2", "3"], 5).tolist()
    assert set(data.obs["niche_kind"]) <= {"x", "y"}
    assert (data.uns["refwfm"]["step"], data.uns["refwfm"]["run"]) == (2, str(place / "clouds"))
    assert data.X.min() >= 0
    again = tmp_path / "new.npz"
    (newest,) = (place / "clouds" / "checkpoints").glob("*.safetensors")
    succeed("generate", newest, "--size", 4, "--steps", 2, "--out", again)
    family = datasets.load(again)
    np.testing.assert_array_equal(family.points, data.obsm["X_pca"])
    np.testing.assert_allclose(expression_of(family.basis, family.points), data.X, rtol=1e-6)


def test_generated_gaussians_are_niches_or_cells(place, tmp_path):
    for more, rows in (((), 4), (("--points", 3), 12)):
        out = tmp_path / f"{rows}.h5ad"
        succeed("generate", place / "gaussians", "--size", 4, "--steps", 2, "--out", out, *more)
        assert anndata.read_h5ad(out).shape == (rows, 12)
    refused = refwfm("generate", place / "gaussians", "--points", 3, "--out", tmp_path / "a.npz")
    assert_error(refused, "for models over point clouds")


def test_a_run_without_genes_says_so(place, tmp_path):
    out = tmp_path / "new.h5ad"
    said = succeed("generate", place / "bare", "--size", 2, "--steps", 1, "--out", out)
    assert "has coordinates alone, obsm['X_pca']" in said
    assert list(anndata.read_h5ad(out).obsm) == ["X_pca"]
    assert_error(
        refwfm("generate", place / "bare", "--out", tmp_path / "a.csv"), ".npz, or in .h5ad", "a.csv"
    )


def test_the_basis_of_a_run_is_read_as_it_was_written(place):
    basis = records.load(place / "gaussians" / "basis.npz", (_basis.Basis,))
    own = datasets.load(place / "gaussians.npz").basis
    np.testing.assert_array_equal(basis.loadings, own.loadings)
    assert [type(part) for part in basis] == [type(part) for part in own]
    assert not (place / "bare" / "basis.npz").exists()


@pytest.mark.filterwarnings("ignore")
def test_scanpy_draws_it(h5ad):
    """The structure that scanpy's plots need; with scanpy itself where it is installed."""
    real = anndata.read_h5ad(h5ad)
    family = datasets.clouds_from_anndata(h5ad, k=5, pcs=4, label="kind", expression="raw")
    both = anndata.concat(
        {"real": real.raw.to_adata(), "generated": datasets.to_anndata(family)}, label="origin"
    )
    assert both.obsm["X_pca"].shape[1] == 4
    assert both.var_names.tolist() == real.var_names.tolist()
    scanpy = pytest.importorskip("scanpy")
    import matplotlib as mpl

    mpl.use("Agg")
    axes = scanpy.pl.pca(both, color=["origin", "gene3"], show=False)
    assert [each.get_title() for each in axes] == ["origin", "gene3"]
