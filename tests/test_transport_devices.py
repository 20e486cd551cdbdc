"""Transport on devices that are not the host's, one of them without float64, as array-api-strict has them."""

from functools import partial

import numpy as np
import pytest
from conftest import arrays_in, map_arrays

from refwfm._array import device, to_host
from refwfm.clouds import uniform
from refwfm.couplings.inner import INNER, couple
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud
from refwfm.transport import entropic, plans, quantiles, sliced
from refwfm.transport import sinkhorn as sk

SOLVE = partial(sk.sinkhorn, eps=0.5, tol=None, max_iter=20, require=False, validate=False)
THETA = np.asarray([[0.6, 0.8], [1.0, 0.0]])
PERM = np.eye(4)[[2, 0, 1, 3]] / 4


def rng():
    return np.random.default_rng(0)


def pairs(inner, x, y):
    return couple(x, y, inner, rng=rng(), solve=SOLVE, replace=False)


def drawn(inner, x, y):
    return couple(x, y, inner, rng=rng(), solve=SOLVE, replace=inner not in ("linear", "lazy"))


def cost_of(x, y):
    return sk.sq_euclidean_cost(x.points, y.points), x.weights, y.weights


def entropic_values(x, y):
    arrays = cost_of(x, y)
    found = sk.sinkhorn(*arrays, eps=0.5, scale_cost="median", tol=None, max_iter=20)
    maps = entropic.entropic_map(x.points, *y, found.g, eps=0.5)
    P = sk.plan(*arrays, found)
    return found, P, sk.transport_cost(*arrays, found), sk.dual_value(*arrays, found), maps


def of_plans(P, log_plan, a):
    rounded = plans.greedy_rounding(log_plan), plans.greedy_rounding_sequential(log_plan)
    errors = plans.marginal_error(P, a, a), plans.argmax_matching(log_plan)
    draws = [plans.sample_pairs(P, 4, rng=rng(), replace=replace) for replace in (True, False)]
    return rounded, plans.greedy_rounding(log_plan, a, a), errors, draws, plans.sample_targets(P, rng=rng())


CALLS = {
    "entropic": (entropic_values, "xy"),
    "divergence": (lambda x, y: entropic.sinkhorn_divergence(x, y, eps=1.0, tol=None, max_iter=9), "xy"),
    "plans": (of_plans, "plan"),
    "sliced": (sliced.sliced_cost, "xyt"),
    "pairwise": (sliced.pairwise_sliced_cost, "xyt"),
    "lifted": (sliced.lifted_plan, "xyt"),
    "permutations": (sliced.sorted_permutations, "xxt"),
    "pairs": (lambda *c: sliced.sample_sliced_pairs(*c, rng=rng(), size=5), "xyt"),
    "directions": (lambda x, y: sliced.random_directions(x.points, rng=rng(), n_proj=3), "xy"),
    "line": (quantiles.quantile_coupling, "line"),
    "displacement": (
        lambda x, y: (displacement(x.points, x.points, 0.5), displacement_velocity(*[x.points] * 2)),
        "xy",
    ),
    **{
        inner: (partial(pairs, inner), "xx" if inner in ("rounded", "linear", "lazy") else "xy")
        for inner in INNER
    },
    **{
        f"{inner} drawn": (partial(drawn, inner), "xx" if inner in ("rounded", "linear", "lazy") else "xy")
        for inner in INNER
    },
}


def arguments(kind):
    random = np.random.default_rng(1)
    x, y = (uniform(random.standard_normal((2, n, 2))) for n in (4, 3))
    return {
        "xy": (x, y),
        "xx": (x, PointCloud(x.points[::-1].copy(), x.weights)),
        "xyt": (x, y, THETA),
        "xxt": (x, x, THETA),
        "plan": (PERM, random.standard_normal((4, 4)), np.full(4, 0.25)),
        "line": (x.points[..., 0], x.weights, y.points[..., 0], y.weights),
    }[kind]


@pytest.mark.parametrize(("name", "dtype"), [("device1", "float64"), ("no_float64", "float32")])
@pytest.mark.parametrize("call", CALLS)
def test_everything_stays_where_the_arguments_are(name, dtype, call):
    strict = pytest.importorskip("array_api_strict")
    place = strict.Device(name)
    function, kind = CALLS[call]
    given = arguments(kind)
    there = map_arrays(lambda v: strict.asarray(v, dtype=getattr(strict, dtype), device=place), given)
    results, truths = arrays_in(function(*there)), arrays_in(function(*given))
    for found, truth in zip(results, truths, strict=True):
        assert device(found) == place
        tolerance = 1e3 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(to_host(found), truth, rtol=tolerance, atol=tolerance)
