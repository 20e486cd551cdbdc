"""How GeomLoss is asked (kernel-operations.io/geomloss), in float64, as exactly as its documentation allows.

Its cost is half of the squared distance and its temperature ``blur²``: eps = 2 blur², and values are doubled.
One pass through falling temperatures is an approximation: a relative error of 0.01 is granted.
"""

import math

import geomloss
import torch

from refwfm.validation.hostile.adapters import Adapter

SCALING = 0.99
"""Ratio of its falling temperatures: above 0.9 its documentation calls it accurate."""


def _loss(x, y, eps, a, b, *, debias):
    loss = geomloss.SamplesLoss(
        "sinkhorn", p=2, blur=math.sqrt(eps / 2), scaling=SCALING, debias=debias, backend="tensorized"
    )
    a, b = (
        torch.full((len(points),), 1 / len(points), dtype=points.dtype) if weights is None else weights
        for points, weights in ((x, a), (y, b))
    )
    return 2 * loss(a, x, b, y)


ADAPTER = Adapter(
    "GeomLoss",
    geomloss.__version__,
    lambda values, dtype: torch.asarray(values),
    {"sinkhorn_divergence": lambda x, y, eps, a=None, b=None: _loss(x, y, eps, a, b, debias=True)},
    rtol=0.01,
)
