"""Presets, schedules, and random features of states and points: what they set, and that they stay off."""

import math
import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from configurations import SMALL_CLOUDS

from refwfm import backends, datasets
from refwfm.measures import Gaussian
from refwfm.runs import models
from refwfm.runs.estimator import WassersteinFlow
from refwfm.training import algorithm, optim
from refwfm.training.config import CloudConfig, GaussianConfig, MetaOTConfig
from refwfm.training.options import options_of
from refwfm.training.presets import PRESETS, in_words, with_preset

TINY = ("--steps", 3, "--batch", 4, "--width", 4, "--depth", 1, "--quiet")


def options_in(folder):
    return tomllib.loads((folder / "config.toml").read_text())


# Presets


@pytest.mark.parametrize("kind", [GaussianConfig, CloudConfig])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_valid_configuration_and_says_what_it_sets(name, kind):
    config = kind(**with_preset(name, kind, {}))
    values = PRESETS[name].get(kind, {})
    assert all(
        getattr(config, key) == value != options_of(kind)[key].default for key, value in values.items()
    )
    assert all(f"{key} {value}" in in_words(name) for key, value in values.items())


def test_the_papers_preset_changes_nothing():
    for kind in (GaussianConfig, CloudConfig, MetaOTConfig):
        assert with_preset("paper", kind, {}) == {}
    for config in (GaussianConfig(), CloudConfig()):
        assert (config.schedule, config.warmup) == ("exponential", 0)
    assert (GaussianConfig().state_features, CloudConfig().point_features) == (0, 0)


def test_presets_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="preset must be one of paper, laptop; got 'lap'"):
        with_preset("lap", GaussianConfig, {})
    with pytest.raises(ValueError, match="sets nothing for a MetaOTConfig"):
        with_preset("laptop", MetaOTConfig, {})


def test_a_preset_chooses_no_outer_plan_for_conditions():
    class Conditioned:
        condition_names = ("age",)

    for kind, name in ((GaussianConfig, "matching"), (CloudConfig, "outer")):
        assert name in with_preset("laptop", kind, {})
        assert name not in with_preset("laptop", kind, {}, family=Conditioned())
        assert with_preset("laptop", kind, {name: "x"}, family=Conditioned())[name] == "x"


def test_a_preset_chooses_no_features_and_no_matching_in_many_dimensions():
    class Wide:
        def __init__(self, dimension):
            self.dimension = dimension

    for kind, name, most in (
        (GaussianConfig, "state_features", 3),
        (GaussianConfig, "matching", 2),
        (CloudConfig, "point_features", 3),
    ):
        assert with_preset("laptop", kind, {}, family=Wide(most))[name]
        assert not with_preset("laptop", kind, {}, family=Wide(most + 1))[name]
        assert with_preset("laptop", kind, {name: 5}, family=Wide(16))[name] == 5
        assert with_preset("paper", kind, {}, family=Wide(16)) == {}


def test_a_preset_sees_grids_and_small_clouds():
    rng = np.random.default_rng(0)
    pixels = datasets.clouds_from_arrays([rng.integers(0, 9, (n, 2)) / 4.0 for n in (20, 30)])
    large = datasets.clouds_from_arrays([rng.standard_normal((600, 2)), rng.standard_normal((9, 2))])
    for family, has in ((pixels, {"grid_features": True}), (large, {"n_points": 512})):
        values = with_preset("laptop", CloudConfig, {}, family=family)
        assert {name: values[name] for name in ("grid_features", "n_points") if name in values} == has
        assert with_preset("paper", CloudConfig, {}, family=family) == {}
    assert not with_preset("laptop", CloudConfig, {"grid_features": False}, family=pixels)["grid_features"]
    assert with_preset("laptop", CloudConfig, {"n_points": 5}, family=pixels)["n_points"] == 5
    assert PRESETS["laptop"][CloudConfig]["n_points"] == 512  # and none of this is for good


