"""Continuous conditions: kept in families, read by networks, trained, saved, generated at, evaluated."""

from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from configurations import SMALL_CLOUDS
from hypothesis import given
from hypothesis import strategies as st

from refwfm.datasets import (
    CloudFamily,
    Family,
    clouds_from_anndata,
    clouds_from_arrays,
    from_anndata,
    gaussians_of,
    load,
    read_clouds,
    save_family,
    to_anndata,
)
from refwfm.measures import PointCloud
from refwfm.runs import evaluate_clouds, evaluate_gaussians, folders, models
from refwfm.runs.estimator import WassersteinFlow
from refwfm.training import algorithm, clouds, conditions, gaussians
from refwfm.training.algorithm import trained
from refwfm.training.cloud_generation import learned_field
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussians import sample

NAMES = ("age", "dose")
GAUSSIANS = GaussianConfig(steps=4, batch=6, width=8, depth=1, n_frequencies=2)
TINY = ("--steps", 2, "--batch", 3, "--width", 8, "--depth", 1, "--n-frequencies", 2)
CLOUD = ("--heads", 2, "--hidden", 8)


def family_of(n=12, labels=None, values=None, names=NAMES, spread=1.0):
    """Clouds of four points whose mean is (age, dose)."""
    rng = np.random.default_rng(0)
    values = rng.uniform([20.0, 0.0], [80.0, 3.0], (n, 2)) if values is None else np.asarray(values)
    points = values[:, None, :2] + spread * rng.standard_normal((n, 4, 2))
    family = clouds_from_arrays(points, labels=labels, name="own")
    return replace(family, conditions=values, condition_names=names)


# --- families


def test_members_keep_their_conditions(tmp_path):
    family = family_of(labels=list("aabbaabbaabb"))
    for each in (family, gaussians_of(family)):
        again = load(str(save_family(tmp_path / "own.npz", each)))
        assert again.condition_names == NAMES
        np.testing.assert_array_equal(again.conditions, family.conditions)
        some = again.subset([3, 1])
        np.testing.assert_array_equal(some.conditions, family.conditions[[3, 1]])
        assert some.condition_names == NAMES


def test_a_family_without_conditions_has_none_and_its_file_says_nothing(tmp_path):
    family = replace(family_of(), conditions=np.zeros((0, 0)), condition_names=())
    assert family.conditions.shape == (12, 0)
    with np.load(save_family(tmp_path / "own.npz", family)) as file:
        assert not [name for name in file if name.startswith("condition")]
    assert load(str(tmp_path / "own.npz")).conditions.shape == (12, 0)


@pytest.mark.parametrize("make", [lambda family: family, gaussians_of])
@pytest.mark.parametrize(
    ("values", "names", "error"),
    [
        (
            np.where(np.arange(24).reshape(12, 2) % 6, 1.0, np.nan),
            NAMES,
            "NaN or infinity in 4 of 12 rows",
        ),
        (np.ones((11, 2)), NAMES, r"shape \(12, 2\); got \(11, 2\)"),
        (np.ones((12, 2)), ("age",), r"shape \(12, 1\); got \(12, 2\)"),
        (np.ones((12, 2)), ("age", "age"), "distinct; got age, age"),
        (np.full((12, 2), "x"), NAMES, "real numbers"),
    ],
)
def test_conditions_that_are_none_are_refused(make, values, names, error):
    family = make(family_of())
    with pytest.raises((TypeError, ValueError), match=error):
        replace(family, conditions=values, condition_names=names)


def test_arrays_of_a_file(tmp_path):
    points, values = np.random.default_rng(0).standard_normal((5, 3, 2)), np.arange(10.0).reshape(5, 2)
    path = tmp_path / "own.npz"
    np.savez(path, points=points, conditions=values, condition_names=NAMES)
    family = read_clouds(path)
    np.testing.assert_array_equal(family.conditions, values)
    assert family.condition_names == NAMES
    np.savez(path, points=points, conditions=values)
    with pytest.raises(ValueError, match="go together; got conditions alone"):
        read_clouds(path)
    values[1:3, 0] = np.nan
    np.savez(path, points=points, conditions=values, condition_names=NAMES)
    with pytest.raises(ValueError, match="2 of 5 rows, the first in row 1"):
        read_clouds(path)


