"""The colour-transfer experiment of Meta Optimal Transport, section 4.2.

A hypernetwork is trained, predicts the potentials of pairs of clouds that it has not seen, and the
predictions are fitted further, as W2GN fits from the identity. Both runs are judged by the dual values of
their potentials on fixed colours; per pair these are normalised over what both logged, as in the paper.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm._array import array_namespace
from refwfm.backends import Backend
from refwfm.meta.w2gn import dual_value, init_pair, normalised_dual_values
from refwfm.networks.layers import Params
from refwfm.paper_figures.meta import colour_data
from refwfm.training import meta_icnn, w2gn
from refwfm.training.meta_icnn import Clouds, Start
from refwfm.training.optim import tree_map
from refwfm.training.randomness import random_stream

FIXED = 1024
"""Colours of each cloud that dual values are computed on."""

FINER = 5
"""W2GN is looked at so many times as often as it is shown: to say when it reaches the predicted value."""

DRAWN = 3
"""Pairs of each kind that are kept for pictures."""

TIMED = 10
"""Steps of W2GN that are timed, for each pair by itself."""


class ColourScale(NamedTuple):
    """How large an experiment is.

    Attributes
    ----------
    seeds : int
    clouds, points : int
        Clouds to train on, colours in each.
    width, steps, meta_batch, batch, warm_up : int
        Of the hypernetwork and its training; ``batch``: colours drawn of each cloud.
    identity_steps : int
        Most steps of the pre-training that makes the start of W2GN.
    fit_steps, fit_batch, every : int
        Of W2GN, from the prediction and from the identity, and how often dual values are logged.
    pairs : int
        Held-out pairs of each kind.
    """

    seeds: int
    clouds: int
    points: int
    width: int
    steps: int
    meta_batch: int
    batch: int
    warm_up: int
    identity_steps: int
    fit_steps: int
    fit_batch: int
    every: int
    pairs: int


SCALES = {
    "smoke": ColourScale(1, 24, 64, 32, 30, 4, 32, 5, 60, 20, 32, 10, 2),
    "laptop": ColourScale(1, 2000, 2048, 512, 4000, 8, 256, 100, 15_001, 2000, 1024, 250, 6),
    "paper": ColourScale(3, 2000, 10_000, 512, 200_000, 8, 1024, 5000, 15_001, 2000, 1024, 250, 6),
}


class ColourTask(NamedTuple):
    """One run: what the hypernetwork corrects, what it is trained on, a seed."""

    start: str
    data: str
    seed: int
    scale: ColourScale
    backend: str | None


class ColourOutcome(NamedTuple):
    """What one run gave. P is the number of held-out pairs.

    Attributes
    ----------
    task : ColourTask
    kinds : list of P str
        ``palettes`` or ``photographs``.
    names : list of P tuples of str
    steps : array (k,)
        Steps of fitting at which dual values were logged.
    meta, w2gn : arrays (P, k)
        Dual values of the fit from the prediction, and from the identity.
    start : array (P,)
        Dual values of what the hypernetwork corrects, without its correction.
    caught_up : array (P,)
        Steps that W2GN surely needs to reach the predicted value: the last look before it did, or all.
    predict_s, step_s : arrays (P,)
        Seconds to predict from the colours, and of a step of W2GN, each pair by itself.
    train_s, identity_s : float
        Seconds to train the hypernetwork, and the identity.
    identity_loss : float
    losses : array (j, 2)
        Step and mean loss of the training.
    drawn : list of int
        Pairs whose potentials are kept.
    predicted, tuned : dict
        Their pairs of potentials.
    x, y : arrays (drawn, n, 3)
        Their colours.
    """

    task: ColourTask
    kinds: list[str]
    names: list[tuple[str, str]]
    steps: np.ndarray
    meta: np.ndarray
    w2gn: np.ndarray
    start: np.ndarray
    caught_up: np.ndarray
    predict_s: np.ndarray
    step_s: np.ndarray
    train_s: float
    identity_s: float
    identity_loss: float
    losses: np.ndarray
    drawn: list[int]
    predicted: Params
    tuned: Params
    x: np.ndarray
    y: np.ndarray


RECORDS = (ColourOutcome, ColourTask, ColourScale)
"""What an outcome is made of, in its file."""


def run(task: ColourTask, /) -> ColourOutcome:
    """Train, predict, fit from the prediction and from the identity, and measure all of it."""
    scale, backend = task.scale, backends.load(task.backend)
    identity, loss, identity_s = _identity(task, backend)
    start, params, losses, train_s = _train(task, identity, backend)
    pairs = colour_data.held_out_pairs(task.data, scale.pairs, scale.points)
    points = [backend.asarray(np.stack([getattr(pair, side) for pair in pairs])) for side in "xy"]
    x, y = (meta_icnn.read(each) for each in points)

    predicted = meta_icnn.predict(params, start, x, y)
    meta = _fit(task, predicted, x, y, every=scale.every)
    finely = max(1, scale.every // FINER)
    w2gn_fit = _fit(task, _repeat(identity, len(pairs)), x, y, every=finely)
    shown = np.isin(w2gn_fit.steps, meta.steps)
    without = _value(_of_each(meta_icnn.start_of(start, x, y), len(pairs)), x, y)
    drawn = [i for kind in dict.fromkeys(p.kind for p in pairs) for i in _some(pairs, kind)]
    return ColourOutcome(
        task,
        [pair.kind for pair in pairs],
        [pair.names for pair in pairs],
        meta.steps,
        meta.values,
        w2gn_fit.values[:, shown],
        backend.to_numpy(without),
        caught_up(w2gn_fit.steps, w2gn_fit.values, meta.values[:, 0]),
        _seconds_to_predict(params, start, points, backend),
        _seconds_of_a_step(task, identity, points, backend),
        train_s,
        identity_s,
        loss,
        losses,
        drawn,
        *(tree_map(lambda leaf: backend.to_numpy(leaf)[drawn], each) for each in (predicted, meta.pair)),
        *(backend.to_numpy(each)[drawn, :FIXED] for each in points),
    )


def caught_up(steps: np.ndarray, values: np.ndarray, predicted: np.ndarray, /) -> np.ndarray:
    """Last step at which a run was below the predicted value before it first reached it; all if it never did.

    Parameters
    ----------
    steps : array (k,)
    values : array (P, k)
    predicted : array (P,)
    """
    there = values >= predicted[:, None]
    first = np.where(np.any(there, axis=1), np.argmax(there, axis=1), len(steps))
    return np.asarray(steps)[np.maximum(first - 1, 0)]


def normalised(outcome: ColourOutcome, /) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dual values from 0 to 1 of both runs, (P, k), and on the same scale those of the start alone, (P,)."""
    meta, w2gn_values = normalised_dual_values(outcome.meta, outcome.w2gn)
    both = np.concatenate([outcome.meta, outcome.w2gn], axis=1)
    low, high = both.min(axis=1), both.max(axis=1)
    return meta, w2gn_values, (outcome.start - low) / (high - low)


