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
    chosen, own = family.part(part), fingerprint(model.config, family) == model.about["fingerprint"]
    train = family.part("train") if own else None
    most = TRAINED_ON if most is None and part == "train" else most
    count = len(chosen) if most is None else min(most, len(chosen))
    positions = np.unique(np.linspace(0, len(chosen) - 1, count).round().astype(np.int64))
    found: list[dict[str, dict[str, float]]] = []
    for i in positions:
        rng = np.random.default_rng([seed, PARTS.index(part), int(i)])
        number = int(i) if own and part == "train" else None
        found.append(_one(model, train, chosen, int(i), number, particles, n_steps, rng))
        if progress is not None:
            progress()
    numbers = {
        row: {name: np.asarray([each[row][name] for each in found]) for name in found[0][row]}
        for row in ROWS
        if all(row in each for each in found)
    }
    sizes = np.maximum(chosen.source.sizes, chosen.target.sizes)[positions]
    strange = chosen.conditions[positions][:, model.setting.condition_scale == 0].any(axis=1)
    return PartMeasured(positions, numbers, bool((sizes > particles).any()), int(strange.sum()))


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


def _one(
    model: Model[MetaFMConfig],
    train: Any,
    chosen: Any,
    i: int,
    number: int | None,
    particles: int,
    n_steps: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    before, after = (clouds.cloud(i).points for clouds in (chosen.source, chosen.target))
    rows = _some(len(before), particles, rng)
    others = rows if chosen.paired else _some(len(after), particles, rng)
    x0, x1, condition = before[rows], after[others], chosen.conditions[i]
    start, end = chosen.source.offsets[i : i + 2]
    # Shifts are those of all particles, also of those that are not compared.
    predictions = {
        "identity": floors.identity(x0),
        "ideal_shift": floors.ideal_shift(before, after)[rows],
        "model": population_prediction.predict(
            model.config,
            model.setting,
            trained(model.state),
            before,
            moved=rows,
            marks=None if chosen.marks is None else chosen.marks[start:end],
            condition=condition,
            number=number,
            n_steps=n_steps,
            rng=rng,
        ),
    }
    if train is not None:
        means = np.stack([train.target.cloud(j).points.mean(axis=0) for j in range(len(train))])
        predictions["mean_shift"] = floors.mean_shift(before, means)[rows]
        if len(condition) and (train.conditions == condition).all(axis=1).any():
            shifted = floors.mean_shift_by_condition(before, condition, means, train.conditions)
            predictions["mean_shift_by_condition"] = shifted[rows]
    return {row: _distances(x, x1) for row, x in predictions.items()}


def _distances(x: Floats, y: Floats) -> dict[str, float]:
    found = {name: float(metric(x, y)) for name, metric in METRICS.items() if name != "correlation"}
    if x.shape[1] >= 3:
        enough = min(len(x), len(y)) >= 2
        found["correlation"] = float(feature_correlation(x, y)) if enough else math.nan
    return found


def _some(n: int, particles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(n) if n <= particles else np.sort(rng.choice(n, particles, replace=False))
