"""Training (WFM Algorithm 1), the same for Gaussians and for point clouds.

The lines of the algorithm, as comments number them::

    until done:
        1  draw sources mu from p_0 and targets nu from p_1
        2  pair them by an outer plan                           (App. C; GWFM-26)
        3  find the map from each mu to its nu                  (WFM-U4; an inner plan, GWFM-27)
        4  draw times t from U(0, 1), or a law of ours          (WFM-TIMES)
        5  take the points mu_t and velocities at t             (WFM-8, WFM-10; WFM-4, WFM-7)
        6  loss of the network there, and its gradient          (WFM-11)
        7  update the parameters

A run is four things: a configuration (what was asked for), a setting (what was fitted to the data once:
source, units), a family to learn, and a ``State`` that ``step`` maps to the next. What a batch and its loss
are is the business of the *flow*, ``gaussians`` or ``clouds``. What step k draws is keyed by (seed, k), so
that it can be recomputed alone, on any backend.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, check_integer
from refwfm.training import optim
from refwfm.training.base_config import FlowOptions, TrainingConfig
from refwfm.training.flows import flow_of
from refwfm.training.muon import muon
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import Tree
from refwfm.training.team import ALONE, Team, members_in


class State(NamedTuple):
    """All that a step changes: parameters, Adam's moments, running mean (or None), steps done.

    One without moments generates, and is not trained on.
    """

    params: Tree
    adam: optim.AdamState | None
    ema: Tree | None
    step: int


class Metrics(NamedTuple):
    """What a step reports, arrays of shape (), or several steps, floats.

    Attributes
    ----------
    loss, grad_norm : of the batch; the means over several steps
    plan_error : L1 marginal error of the batch's worst inner plan, 0 for exact ones; the largest of several
    plan_iterations : of Sinkhorn for the batch's slowest inner plan; the mean over several steps
    """

    loss: Array
    grad_norm: Array
    plan_error: Array
    plan_iterations: float = 0.0


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite."""


def init_state(config: TrainingConfig, setting: Any, /, *, params: Tree | None = None) -> State:
    """Parameters drawn from the seed, or a copy of those that are given, and an empty optimiser."""
    params = flow_of(config).init_params(config, setting) if params is None else _copied(params)
    return State(params, optim.init_adam(params), _copied(params) if config.ema else None, 0)


def _copied(params: Tree) -> Tree:
    return optim.tree_map(lambda leaf: array_namespace(leaf).asarray(leaf, copy=True), params)


def step(
    config: TrainingConfig,
    setting: Any,
    family: Any,
    labels: np.ndarray | None,
    state: State,
    /,
    *,
    ops: Ops = REFERENCE,
    team: Team = ALONE,
) -> tuple[State, Metrics]:
    """One step of training: draw, regress, update.

    Equation: WFM-Alg1. The state handed in must not be used again: a backend may re-use its memory. Of
    several processes each regresses on its share of the batch, of which plan errors and iterations are.
    """
    flow = flow_of(config)
    # Lines 1 to 5
    batch = flow.draw_batch(config, setting, family, labels, state.step, ops=ops, share=team.share)
    # Line 6
    loss, grads = flow.loss_and_grad(config, setting, state.params, batch, ops=ops)
    loss, grads = team.mean({"loss": loss, "grads": grads}, members_in(batch)).values()
    # Line 7
    grads, norm = ops.clip_by_global_norm(grads, config.clip_norm or math.inf)
    rate = learning_rate(config, state.step)
    params, adam = _updated(config, state, grads, rate, ops)
    ema = None
    if state.ema is not None:
        # The first averages would otherwise remember little but the random start.
        ema = ops.ema(state.ema, params, decay=min(config.ema, (1.0 + state.step) / (10.0 + state.step)))
    return State(params, adam, ema, state.step + 1), Metrics(
        loss, norm, batch.plan_error, batch.plan_iterations
    )


