"""Checks of the loops that train convex potentials.

The losses and their gradients are audited by themselves; here a loop is written again, line by line, with
Adam as Kingma and Ba print it, and has to end in the same numbers from the same draws.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from refwfm.clouds import moments
from refwfm.measures import Gaussian
from refwfm.meta import hypernetwork, monge, picnn, w2gn
from refwfm.training import meta_icnn, optim
from refwfm.training import monge as games
from refwfm.training import w2gn as fitting
from refwfm.training.algorithm import NonFiniteLossError
from refwfm.training.randomness import random_stream
from refwfm.validation import plain_potentials as plain
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.draws import Draw

LOOPS = roundings(1e5, "a few steps of Adam, which divides by the size of the gradient")
LIKE = np.zeros(0)


class Adam(NamedTuple):
    """Adam by hand, on flat parameters."""

    rate: float
    b1: float
    b2: float
    moments: dict[str, tuple[Any, Any]]
    steps: list[int]

    def step(self, params: Any, grads: Any, rate: float | None = None) -> Any:
        """Parameters after a step against the gradients."""
        self.steps[0] += 1
        moved = {}
        for path, g in optim.flatten(grads).items():
            m, v = self.moments.get(path, (0.0, 0.0))
            m, v = self.b1 * m + (1 - self.b1) * g, self.b2 * v + (1 - self.b2) * g**2
            self.moments[path] = m, v
            m_hat, v_hat = m / (1 - self.b1 ** self.steps[0]), v / (1 - self.b2 ** self.steps[0])
            length = self.rate if rate is None else rate
            moved[path] = optim.flatten(params)[path] - length * m_hat / (np.sqrt(v_hat) + 1e-8)
        return optim.unflatten(moved)


def by_hand(rate: float, b1: float, b2: float) -> Adam:
    """Adam before its first step."""
    return Adam(rate, b1, b2, {}, [0])


def difference(found: Any, truth: Any) -> float:
    """Largest difference of two trees; infinite if they differ in keys or shapes, or one has NaN."""
    one, other = optim.flatten(found), optim.flatten(truth)
    if one.keys() != other.keys():
        return math.inf
    if any(np.shape(one[path]) != np.shape(other[path]) for path in one):
        return math.inf
    worst = float(np.max([np.max(np.abs(one[path] - other[path])) for path in one]))
    return worst if worst < math.inf else math.inf  # NaN


def drawn_rows(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Points with replacement, cloud by cloud."""
    index = rng.integers(0, points.shape[-2], (*points.shape[:-2], size))
    return np.stack([cloud[rows] for cloud, rows in zip(points, index, strict=True)])


# Pairs of potentials


def fit_check() -> Check:
    """Check of ``training.w2gn.fit``."""
    return Check(
        "the loop by hand: parameters, dual values, reports",
        fit_is_by_hand,
        fitting.fit,
        {
            "one step more": lambda *given, n_steps, **rest: fitting.fit(*given, n_steps=n_steps + 1, **rest),
            "measures exchanged": lambda pair, x, y, **rest: fitting.fit(pair, y, x, **rest),
            "one cloud for both": lambda pair, x, y, **rest: fitting.fit(pair, x, x, **rest),
        },
        LOOPS,
        dimensions=(2,),
        repeats=1,
        everywhere=False,
    )


def fit_is_by_hand(fit: Any, draw: Draw) -> float:
    """Three steps on two problems, with a look before the first, after the second, and at the end."""
    pair, x, y = plain.random_pair(draw, 2), draw.normal(2, 4, draw.d), draw.normal(2, 3, draw.d)
    fixed, told = (draw.normal(2, 5, draw.d), draw.normal(2, 4, draw.d)), []
    options = {"batch_size": 3, "n_steps": 3, "every": 2, "learning_rate": 0.1, "b1": 0.8, "b2": 0.9}
    weights = {"cycle": 2.0, "penalty": plain.PENALTY}
    found = fit(
        pair,
        x,
        y,
        rng=np.random.default_rng(5),
        held_out=fixed,
        report=lambda *given: told.append(given),
        **options,
        **weights,
    )
    rng, adam, values, worst = np.random.default_rng(5), by_hand(0.1, 0.8, 0.9), [], 0.0
    for step in range(3):
        if step in (0, 2):
            values.append(w2gn.dual_value(pair["potential"], *fixed))
        x_some = drawn_rows(x, 3, rng)
        losses, grads = w2gn.w2gn_loss_and_grad(pair, x_some, drawn_rows(y, 3, rng), **weights)
        pair = adam.step(pair, grads)
        worst = worst_of(worst, abs(told[step][0] - step - 1), difference(told[step][1], losses))
    values.append(w2gn.dual_value(pair["potential"], *fixed))
    if found.steps.tolist() != [0, 2, 3]:
        return math.inf
    return worst_of(worst, difference(found.pair, pair), difference(found.values, np.stack(values, axis=-1)))


