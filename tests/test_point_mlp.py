"""The baseline network: what a point is told, and the network's value, derivatives and symmetries."""

import numpy as np
import pytest
import strategies
from conftest import LIBRARIES, library_of, map_arrays
from hypothesis import given
from hypothesis import strategies as st

from refwfm._array import to_host
from refwfm.networks.point_mlp import init_point_mlp, nearest_neighbours, point_mlp, surroundings
from refwfm.training import optim

SIZES = {"width": 8, "depth": 2, "heads": 2, "hidden": 6, "n_frequencies": 2}
CALL = {"heads": 2, "neighbours": 3}


def seeded(seed=0):
    return np.random.default_rng(seed)


def random_params(d=2, n_labels=0, seed=0):
    params = init_point_mlp(seeded(seed), d, like=np.zeros(0), neighbours=3, n_labels=n_labels, **SIZES)
    rng = seeded(seed + 1)
    return optim.tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)


def batch_of(counts=(5, 3, 1), d=2, seed=0, size=0):
    n = max(size, *counts)
    points = seeded(seed).standard_normal((len(counts), n, d))
    mask = np.arange(n) < np.array(counts)[:, None]
    return np.where(mask[..., None], points, 0.0), mask


def plain_surroundings(points, k):
    """One cloud (n, d), by loops."""
    n, d = points.shape
    rows = []
    for i in range(n):
        others = sorted(
            ((np.linalg.norm(points[j] - points[i]), j) for j in range(n) if j != i), key=lambda pair: pair[0]
        )[:k]
        distances, offsets = np.zeros(k), np.zeros((k, d))
        for place, (distance, j) in enumerate(others):
            distances[place], offsets[place] = distance, points[j] - points[i]
        mean = points.mean(axis=0)
        cov = np.cov(points.T, bias=True).reshape(d, d)
        rows.append(np.concatenate([points[i], distances, offsets.ravel(), mean, cov[np.tril_indices(d)]]))
    return np.array(rows)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 3), strategies.seeds)
def test_surroundings_against_loops(counts, d, seed):
    points, mask = batch_of(tuple(counts), d, seed)
    found = surroundings(points, mask, neighbours=3)
    for i, n in enumerate(counts):
        np.testing.assert_allclose(found[i, :n], plain_surroundings(points[i, :n], 3), atol=1e-12)
    assert not np.any(found[~mask])


def test_wrong_surroundings_are_noticed():
    points, mask = batch_of((6,))
    truth = plain_surroundings(points[0], 3)
    found = surroundings(points, mask, neighbours=3)[0]
    assert np.max(np.abs(plain_surroundings(points[0] + 1.0, 3) - truth)) > 0.1
    assert np.all(np.diff(found[:, 2:5], axis=1) >= 0)  # the nearest first
    assert np.all(found[:, 2] > 0)  # nobody is his own neighbour
    distance = np.linalg.norm(found[:, 5:11].reshape(6, 3, 2), axis=-1)
    np.testing.assert_allclose(distance, found[:, 2:5], rtol=1e-12)


def test_few_neighbours():
    offset, distance = nearest_neighbours(*batch_of((1,)), neighbours=4)
    assert offset.shape == (1, 1, 4, 2)
    assert not np.any(offset)
    assert not np.any(distance)
    offset, distance = nearest_neighbours(*batch_of((2,), size=6), neighbours=4)
    assert np.count_nonzero(distance[0, :2]) == 2
    assert distance[0, 0, 0] == distance[0, 1, 0]
    np.testing.assert_array_equal(offset[0, 0, 0], -offset[0, 1, 0])


def velocity(params, points, mask, t, labels=None):
    return point_mlp(params, points, mask, t, labels, **CALL)[0]


def test_zero_before_training():
    params = init_point_mlp(seeded(), 2, like=np.zeros(0), neighbours=3, **SIZES)
    points, mask = batch_of()
    assert not np.any(velocity(params, points, mask, np.array([0.1, 0.5, 0.9])))


