"""The hostile corpus: its cases are right, this package answers them, and a broken one is found out."""

import json
from collections import Counter
from importlib.util import find_spec

import hostile_oracles
import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from thirds import THOROUGH

from refwfm._array import to_host
from refwfm.validation.hostile import adapters, cases, places, survey
from refwfm.validation.hostile.adapters import Adapter, ours
from refwfm.validation.hostile.cases import Case, Given
from refwfm.validation.hostile.judge import (
    ERROR,
    GOOD,
    NOT_ASKED,
    RIGHT,
    UNCHECKED,
    WARNED,
    WRONG,
    judge,
    matches,
)
from refwfm.validation.hostile.questions import QUESTIONS

CASES = cases.load()
BY_ID = {case.id: case for case in CASES}

SLOW = {"many-chamfer", "many-sinkhorn", "many-line-weights", "ties-divergence", "ties-divergence-order"}
SLOW |= set() if THOROUGH else {"eps-divergence-small"}
STUBBORN = {"far-plane-weights", "eps-divergence-small", "eps-negative-cost", "eps-offset", "eps-offset-plan"}
"""Cases of thousands of iterations, which take array-api-strict longer than all others together."""
OTHERWISE = {"rank-interpolate-from-dirac", "eps-zero-plan"}
"""Cases whose answer is a limit that the oracle does not take."""


# The data


def test_the_corpus_is_large_and_its_cases_are_one_of_a_kind():
    assert len(CASES) >= 150
    assert [id for id, count in Counter(case.id for case in CASES).items() if count > 1] == []
    assert {case.asks for case in CASES} == set(QUESTIONS) == set(ours.QUESTIONS)


def test_cases_are_well_formed():
    for case in CASES:
        assert_well_formed(case)


def assert_well_formed(case):
    assert len(case.why) > 5, case.id
    assert set(case.only) <= set(cases.DTYPES)
    assert case.only
    assert set(case.rtol) | set(case.atol) <= set(cases.DTYPES)
    assert set(case.granted) <= {"rtol", "atol"}
    assert case.right is not None or case.error
    for name in case.error:
        assert name in {
            "ValueError",
            "TypeError",
            "ConvergenceError",
            "SingularCovarianceError",
            "NonFiniteError",
        }


def test_a_case_that_is_not_well_formed_is_refused():
    good = '[[case]]\nid = "a"\nasks = "uniform"\nwhy = "because"\n'
    with pytest.raises(ValueError, match=r"x.toml, case 'a': neither an answer nor an error"):
        cases.read(good, "x")
    with pytest.raises(ValueError, match="no field wright"):
        cases.read(good + "wright = 1.0", "x")
    with pytest.raises(ValueError, match="why is missing"):
        cases.read('[[case]]\nid = "a"\nasks = "uniform"\nright = 1.0', "x")


