"""Wasserstein Flow Matching: generative models whose samples are probability distributions.

One module per idea; read them in this order beside the paper:

``measures``       the samples: Gaussians and weighted point clouds, and families of them
``psd``            roots and factors of positive semi-definite matrices
``bures``          optimal maps, geodesics, velocities and distances between Gaussians; ``barycenter``: theirs
``clouds``         padding, checks and moments of point clouds
``exact``          exact transport between clouds; ``line``: on the line; ``wow``: between families
``sinkhorn``       entropic plans; ``entropic``: the maps that come of them
``plans``          what is done with a plan: rounding, sampling
``sliced``         transport by sorting; ``linearized``: by a reference; ``laziness``: when that is exact
``interpolation``  displacement interpolation of clouds
``sources``        where the flow starts; ``cloud_sources``: for clouds
``couplings``      which source goes with which target; ``inner_couplings``: which point goes where
``networks``       the learned field and its derivative
``objectives``     the losses; ``regression``: with networks and batches
``flows``          what is particular to Gaussians and to clouds in training and generation
``training``       Algorithm 1 (from ``config``)
``generation``     Algorithms 2 and 3; ``straightness`` of their paths
``metrics``        how good the result is; ``cloud_metrics``, ``cloud_neighbours``: distances between clouds

All functions are pure, take arrays of any library with the Python array API, and treat leading axes as
batch axes.
"""

from refwfm import (
    barycenter,
    bures,
    checkpoints,
    cloud_metrics,
    cloud_neighbours,
    cloud_sources,
    clouds,
    config,
    couplings,
    earthmover,
    entropic,
    exact,
    flows,
    generation,
    inner_couplings,
    interpolation,
    laziness,
    line,
    linearized,
    measures,
    methods,
    metrics,
    networks,
    objectives,
    ops,
    optim,
    plans,
    psd,
    randomness,
    regression,
    sinkhorn,
    sliced,
    sources,
    straightness,
    training,
    transport,
    wow,
)

__all__ = [
    "barycenter",
    "bures",
    "checkpoints",
    "cloud_metrics",
    "cloud_neighbours",
    "cloud_sources",
    "clouds",
    "config",
    "couplings",
    "earthmover",
    "entropic",
    "exact",
    "flows",
    "generation",
    "inner_couplings",
    "interpolation",
    "laziness",
    "line",
    "linearized",
    "measures",
    "methods",
    "metrics",
    "networks",
    "objectives",
    "ops",
    "optim",
    "plans",
    "psd",
    "randomness",
    "regression",
    "sinkhorn",
    "sliced",
    "sources",
    "straightness",
    "training",
    "transport",
    "wow",
]

__version__ = "0.1.0"
