"""Couplings of clouds by name: which goes with which, and where each point goes."""

from functools import partial

import numpy as np
import ot
import pytest
import strategies
from conftest import map_arrays
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist

from refwfm._array import to_host
from refwfm.clouds import alike, in_order, moments, pad, uniform
from refwfm.couplings.costs import COSTS, outer_cost, pairwise_chamfer_cost, pairwise_frechet
from refwfm.couplings.inner import ENTROPIC, INNER, couple
from refwfm.couplings.outer import match_clouds, outer_pairs, outer_plan
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost

SOLVE = partial(sinkhorn, eps=0.05, scale_cost="max", tol=None, max_iter=200, require=False, validate=False)


def seeded(seed=0):
    return np.random.default_rng(seed)


def batch_of(counts, d=2, seed=0, size=0):
    rng = seeded(seed)
    return pad([rng.standard_normal((n, d)) for n in counts], size=size)


def live(cloud, i):
    return cloud.points[i][cloud.weights[i] > 0]


def images(x, y, inner, **options):
    pairs = couple(x, y, inner, rng=seeded(1), solve=SOLVE, **options)
    np.testing.assert_array_equal(pairs.x, x.points)
    np.testing.assert_array_equal(pairs.weights, x.weights)
    np.testing.assert_array_equal(pairs.y[x.weights == 0], 0.0)
    return pairs.y


# Inner plans


def test_exact_is_the_optimal_assignment():
    x, y = batch_of((3, 5, 1)), batch_of((3, 5, 1), seed=1)
    found = images(x, y, "exact")
    for i in range(3):
        cost = cdist(live(x, i), live(y, i), "sqeuclidean")
        best = live(y, i)[linear_sum_assignment(cost)[1]]
        np.testing.assert_array_equal(found[i][x.weights[i] > 0], best)
        if i < 2:
            worst = live(y, i)[linear_sum_assignment(-cost)[1]]
            assert np.any(found[i][x.weights[i] > 0] != worst)


def test_exact_between_different_sizes_is_the_mean_target_of_the_optimal_plan():
    ot = pytest.importorskip("ot")
    x, y = batch_of((3, 5)), batch_of((4, 2), seed=1)
    found = images(x, y, "exact")
    for i in range(2):
        a, b = x.weights[i][x.weights[i] > 0], y.weights[i][y.weights[i] > 0]
        plan = ot.emd(a, b, cdist(live(x, i), live(y, i), "sqeuclidean"))
        np.testing.assert_allclose(found[i][x.weights[i] > 0], plan @ live(y, i) / a[:, None], atol=1e-9)


def textbook_plan(x, y, a, b):
    """Sinkhorn in the kernel domain, 200 iterations of the same eps."""
    cost = cdist(x, y, "sqeuclidean")
    kernel = np.exp(-cost / (0.05 * cost.max()))
    u = np.ones(len(x))
    for _ in range(200):
        v = b / (kernel.T @ u)
        u = a / (kernel @ v)
    return u[:, None] * kernel * v


@pytest.mark.parametrize("inner", ["entropic", "argmax", "rounded"])
def test_entropic_kinds_against_a_textbook_loop(inner):
    counts = (4, 6)
    x, y = batch_of(counts), batch_of(counts if inner == "rounded" else (5, 3), seed=1)
    found = images(x, y, inner)
    for i in range(2):
        a, b = x.weights[i][x.weights[i] > 0], y.weights[i][y.weights[i] > 0]
        P = textbook_plan(live(x, i), live(y, i), a, b)
        if inner == "entropic":
            truth = P @ live(y, i) / P.sum(axis=1, keepdims=True)
        elif inner == "argmax":
            truth = live(y, i)[P.argmax(axis=1)]
        else:
            rest, order = P.copy(), np.zeros(len(P), int)
            for _ in range(len(P)):
                r, c = np.unravel_index(rest.argmax(), rest.shape)
                order[r] = c
                rest[r], rest[:, c] = -1.0, -1.0
            truth = live(y, i)[order]
        np.testing.assert_allclose(found[i][x.weights[i] > 0], truth, atol=1e-8)
        swapped = textbook_plan(live(y, i), live(x, i), b, a).T
        if inner == "entropic":  # the normalisation of the rows is seen
            assert np.max(np.abs(swapped @ live(y, i) - truth)) > 1e-3


