"""Pairs of a step of a run that learns from a model's own pairs."""

import numpy as np

from refwfm.couplings.rectified import RectifiedPairs
from refwfm.measures import PointCloud, take


def drawn_pairs(pairs: RectifiedPairs, size: int, /, *, rng: np.random.Generator) -> RectifiedPairs:
    """Pairs of a step, each with the same chance, with replacement; padding that none of them needs is cut.

    Equation: WFM-REFLOW.

    Parameters
    ----------
    pairs : RectifiedPairs
        On the host.

    Examples
    --------
    >>> clouds = PointCloud(np.ones((1, 2, 1)), np.asarray([[1.0, 0.0]]))
    >>> drawn_pairs(RectifiedPairs(clouds, clouds), 3, rng=np.random.default_rng(0)).target.points.shape
    (3, 1, 1)
    """
    index = rng.integers(pairs.source[0].shape[0], size=size)
    source, target = take(pairs.source, index), take(pairs.target, index)
    if isinstance(source, PointCloud):
        n = 1 + int(np.flatnonzero(np.any(source.weights > 0, axis=0))[-1])  # weight 0 may stand before it
        source, target = (PointCloud(*(part[:, :n] for part in cloud)) for cloud in (source, target))
    return RectifiedPairs(source, target, None if pairs.shown is None else pairs.shown[index])
