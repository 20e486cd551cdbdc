"""A run on disk: training in a folder with configuration, log and checkpoints, and resuming there.

::

    runs/cities/
        config.toml                        what was asked for
        log.jsonl                          one line for each report: step, loss, gradient norm, rate
        checkpoints/00002000.safetensors   the last ones, each complete
        figures/
        basis.npz                          of cells: how components become the expression of genes

Everything random is keyed by (seed, step), and a checkpoint holds the whole state: a run that was killed
continues from its last checkpoint to the very same numbers as one that was not. The first checkpoint, of
step 0, is written before the configuration: a folder with a configuration and no checkpoint has lost it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from refwfm.datasets._basis import Basis
from refwfm.runs.models import (
    Backend,
    Config,
    Data,
    Model,
    checkpoints_in,
    load_model,
    prepare,
    save_model,
    step_of,
)
from refwfm.runs.recorder import Pace, Progress, Recorder, checkpoint
from refwfm.runs.rectified import prepare_rectified
from refwfm.runs.together import Agreed, follow, lead
from refwfm.storage import atomic, cards, records
from refwfm.training import algorithm
from refwfm.training.flows import kind_of
from refwfm.training.team import ALONE, Team

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BASIS = "basis.npz"
"""File of the basis of a run on cells."""

NOT_RESUMED = (
    "{} holds a model that ships: its parameters and no state of the optimiser, so that training cannot "
    "go on from it; train one of your own in another folder"
)
"""What is said of a model without the state of its optimiser."""


class RunError(ValueError):
    """A run folder that cannot be started in, or continued."""


def train(
    config: Config,
    data: Data,
    backend: Backend,
    folder: Path,
    /,
    *,
    source: Data | None = None,
    teacher: Model[Any] | None = None,
    run: dict[str, Any],
    resume: bool = False,
    log_every: int = 50,
    checkpoint_every: int = 1000,
    progress: Callable[[Progress], None] | None = None,
    aligned: Callable[[int, int], None] | None = None,
    prepared: Callable[[Any], None] | None = None,
    paced: Callable[[Pace], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    team: Team = ALONE,
) -> Model[Config]:
    """Train in a run's folder, with log and checkpoints.

    Parameters
    ----------
    folder : path
        Made if it is missing. One that holds a run is refused without ``resume``.
    source : family, optional
        Where a flow between two families starts.
    teacher : Model, optional
        One that this run rectifies; its data are ``data``, its source is ``source``.
    run : dict
        What else belongs in ``config.toml`` (data, backend, dtype).
    resume : bool
        Continue from the newest checkpoint that can be read; those after it are renamed, ``*.damaged``. The
        configuration must be the run's own, except for a larger number of steps.
    progress : callable, optional
        Called at each report.
    aligned : callable, optional
        Called with (done, in all) before training, while clouds are aligned to a reference, while a
        network for the start of inner plans, or a semidiscrete outer plan, is fitted, and while pairs of a
        teacher are made.
    prepared : callable, optional
        Called once with the setting, before training.
    paced : callable, optional
        Called once, after the first steps.
    stop : callable, optional
        Asked after each step; where it says so, a checkpoint is written and ``KeyboardInterrupt`` is raised.
    team : Team
        The processes that train this run together; that of rank 0 keeps the folder.

    Nothing is left behind by a run that fails before its first report.

    Raises
    ------
    RunError
        If the folder holds a run already, or one other than that asked for, or nothing to resume.
    OSError
        If the folder cannot be written.
    training.algorithm.NonFiniteLossError
        Names the last checkpoint.
    """
    if team.share.rank:
        wants: Any = {"source": source, "teacher": teacher, "log_every": log_every, "stop": stop}
        return follow(config, data, backend, team, **wants)
    folder = Path(folder)
    _check_folder(folder, resume=resume)
    saved = folder / "checkpoints"
    with (
        atomic.made_folder(folder),
        atomic.made_folder(saved),
        _only_process(folder),
        _kept_once_begun(folder),
    ):
        for each in (folder, saved, folder / "figures"):
            atomic.sweep(each)
        if teacher is None:
            model, family = prepare(config, data, backend, source=source, progress=aligned)
        else:
            model, family = prepare_rectified(config, teacher, backend, source=source, progress=aligned)
        if resume:
            model = _continue(model, load_model(folder, backend), folder)
            for newer in checkpoints_in(folder):
                if step_of(newer) > model.state.step:
                    newer.replace(newer.with_name(f"{newer.name}.damaged"))
        else:
            save_model(checkpoint(folder, 0), model, backend)
        if prepared is not None:
            prepared(model.setting)
        tables = {"run": run, "train": _without_none(asdict(config))}
        atomic.write_text(folder / "config.toml", tomli_w.dumps(tables))
        basis = getattr(data, "basis", None)
        if basis is not None:
            records.save(folder / BASIS, basis)
        _cut_log(folder / "log.jsonl", model.state.step)
        lead(team, model, checkpoint(folder, model.state.step), {"log_every": log_every})
        agreed = Agreed(team, stop)
        recorder = Recorder(model, backend, folder, checkpoint_every, progress, paced, agreed.stop)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the loss
                state = algorithm.train(
                    config,
                    model.setting,
                    family,
                    data.labels,
                    model.state,
                    ops=backend.ops,
                    every=log_every,
                    report=recorder,
                    due=agreed.due(recorder.due),
                    team=team,
                )
        except algorithm.NonFiniteLossError as error:
            good = checkpoint(folder, recorder.newest) if recorder.newest else "none"
            raise algorithm.NonFiniteLossError(f"{error}; last good checkpoint: {good}") from None
    return model._replace(state=state)


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Raise ``RunError`` unless a folder holds a run that can be resumed, or none where one is to start."""
    has_config, found = (folder / "config.toml").exists(), checkpoints_in(folder)
    if resume and (folder / cards.CARD).exists():
        raise RunError(NOT_RESUMED.format(folder))
    if resume and not has_config:
        raise RunError(f"nothing to resume in {folder}: it holds no run")
    if resume and not found:
        raise RunError(f"nothing to resume in {folder}: its checkpoints are gone; train in another folder")
    if not resume and has_config:
        raise RunError(f"{folder} holds a run already; continue it with resume=True, or use another folder")
    if not resume and found and step_of(found[-1]) > 0:  # that of step 0 is left by a kill before the first
        raise RunError(f"{folder} holds checkpoints of a run without its config.toml; use another folder")