def test_values_are_what_the_table_says():
    def array(**table):
        return cases.value(table).values.tolist()

    assert array(linspace=[0.0, 1.0, 3], times=2.0, plus=1.0, shape=[3, 1]) == [[1.0], [2.0], [3.0]]
    assert array(diag=[1.0, 2.0], append=[[3, 4]]) == [[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]
    assert array(full=[2, 2], value=1.0, put={"0,1": 5.0}) == [[1.0, 5.0], [1.0, 1.0]]
    assert array(normal=[2], seed=4) == np.random.default_rng(4).standard_normal(2).tolist()
    assert cases.value({"list": [1.0]}) == [1.0]
    assert cases.value({"none": True}) is None
    assert isinstance(cases.value({"scalar": 4, "dtype": "int64"}), np.int64)
    given = cases.value({"array": [250, 5], "dtype": "uint8", "where": "other"})
    assert (given.values.dtype, given.dtype, given.where) == (np.uint8, "uint8", "other")


# Its answers


def recomputable(case: Case) -> bool:
    """Whether the oracle has the question, and numbers to answer it from: padding holds what it likes."""
    if case.asks not in hostile_oracles.ORACLES or case.right is None or case.id in SLOW | OTHERWISE:
        return False
    arrays = [value.values for value in case.given.values() if isinstance(value, Given)]
    others = [value for value in case.given.values() if not isinstance(value, Given)]
    return (
        all(isinstance(value, int | float) and np.isfinite(value) for value in others)
        and np.all(np.isfinite(case.right))
        and (case.kind == "padding" or all(np.all(np.isfinite(array)) for array in arrays))
    )


RECOMPUTABLE = [case for case in CASES if recomputable(case)]


@pytest.mark.parametrize("case", RECOMPUTABLE, ids=lambda case: case.id)
def test_right_answers_are_right(case):
    """By exact fractions or 80 digits; and so they are for the numbers as float32 rounds them."""
    for dtype in case.only:
        given = {name: _as_given(value, dtype) for name, value in case.given.items()}
        truth = hostile_oracles.answer(case.asks, given)
        assert matches(case, truth, dtype), f"{dtype}: {truth} and not {case.right}"


def _as_given(value, dtype):
    if not isinstance(value, Given):
        return value
    values = np.nan_to_num(value.values, nan=0.0, posinf=0.0)
    rounded = values.astype(dtype) if values.dtype.kind == "f" and value.dtype is None else values
    return value._replace(values=rounded.astype(np.float64))


def test_most_right_answers_are_recomputed():
    finite = [case for case in CASES if case.right is not None and np.all(np.isfinite(case.right))]
    assert len(RECOMPUTABLE) > 0.75 * len(finite)


def test_the_oracle_of_plans_agrees_with_a_linear_programme():
    from scipy.optimize import linprog

    for case in [
        case for case in RECOMPUTABLE if case.asks == "plan" and case.id.startswith(("ties", "int"))
    ]:
        cost, a, b = (case.given[name].values for name in ("cost", "a", "b"))
        n, m = cost.shape
        marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
        best = linprog(np.ravel(cost), A_eq=marginals, b_eq=np.concatenate([a, b]))
        assert best.fun == pytest.approx(float(case.right), abs=1e-9)


# This package


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("where", ["numpy", "strict"])
def test_every_line_is_right_or_a_clear_error(where, dtype):
    if where == "strict":
        pytest.importorskip("array_api_strict")
    asked = [case for case in CASES if where == "numpy" or THOROUGH or case.id not in STUBBORN]
    verdicts = survey.ask_column(survey.Column(where, dtype), asked)
    wrong = {v.case: v.came for v in verdicts if v.verdict not in GOOD}
    assert wrong == {}
    assert sum(verdict.verdict == RIGHT for verdict in verdicts) > 150


# Broken ones


def broken(**questions):
    return Adapter("broken", "1", lambda values, dtype: values, questions, cases.DTYPES)


def drops_nan(x, y):
    distances = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    return np.where(distances > 0, distances, 0.0)


def expands(x, y):
    return np.sum(x**2, -1)[:, None] + np.sum(y**2, -1)[None] - 2 * x @ y.T


def centres(x, y):
    middle = np.mean(np.concatenate([x, y]), axis=0, dtype=x.dtype)
    return expands(x - middle, y - middle)


def overflows(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1, dtype=x.dtype)


def floors(cov0, cov1, m0, m1):
    values, vectors = np.linalg.eigh(cov0)
    inverse = (vectors * np.where(values > 1e-5, 1 / np.sqrt(np.maximum(values, 1e-5)), 1.0)) @ vectors.T
    half = np.linalg.inv(inverse)
    values, vectors = np.linalg.eigh(half @ cov1 @ half)
    return inverse @ (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T @ inverse


def half_of_integers(cost):
    return np.asarray(np.full_like(cost, 1 / len(cost)) * (cost == 0))


def kernel(cost, a, b, eps):
    K = np.exp(-np.asarray(cost) / eps)
    u = np.ones(len(a))
    for _ in range(200):
        v = b / (K.T @ u)
        u = a / (K @ v)
    return u[:, None] * K * v[None]


@pytest.mark.parametrize(
    ("question", "function", "dtype", "found"),
    [
        ("sq_euclidean", drops_nan, "float64", ["nan-euclidean-plane", "nan-euclidean-eight"]),
        ("sq_euclidean", expands, "float32", ["far-origin-euclidean", "far-origin-euclidean-sixteen"]),
        ("sq_euclidean", centres, "float32", ["far-euclidean-plane", "far-euclidean-eight"]),
        ("sq_euclidean", expands, "float64", ["inf-euclidean", "scale-euclidean-overflow"]),
        ("sq_euclidean", overflows, "float64", ["uint8-euclidean", "int8-euclidean", "dimension-euclidean"]),
        ("gaussian_map", floors, "float64", ["rank-map-16-double", "scale-map-far-apart-1e-10"]),
        ("outer_plan", half_of_integers, "float64", ["int-outer-plan"]),
        ("sinkhorn_plan", kernel, "float64", ["eps-offset-plan", "unequal-sinkhorn"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_library_is_found_out(question, function, dtype, found):
    chosen = [case for case in CASES if case.asks == question]
    (numpy,) = places.find("numpy")
    column = survey.Column("numpy", dtype)
    asked = [
        survey.ask(broken(**{question: function}), case, column, numpy.build, strict=True) for case in chosen
    ]
    verdicts = {verdict.case: verdict.verdict for verdict in asked}
    assert {id: verdicts[id] for id in found if verdicts[id] != WRONG} == {}
    assert RIGHT in verdicts.values()  # and not for failing altogether


# Verdicts


def verdict(answer, *, strict=True, **changes):
    case = BY_ID["nan-emd"]._replace(**{"right": np.asarray(1.0), **changes})
    return judge(case, answer, dtype="float64", strict=strict)[0]


def fail(error):
    def answer():
        raise error

    return answer


def warn(value):
    def answer():
        import warnings

        warnings.warn("this is not exact", stacklevel=1)
        return value

    return answer


def test_verdicts():
    assert verdict(lambda: 1.0 + 1e-14) == RIGHT
    assert verdict(lambda: 1.1) == WRONG
    assert verdict(lambda: np.nan) == WRONG
    assert verdict(lambda: [1.0]) == WRONG  # another shape
    assert verdict(lambda: "one") == WRONG
    assert verdict(lambda: 1.001, granted={"rtol": 0.01}) == WRONG  # what others are granted is not for us
    assert verdict(lambda: 1.001, granted={"rtol": 0.01}, strict=False) == RIGHT
    assert verdict(lambda: 1.1, granted={"rtol": 0.01}, strict=False) == WRONG
    assert verdict(warn(1.0)) == RIGHT
    assert verdict(warn(1.1), strict=False) == WARNED
    assert verdict(warn(1.1)) == WRONG
    assert verdict(fail(ValueError("cost has NaN"))) == ERROR
    assert verdict(fail(ValueError("something has NaN"))) == WRONG  # names nothing
    assert verdict(fail(KeyError("cost"))) == WRONG  # not of the kind
    assert verdict(fail(KeyError("cost")), strict=False) == ERROR
    assert verdict(lambda: 7.0, right=None) == WRONG
    assert verdict(lambda: 7.0, right=None, strict=False) == UNCHECKED
    assert verdict(warn(7.0), right=None, strict=False) == WARNED
    assert verdict(lambda: np.nan, right=None) == WRONG
    assert verdict(lambda: np.nan, right=None, strict=False) == ERROR
    assert verdict(lambda: np.nan, strict=False) == ERROR
    assert verdict(lambda: [np.nan, 1.0], right=np.ones(2), strict=False) == WRONG
    with pytest.raises(adapters.NotAskedError):
        verdict(fail(adapters.NotAskedError()))


def test_plans_are_judged_by_what_they_cost():
    case = BY_ID["ties-outer"]
    good, best = np.eye(3) / 3, float(case.right)
    judged = QUESTIONS["plan"].judged
    assert judged(good, case.given) == pytest.approx((1 + 2 + 1.5) / 3)
    assert judged(good[[1, 0, 2]], case.given) == pytest.approx(best)
    assert np.isnan(judged(good * 2, case.given))
    assert np.isnan(judged(-good, case.given))


def test_what_a_place_does_not_have_is_not_asked():
    (numpy,) = places.find("numpy")
    with pytest.raises(LookupError):
        numpy.build(Given(np.zeros(1), None, "other"), "float64")
    column = survey.Column("numpy", "float64")
    found = survey.ask_column(column, [BY_ID["two-devices-euclidean"], BY_ID["scale-sliced-overflow-single"]])
    assert [verdict.verdict for verdict in found] == [NOT_ASKED, NOT_ASKED]


def test_arrays_are_where_they_should_be():
    pytest.importorskip("array_api_strict")
    here, there, none = places.find("strict")
    for place, device in ((here, "CPU_DEVICE"), (there, "device1"), (none, "no_float64")):
        array = place.build(Given(np.asarray([1.5]), None, "here"), "float32")
        assert device in str(array.device)
        assert to_host(array).tolist() == [1.5]
    assert none.dtypes == ("float32",)


# Other libraries


@pytest.mark.parametrize("name", [name for name in adapters.PEERS if name != "ott" or THOROUGH])  # compiles
@pytest.mark.filterwarnings("ignore")
def test_peers_answer_what_is_easy(name):
    """The adapter asks the right question: signs, halves and roots are as they are meant."""
    if find_spec({"pot": "ot"}.get(name, name)) is None:
        pytest.skip("not installed")
    adapter = adapters.find(name)
    easy = [
        "eps-divergence",
        "eps-divergence-positive",
        "eps-plan",
        "eps-value",
        "eps-cost",
        "far-origin-gaussian",  # OTT-JAX takes none on the line: it squeezes their axes away
    ]
    easy += ["one-point", "ties-sliced", "ties-barycenter", "scale-map-1e-30", "far-map-alone"]
    found = {v.case: v for v in survey.ask_peer(adapter, [BY_ID[id] for id in easy])}
    asked = {id: v for id, v in found.items() if v.verdict != NOT_ASKED}
    assert {id: v.came for id, v in asked.items() if v.verdict != RIGHT} == {}
    assert asked


MINE = """
import numpy as np
from refwfm.validation.hostile.adapters import Adapter

def distances(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)

ADAPTER = Adapter("mine", "1", lambda values, dtype: values, {"sq_euclidean": distances})
"""


def test_ones_own_library_is_asked(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    name = f"{tmp_path / 'mine.py'}:ADAPTER"
    printed = succeed(
        "hostile", "--library", name, "--only", "far-euclidean-plane", "--only", "uint8-euclidean"
    )
    assert "mine" in printed
    assert "silently wrong: [[121]]" in printed  # (5 - 250)² of bytes is 11²
    assert_error(refwfm("hostile", "--library", f"{name}S"), "no Adapter")
    assert_error(refwfm("hostile", "--library", "nobody"), "unknown library", "pot")


# The command


def test_the_command_prints_a_table(tmp_path):
    file = tmp_path / "verdicts.json"
    printed = succeed("hostile", "--only", "ties", "--backend", "numpy", "--dtype", "float64", "--json", file)
    assert "clear error" in printed
    table = json.loads(file.read_text())
    assert {verdict["verdict"] for verdict in table["verdicts"]} == {RIGHT}
    assert len(table["cases"]) == len(table["verdicts"]) == 23


def test_the_command_fails_where_one_is_wrong(monkeypatch):
    monkeypatch.setitem(ours.QUESTIONS, "chamfer", lambda x, y: 0.0)
    result = refwfm("hostile", "--only", "ties-chamfer", "--only", "nan-chamfer", "--backend", "numpy")
    assert result.exit_code == 1
    assert "nan-chamfer (nan): chamfer" in result.stdout
    assert "right: 2." in result.stdout
    assert "numpy, float32: 0" in result.stdout


def test_the_command_says_what_there_is():
    assert_error(refwfm("hostile", "--only", "nowhere"), "'nowhere'", "far_point")
    assert_error(refwfm("hostile", "--backend", "fortran"), "unknown backend", "numpy")
    assert_error(refwfm("hostile", "--dtype", "float16"), "unknown dtype")
    assert_error(refwfm("hostile", "--peers", "--dtype", "float32"), "--peers")
