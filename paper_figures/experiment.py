"""What figures and tables of Gaussians share: train the methods on families, with seeds; measure."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.datasets import Family, load
from refwfm.measures import Gaussian
from refwfm.runs import models
from refwfm.runs.evaluate_gaussians import evaluate, trajectory
from refwfm.training import algorithm
from refwfm.training.config import GaussianConfig
from refwfm.training.methods import METHODS
from refwfm.training.presets import with_preset

STAGES = 10
"""Of the way of a Gaussian that pictures show."""

FOLLOWED = 64
"""Gaussians whose way is kept."""


class Scale(NamedTuple):
    """How large an experiment is: training, networks, seeds, Gaussians generated, steps of generation.

    ``preset`` has the options that are not named here (``training.presets``), and the width where it is None.
    """

    steps: int
    width: int | None
    depth: int
    learning_rate: float
    seeds: int
    size: int
    n_steps: int
    preset: str = "paper"

    def config(self, method: str, seed: int, family: Family) -> GaussianConfig:
        """The configuration of one run.

        The paper multiplies the rate by 0.97 every 1000 of its 100,000 steps. Shorter runs keep the shape
        of that schedule: a hundred decays from first to last step. A preset has a schedule of its own.
        """
        given: dict[str, Any] = {"method": method, "seed": seed}
        given |= {"steps": self.steps, "depth": self.depth, "learning_rate": self.learning_rate}
        given |= {} if self.width is None else {"width": self.width}
        if self.preset == "paper":
            given["decay_every"] = max(1, self.steps // 100)
        return GaussianConfig(**with_preset(self.preset, GaussianConfig, given, family=family))


SCALES = {
    "smoke": Scale(30, 16, 2, 1e-2, 2, 32, 10),
    "laptop": Scale(4000, None, 3, 5e-3, 3, 512, 50, "laptop"),
    "paper": Scale(100_000, 1024, 6, 1e-3, 3, 1024, 100),
}


class Task(NamedTuple):
    """One run of an experiment."""

    data: str
    method: str
    seed: int
    scale: Scale
    backend: str | None


class Outcome(NamedTuple):
    """What one run gave: the mean of min W2², the covariances' share, Gaussians for the picture, time.

    ``path``: some of them on their way, mean (``STAGES`` + 1, n, d).
    """

    task: Task
    min_w2_sq: float
    bures_part: float
    deviation: float
    repaired: float
    accuracy: float | None
    generated: Gaussian
    path: Gaussian
    train_s: float


RECORDS = (Outcome, Task, Scale, Gaussian)
"""What an outcome is made of, in its file."""


def run(task: Task, family: Family | None = None, /) -> Outcome:
    """Train one method on one family with one seed, generate, measure."""
    family = load(task.data) if family is None else family
    backend = backends.load(task.backend)
    config = task.scale.config(task.method, task.seed, family)
    start = time.perf_counter()
    model, members = models.prepare(config, family, backend)
    state = algorithm.train(config, model.setting, members, family.labels, model.state, ops=backend.ops)
    seconds = time.perf_counter() - start
    model = model._replace(state=state)
    n_steps = task.scale.n_steps
    result = evaluate(model, family, backend, size=task.scale.size, n_steps=n_steps, seed=task.seed)
    way = trajectory(model, backend, size=FOLLOWED, n_steps=n_steps, stages=STAGES, seed=task.seed)
    return Outcome(
        task,
        float(result.sq_distance.mean()),
        float(result.bures_part.mean()),
        float(result.sq_distance.std()),
        result.repaired,
        result.accuracy,
        result.generated,
        way,
        seconds,
    )


def tasks_of(
    scales: dict[str, Scale], /, *, backend: str | None = None, methods: Iterable[str] = tuple(METHODS)
) -> list[Task]:
    """One run of every method on every family with every seed.

    Parameters
    ----------
    scales : dict
        Name of each family, and how large its experiment is.
    """
    return [
        Task(name, method, seed, scale, backend)
        for name, scale in scales.items()
        for seed in range(scale.seeds)
        for method in methods
    ]


def by_method(outcomes: list[Outcome], name: str, /) -> dict[str, list[Outcome]]:
    """Outcomes on one family, grouped by method."""
    return {
        method: found
        for method in METHODS
        if (found := [o for o in outcomes if o.task.data == name and o.task.method == method])
    }


def as_rows(outcomes: list[Outcome], /) -> list[dict[str, object]]:
    """Raw numbers for the JSON file beside a figure."""
    return [
        {
            "data": o.task.data,
            "method": o.task.method,
            "seed": o.task.seed,
            "min_w2_sq": o.min_w2_sq,
            "bures_part": o.bures_part,
            "deviation_over_generated": o.deviation,
            "repaired": o.repaired,
            "label_accuracy": o.accuracy,
            "train_s": round(o.train_s, 2),
            **o.task.scale._asdict(),
        }
        for o in outcomes
    ]


def seed_means(outcomes: list[Outcome], field: str = "min_w2_sq", /) -> np.ndarray:
    """One value for each seed, shape (seeds,)."""
    return np.array([getattr(outcome, field) for outcome in outcomes])


def first_seed(outcomes: list[Outcome], name: str, /) -> dict[str, Gaussian]:
    """Panel titles and generated Gaussians of each method's first seed on a family."""
    return {METHODS[method].title: found[0].generated for method, found in by_method(outcomes, name).items()}
