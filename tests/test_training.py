"""Training: what a batch holds, gradients of whole losses, the same run on all libraries, and resuming."""

import dataclasses

import numpy as np
import oracles
import pytest
from conftest import map_arrays
from oracles import relative
from thirds import THOROUGH

from refwfm import bures
from refwfm._array import to_host
from refwfm.backends import load
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.networks import bures_mlp
from refwfm.training import optim
from refwfm.training.algorithm import (
    NonFiniteLossError,
    State,
    init_state,
    learning_rate,
    step,
    train,
    trained,
)
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import fit_scaling, fit_setting
from refwfm.training.gaussians import draw_batch, learned_field, sample
from refwfm.training.methods import METHODS
from refwfm.training.ops import REFERENCE
from refwfm.training.randomness import random_stream
from refwfm.training.regression import gaussian_loss_and_grad

SMALL = GaussianConfig(steps=6, batch=8, width=8, depth=2, n_frequencies=2, label_dim=3, df=4, ema=0.9)
LABELS = np.array([0, 1, 1, 2, 0])
NAMES = list(METHODS)


@pytest.fixture(scope="module")
def family():
    return oracles.random_gaussian(np.random.default_rng(1), 5, 2)


def config_of(**changes):
    return dataclasses.replace(SMALL, **changes)


def prepare(config, family, labels=None):
    setting, scaled = fit_setting(config, family, labels=labels, n_labels=3)
    return setting, scaled, labels


def shaken(params, seed=0):
    """Parameters away from the start, where most gradients are zero."""
    rng = np.random.default_rng(seed)
    return optim.tree_map(lambda p: p + 0.3 * rng.standard_normal(p.shape), params)


def assert_same_bits(one, two):
    one, two = optim.flatten(one), optim.flatten(two)
    assert one.keys() == two.keys()
    for path in one:
        np.testing.assert_array_equal(one[path], two[path], err_msg=path)


# Random streams


def test_streams_depend_on_seed_purpose_and_step():
    draws = {
        (seed, stream, step): random_stream(seed, stream, step).random()
        for seed in (0, 1, 2**100)
        for stream in ("init", "scaling", "batch", "generation", "evaluation")
        for step in (0, 1, 10**6)
    }
    assert len(set(draws.values())) == len(draws)
    assert random_stream(1, "batch", 1).random() == draws[1, "batch", 1]


