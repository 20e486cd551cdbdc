"""The NumPy twins of the semi-dual: what they refuse, and what they must not hide, as the references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm.backends import load
from refwfm.transport import semidual, starts

OPS = load("numpy", dtype="float64").ops


def problem(rng, n=5, m=4):
    """Potential, cost and weights, some of them 0."""
    a, b = rng.dirichlet(np.ones(n - 1)), rng.dirichlet(np.ones(m - 1))
    return rng.normal(size=n), rng.random((n, m)), np.append(a, 0.0), np.insert(b, 0, 0.0)


@given(st.integers(0, 999), st.floats(0.01, 10.0))
def test_twins_are_their_references(seed, eps):
    f, cost, a, b = problem(np.random.default_rng(seed))
    for twin, reference in zip(
        OPS.semidual_value_and_gradient(f, cost, a, b, eps=eps),
        semidual.semidual_value_and_gradient(f, cost, a, b, eps=eps),
        strict=True,
    ):
        np.testing.assert_allclose(twin, reference, atol=1e-12)
    options = {"eps": eps, "n_iter": 5, "f_init": f}
    np.testing.assert_allclose(
        OPS.error_curve(cost, a, b, **options), starts.error_curve(cost, a, b, **options), atol=1e-12
    )


@pytest.mark.parametrize("spoilt", [2, 3])
def test_a_weight_that_is_no_number_stays_none(rng, spoilt):
    given = [*problem(rng)]
    given[spoilt] = given[spoilt].copy()
    given[spoilt][1] = np.nan
    f, cost, a, b = given
    value, gradient = OPS.semidual_value_and_gradient(f, cost, a, b, eps=0.1, validate=False)
    assert np.isnan(value)
    assert np.isnan(gradient).any()
    curve = OPS.error_curve(cost, a, b, eps=0.1, n_iter=3, validate=False)
    assert np.isnan(curve).all()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"eps": -0.1}, ValueError),
        ({"f": np.zeros(5, np.float32)}, TypeError),
        ({"f": np.zeros(1)}, ValueError),
        ({"b": np.full(5, 0.2)}, ValueError),
    ],
)
def test_what_is_no_question_of_values_is_always_refused(rng, change, error):
    f, cost, a, b = problem(rng)
    given = {"f": f, "cost": cost, "a": a, "b": b, "eps": 0.1} | change
    options = {"eps": given.pop("eps"), "validate": False}
    messages = []
    for function in (OPS.semidual_value_and_gradient, semidual.semidual_value_and_gradient):
        with pytest.raises(error) as caught:
            function(*given.values(), **options)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
