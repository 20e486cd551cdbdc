"""Families in folders: the numbers of those in memory, and no more is read than what is asked for."""

import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import backends, datasets
from refwfm.datasets import _stored
from refwfm.datasets._stored import StoredRows, blocks
from refwfm.runs import models
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig
from refwfm.training.optim import tree_leaves

SMALL = {"batch": 3, "width": 8, "depth": 1, "heads": 1, "hidden": 8}


class Counted:
    """An array in a file that counts the rows that are read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.rows = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        found = self.array[rows]
        self.rows += len(found)
        return found


def clouds(n=30, *, weights=False, dtype=np.float64):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, n)
    points = [rng.standard_normal((size, 2)).astype(dtype) for size in sizes]
    masses = [rng.dirichlet(np.ones(size)) for size in sizes] if weights else None
    labels = rng.integers(0, 2, n)
    return datasets.clouds_from_arrays(
        points, weights=masses, labels=labels, label_names=("a", "b"), name="mine"
    )


def assert_same(found, expected):
    assert (found.name, found.label_names, len(found)) == (expected.name, expected.label_names, len(expected))
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(np.asarray(found.points), expected.points)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for i in range(len(expected)):
        np.testing.assert_allclose(found.cloud(i).weights, expected.cloud(i).weights, rtol=1e-15)


@pytest.mark.parametrize("weights", [False, True])
def test_a_folder_is_the_family(tmp_path, weights):
    family = clouds(weights=weights)
    found = datasets.load(datasets.save_folder(tmp_path / "f", family))
    assert isinstance(found.points, StoredRows)
    assert_same(found, family)
    chosen = [7, 8, 9, 2, 28, 29, 3, 3]
    assert_same(found.subset(chosen), family.subset(chosen))
    assert_same(found.subset(chosen).subset([1, 2, 0]), family.subset(chosen).subset([1, 2, 0]))
    assert_same(datasets.load(datasets.save_folder(tmp_path / "g", found)), family)
    datasets.save_family(tmp_path / "f.npz", found)
    assert_same(datasets.load(tmp_path / "f.npz"), family)


def test_rows_are_those_of_the_array(monkeypatch):
    family = clouds(12)
    for at_once in (_stored.AT_ONCE, 2):  # rows that are near each other, and far
        monkeypatch.setattr(_stored, "AT_ONCE", at_once)
        rows = StoredRows(family.points, family.offsets).of(np.asarray([5, 6, 1, 11]))
        array = family.subset([5, 6, 1, 11]).points
        assert rows.shape == array.shape
        for index in (
            slice(None),
            slice(2, 9),
            slice(3, 3),
            slice(0, None, 3),
            slice(-4, None),
            [5, 0, 5],
            [],
        ):
            np.testing.assert_array_equal(
                rows[index], array[np.asarray(index, int) if index == [] else index]
            )
    assert [*blocks(np.asarray([0, 1, 2, 9, 10]))] == [(0, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("n_points", [None, 4])
def test_training_learns_the_same_from_a_folder(tmp_path, weights, n_points):
    """Byte for byte, and with the same fingerprint: a run goes on with the same data in another file."""
    family, backend = clouds(weights=weights), backends.load("numpy")
    stored = datasets.load(datasets.save_folder(tmp_path / "f", family))
    config = CloudConfig(steps=4, n_points=n_points, inner="entropic", source_size="data", **SMALL)
    found = []
    for each in (family, stored):
        model, data = models.prepare(config, each, backend)
        state = algorithm.train(config, model.setting, data, each.labels, model.state, ops=backend.ops)
        found.append((model.about, [leaf.tobytes() for leaf in tree_leaves(state.params)]))
    assert found[0] == found[1]


def test_a_step_reads_its_members_only(tmp_path):
    family, backend = clouds(200), backends.load("numpy")
    stored = datasets.load(datasets.save_folder(tmp_path / "f", family))
    counted = Counted(stored.points.source)
    stored.points.source = counted
    config = CloudConfig(steps=5, inner="exact", source_size="partner", **SMALL)
    model, data = models.prepare(config, stored, backend)
    assert counted.rows > len(family.points)  # units are fitted to all of it
    counted.rows = 0
    algorithm.train(config, model.setting, data, stored.labels, model.state, ops=backend.ops)
    assert 0 < counted.rows <= 5 * config.batch * family.sizes.max()
    half, held = datasets.hold_out(stored, "0.5")
    counted.rows = 0
    assert len(half) + len(held) == 200
    assert counted.rows == 0


def test_the_points_are_never_in_memory_together(tmp_path):
    """40 MB in a file: what is allocated for loading, fitting and a few steps stays far below."""
    folder = tmp_path / "f"
    folder.mkdir()
    points = np.lib.format.open_memmap(
        folder / "points.npy", mode="w+", dtype=np.float32, shape=(5_000_000, 2)
    )
    for start in range(0, len(points), 500_000):
        points[start : start + 500_000] = np.random.default_rng(start).standard_normal((500_000, 2))
    np.save(folder / "offsets.npy", np.arange(0, len(points) + 1, 500))
    del points
    backend = backends.load("numpy")
    tracemalloc.start()
    try:
        family = datasets.load(folder)
        config = CloudConfig(steps=2, n_points=16, **SMALL)
        model, data = models.prepare(config, family, backend)
        algorithm.train(config, model.setting, data, family.labels, model.state, ops=backend.ops)
        peak = tracemalloc.get_traced_memory()[1]
        np.asarray(family.points)  # the control: to read all of it is noticed
        whole = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6
    assert whole >= 80e6


def test_the_least_that_a_folder_needs(tmp_path):
    np.save(tmp_path / "points.npy", np.arange(10).reshape(5, 2))
    np.save(tmp_path / "offsets.npy", np.asarray([0, 2, 5]))
    np.save(tmp_path / "labels.npy", np.asarray(["tree", "bush"]))
    family = datasets.load(tmp_path)
    assert (family.name, family.label_names, family.labels.tolist()) == (
        tmp_path.name,
        ("bush", "tree"),
        [1, 0],
    )
    assert family.points[1:3].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    np.save(tmp_path / "mean.npy", np.zeros((3, 2)))
    np.save(tmp_path / "cov.npy", np.broadcast_to(np.eye(2), (3, 2, 2)))
    assert len(datasets.load(tmp_path)) == 3


def damage(folder, name, values):
    np.save(folder / f"{name}.npy", values)


def replace_by_a_pipe(file):
    file.unlink()
    if not hasattr(os, "mkfifo"):
        pytest.skip("the system has no pipes with names")
    os.mkfifo(file)


SHORT = b"{'descr': '<f8', 'fortran_order': False, 'shape': (6, 2), }"
LONG = b"\x93NUMPY\x02\x00" + (100_000).to_bytes(4, "little") + SHORT.ljust(99_999) + b"\n"

DAMAGE = {
    "order": (lambda f: damage(f, "offsets", [0, 4, 3, 6]), "cloud 1 runs from row 4 to row 3"),
    "end": (lambda f: damage(f, "offsets", [0, 2, 7]), "number of rows of points, 6; got 0 ... 7"),
    "begin": (lambda f: damage(f, "offsets", [1, 2, 6]), "got 1 ... 6"),
    "floats": (lambda f: damage(f, "offsets", [0.0, 6.0]), "offsets must be integers; got float64"),
    "texts": (
        lambda f: damage(f, "points", np.asarray([["a"] * 2] * 6)),
        "points must be real numbers; got <U1",
    ),
    "axes": (lambda f: damage(f, "points", np.zeros(6)), "points must have shape (total, d)"),
    "nan": (lambda f: damage(f, "points", np.full((6, 2), np.nan)), "NaN or infinity in cloud 0"),
    "missing": (lambda f: (f / "offsets.npy").unlink(), "lacks offsets.npy"),
    "cut": (
        lambda f: (f / "points.npy").write_bytes((f / "points.npy").read_bytes()[:-8]),
        "points.npy is trunc",
    ),
    "no array": (lambda f: (f / "offsets.npy").write_bytes(b"1 2 3"), "offsets.npy is truncated or not"),
    "stranger": (lambda f: damage(f, "labelz", [0, 0]), "has labelz.npy, which no family has"),
    "objects": (
        lambda f: np.save(f / "points.npy", np.asarray([{}] * 6, dtype=object), allow_pickle=True),
        "points.npy is truncated or not",
    ),
    "pipe": (lambda f: replace_by_a_pipe(f / "points.npy"), "points.npy is no file of an array"),
    "header": (
        lambda f: (f / "points.npy").write_bytes(LONG + bytes(96)),
        "points.npy is truncated or not a .npy file (a header of 100000 bytes, more than 10000)",
    ),
    "both": (lambda f: damage(f, "mean", np.zeros((2, 2))), "holds points and mean"),
    "labels": (lambda f: damage(f, "labels", [0]), "labels must have shape (2,)"),
    "weights": (lambda f: damage(f, "weights", np.ones(6)), "weights must sum to 1 in every cloud"),
    "fewer": (lambda f: damage(f, "weights", np.ones(5)), "number of rows of weights, 5"),
    "format": (lambda f: damage(f, "format", "refwfm-family-1"), "format is refwfm-family-1"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_folders_are_named(tmp_path, kind):
    np.save(tmp_path / "points.npy", np.arange(12.0).reshape(6, 2))
    np.save(tmp_path / "offsets.npy", np.asarray([0, 3, 6]))
    assert len(datasets.load(tmp_path)) == 2
    harm, words = DAMAGE[kind]
    harm(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        datasets.load(tmp_path)
    assert words in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_the_command_trains_on_a_folder(tmp_path, undrawn):
    datasets.save_family(tmp_path / "f.npz", clouds())
    said = succeed("data", "convert", tmp_path / "f.npz", tmp_path / "f")
    assert said == f"wrote {tmp_path / 'f'}: load it by that name\n"
    assert_error(refwfm("data", "convert", "fours", tmp_path / "f"), "exists already")
    assert_error(refwfm("data", "convert", tmp_path / "f", tmp_path / "f.npz"), "--force")
    assert "30 clouds" in succeed("data", "show", tmp_path / "f")
    options = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    out = tmp_path / "run"
    said = succeed("train", "--data", tmp_path / "f", "--steps", 2, *options, "--out", out, "--quiet")
    assert "held out: 3 of the 30 members" in said
    succeed("train", "--resume", "--out", out, "--data", tmp_path / "f.npz", "--steps", 3, "--quiet")
    evaluate = ("evaluate", out, "--seeds", 1, "--size", 3, "--steps", 2)
    assert "copies" in succeed(*evaluate)
    said = succeed(*evaluate, "--data", tmp_path / "f")
    assert "copies" in said
    os.remove(tmp_path / "f.npz")  # what the run was trained on has gone: others can be compared with still
    assert_error(refwfm(*evaluate), "cannot be loaded", "--data", "no such file")
    found = refwfm(*evaluate, "--data", tmp_path / "f")
    assert found.exit_code == 0
    assert "the members trained on have gone or changed" in found.stderr
    assert "no copy rate: it needs the members trained on" in found.stdout
    assert "1-NN accuracy, EMD" in found.stdout
    assert_error(refwfm("data", "show", tmp_path / "g"), f"no such file or folder: {tmp_path / 'g'}")


def zarr_of(folder, family, **more):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(folder), mode="w")
    for name, array in {"points": family.points, "offsets": family.offsets, "labels": family.labels}.items():
        stored = group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=(16, *array.shape[1:]))
        stored[...] = array
    group.attrs.update({"name": family.name, "label_names": list(family.label_names), **more})
    return group


def test_a_zarr_group_is_the_family(tmp_path):
    family = clouds()
    zarr_of(tmp_path / "f.zarr", family)
    found = datasets.load(tmp_path / "f.zarr")
    assert isinstance(found.points, StoredRows)
    assert_same(found, family)
    assert_same(found.subset([9, 1, 2]), family.subset([9, 1, 2]))
    shutil.rmtree(tmp_path / "f.zarr" / "offsets")
    with pytest.raises(FileNotFoundError, match="lacks offsets"):
        datasets.load(tmp_path / "f.zarr")


def test_broken_chunks_are_refused(tmp_path):
    """Bytes of anything, and a group that says that a few bytes hold more than memory."""
    for kind in ("bytes", "shape"):
        folder = tmp_path / f"{kind}.zarr"
        zarr_of(folder, clouds())
        if kind == "bytes":
            (chunk,) = (folder / "points" / "c" / "0").iterdir()
            chunk.write_bytes(b"no chunk of ours")
        else:
            about = json.loads((folder / "offsets" / "zarr.json").read_text())
            (folder / "offsets" / "zarr.json").write_text(json.dumps({**about, "shape": [10**12]}))
        with pytest.raises((ValueError, OSError), match=f"{kind}.zarr"):
            datasets.load(folder)
