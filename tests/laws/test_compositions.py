"""Laws of composition: two ways to the same thing agree."""

import pytest
from hypothesis import given, settings
from law_checks import Run
from law_compositions import COMPOSITIONS
from law_kinds import inputs
from law_record import agree, unit

from refwfm.validation import textbook


@pytest.fixture(scope="module", autouse=True)
def pot():
    """POT is imported without the libraries that it would take with it."""
    textbook.pot_gaussian()


def both_agree(entry, dtype, library="numpy", examples=4):
    @settings(max_examples=examples, database=None)
    @given(inputs(entry))
    def check(arguments):
        run = Run(entry, arguments, dtype, None, library)
        left, right = run.values(arguments)
        one = entry._replace(output=entry.output[0])
        agree(one, left, right, eps=run.eps, size=unit(entry, arguments))

    check()


def cases(dtypes):
    for entry in COMPOSITIONS:
        for dtype in entry.dtypes:
            if dtype in dtypes:
                yield pytest.param(entry, dtype, id=f"composition {entry} {dtype}")


@pytest.mark.parametrize(("entry", "dtype"), list(cases(("float64", "float32"))))
def test_both_ways_agree(entry, dtype):
    both_agree(entry, dtype)


@pytest.mark.parametrize(
    ("entry", "dtype"), [case for case in cases(("float32",)) if "strict" not in case.values[0].without]
)
def test_both_ways_agree_on_strict_arrays(entry, dtype):
    pytest.importorskip("array_api_strict")
    both_agree(entry, dtype, "array_api_strict", examples=2)
