"""Checks of what stands around the formulas: loops of steps, choices of plans, families, refusals."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.optimize

from refwfm.couplings.outer import outer_pairs
from refwfm.measures import Gaussian
from refwfm.sources.gaussians import fit_gaussian_wishart
from refwfm.training import algorithm as training
from refwfm.training import cloud_generation, gaussian_fit, optim
from refwfm.training import clouds as flow
from refwfm.training.cloud_fit import Families
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.randomness import random_stream
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.cloud_runs import (
    CARRIED,
    CONFIG,
    LABELS,
    SIZES,
    error_of_batch,
    plain_setting,
    ragged,
    random_network,
    random_source,
)
from refwfm.validation.draws import Draw
from refwfm.validation.plain_network import random_scaling
from refwfm.validation.plain_transformer import plain
from refwfm.validation.textbook import relative


def here(oracle: str, residual: Any, implementation: Any, controls: Any, **options: Any) -> Check:
    """Check on one draw, beside NumPy in float64."""
    given = {"tolerance": EXACT, "dimensions": (2,), "repeats": 1, "everywhere": False, **options}
    return Check(oracle, residual, implementation, controls, **given)


# Training


def train_checks() -> tuple[Check, ...]:
    """Training as its steps, for both kinds of measures, and what stops it."""
    controls = {
        "a step less": lambda config, *rest, **options: training.train(
            replace(config, steps=config.steps - 1), *rest, **options
        ),
        "reports of every step": lambda *rest, every, **options: training.train(*rest, every=1, **options),
    }
    return (
        here("its steps, one after the other: clouds", clouds_take_steps, training.train, controls),
        here("its steps, one after the other: Gaussians", gaussians_take_steps, training.train, controls),
        here(
            "the step at which the loss is no number",
            loss_becomes_infinite,
            training.train,
            {
                "goes on": lambda *rest, **options: None,
                "another step": lambda config, *rest, **options: training.train(
                    replace(config, learning_rate=0.1), *rest, **options
                ),
            },
        ),
    )


def clouds_take_steps(train: Any, draw: Draw) -> float:
    """Largest difference of parameters and reports; plans are entropic, and far from converged."""
    config = replace(
        CONFIG, inner="entropic", sinkhorn_steps=20, inner_tol=0.05, eps=0.05, steps=3, batch=2, depth=1
    )
    members = [draw.normal(4, draw.d) * 2.0 ** (k % 3) for k in range(6)]
    return _error_of_steps(train, config, plain_setting(random_source(draw)), Families(ragged(members), None))


def gaussians_take_steps(train: Any, draw: Draw) -> float:
    """The same of Gaussians."""
    config = GaussianConfig(batch=3, steps=3, width=5, depth=2, n_frequencies=2, seed=3)
    return _error_of_steps(train, config, _gaussian_setting(draw), draw.gaussians())


def _gaussian_setting(draw: Draw) -> Any:
    source = fit_gaussian_wishart(draw.gaussians(size=4))
    return gaussian_fit.GaussianSetting(
        np.zeros(draw.d), 1.0, source, random_scaling(draw), np.zeros(0, dtype=np.int64)
    )


def _error_of_steps(train: Any, config: Any, setting: Any, family: Any) -> float:
    reports: list[Any] = []
    start = training.init_state(config, setting)

    def report(state: Any, metrics: Any) -> None:
        reports.append([state.step, *metrics])

    end = train(config, setting, family, None, start, every=2, report=report)
    state, steps = start, []
    for _ in range(3):
        state, metrics = training.step(config, setting, family, None, state)
        steps.append(np.array(metrics, dtype=float))
    truth = [
        [last, sum(loss) / len(loss), sum(norm) / len(norm), max(error), sum(count) / len(count)]
        for last, some in ((2, steps[:2]), (3, steps[2:]))
        for loss, norm, error, count in [np.transpose(some)]
    ]
    if np.shape(reports) != np.shape(truth) or end.step != 3:
        return np.inf
    pairs = zip(optim.tree_leaves(end.params), optim.tree_leaves(state.params), strict=True)
    parameters = max(float(np.max(np.abs(found - wanted))) for found, wanted in pairs)
    error = float(np.max(np.abs(np.array(reports) - truth)))
    return parameters + (error if error > 1e-12 else 0.0)


def loss_becomes_infinite(train: Any, draw: Draw) -> float:
    """Whether training stops with an error, naming step 1, after a first step that is far too long."""
    config = GaussianConfig(batch=3, steps=4, width=5, depth=2, n_frequencies=2, learning_rate=1e200)
    setting = _gaussian_setting(draw)
    state = training.init_state(config, setting)
    try:
        with np.errstate(all="ignore"):
            train(config, setting, draw.gaussians(), None, state, every=4)
    except training.NonFiniteLossError as error:
        return 0.0 if "at step 1 " in str(error) else 1.0
    return np.inf


def scaling_check() -> Check:
    """What is constant, in any unit."""
    return here(
        "standard deviations, and 1 of what is constant",
        scaling_of_constants,
        gaussian_fit.fit_scaling,
        {
            "of all": lambda mu, target: {
                **gaussian_fit.fit_scaling(mu, target),
                "input_scale": np.concatenate([mu.mean.std(0), mu.cov.std(0)[[0, 1, 1], [0, 0, 1]]]),
            },
            "of no covariance": lambda mu, target: {
                **gaussian_fit.fit_scaling(mu, target),
                "input_scale": np.concatenate([mu.mean.std(0), np.ones(3)]),
            },
        },
        tolerance=roundings(100, "sums of 50 squares"),
    )


def scaling_of_constants(fit_scaling: Any, draw: Draw) -> float:
    """Scales of means and lower triangles, where one entry of the covariances is constant to rounding."""
    worst = 0.0
    for unit in (1e-8, 1.0, 1e8):
        mean, cov = draw.normal(50, 2), draw.covariances(size=50)
        cov[:, 1, 0] = cov[:, 0, 1] = -0.01 * (1.0 + 1e-14 * draw.normal(50))
        found = draw.call(fit_scaling, Gaussian(mean, unit * cov), (mean, cov))["input_scale"]
        deviations = [np.std(mean[:, 0]), np.std(mean[:, 1]), *(unit * np.std(cov[:, i, i]) for i in (0, 1))]
        truth = np.array([*deviations[:3], 1.0, deviations[3]])
        worst = worst_of(worst, float(np.max(np.abs(found / truth - 1.0))))
    return worst


# Plans, families


def plan_check() -> Check:
    """Which inner plan ``auto`` is."""
    return here(
        "the rule of appendix E.2, case by case",
        plan_is_chosen,
        flow._inner_plan,
        {"always rounded": lambda *given: "rounded", "always entropic": lambda *given: "entropic"},
    )


def plan_is_chosen(choose: Any, draw: Draw) -> float:
    """How many are wrong: rounded where the two clouds of every pair have equal sizes."""
    same, mixed, noise = [4, 4, 4], [3, 5, 4], "normal"
    cases: list[tuple[dict[str, Any], list[int], list[int] | None, str]] = [
        ({"source": noise, "source_size": "partner"}, mixed, None, "rounded"),
        ({"source": noise, "source_size": "data"}, mixed, None, "entropic"),
        ({"source": noise, "source_size": "data"}, same, None, "rounded"),
        ({"source": "family"}, same, same, "rounded"),
        ({"source": "family"}, same, mixed, "entropic"),
        ({"source": "family"}, [3, 3, 3], [3, 5, 4], "entropic"),
        ({"source": "family", "n_points": 3}, [3, 3, 3], mixed, "rounded"),
        ({"source": "family", "n_points": 4}, [4, 4, 4], mixed, "entropic"),
        ({"source": noise, "inner": "exact"}, same, None, "exact"),
    ]
    wrong = 0
    for options, target, source, truth in cases:
        config = CloudConfig(**options)
        starts = None if source is None else SimpleNamespace(sizes=np.array(source))
        wrong += choose(config, SimpleNamespace(sizes=np.array(target)), Families(None, starts)) != truth
    return wrong


def family_checks() -> tuple[Check, ...]:
    """Steps between two families: in pairs, at random, with replacement; what is fitted before."""

    def other(**options: Any) -> Callable[..., Any]:
        return lambda config, *rest: flow.draw_batch(replace(config, **options), *rest)

    return (
        here(
            "the recipe by hand: members in pairs",
            members_go_in_pairs,
            flow.draw_batch,
            {"at random": other(outer="independent"), "another inner plan": other(inner="independent")},
            tolerance=CARRIED,
        ),
        here(
            "the recipe by hand: members at random",
            members_go_at_random,
            flow.draw_batch,
            {"in pairs": other(outer="paired"), "another inner plan": other(inner="independent")},
            tolerance=CARRIED,
        ),
        here(
            "pairs with replacement, of single points",
            pairs_are_drawn,
            flow.draw_batch,
            {"as drawn": other(outer="independent"), "a permutation": other(replace=False)},
            tolerance=CARRIED,
        ),
        here(
            "units by hand",
            units_are_fitted,
            lambda *given: flow.prepare(*given)[0],
            {
                "not squared": lambda *given: _changed_unit(flow.prepare(*given)[0]),
                "with a network": lambda *given: flow.prepare(*given)[0]._replace(start={}),
            },
            tolerance=roundings(100, "moments of small clouds"),
        ),
    )


def _changed_unit(setting: Any) -> Any:
    return setting._replace(unit=setting.unit**2)


def _moved(draw: Draw) -> Any:
    """Setting of a run whose unit is 2."""
    setting = plain_setting(random_source(draw), sizes=(4, 4, 4))
    return setting._replace(shift=draw.normal(draw.d), unit=2.0)


def _error_between_families(draw_batch: Any, draw: Draw, outer: str) -> float:
    """Times, points and velocities between a family and another, in units of a model."""
    config = replace(CONFIG, source="family", outer=outer)
    target, source = ([draw.normal(4, draw.d) for _ in range(6)] for _ in "ts")
    setting, step = _moved(draw), int(draw.rng.integers(100))
    batch = draw_batch(config, setting, Families(ragged(target), ragged(source)), None, step)
    rng = random_stream(config.seed, "batch", step)
    index = rng.integers(6, size=config.batch)
    first = index if outer == "paired" else rng.integers(6, size=config.batch)
    starts = [(source[i] - setting.shift) / 2.0 for i in first]
    images = [_best((target[i] - setting.shift) / 2.0, x) for i, x in zip(index, starts, strict=True)]
    return error_of_batch(batch, starts, images, rng.random(config.batch))


def _best(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return y[scipy.optimize.linear_sum_assignment(np.sum((x[:, None] - y) ** 2, axis=-1))[1]]


def members_go_in_pairs(draw_batch: Any, draw: Draw) -> float:
    """Times, points and velocities of a step from each member to its partner."""
    return _error_between_families(draw_batch, draw, "paired")


def members_go_at_random(draw_batch: Any, draw: Draw) -> float:
    """The same from members drawn at random."""
    return _error_between_families(draw_batch, draw, "independent")


def pairs_are_drawn(draw_batch: Any, draw: Draw) -> float:
    """Ends of the paths, which a plan between single points leaves alone."""
    config = replace(CONFIG, source="family", outer="frechet", replace=True, inner="independent", batch=8)
    target, source = ([draw.normal(1, draw.d) for _ in range(6)] for _ in "ts")
    setting = plain_setting(random_source(draw), sizes=(1,) * 6)
    batch = draw_batch(config, setting, Families(ragged(target), ragged(source)), None, 7)
    rng = random_stream(config.seed, "batch", 7)
    index = rng.integers(6, size=8)
    y, x = (np.stack(some)[i, 0] for some, i in ((target, index), (source, rng.integers(6, size=8))))
    pairs = outer_pairs(np.sum((x[:, None] - y) ** 2, axis=-1), rng=rng, replace=True)
    x, y = x[pairs.source], y[pairs.target]
    place = (1.0 - batch.t[:, None]) * x + batch.t[:, None] * y
    return worst_of(relative(batch.points[:, 0], place), relative(batch.target[:, 0], y - x))


def units_are_fitted(prepare: Any, draw: Draw) -> float:
    """Mean of the clouds' means, root of their variance per coordinate; no network if none is wanted."""
    members = [draw.normal(n, draw.d) + 3.0 for n in SIZES]
    setting = prepare(CONFIG, ragged(members), None, np.asarray)
    shift = np.mean([x.mean(axis=0) for x in members], axis=0)
    variance = np.mean([np.mean(np.sum((x - shift) ** 2, axis=1)) for x in members]) / draw.d
    same = setting.start is None and setting.sizes.tolist() == list(SIZES)
    return worst_of(
        relative(setting.shift[None], shift[None]),
        abs(setting.unit**2 / variance - 1.0),
        0.0 if same else np.inf,
    )


