"""Evaluation of a model over clouds: generate, compare with real clouds by nearest neighbours."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import check_integer
from refwfm.measures import PointCloud
from refwfm.metrics.distances import compare_families, pairwise_chamfer
from refwfm.metrics.neighbours import one_nn_accuracy_emd
from refwfm.metrics.statistics import (
    OneNN,
    coverage,
    k_nearest,
    label_accuracy,
    minimum_matching_distance,
    one_nn_accuracy,
)
from refwfm.runs.models import Model, conditions_of
from refwfm.training import noise
from refwfm.training.algorithm import trained
from refwfm.training.alignment import Clouds
from refwfm.training.cloud_generation import sample
from refwfm.training.cloud_setting import to_data_units
from refwfm.training.config import CloudConfig
from refwfm.training.randomness import random_stream


class Comparison(NamedTuple):
    """How well generated and reference clouds can be told apart.

    Attributes
    ----------
    chamfer, emd : OneNN
        Accuracies of the nearest neighbour; 0.5 is best.
    coverage, mmd : float
        In the Chamfer distance (squared units of the data).
    """

    chamfer: OneNN
    emd: OneNN
    coverage: float
    mmd: float


class LabelAccuracies(NamedTuple):
    """Shares of generated, and of held-out real clouds, whose nearest real clouds have their label."""

    generated: float
    held_out: float


def generate_with(
    model: Model[CloudConfig], /, *, size: int, n_steps: int, seed: int, **options: Any
) -> tuple[PointCloud, np.ndarray | None]:
    """Generate clouds: on the host, in data units, with their labels; options as ``cloud_generation.sample``.

    Raises
    ------
    ValueError
        If they are not finite: the model has diverged.
    """
    with np.errstate(all="ignore"):  # what overflows is found below
        generated, labels = sample(
            model.config,
            model.setting,
            trained(model.state),
            size=size,
            n_steps=n_steps,
            seed=seed,
            **options,
        )
    if not np.all(np.isfinite(generated.points)):
        raise ValueError(
            "generated clouds are not finite: the model has diverged; train with a smaller learning_rate"
        )
    return generated, labels


def draw_source(
    model: Model[CloudConfig],
    /,
    *,
    size: int,
    seed: int,
    source: Clouds | None = None,
    index: np.ndarray | None = None,
) -> PointCloud:
    """The source's own draws, on the host, in data units: what no training at all gives.

    Parameters
    ----------
    source, index
        As for ``training.cloud_generation.sample``: with them, those members of a family.
    """
    config, setting = model.config, model.setting
    rng = random_stream(seed, "generation")
    if source is None:
        mu = noise.draw_source(config, setting, rng, rng.choice(setting.sizes, size=size))
        return to_data_units(mu, setting)
    if index is None:
        index = rng.integers(len(source), size=size)
    return source.batch(index, n_points=config.n_points, rng=rng)


def subsample(family: Clouds, size: int, config: CloudConfig, /, *, seed: int) -> PointCloud:
    """``size`` members of a family drawn without replacement, cut to as many points as the model makes."""
    if check_integer(size, "size", low=1) > len(family):
        raise ValueError(f"size must be at most {len(family)}, the members of the family; got {size}")
    index, rng = _drawn(family, size, seed)
    return family.batch(index, n_points=config.n_points, rng=rng)


def conditions_of_subsample(
    model: Model[CloudConfig], family: Any, size: int, /, *, seed: int
) -> dict[str, Any]:
    """Labels and conditions of the members that ``subsample`` draws; see ``models.conditions_of``."""
    return conditions_of(model, family, _drawn(family, size, seed)[0])


def _drawn(family: Clouds, size: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = random_stream(seed, "evaluation")
    return rng.choice(len(family), size=size, replace=False), rng


def compare(
    *,
    generated: PointCloud,
    reference: PointCloud,
    squared: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """1-NN accuracies, coverage and minimum matching distance.

    The numbers of the paper's tables 3 and 4.

    Parameters
    ----------
    generated, reference : PointCloud, points (G, k, d) and (R, l, d), on the host
        About equally many; between unequal families 0.5 is not the best 1-NN accuracy.
    squared : bool
        EMD of squared distances (W2²) or of Euclidean ones (W1).
    progress : callable, optional
        Called with how many clouds have their nearest one in EMD, which takes longest, and with G + R.
    """
    distances = compare_families(pairwise_chamfer, generated=generated, reference=reference)
    frames = np.random.default_rng(0)  # for bounds that save time and change no result
    return Comparison(
        one_nn_accuracy(distances),
        one_nn_accuracy_emd(
            generated=generated, reference=reference, squared=squared, rng=frames, progress=progress
        ),
        float(coverage(distances)),
        float(minimum_matching_distance(distances)),
    )


def likeness(generated: PointCloud, reference: PointCloud, /) -> float:
    """1 where the nearest neighbour (Chamfer) cannot tell generated from real, 0 where it always can."""
    accuracy = one_nn_accuracy(
        compare_families(pairwise_chamfer, generated=generated, reference=reference)
    ).accuracy
    return 1.0 - abs(2.0 * float(accuracy) - 1.0)


def label_accuracies(
    generated: PointCloud,
    labels: np.ndarray,
    family: Clouds,
    held_out: Clouds,
    config: CloudConfig,
    /,
    *,
    size: int,
    seed: int,
    k: int = 5,
) -> LabelAccuracies:
    """Accuracy of labels by the k nearest real clouds in Chamfer distance; that of real clouds beside it.

    As in WFM section 4. The classifier's members are ``4 size`` clouds of the training family.

    Raises
    ------
    ValueError
        If one of the families has no labels.
    """
    if family.labels is None or held_out.labels is None:
        which = "family" if family.labels is None else "held_out"
        raise ValueError(f"{which} must have labels: the generated ones are compared with them")
    rng = random_stream(seed, "evaluation")
    members = rng.choice(len(family), size=min(4 * size, len(family)), replace=False)
    others = rng.choice(len(held_out), size=min(size, len(held_out)), replace=False)
    real, unseen = (
        each.batch(index, n_points=config.n_points, rng=rng)
        for each, index in ((family, members), (held_out, others))
    )
    known, true = family.labels[members], held_out.labels[others]
    return LabelAccuracies(
        label_accuracy(k_nearest(pairwise_chamfer(generated, real), k=k), known, labels),
        label_accuracy(k_nearest(pairwise_chamfer(unseen, real), k=k), known, true),
    )
