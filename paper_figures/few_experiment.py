"""What ``few_steps`` runs: one training, then generation at given numbers of network calls.

A step of ``midpoint`` calls the network twice, so that solvers are compared at equal calls and not at equal
steps. What is measured is the squared Wasserstein-on-Wasserstein distance of as many generated as held-out
measures: the mean W2² of the best pairs of one and the other (between clouds the sliced one, a hundred times
faster). A few members, or blurred ones, are far from the rest: it cannot be won by staying near the data.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends, datasets
from refwfm.bures_metric import pairwise_sq_distance, sq_distance
from refwfm.generation import RUNGE_KUTTA
from refwfm.measures import Gaussian, PointCloud, take
from refwfm.paper_figures import cloud_experiment
from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.gwfm.experiment import rectified
from refwfm.runs import evaluate_clouds, evaluate_gaussians, models
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.randomness import random_stream
from refwfm.transport.exact import assignment
from refwfm.transport.sliced import pairwise_sliced_cost, random_directions

SOLVERS = {
    "Euler": ("euler", "uniform"),
    "Euler, early": ("euler", "early"),
    "Euler, late": ("euler", "late"),
    "midpoint": ("midpoint", "uniform"),
    "midpoint, late": ("midpoint", "late"),
}
"""Method and times of generation, by what the tables call them."""

RECTIFIED = ", rectified"
"""At the end of a coupling: then trained again, on pairs of the model's own."""

PROJECTIONS = 64

EXACT = {"n_steps": 25, "method": "rk4"}
"""Generation that stands for the flow itself."""

HELD_OUT = 0.25
"""Share held out of the Gaussian families, which have no held-out members of their own."""


class FewScale(NamedTuple):
    """How large the experiment is.

    Attributes
    ----------
    gaussians : dict
        Fields of ``GaussianConfig``.
    clouds : CloudScale
    size : int
        Measures generated, and held-out ones they are compared with, at most.
    calls : tuple of int
        Numbers of network calls.
    seeds, evaluations : int
        Trainings, and draws of each trained model.
    pairs : int
        Of a rectified flow.
    """

    gaussians: dict[str, Any]
    clouds: CloudScale
    size: int
    calls: tuple[int, ...]
    seeds: int
    evaluations: int
    pairs: int


class FewTask(NamedTuple):
    """One training: a family, a coupling ("" for Gaussians), the family it starts from, a seed.

    A coupling is an outer and an inner plan, "sliced/exact", and ``RECTIFIED`` after it.
    """

    data: str
    coupling: str
    source: str | None
    seed: int
    scale: FewScale
    backend: str | None


class FewOutcome(NamedTuple):
    """What one run gave.

    Attributes
    ----------
    task : FewTask
    quality : dict
        Solver -> calls -> squared distance to the held-out family, one for each evaluation.
    off : dict
        Solver -> calls -> mean squared distance of each measure to where the flow itself takes it.
    real : list of float
        Squared distance of training members to the held-out ones: what a perfect model would have.
    train_s : float
    """

    task: FewTask
    quality: dict[str, dict[int, list[float]]]
    off: dict[str, dict[int, list[float]]]
    real: list[float]
    train_s: float


RECORDS = (FewOutcome, FewTask, FewScale, CloudScale)
"""What an outcome is made of, in its file."""


