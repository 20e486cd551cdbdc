"""The course: its exercises can be solved, known mistakes are named, and its chapters run."""

import doctest
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import course_solutions
import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from thirds import THOROUGH

from refwfm.transport.programme import POT_ALONE
from refwfm.validation import ledger, textbook
from refwfm.validation.exercises import answer, catalogue
from refwfm.validation.exercises.exercise import REPAIRS, judge

EXERCISES = list(catalogue.by_id().values())
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
CHAPTERS = sorted((Path(__file__).parents[1] / "course").glob("[0-9]*.py"))


def solution(exercise):
    return getattr(course_solutions, exercise.id.replace("-", "_"))


@pytest.fixture(scope="module", autouse=True)
def pot():
    """POT is imported without the libraries that it would take with it."""
    textbook.pot_gaussian()


@pytest.fixture(scope="module")
def known():
    return ledger.by_id()


# Exercises


def test_five_a_chapter_in_order():
    assert all(len(catalogue.chapter(title)) == catalogue.EACH for title in catalogue.CHAPTERS)
    assert [exercise.id for exercise in EXERCISES] == [f"ex-{k:02}" for k in range(1, len(EXERCISES) + 1)]
    assert all(catalogue.find(exercise.id.upper()).title == exercise.title for exercise in EXERCISES)


@each_exercise
def test_the_solution_passes(exercise):
    verdict = judge(exercise, solution(exercise))
    assert verdict.passed, verdict.note


@each_exercise
def test_known_mistakes_are_named(exercise):
    """Each fails, with its own diagnosis, so that no two are the same function."""
    assert len(exercise.mistakes) >= 3
    for note, mistake in exercise.mistakes.items():
        assert judge(exercise, mistake) == (False, note)


@each_exercise
def test_what_changes_the_solution_is_undone(exercise):
    """A wrong sign or factor that is no mistake of the list is found by what repairs it."""

    def twice(*arguments):
        return 2.0 * solution(exercise)(*arguments)

    if not isinstance(solution(exercise)(*an_input(exercise)), tuple):
        verdict = judge(exercise, twice)
        assert verdict.note == "It is twice what it should be." or verdict.note in exercise.mistakes


def an_input(exercise):
    """Arguments that an exercise is asked with."""
    given = []

    def record(*arguments):
        given.append(arguments)
        return solution(exercise)(*arguments)

    assert judge(exercise, record).passed
    return given[0]


@each_exercise
def test_the_example_holds(exercise):
    names = {"np": np, exercise.name: solution(exercise)}
    docstring = exercise.stub.partition('"""')[2].rpartition('"""')[0]
    example = doctest.DocTestParser().get_doctest(docstring, names, exercise.id, None, None)
    said = []
    assert example.examples
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)


@each_exercise
def test_well_formed(exercise, known):
    item = ledger.find(exercise.item, known)
    compile(exercise.stub + "    raise NotImplementedError\n", exercise.id, "exec")
    signature = [name.strip() for name in exercise.stub.partition("(")[2].partition(")")[0].split(",")]
    assert signature == list(inspect.signature(solution(exercise)).parameters)
    assert exercise.item in exercise.stub
    assert max(map(len, exercise.stub.splitlines())) <= 120
    for note in (*exercise.mistakes, *exercise.hints):
        assert note.endswith(("?", ".", "!"))
        assert len(note) < 320
    if exercise.residual.__module__.startswith("refwfm.validation.items"):
        assert exercise.residual in [check.residual for check in item.checks]


# What cannot be judged

SORTED = catalogue.find("ex-01")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, y: None, "returns None"),
        (lambda x, y: "one", "no array of numbers: 'one'"),
        (lambda x, y: x, r"shape (7,), expected () (for arguments of shapes (7,), (7,))"),
        (lambda x, y: np.nan, "NaN or infinity"),
        (lambda x, y: (x, y), "returns a tuple of 2 arrays, expected one array"),
        (lambda x, y: 1j, "no array of numbers"),
        (lambda x, y: 3.0, "none of the known mistakes"),
    ],
)
def test_unusable_answers_are_told(function, words):
    verdict = judge(SORTED, function)
    assert not verdict.passed
    assert words in verdict.note