def test_time_label_and_place_are_seen():
    points, mask = batch_of()
    params, t = random_params(n_labels=3), np.array([0.1, 0.5, 0.9])
    labels = np.array([0, 1, 3])
    v = velocity(params, points, mask, t, labels)
    for other in (
        velocity(params, points, mask, t[::-1].copy(), labels),
        velocity(params, points, mask, t, np.array([1, 2, 0])),
        velocity(params, points + mask[..., None], mask, t, labels),
    ):
        assert np.min(np.max(np.abs(other - v), axis=(1, 2))[[0, 2]]) > 1e-3


@given(strategies.seeds)
def test_permuted_points_have_permuted_velocities(seed):
    points, mask = batch_of((6, 6), seed=seed)
    params, t = random_params(seed=seed), np.array([0.3, 0.7])
    order = seeded(seed).permutation(6)
    v = velocity(params, points, mask, t)
    np.testing.assert_allclose(velocity(params, points[:, order], mask, t), v[:, order], atol=1e-11)


def test_padding_influences_nobody():
    params, t = random_params(), np.array([0.1, 0.5, 0.9])
    points, mask = batch_of()
    wide, wider = batch_of(size=9)
    wide[:, :5] = points
    wide = np.where(wider[..., None], wide, np.nan)
    v, padded = velocity(params, points, mask, t), velocity(params, wide, wider, t)
    np.testing.assert_allclose(padded[:, :5], v, atol=1e-12)
    assert not np.any(padded[~wider])
    alone = velocity(params, points[0], mask[0], t[0])
    np.testing.assert_allclose(alone, v[0], atol=1e-12)
    np.testing.assert_array_equal(velocity(params, points[0], None, t[0]), alone)


def pulled_back(params, points, mask, t, labels, d_velocity):
    return point_mlp(params, points, mask, t, labels, **CALL)[1](d_velocity)


def test_pullback_against_differences():
    params, t, labels = random_params(n_labels=3), np.array([0.1, 0.5, 0.9]), np.array([0, 1, 3])
    points, mask = batch_of()
    weight = seeded(5).standard_normal(points.shape)
    grads = optim.flatten(pulled_back(params, points, mask, t, labels, weight))
    flat = optim.flatten(params)
    assert grads.keys() == flat.keys()
    for path, leaf in flat.items():
        way = seeded(6).standard_normal(leaf.shape)

        def value(h, path=path, leaf=leaf, way=way):
            moved = optim.unflatten({**flat, path: leaf + h * way})
            return np.sum(weight * velocity(moved, points, mask, t, labels))

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        truth = np.sum(grads[path] * way)
        assert abs(slope - truth) < 1e-6 * (abs(truth) + 1.0), path
        assert grads[path].shape == leaf.shape


def test_pullback_against_autograd():
    torch = pytest.importorskip("torch")
    params, t = random_params(), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    points, mask = map(torch.asarray, batch_of())
    leaves = {path: torch.tensor(p, requires_grad=True) for path, p in optim.flatten(params).items()}
    weight = torch.asarray(seeded(5).standard_normal(tuple(points.shape)))
    v, pullback = point_mlp(optim.unflatten(leaves), points, mask, t, **CALL)
    torch.sum(weight * v).backward()
    with torch.no_grad():
        for path, grad in optim.flatten(pullback(weight)).items():
            np.testing.assert_allclose(grad.numpy(), leaves[path].grad.numpy(), atol=1e-11, err_msg=path)


def test_gradients_of_padding_are_not_read():
    params, t = random_params(), np.array([0.1, 0.5, 0.9])
    points, mask = batch_of()
    weight = seeded(5).standard_normal(points.shape)
    plain = pulled_back(params, points, mask, t, None, np.where(mask[..., None], weight, 0.0))
    rubbish = pulled_back(params, points, mask, t, None, np.where(mask[..., None], weight, 1e9))
    for path, grad in optim.flatten(plain).items():
        np.testing.assert_array_equal(optim.flatten(rubbish)[path], grad)


