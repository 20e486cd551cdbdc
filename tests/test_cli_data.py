"""``refwfm data``: what it prints, what it writes, and its errors."""

import os
import sys

import anndata
import numpy as np
import pytest
from command import refwfm

from refwfm import datasets
from refwfm.measures import Gaussian
from refwfm.paper_figures.ellipses import MOST_DRAWN, draw_ellipses, draw_family
from refwfm.runs import shipped

needs_data = pytest.mark.skipif("REFWFM_DATA" not in os.environ, reason="REFWFM_DATA is not set")
PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments):
    return refwfm("data", *arguments, COLUMNS="100")


def assert_error(result, *words):
    """One line on stderr, exit code 2, no traceback."""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.fixture
def h5ad(tmp_path):
    rng = np.random.default_rng(0)
    data = anndata.AnnData(rng.uniform(size=(20, 6)).astype(np.float32))
    data.obsm["spatial"] = rng.uniform(size=(20, 2))
    data.obs["kind"] = np.tile(["x", "y"], 10)
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    return path


def test_list_has_every_name_but_those_held_out():
    result = run("list")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    held_out = {entry.held_out for entry in datasets.CATALOGUE.values()}
    for name, entry in datasets.CATALOGUE.items():
        found = [line for line in lines if line[0] == name]
        assert len(found) == (name not in held_out)
        for line in found:
            assert line[1] == str(entry.size or "files")
            assert any(word.startswith("yes") for word in line) == entry.shipped
            assert ("yes*" in line) == (name in shipped.names())
            if entry.held_out:
                assert line[2] == str(datasets.CATALOGUE[entry.held_out].size or "-")


def test_show_summarises(tmp_path):
    result = run("show", "two-moons", "--seed", 1)
    assert result.exit_code == 0
    for words in ("256", "upper 128, lower 128", "2 ... 2 of 2"):
        assert words in result.stdout
    assert "New York, New York" in run("show", "cities").stdout
    assert "15 ... 15 of 16" in run("show", "niches-16").stdout
    assert "35 ... 184, median 95" in run("show", "fours-test").stdout


def test_show_a_file_of_ones_own(tmp_path):
    path = datasets.save_family(
        tmp_path / "mine.npz", datasets.gaussians_from_clouds([[[1, 2]]], name="mine")
    )
    assert "0 ... 0 of 2" in run("show", path).stdout


@pytest.mark.parametrize(
    "name", ["spiral-128", "two-moons", "cities", "niches-16", "fours-test", "niches-clouds"]
)
def test_show_draws(tmp_path, name):
    picture = tmp_path / "a.png"
    result = run("show", name, "--figure", picture)
    assert result.exit_code == 0
    assert picture.read_bytes().startswith(PNG)
    assert f"wrote {picture}" in result.stdout


