"""A model of Gaussians: its parameters, a step's batch, how a trained network generates.

The module is a ``flows.Flow``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, asarray_like, to_host
from refwfm.bures import Tangent
from refwfm.couplings.members import gaussian_costs
from refwfm.couplings.outer import match_minibatch
from refwfm.couplings.rectified import RectifiedPairs, rectified_pairs
from refwfm.generation import Field, Generated, bound_velocity, generate
from refwfm.measures import Gaussian, take
from refwfm.networks import bures_mlp, init_bures_mlp
from refwfm.sources.gaussians import (
    GaussianWishart,
    sample_empirical,
    sample_gaussian_wishart,
)
from refwfm.training.conditions import (
    fit_conditions,
    network_sizes,
    on_backend,
    pack_conditions,
    shown_to_network,
    unpack_conditions,
    wanted_conditions,
)
from refwfm.training.config import GaussianConfig
from refwfm.training.gaussian_fit import GaussianSetting, fit_setting, rounded, to_data_units
from refwfm.training.methods import METHODS
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream
from refwfm.training.rectified import drawn_pairs
from refwfm.training.regression import GaussianBatch
from refwfm.training.semidiscrete import (
    SEMIDISCRETE,
    assigned,
    check_fit,
    groups_of,
    pack_outer,
    parts_of,
    unpack_outer,
)
from refwfm.training.team import ALONE, Share, part_of
from refwfm.transport.semidiscrete import Columns

AT_ONCE = 512
"""Gaussians that are moved at once to make pairs."""


class Paired(NamedTuple):
    """Sources and targets in pairs, times (B,), and what the network is shown: lines 1 to 4."""

    mu: Gaussian
    nu: Gaussian
    t: Array
    shown: np.ndarray | None


def prepare(
    config: GaussianConfig,
    data: Any,
    source: Any,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[GaussianSetting, Gaussian]:
    """Fit the setting to a family of Gaussians, in float64, and bring both to a backend; see ``fit_setting``.

    Equation: none. Wiring of a run. There is no source family.
    """
    if source is not None:
        raise ValueError("source: flows between two families are for point clouds")
    conditions = fit_conditions(data, conditional=config.conditional)
    if config.outer == SEMIDISCRETE:
        check_fit(conditions)
    labels, n_labels = data.labels, len(data.label_names)
    fitted = fit_setting(config, data.gaussians, labels=labels, n_labels=n_labels, progress=progress)
    setting, family = rounded(*fitted, asarray)
    return setting._replace(conditions=conditions), family


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of Gaussians.

    Equation: none. Wiring of a run.
    """
    return (*data.gaussians, data.labels, getattr(data, "conditions", None))


def init_params(config: GaussianConfig, setting: GaussianSetting, /) -> Tree:
    """Random parameters of the two networks, drawn from the seed."""
    return init_bures_mlp(
        random_stream(config.seed, "init"),
        setting.shift.shape[0],
        like=setting.shift,
        width=config.width,
        depth=config.depth,
        n_frequencies=config.n_frequencies,
        n_state=config.state_features,
        label_dim=config.label_dim,
        **network_sizes(setting),
    )


def draw_batch(
    config: GaussianConfig,
    setting: GaussianSetting,
    family: Gaussian | RectifiedPairs,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops = REFERENCE,
    share: Share = ALONE.share,
) -> GaussianBatch:
    """Random sources, targets and times of step ``step``, and the geodesics' points and velocities there.

    Equation: WFM-Alg1, WFM-REFLOW. With WFM-8 and WFM-10 (the paper refers to WFM-9, another quantity).

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d), or RectifiedPairs on the host; in the setting's units
    labels : numpy.ndarray, shape (n,), or None
        Those of pairs are their own.
    share : Share
        All is drawn and paired; points and velocities are those of this share.
    """
    rng = random_stream(config.seed, "batch", step)
    if isinstance(family, RectifiedPairs):
        source, target, shown = drawn_pairs(family, config.batch, rng=rng)
        mu, nu = (Gaussian(*(asarray_like(x, setting.shift) for x in each)) for each in (source, target))
        times = asarray_like(config.times(rng), setting.shift)
        return _on_paths(config, part_of(Paired(mu, nu, times, shown), share), ops)
    # Line 1: sources and targets. Line 4: times.
    mu = sample_gaussian_wishart(setting.source, rng=rng, size=config.batch)
    nu, index = sample_empirical(family, rng=rng, size=config.batch)
    t = asarray_like(config.times(rng), family.mean)
    # Line 2: which source goes with which target, within labels. Line 3: their optimal map has closed form.
    if config.outer == SEMIDISCRETE:
        index = _assigned(setting, family, labels, mu, index, ops)
        nu = take(family, index)
    groups = labels[index] if len(setting.label_counts) and labels is not None else None
    values = None if setting.conditions is None else setting.conditions.values[index]
    if config.matching:
        order = match_minibatch(mu, nu, cost=ops.pairwise_sq_distance, groups=groups)
        nu, values = take(nu, order), None if values is None else values[order]
    paired = Paired(mu, nu, t, shown_to_network(setting, groups, values))
    return _on_paths(config, part_of(paired, share), ops)


def _on_paths(config: GaussianConfig, paired: Paired, ops: Ops) -> GaussianBatch:
    """Line 5: the points of the geodesics and the velocities there."""
    mu, nu, t, shown = paired
    path = METHODS[config.method].path
    mu_t, target = (ops.path if path is REFERENCE.path else path)(mu, nu, t, validate=False)
    return GaussianBatch(mu_t, target, t, on_backend(shown, t))


