"""Twin of the soft minimum on a grid: products with one small Gibbs kernel for each axis.

The potential is shifted by its maximum, so that the products are sums of numbers of at most 1. Let D be the
largest cost over eps. The term of the largest potential is at least ``exp(-D)`` everywhere, so that all terms
below ``exp(-D) eps_machine / n`` may be left out together; what is kept stays above ``exp(-2 D - 36 - log
n)`` in all products, and neither underflows nor is slow (numbers close to underflow are a hundred times
slower) for D up to about 330. That is eps from 1/165 on the unit square; below, the reference takes over.
float32, where D would have to be below 35, is computed in float64.
"""

import math

import numpy as np

from refwfm._array import Array, array_namespace
from refwfm._derivatives import is_differentiated
from refwfm.transport import grids as reference
from refwfm.transport.grids import Grid, axis_costs, is_flat
from refwfm.transport.problem import log_weights

RANGE = 700.0
"""Exponents of normal numbers in float64."""


@np.errstate(divide="ignore", under="ignore")
def grid_softmin(grid: Grid, potential: Array, weights: Array, eps: Array, /) -> Array:
    """Twin of ``refwfm.transport.grids.grid_softmin``, by products where exponents are safe.

    On torch and JAX, whoever differentiates gets the reference.
    """
    if is_differentiated(potential, weights, eps, *grid.axes):
        return reference.grid_softmin(grid, potential, weights, eps)
    xp, dtype = array_namespace(potential), potential.dtype
    costs = axis_costs(grid)
    smallest = float(xp.min(eps)) if 0 not in eps.shape else 1.0
    reach = sum(float(xp.max(cost)) for cost in costs) / smallest
    depth = reach + math.log(grid.size) - math.log(2.0**-52)
    if not depth + reach < RANGE or bool(xp.any(is_flat(costs, potential, eps))):
        return reference.grid_softmin(grid, potential, weights, eps)
    potential, weights, eps = (xp.astype(part, xp.float64) for part in (potential, weights, eps))
    logs = potential / eps[..., None] + log_weights(weights)
    top = xp.max(logs, axis=-1, keepdims=True)
    logs = logs - top
    mass = xp.exp(xp.where(logs < -depth, xp.full_like(logs, -math.inf), logs))
    batch, before, after = mass.shape[:-1], 1, grid.size
    for size, cost in zip(grid.shape, costs, strict=True):
        # Of one eps, or one for each member.
        kernel = xp.exp(-xp.astype(cost, xp.float64) / eps[..., None, None])
        after //= size
        mass = _along(xp.reshape(mass, (*batch, before, size, after)), kernel)
        before *= size
    mass = xp.reshape(mass, (*batch, grid.size))
    return xp.astype(-eps[..., None] * (xp.log(mass) + top), dtype)


def _along(mass: Array, kernel: Array) -> Array:
    """``Σⱼ kernelᵢⱼ massⱼ`` over the middle axis of masses (..., before, s, after)."""
    if mass.shape[-1] == 1:
        return (mass[..., 0] @ kernel)[..., None]  # symmetric
    return kernel[..., None, :, :] @ mass
