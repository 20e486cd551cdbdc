"""How far a model's predictions of populations are from the truth, beside predictions without learning."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._population_family import PARTS
from refwfm.metrics.populations import feature_correlation, sq_mmd, wasserstein1, wasserstein2
from refwfm.populations import floors
from refwfm.runs.models import Model, fingerprint
from refwfm.training import population_prediction
from refwfm.training.algorithm import trained
from refwfm.training.config import MetaFMConfig

METRICS: dict[str, Callable[..., Any]] = {
    "w1": wasserstein1,
    "w2": wasserstein2,
    "sq_mmd": sq_mmd,
    "correlation": feature_correlation,
}
"""Distances between prediction and truth, and the correlation of features, which needs three of them."""

ROWS = {
    "identity": "nothing happens",
    "mean_shift": "mean shift",
    "mean_shift_by_condition": "mean shift of the condition",
    "ideal_shift": "ideal shift (knows the answer)",
    "model": "model",
}
"""What is measured, and what it is called."""

TRAINED_ON = 10
"""Training populations that are measured, in equal steps through all."""

Floats = NDArray[np.float64]
Numbers = dict[str, dict[str, Floats]]
"""Row -> metric -> value of each population."""


class Compared(NamedTuple):
    """A population whose prediction is compared with the truth.

    Attributes
    ----------
    position : int
        In its part.
    before, after : float64 arrays (n, d) and (m, d)
        All particles, at both times.
    rows : integer array (k,)
        Particles before whose predictions are compared.
    truth : float64 array (l, d)
        Particles after that they are compared with.
    condition : float64 array (c,)
    marks : float64 array (n, q), or None
    """

    position: int
    before: Floats
    after: Floats
    rows: NDArray[np.int64]
    truth: Floats
    condition: Floats
    marks: Floats | None


Predict = Callable[[Compared, np.random.Generator], dict[str, Floats]]
"""Row -> where the particles ``rows`` of a population go."""


class PartMeasured(NamedTuple):
    """Numbers of one part.

    Attributes
    ----------
    positions : integer array (N,)
        Populations of the part that were measured.
    numbers : dict of dict of float64 arrays (N,)
    capped : bool
        Whether a population had more particles than were compared.
    unseen : int
        Populations under a condition that no training population was under.
    """

    positions: NDArray[np.int64]
    numbers: Numbers
    capped: bool
    unseen: int = 0


def evaluate(
    model: Model[MetaFMConfig],
    family: Any,
    /,
    *,
    part: str,
    particles: int = 1000,
    most: int | None = None,
    n_steps: int = 20,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> PartMeasured:
    """Compare predictions of one part's populations with what became of them.

    Parameters
    ----------
    model : Model of Meta Flow Matching
    family : PopulationFamily
        That of the run. Of another there are no mean shifts, which are made of the populations trained on.
    part : str
        "train" (``TRAINED_ON`` of them at most), "validation" or "test".
    particles : int
        Particles compared of each population, at most; others are left out at random. The embedding reads
        all of them.
    most : int, optional
        Populations measured, at most, in equal steps through the part.
    n_steps : int
        Of Heun's method.
    seed : int
        Of what is left out, and of noise where flows start from it.
    progress : callable, optional
        Called after each population.
    """
    check_fits(model, family)
    own = fingerprint(model.config, family) == model.about["fingerprint"]
    chosen, train = family.part(part), family.part("train") if own else None
    positions = in_equal_steps(len(chosen), TRAINED_ON if most is None and part == "train" else most)

    def predict(x: Compared, rng: np.random.Generator) -> dict[str, Floats]:
        number = x.position if own and part == "train" else None
        return floor_predictions(train, x) | {"model": model_prediction(model, x, rng, number, n_steps)}

    numbers = measure(
        chosen, positions, predict, particles=particles, key=(seed, PARTS.index(part)), progress=progress
    )
    sizes = np.maximum(chosen.source.sizes, chosen.target.sizes)[positions]
    strange = chosen.conditions[positions][:, model.setting.condition_scale == 0].any(axis=1)
    return PartMeasured(positions, numbers, bool((sizes > particles).any()), int(strange.sum()))


def in_equal_steps(size: int, most: int | None, /) -> NDArray[np.int64]:
    """Positions from 0 to size - 1: all of them, or at most so many, in equal steps."""
    count = size if most is None else min(most, size)
    return np.unique(np.linspace(0, size - 1, count).round().astype(np.int64))


def measure(
    chosen: Any,
    positions: Any,
    predict: Predict,
    /,
    *,
    particles: int,
    key: tuple[int, ...] = (),
    progress: Callable[[], None] | None = None,
) -> Numbers:
    """Distances from predictions to the truth, at these positions of a family.

    Parameters
    ----------
    chosen : PopulationFamily
    positions : sequence of int
    predict : callable
        ``Compared, rng -> {row: particles}``.
    particles : int
        Compared of each population, at most.
    key : tuple of int
        Of the random numbers, with the position.
    progress : callable, optional
        Called after each population.
    """
    found: list[dict[str, dict[str, float]]] = []
    for i in positions:
        rng = np.random.default_rng([*key, int(i)])
        x = _compared(chosen, int(i), particles, rng)
        found.append({row: _distances(points, x.truth) for row, points in predict(x, rng).items()})
        if progress is not None:
            progress()
    rows = [row for row in found[0] if all(row in each for each in found)]
    return {
        row: {name: np.asarray([each[row][name] for each in found]) for name in found[0][row]} for row in rows
    }


def check_fits(model: Model[MetaFMConfig], family: Any, /) -> None:
    """Raise ``ValueError`` unless a family's populations are such as the model was trained on."""
    setting = model.setting
    marks = 0 if family.marks is None else family.marks.shape[1]
    for what, had, got in (
        ("dimension", setting.dimension, family.dimension),
        ("marks", setting.marks, marks),
        ("conditions", setting.condition_names, family.condition_names),
    ):
        if had != got:
            raise ValueError(f"the model was trained with {what} {had}; {family.name} has {got}")


