"""A model of point clouds: the batch of a training step, and what else makes the module a ``flows.Flow``.

What is kept of the data is in ``cloud_setting`` and fitted in ``cloud_fit``, networks are in
``cloud_network``, sources in ``noise``, and what a trained network does in ``cloud_generation``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like
from refwfm.couplings.costs import COSTS, outer_cost
from refwfm.couplings.inner import Coupled, Solver, couple
from refwfm.couplings.outer import outer_pairs
from refwfm.couplings.rectified import RectifiedPairs
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud, take
from refwfm.sources.clouds import prefix_weights
from refwfm.training import cloud_fit
from refwfm.training.alignment import Clouds, Progress
from refwfm.training.cloud_fit import Families, arrays_of
from refwfm.training.cloud_members import costs_of, fit_clouds
from refwfm.training.cloud_network import init_params, loss_and_grad
from refwfm.training.cloud_setting import CloudSetting, pack, to_model_units, unpack
from refwfm.training.conditions import hide, on_backend, shown_to_network
from refwfm.training.config import CloudConfig
from refwfm.training.inner_start import fit_start, start_of
from refwfm.training.noise import FAMILY, draw_source
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.randomness import random_stream
from refwfm.training.rectified import drawn_pairs
from refwfm.training.regression import CloudBatch
from refwfm.training.semidiscrete import SEMIDISCRETE, assigned, groups_of, parts_of
from refwfm.training.team import ALONE, Share, members, part_of
from refwfm.transport.linearized import align

__all__ = [
    "arrays_of",
    "draw_batch",
    "init_params",
    "loss_and_grad",
    "pack",
    "prepare",
    "unpack",
]


def prepare(
    config: CloudConfig,
    data: Clouds,
    source: Clouds | None,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Progress | None = None,
) -> tuple[CloudSetting, Families]:
    """``cloud_fit.prepare``; then fit a semidiscrete outer plan, and train the network that predicts starts.

    Equation: none. Wiring of a run.
    """
    setting, family = cloud_fit.prepare(config, data, source, asarray, progress=progress)
    if config.outer == SEMIDISCRETE:

        def draw_sources(rng: np.random.Generator, size: int) -> PointCloud:
            return _whole_sources(config, setting, family, size, rng)

        setting, family = fit_clouds(config, setting, family, draw_sources, progress=progress)
    if config.inner_start == "amortised":

        def draw(rng: np.random.Generator) -> tuple[PointCloud, PointCloud]:
            mu, nu, _ = _draw_pairs(config, setting, family, data.labels, rng, REFERENCE)
            return mu, nu

        setting = setting._replace(start=fit_start(config, setting, draw, progress=progress))
    return setting, family


def draw_batch(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families | RectifiedPairs,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops = REFERENCE,
    share: Share = ALONE.share,
) -> CloudBatch:
    """Random sources, targets and times of step ``step``, and the paths' points and velocities there.

    Equation: WFM-Alg1-clouds, GWFM-38-step, WFM-REFLOW. With WFM-4, WFM-7, and GWFM-26 to GWFM-29.

    Parameters
    ----------
    family : Families, or RectifiedPairs on the host, in the setting's units
    labels : numpy.ndarray, shape (N,), or None
        Labels of the target family; those of pairs are their own.
    share : Share
        All is drawn and paired; inner plans, points and velocities are those of this share.
    """
    rng = random_stream(config.seed, "batch", step)
    if isinstance(family, RectifiedPairs):
        mu, nu, shown = drawn_pairs(family, config.batch, rng=rng)
        x, y, weights = (asarray_like(part, setting.like) for part in (mu.points, nu.points, mu.weights))
        moved = part_of(Coupled(x, y, weights, np.zeros(())), share)
        return _on_paths(config, setting, moved, shown, rng, share)
    # Lines 1 and 2
    mu, nu, shown = _draw_pairs(config, setting, family, labels, rng, ops)
    # Line 3: the inner plan, which point goes where.
    moved = couple(
        mu,
        nu,
        _inner_plan(config, setting, family),
        rng=rng,
        solve=_solver(config, ops),
        n_proj=config.n_proj,
        replace=config.replace,
        start=start_of(config, setting),
        members=members(share, config.batch),
    )
    return _on_paths(config, setting, moved, shown, rng, share)


def _on_paths(
    config: CloudConfig,
    setting: CloudSetting,
    moved: Coupled,
    shown: np.ndarray | None,
    rng: np.random.Generator,
    share: Share,
) -> CloudBatch:
    """Lines 4 and 5: a time, and the points and velocities of the paths at it."""
    mine = members(share, config.batch)
    t, shown = asarray_like(config.times(rng)[mine], setting.like), None if shown is None else shown[mine]
    x_t = displacement(moved.x, moved.y, t, validate=False)
    velocity = displacement_velocity(moved.x, moved.y)
    return CloudBatch(x_t, moved.weights, velocity, t, on_backend(shown, t), moved.error, moved.n_iter)


def _draw_pairs(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    labels: np.ndarray | None,
    rng: np.random.Generator,
    ops: Ops,
) -> tuple[PointCloud, PointCloud, np.ndarray | None]:
    """Sources and targets in pairs, and what the network is shown of them: labels or conditions."""
    # Line 1: targets, their sizes, and sources.
    index = rng.integers(len(family.target), size=config.batch)
    if config.outer == SEMIDISCRETE:
        return _assigned_pairs(config, setting, family, labels, index, rng, ops)
    nu = to_model_units(family.target.batch(index, n_points=config.n_points, rng=rng), setting)
    sizes = np.minimum(family.target.sizes[index], nu.points.shape[1])
    mu = _draw_sources(config, setting, family, index, sizes, rng)
    labels, values = _shown(config, setting, labels, index, rng)
    # Line 2: the outer plan, which source goes with which target.
    mu, nu, order = _pair(config, mu, nu, labels, rng, ops)
    if config.source != FAMILY and config.source_size == "partner":
        mu = _cut(mu, sizes[order])
    return mu, nu, shown_to_network(setting, labels, None if values is None else values[order])


def _assigned_pairs(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    labels: np.ndarray | None,
    index: np.ndarray,
    rng: np.random.Generator,
    ops: Ops,
) -> tuple[PointCloud, PointCloud, np.ndarray | None]:
    """Sources, and the members they go to among those of the labels of the members that were drawn."""
    if setting.outer is None:
        raise ValueError("the setting was fitted without outer = 'semidiscrete'; prepare it again")
    mu = _whole_sources(config, setting, family, config.batch, rng)
    parts = parts_of(labels, setting.label_counts, len(family.target))
    groups = groups_of(labels, setting.label_counts, index)
    index = assigned(
        setting.outer,
        parts,
        groups,
        lambda k, mine: costs_of(take(mu, mine), family.members[k], cost=ops.pairwise_sq_distance),
    )
    nu = to_model_units(family.target.batch(index, n_points=config.n_points, rng=rng), setting)
    if config.source_size == "partner":
        mu = _cut(mu, np.minimum(family.target.sizes[index], nu.points.shape[1]))
    classes, values = _shown(config, setting, labels, index, rng)
    return mu, nu, shown_to_network(setting, classes, values)


def _whole_sources(
    config: CloudConfig, setting: CloudSetting, family: Families, size: int, rng: np.random.Generator
) -> PointCloud:
    """Sources that do not know their partners, of as many points as the largest target has."""
    most = np.full(size, setting.sizes.max())
    return _draw_sources(config, setting, family, most, most, rng)


def _draw_sources(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    index: np.ndarray,
    sizes: np.ndarray,
    rng: np.random.Generator,
) -> PointCloud:
    """Sources of a step: members of a family, or noise of as many points as the largest target has.

    For ``linear`` plans noise is aligned at each step, a family once (GWFM-38).
    """
    if family.source is not None:
        if config.outer != "paired":
            index = rng.integers(len(family.source), size=len(index))
        return to_model_units(family.source.batch(index, n_points=config.n_points, rng=rng), setting)
    wanted = np.full_like(sizes, sizes.max())
    if config.source_size == "data":
        wanted = rng.choice(setting.sizes, size=len(sizes))
    mu = draw_source(config, setting, rng, wanted)
    if "linear" in config.plans:
        mu = PointCloud(align(setting.reference, mu, validate=False), mu.weights)
    return mu


def _shown(
    config: CloudConfig,
    setting: CloudSetting,
    labels: np.ndarray | None,
    index: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels (B,) and conditions (B, c) of targets, or None; hidden: the class after the last, and NaN."""
    n_labels, known = len(setting.label_counts), setting.conditions
    if (not n_labels or labels is None) and known is None:
        return None, None
    hidden = rng.random(len(index)) < config.label_drop
    values = None if known is None else known.values[index]
    return hide(setting, None if not n_labels or labels is None else labels[index], values, hidden)


