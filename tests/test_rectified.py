"""Rectified flows: learned from a model's own pairs, from where it stands, and straighter for it."""

import copy
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from configurations import SMALL_CLOUDS
from hypothesis import given
from hypothesis import strategies as st

from refwfm import backends, datasets
from refwfm.backends._packed import Packed
from refwfm.clouds import pad
from refwfm.couplings.rectified import RectifiedPairs, rectified_pairs
from refwfm.datasets import clouds_from_arrays, save_family
from refwfm.generation import generate_clouds
from refwfm.measures import PointCloud
from refwfm.runs import models
from refwfm.runs.rectified import OWN, prepare_rectified, rectified_config
from refwfm.storage import checkpoints
from refwfm.training import algorithm, cloud_generation, gaussians
from refwfm.training.algorithm import trained
from refwfm.training.config import GaussianConfig, MetaFMConfig
from refwfm.training.optim import flatten
from refwfm.training.randomness import random_stream
from refwfm.training.rectified import drawn_pairs

PLACE = backends.load("numpy", dtype="float64")
TINY = ("--steps", 4, "--batch", 3, "--width", 8, "--depth", 1, "--heads", 2, "--hidden", 8)


def blobs(labels=True):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 2)) + 3.0 * (n % 2) for n in (5, 3, 6, 4, 5, 4)]
    names = ("even", "odd") if labels else ()
    return clouds_from_arrays(
        arrays,
        labels=[n % 2 for n in (5, 3, 6, 4, 5, 4)] if labels else None,
        label_names=names,
        name="blobs",
    )


def fitted(config, family, **options):
    model, members = models.prepare(config, family, PLACE, **options)
    state = algorithm.train(config, model.setting, members, family.labels, model.state, ops=PLACE.ops)
    return model._replace(state=state)


def again(model, **options):
    config = rectified_config(model.config, {"rectified_pairs": 7, "rectified_steps": 3, **options})
    return prepare_rectified(config, model, PLACE)


# Pairs


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_a_translation_takes_all_points_along(seed, size, n, d):
    rng = np.random.default_rng(seed)
    clouds = pad([rng.standard_normal((rng.integers(1, n + 1), d)) for _ in range(size)])
    move = rng.standard_normal(d)
    pairs = rectified_pairs(lambda cloud, t: 0.0 * cloud.points + move, clouds, n_steps=2)
    is_point = clouds.weights > 0
    np.testing.assert_allclose(pairs.target.points[is_point], clouds.points[is_point] + move, atol=1e-14)
    assert np.all(pairs.target.points[~is_point] == 0)
    drawn = drawn_pairs(pairs, 6, rng=rng)
    moved = (drawn.target.points - drawn.source.points)[drawn.source.weights > 0]
    np.testing.assert_allclose(moved, np.broadcast_to(move, moved.shape), atol=1e-14)


