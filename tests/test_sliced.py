"""Sliced transport against POT, closed forms and its own bounds; and its properties."""

from types import SimpleNamespace

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import relative
from thirds import THOROUGH

from refwfm._array import to_host
from refwfm.clouds import pad, uniform
from refwfm.measures import PointCloud, take
from refwfm.transport import sliced
from refwfm.transport.exact import assignment
from refwfm.transport.sliced import (
    lifted_plan,
    pairwise_sliced_cost,
    random_directions,
    sample_sliced_pairs,
    sliced_cost,
    sorted_permutations,
    sq_sliced_distance,
)

POT = 1e-10  # relative: sums of a few hundred products in another order
ROUNDINGS = 1e-13


def directions(rng, n_proj, d):
    return random_directions(np.zeros((1, d)), rng=rng, n_proj=n_proj)


def cloud(rng, *shape, weighted=False):
    x = uniform(rng.standard_normal(shape))
    return PointCloud(x.points, rng.dirichlet(np.ones(shape[-2]), shape[:-2])) if weighted else x


@st.composite
def pairs(draw):
    """Two clouds of any sizes and weights, perhaps with ties, and directions."""
    rng = np.random.default_rng(draw(strategies.seeds))
    d, n, m = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    weighted, ties = draw(st.booleans()), draw(st.booleans())
    x, y = cloud(rng, n, d, weighted=weighted), cloud(rng, m, d, weighted=weighted)
    if ties:
        x, y = (PointCloud(np.round(c.points), c.weights) for c in (x, y))
    return x, y, directions(rng, draw(st.integers(1, 6)), d)


def emd2(x, y, p=2):
    ot = pytest.importorskip("ot")
    costs = np.sum((x.points[:, None] - y.points) ** 2, axis=-1) ** (p / 2)
    return float(ot.emd2(x.weights, y.weights, costs))


# Directions


def test_directions_are_unit_vectors_that_repeat(library):
    points = library.array(np.zeros((4, 3)))
    theta = random_directions(points, rng=np.random.default_rng(1), n_proj=500)
    assert library.owns(theta)
    host = to_host(theta).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(host, axis=-1), 1.0, atol=2 * library.eps)
    again = directions(np.random.default_rng(1), 500, 3)
    np.testing.assert_allclose(host, again, atol=library.eps)


def test_directions_are_uniform(rng):
    """First and second moments, in standard errors; normalised points of a cube are not."""

    def scores(theta):
        K, d = theta.shape
        second = theta[:, :, None] * theta[:, None, :] - np.eye(d) / d
        return max(
            np.max(np.abs(v.mean(axis=0)) / v.std(axis=0)) * K**0.5
            for v in (theta, second, theta**4 - 3 / 15)
        )

    assert scores(directions(rng, 10_000, 3)) < 5
    cube = rng.uniform(-1, 1, (10_000, 3))
    assert scores(cube / np.linalg.norm(cube, axis=-1, keepdims=True)) > 5


def test_a_direction_of_norm_zero_is_drawn_again():
    draws = iter([np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]]), np.array([[0.0, -2.0]])])
    rng = SimpleNamespace(standard_normal=lambda shape: next(draws))
    theta = random_directions(np.zeros((1, 2)), rng=rng, n_proj=2)
    np.testing.assert_allclose(theta, [[0.0, -1.0], [0.6, 0.8]])


