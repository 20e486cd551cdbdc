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
        Share of the members to hold out, of every class where there are labels; rounded.
    seed : int, non-negative

    Returns
    -------
    (family, family)
        To train on, and held out. Together they are the family; each keeps its order.

    Raises
    ------
    ValueError
        If the share would hold out no member, or all.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must lie strictly between 0 and 1; got {held_out}")
    labels = np.zeros(len(family), np.int64) if family.labels is None else family.labels
    chosen, rng = np.zeros(len(family), bool), np.random.default_rng(seed)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        chosen[rng.choice(members, round(held_out * len(members)), replace=False)] = True
    if chosen.all() or not chosen.any():
        raise ValueError(
            f"held_out = {held_out} would hold out {chosen.sum()} of the {len(family)} members of family "
            f"{family.name!r}: choose another share"
        )
    return family.subset(~chosen), family.subset(chosen)
