"""What figures and tables of the second paper share: couplings compared, at few and at many Euler steps.

Its tables compare couplings of two families at equal training, by 1-NN accuracy (Chamfer, and OT: exact, of
squared distances) after 5, 25 and 125 Euler steps. Beside these stand here how straight the learned paths
are, what the pairs cost, and the time of a step. The cells of its tables are not known to us: what each
experiment is held against is what the paper says in words, ``SHAPE``. Which couplings are compared is ours
where the paper's choice is not known.
"""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.backends import Backend
from refwfm.clouds import unpad
from refwfm.datasets import CloudFamily
from refwfm.paper_figures import cloud_experiment
from refwfm.paper_figures.cloud_experiment import CloudScale, CloudTask, Fitted, fit, load_pair, load_source
from refwfm.runs.evaluate_clouds import (
    Comparison,
    compare,
    generate_with,
    reference_of,
    subsample,
    trajectory,
)
from refwfm.training import cloud_generation, cloud_setting
from refwfm.training import clouds as flow
from refwfm.training.algorithm import trained
from refwfm.training.config import CloudConfig
from refwfm.training.presets import UNIFORM
from refwfm.training.randomness import random_stream
from refwfm.transport.stability import Laziness, laziness_report

EULER = (5, 25, 125)
DRAWN = 10
"""Clouds in a row of a picture."""

TIMED = 20
"""Batches that are drawn again to time the coupling."""

LAZY_POINTS = 128
"""Largest clouds whose laziness is reported: its radius takes O(n³) for each."""

SMOKE = cloud_experiment.SMOKE._replace(seeds=1, n_steps=4, members=64, euler=(1, 2), evaluations=2).of(
    conditional=False, n_points=None, reference_members=16, n_proj=8
)
LAPTOP = cloud_experiment.LAPTOP._replace(seeds=1, n_steps=125, euler=EULER, evaluations=3).of(
    conditional=False,
    batch=32,
    n_points=None,
    reference_members=128,
    **UNIFORM,  # paths are nearly straight: no time is harder than others
)
PAPER = cloud_experiment.PAPER._replace(seeds=3, size=1000, n_steps=125, euler=EULER, evaluations=5).of(
    conditional=False, network="baseline"
)
SCALES = {"smoke": SMOKE, "laptop": LAPTOP, "paper": PAPER}

Pair = tuple[str, str]


def scale_of(name: str, /, *, laptop: dict[str, Any], paper: dict[str, Any], **changes: Any) -> CloudScale:
    """Scale ``smoke``, ``laptop`` or ``paper`` with changes of its configuration, those of its own last."""
    return SCALES[name].of(**changes, **{"laptop": laptop, "paper": paper}.get(name, {}))


def pairs_of(scale: CloudScale, pairs: tuple[Pair, ...], /, **changes: Any) -> dict[str, CloudScale]:
    """The same scale for each coupling, an outer and an inner plan: ``outer/inner`` -> scale."""
    return {f"{outer}/{inner}": scale.of(outer=outer, inner=inner, **changes) for outer, inner in pairs}


def rectified(scale: CloudScale, /, *, pairs: int) -> CloudScale:
    """The same, and as many steps again on pairs of the model's own, at half the rate."""
    rate = CloudConfig(**scale.config).learning_rate
    return scale._replace(rectify={"learning_rate": rate / 2, "rectified_pairs": pairs})


class FlowOutcome(NamedTuple):
    """What one run gave.

    Attributes
    ----------
    task : CloudTask
    scores : dict
        Number of Euler steps -> one comparison with held-out clouds for each evaluation.
    straightness : list of float
        Of the learned paths, for each evaluation; 0 is straight.
    real : Comparison
        Of held-out clouds with members of the training family: what a perfect model would have.
    cost : float. Units: data squared.
        Mean squared distance of the points that the coupling pairs.
    coupling_ms, step_ms, train_s : float
        Of a step that its coupling takes, of a step, of all of them.
    loss, plan_error : float
    path : array (n_steps + 1, B, n, d)
        Of some clouds. Units: data.
    generated : dict
        Number of Euler steps -> list of arrays (n_i, d), for the pictures.
    held_out : list of arrays (n_i, d)
    laziness : Laziness, or None
    """

    task: CloudTask
    scores: dict[int, list[Comparison]]
    straightness: list[float]
    real: Comparison
    cost: float
    coupling_ms: float
    step_ms: float
    train_s: float
    loss: float
    plan_error: float
    path: np.ndarray
    generated: dict[int, list[np.ndarray]]
    held_out: list[np.ndarray]
    laziness: Laziness | None


RECORDS = (*cloud_experiment.RECORDS, FlowOutcome, Laziness)
"""What an outcome is made of, in its file."""


