"""Training of the hypernetwork that predicts pairs of convex potentials: Meta ICNN.

Each step draws pairs of clouds out of a pool, and points of both; what the hypernetwork reads of a cloud was
computed once. Every draw is keyed by the seed and the step, so that a run that is stopped and goes on from
its ``State`` ends in the very same numbers.

References
----------
Amos et al., "Meta optimal transport", 2023, section 4.2 and appendix B.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, check_floating, check_integer, on_device_of
from refwfm.clouds import moments
from refwfm.measures import Gaussian
from refwfm.meta import hypernetwork as networks
from refwfm.meta.icnn import n_parameters
from refwfm.meta.w2gn import CYCLE, PENALTY, init_pair
from refwfm.networks.layers import Params
from refwfm.training.algorithm import NonFiniteLossError
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import AdamState, init_adam, warm_up_cosine
from refwfm.training.randomness import random_stream
from refwfm.training.w2gn import pretrain_identity, sample

if TYPE_CHECKING:
    from numpy.random import Generator

STARTS = {
    "gaussian": "the optimal map between the Gaussians with the clouds' moments, for each pair its own",
    "identity": "a pair of networks that was trained to be the identity: the paper's",
    "random": "a pair of networks as it is drawn",
}
"""What the hypernetwork corrects."""


class Clouds(NamedTuple):
    """Clouds of equally many points, and what is read of them.

    Attributes
    ----------
    points : array, shape (N, n, d)
    features : array, shape (N, F)
        As ``meta.hypernetwork.summary`` returns them.
    moments : Gaussian, mean (N, d), cov (N, d, d)
    """

    points: Array
    features: Array
    moments: Gaussian


class Start(NamedTuple):
    """What the hypernetwork corrects.

    Attributes
    ----------
    kind : str
        A key of ``STARTS``.
    pair : dict
        A pair of networks, without a batch: the start of all problems, or, for ``"gaussian"``, its ridges.
    """

    kind: str
    pair: Params


class State(NamedTuple):
    """What a run has learned: parameters of the hypernetwork, and what Adam remembers."""

    params: Params
    adam: AdamState


def read(points: Array, /) -> Clouds:
    """Clouds with what the hypernetwork and its start read of them.

    Equation: none. What ``meta.hypernetwork.summary`` and ``clouds.moments`` say, together.

    Parameters
    ----------
    points : array, shape (N, n, d)

    Examples
    --------
    >>> read(np.full((5, 7, 3), 0.5)).features.shape
    (5, 73)
    """
    return Clouds(points, networks.summary(points), moments(points))


def take(clouds: Clouds, index: np.ndarray, /) -> Clouds:
    """Clouds of these numbers, in this order.

    Equation: none. Indexing.

    Examples
    --------
    >>> take(read(np.full((5, 7, 3), 0.5)), np.asarray([3, 3])).points.shape
    (2, 7, 3)
    """
    xp = array_namespace(clouds.points)
    at = on_device_of(clouds.points, index)
    mean, cov = (xp.take(part, at, axis=0) for part in clouds.moments)
    points, features = (xp.take(part, at, axis=0) for part in (clouds.points, clouds.features))
    return Clouds(points, features, Gaussian(mean, cov))


def init_start(
    kind: str,
    rng: "Generator",
    d: int = 3,
    /,
    *,
    like: Array,
    width: int = 128,
    pretraining: int = 20_001,
    require: bool = True,
) -> Start:
    """Draw, and for the identity train, what a hypernetwork corrects.

    Parameters
    ----------
    kind : str
        A key of ``STARTS``.
    pretraining : int
        Most steps of ``pretrain_identity``, for ``"identity"``.
    require : bool
        Whether the identity must have been learned by then.

    Raises
    ------
    ValueError
        If there is no such kind.
    NonFiniteLossError, ConvergenceError
        As for ``pretrain_identity``.
    """
    if kind not in STARTS:
        raise ValueError(f"unknown start {kind!r}; there are {', '.join(STARTS)}")
    if kind == "gaussian":
        return Start(kind, networks.init_ridges(rng, d, like=like, width=width))
    pair = init_pair(rng, d, like=like, width=width)
    if kind == "identity":
        pair, _, _ = pretrain_identity(pair, rng=rng, n_steps=pretraining, require=require)
    return Start(kind, pair)


def start_of(start: Start, x: Clouds, y: Clouds, /) -> Params:
    """Pairs of networks that the hypernetwork corrects for these clouds.

    Equation: none. A choice by name.

    Returns
    -------
    dict
        A pair of networks; for ``"gaussian"`` its leading axes are those of the clouds.

    Examples
    --------
    >>> start = init_start("gaussian", np.random.default_rng(0), like=np.zeros(0), width=4)
    >>> x = read(np.full((5, 7, 3), 0.5))
    >>> start_of(start, x, x)["potential"]["hidden"].shape
    (5, 4, 3)
    """
    if start.kind == "gaussian":
        return networks.gaussian_start(x.moments, y.moments, start.pair)
    return start.pair


def predict(params: Params, start: Start, x: Clouds, y: Clouds, /) -> Params:
    """Pairs of potentials of pairs of clouds, at once.

    Equation: none. ``meta.hypernetwork.predict`` from a start by name.

    Parameters
    ----------
    params : dict
        Of the hypernetwork.
    start : Start
        The one it was trained with.
    x, y : Clouds

    Returns
    -------
    dict
        ``potential`` and ``conjugate``; the leading axis is that of the clouds.

    Examples
    --------
    >>> rng, x = np.random.default_rng(0), read(np.full((5, 7, 3), 0.5))
    >>> start = init_start("random", rng, like=x.points, width=4)
    >>> state = init_state(rng, x, start, width=8)
    >>> predict(state.params, start, x, x)["potential"]["hidden"].shape
    (5, 4, 3)
    """
    return networks.predict(params, x.features, y.features, start_of(start, x, y))[0]


def init_state(rng: "Generator", clouds: Clouds, start: Start, /, *, width: int = 512) -> State:
    """Draw a hypernetwork that reads such clouds and corrects such a start; at first it corrects nothing."""
    ridges, d = start.pair["potential"]["hidden"].shape[-2:]
    params = networks.init_hypernetwork(
        rng, clouds.features.shape[-1], n_parameters(d, ridges), like=clouds.points, width=width
    )
    return State(params, init_adam(params))


def train(
    state: State,
    clouds: Clouds,
    start: Start,
    /,
    *,
    seed: int,
    n_steps: int,
    until: int | None = None,
    meta_batch: int = 8,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    warm_up: int = 5000,
    max_norm: float = 1.0,
    cycle: float = CYCLE,
    penalty: float = PENALTY,
    ops: Ops = REFERENCE,
    every: int = 50,
    report: Callable[[State, float], None] | None = None,
) -> State:
    """Train the hypernetwork on pairs of clouds out of a pool, from wherever ``state`` stands.

    Equation: META-OT-13. Adam on ``E L(φ_θ(α, β); α, β)``, α and β drawn independently, gradients clipped,
    the rate rising for ``warm_up`` steps and then falling to 0 along a cosine.

    Parameters
    ----------
    state : State
        Must not be used again: a backend may re-use its memory.
    clouds : Clouds
    start : Start
    seed : int
        Of the draws; a step's depend on it and on the number of the step alone.
    n_steps : int
        Where the learning rate reaches 0.
    until : int, optional
        Stop after this step: a later call goes on. ``n_steps`` when left out.
    meta_batch, batch_size : int
        Pairs of clouds in a step, and points drawn of each cloud.
    max_norm : float
        Of the gradient.
    every : int
        Steps between two reports; only then does the host wait for the device.
    report : callable, optional
        ``report(state, loss)`` with the mean loss since the last one.

    Raises
    ------
    TypeError, ValueError
        If an argument is no such thing.
    NonFiniteLossError
        If a loss is NaN or infinite; nothing is reported after that.
    """
    check_floating(clouds=clouds.points)
    n_steps = check_integer(n_steps, "n_steps", low=1)
    last = n_steps if until is None else check_integer(until, "until", low=0)
    if last > n_steps:
        raise ValueError(f"until must be at most n_steps = {n_steps}; got {last}")
    every = check_integer(every, "every", low=1)
    meta_batch = check_integer(meta_batch, "meta_batch", low=1)
    pending: list[Array] = []
    for step in range(state.adam.steps, last):
        rng = random_stream(seed, "batch", step)
        x, y = (take(clouds, i) for i in rng.integers(0, clouds.points.shape[0], (2, meta_batch)))
        loss, grads = networks.loss_and_grad(
            state.params,
            x.features,
            y.features,
            start_of(start, x, y),
            *(sample(each.points, batch_size, rng=rng) for each in (x, y)),
            cycle=cycle,
            penalty=penalty,
        )
        grads, _ = ops.clip_by_global_norm(grads, max_norm)
        rate = warm_up_cosine(step, base=learning_rate, warm_up=warm_up, n_steps=n_steps)
        state = State(*ops.adam(state.params, grads, state.adam, learning_rate=rate))
        pending.append(loss)
        if (step + 1) % every == 0 or step + 1 == last:
            losses = np.asarray([float(each) for each in pending])
            if not np.all(np.isfinite(losses)):
                first = int(np.argmin(np.isfinite(losses)))
                raise NonFiniteLossError(
                    f"the loss became {losses[first]} at step {step + 1 - len(losses) + first} "
                    f"(seed {seed}); a smaller learning_rate or max_norm helps"
                )
            if report is not None:
                report(state, float(np.mean(losses)))
            pending = []
    return state