def steps_of(solver: str, calls: int, /) -> int:
    """Steps of a solver that call the network at most so often, and once or twice at least."""
    return max(1, calls // len(RUNGE_KUTTA[SOLVERS[solver][0]][0]))


def calls_of(solver: str, calls: int, /) -> int:
    """Calls of the network that these steps make."""
    return steps_of(solver, calls) * len(RUNGE_KUTTA[SOLVERS[solver][0]][0])


def matched(cost: np.ndarray, /) -> float:
    """Mean cost of the best pairs of rows and columns."""
    return float(np.mean(cost[np.arange(len(cost)), assignment(cost)]))


def run(task: FewTask, /) -> FewOutcome:
    """Train on one family with one coupling and one seed; generate with every solver, compare."""
    begun = time.perf_counter()
    draw, compare, distance, pairs = (_gaussians if not task.coupling else _clouds)(task)
    seconds = time.perf_counter() - begun
    quality: dict[str, dict[int, list[float]]] = {solver: {} for solver in SOLVERS}
    off: dict[str, dict[int, list[float]]] = {solver: {} for solver in SOLVERS}
    real = []
    for evaluation in range(task.scale.evaluations):
        seed = 1000 * task.seed + evaluation
        held, training = pairs(seed)
        real.append(compare(training, held))
        exact = draw(seed, **EXACT)
        for solver, (method, times) in SOLVERS.items():
            for calls in task.scale.calls:
                if calls_of(solver, calls) > calls:
                    continue
                found = draw(seed, n_steps=steps_of(solver, calls), method=method, times=times)
                quality[solver].setdefault(calls, []).append(compare(found, held))
                off[solver].setdefault(calls, []).append(distance(found, exact))
    return FewOutcome(task, quality, off, real, seconds)


def _gaussians(task: FewTask) -> tuple[Any, Any, Any, Any]:
    """A trained model's draws, and how they are compared: what ``run`` needs of a kind of measure."""
    backend = backends.load(task.backend)
    family, held = datasets.split(datasets.load(task.data), held_out=HELD_OUT, seed=task.seed)
    config = GaussianConfig(**task.scale.gaussians, seed=task.seed)
    model, members = models.prepare(config, family, backend)
    state = algorithm.train(config, model.setting, members, family.labels, model.state, ops=backend.ops)
    model = model._replace(state=state)
    size = min(task.scale.size, len(held), len(family))

    def draw(seed: int, **how: Any) -> Gaussian:
        return evaluate_gaussians.generate_with(model, backend, size=size, seed=seed, **how)[0]

    def pairs(seed: int) -> list[Gaussian]:
        rng = random_stream(seed, "evaluation")
        return [take(each.gaussians, rng.choice(len(each), size, replace=False)) for each in (held, family)]

    def compare(found: Gaussian, real: Gaussian) -> float:
        return matched(pairwise_sq_distance(found, real, validate=False))

    return draw, compare, lambda x, y: float(np.mean(sq_distance(x, y, validate=False))), pairs


def _clouds(task: FewTask) -> tuple[Any, Any, Any, Any]:
    """The same for clouds."""
    backend = backends.load(task.backend)
    family, held = cloud_experiment.load_pair(task.data)
    source, start = cloud_experiment.load_source(task.source, family, held)
    outer, inner = task.coupling.removesuffix(RECTIFIED).split("/")
    scale = task.scale.clouds.of(outer=outer, inner=inner, **({} if source is None else {"source": "family"}))
    config = CloudConfig(**scale.config, seed=task.seed)
    again = rectified(scale, pairs=task.scale.pairs).rectify if task.coupling.endswith(RECTIFIED) else None
    model = cloud_experiment.fit(config, family, source, backend, rectify=again).model
    size = min(task.scale.size, len(held))

    def draw(seed: int, **how: Any) -> PointCloud:
        if start is not None:
            index = random_stream(seed, "evaluation", 2).choice(len(start), size=size, replace=False)
            how |= {"source": start, "index": index}
        return evaluate_clouds.generate_with(model, size=size, seed=seed, ops=backend.ops, **how)[0]

    def pairs(seed: int) -> list[PointCloud]:
        return [evaluate_clouds.subsample(each, size, config, seed=seed) for each in (held, family)]

    def compare(found: PointCloud, real: PointCloud) -> float:
        found, real = (PointCloud(*(x.astype(np.float64) for x in cloud)) for cloud in (found, real))
        theta = random_directions(real.points, rng=np.random.default_rng(0), n_proj=PROJECTIONS)
        return matched(pairwise_sliced_cost(found, real, theta, validate=False))

    def distance(x: PointCloud, y: PointCloud) -> float:
        return float(np.mean(np.sum(x.weights * np.sum((x.points - y.points) ** 2, axis=-1), axis=-1)))

    return draw, compare, distance, pairs


def as_rows(outcomes: list[FewOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside the table."""
    return [
        {
            "data": o.task.data,
            "coupling": o.task.coupling,
            "seed": o.task.seed,
            "solver": solver,
            "calls": calls_of(solver, calls),
            "at_most": calls,
            "sq_wow_to_held_out": values,
            "sq_distance_to_exact_flow": o.off[solver][calls],
            "real_sq_wow_to_held_out": o.real,
            "train_s": round(o.train_s, 2),
        }
        for o in outcomes
        for solver, found in o.quality.items()
        for calls, values in found.items()
    ]
