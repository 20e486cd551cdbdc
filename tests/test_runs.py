"""A run on disk: what its folder holds, resuming after any kind of end, refusals, models read elsewhere."""

import contextlib
import errno
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from thirds import THOROUGH

from refwfm import datasets
from refwfm.backends import load as load_backend
from refwfm.measures import Gaussian
from refwfm.runs import folders, models
from refwfm.runs.config_file import read_config
from refwfm.storage import checkpoints
from refwfm.training import algorithm
from refwfm.training.algorithm import trained
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.gaussians import sample

TINY = GaussianConfig(steps=6, batch=4, width=4, depth=1, n_frequencies=2, label_dim=2)
RUN = {"data": "blobs", "dtype": "float32"}
COMMAND = ["train", "--data", "cities", "--quiet", "--batch", "4", "--width", "4", "--depth", "1"]
COMMAND += ["--log-every", "1", "--checkpoint-every", "1"]

DIES_AT_FILE_EVENTS = """
import contextlib, os, signal, sys
from pathlib import Path

from refwfm.backends import load
from refwfm.cli import main
from refwfm.runs import models

whole, folder, events, *command = sys.argv[1:]

def run(*more):
    sys.argv[1:] = [*command, *more]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code

def hook(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove") and folder in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

run("--out", whole)
for left in map(int, events.split()):
    resume = ["--resume"] if Path(folder, "config.toml").exists() else []
    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        run("--out", folder, *resume)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, left
    with contextlib.suppress(FileNotFoundError):
        models.load_model(folder, load("numpy"))  # whatever is there is whole
"""
"""The ``refwfm`` command, run to its end in one folder, and in another killed before the n-th time that it
touches a file there, and resumed, for each n. All that is imported once."""


@pytest.fixture
def backend():
    return load_backend("numpy", dtype="float32")


def blobs(n=12, d=2, seed=0):
    rng = np.random.default_rng(seed)
    clouds = rng.standard_normal((n, 5, d)) + rng.standard_normal((n, 1, d))
    family = datasets.gaussians_from_clouds(clouds, name="blobs")
    labels = np.arange(n) % 2
    return replace(family, labels=labels, label_names=("even", "odd"))


def train(folder, backend, config=TINY, data=None, **options):
    options = {"run": RUN, "log_every": 1, "checkpoint_every": 2, **options}
    return folders.train(config, blobs() if data is None else data, backend, folder, **options)


def start(*arguments):
    """A process of its own, on one thread: the number of threads can change the last bit of a product."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def resume(folder):
    return ["--resume"] if (folder / "config.toml").exists() else []


def steps_logged(folder):
    with contextlib.suppress(FileNotFoundError):
        return (folder / "log.jsonl").read_bytes().count(b"\n")
    return 0


def wait_for_step(folder, step, process):
    limit = time.monotonic() + 60
    while steps_logged(folder) < step:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < limit
        time.sleep(0.002)


def log(folder):
    """The log's entries without the one number that is a time."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: entry[key] for key in entry if key != "steps_per_s"} for entry in entries]


def assert_same_end(folder, other):
    """The newest checkpoints are equal in every bit of every array (Adam's and EMA's too), and the logs."""
    path, other_path = models.newest_checkpoint(folder), models.newest_checkpoint(other)
    assert path.name == other_path.name
    (arrays, about), (other_arrays, other_about) = checkpoints.load(path), checkpoints.load(other_path)
    assert about == other_about
    assert arrays.keys() == other_arrays.keys()
    assert {name.partition("/")[0] for name in arrays} == {"params", "adam", "ema", "setting"}
    for name, array in arrays.items():
        assert array.tobytes() == other_arrays[name].tobytes(), name
    assert log(folder) == log(other)


# What a folder holds


