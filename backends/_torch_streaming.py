"""Twin of the streamed soft minimum for torch: on CUDA a Triton kernel, elsewhere the reference.

A CUDA build of torch brings Triton along. On the CPU the reference's blocks stay in the cache, and there is
nothing that a kernel of ours would do better.
"""

from functools import cache
from importlib.util import find_spec

import torch

from refwfm.transport import streaming
from refwfm.transport.point_problem import check_points
from refwfm.transport.problem import clear_points, log_weights


def streamed_softmin(
    x: torch.Tensor,
    y: torch.Tensor,
    potential: torch.Tensor,
    weights: torch.Tensor,
    eps: torch.Tensor,
    /,
    *,
    block: int | None = None,
) -> torch.Tensor:
    """Twin of ``transport.streaming.streamed_softmin``; the reference where autograd is in use.

    The kernel has blocks of its own: ``block`` is for the reference.
    """
    given = (x, y, potential, weights, eps)
    if not _for_the_kernel(*given):
        return streaming.streamed_softmin(*given, block=block)
    return kernel_softmin(*given)


def kernel_softmin(
    x: torch.Tensor, y: torch.Tensor, potential: torch.Tensor, weights: torch.Tensor, eps: torch.Tensor, /
) -> torch.Tensor:
    """Soft minimum by the kernel, wherever the arguments are."""
    from refwfm.backends._triton_softmin import softmin

    check_points(x, y, y=weights, potential=potential, eps=eps)
    potential = torch.where(weights > 0, potential, 0.0)
    return softmin(x, clear_points(y, weights), potential, weights, log_weights(weights), eps)


def _for_the_kernel(*given: torch.Tensor) -> bool:
    tensors = all(isinstance(v, torch.Tensor) and v.is_cuda for v in given)
    if not tensors or not _triton():
        return False
    return not (torch.is_grad_enabled() and any(v.requires_grad for v in given))


@cache
def _triton() -> bool:
    return find_spec("triton") is not None
