"""What figures of Meta FM share: methods trained on one family of populations, compared on parts of it."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.datasets import PopulationFamily, load_populations
from refwfm.datasets.letter_populations import LetterRecipe, letter_centres, letter_populations
from refwfm.datasets.synthetic_screen import synthetic_screen
from refwfm.paper_figures.meta_fm.oracle_experiment import member, pooled
from refwfm.populations.flow import integrate
from refwfm.populations.oracles import denoising_velocity, sample_mixture
from refwfm.runs import models
from refwfm.runs.evaluate_populations import (
    Compared,
    Floats,
    Numbers,
    Predict,
    floor_predictions,
    in_equal_steps,
    measure,
    model_prediction,
)
from refwfm.training import algorithm
from refwfm.training.config import MetaFMConfig

FLOORS = "without learning"
"""The task that trains nothing: floors and, where the recipe is known, oracles."""


class Protocol(NamedTuple):
    """What is measured, the same for all methods.

    Attributes
    ----------
    data : str
    recipe : dict
        Fields of the family's recipe that differ from its own.
    measured : dict
        Part -> positions that are measured; or how many, in equal steps.
    pictured : dict
        Part -> positions whose predictions are kept.
    particles : int
        Compared of each population, at most.
    n_steps : int
        Of Heun's method.
    pool : int
        Centres of each training population that the FM oracle pools.
    """

    data: str
    recipe: dict[str, Any]
    measured: dict[str, Any]
    pictured: dict[str, tuple[int, ...]]
    particles: int
    n_steps: int
    pool: int = 0


class PopulationScale(NamedTuple):
    """How large an experiment is.

    Attributes
    ----------
    protocol : Protocol
    config : dict
        Fields of ``MetaFMConfig`` that all methods share.
    methods : dict
        Method -> fields of its own.
    seeds : int
        Trainings of each method.
    """

    protocol: Protocol
    config: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    seeds: int


class PopulationTask(NamedTuple):
    """One training, or what needs none."""

    method: str
    config: dict[str, Any]
    seed: int
    protocol: Protocol
    backend: str | None


class PopulationOutcome(NamedTuple):
    """What one training gave.

    Attributes
    ----------
    task : PopulationTask
    numbers : dict
        Part -> row -> metric -> array (N,), a value for each population.
    clouds : dict
        "part/position" -> row -> predicted particles (n, d); of ``FLOORS`` also "source" and "truth".
    train_s, loss : float
    """

    task: PopulationTask
    numbers: dict[str, Numbers]
    clouds: dict[str, dict[str, np.ndarray]]
    train_s: float
    loss: float


RECORDS = (PopulationOutcome, PopulationTask, Protocol)
"""What an outcome is made of, in its file."""


def tasks_of(scale: PopulationScale, /, *, backend: str | None = None) -> list[PopulationTask]:
    """What needs no training, then every method with every seed."""
    trainings = [
        PopulationTask(method, scale.config | own, seed, scale.protocol, backend)
        for seed in range(scale.seeds)
        for method, own in scale.methods.items()
    ]
    return [PopulationTask(FLOORS, {}, 0, scale.protocol, backend), *trainings]


def some(
    methods: dict[str, dict[str, Any]], names: Sequence[str], own: dict[str, dict[str, Any]], /
) -> dict[str, dict[str, Any]]:
    """The methods of these names, with what ``own`` says of some of them besides."""
    return {name: methods[name] | own.get(name, {}) for name in names}


def family_of(protocol: Protocol, /) -> PopulationFamily:
    """The populations of an experiment."""
    if protocol.data == "letter-populations":
        return letter_populations(LetterRecipe(**protocol.recipe))
    if protocol.data == "synthetic-screen":
        return synthetic_screen(**protocol.recipe).family
    return load_populations(protocol.data)


def run(task: PopulationTask, /) -> PopulationOutcome:
    """Train one method with one seed, and compare its predictions with the truth."""
    protocol, family = task.protocol, family_of(task.protocol)
    begun, losses = time.perf_counter(), []
    if task.method == FLOORS:
        predictors = {part: _floors(protocol, family, part) for part in protocol.measured}
    else:
        backend = backends.load(task.backend)
        config = MetaFMConfig(**task.config, seed=task.seed)
        model, data = models.prepare(config, family, backend)
        state = algorithm.train(
            *(config, model.setting, data, None, model.state),
            ops=backend.ops,
            report=lambda state, metrics: losses.append(float(metrics.loss)),
        )
        model = model._replace(state=state)
        predictors = {
            part: partial(_predict, task.method, model, part == "train", protocol.n_steps)
            for part in protocol.measured
        }
    train_s = time.perf_counter() - begun
    numbers, clouds = {}, {}
    for part, asked in protocol.measured.items():
        chosen, predict = family.part(part), predictors[part]
        positions = in_equal_steps(len(chosen), asked) if isinstance(asked, int) else asked
        kept: dict[str, dict[str, np.ndarray]] = {}
        numbers[part] = measure(
            *(chosen, positions, partial(_keeping, kept, protocol.pictured.get(part, ()), predict)),
            particles=protocol.particles,
            key=(0,),
        )
        clouds |= {f"{part}/{position}": rows for position, rows in kept.items()}
    return PopulationOutcome(task, numbers, clouds, train_s, float(np.mean(losses[-100:] or [np.nan])))


def _predict(
    method: str, model: Any, known: bool, n_steps: int, x: Compared, rng: np.random.Generator
) -> dict[str, Floats]:
    return {method: model_prediction(model, x, rng, x.position if known else None, n_steps)}


def _keeping(
    kept: dict[Any, dict[str, np.ndarray]],
    pictured: Sequence[int],
    predict: Predict,
    x: Compared,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Predict, and keep what is drawn."""
    predictions = predict(x, rng)
    if x.position in pictured:
        kept[x.position] = dict(predictions)
        if "identity" in predictions:
            kept[x.position] |= {"source": x.before[x.rows], "truth": x.truth}
    return predictions


