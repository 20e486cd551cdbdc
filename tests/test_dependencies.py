"""The record of dependencies says what pyproject.toml asks for, all of it and nothing else."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def asked():
    """(package, minimum) -> the extras that ask for it, none for what is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for extra, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            name, operator, version = re.fullmatch(r"([\w-]+)(?:\[.*\])?(?:(>=|==)([\d.]+))?", line).groups()
            if name != "refwfm":
                minimum = version if operator == ">=" else f"{operator}{version}"
                found.setdefault((name, minimum), set()).update({extra} - {""})
    return found


def recorded():
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    always, extras = text.split("## Known advisories")[0].split("## Extras")
    found = {}
    for part, width in ((always, 4), (extras, 5)):
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line[:1] == "|"
        ]
        for row in rows[2:]:
            assert len(row) == width
            assert all(row), row
            assert (row[0], row[1]) not in found, row
            found[row[0], row[1]] = set(row[2].split(", ")) if width == 5 else set()
    return found


def test_the_record_is_that_of_pyproject():
    assert recorded() == asked()


@pytest.mark.parametrize(
    "change", [("numpy>=2.1", "numpy>=2.2"), ('"trimesh>=4.5"', '"trimesh>=4.5", "new>=1"')]
)
def test_the_check_can_see(monkeypatch, tmp_path, change):
    (tmp_path / "docs").mkdir()
    for name in ("pyproject.toml", "docs/dependencies.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(*change) if name[0] == "p" else text, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert recorded() != asked()


PACKAGES = {"ot": "pot", "ott": "ott-jax", "sklearn": "scikit-learn", "PIL": "pillow"}
"""Packages whose module has another name."""


def imported_by_benches():
    """Packages of other people that a benchmark imports, wherever in it."""
    found = set()
    for path in sorted((ROOT / "validation" / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
                names += [part.value for part in node.args[:1] if isinstance(part, ast.Constant)]
            found |= {name.partition(".")[0] for name in names}
    return {PACKAGES.get(name, name) for name in found - sys.stdlib_module_names - {"refwfm"}}


def test_the_extra_of_benchmarks_holds_their_peers():
    extras = {name: asked_by for (name, _), asked_by in asked().items() if not asked_by}
    extras |= {name: asked_by for (name, _), asked_by in asked().items() if "bench" in asked_by}
    found = imported_by_benches()
    assert {"torch", "jax", "ott-jax", "pot", "playwright", "mpmath"} <= found  # the search can see
    assert found <= {*extras}
