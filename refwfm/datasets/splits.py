"""Training members and held-out members of a family."""

from typing import TypeVar

import numpy as np

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family

AnyFamily = TypeVar("AnyFamily", Family, CloudFamily)


def split(family: AnyFamily, /, *, held_out: float = 0.2, seed: int = 0) -> tuple[AnyFamily, AnyFamily]:
    """Members to train on and members held out, drawn at random: always the same for a seed.

    Parameters
    ----------
    family : Family or CloudFamily, N >= 2
    held_out : float in (0, 1)
        Share of the members to hold out, rounded; at least one, and not all.
    seed : int, non-negative

    Returns
    -------
    (family, family)
        To train on, and held out. Together they are the family; each keeps its order.
    """
    n = len(family)
    if n < 2:
        raise ValueError(f"family {family.name!r} has a single member: nothing can be held out")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must lie strictly between 0 and 1; got {held_out}")
    chosen = np.zeros(n, bool)
    count = min(max(round(held_out * n), 1), n - 1)
    chosen[np.random.default_rng(seed).choice(n, count, replace=False)] = True
    return family.subset(~chosen), family.subset(chosen)
