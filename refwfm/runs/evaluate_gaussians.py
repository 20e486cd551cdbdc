"""Evaluation of a model over Gaussians: generate, find the nearest real one to each, summarise."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from refwfm._array import nonnegative, sq_norm
from refwfm.measures import Gaussian, NonFiniteError, take
from refwfm.metrics.copying import CopyRate, copy_rate
from refwfm.metrics.nearest_gaussians import Nearest, nearest
from refwfm.metrics.statistics import covered, label_accuracy
from refwfm.runs.models import Backend, Data, Model, conditions_of, host_gaussian
from refwfm.sources.gaussians import sample_gaussian_wishart
from refwfm.training.algorithm import trained
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import to_data_units
from refwfm.training.gaussians import sample
from refwfm.training.randomness import random_stream


class GaussianData(Data, Protocol):
    """A family of Gaussians."""

    @property
    def gaussians(self) -> Gaussian: ...  # noqa: D102


UNSEEN = 512
"""Training members that stand for held-out ones, where there are none."""


class Evaluation(NamedTuple):
    """Generated Gaussians and how far they are from the data; all on the host, in data units.

    Attributes
    ----------
    generated : Gaussian, mean (n, d), cov (n, d, d)
    labels : numpy.ndarray, shape (n,), or None
        Classes that they were generated for.
    sq_distance : numpy.ndarray, shape (n,)
        Smallest W2² of each to the data.
    bures_part : numpy.ndarray, shape (n,)
        The covariances' share of it; the rest is ``‖mean - mean‖²``.
    accuracy : float or None
        Share whose nearest real Gaussian has the label they were generated for.
    repaired : float
        Share that needed a repair on the way: a projection (Euclidean methods), or a step beyond the
        shortest path (Riemannian).
    """

    generated: Gaussian
    labels: np.ndarray | None
    sq_distance: np.ndarray
    bures_part: np.ndarray
    accuracy: float | None
    repaired: float


def generate_with(
    model: Model[GaussianConfig],
    backend: Backend,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None = None,
    conditions: np.ndarray | None = None,
    method: str = "euler",
    times: str = "uniform",
    block: int = 0,
    observe: Callable[[int, Gaussian], None] | None = None,
) -> tuple[Gaussian, np.ndarray | None, np.ndarray]:
    """Generate Gaussians: on the host, in data units, with their labels and ``Generated.lowest``.

    Options as for ``training.gaussians.sample``.

    Raises
    ------
    ValueError
        If they are not finite: the model has diverged.
    """
    diverged = "not finite: the model has diverged; train with a smaller learning_rate"
    try:
        with np.errstate(all="ignore"):  # what overflows is found below
            result, labels = sample(
                model.config,
                model.setting,
                trained(model.state),
                size=size,
                n_steps=n_steps,
                seed=seed,
                labels=labels,
                conditions=conditions,
                method=method,
                times=times,
                block=block,
                observe=observe,
            )
    except NonFiniteError as error:  # some libraries refuse to decompose NaN
        raise ValueError(f"generated Gaussians are {diverged}") from error
    for part in result.gaussian:
        if not np.all(np.isfinite(backend.to_numpy(part))):
            raise ValueError(f"generated Gaussians are {diverged}")
    return host_gaussian(result.gaussian, backend), labels, backend.to_numpy(result.lowest)


def trajectory(
    model: Model[GaussianConfig], backend: Backend, /, *, size: int, n_steps: int, stages: int, seed: int
) -> Gaussian:
    """Gaussians on their way, in data units, on the host.

    Parameters
    ----------
    stages : int
        Parts of the way, as equal as steps allow; at most as many as there are steps.

    Returns
    -------
    Gaussian, mean (stages + 1, size, d), cov (stages + 1, size, d, d)
    """
    wanted = set(np.linspace(0, n_steps, 1 + min(stages, n_steps)).round().astype(int).tolist())
    seen: list[Gaussian] = []

    def observe(k: int, mu: Gaussian) -> None:
        if k in wanted:
            seen.append(host_gaussian(to_data_units(mu, model.setting), backend))

    params = trained(model.state)
    sample(model.config, model.setting, params, size=size, n_steps=n_steps, seed=seed, observe=observe)
    return Gaussian(*(np.stack(part) for part in zip(*seen, strict=True)))


def evaluate(
    model: Model[GaussianConfig],
    data: GaussianData,
    backend: Backend,
    /,
    *,
    size: int = 512,
    n_steps: int = 50,
    seed: int = 0,
    method: str = "euler",
    times: str = "uniform",
    observe: Callable[[int, Gaussian], None] | None = None,
) -> Evaluation:
    """Generate ``size`` Gaussians and measure each one's smallest W2² to the data.

    Each entry of the paper's table 2 is the mean of ``sq_distance`` (WFM-Table2). A model with conditions is
    asked for those of the data, with their labels, one member after the other.

    Parameters
    ----------
    size, n_steps, seed : int
        Gaussians, steps of Algorithm 2, randomness of the sources.
    method, times : str
        Other steps than those of Algorithm 2: see ``generation.generate``.
    observe : callable, optional
        As for ``training.gaussians.sample``.
    """
    asked = conditions_of(model, data, np.arange(size) % len(data.gaussians.mean))
    how: dict[str, Any] = {"n_steps": n_steps, "seed": seed, "method": method, "times": times}
    generated, labels, lowest = generate_with(model, backend, size=size, observe=observe, **how, **asked)
    found, bures = _nearest(generated, data.gaussians)
    accuracy = None
    if labels is not None and data.labels is not None:
        accuracy = label_accuracy(found.member, data.labels, labels)
    repaired = float(np.mean(lowest < 0.0))
    return Evaluation(generated, labels, np.asarray(found.sq_distance), bures, accuracy, repaired)


class Novelty(NamedTuple):
    """Whether generated Gaussians are new, beside what real ones have.

    Attributes
    ----------
    to_training : float
        Mean smallest W2² to the training members: the paper's number, which copies win.
    copies : CopyRate
        Of the generated, and of held-out members; where there are none, of training members to the others.
    coverage : float
        Share of the held-out members, or else of the training members, that are the nearest to one of at most
        as many generated.
    real_coverage : float or None
        The same of as many training members; None where none are held out.
    """

    to_training: float
    copies: CopyRate
    coverage: float
    real_coverage: float | None


def novelty(
    generated: Gaussian, training: Gaussian, held_out: Gaussian | None = None, /, *, seed: int = 0
) -> Novelty:
    """Measure whether Gaussians are other than those trained on, as real ones are.

    Parameters
    ----------
    generated, training, held_out : Gaussian, mean (n, d), cov (n, d, d), on the host
        Without ``held_out`` at least two training members; ``UNSEEN`` of them stand for it, each beside the
        others.
    seed : int
        Of the members that are drawn where there are more than needed.
    """
    rng = random_stream(seed, "evaluation")
    index = rng.permutation(len(training.mean))
    to_training = nearest(generated, training, validate=False).sq_distance
    if held_out is None:
        some = index[:UNSEEN]
        unseen = nearest(take(training, some), training, exclude=some, validate=False).sq_distance
    else:
        unseen = nearest(held_out, training, validate=False).sq_distance

    def coverage(found: Gaussian) -> float:
        reference = training if held_out is None else held_out
        count = len(reference.mean)
        member = nearest(
            take(found, np.arange(min(count, len(found.mean)))), reference, validate=False
        ).member
        return float(covered(member, reference=count, dtype=np.float64))

    return Novelty(
        float(np.mean(to_training)),
        copy_rate(to_training, unseen),
        coverage(generated),
        None if held_out is None else coverage(take(training, index[: len(generated.mean)])),
    )


def evaluate_source(
    model: Model[GaussianConfig], data: GaussianData, backend: Backend, /, *, size: int = 512, seed: int = 0
) -> np.ndarray:
    """Smallest W2² to the data of the source's own draws, shape (size,): what no training at all gives."""
    rng = random_stream(seed, "generation")
    start = sample_gaussian_wishart(model.setting.source, rng=rng, size=size)
    moved = host_gaussian(to_data_units(start, model.setting), backend)
    return np.asarray(_nearest(moved, data.gaussians)[0].sq_distance)


def _nearest(generated: Gaussian, reference: Gaussian) -> tuple[Nearest, np.ndarray]:
    found = nearest(generated, reference, validate=False)
    means = sq_norm(generated.mean - take(reference, found.member).mean)
    return found, nonnegative(found.sq_distance - means)
