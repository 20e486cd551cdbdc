"""One training step of Bures-Wasserstein flow matching against the same step in plain torch.

The default networks (two perceptrons 6 × 1024, batch 128, d = 16, float32): forward, loss, backward, Adam.
Both sides start from the same weights and see the same batch; after the timed steps their losses must agree.
``--sizes laptop`` takes small networks.
"""

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from refwfm._array import asarray_like
from refwfm.backends import Backend, load
from refwfm.backends._memory import keep_freed_memory
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.networks import Params, identity_scaling, init_bures_mlp
from refwfm.training.optim import init_adam, tree_map
from refwfm.training.regression import GaussianBatch
from refwfm.validation.bench.measure import Row, compare, peer_device

D, BATCH, N_FREQUENCIES, LEARNING_RATE = 16, 128, 16, 1e-4


BACKENDS = ("numpy", "torch:cpu")
LAPTOP = ((2, 128), (16, 128), (2, 256))
"""Dimension, and width of networks three blocks deep."""


def rows(repeats: int = 7, backend: str | None = None) -> list[Row]:
    """Time the steps of the NumPy and the torch backend; errors are relative differences of the last loss.

    Of another backend, where one is named: against torch on the GPU, if it sees one.
    """
    return _rows("training step", D, {}, repeats, backend)


def laptop_rows(repeats: int = 7, backend: str | None = None) -> list[Row]:
    """Time steps at the sizes of ``LAPTOP``."""
    return [
        row
        for d, width in LAPTOP
        for row in _rows(f"d = {d}, 3 × {width}", d, {"width": width, "depth": 3}, repeats, backend)
    ]


def _rows(case: str, d: int, sizes: dict[str, int], repeats: int, backend: str | None) -> list[Row]:
    keep_freed_memory()  # as the command line does; to the peer it makes no difference
    # What NumPy's matrix products use, unless OMP_NUM_THREADS holds both libraries to fewer.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    rng = np.random.default_rng(0)
    params = init_bures_mlp(rng, d, n_frequencies=N_FREQUENCIES, like=np.zeros(0, np.float32), **sizes)
    batch = draw_batch(rng, d)
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


def draw_batch(rng: np.random.Generator, d: int) -> GaussianBatch:
    """Random Gaussians, targets and times, in float64."""
    factor = rng.standard_normal((BATCH, d, d)) / d**0.5
    mu = Gaussian(rng.standard_normal((BATCH, d)), factor @ factor.mT)
    target = Tangent(rng.standard_normal((BATCH, d)), factor + factor.mT)
    return GaussianBatch(mu, target, rng.uniform(size=BATCH), None)


def our_step(params: Params, batch: GaussianBatch, backend: Backend) -> Callable[[], float]:
    """Return a function that takes one step of ours and returns the loss before it."""
    params = tree_map(lambda p: backend.asarray(p.copy()), params)
    state, scaling = (
        init_adam(params),
        identity_scaling(batch.mu_t.mean.shape[-1], like=params["mean"]["mlp"]["in"]["bias"]),
    )
    batch = GaussianBatch(
        Gaussian(*map(backend.asarray, batch.mu_t)),
        Tangent(*map(backend.asarray, batch.target)),
        backend.asarray(batch.t),
        None,
    )

    def step() -> float:
        nonlocal params, state
        loss, grads = backend.ops.gaussian_loss_and_grad(params, scaling, batch, method="riemannian")
        params, state = backend.ops.adam(params, grads, state, learning_rate=LEARNING_RATE)
        return float(loss)

    return step


class Block(nn.Module):
    """Pre-norm residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.dense = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """``h + relu(dense(norm(h)))``."""
        return h + torch.relu(self.dense(self.norm(h)))


def torch_mlp(params: Params) -> nn.Sequential:
    """`refwfm.networks.mlp` as a torch module with the same weights."""
    n_in, width = params["in"]["weight"].shape
    depth, n_out = len(params["blocks"]), params["out"]["weight"].shape[1]
    net = nn.Sequential(
        nn.Linear(n_in, width),
        *(Block(width) for _ in range(depth)),
        nn.LayerNorm(width),
        nn.Linear(width, n_out),
    )
    linear = {0: params["in"], depth + 2: params["out"]}
    state = {f"{depth + 1}.weight": params["norm"]["scale"], f"{depth + 1}.bias": params["norm"]["shift"]}
    for index, block in enumerate(params["blocks"].values(), start=1):
        linear[f"{index}.dense"] = block["dense"]
        state[f"{index}.norm.weight"] = block["norm"]["scale"]
        state[f"{index}.norm.bias"] = block["norm"]["shift"]
    for name, dense in linear.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = dense["weight"].T, dense["bias"]
    net.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return net


def torch_adam(params: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Torch's Adam in the fastest form that it has here."""
    try:
        return torch.optim.Adam(params, lr=LEARNING_RATE, fused=True)
    except RuntimeError:  # an older torch has no fused Adam for the CPU
        return torch.optim.Adam(params, lr=LEARNING_RATE, foreach=True)


def torch_step(params: Params, batch: GaussianBatch, device: str = "cpu") -> Callable[[], float]:
    """Return a function that takes one step with torch.nn and torch.optim, and returns the loss before it."""
    nets = nn.ModuleList(torch_mlp(params[name]["mlp"]) for name in ("mean", "matrix")).to(device)
    mean_net, matrix_net = nets
    optimizer = torch_adam(list(nets.parameters()))
    to = torch.zeros(0, device=device)
    mean, cov, t, mean_dot, target = (asarray_like(x, to) for x in (*batch.mu_t, batch.t, *batch.target))
    d = mean.shape[-1]
    row, column = torch.tril_indices(d, d)
    entry = torch.zeros(d, d, dtype=torch.int64)
    entry[row, column] = entry[column, row] = torch.arange(len(row))
    frequency = torch.pi * torch.arange(1, N_FREQUENCIES + 1, device=device)
    row, column, entry = (index.to(device) for index in (row, column, entry))

    def step() -> float:
        angle = t[:, None] * frequency
        x = torch.cat([mean, cov[:, row, column], torch.cos(angle), torch.sin(angle)], dim=-1)
        difference = matrix_net(x)[:, entry] - target
        loss = torch.mean(
            torch.sum((mean_net(x) - mean_dot) ** 2, dim=-1)
            + torch.sum((difference @ cov) * difference, dim=(-2, -1))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
