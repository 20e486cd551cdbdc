"""How much memory a run takes, from the sizes of its arrays: nothing is allocated to know it.

A run holds some arrays from its first step to its last: the data, the setting, parameters and what the
optimiser keeps of each. A step makes others in turn, and what it made for one phase is gone in the next::

    outer       sources and targets are drawn, and paired                          (lines 1 and 2)
    inner       which point goes where, and the paths                              (lines 3 to 5)
    learning    activations, which the pullback wants, and the gradient            (line 6)
    updating    the gradient, and what the optimiser makes of it                   (line 7)

so that the peak is what is held, and the largest phase. Counts are those of the arrays in the code: each
formula says which. They are of numbers, and a number has ``itemsize`` bytes. A cloud's ``n`` is the largest
of the family where arrays are padded; NumPy's transformer works on live points alone, and pays for those.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm.bures_metric import PAIRWISE_BLOCK
from refwfm.couplings.costs import COSTS
from refwfm.couplings.inner import BLOCK as COSTS_AT_ONCE
from refwfm.couplings.inner import ENTROPIC
from refwfm.populations.graphs import ELEMENTS
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import (
    CloudConfig,
    GaussianConfig,
    MetaCloudsConfig,
    MetaFMConfig,
    MetaOTConfig,
)
from refwfm.training.semidiscrete import SEMIDISCRETE
from refwfm.transport.semidiscrete import BLOCK
from refwfm.transport.sliced import SLICED_BLOCK

PHASES = ("held", "outer", "inner", "learning", "updating")
"""When arrays are there: all the time, or in a phase of each step."""

ROWS = 1024
"""Points that NumPy's transformer takes at a time."""


PACKED = 2**17
"""About as many numbers as NumPy's optimiser copies at most, to have small arrays as one."""

Rows = list[tuple[str, str, float]]
"""Names of arrays, their shapes in words, and how many numbers they have."""


class Part(NamedTuple):
    """Arrays of one purpose.

    Attributes
    ----------
    phase : str
        One of ``PHASES``.
    name, shape : str
        What they are, and their sizes in words.
    size : float
        In bytes.
    """

    phase: str
    name: str
    shape: str
    size: float


class Sizes(NamedTuple):
    """What the arithmetic needs of the clouds of a family.

    Attributes
    ----------
    d : int
        Dimension of the points.
    most : int
        Points of the largest cloud.
    rows, squares : float
        Points of a batch together, and the sum of the squares of their numbers, in an unusually large one.
    """

    d: int
    most: int
    rows: float
    squares: float


def peak(parts: list[Part], /) -> float:
    """Bytes that are there at once: what is held, and the largest phase.

    Equation: none. Arithmetic of a run.

    Examples
    --------
    >>> peak([Part("held", "a", "", 2.0), Part("inner", "b", "", 3.0), Part("learning", "c", "", 5.0)])
    7.0
    """
    total = dict.fromkeys(PHASES, 0.0)
    for part in parts:
        total[part.phase] += part.size
    return total["held"] + max(total[phase] for phase in PHASES[1:])


def predicted(
    config: TrainingConfig,
    setting: Any,
    data: Any,
    /,
    *,
    parameters: int,
    itemsize: int,
    padded: bool,
    cores: int = 1,
) -> list[Part]:
    """Parts of what a run holds and what each phase of a step makes, without its data and its setting.

    Equation: none. Arithmetic of a run.

    Parameters
    ----------
    setting, data : the run's own, for the sizes of its measures
    parameters : int
        Numbers in the parameters.
    itemsize : int
        Bytes of a number: 4 for float32.
    padded : bool
        Whether the network works on padding too, as all but NumPy's twin do.
    cores : int
        Threads that work on parts of a batch, each with a gradient of its own.
    """
    count = _COUNTS[type(config)]
    phases = count(config, setting, data, padded, cores)
    held = [
        ("parameters", "", parameters),
        ("Adam's moments", "2 × parameters", 2 * parameters),
        ("running mean", "1 × parameters", parameters if config.ema else 0),
    ]
    gradient = parameters * (1 + cores if phases.shared else 1)
    # NumPy's optimiser works in place, but for small arrays, which it packs into one vector first.
    updating = 6 * parameters if padded else parameters + min(parameters, PACKED)
    rows = [
        *(("held", *part) for part in held),
        *(("outer", *part) for part in phases.outer),
        *(("inner", *part) for part in phases.inner),
        *(("learning", *part) for part in phases.learning),
        ("learning", "gradient", "parameters", gradient),
        ("updating", "gradient, its update", "parameters", updating),
    ]
    return [Part(*row[:3], float(row[3]) * itemsize) for row in rows if row[3]]


