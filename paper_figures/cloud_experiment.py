"""What figures and tables of point clouds share: train on families, with seeds; compare."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends, datasets
from refwfm.clouds import unpad
from refwfm.datasets import CloudFamily
from refwfm.metrics.statistics import OneNN
from refwfm.paper_figures.cloud_pictures import draw_clouds_comparison
from refwfm.runs import models
from refwfm.runs.evaluate_clouds import (
    Comparison,
    compare,
    draw_source,
    generate_with,
    reference_of,
    subsample,
    trajectory,
)
from refwfm.runs.rectified import prepare_rectified, rectified_config
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig
from refwfm.training.ops import Ops
from refwfm.training.presets import with_preset
from refwfm.training.randomness import random_stream

DRAWN = 25
"""Clouds of each kind in a picture."""

FOLLOWED = 10
"""Clouds whose way is kept."""

PARTIAL = "partial"
"""Source of a flow that completes shapes: each member seen from one side."""


class CloudScale(NamedTuple):
    """How large an experiment is: what is trained, how many seeds, how many clouds are compared.

    Attributes
    ----------
    config : dict
        Fields of ``CloudConfig``.
    seeds : int
    size : int
        Clouds generated, and real ones they are compared with; fewer where the family has fewer.
    n_steps : int
        Steps of Algorithm 3.
    members : int, optional
        Most members of the families to train on.
    euler : tuple of int
        Numbers of steps whose clouds are compared, where there are several.
    evaluations : int
        Of a trained model, each with other clouds.
    rectify : dict, optional
        Options of a second training, on pairs that the model makes (``runs.rectified``).
    """

    config: dict[str, Any]
    seeds: int
    size: int
    n_steps: int
    members: int | None = None
    euler: tuple[int, ...] = ()
    evaluations: int = 1
    rectify: dict[str, Any] | None = None

    def of(self, **changes: Any) -> "CloudScale":
        """Return the same scale with other fields of the configuration."""
        return self._replace(config={**self.config, **changes})


SMOKE = CloudScale(
    {"steps": 20, "batch": 4, "width": 16, "depth": 1, "heads": 2, "hidden": 16, "n_points": 32},
    seeds=2,
    size=12,
    n_steps=5,
)
LAPTOP_OWN = {"steps": 3000, "batch": 16}
"""What experiments have instead of the steps and the batch of the preset for laptops."""

LAPTOP = CloudScale(
    with_preset("laptop", CloudConfig, LAPTOP_OWN),
    seeds=2,
    size=200,
    n_steps=50,
    evaluations=2,
)
PAPER = CloudScale({"outer": "frechet"}, seeds=3, size=10_000, n_steps=100)
"""The defaults of ``CloudConfig`` are the paper's; as many clouds as are held out."""


def scale_of(name: str, family: str, /) -> CloudScale:
    """Scale ``smoke``, ``laptop`` or ``paper`` for a family: what its size, dimension and grid need."""
    if name == "smoke":
        return SMOKE
    if name == "paper":
        return PAPER.of(**({"steps": 500_000, "n_points": 2048} if "chairs" in family else {}))
    changes: dict[str, Any] = LAPTOP_CHANGES.get(family, {})
    own = {**LAPTOP_OWN, **changes}
    scale = LAPTOP._replace(config=with_preset("laptop", CloudConfig, own, family=datasets.load(family)))
    # Exact distances between clouds of 512 points take their time: fewer of them, and of one training.
    return scale._replace(seeds=1, size=100, evaluations=3) if "n_points" in changes else scale


LAPTOP_CHANGES: dict[str, dict[str, Any]] = {
    "chairs": {"n_points": 512, "steps": 1500},
    "monitors": {"n_points": 512, "steps": 1500},
    "shapenet-chairs": {"n_points": 512, "steps": 1500},
    "niches-clouds": {"batch": 64},
}


class CloudTask(NamedTuple):
    """One run of an experiment: a family, a scale, a seed, and in which variant of the method.

    ``source`` names the family that the flow starts from, if it is one: ``PARTIAL`` for views of the target.
    """

    data: str
    variant: str
    seed: int
    scale: CloudScale
    backend: str | None
    source: str | None = None