def test_the_command_line_and_files_override_a_preset_which_a_run_does_not_need(tmp_path, undrawn):
    asked = tmp_path / "asked.toml"
    asked.write_text('[run]\npreset = "laptop"\ndata = "spiral-16"\n[train]\nwarmup = 7\nema = 0.5\n')
    folder = tmp_path / "run"
    succeed("train", "--config", asked, *TINY, "--ema", 0.25, "--out", folder)
    tables = options_in(folder)
    assert "preset" not in tables["run"]
    wanted = {**PRESETS["laptop"][GaussianConfig], "warmup": 7, "ema": 0.25, "steps": 3, "batch": 4}
    wanted |= {"width": 4, "depth": 1}
    assert {name: tables["train"][name] for name in wanted} == wanted
    succeed("train", "--resume", "--out", folder, "--steps", 4, "--quiet")
    assert options_in(folder)["train"] == {**tables["train"], "steps": 4}
    plain = tmp_path / "plain"
    succeed("train", "--data", "spiral-16", *TINY, "--out", plain)
    defaults = {each.name: each.default for each in fields(GaussianConfig)}
    given = {"steps": 3, "batch": 4, "width": 4, "depth": 1}
    assert options_in(plain)["train"] == {k: v for k, v in {**defaults, **given}.items() if v is not None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "desktop"), "preset must be one of paper, laptop; got 'desktop'"),
        (("--mean-scale", 2), "--mean-scale has no effect with --state-features 0"),
        (("--schedule", "cosine", "--decay", 0.9), "--decay has no effect with --schedule cosine"),
        (("--time-mean", 1), "--time-mean has no effect with --time-law uniform"),
        (
            ("--bounded-lifts", "--method", "frobenius"),
            "--bounded-lifts has no effect with --method frobenius",
        ),
        (("--preset", "laptop", "--decay-every", 9), "--decay-every has no effect with --schedule cosine"),
        (("--state-features", -1), "state_features must be not negative; got -1"),
        (("--point-features", 3), "point_features is an option for point clouds"),
    ],
)
def test_what_has_no_effect_is_refused(arguments, message):
    assert_error(refwfm("train", "--data", "spiral-16", *TINY, *arguments), message)


def test_the_estimator_has_the_preset_for_laptops(rng):
    half = rng.standard_normal((6, 2, 2))
    data = Gaussian(rng.standard_normal((6, 2)), half @ half.mT + np.eye(2))
    config = WassersteinFlow(measure="gaussians", steps=2, width=8, batch=4).fit(data).model_.config
    wanted = {**PRESETS["laptop"][GaussianConfig], "steps": 2, "width": 8, "batch": 4}
    assert config == GaussianConfig(**wanted)
    tiny = {"steps": 2, "width": 8, "batch": 4, "depth": 1, "options": {"df": 5}}
    config = WassersteinFlow(measure="gaussians", preset="paper", **tiny).fit(data).model_.config
    assert config == GaussianConfig(steps=2, width=8, batch=4, depth=1, df=5)


# Schedules


def test_rates_rise_and_fall():
    config = GaussianConfig(steps=100, learning_rate=0.5, schedule="cosine", warmup=10, decay=0.5)
    rates = [algorithm.learning_rate(config, step) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 0.5 * np.arange(1, 11) / 10, rtol=1e-15)
    falling = 0.25 * (1 + np.cos(np.pi * np.arange(90) / 90))
    np.testing.assert_allclose(rates[10:], falling, rtol=1e-13)
    config = GaussianConfig(learning_rate=0.5, warmup=4, decay_every=10)
    rates = [algorithm.learning_rate(config, step) for step in range(20)]
    np.testing.assert_allclose(
        rates[:4], [0.5 * (k + 1) / 4 * 0.97 ** (k / 10) for k in range(4)], rtol=1e-15
    )
    assert rates[4:] == [optim.exponential_decay(k, base=0.5, every=10) for k in range(4, 20)]


# Random features


def trained_model(config, family, place):
    model, data = models.prepare(config, family, place)
    before = {name: place.to_numpy(leaf).copy() for name, leaf in optim.flatten(model.state.params).items()}
    state = algorithm.train(config, model.setting, data, family.labels, model.state, ops=place.ops)
    return model._replace(state=state), before


SMALL = GaussianConfig(steps=4, batch=6, width=8, depth=1, n_frequencies=2, state_features=3, seed=5)


@pytest.mark.parametrize("reference", [False, True])
def test_frequencies_stay_what_the_seed_drew(tmp_path, reference):
    place = backends.load("numpy", dtype="float32", reference=reference)
    model, _ = trained_model(SMALL, datasets.load("spiral-16"), place)
    drawn = model.setting.scaling["frequencies"]
    assert drawn.shape == (5, 3)
    assert not [path for path in optim.flatten(model.state.params) if "frequencies" in path]
    models.save_model(tmp_path / "00000004.safetensors", model, place)
    again = models.load_model(tmp_path / "00000004.safetensors", place)
    np.testing.assert_array_equal(again.setting.scaling["frequencies"], drawn)
    other, _ = models.prepare(replace(SMALL, seed=6), datasets.load("spiral-16"), place)
    assert not np.array_equal(other.setting.scaling["frequencies"], drawn)


