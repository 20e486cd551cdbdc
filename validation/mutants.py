"""Functions broken in small ways: a sign, a factor 2, an operation, an order, a comparison, what is left out.

A factor is changed once: in ``a * b / c`` the whole gets the sign and the 2, not ``a * b`` again, which would
be the same mutant. Checks of arguments, error messages, sizes of blocks, and thresholds of rounding are left
alone, and so is the order of arguments where there is none.
"""

import ast
import copy
import hashlib
import inspect
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

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
OPPOSITE = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
TAKEN_FOR = {
    "max": "min",
    "maximum": "minimum",
    "argmax": "argmin",
    "any": "all",
    "sum": "mean",
    "sin": "cos",
}
TAKEN_FOR |= {other: name for name, other in TAKEN_FOR.items()}
PRODUCT = (ast.Mult, ast.Div, ast.MatMult)


class Mutant(NamedTuple):
    """A changed function.

    Attributes
    ----------
    module, function : str
        Where: ``bures``, ``velocity`` (of a class: ``PointCloud.mask``).
    line : int
    what : str
        The expression and what was done to it; its number, where the function has it more than once.
    source : str
        Hash of the function before, without its docstring: what was learned of a mutant holds as long.
    target : types.FunctionType
        The function whose code is exchanged.
    code : types.CodeType
    """

    module: str
    function: str
    line: int
    what: str
    source: str
    target: types.FunctionType
    code: types.CodeType

    @property
    def key(self) -> str:
        """Name that stays when lines move."""
        return f"{self.module}.{self.function}: {self.what}"


def mutants(module: types.ModuleType, /) -> Iterator[Mutant]:
    """All mutants of the functions and methods of a module, those that check arguments apart.

    Examples
    --------
    >>> from refwfm import interpolation
    >>> {each.function for each in mutants(interpolation)}
    {'displacement', 'displacement_velocity'}
    """
    short = module.__name__.removeprefix("refwfm.")
    for owner, definition in _definitions(module):
        target = _function(vars(owner or module).get(definition.name))
        if target is None:
            continue
        seen: Counter[str] = Counter()
        source = _hash(definition)
        for path in _paths(definition):
            for what, node in _changes(_at(definition, path), _parent(definition, path)):
                changed = copy.deepcopy(definition)
                _put(changed, path, node)
                code = _code(changed, owner, target)
                seen[what] += 1
                if code is not None:
                    number = f" #{seen[what]}" if seen[what] > 1 else ""
                    line = _at(definition, path).lineno
                    name = target.__qualname__
                    yield Mutant(short, name, line, what + number, source, target, code)


def _definitions(module: types.ModuleType) -> Iterator[tuple[type | None, ast.FunctionDef]]:
    """Functions of a module, and methods with their classes."""
    for node in ast.parse(inspect.getsource(module)).body:
        owner = getattr(module, node.name) if isinstance(node, ast.ClassDef) else None
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef) and not _is_left_alone(each.name):
                yield owner, each


def _is_left_alone(name: str) -> bool:
    return name.lstrip("_").startswith("check") or name in SIZES


def _function(value: Any) -> types.FunctionType | None:
    """Return the function behind a property, a class's method or a decorator."""
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, types.FunctionType) else None


def _hash(definition: ast.FunctionDef) -> str:
    plain = copy.deepcopy(definition)
    if ast.get_docstring(plain) is not None:
        plain.body = plain.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(plain).encode()).hexdigest()[:8]


# Where a function can be changed


Path = tuple[tuple[str, int | None], ...]


def _paths(node: ast.AST, path: Path = ()) -> Iterator[Path]:
    """Where the expressions of a function are; error messages, annotations, docstrings, sizes apart."""
    if _name(node) in SIZES:
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "args", "decorator_list") and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.keyword | ast.Raise):
                if isinstance(child, ast.If) and isinstance(child.body[0], ast.Raise):
                    continue
                here = (*path, (field, index))
                if isinstance(child, ast.expr):
                    yield here
                yield from _paths(child, here)


def _at(node: Any, path: Path) -> Any:
    for field, index in path:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    return node


def _parent(node: Any, path: Path) -> Any:
    """What an expression is part of; of the entries of a list, the list's owner."""
    return _at(node, path[:-1])


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


def _code(
    definition: ast.FunctionDef, owner: type | None, target: types.FunctionType
) -> types.CodeType | None:
    """Compile a definition, in a class where it stands in one, and return the function's own code."""
    definition.decorator_list = []
    body: list[ast.stmt] = [definition]
    if owner is not None:
        body = [ast.ClassDef(owner.__name__, bases=[], keywords=[], body=body, decorator_list=[])]
    tree = ast.fix_missing_locations(ast.Module(body, type_ignores=[]))
    old = target.__code__
    code = compile(tree, old.co_filename, "exec")
    if owner is not None:
        code = next(each for each in code.co_consts if isinstance(each, types.CodeType))
    codes = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    found = next(each for each in codes if each.co_name == definition.name)
    return found if found.co_freevars == old.co_freevars else None


# What can be changed


def _changes(node: ast.expr, parent: ast.AST) -> Iterator[tuple[str, ast.expr]]:
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
        if isinstance(node.op, PRODUCT) and not isinstance(getattr(parent, "op", None), PRODUCT):
            yield f"{text}: twice", ast.BinOp(ast.Constant(2.0), ast.Mult(), node)
            if not isinstance(getattr(parent, "op", None), ast.USub):
                yield f"{text}: sign", ast.UnaryOp(ast.USub(), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):  # not of axis=-1
        yield from [(f"{text}: sign", node.operand)] * (not isinstance(node.operand, ast.Constant))
    if isinstance(node, ast.Call):
        name = _name(node)
        if name in LEFT_OUT and node.args:
            yield f"{text}: left out", node.args[0]
        two = len(node.args) == 2 and ast.dump(node.args[0]) != ast.dump(node.args[1])
        if two and isinstance(node.func, ast.Name) and not name.startswith(NOT_EXCHANGED):
            yield f"{text}: exchanged", ast.Call(node.func, node.args[::-1], node.keywords)
        if name == "where" and len(node.args) == 3:
            condition, *values = node.args
            yield f"{text}: exchanged", ast.Call(node.func, [condition, *values[::-1]], node.keywords)
        if name in TAKEN_FOR and isinstance(node.func, ast.Attribute):
            other = ast.Attribute(node.func.value, TAKEN_FOR[name], ast.Load())
            yield f"{text}: {TAKEN_FOR[name]}", ast.Call(other, node.args, node.keywords)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE:
        new = OPPOSITE[type(node.ops[0])]
        yield f"{text}: {new.__name__}", ast.Compare(node.left, [new(), *node.ops[1:]], node.comparators)
