"""A training step of two processes, which share a batch, against the same step of one.

Each process has one thread. Networks of Gaussians have the papers' size (two perceptrons 6 × 1024, batch
128, d = 16), clouds those of the laptop's preset. Both sides are launched in turns; each launch takes a few
steps and gives their median. The error is the relative difference of the last loss.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from refwfm import datasets
from refwfm.backends import load
from refwfm.runs import models
from refwfm.training import algorithm
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.optim import tree_leaves
from refwfm.training.presets import with_preset
from refwfm.training.team import ALONE, Team
from refwfm.validation.bench.measure import Row

CASES: dict[str, tuple[str, str, type[TrainingConfig], int]] = {
    "Gaussians, 6 × 1024": ("niches", "paper", GaussianConfig, 4),
    "clouds, laptop": ("fours", "laptop", CloudConfig, 8),
}
"""Case -> data, preset, kind of model, steps that are timed in a launch."""


def rows(repeats: int = 5) -> list[Row]:
    """Time steps of two processes and of one in turns."""
    return [_row(case, repeats) for case in CASES]


def _row(case: str, repeats: int) -> Row:
    pairs = [(launched(case, 2), launched(case, 1)) for _ in range(repeats)]
    two_s, one_s = (median(each["seconds"] for each in side) for side in zip(*pairs, strict=True))
    two, one = pairs[-1]
    title = f"{case}: {two['bytes']:,} bytes a step reduced"
    error = abs(two["loss"] - one["loss"]) / abs(one["loss"])
    return Row(title, two_s, "one process", one_s, one_s / two_s, error, None)


def launched(case: str, processes: int) -> dict[str, Any]:
    """Return what a launch of so many processes measures: seconds a step, bytes, the last loss."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    result = subprocess.run(
        [sys.executable, *(torchrun if processes > 1 else ()), "-m", __name__, case],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def measured(case: str, team: Team) -> dict[str, Any]:
    """Take a step to warm up, then the timed ones."""
    name, preset, kind, count = CASES[case]
    family: Any = datasets.load(name)
    config: Any = kind(**with_preset(preset, kind, {"steps": count + 1}, family=family))
    backend = load("numpy")
    if team.share.size > 1:
        from refwfm.backends._processes import together

        backend = together(backend, team)
    model, data = models.prepare(config, family, backend)
    state, seconds, loss = model.state, [], 0.0
    for _ in range(config.steps):
        start = time.perf_counter()
        state, metrics = algorithm.step(
            config, model.setting, data, family.labels, state, ops=backend.ops, team=team
        )
        loss = float(metrics.loss)
        seconds.append(time.perf_counter() - start)
    numbers = sum(leaf.size for leaf in tree_leaves(state.params)) + 2  # the loss and a count, too
    size = numbers * np.dtype(backend.dtype).itemsize
    return {"seconds": median(seconds[1:]), "bytes": size, "loss": loss}


def main() -> None:
    """Measure as one of the processes that were launched."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        print(json.dumps(measured(sys.argv[1], ALONE)))  # noqa: T201
        return
    from refwfm.backends import _processes

    with _processes.joined() as (team, _):
        found = measured(sys.argv[1], team)
    if team.share.rank == 0:
        print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
