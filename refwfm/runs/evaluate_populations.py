"""How far a model's predictions of populations are from the truth, beside predictions without learning."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._population_family import PARTS
from refwfm.metrics.populations import feature_correlation, sq_mmd, wasserstein1, wasserstein2
from refwfm.populations import floors
from refwfm.runs.models import Model
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
    """

    positions: NDArray[np.int64]
    numbers: Numbers
    capped: bool


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
        With the training populations, whose means the shifts are made of.
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
    train, chosen = family.part("train"), family.part(part)
    most = TRAINED_ON if most is None and part == "train" else most
    count = len(chosen) if most is None else min(most, len(chosen))
    positions = np.unique(np.linspace(0, len(chosen) - 1, count).round().astype(np.int64))
    means = np.stack([train.target.cloud(i).points.mean(axis=0) for i in range(len(train))])
    found: list[dict[str, dict[str, float]]] = []
    for i in positions:
        rng = np.random.default_rng([seed, PARTS.index(part), int(i)])
        found.append(_one(model, train, means, chosen, int(i), part == "train", particles, n_steps, rng))
        if progress is not None:
            progress()
    numbers = {
        row: {name: np.asarray([each[row][name] for each in found]) for name in found[0][row]}
        for row in ROWS
        if all(row in each for each in found)
    }
    sizes = np.maximum(chosen.source.sizes, chosen.target.sizes)[positions]
    return PartMeasured(positions, numbers, bool((sizes > particles).any()))


def check_fits(model: Model[MetaFMConfig], family: Any, /) -> None:
    """Raise ``ValueError`` unless a family's populations are such as the model was trained on."""
    setting = model.setting
    marks = 0 if family.marks is None else family.marks.shape[1]
    for what, had, got in (
        ("dimension", setting.dimension, family.dimension),
        ("marks", setting.marks, marks),
        ("conditions", setting.condition_names, family.condition_names),
        ("training populations", setting.populations, int((family.parts == 0).sum())),
    ):
        if had != got and (what != "training populations" or model.config.variant == "cgfm"):
            raise ValueError(f"the model was trained with {what} {had}; {family.name} has {got}")


def _one(
    model: Model[MetaFMConfig],
    train: Any,
    means: Floats,
    chosen: Any,
    i: int,
    seen: bool,
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
        "mean_shift": floors.mean_shift(before, means)[rows],
        "ideal_shift": floors.ideal_shift(before, after)[rows],
        "model": population_prediction.predict(
            model.config,
            model.setting,
            trained(model.state),
            before,
            moved=rows,
            marks=None if chosen.marks is None else chosen.marks[start:end],
            condition=condition,
            number=i if seen else None,
            n_steps=n_steps,
            rng=rng,
        ),
    }
    if len(condition) and (train.conditions == condition).all(axis=1).any():
        shifted = floors.mean_shift_by_condition(before, condition, means, train.conditions)
        predictions["mean_shift_by_condition"] = shifted[rows]
    metrics = [name for name in METRICS if name != "correlation" or x0.shape[1] >= 3]
    return {row: {name: float(METRICS[name](x, x1)) for name in metrics} for row, x in predictions.items()}


def _some(n: int, particles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(n) if n <= particles else np.sort(rng.choice(n, particles, replace=False))
