"""The audit: it passes, it covers the formulas, and it fails when a formula or a check is broken."""

import importlib
import inspect
import json
import math
import re
from pathlib import Path

import command
import numpy as np
import pytest
from thirds import THOROUGH, in_third

from refwfm import backends, bures, generation, objectives, psd
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.validation import audit, ledger, textbook, twins
from refwfm.validation import check as checks
from refwfm.validation.check import Check, run, run_check
from refwfm.validation.draws import Draw
from refwfm.validation.items import velocities
from refwfm.validation.plain_formulas import plain, plain_or_prose

ITEMS = ledger.by_id()


def refwfm(*arguments):
    return command.refwfm(*arguments, COLUMNS="140")


# It passes


@pytest.mark.parametrize(
    ("name", "dtype"), [("numpy", "float64"), ("numpy", "float32"), ("strict", "float64")]
)
def test_every_check_passes(name, dtype):
    """On one draw in each dimension, and wrong variants until one draw rejects them; ``verify`` makes all.

    If not thorough, wrong variants are in float64 only, and a third of formulas is in float32 and on strict
    arrays, which laws, calls and the tests of each module are, too.
    """
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name))
    backend = backends.load(name, dtype=dtype)
    items = [
        item._replace(checks=tuple(check._replace(repeats=1) for check in item.checks))
        for items in ledger.sections(backend).values()
        for item in items
        if (name, dtype) == ("numpy", "float64") or in_third(item.id)
    ]
    for result in run(
        items, backend, controls=name == "numpy" and (THOROUGH or dtype == "float64"), until_rejected=True
    ):
        for check in result.checks:
            assert check.ok is not False, f"{result.id}, {check.oracle}: {check.note}"
            assert check.ok or check.note.startswith(("skipped: needs ", "skipped: the same"))


@pytest.mark.parametrize(
    ("name", "id"), [("torch", "WFM-10"), ("torch", "twin-gaussian-loss-and-grad"), ("jax", "WFM-AppC")]
)
def test_other_libraries(name, id):
    pytest.importorskip(name)
    result = refwfm("verify", "--backend", name, "--only", id)
    assert result.exit_code == 0, result.output
    assert f"{name}:cpu, float64" in result.output


# It covers the formulas


@pytest.mark.parametrize("id", ITEMS)
def test_item_is_complete(id):
    item = ITEMS[id]
    assert all((item.paper, item.place, item.title, item.latex, item.statement, item.functions, item.checks))
    variants = set()
    for check in item.checks:
        assert check.controls, check.oracle
        assert check.tolerance.reason
        assert inspect.getdoc(check.residual)
        variants.update(check.controls)
    central = ("WFM-8", "WFM-9", "WFM-10", "WFM-24", "WFM-U4", "WFM-Alg1", "WFM-Alg2")
    assert len(variants) >= (3 if id in central else 1)
    for misprint in item.misprints:
        assert misprint.control is None or misprint.control in variants, misprint.id
    names = [check.oracle for check in item.checks]
    assert len(set(names)) == len(names)  # they seed the random draws


@pytest.mark.parametrize(
    "id",
    [
        *(f"WFM-{number}" for number in range(1, 25)),
        *(f"WFM-U{number}" for number in range(1, 11)),
        *(
            f"WFM-{name}"
            for name in ("Alg1", "Alg2", "Alg3", "Prop3.1", "PropA1", "B.1", "B.2", "B.3", "A.1")
        ),
        *(f"WFM-{name}" for name in ("AppC", "AppD1", "AppD2", "Barycenter", "Eval", "Table2")),
        *(f"GWFM-{number}" for number in range(1, 109)),
        *(f"GWFM-{name}" for name in ("SRC1", "SRC2", "SRC3", "REF", "C4", "C5", "C7")),
    ],
)
def test_everything_the_papers_number_is_audited(id):
    assert ledger.find(id, ITEMS).checks


def test_sections_are_the_modules_of_the_folder_and_share_nothing_by_imports():
    """Inputs and oracles of several sections have modules of their own beside the folder."""
    folder = Path(velocities.__file__).parent
    assert sorted(ledger.SECTIONS.values()) == sorted(
        path.stem for path in folder.glob("*.py") if path.stem != "__init__"
    )
    for path in folder.glob("*.py"):
        assert "refwfm.validation.items" not in path.read_text(), path.name


