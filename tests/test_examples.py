"""The examples of the docstrings: every public function of the mathematics has one, and all of them run."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import refwfm
from refwfm.validation import textbook

PACKAGE = Path(refwfm.__file__).parent
ROOMS = ("transport", "couplings", "sources", "metrics", "networks", "meta", "populations")
MATHEMATICS = sorted(
    [path for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__", "_array")]
    + [path for room in ROOMS for path in PACKAGE.joinpath(room).rglob("*.py") if path.stem != "__init__"]
    + [PACKAGE / "training" / f"{name}.py" for name in ("muon", "optim", "regression")]
)
NEEDS_NONE = r"(check|init)_\w+|_\w+"
"""Functions that raise or draw, or are not public."""


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def examples_of(name):
    """Doctests of a module by its functions; NumPy is ``np`` in them without being imported."""
    module = importlib.import_module(name)
    return doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs={"np": np})


@pytest.fixture(scope="module", autouse=True)
def pot():
    """POT is imported without the libraries that it would take with it."""
    textbook.pot_gaussian()


@pytest.mark.parametrize(
    "path", [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()], ids=name_of
)
def test_examples_run(path):
    runner = doctest.DocTestRunner()
    for example in examples_of(name_of(path)):
        said = []
        runner.run(example, out=said.append)
        assert not said, "".join(said)
        assert not re.search(r"torch|jax", example.docstring.partition(">>>")[2])
    assert runner.summarize(verbose=False).attempted


@pytest.mark.parametrize("path", MATHEMATICS, ids=name_of)
def test_every_public_function_has_an_example(path):
    module = importlib.import_module(name_of(path))
    shown = {test.name.rpartition(".")[2] for test in examples_of(module.__name__) if test.examples}
    public = {
        name
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not re.fullmatch(NEEDS_NONE, name)
    }
    assert public <= shown


def test_an_example_that_is_wrong_is_noticed():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    said = []
    doctest.DocTestRunner().run(wrong, out=said.append)
    assert said