def _updated(
    config: TrainingConfig, state: State, grads: Tree, rate: float, ops: Ops
) -> tuple[Tree, optim.AdamState]:
    """Adam on the parts that have gradients; parts that take turns remember only their own steps."""
    params, adam = state.params, state.adam
    assert adam is not None, "a state without an optimiser is not trained"
    if isinstance(config, FlowOptions) and config.optimizer == "muon":
        return muon(params, grads, adam, learning_rate=rate, adam=ops.adam)
    if grads.keys() == params.keys():
        return ops.adam(params, grads, adam, learning_rate=rate)
    first, second, mine = ({name: tree[name] for name in grads} for tree in (adam.first, adam.second, params))
    done = optim.AdamState(first, second, adam.steps * len(grads) // len(params))
    mine, done = ops.adam(mine, grads, done, learning_rate=rate)
    moments = optim.AdamState({**adam.first, **done.first}, {**adam.second, **done.second}, adam.steps + 1)
    return {**params, **mine}, moments


def trained(state: State, /) -> Tree:
    """Parameters that generation uses: their running mean where there is one.

    Equation: none. The part of a state that generates.
    """
    return state.params if state.ema is None else state.ema


def only_trained(state: State, /) -> State:
    """A state's parameters that generation uses, without what training would need to go on.

    Equation: none. The part of a state that generates.
    """
    return State(trained(state), None, None, state.step)


def learning_rate(config: TrainingConfig, step: int, /) -> float:
    """Learning rate of step ``step`` (0 is the first).

    Equation: WFM-Alg1. The paper's falls exponentially from the first step on.
    """
    base, warmup = config.learning_rate, config.warmup
    if config.schedule == "cosine":
        return optim.warm_up_cosine(step, base=base, warm_up=warmup, n_steps=config.steps)
    rate = optim.exponential_decay(step, base=base, rate=config.decay, every=config.decay_every)
    return rate * min(1.0, (step + 1) / max(1, warmup))


def train(
    config: TrainingConfig,
    setting: Any,
    family: Any,
    labels: np.ndarray | None,
    state: State,
    /,
    *,
    ops: Ops = REFERENCE,
    every: int = 50,
    report: Callable[[State, Metrics], None] | None = None,
    due: Callable[[State, Metrics], bool] | None = None,
    team: Team = ALONE,
) -> State:
    """Train to ``config.steps`` steps from wherever ``state`` stands.

    Equation: none. One ``step`` of WFM-Alg1 after the other.

    Parameters
    ----------
    every : int
        Steps between two reports; only then does the host wait for the device.
    report : callable, optional
        ``report(state, metrics)`` with a summary of the steps since the last one: the place for
        progress bars, logs and checkpoints. Called at multiples of ``every`` and after the last step.
    due : callable, optional
        ``due(state, metrics)``, called after each step: whether to report now, too. Of several processes all
        must say the same.
    team : Team
        The processes that train this run together, each of which calls this function with the same arguments.

    Raises
    ------
    NonFiniteLossError
        If a loss is NaN or infinite; the error names the step and the seed. Nothing is reported after that.
    """
    check_integer(every, "every", low=1)
    pending: list[Metrics] = []
    while state.step < config.steps:
        state, metrics = step(config, setting, family, labels, state, ops=ops, team=team)
        pending.append(metrics)
        now = due is not None and due(state, metrics)
        if now or state.step % every == 0 or state.step == config.steps:
            losses = [float(metrics.loss) for metrics in pending]
            norms = [float(metrics.grad_norm) for metrics in pending]
            finite = np.isfinite(losses) & np.isfinite(norms)
            if not np.all(finite):
                first = int(np.argmin(finite))
                failed = state.step - len(losses) + first
                raise NonFiniteLossError(
                    f"the loss became {losses[first]} at step {failed} (seed {config.seed}) and its "
                    f"gradient's norm {norms[first]}; {_advice(config, failed)}"
                )
            plans = np.zeros((1, 2))
            if report is not None or team.share.size > 1:  # of several, all have to ask
                plans = team.largest(np.asarray([[float(m.plan_error), m.plan_iterations] for m in pending]))
            if report is not None:
                worst = np.max(plans[:, 0])  # NaN is the worst
                iterations = float(np.mean(plans[:, 1]))
                means = float(np.mean(losses)), float(np.mean(norms))
                report(state, Metrics(*means, float(worst), iterations))
            pending = []
    return state


def _advice(config: TrainingConfig, step: int) -> str:
    eps = ", or a larger eps," if getattr(config, "eps", None) is not None else ""
    if step > 0:
        return f"a smaller learning_rate or clip_norm{eps} helps"
    return f"nothing was learned yet: data of another scale{eps or ','} or float64 help"