def run(task: CloudTask, /) -> FlowOutcome:
    """Train with one coupling and one seed; generate in few and in many steps, compare, measure the paths."""
    scale, backend = task.scale, backends.load(task.backend)
    family, held_out = load_pair(task.data)
    source, start = load_source(task.source, family, held_out)
    family, source = (_at_most(each, scale.members) for each in (family, source))
    config = CloudConfig(**scale.config, seed=task.seed, **({} if source is None else {"source": "family"}))
    fitted = fit(config, family, source, backend, rectify=scale.rectify)
    size = min(scale.size, *(len(each) for each in (family, held_out, start) if each is not None))
    scores: dict[int, list[Comparison]] = {steps: [] for steps in scale.euler}
    bends, pictured = [], {}
    times = "early" if scale.rectify else "uniform"  # what bends in rectified paths does so at first
    for evaluation in range(scale.evaluations):
        seed = task.seed * scale.evaluations + evaluation
        real = reference_of(subsample(held_out, size, config, seed=seed), squared=True)
        options = {"size": size, "seed": seed, "ops": backend.ops, **_starts(start, size, seed)}
        for steps in scale.euler:
            generated, _ = generate_with(fitted.model, n_steps=steps, times=times, **options)
            scores[steps].append(compare(generated=generated, reference=real, squared=True))
            if evaluation == 0:
                pictured[steps] = unpad(generated)[:DRAWN]
        bends.append(_straightness(fitted, n_steps=scale.n_steps, **options))
    first = subsample(held_out, size, config, seed=task.seed * scale.evaluations)
    coupling_ms, cost = _coupling(fitted, backend)
    return FlowOutcome(
        task,
        scores,
        bends,
        compare(generated=subsample(family, size, config, seed=task.seed), reference=first, squared=True),
        cost,
        coupling_ms,
        fitted.step_ms,
        fitted.train_s,
        float(fitted.last.loss),
        float(fitted.last.plan_error),
        _path(fitted, start, min(size, DRAWN), scale.n_steps, backend),
        pictured,
        unpad(first)[:DRAWN],
        _laziness(fitted),
    )


def _at_most(family: CloudFamily | None, members: int | None) -> Any:
    if family is None or members is None or len(family) <= members:
        return family
    return family.subset(np.arange(members))


def _starts(start: CloudFamily | None, size: int, seed: int) -> dict[str, Any]:
    """Held-out members of a source family, which the model has not seen, for one evaluation."""
    if start is None:
        return {}
    index = random_stream(seed, "evaluation", 2).choice(len(start), size=size, replace=False)
    return {"source": start, "index": index}


def _straightness(fitted: Fitted, **options: Any) -> float:
    config, setting, state = fitted.model.config, fitted.model.setting, fitted.model.state
    return float(cloud_generation.learned_straightness(config, setting, trained(state), **options).ratio)


def _coupling(fitted: Fitted, backend: Backend) -> tuple[float, float]:
    """Milliseconds that a coupling takes, and the mean squared distance of the points it pairs.

    Batches are drawn with it and, in turns, with random pairs: the median difference is its own time.
    Rectified pairs, which are there before the first step, take none.
    """
    config, setting = fitted.model.config, fitted.model.setting
    random = replace(config, outer="independent", outer_eps=0.0, inner="independent")
    times, costs = [], []
    for step in range(1, 1 + TIMED):
        took = []
        for each in (random, config):
            begun = time.perf_counter()
            batch = flow.draw_batch(each, setting, fitted.members, None, step, ops=backend.ops)
            took.append(time.perf_counter() - begun)
        times.append(took[1] - took[0])
        target, weights = map(backend.to_numpy, (batch.target, batch.weights))
        costs.append(float(np.mean(np.sum(weights * np.sum(target**2, axis=-1), axis=-1))))
    return max(0.0, 1e3 * float(np.median(times))), setting.unit**2 * float(np.mean(costs))


def _path(fitted: Fitted, start: CloudFamily | None, size: int, n_steps: int, backend: Backend) -> np.ndarray:
    """Clouds on their way, before the first step and after each: (n_steps + 1, size, n, d), in data units."""
    options = {"seed": fitted.model.config.seed, "ops": backend.ops}
    options |= _starts(start, size, fitted.model.config.seed)
    way = trajectory(fitted.model, size=size, n_steps=n_steps, **options)
    return np.stack([cloud.points for cloud in way])


def _laziness(fitted: Fitted) -> Laziness | None:
    """How well laziness holds for the run's noise and the clouds it was trained on, in the model's units."""
    config, setting = fitted.model.config, fitted.model.setting
    lazy = config.source == "barycentric" and "lazy" in (config.outer, config.inner)
    if fitted.model.config.rectified_pairs or not lazy or len(setting.reference) > LAZY_POINTS:
        return None
    rng = random_stream(config.seed, "evaluation", 3)
    target = fitted.members.target
    some = target.batch(rng.choice(len(target), size=min(200, len(target)), replace=False))
    clouds = cloud_setting.to_model_units(some, setting)
    return laziness_report(setting.reference, clouds, sigma=config.sigma, rng=rng, validate=False)


def as_rows(outcomes: list[FlowOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside a figure."""
    return [_row(outcome) for outcome in outcomes]


def _row(o: FlowOutcome) -> dict[str, Any]:
    scores = {
        str(steps): {
            "one_nn_chamfer": [float(each.chamfer.accuracy) for each in found],
            "one_nn_ot": [float(each.emd.accuracy) for each in found],
            "coverage": [each.coverage for each in found],
            "mmd": [each.mmd for each in found],
        }
        for steps, found in o.scores.items()
    }
    row: dict[str, Any] = {"data": o.task.data, "variant": o.task.variant, "seed": o.task.seed}
    row |= {"source_family": o.task.source} if o.task.source else {}
    if o.laziness is not None:
        numbers = ("optimal", "mean_ratio", "inside")
        row["laziness"] = {name: getattr(o.laziness, name) for name in numbers}
    return {
        **row,
        "scores": scores,
        "real": [float(o.real.chamfer.accuracy), float(o.real.emd.accuracy)],
        "straightness": o.straightness,
        "cost": o.cost,
        "coupling_ms": round(o.coupling_ms, 3),
        "step_ms": round(o.step_ms, 3),
        "train_s": round(o.train_s, 2),
        "loss": o.loss,
        "plan_error": o.plan_error,
        **o.task.scale.config,
    }
