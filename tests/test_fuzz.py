"""Readers answer broken files with declared errors; what a fuzzer found is here by itself."""

import gzip
import io
import json
import re
import resource
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load, save, save_file

from refwfm import datasets
from refwfm.datasets import _files, _hdf5, meshes
from refwfm.datasets._idx import read_idx
from refwfm.runs import config_file
from refwfm.storage import cards, checkpoints, records
from refwfm.validation import fuzz, guided_fuzz

KINDS = (
    *("IDX", "IDX, gzip", "npy", "npz", "npz, compressed", "family", "folder", "safetensors"),
    *("TOML", "OFF", "PLY", "OBJ", "points", "CSV", "PLY, binary", "STL", "record", "populations"),
)


def test_every_kind_is_tried(tmp_path):
    assert tuple(fuzz.seeds(tmp_path)) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_refused_in_time_and_in_little_memory(kind):
    if kind in ("PLY", "OBJ", "PLY, binary", "STL"):
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


def test_texts_of_cells_that_are_not_where_they_are_said_to_be(tmp_path, monkeypatch):
    """Found in damaged files: HDF5 ended the process, read for ever, or asked for gigabytes."""
    anndata, h5py = pytest.importorskip("anndata"), pytest.importorskip("h5py")
    path = tmp_path / "cells.h5ad"
    places = np.random.default_rng(0).uniform(size=(8, 2))
    anndata.AnnData(np.ones((8, 3)), obsm={"X_pca": places}).write_h5ad(path)
    given = {"by": "neighbourhood", "k": 3, "pcs": 2}
    assert len(datasets.clouds_from_anndata(path, **given)) == 8
    whole = path.read_bytes()
    heap = whole.index(b"GCOL").to_bytes(8, "little")
    # Where an attribute's text lies: its length, the heap's address, its number there.
    found = [each.start() for each in re.finditer(re.escape(heap), whole)]
    broken = bytearray(whole)
    for at in found:
        broken[at - 4 : at] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(broken)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"cells\.h5ad is an HDF5 file but not a readable AnnData file \("):
        datasets.clouds_from_anndata(path, **given)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # in kB
    with h5py.File(path) as file, pytest.raises(OSError, match="heap"):
        dict(file.attrs)  # the control
    path.write_bytes(whole)
    script = tmp_path / "probe.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(_hdf5, "PROBE", script)
    with pytest.raises(ValueError, match="damaged: a process that read its texts was ended by signal 11"):
        datasets.clouds_from_anndata(path, **given)


def test_chunks_of_a_store_that_say_too_much(tmp_path):
    """Found in damaged stores: a chunk of a hundred bytes asked for up to 34 GB."""
    anndata = pytest.importorskip("anndata")
    pytest.importorskip("zarr")
    path = tmp_path / "cells.zarr"
    places = np.random.default_rng(0).uniform(size=(8, 2))
    with warnings.catch_warnings(action="ignore"):  # of formats to come
        anndata.AnnData(np.arange(24.0).reshape(8, 3), obsm={"X_pca": places}).write_zarr(path)
    if not (path / ".zmetadata").exists():
        pytest.skip("of Zarr's second format")
    given = {"by": "neighbourhood", "k": 3, "pcs": 2}
    assert len(datasets.clouds_from_anndata(path, **given)) == 8
    texts = path / "obs" / "_index" / "0"
    text, number = bytearray(texts.read_bytes()), bytearray((path / "X" / "0.0").read_bytes())
    count = text.index((8).to_bytes(4, "little"), 16)
    short = number[:-1]
    number[4:8] = (2**31 - 16).to_bytes(4, "little")
    text[count : count + 4] = (2**24).to_bytes(4, "little")
    whole = {file: file.read_bytes() for file in (path / "X" / "0.0", texts, path / ".zmetadata")}
    unpacked = json.loads(whole[path / ".zmetadata"])
    unpacked["metadata"]["obs/_index/.zarray"]["compressor"] = None
    for place, content, words in (
        ("X/0.0", bytes(number), "says that it holds 2147483632 bytes"),
        ("X/0.0", bytes(short), r"has \d+ bytes, and says \d+"),
        ("obs/_index/0", bytes(text), "says that it holds 16777216 texts"),
        (".zmetadata", json.dumps(unpacked).encode(), r"says that it holds \d+ texts"),
    ):
        (path / place).write_bytes(content)
        assert fuzz.tried(lambda file: datasets.clouds_from_anndata(file, **given), path) == ("refused", "")
        with pytest.raises(ValueError, match=f"not a readable AnnData file \\(.*{words}"):
            datasets.clouds_from_anndata(path, **given)
        (path / place).write_bytes(whole[path / place])
    assert len(datasets.clouds_from_anndata(path, **given)) == 8


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


