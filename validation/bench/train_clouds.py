"""One training step of point-cloud flow matching against the same step in plain torch.

The transformer of the paper (6 blocks of width 512, 4 heads), 8 clouds of 512 points in space, float32:
forward, loss, backward, clipping, Adam, running mean. Both sides start from the same weights and see the same
batch; after the timed steps their losses must agree. The last row is the transport of such a batch.
``--sizes laptop`` takes a small transformer.
"""

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from refwfm.backends import Backend, load
from refwfm.backends._memory import keep_freed_memory
from refwfm.networks import Params, init_transformer
from refwfm.training.optim import init_adam, tree_map
from refwfm.training.regression import CloudBatch
from refwfm.transport.exact import assignment
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.validation.bench.measure import Row, compare, peer_device

D, N, BATCH, HEADS, N_FREQUENCIES = 3, 512, 8, 4, 16
LEARNING_RATE, MAX_NORM, EMA = 1e-4, 1.0, 0.999
BACKENDS = ("numpy", "torch:cpu")
LAPTOP = ((16, 100), (32, 64))
"""Clouds of a batch, and points of each."""
SMALL = {"width": 64, "depth": 3, "hidden": 128}


def rows(repeats: int = 5, backend: str | None = None) -> list[Row]:
    """Time the steps of the NumPy and the torch backend; errors are relative differences of the last loss.

    Of another backend, where one is named: against torch on the GPU, if it sees one, and without the plans.
    """
    rng = np.random.default_rng(0)
    params = init_transformer(rng, D, heads=HEADS, n_frequencies=N_FREQUENCIES, like=np.zeros(0, np.float32))
    batch = draw_batch(rng)
    steps = _steps("training step", params, batch, repeats, backend)
    if backend is not None:
        return steps
    plans = compare(
        "transport: exact assignments of the batch",
        lambda: transport(batch),
        our_step(params, batch, load("numpy", dtype="float32")),
        "a whole step of ours on NumPy",
        repeats=repeats,
    )
    return [*steps, plans]


def laptop_rows(repeats: int = 5, backend: str | None = None) -> list[Row]:
    """Time steps of a small transformer at the sizes of ``LAPTOP``."""
    rng, result = np.random.default_rng(0), []
    for size, n in LAPTOP:
        like = np.zeros(0, np.float32)
        params = init_transformer(rng, D, heads=HEADS, n_frequencies=N_FREQUENCIES, like=like, **SMALL)
        case = f"{size} clouds of {n} points, 3 × 64"
        result += _steps(case, params, draw_batch(rng, size, n), repeats, backend)
    return result


def _steps(case: str, params: Params, batch: CloudBatch, repeats: int, backend: str | None) -> list[Row]:
    keep_freed_memory()  # as the command line does; to the peer it makes no difference
    # What NumPy's matrix products use, unless OMP_NUM_THREADS holds both libraries to fewer.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    return [
        compare(
            f"{case}, {ours.name}",
            our_step(params, batch, ours),
            torch_step(params, batch, device := peer_device(ours)),
            f"torch.nn and torch.optim, {device}",
            repeats=repeats,
            error=lambda ours, peer: (abs(ours - peer) / peer, None),
        )
        for ours in (load(name, dtype="float32") for name in ([backend] if backend else BACKENDS))
    ]


def draw_batch(rng: np.random.Generator, size: int = BATCH, n: int = N) -> CloudBatch:
    """Random clouds, targets and times, in float64."""
    points, target = rng.standard_normal((2, size, n, D))
    return CloudBatch(points, np.full((size, n), 1.0 / n), target, rng.uniform(size=size), None)


