"""A model of Meta OT: one potential for each pair of histograms on fixed atoms, learned without solutions.

The module is a ``flows.Flow``: nothing flows here, but a run is the same. A batch is pairs of histograms with
the potentials that the network corrects; its loss is the semi-dual, and what is learned predicts where
Sinkhorn's iteration should start. The model works in a unit of the cost that is fitted once, so that data in
any unit give the same training.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, check_floating
from refwfm.measures import PointCloud
from refwfm.meta import potentials
from refwfm.meta.potentials import init_potential_mlp, potential_mlp
from refwfm.training.config import MetaOTConfig
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream
from refwfm.training.team import ALONE, Share, part_of
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import Cost, Grid, grid_points
from refwfm.transport.semidual import to_product_convention


class MetaOTSetting(NamedTuple):
    """What all pairs share, in the model's units.

    Attributes
    ----------
    cost : array (n, m), or Grid
    points : tuple of arrays (n, d) and (m, d), or None
        Where the atoms are, for the Gaussian potential; a grid knows by itself.
    eps : float
    label_counts : numpy.ndarray, shape (0,)
        Pairs have no labels.
    unit : float. Units: cost of the data.
        The model's unit of cost, eps and potentials, their mean cost; points are in its square root.
    """

    cost: Cost
    points: tuple[Array, Array] | None
    eps: float
    label_counts: np.ndarray = np.zeros(0, np.int64)
    unit: float = 1.0

    @property
    def like(self) -> Array:
        """An array of the run's library, dtype and device."""
        return self.cost.axes[0] if isinstance(self.cost, Grid) else self.cost

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of atoms n and m."""
        return (self.cost.size,) * 2 if isinstance(self.cost, Grid) else tuple(self.cost.shape)


class MetaBatch(NamedTuple):
    """Pairs of histograms a (B, n) and b (B, m), and what the network corrects (B, n), or None."""

    a: Array
    b: Array
    baseline: Array | None
    plan_error: float = 0.0
    plan_iterations: int = 0


def prepare(
    config: MetaOTConfig,
    data: Any,
    source: Any,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[MetaOTSetting, Any]:
    """Bring atoms and cost of a family of pairs to a backend, in the model's unit; the family stays a host's.

    Equation: none. Wiring of a run. There is no source family, and nothing that takes long enough to report.
    """
    if source is not None:
        raise ValueError("source: Meta OT has no source; it predicts potentials of pairs")
    unit = mean_cost(data)
    length = unit**0.5
    cost = (
        asarray(data.cost / unit)
        if data.axes is None
        else Grid(tuple(asarray(axis / length) for axis in data.axes))
    )
    points = None if data.points is None else tuple(asarray(each / length) for each in data.points)
    eps = float(data.eps if config.eps is None else config.eps) / unit
    setting = MetaOTSetting(cost, points, eps, unit=unit)
    check_resolved(eps, setting.like, unit)
    if config.baseline == "gaussian" and atoms(setting) is None:
        raise ValueError(
            f"baseline = 'gaussian' needs to know where the atoms are, and {data.name} has only their cost: "
            "give points, or baseline = 'none'"
        )
    return setting, data


def mean_cost(data: Any, /) -> float:
    """Mean cost (absolute value) of two atoms of a family of pairs; 1 where all are 0.

    Equation: none. The unit that a model is fitted in; it has the unit of the data squared, or of their cost.
    """
    if data.axes is not None:  # a mean square distance is twice a variance
        size = max(float(np.max(np.abs(axis))) for axis in data.axes) or 1.0
        return 2.0 * float(sum(np.var(axis / size) for axis in data.axes)) * size * size or 1.0
    size = float(np.max(np.abs(data.cost))) or 1.0
    return float(np.mean(np.abs(data.cost) / size)) * size


def check_resolved(eps: float, like: Array, unit: float, /) -> None:
    """Raise ``ValueError`` if eps, in mean costs, is below what the dtype of ``like`` resolves.

    Equation: none. A check. Exponents are potentials over eps; rounding of potentials would decide them.
    """
    finest = float(array_namespace(like).finfo(like.dtype).eps)
    if eps < finest:
        dtype = str(like.dtype).rpartition(".")[2]
        other = ", or float64" if dtype == "float32" else ""
        raise ValueError(
            f"eps = {eps * unit:.3g} is too small for {dtype}, which knows costs, of mean {unit:.3g}, to "
            f"{finest * unit:.1g}: take a larger eps{other}"
        )


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of pairs.

    Equation: none. Wiring of a run.
    """
    return (*(data.axes or ()), data.cost, *(data.points or ()), *data.numbers)