def pretraining_check() -> Check:
    """Check of ``training.w2gn.pretrain_identity``."""
    return Check(
        "the loop by hand: parameters, running mean, number of steps",
        pretraining_is_by_hand,
        fitting.pretrain_identity,
        {
            "one step at most": lambda pair, **rest: fitting.pretrain_identity(
                pair, **rest | {"n_steps": 1, "require": False}
            ),
            "whatever the loss": lambda pair, **rest: fitting.pretrain_identity(
                pair, **rest | {"below": 0.0, "require": False}
            ),
            "without the penalty": lambda pair, **rest: fitting.pretrain_identity(
                pair, **rest | {"penalty": 0.0}
            ),
        },
        LOOPS,
        dimensions=(2,),
        repeats=1,
        everywhere=False,
    )


def pretraining_is_by_hand(pretrain: Any, draw: Draw) -> float:
    """Until the running mean falls below nearly the least of four steps, and for three steps."""
    first = plain.random_pair(draw, 2)
    options = {"batch_size": 3, "learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "penalty": plain.PENALTY}
    pair, adam, rng, way = first, by_hand(0.1, 0.8, 0.9), np.random.default_rng(5), []
    running = math.nan
    for step in range(4):
        x = rng.uniform(-0.5, 1.5, (2, 3, draw.d))
        losses, grads = w2gn.identity_loss_and_grad(pair, x, penalty=plain.PENALTY)
        pair = adam.step(pair, grads)
        running = float(max(losses)) if step == 0 else 0.9 * running + 0.1 * float(max(losses))
        way.append((pair, running))
    falling = [each[1] for each in way]
    below = (1.0 + 1e-9) * min(falling)
    first_below = next(k for k, value in enumerate(falling) if value < below)
    worst = 0.0
    for n_steps, bound, steps in ((9, below, first_below + 1), (3, 0.0, 3)):
        options["require"] = bound > 0.0
        found = pretrain(first, rng=np.random.default_rng(5), n_steps=n_steps, below=bound, **options)
        truth = way[steps - 1]
        if found[2] != steps:
            return math.inf
        worst = worst_of(worst, difference(found[0], truth[0]), difference(found[1], truth[1]))
    return worst


# Conditional maps


def game_check() -> Check:
    """Check of ``training.monge.fit``."""
    return Check(
        "the game by hand: both networks, and reports",
        game_is_by_hand,
        games.fit,
        {
            "one step of g for each of f": lambda *given, inner, **rest: games.fit(*given, inner=1, **rest),
            "kernels of g not penalised": lambda *given, penalty, **rest: games.fit(
                *given, penalty=0.0, **rest
            ),
            "f begins at the start of g": lambda *given, f_start, g_start, **rest: games.fit(
                *given, f_start=g_start, g_start=g_start, **rest
            ),
        },
        LOOPS,
        dimensions=(2,),
        repeats=1,
        everywhere=False,
    )


def game_is_by_hand(fit: Any, draw: Draw) -> float:
    """Two steps of f, each after two of g, under two conditions, from two starts."""
    g, f = plain.random_picnn(draw), plain.random_picnn(draw)
    x, y, c = draw.normal(2, 4, draw.d), draw.normal(2, 3, draw.d), draw.normal(2, 2)
    one = picnn.identity_quadratic(draw.d, like=LIKE)
    starts = {"g_start": one, "f_start": picnn.Quadratic(0.5 * one.A, one.q + 0.3)}
    told: list[Any] = []
    found = fit(
        games.init_game(g, f),
        x,
        y,
        c,
        rng=np.random.default_rng(5),
        n_steps=2,
        inner=2,
        batch_size=3,
        learning_rate=0.1,
        b1=0.4,
        b2=0.8,
        penalty=plain.PENALTY,
        report=lambda *given: told.append(given),
        **starts,
    )
    rng, of_g, of_f, worst = np.random.default_rng(5), by_hand(0.1, 0.4, 0.8), by_hand(0.1, 0.4, 0.8), 0.0
    f = _clamped(f)
    for step in range(2):
        for _ in range(2):
            some = drawn_rows(x, 3, rng)
            g = of_g.step(g, monge.map_loss_and_grad(g, f, some, c, penalty=plain.PENALTY, **starts)[1])
        some = drawn_rows(x, 3, rng)
        f = of_f.step(f, monge.potential_loss_and_grad(g, f, some, drawn_rows(y, 3, rng), c, **starts)[1])
        f = _clamped(f)
        worst = worst_of(worst, abs(told[step][0] - step - 1), difference(told[step][1].f, f))
    return worst_of(worst, difference(found.g, g), difference(found.f, f))


def _clamped(params: Any) -> Any:
    flat = optim.flatten(params)
    return optim.unflatten(
        {path: np.maximum(p, 0.0) if path.endswith("wz") else p for path, p in flat.items()}
    )


# The hypernetwork


def hyper_checks() -> tuple[Check, ...]:
    """Checks of ``training.meta_icnn.train`` and of the starts that it knows."""
    return (
        Check(
            "the loop by hand: parameters and reports, for each start",
            training_is_by_hand,
            meta_icnn.train,
            {
                "another seed": lambda *given, seed, **rest: meta_icnn.train(*given, seed=seed + 1, **rest),
                "gradients not clipped": lambda *given, max_norm, **rest: meta_icnn.train(
                    *given, max_norm=math.inf, **rest
                ),
                "no warm-up": lambda *given, warm_up, **rest: meta_icnn.train(*given, warm_up=0, **rest),
                "without the penalty": lambda *given, penalty, **rest: meta_icnn.train(
                    *given, penalty=0.0, **rest
                ),
            },
            LOOPS,
            dimensions=(2,),
            repeats=1,
            everywhere=False,
        ),
        Check(
            "the first loss that is not finite is the one named",
            first_bad_step,
            _message,
            {
                "the last step": lambda *given: _message(*given).replace("step ", "step 9"),
                "another seed's": lambda start, clouds, seed: _message(start, clouds, seed + 1),
            },
            EXACT,
            dimensions=(1,),
            repeats=1,
            everywhere=False,
        ),
    )


def training_is_by_hand(train: Any, draw: Draw) -> float:
    """Four steps from each start, with a report after three steps and after the last."""
    rng = np.random.default_rng(5)
    points = draw.rounded(draw.rng.random((3, 4, draw.d)))
    clouds = meta_icnn.read(points)
    summary, (mean, cov) = hypernetwork.summary(points), moments(points)
    options = {"n_steps": 4, "meta_batch": 2, "batch_size": 3, "learning_rate": 0.1, "warm_up": 1}
    options |= {"max_norm": 0.5, "every": 3}
    weights = {"cycle": 2.0, "penalty": plain.PENALTY}
    worst = 0.0
    for kind in meta_icnn.STARTS:
        start = meta_icnn.init_start(kind, rng, draw.d, like=LIKE, width=3, pretraining=2, require=False)
        state = meta_icnn.init_state(rng, clouds, start, width=4)
        params, adam, told, losses = state.params, by_hand(0.1, 0.9, 0.999), [], []

        def note(state: Any, loss: float, told: list[Any] = told) -> None:
            told.append((state, loss))

        found = train(state, clouds, start, seed=7, report=note, **options, **weights)
        for step in range(4):
            draws = random_stream(7, "batch", step)
            i, j = draws.integers(0, 3, (2, 2))
            pair = start.pair
            if kind == "gaussian":
                pair = hypernetwork.gaussian_start(
                    Gaussian(mean[i], cov[i]), Gaussian(mean[j], cov[j]), start.pair
                )
            some = drawn_rows(points[i], 3, draws)
            loss, grads = hypernetwork.loss_and_grad(
                params, summary[i], summary[j], pair, some, drawn_rows(points[j], 3, draws), **weights
            )
            norm = math.sqrt(sum(np.sum(g**2) for g in optim.tree_leaves(grads)))
            grads = {path: g * min(1.0, 0.5 / norm) for path, g in optim.flatten(grads).items()}
            rate = 0.1 * (1.0 if step == 0 else 0.5 * (1.0 + math.cos(math.pi * (step - 1) / 3)))
            params = adam.step(params, optim.unflatten(grads), rate)
            losses.append(float(loss))
            if step == 2:
                worst = worst_of(worst, difference(told[0][0].params, params))
        means = [sum(losses[:3]) / 3.0, losses[3]]
        worst = worst_of(
            worst,
            difference(found.params, params),
            difference(np.array([each[1] for each in told]), np.array(means)),
        )
    return worst


def _message(start: Any, clouds: Any, seed: int) -> str:
    state = meta_icnn.init_state(np.random.default_rng(0), clouds, start, width=2)
    try:
        meta_icnn.train(
            state, clouds, start, seed=seed, n_steps=8, meta_batch=1, batch_size=2, every=4, warm_up=1
        )
    except NonFiniteLossError as error:
        return str(error)
    return ""


def first_bad_step(message: Any, draw: Draw) -> float:
    """Of two clouds one has points that are NaN: the first step that draws it, the third or fourth."""
    clouds = meta_icnn.read(draw.rng.random((2, 4, draw.d)))
    clouds.points[1] = np.nan
    start = meta_icnn.init_start("random", draw.rng, draw.d, like=LIKE, width=2)
    bad = [
        next((step for step in range(9) if 1 in random_stream(seed, "batch", step).integers(0, 2, (2, 1))), 9)
        for seed in range(99)
    ]
    seed = next(seed for seed, step in enumerate(bad) if step in (1, 2) and bad[seed + 1] not in (step,))
    return float(f"the loss became nan at step {bad[seed]} " not in message(start, clouds, seed))
