"""Particles in pairs: where a flow starts, which goes where, the line between, which population it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from refwfm._array import Array, asarray_like, check_floating, check_integer, expand, take_rows
from refwfm._derivatives import refuse_gradient
from refwfm.populations.graphs import check_mask
from refwfm.transport.exact import transport_plan
from refwfm.transport.plans import sample_pairs
from refwfm.transport.sinkhorn import sq_euclidean_cost

if TYPE_CHECKING:
    from numpy.random import Generator

SOURCES = ("data", "noise")


def linear_path(x0: Array, x1: Array, t: Array, /) -> tuple[Array, Array]:
    """Where particles are at time t on straight lines, ``(1 - t) x0 + t x1``, and their velocity ``x1 - x0``.

    Equation: META-FM-8.

    Parameters
    ----------
    x0, x1 : array, shape (..., n, d)
    t : array, shape (..., n)

    Returns
    -------
    x_t, u : array, shape (..., n, d)

    Examples
    --------
    >>> x_t, u = linear_path(np.zeros((1, 2)), np.asarray([[4.0, 8.0]]), np.asarray([0.25]))
    >>> x_t.tolist(), u.tolist()
    ([[1.0, 2.0]], [[4.0, 8.0]])
    """
    check_floating(x0=x0, x1=x1, t=t)
    if x0.shape != x1.shape or t.shape != x0.shape[:-1]:
        raise ValueError(
            f"x0 and x1 must have the same shape (..., n, d) and t (..., n); got {tuple(x0.shape)}, "
            f"{tuple(x1.shape)} and {tuple(t.shape)}"
        )
    time = expand(t, 1)
    return (1.0 - time) * x0 + time * x1, x1 - x0


def start_points(x0: Array, source: str, /, *, rng: "Generator") -> Array:
    """Where a flow starts: at the particles themselves, or ("w/N" in the paper) at standard normal noise.

    Equation: META-FM-8.

    Parameters
    ----------
    x0 : array, shape (..., n, d)
    source : str
        ``data`` or ``noise``.
    rng : numpy.random.Generator
        Drawn from on the host, for noise only.

    Returns
    -------
    array, shape (..., n, d)

    Examples
    --------
    >>> start_points(np.ones((1, 2)), "data", rng=np.random.default_rng(0)).tolist()
    [[1.0, 1.0]]
    """
    check_floating(x0=x0)
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {source!r}")
    return x0 if source == "data" else asarray_like(rng.standard_normal(tuple(x0.shape)), x0)


def optimal_pairs(
    x0: Array, x1: Array, n: int, /, *, rng: "Generator", mask: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """Pairs of particles drawn with replacement from the exact plan of each population, squared distance.

    Equation: META-FM-8. The paper's "OT" variant, where no pairing is known.

    Parameters
    ----------
    x0, x1 : array, shapes (B, n0, d) and (B, n1, d)
        Particles before and after.
    n : int
        Pairs to draw of each population.
    rng : numpy.random.Generator
    mask : pair of arrays of bool, shapes (B, n0) and (B, n1), optional
        Live particles.

    Returns
    -------
    x0, x1 : array, shape (B, n, d)
        Plans, and so pairs, have no derivative: arrays that torch differentiates are refused.

    Examples
    --------
    >>> x0, x1 = np.asarray([[[0.0], [5.0]]]), np.asarray([[[6.0], [1.0]]])
    >>> before, after = optimal_pairs(x0, x1, 20, rng=np.random.default_rng(0))
    >>> np.unique(after - before).tolist()  # 0 goes to 1, 5 to 6
    [1.0]
    """
    xp = check_floating(x0=x0, x1=x1)
    refuse_gradient("optimal_pairs", x0, x1)
    weights = []
    for x, live in zip((x0, x1), (None, None) if mask is None else mask, strict=True):
        check_mask(live, x)
        shares = xp.ones_like(x[..., 0]) if live is None else xp.astype(live, x.dtype)
        weights.append(shares / xp.sum(shares, axis=-1, keepdims=True))
    plan = transport_plan(sq_euclidean_cost(x0, x1), *weights).plan
    pairs = sample_pairs(plan, n, rng=rng)
    return take_rows(x0, pairs.source), take_rows(x1, pairs.target)


def indicators(ids: Sequence[int] | np.ndarray | None, n: int, /, *, like: Array, size: int = 1) -> Array:
    """What the velocity is told in "CGFM": which of the n training populations it is.

    Equation: META-FM-8. One-hot; of a population that was not trained on, the mean over all n.

    Parameters
    ----------
    ids : integers from 0 to n - 1, or None
        None for populations that were not trained on.
    n : int
    like : array
        Fixes library, dtype and device.
    size : int
        How many populations None stands for.

    Returns
    -------
    array, shape (B, n)

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> indicators([2], 4, like=np.zeros(0)).tolist(), indicators(None, 4, like=np.zeros(0)).tolist()
    ([[0.0, 0.0, 1.0, 0.0]], [[0.25, 0.25, 0.25, 0.25]])
    """
    check_floating(like=like)
    check_integer(n, "n", low=1)
    if ids is None:
        return asarray_like(np.full((size, n), 1.0 / n), like)
    numbers = np.asarray(ids)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (numbers < 0).any() or (numbers >= n).any():
        raise ValueError(
            f"ids must be integers from 0 to {n - 1}, one per population; got {numbers.tolist()}"
        )
    return asarray_like(np.eye(n)[numbers], like)
