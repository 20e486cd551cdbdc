"""The wheel holds all modules and data files of the four folders: none is forgotten in ``packages``."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"refwfm": "refwfm"} | {
    name: f"refwfm/{name}" for name in ("backends", "validation", "paper_figures")
}
"""Folders of the repository, and where the wheel has them."""

BUILD = "import setuptools.build_meta as backend; backend.build_wheel('dist')"


LARGEST = 12_000_000
"""Bytes of the wheel, at most."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy, since setuptools leaves a folder ``build`` behind, and takes up what it finds there."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("the wheel is built by setuptools >= 77")
    copy = tmp_path_factory.mktemp("repository")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def test_the_wheel_holds_every_file(repository):
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=repository, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = repository.glob("dist/*.whl")
    assert wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        f"{target}/{path.relative_to(ROOT / name).as_posix()}"
        for name, target in FOLDERS.items()
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(shipped ^ wanted) == []
