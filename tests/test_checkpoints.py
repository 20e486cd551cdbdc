"""Checkpoints are whole or absent, whatever happens while they are written, and foreign files are refused."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as to_bytes

from refwfm.storage import checkpoints
from refwfm.storage.checkpoints import CheckpointError, load, save

ARRAYS = {
    "params/mean/weight": np.arange(6.0).reshape(2, 3),
    "params/mean/bias": np.array([1.5, -0.0], np.float32),
    "steps": np.array(7),
    "empty": np.zeros((0, 3)),
}
ABOUT = {"config": {"seed": 3, "df": None, "ema": 0.999, "method": "riemannian"}, "step": 7}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def assert_holds(path, arrays=ARRAYS, about=ABOUT):
    found, description = load(path)
    assert description == about
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_round_trip(path):
    save(path, ARRAYS, ABOUT)
    assert_holds(path)
    assert os.listdir(path.parent) == [path.name]


def test_arrays_that_are_not_contiguous(path):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    save(path, {"x": array}, {})
    np.testing.assert_array_equal(load(path)[0]["x"], array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0, 5e-324])
def test_every_bit_comes_back(path, value):
    save(path, {"x": np.array([value])}, {})
    assert load(path)[0]["x"].tobytes() == np.array([value]).tobytes()


def test_replaces_the_old_file(path):
    save(path, {"old": np.zeros(3)}, {"step": 1})
    save(path, ARRAYS, ABOUT)
    assert_holds(path)


# Files that cannot be read


def test_no_file(path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(path.parent)


@given(st.data())
def test_truncated_files_are_refused_and_left_alone(data):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.safetensors")
        save(path, ARRAYS, ABOUT)
        with open(path, "rb") as file:
            whole = file.read()
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        with open(path, "wb") as file:
            file.write(cut)
        with pytest.raises(CheckpointError, match="truncated or is no safetensors file"):
            load(path)
        with open(path, "rb") as file:
            assert file.read() == cut


@given(st.binary(max_size=200))
def test_foreign_files_are_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.safetensors")
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(CheckpointError, match="truncated or is no"):
            load(path)


FOREIGN = {
    "no description": None,
    "another key": {"format": "pt"},
    "no JSON": {"refwfm": "{"},
    "a number": {"refwfm": "1"},
    "a word": {"refwfm": '"word"'},
    "a list": {"refwfm": "[1]"},
    "no version": {"refwfm": "{}"},
    "a version that is no number": {"refwfm": '{"version": "x"}'},
}


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=FOREIGN)
def test_safetensors_files_of_others_are_refused(path, metadata):
    path.write_bytes(to_bytes({"x": np.zeros(2)}, metadata))
    with pytest.raises(CheckpointError, match="not a checkpoint of refwfm"):
        load(path)


def test_files_of_others_in_types_that_numpy_lacks_are_refused(path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(CheckpointError, match="not a checkpoint of refwfm"):
        load(path)


def test_newer_files_are_refused(path, monkeypatch):
    monkeypatch.setattr(checkpoints, "VERSION", checkpoints.VERSION + 1)
    save(path, ARRAYS, ABOUT)
    before = path.read_bytes()
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"version 2, this refwfm reads up to 1.*upgrade"):
        load(path)
    assert path.read_bytes() == before


def test_nothing_in_a_file_is_executed(path):
    """A pickle is a foreign file."""
    import pickle

    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(CheckpointError):
        load(path)


# Files that cannot be written


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    save(path, ARRAYS, ABOUT)

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            save(path, {"new": np.zeros(3)}, {})
    assert_holds(path)
    assert os.listdir(path.parent) == [path.name]


WRITER = """
import sys
import numpy as np
from refwfm.storage.checkpoints import save
step = 0
while True:
    step += 1
    save(sys.argv[1], {"x": np.full(200_000, float(step))}, {"step": step})
    print(step, flush=True)
"""


def test_killed_while_writing(path):
    """At any moment there is a whole checkpoint, at least as new as the last one that was finished."""
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.2))
        writer.send_signal(signal.SIGKILL)
        finished = ["1", *writer.communicate()[0].split()]
        arrays, about = load(path)
        assert about["step"] >= int(finished[-1])
        assert np.all(arrays["x"] == about["step"])
        done += about["step"]
    assert done > 6
