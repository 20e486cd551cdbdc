"""Training with any outer and inner plan: what a batch holds, the reference, sources, the same everywhere."""

import dataclasses
import sys

import command
import numpy as np
import pytest
import test_cloud_training as wfm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from test_cloud_training import LABELS, PLACE, ends, family_of, member_of, prepare

from refwfm.backends import load
from refwfm.clouds import unpad
from refwfm.couplings.inner import INNER
from refwfm.couplings.outer import OUTER
from refwfm.datasets import load_family, save_family
from refwfm.runs import models
from refwfm.runs.config_file import read_config
from refwfm.sources.clouds import PureNoise, sample_barycentric_noise, sample_pure_noise
from refwfm.storage.cache import cache_folder
from refwfm.training import alignment, cloud_generation, clouds, optim
from refwfm.training.algorithm import train, trained
from refwfm.training.config import CloudConfig
from refwfm.training.ops import REFERENCE
from refwfm.training.randomness import random_stream

EVEN = (6, 6, 6, 6, 6)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "alignments"


def config_of(**changes):
    return wfm.config_of(**{"source": "barycentric", "sigma": 0.05, "n_proj": 5, **changes})


def starts(batch):
    return batch.points - batch.t[:, None, None] * batch.target


def model_units(points, setting):
    return (points - setting.shift) / setting.unit


# Every pair of plans


@pytest.mark.parametrize("outer", [name for name in OUTER if name != "paired"])
@pytest.mark.parametrize("inner", INNER)
def test_paths_end_at_members_with_their_labels(outer, inner):
    family = family_of(EVEN, labels=LABELS)
    config = config_of(outer=outer, inner=inner, label_drop=0.0, eps=0.05)
    run = prepare(config, family)
    own = {"exact", "rounded", "independent", "linear", "lazy"}
    for step in range(2):
        batch = clouds.draw_batch(config, *run, step)
        assert np.all(np.isfinite(batch.target))
        if inner in own:
            members = [member_of(points, family, run[0]) for points in ends(batch)]
            assert None not in members
            np.testing.assert_array_equal(batch.labels, LABELS[members])
        value, _ = clouds.loss_and_grad(
            config, run[0], clouds.init_params(config, run[0]), batch, ops=REFERENCE
        )
        assert value == pytest.approx(
            np.mean(np.sum(batch.weights[..., None] * batch.target**2, axis=(1, 2)))
        )


@pytest.mark.parametrize("inner", ["exact", "sampled", "sliced", "independent"])
@pytest.mark.parametrize("outer", ["wasserstein", "sliced", "independent"])
@pytest.mark.parametrize("replace", [False, True])
def test_clouds_of_different_sizes(outer, inner, replace):
    family = family_of((3, 5, 4, 6, 3), labels=LABELS)
    config = config_of(
        outer=outer, inner=inner, source="pure", source_size="data", eps=0.05, label_drop=0.0, replace=replace
    )
    run = prepare(config, family)
    batch = clouds.draw_batch(config, *run, 0)
    np.testing.assert_allclose(batch.weights.sum(axis=1), 1.0)
    assert not np.any(batch.points[batch.weights == 0])
    assert not np.any(batch.target[batch.weights == 0])
    if inner == "exact" and not replace:  # means of targets
        return
    scaled = model_units(family.points, run[0])
    owner = np.repeat(np.arange(5), family.sizes)
    for points, label in zip(ends(batch), batch.labels, strict=True):
        gaps = np.abs(points[:, None] - scaled).max(axis=-1)
        assert np.max(gaps.min(axis=1)) < 1e-9
        (member,) = set(owner[gaps.argmin(axis=1)])
        assert LABELS[member] == label


def test_with_replacement_a_third_is_left_out():
    family = family_of((40,) * 30)
    config = config_of(outer="lazy", inner="exact", batch=60, replace=True)
    run = prepare(config, family)
    batch = clouds.draw_batch(config, *run, 0)
    distinct = [len(np.unique(points.round(9), axis=0)) / 40 for points in ends(batch)]
    assert abs(np.mean(distinct) - (1 - np.exp(-1))) < 0.05
    pairs = {tuple(np.sort(points[:, 0]).round(9)[:1]) for points in starts(batch)}
    assert len(pairs) < 55


