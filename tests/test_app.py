"""The command as a whole: help and its cost, version, completion, citations; the package in a clone."""

import inspect
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from command import assert_error, refwfm, succeed

import refwfm as package
from refwfm.cli import _app, cite
from refwfm.datasets import CATALOGUE
from refwfm.training import flows

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", _app.COMMANDS)
def test_help_is_that_of_the_command_with_an_example(name):
    module, _, attribute = _app.COMMANDS[name].where.partition(".")
    found = getattr(import_module(f"refwfm.cli.{module}"), attribute)
    told = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found).partition("\n\n")[0]
    assert " ".join(told.split()) == _app.COMMANDS[name].help
    example = _app.COMMANDS[name].example
    assert isinstance(found, typer.Typer) or example.startswith(f"refwfm {name}")
    shown = " ".join(succeed(name, "--help", COLUMNS="200").split())
    assert f"Example: {example}" in shown or isinstance(found, typer.Typer)


@pytest.mark.parametrize("name", ["list", "show", "gaussians", "clouds", "populations", "build"])
def test_help_of_data_has_examples(name):
    assert f"Example: refwfm data {name}" in " ".join(succeed("data", name, "--help", COLUMNS="200").split())


def test_help_imports_no_command():
    code = (
        "import sys; from refwfm.cli import app; app(['--help'], standalone_mode=False); "
        "print([name for name in ('numpy', 'scipy', 'refwfm.datasets') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "explain" in result.stdout


def test_version():
    assert succeed("--version") == f"refwfm {package.__version__}\n"


def test_a_command_that_does_not_exist():
    result = refwfm("trian")
    assert result.exit_code == 2
    assert "Did you mean 'train'?" in result.stderr


def test_completion_knows_commands_and_options():
    for words, wanted in (("refwfm ex", "explain"), ("refwfm verify --rep", "--report")):
        environment = {
            **os.environ,
            "_REFWFM_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": "-1",
        }
        environment["COMP_CWORD"] = str(len(words.split()) - 1)
        code = "from refwfm.cli import app; app(prog_name='refwfm')"
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert wanted in result.stdout.split(), result.stderr


# Citations


def test_every_reference_is_used_and_known():
    named = {*cite.ALWAYS, *cite.KINDS.values(), *cite.OUTER.values(), *cite.DATA.values()}
    named |= {
        "piening2026generalized",
        "cuturi2013sinkhorn",
        "esser2024scaling",
        "flamary2021pot",
        "jordan2024muon",
        "liu2023flow",
    }
    assert set(cite.entries()) == named
    for entry in cite.entries().values():
        assert entry.count("{") == entry.count("}")
    assert all(any(name.startswith(start) for name in CATALOGUE) or start == "screen" for start in cite.DATA)


def test_kinds_are_those_of_flows():
    assert set(cite.KINDS) <= {*flows.FLOWS}


@pytest.mark.parametrize(
    ("run", "train", "keys"),
    [
        ({"data": "mine.npz"}, {}, []),
        ({"data": "niches"}, {"method": "riemannian"}, ["moffitt2018molecular"]),
        ({"data": "circles"}, {"outer": "lazy", "inner": "lazy", "source": "barycentric"}, [
            "piening2026generalized", "piening2026generalized",
        ]),
        ({"data": "fours-test"}, {"outer": "frechet", "inner": "exact"}, [
            "pooladian2023multisample", "flamary2021pot", "lecun1998gradient",
        ]),
        ({"data": "mine.npz"}, {"outer": "semidiscrete"}, ["mousavihosseini2025semidiscrete"]),
        ({"data": "mine.npz", "source": "theirs.npz"}, {"outer": "paired"}, []),
        ({"data": "mine.npz"}, {"time_law": "logit-normal"}, ["esser2024scaling"]),
        ({"data": "mine.npz"}, {"optimizer": "muon"}, ["jordan2024muon"]),
        ({"data": "mine.npz"}, {"rectified_pairs": 9}, ["liu2023flow"]),
        ({"data": "strokes", "kind": "meta-ot"}, {}, ["amos2023meta"]),
        ({"data": "shapenet-tables", "source": "shapenet-chairs"}, {"inner": "rounded"}, [
            "cuturi2013sinkhorn", "chang2015shapenet", "chang2015shapenet",
        ]),
    ],
)  # fmt: skip
def test_what_a_run_used(run, train, keys):
    assert cite.used(run, train) == keys


def test_cite(tmp_path):
    assert succeed("cite").count("@") == 2
    (tmp_path / "config.toml").write_text('[run]\ndata = "cities"\n[train]\nsteps = 3\n')
    assert "TIGER" in succeed("cite", tmp_path)
    assert_error(refwfm("cite", tmp_path / "nothing"), "no such file")


# A clone


def test_a_clone_is_not_half_a_package(tmp_path):
    """In its root the clone's files are imported, all of them, whatever is installed."""
    for name in ("refwfm", "backends", "validation"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; sys.meta_path[:] = [each for each in sys.meta_path if '__editable__' not in str(each)]; "
        "import refwfm.backends, refwfm.validation.audit as audit; "
        "print(refwfm.backends.__file__); print(audit.package())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == [
        str(tmp_path / "backends" / "__init__.py"),
        f"refwfm {package.__version__} in {tmp_path / 'refwfm'}",
    ], result.stderr


def test_what_is_audited_is_said():
    where = f"refwfm {package.__version__} in {Path(package.__file__).parent}"
    assert where in succeed("verify", "--only", "WFM-2", COLUMNS="300")
    assert str(Path(package.__file__).parent) in "".join(succeed("info", COLUMNS="300").split("\n"))
