"""Evaluation of a model over clouds: generate, compare with real clouds by nearest neighbours."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import check_integer, sq_distances
from refwfm.generation import generate_clouds
from refwfm.measures import PointCloud
from refwfm.metrics.copying import CopyRate, copy_rate, profiles
from refwfm.metrics.distances import compare_families, pairwise_chamfer
from refwfm.metrics.neighbours import Neighbours, nearest_clouds, one_nn_accuracy_emd
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
from refwfm.training.cloud_generation import learned_field, sample
from refwfm.training.cloud_setting import to_data_units, to_model_units
from refwfm.training.config import CloudConfig
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.randomness import random_stream
from refwfm.transport.sliced import random_directions


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


class Reference(NamedTuple):
    """Clouds that several families are compared with, and what is needed of them each time.

    Attributes
    ----------
    clouds : PointCloud, points (R, l, d)
    chamfer : numpy.ndarray, shape (R, R)
    nearest : Neighbours, or None where there is one cloud
        In EMD.
    squared : bool
        Of which EMD; see ``compare``.
    """

    clouds: PointCloud
    chamfer: np.ndarray
    nearest: Neighbours | None
    squared: bool


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


def trajectory(
    model: Model[CloudConfig],
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    ops: Ops = REFERENCE,
    **starts: Any,
) -> list[PointCloud]:
    """Clouds on their way, before the first step and after each, in data units.

    Of models without labels and conditions; ``starts`` as for ``draw_source``, ``ops`` those of the backend.
    """
    config, setting = model.config, model.setting
    mu = draw_source(model, size=size, seed=seed, **starts)
    seen: list[PointCloud] = []
    generate_clouds(
        learned_field(config, trained(model.state), ops=ops),
        to_model_units(mu, setting),
        n_steps=n_steps,
        observe=lambda k, cloud: seen.append(to_data_units(cloud, setting)),
    )
    return seen


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


def reference_of(clouds: PointCloud, /, *, squared: bool = False) -> Reference:
    """Distances among clouds, for ``compare`` with more than one family.

    Parameters
    ----------
    clouds : PointCloud, points (R, l, d), on the host
    squared : bool
        As for ``compare``.
    """
    frames = np.random.default_rng(0)
    alone = clouds.points.shape[0] < 2
    nearest = None if alone else nearest_clouds(clouds, squared=squared, rng=frames)
    return Reference(clouds, pairwise_chamfer(clouds), nearest, squared)


def compare(
    *,
    generated: PointCloud,
    reference: PointCloud | Reference,
    squared: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """1-NN accuracies, coverage and minimum matching distance.

    The numbers of the paper's tables 3 and 4.

    Parameters
    ----------
    generated, reference : PointCloud, points (G, k, d) and (R, l, d), on the host
        About equally many; between unequal families 0.5 is not the best 1-NN accuracy. A ``Reference``
        saves computing the distances within it again; the numbers are the same.
    squared : bool
        EMD of squared distances (W2²) or of Euclidean ones (W1).
    progress : callable, optional
        Called with how many clouds have their nearest one in EMD, which takes longest, and with G + R.

    Raises
    ------
    ValueError
        If ``reference`` was made for the other EMD, or as the distances do.
    """
    chamfer, nearest = None, None
    if isinstance(reference, Reference):
        if reference.squared != squared:
            raise ValueError(f"reference was made with squared = {reference.squared}; got {squared}")
        reference, chamfer, nearest, _ = reference
    distances = compare_families(
        pairwise_chamfer, generated=generated, reference=reference, among_reference=chamfer
    )
    frames = np.random.default_rng(0)  # for bounds that save time and change no result
    return Comparison(
        one_nn_accuracy(distances),
        one_nn_accuracy_emd(
            generated=generated,
            reference=reference,
            squared=squared,
            rng=frames,
            among_reference=nearest,
            progress=progress,
        ),
        float(coverage(distances)),
        float(minimum_matching_distance(distances)),
    )


PROJECTIONS = 16
"""Directions of a profile."""

PROFILED = 512
"""Clouds whose profiles are made at once."""


class Known(NamedTuple):
    """Profiles of all training members, shape (N, K), and the directions that they were taken along."""

    profiles: np.ndarray
    theta: np.ndarray


def known(family: Clouds, config: CloudConfig, /, *, seed: int = 0) -> Known:
    """Profiles of all training members (``metrics.copying.profiles``), of which clouds may be copies."""
    rng = random_stream(seed, "evaluation", 4)
    parts: list[np.ndarray] = []
    theta: Any = None
    for start in range(0, len(family), PROFILED):
        index = np.arange(start, min(start + PROFILED, len(family)))
        clouds = family.batch(index, n_points=config.n_points, rng=rng)
        if theta is None:
            theta = random_directions(clouds.points, rng=rng, n_proj=PROJECTIONS)
        parts.append(profiles(clouds, theta))
    return Known(np.concatenate(parts), theta)


def copies(
    generated: PointCloud, real: PointCloud, training: Known, /, *, own: np.ndarray | None = None
) -> CopyRate:
    """Share of generated clouds that are near to a training member, beside that of real ones.

    Near by the sliced distance of profiles, so that all training members can be compared with.

    Parameters
    ----------
    generated, real : PointCloud, points (G, k, d) and (R, l, d), on the host
        ``real`` are held out, or are training members ``own``, (R,) integers, each beside the others.
    """

    def gaps(clouds: PointCloud) -> np.ndarray:
        cloud = PointCloud(*(part.astype(training.theta.dtype) for part in clouds))
        return np.asarray(sq_distances(profiles(cloud, training.theta), training.profiles))

    unseen = gaps(real)
    if own is not None:
        unseen[np.arange(len(own)), own] = np.inf
    return copy_rate(gaps(generated).min(axis=1), unseen.min(axis=1))


def members_of_subsample(family: Clouds, size: int, /, *, seed: int) -> np.ndarray:
    """Indices of the members that ``subsample`` draws."""
    return _drawn(family, size, seed)[0]


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