def test_ids_are_unique():
    ids = [item.id.casefold() for items in ledger.sections().values() for item in items]
    assert len(ids) == len(set(ids))
    assert not set(ids) & {alias.casefold() for alias in ledger.ALIASES}
    assert set(ledger.ALIASES.values()) <= set(ITEMS)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_every_twin_is_audited(name):
    pytest.importorskip(name)
    backend = backends.load(name, dtype="float64")
    reference = backend._replace(ops=backends.load(name, dtype="float64", reference=True).ops)
    different = sum(a is not b for a, b in zip(backend.ops, reference.ops, strict=True))
    assert len(twins.items(backend)) == different
    assert twins.items(reference) == []


# It fails when a formula is broken


def sign(v):
    return Tangent(v.mean, -v.lift)


def transposed(function):
    return lambda *args, **options: tuple(array.mT for array in function(*args, **options))


BROKEN = {
    "the sign of the velocity": (bures, "velocity", lambda f: lambda *a, **k: sign(f(*a, **k)), "WFM-10"),
    "half of the Euclidean velocity": (
        bures,
        "euclidean_velocity",
        lambda f: lambda *a, **k: EuclideanTangent(f(*a, **k).mean, 0.5 * f(*a, **k).cov),
        "WFM-9",
    ),
    "a missing square": (bures, "sq_distance", lambda f: lambda *a, **k: f(*a, **k) ** 0.5, "WFM-24"),
    "a missing root": (psd, "sqrtm", lambda f: lambda cov, **k: cov, "WFM-U4"),
    "transposed factors": (psd, "procrustes_factors", transposed, "WFM-8"),
    "a factor in the derivative": (
        objectives,
        "riemannian_loss",
        lambda f: lambda *a: (f(*a)[0], textbook.scaled(2.0, f(*a)[1])),
        "WFM-11",
    ),
    "an Euler step": (
        generation,
        "exponential_step",
        lambda f: (
            lambda mu, v, h: (
                Gaussian(mu.mean, mu.cov + h * (v.lift @ mu.cov + mu.cov @ v.lift)),
                f(mu, v, h)[1],
            )
        ),
        "WFM-Alg2",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_formula_is_found(monkeypatch, name):
    module, function, breaking, id = BROKEN[name]
    home = importlib.import_module(f"refwfm.validation.items.{MODULES[id]}")
    wrong = breaking(getattr(module, function))
    monkeypatch.setattr(module, function, wrong)
    if getattr(home, function, None) is not None:  # imported by name
        monkeypatch.setattr(home, function, wrong)
    result = refwfm("verify", "--only", id)
    assert result.exit_code == 1, result.output
    assert "failed" in result.output


MODULES = {item.id: ledger.SECTIONS[title] for title, items in ledger.sections().items() for item in items}


def test_an_implementation_that_raises_is_a_failure(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(bures, "velocity", broken)
    result = refwfm("verify", "--only", "WFM-10", "--json")
    assert result.exit_code == 1
    first = json.loads(result.stdout)["items"][0]["checks"][0]
    assert first["residual"] is None
    assert "no such luck" in first["note"]


# It fails when a check is blind


def blind(implementation, draw):
    """Anything goes."""
    draw.call(implementation, draw.normal(2))
    return 0.0


def make(residual=blind, controls=None, **options):
    wrong = {"twice": lambda x: 2.0 * x} if controls is None else controls
    return Check("none", residual, lambda x: x, wrong, checks.roundings(1, "a test"), **options)


def test_a_blind_check_fails():
    result = run_check(make(), "test", backends.load("numpy", dtype="float64"))
    assert result.ok is False
    assert result.note == "blind: does not reject 'twice'"
    assert (
        run_check(make(controls={}), "test", backends.load("numpy")).note == "blind: has no negative control"
    )


@pytest.mark.parametrize(("factor", "ok"), [(1.5, True), (1.0, False)])
def test_a_control_is_spared_the_draws_after_its_rejection(factor, ok):
    """The same verdict from the first dimension where it shows; a control that passes is asked everywhere."""
    asked = []

    def seeing(implementation, draw):
        """Notice a factor from three dimensions on."""
        found = implementation(1.0) - 1.0 if draw.d > 2 else 0.0
        if found or factor == 1.0:
            asked.append(draw.d)
        return found

    check = make(seeing, controls={"other": lambda x: factor * x}, dimensions=(1, 2, 3, 6), repeats=1)
    for early, expected in ((False, [3, 6]), (True, [3])):
        asked.clear()
        result = run_check(check, "test", backends.load("numpy"), until_rejected=early)
        assert result.ok is ok
        assert asked == (
            expected if ok else [1, 2, 3, 6] * 2
        )  # a passing one: its own draws, then the control's


def test_a_control_that_cannot_run_is_not_rejected():
    def broken(x):
        raise ValueError("wrong shape")

    def seeing(implementation, draw):
        """Notice a factor."""
        x = draw.normal(2)
        return textbook.relative(draw.call(implementation, x), x)

    backend = backends.load("numpy", dtype="float64")
    assert run_check(make(seeing), "test", backend).ok
    result = run_check(make(seeing, {"raises": broken}), "test", backend)
    assert result.ok is False
    assert "wrong shape" in result.note
    assert run_check(make(lambda f, draw: float("nan")), "test", backend).ok is False


def test_nan_never_passes():
    def forgiving(implementation, draw):
        """Python's maximum forgets NaN."""
        x = draw.normal(2)
        return max(0.0, float(np.max(np.abs(draw.call(implementation, x) - x))))

    backend = backends.load("numpy", dtype="float64")
    assert run_check(make(forgiving), "test", backend).ok
    wrong = make(forgiving)._replace(implementation=lambda x: x * float("nan"))
    result = run_check(wrong, "test", backend)
    assert result.ok is False
    assert result.residual == math.inf
    assert run_check(make(forgiving, {"NaN": lambda x: x * float("nan")}), "test", backend).ok


def test_the_worst_of_residuals_is_nan_where_one_is():
    """A NaN in a gradient comes from a pullback, which no draw looks at."""
    assert max(0.5, math.nan) == 0.5
    assert checks.worst_of(0.5, np.float32(2.0)) == 2.0
    assert all(math.isnan(checks.worst_of(*pair)) for pair in ((0.5, math.nan), (math.nan, 0.5)))


def test_no_residual_is_a_maximum_of_pythons():
    """Which forgets NaN, unless it comes first."""
    for path in Path(checks.__file__).parent.rglob("items/*.py"):
        assert not re.search(r"(worst =|return) max\(", path.read_text()), path


def test_a_misprint_is_told_once_with_the_oracle_of_each_residual():
    table = refwfm("verify", "--only", "WFM-13").stdout.partition("tell them apart")[2]
    assert table.count("E1 ") == 1
    assert table.count("∇f̂(x)") == 2  # as printed, as meant
    assert "\\hat" not in table
    for oracle in ("finite differences", "the kernel scaled", "closed form"):
        assert oracle in table


def test_a_blind_check_makes_verify_fail(monkeypatch):
    monkeypatch.setattr(velocities, "velocity_is_the_textbooks", blind_velocity)
    result = refwfm("verify", "--only", "WFM-10")
    assert result.exit_code == 1
    assert "does not reject 'the sign'" in " ".join(result.output.split())


def blind_velocity(velocity, draw):
    """Anything goes."""
    return 0.0


def test_a_check_without_its_oracle_is_skipped():
    result = run_check(make(needs="no_such_package"), "test", backends.load("numpy"))
    assert result.ok is None
    assert result.note == "skipped: needs no_such_package"


@pytest.mark.parametrize(("name", "dtype"), [("numpy", "float32"), ("strict", "float64")])
def test_what_is_the_same_everywhere_is_asked_once(name, dtype):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name))
    once = make(everywhere=False)
    assert run_check(once, "test", backends.load("numpy", dtype="float64")).note.startswith("blind")
    assert run_check(once, "test", backends.load(name, dtype=dtype)).ok is None


def test_skipped_is_not_ok(monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    result = refwfm("verify", "--only", "WFM-24")
    assert result.exit_code == 0
    assert "skipped: needs mpmath" in " ".join(result.output.split())
    needing = sum(check.needs is not None for check in ITEMS["WFM-24"].checks)
    assert f"{needing} skipped" in result.output


# The random draws


def test_draws_are_repeatable_and_rounded():
    def draw(dtype="float32"):
        backend = backends.load("numpy", dtype=dtype)
        return Draw(np.random.default_rng(0), 3, 4, dtype, backend)

    mu = draw().gaussians()
    np.testing.assert_array_equal(mu.cov, draw().gaussians().cov)
    np.testing.assert_array_equal(mu.cov, mu.cov.astype(np.float32))
    np.testing.assert_array_equal(mu.cov, mu.cov.mT)
    assert draw().call(lambda x: x, mu.mean).dtype == np.float64
    assert draw().call(lambda x: str(x.dtype), mu.mean) == "float32"
    cov, factors = draw().singular()[0].cov, draw().singular()[1]
    np.testing.assert_array_equal(cov, (factors @ factors.mT).astype(np.float32))


def test_the_seed_changes_the_numbers():
    outputs = [
        json.loads(refwfm("verify", "--only", "WFM-6", "--seed", s, "--json").stdout) for s in (0, 0, 1)
    ]
    residuals = [output["items"][0]["checks"][0]["residual"] for output in outputs]
    assert residuals[0] == residuals[1] != residuals[2]


# The command


def test_table_and_misprints():
    result = refwfm("verify", "--only", "wfm-21", "--only", "WFM-8")
    assert result.exit_code == 0, result.output
    for words in (
        "WFM-21",
        "conditional.gradient_half_sq_distance",
        "finite differences",
        "E3",
        "2 formulas",
        "0 failed",
    ):
        assert words in result.output


def test_json():
    result = refwfm("verify", "--only", "WFM-10", "--dtype", "float32", "--json")
    assert result.exit_code == 0
    output = json.loads(result.stdout)
    assert {"cpu", "cores", "python"} <= output["machine"].keys()
    assert output["versions"]["numpy"] == np.__version__
    (item,) = output["items"]
    assert (item["id"], item["function"]) == ("WFM-10", "bures.velocity, bures.path")
    assert (item["backend"], item["dtype"]) == ("numpy", "float32")
    for check in item["checks"]:
        assert check["ok"] is True
        assert 0 <= check["residual"] <= check["tolerance"]
        assert all(control["residual"] > check["tolerance"] for control in check["controls"])
        assert all(isinstance(control["variant"], str) for control in check["controls"])


@pytest.mark.parametrize("arguments", [("verify", "--only", "WFM-99"), ("explain", "WFM-99")])
def test_an_unknown_id_gives_one_line_with_the_nearest(arguments):
    result = refwfm(*arguments)
    assert result.exit_code == 2
    assert "'WFM-99'; nearest: WFM-9, " in result.stderr
    assert result.stderr.count("\n") == 1
    assert "GWFM-32" not in result.stderr


def test_an_unknown_dtype_gives_one_line():
    result = refwfm("verify", "--dtype", "float16")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: unknown dtype 'float16'; choose float32 or float64\n",
    )


def test_all_backends_are_those_installed_in_both_dtypes(monkeypatch):
    monkeypatch.setattr(backends, "INSTALL", {"numpy": "", "cupy": ""})
    result = refwfm("verify", "--backend", "all", "--only", "WFM-2", "--jobs", "1", "--json")
    assert result.exit_code == 0
    found = [(item["backend"], item["dtype"]) for item in json.loads(result.stdout)["items"]]
    assert found[:1] == [("numpy", "float64")]
    assert ("numpy", "float32") in found


def test_some_libraries_are_audited_in_one_dtype_unless_another_is_asked_for(monkeypatch):
    monkeypatch.setattr(backends, "INSTALL", {"numpy": ""})
    monkeypatch.setattr(audit, "ONE_DTYPE", {"numpy": "float64"})
    assert [part.dtype for part in audit.prepare("all", None, ["WFM-2"])] == ["float64"]
    assert [part.dtype for part in audit.prepare("all", "all", ["WFM-2"])] == ["float64", "float32"]


@pytest.mark.parametrize("name", ["strict", "jax"])
def test_one_backend_alone_is_audited_in_float64_unless_another_is_asked_for(name):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name))
    assert [part.dtype for part in audit.prepare(name, None, ["WFM-2"])] == ["float64"]
    assert [part.dtype for part in audit.prepare(name, "float32", ["WFM-2"])] == ["float32"]