def test_folder_holds_configuration_log_and_the_last_two_checkpoints(tmp_path, backend):
    seen = []
    model = train(tmp_path, backend, progress=seen.append)
    run, asked = read_config(tmp_path / "config.toml")
    assert run == RUN
    assert GaussianConfig(**asked) == TINY
    assert [entry["step"] for entry in log(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert [report.step for report in seen] == [1, 2, 3, 4, 5, 6]
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["00000004.safetensors", "00000006.safetensors"]
    assert model.state.step == 6


def test_log_has_means_over_the_steps_since_its_last_line(tmp_path, backend):
    train(tmp_path / "each", backend)
    train(tmp_path / "threes", backend, log_every=3)
    each, threes = log(tmp_path / "each"), log(tmp_path / "threes")
    for i, line in enumerate(threes):
        for key in ("loss", "grad_norm"):
            assert line[key] == pytest.approx(np.mean([e[key] for e in each[3 * i : 3 * i + 3]]))


def test_a_model_saved_and_loaded_is_the_same(tmp_path, backend):
    model = train(tmp_path, backend)
    again = models.load_model(tmp_path, backend)
    assert again.config == model.config
    assert again.about == model.about
    got, want = (
        sample(m.config, m.setting, trained(m.state), size=5, n_steps=3, seed=1) for m in (again, model)
    )
    for a, b in zip(got[0].gaussian, want[0].gaussian, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(got[1], want[1])


@pytest.mark.parametrize("conditional", [True, False])
def test_saved_on_numpy_a_model_generates_the_same_on_torch(tmp_path, conditional):
    pytest.importorskip("torch")
    places = [load_backend(name, dtype="float64") for name in ("numpy", "torch:cpu")]
    train(tmp_path, places[0], replace(TINY, conditional=conditional))
    generated = []
    for place in places:
        model = models.load_model(tmp_path, place)
        result, _ = sample(model.config, model.setting, trained(model.state), size=8, n_steps=5, seed=3)
        generated.append(models.host_gaussian(result.gaussian, place))
    for a, b in zip(*generated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(a).max())


# Killed and resumed


def test_killed_before_any_file_event_and_resumed_a_run_ends_with_the_very_same_numbers(tmp_path):
    command, whole, folder = [*COMMAND, "--steps", "14"], tmp_path / "whole", tmp_path / "killed"
    events = "4 6 9 10 13 14 15 16 17 18 19 20" if THOROUGH else "4 9 14 17 20"
    code, _, err = finish(start("-c", DIES_AT_FILE_EVENTS, whole, folder, events, *command))
    assert code == 0, err
    assert steps_logged(folder) < 14  # else the last kills came after the end
    code, _, err = finish(start("-m", "refwfm", *command, "--resume", "--out", folder))
    assert code == 0, err
    assert_same_end(folder, whole)
    assert not list(folder.rglob("*.part"))


def test_killed_at_random_moments_and_resumed_a_run_ends_with_the_very_same_numbers(tmp_path):
    command = [*COMMAND, "--steps", "160"]
    code, _, err = finish(start("-m", "refwfm", *command, "--out", tmp_path / "whole"))
    assert code == 0, err
    folder, moments = tmp_path / "killed", random.Random(0)
    for step in (1, 30, 60, 90) if THOROUGH else (1, 60):
        process = start("-m", "refwfm", *command, *resume(folder), "--out", folder)
        wait_for_step(folder, step, process)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
    code, _, err = finish(start("-m", "refwfm", *command, "--resume", "--out", folder))
    assert code == 0, err
    assert_same_end(folder, tmp_path / "whole")
    assert not list(folder.rglob("*.part"))


def test_ctrl_c_says_one_line_and_the_run_can_be_resumed(tmp_path):
    folder = tmp_path / "a run"
    # A shell's background job ignores Ctrl-C, and its children would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start("-m", "refwfm", *COMMAND, "--steps", "1000000", "--out", folder)
    signal.signal(signal.SIGINT, before)
    wait_for_step(folder, 5, process)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    assert err == ""
    said, _, command = out.splitlines()[-1].partition(": refwfm ")
    done = models.load_model(folder, load_backend("numpy")).state.step
    assert said == f"stopped; continue from step {done} with"
    assert log(folder)[-1]["step"] == done  # nothing was lost
    code, out, err = finish(start("-m", "refwfm", *shlex.split(command), "--steps", done + 3))
    assert code == 0, err
    assert models.load_model(folder, load_backend("numpy")).state.step == done + 3


def stop_after(step):
    def progress(report):
        if report.step == step:
            raise KeyboardInterrupt

    return progress


def stopped(folder, backend, step=5, **options):
    with pytest.raises(KeyboardInterrupt):
        train(folder, backend, progress=stop_after(step), **options)


def test_resuming_cuts_the_log_to_the_checkpoint_and_drops_a_half_written_line(tmp_path, backend):
    train(tmp_path / "whole", backend)
    folder = tmp_path / "stopped"
    stopped(folder, backend)  # the checkpoint is of step 4, the log has step 5
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    train(folder, backend, resume=True)
    assert_same_end(folder, tmp_path / "whole")


def test_stopped_before_the_first_checkpoint_a_run_starts_again(tmp_path, backend):
    train(tmp_path / "whole", backend)
    stopped(tmp_path / "stopped", backend, step=1)
    train(tmp_path / "stopped", backend, resume=True)
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")


def test_there_must_be_something_to_resume(tmp_path, backend):
    with pytest.raises(folders.RunError, match=r"nothing to resume in .*typo: it holds no run"):
        train(tmp_path / "typo", backend, resume=True)
    assert not (tmp_path / "typo").exists()
    train(tmp_path, backend)
    for path in models.checkpoints_in(tmp_path):
        path.unlink()
    with pytest.raises(folders.RunError, match=r"nothing to resume in .*: its checkpoints are gone"):
        train(tmp_path, backend, resume=True)


def test_checkpoints_without_their_configuration_are_not_trained_over(tmp_path, backend):
    train(tmp_path, backend)
    (tmp_path / "config.toml").unlink()
    with pytest.raises(folders.RunError, match=r"holds checkpoints of a run without its config\.toml"):
        train(tmp_path, backend)


def test_a_run_can_be_extended(tmp_path, backend):
    longer = replace(TINY, steps=10)
    train(tmp_path / "whole", backend, longer)
    train(tmp_path / "extended", backend)
    train(tmp_path / "extended", backend, longer, resume=True)
    assert_same_end(tmp_path / "extended", tmp_path / "whole")
    assert read_config(tmp_path / "extended" / "config.toml")[1]["steps"] == 10


def test_resuming_a_finished_run_changes_nothing(tmp_path, backend):
    train(tmp_path, backend)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train(tmp_path, backend, resume=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


# Refused


def test_a_folder_with_a_run_is_refused_without_resume(tmp_path, backend):
    train(tmp_path, backend)
    with pytest.raises(folders.RunError, match="holds a run already; continue it with resume=True"):
        train(tmp_path, backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 5}, r"width = 4 \(now 5\)"),
        ({"method": "frobenius"}, r"method = riemannian \(now frobenius\)"),
        ({"df": 7, "seed": 1}, r"seed = 0 \(now 1\), df = None \(now 7\)"),
        ({"steps": 5}, "has done 6 steps, more than the 5 asked"),
    ],
)
def test_resuming_with_another_configuration_is_refused_by_name(tmp_path, backend, change, message):
    train(tmp_path, backend)
    config = (tmp_path / "config.toml").read_text()
    with pytest.raises(folders.RunError, match=message):
        train(tmp_path, backend, replace(TINY, **change), resume=True)
    assert (tmp_path / "config.toml").read_text() == config
    assert len(log(tmp_path)) == TINY.steps


def test_resuming_in_another_dtype_is_refused(tmp_path, backend):
    train(tmp_path, backend)
    with pytest.raises(folders.RunError, match=r"dtype = float32 \(now float64\)"):
        train(tmp_path, load_backend("numpy", dtype="float64"), resume=True)


@pytest.mark.parametrize("other", ["numbers", "labels"])
def test_resuming_on_other_data_is_refused(tmp_path, backend, other):
    train(tmp_path, backend)
    data = blobs(seed=1) if other == "numbers" else replace(blobs(), labels=np.zeros(12, dtype=np.int64))
    with pytest.raises(folders.RunError, match=r"was trained on other data \(blobs\)"):
        train(tmp_path, backend, data=data, resume=True)


def test_a_second_process_is_kept_out_of_the_folder(tmp_path, backend):
    pytest.importorskip("fcntl")

    def intrude(report):
        with pytest.raises(folders.RunError, match="another process is training in"):
            train(tmp_path, backend, resume=True)

    train(tmp_path, backend, progress=intrude)
    assert train(tmp_path, backend, resume=True).state.step == TINY.steps


# The disk, and numbers gone wrong


def test_a_folder_that_cannot_be_made_is_an_oserror(tmp_path, backend):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(tmp_path / "file" / "run", backend)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_oserror(tmp_path, backend):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        train(tmp_path / "run", backend)


def test_a_full_disk_names_the_folder_and_keeps_the_last_checkpoint(tmp_path, backend, monkeypatch):
    train(tmp_path / "whole", backend)
    folder, fsync, calls = tmp_path / "run", os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 6:  # the configuration and a checkpoint have two: of the file and of its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = r"run stopped at step 4: .*: No space left on device; the last checkpoint is of step 2"
        with pytest.raises(OSError, match=message):
            train(folder, backend)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["00000000.safetensors", "00000002.safetensors"]
    train(folder, backend, resume=True)
    assert_same_end(folder, tmp_path / "whole")


def test_a_loss_that_is_not_finite_names_step_seed_and_last_checkpoint(tmp_path, backend):
    calls = []

    def poisoned(*arguments, **options):
        calls.append(1)
        loss, gradient = backend.ops.gaussian_loss_and_grad(*arguments, **options)
        return (loss * float("nan") if len(calls) == 4 else loss), gradient

    broken = backend._replace(ops=backend.ops._replace(gaussian_loss_and_grad=poisoned))
    with pytest.raises(algorithm.NonFiniteLossError) as caught:
        train(tmp_path, broken, replace(TINY, seed=5))
    good = tmp_path / "checkpoints" / "00000002.safetensors"
    assert "nan at step 3 (seed 5)" in str(caught.value)
    assert f"last good checkpoint: {good}" in str(caught.value)
    assert [entry["step"] for entry in log(tmp_path)] == [1, 2, 3]
    assert models.newest_checkpoint(tmp_path) == good


def test_a_huge_learning_rate_stops_the_run(tmp_path, backend):
    with pytest.raises(algorithm.NonFiniteLossError, match=r"at step \d+ \(seed 0\).*last good checkpoint"):
        train(tmp_path, backend, replace(TINY, learning_rate=1e30, steps=50), checkpoint_every=100)


# Reading


def test_reading_a_model_that_is_none(tmp_path, backend):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        models.load_model(tmp_path, backend)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        models.load_model(tmp_path / "nothing", backend)
    path = tmp_path / "other.safetensors"
    checkpoints.save(path, {"a": np.zeros(3)}, {"config": {}})
    with pytest.raises(checkpoints.CheckpointError, match=r"not of a model .* \('setting'\)"):
        models.load_model(path, backend)


def test_reading_clouds_without_their_shift(tmp_path, backend):
    """A checkpoint of clouds whose shift is among the arrays, in the run's dtype, and not a number."""
    family = datasets.clouds_from_arrays([np.asarray([[0.0, 1.0], [2.0, 4.0], [5.0, 3.0]])] * 3, name="a")
    model, _ = models.prepare(CloudConfig(batch=2, width=8, depth=1, heads=2), family, backend)
    path = tmp_path / "model.safetensors"
    models.save_model(path, model, backend)
    np.testing.assert_array_equal(models.load_model(path, backend).setting.shift, model.setting.shift)
    arrays, about = checkpoints.load(path)
    shift = np.asarray(about.pop("shift"), dtype=np.float32)
    checkpoints.save(path, arrays | {"setting/shift": shift}, about)
    with pytest.raises(checkpoints.CheckpointError, match=r"not of a model .* \('shift'\)"):
        models.load_model(path, backend)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 3", r"unknown table 'steps'; expected \[run\] and \[train\]"),
        ("[trian]", "unknown table 'trian'"),
        ("[run]\ncolour = 1", r"unknown name 'colour' in \[run\]; refwfm train --help lists all"),
        ("[train]\nwidht = 1", r"unknown name 'widht' in \[train\]; did you mean width\?"),
        ("[run]\ndata = 3", "data must be of type str; got 3"),
        ("[run]\nreference = 'yes'", "reference must be of type bool; got 'yes'"),
        ("[run]\nlog_every = 0", "log_every must be at least 1; got 0"),
        ("[run]\ncheckpoint_every = true", "checkpoint_every must be of type int; got True"),
        ("[run", "is no TOML file"),
        (b"\xff\xfe", "is no TOML file"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_config(path)


def test_the_fingerprint_is_of_numbers_and_labels():
    data = blobs()
    assert models.fingerprint(TINY, data) == models.fingerprint(
        TINY, replace(data, name="other", about="other")
    )
    changed = data.gaussians.mean.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    others = [
        replace(data, gaussians=Gaussian(changed, data.gaussians.cov)),
        replace(data, labels=None, label_names=()),
    ]
    assert models.fingerprint(TINY, data) not in [models.fingerprint(TINY, other) for other in others]
