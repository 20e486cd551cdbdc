"""Runs that take a moment, and whether one ended as another did."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from refwfm import datasets
from refwfm.backends import load as load_backend
from refwfm.runs import folders, models
from refwfm.storage import checkpoints
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig

_rng = np.random.default_rng(0)
DRAWN = datasets.clouds_from_arrays([_rng.standard_normal((n, 2)) for n in (5, 6, 7, 6)], name="drawn")
SMALL = {"batch": 4, "depth": 1, "n_frequencies": 2}
KINDS: dict[str, tuple[TrainingConfig, Any]] = {
    "gaussians": (GaussianConfig(steps=12, width=4, label_dim=2, **SMALL), datasets.load("spiral-16")),
    "clouds": (CloudConfig(steps=8, width=8, heads=2, hidden=8, sinkhorn_steps=20, **SMALL), DRAWN),
}
"""Configurations and data of runs of both kinds."""


def train(kind: str, folder: Path, /) -> None:
    """Start a run, or continue the one that the folder holds, with a checkpoint at every other step."""
    config, data = KINDS[kind]
    folders.train(
        config,
        data,
        load_backend("numpy", dtype="float32"),
        folder,
        run={"data": data.name},
        resume=(folder / "config.toml").exists(),
        log_every=1,
        checkpoint_every=2,
    )


def difference(folder: Path, whole: Path, /) -> str:
    """In what the end of a run differs from that of another, in words; empty where each bit is the same."""
    ends = [models.newest_checkpoint(each) for each in (folder, whole)]
    if ends[0].name != ends[1].name:
        return f"ended at {ends[0].name} and not at {ends[1].name}"
    (ours, about), (theirs, other) = map(checkpoints.load, ends)
    if about != other or ours.keys() != theirs.keys():
        return "another description, or other tensors"
    for name, array in ours.items():
        if array.tobytes() != theirs[name].tobytes():
            return f"the tensor {name} differs"
    if _log(folder) != _log(whole):
        return "the log differs"
    left = [path.name for path in folder.rglob("*.part")]
    return f"left behind: {', '.join(left)}" if left else ""


def _log(folder: Path) -> list[dict[str, Any]]:
    """Lines of the log without the rate, which is a time."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "steps_per_s"} for line in lines]
