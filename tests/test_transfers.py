"""What crosses between host and device: counted, and no more than a step needs; whole runs on devices."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import succeed

from refwfm import _array
from refwfm.backends import load, transfers
from refwfm.backends.transfers import TO_DEVICE, TO_HOST
from refwfm.datasets import load as load_data
from refwfm.runs import models
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig, GaussianConfig

pytest.importorskip("array_api_strict")

SMALL = {"steps": 2, "batch": 4, "width": 16, "depth": 1}
CLOUDS = {**SMALL, "n_points": 16, "heads": 2}
LOG = "loss, gradient norm and plan error, for the log"
NUMBERS = 1000
"""Bytes a step that single numbers come to: those that decide how to go on."""


def crossed(config, data, name="strict:device1"):
    """(direction, why) -> (times, bytes) a step."""
    backend, family = load(name, dtype="float32"), load_data(data)
    model, prepared = models.prepare(config, family, backend)
    with transfers.counted(backend.asarray(np.zeros(1))) as counter:
        algorithm.train(config, model.setting, prepared, family.labels, model.state, ops=backend.ops)
    return {
        (row.direction, row.why): (row.count / config.steps, row.size / config.steps)
        for row in counter.rows()
    }


def arrays(found):
    """What crosses that is more than single numbers."""
    return {key for key, (times, size) in found.items() if size > 8 * times and size > 0}


# What a step needs


@pytest.mark.parametrize("inner", ["rounded", "entropic", "argmax", "sampled", "sliced", "independent"])
def test_the_batch_and_draws_go_there_and_numbers_come_back(inner):
    found = crossed(CloudConfig(inner=inner, outer="independent", **CLOUDS), "fours")
    drawn = {(TO_DEVICE, "draws of the inner plan"), (TO_DEVICE, "directions of the sliced plan")}
    drawn |= {(TO_DEVICE, "checks of a plan")} if inner == "sampled" else set()  # levels of its draws
    assert (TO_DEVICE, "batch") in arrays(found)
    assert arrays(found) - drawn <= {(TO_DEVICE, "batch")}
    assert found[TO_HOST, LOG] == (2, 8)  # at every step's end here, as it is logged once for two
    assert sum(size for (direction, _), (_, size) in found.items() if direction == TO_HOST) < NUMBERS


def test_gaussians_cross_as_a_batch_and_a_loss():
    found = crossed(GaussianConfig(matching=False, **SMALL), "cities")
    assert arrays(found) == {(TO_DEVICE, "batch"), (TO_DEVICE, "constants of the network")}
    assert found[TO_HOST, LOG] == (2, 8)


def test_matched_gaussians_cross_with_their_costs():
    found = crossed(GaussianConfig(matching=True, **SMALL), "cities")
    times, size = found[TO_HOST, "outer plan"]
    assert (times, size) == (2, 4 * SMALL["batch"] ** 2 + 1)  # and a check


@pytest.mark.parametrize("outer", ["sliced", "frechet"])
def test_an_outer_plan_crosses_as_a_number_a_pair_and_its_pairs(outer):
    found = crossed(CloudConfig(inner="rounded", outer=outer, **CLOUDS), "fours")
    batch = CLOUDS["batch"]
    assert found[TO_DEVICE, "outer plan"] == (1, 8 * batch)
    times, size = found[TO_HOST, "outer plan"]
    assert size <= 4 * batch**2 + 4 * times  # and a check
    assert arrays(found) - {(TO_HOST, "outer plan"), (TO_DEVICE, "outer plan")} <= {
        (TO_DEVICE, "batch"),
        (TO_DEVICE, "directions of the sliced plan"),
    }


@pytest.mark.parametrize(
    ("inner", "why", "weights"),
    [
        ("exact", "exact inner plan: costs, permutation", 2),
        ("linear", "alignment to the reference: costs, permutation", 0),
    ],
)
def test_what_is_solved_on_the_host_crosses_as_costs_and_permutations(inner, why, weights):
    found = crossed(CloudConfig(inner=inner, outer="independent", **CLOUDS), "fours")
    batch, n = CLOUDS["batch"], CLOUDS["n_points"]
    assert found[TO_HOST, why] == (1 + weights, 4 * batch * n * n + weights * 4 * batch * n)
    assert found[TO_DEVICE, why] == (1, 8 * batch * n)


def test_lazy_plans_cross_nothing_more_than_their_sources():
    config = CloudConfig(inner="lazy", outer="independent", source="barycentric", **CLOUDS)
    assert arrays(crossed(config, "fours")) == {(TO_DEVICE, "batch")}


def test_convergence_is_a_number_at_each_look():
    config = CloudConfig(inner="entropic", outer="independent", inner_tol=1e-9, sinkhorn_steps=21, **CLOUDS)
    times, size = crossed(config, "fours")[TO_HOST, "convergence of Sinkhorn"]
    assert (times, size) == (3, 3)  # after iterations 1, 11 and 21, one flag each


# The counter


def test_nothing_crosses_on_numpy():
    assert crossed(GaussianConfig(**SMALL), "cities", name="numpy") == {}


def test_torch_on_the_cpu_counts_as_a_device():
    pytest.importorskip("torch")
    found = crossed(GaussianConfig(**SMALL), "cities", name="torch:cpu")
    assert found[TO_HOST, LOG] == (2, 8)
    assert found[TO_DEVICE, "batch"][1] > 0


@pytest.mark.parametrize("name", ["strict:device1", "torch:cpu", "jax:cpu"])
def test_the_counter_sees_all_ways_and_leaves_nothing_behind(name):
    pytest.importorskip({"strict": "array_api_strict"}.get(name.partition(":")[0], name.partition(":")[0]))
    x = load(name).asarray(np.asarray([1.0, 2.0, 0.0]))
    own = dict(vars(type(x)))
    with transfers.counted(x) as counter:
        assert float(x[0]) == 1.0
        assert bool(x[1] > 0)
        x[x > 0]
        _array.to_host(x)
        _array.asarray_like(np.zeros(2), x)
        _array.asarray_like(x, x)  # is there already
        _array.on_device_of(x, np.asarray([2, 1]))
    assert sum(row.count for row in counter.rows() if row.direction == TO_HOST) == 4
    assert sum(row.size for row in counter.rows() if row.direction == TO_HOST) == 4 + 1 + 8 + 12
    assert sum(row.count for row in counter.rows() if row.direction == TO_DEVICE) == 2
    assert sum(row.size for row in counter.rows() if row.direction == TO_DEVICE) == 32
    assert dict(vars(type(x))) == own
    total = len(counter.rows())
    float(x[0])
    assert len(counter.rows()) == total
    assert _array.CROSSING.get() is None


def test_counting_changes_no_number():
    config, losses = CloudConfig(inner="rounded", **CLOUDS), []
    backend, family = load("strict:device1"), load_data("fours")
    for counts in (False, True):
        model, prepared = models.prepare(config, family, backend)
        arguments = (config, model.setting, prepared, family.labels, model.state)
        if counts:
            with transfers.counted(backend.asarray(np.zeros(1))):
                state, metrics = algorithm.step(*arguments, ops=backend.ops)
        else:
            state, metrics = algorithm.step(*arguments, ops=backend.ops)
        losses.append(float(metrics.loss))
        assert state.step == 1
    assert losses[0] == losses[1]


def test_the_places_that_are_named_exist():
    """A function that is renamed would be told by the name of its module alone."""
    from importlib import import_module

    for place in transfers.PLACES:
        module, _, name = f"refwfm.{place}".rpartition(".")
        found = import_module(module)
        assert hasattr(found, name) or import_module(f"{module}.{name}"), place


# The command

TINY = ("--steps", 3, "--batch", 4, "--width", 16, "--depth", 1, "--quiet", "--log-every", 1)


@pytest.mark.usefixtures("undrawn")
def test_the_command_prints_a_table_and_logs_a_line(tmp_path):
    arguments = ("train", "--data", "cities", *TINY, "--out", tmp_path / "run", "--count-transfers")
    shown = succeed(*arguments, "--backend", "strict:device1")
    assert "between host and strict:device1, a step (of 3)" in shown
    assert "batch" in shown
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert (line["step"], line["transfers"]["steps"]) == (3, 3)
    assert {"direction", "why", "count", "size"} == {*line["transfers"]["crossed"][0]}
    again = ("train", "--resume", "--out", tmp_path / "run", "--steps", 5, "--quiet", "--count-transfers")
    assert "a step (of 2)" in succeed(*again)


@pytest.mark.usefixtures("undrawn")
def test_the_command_says_that_nothing_can_cross_on_numpy(tmp_path):
    arguments = ("train", "--data", "cities", *TINY, "--out", tmp_path / "run", "--count-transfers")
    assert "nothing can cross" in succeed(*arguments)
    assert "transfers" not in (tmp_path / "run" / "log.jsonl").read_text()


# Whole runs on a device whose arrays NumPy cannot read, and on one without float64


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", ["strict:device1", "strict:no_float64"])
@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("cities", ()),
        ("clouds", ("--heads", 2, "--inner", "rounded")),
        ("clouds", ("--heads", 2, "--inner", "exact", "--outer", "sliced")),
    ],
)
def test_runs_train_generate_and_evaluate(tmp_path, rng, place, data, more):
    run = tmp_path / "run"
    if data == "clouds":
        data, arrays = tmp_path / "clouds.npz", tmp_path / "arrays.npz"
        np.savez(arrays, points=rng.standard_normal((20 * 8, 2)), offsets=8 * np.arange(21))
        succeed("data", "clouds", arrays, "--out", data)
    succeed("train", "--data", data, *TINY, *more, "--out", run, "--backend", place, "--hold-out", "0.2")
    losses = [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]
    succeed("generate", run, "--size", 3, "--steps", 2, "--out", tmp_path / "new.npz", "--backend", place)
    assert len(load_data(str(tmp_path / "new.npz"))) == 3
    succeed("evaluate", run, "--size", 6, "--seeds", 1, "--steps", 2, "--backend", place)
    # The same numbers as on NumPy, to rounding.
    succeed("train", "--data", data, *TINY, *more, "--out", tmp_path / "host", "--hold-out", "0.2")
    host = [json.loads(line)["loss"] for line in (tmp_path / "host" / "log.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(losses, host, rtol=1e-4)


# The table of the documentation

PLANS = {
    "Gaussians, matched": (GaussianConfig(matching=True, **SMALL), "cities"),
    **{
        f"{inner}": (CloudConfig(inner=inner, outer="independent", **CLOUDS), "fours")
        for inner in ("rounded", "entropic", "argmax", "sampled", "sliced", "independent", "exact", "linear")
    },
    "lazy": (CloudConfig(inner="lazy", outer="independent", source="barycentric", **CLOUDS), "fours"),
    **{
        f"rounded, outer {outer}": (CloudConfig(inner="rounded", outer=outer, **CLOUDS), "fours")
        for outer in ("sliced", "frechet", "chamfer", "wasserstein")
    },
}


def row_of(plan):
    """A row of the table: bytes a step, and how often something crosses."""
    found = crossed(*PLANS[plan])
    assert {why for _, why in found} <= {*transfers.PLACES.values()}  # in words, and no name of a function
    cells = [plan]
    for direction in (TO_DEVICE, TO_HOST):
        parts = [numbers for (way, _), numbers in found.items() if way == direction]
        cells.append(f"{sum(size for _, size in parts):,.0f} in {sum(times for times, _ in parts):,.0f}")
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("plan", PLANS)
def test_the_table_of_the_documentation_is_right(plan):
    page = Path(__file__).parents[1] / "docs" / "gpu.md"
    assert row_of(plan) in page.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("batch", [3, 5])
def test_a_batch_of_clouds_is_its_points_weights_noise_and_times(batch):
    config = CloudConfig(inner="entropic", outer="independent", **{**CLOUDS, "batch": batch, "n_points": 12})
    n, d = 12, 2
    size = 16 * batch * n * d + 24 * batch * n + 8 * batch * (d**2 + 1)
    assert crossed(config, "fours")[TO_DEVICE, "batch"] == (7, size)
