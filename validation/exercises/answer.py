"""Runs a student's file in a process of its own, which it cannot take the command down with.

``python -m refwfm.validation.exercises.answer ID FILE VERDICT`` judges the file and writes the verdict.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from refwfm.transport.programme import POT_ALONE
from refwfm.validation.exercises import catalogue
from refwfm.validation.exercises.exercise import Exercise, Function, RaisedError, Verdict, judge

LIMIT = 60.0
"""Seconds that a file may take."""


def check(exercise: Exercise, path: Path, /, *, limit: float = LIMIT) -> Verdict:
    """Judge the function of an exercise in a file.

    Parameters
    ----------
    exercise : Exercise
    path : Path
        A Python file. What it prints is passed on.
    limit : float
        Seconds after which it is stopped.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "verdict.json"
        child = [sys.executable, "-W", "ignore", "-m", __name__, exercise.id, str(path), str(kept)]
        environment = {**os.environ, **POT_ALONE}
        try:
            ended = subprocess.run(child, check=False, timeout=limit, env=environment)
        except subprocess.TimeoutExpired:
            return Verdict(False, f"{path} was stopped after {limit:g} s: is there a loop that does not end?")
        if not kept.exists():
            return Verdict(
                False, f"{path} ended its process before it had answered (exit code {ended.returncode})"
            )
        return Verdict(*json.loads(kept.read_text("utf-8")))


def main() -> None:
    """Judge, and write the verdict."""
    id, file, kept = sys.argv[1:]
    verdict = check_here(catalogue.find(id), Path(file))
    Path(kept).write_text(json.dumps(verdict), "utf-8")


def check_here(exercise: Exercise, path: Path, /) -> Verdict:
    """Judge a file in this process; whatever it raises is its verdict."""
    try:
        return judge(exercise, load(path, exercise.name))
    except Exception as raised:  # of the student's
        error = raised.__cause__ if isinstance(raised, RaisedError) else raised
        if isinstance(error, NotImplementedError):
            return Verdict(False, f"{exercise.name} in {path} is not written yet")
        return Verdict(False, _in_words(error, path))


def load(path: Path, name: str, /) -> Function:
    """Run a file and return its function of this name.

    Raises
    ------
    ValueError
        If there is none: names those there are.
    """
    spec = importlib.util.spec_from_loader("answer", None)
    assert spec
    module = importlib.util.module_from_spec(spec)
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102  what is asked for
    function = getattr(module, name, None)
    if callable(function):
        return function
    defined = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == "answer"]
    raise ValueError(f"{path} has no function {name}; it defines {', '.join(defined) or 'none'}")


def _in_words(error: BaseException | None, path: Path) -> str:
    """One line: where in the student's file, and what."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if lines:
        advice = "; arguments must not be changed, work on a copy" if "read-only" in what else ""
        return f"{path}, line {lines[-1]}: {what}{advice}"
    return str(error) if isinstance(error, ValueError) else f"{path}: {what}"


if __name__ == "__main__":
    main()
