"""Training of Bures-Wasserstein flow matching (WFM Algorithm 1).

A run is four things: a ``Config`` (what was asked for), a ``Setting`` (what was fitted to the data once:
source, units, network scaling), a family to learn, and a ``State`` that ``step`` maps to the next. The
randomness of step k is keyed by (seed, k), so that step k can be recomputed alone, on any backend.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm import optim
from refwfm._array import Array, array_namespace, device, like
from refwfm.bures import pairwise_sq_distance
from refwfm.config import Config
from refwfm.couplings import match_minibatch
from refwfm.measures import Gaussian, take
from refwfm.methods import METHODS
from refwfm.networks import bures_mlp, init_bures_mlp
from refwfm.optim import Tree
from refwfm.randomness import random_stream
from refwfm.setting import Setting
from refwfm.sources import sample_empirical, sample_gaussian_wishart


class State(NamedTuple):
    """All that a step changes: parameters, Adam's moments, running mean (or None), steps done."""

    params: Tree
    adam: optim.AdamState
    ema: Tree | None
    step: int


class Batch(NamedTuple):
    """Points of random geodesics: mu_t, the velocity there, t (B,), labels (B,) or None."""

    mu_t: Gaussian
    target: Any
    t: Array
    labels: Array | None


class Metrics(NamedTuple):
    """What a step reports: the batch's loss and the gradient's norm, arrays of shape ()."""

    loss: Array
    grad_norm: Array


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite."""


def init_state(config: Config, setting: Setting, /) -> State:
    """Random parameters and an empty optimiser, drawn from the seed."""
    params = init_bures_mlp(
        random_stream(config.seed, "init"),
        setting.shift.shape[0],
        like=setting.shift,
        width=config.width,
        depth=config.depth,
        n_frequencies=config.n_frequencies,
        n_labels=len(setting.label_counts),
        label_dim=config.label_dim,
    )
    ema = optim.tree_map(lambda leaf: array_namespace(leaf).asarray(leaf, copy=True), params)
    return State(params, optim.init_adam(params), ema if config.ema else None, 0)


def draw_batch(
    config: Config,
    setting: Setting,
    family: Gaussian,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    cost: Callable[..., Array] = pairwise_sq_distance,
) -> Batch:
    """Random sources, targets and times of step ``step``, and the geodesics' points and velocities there.

    Equation: WFM Algorithm 1, with WFM-8 and WFM-10 (the paper refers to WFM-9, which is another quantity).

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d), in the setting's units
    labels : numpy.ndarray, shape (n,), or None
    cost : callable
        Squared distances between two batches, for the matching.
    """
    rng = random_stream(config.seed, "batch", step)
    mu = sample_gaussian_wishart(setting.source, rng=rng, size=config.batch)
    nu, index = sample_empirical(family, rng=rng, size=config.batch)
    t = like(rng.random(config.batch), family.mean)
    if config.matching:
        perm = match_minibatch(mu, nu, cost=cost)
        nu, index = take(nu, perm), index[perm]
    mu_t, target = METHODS[config.method].path(mu, nu, t, validate=False)
    drawn = None
    if len(setting.label_counts):
        assert labels is not None  # fit_setting counted them
        drawn = array_namespace(t).asarray(labels[index], device=device(t))
    return Batch(mu_t, target, t, drawn)


def loss_and_grad(
    params: Tree, scaling: dict[str, Array], batch: Batch, /, *, method: str
) -> tuple[Array, Tree]:
    """Loss of the network on a batch, and its gradient in the parameters.

    Equation: WFM-11, 16, 17 for Gaussians. Value of shape (), gradient a tree like ``params``.
    """
    chosen = METHODS[method]
    output, pullback = bures_mlp(params, scaling, batch.mu_t, batch.t, batch.labels)
    value, derivative = chosen.loss(chosen.velocity(*output), batch.target, batch.mu_t)
    return value, pullback(tuple(derivative))


class Ops(NamedTuple):
    """The operations of a run that a backend may have faster twins of; same signatures as the references."""

    pairwise_sq_distance: Callable[..., Array]
    loss_and_grad: Callable[..., tuple[Array, Tree]]
    clip_by_global_norm: Callable[..., tuple[Tree, Array]]
    adam: Callable[..., tuple[Tree, optim.AdamState]]
    ema: Callable[..., Tree]


REFERENCE = Ops(pairwise_sq_distance, loss_and_grad, optim.clip_by_global_norm, optim.adam, optim.ema)


def step(
    config: Config,
    setting: Setting,
    family: Gaussian,
    labels: np.ndarray | None,
    state: State,
    /,
    *,
    ops: Ops = REFERENCE,
) -> tuple[State, Metrics]:
    """One step of training: draw, regress, update.

    Equation: WFM Algorithm 1. The state handed in must not be used again: a backend may re-use its memory.
    """
    batch = draw_batch(config, setting, family, labels, state.step, cost=ops.pairwise_sq_distance)
    loss, grads = ops.loss_and_grad(state.params, setting.scaling, batch, method=config.method)
    grads, norm = ops.clip_by_global_norm(grads, config.clip_norm or math.inf)
    rate = learning_rate(config, state.step)
    params, adam = ops.adam(state.params, grads, state.adam, learning_rate=rate)
    ema = None
    if state.ema is not None:
        # The first averages would otherwise remember little but the random start.
        ema = ops.ema(state.ema, params, decay=min(config.ema, (1.0 + state.step) / (10.0 + state.step)))
    return State(params, adam, ema, state.step + 1), Metrics(loss, norm)


def learning_rate(config: Config, step: int, /) -> float:
    """Learning rate of step ``step`` (0 is the first). Equation: WFM App. E.1."""
    return optim.exponential_decay(
        step, base=config.learning_rate, rate=config.decay, every=config.decay_every
    )


def train(
    config: Config,
    setting: Setting,
    family: Gaussian,
    labels: np.ndarray | None,
    state: State,
    /,
    *,
    ops: Ops = REFERENCE,
    every: int = 50,
    report: Callable[[State, float, float], None] | None = None,
) -> State:
    """Train to ``config.steps`` steps from wherever ``state`` stands.

    Equation: WFM Algorithm 1.

    Parameters
    ----------
    every : int
        Steps between two reports; only then the host waits for the device.
    report : callable, optional
        ``report(state, loss, grad_norm)`` with means over the steps since the last one: the place for
        progress bars, logs and checkpoints. Called at multiples of ``every`` and after the last step.

    Raises
    ------
    NonFiniteLossError
        If a loss is NaN or infinite: names the step and the seed, and reports nothing from there on.
    """
    pending: list[Metrics] = []
    while state.step < config.steps:
        state, metrics = step(config, setting, family, labels, state, ops=ops)
        pending.append(metrics)
        if state.step % every == 0 or state.step == config.steps:
            losses = [float(metrics.loss) for metrics in pending]
            norms = [float(metrics.grad_norm) for metrics in pending]
            finite = np.isfinite(losses) & np.isfinite(norms)
            if not np.all(finite):
                first = int(np.argmin(finite))
                raise NonFiniteLossError(
                    f"the loss became {losses[first]} at step {state.step - len(losses) + first} "
                    f"(seed {config.seed}) and its gradient's norm {norms[first]}; a smaller learning_rate "
                    "or clip_norm helps"
                )
            if report is not None:
                report(state, float(np.mean(losses)), float(np.mean(norms)))
            pending = []
    return state
