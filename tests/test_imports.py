"""What importing costs, and which module may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refwfm

PACKAGE = Path(refwfm.__file__).parent
MATH = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__"))
HEAVY = ("torch", "jax", "cupy", "matplotlib", "ot", "tensorflow", "anndata", "pooch", "h5py")
# Modules that serve a run: they know about data sets, files or backends.
RUNS = {"runs", "cloud_evaluation", "evaluation", "models"}
# The host's bookkeeping: random draws, indices of members, files, exact solvers.
NUMPY = RUNS | {"_array", "checkpoints", "exact", "metrics", "plans", "randomness", "training"}
NUMPY |= {"cloud_sources", "clouds", "sources"}  # random draws, batches of host arrays
NUMPY |= {"couplings", "inner_couplings", "laziness", "line", "linearized", "sliced"}
NUMPY |= {"cloud_metrics", "cloud_neighbours", "earthmover"}  # distances between families, on the host
# POT solves general plans; it is imported where it is needed.
SOLVERS = {"exact": {"ot"}}


def imports_of(path):
    """Full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def starts_with(names, *roots):
    return {name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots)}


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_nothing_heavy_is_imported():
    modules = ", ".join(f"refwfm.{name}" for name in MATH)
    assert run(f"import sys, refwfm; print(*[m for m in {HEAVY} if m in sys.modules])") == []
    loaded = run(f"import sys, {modules}, refwfm.networks; print(*[m for m in {HEAVY} if m in sys.modules])")
    assert loaded == []
    assert run("import sys, ast; print('ast' in sys.modules)") == ["True"]  # the test can see


def test_the_import_is_quick():
    """Under half a second; the best of several, as the machine may be busy."""
    code = "import time; start = time.perf_counter(); import refwfm; print(time.perf_counter() - start)"
    assert min(float(run(code)[0]) for _ in range(3)) < 0.5
    whole = (
        "import time; start = time.perf_counter(); import refwfm.training; print(time.perf_counter() - start)"
    )
    assert min(float(run(whole)[0]) for _ in range(3)) < 1.0


@pytest.mark.parametrize("name", MATH)
def test_mathematics_knows_no_array_library(name):
    found = imports_of(PACKAGE / f"{name}.py")
    assert not starts_with(found, *(set(HEAVY) - SOLVERS.get(name, set())), "array_api_strict")
    if name not in NUMPY:
        assert not starts_with(found, "numpy", "scipy")
    if name != "_array":
        assert not starts_with(found, "array_api_compat")


@pytest.mark.parametrize("name", sorted(set(MATH) - RUNS))
def test_imports_point_one_way(name):
    found = imports_of(PACKAGE / f"{name}.py")
    above = [
        f"refwfm.{part}" for part in ("backends", "cli", "validation", "paper_figures", "datasets", *RUNS)
    ]
    assert not starts_with(found, *above)


@pytest.mark.parametrize("path", sorted((PACKAGE / "networks").glob("*.py")), ids=lambda path: path.stem)
def test_networks_import_no_training(path):
    found = imports_of(path)
    assert not starts_with(found, *HEAVY, "numpy.linalg", "refwfm.training", "refwfm.backends")


def test_modules_of_the_mathematics_form_no_cycle():
    graph = {
        name: {found.split(".")[1] for found in starts_with(imports_of(PACKAGE / f"{name}.py"), "refwfm")}
        & set(MATH)
        for name in MATH
    }
    while graph:
        leaves = {name for name, uses in graph.items() if not uses & set(graph)}
        assert leaves, f"a cycle among {sorted(graph)}"
        graph = {name: uses for name, uses in graph.items() if name not in leaves}
