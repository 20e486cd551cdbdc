"""What flow matching on letters converges to, without training it, and how far that is from the truth."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refwfm.datasets import CloudFamily
from refwfm.datasets.letter_populations import (
    TRAIN_METRICS,
    LetterRecipe,
    letter_centres,
    letter_populations,
    letter_targets,
)
from refwfm.metrics.populations import sq_mmd, wasserstein1, wasserstein2
from refwfm.populations.flow import integrate
from refwfm.populations.oracles import denoising_velocity, sample_mixture

NOISE = "FM w/N oracle"
ROWS = ("fresh sample", "population oracle", "FM oracle", NOISE, "no transport")
"""Rows of the table; that of noise is asked for more populations, since nothing is integrated for it."""

METRICS = ("W1", "W2", "MMD")


class OracleScale(NamedTuple):
    """How large the experiment is.

    Attributes
    ----------
    recipe : dict
        Fields of ``LetterRecipe`` that differ from the paper's.
    populations, noise_populations : int
        Of each part: for all rows; for the row of noise.
    pool : int
        Centres of each training population that the FM oracle pools.
    n_steps : int
        Of Heun's method.
    """

    recipe: dict[str, Any]
    populations: int
    noise_populations: int
    pool: int
    n_steps: int


class OracleTask(NamedTuple):
    """One population: its part, its position in the family, whether all rows are asked for."""

    part: str
    position: int
    every_row: bool
    scale: OracleScale


class OracleOutcome(NamedTuple):
    """What one population gave.

    Attributes
    ----------
    task : OracleTask
    member : str
    rows : dict
        Row -> array (3,): W1, W2, and squared MMD times 1000.
    clouds : dict
        Row -> predicted particles (n, 2); and "source" and "truth".
    """

    task: OracleTask
    member: str
    rows: dict[str, np.ndarray]
    clouds: dict[str, np.ndarray]


RECORDS = (OracleOutcome, OracleTask, OracleScale)
"""What an outcome is made of, in its file."""


def tasks_of(scale: OracleScale, /) -> list[OracleTask]:
    """A task for each population; those trained on are the paper's, as far as there are so many."""
    recipe = LetterRecipe(**scale.recipe)
    n, k = len(recipe.letters) * recipe.orientations, recipe.orientations
    parts = {
        "train": [i for i in TRAIN_METRICS if i < n] or [0],
        "X": [*range(n, n + k)],
        "Y": [*range(n + k, n + 2 * k)],
    }
    return [
        OracleTask(part, position, number < scale.populations, scale)
        for part, positions in parts.items()
        for number, position in enumerate(positions[: scale.noise_populations])
    ]


def run(task: OracleTask, /) -> OracleOutcome:
    """Carry the particles of one population by the oracles; compare with where they are to go."""
    recipe = LetterRecipe(**task.scale.recipe)
    family, i = letter_populations(recipe), task.position
    source, truth = member(family.source, i), member(family.target, i)
    centres = letter_centres(recipe)
    trained = centres.subset(family.parts == 0)
    rng = np.random.default_rng([recipe.seed, i])
    widths = {"sigma": recipe.noise, "tau": recipe.jitter}

    def flowed(about: np.ndarray) -> np.ndarray:
        field = partial(_velocity, centres=about, widths=widths)
        return integrate(field, source[None], n_steps=task.scale.n_steps)[0]

    weights = np.repeat(1.0 / (len(trained) * trained.sizes), trained.sizes)
    clouds = {
        NOISE: sample_mixture(trained.points, rng=rng, size=len(truth), tau=recipe.jitter, weights=weights)
    }
    if task.every_row:
        clouds |= {
            "fresh sample": member(letter_targets(recipe, fresh=1), i),
            "population oracle": flowed(member(centres, i)),
            "FM oracle": flowed(pooled(trained, task.scale.pool, np.random.default_rng(recipe.seed))),
            "no transport": source,
        }
    rows = {row: compared(clouds[row], truth) for row in ROWS if row in clouds}
    return OracleOutcome(task, family.members[i], rows, clouds | {"source": source, "truth": truth})


def _velocity(x: np.ndarray, t: np.ndarray, *, centres: np.ndarray, widths: dict[str, float]) -> np.ndarray:
    velocity: np.ndarray = denoising_velocity(x, t, centres, **widths)
    return velocity


def member(family: CloudFamily, i: int, /) -> np.ndarray:
    """Points of one cloud."""
    return family.points[family.offsets[i] : family.offsets[i + 1]]


def pooled(family: CloudFamily, count: int, rng: np.random.Generator, /) -> np.ndarray:
    """``count`` points of each cloud, at random, all of them together: each cloud weighs the same."""
    clouds = [member(family, i) for i in range(len(family))]
    return np.concatenate([c[rng.choice(len(c), count, replace=len(c) < count)] for c in clouds])


def compared(predicted: np.ndarray, truth: np.ndarray, /) -> np.ndarray:
    """W1, W2 and 1000 times the squared MMD."""
    values = wasserstein1(predicted, truth), wasserstein2(predicted, truth), 1e3 * sq_mmd(predicted, truth)
    return np.asarray([float(value) for value in values])


def means(outcomes: list[OracleOutcome], /) -> dict[str, dict[str, np.ndarray]]:
    """Part -> row -> means over its populations and their standard errors (2, 3), NaN of one population."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for part in dict.fromkeys(o.task.part for o in outcomes):
        for row in ROWS:
            values = np.stack([o.rows[row] for o in outcomes if o.task.part == part and row in o.rows])
            n = len(values)
            error = np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(3, np.nan)
            found.setdefault(part, {})[row] = np.stack([np.mean(values, axis=0), error])
    return found


def as_rows(outcomes: list[OracleOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside the figure."""
    return [
        {
            **{"part": o.task.part, "member": o.member, "row": row},
            **dict(zip(("w1", "w2", "sq_mmd_1e3"), map(float, values), strict=True)),
            **{"pool": o.task.scale.pool, "n_steps": o.task.scale.n_steps, **o.task.scale.recipe},
        }
        for o in outcomes
        for row, values in o.rows.items()
    ]
