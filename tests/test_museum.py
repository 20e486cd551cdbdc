"""The museum: exhibits are well-formed, all are noticed, and one that is no failure is not."""

import re

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm.cli._common import console
from refwfm.transport.exact import transport_plan
from refwfm.validation import audit, ledger, report
from refwfm.validation.museum import catalogue, exhibit, points
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, examine, find_check, near, refuses

EXHIBITS = list(catalogue.by_id().values())
TRAPS = [each for each in EXHIBITS if isinstance(each.evidence, Trap)]
MUTANTS = [each for each in EXHIBITS if isinstance(each.evidence, Mutant)]


@pytest.fixture(scope="module")
def known():
    return ledger.by_id()


def an_exhibit(evidence):
    return Exhibit("control-1", "a control", "owner/name#1", 2026, "Nothing happened, to nobody.", evidence)


def verdict_of(evidence, known):
    (verdict,) = examine([an_exhibit(evidence)], known)
    return verdict


# Exhibits


def test_there_are_enough_and_no_thread_is_shown_twice():
    assert len(EXHIBITS) >= 40
    assert len(EXHIBITS) == sum(len(room) for room in catalogue.rooms().values())  # no id is used twice
    assert len({each.thread for each in EXHIBITS}) == len(EXHIBITS)
    assert len(MUTANTS) >= 15
    assert len(TRAPS) >= 15


@pytest.mark.parametrize("each", EXHIBITS, ids=lambda each: each.id)
def test_well_formed(each, known):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", each.thread)
    assert each.id.rpartition("-")[2] == each.thread.rpartition("#")[2]
    assert 2005 < each.year <= 2026
    assert not each.title.endswith(".")
    assert each.title[0].islower() or not each.title[0].isalpha()
    assert each.story.endswith(".")
    assert 40 < len(each.story) < 400
    assert exhibit.link(each).startswith("https://github.com/")
    assert exhibit.wrong_function(each).__doc__
    if isinstance(each.evidence, Mutant):
        assert find_check(each.evidence, known).implementation is not each.evidence.wrong
    else:
        assert each.evidence.question.__doc__
        assert each.evidence.ours is not each.evidence.naive


@pytest.mark.parametrize("each", EXHIBITS, ids=lambda each: each.id)
def test_every_exhibit_is_noticed(each, known):
    (verdict,) = examine([each], known)
    if verdict.noticed is None:
        pytest.skip(verdict.note)
    assert verdict.noticed, verdict.note


@pytest.mark.parametrize("each", TRAPS, ids=lambda each: each.id)
@pytest.mark.filterwarnings("ignore")
def test_naive_versions_fall_into_their_traps(each):
    """A trap that nobody falls into shows nothing."""
    if each.evidence.needs is not None:
        pytest.importorskip(each.evidence.needs)
    with np.errstate(all="ignore"):
        assert not exhibit.answers(each.evidence.question, each.evidence.naive)[0]


# Controls: the museum can see


def test_right_code_is_reported_as_not_noticed(known):
    right = Mutant("GWFM-1", "SciPy linprog (HiGHS)", transport_plan)
    verdict = verdict_of(right, known)
    assert verdict.noticed is False
    assert "does not reject 'the mutant'" in verdict.note


def test_a_mutant_that_cannot_run_is_not_noticed(known):
    """An error of the re-creation says nothing about the check."""

    def broken(cost, a, b):
        raise RuntimeError("no such thing")

    verdict = verdict_of(Mutant("GWFM-1", "SciPy linprog (HiGHS)", broken), known)
    assert verdict.noticed is False
    assert "no such thing" in verdict.note


def test_a_trap_that_catches_nobody_is_blind(known):
    ours = points.sq_euclidean_cost
    verdict = verdict_of(Trap(points.a_hundred_is_not_nothing, ours, ours), known)
    assert verdict.noticed is False
    assert "blind" in verdict.note


