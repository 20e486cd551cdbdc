"""Models that ship: each loads, generates at once and is what its card says; none is stale or forgotten."""

import json
import re
import shlex
import shutil
import time

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import WassersteinFlow, datasets
from refwfm.cli._run_data import own_data
from refwfm.runs import models, shipped
from refwfm.storage import cards, checkpoints
from refwfm.training.algorithm import only_trained, trained
from refwfm.training.optim import flatten
from refwfm.validation import ledger, shipped_models

NAMES = shipped.names()
LARGEST = 2_500_000
"""Bytes of a model's file, at most; the wheel has a limit of its own (test_wheel)."""

SECONDS = 2.0
"""Of the processor, for eight members from a model that ships, once the package is imported."""

EVEN = ("spiral-128", "sphere", "tutorial-spiral")
"""Families with members spaced evenly: any point between two is nearer to one than a held-out member is."""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def copy(tmp_path):
    """The smallest model, elsewhere."""
    return shutil.copytree(shipped.folder("cities"), tmp_path / "copy")


def changed(folder):
    """Put other parameters into a model's file, whose checksums are right."""
    path = models.newest_checkpoint(folder)
    arrays, about = checkpoints.load(path)
    name = max(arrays, key=lambda each: arrays[each].size)
    arrays[name] = arrays[name] + np.float32(1e-3)
    checkpoints.save(path, arrays, about)
    return path


def test_every_family_that_ships_has_a_model_or_a_reason():
    assert set(NAMES) == set(shipped_models.OPTIONS)
    assert shipped_models.without_model() == sorted(shipped.WITHOUT)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_that_of_the_file(name):
    card, folder = shipped.card(name), shipped.folder(name)
    file, model = models.newest_checkpoint(folder), models.load_model(folder, models.Host())
    assert (card["sha256"], card["bytes"]) == (cards.digest(file), file.stat().st_size)
    assert card["bytes"] < LARGEST
    assert card["command"] == shlex.join(["refwfm", *shipped_models.command(name, steps=None)])
    assert (
        (card["data"], card["steps"]) == (model.about["data"], model.state.step) == (name, model.config.steps)
    )
    assert card["data_sha256"] == model.about["fingerprint"]
    assert card["parameters"] == sum(leaf.size for leaf in flatten(model.state.params).values())
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "config.toml",
        cards.CARD,
        file.name,
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_that_the_audit_was_green_and_what_the_model_is_worth(name):
    card = shipped.card(name)
    assert card["audit"]["failed"] == 0
    assert card["audit"]["checks"] > 100
    assert set(card["audit"]["formulas"]) <= set(ledger.by_id()) | {
        each for each in card["audit"]["formulas"] if each.startswith("twin-")
    }
    assert name in EVEN or 0 <= card["scores"]["copy_rate"] < 0.5
    better = "min_w2_sq" if "min_w2_sq" in card["scores"] else "one_nn_chamfer"
    assert card["scores"][better] < card["scores"][f"source_{better}"]


@pytest.mark.parametrize("name", NAMES)
def test_it_generates_at_once(name):
    began = time.process_time()
    told = succeed("generate", name, "--size", 8, "--out", "new.npz")
    assert time.process_time() - began < (
        SECONDS if hasattr(datasets.load("new.npz"), "gaussians") else 2.5 * SECONDS
    )
    assert f"{name}: the model that ships" in told
    new = datasets.load("new.npz")
    assert len(new) == 8
    assert new.dimension == datasets.CATALOGUE[name].dimension


@pytest.mark.parametrize("name", NAMES)
def test_it_is_not_stale(name):
    """What is fitted to the family of today is what the model holds, up to the rounding of other machines."""
    folder = shipped.folder(name)
    model = models.load_model(folder, models.Host())
    training, _ = own_data(folder, model)
    assert len(training) == shipped.card(name)["trained_on"]
    again, _ = models.prepare(model.config, training, models.Host())
    for part in ("shift", "unit", "label_counts"):
        np.testing.assert_allclose(
            getattr(model.setting, part), getattr(again.setting, part), rtol=1e-5, atol=1e-6, err_msg=part
        )
    assert flatten(again.state.params).keys() == flatten(model.state.params).keys()


def test_it_has_all_options_of_generate(undrawn):
    succeed(
        *("generate", "niches", "--label", "Astrocyte", "--size", 4, "--steps", 3, "--solver", "midpoint"),
        *("--times", "late", "--seed", 1, "--figure", "new.png", "--out", "astrocytes.npz"),
    )
    new = datasets.load("astrocytes.npz")
    assert {new.label_names[label] for label in new.labels} == {"Astrocyte"}
    succeed("generate", "fours", "--size", 3, "--steps", 3, "--points", 20, "--out", "fours.npz")
    assert set(datasets.load("fours.npz").sizes) == {20}