def test_sampled_targets_have_the_plans_frequencies():
    x, y = batch_of((2,)), batch_of((3,), seed=1)
    a, b = x.weights[0], y.weights[0]
    P = textbook_plan(x.points[0], y.points[0], a, b)
    rows = P / P.sum(axis=1, keepdims=True)
    n = 4000
    many = [PointCloud(*(np.repeat(part, n, axis=0) for part in cloud)) for cloud in (x, y)]
    found = couple(*many, "sampled", rng=seeded(2), solve=SOLVE).y
    hit = np.all(found[:, :, None, :] == y.points[0], axis=-1)  # (n, 2, 3)
    assert np.all(hit.sum(axis=-1) == 1)
    z = (hit.mean(axis=0) - rows) / np.sqrt(np.maximum(rows * (1 - rows), 1e-12) / n)
    assert np.max(np.abs(np.where(rows > 1e-6, z, 0.0))) < 5
    assert np.all(hit.mean(axis=0)[rows < 1e-12] == 0)
    assert np.max(np.abs(hit.mean(axis=0) - b)) > 0.1  # not the product plan


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), strategies.seeds)
def test_independent_is_a_random_permutation(counts, seed):
    x, y = batch_of(counts, seed=seed), batch_of(counts, seed=seed + 1)
    found = couple(x, y, "independent", rng=seeded(seed), solve=SOLVE).y
    for i in range(len(counts)):
        order = [np.lexsort(points.T) for points in (found[i][x.weights[i] > 0], live(y, i))]
        np.testing.assert_array_equal(found[i][x.weights[i] > 0][order[0]], live(y, i)[order[1]])


def test_independent_permutations_are_all_equally_likely():
    x, y = (uniform(np.tile(np.arange(3.0)[None, :, None], (6000, 1, 1))) for _ in range(2))
    found = couple(x, y, "independent", rng=seeded(0), solve=SOLVE).y[..., 0]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.max(np.abs(counts - 1000)) < 5 * np.sqrt(1000 * 5 / 6)


def test_independent_between_different_sizes_draws_by_weight():
    x = uniform(np.zeros((1, 8000, 1)))
    y = PointCloud(np.array([[[0.0], [1.0], [7.0]]]), np.array([[0.25, 0.75, 0.0]]))
    found = couple(x, y, "independent", rng=seeded(0), solve=SOLVE).y
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 8000)


@pytest.mark.parametrize("inner", INNER)
def test_padding_changes_nothing(inner):
    """Neither its width nor what it holds."""
    if inner in ("linear", "lazy"):
        pytest.skip("takes no padding: see the test of what is refused")
    counts, others = (3, 5), (3, 5) if inner == "rounded" else (4, 2)
    narrow = couple(batch_of(counts), batch_of(others, seed=1), inner, rng=seeded(), solve=SOLVE)
    x, y = batch_of(counts, size=9), batch_of(others, seed=1, size=9)
    wide = couple(x, y, inner, rng=seeded(), solve=SOLVE)
    random = inner in ("sampled", "sliced", "independent")
    for i in range(2):
        mine, theirs = (p.y[i][p.weights[i] > 0] for p in (narrow, wide))
        if not random:  # the random numbers are drawn for rows, padded ones too
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
        gaps = np.abs(theirs[:, None] - live(y, i)).max(axis=-1).min(axis=1)
        assert inner in ("entropic", "exact") or np.max(gaps) < 1e-12
    np.testing.assert_array_equal(wide.y[x.weights == 0], 0.0)


