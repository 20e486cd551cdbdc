"""Conditional Monge maps on a family whose maps are known: identity against Gaussian start.

The source is a cloud of three clumps in the plane. Under condition c in [-1, 1] the map is the gradient of a
convex function, and so, by Brenier's theorem, the optimal one from any source to its image:

    T_c(x) = R_c [λ ⊙ z + κ ⊙ tanh(4 z)] + (2 c, c²),    z = R_cᵀ x,    R_c the rotation by c π / 4.

Networks are trained under nine conditions and tried under the eight in the middle between them. The Gaussian
start there is the mean of its neighbours': the moments of a held-out target are not looked at.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.backends import Backend
from refwfm.clouds import moments
from refwfm.meta.monge import gaussian_quadratic
from refwfm.meta.picnn import Quadratic, init_picnn, monge_map
from refwfm.training import monge
from refwfm.training.randomness import random_stream

CONDITIONS = 9
LINEAR, BENT = np.array([1.0, 0.4]), np.array([0.6, 0.6])
CLUMPS = np.array([[0.0, 1.2], [1.0, -0.6], [-1.0, -0.6]])
LOOKS = 20
"""How often errors are logged."""


class ConditionalScale(NamedTuple):
    """How large an experiment is.

    Attributes
    ----------
    seeds : int
    steps, inner, batch : int
        Steps of the potential, of the map for each, points of each condition in a batch.
    learning_rate : float
    width, depth : int
        Of both networks.
    points : int
        Of source and target under each condition.
    """

    seeds: int
    steps: int
    inner: int
    batch: int
    learning_rate: float
    width: int
    depth: int
    points: int


SCALES = {
    "smoke": ConditionalScale(1, 4, 2, 32, 1e-3, 8, 2, 100),
    "laptop": ConditionalScale(1, 400, 10, 128, 1e-3, 32, 3, 2000),
    "paper": ConditionalScale(3, 10_000, 10, 256, 1e-4, 64, 4, 10_000),
}


class ConditionalTask(NamedTuple):
    """One run: a start, a seed."""

    start: str
    seed: int
    scale: ConditionalScale
    backend: str | None


class ConditionalOutcome(NamedTuple):
    """What one run gave. H is the number of held-out conditions.

    Attributes
    ----------
    task : ConditionalTask
    conditions : array (H,)
    steps : array (k,)
        Steps of the potential at which errors were logged.
    errors : array (k, H)
        ``100 E‖T - T_c‖² / Var(T_c)`` on points that were not trained on.
    x, moved, truth : arrays (H, n, 2)
        Those points, where the last map takes them, and where the right one does.
    train_s : float
    """

    task: ConditionalTask
    conditions: np.ndarray
    steps: np.ndarray
    errors: np.ndarray
    x: np.ndarray
    moved: np.ndarray
    truth: np.ndarray
    train_s: float


RECORDS = (ConditionalOutcome, ConditionalTask, ConditionalScale)
"""What an outcome is made of, in its file."""


def true_map(x: np.ndarray, c: float, /) -> np.ndarray:
    """Optimal map of the family at points (n, 2) under condition c."""
    angle = 0.25 * np.pi * c
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = x @ R
    return (LINEAR * z + BENT * np.tanh(4.0 * z)) @ R.T + np.array([2.0 * c, c * c])


def source(n: int, rng: np.random.Generator, /) -> np.ndarray:
    """Draw n points of the source."""
    return CLUMPS[rng.integers(0, len(CLUMPS), n)] + 0.25 * rng.standard_normal((n, 2))


def run(task: ConditionalTask, /) -> ConditionalOutcome:
    """Train from one start with one seed, and measure errors under held-out conditions."""
    scale, backend = task.scale, backends.load(task.backend)
    c = np.linspace(-1.0, 1.0, CONDITIONS)
    held_out = 0.5 * (c[1:] + c[:-1])
    rng = random_stream(task.seed, "scaling")
    x = np.stack([source(scale.points, rng) for _ in c])
    y = np.stack([true_map(source(scale.points, rng), each) for each in c])
    tried = np.stack([source(scale.points, rng) for _ in held_out])
    truth = np.stack([true_map(points, each) for points, each in zip(tried, held_out, strict=True)])

    g_start, f_start, between = _starts(task.start, x, y, backend)
    given, at = backend.asarray(tried), backend.asarray(held_out[:, None])
    steps: list[int] = []
    errors: list[np.ndarray] = []

    def move(game: monge.Game) -> np.ndarray:
        return backend.to_numpy(monge_map(game.g, given, at, between)[0]).astype(float)

    def look(step: int, game: monge.Game) -> None:
        if step % max(1, scale.steps // LOOKS) == 0 or step == scale.steps:
            steps.append(step)
            errors.append(unexplained(move(game), truth))

    game = _new_game(task, backend)
    look(0, game)
    begun = time.perf_counter()
    game = monge.fit(
        game,
        backend.asarray(x),
        backend.asarray(y),
        backend.asarray(c[:, None]),
        rng=random_stream(task.seed, "batch"),
        n_steps=scale.steps,
        inner=scale.inner,
        batch_size=scale.batch,
        learning_rate=scale.learning_rate,
        g_start=g_start,
        f_start=f_start,
        report=look,
    )
    took = time.perf_counter() - begun
    return ConditionalOutcome(
        task, held_out, np.asarray(steps), np.asarray(errors), tried, move(game), truth, took
    )


def unexplained(moved: np.ndarray, truth: np.ndarray, /) -> np.ndarray:
    """Mean squared error of a map in % of the variance of its right image, (H, n, d) -> (H,)."""
    error = np.mean(np.sum((moved - truth) ** 2, axis=-1), axis=-1)
    variance = np.mean(np.sum((truth - truth.mean(axis=-2, keepdims=True)) ** 2, axis=-1), axis=-1)
    return np.asarray(100.0 * error / variance)


def as_rows(outcomes: list[ConditionalOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside the picture."""
    return [
        {
            **o.task.scale._asdict(),
            "start": o.task.start,
            "seed": o.task.seed,
            "conditions": o.conditions.tolist(),
            "logged_at": o.steps.tolist(),
            "errors": o.errors.tolist(),
            "train_s": round(o.train_s, 2),
        }
        for o in outcomes
    ]


def _new_game(task: ConditionalTask, backend: Backend) -> monge.Game:
    rng, like = random_stream(task.seed, "init"), backend.asarray(np.zeros(0))
    size = {"like": like, "width": task.scale.width, "depth": task.scale.depth}
    return monge.init_game(init_picnn(rng, 2, 1, **size), init_picnn(rng, 2, 1, **size))


def _starts(
    start: str, x: np.ndarray, y: np.ndarray, backend: Backend
) -> tuple[Quadratic | None, Quadratic | None, Quadratic | None]:
    """Quadratics of g and f under the conditions trained on, and of g between them; None for the identity."""
    if start == "identity":
        return None, None, None
    mu, nu = moments(x), moments(y)
    g, f = gaussian_quadratic(mu, nu), gaussian_quadratic(nu, mu)
    between = Quadratic(*(0.5 * (part[1:] + part[:-1]) for part in g))
    g, f, between = (Quadratic(*map(backend.asarray, each)) for each in (g, f, between))
    return g, f, between
