"""What a trained model of Meta Flow Matching does: it says where the particles of a population go."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm._array import Array, asarray_like, to_host
from refwfm.populations.embedding import tell
from refwfm.populations.flow import integrate
from refwfm.populations.pairs import indicators, start_points
from refwfm.populations.velocity import velocity
from refwfm.training.config import MetaFMConfig
from refwfm.training.meta_fm import MetaFMSetting, to_conditions, to_model, with_graph
from refwfm.training.optim import Tree

Floats = NDArray[np.float64]

CHUNK = 2048
"""Particles moved at once."""


def predict(
    config: MetaFMConfig,
    setting: MetaFMSetting,
    params: Tree,
    x0: Floats,
    /,
    *,
    moved: np.ndarray | None = None,
    marks: Floats | None = None,
    condition: Floats | None = None,
    number: int | None = None,
    n_steps: int = 20,
    method: str = "heun",
    rng: np.random.Generator,
) -> Floats:
    """Where the particles of a population go: its embedding is told to the field that moves them.

    Equation: none. Wiring of a run; see ``populations.flow.integrate``. Parameters are those that
    ``algorithm.trained`` gives.

    Parameters
    ----------
    x0 : float64 array (n, d)
        The population. Units: data.
    moved : integer array (m,), optional
        Rows of the particles to move, all when left out; the embedding reads all.
    marks : float64 array (n, q), optional
        As the model was trained with.
    condition : float64 array (c,), optional
        What is done to the population.
    number : int, optional
        Its position among those trained on, where it is one: for variant "cgfm".
    n_steps, method
        See ``integrate``.
    rng : numpy.random.Generator
        Of the noise that particles start from, if they do.

    Returns
    -------
    float64 array (m, d). Units: data.

    Raises
    ------
    ValueError
        If shapes do not fit the model, or a value is not finite.
    """
    _check_population(setting, x0, marks, condition)
    like, h, told = setting.like, None, None
    x = to_model(setting, x0[None])
    if config.condition == "index":
        h = indicators(None if number is None else [number], setting.populations, like=like)
    if config.condition == "embedding":
        reads = with_graph(
            _as_in_training(config, len(x0)), x, None if marks is None else asarray_like(marks[None], like)
        )
        told, _ = tell(params["embedding"], reads.x, reads.index, reads.marks, pooling=config.pooling)
        h = told.h
    c = None if condition is None else to_conditions(setting, condition[None])

    if config.attention == 0 and config.kernels == 0:
        told = None

    def field(points: Array, t: Array) -> Array:
        options: dict[str, Any] = {"skip": config.skip, "n_time": config.n_time, "heads": config.heads}
        return velocity(
            params["velocity"], points, t, h, c, population=told, bandwidths=config.bandwidths, **options
        )[0]

    rows = np.arange(len(x0)) if moved is None else moved
    start = start_points(to_model(setting, x0[None, rows]), config.start, rng=rng)
    ends = [
        to_host(integrate(field, start[:, i : min(i + CHUNK, len(rows)), :], n_steps=n_steps, method=method))[
            0
        ]
        for i in range(0, len(rows), CHUNK)
    ]
    return setting.shift + setting.scale * np.concatenate(ends).astype(np.float64)


def _as_in_training(config: MetaFMConfig, n: int) -> MetaFMConfig:
    """With as many neighbours as make neighbourhoods in n particles as wide as they were in training."""
    if not config.proportional:
        return config
    return replace(config, neighbours=round(config.neighbours * n / (config.reads or config.particles)))


def _check_population(
    setting: MetaFMSetting, x0: Floats, marks: Floats | None, condition: Floats | None
) -> None:
    d, q, c = setting.dimension, setting.marks, len(setting.condition_scale)
    if x0.ndim != 2 or x0.shape[0] == 0 or x0.shape[1] != d:
        raise ValueError(f"a population must have shape (n, {d}), n >= 1, for this model; got {x0.shape}")
    for name, values, wanted in (("marks", marks, (len(x0), q)), ("condition", condition, (c,))):
        shape = None if values is None else values.shape
        if wanted[-1] and shape != wanted:
            raise ValueError(f"{name} must have shape {wanted}, as the model was trained; got {shape}")
        if not wanted[-1] and values is not None and values.size:
            raise ValueError(f"{name}: the model was trained without; got shape {shape}")
    for name, values in (("a population", x0), ("marks", marks), ("condition", condition)):
        if values is not None and not np.all(np.isfinite(values)):
            raise ValueError(f"{name} must be finite; got NaN or infinity")


def named_condition(setting: MetaFMSetting, name: str | None, dose: float | None = None, /) -> Floats | None:
    """Condition (c,) of a name, one-hot, with a dose in the column "dose" where the model has one.

    Equation: none. Wiring of a run.

    Raises
    ------
    ValueError
        If no training population was under it; the error names those known.
    """
    names, values = setting.condition_names, np.zeros(len(setting.condition_names))
    known = [
        each for each, size in zip(names, setting.condition_scale, strict=True) if size > 0 and each != "dose"
    ]
    if not names:
        if name is not None or dose is not None:
            raise ValueError(f"condition {name!r}: the model was trained without conditions; leave it out")
        return None
    if name not in known:
        got = "none" if name is None else f"{name!r}, which it has never seen"
        raise ValueError(
            f"condition must be one that the model was trained on, {', '.join(known)}; got {got}"
        )
    values[names.index(name)] = 1.0
    if ("dose" in names) != (dose is not None):
        needs = "needs a dose" if dose is None else "has no doses"
        raise ValueError(f"dose: the model {needs}; got {dose}")
    if dose is not None:
        values[names.index("dose")] = dose
    return values
