"""Runs that cannot be lost: damaged checkpoints, stops, checkpoints in time, and what is said before."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from configurations import SMALL_CLOUDS
from thirds import THOROUGH

from refwfm import datasets
from refwfm.backends import load as load_backend
from refwfm.cli import gaussian_runs
from refwfm.cli._common import duration
from refwfm.runs import folders, models, recorder
from refwfm.storage import atomic, checkpoints
from refwfm.storage.checkpoints import CheckpointError, CheckpointWarning
from refwfm.training import algorithm
from refwfm.training.config import GaussianConfig

TINY = GaussianConfig(steps=6, batch=4, width=4, depth=1, n_frequencies=2)
COMMAND = ("train", "--data", "spiral-16", "--steps", 6, "--batch", 4, "--width", 4, "--depth", 1)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def backend():
    return load_backend("numpy", dtype="float32")


def train(folder, backend, config=TINY, **options):
    options = {"run": {"data": "spiral-16"}, "log_every": 1, "checkpoint_every": 2, **options}
    return folders.train(config, datasets.load("spiral-16"), backend, folder, **options)


def arrays_of(folder):
    return checkpoints.load(models.newest_checkpoint(folder))[0]


def assert_same_numbers(folder, other):
    ours, theirs = arrays_of(folder), arrays_of(other)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.tobytes() == theirs[name].tobytes(), name


# Every tensor of a checkpoint is checked


def clouds_model(backend):
    family = datasets.clouds_from_arrays([np.asarray([[0.0, 1.0], [2.0, 4.0], [5.0, 3.0]])] * 3, name="a")
    return models.prepare(SMALL_CLOUDS, family, backend)[0]


def gaussian_model(backend):
    return models.prepare(TINY, datasets.load("spiral-16"), backend)[0]


DAMAGE = {
    "lacks the tensor": lambda arrays, name: arrays.pop(name),
    "NaN or infinity": lambda arrays, name: arrays.update({name: arrays[name] * np.float32(np.nan)}),
    "has the shape": lambda arrays, name: arrays.update({name: arrays[name][..., None]}),
    "has the dtype float64": lambda arrays, name: arrays.update({name: arrays[name].astype(np.float64)}),
    "has a tensor": lambda arrays, name: arrays.update({f"{name}x": arrays[name]}),
}


@pytest.mark.parametrize("make", [gaussian_model, clouds_model])
@pytest.mark.parametrize("part", ["params", "adam/first", "adam/second", "ema"])
@pytest.mark.parametrize("what", DAMAGE)
def test_a_strange_tensor_is_named(tmp_path, backend, make, part, what):
    path = tmp_path / "model.safetensors"
    models.save_model(path, make(backend), backend)
    models.load_model(path, backend)
    arrays, about = checkpoints.load(path)
    name = next(name for name in arrays if name.startswith(f"{part}/"))
    DAMAGE[what](arrays, name)
    checkpoints.save(path, arrays, about)
    with pytest.raises(CheckpointError, match=what) as caught:
        models.load_model(path, backend)
    assert str(path) in str(caught.value)
    assert name in str(caught.value)


def rewritten(path, change):
    """Write a file's tensors again with another tool, which keeps the description."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    arrays = dict(load_file(path))
    change(arrays)
    save_file(arrays, path, about)


@pytest.mark.parametrize("name", ["params/mean/mlp/out/bias", "setting/shift"])
def test_a_tensor_changed_behind_our_back_is_named(tmp_path, backend, name):
    path = tmp_path / "model.safetensors"
    models.save_model(path, gaussian_model(backend), backend)
    rewritten(path, lambda arrays: arrays.update({name: arrays[name] + 1}))
    with pytest.raises(CheckpointError, match=f"{name} is not what was written"):
        models.load_model(path, backend)
    rewritten(path, lambda arrays: arrays.pop(name))
    with pytest.raises(CheckpointError, match=f"lacks the tensor {name}"):
        models.load_model(path, backend)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoints.save(path, {"x": np.arange(8.0)}, {})
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the tensor x is not what was written"):
        checkpoints.load(path)


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    about = {"refwfm": json.dumps({"version": 1})}
    header = {"__metadata__": about, "params/w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0")
    with pytest.raises(CheckpointError, match=r"a\.safetensors: the tensor params/w has the dtype BF16"):
        checkpoints.load(path)