def test_no_mass_is_cut_where_weight_0_stands_before_it():
    points = np.arange(8.0).reshape(2, 4, 1)
    clouds = PointCloud(points, np.asarray([[0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    drawn = drawn_pairs(RectifiedPairs(clouds, clouds), 5, rng=np.random.default_rng(0))
    assert drawn.source.points.shape == (5, 3, 1)
    np.testing.assert_array_equal(np.sum(drawn.source.weights, axis=1), 1.0)


def test_nan_stays_nan():
    clouds = PointCloud(np.asarray([[[np.nan], [1.0]], [[0.0], [1.0]]]), np.full((2, 2), 0.5))
    target = rectified_pairs(lambda cloud, t: cloud.points, clouds, n_steps=1).target.points
    np.testing.assert_array_equal(np.isnan(target), [[[True], [False]], [[False], [False]]])


def test_pairs_of_clouds_are_ends_of_the_model_under_what_it_is_shown():
    model = fitted(replace(SMALL_CLOUDS, label_drop=0.4, batch=4), blobs())
    options = {"size": 50, "n_steps": 3, "seed": 5}
    params = trained(model.state)
    pairs = cloud_generation.pairs(model.config, model.setting, params, **options)
    assert set(pairs.shown) == {0, 1, 2}  # 2: hidden
    field = cloud_generation.learned_field(model.config, params, pairs.shown)
    ends = generate_clouds(field, pairs.source, n_steps=3, method="midpoint")
    np.testing.assert_allclose(pairs.target.points, ends.points, atol=1e-12)
    other = cloud_generation.learned_field(model.config, params, 0 * pairs.shown)
    assert np.max(np.abs(generate_clouds(other, pairs.source, n_steps=3).points - ends.points)) > 1e-3
    assert set(np.count_nonzero(pairs.source.weights, axis=1)) == {3, 4, 5, 6}
    generated, _ = cloud_generation.sample(model.config, model.setting, params, **options)
    assert not np.array_equal(generated.points[0, 0], pairs.target.points[0, 0])  # a stream of their own


def test_pairs_of_gaussians_are_ends_of_the_model_block_by_block(monkeypatch):
    config = GaussianConfig(steps=2, batch=4, width=8, depth=1, n_frequencies=2, bounded_lifts=True)
    model = fitted(config, datasets.load("two-moons"))
    monkeypatch.setattr(gaussians, "AT_ONCE", 3)
    params, done = trained(model.state), []
    pairs = gaussians.pairs(
        config, model.setting, params, size=7, n_steps=2, seed=1, progress=lambda *at: done.append(at)
    )
    assert done == [(3, 7), (6, 7), (7, 7)]
    field = gaussians.learned_field(config, model.setting, params, pairs.shown)
    assert set(pairs.shown) == {0, 1}
    ends = rectified_pairs(field, pairs.source, n_steps=2).target
    np.testing.assert_allclose(pairs.target.mean, ends.mean, atol=1e-12)
    np.testing.assert_allclose(pairs.target.cov, ends.cov, atol=1e-12)


# The run


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_starts_where_the_other_ends_and_leaves_it_alone(optimizer):
    model = fitted(replace(SMALL_CLOUDS, optimizer=optimizer), blobs())
    before = {name: leaf.copy() for name, leaf in flatten(trained(model.state)).items()}
    started, pairs = again(model, steps=3, learning_rate=0.1)
    for tree in (started.state.params, started.state.ema):
        for name, leaf in flatten(tree).items():
            np.testing.assert_array_equal(leaf, before[name])
    assert started.state.step == 0
    assert (started.config.steps, started.config.width) == (3, 8)
    assert started.setting is model.setting
    done = algorithm.train(started.config, started.setting, pairs, None, started.state, ops=PLACE.ops)
    after = flatten(trained(done))
    assert all(np.array_equal(leaf, before[name]) for name, leaf in flatten(trained(model.state)).items())
    assert any(not np.array_equal(leaf, before[name]) for name, leaf in after.items())


def test_paths_become_straight():
    """Of independent pairs, whose flow is bent; random numbers are fixed, and the factor is wide."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((8, 2)) * 0.1 + rng.choice([-1.0, 1.0], (8, 1)) * [1.0, 2.0] for _ in range(40)
    ]
    config = replace(
        SMALL_CLOUDS,
        steps=300,
        batch=16,
        width=16,
        hidden=32,
        learning_rate=1e-2,
        inner="independent",
        ema=0.9,
    )
    model = fitted(config, clouds_from_arrays(arrays, name="two places"))
    started, pairs = again(model, rectified_pairs=256, rectified_steps=10, learning_rate=3e-3)
    state = algorithm.train(started.config, started.setting, pairs, None, started.state, ops=PLACE.ops)
    options = {"size": 32, "seed": 3, "n_steps": 25}
    bends = [
        float(cloud_generation.learned_straightness(config, model.setting, trained(each), **options).ratio)
        for each in (model.state, state)
    ]
    assert bends[0] > 0.05
    assert bends[1] < 0.25 * bends[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"width": 16}, "width must be that of the run that is rectified, 8; got 16"),
        ({"seed": 1}, "seed must be that of the run"),
        ({"inner": "exact"}, "inner must be that of the run"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"rectified_pairs": 0}, "rectified_pairs must be at least 1"),
        ({"foo": 1}, "foo is no option of a run that is rectified; these are steps, batch"),
    ],
)
def test_what_may_not_differ_is_said(given, words):
    with pytest.raises(ValueError, match=words):
        rectified_config(SMALL_CLOUDS, given)


def test_what_may_differ_are_options():
    config = rectified_config(SMALL_CLOUDS, {"steps": 9, "width": 8})
    assert (config.steps, config.rectified_pairs, config.rectified_steps) == (9, 4096, 25)
    assert {name: getattr(config, name) for name in OWN}.keys() == set(OWN)
    with pytest.raises(ValueError, match=r"only flows of Gaussians and of clouds .* has a MetaFMConfig"):
        rectified_config(MetaFMConfig(), {})


def test_pairs_need_a_model_and_a_model_needs_pairs():
    with pytest.raises(ValueError, match="rectified_pairs is for a run that rectifies another one"):
        models.prepare(replace(SMALL_CLOUDS, rectified_pairs=3), blobs(), PLACE)
    model = fitted(SMALL_CLOUDS, blobs())
    with pytest.raises(ValueError, match="rectified_pairs of at least 1"):
        prepare_rectified(SMALL_CLOUDS, model, PLACE)
    broken = model._replace(state=model.state._replace(ema=_scaled(model.state.ema, 1e200)))
    with pytest.raises(ValueError, match="takes sources to infinity or NaN: it has diverged"):
        again(broken)


def _scaled(tree, factor):
    return {k: _scaled(v, factor) if isinstance(v, dict) else factor * (1.0 + v) for k, v in tree.items()}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_state_is_trained_like_the_state(copied):
    """The parameters of small models are views of one vector, which a copy would not be."""
    family = blobs(labels=False)
    model, members = models.prepare(replace(SMALL_CLOUDS, steps=2), family, PLACE)
    state = algorithm.train(model.config, model.setting, members, None, model.state, ops=PLACE.ops)
    assert isinstance(state.params, Packed)
    trees = state.params, state.ema, state.adam.first, state.adam.second
    made = [copied(tree) for tree in trees]
    assert not any(isinstance(tree, Packed) for tree in made)
    config = replace(model.config, steps=4)
    other = state._replace(
        params=made[0], ema=made[1], adam=state.adam._replace(first=made[2], second=made[3])
    )
    if copied is not copy.copy:  # whose arrays are those that the first training writes to
        ends = [
            algorithm.train(config, model.setting, members, None, s, ops=PLACE.ops) for s in (state, other)
        ]
        for trees in zip(*((end.params, end.ema) for end in ends), strict=True):
            first, second = map(flatten, trees)
            assert all(np.array_equal(first[name], second[name]) for name in first)


# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("rectified")
    save_family(place / "blobs.npz", blobs(labels=False))
    succeed("train", "--data", place / "blobs.npz", *TINY, "--out", place / "first", "--seed", 3)
    pairs = ("--rectified-pairs", 5, "--rectified-steps", 2)
    said = succeed("train", "--rectify", place / "first", "--steps", 6, *pairs, "--out", place / "second")
    assert "clouds on blobs: 6 clouds of 3 to 6 points in 2-D" in said
    return place


def newest(folder):
    return checkpoints.load(models.newest_checkpoint(folder))


def test_the_command_learns_from_the_pairs_of_a_run(folder):
    _, about = newest(folder / "second")
    first = newest(folder / "first")[1]
    assert (about["step"], about["config"]["rectified_pairs"], about["config"]["seed"]) == (6, 5, 3)
    assert about["about"]["fingerprint"] == first["about"]["fingerprint"]
    assert len(about["about"]["rectifies"]) == 64
    assert "1-NN accuracy" in succeed("evaluate", folder / "second", "--size", 5, "--seeds", 1, "--steps", 1)
    third = ("--rectify", folder / "second", "--steps", 2, "--out", folder / "third", "--rectified-pairs", 4)
    succeed("train", *third)
    assert newest(folder / "third")[1]["about"]["rectifies"] != about["about"]["rectifies"]


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(folder, tmp_path):
    pairs = ("--rectified-pairs", 5, "--rectified-steps", 2)
    succeed("train", "--rectify", folder / "first", "--steps", 3, *pairs, "--out", tmp_path / "b")
    succeed("train", "--resume", "--out", tmp_path / "b", "--steps", 6)
    arrays, wanted = newest(tmp_path / "b")[0], newest(folder / "second")[0]
    for name in wanted:
        np.testing.assert_array_equal(arrays[name], wanted[name])


def test_a_run_is_not_continued_with_pairs_of_another_model(folder, tmp_path):
    shutil.copytree(folder / "first", tmp_path / "a")
    pairs = ("--rectified-pairs", 5, "--rectified-steps", 2)
    succeed("train", "--rectify", tmp_path / "a", "--steps", 2, *pairs, "--out", tmp_path / "b")
    succeed("train", "--resume", "--out", tmp_path / "a", "--steps", 6)
    assert_error(
        refwfm("train", "--resume", "--out", tmp_path / "b", "--steps", 3),
        "has learned from pairs of another",
    )
    old = ("--rectify", tmp_path / "a" / "checkpoints" / "00000004.safetensors")
    succeed("train", "--resume", "--out", tmp_path / "b", *old, "--steps", 3)
    (tmp_path / "a").rename(tmp_path / "moved")
    missing = refwfm("train", "--resume", "--out", tmp_path / "b")
    assert_error(missing, "--rectify:", "where a run has moved, --rectify says where it is")
    moved = ("--rectify", tmp_path / "moved" / "checkpoints" / "00000004.safetensors")
    succeed("train", "--resume", "--out", tmp_path / "b", *moved, "--steps", 4)


def test_a_run_does_not_rectify_itself(folder):
    again = ("--resume", "--out", folder / "first", "--rectify", folder / "first")
    assert_error(refwfm("train", *again), "cannot rectify itself: name another folder with --out")


def test_a_checkpoint_alone_is_rectified_where_its_data_are_named(folder, tmp_path):
    file = models.newest_checkpoint(folder / "first")
    shutil.copy(file, tmp_path / "alone.safetensors")
    given = ("--rectify", tmp_path / "alone.safetensors", "--steps", 1, "--rectified-pairs", 3)
    data = ("--data", folder / "blobs.npz", "--hold-out", "0")
    succeed("train", *given, *data, "--out", tmp_path / "b")
    save_family(tmp_path / "other.npz", clouds_from_arrays([np.ones((4, 2)) * k for k in range(5)]))
    other = ("--data", tmp_path / "other.npz", "--hold-out", "0", "--out", tmp_path / "c")
    assert_error(refwfm("train", *given, *other), "is no longer what", "was trained on")


def test_each_reflow_has_sources_of_its_own():
    model = fitted(SMALL_CLOUDS, blobs(labels=False))
    second, first_pairs = again(model)
    third, pairs = again(second)
    assert not np.array_equal(pairs.source.points[0, 0], first_pairs.source.points[0, 0])
    assert (second.about["reflows"], third.about["reflows"]) == (1, 2)


def test_what_is_the_other_runs_may_be_said_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    same = ("--data", "blobs.npz", "--hold-out", "0", "--seed", 3, "--width", 8, "--source", "cholesky")
    succeed(
        "train", "--rectify", "first", *same, "--steps", 1, "--rectified-pairs", 3, "--out", tmp_path / "b"
    )
    asked = '[run]\nrectify = "first"\ndata = "fours"\n'
    (tmp_path / "c.toml").write_text(asked)
    assert_error(
        refwfm("train", "--config", tmp_path / "c.toml", "--out", tmp_path / "c"), "--data must be that"
    )


def test_a_flow_between_families_is_rectified(tmp_path):
    rng = np.random.default_rng(1)
    save_family(tmp_path / "from.npz", clouds_from_arrays([rng.standard_normal((4, 2)) for _ in range(5)]))
    save_family(tmp_path / "to.npz", blobs(labels=False))
    between = ("--source", tmp_path / "from.npz", "--data", tmp_path / "to.npz", "--hold-out", "0")
    succeed("train", *between, *TINY, "--out", tmp_path / "a")
    pairs = ("--rectified-pairs", 6, "--rectified-steps", 2)
    succeed("train", "--rectify", tmp_path / "a", *pairs, "--out", tmp_path / "b")
    assert newest(tmp_path / "b")[1]["config"]["source"] == "family"
    save_family(tmp_path / "from.npz", clouds_from_arrays([rng.standard_normal((4, 2)) for _ in range(5)]))
    words = "source must be the family that the rectified model starts from; got another one"
    assert_error(refwfm("train", "--rectify", tmp_path / "a", *pairs, "--out", tmp_path / "c"), words)
    assert_error(refwfm("train", "--resume", "--out", tmp_path / "b", "--steps", 9), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--width", 16), "width must be that of the run that is rectified, 8; got 16"),
        (("--preset", "laptop"), "--preset has no effect with --rectify"),
        (("--data", "fours"), "--data must be that of the run that is rectified"),
        (("--hold-out", "0.5"), "--hold-out must be that of the run that is rectified, 0; got 0.5"),
        (
            ("--rectified-pairs", 0),
            "rectified_pairs must be at least 1 for a run that learns from them; got 0",
        ),
        (("--kind", "meta-fm"), "--kind meta-fm"),
        (("--source", "pure"), "--source must be that of the run that is rectified, cholesky; got pure"),
    ],
)
def test_the_command_says_what_must_be_the_other_runs(folder, options, words, tmp_path):
    assert_error(refwfm("train", "--rectify", folder / "first", *options, "--out", tmp_path / "x"), words)
    assert not (tmp_path / "x").exists()


def test_the_command_says_what_pairs_are_for(folder, tmp_path):
    given = ("--data", folder / "blobs.npz", *TINY, "--rectified-pairs", 5, "--out", tmp_path / "x")
    assert_error(refwfm("train", *given), "refwfm train --rectify RUN")
    assert_error(refwfm("train", "--rectify", tmp_path / "none", "--out", tmp_path / "x"), "none")


def test_a_gaussian_run_and_one_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ("--steps", 3, "--batch", 4, "--width", 8, "--depth", 1, "--matching")
    succeed("train", "--data", "two-moons", *tiny, "--out", "moons")
    succeed("train", "--rectify", "moons", "--rectified-pairs", 5)
    _, about = newest(tmp_path / "runs" / "moons-rectified")
    assert about["kind"] == "gaussians"
    assert about["config"]["steps"] == 3


def test_a_model_that_ships_can_be_rectified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed("train", "--rectify", "two-moons", "--steps", 1, "--rectified-pairs", 3, "--rectified-steps", 1)
    assert newest(tmp_path / "runs" / "two-moons-rectified")[1]["step"] == 1


def test_drawn_pairs_are_those_of_the_stream():
    clouds = PointCloud(np.arange(6.0).reshape(3, 2, 1), np.full((3, 2), 0.5))
    drawn = drawn_pairs(RectifiedPairs(clouds, clouds, np.arange(3)), 4, rng=random_stream(1, "batch", 2))
    np.testing.assert_array_equal(drawn.shown, random_stream(1, "batch", 2).integers(3, size=4))
    np.testing.assert_array_equal(drawn.source.points[:, 0, 0], 2.0 * drawn.shown)
