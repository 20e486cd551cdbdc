"""Meta OT as a run: data of any kind, training, resuming, three starts compared, figures."""

import json
import os
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from conftest import LIBRARIES
from hypothesis import given
from hypothesis import strategies as st
from thirds import THOROUGH

from refwfm import backends, datasets
from refwfm.datasets import PairFamily, load_pairs, own_pairs
from refwfm.datasets.pair_catalogue import image_family, sphere_family
from refwfm.measures import PointCloud
from refwfm.meta.potentials import potential_mlp
from refwfm.paper_figures.meta import experiment
from refwfm.paper_figures.meta.experiment import dense
from refwfm.paper_figures.meta.pictures import great_circles, logarithms, view_of
from refwfm.runs import folders, models
from refwfm.runs.config_file import read_config
from refwfm.runs.evaluate_meta import THRESHOLDS, compare_starts
from refwfm.storage import checkpoints
from refwfm.training import algorithm, meta_clouds, meta_ot
from refwfm.training.algorithm import trained
from refwfm.training.config import MetaCloudsConfig, MetaOTConfig
from refwfm.training.flows import flow_of
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import flatten, tree_map, unflatten
from refwfm.training.randomness import random_stream
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import Grid, grid_points
from refwfm.transport.semidual import semidual_gradient, semidual_value_and_gradient
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost
from refwfm.transport.starts import error_curve, iterations_to

needs_data = pytest.mark.skipif("REFWFM_DATA" not in os.environ, reason="REFWFM_DATA is not set")
TINY = MetaOTConfig(steps=6, batch=4, width=8, depth=1)
SMALL = ("--steps", 4, "--batch", 4, "--width", 8, "--depth", 1, "--log-every", 2)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFWFM_BACKEND", raising=False)


@pytest.fixture
def backend():
    return backends.load("numpy", dtype="float64")


def small_sphere():
    return replace(sphere_family(8, 30), eps=0.05)


def fitted(config, family, backend):
    model, data = models.prepare(config, family, backend)
    state = algorithm.train(config, model.setting, data, None, model.state, ops=backend.ops)
    return model._replace(state=state)


# Data


@pytest.mark.parametrize("name", [name for name, each in datasets.PAIRS.items() if each.shipped])
def test_named_pairs(name):
    family = load_pairs(name)
    for stream in ("batch", "evaluation"):
        a, b = family.draw(5, seed=1, step=2, stream=stream)
        assert (a.shape[1], b.shape[1]) == family.sizes
        for part in (a, b):
            assert part.shape[0] == 5
            assert np.all(part >= 0)
            np.testing.assert_allclose(part.sum(axis=1), 1.0)
        again = family.draw(5, seed=1, step=2, stream=stream)
        np.testing.assert_array_equal(a, again[0])
        assert not np.array_equal(a, family.draw(5, seed=1, step=3, stream=stream)[0])
    assert not np.array_equal(a, family.draw(5, seed=1, step=2, stream="batch")[0])


@needs_data
@pytest.mark.parametrize("name", ["mnist-pairs", "usps-pairs"])
def test_pairs_of_digits(name):
    a, b = load_pairs(name).draw(3, seed=0, step=0, stream="batch")
    assert a.shape == b.shape == (3, 784)
    np.testing.assert_allclose(a.sum(axis=1), 1.0)


def save(**arrays):
    np.savez("mine.npz", **arrays)
    return load_pairs("mine.npz")


def test_own_images(rng):
    images = rng.uniform(size=(30, 3, 4))
    family = save(histograms=images)
    assert (family.name, family.sizes, family.eps) == ("mine", (12, 12), 0.01)
    assert [axis.tolist() for axis in family.axes] == [[1.0, 0.5, 0.0], pytest.approx([0, 1 / 3, 2 / 3, 1])]
    rows = images.reshape(30, -1) / images.sum(axis=(1, 2))[:, None]
    trained_on, held_out = (
        {tuple(np.round(row, 12)) for part in family.draw(300, seed=0, step=0, stream=s) for row in part}
        for s in ("batch", "evaluation")
    )
    assert trained_on == {tuple(np.round(row, 12)) for row in rows[:27]}
    assert held_out == {tuple(np.round(row, 12)) for row in rows[27:]}


def test_own_pairs_belong_together(rng):
    a, b, x, y = (
        rng.dirichlet(np.ones(4), 20),
        rng.dirichlet(np.ones(3), 20),
        rng.normal(size=(4, 2)),
        np.eye(3)[:, :2],
    )
    family = save(a=a, b=b, x=x, y=y)
    assert family.sizes == (4, 3)
    np.testing.assert_allclose(family.cost, ((x[:, None] - y) ** 2).sum(-1))
    assert family.eps == pytest.approx(0.01 * family.cost.mean())
    drawn = family.draw(50, seed=0, step=0, stream="batch")
    for row, partner in zip(*drawn, strict=True):
        (i,) = np.flatnonzero(np.all(np.isclose(a, row), axis=1))
        np.testing.assert_allclose(partner, b[i])
    other = save(a=a, b=b, cost=family.cost)
    np.testing.assert_array_equal(other.cost, family.cost)
    assert other.points is None
    shared = save(histograms=a, points=x)
    np.testing.assert_allclose(shared.cost, ((x[:, None] - x) ** 2).sum(-1))


