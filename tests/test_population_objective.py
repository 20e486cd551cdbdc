"""Paths, pairs and the objective of flow matching between populations."""

import numpy as np
import pytest
import strategies
from hypothesis import given

from refwfm.populations.embedding import init_population_embedding, tell
from refwfm.populations.graphs import knn_graph
from refwfm.populations.objective import (
    ParticleBatch,
    Population,
    flow_matching_loss,
    flow_matching_loss_without_constant,
    loss_and_grad,
)
from refwfm.populations.pairs import indicators, linear_path, optimal_pairs, start_points
from refwfm.populations.velocity import init_velocity
from refwfm.training import optim

LIKE, OPTIONS = np.zeros(0), {"n_time": 6, "heads": 2}


def networks(rng, n_embedding=4, *, attention=0, condition=0, marks=0, like=LIKE, move=0.3):
    field = {"width": 8, "depth": 3, "n_time": 6, "n_space": 4, "space_scale": 0.1, "heads": 2}
    field |= {"n_embedding": n_embedding, "n_condition": condition, "attention": attention}
    params = {
        "velocity": init_velocity(rng, 2, like=like, n_particle=4, **field),
        "embedding": init_population_embedding(rng, 2, like=like, width=4, marks=marks),
    }
    return optim.tree_map(lambda p: p + (move * rng.standard_normal(p.shape)).astype(p.dtype), params)


def batch_of(x0, x1, rng, k=2, **more):
    t = rng.uniform(0.0, 1.0, x0.shape[:-1])
    return ParticleBatch(x0, x1, t, population=Population(x0, knn_graph(x0, k)), **more)


def some(rng, size=3, n=6):
    return batch_of(*rng.standard_normal((2, size, n, 2)), rng)


def inner(x, y):
    return sum(np.sum(p * q) for p, q in zip(optim.tree_leaves(x), optim.tree_leaves(y), strict=True))


# Paths and pairs


@given(strategies.seeds)
def test_lines_end_where_they_should(seed):
    rng = np.random.default_rng(seed)
    x0, x1 = rng.standard_normal((2, 4, 5, 2))
    for t, end in ((0.0, x0), (1.0, x1)):
        np.testing.assert_array_equal(linear_path(x0, x1, np.full((4, 5), t))[0], end)
    t = rng.uniform(0.1, 0.9, (4, 5))
    x_t, u = linear_path(x0, x1, t)
    np.testing.assert_allclose(x_t + (1.0 - t[..., None]) * u, x1, atol=1e-13)
    assert np.abs(x_t + t[..., None] * u - x1).max() > 1e-2 or np.abs(t - 0.5).max() < 0.05
    with pytest.raises(ValueError, match="same shape"):
        linear_path(x0, x1[:2], t)


def test_noise_knows_nothing_of_the_data(rng):
    x0 = rng.standard_normal((2, 6, 2))
    first, again = (start_points(x, "noise", rng=np.random.default_rng(3)) for x in (x0, 5.0 + 2.0 * x0))
    np.testing.assert_array_equal(first, again)
    assert start_points(x0, "data", rng=rng) is x0
    with pytest.raises(ValueError, match="source must be one of data, noise; got 'zeros'"):
        start_points(x0, "zeros", rng=rng)


def test_optimal_pairs_of_unequal_padded_populations(rng):
    x0, x1 = rng.standard_normal((2, 3, 2)), rng.standard_normal((2, 5, 2))
    live = np.array([[True] * 3, [True, True, False]]), np.ones((2, 5), dtype=bool)
    before, after = optimal_pairs(x0, x1, 4000, rng=rng, mask=live)
    assert before.shape == after.shape == (2, 4000, 2)
    for i in range(2):
        for x, found, mask in ((x0, before, live[0]), (x1, after, live[1])):
            shares = [np.mean(np.all(found[i] == row, axis=-1)) for row in x[i]]
            expected = mask[i] / mask[i].sum()
            np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 4000**0.5)
            assert np.all((np.array(shares) > 0) == mask[i])