def test_show_errors(tmp_path, monkeypatch):
    assert_error(run("show", "spirals"), "unknown family 'spirals'", "spiral-16")
    assert_error(run("show", tmp_path / "none.npz"), "no such file")
    assert_error(
        run("show", "cities", "--figure", tmp_path / "no" / "a.png"), "cannot write", "there is no folder"
    )
    assert_error(run("show", "cities", "--figure", tmp_path / "a.xyz"), "xyz")
    line = datasets.save_family(tmp_path / "line.npz", datasets.gaussians_from_clouds([[[1.0]]]))
    assert_error(run("show", line, "--figure", tmp_path / "a.png"), "at least two coordinates")
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    assert_error(run("show", "pbmc"), "REFWFM_DATA is", "10x_pbmc68k_reduced.h5ad")
    for module in [m for m in sys.modules if m.startswith("matplotlib") or m.endswith(".ellipses")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert_error(run("show", "cities", "--figure", tmp_path / "a.png"), 'pip install "refwfm[figures]"')


def test_gaussians_writes_a_family(tmp_path, h5ad, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("gaussians", h5ad, "--by", "niche", "--k", 5, "--pcs", 3, "--label", "kind")
    result = run(*arguments)
    assert result.exit_code == 0
    assert "wrote cells.npz" in result.stdout
    want = datasets.from_anndata(h5ad, by="niche", k=5, pcs=3, label="kind")
    got = datasets.load("cells.npz")
    np.testing.assert_array_equal(got.gaussians.cov, want.gaussians.cov)
    assert got.label_names == ("x", "y")
    assert_error(run(*arguments), "cells.npz exists", "--force")
    assert run(*arguments, "--force").exit_code == 0
    result = run("gaussians", h5ad, "--by", "cluster", "--cluster-key", "kind", "--pcs", 3, "--out", "k.npz")
    assert result.exit_code == 0
    assert datasets.load("k.npz").members == ("x", "y")


def test_gaussians_errors(tmp_path, h5ad):
    out = ("--out", tmp_path / "a.npz")
    assert_error(run("gaussians", tmp_path / "none.h5ad", *out), "no such file")
    assert_error(run("gaussians", h5ad, "--k", 30, "--pcs", 3, *out), "k = 30", "only 20 cells")
    assert_error(run("gaussians", h5ad, "--pcs", 9, *out), "pcs = 9, but X has 20 cells and 6 genes", "--pcs")
    assert_error(run("gaussians", h5ad, "--spatial-key", "xy", "--pcs", 3, *out), "it has spatial")
    assert_error(run("gaussians", h5ad, "--label", "type", "--pcs", 3, *out), "it has kind")
    assert_error(
        run("gaussians", h5ad, "--k", 5, "--pcs", 3, "--out", tmp_path / "a.txt"), "must end in .npz"
    )
    assert run("gaussians", h5ad, "--by", "cell", *out).exit_code == 2
    assert not (tmp_path / "a.npz").exists()


def test_clouds_of_cells_shapes_and_arrays(tmp_path, h5ad, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("clouds", h5ad, "--k", 5, "--pcs", 3, "--label", "kind")
    assert result.exit_code == 0
    assert "wrote cells.npz" in result.stdout
    got, want = datasets.load("cells.npz"), datasets.clouds_from_anndata(h5ad, k=5, pcs=3, label="kind")
    np.testing.assert_array_equal(got.points, want.points)
    assert got.label_names == ("x", "y")
    result = run("clouds", h5ad, "--radius", 0.3, "--pcs", 3, "--out", "near.npz")
    assert result.exit_code == 0
    assert np.ptp(datasets.load("near.npz").sizes) > 0
    for name in ("a/train/1", "b/train/2", "b/test/3"):
        path = tmp_path / "shapes.v2" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(0).standard_normal((9, 3)))
    result = run("clouds", tmp_path / "shapes.v2", "--split", "train", "--n-points", 4, "--normalize")
    assert result.exit_code == 0
    shapes = datasets.load("shapes.v2.npz")
    assert (shapes.sizes.tolist(), shapes.label_names) == ([4, 4], ("a", "b"))
    np.savez("own.npz", np.zeros((2, 2)), np.ones((3, 2)))
    assert run("clouds", "own.npz", "--out", "family.npz").exit_code == 0
    assert datasets.load("family.npz").sizes.tolist() == [2, 3]


def test_clouds_errors(tmp_path, h5ad):
    out = ("--out", tmp_path / "a.npz")
    assert_error(run("clouds", tmp_path / "none.h5ad", *out), "no such file")
    assert_error(run("clouds", tmp_path / "none.npz", *out), "no such file")
    assert_error(run("clouds", h5ad, "--spatial-key", "xy", "--pcs", 3, *out), "no coordinates obsm['xy']")
    assert_error(run("clouds", h5ad, "--k", 3, "--radius", 1, "--pcs", 3, *out), "either k or radius")
    assert_error(
        run("clouds", h5ad, "--n-points", 3, "--up", "y", *out), "--n-points, --up cannot be used with"
    )
    assert_error(run("clouds", tmp_path, "--k", 3, *out), "--k cannot be used with a folder of shapes")
    np.save(tmp_path / "b.npy", np.zeros((2, 3, 2)))
    assert_error(
        run("clouds", tmp_path / "b.npy", "--seed", 3, *out), "--seed cannot be used with a NumPy file"
    )
    (tmp_path / "b.npz").write_bytes(b"mine")
    assert_error(run("clouds", tmp_path / "b.npy", "--out", tmp_path / "b.npz"), "b.npz exists", "--force")
    assert (tmp_path / "b.npz").read_bytes() == b"mine"
    assert not (tmp_path / "a.npz").exists()


def test_build_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    assert_error(run("build", "--out", tmp_path / "out"), "REFWFM_DATA is", "no file")
    (tmp_path / "taken").write_text("a file")
    assert_error(run("build", "--out", tmp_path / "taken"), "File exists")


@needs_data
def test_build(tmp_path):
    result = run("build", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stdout.count("sha256") == 3
    assert sorted(os.listdir(tmp_path / "out")) == ["cities.npz", "fours.npz", "niches.npz"]


# --- the ellipses themselves


def axes():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_ellipses_have_the_right_shape_and_room():
    angle = 0.4
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cov = rotation @ np.diag([9.0, 1.0]) @ rotation.T
    ax = axes()
    ellipses = draw_ellipses(ax, Gaussian(np.array([[10.0, -5]]), cov[None]), n_std=2.0)
    np.testing.assert_allclose(ellipses.get_widths(), [12])
    np.testing.assert_allclose(ellipses.get_heights(), [4])
    np.testing.assert_allclose(np.tan(np.radians(ellipses.get_angles())), [np.tan(angle)])
    # The box around the ellipse {mean + 2 rotation (3 cos u, sin u)}.
    u = np.linspace(0, 2 * np.pi, 100_001)
    curve = np.array([10, -5]) + 2 * np.column_stack([3 * np.cos(u), np.sin(u)]) @ rotation.T
    np.testing.assert_allclose(ax.dataLim.get_points(), [curve.min(axis=0), curve.max(axis=0)], atol=1e-6)


def test_ellipses_of_other_coordinates_are_the_marginals():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 4, 4))
    family = Gaussian(rng.standard_normal((3, 4)), root @ root.swapaxes(-1, -2))
    ax = axes()
    got = draw_ellipses(ax, family, axes=(2, 0), color=["r", "g", "b"])
    marginal = Gaussian(family.mean[:, [2, 0]], family.cov[:, [2, 0]][:, :, [2, 0]])
    want = draw_ellipses(ax, marginal)
    np.testing.assert_array_equal(got.get_offsets(), want.get_offsets())
    np.testing.assert_allclose(got.get_widths(), want.get_widths())
    assert len(got.get_edgecolor()) == 3


def test_singular_and_large_families_can_be_drawn(tmp_path):
    points = np.random.default_rng(0).standard_normal((MOST_DRAWN + 5, 1, 2))
    draw_family(datasets.gaussians_from_clouds(points), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
