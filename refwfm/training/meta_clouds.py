"""A model of Meta OT for clouds: a correction of the Gaussian potential at each point, for pairs of a family.

The module is a ``flows.Flow``, as ``meta_ot`` is for histograms. Both clouds of a pair are members of one
family, drawn independently.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import Array, asarray_like
from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_loss_and_grad, init_cloud_potential
from refwfm.training.config import MetaCloudsConfig
from refwfm.training.meta_ot import check_resolved
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import distinct_pairs, random_stream
from refwfm.training.team import ALONE, Share, part_of

EPS = 0.01
"""Entropic regularisation as a share of the mean squared distance of points of the family."""


class MetaCloudsSetting(NamedTuple):
    """What is fitted to a family once.

    Attributes
    ----------
    shift : numpy.ndarray, shape (d,), float64; unit : float
        The model works on ``(x - shift) / unit``.
    eps : float. Units: data squared.
    like : array, shape (0,)
        Fixes library, dtype and device.
    label_counts : numpy.ndarray, shape (0,)
        Pairs have no labels.
    """

    shift: np.ndarray
    unit: float
    eps: float
    like: Array
    label_counts: np.ndarray = np.zeros(0, np.int64)


class CloudPairs(NamedTuple):
    """Pairs of clouds, in the model's units."""

    x: PointCloud
    y: PointCloud
    plan_error: float = 0.0
    plan_iterations: int = 0


def prepare(
    config: MetaCloudsConfig,
    data: Any,
    source: Any,
    asarray: Callable[[Any], Array],
    /,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[MetaCloudsSetting, Any]:
    """Fit units and eps to a family of clouds, which stays on the host.

    Equation: none. Wiring of a run. There is no source family, and nothing that takes long enough to report.
    """
    if source is not None:
        raise ValueError("source: Meta OT has no source; it predicts potentials of pairs")
    if len(data) < 2:
        raise ValueError(f"{data.name}: pairs of clouds need at least two clouds; got {len(data)}")
    points = np.asarray(data.points)
    shift = np.mean(points, axis=0)
    largest = float(np.max(np.abs(points - shift))) or 1.0  # squares of large numbers overflow
    spread = float(np.mean(np.sum(((points - shift) / largest) ** 2, axis=-1))) or 1.0
    unit = largest * (spread / len(shift)) ** 0.5
    mean_cost = 2.0 * spread * largest * largest
    if not 0.0 < mean_cost < np.inf:
        raise ValueError(
            f"{data.name}: points {largest:.3g} from their mean have squared distances beyond float64; use "
            "another unit"
        )
    eps = float(EPS * mean_cost if config.eps is None else config.eps)
    setting = MetaCloudsSetting(shift, unit, eps, asarray(np.zeros(0)))
    check_resolved(eps / mean_cost, setting.like, mean_cost)
    return setting, data


def arrays_of(data: Any, /) -> tuple[np.ndarray | None, ...]:
    """All numbers of a family of clouds.

    Equation: none. Wiring of a run.
    """
    return data.points, data.offsets, data.weights


def init_params(config: MetaCloudsConfig, setting: MetaCloudsSetting, /) -> Tree:
    """Random parameters of the network, drawn from the seed."""
    rng = random_stream(config.seed, "init")
    return init_cloud_potential(rng, len(setting.shift), like=setting.like, width=config.width)


def draw_batch(
    config: MetaCloudsConfig,
    setting: MetaCloudsSetting,
    family: Any,
    labels: np.ndarray | None,
    step: int,
    /,
    *,
    ops: Ops,
    share: Share = ALONE.share,
) -> CloudPairs:
    """Random pairs of step ``step``.

    Equation: none. A draw; see ``meta.cloud_potentials``.
    """
    pairs = draw(config, setting, family, config.batch, seed=config.seed, step=step, stream="batch")
    return part_of(CloudPairs(*pairs), share)


def draw(
    config: MetaCloudsConfig,
    setting: MetaCloudsSetting,
    family: Any,
    size: int,
    /,
    *,
    seed: int,
    step: int,
    stream: str,
) -> tuple[PointCloud, PointCloud]:
    """Pairs of members of a family, drawn independently, in the model's units.

    Equation: none. A draw. In the stream "evaluation" they are distinct, each of two distinct members, and
    fewer than ``size`` if there are no more.
    """
    rng, n = random_stream(seed, stream, step), len(family)
    index = distinct_pairs(rng, n, size) if stream == "evaluation" else rng.integers(n, size=(2, size))
    x, y = (family.batch(each, n_points=config.n_points, rng=rng) for each in index)
    return _to_model_units(x, setting), _to_model_units(y, setting)


def _to_model_units(cloud: PointCloud, setting: MetaCloudsSetting) -> PointCloud:
    points = np.where((cloud.weights > 0)[..., None], (cloud.points - setting.shift) / setting.unit, 0.0)
    return PointCloud(asarray_like(points, setting.like), asarray_like(cloud.weights, setting.like))


def loss_and_grad(
    config: MetaCloudsConfig, setting: MetaCloudsSetting, params: Tree, batch: CloudPairs, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters.

    Equation: none. Wiring of a run; see ``meta.cloud_potentials.cloud_loss_and_grad``.
    """
    return cloud_loss_and_grad(
        params,
        batch.x,
        batch.y,
        eps=setting.eps / setting.unit**2,
        semidual=ops.semidual_value_and_gradient,
    )


def pack(setting: MetaCloudsSetting, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a setting apart for a checkpoint: a tree of arrays, and numbers.

    Equation: none. Wiring of a run.
    """
    arrays = {"like": setting.like, "label_counts": setting.label_counts}
    return arrays, {"shift": setting.shift.tolist(), "unit": setting.unit, "eps": setting.eps}


def unpack(arrays: dict[str, Any], numbers: dict[str, Any], /) -> MetaCloudsSetting:
    """Put a setting together again: the inverse of ``pack``.

    Equation: none. Wiring of a run.
    """
    shift = np.asarray(numbers["shift"], np.float64)
    return MetaCloudsSetting(shift, numbers["unit"], numbers["eps"], arrays["like"], arrays["label_counts"])