def our_step(params: Params, batch: CloudBatch, backend: Backend) -> Callable[[], float]:
    """Return a function that takes one step of ours and returns the loss before it."""
    params, average = (tree_map(lambda p: backend.asarray(p.copy()), params) for _ in range(2))
    state, ops = init_adam(params), backend.ops
    batch = CloudBatch(*map(backend.asarray, batch[:4]), None)

    def step() -> float:
        nonlocal params, state, average
        loss, grads = ops.cloud_loss_and_grad(params, batch, heads=HEADS)
        grads, _ = ops.clip_by_global_norm(grads, MAX_NORM)
        params, state = ops.adam(params, grads, state, learning_rate=LEARNING_RATE)
        average = ops.ema(average, params, decay=EMA)
        return float(loss)

    return step


def transport(batch: CloudBatch) -> np.ndarray:
    """Inner plan of the batch on the CPU: costs and exact assignments of all pairs."""
    return assignment(sq_euclidean_cost(batch.points, batch.target), batch.weights, batch.weights)


# The peer


class Block(nn.Module):
    """Condition, attention, feed-forward, each with a skip connection."""

    def __init__(self, n_condition: int, width: int, hidden: int) -> None:
        super().__init__()
        self.condition = nn.Linear(n_condition, width)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, h: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """``h`` (B, n, width), ``condition`` (B, c)."""
        h = h + self.condition(condition)[:, None]
        batch, n, width = h.shape
        qkv = self.qkv(self.attention_norm(h)).view(batch, n, 3, HEADS, width // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(q, k, v)
        h = h + self.out(read.transpose(1, 2).reshape(batch, n, width))
        return h + self.feed(self.feed_norm(h))


class Transformer(nn.Module):
    """`refwfm.networks.transformer` in plain torch."""

    def __init__(self, width: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Linear(D, width)
        self.blocks = nn.ModuleList(Block(2 * N_FREQUENCIES, width, hidden) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, D)

    def forward(self, points: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Velocities, (B, n, d)."""
        angle = t[:, None] * torch.pi * torch.arange(1, N_FREQUENCIES + 1, device=t.device)
        condition = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
        h = self.embed(points)
        for block in self.blocks:
            h = block(h, condition)
        return self.head(self.norm(h))

    def copy_weights(self, params: Params) -> None:
        """Take over our parameters."""
        pairs = [(self.embed, params["in"]), (self.norm, params["norm"]), (self.head, params["out"])]
        for block, ours in zip(self.blocks, params["blocks"].values(), strict=True):
            pairs += [
                (getattr(block, name), ours[name]) for name in ("condition", "attention_norm", "feed_norm")
            ]
            pairs += [(getattr(block, name), ours["attention"][name]) for name in ("qkv", "out")]
            pairs += [(block.feed[0], ours["feed"]["in"]), (block.feed[2], ours["feed"]["out"])]
        for module, ours in pairs:
            weight, bias = ours.values()  # or scale and shift
            module.load_state_dict({"weight": torch.tensor(weight.T), "bias": torch.tensor(bias)})


def torch_step(params: Params, batch: CloudBatch, device: str = "cpu") -> Callable[[], float]:
    """Return a function that takes one step with torch.nn and torch.optim, and returns the loss before it."""
    width, hidden = params["blocks"]["0"]["feed"]["in"]["weight"].shape
    net = Transformer(width, len(params["blocks"]), hidden)
    net.copy_weights(params)
    net.to(device)
    leaves = list(net.parameters())
    averages = [leaf.detach().clone() for leaf in leaves]
    update = get_ema_multi_avg_fn(EMA)
    try:
        optimizer = torch.optim.Adam(leaves, lr=LEARNING_RATE, fused=True)
    except RuntimeError:  # an older torch has no fused Adam for the CPU
        optimizer = torch.optim.Adam(leaves, lr=LEARNING_RATE, foreach=True)
    points, weights, target, t = (torch.tensor(x, dtype=torch.float32, device=device) for x in batch[:4])

    def step() -> float:
        loss = torch.mean(torch.sum(weights[..., None] * (net(points, t) - target) ** 2, dim=(-2, -1)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(leaves, MAX_NORM)
        optimizer.step()
        update(averages, leaves, None)
        return loss.item()

    return step