# Against the recipe by hand


def scipy_order(reference, points):
    return points[linear_sum_assignment(cdist(reference, points, "sqeuclidean"))[1]]


def recipe(config, run, family, step, *, outer, order_sources):
    """Sources, targets (both in the order of the reference) and times of a step of lazy or linear plans."""
    rng, setting = random_stream(config.seed, "batch", step), run[0]
    index = rng.integers(len(family), size=config.batch)
    targets = [scipy_order(setting.reference, model_units(family.cloud(i).points, setting)) for i in index]
    n, d = setting.reference.shape
    if config.source == "barycentric":
        noise = rng.standard_normal((config.batch * n, d)).reshape(config.batch, n, d)
        sources = setting.reference + config.sigma * noise
    else:
        mean = config.noise_mean * rng.standard_normal((config.batch, 1, d))
        scale = rng.uniform(config.noise_low, config.noise_high, (config.batch, 1, 1))
        sources = mean + scale * rng.standard_normal((config.batch * n, d)).reshape(config.batch, n, d)
    if order_sources:
        sources = [scipy_order(setting.reference, points) for points in sources]
    sources, targets = np.array(sources), np.array(targets)
    if outer:
        cost = np.mean(np.sum((sources[:, None] - targets[None]) ** 2, axis=-1), axis=-1)
        targets = targets[linear_sum_assignment(cost)[1]]
    return sources, targets, rng.random(config.batch)


@pytest.mark.parametrize(
    ("outer", "inner", "source"),
    [
        ("lazy", "lazy", "barycentric"),
        ("independent", "lazy", "barycentric"),
        ("linear", "linear", "barycentric"),
        ("linear", "linear", "pure"),
        ("independent", "linear", "pure"),
    ],
)
def test_lazy_and_linear_batches_are_the_recipe(outer, inner, source):
    family = family_of(EVEN)
    config = config_of(outer=outer, inner=inner, source=source, sigma=0.8)
    run = prepare(config, family)
    batch = clouds.draw_batch(config, *run, 2)
    x, y, t = recipe(config, run, family, 2, outer=outer != "independent", order_sources=inner != "lazy")
    np.testing.assert_allclose(batch.t, t, atol=1e-14)
    np.testing.assert_allclose(batch.target, y - x, atol=1e-12)
    np.testing.assert_allclose(batch.points, x + t[:, None, None] * (y - x), atol=1e-12)
    # Noise of 0.8 is not in the order of the reference: aligning it makes a difference.
    wrong = recipe(config, run, family, 2, outer=outer != "independent", order_sources=inner == "lazy")
    assert np.max(np.abs(wrong[1] - wrong[0] - batch.target)) > 0.1


def test_lazy_pairs_are_optimal_for_small_noise():
    """Corollary 3.2: inside the stability radius the lazy inner plan is the optimal one."""
    family = family_of(EVEN)
    small = config_of(outer="independent", inner="lazy", sigma=1e-4)
    lazy = clouds.draw_batch(small, *prepare(small, family), 0)
    exact = clouds.draw_batch(dataclasses.replace(small, inner="exact"), *prepare(small, family), 0)
    np.testing.assert_allclose(lazy.target, exact.target, atol=1e-12)
    large = config_of(outer="independent", inner="lazy", sigma=2.0)
    lazy = clouds.draw_batch(large, *prepare(large, family), 0)
    exact = clouds.draw_batch(dataclasses.replace(large, inner="exact"), *prepare(large, family), 0)
    costs = [np.sum(batch.weights[..., None] * batch.target**2) for batch in (lazy, exact)]
    assert costs[0] > 1.01 * costs[1]


def test_outer_plans_are_cheaper_than_chance_and_the_exact_one_is_cheapest():
    family = family_of((8,) * 12)
    cost = {}
    for outer in ("independent", "wasserstein", "sliced", "frechet", "linear"):
        config = config_of(outer=outer, inner="exact", source="pure", batch=40, n_proj=50)
        batch = clouds.draw_batch(config, *prepare(config, family), 0)
        cost[outer] = np.sum(batch.weights[..., None] * batch.target**2) / 40
    others = [cost[name] for name in ("sliced", "frechet", "linear")]
    assert cost["wasserstein"] <= min(others) + 1e-9
    assert max(others) < 0.95 * cost["independent"]


