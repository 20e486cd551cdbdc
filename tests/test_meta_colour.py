"""Colour transfer of Meta OT, at smoke scale: what is run, what is counted, what is drawn and said."""

import json

import matplotlib.image
import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm.datasets import palettes
from refwfm.paper_figures.meta import colour, colour_data, colour_experiment
from refwfm.paper_figures.meta.colour_data import PALETTES, PHOTOGRAPHS
from refwfm.paper_figures.processes import in_processes

SMOKE = colour_experiment.SCALES["smoke"]
needs_photographs = pytest.mark.skipif(not colour_data.available(), reason="no photographs are installed")


@pytest.fixture
def no_photographs(monkeypatch):
    """As if neither scikit-image nor scikit-learn were installed."""
    monkeypatch.setattr(palettes, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def outcome():
    return colour_experiment.run(colour_experiment.ColourTask("gaussian", PALETTES, 0, SMOKE, None))


# --- the data


def test_no_photograph_is_trained_on_and_held_out():
    assert not set(colour_data.TRAINED_ON) & set(colour_data.HELD_OUT)
    assert {*colour_data.TRAINED_ON, *colour_data.HELD_OUT} <= set(palettes.PHOTOGRAPHS)
    assert len(set(map(frozenset, colour_data.PHOTOGRAPH_PAIRS))) == 6
    assert {name for pair in colour_data.PHOTOGRAPH_PAIRS for name in pair} == set(colour_data.HELD_OUT)


def test_palettes_are_those_of_the_seed_and_held_out_ones_of_none():
    first = colour_data.training_clouds(PALETTES, 5, 7, seed=0)
    assert first.shape == (5, 7, 3)
    np.testing.assert_array_equal(first, colour_data.training_clouds(PALETTES, 5, 7, seed=0))
    assert not np.array_equal(first, colour_data.training_clouds(PALETTES, 5, 7, seed=1))
    pairs = colour_data.held_out_pairs(PALETTES, 3, 7)
    assert [pair.names for pair in pairs][:2] == [("palette 1", "palette 2"), ("palette 3", "palette 4")]
    tried = np.stack([cloud for pair in pairs for cloud in (pair.x, pair.y)])
    for seed in range(3):
        trained = colour_data.training_clouds(PALETTES, 5, 7, seed=seed)
        assert np.abs(trained[:, None] - tried).max(axis=(2, 3)).min() > 0.01


@needs_photographs
def test_a_quarter_of_the_clouds_are_of_photographs():
    clouds = colour_data.training_clouds(PHOTOGRAPHS, 24, 50, seed=0)
    assert clouds.shape == (24, 50, 3)
    assert clouds.min() >= 0
    assert clouds.max() <= 1
    # Colours of photographs are whole shades out of 255.
    whole = np.all(np.abs(255 * clouds - np.round(255 * clouds)) < 1e-9, axis=(1, 2))
    assert whole.tolist() == [False] * 18 + [True] * 6
    pairs = colour_data.held_out_pairs(PHOTOGRAPHS, 2, 50)
    assert [pair.kind for pair in pairs] == [PALETTES] * 2 + [PHOTOGRAPHS] * 2
    assert len(colour_data.licences(PHOTOGRAPHS)) == 7
    assert any(
        "flower (held out): vultilion, CC BY 2.0" in line for line in colour_data.licences(PHOTOGRAPHS)
    )


# --- what is counted


def test_when_a_run_catches_up():
    values = np.asarray([[0.0, 0.5, 0.4, 0.9], [0.0, 0.1, 0.2, 0.3], [0.5, 0.6, 0.7, 0.8]])
    found = colour_experiment.caught_up(np.asarray([0, 50, 100, 150]), values, np.asarray([0.5, 0.9, 0.4]))
    # Reached at 50, so after more than 0; never, so more than all; there from the beginning.
    assert found.tolist() == [0, 150, 0]
    later = colour_experiment.caught_up(np.asarray([0, 50, 100, 150]), values, np.asarray([0.6, 0.25, 0.65]))
    assert later.tolist() == [100, 100, 50]


def test_what_a_run_gives(outcome):
    assert outcome.steps.tolist() == [0, 10, 20]
    assert outcome.meta.shape == outcome.w2gn.shape == (2, 3)
    meta, w2gn, start = colour_experiment.normalised(outcome)
    both = np.concatenate([meta, w2gn], axis=1)
    np.testing.assert_array_equal(both.min(axis=1), 0.0)
    np.testing.assert_array_equal(both.max(axis=1), 1.0)
    # The fits begin at the prediction and at the identity: values rise, and each is one of a potential.
    assert np.all(w2gn[:, -1] > w2gn[:, 0])
    assert np.all(meta[:, 0] > w2gn[:, -1])
    assert np.all(start < 1)
    assert np.all(outcome.caught_up == 20)
    assert np.all((outcome.predict_s > 0) & (outcome.step_s > 0))
    assert outcome.predicted["potential"]["hidden"].shape == (2, 128, 3)
    assert outcome.x.shape == (2, 64, 3)


def test_the_same_task_has_the_same_numbers(outcome):
    again = colour_experiment.run(outcome.task)
    for name in ("meta", "w2gn", "start", "losses", "caught_up"):
        np.testing.assert_array_equal(getattr(again, name), getattr(outcome, name))
    other = colour_experiment.run(outcome.task._replace(start="identity", seed=1))
    # Before it is corrected, the identity is where W2GN begins.
    np.testing.assert_array_equal(other.start, other.w2gn[:, 0])
    assert not np.array_equal(other.meta, outcome.meta)


def test_finished_runs_are_kept(outcome, tmp_path):
    tiny = SMOKE._replace(steps=2, identity_steps=2, fit_steps=2, every=1, pairs=1)
    tasks = colour_experiment.tasks_of(("random", "gaussian"), PALETTES, tiny, None)
    options = {"kinds": colour_experiment.RECORDS, "folder": tmp_path, "jobs": 1}
    first = in_processes(colour_experiment.run, tasks, **options)
    assert [each.task.start for each in first] == ["random", "gaussian"]

    def never(task):
        raise AssertionError("a finished run was done again")

    kept = in_processes(never, tasks, resume=True, **options)
    for one, two in zip(first, kept, strict=True):
        assert one.task == two.task
        np.testing.assert_array_equal(one.meta, two.meta)
        np.testing.assert_array_equal(one.tuned["conjugate"]["omega"], two.tuned["conjugate"]["omega"])


def test_scales():
    for scale in colour_experiment.SCALES.values():
        assert scale.fit_steps % (2 * scale.every) == 0
        assert scale.every % colour_experiment.FINER == 0
    assert 2 * colour_experiment.SCALES["laptop"].pairs >= 10
    paper = colour_experiment.SCALES["paper"]
    assert (paper.steps, paper.meta_batch, paper.batch, paper.warm_up) == (200_000, 8, 1024, 5000)
    assert (paper.points, paper.width, paper.fit_steps, paper.every) == (10_000, 512, 2000, 250)


# --- the command


def assert_drawn(path, colours):
    """Whether the picture has some and not only one of what is drawn: pixels that are not grey."""
    picture = matplotlib.image.imread(path)[..., :3]
    assert np.mean(np.ptp(picture, axis=-1) > 0.1) > colours


def test_the_command_without_photographs(tmp_path, no_photographs):
    said = succeed("reproduce", "meta-ot-color", "--scale", "smoke", "--jobs", 1, "--out", tmp_path)
    assert 'photographs are missing (pip install "refwfm[photographs]"): synthetic palettes only' in said
    for words in ("start alone", "0.90 ± 0.06", "W2GN needs more than", "gaussian", "identity"):
        assert words in said
    found = json.loads((tmp_path / "meta-ot-color.json").read_text())
    assert [row["start"] for row in found["rows"]] == list(colour.STARTS)
    for row in found["rows"]:
        assert row["kinds"] == [PALETTES] * 2
        assert row["licences"] == []
        assert np.shape(row["normalised_meta"]) == (2, 3)
        assert row["logged_at"] == [0, 10, 20]
    assert_drawn(tmp_path / "meta-ot-color-dual.png", 0.005)
    assert_drawn(tmp_path / "meta-ot-color-clouds.png", 0.002)
    assert not (tmp_path / "meta-ot-color-transfer.png").exists()


@needs_photographs
@pytest.mark.slow
def test_the_command_with_photographs(tmp_path):
    arguments = ("reproduce", "meta-ot-color", "--scale", "smoke", "--jobs", 1, "--out", tmp_path)
    said = succeed(*arguments, "--data", PHOTOGRAPHS, "--steps", 3)
    assert "photograph coffee (held out): Rachel Michetti, CC0, shipped by scikit-image" in said
    assert "3 steps of 4 pairs" in said
    (row, _) = json.loads((tmp_path / "meta-ot-color.json").read_text())["rows"]
    assert row["held_out"][2:] == ["flower - coffee", "chelsea - china"]
    assert len(row["licences"]) == 7
    assert_drawn(tmp_path / "meta-ot-color-transfer.png", 0.3)


@pytest.mark.parametrize("data", ["paintings", "palettes,photographs"])
def test_unknown_data(tmp_path, data):
    options = [part for name in data.split(",") for part in ("--data", name)]
    result = refwfm("reproduce", "meta-ot-color", *options, "--out", tmp_path)
    assert_error(result, "--data must be one of palettes, photographs")


def test_photographs_that_are_asked_for_and_missing(tmp_path, no_photographs):
    result = refwfm("reproduce", "meta-ot-color", "--data", PHOTOGRAPHS, "--out", tmp_path)
    assert_error(result, 'ships with scikit-image: pip install "refwfm[photographs]"')
