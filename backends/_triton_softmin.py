"""Kernel of the streamed soft minimum for CUDA, written in Triton: distances and running sums in registers.

A program has some rows of one member and goes over all columns: squared differences, one coordinate after the
other, in the dtype of the points (no tensor core, hence no TF32); the exponents; a running maximum and sum.
Nothing of the size of the costs is written to memory.
"""

import math

import torch
import triton
import triton.language as tl

ROWS = {torch.float32: 32, torch.float64: 32}
COLUMNS = {torch.float32: 64, torch.float64: 32}
"""Size of a program's block: the largest that ptxas fits into the registers of four warps for sm_90."""

UNROLLED = 4
"""Dimension up to which the loop over coordinates is unrolled; with 16, registers no longer suffice."""


@triton.jit
def _kernel(
    x_at,
    y_at,
    potential_at,
    weights_at,
    logs_at,
    eps_at,
    out_at,
    n,
    m,
    row_blocks,
    D: tl.constexpr,
    LOWEST: tl.constexpr,
    ROOT: tl.constexpr,
    UNROLL: tl.constexpr,
    N: tl.constexpr,
    M: tl.constexpr,
):
    program = tl.program_id(0)
    member = (program // row_blocks).to(tl.int64)
    rows = (program % row_blocks) * N + tl.arange(0, N)
    inside = rows < n
    eps = tl.load(eps_at + member)
    temperature = tl.where(eps == float("inf"), 1.0, eps).to(eps.dtype)  # any number: the mean is taken
    total = tl.zeros([N], dtype=eps.dtype)
    mean = tl.zeros([N], dtype=eps.dtype)
    largest = tl.zeros([N], dtype=eps.dtype)
    top = total + LOWEST  # so low that nothing is below it but -inf, whose exponential is then 0
    x_row = x_at + (member * n + rows) * D
    for start in range(0, m, M):
        columns = start + tl.arange(0, M)
        there = columns < m
        y_row = y_at + (member * m + columns) * D
        cost = tl.zeros([N, M], dtype=eps.dtype)
        if UNROLL:
            for k in tl.static_range(D):
                xk = tl.load(x_row + k, mask=inside, other=0.0)
                yk = tl.load(y_row + k, mask=there, other=0.0)
                gap = xk[:, None] - yk[None, :]
                cost += gap * gap
        else:
            for k in range(D):
                xk = tl.load(x_row + k, mask=inside, other=0.0)
                yk = tl.load(y_row + k, mask=there, other=0.0)
                gap = xk[:, None] - yk[None, :]
                cost += gap * gap
        potential = tl.load(potential_at + member * m + columns, mask=there, other=0.0)
        weight = tl.load(weights_at + member * m + columns, mask=there, other=0.0)
        log_weight = tl.load(logs_at + member * m + columns, mask=there, other=-float("inf"))
        gaps = potential[None, :] - cost
        exponents = gaps / temperature + log_weight[None, :]
        higher = tl.maximum(top, tl.max(exponents, axis=1))
        # NaN among the exponents is lost by a maximum, and kept by the sum.
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(exponents - higher[:, None]), axis=1)
        top = higher
        sizes = tl.where((weight > 0)[None, :], tl.abs(gaps), 0.0).to(eps.dtype)
        largest = tl.maximum(largest, tl.max(sizes, axis=1))
        mean += tl.sum(weight[None, :] * (cost - potential[None, :]), axis=1)
    soft = -temperature * (top + tl.log(total))
    tl.store(out_at + member * n + rows, tl.where(eps * ROOT > largest, mean, soft), mask=inside)


def softmin(
    x: torch.Tensor,
    y: torch.Tensor,
    potential: torch.Tensor,
    weights: torch.Tensor,
    logs: torch.Tensor,
    eps: torch.Tensor,
) -> torch.Tensor:
    """Soft minima (..., n) of checked arguments, padding cleared; ``logs`` are those of the weights."""
    (n, d), m = x.shape[-2:], y.shape[-2]
    batch = torch.broadcast_shapes(
        x.shape[:-2], y.shape[:-2], potential.shape[:-1], weights.shape[:-1], eps.shape
    )
    out = torch.empty((*batch, n), dtype=x.dtype, device=x.device)
    if out.numel() == 0:
        return out
    points = [v.expand(*batch, *v.shape[-2:]).contiguous() for v in (x, y)]
    columns = [v.expand(*batch, m).contiguous() for v in (potential, weights, logs)]
    rows_at_once = ROWS[x.dtype]
    row_blocks = triton.cdiv(n, rows_at_once)
    information = torch.finfo(x.dtype)
    _kernel[(math.prod(batch) * row_blocks,)](
        *points,
        *columns,
        eps.expand(batch).contiguous(),
        out,
        n,
        m,
        row_blocks,
        D=d,
        LOWEST=information.min,  # a constant: a number that is passed would be one of float32
        ROOT=information.eps**0.5,
        UNROLL=d <= UNROLLED,
        N=rows_at_once,
        M=COLUMNS[x.dtype],
        num_warps=4,
        enable_fp_fusion=True,  # the default, said: it is to change
    )
    return out
