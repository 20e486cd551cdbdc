"""PyTorch, on the CPU or on a CUDA GPU."""

import torch

from refwfm._array import to_host
from refwfm.backends import Backend, BackendError, check_device, host_array
from refwfm.backends._float64 import pairwise_sq_distance, path
from refwfm.backends._grids import grid_softmin
from refwfm.backends._torch_ops import adam, clip_by_global_norm, ema, gaussian_loss_and_grad
from refwfm.backends._torch_sinkhorn import sinkhorn
from refwfm.backends._torch_streaming import streamed_softmin
from refwfm.backends._torch_transformer import cloud_velocity, transformer
from refwfm.training import regression
from refwfm.training.ops import REFERENCE
from refwfm.training.optim import Tree
from refwfm.training.regression import CloudBatch


def load(device: str, dtype: str, /) -> Backend:
    """Backend record for "cpu", "cuda" or "cuda:1"; when none is named, the GPU if there is one."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError("torch sees no CUDA device; use torch:cpu, or install a CUDA build of torch")
    known = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu", "cuda")
    device = check_device("torch", device, known)

    def asarray(values: object) -> torch.Tensor:
        return torch.tensor(host_array(values, dtype), device=device)

    return Backend(
        name=f"torch:{device}",
        device=device,
        dtype=dtype,
        asarray=asarray,
        to_numpy=to_host,
        synchronize=torch.cuda.synchronize if device.startswith("cuda") else lambda: None,
        ops=REFERENCE._replace(
            pairwise_sq_distance=pairwise_sq_distance,
            path=path,
            sinkhorn=sinkhorn,
            streamed_softmin=streamed_softmin,
            grid_softmin=grid_softmin,
            gaussian_loss_and_grad=gaussian_loss_and_grad,
            cloud_loss_and_grad=cloud_loss_and_grad,
            cloud_velocity=cloud_velocity,
            clip_by_global_norm=clip_by_global_norm,
            adam=adam,
            ema=ema,
        ),
        version=torch.__version__,
    )


def cloud_loss_and_grad(params: Tree, batch: CloudBatch, /, *, heads: int) -> tuple[torch.Tensor, Tree]:
    """Twin of ``training.regression.cloud_loss_and_grad``, over the twin of the transformer."""
    return regression.cloud_loss_and_grad(params, batch, heads=heads, network=transformer)