def _assigned(
    setting: GaussianSetting,
    family: Gaussian,
    labels: np.ndarray | None,
    mu: Gaussian,
    index: np.ndarray,
    ops: Ops,
) -> np.ndarray:
    """Members that sources go to, among those of the labels of the members that were drawn."""
    if setting.outer is None:
        raise ValueError("the setting was fitted without outer = 'semidiscrete'; fit it again")
    parts = parts_of(labels, setting.label_counts, family.mean.shape[0])

    def costs(k: int, positions: np.ndarray) -> Columns:
        return gaussian_costs(take(mu, positions), take(family, parts[k]), cost=ops.pairwise_sq_distance)

    return assigned(setting.outer, parts, groups_of(labels, setting.label_counts, index), costs)


def loss_and_grad(
    config: GaussianConfig, setting: GaussianSetting, params: Tree, batch: GaussianBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters.

    Equation: none. Wiring of a run.
    """
    return ops.gaussian_loss_and_grad(params, setting.scaling, batch, method=config.method)


def learned_field(
    config: GaussianConfig, setting: GaussianSetting, params: Tree, labels: Array | None = None, /
) -> Field:
    """Field ``(mu, t) -> velocity`` of a trained network, for Gaussians in the setting's units.

    Equation: none. Wiring of a run.
    """
    velocity = METHODS[config.method].velocity

    def field(mu: Gaussian, t: Array) -> Any:
        output, _ = bures_mlp(params, setting.scaling, mu, t, labels)
        v = velocity(*output)
        return bound_velocity(v, t) if config.bounded_lifts and isinstance(v, Tangent) else v

    return field


def sample(
    config: GaussianConfig,
    setting: GaussianSetting,
    params: Tree,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None = None,
    conditions: np.ndarray | None = None,
    method: str = "euler",
    times: str = "uniform",
    block: int = 0,
    observe: Callable[[int, Gaussian], None] | None = None,
) -> tuple[Generated, np.ndarray | None]:
    """Generate new Gaussians, in data units, with the labels they were generated for.

    Equation: none. Generates by WFM-Alg2, or by Euler steps with projection (the baselines).

    Parameters
    ----------
    size, n_steps, seed : int
    labels : numpy.ndarray, shape (size,), optional
        Classes to generate, for a conditional model; drawn with the data's frequencies when left out.
    conditions : numpy.ndarray, shape (size, c), optional
        At which to generate; those of training members when left out.
    method, times : str
        See ``generation.generate``.
    block : int
        Which draws of this seed: each number has its own.
    observe : callable, optional
        Called with (k, mu) before the first step and after each; mu is in the setting's units.

    Returns
    -------
    Generated, labels or None
    """
    rng = random_stream(seed, "generation", 2 * block)
    mu = sample_gaussian_wishart(setting.source, rng=rng, size=size)
    labels, conditions = wanted_conditions(setting, labels, conditions, size, rng=rng)
    wanted = on_backend(shown_to_network(setting, labels, conditions), mu.mean)
    result = generate(
        learned_field(config, setting, params, wanted),
        mu,
        n_steps=n_steps,
        step=METHODS[config.method].step,
        method=method,
        times=times,
        observe=observe,
    )
    return Generated(to_data_units(result.gaussian, setting), result.lowest), labels


def pairs(
    config: GaussianConfig,
    setting: GaussianSetting,
    params: Tree,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    block: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RectifiedPairs:
    """Pairs of sources and of where a trained network takes them, on the host, in the setting's units.

    Equation: WFM-REFLOW. Labels and conditions are drawn as in training.

    Parameters
    ----------
    size, n_steps, seed : int
    block : int
        Which draws of this seed: each number has its own.
    progress : callable, optional
        Called with (pairs made, in all).
    """
    rng, step = random_stream(seed, "rectified", 2 * block), METHODS[config.method].step
    shown = shown_to_network(setting, *wanted_conditions(setting, None, None, size, rng=rng))
    ends: tuple[list[Gaussian], list[Gaussian]] = [], []
    for start in range(0, size, AT_ONCE):
        part = slice(start, min(start + AT_ONCE, size))
        mu = sample_gaussian_wishart(setting.source, rng=rng, size=part.stop - start)
        wanted = on_backend(None if shown is None else shown[part], mu.mean)
        field = learned_field(config, setting, params, wanted)
        for each, end in zip(ends, rectified_pairs(field, mu, n_steps=n_steps, step=step)[:2], strict=True):
            each.append(Gaussian(*map(to_host, end)))
        if progress is not None:
            progress(part.stop, size)
    source, target = (Gaussian(*map(np.concatenate, zip(*each, strict=True))) for each in ends)
    return RectifiedPairs(source, target, shown)


def pack(setting: GaussianSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers.

    Equation: none. Wiring of a run.
    """
    source = setting.source
    arrays = {
        "shift": setting.shift,
        "scaling": setting.scaling,
        "source": {"mean": source.mean, "std": source.std, "root": source.root},
        "label_counts": setting.label_counts,
    }
    values, numbers = pack_conditions(setting.conditions)
    plan, evidence = pack_outer(setting.outer)
    return {**arrays, **values, **plan}, {"unit": setting.unit, "df": source.df, **numbers, **evidence}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> GaussianSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    source = GaussianWishart(**arrays["source"], df=numbers["df"])
    return GaussianSetting(
        arrays["shift"],
        numbers["unit"],
        source,
        arrays["scaling"],
        arrays["label_counts"],
        unpack_conditions(arrays, numbers),
        unpack_outer(arrays, numbers),
    )