def test_errors_are_reported():
    x, y = batch_of((30,)), batch_of((30,), seed=1)
    solve = partial(SOLVE.func, **{**SOLVE.keywords, "eps": 0.002, "max_iter": 5})
    for inner, low, high in (("exact", -1.0, 1e-300), ("entropic", 1e-3, 2.0)):
        error = float(couple(x, y, inner, rng=seeded(), solve=solve).error)
        assert low < error < high


def test_the_error_is_that_of_the_worst_plan():
    """Of the same pair of clouds twice, and of one point and one, whose plan has no error."""
    x, y = batch_of((30,)), batch_of((30,), seed=1)
    easy = np.zeros(30)
    easy[0] = 1.0
    x, y = (PointCloud(np.repeat(c.points[:1], 2, axis=0), np.stack([c.weights[0], easy])) for c in (x, y))
    solve = partial(SOLVE.func, **{**SOLVE.keywords, "eps": 0.002, "max_iter": 5})
    solution = solve(sq_euclidean_cost(x.points, y.points), x.weights, y.weights)
    errors = np.maximum(solution.row_error, solution.col_error)
    assert errors[1] < 1e-12 < errors[0]
    assert float(couple(x, y, "entropic", rng=seeded(), solve=solve).error) == errors[0]


def test_rounding_says_what_to_use_instead():
    with pytest.raises(ValueError, match=r"equal size and uniform weights; use 'entropic' or 'exact'"):
        couple(batch_of((3,)), batch_of((4,)), "rounded", rng=seeded(), solve=SOLVE)


def test_what_is_no_plan_or_no_cloud_is_said():
    x = batch_of((3, 2))
    options = {"rng": seeded(), "solve": SOLVE}
    with pytest.raises(ValueError, match=r"inner = 'nonsense' is no plan; those are independent, exact"):
        couple(x, x, "nonsense", **options)
    with pytest.raises(TypeError, match=r"y must be a PointCloud\(points, weights\); got a tuple"):
        couple(x, tuple(x), "exact", **options)
    with pytest.raises(TypeError, match="float32 or float64; got int64"):
        couple(PointCloud(x.points.astype(int), x.weights), x, "exact", **options)
    for y in (uniform(np.zeros((3, 2))), batch_of((3,))):
        with pytest.raises(ValueError, match="batches of equally many clouds"):
            couple(x, y, "exact", **options)


@pytest.mark.parametrize("replace", [False, True])
def test_exact_takes_any_weights_and_any_padding(library, replace):
    """What is nearly uniform is not; sizes are those of the live points, and padding may be anywhere."""
    rng = seeded(3)
    near = np.array([[0.2501, 0.2499, 0.25, 0.25]])
    weights = {
        "nearly uniform": (near, near),
        "nearly and quite": (near, np.full((1, 4), 0.25)),
        "wider": (np.array([[0.5, 0.5, 0.0, 0.0, 0.0, 0.0]]), np.array([[0.5, 0.5, 0.0]])),
        "narrower": (np.array([[0.5, 0.5, 0.0]]), np.array([[0.5, 0.5, 0.0, 0.0, 0.0]])),
        "elsewhere": (np.array([[0.5, 0.5, 0.0]]), np.array([[0.5, 0.0, 0.5]])),
    }
    if library.name == "jax":  # compiles for every shape; which points are live is found on the host
        weights = {"elsewhere": weights["elsewhere"]}
    for kind, (a, b) in weights.items():
        x, y = (
            PointCloud(np.where(w[..., None] > 0, rng.standard_normal((*w.shape, 2)), 0.0), w) for w in (a, b)
        )
        found = couple(*library.arrays((x, y)), "exact", rng=rng, solve=SOLVE, replace=replace)
        moved = to_host(found.y)[to_host(found.weights) > 0]
        assert np.isfinite(moved).all(), kind
        live_a, live_b = a[a > 0], b[b > 0]
        plan = ot.emd(live_a, live_b, cdist(live(x, 0), live(y, 0), "sqeuclidean"))
        means = plan @ live(y, 0) / live_a[:, None]
        if replace:
            starts = to_host(found.x)[to_host(found.weights) > 0]
            assert np.max(cdist(starts, live(x, 0)).min(axis=1)) < 10 * library.eps
        else:
            np.testing.assert_allclose(moved, means, atol=1e3 * library.eps, err_msg=kind)


