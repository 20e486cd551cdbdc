"""The kinds of models: all that is particular to Gaussians, to point clouds, to Meta OT or to populations.

A flow is a module, ``gaussians``, ``clouds``, ``meta_ot``, ``meta_clouds`` or ``meta_fm``; ``algorithm`` and
``runs`` call only what the Protocol names.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from refwfm._array import Array
from refwfm.training import clouds, gaussians, meta_clouds, meta_fm, meta_ot
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.meta_clouds import CloudPairs
from refwfm.training.meta_fm import MetaFMBatch
from refwfm.training.meta_ot import MetaBatch
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.regression import CloudBatch, GaussianBatch
from refwfm.training.team import Share


class Flow(Protocol):
    """What training, models and their files need to know about one kind of measure.

    Settings, families and configurations are the kind's own types, such as ``GaussianSetting``, ``Gaussian``
    and ``GaussianConfig``, or ``CloudSetting``, ``Families`` and ``CloudConfig``.
    """

    def prepare(
        self,
        config: Any,
        data: Any,
        source: Any,
        asarray: Callable[[Any], Array],
        /,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Any, Any]:
        """Fit a setting to the data; also return the data as ``draw_batch`` wants them."""
        ...

    def arrays_of(self, data: Any, /) -> tuple[np.ndarray | None, ...]:
        """All numbers of a family."""
        ...

    def init_params(self, config: Any, setting: Any, /) -> Tree:
        """Random parameters of the network."""
        ...

    def draw_batch(
        self,
        config: Any,
        setting: Any,
        family: Any,
        labels: np.ndarray | None,
        step: int,
        /,
        *,
        ops: Ops,
        share: Share = ...,
    ) -> GaussianBatch | CloudBatch | MetaBatch | CloudPairs | MetaFMBatch:
        """Algorithm 1 up to the regression, for a share of the batch's members."""
        ...

    def loss_and_grad(
        self, config: Any, setting: Any, params: Tree, batch: Any, /, *, ops: Ops
    ) -> tuple[Array, Tree]:
        """Loss on a batch, and its gradient in the parameters, or in some of their parts."""
        ...

    def pack(self, setting: Any, /) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take a setting apart for a checkpoint: a tree of arrays, and numbers."""
        ...

    def unpack(self, arrays: dict[str, Any], numbers: dict[str, Any], /) -> Any:
        """Put a setting together again: the inverse of ``pack``."""
        ...


FLOWS: dict[str, Flow] = {
    "gaussians": gaussians,
    "clouds": clouds,
    "meta-ot": meta_ot,
    "meta-ot-clouds": meta_clouds,
    "meta-fm": meta_fm,
}
"""The flows, by their names in checkpoints."""

CONFIGS: dict[str, type[TrainingConfig]] = {
    "gaussians": GaussianConfig,
    "clouds": CloudConfig,
    "meta-ot": MetaOTConfig,
    "meta-ot-clouds": MetaCloudsConfig,
    "meta-fm": MetaFMConfig,
}
"""Configurations of their runs."""


def kind_of(config: TrainingConfig, /) -> str:
    """Name of the flow that a configuration is for.

    Equation: none. Wiring of a run.
    """
    for kind, each in CONFIGS.items():
        if isinstance(config, each):
            return kind
    names = " or a ".join(each.__name__ for each in CONFIGS.values())
    raise TypeError(f"config must be a {names}; got a {type(config).__name__}")


def flow_of(config: TrainingConfig, /) -> Flow:
    """Flow that a configuration is for.

    Equation: none. Wiring of a run.
    """
    return FLOWS[kind_of(config)]
