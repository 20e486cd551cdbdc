"""A flow between point clouds: what is fitted to a family, what a batch is, how a network generates."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from refwfm import couplings
from refwfm._array import Array, array_namespace, device, like, to_host
from refwfm.cloud_sources import (
    CholeskyNormal,
    fit_cholesky_normal,
    prefix_weights,
    sample_cholesky_normal,
    sample_standard_normal,
    sample_uniform,
)
from refwfm.clouds import moments
from refwfm.config import CloudConfig
from refwfm.generation import CloudField, generate_clouds
from refwfm.interpolation import displacement, displacement_velocity
from refwfm.measures import PointCloud, take
from refwfm.networks import guidance, init_transformer, transformer, unlabelled
from refwfm.ops import REFERENCE, Ops
from refwfm.optim import Tree
from refwfm.randomness import random_stream
from refwfm.regression import CloudBatch


class Clouds(Protocol):
    """What a flow needs of a family of clouds (see ``refwfm.datasets.CloudFamily``)."""

    def __len__(self) -> int: ...
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def sizes(self) -> np.ndarray: ...  # noqa: D102
    @property
    def batch(self) -> Callable[..., PointCloud]: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray | None: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...]: ...  # noqa: D102


class CloudSetting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : array, shape (d,); unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate.
    source : CholeskyNormal, in these units
    sizes : numpy.ndarray of integers, shape (N,)
        Points of the family's clouds, as a step sees them: what sizes of new clouds are drawn from.
    label_counts : numpy.ndarray of integers, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    """

    shift: Array
    unit: float
    source: CholeskyNormal
    sizes: np.ndarray
    label_counts: np.ndarray


class Families(NamedTuple):
    """Where the flow goes, and where it starts if that is a family too. On the host, in data units."""

    target: Clouds
    source: Clouds | None


def prepare(
    config: CloudConfig, data: Clouds, source: Clouds | None, asarray: Callable[[Any], Array], /
) -> tuple[CloudSetting, Families]:
    """Fit units and source to a family of clouds.

    Equation: WFM App. D for the source.

    Raises
    ------
    ValueError
        If a source family is missing, not expected, of another dimension, or (paired) of another size.
    """
    if (source is not None) != (config.source == "family"):
        raise ValueError(
            f"source = {config.source!r} " + ("needs a family" if source is None else "takes no family")
        )
    if source is not None and source.dimension != data.dimension:
        raise ValueError(f"the source family is {source.dimension}-D, the target family {data.dimension}-D")
    if config.outer == "paired" and (source is None or len(source) != len(data)):
        raise ValueError("outer = 'paired' needs a source family with one member for each target")
    mean, cov = _all_moments(data)
    shift = np.mean(mean, axis=0)
    variance = np.mean(np.sum((mean - shift) ** 2, axis=1) + np.trace(cov, axis1=1, axis2=2)) / data.dimension
    unit = float(np.sqrt(variance)) or 1.0
    fitted = fit_cholesky_normal(cov / unit**2)
    counts = np.zeros(0, dtype=np.int64)
    if config.conditional and data.labels is not None:
        counts = np.bincount(data.labels, minlength=len(data.label_names))
    most = data.sizes.max() if config.n_points is None else config.n_points
    setting = CloudSetting(
        asarray(shift),
        unit,
        CholeskyNormal(*map(asarray, fitted)),
        np.minimum(data.sizes, most).astype(np.int64),
        counts.astype(np.int64),
    )
    return setting, Families(data, source)


