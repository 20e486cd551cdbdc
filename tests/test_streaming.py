"""Transport without stored costs against the dense solver: iterates, values, padding, memory."""

import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative

from refwfm._array import to_host
from refwfm.clouds import pad
from refwfm.evidence import ConvergenceError
from refwfm.transport import entropic, point_problem
from refwfm.transport.plans import sample_targets
from refwfm.transport.sinkhorn import (
    CHECK_EVERY,
    Sinkhorn,
    dual_value,
    plan,
    sinkhorn,
    softmin,
    sq_euclidean_cost,
    transport_cost,
)
from refwfm.transport.streamed_plans import (
    sample_streamed_targets,
    streamed_dual_value,
    streamed_entropic_map,
    streamed_transport_cost,
)
from refwfm.transport.streaming import sinkhorn_points, streamed_softmin
from refwfm.validation.streamed_checks import FAULTS


def problem(rng, n=23, m=17, d=3, batch=(), shift=0.5, dtype=np.float64):
    x, y = rng.normal(size=(*batch, n, d)), rng.normal(size=(*batch, m, d)) + shift
    a, b = (rng.dirichlet(np.full(k, 5.0), size=batch) for k in (n, m))
    return tuple(v.astype(dtype) for v in (x, y, a, b))


def dense(x, y, a, b, **options):
    return sinkhorn(sq_euclidean_cost(x, y), a, b, **options)


# The same iterates


@pytest.mark.parametrize("block", [1, 5, 16, 17, 100, None])
@pytest.mark.parametrize("d", [1, 3, 7, 20])
def test_iterates_and_errors_are_the_dense_ones(rng, block, d):
    given = problem(rng, d=d)
    for n_iter in (1, 4):
        options = {"eps": 0.05, "scale_cost": "max", "tol": None, "max_iter": n_iter}
        ours, truth = sinkhorn_points(*given, block=block, **options), dense(*given, **options)
        size = np.max(sq_euclidean_cost(*given[:2]))
        for mine, wanted in ((ours.f, truth.f), (ours.g, truth.g), (ours.eps, truth.eps)):
            assert relative(mine, wanted, size) < 1e-13
        assert ours.row_error == pytest.approx(float(truth.row_error), abs=1e-13)
        assert ours.col_error == pytest.approx(float(truth.col_error), abs=1e-13)
        assert (ours.n_iter, ours.converged) == (truth.n_iter, truth.converged)
    later = dense(*given, **options | {"max_iter": 5})
    assert relative(later.f, truth.f, size) > 1e-6  # negative control


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_soft_minimum_is_noticed(rng, fault):
    given = problem(rng)
    options = {"eps": 0.2, "tol": None, "max_iter": 3, "block": 5}
    right, wrong = (sinkhorn_points(*given, minimum=f, **options) for f in (streamed_softmin, FAULTS[fault]))
    assert relative(wrong.f, right.f) > 1e-3