EVEN = np.full((5, 2), 0.5)
WRONG = {
    "nothing": ({}, "needs either histograms, or a and b"),
    "both": ({"histograms": EVEN, "a": EVEN, "b": EVEN}, "needs either histograms, or a and b"),
    "one of two": ({"a": EVEN}, "needs both a and b; got only a"),
    "no places": ({"histograms": EVEN}, "need the points of their atoms"),
    "no cost": ({"a": EVEN, "b": EVEN}, "needs the points of the atoms"),
    "all zero": (
        {"histograms": np.concatenate([np.ones((3, 2, 2)), np.zeros((1, 2, 2))])},
        "image 3 must be",
    ),
    "NaN": (
        {"histograms": np.where(np.arange(12).reshape(3, 2, 2) == 5, np.nan, 1)},
        r"got nan at \(1, 0, 1\)",
    ),
    "negative": ({"histograms": np.asarray([[[1.0, -1.0]], [[1.0, 1.0]]])}, "image 0 must be non-negative"),
    "masses": ({"a": EVEN, "b": 2 * EVEN, "points": np.eye(2)}, "row 0 has 2: divide"),
    "a negative weight": (
        {"a": np.asarray([[1.5, -0.5]] * 3), "b": EVEN[:3], "points": np.eye(2)},
        "-0.5 in row 0",
    ),
    "numbers of rows": ({"a": EVEN, "b": EVEN[:4], "points": np.eye(2)}, "as many rows; got 5 and 4"),
    "points": ({"a": EVEN, "b": EVEN, "points": np.eye(3)}, "one row for each of 2 atoms"),
    "x without y": ({"a": EVEN, "b": EVEN, "x": np.eye(2)}, "needs both x and y; got only x"),
    "dimensions": (
        {"a": EVEN, "b": EVEN, "x": np.eye(2), "y": np.ones((2, 3))},
        "one dimension; got 2 and 3",
    ),
    "twice": ({"a": EVEN, "b": EVEN, "points": np.eye(2), "x": np.eye(2), "y": np.eye(2)}, "one of the two"),
    "cost": ({"a": EVEN, "b": EVEN, "cost": np.ones((2, 3))}, r"shape \(2, 2\).*got \(2, 3\)"),
    "cost of NaN": ({"a": EVEN, "b": EVEN, "cost": np.full((2, 2), np.nan)}, "cost must be finite"),
    "cost of 0": ({"a": EVEN, "b": EVEN, "cost": np.zeros((2, 2))}, "positive on average"),
    "too few": (
        {"histograms": np.ones((3, 2, 2))},
        "needs at least 4 histograms, 2 to train on and 2 to hold out; got 3",
    ),
    "one row": ({"a": EVEN[:1], "b": EVEN[:1], "points": np.eye(2)}, "needs at least 2 rows, 1 to train on"),
    "words": ({"histograms": np.asarray([["a"]])}, "of real numbers"),
    "shape": ({"histograms": np.ones(3)}, r"2-dimensional or 3-dimensional.*\(3,\)"),
    "a stranger": ({"histograms": np.ones((2, 2, 2)), "labels": np.ones(2)}, "holds labels"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_no_pairs_is_refused(name):
    arrays, words = WRONG[name]
    if not arrays:
        with pytest.raises(ValueError, match=words):
            own_pairs()
        return
    with pytest.raises(ValueError, match=words) as error:
        save(**arrays)
    assert "mine.npz" in str(error.value)


# The flow


def test_a_batch_can_be_drawn_again_and_its_setting_comes_back(backend):
    for family in (load_pairs("strokes"), small_sphere()):
        setting, data = meta_ot.prepare(TINY, family, None, backend.asarray)
        first, again = (meta_ot.draw_batch(TINY, setting, data, None, 3, ops=backend.ops) for _ in range(2))
        for part, same in zip(first[:3], again[:3], strict=True):
            np.testing.assert_array_equal(part, same)
        arrays, numbers = meta_ot.pack(setting)
        back = meta_ot.unpack(unflatten(flatten(arrays)), numbers)
        assert back.eps * back.unit == pytest.approx(family.eps, rel=1e-14)
        assert (back.eps, back.unit) == (setting.eps, setting.unit)
        older = meta_ot.unpack(unflatten(flatten(arrays)), {"eps": family.eps})
        assert (older.eps, older.unit) == (family.eps, 1.0)  # it was trained in the data's units
        assert back.sizes == family.sizes
        for one, other in zip(meta_ot.atoms(setting), meta_ot.atoms(back), strict=True):
            np.testing.assert_array_equal(one, other)
    assert isinstance(setting.cost, np.ndarray)
    assert flow_of(TINY) is meta_ot


def test_untrained_predictions_are_the_baseline(backend):
    setting, data = meta_ot.prepare(TINY, small_sphere(), None, backend.asarray)
    params = meta_ot.init_params(TINY, setting)
    a, b = data.draw(3, seed=0, step=0, stream="evaluation")
    f = meta_ot.predict_in_model_units(TINY, setting, params, a, b)
    np.testing.assert_array_equal(f, meta_ot.gaussian(setting, a, b))
    assert not np.isclose(setting.unit, 1.0)
    pair = zip(data.points, (a, b), strict=True)
    clouds = (PointCloud(np.broadcast_to(at, (3, *at.shape)), weights) for at, weights in pair)
    in_data_units = meta_ot.predict(TINY, setting, params, a, b)
    np.testing.assert_allclose(in_data_units, gaussian_potential(*clouds), atol=1e-12)
    plain = replace(TINY, baseline="none", out_scale=1.0)
    params = meta_ot.init_params(plain, setting)
    f, _ = potential_mlp(params, a, b)
    np.testing.assert_array_equal(meta_ot.predict_in_model_units(plain, setting, params, a, b), f)
    assert np.max(np.abs(f)) > 0.1


def test_what_is_trained_without_masks_is_converted(backend):
    """Its plan ``exp((f + g - K) / eps)`` on the support is that of the converted potential."""
    config = replace(TINY, baseline="none", out_scale=1.0, mask_support=False)
    setting, data = meta_ot.prepare(config, small_sphere(), None, backend.asarray)
    params = meta_ot.init_params(config, setting)
    a, b = data.draw(3, seed=0, step=0, stream="evaluation")
    assert np.any(a == 0)
    raw = np.where(a > 0, potential_mlp(params, a, b)[0], -np.inf)
    K = np.exp((raw[..., None] - setting.cost) / setting.eps)
    rows = np.sum(K / np.sum(K, axis=1, keepdims=True) * b[:, None], axis=-1)
    f = meta_ot.predict_in_model_units(config, setting, params, a, b)
    found = semidual_gradient(f, setting.cost, a, b, eps=setting.eps)
    np.testing.assert_allclose(found, a - rows, atol=1e-12)
    unconverted = semidual_gradient(potential_mlp(params, a, b)[0], setting.cost, a, b, eps=setting.eps)
    assert np.max(np.abs(unconverted - found)) > 1e-3  # the check can see
    batch = meta_ot.draw_batch(config, setting, data, None, 0, ops=backend.ops)
    assert batch.baseline is None
    loss, grads = meta_ot.loss_and_grad(config, setting, params, batch, ops=backend.ops)
    step = tree_map(lambda p, g: p - 1e-4 * g, params, grads)
    assert meta_ot.loss_and_grad(config, setting, step, batch, ops=backend.ops)[0] < loss


def test_options_that_do_not_go_together_are_refused(backend):
    with pytest.raises(ValueError, match=r"mask_support = False .* needs baseline = 'none'; got 'gaussian'"):
        MetaOTConfig(mask_support=False)
    with pytest.raises(ValueError, match="eps must be finite and positive; got 0"):
        MetaOTConfig(eps=0)
    family = own_pairs(a=EVEN, b=EVEN, cost=np.eye(2))
    with pytest.raises(ValueError, match="needs to know where the atoms are, and pairs has only their cost"):
        meta_ot.prepare(TINY, family, None, backend.asarray)
    setting, _ = meta_ot.prepare(replace(TINY, baseline="none"), family, None, backend.asarray)
    with pytest.raises(ValueError, match="not only their cost"):
        meta_ot.gaussian(setting, EVEN, EVEN)
    with pytest.raises(ValueError, match="Meta OT has no source"):
        meta_ot.prepare(TINY, family, family, backend.asarray)


def test_training_saves_iterations(backend):
    family = replace(sphere_family(4, 10), eps=0.1)
    config = MetaOTConfig(steps=100, batch=16, width=32, depth=2, learning_rate=1e-2, baseline="none")
    found = compare_starts(fitted(config, family, backend), family, backend, size=20).starts
    means = {name: np.mean(each.iterations[1e-2]) for name, each in found.items()}
    assert means["meta"] < 0.65 * means["zeros"]
    assert np.mean(found["meta"].errors[0]) < 0.4 * np.mean(found["zeros"].errors[0])
    assert found["meta"].used > 0.5


def scaled(family, s):
    """The same pairs with their atoms ``s`` times as far apart."""
    return replace(
        family,
        eps=family.eps * s * s,
        axes=None if family.axes is None else tuple(axis * s for axis in family.axes),
        cost=None if family.cost is None else family.cost * s * s,
        points=None if family.points is None else tuple(each * s for each in family.points),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("s", [1e-100, 1e3, *((1e-3, 1e100) if THOROUGH else ())])
@pytest.mark.parametrize(
    "options", [{}, {"baseline": "none", "out_scale": 1.0}, {"mask_support": False, "baseline": "none"}]
)
def test_the_unit_of_the_data_does_not_matter(dtype, s, options):
    """Losses, iterations, and potentials times s²: the paper's unit square is no place that is preferred."""
    place = backends.load("numpy", dtype=dtype)
    config = replace(TINY, steps=8, learning_rate=1e-2, **options)
    for family in (small_sphere(), *([] if options else [load_pairs("strokes")])):
        found = []
        for each in (family, scaled(family, s)):
            model, data = models.prepare(config, each, place)
            losses = []
            state = algorithm.train(
                *(config, model.setting, data, None, model.state),
                ops=place.ops,
                every=1,
                report=lambda state, metrics, losses=losses: losses.append(metrics.loss),
            )
            model = model._replace(state=state)
            starts = compare_starts(model, each, place, size=3, max_iter=300).starts
            iterations = [start.iterations[1e-2] for start in starts.values()]
            found.append((losses, iterations, model))
        tolerance = 2e-3 if dtype == "float32" else 1e-6
        np.testing.assert_allclose(found[1][0], found[0][0], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(found[1][1], found[0][1], atol=1 if dtype == "float32" else 0)
        if dtype == "float32" and s in (1e-100, 1e100):
            continue  # potentials in the data's units have no float32
        a, b = (place.asarray(part) for part in family.draw(2, seed=0, step=0, stream="evaluation"))
        f, times = (
            meta_ot.predict(config, model.setting, trained(model.state), a, b)[a > 0] for *_, model in found
        )
        np.testing.assert_allclose(times / s / s, f, rtol=tolerance, atol=5 * tolerance * np.max(np.abs(f)))


def test_without_a_unit_that_is_fitted_training_depends_on_the_data(backend, monkeypatch):
    """The check above can see: this is what training was before the model had units of its own."""
    monkeypatch.setattr(meta_ot, "mean_cost", lambda data: 1.0)
    config = replace(TINY, learning_rate=1e-2)
    a, b = small_sphere().draw(2, seed=0, step=0, stream="evaluation")
    f, times = (
        meta_ot.predict(config, model.setting, trained(model.state), a, b)
        for model in (fitted(config, scaled(small_sphere(), s), backend) for s in (1.0, 1e3))
    )
    assert np.max(np.abs(times / 1e6 - f)) > 0.01 * np.max(np.abs(f))


@pytest.mark.parametrize("s", [1e-150, 1e-3, 1e3, 1e150])
def test_the_unit_of_clouds_does_not_matter(s, rng):
    clouds = [rng.normal(size=(n, 2)) * rng.uniform(0.5, 2, 2) for n in rng.integers(3, 9, 12)]
    place, config = backends.load("numpy", dtype="float32"), MetaCloudsConfig(steps=20, batch=8, width=8)
    losses = []
    for factor in (1.0, s):
        family = datasets.clouds_from_arrays([factor * each for each in clouds], name="some")
        model, data = models.prepare(config, family, place)
        losses.append([])
        algorithm.train(
            *(config, model.setting, data, None, model.state),
            ops=place.ops,
            every=1,
            report=lambda state, metrics: losses[-1].append(metrics.loss),
        )
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 1e-9), ("float64", 1e-18)])
def test_an_eps_that_rounding_would_decide_is_refused_by_name(dtype, eps):
    place = backends.load("numpy", dtype=dtype)
    with pytest.raises(ValueError, match=rf"eps = {eps:.3g} is too small for {dtype}.*take a larger eps"):
        models.prepare(replace(TINY, eps=eps), load_pairs("strokes"), place)
    models.prepare(replace(TINY, eps=1e4 * eps), load_pairs("strokes"), place)
    clouds = datasets.clouds_from_arrays([np.eye(2), 2 * np.eye(2)], name="some")
    with pytest.raises(ValueError, match="too small"):
        models.prepare(MetaCloudsConfig(eps=eps), clouds, place)


def test_each_held_out_pair_is_solved_once(backend, rng):
    """Of few pairs all, each once; of many as many as are asked for, no two alike, none of twice the same."""
    rows = rng.dirichlet(np.ones(4), 40)
    of_rows = own_pairs(a=rows, b=rows[::-1], points=rng.normal(size=(4, 2)))
    of_images = own_pairs(histograms=rows.reshape(40, 2, 2))
    clouds = datasets.clouds_from_arrays([rng.normal(size=(4, 2)) for _ in range(3)], name="some")
    assert (of_rows.held_out, of_images.held_out) == (4, 12)
    for family, config, count in (
        (of_rows, TINY, 4),
        (of_images, TINY, 12),
        (clouds, MetaCloudsConfig(steps=1, batch=2, width=4, eps=1.0), 6),
    ):
        model = fitted(replace(config, steps=1), family, backend)
        found = compare_starts(model, family, backend, size=20, max_iter=50).starts
        assert {each.errors.shape[1] for each in found.values()} == {count}
        if family is clouds:
            continue
        for size in (3, 20):
            a, b = family.draw(size, seed=5, step=0, stream="evaluation")
            assert len(np.unique(np.concatenate([a, b], axis=1), axis=0)) == len(a) == min(size, count)
            assert not np.any(np.all(a == b, axis=1))
    assert load_pairs("strokes").held_out is None
    one = datasets.clouds_from_arrays([np.eye(2)], name="one")
    with pytest.raises(ValueError, match="at least two clouds; got 1"):
        compare_starts(model, one, backend)
    with pytest.raises(ValueError, match="at least two clouds; got 1"):
        models.prepare(config, one, backend)


def test_iterations_are_those_of_the_solver(backend):
    family = small_sphere()
    found = compare_starts(fitted(TINY, family, backend), family, backend, size=4, max_iter=500)
    a, b = family.draw(4, seed=0, step=0, stream="evaluation")
    for threshold in THRESHOLDS:
        for i in range(4):
            solved = sinkhorn(family.cost, a[i], b[i], eps=family.eps, tol=threshold, check_every=1)
            assert found.starts["zeros"].iterations[threshold][i] == solved.n_iter


def test_a_model_that_predicts_nonsense_costs_no_more_than_zeros(backend):
    family = small_sphere()
    model = fitted(TINY, family, backend)
    bad = tree_map(lambda leaf: leaf * np.nan, model.state.params)
    found = compare_starts(model._replace(state=model.state._replace(params=bad)), family, backend, size=3)
    np.testing.assert_array_equal(found.starts["meta"].errors, found.starts["zeros"].errors)
    assert found.starts["meta"].used == 0.0


def test_a_model_is_only_for_its_atoms(backend):
    with pytest.raises(ValueError, match="with 8 and 30 atoms; those of strokes have 196 and 196"):
        compare_starts(fitted(TINY, small_sphere(), backend), load_pairs("strokes"), backend)


# The twin of the errors


@pytest.mark.parametrize("eps", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_errors_of_the_twin_are_those_of_the_reference(backend, rng, batch, eps):
    cost = sphere_family(12, 25).cost
    a, b = rng.dirichlet(np.ones(12), batch), rng.dirichlet(np.ones(25), batch)
    a[..., :3], b[..., 5] = 0.0, 0.0
    a, b = a / a.sum(-1, keepdims=True), b / b.sum(-1, keepdims=True)
    for f in (None, rng.normal(size=(*batch, 12)), 1e3 * rng.normal(size=(12,))):
        options = {"eps": eps, "n_iter": 40, "f_init": f}
        expected, found = (curve(cost, a, b, **options) for curve in (error_curve, backend.ops.error_curve))
        assert found.shape == expected.shape == (41, *batch)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-13)
        other = backend.ops.error_curve(cost, a, b, **{**options, "eps": 1.1 * eps})
        assert not np.allclose(other, expected, rtol=1e-7, atol=1e-13)  # the check can see


def test_errors_of_the_twin_on_grids_and_of_what_is_not_finite(backend, rng):
    family = load_pairs("strokes")
    grid = Grid(family.axes)
    a, b = family.draw(2, seed=0, step=0, stream="batch")
    options = {"eps": 0.02, "n_iter": 3}
    np.testing.assert_array_equal(
        backend.ops.error_curve(grid, a, b, **options), error_curve(grid, a, b, **options)
    )
    cost, (a, b) = small_sphere().cost, small_sphere().draw(2, seed=0, step=0, stream="batch")
    start = np.zeros_like(a)
    start[1] = np.nan
    found = backend.ops.error_curve(cost, a, b, eps=0.05, n_iter=3, f_init=start, validate=False)
    assert np.all(np.isfinite(found[:, 0]))
    assert np.all(np.isnan(found[:, 1]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("eps", [1e-3, 0.05, 1.0, 1e9])
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_semidual_of_the_twin_is_that_of_the_reference(backend, rng, batch, eps, dtype):
    cost = sphere_family(12, 25).cost.astype(dtype)
    a, b = rng.dirichlet(np.ones(12), batch), rng.dirichlet(np.ones(25), batch)
    a[..., :3] = 0.0
    for weights in (b, np.where(np.arange(25) < 4, 0.0, b)):
        p, q = (x.astype(dtype) / x.sum(-1, keepdims=True).astype(dtype) for x in (a, weights))
        for f in (rng.normal(size=(*batch, 12)).astype(dtype), np.zeros(12, dtype)):
            kept = cost.copy()
            (value, gradient), (expected, other) = (
                each(f, cost, p, q, eps=eps, validate=False)
                for each in (backend.ops.semidual_value_and_gradient, semidual_value_and_gradient)
            )
            np.testing.assert_array_equal(cost, kept)
            assert value.shape == expected.shape == batch
            assert (value.dtype, gradient.dtype) == (expected.dtype, other.dtype)
            ulp = np.finfo(dtype).eps
            np.testing.assert_allclose(
                value, expected, rtol=0, atol=50 * ulp * max(1.0, eps if eps < 1e3 else 1.0)
            )
            np.testing.assert_allclose(gradient, other, rtol=0, atol=50 * ulp * max(1.0, 3 / eps))
    nan = backend.ops.semidual_value_and_gradient(
        np.full(12, np.nan, dtype), cost, p, q, eps=eps, validate=False
    )
    assert np.all(np.isnan(nan[0]))


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    eps=st.sampled_from([1e-3, 0.05, 1.0, 1e6]),
    size=st.sampled_from([1e-100, 1.0, 1e100]),
    cleared=st.booleans(),
)
def test_the_twins_of_any_problem_are_their_references(seed, shape, eps, size, cleared):
    """Semi-dual and errors, of any numbers of atoms, in any unit of the cost, some atoms without weight."""
    rng, (n, m) = np.random.default_rng(seed), shape
    cost, f = size * rng.uniform(size=(n, m)), size * rng.normal(size=(2, n))
    a, b = rng.dirichlet(np.ones(n), 2), rng.dirichlet(np.ones(m), 2)
    if cleared:
        a[:, 1:3], b[:, 2:] = 0.0, 0.0
        a, b = a / a.sum(-1, keepdims=True), b / b.sum(-1, keepdims=True)
    ops, options = backends.load("numpy", dtype="float64").ops, {"eps": eps * size, "validate": False}
    found, truth = (
        each(f, cost, a, b, **options)
        for each in (ops.semidual_value_and_gradient, semidual_value_and_gradient)
    )
    np.testing.assert_allclose(found[0], truth[0], rtol=0, atol=1e-13 * size * max(1.0, eps))
    np.testing.assert_allclose(found[1], truth[1], rtol=0, atol=1e-14 * max(10.0, 10.0 / eps))
    found, truth = (
        each(cost, a, b, n_iter=5, f_init=f, **options) for each in (ops.error_curve, error_curve)
    )
    np.testing.assert_allclose(found, truth, rtol=1e-7, atol=1e-14 * max(10.0, 10.0 / eps))
    if eps == 0.05 and n > 3 and m > 3 and not cleared:  # control: another eps is seen
        other = error_curve(cost, a, b, n_iter=5, f_init=f, **{**options, "eps": 1.1 * eps * size})
        assert not np.allclose(found, other, rtol=1e-7, atol=1e-13)


# Runs in folders


def test_a_run_that_was_stopped_ends_in_the_same_numbers(tmp_path, backend):
    family, run = small_sphere(), {"kind": "meta-ot", "data": "sphere", "dtype": "float64"}
    options = {"run": run, "log_every": 1, "checkpoint_every": 2}
    folders.train(TINY, family, backend, tmp_path / "whole", **options)

    def stop(report):
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folders.train(TINY, family, backend, tmp_path / "broken", progress=stop, **options)
    folders.train(TINY, family, backend, tmp_path / "broken", resume=True, **options)
    (whole, about), (broken, other) = (
        checkpoints.load(models.newest_checkpoint(tmp_path / name)) for name in ("whole", "broken")
    )
    assert about == other
    assert about["kind"] == "meta-ot"
    assert whole.keys() == broken.keys()
    for name, array in whole.items():
        assert array.tobytes() == broken[name].tobytes(), name
    model = models.load_model(tmp_path / "whole", backend)
    assert model.config == TINY
    a, b = family.draw(2, seed=0, step=0, stream="evaluation")
    assert np.all(np.isfinite(meta_ot.predict(TINY, model.setting, trained(model.state), a, b)))
    with pytest.raises(folders.RunError, match="width = 8"):
        folders.train(replace(TINY, width=9), family, backend, tmp_path / "whole", resume=True, **options)
    with pytest.raises(folders.RunError, match="trained on other data"):
        folders.train(
            replace(TINY, steps=9),
            replace(family, cost=family.cost + 1.0),
            *(backend, tmp_path / "whole"),
            resume=True,
            **options,
        )


@pytest.mark.parametrize("library", [name for name in LIBRARIES if ":" not in name and name != "jax"])
def test_a_step_is_the_same_on_every_library(library):
    pytest.importorskip(library)
    library = "strict" if library == "array_api_strict" else library
    place = backends.load(library, dtype="float64")
    plain = backends.load("numpy", dtype="float64", reference=True)
    clouds = [np.random.default_rng(n).normal(size=(n, 2)) for n in (3, 4, 5, 4)]
    for config, family in (
        (replace(TINY, steps=2, out_scale=1.0), small_sphere()),
        (replace(TINY, steps=2, out_scale=1.0), load_pairs("strokes")),
        (
            MetaCloudsConfig(steps=2, batch=3, width=4, eps=0.5),
            datasets.clouds_from_arrays(clouds, name="some"),
        ),
    ):
        ours, theirs = (flatten(fitted(config, family, each).state.params) for each in (place, plain))
        for name, array in theirs.items():
            if array.shape != (1,):  # a constant has no gradient: Adam follows its rounding
                np.testing.assert_allclose(place.to_numpy(ours[name]), array, rtol=1e-6, atol=1e-9)


# The command


def test_train_evaluate_and_resume_on_the_command_line(tmp_path):
    said = succeed("train", "--kind", "meta-ot", "--data", "strokes", *SMALL)
    folder = tmp_path / "runs" / "strokes-meta-ot"
    assert "meta-ot on strokes: pairs of histograms with 196 and 196 atoms" in said
    for words in ("zeros", "Gaussian", "Meta OT", "to 0.01", "refwfm evaluate runs/strokes-meta-ot"):
        assert words in said
    assert matplotlib.image.imread(folder / "figures" / "errors.png").shape[0] > 300
    run, options = read_config(folder / "config.toml")
    assert (run["kind"], options["baseline"]) == ("meta-ot", "gaussian")
    numbers = json.loads(succeed("evaluate", folder, "--size", 3, "--seeds", 2, "--json"))
    assert len(numbers["starts"]["meta"]["iterations"]["0.01"]) == 6
    said = succeed("evaluate", folder, "--size", 3, "--seeds", 1)
    mean = np.mean(numbers["starts"]["zeros"]["iterations"]["0.001"][:3])
    assert f"{mean:.1f} ± " in said
    assert "3 held-out pairs" in said
    succeed("train", "--resume", "--out", folder, "--steps", 6)
    assert models.load_model(folder, backends.load("numpy")).state.step == 6
    assert_error(refwfm("generate", folder), "run of Meta OT", "generates nothing", "refwfm evaluate")
    assert_error(refwfm("evaluate", folder, "--data", "sphere-pairs"), "196 and 196 atoms")
    assert_error(refwfm("evaluate", folder, "--data", "nothing"), "unknown family of pairs 'nothing'")
    assert_error(refwfm("evaluate", folder, "--data", "fours"), "pairs of histograms; data fours are clouds")


@pytest.mark.usefixtures("undrawn")
def test_own_pairs_on_the_command_line(tmp_path, rng):
    np.savez(
        "mine.npz", a=rng.dirichlet(np.ones(4), 20), b=rng.dirichlet(np.ones(3), 20), cost=np.ones((4, 3))
    )
    arguments = ("train", "--kind", "meta-ot", "--data", "mine.npz", *SMALL, "--eps", 0.5)
    assert_error(refwfm(*arguments, "--baseline", "gaussian"), "baseline", "only their cost")
    assert not (tmp_path / "runs").exists()
    said = succeed(*arguments, "--dtype", "float64")
    assert "baseline none: mine has a cost and no points" in said
    assert "20 rows, the last 2 held out" in said
    assert "2 held-out pairs of mine" in said
    assert "Gaussian" not in said.split("held-out pairs of mine")[1]
    assert read_config(tmp_path / "runs" / "mine-meta-ot" / "config.toml")[1]["baseline"] == "none"
    assert "baseline none" not in succeed("train", "--resume", "--out", "runs/mine-meta-ot", "--steps", 6)
    said = succeed("evaluate", "runs/mine-meta-ot", "--size", 20, "--seeds", 3)
    assert "\n2 held-out pairs; " in said
    numbers = json.loads(succeed("evaluate", "runs/mine-meta-ot", "--json"))
    assert numbers["pairs"] == len(numbers["starts"]["zeros"]["iterations"]["0.01"]) == 2
    np.savez(
        "mine.npz", a=rng.dirichlet(np.ones(4), 20), b=rng.dirichlet(np.ones(3), 20), cost=np.ones((4, 3))
    )
    assert_error(refwfm("evaluate", "runs/mine-meta-ot"), "is not what the run was trained on")
    np.savez("zero.npz", histograms=np.zeros((3, 2, 2)))
    assert_error(refwfm("train", "--kind", "meta-ot", "--data", "zero.npz"), "zero.npz", "image 0")


@pytest.mark.usefixtures("undrawn")
def test_clouds_are_data_too(tmp_path, rng):
    clouds = [rng.normal(size=(n, 2)) * rng.uniform(0.5, 2, 2) + 50 for n in rng.integers(3, 9, 30)]
    datasets.save_family("mine.npz", datasets.clouds_from_arrays(clouds, name="mine"))
    arguments = ("--steps", 4, "--batch", 4, "--width", 8, "--log-every", 2, "--eps", 2)
    said = succeed("train", "--kind", "meta-ot", "--data", "mine.npz", *arguments)
    assert "held out: 3 of the 30 members" in said
    assert "meta-ot-clouds on mine: 27 clouds of 3 to 8 points in 2-D" in said
    folder = tmp_path / "runs" / "mine-meta-ot"
    said = succeed("evaluate", folder, "--size", 3, "--seeds", 1)
    for words in ("zeros", "Gaussian", "Meta OT"):
        assert words in said
    model = models.load_model(folder, backends.load("numpy"))
    assert model.state.step == 4
    assert model.setting.eps == 2.0
    succeed("train", "--resume", "--out", folder, "--steps", 6)
    assert_error(refwfm("generate", folder), "generates nothing")
    assert_error(refwfm("evaluate", folder, "--data", "strokes"), "one of clouds; data strokes are pairs")
    assert_error(refwfm("evaluate", folder, "--data", "niches-clouds"), "2-D", "16-D")


def test_a_step_on_clouds_goes_through_the_twin(backend, rng):
    family = datasets.clouds_from_arrays([rng.normal(size=(n, 2)) for n in (3, 5, 4)], name="mine")
    config = MetaCloudsConfig(batch=3, width=4)
    setting, data = meta_clouds.prepare(config, family, None, backend.asarray)
    batch = meta_clouds.draw_batch(config, setting, data, None, 0, ops=backend.ops)
    params = meta_clouds.init_params(config, setting)
    params["out"]["weight"] = params["out"]["weight"] + 0.1
    twin = backend.ops.semidual_value_and_gradient
    assert twin is not REFERENCE.semidual_value_and_gradient
    asked = []

    def counted(*args, **options):
        asked.append(args)
        return twin(*args, **options)

    ops = backend.ops._replace(semidual_value_and_gradient=counted)
    loss, grads = meta_clouds.loss_and_grad(config, setting, params, batch, ops=ops)
    assert len(asked) == 1
    truth, wanted = meta_clouds.loss_and_grad(config, setting, params, batch, ops=REFERENCE)
    assert float(loss) == pytest.approx(float(truth), rel=1e-12)
    for name, leaf in flatten(wanted).items():
        np.testing.assert_allclose(flatten(grads)[name], leaf, rtol=1e-9, atol=1e-12)


def test_clouds_are_solved_in_their_units(backend, rng):
    """The errors are those of the problem in data units."""
    clouds = [rng.normal(size=(n, 2)) + 50 for n in rng.integers(3, 9, 30)]
    family = datasets.clouds_from_arrays(clouds, name="mine")
    spread = 2 * np.concatenate(clouds).var(axis=0).sum()
    setting, _ = meta_clouds.prepare(MetaCloudsConfig(), family, None, backend.asarray)
    assert setting.eps == pytest.approx(0.01 * spread)
    config = MetaCloudsConfig(steps=40, batch=16, width=16, learning_rate=1e-2, eps=0.3)
    model = fitted(config, family, backend)
    found = compare_starts(model, family, backend, size=2, seed=3).starts
    draws = random_stream(3, "evaluation", 0).integers(30, size=(2, 2))
    for i, (first, second) in enumerate(draws.T):
        x, y = family.cloud(first), family.cloud(second)
        cost = sq_euclidean_cost(x.points, y.points)
        errors = error_curve(cost, x.weights, y.weights, eps=model.setting.eps, n_iter=5)
        np.testing.assert_allclose(found["zeros"].errors[:6, i], errors, rtol=1e-8, atol=1e-12)
    assert np.mean(found["meta"].errors[0]) < np.mean(found["zeros"].errors[0])
    assert not np.array_equal(found["meta"].errors, found["gaussian"].errors)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kind", "meta-ot", "--data", "cities"), ("cities is a family of Gaussians", "strokes")),
        (("--kind", "meta", "--data", "cities"), ("kind must be one of flow, meta-ot",)),
        (("--kind", "meta-ot", "--data", "strokes", "--heads", 2), ("heads is an option for point clouds",)),
        (("--kind", "meta-ot", "--data", "fours", "--baseline", "none"), ("baseline", "pairs of clouds")),
        (("--kind", "meta-ot", "--data", "fours", "--depth", 2), ("depth must be at least 1 and at most 1",)),
        (("--kind", "meta-ot", "--data", "nothing"), ("unknown family of pairs 'nothing'",)),
        (
            ("--kind", "meta-ot", "--data", "strokes", "--conditional"),
            ("conditional is an option for Gaussians and point clouds", "pairs of histograms"),
        ),
        (("--data", "cities", "--baseline", "none"), ("baseline is an option for pairs of histograms",)),
        (("--data", "strokes"), ("strokes: pairs of histograms are for Meta OT: add --kind meta-ot",)),
        (("--kind", "meta-ot"), ("--kind meta-ot needs --data", "strokes", "clouds")),
        (("--resume", "--out", "nowhere"), ("nothing to resume in nowhere",)),
        (("--resume",), ("nothing to resume in runs/cities-riemannian",)),
        (("--kind", "meta-ot", "--data", "strokes", "--eps", 1e-12), ("eps = 1e-12 is too small", "float32")),
        (("--kind", "meta-ot", "--data", "fours", "--eps", 1e-12), ("eps = 1e-12 is too small", "float64")),
        (("--data", "fours", "--start-steps", 5), ("--start-steps is for --inner-start amortised",)),
        (("--data", "fours", "--inner", "exact", "--inner-tol", 0.1), ("no effect with --inner exact",)),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, words, tmp_path):
    assert_error(refwfm("train", *arguments), *words)
    assert not any(tmp_path.iterdir())


def test_data_that_are_pairs_are_known_by_their_names_and_files(tmp_path, rng):
    np.savez("mine.npz", histograms=rng.uniform(size=(8, 2, 2)))
    for name in ("strokes", "mine.npz"):
        assert_error(refwfm("data", "show", name), "--kind meta-ot --data " + name)
    assert_error(refwfm("train", "--data", "mine.npz"), "add --kind meta-ot")


@pytest.mark.parametrize("kind", [("--kind", "meta-ot"), ()])
def test_values_beyond_the_dtype_are_one_line_and_leave_nothing(tmp_path, kind, rng):
    """Histograms on such points are learned all the same: the model has units of its own."""
    points = 1e150 * rng.normal(size=(4, 2))
    if kind:
        np.savez("mine.npz", histograms=rng.dirichlet(np.ones(4), 40), points=points)
        said = succeed("train", *kind, "--data", "mine.npz", *SMALL)
        assert "12 held-out pairs of mine" in said
        np.savez("mine.npz", histograms=rng.dirichlet(np.ones(4), 40), points=1e10 * points)
        result = refwfm("train", *kind, "--data", "mine.npz", "--out", "x")
        assert_error(result, "squared distances that overflow")
    else:
        clouds = [1e100 * rng.normal(size=(30, 2)) for _ in range(6)]
        datasets.save_family("mine.npz", datasets.gaussians_from_clouds(clouds, name="mine"))
        words = "beyond the range of float32, 3.4e+38: use float64"
        assert_error(refwfm("train", "--data", "mine.npz", "--out", "x"), words)
    assert not (tmp_path / "x").exists()


def test_images_of_huge_numbers_are_histograms(rng):
    images = rng.uniform(0.5, 1.0, size=(4, 3, 3))
    images[1:3] *= 1.7e308
    family = save(histograms=images)
    shrunk = images / images.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        family.numbers[0], shrunk.reshape(4, 9) / shrunk.sum(axis=(1, 2))[:, None], rtol=1e-14
    )
    both = save(histograms=np.full((4, 2), 0.5), points=np.eye(2), cost=np.ones((2, 2)) - np.eye(2))
    assert "cost as given, points for the Gaussian potential" in both.about