@pytest.mark.parametrize(("n_proj", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_directions_must_be_some(rng, n_proj, error):
    with pytest.raises(error, match="n_proj must be an integer"):
        random_directions(np.zeros((1, 2)), rng=rng, n_proj=n_proj)
    assert random_directions(np.zeros((1, 2)), rng=rng, n_proj=np.int64(3)).shape == (3, 2)


# Distance


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("n", "m", "weighted"), [(9, 9, False), (9, 9, True), (9, 14, False), (9, 14, True)])
def test_distance_is_pots(rng, n, m, weighted, p):
    ot = pytest.importorskip("ot")
    x, y, theta = (
        cloud(rng, n, 3, weighted=weighted),
        cloud(rng, m, 3, weighted=weighted),
        directions(rng, 50, 3),
    )
    truth = ot.sliced_wasserstein_distance(x.points, y.points, x.weights, y.weights, p=p, projections=theta.T)
    assert float(sliced_cost(x, y, theta, p=p)) == pytest.approx(truth**p, rel=POT)
    if p == 2:
        assert float(sq_sliced_distance(x, y, theta)) == pytest.approx(truth**2, rel=POT)
    wrong = {
        "not to the power p": truth if p > 1 else truth**2,
        "summed over directions": 50 * truth**p,
        "divided by d": truth**p / 3,
        "of other directions": sliced_cost(x, y, directions(rng, 50, 3), p=p),
    }
    for name, value in wrong.items():
        assert abs(value / truth**p - 1) > 1e-3, name


def test_distance_of_a_translation(rng):
    """``⟨θ, v⟩²`` along each direction: on average ``‖v‖² / d``."""
    x, v, theta = cloud(rng, 20, 4), rng.standard_normal(4), directions(rng, 2000, 4)
    moved = PointCloud(x.points + v, x.weights)
    along = (theta @ v) ** 2
    assert float(sq_sliced_distance(x, moved, theta)) == pytest.approx(along.mean(), rel=ROUNDINGS)
    error = abs(along.mean() - v @ v / 4) / (along.std() / 2000**0.5)
    assert error < 5
    assert abs(along.mean() - v @ v) > 5 * along.std() / 2000**0.5  # negative control: without the 1 / d


def test_distance_of_large_normal_clouds(rng):
    """``‖Δm‖² / d + E(√(θᵀAθ) - √(θᵀBθ))²``: clouds of Gaussian quantiles along an axis, rotated."""
    from scipy.special import ndtri

    z = ndtri((np.arange(2000) + 0.5) / 2000)
    x, y = uniform(np.stack([z, 0 * z], axis=-1)), uniform(np.stack([0 * z, 2.0 * z], axis=-1))
    theta = directions(rng, 400, 2)
    truth = np.mean((np.abs(theta[:, 0]) - 2 * np.abs(theta[:, 1])) ** 2)
    assert float(sq_sliced_distance(x, y, theta)) == pytest.approx(truth, rel=2e-3)


@given(pairs(), st.sampled_from([1.0, 1.7, 2.0, 4.0]))
def test_distance_is_at_most_the_distance(pair, p):
    """Along every direction; and in one dimension it is the distance."""
    x, y, theta = pair
    truth = emd2(x, y, p)
    for one in theta:
        value = float(sliced_cost(x, y, one[None], p=p))
        assert value <= truth * (1 + 1e-12) + 1e-12
        if len(one) == 1:
            assert value == pytest.approx(truth, rel=1e-12, abs=1e-13)


def test_distance_times_d_is_at_most_the_squared_distance_on_average(rng):
    x, y, theta = cloud(rng, 8, 3), cloud(rng, 8, 3), directions(rng, 4000, 3)
    along = np.array([float(sq_sliced_distance(x, y, one[None])) for one in theta[:400]])
    assert float(sq_sliced_distance(x, y, theta)) <= emd2(x, y) / 3 + 5 * along.std() / 4000**0.5


@given(pairs(), strategies.seeds, st.floats(0.1, 10.0))
def test_distance_is_a_metric_that_moves_with_the_space(pair, seed, scale):
    x, y, theta = pair
    rng = np.random.default_rng(seed)
    z = cloud(rng, 5, theta.shape[-1])
    sizes = sum(float(np.max(np.abs(c.points))) + 1 for c in (x, y, z)) ** 2
    there, back = sq_sliced_distance(x, y, theta), sq_sliced_distance(y, x, theta)
    assert abs(there - back) <= ROUNDINGS * sizes
    assert sq_sliced_distance(x, x, theta) <= ROUNDINGS**2 * sizes
    over = sq_sliced_distance(x, z, theta) ** 0.5 + sq_sliced_distance(z, y, theta) ** 0.5
    assert there**0.5 <= over + 1e-12 * sizes
    order, shift = rng.permutation(x.points.shape[0]), rng.standard_normal(theta.shape[-1])
    moved = PointCloud(scale * (x.points[order] + shift), x.weights[order])
    target = PointCloud(scale * (y.points + shift), y.weights)
    error = abs(sq_sliced_distance(moved, target, -theta) - scale**2 * there)
    assert error <= 10 * ROUNDINGS * scale**2 * (sizes + shift @ shift)


@given(pairs(), st.integers(1, 3), strategies.seeds)
def test_padding_never_counts(pair, rows, seed):
    x, y, theta = pair
    n, m, d = x.points.shape[0], y.points.shape[0], theta.shape[-1]
    place = np.random.default_rng(seed).permutation(n + rows)
    points = np.concatenate([x.points, np.full((rows, d), np.nan)])[place]
    padded = PointCloud(points, np.concatenate([x.weights, np.zeros(rows)])[place])
    real = padded.weights > 0
    unsorted = take(PointCloud(*(part[None] for part in padded)), np.array([0]))
    for p in (1.0, 2.0):
        truth = float(sliced_cost(x, y, theta, p=p))
        assert float(sliced_cost(padded, y, theta, p=p)) == pytest.approx(truth, rel=1e-12, abs=1e-13)
        assert float(sliced_cost(y, padded, theta, p=p)) == pytest.approx(truth, rel=1e-12, abs=1e-13)
        target = PointCloud(y.points[None], y.weights[None])
        matrix = pairwise_sliced_cost(unsorted, target, theta, p=p)
        assert float(matrix[0, 0]) == pytest.approx(truth, rel=1e-12, abs=1e-13)
    plan = lifted_plan(padded, y, theta)
    assert np.all(plan[~real] == 0)
    row, column = sample_sliced_pairs(padded, y, theta, rng=np.random.default_rng(0), size=50)
    assert np.all(real[row])
    assert np.all((column >= 0) & (column < m))


# The matrix of costs


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("kind", ["alike", "sizes", "weights"])
def test_matrix_holds_the_costs_of_its_pairs(rng, kind, p):
    if kind == "sizes":
        x, y = (pad([rng.standard_normal((n, 2)) for n in counts]) for counts in ((3, 6, 1), (5, 2, 6, 6)))
    else:
        x, y = (cloud(rng, B, 6, 2, weighted=kind == "weights") for B in (3, 4))
    theta = directions(rng, 7, 2)
    result = pairwise_sliced_cost(x, y, theta, p=p)
    spread = PointCloud(x.points[:, None], x.weights[:, None])
    assert relative(result, sliced_cost(spread, y, theta, p=p)) < ROUNDINGS
    ot = pytest.importorskip("ot")
    truth = ot.sliced_wasserstein_distance(
        x.points[1], y.points[2], x.weights[1], y.weights[2], p=p, projections=theta.T
    )
    assert float(result[1, 2]) == pytest.approx(truth**p, rel=POT)


@pytest.mark.parametrize("block", [1, 100, 10**9])
@pytest.mark.parametrize("weighted", [True, False])
def test_blocks_do_not_change_anything(rng, monkeypatch, block, weighted):
    x, y = cloud(rng, 4, 5, 2, weighted=weighted), cloud(rng, 3, 5, 2, weighted=weighted)
    theta = directions(rng, 6, 2)

    def everything():
        one = PointCloud(y.points[0], y.weights[0])
        yield from (pairwise_sliced_cost(x, y, theta, p=p) for p in (1.0, 2.0))
        yield from (sliced_cost(x, one, theta), lifted_plan(x, one, theta))

    whole = list(everything())
    monkeypatch.setattr(sliced, "SLICED_BLOCK", block)
    for result, truth in zip(everything(), whole, strict=True):
        assert relative(result, truth) < ROUNDINGS


def test_matrix_far_from_the_origin(rng):
    """The product of sorted projections is centred: an offset costs no more digits than it must."""
    x, y, theta = cloud(rng, 3, 8, 2), cloud(rng, 4, 8, 2), directions(rng, 20, 2)
    far = [PointCloud(c.points + 1e6, c.weights) for c in (x, y)]
    assert relative(pairwise_sliced_cost(*far, theta), pairwise_sliced_cost(x, y, theta)) < 1e-8
    assert np.all(pairwise_sliced_cost(x, x, theta) >= 0)


def test_matrix_of_near_clouds_keeps_its_digits(rng):
    """Two clouds far from all others and a breath apart: about the mean of all, the product has no digits."""
    x = cloud(rng, 3, 8, 2)
    near = PointCloud(x.points + 1e-6 * rng.standard_normal((3, 8, 2)), x.weights)
    far = [PointCloud(np.concatenate([c.points, -1e3 + c.points]), np.full((6, 8), 1 / 8)) for c in (x, near)]
    theta = directions(rng, 20, 2)
    spread = PointCloud(far[0].points[:, None], far[0].weights[:, None])
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-2)):
        found = pairwise_sliced_cost(
            *(PointCloud(*(v.astype(dtype) for v in c)) for c in far), theta.astype(dtype)
        )
        truth = sliced_cost(
            *(PointCloud(*(v.astype(dtype) for v in c)) for c in (spread, far[1])), theta.astype(dtype)
        )
        np.testing.assert_allclose(found, truth, rtol=tolerance)
    assert np.max(np.diag(truth)) < 1e-6  # the product's error would be 1e6 machine epsilons


