"""Training of the hypernetwork: resumes to the same numbers, learns, says what is wrong."""

import numpy as np
import pytest

from refwfm._array import to_host
from refwfm.datasets import palettes
from refwfm.meta import hypernetwork, w2gn
from refwfm.training import meta_icnn, optim
from refwfm.training.algorithm import NonFiniteLossError

OPTIONS = {"seed": 3, "meta_batch": 3, "batch_size": 16, "warm_up": 5, "every": 4}


def small(start="gaussian", n=12, dtype=np.float64, width=16):
    rng = np.random.default_rng(0)
    clouds = meta_icnn.read(palettes.synthetic_palettes(n, 48, rng=rng).astype(dtype))
    start = meta_icnn.init_start(start, rng, like=clouds.points, width=8, pretraining=30, require=False)
    return meta_icnn.init_state(rng, clouds, start, width=width), clouds, start


def assert_same(tree, other):
    for one, two in zip(optim.tree_leaves(tree), optim.tree_leaves(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_clouds_are_read_as_one_by_one():
    _, clouds, _ = small()
    for i in (0, 7):
        np.testing.assert_allclose(clouds.features[i], hypernetwork.summary(clouds.points[i]), atol=1e-13)
    some = meta_icnn.take(clouds, np.asarray([7, 0, 7]))
    np.testing.assert_array_equal(some.points[1], clouds.points[0])
    np.testing.assert_array_equal(some.moments.cov, clouds.moments.cov[[7, 0, 7]])
    np.testing.assert_array_equal(some.features[0], some.features[2])


@pytest.mark.parametrize("kind", meta_icnn.STARTS)
def test_before_training_the_prediction_is_the_start(kind):
    state, clouds, start = small(kind)
    x, y = (meta_icnn.take(clouds, np.asarray(i)) for i in ([0, 1], [2, 3]))
    found = meta_icnn.predict(state.params, start, x, y)["potential"]["quadratic"]
    expected = meta_icnn.start_of(start, x, y)["potential"]["quadratic"]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-15)
    assert found.shape == (2, 3, 3)
    # Only the Gaussian start is another one for each pair.
    assert np.array_equal(found[0], found[1]) == (kind != "gaussian")


def test_the_identity_is_trained_and_the_random_pair_is_not():
    rng, like = np.random.default_rng(0), np.zeros(0)
    x = rng.uniform(size=(200, 3))
    losses = []
    for kind in ("random", "identity"):
        start = meta_icnn.init_start(
            kind, np.random.default_rng(1), like=like, width=8, pretraining=300, require=False
        )
        losses.append(float(w2gn.identity_loss_and_grad(start.pair, x)[0]))
    assert losses[1] < 0.3 * losses[0]


def test_a_stopped_run_goes_on_to_the_same_numbers():
    state, clouds, start = small(dtype=np.float32)
    whole = meta_icnn.train(state, clouds, start, n_steps=9, **OPTIONS)
    half = meta_icnn.train(state, clouds, start, n_steps=9, until=4, **OPTIONS)
    assert half.adam.steps == 4
    parts = meta_icnn.train(half, clouds, start, n_steps=9, **OPTIONS)
    assert_same(whole.params, parts.params)
    assert_same(whole.adam.first, parts.adam.first)
    assert whole.params["in"]["weight"].dtype == np.float32
    # Nothing is left to do, and another seed draws others.
    assert_same(meta_icnn.train(whole, clouds, start, n_steps=9, **OPTIONS).params, whole.params)
    other = meta_icnn.train(state, clouds, start, n_steps=9, **OPTIONS | {"seed": 4})
    assert not np.array_equal(other.params["out"]["weight"], whole.params["out"]["weight"])


def test_one_step_is_adam_on_the_gradient():
    state, clouds, start = small()
    found = meta_icnn.train(state, clouds, start, n_steps=9, until=1, **OPTIONS | {"max_norm": 1e9})
    rng = meta_icnn.random_stream(3, "batch", 0)
    i, j = rng.integers(0, 12, (2, 3))
    x, y = (clouds.points[k][np.arange(3)[:, None], rng.integers(0, 48, (3, 16))] for k in (i, j))
    pairs = hypernetwork.gaussian_start(
        meta_icnn.take(clouds, i).moments, meta_icnn.take(clouds, j).moments, start.pair
    )
    _, grads = hypernetwork.loss_and_grad(state.params, clouds.features[i], clouds.features[j], pairs, x, y)
    expected, _ = optim.adam(state.params, grads, state.adam, learning_rate=1e-3 / 5)
    assert_same(found.params, expected)


@pytest.mark.parametrize("kind", ["gaussian", "identity"])
def test_training_makes_better_predictions_for_clouds_it_has_not_seen(kind):
    state, clouds, start = small(kind, n=64, width=64)
    rng = np.random.default_rng(99)
    x, y = (meta_icnn.read(palettes.synthetic_palettes(6, 100, rng=rng)) for _ in range(2))

    def value(params):
        pair = meta_icnn.predict(params, start, x, y)
        return float(np.mean(w2gn.dual_value(pair["potential"], x.points, y.points)))

    before, losses = value(state.params), []
    state = meta_icnn.train(
        state,
        clouds,
        start,
        n_steps=150,
        **OPTIONS | {"every": 50},
        report=lambda state, loss: losses.append((state.adam.steps, loss)),
    )
    assert [step for step, _ in losses] == [50, 100, 150]
    assert losses[-1][1] < losses[0][1]
    assert value(state.params) > before + (1e-4 if kind == "gaussian" else 1e-2)


def test_the_schedule():
    def rate(step):
        return optim.warm_up_cosine(step, base=2.0, warm_up=10, n_steps=110)

    assert rate(0) == pytest.approx(0.2)
    assert rate(9) == rate(10) == 2.0
    assert rate(60) == pytest.approx(1.0)
    assert 0 < rate(109) < 1e-3
    assert rate(110) == rate(200) == 0.0
    assert optim.warm_up_cosine(0, base=2.0, warm_up=10, n_steps=3) == pytest.approx(0.2)


def test_errors_say_what_is_wrong():
    state, clouds, start = small()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown start 'zeros'; there are gaussian, identity, random"):
        meta_icnn.init_start("zeros", rng, like=clouds.points)
    with pytest.raises(ValueError, match="until must be at most n_steps = 5; got 6"):
        meta_icnn.train(state, clouds, start, n_steps=5, until=6, **OPTIONS)
    for name, value in (("n_steps", 0), ("every", 0), ("meta_batch", 0), ("n_steps", 2.5)):
        with pytest.raises((TypeError, ValueError), match=name):
            meta_icnn.train(state, clouds, start, **{"n_steps": 5} | OPTIONS | {name: value})
    with pytest.raises(TypeError, match="clouds"):
        meta_icnn.train(state, clouds._replace(points=clouds.points.tolist()), start, n_steps=1, seed=0)
    lost = clouds._replace(points=np.full_like(clouds.points, np.nan))
    with pytest.raises(NonFiniteLossError, match=r"the loss became nan at step 0 \(seed 3\)"):
        meta_icnn.train(state, lost, start, n_steps=5, **OPTIONS)


@pytest.mark.parametrize("kind", ["gaussian", "random"])
def test_it_trains_on_every_library(library, kind):
    if library.name == "jax":
        pytest.skip("compiles for 20 s: a step is tried in test_hypernetwork, Adam in test_cloud_training")
    state, clouds, start = small(kind)
    truth = meta_icnn.train(state, clouds, start, n_steps=4, **OPTIONS)
    points = library.array(clouds.points)
    given = optim.tree_map(library.array, start.pair)
    params = optim.tree_map(library.array, state.params)
    begun = meta_icnn.State(params, optim.init_adam(params))
    found = meta_icnn.train(begun, meta_icnn.read(points), meta_icnn.Start(kind, given), n_steps=4, **OPTIONS)
    weight = to_host(found.params["out"]["weight"])
    # Adam's first steps have the same length whatever the gradient: noise in a small one is seen.
    assert np.median(np.abs(weight - truth.params["out"]["weight"])) < (1e-9 if library.eps < 1e-10 else 1e-4)
