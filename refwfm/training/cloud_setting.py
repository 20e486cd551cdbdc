"""What a model of clouds keeps of the family that it was fitted to: units, source, sizes, reference."""

from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, asarray_like, to_host
from refwfm.measures import PointCloud
from refwfm.sources.clouds import CholeskyNormal
from refwfm.training.conditions import Conditions, pack_conditions, unpack_conditions
from refwfm.training.optim import Tree
from refwfm.training.semidiscrete import OuterPlan, pack_outer, unpack_outer


class CloudSetting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : numpy.ndarray, shape (d,), float64; unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate. They stay
        on the host, where both directions are computed: far from the origin float32 has no digits to shift.
    source : CholeskyNormal, in these units
    sizes : numpy.ndarray of integers, shape (N,)
        Points of the family's clouds, as a step sees them: sizes of new clouds are drawn from these.
    label_counts : numpy.ndarray of integers, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    reference : array, shape (n, d), or None; in these units
        The reference of linear and lazy plans, and of barycentric noise.
    start : tree of arrays, or None
        Parameters of the network that predicts where the inner plans start (``inner_start``).
    conditions : Conditions, or None
        Numbers that the model is conditioned on.
    outer : OuterPlan, or None
        Weights of a semidiscrete outer plan.
    grid : tuple of float, length d or 0
        Spacing in these units of the grid that the network is told of, by coordinate; 0 where there is none.
    """

    shift: np.ndarray
    unit: float
    source: CholeskyNormal
    sizes: np.ndarray
    label_counts: np.ndarray
    reference: Array | None = None
    start: Tree = None
    conditions: Conditions | None = None
    outer: OuterPlan | None = None
    grid: tuple[float, ...] = ()

    @property
    def like(self) -> Array:
        """An array of the model's library, device and dtype."""
        return self.source.mean


def to_model_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Host clouds in data units, in the model's units, library, device and dtype; padding stays zero.

    Equation: none. Wiring of a run.
    """
    points = np.where((cloud.weights > 0)[..., None], (cloud.points - setting.shift) / setting.unit, 0.0)
    return PointCloud(asarray_like(points, setting.like), asarray_like(cloud.weights, setting.like))


def to_data_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Clouds in data units, on the host in float64; padding stays zero.

    Equation: none. Wiring of a run.
    """
    points, weights = (to_host(x).astype(np.float64) for x in cloud)
    return PointCloud(np.where((weights > 0)[..., None], setting.unit * points + setting.shift, 0.0), weights)


# Files


def pack(setting: CloudSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers.

    Equation: none. Wiring of a run.
    """
    arrays = {
        "source": {"mean": setting.source.mean, "std": setting.source.std},
        "sizes": setting.sizes,
        "label_counts": setting.label_counts,
    }
    if setting.reference is not None:
        arrays["reference"] = setting.reference
    if setting.start is not None:
        arrays["start"] = setting.start
    values, numbers = pack_conditions(setting.conditions)
    plan, evidence = pack_outer(setting.outer)
    told = {"unit": setting.unit, "shift": setting.shift.tolist(), **numbers, **evidence}
    if setting.grid:
        told["grid"] = list(setting.grid)
    return {**arrays, **values, **plan}, told


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> CloudSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    return CloudSetting(
        np.asarray(numbers["shift"], dtype=np.float64),
        numbers["unit"],
        CholeskyNormal(**arrays["source"]),
        arrays["sizes"],
        arrays["label_counts"],
        arrays.get("reference"),
        arrays.get("start"),
        unpack_conditions(arrays, numbers),
        unpack_outer(arrays, numbers),
        tuple(numbers.get("grid", ())),
    )
