"""Networks of torch in reduced precision, or compiled; see ``arithmetic``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from refwfm.backends import Backend, BackendError
from refwfm.backends._torch_ops import bures_mlp, mlp_layers
from refwfm.backends._torch_transformer import cloud_velocity, transformer, transformer_layers
from refwfm.networks import Params
from refwfm.training import regression

AMPERE = (8, 0)
"""Compute capability of the first GPUs with TF32 and bf16."""


def with_arithmetic(backend: Backend, precision: str | None, compiled: bool, /) -> Backend:
    """The backend with other layers in its networks."""
    on_gpu = backend.device.startswith("cuda")
    if precision == "tf32" and not on_gpu:
        raise BackendError(
            "precision tf32 needs a GPU (--backend torch:cuda): CPUs have none; bf16 they have"
        )
    if precision is not None and on_gpu and torch.cuda.get_device_capability(backend.device) < AMPERE:
        raise BackendError(f"precision {precision} needs a GPU of compute capability 8.0 or more")
    around = tf32 if precision == "tf32" else nullcontext
    of_clouds, of_gaussians = transformer_layers, mlp_layers
    if precision == "bf16":
        of_clouds, of_gaussians = _bf16_transformer_layers, partial(mlp_layers, inner=bf16)
    generation = partial(cloud_velocity, layers=of_clouds, around=around)
    if compiled:
        mode = "reduce-overhead" if on_gpu else None  # CUDA graphs
        of_clouds, of_gaussians = (torch.compile(layers, mode=mode) for layers in (of_clouds, of_gaussians))
    begin = torch.compiler.cudagraph_mark_step_begin if compiled and on_gpu else None
    networks = (partial(f, around=around) for f in (transformer, bures_mlp))
    clouds, gaussians = (
        partial(network, layers=layers)
        for network, layers in zip(networks, (of_clouds, of_gaussians), strict=True)
    )
    return backend._replace(
        ops=backend.ops._replace(
            cloud_loss_and_grad=_begun(begin, partial(regression.cloud_loss_and_grad, network=clouds)),
            gaussian_loss_and_grad=_begun(
                begin, partial(regression.gaussian_loss_and_grad, network=gaussians)
            ),
            cloud_velocity=generation,
        )
    )


def _begun(begin: Callable[[], None] | None, loss: Callable[..., Any]) -> Callable[..., Any]:
    """A loss that first tells CUDA graphs that the results of the last step may be overwritten."""
    if begin is None:
        return loss

    def begun(*given: Any, **options: Any) -> Any:
        begin()
        return loss(*given, **options)

    return begun


def bf16(device: torch.device) -> Any:
    """Context in which products of matrices are those of bfloat16, and sums of many numbers float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _bf16_transformer_layers(
    params: Params, read: torch.Tensor, condition: torch.Tensor, bias: torch.Tensor | None, heads: int
) -> torch.Tensor:
    if bias is not None:  # whose lowest number would be minus infinity, and NaN in a cloud of padding
        bias = bias.clamp(min=torch.finfo(torch.bfloat16).min)
    return transformer_layers(params, read, condition, bias, heads, inner=bf16)


@contextmanager
def tf32() -> Iterator[None]:
    """Context in which products of float32 matrices on a GPU round their factors to TF32; restored after."""
    matmul = torch.backends.cuda.matmul
    name, value = ("fp32_precision", "tf32") if hasattr(matmul, "fp32_precision") else ("allow_tf32", True)
    before = getattr(matmul, name)
    setattr(matmul, name, value)
    try:
        yield
    finally:
        setattr(matmul, name, before)