# What is not finite, or out of range


def lone(*values, weights=None, dtype=np.float64):
    """A family of one cloud on the line."""
    points = np.asarray(values, dtype)[None, :, None]
    n = len(values)
    return PointCloud(points, np.asarray([weights or np.full(n, 1 / n)], dtype))


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("weights", [None, [0.25, 0.75], [1.0, 0.0]])
def test_nan_stays_nan(library, p, weights):
    """Whatever the shortcut; at padding it has no effect."""
    for dirty in (lone(np.nan, 0.0, weights=weights), lone(np.nan, 0.0, 2.0, weights=[0.5, 0.5, 0.0])):
        for other in (lone(5.0, 6.0), lone(1.0, 2.0, 3.0)):
            if library.name == "jax" and dirty.points.shape != other.points.shape:
                continue  # it compiles for every pair of sizes
            arrays = library.arrays((dirty, other, np.eye(1)))
            every = library.name != "jax" or THOROUGH
            for function in (pairwise_sliced_cost, sliced_cost) if every else (sliced_cost,):
                for x, y in (arrays[:2], arrays[1::-1]) if every else (arrays[:2],):
                    assert np.isnan(to_host(function(x, y, arrays[2], p=p, validate=False))).all()
            with pytest.raises(ValueError, match="points must be finite"):
                pairwise_sliced_cost(*arrays, p=p)