def generation_check() -> Check:
    """Generation from members of a family."""
    return here(
        "one step by hand, from members of a family",
        generated_from_a_family,
        cloud_generation.sample,
        {
            "other members": lambda *rest, index, **options: cloud_generation.sample(
                *rest, index=index[::-1], **options
            ),
            "two steps": lambda *rest, n_steps, **options: cloud_generation.sample(
                *rest, n_steps=2, **options
            ),
        },
        tolerance=roundings(3000, "two blocks of the transformer"),
    )


def generated_from_a_family(sample: Any, draw: Draw) -> float:
    """Clouds of data units after one step with a plain network."""
    params, source = random_network(draw), ragged([draw.normal(n, draw.d) for n in SIZES])
    setting = _moved(draw)._replace(label_counts=np.array([2, 2]))
    index = np.array([3, 1, 0, 2])
    config = replace(CONFIG, source="family")
    options = {"size": 4, "n_steps": 1, "seed": 5, "labels": LABELS, "source": source, "index": index}
    found, _ = sample(config, setting, params, **options)
    mask = np.arange(5) < np.array(SIZES)[index][:, None]
    starts = np.where(mask[..., None], (source.batch(index).points - setting.shift) / 2.0, 0.0)
    moved = starts + plain(params, starts, mask, np.zeros(4), LABELS)
    return relative(found.points, np.where(mask[..., None], 2.0 * moved + setting.shift, 0.0))
