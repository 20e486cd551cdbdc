"""What to say where memory runs out: what was being done, and which flag makes it take less.

Libraries say it each in their own way. What was done then is read off the traceback, so that nothing that
computes has to know of it.
"""

from collections.abc import Iterator
from types import FrameType
from typing import Any

MARKS = (
    "RESOURCE_EXHAUSTED",
    "can't allocate memory",
    "out of memory",
    "std::bad_alloc",
    "can't start new thread",
)
"""What a ``RuntimeError`` of torch, JAX, CUDA or Python, whose threads want memory for a stack, says then."""

SIZES = ("batch", "n_points", "particles", "reads", "width")
"""Options of a configuration on which the memory of a step depends."""

STEP = "in a step of training"

COMMANDS = {
    "generate": ("generating", "--size or --points"),
    "predict": ("predicting", "number of --population"),
    "runs": ("evaluating", "--size or --particles"),
    "figures": ("reproducing", "--jobs (each process holds a run) or --scale"),
    "audit": ("checking", "number of --jobs"),
    "hostile": ("asking", "number of --jobs"),
    "museum": ("re-creating", "selection"),
    "own_data": ("reading", "file, or one of fewer members or points,"),
    "population_data": ("reading", "file, or one of fewer cells (--pcs, --min-cells),"),
}
"""Modules of commands other than ``train``: what they do, and what makes it take less."""

Stage = tuple[str, str]


def is_out_of_memory(error: BaseException, /) -> bool:
    """Whether memory ran out, in the words of NumPy, CuPy, torch or JAX."""
    if isinstance(error, MemoryError):  # of Python and NumPy, and CuPy's
        return True
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    if "torch.OutOfMemoryError" in kinds:
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in MARKS)


def advice(error: BaseException, /) -> str:
    """One line: that memory ran out, in what, the library's own words, and what takes less."""
    doing, less = _stage(error)
    said = " ".join(str(error).split())
    first = (said.split(". ")[0] if len(said) > 200 else said).rstrip(".")  # torch adds a page
    words = f"out of memory {doing}".rstrip() + (f": {first}" if first else "")
    told = "; --dry-run tells how much" if doing == STEP else ""
    return f"{words}; a smaller {less} takes less{told}"


def _stage(error: BaseException) -> Stage:
    """What was being done, and what makes it take less."""
    frames = list(_frames(error))
    modules = [frame.f_globals.get("__name__", "") for frame in frames]
    commands = (name.rpartition(".")[2] for name in modules if name.startswith("refwfm.cli."))
    command = next((name for name in commands if name in COMMANDS or name == "train"), "")
    if command in COMMANDS:
        return COMMANDS[command]
    config = next((each for each in map(_config, frames) if each is not None), None)  # not a teacher's
    called = [(name, frame.f_code.co_name) for frame, name in zip(frames, modules, strict=True)]

    def within(*places: str) -> bool:
        return any(name in places or f"{name}.{function}" in places for name, function in called)

    # From what is within others to what they are within.
    if within("refwfm.runs.rectified"):
        return "making the pairs", f"--rectified-pairs{_now(config, 'rectified_pairs')}"
    if within("refwfm.training.algorithm.step"):
        return STEP, _sizes(config)
    if within("refwfm.training.semidiscrete"):
        points = f"--n-points{_now(config, 'n_points')} or another --outer-cost"
        return "fitting the semidiscrete plan", points if hasattr(config, "n_points") else "family"
    if any(name.startswith("refwfm.runs.evaluate_") for name in modules):
        return "evaluating", "--size of refwfm evaluate"
    if within("refwfm.runs.models.prepare"):
        return "preparing", _sizes(config, ("width", "n_points"))
    if any(name.startswith("refwfm.datasets") for name in modules):
        return "reading the data", "family"
    return "", "--width, --batch or --n-points"


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of a traceback, the outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _config(frame: FrameType) -> Any:
    found = frame.f_locals.get("config")
    return found if hasattr(found, "batch") and hasattr(found, "width") else None


def _sizes(config: Any, names: tuple[str, ...] = SIZES) -> str:
    """Flags of a configuration's sizes, and what they are."""
    known = [name for name in names if hasattr(config, name)] or ["width", "batch"]
    *flags, last = (f"--{name.replace('_', '-')}{_now(config, name)}" for name in known)
    return f"{', '.join(flags)} or {last}" if flags else last


def _now(config: Any, name: str) -> str:
    value = getattr(config, name, None)
    return "" if value is None else f" (now {value})"
