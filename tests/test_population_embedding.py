"""Embeddings of populations: invariances, padding, edge cases, pullbacks against differences and autograd."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.populations.embedding import (
    POOLING,
    encode_particles,
    init_population_embedding,
    pool,
    population_embedding,
    tell,
    unit_norm,
)
from refwfm.populations.graphs import knn_graph
from refwfm.training import optim
from refwfm.validation import plain_population as plain

LIKE = np.zeros(0)
poolings = pytest.mark.parametrize("pooling", POOLING)


def network(rng, d=2, **options):
    params = init_population_embedding(rng, d, like=LIKE, width=5, **options)
    return optim.tree_map(lambda p: p + 0.2 * rng.standard_normal(p.shape), params)


def inner(x, y):
    return sum(np.sum(p * q) for p, q in zip(optim.tree_leaves(x), optim.tree_leaves(y), strict=True))


def test_sizes():
    rng = np.random.default_rng(0)
    letters = init_population_embedding(rng, 2, like=LIKE)
    assert [layer["weight"].shape for layer in letters.values()] == [(2, 64), (64, 64), (64, 64)]
    cells = init_population_embedding(rng, 43, like=LIKE, width=128, depth=2, marks=2)
    assert [layer["weight"].shape for layer in cells.values()] == [(45, 128), (128, 128)]
    with pytest.raises(ValueError, match="depth"):
        init_population_embedding(rng, 2, like=LIKE, depth=0)


@poolings
@pytest.mark.parametrize("k", [0, 2, 50])
@given(strategies.seeds)
def test_order_has_no_influence_and_the_norm_is_one(pooling, k, seed):
    rng = np.random.default_rng(seed)
    params, x = network(rng), rng.standard_normal((3, 8, 2))
    order = rng.permutation(8)
    h, moved = (
        population_embedding(params, points, knn_graph(points, k), pooling=pooling)[0]
        for points in (x, x[:, order])
    )
    np.testing.assert_allclose(moved, h, atol=1e-12)
    np.testing.assert_allclose(np.sum(h * h, axis=-1), 1.0, rtol=1e-12)
    other = population_embedding(params, x + 1.0, knn_graph(x, k), pooling=pooling)[0]
    assert np.abs(other - h).max() > 1e-6  # it reads something


def test_without_edges_it_is_deep_sets(rng):
    params, x = network(rng), rng.standard_normal((7, 2))
    h = population_embedding(params, x, knn_graph(x, 0))[0]
    rows = []
    for row in x:
        z = row
        for name in params:
            z = plain.affine(params[name], z)
            z = np.maximum(z, 0.0) if name != "2" else z
        rows.append(z)
    mean = np.mean(rows, axis=0)
    np.testing.assert_allclose(h, mean / np.linalg.norm(mean), atol=1e-13)
    with_edges = population_embedding(params, x, knn_graph(x, 2))[0]
    assert np.abs(with_edges - h).max() > 1e-3


def test_a_complete_graph_makes_rows_alike(rng):
    params, x = network(rng), rng.standard_normal((6, 2))
    z = encode_particles({"0": params["0"]}, x, knn_graph(x, 99), activations=(True,))[0]
    assert np.ptp(z, axis=0).max() < 1e-14
    assert np.ptp(encode_particles({"0": params["0"]}, x, knn_graph(x, 3))[0], axis=0).max() > 1e-3


@poolings
def test_padding_is_as_if_it_were_not_there(rng, pooling):
    params = network(rng, marks=1)
    x, marks = np.full((3, 7, 2), np.nan), np.full((3, 7, 1), np.inf)
    mask = np.arange(7) < np.array([[7], [4], [1]])
    x[mask], marks[mask] = rng.standard_normal((12, 2)), rng.standard_normal((12, 1))
    d = rng.standard_normal((3, 5 * len(POOLING[pooling])))
    options = {"pooling": pooling}
    h, pullback = population_embedding(params, x, knn_graph(x, 3, mask), marks, mask=mask, **options)
    grads, total = pullback(d), None
    for i, n in enumerate((7, 4, 1)):
        alone, pull = population_embedding(params, x[i, :n], knn_graph(x[i, :n], 3), marks[i, :n], **options)
        np.testing.assert_allclose(h[i], alone, atol=1e-13)
        part = pull(d[i])
        total = part if total is None else optim.tree_map(np.add, total, part)
    for found, truth in zip(optim.tree_leaves(grads), optim.tree_leaves(total), strict=True):
        np.testing.assert_allclose(found, truth, atol=1e-12)


@poolings
def test_slopes(rng, pooling):
    params, x, marks = network(rng, marks=1), rng.standard_normal((2, 6, 2)), rng.standard_normal((2, 6, 1))
    index, d = knn_graph(x, 2), rng.standard_normal((2, 5 * len(POOLING[pooling])))
    way = optim.tree_map(lambda p: rng.standard_normal(p.shape), params)

    def value(step):
        moved = optim.tree_map(lambda p, w: p + step * w, params, way)
        return np.sum(d * population_embedding(moved, x, index, marks, pooling=pooling)[0])

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    grads = population_embedding(params, x, index, marks, pooling=pooling)[1](d)
    assert inner(grads, way) == pytest.approx(slope, rel=1e-6)
    assert abs(1.01 * inner(grads, way) - slope) > 1e-3 * abs(slope)  # the comparison can see


def test_the_code_for_cells_sees_means_only(rng):
    """Without the first rectifier, and without edges, populations of the same mean are the same."""
    params, x = network(rng, depth=2), rng.standard_normal((6, 2))
    wide = x.mean(axis=0) + 2.0 * (x - x.mean(axis=0))
    affine, rectified = (
        [
            population_embedding(params, points, knn_graph(points, 0), activations=given)[0]
            for points in (x, wide)
        ]
        for given in ((False, False), None)
    )
    np.testing.assert_allclose(affine[0], affine[1], atol=1e-12)
    assert np.abs(rectified[0] - rectified[1]).max() > 1e-3


def test_zero_has_no_direction():
    params = optim.tree_map(np.zeros_like, network(np.random.default_rng(0)))
    x = np.ones((4, 2))
    h, pullback = population_embedding(params, x, knn_graph(x, 2))
    assert not h.any()
    assert all(not leaf.any() for leaf in optim.tree_leaves(pullback(np.ones(5))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_beyond_the_range_of_their_squares(dtype):
    z = np.array([3.0, 4.0], dtype)
    for power in (30, -30) if dtype == "float32" else (300, -300):
        size = np.asarray(10.0**power, dtype)
        y, pullback = unit_norm(size * z)
        np.testing.assert_allclose(y, [0.6, 0.8], rtol=1e-6)
        np.testing.assert_allclose(pullback(size * np.array([5.0, 0.0], dtype)), [0.64, -0.48], rtol=1e-5)
    assert np.isnan(unit_norm(np.array([np.nan, 1.0]))[0]).all()


@given(strategies.seeds, st.integers(1, 5))
def test_the_derivative_of_the_norm_is_the_projection(seed, n):
    rng = np.random.default_rng(seed)
    z, d = rng.standard_normal((2, n))
    y, pullback = unit_norm(z)
    size = np.linalg.norm(z)
    truth = (np.eye(n) - np.outer(z, z) / size**2) @ d / size
    np.testing.assert_allclose(pullback(d), truth, atol=1e-12 / size)
    assert abs(np.sum(pullback(d) * y)) < 1e-12 / size


def test_edge_cases(rng):
    params = network(rng)
    one = rng.standard_normal((1, 2))
    h = population_embedding(params, one, knn_graph(one, 10))[0]
    copies = np.repeat(one, 5, axis=0)
    for k in (0, 2, 10):
        np.testing.assert_allclose(
            population_embedding(params, copies, knn_graph(copies, k))[0], h, atol=1e-13
        )
    nobody = pool(np.ones((3, 2)), np.zeros(3, dtype=bool), pooling="mean-max")
    assert not nobody[0].any()
    assert not nobody[1](np.ones(4)).any()
    z = np.array([[1.0], [np.nan]])
    assert all(np.isnan(pool(z, pooling=name)[0]).all() for name in POOLING)


def test_autograd_of_a_plain_network(rng):
    torch = pytest.importorskip("torch")
    params, x = network(rng), rng.standard_normal((2, 6, 2))
    index, d = knn_graph(x, 3), rng.standard_normal((2, 5))
    leaves = optim.tree_map(lambda p: torch.tensor(p, requires_grad=True), params)
    rows = []
    for points, graph in zip(x, index, strict=True):
        matrix = torch.tensor(plain.convolution(graph.tolist()))
        z = torch.tensor(points)
        for name, layer in leaves.items():
            z = torch.nn.functional.linear(matrix @ z, layer["weight"].T, layer["bias"])
            z = torch.relu(z) if name != "2" else z
        rows.append(torch.nn.functional.normalize(z.mean(0), dim=0))
    torch.sum(torch.tensor(d) * torch.stack(rows)).backward()
    h, pullback = population_embedding(params, x, index)
    np.testing.assert_allclose(h, torch.stack(rows).detach().numpy(), atol=1e-13)
    grads = optim.flatten(pullback(d))
    for path, leaf in optim.flatten(leaves).items():
        np.testing.assert_allclose(grads[path], leaf.grad.numpy(), atol=1e-12)


def test_what_is_told(rng):
    params, x = network(rng), rng.standard_normal((2, 6, 2))
    index = knn_graph(x, 2)
    told, pullback = tell(params, x, index)
    np.testing.assert_array_equal(told.h, population_embedding(params, x, index)[0])
    np.testing.assert_array_equal(told.z, encode_particles(params, x, index)[0])
    d, e = rng.standard_normal(told.h.shape), rng.standard_normal(told.z.shape)
    both = optim.tree_map(np.add, pullback(d, None), pullback(0.0 * d, e))
    for found, truth in zip(optim.tree_leaves(pullback(d, e)), optim.tree_leaves(both), strict=True):
        np.testing.assert_allclose(found, truth, atol=1e-12)


def test_what_is_refused(rng):
    params, x = network(rng), rng.standard_normal((6, 2))
    index = knn_graph(x, 2)
    with pytest.raises(ValueError, match="pooling must be one of mean, moments, mean-max; got 'sum'"):
        population_embedding(params, x, index, pooling="sum")
    with pytest.raises(ValueError, match="3 booleans, one per layer"):
        population_embedding(params, x, index, activations=(True,))
    with pytest.raises(ValueError, match="parameters are for 2"):
        population_embedding(params, x, index, np.ones((6, 1)))
    with pytest.raises(ValueError, match="marks must have shape"):
        population_embedding(params, x, index, np.ones((5, 1)))
