"""What is differentiable in torch, found out by doing it; ``docs/differentiable.md`` is written from here.

Every floating result of every call of ``calls.CALLS`` is differentiated in all floating arguments at once,
along a random direction, and held against a central difference. (Covariances move among symmetric matrices,
weights among those of sum 1, and equal weights not at all: without them another problem is solved.) Accepted
are the right number, a result that does not move, and an error. A result that moves and has left the tape in
silence, a wrong number and NaN are faults.

``PYTHONPATH=tests python -m test_differentiable`` writes the document anew.
"""

import re
import warnings
from pathlib import Path

import calls
import numpy as np
import pytest
from conftest import arrays_in, map_arrays

DOCUMENT = Path(__file__).parents[1] / "docs" / "differentiable.md"
STEP = 1e-5
RIGHT, RAISES, FIXED, NUMBER = "right", "raises", "does not move", "a number"
SILENT, WRONG, NOT_A_NUMBER = "SILENTLY CUT", "WRONG", "NAN"
FAULTS = {SILENT, WRONG, NOT_A_NUMBER}

KNOWN_FAULTS = {
    "sources.gaussians.fit_gaussian_wishart": {SILENT},
    "transport.entropic.sinkhorn_divergence": {SILENT},
    "transport.stability.laziness_report": {SILENT},
    "transport.stability.stability_radius": {NOT_A_NUMBER},
}
"""Functions that still have faults, and which."""


# Arguments and directions


def is_floating(x):
    return x.dtype.kind == "f"


def is_symmetric(x):
    return x.ndim > 1 and x.shape[-1] == x.shape[-2] and np.array_equal(x, x.mT)


def has_total_one(x, axis):
    return x.size > 0 and bool(np.all(x >= 0)) and np.allclose(np.sum(x, axis=axis), 1.0)


def is_even(x):
    return all(np.ptp(row[row > 0]) < 1e-12 for row in x.reshape(-1, x.shape[-1]))


def direction(x, rng):
    """Where an argument can go to: None where it stays."""
    if not is_floating(x) or x.size == 0 or not np.all(np.isfinite(x)):
        return None
    step = np.where(x == 0, 0.0, rng.standard_normal(x.shape))
    if is_symmetric(x):
        return 0.5 * (step + step.mT)
    if x.ndim and has_total_one(x, -1):
        return None if is_even(x) else x * (step - np.sum(x * step, axis=-1, keepdims=True))
    if x.ndim > 1 and has_total_one(x, (-2, -1)):
        even = is_even(x.reshape(*x.shape[:-2], -1))
        return None if even else x * (step - np.sum(x * step, axis=(-2, -1), keepdims=True))
    if x.ndim > 1 and np.allclose(np.linalg.norm(x, axis=-1), 1.0):
        return step - x * np.sum(x * step, axis=-1, keepdims=True)
    return step


def moved(data, directions, size):
    """The arguments, each ``size`` times its direction further."""
    step = iter(directions)

    def move(x):
        by = next(step)
        return x if by is None else x + size * by

    return map_arrays(move, data)


# Results


def leaves_of(result, path=""):
    """Arrays and floats of a result by their places: ``outer.plan``, ``cov``."""
    if isinstance(result, dict):
        items = result.items()
    elif hasattr(result, "_fields"):
        items = result._asdict().items()
    elif isinstance(result, tuple | list):
        items = enumerate(result)
    else:
        return {path: result} if hasattr(result, "dtype") or isinstance(result, float) else {}
    return {k: v for key, part in items for k, v in leaves_of(part, f"{path}.{key}".lstrip(".")).items()}


def verdicts(function, data, rng):
    """Verdict on each floating result of a call, by its place."""
    from torch import tensor

    directions = [direction(x, rng) for x in arrays_in(data)]
    plus, minus = (
        leaves_of(function(*map_arrays(tensor, moved(data, directions, size)))) for size in (STEP, -STEP)
    )
    plus = {place: value for place, value in plus.items() if is_real(value)}
    moves = iter(directions)
    given = map_arrays(lambda x: tensor(x).requires_grad_(next(moves) is not None), data)
    try:
        result = leaves_of(function(*given))
    except (RuntimeError, TypeError) as error:
        if not re.search("derivative|gradient", str(error)):
            raise
        return dict.fromkeys(plus, RAISES)
    variables = [x for x in arrays_in(given) if x.requires_grad]
    along = [tensor(v) for v in directions if v is not None]
    found = {}
    for place, value in plus.items():
        cotangent = rng.standard_normal(np.shape(value))
        change = float(np.sum(cotangent * (np.asarray(value) - np.asarray(minus[place])))) / (2.0 * STEP)
        found[place] = verdict(result[place], cotangent, change, variables, along)
    return found