def as_rows(outcomes: list[ColourOutcome], /) -> list[dict[str, Any]]:
    """Raw numbers for the JSON file beside the pictures."""
    rows = []
    for o in outcomes:
        meta, fitted, start = normalised(o)
        rows.append(
            {
                "start": o.task.start,
                "data": o.task.data,
                "seed": o.task.seed,
                "held_out": [f"{first} - {second}" for first, second in o.names],
                "kinds": o.kinds,
                "logged_at": o.steps.tolist(),
                "dual_meta": o.meta.tolist(),
                "dual_w2gn": o.w2gn.tolist(),
                "dual_start": o.start.tolist(),
                "normalised_meta": meta.tolist(),
                "normalised_w2gn": fitted.tolist(),
                "normalised_start": start.tolist(),
                "caught_up": o.caught_up.tolist(),
                "predict_s": o.predict_s.tolist(),
                "step_s": o.step_s.tolist(),
                "train_s": round(o.train_s, 2),
                "identity_s": round(o.identity_s, 2),
                "identity_loss": o.identity_loss,
                "licences": colour_data.licences(o.task.data),
                **o.task.scale._asdict(),
            }
        )
    return rows


def tasks_of(
    starts: tuple[str, ...], data: str, scale: ColourScale, backend: str | None, /
) -> list[ColourTask]:
    """One run from each start with each seed."""
    return [ColourTask(start, data, seed, scale, backend) for start in starts for seed in range(scale.seeds)]


