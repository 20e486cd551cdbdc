"""Meta Flow Matching as a run: batches, training, resuming, prediction, evaluation, the commands."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from conftest import LIBRARIES
from test_runs import DIES_AT_FILE_EVENTS, assert_same_end, finish, start

from refwfm import backends
from refwfm.datasets import PopulationFamily, clouds_from_arrays, load, save_family, save_populations
from refwfm.metrics.populations import wasserstein1, wasserstein2
from refwfm.populations.floors import ideal_shift, mean_shift
from refwfm.runs import folders, models
from refwfm.runs.evaluate_populations import evaluate
from refwfm.storage import checkpoints
from refwfm.training import algorithm, meta_fm, optim
from refwfm.training.algorithm import trained
from refwfm.training.config import MetaFMConfig
from refwfm.training.flows import flow_of
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import flatten
from refwfm.training.population_prediction import named_condition, predict

TINY = MetaFMConfig(
    steps=6,
    batch=3,
    particles=8,
    width=8,
    depth=2,
    neighbours=2,
    graph_layers=2,
    graph_width=8,
    n_time=4,
    n_space=4,
    learning_rate=1e-2,
)
SMALL = ("--batch", 3, "--particles", 8, "--width", 8, "--depth", 1, "--graph-width", 8, "--log-every", 1)
VARIANTS = {
    "fm": {"variant": "fm"},
    "cgfm": {"variant": "cgfm"},
    "mfm": {},
    "from noise": {"start": "noise"},
    "optimal pairs": {"pairs": "optimal"},
    "alternate": {"alternate": True},
    "attention": {"attention": 8, "heads": 2},
    "kernels": {"kernels": 2, "reads": 4, "particles": 5},
    "moments": {"pooling": "moments"},
    "rotate": {"rotate": True},
    "plain": {"skip": False},
    "Deep Sets": {"neighbours": 0},
    "repeated": {"particles": 20},
}


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)


@pytest.fixture
def backend():
    return backends.load("numpy", dtype="float64")


def company(seed=0, n=12, d=2, held=3, marks=False, treatments=("up", "down"), sizes=(9, 15), name="company"):
    """Two kinds of particles; all of a population move by what their shares say, up or down."""
    rng = np.random.default_rng(seed)
    before, after, shares = [], [], np.linspace(0.1, 0.9, n)[rng.permutation(n)]
    conditions = np.eye(2)[np.arange(n) % 2] if treatments else np.zeros((n, 0))
    for share, condition in zip(shares, conditions, strict=True):
        size = int(rng.integers(*sizes))
        ends = np.where(np.arange(size) < share * size, 2.0, -2.0)
        shift = (8.0 * (share - 0.5) ** 2 - 1.0) * (condition @ [1.0, -1.0] if treatments else 1.0)
        x = np.stack([ends, *np.zeros((d - 1, size))], axis=-1) + 0.3 * rng.standard_normal((size, d))
        before.append(x)
        after.append(x + np.eye(d)[1] * shift)
    source, target = (clouds_from_arrays(each, name=name) for each in (before, after))
    return PopulationFamily(
        name=name,
        source=source,
        target=target,
        paired=True,
        marks=rng.uniform(size=(len(source.points), 2)) if marks else None,
        conditions=conditions,
        condition_names=treatments,
        parts=np.repeat([0, 1, 2], [n - held, 1, held - 1]),
        members=tuple(f"sample {i}" for i in range(n)),
    )


def fitted(config, family, backend, every=1, losses=None):
    model, data = models.prepare(config, family, backend)
    state = algorithm.train(
        *(config, model.setting, data, None, model.state),
        ops=backend.ops,
        every=every,
        report=lambda state, metrics: None if losses is None else losses.append(metrics.loss),
    )
    return model._replace(state=state)


def ask(model, x, **options):
    options = {"rng": np.random.default_rng(0), "n_steps": 3, **options}
    return predict(model.config, model.setting, trained(model.state), x, **options)


def assert_same_tree(tree, other):
    tree, other = flatten(tree), flatten(other)
    assert tree.keys() == other.keys()
    for name, array in tree.items():
        np.testing.assert_array_equal(array, other[name])


# Batches and settings


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_stands_alone_and_a_setting_comes_back(backend, name):
    config = replace(TINY, **VARIANTS[name])
    setting, data = meta_fm.prepare(config, company(marks=True), None, backend.asarray)
    assert flow_of(config) is meta_fm
    first, again, other = (
        meta_fm.draw_batch(config, setting, data, None, step, ops=REFERENCE) for step in (3, 3, 5)
    )
    np.testing.assert_array_equal(first.particles.x0, again.particles.x0)
    np.testing.assert_array_equal(first.particles.t, again.particles.t)
    assert not np.array_equal(first.particles.x0, other.particles.x0)
    params = meta_fm.init_params(config, setting)
    losses = [
        meta_fm.loss_and_grad(config, setting, params, each, ops=REFERENCE)[0] for each in (first, again)
    ]
    assert losses[0] == losses[1] > 0
    arrays, numbers = meta_fm.pack(setting)
    back = meta_fm.unpack(arrays, json.loads(json.dumps(numbers)))
    for had, got in zip(setting, back, strict=True):
        np.testing.assert_array_equal(had, got)


def test_units_are_those_of_the_training_populations(backend):
    family = company()
    setting, data = meta_fm.prepare(TINY, family, None, backend.asarray)
    points = np.concatenate([family.part("train").source.points, family.part("train").target.points])
    np.testing.assert_allclose(setting.shift, points.mean(axis=0))
    assert setting.scale == pytest.approx(np.sqrt(points.var(axis=0).mean()))
    assert (setting.populations, setting.condition_names, setting.marks) == (9, ("up", "down"), 0)
    batch = meta_fm.draw_batch(TINY, setting, data, None, 0, ops=REFERENCE).particles
    known = np.round((points - setting.shift) / setting.scale, 9).tolist()
    assert all(row in known for row in np.round(batch.x0, 9).reshape(-1, 2).tolist())


def test_only_training_populations_are_trained_on(backend):
    family = company()
    here, there = family.source.points.copy(), family.source.points.copy()
    start = family.source.offsets[9]  # the first that is held out
    here[start:] += 100.0
    there[0] += 1.0
    changed = [
        replace(family, source=replace(family.source, points=points))
        for points in (family.source.points, here)
    ]
    plain, other = (fitted(TINY, each, backend).state.params for each in changed)
    assert_same_tree(plain, other)
    seen = fitted(TINY, replace(family, source=replace(family.source, points=there)), backend).state.params
    assert not np.array_equal(seen["velocity"]["out"]["weight"], plain["velocity"]["out"]["weight"])


def test_an_embedding_reads_each_particle_of_a_small_population_once(backend):
    family = company(marks=True)
    config = replace(TINY, particles=12, batch=9)
    setting, data = meta_fm.prepare(config, family, None, backend.asarray)
    batch = meta_fm.draw_batch(config, setting, data, None, 0, ops=REFERENCE).particles
    read, sizes = batch.population, []
    for x, marks, live in zip(read.x, read.marks, read.mask, strict=True):
        alive = np.round(x[live] * setting.scale + setting.shift, 9)
        (i,) = (i for i in range(9) if alive[0].tolist() in np.round(data.source.cloud(i).points, 9).tolist())
        assert len(np.unique(alive, axis=0)) == len(alive) == min(12, data.source.sizes[i])
        rows = slice(data.source.offsets[i], data.source.offsets[i + 1])
        both = np.round(np.concatenate([data.source.points[rows], data.marks[rows]], axis=1), 9).tolist()
        assert all([*a.tolist(), *b] in both for a, b in zip(alive, np.round(marks[live], 9), strict=True))
        sizes.append(len(alive))
    assert min(sizes) < 12
    large = meta_fm.draw_batch(replace(config, particles=8), setting, data, None, 0, ops=REFERENCE).particles
    assert large.population.mask is None
    np.testing.assert_array_equal(large.population.x, large.x0)


def test_particles_that_are_read_do_not_move(backend):
    family, config = company(marks=True), replace(TINY, particles=5, reads=4)
    setting, data = meta_fm.prepare(config, family, None, backend.asarray)
    batch = meta_fm.draw_batch(config, setting, data, None, 0, ops=REFERENCE).particles
    assert batch.x0.shape[1:] == (5, 2)
    assert batch.population.x.shape[1:] == (4, 2)
    for moving, read, marks in zip(batch.x0, batch.population.x, batch.population.marks, strict=True):
        both = np.round(np.concatenate([moving, read]) * setting.scale + setting.shift, 9)
        assert len(np.unique(both, axis=0)) == 9
        rows = [np.flatnonzero((np.round(data.source.points, 9) == x).all(axis=1))[0] for x in both[5:]]
        np.testing.assert_array_equal(marks, data.marks[rows])


def test_both_ends_of_a_population_turn_alike(backend):
    family, config = company(), replace(TINY, batch=9, rotate=True)
    setting, data = meta_fm.prepare(config, family, None, backend.asarray)
    batches = [
        meta_fm.draw_batch(replace(config, rotate=turns), setting, data, None, 0, ops=REFERENCE).particles
        for turns in (True, False)
    ]
    turned, plain = (np.concatenate([each.x0, each.x1], axis=1) for each in batches)
    assert np.abs(turned - plain).max() > 0.5
    for a, b in zip(turned, plain, strict=True):
        np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-12)  # lengths, and angles between all of them
        angle = np.arctan2(a[:, 1], a[:, 0]) - np.arctan2(b[:, 1], b[:, 0])
        np.testing.assert_allclose(np.exp(1j * angle), np.exp(1j * angle[0]), atol=1e-9)  # and no reflection
    with pytest.raises(ValueError, match="rotate is for data in the plane; company is in dimension 3"):
        meta_fm.prepare(config, company(d=3), None, backend.asarray)


def test_optimal_pairs_and_noise(backend):
    setting, data = meta_fm.prepare(TINY, company(), None, backend.asarray)
    given, optimal, noise = (
        meta_fm.draw_batch(replace(TINY, **options), setting, data, None, 0, ops=REFERENCE).particles
        for options in ({}, {"pairs": "optimal"}, {"start": "noise"})
    )
    shifts = given.x1 - given.x0
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[:, :1], shifts.shape), atol=1e-12)
    assert np.sum((optimal.x1 - optimal.x0) ** 2) < 1.5 * np.sum(shifts**2)
    np.testing.assert_array_equal(noise.population.x, given.x0)  # the embedding reads the data
    assert not np.any(noise.x0 == given.x0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variant": "fm", "alternate": True}, "alternate is for variant 'mfm'"),
        ({"variant": "cgfm", "attention": 8}, "attention is for variant 'mfm'"),
        ({"variant": "fm", "reads": 8}, "reads is for variant 'mfm'"),
        ({"attention": 6, "heads": 4}, "attention must be a multiple of heads = 4; got 6"),
        ({"skip": False, "depth": 1}, "depth must be at least 2 for a plain perceptron"),
        ({"n_time": 5}, "n_time must be even"),
        ({"variant": "wfm"}, "variant must be one of fm, cgfm, mfm; got 'wfm'"),
        ({"pooling": "sum"}, "pooling must be one of mean, moments, mean-max"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **options)


def test_neighbourhoods_in_prediction_are_as_large_as_in_training(backend):
    """8 particles are read in training, 2 neighbours of each; of 16 it is 4."""
    config = replace(TINY, proportional=True)
    model = fitted(config, company(), backend)
    x = np.random.default_rng(1).standard_normal((16, 2))
    condition = np.array([1.0, 0.0])
    grown = ask(model, x, condition=condition)
    four, two = (
        ask(model._replace(config=replace(TINY, neighbours=k)), x, condition=condition) for k in (4, 2)
    )
    np.testing.assert_array_equal(grown, four)
    assert not np.array_equal(grown, two)
    few = [ask(model._replace(config=each), x[:8], condition=condition) for each in (config, TINY)]
    np.testing.assert_array_equal(*few)


def test_there_is_no_source_family(backend):
    with pytest.raises(ValueError, match="populations have their own"):
        meta_fm.prepare(TINY, company(), company(), backend.asarray)


# Training


def test_parts_that_take_turns(backend):
    """Even steps leave the velocity, odd ones the embedding; Adam counts the steps of each part alone."""
    config = replace(TINY, alternate=True, steps=1, ema=0.0)
    plain = backends.load("numpy", dtype="float64", reference=True)
    model, data = models.prepare(config, company(), plain)
    state = model.state
    own = {part: (state.params[part], optim.init_adam(state.params[part])) for part in state.params}
    for step in range(5):
        moving = ("embedding", "velocity")[step % 2]
        batch = meta_fm.draw_batch(config, model.setting, data, None, step, ops=REFERENCE)
        assert batch.parts == (moving,)
        _, grads = meta_fm.loss_and_grad(config, model.setting, state.params, batch, ops=REFERENCE)
        assert list(grads) == [moving]
        grads, _ = optim.clip_by_global_norm(grads, config.clip_norm)
        own[moving] = optim.adam(
            own[moving][0], grads[moving], own[moving][1], learning_rate=config.learning_rate
        )
        state, _ = algorithm.step(config, model.setting, data, None, state, ops=REFERENCE)
        for part, (params, _) in own.items():
            assert_same_tree(state.params[part], params)
    assert state.adam.steps == 5
    first = flatten(model.state.params["embedding"])
    assert any(np.any(first[name] != leaf) for name, leaf in flatten(state.params["embedding"]).items())


@pytest.mark.parametrize("library", [name for name in LIBRARIES if ":" not in name and name != "jax"])
@pytest.mark.parametrize("name", ["mfm", "fm", "alternate", "attention", "repeated"])
def test_a_step_is_the_same_on_every_library(library, name):
    pytest.importorskip(library)
    library = "strict" if library == "array_api_strict" else library
    place = backends.load(library, dtype="float64")
    plain = backends.load("numpy", dtype="float64", reference=True)
    config = replace(TINY, steps=3, **VARIANTS[name])
    ours, theirs = (fitted(config, company(marks=True), each) for each in (place, plain))
    other = flatten(ours.state.params)
    for key, array in flatten(theirs.state.params).items():
        np.testing.assert_allclose(place.to_numpy(other[key]), array, rtol=1e-6, atol=1e-8)
    x, marks = company().source.points[:6], np.ones((6, 2))
    options = {"marks": marks, "condition": np.asarray([1.0, 0.0])}
    np.testing.assert_allclose(ask(ours, x, **options), ask(theirs, x, **options), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("s", [1e-100, 1e-3, 1e100])
def test_the_unit_of_the_data_does_not_matter(dtype, s):
    place, family, losses = backends.load("numpy", dtype=dtype), company(), ([], [])
    ends = []
    for factor, into in zip((1.0, s), losses, strict=True):
        clouds = [replace(each, points=factor * each.points) for each in (family.source, family.target)]
        scaled = replace(family, source=clouds[0], target=clouds[1])
        model = fitted(TINY, scaled, place, losses=into)
        ends.append(ask(model, clouds[0].points[:7], condition=np.eye(2)[0]) / factor)
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
    np.testing.assert_allclose(ends[1], ends[0], atol=tolerance)


def test_a_population_that_is_read_is_predicted_better(backend):
    """Held-out populations, whose shift only their shares tell: read, it is found; unread, it cannot be."""
    family = company(n=40, held=8, treatments=(), sizes=(60, 90))
    config = replace(
        TINY,
        steps=400,
        batch=8,
        particles=32,
        width=32,
        graph_width=16,
        neighbours=0,
        decay=0.97,
        decay_every=10,
    )
    errors = {}
    for variant in ("fm", "mfm"):
        found = evaluate(
            fitted(replace(config, variant=variant), family, backend), family, part="test", n_steps=5
        )
        errors[variant] = np.mean(found.numbers["model"]["w2"])
    floors = {row: np.mean(each["w2"]) for row, each in found.numbers.items()}
    assert errors["mfm"] < 0.5 * errors["fm"]
    assert errors["mfm"] < 0.5 * min(floors["identity"], floors["mean_shift"])


# Runs in folders


@pytest.mark.parametrize("name", ["mfm", "from noise", "optimal pairs", "alternate", "cgfm"])
def test_a_run_that_was_stopped_ends_in_the_same_numbers(tmp_path, backend, name):
    config, family = replace(TINY, **VARIANTS[name]), company()
    options = {"run": {"kind": "meta-fm"}, "log_every": 1, "checkpoint_every": 2}
    folders.train(config, family, backend, tmp_path / "whole", **options)

    def stop(report):
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folders.train(config, family, backend, tmp_path / "broken", progress=stop, **options)
    folders.train(config, family, backend, tmp_path / "broken", resume=True, **options)
    (whole, about), (broken, other) = (
        checkpoints.load(models.newest_checkpoint(tmp_path / each)) for each in ("whole", "broken")
    )
    assert about == other
    assert whole.keys() == broken.keys()
    for key, array in whole.items():
        assert array.tobytes() == broken[key].tobytes(), key
    with pytest.raises(folders.RunError, match="width = 8"):
        folders.train(replace(config, width=9), family, backend, tmp_path / "whole", resume=True, **options)
    moved = replace(family, target=replace(family.target, points=family.target.points + 1.0))
    with pytest.raises(folders.RunError, match="trained on other data"):
        folders.train(replace(config, steps=9), moved, backend, tmp_path / "whole", resume=True, **options)


def test_killed_and_resumed_a_run_ends_with_the_very_same_numbers(tmp_path):
    save_populations("mine.npz", company())
    command = ["train", "--kind", "meta-fm", "--data", "mine.npz", "--alternate", "--quiet", *SMALL]
    command += ["--steps", 4, "--checkpoint-every", 1]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    code, _, err = finish(start("-c", DIES_AT_FILE_EVENTS, whole, folder, "12 15", *command))
    assert code == 0, err
    code, _, err = finish(start("-m", "refwfm", *command, "--out", folder, "--resume"))
    assert code == 0, err
    assert_same_end(folder, whole)


def test_a_deep_model_from_a_file_is_the_one_that_was_saved(tmp_path, backend):
    """Files sort names: layer "10" comes before "2" there."""
    for options in ({"depth": 13, "graph_layers": 12}, {"depth": 1, "graph_layers": 1}):
        config, family = replace(TINY, steps=3, ema=0.0, **options), company()
        folder = tmp_path / str(config.depth)
        saved = folders.train(config, family, backend, folder, run={}, log_every=1)
        read = models.load_model(folder, backend)
        x = family.source.points[:9]
        np.testing.assert_array_equal(*(ask(each, x, condition=np.eye(2)[0]) for each in (saved, read)))
        folders.train(replace(config, steps=5), family, backend, folder, run={}, resume=True, log_every=1)


# Prediction


def test_the_order_of_particles_has_no_influence(backend, rng):
    model = fitted(TINY, company(), backend)
    x, c = company().source.cloud(0).points, np.eye(2)[0]
    order = rng.permutation(len(x))
    found = ask(model, x, condition=c)
    np.testing.assert_allclose(ask(model, x[order], condition=c), found[order], atol=1e-12)
    some = np.asarray([4, 1])
    np.testing.assert_allclose(ask(model, x, moved=some, condition=c), found[some], atol=1e-12)
    assert np.abs(found - ask(model, x[:5], condition=c)[0]).max() > 0


def test_what_each_variant_knows(backend):
    family = company()
    x, c = family.source.cloud(0).points, np.eye(2)[0]
    alone = {}
    for name in ("fm", "mfm", "cgfm", "from noise"):
        model = fitted(replace(TINY, steps=20, ema=0.0, **VARIANTS[name]), family, backend)
        alone[name] = np.abs(ask(model, x, condition=c)[:3] - ask(model, x[:3], condition=c)).max()
        up, down = (ask(model, x, condition=each) for each in np.eye(2))
        assert np.abs(up - down).max() > 1e-3
        if name == "cgfm":
            numbers = [ask(model, x, condition=c, number=i) for i in (None, 0, 1)]
            assert np.abs(numbers[1] - numbers[2]).max() > 1e-6
            assert np.abs(numbers[0] - numbers[1]).max() > 1e-6
        else:
            np.testing.assert_array_equal(ask(model, x, condition=c, number=1), up)
    assert max(alone["fm"], alone["cgfm"]) < 1e-12
    assert alone["mfm"] > 1e-6
    with pytest.raises(ValueError, match="ids must be integers from 0 to 8"):
        ask(fitted(replace(TINY, variant="cgfm"), family, backend), x, condition=c, number=9)


def test_populations_of_one_particle_of_equal_ones_and_of_few(backend):
    for options in ({}, {"attention": 8, "heads": 2}, {"pooling": "mean-max"}):
        model, c = fitted(replace(TINY, neighbours=5, **options), company(), backend), np.eye(2)[0]
        one = ask(model, np.ones((1, 2)), condition=c)
        same = ask(model, np.ones((6, 2)), condition=c)
        np.testing.assert_allclose(same, np.broadcast_to(one, (6, 2)), atol=1e-12)
        assert np.all(np.isfinite(ask(model, company().source.points[:3], condition=c)))


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (np.full((3, 2), np.nan), {}, "a population must be finite; got NaN"),
        (np.ones((3, 3)), {}, r"a population must have shape \(n, 2\), n >= 1, for this model; got \(3, 3\)"),
        (np.ones((0, 2)), {}, r"got \(0, 2\)"),
        (np.ones((3, 2)), {"condition": None}, r"condition must have shape \(2,\).*got None"),
        (np.ones((3, 2)), {"condition": np.asarray([np.nan, 0])}, "condition must be finite"),
        (np.ones((3, 2)), {"marks": np.ones((3, 1))}, r"marks: the model was trained without; got shape"),
    ],
)
def test_what_is_no_population_is_refused(backend, x, options, words):
    with pytest.raises(ValueError, match=words):
        ask(fitted(replace(TINY, steps=1), company(), backend), x, **{"condition": np.eye(2)[0], **options})


def test_conditions_by_name(backend):
    family = company(treatments=("up", "dose"))
    family = replace(family, conditions=np.column_stack([np.ones(12), 100.0 * np.arange(12)]))
    setting, _ = meta_fm.prepare(TINY, family, None, backend.asarray)
    np.testing.assert_array_equal(setting.condition_scale, [1.0, 800.0])
    np.testing.assert_array_equal(named_condition(setting, "up", 3.0), [1.0, 3.0])
    with pytest.raises(ValueError, match="the model needs a dose"):
        named_condition(setting, "up")
    setting, _ = meta_fm.prepare(TINY, company(), None, backend.asarray)
    np.testing.assert_array_equal(named_condition(setting, "down"), [0.0, 1.0])
    for name, words in (("left", "'left', which it has never seen"), (None, "got none")):
        with pytest.raises(ValueError, match=f"trained on, up, down; got .*{words.removeprefix('got ')}"):
            named_condition(setting, name)
    with pytest.raises(ValueError, match="has no doses"):
        named_condition(setting, "up", 1.0)
    one = company()
    one = replace(one, parts=np.where(one.conditions[:, 0] == 1, 0, 2))
    setting, _ = meta_fm.prepare(TINY, one, None, backend.asarray)
    with pytest.raises(ValueError, match="'down', which it has never seen"):
        named_condition(setting, "down")
    setting, _ = meta_fm.prepare(TINY, company(treatments=()), None, backend.asarray)
    assert named_condition(setting, None) is None
    with pytest.raises(ValueError, match="trained without conditions"):
        named_condition(setting, "up")


# Evaluation


def test_floors_and_model_are_measured_as_they_are(backend):
    family = company(d=3)
    model = fitted(TINY, family, backend)
    found = evaluate(model, family, part="test", n_steps=3)
    assert found.positions.tolist() == [0, 1]
    assert not found.capped
    train, test = family.part("train"), family.part("test")
    means = np.stack([train.target.cloud(i).points.mean(axis=0) for i in range(len(train))])
    for i in range(2):
        x0, x1 = test.source.cloud(i).points, test.target.cloud(i).points
        rows = {
            "identity": x0,
            "mean_shift": mean_shift(x0, means),
            "ideal_shift": ideal_shift(x0, x1),
            "model": ask(model, x0, condition=test.conditions[i]),
        }
        for row, x in rows.items():
            assert found.numbers[row]["w1"][i] == pytest.approx(float(wasserstein1(x, x1)), rel=1e-9)
            assert found.numbers[row]["w2"][i] == pytest.approx(float(wasserstein2(x, x1)), rel=1e-9)
    assert np.max(found.numbers["ideal_shift"]["w2"]) < 1e-12  # here all particles move alike
    assert "correlation" in found.numbers["model"]
    plane = evaluate(fitted(TINY, company(), backend), company(), part="test")
    assert "correlation" not in plane.numbers["model"]


def test_some_particles_and_some_populations(backend):
    family = company(n=30, sizes=(30, 40))
    model = fitted(TINY, family, backend)
    some, again = (evaluate(model, family, part="train", particles=10) for _ in range(2))
    assert len(some.positions) == 10
    assert (some.positions[0], some.positions[-1]) == (0, 26)
    assert some.capped
    np.testing.assert_array_equal(some.numbers["model"]["w2"], again.numbers["model"]["w2"])
    other = evaluate(model, family, part="train", particles=10, seed=1)
    assert not np.array_equal(some.numbers["model"]["w2"], other.numbers["model"]["w2"])
    # Particles before and after that are compared are the same ones: an ideal shift is one of them, too.
    assert np.max(some.numbers["ideal_shift"]["w2"]) < 1e-12
    assert some.unseen == 0
    one = replace(family, parts=np.where(family.conditions[:, 0] == 1, 0, 2))
    found = evaluate(fitted(TINY, one, backend), one, part="test", particles=5, most=3, n_steps=1)
    assert found.unseen == 3
    assert "mean_shift_by_condition" not in found.numbers
    assert "mean_shift_by_condition" in some.numbers
    other = company(seed=1, n=30, sizes=(1, 2))  # of one particle each, and not what was trained on
    found = evaluate(model, other, part="train", n_steps=1)
    assert list(found.numbers) == ["identity", "ideal_shift", "model"]
    with pytest.raises(ValueError, match="trained with dimension 2; company has 3"):
        evaluate(model, company(d=3), part="test")
    with pytest.raises(ValueError, match="has no populations for test"):
        evaluate(model, replace(family, parts=np.zeros(30, np.int64)), part="test")


# The commands


@pytest.fixture
def run(tmp_path):
    save_populations("mine.npz", company(d=3))
    said = succeed("train", "--kind", "meta-fm", "--data", "mine.npz", *SMALL, "--steps", 3, "--out", "run")
    assert "meta-fm on company: 12 populations (9 to train on)" in said
    for words in ("nothing happens", "mean shift", "ideal shift", "refwfm evaluate run"):
        assert words in said
    return tmp_path / "run"


def test_train_evaluate_and_resume_on_the_command_line(run):
    numbers = json.loads(succeed("evaluate", run, "--json"))
    assert list(numbers["parts"]) == ["train", "validation", "test"]
    assert len(numbers["parts"]["train"]["rows"]["model"]["w1"]) == 9
    said = succeed("evaluate", run, "--particles", 5, "--steps", 2)
    assert "of 5 particles each" in said
    succeed("train", "--resume", "--out", run, "--steps", 5)
    assert models.load_model(run, backends.load("numpy")).state.step == 5
    assert_error(refwfm("evaluate", run, "--emd", "squared"), "--emd: no effect on a model of populations")
    assert_error(refwfm("generate", run), "it moves given populations", "refwfm predict")
    assert_error(refwfm("evaluate", run, "--data", "cities"), "cities is no family of populations")


def test_predictions_of_populations_and_of_clouds(run):
    family = company(d=3)
    said = succeed("predict", run, "--data", "mine.npz", "--out", "found.npz", "--dtype", "float64")
    assert "wrote found.npz: 12 clouds" in said
    found = load("found.npz")
    assert found.members == family.members
    model = models.load_model(run, backends.load("numpy", dtype="float64"))
    expected = ask(model, family.source.cloud(3).points, condition=family.conditions[3], n_steps=20)
    np.testing.assert_allclose(found.cloud(3).points, expected, atol=1e-12)
    assert_error(refwfm("predict", run, "--data", "mine.npz", "--out", "found.npz"), "exists", "--force")
    save_family("clouds.npz", family.source)
    assert_error(
        refwfm("predict", run, "--data", "clouds.npz", "--out", "other.npz"), "trained on, up, down; got none"
    )
    succeed("predict", run, "--data", "clouds.npz", "--out", "other.npz", "--condition", "up")
    for arguments, words in (
        (("--condition", "left"), "'left', which it has never seen"),
        (("--population", "x"), "--population is for AnnData"),
        (("--dose", 1), "got none"),
    ):
        assert_error(refwfm("predict", run, "--data", "clouds.npz", "--out", "new.npz", *arguments), words)
    assert_error(
        refwfm("predict", run, "--data", "clouds.npz", "--out", "new.h5ad"), "--out must end in .npz"
    )
    strange = replace(family, condition_names=("up", "left"))
    save_populations("strange.npz", strange)
    assert_error(
        refwfm("predict", run, "--data", "strange.npz", "--out", "new.npz"),
        "not trained on condition left",
        "up, down",
    )
    succeed("predict", run, "--data", "strange.npz", "--out", "asked.npz", "--condition", "down")
    expected = ask(model, family.source.cloud(0).points, condition=np.eye(2)[1], n_steps=20)
    np.testing.assert_allclose(load("asked.npz").cloud(0).points, expected, rtol=1e-3, atol=1e-4)
    save_populations("without.npz", company(d=3, treatments=()))
    assert_error(
        refwfm("predict", run, "--data", "without.npz", "--out", "new.npz"), "trained on, up, down; got none"
    )
    save_populations("plane.npz", company())
    found = refwfm("predict", run, "--data", "plane.npz", "--out", "new.npz")
    assert_error(found, "sample 0", "shape (n, 3)", f"({company().source.sizes[0]}, 2)")


def test_predictions_of_annotated_cells(run, rng):
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    x = rng.normal(size=(10, 5))
    obs = pandas.DataFrame({"sample": ["b"] * 4 + ["a"] * 6}, index=[f"cell {i}" for i in range(10)])
    anndata.AnnData(X=np.ones((10, 7)), obs=obs, obsm={"X_pca": x}).write_h5ad("cells.h5ad")
    command = ("predict", run, "--data", "cells.h5ad", "--condition", "up", "--dtype", "float64")
    succeed(*command, "--out", "found.h5ad", "--population", "sample")
    found = anndata.read_h5ad("found.h5ad")
    assert found.obs["sample"].tolist() == obs["sample"].tolist()
    np.testing.assert_array_equal(found.obsm["X_pca_before"], x[:, :3])
    model = models.load_model(run, backends.load("numpy", dtype="float64"))
    for rows in (slice(0, 4), slice(4, 10)):
        expected = ask(model, x[rows, :3], condition=np.eye(2)[0], n_steps=20)
        np.testing.assert_allclose(found.obsm["X_pca"][rows], expected, atol=1e-12)
    succeed(*command, "--out", "found.npz")  # all cells are one population
    assert len(load("found.npz")) == 1
    assert_error(
        refwfm(*command, "--out", "a.npz", "--population", "patient"), "no column 'patient'", "sample"
    )
    assert_error(refwfm(*command, "--out", "a.npz", "--basis", "X_umap"), "X_umap", "X_pca")
    anndata.AnnData(X=x[:, :3], obs=obs).write_h5ad("genes.h5ad")
    succeed(*command[:3], "genes.h5ad", *command[4:], "--out", "genes_after.h5ad")
    assert anndata.read_h5ad("genes_after.h5ad").X.shape == (10, 3)
    anndata.AnnData(X=x, obs=obs).write_h5ad("genes.h5ad")
    assert_error(
        refwfm(*command[:3], "genes.h5ad", *command[4:], "--out", "a.npz"), "5 genes", "3 coordinates"
    )
    data = anndata.AnnData(X=np.ones((10, 3)), obs=obs, layers={"log": x[:, 2:]}, obsm={"X_pca": x})
    data.raw = anndata.AnnData(X=x[:, :3], obs=obs)
    with warnings.catch_warnings(action="ignore"):  # of formats to come
        data.write_zarr("cells.zarr")
    data.write_h5ad("ALL.H5AD")
    for name in ("cells.zarr", "ALL.H5AD"):
        for option, want in ((("--layer", "log"), x[:, 2:]), (("--use-raw",), x[:, :3]), ((), x[:, :3])):
            succeed(*command[:3], name, *command[4:], *option, "--out", "NEW.H5AD", "--force")
            found, moved = (
                anndata.read_h5ad("NEW.H5AD"),
                ask(model, want, condition=np.eye(2)[0], n_steps=20),
            )
            np.testing.assert_allclose(found.X if option else found.obsm["X_pca"], moved, atol=1e-12)
    for option, words in (
        (("--layer", "counts"), ("no layer 'counts'", "log")),
        (("--layer", "log", "--basis", "X_pca"), ("either --basis, or --layer",)),
        (("--layer", "log", "--use-raw"), ("either a layer or use_raw",)),
    ):
        assert_error(refwfm(*command[:3], "cells.zarr", *command[4:], *option, "--out", "a.npz"), *words)
    assert_error(refwfm(*command[:3], "mine.npz", "--use-raw", "--out", "a.npz"), "--use-raw is for AnnData")
    x[2, 0] = np.nan
    anndata.AnnData(X=np.ones((10, 7)), obs=obs, obsm={"X_pca": x}).write_h5ad("cells.h5ad")
    assert_error(refwfm(*command, "--out", "a.npz"), "obsm['X_pca']", "1 of 10 cells")
    assert_error(refwfm("predict", run, "--data", "none.h5ad", "--out", "a.npz"), "no such file")


def test_what_does_not_go_together_is_one_line(tmp_path):
    save_populations("mine.npz", company())
    for arguments, words in (
        (("--data", "mine.npz"), "add --kind meta-fm"),
        (("--kind", "meta-fm"), "--kind meta-fm needs --data"),
        (("--kind", "meta-fm", "--data", "cities"), "cities is no family of populations"),
        (("--kind", "meta-ot", "--data", "mine.npz"), "add --kind meta-fm"),
        (("--kind", "meta-fm", "--data", "none.npz"), "no such file"),
        (("--kind", "meta-fm", "--data", "mine.npz", "--eps", 1), "eps is an option for"),
        (("--kind", "meta-fm", "--data", "mine.npz", "--variant", "wfm"), "fm, cgfm, mfm"),
    ):
        assert_error(refwfm("train", *arguments, *SMALL), words)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_a_model_of_another_kind_predicts_no_populations(tmp_path):
    succeed(
        "train",
        "--kind",
        "meta-ot",
        "--data",
        "strokes",
        "--steps",
        1,
        "--width",
        4,
        "--depth",
        1,
        "--out",
        "r",
    )
    assert_error(
        refwfm("predict", "r", "--data", "synthetic-screen", "--out", "a.npz"), "no run of Meta Flow"
    )
