"""Breaking formulas to try the audit: what is changed, who notices, what is kept."""

import json
import signal
import subprocess
import sys
import types
from importlib import import_module

import pytest

from refwfm.validation import ledger, mutations
from refwfm.validation.mutants import mutants
from refwfm.validation.noticing import death, files_of

ITEMS = ledger.by_id()

# Python 3.12 and JAX warn of forking beside threads; the forks here wait for no thread.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:os.fork:RuntimeWarning")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes a module of a source."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source):
        name = f"broken_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return make


def changes(module):
    return [each.what for each in mutants(module)]


# What is changed


def test_every_kind_of_change(module):
    wrong = changes(
        module(
            "def f(xp, a, b):\n    c = xp.sqrt(a) - f(b, a)\n    return xp.where(a < b, -c, xp.max(c) * 3)\n"
        )
    )
    assert wrong == [
        "xp.sqrt(a) - f(b, a): Add",
        "xp.sqrt(a): left out",
        "f(b, a): exchanged",
        "xp.where(a < b, -c, xp.max(c) * 3): exchanged",
        "a < b: GtE",
        "-c: sign",
        "xp.max(c) * 3: Div",
        "xp.max(c) * 3: twice",
        "xp.max(c) * 3: sign",
        "xp.max(c): min",
    ]


def test_a_factor_is_changed_once(module):
    """The sign of ``a * b`` is that of ``a * b / c``: the same mutant."""
    wrong = changes(module("def f(a, b, c):\n    return -(a * b / c)\n"))
    assert [each for each in wrong if each.endswith(("twice", "sign"))] == [
        "-(a * b / c): sign",
        "a * b / c: twice",
    ]


def test_the_same_expression_twice_has_two_names(module):
    wrong = changes(module("def f(a):\n    return (a + 1, a + 1)\n"))
    assert wrong == ["a + 1: Sub", "a + 1: Sub #2"]


def test_errors_and_checks_are_left_alone(module):
    source = (
        "def check_it(a):\n    return a + 1\n\n"
        "def f(a):\n    if a + 1 < 2:\n        raise ValueError(f'{a - 1}')\n    return a\n"
    )
    assert changes(module(source)) == []


def test_methods_and_properties_are_changed_too(module):
    found = module("class C:\n    @property\n    def p(self):\n        return self.a + 1\n")
    (mutant,) = mutants(found)
    assert (mutant.function, mutant.what) == ("C.p", "self.a + 1: Sub")
    mutant.target.__code__ = mutant.code
    thing = found.C()
    thing.a = 5
    assert thing.p == 4


def test_the_source_of_a_function_is_known_by_its_code_alone(module):
    def source_of(text):
        (mutant,) = mutants(module(text))
        return mutant.source

    plain = source_of("def f(a):\n    return a + 1\n")
    assert plain == source_of('\n\ndef f(a):\n    """Say."""\n    return (a + 1)  # why\n')
    assert plain != source_of("def f(b):\n    return b + 1\n")


# Processes


def test_a_process_may_die_or_hang():
    code = (
        "import os, signal, sys\n"
        "from refwfm.validation.forks import in_forks\n"
        "def behave(how):\n"
        "    if how == 'dies':\n        os._exit(3)\n"
        "    if how == 'hangs':\n        signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()\n"
        "    return how\n"
        "print(sorted(map(str, in_forks(behave, ['dies', 'hangs', 'lives'], 2))))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(
        ["('dies', None, 3)", f"('hangs', None, {-signal.SIGALRM})", "('lives', 'lives', 0)"]
    )
    assert death(-signal.SIGALRM) == death(-signal.SIGPROF) == "its time"
    assert "3" in death(3)


# The command


KNOWN = """
["interpolation.displacement"]
source = "{source}"
equivalent."(1.0 - t) * x: Div" = "a trial"
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool with a ledger of a few items only."""

    def call(*arguments, items=("WFM-4", "WFM-7"), known=""):
        few = {id: item for id, item in ITEMS.items() if id in items}
        judged = tmp_path / "equivalent.toml"
        judged.write_text(known)
        monkeypatch.setattr(ledger, "by_id", lambda: few)
        monkeypatch.setattr(mutations, "JUDGED", judged)
        mutations.main([*arguments, "--results", str(tmp_path / "results.jsonl"), "--jobs", "1"])
        return capsys.readouterr().out

    return call


def records(tmp_path):
    return [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]


def numbers(output):
    """Mutants, equivalent ones, noticed by verify, and with the tests, in all."""
    return [int(each) for each in output.splitlines()[-1].removeprefix("in all").split()[:4]]


def test_good_checks_notice_all_of_a_formula(run, tmp_path):
    output = run("interpolation")
    survived = [line for line in output.splitlines() if "survived" in line]
    assert all("_all_in_unit_interval" in line for line in survived)  # which only guards an argument
    count, equivalent, verify, tests = numbers(output)
    assert count - len(survived) == verify == tests > 5
    assert equivalent == 0
    outcomes = [each for each in records(tmp_path) if each.get("by")]
    assert len(outcomes) == verify
    assert all(each["by"].startswith(("WFM-4: ", "WFM-7: ")) for each in outcomes)