def test_an_order_of_nan_is_refused(library):
    x, y, theta = library.arrays((lone(np.nan, 0.0), lone(5.0, 6.0), np.eye(1)))
    for call in (
        lambda: lifted_plan(x, y, theta, validate=False),
        lambda: sorted_permutations(x, y, theta, validate=False),
        lambda: sample_sliced_pairs(x, y, theta, rng=np.random.default_rng(0), size=3, validate=False),
    ):
        with pytest.raises(ValueError, match="must be finite to be put in order"):
            call()


@pytest.mark.parametrize("kind", ["alike", "sizes", "weights"])
def test_what_overflows_is_refused_and_nothing_else(rng, kind):
    """Squares of 1e200 are not 0, and those of 1e150 are numbers."""
    x, y, theta = cloud(rng, 2, 6, 3), cloud(rng, 2, 7 if kind == "sizes" else 6, 3), directions(rng, 5, 3)
    if kind == "weights":
        y = PointCloud(y.points, rng.dirichlet(np.ones(6), 2))
    for dtype, large, huge in ((np.float64, 1e150, 1e200), (np.float32, 1e15, 1e30)):
        a, b, t = (
            PointCloud(*(v.astype(dtype) for v in x)),
            PointCloud(*(v.astype(dtype) for v in y)),
            theta.astype(dtype),
        )
        for function in (pairwise_sliced_cost, sliced_cost):
            truth = function(a, b, t)
            for s in (dtype(large), dtype(1 / large)):
                scaled = function(*(PointCloud(s * c.points, c.weights) for c in (a, b)), t)
                np.testing.assert_allclose(scaled / s / s, truth, rtol=100 * np.finfo(dtype).eps)
            overflowing = [PointCloud(dtype(huge) * c.points, c.weights) for c in (a, b)]
            with pytest.raises(
                ValueError, match=r"beyond the largest number of float.*coordinates are up to"
            ):
                function(*overflowing, t)
            assert not np.any(np.isfinite(function(*overflowing, t, validate=False)))