def _all_moments(family: Clouds) -> tuple[np.ndarray, np.ndarray]:
    """Means (N, d) and covariances (N, d, d) of all members, some at a time."""
    parts = [
        moments(*family.batch(index))
        for index in np.array_split(np.arange(len(family)), 1 + len(family) // 64)
    ]
    return np.concatenate([p.mean for p in parts]), np.concatenate([p.cov for p in parts])


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of clouds."""
    return data.points, data.offsets, data.weights, data.labels


def init_params(config: CloudConfig, setting: CloudSetting, /) -> Tree:
    """Random parameters of the transformer, drawn from the seed."""
    return init_transformer(
        random_stream(config.seed, "init"),
        setting.shift.shape[0],
        like=setting.shift,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        hidden=config.hidden,
        n_frequencies=config.n_frequencies,
        n_labels=len(setting.label_counts),
    )


# Training


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

    Equation: WFM Algorithm 1, with WFM-4 and WFM-7 for clouds.

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
    if config.outer not in ("independent", "paired"):
        perm = couplings.match_clouds(mu, nu, config.outer, cost=ops.pairwise_sq_distance)
        nu, index, counts = take(nu, perm), index[perm], counts[perm]
    if config.source != "family" and config.source_size == "partner":
        mu = _cut(mu, counts)
    pairs = couplings.couple(mu, nu, _inner(config, setting, family), rng=rng, solve=_solver(config, ops))
    t = like(rng.random(config.batch), setting.shift)
    drawn = None
    if len(setting.label_counts):
        assert labels is not None  # prepare counted them
        hidden = rng.random(config.batch) < config.label_drop
        wanted = np.where(hidden, len(setting.label_counts), labels[index])
        drawn = array_namespace(t).asarray(wanted, device=device(t))
    return CloudBatch(
        displacement(pairs.x, pairs.y, t),
        pairs.weights,
        displacement_velocity(pairs.x, pairs.y),
        t,
        drawn,
        pairs.error,
    )


def to_model_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Host clouds in data units, in the model's units, library, device and dtype; padding stays zero."""
    points, weights = like(cloud.points, setting.shift), like(cloud.weights, setting.shift)
    xp = array_namespace(points)
    return PointCloud(
        xp.where((weights > 0)[..., None], (points - setting.shift) / setting.unit, 0.0), weights
    )


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


def draw_source(
    config: CloudConfig, setting: CloudSetting, rng: np.random.Generator, sizes: np.ndarray, /
) -> PointCloud:
    """Source clouds of these sizes, in the model's units. Equation: WFM App. D."""
    if config.source == "cholesky":
        return sample_cholesky_normal(setting.source, rng=rng, sizes=sizes)
    sample_points = sample_standard_normal if config.source == "normal" else sample_uniform
    return sample_points(rng=rng, sizes=sizes, d=setting.shift.shape[0], like=setting.shift)


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


def _solver(config: CloudConfig, ops: Ops) -> couplings.Solver:
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


def loss_and_grad(
    config: CloudConfig, setting: CloudSetting, params: Tree, batch: CloudBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters."""
    return ops.cloud_loss_and_grad(params, batch, heads=config.heads)


# Generation


def learned_field(
    config: CloudConfig,
    params: Tree,
    labels: Array | None = None,
    /,
    *,
    guidance_weight: float = 0.0,
) -> CloudField:
    """Field ``(cloud, t) -> velocity`` of a trained network, for clouds in the setting's units.

    Parameters
    ----------
    labels : array of integers, shape (B,), or None
    guidance_weight : float
        Of classifier-free guidance; 0 is the plain conditional field.
    """

    def predict(cloud: PointCloud, t: Array, labels: Array | None) -> Array:
        return transformer(params, cloud.points, cloud.weights > 0, t, labels, heads=config.heads)[0]

    def field(cloud: PointCloud, t: Array) -> Array:
        velocity = predict(cloud, t, labels)
        if labels is None or guidance_weight == 0.0:
            return velocity
        return guidance(velocity, predict(cloud, t, unlabelled(params, labels)), guidance_weight)

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
    sizes: np.ndarray | int | None = None,
    source: Clouds | None = None,
    index: np.ndarray | None = None,
    guidance_weight: float = 0.0,
    method: str = "euler",
    progress: Callable[[int], None] | None = None,
) -> tuple[PointCloud, np.ndarray | None]:
    """Generate new clouds, on the host, in data units, with the labels they were generated for.

    Equation: WFM Algorithm 3.

    Parameters
    ----------
    size, n_steps, seed : int
    labels : numpy.ndarray, shape (size,), optional
        Classes to generate, for a conditional model; drawn with the data's frequencies when left out.
    sizes : int, or numpy.ndarray of integers, shape (size,), optional
        Points of each cloud; drawn from the data's sizes when left out. (Members of a family have theirs.)
    source : family of clouds
        Where a flow between families starts.
    index : numpy.ndarray of integers, shape (size,), optional
        Its members to start from; drawn at random when left out.
    guidance_weight : float
    method : str
        See ``generation.generate_clouds``.
    progress : callable, optional
        Called with the number of clouds done.
    """
    if (source is None) == (config.source == "family"):
        raise ValueError(
            "this model flows from another family: give its source"
            if source is None
            else f"this model flows from {config.source!r} noise: it takes no source family"
        )
    rng = random_stream(seed, "generation")
    labels = _wanted_labels(setting, labels, size, rng)
    if source is None:
        sizes = _wanted_sizes(setting, sizes, size, rng)
    elif index is None:
        index = rng.integers(len(source), size=size)
    parts: list[PointCloud] = []
    for start in range(0, size, config.batch):
        part = slice(start, min(start + config.batch, size))
        if source is None:
            assert isinstance(sizes, np.ndarray)
            mu = draw_source(config, setting, rng, sizes[part])
        else:
            assert index is not None
            mu = to_model_units(source.batch(index[part], n_points=config.n_points, rng=rng), setting)
        xp = array_namespace(mu.points)
        wanted = None if labels is None else xp.asarray(labels[part], device=device(mu.points))
        field = learned_field(config, params, wanted, guidance_weight=guidance_weight)
        parts.append(to_data_units(generate_clouds(field, mu, n_steps=n_steps, method=method), setting))
        if progress is not None:
            progress(part.stop)
    n = max(part.points.shape[1] for part in parts)
    grown = [[np.pad(x, [(0, 0), (0, n - x.shape[1])] + [(0, 0)] * (x.ndim - 2)) for x in p] for p in parts]
    return PointCloud(*(np.concatenate(arrays) for arrays in zip(*grown, strict=True))), labels


def _wanted_labels(
    setting: CloudSetting, labels: np.ndarray | None, size: int, rng: np.random.Generator
) -> np.ndarray | None:
    counts = setting.label_counts
    if not len(counts):
        if labels is not None:
            raise ValueError("labels were given, but the model is unconditional")
        return None
    drawn = rng.choice(len(counts), size=size, p=counts / counts.sum())
    labels = drawn if labels is None else np.asarray(labels)
    if labels.shape != (size,) or labels.min() < 0 or labels.max() >= len(counts):
        raise ValueError(f"labels must be {size} integers from 0 to {len(counts) - 1}")
    return labels


def _wanted_sizes(
    setting: CloudSetting, sizes: np.ndarray | int | None, size: int, rng: np.random.Generator
) -> np.ndarray:
    drawn = rng.choice(setting.sizes, size=size)
    chosen = drawn if sizes is None else np.broadcast_to(np.asarray(sizes), (size,)).astype(np.int64)
    if chosen.min() < 1:
        raise ValueError(f"sizes must be at least 1; got {chosen.min()}")
    return chosen


def to_data_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Clouds in data units, on the host in float64; padding stays zero."""
    points, weights, shift = (to_host(x).astype(np.float64) for x in (*cloud, setting.shift))
    return PointCloud(np.where((weights > 0)[..., None], setting.unit * points + shift, 0.0), weights)


# Files


def pack(setting: CloudSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers."""
    arrays = {
        "shift": setting.shift,
        "source": {"mean": setting.source.mean, "std": setting.source.std},
        "sizes": setting.sizes,
        "label_counts": setting.label_counts,
    }
    return arrays, {"unit": setting.unit}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> CloudSetting:
    """Put a setting together again: the inverse of ``pack``."""
    return CloudSetting(
        arrays["shift"],
        numbers["unit"],
        CholeskyNormal(**arrays["source"]),
        arrays["sizes"],
        arrays["label_counts"],
    )