@pytest.mark.parametrize("inner", INNER)
def test_nan_among_the_points_is_seen(inner):
    x, y = batch_of((4,)), batch_of((4,), seed=1)
    for dirty in (x, y):
        dirty.points[0, 1] = np.nan
        if inner in ("exact", "rounded", "argmax", "sampled", "sliced"):
            with pytest.raises(ValueError, match="NaN"):
                couple(x, y, inner, rng=seeded(), solve=SOLVE)
        else:
            found = couple(x, y, inner, rng=seeded(), solve=SOLVE)
            assert np.isnan(found.x if dirty is x else found.y).any()
        dirty.points[0, 1] = 0.0


def test_alike():
    x = batch_of((3, 5))
    assert alike(x, batch_of((3, 5), seed=1))
    assert not alike(x, batch_of((5, 3)))
    assert not alike(x, batch_of((3, 6)))
    weighted = PointCloud(np.zeros((1, 2, 1)), np.array([[0.3, 0.7]]))
    assert not alike(weighted, weighted)
    assert not alike(uniform(np.zeros((1, 2, 1))), weighted)


@pytest.mark.parametrize("inner", INNER)
def test_on_every_library(library, inner):
    sizes = (4, 4) if inner in ("linear", "lazy") else (4, 3)
    x, y = batch_of(sizes), batch_of(sizes, seed=5)
    solve = SOLVE
    truth = couple(
        *(map_arrays(lambda p: p.astype(library.dtype), c) for c in (x, y)), inner, rng=seeded(), solve=solve
    )
    result = couple(*library.arrays((x, y)), inner, rng=seeded(), solve=solve)
    assert result.n_iter == truth.n_iter == (200 if inner in ENTROPIC else 0)
    for array, expected in zip(result[:4], truth[:4], strict=True):
        assert library.owns(array)
        scale = 1.0 + np.max(np.abs(expected))
        np.testing.assert_allclose(to_host(array), expected, rtol=0, atol=3e3 * library.eps * scale)


# Outer plans


def test_frechet_costs_are_those_of_the_moments():
    x, y = batch_of((6, 9, 4)), batch_of((5, 7), seed=1)
    cost = pairwise_frechet(x, y)
    for i in range(3):
        for j in range(2):
            mu, nu = moments(live(x, i)), moments(live(y, j))
            means = np.sum((mu.mean - nu.mean) ** 2)
            values = np.linalg.eigvals(mu.cov @ nu.cov)
            truth = means + np.trace(mu.cov + nu.cov) - 2 * np.sum(np.sqrt(np.abs(values)))
            assert cost[i, j] == pytest.approx(truth, rel=1e-9)


def test_chamfer_costs_are_both_directions():
    x, y = batch_of((6, 2)), batch_of((5, 7, 1), seed=1)
    cost = pairwise_chamfer_cost(x, y)
    for i in range(2):
        for j in range(3):
            gaps = cdist(live(x, i), live(y, j), "sqeuclidean")
            assert cost[i, j] == pytest.approx(gaps.min(axis=0).mean() + gaps.min(axis=1).mean(), rel=1e-9)


@pytest.mark.parametrize("outer", ["frechet", "chamfer"])
@given(strategies.seeds)
def test_matching_recovers_a_permutation(outer, seed):
    x = batch_of((5, 4, 6, 5), seed=seed)
    order = seeded(seed).permutation(4)
    perm = match_clouds(x, PointCloud(x.points[order], x.weights[order]), outer)
    np.testing.assert_array_equal(order[perm], np.arange(4))


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="batches of equal size; got 2 and 3"):
        match_clouds(batch_of((2, 2)), batch_of((2, 2, 2)), "frechet")


