"""The memory of a run told before: within a factor of what NumPy's arrays take, part by part."""

import gc
import json
import math
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed

from refwfm import backends, datasets
from refwfm.cli import dry_run
from refwfm.cli.meta_runs import load_measures
from refwfm.clouds import pad
from refwfm.couplings import inner
from refwfm.runs import models
from refwfm.training import algorithm, memory
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.optim import tree_leaves

FACTOR = 1.3
"""How far predictions may be off."""

CLOUDS = CloudConfig(steps=100, batch=16, width=64, depth=2, hidden=64, inner="independent")
COSTS = replace(CLOUDS, batch=24, width=16, hidden=16, depth=1, heads=1, inner="exact")
GAUSSIANS = GaussianConfig(steps=100, batch=256, width=64, depth=3)
META_FM = MetaFMConfig(steps=100, batch=10, width=128, depth=2, particles=128)

CASES = {
    "clouds": ("fours", CLOUDS),
    "clouds, wider": ("fours", replace(CLOUDS, width=128, batch=8)),
    "clouds, more": ("fours", replace(CLOUDS, batch=48)),
    "clouds, thinned": ("fours", replace(CLOUDS, n_points=50)),
    "clouds, baseline": ("fours", replace(CLOUDS, network="baseline", batch=8)),
    "clouds, exact": ("fours", COSTS),
    "clouds, rounded": ("fours", replace(COSTS, inner="rounded", sinkhorn_steps=5)),
    "clouds, sliced plans": ("fours", replace(COSTS, inner="sliced", n_proj=16)),
    "clouds, outer sliced": ("fours", replace(COSTS, inner="independent", outer="sliced", n_proj=16)),
    "clouds, outer chamfer": ("fours", replace(COSTS, inner="independent", outer="chamfer")),
    "Gaussians": ("cities", GAUSSIANS),
    "Gaussians, wider": ("cities", replace(GAUSSIANS, width=256)),
    "Gaussians, matched": ("cities", replace(GAUSSIANS, batch=512, matching=True)),
    "Gaussians, 16-D": ("niches", GAUSSIANS),
    "Gaussians, 16-D, matched": ("niches", replace(GAUSSIANS, batch=400, matching=True)),
    "Meta OT": ("sphere-pairs", MetaOTConfig(steps=100, batch=16, width=128)),
    "Meta OT, grid": ("strokes", MetaOTConfig(steps=100, batch=64, width=128)),
    "Meta OT, clouds": ("fours", MetaCloudsConfig(steps=100, batch=8)),
    "Meta FM": ("synthetic-screen", META_FM),
    "Meta FM, reading": ("synthetic-screen", replace(META_FM, attention=32)),
    "Meta FM, told nothing": ("synthetic-screen", replace(META_FM, variant="fm")),
}


def loaded(name):
    if name == "synthetic-screen":
        return datasets.load_populations(name)
    return load_measures(name) if name in datasets.PAIRS else datasets.load(name)


def parts_of(name, config, **options):
    """Predicted parts; and what to measure them by."""
    data, place = loaded(name), backends.load("numpy", dtype="float32", **options)
    model, members = models.prepare(config, data, place)
    count = sum(math.prod(leaf.shape) for leaf in tree_leaves(model.state.params))
    parts = memory.predicted(config, model.setting, data, parameters=count, itemsize=4, padded=bool(options))
    return parts, (model, members, data, place)


def measured(model, members, data, place, steps=3):
    """Most bytes of arrays that a step makes; those that were there before it are not among them."""
    state = model.state
    for k in range(steps + 1):
        if k == 1:
            gc.collect()
            tracemalloc.start()
        state, _ = algorithm.step(model.config, model.setting, members, data.labels, state, ops=place.ops)
    try:
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def within(parts, size):
    step = memory.peak([part for part in parts if part.phase != "held"])
    return size / FACTOR < step < size * FACTOR


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """More threads hold more at once, by chance."""
    from refwfm.backends import _numpy_transformer

    monkeypatch.setattr(_numpy_transformer, "_n_threads", lambda: 1)


