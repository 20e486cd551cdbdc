"""The benchmark of starts: its sides solve one problem to one error, and a wrong answer is noticed."""

import numpy as np
import pytest

from refwfm.training.config import CloudConfig
from refwfm.validation.bench import meta_ot


@pytest.fixture
def small(monkeypatch):
    """Drawn strokes of 8 x 8 pixels, a network of a few steps; a few clouds."""
    monkeypatch.delenv("REFWFM_DATA", raising=False)
    for name, value in {
        **{"PAIRS": 3, "SIDE": 8, "STEPS": 3, "BATCH": 4, "WIDTH": 8, "TOLERANCES": (1e-3,), "DRAWN": 1},
        "CONFIG": CloudConfig(batch=2, start_steps=2, n_points=8, eps=0.02),
    }.items():
        monkeypatch.setattr(meta_ot, name, value)


@pytest.fixture
def pairs(small):
    return meta_ot.make(*meta_ot.image_pairs(meta_ot.draw_histograms("test"), 3, seed=1, step=0))


def starts(pairs):
    params = meta_ot.fit(meta_ot.draw_histograms("train"))
    return {
        "zeros": None,
        "Gaussian": meta_ot.gaussian_potential(pairs.x, pairs.y),
        "predicted": meta_ot.predict(params, pairs),
    }


def test_clouds_hold_all_that_the_images_weigh(pairs):
    assert pairs.x.points.shape[1] < 64
    for histograms, cloud in ((pairs.a, pairs.x), (pairs.b, pairs.y)):
        assert np.array_equal(np.sum(histograms > 0, axis=1), np.sum(cloud.weights > 0, axis=1))
        np.testing.assert_allclose(cloud.weights.sum(axis=1), 1.0, rtol=1e-5)
    back = np.zeros_like(pairs.a)
    np.put_along_axis(back, pairs.index, pairs.x.weights, axis=1)
    np.testing.assert_array_equal(back, pairs.a)


def test_held_out_images_are_others(small):
    train, test = (meta_ot.draw_histograms(part) for part in ("train", "test"))
    assert not np.any(np.all(train[:, None] == test[None, :50], axis=-1))


def test_all_sides_reach_the_error_and_agree(pairs):
    truth = meta_ot.solve(pairs, 1e-5, lambda: None, checked=False)
    a = pairs.x.weights
    for name, f in starts(pairs).items():
        ours = meta_ot.solve(pairs, 1e-4, lambda f=f: f, checked=name == "predicted")
        theirs = meta_ot.pot(pairs, 1e-4, f)
        for one in (ours.f, theirs[0]):
            centred, expected = (p - np.sum(a * p, axis=1, keepdims=True) for p in (one, truth.f))
            np.testing.assert_allclose(np.where(a > 0, centred - expected, 0.0), 0.0, atol=1e-3)
        for found in ((ours.f, ours.g), theirs):
            assert meta_ot.worst_error(pairs, *found, required=1e-4) < 1.2e-4


def test_a_wrong_answer_of_ours_is_an_error(pairs):
    right = meta_ot.solve(pairs, 1e-3, lambda: None, checked=False)
    wrong = right.f + 1e-2 * np.random.default_rng(0).standard_normal(right.f.shape)
    for f in (wrong, np.nan * wrong):
        with pytest.raises(RuntimeError, match=r"our marginal error is .*, wanted 0\.001"):
            meta_ot.worst_error(pairs, f, right.g, required=1e-3)


def test_iterations_are_fewer_from_better_starts(pairs):
    done = meta_ot.solve(pairs, 1e-6, lambda: None, checked=False).f
    assert meta_ot.mean_iterations(pairs, 1e-3, done) == 1.0
    assert meta_ot.mean_iterations(pairs, 1e-3, None) > 2.0


def test_rows_of_inner_plans(small):
    rows = meta_ot.inner_rows(1)
    assert len(rows) == 8
    for row in rows:
        assert row.ours_s > 0
        if "to 0.01" in row.case:
            assert row.ours_error <= 1e-2
            assert row.peer_error <= 1e-2
        else:
            assert "200 iterations" in row.case
    assert {row.case.split(", ")[1] for row in rows} == {"fours", "niches-clouds"}


@pytest.mark.slow
def test_rows_of_pairs(small):
    pytest.importorskip("ott")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)  # as other tests of this process do
    rows = meta_ot.image_rows(1)
    assert jax.config.jax_enable_x64
    assert [row.peer for row in rows] == [
        *("OTT-JAX, GaussianInitializer", "POT sinkhorn_log, warmstart", "ours from zeros") * 2,
        *("OTT-JAX, default initialiser", "POT sinkhorn_log"),
    ]
    for row in rows:
        assert row.ours_error < 1.2e-3
        assert row.peer_error < 1.2e-3
