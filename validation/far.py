"""Checks of clouds, paths and gradients far from the origin, in units far from 1, and with nothing in them.

Unit changes are powers of 2, which round nothing; of integers the moments are exact.
"""

import math

import numpy as np

from refwfm import clouds
from refwfm.measures import Gaussian, PointCloud
from refwfm.metrics.straightness import path_straightness, relative_bend
from refwfm.training import optim
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.textbook import relative

# Clouds


def moments_check() -> Check:
    """Moments far from the origin."""
    return Check(
        "integers, far from the origin",
        moments_of_integers,
        clouds.moments,
        {
            "of the origin": lambda x: Gaussian(x.mean(axis=1), x.mT @ x / x.shape[1]),
            "divided by n - 1": lambda x: Gaussian(
                x.mean(axis=1), clouds.moments(x).cov * x.shape[1] / (x.shape[1] - 1)
            ),
        },
        roundings(40, "one rounding of the mean, forty of the covariance"),
        dimensions=(1, 3),
    )


def moments_of_integers(moments, draw):
    """Means, 40 times: they are to be right to the last digit. Covariances, relative to the largest entry."""
    n, offset = 300, 2.0 ** round(math.log2(1.0 / draw.eps) - 5)
    near = draw.rng.integers(0, 16, (draw.size, n, draw.d)).astype(np.float64)
    mean = np.sum(near, axis=1) / n
    centred = near - mean[:, None, :]
    found = draw.call(moments, near + offset)
    error = np.max(np.abs(found.mean - offset - mean)) / offset
    return worst_of(40.0 * error, relative(found.cov, centred.mT @ centred / n))


def alike_check() -> Check:
    """Which clouds are alike, even, in order, and how large they are."""
    return Check(
        "weights, one after the other",
        clouds_are_told_apart,
        lambda x, y: (
            clouds.sizes(x),
            clouds.alike(x, y),
            clouds.in_order(x, y),
            clouds.all_even(x, y),
        ),
        {
            "by sizes alone": lambda x, y: (
                (x.weights > 0).sum(-1),
                *([np.array_equal((x.weights > 0).sum(-1), (y.weights > 0).sum(-1))] * 3),
            ),
            "always": lambda x, y: ((x.weights > 0).sum(-1), True, True, True),
        },
        EXACT,
        dimensions=(1,),
        repeats=1,
    )


def clouds_are_told_apart(told, draw):
    """How many answers are wrong, among batches of two clouds that differ in one, or in nothing."""
    rows = {"full": [0.25] * 4, "front": [0.5, 0.5, 0.0, 0.0], "back": [0.0, 0.0, 0.5, 0.5]}
    rows["uneven"] = [0.5, 0.25, 0.25, 0.0]
    names = [("full", other) for other in rows] + [("front", "back"), ("uneven", "uneven")]
    wrong = 0
    for first in names:
        for second in names:
            x, y = (np.array([rows[name] for name in pair]) for pair in (first, second))
            found = draw.call(told, *(PointCloud(np.zeros((2, 4, draw.d)), w) for w in (x, y)))
            even = "uneven" not in first + second
            alike = even and bool(np.all((x > 0) == (y > 0)))
            in_order = set(first + second) == {"full"}
            sizes = [sum(w > 0 for w in row) for row in x.tolist()]
            wrong += (np.asarray(found[0]).tolist(), *map(bool, found[1:])) != (sizes, alike, in_order, even)
    return wrong


def path_checks() -> tuple[Check, ...]:
    """Straightness in any units, of nothing, and of what does not move."""
    return (
        Check(
            "the ratio in units far from 1",
            ratio_has_no_units,
            path_straightness,
            {"squared as it is": _plain_ratio, "twice": _twice_the_ratio},
            roundings(300, "sums of a hundred squares"),
            dimensions=(2,),
            repeats=1,
        ),
        Check(
            "closed and resting paths",
            bend_of_closed_paths,
            relative_bend,
            {
                "always a number": lambda bend, moved: np.sum(bend) / max(np.sum(moved), 1.0),
                "resting paths bend too": lambda bend, moved: relative_bend(bend + 1.0, moved),
            },
            EXACT,
            dimensions=(2,),
            repeats=1,
        ),
    )


def _plain_ratio(path, weights):
    with np.errstate(all="ignore"):
        way = path[-1] - path[0]
        gap = np.sum(((len(path) - 1) * np.diff(path, axis=0) - way) ** 2, axis=-1).mean(axis=0)
        bend, moved = np.sum(weights * gap, axis=-1), np.sum(weights * np.sum(way**2, axis=-1), axis=-1)
        return path_straightness(path, weights)._replace(ratio=np.sum(bend) / np.sum(moved))


def _twice_the_ratio(path, weights):
    found = path_straightness(path, weights)
    return found._replace(ratio=2.0 * found.ratio)


