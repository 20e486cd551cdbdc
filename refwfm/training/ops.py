"""The operations of a run that a backend may have faster twins of."""

from collections.abc import Callable
from typing import NamedTuple

from refwfm._array import Array
from refwfm.bures import pairwise_sq_distance
from refwfm.training import optim, regression
from refwfm.training.optim import Tree
from refwfm.transport.sinkhorn import Sinkhorn, sinkhorn


class Ops(NamedTuple):
    """Functions with the signatures of the references they are twins of."""

    pairwise_sq_distance: Callable[..., Array]
    sinkhorn: Callable[..., Sinkhorn]
    gaussian_loss_and_grad: Callable[..., tuple[Array, Tree]]
    cloud_loss_and_grad: Callable[..., tuple[Array, Tree]]
    clip_by_global_norm: Callable[..., tuple[Tree, Array]]
    adam: Callable[..., tuple[Tree, optim.AdamState]]
    ema: Callable[..., Tree]


REFERENCE = Ops(
    pairwise_sq_distance,
    sinkhorn,
    regression.gaussian_loss_and_grad,
    regression.cloud_loss_and_grad,
    optim.clip_by_global_norm,
    optim.adam,
    optim.ema,
)