def scipy_w2(x, y):
    cost = cdist(x, y, "sqeuclidean")
    rows, columns = linear_sum_assignment(cost)
    return cost[rows, columns].mean()


def test_wasserstein_costs_are_those_of_the_assignments():
    x, y = batch_of((5, 5, 5)), batch_of((5, 5), seed=1)
    cost = outer_cost(x, y, "wasserstein")
    truth = [[scipy_w2(live(x, i), live(y, j)) for j in range(2)] for i in range(3)]
    np.testing.assert_allclose(cost, truth, rtol=1e-12)
    assert np.all(pairwise_frechet(x, y) < cost)


def test_wasserstein_costs_between_different_sizes():
    ot = pytest.importorskip("ot")
    x, y = batch_of((3, 6)), batch_of((4, 2, 6), seed=1)
    cost = outer_cost(x, y, "wasserstein")
    for i in range(2):
        for j in range(3):
            a, b = x.weights[i][x.weights[i] > 0], y.weights[j][y.weights[j] > 0]
            truth = ot.emd2(a, b, cdist(live(x, i), live(y, j), "sqeuclidean"))
            assert cost[i, j] == pytest.approx(truth, rel=1e-9)


def test_sliced_costs_are_means_over_the_directions_of_the_generator():
    x, y = batch_of((5, 5)), batch_of((5, 5, 5), seed=1)
    cost = outer_cost(x, y, "sliced", rng=seeded(3), n_proj=7)
    z = seeded(3).standard_normal((7, 2))
    for i in range(2):
        for j in range(3):
            lines = [
                (np.sort(live(x, i) @ w), np.sort(live(y, j) @ w))
                for w in z / np.linalg.norm(z, axis=1)[:, None]
            ]
            assert cost[i, j] == pytest.approx(np.mean([(p - q) ** 2 for p, q in lines]), rel=1e-11)
    other = outer_cost(x, y, "sliced", rng=seeded(4), n_proj=7)
    assert np.max(np.abs(other - cost)) > 1e-3


@pytest.mark.parametrize("outer", ["linear", "lazy"])
def test_lazy_costs_compare_points_by_index(outer):
    x, y = batch_of((4, 4)), batch_of((4, 4, 4), seed=1)
    truth = np.mean(np.sum((x.points[:, None] - y.points[None]) ** 2, axis=-1), axis=-1)
    np.testing.assert_allclose(outer_cost(x, y, outer), truth, rtol=1e-12)
    moved = PointCloud(y.points[:, ::-1].copy(), y.weights)
    assert np.max(np.abs(outer_cost(x, moved, outer) - truth)) > 0.1


@given(st.integers(1, 6), strategies.seeds)
def test_outer_plan_of_equal_batches_is_a_permutation(n, seed):
    cost = seeded(seed).random((n, n))
    plan = outer_plan(cost)
    assert set(np.unique(plan)) <= {0.0, 1.0 / n}
    np.testing.assert_allclose(plan.sum(axis=0), 1.0 / n)
    np.testing.assert_allclose(plan.sum(axis=1), 1.0 / n)
    best = cost[linear_sum_assignment(cost)].sum() / n
    assert np.sum(plan * cost) == pytest.approx(best, rel=1e-12)


def test_the_outer_plan_is_not_transposed():
    cost = 1.0 - np.eye(3)[[1, 2, 0]]
    np.testing.assert_array_equal(outer_plan(cost), np.eye(3)[[1, 2, 0]] / 3)


def test_outer_plan_of_different_batches_solves_the_linear_programme():
    n, m = 3, 4
    cost = seeded().random((n, m))
    plan = outer_plan(cost)
    sums = [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    answer = linprog(
        cost.ravel(), A_eq=np.concatenate(sums), b_eq=np.repeat([1 / n, 1 / m], [n, m]), method="highs"
    )
    assert np.sum(plan * cost) == pytest.approx(answer.fun, rel=1e-9)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / n)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / m)


