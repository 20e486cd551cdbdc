"""What crossed between host and device while a run was trained: ``refwfm train --count-transfers``."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.backends import Backend
from refwfm.cli._common import console, say
from refwfm.runs import models

Prepared = Callable[[Any], None]


@contextmanager
def counting(wanted: bool, place: Backend, folder: Path, /) -> Iterator[Callable[[Prepared], Prepared]]:
    """Count what crosses in the steps of a training; then show it, and append it to the run's log.

    What is yielded wraps the callback that is called when the first step begins: counting begins there.
    """
    if not wanted:
        yield lambda prepared: prepared
        return
    from refwfm.backends import transfers

    began: list[int] = []

    with transfers.counted(place.asarray(np.zeros(1))) as counter:

        def wrapped(prepared: Prepared) -> Prepared:
            def first(setting: Any) -> None:
                prepared(setting)
                began.append(_step(folder))
                counter.reset()

            return first

        yield wrapped
    if not counter.possible:
        say("nothing can cross: arrays of NumPy are the host's")
        return
    last = _step(folder)
    steps = last - began[0]
    console.print(transfers.table(counter, steps, place.name))
    line = {"step": last, "transfers": transfers.to_json(counter, steps)}
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _step(folder: Path) -> int:
    return models.step_of(models.checkpoints_in(folder)[-1])