BROKEN = dict(
    zip(
        REPAIRS,
        (np.negative, lambda r: r / 2, lambda r: 2 * r, np.square, np.sqrt, np.transpose),
        strict=True,
    )
)
"""What makes a right result wrong, by the note that must follow."""


@pytest.mark.parametrize("note", BROKEN)
def test_repairs_repair(note):
    """A function that is wrong in this one way is told so."""
    outer = SORTED._replace(residual=product_is_outer, adapt=lambda f: f, mistakes={"zeros": zeros})
    found = judge(outer, lambda x, y: BROKEN[note](np.outer(x, y)))
    assert found == (False, note)


def zeros(x, y):
    return np.zeros((len(x), len(y)))


def product_is_outer(outer, draw):
    x, y = np.abs(draw.normal(4)), np.abs(draw.normal(4))
    return np.max(np.abs(outer(x, y) - np.outer(x, y)))


# Files


@pytest.fixture
def mine(tmp_path):
    def write(text):
        (tmp_path / "mine.py").write_text(text)
        return tmp_path / "mine.py"

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def sq_distance(x, y):\n    return x +\n", "mine.py, line 2: SyntaxError"),
        ("def distance(x, y):\n    return 0.0\n", "has no function sq_distance; it defines distance"),
        ("x = 1\ny = 1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("def sq_distance(x, y):\n    x.sort()\n", "work on a copy"),
        ("def sq_distance(x, y):\n    raise NotImplementedError\n", "is not written yet"),
    ],
)
def test_files_that_cannot_be_judged(mine, text, words):
    verdict = answer.check_here(SORTED, mine(text))
    assert not verdict.passed
    assert words in verdict.note
    assert "\n" not in verdict.note


def test_a_file_cannot_take_the_command_with_it(mine):
    verdict = answer.check(SORTED, mine("raise SystemExit(4)\n"))
    assert verdict.note.endswith("ended its process before it had answered (exit code 4)")
    right = "import numpy as np\ndef sq_distance(x, y):\n    return np.mean((np.sort(x) - np.sort(y)) ** 2)\n"
    assert answer.check(SORTED, mine(right)) == answer.check_here(SORTED, mine(right))
    verdict = answer.check(SORTED, mine("while True: pass\n"), limit=0.5)
    assert verdict.note.endswith("was stopped after 0.5 s: is there a loop that does not end?")


# The command


def test_the_way_through_an_exercise(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(answer, "check", answer.check_here)  # processes take a second each
    path = tmp_path / "mine.py"
    assert "0 passed" in succeed("check")
    assert "def sq_distance(x, y):" in succeed("check", "ex-01")
    assert SORTED.hints[1] in succeed("check", "ex-01", "--hint", 2).replace("\n", " ")
    assert "fill in sq_distance" in succeed("check", "ex-01", "--start", path)
    result = refwfm("check", "ex-01", path)
    assert result.exit_code == 1
    assert "is not written yet" in result.stdout
    path.write_text(path.read_text().replace("raise NotImplementedError", "return np.mean((x - y) ** 2)"))
    assert "paired as they come" in refwfm("check", "ex-01", path).stdout
    path.write_text(path.read_text().replace("(x - y)", "(np.sort(x) - np.sort(y))"))
    told = succeed("check", "EX-01", path)
    assert "ex-01 passed, held against SciPy" in told
    assert "refwfm explain WFM-3" in told
    assert "1 passed" in succeed("check")
    assert json.loads((tmp_path / "cache" / "course.json").read_text()) == ["ex-01"]


def test_the_command_knows_what_it_cannot_do(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path))
    (tmp_path / "course.json").write_text("no JSON")
    assert "0 passed" in succeed("check")
    assert_error(refwfm("check", "ex-99"), "unknown exercise 'ex-99'", "refwfm check lists all")
    assert_error(refwfm("check", "ex-01", tmp_path / "none.py"), "none.py", "No such file")
    assert_error(refwfm("check", "ex-01", "--start", tmp_path / "course.json"), "is there already")
    assert_error(refwfm("check", "--hint", 1), "name an exercise")
    assert_error(refwfm("check", "ex-01", "mine.py", "--hint", 1), "leave out")


# Chapters


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS if THOROUGH else CHAPTERS[:2], ids=lambda path: path.stem)
def test_chapters_run(path, tmp_path):
    environment = {**os.environ, **POT_ALONE, "MPLBACKEND": "Agg"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.glob("pictures/*.png"))
