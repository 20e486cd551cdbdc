"""Presets: values of options by name, for what a run is not asked for itself."""

import math
from typing import Any

from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig

Values = dict[str, Any]
"""Options by name."""

LAPTOP: Values = {
    "steps": 4000,
    "learning_rate": 5e-3,
    "schedule": "cosine",
    "warmup": 100,
    "ema": 0.99,
    "time_law": "logit-normal",
}
"""What Gaussians and clouds have in common: a few minutes on one core."""

PRESETS: dict[str, dict[type[TrainingConfig], Values]] = {
    "paper": {},  # the defaults of the options
    "laptop": {
        GaussianConfig: {
            **LAPTOP,
            "width": 128,
            "depth": 3,
            "matching": True,
            "bounded_lifts": True,
            "state_features": 128,
            "time_mean": 0.4,
            "time_deviation": 1.2,
        },
        CloudConfig: {
            **LAPTOP,
            "batch": 32,
            "width": 64,
            "depth": 3,
            "hidden": 128,
            "outer": "frechet",
            "inner": "exact",
            "n_points": 512,
            "point_features": 32,
            "point_scale": 4.0,
            "optimizer": "muon",
            "time_mean": 0.5,
            "time_deviation": 1.5,
        },
    },
}
"""Presets by name, and the values of each for a kind of configuration."""


BLIND = ("matching", "outer")
"""Outer plans, which see labels but no conditions: sources would know of the condition that they go to."""

UNIFORM: Values = {"time_law": "uniform", "time_mean": 0.0, "time_deviation": 1.0}

ABOVE: dict[type[TrainingConfig], dict[int, Values]] = {
    GaussianConfig: {2: {"matching": False}, 3: {**UNIFORM, "state_features": 0, "width": 256}},
    CloudConfig: {3: {"point_features": 0}},
}
"""What the preset for laptops has instead in more than so many dimensions.

From three on, distances of all pairs of a batch of Gaussians take longer than all the rest of a step. In
many, all members are far apart, and what random features say of one is nothing about the next; geodesics take
longer than networks, which may as well be wider."""


def with_preset(name: str, kind: type[TrainingConfig], given: Values, /, *, family: Any = None) -> Values:
    """Values of a preset, and before them those that are given.

    Equation: none. What a run is asked for.

    Parameters
    ----------
    name : str
    kind : type
        The configuration that they are for.
    given : dict
    family : object, optional
        What is learned: where it has conditions, a preset chooses no outer plan; where it has many
        dimensions, ``ABOVE``; where its points lie on a grid, its features; where no cloud is large, no
        bound on their points.

    Raises
    ------
    ValueError
        If there is no such preset, or it has no values for configurations of this kind.

    Examples
    --------
    >>> with_preset("laptop", GaussianConfig, {"width": 64})["width"]
    64
    >>> with_preset("paper", GaussianConfig, {"width": 64})
    {'width': 64}
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    if PRESETS[name] and kind not in PRESETS[name]:
        raise ValueError(
            f"preset = {name!r} is for flows of Gaussians and of clouds, and sets nothing for a "
            f"{kind.__name__}; leave it out"
        )
    values = dict(PRESETS[name].get(kind, {}))
    if getattr(family, "condition_names", ()):
        values = {key: value for key, value in values.items() if key not in BLIND}
    for most, others in ABOVE.get(kind, {}).items() if values else ():
        if getattr(family, "dimension", 0) > most:
            values = {**values, **others}
    if "n_points" in values and max(getattr(family, "sizes", (math.inf,))) <= values["n_points"]:
        del values["n_points"]  # which plans with a reference would take for the number of all clouds' points
    if values and any(getattr(family, "grid", ())):
        values = {**values, "grid_features": True}
    return {**values, **given}


def in_words(name: str, /) -> str:
    """What a preset sets, for the help of the command.

    Equation: none. What a run is asked for.

    Examples
    --------
    >>> in_words("paper")
    'paper: the defaults below'
    """
    kinds = {GaussianConfig: "Gaussians", CloudConfig: "clouds"}
    each = [
        f"for {kinds[kind]} " + ", ".join(f"{key} {value}" for key, value in values.items())
        for kind, values in PRESETS[name].items()
    ]
    return f"{name}: " + ("; ".join(each) or "the defaults below")
