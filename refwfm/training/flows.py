"""The kinds of measures a model can be over: all that is particular to Gaussians, or to point clouds.

A flow is a module, ``gaussians`` or ``clouds``; ``algorithm`` and ``runs`` call only what the Protocol names.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from refwfm._array import Array
from refwfm.training import clouds, gaussians
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.ops import Ops
from refwfm.training.optim import Tree
from refwfm.training.regression import CloudBatch, GaussianBatch


class Flow(Protocol):
    """What training, models and their files need to know about one kind of measure.

    Settings, families and configurations are the kind's own types: ``GaussianSetting`` or ``CloudSetting``,
    ``Gaussian`` or ``Families``, ``GaussianConfig`` or ``CloudConfig``.
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
        self, config: Any, setting: Any, family: Any, labels: np.ndarray | None, step: int, /, *, ops: Ops
    ) -> GaussianBatch | CloudBatch:
        """Algorithm 1 up to the regression."""
        ...

    def loss_and_grad(
        self, config: Any, setting: Any, params: Tree, batch: Any, /, *, ops: Ops
    ) -> tuple[Array, Tree]:
        """Loss on a batch, and its gradient in the parameters."""
        ...

    def pack(self, setting: Any, /) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take a setting apart for a checkpoint: a tree of arrays, and numbers."""
        ...

    def unpack(self, arrays: dict[str, Any], numbers: dict[str, Any], /) -> Any:
        """Put a setting together again: the inverse of ``pack``."""
        ...


FLOWS: dict[str, Flow] = {"gaussians": gaussians, "clouds": clouds}
"""The flows, by their names in checkpoints."""

CONFIGS: dict[str, type[TrainingConfig]] = {"gaussians": GaussianConfig, "clouds": CloudConfig}
"""Configurations of their runs."""


def kind_of(config: TrainingConfig, /) -> str:
    """Name of the flow that a configuration is for.

    Equation: none. Wiring of a run.
    """
    for kind, each in CONFIGS.items():
        if isinstance(config, each):
            return kind
    raise TypeError(f"config must be a GaussianConfig or a CloudConfig; got a {type(config).__name__}")


def flow_of(config: TrainingConfig, /) -> Flow:
    """Flow that a configuration is for.

    Equation: none. Wiring of a run.
    """
    return FLOWS[kind_of(config)]