def ratio_has_no_units(measure, draw):
    """Ratio of two clouds with padding, of which one only falls, in all pairs of units; 0 of no clouds."""
    path = draw.rng.integers(-64, 65, (4, 2, 3, draw.d)).astype(np.float64)
    path[:, 0] = -np.cumsum(np.abs(path[:, 0]) + 1.0, axis=0)
    path[:, :, 2], weights = 0.0, np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]])
    largest, worst = {"float64": 600, "float32": 80}[draw.dtype], 0.0
    way = path[-1] - path[0]
    gap = np.sum((3.0 * np.diff(path, axis=0) - way) ** 2, axis=-1).mean(axis=0)
    bend, moved = np.sum(weights * gap, axis=1), np.sum(weights * np.sum(way**2, axis=-1), axis=1)
    for units in ([0, 0], [largest, largest], [-largest, -largest], [-largest, largest], [largest, -largest]):
        share = 4.0 ** (np.array(units) - max(units))
        with np.errstate(over="ignore", under="ignore"):  # bends that are no numbers
            found = draw.call(measure, path * 2.0 ** np.array(units)[:, None, None], weights)
        worst = worst_of(
            worst, abs(float(found.ratio) / (np.sum(share * bend) / np.sum(share * moved)) - 1.0)
        )
    nothing = draw.call(measure, path[:, :0], weights[:0]), draw.call(measure, path[:, :, :0], weights[:, :0])
    return worst_of(
        worst, *(abs(float(part)) for found in nothing for part in (found.ratio, np.sum(found.bend)))
    )


def bend_of_closed_paths(relative_bend, draw):
    """How many are wrong: infinite where all return, 0 where all rest, a share where one moved."""
    zero, some = np.zeros(2), np.array([0.0, 3.0])
    cases = ((some, zero, np.inf), (zero, zero, 0.0), (some, 2.0 * some, 0.5), (zero, some, 0.0))
    return sum(float(draw.call(relative_bend, b, moved)) != truth for b, moved, truth in cases)


# Optimiser


def clipping_check() -> Check:
    """Norms whose squares are no numbers."""
    return Check(
        "math.hypot, in units far from 1",
        clipping_has_no_units,
        optim.clip_by_global_norm,
        {
            "each array by itself": _each_by_itself,
            "not at all": lambda g, m: (g, math.hypot(*g["a"], *g["b"])),
        },
        roundings(30, "sums of 10 squares"),
        dimensions=(3,),
        repeats=1,
    )


def _each_by_itself(grads, max_norm):
    with np.errstate(over="ignore"):  # of the factor where nothing is cut
        parts = {key: optim.clip_by_global_norm({key: g}, max_norm)[0][key] for key, g in grads.items()}
    return parts, optim.clip_by_global_norm(grads, max_norm)[1]


def clipping_has_no_units(clip, draw):
    """Norm, and gradients cut to a half of it, of arrays in different units."""
    a, b, worst = draw.normal(draw.d), -1.0 - draw.rng.random(draw.d), 0.0
    a[0] = 0.0
    largest = {"float64": 600, "float32": 80}[draw.dtype]
    for units in ((0, 0), (largest, largest), (largest, -largest), (-largest, -largest), (-largest, largest)):
        tree = {
            k: draw.rounded(2.0**u * v) for (k, v), u in zip({"a": a, "b": b}.items(), units, strict=True)
        }
        length = math.hypot(*tree["a"], *tree["b"])
        found, norm = draw.call(clip, tree, 0.5 * length)
        worst = worst_of(worst, abs(float(norm) / length - 1.0))
        worst = worst_of(worst, *(np.max(np.abs(found[k] - 0.5 * tree[k])) / length for k in tree))
    return worst


def schedule_checks() -> tuple[Check, ...]:
    """Rates that rise and fall; parameters as lists."""
    return (
        Check(
            "cos², and a straight line",
            rate_rises_and_falls,
            optim.warm_up_cosine,
            {
                "no warm-up": lambda step, *, base, warm_up, n_steps: optim.warm_up_cosine(
                    step, base=base, warm_up=0, n_steps=n_steps
                ),
                "half of it": lambda step, **given: 0.5 * optim.warm_up_cosine(step, **given),
            },
            roundings(10, "a cosine"),
            dimensions=(1,),
            repeats=1,
            everywhere=False,
        ),
        Check(
            "back again",
            trees_come_back,
            optim.unflatten,
            {"as it is": lambda flat: flat, "without folders": lambda flat: {"in/bias": flat.get("in/bias")}},
            EXACT,
            dimensions=(1,),
            repeats=1,
            everywhere=False,
        ),
    )


def rate_rises_and_falls(rate, draw):
    """``(k + 1) / w`` of the base below w, ``cos²(π s / 2)`` at the share s of what follows, then 0."""
    worst = 0.0
    for warm_up, n_steps in ((4, 20), (0, 7), (3, 3)):
        for step in range(25):
            share = min(1.0, (step - warm_up) / max(1, n_steps - warm_up))
            truth = (step + 1) / warm_up if step < warm_up else math.cos(0.5 * math.pi * share) ** 2
            found = rate(step, base=0.25, warm_up=warm_up, n_steps=n_steps)
            worst = worst_of(worst, abs(found - 0.25 * truth))
    return worst


def trees_come_back(unflatten, draw):
    """How many of three trees do not, from the paths of their arrays."""
    trees = (1.0, {"bias": 2.0}, {"in": {"bias": 1.0, "weight": {"a": 3.0}}, "out": 4.0})
    return sum(unflatten(optim.flatten(tree)) != tree for tree in trees)
