"""Where Sinkhorn starts for inner plans: nothing changes by default, good ones save, bad ones do no harm."""

import dataclasses
import json

import numpy as np
import pytest
from configurations import SMALL_CLOUDS

from refwfm._array import to_host
from refwfm.backends import load
from refwfm.couplings.inner import ENTROPIC, INNER, couple
from refwfm.datasets import clouds_from_arrays
from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_loss_and_grad
from refwfm.runs import folders, models
from refwfm.storage import checkpoints
from refwfm.training import clouds, optim
from refwfm.training.config import CloudConfig
from refwfm.training.inner_start import start_of
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost

CONFIG = dataclasses.replace(SMALL_CLOUDS, eps=0.02, inner="entropic", start_steps=30)
STARTS = ("zeros", "gaussian", "amortised")


def config_of(**changes):
    return dataclasses.replace(CONFIG, **changes)


def family_of():
    """Clouds far from round and far from the origin: letters L, at several places and of several sizes."""
    rng = np.random.default_rng(0)
    arrays = []
    for n in (9, 12, 10, 11):
        along = rng.random(n)
        corner = np.where(
            (np.arange(n) % 2 == 0)[:, None], along[:, None] * [1.0, 0.0], along[:, None] * [0.0, 2.0]
        )
        arrays.append((1.0 + rng.random()) * corner + 3.0 * rng.standard_normal(2))
    return clouds_from_arrays(arrays, name="corners")


@pytest.fixture(scope="module")
def runs():
    """Setting and families of a run from each start."""
    return {
        name: clouds.prepare(config_of(inner_start=name), family_of(), None, np.asarray) for name in STARTS
    }


def batches(runs, name, steps=3, **changes):
    config = config_of(inner_start=name, **changes)
    return [clouds.draw_batch(config, *runs[name], None, step) for step in range(steps)]


def test_by_default_nothing_is_said_about_the_start(runs):
    """The solver is called as it always was, and no network is fitted."""
    assert CloudConfig().inner_start == "zeros"
    assert start_of(CONFIG, runs["zeros"][0]) is None
    assert runs["zeros"][0].start is None
    asked = []

    def solve(cost, a, b, **options):
        asked.append(options)
        return sinkhorn(cost, a, b, eps=0.1, **options)

    cloud = PointCloud(np.arange(6.0).reshape(1, 3, 2), np.full((1, 3), 1 / 3))
    for inner in ENTROPIC:
        couple(cloud, cloud, inner, rng=np.random.default_rng(0), solve=solve)
        couple(
            cloud,
            cloud,
            inner,
            rng=np.random.default_rng(0),
            solve=solve,
            start=lambda x, y, cost: cost[..., 0],
        )
    assert [set(options) for options in asked] == [set(), {"f_init"}] * len(ENTROPIC)


def test_the_three_starts_draw_the_same_pairs(runs):
    """The start has no say in what is drawn, and with enough iterations none in the plan."""
    options = {"sinkhorn_steps": 1000, "eps": 0.1, "steps": 1}
    truth = batches(runs, "zeros", **options)
    for name in STARTS[1:]:
        for batch, other in zip(batches(runs, name, **options), truth, strict=True):
            np.testing.assert_allclose(batch.target, other.target, atol=1e-6)
            np.testing.assert_array_equal(batch.t, other.t)
    short = batches(runs, "gaussian", **{**options, "sinkhorn_steps": 1})
    assert np.max(np.abs(short[0].target - truth[0].target)) > 1e-3  # control: one iteration is not enough


def test_a_start_saves_iterations_at_the_same_error(runs):
    count = {}
    for name in STARTS:
        drawn = batches(runs, name, inner_tol=1e-2, sinkhorn_steps=5000)
        assert all(batch.plan_error <= 1e-2 for batch in drawn)
        count[name] = np.mean([batch.plan_iterations for batch in drawn])
    assert count["gaussian"] < 0.8 * count["zeros"]
    assert count["amortised"] < 0.8 * count["zeros"]


def test_all_iterations_are_done_unless_there_is_a_tolerance(runs):
    for name in STARTS:
        assert {batch.plan_iterations for batch in batches(runs, name)} == {20}
        assert batches(runs, name, inner_tol=0.9)[0].plan_iterations < 20
    zeros, gaussian = (np.mean([b.plan_error for b in batches(runs, name)]) for name in STARTS[:2])
    assert gaussian < 0.7 * zeros


