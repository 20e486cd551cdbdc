"""Semidiscrete outer plans of a run: fitted once before training, within labels; then sources are assigned.

With ``outer = "semidiscrete"`` targets are not drawn: each source goes to the member of its label (of all,
for an unconditional model) that the fitted weights say. A conditional model draws labels by themselves, so
that sources stay independent of them. Resuming fits the weights again, or takes them from the cache, and goes
on with those of the checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, device, on_device_of, to_host
from refwfm.couplings.outer import OUTER
from refwfm.evidence import ConvergenceError
from refwfm.storage.cache import cached
from refwfm.training.conditions import Conditions
from refwfm.training.options import option
from refwfm.training.randomness import random_stream
from refwfm.transport.semidiscrete import Columns, assign, fit_semidiscrete

SEMIDISCRETE = "semidiscrete"

BATCH = 256
"""Sources of a step of the fit."""

WORTH_A_FILE = 2000
"""Members from which on fitted weights are kept in the cache."""

EVIDENCE = ("value", "cost", "error", "expected", "n_iter", "converged")


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Which source goes with which target, among those of one label."""

    PANEL: ClassVar[str] = "Outer plan: which source goes to which target"

    outer: str = option("independent", "Outer plan.", choices=OUTER)
    outer_tol: float = option(
        0.1,
        "Total variation between what members get from a semidiscrete plan and equal shares that is allowed "
        "beyond chance.",
        above=0,
    )
    outer_steps: int = option(
        20_000, "Steps at most of the fit of a semidiscrete plan, of 256 sources each.", low=1
    )
    rectified_pairs: int = option(
        0,
        "Pairs that a run with --rectify learns from, 4096 where nothing is said: sources, and where the "
        "model of the other run takes them.",
        low=0,
    )
    rectified_steps: int = option(25, "Midpoint steps in which it takes them there.", low=1)


class OuterPlan(NamedTuple):
    """Fitted weights of members, and the evidence for them, of each label (or of all).

    Attributes
    ----------
    g : array, shape (N,), in the order of the family. Units: the model's, squared.
    evidence : numpy.ndarray, shape (labels with members, 6), float64
        See ``EVIDENCE`` and ``transport.semidiscrete.Semidiscrete``.
    """

    g: Array
    evidence: np.ndarray


def parts_of(labels: np.ndarray | None, counts: np.ndarray, n: int, /) -> tuple[np.ndarray, ...]:
    """Members of each label, or one part of all n for an unconditional model.

    Equation: none. Wiring of a run.
    """
    if labels is None or not len(counts):
        return (np.arange(n),)
    return tuple(np.flatnonzero(labels == label) for label in range(len(counts)))


def groups_of(labels: np.ndarray | None, counts: np.ndarray, index: np.ndarray, /) -> np.ndarray:
    """Parts that the sources of a step go to: labels of members that were drawn, or 0.

    Equation: none. Wiring of a run.
    """
    return np.zeros(len(index), dtype=np.int64) if labels is None or not len(counts) else labels[index]


def check_fit(conditions: Conditions | None, /) -> None:
    """Raise ``ValueError`` for a model that is conditioned on numbers.

    Equation: none. Wiring of a run.
    """
    if conditions is not None:
        raise ValueError(
            f"outer = 'semidiscrete' does not look at conditions ({', '.join(conditions.names)}), which "
            "sources would give away: use outer = 'independent', or conditional = False"
        )


