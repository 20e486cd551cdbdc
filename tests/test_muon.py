"""Muon: all directions of a matrix at one rate, whatever the backend, and a run that can be resumed."""

from dataclasses import replace

import numpy as np
import pytest
from configurations import SMALL_CLOUDS
from hypothesis import given
from hypothesis import strategies as st

from refwfm import backends, datasets
from refwfm.runs import models
from refwfm.training import algorithm, optim
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.muon import is_hidden, muon, orthogonalize

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 6)


def rotation(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


@given(SEEDS, SIZES, SIZES)
def test_rotations_and_units_of_the_gradient_go_through(seed, n, m):
    rng = np.random.default_rng(seed)
    matrix, left, right = rng.standard_normal((n, m)), rotation(rng, n), rotation(rng, m)
    found = orthogonalize(matrix)
    np.testing.assert_allclose(orthogonalize(left @ matrix @ right), left @ found @ right, atol=1e-11)
    np.testing.assert_allclose(orthogonalize(matrix.T), found.T, atol=1e-11)
    for unit in (1e-150, 1e150):
        np.testing.assert_allclose(orthogonalize(unit * matrix), found, atol=1e-11)


@given(SEEDS, SIZES, SIZES)
def test_singular_values_come_near_one(seed, n, m):
    rng = np.random.default_rng(seed)
    k = min(n, m)
    left, right = rotation(rng, n)[:, :k], rotation(rng, m)[:, :k]
    stretches = 10.0 ** rng.uniform(-1.5, 0.0, k)
    values = np.linalg.svd(orthogonalize((left * stretches) @ right.T), compute_uv=False)
    assert np.all((values > 0.68) & (values < 1.14))


def test_nothing_hides_and_nothing_is_made_up():
    assert np.array_equal(orthogonalize(np.zeros((2, 3))), np.zeros((2, 3)))
    assert orthogonalize(np.zeros((0, 3))).shape == (0, 3)
    assert np.all(np.isnan(orthogonalize(np.asarray([[np.nan, 1.0], [0.0, 1.0]]))))
    both = np.stack([np.full((2, 2), np.nan), np.eye(2)])
    np.testing.assert_array_equal(orthogonalize(both)[1], orthogonalize(np.eye(2)))
    with pytest.raises(ValueError, match=r"matrix must have shape \(\.\.\., n, m\); got \(3,\)"):
        orthogonalize(np.ones(3))


def trained_tree(config):
    family = datasets.load("two-moons") if isinstance(config, GaussianConfig) else clouds()
    return models.prepare(config, family, backends.load("numpy", dtype="float64"))[0].state.params


def clouds():
    return datasets.clouds_from_arrays([np.random.default_rng(n).normal(size=(n, 2)) for n in (4, 5, 6)])


SMALL = GaussianConfig(steps=4, batch=6, width=8, depth=2, n_frequencies=2)


@pytest.mark.parametrize(
    "config",
    [SMALL, SMALL_CLOUDS, replace(SMALL_CLOUDS, network="baseline")],
    ids=["mlp", "transformer", "points"],
)
def test_every_network_has_matrices_between_its_layers(config):
    flat = optim.flatten(trained_tree(config))
    hidden = {path for path, leaf in flat.items() if is_hidden(path, leaf)}
    assert hidden
    assert all(path.endswith("weight") for path in hidden)
    others = {path for path, leaf in flat.items() if leaf.ndim == 2} - hidden
    assert all({"in", "out", "condition", "labels"} & {*path.split("/")} for path in others)
    assert isinstance(config, GaussianConfig) or any("condition" in path for path in others)


@pytest.mark.parametrize("name", ["numpy", "torch", "strict"])
def test_twins_of_adam_give_the_same_step(name):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name))
    place = backends.load(name, dtype="float64")
    params = trained_tree(SMALL_CLOUDS)
    rng = np.random.default_rng(0)
    grads = [optim.tree_map(lambda p: rng.standard_normal(p.shape), params) for _ in range(3)]
    state, expected = optim.init_adam(params), params
    here = optim.tree_map(place.asarray, params)
    there = optim.init_adam(here)
    for each in grads:
        expected, state = muon(expected, each, state, learning_rate=0.01)
        here, there = muon(
            here, optim.tree_map(place.asarray, each), there, learning_rate=0.01, adam=place.ops.adam
        )
    for path, leaf in optim.flatten(expected).items():
        np.testing.assert_allclose(place.to_numpy(optim.flatten(here)[path]), leaf, rtol=1e-11, atol=1e-13)
    assert there.steps == state.steps == 3


def test_only_matrices_between_layers_leave_adams_way():
    params = trained_tree(SMALL_CLOUDS)
    grads = optim.tree_map(np.ones_like, params)
    by_adam = optim.flatten(optim.adam(params, grads, optim.init_adam(params), learning_rate=0.01)[0])
    moved = optim.flatten(muon(params, grads, optim.init_adam(params), learning_rate=0.01)[0])
    before = optim.flatten(params)
    for path, leaf in moved.items():
        assert np.array_equal(leaf, by_adam[path]) != is_hidden(path, leaf)
        if is_hidden(path, leaf):  # gradients of ones, of rank one: a single direction moves
            length = np.linalg.norm(leaf - before[path], ord=2)
            n, m = leaf.shape
            assert 0.68 < length / (4.0 * 0.01 * np.sqrt(max(1.0, m / n))) < 1.14
    with pytest.raises(ValueError, match="trees must have the same keys"):
        muon(params, {"in": params["in"]}, optim.init_adam(params), learning_rate=0.01)


@pytest.mark.parametrize("config", [SMALL, SMALL_CLOUDS], ids=["gaussians", "clouds"])
def test_a_run_in_parts_is_the_whole_run(config, tmp_path):
    config = replace(config, optimizer="muon", steps=6)
    family = datasets.load("two-moons") if isinstance(config, GaussianConfig) else clouds()
    place = backends.load("numpy")

    def until(steps, model, data, config=config):
        state = algorithm.train(
            replace(config, steps=steps), model.setting, data, family.labels, model.state, ops=place.ops
        )
        return model._replace(state=state)

    whole = until(6, *models.prepare(config, family, place))
    half = until(3, *models.prepare(config, family, place))
    models.save_model(tmp_path / "00000003.safetensors", half, place)
    again = models.load_model(tmp_path / "00000003.safetensors", place)
    done = until(6, again, models.prepare(config, family, place)[1])
    other = replace(config, optimizer="adam")
    adam = until(6, *models.prepare(other, family, place), other)
    for path, leaf in optim.flatten(whole.state.params).items():
        assert np.array_equal(optim.flatten(done.state.params)[path], leaf), path
    assert any(
        not np.array_equal(optim.flatten(adam.state.params)[path], leaf)
        for path, leaf in optim.flatten(whole.state.params).items()
    )


def test_the_papers_optimiser_is_the_default():
    assert (GaussianConfig().optimizer, CloudConfig().optimizer) == ("adam", "adam")
    with pytest.raises(ValueError, match="optimizer must be one of adam, muon; got 'sgd'"):
        CloudConfig(optimizer="sgd")