@pytest.mark.parametrize("matching", [False, True])
def test_a_batch_can_be_drawn_again_alone(family, matching):
    config = config_of(matching=matching)
    run = prepare(config, family, LABELS)
    one = draw_batch(config, *run, 3)
    for other_step in (0, 7):
        draw_batch(config, *run, other_step)
    two = draw_batch(config, *run, 3)
    for a, b in zip(one.mu_t + one.target + one[2:], two.mu_t + two.target + two[2:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(draw_batch(config, *run, 4).t != one.t)
    assert np.all(draw_batch(config_of(matching=matching, seed=1), *run, 3).t != one.t)


# What a batch holds


def targets_of(batch, family):
    """The members that the batch's geodesics end at: mean and covariance, and how far off they are."""
    rest = Tangent(
        (1 - batch.t)[:, None] * batch.target.mean, (1 - batch.t)[:, None, None] * batch.target.lift
    )
    ends = bures.exp(batch.mu_t, rest)
    error = np.max(np.abs(ends.mean[:, None] - family.mean), axis=-1)
    error += np.max(np.abs(ends.cov[:, None] - family.cov), axis=(-2, -1))
    return error.argmin(axis=1), error.min(axis=1)


@pytest.mark.parametrize("matching", [False, True])
def test_geodesics_end_at_members_with_their_labels(family, matching):
    config = config_of(batch=32, matching=matching)
    setting, scaled, labels = prepare(config, family, LABELS)
    batch = draw_batch(config, setting, scaled, labels, 0)
    member, error = targets_of(batch, scaled)
    assert np.max(error) < 1e-9
    np.testing.assert_array_equal(batch.labels, labels[member])
    assert set(member) == set(range(5))
    assert np.all((batch.t >= 0) & (batch.t < 1))
    # The paper refers to the Euclidean derivative, which does not lead there.
    wrong = batch._replace(target=Tangent(*bures.to_euclidean(batch.mu_t.cov, batch.target)))
    assert np.median(targets_of(wrong, scaled)[1]) > 0.01


def test_matching_leaves_the_label_of_every_source(family):
    """As drawn; otherwise sources would tell labels, which those of generation do not."""
    drawn, matched = (
        draw_batch(config, *prepare(config, family, LABELS), 0)
        for config in (config_of(batch=32, matching=matching) for matching in (False, True))
    )
    np.testing.assert_array_equal(matched.labels, drawn.labels)
    assert np.any(matched.target.mean != drawn.target.mean)


def test_matching_lowers_the_cost(family):
    """Mean energy of the geodesics, that is, squared distance between source and target."""
    energy = {}
    for matching in (False, True):
        config = config_of(batch=32, matching=matching)
        batch = draw_batch(config, *prepare(config, family), 0)
        energy[matching] = np.mean(bures.sq_tangent_norm(batch.mu_t, batch.target))
        assert batch.labels is None
    assert energy[True] < 0.95 * energy[False]


def test_methods_regress_the_same_curve(family):
    """One draw, seen as an affine field or as derivatives of the numbers."""
    batches = {}
    for name in NAMES:
        config = config_of(method=name)
        batches[name] = draw_batch(config, *prepare(config, family), 2)
    riemannian, euclidean = batches["riemannian"], batches["euclidean"]
    assert relative(euclidean.mu_t.cov, riemannian.mu_t.cov) < 1e-12
    assert (
        relative(bures.to_euclidean(riemannian.mu_t.cov, riemannian.target).cov, euclidean.target.cov) < 1e-10
    )
    np.testing.assert_array_equal(batches["frobenius"].target.cov, euclidean.target.cov)
    assert isinstance(euclidean.target, EuclideanTangent)


def test_units(family):
    """In the setting's units the family has mean 0 and variance 1 per coordinate."""
    setting, scaled, _ = prepare(SMALL, family)
    np.testing.assert_allclose(scaled.mean.mean(axis=0), 0.0, atol=1e-14)
    total = np.sum(scaled.mean**2, axis=1) + np.trace(scaled.cov, axis1=1, axis2=2)
    assert np.mean(total) / 2 == pytest.approx(1.0, rel=1e-13)
    np.testing.assert_allclose(scaled.mean * setting.unit + setting.shift, family.mean, rtol=1e-12)
    np.testing.assert_allclose(scaled.cov * setting.unit**2, family.cov, rtol=1e-12)
    moved = Gaussian(100.0 * family.mean + 7.0, 1e4 * family.cov)
    again, scaled_again, _ = prepare(SMALL, moved)
    assert again.unit == pytest.approx(100.0 * setting.unit, rel=1e-13)
    np.testing.assert_allclose(scaled_again.cov, scaled.cov, rtol=1e-11)


def test_scaling_standardises_what_the_network_reads(family):
    config = config_of(batch=4096, method="euclidean")
    run = prepare(config, family)
    batch = draw_batch(config, *run, 1)
    rows, columns = np.tril_indices(2)
    features = np.concatenate([batch.mu_t.mean, batch.mu_t.cov[:, rows, columns]], axis=1)
    read = (features - run[0].scaling["input_shift"]) / run[0].scaling["input_scale"]
    np.testing.assert_allclose(read.mean(axis=0), 0.0, atol=0.1)  # two samples of 4096: five standard errors
    np.testing.assert_allclose(read.std(axis=0), 1.0, atol=0.2)
    size = np.sqrt(np.mean(batch.target.mean**2, axis=0))
    np.testing.assert_allclose(size / run[0].scaling["mean_scale"], 1.0, atol=0.1)


def test_a_family_of_one_has_a_setting():
    """Nothing varies, nothing to divide by."""
    family = Gaussian(np.zeros((1, 2)), np.eye(2)[None])
    setting, scaled, _ = prepare(SMALL, family)
    for value in setting.scaling.values():
        assert np.all(np.isfinite(value))
    assert np.all(setting.scaling["input_scale"] > 0)
    state = train(SMALL, setting, scaled, None, init_state(SMALL, setting))
    assert all(np.isfinite(leaf).all() for leaf in optim.tree_leaves(state.params))


# Gradients


def gradient_case(family, method, labelled):
    config = config_of(method=method)
    run = prepare(config, family, LABELS if labelled else None)
    params = shaken(init_state(config, run[0]).params)
    return params, run[0].scaling, draw_batch(config, *run, 0)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("method", NAMES)
def test_gradient_against_differences(family, method, labelled):
    params, scaling, batch = gradient_case(family, method, labelled)
    assert (batch.labels is not None) == labelled
    _, grads = gaussian_loss_and_grad(params, scaling, batch, method=method)
    rng = np.random.default_rng(3)
    for path, leaf in optim.flatten(params).items():
        direction = rng.standard_normal(leaf.shape)

        def value(h, path=path, direction=direction):
            flat = optim.flatten(params)
            flat[path] = flat[path] + h * direction
            return gaussian_loss_and_grad(optim.unflatten(flat), scaling, batch, method=method)[0]

        slope = oracles.derivative(value, step=1e-6)
        truth = np.sum(optim.flatten(grads)[path] * direction)
        assert abs(slope - truth) < 1e-6 * (abs(truth) + 1e-2), path
        assert abs(truth) > 0, path
        assert abs(slope - 2 * truth) > 1e-6 * (abs(truth) + 1e-2), path


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("method", NAMES)
def test_gradient_against_torch_autograd(family, method, labelled):
    torch = pytest.importorskip("torch")
    params, scaling, batch = gradient_case(family, method, labelled)
    value, grads = gaussian_loss_and_grad(params, scaling, batch, method=method)

    there, constants, same = map_arrays(torch.tensor, (params, scaling, batch))
    leaves = optim.flatten(there)
    for leaf in leaves.values():
        leaf.requires_grad_()
    output, _ = bures_mlp(optim.unflatten(leaves), constants, same.mu_t, same.t, same.labels)
    chosen = METHODS[method]
    loss = chosen.loss(chosen.velocity(*output), same.target, same.mu_t)[0]
    loss.backward()
    assert relative(loss.item(), value) < 1e-12
    for path, leaf in leaves.items():
        assert relative(optim.flatten(grads)[path], leaf.grad.numpy()) < 1e-10, path


# Steps


def run_on(name, config, family, labels, *, reference=False):
    backend = load(name, dtype="float64", reference=reference)
    there = Gaussian(*map(backend.asarray, family))
    setting, scaled, _ = prepare(config, there, labels)
    losses = []
    state = train(
        config,
        setting,
        scaled,
        labels,
        init_state(config, setting),
        ops=backend.ops,
        every=1,
        report=lambda state, metrics: losses.append(metrics[:2]),
    )
    generated, _ = sample(config, setting, trained(state), size=4, n_steps=2, seed=0)
    return map_arrays(to_host, (losses, state.params, state.ema, generated))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, method) for name in ("numpy", "strict", "torch:cpu") for method in NAMES),
        pytest.param("jax:cpu", "riemannian", marks=pytest.mark.slow),  # compiles for some ten seconds
    ],
)
def test_the_same_run_on_every_library(family, name, method):
    """Setting, initial weights, batches, updates and generation, with the backend's twins."""
    pytest.importorskip({"strict": "array_api_strict"}.get(name, name.partition(":")[0]))
    steps = 1 if name == "jax:cpu" and not THOROUGH else 4
    config = config_of(steps=steps, method=method, matching=method == "riemannian")
    labels = LABELS if method == "riemannian" else None
    truth = run_on("numpy", config, family, labels, reference=True)
    result = run_on(name, config, family, labels)
    # The barycenter is converged to 1e-9, and Adam divides small gradients by their size.
    for part, expected in zip(result[1:], truth[1:], strict=True):
        for array, other in zip(leaves_of(part), leaves_of(expected), strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-6 * np.max(np.abs(other)))
    np.testing.assert_allclose(result[0], truth[0], rtol=1e-6)


