"""The line ``Equation:`` of a docstring names the formulas of the ledger that a function states, both ways.

``Equation: ID[, ID ...].`` stands at the start of a line, followed by whatever there is to say; many ids take
several such lines. So ``grep -rn "Equation:.* ID[,.]" refwfm`` finds a formula's functions. What has none
says ``Equation: none.`` and why.
"""

import ast
import importlib
import inspect
import re
from functools import reduce
from pathlib import Path

import pytest

import refwfm
from refwfm.validation import ledger

PACKAGE = Path(refwfm.__file__).parent
ITEMS = ledger.by_id()
WITHOUT_MATHEMATICS = ("cli", "datasets", "runs", "storage")
"""Folders of the package in which a function need not say that it has no formula."""

ID = r"[\w-]+(?:\.[\w-]+)*"
LINE = re.compile(rf"Equation: (?P<ids>{ID}(?:, {ID})*)\.(?:\s+(?P<text>.*))?")


def equations(docstring):
    """Ids of a docstring: ``["none"]`` where it says that there is none, ``[]`` where it says nothing."""
    ids = []
    lines = inspect.cleandoc(docstring).splitlines()
    for number, line in enumerate(lines):
        if "Equation:" in line:
            match = LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"not of the form 'Equation: ID[, ID ...]. text': {line!r}")
            found = match["ids"].split(", ")
            if "none" in found:
                rest = match["text"] or "".join(lines[number + 1 : number + 2])
                if len(found) > 1 or ids or not rest.strip():
                    raise ValueError(f"'none' stands alone and is followed by the reason: {line!r}")
            else:
                for id in found:
                    ledger.find(id, ITEMS)
            ids += found
    return ids


def definitions():
    """Names ``module.function`` or ``module.Class.method`` of all that has a docstring, and the docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        parents = [(module, ast.parse(path.read_text()))]
        while parents:
            name, node = parents.pop()
            yield name, node, ast.get_docstring(node, clean=False) or ""
            kinds = ast.FunctionDef | ast.ClassDef
            parents += [(f"{name}.{child.name}", child) for child in node.body if isinstance(child, kinds)]


def name_of(function):
    return f"{function.__module__}.{function.__qualname__}".removeprefix("refwfm.")


def function_of(name):
    """The object that ``name_of`` names."""
    parts = name.split(".")
    depth = next(n for n in range(1, len(parts)) if PACKAGE.joinpath(*parts[:n]).with_suffix(".py").exists())
    return reduce(getattr, parts[depth:], importlib.import_module(".".join(["refwfm", *parts[:depth]])))


TAGS = {name: ids for name, _, docstring in definitions() if (ids := equations(docstring))}


def is_to_say(name, node):
    """Whether this is a public function of the mathematics, those that check or initialise apart."""
    *modules, function = name.split(".")
    return (
        isinstance(node, ast.FunctionDef)
        and PACKAGE.joinpath(*modules).with_suffix(".py").exists()
        and modules[0] not in WITHOUT_MATHEMATICS
        and not any(part.startswith("_") for part in (*modules, function))
        and not function.startswith(("check_", "init_"))
    )


def test_every_public_function_of_the_mathematics_has_a_formula_or_a_reason():
    names = [name for name, node, _ in definitions() if is_to_say(name, node)]
    assert "bures.velocity" in names
    assert [name for name in names if name not in TAGS] == []


@pytest.mark.parametrize("name", [name for name, ids in TAGS.items() if ids != ["none"]])
def test_a_tagged_function_belongs_to_the_items_of_its_tag(name):
    for id in TAGS[name]:
        item = ledger.find(id, ITEMS)
        assert function_of(name) in item.functions, f"{item.id} does not name {name}"


@pytest.mark.parametrize("id", ITEMS)
def test_every_function_of_an_item_has_its_tag(id):
    for function in ITEMS[id].functions:
        assert id in TAGS.get(name_of(function), []), f"{name_of(function)} has no 'Equation: {id}'"


def test_every_id_and_every_alias_is_found_by_searching():
    lines = [line for path in PACKAGE.rglob("*.py") for line in path.read_text().splitlines()]
    tags = [line for line in lines if "Equation:" in line]
    for id in (*ITEMS, *ledger.ALIASES):
        assert any(re.search(rf"Equation:.* {re.escape(id)}[,.]", line) for line in tags), id
    assert len(tags) == sum(docstring.count("Equation:") for _, _, docstring in definitions())


def test_ids_are_read():
    assert equations("What.\n\n    Equation: WFM-A.1, GWFM-42. Its ``K``.\n") == ["WFM-A.1", "GWFM-42"]
    assert equations("What.\n\n    Equation: GWFM-42.\n    Equation: GWFM-43. More.") == [
        "GWFM-42",
        "GWFM-43",
    ]
    assert equations("What.\n\n    Equation: none. Indexing.") == ["none"]
    assert equations("What. WFM-10 is elsewhere.") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Equation: WFM-99. A formula.", "unknown id 'WFM-99'"),
        ("Equation: WFM-10, 11.", "unknown id '11'"),
        ("Equation: App. E.1.", "unknown id 'App'"),
        ("Equation: WFM Algorithm 1.", "not of the form"),
        ("Equation: WFM-8 (its factor).", "not of the form"),
        ("Equation: WFM-8 and WFM-10.", "not of the form"),
        ("What it does. Equation: WFM-10.", "not of the form"),
        ("Equation: WFM-10", "not of the form"),
        ("Equation: none.", "followed by the reason"),
        ("Equation: WFM-10, none. Why.", "stands alone"),
    ],
)
def test_other_tags_are_refused(line, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        equations(line)