def _pair(
    config: CloudConfig,
    mu: PointCloud,
    nu: PointCloud,
    labels: np.ndarray | None,
    rng: np.random.Generator,
    ops: Ops,
) -> tuple[PointCloud, PointCloud, np.ndarray]:
    """Sources and targets in pairs of the outer plan, within labels (GWFM-107); positions of the targets."""
    if config.outer not in COSTS:
        return mu, nu, np.arange(config.batch)
    cost = outer_cost(mu, nu, config.outer, rng=rng, n_proj=config.n_proj, cost=ops.pairwise_sq_distance)
    pairs = outer_pairs(cost, rng=rng, replace=config.replace, eps=config.outer_eps, groups=labels)
    mu = take(mu, pairs.source) if config.replace else mu
    return mu, take(nu, pairs.target), pairs.target


def _cut(cloud: PointCloud, sizes: np.ndarray) -> PointCloud:
    """The first ``sizes[i]`` points of each cloud, which are independent if all are."""
    n = int(sizes.max())
    weights = asarray_like(prefix_weights(sizes, n), cloud.points)
    xp = array_namespace(weights)
    return PointCloud(xp.where((weights > 0)[..., None], cloud.points[:, :n, :], 0.0), weights)


def _inner_plan(config: CloudConfig, setting: CloudSetting, family: Families) -> str:
    """Name of the inner plan, with ``auto`` resolved (WFM App. E.2)."""
    if config.inner != "auto":
        return config.inner
    if family.source is None:
        equal = config.source_size == "partner" or len(np.unique(setting.sizes)) == 1
    else:
        most = config.n_points or family.source.sizes.max()
        equal = len(np.unique(np.append(setting.sizes, np.minimum(family.source.sizes, most)))) == 1
    return "rounded" if equal else "entropic"


def _solver(config: CloudConfig, ops: Ops) -> Solver:
    """Sinkhorn as the configuration wants it: ``(cost, a, b) -> Sinkhorn``."""
    return partial(
        ops.sinkhorn,
        eps=config.eps,
        scale_cost=None if config.scale_cost == "none" else config.scale_cost,
        tol=config.inner_tol or None,
        max_iter=config.sinkhorn_steps,
        require=False,
        validate=False,
    )