def leaves_of(tree):
    found = []
    map_arrays(found.append, tree)
    return found


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("changes", [{}, {"matching": True, "method": "euclidean"}, {"ema": 0.0}], ids=str)
def test_a_resumed_run_ends_with_the_same_bits(family, twins, changes):
    config = config_of(steps=7, **changes)
    ops = load("numpy", dtype="float64", reference=not twins).ops
    setting, scaled, labels = prepare(config, family, LABELS)

    def train_from(state, steps):
        return train(dataclasses.replace(config, steps=steps), setting, scaled, labels, state, ops=ops)

    whole = train_from(init_state(config, setting), 7)
    half = copied(train_from(init_state(config, setting), 3))
    resumed = train_from(half, 7)
    assert whole.step == resumed.step == 7
    assert whole.adam.steps == resumed.adam.steps == 7
    for one, two in [
        (whole.params, resumed.params),
        (whole.adam.first, resumed.adam.first),
        (whole.adam.second, resumed.adam.second),
        (whole.ema or {}, resumed.ema or {}),
    ]:
        assert_same_bits(one, two)
    again = train_from(init_state(config_of(seed=1), setting), 7)
    assert np.any(again.params["mean"]["mlp"]["in"]["weight"] != whole.params["mean"]["mlp"]["in"]["weight"])