class _Phases(NamedTuple):
    """Numbers that phases make: (name, shape, how many); whether threads sum gradients of their own."""

    outer: Rows
    inner: Rows
    learning: Rows
    shared: bool = False


def cloud_sizes(sizes: np.ndarray, d: int, batch: int, limit: int | None, padded: bool, /) -> Sizes:
    """Sizes of the clouds of a batch, two standard deviations above the mean; of whole padding if padded.

    Equation: none. Arithmetic of a run.

    Examples
    --------
    >>> cloud_sizes(np.asarray([2, 4]), 3, 10, None, True)
    Sizes(d=3, most=4, rows=40.0, squares=160.0)
    """
    sizes = np.minimum(sizes, limit or np.max(sizes)).astype(np.float64)
    most = int(np.max(sizes))
    if padded:
        return Sizes(d, most, float(batch * most), float(batch * most**2))
    rows, squares = (
        min(
            batch * float(np.mean(each)) + 2.0 * math.sqrt(batch) * float(np.std(each)),
            batch * float(np.max(each)),
        )
        for each in (sizes, sizes**2)
    )
    return Sizes(d, most, rows, squares)


# Gaussians


def _gaussians(config: GaussianConfig, setting: Any, data: Any, padded: bool, cores: int) -> _Phases:
    B, w, d = config.batch, config.width, int(setting.shift.shape[0])
    n_state = d * (d + 3) // 2
    n_in = n_state + 2 * config.n_frequencies + 2 * config.state_features
    n_in += config.label_dim if len(setting.label_counts) or setting.conditions is not None else 0
    outer = [("sources and targets", f"2 × ({B}, {d}, {d})", 4.0 * B * d * (d + 1))]
    if config.matching:
        outer.append(_matched(config, setting, d))
    if config.outer == SEMIDISCRETE:
        outer.append(_semidiscrete(B, setting))
    # Maps between covariances: some dozen (d, d) matrices of each pair, in float64.
    inner = [("sources, targets, paths", f"27 × ({B}, {d}, {d})", B * d * (27.0 * d + 16))]
    # Of each of two networks: three (B, width) a block for the pullback, two behind them, what they read.
    kept = 2 * B * (config.depth * (3 * w + 1) + 2 * w + 2 * n_in)
    return _Phases(
        outer,
        inner,
        [
            ("activations for the pullback", f"2 × {config.depth} × 3 × ({B}, {w})", kept),
            ("passing by", f"({B}, {w}), ({B}, {d}, {d})", B * (5 * w + 4 * d * d)),
        ],
    )


def _matched(config: GaussianConfig, setting: Any, d: int) -> tuple[str, str, float]:
    """Distances of a batch, within labels: in the plane by closed forms, else (d, d) products in float64.

    These are made in blocks of rows, two at a time, of which two arrays are there.
    """
    counts = np.asarray(setting.label_counts, dtype=np.float64)
    b = config.batch * (float(np.max(counts) / np.sum(counts)) if len(counts) else 1.0)
    block = 8.0 * b * b if d <= 2 else 8.0 * min(PAIRWISE_BLOCK, b * b * d * d / 8)
    return "costs of the outer plan", f"({b:.0f}, {b:.0f})", 3.0 * b * b + block


def _semidiscrete(batch: int, setting: Any) -> tuple[str, str, float]:
    """Costs of a batch with a block of the members, and the best so far."""
    columns = min(0 if setting.outer is None else int(np.size(setting.outer.g)), BLOCK)
    return "costs of the semidiscrete plan", f"({batch}, {columns})", 4.0 * batch * columns


# Clouds