@contextmanager
def _kept_once_begun(folder: Path) -> Iterator[None]:
    """Take away the files of a new run that fails before its first report; a stopped one can be resumed."""
    config, log = folder / "config.toml", folder / "log.jsonl"
    new = not config.exists()
    try:
        yield
    except BaseException as error:
        begun = log.exists() or (isinstance(error, KeyboardInterrupt) and config.exists())
        if new and not begun:
            for file in (config, folder / BASIS, folder / ".lock", checkpoint(folder, 0)):
                file.unlink(missing_ok=True)
        raise


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder; the system lifts the lock of one that was killed."""
    if fcntl is None:
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is training in {folder}; use another folder") from None
        except OSError:  # a file system without locks
            pass
        yield


def _continue(fresh: Model[Config], saved: Model[Config], folder: Path) -> Model[Config]:
    kinds = [kind_of(model.config) for model in (saved, fresh)]
    if kinds[0] != kinds[1]:
        raise RunError(
            f"{folder} holds a model of {kinds[0]}, and this is one of {kinds[1]}; use another folder"
        )
    if saved.state.adam is None:
        raise RunError(NOT_RESUMED.format(folder))
    wanted, had = (
        {"dtype": model.about.get("dtype", "float32"), **asdict(model.config)} for model in (fresh, saved)
    )
    differing = [key for key in wanted if key != "steps" and wanted[key] != had[key]]
    if differing:
        changes = ", ".join(f"{key} = {had[key]} (now {wanted[key]})" for key in differing)
        raise RunError(f"{folder} was started with {changes}; resume with the same, or use another folder")
    if fresh.about["fingerprint"] != saved.about["fingerprint"]:
        raise RunError(f"{folder} was trained on other data ({saved.about['data']}); use another folder")
    if saved.about.get("source", fresh.about["source"]) != fresh.about["source"]:
        raise RunError(f"{folder} was trained with another source family; use that one, or another folder")
    if saved.about.get("rectifies") != fresh.about.get("rectifies"):
        raise RunError(
            f"{folder} has learned from pairs of another model: the run that it rectifies was trained "
            "further, or is another one; --rectify names a checkpoint, too"
        )
    if fresh.config.steps < saved.state.step:
        raise RunError(
            f"{folder} has done {saved.state.step} steps, more than the {fresh.config.steps} asked"
        )
    return saved._replace(config=fresh.config)


def _cut_log(log: Path, step: int) -> None:
    """Drop the lines after the checkpoint that a run continues from, and one cut short by a kill."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    atomic.write_text(log, "".join(kept))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def read_basis(folder: Path, /) -> Basis | None:
    """The basis of a run's data, or None where they have none."""
    file = folder / BASIS
    return records.load(file, (Basis,)) if file.exists() else None
