"""The user's own data: read right, or refused in one clear line."""

import sys
import time
import tracemalloc
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from command import refwfm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array, csc_matrix, csr_matrix, random_array
from scipy.spatial import KDTree

from refwfm import datasets
from refwfm.datasets import cells, meshes


def run(*arguments):
    return refwfm("data", *arguments, COLUMNS="300")


def assert_error(result, *words):
    """One line on stderr, exit code 2, no traceback."""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


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
            ValueError, match=r"different numbers, such as .* are conditions, not classes: name"
        ):
            datasets.clouds_from_arrays(x, labels=labels)
    with pytest.raises(ValueError, match="64 different numbers"):
        datasets.niche_clouds(x[:, 0], x[:, 1], k=2, labels=x[:, 0, 0])
    with pytest.raises(ValueError, match="labels 7 are not among label_names a"):
        datasets.clouds_from_arrays(x[:1], labels=["7"], label_names=["a"])


# --- AnnData files and stores


def a_file(n=40, genes=8):
    """Cells of two sections, with coordinates and expression and no components."""
    rng = np.random.default_rng(0)
    data = anndata.AnnData(rng.poisson(2.0, (n, genes)).astype(np.float32))
    data.obsm["spatial"] = rng.uniform(size=(n, 2))
    data.obs["kind"] = np.tile(["x", "y"], n // 2)
    data.obs["section"] = np.repeat(["a", "b"], n // 2)
    data.obsm["spatial"][n // 2 :] += 10  # beside the other one
    return data


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files and stores of the same cells, in forms that people have."""
    folder, data = tmp_path_factory.mktemp("cells"), a_file()
    data.write_h5ad(folder / "cells.h5ad")
    data.write_h5ad(folder / "UPPER.H5AD")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_zarr(folder / "cells.zarr")
    data.layers["other"] = csr_matrix(data.X[:, ::-1])
    data.raw = data.copy()
    data.X = data.X**2
    data.write_h5ad(folder / "layers.h5ad")
    data.X = None
    data.write_h5ad(folder / "no_x.h5ad")
    return folder


def test_a_store_is_read_as_a_file_is(files, tmp_path):
    want = datasets.from_anndata(files / "cells.h5ad", k=3, pcs=2, label="kind", section_key="section")
    for name in ("cells.zarr", "UPPER.H5AD"):
        got = datasets.from_anndata(files / name, k=3, pcs=2, label="kind", section_key="section")
        np.testing.assert_array_equal(got.gaussians.cov, want.gaussians.cov)
        assert got.label_names == ("x", "y")
    result = run("clouds", files / "cells.zarr", "--k", 3, "--pcs", 2, "--out", tmp_path / "A.NPZ")
    assert result.exit_code == 0
    assert datasets.load(tmp_path / "A.NPZ").name == "cells"
    assert run("show", tmp_path / "A.NPZ").exit_code == 0
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.from_anndata(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match=r"empty\.zarr is a Zarr store but not a readable AnnData file"):
        datasets.from_anndata(tmp_path / "empty.zarr")
    (tmp_path / "folder.h5ad").mkdir()
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.from_anndata(tmp_path / "folder.h5ad")


def test_components_of_a_layer_and_of_raw(files, tmp_path):
    data = anndata.read_h5ad(files / "layers.h5ad")
    for options, matrix, words in (
        ({}, data.X, "computed from X,"),
        ({"layer": "other"}, data.layers["other"].toarray(), r"computed from layers['other'],"),
        ({"use_raw": True}, data.raw.X, "computed from raw.X,"),
    ):
        for name in ("layers.h5ad", "no_x.h5ad") if options else ("layers.h5ad",):
            got = datasets.clouds_from_anndata(files / name, by="neighbourhood", k=1, pcs=3, **options)
            want = datasets.principal_components(datasets.standardize(matrix), 3)
            np.testing.assert_allclose(got.points, want, atol=1e-12)
            assert words in got.about
    out = ("--pcs", 3, "--k", 2, "--out", tmp_path / "a.npz", "--force")
    for command in ("gaussians", "clouds"):
        assert run(command, files / "no_x.h5ad", "--layer", "other", *out).exit_code == 0
        assert run(command, files / "no_x.h5ad", "--use-raw", *out).exit_code == 0
        assert_error(
            run(command, files / "no_x.h5ad", *out),
            "nor an expression matrix X",
            "--layer",
            "--use-raw",
            "other",
        )
    for arguments, words in (
        (("no_x.h5ad", "--layer", "mine"), "no layer 'mine'; it has other"),
        (("cells.h5ad", "--layer", "mine"), "no layer 'mine'; it has none"),
        (("cells.h5ad", "--use-raw"), "has no raw"),
        (("layers.h5ad", "--use-raw", "--layer", "other"), "either a layer or use_raw"),
    ):
        assert_error(run("clouds", files / arguments[0], *arguments[1:], *out), words)


def test_cells_without_coordinates_are_named(tmp_path):
    data = a_file()
    data.obs_names = [f"cell-{i}" for i in range(40)]
    data.obsm["spatial"][[3, 7], 0] = np.nan
    data.obsm["X_umap"] = np.full((40, 2), np.inf)
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ValueError, match=r"obsm\['spatial'\] .* 2 of 40 cells .* \(cell-3, cell-7\): leave"):
        datasets.from_anndata(tmp_path / "a.h5ad", k=3, pcs=2)
    with pytest.raises(ValueError, match=r"'X_umap'.* 40 of 40 .* \(cell-0, cell-1, cell-2, \.\.\.\)"):
        datasets.from_anndata(tmp_path / "a.h5ad", by="neighbourhood", k=3, pcs=2, basis="X_umap")
    data.X[2, 5] = np.nan
    dense = data.X.copy()
    for kind in (np.asarray, csr_matrix, csc_matrix):
        data.X = kind(dense)
        data.write_h5ad(tmp_path / "a.h5ad")
        with pytest.raises(ValueError, match=r"X must be finite; 1 of its values .* in cell cell-2\)"):
            datasets.from_anndata(tmp_path / "a.h5ad", by="neighbourhood", k=3, pcs=2)


def test_cells_that_say_nothing_or_the_same_are_refused_and_twins_told_of():
    data, given = a_file(), {"k": 3, "pcs": 2}
    data.obsm["spatial"] = np.ones((40, 2))
    with pytest.raises(ValueError, match=r"obsm\['spatial'\] has all 40 cells in one place"):
        datasets.from_anndata(data, **given)
    data.X = np.full_like(data.X, 3.0)
    with pytest.raises(ValueError, match="X is the same in all 40 cells: there are no components of it"):
        datasets.clouds_from_anndata(data, by="neighbourhood", **given)
    for few, said in (
        (data[:1], "1 cells and 8"),
        (data[:0], "0 cells and 8"),
        (data[:, :0], "40 cells and 0"),
    ):
        with pytest.raises(ValueError, match=f"pcs = 2, but X has {said} genes"):
            datasets.from_anndata(few.copy(), by="neighbourhood", **given)
    both = anndata.concat([a_file(), a_file()], index_unique="-")
    with pytest.warns(UserWarning, match="40 of 80 cells have the very components of another one"):
        datasets.clouds_from_anndata(both, **given)


def test_columns_of_a_file_are_classes_or_refused(tmp_path):
    data = a_file(n=6)
    data.obs["section"] = ["a", None, "a", "b", None, "b"]
    data.obs["age"] = np.linspace(0, 1, 6)
    data.obs["leiden"] = [10.0, 9, np.nan, 10, 10, 9]
    data.write_h5ad(tmp_path / "a.h5ad")

    def made(**options):
        return datasets.clouds_from_anndata(tmp_path / "a.h5ad", pcs=2, **options)

    with pytest.raises(ValueError, match=r"'section': 2 of 6 cells have no section .the first in row 1"):
        made(k=1, section_key="section")
    with pytest.raises(ValueError, match=r"age: 6 different numbers, such as 0\.2, are conditions"):
        made(k=1, label="age")
    with pytest.raises(ValueError, match="clusters: 6 different numbers"):
        made(by="cluster", cluster_key="age")
    family = made(k=1, label="leiden")
    assert (family.label_names, family.labels.tolist()) == (("9", "10", "unlabelled"), [1, 0, 2, 1, 1, 0])
    family = made(by="cluster", cluster_key="leiden", label="kind")
    assert (family.members, family.sizes.tolist()) == (("9", "10"), [2, 3])
    assert family.label_names == ("x", "y")  # of 9: y, y; of 10: x, y, x
    assert family.labels.tolist() == [1, 0]


def test_overlapping_samples_are_hinted_at(tmp_path):
    data = a_file(n=200)
    data.write_h5ad(tmp_path / "apart.h5ad")
    data.obsm["spatial"] = data.obsm["spatial"] % 10  # one section over the other
    data.write_h5ad(tmp_path / "over.h5ad")
    options = {"k": 5, "pcs": 2}
    with pytest.warns(UserWarning, match=r"'section' has 2 values, and .*% .* .--section-key section"):
        datasets.from_anndata(tmp_path / "over.h5ad", **options)
    datasets.from_anndata(
        tmp_path / "over.h5ad", section_key="section", **options
    )  # warnings are errors here
    datasets.from_anndata(tmp_path / "apart.h5ad", **options)
    data.obs = data.obs[["kind"]]  # cells of different kinds do lie among each other
    data.write_h5ad(tmp_path / "kinds.h5ad")
    datasets.from_anndata(tmp_path / "kinds.h5ad", **options)
    result = run("clouds", tmp_path / "over.h5ad", "--pcs", 2, "--out", tmp_path / "a.npz")
    assert result.exit_code == 0
    assert "--section-key section" in result.stdout


# --- expression that is not made dense


@pytest.mark.parametrize("kind", [csr_matrix, csc_array])
def test_components_of_a_sparse_matrix_are_those_of_the_dense_one(kind):
    rng = np.random.default_rng(0)
    rates = np.exp(rng.standard_normal((90, 3)) @ rng.standard_normal((3, 40)) * 0.7 - 1)
    dense = rng.poisson(rates).astype(np.float32)
    dense[:, 5] = 0
    dense[:, 6] = 4
    for x in (dense, dense[:25], dense * 1e-20):
        for count in (1, 4):
            want = datasets.principal_components(datasets.standardize(x), count)
            got = cells.sparse_components(kind(x), count)
            np.testing.assert_allclose(got, want, atol=1e-9 * np.abs(want).max())
            centred_only = datasets.principal_components(x, count)  # the control: not z-scored
            assert np.abs(got - centred_only).max() > 0.1 * np.abs(want).max()
    full = cells.sparse_components(kind(dense[:25]), 25)  # all that there are
    want = datasets.principal_components(datasets.standardize(dense[:25]), 25)
    np.testing.assert_allclose(full, want, atol=1e-12)
    with pytest.raises(ValueError, match=r"n_components must lie in 1 ... 25"):
        cells.sparse_components(kind(dense[:25]), 26)


def test_a_sparse_matrix_takes_the_memory_of_its_entries():
    x = random_array((3000, 2000), density=0.02, format="csr", rng=np.random.default_rng(0))
    tracemalloc.start()
    cells.sparse_components(x, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 3000 * 2000 * 8  # half of what one dense copy takes


# --- NumPy files, tables, shapes


def test_arrays_beside_points_are_read_or_refused(tmp_path):
    points, path = np.zeros((4, 5, 2)), tmp_path / "a.npz"
    for name in ("label", "Labels", "names"):
        np.savez(path, points=points, **{name: np.arange(4)})
        with pytest.raises(ValueError, match=rf"beside points it holds {name}, which would be ignored"):
            datasets.read_clouds(path)
    np.savez(path, points=points, mask=np.ones((4, 5)))
    with pytest.raises(ValueError, match=r"holds mask, .* Of a mask make weights, 0 for padding"):
        datasets.read_clouds(path)
    np.savez(path, points=points, labels=np.array([b"cat", b"dog"] * 2))
    assert datasets.read_clouds(path).label_names == ("cat", "dog")
    np.savez(tmp_path / "a", points=points, labels=[0.5, 1, 2, 3])
    with pytest.raises(ValueError, match="conditions, not classes"):
        datasets.read_clouds(path)


def test_gaussians_of_clouds_and_of_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    points, root = rng.standard_normal((4, 5, 2)), rng.standard_normal((3, 2, 2))
    np.savez("points.npz", points=points)
    np.save("points.npy", points)
    np.savez("given.npz", means=points[:3, 0], covs=root @ root.mT, labels=["a", "b", "a"])
    datasets.save_family("family.npz", datasets.clouds_from_arrays(points, labels=[1, 2, 1, 2]))
    want = datasets.gaussians_from_clouds(points)
    for name in ("points.npz", "points.npy", "family.npz"):
        assert run("gaussians", name, "--out", "out.npz", "--force").exit_code == 0
        np.testing.assert_array_equal(datasets.load("out.npz").gaussians.cov, want.gaussians.cov)
    assert datasets.load("out.npz").label_names == ("1", "2")
    assert run("gaussians", "given.npz", "--out", "out.npz", "--force").exit_code == 0
    given_ones = datasets.load("out.npz")
    np.testing.assert_array_equal(given_ones.gaussians.mean, points[:3, 0])
    assert given_ones.label_names == ("a", "b")
    assert run("clouds", "family.npz", "--out", "out.npz", "--force").exit_code == 0
    np.testing.assert_array_equal(datasets.load("out.npz").points, points.reshape(20, 2))
    datasets.save_family("gaussians.npz", want)
    for command, arrays, words in (
        (
            "gaussians",
            {"means": points[:, 0]},
            "lacks covs: Gaussians are means (N, d) and covs (N, d, d)",
        ),
        ("gaussians", {"means": points[:3, 0], "covs": root}, "must be symmetric"),
        (
            "gaussians",
            {"means": points[:3, 0], "covs": root, "label": [1]},
            "and covs it holds label",
        ),
        ("gaussians", {"means": points[:3, 0], "covs": root[:, 0]}, "does not hold Gaussians"),
        ("clouds", None, "is a family of Gaussians, and holds no clouds"),
        ("gaussians", None, "is a family of Gaussians, and holds no clouds"),
    ):
        if arrays is not None:
            np.savez("bad.npz", **arrays)
        assert_error(run(command, "bad.npz" if arrays else "gaussians.npz", "--out", "b.npz"), words)
    assert_error(run("gaussians", tmp_path, "--out", "b.npz"), "shapes are clouds: refwfm data clouds")


TABLE = pd.DataFrame(
    {
        "who": ["b", "a", "b", "c", "a", "b"],
        "x": [1.0, 2, 0.1 + 0.2, 4, 5, 6],
        "y": [9, 8, 7, 6, 5, 4],
        "kind": ["u", "v", "u", "v", "v", "u"],
    }
)


def written(path, table):
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.csv.gz", "t.parquet"])
def test_tables_are_clouds_by_a_column(tmp_path, name):
    path = written(tmp_path / name, TABLE)
    family = datasets.read_table(path, cloud="who", label="kind")
    assert (family.name, family.members, family.sizes.tolist()) == ("t", ("a", "b", "c"), [2, 3, 1])
    np.testing.assert_array_equal(family.points[2:5], [[1, 9], [0.1 + 0.2, 7], [6, 4]])
    assert (family.labels.tolist(), family.label_names) == ([1, 0, 1], ("u", "v"))
    out = tmp_path / "a.npz"
    options = ("--cloud", "who", "--label", "kind", "--out", out, "--force")
    assert run("clouds", path, *options).exit_code == 0
    np.testing.assert_array_equal(datasets.load(out).points, family.points)
    assert run("gaussians", path, *options, "--columns", "y, x").exit_code == 0
    np.testing.assert_allclose(datasets.load(out).gaussians.mean[0], [6.5, 3.5])


def test_numbered_clouds_come_in_the_order_of_their_numbers(tmp_path):
    path = written(tmp_path / "t.csv", pd.DataFrame({"x": [1.0, 2, 3], "id": [10, 9, 10]}))
    family = datasets.read_table(path, cloud="id")
    assert (family.members, family.points.ravel().tolist()) == (("9", "10"), [2, 1, 3])


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        ({}, {"cloud": "name"}, r"t\.csv has no column 'name'; it has who, x, y, kind"),
        ({}, {"cloud": "who", "label": "sort"}, "no column 'sort'"),
        ({}, {"cloud": "who", "columns": ["x", "z"]}, "no column 'z'"),
        ({}, {"cloud": "who"}, "column 'kind' is not of numbers .'u' in row 0.: name the columns"),
        ({"x": [1, 2, "?", 4, 5, 6]}, {"cloud": "who", "label": "kind"}, "column 'x' is not of numbers"),
        (
            {"x": [1, 2, None, 4, 5, 6]},
            {"cloud": "who", "label": "kind"},
            "'x': 1 of 6 .* no finite value",
        ),
        ({"who": [None, *"abcde"]}, {"cloud": "who", "label": "kind"}, "'who': 1 of 6 cells have no value"),
        ({"kind": list("uvuvvv")}, {"cloud": "who", "label": "kind"}, "a cloud has one kind; who b has u, v"),
        (
            {"kind": [0.5] * 6},
            {"cloud": "who", "label": "kind"},
            "'kind': 1 different .*conditions",
        ),
        ({"Unnamed: 0": range(6)}, {"cloud": "who", "label": "kind"}, "has no name, as where an index"),
    ],
)
def test_tables_that_are_none(tmp_path, change, options, match):
    path = written(tmp_path / "t.csv", TABLE.assign(**change))
    with pytest.raises(ValueError, match=match):
        datasets.read_table(path, **options)


def test_table_files_that_are_none(tmp_path):
    for content in (b"", b"\n\n", b'a,b\n"1,2\n', b"a,b\n1,2,3\n4\n5,6,7,8\n", bytes(range(256))):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(ValueError, match=r"t\.csv"):
            datasets.read_table(tmp_path / "t.csv", cloud="a")
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.read_table(tmp_path / "none.csv", cloud="a")
    path = written(tmp_path / "t.csv", TABLE)
    assert_error(run("clouds", path), "a table needs --cloud")
    assert_error(run("clouds", path, "--cloud", "who", "--k", 3), "--k cannot be used with a table")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 2)))
    assert_error(run("clouds", tmp_path / "a.npy", "--cloud", "x"), "--cloud cannot be used with")


def test_meshes_of_all_endings_are_read(tmp_path):
    pytest.importorskip("trimesh")
    vertices = "0 0 0\n2 0 0\n2 1 0\n0 1 0\n"
    ending = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    header = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    for name, text in {
        "a.off": f"OFF\n4 1 0\n{vertices}4 0 1 2 3\n",
        "lower.off": f"off\n4 1 0\n{vertices}4 0 1 2 3\n",
        "coloured.OFF": "COFF\n4 1 0\n" + vertices.replace("\n", " 255 0 0 255\n") + "4 0 1 2 3\n",
        "normals.off": "NOFF 4 1 0\n" + vertices.replace("\n", " 0 0 1\n") + "4 0 1 2 3\n",
        "a.ply": f"{header}{ending}{vertices}4 0 1 2 3\n",
        "a.obj": "".join(f"v {line}\n" for line in vertices.splitlines()) + "f -4/1 -3/1 -2/1 -1/1\n",
    }.items():
        (tmp_path / name).write_text(text)
        corners, triangles = meshes.read_mesh(tmp_path / name)
        assert (len(corners), len(triangles)) == (4, 2), name
        np.testing.assert_array_equal(corners.max(axis=0), [2, 1, 0])
    (tmp_path / "cloud.ply").write_text(f"{header}end_header\n{vertices}")
    (tmp_path / "a.mtl").write_text("newmtl m\n")
    with pytest.warns(UserWarning, match=r"left out of .*, which are no shapes: 1 \.mtl"):
        family = datasets.read_shapes(tmp_path, n_points=64)
    assert family.members == tuple(
        sorted(["a.obj", "a.off", "a.ply", "cloud.ply", "coloured.OFF", "lower.off", "normals.off"])
    )
    assert sorted(family.sizes.tolist()) == [4, *[64] * 6]
    assert np.abs(family.points - [1, 0.5, 0]).max(axis=0).tolist() <= [1, 0.5, 0]
    (tmp_path / "a.mtl").unlink()
    for name, text in {
        "b.ply": "ply\n",
        "b.obj": "f 1 2 3\n",
        "b.stl": "solid\n",
        "c.obj": "v 0 0 0\nv 1 0 0\nv 0 nan 1\nf 1 2 3\n",
        "flat.obj": "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n",
        "far.off": "OFF\n3 1 0\n1e200 0 0\n0 1e200 0\n0 0 1e200\n3 0 1 2\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(
            ValueError, match=rf"{name} (is damaged|has no)|{name}: the mesh must have a surface"
        ):
            datasets.read_shapes(tmp_path, n_points=9)
        (tmp_path / name).unlink()


def test_meshes_without_trimesh(tmp_path, monkeypatch):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs trimesh: pip install "refwfm\[meshes\]"'):
        datasets.read_shapes(tmp_path)


# --- what a name is that is no family


def test_files_that_are_no_family_say_what_makes_one(files, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 2)))
    np.savez(tmp_path / "a.npz", points=np.zeros((2, 3, 2)))
    written(tmp_path / "t.csv", TABLE)
    for path, what in (
        (files / "cells.h5ad", "AnnData"),
        (files / "cells.zarr", "AnnData"),
        (tmp_path / "t.csv", "a table"),
        (tmp_path / "a.npy", "an array"),
    ):
        with pytest.raises(
            ValueError, match=rf"is {what}, not a family: refwfm data clouds .* data gaussians"
        ):
            datasets.load(path)
    with pytest.raises(ValueError, match=r"is a folder, not a family: refwfm data clouds [^ ]* makes one"):
        datasets.load(tmp_path)
    with pytest.raises(ValueError, match=r"lacks format, which all families have; refwfm data clouds"):
        datasets.load(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.load(tmp_path / "none.h5ad")
    with pytest.raises(ValueError, match=r"unknown family 'citys': .* did you mean cities") as found:
        datasets.load("citys")
    assert len(str(found.value)) < 200