@pytest.mark.parametrize("case", CASES)
def test_a_step_takes_what_was_predicted(case):
    parts, run = parts_of(*CASES[case])
    assert within(parts, measured(*run))


def test_so_do_the_plain_functions():
    parts, run = parts_of("fours", CLOUDS, reference=True)
    assert within(parts, measured(*run))


@pytest.mark.parametrize(
    ("case", "term"),
    [
        ("clouds", "activations"),
        ("clouds", "attention"),
        ("clouds, exact", "costs"),
        ("clouds, outer chamfer", "costs"),
        ("Gaussians", "activations"),
        ("Gaussians, matched", "costs"),
        ("Meta OT", "costs"),
        ("Meta FM", "activations"),
    ],
)
def test_the_check_rejects_a_prediction_without_a_term(case, term):
    parts, run = parts_of(*CASES[case])
    left = [part for part in parts if term not in part.name]
    assert len(left) < len(parts)
    size = measured(*run)
    assert within(parts, size)
    assert not within(left, size)


@pytest.mark.parametrize(
    ("name", "config", "larger"),
    [
        ("fours", CLOUDS, {"batch": 17}),
        ("fours", CLOUDS, {"width": 68}),
        ("fours", CLOUDS, {"depth": 3}),
        ("fours", replace(CLOUDS, n_points=60), {"n_points": 61}),
        ("fours", COSTS, {"batch": 25}),
        ("fours", replace(COSTS, n_points=60), {"n_points": 61}),
        ("cities", GAUSSIANS, {"batch": 257}),
        ("cities", GAUSSIANS, {"width": 65}),
        ("cities", replace(GAUSSIANS, matching=True), {"batch": 257}),
        ("sphere-pairs", CASES["Meta OT"][1], {"batch": 17}),
        ("fours", CASES["Meta OT, clouds"][1], {"width": 65}),
        ("synthetic-screen", META_FM, {"particles": 129}),
        ("synthetic-screen", META_FM, {"width": 129}),
    ],
)
def test_more_takes_more(name, config, larger):
    less, more = (memory.peak(parts_of(name, each)[0]) for each in (config, replace(config, **larger)))
    assert less < more


def test_parameters_and_moments_are_what_they_are():
    parts, (model, *_) = parts_of("cities", GAUSSIANS)
    held = sum(part.size for part in parts if part.phase == "held")
    state = model.state
    trees = (state.params, state.adam.first, state.adam.second, state.ema)
    assert held == sum(leaf.nbytes for tree in trees for leaf in tree_leaves(tree))


@pytest.mark.parametrize(
    "sizes", [((5, 7, 4), (5, 7, 4)), ((5, 7, 4), (6, 3, 4))], ids=["alike", "not alike"]
)
def test_exact_plans_in_blocks_are_the_same_in_less_memory(rng, monkeypatch, sizes):
    x, y = (pad([rng.standard_normal((16 * n, 2)) for n in each]) for each in sizes)

    def coupled():
        gc.collect()
        tracemalloc.start()
        found = inner.couple(x, y, "exact", rng=np.random.default_rng(0), solve=None)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, size

    coupled()  # imports what solves
    whole, much = coupled()
    monkeypatch.setattr(inner, "BLOCK", 1)
    parts, little = coupled()
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert little < 0.75 * much


# The command


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)
    return tmp_path


SMALL = ("--width", 8, "--depth", 1, "--batch", 4, "--steps", 200, "--dry-run")


