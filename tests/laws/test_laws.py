"""Laws, each for all public functions of the mathematics that it has something to say about.

One law is one test: act on the data, call, act on the result for the untouched data, compare. A function
stands in the registry (the modules ``law_of_*``) with the kinds of its arguments and results.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_awaited import AWAITED
from law_checks import LAWS, Run, applies
from law_kinds import inputs
from law_registry import REGISTRY

EXAMPLES = 5
"""For each law, function and dtype; the functions are many."""


def cases(law):
    for entry in REGISTRY:
        for dtype in entry.dtypes if applies(law, entry) else ():
            names = f"{law} {entry} {dtype}"
            awaited = AWAITED.get(names) or AWAITED.get(names.rpartition(" ")[0])
            marks = [pytest.mark.xfail(reason=awaited, strict=True)] if awaited else []
            yield pytest.param(law, entry, dtype, id=names.replace(" ", "-"), marks=marks)


def holds(law, entry, dtype, *, library="numpy", examples=EXAMPLES):
    @settings(max_examples=examples, database=None)
    @given(inputs(entry), st.integers(0, 99))
    def check(arguments, seed):
        LAWS[law].check(Run(entry, arguments, dtype, np.random.default_rng(seed), library))

    check()


@pytest.mark.parametrize(("law", "entry", "dtype"), [case for law in LAWS for case in cases(law)])
def test_law(law, entry, dtype):
    holds(law, entry, dtype)