# Gradients


@pytest.mark.parametrize("kind", ["alike", "sizes", "padding"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_gradients_are_finite_differences(rng, kind, p):
    torch = pytest.importorskip("torch")
    x, y, theta = cloud(rng, 2, 4, 2), cloud(rng, 2, 4 if kind == "alike" else 5, 2), directions(rng, 3, 2)
    a = rng.dirichlet(np.ones(4), 2)
    if kind == "padding":
        a[:, 3], x.points[:, 3] = 0.0, np.nan
        a /= a.sum(axis=-1, keepdims=True)
    inputs = [torch.asarray(v, requires_grad=True) for v in (x.points, a, y.points, y.weights, theta)]

    def cost(points, a, target, b, theta):
        return pairwise_sliced_cost(PointCloud(points, a), PointCloud(target, b), theta, p=p, validate=False)

    gradients = torch.autograd.grad(cost(*inputs).sum(), inputs)
    host = [v.detach().numpy() for v in inputs]
    for k, gradient in enumerate(gradients):
        step = rng.standard_normal(host[k].shape)
        if k in (1, 3):  # weights stay weights
            step = np.where(host[k] > 0, step, 0.0)
            step -= (
                (host[k] > 0) * step.sum(axis=-1, keepdims=True) / (host[k] > 0).sum(axis=-1, keepdims=True)
            )
        ends = [
            np.sum(cost(*(v + s * 1e-7 * step if i == k else v for i, v in enumerate(host)))) for s in (1, -1)
        ]
        assert bool(torch.all(torch.isfinite(gradient)))
        if k != 3 or kind != "alike":  # levels of equal weights meet: no derivative, but one of each side
            got = np.sum(np.where(step == 0, 0.0, gradient.numpy() * step))
            assert got == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-5, abs=1e-6)
    if kind == "padding":
        assert not gradients[0][:, 3].any()


def test_plans_have_no_derivative(rng):
    torch = pytest.importorskip("torch")
    x, y = (PointCloud(*(torch.asarray(v) for v in cloud(rng, 4, 2))) for _ in range(2))
    x.points.requires_grad_()
    theta = torch.asarray(directions(rng, 3, 2))
    with pytest.raises(RuntimeError, match="the sliced plan has no derivative"):
        lifted_plan(x, y, theta).sum().backward()


# The plan


@pytest.mark.parametrize(("n", "m", "weighted"), [(6, 6, False), (6, 6, True), (6, 9, False), (6, 9, True)])
def test_plan_is_pots(rng, n, m, weighted):
    ot = pytest.importorskip("ot")
    x, y, theta = (
        cloud(rng, n, 3, weighted=weighted),
        cloud(rng, m, 3, weighted=weighted),
        directions(rng, 20, 3),
    )
    plan = lifted_plan(x, y, theta)
    truth, cost = ot.expected_sliced_plan(x.points, y.points, x.weights, y.weights, projections=theta.T)
    np.testing.assert_allclose(plan, truth, atol=POT)
    sq_gaps = np.sum((x.points[:, None] - y.points) ** 2, axis=-1)
    assert np.sum(plan * sq_gaps) == pytest.approx(float(cost), rel=POT)
    wrong = {
        "the product": x.weights[:, None] * y.weights,
        "one direction": lifted_plan(x, y, theta[:1]),
        "sorted against each other": lifted_plan(x, PointCloud(-y.points, y.weights), theta),
    }
    for name, variant in wrong.items():
        assert np.max(np.abs(variant - truth)) > 1e-3, name


@given(pairs())
def test_plan_has_its_marginals_and_costs_at_least_the_distance(pair):
    x, y, theta = pair
    plan = lifted_plan(x, y, theta)
    np.testing.assert_allclose(plan.sum(axis=-1), x.weights, atol=1e-14)
    np.testing.assert_allclose(plan.sum(axis=-2), y.weights, atol=1e-14)
    assert np.all(plan >= 0)
    sq_gaps = np.sum((x.points[:, None] - y.points) ** 2, axis=-1)
    cost = np.sum(plan * sq_gaps)
    assert cost >= emd2(x, y) - 1e-12
    assert cost >= float(sq_sliced_distance(x, y, theta)) - 1e-12


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 5), strategies.seeds)
def test_permutations_average_to_the_plan(n, d, n_proj, seed):
    rng = np.random.default_rng(seed)
    x, y, theta = cloud(rng, n, d), cloud(rng, n, d), directions(rng, n_proj, d)
    perm = sorted_permutations(x, y, theta)
    np.testing.assert_array_equal(np.sort(perm, axis=-1), np.broadcast_to(np.arange(n), (n_proj, n)))
    average = np.mean(np.eye(n)[perm], axis=0) / n
    np.testing.assert_allclose(average, lifted_plan(x, y, theta), atol=1e-14)
    for one, direction in zip(perm, theta, strict=True):
        along = [c.points @ direction for c in (x, y)]
        truth = assignment((along[0][:, None] - along[1]) ** 2)
        cost, least = (np.mean((along[0] - along[1][q]) ** 2) for q in (one, truth))
        assert cost == pytest.approx(least, rel=1e-12, abs=1e-15)


