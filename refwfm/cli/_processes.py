"""Training in several processes, as torchrun starts them: one speaks and writes, the others are quiet."""

import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from refwfm.backends import ENVIRONMENT, Backend, BackendError
from refwfm.cli import _common, _signals
from refwfm.cli._errors import EXPECTED, in_words
from refwfm.runs import models
from refwfm.training.team import ALONE, Share, Team, TeamError


def share() -> Share:
    """Which process this is, of how many, as the environment says."""
    told = {name: os.environ.get(name, each) for name, each in (("RANK", "0"), ("WORLD_SIZE", "1"))}
    if not all(each.isdecimal() for each in told.values()):
        words = ", ".join(f"{name} = {each!r}" for name, each in told.items())
        raise ValueError(f"RANK and WORLD_SIZE must be whole numbers, as torchrun sets them; got {words}")
    return Share(int(told["RANK"]), int(told["WORLD_SIZE"]))


@contextmanager
def joined() -> Iterator[Team]:
    """The team that this process trains in. Those of other ranks than 0 print nothing.

    What they fail of is told by rank 0, in one line, or by another where that was killed. A process that has
    failed ends at once, for what holds the connections may wait for those that it has lost.
    """
    mine = share()
    if mine.size == 1:
        yield ALONE
        return
    _common.console.quiet = mine.rank > 0
    _share_cores(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        from refwfm.backends import _processes
    except ImportError as error:
        raise BackendError(f'several processes need torch ({error}): pip install "refwfm[torch]"') from None
    try:
        with _processes.joined() as (team, tell):
            try:
                yield team
            except BaseException as error:
                _leave_word(team, tell, error)
                raise
    except (KeyboardInterrupt, typer.Exit, *EXPECTED) as error:
        if mine.rank:
            _end(_code(error) if isinstance(error, KeyboardInterrupt | typer.Exit) else 2)
        if isinstance(error, typer.Exit):
            _end(_code(error))
        raise


def _share_cores(processes: int) -> None:
    """Leave each process of a machine as many cores for plans on the host as there are for each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(max(1, cores // processes)))  # joblib reads it


def _leave_word(team: Team, tell: Callable[[str], bool], error: BaseException) -> None:
    """Tell the other processes what this one has failed of, unless it is that one of them has."""
    if isinstance(error, KeyboardInterrupt):
        check_team(team, error)
    if team.share.rank and isinstance(error, TeamError):
        if _left_alone(team) and tell(str(error)):
            _common.console.quiet, _common.console.stderr = False, True
            _common.say(f"error: {error}")
    elif not (team.share.rank and isinstance(error, KeyboardInterrupt | typer.Exit)):
        tell(in_words(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}")


def _left_alone(team: Team) -> bool:
    """Whether the process of rank 0 says nothing of what ended the run: it was killed, and another has to."""
    for number in (signal.SIGINT, signal.SIGTERM):  # torchrun ends the others now
        signal.signal(number, signal.SIG_IGN)
    for _ in range(20):
        if team.heard():
            return False
        time.sleep(0.05)
    return True


def check_team(team: Team, error: BaseException, folder: Path | None = None, /) -> None:
    """Raise what another process has failed of, and what is left, where that is behind this one's error."""
    words = team.heard()
    if words or isinstance(error, TeamError):
        rest = "stopped" if folder is None else stopped(folder)
        if team.share.rank and folder is not None and not models.checkpoints_in(folder):
            rest = "process 0, on another machine, keeps the run's folder"
        raise TeamError(f"{words or error}; {rest}") from None


def stopped(folder: Path, /) -> str:
    """What is left of a run that was stopped."""
    found = models.checkpoints_in(folder)
    if not found or not (folder / "config.toml").exists():
        return "stopped before the first step; nothing was kept"
    again = f"refwfm train --resume --out {shlex.quote(str(folder))}"
    return f"stopped; continue from step {models.step_of(found[-1])} with: {again}"


def _code(error: KeyboardInterrupt | typer.Exit) -> int:
    return _signals.exit_code(error) if isinstance(error, KeyboardInterrupt) else error.exit_code


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def own_device(name: str | None, team: Team, /) -> str | None:
    """Name of the backend for this process: of several on CUDA each takes a card."""
    if team.share.size == 1:
        return name
    from refwfm.backends import _processes

    return _processes.device_of_rank(name or os.environ.get(ENVIRONMENT) or "numpy")


def common_name(backend: Backend, team: Team, /) -> str:
    """Name of the backend for all processes: no card of one."""
    return backend.name if team.share.size == 1 else re.sub(r"cuda:\d+$", "cuda", backend.name)


def trained_together(backend: Backend, team: Team, /) -> Backend:
    """The backend of a training whose numbers do not depend on how many processes there are."""
    if team.share.size == 1:
        return backend
    from refwfm.backends import _processes

    return _processes.together(backend, team)