def test_processes_find_what_one_finds():
    parts = audit.prepare("numpy", "all", ["WFM-16", "WFM-U2"])
    audit.perform(parts, jobs=2)
    alone = audit.prepare("numpy", "all", ["WFM-16", "WFM-U2"])
    audit.perform(alone, jobs=1)
    for part, other in zip(parts, alone, strict=True):
        assert list(part.results) == ["WFM-U2", "WFM-11"]
        for id, result in part.results.items():
            assert str(result.checks) == str(other.results[id].checks)  # NaN, where skipped, is not itself


def test_a_compiling_library_is_audited_on_one_draw_unless_all_are_asked_for(monkeypatch):
    seen = []

    def dimension(implementation, draw):
        """Note the dimension."""
        seen.append(draw.d)
        return 0.0 if draw.call(implementation, draw.normal(1)) is not None else math.inf

    monkeypatch.setattr(checks, "COMPILING", ("numpy",))
    backend = backends.load("numpy", dtype="float64")
    run_check(make(dimension, {}), "test", backend)
    run_check(make(dimension, {}), "test", backend, every_draw=True)
    assert seen == [3, *sorted([1, 2, 3, 6, 16] * 2)]


def test_other_libraries_than_numpy_are_asked_once_in_each_dimension_unless_more_is_asked_for():
    seen = []

    def dimension(implementation, draw):
        """Note the dimension."""
        seen.append(draw.d)
        return 0.0 if draw.call(implementation, draw.normal(1)) is not None else math.inf

    strict = backends.load("strict", dtype="float64")
    run_check(make(dimension, {}), "test", strict)
    assert seen == [3]
    run_check(make(dimension, {}), "test", strict._replace(name="another"))
    assert seen[1:] == [1, 2, 3, 6, 16]
    run_check(make(dimension, {}), "test", strict, every_draw=True)
    run_check(make(dimension, {}), "test", backends.load("numpy", dtype="float64"))
    assert seen[6:] == 2 * sorted([1, 2, 3, 6, 16] * 2)


