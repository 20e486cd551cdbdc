"""A run that rectifies another one: it learns from pairs that the other's model makes (reflow).

It starts from the other's parameters, and keeps its network, source, units and data; only how it trains may
be another. The pairs are a function of the other's model and seed, and are made anew when a run is resumed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refwfm.couplings.rectified import RectifiedPairs
from refwfm.runs.models import Backend, Config, Model, fingerprint
from refwfm.training import cloud_generation, gaussians
from refwfm.training.algorithm import init_state, trained
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.optim import flatten

PAIRS = 4096
"""Pairs, when nothing else is asked for."""

OWN = (
    *("steps", "batch", "learning_rate", "schedule", "warmup", "decay", "decay_every", "clip_norm", "ema"),
    *("optimizer", "time_law", "time_mean", "time_deviation", "rectified_pairs", "rectified_steps"),
)
"""Options in which a run may differ from the one that it rectifies."""


def rectified_config(config: TrainingConfig, given: dict[str, Any], /) -> GaussianConfig | CloudConfig:
    """Configuration of a run that rectifies one of ``config``, with other options where they may differ.

    Raises
    ------
    ValueError
        If the other run is of no flow of Gaussians or of clouds, or an option is to differ that may not.
    """
    if not isinstance(config, GaussianConfig | CloudConfig):
        raise ValueError(
            f"only flows of Gaussians and of clouds can be rectified; the run has a {type(config).__name__}"
        )
    for name, value in given.items():
        if not hasattr(config, name):
            raise ValueError(f"{name} is no option of a run that is rectified; these are {', '.join(OWN)}")
        if name not in OWN and value != getattr(config, name):
            raise ValueError(
                f"{name} must be that of the run that is rectified, {getattr(config, name)!r}; "
                f"got {value!r} (it may differ in {', '.join(OWN)})"
            )
    if given.get("rectified_pairs") == 0:
        raise ValueError("rectified_pairs must be at least 1 for a run that learns from them; got 0")
    return replace(config, **{"rectified_pairs": PAIRS, **{n: v for n, v in given.items() if n in OWN}})


def prepare_rectified(
    config: Config,
    teacher: Model[Any],
    backend: Backend,
    /,
    *,
    source: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model[Config], RectifiedPairs]:
    """Make the pairs of a run that rectifies ``teacher``, and its first state; see ``models.prepare``.

    Parameters
    ----------
    config : as ``rectified_config`` makes it
    source : family, optional
        Where a flow between two families starts.
    progress : callable, optional
        Called with (pairs made, in all).

    Raises
    ------
    ValueError
        If no pairs are asked for, the source is not the teacher's, or its pairs are not finite.
    """
    if not isinstance(config, GaussianConfig | CloudConfig) or not config.rectified_pairs:
        raise ValueError("config must be one that rectified_config makes, with rectified_pairs of at least 1")
    if source is not None and fingerprint(teacher.config, source) != teacher.about["source"]:
        raise ValueError("source must be the family that the rectified model starts from; got another one")
    again = teacher.about.get("reflows", 0)  # each has sources of its own
    flow: Any = gaussians if isinstance(config, GaussianConfig) else cloud_generation
    own = {} if isinstance(config, GaussianConfig) else {"source": source, "ops": backend.ops}
    with np.errstate(all="ignore"):  # what overflows is found below
        pairs = flow.pairs(
            teacher.config,
            teacher.setting,
            trained(teacher.state),
            size=config.rectified_pairs,
            n_steps=config.rectified_steps,
            seed=teacher.config.seed,
            block=again,
            progress=progress,
            **own,
        )
    if not all(np.all(np.isfinite(part)) for part in pairs.target):
        raise ValueError("the model that is rectified takes sources to infinity or NaN: it has diverged")
    about = {**teacher.about, "dtype": backend.dtype, "rectifies": _digest(teacher, backend)}
    about["reflows"] = again + 1
    state = init_state(config, teacher.setting, params=trained(teacher.state))
    return Model(config, teacher.setting, state, about), pairs


def _digest(model: Model[Any], backend: Backend) -> str:
    """SHA-256 of a model's parameters, so that a run is never continued with pairs of another model."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten(trained(model.state)).items()):
        digest.update(name.encode() + np.ascontiguousarray(backend.to_numpy(leaf)).tobytes())
    return digest.hexdigest()
