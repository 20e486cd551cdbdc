"""Does the audit notice a broken formula? Break each one in many small ways and see.

``python -m refwfm.validation.mutations bures psd`` changes one thing at a time in the functions of these
modules (a sign, a factor 2, an operation, a transposition, a root that is left out, two arguments exchanged)
and runs the formulas that the functions belong to, then those whose modules use this one. What no check
notices has survived, and is printed.
"""

import argparse
import ast
import copy
import inspect
import signal
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from refwfm import backends
from refwfm.validation import ledger
from refwfm.validation.check import Check, run_check

SECONDS = 20
"""After which a formula that used to end is taken for broken."""

LEFT_OUT = ("sqrt", "sqrtm", "transpose", "symmetrize", "exp", "log", "flip", "abs")
CHECKS = ("check", "_check", "isinstance")
ALLOCATIONS = ("array_namespace", "like", "expand", "range", "_zeros", "_no_costs")
SYMMETRIC = ("max", "min", "zip", "alike", "in_order", "_is_assignment", "_pairs")
NOT_EXCHANGED = (*CHECKS, *ALLOCATIONS, *SYMMETRIC, "progress", "tree_map")
"""Calls whose arguments are not exchanged: that makes no sense, or no difference."""

SIZES = ("rows_per_block", "_blocks", "_slices", "reshape")
"""How much is done at once, and shapes, where -n means what n does."""

ROUNDING = ("eps", "machine_eps", "finfo")
"""Calls that make a threshold of rounding: twice as large, it does as well."""

SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


class Mutant(NamedTuple):
    """A changed function: ``what`` was done to it at ``line``, and its code."""

    function: types.FunctionType
    line: int
    what: str
    code: types.CodeType


# What can be changed


def mutants(module: types.ModuleType, /) -> Iterator[Mutant]:
    """All mutants of the functions of a module, those that check arguments apart."""
    tree = ast.parse(inspect.getsource(module))
    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef) and not _is_left_alone(definition.name):
            for path in _paths(definition):
                for what, node in _changes(_at(definition, path)):
                    changed = copy.deepcopy(tree)
                    place = next(n for n in changed.body if getattr(n, "name", "") == definition.name)
                    _put(place, path, node)
                    code = _code(ast.fix_missing_locations(changed), module.__file__, definition.name)
                    function = inspect.unwrap(getattr(module, definition.name))
                    if code is not None and isinstance(function, types.FunctionType):
                        yield Mutant(function, _at(definition, path).lineno, what, code)


def _is_left_alone(name: str) -> bool:
    return name.lstrip("_").startswith("check") or name in SIZES


Path = tuple[tuple[str, int | None], ...]


def _paths(node: ast.AST, path: Path = ()) -> Iterator[Path]:
    """Where the expressions of a function are; error messages, annotations, docstrings, sizes apart."""
    if _name(node) in SIZES:
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "args", "decorator_list") and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr | ast.keyword):
                here = (*path, (field, index))
                if isinstance(child, ast.expr):
                    yield here
                yield from _paths(child, here)


def _at(node: Any, path: Path) -> Any:
    for field, index in path:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    return node


def _put(node: Any, path: Path, new: ast.AST) -> None:
    *way, (field, index) = path
    parent = _at(node, tuple(way))
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new


def _name(node: ast.AST) -> str:
    """Name of what a call calls."""
    function = getattr(node, "func", None)
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Wrong versions of one expression, with what is wrong."""
    text = ast.unparse(node)
    if any(_name(part) in ROUNDING for part in ast.walk(node)):
        return
    if isinstance(node, ast.BinOp):
        new = SWAPPED.get(type(node.op))
        if new is not None:
            yield f"{text}: {new.__name__}", ast.BinOp(node.left, new(), node.right)
        if isinstance(node.op, ast.MatMult):
            yield f"{text}: exchanged", ast.BinOp(node.right, node.op, node.left)
        if isinstance(node.op, ast.Mult | ast.Div | ast.MatMult):
            yield f"{text}: twice", ast.BinOp(ast.Constant(2.0), ast.Mult(), node)
            yield f"{text}: sign", ast.UnaryOp(ast.USub(), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):  # not of axis=-1
        yield from [(f"{text}: sign", node.operand)] * (not isinstance(node.operand, ast.Constant))
    if isinstance(node, ast.Call):
        name = _name(node)
        if name in LEFT_OUT and node.args:
            yield f"{text}: left out", node.args[0]
        if len(node.args) == 2 and isinstance(node.func, ast.Name) and not name.startswith(NOT_EXCHANGED):
            yield f"{text}: exchanged", ast.Call(node.func, node.args[::-1], node.keywords)


def _code(tree: ast.Module, file: str | None, name: str) -> types.CodeType | None:
    constants = compile(tree, file or "", "exec").co_consts
    return next((c for c in constants if isinstance(c, types.CodeType) and c.co_name == name), None)


# Who notices


def killer(mutant: Mutant, checks: list[tuple[str, Check]]) -> str | None:
    """Id of the first formula with a check that fails, None if all pass."""
    original = mutant.function.__code__
    if len(original.co_freevars) != len(mutant.code.co_freevars):
        return "not comparable"
    backend = backends.load("numpy", dtype="float64")
    mutant.function.__code__ = mutant.code
    try:
        for id, check in checks:
            signal.alarm(SECONDS)
            result = run_check(check._replace(controls={}), id, backend)
            if not result.residual <= result.tolerance:
                return id
    except TimeoutError:
        return f"{id}, by its time"
    finally:
        signal.alarm(0)
        mutant.function.__code__ = original
    return None


def _uses(function: Any, name: str) -> bool:
    """Whether a function's module has anything of the module ``name``."""
    found = vars(import_module(function.__module__)).values()
    return any(name in (getattr(each, "__module__", ""), getattr(each, "__name__", "")) for each in found)


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError


def main() -> None:
    """Print the survivors and the score of each module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+", help="as bures, or networks.layers")
    signal.signal(signal.SIGALRM, _too_long)
    total = caught = 0
    for short in parser.parse_args().modules:
        name = f"refwfm.{short}"
        module = import_module(name)
        items = list(ledger.by_id().values())
        near = [i for i in items if any(f.__module__ == name for f in i.functions)]
        far = [i for i in items if i not in near and any(_uses(f, name) for f in i.functions)]
        found = list(mutants(module))
        killed = 0
        for mutant in found:
            own = sorted(near, key=lambda i: mutant.function not in i.functions)
            by = killer(mutant, [(i.id, c) for i in (*own, *far) for c in i.checks])
            killed += by is not None
            if by is None:
                sys.stdout.write(
                    f"  survived: {short}.{mutant.function.__name__}:{mutant.line} {mutant.what}\n"
                )
                sys.stdout.flush()
        sys.stdout.write(f"{short}: {killed} of {len(found)} noticed\n")
        total, caught = total + len(found), caught + killed
    sys.stdout.write(f"{caught} of {total}: {caught / max(total, 1):.1%}\n")


if __name__ == "__main__":
    main()