def test_pairs_of_a_step_are_the_permutation_or_draws_from_it():
    cost = seeded().random((300, 300))
    source, target = outer_pairs(cost)
    np.testing.assert_array_equal(source, np.arange(300))
    np.testing.assert_array_equal(target, linear_sum_assignment(cost)[1])
    drawn = outer_pairs(cost, rng=seeded(1), replace=True)
    np.testing.assert_array_equal(drawn.target, target[drawn.source])
    share = len(set(drawn.source.tolist())) / 300  # 1 - 1/e of them
    assert abs(share - (1 - np.exp(-1))) < 0.08


@given(st.integers(2, 6), st.integers(2, 6), st.floats(0.02, 10.0), strategies.seeds)
def test_the_entropic_outer_plan_lies_between_the_optimal_and_the_product_plan(n, m, eps, seed):
    cost = seeded(seed).random((n, m))
    plan = outer_plan(cost, eps=eps)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / n, atol=1e-3)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / m, atol=1e-3)
    assert np.all(plan > 0)
    paid = np.sum(plan * cost)
    assert np.sum(outer_plan(cost) * cost) - 1e-3 <= paid <= np.mean(cost) + 1e-3


def test_the_entropic_outer_plan_is_that_of_a_solver_of_its_own():
    cost = seeded().random((4, 6))
    found = outer_plan(cost, eps=0.1)
    truth = ot.sinkhorn(np.full(4, 1 / 4), np.full(6, 1 / 6), cost, 0.1 * cost.max(), stopThr=1e-12)
    np.testing.assert_allclose(found, truth, atol=1e-3)
    assert np.max(np.abs(outer_plan(cost, eps=0.2) - truth)) > 1e-2


@given(st.integers(1, 8), st.sampled_from([0.0, 0.3]), st.booleans(), strategies.seeds)
def test_pairs_stay_within_their_groups(n, eps, replace, seed):
    rng = seeded(seed)
    cost, groups = rng.random((n, n)), rng.integers(0, 3, n)
    source, target = outer_pairs(cost, rng=rng, eps=eps, replace=replace, groups=groups)
    np.testing.assert_array_equal(groups[source], groups)
    np.testing.assert_array_equal(groups[target], groups)
    if eps == 0.0 and not replace:
        apart = cost + 100.0 * (groups[:, None] != groups)
        np.testing.assert_array_equal(target, linear_sum_assignment(apart)[1])
        np.testing.assert_array_equal(outer_pairs(cost, groups=np.zeros(n)).target, outer_pairs(cost).target)


def test_an_eps_too_small_for_the_iteration_is_said():
    with pytest.raises(ConvergenceError, match=r"eps = 1e-09 was found; take a larger eps, or 0"):
        outer_plan(seeded().random((20, 20)), eps=1e-9)


def test_pairs_of_an_entropic_plan_have_its_frequencies_and_every_source_once():
    cost = seeded().random((3, 3))
    plan = outer_plan(cost, eps=0.3)
    rng, n = seeded(1), 400
    drawn = [outer_pairs(cost, rng=rng, eps=0.3) for _ in range(n)]
    assert all(np.array_equal(pairs.source, [0, 1, 2]) for pairs in drawn)
    counts = sum(np.eye(3)[pairs.target] for pairs in drawn)
    shares = plan / plan.sum(axis=1, keepdims=True)
    assert np.max(np.abs(counts - n * shares) / np.sqrt(n * shares * (1 - shares))) < 5
    replaced = outer_pairs(cost, rng=rng, eps=0.3, replace=True)
    assert replaced.source.shape == (3,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: outer_plan(np.eye(2), eps=-1.0), "eps must not be negative; got -1"),
        (lambda x, y: outer_plan(np.eye(2), eps=float("nan")), "eps must not be negative; got nan"),
        (lambda x, y: outer_pairs(np.eye(2), eps=0.1), "needs rng"),
        (lambda x, y: outer_cost(x, y, "lazy"), "need equal sizes, no padding and uniform weights; use 'sl"),
        (lambda x, y: outer_cost(x, y, "linear"), "compare clouds as vectors"),
        (lambda x, y: outer_cost(x, y, "sliced"), "draws directions: it needs rng"),
        (lambda x, y: outer_cost(x, y, "independent"), "is no cost; those are frechet, chamfer"),
        (lambda x, y: outer_plan(np.zeros((0, 2))), r"shape \(N, M\) with N, M >= 1"),
        (lambda x, y: outer_pairs(np.zeros((2, 3))), "batches of equal size"),
        (lambda x, y: outer_pairs(np.eye(2), replace=True), "needs rng"),
        (lambda x, y: outer_cost(PointCloud(x.points[0], x.weights[0]), y, "wasserstein"), "be a family"),
        (lambda x, y: couple(x, y, "lazy", rng=seeded(), solve=SOLVE), "pair points by their index"),
        (lambda x, y: couple(x, y, "linear", rng=seeded(), solve=SOLVE), "use 'sliced', 'exact'"),
    ],
)
def test_plans_say_what_they_cannot_take(call, message):
    with pytest.raises(ValueError, match=message):
        call(batch_of((3, 5)), batch_of((3, 5), seed=1))


