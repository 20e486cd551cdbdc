"""What is made of potentials without a plan: potentials, points and weights that do not belong together."""

import numpy as np
import pytest

from refwfm.transport.sinkhorn import dual_value, sq_euclidean_cost, transport_cost
from refwfm.transport.streamed_plans import (
    sample_streamed_targets,
    streamed_dual_value,
    streamed_transport_cost,
)
from refwfm.transport.streaming import sinkhorn_points


def problem(rng, n, m):
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + 0.5
    return x, y, rng.dirichlet(np.full(n, 5.0)), rng.dirichlet(np.full(m, 5.0))


def test_potentials_of_another_problem_are_refused(rng):
    x, y, _, b = given = problem(rng, n=23, m=17)
    solution = sinkhorn_points(*given, eps=0.5)
    one = (x[:1], y, np.ones(1), b)  # its 23 potentials would broadcast
    cost = sq_euclidean_cost(*one[:2])
    functions = {
        "cost": streamed_transport_cost,
        "dual": streamed_dual_value,
        "targets": lambda *arguments: sample_streamed_targets(*arguments, rng=rng),
        "dense cost": lambda x, y, a, b, solution: transport_cost(cost, a, b, solution),
        "dense dual": lambda x, y, a, b, solution: dual_value(cost, a, b, solution),
    }
    message = r"solution.f must have shape \(..., 1\), one potential for each weight of a; got \(23,\)"
    for function in functions.values():
        with pytest.raises(ValueError, match=message):
            function(*one, solution)
        with pytest.raises(TypeError, match="solution must be a Sinkhorn, as sinkhorn returns; got NoneType"):
            function(*one, None)
        with pytest.raises(TypeError, match="must have the same dtype"):
            function(*(v.astype(np.float32) for v in one), solution)


def test_no_target_is_drawn_from_a_row_that_is_not_known(rng):
    x, y, a, b = given = problem(rng, n=23, m=17)
    solution = sinkhorn_points(*given, eps=0.5)
    far = x.copy()
    far[3] = 1e9  # without mass, by these potentials
    cases = [
        (np.where(x > 0, x, np.nan), y, a, b),
        (x, y, np.nan * a, b),
        (x, y, a, np.nan * b),
        (far, y, a, b),
    ]
    for arrays in cases:
        with pytest.raises(ValueError, match="rows of the plan must have a finite mass above 0"):
            sample_streamed_targets(*arrays, solution, rng=rng)
