"""The proof for devices, with devices that stand for GPUs: parts, limits, failures, record and verdict."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from thirds import THOROUGH

from refwfm.backends import load
from refwfm.validation.gpu import __main__ as command
from refwfm.validation.gpu import parts, proof, training

TESTS = Path(__file__).parent

pytest.importorskip("array_api_strict")


# Which parts, and for how long


def test_quick_kinds_come_first_on_every_device_and_what_is_timed_runs_alone():
    named = [
        [f"{part.kind} {part.device}" for part in stage]
        for stage in proof.stages(["a", "b"], [*parts.KINDS], 2)
    ]
    assert named[:4] == [["doctor a", "doctor b"], ["train a", "train b"], ["bench a"], ["bench b"]]
    assert [len(stage) for stage in proof.stages(["a", "b"], ["doctor", "tests"])] == [1] * 4
    assert {*proof.WEIGHTS} == {*parts.KINDS}


def test_what_a_stage_leaves_goes_to_the_others():
    waiting = proof.stages(["a"], [*parts.KINDS])
    total = sum(proof.WEIGHTS.values())
    assert proof.limits(waiting, 100.0) == pytest.approx(100.0 * proof.WEIGHTS["doctor"] / total)
    assert proof.limits(waiting[-1:], 90.0) == 90.0
    jax = proof.stages(["jax:cuda", "a"], ["verify"])
    assert proof.limits(jax, 90.0) == pytest.approx(60.0)  # it compiles


# Parts that fail


def test_a_device_that_is_not_there_is_a_part_that_failed(tmp_path, monkeypatch):
    part = proof.Part("doctor", "numpy:cuda")
    record = proof.perform(part, size="smoke", limit=60.0, folder=tmp_path, tests=TESTS)
    assert record["outcome"] == "failed"
    assert "backend 'numpy' has no device 'cuda'" in record["words"]


def test_a_part_that_takes_too_long_is_ended_with_its_children(tmp_path, monkeypatch):
    lines = [
        "import subprocess, sys, time",
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(600)'])",
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))",
        "time.sleep(600)",
    ]
    popen = subprocess.Popen

    def stuck(arguments, **options):
        return popen([sys.executable, "-c", "\n".join(lines)], **options)

    monkeypatch.setattr(proof.subprocess, "Popen", stuck)
    part = proof.Part("doctor", "numpy")
    record = proof.perform(part, size="smoke", limit=3.0, folder=tmp_path, tests=TESTS)
    assert (record["outcome"], record["words"]) == ("timed out", "not done in 3 s")
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z (" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child lives on")


def scripted(monkeypatch, outcomes):
    """Parts with these outcomes, in turn."""
    turns = iter(outcomes)

    def perform(part, **options):
        told = {"kind": part.kind, "device": part.device, "outcome": next(turns)}
        return {**told, "words": "", "seconds": 1.0}

    monkeypatch.setattr(proof, "perform", perform)


@pytest.mark.parametrize(
    ("outcomes", "code", "words"),
    [
        (("ok", "ok"), 0, "GPU: green, 2 of 2 parts in 0 s"),
        (("ok", "failed"), 1, "GPU: red, 1 of 2 parts in 0 s; not: doctor b"),
        (("timed out", "ok"), 1, "GPU: red, 1 of 2 parts in 0 s; not: doctor a"),
    ],
)
def test_the_verdict_is_the_last_line_and_the_exit_code(monkeypatch, tmp_path, capsys, outcomes, code, words):
    scripted(monkeypatch, outcomes)
    out = tmp_path / "record.json"
    assert command.main(["--out", str(out), "--devices", "a,b", "--parts", "doctor"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == words
    record = json.loads(out.read_text())
    assert (record["verdict"], record["ok"]) == (words, code == 0)
    assert [each["outcome"] for each in record["parts"]] == [*outcomes]
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]  # whole or not at all


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "dance"], "dance is none of doctor, tests"),
        (["--at-once", "0"], "--at-once must be at least 1; got 0"),
        (["--budget", "0"], "--budget must be positive; got 0"),
        (["--tests", "/nowhere"], "no such folder (run it in a clone)"),
        (["--out", "/nowhere/x.json"], "there is no folder /nowhere"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        command.main(["--out", str(tmp_path / "x.json"), *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


# Parts that notice


def test_wrong_numbers_are_noticed_by_the_computations(monkeypatch, tmp_path):
    assert parts.doctor("strict:device1", "smoke", tmp_path)[0]
    wrong = load("strict:device1", dtype="float32")
    wrong = wrong._replace(to_numpy=lambda x, own=wrong.to_numpy: own(x) * np.float32(1.0005))
    monkeypatch.setattr(parts, "_load", lambda device, dtype: wrong)
    ok, words, figures = parts.doctor("strict:device1", "smoke", tmp_path)
    assert not ok
    assert "Sinkhorn in float32" in words
    assert {*figures} == {"computed", "findings"}


def test_another_curve_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "CASES", {"gaussians": "cities"})
    assert training.compare("strict:no_float64", "float32", "smoke", tmp_path)["gaussians"]["ok"]
    proper = training.losses

    def off(case, backend, steps, seed=0):
        curve, *rest = proper(case, backend, steps, seed)
        return curve * (1.0 if backend.name == "numpy" else 1.0001), *rest

    monkeypatch.setattr(training, "losses", off)
    found = training.compare("strict:no_float64", "float32", "smoke", tmp_path)["gaussians"]
    assert not found["ok"]
    assert found["steps_beyond"] > 0
    assert found["another_seed_rejected"]


def test_only_rounded_plans_on_jax_take_fewer_steps():
    few = {
        (case, name)
        for case in training.CASES
        for name in ("torch:cuda", "cupy", "jax:cuda")
        if training.steps_of(case, name, "full") < training.SIZES["full"]
    }
    assert few == {("clouds, rounded", "jax:cuda")}
    assert training.SIZES["full"] == 300


def test_a_curve_of_nan_is_never_the_same():
    assert not training._same(np.full(100, np.nan), "float32")
    assert training._same(np.r_[np.full(99, 0.5), 2.0], "float32")
    assert not training._same(np.r_[np.full(99, 0.5), 2.0], "float64")


def test_tests_that_fail_are_named(monkeypatch, tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_array.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('library', ['numpy'])\n"
        "def test_it(library):\n    assert library == 'torch'\n"
    )
    monkeypatch.setenv("REFWFM_GPU_TESTS", str(folder))
    ok, words, figures = parts.tests("numpy", "smoke", tmp_path)
    assert (ok, words) == (False, "0 of 1 tests pass")
    assert figures["failed"][0]["test"].endswith("test_it[numpy]")
    (folder / "test_array.py").write_text("def test_it(:\n")
    assert not parts.tests("numpy", "smoke", tmp_path)[0]


@pytest.mark.parametrize(("error", "fine"), [(1e-6, True), (1e-2, False), (float("nan"), False)])
def test_bounds_on_what_benches_return(monkeypatch, tmp_path, error, fine):
    from refwfm.validation.bench.measure import Row

    row = Row("case", 1.0, "peer", 1.0, 1.0, error, None)
    module = SimpleNamespace(laptop_rows=lambda repeats, backend: [row])
    monkeypatch.setattr(parts, "import_module", lambda name: module)
    assert parts.bench("numpy", "smoke", tmp_path)[0] == fine


MEBI = 2**20
TOLD = {
    "torch:cuda": SimpleNamespace(cuda=SimpleNamespace(max_memory_allocated=lambda: 3 * MEBI)),
    "cupy": SimpleNamespace(get_default_memory_pool=lambda: SimpleNamespace(total_bytes=lambda: 3 * MEBI)),
    "jax:cuda": SimpleNamespace(
        devices=lambda kind: [SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 3 * MEBI})]
    ),
}


@pytest.mark.parametrize("device", TOLD)
def test_memory_is_what_the_library_tells(monkeypatch, device):
    monkeypatch.setitem(sys.modules, device.partition(":")[0], TOLD[device])
    assert parts.memory(device)["device_mib"] == 3.0
    monkeypatch.setitem(sys.modules, device.partition(":")[0], SimpleNamespace())  # one that does not tell
    assert {*parts.memory(device)} == {"process_mib", "children_mib"}


# The whole, at a small size


@pytest.mark.slow
def test_the_proof_is_green_on_a_device_that_stands_for_a_gpu(tmp_path):
    out = tmp_path / "record.json"
    parts = "doctor,train,bench,verify,tests" if THOROUGH else "doctor,train,verify"
    arguments = [
        "--out",
        out,
        "--devices",
        "strict:device1",
        "--size",
        "smoke",
        "--tests",
        TESTS,
        "--parts",
        parts,
    ]
    result = subprocess.run(
        [sys.executable, "-m", "refwfm.validation.gpu", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "REFWFM_BACKEND": ""},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    record = json.loads(out.read_text())
    assert result.stdout.splitlines()[-1] == record["verdict"]
    assert record["verdict"].startswith(f"GPU: green, {len(parts.split(','))} of ")
    assert record["machine"]["packages"]["numpy"] == np.__version__
    for part in record["parts"]:
        assert part["seconds"] <= part["limit"] + proof.GRACE
        assert part["memory"]["process_mib"] > 10
    trained = next(part for part in record["parts"] if part["kind"] == "train")
    crossed = trained["figures"]["float32"]["clouds, exact"]["crossed_in_all"]
    assert any(row["why"].startswith("exact inner plan") for row in crossed)


# The script


def test_the_script_is_bash_and_says_what_is_missing(tmp_path):
    script = TESTS.parent / ".ci" / "gpu"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
