"""Wasserstein Flow Matching: generative models whose samples are probability distributions.

Read the modules in this order beside the paper:

``measures``       the samples: Gaussians and weighted point clouds, and families of them
``psd``            roots and factors of positive semi-definite matrices
``bures``          optimal maps, geodesics, velocities and distances between Gaussians
``barycenter``     barycenters of Gaussians
``conditional``    the fields that flow matching regresses onto, with the target given and without it
``evidence``       what solvers and decompositions give for their results, and the error where there is none
``clouds``         padding, checks and moments of point clouds
``transport``      optimal transport between clouds: exact, entropic, sliced, linearised
``interpolation``  displacement interpolation of clouds
``sources``        where the flow starts
``couplings``      which source goes with which target, and which point goes where
``meta``           networks that predict the solution of transport problems
``networks``       the learned field and its derivative
``objectives``     the losses
``training``       Algorithm 1
``generation``     Algorithms 2 and 3
``metrics``        how good the result is

``WassersteinFlow``, an estimator with ``fit``, ``sample`` and ``score``, is a façade over them.

All functions are pure, take arrays of any library with the Python array API, and treat leading axes as
batch axes. ``runs``, ``storage``, ``datasets`` and ``cli`` are what a run needs besides.
"""

from importlib import import_module
from typing import Any

from refwfm import (
    barycenter,
    bures,
    clouds,
    conditional,
    generation,
    interpolation,
    measures,
    networks,
    objectives,
    psd,
)

__all__ = [
    "WassersteinFlow",
    "barycenter",
    "bures",
    "clouds",
    "conditional",
    "generation",
    "interpolation",
    "measures",
    "networks",
    "objectives",
    "psd",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The façade, which needs what a run needs, is imported where it is asked for."""
    if name == "WassersteinFlow":
        return import_module("refwfm.runs.estimator").WassersteinFlow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
