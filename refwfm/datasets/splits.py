"""Training members and held-out members of a family."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

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
    chosen = _drawn(family, family.labels, held_out, seed)
    if chosen.all() or not chosen.any():
        raise ValueError(
            f"held_out = {held_out} would hold out {chosen.sum()} of the {len(family)} members of family "
            f"{family.name!r}: choose another share"
        )
    return family.subset(~chosen), family.subset(chosen)


def hold_out(family: AnyFamily, how: str, /, *, seed: int = 0) -> tuple[AnyFamily, AnyFamily | None]:
    """Members to train on and members held out, as an option of the command says; always the same for a seed.

    Parameters
    ----------
    how : str
        A share, "0.1": drawn at random, of every class alike where it has enough members (``split``). None
        for "0". "region=A,B": the members with these values in the column ``groups["region"]``; "region":
        whole values of it, drawn at random up to a tenth of the members, at least one. The column "label"
        is the class, unless ``groups`` has one of that name.
    seed : int, non-negative

    Returns
    -------
    (family, family or None)
        To train on, and held out, which is named so.

    Raises
    ------
    ValueError
        If there is no such column or value, or no member or all would be held out.
    """
    try:
        share = float(how)
    except ValueError:
        chosen = _by_column(family, how, seed)
    else:
        if share == 0:
            return family, None
        if not 0 < share < 1:
            raise ValueError(f"hold_out: a share must lie in [0, 1); got {how}")
        chosen = _drawn(family, family.labels, share, seed)
        chosen = chosen if chosen.any() else _drawn(family, None, share, seed)
    if chosen.all() or not chosen.any():
        raise ValueError(
            f"hold_out = {how!r} would hold out {chosen.sum()} of the {len(family)} members of family "
            f"{family.name!r}"
        )
    return family.subset(~chosen), replace(family.subset(chosen), name=f"{family.name}, held out")


def _drawn(family: AnyFamily, labels: NDArray[np.int64] | None, share: float, seed: int) -> NDArray[np.bool_]:
    """Members drawn at random, the same share of every class, rounded."""
    labels = np.zeros(len(family), np.int64) if labels is None else labels
    chosen, rng = np.zeros(len(family), bool), np.random.default_rng(seed)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        chosen[rng.choice(members, round(share * len(members)), replace=False)] = True
    return chosen


def _by_column(family: AnyFamily, how: str, seed: int) -> NDArray[np.bool_]:
    """Members with some values of a column of what is known of them: those named, or some of all."""
    column, equals, wanted = how.partition("=")
    columns = dict(family.groups)
    if family.labels is not None:
        columns.setdefault("label", np.array(family.label_names)[family.labels])
    if column not in columns:
        raise ValueError(
            f"hold_out must be a share such as 0.1, COLUMN=VALUE,VALUE or COLUMN; got {how!r}, and family "
            f"{family.name!r} has {', '.join(columns) or 'no columns'}"
        )
    values, counts = np.unique(columns[column], return_counts=True)
    if not equals:
        order = np.random.default_rng(seed).permutation(len(values))
        few = int(np.sum(np.cumsum(counts[order]) <= len(family) / 10))
        return np.isin(columns[column], values[order[: max(1, few)]])
    named = [wanted] if wanted in values else wanted.split(",")
    unknown = sorted(set(named) - set(values.tolist()))
    if unknown:
        raise ValueError(
            f"hold_out: no member of family {family.name!r} has {column} {', '.join(unknown)}; there are "
            f"{', '.join(values.tolist())}"
        )
    return np.isin(columns[column], named)
