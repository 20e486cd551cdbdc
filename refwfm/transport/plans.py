"""What is done with a transport plan: measure its errors, round it to a permutation, draw pairs from it.

A plan between clouds of n and m atoms is an array (..., n, m) of masses; its logarithm is what log-domain
solvers have, and what rounding takes, because masses underflow to zero where their logarithms still differ.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    machine_eps,
    on_device_of,
    running_sum,
    take_rows,
)
from refwfm.clouds import even
from refwfm.transport.problem import check_weights

PATIENCE = 12
"""Visits to each row, on average, after which rounding continues with the sequential algorithm."""


class MarginalError(NamedTuple):
    """L1 distance of both marginals of a plan from what they should be, shapes (...)."""

    row_error: Array
    col_error: Array


class Pairs(NamedTuple):
    """Atom ``source[k]`` of the first cloud goes with atom ``target[k]`` of the second; integers (..., k)."""

    source: Array
    target: Array


def marginal_error(plan: Array, a: Array, b: Array, /) -> MarginalError:
    """How far a plan is from the coupling polytope ``{P ≥ 0: P 1ₘ = a, Pᵀ 1ₙ = b}``.

    Equation: WFM-U8. The print has the two vectors of ones interchanged (E7), which only fits n = m.

    Parameters
    ----------
    plan : array, shape (..., n, m)
    a : array, shape (..., n)
    b : array, shape (..., m)

    Returns
    -------
    MarginalError
        ``‖P 1ₘ - a‖₁`` and ``‖Pᵀ 1ₙ - b‖₁``.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> [float(error) for error in marginal_error(np.asarray([[0.5, 0.0], [0.5, 0.0]]), half, half)]
    [0.0, 1.0]
    """
    xp = check_floating(plan=plan, a=a, b=b)
    if min(plan.ndim - 1, a.ndim, b.ndim) < 1 or (a.shape[-1], b.shape[-1]) != tuple(plan.shape[-2:]):
        raise ValueError(
            f"a plan (..., n, m) needs a (..., n) and b (..., m); got plan {tuple(plan.shape)}, "
            f"a {tuple(a.shape)} and b {tuple(b.shape)}"
        )
    return MarginalError(
        xp.sum(xp.abs(xp.sum(plan, axis=-1) - a), axis=-1), xp.sum(xp.abs(xp.sum(plan, axis=-2) - b), axis=-1)
    )


def argmax_matching(log_plan: Array, /) -> Array:
    """Likeliest partner of each atom: ``argmax_j log_plan[i, j]``, in general no permutation.

    Equation: WFM-A.1.

    Parameters
    ----------
    log_plan : array, shape (..., n, m)
        A plan works as well; columns of padding must be ``-inf`` (or 0).

    Returns
    -------
    array, shape (..., n), integers; the lowest of several equal ones. Atoms whose row underflowed get 0.

    Examples
    --------
    >>> argmax_matching(np.log(np.asarray([[0.1, 0.4], [0.2, 0.3]]))).tolist()
    [1, 1]
    """
    check_floating(log_plan=log_plan)
    _refuse_nan(log_plan)
    return array_namespace(log_plan).argmax(log_plan, axis=-1)


# Rounding to a permutation


def greedy_rounding_sequential(log_plan: Array, /) -> Array:
    """Round a plan to a permutation, as the paper writes it: the reference of ``greedy_rounding``.

    Equation: WFM-A.1. Again and again the largest remaining entry (of several equal ones the first, row by
    row) is matched, and its row and column are masked with ``-inf``. The print zeroes them (E16): once the
    rest has underflowed, that picks used cells again. Parameters and result as for ``greedy_rounding``;
    n passes over the whole matrix, one matrix after the other.

    Examples
    --------
    >>> greedy_rounding_sequential(np.log(np.asarray([[0.1, 0.4], [0.2, 0.3]]))).tolist()
    [1, 0]
    """
    xp, n = _check_log_plan(log_plan)
    _refuse_nan(log_plan)
    members = math.prod(log_plan.shape[:-2])
    index = xp.arange(n, device=device(log_plan))
    perms = []
    for member in range(members):
        rest = xp.reshape(log_plan, (members, n, n))[member, ...]
        perm: dict[int, int] = {}
        while len(perm) < n:
            i, j = divmod(int(xp.argmax(xp.reshape(rest, (-1,)))), n)
            if float(xp.max(rest)) == -math.inf:  # so is all the rest: it is matched in order
                free = [[k for k in range(n) if k not in used] for used in (perm, set(perm.values()))]
                perm.update(zip(*free, strict=True))
                break
            perm[i] = j
            rest = xp.where((index[:, None] == i) | (index == j), -math.inf, rest)
        perms.append([perm[i] for i in range(n)])
    host = np.asarray(perms, dtype=np.int64).reshape(log_plan.shape[:-1])
    return on_device_of(log_plan, host)


def greedy_rounding(log_plan: Array, a: Array | None = None, b: Array | None = None, /) -> Array:
    """Round a plan to a permutation by its largest entries, all rows at once.

    Equation: WFM-A.1. The matching of ``greedy_rounding_sequential``, ties included. It is the only stable
    matching of rows and columns that both prefer large entries, so it is found by proposals: every free row
    proposes to the column with the largest entry among those that would accept it, and each column keeps the
    best proposal so far (Gale and Shapley).

    Parameters
    ----------
    log_plan : array, shape (..., n, n)
        Logarithm of the plan, ``-inf`` allowed; any increasing function of the plan works.
    a, b : array, shape (..., n), optional
        Weights of the two clouds, for padded batches: an equal number of atoms of equal weight, then rows of
        weight 0. Live atoms go to live atoms, padding to padding.

    Returns
    -------
    array, shape (..., n), integers of the same library: row i goes with column ``perm[i]``; always a
    permutation.

    Raises
    ------
    ValueError
        If the matrix is not square or has a NaN, or the weights are not uniform over equally many atoms.

    Notes
    -----
    A round costs n operations for each free row. Entropic plans take one or two dozen rounds, with a third
    of the rows free in the second and ever fewer later: about two passes over the matrix instead of n. As
    few suffice for a matrix whose smallest entry occurs many times (underflow): those are matched in order at
    the end. But when all rows want the same columns in the same order, only one of them finds its column in a
    round. After ``PATIENCE`` passes over the matrix the sequential algorithm therefore takes over, and the
    worst case takes about twice as long as that. On JAX, the shapes of each round are compiled anew.

    Examples
    --------
    >>> greedy_rounding(np.log(np.asarray([[0.1, 0.4], [0.2, 0.3]]))).tolist()  # 0.4 first, then what is left
    [1, 0]
    """
    xp, n = _check_log_plan(log_plan)
    if (a is None) != (b is None):
        raise ValueError("rounding of padded clouds needs both a and b; got one of them")
    if a is not None:
        log_plan = _mask_padding(log_plan, a, b)
    if 0 in log_plan.shape:
        return xp.zeros(log_plan.shape[:-1], dtype=xp.int64, device=device(log_plan))
    _refuse_nan(log_plan)
    values = xp.reshape(log_plan, (-1, n))  # the batch as one long list of rows; columns are numbered alike
    every = xp.arange(values.shape[0], device=device(log_plan))
    least = xp.repeat(xp.min(xp.reshape(values, (-1, n * n)), axis=-1), n)
    holder = xp.full_like(every, -1)  # of each column: the row whose proposal it keeps,
    held = xp.full_like(values[:, 0], -math.inf)  # and the entry
    free, unmatched, visits = every, [], 0
    while free.shape[0]:
        visits += free.shape[0]
        if visits > PATIENCE * every.shape[0]:
            return greedy_rounding_sequential(log_plan)
        column, value = _best_accepting(values, free, held, holder)
        proposes = value > xp.take(least, free)  # the others never find better: matched in order at the end
        unmatched.append(free[~proposes])
        if not bool(xp.any(proposes)):
            break
        row, column, value = free[proposes], column[proposes], value[proposes]
        order = _by_column(column, value)
        row, column, value = (xp.take(part, order) for part in (row, column, value))
        best = xp.concat([xp.ones_like(column[:1], dtype=xp.bool), column[1:] != column[:-1]])
        displaced = xp.take(holder, column[best])
        free = xp.sort(xp.concat([row[~best], displaced[displaced >= 0]]))
        row, column, value = row[best], column[best], value[best]
        at = xp.clip(xp.searchsorted(column, every), max=column.shape[0] - 1)
        changed = xp.take(column, at) == every
        holder = xp.where(changed, xp.take(row, at), holder)
        held = xp.where(changed, xp.take(value, at), held)
    rest = xp.sort(xp.concat(unmatched))
    if rest.shape[0]:
        empty = holder < 0
        nth = xp.cumulative_sum(xp.astype(empty, xp.int64)) - 1
        holder = xp.where(empty, xp.take(rest, xp.clip(nth, min=0)), holder)
    return xp.reshape(xp.argsort(holder) % n, log_plan.shape[:-1])


def _by_column(column: Array, value: Array) -> Array:
    """Order proposals by column, and within a column the largest entry first, then the lowest row."""
    xp = array_namespace(column, value)
    order = xp.argsort(-value, stable=True)
    return xp.take(order, xp.argsort(xp.take(column, order), stable=True))


def _best_accepting(values: Array, free: Array, held: Array, holder: Array) -> tuple[Array, Array]:
    """Of each free row the largest entry among the columns that would accept it, and that column."""
    xp = array_namespace(values)
    n = values.shape[-1]
    entries = values
    if free.shape[0] < values.shape[0]:  # in the first round all are free, and nothing is held
        entries, member = xp.take(values, free, axis=0), free // n
        limit, rival = (_rows_of(array, member, n) for array in (held, holder))
        accepts = (entries > limit) | ((entries == limit) & (free[:, None] < rival))
        entries = xp.where(accepts, entries, -math.inf)
    column = xp.argmax(entries, axis=-1)
    value = xp.take_along_axis(entries, column[:, None], axis=-1)[:, 0]
    return column + free // n * n, value


def _rows_of(array: Array, member: Array, n: int) -> Array:
    """What the columns of each row's member hold: shape (rows, n), or (1, n) for a single matrix."""
    xp = array_namespace(array)
    table = xp.reshape(array, (-1, n))
    return table if table.shape[0] == 1 else xp.take(table, member, axis=0)


