"""``refwfm doctor``: each diagnosis on a machine that is made up, and the command on this one."""

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import refwfm, succeed

from refwfm import backends
from refwfm.backends import INSTALL, diagnosis, machine, probes
from refwfm.backends.diagnosis import ADVICE, FAULT

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
SOUND = machine.Machine(
    python="3.12.0 on Linux",
    system="Linux",
    cores=8,
    memory=2**36,
    blas=(("openblas 0.3", 8),),
    packages=dict.fromkeys(diagnosis.EXTRAS, "1.0"),
    broken={},
    cards=(),
    smi="",
    driver_cuda=None,
    torch_cuda=None,
    jax_float64=None,
    variables={},
    cache="",
)
CARD = machine.Card("NVIDIA H200", "143771 MiB", "580.65")


def on(rule, **changes):
    packages = {**SOUND.packages, **changes.pop("packages", {})}
    return [*rule(SOUND._replace(packages=packages, **changes))]


CASES = {
    "torch for CPUs": (
        diagnosis.torch_without_cuda,
        {"driver_cuda": (13, 0), "packages": {"torch": "2.11.0+cpu"}},
        (FAULT, "build for CPUs", "torch --index-url https://download.pytorch.org/whl/cu130"),
    ),
    "torch for a newer CUDA": (
        diagnosis.torch_without_cuda,
        {"driver_cuda": (12, 8), "torch_cuda": "13.0", "packages": {"torch": "2.11.0"}},
        (FAULT, "needs CUDA 13.0, and the driver runs 12.8", "whl/cu126"),
    ),
    "cupy of CUDA 12 on 13": (
        diagnosis.cupy_of_another_cuda,
        {"driver_cuda": (13, 0), "packages": {"cupy-cuda12x": "13.4"}},
        (
            ADVICE,
            "is for CUDA 12, and the driver is for CUDA 13.0",
            'pip uninstall -y cupy-cuda12x && pip install "refwfm[cupy13]"',
        ),
    ),
    "cupy of CUDA 13 on 12": (
        diagnosis.cupy_of_another_cuda,
        {"driver_cuda": (12, 4), "packages": {"cupy-cuda13x": "14.0"}},
        (FAULT, "for CUDA 12.4", 'pip uninstall -y cupy-cuda13x && pip install "refwfm[cupy12]"'),
    ),
    "two cupys": (
        diagnosis.two_cupys,
        {"driver_cuda": (13, 0), "packages": {"cupy-cuda12x": "13.4", "cupy-cuda13x": "14.0"}},
        (FAULT, "overwrite each other", "uninstall -y cupy-cuda12x cupy-cuda13x"),
    ),
    "jax without plugin": (
        diagnosis.jax_without_plugin,
        {"driver_cuda": (13, 0), "packages": {"jax": "0.11"}},
        (FAULT, "no plugin", 'pip install "refwfm[jax-cuda13]"'),
    ),
    "jax's plugin for a newer CUDA": (
        diagnosis.jax_without_plugin,
        {"driver_cuda": (12, 2), "packages": {"jax": "0.11", "jax-cuda13-plugin": "0.11"}},
        (FAULT, "newer CUDA", 'pip uninstall -y jax-cuda13-plugin && pip install "refwfm[jax-cuda12]"'),
    ),
    "unknown backend": (
        diagnosis.chosen_backend,
        {"variables": {"REFWFM_BACKEND": "tensorflow"}},
        (FAULT, "names no backend", "unset REFWFM_BACKEND"),
    ),
    "unknown device": (
        diagnosis.chosen_backend,
        {"variables": {"REFWFM_BACKEND": "numpy:cuda"}},
        (FAULT, "has no device 'cuda'", "export REFWFM_BACKEND=numpy"),
    ),
    "no data": (
        diagnosis.data_folder,
        {"variables": {"REFWFM_DATA": "/nowhere/at/all"}},
        (FAULT, "is no folder", "mkdir -p /nowhere/at/all"),
    ),
    "too many threads": (
        diagnosis.threads,
        {"variables": {"LOCAL_WORLD_SIZE": "4"}},
        (ADVICE, "4 process(es) of 8 threads on 8 core(s)", "export OMP_NUM_THREADS=2"),
    ),
    "no number of threads": (
        diagnosis.threads,
        {"variables": {"OMP_NUM_THREADS": "many"}},
        (ADVICE, "OMP_NUM_THREADS=many is no number of threads", "export OMP_NUM_THREADS=8"),
    ),
    "float64 of jax": (
        diagnosis.float64_of_jax,
        {"jax_float64": False},
        (ADVICE, "float32 of float64", "export JAX_ENABLE_X64=1"),
    ),
    "cache": (
        diagnosis.cache,
        {"cache": "/cache cannot be written to"},
        (ADVICE, "nothing is kept", "export REFWFM_CACHE="),
    ),
    "driver without cards": (
        diagnosis.silent_driver,
        {"smi": "couldn't communicate with the NVIDIA driver"},
        (FAULT, "couldn't communicate", "docker run --gpus all"),
    ),
    "hidden cards": (
        diagnosis.hidden_cards,
        {"cards": (CARD,), "variables": {"CUDA_VISIBLE_DEVICES": ""}},
        (FAULT, "hides 1 GPU", "unset CUDA_VISIBLE_DEVICES"),
    ),
    "broken torch": (
        diagnosis.broken_libraries,
        {"broken": {"torch": "libcudart.so.13: cannot open shared object file"}},
        (FAULT, "does not load: libcudart.so.13", "pip install --force-reinstall torch"),
    ),
    "broken cupy": (
        diagnosis.broken_libraries,
        {"broken": {"cupy": "no NVRTC"}, "packages": {"cupy-cuda13x": "14.0"}},
        (FAULT, "no NVRTC", "pip install --force-reinstall cupy-cuda13x"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_one_line_and_the_command_that_mends_it(case):
    rule, changes, (kind, words, fix) = CASES[case]
    (found,) = on(rule, **changes)
    assert found.kind == kind
    assert words in found.words
    assert fix in found.fix
    assert "\n" not in found.words + found.fix
    assert on(rule) == []  # it finds nothing on a sound machine


@pytest.mark.parametrize(
    ("library", "driver", "fault", "fix"),
    [
        ("cupy", None, "is not installed (No module)", INSTALL["cupy"]),
        ("cupy", (12, 4), "is not installed (No module)", 'pip install "refwfm[cupy12]"'),
        ("jax", None, "is not installed (No module)", 'pip install "refwfm[jax]"'),
        ("cupy", None, "sees no CUDA device", "export REFWFM_BACKEND=numpy  # there is no NVIDIA driver"),
        (
            "torch",
            None,
            "sees no CUDA device",
            "export REFWFM_BACKEND=torch:cpu  # there is no NVIDIA driver",
        ),
        ("jax", (13, 0), "sees no CUDA device", "export REFWFM_BACKEND=jax:cpu"),
        ("tensorflow", None, "unknown backend", "refwfm doctor --backend numpy"),
    ],
)
def test_what_helps_where_a_backend_does_not_start(library, driver, fault, fix):
    """To install what is installed already would help nobody."""
    assert diagnosis._fix_of_start(SOUND._replace(driver_cuda=driver), library, fault) == fix


@pytest.mark.parametrize(
    ("chosen", "asked", "fixes"),
    [
        ("tensorflow", None, ["unset REFWFM_BACKEND"]),
        ("numpy", "tensorflow", ["refwfm doctor --backend numpy"]),
        ("tensorflow", "tensorflow", ["unset REFWFM_BACKEND"]),
    ],
)
def test_a_name_that_is_none_is_told_once(monkeypatch, chosen, asked, fixes):
    monkeypatch.setattr(diagnosis, "_devices", lambda name, machine: ["not installed"])
    machine = SOUND._replace(variables={"REFWFM_BACKEND": chosen})
    found = diagnosis.examine(machine, asked)
    assert not found.works
    assert [each.fix for each in found.findings if each.kind == FAULT] == fixes


def test_every_rule_has_a_case():
    assert {*diagnosis.RULES} - {rule for rule, *_ in CASES.values()} == {diagnosis.missing_extras}


@pytest.mark.parametrize(
    "changes",
    [
        {"driver_cuda": (13, 1), "torch_cuda": "13.0", "packages": {"torch": "2.11.0"}},
        {"driver_cuda": (13, 1), "torch_cuda": "12.8", "packages": {"torch": "2.11.0"}},
        {"driver_cuda": (13, 0), "packages": {"cupy-cuda13x": "14.0"}},
        {"driver_cuda": (13, 0), "packages": {"jax": "0.11", "jax-cuda13-plugin": "0.11"}},
        {"variables": {"LOCAL_WORLD_SIZE": "1", "REFWFM_BACKEND": "numpy", "REFWFM_DATA": "/"}},
    ],
)
def test_what_is_right_is_left_alone(changes):
    assert [found for rule in diagnosis.RULES for found in on(rule, **changes)] == []


@pytest.mark.parametrize("package", diagnosis.EXTRAS)
def test_packages_that_are_missing_are_told_with_their_extra(package):
    extra = diagnosis.EXTRAS[package][0]
    (found,) = diagnosis.missing_extras(
        SOUND._replace(packages={name: "1" for name in SOUND.packages if name != package})
    )
    assert found.words.startswith(f"{package} not installed, for ")
    assert found.fix == f'pip install "refwfm[{extra}]"'
    assert any(line.startswith(f"{package}>=") for line in EXTRAS[extra])


def test_extras_that_are_advised_exist():
    for case in CASES.values():
        for extra in ("cupy12", "cupy13", "jax-cuda12", "jax-cuda13"):
            if f"refwfm[{extra}]" in case[2][2]:
                assert extra in EXTRAS
    assert EXTRAS["cupy"] == ["refwfm[cupy12]"]


# Gathering


@pytest.mark.parametrize(
    "error",
    [
        OSError("libcudart.so.13: cannot open shared object file: No such file or directory"),
        RuntimeError("two\nlines"),
        ModuleNotFoundError("No module named 'filelock'", name="filelock"),
        AttributeError("partially initialized module"),
    ],
)
def test_libraries_that_break_on_import_are_facts(monkeypatch, error):
    def broken(name):
        if name == "torch":
            raise error
        return importlib.import_module(name)

    monkeypatch.setattr(machine, "import_module", broken)
    found = machine.look()
    assert found.broken == {"torch": " ".join(str(error).split())}
    assert found.torch_cuda is None


def test_backends_that_break_on_import_are_one_line(monkeypatch):
    def broken(name):
        raise OSError("libcudart.so.13:\ncannot open")

    monkeypatch.setattr(backends, "import_module", broken)
    with pytest.raises(
        backends.BackendError, match=r"does not load \(libcudart.so.13: cannot open\); refwfm"
    ):
        backends.load("torch")


def smi(monkeypatch, stdout, returncode=0, stderr=""):
    monkeypatch.setattr(machine.shutil, "which", lambda name: "nvidia-smi")
    answer = subprocess.CompletedProcess([], returncode, stdout, stderr)
    monkeypatch.setattr(machine.subprocess, "run", lambda *arguments, **options: answer)
    return machine.graphics_cards()


def test_cards_are_those_that_nvidia_smi_names(monkeypatch):
    assert smi(monkeypatch, "NVIDIA H200, 143771 MiB, 580.65\n") == ((CARD,), "")


def test_what_nvidia_smi_says_instead_is_kept(monkeypatch):
    cards, words = smi(monkeypatch, "NVIDIA-SMI has failed because\nit could not", 9)
    assert (cards, words) == ((), "NVIDIA-SMI has failed because it could not")
    assert smi(monkeypatch, "", 9) == ((), "exit code 9")


def test_nvidia_smi_that_hangs_is_a_fact(monkeypatch):
    def hangs(*arguments, **options):
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(machine.shutil, "which", lambda name: "nvidia-smi")
    monkeypatch.setattr(machine.subprocess, "run", hangs)
    assert "timed out" in machine.graphics_cards()[1]


def test_cuda_of_the_driver(monkeypatch):
    def version(pointer):
        pointer._obj.value = 13010
        return 0

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=version))
    assert machine.cuda_of_driver() == (13, 1)

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", missing)
    assert machine.cuda_of_driver() is None


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "new" / "cache"))
    assert machine.fault_of_cache() == ""
    assert not (tmp_path / "new").exists()  # looking makes nothing
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "file" / "cache"))
    assert machine.fault_of_cache() == f"{tmp_path / 'file'} is no folder"
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path))
    assert machine.fault_of_cache() == f"{tmp_path} cannot be written to"


