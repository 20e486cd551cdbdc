"""Memory that runs out is one line, which names what was done and the flag that makes it take less."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm.cli import _memory
from refwfm.training import algorithm, clouds
from refwfm.transport.programme import POT_ALONE

CLOUDS = (
    "--data",
    "fours",
    "--steps",
    2,
    "--batch",
    4,
    "--width",
    8,
    "--depth",
    1,
    "--heads",
    2,
    "--hidden",
    8,
)
CLOUDS += ("--inner", "exact", "--quiet")

LIMITED = textwrap.dedent(
    """
    import resource, sys
    import numpy, scipy.optimize, scipy.sparse
    from refwfm.cli import main
    import refwfm.cli.train, refwfm.cli.runs, refwfm.cli.generate
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]),) * 2)
    sys.argv[1:] = sys.argv[2:]
    main()
    """
)


def limited(room, *arguments, **environment):
    """Run the command in a process that may allocate so many more bytes, and no more."""
    command = [sys.executable, "-c", LIMITED, str(room), *map(str, arguments)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **POT_ALONE,
        **environment,
    }
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def assert_line(result, *words):
    assert result.returncode == 2, result.stderr[-2000:]
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: out of memory")
    for word in words:
        assert word in line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)
    return tmp_path


needs_limits = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits are Linux's")


# Allocations that fail


@needs_limits
def test_of_a_step_it_names_batch_points_and_width(here):
    result = limited(3 * 2**28, "train", *CLOUDS, "--batch", 2000, "--out", "run")
    assert_line(
        result,
        "in a step of training",
        "--batch (now 2000)",
        "--n-points",
        "--width (now 8)",
    )
    # An array, or the stack of a thread that solves plans, whichever comes first.
    assert any(words in result.stderr for words in ("Unable to allocate", "can't start new thread"))
    assert not (here / "run").exists()  # as of any run that fails before its first report


@needs_limits
def test_of_parameters_it_names_the_width(here):
    result = limited(2**28, "train", "--data", "cities", "--width", 30_000, "--out", "run")
    assert_line(result, "preparing", "Unable to allocate", "--width (now 30000)")


@needs_limits
def test_of_an_evaluation_it_names_the_size(here):
    result = limited(3 * 2**28, "evaluate", "niches", "--size", 2_000_000, "--steps", 1, "--seeds", 1)
    assert_line(result, "evaluating", "Unable to allocate", "--size")


@needs_limits
def test_of_pairs_it_names_their_number(here, monkeypatch):
    monkeypatch.setattr("refwfm.cli.gaussian_runs.after_training", lambda *run, **options: None)
    small = ("--steps", 2, "--width", 8, "--depth", 1, "--batch", 4, "--quiet")
    succeed("train", "--data", "niches", *small, "--out", "run")
    result = limited(2**28, "train", "--rectify", "run", "--rectified-pairs", 10**10, "--out", "again")
    assert_line(result, "making the pairs", "--rectified-pairs (now 10000000000)")


@needs_limits
def test_torch_says_it_otherwise(here):
    pytest.importorskip("torch")
    program = LIMITED.replace("import numpy,", "import torch, numpy,")
    command = [sys.executable, "-c", program, str(2**28), "train", *map(str, CLOUDS), "--batch", "1000"]
    command += ["--inner", "rounded", "--backend", "torch:cpu", "--out", "run"]
    environment = {**os.environ, **POT_ALONE}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert_line(result, "in a step of training", "can't allocate memory", "--batch (now 1000)")


# Errors of each library


def error_of(library):
    if library == "torch":
        return pytest.importorskip("torch").OutOfMemoryError(f"CUDA out of memory. {'GPU 0 is small. ' * 40}")
    if library == "jax":
        said = "RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes."
        return pytest.importorskip("jax").errors.JaxRuntimeError(said)
    if library == "cupy":
        return pytest.importorskip("cupy").cuda.memory.OutOfMemoryError(1, 2, 3)
    if library == "cuda":
        return RuntimeError("CUDA error: out of memory")
    return MemoryError("Unable to allocate 3 GiB") if library == "numpy" else MemoryError()


@pytest.mark.parametrize("library", ["numpy", "bare", "cuda", "torch", "jax", "cupy"])
def test_every_library_is_understood(here, monkeypatch, library):
    error = error_of(library)

    def draw(*arguments, **options):
        raise error

    monkeypatch.setattr(clouds, "draw_batch", draw)
    result = refwfm("train", *CLOUDS, "--out", "run")
    assert_error(result, "out of memory in a step of training", "smaller --batch (now 4)", "takes less")
    assert len(result.stderr) < 400
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        ("fours", (*CLOUDS[8:], "--n-points", 30), ("--n-points (now 30)", "--outer-cost")),
        ("cities", (), ("smaller family",)),
    ],
)
def test_of_a_semidiscrete_plan_it_names_its_flags(here, monkeypatch, data, more, words):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("refwfm.training.semidiscrete.fit_semidiscrete", fail)
    result = refwfm("train", "--data", data, *CLOUDS[2:10], "--outer", "semidiscrete", *more, "--out", "run")
    assert_error(result, "fitting the semidiscrete plan", *words)


def test_a_process_that_the_system_ended_is_one_line(here, monkeypatch):
    def killed(task):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("refwfm.paper_figures.experiment.run", killed)
    command = ("reproduce", "table-2", "--scale", "smoke", "--data", "sphere", "--jobs", 2)
    assert_error(refwfm(*command), "out of memory reproducing", "ended a process", "--resume", "--jobs")


def test_another_error_is_none_of_it(here, monkeypatch):
    def step(*arguments, **options):
        raise RuntimeError("shapes disagree")

    monkeypatch.setattr(algorithm, "step", step)
    assert isinstance(refwfm("train", *CLOUDS, "--out", "run").exception, RuntimeError)
    assert not _memory.is_out_of_memory(RuntimeError("shapes disagree"))


def test_after_training_it_says_that_the_run_is_saved(here, monkeypatch):
    def fail(*arguments, **options):
        return np.empty(2**50)

    monkeypatch.setattr("refwfm.cli.gaussian_runs.after_training", fail)
    small = ("--steps", 2, "--width", 8, "--depth", 1, "--batch", 4, "--quiet", "--out", "run")
    assert_error(refwfm("train", "--data", "cities", *small), "out of memory", "the training is saved")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ("reproduce", "table-2", "--scale", "smoke", "--data", "sphere"),
            ("reproducing", "--jobs", "--scale"),
        ),
        (("verify", "--only", "WFM-10"), ("checking", "--jobs")),
    ],
    ids=lambda each: each[0],
)
def test_other_commands_name_their_own_flags(here, monkeypatch, command, words):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("refwfm.paper_figures.processes.in_processes", fail)
    monkeypatch.setattr("refwfm.validation.audit.perform", fail)
    assert_error(refwfm(*command), *words)
