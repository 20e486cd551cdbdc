"""The kinds of measures a model can be over: all that is particular to Gaussians, or to point clouds.

A flow is the same list of functions for each kind; ``training`` and ``models`` know nothing else of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from refwfm.training import clouds, gaussians
from refwfm.training.config import CloudConfig, GaussianConfig, TrainingConfig
from refwfm.training.optim import Tree


class Flow(NamedTuple):
    """What training, models and their files need to know about one kind of measure.

    Attributes
    ----------
    kind : str
        Its name in a checkpoint.
    config : type
    prepare : callable
        ``(config, data, source, asarray) -> (setting, family)``: what is fitted to the data once, and the
        data as ``draw_batch`` wants them.
    arrays_of : callable
        ``data -> arrays``: the numbers of a family.
    init_params : callable
        ``(config, setting) -> params``
    draw_batch : callable
        ``(config, setting, family, labels, step, ops=) -> batch``: Algorithm 1 up to the regression.
    loss_and_grad : callable
        ``(config, setting, params, batch, ops=) -> (value, gradient)``
    pack, unpack : callable
        A setting as arrays and numbers of a checkpoint, and back.
    """

    kind: str
    config: type[TrainingConfig]
    prepare: Callable[..., tuple[Any, Any]]
    arrays_of: Callable[..., tuple[Any, ...]]
    init_params: Callable[..., Tree]
    draw_batch: Callable[..., Any]
    loss_and_grad: Callable[..., tuple[Any, Tree]]
    pack: Callable[..., Any]
    unpack: Callable[..., Any]


GAUSSIANS = Flow(
    "gaussians",
    GaussianConfig,
    gaussians.prepare,
    gaussians.arrays_of,
    gaussians.init_params,
    gaussians.draw_batch,
    gaussians.loss_and_grad,
    gaussians.pack,
    gaussians.unpack,
)
CLOUDS = Flow(
    "clouds",
    CloudConfig,
    clouds.prepare,
    clouds.arrays_of,
    clouds.init_params,
    clouds.draw_batch,
    clouds.loss_and_grad,
    clouds.pack,
    clouds.unpack,
)
FLOWS = {flow.kind: flow for flow in (GAUSSIANS, CLOUDS)}


def flow_of(config: TrainingConfig, /) -> Flow:
    """Flow that a configuration is for."""
    return CLOUDS if isinstance(config, CloudConfig) else GAUSSIANS
