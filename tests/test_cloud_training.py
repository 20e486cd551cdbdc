"""Training and generation of point clouds: what a batch holds, gradients, the same run on every library."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from configurations import SMALL_CLOUDS
from conftest import map_arrays

from refwfm._array import to_host
from refwfm.backends import load
from refwfm.clouds import moments, sizes, unpad
from refwfm.couplings.inner import INNER
from refwfm.datasets import clouds_from_arrays
from refwfm.runs import models
from refwfm.training import algorithm, cloud_generation, cloud_setting, clouds, optim
from refwfm.training.algorithm import init_state, train, trained
from refwfm.training.config import CloudConfig
from refwfm.training.flows import kind_of
from refwfm.training.noise import draw_source
from refwfm.training.ops import REFERENCE
from refwfm.training.regression import cloud_loss_and_grad, cloud_velocity

SMALL = dataclasses.replace(SMALL_CLOUDS, ema=0.9, inner="exact")
LABELS = np.array([0, 1, 1, 2, 0])
PLACE = load("numpy", dtype="float64", reference=True)


def family_of(counts=(3, 5, 4, 6, 3), d=2, seed=0, labels=None, shift=0.0):
    rng = np.random.default_rng(seed)
    arrays = [shift + 2.0 * rng.standard_normal((n, d)) + 5.0 * rng.standard_normal(d) for n in counts]
    names = ("a", "b", "c") if labels is not None else ()
    return clouds_from_arrays(arrays, labels=labels, label_names=names, name="blobs")


def config_of(**changes):
    return dataclasses.replace(SMALL, **changes)


def prepare(config, family, source=None):
    setting, families = clouds.prepare(config, family, source, np.asarray)
    return setting, families, family.labels


def ends(batch):
    """Where the paths of a batch end, live points only: lists of arrays (n_i, d)."""
    points = batch.points + (1.0 - batch.t)[:, None, None] * batch.target
    return [rows[mass > 0] for rows, mass in zip(points, batch.weights, strict=True)]


def member_of(points, family, setting):
    """Position of the member that has exactly these points, in any order; None if there is none."""
    for i in range(len(family)):
        scaled = (family.cloud(i).points - setting.shift) / setting.unit
        if scaled.shape == points.shape and np.allclose(
            scaled[np.lexsort(scaled.T)], points[np.lexsort(points.T)], atol=1e-9
        ):
            return i
    return None


# What a batch holds


@pytest.mark.parametrize("outer", ["independent", "frechet", "chamfer"])
@pytest.mark.parametrize("inner", ["exact", "rounded", "independent"])
def test_paths_end_at_members_with_their_labels(outer, inner):
    """No padding among the data, and no label left behind when the plan permutes the targets."""
    family = family_of(labels=LABELS)
    config = config_of(outer=outer, inner=inner, label_drop=0.0)
    run = prepare(config, family)
    seen = set()
    for step in range(5):
        batch = clouds.draw_batch(config, *run, step)
        members = [member_of(points, family, run[0]) for points in ends(batch)]
        assert None not in members
        np.testing.assert_array_equal(batch.labels, LABELS[members])
        np.testing.assert_array_equal(batch.points[batch.weights == 0], 0.0)
        np.testing.assert_array_equal(batch.target[batch.weights == 0], 0.0)
        assert np.all((batch.t >= 0) & (batch.t < 1))
        seen |= set(members)
    assert seen == set(range(5))


@pytest.mark.parametrize("outer", ["frechet", "sliced"])
@pytest.mark.parametrize("replace", [False, True])
def test_the_source_tells_nothing_of_the_label(outer, replace):
    """Matching leaves every source with the label that it was drawn with; one blind to labels does not."""
    family = family_of(labels=LABELS, shift=3.0)
    config = config_of(outer=outer, replace=replace, label_drop=0.3, batch=12)
    run = prepare(config, family)
    moved = 0
    for step in range(5):
        drawn = clouds.draw_batch(dataclasses.replace(config, outer="independent"), *run, step)
        matched = clouds.draw_batch(config, *run, step)
        np.testing.assert_array_equal(matched.labels, drawn.labels)
        moved += np.sum(np.abs(matched.target - drawn.target)) > 0.1
        blind = clouds.draw_batch(config, *run[:2], np.zeros_like(run[2]), step)
        ends_blind = [member_of(points, family, run[0]) for points in ends(blind)]
        if not replace:
            assert not np.array_equal(
                LABELS[ends_blind], LABELS[[member_of(p, family, run[0]) for p in ends(drawn)]]
            )
    assert moved == 5


@pytest.mark.parametrize("source_size", ["partner", "data"])
def test_sources_have_the_sizes_asked_for(source_size):
    family = family_of((2, 9, 4))
    config = config_of(source_size=source_size, inner="entropic", batch=40)
    run = prepare(config, family)
    batch = clouds.draw_batch(config, *run, 0)
    rng_index = run[1].target.sizes[
        np.random.Generator(np.random.Philox(key=config.seed, counter=[0, 0, 2, 0])).integers(3, size=40)
    ]
    counts = np.sum(batch.weights > 0, axis=1)
    assert set(counts) == {2, 4, 9}
    assert np.array_equal(counts, rng_index) == (source_size == "partner")


def test_auto_is_rounding_for_equal_sizes_and_the_entropic_map_otherwise():
    equal, unequal = family_of((4, 4, 4)), family_of((4, 5, 4))
    for family, source_size, name in (
        (equal, "data", "rounded"),
        (unequal, "partner", "rounded"),
        (unequal, "data", "entropic"),
    ):
        config = config_of(inner="auto", source_size=source_size)
        run = prepare(config, family)
        auto = clouds.draw_batch(config, *run, 0)
        named = clouds.draw_batch(dataclasses.replace(config, inner=name), *run, 0)
        np.testing.assert_array_equal(auto.target, named.target)


@pytest.mark.parametrize(
    ("targets", "sources", "n_points", "plan"),
    [
        ((5, 5), (5, 5), None, "rounded"),
        ((4, 4), (4, 5), None, "entropic"),
        ((5, 5), (4, 5), None, "entropic"),
        ((4, 4), (6, 7), 4, "rounded"),
    ],
)
def test_auto_between_families_looks_at_both_sizes(targets, sources, n_points, plan):
    source = SimpleNamespace(sizes=np.array(sources))
    config = CloudConfig(source="family", n_points=n_points)
    setting, family = SimpleNamespace(sizes=np.array(targets)), SimpleNamespace(source=source)
    assert clouds._inner_plan(config, setting, family) == plan


def test_large_clouds_are_thinned_to_their_own_points():
    family = family_of((20, 3))
    config = config_of(n_points=5)
    run = prepare(config, family)
    np.testing.assert_array_equal(run[0].sizes, [5, 3])
    scaled = (family.points - run[0].shift) / run[0].unit
    draws = []
    for step in range(4):
        for points in ends(clouds.draw_batch(config, *run, step)):
            distance = np.abs(points[:, None] - scaled).max(axis=-1)
            assert distance.min(axis=1).max() < 1e-9
            assert len(set(distance.argmin(axis=1))) == len(points) in (5, 3)
            draws.append(tuple(sorted(distance.argmin(axis=1))))
    assert len(set(draws)) > 4  # drawn afresh at every step


def test_optimal_plans_are_cheaper_than_random_ones():
    family = family_of((8, 8, 8, 8))
    cost = {}
    for inner, outer in (("exact", "frechet"), ("exact", "independent"), ("independent", "independent")):
        config = config_of(inner=inner, outer=outer, batch=32)
        batch = clouds.draw_batch(config, *prepare(config, family), 0)
        cost[inner, outer] = np.sum(batch.weights[..., None] * batch.target**2) / 32
    assert cost["exact", "frechet"] < cost["exact", "independent"] < 0.9 * cost["independent", "independent"]


def test_a_batch_can_be_drawn_again_alone():
    config = config_of(outer="frechet", inner="sampled", label_drop=0.5)
    run = prepare(config, family_of(labels=LABELS))
    one = clouds.draw_batch(config, *run, 3)
    clouds.draw_batch(config, *run, 0)
    for a, b in zip(one, clouds.draw_batch(config, *run, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (clouds.draw_batch(config, *run, 4), clouds.draw_batch(config_of(seed=1), *run, 3)):
        assert np.all(other.t != one.t)


def test_no_random_number_is_used_twice():
    """Sources, times and thinning of one step, and the weights, come from different parts of the streams."""
    config = config_of(source="uniform", batch=50, inner="independent")
    family = family_of((1,) * 50, d=1)
    run = prepare(config, family)
    batch = clouds.draw_batch(config, *run, 0)
    start = batch.points[:, 0, 0] - batch.t * batch.target[:, 0, 0]
    uniform = 0.5 * (start / np.sqrt(3.0) + 1.0)
    assert np.abs(np.corrcoef(uniform, batch.t)[0, 1]) < 0.5
    assert np.min(np.abs(uniform[:, None] - batch.t)) > 1e-7


def test_units():
    family = family_of((30, 40, 50))
    setting, _, _ = prepare(SMALL, family)
    batch = cloud_setting.to_model_units(family.batch(np.arange(3)), setting)
    mu = moments(*batch)
    np.testing.assert_allclose(mu.mean.mean(axis=0), 0.0, atol=1e-12)
    total = np.sum(mu.mean**2, axis=1) + np.trace(mu.cov, axis1=1, axis2=2)
    assert np.mean(total) / 2 == pytest.approx(1.0, rel=1e-12)
    back = cloud_setting.to_data_units(batch, setting)
    np.testing.assert_allclose(back.points, family.batch(np.arange(3)).points, atol=1e-12)


# Flows between families


def test_flow_between_families_starts_at_members_of_the_source():
    source, target = family_of((4, 4, 4), seed=1), family_of((4, 4, 4), seed=2)
    config = config_of(source="family", inner="exact")
    run = prepare(config, target, source)
    batch = clouds.draw_batch(config, *run, 0)
    starts = batch.points - batch.t[:, None, None] * batch.target
    for points, end in zip(starts, ends(batch), strict=True):
        assert member_of(points, source, run[0]) is not None
        assert member_of(end, target, run[0]) is not None


def test_paired_families_keep_their_pairs():
    source, target = family_of((4, 2, 3), seed=1), family_of((5, 6, 7), seed=2)
    config = config_of(source="family", outer="paired", inner="independent", batch=20)
    run = prepare(config, target, source)
    batch = clouds.draw_batch(config, *run, 0)
    starts = batch.points - batch.t[:, None, None] * batch.target
    for points, mass, end in zip(starts, batch.weights, ends(batch), strict=True):
        member = member_of(points[mass > 0], source, run[0])
        own = (target.cloud(member).points - run[0].shift) / run[0].unit
        assert np.abs(end[:, None] - own).max(axis=-1).min(axis=1).max() < 1e-9


@pytest.mark.parametrize(
    ("changes", "source", "message"),
    [
        ({"source": "family"}, None, "needs a family"),
        ({}, family_of(), "takes no family"),
        ({"source": "family"}, family_of(d=3), "is 3-D, the target family 2-D"),
        ({"source": "family", "outer": "paired"}, family_of((2, 2)), "one member for each target"),
        ({"outer": "paired"}, None, "one member for each target"),
    ],
)
def test_sources_that_do_not_fit_are_refused(changes, source, message):
    with pytest.raises(ValueError, match=message):
        prepare(config_of(**changes), family_of(), source)


# Training


def shaken(params):
    rng = np.random.default_rng(0)
    return optim.tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)


def test_gradient_against_differences():
    config = config_of(label_drop=0.3)
    run = prepare(config, family_of(labels=LABELS))
    params = shaken(clouds.init_params(config, run[0]))
    batch = clouds.draw_batch(config, *run, 0)
    _, grads = cloud_loss_and_grad(params, batch, heads=2)
    for path, leaf in optim.flatten(params).items():
        direction = np.random.default_rng(1).standard_normal(leaf.shape)

        def value(h, path=path, direction=direction):
            flat = optim.flatten(params)
            flat[path] = flat[path] + h * direction
            return cloud_loss_and_grad(optim.unflatten(flat), batch, heads=2)[0]

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        truth = np.sum(optim.flatten(grads)[path] * direction)
        assert abs(slope - truth) < 1e-6 * (abs(truth) + 1e-2), path


def run_on(name, config, family, *, reference=False):
    backend = load(name, dtype="float64", reference=reference)
    model, families = models.prepare(config, family, backend)
    losses = []
    state = train(
        config,
        model.setting,
        families,
        family.labels,
        model.state,
        ops=backend.ops,
        every=1,
        report=lambda state, metrics: losses.append(metrics),
    )
    generated, _ = cloud_generation.sample(config, model.setting, trained(state), size=3, n_steps=2, seed=0)
    return map_arrays(to_host, (np.asarray(losses), state.params, generated))


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        *((name, inner) for name in ("numpy", "strict", "torch:cpu") for inner in ("exact", "auto")),
        pytest.param("jax:cpu", "exact", marks=pytest.mark.slow),
    ],
)
def test_the_same_run_on_every_library(name, inner):
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name.partition(":")[0]))
    # With a small eps several rows put all their mass, up to rounding, on one column: a tie that no two
    # libraries break alike.
    config = config_of(inner=inner, outer="frechet", steps=3, eps=0.1)
    family = family_of(labels=LABELS)
    truth = run_on("numpy", config, family, reference=True)
    result = run_on(name, config, family)
    np.testing.assert_allclose(result[0], truth[0], rtol=1e-6, atol=1e-9)
    for path, leaf in optim.flatten(truth[1]).items():
        found = optim.flatten(result[1])[path]
        # Adam divides small gradients by their size.
        np.testing.assert_allclose(found, leaf, rtol=0, atol=1e-6 * max(np.max(np.abs(leaf)), 1e-3))
    np.testing.assert_allclose(result[2].points, truth[2].points, atol=1e-5)


def test_it_learns_one_cloud():
    """A family of one cloud: everything generated must come to lie on it."""
    target = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    family = clouds_from_arrays([target], name="square")
    config = CloudConfig(
        steps=400, batch=16, width=32, depth=2, heads=2, hidden=32, n_frequencies=4, learning_rate=5e-3,
        decay=0.5, decay_every=100, inner="exact", ema=0.9,
    )  # fmt: skip
    backend = load("numpy", dtype="float64")
    model, families = models.prepare(config, family, backend)
    state = train(config, model.setting, families, None, model.state, ops=backend.ops)
    options = {"size": 20, "n_steps": 20, "seed": 0, "method": "midpoint"}
    error = {}
    for name, params in (("trained", trained(state)), ("start", clouds.init_params(config, model.setting))):
        generated, _ = cloud_generation.sample(config, model.setting, params, **options)
        gaps = np.linalg.norm(generated.points[:, :, None] - target, axis=-1)
        error[name] = np.mean(gaps.min(axis=1)) + np.mean(gaps.min(axis=2))
    assert error["trained"] < 0.6 * error["start"], error


def test_models_do_not_share_anything():
    """Two models trained in turns end as each alone: no option or parameter leaks from one to the other."""
    family = family_of()
    configs = [config_of(steps=6), config_of(steps=6, width=12, heads=3, inner="entropic", seed=5)]

    def alone(config):
        setting, families, _ = prepare(config, family)
        return train(config, setting, families, None, init_state(config, setting))

    runs = [(config, *prepare(config, family)[:2]) for config in configs]
    states = [init_state(config, setting) for config, setting, _ in runs]
    for step in range(1, 7):
        for i, (config, setting, families) in enumerate(runs):
            states[i] = train(dataclasses.replace(config, steps=step), setting, families, None, states[i])
    for config, state in zip(configs, states, strict=True):
        for path, leaf in optim.flatten(alone(config).params).items():
            np.testing.assert_array_equal(optim.flatten(state.params)[path], leaf, err_msg=path)


# Generation


def test_more_training_changes_what_is_generated():
    """Nothing remembers the parameters of an earlier call."""
    family = family_of()
    setting, families, _ = prepare(SMALL, family)
    first = train(SMALL, setting, families, None, init_state(SMALL, setting))
    options = {"size": 4, "n_steps": 3, "seed": 0}
    before, _ = cloud_generation.sample(SMALL, setting, trained(first), **options)
    longer = dataclasses.replace(SMALL, steps=9)
    second = train(longer, setting, families, None, first)
    after, _ = cloud_generation.sample(longer, setting, trained(second), **options)
    assert np.any(after.points != before.points)
    again, _ = cloud_generation.sample(longer, setting, trained(second), **options)
    np.testing.assert_array_equal(again.points, after.points)


def test_sizes_are_the_datas_or_those_asked_for():
    family = family_of((2, 7, 7, 7))
    setting, _, _ = prepare(SMALL, family)
    params = clouds.init_params(SMALL, setting)
    options = {"size": 100, "n_steps": 1, "seed": 0}
    drawn, _ = cloud_generation.sample(SMALL, setting, params, **options)
    counts = sizes(drawn)
    assert set(counts) == {2, 7}
    assert 0.5 < np.mean(counts == 7) < 0.95
    fixed, _ = cloud_generation.sample(SMALL, setting, params, **options, sizes=11)
    assert set(sizes(fixed)) == {11}
    each, _ = cloud_generation.sample(
        SMALL, setting, params, size=3, n_steps=1, seed=0, sizes=np.array([1, 5, 3])
    )
    assert [len(points) for points in unpad(each)] == [1, 5, 3]
    with pytest.raises(ValueError, match="sizes must be at least 1; got 0"):
        cloud_generation.sample(SMALL, setting, params, **options, sizes=0)


def test_guidance_moves_away_from_the_unconditional_field():
    config = config_of(label_drop=0.5)
    run = prepare(config, family_of(labels=LABELS))
    params = shaken(clouds.init_params(config, run[0]))
    options = {"size": 3, "n_steps": 1, "seed": 0, "labels": np.array([0, 1, 2])}
    start, _ = cloud_generation.sample(config, run[0], clouds.init_params(config, run[0]), **options)
    moves = [
        cloud_generation.sample(config, run[0], params, **options, guidance_weight=w)[0].points - start.points
        for w in (0.0, 1.0, -1.0)
    ]
    np.testing.assert_allclose(moves[1] + moves[2], 2.0 * moves[0], atol=1e-9)
    assert np.max(np.abs(moves[1] - moves[0])) > 1e-3


def test_labels_are_checked():
    run = prepare(SMALL, family_of(labels=LABELS))
    params = clouds.init_params(SMALL, run[0])
    with pytest.raises(ValueError, match="labels must be 2 integers from 0 to 2"):
        cloud_generation.sample(SMALL, run[0], params, size=2, n_steps=1, seed=0, labels=np.array([0, 3]))
    plain = prepare(SMALL, family_of())
    with pytest.raises(ValueError, match="unconditional"):
        cloud_generation.sample(
            SMALL,
            plain[0],
            clouds.init_params(SMALL, plain[0]),
            size=1,
            n_steps=1,
            seed=0,
            labels=np.array([0]),
        )


def test_a_setting_survives_its_file(tmp_path):
    model, _ = models.prepare(SMALL, family_of(labels=LABELS), PLACE)
    models.save_model(tmp_path / "model.safetensors", model, PLACE)
    again = models.load_model(tmp_path / "model.safetensors", PLACE)
    assert again.config == model.config
    assert kind_of(again.config) == "clouds"
    for one, two in zip(
        optim.flatten(clouds.pack(again.setting)[0]).items(),
        optim.flatten(clouds.pack(model.setting)[0]).items(),
        strict=True,
    ):
        assert one[0] == two[0]
        np.testing.assert_array_equal(one[1], two[1])


# Configurations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": "optimal"}, "inner must be one of auto, independent"),
        ({"outer": "exact"}, "outer must be one of"),
        ({"source": "noise"}, "source must be one of cholesky"),
        ({"source_size": "any"}, "source_size must be one of"),
        ({"scale_cost": "median"}, "scale_cost must be one of max, mean, none"),
        ({"eps": 0.0}, "eps must be finite and positive; got 0.0"),
        ({"eps": float("nan")}, "eps must be finite and positive; got nan"),
        ({"label_drop": 1.0}, "label_drop must be finite, not negative and less than 1"),
        ({"width": 9}, "multiple of heads; got 9 and 2"),
        ({"n_points": 0}, "n_points must be at least 1"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"hidden": 2.5}, "hidden must be of type int"),
    ],
)
def test_bad_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_of(**changes)


def test_a_misspelt_option_is_an_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'iner'"):
        CloudConfig(iner="exact")


def test_the_defaults_are_the_papers():
    config = CloudConfig()
    assert (config.depth, config.width, config.heads, config.batch) == (6, 512, 4, 64)
    assert (config.eps, config.sinkhorn_steps, config.scale_cost) == (0.002, 200, "max")
    assert set(INNER) >= {"exact", "rounded", "entropic", "argmax", "sampled", "independent"}
    assert REFERENCE.cloud_loss_and_grad is cloud_loss_and_grad
    assert REFERENCE.cloud_velocity is cloud_velocity


# What is fitted, far from the origin and at any scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-200, 0.0), (1e-150, 0.0), (1e150, 0.0), (1e200, 0.0), (1.0, 1e8)]
)
def test_a_family_has_its_unit_at_any_scale(rng, dtype, scale, offset):
    """In model units the family is the same; what it is fitted in is float64 whatever the run's dtype."""
    points = rng.standard_normal((40, 2))
    config = CloudConfig(steps=1, batch=2, width=4, depth=1, heads=1)
    found = []
    for family_points in (points, scale * points + offset):
        family = clouds_from_arrays(np.split(family_points, 4), name="a")
        setting, _ = clouds.prepare(config, family, None, load("numpy", dtype=dtype).asarray)
        found.append((setting, cloud_setting.to_model_units(family.batch(np.arange(4)), setting).points))
    (near, truth), (far, moved) = found
    assert far.unit == pytest.approx(scale * near.unit, rel=1e-7 if offset else 1e-12)
    np.testing.assert_allclose(moved, truth, atol=1e-6)  # of 1e8 in float64: eight digits
    np.testing.assert_allclose(far.source.mean, near.source.mean, atol=1e-6)
    arrays, numbers = clouds.pack(far)
    np.testing.assert_array_equal(clouds.unpack(arrays, json.loads(json.dumps(numbers))).shift, far.shift)


