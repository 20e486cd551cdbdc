"""Where Sinkhorn's iteration for the inner plans of clouds starts, and the network that may predict it.

The network is trained once, before the first step, on pairs of clouds as the steps draw them (but others).
It belongs to the setting from then on: what a step draws is still a function of the seed and its number.
Resuming fits it again, to the same numbers, and then goes on with those of the checkpoint.
"""

import math
from collections.abc import Callable

import numpy as np

from refwfm._array import Array
from refwfm.couplings.inner import InnerStart
from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_loss_and_grad, cloud_potential, init_cloud_potential
from refwfm.training import optim
from refwfm.training.alignment import Progress
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.config import CloudConfig, InnerOptions
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.problem import clear_padding, cost_scale
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.transport.starts import usable_start

LEARNING_RATE = 3e-3
"""Of the network's first step; half a cosine lowers it to 0."""

Draw = Callable[[np.random.Generator], tuple[PointCloud, PointCloud]]
"""Draws sources and targets in pairs, in the model's units."""


def start_of(config: InnerOptions, setting: CloudSetting, /) -> InnerStart | None:
    """What maps clouds and their cost to the potential to start at; None for zeros.

    Equation: none. Wiring of a run. (META-OT-6 is the Gaussian potential, META-OT-4 the predicted one.)

    A prediction is replaced by zeros where the semi-dual says that it is worth less (``usable_start``). That
    costs two half-steps for each pair, and the prediction about as much as one.
    """
    if config.inner_start == "zeros":
        return None

    if config.inner_start == "gaussian":
        return lambda x, y, cost: gaussian_potential(x, y)

    def predicted(x: PointCloud, y: PointCloud, cost: Array) -> Array:
        eps = _eps_of(config, x, y, cost)
        with np.errstate(all="ignore"):  # what is not finite is not used
            f = cloud_potential(setting.start, x, y, eps=eps)[0]
        return usable_start(f, cost, x.weights, y.weights, eps=eps, validate=False)[0]

    return predicted


def fit_start(
    config: CloudConfig, setting: CloudSetting, draw: Draw, /, *, progress: Progress | None = None
) -> Tree:
    """Parameters of the network that predicts potentials, trained for ``config.start_steps`` steps.

    Equation: none. Adam on the loss of META-OT-4, from the Gaussian potential on.

    Parameters
    ----------
    draw : callable
        ``draw(rng)`` draws the pairs of a step.
    progress : callable, optional
        Called with (steps done, steps in all).
    """
    params = init_cloud_potential(
        random_stream(config.seed, "init", 1), setting.shift.shape[0], like=setting.like
    )
    state = optim.init_adam(params)
    for step in range(config.start_steps):
        x, y = draw(random_stream(config.seed, "init", 2 + step))
        cost = sq_euclidean_cost(x.points, y.points)
        _, grads = cloud_loss_and_grad(params, x, y, eps=_eps_of(config, x, y, cost))
        grads, _ = optim.clip_by_global_norm(grads, 1.0)
        rate = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / config.start_steps))
        params, state = optim.adam(params, grads, state, learning_rate=rate)
        if progress is not None:
            progress(step + 1, config.start_steps)
    return params


def _eps_of(config: InnerOptions, x: PointCloud, y: PointCloud, cost: Array) -> Array:
    """Regularisation of each pair in units of its cost, shape (B,), as the solver takes it."""
    scale = None if config.scale_cost == "none" else config.scale_cost
    a, b = x.weights, y.weights
    return config.eps * cost_scale(clear_padding(cost, a, b), a, b, scale)
