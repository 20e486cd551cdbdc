"""What an audited formula is made of, and how its checks are run.

A check computes the residual of an implementation against an oracle that shares no code with it. The same
residual is then computed of plausible wrong implementations, its *negative controls*: misprints, signs,
factors of two, missing roots. Each must exceed the tolerance; a check that does not notice them is blind, and
fails.
"""

import math
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from refwfm import backends
from refwfm.backends import Backend
from refwfm.validation.draws import Draw, NotANumberError

DIMENSIONS = (1, 2, 3, 6, 16)

COMPILING = ("jax",)
"""Libraries that compile every operation anew for every shape: that takes most of their time, so that they
are audited by one oracle for each function of a formula, on one draw in the middle dimension, unless all are
asked for. (What a function computes, and whether its checks can see, the other libraries have told.)"""

STRICT = "strict"
"""NumPy that refuses what the array API lacks, whatever the numbers: audited on one draw, too."""


class Tolerance(NamedTuple):
    """Largest residual allowed, for each dtype, and the reason for it."""

    float64: float
    float32: float
    reason: str


class Check(NamedTuple):
    """One comparison with one oracle.

    Attributes
    ----------
    oracle : str
        What the implementation is held against.
    residual : callable
        ``residual(implementation, draw)``: a number, zero for the truth. Its docstring says what it measures.
    implementation : callable
        The function of the package.
    controls : dict
        Wrong implementations by what is wrong with them. They run on the host in float64.
    tolerance : Tolerance
    dimensions : tuple of int
        Of the random instances; the residual is the largest over all of them, ``repeats`` draws each.
    size, repeats : int
        Members of a batch, and draws for each dimension.
    needs : str, optional
        A package without which the check is skipped.
    everywhere : bool
        False for what does not depend on the backend under audit: asked beside NumPy in float64 only.
    many_shapes : bool
        True for what meets so many shapes that it takes seconds on a library that compiles each anew: asked
        there with ``every_draw`` only.
    """

    oracle: str
    residual: Callable[[Callable[..., Any], Draw], float]
    implementation: Callable[..., Any]
    controls: dict[str, Callable[..., Any]]
    tolerance: Tolerance
    dimensions: tuple[int, ...] = DIMENSIONS
    size: int = 3
    repeats: int = 2
    needs: str | None = None
    everywhere: bool = True
    many_shapes: bool = False


class Misprint(NamedTuple):
    """A place where the printed formula cannot be meant.

    Attributes
    ----------
    id, printed, correct, note : str
    control : str, optional
        The negative control that is the formula as printed: its residual is the evidence.
    """

    id: str
    printed: str
    correct: str
    note: str
    control: str | None = None


class Item(NamedTuple):
    """One formula of the ledger: where it stands, what implements it, how that is checked."""

    id: str
    paper: str
    place: str
    title: str
    latex: str
    statement: str
    functions: tuple[Callable[..., Any], ...]
    checks: tuple[Check, ...]
    misprints: tuple[Misprint, ...] = ()


class ControlResult(NamedTuple):
    """Residual of one wrong implementation; NaN, and the error, if it could not run."""

    variant: str
    residual: float
    error: str = ""


class CheckResult(NamedTuple):
    """Outcome of one check, by the name of its oracle.

    ``ok`` is None when it was skipped, and ``note`` says why, or why it failed.
    """

    oracle: str
    residual: float
    tolerance: float
    controls: tuple[ControlResult, ...]
    ok: bool | None
    note: str


class ItemResult(NamedTuple):
    """Outcomes of an item's checks on one backend, and how long they took."""

    id: str
    backend: str
    dtype: str
    checks: tuple[CheckResult, ...]
    seconds: float


# Tolerances

WELL = "condition number 30, d up to 16, and SciPy's root beside ours"
"""What most tolerances for Gaussians rest on: the covariances of ``Draw``, and the oracle's rounding."""


def roundings(factor: float, reason: str, /) -> Tolerance:
    """``factor`` times machine epsilon."""
    return Tolerance(
        factor * float(np.finfo(np.float64).eps),
        factor * float(np.finfo(np.float32).eps),
        f"{factor:g} machine epsilons: {reason}",
    )


def differences(factor: float, reason: str = "of float32's rounding", /) -> Tolerance:
    """Limited by finite differences in float64, by ``factor`` roundings in float32."""
    return Tolerance(
        1e-8,
        factor * float(np.finfo(np.float32).eps),
        f"float64: fourth-order differences, 1e-8; float32: {factor:g} machine epsilons, {reason}",
    )


STANDARD_ERRORS = Tolerance(5.0, 5.0, "the residual is in standard errors of the mean of the draws")

FIXED_POINT = Tolerance(
    1e-8, 1e-4, "ten times the residual 1e-9 (float32: 1e-5) at which the fixed-point iteration stops"
)
EXACT = Tolerance(0.0, 0.0, "there is nothing to round")


# Running