def copied(state):
    """As if written to a file and read back."""
    return map_arrays(np.copy, state)


def test_reference_step_leaves_its_state_alone(family):
    run = prepare(SMALL, family)
    state = init_state(SMALL, run[0])
    before = copied(state)
    after, metrics = step(SMALL, *run, state)
    assert_same_bits(before.params, state.params)
    assert_same_bits(before.adam.first, state.adam.first)
    assert isinstance(after, State)
    assert (state.step, after.step) == (0, 1)
    assert metrics.loss.shape == metrics.grad_norm.shape == ()


def test_average_starts_at_once(family):
    """Decay (1 + k) / (10 + k) in step k, by hand for the first two, and never above the configured one."""
    run = prepare(SMALL, family)
    start = init_state(SMALL, run[0])
    one, _ = step(SMALL, *run, start)
    two, _ = step(SMALL, *run, one)
    weight = lambda tree: tree["mean"]["mlp"]["out"]["weight"]  # noqa: E731
    expected = 0.1 * weight(start.params) + 0.9 * weight(one.params)
    np.testing.assert_allclose(weight(one.ema), expected, rtol=1e-14)
    expected = 2 / 11 * expected + 9 / 11 * weight(two.params)
    np.testing.assert_allclose(weight(two.ema), expected, rtol=1e-13, atol=1e-18)
    late, _ = step(SMALL, *run, one._replace(step=10**6))
    np.testing.assert_allclose(
        weight(late.ema), 0.9 * weight(one.ema) + 0.1 * weight(late.params), rtol=1e-13
    )
    assert init_state(config_of(ema=0.0), run[0]).ema is None


def test_learning_rate_falls_as_the_paper_says():
    config = GaussianConfig()
    assert learning_rate(config, 0) == config.learning_rate
    assert learning_rate(config, 1000) == pytest.approx(0.97 * config.learning_rate, rel=1e-14)
    assert learning_rate(config, 100_000) == pytest.approx(0.97**100 * config.learning_rate, rel=1e-12)


def test_the_defaults_are_the_papers():
    config = GaussianConfig()
    assert (config.steps, config.batch, config.width, config.depth) == (100_000, 128, 1024, 6)
    assert (config.decay, config.decay_every) == (0.97, 1000)