@pytest.mark.usefixtures("undrawn")
def test_options_that_would_change_nothing_are_refused(tmp_path):
    succeed("train", "--kind", "meta-ot", "--data", "strokes", *SMALL, "--out", "run")
    for option, value in (("--guidance", 2), ("--steps", 9), ("--emd", "squared")):
        assert_error(refwfm("evaluate", "run", option, value), option, "no effect on a model of Meta OT")
    succeed("train", *SMALL, "--out", "flow")
    assert_error(refwfm("evaluate", "flow", "--guidance", 2), "no effect on a model of Gaussians")
    succeed("evaluate", "flow", "--size", 4, "--steps", 2, "--seeds", 1)


def interrupted(*arguments, at):
    """Run ``train`` and stop it at a report, or before there is one."""
    from refwfm.runs import folders as module
    from refwfm.runs.recorder import Recorder

    patch = pytest.MonkeyPatch()

    def stop(*args, **options):
        raise KeyboardInterrupt

    def report(self, state, metrics):
        found(self, state, metrics)
        if state.step >= at:
            raise KeyboardInterrupt

    found = Recorder.__call__
    with patch.context() as changed:
        changed.setattr(*((module, "prepare", stop) if at == 0 else (Recorder, "__call__", report)))
        result = refwfm("train", *arguments)
    assert result.exit_code == 130
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", [("--kind", "meta-ot", "--data", "strokes"), ("--data", "cities")])
def test_a_stopped_run_says_what_is_left_of_it(tmp_path, kind):
    arguments = (*kind, *SMALL, "--checkpoint-every", 4, "--steps", 8, "--out", "run")
    assert interrupted(*arguments, at=0) == "stopped before the first step; nothing was kept"
    assert not any(tmp_path.iterdir())
    again = "refwfm train --resume --out run"
    assert interrupted(*arguments, at=2) == f"stopped; continue from step 0 with: {again}"
    succeed(*again.split()[1:], "--steps", 3)
    assert (
        interrupted(*again.split()[2:], "--steps", 8, at=8) == f"stopped; continue from step 8 with: {again}"
    )


