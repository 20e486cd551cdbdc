"""What each part of the preset for laptops is worth: all of it, and all but one part (ours, no paper's)."""

import time
from typing import Any, NamedTuple

from refwfm import backends
from refwfm.datasets import CloudFamily, load
from refwfm.runs.estimator import WassersteinFlow
from refwfm.runs.evaluate_clouds import subsample
from refwfm.training.presets import UNIFORM

TITLE = "Ablation of the preset for laptops"
KIND = "ablation"
FAMILIES = ("tutorial-spiral", "cities", "niches", "fours")

WITHOUT: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "nothing": ({}, {}),
    "features": ({"state_features": 0}, {"point_features": 0}),
    "matching": ({"matching": False}, {"outer": "independent"}),
    "running mean": ({"ema": 0.0}, {"ema": 0.0}),
    "cosine": ({"schedule": "exponential"}, {"schedule": "exponential"}),
    "warm-up": ({"warmup": 0}, {"warmup": 0}),
    "times": (UNIFORM, UNIFORM),
    "Muon": (None, {"optimizer": "adam"}),
    "grid": (None, {"grid_features": False}),
}
"""What is left out, and the options that do it, for Gaussians and for clouds; None where there is nothing."""


class Scale(NamedTuple):
    """Options beside the preset's, seeds, steps of generation, clouds that are compared."""

    options: dict[str, Any]
    seeds: int
    n_steps: int
    size: int = 200


SCALES = {
    "smoke": Scale({"steps": 12, "batch": 4, "width": 8, "depth": 1, "warmup": 3}, 2, 3, 8),
    "laptop": Scale({}, 3, 50),
    "paper": Scale({"steps": 20_000}, 3, 100),
}


class Task(NamedTuple):
    """One run of an experiment."""

    data: str
    without: str
    seed: int
    scale: Scale
    backend: str | None


class Outcome(NamedTuple):
    """What one run gave: ``WassersteinFlow.score``, and seconds of one thread or more."""

    task: Task
    score: float
    train_s: float


RECORDS = (Outcome, Task, Scale)
"""What an outcome is made of, in its file."""


def tasks_of(families: tuple[str, ...], scale: Scale, /, *, backend: str | None = None) -> list[Task]:
    """One run of every family, with every seed, without each of the parts."""
    return [
        Task(name, without, seed, scale, backend)
        for name in families
        for seed in range(scale.seeds)
        for without, options in WITHOUT.items()
        if options[isinstance(load(name), CloudFamily)] is not None
    ]


def run(task: Task, /) -> Outcome:
    """Train with the preset but for one part; score the model against its family."""
    family = load(task.data)
    options = {**task.scale.options, **(WITHOUT[task.without][isinstance(family, CloudFamily)] or {})}
    flow = WassersteinFlow(options=options, seed=task.seed, backend=backends.load(task.backend))
    start = time.process_time()
    flow.fit(family)
    seconds = time.process_time() - start
    real = (
        subsample(family, task.scale.size, flow.model_.config, seed=task.seed)
        if isinstance(family, CloudFamily)
        else family
    )
    return Outcome(task, flow.score(real, n_steps=task.scale.n_steps, seed=task.seed), seconds)


def as_rows(outcomes: list[Outcome], /) -> list[dict[str, object]]:
    """Raw numbers for the JSON file."""
    return [
        {
            "data": o.task.data,
            "without": o.task.without,
            "seed": o.task.seed,
            "score": o.score,
            "train_cpu_s": round(o.train_s, 2),
            **o.task.scale.options,
        }
        for o in outcomes
    ]
