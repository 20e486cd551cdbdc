"""Where a training step of ``bench train-bw`` spends its time: NumPy against torch, part by part.

One block of the perceptron 6 × 1024 at batch 128 in float32: its three products, what stands between them,
and Adam on all parameters. A case says how often a step has it. The kernels that NumPy's OpenBLAS and torch
choose depend on the processor (``OPENBLAS_CORETYPE`` names others), so the ratio of whole steps does, too.
"""

import os
from collections.abc import Callable

import numpy as np
import torch

from refwfm.backends._memory import keep_freed_memory
from refwfm.backends._numpy_layers import layer_norm
from refwfm.backends._numpy_ops import adam
from refwfm.networks import Params, init_bures_mlp
from refwfm.training.optim import init_adam, tree_leaves, tree_map
from refwfm.validation.bench.measure import Row, compare
from refwfm.validation.bench.train_bw import BATCH, LEARNING_RATE, N_FREQUENCIES, D, torch_adam

WIDTH, BLOCKS = 1024, 12
PEER = "torch"


def rows(repeats: int = 7) -> list[Row]:
    """Time the parts; errors are the largest difference relative to the largest number."""
    keep_freed_memory()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    rng = np.random.default_rng(0)
    x, d_y = (rng.standard_normal((BATCH, WIDTH)).astype(np.float32) for _ in range(2))
    weight = rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5
    # Torch keeps weights transposed, as (n_out, n_in).
    tx, td, tw = torch.tensor(x), torch.tensor(d_y), torch.tensor(weight.T.copy())
    return [
        _row("x W", BLOCKS, lambda: x @ weight, lambda: tx @ tw.T, repeats),
        _row("xᵀ dy", BLOCKS, lambda: (x.T @ d_y).T, lambda: td.T @ tx, repeats),
        _row("dy Wᵀ", BLOCKS, lambda: d_y @ weight.T, lambda: td @ tw, repeats),
        _row("norm, ReLU, sum, and back", BLOCKS, *_between(x, d_y), repeats),
        _adam_row(rng, repeats),
    ]


def _row(
    case: str,
    times: int,
    ours: Callable[[], np.ndarray],
    peer: Callable[[], torch.Tensor],
    repeats: int,
) -> Row:
    def difference(mine: np.ndarray, theirs: torch.Tensor) -> tuple[float, None]:
        known = theirs.numpy()
        return float(np.max(np.abs(mine - known)) / np.max(np.abs(known))), None

    return compare(f"{case}, {times} a step", ours, peer, PEER, repeats=repeats, error=difference)


def _between(x: np.ndarray, d_y: np.ndarray) -> tuple[Callable[[], np.ndarray], Callable[[], torch.Tensor]]:
    """A block ``x + relu(norm(x))`` without its product, and its way back."""
    params: Params = {"scale": np.ones(WIDTH, np.float32), "shift": np.zeros(WIDTH, np.float32)}
    norm = torch.nn.LayerNorm(WIDTH)
    tx, td = torch.tensor(x, requires_grad=True), torch.tensor(d_y)

    def ours() -> np.ndarray:
        unit, pullback = layer_norm(params, x)
        np.maximum(unit, 0.0, out=unit)
        _value = x + unit
        passed = (unit > 0).astype(unit.dtype)
        passed *= d_y
        _, d_x = pullback(passed)
        d_x += d_y
        return d_x

    def peer() -> torch.Tensor:
        tx.grad = None
        (tx + torch.relu(norm(tx))).backward(td)
        assert tx.grad is not None
        return tx.grad

    return ours, peer


def _adam_row(rng: np.random.Generator, repeats: int) -> Row:
    params = init_bures_mlp(rng, D, n_frequencies=N_FREQUENCIES, like=np.zeros(0, np.float32))
    grads = tree_map(lambda p: rng.standard_normal(p.shape).astype(np.float32), params)
    peers = [torch.nn.Parameter(torch.tensor(leaf)) for leaf in tree_leaves(params)]
    for each, grad in zip(peers, tree_leaves(grads), strict=True):
        each.grad = torch.tensor(grad)
    optimizer, state = torch_adam(peers), init_adam(params)

    def ours() -> np.ndarray:
        nonlocal params, state
        params, state = adam(params, grads, state, learning_rate=LEARNING_RATE)
        return np.concatenate([leaf[:1].ravel() for leaf in tree_leaves(params)])

    def peer() -> torch.Tensor:
        optimizer.step()
        return torch.cat([leaf.detach()[:1].ravel() for leaf in peers])

    count = sum(leaf.size for leaf in tree_leaves(params))
    return _row(f"Adam, {count / 1e6:.1f} M parameters", 1, ours, peer, repeats)
