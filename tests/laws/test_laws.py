"""Laws, each for all public functions of the mathematics that it has something to say about.

One law is one test: act on the data, call, act on the result for the untouched data, compare. A function
stands in the registry (the modules ``law_of_*``) with the kinds of its arguments and results.
There is time for three examples every day, for a third of the pairs of a law and a function; the others have
one, and in float32 none, unless the law is that of scale, which most errors of float32 break. All have three
with ``REFWFM_TEST_THOROUGH=1``, and as many as ``REFWFM_LAW_EXAMPLES`` says.
"""

import importlib
import inspect
import os
import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from law_checks import LAWS, Run, applies
from law_compositions import COMPOSITIONS, COVERED
from law_kinds import inputs
from law_record import function_of
from law_registry import LAWLESS, REGISTRY
from test_examples import MATHEMATICS, NEEDS_NONE, name_of
from thirds import in_third

from refwfm.validation import textbook

EXAMPLES = int(os.environ.get("REFWFM_LAW_EXAMPLES", "3"))


@pytest.fixture(scope="module", autouse=True)
def pot():
    """POT is imported without the libraries that it would take with it."""
    textbook.pot_gaussian()


def cases(law, dtypes=("float64", "float32")):
    for entry in REGISTRY:
        for dtype in entry.dtypes if applies(law, entry) else ():
            if dtype in dtypes and (dtype == entry.dtypes[0] or not LAWS[law].once):
                yield pytest.param(law, entry, dtype, id=f"{law} {entry} {dtype}")


def holds(law, entry, dtype, library="numpy", examples=None):
    daily = EXAMPLES if often(law, entry) else 1
    examples = examples or (daily if dtype == "float64" else max(1, daily - 1))
    examples = max(1, EXAMPLES // 3) if LAWS[law].once else examples

    @settings(max_examples=examples, database=None, phases=[Phase.generate, Phase.shrink])
    @given(inputs(entry), st.integers(0, 99))
    def check(arguments, seed):
        LAWS[law].check(Run(entry, arguments, dtype, np.random.default_rng(seed), library))

    check()


def often(law, entry):
    return "REFWFM_LAW_EXAMPLES" in os.environ or in_third(f"{law} {entry}")


def daily_cases():
    for law in LAWS:
        for case in cases(law):
            _, entry, dtype = case.values
            if dtype == entry.dtypes[0] or law == "scale" or often(law, entry):
                yield case


@pytest.mark.parametrize(("law", "entry", "dtype"), list(daily_cases()))
def test_law(law, entry, dtype):
    holds(law, entry, dtype)


def strict_cases():
    """One law for each function: one that takes many arrays if it can be, else one with large numbers."""
    seen = set()
    for law in ("permutation", "scale"):
        for case in cases(law, ("float32",)):
            entry = case.values[1]
            if entry.name not in seen and "strict" not in entry.without.split():
                seen.add(entry.name)
                yield case


@pytest.mark.parametrize(("law", "entry", "dtype"), list(strict_cases()))
def test_law_on_strict_arrays(law, entry, dtype):
    pytest.importorskip("array_api_strict")
    holds(law, entry, dtype, "array_api_strict", examples=1)


def public_functions():
    """Names of the public functions of the mathematics that compute something."""
    for path in MATHEMATICS:
        module = importlib.import_module(name_of(path))
        for name, function in vars(module).items():
            local = inspect.isfunction(function) and function.__module__ == module.__name__
            if local and not re.fullmatch(NEEDS_NONE, name):
                yield f"{module.__name__.removeprefix('refwfm.')}.{name}"


def test_every_function_is_under_a_law():
    lawful = {function_of(entry) for entry in REGISTRY if any(applies(law, entry) for law in LAWS)}
    public = set(public_functions())
    assert lawful | COVERED | set(LAWLESS) == public
    assert not set(LAWLESS) & (lawful | COVERED)
    assert all(len(reason) > 8 for reason in LAWLESS.values())


def test_names_are_unique():
    names = [entry.name for entry in (*REGISTRY, *COMPOSITIONS)]
    assert len(set(names)) == len(names)


def test_every_law_is_about_many_functions():
    assert all(sum(applies(law, entry) for entry in REGISTRY) >= 6 for law in LAWS)