def init_params(config: MetaOTConfig, setting: MetaOTSetting, /) -> Tree:
    """Random parameters of the network, drawn from the seed."""
    return init_potential_mlp(
        random_stream(config.seed, "init"),
        *setting.sizes,
        like=setting.like,
        width=config.width,
        depth=config.depth,
        out_scale=config.out_scale,
    )


def draw_batch(
    config: MetaOTConfig,
    setting: MetaOTSetting,
    family: Any,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops,
    share: Share = ALONE.share,
) -> MetaBatch:
    """Random pairs of step ``step``, and the potentials that the network corrects.

    Equation: none. A draw; see ``meta.potentials``.
    """
    a, b = family.draw(config.batch, seed=config.seed, step=step, stream="batch")
    a, b = asarray_like(a, setting.like), asarray_like(b, setting.like)
    batch = part_of(MetaBatch(a, b, None), share)
    return batch._replace(baseline=baseline(config, setting, batch.a, batch.b))


def loss_and_grad(
    config: MetaOTConfig, setting: MetaOTSetting, params: Tree, batch: MetaBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters.

    Equation: none. Wiring of a run; see ``meta.potentials.loss_and_grad``.
    """
    return potentials.loss_and_grad(
        params,
        batch.a,
        batch.b,
        setting.cost,
        eps=setting.eps,
        baseline=batch.baseline,
        mask_support=config.mask_support,
        minimum=ops.grid_softmin if isinstance(setting.cost, Grid) else None,
        semidual=ops.semidual_value_and_gradient,
    )


def atoms(setting: MetaOTSetting, /) -> tuple[Array, Array] | None:
    """Points (n, d) and (m, d) of the two measures, where they are known.

    Equation: none. Wiring of a run.
    """
    return (grid_points(setting.cost),) * 2 if isinstance(setting.cost, Grid) else setting.points


def gaussian(setting: MetaOTSetting, a: Array, b: Array, /) -> Array:
    """Potentials (B, n) of the closed form for Gaussians with the histograms' moments, in the model's units.

    Equation: none. Wiring of a run; see ``transport.gaussian_start``. It is the potential of the squared
    Euclidean cost, whatever the cost of the pairs is, as in the paper.
    """
    points = atoms(setting)
    if points is None:
        raise ValueError("the Gaussian potential needs to know where the atoms are, and not only their cost")
    xp = check_floating(x=points[0], y=points[1], a=a, b=b)
    clouds = (
        PointCloud(xp.broadcast_to(at, (*weights.shape, at.shape[-1])), weights)
        for at, weights in zip(points, (a, b), strict=True)
    )
    return gaussian_potential(*clouds)


def baseline(config: MetaOTConfig, setting: MetaOTSetting, a: Array, b: Array, /) -> Array | None:
    """What the network corrects, for histograms (B, n) and (B, m); None for nothing.

    Equation: none. A choice by name.
    """
    return gaussian(setting, a, b) if config.baseline == "gaussian" else None


def predict(config: MetaOTConfig, setting: MetaOTSetting, params: Tree, a: Array, b: Array, /) -> Array:
    """Potentials (B, n) that a trained network predicts, in the convention of ``sinkhorn``. Units: cost.

    Equation: none. Wiring of a run. Parameters are those that ``algorithm.trained`` gives.
    """
    return setting.unit * predict_in_model_units(config, setting, params, a, b)


def predict_in_model_units(
    config: MetaOTConfig, setting: MetaOTSetting, params: Tree, a: Array, b: Array, /
) -> Array:
    """Potentials (B, n) as ``predict`` returns them, for the cost and eps of the setting.

    Equation: none. Wiring of a run; see ``meta.potentials.potential_mlp``.
    """
    f, _ = potential_mlp(params, a, b)
    corrected = baseline(config, setting, a, b)
    f = f if corrected is None else f + corrected
    if config.mask_support:
        return f
    return to_product_convention(f, a, eps=setting.eps)  # from that of the public code


def pack(setting: MetaOTSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers.

    Equation: none. Wiring of a run.
    """
    cost, points = setting.cost, setting.points
    arrays: dict[str, Any] = {"label_counts": setting.label_counts}
    if isinstance(cost, Grid):
        arrays["axes"] = {str(k): axis for k, axis in enumerate(cost.axes)}
    else:
        arrays["cost"] = cost
    if points is not None:
        arrays["points"] = {"x": points[0], "y": points[1]}
    return arrays, {"eps": setting.eps, "unit": setting.unit}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> MetaOTSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    axes = arrays.get("axes")
    cost = arrays["cost"] if axes is None else Grid(tuple(axes[str(k)] for k in range(len(axes))))
    points = None if "points" not in arrays else (arrays["points"]["x"], arrays["points"]["y"])
    # Older checkpoints have no unit: theirs was that of the data.
    return MetaOTSetting(cost, points, numbers["eps"], arrays["label_counts"], numbers.get("unit", 1.0))