def test_flows_between_families_align_both_once():
    source, target = family_of(EVEN, seed=1), family_of(EVEN, seed=2)
    lazy, linear = (
        config_of(source="family", outer=name, inner=name, batch=8) for name in ("lazy", "linear")
    )
    batches = []
    for config in (lazy, linear):
        run = prepare(config, target, source)
        batch = clouds.draw_batch(config, *run, 0)
        batches.append(batch)
        for x, y in zip(starts(batch), ends(batch), strict=True):
            i, j = member_of(x, source, run[0]), member_of(y, target, run[0])
            for points, family, member in ((x, source, i), (y, target, j)):
                aligned = scipy_order(run[0].reference, model_units(family.cloud(member).points, run[0]))
                np.testing.assert_allclose(points, aligned, atol=1e-9)
    np.testing.assert_array_equal(batches[0].target, batches[1].target)


# The reference


def test_the_reference_is_the_barycenter_and_is_kept_with_the_model(tmp_path):
    family = family_of(EVEN)
    config = config_of(outer="lazy", inner="lazy")
    run = prepare(config, family)
    points = model_units(family.points, run[0]).reshape(5, 6, 2)
    mean = np.mean([scipy_order(run[0].reference, cloud) for cloud in points], axis=0)
    np.testing.assert_allclose(mean, run[0].reference, atol=0.05)
    model, _ = models.prepare(config, family, PLACE)
    models.save_model(tmp_path / "model.safetensors", model, PLACE)
    again = models.load_model(tmp_path / "model.safetensors", PLACE)
    np.testing.assert_array_equal(again.setting.reference, run[0].reference)
    generated = [
        cloud_generation.sample(config, setting, trained(model.state), size=3, n_steps=2, seed=0)[0]
        for setting in (again.setting, run[0])
    ]
    np.testing.assert_array_equal(generated[0].points, generated[1].points)
    assert prepare(config_of(source="pure"), family)[0].reference is None


def test_members_are_thinned_once():
    family = family_of((9, 7, 8, 6))
    config = config_of(outer="lazy", inner="lazy", n_points=6, batch=40)
    run = prepare(config, family)
    seen = {}
    for step in range(3):
        for end in ends(clouds.draw_batch(config, *run, step)):
            seen.setdefault(end.mean().round(9), []).append(end)
    assert len(seen) == 4
    assert all(np.allclose(ends_, ends_[0]) for ends_ in seen.values())
    other_seed = prepare(dataclasses.replace(config, seed=5), family)
    np.testing.assert_array_equal(other_seed[0].reference, run[0].reference)
    afresh = dataclasses.replace(config, outer="sliced", inner="exact")
    seen = {end.mean().round(9) for end in ends(clouds.draw_batch(afresh, *prepare(afresh, family), 0))}
    assert len(seen) > 10


def test_alignments_are_kept_on_disk(cache, monkeypatch):
    family = family_of((12,) * 20)
    config = config_of(outer="lazy", inner="lazy")
    monkeypatch.setattr(alignment, "WORTH_A_FILE", 0)
    plain = prepare(config, family)
    files = sorted(cache.iterdir())
    assert len(files) == 2  # the reference and the permutations
    solved = []
    monkeypatch.setattr(alignment, "align_to_reference", lambda *args, **options: solved.append(1))
    again = prepare(config, family)
    np.testing.assert_array_equal(again[1].target.points, plain[1].target.points)
    assert not solved
    monkeypatch.undo()
    monkeypatch.setenv("REFWFM_CACHE", str(cache.parent))
    monkeypatch.setattr(alignment, "WORTH_A_FILE", 0)
    prepare(config, family_of((12,) * 20, seed=3))  # other data, other files
    assert len(list(cache.iterdir())) == 4
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    repaired = prepare(config, family)
    np.testing.assert_array_equal(repaired[1].target.points, plain[1].target.points)
    assert all(file.stat().st_size > 100 for file in files)


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REFWFM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(alignment, "WORTH_A_FILE", 0)
    config = config_of(outer="lazy", inner="lazy")
    assert prepare(config, family_of(EVEN))[0].reference.shape == (6, 2)