@pytest.mark.parametrize("eps", [1e-6, 1e-3, 1.0, 1e4, 1e9, 1e30, math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_soft_minima_for_any_eps(rng, eps, dtype):
    x, y, _, b = problem(rng, dtype=dtype)
    p, eps = rng.normal(size=17).astype(dtype), np.asarray(eps, dtype)
    cost = sq_euclidean_cost(x, y)
    with np.errstate(all="raise", under="ignore"):
        ours = streamed_softmin(x, y, p, b, eps, block=5)
    assert ours.dtype == dtype
    logarithm = float(eps) if eps * np.finfo(dtype).eps ** 0.5 < 100 else 0.0  # beyond, the mean is taken
    allowed = 20 * np.finfo(dtype).eps * (np.max(cost) + logarithm)
    np.testing.assert_allclose(ours, softmin(cost, p, b, eps), rtol=0, atol=allowed)


def test_stops_where_the_dense_iteration_does(rng):
    given = problem(rng)
    for every in (1, 3, CHECK_EVERY):
        options = {"eps": 0.1, "tol": 1e-4, "check_every": every}
        ours, truth = sinkhorn_points(*given, block=6, **options), dense(*given, **options)
        assert ours.n_iter == truth.n_iter > 1
        assert ours.converged
    start = truth.f + 0.01 * rng.normal(size=23)
    begun = {"f_init": start, "tol": None, "max_iter": 2, "eps": 0.1}
    assert relative(sinkhorn_points(*given, **begun).f, dense(*given, **begun).f) < 1e-12


def test_axes_broadcast(rng):
    x, y, a, b = problem(rng, batch=(3,))
    x, a = x[0], a[:, None]
    eps = np.asarray([0.3, 1.0, 3.0])
    options = {"eps": eps, "tol": None, "max_iter": 3}
    ours, truth = sinkhorn_points(x, y, a, b, block=7, **options), dense(x, y, a, b, **options)
    assert ours.f.shape == truth.f.shape == (3, 3, 23)
    assert relative(ours.f, truth.f) < 1e-13
    given = (sq_euclidean_cost(x, y), a, b, truth)
    assert relative(streamed_dual_value(x, y, a, b, ours, block=7), dual_value(*given)) < 1e-12
    assert relative(streamed_transport_cost(x, y, a, b, ours, block=7), transport_cost(*given)) < 1e-12


# Padding, far points


def test_padding_has_no_influence(rng):
    x, y, a, b = problem(rng)
    options = {"eps": 0.1, "scale_cost": "mean", "tol": None, "max_iter": 6, "block": 5}
    alone = sinkhorn_points(x, y, a, b, **options)
    for content in (0.0, 1e3, np.nan, np.inf):
        wide = [
            np.insert(part, [0, 9, 12], content if k < 2 else 0.0, axis=0)
            for k, part in enumerate((x, y, a, b))
        ]
        rows, columns = wide[2] > 0, wide[3] > 0
        padded = sinkhorn_points(*wide, **options)
        np.testing.assert_allclose(padded.f[rows], alone.f, rtol=1e-12)
        np.testing.assert_allclose(padded.g[columns], alone.g, rtol=1e-12)
        assert not padded.f[~rows].any()
        assert not padded.g[~columns].any()
        for value in (streamed_transport_cost, streamed_dual_value):
            there, here = value(*wide, padded, block=5), value(x, y, a, b, alone, block=5)
            assert there == pytest.approx(float(here), rel=1e-12)
        images = streamed_entropic_map(x, wide[1], wide[3], padded.g, eps=padded.eps, block=5)
        np.testing.assert_allclose(images, streamed_entropic_map(x, y, b, alone.g, eps=alone.eps), rtol=1e-12)
        targets = sample_streamed_targets(*wide, padded, rng=np.random.default_rng(0), block=5)
        assert np.all(columns[targets[rows]])
        assert not targets[~rows].any()


def test_clouds_of_unequal_sizes_in_one_batch(rng):
    xs, ys = ([rng.normal(size=(n, 2)) for n in counts] for counts in ((1, 4, 9), (7, 2, 3)))
    x, y = pad(xs), pad(ys)
    options = {"eps": 0.3, "tol": None, "max_iter": 20, "block": 4}
    batch = sinkhorn_points(x.points, y.points, x.weights, y.weights, **options)
    for i, (p, q) in enumerate(zip(xs, ys, strict=True)):
        weights = (np.full(len(part), 1.0 / len(part)) for part in (p, q))
        alone = sinkhorn_points(p, q, *weights, **options)
        np.testing.assert_allclose(batch.f[i, : len(p)], alone.f, atol=1e-12)


@pytest.mark.parametrize("d", [3, 7])
def test_a_far_point_spoils_no_other(rng, d):
    """In float32, where the expanded square of what is 1e-3 apart has no digits 1000 away from the origin."""
    x, y, _, b = problem(rng, d=d, shift=0.0, dtype=np.float32)
    x, y = 1e-3 * x + 1000, 1e-3 * y + 1000
    y[3] = -1e6
    eps = np.asarray(1e-6, np.float32)
    ours = streamed_softmin(x, y, np.zeros(17, np.float32), b, eps, block=5)
    wide = [v.astype(np.float64) for v in (x, y)]
    truth = softmin(sq_euclidean_cost(*wide), np.zeros(17), b.astype(np.float64), np.float64(eps))
    assert relative(ours, truth) < 1e-4


# Without a plan


@pytest.mark.parametrize("block", [4, 17, None])
@pytest.mark.parametrize("d", [2, 6])
def test_values_maps_and_targets_are_those_of_the_plan(rng, block, d):
    x, y, a, b = given = problem(rng, d=d)
    cost = sq_euclidean_cost(x, y)
    for max_iter in (1, 200):
        found = sinkhorn_points(*given, eps=0.3, tol=None, max_iter=max_iter)
        P = plan(cost, a, b, found)
        assert streamed_transport_cost(*given, found, block=block) == pytest.approx(
            np.sum(P * cost), rel=1e-12
        )
        truth = float(dual_value(cost, a, b, found))
        assert streamed_dual_value(*given, found, block=block) == pytest.approx(truth, rel=1e-12)
        images = streamed_entropic_map(x, y, b, found.g, eps=found.eps, block=block)
        np.testing.assert_allclose(images, entropic.barycentric_projection(P, y), atol=1e-12)
        for seed in range(5):
            drawn = sample_streamed_targets(*given, found, rng=np.random.default_rng(seed), block=block)
            np.testing.assert_array_equal(drawn, sample_targets(P, rng=np.random.default_rng(seed)))
    assert len(set(drawn.tolist())) > 5


def test_values_are_pots(rng):
    ot = pytest.importorskip("ot")
    x, y, a, b = given = problem(rng)
    found = sinkhorn_points(*given, eps=0.5, tol=1e-11, block=5)
    P = ot.sinkhorn(a, b, ot.dist(x, y), 0.5, method="sinkhorn_log", stopThr=1e-13, numItermax=10_000)
    assert streamed_transport_cost(*given, found, block=5) == pytest.approx(
        np.sum(P * ot.dist(x, y)), abs=1e-9
    )
    images = streamed_entropic_map(x, y, b, found.g, eps=0.5, block=5)
    np.testing.assert_allclose(images, (P @ y) / P.sum(1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("scale", ["max", "mean", 3.0, None])
def test_eps_is_relative_to_the_cost(rng, scale):
    given = problem(rng)
    ours = sinkhorn_points(*given, eps=0.1, scale_cost=scale, block=5, require=False, max_iter=1)
    truth = dense(*given, eps=0.1, scale_cost=scale, require=False, max_iter=1)
    assert ours.eps == pytest.approx(float(truth.eps), rel=1e-13)


def gradients(value, arrays):
    """A value of two members, and its derivatives in all arrays along (1, -2)."""
    torch = pytest.importorskip("torch")
    given = [torch.tensor(v, requires_grad=True) for v in arrays]
    zero = torch.zeros(2)
    result = value(*given[:4], Sinkhorn(*given[4:], zero, zero, 1, zero == 0))
    found = torch.autograd.grad(result, given, torch.tensor([1.0, -2.0], dtype=torch.float64))
    return result.detach().numpy(), [part.numpy() for part in found]


def test_the_dual_value_has_the_dense_derivatives(rng):
    """Of random potentials, where the plan's mass is not 1, with axes that broadcast and far from 0."""
    x, y, a, b = problem(rng, 9, 8, batch=(2,))
    f, g = 0.3 * rng.normal(size=(9,)), 0.3 * rng.normal(size=(2, 8))
    b[:, 3] = g[:, 3] = 0.0
    arrays = (x[0] + 1e3, y + 1e3, a, b, f, g, np.full(2, 0.3))

    def stored(x, y, a, b, solution):
        return dual_value(sq_euclidean_cost(x, y), a, b, solution)

    ours, found = gradients(partial(streamed_dual_value, block=4), arrays)
    value, truth = gradients(stored, arrays)
    np.testing.assert_allclose(ours, value, rtol=1e-12)
    for mine, theirs in zip(found, truth, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-9)
        assert np.any(mine)


def test_for_infinite_eps_the_derivative_is_that_of_the_product_plan(rng):
    x, y, a, b = problem(rng, 9, 8, batch=(2,))
    solved = sinkhorn_points(x, y, a, b, eps=math.inf)
    found = gradients(partial(streamed_dual_value, block=4), (x, y, a, b, solved.f, solved.g, solved.eps))[1]
    truth = 2.0 * a[..., None] * (x - np.einsum("bj,bjd->bd", b, y)[:, None])
    np.testing.assert_allclose(found[0], truth * np.array([1.0, -2.0])[:, None, None], atol=1e-12)


# Properties

SIZES = st.integers(1, 12)


@given(SIZES, SIZES, st.integers(1, 6), st.integers(1, 13), st.floats(0.02, 10.0), st.integers(0, 2**32 - 1))
def test_no_size_of_block_changes_anything(n, m, d, block, eps, seed):
    x, y, a, b = problem(np.random.default_rng(seed), n, m, d)
    options = {"eps": eps, "tol": None, "max_iter": 4}
    ours, truth = sinkhorn_points(x, y, a, b, block=block, **options), dense(x, y, a, b, **options)
    size = 1.0 + np.max(sq_euclidean_cost(x, y)) + eps
    assert max(relative(ours.f, truth.f, size), relative(ours.g, truth.g, size)) < 1e-12
    images = streamed_entropic_map(x, y, b, ours.g, eps=eps, block=block)
    assert np.all(images >= y.min(axis=0) - 1e-9)
    assert np.all(images <= y.max(axis=0) + 1e-9)
    targets = sample_streamed_targets(x, y, a, b, ours, rng=np.random.default_rng(seed), block=block)
    assert np.all((targets >= 0) & (targets < m))


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 5.0))
def test_the_dual_value_is_a_bound(seed, eps):
    """Weak duality: below cost and entropy of any plan with the right marginals, here of the product."""
    rng = np.random.default_rng(seed)
    x, y, a, b = given = problem(rng, 9, 8)
    found = sinkhorn_points(*given, eps=eps, tol=None, max_iter=3)
    moved = found._replace(f=found.f + eps * rng.normal(size=9), g=found.g + eps * rng.normal(size=8))
    product = a @ sq_euclidean_cost(x, y) @ b
    for solution in (found, moved):
        assert streamed_dual_value(*given, solution, block=3) <= product + 1e-9


def test_libraries_agree(library, rng):
    given = problem(rng, 7, 6)
    truth = sinkhorn_points(*given, eps=1.0, scale_cost="mean", tol=None, max_iter=3, block=4)
    theirs = [library.array(v) for v in given]
    ours = sinkhorn_points(*theirs, eps=1.0, scale_cost="mean", tol=None, max_iter=3, block=4)
    assert library.owns(ours.f)
    size = np.max(sq_euclidean_cost(*given[:2]))
    assert relative(to_host(ours.f), truth.f, size) < 100 * library.eps
    wanted = streamed_entropic_map(*given[:2], given[3], truth.g, eps=1.0)
    found = streamed_entropic_map(*theirs[:2], theirs[3], ours.g, eps=1.0, block=4)
    assert relative(to_host(found), wanted) < 200 * library.eps
    draws = (
        sample_streamed_targets(*v, s, rng=np.random.default_rng(1), block=4)
        for v, s in ((theirs, ours), (given, truth))
    )
    np.testing.assert_array_equal(*map(to_host, draws))


# Errors


def test_errors_are_the_dense_ones(rng):
    given = x, y, a, b = problem(rng)
    with pytest.raises(ConvergenceError, match="no convergence in 2 iterations: marginal errors"):
        sinkhorn_points(*given, eps=1e-3, max_iter=2)
    told = sinkhorn_points(*given, eps=1e-3, max_iter=2, require=False)
    assert not told.converged
    cases = {
        r"x and y must have shapes .*; got \(23, 3\) and \(17, 2\)": ((x, y[:, :2], a, b), {}),
        r"a must have shape \(..., 23\), one number for each point of x; got \(17,\)": ((x, y, b, b), {}),
        r"b must have shape \(..., 17\), one number for each point of y; got \(23,\)": ((x, y, a, a), {}),
        r"a must be non-negative with mass 1": ((x, y, 2 * a, b), {}),
        r"y: points must be finite where their weight is positive; got NaN": ((x, np.nan * y, a, b), {}),
        r"x: squared distances overflow float64": ((1e200 * x, y, a, b), {}),
        r"eps must be positive; got 0": (given, {"eps": 0.0}),
        r"got 'median' \(a median needs all costs at once: sinkhorn has it\)": (
            given,
            {"scale_cost": "median"},
        ),
        r"scale_cost must be None, 'max', 'mean' or a number; got 'least'": (given, {"scale_cost": "least"}),
        r"scale_cost must be positive and finite; got -1": (given, {"scale_cost": -1.0}),
        r"block must be an integer of at least 1; got 0": (given, {"block": 0}),
        r"max_iter must be an integer of at least 1; got 0": (given, {"max_iter": 0}),
        r"tol must be positive, or None": (given, {"tol": 0.0}),
        r"f_init must have shape \(..., 23\)": (given, {"f_init": b}),
    }
    for message, (arrays, options) in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            sinkhorn_points(*arrays, **{"eps": 0.1} | options)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="must have the same dtype"):
        sinkhorn_points(x.astype(np.float32), y, a, b, eps=0.1)
    bad = told._replace(f=np.nan * told.f)
    with pytest.raises(ValueError, match="solution must have finite potentials, to draw targets from"):
        sample_streamed_targets(*given, bad, rng=rng)


def test_float32_that_cannot_hold_the_exponents_says_so(rng):
    given = problem(rng, dtype=np.float32)
    with pytest.raises(ConvergenceError, match=r"the potentials are not finite: cost / eps is too large"):
        sinkhorn_points(*given, eps=1e-40, max_iter=1)


# Memory


def peak(function):
    """Megabytes that a call takes at most beyond what there was."""
    tracemalloc.start()
    function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def test_memory_does_not_grow_with_the_costs(rng):
    def of(n):
        given = problem(rng, n, n, dtype=np.float32)
        return peak(lambda: sinkhorn_points(*given, eps=0.05, tol=None, max_iter=1, scale_cost="max"))

    small, large = of(1000), of(4000)  # costs: 4 MB and 64 MB
    assert large < small + 1
    given = problem(rng, 1000, 1000, dtype=np.float32)
    assert peak(lambda: dense(*given, eps=0.05, tol=None, max_iter=1)) > 3 * 4.0  # negative control


@pytest.mark.slow
def test_twenty_thousand_points_take_a_few_megabytes(rng):
    """Costs of 1.6 GB, of which the dense iteration needs four times as much."""
    x, y, _, b = given = problem(rng, 20_000, 20_000, dtype=np.float32)
    found, options = [], {"eps": 0.5, "tol": None, "max_iter": 1}
    most = peak(lambda: found.append(sinkhorn_points(*given, **options)))
    assert most < 20
    ours = found[0]
    some = slice(0, 20)
    truth = softmin(sq_euclidean_cost(x[some], y), ours.g, b, ours.eps)
    np.testing.assert_allclose(ours.f[some], truth, atol=1e-4)


def test_blocks_suit_the_batch():
    one, many = np.zeros((5, 3)), np.zeros((64, 5, 3))
    assert point_problem.block_side(one, one, None) ** 2 == point_problem.CACHED
    assert point_problem.block_side(many, one, None) ** 2 == point_problem.CACHED // 64
    assert point_problem.block_side(np.zeros((10**6, 1, 1)), one[:, :1], None) == 16
