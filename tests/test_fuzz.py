"""Readers answer broken files with declared errors; what a fuzzer found is here by itself."""

import re
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest

from refwfm import datasets
from refwfm.datasets import _files, meshes
from refwfm.validation import fuzz

KINDS = (
    *("IDX", "IDX, gzip", "npy", "npz", "npz, compressed", "family", "safetensors", "TOML"),
    *("OFF", "PLY", "OBJ", "points", "CSV"),
)


def test_every_kind_is_tried(tmp_path):
    assert tuple(fuzz.seeds(tmp_path)) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_refused_in_time_and_in_little_memory(kind):
    if kind in ("PLY", "OBJ"):
        pytest.importorskip("trimesh")
    tally = Counter()
    assert list(fuzz.faults([kind], 60, 1, tally)) == []
    assert sum(tally.values()) == 60
    assert tally[kind, "refused"] > 20  # the control: the changes do break files


def test_the_fuzzer_notices_what_it_should(tmp_path):
    (tmp_path / "a").write_bytes(b"")

    def busy(_):
        end = time.process_time() + 1.1 * fuzz.SECONDS
        while time.process_time() < end:
            pass

    for read, words in (
        (lambda _: {}["a"], "KeyError"),
        (lambda _: int(""), ""),
        (lambda _: np.ones(2**23).sum(), "MB"),
        (busy, " s"),
    ):
        assert words in fuzz.tried(read, tmp_path / "a")[1]
    assert fuzz.tried(lambda _: int(""), tmp_path / "a") == ("refused", "")
    with pytest.raises(SystemExit):
        fuzz.main(["--only", "PDF"])
    assert fuzz.main(["--only", "TOML", "--mutants", "5"]) == 0


# --- found by it


def test_headers_of_arrays_that_are_none(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 2)))
    whole = (tmp_path / "a.npy").read_bytes()
    for old, new in (
        (b"(3, 4, 2)", b"(3, 4, 2["),  # NumPy: TokenError
        (b"(3, 4, 2), }  ", b"(9999999999,)}"),  # NumPy: room for 80 GB
        (b"(3, 4, 2)", b"(3, 4, 1)"),  # NumPy: a smaller array, the rest unread
    ):
        (tmp_path / "a.npy").write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match=r"truncated or not a \.npy file"):
            datasets.read_clouds(tmp_path / "a.npy")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("points.npy", whole.replace(old, new))
        with pytest.raises(ValueError, match=r"truncated or not a \.npz file"):
            datasets.read_clouds(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.ones((2, 3, 2), order="F"))
    assert len(datasets.read_clouds(tmp_path / "b.npy")) == 2


def test_an_archive_in_a_way_that_is_not_supported(tmp_path):
    np.savez(tmp_path / "a.npz", points=np.zeros((3, 4, 2)))
    whole = (tmp_path / "a.npz").read_bytes()
    at = whole.index(b"PK\x01\x02") + 10  # the method of compression in the list of members
    (tmp_path / "a.npz").write_bytes(whole[:at] + b"\x63" + whole[at + 1 :])
    with pytest.raises(ValueError, match=r"truncated or not a \.npz file"):
        _files.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("corners", ["3 0 1 2\n3 0 2 3\n", "4 0 1 2 3\n4 3 2 1 0\n", ""])
def test_a_ply_file_that_was_cut_off_is_no_smaller_mesh(tmp_path, corners):
    trimesh = pytest.importorskip("trimesh")
    faces = f"element face {len(corners.splitlines())}\nproperty list uchar int vertex_indices\n" * bool(
        corners
    )
    text = (
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        f"{faces}end_header\n0 0 0\n2 0 0\n2 1 0\n0 1 0\n{corners}"
    )
    path = tmp_path / "a.ply"
    path.write_text(text)
    vertices, triangles = meshes.read_mesh(path)
    assert (len(vertices), len(triangles)) == (4, {"3": 2, "4": 4, "": 0}[corners[:1]])
    taken = 0
    for cut in range(len(text) - 11, len(text) - 2, 2):
        path.write_text(text[:cut])
        with pytest.raises(ValueError, match=r"a\.ply is damaged"):
            meshes.read_mesh(path)
        try:
            taken += bool(trimesh.load(path, process=False))
        except Exception:
            continue
    assert taken  # the control: trimesh by itself reads some of them


def test_a_table_of_titles_alone(tmp_path):
    (tmp_path / "a.csv").write_text("who,x,y\n")
    with pytest.raises(ValueError, match=r"a\.csv has no rows; its columns are who, x, y"):
        datasets.read_table(tmp_path / "a.csv", cloud="who")


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_a_few_bytes_of_cells_do_not_ask_for_much_memory(tmp_path, kind):
    """Found in a store whose metadata had another shape: 1.9 GB for eight cells."""
    anndata, h5py = pytest.importorskip("anndata"), pytest.importorskip("h5py")
    path = tmp_path / f"cells.{kind}"
    data = anndata.AnnData(np.ones((8, 3)), obsm={"X_pca": np.ones((8, 2))})
    if kind == "h5ad":
        data.write_h5ad(path)
        with h5py.File(path, "a") as file:
            del file["obsm/X_pca"]
            file.create_dataset("obsm/X_pca", (10**8, 2), "f4", chunks=(10, 2))
    else:
        with warnings.catch_warnings(action="ignore"):  # of formats to come
            data.write_zarr(path)
        for each in (path / "obsm" / "X_pca").parent.rglob("*"):
            if each.name in (".zarray", "zarr.json") and each.parent.name == "X_pca":
                each.write_text(each.read_text().replace("8,", "800000000,", 1))
        (path / ".zmetadata").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"X_pca is to have shape \(.*, 2\), and has \d+ bytes in the file"):
        datasets.clouds_from_anndata(path, by="neighbourhood", k=3, pcs=2)


def test_broken_cells_are_read_in_children_with_bounds():
    """In a process of its own: what is forked here would be so beside threads that JAX started."""
    given = ["--only", "TOML", "--mutants", "0", "--cells", "3"]
    command = [sys.executable, "-m", "refwfm.validation.fuzz", *given]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    told = re.findall(r"^(h5ad|zarr): (\d+) read, (\d+) refused$", done.stdout, re.MULTILINE)
    assert [(ending, int(read) + int(refused)) for ending, read, refused in told] == [
        ("h5ad", 3),
        ("zarr", 3),
    ]
    assert done.stdout.endswith("\n0 faults\n")