def test_a_file_without_checksums_is_read(tmp_path):
    """As written before there were any."""
    from safetensors.numpy import save_file

    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(2)}, path, {"refwfm": json.dumps({"version": 1, "step": 3})})
    assert checkpoints.load(path)[1] == {"step": 3}


def test_what_is_not_finite_is_never_written_and_never_called_good(tmp_path, backend):
    calls = []

    def poisoned(params, grads, state, **options):
        params, state = backend.ops.adam(params, grads, state, **options)
        calls.append(1)
        if len(calls) == 4:
            params = algorithm.optim.tree_map(lambda leaf: leaf * np.float32(np.nan), params)
        return params, state

    broken = backend._replace(ops=backend.ops._replace(adam=poisoned))
    with pytest.raises(
        algorithm.NonFiniteLossError, match=r"last good checkpoint: .*00000002\.safe"
    ) as caught:
        train(tmp_path, broken)
    assert "has NaN or infinity after step 4, and is not saved" in str(caught.value)
    assert [path.stem for path in models.checkpoints_in(tmp_path)] == ["00000000", "00000002"]


# A damaged newest checkpoint


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, backend):
    for name in ("whole", "damaged"):
        train(tmp_path / name, backend)
    path = models.newest_checkpoint(tmp_path / "damaged")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.warns(CheckpointWarning, match=r"00000006.* is truncated.*; taking .*00000004"):
        assert models.load_model(tmp_path / "damaged", backend).state.step == 4
    with pytest.warns(CheckpointWarning, match="taking"):
        train(tmp_path / "damaged", backend, resume=True)
    assert_same_numbers(tmp_path / "damaged", tmp_path / "whole")
    assert path.with_name(f"{path.name}.damaged").exists()  # nobody's evidence is thrown away
    with warnings.catch_warnings(action="error"):
        models.load_model(tmp_path / "damaged", backend)


def test_where_all_are_damaged_the_newest_is_named(tmp_path, backend):
    train(tmp_path, backend)
    for path in models.checkpoints_in(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"00000006\.safetensors is truncated"):
        models.load_model(tmp_path, backend)


def test_a_newer_version_is_no_damage(tmp_path, backend, monkeypatch):
    train(tmp_path, backend)
    arrays, about = checkpoints.load(models.newest_checkpoint(tmp_path))
    checkpoints.save(models.newest_checkpoint(tmp_path), arrays, {**about, "version": 9})
    with pytest.raises(checkpoints.NewerCheckpointError, match="upgrade"):
        models.load_model(tmp_path, backend)


def test_files_of_other_names_are_no_checkpoints(tmp_path, backend):
    train(tmp_path, backend)
    (tmp_path / "checkpoints" / "notes.safetensors").write_bytes(b"mine")
    assert models.load_model(tmp_path, backend).state.step == 6
    train(tmp_path, backend, replace(TINY, steps=10), resume=True)
    assert (tmp_path / "checkpoints" / "notes.safetensors").read_bytes() == b"mine"


def test_the_command_says_that_a_checkpoint_is_damaged(tmp_path):
    succeed(*COMMAND, "--log-every", 1, "--checkpoint-every", 2, "--out", "run")
    models.newest_checkpoint(tmp_path / "run").write_bytes(b"")
    for command in (("generate", "run", "--size", 3), ("train", "--resume", "--out", "run")):
        result = refwfm(*command)
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith("warning: ")
        assert "taking run/checkpoints/00000004.safetensors instead" in result.stderr
        assert result.stderr.count("\n") == 1


def test_an_old_checkpoint_that_cannot_be_deleted_does_not_stop_training(tmp_path, backend, monkeypatch):
    from pathlib import Path

    unlink = Path.unlink

    def denied(path, *arguments, **options):
        if path.name == "00000000.safetensors":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.warns(CheckpointWarning, match=r"cannot delete .*00000000.*: Permission denied") as said:
        assert train(tmp_path, backend).state.step == 6
    assert len(said) == 1


# Stops, and checkpoints in time


