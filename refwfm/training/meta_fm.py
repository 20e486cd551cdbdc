"""A model of Meta Flow Matching: particles of populations, moved by a field that reads the population.

The module is a ``flows.Flow``. Its measures are populations before and after; only those of the part "train"
are trained on. The model works in units that are fitted to them: coordinates have mean 0 and mean variance 1,
conditions are at most 1.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm._array import Array, asarray_like, on_device_of
from refwfm.populations import objective
from refwfm.populations.embedding import init_population_embedding
from refwfm.populations.graphs import knn_graph
from refwfm.populations.objective import ParticleBatch, Population
from refwfm.populations.pairs import indicators, optimal_pairs, start_points
from refwfm.populations.velocity import init_velocity
from refwfm.training.config import MetaFMConfig
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream
from refwfm.training.team import ALONE, Share, part_of

Floats = NDArray[np.float64]


class MetaFMSetting(NamedTuple):
    """What all populations share.

    Attributes
    ----------
    shift : float64 array (d,), scale : float
        The model's coordinates are ``(x - shift) / scale``.
    condition_scale : float64 array (c,)
        The largest absolute value of each column; 0 for those that no training population has.
    condition_names : tuple of c str
    populations : int
        Number of those trained on.
    marks : int
        Number of marks of a particle.
    like : array
        Of the run's library, dtype and device.
    label_counts : numpy.ndarray, shape (0,)
        Populations have no labels.
    """

    shift: Floats
    scale: float
    condition_scale: Floats
    condition_names: tuple[str, ...]
    populations: int
    marks: int
    like: Array
    label_counts: np.ndarray = np.zeros(0, np.int64)

    @property
    def dimension(self) -> int:
        """The dimension d of the particles."""
        return len(self.shift)


class MetaFMBatch(NamedTuple):
    """Particles in pairs, and the parts of the parameters that learn from them."""

    particles: ParticleBatch
    parts: tuple[str, ...]
    plan_error: float = 0.0
    plan_iterations: int = 0


def prepare(
    config: MetaFMConfig,
    data: Any,
    source: Any,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[MetaFMSetting, Any]:
    """Fit units to the training populations, which stay on the host.

    Equation: none. Wiring of a run. There is no source family: populations have their own.
    """
    if source is not None:
        raise ValueError("source: populations have their own; start = 'noise' starts from noise instead")
    if config.rotate and data.dimension != 2:
        raise ValueError(f"rotate is for data in the plane; {data.name} is in dimension {data.dimension}")
    train = data.part("train")
    points = np.concatenate([train.source.points, train.target.points])
    shift = np.mean(points, axis=0)
    size = float(np.max(np.abs(points - shift))) or 1.0  # squares of the data may overflow, or vanish
    scale = size * math.sqrt(float(np.mean(((points - shift) / size) ** 2))) or 1.0
    return MetaFMSetting(
        shift=shift,
        scale=scale,
        condition_scale=np.max(np.abs(train.conditions), axis=0),
        condition_names=train.condition_names,
        populations=len(train),
        marks=0 if train.marks is None else train.marks.shape[1],
        like=asarray(np.zeros(1)),
    ), train


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of populations.

    Equation: none. Wiring of a run.
    """
    clouds = (data.source.points, data.source.offsets, data.target.points, data.target.offsets)
    return (*clouds, data.marks, data.conditions, data.parts)


def init_params(config: MetaFMConfig, setting: MetaFMSetting, /) -> Tree:
    """Random parameters of velocity and embedding, drawn from the seed."""
    rng, n_embedding = random_stream(config.seed, "init"), 0
    params: Tree = {}
    if config.condition == "index":
        n_embedding = setting.populations
    if config.condition == "embedding":
        n_embedding = config.graph_width * (1 if config.pooling == "mean" else 2)
        params["embedding"] = init_population_embedding(
            rng,
            setting.dimension,
            like=setting.like,
            width=config.graph_width,
            depth=config.graph_layers,
            marks=setting.marks,
        )
    params["velocity"] = init_velocity(
        rng,
        setting.dimension,
        like=setting.like,
        n_embedding=n_embedding,
        n_condition=len(setting.condition_scale),
        width=config.width,
        depth=config.depth,
        skip=config.skip,
        n_time=config.n_time,
        n_space=config.n_space,
        space_scale=config.space_scale,
        attention=config.attention,
        heads=config.heads,
        n_particle=config.graph_width,
        kernels=config.kernels,
    )
    return params