def test_overview_of_several_backends(monkeypatch):
    monkeypatch.setattr(backends, "INSTALL", {"numpy": ""})
    broken = lambda *args, **options: bures.Tangent(np.zeros((3, 1)), np.zeros((3, 1, 1)))  # noqa: E731
    monkeypatch.setattr(bures, "velocity", broken)
    result = refwfm("verify", "--backend", "all", "--only", "WFM-10", "--only", "WFM-2", "--jobs", "1")
    assert result.exit_code == 1
    assert "largest residual / tolerance" in result.output
    assert "failed" in result.output


@pytest.mark.parametrize("id", [id for id in ITEMS if in_third(id) or ITEMS[id].misprints])
def test_explain(id):
    result = refwfm("explain", id.lower())
    assert result.exit_code == 0, result.output
    item = ITEMS[id]
    for words in (item.title, item.statement, plain(item.latex), item.checks[0].oracle, f"--only {id}"):
        assert words in result.output
    assert f"def {item.functions[0].__name__}(" in result.output
    for misprint in item.misprints:
        assert plain_or_prose(misprint.printed) in result.output
    assert "\\frac" not in result.output.partition("Checks")[0].partition("def ")[0]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("10", ["WFM-10", "GWFM-10", "META-OT-10", "META-FM-10"]),
        ("(24)", ["WFM-24", "GWFM-24"]),
        ("gwfm-32", ["GWFM-32"]),
        ("U6", ["WFM-11"]),
        ("E1", ["WFM-13"]),
        ("bures.velocity", ["WFM-10", "WFM-23"]),
        ("bures_metric.sq_distance", ["WFM-24"]),
        ("sinkhorn", ["WFM-12"]),
        ("average to the identity", ["WFM-Barycenter"]),
    ],
)
def test_what_explain_finds(asked, found):
    assert [item.id for item in ledger.search(asked, ITEMS)][: len(found)] == found


def test_what_is_not_found_has_neighbours():
    with pytest.raises(ValueError, match=r"nothing is called 'velocti'; nearest: velocity, "):
        ledger.search("velocti", ITEMS)
    with pytest.raises(ValueError, match=r"ids are such as WFM-U2, "):
        ledger.search("0x0000", ITEMS)
    with pytest.raises(ValueError, match="nothing is called ''"):
        ledger.search("", ITEMS)


def test_other_findings_are_listed():
    result = refwfm("explain", "10")
    assert result.output.startswith("WFM-10  ")
    assert "3 more for '10'" in result.output
    assert "GWFM-10  " in result.output


def test_an_alias_is_the_item_that_audits_it():
    for alias, id in ledger.ALIASES.items():
        assert ledger.find(alias.lower(), ITEMS) is ITEMS[id]
    alias, id = next(iter(ledger.ALIASES.items()))
    result = refwfm("explain", alias)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{id}  {ITEMS[id].title}")
