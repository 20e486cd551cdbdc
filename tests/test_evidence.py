"""Solvers that fail do so in one way: one error, one vocabulary of evidence, one line on the command line."""

import math

import numpy as np
import pytest
import typer

from refwfm.barycenter import barycenter
from refwfm.cli._errors import clear_errors
from refwfm.clouds import uniform
from refwfm.couplings.outer import outer_plan
from refwfm.evidence import ConvergenceError
from refwfm.measures import Gaussian
from refwfm.transport.exact import transport_plan
from refwfm.transport.reference import free_support_barycenter
from refwfm.transport.sinkhorn import sinkhorn

pytestmark = pytest.mark.filterwarnings("ignore:numItermax reached")

RNG = np.random.default_rng(0)
COST, MASS = RNG.random((40, 40)), np.full(40, 1 / 40)
ROOTS = RNG.standard_normal((4, 3, 3))
GAUSSIANS = Gaussian(RNG.standard_normal((4, 3)), ROOTS @ ROOTS.mT)
CLOUDS = uniform(RNG.standard_normal((10, 20, 2)))

SOLVERS = {
    "sinkhorn": lambda **options: sinkhorn(COST, MASS, MASS, eps=1e-3, max_iter=3, **options),
    "exact plan": lambda **options: transport_plan(COST, MASS, MASS, max_iter=3, **options),
    "Gaussian barycenter": lambda **options: barycenter(GAUSSIANS, max_iter=1, **options),
    "free-support barycenter": lambda **options: free_support_barycenter(CLOUDS, max_iter=1, **options),
}
FAILURES = {**SOLVERS, "entropic outer plan": lambda: outer_plan(COST, eps=1e-9)}
REMEDIES = {"raise max_iter", "try more max_iter", "take a larger eps"}


@pytest.mark.parametrize("name", FAILURES)
def test_a_solver_that_fails_says_what_to_try(name):
    with pytest.raises(ConvergenceError) as failure:
        FAILURES[name]()
    assert any(remedy in str(failure.value) for remedy in REMEDIES)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_on_the_command_line(name, capsys):
    with pytest.raises(typer.Exit) as end, clear_errors():
        FAILURES[name]()
    assert end.value.exit_code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", SOLVERS)
def test_without_require_the_evidence_is_in_the_result(name):
    result = SOLVERS[name](require=False)
    assert not result.converged
    assert {"residual"} <= set(result._fields) or {"row_error", "col_error"} <= set(result._fields)
    assert name == "exact plan" or result.n_iter >= 1


def test_residual_of_a_free_support_barycenter_is_what_the_tolerance_bounds():
    start = free_support_barycenter(CLOUDS, max_iter=0, require=False)
    assert start.residual == math.inf
    early = free_support_barycenter(CLOUDS, max_iter=1, require=False)
    before, after = early.objective
    assert early.residual == (before - after) / before > 0
    tol = 1.01 * early.residual
    assert free_support_barycenter(CLOUDS, max_iter=1, tol=tol).converged
    assert free_support_barycenter(uniform(np.zeros((2, 3, 1)))).residual == 0.0
