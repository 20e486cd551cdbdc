"""A run of several processes: one leads, and keeps its folder; the others follow, and write nothing.

All fit the setting, which is a function of the data and of the seed, because each needs the data as a step
wants them (aligned, as vectors). They start from one checkpoint, the leader's, so that not even the rounding
of another machine tells their parameters apart. What one wants, to stop or to save, all learn after the same
step.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.runs.models import Backend, Config, Data, Model, load_model, prepare
from refwfm.runs.rectified import prepare_rectified
from refwfm.training import algorithm
from refwfm.training.algorithm import Metrics, State
from refwfm.training.team import Team


class Agreed:
    """What all processes have agreed on after a step: whether they report, and whether they stop."""

    def __init__(self, team: Team, stop: Callable[[], bool], /) -> None:
        self.team, self.wanted, self.stopped = team, stop, False

    def stop(self) -> bool:
        """Whether the run stops: for one process, whether it wants to."""
        return self.wanted() if self.team.share.size == 1 else self.stopped

    def due(self, own: Callable[[State, Metrics], bool], /) -> Callable[[State, Metrics], bool]:
        """``due`` of ``algorithm.train``, of one that may differ between processes."""
        if self.team.share.size == 1:
            return own

        def due(state: State, metrics: Metrics) -> bool:
            mine = np.asarray([self.wanted(), own(state, metrics)], dtype=np.float64)
            stopped, now = self.team.largest(mine)
            self.stopped = bool(stopped)
            return bool(stopped or now)

        return due


def lead(team: Team, model: Model[Any], start: Path, terms: dict[str, Any], /) -> None:
    """Tell those that follow on what terms they train, and from which checkpoint."""
    if team.share.size > 1:
        team.first(json.dumps(_terms(model, terms)).encode())
        team.first(start.read_bytes())


def follow(
    config: Config,
    data: Data,
    backend: Backend,
    team: Team,
    /,
    *,
    source: Data | None,
    teacher: Model[Any] | None,
    log_every: int,
    stop: Callable[[], bool],
) -> Model[Config]:
    """Train with the others, and write nothing.

    Raises
    ------
    ValueError
        If this process was started with other options or data than the one that leads.
    KeyboardInterrupt
        If one of them was stopped.
    """
    if teacher is None:
        model, family = prepare(config, data, backend, source=source)
    else:
        model, family = prepare_rectified(config, teacher, backend, source=source)
    _check_terms(_terms(model, {"log_every": log_every}), json.loads(team.first(b"")))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "start.safetensors"
        file.write_bytes(team.first(b""))
        model = load_model(file, backend)._replace(config=config)
    agreed = Agreed(team, stop)

    def report(state: State, metrics: Metrics) -> None:
        if agreed.stop() and state.step < config.steps:
            raise KeyboardInterrupt

    with np.errstate(over="ignore", invalid="ignore"):  # as in the process that leads
        state = algorithm.train(
            config,
            model.setting,
            family,
            data.labels,
            model.state,
            ops=backend.ops,
            every=log_every,
            report=report,
            due=agreed.due(lambda state, metrics: False),
            team=team,
        )
    return model._replace(state=state)


def _terms(model: Model[Any], terms: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same in all processes."""
    data = {name: model.about[name] for name in ("fingerprint", "source", "dtype")}
    told: dict[str, Any] = json.loads(json.dumps({**asdict(model.config), **data, **terms}))
    return told


def _check_terms(own: dict[str, Any], leaders: dict[str, Any]) -> None:
    names = {"fingerprint": "the data", "source": "the source family"}
    differing = [names.get(key, key) for key in own | leaders if own.get(key) != leaders.get(key)]
    if differing:
        raise ValueError(
            f"it was started with another value of {', '.join(sorted(differing))} than process 0: all need "
            "the same options and data"
        )
