"""What importing costs, and which folder may import which."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import refwfm

PACKAGE = Path(refwfm.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem != "__main__")
HEAVY = ("torch", "jax", "cupy", "matplotlib", "ot", "tensorflow", "anndata", "pooch", "h5py")
# The floors of the house, from the top down; all other folders and modules of refwfm/ are the mathematics.
FLOORS = ("cli", "runs", "datasets", "training", "storage")
BESIDE = ("backends", "validation", "paper_figures")


def imports_of(path, *, everywhere=True):
    """Full names of all modules that a file imports, wherever in it, or only at its top."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def starts_with(names, *roots):
    return {name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots)}


def floor_of(path):
    """Folder that a module lives on, or ``mathematics``."""
    first = path.relative_to(PACKAGE).parts[0]
    return first if first in FLOORS else "mathematics"


def room(name):
    """Module ``a.b`` of the package that an imported name belongs to, None where it is another package's."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[1:end])
        if parts[0] == "refwfm" and (
            path.with_suffix(".py").exists() or path.joinpath("__init__.py").exists()
        ):
            return ".".join(parts[1:end])
    return None


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MATHEMATICS = [path for path in MODULES if floor_of(path) == "mathematics"]


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_nothing_heavy_is_imported():
    modules = ", ".join(f"refwfm.{name_of(path)}" for path in MODULES if path.stem != "__init__")
    assert run(f"import sys, refwfm; print(*[m for m in {HEAVY} if m in sys.modules])") == []
    assert run(f"import sys, {modules}; print(*[m for m in {HEAVY} if m in sys.modules])") == []
    assert run("import sys, ast; print('ast' in sys.modules)") == ["True"]  # the test can see


@pytest.mark.parametrize("path", MATHEMATICS, ids=name_of)
def test_mathematics_knows_no_array_library(path):
    at_the_top = imports_of(path, everywhere=False)
    if path.stem != "_derivatives":  # which says how torch and JAX are told a derivative
        assert not starts_with(imports_of(path), *(set(HEAVY) - {"ot"}), "array_api_strict")
    assert not starts_with(at_the_top, "ot", "scipy", "joblib")  # solvers on the host, where one is asked for
    if not path.stem.startswith("_"):
        assert not starts_with(imports_of(path), "array_api_compat")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    """Down the floors only; nothing but the command knows what lies beside the package's core."""
    floor = floor_of(path)
    above = FLOORS[: FLOORS.index(floor)] if floor in FLOORS else FLOORS
    beside = () if floor == "cli" else BESIDE
    assert not starts_with(imports_of(path), *(f"refwfm.{part}" for part in (*above, *beside)))


def test_there_is_no_cycle():
    """Neither between modules nor between folders."""
    modules, folders = {}, {}
    for path in MODULES:
        if path.stem != "__init__":
            own = name_of(path)
            used = {room(name) for name in imports_of(path)} - {None, own}
            modules[own] = used
            folder = own.split(".")[0]
            folders.setdefault(folder, set()).update({name.split(".")[0] for name in used} - {folder})
    for graph in (modules, folders):
        list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them
