"""What figures of discrete Meta OT share: train on pairs of histograms, compare three starts on others."""

import time
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.backends import Backend
from refwfm.datasets import PairFamily, load_pairs
from refwfm.datasets.pair_catalogue import sphere_family
from refwfm.runs import models
from refwfm.runs.evaluate_meta import Saved, compare_starts, on_host, predict, softmin_of
from refwfm.runs.models import Model
from refwfm.training import algorithm
from refwfm.training.config import MetaOTConfig
from refwfm.transport.grid_displacement import displaced_histogram
from refwfm.transport.grids import Grid, axis_costs, check_histograms, half_steps, marginal
from refwfm.transport.problem import log_weights

TIMES = np.linspace(0.0, 1.0, 9)
CONVERGED = 1e-5
"""Marginal error of the plans that predicted ones are drawn beside."""


class MetaScale(NamedTuple):
    """How large an experiment is.

    Attributes
    ----------
    config : dict
        Fields of ``MetaOTConfig``.
    families : tuple of str
        Pairs to train on, and others that the model is tried on too.
    sizes : tuple of int
        On the sphere: places of supply, and of demand; else empty.
    pairs, max_iter, seeds : int
        Held-out pairs of each family; most iterations; trainings.
    pictured : int
        Pairs whose plans are drawn.
    """

    config: dict[str, Any]
    families: tuple[str, ...]
    sizes: tuple[int, ...]
    pairs: int
    max_iter: int
    seeds: int
    pictured: int


class MetaTask(NamedTuple):
    """One training."""

    seed: int
    scale: MetaScale
    backend: str | None


class MetaOutcome(NamedTuple):
    """What one training gave.

    Attributes
    ----------
    task : MetaTask
    starts : dict
        Family -> start -> ``Saved``.
    predict_ms, train_s, loss : float
    a, b : arrays (k, n) and (k, m)
        Held-out pairs of the first family.
    plans : array (k, 2, n, m), or of no size for grids
        Of the predicted potential, with its half-step; converged.
    ways : array (k, 2, T, n), or of no size without a grid
        Histograms at ``TIMES`` on their way, of the two plans.
    places : tuple of arrays
        Of supply and demand, or none.
    """

    task: MetaTask
    starts: dict[str, dict[str, Saved]]
    predict_ms: float
    train_s: float
    loss: float
    a: np.ndarray
    b: np.ndarray
    plans: np.ndarray
    ways: np.ndarray
    places: tuple[np.ndarray, ...]


RECORDS = (MetaOutcome, MetaTask, MetaScale, Saved)
"""What an outcome is made of, in its file."""


def family_of(scale: MetaScale, name: str, /) -> PairFamily:
    """A family of pairs of an experiment."""
    return sphere_family(*scale.sizes) if scale.sizes else load_pairs(name)


def tasks_of(scale: MetaScale, /, *, backend: str | None = None) -> list[MetaTask]:
    """One training for each seed."""
    return [MetaTask(seed, scale, backend) for seed in range(scale.seeds)]


def run(task: MetaTask, /) -> MetaOutcome:
    """Train with one seed; compare the starts on held-out pairs; keep what is drawn."""
    scale, backend = task.scale, backends.load(task.backend)
    family = family_of(scale, scale.families[0])
    config = MetaOTConfig(**scale.config, seed=task.seed)
    begun, losses = time.perf_counter(), []
    model, data = models.prepare(config, family, backend)
    state = algorithm.train(
        *(config, model.setting, data, None, model.state),
        ops=backend.ops,
        report=lambda state, metrics: losses.append(float(metrics.loss)),
    )
    seconds = time.perf_counter() - begun
    model = model._replace(state=state)
    starts, ms = {}, 0.0
    for name in scale.families:
        other = family if name == scale.families[0] else family_of(scale, name)
        found = compare_starts(
            *(model, other, backend), size=scale.pairs, seed=task.seed, max_iter=scale.max_iter
        )
        starts[name], ms = found.starts, max(ms, found.predict_ms)
    a, b = family.draw(scale.pictured, seed=task.seed, step=0, stream="evaluation")
    plans, ways = pictured(model, a, b, backend, scale.max_iter)
    return MetaOutcome(
        *(task, starts, ms, seconds, losses[-1], a, b),
        *(plans, ways, () if family.points is None else family.points),
    )


def pictured(
    model: Model[MetaOTConfig], a: np.ndarray, b: np.ndarray, backend: Backend, max_iter: int, /
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and converged plans (k, 2, n, m) of pairs or, on a grid, what is on its way (k, 2, T, n)."""
    setting = on_host(model.setting, backend)
    f, _ = predict(model, a, b, backend)
    problem = check_histograms(setting.cost, a, b, eps=setting.eps, f_init=np.where(a > 0, f, 0.0))
    columns, rows = half_steps(problem, softmin_of(setting.cost, backend))
    f = problem.f
    predicted = f, columns(f)
    for _ in range(max_iter):
        g = columns(f)
        following = rows(g)
        errors = np.sum(np.abs(marginal(a, f, following, problem.eps) - a), axis=-1)
        if np.max(errors) < CONVERGED:
            break
        f = following
    converged = f, columns(f)
    cost = dense(setting.cost)
    plans = np.stack(
        [
            np.exp(log_weights(a)[..., None] + (f[..., None] + g[..., None, :] - cost) / setting.eps)
            * b[..., None, :]
            for f, g in ((np.where(a > 0, f, 0.0), g) for f, g in (predicted, converged))
        ],
        axis=1,
    )
    if not isinstance(setting.cost, Grid):
        return plans, np.empty(0)
    ways = np.stack([displaced_histogram(plans, setting.cost, float(t)) for t in TIMES], axis=2)
    return np.empty(0), ways


def dense(cost: Any, /) -> np.ndarray:
    """A cost as a matrix."""
    if not isinstance(cost, Grid):
        return np.asarray(cost)
    total = np.zeros((1, 1))
    for each in axis_costs(cost):
        n, s = len(total), len(each)
        total = (total[:, None, :, None] + each[None, :, None, :]).reshape(n * s, n * s)
    return total


def as_rows(outcomes: list[MetaOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside a figure."""
    return [
        {
            "data": name,
            "start": start,
            "seed": o.task.seed,
            "iterations": {f"{threshold:g}": found.tolist() for threshold, found in each.iterations.items()},
            "start_used": each.used,
            "error_of_start": float(np.mean(each.errors[0])),
            "mean_log10_error": np.round(
                np.mean(np.log10(np.maximum(each.errors, 1e-16)), axis=1)[:1000], 4
            ).tolist(),
            "max_iter": each.max_iter,
            "predict_ms": round(o.predict_ms, 4),
            "train_s": round(o.train_s, 1),
            "loss": o.loss,
            **o.task.scale.config,
        }
        for o in outcomes
        for name, starts in o.starts.items()
        for start, each in starts.items()
    ]
