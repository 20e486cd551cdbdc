"""Evaluation of a model: distances to the nearest real Gaussian, their parts, labels, repairs."""

from dataclasses import replace

import numpy as np
import oracles
import pytest

from refwfm import datasets
from refwfm.backends import load as load_backend
from refwfm.measures import Gaussian, take
from refwfm.runs import models
from refwfm.runs.evaluate_gaussians import evaluate, evaluate_source, novelty
from refwfm.training.config import GaussianConfig
from refwfm.training.optim import tree_map

PLACE = load_backend("numpy", dtype="float64")
MOONS = datasets.load("two-moons")


def untrained(data, **changes):
    config = GaussianConfig(**{"batch": 4, "width": 4, "depth": 1, "seed": 1, **changes})
    return models.prepare(config, data, PLACE)[0]


def with_output(model, matrix):
    """A network that answers one constant matrix velocity (in its own units) and no motion of the mean."""
    params = tree_map(np.zeros_like, model.state.params)
    params["matrix"]["mlp"]["out"]["bias"][:] = matrix
    return model._replace(state=model.state._replace(params=params, ema=None))


def nearest_by_hand(generated, reference):
    table = np.array(
        [
            [oracles.sq_distance(Gaussian(m, c), Gaussian(*other)) for other in zip(*reference, strict=True)]
            for m, c in zip(*generated, strict=True)
        ]
    )
    return table.min(axis=1), table.argmin(axis=1)


def test_each_distance_is_the_smallest_to_the_data_and_its_part_that_of_the_covariances():
    data = datasets.load("spiral-16")
    result = evaluate(untrained(data), data, PLACE, size=7, n_steps=3)
    distance, index = nearest_by_hand(result.generated, data.gaussians)
    np.testing.assert_allclose(result.sq_distance, distance, rtol=1e-7)
    means = np.sum((result.generated.mean - data.gaussians.mean[index]) ** 2, axis=-1)
    np.testing.assert_allclose(result.bures_part, distance - means, rtol=1e-6, atol=1e-12)
    assert result.labels is None
    assert result.accuracy is None


@pytest.mark.parametrize("method", ["riemannian", "euclidean", "frobenius"])
def test_a_model_that_does_not_move_is_as_far_from_the_data_as_its_source(method):
    model = with_output(untrained(MOONS, method=method), 0.0)
    result = evaluate(model, MOONS, PLACE, size=20, n_steps=3, seed=4)
    source = evaluate_source(model, MOONS, PLACE, size=20, seed=4)
    np.testing.assert_allclose(result.sq_distance, source, rtol=1e-9)
    assert result.repaired == 0
    assert np.ptp(source) > 0