def test_in_order():
    x = batch_of((4, 4))
    assert in_order(x, batch_of((4, 4, 4), seed=1))
    assert not in_order(x, batch_of((4, 3)))
    assert not in_order(x, batch_of((5, 5)))
    assert not in_order(x, PointCloud(x.points, x.weights * np.array([1.1, 0.9, 1.0, 1.0])))


@pytest.mark.parametrize("outer", COSTS)
def test_costs_on_every_library(library, outer):
    x, y = batch_of((4, 4)), batch_of((4, 4, 4), seed=5)
    if library.name == "jax":  # compiles for every shape: of one
        x = batch_of((4, 4, 4), seed=4)

    def cost(x, y):
        return outer_cost(x, y, outer, rng=seeded(), n_proj=5)

    library.check(cost, x, y, ulps=3e3, scale=1.0)
    library.check(lambda x, y: outer_plan(cost(x, y)), x, y, ulps=4, scale=1.0)
    library.check(lambda x, y: outer_plan(cost(x, y), eps=0.1), x, y, ulps=3e4, scale=1.0)


# Drawing pairs


def graph_of(x, y, inner, n, **options):
    """Frequencies (n, m) with which the point pairs of one pair of clouds appear among n copies of it."""
    many = [PointCloud(*(np.repeat(part, n, axis=0) for part in cloud)) for cloud in (x, y)]
    pairs = couple(*many, inner, rng=seeded(2), solve=SOLVE, **options)
    rows = np.all(pairs.x[:, :, None, :] == x.points[0], axis=-1)
    columns = np.all(pairs.y[:, :, None, :] == y.points[0], axis=-1)
    live_pairs = pairs.weights > 0
    assert np.all(rows.sum(axis=-1)[live_pairs] == 1)
    assert np.all(columns.sum(axis=-1)[live_pairs] == 1)
    assert not np.any(pairs.x[~live_pairs])
    assert not np.any(pairs.y[~live_pairs])
    np.testing.assert_allclose(pairs.weights.sum(axis=1), 1.0)
    hits = rows[:, :, :, None] & columns[:, :, None, :]
    return np.einsum("bk,bknm->nm", pairs.weights, hits) / n


