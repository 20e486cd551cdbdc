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

import os.path
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_beside = os.path.dirname(__path__[0])
if os.path.isfile(os.path.join(_beside, "backends", "__init__.py")) and not os.path.isdir(
    os.path.join(__path__[0], "backends")
):  # a clone, whose other folders the installed package has inside it: with a clone goes all of it
    __path__.append(_beside)


def __getattr__(name: str) -> Any:
    """Import what ``__all__`` names when it is first asked for: the package alone costs nothing."""
    if name == "WassersteinFlow":
        return import_module("refwfm.runs.estimator").WassersteinFlow
    if name in __all__:
        return import_module(f"refwfm.{name}")
    raise AttributeError(f"module 'refwfm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
