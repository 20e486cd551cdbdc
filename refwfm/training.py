"""Training of Bures-Wasserstein flow matching (WFM Algorithm 1).

A run is four things: a ``Config`` (what was asked for), a ``Setting`` (what was fitted to the data once:
source, units, network scaling), a family to learn, and a ``State`` that ``step`` maps to the next. The
randomness of step k is keyed by (seed, k), so that step k can be recomputed alone, on any backend.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from refwfm import optim
from refwfm._array import Array, array_namespace, device, like, sq_norm
from refwfm.bures import pairwise_sq_distance
from refwfm.couplings import match_minibatch
from refwfm.generation import Field, Generated, generate
from refwfm.measures import Gaussian, check_gaussian, rescale, take
from refwfm.methods import METHODS
from refwfm.networks import bures_mlp, init_bures_mlp, vech
from refwfm.optim import Tree
from refwfm.sources import GaussianWishart, fit_gaussian_wishart, sample_empirical, sample_gaussian_wishart

SCALING_DRAWS = 4096
"""Points of random geodesics from which the scaling of the network is read off."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a run was asked for; the defaults are the paper's settings (WFM App. E.1) where it states them.

    Attributes
    ----------
    method : str
        A key of ``methods.METHODS``.
    steps, batch : int
    width, depth, n_frequencies, label_dim : int
        Of the two networks: hidden layers ``depth`` x ``width``, Fourier features of time, label embedding.
    learning_rate, decay, decay_every : float, float, int
        The rate is multiplied by ``decay`` every ``decay_every`` steps. (The base rate is not stated.)
    df : int, optional
        Degrees of freedom of the source's Wishart law; 2 d when left out. (Not stated.)
    matching : bool
        Optimal pairing of source and target within each batch (App. C).
    conditional : bool
        Condition on the labels of the family where it has them.
    clip_norm : float
        Bound on the gradient's global norm; 0 turns clipping off.
    ema : float
        Decay of the running mean of the parameters, which generation uses; 0 turns it off.
    seed : int
    """

    method: str = "riemannian"
    steps: int = 100_000
    batch: int = 128
    width: int = 1024
    depth: int = 6
    n_frequencies: int = 16
    label_dim: int = 32
    learning_rate: float = 1e-3
    decay: float = 0.97
    decay_every: int = 1000
    df: int | None = None
    matching: bool = False
    conditional: bool = True
    clip_norm: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            allowed: Any = int | float if kind is float else kind
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                name = getattr(kind, "__name__", kind)
                raise ValueError(f"{field.name} must be of type {name}; got {value!r}")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        for name in ("steps", "batch", "width", "depth", "n_frequencies", "label_dim", "decay_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not self.learning_rate > 0 or not 0 < self.decay <= 1:
            raise ValueError(
                "learning_rate must be positive and decay in (0, 1]; "
                f"got {self.learning_rate} and {self.decay}"
            )
        if self.clip_norm < 0 or not 0 <= self.ema < 1 or self.seed < 0:
            raise ValueError(
                "clip_norm and seed must not be negative and ema must lie in [0, 1); "
                f"got {self.clip_norm}, {self.seed} and {self.ema}"
            )


class Setting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : array, shape (d,); unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate. A
        similarity changes the geometry by nothing but the factor ``unit²`` of squared distances.
    source : GaussianWishart, in these units
    scaling : dict of arrays
        Constants of the network's input and output layers (``networks.bures_mlp``).
    label_counts : numpy.ndarray, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    """

    shift: Array
    unit: float
    source: GaussianWishart
    scaling: dict[str, Array]
    label_counts: np.ndarray


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
    """The loss became NaN or infinite."""


def random_stream(seed: int, stream: str, step: int = 0, /) -> np.random.Generator:
    """Counter-based generator keyed by (seed, purpose, step): any step can be drawn again alone."""
    number = ("init", "scaling", "batch", "generation", "evaluation").index(stream)
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, step]))


def fit_setting(
    config: Config, family: Gaussian, /, *, labels: np.ndarray | None = None, n_labels: int = 0
) -> tuple[Setting, Gaussian]:
    """Fit units, source and network scaling to a family; also return the family in these units.

    Equation: WFM App. D for the source.

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d), in data units
    labels : numpy.ndarray, shape (n,), optional
    n_labels : int
        Number of classes; 0 makes the model unconditional.
    """
    family = check_gaussian(family, "family")
    if family.mean.ndim != 2 or family.mean.shape[0] == 0:
        raise ValueError(f"family must have at least one member, mean (n, d); got {tuple(family.mean.shape)}")
    xp = array_namespace(family.mean)
    shift = xp.mean(family.mean, axis=0)
    variance = xp.mean(sq_norm(family.mean - shift) + xp.linalg.trace(family.cov)) / family.mean.shape[1]
    unit = float(xp.sqrt(variance)) or 1.0
    family = rescale(Gaussian(family.mean - shift, family.cov), 1.0 / unit)
    source = fit_gaussian_wishart(family, df=config.df, validate=False)
    counts = np.zeros(0, dtype=np.int64)
    if config.conditional and labels is not None:
        counts = np.bincount(labels, minlength=n_labels)
    rng = random_stream(config.seed, "scaling")
    mu = sample_gaussian_wishart(source, rng=rng, size=SCALING_DRAWS)
    nu, _ = sample_empirical(family, rng=rng, size=SCALING_DRAWS)
    t = like(rng.random(SCALING_DRAWS), family.mean)
    mu_t, target = METHODS[config.method].path(mu, nu, t, validate=False)
    return Setting(shift, unit, source, fit_scaling(mu_t, target), counts), family