def test_the_cache_is_where_the_system_has_such_things(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("REFWFM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "refwfm"


def test_progress_is_told():
    told = []
    config = config_of(outer="lazy", inner="lazy")
    clouds.prepare(config, family_of(EVEN), None, np.asarray, progress=lambda *args: told.append(args))
    assert told[-1] == (5, 5)


def test_aligned_families_are_families():
    config = config_of(outer="lazy", inner="lazy", n_points=5)
    family = family_of(labels=LABELS, counts=(7, 5, 6, 9, 8))
    target = prepare(config, family)[1].target
    assert (len(target), target.dimension) == (5, 2)
    np.testing.assert_array_equal(target.sizes, [5] * 5)
    np.testing.assert_array_equal(target.labels, LABELS)
    assert target.label_names == ("a", "b", "c")


# What cannot be


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outer": "lazy", "source": "pure"}, "outer = 'lazy' takes sources that come in the order"),
        ({"inner": "lazy", "source": "cholesky"}, "for 'cholesky' noise use 'linear'"),
        ({"network": "mlp"}, "network must be one of transformer, baseline"),
        ({"n_proj": 0}, "n_proj must be at least 1"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"reference_members": 0}, "reference_members must be at least 1"),
        ({"sigma": -0.1}, "sigma must be finite and not negative; got -0.1"),
        ({"noise_mean": float("nan")}, "noise_mean must be finite and not negative; got nan"),
        ({"noise_low": 0.0}, "noise_low must be finite and positive; got 0.0"),
        ({"noise_low": 2.0}, "noise_low must not be above noise_high; got 2.0 and 1.2"),
        ({"outer": "sliced", "outer_eps": -1.0}, "outer_eps must be finite and not negative; got -1"),
        ({"outer": "independent", "outer_eps": 0.1}, "needs an outer plan of least cost: one of frechet"),
        ({"replace": 1}, "replace must be of type bool"),
    ],
)
def test_bad_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_of(**changes)


@pytest.mark.parametrize(
    ("family", "source", "message"),
    [
        (family_of((6, 4, 5)), None, "n_points = 6 points each, and the family has one of 4: lower n_points"),
        (family_of(EVEN), family_of((6, 2)), "the source family has one of 2"),
    ],
)
def test_families_that_cannot_be_aligned_are_refused(family, source, message):
    config = config_of(outer="lazy", inner="lazy", source="barycentric" if source is None else "family")
    with pytest.raises(ValueError, match=message):
        prepare(config, family, source)


def test_weights_cannot_be_aligned():
    family = family_of(EVEN)
    weights = np.tile([0.3, 0.1, 0.1, 0.2, 0.2, 0.1], 5)
    with pytest.raises(ValueError, match="need uniform weights, and the family has others: use the 'sliced'"):
        prepare(config_of(outer="lazy", inner="lazy"), dataclasses.replace(family, weights=weights))


# Sources


def test_pure_noise_has_a_law_for_each_cloud():
    law, sizes = PureNoise(0.7, 0.5, 1.5), np.full(4000, 60)
    cloud = sample_pure_noise(law, rng=np.random.default_rng(0), sizes=sizes, d=2, like=np.zeros(0))
    means, spreads = cloud.points.mean(axis=1), cloud.points.std(axis=1, ddof=1)
    own = np.sqrt(np.mean(spreads**2) / 60)  # of the mean of 60 points
    assert np.std(means) == pytest.approx(np.hypot(0.7, own), rel=0.03)
    assert np.mean(spreads) == pytest.approx(1.0, abs=0.02)
    assert np.std(spreads) == pytest.approx(np.hypot(1 / np.sqrt(12), 1.0 / np.sqrt(120)), rel=0.05)
    # One law for all would give clouds of 60 points all alike.
    assert np.std(means) > 4 * own


def test_noise_keeps_the_order_of_the_reference():
    reference = np.random.default_rng(1).standard_normal((5, 3))
    options = {"rng": np.random.default_rng(0), "sigma": 0.1}
    cloud = sample_barycentric_noise(reference, sizes=np.full(3000, 5), **options)
    noise = cloud.points - reference
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=5 * 0.1 / np.sqrt(3000))
    assert np.std(noise) == pytest.approx(0.1, rel=0.02)
    flat = noise.reshape(3000, -1)
    assert np.max(np.abs(np.corrcoef(flat.T) - np.eye(15))) < 0.1
    with pytest.raises(ValueError, match="sigma must be finite"):
        sample_barycentric_noise(reference, sizes=np.full(2, 5), rng=options["rng"], sigma=np.inf)
    with pytest.raises(ValueError, match=r"reference must have shape \(n, d\)"):
        sample_barycentric_noise(reference[0], sizes=np.full(2, 5), **options)


