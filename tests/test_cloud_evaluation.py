"""Evaluation of models over clouds: what is compared with what."""

import dataclasses

import numpy as np
import pytest

from refwfm.backends import load
from refwfm.clouds import moments, sizes, unpad
from refwfm.datasets import clouds_from_arrays
from refwfm.measures import PointCloud
from refwfm.runs import models
from refwfm.runs.evaluate_clouds import (
    compare,
    copies,
    draw_source,
    generate_with,
    known,
    label_accuracies,
    members_of_subsample,
    reference_of,
    subsample,
)
from refwfm.training.config import CloudConfig
from refwfm.training.optim import tree_map

PLACE = load("numpy", dtype="float64")
CONFIG = CloudConfig(steps=1, batch=4, width=8, depth=1, heads=2, hidden=8, n_frequencies=2)


def family_of(count, seed=0, shift=0.0, labels=None):
    rng = np.random.default_rng(seed)
    arrays = [shift + rng.standard_normal((n, 2)) for n in rng.integers(3, 9, count)]
    names = ("a", "b") if labels is not None else ()
    return clouds_from_arrays(arrays, labels=labels, label_names=names, name="blobs")


def everything(family):
    return family.batch(np.arange(len(family)))


def test_copies_score_0_and_strangers_1():
    real, far = everything(family_of(12)), everything(family_of(9, seed=1, shift=20.0))
    copies = compare(generated=real, reference=real)
    assert copies.chamfer.accuracy == copies.emd.accuracy == 0.0
    assert (copies.coverage, copies.mmd) == (1.0, 0.0)
    strangers = compare(generated=far, reference=real)
    assert strangers.chamfer.accuracy == strangers.emd.accuracy == 1.0
    assert strangers.coverage == pytest.approx(1 / 12)  # all of them near the same real cloud, or a few
    assert strangers.mmd > 100


def test_the_roles_cannot_be_swapped_unseen():
    """They are named, and coverage and MMD are of the reference."""
    many, few = everything(family_of(12)), everything(family_of(3, seed=1))
    with pytest.raises(TypeError, match="positional"):
        compare(many, few)
    one, other = compare(generated=many, reference=few), compare(generated=few, reference=many)
    assert one.coverage > 0.6 > 3 / 12 >= other.coverage
    assert one.chamfer.of_generated == other.chamfer.of_reference


def test_emd_is_named_by_its_distance():
    a, b = everything(family_of(20)), everything(family_of(20, seed=1))
    assert (
        compare(generated=a, reference=b, squared=True).chamfer == compare(generated=a, reference=b).chamfer
    )


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("count", [1, 2, 15])
def test_a_reference_is_compared_with_as_its_clouds(squared, count):
    """To the last bit, whatever is compared with it; what was found among its clouds is used."""
    clouds = everything(family_of(count))
    reference = reference_of(clouds, squared=squared)
    for generated in (everything(family_of(7, seed=1)), clouds, everything(family_of(4, seed=2, shift=9.0))):
        found = compare(generated=generated, reference=reference, squared=squared)
        assert found == compare(generated=generated, reference=clouds, squared=squared)
    wrong = reference._replace(chamfer=np.zeros_like(reference.chamfer))  # as if all were copies
    strangers = everything(family_of(4, seed=2, shift=0.1))
    assert compare(generated=strangers, reference=wrong, squared=squared).chamfer.of_reference == (count > 1)


def test_a_reference_of_the_other_distance_is_refused():
    clouds = everything(family_of(5))
    with pytest.raises(ValueError, match="reference was made with squared = False; got True"):
        compare(generated=clouds, reference=reference_of(clouds), squared=True)


def test_the_source_is_what_an_untrained_model_generates():
    """At once, that is: a model generates ``batch`` clouds at a time."""
    model, _ = models.prepare(dataclasses.replace(CONFIG, batch=8), family_of(30), PLACE)
    generated, labels = generate_with(model, size=7, n_steps=2, seed=3)
    assert labels is None
    start = draw_source(model, size=7, seed=3)
    np.testing.assert_allclose(generated.points, start.points, atol=1e-12)
    np.testing.assert_array_equal(generated.weights, start.weights)