def test_numbers_and_brackets_beyond_what_a_reader_holds(tmp_path):
    """Not refused in the reader's own words before: errors of arithmetic, of recursion, of attributes."""
    (tmp_path / "a.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99999999999999999999\n")
    with pytest.raises(ValueError, match=r"a\.off is damaged"):
        meshes.read_off(tmp_path / "a.off")
    for text in ("a = " + "[" * 5000, "a = " + "9" * 5000, ".".join(["a"] * 20000) + " = 1"):
        (tmp_path / "a.toml").write_text(text)
        answer, wrong = fuzz.tried(config_file.read_config, tmp_path / "a.toml")
        assert (answer, wrong) == ("refused", "")
        with pytest.raises(ValueError, match=r"a\.toml is no TOML file: "):
            config_file.read_config(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("#" * config_file.LARGEST + "\n")
    with pytest.raises(ValueError, match=r"a\.toml is no configuration: it has more than \d+ bytes"):
        config_file.read_config(tmp_path / "a.toml")
    (tmp_path / cards.CARD).write_text("[" * 100000)
    with pytest.raises(checkpoints.CheckpointError, match="is no card"):
        cards.load(tmp_path)


@pytest.mark.parametrize(
    "about",
    ["[" * 100000, '{"version": 1e999}', '{"version": 1, "crc32": [1]}', '{"version": 1, "crc32": 5}'],
)
def test_a_description_that_is_none(tmp_path, about):
    save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors", {"refwfm": about})
    with pytest.raises(checkpoints.CheckpointError, match="not a checkpoint of refwfm"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_a_little_gzip_does_not_unpack_to_much(tmp_path):
    zeros = bytes(2**27)
    for begin, words in (
        (b"\0\0\x08\x03\0\0\0\1\0\0\0\2\0\0\0\2", "has 20 bytes; got 21 or more"),
        (b"", "must begin"),
    ):
        (tmp_path / "a.gz").write_bytes(gzip.compress(begin + zeros))
        assert fuzz.tried(lambda file: read_idx(file, ndim=3), tmp_path / "a.gz") == ("refused", "")
        with pytest.raises(ValueError, match=words):
            read_idx(tmp_path / "a.gz", ndim=3)


def test_headers_that_ask_for_more_than_there_is(tmp_path):
    """Of 16 bytes NumPy reads four billion; a member of an archive, also of a record, may claim any size."""
    long = b"\x93NUMPY\x02\0" + (2**30).to_bytes(4, "little") + bytes(4)
    (tmp_path / "a.npy").write_bytes(long)
    assert fuzz.tried(datasets.read_clouds, tmp_path / "a.npy") == ("refused", "")
    assert (
        "MB" in fuzz.tried(lambda file: np.load(file, allow_pickle=False), tmp_path / "a.npy")[1]
    )  # control
    (tmp_path / "a.npy").write_bytes(long.replace(b"\x02", b"\x03"))
    with pytest.raises(
        ValueError, match=r"a\.npy is truncated or not a \.npy file \(an array in version 3\.0"
    ):
        datasets.read_clouds(tmp_path / "a.npy")

    array, path = io.BytesIO(), tmp_path / "a.npz"
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (2**27, 2)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", array.getvalue())
        archive.writestr("json.npy", array.getvalue())
    size = len(array.getvalue())
    claimed = path.read_bytes().replace(size.to_bytes(4, "little"), (size + 2**31).to_bytes(4, "little"))
    path.write_bytes(claimed)
    for read in (datasets.read_clouds, lambda file: records.load(file, ())):
        assert fuzz.tried(read, path) == ("refused", "")
        with pytest.raises(ValueError, match=r"cannot have \d{10} bytes"):
            read(path)
    whole = {"a": np.ones((2, 2)), "b": ["text"], "c": np.float32(2)}
    records.save(path, whole)
    assert repr(records.load(path, ())) == repr(whole)


def test_a_table_in_parquet_that_says_nothing_of_its_columns(tmp_path):
    """The description that pandas writes along is JSON, and was believed: a KeyError."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    pandas.DataFrame({"who": ["a", "b"], "x": [1.0, 2.0]}).to_parquet(path)
    assert len(datasets.read_table(path, cloud="who")) == 2
    whole = path.read_bytes()
    broken = whole.replace(b"ARROW:schema", b"ARROW:sch_ma").replace(b'"pandas_type"', b'"pandas_typo"')
    path.write_bytes(broken)
    with pytest.raises(KeyError):
        pandas.read_parquet(path)  # the control
    with pytest.raises(ValueError, match=r"a\.parquet is not a readable Parquet file \('pandas_type'\)"):
        datasets.read_table(path, cloud="who")


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
@pytest.mark.parametrize("order", "<>")
def test_text_of_what_is_no_character(tmp_path, code, order):
    """NumPy reads it, and the first string that is made of it is a SystemError."""
    labels = np.array(["aé", "b", "東"], f"{order}U2")
    np.savez(tmp_path / "a.npz", points=np.zeros((3, 4, 2)), labels=labels)
    assert datasets.read_clouds(tmp_path / "a.npz").label_names == ("aé", "b", "東")
    labels.view(f"{order}u4")[2] = code
    np.savez(tmp_path / "a.npz", points=np.zeros((3, 4, 2)), labels=labels)
    with pytest.raises(ValueError, match=r"a\.npz is truncated .* \(a text of what is no character\)"):
        datasets.read_clouds(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["label_names", "members", "labels", "points", "offsets", "name", "about"])
def test_arrays_of_a_family_that_have_other_axes(tmp_path, name):
    """A list of names without an axis was a TypeError, which no reader declares."""
    family = datasets.clouds_from_arrays(np.zeros((3, 4, 2)), labels=["a", "b", "a"])
    with np.load(datasets.save_family(tmp_path / "a.npz", family)) as archive:
        arrays = dict(archive)
    for other in (np.array("x"), np.array(1.0), np.zeros((2, 2)), np.array([[["a"]]]), np.array([1j])):
        np.savez(tmp_path / "a.npz", **arrays | {name: other})
        assert fuzz.tried(datasets.load_family, tmp_path / "a.npz")[1] == ""


# --- guided by branches


def test_a_search_that_branches_guide():
    pytest.importorskip("atheris")
    given = ["--only", "TOML", "--runs", "200"]
    command = [sys.executable, "-m", "refwfm.validation.guided_fuzz", *given]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.match(
        r"TOML: (\d+) runs, (\d+) read, (\d+) refused, 0 faults, branches (\d+) to (\d+), \d+ s\n0 faults\n$",
        done.stdout,
    )
    runs, read, refused, before, after = map(int, found.groups())
    assert runs == read + refused >= 200
    assert read
    assert refused > 100
    assert after > before > 0  # the control: it is guided by something


def test_a_fault_of_each_kind_is_kept_and_repeated(tmp_path, capsys, monkeypatch):
    counts = [0, 0, 0]

    def count(which):
        counts[which] += 1

    def read(file):
        content = file.read_bytes()
        return {}[content] if content else int("")

    seed = fuzz.Seed("toml", b"", read)
    judge = guided_fuzz.Judge("TOML", seed, tmp_path, tmp_path / "kept", count)
    for data in (b"", b"1", b"2", b"a"):
        judge(data)
    assert counts == [0, 1, 3]
    kept = sorted((tmp_path / "kept").iterdir())
    assert len(kept) == 2  # of 1 and 2, which differ in a digit, the first
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("TOML: KeyError: b'1'; again: --only 'TOML' --repeat ")
    assert guided_fuzz.main(["--only", "TOML", "--repeat", str(kept[0])]) == 0  # the real reader refuses it
    assert capsys.readouterr().out == "refused\n"
    monkeypatch.setattr(fuzz, "seeds", lambda _: {"TOML": seed})
    assert guided_fuzz.main(["--only", "TOML", "--repeat", str(kept[0])]) == 1
    assert "KeyError" in capsys.readouterr().out


def test_what_is_packed_is_changed_inside():
    def mutate(part):
        return part.replace(b"a", b"bb")

    packed = guided_fuzz.change_inside(gzip.compress(b"xaz"), mutate, 1)
    assert gzip.decompress(packed) == b"xbbz"
    buffer = io.BytesIO()
    np.savez(buffer, first=np.array(["a"], "S1"), second=np.arange(3))
    with zipfile.ZipFile(buffer) as archive:
        name = archive.namelist()[0]
        member = archive.read(name)
    with zipfile.ZipFile(io.BytesIO(guided_fuzz.change_inside(buffer.getvalue(), mutate, 1))) as archive:
        assert archive.read(name) == mutate(member)
        assert archive.testzip() is None
    whole = save({"a": np.zeros(3)})
    longer = guided_fuzz.change_inside(whole, lambda header: header.replace(b'"a"', b'"bb"'), 1)
    assert list(load(longer)) == ["bb"]
    for data, which in ((b"PK no archive a", 1), (b"\x1f\x8b a", 1), (b"a", 1), (gzip.compress(b"a"), 0)):
        assert guided_fuzz.change_inside(data, mutate, which) == mutate(data)


def test_a_search_that_cannot_be(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "atheris", None)
    for given, words in (
        ([], 'needs atheris: pip install "refwfm[fuzz]"'),
        (["--only", "PDF"], "--only must be one of IDX"),
        (["--runs", "0"], "--runs must be at least 1; got 0"),
        (["--repeat", "none"], "--repeat must be a file"),
    ):
        with pytest.raises(SystemExit):
            guided_fuzz.main(given)
        assert words in capsys.readouterr().err