def floor_predictions(train: Any, x: Compared, /) -> dict[str, Floats]:
    """Predictions without learning; mean shifts only where the populations trained on are given.

    Shifts are those of all particles, also of those that are not compared.
    """
    predictions = {
        "identity": floors.identity(x.before[x.rows]),
        "ideal_shift": floors.ideal_shift(x.before, x.after)[x.rows],
    }
    if train is not None:
        means = np.stack([train.target.cloud(j).points.mean(axis=0) for j in range(len(train))])
        predictions["mean_shift"] = floors.mean_shift(x.before, means)[x.rows]
        if len(x.condition) and (train.conditions == x.condition).all(axis=1).any():
            shifted = floors.mean_shift_by_condition(x.before, x.condition, means, train.conditions)
            predictions["mean_shift_by_condition"] = shifted[x.rows]
    return {row: predictions[row] for row in ROWS if row in predictions}


def model_prediction(
    model: Model[MetaFMConfig],
    x: Compared,
    rng: np.random.Generator,
    /,
    number: int | None = None,
    n_steps: int = 20,
) -> Floats:
    """Where a model moves the particles; its embedding reads all of them."""
    return population_prediction.predict(
        *(model.config, model.setting, trained(model.state), x.before),
        moved=x.rows,
        marks=x.marks,
        condition=x.condition,
        number=number,
        n_steps=n_steps,
        rng=rng,
    )


def _compared(chosen: Any, i: int, particles: int, rng: np.random.Generator) -> Compared:
    before, after = (clouds.cloud(i).points for clouds in (chosen.source, chosen.target))
    rows = _some(len(before), particles, rng)
    others = rows if chosen.paired else _some(len(after), particles, rng)
    start, end = chosen.source.offsets[i : i + 2]
    marks = None if chosen.marks is None else chosen.marks[start:end]
    return Compared(i, before, after, rows, after[others], chosen.conditions[i], marks)


def _distances(x: Floats, y: Floats) -> dict[str, float]:
    found = {name: float(metric(x, y)) for name, metric in METRICS.items() if name != "correlation"}
    if x.shape[1] >= 3:
        enough = min(len(x), len(y)) >= 2
        found["correlation"] = float(feature_correlation(x, y)) if enough else math.nan
    return found


def _some(n: int, particles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(n) if n <= particles else np.sort(rng.choice(n, particles, replace=False))