def _identity(task: ColourTask, backend: Backend) -> tuple[Params, float, float]:
    """A pair of networks that is the identity, by the published settings of W2GN; loss and seconds."""
    rng = random_stream(task.seed, "init")
    pair = init_pair(rng, like=backend.asarray(np.zeros(0)))
    begun = time.perf_counter()
    pair, loss, _ = w2gn.pretrain_identity(
        pair,
        rng=rng,
        n_steps=task.scale.identity_steps,
        learning_rate=1e-3,
        b1=0.8,
        b2=0.9,
        require=False,  # the loss is part of the result
    )
    return pair, loss, time.perf_counter() - begun


def _train(task: ColourTask, identity: Params, backend: Backend) -> tuple[Start, Params, np.ndarray, float]:
    """The start, the trained hypernetwork, its losses and seconds."""
    scale, rng = task.scale, random_stream(task.seed, "init", 1)
    colours = colour_data.training_clouds(task.data, scale.clouds, scale.points, seed=task.seed)
    clouds = meta_icnn.read(backend.asarray(colours))
    # The identity is the one that W2GN starts from: the hypernetwork begins where W2GN does.
    if task.start == "identity":
        start = Start("identity", identity)
    else:
        start = meta_icnn.init_start(task.start, rng, like=clouds.points)
    state = meta_icnn.init_state(rng, clouds, start, width=scale.width)
    losses: list[tuple[int, float]] = []
    begun = time.perf_counter()
    state = meta_icnn.train(
        state,
        clouds,
        start,
        seed=task.seed,
        n_steps=scale.steps,
        meta_batch=scale.meta_batch,
        batch_size=scale.batch,
        warm_up=min(scale.warm_up, scale.steps // 4),
        ops=backend.ops,
        every=max(1, scale.steps // 40),
        report=lambda state, loss: losses.append((state.adam.steps, loss)),
    )
    return start, state.params, np.asarray(losses), time.perf_counter() - begun


def _fit(task: ColourTask, pair: Params, x: Clouds, y: Clouds, *, every: int) -> w2gn.Fit:
    """W2GN on all pairs at once, both runs on the same draws."""
    return w2gn.fit(
        pair,
        x.points,
        y.points,
        rng=random_stream(task.seed, "evaluation"),
        n_steps=task.scale.fit_steps,
        batch_size=task.scale.fit_batch,
        every=every,
        held_out=(x.points[:, :FIXED, :], y.points[:, :FIXED, :]),
    )


def _value(pair: Params, x: Clouds, y: Clouds) -> Any:
    return dual_value(pair["potential"], x.points[:, :FIXED, :], y.points[:, :FIXED, :])


def _repeat(pair: Params, count: int) -> Params:
    """The same pair of networks for each of so many problems."""
    return tree_map(lambda leaf: array_namespace(leaf).stack([leaf] * count), pair)


def _of_each(pair: Params, count: int) -> Params:
    return pair if pair["potential"]["constant"].ndim else _repeat(pair, count)


def _some(pairs: list[colour_data.Pair], kind: str) -> list[int]:
    return [i for i, pair in enumerate(pairs) if pair.kind == kind][:DRAWN]


def _seconds_to_predict(params: Params, start: Start, points: list[Any], backend: Backend) -> np.ndarray:
    """From the colours of each pair by itself to its potentials: the median of five."""

    def once(x: Any, y: Any) -> None:
        meta_icnn.predict(params, start, meta_icnn.read(x), meta_icnn.read(y))

    return np.asarray(
        [_median_seconds(once, 5, backend, x[None, ...], y[None, ...]) for x, y in _each(points)]
    )


def _seconds_of_a_step(task: ColourTask, pair: Params, points: list[Any], backend: Backend) -> np.ndarray:
    """Of W2GN for each pair by itself, without looks at dual values."""
    rng, size = random_stream(task.seed, "evaluation", 1), task.scale.fit_batch

    def some(x: Any, y: Any) -> None:
        w2gn.fit(pair, x, y, rng=rng, n_steps=TIMED, batch_size=size)

    return np.asarray([_median_seconds(some, 3, backend, x, y) / TIMED for x, y in _each(points)])


def _each(points: list[Any]) -> list[tuple[Any, Any]]:
    return [(points[0][i, ...], points[1][i, ...]) for i in range(points[0].shape[0])]


def _median_seconds(f: Callable[..., None], times: int, backend: Backend, /, *given: Any) -> float:
    took = []
    for _ in range(times + 1):  # the first warms up
        begun = time.perf_counter()
        f(*given)
        backend.synchronize()
        took.append(time.perf_counter() - begun)
    return float(np.median(took[1:]))
