"""The networks of a model of clouds by name: parameters, field and loss of each, and their options."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

from refwfm._array import Array
from refwfm.networks import init_transformer
from refwfm.networks.point_mlp import init_point_mlp, point_mlp
from refwfm.training.base_config import FlowOptions
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.conditions import network_sizes
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import Tree
from refwfm.training.options import option
from refwfm.training.randomness import random_stream
from refwfm.training.regression import CloudBatch, cloud_loss_and_grad


class Network(NamedTuple):
    """One architecture: functions that take the options of a run first.

    Attributes
    ----------
    init : callable
        ``(options, setting) -> params``: random parameters, drawn from the seed.
    velocity : callable
        ``(options, params, points, mask, t, labels, ops) -> velocity``
    loss_and_grad : callable
        ``(options, params, batch, ops) -> (value, gradient)``
    """

    init: Callable[["NetworkOptions", CloudSetting], Tree]
    velocity: Callable[["NetworkOptions", Tree, Array, Array, Array, Array | None, Ops], Array]
    loss_and_grad: Callable[["NetworkOptions", Tree, CloudBatch, Ops], tuple[Array, Tree]]


def _init_transformer(options: "NetworkOptions", setting: CloudSetting) -> Tree:
    return init_transformer(
        random_stream(options.seed, "init"), setting.shift.shape[0], **_sizes(options, setting)
    )


def _transformer(
    options: "NetworkOptions",
    params: Tree,
    points: Array,
    mask: Array,
    t: Array,
    labels: Array | None,
    ops: Ops,
) -> Array:
    return ops.cloud_velocity(params, points, mask, t, labels, heads=options.heads)


def _transformer_loss(
    options: "NetworkOptions", params: Tree, batch: CloudBatch, ops: Ops
) -> tuple[Array, Tree]:
    return ops.cloud_loss_and_grad(params, batch, heads=options.heads)


def _init_baseline(options: "NetworkOptions", setting: CloudSetting) -> Tree:
    return init_point_mlp(
        random_stream(options.seed, "init"),
        setting.shift.shape[0],
        neighbours=options.neighbours,
        **_sizes(options, setting),
    )


def _baseline(
    options: "NetworkOptions",
    params: Tree,
    points: Array,
    mask: Array,
    t: Array,
    labels: Array | None,
    ops: Ops,
) -> Array:
    heads, neighbours = options.heads, options.neighbours
    velocity: Array = point_mlp(params, points, mask, t, labels, heads=heads, neighbours=neighbours)[0]
    return velocity


def _baseline_loss(
    options: "NetworkOptions", params: Tree, batch: CloudBatch, ops: Ops
) -> tuple[Array, Tree]:
    network = partial(point_mlp, neighbours=options.neighbours)
    return cloud_loss_and_grad(params, batch, heads=options.heads, network=network)


def _sizes(options: "NetworkOptions", setting: CloudSetting) -> dict[str, Any]:
    return {
        "like": setting.like,
        "width": options.width,
        "depth": options.depth,
        "heads": options.heads,
        "hidden": options.hidden,
        "n_frequencies": options.n_frequencies,
        "n_space": options.point_features,
        "space_scale": options.point_scale,
        "grid": setting.grid,
        **network_sizes(setting),
    }


NETWORKS = {
    "transformer": Network(_init_transformer, _transformer, _transformer_loss),  # WFM App. E.2
    "baseline": Network(_init_baseline, _baseline, _baseline_loss),  # GWFM C.7
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(FlowOptions):
    """The network of a model of clouds; the papers state neither hidden width nor number of neighbours."""

    PANEL: ClassVar[str] = "Network of clouds"

    network: str = option("transformer", "Architecture of the network.", choices=NETWORKS)
    heads: int = option(4, "Number of attention heads; divides the width.", low=1)
    hidden: int = option(512, "Width of the transformer's feed-forward layers.", low=1)
    neighbours: int = option(8, "Number of nearest points that the baseline reads of each point.", low=1)
    point_features: int = option(
        0,
        "Random frequencies of a point's place that the network reads beside it (ours); 0 for none.",
        low=0,
    )
    point_scale: float = option(
        2.0, "Standard deviation of these, in radians / standard deviation of the data.", low=0
    )
    grid_features: bool = option(
        False,
        "Whether the network reads where a point lies in the data's grid, of pixels for example (ours).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got {self.width} and {self.heads}")


def init_params(options: NetworkOptions, setting: CloudSetting, /) -> Tree:
    """Random parameters of the network, drawn from the seed."""
    return NETWORKS[options.network].init(options, setting)


def predict(
    options: NetworkOptions,
    params: Tree,
    points: Array,
    mask: Array,
    t: Array,
    labels: Array | None,
    /,
    *,
    ops: Ops = REFERENCE,
) -> Array:
    """Velocity of every point of clouds (B, n, d) at times (B,).

    Equation: WFM-Alg1-clouds. The network is that of WFM-AppE2-network or GWFM-C7.
    """
    return NETWORKS[options.network].velocity(options, params, points, mask, t, labels, ops)


def loss_and_grad(
    options: NetworkOptions, setting: CloudSetting, params: Tree, batch: CloudBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters.

    Equation: WFM-Alg1-clouds.
    """
    return NETWORKS[options.network].loss_and_grad(options, params, batch, ops)