@pytest.mark.parametrize("network", ["transformer", "baseline"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_frequencies_of_points_are_not_trained(name, network, tmp_path):
    pytest.importorskip(name)
    config = replace(SMALL_CLOUDS, network=network, point_features=3, neighbours=2)
    family = datasets.clouds_from_arrays([np.random.default_rng(n).normal(size=(n, 2)) for n in (4, 5, 6)])
    place = backends.load(name, dtype="float64")
    model, before = trained_model(config, family, place)
    after, mean = optim.flatten(model.state.params), optim.flatten(model.state.ema)
    assert before["frequencies"].shape == (2, 3)
    for tree in (after, mean):
        np.testing.assert_allclose(place.to_numpy(tree["frequencies"]), before["frequencies"], rtol=4e-16)
    assert not np.array_equal(place.to_numpy(after["in/weight"]), before["in/weight"])
    models.save_model(tmp_path / "00000004.safetensors", model, place)
    again = optim.flatten(models.load_model(tmp_path / "00000004.safetensors", place).state.params)
    np.testing.assert_array_equal(place.to_numpy(again["frequencies"]), place.to_numpy(after["frequencies"]))


@pytest.mark.parametrize("network", ["transformer", "baseline"])
@pytest.mark.parametrize("features", [0, 3])
def test_a_network_is_told_of_the_grid(network, features, tmp_path):
    rng = np.random.default_rng(0)
    heights = rng.standard_normal((3, 6))
    members = [np.stack([rng.integers(0, 9, 6) / 4.0, row], axis=-1) for row in heights]
    family = datasets.clouds_from_arrays(members)
    assert family.grid == (0.25, 0.0)
    config = replace(SMALL_CLOUDS, network=network, point_features=features, neighbours=2, grid_features=True)
    place = backends.load("numpy", dtype="float64")
    model, before = trained_model(config, family, place)
    assert before["frequencies"].shape == (2, features + 1)
    np.testing.assert_allclose(before["frequencies"][:, features:], [[4.0 * model.setting.unit], [0.0]])
    after = optim.flatten(model.state.params)
    np.testing.assert_array_equal(after["frequencies"], before["frequencies"])
    models.save_model(tmp_path / "00000004.safetensors", model, place)
    again = models.load_model(tmp_path / "00000004.safetensors", place)
    assert again.setting.grid == model.setting.grid == (0.25 / model.setting.unit, 0.0)
    off = datasets.clouds_from_arrays(list(rng.standard_normal((3, 6, 2))))
    with pytest.raises(ValueError, match="grid_features needs data on a grid, such as pixels"):
        models.prepare(config, off, place)


def test_features_learn_what_turns_fast():
    """A field of four turns, fitted by least squares on what a network reads: the features see it."""
    from refwfm.networks import init_frequencies, space_features

    rng = np.random.default_rng(0)
    x = np.linspace(-1.0, 1.0, 200)[:, None]
    wave = np.sin(4.0 * 2.0 * math.pi * x[:, 0])

    def left(scale):
        features = space_features(init_frequencies(rng, [scale], 64, like=x), x)
        fitted = features @ np.linalg.lstsq(features, wave, rcond=1e-10)[0]
        return float(np.mean((wave - fitted) ** 2))

    assert left(15.0) < 1e-6
    assert left(0.3) > 1e-2


# The tutorial's spiral


def test_the_tutorial_spiral():
    mean, cov = datasets.load("tutorial-spiral").gaussians
    radius = np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(radius**2, np.arange(5, 133) * 10 / 132, rtol=1e-12)
    outward = mean / radius[:, None]
    turn = np.exp(2j * np.pi * radius)
    np.testing.assert_allclose(outward, np.stack([turn.real, turn.imag], axis=1), atol=1e-12)
    across = outward[:, ::-1] * [-1.0, 1.0]
    wanted = 0.01 * sum(share * u[:, :, None] * u[:, None, :] for share, u in ((0.9, outward), (0.1, across)))
    np.testing.assert_allclose(cov, wanted, atol=1e-16)
