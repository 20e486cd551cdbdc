"""Rectified pairs: each source, and where a flow takes it; a flow learned from them is nearly straight.

A flow takes each source to one target. These pairs are a coupling of the same two laws as the one that it was
trained on, at no greater cost (where its velocity is the mean one), and the paths between them cross less. A
second flow, trained on them, needs few steps: "reflow" (Liu et al. 2023), here of measures. Of clouds a pair
is point by point; of Gaussians the path of a pair is the geodesic.
"""

from typing import Any, NamedTuple

import numpy as np

from refwfm.generation import Step, exponential_step, generate, generate_clouds
from refwfm.measures import Gaussian, Measure


class RectifiedPairs(NamedTuple):
    """Sources, and where a flow takes them.

    Attributes
    ----------
    source, target : PointCloud, points (B, n, d), weights (B, n); or Gaussian, mean (B, d), cov (B, d, d)
        Point i of a source goes to point i of its target, and has the same weight there.
    shown : numpy.ndarray, shape (B,) or (B, c), or None
        Labels or conditions under which the flow took them there, as the network reads them.
    """

    source: Any
    target: Any
    shown: np.ndarray | None = None


def rectified_pairs(
    field: Any,
    source: Measure,
    /,
    *,
    n_steps: int,
    method: str = "midpoint",
    step: Step = exponential_step,
) -> RectifiedPairs:
    """Pairs of sources and of where a flow takes them.

    Equation: WFM-REFLOW. By the steps of WFM-Alg2 or WFM-Alg3, from t = 0 to t = 1.

    Parameters
    ----------
    field : callable
        As for ``generation.generate`` (of Gaussians) or ``generation.generate_clouds``.
    source : Gaussian, mean (B, d), cov (B, d, d); or PointCloud, points (B, n, d), weights (B, n)
    n_steps : int
        Enough for the ends to be the flow's own: their error is learned, too.
    method : str
        A key of ``generation.RUNGE_KUTTA``.
    step : callable
        Of Gaussians; see ``generation.generate``.

    Raises
    ------
    TypeError, ValueError
        As ``generation.generate`` and ``generation.generate_clouds``.

    Examples
    --------
    >>> from refwfm.measures import PointCloud
    >>> source = PointCloud(np.ones((1, 1, 1)), np.ones((1, 1)))
    >>> rectified_pairs(lambda cloud, t: cloud.points, source, n_steps=1).target.points.tolist()
    [[[2.5]]]
    """
    if isinstance(source, Gaussian):
        made = generate(field, source, n_steps=n_steps, step=step, method=method)
        return RectifiedPairs(source, made.gaussian)
    return RectifiedPairs(source, generate_clouds(field, source, n_steps=n_steps, method=method))
