"""What a semidiscrete plan between clouds compares sources with: the members of the family, by label."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, on_device_of, to_host
from refwfm.bures import pairwise_sq_distance
from refwfm.clouds import moments
from refwfm.couplings.members import Lifted, gaussian_costs, lift, lifted_costs, vectors_of
from refwfm.measures import Gaussian, PointCloud
from refwfm.training.alignment import Progress
from refwfm.training.cloud_fit import Families
from refwfm.training.cloud_setting import CloudSetting, to_model_units
from refwfm.training.config import CloudConfig
from refwfm.training.randomness import random_stream
from refwfm.training.semidiscrete import BATCH, check_fit, fit_outer, parts_of
from refwfm.transport.semidiscrete import Columns
from refwfm.transport.sliced import random_directions

AT_ONCE = 1024
"""Clouds that are looked at together."""


class Members(NamedTuple):
    """Members of one label: vectors, or Gaussians of the same moments, and directions of sorted vectors."""

    seen: Lifted | Gaussian
    theta: Array | None


def costs_of(mu: PointCloud, members: Members, /, *, cost: Callable[..., Array]) -> Columns:
    """Costs of source clouds with all members: a function of blocks.

    Equation: none. Wiring of a run.
    """
    if isinstance(members.seen, Gaussian):
        return gaussian_costs(moments(*mu), members.seen, cost=cost)
    return lifted_costs(vectors_of(mu, members.theta), members.seen)


def fit_clouds(
    config: CloudConfig,
    setting: CloudSetting,
    family: Families,
    draw_sources: Callable[[np.random.Generator, int], PointCloud],
    /,
    *,
    progress: Progress | None = None,
) -> tuple[CloudSetting, Families]:
    """Setting with the fitted plan, and families with the members that it compares sources with.

    Equation: none. Wiring of a run.

    Raises
    ------
    ValueError
        If the model is conditioned on numbers, or clouds of several sizes are to be vectors.
    """
    check_fit(setting.conditions)
    theta = None
    if config.member_cost == "sliced":
        rng = random_stream(config.seed, "outer", 2**32)
        theta = random_directions(setting.like[None, ...], rng=rng, n_proj=config.n_proj)
    parts = parts_of(family.target.labels, setting.label_counts, len(family.target))
    seen = _seen(config, setting, family, theta)
    xp = array_namespace(seen[0])
    members = []
    for part in parts:
        index = on_device_of(seen[0], part)
        mine = [xp.take(each, index, axis=0) for each in seen]
        members.append(Members(Gaussian(*mine) if len(seen) == 2 else lift(mine[0]), theta))

    def costs(k: int, rng: np.random.Generator) -> Columns:
        return costs_of(draw_sources(rng, BATCH), members[k], cost=pairwise_sq_distance)

    law = [config.source, config.sigma, config.noise_mean, config.noise_low, config.noise_high]
    words: list[Any] = [*law, config.member_cost, config.source_size]
    key = [setting.source.mean, setting.source.std, *seen]
    key += [part for part in (setting.reference, theta) if part is not None]
    told = np.frombuffer(repr(words).encode(), dtype=np.uint8)
    plan = fit_outer(
        config,
        parts,
        costs,
        setting.like,
        seed=config.seed,
        key=(told, setting.sizes, *map(to_host, key)),
        progress=progress,
    )
    return setting._replace(outer=plan), family._replace(members=tuple(members))


def _seen(
    config: CloudConfig, setting: CloudSetting, family: Families, theta: Array | None
) -> tuple[Array, ...]:
    """What the plan's cost sees of all members: vectors, or means and covariances."""
    blocks = []
    for some in np.array_split(np.arange(len(family.target)), 1 + len(family.target) // AT_ONCE):
        n_points = None if config.member_cost == "frechet" else config.n_points
        rng = random_stream(config.seed, "outer", 2**32 + 1)
        cloud = to_model_units(family.target.batch(some, n_points=n_points, rng=rng), setting)
        try:
            blocks.append(moments(*cloud) if config.member_cost == "frechet" else (vectors_of(cloud, theta),))
        except ValueError as error:
            raise ValueError(f"outer_cost = {config.member_cost!r}: {error}") from None
    xp = array_namespace(blocks[0][0])
    return tuple(xp.concat(parts) for parts in zip(*blocks, strict=True))