def fit_outer(
    options: PlanOptions,
    parts: Sequence[np.ndarray],
    costs: Callable[[int, np.random.Generator], Columns],
    like: Array,
    /,
    *,
    seed: int,
    key: tuple[np.ndarray, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> OuterPlan:
    """Weights of all parts of a family, each fitted on fresh sources of its own.

    Equation: none. Wiring of a run: SEMI-2 within each label, every member weighing the same.

    Parameters
    ----------
    costs : callable
        ``costs(k, rng)``: of ``BATCH`` fresh sources with the members of part k.
    key : tuple of arrays
        What the weights depend on besides options and seed: a fit to many members is kept under it.

    Raises
    ------
    ConvergenceError
        If shares of members are off by more than ``options.outer_tol`` beyond chance.
    """
    xp, full = array_namespace(like), [k for k, part in enumerate(parts) if len(part)]

    def compute() -> np.ndarray:
        found, weights = [], np.zeros(sum(map(len, parts)))
        for done, k in enumerate(full):
            n = len(parts[k])
            b = xp.full((n,), 1.0 / n, dtype=like.dtype, device=device(like))

            def report(step: int, steps: int, done: int = done) -> None:
                if progress is not None:
                    progress(done * steps + step, len(full) * steps)

            fit = fit_semidiscrete(
                partial(costs, k),
                b,
                rng=random_stream(seed, "outer", k),
                tol=options.outer_tol,
                max_iter=options.outer_steps,
                require=False,
                progress=report,
            )
            weights[parts[k]] = to_host(fit.g)
            found.append([float(getattr(fit, name)) for name in EVIDENCE])
        return np.concatenate([weights, np.ravel(found)])

    n, told = sum(map(len, parts)), repr((options.outer_tol, options.outer_steps, seed, str(like.dtype)))
    if key and n >= WORTH_A_FILE:
        words = np.frombuffer(told.encode(), dtype=np.uint8)
        shape = (n + len(EVIDENCE) * len(full),)
        result = cached(compute, words, *key, *parts, shape=shape, kind="semidiscrete")
    else:
        result = compute()
    plan = OuterPlan(asarray_like(result[:n], like), result[n:].reshape(len(full), len(EVIDENCE)))
    if not plan.evidence[:, EVIDENCE.index("converged")].all():
        raise ConvergenceError(
            f"{plan_in_words(plan)}; {options.outer_tol:g} beyond chance is allowed: take a larger "
            "outer_tol, more outer_steps, or leave out members that coincide"
        )
    return plan


def plan_in_words(plan: OuterPlan, /) -> str:
    """What is told of a fitted plan: its worst label's shares, beside chance, and its certificate.

    Equation: none. Words.
    """
    worst = plan.evidence[np.argmax(plan.evidence[:, EVIDENCE.index("error")])]
    value, cost, error, expected, n_iter, _ = worst
    return (
        f"semidiscrete plan of {plan.g.shape[0]} members after {n_iter:.0f} steps: their shares are off by "
        f"{error:.3g} in total variation (chance: {expected:.3g}), dual value {value:.4g}, "
        f"mean cost {cost:.4g}"
    )


def logged(setting: Any, /) -> dict[str, float]:
    """What a run's log says of its outer plan: nothing where none was fitted.

    Equation: none. Wiring of a run.
    """
    plan = getattr(setting, "outer", None)
    if plan is None:
        return {}
    columns = dict(zip(EVIDENCE, plan.evidence.max(axis=0).tolist(), strict=True))
    return {"outer_error": columns["error"], "outer_error_by_chance": columns["expected"]}


def assigned(
    plan: OuterPlan,
    parts: Sequence[np.ndarray],
    groups: np.ndarray,
    costs: Callable[[int, np.ndarray], Columns],
    /,
) -> np.ndarray:
    """Members that the sources of a step go to, each within its group. Shape (B,), on the host.

    Equation: none. Wiring of a run: SEMI-1 within each group.

    Parameters
    ----------
    groups : integers (B,)
        Part that each source goes to.
    costs : callable
        ``costs(k, positions)``: of the sources at these positions with the members of part k.
    """
    xp, target = array_namespace(plan.g), np.empty(len(groups), dtype=np.int64)
    for k in np.unique(groups):
        mine = np.flatnonzero(groups == k)
        g = xp.take(plan.g, on_device_of(plan.g, parts[k]))
        target[mine] = parts[k][to_host(assign(g, costs(k, mine)))]
    return target


def pack_outer(plan: OuterPlan | None, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a plan apart for a checkpoint: nothing where there is none.

    Equation: none. Wiring of a run.
    """
    if plan is None:
        return {}, {}
    return {"outer": {"g": plan.g}}, {"outer": plan.evidence.tolist()}


def unpack_outer(arrays: dict[str, Any], numbers: dict[str, Any], /) -> OuterPlan | None:
    """Put a plan together again: the inverse of ``pack_outer``.

    Equation: none. Wiring of a run.
    """
    if "outer" not in arrays:
        return None
    return OuterPlan(arrays["outer"]["g"], np.asarray(numbers["outer"], dtype=np.float64))