def sliced_plan(x, y, theta):
    """Average over directions of the sorted plans, by loops over small steps of levels (equal weights)."""
    n, m = len(x), len(y)
    fine = n * m
    plan = np.zeros((n, m))
    for w in theta:
        rows, columns = np.argsort(x @ w).repeat(m), np.argsort(y @ w).repeat(n)
        np.add.at(plan, (rows, columns), 1.0 / (fine * len(theta)))
    return plan


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("sizes", [(4, 4), (3, 4)])
def test_sliced_pairs_have_the_frequencies_of_the_averaged_plan(sizes, replace):
    x, y = batch_of(sizes[:1]), batch_of(sizes[1:], seed=1)
    n = 2000
    found = graph_of(x, y, "sliced", n, n_proj=9, replace=replace)
    z = seeded(2).standard_normal((9, 2))
    plan = sliced_plan(x.points[0], y.points[0], z / np.linalg.norm(z, axis=1)[:, None])
    error = np.sqrt(np.maximum(plan, 1e-12) / (n * sizes[0]))
    assert np.max(np.abs(found - plan)[plan > 0] / error[plan > 0]) < 5
    assert np.all(found[plan == 0] == 0)
    assert np.max(np.abs(found - 1.0 / found.size)) > 0.05  # not the product plan


@pytest.mark.parametrize("inner", ["exact", "sampled", "independent", "rounded", "argmax"])
def test_draws_with_replacement_have_the_frequencies_of_the_plan(inner):
    x = batch_of((3,), size=5)
    y = batch_of((3,) if inner in ("rounded", "exact") else (4,), seed=1, size=5)
    n = 1500
    found = graph_of(x, y, inner, n, replace=True)[:3, : len(live(y, 0))]
    a, b = np.full(3, 1 / 3), y.weights[0][y.weights[0] > 0]
    P = textbook_plan(live(x, 0), live(y, 0), a, b)
    if inner == "exact":
        plan = np.eye(3)[linear_sum_assignment(cdist(live(x, 0), live(y, 0), "sqeuclidean"))[1]] / 3
    elif inner == "independent":
        plan = np.outer(a, b)
    elif inner == "sampled":
        plan = P
    else:
        plan = (P.max(axis=1, keepdims=True) == P) / 3.0
        assert inner == "argmax" or np.all(plan.sum(axis=0) == plan.sum(axis=1))
    error = np.sqrt(np.maximum(plan, 1e-9) / (3 * n))
    assert np.max(np.abs(found - plan) / np.maximum(error, 1e-4)) < 5


def test_draws_with_replacement_from_an_optimal_plan_between_different_sizes():
    ot = pytest.importorskip("ot")
    x, y = batch_of((3,)), batch_of((4,), seed=1)
    n = 1500
    found = graph_of(x, y, "exact", n, replace=True)
    plan = ot.emd(x.weights[0], y.weights[0], cdist(x.points[0], y.points[0], "sqeuclidean"))
    error = np.sqrt(np.maximum(plan, 1e-9) / (3 * n))
    assert np.max(np.abs(found - plan)[plan > 0] / error[plan > 0]) < 5
    assert np.all(found[plan == 0] == 0)


def test_without_replacement_every_source_point_comes_once():
    x, y = batch_of((6, 6)), batch_of((6, 6), seed=1)
    for inner in INNER:
        assert np.array_equal(couple(x, y, inner, rng=seeded(), solve=SOLVE).x, x.points)
        again = couple(x, y, inner, rng=seeded(), solve=SOLVE, replace=True).x
        assert np.array_equal(again, x.points) == (inner in ("linear", "lazy"))


def test_pairs_by_index():
    x, y = batch_of((4, 4)), batch_of((4, 4), seed=1)
    for inner in ("linear", "lazy"):
        np.testing.assert_array_equal(images(x, y, inner), y.points)


def test_the_exact_plan_takes_weights_that_are_nearly_even_and_any_padding(rng):
    """Weights even to four digits are not even: a plan, not an assignment; padding may differ."""
    x, y = rng.standard_normal((2, 1, 4, 2))
    nearly, even = np.array([[0.2501, 0.2499, 0.25, 0.25]]), np.full((1, 4), 0.25)
    padded = np.array([[0.5, 0.5, 0.0, 0.0]])
    for a in (nearly, even, padded):
        for b in (nearly, even, padded):
            found = couple(PointCloud(x, a), PointCloud(y, b), "exact", rng=rng, solve=None)
            assert np.all(np.isfinite(found.y))
            np.testing.assert_allclose(np.sum(found.weights), 1.0)