def cells(**columns):
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    obs = pandas.DataFrame(columns, index=[f"c{i}" for i in range(8)])
    return anndata.AnnData(obs=obs, obsm={"X_pca": np.random.default_rng(0).standard_normal((8, 3))})


def test_columns_of_cells():
    ages, doses = np.linspace(0.1, 0.8, 8), np.arange(8)
    data = cells(age=ages, dose=doses, sample=list("aaabbbbb"))
    read = {"k": 4, "pcs": 2, "by": "neighbourhood", "conditions": NAMES}
    for family in (from_anndata(data, **read), clouds_from_anndata(data, **read)):
        np.testing.assert_array_equal(family.conditions, np.column_stack([ages, doses]))
        table = to_anndata(family).obs
        assert table["member_dose"].iloc[-1] == 7.0
        assert table["member_dose"].dtype == np.float64
    data.obs["age"] = 0.1  # sums of tenths are rounded
    clusters = from_anndata(data, pcs=2, by="cluster", cluster_key="sample", conditions=NAMES)
    np.testing.assert_array_equal(clusters.conditions, [[0.1, 1.0], [0.1, 5.0]])


@pytest.mark.parametrize(
    ("column", "error"),
    [
        ([1.0, np.nan, 2.0, np.inf, *range(4)], "no finite value for 2 of 8 cells"),
        (list("aaaabbbb"), "column of numbers; got 'a'"),
    ],
)
def test_columns_that_are_no_conditions(column, error):
    with pytest.raises(ValueError, match=error):
        from_anndata(cells(age=column), k=4, pcs=2, by="neighbourhood", conditions=["age"])
    with pytest.raises(ValueError, match="'dose' is no column of obs; there are age"):
        from_anndata(cells(age=column), k=4, pcs=2, by="neighbourhood", conditions=["dose"])


# --- what the network is shown


@given(unit=st.sampled_from([1e-150, 1.0, 1e150]), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 9))
def test_standardised_in_any_unit(unit, shift, seed):
    values = unit * (shift + np.random.default_rng(seed).standard_normal((9, 2)))
    known = conditions.fit_conditions(family_of(9, values=values, spread=0.0), conditional=True)
    z = (values - known.mean) / known.deviation
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-11)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-11)


def test_a_constant_condition_is_zero():
    values = np.full((12, 2), 0.1)
    known = conditions.fit_conditions(family_of(values=values), conditional=True)
    np.testing.assert_array_equal((values - known.mean) / known.deviation, 0.0)


def prepared(config, family):
    if isinstance(config, GaussianConfig):
        family = gaussians_of(family) if isinstance(family, CloudFamily) else family
    return models.prepare(config, family, models.Host("float64"))


def test_vectors_are_class_and_standardised_numbers():
    family = family_of(labels=list("aabbaabbaabb"))
    setting = prepared(GAUSSIANS, family)[0].setting
    values = family.conditions[:2].copy()
    values[1, 0] = np.nan
    shown = conditions.shown_to_network(setting, family.labels[:2], values)
    want = (family.conditions[0] - family.conditions.mean(axis=0)) / family.conditions.std(axis=0)
    np.testing.assert_allclose(shown[0], [1.0, 0.0, *want], rtol=1e-12)
    assert np.isnan(shown[1]).all()