def test_noise_of_other_sizes_takes_all_points_of_the_reference_alike():
    reference = 10.0 * np.arange(4.0)[:, None]
    cloud = sample_barycentric_noise(
        reference, sizes=np.array([4, 3, 9]), rng=np.random.default_rng(0), sigma=0.01
    )
    few, many = (np.round(points[:, 0] / 10.0).astype(int) for points in unpad(cloud)[1:])
    assert len(set(few)) == 3
    np.testing.assert_array_equal(many[:8], [0, 1, 2, 3, 0, 1, 2, 3])
    config = config_of(inner="exact")
    run = prepare(config, family_of(EVEN))
    params = clouds.init_params(config, run[0])
    generated, _ = cloud_generation.sample(config, run[0], params, size=3, n_steps=1, seed=0, sizes=15)
    assert generated.points.shape == (3, 15, 2)


def test_sources_on_every_library(library):
    reference = np.random.default_rng(1).standard_normal((5, 3))

    def barycentric(reference):
        return sample_barycentric_noise(
            reference, sizes=np.array([5, 3]), rng=np.random.default_rng(0), sigma=0.3
        )

    def pure(like):
        law = PureNoise(0.7, 0.5, 1.5)
        return sample_pure_noise(law, rng=np.random.default_rng(0), sizes=np.array([4, 2]), d=3, like=like)

    library.check(barycentric, reference, ulps=4)
    library.check(pure, np.zeros(1), ulps=4)


@pytest.mark.parametrize(
    "law", [PureNoise(-1.0, 0.5, 1.0), PureNoise(1.0, 2.0, 1.0), PureNoise(1.0, 1.0, np.inf)]
)
def test_laws_that_are_none(law):
    with pytest.raises(ValueError, match="a law needs mean >= 0"):
        sample_pure_noise(law, rng=np.random.default_rng(0), sizes=np.array([2]), d=1, like=np.zeros(0))


# Training


# JAX has a run in test_cloud_training; these plans, this source and this network are tried on it one by one.
@pytest.mark.parametrize("name", ["numpy", "strict", "torch:cpu"])
@pytest.mark.parametrize(
    ("outer", "inner", "network"), [("lazy", "lazy", "baseline"), ("sliced", "sliced", "transformer")]
)
def test_the_same_run_on_every_library(name, outer, inner, network):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name.partition(":")[0]))
    config = config_of(outer=outer, inner=inner, network=network, steps=3)
    family = family_of(EVEN, labels=LABELS)
    truth = wfm.run_on("numpy", config, family, reference=True)
    result = wfm.run_on(name, config, family)
    np.testing.assert_allclose(result[0], truth[0], rtol=1e-6, atol=1e-9)
    for path, leaf in optim.flatten(truth[1]).items():
        found = optim.flatten(result[1])[path]
        np.testing.assert_allclose(found, leaf, rtol=0, atol=1e-6 * max(np.max(np.abs(leaf)), 1e-3))
    np.testing.assert_allclose(result[2].points, truth[2].points, atol=1e-5)


@pytest.mark.parametrize("network", ["transformer", "baseline"])
def test_gradient_against_differences(network):
    config = config_of(network=network, label_drop=0.3, inner="lazy")
    run = prepare(config, family_of(EVEN, labels=LABELS))
    params = wfm.shaken(clouds.init_params(config, run[0]))
    batch = clouds.draw_batch(config, *run, 0)
    _, grads = clouds.loss_and_grad(config, run[0], params, batch, ops=REFERENCE)
    flat = optim.flatten(params)
    for path, leaf in flat.items():
        way = np.random.default_rng(1).standard_normal(leaf.shape)

        def value(h, path=path, leaf=leaf, way=way):
            moved = optim.unflatten({**flat, path: leaf + h * way})
            return clouds.loss_and_grad(config, run[0], moved, batch, ops=REFERENCE)[0]

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        truth = np.sum(optim.flatten(grads)[path] * way)
        assert abs(slope - truth) < 1e-6 * (abs(truth) + 1e-2), path