def test_a_trap_that_catches_ours_is_not_noticed(known):
    naive = points.expanded
    verdict = verdict_of(Trap(points.a_hundred_is_not_nothing, naive, naive), known)
    assert verdict.noticed is False
    assert "ours gives a wrong answer" in verdict.note


def test_what_is_not_installed_is_skipped(known):
    naive, ours = points.expanded, points.sq_euclidean_cost
    verdict = verdict_of(Trap(points.a_hundred_is_not_nothing, ours, naive, "no_such_package"), known)
    assert verdict.noticed is None
    assert "no_such_package" in verdict.note


def test_a_check_that_is_not_there(known):
    for item, oracle in (("GWFM-1", "a guess"), ("GWFM-0", "SciPy linprog (HiGHS)")):
        with pytest.raises(ValueError, match="no check"):
            find_check(Mutant(item, oracle, transport_plan), known)


def test_helpers_of_questions():
    assert near([1.0, 2.0], [1.0, 2.0 + 1e-9], 1e-8)
    assert not near([1.0, 2.0], [1.0, 2.1], 1e-8)
    assert not near(np.nan, 1.0, 1e9)
    assert not near(1.0 + 1e-30j, 1.0, 1.0)
    assert not near([1.0], 1.0, 1.0)
    assert refuses(int, "no number")
    assert not refuses(int, "1")


# The command


@pytest.fixture
def wide(monkeypatch):
    """Room for a row of the table on one line."""
    monkeypatch.setattr(console, "_width", 250)


def test_command_prints_a_table_and_the_verdicts(wide):
    text = succeed("museum", "--only", "POT-138", "--only", "faiss-297")
    assert "PythonOT/POT#138" in text
    assert "noticed by GWFM-32: POT, the same directions" in text
    assert "noticed by no square is negative" in text
    assert "2 exhibits: 2 noticed, 0 skipped, 0 not noticed" in text


def test_command_tells_the_story_of_one(wide):
    text = succeed("museum", "pot-190")
    for words in (
        "uniform weights are infeasible",
        "https://github.com/PythonOT/POT/issues/190",
        "def nothing_unless_sums_are_equal",
        "def uniform_weights_have_a_plan",
        "noticed by uniform weights have a plan",
    ):
        assert words in text
    assert "def weights_left_in_their_order" in succeed("museum", "POT-138")


def test_command_fails_when_one_is_not_noticed(wide, monkeypatch):
    control = an_exhibit(Mutant("GWFM-1", "SciPy linprog (HiGHS)", transport_plan))
    monkeypatch.setattr(catalogue, "by_id", lambda: {control.id: control})
    result = refwfm("museum")
    assert result.exit_code == 1
    assert "not noticed by GWFM-1" in result.output
    assert "1 exhibits: 0 noticed, 0 skipped, 1 not noticed" in result.output


def test_command_knows_no_other():
    assert_error(
        refwfm("museum", "POT-0"), "unknown exhibit 'POT-0'", "did you mean POT-", "refwfm museum lists all"
    )


# The report


def test_report_has_a_section(known):
    parts = audit.prepare("numpy", "float64", ["WFM-24"])
    audit.perform(parts, jobs=1)
    shown = [catalogue.by_id()[id] for id in ("POT-708", "faiss-297")]
    control = an_exhibit(Mutant("GWFM-1", "SciPy linprog (HiGHS)", transport_plan))
    html = report.page(parts, seed=0, museum=list(examine([*shown, control], known)))
    section = html[html.index('<section id="museum">') :]
    assert '<a href="https://github.com/PythonOT/POT/issues/708">PythonOT/POT#708</a>, 2024' in section
    assert '<a href="#WFM-24">WFM-24: textbook, SciPy sqrtm</a>' in section
    assert "no square is negative" in section
    assert '<span class="bad">blind: does not reject' in section
    assert "2 of 3 are noticed" in section
    assert '<a href="#museum">' in html
    assert "museum" not in report.page(parts, seed=0)
