"""The operations of a run for which a backend may have faster twins.

A twin has the name and the signature of its reference. Only a reference leaves its arguments alone: the twins
of the optimiser may write their result into the memory of what they are given, so a state that went into a
step must not be used again.
"""

from typing import NamedTuple, Protocol

from refwfm._array import Array
from refwfm.bures import pairwise_sq_distance, path
from refwfm.measures import Gaussian
from refwfm.training import optim, regression
from refwfm.training.methods import Path
from refwfm.training.optim import AdamState, Tree
from refwfm.training.regression import CloudBatch, GaussianBatch
from refwfm.transport.grids import Cost, Grid, Softmin, grid_softmin
from refwfm.transport.semidual import semidual_value_and_gradient
from refwfm.transport.sinkhorn import Sinkhorn, sinkhorn
from refwfm.transport.starts import error_curve
from refwfm.transport.streaming import StreamedSoftmin, streamed_softmin


class PairwiseSqDistance(Protocol):
    """See ``bures.pairwise_sq_distance``."""

    def __call__(self, mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> Array: ...  # noqa: D102


class SinkhornSolver(Protocol):
    """See ``transport.sinkhorn.sinkhorn``."""

    def __call__(  # noqa: D102
        self,
        cost: Array,
        a: Array,
        b: Array,
        /,
        *,
        eps: float | Array,
        scale_cost: str | float | None = None,
        tol: float | None = 1e-3,
        max_iter: int = 10_000,
        f_init: Array | None = None,
        require: bool = True,
        validate: bool = True,
        check_every: int = 10,
    ) -> Sinkhorn: ...


class GridSoftmin(Protocol):
    """See ``transport.grids.grid_softmin``."""

    def __call__(self, grid: Grid, potential: Array, weights: Array, eps: Array, /) -> Array: ...  # noqa: D102


class ErrorCurve(Protocol):
    """See ``transport.starts.error_curve``."""

    def __call__(  # noqa: D102
        self,
        cost: Cost,
        a: Array,
        b: Array,
        /,
        *,
        eps: float | Array,
        n_iter: int,
        f_init: Array | None = None,
        validate: bool = True,
        minimum: Softmin | None = None,
    ) -> Array: ...


class SemidualValueAndGradient(Protocol):
    """See ``transport.semidual.semidual_value_and_gradient``."""

    def __call__(  # noqa: D102
        self,
        f: Array,
        cost: Cost,
        a: Array,
        b: Array,
        /,
        *,
        eps: float | Array,
        validate: bool = True,
        minimum: Softmin | None = None,
    ) -> tuple[Array, Array]: ...


class GaussianLossAndGrad(Protocol):
    """See ``training.regression.gaussian_loss_and_grad``."""

    def __call__(  # noqa: D102
        self, params: Tree, scaling: dict[str, Array], batch: GaussianBatch, /, *, method: str
    ) -> tuple[Array, Tree]: ...


class CloudLossAndGrad(Protocol):
    """See ``training.regression.cloud_loss_and_grad``."""

    def __call__(  # noqa: D102
        self, params: Tree, batch: CloudBatch, /, *, heads: int
    ) -> tuple[Array, Tree]: ...


class CloudVelocity(Protocol):
    """See ``training.regression.cloud_velocity``."""

    def __call__(  # noqa: D102
        self,
        params: Tree,
        points: Array,
        mask: Array | None,
        t: Array,
        labels: Array | None = None,
        /,
        *,
        heads: int,
    ) -> Array: ...


class ClipByGlobalNorm(Protocol):
    """See ``training.optim.clip_by_global_norm``."""

    def __call__(self, grads: Tree, /, max_norm: float) -> tuple[Tree, Array]: ...  # noqa: D102


class Adam(Protocol):
    """See ``training.optim.adam``."""

    def __call__(  # noqa: D102
        self, params: Tree, grads: Tree, state: AdamState, /, *, learning_rate: float
    ) -> tuple[Tree, AdamState]: ...


class Ema(Protocol):
    """See ``training.optim.ema``."""

    def __call__(self, average: Tree, params: Tree, /, *, decay: float) -> Tree: ...  # noqa: D102


class Ops(NamedTuple):
    """Functions with the signatures of the references they are twins of."""

    pairwise_sq_distance: PairwiseSqDistance
    path: Path
    sinkhorn: SinkhornSolver
    streamed_softmin: StreamedSoftmin
    grid_softmin: GridSoftmin
    error_curve: ErrorCurve
    semidual_value_and_gradient: SemidualValueAndGradient
    gaussian_loss_and_grad: GaussianLossAndGrad
    cloud_loss_and_grad: CloudLossAndGrad
    cloud_velocity: CloudVelocity
    clip_by_global_norm: ClipByGlobalNorm
    adam: Adam
    ema: Ema


REFERENCE = Ops(
    pairwise_sq_distance,
    path,
    sinkhorn,
    streamed_softmin,
    grid_softmin,
    error_curve,
    semidual_value_and_gradient,
    regression.gaussian_loss_and_grad,
    regression.cloud_loss_and_grad,
    regression.cloud_velocity,
    optim.clip_by_global_norm,
    optim.adam,
    optim.ema,
)