# Computing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_computes_what_is_right(dtype):
    found = probes.probe(backends.load("numpy", dtype=dtype))
    assert [each.name for each in found] == [*probes.COMPUTATIONS]
    assert all(each.right for each in found)


@pytest.mark.parametrize("name", probes.COMPUTATIONS)
def test_fewer_digits_are_noticed(monkeypatch, name):
    """Results with the ten bits of a product in TF32 are not right."""

    def fewer(backend, computation=probes.COMPUTATIONS[name]):
        results = computation(backend)
        return results if backend.dtype == "float64" else [_with_few_bits(each) for each in results]

    monkeypatch.setitem(probes.COMPUTATIONS, name, fewer)
    wrong = [each.name for each in probes.probe(backends.load("numpy")) if not each.right]
    assert wrong == [name]


def _with_few_bits(x):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2**10) / 2**10, exponent).astype(x.dtype)


def test_what_a_device_raises_is_its_result(monkeypatch):
    def fails(backend):
        raise RuntimeError("CUDA error:\nno kernel image is available")

    monkeypatch.setitem(probes.COMPUTATIONS, "Sinkhorn", fails)
    found = probes.probe(backends.load("numpy"))[0]
    assert (found.right, found.fault) == (False, "CUDA error: no kernel image is available")


# The command