def test_a_diverged_model_is_refused():
    model, _ = models.prepare(CONFIG, family_of(30), PLACE)
    broken = tree_map(lambda leaf: leaf + np.nan, model.state.params)
    model = model._replace(state=model.state._replace(params=broken, ema=broken))
    with pytest.raises(ValueError, match="the model has diverged"):
        generate_with(model, size=2, n_steps=1, seed=0)


def test_subsamples_are_members_cut_to_the_models_points():
    family = family_of(30)
    some = subsample(family, 10, CONFIG, seed=0)
    assert len(some.points) == 10
    assert {tuple(points.sum(axis=0)) for points in unpad(some)} <= {
        tuple(points.sum(axis=0)) for points in unpad(everything(family))
    }
    again = subsample(family, 10, CONFIG, seed=0)
    np.testing.assert_array_equal(again.points, some.points)
    assert np.any(subsample(family, 10, CONFIG, seed=1).points != some.points)
    thin = subsample(family, 10, dataclasses.replace(CONFIG, n_points=4), seed=0)
    assert sizes(thin).max() == 4


def test_label_accuracies_of_separated_classes():
    labels = np.array([0, 1] * 10)
    arrays = [
        moments(p).mean * 0 + p + 10.0 * label
        for p, label in zip(unpad(everything(family_of(20))), labels, strict=True)
    ]
    family = clouds_from_arrays(arrays, labels=labels, label_names=("a", "b"), name="pairs")
    generated = everything(family)
    options = {"size": 20, "seed": 0, "k": 3}
    right = label_accuracies(generated, labels, family, family, CONFIG, **options)
    assert right == (1.0, 1.0)
    wrong = label_accuracies(generated, 1 - labels, family, family, CONFIG, **options)
    assert wrong == (0.0, 1.0)
    moved = PointCloud(generated.points + 100.0 * (generated.weights > 0)[..., None], generated.weights)
    half = label_accuracies(moved, labels, family, family, CONFIG, **options)
    assert half.generated == 0.5


def test_label_accuracies_need_labels():
    bare, labelled = family_of(6), family_of(6, labels=np.array([0, 1] * 3))
    generated = everything(labelled)
    for family, held_out, name in ((bare, labelled, "family"), (labelled, bare, "held_out")):
        with pytest.raises(ValueError, match=f"{name} must have labels"):
            label_accuracies(generated, labelled.labels, family, held_out, CONFIG, size=4, seed=0)


def test_a_model_that_copies_clouds_is_told_from_one_that_draws_from_the_truth():
    """Held-out members or not; copies in another order of points, in float32, and padded otherwise."""
    family, held_out, fresh = family_of(150), family_of(150, seed=1), everything(family_of(200, seed=2))
    training = known(family, CONFIG)
    index = np.random.default_rng(3).integers(0, 150, 100)
    copied = family.batch(index)
    order = np.arange(copied.points.shape[1])[::-1]
    copied = PointCloud(*(part[:, order].astype(np.float32) for part in copied))
    own = members_of_subsample(family, 100, seed=0)
    alone = {"real": subsample(family, 100, CONFIG, seed=0), "own": own}
    for real, others in ((everything(held_out), {}), (alone["real"], {"own": own})):
        assert copies(copied, real, training, **others).generated == 1.0
        rate = copies(fresh, real, training, **others)
        assert rate.held_out == pytest.approx(0.1, abs=0.01)
        assert rate.generated == pytest.approx(0.1, abs=0.09)
    # Were they not beside the others only, training members would be their own copies.
    assert copies(fresh, alone["real"], training).held_out == 1.0


def test_all_training_members_are_known(monkeypatch):
    family = family_of(7)
    whole = known(family, CONFIG)
    monkeypatch.setattr("refwfm.runs.evaluate_clouds.PROFILED", 3)
    np.testing.assert_allclose(known(family, CONFIG).profiles, whole.profiles, rtol=1e-12)
    assert len(whole.profiles) == 7