def _check_log_plan(log_plan: Array) -> tuple[Any, int]:
    xp = check_floating(log_plan=log_plan)
    if log_plan.ndim < 2 or log_plan.shape[-1] != log_plan.shape[-2]:
        raise ValueError(f"log_plan must have shape (..., n, n); got {tuple(log_plan.shape)}")
    return xp, log_plan.shape[-1]


def _refuse_nan(log_plan: Array) -> None:
    xp = array_namespace(log_plan)
    if bool(xp.any(xp.isnan(log_plan))):
        raise ValueError("log_plan must not be NaN")


def _mask_padding(log_plan: Array, a: Array, b: Array) -> Array:
    """Write ``-inf`` into rows and columns of weight 0; raise unless the rest is uniform and square."""
    xp = check_floating(log_plan=log_plan, a=a, b=b)
    n = log_plan.shape[-1]
    index = xp.arange(n, device=device(log_plan))
    counts = []
    for name, weights in (("a", a), ("b", b)):
        if weights.ndim < 1 or weights.shape[-1] != n:
            raise ValueError(f"{name} must have shape (..., {n}); got {tuple(weights.shape)}")
        live = weights > 0
        counts.append(xp.sum(xp.astype(live, xp.int64), axis=-1, keepdims=True))
        if not bool(xp.all(even(weights))) or bool(xp.any(live != (index < counts[-1]))):
            raise ValueError(
                f"rounding needs atoms of equal weights 1/k, then padding (weight 0); {name} is different; "
                "use the plan itself or its barycentric projection"
            )
        check_weights(weights, name)
    if not bool(xp.all(counts[0] == counts[1])):
        raise ValueError("rounding needs clouds of equally many atoms; a and b have different numbers")
    return xp.where((a > 0)[..., :, None] & (b > 0)[..., None, :], log_plan, -math.inf)