def _floors(protocol: Protocol, family: PopulationFamily, part: str) -> Predict:
    """Floors of all data, and oracles of letters, whose law is known."""
    train = family.part("train")
    if protocol.data != "letter-populations":
        return lambda x, rng: floor_predictions(train, x)
    recipe = LetterRecipe(**protocol.recipe)
    centres = letter_centres(recipe)
    trained, own = (
        centres.subset(family.parts == n) for n in (0, ("train", "validation", "test").index(part))
    )
    everyone = pooled(trained, protocol.pool, np.random.default_rng(recipe.seed))
    weights = np.repeat(1.0 / (len(trained) * trained.sizes), trained.sizes)

    def flowed(x: Compared, about: np.ndarray) -> Floats:
        def field(points: np.ndarray, t: np.ndarray) -> np.ndarray:
            velocity: np.ndarray = denoising_velocity(points, t, about, sigma=recipe.noise, tau=recipe.jitter)
            return velocity

        moved: Floats = integrate(field, x.before[None, x.rows], n_steps=protocol.n_steps)[0]
        return moved

    def predict(x: Compared, rng: np.random.Generator) -> dict[str, Floats]:
        drawn = {"rng": rng, "size": len(x.rows), "tau": recipe.jitter, "weights": weights}
        return {
            "identity": x.before[x.rows],
            "population oracle": flowed(x, member(own, x.position)),
            "FM oracle": flowed(x, everyone),
            "FM w/N oracle": sample_mixture(trained.points, **drawn),
        }

    return predict


def over_seeds(outcomes: list[PopulationOutcome], metric: str, /) -> dict[str, dict[str, np.ndarray]]:
    """Part -> row -> means over its populations, one for each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for o in outcomes:
        for part, rows in o.numbers.items():
            for row, metrics in rows.items():
                if metric in metrics:
                    found.setdefault(part, {}).setdefault(row, []).append(float(np.mean(metrics[metric])))
    return {part: {row: np.asarray(v) for row, v in rows.items()} for part, rows in found.items()}


def clearly_less(a: np.ndarray, b: np.ndarray, /) -> bool:
    """Whether the means over seeds differ by more than the sum of their standard deviations."""
    spread = sum(float(np.std(each, ddof=1)) if len(each) > 1 else 0.0 for each in (a, b))
    return float(np.mean(a)) + spread < float(np.mean(b))


def as_rows(outcomes: list[PopulationOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside a figure."""
    return [
        {
            **{"data": o.task.protocol.data, "part": part, "row": row, "seed": o.task.seed},
            **{metric: values.tolist() for metric, values in metrics.items()},
            **{"train_s": round(o.train_s, 1), "loss": o.loss if np.isfinite(o.loss) else None},
            **o.task.config,
        }
        for o in outcomes
        for part, rows in o.numbers.items()
        for row, metrics in rows.items()
    ]
