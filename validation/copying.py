"""The audited copy rate: counts, a law whose copies and fresh members are known, sliced distances."""

import math
from functools import partial
from typing import Any

import numpy as np

from refwfm.measures import PointCloud
from refwfm.metrics.copying import CopyRate, copy_rate, profiles
from refwfm.validation.check import Check, Draw, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative


def item() -> Item:
    """Return the item: a formula of ours."""
    return Item(
        id="Copy-rate",
        paper="ours",
        place="beside tables 2, 3 and 4",
        title="copy rate",
        latex=r"\frac1G\bigl|\{g: d(g)\le D\}\bigr|,\quad d(x)=\min_jD(x,\mu_j),\quad "
        r"D=d(h)_{(\lceil qn\rceil)}\text{ of the }n\text{ held-out members}",
        statement="Share of generated members that are as near to a training member as the nearest tenth of "
        "held-out ones: 1 for copies, q for draws of the truth.",
        functions=(copy_rate, profiles),
        checks=(
            Check(
                "sorted lists",
                rate_is_the_count,
                partial(copy_rate, quantile=0.3),
                {
                    "nearer than the median": partial(copy_rate, quantile=0.5),
                    "families exchanged": lambda found, unseen: copy_rate(unseen, found, quantile=0.3),
                    "the farthest instead of the nearest": lambda found, unseen: copy_rate(
                        1.0 / found, 1.0 / unseen, quantile=0.3
                    ),
                    "nearer than the mean": lambda found, unseen: CopyRate(
                        np.mean(found <= np.mean(unseen)), np.mean(unseen <= np.mean(unseen))
                    ),
                },
                roundings(10, "a share of counts"),
                dimensions=(2,),
            ),
            Check(
                "a normal law: copies, fresh members, halves",
                copies_are_told_from_the_truth,
                copy_rate,
                {
                    "the share nearer than the median: half failures hide half copies": partial(
                        copy_rate, quantile=0.5
                    ),
                    "distance to held-out members": lambda found, unseen: copy_rate(
                        np.flip(found) + 1.0, unseen
                    ),
                },
                Tolerance(0.06, 0.06, "five standard errors of a share of 0.1 among 600"),
                dimensions=(2,),
                repeats=1,
            ),
            Check(
                "NumPy's inverted distribution function",
                profiles_are_numpys,
                partial(profiles, levels=6),
                {
                    "levels from 0": _profiled(0.0),
                    "levels up to 1": _profiled(1.0),
                    "without weights": _profiled(0.5, even=True),
                    "not divided by their number": lambda clouds, theta: (
                        math.sqrt(6 * len(theta)) * profiles(clouds, theta, levels=6)
                    ),
                },
                roundings(100, "projections in up to 6 dimensions"),
                dimensions=(1, 2, 6),
            ),
        ),
    )


def rate_is_the_count(rate: Any, draw: Draw) -> float:
    """Seventeen distances beside eleven."""
    found, unseen = (draw.rounded(np.abs(draw.normal(n)) + 0.1) for n in (17, 11))
    bound = sorted(unseen)[math.ceil(0.3 * 11) - 1]
    truth = [np.mean([d <= bound for d in each]) for each in (found, unseen)]
    return float(np.max(np.abs(np.array(draw.call(rate, found, unseen)) - truth)))


def copies_are_told_from_the_truth(rate: Any, draw: Draw) -> float:
    """Errors of the rates 1 for copies, 0.1 for fresh members, 0.5 for half copies and half failures."""

    def near(x: np.ndarray, training: np.ndarray) -> np.ndarray:
        return np.asarray(np.min(np.sum((x[:, None] - training) ** 2, axis=-1), axis=1))

    training, unseen, fresh = (draw.normal(n, 2) for n in (200, 3000, 600))
    copied = training[draw.rng.integers(0, 200, 600)]
    halves = np.concatenate([copied[:300], fresh[:300] + 50.0])
    worst = 0.0
    for found, truth in ((copied, 1.0), (fresh, 0.1), (halves, 0.5)):
        generated, real = draw.call(rate, near(found, training), near(unseen, training))
        worst = worst_of(worst, abs(float(generated) - truth), abs(float(real) - 0.1))
    return worst


def _profiled(shift: float, *, even: bool = False) -> Any:
    """Profiles at other levels, or of other weights."""

    def wrong(clouds: PointCloud, theta: np.ndarray) -> np.ndarray:
        levels = (np.arange(6) + shift) / 6
        return np.stack(
            [_quantiles(x, None if even else a, theta, levels) for x, a in zip(*clouds, strict=True)]
        )

    return wrong


def _quantiles(x: np.ndarray, a: np.ndarray | None, theta: np.ndarray, levels: np.ndarray) -> np.ndarray:
    lines = [np.quantile(x @ each, levels, weights=a, method="inverted_cdf") for each in theta]
    return np.concatenate(lines) / np.sqrt(len(theta) * len(levels))


def profiles_are_numpys(profiles: Any, draw: Draw) -> float:
    """Two clouds of seven points, of weights that no level meets."""
    points = draw.normal(2, 7, draw.d)
    weights = np.array([[4.0, 1.0, 2.0, 1.0, 3.0, 1.0, 1.0], [1.0, 1.0, 1.0, 5.0, 1.0, 2.0, 2.0]]) / 13.0
    theta = draw.normal(3, draw.d)
    theta = draw.rounded(theta / np.linalg.norm(theta, axis=1, keepdims=True))
    levels = (np.arange(6) + 0.5) / 6
    truth = np.stack([_quantiles(x, a, theta, levels) for x, a in zip(points, weights, strict=True)])
    return relative(draw.call(profiles, PointCloud(points, draw.rounded(weights)), theta), truth)