def test_clipping_bounds_the_step(family):
    """With a tiny bound the first moment is tiny too; what is reported is the norm before clipping."""
    run = prepare(SMALL, family)
    norms = {}
    for bound in (0.0, 1e-3):
        config = config_of(clip_norm=bound)
        state, metrics = step(config, *run, init_state(config, run[0]))
        moment = np.sqrt(sum(np.sum(leaf**2) for leaf in optim.tree_leaves(state.adam.first)))
        norms[bound] = (float(metrics.grad_norm), moment / 0.1)  # b1 = 0.9
    assert norms[0.0][0] == norms[1e-3][0]
    assert norms[0.0][1] == pytest.approx(norms[0.0][0], rel=1e-12)
    assert norms[1e-3][1] == pytest.approx(1e-3, rel=1e-12)


# Runs


def test_reports(family):
    run = prepare(SMALL, family)
    fine, coarse = [], []
    for every, seen in ((1, fine), (4, coarse)):
        train(
            SMALL,
            *run,
            init_state(SMALL, run[0]),
            every=every,
            report=lambda state, metrics, seen=seen: seen.append((state.step, *metrics[:2])),
        )
    assert [row[0] for row in fine] == [1, 2, 3, 4, 5, 6]
    assert [row[0] for row in coarse] == [4, 6]
    np.testing.assert_allclose(coarse[0][1:], np.mean([row[1:] for row in fine[:4]], axis=0), rtol=1e-14)
    np.testing.assert_allclose(coarse[1][1:], np.mean([row[1:] for row in fine[4:]], axis=0), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_stops_the_run(family, where, bad):
    config = config_of(steps=20, seed=5)
    run = prepare(config, family)
    count = iter(range(100))

    def broken(*args, **kwargs):
        loss, grads = gaussian_loss_and_grad(*args, **kwargs)
        if next(count) == 13:
            return (
                (np.asarray(bad), grads)
                if where == "loss"
                else (loss, optim.tree_map(lambda g: g + bad, grads))
            )
        return loss, grads

    reported = []
    message = r"step 13 \(seed 5\).* a smaller learning_rate"
    # NumPy warns when an infinite gradient is clipped; what counts is the test for finiteness.
    with np.errstate(invalid="ignore"), pytest.raises(NonFiniteLossError, match=message):
        train(
            config,
            *run,
            init_state(config, run[0]),
            ops=REFERENCE._replace(gaussian_loss_and_grad=broken),
            every=5,
            report=lambda state, *_: reported.append(state.step),
        )
    assert reported == [5, 10]


TOY = GaussianConfig(
    steps=300,
    batch=64,
    width=32,
    depth=2,
    n_frequencies=4,
    label_dim=4,
    learning_rate=3e-3,
    ema=0.98,
    matching=False,
)


@pytest.fixture(scope="module")
def two_targets():
    return Gaussian(np.array([[-2.0, 0.0], [2.0, 0.0]]), np.stack([np.diag([1.0, 0.1]), np.diag([0.1, 1.0])]))


@pytest.mark.parametrize("method", NAMES)
def test_it_learns_two_targets_by_their_labels(two_targets, method):
    """The loss falls, and asked for a target it generates that one."""
    config = dataclasses.replace(TOY, method=method)
    labels = np.array([0, 1])
    setting, scaled = fit_setting(config, two_targets, labels=labels, n_labels=2)
    losses = []
    ops = load("numpy", dtype="float64").ops
    state = train(
        config,
        setting,
        scaled,
        labels,
        init_state(config, setting),
        ops=ops,
        every=50,
        report=lambda state, metrics: losses.append(metrics.loss),
    )
    assert losses[-1] < 0.3 * losses[0]
    wanted = np.repeat([0, 1], 20)
    generated, given = sample(config, setting, trained(state), size=40, n_steps=20, seed=1, labels=wanted)
    np.testing.assert_array_equal(given, wanted)
    cost = bures.pairwise_sq_distance(generated.gaussian, two_targets)
    np.testing.assert_array_equal(cost.argmin(axis=1), wanted)
    right, wrong = cost[np.arange(40), wanted], cost[np.arange(40), 1 - wanted]
    assert np.mean(right) < 0.1 * np.mean(wrong)
    untrained, _ = sample(
        config, setting, trained(init_state(config, setting)), size=40, n_steps=20, seed=1, labels=wanted
    )
    before = bures.pairwise_sq_distance(untrained.gaussian, two_targets)[np.arange(40), wanted]
    assert np.mean(right) < 0.1 * np.mean(before)


def test_tiny_covariances_are_scaled_and_constant_means_are_not():
    rng = np.random.default_rng(0)
    shapes = 1e-10 * oracles.random_gaussian(rng, 40, 2).cov
    spread = fit_setting(SMALL, Gaussian(rng.standard_normal((40, 2)), shapes))[0].scaling["input_scale"]
    assert np.all(spread[:2] > 0.1)
    assert np.all(spread[2:] < 1e-8)
    still = fit_setting(SMALL, Gaussian(np.full((40, 2), 0.1), shapes))[0].scaling["input_scale"]
    np.testing.assert_array_equal(still[:2], 1.0)
    assert np.all((still[2:] > 0.01) & (still[2:] != 1.0))


def test_covariances_that_are_constant_up_to_rounding_are_not_scaled():
    rng = np.random.default_rng(0)
    noise = 1.0 + 1e-12 * rng.standard_normal((50, 2, 2))
    mu = Gaussian(rng.standard_normal((50, 2)), 1e-10 * np.asarray([[2.0, 1.0], [1.0, 3.0]]) * noise)
    target = Tangent(np.zeros((50, 2)), np.zeros((50, 2, 2)))
    for cov in (mu.cov, np.broadcast_to(mu.cov[:1], mu.cov.shape)):
        scaling = fit_scaling(Gaussian(mu.mean, cov), target)
        np.testing.assert_array_equal(scaling["input_scale"][2:], 1.0)
        np.testing.assert_array_equal(scaling["matrix_scale"], 1.0)


def test_an_untrained_field_generates_the_source_in_data_units(family):
    """It is zero at the start: what comes out is what was drawn, shifted and scaled back."""
    setting, *_ = prepare(SMALL, family)
    seen = []
    generated, labels = sample(
        SMALL,
        setting,
        trained(init_state(SMALL, setting)),
        size=2000,
        n_steps=2,
        seed=3,
        observe=lambda k, mu: seen.append(k),
    )
    assert labels is None
    assert seen == [0, 1, 2]
    mean, std = generated.gaussian.mean.mean(axis=0), generated.gaussian.mean.std(axis=0)
    assert np.all(np.abs(mean - family.mean.mean(axis=0)) < 5 * std / 2000**0.5)
    np.testing.assert_allclose(std, family.mean.std(axis=0), rtol=0.1)
    again, _ = sample(SMALL, setting, trained(init_state(SMALL, setting)), size=2000, n_steps=2, seed=3)
    np.testing.assert_array_equal(again.gaussian.cov, generated.gaussian.cov)
    other, _ = sample(SMALL, setting, trained(init_state(SMALL, setting)), size=2000, n_steps=2, seed=4)
    assert np.any(other.gaussian.cov != generated.gaussian.cov)


def test_labels_are_drawn_with_the_datas_frequencies(family):
    setting, *_ = prepare(SMALL, family, LABELS)
    np.testing.assert_array_equal(setting.label_counts, [2, 2, 1])
    _, labels = sample(SMALL, setting, trained(init_state(SMALL, setting)), size=3000, n_steps=1, seed=0)
    frequency = np.bincount(labels, minlength=3) / 3000
    assert np.max(np.abs(frequency - [0.4, 0.4, 0.2])) < 5 * (0.24 / 3000) ** 0.5


def test_generation_uses_the_average(family):
    setting, *_ = prepare(SMALL, family)
    state = init_state(SMALL, setting)
    options = {"size": 3, "n_steps": 2, "seed": 0}
    at_rest = sample(SMALL, setting, trained(state), **options)[0].gaussian
    moved = state._replace(params=shaken(state.params))
    np.testing.assert_array_equal(
        sample(SMALL, setting, trained(moved), **options)[0].gaussian.cov, at_rest.cov
    )
    averaged = state._replace(ema=moved.params)
    alone = moved._replace(ema=None)
    result = sample(SMALL, setting, trained(averaged), **options)[0].gaussian.cov
    assert np.any(result != at_rest.cov)
    np.testing.assert_array_equal(sample(SMALL, setting, trained(alone), **options)[0].gaussian.cov, result)


@pytest.mark.parametrize("method", NAMES)
def test_learned_fields_have_the_methods_kind(family, method):
    config = config_of(method=method)
    setting, scaled, _ = prepare(config, family)
    field = learned_field(config, setting, shaken(init_state(config, setting).params))
    v = field(scaled, np.full(5, 0.5))
    assert type(v) is METHODS[method].velocity
    np.testing.assert_array_equal(v[1], v[1].mT)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "riemann"}, "method must be one of riemannian, euclidean, frobenius; got 'riemann'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch": -1}, "batch must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
        ({"decay_every": 0}, "decay_every must be at least 1"),
        ({"steps": 1.5}, "steps must be of type int"),
        ({"steps": True}, "steps must be of type int"),
        ({"matching": 1}, "matching must be of type bool"),
        ({"learning_rate": "fast"}, "learning_rate must be of type float"),
        ({"method": 3}, "method must be of type str"),
        ({"df": 2.5}, "df must be of type"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and positive; got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite and positive; got nan"),
        ({"decay": 1.1}, "decay must be finite, positive and at most 1; got 1.1"),
        ({"decay": 0.0}, "decay must be finite, positive and at most 1; got 0.0"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"clip_norm": float("nan")}, "clip_norm"),
        ({"ema": 1.0}, "ema must be finite, not negative and less than 1"),
        ({"seed": -1}, "seed must be not negative; got -1"),
    ],
    ids=str,
)
def test_bad_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_of(**changes)


