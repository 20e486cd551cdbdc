"""Which network a run over clouds has, its parameters, and its loss."""

from collections.abc import Callable

from refwfm._array import Array
from refwfm.networks import init_transformer, transformer
from refwfm.networks.point_mlp import init_point_mlp, point_mlp
from refwfm.objectives import cloud_loss
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.config import CloudConfig
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.randomness import random_stream
from refwfm.training.regression import CloudBatch


def init_params(config: CloudConfig, setting: CloudSetting, /) -> Tree:
    """Random parameters of the network, drawn from the seed."""
    rng, d = random_stream(config.seed, "init"), setting.shift.shape[0]
    options = {
        "like": setting.shift,
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "hidden": config.hidden,
        "n_frequencies": config.n_frequencies,
        "n_labels": len(setting.label_counts),
    }
    if config.network == "baseline":
        return init_point_mlp(rng, d, neighbours=config.neighbours, **options)
    return init_transformer(rng, d, **options)


def predict(
    config: CloudConfig, params: Tree, points: Array, mask: Array, t: Array, labels: Array | None, /
) -> tuple[Array, Callable[[Array], Tree]]:
    """Velocity of every point of clouds (B, n, d) at times (B,), and its pullback.

    Equation: WFM App. E.2, or GWFM C.7.
    """
    if config.network == "baseline":
        options = {"heads": config.heads, "neighbours": config.neighbours}
        return point_mlp(params, points, mask, t, labels, **options)
    return transformer(params, points, mask, t, labels, heads=config.heads)


def loss_and_grad(
    config: CloudConfig, setting: CloudSetting, params: Tree, batch: CloudBatch, /, *, ops: Ops
) -> tuple[Array, Tree]:
    """Loss on a batch, and its gradient in the parameters."""
    if config.network == "transformer":
        return ops.cloud_loss_and_grad(params, batch, heads=config.heads)
    velocity, pullback = predict(config, params, batch.points, batch.weights > 0, batch.t, batch.labels)
    value, derivative = cloud_loss(velocity, batch.target, batch.weights)
    return value, pullback(derivative)
