"""Particles along fields: closed forms, SciPy, and what an adaptive integrator must refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from refwfm._array import to_host
from refwfm.evidence import ConvergenceError
from refwfm.generation import RUNGE_KUTTA
from refwfm.measures import NonFiniteError
from refwfm.populations.flow import integrate, integrate_adaptively


def particles(seed=0, shape=(2, 5, 3)):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("method", RUNGE_KUTTA)
def test_growth_is_a_polynomial(library, method):
    """x' = x in four steps: powers of the exponential series, cut at the method's order."""
    series = {
        "euler": 1.25,
        "midpoint": 1.28125,
        "heun": 1.28125,
        "rk4": sum(0.25**k / f for k, f in enumerate((1, 1, 2, 6, 24))),
    }
    x = particles()
    found = integrate(lambda x, t: x, library.array(x), n_steps=4, method=method)
    assert library.owns(found)
    np.testing.assert_allclose(to_host(found), series[method] ** 4 * x, rtol=50 * library.eps)
    assert np.abs(to_host(found) - np.e * x).max() > 1e-5  # which is not the exponential


def test_times_and_populations_come_along(library):
    rates = library.array([1.0, -2.0])
    seen = []

    def field(x, t):
        seen.append(to_host(t).copy())
        return rates[:, None, None] * (x * 0.0 + t[:, None, None])

    found = integrate(field, library.array(np.zeros((2, 3, 1))), n_steps=2)
    np.testing.assert_allclose(to_host(found)[:, 0, 0], [0.5, -1.0], rtol=1e-6)
    assert np.stack(seen)[:, 0].tolist() == [0.0, 0.5, 0.5, 1.0]


def test_adaptive_is_dormand_prince(library):
    """SciPy by hand, at the same tolerances: the same numbers of evaluations, the same points."""
    x = particles().astype(library.dtype)

    def field(x, t):
        return 3.0 * x * (1.0 - x * x) - t[:, None, None]

    found = integrate_adaptively(field, library.array(x))
    assert library.owns(found.points)
    if library.dtype == "float64":
        truth = solve_ivp(
            lambda t, z: 3.0 * z * (1.0 - z * z) - t, (0, 1), x.ravel(), "RK45", rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(to_host(found.points).ravel(), truth.y[:, -1], atol=1e-10)
        assert (found.evaluations, found.steps) == (truth.nfev, len(truth.t) - 1)


@given(st.integers(0, 1000), st.floats(-3.0, 2.0))
def test_adaptive_meets_its_tolerance(seed, rate):
    x = particles(seed)
    errors = [
        np.abs(
            integrate_adaptively(lambda x, t: rate * x, x, rtol=tol, atol=tol).points - np.exp(rate) * x
        ).max()
        for tol in (1e-4, 1e-8)
    ]
    assert errors[0] < 1e-2
    assert errors[1] < 1e-6


def test_a_field_that_is_not_finite_is_refused():
    def field(x, t):
        return x / (0.5 - t[:, None, None]) * np.where(t < 0.5, 1.0, np.nan)[:, None, None]

    with pytest.raises(NonFiniteError, match=r"NaN or infinity at t = 0\.[5-9]"):
        integrate_adaptively(field, particles())


def test_giving_up():
    def stiff(x, t):
        return -1e6 * (x - np.cos(t)[:, None, None])

    with pytest.raises(ConvergenceError, match="raise max_evaluations"):
        integrate_adaptively(stiff, particles(), max_evaluations=200)

    def blowing_up(x, t):
        return x * x

    with pytest.raises((ConvergenceError, NonFiniteError)), np.errstate(over="ignore"):
        integrate_adaptively(blowing_up, np.full((1, 1, 1), 2.0))


def test_arguments():
    x = particles()
    for function in (lambda f, x: integrate(f, x, n_steps=2), integrate_adaptively):
        for bad in (x[0], x[:, :0], x[:, :, :0]):
            with pytest.raises(ValueError, match="x must have shape"):
                function(lambda x, t: x, bad)
        with pytest.raises(TypeError, match="x must be an array"):
            function(lambda x, t: x, x.tolist())
        with pytest.raises(ValueError, match="velocity for each"):
            function(lambda x, t: x[:, :1], x)
    for name in ("rtol", "atol"):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            integrate_adaptively(lambda x, t: x, x, **{name: 0.0})
    with pytest.raises(ValueError, match="method must be one of"):
        integrate(lambda x, t: x, x, n_steps=1, method="rk5")