def test_a_start_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    """Also a loss that is NaN before the first report; a folder with other things keeps those."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("")
    monkeypatch.setattr(
        meta_ot, "loss_and_grad", lambda config, setting, params, batch, ops: (np.nan, params)
    )
    for out in ("run", "deep/er"):
        result = refwfm("train", "--kind", "meta-ot", "--data", "strokes", *SMALL, "--out", out)
        assert_error(result, "the loss became nan at step 0", "nothing was learned yet")
        assert "learning_rate" not in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "mine.txt"]


@pytest.mark.parametrize("name", ["meta-ot-mnist", "gwfm-figure-4"])
def test_an_experiment_that_fails_leaves_no_folder(tmp_path, monkeypatch, name):
    def fail(*args, **options):
        raise MemoryError

    monkeypatch.setattr("refwfm.paper_figures.processes.in_processes", fail)
    assert_error(
        refwfm("reproduce", name, "--scale", "smoke", "--out", tmp_path / "new" / "one"), "out of memory"
    )
    assert not any(tmp_path.iterdir())


def test_pairs_are_listed():
    said = succeed("data", "list")
    for name in datasets.PAIRS:
        assert name in said


# Figures


def test_digits_at_smoke_scale(tmp_path):
    command = ("reproduce", "meta-ot-mnist", "--scale", "smoke", "--jobs", 1, "--out", tmp_path)
    said = succeed(*command)
    assert "4 steps of batch 4, network 1 x 8, 3 held-out pairs" in said
    assert "0.0045 ± 0.0015" in said
    for name in ("errors", "interpolation"):
        picture = matplotlib.image.imread(tmp_path / f"meta-ot-mnist-{name}.png")
        assert np.mean(picture[..., :3].min(axis=-1) < 0.5) > 0.005
    rows = json.loads((tmp_path / "meta-ot-mnist.json").read_text())["rows"]
    assert [row["start"] for row in rows] == ["zeros", "gaussian", "meta"]
    assert all(len(row["iterations"]["0.01"]) == 3 for row in rows)
    before = (tmp_path / "meta-ot-mnist.json").read_bytes()
    succeed(*command, "--resume")
    assert (tmp_path / "meta-ot-mnist.json").read_bytes() == before
    assert_error(refwfm("reproduce", "meta-ot-mnist", "--data", "fours"), "has its own pairs")


def test_the_sphere_at_smoke_scale(tmp_path):
    said = succeed(
        "reproduce",
        "meta-ot-sphere",
        "--scale",
        "smoke",
        "--steps",
        2,
        "--seeds",
        2,
        "--jobs",
        1,
        "--out",
        tmp_path,
    )
    assert "2 runs at smoke scale: 2 steps" in said
    assert "0.078 ± 0.034" in said
    assert "11.28" in said
    for name in ("errors", "globe"):
        assert (tmp_path / f"meta-ot-sphere-{name}.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "meta-ot-sphere.json").read_text())["rows"]) == 6


def test_what_is_drawn_is_what_the_plans_say():
    scale = experiment.MetaScale(
        {"steps": 2, "batch": 2, "width": 4, "depth": 1}, ("strokes",), (), 2, 2000, 1, 2
    )
    found = experiment.run(experiment.MetaTask(0, scale, None))
    assert found.ways.shape == (2, 2, len(experiment.TIMES), 196)
    converged = found.ways[:, 1]
    np.testing.assert_allclose(converged[:, 0], found.a, atol=2e-5)
    np.testing.assert_allclose(converged[:, -1], found.b, atol=2e-5)
    np.testing.assert_allclose(found.ways[:, 0, -1], found.b, atol=1e-6)  # the half-step gives the columns
    assert np.max(np.abs(found.ways[:, 0, 0] - found.a)) > 1e-4
    sphere = scale._replace(config={**scale.config, "eps": 0.1}, families=("sphere-pairs",), sizes=(6, 20))
    plans = experiment.run(experiment.MetaTask(0, sphere, None)).plans
    np.testing.assert_allclose(plans.sum(axis=(-2, -1)), 1.0, rtol=1e-5)


def test_scales_are_what_they_say():
    from refwfm.paper_figures.meta import mnist, sphere

    for figure in (mnist, sphere):
        for name in ("smoke", "laptop", "paper"):
            scale = figure.scale(name)
            config = MetaOTConfig(**scale.config)
            assert scale.pairs == (3 if name == "smoke" else 20)
        assert (config.steps, config.batch, config.width, config.depth) == (50_000, 128, 1024, 3)
        assert (config.baseline, config.out_scale, config.decay) == ("none", 1.0, 1.0)
        assert set(figure.PAPER) == set(THRESHOLDS)
    assert sphere.scale("laptop").sizes == (100, 1000)
    assert sphere.scale("paper").sizes == (100, 10_000)


def test_a_cost_on_a_grid_as_a_matrix():
    grid = Grid((np.asarray([1.0, 0.0, -3.0]), np.asarray([0.0, 5.0])))
    points = grid_points(grid)
    np.testing.assert_allclose(dense(grid), sq_euclidean_cost(points, points))


def test_globes(rng):
    points = rng.normal(size=(20, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    arcs = great_circles(points[:10], points[10:], steps=8)
    np.testing.assert_allclose(np.linalg.norm(arcs, axis=-1), 1.0)
    np.testing.assert_allclose(arcs[:, 0], points[:10], atol=1e-12)
    np.testing.assert_allclose(arcs[:, -1], points[10:], atol=1e-12)
    steps = np.linalg.norm(np.diff(arcs, axis=1), axis=-1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape))
    np.testing.assert_array_equal(great_circles(points[:1], points[:1])[0, 3], points[0])
    for some in (points, np.eye(3)[2:], np.zeros((1, 3))):
        view = view_of(some)
        np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(view) == pytest.approx(1.0)
    np.testing.assert_allclose(view_of(points)[2] @ points.mean(axis=0), np.linalg.norm(points.mean(axis=0)))


def test_logarithms_of_errors():
    mean, spread = logarithms(np.asarray([[1e-2, 1e-4], [0.0, 1.0]]))
    np.testing.assert_allclose(mean, [-3.0, -8.0])
    np.testing.assert_allclose(spread, [2**0.5, 16 / 2**0.5])
    assert logarithms(np.ones((3, 1)))[1].tolist() == [0.0, 0.0, 0.0]


def test_pairs_of_images_are_kept_as_they_are():
    images = np.arange(1, 17, dtype=np.uint8).reshape(4, 2, 2)
    family = image_family("some", images[:2], images[2:])
    assert isinstance(family, PairFamily)
    a, b = family.draw(9, seed=0, step=0, stream="evaluation")
    rows = images[2:].reshape(2, 4) / images[2:].sum(axis=(1, 2))[:, None]
    assert sorted(map(tuple, a)) == sorted(map(tuple, b)) == sorted(map(tuple, rows))
    assert not np.any(np.all(a == b, axis=1))
    with pytest.raises(ValueError, match="two to evaluate; got 3 and 1"):
        image_family("some", images[:3], images[3:])
    assert REFERENCE.error_curve is error_curve
    assert iterations_to(np.asarray([[1.0], [0.5]]), 0.1).tolist() == [-1]