@pytest.mark.parametrize("device", ["device1", "no_float64"])
def test_a_run_on_another_device(device):
    """All of a run whose arrays NumPy cannot read, or without float64: the numbers of the CPU."""
    pytest.importorskip("array_api_strict")
    config = config_of(steps=1, batch=2, outer="sliced", inner="entropic", n_proj=2, sinkhorn_steps=5)
    losses = []
    for name in ("strict", f"strict:{device}"):
        backend = load(name, dtype="float32")
        setting, data = clouds.prepare(config, family_of(), None, backend.asarray)
        state = init_state(config, setting)
        state, metrics = algorithm.step(config, setting, data, None, state, ops=backend.ops)
        losses.append(float(metrics.loss))
        made, _ = cloud_generation.sample(config, setting, trained(state), size=2, n_steps=1, seed=0)
        assert np.all(np.isfinite(made.points))
    assert losses[0] == losses[1]


def test_names_that_are_no_noise_or_no_configuration():
    config = config_of(source="family")
    setting, _ = clouds.prepare(config, family_of(), family_of(seed=1), PLACE.asarray)
    with pytest.raises(ValueError, match="source = 'family' is no noise"):
        draw_source(config, setting, np.random.default_rng(0), np.array([2]))
    with pytest.raises(TypeError, match="a MetaCloudsConfig or a MetaFMConfig; got a dict"):
        kind_of({})


@pytest.mark.parametrize("wrong", [2.5, [1, 2, 3], "two"])
def test_sizes_of_new_clouds_are_integers(wrong):
    setting, _ = clouds.prepare(SMALL, family_of(), None, PLACE.asarray)
    params = init_state(SMALL, setting).params
    with pytest.raises(ValueError, match="sizes must be an integer, or 2 of them"):
        cloud_generation.sample(SMALL, setting, params, size=2, n_steps=1, seed=0, sizes=wrong)