def test_permutations_of_a_direction_for_each_pair(rng):
    x, y = cloud(rng, 4, 6, 2), cloud(rng, 4, 6, 2)
    theta = directions(rng, 4, 2)
    perm = sorted_permutations(x, y, theta[:, None, :])
    assert perm.shape == (4, 1, 6)
    for i in range(4):
        single = sorted_permutations(*(take(c, np.array([i])) for c in (x, y)), theta[i : i + 1])
        np.testing.assert_array_equal(perm[i], single[0])


def test_permutations_need_equal_sizes_and_weights(rng):
    x, theta = cloud(rng, 4, 2), directions(rng, 2, 2)
    for y in (cloud(rng, 5, 2), cloud(rng, 4, 2, weighted=True)):
        with pytest.raises(ValueError, match=r"equal sizes and uniform weights.*sample_sliced_pairs"):
            sorted_permutations(x, y, theta)


@pytest.mark.parametrize(("n", "m", "weighted"), [(4, 4, False), (4, 6, True)])
def test_drawn_pairs_follow_the_plan(rng, n, m, weighted):
    """Frequencies in standard errors; no pair that the plan excludes."""
    x, y, theta = (
        cloud(rng, n, 2, weighted=weighted),
        cloud(rng, m, 2, weighted=weighted),
        directions(rng, 3, 2),
    )
    row, column = sample_sliced_pairs(x, y, theta, rng=rng, size=40_000)
    counts = np.zeros((n, m))
    np.add.at(counts, (row, column), 1.0)
    plan = lifted_plan(x, y, theta)

    def score(plan):
        return np.max(np.abs(counts / 40_000 - plan) / np.sqrt(np.maximum(plan * (1 - plan), 1e-3) / 40_000))

    assert score(plan) < 5
    assert np.all(counts[plan < 1e-12] == 0)
    assert score(x.weights[:, None] * y.weights) > 5
    assert score(lifted_plan(x, y, theta[:1])) > 5