def fit_scaling(mu_t: Gaussian, target: Any, /) -> dict[str, Array]:
    """Constants that bring the network's inputs to mean 0 and deviation 1, and its outputs to their size.

    Parameters
    ----------
    mu_t : Gaussian, mean (n, d), cov (n, d, d)
    target : Tangent or EuclideanTangent, (n, d) and (n, d, d)
    """
    xp = array_namespace(mu_t.mean)
    features = xp.concat([mu_t.mean, vech(mu_t.cov)[0]], axis=-1)
    deviation = xp.std(features, axis=0)
    size = xp.sqrt(xp.mean(features * features, axis=0))
    # A constant feature carries nothing but rounding, which must not be blown up.
    constant = deviation <= 1e-6 * xp.max(size)
    return {
        "input_shift": xp.mean(features, axis=0),
        "input_scale": xp.where(constant, xp.ones_like(deviation), deviation),
        "mean_scale": _root_mean_square(target[0]),
        "matrix_scale": _root_mean_square(vech(target[1])[0]),
    }


def _root_mean_square(values: Array) -> Array:
    xp = array_namespace(values)
    scale = xp.sqrt(xp.mean(values * values, axis=0))
    return xp.where(scale > 0, scale, xp.ones_like(scale))


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
        assert labels is not None
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
            if not np.all(np.isfinite(losses)):
                first = int(np.argmin(np.isfinite(losses)))
                raise NonFiniteLossError(
                    f"the loss became {losses[first]} at step {state.step - len(losses) + first} "
                    f"(seed {config.seed}); a smaller learning_rate or clip_norm helps"
                )
            if report is not None:
                report(state, float(np.mean(losses)), float(np.mean(norms)))
            pending = []
    return state


def learned_field(config: Config, setting: Setting, params: Tree, labels: Array | None = None, /) -> Field:
    """Field ``(mu, t) -> velocity`` of a trained network, for Gaussians in the setting's units."""
    velocity = METHODS[config.method].velocity

    def field(mu: Gaussian, t: Array) -> Any:
        output, _ = bures_mlp(params, setting.scaling, mu, t, labels)
        return velocity(*output)

    return field


def sample(
    config: Config,
    setting: Setting,
    state: State,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None = None,
    observe: Callable[[int, Gaussian], None] | None = None,
) -> tuple[Generated, np.ndarray | None]:
    """Generate new Gaussians, in data units, with the labels they were generated for.

    Equation: WFM Algorithm 2 (Riemannian), or Euler steps with projection (the baselines).

    Parameters
    ----------
    size, n_steps, seed : int
    labels : numpy.ndarray, shape (size,), optional
        Classes to generate, for a conditional model; drawn with the data's frequencies when left out.
    observe : callable, optional
        Called with (k, mu) before the first step and after each; mu is in the setting's units.

    Returns
    -------
    Generated, labels or None
    """
    rng = random_stream(seed, "generation")
    mu = sample_gaussian_wishart(setting.source, rng=rng, size=size)
    counts, wanted = setting.label_counts, None
    if len(counts):
        drawn = rng.choice(len(counts), size=size, p=counts / counts.sum())
        labels = drawn if labels is None else np.asarray(labels)
        if labels.shape != (size,) or labels.min() < 0 or labels.max() >= len(counts):
            raise ValueError(f"labels must be {size} integers from 0 to {len(counts) - 1}")
        wanted = array_namespace(mu.mean).asarray(labels, device=device(mu.mean))
    elif labels is not None:
        raise ValueError("labels were given, but the model is unconditional")
    params = state.params if state.ema is None else state.ema
    result = generate(
        learned_field(config, setting, params, wanted),
        mu,
        n_steps=n_steps,
        step=METHODS[config.method].step,
        observe=observe,
    )
    return Generated(to_data_units(result.gaussian, setting), result.lowest), labels


def to_data_units(mu: Gaussian, setting: Setting, /) -> Gaussian:
    """Undo the setting's shift and unit: law of ``unit x + shift`` for x ~ mu."""
    moved = rescale(mu, setting.unit)
    return Gaussian(moved.mean + setting.shift, moved.cov)
