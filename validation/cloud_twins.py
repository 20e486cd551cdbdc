"""The audited twin of the network of clouds where it generates, and the clouds that twins are tried on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refwfm.networks import init_transformer
from refwfm.sources.clouds import prefix_weights
from refwfm.training import optim, regression
from refwfm.training.regression import CloudBatch
from refwfm.validation.check import Check, roundings, worst_of
from refwfm.validation.draws import Draw
from refwfm.validation.textbook import relative


def random_clouds(draw: Draw, n_space: int) -> tuple[Any, CloudBatch]:
    """Parameters of a small network, and clouds of different sizes with labels."""
    options = {"width": 8, "depth": 2, "heads": 2, "hidden": 8, "n_frequencies": 2, "n_labels": 2}
    options |= {"n_space": n_space}
    params = init_transformer(draw.rng, draw.d, like=np.zeros(0), **options)
    params = optim.tree_map(lambda p: draw.rounded(p + 0.1 * draw.rng.standard_normal(p.shape)), params)
    weights = draw.rounded(prefix_weights(np.array([5, 3, 1]), 5))
    points, target = (draw.normal(3, 5, draw.d) for _ in range(2))
    return params, CloudBatch(points, weights, target, draw.times(), np.array([0, 1, 2]))


def velocities(twin: Callable[..., Any]) -> Check:
    """Velocities that generation takes, beside those of the reference."""

    def half(*args: Any, heads: int) -> Any:
        return 0.5 * regression.cloud_velocity(*args, heads=heads)

    def without_mask(params: Any, points: Any, mask: Any, *rest: Any, heads: int) -> Any:
        return regression.cloud_velocity(params, points, mask | True, *rest, heads=heads)

    def other_labels(params: Any, points: Any, mask: Any, t: Any, labels: Any, *, heads: int) -> Any:
        return regression.cloud_velocity(params, points, mask, t, 2 - labels, heads=heads)

    return Check(
        "the reference on the same arrays",
        velocities_agree,
        twin,
        {"half of it": half, "padding is read": without_mask, "other labels": other_labels},
        roundings(1000, "two blocks of width 8, softmax and layer norms"),
        dimensions=(2, 3),
        repeats=1,
    )


def velocities_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Velocities of clouds of different sizes with labels, also with features of points."""
    return worst_of(*(_error(twin, draw, n_space) for n_space in (0, 3)))


def _error(twin: Callable[..., Any], draw: Draw, n_space: int) -> float:
    params, batch = random_clouds(draw, n_space)
    given = params, batch.points, batch.weights > 0, batch.t, batch.labels
    found, truth = (draw.call(function, *given, heads=2) for function in (twin, regression.cloud_velocity))
    return relative(found, truth)