class CloudOutcome(NamedTuple):
    """What one run gave.

    Attributes
    ----------
    task : CloudTask
    trained, source, real : tuples of Comparison, one for each evaluation
        Of the held-out clouds with the model's, with the source's own, with the training family's.
    generated, held_out, start : lists of arrays (n_i, d)
        Of the first evaluation, for pictures; ``start``: what was generated from, for flows between families.
    way : list of lists of arrays (n_i, d)
        A few clouds from noise at t = 0, 1/2 and 1; empty for models with labels, or that start elsewhere.
    labels, held_out_labels : arrays, or None
    train_s, step_ms : float
        Seconds of training, and milliseconds of each step.
    loss, plan_error : float
        Mean loss and worst marginal error of the inner plans over the last steps.
    """

    task: CloudTask
    trained: tuple[Comparison, ...]
    source: tuple[Comparison, ...]
    real: tuple[Comparison, ...]
    generated: list[np.ndarray]
    held_out: list[np.ndarray]
    start: list[np.ndarray]
    way: list[list[np.ndarray]]
    labels: np.ndarray | None
    held_out_labels: np.ndarray | None
    train_s: float
    step_ms: float
    loss: float
    plan_error: float


RECORDS = (CloudOutcome, CloudTask, CloudScale, Comparison, OneNN)
"""What an outcome is made of, in its file."""


def load_pair(name: str, /) -> tuple[Any, Any]:
    """A family of clouds, and the members held out of it."""
    return datasets.load(name), datasets.held_out(name)


def load_source(name: str | None, family: CloudFamily, held_out: CloudFamily, /) -> tuple[Any, Any]:
    """Families that the flows to a family and to its held-out members start from, or None twice."""
    if name is None:
        return None, None
    if name == PARTIAL:
        return datasets.partial_views(family), datasets.partial_views(held_out)
    return load_pair(name)


class Fitted(NamedTuple):
    """A trained model, the families as its steps saw them, seconds of training, the last steps' metrics.

    ``step_ms``: milliseconds of each of its last steps.
    """

    model: models.Model[CloudConfig]
    members: Any
    train_s: float
    last: algorithm.Metrics
    step_ms: float


def fit(
    config: CloudConfig,
    family: CloudFamily,
    source: CloudFamily | None,
    backend: Any,
    /,
    *,
    rectify: dict[str, Any] | None = None,
) -> Fitted:
    """Train on a family; then again, on the model's own pairs, where ``rectify`` has options of that.

    What is done once before the first step does not count as training; to make the pairs does.
    """
    fitted = _fit(*models.prepare(config, family, backend, source=source), family.labels, backend)
    if rectify is None:
        return fitted
    begun = time.perf_counter()
    again = rectified_config(config, rectify)
    made = prepare_rectified(again, fitted.model, backend, source=source)
    seconds = fitted.train_s + time.perf_counter() - begun
    second = _fit(*made, None, backend)
    return second._replace(train_s=seconds + second.train_s)


