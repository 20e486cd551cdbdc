"""Fitting of conditional Monge maps, and the experiment with two starts."""

import json

import matplotlib.image
import numpy as np
import pytest
from command import assert_error, refwfm, succeed
from thirds import THOROUGH

from refwfm.meta import picnn
from refwfm.meta.monge import map_loss_and_grad, potential_loss_and_grad
from refwfm.paper_figures.meta import conditional, conditional_experiment
from refwfm.training import monge, optim
from refwfm.training.w2gn import sample


def small(seed=0, n=40):
    rng = np.random.default_rng(seed)
    game = monge.init_game(
        *(picnn.init_picnn(rng, 2, 1, like=np.zeros(0), width=6, depth=2) for _ in range(2))
    )
    c = np.asarray([[-1.0], [0.0], [1.0]])
    x = rng.standard_normal((3, n, 2))
    return game, x, 2.0 * x + c[:, None, :], c


def test_a_step_is_ten_of_the_map_and_one_of_the_potential():
    game, x, y, c = small()
    found = monge.fit(game, x, y, c, rng=np.random.default_rng(1), n_steps=1, inner=2, batch_size=8)
    rng, g, g_adam = np.random.default_rng(1), game.g, game.g_adam
    rates = {"learning_rate": 1e-4, "b1": 0.5, "b2": 0.9}
    for _ in range(2):
        _, grads = map_loss_and_grad(g, game.f, sample(x, 8, rng=rng), c)
        g, g_adam = optim.adam(g, grads, g_adam, **rates)
    some, others = sample(x, 8, rng=rng), sample(y, 8, rng=rng)
    _, grads = potential_loss_and_grad(g, game.f, some, others, c)
    f, _ = optim.adam(game.f, grads, game.f_adam, **rates)
    for one, two in ((found.g, g), (found.f, monge.clamp_kernels(f))):
        for a, b in zip(optim.tree_leaves(one), optim.tree_leaves(two), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (found.g_adam.steps, found.f_adam.steps) == (2, 1)
    assert len(optim.tree_leaves(monge.fit(game, x, y, c, rng=rng, n_steps=0).g)) > 0


def test_the_potential_stays_convex_and_the_map_learns():
    game, x, y, c = small(n=400)
    seen = []

    def look(step, game):
        kernels = [layer["wz"] for layer in game.f["layers"].values() if "wz" in layer]
        assert min(float(kernel.min()) for kernel in kernels) >= 0.0
        seen.append(float(np.mean((picnn.monge_map(game.g, x, c)[0] - y) ** 2)))

    options = {"n_steps": 60, "batch_size": 64 if THOROUGH else 24, "learning_rate": 5e-3}
    monge.fit(game, x, y, c, rng=np.random.default_rng(0), **options, report=look)
    assert len(seen) == 60
    assert seen[-1] < 0.7 * float(np.mean((x - y) ** 2))


def test_arguments():
    game, x, y, c = small()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="a condition for each cloud"):
        monge.fit(game, x, y, c[:2], rng=rng, n_steps=1)
    with pytest.raises(TypeError, match="y must be an array"):
        monge.fit(game, x, y.tolist(), c, rng=rng, n_steps=1)
    for name in ("n_steps", "inner"):
        with pytest.raises(TypeError, match=name):
            monge.fit(game, x, y, c, rng=rng, **{"n_steps": 1, name: 1.5})


@pytest.mark.parametrize("c", [-0.7, 0.0, 0.4])
def test_the_family_has_optimal_maps(c):
    """Gradients of convex functions: the Jacobian is symmetric with positive eigenvalues; images are best."""
    rng = np.random.default_rng(0)
    x, h = conditional_experiment.source(30, rng), 1e-5
    jacobian = np.stack(
        [
            (conditional_experiment.true_map(x + e, c) - conditional_experiment.true_map(x - e, c)) / (2 * h)
            for e in h * np.eye(2)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(jacobian, jacobian.mT, atol=1e-9)
    assert np.linalg.eigvalsh(jacobian).min() > 0.3
    from scipy.optimize import linear_sum_assignment

    y = conditional_experiment.true_map(x, c)
    cost = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    assert linear_sum_assignment(cost)[1].tolist() == list(range(30))


def test_the_error_is_in_percent_of_the_variance():
    truth = np.random.default_rng(0).standard_normal((3, 500, 2))
    np.testing.assert_array_equal(conditional_experiment.unexplained(truth, truth), 0.0)
    means = np.broadcast_to(truth.mean(axis=1, keepdims=True), truth.shape)
    np.testing.assert_allclose(conditional_experiment.unexplained(means, truth), 100.0)


def test_the_command(tmp_path):
    said = succeed("reproduce", "meta-ot-conditional", "--scale", "smoke", "--jobs", 1, "--out", tmp_path)
    assert "4 steps of the potential, 2 of the map for each" in said
    rows = json.loads((tmp_path / "meta-ot-conditional.json").read_text())["rows"]
    assert [row["start"] for row in rows] == list(conditional.STARTS)
    before = {row["start"]: np.mean(row["errors"][0]) for row in rows}
    assert before["gaussian"] < 5
    assert before["identity"] > 50
    assert rows[0]["logged_at"] == [0, 1, 2, 3, 4]
    picture = matplotlib.image.imread(tmp_path / "meta-ot-conditional.png")[..., :3]
    assert np.mean(np.ptp(picture, axis=-1) > 0.1) > 0.01
    gold = np.asarray([0xD9, 0x9A, 0x00]) / 255
    assert np.mean(np.max(np.abs(picture - gold), axis=-1) < 0.15) > 5e-4  # the source can be seen
    again = succeed("reproduce", "meta-ot-conditional", "--scale", "smoke", "--out", tmp_path, "--resume")
    assert "gaussian" in again
    kept = json.loads((tmp_path / "meta-ot-conditional.json").read_text())["rows"]
    assert kept == rows
    result = refwfm("reproduce", "meta-ot-conditional", "--data", "cells", "--out", tmp_path)
    assert_error(result, "--data has no meaning for meta-ot-conditional")