@pytest.mark.parametrize(
    "more",
    [
        ("--data", "cities"),
        ("--data", "fours", "--heads", 2, "--hidden", 8, "--n-points", 20, "--sinkhorn-steps", 5),
        ("--data", "sphere-pairs", "--kind", "meta-ot"),
        ("--data", "fours", "--kind", "meta-ot", "--n-points", 20),
        ("--data", "synthetic-screen", "--kind", "meta-fm", "--particles", 8),
    ],
    ids=lambda more: " ".join(map(str, more[1:4:2])),
)
def test_a_dry_run_tells_memory_and_time_and_writes_nothing(here, more):
    said = succeed("train", *more, *SMALL)
    for words in ("parameters", "Adam's moments", "activations", "gradient", "peak", "s a step", "200 steps"):
        assert words in said
    assert list(here.iterdir()) == []


def test_json_is_all_that_is_printed(here):
    found = json.loads(succeed("train", "--data", "cities", *SMALL, "--json"))
    assert {part["phase"] for part in found["parts"]} == set(memory.PHASES)
    assert found["peak_bytes"] == found["process_bytes"] + memory.peak(
        [memory.Part(**part) for part in found["parts"]]
    )
    assert found["total_s"] == pytest.approx(200 * found["step_s"])
    assert list(here.iterdir()) == []
    assert "cities" in succeed("train", "--data", "cities", *SMALL)  # and the next command speaks again


def test_where_it_does_not_fit_no_step_is_tried(here, monkeypatch):
    monkeypatch.setattr(dry_run, "available", lambda: 2e7)
    monkeypatch.setattr(algorithm, "step", None)
    said = succeed("train", "--data", "cities", *SMALL, "--batch", 65536, "--width", 64)
    assert "no step was tried" in said
    assert "--batch (now 65536)" in said
    assert "--width (now 64)" in said


def test_of_a_run_that_is_resumed_the_steps_to_come_are_told(here):
    succeed("train", "--data", "cities", "--width", 8, "--depth", 1, "--batch", 4, "--steps", 3, "--out", "r")
    resumed = ("train", "--resume", "--out", "r", "--dry-run")
    for more, left in (((), 0), (("--steps", 10), 7)):
        found = json.loads(succeed(*resumed, *more, "--json"))
        assert found["steps_left"] == left
        assert found["total_s"] == pytest.approx(left * found["step_s"])
        assert f"for {left} steps;" in succeed(*resumed, *more)


@pytest.mark.skipif(not dry_run.available(), reason="the system does not say what is free")
def test_a_network_that_does_not_fit_is_not_made(here, monkeypatch):
    monkeypatch.setattr(dry_run, "available", lambda: 2e7)
    wide = ("train", "--data", "cities", "--batch", 4, "--width", 4096, "--dry-run", "--json")
    assert_error(refwfm(*wide), "out of memory preparing", "a smaller --width (now 4096) takes less")
    held = np.ones(2**25)  # and what comes after may take more
    assert held.nbytes > 2e7
    assert list(here.iterdir()) == []


def test_what_a_dry_run_does_not_take_is_one_line(here):
    assert_error(refwfm("train", "--data", "cities", "--json"), "--json is for --dry-run")


@pytest.mark.skipif(not dry_run.most_resident(), reason="the system does not say what a process has held")
@pytest.mark.parametrize(
    "more",
    [
        ("--data", "cities", "--batch", "16384", "--width", "128", "--depth", "3"),
        ("--data", "fours", "--batch", "64", "--width", "128", "--depth", "3", "--inner", "exact"),
    ],
    ids=["Gaussians", "clouds"],
)
def test_the_whole_process_takes_what_was_predicted(here, more):
    """As the system counts it, with Python and its libraries."""
    command = [sys.executable, "-m", "refwfm", "train", *more, "--dry-run", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["measured_bytes"] / FACTOR < found["peak_bytes"] < found["measured_bytes"] * FACTOR
    assert found["peak_bytes"] > 1.5 * found["process_bytes"]  # most of it is ours to predict


def test_memory_of_the_system_is_read():
    held = np.ones(2**22)
    for read in (dry_run.resident(), dry_run.most_resident()):
        assert read == 0 or held.nbytes <= read < 2**50
    free = dry_run.available()
    assert free is None or 0 < free < 2**50