def _fit(
    model: models.Model[CloudConfig], members: Any, labels: np.ndarray | None, backend: Any, /
) -> Fitted:
    last: list[algorithm.Metrics] = []
    begun = time.perf_counter()
    state = algorithm.train(
        model.config,
        model.setting,
        members,
        labels,
        model.state,
        ops=backend.ops,
        every=max(1, model.config.steps // 10),
        report=lambda state, metrics: last.append(metrics),
    )
    seconds = time.perf_counter() - begun
    each = 1e3 * seconds / model.config.steps
    return Fitted(model._replace(state=state), members, seconds, last[-1], each)


def run(task: CloudTask, /) -> CloudOutcome:
    """Train on one family with one seed, generate, compare with what was held out."""
    family, held_out = load_pair(task.data)
    source, start = load_source(task.source, family, held_out)
    backend = backends.load(task.backend)
    config = CloudConfig(**task.scale.config, seed=task.seed)
    fitted = fit(config, family, source, backend, rectify=task.scale.rectify)
    model = fitted.model
    size = min(task.scale.size, len(held_out), len(family), len(held_out if start is None else start))
    compared: dict[str, list[Comparison]] = {"trained": [], "source": [], "real": []}
    pictures: list[Any] = []
    for evaluation in range(task.scale.evaluations):
        seed = task.seed + 1000 * evaluation  # other sources, and other members of the families
        index = random_stream(seed, "evaluation").choice(len(held_out), size=size, replace=False)
        real = held_out.batch(index, n_points=config.n_points, rng=random_stream(seed, "evaluation", 1))
        options: dict[str, Any] = {"size": size, "seed": seed}
        if start is not None:  # of held-out members, so that nothing the model has seen is carried back
            chosen = index if task.source == PARTIAL else np.arange(size)
            options |= {"source": start, "index": chosen}
        generated, labels = generate_with(model, n_steps=task.scale.n_steps, ops=backend.ops, **options)
        untrained = draw_source(model, **options)
        others = {
            "trained": generated,
            "source": untrained,
            "real": subsample(family, size, config, seed=seed),
        }
        known = reference_of(real)
        for name, clouds in others.items():
            compared[name].append(compare(generated=clouds, reference=known))
        if not pictures:
            begins = [] if start is None else unpad(untrained)
            true = None if held_out.labels is None else held_out.labels[index]
            plain = start is None and labels is None
            way = _way(model, task.scale.n_steps, backend.ops) if plain else []
            pictures = [unpad(generated), unpad(real), begins, way, labels, true]
    return CloudOutcome(
        task,
        *(tuple(found) for found in compared.values()),
        *pictures,
        fitted.train_s,
        fitted.step_ms,
        float(fitted.last.loss),
        float(fitted.last.plan_error),
    )


def _way(model: models.Model[CloudConfig], n_steps: int, ops: Ops) -> list[list[np.ndarray]]:
    clouds = trajectory(model, size=FOLLOWED, n_steps=n_steps, seed=model.config.seed, ops=ops)
    return [unpad(clouds[round(t * n_steps)]) for t in (0.0, 0.5, 1.0)]


def tasks_of(
    variants: dict[str, dict[str, CloudScale]],
    /,
    *,
    sources: dict[str, str] | None = None,
    backend: str | None = None,
) -> list[CloudTask]:
    """One run of every variant on every family with every seed.

    Parameters
    ----------
    variants : dict
        Family -> variant -> scale.
    sources : dict, optional
        Variant, or family -> family that its flow starts from.
    """
    starts = sources or {}
    return [
        CloudTask(data, variant, seed, scale, backend, starts.get(variant, starts.get(data)))
        for data, scales in variants.items()
        for variant, scale in scales.items()
        for seed in range(scale.seeds)
    ]


def as_rows(outcomes: list[CloudOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside a figure."""
    rows = []
    for o in outcomes:
        row: dict[str, Any] = {"data": o.task.data, "variant": o.task.variant, "seed": o.task.seed}
        for name in ("trained", "source", "real"):
            found: tuple[Comparison, ...] = getattr(o, name)
            row[name] = {
                "one_nn_chamfer": [float(each.chamfer.accuracy) for each in found],
                "one_nn_emd": [float(each.emd.accuracy) for each in found],
                "coverage": [each.coverage for each in found],
                "mmd": [each.mmd for each in found],
            }
        numbers = {"train_s": round(o.train_s, 2), "step_ms": round(o.step_ms, 2)}
        rows.append({**row, **numbers, "loss": o.loss, "plan_error": o.plan_error, **o.task.scale.config})
    return rows


def draw_beside_real(
    outcomes: list[CloudOutcome],
    folder: Path,
    name: str,
    title: str,
    /,
    *,
    most: int = DRAWN,
    columns: int = 5,
) -> list[Path]:
    """Draw generated beside real clouds of each outcome, as PNG and PDF; return the files."""
    paths = []
    for outcome in outcomes:
        for ending in ("png", "pdf"):
            paths.append(folder / f"{name}-{outcome.task.data}.{ending}")
            draw_clouds_comparison(
                outcome.held_out[:most],
                outcome.generated[:most],
                paths[-1],
                title=f"{title}: {outcome.task.data}",
                columns=columns,
            )
    return paths
