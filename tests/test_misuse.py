"""Misuse, as somebody new to the command tries it: each is one clear line, and loses nothing."""

import errno
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import anndata
import numpy as np
import pandas as pd
import pytest
from command import assert_error, refwfm, succeed

from refwfm.cli import cloud_runs, gaussian_runs, generate
from refwfm.cli import train as training
from refwfm.runs import folders, models
from refwfm.storage import atomic

TINY = ("--steps", 2, "--batch", 2, "--width", 8, "--depth", 1, "--quiet")
CLOUD = ("--heads", 2, "--hidden", 8, "--n-frequencies", 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files that are wrong, files that are right, and a run with conditions and labels."""
    place, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    points = rng.standard_normal((6, 4, 2))
    (place / "empty.npz").write_bytes(b"")
    (place / "empty.csv").write_bytes(b"")
    (place / "empty.h5ad").write_bytes(b"")
    (place / "words.npy").write_bytes(b"no array\n")
    np.save(place / "flat.npy", points.reshape(-1))
    np.save(place / "nan.npy", np.where(np.arange(48).reshape(6, 4, 2) == 13, np.nan, points))
    np.save(place / "text.npy", np.array([["a", "b"]]))
    np.save(place / "one.npy", points[:, :1])
    np.save(place / "single.npy", points[:1, :1])
    np.save(place / "points.npy", points)
    np.savez(place / "sizes.npz", means=np.zeros((3, 2)), covs=np.ones((3, 3, 3)))
    np.savez(place / "asymmetric.npz", means=np.zeros((1, 2)), covs=[[[1.0, 5.0], [0.0, 1.0]]])
    np.savez(place / "negative.npz", means=np.zeros((1, 2)), covs=[[[1.0, 0.0], [0.0, -1.0]]])
    np.savez(place / "singular.npz", means=points[:, 0], covs=np.zeros((6, 2, 2)))
    np.savez(place / "mixed.npz", means=points[:, 0].astype(np.float32), covs=np.tile(np.eye(2), (6, 1, 1)))
    np.savez(place / "objects.npz", means=np.array([None]), covs=np.ones((1, 1, 1)))
    np.savez(
        place / "asked.npz",
        points=points,
        labels=list("aabbab"),
        conditions=np.arange(6.0)[:, None],
        condition_names=["age"],
    )
    pd.DataFrame({"who": ["a", "b"], "x": ["1", "two"], "y": [1, 2]}).to_csv(place / "text.csv", index=False)
    anndata.AnnData(np.ones((4, 2))).write_h5ad(place / "cells.h5ad")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("points", "asked"):
            succeed(
                "data", "clouds", f"{name}.{'npy' if name == 'points' else 'npz'}", "--out", f"{name}-f.npz"
            )
        succeed("data", "gaussians", "points.npy", "--out", "gaussians.npz")
        succeed("train", "--data", "asked-f.npz", *TINY, *CLOUD, "--conditional", "--out", "run")
    return place


@pytest.fixture(autouse=True)
def here(made, tmp_path, monkeypatch, undrawn):
    """A copy of it all, to misuse."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


GAUSSIANS, CLOUDS = ("data", "gaussians", "--out", "new.npz"), ("data", "clouds", "--out", "new.npz")
TRAIN, GENERATE = ("train", *TINY, "--out", "new", "--data"), ("generate", "run", "--steps", 1, "--size", 2)
LINES = {
    "an empty file": [
        ((*TRAIN, "empty.npz"), ("empty.npz", "truncated or not a .npz file")),
        ((*CLOUDS, "empty.csv", "--cloud", "who"), ("empty.csv", "not a readable CSV")),
        ((*CLOUDS, "empty.h5ad"), ("empty.h5ad", "not an HDF5 file")),
        ((*CLOUDS, "words.npy"), ("words.npy", "truncated or not a .npy file")),
    ],
    "wrong shapes": [
        ((*CLOUDS, "flat.npy"), ("flat.npy", "(48,)", "(N, n, d)")),
        ((*GAUSSIANS, "sizes.npz"), ("(3, 2)", "(3, 3, 3)")),
    ],
    "NaN": [((*CLOUDS, "nan.npy"), ("nan", "finite", "cloud 1"))],
    "covariances that are none": [
        ((*GAUSSIANS, "asymmetric.npz"), ("symmetric",)),
        ((*GAUSSIANS, "negative.npz"), ("positive semi-definite",)),
    ],
    "text where numbers belong": [
        ((*CLOUDS, "text.npy"), ("text.npy", "(1, 2)")),
        (
            (*CLOUDS, "text.csv", "--cloud", "who"),
            ("column 'x' is not of numbers ('two' in row 1)", "--columns"),
        ),
        (
            (*GAUSSIANS, "objects.npz"),
            ("objects.npz", "an array of objects, which only unpickling would read"),
        ),
    ],
    "an unknown family": [
        ((*TRAIN, "citis"), ("unknown family 'citis'", "cities")),
        ((*TRAIN, "none.npz"), ("no such file", "none.npz")),
        (("data", "show", "citis"), ("citis", "cities")),
    ],
    "labels and conditions that are unknown": [
        ((*GENERATE, "--label", "c"), ("(a, b); got 'c'",)),
        ((*GENERATE, "--at", "weight=3"), ("age", "got weight")),
        ((*GENERATE, "--at", "age=old"), ("--at is NAME=NUMBER", "age=old")),
        ((*GENERATE, "--at", "age=nan"), ("must be finite",)),
    ],
    "an ending that is wrong": [
        ((*TRAIN, "points.npy"), ("points.npy is an array, not a family: refwfm data clouds points.npy",)),
        ((*TRAIN, "cells.h5ad"), ("cells.h5ad is AnnData, not a family: refwfm data clouds cells.h5ad",)),
        ((*TRAIN, "cells.h5ad", "--kind", "meta-ot"), ("refwfm data clouds cells.h5ad makes one",)),
        ((*TRAIN, "cells.h5ad", "--kind", "meta-fm"), ("refwfm data populations makes of AnnData",)),
        ((*GENERATE, "--out", "new.csv"), ("--out must end in .npz", "new.csv")),
        (("data", "clouds", "points.npy", "--out", "new.txt"), ("must end in .npz", "new.txt")),
        ((*TRAIN, "points-f.npz", "--config", "points.npy"), ("points.npy is no TOML file",)),
    ],
    "sizes that no machine has": [
        ((*GENERATE, "--size", 10**15, "--out", "a.npz"), ("take up to", "a smaller --size")),
        ((*GENERATE, "--points", 10**8, "--out", "a.npz"), ("of memory", "fewer --points")),
        ((*TRAIN, "gaussians.npz", "--width", 10**11), ("out of memory", "TiB", "smaller --width")),
    ],
    "a run over another, and one on other data": [
        ((*TRAIN, "asked-f.npz", "--out", "run"), ("run holds a run already", "--resume")),
        (
            ("train", "--resume", "--out", "run", "--data", "points-f.npz", *TINY, *CLOUD),
            ("run was trained on other data (asked)", "another folder"),
        ),
        (("train", "--resume", "--out", "nowhere"), ("nothing to resume in nowhere",)),
        (("generate", "nowhere"), ("no checkpoint at nowhere",)),
    ],
}


@pytest.mark.parametrize("misuse", LINES)
def test_one_line_says_what_is_wrong(misuse):
    for arguments, words in LINES[misuse]:
        assert_error(refwfm(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--stepps", "3"), ("No such option", "--steps")),
        (("trian",), ("No such command", "train")),
        (("generate", "run", "--size", "many"), ("--size", "valid integer")),
        (("generate", "run", "--size", "0"), ("--size", "greater than or equal to 1")),
        (("data", "clouds", "points.npy", "--out", ""), ("--out", "the path is empty")),
        (("data", "clouds", ""), ("the path is empty",)),
        (("data", "populations", "", "--population", "a"), ("the path is empty",)),
        (("predict", "run", "--data", "a.npz", "--out", ""), ("--out", "the path is empty")),
        (("generate", "run", "--out", ""), ("--out", "the path is empty")),
        (("generate", ""), ("the path is empty",)),
    ],
)
def test_an_option_that_is_none(arguments, words):
    result = refwfm(*arguments, COLUMNS="200")
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


def test_what_only_looks_like_misuse(here):
    """Singular covariances, two dtypes, one point, conditions never seen, and names in any script."""
    for name, ending in (("singular", "npz"), ("mixed", "npz"), ("single", "npy")):
        succeed("data", "gaussians", f"{name}.{ending}", "--out", f"{name}-f.npz")
        succeed("train", "--data", f"{name}-f.npz", *TINY, "--out", name)
    succeed("data", "clouds", "one.npy", "--out", "Zoë 東京.NPZ")
    succeed("train", "--data", "Zoë 東京.NPZ", *TINY, *CLOUD, "--out", "läufe/ß 2")
    assert "wrote ñ.npz" in succeed("generate", "läufe/ß 2", "--steps", 1, "--size", 2, "--out", "ñ.npz")
    said = succeed(*GENERATE, "--at", "age=1000", "--out", "old.npz")
    assert "age = 1000 is outside of what training has seen, 0 ... 5" in said


def raising(error):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.parametrize(
    ("module", "name", "arguments", "words"),
    [
        (training, "load_backend", (*TRAIN, "gaussians.npz"), ("stopped",)),
        (folders, "prepare", (*TRAIN, "gaussians.npz"), ("stopped before the first step; nothing was kept",)),
        (
            gaussian_runs,
            "evaluate_model",
            (*TRAIN, "gaussians.npz"),
            ("the training is saved", "evaluate new"),
        ),
        (cloud_runs, "generate_with", (*GENERATE, "--out", "a.npz"), ("stopped",)),
        (generate, "save_blocks", (*GENERATE, "--out", "a.npz"), ("stopped",)),
    ],
)
def test_ctrl_c_at_any_moment(here, monkeypatch, module, name, arguments, words):
    monkeypatch.setattr(module, name, raising(KeyboardInterrupt))
    result = refwfm(*arguments)
    assert result.exit_code == 130
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output
    assert not (here / "a.npz").exists()
    assert not list(here.rglob("*.part"))


def test_kill_9_leaves_what_a_run_had_kept(here):
    """As a kill leaves it: a checkpoint, half of the next one, no log, a lock that the system has lifted."""
    succeed(*TRAIN, "gaussians.npz")
    whole = models.newest_checkpoint(here / "new").read_bytes()
    models.newest_checkpoint(here / "new").unlink()
    (here / "new" / "checkpoints" / ".00000002.safetensors.999999.part").write_bytes(whole[:100])
    (here / "new" / "log.jsonl").unlink()
    succeed("train", "--resume", "--out", "new")
    assert models.newest_checkpoint(here / "new").read_bytes() == whole
    assert not list(here.rglob("*.part"))


@pytest.mark.parametrize(
    "arguments",
    [
        (*GENERATE, "--out", "a.npz"),
        ("data", "clouds", "points.npy", "--out", "a.npz"),
        (*TRAIN, "points-f.npz"),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_file(here, monkeypatch, arguments):
    written, real = [], open

    def opened(file, mode="r", *more, **options):
        handle = real(file, mode, *more, **options)
        if str(file).endswith(".part") and mode[0] == "w":
            handle.close()
            written.append(file)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return handle

    monkeypatch.setattr(atomic, "open", opened, raising=False)
    assert_error(refwfm(*arguments), "No space left on device", "new" if "--data" in arguments else "a.npz")
    assert written
    assert not list(here.rglob("*.part"))
    assert not (here / "a.npz").exists()


def test_a_folder_that_cannot_be_written(here, monkeypatch):
    monkeypatch.setattr(
        atomic, "open", raising(PermissionError(errno.EACCES, "Permission denied", "x")), False
    )
    for arguments, name in (
        ((*GENERATE, "--out", "a.npz"), "a.npz"),
        (("data", "clouds", "one.npy"), "one.npz"),
    ):
        assert_error(refwfm(*arguments), f"cannot write {name}: Permission denied")
    monkeypatch.undo()
    os.chdir(here)
    (here / "file").write_text("")
    assert_error(refwfm(*TRAIN, "gaussians.npz", "--out", "file/run"), "file is a file")
    assert_error(refwfm(*GENERATE, "--out", "none/a.npz"), "cannot write none/a.npz: there is no folder none")


def test_two_runs_in_one_folder_at_once(here):
    (here / "new").mkdir()
    with (here / "new" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_error(
            refwfm(*TRAIN, "gaussians.npz"), "another process is training in new; use another folder"
        )


def test_no_network(monkeypatch):
    """Nothing that ships asks for one; what does not ship says where it would be from."""

    @contextmanager
    def cut():
        raise OSError("the network is off")
        yield

    for module, name in ((socket, "create_connection"), (urllib.request, "urlopen")):
        monkeypatch.setattr(module, name, lambda *_, **__: cut().__enter__())
    succeed("data", "show", "cities")
    assert_error(refwfm("data", "show", "mnist", REFWFM_DATA="", REFWFM_CACHE="cache"), "mnist")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("arguments", ["--version", "--help", "info", "cite", "data list", "explain 10"])
def test_output_that_cannot_be_written(arguments):
    command = [sys.executable, "-c", "from refwfm.cli import main; main()", *arguments.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (
        2,
        "error: cannot write the output: No space left on device\n",
    )


@pytest.fixture
def unreadable(monkeypatch):
    """Folders of such a name cannot be listed, as without the right to, which root always has."""
    names, real = [], {name: getattr(os, name) for name in ("listdir", "scandir")}

    def refusing(name):
        def instead(path="."):
            if os.path.basename(os.fspath(path)) in names:
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return real[name](path)

        return instead

    for name in real:
        monkeypatch.setattr(os, name, refusing(name))
    return names.append


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(here, unreadable):
    for place in ("set/a", "set/b"):
        (here / place).mkdir(parents=True)
        np.savetxt(here / place / "points.txt", np.eye(3))
    succeed("data", "clouds", "set", "--out", "set.npz")
    unreadable("b")
    unreadable("checkpoints")
    assert_error(refwfm("data", "clouds", "set", "--force", "--out", "set.npz"), "set/b: Permission denied")
    for arguments in (GENERATE, ("train", "--resume", "--out", "run"), ("evaluate", "run")):
        assert_error(refwfm(*arguments), "run/checkpoints: Permission denied")