@pytest.mark.parametrize(("config", "flow"), [(GAUSSIANS, gaussians), (SMALL_CLOUDS, clouds)])
def test_a_target_keeps_its_conditions_whatever_the_matching(config, flow):
    """The conditions are the targets' means, so that a pair with another's is seen at t = 1."""
    family = family_of(spread=0.0)
    matching = {"matching": True} if flow is gaussians else {"outer": "wasserstein", "label_drop": 0.5}
    if flow is clouds:  # one point on each other: nothing to couple inside
        matching |= {"inner": "exact"}
    config = replace(config, **matching, batch=40)
    model, data = prepared(config, family)
    batch = flow.draw_batch(config, model.setting, data, None, 0, ops=models.Host().ops)
    seen = np.asarray(batch.labels)
    hidden = np.isnan(seen).all(axis=-1)
    assert not np.isnan(seen[~hidden]).any()
    assert hidden.any() == (flow is clouds)
    known, setting = model.setting.conditions, model.setting
    wanted = seen * known.deviation + known.mean
    if flow is gaussians:
        end = batch.mu_t.mean + (1.0 - batch.t[:, None]) * batch.target[0]
    else:
        end = (batch.points + (1.0 - batch.t[:, None, None]) * batch.target)[:, 0]
    moved = end * setting.unit + setting.shift
    np.testing.assert_allclose(moved[~hidden], wanted[~hidden], atol=1e-9)


# --- runs


@pytest.mark.parametrize("config", [GAUSSIANS, SMALL_CLOUDS])
def test_conditions_change_what_is_generated(config):
    model, _ = prepared(config, family_of())
    params = trained(model.state)
    rng = np.random.default_rng(0)
    moved = _jittered(params, rng)
    model = model._replace(state=model.state._replace(params=moved, ema=None))
    at = conditions.at_named(model.setting, {"dose": 1.0, "age": 30.0}, 3)
    np.testing.assert_array_equal(at, np.tile([30.0, 1.0], (3, 1)))
    one, same, other = (_generated(model, each) for each in (at, at, at + 5.0))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6


def _jittered(tree, rng):
    if isinstance(tree, dict):
        return {name: _jittered(each, rng) for name, each in tree.items()}
    return tree + 0.3 * rng.standard_normal(tree.shape)


def _generated(model, at):
    if isinstance(model.config, GaussianConfig):
        made = evaluate_gaussians.generate_with(
            model, models.Host("float64"), size=3, n_steps=2, seed=0, conditions=at
        )
        return made[0].mean
    return evaluate_clouds.generate_with(model, size=3, n_steps=2, seed=0, conditions=at, sizes=4)[0].points


def test_a_flow_learns_the_condition():
    """Means are (age, dose) themselves: generated ones follow; without conditions they cannot."""
    rng = np.random.default_rng(1)
    family = gaussians_of(family_of(60, values=rng.uniform(-3.0, 3.0, (60, 2)), spread=0.1))
    config = replace(GAUSSIANS, steps=300, batch=32, width=32, learning_rate=5e-3)
    errors = {}
    for conditional in (True, False):
        model, data = prepared(replace(config, conditional=conditional), family)
        host = models.Host("float64")
        state = algorithm.train(model.config, model.setting, data, None, model.state, ops=host.ops)
        asked = {"conditions": family.conditions} if conditional else {}
        made, _ = sample(model.config, model.setting, trained(state), size=60, n_steps=10, seed=0, **asked)
        errors[conditional] = np.sqrt(np.mean((made.gaussian.mean - family.conditions) ** 2))
    assert errors[True] < 0.8
    assert errors[False] > 2.0


def test_unconditional_models_of_both_families_are_the_same():
    """A family without conditions, and one with them that are not asked for, give one and the same run."""
    family = family_of()
    plain = replace(family, conditions=np.zeros((0, 0)), condition_names=())
    for config, flow in ((GAUSSIANS, gaussians), (SMALL_CLOUDS, clouds)):
        with_them, _ = prepared(replace(config, conditional=False), family)
        without, _ = prepared(config, plain)
        assert with_them.setting.conditions is without.setting.conditions is None
        arrays, numbers = flow.pack(without.setting)
        assert "conditions" not in arrays | numbers
        one, other = (_flat(each.state.params) for each in (with_them, without))
        np.testing.assert_array_equal(one, other)


