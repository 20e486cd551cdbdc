"""The ``refwfm`` command: what it does and says, and one clear line for everything that goes wrong."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import datasets
from refwfm.backends import INSTALL
from refwfm.backends import load as load_backend
from refwfm.cli import _asked as asked
from refwfm.cli import figures, gaussian_runs, info
from refwfm.cli import generate as generate_command
from refwfm.cli import runs as commands
from refwfm.cli import train as train_command
from refwfm.runs import models
from refwfm.runs.config_file import read_config
from refwfm.storage import atomic, checkpoints
from refwfm.training.config import GaussianConfig

TINY = ("--steps", 6, "--batch", 4, "--width", 4, "--depth", 1, "--log-every", 2)
PNG = b"\x89PNG\r\n\x1a\n"


def saved_config(folder):
    run, train = read_config(folder / "config.toml")
    return {**run, **train}


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="module")
def moons(tmp_path_factory):
    """A run on the two moons, which have labels."""
    folder = tmp_path_factory.mktemp("runs") / "moons"
    succeed("train", *TINY, "--data", "two-moons", "--out", folder)
    return folder


def save(path, clouds, **options):
    return datasets.save_family(path, datasets.gaussians_from_clouds(clouds, **options))


def clouds(n=8, d=2, k=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, k, d)) + rng.standard_normal((n, 1, d))


# train


def test_train_says_what_it_does_and_leaves_a_run(tmp_path):
    out = succeed("train", *TINY, "--data", "spiral-16", "--seed", 3)
    folder = tmp_path / "runs" / "spiral-16-riemannian"
    assert "riemannian on spiral-16: 16 Gaussians in 2-D, numpy" in out
    assert "step 6/6  loss" in out
    assert "min W2² to the data: " in out
    assert (folder / "figures" / "generated.png").read_bytes().startswith(PNG)
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [2, 4, 6]
    assert saved_config(folder)["seed"] == 3


@pytest.mark.usefixtures("undrawn")
def test_flags_go_before_the_configuration_file_and_that_before_the_defaults(tmp_path):
    (tmp_path / "a.toml").write_text(
        "[run]\ndata = 'spiral-16'\nout = 'here'\nlog_every = 3\n"
        "[train]\nmethod = 'frobenius'\nsteps = 6\nbatch = 4\nwidth = 4\ndepth = 1\nmatching = true\n"
    )
    succeed("train", "--config", "a.toml", "--width", 5, "--no-matching")
    config = saved_config(tmp_path / "here")
    assert (config["data"], config["method"], config["log_every"]) == ("spiral-16", "frobenius", 3)
    assert (config["width"], config["matching"]) == (5, False)
    assert (config["clip_norm"], config["dtype"]) == (GaussianConfig.clip_norm, "float32")


@pytest.mark.usefixtures("undrawn")
def test_a_run_s_own_configuration_starts_the_same_run_elsewhere(tmp_path, moons):
    succeed("train", "--config", moons / "config.toml", "--out", "again")
    ours, theirs = (checkpoints.load(models.newest_checkpoint(f))[0] for f in (tmp_path / "again", moons))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("out", [(), ("--out", "a run")])
def test_resume_takes_the_configuration_from_the_run(tmp_path, out):
    arguments = ("--data", "spiral-16", "--method", "euclidean")
    succeed("train", *TINY, *arguments, *out)
    folder = tmp_path / (out[1] if out else "runs/spiral-16-euclidean")
    succeed("train", "--resume", "--steps", 8, *(out or arguments))
    assert models.load_model(folder, load_backend("numpy")).state.step == 8
    assert saved_config(folder)["width"] == 4
    assert_error(refwfm("train", "--resume", "--seed", 1, *(out or arguments)), "seed = 0 (now 1)")
    assert_error(refwfm("train", *TINY, *arguments, *out), "holds a run already", "--resume", "--out")


@pytest.mark.usefixtures("undrawn")
def test_quiet_prints_the_first_and_the_last_step_only():
    out = succeed("train", *TINY, "--data", "spiral-16", "--quiet")
    assert out.count(": step ") == 2
    assert "step 2/6" in out
    assert "step 6/6" in out


@pytest.mark.usefixtures("undrawn")
def test_twins_change_nothing_but_rounding(tmp_path):
    for name, flags in (("twins", ()), ("reference", ("--reference",))):
        succeed("train", *TINY, "--data", "spiral-16", "--dtype", "float64", "--out", name, *flags)
    (twins, _), (reference, _) = (
        checkpoints.load(models.newest_checkpoint(tmp_path / name)) for name in ("twins", "reference")
    )
    assert saved_config(tmp_path / "reference")["reference"]
    for name, array in reference.items():
        np.testing.assert_allclose(twins[name], array, rtol=1e-6, atol=1e-9)


def test_gaussians_on_a_line_are_trained_on_and_evaluated_without_a_picture(tmp_path):
    save(tmp_path / "line.npz", clouds(d=1))
    for method in ("riemannian", "euclidean", "frobenius"):
        out = succeed("train", *TINY, "--data", "line.npz", "--out", method, "--method", method)
        assert "in 1-D" in out
        assert "no picture: it needs at least two coordinates" in out
        numbers = json.loads(succeed("evaluate", method, "--size", 8, "--json"))
        assert np.all(np.isfinite(numbers["min_w2_sq"]))
    assert_error(refwfm("generate", "riemannian", "--figure", "a.png"), "picture", "1-D")
    assert "8 Gaussians in 1-D" in succeed("generate", "riemannian", "--size", 8)


@pytest.mark.parametrize("members", [[[[0, 0], [1, 0], [0, 2]]], [[[0, 0], [1, 0]], [[3, 1], [3, 2]]]])
def test_one_member_and_singular_members_can_be_trained_on(tmp_path, members):
    save(tmp_path / "few.npz", members)
    out = succeed("train", *TINY, "--data", "few.npz", "--batch", 1)
    assert "wrote runs/few-riemannian/figures/generated.png" in out


def test_cells_to_gaussians_to_model_from_a_file_with_spaces_in_its_name(tmp_path, monkeypatch):
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    cells = anndata.AnnData(rng.uniform(size=(40, 6)).astype(np.float32))
    cells.obsm["spatial"] = rng.uniform(size=(40, 2))
    cells.obs["kind"] = np.tile(["x y", "ü"], 20)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    folder = tmp_path / "my data ü"
    folder.mkdir()
    family = folder / "my cells.npz"
    succeed(
        *("data", "gaussians", "cells.h5ad", "--k", 8, "--pcs", 3, "--label", "kind"),
        *("--out", family.relative_to(tmp_path)),
    )
    succeed("train", *TINY, "--data", family.relative_to(tmp_path), "--out", "a run")
    monkeypatch.chdir(folder)
    numbers = json.loads(succeed("evaluate", tmp_path / "a run", "--size", 8, "--json"))
    assert 0 <= numbers["label_accuracy"][0] <= 1
    succeed("generate", tmp_path / "a run", "--label", "ü", "--size", 5, "--out", "new cells.npz")
    made = datasets.load("new cells.npz")
    assert [made.label_names[i] for i in made.labels] == ["ü"] * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "bures"), ("method must be one of riemannian", "'bures'")),
        (("--backend", "jaxx"), ("unknown backend 'jaxx'", "numpy, torch, cupy, jax")),
        (("--backend", "numpy:gpu"), ("'gpu'",)),
        (("--dtype", "float16"), ("dtype must be one of float32, float64", "got 'float16'")),
        (("--data", "citys"), ("unknown family 'citys'", "cities")),
        (("--data", "none.npz"), ("no such file", "none.npz")),
        (("--steps", 0), ("steps must be at least 1; got 0",)),
        (("--width", 0), ("width must be at least 1; got 0",)),
        (("--batch", 0), ("batch must be at least 1; got 0",)),
        (("--seed", -1), ("seed", "-1")),
        (("--df", 1), ("df", "at least d = 2", "got 1")),
        (("--ema", 1), ("ema must be finite, not negative and less than 1; got 1",)),
        (("--config", "none.toml"), ("none.toml",)),
        (("--config", "."), ("directory",)),
        (("--out", "taken"), ("taken",)),
        (("--learning-rate", 1e30, "--steps", 60), ("the loss became", "(seed 0)", "last good checkpoint: ")),
    ],
)
def test_train_refuses_in_one_line(tmp_path, arguments, words):
    (tmp_path / "taken").write_text("a file")
    arguments = ("--data", "spiral-16", *TINY, *arguments)
    assert_error(refwfm("train", *arguments), *words)


def test_data_that_is_none_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "other.npz", a=1)
    (tmp_path / "folder.npz").mkdir()
    save(tmp_path / "good.npz", clouds())
    good = dict(np.load(tmp_path / "good.npz"))
    np.savez(tmp_path / "nan.npz", **{**good, "mean": good["mean"] * np.nan})
    np.savez(tmp_path / "indefinite.npz", **{**good, "cov": -good["cov"]})
    np.savez(tmp_path / "none.npz", **{**good, "mean": good["mean"][:0], "cov": good["cov"][:0]})
    for name, word in (
        ("empty", "truncated"),
        ("other", "it lacks format"),
        ("folder", "no such file"),
        ("nan", "mean"),
        ("indefinite", "positive semi-definite"),
        ("none", "empty"),
    ):
        assert_error(refwfm("train", *TINY, "--data", f"{name}.npz"), f"{name}.npz", word)
    assert not (tmp_path / "runs").exists()


def test_no_memory_is_one_line(monkeypatch):
    monkeypatch.setattr(models, "init_state", lambda *_: np.empty(2**58))
    assert_error(refwfm("train", *TINY), "Unable to allocate")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(*_, **__):
        raise AssertionError("a bug")

    monkeypatch.setattr(asked, "load", broken)
    assert isinstance(refwfm("train", *TINY).exception, AssertionError)


# generate


def test_generate_writes_a_family_that_can_be_loaded(moons, tmp_path):
    out = succeed("generate", moons, "--size", 20, "--steps", 4, "--figure", "a.png")
    family = datasets.load("generated.npz")
    assert len(family) == 20
    assert family.label_names == ("upper", "lower")
    assert "riemannian model of two-moons after 6 steps, seed 0, 4 steps of generation" in family.about
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert "wrote generated.npz: 20 Gaussians in 2-D" in out
    assert "generated" in succeed("data", "show", "generated.npz")


def test_generate_depends_on_its_seed_and_on_nothing_else(moons):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        succeed("generate", moons, "--size", 1, "--seed", seed, "--out", f"{name}.npz")
    a, b, c = (datasets.load(f"{name}.npz").gaussians for name in "abc")
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.cov, b.cov)
    assert not np.any(a.mean == c.mean)


def test_generate_one_class_only(moons):
    succeed("generate", moons, "--size", 9, "--label", "lower")
    assert set(datasets.load("generated.npz").labels) == {1}
    assert_error(refwfm("generate", moons, "--label", "left", "--force"), "(upper, lower); got 'left'")


def test_generate_replaces_a_file_only_when_told(moons, tmp_path):
    (tmp_path / "generated.npz").write_text("precious")
    assert_error(refwfm("generate", moons), "generated.npz exists", "--force")
    assert (tmp_path / "generated.npz").read_text() == "precious"
    succeed("generate", moons, "--size", 3, "--force")
    assert len(datasets.load("generated.npz")) == 3


def test_generate_from_a_model_without_labels(tmp_path):
    succeed("train", *TINY, "--data", "two-moons", "--no-conditional", "--out", "plain")
    succeed("generate", "plain", "--size", 3)
    assert datasets.load("generated.npz").labels is None
    assert_error(refwfm("generate", "plain", "--label", "upper", "--force"), "none: it is unconditional")


# evaluate


def test_evaluate_prints_a_table_and_json_has_the_same_numbers(moons):
    arguments = ("evaluate", moons, "--size", 16, "--steps", 3, "--seeds", 2)
    numbers = json.loads(succeed(*arguments, "--json"))
    for key in ("min_w2_sq", "bures_part", "source_min_w2_sq", "repaired", "label_accuracy"):
        assert len(numbers[key]) == 2
        assert np.all(np.isfinite(numbers[key]))
    assert all(a > b > 0 for a, b in zip(numbers["min_w2_sq"], numbers["bures_part"], strict=True))
    about = {"data": "two-moons", "size": 16, "steps": 3, "seeds": 2, "run": str(moons)}
    assert about.items() <= numbers.items()
    table = succeed(*arguments)
    assert "riemannian on two-moons, step 6" in table
    mean, spread = np.mean(numbers["min_w2_sq"]), np.std(numbers["min_w2_sq"], ddof=1)
    assert f"{mean:.3g} ± {spread:.2g}" in table


def test_evaluate_takes_a_checkpoint_and_other_data(moons):
    path = models.newest_checkpoint(moons)
    assert json.loads(succeed("evaluate", path, "--size", 4, "--json"))["data"] == "two-moons"
    numbers = json.loads(succeed("evaluate", path, "--data", "spiral-16", "--size", 4, "--json"))
    assert numbers["data"] == "spiral-16"
    assert "label_accuracy" not in numbers  # that family has none
    assert_error(refwfm("evaluate", path, "--data", "sphere"), "in 2-D", "sphere is 3-D")


def test_evaluate_wants_the_very_data_of_the_run(tmp_path):
    save(tmp_path / "a.npz", clouds(), name="cities")
    succeed("train", *TINY, "--data", "a.npz", "--out", "a")
    assert json.loads(succeed("evaluate", "a", "--size", 4, "--json"))["data"] == "cities"
    save(tmp_path / "a.npz", clouds(n=7), name="cities")
    assert_error(refwfm("evaluate", "a"), "a.npz is not what the run was trained on", "--data")
    succeed("evaluate", "a", "--size", 4, "--data", "a.npz")
    (tmp_path / "a.npz").unlink()
    assert_error(refwfm("evaluate", "a"), "cannot be loaded", "--data", "no such file")


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_a_model_that_cannot_be_read_is_one_line(command, moons, tmp_path):
    (tmp_path / "empty").mkdir()
    whole = models.newest_checkpoint(moons).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    checkpoints.save(tmp_path / "other.safetensors", {"a": np.zeros(3)}, {})
    arrays, about = checkpoints.load(models.newest_checkpoint(moons))
    checkpoints.save(tmp_path / "newer.safetensors", arrays, {**about, "version": checkpoints.VERSION + 1})
    for name, word in (
        ("nothing", "no checkpoint at nothing"),
        ("empty", "no checkpoint in empty"),
        ("cut.safetensors", "truncated"),
        ("foreign.safetensors", "not a checkpoint of refwfm"),
        ("other.safetensors", "not of a model"),
        ("newer.safetensors", "written by a newer refwfm"),
    ):
        assert_error(refwfm(command, name), word)
    assert (tmp_path / "cut.safetensors").read_bytes() == whole[:-100]


# Backends


def commands_with_a_backend(run):
    return (
        ("train", *TINY),
        ("generate", run),
        ("evaluate", run),
        ("demo", "--scale", "smoke"),
        ("reproduce", "figure-2", "--scale", "smoke"),
    )


@pytest.mark.parametrize("which", range(5))
def test_a_library_that_is_not_installed_is_one_line_that_says_what_to_install(which, moons, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "refwfm.backends._cupy", raising=False)
    command = commands_with_a_backend(moons)[which]
    for result in (refwfm(*command, "--backend", "cupy"), refwfm(*command, REFWFM_BACKEND="cupy")):
        assert_error(result, "backend 'cupy' is not installed", 'pip install "refwfm[cupy12]"')


def test_the_option_goes_before_the_environment(tmp_path):
    succeed("train", *TINY, "--out", "a", REFWFM_BACKEND="strict")
    succeed("train", *TINY, "--out", "b", "--backend", "numpy", REFWFM_BACKEND="nonsense")
    assert saved_config(tmp_path / "a")["backend"] == "strict"
    assert saved_config(tmp_path / "b")["backend"] == "numpy"
    assert_error(refwfm("train", *TINY, "--out", "c", REFWFM_BACKEND="nonsense"), "'nonsense'")


def test_info_lists_versions_and_every_backend(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "refwfm.backends._cupy", raising=False)
    out = succeed("info")
    for name in INSTALL:
        assert f"backend {name} " in out
    assert f"{np.__version__} on cpu" in out
    assert "refwfm[cupy12]" in out.replace("\n", "")


# Every command


def test_help_of_every_command():
    for command in ("train", "generate", "evaluate", "reproduce", "demo", "info", "bench", "data"):
        assert command in succeed("--help", COLUMNS="100")
        assert "--help" in succeed(command, "--help", COLUMNS="100")


def test_what_is_no_command_or_no_option_is_refused():
    for arguments in (("trian",), ("train", "--stpes", 3), ("train", "--steps", "x"), ("generate",)):
        result = refwfm(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def raising(error):
    def function(*_, **__):
        raise error

    return function


PLACES = [
    (train_command, "load_backend", ("train",)),
    (gaussian_runs, "evaluate_model", ("train", *TINY)),
    (generate_command, "load_backend", ("generate", "run")),
    (commands, "load_backend", ("evaluate", "run")),
    (figures, "_need_matplotlib", ("demo",)),
    (figures, "_need_matplotlib", ("reproduce", "table-2")),
    (info, "import_module", ("bench", "bures")),
]


@pytest.mark.parametrize(("module", "name", "command"), PLACES)
def test_ctrl_c_anywhere_is_one_line_and_exit_code_130(module, name, command, monkeypatch):
    monkeypatch.setattr(module, name, raising(KeyboardInterrupt()))
    result = refwfm(*command)
    assert result.exit_code == 130
    assert result.stderr.startswith("stopped")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("module", "name", "command"), PLACES)
def test_a_full_disk_is_one_line(module, name, command, monkeypatch):
    monkeypatch.setattr(module, name, raising(OSError(errno.ENOSPC, "No space left on device")))
    assert_error(refwfm(*command), "No space left on device")


def test_a_full_disk_in_training_says_where_and_what_is_left(monkeypatch, tmp_path):
    full, save = raising(OSError(errno.ENOSPC, "No space left on device")), atomic.write
    monkeypatch.setattr(
        atomic, "write", lambda path, fill: (full if path.stem == "00000006" else save)(path, fill)
    )
    result = refwfm("train", *TINY, "--out", "here")
    assert_error(result, "here stopped at step 6: No space left on device", "of step 0")


def command_line(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "refwfm", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_a_process_of_its_own_says_the_same(moons):
    done = command_line("evaluate", moons, "--size", 8, "--json", NO_COLOR="1")
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout) == json.loads(succeed("evaluate", moons, "--size", 8, "--json"))
    failed = command_line("generate", "nothing", COLUMNS="20")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "error: no checkpoint at nothing\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_closed_pipe_ends_quietly():
    script = (
        f'"{sys.executable}" -m refwfm train {" ".join(map(str, TINY))} --log-every 1 --steps 200 | head -1'
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("riemannian on cities")
    assert done.stderr == ""
