"""Twin of the transformer for torch: fused attention and layer norms, and autograd for the pullback."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional

from refwfm.networks import Params
from refwfm.networks._order import in_order
from refwfm.networks.conditioning import embed_condition
from refwfm.networks.features import with_features, without_gradient
from refwfm.networks.transformer import check_inputs
from refwfm.training.optim import flatten, unflatten


def transformer(
    params: Params,
    points: torch.Tensor,
    mask: torch.Tensor | None,
    t: torch.Tensor,
    /,
    labels: torch.Tensor | None = None,
    *,
    heads: int,
    layers: "Layers | None" = None,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[torch.Tensor, Callable[[torch.Tensor], Params]]:
    """Twin of ``refwfm.networks.transformer``.

    The pullback can be called once: it frees what the forward pass stored. ``layers`` and ``around`` say how
    the network is computed (``arithmetic``): what its layers are, and a context for them and their pullback.
    """
    shape = points.shape
    given = check_inputs(params, points, mask, t, labels, heads=heads)
    learned = {name: part for name, part in params.items() if name != "frequencies"}
    leaves = {path: leaf.detach().requires_grad_() for path, leaf in flatten(learned).items()}
    with torch.enable_grad():
        tree = {**params, **unflatten(leaves)}
        velocity = _velocity(tree, *given, heads=heads, layers=layers, around=around).reshape(shape)

    def pullback(d_velocity: torch.Tensor) -> Params:
        with around():
            grads = torch.autograd.grad(velocity, list(leaves.values()), d_velocity)
        return {**unflatten(dict(zip(leaves, grads, strict=True))), **without_gradient(params)}

    return velocity.detach(), pullback


@torch.no_grad()
def cloud_velocity(
    params: Params,
    points: torch.Tensor,
    mask: torch.Tensor | None,
    t: torch.Tensor,
    labels: torch.Tensor | None = None,
    /,
    *,
    heads: int,
    layers: "Layers | None" = None,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> torch.Tensor:
    """Twin of ``training.regression.cloud_velocity``: nothing is kept for a pullback."""
    given = check_inputs(params, points, mask, t, labels, heads=heads)
    return _velocity(params, *given, heads=heads, layers=layers, around=around).reshape(points.shape)


def _velocity(
    params: Params,
    points: torch.Tensor,
    mask: torch.Tensor | None,
    t: torch.Tensor,
    labels: torch.Tensor | None,
    *,
    heads: int,
    layers: "Layers | None",
    around: Callable[[], AbstractContextManager[Any]],
) -> torch.Tensor:
    read = with_features(params, points, points)
    if mask is not None and mask.device.type == "cpu" and bool(mask.all()):  # on a GPU this would wait
        mask = None
    bias = None if mask is None else _attention_bias(mask, points.dtype)
    condition, _ = embed_condition(params, t, labels)
    with around():
        velocity = (layers or transformer_layers)(params, read, condition, bias, heads)
    return velocity if mask is None else velocity.masked_fill(~mask[..., None], 0.0)


Layers = Callable[[Params, torch.Tensor, torch.Tensor, torch.Tensor | None, int], torch.Tensor]
"""``transformer_layers``, or the same computed in another way."""


def transformer_layers(
    params: Params,
    read: torch.Tensor,
    condition: torch.Tensor,
    bias: torch.Tensor | None,
    heads: int,
    inner: Callable[[torch.device], AbstractContextManager[Any]] = nullcontext,
) -> torch.Tensor:
    """All layers, from what is read of each point to its velocity.

    ``inner`` is a context for what is between the first layer and the last: these two, the residual stream
    that they begin and end, and the embeddings before them are computed as the parameters are.
    """
    h = _dense(params["in"], read)
    with inner(h.device):
        for _, block in in_order(params["blocks"]):
            h = _block(block, h, condition, bias, heads)
    return _dense(params["out"], _layer_norm(params["norm"], h))


def _attention_bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the scores, (B, 1, 1, n): 0 at live points, elsewhere the lowest number.

    This makes weights zero; minus infinity would make them NaN in a cloud without live points.
    """
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)[:, None, None]


def _block(
    params: Params, h: torch.Tensor, condition: torch.Tensor, bias: torch.Tensor | None, heads: int
) -> torch.Tensor:
    batch, n, width = h.shape
    h = h + _dense(params["condition"], condition)[:, None]
    qkv = _dense(params["attention"]["qkv"], _layer_norm(params["attention_norm"], h))
    q, k, v = qkv.view(batch, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    read = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    h = h + _dense(params["attention"]["out"], read.transpose(1, 2).reshape(batch, n, width))
    z = torch.relu(_dense(params["feed"]["in"], _layer_norm(params["feed_norm"], h)))
    return h + _dense(params["feed"]["out"], z)


def _dense(params: Params, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, params["weight"].T, params["bias"])


def _layer_norm(params: Params, x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, params["scale"].shape, params["scale"], params["shift"])
