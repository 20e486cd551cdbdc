"""What a model of clouds keeps of the family that it was fitted to: units, source, sizes, reference."""

from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, to_host
from refwfm.measures import PointCloud
from refwfm.sources.clouds import CholeskyNormal


class CloudSetting(NamedTuple):
    """What is fitted to a family once, before training, and needed again for generating.

    Attributes
    ----------
    shift : array, shape (d,); unit : float
        The model works on ``(x - shift) / unit``, where the family has variance 1 per coordinate.
    source : CholeskyNormal, in these units
    sizes : numpy.ndarray of integers, shape (N,)
        Points of the family's clouds, as a step sees them: sizes of new clouds are drawn from these.
    label_counts : numpy.ndarray of integers, shape (n_labels,)
        Members of each class, empty for an unconditional model.
    reference : array, shape (n, d), or None; in these units
        The reference of linear and lazy plans, and of barycentric noise.
    """

    shift: Array
    unit: float
    source: CholeskyNormal
    sizes: np.ndarray
    label_counts: np.ndarray
    reference: Array | None = None


def to_model_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Host clouds in data units, in the model's units, library, device and dtype; padding stays zero.

    Equation: none. Wiring of a run.
    """
    points, weights = asarray_like(cloud.points, setting.shift), asarray_like(cloud.weights, setting.shift)
    xp = array_namespace(points)
    return PointCloud(
        xp.where((weights > 0)[..., None], (points - setting.shift) / setting.unit, 0.0), weights
    )


def to_data_units(cloud: PointCloud, setting: CloudSetting, /) -> PointCloud:
    """Clouds in data units, on the host in float64; padding stays zero.

    Equation: none. Wiring of a run.
    """
    points, weights, shift = (to_host(x).astype(np.float64) for x in (*cloud, setting.shift))
    return PointCloud(np.where((weights > 0)[..., None], setting.unit * points + shift, 0.0), weights)


# Files


def pack(setting: CloudSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers.

    Equation: none. Wiring of a run.
    """
    arrays = {
        "shift": setting.shift,
        "source": {"mean": setting.source.mean, "std": setting.source.std},
        "sizes": setting.sizes,
        "label_counts": setting.label_counts,
    }
    if setting.reference is not None:
        arrays["reference"] = setting.reference
    return arrays, {"unit": setting.unit}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> CloudSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    return CloudSetting(
        arrays["shift"],
        numbers["unit"],
        CholeskyNormal(**arrays["source"]),
        arrays["sizes"],
        arrays["label_counts"],
        arrays.get("reference"),
    )