def _flat(tree):
    if isinstance(tree, dict):
        return np.concatenate([_flat(tree[name]) for name in sorted(tree)])
    return np.ravel(np.asarray(tree))


@pytest.mark.parametrize("config", [GAUSSIANS, SMALL_CLOUDS])
def test_saved_loaded_and_resumed(config, tmp_path):
    family = family_of(labels=list("aabbaabbaabb"))
    family = gaussians_of(family) if config is GAUSSIANS else family
    host = models.Host()
    whole = folders.train(config, family, host, tmp_path / "whole", run={})
    half = tmp_path / "half"
    folders.train(replace(config, steps=2), family, host, half, run={})
    again = folders.train(config, family, host, half, run={}, resume=True)
    np.testing.assert_array_equal(_flat(whole.state.params), _flat(again.state.params))
    known = models.load_model(half, host).setting.conditions
    np.testing.assert_array_equal(known.values, family.conditions)  # in float64, in a run in float32
    np.testing.assert_array_equal(known.labels, family.labels)
    assert known.names == NAMES
    np.testing.assert_array_equal(known.mean, again.setting.conditions.mean)
    other = replace(family, conditions=family.conditions + 1.0)
    with pytest.raises(folders.RunError, match="other data"):
        folders.train(config, other, host, half, run={}, resume=True)


# --- what is asked for


def test_conditions_left_out_are_of_a_member_with_its_label():
    family = family_of(labels=list("aabbaabbaabb"))
    setting = prepared(GAUSSIANS, family)[0].setting
    pairs = {(int(label), *row) for label, row in zip(family.labels, family.conditions, strict=True)}
    for labels in (None, np.array([0, 1, 1, 0] * 10)):
        rng = np.random.default_rng(0)
        got, values = conditions.wanted_conditions(setting, labels, None, 40, rng=rng)
        assert {(int(label), *row) for label, row in zip(got, values, strict=True)} <= pairs
        assert len(np.unique(values[:, 0])) > 6
        if labels is not None:
            np.testing.assert_array_equal(got, labels)