# Pairs drawn from a plan


def sample_pairs(plan: Array, n: int, /, *, rng: np.random.Generator, replace: bool = True) -> Pairs:
    """Draw n pairs of atoms from a plan.

    Equation: GWFM-29. With replacement the pairs are independent, each (i, j) with probability
    ``plan[i, j]``; of a permutation only ``1 - 1/e`` of the atoms appear (C9). Without, n different pairs
    of a permutation are drawn, all of them if it has n. Outer plans are drawn from in the same way.

    Parameters
    ----------
    plan : array, shape (..., k, m)
        Non-negative, of total mass 1; rounding is normalised away.
    n : int
        Pairs to draw from each plan.
    rng : numpy.random.Generator
        Draws on the host: the same pairs on every library.
    replace : bool
        False only for plans with at most one positive entry in each row and column, all equal.

    Returns
    -------
    Pairs
        Integers (..., n) in the plan's library; never a pair of probability zero.

    Raises
    ------
    ValueError
        If a plan has negative or non-finite entries or a total mass other than 1, or if it is not a
        permutation of at least n atoms and ``replace`` is false.

    Notes
    -----
    With replacement, the row is drawn first and then the column within it, by inverting distribution
    functions: O(n (k + m)) memory.

    Examples
    --------
    >>> pairs = sample_pairs(np.asarray([[0.0, 0.5], [0.5, 0.0]]), 20, rng=np.random.default_rng(0))
    >>> sorted(set(zip(pairs.source.tolist(), pairs.target.tolist())))
    [(0, 1), (1, 0)]
    """
    xp, n = check_floating(plan=plan), check_integer(n, "n", low=0)
    if plan.ndim < 2:
        raise ValueError(f"plan must have shape (..., k, m); got {tuple(plan.shape)}")
    total = xp.sum(plan, axis=(-2, -1))
    allowed = 1e-6 if machine_eps(plan) < 1e-10 else 1e-3
    if not all_finite(plan) or not bool(
        xp.all((plan >= 0) & (xp.abs(total - 1.0) <= allowed)[..., None, None])
    ):
        raise ValueError(
            "plan must be finite and non-negative, of total mass 1; got a smallest entry of "
            f"{float(xp.min(plan)):.3g} and masses from {float(xp.min(total)):.9g} "
            f"to {float(xp.max(total)):.9g}"
        )
    if not replace:
        return _sample_permutation(plan, n, rng)
    mass = xp.sum(plan, axis=-1)
    source = sample_targets(
        xp.broadcast_to(mass[..., None, :], (*mass.shape[:-1], n, mass.shape[-1])), rng=rng
    )
    return Pairs(source, sample_targets(take_rows(plan, source), rng=rng))