def test_optimal_plans_learn_straighter_paths():
    """Circles of several radii, from noise around their barycenter: what the plans are for."""
    rng = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(8) / 8
    circles = [
        np.stack([np.cos(angles), np.sin(angles)], axis=1) * r + rng.standard_normal(2)
        for r in rng.uniform(0.5, 1.5, 20)
    ]
    family = wfm.clouds_from_arrays(circles, name="circles")
    place, ratio = load("numpy", dtype="float32"), {}
    for outer, inner in (("independent", "independent"), ("lazy", "lazy")):
        config = CloudConfig(
            steps=150, batch=16, width=32, depth=1, heads=2, hidden=32, n_frequencies=4, learning_rate=5e-3,
            source="barycentric", outer=outer, inner=inner, network="baseline", neighbours=2, ema=0.9,
        )  # fmt: skip
        model, families = models.prepare(config, family, place)
        state = train(config, model.setting, families, None, model.state, ops=place.ops)
        found = cloud_generation.learned_straightness(
            config, model.setting, trained(state), size=20, n_steps=20, seed=0
        )
        ratio[outer] = float(found.ratio)
        assert found.bend.shape == found.sq_displacement.shape == (20,)
    assert ratio["lazy"] < 0.5 * ratio["independent"], ratio


def test_from_the_command_line(tmp_path):
    """Options reach the run, the run resumes, and its reference is there to generate from."""
    save_family(tmp_path / "data.npz", family_of((9, 8, 7) * 4))
    out = str(tmp_path / "run")

    def refwfm(*arguments):
        return command.refwfm(*arguments, COLUMNS="140")

    sizes = ["--width", 8, "--heads", 2, "--hidden", 8, "--depth", 1, "--n-frequencies", 2, "--batch", 4]
    plans = ["--source", "barycentric", "--outer", "sliced", "--inner", "lazy", "--n-proj", 3, "--replace"]
    more = ["--sigma", 0.2, "--network", "baseline", "--neighbours", 2, "--reference-members", 5]
    result = refwfm(
        "train", "--data", tmp_path / "data.npz", "--out", out, "--steps", 3, "--n-points", 6,
        *sizes, *plans, *more,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    _, options = read_config(tmp_path / "run" / "config.toml")
    wanted = {"outer": "sliced", "inner": "lazy", "n_proj": 3, "replace": True, "sigma": 0.2}
    wanted |= {"network": "baseline", "neighbours": 2, "reference_members": 5, "n_points": 6}
    assert {key: options[key] for key in wanted} == wanted
    result = refwfm("train", "--out", out, "--resume", "--steps", 5)
    assert result.exit_code == 0, result.output
    result = refwfm("generate", out, "--size", 3, "--steps", 2, "--out", tmp_path / "new.npz")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(load_family(tmp_path / "new.npz").sizes, [6, 6, 6])
    result = refwfm("train", "--data", tmp_path / "data.npz", "--out", tmp_path / "b", "--outer", "lazy")
    assert result.exit_code != 0
    assert "outer = 'lazy' takes sources that come in the order of the reference" in " ".join(
        result.output.split()
    )


def test_learned_straightness_is_of_the_paths_of_sample():
    config = config_of(inner="exact")
    run = prepare(config, family_of(EVEN, labels=LABELS))
    params = wfm.shaken(clouds.init_params(config, run[0]))
    options = {"size": 9, "seed": 3, "n_steps": 2, "labels": np.arange(9) % 3}
    found = cloud_generation.learned_straightness(config, run[0], params, **options)
    still = {**options, "n_steps": 1}
    zero = clouds.init_params(config, run[0])
    begin, _ = cloud_generation.sample(config, run[0], zero, **still)
    end, _ = cloud_generation.sample(config, run[0], params, **options)
    moved = np.mean(np.sum((end.points - begin.points) ** 2, axis=-1), axis=-1) / run[0].unit ** 2
    np.testing.assert_allclose(found.sq_displacement, moved, rtol=1e-9)
    assert float(found.ratio) > 0
