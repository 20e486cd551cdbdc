"""The linear programme of transport, one problem at a time: solved by POT, proved by complementary slackness.

A plan P with marginals a, b is optimal exactly if there are *potentials* with ``f_i + g_j <= K_ij`` for all
pairs, and equality wherever P has mass. Nothing else is believed here: the solver's own tolerances are
absolute, or relative to the largest cost of all, so it is given problems in which that does no harm, and what
it returns is judged pair by pair.

- *Least entries are taken off*: the costs ``K_ij - f_i - g_j >= 0``, f and g the least of rows and then of
  columns, have the same plans. A far point is then dear only where it is far from *both* sides of a pair.
- *In units of order one*, a power of two, and *capped* where the plan cannot use them: nothing dearer than
  all that can be saved along a path through the plan.
- *Potentials are walked anew*, along a spanning tree of the pairs that are tight. POT's own carry rounding of
  ``(n + m) max K``.
- *Again*, where that is refused: with the cap that the plan found allows, and then with the costs that its
  potentials leave, in their smaller unit.
"""

import math
from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

TOLERANCE = 32
"""Machine epsilons of ``|K_ij| + |f_i| + |g_j|`` by which slackness may be off, and of the mass by which
marginals may."""

ROUNDING = TOLERANCE * float(np.finfo(np.float64).eps)
"""The tolerance of what is solved, which is in float64 always."""

CRUMB = 2.0**-10
"""Share of both its atoms below which a piece of a plan with a mass below the tolerance is left out: it is
there because weights were rounded, and may go to the other end of the world."""

CERTAIN = 1e-9
"""Share of its own cost (in float32, of the plan before it is rounded) by which a plan may miss the best."""

RANGE = 2.0**16
"""How much dearer than the whole assignment a cost may be that SciPy is given."""

OVERFLOWS = 2.0**1000
"""Costs above it are divided by it: sums of some might overflow."""

ROUNDS = 8
"""How often a problem is handed to the solver at most. Nearly all are solved at once."""

NEAR = 2.0**-26
"""Slack, in units of the largest cost, of pairs that may be tight: POT's rounding is below it."""

