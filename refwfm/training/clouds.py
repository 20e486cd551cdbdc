"""A flow between point clouds: what a batch of a training step is.

What is fitted once is in ``cloud_setting``, which network and loss in ``cloud_network``, what a trained
network does in ``cloud_generation``.
"""

from typing import Any

import numpy as np

from refwfm._array import Array, array_namespace, device, like
from refwfm.couplings import outer
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud, take
from refwfm.sources.clouds import prefix_weights
from refwfm.training.alignment import Clouds
from refwfm.training.cloud_generation import learned_field, learned_straightness, sample
from refwfm.training.cloud_network import init_params, loss_and_grad
from refwfm.training.cloud_setting import (
    CloudSetting,
    Families,
    arrays_of,
    draw_source,
    pack,
    prepare,
    to_data_units,
    to_model_units,
    unpack,
)
from refwfm.training.config import CloudConfig
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.randomness import random_stream
from refwfm.training.regression import CloudBatch
from refwfm.transport.linearized import align
from refwfm.transport.plans import Pairs

__all__ = [
    "CloudSetting",
    "Clouds",
    "Families",
    "arrays_of",
    "draw_batch",
    "draw_source",
    "init_params",
    "learned_field",
    "learned_straightness",
    "loss_and_grad",
    "pack",
    "prepare",
    "sample",
    "to_data_units",
    "to_model_units",
    "unpack",
]


def draw_batch(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops = REFERENCE,
) -> CloudBatch:
    """Random sources, targets and times of step ``step``, and the paths' points and velocities there.

    Equation: WFM Algorithm 1, with WFM-4 and WFM-7 for clouds; GWFM-26 to 29. Draw targets and sources, pair
    them by the outer plan, pair their points by the inner plan, and go to a random time on straight lines.

    Parameters
    ----------
    labels : numpy.ndarray, shape (N,), or None
        Of the target family.
    """
    rng = random_stream(config.seed, "batch", step)
    index = rng.integers(len(family.target), size=config.batch)
    nu = to_model_units(family.target.batch(index, n_points=config.n_points, rng=rng), setting)
    counts = np.minimum(family.target.sizes[index], nu.points.shape[1])
    mu = _draw_sources(config, setting, family, index, counts, rng)
    if "linear" in (config.outer, config.inner) and family.source is None:  # a family has been aligned once
        mu = PointCloud(align(setting.reference, mu, validate=False), mu.weights)
    shown = None
    if len(setting.label_counts):
        assert labels is not None  # prepare counted them
        hidden = rng.random(config.batch) < config.label_drop
        shown = np.where(hidden, len(setting.label_counts), labels[index])
    if config.outer in outer.COSTS:
        pairs = _outer_pairs(config, mu, nu, shown, rng, ops)
        mu = take(mu, pairs.source) if config.replace else mu
        nu, counts = take(nu, pairs.target), counts[pairs.target]  # of the same labels
    if config.source != "family" and config.source_size == "partner":
        mu = _cut(mu, counts)
    moved = outer.couple(
        mu,
        nu,
        _inner(config, setting, family),
        rng=rng,
        solve=_solver(config, ops),
        n_proj=config.n_proj,
        replace=config.replace,
    )
    t = like(rng.random(config.batch), setting.shift)
    drawn = None if shown is None else array_namespace(t).asarray(shown, device=device(t))
    return CloudBatch(
        displacement(moved.x, moved.y, t),
        moved.weights,
        displacement_velocity(moved.x, moved.y),
        t,
        drawn,
        moved.error,
    )


def _outer_pairs(
    config: CloudConfig,
    mu: PointCloud,
    nu: PointCloud,
    shown: np.ndarray | None,
    rng: np.random.Generator,
    ops: Ops,
) -> Pairs:
    """Which source goes with which target of the same label. Equation: WFM App. C, GWFM-107."""
    cost = outer.outer_cost(
        mu, nu, config.outer, rng=rng, n_proj=config.n_proj, cost=ops.pairwise_sq_distance
    )
    return outer.outer_pairs(cost, rng=rng, replace=config.replace, eps=config.outer_eps, groups=shown)


def _draw_sources(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    index: np.ndarray,
    counts: np.ndarray,
    rng: np.random.Generator,
) -> PointCloud:
    """Sources of a step: members of a family, or as many points as the largest target has or the data say."""
    if family.source is None:
        sizes = np.full_like(counts, counts.max())
        if config.source_size == "data":
            sizes = rng.choice(setting.sizes, size=len(counts))
        return draw_source(config, setting, rng, sizes)
    if config.outer != "paired":
        index = rng.integers(len(family.source), size=len(index))
    return to_model_units(family.source.batch(index, n_points=config.n_points, rng=rng), setting)


def _cut(cloud: PointCloud, counts: np.ndarray) -> PointCloud:
    """The first ``counts[i]`` points of each cloud: of independent points, so many independent points."""
    n = int(counts.max())
    weights = like(prefix_weights(counts, n), cloud.points)
    xp = array_namespace(weights)
    return PointCloud(xp.where((weights > 0)[..., None], cloud.points[:, :n, :], 0.0), weights)


def _inner(config: CloudConfig, setting: CloudSetting, family: Families) -> str:
    """Name of the inner plan: what ``auto`` stands for. Equation: WFM App. E.2."""
    if config.inner != "auto":
        return config.inner
    if family.source is None:
        equal = config.source_size == "partner" or len(np.unique(setting.sizes)) == 1
    else:
        most = config.n_points or family.source.sizes.max()
        equal = len(np.unique(np.append(setting.sizes, np.minimum(family.source.sizes, most)))) == 1
    return "rounded" if equal else "entropic"


def _solver(config: CloudConfig, ops: Ops) -> outer.Solver:
    """Sinkhorn as the configuration wants it: ``(cost, a, b) -> Sinkhorn``."""
    scale = None if config.scale_cost == "none" else config.scale_cost

    def solve(cost: Array, a: Array, b: Array) -> Any:
        return ops.sinkhorn(
            cost,
            a,
            b,
            eps=config.eps,
            scale_cost=scale,
            tol=None,
            max_iter=config.sinkhorn_steps,
            require=False,
            validate=False,
        )

    return solve
