"""Graphs of nearest neighbours and averages along them: against loops, at ties, padding, any size."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from refwfm.populations import graphs
from refwfm.populations.graphs import averaging, knn_graph, neighbour_mean
from refwfm.validation import plain_population as plain

sizes = st.integers(1, 9)


def as_lists(index):
    return [[j for j in row if j >= 0] for row in index.tolist()]


@given(strategies.seeds, sizes, st.integers(1, 3), st.integers(0, 12))
def test_neighbours_by_loops(seed, n, d, k):
    """On a grid, where many distances are equal and many particles copies."""
    x = np.random.default_rng(seed).integers(-2, 3, (n, d)).astype(float)
    index = knn_graph(x, k)
    assert index.shape == (n, min(k, n - 1))
    assert as_lists(index) == plain.neighbours(x, k)
    assert all(i not in row for i, row in enumerate(index.tolist()))


@given(strategies.seeds, st.integers(2, 40), st.integers(1, 9))
def test_neighbours_without_ties(seed, n, k):
    x = np.random.default_rng(seed).standard_normal((2, n, 2))
    for cloud, index in zip(x, knn_graph(x, k), strict=True):
        assert as_lists(index) == plain.neighbours(cloud, k)


@given(strategies.seeds, st.integers(1, 9), st.integers(1, 9))
def test_padding_is_no_neighbour(seed, n, k):
    rng = np.random.default_rng(seed)
    x, live = rng.integers(-2, 3, (n, 2)).astype(float), rng.random(n) < 0.6
    index = knn_graph(np.where(live[:, None], x, np.nan), k, live)
    assert as_lists(index) == plain.neighbours(x, k, live)
    alone = knn_graph(x[live], k) if live.any() else np.zeros((0, 0))
    places = np.flatnonzero(live)
    for i, row in zip(places, alone, strict=True):
        assert [j for j in index[i] if j >= 0] == [places[j] for j in row]


def test_copies_are_neighbours_and_equal_distances_in_order():
    assert knn_graph(np.zeros((4, 2)), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert knn_graph(np.zeros((1, 2)), 5).shape == (1, 0)
    assert knn_graph(np.zeros((3, 0, 2, 1)), 5).shape == (3, 0, 2, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_unit_of_the_data_changes_the_graph(rng, dtype):
    x = rng.standard_normal((30, 3)).astype(dtype)
    top = 150 if dtype == "float64" else 30
    for power in (-top, top):
        assert np.array_equal(knn_graph(x * np.asarray(10.0**power, dtype), 4), knn_graph(x, 4))
    for distance in (10.0**top, 10.0**-top):  # one that is far away, or near the origin, changes no other
        beside, usual = (
            np.concatenate([x, np.full((1, 3), other, dtype)]) for other in (distance, min(distance, 1e3))
        )
        assert np.array_equal(knn_graph(beside, 4)[:-1], knn_graph(usual, 4)[:-1])
    far = np.concatenate([x, np.full((1, 3), np.finfo(dtype).max, dtype)])
    largest = np.asarray(2.0**-3, dtype) * far  # differences overflow in its own unit
    assert (knn_graph(largest, 30)[:-1, -1] == 30).all()


def test_a_particle_that_is_not_finite_is_the_furthest(rng):
    x = rng.standard_normal((6, 2))
    for bad in (np.nan, np.inf):
        with_bad = np.concatenate([x, [[bad, 0.0]]])
        with np.errstate(invalid="ignore"):
            assert np.array_equal(knn_graph(with_bad, 5)[:-1], knn_graph(x, 5))
            assert (knn_graph(with_bad, 6)[:-1, -1] == 6).all()


def test_blocks_change_nothing(rng, monkeypatch):
    x, z = rng.standard_normal((2, 17, 2)), rng.standard_normal((2, 17, 3))
    index = knn_graph(x, 4)
    value, pullback = neighbour_mean(z, index)
    gradient = pullback(z)
    monkeypatch.setattr(graphs, "ELEMENTS", 60)
    assert np.array_equal(knn_graph(x, 4), index)
    again, pullback = neighbour_mean(z, index)
    np.testing.assert_array_equal(again, value)
    np.testing.assert_allclose(pullback(z), gradient, rtol=1e-14)


@given(strategies.seeds, sizes, st.integers(0, 9))
def test_the_average_keeps_constants_and_its_pullback_is_the_adjoint(seed, n, k):
    rng = np.random.default_rng(seed)
    x, live = rng.standard_normal((n, 2)), rng.random(n) < 0.7
    index = knn_graph(x, k, live)
    z, d = rng.standard_normal((2, n, 3))
    value, pullback = neighbour_mean(z, index)
    assert np.sum(value * d) == pytest.approx(np.sum(z * pullback(d)), abs=1e-12)
    np.testing.assert_allclose(neighbour_mean(np.full((n, 1), 3.0), index)[0], 3.0, rtol=1e-14)
    if n > 1 and k:  # the control: an average that is none
        assert np.array_equal(neighbour_mean(z, index)[0], z) == (live.sum() < 2)


def test_the_complete_graph_makes_all_alike(rng):
    z = rng.standard_normal((5, 3))
    for k in (4, 5, 50):
        value = neighbour_mean(z, knn_graph(rng.standard_normal((5, 2)), k))[0]
        np.testing.assert_allclose(value, np.broadcast_to(z.mean(axis=0), (5, 3)), rtol=1e-13, atol=1e-15)
    assert np.ptp(neighbour_mean(z, knn_graph(rng.standard_normal((5, 2)), 3))[0], axis=0).max() > 1e-3


def test_the_textbook_matrix(rng):
    x, z = rng.standard_normal((6, 2)), rng.standard_normal((6, 3))
    graph = plain.neighbours(x, 3)
    matrix = plain.convolution(graph)
    value, pullback = neighbour_mean(z, np.array(graph))
    np.testing.assert_allclose(value, matrix @ z, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(pullback(z), matrix.T @ z, rtol=1e-13, atol=1e-14)
    assert np.abs(matrix @ z - matrix.T @ z).max() > 1e-3  # not symmetric


def test_autograd(rng):
    torch = pytest.importorskip("torch")
    index = knn_graph(torch.tensor(rng.standard_normal((2, 6, 2))), 3)
    z = torch.tensor(rng.standard_normal((2, 6, 3)), requires_grad=True)
    d = torch.tensor(rng.standard_normal((2, 6, 3)))
    value, pullback = neighbour_mean(z, index)
    own = torch.autograd.grad(torch.sum(d * value), z)[0]
    gathered = torch.stack([torch.stack([z[b, [i, *index[b, i]]].mean(0) for i in range(6)]) for b in (0, 1)])
    theirs = torch.autograd.grad(torch.sum(d * gathered), z)[0]
    torch.testing.assert_close(value, gathered)
    torch.testing.assert_close(own, theirs)
    torch.testing.assert_close(pullback(d), theirs)


def test_one_graph_serves_both_dtypes(rng):
    average = averaging(knn_graph(rng.standard_normal((5, 2)), 2))
    for dtype in ("float32", "float64"):
        z = rng.standard_normal((5, 3)).astype(dtype)
        value, pullback = average(z)
        assert value.dtype == pullback(z).dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), 1), "x must have shape"),
        ((np.zeros((0, 2)), 1), "n >= 1"),
        ((np.zeros((3, 2)), -1), "k must be an integer of at least 0; got -1"),
        ((np.zeros((3, 2)), 1.5), "k must be an integer"),
        ((np.zeros((3, 2)), 1, np.ones(2, dtype=bool)), "mask must have the shape"),
        ((np.zeros((3, 2)), 1, np.ones(3)), "booleans"),
        ((np.zeros((3, 2)), 1, [True] * 3), "booleans"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        knn_graph(*arguments)


def test_a_graph_of_others_is_refused():
    with pytest.raises(ValueError, match="as the graph"):
        neighbour_mean(np.zeros((4, 2)), np.zeros((3, 1), dtype=int))