def _clouds(config: CloudConfig, setting: Any, data: Any, padded: bool, cores: int) -> _Phases:
    padded = padded or config.network != "transformer"
    B, d = config.batch, int(setting.shift.shape[0])
    sizes = cloud_sizes(setting.sizes, d, B, config.n_points, padded)
    n = sizes.most
    drawn = ("sources, targets", f"2 × ({B}, {n}, {d})", 6.0 * B * n * (d + 1))
    batch = ("points and velocities", f"2 × ({B}, {n}, {d})", 2.0 * B * n * (d + 1))
    network = _transformer if config.network == "transformer" else _baseline
    return _Phases(
        [drawn, *_outer(config, setting, sizes)],
        [drawn, _inner(config, setting, sizes)],
        [batch, *network(config, sizes, padded, cores)],
        shared=not padded and sizes.rows > 1.5 * ROWS,  # else all of a batch is one group
    )


def _inner(config: CloudConfig, setting: Any, sizes: Sizes) -> tuple[str, str, float]:
    """The inner plans of a batch: cost, a copy without padding, plan, and one of them under way."""
    B, n = config.batch, sizes.most
    if config.inner in ("auto", *ENTROPIC):
        return "costs and inner plans", f"4 × ({B}, {n}, {n})", 4.0 * B * n * n
    if config.inner == "exact":  # some of these are in float64
        at_once = min(B, max(1, COSTS_AT_ONCE // (n * n)))
        return "costs and inner plans", f"5 × ({at_once}, {n}, {n})", 5.0 * at_once * n * n
    if config.inner != "sliced":
        return "inner plans", f"({B}, {n})", 4.0 * B * n
    if len(np.unique(setting.sizes)) == 1:
        return "inner plans", f"({B}, {config.n_proj}, {n})", 12.0 * B * config.n_proj * n
    block = 3.0 * min(SLICED_BLOCK, B * n * n * config.n_proj)
    return "inner plans", f"({B}, {n}, {n}), and blocks", B * n * n + block


def _outer(config: CloudConfig, setting: Any, sizes: Sizes) -> Rows:
    """The outer plan of a batch. Costs of clouds are made in rows, or blocks of rows."""
    B, n, d = config.batch, sizes.most, sizes.d
    if config.outer == SEMIDISCRETE:
        return [_semidiscrete(B, setting)]
    if config.outer not in COSTS:
        return []
    block = {
        "sliced": 2.1 * min(SLICED_BLOCK, 2.0 * B * B * config.n_proj * n),
        "chamfer": 2.5 * B * n * n,
    }.get(config.outer, 3.0 * B * n * d)
    return [("costs of the outer plan", f"({B}, {B}), made in blocks", 3.0 * B * B + block)]


def _transformer(config: CloudConfig, sizes: Sizes, padded: bool, cores: int) -> Rows:
    """Of each point in each block: two norms and what they give, q, k, v, what is read, the hidden layer."""
    B, w, L, heads = config.batch, config.width, config.depth, config.heads
    point = L * (8 * w + config.hidden + 2) + 2 * w + sizes.d + 2 * config.point_features
    rows = sizes.rows if padded else min(sizes.rows, ROWS * cores)
    clouds = 2.0 * B if padded else 3.0 * cores
    return [
        (
            "activations for the pullback",
            f"{L} × ({sizes.rows:.0f}, {8 * w + config.hidden})",
            sizes.rows * point,
        ),
        ("attention for the pullback", f"{L} × {heads} × n² of each cloud", L * heads * sizes.squares),
        ("passing by", "", rows * (10 * w + config.hidden) + clouds * heads * sizes.most**2),
    ]


def _baseline(config: CloudConfig, sizes: Sizes, padded: bool, cores: int) -> Rows:
    """Of each point: what it is told, three numbers a unit in each layer, and one block of attention."""
    w, L, d, k = config.width, config.depth, sizes.d, config.neighbours
    told = 2 * d + d * (d + 1) // 2 + k * (1 + d) + 2 * config.point_features
    point = 3 * w * L + 8 * w + config.hidden + 2 * w + 2 * told
    return [
        ("activations for the pullback", f"{L} × ({sizes.rows:.0f}, {3 * w})", sizes.rows * point),
        (
            "attention for the pullback",
            f"{config.heads} × ({config.batch}, n, n)",
            config.heads * sizes.squares,
        ),
        ("passing by", "", sizes.rows * (6 * w + config.hidden) + 2 * config.heads * sizes.squares),
    ]


# Meta OT and Meta Flow Matching


def _meta_ot(config: MetaOTConfig, setting: Any, data: Any, padded: bool, cores: int) -> _Phases:
    """Histograms (B, n) and (B, m); the plan of the semi-dual is (n, m), its masked cost (B, n, m)."""
    B, w, L = config.batch, config.width, config.depth
    n, m = setting.sizes
    # On a grid the soft minimum goes along one axis after the other; else each pair has a cost and a mask.
    grid = getattr(setting.cost, "axes", None) is not None
    semidual = B * (n + m) * 6.0 if grid else 1.25 * B * n * m
    drawn = (40.0 if grid else 9.0) * B * (n + m)  # pictures are drawn in float64
    return _Phases(
        [],
        [("histograms, as they are drawn", f"({B}, {n}), ({B}, {m})", drawn)],
        [
            ("histograms, baseline", f"({B}, {n}), ({B}, {m})", B * (2.0 * n + m)),
            ("activations for the pullback", f"{L} × ({B}, {w})", B * (n + m + 3.0 * L * w)),
            ("costs of the semi-dual", f"({B}, {n})" if grid else f"({B}, {n}, {m})", semidual),
        ],
    )


def _meta_clouds(config: MetaCloudsConfig, setting: Any, data: Any, padded: bool, cores: int) -> _Phases:
    """Pairs of clouds: what a dozen operations on (B, n, width) leave, and the features before them."""
    B, w, d, n = config.batch, config.width, len(setting.shift), int(np.max(data.sizes))
    n = min(n, config.n_points or n)
    features = 2 * d + d * (d + 3) + 3
    return _Phases(
        [],
        [("pairs of clouds", f"2 × ({B}, {n}, {d})", 2.0 * B * n * (d + 1) * 5)],
        [
            (
                "activations for the pullback",
                f"({B}, {n}, {w}), ({B}, {n}, {features + 2 * w})",
                B * n * (12.0 * w + 3 * features),
            ),
            ("costs of the pairs", f"({B}, {n}, {n})", 1.25 * B * n * n),
        ],
    )


def _meta_fm(config: MetaFMConfig, setting: Any, data: Any, padded: bool, cores: int) -> _Phases:
    """Particles of populations: all of them together are the rows of one perceptron."""
    B, p, w, d = min(config.batch, setting.populations), config.particles, config.width, setting.dimension
    rows, read = B * p, config.reads or p
    place = config.n_time + 2 * config.n_space + d
    point = 2.0 * place + config.depth * 1.2 * w + config.kernels * 2 * (d + 1)
    graph = min(ELEMENTS, B * read * read)
    learning: Rows = []
    inner: Rows = []
    drawn = [("particles", f"({B}, {p}, {d})", 10.0 * rows * d)]
    if config.condition == "embedding":
        drawn.append(
            ("distances of the graph", f"({B}, {read}, {read})", 4.0 * graph if config.neighbours else 0.0)
        )
        told = 2.0 * config.graph_layers * config.graph_width * B * read + (graph if config.neighbours else 0)
        learning.append(
            (
                "activations of the embedding",
                f"{config.graph_layers} × ({B * read}, {config.graph_width})",
                told,
            )
        )
    if config.pairs == "optimal":
        inner.append(("costs and plans of the particles", f"({B}, {p}, {p})", 8.0 * B * p * p))
    if config.attention:
        point += 2.0 * config.heads * read + 2.0 * place + 8 * config.attention
    learning += [
        ("activations for the pullback", f"{config.depth} × ({rows}, {w}), ({rows}, {place})", rows * point),
        ("passing by", f"({rows}, {w})", 5.0 * rows * w),
    ]
    return _Phases(drawn, inner, learning)


_COUNTS: dict[type, Callable[[Any, Any, Any, bool, int], _Phases]] = {
    GaussianConfig: _gaussians,
    CloudConfig: _clouds,
    MetaOTConfig: _meta_ot,
    MetaCloudsConfig: _meta_clouds,
    MetaFMConfig: _meta_fm,
}