@pytest.fixture
def quick(monkeypatch):
    """This machine with NumPy alone."""
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)
    monkeypatch.delenv("REFWFM_DATA", raising=False)
    for module in machine.LIBRARIES.values():
        monkeypatch.setitem(sys.modules, module, None)
    for library in machine.LIBRARIES:
        monkeypatch.delitem(sys.modules, f"refwfm.backends._{library}", raising=False)


def test_the_command_tells_and_computes(quick):
    shown = succeed("doctor")
    assert "numpy float32" in shown
    assert "cupy sees" in shown
    assert shown.splitlines()[-1] == "numpy works"


def test_the_command_prints_json(quick):
    found = json.loads(succeed("doctor", "--json"))
    assert found["asked"] == "numpy"
    assert found["works"]
    assert [each["dtype"] for each in found["computed"]] == ["float32", "float64"]
    assert found["machine"]["cores"] >= 1
    assert "PATH" not in found["machine"]["variables"]  # the environment may hold secrets


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_exit_code_is_that_of_what_was_asked_for(quick, how):
    if how == "option":
        result = refwfm("doctor", "--backend", "cupy")
    else:
        result = refwfm("doctor", REFWFM_BACKEND="cupy")
    assert result.exit_code == 1
    assert "cupy" in result.stdout
    assert 'pip install "refwfm[cupy1' in result.stdout
    assert result.stdout.splitlines()[-1] == "cupy does not work"


def test_what_computes_wrongly_does_not_work(quick, monkeypatch):
    def off(backend):
        return [1.001 * each if backend.dtype == "float32" else each for each in probes.sinkhorn(backend)]

    monkeypatch.setitem(probes.COMPUTATIONS, "Sinkhorn", off)
    result = refwfm("doctor")
    assert result.exit_code == 1
    assert "fault: Sinkhorn on numpy in float32 is off by" in result.stdout