def test_a_stop_saves_where_the_run_stands(tmp_path, backend):
    train(tmp_path / "whole", backend, log_every=4, checkpoint_every=100)
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 3 or len(asked) == 4  # after the third step, and in its report

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", backend, log_every=4, checkpoint_every=100, stop=stop)
    assert models.load_model(tmp_path / "run", backend).state.step == 3
    train(tmp_path / "run", backend, log_every=4, checkpoint_every=100, resume=True)
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")


def test_checkpoints_come_by_time_as_well(tmp_path, backend, monkeypatch):
    monkeypatch.setattr(recorder, "SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="enough"):
        train(tmp_path, backend, log_every=100, checkpoint_every=100, progress=fail_at(3))
    assert models.load_model(tmp_path, backend).state.step == 3


def fail_at(step):
    def progress(report):
        if report.step == step:
            raise RuntimeError("enough")

    return progress


def test_leftovers_of_a_kill_are_taken_away(tmp_path, backend):
    train(tmp_path, backend)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folders_of_run = (tmp_path, tmp_path / "checkpoints")
    left = [folder / f".{name}.{gone.pid}.part" for folder in folders_of_run for name in ("config.toml", "a")]
    alive = tmp_path / f".config.toml.{os.getppid()}.part"
    for path in (*left, alive):
        path.write_text("half")
    train(tmp_path, backend, resume=True)
    assert not any(path.exists() for path in left)
    assert alive.exists()  # another process is writing it


# What is said


def test_the_pace_is_measured_once(tmp_path, backend):
    said = []
    train(tmp_path, backend, replace(TINY, steps=30), paced=said.append)
    ((parameters, seconds, left),) = said
    state = models.load_model(tmp_path, backend).state
    assert parameters == sum(leaf.size for leaf in algorithm.optim.tree_leaves(state.params))
    assert 0 < seconds < 10
    assert left < 30


def test_long_training_says_what_would_be_shorter(monkeypatch):
    from refwfm.cli import train as command

    monkeypatch.setattr(command, "LONG", -1.0)
    out = succeed(*COMMAND, "--steps", 30)
    assert "parameters, batch 4: " in out
    assert "--steps 1 takes" in out
    assert "a smaller --batch (now 4), --width (now 4), --depth (now 1)" in out


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.031, "0.031 s"), (90, "90 s"), (600, "10 min"), (7300, "2 h"), (3e5, "3 days")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_default_data_are_named():
    out = succeed("train", "--steps", 2, "--batch", 4, "--width", 4, "--depth", 1)
    assert "--data was not given: cities is the default" in out
    assert "not given" not in succeed(*COMMAND)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("train", "--resume", "--out", "typo"), ("nothing to resume in typo",)),
        (("train", "--resume", "--out", "typo", "--data", "cities"), ("nothing to resume in typo",)),
        (
            ("train", "--data", "spiral-16", "--out", "taken"),
            ("cannot make the folder taken: taken is a file",),
        ),
        (("train", "--config", "nosuch.toml"), ("error: no such file: nosuch.toml",)),
        (
            ("reproduce", "table-2", "--scale", "smoke", "--data", "cities", "--out", "taken"),
            ("taken is a file",),
        ),
        (("train", "--data", "citys"), ("did you mean cities? refwfm data list lists all",)),
        (("reproduce", "tabel-2"), ("did you mean table-2",)),
    ],
)
def test_messages(tmp_path, command, words):
    (tmp_path / "taken").write_text("a file")
    result = refwfm(*command)
    assert_error(result, *words)
    assert "Errno" not in result.stderr
    assert len(result.stderr) < 700


@pytest.mark.parametrize("command", [("train",), ("generate", "run"), ("reproduce", "table-2"), ("demo",)])
def test_an_empty_folder_s_name_is_refused(tmp_path, command):
    result = refwfm(*command, "--out", "")
    assert result.exit_code == 2
    assert "the path is empty" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_after_training_says_that_the_training_is_saved(tmp_path, monkeypatch):
    write = atomic.write

    def full(path, fill):
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, f"cannot write {path}: No space left on device")
        write(path, fill)

    monkeypatch.setattr(atomic, "write", full)
    result = refwfm(*COMMAND, "--out", "run")
    words = "cannot write run/figures/generated.png: No space left on device; the training is saved"
    assert_error(result, words, "refwfm evaluate run")
    assert models.load_model(tmp_path / "run", load_backend("numpy")).state.step == 6


