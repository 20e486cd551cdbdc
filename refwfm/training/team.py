"""Several processes that train one run: which members of a batch each takes, and what they tell each other.

Every process draws the whole batch of a step, which is a function of (seed, step), and its outer plan, which
couples all of it. What is expensive, inner plans, the network and its gradient, each does for its own share
of the members. The loss is a mean over members, so that the means over the shares, weighted by their sizes,
are loss and gradient of the whole batch; every process takes the same step of the optimiser with them.

How processes reach each other is an engine's business (``refwfm.backends._processes``); ``ALONE`` is a run of
one process, which reaches nobody.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from refwfm._array import Array
from refwfm.training.optim import Tree

Record = TypeVar("Record")


class TeamError(RuntimeError):
    """A process that others wait for has ended, or cannot be reached."""


class Share(NamedTuple):
    """Which part of each batch is meant: that of process ``rank`` of ``size``."""

    rank: int = 0
    size: int = 1


class Team(NamedTuple):
    """What a process needs to know of those that it trains with; by default there are none.

    All processes call each of these functions together, in the same order, but for the last.

    Attributes
    ----------
    share : Share
    mean : callable
        ``mean(tree, count)``: mean over the processes of trees of arrays, each weighted by its ``count``.
    largest : callable
        ``largest(values)``: the largest of the processes' values, at each place of a float64 array.
    first : callable
        ``first(content)``: the bytes that the process of rank 0 has.
    heard : callable
        ``heard()``: what another process says that it has failed of, or nothing.
    """

    share: Share = Share()
    mean: Callable[[Tree, int], Tree] = lambda tree, count: tree
    largest: Callable[[np.ndarray], np.ndarray] = np.asarray
    first: Callable[[bytes], bytes] = bytes
    heard: Callable[[], str] = str


ALONE = Team()
"""One process."""


def members(share: Share, batch: int, /) -> slice:
    """Members of a batch that a process takes: as many as the others, or one more.

    Equation: none. The batch of WFM-Alg1, cut into parts.

    Raises
    ------
    ValueError
        If the batch has fewer members than there are processes.

    Examples
    --------
    >>> [members(Share(rank, 3), 8) for rank in range(3)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    """
    rank, size = share
    if batch < size:
        raise ValueError(
            f"a batch of {batch} has no share for each of {size} processes: take a batch of at least {size}, "
            "or fewer processes"
        )
    return slice(rank * batch // size, (rank + 1) * batch // size)


def part_of(batch: Record, share: Share, /) -> Record:
    """Share of a batch: those rows of each array in a record, and in the records in it.

    Equation: none. The batch of WFM-Alg1, cut into parts.

    Examples
    --------
    >>> from refwfm.measures import PointCloud
    >>> part_of(PointCloud(np.zeros((3, 2, 1)), np.ones((3, 2))), Share(1, 2)).weights.shape
    (2, 2)
    """
    return batch if share.size == 1 else _rows(batch, members(share, members_in(batch)))


def members_in(batch: Any, /) -> int:
    """Members of a batch: rows of the first array in its record.

    Equation: none. A count.

    Examples
    --------
    >>> from refwfm.measures import PointCloud
    >>> members_in(PointCloud(np.zeros((3, 2, 1)), np.ones((3, 2))))
    3
    """
    return int(next(_arrays(batch)).shape[0])


def _rows(record: Any, rows: slice) -> Any:
    if _is_record(record):
        return record._replace(**{name: _rows(each, rows) for name, each in record._asdict().items()})
    return record[rows] if _has_rows(record) else record


def _arrays(record: Any) -> Iterator[Array]:
    for each in record:
        if _is_record(each):
            yield from _arrays(each)
        elif _has_rows(each):
            yield each


def _is_record(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _has_rows(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0