def test_drawn_pairs_of_a_batch(rng):
    x, y, theta = cloud(rng, 2, 1, 5, 2), cloud(rng, 3, 4, 2), directions(rng, 8, 2)
    row, column = sample_sliced_pairs(x, y, theta, rng=np.random.default_rng(3), size=7)
    assert row.shape == column.shape == (2, 3, 7)
    assert 0 <= row.min() <= row.max() < 5
    assert 0 <= column.min() <= column.max() < 4
    again = sample_sliced_pairs(x, y, theta, rng=np.random.default_rng(3), size=7)
    np.testing.assert_array_equal(row, again[0])
    np.testing.assert_array_equal(column, again[1])


# What is refused, and every library


def bad(**changes):
    x, y, theta = uniform(np.zeros((3, 2))), uniform(np.zeros((4, 2))), np.eye(2)
    return tuple({"x": x, "y": y, "theta": theta, **changes}.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (bad(theta=np.eye(3)), ValueError, r"theta must have shape \(..., K, 2\) .* got \(3, 3\)"),
        (bad(theta=np.zeros((0, 2))), ValueError, "K >= 1"),
        (bad(theta=np.zeros(2)), ValueError, "theta must have shape"),
        (bad(theta=2 * np.eye(2)), ValueError, "unit vectors"),
        (bad(theta=np.full((1, 2), np.nan)), ValueError, "unit vectors"),
        (bad(theta=np.eye(2, dtype=np.float32)), TypeError, "same dtype"),
        (bad(y=uniform(np.zeros((4, 3)))), ValueError, "same dimension"),
        (bad(x=uniform(np.full((3, 2), np.inf))), ValueError, "x: points must be finite"),
        (bad(x=uniform(np.zeros((2, 3, 2))), theta=np.ones((3, 1, 2)) / 2**0.5), ValueError, "broadcast"),
    ],
)
@pytest.mark.parametrize("function", [sliced_cost, lifted_plan, sorted_permutations])
def test_what_is_refused(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


@pytest.mark.parametrize("p", [0.5, float("nan"), float("inf"), -1.0])
def test_powers_below_one_are_refused(p):
    with pytest.raises(ValueError, match="p must be finite and at least 1"):
        sliced_cost(*bad(), p=p)


def test_the_matrix_wants_families():
    x, y, theta = bad()
    family = PointCloud(y.points[None], y.weights[None])
    with pytest.raises(ValueError, match="x must be a family"):
        pairwise_sliced_cost(x, family, theta)
    with pytest.raises(ValueError, match="same directions for all pairs"):
        pairwise_sliced_cost(family, family, theta[None])


@pytest.mark.slow
def test_every_library(library, rng):
    theta = directions(rng, 5, 2)
    for shape in library.batches:
        x = uniform(rng.standard_normal((*shape, 8, 2)))
        y = uniform(rng.standard_normal((8, 2)))
        b = np.broadcast_to([0.25, 0.125, 0.0, 0.125, 0.25, 0.25], (*shape, 6))  # exact in float32
        z = PointCloud(rng.standard_normal((*shape, 6, 2)), b)
        for target in (y, z) if library.name != "jax" else (z,):
            library.check(sq_sliced_distance, x, target, theta, ulps=100)
            if library.name != "jax" or THOROUGH:
                library.check(lambda x, y, t: sliced_cost(x, y, t, p=3.0), x, target, theta, ulps=300)
            library.check(lifted_plan, x, target, theta, ulps=20)
        given = library.arrays((x, z, theta))
        row, column = sample_sliced_pairs(*given, rng=np.random.default_rng(0), size=9)
        assert row.shape == column.shape == (*shape, 9)
        perm = sorted_permutations(*library.arrays((x, y, theta)))
        assert perm.shape == (*shape, 5, 8)
    for B in (2, 0) if library.name != "jax" else (2,):
        x, y, z = (uniform(rng.standard_normal((k, n, 2))) for k, n in ((B, 8), (3, 8), (3, 4)))
        library.check(pairwise_sliced_cost, x, y, theta, ulps=200)
        if library.name != "jax" or THOROUGH:
            library.check(pairwise_sliced_cost, x, z, theta, ulps=200)