def run(
    items: list[Item],
    backend: Backend,
    /,
    *,
    seed: int = 0,
    every_draw: bool = False,
    controls: bool = True,
    until_rejected: bool = False,
) -> Iterator[ItemResult]:
    """Run the checks of the items on a backend, one item after the other; options as for ``run_check``."""
    options: dict[str, Any] = {
        **{"seed": seed, "every_draw": every_draw},
        **{"controls": controls, "until_rejected": until_rejected},
    }
    for item in items:
        start = time.perf_counter()
        left_out = _left_out(item) if compiles(backend.name) and not every_draw else {}
        checks = tuple(
            _skipped(check, backend, f"{left_out[check.oracle]}; --every-draw asks this one too")
            if check.oracle in left_out
            else run_check(check, item.id, backend, **options)
            for check in item.checks
        )
        yield ItemResult(item.id, backend.name, backend.dtype, checks, time.perf_counter() - start)


def compiles(backend: str, /) -> bool:
    """Whether a backend compiles every operation anew for every shape."""
    return backend.partition(":")[0] in COMPILING


def _left_out(item: Item) -> dict[str, str]:
    """Oracles of an item that a library which compiles every shape is not asked about, and why."""
    asked = [check for check in item.checks if not check.many_shapes]
    first = {check.implementation: check.oracle for check in reversed(asked)}
    repeated = {check.oracle for check in asked} - set(first.values())
    return {
        **dict.fromkeys(repeated, "another oracle checks its function"),
        **{check.oracle: "it meets many shapes" for check in item.checks if check.many_shapes},
    }


def _tolerance(check: Check, backend: Backend) -> float:
    return check.tolerance.float64 if backend.dtype == "float64" else check.tolerance.float32


def _skipped(check: Check, backend: Backend, why: str) -> CheckResult:
    return CheckResult(check.oracle, math.nan, _tolerance(check, backend), (), None, f"skipped: {why}")


def run_check(
    check: Check,
    id: str,
    backend: Backend,
    /,
    *,
    seed: int = 0,
    every_draw: bool = False,
    controls: bool = True,
    until_rejected: bool = False,
) -> CheckResult:
    """Residual of the implementation and of all negative controls, on the same random inputs.

    Parameters
    ----------
    every_draw : bool
        Also on other libraries than NumPy, which are asked once in each dimension; those that compile, and
        ``STRICT``, in one dimension.
    controls : bool
        Without them the result says nothing yet about the check, only about the implementation: to be
        completed by ``with_controls``.
    until_rejected : bool
        Whether a control is spared the draws after the one that rejects it. The verdict is the same, unless
        it cannot run on one of those; its residual is not the largest.
    """
    tolerance = _tolerance(check, backend)
    if check.needs is not None and find_spec(check.needs) is None:
        return _skipped(check, backend, f"needs {check.needs}")
    if not check.everywhere and (backend.name.partition(":")[0], backend.dtype) != ("numpy", "float64"):
        return _skipped(check, backend, "the same on all backends: asked beside NumPy in float64")
    key = [seed, crc32(f"{id}: {check.oracle}".encode())]
    fewer = check
    if (compiles(backend.name) or backend.name == STRICT) and not every_draw:
        fewer = check._replace(dimensions=(check.dimensions[len(check.dimensions) // 2],), repeats=1)
    elif backend.name != "numpy" and not every_draw:
        fewer = check._replace(repeats=1)
    residual, error = _largest_residual(fewer, check.implementation, backend, backend.dtype, key)
    ok = bool(residual <= tolerance)
    note = "" if ok else f"failed: {error}" if error else "failed"
    result = CheckResult(check.oracle, residual, tolerance, (), ok, note)
    if not controls:
        return result
    host = backends.load("numpy", dtype="float64", reference=True)
    enough = tolerance if until_rejected else math.inf
    wrong = (
        ControlResult(variant, *_largest_residual(check, implementation, host, backend.dtype, key, enough))
        for variant, implementation in check.controls.items()
    )
    return with_controls(result, tuple(wrong))


def with_controls(result: CheckResult, controls: tuple[ControlResult, ...], /) -> CheckResult:
    """Complete the result of an implementation: the check is blind if a wrong variant passes it.

    The variants run on the host, so that their residuals are the same for all backends in one dtype.
    """
    blind = [
        f"{each.variant!r} ({each.error})" if each.error else repr(each.variant)
        for each in controls
        if each.error or each.residual <= result.tolerance
    ]
    notes = [result.note] if result.note else []
    if blind:
        notes.append(f"blind: does not reject {', '.join(blind)}")
    if not controls:
        notes.append("blind: has no negative control")
    return result._replace(controls=controls, ok=not notes, note="; ".join(notes))


def worst_of(*residuals: float) -> float:
    """Largest of some residuals, and NaN if one of them is, which Python's ``max`` passes over."""
    return float(np.max([float(residual) for residual in residuals]))


def _largest_residual(
    check: Check,
    implementation: Callable[..., Any],
    backend: Backend,
    dtype: str,
    key: list[int],
    enough: float = math.inf,
) -> tuple[float, str]:
    """Largest residual over all draws, or the first above ``enough``, and what went wrong when it is NaN."""
    worst = 0.0
    try:
        for d in check.dimensions:
            for repeat in range(check.repeats):
                rng = np.random.default_rng([*key, d, repeat])
                value = float(check.residual(implementation, Draw(rng, d, check.size, dtype, backend)))
                worst = max(worst, math.inf if math.isnan(value) else value)
                if worst > enough:
                    return worst, ""
    except NotANumberError:
        return math.inf, ""
    except Exception as error:  # whatever a broken implementation raises is the audit's result
        return math.nan, f"{type(error).__name__}: {error}"
    return worst, ""
