"""What an exhibit is, and how it is examined.

An exhibit is a failure that a public thread of another project tells of. It is re-created in one of two ways.
A *mutant* is a function of ours with that failure put into it: the check of the ledger that it names must
reject it. A *trap* is an input with a known answer: ours must give it, and a naive version, which fails as
told, must not; else the trap could not see. An exhibit that nothing notices is a hole in the audit.
"""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.validation.check import Check, Item, run_check


class Mutant(NamedTuple):
    """A function with the failure in it, and the check of the ledger that must reject it.

    Attributes
    ----------
    item, oracle : str
        Formula and check, as ``refwfm explain`` shows them.
    wrong : callable
        Takes the place of the check's implementation; its docstring says what is wrong.
    dtype : str
        That the inputs are rounded to.
    """

    item: str
    oracle: str
    wrong: Callable[..., Any]
    dtype: str = "float64"


class Trap(NamedTuple):
    """A question with a known answer.

    Attributes
    ----------
    question : callable
        ``question(function)``: whether the function gives the right answer, or the right error.
    ours, naive : callable
        A function of the package, and one that fails as the thread tells.
    needs : str, optional
        A package without which it cannot be asked.
    """

    question: Callable[[Callable[..., Any]], bool]
    ours: Callable[..., Any]
    naive: Callable[..., Any]
    needs: str | None = None


class Exhibit(NamedTuple):
    """A public failure: where it is told, what happened, and how it is re-created.

    Attributes
    ----------
    id, title : str
    thread : str
        ``owner/name#number`` of an issue or a pull request on GitHub.
    year : int
    story : str
        What went wrong, and what its user saw.
    evidence : Mutant or Trap
    """

    id: str
    title: str
    thread: str
    year: int
    story: str
    evidence: Mutant | Trap


class Verdict(NamedTuple):
    """Whether an exhibit was noticed (None: skipped), by which check, and why not."""

    exhibit: Exhibit
    noticed: bool | None
    by: str
    note: str


def link(exhibit: Exhibit, /) -> str:
    """Address of the thread; for a pull request GitHub leads on from it."""
    project, _, number = exhibit.thread.partition("#")
    return f"https://github.com/{project}/issues/{number}"


def named_check(exhibit: Exhibit, /) -> str:
    """Name of the check that must notice the exhibit."""
    evidence = exhibit.evidence
    if isinstance(evidence, Mutant):
        return f"{evidence.item}: {evidence.oracle}"
    return evidence.question.__name__.replace("_", " ")


def wrong_function(exhibit: Exhibit, /) -> Callable[..., Any]:
    """Return the function that fails."""
    return exhibit.evidence.wrong if isinstance(exhibit.evidence, Mutant) else exhibit.evidence.naive


def examine(exhibits: Iterable[Exhibit], ledger: dict[str, Item], /) -> Iterator[Verdict]:
    """Run the exhibits on NumPy, one after the other; ``ledger``: its items by id."""
    for exhibit in exhibits:
        evidence = exhibit.evidence
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # failures often come with a warning, which is not the point
            if isinstance(evidence, Mutant):
                noticed, note = _examine_mutant(evidence, ledger)
            else:
                noticed, note = _examine_trap(evidence)
        yield Verdict(exhibit, noticed, named_check(exhibit), note)


def find_check(mutant: Mutant, ledger: dict[str, Item], /) -> Check:
    """Check of the ledger that must reject the mutant.

    Raises
    ------
    ValueError
        If the ledger has no such item or check.
    """
    checks = ledger[mutant.item].checks if mutant.item in ledger else ()
    for check in checks:
        if check.oracle == mutant.oracle:
            return check
    raise ValueError(f"the ledger has no check {mutant.oracle!r} of {mutant.item}")


def _examine_mutant(mutant: Mutant, ledger: dict[str, Item]) -> tuple[bool | None, str]:
    check = find_check(mutant, ledger)._replace(controls={"the mutant": mutant.wrong})
    backend = backends.load("numpy", dtype=mutant.dtype, reference=True)
    result = run_check(check, mutant.item, backend)
    if result.ok is None:
        return None, result.note
    residual = result.controls[0].residual
    return result.ok, result.note or f"residual {residual:.1e}, tolerance {result.tolerance:.1e}"


def _examine_trap(trap: Trap) -> tuple[bool | None, str]:
    if trap.needs is not None and find_spec(trap.needs) is None:
        return None, f"skipped: needs {trap.needs}"
    right, error = answers(trap.question, trap.ours)
    if not right:
        return False, "ours gives a wrong answer" + error
    fooled, error = answers(trap.question, trap.naive)
    if fooled:
        return False, "the naive version gives the right answer: the trap is blind"
    return True, "ours is right, the naive version is not" + error


def answers(
    question: Callable[[Callable[..., Any]], bool], function: Callable[..., Any], /
) -> tuple[bool, str]:
    """Whether a function answers a question rightly, and its error if it raises one."""
    try:
        return bool(question(function)), ""
    except Exception as error:  # whatever a broken function raises is its answer
        return False, f" ({type(error).__name__}: {error})"


# For questions


def refuses(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> bool:
    """Whether the function raises a ValueError or TypeError, which is the right answer to senseless input."""
    try:
        function(*arguments, **options)
    except (ValueError, TypeError):
        return True
    return False


def near(found: Any, truth: Any, /, tolerance: float) -> bool:
    """Whether numbers agree, relative to the largest of the truth; never for NaN or complex numbers."""
    found, truth = np.asarray(found), np.asarray(truth, dtype=np.float64)
    if np.iscomplexobj(found) or found.shape != truth.shape:
        return False
    return bool(np.max(np.abs(found - truth)) <= tolerance * max(1e-300, float(np.max(np.abs(truth)))))


def source(function: Callable[..., Any], /) -> str:
    """Source of a function, as the command shows it."""
    return inspect.getsource(function)