POT_ALONE = {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")}
"""Environment in which POT is imported without other array libraries, which takes a third of the time where
they are installed. Only for processes that are ours: in it POT knows no tensors."""

CACHED = 2**16
"""Elements of temporaries, which then stay in the cache."""


class Proof(NamedTuple):
    """What potentials say about a plan: cost, bound on what it costs too much, L1 errors of the marginals.

    ``holds`` says whether all pairs are slack or tight as they must be, and the marginals right, up to
    ``TOLERANCE`` machine epsilons. Never true of NaN. Where it is not, ``fault`` says what failed.
    """

    cost: float
    gap: float
    row_error: float
    col_error: float
    holds: bool
    fault: str = ""


class Solved(NamedTuple):
    """Plan and potentials of one problem, the proof, and whether POT stopped at ``max_iter``."""

    plan: np.ndarray
    f: np.ndarray
    g: np.ndarray
    proof: Proof
    stopped: bool


def solve(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, /, *, max_iter: int, dtype: np.dtype | type = np.float64
) -> Solved:
    """Optimal plan of positive weights that sum to 1, proved as it is in ``dtype``.

    Equation: none. The solver of GWFM-1, whose public form is ``exact.transport_plan``.

    Examples
    --------
    >>> solved = solve(np.asarray([[0.0, 4.0]]), np.ones(1), np.asarray([0.25, 0.75]), max_iter=100)
    >>> solved.plan.tolist(), solved.proof.cost, solved.proof.holds
    ([[0.25, 0.75]], 3.0, True)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not proved
        solved = _solve(cost, a, b, max_iter)
        if dtype != np.float64:
            plan, f, g = (part.astype(dtype) for part in solved[:3])
            proof = prove(cost, a, b, plan, f, g)
            if not solved.proof.holds:
                proof = proof._replace(holds=False, fault=solved.proof.fault)
            solved = Solved(plan, f, g, proof, solved.stopped)
    return solved


def prove(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, plan: np.ndarray, f: np.ndarray, g: np.ndarray, /
) -> Proof:
    """Judge a plan by potentials, pair by pair: complementary slackness in units of each pair's numbers.

    Equation: none. The judge of GWFM-1.

    Examples
    --------
    >>> cost, half, zero = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.full(2, 0.5), np.zeros(2)
    >>> [prove(cost, half, half, plan, zero, zero).gap for plan in (np.eye(2) / 2, np.eye(2)[::-1] / 2)]
    [0.0, 1.0]
    """
    return _proof(cost, a, b, plan, f, g, _support(plan))


def _proof(
    cost: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    plan: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    support: tuple[np.ndarray, np.ndarray],
) -> Proof:
    tolerance = TOLERANCE * float(np.finfo(plan.dtype).eps)
    plan, f, g = (part.astype(np.float64, copy=False) for part in (plan, f, g))
    rows, columns = support
    mass, spent = plan[rows, columns], cost[rows, columns]
    slack = spent - f[rows] - g[columns]
    sizes = np.abs(spent) + np.abs(f[rows]) + np.abs(g[columns])
    holds = bool((np.abs(slack) <= tolerance * sizes).all())
    least = np.empty(len(f))
    for rows_of in blocks(cost):
        least[rows_of] = (cost[rows_of] - f[rows_of, None] - g).min(axis=1)
    some = np.flatnonzero(~(least >= -tolerance * np.abs(f)))  # the other rows need no closer look
    if len(some):
        allowed = tolerance * (np.abs(cost[some]) + np.abs(f[some, None]) + np.abs(g))
        holds = holds and bool(np.all(cost[some] - f[some, None] - g >= -allowed))
    row_error = float(np.abs(np.bincount(rows, mass, len(a)) - a).sum())
    col_error = float(np.abs(np.bincount(columns, mass, len(b)) - b).sum())
    total, gap = float(mass @ spent), float(mass @ slack + a @ np.maximum(-least, 0.0))
    fault = "" if holds else f"the potentials leave a duality gap of {gap:.3g} of a cost of {total:.3g}"
    if not (row_error <= tolerance and col_error <= tolerance):
        fault = (
            f"marginal errors {row_error:.3g} (rows) and {col_error:.3g} (columns), wanted {tolerance:.3g}"
        )
    return Proof(total, gap, row_error, col_error, not fault, fault)


def blocks(matrix: np.ndarray, /) -> list[slice]:
    """Slices of the rows of a matrix whose elements stay in the cache.

    Equation: none. Blocks of rows.

    Examples
    --------
    >>> blocks(np.zeros((3, 2**15)))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    n, m = matrix.shape
    step = max(1, CACHED // m)
    return [slice(start, start + step) for start in range(0, n, step)]


def least_entries(cost: np.ndarray, /) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least entries of rows, then of columns, and the costs without them: none negative, the same plans.

    Equation: none. Feasible potentials to start from.

    Examples
    --------
    >>> [part.tolist() for part in least_entries(np.asarray([[4.0, 1.0], [2.0, 3.0]]))]
    [[1.0, 2.0], [0.0, 0.0], [[3.0, 0.0], [0.0, 1.0]]]
    """
    f = cost.min(axis=1)
    reduced = cost - f[:, None]
    g = reduced.min(axis=0)
    reduced -= g
    return f, g, reduced


def power_of_two(size: float, /) -> float:
    """Power of two that a positive number is at least, and less than twice; 1 for other numbers.

    Equation: none. A unit, in which nothing is rounded.

    Examples
    --------
    >>> [power_of_two(size) for size in (3.0, 0.25, 0.0)]
    [2.0, 0.25, 1.0]
    """
    return math.ldexp(1.0, math.frexp(size)[1] - 1) if 0.0 < size < math.inf else 1.0


def mean_cost(spent: np.ndarray, /) -> float:
    """Mean of costs (n,), none negative, whose sum may overflow.

    Equation: none. A mean, in a unit in which nothing is rounded.

    Examples
    --------
    >>> mean_cost(np.asarray([1.5e308, 1.5e308]))
    1.5e+308
    """
    unit = power_of_two(float(np.max(spent)))
    return unit * float(np.mean(spent / unit))


def assign(reduced: np.ndarray, /) -> np.ndarray:
    """Columns of least total cost, for square costs that are not negative: right to rounding of their own.

    Equation: none. The solver of WFM-3, whose public form is ``exact.assignment``. SciPy's augmented paths
    round relative to the largest cost, so it may not be more than ``RANGE`` times what the assignment costs:
    nothing dearer than an assignment is in a better one, and is capped. The costs are overwritten.

    Examples
    --------
    >>> assign(np.asarray([[3.0, 0.0], [0.0, 1.0]])).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment  # takes a third of a second to import

    while True:
        columns: np.ndarray = linear_sum_assignment(reduced)[1]
        spent = np.sum(reduced[np.arange(len(columns)), columns])
        if not 0.0 < RANGE * spent < np.max(reduced):
            return columns
        np.minimum(reduced, 2.0 * spent, out=reduced)


def best_assignment(cost: np.ndarray, size: float, /) -> np.ndarray:
    """Columns of least total cost, for finite square costs of absolute values up to ``size``.

    Equation: none. The solver of WFM-3, whose public form is ``exact.assignment``.

    Examples
    --------
    >>> best_assignment(np.asarray([[4.0, 1.0], [2.0, 3.0]]), 4.0).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    if size > OVERFLOWS:
        cost = cost / OVERFLOWS
    rows, columns = linear_sum_assignment(cost)
    if size <= RANGE * cost[rows, columns].sum():
        found: np.ndarray = columns
        return found
    return assign(least_entries(cost.astype(np.float64))[2])


def _solve(cost: np.ndarray, a: np.ndarray, b: np.ndarray, max_iter: int) -> Solved:
    cost, a = np.ascontiguousarray(cost), np.ascontiguousarray(a)
    b = np.ascontiguousarray(b * (np.sum(a) / np.sum(b)))
    f, g, reduced = start = least_entries(cost)
    cap = np.inf
    for _ in range(ROUNDS):
        largest = float(min(reduced.max(), cap))
        unit = power_of_two(largest)
        plan, u, v, stopped = _simplex(np.minimum(reduced, cap) / unit, a, b, max_iter)
        solved = _judged(cost, a, b, plan, f + unit * u, g + unit * v, start, stopped)
        if solved.proof.holds or stopped:
            break
        on = _support(plan)
        cap = 4.0 * (len(a) + len(b)) * float(np.max(reduced[on]))
        if not cap < largest / 2.0:  # what caps can do is done: take off what the potentials explain
            df, dg, reduced = least_entries(cost - solved.f[:, None] - solved.g)
            f, g = solved.f + df, solved.g + dg
            solved = _judged(cost, a, b, plan, f, g, start, stopped)
            cap = 4.0 * (len(a) + len(b)) * float(np.max(reduced[on]))
            if solved.proof.holds or not 0.0 < cap < np.inf:
                break
    return solved


def _judged(
    cost: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    plan: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    start: tuple[np.ndarray, np.ndarray, np.ndarray],
    stopped: bool,
) -> Solved:
    """The solution with its proof, which must be worth something in units of what the plan costs.

    Slackness up to the tolerance leaves the tolerance times ``Σ a_i |f_i| + Σ b_j |g_j|``, whatever the best
    plan is, since its marginals are known; and of each plan the tolerance times what it costs. Where that is
    too much, as between clouds that agree but for the rounding of their weights, rational numbers decide.
    """
    on = _support(plan)
    proof = _proof(cost, a, b, plan, f, g, on)
    f0, g0, reduced = start
    left = ROUNDING * (a @ np.abs(f - f0) + b @ np.abs(g - g0))
    allowed = CERTAIN * (plan[on] @ reduced[on])
    if proof.holds and not left <= allowed:
        left = _missed(cost, a, plan, f, g, float(np.max(reduced)))
        if not left <= allowed:
            fault = f"the plan may cost {left:.3g} too much, wanted {allowed:.3g}"
            proof = proof._replace(holds=False, fault=fault)
    return Solved(plan, f, g, proof, stopped)


def _missed(
    cost: np.ndarray, a: np.ndarray, plan: np.ndarray, f: np.ndarray, g: np.ndarray, largest: float
) -> float:
    """By how much a plan may miss the best: where pairs are in doubt, in rational numbers."""
    unit = power_of_two(largest)
    cost, f, g = cost / unit, f / unit, g / unit
    rows, columns = np.nonzero(cost - f[:, None] - g <= NEAR)
    exact_f, exact_g = _walk(cost, f, g, plan, Fraction)
    gap, least = Fraction(0), [Fraction(0)] * len(f)
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        slack = Fraction(cost[i, j]) - exact_f[i] - exact_g[j]
        gap += Fraction(plan[i, j]) * slack
        least[i] = min(least[i], slack)
    gap -= sum(Fraction(mass) * below for mass, below in zip(a.tolist(), least, strict=True))
    return unit * float(gap)


def _simplex(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """POT's plan for costs of order one, potentials that fit it to rounding, and whether POT stopped."""
    from ot.lp.emd_wrap import emd_c  # takes seconds to import; ``ot.emd`` would warn before we can raise

    plan, _, u, v, code = emd_c(a, b, cost, max_iter, 1)
    rows, columns = _support(plan)
    mass, spent = plan[rows, columns], cost[rows, columns]
    crumbs = mass <= np.minimum(ROUNDING, CRUMB * np.minimum(a[rows], b[columns]))
    if crumbs.any():
        plan[rows[crumbs], columns[crumbs]] = mass[crumbs] = 0.0
    if float(mass @ spent) == 0.0:
        return plan, np.zeros_like(a), np.zeros_like(b), code != 1  # no cost is negative: this is the best
    u, v = _walk(cost, u, v, plan)
    values, weights = np.concatenate([u, -v]), np.concatenate([a, b])
    order = values.argsort()
    middle = values[order[weights[order].cumsum().searchsorted(1.0)]]
    return plan, u - middle, v + middle, code != 1


def _support(plan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.divmod(plan.ravel().nonzero()[0], plan.shape[1])  # sooner than both at once
    return rows, columns


def _walk(
    cost: np.ndarray, f: np.ndarray, g: np.ndarray, plan: np.ndarray, number: type = float
) -> tuple[np.ndarray, np.ndarray]:
    """Potentials, tight along a spanning tree of the pairs that nearly are, those of the plan first."""
    n, m = cost.shape
    pairs = np.flatnonzero(plan)
    if len(pairs) < n + m - 1:  # no tree by themselves
        near = [
            some.start * m + np.flatnonzero(cost[some] - f[some, None] - g <= NEAR) for some in blocks(cost)
        ]
        if sum(map(len, near)) <= 16 * (n + m):  # more are ties, of round numbers, where POT does not round
            pairs = np.concatenate(near)
    rows, columns = np.divmod(pairs, m)
    length = np.where(plan[rows, columns] > 0, -1.0, np.abs(cost[rows, columns] - f[rows] - g[columns]))
    steps: list[list[tuple[float, int, float]]] = [[] for _ in range(n + m)]
    arcs = (part.tolist() for part in (rows, columns, length, cost[rows, columns]))
    for row, column, away, entry in zip(*arcs, strict=True):
        down = number(entry)
        steps[row].append((away, n + column, -down))
        steps[n + column].append((away, row, down))
    # From f_i to -g_j it is K_ij down.
    height, seen = [*map(number, [*f.tolist(), *(-g).tolist()])], [False] * (n + m)
    for root in range(n + m):
        queue = [(0.0, root, height[root])]
        while queue:  # Prim's algorithm
            _, atom, level = heappop(queue)
            if not seen[atom]:
                seen[atom], height[atom] = True, level
                for away, other, step in steps[atom]:
                    if not seen[other]:
                        heappush(queue, (away, other, level + step))
    return np.asarray(height[:n]), -np.asarray(height[n:])
