"""Semidiscrete transport: from a law that can be drawn from to N members, by a number for each member.

The plan from a continuous law to N members is a map: each source goes to ``argmin_j c(μ, ν_j) - g_j``, and
the N dual weights g move the borders until each member gets its share b_j. They maximise the concave

    D(g) = E_μ min_j (c(μ, ν_j) - g_j) + Σ_j b_j g_j,      ∂D/∂g_j = b_j - P(μ goes to ν_j),

of which a batch of sources is an unbiased sample: stochastic ascent needs nothing but costs of fresh draws.
Where batches are paired by a plan of their own, the plan depends on who else was drawn; this one does not. A
temperature eps makes the minimum soft, and the slope smooth. It only serves to come near; it ends at 0.

Sources may be points, Gaussians, clouds: all that is seen of them are costs. Those of a batch with all N
members are given as an array (..., B, N), or as a function ``(start, stop) -> (..., B, stop - start)`` that
computes them block by block, so that no array has more than B times ``BLOCK`` elements.

References
----------
Genevay, Cuturi, Peyré and Bach, "Stochastic Optimization for Large-scale Optimal Transport", 2016.
SEMI : Mousavi-Hosseini et al., "Flow Matching with Semidiscrete Couplings", 2025 (for points).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    check_floating,
    device,
    shown,
    take_along,
)
from refwfm._derivatives import detached, without_derivative
from refwfm.evidence import ConvergenceError
from refwfm.measures import NonFiniteError
from refwfm.transport.problem import check_weights
from refwfm.transport.shares import Semidiscrete, chance_error, marginal_error

Columns = Callable[[int, int], Array]
"""Costs (..., B, stop - start) of a batch of sources with the members from ``start`` to before ``stop``."""

BLOCK = 4096
"""Members that a batch is compared with at once."""

COOLING = 0.25
"""Factor on the temperature from one stage of the ascent to the next."""

VISITS = 10
"""Sources a member gets, in the mean, during a stage."""

FEWEST = 100
"""Steps of a stage at least."""

FRESH = 10_000
"""Draws at least that the evidence is measured on."""

DECAY = 0.6
"""Steps shrink with this power of the visits, between 1/2 and 1: their averages are then efficient."""


def assign(g: Array, cost: Array | Columns, /) -> Array:
    """Member that each source goes to: ``argmin_j c(μ, ν_j) - g_j``, the first of equals.

    Equation: SEMI-1.

    Parameters
    ----------
    g : array, shape (..., N). Units: cost.
    cost : array (..., B, N), or function; see the module.

    Returns
    -------
    array, shape (..., B), integers

    Raises
    ------
    NonFiniteError
        If a cost or a weight that decides is NaN or infinite.

    Examples
    --------
    >>> assign(np.asarray([0.0, 2.0]), np.asarray([[1.0, 4.0], [1.0, 2.5]])).tolist()
    [0, 1]
    """
    _check(g, cost, g, 0.0)
    found = _swept(g, cost, g, 0.0)
    if not all_finite(found.least):
        raise NonFiniteError("costs and weights of members must be finite; got NaN or infinity")
    return found.index


def semidiscrete_value(g: Array, cost: Array | Columns, b: Array, /, *, eps: float = 0.0) -> Array:
    """Dual objective of semidiscrete transport on a batch of sources, each with weight 1/B.

    Equation: SEMI-1. ``mean_i min_j (c_ij - g_j) + Σ_j b_j g_j``; with eps the minimum is the soft one,
    ``-eps log Σ_j b_j exp((g_j - c_ij) / eps)``.

    Parameters
    ----------
    g : array, shape (..., N). Units: cost.
    cost : array (..., B, N), or function
    b : array, shape (..., N)
        Shares of the members, positive, of sum 1.
    eps : float. Units: cost.

    Returns
    -------
    array, shape (...). Units: cost.

    Raises
    ------
    ValueError
        If eps is negative.

    Examples
    --------
    >>> float(semidiscrete_value(np.zeros(2), np.asarray([[1.0, 4.0], [3.0, 2.0]]), np.full(2, 0.5)))
    1.5
    """
    return semidiscrete_value_and_gradient(g, cost, b, eps=eps)[0]


def semidiscrete_gradient(g: Array, cost: Array | Columns, b: Array, /, *, eps: float = 0.0) -> Array:
    """Gradient of the dual objective in g: what is missing of each member's share. Shape (..., N).

    Equation: SEMI-2. ``b_j - mean_i p_ij``, where p_i is 1 at the assigned member, or with eps the softmax
    ``b_j exp((g_j - c_ij) / eps) / Σ_k ...``. Parameters as for ``semidiscrete_value``.

    Examples
    --------
    >>> semidiscrete_gradient(np.zeros(2), np.asarray([[1.0, 4.0], [1.0, 2.0]]), np.full(2, 0.5)).tolist()
    [-0.5, 0.5]
    """
    return semidiscrete_value_and_gradient(g, cost, b, eps=eps)[1]


def semidiscrete_value_and_gradient(
    g: Array, cost: Array | Columns, b: Array, /, *, eps: float = 0.0
) -> tuple[Array, Array]:
    """``semidiscrete_value`` (...) and ``semidiscrete_gradient`` (..., N), which share one look at the costs.

    Equation: SEMI-1, SEMI-2. With eps, costs that are a function are computed twice.

    Examples
    --------
    >>> value, gradient = semidiscrete_value_and_gradient(np.zeros(1), np.full((3, 1), 2.0), np.ones(1))
    >>> float(value), gradient.tolist()
    (2.0, [0.0])
    """
    xp = _check(g, cost, b, eps)
    found = _swept(g, cost, b, eps)
    value = xp.mean(found.least, axis=-1) + xp.sum(b * g, axis=-1)
    return value, b - _shares(found, g, cost, b, eps)[0]


class _Sweep(NamedTuple):
    """Of each source: least ``c - g``, or the soft minimum; where it is; the largest of its softmax, or 1."""

    least: Array
    index: Array
    largest: Array


def _blocks(g: Array, cost: Array | Columns) -> Iterator[tuple[slice, Array]]:
    """Blocks of members, and ``c - g`` there."""
    for start in range(0, g.shape[-1], BLOCK):
        some = slice(start, min(start + BLOCK, g.shape[-1]))
        block = cost(some.start, some.stop) if callable(cost) else cost[..., some]
        check_floating(g=g, cost=block)
        yield some, block - g[..., None, some]


def _swept(g: Array, cost: Array | Columns, b: Array, eps: float) -> _Sweep:
    """One look at all members; sums of exponentials are rescaled where a later block has a lower least."""
    xp = array_namespace(g)
    least: Any = math.inf
    index: Any = 0
    total: Any = 0.0
    for some, gap in _blocks(g, cost):
        here, before = xp.min(gap, axis=-1), least
        kept = here >= before  # not so of NaN, which stays
        index = xp.where(kept, index, some.start + xp.argmin(gap, axis=-1))
        least = xp.where(kept, before, here)
        if eps > 0:
            part = xp.exp((least[..., None] - gap) / eps) * b[..., None, some]
            total = xp.sum(part, axis=-1) + total * xp.exp((least - before) / eps)
    if eps == 0:
        return _Sweep(least, index, xp.ones_like(least))
    return _Sweep(least - eps * xp.log(total), index, take_along(b, index) / total)


def _shares(found: _Sweep, g: Array, cost: Array | Columns, b: Array, eps: float) -> tuple[Array, Array]:
    """Share p of the sources that each member gets, (..., N), and mean of ``p_ij (1 - p_ij)``, its slope."""
    xp = array_namespace(g)
    shares, slopes = [], []
    if eps == 0:
        members = xp.arange(g.shape[-1], dtype=found.index.dtype, device=device(g))
        for start in range(0, g.shape[-1], BLOCK):
            hits = found.index[..., None] == members[start : min(start + BLOCK, g.shape[-1])]
            shares.append(xp.mean(xp.astype(hits, g.dtype), axis=-2))
            slopes.append(xp.zeros_like(shares[-1]))
    else:
        for some, gap in _blocks(g, cost):
            p = b[..., None, some] * xp.exp((found.least[..., None] - gap) / eps)
            shares.append(xp.mean(p, axis=-2))
            slopes.append(shares[-1] - xp.mean(p * p, axis=-2))
    return xp.concat(shares, axis=-1), xp.concat(slopes, axis=-1)


def _check(g: Array, cost: Array | Columns, b: Array, eps: float) -> Any:
    """Namespace of checked arguments."""
    given: dict[str, Array] = {} if callable(cost) else {"cost": cost}
    xp = check_floating(g=g, b=b, **given)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and not negative; got {eps}")
    n = g.shape[-1] if g.ndim else 0
    fits = all(c.ndim >= 2 and c.shape[-1] == n for c in given.values())
    if n == 0 or b.ndim == 0 or b.shape[-1] != n or not fits:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in {"g": g, "b": b, **given}.items())
        raise ValueError(f"g and b must have shape (..., N) with N >= 1, cost (..., B, N); got {shapes}")
    return xp


def fit_semidiscrete(
    draw: Callable[[np.random.Generator], Array | Columns],
    b: Array,
    /,
    *,
    rng: np.random.Generator,
    tol: float = 0.1,
    max_iter: int = 20_000,
    require: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Semidiscrete:
    """Dual weights of a law that can be drawn from, by stochastic ascent on the dual objective.

    Equation: SEMI-2. ``g_j += rate_j (1 - p_j / b_j)``, averaged over the second half of each stage. The
    start is the optimum at infinite temperature, the mean costs; the temperature then falls by ``COOLING``
    from stage to stage until half of a source's mass goes to one member, and to 0. Rates are in units of the
    temperature over the slope of a member's share, so that neither the cost's unit nor far members matter.
    Stages at 0 double until the shares of fresh draws are right.

    Parameters
    ----------
    draw : callable
        ``draw(rng)``: costs of a fresh batch of sources with all members, array (B, N) or function.
    b : array, shape (N,)
        Shares of the members, positive, of sum 1.
    rng : numpy.random.Generator
    tol : float
        Bound on the total variation between the members' shares and b, beyond chance.
    max_iter : int
        Steps of the ascent at most, each with a batch.
    require : bool
        Raise unless converged.
    progress : callable, optional
        Called with (steps done, ``max_iter``) after each stage.

    Returns
    -------
    Semidiscrete

    Raises
    ------
    ValueError
        If b is not positive with sum 1.
    ConvergenceError
        If shares are off by more than ``tol``: of few steps, or because members coincide, of which the first
        gets all sources.

    Examples
    --------
    Of normal sources on the line three members get a third each; borders are at the quantiles ∓0.4307.

    >>> def draw(rng):
    ...     return (rng.standard_normal((256, 1)) - np.asarray([-1.0, 0.0, 3.0])) ** 2
    >>> found = fit_semidiscrete(draw, np.full(3, 1 / 3), rng=np.random.default_rng(0), tol=0.02)
    >>> found.converged
    True
    """
    xp = check_floating(b=b)
    b = check_weights(b, "b")
    if b.ndim != 1 or not bool(xp.all(b > 0)):
        raise ValueError(f"b must be positive, of shape (N,): leave members of weight 0 out; got {shown(b)}")
    zero, cost = xp.zeros_like(b), draw(rng)
    _check(zero, cost, b, 0.0)
    start = xp.concat([xp.mean(gap, axis=-2) for _, gap in _blocks(zero, cost)])
    differentiated, b, g = (b, start), detached(b), detached(start)
    n, batch, eps = 0, *_batch_and_spread(g, _detached(cost), b)
    share = xp.minimum(batch * b, 1.0)
    steps = max(FEWEST, math.ceil(VISITS / float(xp.mean(share))))
    unit, sharpness = xp.full_like(b, eps), 0.0 if eps > 0 else 1.0
    while sharpness < 0.5 and n + steps <= max_iter:
        g, unit, sharpness = _stage(draw, g, unit, b, share, rng=rng, eps=eps, steps=range(steps))
        n, eps = n + steps, COOLING * eps
        _report(progress, n, max_iter)
    cooled = n
    while True:
        stage = range(n - cooled, min(n - cooled + max(steps, n - cooled), max_iter - cooled))
        if stage:
            g, _, _ = _stage(draw, g, unit, b, share, rng=rng, eps=0.0, steps=stage)
        n += len(stage)
        found = _measured(draw, g - xp.sum(b * g), b, batch, rng=rng, tol=tol, n_iter=n)
        _report(progress, max_iter if found.converged else n, max_iter)
        if found.converged or n >= max_iter:
            break
    if require and not found.converged:
        raise ConvergenceError(
            f"no semidiscrete plan after {n} steps: members' shares are off by {found.error:.3g} in total "
            f"variation, where {found.expected:.3g} is chance, and {tol:g} beyond it allowed; take more "
            "steps or larger batches, and leave out members that coincide"
        )
    return found._replace(g=without_derivative(found.g, "a dual weight", *differentiated))


def _detached(cost: Array | Columns) -> Array | Columns:
    """Costs without their derivative: the ascent has none, and the tape of its steps would fill memory."""
    return (lambda start, stop: detached(cost(start, stop))) if callable(cost) else detached(cost)


def _report(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _batch_and_spread(g: Array, cost: Array | Columns, b: Array) -> tuple[int, float]:
    """Number of sources of a batch, and by how much the mean ``c - g`` of a source exceeds the least."""
    xp = array_namespace(g)
    means = sum(xp.sum(b[some] * gap, axis=-1) for some, gap in _blocks(g, cost))
    spread = float(xp.mean(means - _swept(g, cost, b, 0.0).least))
    if not math.isfinite(spread):
        raise NonFiniteError("costs of sources with members must be finite; got NaN or infinity")
    return means.shape[-1], spread


def _stage(
    draw: Callable[[np.random.Generator], Array | Columns],
    g: Array,
    unit: Array,
    b: Array,
    share: Array,
    /,
    *,
    rng: np.random.Generator,
    eps: float,
    steps: range,
) -> tuple[Array, Array, float]:
    """Mean of g over the second half of these steps, units of its steps, and how sharp the softmaxes are."""
    xp = array_namespace(g)
    total, slope, count, sharpness, step_unit = xp.zeros_like(g), xp.zeros_like(g), 0, 1.0, unit
    for step in steps:
        cost = _detached(draw(rng))
        found = _swept(g, cost, b, eps)
        p, here = _shares(found, g, cost, b, eps)
        if eps > 0:
            slope = slope + here
            step_unit = eps / xp.minimum(xp.maximum(slope / ((step + 1) * b), eps / unit), 1.0)
        g = g + step_unit * share / (1.0 + step * share) ** DECAY * (1.0 - p / b)
        if 2 * (step - steps.start) >= len(steps) - 1:
            total, count = total + g, count + 1
        sharpness = found.largest
    return total / count, step_unit, float(xp.mean(sharpness))


def _measured(
    draw: Callable[[np.random.Generator], Array | Columns],
    g: Array,
    b: Array,
    batch: int,
    /,
    *,
    rng: np.random.Generator,
    tol: float,
    n_iter: int,
) -> Semidiscrete:
    """Evidence for g on fresh draws: twice as many as members, and enough for a hundredth of chance."""
    xp = array_namespace(g)
    sweeps = [_swept(g, _detached(draw(rng)), b, 0.0) for _ in range(-(-max(2 * g.shape[0], FRESH) // batch))]
    least, index = (xp.concat([each[k] for each in sweeps]) for k in (0, 1))
    error, expected = marginal_error(index, b), chance_error(b, index.shape[0])
    return Semidiscrete(
        g,
        float(xp.mean(least) + xp.sum(b * g)),
        float(xp.mean(least + xp.take(g, index))),
        error,
        expected,
        n_iter,
        bool(error**2 <= expected**2 + tol**2),
    )