def sample_targets(plan: Array, /, *, rng: np.random.Generator) -> Array:
    """Draw a target for every row of a plan, as likely as its share of the row's mass.

    Equation: GWFM-29. With every source atom once.

    Parameters
    ----------
    plan : array, shape (..., n, m)
        Non-negative and finite, or ``ValueError``; a row of padding, without mass, gets 0.
    rng : numpy.random.Generator
        Draws on the host: the same targets on every library.

    Returns
    -------
    array, shape (..., n), integers; never a target without mass

    Examples
    --------
    >>> sample_targets(np.asarray([[0.0, 0.5], [0.5, 0.0]]), rng=np.random.default_rng(0)).tolist()
    [1, 0]
    """
    xp = check_floating(plan=plan)
    levels, positive = running_sum(plan, 1024), plan > 0  # in longer runs than for a cost: this is a draw
    if not bool(xp.all(plan >= 0)) or not all_finite(levels[..., -1]):
        raise ValueError("plan must be finite and non-negative, to draw targets from; got another, or NaN")
    # The largest level at a positive entry: a rounded sum may fall, and a rounded fraction may be 1.
    total = xp.max(xp.where(positive, levels, 0.0), axis=-1)
    below = xp.minimum(
        asarray_like(rng.random(plan.shape[:-1]), plan) * total, total * (1.0 - machine_eps(plan))
    )
    return xp.argmax(xp.astype(positive & (levels > below[..., None]), xp.int8), axis=-1)


def _sample_permutation(plan: Array, n: int, rng: np.random.Generator) -> Pairs:
    xp = array_namespace(plan)
    positive = xp.astype(plan > 0, xp.int64)
    in_row, in_column = xp.sum(positive, axis=-1), xp.sum(positive, axis=-2)
    largest = xp.max(plan, axis=(-2, -1), keepdims=True)
    equal = (plan == 0) | (xp.abs(plan - largest) <= 1e3 * machine_eps(plan) * largest)
    if not bool(xp.all(in_row <= 1)) or not bool(xp.all(in_column <= 1)) or not bool(xp.all(equal)):
        raise ValueError(
            "replace=False needs plans that are permutations; got another; draw with replacement"
        )
    atoms = xp.sum(in_row, axis=-1)
    if not bool(xp.all(atoms >= n)):
        raise ValueError(f"replace=False cannot draw {n} different pairs from {int(xp.min(atoms))} atoms")
    keys = asarray_like(rng.random(in_row.shape), plan)
    source = xp.argsort(xp.where(in_row > 0, keys, 2.0), axis=-1)[..., :n]
    return Pairs(source, xp.take_along_axis(xp.argmax(plan, axis=-1), source, axis=-1))
