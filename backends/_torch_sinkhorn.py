"""Twin of Sinkhorn for torch: on the CPU that of NumPy, on the same memory; on a GPU the reference.

What makes the twin fast (products with a kernel that is already there, and few of them) is the same in both
libraries; besides, torch's exponential on the CPU is slow for very negative numbers.
"""

from typing import Any

import torch

from refwfm.backends import _numpy_sinkhorn
from refwfm.transport import sinkhorn as reference
from refwfm.transport.sinkhorn import Sinkhorn


def sinkhorn(cost: torch.Tensor, a: torch.Tensor, b: torch.Tensor, /, **options: Any) -> Sinkhorn:
    """Twin of ``transport.sinkhorn.sinkhorn``, with its options; the reference where autograd is in use."""
    tensors = [x for x in (cost, a, b, *options.values()) if isinstance(x, torch.Tensor)]
    tracked = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if tracked or any(x.device.type != "cpu" or x.dtype not in _KNOWN for x in tensors):
        return reference.sinkhorn(cost, a, b, **options)
    host = {name: _to_numpy(value) for name, value in options.items()}
    found = _numpy_sinkhorn.sinkhorn(*map(_to_numpy, (cost, a, b)), **host)
    return Sinkhorn(*(x if isinstance(x, int) else torch.as_tensor(x) for x in found))


_KNOWN = (torch.float32, torch.float64)


def _to_numpy(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value