def test_bad_families_are_refused():
    with pytest.raises(ValueError, match="family must have at least one member"):
        fit_setting(SMALL, Gaussian(np.zeros((0, 2)), np.zeros((0, 2, 2))))
    with pytest.raises(ValueError, match="family must have at least one member"):
        fit_setting(SMALL, Gaussian(np.zeros(2), np.eye(2)))
    with pytest.raises(ValueError, match=r"family\.cov must be finite"):
        fit_setting(SMALL, Gaussian(np.zeros((1, 2)), np.full((1, 2, 2), np.nan)))
    with pytest.raises(ValueError, match="df must be an integer of at least d = 5"):
        fit_setting(SMALL, Gaussian(np.zeros((1, 5)), np.eye(5)[None]))


def test_bad_labels_are_refused(family):
    setting, *_ = prepare(SMALL, family, LABELS)
    state, options = init_state(SMALL, setting), {"n_steps": 1, "seed": 0}
    for labels in (np.array([0, 3]), np.array([-1, 0]), np.array([0, 1, 2])):
        with pytest.raises(ValueError, match="labels must be 2 integers from 0 to 2"):
            sample(SMALL, setting, trained(state), size=2, labels=labels, **options)
    plain, *_ = prepare(SMALL, family)
    with pytest.raises(ValueError, match="the model is unconditional"):
        sample(SMALL, plain, trained(init_state(SMALL, plain)), size=2, labels=np.array([0, 1]), **options)


def test_a_labelled_family_can_be_learned_without_labels(family):
    config = config_of(conditional=False)
    setting, scaled, labels = prepare(config, family, LABELS)
    assert len(setting.label_counts) == 0
    assert draw_batch(config, setting, scaled, labels, 0).labels is None
    assert "labels" not in init_state(config, setting).params["mean"]