def test_an_evaluation_depends_on_its_seed_and_on_nothing_else():
    model = untrained(MOONS)
    a, b, c = (evaluate(model, MOONS, PLACE, size=9, n_steps=2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.sq_distance, b.sq_distance)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert not np.any(a.sq_distance == c.sq_distance)


def test_accuracy_is_the_share_whose_nearest_member_has_the_label_they_were_made_for():
    model = untrained(MOONS)
    result = evaluate(model, MOONS, PLACE, size=30, n_steps=2)
    _, index = nearest_by_hand(result.generated, MOONS.gaussians)
    assert result.accuracy == np.mean(MOONS.labels[index] == result.labels)
    assert 0 < result.accuracy < 1
    swapped = replace(MOONS, labels=1 - MOONS.labels)
    assert evaluate(model, swapped, PLACE, size=30, n_steps=2).accuracy == pytest.approx(1 - result.accuracy)


def test_repairs_are_counted():
    """Towards a large negative multiple of ``scale ones``, no covariance stays positive on its own."""
    for method in ("riemannian", "euclidean", "frobenius"):
        model = with_output(untrained(MOONS, method=method), -50.0)
        result = evaluate(model, MOONS, PLACE, size=10, n_steps=1)
        assert result.repaired == 1
        assert np.linalg.eigvalsh(result.generated.cov).min() > -1e-9


@pytest.mark.parametrize("library", ["numpy", "torch:cpu"])
@pytest.mark.parametrize("method", ["riemannian", "euclidean", "frobenius"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_has_diverged_is_an_error_and_no_number(method, library, value):
    pytest.importorskip(library.partition(":")[0])
    place = load_backend(library, dtype="float32")
    model = models.prepare(GaussianConfig(method=method, width=4, depth=1), MOONS, place)[0]
    model.state.params["matrix"]["mlp"]["out"]["bias"][:] = value
    model.state.params["mean"]["mlp"]["out"]["bias"][:] = value
    with pytest.raises(ValueError, match="not finite: the model has diverged; train with a smaller"):
        evaluate(model._replace(state=model.state._replace(ema=None)), MOONS, place, size=8, n_steps=5)


def test_distances_scale_with_the_square_of_the_data_s_unit():
    mean, cov = MOONS.gaussians
    larger = replace(MOONS, gaussians=Gaussian(8 * mean, 64 * cov))
    small, large = (evaluate_source(untrained(data), data, PLACE, size=12) for data in (MOONS, larger))
    np.testing.assert_allclose(large, 64 * small, rtol=1e-6)


def test_the_result_is_the_same_on_torch():
    pytest.importorskip("torch")
    numpy, torch = (
        evaluate(
            models.prepare(GaussianConfig(width=4, depth=1), MOONS, place)[0], MOONS, place, size=8, n_steps=2
        )
        for place in (PLACE, load_backend("torch:cpu", dtype="float64"))
    )
    np.testing.assert_allclose(numpy.sq_distance, torch.sq_distance, rtol=1e-8)
    np.testing.assert_array_equal(numpy.labels, torch.labels)
    assert numpy.accuracy == torch.accuracy


def test_a_model_that_copies_is_told_from_one_that_draws_from_the_truth(rng):
    """With held-out members, and without: then training members stand for them, each beside the others."""

    def law(n):
        half = rng.normal(size=(n, 2, 4))
        return Gaussian(rng.normal(size=(n, 2)), half @ half.mT / 4)

    training, held_out, fresh = law(150), law(150), law(300)
    copies = take(training, rng.integers(0, 150, 300))
    for unseen in (held_out, None):
        true, copied = (novelty(found, training, unseen) for found in (fresh, copies))
        assert copied.to_training < 1e-12 < true.to_training  # the paper's number prefers the copies
        assert true.copies.held_out == copied.copies.held_out == pytest.approx(0.1)
        assert copied.copies.generated == 1.0
        assert true.copies.generated == pytest.approx(0.1, abs=0.07)
    with_held = novelty(fresh, training, held_out)
    assert with_held.coverage == pytest.approx(with_held.real_coverage, abs=0.15)
    collapsed = novelty(take(fresh, np.zeros(300, dtype=int)), training, held_out)
    assert collapsed.coverage == 1 / 150
    assert novelty(fresh, training).real_coverage is None
    assert novelty(copies, training).coverage > novelty(fresh, training).coverage


def test_unseen_members_are_beside_the_others_and_not_themselves():
    family = Gaussian(np.array([[0.0], [1.0], [10.0]]), np.ones((3, 1, 1)))
    found = novelty(Gaussian(np.array([[0.5], [3.0]]), np.ones((2, 1, 1))), family)
    assert found.to_training == pytest.approx((0.25 + 4.0) / 2)
    assert found.copies == (0.5, 2 / 3)  # distances of the members: 1, 1, 81
    assert found.coverage == pytest.approx(1 / 3) or found.coverage == pytest.approx(2 / 3)


def test_solvers_and_times_reach_generation():
    model = with_output(untrained(MOONS), 0.3)
    how = {"size": 8, "n_steps": 2}
    first = evaluate(model, MOONS, PLACE, **how)
    for other in ({"method": "midpoint"}, {"times": "late"}):
        found = evaluate(model, MOONS, PLACE, **how, **other)
        assert np.max(np.abs(found.generated.cov - first.generated.cov)) > 1e-6
