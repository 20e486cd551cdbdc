"""Twins for torch: the same functions as in ``refwfm``, over torch's fused kernels and its autograd.

The optimiser works *in place*: parameters, moments, averages, and gradients that are clipped are consumed
(overwritten and returned).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.optim.adam import adam as torch_adam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from refwfm.backends._packed import matching_arrays, packed
from refwfm.measures import Gaussian
from refwfm.networks import Params, feature_embedding, input_features, unvech
from refwfm.networks._order import in_order
from refwfm.training import regression
from refwfm.training.optim import (
    AdamState,
    Tree,
    check_max_norm,
    check_same_shapes,
    flatten,
    unflatten,
)
from refwfm.training.regression import GaussianBatch


def adam(
    params: Tree,
    grads: Tree,
    state: AdamState,
    /,
    *,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Tree, AdamState]:
    """Twin of ``training.optim.adam``; ``params`` and ``state`` are consumed."""
    params, state = packed(params), AdamState(packed(state.first), packed(state.second), state.steps)
    leaves = _in_lists(matching_arrays(params, grads, state.first, state.second))
    # torch counts steps per array and adds one itself; these counters are pieces of one array.
    n, device = len(leaves[0]), leaves[0][0].device
    counters = list(torch.full((n,), float(state.steps), device=device).unbind())
    with torch.no_grad():
        torch_adam(
            *leaves,
            [],
            counters,
            fused=True,
            amsgrad=False,
            beta1=b1,
            beta2=b2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=eps,
            maximize=False,
        )
    return params, AdamState(state.first, state.second, state.steps + 1)


def ema(average: Tree, params: Tree, /, *, decay: float) -> Tree:
    """Twin of ``training.optim.ema``; ``average`` is consumed and must not share memory with ``params``."""
    average = packed(average)
    averages, leaves = _in_lists(matching_arrays(average, params))
    get_ema_multi_avg_fn(decay)(averages, leaves, None)
    return average


def clip_by_global_norm(grads: Tree, /, max_norm: float) -> tuple[Tree, torch.Tensor]:
    """Twin of ``training.optim.clip_by_global_norm``; ``grads`` is consumed.

    Squares that overflow (in float32 beyond 1e19) give an infinite norm, which ends a training.
    """
    check_max_norm(max_norm)
    (leaves,) = _in_lists(check_same_shapes(grads))
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(leaves)))
        torch._foreach_mul_(leaves, 1.0 / (norm / max_norm).clamp(min=1.0))
    return grads, norm


def _in_lists(rows: list[tuple[torch.Tensor, ...]]) -> list[list[torch.Tensor]]:
    return [list(column) for column in zip(*rows, strict=True)]


def gaussian_loss_and_grad(
    params: Tree, scaling: dict[str, torch.Tensor], batch: GaussianBatch, /, *, method: str
) -> tuple[torch.Tensor, Tree]:
    """Twin of ``refwfm.training.regression.gaussian_loss_and_grad``, over the twin of the network."""
    return regression.gaussian_loss_and_grad(params, scaling, batch, method=method, network=bures_mlp)


def bures_mlp(
    params: Params,
    scaling: Params,
    mu: Gaussian,
    t: torch.Tensor,
    /,
    labels: torch.Tensor | None = None,
    *,
    layers: "Layers | None" = None,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[tuple[torch.Tensor, torch.Tensor], Callable[[tuple[torch.Tensor, torch.Tensor]], Params]]:
    """Twin of ``refwfm.networks.bures_mlp``: fused layer norms, and autograd for the pullback.

    The pullback can be called once: it frees what the forward pass stored. ``layers`` and ``around`` say how
    the network is computed, as for the twin of the transformer.
    """
    layers = layers or mlp_layers
    x = input_features(params, scaling, mu, t, labels)
    leaves = {path: leaf.detach().requires_grad_() for path, leaf in flatten(params).items()}
    with torch.enable_grad(), around():
        tree = unflatten(leaves)
        mean = _labelled_mlp(tree["mean"], x, labels, layers) * scaling["mean_scale"]
        entries = _labelled_mlp(tree["matrix"], x, labels, layers) * scaling["matrix_scale"]
        matrix = unvech(entries, mu.mean.shape[-1])[0]

    def pullback(d_output: tuple[torch.Tensor, torch.Tensor]) -> Params:
        with around():
            grads = torch.autograd.grad((mean, matrix), list(leaves.values()), d_output)
        return unflatten(dict(zip(leaves, grads, strict=True)))

    return (mean.detach(), matrix.detach()), pullback


Layers = Callable[[Params, torch.Tensor], torch.Tensor]
"""``mlp_layers``, or the same computed in another way."""


def _labelled_mlp(
    params: Params, x: torch.Tensor, labels: torch.Tensor | None, layers: Layers
) -> torch.Tensor:
    if labels is not None:
        table = params["labels"].get("table")
        vectors = table is None  # conditions
        embedded = (
            feature_embedding(params["labels"], labels)[0] if vectors else functional.embedding(labels, table)
        )
        x = torch.cat([x, embedded], dim=-1)
    return layers(params["mlp"], x)


def mlp_layers(
    net: Params, x: torch.Tensor, inner: Callable[[torch.device], AbstractContextManager[Any]] = nullcontext
) -> torch.Tensor:
    """All layers of the perceptron; ``inner`` is a context for those between the first and the last."""
    h = _dense(net["in"], x)
    with inner(h.device):
        for _, block in in_order(net["blocks"]):
            h = h + torch.relu(_dense(block["dense"], _layer_norm(block["norm"], h)))
    return _dense(net["out"], _layer_norm(net["norm"], h))


def _dense(params: Params, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, params["weight"].T, params["bias"])


def _layer_norm(params: Params, x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, params["scale"].shape, params["scale"], params["shift"])
