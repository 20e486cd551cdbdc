"""What a run leaves as it goes: lines of its log, checkpoints by steps and by time, and how fast it is."""

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from refwfm.runs.models import Backend, Model, checkpoints_in, save_model
from refwfm.storage.checkpoints import CheckpointWarning
from refwfm.training import algorithm
from refwfm.training.algorithm import State
from refwfm.training.optim import tree_leaves
from refwfm.training.semidiscrete import logged

KEEP = 2
"""Checkpoints kept, the newest."""

SECONDS = 60.0
"""Most time between two checkpoints, where a step does not take longer."""


@dataclass(frozen=True)
class Progress:
    """What a report says: steps done and asked for, a summary of ``algorithm.Metrics``, steps per second."""

    step: int
    steps: int
    loss: float
    grad_norm: float
    plan_error: float
    plan_iterations: float
    rate: float


class Pace(NamedTuple):
    """What the first steps tell: numbers in the parameters, seconds a step, steps that are left."""

    parameters: int
    seconds: float
    left: int


def checkpoint(folder: Path, step: int, /) -> Path:
    """Checkpoint of a step in a run's folder."""
    return folder / "checkpoints" / f"{step:08d}.safetensors"


class Recorder:
    """What happens at each report: a line in the log, and a checkpoint when one is due."""

    def __init__(
        self,
        model: Model[Any],
        backend: Backend,
        folder: Path,
        checkpoint_every: int,
        progress: Callable[[Progress], None] | None,
        paced: Callable[[Pace], None] | None,
        stop: Callable[[], bool],
    ) -> None:
        self.model, self.backend, self.folder = model, backend, folder
        self.checkpoint_every, self.progress = checkpoint_every, progress
        self.paced, self.stop = paced, stop
        self.began = self.newest = self.last_step = model.state.step
        self.last_time = self.saved_at = self.pace_from = time.perf_counter()
        self.kept: set[Path] = set()

    def due(self, state: State, metrics: algorithm.Metrics) -> bool:
        """Whether to report before the log is due: to stop, or because the last checkpoint is old."""
        self._measure_pace(state, metrics)
        return self.stop() or time.perf_counter() - self.saved_at >= SECONDS

    def _measure_pace(self, state: State, metrics: algorithm.Metrics) -> None:
        """Report seconds a step from a second of them; the first one is left out, as it may compile."""
        if self.paced is None:
            return
        float(metrics.loss)  # waits for the device
        now, done = time.perf_counter(), state.step - self.began
        left = self.model.config.steps - state.step
        if left and (done == 1 or (done < 20 and now - self.pace_from < 1.0)):
            self.pace_from = now if done == 1 else self.pace_from
            return
        parameters = sum(math.prod(leaf.shape) for leaf in tree_leaves(state.params))
        self.paced(Pace(parameters, (now - self.pace_from) / max(done - 1, 1), left))
        self.paced = None

    def __call__(self, state: State, metrics: algorithm.Metrics) -> None:
        """Report the steps since the last report."""
        config, now, stopped = self.model.config, time.perf_counter(), self.stop()
        rate = (state.step - self.last_step) / max(now - self.last_time, 1e-9)
        self.last_time, self.last_step = now, state.step
        entry = {
            "step": state.step,
            "loss": metrics.loss,
            "grad_norm": metrics.grad_norm,
            "plan_error": metrics.plan_error,
            "plan_iterations": metrics.plan_iterations,
            "learning_rate": algorithm.learning_rate(config, state.step - 1),
            "steps_per_s": round(rate, 3),
            **logged(self.model.setting),
        }
        due = stopped or state.step - self.newest >= self.checkpoint_every or now - self.saved_at >= SECONDS
        try:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            if due or state.step == config.steps:
                self._save(state)
        except OSError as error:
            raise OSError(
                f"{self.folder} stopped at step {state.step}: {error.strerror or error}; "
                f"the last checkpoint is of step {self.newest}"
            ) from error
        if self.progress is not None:
            self.progress(Progress(state.step, config.steps, *metrics, rate))
        if stopped and state.step < config.steps:
            raise KeyboardInterrupt

    def _save(self, state: State) -> None:
        save_model(checkpoint(self.folder, state.step), self.model._replace(state=state), self.backend)
        self.newest, self.saved_at = state.step, time.perf_counter()
        for old in {*checkpoints_in(self.folder)[:-KEEP]} - self.kept:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                self.kept.add(old)
                reason = f"cannot delete {old}: {error.strerror or error}; training goes on"
                warnings.warn(reason, CheckpointWarning, stacklevel=2)