def test_training_lowers_the_loss_of_the_start(runs):
    """Below that of the Gaussian potential, from which it starts, on pairs that it was not trained on."""
    setting, family = runs["amortised"]
    config = config_of(inner_start="amortised", batch=64)
    mu, nu, _ = clouds._draw_pairs(config, setting, family, None, np.random.default_rng(1), clouds.REFERENCE)
    eps = CONFIG.eps * np.max(sq_euclidean_cost(mu.points, nu.points), axis=(1, 2))
    untrained = {**setting.start, "out": optim.tree_map(np.zeros_like, setting.start["out"])}
    losses = [float(cloud_loss_and_grad(params, mu, nu, eps=eps)[0]) for params in (setting.start, untrained)]
    assert losses[0] < losses[1] - 1e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_useless_prediction_is_the_start_at_zeros(runs, value):
    setting, family = runs["amortised"]
    wrong = {**setting.start, "out": optim.tree_map(lambda p: value + 0.0 * p, setting.start["out"])}
    bad = {"amortised": (setting._replace(start=wrong), family)}
    for batch, other in zip(batches(bad, "amortised"), batches(runs, "zeros"), strict=True):
        np.testing.assert_array_equal(batch.target, other.target)
    for batch, other in zip(batches(runs, "amortised"), batches(runs, "zeros"), strict=True):  # control
        assert np.any(batch.target != other.target)


@pytest.mark.parametrize("scale_cost", ["max", "mean", "none"])
def test_the_network_is_told_the_eps_of_the_solver(runs, scale_cost, monkeypatch):
    told = []
    from refwfm.training import inner_start

    monkeypatch.setattr(
        inner_start, "usable_start", lambda f, *args, eps, **options: told.append(eps) or (f, True)
    )
    config = config_of(scale_cost=scale_cost)
    mu, nu, _ = clouds._draw_pairs(
        CONFIG, *runs["amortised"], None, np.random.default_rng(1), clouds.REFERENCE
    )
    cost = sq_euclidean_cost(mu.points, nu.points)
    start_of(dataclasses.replace(config, inner_start="amortised"), runs["amortised"][0])(mu, nu, cost)
    truth = sinkhorn(cost, *(c.weights for c in (mu, nu)), eps=CONFIG.eps, tol=None, max_iter=1,
                     scale_cost=None if scale_cost == "none" else scale_cost).eps  # fmt: skip
    np.testing.assert_allclose(told[0], truth)


@pytest.mark.parametrize("inner", [name for name in INNER if name not in ENTROPIC])
def test_a_start_for_plans_without_iteration_is_refused(inner):
    options = {"source": "barycentric"} if inner == "lazy" else {}
    CloudConfig(inner=inner, **options)
    with pytest.raises(ValueError, match=f"Sinkhorn's iteration solves.*got '{inner}'"):
        CloudConfig(inner=inner, inner_start="gaussian", **options)


def test_a_resumed_run_is_the_one_that_went_through(tmp_path):
    place, family = load("numpy", dtype="float64"), family_of()
    options = {"run": {"data": "corners"}, "log_every": 1, "checkpoint_every": 2}
    config = config_of(inner_start="amortised", inner_tol=1e-2, sinkhorn_steps=500, start_steps=5)
    folders.train(config, family, place, tmp_path / "whole", **options)
    half = dataclasses.replace(config, steps=2)
    folders.train(half, family, place, tmp_path / "parts", **options)
    resumed = folders.train(config, family, place, tmp_path / "parts", resume=True, **options)
    ends = [checkpoints.load(models.newest_checkpoint(tmp_path / name))[0] for name in ("whole", "parts")]
    assert ends[0].keys() == ends[1].keys()
    assert any(name.startswith("setting/start/") for name in ends[0])
    for name in ends[0]:
        assert ends[0][name].tobytes() == ends[1][name].tobytes(), name
    lines = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert all(0 < line["plan_iterations"] < 500 for line in lines[0])
    told = [[(line["step"], line["loss"], line["plan_iterations"]) for line in each] for each in lines]
    assert told[0] == told[1]
    again = models.load_model(tmp_path / "parts", place).setting.start
    for name, leaf in optim.flatten(resumed.setting.start).items():
        np.testing.assert_array_equal(optim.flatten(again)[name], leaf)


@pytest.mark.parametrize("name", ["strict", "torch:cpu", pytest.param("jax:cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("start", STARTS[1:])
def test_libraries_agree(runs, name, start):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name.partition(":")[0]))
    place = load(name, dtype="float64")
    config = config_of(inner_start=start, start_steps=3)
    run, truth = (clouds.prepare(config, family_of(), None, each) for each in (place.asarray, np.asarray))
    batch = clouds.draw_batch(config, *run, None, 0, ops=place.ops)
    expected = clouds.draw_batch(config, *truth, None, 0)
    np.testing.assert_allclose(to_host(batch.target), expected.target, atol=1e-7)