def test_ctrl_c_after_training_says_that_the_training_is_saved(monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(gaussian_runs, "evaluate_model", stopped)
    result = refwfm(*COMMAND, "--out", "run")
    assert result.exit_code == 130
    assert result.stderr == "stopped; the training is saved: refwfm evaluate run measures it\n"


def test_pictures_are_whole_or_absent(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from refwfm.paper_figures.saving import save_figure

    for name in ("a.png", "a.PDF"):
        save_figure(Figure(), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    for name in ("a.xyz", "a"):
        with pytest.raises(ValueError, match=rf"{name}: the name of a picture must end in \..*png"):
            save_figure(Figure(), tmp_path / name)

    def half(self, file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(OSError, match=r"cannot write .*a\.png: No space left"):
        save_figure(Figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PDF", "a.png"]


# Signals, to processes of their own


def started(*arguments):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    process = subprocess.Popen(
        [sys.executable, "-m", "refwfm", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    return process


INTERRUPTED = """
import atexit, os, signal, sys

number, when = getattr(signal, sys.argv.pop(1)), sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path, target=None):
        if name == when:
            os.kill(os.getpid(), number)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
sys.meta_path.insert(0, Finder())
if when == "exit":
    atexit.register(os.kill, os.getpid(), number)
from refwfm.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["typer", "numpy", "refwfm.generation", "refwfm.datasets", "exit"])
def test_signals_while_modules_are_imported_are_one_line(when, number):
    """The process gets the signal when it looks for the module, however fast the machine is."""
    arguments = [number.name, when, "data", "show", "spiral-16"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")
    assert bool(done.stdout) == (when == "exit")


def test_sigterm_in_training_saves_where_it_stands(tmp_path):
    process = started(*COMMAND, "--steps", 1000000, "--out", "run", "--log-every", 1)
    log, limit = tmp_path / "run" / "log.jsonl", time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < limit:
        time.sleep(0.05)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    step = models.load_model(tmp_path / "run", load_backend("numpy")).state.step
    assert out.splitlines()[-1].startswith(f"stopped; continue from step {step} with: refwfm train --resume")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_runs_and_failing_calls_lose_nothing():
    runs = "5" if THOROUGH else "2"
    done = subprocess.run(
        [sys.executable, "-m", "refwfm.validation.crash", "--runs", runs],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{runs} runs, killed " in done.stdout
    assert "0 went wrong" in done.stdout
    told = re.findall(r"(\w+): EIO (\d+), ENOSPC (\d+), EINTR (\d+), SIGKILL (\d+)\n", done.stdout)
    assert [call for call, *_ in told] == ["mkdir", "open", "write", "fsync", "replace", "unlink"]
    assert sum(int(count) for _, *counts in told for count in counts) == int(runs)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_call_that_is_not_reached_is_no_fault_that_went_well(tmp_path):
    """In a process of its own: what is forked here would be so beside threads that JAX started."""
    program = (
        "import pathlib, sys; from refwfm.validation.crash import faults\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "print(faults._fails('gaussians', folder / 'a', 'fsync', 999, 'EIO'))\n"
        "print(faults._killed_at('gaussians', folder / 'b', 'fsync', 999, 'SIGKILL'))\n"
        "print(faults._fails('gaussians', folder / 'c', 'fsync', 1, 'EIO') or 'well')\n"
        "print(faults._killed_at('gaussians', folder / 'd', 'fsync', 1, 'SIGKILL') or 'well')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == [
        *("the call was not reached", "not killed, but ended with 256", "well", "well"),
    ]


# The cache


def cached(calls):
    from refwfm.storage.cache import cached

    def compute():
        calls.append(1)
        return np.arange(3.0)

    return cached(compute, np.zeros(2), shape=(3,), kind="test")


def test_a_cache_that_cannot_be_read_is_none(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "cache"))
    calls = []
    cached(calls)
    cached(calls)
    assert len(calls) == 1

    def denied(path, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        np.testing.assert_array_equal(cached(calls), np.arange(3.0))
    assert len(calls) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_an_empty_variable_of_the_cache_is_none(tmp_path, monkeypatch):
    from refwfm.storage.cache import cache_folder

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REFWFM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
    assert cache_folder() == tmp_path / ".cache" / "refwfm"