def draw_batch(
    config: MetaFMConfig,
    setting: MetaFMSetting,
    family: Any,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops,
    share: Share = ALONE.share,
) -> MetaFMBatch:
    """Random populations of step ``step``, and particles of each; no population twice.

    Equation: none. A draw; see ``populations.objective``.
    """
    rng, like = random_stream(config.seed, "batch", step), setting.like
    chosen = rng.choice(len(family), min(config.batch, len(family)), replace=False)
    drawn = family.draw(chosen, config.particles + config.reads, rng=rng)
    turn = _rotations(len(chosen), rng) if config.rotate else None
    x0, x1 = (to_model(setting, x, turn) for x in (drawn.x0, drawn.x1))
    population = None
    moved = slice(0, config.particles)
    if config.condition == "embedding":
        read = slice(config.particles, None) if config.reads else moved
        marks = None if drawn.marks is None else asarray_like(drawn.marks[:, read], like)
        population = (
            with_graph(config, x0[:, read, :], marks)
            if not drawn.repeated[:, 0].any()
            else _small_populations(config, setting, family, chosen, turn, rng)
        )
    x0, x1 = (x[:, moved, :] for x in (x0, x1))
    if config.pairs == "optimal":
        x0, x1 = optimal_pairs(x0, x1, config.particles, rng=rng)
    x0 = start_points(x0, config.start, rng=rng)
    particles = ParticleBatch(
        x0,
        x1,
        asarray_like(rng.uniform(size=x0.shape[:2]), like),
        condition=to_conditions(setting, drawn.conditions),
        population=population,
        indicator=indicators(chosen, len(family), like=like) if config.condition == "index" else None,
    )
    return MetaFMBatch(part_of(particles, share), _parts(config, step))


def _parts(config: MetaFMConfig, step: int) -> tuple[str, ...]:
    """Parts that learn in a step. Nothing is kept of earlier embeddings, so that a step stands alone."""
    if config.condition != "embedding":
        return ("velocity",)
    if config.alternate:
        return ("velocity",) if step % 2 else ("embedding",)
    return objective.PARTS


def _rotations(size: int, rng: np.random.Generator) -> Floats:
    angle = rng.uniform(0.0, 2.0 * math.pi, size)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)


def to_model(setting: MetaFMSetting, x: Floats, turn: Floats | None = None, /) -> Array:
    """Coordinates (B, n, d) in the model's units, turned by (B, d, d), in the run's library.

    Equation: none. A change of units.
    """
    x = (x - setting.shift) / setting.scale
    return asarray_like(x if turn is None else x @ turn, setting.like)


def to_conditions(setting: MetaFMSetting, conditions: Floats, /) -> Array | None:
    """Conditions (B, c) in the model's units, in the run's library; None where the model has none.

    Equation: none. A change of units.
    """
    if not len(setting.condition_scale):
        return None
    return asarray_like(
        conditions / np.where(setting.condition_scale == 0, 1.0, setting.condition_scale), setting.like
    )


def with_graph(
    config: MetaFMConfig, x: Array, marks: Array | None, mask: Array | None = None, /
) -> Population:
    """What an embedding reads of particles (B, n, d): these, their marks, and the graph of their neighbours.

    Equation: none. Wiring of a run; see ``populations.graphs.knn_graph``.
    """
    return Population(x, knn_graph(x, config.neighbours, mask), marks, mask)


def _small_populations(
    config: MetaFMConfig,
    setting: MetaFMSetting,
    family: Any,
    chosen: np.ndarray,
    turn: Floats | None,
    rng: np.random.Generator,
) -> Population:
    """Populations of which some have too few particles: an embedding reads each once, and padding not."""
    source = family.source
    size = int(min(config.reads or config.particles, source.sizes[chosen].max()))
    counts = np.minimum(source.sizes[chosen], size)
    rows = np.zeros((len(chosen), size), np.int64)
    for row, i, count in zip(rows, chosen, counts, strict=True):
        row[:count] = source.offsets[i] + rng.choice(source.sizes[i], count, replace=False)
    marks = None if family.marks is None else asarray_like(family.marks[rows], setting.like)
    live = np.arange(size) < counts[:, None]
    mask = on_device_of(setting.like, live)
    return with_graph(config, to_model(setting, source.points[rows], turn), marks, mask)


def loss_and_grad(
    config: MetaFMConfig, setting: MetaFMSetting, params: Tree, batch: MetaFMBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parts that learn from it.

    Equation: none. Wiring of a run; see ``populations.objective.loss_and_grad``.
    """
    return objective.loss_and_grad(
        params,
        batch.particles,
        condition=config.condition,
        parts=batch.parts,
        embedding={"pooling": config.pooling},
        skip=config.skip,
        n_time=config.n_time,
        heads=config.heads,
        bandwidths=config.bandwidths,
    )


def pack(setting: MetaFMSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers, which are kept in float64.

    Equation: none. Wiring of a run.
    """
    numbers = {
        "shift": setting.shift.tolist(),
        "scale": setting.scale,
        "condition_scale": setting.condition_scale.tolist(),
        "condition_names": list(setting.condition_names),
        "populations": setting.populations,
        "marks": setting.marks,
    }
    return {"label_counts": setting.label_counts, "like": setting.like}, numbers


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> MetaFMSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    return MetaFMSetting(
        np.asarray(numbers["shift"]),
        numbers["scale"],
        np.asarray(numbers["condition_scale"]),
        tuple(numbers["condition_names"]),
        numbers["populations"],
        numbers["marks"],
        arrays["like"],
        arrays["label_counts"],
    )
