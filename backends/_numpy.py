"""NumPy on the CPU: the default."""

from functools import partial

import numpy as np

from refwfm.backends import Backend, check_device, host_array
from refwfm.backends._float64 import path
from refwfm.backends._grids import grid_softmin
from refwfm.backends._numpy_bures import pairwise_sq_distance
from refwfm.backends._numpy_layers import mlp
from refwfm.backends._numpy_ops import adam, clip_by_global_norm, ema
from refwfm.backends._numpy_semidual import semidual_value_and_gradient
from refwfm.backends._numpy_sinkhorn import sinkhorn
from refwfm.backends._numpy_starts import error_curve
from refwfm.backends._numpy_transformer import transformer
from refwfm.backends._numpy_velocity import cloud_velocity
from refwfm.networks import bures_mlp
from refwfm.training import regression
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import Tree
from refwfm.training.regression import CloudBatch, GaussianBatch


def load(device: str, dtype: str, /) -> Backend:
    """Backend record; the only device is "cpu"."""
    return Backend(
        name="numpy",
        device=check_device("numpy", device, ("cpu",)),
        dtype=dtype,
        asarray=lambda values: host_array(values, dtype),
        to_numpy=np.asarray,
        synchronize=lambda: None,
        ops=REFERENCE._replace(
            pairwise_sq_distance=pairwise_sq_distance,
            path=path,
            sinkhorn=sinkhorn,
            grid_softmin=grid_softmin,
            error_curve=error_curve,
            semidual_value_and_gradient=semidual_value_and_gradient,
            gaussian_loss_and_grad=gaussian_loss_and_grad,
            cloud_loss_and_grad=cloud_loss_and_grad,
            cloud_velocity=cloud_velocity,
            clip_by_global_norm=clip_by_global_norm,
            adam=adam,
            ema=ema,
        ),
        version=np.__version__,
    )


def gaussian_loss_and_grad(
    params: Tree, scaling: dict[str, np.ndarray], batch: GaussianBatch, /, *, method: str
) -> tuple[np.ndarray, Tree]:
    """Twin of ``training.regression.gaussian_loss_and_grad``, over the twin of the perceptron."""
    network = partial(bures_mlp, perceptron=mlp)
    return regression.gaussian_loss_and_grad(params, scaling, batch, method=method, network=network)


def cloud_loss_and_grad(params: Tree, batch: CloudBatch, /, *, heads: int) -> tuple[np.ndarray, Tree]:
    """Twin of ``training.regression.cloud_loss_and_grad``, over the twin of the transformer."""
    return regression.cloud_loss_and_grad(params, batch, heads=heads, network=transformer)