def test_other_commands_know_it():
    numbers = json.loads(succeed("evaluate", "cities", "--size", 8, "--steps", 3, "--seeds", 1, "--json"))
    assert numbers["compared_with"] == "the 10 held-out members"
    assert "TIGER" in succeed("cite", "cities")
    assert len(WassersteinFlow.load(shipped.folder("cities")).sample(3, n_steps=3).mean) == 3
    told = re.sub(r"[\s│]", "", succeed("info", "cities"))  # cells are broken into lines
    for words in (shipped.card("cities")["sha256"], shipped.card("cities")["command"], "copy rate"):
        assert words.replace(" ", "") in told
    assert_error(refwfm("info", "spiral-16"), "no model of spiral-16 ships (spiral-128", "cities")


# Names and folders


def test_a_run_of_that_name_goes_before_it_and_is_told(copy):
    copy.rename("cities")
    for name, note in (("cities", "note: cities is the run in this folder"), ("./cities", "")):
        found = refwfm("generate", name, "--size", 2, "--steps", 1, "--out", "new.npz", "--force")
        assert found.exit_code == 0
        assert found.stderr[: len(note)] == note
        assert (str(shipped.folder("cities")) in found.stderr) == bool(note)
        assert "the model that ships with refwfm" not in found.stdout


def test_a_folder_of_that_name_without_a_run_is_not_it(tmp_path):
    (tmp_path / "cities").mkdir()
    found = refwfm("generate", "cities", "--size", 2, "--steps", 1)
    assert found.exit_code == 0
    assert found.stderr == "note: cities is the model that ships; what has that name here is no run\n"
    assert "the model that ships with refwfm" in found.stdout
    assert_error(refwfm("generate", "./cities", "--out", "b.npz"), "no checkpoint in cities")


def test_a_name_without_a_model_is_told():
    assert_error(refwfm("generate", "niches-full"), "no model of niches-full ships (niches is a sample")
    assert_error(refwfm("generate", "letters"), "no model of letters ships: those that do are")
    assert_error(refwfm("generate", "nichs"), "no checkpoint at nichs; models ship for", "niches")


# What must not pass


def test_another_file_is_not_taken_for_it(copy):
    path = changed(copy)
    assert_error(
        refwfm("generate", copy), path.name, "is not the file that", "SHA-256", "install refwfm again"
    )
    assert_error(refwfm("generate", path), "SHA-256")
    (copy / cards.CARD).unlink()
    succeed("generate", copy, "--size", 2, "--steps", 1)  # the checksums of its tensors are right


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sha256": 3}'])
def test_a_card_that_is_none_is_told(copy, text):
    (copy / cards.CARD).write_text(text)
    assert_error(refwfm("generate", copy), "is no card of a model")


def test_training_is_not_resumed_from_it(copy):
    before = {path: path.stat().st_mtime_ns for path in shipped.FOLDER.rglob("*")}
    for out in ("cities", shipped.folder("cities"), copy):
        assert_error(refwfm("train", "--resume", "--out", out), "holds a model that ships", "optimiser")
    (copy / cards.CARD).unlink()
    assert_error(refwfm("train", "--resume", "--out", copy, "--quiet"), "holds a model that ships")
    assert {path: path.stat().st_mtime_ns for path in shipped.FOLDER.rglob("*")} == before


# How they are made


def test_they_are_made_by_the_script(tmp_path, monkeypatch):
    """Of a run all that generates is kept, and nothing else; a finished run is not trained again."""
    monkeypatch.setitem(shipped_models.OPTIONS, "cities", shipped_models.HOLD_OUT)
    monkeypatch.setattr(shipped_models, "audited", lambda *of: shipped_models.Audited([], 0, 0, 0))
    arguments = ["cities", "--steps", "2", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert shipped_models.main(arguments) == 0
    run, made = tmp_path / "runs" / "cities", tmp_path / "out" / "cities"
    whole, kept = (models.load_model(folder, models.Host()) for folder in (run, made))
    wanted, found = flatten(trained(whole.state)), flatten(trained(kept.state))
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted | found)
    assert kept.state.adam is None
    assert only_trained(kept.state) == kept.state
    for folder in (run, made):
        succeed("generate", folder, "--size", 2, "--steps", 2, "--out", folder / "new.npz")
    first, second = (datasets.load(folder / "new.npz").gaussians for folder in (run, made))
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.cov, second.cov)
    log = (run / "log.jsonl").read_bytes()
    assert shipped_models.main([*arguments, "--resume"]) == 0
    assert (run / "log.jsonl").read_bytes() == log
    monkeypatch.setitem(shipped_models.OPTIONS, "cities", (*shipped_models.HOLD_OUT, "--width", "64"))
    with pytest.raises(ValueError, match="was trained with --width 128, not 64: leave --resume out"):
        shipped_models.main([*arguments, "--resume"])


def test_what_is_audited_is_what_runs():
    folder = shipped.folder("cities")
    model = models.load_model(folder, models.Host())
    called = {code.co_qualname for code in shipped_models._called(model, own_data(folder, model)[0])}
    assert {"path", "adam", "draw_batch", "riemannian_loss"} <= called
    assert "sinkhorn" not in called
