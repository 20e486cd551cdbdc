"""Wasserstein Flow Matching: generative models whose samples are probability distributions.

One module per idea; read them in this order beside the paper:

``measures``    the samples: Gaussians, families of them, moments of point clouds
``psd``         roots and factors of positive semi-definite matrices
``bures``       optimal maps, geodesics, velocities and distances between Gaussians
``barycenter``  their barycenter
``sources``     where the flow starts
``couplings``   which source goes with which target
``networks``    the learned field and its derivative
``objectives``  the three losses
``methods``     the three methods that are compared
``training``    Algorithm 1 (from ``config`` and ``setting``)
``generation``  Algorithm 2 (``sampling``: with a trained network)
``metrics``     how good the result is

All functions are pure, take arrays of any library with the Python array API, and treat leading axes as
batch axes.
"""

from refwfm import (
    barycenter,
    bures,
    checkpoints,
    clouds,
    config,
    couplings,
    exact,
    flows,
    generation,
    measures,
    methods,
    metrics,
    networks,
    objectives,
    ops,
    optim,
    psd,
    regression,
    sources,
    training,
)

__all__ = [
    "barycenter",
    "bures",
    "checkpoints",
    "clouds",
    "config",
    "couplings",
    "exact",
    "flows",
    "generation",
    "measures",
    "methods",
    "metrics",
    "networks",
    "objectives",
    "ops",
    "optim",
    "psd",
    "regression",
    "sources",
    "training",
]

__version__ = "0.1.0"