def test_pairs_have_no_derivative(rng):
    torch = pytest.importorskip("torch")
    x = torch.tensor(rng.standard_normal((1, 3, 2)), requires_grad=True)
    with pytest.raises(TypeError, match="detach"):
        optimal_pairs(x, x, 3, rng=rng)


def test_indices():
    assert indicators([0, 2], 3, like=LIKE).tolist() == [[1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(indicators(None, 260, like=LIKE, size=2), np.full((2, 260), 1 / 260))
    for wrong in ([3], [-1], [0.5], [[0]]):
        with pytest.raises(ValueError, match="ids must be integers from 0 to 2"):
            indicators(wrong, 3, like=LIKE)


# The loss


@given(strategies.seeds)
def test_both_losses_have_one_gradient(seed):
    rng = np.random.default_rng(seed)
    v, u = rng.standard_normal((2, 3, 5, 2))
    mask = np.arange(5) < rng.integers(1, 6, (3, 1))
    (value, gradient), (other, same) = (
        loss(v, u, mask) for loss in (flow_matching_loss, flow_matching_loss_without_constant)
    )
    np.testing.assert_allclose(gradient, same, atol=1e-14)
    constant = flow_matching_loss(0.0 * u, u, mask)[0]
    assert value == pytest.approx(other + constant, abs=1e-12)
    spoiled = np.where(mask[..., None], v, np.nan)
    assert flow_matching_loss(spoiled, u, mask)[0] == value
    assert flow_matching_loss_without_constant(spoiled, u, mask)[0] == other


def test_the_loss_decomposes():
    """``E‖v - u‖² = E‖v - v*‖² + E tr Var(u | x_t)``, and v* is the least that can be had.

    Normal data, ``x0 = x1 + σ ε``: ``v*(x) = -(1 - t) σ² x / (s² + (1 - t)² σ²)``.
    """
    rng, n, s, sigma = np.random.default_rng(0), 200_000, 1.3, 0.7
    x1 = s * rng.standard_normal((1, n, 2))
    x0 = x1 + sigma * rng.standard_normal((1, n, 2))
    t = rng.uniform(0.0, 1.0, (1, n))
    x_t, u = linear_path(x0, x1, t)
    rest = (1.0 - t[..., None]) * sigma
    best = -rest * sigma * x_t / (s**2 + rest**2)
    floor = flow_matching_loss(best, u)[0]
    spread = 2.0 * sigma**2 * s**2 / (s**2 + rest[..., 0] ** 2)
    assert floor == pytest.approx(spread.mean(), rel=0.01)
    for v in (0.0 * x_t, -0.3 * x_t, best + np.sin(x_t)):
        excess = flow_matching_loss(v, best)[0]
        cross = 2.0 * np.sum((v - best) * (best - u), axis=-1)
        error = 5.0 * cross.std() / n**0.5
        assert abs(flow_matching_loss(v, u)[0] - excess - floor) < error
        assert flow_matching_loss(v, u)[0] > floor - error
        wrong = flow_matching_loss(v, -best)[0] + flow_matching_loss(-best, u)[0]  # the sign of the score
        assert abs(flow_matching_loss(v, u)[0] - wrong) > error


# What the velocity is told


def test_without_a_condition_it_does_not_matter_which_population_it_is(rng):
    params, batch = networks(rng, 0), some(rng)
    first = loss_and_grad(params, batch, condition="none", **OPTIONS)[0]
    other = batch._replace(population=batch.population._replace(x=batch.population.x + 1.0))
    assert loss_and_grad(params, other, condition="none", **OPTIONS)[0] == first
    told = networks(rng)
    values = [loss_and_grad(told, each, **OPTIONS)[0] for each in (batch, other)]
    assert abs(values[0] - values[1]) > 1e-6


def test_equal_populations_are_told_the_same(rng):
    """Two populations of the same particles, in another order, have the same loss."""
    params = networks(rng, attention=4)
    x0, x1 = rng.standard_normal((2, 1, 6, 2))
    t = rng.uniform(0.0, 1.0, (1, 6))
    order = rng.permutation(6)
    alike = [
        loss_and_grad(params, ParticleBatch(x0, x1, t, population=Population(x, knn_graph(x, 2))), **OPTIONS)[
            0
        ]
        for x in (x0, x0[:, order])
    ]
    assert alike[0] == pytest.approx(alike[1], rel=1e-12)


def test_with_one_population_all_can_be_the_same(rng):
    """FM, CGFM and MFM share one optimum: what they are told is a constant, a part of the bias."""
    batch = some(rng, size=1)._replace(indicator=indicators([0], 1, like=LIKE))
    mfm, cgfm, fm = (networks(np.random.default_rng(1), size) for size in (4, 1, 0))
    h = tell(mfm["embedding"], batch.population.x, batch.population.index)[0].h[0]
    shift = h @ mfm["velocity"]["in"]["weight"][:4]
    rest = {"weight": mfm["velocity"]["in"]["weight"][4:], "bias": mfm["velocity"]["in"]["bias"]}
    fm = {"velocity": {**mfm["velocity"], "in": {**rest, "bias": rest["bias"] + shift}}}
    both = {"weight": np.concatenate([shift[None], rest["weight"]]), "bias": rest["bias"]}
    cgfm = {"velocity": {**mfm["velocity"], "in": both}}
    losses = [
        loss_and_grad(params, batch, condition=condition, **OPTIONS)[0]
        for params, condition in ((mfm, "embedding"), (cgfm, "index"), (fm, "none"))
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


@pytest.mark.parametrize("attention", [0, 4])
def test_padding_has_no_influence(rng, attention):
    params, batch = networks(rng, attention=attention), some(rng, size=1, n=4)
    value, grads = loss_and_grad(params, batch, **OPTIONS)
    live = np.arange(7)[None] < 4

    def padded(x, fill):
        return np.concatenate([x, np.full((1, 3, *x.shape[2:]), fill)], axis=1)

    x = padded(batch.population.x, np.nan)
    wide = ParticleBatch(
        padded(batch.x0, np.nan),
        padded(batch.x1, np.inf),
        padded(batch.t, 0.5),
        live,
        population=Population(x, knn_graph(x, 2, live), None, live),
    )
    again, same = loss_and_grad(params, wide, **OPTIONS)
    assert again == pytest.approx(value, rel=1e-12)
    for found, truth in zip(optim.tree_leaves(same), optim.tree_leaves(grads), strict=True):
        np.testing.assert_allclose(found, truth, atol=1e-12)


@pytest.mark.parametrize("attention", [0, 4])
def test_one_part_at_a_time(rng, attention):
    params, batch = networks(rng, attention=attention), some(rng)
    loss, grads = loss_and_grad(params, batch, **OPTIONS)
    assert sorted(grads) == ["embedding", "velocity"]
    told, _ = tell(params["embedding"], *batch.population[:2])
    kept, velocity_alone = loss_and_grad(params, batch, told=told, **OPTIONS)
    assert kept == loss
    assert sorted(velocity_alone) == ["velocity"]
    _, embedding_alone = loss_and_grad(params, batch, parts=("embedding",), **OPTIONS)
    assert sorted(embedding_alone) == ["embedding"]
    for part in (velocity_alone, embedding_alone):
        for name in part:
            for found, truth in zip(
                optim.tree_leaves(part[name]), optim.tree_leaves(grads[name]), strict=True
            ):
                np.testing.assert_array_equal(found, truth)
    with pytest.raises(ValueError, match="only where one is computed"):
        loss_and_grad(params, batch, told=told, parts=("embedding",), **OPTIONS)
    with pytest.raises(ValueError, match="parts must be some of"):
        loss_and_grad(params, batch, parts=("all",), **OPTIONS)
    without, same = loss_and_grad(params, batch, with_constant=False, **OPTIONS)
    u = batch.x1 - batch.x0
    assert without == pytest.approx(loss - np.mean(np.sum(u * u, axis=-1)))
    assert inner(same, grads) == pytest.approx(inner(grads, grads), rel=1e-12)


@pytest.mark.parametrize("condition", ["none", "index", "embedding"])
@pytest.mark.parametrize("pooling", ["mean", "moments", "mean-max"])
def test_gradients_by_autograd_and_differences(rng, condition, pooling):
    torch = pytest.importorskip("torch")
    attention = 4 if condition == "embedding" else 0
    size = {"none": 0, "index": 5, "embedding": 4 if pooling == "mean" else 8}[condition]
    params, batch = networks(rng, size, attention=attention), some(rng)
    batch = batch._replace(indicator=indicators([4, 0, 1], 5, like=LIKE))
    options = OPTIONS | {"condition": condition, "embedding": {"pooling": pooling}}
    loss, grads = loss_and_grad(params, batch, **options)
    leaves = optim.tree_map(lambda p: torch.tensor(p, requires_grad=True), params)
    told = Population(*(None if part is None else torch.tensor(part) for part in batch.population))
    parts = (batch.x0, batch.x1, batch.t, batch.indicator)
    x0, x1, t, indicator = (torch.tensor(part) for part in parts)
    theirs, _ = loss_and_grad(leaves, ParticleBatch(x0, x1, t, None, None, told, indicator), **options)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-12)
    flat = optim.flatten(leaves)
    for path, gradient in optim.flatten(grads).items():
        if path.endswith("frequencies"):
            assert not gradient.any()
        else:
            np.testing.assert_allclose(gradient, flat[path].grad.numpy(), atol=1e-12)
    way = optim.tree_map(lambda p: rng.standard_normal(p.shape), {part: params[part] for part in grads})
    way["velocity"]["frequencies"] *= 0.0

    def value(step):
        moved = optim.tree_map(lambda p, w: p + step * w, {part: params[part] for part in grads}, way)
        return loss_and_grad({**params, **moved}, batch, **options)[0]

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    assert inner(grads, way) == pytest.approx(slope, rel=1e-5)


def populations(rng, size=8, n=40):
    """Each moves by the root mean square of its own particles: alike in the mean, different in spread."""
    spread = rng.uniform(0.3, 2.0, (size, 1, 1))
    x0 = spread * rng.standard_normal((size, n, 2))
    return x0, x0 + np.array([2.0, 0.0]) * (spread - 1.0)


@pytest.mark.parametrize("attention", [0, 4])
def test_an_embedding_learns_what_no_pooled_flow_can(attention):
    rng, like = np.random.default_rng(0), np.zeros(0, np.float32)
    last = {}
    for condition in ("none", "embedding"):
        told = condition == "embedding"
        params = networks(rng, 4 if told else 0, attention=attention if told else 0, like=like, move=0.05)
        params = params if told else {"velocity": params["velocity"]}
        state, losses = optim.init_adam(params), []
        for _ in range(250):
            batch = batch_of(*(x.astype(np.float32) for x in populations(rng)), rng)
            batch = batch._replace(t=batch.t.astype(np.float32))
            value, grads = loss_and_grad(params, batch, condition=condition, **OPTIONS)
            params, state = optim.adam(params, grads, state, learning_rate=1e-2)
            losses.append(float(value))
        last[condition] = np.mean(losses[-50:])
    assert last["embedding"] < 0.5 * last["none"]


def test_what_is_refused(rng):
    params, batch = networks(rng), some(rng)
    with pytest.raises(ValueError, match="condition must be one of none, index, embedding; got 'mfm'"):
        loss_and_grad(params, batch, condition="mfm")
    with pytest.raises(ValueError, match="needs the batch's indicator"):
        loss_and_grad(params, batch, condition="index", **OPTIONS)
    with pytest.raises(ValueError, match="needs the batch's population"):
        loss_and_grad(params, batch._replace(population=None), **OPTIONS)
    with pytest.raises(TypeError, match="batch must be a ParticleBatch"):
        loss_and_grad(params, tuple(batch))
    with pytest.raises(TypeError, match="population must be a Population"):
        loss_and_grad(params, batch._replace(population=tuple(batch.population)), **OPTIONS)
    with pytest.raises(TypeError, match="told must be a Told"):
        loss_and_grad(params, batch, told=(1.0, 2.0), **OPTIONS)
    with pytest.raises(ValueError, match="B >= 1"):
        flow_matching_loss(np.zeros((0, 2, 2)), np.zeros((0, 2, 2)))