def test_what_the_model_does_not_have_is_refused():
    setting = prepared(GAUSSIANS, family_of())[0].setting
    for asked, words in (
        ({"age": 1.0}, "age, dose; got age"),
        ({"age": 1.0, "dose": 1.0, "sex": 0.0}, "got age, dose, sex"),
        ({"age": 1.0, "dose": np.nan}, "must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            conditions.at_named(setting, asked, 3)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), for age, dose; got shape \(3, 1\)"):
        conditions.wanted_conditions(setting, None, np.ones((3, 1)), 3, rng=rng)
    plain = setting._replace(conditions=None)
    with pytest.raises(ValueError, match="without conditions; got age"):
        conditions.at_named(plain, {"age": 1.0}, 3)
    with pytest.raises(ValueError, match="trained without"):
        conditions.wanted_conditions(plain, None, np.ones((3, 2)), 3, rng=rng)


def test_conditions_beyond_training_are_named():
    setting = prepared(GAUSSIANS, family_of(2, values=[[20.0, 0.0], [80.0, 3.0]]))[0].setting
    inside = np.array([[20.0, 3.0]])
    assert conditions.out_of_range(setting, inside) == []
    (line,) = conditions.out_of_range(setting, np.array([[95.0, 1.0], [90.0, 1.0]]))
    assert line == "age = 95 is outside of what training has seen, 20 ... 80"


@pytest.mark.parametrize("clouds_too", [False, True])
def test_the_command(tmp_path, clouds_too):
    family = family_of(30, labels=list("ab" * 15))
    family = family if clouds_too else gaussians_of(family)
    save_family(tmp_path / "own.npz", family)
    run, out = tmp_path / "run", tmp_path / "out.npz"
    more = CLOUD if clouds_too else ()
    succeed("train", "--data", tmp_path / "own.npz", "--out", run, *TINY, *more, "--hold-out", "0.2")
    told = succeed("generate", run, "--size", 3, "--steps", 2, "--at", "dose=1,age=300", "--out", out)
    assert "age = 300 is outside of what training has seen" in told
    made = load(str(out))
    assert made.condition_names == NAMES
    np.testing.assert_array_equal(made.conditions, [[300.0, 1.0]] * 3)
    told = succeed("generate", run, "--size", 3, "--steps", 2, "--label", "b", "--out", out, "--force")
    assert "outside" not in told
    made = load(str(out))
    assert isinstance(made, CloudFamily if clouds_too else Family)
    of_b = family.conditions[family.labels == 1].tolist()
    assert all(row in of_b for row in made.conditions.tolist())
    succeed("evaluate", run, "--seeds", 1, "--steps", 2, "--size", 4)
    for at, words in (
        ("age=3", ("age, dose", "got age")),
        ("age", ("--at is NAME=NUMBER", "'age'")),
        ("age=1,age=2", ("given once",)),
    ):
        assert_error(refwfm("generate", run, "--at", at, "--out", tmp_path / "no.npz"), *words)
    plain = replace(family, conditions=np.zeros((0, 0)), condition_names=())
    save_family(tmp_path / "plain.npz", plain)
    refused = refwfm("evaluate", run, "--data", tmp_path / "plain.npz", "--seeds", 1, "--steps", 2)
    assert_error(refused, "conditioned on age, dose", "no conditions")
    succeed("train", "--data", tmp_path / "plain.npz", "--out", tmp_path / "no", *TINY, *more)
    refused = refwfm("generate", tmp_path / "no", "--at", "age=3", "--out", tmp_path / "no.npz")
    assert_error(refused, "without conditions")


@pytest.mark.parametrize("config", [GAUSSIANS, SMALL_CLOUDS])
def test_held_out_members_are_compared_at_their_conditions(config):
    family = family_of(8)
    model, _ = prepared(config, family)
    if config is GAUSSIANS:
        asked = models.conditions_of(model, family, np.arange(10) % 8)
        np.testing.assert_array_equal(asked["conditions"], family.conditions[[*range(8), 0, 1]])
        return
    asked = evaluate_clouds.conditions_of_subsample(model, family, 5, seed=3)
    real = evaluate_clouds.subsample(
        replace(family, points=np.repeat(family.conditions, 4, axis=0)), 5, config, seed=3
    )
    np.testing.assert_array_equal(asked["conditions"], real.points[:, 0])


def test_guidance_goes_away_from_no_condition():
    family = family_of()
    model, data = prepared(replace(SMALL_CLOUDS, label_drop=0.5), family)
    params = _jittered(model.state.params, np.random.default_rng(0))
    batch = clouds.draw_batch(model.config, model.setting, data, None, 0, ops=models.Host().ops)
    cloud, shown = PointCloud(batch.points, batch.weights), np.ones_like(np.asarray(batch.labels))
    at, none, guided = (
        learned_field(model.config, params, labels, guidance_weight=weight)(cloud, batch.t)
        for labels, weight in ((shown, 0.0), (np.full_like(shown, np.nan), 0.0), (shown, 1.0))
    )
    assert np.abs(at - none).max() > 1e-3
    np.testing.assert_allclose(guided, 2.0 * at - none, rtol=1e-12, atol=1e-12)


def test_the_estimator_samples_at_conditions():
    options = {"heads": 2, "hidden": 8}
    flow = WassersteinFlow(steps=2, batch=4, width=8, depth=1, options=options).fit(family_of())
    assert len(flow.sample(2, at={"age": 30.0, "dose": 1.0}, n_steps=2)) == 2
    with pytest.raises(ValueError, match="age, dose; got dose"):
        flow.sample(2, at={"dose": 1.0}, n_steps=2)