def test_batch_axes():
    params = random_params()
    points, mask = batch_of((5, 5))
    v = velocity(params, points, mask, np.array([0.2, 0.6]))
    again = velocity(params, points[:, None], mask[:, None], np.array([[0.2], [0.6]]))
    np.testing.assert_allclose(again[:, 0], v, atol=1e-13)
    empty = velocity(params, points[:0], mask[:0], np.zeros(0))
    assert empty.shape == (0, 5, 2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"points": np.zeros((2, 5, 3))}, ValueError, "parameters' d = 2"),
        ({"mask": np.ones((2, 4), bool)}, ValueError, "mask must have the shape"),
        ({"mask": np.ones((2, 5))}, TypeError, "mask must be of booleans"),
        ({"t": np.zeros(3)}, ValueError, "t must have the shape"),
        ({"labels": np.zeros(2, int)}, ValueError, "expect no labels"),
    ],
)
def test_bad_input(changes, error, message):
    given = {"points": np.zeros((2, 5, 2)), "mask": np.ones((2, 5), bool), "t": np.zeros(2), "labels": None}
    with pytest.raises(error, match=message):
        velocity(random_params(), *{**given, **changes}.values())


@pytest.mark.parametrize("options", [{"neighbours": 0}, {"depth": 0}])
def test_bad_sizes(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        init_point_mlp(seeded(), 2, like=np.zeros(0), **{**SIZES, "neighbours": 3, **options})


@pytest.mark.slow
def test_on_every_library(library):
    params, t, labels = random_params(n_labels=3), np.array([0.1, 0.5, 0.9]), np.array([0, 1, 3])
    points, mask = batch_of()
    weight = seeded(5).standard_normal(points.shape)
    rounded = map_arrays(
        lambda x: x.astype(library.dtype).astype(np.float64) if x.dtype.kind == "f" else x,
        (params, points, mask, t, labels, weight),
    )
    truth = velocity(*rounded[:-1]), pulled_back(*rounded)
    given = library.arrays((params, points, mask, t, labels, weight))
    found = velocity(*given[:-1]), pulled_back(*given)
    flat = [{"v": found[0], **optim.flatten(found[1])}, {"v": truth[0], **optim.flatten(truth[1])}]
    for path, wanted in flat[1].items():
        assert library.owns(flat[0][path])
        scale = np.max(np.abs(wanted), initial=1.0)
        np.testing.assert_allclose(
            to_host(flat[0][path]), wanted, rtol=0, atol=2e3 * library.eps * scale, err_msg=path
        )


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_same_start_on_every_library(name):
    like = library_of(name, "float32").array(np.zeros(0))
    here = init_point_mlp(seeded(), 2, like=like, neighbours=3, **SIZES)
    host = init_point_mlp(seeded(), 2, like=np.zeros(0, np.float32), neighbours=3, **SIZES)
    for path, leaf in optim.flatten(here).items():
        np.testing.assert_array_equal(to_host(leaf), optim.flatten(host)[path])


# What may not vanish


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_neighbours_do_not_mind_the_scale(rng, scale):
    """Squares of these distances overflow or vanish, which once read as no neighbour at all."""
    points, mask = rng.standard_normal((1, 3, 2)), np.ones((1, 3), dtype=bool)
    with np.errstate(all="ignore"):
        there = nearest_neighbours(scale * points, mask, neighbours=2)
    here = nearest_neighbours(points, mask, neighbours=2)
    for far, near in zip(there, here, strict=True):
        np.testing.assert_allclose(np.sort(far / scale, axis=2), np.sort(near, axis=2), rtol=1e-14)


def test_a_point_that_is_nan_is_everyones_neighbour(library):
    points = library.array([[[0.0], [1.0], [np.nan]]])
    mask = library.array(np.ones((1, 3), dtype=bool))
    distance = to_host(nearest_neighbours(points, mask, neighbours=2)[1])
    assert np.all(np.any(np.isnan(distance), axis=-1))
    mask = library.array(np.asarray([[True, True, False]]))
    assert to_host(nearest_neighbours(points, mask, neighbours=2)[1])[0, :2].tolist() == [[1.0, 0.0]] * 2
    assert np.all(np.isfinite(to_host(surroundings(points, mask, neighbours=2))))
