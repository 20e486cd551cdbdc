"""Trainings on a device, step by step beside NumPy's: the loss curves are the same to rounding.

Every number that is drawn is keyed by the seed and the step, so that two libraries train on the same batches
and differ by rounding alone. Training enlarges that: each step's gradient is of parameters that are a little
off. On the CPU torch is up to 2 machine epsilons off in float64, up to 50 in float32 (300 steps).
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.backends import Backend, load, transfers
from refwfm.datasets import load as load_data
from refwfm.runs import models
from refwfm.training import algorithm
from refwfm.training.config import CloudConfig, GaussianConfig

SIZES = {"full": 300, "smoke": 6}
"""Steps."""

FEW = 20
"""Steps of rounded plans on JAX, which compiles anew for each number of points that still propose."""

ROUNDING, GROWTH = 100.0, 0.1
"""A loss at step k may be off by ``ROUNDING (1 + GROWTH k)`` machine epsilons of the largest loss so far."""

BEYOND = {"float32": 0.02, "float64": 0.0}
"""Share of the steps that may be beyond that: where rounding decides a near tie of a plan."""

CONTROL = 20
"""Steps of another seed, at most, whose curve must be beyond the tolerance."""

CASES = {
    "gaussians": "cities",
    "clouds, rounded": "fours",
    "clouds, entropic": "fours",
    "clouds, exact": "fours",
}
"""What is trained on which family."""


def configuration(case: str, steps: int, seed: int = 0) -> Any:
    """A small network of the kind."""
    if case == "gaussians":
        return GaussianConfig(steps=steps, seed=seed, batch=16, width=32, depth=2)
    inner = case.rpartition(" ")[2]
    return CloudConfig(
        steps=steps,
        seed=seed,
        batch=4,
        width=16,
        depth=1,
        heads=2,
        n_points=16,
        inner=inner,
        outer="sliced",
        eps=0.02,
        sinkhorn_steps=40,
    )


def losses(case: str, backend: Backend, steps: int, seed: int = 0) -> tuple[np.ndarray, float, list[Any]]:
    """Losses of all steps, seconds a step after the first, and what crossed."""
    config, family = configuration(case, steps, seed), load_data(CASES[case])
    model, data = models.prepare(config, family, backend)
    state, found = model.state, []
    began = time.perf_counter()
    with transfers.counted(backend.asarray(np.zeros(1))) as counter:
        for k in range(steps):
            state, metrics = algorithm.step(
                config, model.setting, data, family.labels, state, ops=backend.ops
            )
            found.append(metrics.loss)
            if k == 0:  # it compiles
                backend.synchronize()
                began = time.perf_counter()
        backend.synchronize()
    seconds = (time.perf_counter() - began) / max(1, steps - 1)
    values = np.asarray([float(backend.to_numpy(loss)) for loss in found])
    return values, seconds, [row._asdict() for row in counter.rows()]


def allowed(truth: np.ndarray, dtype: str) -> np.ndarray:
    """How far the loss of each step may be from NumPy's."""
    steps = np.arange(len(truth))
    largest = np.maximum.accumulate(np.abs(truth))
    return ROUNDING * (1.0 + GROWTH * steps) * float(np.finfo(dtype).eps) * largest


def compare(name: str, dtype: str, size: str, folder: Path) -> dict[str, Any]:
    """Train every case on a backend and on NumPy's plain functions; say how far the curves are apart.

    Parameters
    ----------
    name, dtype : str
        Of the backend.
    size : str
        A key of ``SIZES``.
    folder : path
        Where NumPy's curves are kept for the next backend.
    """
    backend = load(name, dtype=dtype)
    return {case: _compared(case, backend, steps_of(case, name, size), folder) for case in CASES}


def steps_of(case: str, name: str, size: str) -> int:
    """Steps of a case on a backend."""
    few = name.startswith("jax") and case.endswith("rounded")
    return min(FEW, SIZES[size]) if few else SIZES[size]


def _compared(case: str, backend: Backend, steps: int, folder: Path) -> dict[str, Any]:
    dtype = backend.dtype
    curve, seconds, crossed = losses(case, backend, steps)
    truth = _numpy(case, dtype, steps, folder)
    few = min(CONTROL, steps)
    other = losses(case, load("numpy", dtype=dtype, reference=True), few, seed=1)[0]
    limit = allowed(truth, dtype)
    share, control = np.abs(curve - truth) / limit, np.abs(other - truth[:few]) / limit[:few]
    return {
        "ok": _same(share, dtype) and not _same(control, dtype),
        "steps": steps,
        "share_of_tolerance": float(np.max(share)),
        "steps_beyond": int(np.sum(~(share <= 1.0))),
        "another_seed_rejected": not _same(control, dtype),
        "last_loss": float(curve[-1]),
        "last_loss_numpy": float(truth[-1]),
        "seconds_a_step": seconds,
        "crossed_in_all": crossed,
    }


def _same(share: np.ndarray, dtype: str) -> bool:
    return bool(np.mean(~(share <= 1.0)) <= BEYOND[dtype])


def _numpy(case: str, dtype: str, steps: int, folder: Path) -> np.ndarray:
    file = folder / f"{case.replace(', ', '-')}-{dtype}-{steps}.npy"
    if file.exists():
        return np.asarray(np.load(file, allow_pickle=False))
    curve = losses(case, load("numpy", dtype=dtype, reference=True), steps)[0]
    with tempfile.NamedTemporaryFile(
        dir=folder, suffix=".npy", delete=False
    ) as new:  # others may look for it
        np.save(new, curve, allow_pickle=False)
    Path(new.name).replace(file)
    return curve
