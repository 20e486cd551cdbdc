"""The structure of ``refwfm/`` in numbers: rooms, imports, storeys, and the way from a command to a formula.

``python -m refwfm.validation.structure`` measures the package that is installed. The file also runs by
itself, ``python validation/structure.py``, on any version that an environment holds, so that two can be
compared.

A *room* is a module or a folder at the top of ``refwfm/``, an *arrow* an import from one into another, and
the *storeys* are the longest way along arrows. The way to a formula is measured, not read: the command trains
one step, and at the first call of the formula the functions of the package that have not returned count.
"""

import ast
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

LONG = 400
"""Lines of a module from which on it holds two ideas."""

BESIDE = ("backends", "validation", "paper_figures")
"""Folders beside ``refwfm/``, which an installed package has inside."""

NO_MODULES = ("__init__", "__main__")

WAYS = {
    "WFM-10 (bures.path)": ("bures", "path", ("--data", "cities")),
    "Sinkhorn's update (sinkhorn.softmin)": ("sinkhorn", "softmin", ("--data", "fours", "--reference")),
}
"""A formula's module and function, and what to train so that it is called."""

SMALL = ("--steps", "1", "--batch", "2", "--width", "4", "--depth", "1", "--quiet")


def main() -> None:
    """Print the numbers."""
    modules, rooms = arrows(by_room=False), arrows(by_room=True)
    lines = [
        f"modules at the top of refwfm/    {len(top())}",
        f"modules in all                   {len(modules)}",
        f"  imports between them           {_count(modules)}",
        f"  storeys                        {storeys(modules)}",
        f"rooms                            {len(rooms)}",
        f"  imports between them           {_count(rooms)}",
        f"  storeys                        {storeys(rooms)}",
        f"modules of more than {LONG} lines   {', '.join(too_long()) or 'none'}",
    ]
    for title, (module, function, options) in WAYS.items():
        way = way_to(module, function, options)
        files = len({file for file, _ in way})
        lines.append(f"from train to {title}: {len(way) - 1} calls through {files} files")
        lines += [f"    {Path(file).stem}.{name}" for file, name in way]
    sys.stdout.write("\n".join(lines) + "\n")


# Files


def _folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed here")
    return Path(spec.origin).parent


def _files() -> Iterator[tuple[str, Path]]:
    """Files of ``refwfm/`` without those of the folders beside it, and their paths in the repository."""
    package = _folder("refwfm")
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if inside.parts[0] not in BESIDE:
            yield inside.as_posix(), path


def top() -> list[str]:
    """Modules that stand at the top of ``refwfm/``, with what it says of itself: ``__init__``."""
    return [Path(name).stem for name, _ in _files() if "/" not in name and name != "__main__.py"]


def too_long() -> list[str]:
    """Modules of all folders with more than ``LONG`` lines."""
    found = [(f"refwfm/{name}", path) for name, path in _files()]
    for beside in BESIDE:
        folder = _folder(f"refwfm.{beside}")
        found += [
            (f"{beside}/{path.relative_to(folder).as_posix()}", path) for path in sorted(folder.rglob("*.py"))
        ]
    counts = ((name, len(path.read_text(encoding="utf-8").splitlines())) for name, path in found)
    return [f"{name} ({count})" for name, count in counts if count > LONG]


# Imports


def arrows(*, by_room: bool) -> dict[str, set[str]]:
    """What each module (or room) of ``refwfm/`` imports of the others."""
    modules = {
        name.removesuffix(".py").replace("/", "."): path
        for name, path in _files()
        if path.stem not in NO_MODULES
    }
    home = _home(set(modules))
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        used = {module for module in map(home, _imports(path)) if module}
        own = name
        if by_room:
            own, used = name.partition(".")[0], {module.partition(".")[0] for module in used}
        found.setdefault(own, set()).update(used - {own})
    return found


def _imports(path: Path) -> set[str]:
    """Full names, without the package's own, of what a file imports from it."""
    return {
        f"{node.module}.{alias.name}".removeprefix("refwfm.")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "refwfm"
        for alias in node.names
    }


def _home(known: set[str]) -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        """Module that a name was imported from: its own, its parent's, or one of a folder that exports it."""
        parent = name.rpartition(".")[0]
        folder = [module for module in known if module.startswith(f"{parent}.")]
        return name if name in known else parent if parent in known else min(folder, default=None)

    return find


def _count(graph: dict[str, set[str]]) -> int:
    return sum(map(len, graph.values()))


def storeys(graph: dict[str, set[str]]) -> int:
    """Longest way along the arrows; a circle raises ``graphlib.CycleError``, which names it."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        height[name] = 1 + max((height[used] for used in graph.get(name, ())), default=0)
    return max(height.values())


# Calls


class _Arrived(BaseException):
    """The formula has been called: nobody on the way may catch this."""


def way_to(module: str, function: str, options: tuple[str, ...]) -> list[tuple[str, str]]:
    """Functions of the package, (file, name) each, from the command to the first call of a formula."""
    from refwfm.cli import app

    found: list[tuple[str, str]] = []
    homes = [str(_folder("refwfm")), str(_folder("refwfm.backends"))]

    def watch(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == function and Path(code.co_filename).stem == module:
            while frame is not None:
                name, file = frame.f_code.co_name, frame.f_code.co_filename
                if any(file.startswith(home) for home in homes) and name[0] != "<":
                    found.append((file, name))
                if name == "train" and Path(file).parent.name == "cli":
                    break
                frame = frame.f_back
            sys.setprofile(None)
            raise _Arrived

    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(watch)
        try:
            app(["train", *options, *SMALL, "--out", f"{folder}/run"], standalone_mode=False)
        except _Arrived:
            pass
        finally:
            sys.setprofile(None)
    return found[::-1]


if __name__ == "__main__":
    main()