def is_real(value):
    return isinstance(value, float) or np.asarray(value).dtype.kind == "f"


def verdict(value, cotangent, expected, variables, along):
    import torch

    if isinstance(value, float):
        return NUMBER
    if not torch.is_tensor(value) or not value.requires_grad:
        return FIXED if abs(expected) <= 1e-7 else SILENT
    try:
        gradients = torch.autograd.grad(
            value, variables, torch.tensor(cotangent), retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        if "derivative" not in str(error):
            raise
        return RAISES
    gradients = [None if g is None else g.detach() for g in gradients]
    if any(g is not None and bool(torch.any(torch.isnan(g))) for g in gradients):
        return NOT_A_NUMBER
    actual = sum(float(torch.sum(g * v)) for g, v in zip(gradients, along, strict=True) if g is not None)
    size = max(1.0, abs(expected))
    if abs(expected) <= 1e-7 * size and abs(actual) <= 1e-7 * size:
        return FIXED
    return RIGHT if abs(actual - expected) <= 1e-5 * size else WRONG


def verdicts_of(name):
    function, *data = calls.CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch, where a number is read off a tensor
        return verdicts(function, tuple(data), np.random.default_rng(3))


DIFFERENTIATED = [name for name in calls.CALLS if name not in calls.HOST]


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("torch")
    return {name: verdicts_of(name) for name in DIFFERENTIATED}


def test_no_derivative_is_wrong_or_cut_in_silence(table):
    faults = {name: set(found.values()) & FAULTS for name, found in table.items()}
    assert {name: found for name, found in faults.items() if found - KNOWN_FAULTS.get(name, set())} == {}


# The judge is judged


def square(x):
    return x * x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (square, RIGHT),
        (lambda x: x.detach() * x, WRONG),
        (lambda x: square(x).detach(), SILENT),
        (lambda x: (x - x.detach()) ** 0.5 * 0.0 + x, NOT_A_NUMBER),
        (lambda x: np.asarray(x.detach()) ** 2, SILENT),
        (lambda x: x - x + 1.0, FIXED),
        (lambda x: float(np.sum(np.asarray(x.detach()))), NUMBER),
    ],
)
def test_the_judge_sees(function, expected, rng):
    pytest.importorskip("torch")
    assert verdicts(function, (rng.standard_normal(3),), rng) == {"": expected}


def test_the_judge_sees_errors(rng):
    pytest.importorskip("torch")
    from refwfm._derivatives import without_derivative

    def refused(x):
        return without_derivative(x.detach(), "the plan", x)

    assert verdicts(refused, (rng.standard_normal(3),), rng) == {"": RAISES}


# The document

INTRODUCTION = """# What is differentiable

Each function was called on torch tensors that require gradients, in float64, and every floating result
differentiated in all arguments at once and held against finite differences. `tests/test_differentiable.py`
writes this file, and fails when it is no longer true. **Right** results have the derivative; **raises** is an
error that says that there is none. Results that do not move, such as weights, have none to give, nor have
Python's numbers, the evidence of solvers. Arrays of integers and of booleans are not listed. No function
leaves the tape in silence, and no gradient is NaN where there is one. Equal weights were not varied.

Exact costs have the derivative that their optimal plan gives (the envelope theorem): at ties, where several
plans are optimal, one of the subgradients.

| function | right | raises | does not move | Python's number |
|---|---|---|---|---|
"""


def document(table):
    rows = [
        f"| `{name}` | {' | '.join(_places(found, kind) for kind in (RIGHT, RAISES, FIXED, NUMBER))} |"
        for name, found in sorted(table.items())
        if found
    ]
    return INTRODUCTION + "\n".join(rows) + "\n"


def _places(found, kind):
    places = [place for place, verdict in found.items() if verdict == kind]
    if len(places) == len(found) or places == [""]:
        return "yes"
    return ", ".join(places)


def test_the_document_is_current(table):
    assert DOCUMENT.read_text(encoding="utf-8") == document(table), (
        "python tests/test_differentiable.py writes it"
    )


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document({name: verdicts_of(name) for name in DIFFERENTIATED}), encoding="utf-8")
