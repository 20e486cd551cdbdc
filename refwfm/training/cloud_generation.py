"""What a trained network over clouds gives: its field, new clouds, how straight their paths are."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, check_integer, to_host
from refwfm.couplings.rectified import RectifiedPairs, rectified_pairs
from refwfm.generation import CloudField, generate_clouds
from refwfm.measures import PointCloud
from refwfm.metrics.straightness import Straightness, relative_bend, straightness
from refwfm.networks import guidance, unlabelled
from refwfm.training.alignment import Clouds, Progress
from refwfm.training.cloud_network import predict
from refwfm.training.cloud_setting import CloudSetting, to_data_units, to_model_units
from refwfm.training.conditions import hide, on_backend, shown_to_network, wanted_conditions
from refwfm.training.config import CloudConfig
from refwfm.training.noise import FAMILY, draw_source
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream


def learned_field(
    config: CloudConfig,
    params: Tree,
    labels: Array | None = None,
    /,
    *,
    guidance_weight: float = 0.0,
    ops: Ops = REFERENCE,
) -> CloudField:
    """Field ``(cloud, t) -> velocity`` of a trained network, for clouds in the setting's units.

    Equation: WFM-Alg3-network.

    Parameters
    ----------
    labels : array of integers, shape (B,), or of vectors (``conditions.shown_to_network``), or None
    guidance_weight : float
        Weight of classifier-free guidance; 0 is the plain conditional field.
    ops : Ops
        Of the backend where the parameters live; the plain functions when left out.
    """

    def velocity_of(cloud: PointCloud, t: Array, labels: Array | None) -> Array:
        return predict(config, params, cloud.points, cloud.weights > 0, t, labels, ops=ops)

    def field(cloud: PointCloud, t: Array) -> Array:
        velocity = velocity_of(cloud, t, labels)
        if labels is None or guidance_weight == 0.0:
            return velocity
        return guidance(velocity, velocity_of(cloud, t, unlabelled(params, labels)), guidance_weight)

    return field


def sample(
    config: CloudConfig,
    setting: CloudSetting,
    params: Tree,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None = None,
    conditions: np.ndarray | None = None,
    sizes: np.ndarray | int | None = None,
    source: Clouds | None = None,
    index: np.ndarray | None = None,
    guidance_weight: float = 0.0,
    method: str = "euler",
    times: str = "uniform",
    block: int = 0,
    progress: Callable[[int], None] | None = None,
    ops: Ops = REFERENCE,
) -> tuple[PointCloud, np.ndarray | None]:
    """Generate new clouds, on the host, in data units, with the labels they were generated for.

    Equation: WFM-Alg3-network.

    Parameters
    ----------
    size, n_steps, seed : int
    labels : numpy.ndarray, shape (size,), optional
        Classes to generate, for a conditional model; drawn with the data's frequencies when left out.
    conditions : numpy.ndarray, shape (size, c), optional
        At which to generate; those of training members when left out.
    sizes : int, or numpy.ndarray of integers, shape (size,), optional
        Points of each cloud; drawn from the data's sizes when left out. (Members of a family keep theirs.)
    source : family of clouds
        Where a flow between families starts.
    index : numpy.ndarray of integers, shape (size,), optional
        Members of ``source`` to start from; drawn at random when left out.
    guidance_weight : float
    method, times : str
        See ``generation.generate_clouds``.
    block : int
        Which draws of this seed: each number has its own.
    progress : callable, optional
        Called with the number of clouds done.
    ops : Ops
        See ``learned_field``.
    """
    starts = _starts(
        config,
        setting,
        params,
        size=size,
        seed=seed,
        labels=labels,
        conditions=conditions,
        sizes=sizes,
        source=source,
        index=index,
        guidance_weight=guidance_weight,
        block=block,
        ops=ops,
    )
    parts: list[PointCloud] = []
    done = 0
    for mu, field in starts.batches:
        end = generate_clouds(field, mu, n_steps=n_steps, method=method, times=times)
        parts.append(to_data_units(end, setting))
        done += len(parts[-1].points)
        if progress is not None:
            progress(done)
    return _joined(parts), starts.labels


def pairs(
    config: CloudConfig,
    setting: CloudSetting,
    params: Tree,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    block: int = 0,
    source: Clouds | None = None,
    progress: Progress | None = None,
    ops: Ops = REFERENCE,
) -> RectifiedPairs:
    """Pairs of sources and of where a trained network takes them, on the host, in the setting's units.

    Equation: WFM-REFLOW. Labels and conditions are drawn as in training, and hidden as often.

    Parameters
    ----------
    size, n_steps, seed : int
    block : int
        Which draws of this seed: each number has its own.
    source : family of clouds
        Where a flow between families starts.
    progress : callable, optional
        Called with (pairs made, in all).
    ops : Ops
        See ``learned_field``.
    """
    options: dict[str, Any] = {"size": size, "seed": seed, "block": block, "source": source, "ops": ops}
    starts = _starts(config, setting, params, stream="rectified", hidden=config.label_drop, **options)
    ends: tuple[list[PointCloud], list[PointCloud]] = [], []
    done = 0
    for mu, field in starts.batches:
        for part, end in zip(ends, rectified_pairs(field, mu, n_steps=n_steps)[:2], strict=True):
            part.append(PointCloud(*map(to_host, end)))
        done += mu.points.shape[0]
        if progress is not None:
            progress(done, size)
    return RectifiedPairs(_joined(ends[0]), _joined(ends[1]), starts.shown)


def _joined(parts: list[PointCloud]) -> PointCloud:
    """Clouds on the host in one batch, padded to the largest."""
    n = max(part.points.shape[1] for part in parts)
    grown = [[np.pad(x, [(0, 0), (0, n - x.shape[1])] + [(0, 0)] * (x.ndim - 2)) for x in p] for p in parts]
    return PointCloud(*(np.concatenate(arrays) for arrays in zip(*grown, strict=True)))


def learned_straightness(
    config: CloudConfig,
    setting: CloudSetting,
    params: Tree,
    /,
    *,
    n_steps: int,
    method: str = "euler",
    **starts: Any,
) -> Straightness:
    """Bend of the paths on which a trained network generates: 0 for straight ones at constant speed.

    Equation: GWFM-Straightness. Of the very paths of ``sample`` with the same arguments (``size``, ``seed``,
    ...), on the host, in model units.
    """
    batches = _starts(config, setting, params, **starts).batches
    parts = [straightness(field, mu, n_steps=n_steps, method=method) for mu, field in batches]
    bend, moved = (np.concatenate([to_host(part[k]).astype(np.float64) for part in parts]) for k in (1, 2))
    return Straightness(relative_bend(bend, moved), bend, moved)


class _Starts(NamedTuple):
    """Sources of generation, a batch at a time, each with its field; labels of all, and what is shown."""

    batches: Iterator[tuple[PointCloud, CloudField]]
    labels: np.ndarray | None
    shown: np.ndarray | None


def _starts(
    config: CloudConfig,
    setting: CloudSetting,
    params: Tree,
    *,
    size: int,
    seed: int,
    labels: np.ndarray | None = None,
    conditions: np.ndarray | None = None,
    sizes: np.ndarray | int | None = None,
    source: Clouds | None = None,
    index: np.ndarray | None = None,
    guidance_weight: float = 0.0,
    block: int = 0,
    stream: str = "generation",
    hidden: float = 0.0,
    ops: Ops = REFERENCE,
) -> _Starts:
    """Draw what is generated from: of ``hidden`` of it, labels and conditions are not shown."""
    if (source is None) == (config.source == FAMILY):
        raise ValueError(
            "this model flows from another family: give its source"
            if source is None
            else f"this model flows from {config.source!r} noise: it takes no source family"
        )
    size = check_integer(size, "size", low=1)
    rng = random_stream(seed, stream, 2 * block)
    labels, conditions = wanted_conditions(setting, labels, conditions, size, rng=rng)
    if hidden:
        labels, conditions = hide(setting, labels, conditions, rng.random(size) < hidden)
    shown = shown_to_network(setting, labels, conditions)
    wanted_sizes = members = np.zeros(0, dtype=np.int64)
    if source is None:
        wanted_sizes = _wanted_sizes(setting, sizes, size, rng)
    else:
        members = rng.integers(len(source), size=size) if index is None else index

    def batches() -> Iterator[tuple[PointCloud, CloudField]]:
        for start in range(0, size, config.batch):
            part = slice(start, min(start + config.batch, size))
            if source is None:
                mu = draw_source(config, setting, rng, wanted_sizes[part])
            else:
                some = source.batch(members[part], n_points=config.n_points, rng=rng)
                mu = to_model_units(some, setting)
            wanted = on_backend(None if shown is None else shown[part], mu.points)
            yield mu, learned_field(config, params, wanted, guidance_weight=guidance_weight, ops=ops)

    return _Starts(batches(), labels, shown)


def _wanted_sizes(
    setting: CloudSetting, sizes: np.ndarray | int | None, size: int, rng: np.random.Generator
) -> np.ndarray:
    drawn = rng.choice(setting.sizes, size=size)
    if sizes is None:
        return drawn
    wanted = np.asarray(sizes)
    if wanted.dtype.kind not in "iu" or wanted.shape not in ((), (size,)):
        raise ValueError(
            f"sizes must be an integer, or {size} of them; got {wanted.dtype} of shape {wanted.shape}"
        )
    if wanted.min() < 1:
        raise ValueError(f"sizes must be at least 1; got {wanted.min()}")
    return np.broadcast_to(wanted, (size,)).astype(np.int64)