def test_what_no_check_notices_survives(run):
    output = run("interpolation", items=("WFM-24",))
    count, _, verify, tests = numbers(output)
    assert verify == tests == 0
    assert output.count("  survived: line ") == count
    assert "interpolation.displacement: (1.0 - t) * x: Div" in output


def test_what_no_check_notices_a_test_does(tmp_path):
    """In a process of its own: pytest cannot run itself twice."""
    program = (
        "import sys\n"
        "from refwfm.validation import ledger, mutations, noticing\n"
        "ledger.by_id = dict\n"
        "noticing.files_of = lambda module: [noticing.TESTS / 'test_interpolation.py']\n"
        "mutations.main(sys.argv[1:])\n"
    )
    options = ["interpolation", "--tests", "--jobs", "1", "--results", str(tmp_path / "results.jsonl")]
    command = [sys.executable, "-c", program, *options]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "survived" not in output
    count, _, verify, tests = numbers(output)
    assert (verify, tests) == (0, count)
    killers = [each["by"] for each in records(tmp_path) if "mutant" in each]
    assert len(killers) == count
    assert all(each.startswith("test_interpolation.py::test_") for each in killers)


def test_a_stopped_run_resumes_and_an_edit_repeats_its_function(run, tmp_path):
    first = run("interpolation")
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:20], ""]))  # stopped while it wrote the fifth
    assert run("interpolation") == first
    assert len(path.read_text().splitlines()) == len(lines) + 1  # with the half
    assert run("interpolation") == first
    assert len(path.read_text().splitlines()) == len(lines) + 1
    edited = path.read_text().replace(source_of("displacement"), "another")
    path.write_text(edited)
    assert run("interpolation") == first
    again = [each for each in records_after(path, edited) if "by" in each]
    assert {each["function"] for each in again} == {"displacement"}


def records_after(path, text):
    return [json.loads(line) for line in path.read_text().removeprefix(text).splitlines()]


def source_of(function):
    module = import_module("refwfm.interpolation")
    return next(each.source for each in mutants(module) if each.function == function)


def test_a_survivor_is_tried_again_when_the_audit_changed(run, tmp_path):
    first = run("interpolation", items=("WFM-24",))
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    assert run("interpolation", items=("WFM-24",)) == first
    assert path.read_text().splitlines() == lines
    audit = next(each["audit"] for each in records(tmp_path) if "audit" in each)
    path.write_text(path.read_text().replace(audit, "another"))
    assert "survived" in run("interpolation", items=("WFM-24",))
    assert len(path.read_text().splitlines()) == len(lines) + numbers(first)[0]


def test_equivalent_mutants_count_apart(run):
    known = KNOWN.format(source=source_of("displacement"))
    output = run("interpolation", items=("WFM-24",), known=known)
    assert numbers(output)[1] == 1
    assert "(1.0 - t) * x: Div" not in output


def test_a_judgement_ends_with_its_function(run):
    output = run("interpolation", items=("WFM-24",), known=KNOWN.format(source="another"))
    assert numbers(output)[1] == 0
    assert "(1.0 - t) * x: Div (equivalent before an edit: a trial)" in output


def test_what_is_noticed_is_not_equivalent(run):
    output = run("interpolation", known=KNOWN.format(source=source_of("displacement")))
    assert numbers(output)[1] == 0
    assert "judged equivalent, but noticed by WFM-" in output


@pytest.mark.parametrize("name", ["nosuch", "transport.nosuch", "nosuch.exact", "os; 1"])
def test_an_unknown_module_is_one_line(capsys, name):
    with pytest.raises(SystemExit):
        mutations.main([name])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"error: there is no module {name!r}; modules of formulas are barycenter, bures" in last


def test_jobs_are_counted_from_one(capsys):
    with pytest.raises(SystemExit):
        mutations.main(["interpolation", "--jobs", "0"])
    assert "--jobs must be at least 1; got 0" in capsys.readouterr().err


def test_modules_are_the_ledgers_and_have_tests():
    found = mutations.modules()
    assert len(found) > 40
    assert {"bures", "transport.exact", "training.optim"} <= set(found)
    assert [path.stem for path in files_of("interpolation")] == [
        "test_interpolation",
        "test_transport_devices",
        "test_examples",
    ]
    for name in found:
        assert isinstance(import_module(f"refwfm.{name}"), types.ModuleType)
        assert len(files_of(name)) > 1, name  # beside the examples


def test_what_was_judged_is_there_with_a_reason():
    """Functions that changed since are for ``mutations`` to say; names and reasons are looked at here."""
    for key, (source, reason) in mutations.judged().items():
        assert len(source) == 8, key
        assert len(reason) > 10, key
